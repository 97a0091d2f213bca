//! Set-returning functions: rows whose result type is that of one element, computed as a list of all elements.
//!
//! Their names start with [`PREFIX`], which no client can write without quotes; the pass `ast::sets` puts it there where a
//! call stands at a place that takes sets. `generate_series` alone is not computed as a list: its calls are found by
//! `sets::series` and run lazily.

use std::sync::Arc;

use arrow::array::{Int32Array, ListBuilder, StringBuilder};

use crate::error::{Diagnosis, sqlstate};
use crate::pgtype::PgType;

use super::super::datum::Datum;
use super::super::overload::{ANYARRAY, Overload, row};
use super::super::typed::{Call, Typed};
use super::array::{extent, lower, split_text};
use super::regexp::{compiled, split};

/// What the name of a set-returning function starts with inside the planner.
pub(in super::super) const PREFIX: &str = "set ";

/// The name of the function that is run lazily.
pub(in super::super) const SERIES: &str = "set generate_series";

const BOOL: PgType = PgType::BOOL;
const INT4: PgType = PgType::INT4;
const INT8: PgType = PgType::INT8;
const INTERVAL: PgType = PgType::INTERVAL;
const NUMERIC: PgType = PgType::NUMERIC;
const TEXT: PgType = PgType::TEXT;
const TEXTS: PgType = PgType { oid: 1009, typmod: -1 };
const TS: PgType = PgType::TIMESTAMP;
const TSTZ: PgType = PgType::TIMESTAMPTZ;

type Outcome<'a> = Result<Datum<'a>, Diagnosis>;

/// The family's rows.
pub(super) const ROWS: &[Overload] = &[
    row(SERIES, &[INT4, INT4], INT4, never),
    row(SERIES, &[INT4, INT4, INT4], INT4, never),
    row(SERIES, &[INT8, INT8], INT8, never),
    row(SERIES, &[INT8, INT8, INT8], INT8, never),
    row(SERIES, &[NUMERIC, NUMERIC], NUMERIC, never),
    row(SERIES, &[NUMERIC, NUMERIC, NUMERIC], NUMERIC, never),
    // The preferred type of its category comes first: it is what untyped bounds mean.
    row(SERIES, &[TSTZ, TSTZ, INTERVAL], TSTZ, never),
    row(SERIES, &[TS, TS, INTERVAL], TS, never),
    row("set generate_subscripts", &[ANYARRAY, INT4], INT4, |call, a| subscripts(call, a, false)),
    row("set generate_subscripts", &[ANYARRAY, INT4, BOOL], INT4, |call, a| subscripts(call, a, matches!(a[2], Datum::Bool(true)))),
    row("set regexp_matches", &[TEXT, TEXT], TEXTS, |call, a| matches(call, a, "")),
    row("set regexp_matches", &[TEXT, TEXT, TEXT], TEXTS, |call, a| matches(call, a, a[2].as_text())),
    row("set regexp_split_to_table", &[TEXT, TEXT], TEXT, |call, a| split(call, a, "")),
    row("set regexp_split_to_table", &[TEXT, TEXT, TEXT], TEXT, |call, a| split(call, a, a[2].as_text())),
    row("set string_to_table", &[TEXT, TEXT], TEXT, split_text).lenient(),
    row("set string_to_table", &[TEXT, TEXT, TEXT], TEXT, split_text).lenient(),
];

/// Whether the arguments of a series fit several rows equally well: `smallint` is none of them, and an untyped literal is all.
pub(in super::super) fn is_ambiguous(arguments: &[Typed]) -> bool {
    arguments.iter().all(|typed| typed.is_unknown() || typed.pg_type.oid == PgType::INT2.oid)
}

fn never<'a>(_: &Call<'_>, _: &[Datum<'a>]) -> Outcome<'a> {
    Err(Diagnosis::new(sqlstate::INTERNAL_ERROR, "a series was asked for as a whole"))
}

fn subscripts<'a>(call: &Call<'_>, a: &[Datum<'a>], reverse: bool) -> Outcome<'a> {
    let Some(length) = extent(&a[0], a[1].as_int()) else { return Ok(Datum::Null) };
    let first = i32::try_from(lower(call)).unwrap_or(1);
    let end = i32::try_from(length).unwrap_or(i32::MAX).saturating_add(first);
    let places: Int32Array = if reverse { (first..end).rev().collect() } else { (first..end).collect() };
    Ok(Datum::List(Arc::new(places)))
}

/// One array of texts per match: its groups, or the whole match when the pattern has none.
fn matches<'a>(call: &Call<'_>, a: &[Datum<'a>], flags: &str) -> Outcome<'a> {
    let pattern = compiled(call, a[1].as_text(), flags)?;
    let text = a[0].as_text();
    let most = if flags.contains('g') { usize::MAX } else { 1 };
    let mut found = ListBuilder::new(StringBuilder::new());
    for whole in pattern.find_all(text)?.take(most) {
        let Some(captured) = pattern.captures(text, whole.start)? else { break };
        for place in captured.groups {
            found.values().append_option(place.and_then(|place| text.get(place)));
        }
        found.append(true);
    }
    Ok(Datum::List(Arc::new(found.finish())))
}
