//! A view that follows each change of its tables: what differs between two sets goes through the machine into its rows.
//!
//! All of it is work without a pause, and is done aside. **Invariant:** the rows are those of the sets that were taken last; what fails
//! leaves nothing that could be gone on with.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use tokio_util::sync::CancellationToken;

use super::engine::{Broken, Input, InputChange, Machine, Program};
use super::output::Output;
use super::recompute::{Failed, relabelled};
use crate::cache::{Reading, TableVersion};
use crate::error::{Diagnose, sqlstate};
use crate::federation::items::{plain_items, refit};
use crate::stores::StoreName;
use crate::stores::schema::TableId;

/// Rows of a table that go into the machine as one batch.
const BATCH_ROWS: usize = 8192;

/// One set of each store, in which every table of a view is.
#[derive(Debug, Clone)]
pub(super) struct Pinned {
    pub(super) readings: BTreeMap<StoreName, Arc<Reading>>,
    pub(super) tables: BTreeMap<(StoreName, TableId), Arc<TableVersion>>,
}

impl Pinned {
    /// Whether these sets have the same rows of all the tables.
    pub(super) fn has_same(&self, seen: &BTreeMap<(StoreName, TableId), Arc<TableVersion>>) -> bool {
        let is_same = |(key, version): (&(StoreName, TableId), &Arc<TableVersion>)| {
            seen.get(key).is_some_and(|seen| Arc::ptr_eq(seen, version))
        };
        seen.len() == self.tables.len() && self.tables.iter().all(is_same)
    }
}

/// The machine of a view and the rows that it has given.
pub(super) struct Maintained {
    machine: Machine,
    pub(super) output: Output,
    schema: SchemaRef,
    /// The states of its tables that are in the rows.
    pub(super) seen: BTreeMap<(StoreName, TableId), Arc<TableVersion>>,
}

impl Maintained {
    /// Nothing has been read yet. `schema` names the columns as the view does.
    pub(super) fn new(program: &Arc<Program>, output: Output, schema: SchemaRef) -> Self {
        Self { machine: Machine::new(Arc::clone(program)), output, schema, seen: BTreeMap::new() }
    }

    /// How much memory it takes, about, with the rows.
    pub(super) fn bytes(&self) -> u64 {
        let bytes = self.machine.bytes().saturating_add(self.output.bytes());
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }

    /// Does everything that is in these sets and not in the rows, as one step: of what lies between, nothing is computed, and so nothing of
    /// it fails.
    ///
    /// # Errors
    /// Why there are no rows: also where a join in between would give more than `most` bytes, or the work was cancelled.
    pub(super) fn step(mut self, pinned: &Pinned, most: u64, cancel: &CancellationToken) -> Result<Self, Failed> {
        let mut changes = Vec::new();
        for (place, input) in self.machine.inputs().iter().enumerate() {
            if cancel.is_cancelled() {
                return Err(Failed::Ended);
            }
            let key = (input.id.store.clone(), input.id.table.clone());
            let now = pinned.tables.get(&key).ok_or(Failed::Lost)?;
            let (removed, added) = match self.seen.get(&key) {
                Some(seen) if Arc::ptr_eq(seen, now) => continue,
                Some(seen) => differing(seen, now, input)?,
                None => (Vec::new(), all_rows(now, input)?),
            };
            if !(removed.is_empty() && added.is_empty()) {
                changes.push(InputChange { input: place, removed, added });
            }
        }
        // What an aggregate of no rows gives is there without any change.
        if !changes.is_empty() || self.seen.is_empty() {
            self.machine.limit(usize::try_from(most).unwrap_or(usize::MAX), cancel);
            let stepped = self.machine.step(&changes);
            let change = stepped.map_err(|broken| match broken.sqlstate() {
                sqlstate::OUT_OF_MEMORY => Failed::TooLarge(most),
                sqlstate::QUERY_CANCELED if cancel.is_cancelled() => Failed::Ended,
                _ => Failed::from(broken),
            })?;
            let change = relabelled(change, &self.schema)?;
            self.output.apply(&change).map_err(|error| Failed::Broken(error.to_string()))?;
        }
        self.seen.clone_from(&pinned.tables);
        Ok(self)
    }
}

/// Rows as the machine takes them: under the schema that plans know.
fn fitted(batch: RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, Failed> {
    refit(batch, schema).map_err(|error| Failed::Broken(error.to_string()))
}

fn all_rows(version: &Arc<TableVersion>, input: &Input) -> Result<Vec<RecordBatch>, Failed> {
    let schema = plain_items(&version.table().project(&input.columns));
    let batches = version.read(&input.columns, BATCH_ROWS);
    batches.map(|batch| fitted(batch.map_err(|error| Failed::Broken(error.to_string()))?, &schema)).collect()
}

/// What one state has and the other has not.
fn differing(seen: &TableVersion, now: &TableVersion, input: &Input) -> Result<(Vec<RecordBatch>, Vec<RecordBatch>), Failed> {
    let difference = now.since_in(seen, &input.columns).ok_or(Failed::Lost)?;
    let schema = plain_items(&now.table().project(&input.columns));
    let side = |batch: Option<RecordBatch>| batch.map(|batch| fitted(batch, &schema)).into_iter().collect::<Result<Vec<_>, _>>();
    Ok((side(difference.old)?, side(difference.new)?))
}

impl From<Broken> for Failed {
    fn from(broken: Broken) -> Self {
        Self::Query(crate::error::Diagnosis::of(&broken))
    }
}
