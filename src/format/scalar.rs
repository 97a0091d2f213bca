//! From text to a scalar in the carrier of a declared type: one arm per type, each a reader of this room.
//!
//! Parameters in text format and text given to casts read the same way through this file.

use datafusion::scalar::ScalarValue;

use super::{DisplaySettings, boolean, bytea, fault, float, integer, numeric, uuid};
use crate::error::Diagnosis;
use crate::pgtype::PgType;
use arrow::datatypes::DataType;

/// NULL in the carrier of `pg_type`.
///
/// # Errors
/// XX000 when the engine has no NULL of that carrier, which none of [`PgType::carrier`]'s answers lacks.
pub fn null(pg_type: PgType) -> Result<ScalarValue, Diagnosis> {
    ScalarValue::try_from(&pg_type.carrier())
        .map_err(|error| Diagnosis::new(crate::error::sqlstate::INTERNAL_ERROR, error.strip_backtrace()))
}

/// Reads the text form of `pg_type`.
///
/// # Errors
/// 22P02, 22003, 22007 or 22008 in PostgreSQL's words; 0A000 for a value the carrier cannot hold.
pub fn read(pg_type: PgType, text: &str, display: &DisplaySettings) -> Result<ScalarValue, Diagnosis> {
    let _ = display;
    let value = match pg_type.oid {
        16 => ScalarValue::Boolean(Some(boolean::read(text)?)),
        17 => ScalarValue::Binary(Some(bytea::read(text)?)),
        20 => ScalarValue::Int64(Some(integer::read_i64(text)?)),
        21 => ScalarValue::Int16(Some(integer::read_i16(text)?)),
        23 => ScalarValue::Int32(Some(integer::read_i32(text)?)),
        26 => ScalarValue::Int64(Some(i64::from(integer::read_oid(text)?))),
        24 | 2205 | 2206 | 4089 | 4096 => ScalarValue::Int64(Some(i64::from(read_object_id(pg_type, text)?))),
        700 => ScalarValue::Float32(Some(float::read_f32(text)?)),
        701 => ScalarValue::Float64(Some(float::read_f64(text)?)),
        1700 => from_numeric(pg_type, numeric::read(text)?)?,
        2950 => ScalarValue::Utf8(Some(uuid_text(&uuid::read(text)?))),
        _ if pg_type.carrier() == DataType::Utf8 => ScalarValue::Utf8(Some(text.to_owned())),
        _ => return Err(fault::unsupported(format!("values of type {pg_type} cannot be read from text"))),
    };
    Ok(value)
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
