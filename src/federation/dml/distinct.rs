//! Keys that occur more than once among the rows of a statement.

use std::sync::Arc;

use std::collections::{HashMap, HashSet};

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, new_empty_array};
use arrow::row::{RowConverter, SortField};
use datafusion::execution::memory_pool::MemoryReservation;

use super::super::error::diagnose;
use super::super::semantics::told_apart;
use super::super::semantics::typed::Typed;
use super::rows::{Common, told};
use crate::error::{Diagnosis, sqlstate};
use crate::stores::edit;
use crate::stores::schema::Collation;

/// What a remembered key takes besides its bytes.
pub(super) const KEY_BYTES: usize = 48;

/// What becomes of a row whose key was there before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeated {
    /// It is left out.
    LeftOut,
    /// An INSERT that updates fails; a NULL repeats nothing.
    Refused,
    /// An INSERT that updates only some of what it meets has to look what it meets first; a NULL repeats nothing.
    Noted,
    /// A MERGE fails.
    Merged,
}

/// Notices keys that occur more than once in a statement.
pub(super) struct Distinct {
    converter: RowConverter,
    /// The types of the key's columns.
    types: Vec<Typed>,
    /// Whether values of all of them are equal where their bytes are, to every store.
    pub(super) is_plain: bool,
    /// Where the key is among the columns of the rows.
    pub(super) places: Vec<usize>,
    seen: HashSet<Box<[u8]>>,
    repeated: Repeated,
    /// Whether keys that differ here may be one to the store, so that only the store can tell.
    pub(super) is_loose: bool,
    reservation: MemoryReservation,
}

impl Distinct {
    /// For rows that begin with the key.
    pub(super) fn new(
        common: &Common,
        key: &[usize],
        repeated: Repeated,
        reservation: MemoryReservation,
    ) -> Result<Self, Diagnosis> {
        let columns = key.iter().map(|ordinal| common.target.at(*ordinal)).collect::<Result<Vec<_>, _>>()?;
        let types: Vec<Typed> = columns.iter().map(|column| Typed::of_field(&column.field)).collect();
        let mut is_loose = columns.iter().any(|column| matches!(column.collation, Collation::Loose(_) | Collation::Native { .. }));
        let (mut fields, mut is_plain) = (Vec::with_capacity(types.len()), true);
        for (column, typed) in columns.iter().zip(&types) {
            let none = new_empty_array(edit::field(column).data_type());
            let (form, is_exact) = form_of(&none, typed)?;
            fields.push(SortField::new(form.data_type().clone()));
            is_loose |= !is_exact;
            is_plain &= form.data_type() == none.data_type();
        }
        let converter = RowConverter::new(fields).map_err(told)?;
        let (places, seen) = ((0..key.len()).collect(), HashSet::new());
        Ok(Self { converter, types, is_plain, places, seen, repeated, is_loose, reservation })
    }

    /// Which rows have a key that is new; `None` when all have.
    ///
    /// # Errors
    /// 21000 for a key that was there, where that is an error; 53200 for more keys than may be kept.
    pub(super) fn kept(&mut self, rows: &RecordBatch) -> Result<Option<BooleanArray>, Diagnosis> {
        let mut keys = Vec::with_capacity(self.places.len());
        for (place, typed) in self.places.iter().zip(&self.types) {
            let column = rows.columns().get(*place);
            let column = column.ok_or_else(|| Diagnosis::new(sqlstate::INTERNAL_ERROR, "rows to be written lack their key"))?;
            keys.push(form_of(column, typed)?.0);
        }
        let converted = self.converter.convert_columns(&keys).map_err(told)?;
        let mut kept = Vec::with_capacity(rows.num_rows());
        for (row, key) in converted.iter().enumerate() {
            let is_null = keys.iter().any(|column| column.is_null(row));
            if is_null && matches!(self.repeated, Repeated::Refused | Repeated::Noted) {
                kept.push(true);
                continue;
            }
            let is_new = self.seen.insert(key.data().into());
            if !is_new && matches!(self.repeated, Repeated::Refused | Repeated::Merged) {
                return Err(twice(self.repeated));
            }
            if is_new {
                self.reservation.try_grow(key.data().len() + KEY_BYTES).map_err(|error| diagnose(&error))?;
            }
            kept.push(is_new);
        }
        Ok(if kept.iter().all(|kept| *kept) { None } else { Some(BooleanArray::from(kept)) })
    }

    /// Refuses what only the store could tell, where it does not see all rows at once.
    pub(super) fn check_exact(&self) -> Result<(), Diagnosis> {
        if self.is_loose && self.repeated == Repeated::Refused {
            let message = "ON CONFLICT DO UPDATE of so many rows is not supported for a key that compares by rules of its store";
            return Err(Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, message).with_hint("Insert fewer rows at a time."));
        }
        Ok(())
    }
}

/// Keys that are known, with the places of their rows.
pub(super) struct Members {
    types: Vec<Typed>,
    converter: RowConverter,
    keys: HashMap<Box<[u8]>, usize>,
}

impl Members {
    /// Keys whose columns have these types.
    ///
    /// # Errors
    /// Keys that are no values of their types.
    pub(super) fn of(types: Vec<Typed>, keys: &[ArrayRef]) -> Result<Self, Diagnosis> {
        let forms = forms(keys, &types)?;
        let fields = forms.iter().map(|form| SortField::new(form.data_type().clone())).collect();
        let converter = RowConverter::new(fields).map_err(told)?;
        let converted = converter.convert_columns(&forms).map_err(told)?;
        let keys = converted.iter().enumerate().map(|(place, key)| (key.data().into(), place)).collect();
        Ok(Self { types, converter, keys })
    }

    /// The places of the rows with some keys; `None` for a key that is not known.
    ///
    /// # Errors
    /// As [`Members::of`].
    pub(super) fn places(&self, keys: &[ArrayRef]) -> Result<Vec<Option<usize>>, Diagnosis> {
        let converted = self.converter.convert_columns(&forms(keys, &self.types)?).map_err(told)?;
        Ok(converted.iter().map(|key| self.keys.get(key.data()).copied()).collect())
    }
}

/// The columns of keys, each in a form whose bytes tell.
pub(super) fn forms(keys: &[ArrayRef], types: &[Typed]) -> Result<Vec<ArrayRef>, Diagnosis> {
    keys.iter().zip(types).map(|(array, typed)| form_of(array, typed).map(|(form, _)| form)).collect()
}

/// Values of a key in a form whose bytes are equal where PostgreSQL takes the values for equal, such as 1.0 and 1.00; false where that is
/// not known of the type.
fn form_of(array: &ArrayRef, typed: &Typed) -> Result<(ArrayRef, bool), Diagnosis> {
    let form = told_apart(array, typed).map_err(|error| diagnose(&error))?;
    Ok(form.map_or_else(|| (Arc::clone(array), false), |form| (form, true)))
}

/// As PostgreSQL says it.
pub(super) fn twice(repeated: Repeated) -> Diagnosis {
    let (message, hint) = match repeated {
        Repeated::Merged => (
            "MERGE command cannot affect row a second time",
            "Ensure that not more than one source row matches any one target row.",
        ),
        Repeated::LeftOut | Repeated::Refused | Repeated::Noted => (
            "ON CONFLICT DO UPDATE command cannot affect row a second time",
            "Ensure that no rows proposed for insertion within the same command have duplicate constrained values.",
        ),
    };
    Diagnosis::new(sqlstate::CARDINALITY_VIOLATION, message).with_hint(hint)
}
