//! Documents and lists of them in notifications: the JSON that `SELECT` shows of the column (`wire/encode/json`), with moments in ISO
//! 8601, `null` for the fields that a document has not, and lists of documents in the text of their array.

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Field, Fields};

use super::{is_json, write_text, write_value};
use crate::format::{DisplaySettings, array as literal, json, timestamp};
use crate::pgtype::{PgField, PgType};
use crate::stores::cell::{Cell, Cells};

/// Whether the values of a column are no cells of one type: documents, lists of them, and lists that are shown as JSON because they
/// are no arrays of PostgreSQL.
pub(super) fn is_nested(data_type: &DataType, pg_type: PgType) -> bool {
    match data_type {
        DataType::Struct(_) => true,
        DataType::List(item) => is_json(pg_type) || matches!(item.data_type(), DataType::Struct(_)),
        _ => false,
    }
}

/// Writes the value of a row. `false`: it has no text, and nothing of use was written.
pub(super) fn write(array: &dyn Array, pg_type: PgType, row: usize, out: &mut Vec<u8>) -> bool {
    match array.data_type() {
        DataType::List(item) if !is_json(pg_type) && row < array.len() && array.is_valid(row) => write_array(array, item, row, out),
        _ => write_json(array, pg_type, row, out),
    }
}

/// A list of documents as the text of an array, which is what a column of `json[]` has.
fn write_array(array: &dyn Array, item: &Field, row: usize, out: &mut Vec<u8>) -> bool {
    let Some(list) = array.as_list_opt::<i32>() else { return false };
    let elements = list.value(row);
    let mut text = vec![b'{'];
    for place in 0..elements.len() {
        if place > 0 {
            text.push(b',');
        }
        if elements.is_null(place) {
            text.extend_from_slice(b"NULL");
            continue;
        }
        let mut element = Vec::new();
        if !write_json(elements.as_ref(), item.pg_type(), place, &mut element) {
            return false;
        }
        if literal::needs_quotes(&element) {
            literal::write_quoted(&element, &mut text);
        } else {
            text.extend_from_slice(&element);
        }
    }
    text.push(b'}');
    write_text(std::str::from_utf8(&text).unwrap_or_default(), out);
    true
}

fn write_json(array: &dyn Array, pg_type: PgType, row: usize, out: &mut Vec<u8>) -> bool {
    if row >= array.len() || array.is_null(row) {
        out.extend_from_slice(b"null");
        return true;
    }
    match array.data_type() {
        DataType::Struct(fields) => write_object(array, fields, row, out),
        DataType::List(item) => write_elements(array, item, row, out),
        _ => Cells::of(array, pg_type).is_some_and(|cells| write_cell(&cells.get(row), pg_type, out)),
    }
}

fn write_object(array: &dyn Array, fields: &Fields, row: usize, out: &mut Vec<u8>) -> bool {
    let Some(document) = array.as_struct_opt() else { return false };
    out.push(b'{');
    for (place, (field, column)) in fields.iter().zip(document.columns()).enumerate() {
        if place > 0 {
            out.push(b',');
        }
        json::write_string(field.name(), out);
        out.push(b':');
        if !write_json(column.as_ref(), field.pg_type(), row, out) {
            return false;
        }
    }
    out.push(b'}');
    true
}

fn write_elements(array: &dyn Array, item: &Field, row: usize, out: &mut Vec<u8>) -> bool {
    let Some(list) = array.as_list_opt::<i32>() else { return false };
    let elements = list.value(row);
    out.push(b'[');
    for place in 0..elements.len() {
        if place > 0 {
            out.push(b',');
        }
        if !write_json(elements.as_ref(), item.pg_type(), place, out) {
            return false;
        }
    }
    out.push(b']');
    true
}

/// Inside of JSON moments are in ISO 8601; all else is as it is beside it.
fn write_cell(cell: &Cell<'_>, pg_type: PgType, out: &mut Vec<u8>) -> bool {
    let (micros, is_zoned) = match cell {
        Cell::Timestamp(micros) => (*micros, false),
        Cell::TimestampTz(micros) => (*micros, true),
        other => return write_value(other, pg_type, out),
    };
    let mut moment = Vec::new();
    timestamp::write_json(micros, is_zoned, &DisplaySettings::default(), &mut moment);
    write_text(std::str::from_utf8(&moment).unwrap_or_default(), out);
    true
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Float64Array, Int64Array, ListArray, StringArray, StructArray, TimestampMicrosecondArray};
    use arrow::buffer::{NullBuffer, OffsetBuffer};

    use super::*;
    use crate::pgtype::UTC;

    fn told(array: &ArrayRef, pg_type: PgType) -> Vec<String> {
        assert!(is_nested(array.data_type(), pg_type));
        let text = |row| {
            let mut out = Vec::new();
            assert!(write(array.as_ref(), pg_type, row, &mut out), "row {row}");
            String::from_utf8(out).unwrap()
        };
        (0..array.len()).map(text).collect()
    }

    fn list(values: ArrayRef, pg_type: PgType, lengths: &[usize]) -> ArrayRef {
        let field = Arc::new(Field::new("item", values.data_type().clone(), true).with_pg_type(pg_type));
        Arc::new(ListArray::new(field, OffsetBuffer::from_lengths(lengths.iter().copied()), values, None))
    }

    /// Two documents, and the place of a third that is missing.
    fn documents() -> ArrayRef {
        let zips: ArrayRef = Arc::new(StringArray::from(vec![Some("a\"b"), None, Some("hidden")]));
        let sizes: ArrayRef = Arc::new(Float64Array::from(vec![Some(0.5), Some(f64::NAN), None]));
        let moments = TimestampMicrosecondArray::from(vec![Some(-1), None, None]).with_timezone(UTC);
        let moments: ArrayRef = Arc::new(moments);
        let numbers = list(Arc::new(Int64Array::from(vec![Some(1), None, Some(3)])), PgType::INT8, &[2, 1, 0]);
        let field = |name: &str, array: &ArrayRef| Field::new(name, array.data_type().clone(), true);
        let fields = [field("zip", &zips), field("size", &sizes), field("at", &moments), field("n", &numbers)];
        let nulls = NullBuffer::from(vec![true, true, false]);
        Arc::new(StructArray::new(Fields::from(fields.to_vec()), vec![zips, sizes, moments, numbers], Some(nulls)))
    }

    #[test]
    fn documents_are_told_as_they_are_shown() {
        let expected = [
            "{\"zip\":\"a\\\"b\",\"size\":0.5,\"at\":\"1969-12-31T23:59:59.999999+00:00\",\"n\":[1,null]}",
            "{\"zip\":null,\"size\":\"NaN\",\"at\":null,\"n\":[3]}",
            "null",
        ];
        assert_eq!(told(&documents(), PgType::JSON), expected);
        // Behind the last row there is none.
        let mut out = Vec::new();
        assert!(write(documents().as_ref(), PgType::JSON, 3, &mut out) && out == b"null");
    }

    #[test]
    fn documents_in_documents_and_lists_of_lists_are_json() {
        let inner = documents();
        let field = Field::new("inner", inner.data_type().clone(), true).with_pg_type(PgType::JSON);
        let outer: ArrayRef = Arc::new(StructArray::new(Fields::from(vec![field]), vec![inner], None));
        let texts = told(&outer, PgType::JSON);
        assert_eq!(texts[1..], ["{\"inner\":{\"zip\":null,\"size\":\"NaN\",\"at\":null,\"n\":[3]}}", "{\"inner\":null}"]);
        let rows = list(Arc::new(Int64Array::from(vec![1, 2, 3])), PgType::INT8, &[1, 2]);
        let grid = list(rows, PgType::INT8.array().unwrap(), &[2]);
        assert_eq!(told(&grid, PgType::JSON), ["[[1],[2,3]]"]);
        assert!(!is_nested(grid.data_type(), PgType::INT8.array().unwrap()));
    }

    #[test]
    fn lists_of_documents_are_the_text_of_an_array() {
        let names: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), None]));
        let fields = Fields::from(vec![Field::new("x", DataType::Utf8, true)]);
        let items: ArrayRef = Arc::new(StructArray::new(fields, vec![names], Some(NullBuffer::from(vec![true, false]))));
        let texts = told(&list(items, PgType::JSON, &[2, 0]), PgType::JSON.array().unwrap());
        let elements: Vec<String> = texts.iter().map(|text| serde_json::from_str(text).unwrap()).collect();
        assert_eq!(elements, [r#"{"{\"x\":\"a\"}",NULL}"#, "{}"]);
    }
}
