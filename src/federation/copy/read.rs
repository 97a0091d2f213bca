//! The rows of a copy that a scan wants: found by their key or read one after another, checked, and cut to the columns that are asked for.

use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch, RecordBatchOptions};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::error::ArrowError;
use datafusion::error::{DataFusionError, Result};
use datafusion::physical_expr::PhysicalExpr;
use futures::StreamExt;
use futures::stream::BoxStream;

use super::keys::{self, Keys};
use crate::cache::version::TableVersion;
use crate::federation::items::{plain_items, refit};
use crate::stores::{Predicate, Table};

/// What is read of a copy. Rows come under the whole condition of the scan, and no more of them than it asks for.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    /// What is read, as ordinals of the table's columns: first those that are given, then those that only the condition needs.
    pub(super) read: Vec<usize>,
    /// How many of them are given.
    pub(super) given: usize,
    /// What rows must meet, over the columns that are read.
    pub(super) condition: Option<Arc<dyn PhysicalExpr>>,
    /// What of it says which keys there can be.
    pub(super) conditions: Vec<Predicate>,
    /// Rows at most.
    pub(super) limit: Option<u64>,
}

/// All rows in batches.
type Batches = Box<dyn Iterator<Item = std::result::Result<RecordBatch, ArrowError>> + Send>;

/// Where rows come from.
enum Rows {
    /// All there are.
    All(Batches),
    /// Those with some keys, of which so many have been looked up.
    Found { keys: Keys, key: Vec<usize>, done: usize },
}

struct Reading {
    version: Arc<TableVersion>,
    wanted: Arc<Wanted>,
    /// What is read; one column at least.
    read: Vec<usize>,
    /// The same, as the engine sees it.
    read_as: SchemaRef,
    given_as: SchemaRef,
    rows: Rows,
    batch_rows: usize,
    left: usize,
}

/// The rows in batches. `told` are conditions of joins, which are checked there.
pub(super) fn rows(
    version: Arc<TableVersion>,
    wanted: Arc<Wanted>,
    told: &[Predicate],
    batch_rows: usize,
) -> BoxStream<'static, Result<RecordBatch>> {
    let table = Arc::clone(version.table());
    let mut read = wanted.read.clone();
    if read.is_empty() {
        // Of rows without columns the number counts.
        read.push(version.shape().key.first().copied().unwrap_or(0));
    }
    let read_as = plain_items(&table.project(&read));
    let given_as = plain_items(&table.project(wanted.read.get(..wanted.given).unwrap_or_default()));
    let rows = match keys_of(&version, &table, &wanted, told) {
        Some(keys) => Rows::Found { key: version.shape().key.clone(), keys, done: 0 },
        None => Rows::All(Box::new(version.read(&read, batch_rows.max(1)))),
    };
    let left = wanted.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let reading = Reading { version, wanted, read, read_as, given_as, rows, batch_rows, left };
    let batches = futures::stream::try_unfold(reading, |mut reading| async move {
        while reading.left > 0 {
            // A condition that few rows meet gives nobody else a turn.
            tokio::task::coop::consume_budget().await;
            let Some(batch) = reading.next()? else { return Ok(None) };
            if batch.num_rows() > 0 {
                return Ok(Some((batch, reading)));
            }
        }
        Ok::<_, DataFusionError>(None)
    });
    batches.boxed()
}

/// The keys under which the rows are looked up; `None` where all are read. What joins tell may be shorter than what the statement says.
fn keys_of(version: &TableVersion, table: &Table, wanted: &Wanted, told: &[Predicate]) -> Option<Keys> {
    let (key, most) = (version.shape().key.as_slice(), keys::most(version.rows()));
    let said = Keys::of(&wanted.conditions, table, key, most);
    if told.is_empty() {
        return said;
    }
    let both: Vec<Predicate> = wanted.conditions.iter().chain(told).cloned().collect();
    match (said, Keys::of(&both, table, key, most)) {
        (Some(said), Some(both)) => Some(if both.len() < said.len() { both } else { said }),
        (said, both) => said.or(both),
    }
}

impl Reading {
    /// The next rows that meet the condition, which may be none; nothing at the end.
    fn next(&mut self) -> Result<Option<RecordBatch>> {
        let batch = match &mut self.rows {
            Rows::All(reader) => match reader.next() {
                Some(batch) => batch?,
                None => return Ok(None),
            },
            Rows::Found { keys, key, done } => {
                if *done >= keys.len() {
                    return Ok(None);
                }
                let wanted = keys.batch(self.version.table(), key, *done, self.batch_rows.max(1))?;
                *done += wanted.num_rows().max(1);
                self.version.look_up(&wanted, &self.read)?
            }
        };
        let batch = self.checked(refit(batch, &self.read_as)?)?;
        let rows = batch.num_rows().min(self.left);
        self.left -= rows;
        let columns = batch.columns().iter().take(self.wanted.given).map(|column| column.slice(0, rows)).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(Some(RecordBatch::try_new_with_options(Arc::clone(&self.given_as), columns, &options)?))
    }

    /// The rows for which the condition is true.
    fn checked(&self, batch: RecordBatch) -> Result<RecordBatch> {
        let Some(condition) = &self.wanted.condition else { return Ok(batch) };
        let met = condition.evaluate(&batch)?.into_array(batch.num_rows())?;
        if *met.data_type() != DataType::Boolean {
            return Err(DataFusionError::Internal("a condition of a scan is not boolean".to_owned()));
        }
        Ok(filter_record_batch(&batch, met.as_boolean())?)
    }
}
