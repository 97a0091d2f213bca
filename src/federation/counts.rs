//! What was read from each store, and what of planning was done, since the server started. Kept for the whole server: branches
//! come and go with statements, connectors with the catalog directory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::stores::StoreName;
use crate::telemetry::Family;
use crate::telemetry::metrics::Count;

/// What was read from one store.
#[derive(Debug, Default)]
pub struct Reads {
    /// Scans and parts of plans that it was asked for.
    pub scans: Count,
    /// Rows that it sent.
    pub rows: Count,
    /// Bytes of them, as they lie in memory here.
    pub bytes: Count,
    /// What it failed with: connections, statements, rows.
    pub errors: Count,
}

/// What was read from all stores.
#[derive(Debug, Default)]
pub struct AllReads(Mutex<BTreeMap<StoreName, Arc<Reads>>>);

impl AllReads {
    /// The counts of a store.
    pub fn of(&self, store: &StoreName) -> Arc<Reads> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = all.get(store) {
            return Arc::clone(known);
        }
        Arc::clone(all.entry(store.clone()).or_default())
    }

    /// The counts of the stores that are served now; those of others are forgotten, so that names that were once used do not
    /// gather.
    pub fn families<'a>(&self, served: impl Iterator<Item = &'a StoreName>) -> Vec<Family> {
        let served: BTreeMap<StoreName, Arc<Reads>> = served.map(|store| (store.clone(), self.of(store))).collect();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|store, _| served.contains_key(store));
        let family = |name, help, count: fn(&Reads) -> &Count| {
            let samples = served.iter().map(|(store, reads)| (store.to_string(), count(reads).get()));
            Family::counter(name, help).by("store", samples)
        };
        vec![
            family("tributary_store_scans_total", "Scans and parts of plans that a store was asked for.", |reads| &reads.scans),
            family("tributary_store_rows_total", "Rows that a store sent.", |reads| &reads.rows),
            family("tributary_store_bytes_total", "Bytes of the rows that a store sent, as they lie in memory.", |reads| {
                &reads.bytes
            }),
            family("tributary_store_errors_total", "Connections, scans and rows of a store that failed.", |reads| &reads.errors),
        ]
    }
}

/// The steps of planning that were done.
#[derive(Debug, Default)]
pub struct Steps {
    /// Plans whose names, types and operations were resolved.
    pub analysis: Count,
    /// Plans that went through the optimiser.
    pub optimisation: Count,
    /// Optimised plans that became operators: order of joins, placement, physical plan.
    pub physical: Count,
    /// Values that were put into an optimised plan for all values.
    pub bind: Count,
}

impl Steps {
    /// The counts for whoever watches the server.
    pub fn family(&self) -> Family {
        let Self { analysis, optimisation, physical, bind } = self;
        let steps = [("analysis", analysis), ("optimisation", optimisation), ("physical", physical), ("bind", bind)];
        let samples = steps.map(|(step, count)| (step.to_owned(), count.get()));
        Family::counter("tributary_planning_steps_total", "Steps of planning that were done for statements.").by("step", samples)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::metrics::text;

    #[test]
    fn counts_stay_with_their_store_and_go_with_its_name() {
        let (all, shop, crm) = (AllReads::default(), StoreName::new("shop"), StoreName::new("crm"));
        all.of(&shop).rows.add(3);
        all.of(&shop).rows.add(4);
        all.of(&crm).errors.add(1);
        let told = text(&all.families([&shop, &crm].into_iter()));
        for line in ["tributary_store_rows_total{store=\"shop\"} 7\n", "tributary_store_errors_total{store=\"crm\"} 1\n"] {
            assert!(told.contains(line), "{told}");
        }
        assert!(!text(&all.families([&shop].into_iter())).contains("crm"));
        assert_eq!(all.of(&crm).errors.get(), 0);
    }
}
