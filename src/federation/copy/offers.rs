//! What a statement may read from copies: asked of the copies once for each store, and told the same to all that ask for it.
//!
//! **Invariants:** all tables of a store that a statement reads from copies come from one pinned set; what was answered of a table holds to
//! the end of the statement, so that no two of its reads of one table see two states.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::OnceCell;

use super::refusal;
use crate::cache::version::TableVersion;
use crate::cache::{Caches, Consistency, Decision, Reading, Wants};
use crate::error::Diagnosis;
use crate::stores::schema::TableId;
use crate::stores::{StoreName, Table};

/// Why a table is read in its store though it has a copy.
const APART: &str = "another table of the store that the statement reads has no copy";

/// Where copies come from.
#[async_trait]
pub(in crate::federation) trait Source: fmt::Debug + Send + Sync {
    /// Whether a copy of the table is loaded and follows its store.
    fn offered(&self, store: &StoreName, table: &TableId) -> bool;

    /// From what the tables of a store are read.
    async fn decide(&self, store: &StoreName) -> Settled;

    /// Takes note that a table was read in its store though a copy of it was offered.
    fn fell_through(&self, store: &StoreName, table: &TableId);

    /// Whether a statement may read some tables of a store from copies and others in the store, which are two states of it.
    fn takes_two_states(&self) -> bool {
        false
    }
}

/// One state of the copies of a store, which stays as it is.
pub(in crate::federation) trait Pinned: fmt::Debug + Send + Sync {
    /// The rows of a table; `None` where it has no copy.
    fn table(&self, table: &TableId) -> Option<Arc<TableVersion>>;

    /// How old what it shows may be now, at most; `None` where that is not known.
    fn age(&self) -> Option<Duration>;

    /// The place of the last event that is in it, as clients see it, where there was one since it was loaded.
    fn position(&self) -> Option<String>;
}

/// From what the tables of a store are read in one statement.
#[derive(Debug, Clone)]
pub(in crate::federation) enum Settled {
    /// From this state of their copies.
    Copy(Arc<dyn Pinned>),
    /// From the store, for this reason.
    Store(&'static str),
    /// From nothing: the client wants no other copies than there are.
    Stale(Box<Diagnosis>),
}

/// What the statement may read from copies.
#[derive(Debug, Default)]
pub(in crate::federation) struct Offers {
    source: Option<Arc<dyn Source>>,
    /// Whether it reads its stores whatever there is.
    stores_only: AtomicBool,
    settled: Mutex<BTreeMap<StoreName, Arc<OnceCell<Settled>>>>,
    /// What was answered of tables.
    answers: Mutex<BTreeMap<(StoreName, TableId), bool>>,
    /// Stores that were read themselves, also in further runs.
    direct: Arc<Mutex<BTreeSet<StoreName>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Offers {
    /// Those of copies that are kept, under what the session asks of them, in the place of these.
    pub(in crate::federation) fn replaced(&self, caches: Arc<Caches>, wants: Arc<Wants>) -> Self {
        let is_open = !caches.is_empty() && !matches!(wants.consistency, Consistency::Store);
        let source = is_open.then(|| Arc::new(Kept { caches, wants }) as Arc<dyn Source>);
        Self { source, direct: Arc::clone(&self.direct), ..Self::default() }
    }

    /// Of any source.
    #[cfg(test)]
    pub(in crate::federation) fn from_source(source: Arc<dyn Source>) -> Self {
        Self { source: Some(source), ..Self::default() }
    }

    /// The same offers to another statement or run, of which nothing is settled.
    pub(in crate::federation) fn anew(&self) -> Self {
        let stores_only = AtomicBool::new(self.stores_only.load(Ordering::Relaxed));
        Self { source: self.source.clone(), stores_only, direct: Arc::clone(&self.direct), ..Self::default() }
    }

    /// Has the statement read its stores and no copy.
    pub(in crate::federation) fn refuse(&self) {
        self.stores_only.store(true, Ordering::Relaxed);
    }

    /// Whether the statement reads its stores whatever there is.
    pub(in crate::federation) fn are_refused(&self) -> bool {
        self.stores_only.load(Ordering::Relaxed)
    }

    /// Whether anything is offered at all.
    pub(in crate::federation) fn are_open(&self) -> bool {
        self.source.is_some() && !self.stores_only.load(Ordering::Relaxed)
    }

    /// Whether the table is read from a copy, as far as that is known now.
    pub(in crate::federation) fn offered(&self, store: &StoreName, table: &Table) -> bool {
        let Some(source) = &self.source else { return false };
        let mut answers = lock(&self.answers);
        let key = (store.clone(), table.id.clone());
        if let Some(known) = answers.get(&key) {
            return *known;
        }
        let is_offered = refusal(table).is_none()
            && match self.settled(store) {
                Some(Settled::Copy(pinned)) => pinned.table(&table.id).is_some_and(|version| fits(&version, table)),
                Some(Settled::Store(_)) => {
                    if source.offered(store, &table.id) {
                        source.fell_through(store, &table.id);
                    }
                    false
                }
                // Who reads it is told that the copy is too old.
                Some(Settled::Stale(_)) | None => source.offered(store, &table.id),
            };
        answers.insert(key, is_offered);
        is_offered
    }

    /// Takes note that a table which was offered is read in its store.
    pub(in crate::federation) fn fell_through(&self, store: &StoreName, table: &TableId) {
        if let Some(source) = &self.source {
            source.fell_through(store, table);
        }
    }

    /// Whether a copy of the table may be there, of which nothing is remembered.
    pub(in crate::federation) fn may_serve(&self, store: &StoreName, table: &Table) -> bool {
        self.source.as_ref().is_some_and(|source| source.offered(store, &table.id)) && refusal(table).is_none()
    }

    /// What is settled of a store, if that is.
    fn settled(&self, store: &StoreName) -> Option<Settled> {
        lock(&self.settled).get(store).and_then(|settled| settled.get().cloned())
    }

    /// From what the tables of a store are read; settled by the first caller. `is_allowed` says whether it may be from copies, and counts
    /// for that caller.
    pub(in crate::federation) async fn settle(&self, store: &StoreName, is_allowed: bool) -> Settled {
        let cell = Arc::clone(lock(&self.settled).entry(store.clone()).or_default());
        let decided = cell.get_or_init(|| async {
            match &self.source {
                Some(source) if is_allowed => source.decide(store).await,
                _ => Settled::Store("the statement reads its stores"),
            }
        });
        decided.await.clone()
    }

    /// The same for all tables of a store that the statement reads: where one of them has no copy, all are read in the store, unless the
    /// client takes two states of it. A copy that is there only when the statement is planned comes too late for it.
    pub(in crate::federation) async fn settle_together(&self, store: &StoreName, tables: &[&Arc<Table>], is_allowed: bool) {
        let Some(source) = &self.source else { return };
        let cell = Arc::clone(lock(&self.settled).entry(store.clone()).or_default());
        let decided = cell.get_or_init(|| async {
            let together = !source.takes_two_states();
            if !is_allowed {
                return Settled::Store("the statement reads its stores");
            }
            if !tables.iter().any(|table| self.may_serve(store, table)) {
                return Settled::Store("none of its tables had a copy when the statement began");
            }
            if together && !tables.iter().all(|table| self.may_serve(store, table)) {
                return Settled::Store(APART);
            }
            let has =
                |pinned: &Arc<dyn Pinned>, table: &Table| pinned.table(&table.id).is_some_and(|version| fits(&version, table));
            match source.decide(store).await {
                Settled::Copy(pinned) if together && !tables.iter().all(|table| has(&pinned, table)) => Settled::Store(APART),
                settled => settled,
            }
        });
        decided.await;
    }

    /// Takes note of a store that was read itself.
    pub(in crate::federation) fn read_directly(&self, store: &StoreName) {
        let mut direct = lock(&self.direct);
        if !direct.contains(store) {
            direct.insert(store.clone());
        }
    }

    /// The stores that were.
    pub(in crate::federation) fn direct(&self) -> Vec<StoreName> {
        lock(&self.direct).iter().cloned().collect()
    }
}

/// Whether a copy has the columns of a table as a plan knows them: the plan may be older, or younger.
pub(in crate::federation) fn fits(version: &TableVersion, table: &Table) -> bool {
    let own = version.table();
    Arc::ptr_eq(&own.schema, &table.schema) || own.schema.fields() == table.schema.fields()
}

/// The copies of the server, under what a session asks of them.
struct Kept {
    caches: Arc<Caches>,
    wants: Arc<Wants>,
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept").finish_non_exhaustive()
    }
}

#[async_trait]
impl Source for Kept {
    fn offered(&self, store: &StoreName, table: &TableId) -> bool {
        self.caches.offered(store, table)
    }

    async fn decide(&self, store: &StoreName) -> Settled {
        match self.caches.decide(store, &self.wants).await {
            Decision::Copy(reading) => Settled::Copy(Arc::new(Pin { reading, taken: Mutex::default() })),
            Decision::Store { reason } => Settled::Store(reason),
            Decision::Stale(stale) => Settled::Stale(Box::new(Diagnosis::of(&stale))),
        }
    }

    fn fell_through(&self, store: &StoreName, table: &TableId) {
        self.caches.fell_through(store, table);
    }

    fn takes_two_states(&self) -> bool {
        self.wants.consistency == Consistency::Eventual
    }
}

/// A pinned set of the server's copies, in which a table is used once however often the statement reads it.
struct Pin {
    reading: Arc<Reading>,
    taken: Mutex<BTreeMap<TableId, Option<Arc<TableVersion>>>>,
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pin").finish_non_exhaustive()
    }
}

impl Pinned for Pin {
    fn table(&self, table: &TableId) -> Option<Arc<TableVersion>> {
        let mut taken = lock(&self.taken);
        match taken.get(table) {
            Some(known) => known.clone(),
            None => taken.entry(table.clone()).or_insert(self.reading.table(table)).clone(),
        }
    }

    fn age(&self) -> Option<Duration> {
        Some(self.reading.age()).filter(|age| *age < Duration::MAX)
    }

    fn position(&self) -> Option<String> {
        self.reading.place().map(|place| place.to_string())
    }
}
