//! Rows that a statement has given back, as they are kept beside its command tag: sent again, it gives the same ones.

use std::io::Cursor;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::ipc::MetadataVersion;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::{IpcWriteOptions, StreamWriter};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::{Deserialize, Serialize};

use super::keys::OUTCOME_BYTES_MAX;
use crate::error::{Diagnosis, Limit, sqlstate};

/// A column as the client was told of it: its name, the oid of its type, and the type's modifier.
pub type Told = (String, u32, i32);

/// Rows and what was told of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptRows {
    columns: Vec<Told>,
    /// A stream of Arrow in base64: values come back in the types that they had.
    rows: String,
}

impl KeptRows {
    /// Those of a statement.
    ///
    /// # Errors
    /// 54000 for more than may be kept.
    pub fn of(columns: Vec<Told>, schema: &SchemaRef, batches: &[RecordBatch]) -> Result<Self, Diagnosis> {
        let stream = written(schema, batches).map_err(|error| Diagnosis::new(sqlstate::INTERNAL_ERROR, error.to_string()))?;
        if stream.len() > OUTCOME_BYTES_MAX {
            let message = "a statement with an idempotency key gives back too many rows";
            return Err(Diagnosis::new(sqlstate::PROGRAM_LIMIT_EXCEEDED, message)
                .with_detail(format!("What is kept of the answers of a transaction has at most {OUTCOME_BYTES_MAX} bytes."))
                .at(Limit::Transaction));
        }
        Ok(Self { columns, rows: STANDARD_NO_PAD.encode(stream) })
    }

    /// How many bytes they take, about.
    pub fn bytes(&self) -> usize {
        self.rows.len() + self.columns.iter().map(|(name, ..)| name.len() + 24).sum::<usize>()
    }

    /// The rows again, for a client that is told of these columns.
    ///
    /// # Errors
    /// 55000 where the columns are others now, or the rows cannot be read.
    pub fn read(&self, columns: &[Told]) -> Result<(SchemaRef, Vec<RecordBatch>), Diagnosis> {
        if self.columns != columns {
            let message = "the statement gives back other columns than when its transaction was committed before";
            return Err(Diagnosis::new(sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE, message));
        }
        let stream = STANDARD_NO_PAD.decode(&self.rows).map_err(|_other| unreadable())?;
        read(stream).map_err(|_other| unreadable())
    }
}

fn unreadable() -> Diagnosis {
    let message = "what the transaction was answered before cannot be read";
    Diagnosis::new(sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE, message)
}

fn written(schema: &SchemaRef, batches: &[RecordBatch]) -> Result<Vec<u8>, ArrowError> {
    // Every byte counts more than where the buffers begin.
    let options = IpcWriteOptions::try_new(8, false, MetadataVersion::V5)?;
    let mut writer = StreamWriter::try_new_with_options(Vec::new(), schema, options)?;
    batches.iter().try_for_each(|batch| writer.write(batch))?;
    writer.into_inner()
}

fn read(stream: Vec<u8>) -> Result<(SchemaRef, Vec<RecordBatch>), ArrowError> {
    let reader = StreamReader::try_new(Cursor::new(stream), None)?;
    let schema = reader.schema();
    let batches: Result<Vec<RecordBatch>, ArrowError> = reader.collect();
    Ok((Arc::clone(&schema), batches?))
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Int64Array, StringArray};
    use arrow::datatypes::{DataType, Field, Schema};

    use super::*;

    fn rows(count: usize) -> (SchemaRef, RecordBatch) {
        let fields = vec![Field::new("id", DataType::Int64, false), Field::new("name", DataType::Utf8, true)];
        let schema = Arc::new(Schema::new(fields));
        let ids: ArrayRef = Arc::new(Int64Array::from_iter_values((0..count).map(|id| i64::try_from(id).unwrap())));
        let names: ArrayRef = Arc::new(StringArray::from_iter((0..count).map(|id| (id % 2 == 0).then(|| format!("'{id}'")))));
        let batch = RecordBatch::try_new(Arc::clone(&schema), vec![ids, names]).unwrap();
        (schema, batch)
    }

    fn told() -> Vec<Told> {
        vec![("id".to_owned(), 20, -1), ("name".to_owned(), 25, -1)]
    }

    #[test]
    fn rows_come_back_as_they_were() {
        let (schema, batch) = rows(5);
        let kept = KeptRows::of(told(), &schema, &[batch.slice(1, 2), batch.slice(3, 2)]).unwrap();
        let text = serde_json::to_string(&kept).unwrap();
        let kept: KeptRows = serde_json::from_str(&text).unwrap();
        let (found, batches) = kept.read(&told()).unwrap();
        assert_eq!(found.fields(), schema.fields());
        assert_eq!(batches, [batch.slice(1, 2), batch.slice(3, 2)]);
        let none = KeptRows::of(told(), &schema, &[]).unwrap();
        assert!(none.read(&told()).unwrap().1.is_empty());
        assert!(none.bytes() > 0 && none.bytes() < 1_500, "{}", none.bytes());
    }

    #[test]
    fn other_columns_and_too_many_rows_are_refused() {
        let (schema, batch) = rows(5);
        let kept = KeptRows::of(told(), &schema, &[batch]).unwrap();
        let mut others = told();
        others[1].1 = 1043;
        assert_eq!(kept.read(&others).unwrap_err().sqlstate, "55000");
        let broken = KeptRows { columns: told(), rows: "AAAA".to_owned() };
        assert_eq!(broken.read(&told()).unwrap_err().sqlstate, "55000");
        let (schema, batch) = rows(20_000);
        assert_eq!(KeptRows::of(told(), &schema, &[batch]).unwrap_err().sqlstate, "54000");
    }
}
