//! From text to a scalar in the carrier of a declared type: one arm per type, each a reader of this room.
//!
//! Parameters in text format and text given to casts read the same way through this file.

use std::sync::Arc;

use arrow::array::{ListArray, new_empty_array};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, IntervalMonthDayNano};
use datafusion::scalar::ScalarValue;

use super::interval::Interval;
use super::network::{Network, read_mac, write_mac};
use super::{
    DisplaySettings, array, bit, boolean, bytea, date, fault, float, geometry, integer, interval, json, lsn, money, numeric, range,
    regtype, time, timestamp, uuid,
};
use crate::error::{Diagnosis, sqlstate};
use crate::pgtype::{PgType, UTC};

/// NULL in the carrier of `pg_type`.
///
/// # Errors
/// XX000 when the engine has no NULL of that carrier, which none of [`PgType::carrier`]'s answers lacks.
pub fn null(pg_type: PgType) -> Result<ScalarValue, Diagnosis> {
    ScalarValue::try_from(&pg_type.carrier()).map_err(|error| Diagnosis::new(sqlstate::INTERNAL_ERROR, error.strip_backtrace()))
}

/// Reads the text form of `pg_type`.
///
/// Multiranges, `xml` and the text search types are kept as they are: nothing here computes with them.
///
/// # Errors
/// 22P02, 22003, 22007 or 22008 in PostgreSQL's words; 0A000 for a value the carrier cannot hold.
pub fn read(pg_type: PgType, text: &str, display: &DisplaySettings) -> Result<ScalarValue, Diagnosis> {
    if let Some(element) = pg_type.element() {
        geometry::check_element(element)?;
        let elements = array::read(text)?;
        let values = elements.into_iter().map(|item| match item {
            Some(text) => read(element, &text, display),
            None => null(element),
        });
        return list(pg_type, values.collect::<Result<_, _>>()?);
    }
    let value = match pg_type.oid {
        16 => ScalarValue::Boolean(Some(boolean::read(text)?)),
        17 => ScalarValue::Binary(Some(bytea::read(text)?)),
        20 => ScalarValue::Int64(Some(integer::read_i64(text)?)),
        21 => ScalarValue::Int16(Some(integer::read_i16(text)?)),
        23 => ScalarValue::Int32(Some(integer::read_i32(text)?)),
        26 => ScalarValue::Int64(Some(i64::from(integer::read_oid(text)?))),
        24 | 2205 | 4089 | 4096 => ScalarValue::Int64(Some(i64::from(read_object_id(pg_type, text)?))),
        2206 => ScalarValue::Int64(Some(i64::from(regtype::read(text)?))),
        700 => ScalarValue::Float32(Some(float::read_f32(text)?)),
        701 => ScalarValue::Float64(Some(float::read_f64(text)?)),
        1082 => ScalarValue::Date32(Some(date::read(text, display)?)),
        1083 => ScalarValue::Time64Microsecond(Some(time::read(text, display)?)),
        1114 => ScalarValue::TimestampMicrosecond(Some(timestamp::read(text, display)?), None),
        1184 => ScalarValue::TimestampMicrosecond(Some(timestamp::read_tz(text, display)?), Some(UTC.into())),
        1186 => from_interval(interval::read(text, display.interval_style)?)?,
        1700 => from_numeric(pg_type, numeric::read(text)?)?,
        _ if pg_type.carrier() == DataType::Utf8 => ScalarValue::Utf8(Some(canonical_text(pg_type, text, display)?)),
        _ => return Err(fault::unsupported(format!("values of type {pg_type} cannot be read from text"))),
    };
    Ok(value)
}

/// The one text that stands for a value of a type carried as text.
fn canonical_text(pg_type: PgType, text: &str, display: &DisplaySettings) -> Result<String, Diagnosis> {
    let mut out = Vec::new();
    match pg_type.oid {
        28 => return Ok(integer::read_oid(text)?.to_string()),
        114 => {
            json::check(text)?;
            return Ok(text.to_owned());
        }
        600..=604 | 628 | 718 => return geometry::canonical(pg_type, text),
        650 => Network::read_cidr(text)?.write(&mut out),
        774 => write_mac(&read_mac::<8>("macaddr8", text)?, &mut out),
        790 => money::write(money::read(text)?, &mut out),
        829 => write_mac(&read_mac::<6>("macaddr", text)?, &mut out),
        869 => Network::read_inet(text)?.write(&mut out),
        1266 => time::write_zoned(time::read_zoned(text, display)?, &mut out),
        1560 | 1562 => return bit::read(text),
        2950 => return Ok(uuid_text(&uuid::read(text)?)),
        3220 => return Ok(lsn::text(lsn::read(text)?)),
        3802 => return json::canonical(text),
        3904 | 3906 | 3908 | 3910 | 3912 | 3926 => return range::canonical(pg_type, text, display),
        _ => return Ok(text.to_owned()),
    }
    Ok(String::from_utf8(out).unwrap_or_default())
}

/// A one-dimensional list of elements in the carrier of the array type `pg_type`.
///
/// # Errors
/// XX000 when the elements are not of the carrier's element type.
pub fn list(pg_type: PgType, elements: Vec<ScalarValue>) -> Result<ScalarValue, Diagnosis> {
    let internal = |text: String| Diagnosis::new(sqlstate::INTERNAL_ERROR, text);
    let DataType::List(field) = pg_type.carrier() else { return Err(internal(format!("{pg_type} is not an array type"))) };
    let length = elements.len();
    let values = if elements.is_empty() {
        new_empty_array(field.data_type())
    } else {
        ScalarValue::iter_to_array(elements).map_err(|error| internal(error.strip_backtrace()))?
    };
    let offsets = OffsetBuffer::from_lengths([length]);
    let array = ListArray::try_new(field, offsets, values, None).map_err(|error| internal(error.to_string()))?;
    Ok(ScalarValue::List(Arc::new(array)))
}

/// An interval in its carrier, which counts nanoseconds.
///
/// # Errors
/// 22008 beyond 292 years of hours, minutes and seconds.
pub fn from_interval(value: Interval) -> Result<ScalarValue, Diagnosis> {
    let nanos = value.micros.checked_mul(1_000).ok_or_else(|| fault::datetime_range("interval", None))?;
    Ok(ScalarValue::IntervalMonthDayNano(Some(IntervalMonthDayNano::new(value.months, value.days, nanos))))
}

/// A `reg…` value by number. Names need the catalog, so the session resolves them before a value gets here.
fn read_object_id(pg_type: PgType, text: &str) -> Result<u32, Diagnosis> {
    match text {
        "-" => Ok(0),
        _ => integer::read_oid(text).map_err(|_cause| fault::invalid(&pg_type.to_string(), text)),
    }
}

/// The canonical text of a uuid.
pub(crate) fn uuid_text(value: &[u8; 16]) -> String {
    let mut out = Vec::with_capacity(36);
    uuid::write(value, &mut out);
    String::from_utf8(out).unwrap_or_default()
}

/// A numeric in the carrier of its declared type, rounded to the declared scale.
///
/// # Errors
/// 22003 when it does not fit, 0A000 for NaN where the carrier is a fixed-width decimal.
pub fn from_numeric(pg_type: PgType, value: numeric::Numeric) -> Result<ScalarValue, Diagnosis> {
    let fitted = match pg_type.numeric_shape() {
        Some((precision, scale)) => value.fit(precision, scale)?,
        None => value,
    };
    let refuse = || fault::unsupported(format!("NaN cannot be carried as {pg_type}"));
    match pg_type.carrier() {
        DataType::Decimal128(precision, scale) => {
            let digits = fitted.unscaled_i128(scale.unsigned_abs()).ok_or_else(refuse)?;
            Ok(ScalarValue::Decimal128(Some(digits), precision, scale))
        }
        DataType::Decimal256(precision, scale) => {
            let digits = fitted.unscaled_i256(scale.unsigned_abs()).ok_or_else(refuse)?;
            Ok(ScalarValue::Decimal256(Some(digits), precision, scale))
        }
        _ => Ok(ScalarValue::Utf8(Some(fitted.to_string()))),
    }
}
