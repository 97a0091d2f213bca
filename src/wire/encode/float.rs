//! Float columns of 16, 32 and 64 bits.

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Float16Type, Float32Type, Float64Type};
use bytes::BufMut;

use super::{Cell, Target, mismatch};
use crate::error::Diagnosis;
use crate::format::float;

/// The writer of a float column.
pub(super) fn cell<'a>(array: &'a dyn Array, target: Target<'a>) -> Result<Cell<'a>, Diagnosis> {
    match array.data_type() {
        DataType::Float16 => {
            let values = array.as_primitive::<Float16Type>();
            single(array, target, move |row| values.value(row).to_f32())
        }
        DataType::Float32 => {
            let values = array.as_primitive::<Float32Type>();
            single(array, target, move |row| values.value(row))
        }
        DataType::Float64 => double(array, target),
        _ => Err(mismatch(array, target)),
    }
}

fn single<'a>(array: &dyn Array, target: Target<'a>, read: impl Fn(usize) -> f32 + 'a) -> Result<Cell<'a>, Diagnosis> {
    let digits = target.display.extra_float_digits;
    match target.pg_type.oid {
        // A widened value shows the digits of the wider type, as a cast to double precision does.
        701 if target.is_text() => Ok(Box::new(move |row, out| {
            float::write_f64(f64::from(read(row)), digits, out);
            Ok(())
        })),
        _ if target.is_text() => Ok(Box::new(move |row, out| {
            float::write_f32(read(row), digits, out);
            Ok(())
        })),
        700 => Ok(Box::new(move |row, out| {
            out.put_f32(read(row));
            Ok(())
        })),
        701 => Ok(Box::new(move |row, out| {
            out.put_f64(f64::from(read(row)));
            Ok(())
        })),
        _ => Err(mismatch(array, target)),
    }
}

fn double<'a>(array: &'a dyn Array, target: Target<'a>) -> Result<Cell<'a>, Diagnosis> {
    let values = array.as_primitive::<Float64Type>();
    let digits = target.display.extra_float_digits;
    match target.pg_type.oid {
        700 => single(array, target, move |row| round_to_single(values.value(row))),
        _ if target.is_text() => Ok(Box::new(move |row, out| {
            float::write_f64(values.value(row), digits, out);
            Ok(())
        })),
        701 => Ok(Box::new(move |row, out| {
            out.put_f64(values.value(row));
            Ok(())
        })),
        _ => Err(mismatch(array, target)),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the announced type is real, whose conversion rounds to the nearest")]
fn round_to_single(value: f64) -> f32 {
    value as f32
}
