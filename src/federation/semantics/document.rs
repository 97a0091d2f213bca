//! Documents that travel as structs, and lists of lists, as the `json` text that clients see of them (`wire/encode/json`),
//! so that every function of `json` reads them.
//!
//! **Invariant:** the text is the one a client gets of the column itself: fields in the schema's order, `null` for missing ones.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, StringBuilder, StructArray};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::error::Result;

use crate::format::{DisplaySettings, json};

use super::datum::Column;
use super::functions::json::make;
use super::typed::Typed;

/// The array with structs, and lists that are shown as `json`, in the carrier of `json`; others as they are.
pub(super) fn plain(array: ArrayRef, typed: Option<&Typed>, display: &DisplaySettings) -> Result<ArrayRef> {
    let is_json = typed.is_some_and(|typed| matches!(typed.pg_type.oid, 114 | 3802));
    match array.data_type() {
        DataType::Struct(_) => objects(array.as_struct(), display),
        DataType::List(item) if is_json => {
            let item = Arc::clone(item);
            arrays(array.as_list::<i32>(), &item, display)
        }
        DataType::List(item) if item.data_type().is_nested() => {
            let item = Arc::clone(item);
            items(&array, &item, display)
        }
        _ => Ok(array),
    }
}

/// A list of documents as a list of texts.
fn items(array: &ArrayRef, item: &FieldRef, display: &DisplaySettings) -> Result<ArrayRef> {
    let list = array.as_list::<i32>();
    let values = plain(Arc::clone(list.values()), Some(&Typed::of_field(item)), display)?;
    if values.data_type() == item.data_type() {
        return Ok(Arc::clone(array));
    }
    let field = Arc::new(Field::new(item.name(), values.data_type().clone(), true));
    Ok(Arc::new(ListArray::try_new(field, list.offsets().clone(), values, list.nulls().cloned())?))
}

fn arrays(list: &ListArray, item: &FieldRef, display: &DisplaySettings) -> Result<ArrayRef> {
    let element = Typed::of_field(item);
    let values = plain(Arc::clone(list.values()), Some(&element), display)?;
    let column = Column::new(&values, Some(&element))?;
    let mut texts = Texts::of(list.len());
    for (row, bounds) in list.offsets().windows(2).enumerate() {
        if list.is_null(row) {
            texts.builder.append_null();
            continue;
        }
        let place = |index: usize| bounds.get(index).and_then(|offset| usize::try_from(*offset).ok()).unwrap_or(0);
        texts.scratch.push(b'[');
        for at in place(0)..place(1) {
            texts.scratch.extend(if at > place(0) { &b","[..] } else { b"" });
            make::write(&element, &column.get(at), display, &mut texts.scratch)?;
        }
        texts.close(b']');
    }
    Ok(Arc::new(texts.builder.finish()))
}

fn objects(array: &StructArray, display: &DisplaySettings) -> Result<ArrayRef> {
    let fields: Vec<Typed> = array.fields().iter().map(|field| Typed::of_field(field)).collect();
    let values: Vec<ArrayRef> = array
        .columns()
        .iter()
        .zip(&fields)
        .map(|(column, typed)| plain(Arc::clone(column), Some(typed), display))
        .collect::<Result<_>>()?;
    let columns: Vec<Column<'_>> =
        values.iter().zip(&fields).map(|(column, typed)| Column::new(column, Some(typed))).collect::<Result<_>>()?;
    let mut texts = Texts::of(array.len());
    for row in 0..array.len() {
        if array.is_null(row) {
            texts.builder.append_null();
            continue;
        }
        texts.scratch.push(b'{');
        for (place, ((field, typed), column)) in array.fields().iter().zip(&fields).zip(&columns).enumerate() {
            texts.scratch.extend(if place > 0 { &b","[..] } else { b"" });
            json::write_string(field.name(), &mut texts.scratch);
            texts.scratch.push(b':');
            make::write(typed, &column.get(row), display, &mut texts.scratch)?;
        }
        texts.close(b'}');
    }
    Ok(Arc::new(texts.builder.finish()))
}

/// A column of texts with the bytes of the one being written.
struct Texts {
    builder: StringBuilder,
    scratch: Vec<u8>,
}

impl Texts {
    fn of(rows: usize) -> Self {
        Self { builder: StringBuilder::with_capacity(rows, rows * 32), scratch: Vec::new() }
    }

    fn close(&mut self, mark: u8) {
        self.scratch.push(mark);
        self.builder.append_value(std::str::from_utf8(&self.scratch).unwrap_or_default());
        self.scratch.clear();
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Float64Array, Int64Array, StringArray, TimestampMicrosecondArray};
    use arrow::buffer::{NullBuffer, OffsetBuffer};

    use super::*;
    use crate::pgtype::{PgField, PgType};

    fn list(values: ArrayRef, pg_type: PgType, lengths: &[usize]) -> ArrayRef {
        let field = Arc::new(Field::new("item", values.data_type().clone(), true).with_pg_type(pg_type));
        Arc::new(ListArray::new(field, OffsetBuffer::from_lengths(lengths.iter().copied()), values, None))
    }

    #[test]
    fn structs_read_as_the_text_that_clients_see() {
        let inner = StructArray::from(vec![(
            Arc::new(Field::new("lat", DataType::Float64, true)),
            Arc::new(Float64Array::from(vec![Some(59.5), Some(f64::NAN)])) as ArrayRef,
        )]);
        let moment = TimestampMicrosecondArray::from(vec![Some(-1), None]).with_timezone(crate::pgtype::UTC);
        let at = Field::new("at", moment.data_type().clone(), true);
        let numbers = list(Arc::new(Int64Array::from(vec![Some(1), None, Some(3)])), PgType::INT8, &[2, 1]);
        let inner: ArrayRef = Arc::new(inner);
        let texts: ArrayRef = Arc::new(StringArray::from(vec![Some("a\"b"), None]));
        let columns: Vec<(FieldRef, ArrayRef)> = vec![
            (Arc::new(Field::new("city", DataType::Utf8, true)), texts),
            (Arc::new(Field::new("geo", inner.data_type().clone(), true)), inner),
            (Arc::new(at), Arc::new(moment)),
            (Arc::new(Field::new("n", numbers.data_type().clone(), true)), numbers),
        ];
        let document: ArrayRef = Arc::new(StructArray::from(columns));
        let texts = plain(Arc::clone(&document), None, &DisplaySettings::default()).unwrap();
        let texts: Vec<_> = texts.as_string::<i32>().iter().flatten().collect();
        assert_eq!(
            texts,
            [
                "{\"city\":\"a\\\"b\",\"geo\":{\"lat\":59.5},\"at\":\"1969-12-31T23:59:59.999999+00:00\",\"n\":[1,null]}",
                "{\"city\":null,\"geo\":{\"lat\":\"NaN\"},\"at\":null,\"n\":[3]}"
            ]
        );
        let listed = plain(list(document, PgType::JSON, &[0, 2]), None, &DisplaySettings::default()).unwrap();
        assert_eq!(*listed.data_type(), PgType::JSON.array().unwrap().carrier());
        let grid = list(list(Arc::new(Int64Array::from(vec![1, 2, 3])), PgType::INT8, &[1, 2]), PgType::JSON, &[2]);
        let grid = plain(grid, Some(&PgType::JSON.into()), &DisplaySettings::default()).unwrap();
        assert_eq!(grid.as_string::<i32>().value(0), "[[1],[2,3]]");
    }

    #[test]
    fn missing_documents_stay_missing() {
        let city: ArrayRef = Arc::new(StringArray::from(vec![Some("Oslo"), Some("hidden")]));
        let fields = vec![Arc::new(Field::new("city", DataType::Utf8, true))].into();
        let nulls = Some(NullBuffer::from(vec![true, false]));
        let array: ArrayRef = Arc::new(StructArray::new(fields, vec![city], nulls));
        let texts = plain(array, None, &DisplaySettings::default()).unwrap();
        assert_eq!(texts.as_string::<i32>().iter().collect::<Vec<_>>(), [Some("{\"city\":\"Oslo\"}"), None]);
    }
}
