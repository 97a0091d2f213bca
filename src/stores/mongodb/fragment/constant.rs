//! Constants of a fragment as BSON literals of the kind of their type.

use mongodb::bson::{Binary, Bson, DateTime, Uuid};

use super::super::literal::DATE_RANGE;
use super::cell::{Kind, Value, literal};
use super::decimal;
use crate::pgtype::{DATE_INFINITY, DATE_NEGATIVE_INFINITY, PgType};
use crate::stores::value;

const NO_KIND: &str = "MongoDB has no values of the type";
const MILLIS_OF_DAY: i64 = 86_400_000;

/// A constant of a type; `None` is NULL.
pub(super) fn constant(pg_type: PgType, value: Option<&value::Value>) -> Result<Value, &'static str> {
    let kind = Kind::of(pg_type).ok_or(NO_KIND)?;
    let Some(value) = value else { return Ok(Value { bson: Bson::Null, kind, nullable: true }) };
    let (kind, bson) = match (kind, value) {
        (Kind::Bool, value::Value::Bool(truth)) => (kind, Bson::Boolean(*truth)),
        (Kind::Int, value::Value::Int(number)) => (kind, Bson::Int64(*number)),
        (Kind::Float, value::Value::Float(number)) => (kind, Bson::Double(*number)),
        (Kind::Decimal { .. }, value::Value::Int(number)) => {
            (Kind::Decimal { scale: 0 }, decimal(i128::from(*number), 0).ok_or("the number has more than 34 digits")?)
        }
        (Kind::Decimal { .. }, value::Value::Decimal { unscaled, scale }) => {
            let bson = decimal(*unscaled, -i32::from(*scale)).ok_or("the number has more than 34 digits")?;
            (Kind::Decimal { scale: *scale }, bson)
        }
        (Kind::Decimal { .. }, value::Value::Numeric(text)) => {
            let (unscaled, scale) = digits(text).ok_or("the number has more than 34 digits")?;
            (Kind::Decimal { scale }, decimal(unscaled, -i32::from(scale)).ok_or("the number has more than 34 digits")?)
        }
        (Kind::Text, value::Value::Text(text)) => (kind, Bson::String(text.clone())),
        (Kind::Uuid, value::Value::Text(text)) => {
            let uuid = Uuid::parse_str(text).map_err(|_no_uuid| "the literal is not a uuid")?;
            (kind, Bson::Binary(Binary::from_uuid(uuid)))
        }
        (Kind::Moment, value::Value::TimestampTz(micros)) => (kind, moment(*micros)?),
        (Kind::Day, value::Value::Date(days)) => (kind, day(*days)?),
        _ => return Err(NO_KIND),
    };
    Ok(Value { bson: literal(bson), kind, nullable: false })
}

/// The digits of a canonical `numeric`, with how many of them stand after the point.
fn digits(text: &str) -> Option<(i128, u8)> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    Some((format!("{whole}{fraction}").parse().ok()?, u8::try_from(fraction.len()).ok()?))
}

/// Dates of the server have milliseconds.
fn moment(micros: i64) -> Result<Bson, &'static str> {
    let millis = micros.div_euclid(1000);
    if micros.rem_euclid(1000) != 0 || !(DATE_RANGE.0..=DATE_RANGE.1).contains(&millis) {
        return Err("dates of MongoDB are finite and have milliseconds");
    }
    Ok(Bson::DateTime(DateTime::from_millis(millis)))
}

fn day(days: i32) -> Result<Bson, &'static str> {
    if matches!(days, DATE_INFINITY | DATE_NEGATIVE_INFINITY) {
        return Err("dates of MongoDB are finite");
    }
    Ok(Bson::DateTime(DateTime::from_millis(i64::from(days) * MILLIS_OF_DAY)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_their_digits() {
        let rows = [("0.050", Some((50, 3))), ("-0.5", Some((-5, 1))), ("12", Some((12, 0))), ("NaN", None), ("-Infinity", None)];
        for (text, expected) in rows {
            assert_eq!(digits(text), expected, "{text}");
        }
        let wide = value::Value::Numeric("1".repeat(35));
        assert!(constant(PgType::NUMERIC, Some(&wide)).is_err());
    }

    #[test]
    fn moments_between_milliseconds_are_no_dates() {
        for (micros, expected) in [(1_000, true), (1_001, false), (i64::MAX, false), (i64::MIN, false)] {
            assert_eq!(constant(PgType::TIMESTAMPTZ, Some(&value::Value::TimestampTz(micros))).is_ok(), expected, "{micros}");
        }
    }
}
