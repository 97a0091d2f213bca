//! Integer columns of every width and sign: as `smallint` to `bigint`, `oid` and its kin, `numeric`, floats, or text.

use arrow::array::{Array, ArrowPrimitiveType, AsArray};
use arrow::datatypes::{DataType, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type};
use bytes::BufMut;

use super::{Cell, Target, mismatch, out_of_range};
use crate::error::Diagnosis;
use crate::format::{integer, numeric, regtype};
use crate::pgtype::PgType;

/// The writer of an integer column.
pub(super) fn cell<'a>(array: &'a dyn Array, target: Target<'a>) -> Result<Cell<'a>, Diagnosis> {
    match array.data_type() {
        DataType::Int8 => narrow::<Int8Type>(array, target),
        DataType::Int16 => narrow::<Int16Type>(array, target),
        DataType::Int32 => narrow::<Int32Type>(array, target),
        DataType::Int64 => narrow::<Int64Type>(array, target),
        DataType::UInt8 => narrow::<UInt8Type>(array, target),
        DataType::UInt16 => narrow::<UInt16Type>(array, target),
        DataType::UInt32 => narrow::<UInt32Type>(array, target),
        DataType::UInt64 => unsigned(array, target),
        _ => Err(mismatch(array, target)),
    }
}

/// Columns whose values all fit 64 bits with sign.
fn narrow<'a, T>(array: &'a dyn Array, target: Target<'a>) -> Result<Cell<'a>, Diagnosis>
where
    T: ArrowPrimitiveType,
    i64: From<T::Native>,
{
    let values = array.as_primitive::<T>();
    if target.pg_type.oid == 1700 {
        return Ok(as_numeric(target, move |row| i128::from(i64::from(values.value(row)))));
    }
    if target.is_text() && target.pg_type.oid == PgType::REGTYPE.oid {
        return Ok(Box::new(move |row, out| {
            out.put_slice(regtype::text(i64::from(values.value(row))).as_bytes());
            Ok(())
        }));
    }
    if target.is_text() {
        return Ok(Box::new(move |row, out| {
            integer::write(i64::from(values.value(row)), out);
            Ok(())
        }));
    }
    let read = move |row: usize| i64::from(values.value(row));
    match target.pg_type.oid {
        20 => Ok(Box::new(move |row, out| {
            out.put_i64(read(row));
            Ok(())
        })),
        23 => Ok(Box::new(move |row, out| {
            out.put_i32(i32::try_from(read(row)).map_err(|_cause| out_of_range(target))?);
            Ok(())
        })),
        21 => Ok(Box::new(move |row, out| {
            out.put_i16(i16::try_from(read(row)).map_err(|_cause| out_of_range(target))?);
            Ok(())
        })),
        24 | 26 | 28 | 2205 | 2206 | 4089 | 4096 => Ok(Box::new(move |row, out| {
            out.put_u32(u32::try_from(read(row)).map_err(|_cause| out_of_range(target))?);
            Ok(())
        })),
        700 | 701 => as_float(target, move |row| i128::from(read(row))),
        _ => Err(mismatch(array, target)),
    }
}

/// Columns of 64 bits without sign, which `numeric` announces.
fn unsigned<'a>(array: &'a dyn Array, target: Target<'a>) -> Result<Cell<'a>, Diagnosis> {
    let values = array.as_primitive::<UInt64Type>();
    if target.pg_type.oid == 1700 {
        return Ok(as_numeric(target, move |row| i128::from(values.value(row))));
    }
    if target.is_text() {
        return Ok(Box::new(move |row, out| {
            integer::write_unsigned(values.value(row), out);
            Ok(())
        }));
    }
    match target.pg_type.oid {
        20 => Ok(Box::new(move |row, out| {
            out.put_i64(i64::try_from(values.value(row)).map_err(|_cause| out_of_range(target))?);
            Ok(())
        })),
        23 => Ok(Box::new(move |row, out| {
            out.put_i32(i32::try_from(values.value(row)).map_err(|_cause| out_of_range(target))?);
            Ok(())
        })),
        26 => Ok(Box::new(move |row, out| {
            out.put_u32(u32::try_from(values.value(row)).map_err(|_cause| out_of_range(target))?);
            Ok(())
        })),
        700 | 701 => as_float(target, move |row| i128::from(values.value(row))),
        _ => Err(mismatch(array, target)),
    }
}

/// Whole numbers as `numeric`, with the zeros after the point that the declared scale shows.
fn as_numeric<'a>(target: Target<'a>, read: impl Fn(usize) -> i128 + 'a) -> Cell<'a> {
    let scale = target.pg_type.numeric_shape().and_then(|(_, scale)| i8::try_from(scale.max(0)).ok()).unwrap_or(0);
    // 19 digits times at most 10^18 stay inside 128 bits; a larger scale is not announced for whole numbers.
    let unit = 10i128.checked_pow(u32::from(scale.unsigned_abs())).unwrap_or(1);
    let is_text = target.is_text();
    Box::new(move |row, out| {
        let unscaled = read(row).checked_mul(unit).ok_or_else(|| out_of_range(target))?;
        if is_text {
            numeric::write_i128(unscaled, scale, out);
            return Ok(());
        }
        numeric::write_binary_i128(unscaled, scale, out)
    })
}

#[expect(clippy::cast_precision_loss, reason = "SQL's own conversion of integers to floats rounds to the nearest")]
fn as_float<'a>(target: Target<'a>, read: impl Fn(usize) -> i128 + 'a) -> Result<Cell<'a>, Diagnosis> {
    if target.pg_type.oid == 700 {
        return Ok(Box::new(move |row, out| {
            out.put_f32(read(row) as f32);
            Ok(())
        }));
    }
    Ok(Box::new(move |row, out| {
        out.put_f64(read(row) as f64);
        Ok(())
    }))
}
