//! Casts: which exist, which the engine does by itself, and how the others convert a value.
//!
//! Text forms are `format`'s; this room only decides rounding, ranges and which pairs of types convert at all.

mod assign;
mod from_text;
mod to_text;

use arrow::datatypes::{DataType, IntervalMonthDayNano};
use datafusion::error::Result;
use datafusion::scalar::ScalarValue;

use crate::error::{Diagnosis, sqlstate};
use crate::format::fault;
use crate::format::interval::{self, Interval};
use crate::pgtype::{DATE_INFINITY, DATE_NEGATIVE_INFINITY, PgType, TIMESTAMP_INFINITY, TIMESTAMP_NEGATIVE_INFINITY};

use super::clock;
use super::datum::{DAY_US, Datum, date_to_timestamp, out_of_range};
use super::numeric::Numeric;
use super::operators::plain;
use super::overload::{is_string, numeric_rank};
use super::settings::SessionValues;
use super::typed::{Call, Kernel, Typed, TypedFunction};

pub(in crate::federation) use assign::{Assigned, assign_array, is_assignable, number_type};
pub(super) use to_text::{cast_text, text_of};

/// The carrier to which the engine's own cast converts as PostgreSQL would; `None` when it would not.
pub(super) fn engine_cast(from: &Typed, carrier: &DataType, to: &Typed) -> Option<DataType> {
    let (low, high) = (from.pg_type, to.pg_type);
    match (numeric_rank(low), numeric_rank(high)) {
        (Some(0..=2), Some(3)) if high.typmod == -1 => match carrier {
            DataType::Int16 => Some(DataType::Decimal128(5, 0)),
            DataType::Int32 => Some(DataType::Decimal128(10, 0)),
            DataType::Int64 => Some(DataType::Decimal128(19, 0)),
            _ => None,
        },
        (Some(from_rank @ 0..=2), Some(to_rank)) if from_rank < to_rank => match to_rank {
            1 | 2 | 4 | 5 => Some(high.carrier()),
            _ => None,
        },
        (Some(4), Some(5)) => Some(DataType::Float64),
        (None, Some(2)) if is_object_id(low) => Some(DataType::Int64),
        (None, None) if is_string(low) && matches!(high.oid, 25) && low.oid != 1042 => Some(DataType::Utf8),
        (None, None) if is_string(low) && high.oid == 1043 && high.typmod == -1 && low.oid != 1042 => Some(DataType::Utf8),
        _ => None,
    }
}

/// The function that casts between two types.
///
/// # Errors
/// 42846 when PostgreSQL has no such cast.
pub(super) fn function(from: &Typed, to: &Typed, explicit: bool) -> Result<TypedFunction, Diagnosis> {
    if !exists(from.pg_type, to.pg_type) {
        let message = format!("cannot cast type {} to {}", plain(from), plain(to));
        return Err(Diagnosis::new(sqlstate::CANNOT_COERCE, message));
    }
    let kernel = if explicit { explicit_kernel } else { implicit_kernel };
    let name = if explicit { "pg_cast" } else { "pg_convert" };
    let carrier = match (from.pg_type.oid, to.pg_type.oid, to.pg_type.typmod) {
        // An integer needs no wide carrier to become an unconstrained numeric.
        (20 | 21 | 23, 1700, -1) => DataType::Decimal128(19, 0),
        _ => to.pg_type.carrier(),
    };
    Ok(TypedFunction::new(name, vec![from.clone()], to.clone(), Kernel::Strict(kernel)).with_carrier(carrier))
}

/// Whether a cast exists, asked for or not.
fn exists(from: PgType, to: PgType) -> bool {
    if from.oid == to.oid || is_string(from) || is_string(to) {
        return true;
    }
    if let (Some(from), Some(to)) = (from.element(), to.element()) {
        return exists(from, to);
    }
    let (low, high) = (numeric_rank(from), numeric_rank(to));
    if low.is_some() && high.is_some() {
        return true;
    }
    matches!(
        (from.oid, to.oid),
        (16, 23)
            | (23, 16)
            | (1082, 1114 | 1184)
            | (1114, 1082 | 1083 | 1184)
            | (1184, 1082 | 1083 | 1114 | 1266)
            | (1083, 1186 | 1266)
            | (1186, 1083)
            | (1266, 1083)
            | (114, 3802)
            | (3802, 114)
            | (3802, 16 | 20 | 21 | 23 | 700 | 701 | 1700)
            | (650, 869)
            | (869, 650)
            | (1560, 1562)
            | (1562, 1560)
            | (1560, 20 | 23)
            | (20 | 23, 1560)
            | (20 | 23 | 1700, 790)
            | (790, 1700)
            | (20 | 21 | 23, 24 | 26 | 2205 | 2206 | 4089 | 4096)
            | (24 | 26 | 2205 | 2206 | 4089 | 4096, 20 | 23 | 24 | 26 | 2205 | 2206 | 4089 | 4096)
            | (829, 774)
            | (774, 829)
    )
}

/// Reads an untyped literal as a type, as PostgreSQL's input functions do.
///
/// # Errors
/// 22P02, 22007, 22008, 22003, 22001 in PostgreSQL's words.
pub(super) fn read_literal(text: &str, to: &Typed, explicit: bool, session: &SessionValues) -> Result<ScalarValue> {
    from_text::read_scalar(text, to, explicit, session)
}

fn explicit_kernel<'a>(call: &Call<'_>, a: &[Datum<'a>]) -> Result<Datum<'a>, Diagnosis> {
    convert(call, &a[0], true)
}

fn implicit_kernel<'a>(call: &Call<'_>, a: &[Datum<'a>]) -> Result<Datum<'a>, Diagnosis> {
    convert(call, &a[0], false)
}

fn convert<'a>(call: &Call<'_>, value: &Datum<'a>, explicit: bool) -> Result<Datum<'a>, Diagnosis> {
    let from = call.arguments.first().cloned().unwrap_or_else(|| PgType::TEXT.into());
    one(&from, call.returns, value, explicit, &call.session)
}

/// Converts one value.
pub(super) fn one<'a>(
    from: &Typed,
    to: &Typed,
    value: &Datum<'a>,
    explicit: bool,
    session: &SessionValues,
) -> Result<Datum<'a>, Diagnosis> {
    let (source, target) = (from.pg_type, to.pg_type);
    if let (Some(from_element), Some(to_element)) = (source.element(), target.element()) {
        let elements = (
            Typed { pg_type: from_element, labels: from.labels.clone() },
            Typed { pg_type: to_element, labels: to.labels.clone() },
        );
        return from_text::convert_list(&elements.0, &elements.1, value, explicit, session);
    }
    if is_string(target) {
        let text = match (source.oid, value) {
            (1042, Datum::Text(text)) => text.trim_end_matches(' ').to_owned(),
            _ => cast_text(from, value, &session.display)?,
        };
        return from_text::fit(text, target, explicit).map(Datum::text);
    }
    if is_string(source) {
        return from_text::read(value.as_text(), to, explicit, session);
    }
    match (numeric_rank(source), numeric_rank(target)) {
        (Some(_), Some(_)) => number(source, value, target),
        _ => other(source, to, value, session),
    }
}

fn number<'a>(source: PgType, value: &Datum<'a>, target: PgType) -> Result<Datum<'a>, Diagnosis> {
    match target.oid {
        20 | 21 | 23 => {
            let whole = match value {
                Datum::Int(value) => Some(*value),
                Datum::Float(value) => whole_float(*value),
                Datum::Numeric(Numeric::NotANumber) => return Err(special_to_integer("NaN", target)),
                Datum::Numeric(Numeric::Infinity | Numeric::NegativeInfinity) => {
                    return Err(special_to_integer("infinity", target));
                }
                Datum::Numeric(value) => value.to_integer(),
                _ => None,
            };
            let fits = whole.filter(|value| match target.oid {
                21 => i16::try_from(*value).is_ok(),
                23 => i32::try_from(*value).is_ok(),
                _ => true,
            });
            fits.map(Datum::Int).ok_or_else(|| out_of_range(target))
        }
        700 | 701 => float(value, target).map(Datum::Float),
        _ => constrained(from_number(source, value), target).map(Datum::Numeric),
    }
}

/// A number as a float of the type. A `numeric` is read by its digits, and rounded once.
fn float(value: &Datum<'_>, target: PgType) -> Result<f64, Diagnosis> {
    let is_single = target.oid == PgType::FLOAT4.oid;
    match value {
        Datum::Numeric(number @ Numeric::Finite(_)) => {
            let digits = number.to_canonical();
            let found = if is_single { digits.parse::<f32>().map(f64::from) } else { digits.parse::<f64>() };
            let is_zero = || number.compare(&Numeric::from_parts(0, 0)).is_eq();
            match found {
                Ok(found) if found.is_finite() && (found != 0.0 || is_zero()) => Ok(found),
                _ => Err(beyond(&format!("\"{digits}\" is out of range for type {target}"))),
            }
        }
        Datum::Int(value) if is_single => Ok(f64::from(*value as f32)),
        _ if is_single => {
            let wide = value.as_float();
            let narrow = wide as f32;
            if narrow.is_infinite() && wide.is_finite() {
                return Err(beyond("value out of range: overflow"));
            }
            if narrow == 0.0 && wide != 0.0 {
                return Err(beyond("value out of range: underflow"));
            }
            Ok(f64::from(narrow))
        }
        _ => Ok(value.as_float()),
    }
}

fn beyond(message: &str) -> Diagnosis {
    Diagnosis::new(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, message)
}

fn special_to_integer(what: &str, target: PgType) -> Diagnosis {
    Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, format!("cannot convert {what} to {target}"))
}

fn whole_float(value: f64) -> Option<i64> {
    let rounded = value.round_ties_even();
    // The bounds are exact powers of two, so the comparison is exact.
    (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&rounded).then_some(rounded as i64)
}

/// A float becomes `numeric` with the digits that its type is sure of, `FLT_DIG` and `DBL_DIG`.
fn from_number(source: PgType, value: &Datum<'_>) -> Numeric {
    match value {
        Datum::Float(value) => Numeric::from_float(*value, if source.oid == PgType::FLOAT4.oid { 6 } else { 15 }),
        other => other.as_numeric(),
    }
}

/// Applies the modifier of a numeric type.
fn constrained(value: Numeric, target: PgType) -> Result<Numeric, Diagnosis> {
    match target.numeric_shape() {
        Some((precision, scale)) => value.constrain(precision, scale),
        None => Ok(value),
    }
}

fn other<'a>(source: PgType, to: &Typed, value: &Datum<'a>, session: &SessionValues) -> Result<Datum<'a>, Diagnosis> {
    let zone = session.display.time_zone;
    let digits = |at: i64| round_fraction(at, to.pg_type.typmod);
    Ok(match (source.oid, to.pg_type.oid, value) {
        (16, _, Datum::Bool(value)) => Datum::Int(i64::from(*value)),
        (20 | 21 | 23, 16, Datum::Int(value)) => Datum::Bool(*value != 0),
        (1082, 1114, Datum::Date(days)) => Datum::Timestamp(midnight(*days)?),
        (1082, 1184, Datum::Date(days)) => Datum::Timestamp(clock::to_instant(midnight(*days)?, zone)),
        (1082, 1184, Datum::Timestamp(at)) => Datum::Timestamp(clock::to_instant(*at, zone)),
        (1114, 1184, Datum::Timestamp(at)) => Datum::Timestamp(digits(clock::to_instant(*at, zone))),
        (1184, 1114, Datum::Timestamp(at)) => Datum::Timestamp(digits(clock::to_local(*at, zone))),
        (1114 | 1184, 1114 | 1184, Datum::Timestamp(at)) => Datum::Timestamp(digits(*at)),
        (1114, 1082, Datum::Timestamp(at)) => Datum::Date(date_of(*at)),
        (1184, 1082, Datum::Timestamp(at)) => Datum::Date(date_of(clock::to_local(*at, zone))),
        (1114 | 1184, 1083, Datum::Timestamp(at)) if clock::is_infinite(*at) => Datum::Null,
        (1114, 1083, Datum::Timestamp(at)) => Datum::Time(digits(at.rem_euclid(DAY_US))),
        (1184, 1083, Datum::Timestamp(at)) => Datum::Time(digits(clock::to_local(*at, zone).rem_euclid(DAY_US))),
        (1083, 1083, Datum::Time(at)) => Datum::Time(digits(*at)),
        (1083, 1186, value) => Datum::Interval(value.as_interval()),
        (1186, 1083, Datum::Interval(value)) => Datum::Time((value.nanoseconds / 1000).rem_euclid(DAY_US)),
        (1186, 1186, Datum::Interval(value)) => Datum::Interval(fitted(*value, to.pg_type)?),
        (20 | 23, 1560, Datum::Int(value)) => Datum::text(bits_of(*value, to.pg_type.typmod)),
        (1560, 20 | 23, Datum::Text(bits)) => Datum::Int(integer_of(bits, to.pg_type)?),
        (_, _, Datum::Int(value)) if is_object_id(source) || is_object_id(to.pg_type) => {
            Datum::Int(object_id(*value, source, to.pg_type)?)
        }
        (20 | 23 | 1700, 790, value) => Datum::text(to_text::money(&from_number(source, value))),
        (3802, 16 | 20 | 21 | 23 | 700 | 701 | 1700, Datum::Text(text)) => from_text::json_scalar(text, to.pg_type)?,
        (_, _, Datum::Text(text)) => from_text::read(text, to, true, session)?,
        _ => {
            let message = format!("cannot cast type {source} to {}", plain(to));
            return Err(Diagnosis::new(sqlstate::CANNOT_COERCE, message));
        }
    })
}

/// Object ids, and the names of the catalog that stand for them.
pub(super) fn is_object_id(pg_type: PgType) -> bool {
    matches!(pg_type.oid, 24 | 26 | 2205 | 2206 | 4089 | 4096)
}

/// An object id has no sign and the bits of an `integer`, which it is made of and becomes as it is; a `bigint` must fit.
fn object_id(value: i64, from: PgType, to: PgType) -> Result<i64, Diagnosis> {
    match (from.oid, to.oid) {
        (21 | 23, _) => Ok(i64::from(value as u32)),
        (20, _) => {
            let id = u32::try_from(value);
            id.map(i64::from).map_err(|_too_large| Diagnosis::new(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, "OID out of range"))
        }
        (_, 23) => Ok(i64::from(value as i32)),
        _ => Ok(value),
    }
}

/// An interval under the fields and digits of its type.
fn fitted(value: IntervalMonthDayNano, to: PgType) -> Result<IntervalMonthDayNano, Diagnosis> {
    let parts = Interval { months: value.months, days: value.days, micros: value.nanoseconds / 1000 };
    from_text::interval_of(interval::adjust(parts, to))
}

/// The lowest bits of an integer; a longer bit string repeats its sign, as PostgreSQL's does.
fn bits_of(value: i64, length: i32) -> String {
    (0..length.max(1)).rev().map(|place| if (value >> place.min(63)) & 1 == 1 { '1' } else { '0' }).collect()
}

/// A bit string as an integer without padding: `B'1010'` is 10, and only one of full width can be negative.
fn integer_of(bits: &str, to: PgType) -> Result<i64, Diagnosis> {
    let width = if to.oid == PgType::INT4.oid { 32 } else { 64 };
    if bits.len() > width {
        return Err(out_of_range(to));
    }
    let value = bits.bytes().fold(0_u64, |value, bit| value << 1 | u64::from(bit == b'1'));
    // Both casts keep the bits, so the highest one becomes the sign.
    Ok(if width == 32 { i64::from(value as u32 as i32) } else { value as i64 })
}

fn midnight(days: i32) -> Result<i64, Diagnosis> {
    let at = date_to_timestamp(days);
    if clock::is_infinite(at) && !matches!(days, DATE_INFINITY | DATE_NEGATIVE_INFINITY) {
        return Err(fault::datetime_range("date", None).with_detail("The date does not fit a timestamp."));
    }
    Ok(at)
}

fn date_of(at: i64) -> i32 {
    match at {
        TIMESTAMP_INFINITY => DATE_INFINITY,
        TIMESTAMP_NEGATIVE_INFINITY => DATE_NEGATIVE_INFINITY,
        at => i32::try_from(at.div_euclid(DAY_US)).unwrap_or(DATE_INFINITY),
    }
}

/// Rounds microseconds to the digits of a `timestamp(n)`.
pub(super) fn round_fraction(at: i64, digits: i32) -> i64 {
    if !(0..6).contains(&digits) || clock::is_infinite(at) {
        return at;
    }
    let unit = 10_i64.pow(6 - digits.unsigned_abs());
    let rest = at.rem_euclid(unit);
    let down = at - rest;
    if rest * 2 >= unit { down.saturating_add(unit) } else { down }
}
