//! Containers as lists, which FROM and select lists unnest: elements, names, values.

use std::sync::Arc;

use arrow::array::Int64Array;

use crate::error::{Diagnosis, sqlstate};
use crate::format::json::{self, Outline};

use super::super::super::datum::Datum;
use super::Outcome;
use super::take::shown;

/// The function as whose names are asked for; each has words of its own for what is no object.
#[derive(Clone, Copy)]
pub(super) enum Caller {
    /// `json_object_keys` and `jsonb_object_keys`
    Keys(&'static str),
    /// `json_each`
    Each,
    /// `jsonb_each` and `jsonb_each_text`
    EachB(&'static str),
}

fn refuse(message: String) -> Diagnosis {
    Diagnosis::new(sqlstate::INVALID_PARAMETER_VALUE, message)
}

/// The elements of an array; `function` is the function of `json`, empty for those of `jsonb`.
fn items<'t>(value: &'t Datum<'_>, function: &str) -> Result<Vec<&'t str>, Diagnosis> {
    let (is_object, what) = match json::outline(value.as_text())? {
        Outline::Array(items) => return Ok(items),
        Outline::Object(_) => (true, "an object"),
        Outline::Scalar(_) => (false, "a scalar"),
    };
    Err(refuse(match (function, is_object) {
        ("", _) => format!("cannot extract elements from {what}"),
        (name, true) => format!("cannot call {name} on a non-array"),
        (name, false) => format!("cannot call {name} on a scalar"),
    }))
}

/// `json_array_elements`
pub(super) fn elements<'a>(value: &Datum<'_>, function: &str) -> Outcome<'a> {
    Ok(Datum::Texts(items(value, function)?.into_iter().map(|item| Some(item.to_owned())).collect()))
}

/// `json_array_elements_text`
pub(super) fn element_texts<'a>(value: &Datum<'_>, function: &str) -> Outcome<'a> {
    Ok(Datum::Texts(items(value, function)?.into_iter().map(shown).collect::<Result<_, _>>()?))
}

/// The names of an object, repeated ones too.
pub(super) fn keys<'a>(value: &Datum<'_>, caller: Caller) -> Outcome<'a> {
    let is_array = match json::outline(value.as_text())? {
        Outline::Object(members) => return Ok(Datum::Texts(members.into_iter().map(|(name, _)| Some(name)).collect())),
        Outline::Array(_) => true,
        Outline::Scalar(_) => false,
    };
    Err(refuse(match (caller, is_array) {
        (Caller::Keys(name), true) => format!("cannot call {name} on an array"),
        (Caller::Keys(name), false) => format!("cannot call {name} on a scalar"),
        (Caller::Each, true) => "cannot deconstruct an array as an object".to_owned(),
        (Caller::Each, false) => "cannot deconstruct a scalar".to_owned(),
        (Caller::EachB(name), _) => format!("cannot call {name} on a non-object"),
    }))
}

/// The values of an object, in the order of [`keys`], which refuses what is none.
pub(super) fn values<'a>(value: &Datum<'_>) -> Outcome<'a> {
    Ok(match json::outline(value.as_text())? {
        Outline::Object(members) => Datum::Texts(members.into_iter().map(|(_, part)| Some(part.to_owned())).collect()),
        _ => Datum::Null,
    })
}

/// The same as `json_each_text` shows them.
pub(super) fn value_texts<'a>(value: &Datum<'_>) -> Outcome<'a> {
    Ok(match json::outline(value.as_text())? {
        Outline::Object(members) => Datum::Texts(members.into_iter().map(|(_, part)| shown(part)).collect::<Result<_, _>>()?),
        _ => Datum::Null,
    })
}

/// 1, 2, … for each element of a list: what WITH ORDINALITY adds.
pub(super) fn ordinals<'a>(value: &Datum<'_>) -> Datum<'a> {
    let length = match value {
        Datum::List(items) => items.len(),
        Datum::Texts(texts) => texts.len(),
        _ => 0,
    };
    Datum::List(Arc::new(Int64Array::from_iter_values((1..).take(length))))
}
