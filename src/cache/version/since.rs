//! What differs between two states of a table: by the keys that the steps between them touched.
//!
//! ```text
//! step 7: keys ── step 8: keys ── step 9: keys      a state knows its last step and those before it, as far back as the list goes
//!    └ older state   ─────────────  └ newer state: keys of 8 and 9 ──> row numbers in both ──> rows that differ
//! ```
//!
//! **Invariants:** a state is found among the steps of a later one by the step itself and not by its number alone, so that a state of
//! another history, or of another end of the same one, is never taken for an older one; a row keeps its number for life, so that one
//! that has the same number in both states is the same row. The list is bounded: of a state that it does not reach back to nothing is
//! known, and whoever asks reads the whole table.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use imbl::Vector;

use super::TableVersion;
use super::chunk::{Cell, Chunk, picked};
use super::key::Key;

/// Keys that are kept of any table; of a large one as many as a quarter of its rows, beyond which reading it whole costs no more.
const KEYS_MIN: usize = 8_192;

/// What they may take of memory with any table; with a large one as much as a quarter of its rows.
const BYTES_MIN: usize = 256 << 10;

/// The rows that differ between two states: those of the older one that changed or went, and those of the newer one that changed or came.
/// A row that was written anew with the values that it had is in both.
#[derive(Debug, Clone, Default)]
pub struct Difference {
    /// Rows of the older state.
    pub old: Option<RecordBatch>,
    /// Rows of the newer state.
    pub new: Option<RecordBatch>,
}

/// One step from a state to the next.
struct Step {
    keys: Box<[Key]>,
    /// What they take, with the step itself.
    bytes: usize,
}

impl Step {
    fn of(keys: Vec<Key>) -> Arc<Self> {
        let elsewhere: usize = keys.iter().map(Key::elsewhere).sum();
        let bytes = size_of::<Self>() + size_of::<Arc<Self>>() + keys.len() * size_of::<Key>() + elsewhere;
        Arc::new(Self { keys: keys.into_boxed_slice(), bytes })
    }
}

/// The steps that led to a state, as far back as they are kept. The first may be one of which only that it happened is known.
#[derive(Clone)]
pub(super) struct Touched {
    /// Never without any: the last one is the state's own.
    steps: Vector<Arc<Step>>,
    /// The running number of the first.
    first: u64,
    /// How many keys there are in all of them.
    keys: usize,
    bytes: usize,
}

impl Touched {
    /// Of a state from before which nothing is known.
    pub(super) fn new() -> Self {
        let step = Step::of(Vec::new());
        let bytes = step.bytes;
        Self { steps: Vector::unit(step), first: 0, keys: 0, bytes }
    }

    /// With one more step, to a state of so many rows, which take so much memory.
    pub(super) fn with(&self, keys: Vec<Key>, rows: usize, row_bytes: usize) -> Self {
        if keys.is_empty() {
            return self.clone();
        }
        let (most, most_bytes) = (KEYS_MIN.max(rows / 4), BYTES_MIN.max(row_bytes / 4));
        let step = Step::of(keys);
        if step.keys.len() > most || step.bytes > most_bytes {
            return Self::new();
        }
        let mut next = self.clone();
        next.keys += step.keys.len();
        next.bytes += step.bytes;
        next.steps.push_back(step);
        while (next.keys > most || next.bytes > most_bytes) && next.steps.len() > 1 {
            let Some(dropped) = next.steps.pop_front() else { break };
            next.keys = next.keys.saturating_sub(dropped.keys.len());
            next.bytes = next.bytes.saturating_sub(dropped.bytes);
            next.first += 1;
        }
        next
    }

    /// About how much memory they take.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The running number of the last step.
    fn number(&self) -> u64 {
        self.first + self.steps.len().saturating_sub(1) as u64
    }

    /// The keys of the steps after an older state; `None` where that is not known.
    fn since(&self, older: &Self) -> Option<HashSet<&Key>> {
        let place = usize::try_from(older.number().checked_sub(self.first)?).ok()?;
        if !Arc::ptr_eq(self.steps.get(place)?, older.steps.last()?) {
            return None;
        }
        let steps = (place + 1..self.steps.len()).filter_map(|place| self.steps.get(place));
        Some(steps.flat_map(|step| step.keys.iter()).collect())
    }
}

/// Rows of one state, by their numbers.
struct Picked<'a> {
    version: &'a TableVersion,
    chunks: Vec<&'a Chunk>,
    places: HashMap<u64, usize>,
    cells: Vec<Cell>,
}

impl<'a> Picked<'a> {
    fn of(version: &'a TableVersion) -> Self {
        Self { version, chunks: Vec::new(), places: HashMap::new(), cells: Vec::new() }
    }

    /// Takes a row; `None` where the state has lost it.
    fn take(&mut self, number: u64) -> Option<()> {
        let (first, chunk, row) = self.version.chunks.find(number)?;
        let at = *self.places.entry(first).or_insert(self.chunks.len());
        if at == self.chunks.len() {
            self.chunks.push(chunk);
        }
        self.cells.push((at, row));
        Some(())
    }

    fn batch(&self, columns: &[usize]) -> Result<Option<RecordBatch>, ArrowError> {
        if self.cells.is_empty() {
            return Ok(None);
        }
        picked(&self.chunks, &self.cells, columns, &self.version.table.project(columns)).map(Some)
    }
}

impl TableVersion {
    /// What differs from an older state of the same history, with all columns, at the cost of the keys that were touched since; `None`
    /// where that is not known, as after a load, after TRUNCATE, and after more changes than are kept.
    pub fn since(&self, older: &Self) -> Option<Difference> {
        let columns: Vec<usize> = (0..self.table.columns.len()).collect();
        self.since_in(older, &columns)
    }

    /// The same with some columns, by ordinals. Rows that differ in others only are among them.
    pub fn since_in(&self, older: &Self, columns: &[usize]) -> Option<Difference> {
        let (mut left, mut came) = (Picked::of(older), Picked::of(self));
        for key in self.touched.since(&older.touched)? {
            let (before, after) = (older.index.get(key), self.index.get(key));
            if before == after {
                continue;
            }
            if let Some(number) = before {
                left.take(*number)?;
            }
            if let Some(number) = after {
                came.take(*number)?;
            }
        }
        Some(Difference { old: left.batch(columns).ok()?, new: came.batch(columns).ok()? })
    }
}
