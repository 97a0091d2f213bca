//! From record batches to `DataRow` messages.
//!
//! ```text
//! batch → one writer per column (Arrow type × Postgres type × format) → for each row: 'D', length, count, fields
//! ```
//!
//! A file per family of Arrow types chooses the writer; how a value looks as text is `format`'s affair.
//!
//! **Invariants:** the buffer holds whole messages only, also after an error; no value is sent in a type or width other
//! than the one `RowDescription` announced.
#![deny(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::indexing_slicing)]

mod boolean;
mod bytes;
mod datetime;
mod decimal;
mod digits;
mod float;
mod integer;
mod interval;
mod json;
mod list;
mod sized;
mod text;

use ::bytes::{BufMut, BytesMut};
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, new_empty_array};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Schema};

use crate::error::{Diagnosis, sqlstate};
use crate::format::{DisplaySettings, Format};
use crate::pgtype::PgType;
use crate::session::output::OutputColumn;

/// Writes the bytes of one non-null value, without its length.
type Cell<'a> = Box<dyn Fn(usize, &mut BytesMut) -> Result<(), Diagnosis> + 'a>;

/// What a column's values become.
#[derive(Debug, Clone, Copy)]
struct Target<'a> {
    pg_type: PgType,
    format: Format,
    display: &'a DisplaySettings,
}

impl Target<'_> {
    /// Whether the value travels as its text: always in text format, and in binary for types whose binary form is text.
    fn is_text(&self) -> bool {
        self.format == Format::Text || is_textual(self.pg_type)
    }
}

/// Types whose binary form is their text.
fn is_textual(pg_type: PgType) -> bool {
    matches!(pg_type.oid, 18 | 19 | 25 | 114 | 142 | 705 | 1042 | 1043)
}

/// Turns batches of one result into `DataRow` messages.
#[derive(Debug, Clone)]
pub struct RowEncoder {
    columns: Vec<(PgType, Format)>,
    field_count: i16,
    display: DisplaySettings,
}

impl RowEncoder {
    /// An encoder for results whose batches have `schema`. `formats` is empty (all text), one for all columns, or one for
    /// each, as in `Bind`.
    ///
    /// # Errors
    /// 08P01 when the number of formats fits neither, 0A000 for a column that has no such form, 54000 beyond 32767 columns.
    pub fn new(
        columns: &[OutputColumn],
        schema: &Schema,
        formats: &[Format],
        display: &DisplaySettings,
    ) -> Result<Self, Diagnosis> {
        let formats: Vec<Format> = match formats {
            [] => vec![Format::Text; columns.len()],
            [one] => vec![*one; columns.len()],
            each if each.len() == columns.len() => each.to_vec(),
            other => {
                let message = format!("bind message has {} result formats but query has {} columns", other.len(), columns.len());
                return Err(Diagnosis::new(sqlstate::PROTOCOL_VIOLATION, message));
            }
        };
        if schema.fields().len() != columns.len() {
            return Err(column_count(schema.fields().len(), columns.len()));
        }
        let field_count = i16::try_from(columns.len()).map_err(|_cause| too_many_columns())?;
        let columns: Vec<_> = columns.iter().zip(formats).map(|(column, format)| (column.pg_type, format)).collect();
        for ((pg_type, format), field) in columns.iter().zip(schema.fields()) {
            let probe = new_empty_array(field.data_type());
            let _writer = cell(probe.as_ref(), Target { pg_type: *pg_type, format: *format, display })?;
        }
        Ok(Self { columns, field_count, display: display.clone() })
    }

    /// Appends one `DataRow` for each row of `batch`.
    ///
    /// # Errors
    /// What the first value that cannot be sent fails with; the rows before it stay in `out`, its own row does not.
    pub fn encode(&mut self, batch: &RecordBatch, out: &mut BytesMut) -> Result<(), Diagnosis> {
        if batch.num_columns() != self.columns.len() {
            return Err(column_count(batch.num_columns(), self.columns.len()));
        }
        let mut fields = Vec::with_capacity(self.columns.len());
        for (&(pg_type, format), array) in self.columns.iter().zip(batch.columns()) {
            fields.push(Column::new(array.as_ref(), Target { pg_type, format, display: &self.display })?);
        }
        for row in 0..batch.num_rows() {
            let start = out.len();
            if let Err(error) = self.encode_row(&fields, row, out) {
                out.truncate(start);
                return Err(error);
            }
        }
        Ok(())
    }

    fn encode_row(&self, fields: &[Column<'_>], row: usize, out: &mut BytesMut) -> Result<(), Diagnosis> {
        let start = out.len() + 1;
        let [high, low] = self.field_count.to_be_bytes();
        out.put_slice(&[b'D', 0, 0, 0, 0, high, low]);
        for field in fields {
            field.write_sized(row, out)?;
        }
        patch_length(out, start, 0)
    }
}

/// Appends the `DataRow` of the row at `place` of some columns, `count` of them, with what each becomes.
///
/// # Errors
/// 0A000 for a column that has no such form, what a value that cannot be sent fails with, and XX000 for fewer columns; the buffer is left as it
/// was found.
pub(super) fn encode_one<'a>(
    columns: impl Iterator<Item = ((PgType, Format), &'a ArrayRef)>,
    at: (usize, usize),
    display: &'a DisplaySettings,
    out: &mut BytesMut,
) -> Result<(), Diagnosis> {
    let start = out.len();
    let encoded = put_one(columns, at, display, out);
    if encoded.is_err() {
        out.truncate(start);
    }
    encoded
}

fn put_one<'a>(
    columns: impl Iterator<Item = ((PgType, Format), &'a ArrayRef)>,
    (place, count): (usize, usize),
    display: &'a DisplaySettings,
    out: &mut BytesMut,
) -> Result<(), Diagnosis> {
    let start = out.len() + 1;
    let field_count = i16::try_from(count).map_err(|_cause| too_many_columns())?;
    let [high, low] = field_count.to_be_bytes();
    out.put_slice(&[b'D', 0, 0, 0, 0, high, low]);
    let mut written = 0;
    for ((pg_type, format), array) in columns {
        Column::new(array.as_ref(), Target { pg_type, format, display })?.write_sized(place, out)?;
        written += 1;
    }
    if written != count {
        return Err(column_count(written, count));
    }
    patch_length(out, start, 0)
}

fn too_many_columns() -> Diagnosis {
    Diagnosis::new(sqlstate::PROGRAM_LIMIT_EXCEEDED, "a result has at most 32767 columns")
}

fn column_count(have: usize, want: usize) -> Diagnosis {
    Diagnosis::new(sqlstate::INTERNAL_ERROR, format!("a batch has {have} columns where the result has {want}"))
}

/// An array with its writer and its nulls.
struct Column<'a> {
    nulls: Option<NullBuffer>,
    writer: Writer<'a>,
}

/// How a value gets its length.
enum Writer<'a> {
    /// The length is filled in when the value is written.
    Plain(Cell<'a>),
    /// The writer puts it before the value.
    Sized(Cell<'a>),
}

impl<'a> Column<'a> {
    fn new(array: &'a dyn Array, target: Target<'a>) -> Result<Self, Diagnosis> {
        let writer = match sized::cell(array, target) {
            Some(cell) => Writer::Sized(cell),
            None => Writer::Plain(cell(array, target)?),
        };
        Ok(Self { nulls: nulls_of(array), writer })
    }

    fn is_null(&self, row: usize) -> bool {
        self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row))
    }

    /// Writes a length and the value, or -1 for NULL.
    fn write_sized(&self, row: usize, out: &mut BytesMut) -> Result<(), Diagnosis> {
        if self.is_null(row) {
            out.put_i32(-1);
            return Ok(());
        }
        match &self.writer {
            Writer::Sized(cell) => cell(row, out),
            Writer::Plain(cell) => {
                let start = out.len();
                out.put_i32(0);
                cell(row, out)?;
                patch_length(out, start, 4)
            }
        }
    }
}

/// Nulls of the values, also where a dictionary or union keeps them outside its own bitmap.
fn nulls_of(array: &dyn Array) -> Option<NullBuffer> {
    array.logical_nulls().filter(|nulls| nulls.null_count() > 0)
}

/// Writes the number of bytes that follow `start` into the four bytes there, less the `excluded` first ones.
fn patch_length(out: &mut BytesMut, start: usize, excluded: usize) -> Result<(), Diagnosis> {
    let length = i32::try_from(out.len() - start - excluded).map_err(|_cause| too_large())?;
    if let Some(slot) = out.get_mut(start..start + 4) {
        slot.copy_from_slice(&length.to_be_bytes());
    }
    Ok(())
}

/// 54000 for what a length of 31 bits cannot tell.
pub(super) fn too_large() -> Diagnosis {
    Diagnosis::new(sqlstate::PROGRAM_LIMIT_EXCEEDED, "a row is larger than the protocol's limit of 2 GB")
}

/// Chooses the writer of a column: once per batch, never per value.
fn cell<'a>(array: &'a dyn Array, target: Target<'a>) -> Result<Cell<'a>, Diagnosis> {
    if let Some(dictionary) = array.as_any_dictionary_opt() {
        return dictionary_cell(dictionary, target);
    }
    let is_json = matches!(target.pg_type, PgType { oid: 114 | 3802, .. });
    match array.data_type() {
        DataType::Null => Ok(Box::new(|_, _| Ok(()))),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => text::cell(array, target),
        DataType::Struct(_) | DataType::Map(_, _) => json::cell(array, target),
        _ if is_json => json::cell(array, target),
        DataType::Boolean => boolean::cell(array, target),
        kind if kind.is_integer() => integer::cell(array, target),
        DataType::Float16 | DataType::Float32 | DataType::Float64 => float::cell(array, target),
        kind if kind.is_decimal() => decimal::cell(array, target),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            bytes::cell(array, target)
        }
        DataType::Interval(_) | DataType::Duration(_) => interval::cell(array, target),
        kind if kind.is_temporal() => datetime::cell(array, target),
        DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(_, _) => list::cell(array, target),
        _ => Err(mismatch(array, target)),
    }
}

fn dictionary_cell<'a>(dictionary: &'a dyn arrow::array::AnyDictionaryArray, target: Target<'a>) -> Result<Cell<'a>, Diagnosis> {
    let values = dictionary.values().as_ref();
    if values.is_empty() {
        // Every row is NULL, so the writer is never called; building it still refuses types that have none.
        let _writer = cell(values, target)?;
        return Ok(Box::new(|_, _| Ok(())));
    }
    let keys = dictionary.normalized_keys();
    let inner = cell(values, target)?;
    Ok(Box::new(move |row, out| match keys.get(row) {
        Some(&key) => inner(key, out),
        None => Ok(()),
    }))
}

/// 0A000 for a pair of types between which no form is defined.
fn mismatch(array: &dyn Array, target: Target<'_>) -> Diagnosis {
    let form = if target.format == Format::Text { "text" } else { "binary" };
    let message = format!("a value carried as {} cannot be sent as {} in {form} format", array.data_type(), target.pg_type);
    Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, message)
}

/// 22003 for a carrier value beyond the announced type.
fn out_of_range(target: Target<'_>) -> Diagnosis {
    Diagnosis::new(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, format!("{} out of range", target.pg_type))
}

#[cfg(test)]
mod tests;
