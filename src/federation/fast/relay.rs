//! Lookups whose rows go on to the client as their store sent them: nothing is decoded, and no batch is made.
//!
//! The store says once, of sample values, whether it can ([`Connector::keep`]); an execution hands it nothing but values.
//!
//! **Invariants:** what a lookup is relayed for, [`Lookup::bind`] would have bound: values are of the column's own type, and what the
//! store found exact of one sample is so of every such value; what is read counts as that of a scan does, and ends as a scan does
//! when its store is closed under it.

use std::sync::Arc;

use datafusion::scalar::ScalarValue;

use super::Lookup;
use super::condition::Condition;
use crate::catalog::Snapshot;
use crate::error::Diagnosis;
use crate::federation::branches::Branches;
use crate::federation::pushdown::Budget;
use crate::federation::scan::closed_under;
use crate::format::Format;
use crate::stores::predicate::Predicate;
use crate::stores::relay::{Kept, Relayed};
use crate::stores::value::Value;
use crate::stores::{Connector, Scan, StoreError, StoreName};

/// What a store keeps of a lookup, if anything, and for which formats.
#[derive(Debug)]
pub(super) struct KeptFor {
    formats: Vec<Format>,
    kept: Option<Kept>,
}

/// A lookup with its parameters whose rows need not be decoded.
#[derive(Debug)]
pub struct Relay {
    connector: Arc<dyn Connector>,
    store: StoreName,
    kept: Kept,
    values: Vec<Value>,
}

impl Lookup {
    /// The lookup with these parameters, if its store sends rows in these formats, one for each column. `None` says nothing of
    /// whether the lookup can be bound.
    pub fn relay(&self, snapshot: &Snapshot, values: &[ScalarValue], formats: &[Format]) -> Option<Relay> {
        let connector = snapshot.connectors.get(&self.store)?;
        let found = self.kept.get_or_init(|| KeptFor { formats: formats.to_vec(), kept: self.keep(connector.as_ref(), formats) });
        let kept = found.kept.as_ref().filter(|_| found.formats == formats)?;
        let values = self.conditions.iter().map(|condition| condition.value(values)).collect::<Option<Vec<Value>>>()?;
        Some(Relay { connector: Arc::clone(connector), store: self.store.clone(), kept: Arc::clone(kept), values })
    }

    fn keep(&self, connector: &dyn Connector, formats: &[Format]) -> Option<Kept> {
        let mut budget = Budget::of_scan();
        let filter: Vec<Predicate> = self.conditions.iter().map(Condition::sample).collect();
        let fits = filter.iter().all(|sample| budget.take(sample));
        let (store, table) = (self.store.clone(), self.table.id.clone());
        let scan = Scan { store, table, columns: self.ordinals.clone(), filter, limit: self.limit };
        connector.keep(&self.table, &scan, formats).filter(|_| fits)
    }
}

impl Relay {
    /// Asks the store. Dropping the future stops the query in it.
    ///
    /// # Errors
    /// What the scan of the lookup would fail with.
    pub async fn run(&self, branches: &Branches) -> Result<Relayed, Diagnosis> {
        self.asked(branches).await.map_err(|error| Diagnosis::of(&error))
    }

    async fn asked(&self, branches: &Branches) -> Result<Relayed, StoreError> {
        branches.check_retired(&self.store)?;
        branches.reads_directly(&self.store);
        // Cancel-safe: the lookup is dropped with its future, and ends in the store.
        let answer = tokio::select! {
            biased;
            () = branches.retired().cancelled() => Err(closed_under(&self.store)),
            answer = self.connector.relay(&self.kept, &self.values) => answer,
        };
        let reads = branches.reads().of(&self.store);
        reads.scans.add(1);
        match &answer {
            Ok(rows) => {
                reads.rows.add(rows.row_count() as u64);
                reads.bytes.add(rows.byte_count() as u64);
            }
            Err(_) => reads.errors.add(1),
        }
        branches.heard(&self.store, &answer);
        answer
    }
}
