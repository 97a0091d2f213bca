//! `x op ANY (array)` and `x op ALL (array)` by typed keys (manual, "Row and Array Comparisons").

use std::cmp::Ordering;

use datafusion::logical_expr::Operator;

use crate::error::Diagnosis;

use super::super::datum::Datum;
use super::super::key;
use super::super::typed::{Call, RowKernel};
use super::array::keys;

/// A comparison with the elements of an array.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Quantified {
    /// The registered name.
    pub(in super::super) name: &'static str,
    pub(in super::super) sign: &'static str,
    pub(in super::super) operator: Operator,
    pub(in super::super) is_all: bool,
    pub(in super::super) kernel: RowKernel,
}

impl Quantified {
    /// `x = ANY (array)`.
    pub(in super::super) fn is_any_equal(&self) -> bool {
        !self.is_all && self.operator == Operator::Eq
    }
}

const fn any(name: &'static str, sign: &'static str, operator: Operator, kernel: RowKernel) -> Quantified {
    Quantified { name, sign, operator, is_all: false, kernel }
}

const fn all(name: &'static str, sign: &'static str, operator: Operator, kernel: RowKernel) -> Quantified {
    Quantified { name, sign, operator, is_all: true, kernel }
}

const QUANTIFIED: &[Quantified] = &[
    any("operator any =", "=", Operator::Eq, |c, a| one(c, a, Ordering::is_eq)),
    any("operator any <>", "<>", Operator::NotEq, |c, a| one(c, a, Ordering::is_ne)),
    any("operator any <", "<", Operator::Lt, |c, a| one(c, a, Ordering::is_lt)),
    any("operator any <=", "<=", Operator::LtEq, |c, a| one(c, a, Ordering::is_le)),
    any("operator any >", ">", Operator::Gt, |c, a| one(c, a, Ordering::is_gt)),
    any("operator any >=", ">=", Operator::GtEq, |c, a| one(c, a, Ordering::is_ge)),
    all("operator all =", "=", Operator::Eq, |c, a| every(c, a, Ordering::is_eq)),
    all("operator all <>", "<>", Operator::NotEq, |c, a| every(c, a, Ordering::is_ne)),
    all("operator all <", "<", Operator::Lt, |c, a| every(c, a, Ordering::is_lt)),
    all("operator all <=", "<=", Operator::LtEq, |c, a| every(c, a, Ordering::is_le)),
    all("operator all >", ">", Operator::Gt, |c, a| every(c, a, Ordering::is_gt)),
    all("operator all >=", ">=", Operator::GtEq, |c, a| every(c, a, Ordering::is_ge)),
];

pub(super) fn names() -> impl Iterator<Item = &'static str> {
    QUANTIFIED.iter().map(|how| how.name)
}

/// What a registered name stands for.
pub(in super::super) fn quantified(name: &str) -> Option<Quantified> {
    QUANTIFIED.iter().find(|how| how.name == name).copied()
}

fn one<'a>(call: &Call<'_>, a: &[Datum<'a>], holds: fn(Ordering) -> bool) -> Result<Datum<'a>, Diagnosis> {
    decide(call, a, holds, true)
}

fn every<'a>(call: &Call<'_>, a: &[Datum<'a>], holds: fn(Ordering) -> bool) -> Result<Datum<'a>, Diagnosis> {
    decide(call, a, holds, false)
}

/// The first comparison that gives `decisive` decides; without one NULL if any gave that.
fn decide<'a>(call: &Call<'_>, a: &[Datum<'a>], holds: fn(Ordering) -> bool, decisive: bool) -> Result<Datum<'a>, Diagnosis> {
    if a[1].is_null() {
        return Ok(Datum::Null);
    }
    let elements = keys(call, 1, &a[1])?;
    if elements.is_empty() {
        return Ok(Datum::Bool(!decisive));
    }
    let (Some(typed), false) = (call.arguments.first(), a[0].is_null()) else { return Ok(Datum::Null) };
    let mut wanted = Vec::new();
    key::encode(typed, &a[0], &mut wanted)?;
    if elements.iter().flatten().any(|element| holds(wanted.cmp(element)) == decisive) {
        return Ok(Datum::Bool(decisive));
    }
    Ok(if elements.iter().any(Option::is_none) { Datum::Null } else { Datum::Bool(!decisive) })
}
