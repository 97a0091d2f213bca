//! Boolean columns.

use arrow::array::{Array, AsArray};
use bytes::BufMut;

use super::{Cell, Target, mismatch};
use crate::error::Diagnosis;
use crate::format::{Format, boolean};
use crate::pgtype::PgType;

/// The writer of a boolean column.
pub(super) fn cell<'a>(array: &'a dyn Array, target: Target<'a>) -> Result<Cell<'a>, Diagnosis> {
    let values = array.as_boolean();
    match (target.format, target.pg_type) {
        (Format::Binary, PgType::BOOL) => Ok(Box::new(|row, out| {
            out.put_u8(u8::from(values.value(row)));
            Ok(())
        })),
        (Format::Text, PgType::BOOL) => Ok(Box::new(|row, out| {
            boolean::write(values.value(row), out);
            Ok(())
        })),
        // The cast of a boolean to text spells the word out.
        _ if super::is_textual(target.pg_type) => Ok(Box::new(|row, out| {
            out.put_slice(if values.value(row) { b"true" } else { b"false" });
            Ok(())
        })),
        _ => Err(mismatch(array, target)),
    }
}
