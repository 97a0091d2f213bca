//! Functions of network addresses (manual, "Network Address Functions and Operators").

use crate::error::Diagnosis;
use crate::format::network::Network;
use crate::pgtype::PgType;

use super::super::datum::Datum;
use super::super::overload::{Overload, row};
use super::super::typed::Call;

const INET: PgType = PgType::INET;
const CIDR: PgType = PgType::CIDR;

type Outcome<'a> = Result<Datum<'a>, Diagnosis>;

/// The family's rows.
pub(super) const ROWS: &[Overload] = &[
    row("host", &[INET], PgType::TEXT, host),
    row("masklen", &[INET], PgType::INT4, length),
    row("family", &[INET], PgType::INT4, family),
    row("network", &[INET], CIDR, network),
];

fn host<'a>(_: &Call<'_>, a: &[Datum<'a>]) -> Outcome<'a> {
    Ok(Datum::text(Network::read_inet(a[0].as_text())?.host()))
}

fn length<'a>(_: &Call<'_>, a: &[Datum<'a>]) -> Outcome<'a> {
    Ok(Datum::Int(Network::read_inet(a[0].as_text())?.bits().into()))
}

fn family<'a>(_: &Call<'_>, a: &[Datum<'a>]) -> Outcome<'a> {
    Ok(Datum::Int(if Network::read_inet(a[0].as_text())?.is_v4() { 4 } else { 6 }))
}

fn network<'a>(_: &Call<'_>, a: &[Datum<'a>]) -> Outcome<'a> {
    let mut text = Vec::new();
    Network::read_inet(a[0].as_text())?.network().write(&mut text);
    Ok(Datum::text(String::from_utf8_lossy(&text)))
}
