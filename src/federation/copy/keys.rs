//! Rows of a copy that are found by their key, where conditions say of each column of the key what it may be.
//!
//! What is found is checked by the whole condition, or by the join that told the keys: here it may be too many rows, and never too few. So
//! a key is taken from conditions only where equal values are equal bytes: numbers without fractions, texts without padding, days, moments.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Date32Array, Int16Array, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, TimeUnit};
use arrow::error::ArrowError;

use crate::stores::Table;
use crate::stores::predicate::{ColumnRef, Comparison, Predicate};
use crate::stores::schema::Column;
use crate::stores::value::Value;

/// So many keys are looked up however few rows there are.
const FEW: usize = 64;
/// Looking a row up costs about as much as reading so many one after another.
const COST: usize = 4;

/// A part of a key that equals no other one of its column.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Part {
    Number(i64),
    Text(String),
}

/// Whether a value can be a part of a key.
enum Fit {
    Part(Part),
    /// It is no value of the column, which therefore equals it in no row.
    Never,
}

/// Keys, each of them once.
#[derive(Debug, PartialEq)]
pub(super) struct Keys(Vec<Vec<Part>>);

/// How many keys are worth looking up in so many rows.
pub(super) fn most(rows: usize) -> usize {
    FEW.max(rows / COST)
}

impl Keys {
    /// The keys that rows may have for which all conditions are true; `None` where these do not say, or say more than `most`. `key` are
    /// ordinals of the table's columns.
    pub(super) fn of(conditions: &[Predicate], table: &Table, key: &[usize], most: usize) -> Option<Self> {
        if key.is_empty() {
            return None;
        }
        let mut conjuncts = Vec::new();
        conditions.iter().for_each(|condition| flatten(condition, &mut conjuncts));
        let columns = key.iter().map(|ordinal| table.columns.get(*ordinal)).collect::<Option<Vec<&Column>>>()?;
        let found = listed(&conjuncts, &columns, key, most).or_else(|| told(&conjuncts, &columns, key, most))?;
        let mut seen = HashSet::with_capacity(found.len());
        Some(Self(found.into_iter().filter(|row| seen.insert(row.clone())).collect()))
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Some of them as columns of the key.
    ///
    /// # Errors
    /// Where a column of the key is of another type than when they were made.
    pub(super) fn batch(&self, table: &Table, key: &[usize], from: usize, count: usize) -> Result<RecordBatch, ArrowError> {
        let rows = || self.0.iter().skip(from).take(count);
        let arrays = key.iter().enumerate().map(|(place, ordinal)| {
            let data_type = table.columns.get(*ordinal).map(|column| column.field.data_type());
            array(data_type, rows().filter_map(|row| row.get(place)))
        });
        RecordBatch::try_new(table.project(key), arrays.collect::<Result<Vec<_>, _>>()?)
    }
}

fn flatten<'p>(condition: &'p Predicate, found: &mut Vec<&'p Predicate>) {
    match condition {
        Predicate::And(parts) => parts.iter().for_each(|part| flatten(part, found)),
        other => found.push(other),
    }
}

/// Each column with each of the values that it has in a condition of its own.
fn listed(conjuncts: &[&Predicate], columns: &[&Column], key: &[usize], most: usize) -> Option<Vec<Vec<Part>>> {
    let mut rows: Vec<Vec<Part>> = vec![Vec::with_capacity(key.len())];
    for (column, ordinal) in columns.iter().zip(key) {
        let lists = conjuncts.iter().filter_map(|condition| values_of(condition, *ordinal));
        let values = lists.min_by_key(|values| values.len())?;
        if values.len().saturating_mul(rows.len()) > most {
            return None;
        }
        let mut parts = Vec::with_capacity(values.len());
        for value in values {
            if let Fit::Part(part) = fit(column, value)? {
                parts.push(part);
            }
        }
        rows = rows
            .iter()
            .flat_map(|row| parts.iter().map(move |part| [row.as_slice(), std::slice::from_ref(part)].concat()))
            .collect();
    }
    Some(rows)
}

/// One value for each column of a key, as columns of one row; `None` where rows cannot be found by them, or there is none that has them.
pub(in crate::federation) fn one<'v>(
    table: &Table,
    key: &[usize],
    value_of: impl Fn(usize) -> Option<&'v Value>,
) -> Option<Vec<ArrayRef>> {
    let part = |ordinal: &usize| {
        let column = table.columns.get(*ordinal)?;
        let Fit::Part(part) = fit(column, value_of(*ordinal)?)? else { return None };
        array(Some(column.field.data_type()), std::iter::once(&part)).ok()
    };
    key.iter().map(part).collect()
}

/// The values that a condition leaves a column.
fn values_of(condition: &Predicate, ordinal: usize) -> Option<&[Value]> {
    let is_own = |column: &ColumnRef| column.column == ordinal && column.path.is_empty();
    match condition {
        Predicate::Compare { column, op: Comparison::Equal, value } if is_own(column) => Some(std::slice::from_ref(value)),
        Predicate::In { column, values, negated: false } if is_own(column) => Some(values),
        _ => None,
    }
}

/// The rows of values that a condition leaves all columns of the key together.
fn told(conjuncts: &[&Predicate], columns: &[&Column], key: &[usize], most: usize) -> Option<Vec<Vec<Part>>> {
    conjuncts.iter().find_map(|condition| {
        let Predicate::Rows(given) = condition else { return None };
        if given.rows.len() > most {
            return None;
        }
        let place = |ordinal: &usize| given.columns.iter().position(|column| column.column == *ordinal && column.path.is_empty());
        let places = key.iter().map(place).collect::<Option<Vec<usize>>>()?;
        let mut rows = Vec::with_capacity(given.rows.len());
        for row in &given.rows {
            let mut parts = Vec::with_capacity(key.len());
            for (column, place) in columns.iter().zip(&places) {
                if let Fit::Part(part) = fit(column, row.get(*place)?)? {
                    parts.push(part);
                }
            }
            // What a column cannot be is in no row.
            if parts.len() == key.len() {
                rows.push(parts);
            }
        }
        Some(rows)
    })
}

/// A value as a part of a key; `None` where values of the column are equal that are not of equal bytes, or may be.
fn fit(column: &Column, value: &Value) -> Option<Fit> {
    let number = |number: i64, is_one: bool| if is_one { Fit::Part(Part::Number(number)) } else { Fit::Never };
    Some(match (column.pg_type().oid, column.field.data_type(), value) {
        (21, DataType::Int16, Value::Int(given)) => number(*given, i16::try_from(*given).is_ok()),
        (23, DataType::Int32, Value::Int(given)) => number(*given, i32::try_from(*given).is_ok()),
        (20, DataType::Int64, Value::Int(given)) => number(*given, true),
        (1082, DataType::Date32, Value::Date(days)) => number((*days).into(), true),
        (1114, DataType::Timestamp(TimeUnit::Microsecond, None), Value::Timestamp(micros))
        | (1184, DataType::Timestamp(TimeUnit::Microsecond, Some(_)), Value::TimestampTz(micros)) => number(*micros, true),
        (25 | 1043 | 2950, DataType::Utf8, Value::Text(text)) if !column.collation.merges() => Fit::Part(Part::Text(text.clone())),
        _ => return None,
    })
}

/// Parts of keys as a column of their carrier.
fn array<'p>(data_type: Option<&DataType>, parts: impl Iterator<Item = &'p Part>) -> Result<ArrayRef, ArrowError> {
    let unfit = || ArrowError::InvalidArgumentError("a key is not of the type of its column".to_owned());
    if let Some(DataType::Utf8) = data_type {
        let texts = parts.map(|part| match part {
            Part::Text(text) => Ok(text.as_str()),
            Part::Number(_) => Err(unfit()),
        });
        return Ok(Arc::new(texts.collect::<Result<Vec<&str>, _>>().map(StringArray::from)?));
    }
    let numbers = parts.map(|part| match part {
        Part::Number(number) => Ok(*number),
        Part::Text(_) => Err(unfit()),
    });
    let numbers = numbers.collect::<Result<Vec<i64>, _>>()?;
    let narrow = |number: &i64| i32::try_from(*number).ok();
    Ok(match data_type {
        Some(DataType::Int16) => {
            let narrow = numbers.iter().map(|number| i16::try_from(*number).ok());
            Arc::new(Int16Array::from(narrow.collect::<Option<Vec<i16>>>().ok_or_else(unfit)?))
        }
        Some(DataType::Int32) => {
            Arc::new(Int32Array::from(numbers.iter().map(narrow).collect::<Option<Vec<i32>>>().ok_or_else(unfit)?))
        }
        Some(DataType::Int64) => Arc::new(Int64Array::from(numbers)),
        Some(DataType::Date32) => {
            Arc::new(Date32Array::from(numbers.iter().map(narrow).collect::<Option<Vec<i32>>>().ok_or_else(unfit)?))
        }
        Some(DataType::Timestamp(TimeUnit::Microsecond, zone)) => {
            Arc::new(TimestampMicrosecondArray::from(numbers).with_timezone_opt(zone.clone()))
        }
        _ => return Err(unfit()),
    })
}
