//! Changes on their way from one state of a table to the next.
//!
//! ```text
//! change → its key before and after → what stands under these keys now (slots over the index) → the new row's cells, by their places
//! all changes → rows that died, and one batch of those that stand now
//! ```
//!
//! A row that several changes touch is written once, as the last one left it. Cells that a change does not tell are those of the row
//! that stood under its old key, which may itself be a row of these changes.
//!
//! Keys may be exchanged by rows of one transaction, of which each is told by itself (1 becomes 2, then 2 becomes 1): a row that gets
//! a key under which another one still stands leaves that one waiting, and whoever next leaves the key is the one that has waited.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::ptr;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, make_array};
use arrow::row;

use super::chunk::{Cell, ROWS_MAX, gathered};
use super::key::Key;
use super::since::Touched;
use super::{Broken, TableVersion};
use crate::stores::change::{Known, Operation, Rows};
use crate::stores::schema::TableKind;

/// What stands under a key, where that is not what the index says.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Slot {
    Gone,
    Fresh(usize),
}

/// A row, wherever it is.
#[derive(Debug, Clone, Copy)]
enum At {
    /// In the state before, under its number.
    Kept(u64),
    /// Among the rows that the changes made.
    Fresh(usize),
}

/// Where the cells of a new row are.
#[derive(Debug, Clone)]
enum Cells {
    /// All in one row.
    Together(Cell),
    /// One for each column.
    Apart(Vec<Cell>),
}

impl Cells {
    fn of(&self, column: usize) -> Option<Cell> {
        match self {
            Self::Together(cell) => Some(*cell),
            Self::Apart(cells) => cells.get(column).copied(),
        }
    }
}

/// One side of some rows, as it is looked at.
struct Side<'a> {
    /// Which of the sources it is.
    source: usize,
    known: &'a Known,
    /// The columns of the key, of the rows in `range`.
    key: Vec<ArrayRef>,
    /// Their bytes.
    bytes: row::Rows,
}

/// Rows of which some are applied.
struct Part<'a> {
    rows: &'a Rows,
    /// Which of them may be.
    range: Range<usize>,
    new: Side<'a>,
    old: Option<Side<'a>>,
}

/// The changes of one step.
pub(super) struct Edit<'a> {
    before: &'a TableVersion,
    /// The columns that cells are of.
    sources: Vec<Vec<ArrayRef>>,
    /// Which source a chunk is, by its first number.
    of_chunks: HashMap<u64, usize>,
    fresh: Vec<Cells>,
    slots: HashMap<Key, Slot>,
    /// Rows under whose keys others stand already, in the order in which that happened.
    waiting: HashMap<Key, VecDeque<At>>,
    /// Whether rows of a fill are among them, from before which nobody asks what has changed.
    is_fill: bool,
}

fn broken(reason: &str) -> Broken {
    Broken { reason: reason.to_owned() }
}

impl<'a> Edit<'a> {
    pub(super) fn of(before: &'a TableVersion) -> Self {
        Self {
            before,
            sources: Vec::new(),
            of_chunks: HashMap::new(),
            fresh: Vec::new(),
            slots: HashMap::new(),
            waiting: HashMap::new(),
            is_fill: false,
        }
    }

    /// Adds whole rows, as a fill reads them.
    pub(super) fn fill(&mut self, batch: &RecordBatch) -> Result<(), Broken> {
        self.is_fill = true;
        let source = self.add(batch)?;
        let columns = self.sources.get(source).map(Vec::as_slice).unwrap_or_default();
        let key = self.before.keys.among(columns)?;
        let bytes = self.before.keys.bytes(&key)?;
        for (row, bytes) in bytes.iter().enumerate() {
            if self.before.keys.lacks_value(&key, row) {
                return Err(broken("a row has NULL in its key"));
            }
            let slot = Slot::Fresh(self.fresh.len());
            self.fresh.push(Cells::Together((source, row)));
            self.slots.insert(Key::of(bytes.data()), slot);
        }
        Ok(())
    }

    /// Takes rows out and puts others in, each of which is told whole.
    pub(super) fn exchange(&mut self, removed: &RecordBatch, added: &RecordBatch) -> Result<(), Broken> {
        let (_, bytes) = self.whole_rows(removed)?;
        for bytes in &bytes {
            let key = Key::of(bytes.data());
            if self.at(&key).is_none() {
                return Err(broken("a row left that was not there"));
            }
            self.slots.insert(key, Slot::Gone);
        }
        let (source, bytes) = self.whole_rows(added)?;
        for (row, bytes) in bytes.iter().enumerate() {
            let key = Key::of(bytes.data());
            if self.at(&key).is_some() {
                return Err(broken("two rows have one key"));
            }
            self.slots.insert(key, Slot::Fresh(self.fresh.len()));
            self.fresh.push(Cells::Together((source, row)));
        }
        Ok(())
    }

    /// Takes in rows that have all columns of the table, with the bytes of their keys.
    fn whole_rows(&mut self, batch: &RecordBatch) -> Result<(usize, row::Rows), Broken> {
        let source = self.add(batch)?;
        let columns = self.sources.get(source).map(Vec::as_slice).unwrap_or_default();
        let key = self.before.keys.among(columns)?;
        if (0..batch.num_rows()).any(|row| self.before.keys.lacks_value(&key, row)) {
            return Err(broken("a row has NULL in its key"));
        }
        Ok((source, self.before.keys.bytes(&key)?))
    }

    /// Applies changes, in their order.
    pub(super) fn apply(&mut self, changes: &[(&'a Rows, u32)]) -> Result<(), Broken> {
        let mut ranges: Vec<(&'a Rows, Range<usize>)> = Vec::new();
        let mut places: HashMap<*const Rows, usize> = HashMap::new();
        for (rows, row) in changes {
            let row = *row as usize;
            let place = *places.entry(ptr::from_ref(*rows)).or_insert(ranges.len());
            match ranges.get_mut(place) {
                Some((_, range)) => *range = range.start.min(row)..range.end.max(row + 1),
                None => ranges.push((*rows, row..row + 1)),
            }
        }
        let parts = ranges.into_iter().map(|(rows, range)| self.part(rows, range)).collect::<Result<Vec<_>, _>>()?;
        for (rows, row) in changes {
            let part = places.get(&ptr::from_ref(*rows)).and_then(|place| parts.get(*place));
            let part = part.ok_or_else(|| broken("a change names rows that are not there"))?;
            self.change(part, *row as usize)?;
        }
        Ok(())
    }

    fn part(&mut self, rows: &'a Rows, range: Range<usize>) -> Result<Part<'a>, Broken> {
        if rows.shape.digest != self.before.shape.digest {
            return Err(broken("its changes tell of other columns than those that were copied"));
        }
        let count = rows.operations.len();
        let fits = |batch: &RecordBatch| batch.num_rows() == count;
        if range.end > count || !fits(&rows.new) || !rows.old.as_ref().is_none_or(fits) {
            return Err(broken("a change names rows that are not there"));
        }
        let new = self.side(&rows.new, &rows.new_known, &range)?;
        let old = rows.old.as_ref().map(|old| self.side(old, &rows.old_known, &range)).transpose()?;
        Ok(Part { rows, range, new, old })
    }

    fn side(&mut self, batch: &RecordBatch, known: &'a Known, range: &Range<usize>) -> Result<Side<'a>, Broken> {
        let source = self.add(batch)?;
        let columns = self.sources.get(source).map(Vec::as_slice).unwrap_or_default();
        let whole = self.before.keys.among(columns)?;
        let key: Vec<ArrayRef> = whole.iter().map(|column| column.slice(range.start, range.len())).collect();
        let bytes = self.before.keys.bytes(&key)?;
        Ok(Side { source, known, key, bytes })
    }

    /// Takes a batch in, whose columns must be those of the table.
    fn add(&mut self, batch: &RecordBatch) -> Result<usize, Broken> {
        let table = &self.before.table;
        if batch.num_columns() != table.columns.len() {
            return Err(broken("rows came with other columns than those of the table"));
        }
        let fitted = batch.columns().iter().zip(&table.columns).map(|(array, column)| {
            let wanted = column.field.data_type();
            if array.data_type() == wanted {
                return Ok(Arc::clone(array));
            }
            if !array.data_type().equals_datatype(wanted) {
                let (found, name) = (array.data_type(), column.name());
                return Err(Broken { reason: format!("values of its column \"{name}\" came as {found} and not as {wanted}") });
            }
            // They differ in what their items know of themselves only.
            Ok(make_array(array.to_data().into_builder().data_type(wanted.clone()).build()?))
        });
        self.sources.push(fitted.collect::<Result<_, _>>()?);
        Ok(self.sources.len() - 1)
    }

    fn change(&mut self, part: &Part<'a>, row: usize) -> Result<(), Broken> {
        let operation = part.rows.operations.get(row).copied().ok_or_else(|| broken("a change names rows that are not there"))?;
        let old = part.old.as_ref().map_or(Ok(None), |side| self.key(part, side, row))?;
        if operation == Operation::Delete {
            let key = match old {
                Some(old) => Some(old),
                None => self.key(part, &part.new, row)?,
            };
            return self.delete(key.ok_or_else(|| broken("a row was deleted whose key was not told"))?);
        }
        let new = match self.key(part, &part.new, row)? {
            Some(new) => new,
            None => self.key_of_both(part, row)?,
        };
        let moves_from = old.filter(|old| *old != new);
        let stood = match &moves_from {
            Some(old) => self.leave(old),
            None => {
                self.refuse_two(&new)?;
                self.at(&new)
            }
        };
        let cells = self.cells(part, row, operation, stood)?;
        if moves_from.is_some()
            && stood.is_some()
            && let Some(there) = self.at(&new)
        {
            self.waiting.entry(new.clone()).or_default().push_back(there);
        }
        let slot = Slot::Fresh(self.fresh.len());
        self.fresh.push(cells);
        self.slots.insert(new, slot);
        Ok(())
    }

    /// The key of a row on one side; `None` where not all of it was told.
    fn key(&self, part: &Part<'a>, side: &Side<'a>, row: usize) -> Result<Option<Key>, Broken> {
        if !side.known.has_all(&self.before.keys.columns, row) {
            return Ok(None);
        }
        let place = row.saturating_sub(part.range.start);
        if self.before.keys.lacks_value(&side.key, place) {
            return Err(broken("a row has NULL in its key"));
        }
        Ok(Some(Key::of(side.bytes.row(place).data())))
    }

    /// The key of a new row of which a part was left as it was, and is told with the old row.
    fn key_of_both(&self, part: &Part<'a>, row: usize) -> Result<Key, Broken> {
        let unknown = || broken("a row was changed whose key was not told");
        let place = row.saturating_sub(part.range.start);
        let column = |(at, ordinal): (usize, &usize)| {
            let sides = [Some(&part.new), part.old.as_ref()];
            let side = sides.into_iter().flatten().find(|side| side.known.has(*ordinal, row))?;
            side.key.get(at).map(|column| column.slice(place, 1))
        };
        let columns: Option<Vec<ArrayRef>> = self.before.keys.columns.iter().enumerate().map(column).collect();
        let columns = columns.ok_or_else(unknown)?;
        if self.before.keys.lacks_value(&columns, 0) {
            return Err(broken("a row has NULL in its key"));
        }
        Ok(Key::of(self.before.keys.bytes(&columns)?.row(0).data()))
    }

    /// The cells of a new row.
    fn cells(&mut self, part: &Part<'a>, row: usize, operation: Operation, stood: Option<At>) -> Result<Cells, Broken> {
        let columns = self.before.table.columns.len();
        if (0..columns).all(|column| part.new.known.has(column, row)) {
            return Ok(Cells::Together((part.new.source, row)));
        }
        // What is left out of an update is as it was. Not so of documents, of which a value may be left out that has changed inside.
        if operation != Operation::Update || self.before.table.kind == TableKind::Collection {
            return Err(broken("a row was written that was not told whole"));
        }
        let stood = stood.map(|at| self.found(at)).transpose()?;
        let shape = &self.before.shape;
        let may_be_left_out = |column: usize| shape.always_known.get(column).is_some_and(|is_always| !is_always);
        let cell = |column: usize| {
            let sides = [Some(&part.new), part.old.as_ref()];
            let told = sides.into_iter().flatten().find(|side| side.known.has(column, row)).map(|side| (side.source, row));
            told.or_else(|| stood.as_ref().filter(|_| may_be_left_out(column))?.of(column))
        };
        let cells: Option<Vec<Cell>> = (0..columns).map(cell).collect();
        let cells = cells.ok_or_else(|| broken("a row was changed of which cells are neither told nor in the copy"))?;
        Ok(Cells::Apart(cells))
    }

    fn delete(&mut self, key: Key) -> Result<(), Broken> {
        self.refuse_two(&key)?;
        self.slots.insert(key, Slot::Gone);
        Ok(())
    }

    /// What of two rows under one key is meant by a change that leaves the key as it is nobody can tell.
    fn refuse_two(&self, key: &Key) -> Result<(), Broken> {
        let are_two = self.waiting.get(key).is_some_and(|waiting| !waiting.is_empty());
        if are_two { Err(broken("a row was changed while another one had the same key")) } else { Ok(()) }
    }

    /// Takes a row from under its key: who has waited longest, or else who stands there.
    fn leave(&mut self, key: &Key) -> Option<At> {
        if let Some(waited) = self.waiting.get_mut(key).and_then(VecDeque::pop_front) {
            return Some(waited);
        }
        let stood = self.at(key);
        self.slots.insert(key.clone(), Slot::Gone);
        stood
    }

    /// Who stands under a key.
    fn at(&self, key: &Key) -> Option<At> {
        match self.slots.get(key) {
            Some(Slot::Gone) => None,
            Some(Slot::Fresh(place)) => Some(At::Fresh(*place)),
            None => self.before.index.get(key).map(|number| At::Kept(*number)),
        }
    }

    /// The cells of a row that is somewhere.
    fn found(&mut self, at: At) -> Result<Cells, Broken> {
        let lost = || broken("the copy has lost a row that its index knows");
        let number = match at {
            At::Fresh(place) => return self.fresh.get(place).cloned().ok_or_else(lost),
            At::Kept(number) => number,
        };
        let (first, chunk, row) = self.before.chunks.find(number).ok_or_else(lost)?;
        let next = self.sources.len();
        let source = *self.of_chunks.entry(first).or_insert(next);
        if source == next {
            self.sources.push(chunk.columns().to_vec());
        }
        Ok(Cells::Together((source, row)))
    }

    /// The state after the changes.
    pub(super) fn end(self) -> Result<TableVersion, Broken> {
        let Self { before, sources, fresh, slots, is_fill, .. } = self;
        let mut after = before.clone();
        let touched: Vec<Key> = if is_fill { Vec::new() } else { slots.keys().cloned().collect() };
        let (mut dead, mut standing) = (Vec::new(), Vec::new());
        for (key, slot) in slots {
            if let Some(number) = before.index.get(&key) {
                dead.push(*number);
            }
            match slot {
                Slot::Fresh(place) => standing.push((place, key)),
                Slot::Gone if after.index.remove(&key).is_some() => after.key_bytes -= key.elsewhere(),
                Slot::Gone => {}
            }
        }
        after.chunks.remove(&dead)?;
        // In the order in which they came, not in that of a table of hashes.
        standing.sort_unstable_by_key(|(place, _)| *place);
        let mut standing = standing.into_iter().peekable();
        while standing.peek().is_some() {
            let (mut rows, mut keys) = (Vec::new(), Vec::new());
            for (place, key) in standing.by_ref().take(ROWS_MAX) {
                rows.extend(fresh.get(place));
                keys.push(key);
            }
            let columns = (0..before.table.columns.len()).map(|column| {
                let cells: Vec<Cell> = rows.iter().filter_map(|cells| cells.of(column)).collect();
                gathered(&sources, column, &cells)
            });
            let first = after.chunks.append(columns.collect::<Result<_, _>>()?, rows.len())?;
            for (number, key) in (first..).zip(keys) {
                let elsewhere = key.elsewhere();
                if after.index.insert(key, number).is_none() {
                    after.key_bytes += elsewhere;
                }
            }
        }
        after.touched = if is_fill { Touched::new() } else { before.touched.with(touched, after.rows(), after.chunks.bytes()) };
        Ok(after)
    }
}
