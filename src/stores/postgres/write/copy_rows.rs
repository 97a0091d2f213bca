//! Rows of an edit as the data of `COPY … FROM STDIN`.
//!
//! ```text
//! binary   header, (number of columns, (length, the form that the type's …recv function reads)*)*, trailer
//! text     (text, tabs between, \N for NULL, newline)*: as soon as one column has a type without a row in [`Values`]
//! ```
//!
//! **Invariants:** a value becomes what its text becomes in a statement that carries it as a parameter: the binary forms are exact. What
//! a column is made of is looked at once, and no value takes memory of its own.

use arrow::array::{
    Array, AsArray, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int16Array, Int32Array,
    Int64Array, IntervalMonthDayNanoArray, RecordBatch, StringArray, Time64MicrosecondArray, TimestampMicrosecondArray,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::DataType;

use super::super::super::cell::{Cell, Cells, write_text};
use super::super::super::relational::Unwritable;
use super::super::super::schema::{Column, Table};
use super::super::types::Form;
use crate::error::Diagnosis;
use crate::format::interval::{self, Interval};
use crate::format::{date, numeric, time, timestamp, uuid};
use crate::pgtype::PgType;

/// What every binary file starts with: a signature, no flags and no extension.
const HEADER: &[u8; 19] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// What ends it.
const TRAILER: [u8; 2] = (-1_i16).to_be_bytes();
/// The length of a NULL.
const NULL: [u8; 4] = (-1_i32).to_be_bytes();

const NO_COLUMN: Unwritable = Unwritable("belongs to no column of the table");
const FOREIGN: Unwritable = Unwritable("is not carried as its type is");
const OUT_OF_RANGE: Unwritable = Unwritable("is out of the range of its type");
const TOO_LONG: Unwritable = Unwritable("is longer than the protocol can tell");
const NUL: Unwritable = Unwritable("holds a NUL byte, which text cannot");

/// Rows that are ready to be written.
pub(super) enum Rows<'r> {
    /// In the binary format.
    Binary(Vec<Binary<'r>>),
    /// In the text format.
    Text(Vec<(Cells<'r>, PgType)>, String),
}

impl<'r> Rows<'r> {
    /// The rows of these columns of a table, by ordinal.
    ///
    /// # Errors
    /// A column that the table does not have, values that are not carried as their type is, a text with a NUL byte.
    pub(super) fn of(table: &Table, columns: &[usize], rows: &'r RecordBatch) -> Result<Self, Unwritable> {
        if columns.len() != rows.num_columns() {
            return Err(NO_COLUMN);
        }
        let known = columns.iter().map(|ordinal| table.columns.get(*ordinal).ok_or(NO_COLUMN));
        let known: Vec<&Column> = known.collect::<Result<_, Unwritable>>()?;
        let pairs = || known.iter().zip(rows.columns());
        let binary: Option<Vec<Binary<'r>>> = pairs().map(|(column, array)| Binary::of(column, array.as_ref())).collect();
        if let Some(binary) = binary {
            binary.iter().try_for_each(|column| column.values.check())?;
            return Ok(Self::Binary(binary));
        }
        let text = pairs().map(|(column, array)| {
            let pg_type = column.pg_type();
            Cells::of(array.as_ref(), pg_type).map(|cells| (cells, pg_type)).ok_or(FOREIGN)
        });
        Ok(Self::Text(text.collect::<Result<_, Unwritable>>()?, String::new()))
    }

    /// Whether they are in the binary format.
    pub(super) fn is_binary(&self) -> bool {
        matches!(self, Self::Binary(_))
    }

    /// Writes what stands before the rows.
    pub(super) fn begin(&self, out: &mut Vec<u8>) {
        if self.is_binary() {
            out.extend_from_slice(HEADER);
        }
    }

    /// Writes a row.
    ///
    /// # Errors
    /// A value that its type does not have.
    pub(super) fn write(&mut self, row: usize, out: &mut Vec<u8>) -> Result<(), Unwritable> {
        match self {
            Self::Binary(columns) => {
                let count = i16::try_from(columns.len()).map_err(|_many| TOO_LONG)?;
                out.extend_from_slice(&count.to_be_bytes());
                columns.iter().try_for_each(|column| column.write(row, out))
            }
            Self::Text(columns, scratch) => {
                for (place, (cells, pg_type)) in columns.iter().enumerate() {
                    if place > 0 {
                        out.push(b'\t');
                    }
                    write_cell(&cells.get(row), *pg_type, scratch, out)?;
                }
                out.push(b'\n');
                Ok(())
            }
        }
    }

    /// Writes what stands behind the rows.
    pub(super) fn end(&self, out: &mut Vec<u8>) {
        if self.is_binary() {
            out.extend_from_slice(&TRAILER);
        }
    }
}

fn write_cell(cell: &Cell<'_>, pg_type: PgType, scratch: &mut String, out: &mut Vec<u8>) -> Result<(), Unwritable> {
    match cell {
        Cell::Null => out.extend_from_slice(b"\\N"),
        Cell::Int(number) => out.extend_from_slice(itoa::Buffer::new().format(*number).as_bytes()),
        cell => {
            scratch.clear();
            write_text(cell, pg_type, scratch)?;
            escape(scratch.as_bytes(), out);
        }
    }
    Ok(())
}

/// Writes a text with a backslash before what has a meaning in the format.
fn escape(text: &[u8], out: &mut Vec<u8>) {
    let mut rest = text;
    while let Some(at) = rest.iter().position(|byte| matches!(byte, b'\\' | b'\n' | b'\r' | b'\t')) {
        let (plain, marked) = rest.split_at(at);
        let Some((mark, after)) = marked.split_first() else { break };
        out.extend_from_slice(plain);
        out.extend_from_slice(match mark {
            b'\n' => b"\\n",
            b'\r' => b"\\r",
            b'\t' => b"\\t",
            _ => b"\\\\",
        });
        rest = after;
    }
    out.extend_from_slice(rest);
}

/// A column in the binary format.
pub(super) struct Binary<'r> {
    nulls: Option<&'r NullBuffer>,
    values: Values<'r>,
}

/// Values by their types, each of which is written in one way.
enum Values<'r> {
    Bool(&'r BooleanArray),
    Int2(&'r Int16Array),
    Int4(&'r Int32Array),
    Int8(&'r Int64Array),
    /// `oid` and the types that are sent as it is.
    Oid(&'r Int64Array),
    Float4(&'r Float32Array),
    Float8(&'r Float64Array),
    /// Types whose binary form is their text: also `json` and enums.
    Text(&'r StringArray),
    Jsonb(&'r StringArray),
    Uuid(&'r StringArray),
    /// `numeric` of any length.
    Numeric(&'r StringArray),
    Decimal(&'r Decimal128Array, i8),
    Bytes(&'r BinaryArray),
    Date(&'r Date32Array),
    Time(&'r Time64MicrosecondArray),
    /// With a zone or without.
    Timestamp(&'r TimestampMicrosecondArray),
    Interval(&'r IntervalMonthDayNanoArray),
}

impl<'r> Values<'r> {
    /// `None` for a type that is not written in binary.
    fn of(column: &Column, array: &'r dyn Array) -> Option<Self> {
        let pg_type = column.pg_type();
        if Form::of(&column.field) != Form::Binary || *array.data_type() != pg_type.carrier() {
            return None;
        }
        Some(match (pg_type.oid, array.data_type()) {
            (16, _) => Self::Bool(array.as_boolean_opt()?),
            (17, _) => Self::Bytes(array.as_binary_opt()?),
            (20, _) => Self::Int8(array.as_primitive_opt()?),
            (21, _) => Self::Int2(array.as_primitive_opt()?),
            (23, _) => Self::Int4(array.as_primitive_opt()?),
            (24 | 26 | 2205 | 2206 | 4089 | 4096, _) => Self::Oid(array.as_primitive_opt()?),
            (25 | 114 | 1042 | 1043, _) => Self::Text(array.as_string_opt()?),
            (700, _) => Self::Float4(array.as_primitive_opt()?),
            (701, _) => Self::Float8(array.as_primitive_opt()?),
            (1082, _) => Self::Date(array.as_primitive_opt()?),
            (1083, _) => Self::Time(array.as_primitive_opt()?),
            (1114 | 1184, _) => Self::Timestamp(array.as_primitive_opt()?),
            (1186, _) => Self::Interval(array.as_primitive_opt()?),
            (1700, DataType::Decimal128(_, scale)) => Self::Decimal(array.as_primitive_opt()?, *scale),
            (1700, DataType::Utf8) => Self::Numeric(array.as_string_opt()?),
            (2950, _) => Self::Uuid(array.as_string_opt()?),
            (3802, _) => Self::Jsonb(array.as_string_opt()?),
            _ => return None,
        })
    }

    /// Refuses texts with a NUL byte, before anything is sent.
    fn check(&self) -> Result<(), Unwritable> {
        let (Self::Text(texts) | Self::Jsonb(texts)) = self else { return Ok(()) };
        let bounds = texts.value_offsets().first().zip(texts.value_offsets().last());
        let bounds = bounds.and_then(|(first, last)| Some(usize::try_from(*first).ok()?..usize::try_from(*last).ok()?));
        let bytes = bounds.and_then(|bounds| texts.value_data().get(bounds)).unwrap_or_default();
        // What lies below a NULL may be anything.
        if bytes.contains(&0) && texts.iter().flatten().any(|text| text.contains('\0')) {
            return Err(NUL);
        }
        Ok(())
    }
}

impl<'r> Binary<'r> {
    fn of(column: &Column, array: &'r dyn Array) -> Option<Self> {
        Some(Self { nulls: array.nulls(), values: Values::of(column, array)? })
    }

    fn write(&self, row: usize, out: &mut Vec<u8>) -> Result<(), Unwritable> {
        if self.nulls.is_some_and(|nulls| nulls.is_null(row)) {
            out.extend_from_slice(&NULL);
            return Ok(());
        }
        match &self.values {
            Values::Bool(values) => sized(&[u8::from(values.value(row))], out),
            Values::Int2(values) => sized(&values.value(row).to_be_bytes(), out),
            Values::Int4(values) => sized(&values.value(row).to_be_bytes(), out),
            Values::Int8(values) => sized(&values.value(row).to_be_bytes(), out),
            Values::Oid(values) => {
                let oid = u32::try_from(values.value(row)).map_err(|_large| OUT_OF_RANGE)?;
                sized(&oid.to_be_bytes(), out)
            }
            Values::Float4(values) => {
                let value = values.value(row);
                sized(&(if value.is_nan() { f32::NAN } else { value }).to_be_bytes(), out)
            }
            Values::Float8(values) => {
                let value = values.value(row);
                sized(&(if value.is_nan() { f64::NAN } else { value }).to_be_bytes(), out)
            }
            Values::Text(values) => sized(values.value(row).as_bytes(), out),
            Values::Bytes(values) => sized(values.value(row), out),
            Values::Uuid(values) => sized(&uuid::read(values.value(row)).map_err(unfit)?, out),
            Values::Date(values) => sized(&date::to_wire(values.value(row)).map_err(unfit)?.to_be_bytes(), out),
            Values::Time(values) => sized(&time::check(values.value(row)).map_err(unfit)?.to_be_bytes(), out),
            Values::Timestamp(values) => sized(&timestamp::to_wire(values.value(row)).map_err(unfit)?.to_be_bytes(), out),
            Values::Decimal(values, scale) => decimal(values.value(row), *scale, out),
            Values::Jsonb(values) => measured(out, |out| {
                // The one version that there is.
                out.push(1);
                out.extend_from_slice(values.value(row).as_bytes());
                Ok(())
            }),
            Values::Numeric(values) => {
                let value = numeric::read(values.value(row)).map_err(unfit)?;
                measured(out, |out| numeric::write_binary(&value, out))
            }
            Values::Interval(values) => {
                let value = values.value(row);
                // The carrier counts nanoseconds; values have microseconds.
                let value = Interval { months: value.months, days: value.days, micros: value.nanoseconds / 1_000 };
                measured(out, |out| {
                    interval::write_binary(value, out);
                    Ok(())
                })
            }
        }
    }
}

fn unfit(_fault: Diagnosis) -> Unwritable {
    OUT_OF_RANGE
}

/// Writes bytes behind their number.
fn sized(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Unwritable> {
    let length = i32::try_from(bytes.len()).map_err(|_long| TOO_LONG)?;
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(bytes);
    Ok(())
}

/// Writes what `write` does behind the number of its bytes.
fn measured(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>) -> Result<(), Diagnosis>) -> Result<(), Unwritable> {
    let start = out.len();
    out.extend_from_slice(&NULL);
    let from = out.len();
    write(out).map_err(unfit)?;
    let length = i32::try_from(out.len() - from).map_err(|_long| TOO_LONG)?;
    if let Some(place) = out.get_mut(start..from) {
        place.copy_from_slice(&length.to_be_bytes());
    }
    Ok(())
}

fn decimal(unscaled: i128, scale: i8, out: &mut Vec<u8>) -> Result<(), Unwritable> {
    let short = numeric::write_short(unscaled, scale);
    match short.as_ref().and_then(|(bytes, count)| bytes.get(..*count)) {
        Some(bytes) => sized(bytes, out),
        None => measured(out, |out| numeric::write_binary_i128(unscaled, scale, out)),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::ArrayRef;
    use arrow::datatypes::Schema;

    use super::super::super::super::edit::field;
    use super::super::super::super::schema::{Collation, ColumnStatistics, Generated};
    use super::super::super::types::{NativeType, map};
    use super::*;

    fn column(oid: u32, typmod: i32) -> Column {
        let native = NativeType { oid, typmod, kind: 'b', element: None, labels: Vec::new() };
        Column {
            field: map("c", &native, true).unwrap(),
            native_type: String::new(),
            default: None,
            generated: Generated::No,
            comment: None,
            collation: Collation::Bytes,
            statistics: ColumnStatistics::default(),
        }
    }

    /// The data of rows of columns, and whether they are binary.
    fn written(columns: Vec<(Column, ArrayRef)>) -> Result<(bool, Vec<u8>), Unwritable> {
        let schema = Schema::new(columns.iter().map(|(column, _)| field(column)).collect::<Vec<_>>());
        let (columns, arrays): (Vec<Column>, Vec<ArrayRef>) = columns.into_iter().unzip();
        let batch = RecordBatch::try_new(Arc::new(schema), arrays).unwrap();
        let table = Table::plain("public", "t", columns);
        let all: Vec<usize> = (0..table.columns.len()).collect();
        let mut rows = Rows::of(&table, &all, &batch)?;
        let mut out = Vec::new();
        rows.begin(&mut out);
        for row in 0..batch.num_rows() {
            rows.write(row, &mut out)?;
        }
        rows.end(&mut out);
        Ok((rows.is_binary(), out))
    }

    /// The bytes of the one value of a column, behind their number.
    fn one(oid: u32, typmod: i32, array: ArrayRef) -> Vec<u8> {
        let (is_binary, data) = written(vec![(column(oid, typmod), array)]).unwrap();
        assert!(is_binary, "{oid}");
        let row = data.strip_prefix(HEADER).unwrap().strip_prefix(&[0, 1]).unwrap();
        row.strip_suffix(&[0xff, 0xff]).unwrap().to_vec()
    }

    #[test]
    fn binary_values_are_those_of_the_protocol() {
        let price = ((10 << 16) | 2) + 4;
        let decimals =
            |value: i128| -> ArrayRef { Arc::new(Decimal128Array::from(vec![value]).with_precision_and_scale(10, 2).unwrap()) };
        let rows: Vec<(u32, i32, ArrayRef, Vec<u8>)> = vec![
            (16, -1, Arc::new(BooleanArray::from(vec![true])), vec![0, 0, 0, 1, 1]),
            (21, -1, Arc::new(Int16Array::from(vec![-2])), vec![0, 0, 0, 2, 0xff, 0xfe]),
            (23, -1, Arc::new(Int32Array::from(vec![7])), vec![0, 0, 0, 4, 0, 0, 0, 7]),
            (20, -1, Arc::new(Int64Array::from(vec![7])), vec![0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 7]),
            (26, -1, Arc::new(Int64Array::from(vec![0xffff_ffff])), vec![0, 0, 0, 4, 0xff, 0xff, 0xff, 0xff]),
            (700, -1, Arc::new(Float32Array::from(vec![-0.0])), vec![0, 0, 0, 4, 0x80, 0, 0, 0]),
            (701, -1, Arc::new(Float64Array::from(vec![1.0])), vec![0, 0, 0, 8, 0x3f, 0xf0, 0, 0, 0, 0, 0, 0]),
            (25, -1, Arc::new(StringArray::from(vec!["it's\t"])), b"\0\0\0\x05it's\t".to_vec()),
            (3802, -1, Arc::new(StringArray::from(vec!["[]"])), b"\0\0\0\x03\x01[]".to_vec()),
            (17, -1, Arc::new(BinaryArray::from(vec![b"\0\xff".as_slice()])), b"\0\0\0\x02\0\xff".to_vec()),
            // 2000-01-01
            (1082, -1, Arc::new(Date32Array::from(vec![10_957])), vec![0, 0, 0, 4, 0, 0, 0, 0]),
            (1082, -1, Arc::new(Date32Array::from(vec![i32::MAX])), vec![0, 0, 0, 4, 0x7f, 0xff, 0xff, 0xff]),
            (1700, price, decimals(-150), vec![0, 0, 0, 12, 0, 2, 0, 0, 0x40, 0, 0, 2, 0, 1, 0x13, 0x88]),
            (1700, -1, Arc::new(StringArray::from(vec!["NaN"])), vec![0, 0, 0, 8, 0, 0, 0, 0, 0xc0, 0, 0, 0]),
            (23, -1, Arc::new(Int32Array::from(vec![None::<i32>])), vec![0xff; 4]),
        ];
        for (oid, typmod, array, expected) in rows {
            assert_eq!(one(oid, typmod, array), expected, "{oid}");
        }
        let uuid: ArrayRef = Arc::new(StringArray::from(vec!["00112233-4455-6677-8899-aabbccddeeff"]));
        assert_eq!(one(2950, -1, uuid), [vec![0, 0, 0, 16], (0..16).map(|n| n * 17).collect()].concat());
    }

    #[test]
    fn one_type_without_a_binary_form_makes_all_of_it_text() {
        let texts: ArrayRef = Arc::new(StringArray::from(vec![Some("a\tb\\N\n\r"), None, Some("")]));
        let points: ArrayRef = Arc::new(StringArray::from(vec![Some("(1,2)"), Some("(0,0)"), None]));
        let numbers: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), Some(-2), None]));
        let floats: ArrayRef = Arc::new(Float64Array::from(vec![0.1, f64::NAN, -0.0]));
        let columns =
            vec![(column(25, -1), texts), (column(600, -1), points), (column(23, -1), numbers), (column(701, -1), floats)];
        let (is_binary, data) = written(columns).unwrap();
        let expected = "a\\tb\\\\N\\n\\r\t(1,2)\t1\t0.1\n\\N\t(0,0)\t-2\tNaN\n\t\\N\t\\N\t-0\n";
        assert_eq!((is_binary, String::from_utf8(data).unwrap().as_str()), (false, expected));
    }

    #[test]
    fn what_no_store_of_this_kind_can_hold_is_refused() {
        let nul: ArrayRef = Arc::new(StringArray::from(vec!["a", "b\0"]));
        let refused = |oid: u32, array: &ArrayRef| written(vec![(column(oid, -1), Arc::clone(array))]).unwrap_err();
        assert_eq!(refused(25, &nul), NUL);
        assert_eq!(written(vec![(column(25, -1), nul.slice(0, 1))]).map(|(is_binary, _)| is_binary), Ok(true));
        let large: ArrayRef = Arc::new(Int64Array::from(vec![i64::from(u32::MAX) + 1]));
        assert_eq!(refused(26, &large), OUT_OF_RANGE);
        let points: ArrayRef = Arc::new(StringArray::from(vec!["(1,2)\0"]));
        assert!(refused(600, &points).0.contains("NUL"));
    }
}
