//! Byte string columns: `bytea`, and `uuid` where 16 bytes carry one.

use arrow::array::{Array, AsArray};
use arrow::datatypes::DataType;
use bytes::BufMut;

use super::{Cell, Target, mismatch};
use crate::error::Diagnosis;
use crate::format::{Format, bytea, fault, uuid};

/// The writer of a byte string column.
pub(super) fn cell<'a>(array: &'a dyn Array, target: Target<'a>) -> Result<Cell<'a>, Diagnosis> {
    match array.data_type() {
        DataType::Binary => {
            let values = array.as_binary::<i32>();
            choose(array, target, move |row| values.value(row))
        }
        DataType::LargeBinary => {
            let values = array.as_binary::<i64>();
            choose(array, target, move |row| values.value(row))
        }
        DataType::BinaryView => {
            let values = array.as_binary_view();
            choose(array, target, move |row| values.value(row))
        }
        DataType::FixedSizeBinary(_) => {
            let values = array.as_fixed_size_binary();
            choose(array, target, move |row| values.value(row))
        }
        _ => Err(mismatch(array, target)),
    }
}

fn choose<'a>(array: &dyn Array, target: Target<'a>, read: impl Fn(usize) -> &'a [u8] + 'a) -> Result<Cell<'a>, Diagnosis> {
    let form = target.display.bytea_output;
    match (target.pg_type.oid, target.format) {
        (2950, Format::Text) => Ok(Box::new(move |row, out| {
            uuid::write(read(row).try_into().map_err(|_cause| fault::binary("uuid"))?, out);
            Ok(())
        })),
        (2950, Format::Binary) => Ok(Box::new(move |row, out| {
            let value: &[u8; 16] = read(row).try_into().map_err(|_cause| fault::binary("uuid"))?;
            out.put_slice(value);
            Ok(())
        })),
        (17, Format::Binary) => Ok(Box::new(move |row, out| {
            out.put_slice(read(row));
            Ok(())
        })),
        _ if target.is_text() => Ok(Box::new(move |row, out| {
            bytea::write(read(row), form, out);
            Ok(())
        })),
        _ => Err(mismatch(array, target)),
    }
}
