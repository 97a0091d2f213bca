//! What all copies take together, and which of them goes where that is too much.
//!
//! Older states of a table count as long as somebody reads them, with what they do not share with the newest one. They go with their
//! readers: what is left of a copy that was given up makes no other one go, but leaves room to none.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use super::version::TableVersion;
use crate::stores::StoreName;
use crate::stores::schema::TableId;

/// Comparing states may take one part of so many of the time.
const SHARE: u32 = 50;

/// A table that is copied.
type Key = (StoreName, TableId);

/// How many bytes each copy takes, with those that are being loaded and with older states that are still read.
#[derive(Debug)]
pub(super) struct Memory {
    most: u64,
    sizes: Mutex<Sizes>,
}

#[derive(Debug, Default)]
struct Sizes {
    copies: BTreeMap<Key, u64>,
    /// The number of the fill that a table is loaded by.
    fills: BTreeMap<Key, u64>,
    last_fill: u64,
    older: BTreeMap<Key, OlderStates>,
}

/// States of a table that are not the newest one, as far as somebody reads them.
#[derive(Debug, Default)]
pub struct OlderStates {
    newest: Weak<TableVersion>,
    states: Vec<Weak<TableVersion>>,
    /// What those take that somebody reads, beyond the newest.
    bytes: u64,
    /// When that was found, and how long it took.
    looked: Option<(Instant, Duration)>,
}

impl OlderStates {
    /// Another state is the newest in the place of `older`, or none is.
    pub fn replaced(&mut self, older: &Arc<TableVersion>, newest: Option<&Arc<TableVersion>>) {
        self.states.retain(|state| state.strong_count() > 0);
        self.states.push(Arc::downgrade(older));
        self.newest = newest.map(Arc::downgrade).unwrap_or_default();
    }

    /// How many bytes those take that are still read, beyond the newest.
    pub fn bytes(&mut self) -> u64 {
        self.look();
        self.bytes
    }

    /// Whether none was read any more, when that was looked at last.
    pub fn are_none(&self) -> bool {
        self.states.is_empty()
    }

    /// Finds out what those take that are still read; not more often than is cheap.
    fn look(&mut self) {
        self.states.retain(|state| state.strong_count() > 0);
        let now = Instant::now();
        if self.states.is_empty() {
            self.bytes = 0;
        } else if self.looked.is_none_or(|(at, took)| now.saturating_duration_since(at) >= SHARE * took) {
            let states: Vec<Arc<TableVersion>> = self.states.iter().filter_map(Weak::upgrade).collect();
            let newest = self.newest.upgrade();
            self.bytes = u64::try_from(TableVersion::held_beyond(&states, newest.as_deref())).unwrap_or(u64::MAX);
            self.looked = Some((now, now.elapsed()));
        }
    }
}

impl Sizes {
    fn look(&mut self) {
        self.older.values_mut().for_each(OlderStates::look);
        self.older.retain(|_, older| !older.are_none());
    }

    /// What older states of a table take.
    fn held_of(&self, key: &Key) -> u64 {
        self.older.get(key).map_or(0, |older| older.bytes)
    }

    fn held(&self) -> u64 {
        self.older.values().map(|older| older.bytes).sum()
    }
}

/// Whether there is room for a table that is being loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    /// There is, and it is counted.
    Is,
    /// There is none.
    IsNot,
    /// There is none as long as older states of tables are read.
    IsHeld,
    /// It is not loaded any more.
    GivenUp,
}

impl Memory {
    pub(super) fn new(most: u64) -> Self {
        Self { most, sizes: Mutex::default() }
    }

    fn sizes(&self) -> MutexGuard<'_, Sizes> {
        // What a panic left behind are whole numbers.
        self.sizes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The most that they may take.
    pub(super) fn most(&self) -> u64 {
        self.most
    }

    /// What they take.
    pub(super) fn total(&self) -> u64 {
        let mut sizes = self.sizes();
        sizes.look();
        sizes.copies.values().sum::<u64>().saturating_add(sizes.held())
    }

    /// A table is loaded from now on: by the fill with this number, and by no other one.
    pub(super) fn begin(&self, store: &StoreName, table: &TableId) -> u64 {
        let mut sizes = self.sizes();
        sizes.last_fill += 1;
        let fill = sizes.last_fill;
        sizes.fills.insert((store.clone(), table.clone()), fill);
        fill
    }

    /// Whether a table that is being loaded may take so much beside the others. It is counted where it may. A fill that was given up may
    /// not have noticed that yet.
    pub(super) fn fits(&self, (store, table): (&StoreName, &TableId), fill: u64, bytes: usize) -> Room {
        let (mut sizes, key) = (self.sizes(), (store.clone(), table.clone()));
        if sizes.fills.get(&key) != Some(&fill) {
            return Room::GivenUp;
        }
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let others: u64 = sizes.copies.iter().filter(|(known, _)| **known != key).map(|(_, bytes)| bytes).sum();
        let wanted = others.saturating_add(bytes);
        if wanted > self.most {
            return Room::IsNot;
        }
        sizes.look();
        if wanted.saturating_add(sizes.held()) > self.most {
            return Room::IsHeld;
        }
        sizes.copies.insert(key, bytes);
        Room::Is
    }

    /// A copy takes so much now.
    pub(super) fn set(&self, store: &StoreName, table: &TableId, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.sizes().copies.insert((store.clone(), table.clone()), bytes);
    }

    /// Another state of a table is published in the place of `older`, or none.
    pub(super) fn replaced(
        &self,
        (store, table): (&StoreName, &TableId),
        older: &Arc<TableVersion>,
        newest: Option<&Arc<TableVersion>>,
    ) {
        let mut sizes = self.sizes();
        sizes.older.entry((store.clone(), table.clone())).or_default().replaced(older, newest);
    }

    /// The largest one, which is not counted any more, where all of them are more than they may be.
    pub(super) fn take_excess(&self) -> Option<(StoreName, TableId)> {
        let mut sizes = self.sizes();
        sizes.look();
        let sizes = &mut *sizes;
        let whole = |(key, bytes): (&Key, &u64)| bytes.saturating_add(sizes.held_of(key));
        if sizes.copies.iter().map(whole).sum::<u64>() <= self.most {
            return None;
        }
        let largest = sizes.copies.iter().max_by_key(|copy| whole(*copy))?.0.clone();
        sizes.copies.remove(&largest);
        Some(largest)
    }

    /// There is no such copy any more, and none is loaded.
    pub(super) fn remove(&self, store: &StoreName, table: &TableId) {
        let (mut sizes, key) = (self.sizes(), (store.clone(), table.clone()));
        sizes.copies.remove(&key);
        sizes.fills.remove(&key);
    }
}

/// Why a table has no copy that would be too large.
pub(super) fn too_large(most: u64) -> String {
    format!("its copy would take more than cache.memory ({most} bytes for all of them)")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::changes::fakes::{batch_of, id_of, shape_of, table_of};

    #[test]
    fn the_largest_goes_and_what_is_loaded_gives_way() {
        let (memory, shop, crm) = (Memory::new(100), StoreName::new("shop"), StoreName::new("crm"));
        let (a, b) = (memory.begin(&shop, &id_of("a")), memory.begin(&crm, &id_of("b")));
        let fits_a = |bytes| memory.fits((&shop, &id_of("a")), a, bytes);
        let fits_b = |bytes| memory.fits((&crm, &id_of("b")), b, bytes);
        assert_eq!((fits_a(60), fits_a(70)), (Room::Is, Room::Is));
        assert_eq!(fits_b(40), Room::IsNot, "it would be too much");
        assert_eq!(memory.total(), 70);
        assert_eq!(fits_b(30), Room::Is);
        assert_eq!(memory.take_excess(), None);
        memory.set(&crm, &id_of("b"), 45);
        assert_eq!(memory.take_excess(), Some((shop.clone(), id_of("a"))));
        assert_eq!((memory.take_excess(), memory.total()), (None, 45));
        memory.remove(&crm, &id_of("b"));
        assert_eq!(memory.total(), 0);
    }

    #[test]
    fn a_fill_that_was_given_up_is_not_counted_again() {
        let (memory, shop) = (Memory::new(100), StoreName::new("shop"));
        let fits = |fill| memory.fits((&shop, &id_of("a")), fill, 60);
        let first = memory.begin(&shop, &id_of("a"));
        assert_eq!(fits(first), Room::Is);
        memory.remove(&shop, &id_of("a"));
        // It has not been told yet.
        assert_eq!((fits(first), memory.total()), (Room::GivenUp, 0));
        let second = memory.begin(&shop, &id_of("a"));
        assert_eq!((fits(first), fits(second), memory.total()), (Room::GivenUp, Room::Is, 60));
    }

    #[test]
    fn states_that_are_still_read_count_with_what_they_do_not_share() {
        let (memory, shop) = (Memory::new(1 << 20), StoreName::new("shop"));
        let empty = TableVersion::empty(&table_of("a"), &shape_of("a")).unwrap();
        // Each is a chunk of its own: the second is larger than the first, and takes nothing in.
        let names: Vec<String> = (0..100).map(|row| format!("{row}{}", "x".repeat(100))).collect();
        let rows: Vec<(&str, i64)> = names.iter().map(|name| (name.as_str(), 1)).collect();
        let older = Arc::new(empty.filled(&batch_of(&rows)).unwrap());
        let newest = Arc::new(older.filled(&batch_of(&[("one", 1)])).unwrap());
        let replace = || memory.replaced((&shop, &id_of("a")), &older, Some(&newest));
        replace();
        assert_eq!(memory.total(), 0, "all that it has is in the newest too");
        let other = Arc::new(empty.filled(&batch_of(&[("other", 1)])).unwrap());
        memory.replaced((&shop, &id_of("b")), &older, Some(&other));
        let held = memory.total();
        assert!(held > 10_000, "{held}");
        // A copy that is gone makes no other one go, and its readers leave no room.
        memory.set(&shop, &id_of("c"), 900_000);
        assert_eq!(memory.take_excess(), None);
        memory.set(&shop, &id_of("b"), usize::try_from((1_u64 << 20) - held / 2).unwrap() - 900_000);
        let fill = memory.begin(&shop, &id_of("d"));
        assert_eq!(memory.fits((&shop, &id_of("d")), fill, 1), Room::IsHeld);
        assert_eq!(memory.take_excess(), Some((shop.clone(), id_of("c"))));
        drop(older);
        assert_eq!(memory.fits((&shop, &id_of("d")), fill, 1), Room::Is);
    }
}
