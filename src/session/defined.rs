//! What a block has defined in stores and not committed: its own statements see it, and nobody else does.
//!
//! ```text
//! Branch::define → Connector::discover_in (through the same branch) → Defined → Catalog::provisional → the snapshot of later statements
//! ROLLBACK TO → the stores that it has undone something in are looked at again; COMMIT → Catalog::refresh of all of them
//! ```
//!
//! **Invariant:** as long as a store is kept here, its tables are those that the block's branch of it sees, but for what others commit there
//! meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Session;
use super::transaction::Block;
use crate::catalog::{Catalog, Snapshot};
use crate::error::{Diagnosis, sqlstate};
use crate::federation::plan::Setting;
use crate::federation::writers::Writers;
use crate::stores::define::Define;
use crate::stores::schema::TableId;
use crate::stores::{StoreName, StoreSchema};

/// What a block has defined.
#[derive(Debug, Default)]
pub(super) struct Defined {
    stores: BTreeMap<StoreName, Own>,
    /// The tables that are others behind it, also those of what was undone.
    touched: BTreeMap<StoreName, BTreeSet<TableId>>,
    /// The latest snapshot with it, and the version of the one that it was made over.
    made: Option<(u64, Arc<Snapshot>)>,
}

/// A store in which something was defined.
#[derive(Debug)]
struct Own {
    /// How many savepoints the block had been asked for before the first definition, and before the latest.
    first: u32,
    latest: u32,
    found: Arc<StoreSchema>,
}

impl Defined {
    /// The stores.
    pub(super) fn stores(&self) -> Vec<StoreName> {
        self.stores.keys().cloned().collect()
    }

    /// The snapshot that statements were given last.
    pub(super) fn latest(&self) -> Option<Arc<Snapshot>> {
        self.made.as_ref().filter(|_| !self.stores.is_empty()).map(|(_, made)| Arc::clone(made))
    }

    /// A store looks otherwise now, after a definition behind so many savepoints.
    ///
    /// # Errors
    /// What keeps the tables from being named: 42710.
    fn note(
        &mut self,
        (store, found): (&StoreName, Arc<StoreSchema>),
        since: u32,
        (base, catalog): (&Arc<Snapshot>, &Catalog),
    ) -> Result<(), Diagnosis> {
        let first = self.stores.get(store).map_or(since, |own| own.first);
        self.stores.insert(store.clone(), Own { first, latest: since, found });
        self.made = Some((base.version, catalog.provisional(base, &self.found())?));
        Ok(())
    }

    fn found(&self) -> BTreeMap<StoreName, Arc<StoreSchema>> {
        self.stores.iter().map(|(store, own)| (store.clone(), Arc::clone(&own.found))).collect()
    }

    /// The names that exist for a statement of the block, where `base` has those of all others.
    fn over(&mut self, base: Arc<Snapshot>, catalog: &Catalog) -> Arc<Snapshot> {
        if self.stores.is_empty() {
            return base;
        }
        if let Some((version, made)) = &self.made
            && *version == base.version
        {
            return Arc::clone(made);
        }
        // Names that others have got meanwhile must not keep the block from its own.
        if let Ok(made) = catalog.provisional(&base, &self.found()) {
            self.made = Some((base.version, made));
        }
        self.latest().unwrap_or(base)
    }

    /// Everything was undone that was written after a savepoint.
    ///
    /// # Errors
    /// What a store answered that was to be looked at again.
    pub(super) async fn roll_back_to(&mut self, savepoint: u32, writers: Option<&Arc<Writers>>) -> Result<(), Diagnosis> {
        let undone: Vec<StoreName> =
            self.stores.iter().filter(|(_, own)| own.latest > savepoint).map(|(store, _)| store.clone()).collect();
        if undone.is_empty() {
            return Ok(());
        }
        self.made = None;
        self.stores.retain(|_, own| own.first <= savepoint);
        for (store, own) in self.stores.iter_mut().filter(|(store, _)| undone.contains(store)) {
            own.found = look(store, writers).await?;
            own.latest = savepoint;
        }
        Ok(())
    }
}

/// What a block sees of a store that it has written to.
async fn look(store: &StoreName, writers: Option<&Arc<Writers>>) -> Result<Arc<StoreSchema>, Diagnosis> {
    let found = writers.and_then(|writers| Some((writers.connectors().get(store)?.clone(), writers.get(store)?)));
    let Some((connector, branch)) = found else {
        let message = format!("store \"{store}\" has left the transaction");
        return Err(Diagnosis::new(sqlstate::SERIALIZATION_FAILURE, message));
    };
    connector.discover_in(&branch).await.map(Arc::new).map_err(|error| Diagnosis::of(&error))
}

impl Session {
    /// The names that exist for the next statement.
    pub(super) fn snapshot(&mut self) -> Arc<Snapshot> {
        let base = self.base();
        match &mut self.block {
            Some(block) => block.defined.over(base, &self.shared.catalog),
            None => base,
        }
    }

    /// The same without what the block itself has defined.
    fn base(&mut self) -> Arc<Snapshot> {
        // A repeatable block sees one state of the catalog too, as its branches were opened under it.
        let held = self.block.as_mut().filter(|block| block.modes.isolation.is_repeatable());
        match held {
            Some(block) => Arc::clone(block.snapshot.get_or_insert_with(|| self.shared.catalog.snapshot())),
            None => self.shared.catalog.snapshot(),
        }
    }

    /// Defines something in the transaction of the open block.
    ///
    /// # Errors
    /// As a write: what the store answered, 0A000 where it cannot be committed together with the stores that have been written to.
    pub(super) async fn define_in_block(&mut self, setting: &Setting, define: &Define) -> Result<(), Diagnosis> {
        let (guard, shared, base) = (self.guard.clone(), Arc::clone(&self.shared), self.base());
        let store = &define.store;
        let Some(block) = self.writing_block() else {
            return Err(Diagnosis::new(sqlstate::INTERNAL_ERROR, "there is no block to define something in"));
        };
        let (writers, branches) = block.write_branches(store, &setting.snapshot, &shared).await?;
        let since = block.savepoints_asked();
        let branch = guard.run(writers.open(store)).await??;
        let stop = guard.stop();
        let sending = async {
            let answer = branch.define(define, &stop).await;
            branches.heard(store, &answer);
            answer.map_err(|error| Diagnosis::of(&error))
        };
        guard.wait_for(&stop, sending).await?;
        // Nobody knows what undoes it.
        block.undone.wrote(store, since, None)?;
        let found = guard.run(look(store, Some(&writers))).await??;
        block.defined.touched.entry(store.clone()).or_default().extend(define.touched());
        block.defined.note((store, found), since, (&base, &shared.catalog))
    }

    /// Tables are others as soon as a block is committed: no copy of them is read from here on.
    pub(super) fn doubt(&self, block: &Block) {
        for (store, tables) in &block.defined.touched {
            self.doubt_tables(store, tables);
        }
    }

    /// The same of some tables of a store; of none nothing is in doubt, and the feed need not look. To be said before and behind what
    /// changes them: a feed may look at them in between.
    pub(super) fn doubt_tables<'t>(&self, store: &StoreName, tables: impl IntoIterator<Item = &'t TableId> + Clone) {
        if tables.clone().into_iter().next().is_none() {
            return;
        }
        self.shared.feeds.doubt(store);
        self.shared.caches.results().doubt(store, tables.clone());
        self.shared.caches.doubt(store, tables);
    }

    /// Has the catalog read the stores anew in which a block has defined something, now that it has ended: all sessions see it from here
    /// on. Also where nobody knows whether it was kept.
    pub(super) async fn publish(&mut self, block: &Block) {
        self.doubt(block);
        for store in block.defined.stores() {
            self.read_anew(&store).await;
        }
    }

    /// Has the catalog read a store anew, and warns where it cannot.
    pub(super) async fn read_anew(&mut self, store: &StoreName) {
        let catalog = Arc::clone(&self.shared.catalog);
        if let Err(error) = Box::pin(catalog.refresh(store)).await {
            self.warn("01000", &format!("the tables of store \"{store}\" could not be read again: {}", error.message));
        }
        self.shared.feeds.look_again(store);
    }
}
