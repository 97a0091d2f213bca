//! A view whose query is run again for the keys of what has changed: which keys those are, and what differs in its rows with them.
//!
//! ```text
//! two states of each table ── differing rows: their values in the column of the key ──> keys ── the query for these alone (federation/kept_query)
//!     its rows, and those of the view that have one of the keys ──> what differs ──> output
//! ```
//!
//! **Invariants:** rows with other keys are the same before and after, which [`Lineages`] proves; where that is not so for a change, or
//! more keys have changed than are asked for at once, there is nothing here, and the whole query is run. NULL is a key as any other.
//! Where several columns would serve, each change is asked for by the first one that is known of all tables that have changed.

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
use lineage::Lineage;
pub(super) use lineage::{Lineages, TableKey};

/// Most keys that a query is run for at once. Each of them is a literal in the plan of that run, which every rule of the planner goes through
/// anew each time; the whole query has none.
const KEYS_MAX: usize = 1_000;

/// Most bytes of those keys, as the engine bounds what joins hand on (`federation/engine`): nobody else counts them while the query is planned.
const KEYS_BYTES_MAX: usize = 2 << 20;

/// Most rows of a table, as they were, that are compared with what they are: a change of more is taken for one of what the view reads.
const COMPARED_MAX: usize = 10_000;

/// A table with its states before and after.
type Moved<'v> = (&'v TableKey, &'v Arc<TableVersion>, &'v Arc<TableVersion>);

/// Keys in one column of a view, each of them once.
pub(super) struct Keys {
    column: usize,
    converter: RowConverter,
    bytes: HashSet<Box<[u8]>>,
    values: Vec<ScalarValue>,
    /// How many bytes they take.
    size: usize,
}

impl Keys {
    /// None yet, of a column by its place, of this type.
    fn new(column: usize, data_type: &DataType) -> Result<Self, Failed> {
        let converter = RowConverter::new(vec![SortField::new(data_type.clone())])?;
        Ok(Self { column, converter, bytes: HashSet::new(), values: Vec::new(), size: 0 })
    }

    /// Takes the values of a column of a table in; false where there are too many, or they take too much.
    fn take(&mut self, column: &ArrayRef) -> Result<bool, Failed> {
        let rows = self.converter.convert_columns(std::slice::from_ref(column))?;
        for (place, row) in rows.iter().enumerate() {
            if self.bytes.contains(row.data()) {
                continue;
            }
            self.size = self.size.saturating_add(row.data().len());
            if self.values.len() >= KEYS_MAX || self.size > KEYS_BYTES_MAX {
                return Ok(false);
            }
            let value = ScalarValue::try_from_array(column, place).map_err(|error| Failed::Broken(error.to_string()))?;
            self.values.push(value);
            self.bytes.insert(row.data().into());
        }
        Ok(true)
    }

    /// The rows of a batch with the columns of the view that have one of them.
    fn among(&self, batch: &RecordBatch) -> Result<RecordBatch, Failed> {
        let column = batch
            .columns()
            .get(self.column)
            .ok_or_else(|| Failed::Broken("its query gives other columns than it has".to_owned()))?;
        let rows = self.converter.convert_columns(std::slice::from_ref(column))?;
        let mask: Vec<bool> = rows.iter().map(|row| self.bytes.contains(row.data())).collect();
        Ok(filter_record_batch(batch, &BooleanArray::from(mask))?)
    }

    /// The place of their column among those of the view.
    pub(super) fn column(&self) -> usize {
        self.column
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

/// States of the tables of a view.
type States = BTreeMap<TableKey, Arc<TableVersion>>;

/// The keys of all rows that differ between two states of the tables of a view; `None` where that is not known, they are too many, or no column
/// is known of all tables that have changed.
///
/// # Errors
/// Values of another type than that of the key, and when the work was cancelled.
pub(super) fn changed(
    lineages: &Lineages,
    (seen, now): (&States, &States),
    cancel: &CancellationToken,
) -> Result<Option<Keys>, Failed> {
    let mut moved: Vec<Moved<'_>> = Vec::new();
    for (table, now) in now {
        match seen.get(table) {
            Some(seen) if Arc::ptr_eq(seen, now) => {}
            Some(seen) => moved.push((table, seen, now)),
            None => return Ok(None),
        }
    }
    let Some(lineage) = chosen(lineages, &moved, cancel)? else { return Ok(None) };
    let mut keys = Keys::new(lineage.column, &lineage.data_type)?;
    for (table, seen, now) in moved {
        if cancel.is_cancelled() {
            return Err(Failed::Ended);
        }
        // A table that the column is not known of has changed in nothing that the view reads.
        let Some(ordinals) = lineage.tables.get(table) else { continue };
        let columns: Vec<usize> = ordinals.iter().copied().collect();
        let Some(difference) = now.since_in(seen, &columns) else { return Ok(None) };
        for batch in difference.old.iter().chain(&difference.new) {
            for column in batch.columns() {
                if !keys.take(column)? {
                    return Ok(None);
                }
            }
        }
    }
    Ok(Some(keys))
}

/// The first column that is known of all tables that have changed in what the view reads of them.
fn chosen<'l>(lineages: &'l Lineages, moved: &[Moved<'_>], cancel: &CancellationToken) -> Result<Option<&'l Lineage>, Failed> {
    let (known, unknown): (Vec<Moved<'_>>, Vec<Moved<'_>>) = moved.iter().copied().partition(|(table, ..)| lineages.knows(table));
    // One of these alone takes the whole query, so they are looked at before anything else is.
    for table in unknown {
        if cancel.is_cancelled() {
            return Err(Failed::Ended);
        }
        if !is_same(lineages, table) {
            return Ok(None);
        }
    }
    let names: Vec<&TableKey> = known.iter().map(|(table, ..)| *table).collect();
    if let Some(lineage) = lineages.of_all(&names) {
        return Ok(Some(lineage));
    }
    let mut names = Vec::new();
    for table in known {
        if cancel.is_cancelled() {
            return Err(Failed::Ended);
        }
        if !is_same(lineages, table) {
            names.push(table.0);
        }
    }
    Ok(lineages.of_all(&names))
}

/// Whether both states of a table are known to have the same rows in the columns that the view reads.
fn is_same(lineages: &Lineages, (table, seen, now): Moved<'_>) -> bool {
    let Some(read) = lineages.read_of(table) else { return false };
    // Without any column nothing would tell how many rows there are.
    let columns: Vec<usize> = if read.is_empty() { vec![0] } else { read.iter().copied().collect() };
    let Some(difference) = now.since_in(seen, &columns) else { return false };
    let rows = |side: &Option<RecordBatch>| side.as_ref().map_or(0, RecordBatch::num_rows);
    if rows(&difference.old) != rows(&difference.new) || rows(&difference.old) > COMPARED_MAX {
        return false;
    }
    let side = |batch: Option<RecordBatch>| batch.into_iter().collect::<Vec<_>>();
    let change = Change::between(side(difference.old), side(difference.new));
    change.is_ok_and(|change| change.is_empty())
}

/// What is to leave a state and to come into it, so that its rows with these keys are `wanted`, as often as they are there;
/// `None` where some of these have none of the keys, which nobody has asked for.
///
/// # Errors
/// Rows of other columns, and when the work was cancelled.
pub(super) fn difference(
    (version, schema): (&Arc<TableVersion>, &SchemaRef),
    keys: &Keys,
    wanted: Vec<RecordBatch>,
    cancel: &CancellationToken,
) -> Result<Option<Change>, Failed> {
    for batch in &wanted {
        if keys.among(batch)?.num_rows() != batch.num_rows() {
            return Ok(None);
        }
    }
    let mut before = Vec::new();
    for batch in rows_of(version, schema.fields().len()) {
        if cancel.is_cancelled() {
            return Err(Failed::Ended);
        }
        let with_key = keys.among(&named(batch?, schema)?)?;
        if with_key.num_rows() > 0 {
            before.push(with_key);
        }
    }
    Ok(Some(Change::between(before, wanted)?))
}
