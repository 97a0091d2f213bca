//! Array functions and operators (manual, "Array Functions and Operators"). Elements are looked for in arrays of one dimension
//! only; bounds are those of any dimension, and `int2vector` and `oidvector` count from 0.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int32Array};
use datafusion::logical_expr::Volatility;

use crate::error::{Diagnosis, sqlstate};
use crate::pgtype::PgType;

use super::super::cast::text_of;
use super::super::datum::{Column, Datum, Writer};
use super::super::key;
use super::super::overload::{ANYARRAY, Overload, row};
use super::super::typed::{Call, RowKernel, Typed};

const TEXT: PgType = PgType::TEXT;
const INT4: PgType = PgType::INT4;
const BOOL: PgType = PgType::BOOL;
const TEXTS: PgType = PgType { oid: 1009, typmod: -1 };
const INT4S: PgType = PgType { oid: 1007, typmod: -1 };

type Outcome<'a> = Result<Datum<'a>, Diagnosis>;

/// The family's rows.
pub(super) const ROWS: &[Overload] = &[
    row("array_length", &[ANYARRAY, INT4], INT4, |_, a| Ok(extent(&a[0], a[1].as_int()).map_or(Datum::Null, Datum::Int))),
    row("array_upper", &[ANYARRAY, INT4], INT4, |call, a| {
        Ok(extent(&a[0], a[1].as_int()).map_or(Datum::Null, |length| Datum::Int(lower(call) + length - 1)))
    }),
    row("array_lower", &[ANYARRAY, INT4], INT4, |call, a| {
        Ok(extent(&a[0], a[1].as_int()).map_or(Datum::Null, |_| Datum::Int(lower(call))))
    }),
    row("array_ndims", &[ANYARRAY], INT4, |_, a| {
        let dimensions = (1..).take_while(|dimension| extent(&a[0], *dimension).is_some()).last();
        Ok(dimensions.map_or(Datum::Null, Datum::Int))
    }),
    row("cardinality", &[ANYARRAY], INT4, |_, a| {
        let extents = (1..).map_while(|dimension| extent(&a[0], dimension));
        Ok(Datum::Int(extents.reduce(|all, next| all.saturating_mul(next)).unwrap_or(0)))
    }),
    row("array_to_string", &[ANYARRAY, TEXT], TEXT, |call, a| to_string(call, a, None)),
    row("array_to_string", &[ANYARRAY, TEXT, TEXT], TEXT, |call, a| to_string(call, a, Some(a[2].as_text()))),
    row("string_to_array", &[TEXT, TEXT], TEXTS, split_text).lenient(),
    row("string_to_array", &[TEXT, TEXT, TEXT], TEXTS, split_text).lenient(),
    // `resolve` makes both arrays those of one element type.
    row("operator @>", &[ANYARRAY, ANYARRAY], BOOL, |call, a| contains(call, 0, &a[0], 1, &a[1])),
    row("operator <@", &[ANYARRAY, ANYARRAY], BOOL, |call, a| contains(call, 1, &a[1], 0, &a[0])),
    row("operator &&", &[ANYARRAY, ANYARRAY], BOOL, overlaps),
    row("gen_random_uuid", &[], PgType::UUID, |_, _| Ok(Datum::text(random_uuid()))).volatility(Volatility::Volatile),
];

/// A function of arrays and their elements, which all have one element type.
#[derive(Clone, Copy)]
pub(in super::super) struct ArrayFunction {
    pub(in super::super) name: &'static str,
    /// Of each argument, whether it is an array and not an element.
    pub(in super::super) arrays: &'static [bool],
    /// Its type where that is not the array's.
    pub(in super::super) returns: Option<PgType>,
    /// What puts arrays together has none: the engine does.
    pub(in super::super) kernel: Option<RowKernel>,
}

const FUNCTIONS: &[ArrayFunction] = &[
    ArrayFunction { name: "array_append", arrays: &[true, false], returns: None, kernel: None },
    ArrayFunction { name: "array_prepend", arrays: &[false, true], returns: None, kernel: None },
    ArrayFunction { name: "array_cat", arrays: &[true, true], returns: None, kernel: None },
    ArrayFunction { name: "array_remove", arrays: &[true, false], returns: None, kernel: Some(remove) },
    ArrayFunction { name: "array_replace", arrays: &[true, false, false], returns: None, kernel: Some(replace) },
    ArrayFunction { name: "array_position", arrays: &[true, false], returns: Some(INT4), kernel: Some(position) },
    ArrayFunction { name: "array_positions", arrays: &[true, false], returns: Some(INT4S), kernel: Some(positions) },
];

pub(super) fn names() -> impl Iterator<Item = &'static str> {
    FUNCTIONS.iter().map(|function| function.name)
}

/// The function of arrays and elements that a name stands for.
pub(in super::super) fn array_function(name: &str) -> Option<ArrayFunction> {
    FUNCTIONS.iter().find(|function| function.name == name).copied()
}

impl ArrayFunction {
    /// The result type as far as the arguments tell.
    pub(super) fn guess(&self, arguments: &[Typed]) -> Typed {
        if let Some(returns) = self.returns {
            return returns.into();
        }
        let array = arguments.iter().find(|typed| typed.pg_type.element().is_some()).map(Typed::without_modifier);
        let of_element = || {
            let element = arguments.iter().find(|typed| !typed.is_unknown())?;
            Some(Typed { pg_type: element.pg_type.array()?, labels: element.labels.clone() })
        };
        array.or_else(of_element).unwrap_or_else(|| TEXTS.into())
    }
}

/// How many elements an array has in a dimension, from 1; `None` beyond its last. All lists of a level are of one length.
pub(super) fn extent(value: &Datum<'_>, dimension: i64) -> Option<i64> {
    let mut items = Arc::clone(value.as_list()?);
    for _ in 1..usize::try_from(dimension).ok().filter(|dimension| *dimension > 0)? {
        let lists = items.as_list_opt::<i32>().filter(|lists| !lists.is_empty())?;
        let first = lists.value(0);
        items = first;
    }
    i64::try_from(items.len()).ok().filter(|length| *length > 0)
}

/// The first subscript of the first argument.
pub(super) fn lower(call: &Call<'_>) -> i64 {
    i64::from(!call.arguments.first().is_some_and(|typed| typed.pg_type.is_vector()))
}

/// `vector[place]` of the catalog's vectors, which count from 0.
pub(in super::super) fn vector_element<'a>(call: &Call<'_>, a: &[Datum<'a>]) -> Outcome<'a> {
    let (Some(items), Ok(place)) = (a[0].as_list(), usize::try_from(a[1].as_int())) else { return Ok(Datum::Null) };
    if place >= items.len() {
        return Ok(Datum::Null);
    }
    let column = Column::new(items, Some(call.returns)).map_err(internal)?;
    Ok(column.get(place).into_owned())
}

fn internal(error: datafusion::error::DataFusionError) -> Diagnosis {
    Diagnosis::new(sqlstate::INTERNAL_ERROR, error.strip_backtrace())
}

fn element_type(call: &Call<'_>, index: usize, items: &ArrayRef) -> Typed {
    let declared = call.arguments.get(index).and_then(|typed| Some((typed.pg_type.element()?, typed.labels.clone())));
    match declared {
        Some((pg_type, labels)) => Typed { pg_type, labels },
        None => PgType::from_arrow(items.data_type()).into(),
    }
}

/// The typed keys of a list's elements; `None` for NULL.
pub(super) fn keys(call: &Call<'_>, index: usize, value: &Datum<'_>) -> Result<Vec<Option<Vec<u8>>>, Diagnosis> {
    let Some(items) = value.as_list() else { return Ok(Vec::new()) };
    let items = Arc::clone(items);
    let element = element_type(call, index, &items);
    let column = Column::new(&items, Some(&element)).map_err(internal)?;
    (0..items.len())
        .map(|row| match column.get(row) {
            Datum::Null => Ok(None),
            item => {
                let mut out = Vec::new();
                key::encode(&element, &item, &mut out)?;
                Ok(Some(out))
            }
        })
        .collect()
}

/// The key of an element that is looked for, the second argument; `None` for NULL, which is like every other NULL here.
fn wanted(call: &Call<'_>, a: &[Datum<'_>]) -> Result<Option<Vec<u8>>, Diagnosis> {
    if a[1].is_null() {
        return Ok(None);
    }
    let typed = call.arguments.get(1).cloned().unwrap_or_else(|| PgType::TEXT.into());
    let mut out = Vec::new();
    key::encode(&typed, &a[1], &mut out)?;
    Ok(Some(out))
}

/// The places of the elements that are like the second argument, from 0.
fn places(call: &Call<'_>, a: &[Datum<'_>]) -> Result<Vec<usize>, Diagnosis> {
    let wanted = wanted(call, a)?;
    let found = keys(call, 0, &a[0])?;
    Ok(found.iter().enumerate().filter(|(_, key)| **key == wanted).map(|(place, _)| place).collect())
}

fn position<'a>(call: &Call<'_>, a: &[Datum<'a>]) -> Outcome<'a> {
    let first = places(call, a)?.first().and_then(|place| i64::try_from(place + 1).ok());
    Ok(if a[0].is_null() { Datum::Null } else { first.map_or(Datum::Null, Datum::Int) })
}

fn positions<'a>(call: &Call<'_>, a: &[Datum<'a>]) -> Outcome<'a> {
    if a[0].is_null() {
        return Ok(Datum::Null);
    }
    let found: Int32Array = places(call, a)?.into_iter().filter_map(|place| i32::try_from(place + 1).ok()).collect();
    Ok(Datum::List(Arc::new(found)))
}

fn remove<'a>(call: &Call<'_>, a: &[Datum<'a>]) -> Outcome<'a> {
    let Some(items) = a[0].as_list() else { return Ok(Datum::Null) };
    let gone: HashSet<usize> = places(call, a)?.into_iter().collect();
    let kept: BooleanArray = (0..items.len()).map(|place| Some(!gone.contains(&place))).collect();
    let left = arrow::compute::filter(items, &kept).map_err(|error| internal(error.into()))?;
    Ok(Datum::List(left))
}

fn replace<'a>(call: &Call<'_>, a: &[Datum<'a>]) -> Outcome<'a> {
    let Some(items) = a[0].as_list() else { return Ok(Datum::Null) };
    let gone: HashSet<usize> = places(call, a)?.into_iter().collect();
    let mut writer = Writer::new(items.data_type(), 1).map_err(internal)?;
    writer.push(a[2].clone()).map_err(internal)?;
    let new = writer.finish().map_err(internal)?;
    let picked: Vec<(usize, usize)> =
        (0..items.len()).map(|place| if gone.contains(&place) { (1, 0) } else { (0, place) }).collect();
    let parts: [&dyn Array; 2] = [items.as_ref(), new.as_ref()];
    let replaced = arrow::compute::interleave(&parts, &picked).map_err(|error| internal(error.into()))?;
    Ok(Datum::List(replaced))
}

fn contains<'a>(call: &Call<'_>, left: usize, whole: &Datum<'a>, right: usize, part: &Datum<'a>) -> Outcome<'a> {
    let present: HashSet<Vec<u8>> = keys(call, left, whole)?.into_iter().flatten().collect();
    // A NULL element equals nothing, so an array with one is contained nowhere.
    let all = keys(call, right, part)?.iter().all(|wanted| wanted.as_ref().is_some_and(|wanted| present.contains(wanted)));
    Ok(Datum::Bool(all))
}

fn overlaps<'a>(call: &Call<'_>, a: &[Datum<'a>]) -> Outcome<'a> {
    let present: HashSet<Vec<u8>> = keys(call, 0, &a[0])?.into_iter().flatten().collect();
    Ok(Datum::Bool(keys(call, 1, &a[1])?.iter().flatten().any(|wanted| present.contains(wanted))))
}

fn to_string<'a>(call: &Call<'_>, a: &[Datum<'a>], null: Option<&str>) -> Outcome<'a> {
    let Some(items) = a[0].as_list() else { return Ok(Datum::Null) };
    let items = Arc::clone(items);
    let element = element_type(call, 0, &items);
    let column = Column::new(&items, Some(&element)).map_err(internal)?;
    let mut parts = Vec::new();
    for row in 0..items.len() {
        match column.get(row) {
            Datum::Null => parts.extend(null.map(str::to_owned)),
            Datum::Bool(value) => parts.push(if value { "t".to_owned() } else { "f".to_owned() }),
            item => parts.push(text_of(&element, &item, &call.session.display)?),
        }
    }
    Ok(Datum::text(parts.join(a[1].as_text())))
}

/// A NULL separator splits into letters, an empty one does not split.
pub(super) fn split_text<'a>(_: &Call<'_>, a: &[Datum<'a>]) -> Outcome<'a> {
    if a[0].is_null() {
        return Ok(Datum::Null);
    }
    let text = a[0].as_text();
    let null = a.get(2).filter(|value| !value.is_null()).map(Datum::as_text);
    let parts: Vec<String> = match (&a[1], text.is_empty()) {
        (_, true) => Vec::new(),
        (Datum::Null, _) => text.chars().map(String::from).collect(),
        (separator, _) if separator.as_text().is_empty() => vec![text.to_owned()],
        (separator, _) => text.split(separator.as_text()).map(str::to_owned).collect(),
    };
    Ok(Datum::Texts(parts.into_iter().map(|part| if Some(part.as_str()) == null { None } else { Some(part) }).collect()))
}

/// A version 4 uuid (RFC 9562).
fn random_uuid() -> String {
    let mut bytes: [u8; 16] = rand::random();
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    crate::format::scalar::uuid_text(&bytes)
}
