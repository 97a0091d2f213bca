//! The states of a cached table: each is immutable, whole and shares with the one before it what has not changed.
//!
//! ```text
//! key ──> key bytes ──index──> row number ──chunks──> columns          (key, chunk)
//! fill, changes ──> slots over the index ──> dead rows and one new chunk (edit)
//! state ──> batches of all rows, or rows by their keys                  (read)
//! two states ──> keys under which they differ                           (compare)
//! two states ──> keys that steps between them touched ──> rows that differ  (since)
//! ```
//!
//! **Invariants:** no two rows of a state have one key; a state after changes has what the store has after them, or there is none and
//! [`Broken`] says why; a reader's state never changes below it. A change costs the same in tables of any size, but for the logarithms
//! of the trees. Deliberately absent: positions, who may read, and when a state is published.

mod chunk;
mod compare;
mod edit;
mod key;
mod read;
mod since;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use imbl::HashMap;
use thiserror::Error;

use crate::pgtype::PgType;
use crate::stores::change::{Rows, Shape, can_be_told};
use crate::stores::schema::{Generated, Table, TableKind};
use chunk::Chunks;
pub(in crate::cache) use compare::{Differences, Differing};
use edit::Edit;
use key::{Key, Keys, is_fit};
pub use read::Reader;
pub use since::Difference;
use since::Touched;

/// What a row takes in the index, about: a key in place, a number and a hash, in nodes that are two thirds full.
const INDEX_BYTES: usize = 96;

/// The copy cannot go on: a change that does not tell what the copy would need to follow it, or that does not fit it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{reason}")]
pub struct Broken {
    /// Why, as a clause.
    pub reason: String,
}

impl From<ArrowError> for Broken {
    fn from(error: ArrowError) -> Self {
        Self { reason: format!("its rows cannot be put together: {error}") }
    }
}

/// Why a table of this shape cannot be copied, as a clause; `None` when it can.
pub fn refusal(table: &Table, shape: &Shape) -> Option<String> {
    let fields = shape.schema.fields();
    let is_same = fields.len() == table.columns.len()
        && fields
            .iter()
            .zip(&table.columns)
            .all(|(field, column)| field.name() == column.name() && field.data_type().equals_datatype(column.field.data_type()));
    if !is_same || shape.always_known.len() != fields.len() {
        return Some("its columns are not those that its changes tell of".to_owned());
    }
    if let Some(unseen) = &shape.unseen {
        return Some(unseen.clone());
    }
    if shape.key.is_empty() {
        return Some("it has no key that tells its rows apart".to_owned());
    }
    let mut proven = table.primary_key.iter().chain(&table.unique_keys).filter(|key| key.proven && !key.columns.is_empty());
    let is_proven = proven.any(|key| key.columns.iter().all(|column| shape.key.contains(column)));
    for ordinal in &shape.key {
        let Some(column) = table.columns.get(*ordinal) else {
            return Some("its columns are not those that its changes tell of".to_owned());
        };
        let (name, data_type) = (column.name(), column.field.data_type());
        if !is_fit(data_type) {
            return Some(format!("the column \"{name}\" of its key has a type by whose bytes rows cannot be told apart"));
        }
        // A tinyint of MySQL may hold many numbers that are all true.
        if column.pg_type() == PgType::BOOL && !is_proven {
            return Some(format!("several values of the column \"{name}\" of its key are read as one"));
        }
    }
    for (ordinal, column) in table.columns.iter().enumerate() {
        let is_told = shape.key.contains(&ordinal) || shape.always_known.get(ordinal).copied().unwrap_or_default();
        if is_told {
            continue;
        }
        let name = column.name();
        // What a change leaves out is taken for what it was before. That would be wrong of these.
        if table.kind == TableKind::Collection {
            let reason = "changes tell its documents only in part: it lacks changeStreamPreAndPostImages";
            return Some(reason.to_owned());
        }
        if !can_be_told(column) {
            return Some(format!("changes do not tell its column \"{name}\""));
        }
        if column.generated == Generated::Always {
            return Some(format!("its store computes the column \"{name}\" and does not tell it with changes"));
        }
    }
    None
}

/// One state of one table. Immutable; a later state shares what has not changed.
#[derive(Clone)]
pub struct TableVersion {
    table: Arc<Table>,
    shape: Arc<Shape>,
    keys: Arc<Keys>,
    /// The numbers of the rows by their keys.
    index: HashMap<Key, u64>,
    chunks: Chunks,
    /// What keys take outside of the index.
    key_bytes: usize,
    /// The keys that the last steps touched.
    touched: Touched,
}

impl fmt::Debug for TableVersion {
    // Without values.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("TableVersion");
        shown.field("table", &self.table.id).field("rows", &self.rows()).field("bytes", &self.bytes()).finish_non_exhaustive()
    }
}

impl TableVersion {
    /// A state without rows.
    ///
    /// # Errors
    /// A table that cannot be copied, with what [`refusal`] says of it.
    pub fn empty(table: &Arc<Table>, shape: &Arc<Shape>) -> Result<Self, ArrowError> {
        if let Some(reason) = refusal(table, shape) {
            return Err(ArrowError::NotYetImplemented(reason));
        }
        Ok(Self::without_rows(table, shape, Keys::of(table, shape)?))
    }

    /// A state without rows of what a view gives, which follows no feed: its key may have NULL, which is one value there. With
    /// `is_exact` its rows are told apart by all bits of their key, also where they differ in the sign of a zero only.
    ///
    /// # Errors
    /// A key with a type that has no form as bytes.
    pub fn of_view(table: &Arc<Table>, shape: &Arc<Shape>, is_exact: bool) -> Result<Self, ArrowError> {
        Ok(Self::without_rows(table, shape, Keys::of_view(table, shape, is_exact)?))
    }

    fn without_rows(table: &Arc<Table>, shape: &Arc<Shape>, keys: Keys) -> Self {
        Self {
            table: Arc::clone(table),
            shape: Arc::clone(shape),
            keys: Arc::new(keys),
            index: HashMap::new(),
            chunks: Chunks::new(&table.schema),
            key_bytes: 0,
            touched: Touched::new(),
        }
    }

    /// The table that is copied.
    pub fn table(&self) -> &Arc<Table> {
        &self.table
    }

    /// The columns and key of its changes.
    pub fn shape(&self) -> &Arc<Shape> {
        &self.shape
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.index.len()
    }

    /// How much memory it takes, about, with its index. What it shares with other states counts in each of them.
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.chunks.bytes() + self.rows() * INDEX_BYTES + self.key_bytes + self.touched.bytes()
    }

    /// About how much memory older states take that neither the newest one nor another one of them takes.
    pub(super) fn held_beyond(older: &[Arc<Self>], newest: Option<&Self>) -> usize {
        let mut known: HashSet<usize> =
            newest.into_iter().flat_map(|newest| newest.chunks.bodies()).map(|(body, _)| body).collect();
        let mut held = 0;
        for state in older {
            let (mut own, mut shares) = (0, false);
            for (body, bytes) in state.chunks.bodies() {
                if known.insert(body) {
                    own += bytes;
                } else {
                    shares = true;
                }
            }
            // The index of one that shares something is mostly that of the other.
            held += if shares || own == 0 { own } else { own + state.rows() * INDEX_BYTES + state.key_bytes };
        }
        held
    }

    /// With the rows of a fill, which have all columns of the table in order. A row whose key is there already takes that one's place.
    ///
    /// # Errors
    /// Rows with other columns, with NULL in their key, or with NULL where the table has none.
    pub fn filled(&self, batch: &RecordBatch) -> Result<Self, Broken> {
        let mut edit = Edit::of(self);
        edit.fill(batch)?;
        edit.end()
    }

    /// With the changes of whole transactions, in order: rows by the numbers that they have in their batches. Deleting what is not there
    /// and inserting what is are no errors, since what was filled may have seen it.
    ///
    /// # Errors
    /// A change whose key was not told; one that leaves out cells that the copy has not; one that does not fit the table.
    pub fn applied(&self, changes: &[(&Rows, u32)]) -> Result<Self, Broken> {
        if changes.is_empty() {
            return Ok(self.clone());
        }
        let mut edit = Edit::of(self);
        edit.apply(changes)?;
        edit.end()
    }

    /// Without some rows and with others, all of which have the columns of the table in order. Of those that go only the key counts.
    ///
    /// # Errors
    /// A row that goes and is not there, one that comes under a key that is taken, and what does not fit the table.
    pub fn exchanged(&self, removed: &RecordBatch, added: &RecordBatch) -> Result<Self, Broken> {
        if removed.num_rows() == 0 && added.num_rows() == 0 {
            return Ok(self.clone());
        }
        let mut edit = Edit::of(self);
        edit.exchange(removed, added)?;
        edit.end()
    }
}
