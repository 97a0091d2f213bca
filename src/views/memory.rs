//! What all materialized views take together: their newest rows, with what keeps these up to date, and older rows as long as somebody reads
//! them, with what they do not share with the newest ones.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::ViewName;
use crate::cache::{OlderStates, TableVersion};

/// How many bytes each view takes.
#[derive(Debug, Default)]
pub(super) struct Memory(Mutex<Sizes>);

#[derive(Debug, Default)]
struct Sizes {
    newest: BTreeMap<ViewName, u64>,
    /// Also of views that are gone.
    older: BTreeMap<ViewName, OlderStates>,
    /// Views that have found less room than there is without older rows.
    held_up: BTreeSet<ViewName>,
}

impl Sizes {
    /// What older rows take.
    fn held(&mut self) -> u64 {
        let held = self.older.values_mut().fold(0_u64, |held, older| held.saturating_add(older.bytes()));
        self.older.retain(|_, older| !older.are_none());
        held
    }
}

impl Memory {
    fn sizes(&self) -> MutexGuard<'_, Sizes> {
        // What a panic left behind are whole numbers.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What they take.
    pub(super) fn total(&self) -> u64 {
        let mut sizes = self.sizes();
        let held = sizes.held();
        sizes.newest.values().fold(held, |total, bytes| total.saturating_add(*bytes))
    }

    /// How much a view may take beside the others, and beside older rows.
    pub(super) fn left(&self, name: &ViewName, most: u64) -> u64 {
        let mut sizes = self.sizes();
        let held = sizes.held();
        if held > 0 {
            sizes.held_up.insert(name.clone());
        } else {
            sizes.held_up.remove(name);
        }
        let others = sizes.newest.iter().filter(|(known, _)| *known != name);
        most.saturating_sub(others.fold(held, |total, (_, bytes)| total.saturating_add(*bytes)))
    }

    /// Whether older rows were among what has left a view its room, when it asked last: there may be more as soon as these are read no longer.
    pub(super) fn is_held_up(&self, name: &ViewName) -> bool {
        self.sizes().held_up.contains(name)
    }

    /// A view takes so much now.
    pub(super) fn set(&self, name: &ViewName, bytes: u64) {
        self.sizes().newest.insert(name.clone(), bytes);
    }

    /// Other rows are read in the place of `older`, or none.
    pub(super) fn replaced(&self, name: &ViewName, older: &Arc<TableVersion>, newest: Option<&Arc<TableVersion>>) {
        self.sizes().older.entry(name.clone()).or_default().replaced(older, newest);
    }

    /// A view has no rows any more, but for those that are still read.
    pub(super) fn remove(&self, name: &ViewName) {
        let mut sizes = self.sizes();
        sizes.newest.remove(name);
        sizes.held_up.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::changes::fakes::{batch_of, shape_of, table_of};

    #[test]
    fn rows_that_are_still_read_leave_less_room() {
        const MOST: u64 = 1 << 20;
        let memory = Memory::default();
        let name = |name: &str| ViewName { schema: "public".to_owned(), name: name.to_owned() };
        let (a, b) = (name("a"), name("b"));
        memory.set(&a, 300);
        memory.set(&b, 40);
        assert_eq!((memory.total(), memory.left(&b, MOST), memory.left(&b, 200)), (340, MOST - 300, 0));
        assert!(!memory.is_held_up(&b));
        let empty = TableVersion::empty(&table_of("orders"), &shape_of("orders")).unwrap();
        let names: Vec<String> = (0..100).map(|row| format!("{row}{}", "x".repeat(100))).collect();
        let rows: Vec<(&str, i64)> = names.iter().map(|name| (name.as_str(), 1)).collect();
        let older = Arc::new(empty.filled(&batch_of(&rows)).unwrap());
        let newest = Arc::new(empty.filled(&batch_of(&[("other", 1)])).unwrap());
        memory.replaced(&a, &older, Some(&newest));
        let held = memory.total() - 340;
        assert!(held > 10_000, "{held}");
        assert_eq!((memory.left(&b, MOST), memory.left(&a, MOST)), (MOST - 300 - held, MOST - 40 - held));
        // A view that is gone leaves no room while its rows are read.
        memory.remove(&a);
        assert_eq!((memory.left(&b, MOST), memory.is_held_up(&b)), (MOST - held, true));
        drop(older);
        assert_eq!((memory.left(&b, MOST), memory.is_held_up(&b), memory.total()), (MOST, false, 40));
    }
}
