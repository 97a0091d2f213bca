//! Decimal columns of 32 to 256 bits, as `numeric` or its text.

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type};
use bytes::BytesMut;

use super::{Cell, Target, mismatch};
use crate::error::Diagnosis;
use crate::format::numeric;

/// The writer of a decimal column.
pub(super) fn cell<'a>(array: &'a dyn Array, target: Target<'a>) -> Result<Cell<'a>, Diagnosis> {
    if !target.is_text() && target.pg_type.oid != 1700 {
        return Err(mismatch(array, target));
    }
    match array.data_type() {
        DataType::Decimal32(_, scale) => {
            let values = array.as_primitive::<Decimal32Type>();
            Ok(narrow(target, *scale, move |row| i128::from(values.value(row))))
        }
        DataType::Decimal64(_, scale) => {
            let values = array.as_primitive::<Decimal64Type>();
            Ok(narrow(target, *scale, move |row| i128::from(values.value(row))))
        }
        DataType::Decimal128(_, scale) => {
            let values = array.as_primitive::<Decimal128Type>();
            Ok(narrow(target, *scale, move |row| values.value(row)))
        }
        DataType::Decimal256(_, scale) => wide(array, target, *scale),
        _ => Err(mismatch(array, target)),
    }
}

fn narrow<'a>(target: Target<'a>, scale: i8, read: impl Fn(usize) -> i128 + 'a) -> Cell<'a> {
    if target.is_text() {
        return Box::new(move |row, out| {
            numeric::write_i128(read(row), scale, out);
            Ok(())
        });
    }
    Box::new(move |row, out| numeric::write_binary_i128(read(row), scale, out))
}

fn wide<'a>(array: &'a dyn Array, target: Target<'a>, scale: i8) -> Result<Cell<'a>, Diagnosis> {
    let values = array.as_primitive::<Decimal256Type>();
    if target.is_text() {
        return Ok(Box::new(move |row, out| {
            numeric::write_i256(values.value(row), scale, out);
            Ok(())
        }));
    }
    Ok(Box::new(move |row, out: &mut BytesMut| match values.value(row).to_i128() {
        Some(small) => numeric::write_binary_i128(small, scale, out),
        None => {
            let mut text = Vec::new();
            numeric::write_i256(values.value(row), scale, &mut text);
            let text = std::str::from_utf8(&text).unwrap_or_default();
            numeric::write_binary(&numeric::read(text)?, out)
        }
    }))
}
