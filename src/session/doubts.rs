//! Stores to look at again because a prepared statement is refused: what it would return now is not what its client was told, by a
//! column that may long be as it was. Such statements read nothing, so no store tells that it has changed.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::catalog::Relation;
use crate::catalog::snapshot::RelationBody;
use crate::stores::StoreName;

/// Least time between two such looks at one store: a client may repeat a refused statement without end, and each look reads the
/// description of all tables.
const PAUSE: Duration = Duration::from_secs(5);

/// When each store was last asked about.
#[derive(Debug, Default)]
pub struct Doubts {
    asked: Mutex<BTreeMap<StoreName, Instant>>,
}

impl Doubts {
    /// Whether a store may be asked about now; the next call within [`PAUSE`] says no.
    pub fn may_ask(&self, store: &StoreName, now: Instant) -> bool {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        // What is older decides nothing, so that the map holds no store that a reload has taken away.
        asked.retain(|_, then| now.saturating_duration_since(*then) < PAUSE);
        if asked.contains_key(store) {
            return false;
        }
        asked.insert(store.clone(), now);
        true
    }
}

/// The store that a relation is read from.
pub fn store_of(relation: &Relation) -> Option<&StoreName> {
    match &relation.body {
        RelationBody::Stored { store, .. } => Some(store),
        RelationBody::View { .. } | RelationBody::Rows(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_asked_about_once_in_a_while() {
        let doubts = Doubts::default();
        let (start, shop, crew) = (Instant::now(), StoreName::new("shop"), StoreName::new("crew"));
        assert!(doubts.may_ask(&shop, start));
        for _ in 0..1_000 {
            assert!(!doubts.may_ask(&shop, start));
        }
        assert!(doubts.may_ask(&crew, start), "each store by itself");
        assert!(!doubts.may_ask(&shop, start + PAUSE / 2));
        assert!(doubts.may_ask(&shop, start + PAUSE));
        assert_eq!(doubts.asked.lock().unwrap().len(), 1, "crew is forgotten");
        assert!(!doubts.may_ask(&shop, start + PAUSE + PAUSE / 2));
    }
}
