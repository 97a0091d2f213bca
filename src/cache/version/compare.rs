//! Two states of a table beside one another: under which keys they do not have the same row, and which of these keys a change touches.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::error::ArrowError;

use super::chunk::{Cell, Chunk, picked};
use super::key::{lacks_value, one_zero};
use super::{Broken, TableVersion};
use crate::stores::change::{Operation, Rows};

/// How a row of one state and what another one has under its key differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::cache) enum Differing {
    /// The other state has a row, this one has none.
    Missing,
    /// This state has a row, the other one has none.
    Extra,
    /// Both have one, with other values.
    Other,
}

/// Keys under which two states differ. It shows no values.
#[derive(Default)]
pub(in crate::cache) struct Differences(HashMap<Box<[u8]>, Differing>);

impl Differences {
    /// Whether there are none.
    pub(in crate::cache) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    pub(in crate::cache) fn len(&self) -> usize {
        self.0.len()
    }

    /// How many there are of a kind.
    pub(in crate::cache) fn count(&self, kind: Differing) -> usize {
        self.0.values().filter(|difference| **difference == kind).count()
    }

    /// With those of another comparison of the same two states.
    pub(in crate::cache) fn with(&mut self, more: Self) {
        self.0.extend(more.0);
    }
}

impl TableVersion {
    /// The keys of rows that random numbers choose, each row once: fewer than there are numbers where several choose one row, or one
    /// that is gone. The columns are those of the key, in its order.
    ///
    /// # Errors
    /// A key of columns that the table has not.
    pub(in crate::cache) fn drawn(&self, numbers: &[u64]) -> Result<RecordBatch, ArrowError> {
        let end = self.chunks.end().max(1);
        let (mut seen, mut cells): (HashSet<Cell>, Vec<Cell>) = (HashSet::new(), Vec::new());
        let mut chunks: Vec<&Chunk> = Vec::new();
        let mut places: BTreeMap<u64, usize> = BTreeMap::new();
        for number in numbers {
            // Below the first one all rows are gone.
            let found = self.chunks.not_above(number % end).or_else(|| self.chunks.not_below(0));
            let Some((first, chunk)) = found else { break };
            let rows = u64::try_from(chunk.len()).unwrap_or(u64::MAX).max(1);
            let row = usize::try_from((number / end) % rows).unwrap_or(0);
            if chunk.alive(row, 1).is_some() {
                continue;
            }
            let at = *places.entry(first).or_insert(chunks.len());
            if at == chunks.len() {
                chunks.push(chunk);
            }
            if seen.insert((at, row)) {
                cells.push((at, row));
            }
        }
        picked(&chunks, &cells, &self.keys.columns, &self.table.project(&self.keys.columns))
    }

    /// The keys under which this state and another one of the same table do not have the same row; `keys` has the columns of the key, in
    /// its order.
    ///
    /// # Errors
    /// Keys with other columns.
    pub(in crate::cache) fn differing(&self, other: &Self, keys: &RecordBatch) -> Result<Differences, ArrowError> {
        let bytes = self.keys.bytes(keys.columns())?;
        let mut found = Differences::default();
        for (row, key) in bytes.iter().enumerate() {
            if lacks_value(keys.columns(), row) {
                continue;
            }
            let difference = match (self.row_of(key.data())?, other.row_of(key.data())?) {
                (None, None) => None,
                (None, Some(_)) => Some(Differing::Missing),
                (Some(_), None) => Some(Differing::Extra),
                (Some(own), Some(its)) => (!are_alike(&own, &its)).then_some(Differing::Other),
            };
            if let Some(difference) = difference {
                found.0.insert(key.data().into(), difference);
            }
        }
        Ok(found)
    }

    /// Whether one of these rows, which have all columns of the table in order, is here with other values under its key. What is not here
    /// does not count.
    ///
    /// # Errors
    /// Rows that are none of this table.
    pub fn has_others(&self, rows: &[RecordBatch]) -> Result<bool, Broken> {
        let mut given = Self::empty(&self.table, &self.shape)?;
        for batch in rows {
            given = given.filled(batch)?;
        }
        let given = Arc::new(given);
        for keys in given.read(&self.keys.columns, usize::MAX) {
            if self.differing(&given, &keys?)?.count(Differing::Other) > 0 {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The cells of the row under a key, as columns of one row.
    fn row_of(&self, key: &[u8]) -> Result<Option<Vec<ArrayRef>>, ArrowError> {
        let Some(number) = self.index.get(key) else { return Ok(None) };
        let lost = || ArrowError::ComputeError("the copy has lost a row that its index knows".to_owned());
        let (_, chunk, row) = self.chunks.find(*number).ok_or_else(lost)?;
        Ok(Some(chunk.columns().iter().map(|column| column.slice(row, 1)).collect()))
    }

    /// Takes the keys out of `differences` that a change touches. `false`: it does not tell its keys, so that it may touch any.
    ///
    /// # Errors
    /// A change of other columns.
    pub(in crate::cache) fn leave_out(&self, differences: &mut Differences, rows: &Rows, row: u32) -> Result<bool, ArrowError> {
        let row = usize::try_from(row).unwrap_or(usize::MAX);
        let Some(operation) = rows.operations.get(row) else { return Ok(false) };
        if rows.shape.digest != self.shape.digest {
            return Ok(false);
        }
        let key = &self.keys.columns;
        let has_new = rows.new_known.has_all(key, row);
        let has_old = rows.old.is_some() && rows.old_known.has_all(key, row);
        // Of the new key a part that has changed may be told alone.
        let is_partly_new =
            *operation != Operation::Delete && !has_new && key.iter().any(|column| rows.new_known.has(*column, row));
        if is_partly_new || !(has_new || has_old) {
            return Ok(false);
        }
        for (batch, is_told) in [(Some(&rows.new), has_new), (rows.old.as_ref(), has_old)] {
            let Some(batch) = batch.filter(|batch| is_told && row < batch.num_rows()) else { continue };
            let columns: Vec<ArrayRef> = self.keys.among(batch.columns())?.iter().map(|column| column.slice(row, 1)).collect();
            differences.0.remove(self.keys.bytes(&columns)?.row(0).data());
        }
        Ok(true)
    }
}

/// Whether two rows have the same values, as they are read: both zeros are one, and all that is no number is one.
fn are_alike(own: &[ArrayRef], its: &[ArrayRef]) -> bool {
    own.len() == its.len() && own.iter().zip(its).all(|(own, its)| one_zero(own).as_ref() == one_zero(its).as_ref())
}
