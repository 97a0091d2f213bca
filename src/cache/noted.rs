//! What a transaction has read of copies, held until it ends: before it changes a row, the row as it is then is compared with what was read.
//!
//! **Invariant:** nothing that was read is let go while it may be written on. Who has read too many states reads no copies any more.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::version::TableVersion;
use crate::stores::StoreName;
use crate::stores::schema::TableId;

/// Most states of one table that are held for a transaction. They share what has not changed between them.
const STATES_MAX: usize = 64;

/// States of tables, each once.
type States = BTreeMap<(StoreName, TableId), Vec<Arc<TableVersion>>>;

/// The states of copies that a transaction has read.
#[derive(Default)]
pub struct CopiesRead {
    tables: Mutex<States>,
    is_full: AtomicBool,
}

impl fmt::Debug for CopiesRead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tables: Vec<(StoreName, TableId)> = self.tables().keys().cloned().collect();
        f.debug_struct("CopiesRead").field("tables", &tables).finish_non_exhaustive()
    }
}

impl CopiesRead {
    fn tables(&self) -> MutexGuard<'_, States> {
        // What a panic left behind are whole states.
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A state of a table is read.
    pub fn note(&self, store: &StoreName, table: &TableId, version: &Arc<TableVersion>) {
        let mut tables = self.tables();
        let states = tables.entry((store.clone(), table.clone())).or_default();
        if !states.iter().any(|known| Arc::ptr_eq(known, version)) {
            states.push(Arc::clone(version));
        }
        if states.len() >= STATES_MAX {
            self.is_full.store(true, Ordering::Relaxed);
        }
    }

    /// Whether no further states are to be read: the stores are read in their place.
    pub fn is_full(&self) -> bool {
        self.is_full.load(Ordering::Relaxed)
    }

    /// The states of a table that were read.
    pub fn of(&self, store: &StoreName, table: &TableId) -> Vec<Arc<TableVersion>> {
        self.tables().get(&(store.clone(), table.clone())).cloned().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::changes::fakes::{batch_of, id_of, shape_of, table_of};

    fn state(total: i64) -> Arc<TableVersion> {
        let empty = TableVersion::empty(&table_of("orders"), &shape_of("orders")).unwrap();
        Arc::new(empty.filled(&batch_of(&[("a", total)])).unwrap())
    }

    #[test]
    fn states_are_held_once_each_and_too_many_end_it() {
        let (read, shop) = (CopiesRead::default(), StoreName::new("shop"));
        let first = state(1);
        for _ in 0..2 * STATES_MAX {
            read.note(&shop, &id_of("orders"), &first);
        }
        assert_eq!((read.of(&shop, &id_of("orders")).len(), read.is_full()), (1, false));
        assert!(read.of(&shop, &id_of("items")).is_empty() && read.of(&StoreName::new("crm"), &id_of("orders")).is_empty());
        for total in 2..i64::try_from(STATES_MAX).unwrap() {
            read.note(&shop, &id_of("orders"), &state(total));
        }
        assert!(!read.is_full());
        read.note(&shop, &id_of("orders"), &state(0));
        assert!(read.is_full() && read.of(&shop, &id_of("orders")).len() == STATES_MAX);
        // None of them was let go.
        assert!(Arc::ptr_eq(&read.of(&shop, &id_of("orders"))[0], &first));
    }

    #[test]
    fn a_state_tells_rows_that_are_others_now() {
        let rows = [("a", 1), ("b", 2)];
        let empty = TableVersion::empty(&table_of("orders"), &shape_of("orders")).unwrap();
        let state = Arc::new(empty.filled(&batch_of(&rows)).unwrap());
        let is_other = |rows: &[(&str, i64)]| state.has_others(&[batch_of(rows)]).unwrap();
        assert!(!is_other(&rows) && !is_other(&[("b", 2)]) && !is_other(&[]));
        // What was not there was not read.
        assert!(!is_other(&[("c", 3), ("a", 1)]));
        assert!(is_other(&[("a", 1), ("b", 3)]));
        let parts = [batch_of(&[("a", 1)]), batch_of(&[("b", 9)])];
        assert!(state.has_others(&parts).unwrap());
        let narrow = batch_of(&rows).project(&[0]).unwrap();
        assert!(state.has_others(&[narrow]).is_err(), "these are rows of another table");
    }
}
