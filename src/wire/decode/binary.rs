//! Parameters in binary format: one arm per type, as PostgreSQL's `typreceive` functions read them.

use datafusion::scalar::ScalarValue;

use super::text;
use crate::error::Diagnosis;
use crate::format::{DisplaySettings, fault, numeric, scalar};
use crate::pgtype::PgType;

/// Reads the binary form of `pg_type`.
pub(super) fn read(pg_type: PgType, bytes: &[u8], display: &DisplaySettings) -> Result<ScalarValue, Diagnosis> {
    let value = match pg_type.oid {
        16 => ScalarValue::Boolean(Some(fixed::<1>(pg_type, bytes)? != [0])),
        17 => ScalarValue::Binary(Some(bytes.to_vec())),
        20 => ScalarValue::Int64(Some(i64::from_be_bytes(fixed(pg_type, bytes)?))),
        21 => ScalarValue::Int16(Some(i16::from_be_bytes(fixed(pg_type, bytes)?))),
        23 => ScalarValue::Int32(Some(i32::from_be_bytes(fixed(pg_type, bytes)?))),
        24 | 26 | 2205 | 2206 | 4089 | 4096 => ScalarValue::Int64(Some(i64::from(u32::from_be_bytes(fixed(pg_type, bytes)?)))),
        700 => ScalarValue::Float32(Some(f32::from_be_bytes(fixed(pg_type, bytes)?))),
        701 => ScalarValue::Float64(Some(f64::from_be_bytes(fixed(pg_type, bytes)?))),
        1700 => scalar::from_numeric(pg_type, numeric::read_binary(bytes)?)?,
        2950 => ScalarValue::Utf8(Some(scalar::uuid_text(&fixed(pg_type, bytes)?))),
        18 | 19 | 25 | 114 | 142 | 705 | 1042 | 1043 => scalar::read(pg_type, text(bytes)?, display)?,
        _ => return Err(fault::unsupported(format!("no binary input function available for type {pg_type}"))),
    };
    Ok(value)
}

/// The bytes as an array of exactly the type's length.
fn fixed<const N: usize>(pg_type: PgType, bytes: &[u8]) -> Result<[u8; N], Diagnosis> {
    bytes.try_into().map_err(|_cause| fault::binary(&pg_type.to_string()))
}
