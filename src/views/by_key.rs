//! A view whose query is run again for the keys of what has changed: which keys those are, and what differs in its rows with them.
//!
//! ```text
//! two states of each table ── differing rows: their values in the column of the key ──> keys ── the query for these alone (federation/kept_query)
//!     its rows, and those of the view that have one of the keys ──> what differs ──> output
//! ```
//!
//! **Invariants:** rows with other keys are the same before and after, which [`Lineage`] proves; where that is not so for a change, or
//! more keys have changed than are asked for at once, there is nothing here, and the whole query is run. NULL is a key as any other.

mod lineage;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::row::{RowConverter, SortField};
use datafusion::scalar::ScalarValue;
use tokio_util::sync::CancellationToken;

use super::engine::Change;
use super::recompute::{Failed, named, rows_of};
use crate::cache::TableVersion;
pub(super) use lineage::{Lineage, TableKey};

/// Most keys that a query is run for at once. Each of them is a literal in the plan of that run, which every rule of the planner goes through
/// anew each time; the whole query has none.
const KEYS_MAX: usize = 1_000;

/// Keys, each of them once.
pub(super) struct Keys {
    converter: RowConverter,
    bytes: HashSet<Box<[u8]>>,
    values: Vec<ScalarValue>,
}

impl Keys {
    /// None yet, of this type.
    fn new(data_type: &DataType) -> Result<Self, Failed> {
        let converter = RowConverter::new(vec![SortField::new(data_type.clone())])?;
        Ok(Self { converter, bytes: HashSet::new(), values: Vec::new() })
    }

    /// Takes the values of a column in; false where there are too many.
    fn take(&mut self, column: &ArrayRef) -> Result<bool, Failed> {
        let rows = self.converter.convert_columns(std::slice::from_ref(column))?;
        for (place, row) in rows.iter().enumerate() {
            if self.bytes.contains(row.data()) {
                continue;
            }
            if self.values.len() >= KEYS_MAX {
                return Ok(false);
            }
            let value = ScalarValue::try_from_array(column, place).map_err(|error| Failed::Broken(error.to_string()))?;
            self.values.push(value);
            self.bytes.insert(row.data().into());
        }
        Ok(true)
    }

    /// The rows of a batch that have one of them in a column.
    fn among(&self, batch: &RecordBatch, column: usize) -> Result<RecordBatch, Failed> {
        let column =
            batch.columns().get(column).ok_or_else(|| Failed::Broken("its query gives other columns than it has".to_owned()))?;
        let rows = self.converter.convert_columns(std::slice::from_ref(column))?;
        let mask: Vec<bool> = rows.iter().map(|row| self.bytes.contains(row.data())).collect();
        Ok(filter_record_batch(batch, &BooleanArray::from(mask))?)
    }

    /// The values. NULL may be one.
    pub(super) fn values(&self) -> &[ScalarValue] {
        &self.values
    }

    /// Whether there are none: nothing has changed.
    pub(super) fn is_empty(&self) -> bool {
        self.values.is_empty()
    }
}

/// The keys, of this type, of all rows that differ between two states of the tables of a view; `None` where that is not known, they are too
/// many, or a table has changed whose rows have no key.
///
/// # Errors
/// Values of another type than that of the key, and when the work was cancelled.
pub(super) fn changed(
    lineage: &Lineage,
    (seen, now): (&BTreeMap<TableKey, Arc<TableVersion>>, &BTreeMap<TableKey, Arc<TableVersion>>),
    data_type: &DataType,
    cancel: &CancellationToken,
) -> Result<Option<Keys>, Failed> {
    let mut keys = Keys::new(data_type)?;
    for (table, now) in now {
        if cancel.is_cancelled() {
            return Err(Failed::Ended);
        }
        let Some(seen) = seen.get(table) else { return Ok(None) };
        if Arc::ptr_eq(seen, now) {
            continue;
        }
        let known = lineage.tables.get(table);
        // Of a table whose rows have no key any column tells whether rows differ.
        let columns: Vec<usize> = known.map_or_else(|| vec![0], |ordinals| ordinals.iter().copied().collect());
        let Some(difference) = now.since_in(seen, &columns) else { return Ok(None) };
        let batches = difference.old.into_iter().chain(difference.new).filter(|batch| batch.num_rows() > 0);
        for batch in batches {
            if known.is_none() {
                return Ok(None);
            }
            for column in batch.columns() {
                if !keys.take(column)? {
                    return Ok(None);
                }
            }
        }
    }
    Ok(Some(keys))
}

/// What is to leave a state and to come into it, so that its rows with these keys in a column are `wanted`, as often as they are there;
/// `None` where some of these have none of the keys, which nobody has asked for.
///
/// # Errors
/// Rows of other columns, and when the work was cancelled.
pub(super) fn difference(
    (version, schema): (&Arc<TableVersion>, &SchemaRef),
    (column, keys): (usize, &Keys),
    wanted: Vec<RecordBatch>,
    cancel: &CancellationToken,
) -> Result<Option<Change>, Failed> {
    for batch in &wanted {
        if keys.among(batch, column)?.num_rows() != batch.num_rows() {
            return Ok(None);
        }
    }
    let mut before = Vec::new();
    for batch in rows_of(version, schema.fields().len()) {
        if cancel.is_cancelled() {
            return Err(Failed::Ended);
        }
        let with_key = keys.among(&named(batch?, schema)?, column)?;
        if with_key.num_rows() > 0 {
            before.push(with_key);
        }
    }
    Ok(Some(Change::between(before, wanted)?))
}
