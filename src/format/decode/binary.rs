//! Parameters in binary format: one arm per type, as PostgreSQL's `typreceive` functions read them.

use datafusion::scalar::ScalarValue;

use super::text;
use crate::error::{Diagnosis, sqlstate};
use crate::format::network::{Network, write_mac};
use crate::format::{DisplaySettings, bit, date, fault, interval, json, lsn, money, numeric, scalar, time, timestamp};
use crate::pgtype::{PgType, UTC};

/// Reads the binary form of `pg_type`.
pub(super) fn read(pg_type: PgType, bytes: &[u8], display: &DisplaySettings) -> Result<ScalarValue, Diagnosis> {
    if let Some(element) = pg_type.element() {
        return read_array(pg_type, element, bytes, display);
    }
    let value = match pg_type.oid {
        16 => ScalarValue::Boolean(Some(fixed::<1>(pg_type, bytes)? != [0])),
        17 => ScalarValue::Binary(Some(bytes.to_vec())),
        20 => ScalarValue::Int64(Some(i64::from_be_bytes(fixed(pg_type, bytes)?))),
        21 => ScalarValue::Int16(Some(i16::from_be_bytes(fixed(pg_type, bytes)?))),
        23 => ScalarValue::Int32(Some(i32::from_be_bytes(fixed(pg_type, bytes)?))),
        24 | 26 | 2205 | 2206 | 4089 | 4096 => ScalarValue::Int64(Some(i64::from(u32::from_be_bytes(fixed(pg_type, bytes)?)))),
        700 => ScalarValue::Float32(Some(f32::from_be_bytes(fixed(pg_type, bytes)?))),
        701 => ScalarValue::Float64(Some(f64::from_be_bytes(fixed(pg_type, bytes)?))),
        1082 => ScalarValue::Date32(Some(date::from_wire(i32::from_be_bytes(fixed(pg_type, bytes)?))?)),
        1083 => ScalarValue::Time64Microsecond(Some(time::check(i64::from_be_bytes(fixed(pg_type, bytes)?))?)),
        1114 => ScalarValue::TimestampMicrosecond(Some(read_instant(pg_type, bytes)?), None),
        1184 => ScalarValue::TimestampMicrosecond(Some(read_instant(pg_type, bytes)?), Some(UTC.into())),
        1186 => scalar::from_interval(interval::read_binary(bytes)?)?,
        1700 => scalar::from_numeric(pg_type, numeric::read_binary(bytes)?)?,
        18 | 19 | 25 | 114 | 142 | 705 | 1042 | 1043 => scalar::read(pg_type, text(bytes)?, display)?,
        _ => ScalarValue::Utf8(Some(read_to_text(pg_type, bytes)?)),
    };
    Ok(value)
}

fn read_instant(pg_type: PgType, bytes: &[u8]) -> Result<i64, Diagnosis> {
    timestamp::from_wire(i64::from_be_bytes(fixed(pg_type, bytes)?))
}

/// Types that travel as canonical text inside the engine but have a binary form of their own.
fn read_to_text(pg_type: PgType, bytes: &[u8]) -> Result<String, Diagnosis> {
    let mut out = Vec::new();
    match pg_type.oid {
        28 => return Ok(u32::from_be_bytes(fixed(pg_type, bytes)?).to_string()),
        650 => Network::read_binary(bytes, true)?.write(&mut out),
        774 => write_mac(&fixed::<8>(pg_type, bytes)?, &mut out),
        790 => money::write(i64::from_be_bytes(fixed(pg_type, bytes)?), &mut out),
        829 => write_mac(&fixed::<6>(pg_type, bytes)?, &mut out),
        869 => Network::read_binary(bytes, false)?.write(&mut out),
        1266 => time::write_zoned(time::read_zoned_binary(bytes)?, &mut out),
        1560 | 1562 => return bit::read_binary(bytes),
        2950 => return Ok(scalar::uuid_text(&fixed(pg_type, bytes)?)),
        3220 => return Ok(lsn::text(u64::from_be_bytes(fixed(pg_type, bytes)?))),
        3802 => return json::canonical(versioned(pg_type, bytes)?),
        4072 => return versioned(pg_type, bytes).map(str::to_owned),
        _ => return Err(fault::unsupported(format!("no binary input function available for type {pg_type}"))),
    }
    Ok(String::from_utf8(out).unwrap_or_default())
}

/// Text behind the version number 1.
fn versioned(pg_type: PgType, bytes: &[u8]) -> Result<&str, Diagnosis> {
    match bytes.split_first() {
        Some((1, rest)) => text(rest),
        _ => Err(fault::binary(&pg_type.to_string())),
    }
}

/// The binary form of `array_send`: dimensions, whether NULLs occur, element type, then each dimension and each element.
fn read_array(pg_type: PgType, element: PgType, bytes: &[u8], display: &DisplaySettings) -> Result<ScalarValue, Diagnosis> {
    let mut rest = bytes;
    let mut word = || take::<4>(pg_type, &mut rest).map(i32::from_be_bytes);
    let (dimensions, flags, oid) = (word()?, word()?, word()?);
    if !matches!(flags, 0 | 1) {
        return Err(fault::binary(&pg_type.to_string()));
    }
    let sent = u32::from_be_bytes(oid.to_be_bytes());
    if sent != element.oid {
        let message = format!(
            "binary data has array element type {sent} ({}) instead of expected {} ({element})",
            PgType::with_typmod(sent, -1),
            element.oid
        );
        return Err(Diagnosis::new(sqlstate::DATATYPE_MISMATCH, message));
    }
    let length = match dimensions {
        0 => 0,
        1 => word()?,
        2..=6 => return Err(fault::unsupported("multidimensional arrays are not supported here")),
        _ => return Err(fault::binary(&pg_type.to_string())),
    };
    if dimensions == 1 && word()? != 1 {
        return Err(fault::unsupported("arrays with a lower bound other than 1 are not supported here"));
    }
    // Every element takes four bytes at least, so the announced length is bounded before anything is reserved.
    let length = usize::try_from(length).ok().filter(|&length| length <= rest.len() / 4);
    let length = length.ok_or_else(|| fault::binary(&pg_type.to_string()))?;
    let mut elements = Vec::with_capacity(length);
    for _ in 0..length {
        elements.push(read_element(pg_type, element, &mut rest, display)?);
    }
    if rest.is_empty() { scalar::list(pg_type, elements) } else { Err(fault::binary(&pg_type.to_string())) }
}

fn read_element(pg_type: PgType, element: PgType, rest: &mut &[u8], display: &DisplaySettings) -> Result<ScalarValue, Diagnosis> {
    let malformed = || fault::binary(&pg_type.to_string());
    match i32::from_be_bytes(take(pg_type, rest)?) {
        -1 => scalar::null(element),
        size => {
            let size = usize::try_from(size).map_err(|_cause| malformed())?;
            let (value, tail) = rest.split_at_checked(size).ok_or_else(malformed)?;
            *rest = tail;
            read(element, value, display)
        }
    }
}

/// The next `N` bytes.
fn take<const N: usize>(pg_type: PgType, rest: &mut &[u8]) -> Result<[u8; N], Diagnosis> {
    let (head, tail) = rest.split_first_chunk::<N>().ok_or_else(|| fault::binary(&pg_type.to_string()))?;
    *rest = tail;
    Ok(*head)
}

/// The bytes as an array of exactly the type's length.
fn fixed<const N: usize>(pg_type: PgType, bytes: &[u8]) -> Result<[u8; N], Diagnosis> {
    bytes.try_into().map_err(|_cause| fault::binary(&pg_type.to_string()))
}
