//! List columns on their way into the engine: the fields of their items lose what they know of Postgres.
//!
//! The engine turns rows of a join's build side into scalars, which drops the metadata of list items, and then finds another
//! Arrow type than the plan promised. Connectors keep that metadata (a document's lists say what their elements are); inside
//! the engine the type of the column says it all. Lists inside documents stay as they are: nothing takes them apart.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::error::Result;

/// The schema with plain list items.
pub fn plain_items(schema: &SchemaRef) -> SchemaRef {
    if schema.fields().iter().all(|field| plain_item(field).is_none()) {
        return Arc::clone(schema);
    }
    let fields: Vec<FieldRef> = schema
        .fields()
        .iter()
        .map(|field| match plain_item(field) {
            Some(item) => Arc::new(field.as_ref().clone().with_data_type(DataType::List(item))),
            None => Arc::clone(field),
        })
        .collect();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

/// The item without metadata of a list column; `None` for other columns and for items that have none.
fn plain_item(field: &Field) -> Option<FieldRef> {
    match field.data_type() {
        DataType::List(item) if !item.metadata().is_empty() => {
            Some(Arc::new(item.as_ref().clone().with_metadata(std::collections::HashMap::new())))
        }
        _ => None,
    }
}

/// The batch under the schema that [`plain_items`] made of its own.
///
/// # Errors
/// When the batch is not of that schema.
pub fn refit(batch: RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    if batch.schema_ref().fields() == schema.fields() {
        return Ok(batch);
    }
    let columns =
        batch.columns().iter().zip(schema.fields()).map(|(column, field)| match (column.data_type(), field.data_type()) {
            (DataType::List(found), DataType::List(wanted)) if found != wanted => retyped(column, wanted),
            _ => Ok(Arc::clone(column)),
        });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
}

fn retyped(column: &ArrayRef, item: &FieldRef) -> Result<ArrayRef> {
    let (_, offsets, values, nulls) = column.as_list::<i32>().clone().into_parts();
    Ok(Arc::new(ListArray::try_new(Arc::clone(item), offsets, values, nulls)?))
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, ListBuilder, StringBuilder};
    use datafusion::scalar::ScalarValue;

    use super::*;
    use crate::pgtype::{PgField, PgType};

    #[test]
    fn lists_survive_the_engines_scalars() {
        let item = Arc::new(Field::new("item", DataType::Utf8, true).with_pg_type(PgType::UUID));
        let mut lists = ListBuilder::new(StringBuilder::new()).with_field(Arc::clone(&item));
        lists.append_value([Some("a"), None]);
        lists.append(false);
        let fields = vec![
            Field::new("id", DataType::Int64, true),
            Field::new("marks", DataType::List(item), true).with_pg_type(PgType::with_typmod(2951, -1)),
        ];
        let schema = Arc::new(Schema::new(fields));
        let columns: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(vec![1, 2])), Arc::new(lists.finish())];
        let batch = RecordBatch::try_new(Arc::clone(&schema), columns).unwrap();
        let plain = plain_items(&schema);
        assert_eq!(plain.field(1).pg_type(), PgType::with_typmod(2951, -1));
        let refitted = refit(batch, &plain).unwrap();
        for row in 0..2 {
            let scalar = ScalarValue::try_from_array(refitted.column(1), row).unwrap();
            let array = scalar.to_array_of_size(3).unwrap();
            assert_eq!(array.data_type(), plain.field(1).data_type());
        }
        assert!(Arc::ptr_eq(&plain_items(&plain), &plain));
    }
}
