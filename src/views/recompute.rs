//! A view that is computed as a whole: its query's rows, what of them differs from those that it has, and whether they keep to its indexes.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Field, SchemaRef};
use arrow::error::ArrowError;
use arrow::row::{RowConverter, SortField};
use datafusion::execution::SendableRecordBatchStream;
use futures::TryStreamExt;

use super::ViewIndex;
use super::engine::Change;
use super::status::TOO_LARGE;
use crate::cache::TableVersion;
use crate::error::{Diagnosis, sqlstate};
use crate::federation::error::diagnose;
use crate::federation::items::refit;
use crate::federation::kept_query::in_one_form;

/// Rows of a state that are compared at a time.
const BATCH_ROWS: usize = 8192;

/// Why rows of a view were not made.
#[derive(Debug)]
pub(super) enum Failed {
    /// What differs from the states that were seen is not known: everything is to be read again.
    Lost,
    /// Nobody waits for it any more.
    Ended,
    /// The view would be too large: there is room for so many bytes, beside all other views and older rows that are still read.
    TooLarge(u64),
    /// The rows cannot be put together: a clause.
    Broken(String),
    /// Some of its tables were read in their store, at a moment that nobody knows.
    NotPinned,
    /// The query fails, or an expression of it with some row.
    Query(Diagnosis),
}

impl Failed {
    /// A word of a fixed list, for metrics.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Ended => "ended",
            Self::TooLarge(_) => "too-large",
            Self::Broken(_) => "broken",
            Self::NotPinned => "not-pinned",
            Self::Query(_) => "query",
        }
    }

    /// The reason, as a clause.
    pub(super) fn reason(&self) -> String {
        match self {
            Self::Lost => "what has changed in its tables is not known".to_owned(),
            Self::Ended => "views are not kept any more".to_owned(),
            Self::TooLarge(most) => format!("{TOO_LARGE} ({most} bytes are left of cache.memory)"),
            Self::Broken(reason) => format!("its rows cannot be put together: {reason}"),
            Self::NotPinned => "a table of it was read in its store".to_owned(),
            Self::Query(error) => format!("its query fails: {} (SQLSTATE {})", error.message, error.sqlstate),
        }
    }

    /// What a client is told that has asked for the rows.
    pub(super) fn diagnosis(&self, name: &str) -> Diagnosis {
        let code = match self {
            Self::Query(error) => return error.clone(),
            Self::TooLarge(_) => sqlstate::OUT_OF_MEMORY,
            Self::Broken(_) => sqlstate::INTERNAL_ERROR,
            Self::Lost | Self::Ended | Self::NotPinned => sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE,
        };
        let message = format!("materialized view \"{name}\" could not be refreshed");
        Diagnosis::new(code, message).with_detail(crate::error::sentence(&self.reason()))
    }
}

impl From<ArrowError> for Failed {
    fn from(error: ArrowError) -> Self {
        Self::Broken(error.to_string())
    }
}

/// The rows of a query, of at most so many bytes, under the names of the view.
pub(super) async fn collected(
    mut rows: SendableRecordBatchStream,
    schema: &SchemaRef,
    most: u64,
) -> Result<Vec<RecordBatch>, Failed> {
    let (mut all, mut bytes) = (Vec::new(), 0_u64);
    while let Some(batch) = rows.try_next().await.map_err(|error| Failed::Query(diagnose(&error)))? {
        bytes = bytes.saturating_add(u64::try_from(batch.get_array_memory_size()).unwrap_or(u64::MAX));
        if bytes > most {
            return Err(Failed::TooLarge(most));
        }
        if batch.num_rows() > 0 {
            all.push(named(batch, schema)?);
        }
    }
    Ok(all)
}

/// A batch under the names of the view.
pub(super) fn named(batch: RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, Failed> {
    if batch.num_columns() != schema.fields().len() {
        return Err(Failed::Broken("its query gives other columns than it has".to_owned()));
    }
    let is_alike = batch.columns().iter().zip(schema.fields()).all(|(column, field)| column.data_type() == field.data_type());
    if !is_alike {
        return refit(batch, schema).map_err(|error| Failed::Broken(error.to_string()));
    }
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), batch.columns().to_vec(), &options)?)
}

/// A change under the names of the view.
pub(super) fn relabelled(change: Change, schema: &SchemaRef) -> Result<Change, Failed> {
    let all = |batches: Vec<RecordBatch>| batches.into_iter().map(|batch| named(batch, schema)).collect::<Result<Vec<_>, _>>();
    Ok(Change { removed: all(change.removed)?, added: all(change.added)? })
}

fn converter<'t>(types: impl Iterator<Item = &'t DataType>) -> Result<RowConverter, ArrowError> {
    RowConverter::new(types.map(|data_type| SortField::new(data_type.clone())).collect())
}

/// The rows of a state with the first columns, the view's.
pub(super) fn rows_of(version: &Arc<TableVersion>, columns: usize) -> impl Iterator<Item = Result<RecordBatch, ArrowError>> {
    let columns: Vec<usize> = (0..columns).collect();
    version.read(&columns, BATCH_ROWS)
}

/// What is to leave a state and to come into it, so that its rows are these, as often as they are there.
pub(super) fn difference(version: &Arc<TableVersion>, schema: &SchemaRef, wanted: Vec<RecordBatch>) -> Result<Change, Failed> {
    let before = rows_of(version, schema.fields().len()).map(|batch| named(batch?, schema)).collect::<Result<Vec<_>, _>>()?;
    Ok(Change::between(before, wanted)?)
}

/// How many rows a change has.
pub(super) fn rows_in(change: &Change) -> u64 {
    let rows = change.removed.iter().chain(&change.added).map(RecordBatch::num_rows).sum::<usize>();
    u64::try_from(rows).unwrap_or(u64::MAX)
}

/// Whether the rows of a state keep to the unique indexes of the view.
///
/// # Errors
/// 23505 with the index as constraint, as PostgreSQL says it when it makes one; no value is told.
pub(super) fn check_unique(version: &Arc<TableVersion>, indexes: &[ViewIndex]) -> Result<(), Failed> {
    for index in indexes.iter().filter(|index| index.is_unique) {
        let columns = &version.table().columns;
        let fields: Vec<&Field> =
            index.columns.iter().filter_map(|place| columns.get(*place)).map(|column| &column.field).collect();
        let (mut of_keys, mut seen) = (None, HashSet::new());
        for batch in version.read(&index.columns, BATCH_ROWS) {
            let batch = batch?;
            let told = batch.columns().iter().zip(&fields).map(|(array, field)| in_one_form(array, field).map_err(Failed::Query));
            let told = told.collect::<Result<Vec<_>, _>>()?;
            let converter = match of_keys.take() {
                Some(known) => known,
                None => converter(told.iter().map(|array| array.data_type()))?,
            };
            let converter = &*of_keys.insert(converter);
            for (row, key) in converter.convert_columns(&told)?.iter().enumerate() {
                let has_null = batch.columns().iter().any(|column| column.is_null(row));
                if !has_null && !seen.insert(key.owned()) {
                    let message = format!("could not create unique index \"{}\"", index.name);
                    let mut told = Diagnosis::new(sqlstate::UNIQUE_VIOLATION, message)
                        .with_detail("Two rows have the same values in its columns.");
                    told.constraint = Some(index.name.clone());
                    return Err(Failed::Query(told));
                }
            }
        }
    }
    Ok(())
}
