//! The columns of a document's fields, found by name while the document is walked. Single columns are in `cells.rs`.

use arrow::array::{ArrayRef, NullBufferBuilder, StructArray};
use arrow::datatypes::Fields as ArrowFields;
use arrow::error::ArrowError;

use super::cells::{Cells, State};
use super::types::DocumentField;
use super::value::{DocumentValue, Fields, Mismatch};

/// No place among the slots.
const NOWHERE: usize = usize::MAX;

#[derive(Debug)]
struct Slot {
    name: Box<str>,
    cells: Cells,
    /// The row that filled this slot last, so that missing and repeated fields are noticed.
    row: u64,
    /// The slot whose field came after this one's in the last document that had both.
    follower: usize,
}

#[derive(Debug)]
pub(super) struct StructCells {
    fields: ArrowFields,
    slots: Vec<Slot>,
    valid: NullBufferBuilder,
    row: u64,
    /// The slot whose field came first in the last document.
    first: usize,
}

impl StructCells {
    pub(super) fn new(fields: &[DocumentField]) -> Self {
        let slot = |field: &DocumentField| Slot {
            name: field.name.as_str().into(),
            cells: Cells::new(&field.kind),
            row: 0,
            follower: NOWHERE,
        };
        let slots = fields.iter().map(slot).collect();
        let fields = fields.iter().map(|field| field.kind.field(&field.name)).collect::<ArrowFields>();
        Self { slots, fields, valid: NullBufferBuilder::new(0), row: 0, first: NOWHERE }
    }

    /// Fills every slot from the document: by the field of its name, or with NULL.
    pub(super) fn append_fields(&mut self, document: &dyn Fields, state: &mut State) -> Result<(), Box<Mismatch>> {
        self.row += 1;
        let mut filling = Filling { guess: self.first, cells: self, state, last: NOWHERE, filled: 0 };
        document.fill(&mut filling)?;
        if filling.filled < self.slots.len() {
            let row = self.row;
            self.slots.iter_mut().filter(|slot| slot.row != row).for_each(|slot| slot.cells.append_null());
        }
        Ok(())
    }

    /// Adds a nested document.
    pub(super) fn append(&mut self, document: &dyn Fields, state: &mut State) -> Result<(), Box<Mismatch>> {
        self.append_fields(document, state)?;
        self.valid.append_non_null();
        Ok(())
    }

    /// Adds the absence of a nested document.
    pub(super) fn append_null(&mut self) {
        self.append_missing();
        self.valid.append_null();
    }

    /// Fills every slot with NULL.
    pub(super) fn append_missing(&mut self) {
        self.slots.iter_mut().for_each(|slot| slot.cells.append_null());
    }

    /// The nested documents so far.
    pub(super) fn finish(&mut self) -> Result<StructArray, ArrowError> {
        let columns = self.finish_columns()?;
        StructArray::try_new(self.fields.clone(), columns, self.valid.finish())
    }

    /// The columns so far.
    pub(super) fn finish_columns(&mut self) -> Result<Vec<ArrayRef>, ArrowError> {
        self.slots.iter_mut().map(|slot| slot.cells.finish()).collect()
    }
}

/// A column among those of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place(usize);

/// One document on its way into its columns. The documents of a collection mostly have one order of fields, so the field
/// that followed the last one in an earlier document is expected to follow it again.
#[derive(Debug)]
pub struct Filling<'a> {
    cells: &'a mut StructCells,
    state: &'a mut State,
    /// The slot taken last.
    last: usize,
    /// The slot that is expected next.
    guess: usize,
    /// How many slots have their value.
    filled: usize,
}

impl Filling<'_> {
    /// The column whose field is expected next, with its name, which some earlier document had; `None` without a guess.
    #[inline]
    pub fn expected(&self) -> Option<(Place, &str)> {
        self.cells.slots.get(self.guess).map(|slot| (Place(self.guess), &*slot.name))
    }

    /// The column of a name; `None` when there is none, or nothing is left to fill.
    pub fn find(&self, name: &str) -> Option<Place> {
        let slots = &self.cells.slots;
        if self.filled == slots.len() {
            return None;
        }
        match self.expected() {
            Some((place, expected)) if expected == name => Some(place),
            _ => slots.iter().position(|slot| *slot.name == *name).map(Place),
        }
    }

    /// Adds a value to its column. The first field of a name counts, as in the sample.
    ///
    /// # Errors
    /// When the column cannot hold it, or its bytes are malformed.
    pub fn take(&mut self, place: Place, value: DocumentValue<'_>) -> Result<(), Box<Mismatch>> {
        let Place(place) = place;
        let Some(slot) = self.cells.slots.get_mut(place) else { return Ok(()) };
        if slot.row == self.cells.row {
            return Ok(());
        }
        slot.row = self.cells.row;
        let follower = slot.follower;
        if let Err(mismatch) = slot.cells.append(&value, self.state) {
            return Err(mismatch.inside(&slot.name));
        }
        if self.guess != place {
            self.learn(place);
        }
        self.filled += 1;
        self.last = place;
        self.guess = follower;
        Ok(())
    }

    /// Remembers what came instead of the guess.
    fn learn(&mut self, place: usize) {
        match self.cells.slots.get_mut(self.last) {
            Some(last) => last.follower = place,
            None => self.cells.first = place,
        }
    }
}
