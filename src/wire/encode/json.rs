//! Any Arrow column as `json` or `jsonb`: structs and maps are objects, lists arrays, numbers numbers, NaN and infinities
//! strings, timestamps ISO 8601 with `T`, byte strings hexadecimal, and embedded JSON text stays JSON.

use arrow::array::{Array, AsArray, MapArray, StructArray};
use arrow::datatypes::{DataType, Field, Float16Type, Float32Type, Float64Type};
use bytes::{BufMut, BytesMut};

use super::{Cell, Column, Target, list, mismatch};
use crate::error::Diagnosis;
use crate::format::{DateStyle, DisplaySettings, Format, bytea, date, float, json, timestamp};
use crate::pgtype::{PgField, PgType};

/// The writer of a column that is sent as JSON.
pub(super) fn cell<'a>(array: &'a dyn Array, target: Target<'a>) -> Result<Cell<'a>, Diagnosis> {
    let write = value(array, PgType::from_arrow(array.data_type()), target)?;
    match (target.pg_type, target.format) {
        (PgType { oid: 3802, .. }, format) => Ok(Box::new(move |row, out| {
            // `jsonb` orders keys and drops repeated ones, which only the whole value can do.
            let mut text = BytesMut::new();
            write(row, &mut text)?;
            let canonical = json::canonical(std::str::from_utf8(&text).unwrap_or_default())?;
            if format == Format::Binary {
                out.put_u8(1);
            }
            out.put_slice(canonical.as_bytes());
            Ok(())
        })),
        _ if target.is_text() => Ok(write),
        _ => Err(mismatch(array, target)),
    }
}

/// The writer of a child, which also writes `null`.
fn child<'a>(array: &'a dyn Array, field: &Field, target: Target<'a>) -> Result<Cell<'a>, Diagnosis> {
    let nulls = super::nulls_of(array);
    let write = value(array, field.pg_type(), target)?;
    Ok(Box::new(move |row, out| {
        if nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
            out.put_slice(b"null");
            return Ok(());
        }
        write(row, out)
    }))
}

/// The writer of non-null values of type `pg_type`.
fn value<'a>(array: &'a dyn Array, pg_type: PgType, target: Target<'a>) -> Result<Cell<'a>, Diagnosis> {
    match array.data_type() {
        DataType::Null => Ok(Box::new(|_, out| {
            out.put_slice(b"null");
            Ok(())
        })),
        DataType::Struct(_) => object(array.as_struct(), target),
        DataType::Map(_, _) => map(array.as_map(), target),
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => elements(array, item, target),
        DataType::Boolean => {
            let values = array.as_boolean();
            Ok(Box::new(move |row, out| {
                out.put_slice(if values.value(row) { b"true" } else { b"false" });
                Ok(())
            }))
        }
        kind if kind.is_integer() || kind.is_decimal() => super::cell(array, plain_text(pg_type, target)),
        kind if kind.is_floating() => number(array, target),
        DataType::Date32 | DataType::Date64 | DataType::Timestamp(_, _) => moment(array, pg_type, target),
        kind if kind.is_binary() || matches!(kind, DataType::FixedSizeBinary(_)) => hexadecimal(array, target),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => text(array, pg_type, target),
        _ => quoted(array, pg_type, target),
    }
}

/// The same target with text format, for values that JSON shows as their text.
fn plain_text(pg_type: PgType, target: Target<'_>) -> Target<'_> {
    Target { pg_type, format: Format::Text, display: target.display }
}

fn object<'a>(array: &'a StructArray, target: Target<'a>) -> Result<Cell<'a>, Diagnosis> {
    let mut members: Vec<(Vec<u8>, Cell<'a>)> = Vec::with_capacity(array.num_columns());
    for (field, column) in array.fields().iter().zip(array.columns()) {
        let mut key = Vec::new();
        json::write_string(field.name(), &mut key);
        key.push(b':');
        members.push((key, child(column.as_ref(), field, target)?));
    }
    Ok(Box::new(move |row, out| {
        out.put_u8(b'{');
        for (place, (key, write)) in members.iter().enumerate() {
            if place > 0 {
                out.put_u8(b',');
            }
            out.put_slice(key);
            write(row, out)?;
        }
        out.put_u8(b'}');
        Ok(())
    }))
}

fn map<'a>(array: &'a MapArray, target: Target<'a>) -> Result<Cell<'a>, Diagnosis> {
    let DataType::Map(entries, _) = array.data_type() else { return Err(mismatch(array, target)) };
    let DataType::Struct(fields) = entries.data_type() else { return Err(mismatch(array, target)) };
    let [key_field, value_field] = fields.as_ref() else { return Err(mismatch(array, target)) };
    let keys = super::cell(array.keys().as_ref(), plain_text(key_field.pg_type(), target))?;
    let values = child(array.values().as_ref(), value_field, target)?;
    let offsets = array.value_offsets();
    let at = move |row: usize| offsets.get(row).and_then(|&offset| usize::try_from(offset).ok()).unwrap_or(0);
    Ok(Box::new(move |row, out| {
        out.put_u8(b'{');
        for entry in at(row)..at(row + 1) {
            if entry > at(row) {
                out.put_u8(b',');
            }
            let mut key = BytesMut::new();
            keys(entry, &mut key)?;
            json::write_string(std::str::from_utf8(&key).unwrap_or_default(), out);
            out.put_u8(b':');
            values(entry, out)?;
        }
        out.put_u8(b'}');
        Ok(())
    }))
}

fn elements<'a>(array: &'a dyn Array, item: &Field, target: Target<'a>) -> Result<Cell<'a>, Diagnosis> {
    let (spread, values) = list::spread(array).ok_or_else(|| mismatch(array, target))?;
    let write = child(values, item, target)?;
    Ok(Box::new(move |row, out| {
        out.put_u8(b'[');
        let range = spread(row);
        let first = range.start;
        for position in range {
            if position > first {
                out.put_u8(b',');
            }
            write(position, out)?;
        }
        out.put_u8(b']');
        Ok(())
    }))
}

fn number<'a>(array: &'a dyn Array, target: Target<'a>) -> Result<Cell<'a>, Diagnosis> {
    match array.data_type() {
        DataType::Float64 => {
            let values = array.as_primitive::<Float64Type>();
            Ok(Box::new(move |row, out| {
                let value = values.value(row);
                quote_unless(value.is_finite(), out, |out| float::write_f64(value, 1, out));
                Ok(())
            }))
        }
        DataType::Float32 => {
            let values = array.as_primitive::<Float32Type>();
            Ok(Box::new(move |row, out| {
                let value = values.value(row);
                quote_unless(value.is_finite(), out, |out| float::write_f32(value, 1, out));
                Ok(())
            }))
        }
        DataType::Float16 => {
            let values = array.as_primitive::<Float16Type>();
            Ok(Box::new(move |row, out| {
                let value = values.value(row).to_f32();
                quote_unless(value.is_finite(), out, |out| float::write_f32(value, 1, out));
                Ok(())
            }))
        }
        _ => Err(mismatch(array, target)),
    }
}

fn quote_unless(is_bare: bool, out: &mut BytesMut, write: impl FnOnce(&mut BytesMut)) {
    if !is_bare {
        out.put_u8(b'"');
    }
    write(out);
    if !is_bare {
        out.put_u8(b'"');
    }
}

/// Text: JSON inside JSON as it is, an opaque numeric as a number, all else as a string.
fn text<'a>(array: &'a dyn Array, pg_type: PgType, target: Target<'a>) -> Result<Cell<'a>, Diagnosis> {
    let read = super::cell(array, plain_text(pg_type, target))?;
    match pg_type.oid {
        114 | 3802 => Ok(read),
        1700 => Ok(Box::new(move |row, out| {
            let start = out.len();
            read(row, out)?;
            let is_number = out.get(start..).is_some_and(|text| text.last().is_some_and(u8::is_ascii_digit));
            if !is_number {
                let word = out.split_off(start);
                quote_unless(false, out, |out| out.put_slice(&word));
            }
            Ok(())
        })),
        _ => quoted(array, pg_type, target),
    }
}

/// The value's text as a JSON string.
fn quoted<'a>(array: &'a dyn Array, pg_type: PgType, target: Target<'a>) -> Result<Cell<'a>, Diagnosis> {
    let read = Column::new(array, plain_text(pg_type, target))?;
    Ok(Box::new(move |row, out| {
        let mut plain = BytesMut::new();
        (read.cell)(row, &mut plain)?;
        json::write_string(std::str::from_utf8(&plain).unwrap_or_default(), out);
        Ok(())
    }))
}

fn hexadecimal<'a>(array: &'a dyn Array, target: Target<'a>) -> Result<Cell<'a>, Diagnosis> {
    let read = super::cell(array, Target { pg_type: PgType::BYTEA, format: Format::Binary, display: target.display })?;
    Ok(Box::new(move |row, out| {
        let mut raw = BytesMut::new();
        read(row, &mut raw)?;
        out.put_slice(b"\"\\\\x");
        bytea::write_hex(&raw, out);
        out.put_u8(b'"');
        Ok(())
    }))
}

/// Dates and timestamps, which JSON shows in ISO form whatever `DateStyle` says (`JsonEncodeDateTime`).
fn moment<'a>(array: &'a dyn Array, pg_type: PgType, target: Target<'a>) -> Result<Cell<'a>, Diagnosis> {
    let iso = DisplaySettings { date_style: DateStyle::Iso, ..target.display.clone() };
    let is_date = pg_type.oid == 1082;
    let binary_type = match (is_date, pg_type.oid) {
        (true, _) => PgType::DATE,
        (false, 1114) => PgType::TIMESTAMP,
        (false, _) => PgType::TIMESTAMPTZ,
    };
    let read = super::cell(array, Target { pg_type: binary_type, format: Format::Binary, display: target.display })?;
    Ok(Box::new(move |row, out| {
        let mut wire = BytesMut::new();
        read(row, &mut wire)?;
        out.put_u8(b'"');
        if let Ok(days) = <[u8; 4]>::try_from(wire.as_ref()) {
            date::write(date::from_wire(i32::from_be_bytes(days))?, &iso, out);
        } else if let Ok(micros) = <[u8; 8]>::try_from(wire.as_ref()) {
            let micros = timestamp::from_wire(i64::from_be_bytes(micros))?;
            timestamp::write_json(micros, binary_type == PgType::TIMESTAMPTZ, target.display, out);
        }
        out.put_u8(b'"');
        Ok(())
    }))
}
