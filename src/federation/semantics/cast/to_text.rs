//! The text of a value, as a cast to text gives it: `format`'s writers, except where PostgreSQL's cast differs from its
//! output function (`boolean` is `true`, not `t`).

use arrow::array::Array;
use arrow::datatypes::IntervalMonthDayNano;

use crate::error::{Diagnosis, sqlstate};
use crate::format::{self, DisplaySettings};
use crate::pgtype::PgType;

use super::super::datum::{Column, Datum};
use super::super::numeric::Numeric;
use super::super::typed::Typed;

/// The text of a value of the given type.
///
/// # Errors
/// 0A000 for a carrier without a text form.
pub(in super::super) fn text_of(typed: &Typed, value: &Datum<'_>, display: &DisplaySettings) -> Result<String, Diagnosis> {
    let mut out: Vec<u8> = Vec::new();
    match value {
        Datum::Null => {}
        Datum::Bool(value) => out.extend(if *value { &b"true"[..] } else { b"false" }),
        Datum::Int(oid) if typed.pg_type.oid == PgType::REGTYPE.oid => return Ok(format::regtype::text(*oid)),
        Datum::Int(value) => format::integer::write(*value, &mut out),
        Datum::Float(value) if typed.pg_type.oid == PgType::FLOAT4.oid => {
            format::float::write_f32(*value as f32, display.extra_float_digits, &mut out);
        }
        Datum::Float(value) => format::float::write_f64(*value, display.extra_float_digits, &mut out),
        Datum::Numeric(value) => return Ok(value.to_canonical()),
        Datum::Text(text) => return Ok(text.to_string()),
        Datum::Bytes(bytes) => format::bytea::write(bytes, display.bytea_output, &mut out),
        Datum::Date(days) => format::date::write(*days, display, &mut out),
        Datum::Time(at) => format::time::write(*at, &mut out),
        Datum::Timestamp(at) if typed.pg_type.oid == PgType::TIMESTAMPTZ.oid => format::timestamp::write_tz(*at, display, &mut out),
        Datum::Timestamp(at) => format::timestamp::write(*at, display, &mut out),
        Datum::Interval(value) => return interval(*value, display),
        Datum::List(_) | Datum::Texts(_) => return list(typed, value, display),
    }
    Ok(String::from_utf8(out).unwrap_or_default())
}

/// The text a cast gives. `text(inet)` shows the mask that the output function leaves out when it is whole; arrays, JSON and
/// `concat` show values by their output functions.
///
/// # Errors
/// As [`text_of`].
pub(in super::super) fn cast_text(typed: &Typed, value: &Datum<'_>, display: &DisplaySettings) -> Result<String, Diagnosis> {
    match value {
        Datum::Text(text) if matches!(typed.pg_type.oid, 650 | 869) && !text.contains('/') => {
            Ok(format!("{text}/{}", if text.contains(':') { 128 } else { 32 }))
        }
        _ => text_of(typed, value, display),
    }
}

fn interval(value: IntervalMonthDayNano, display: &DisplaySettings) -> Result<String, Diagnosis> {
    let mut out: Vec<u8> = Vec::new();
    let parts = format::interval::Interval { months: value.months, days: value.days, micros: value.nanoseconds / 1000 };
    format::interval::write(parts, display.interval_style, &mut out);
    Ok(String::from_utf8(out).unwrap_or_default())
}

/// An array's text: elements in braces, quoted where they must be.
fn list(typed: &Typed, value: &Datum<'_>, display: &DisplaySettings) -> Result<String, Diagnosis> {
    let parts: Vec<Option<String>> = match value {
        Datum::Texts(texts) => texts.clone(),
        Datum::List(items) => {
            let element = typed.pg_type.element().unwrap_or_else(|| PgType::from_arrow(items.data_type()));
            let element = if items.data_type().is_nested() { typed.clone() } else { element.into() };
            let internal =
                |error: datafusion::error::DataFusionError| Diagnosis::new(sqlstate::INTERNAL_ERROR, error.strip_backtrace());
            let column = Column::new(items, Some(&element)).map_err(internal)?;
            let mut parts = Vec::with_capacity(items.len());
            for row in 0..items.len() {
                let item = column.get(row);
                parts.push(match item {
                    Datum::Null => None,
                    Datum::Bool(value) => Some(if value { "t".to_owned() } else { "f".to_owned() }),
                    Datum::List(_) => Some(list(typed, &item, display)?),
                    other => Some(quoted(&text_of(&element, &other, display)?)),
                });
            }
            return Ok(braces(parts));
        }
        _ => Vec::new(),
    };
    Ok(braces(parts.into_iter().map(|part| part.map(|text| quoted(&text))).collect()))
}

fn braces(parts: Vec<Option<String>>) -> String {
    let parts: Vec<String> = parts.into_iter().map(|part| part.unwrap_or_else(|| "NULL".to_owned())).collect();
    format!("{{{}}}", parts.join(","))
}

fn quoted(text: &str) -> String {
    let plain = !text.is_empty()
        && !text.eq_ignore_ascii_case("null")
        && !text.contains(|letter: char| matches!(letter, '{' | '}' | ',' | '"' | '\\') || format::fault::is_space(letter));
    if plain { text.to_owned() } else { format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")) }
}

/// `money` as the C locale of a US server shows it.
pub(in super::super) fn money(value: &Numeric) -> String {
    let text = value.round(2).to_canonical();
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text.as_str()),
    };
    let (whole, cents) = digits.split_once('.').unwrap_or((digits, "00"));
    let mut grouped = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    format!("{sign}${grouped}.{cents}")
}
