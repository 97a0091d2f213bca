//! What all copies take together, and which of them goes where that is too much.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::stores::StoreName;
use crate::stores::schema::TableId;

/// How many bytes each copy takes, with those that are being loaded.
#[derive(Debug)]
pub(super) struct Memory {
    most: u64,
    sizes: Mutex<BTreeMap<(StoreName, TableId), u64>>,
}

impl Memory {
    pub(super) fn new(most: u64) -> Self {
        Self { most, sizes: Mutex::new(BTreeMap::new()) }
    }

    fn sizes(&self) -> MutexGuard<'_, BTreeMap<(StoreName, TableId), u64>> {
        // What a panic left behind are whole numbers.
        self.sizes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The most that they may take.
    pub(super) fn most(&self) -> u64 {
        self.most
    }

    /// What they take.
    pub(super) fn total(&self) -> u64 {
        self.sizes().values().sum()
    }

    /// Whether a table that is being loaded may take so much beside the others. It is counted where it may.
    pub(super) fn fits(&self, store: &StoreName, table: &TableId, bytes: usize) -> bool {
        let (mut sizes, key) = (self.sizes(), (store.clone(), table.clone()));
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let others: u64 = sizes.iter().filter(|(known, _)| **known != key).map(|(_, bytes)| bytes).sum();
        let fits = others.saturating_add(bytes) <= self.most;
        if fits {
            sizes.insert(key, bytes);
        }
        fits
    }

    /// A copy takes so much now.
    pub(super) fn set(&self, store: &StoreName, table: &TableId, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.sizes().insert((store.clone(), table.clone()), bytes);
    }

    /// The largest one, which is not counted any more, where all of them are more than they may be.
    pub(super) fn take_excess(&self) -> Option<(StoreName, TableId)> {
        let mut sizes = self.sizes();
        if sizes.values().sum::<u64>() <= self.most {
            return None;
        }
        let (largest, _) = sizes.iter().max_by_key(|(_, bytes)| **bytes)?;
        let largest = largest.clone();
        sizes.remove(&largest);
        Some(largest)
    }

    /// There is no such copy any more.
    pub(super) fn remove(&self, store: &StoreName, table: &TableId) {
        self.sizes().remove(&(store.clone(), table.clone()));
    }
}

/// Why a table has no copy that would be too large.
pub(super) fn too_large(most: u64) -> String {
    format!("its copy would take more than cache.memory ({most} bytes for all of them)")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::changes::fakes::id_of;

    #[test]
    fn the_largest_goes_and_what_is_loaded_gives_way() {
        let (memory, shop, crm) = (Memory::new(100), StoreName::new("shop"), StoreName::new("crm"));
        assert!(memory.fits(&shop, &id_of("a"), 60) && memory.fits(&shop, &id_of("a"), 70));
        assert!(!memory.fits(&crm, &id_of("b"), 40), "it would be too much");
        assert_eq!(memory.total(), 70);
        assert!(memory.fits(&crm, &id_of("b"), 30));
        assert_eq!(memory.take_excess(), None);
        memory.set(&crm, &id_of("b"), 45);
        assert_eq!(memory.take_excess(), Some((shop.clone(), id_of("a"))));
        assert_eq!((memory.take_excess(), memory.total()), (None, 45));
        memory.remove(&crm, &id_of("b"));
        assert_eq!(memory.total(), 0);
    }
}
