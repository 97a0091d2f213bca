//! Text to values: `format`'s readers, the fitting of `character(n)` and `character varying(n)`, enum labels, JSON.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::IntervalMonthDayNano;
use datafusion::error::Result as EngineResult;
use datafusion::scalar::ScalarValue;

use crate::error::{Diagnosis, sqlstate};
use crate::format::json::Node;
use crate::format::{self, fault};
use crate::pgtype::PgType;

use super::super::datum::{Column, Datum, Writer, first_scalar};
use super::super::numeric::Numeric;
use super::super::overload::is_string;
use super::super::settings::SessionValues;
use super::super::typed::Typed;
use super::{constrained, number, one, round_fraction};

fn internal(error: datafusion::error::DataFusionError) -> Diagnosis {
    crate::error::find_diagnosis(&error)
        .cloned()
        .unwrap_or_else(|| Diagnosis::new(sqlstate::INTERNAL_ERROR, error.strip_backtrace()))
}

/// A literal in the carrier of its type.
pub(super) fn read_scalar(text: &str, to: &Typed, explicit: bool, session: &SessionValues) -> EngineResult<ScalarValue> {
    let value = if is_string(to.pg_type) {
        fit(text.to_owned(), to.pg_type, explicit).map(Datum::text)?
    } else {
        read(text, to, explicit, session)?
    };
    let mut writer = Writer::new(&to.pg_type.carrier(), 1)?;
    writer.push(value)?;
    first_scalar(&writer.finish()?)
}

/// Reads text as a value of a type that is not a string.
pub(super) fn read(text: &str, to: &Typed, explicit: bool, session: &SessionValues) -> Result<Datum<'static>, Diagnosis> {
    let display = &session.display;
    if let Some(element) = to.pg_type.element() {
        format::geometry::check_element(element)?;
        let element = Typed { pg_type: element, labels: to.labels.clone() };
        return read_list(text, &element, explicit, session);
    }
    if let Some(labels) = &to.labels {
        let labels: Vec<String> = serde_json::from_str(labels).unwrap_or_default();
        return if labels.iter().any(|label| label == text) {
            Ok(Datum::text(text))
        } else {
            let message = format!("invalid input value for enum: \"{text}\"");
            Err(Diagnosis::new(sqlstate::INVALID_TEXT_REPRESENTATION, message))
        };
    }
    let fraction = |at: i64| round_fraction(at, to.pg_type.typmod);
    Ok(match to.pg_type.oid {
        1082 => Datum::Date(format::date::read(text, display)?),
        1083 => Datum::Time(fraction(format::time::read(text, display)?)),
        1114 => Datum::Timestamp(fraction(format::timestamp::read(text, display)?)),
        1184 => Datum::Timestamp(fraction(format::timestamp::read_tz(text, display)?)),
        1186 => {
            let read = format::interval::read_as(text, display.interval_style, to.pg_type)?;
            Datum::Interval(interval_of(format::interval::adjust(read, to.pg_type))?)
        }
        1700 => {
            let read = format::numeric::read(text)?.to_string();
            let value = Numeric::from_canonical(&read).ok_or_else(|| fault::invalid("numeric", text))?;
            Datum::Numeric(constrained(value, to.pg_type)?)
        }
        1560 | 1562 => Datum::text(fit_bits(format::bit::read(text)?, to.pg_type)),
        114 => format::json::check(text).map(|()| Datum::text(text))?,
        3802 => Datum::text(format::json::canonical(text)?),
        _ => scalar_datum(format::scalar::read(to.pg_type, text, display)?)?,
    })
}

/// An interval in the engine's form, whose nanoseconds hold 292 years of hours.
pub(super) fn interval_of(value: format::interval::Interval) -> Result<IntervalMonthDayNano, Diagnosis> {
    let nanoseconds = value.micros.checked_mul(1000).ok_or_else(|| fault::datetime_range("interval", None))?;
    Ok(IntervalMonthDayNano::new(value.months, value.days, nanoseconds))
}

fn scalar_datum(value: ScalarValue) -> Result<Datum<'static>, Diagnosis> {
    // An array of one value costs several times as much as its reading.
    let value = match value {
        ScalarValue::Boolean(Some(value)) => return Ok(Datum::Bool(value)),
        ScalarValue::Int16(Some(value)) => return Ok(Datum::Int(i64::from(value))),
        ScalarValue::Int32(Some(value)) => return Ok(Datum::Int(i64::from(value))),
        ScalarValue::Int64(Some(value)) => return Ok(Datum::Int(value)),
        ScalarValue::Float32(Some(value)) => return Ok(Datum::Float(f64::from(value))),
        ScalarValue::Float64(Some(value)) => return Ok(Datum::Float(value)),
        ScalarValue::Utf8(Some(value)) => return Ok(Datum::text(value)),
        value => value,
    };
    let array = value.to_array_of_size(1).map_err(internal)?;
    let column = Column::new(&array, None).map_err(internal)?;
    Ok(column.get(0).into_owned())
}

/// A scalar inside `jsonb` as a SQL type.
pub(super) fn json_scalar(text: &str, target: PgType) -> Result<Datum<'static>, Diagnosis> {
    let refuse =
        |kind: &str| Diagnosis::new(sqlstate::INVALID_PARAMETER_VALUE, format!("cannot cast jsonb {kind} to type {target}"));
    match (format::json::read(text)?, target.oid) {
        (Node::Bool(value), 16) => Ok(Datum::Bool(value)),
        (Node::Number(value), oid) if oid != 16 => {
            let value = format::numeric::read(&value)?.to_string();
            number(PgType::NUMERIC, &Datum::Numeric(Numeric::from_canonical(&value).ok_or_else(|| refuse("numeric"))?), target)
        }
        (Node::Null, _) => Err(refuse("null")),
        (Node::Bool(_), _) => Err(refuse("boolean")),
        (Node::Number(_), _) => Err(refuse("numeric")),
        (Node::Text(_), _) => Err(refuse("string")),
        (Node::Array(_), _) => Err(refuse("array")),
        (Node::Object(_), _) => Err(refuse("object")),
    }
}

/// Text as a string type: cut or refused at its length, padded for `character(n)`.
pub(super) fn fit(text: String, to: PgType, explicit: bool) -> Result<String, Diagnosis> {
    if to.oid == 18 {
        return Ok(text.chars().next().map(String::from).unwrap_or_default());
    }
    if to.oid == 19 {
        let mut end = text.len().min(63);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        return Ok(text.get(..end).unwrap_or_default().to_owned());
    }
    let limit = match usize::try_from(to.typmod - 4) {
        Ok(limit) if matches!(to.oid, 1042 | 1043) => limit,
        _ => return Ok(text),
    };
    let length = text.chars().count();
    if length > limit {
        let (kept, rest): (String, String) = (text.chars().take(limit).collect(), text.chars().skip(limit).collect());
        if !explicit && !rest.trim_end_matches(' ').is_empty() {
            return Err(Diagnosis::new("22001", format!("value too long for type {to}")));
        }
        return Ok(kept);
    }
    if to.oid == 1042 {
        return Ok(text + &" ".repeat(limit - length));
    }
    Ok(text)
}

/// A bit string at the length of its type: cut on the right, and for `bit(n)` filled up with zeros there.
fn fit_bits(mut bits: String, to: PgType) -> String {
    if let Ok(length @ 1..) = usize::try_from(to.typmod) {
        bits.truncate(length);
        if to.oid == PgType::BIT.oid {
            bits.extend(std::iter::repeat_n('0', length - bits.len()));
        }
    }
    bits
}

/// Converts every element of a list.
pub(super) fn convert_list<'a>(
    from: &Typed,
    to: &Typed,
    value: &Datum<'a>,
    explicit: bool,
    session: &SessionValues,
) -> Result<Datum<'a>, Diagnosis> {
    let Datum::List(items) = value else { return Ok(value.clone()) };
    let items = Arc::clone(items);
    let column = Column::new(&items, Some(from)).map_err(internal)?;
    let mut writer = Writer::new(&to.pg_type.carrier(), items.len()).map_err(internal)?;
    for row in 0..items.len() {
        let converted = match column.get(row) {
            Datum::Null => Datum::Null,
            item => one(from, to, &item, explicit, session)?,
        };
        writer.push(converted).map_err(internal)?;
    }
    Ok(Datum::List(writer.finish().map_err(internal)?))
}

/// Reads an array literal of one dimension (manual, "Array Value Input").
fn read_list(text: &str, element: &Typed, explicit: bool, session: &SessionValues) -> Result<Datum<'static>, Diagnosis> {
    let parts = format::array::read(text)?;
    let mut writer = Writer::new(&element.pg_type.carrier(), parts.len()).map_err(internal)?;
    for part in parts {
        let value = match part {
            None => Datum::Null,
            Some(part) if is_string(element.pg_type) => Datum::text(fit(part, element.pg_type, explicit)?),
            Some(part) => read(&part, element, explicit, session)?,
        };
        writer.push(value).map_err(internal)?;
    }
    let items: ArrayRef = writer.finish().map_err(internal)?;
    Ok(Datum::List(items))
}
