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
use crate::cache::{Caches, Consistency, CopiesRead, Decision, Reading, Wants};
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
}

/// One state of the copies of a store, which stays as it is.
pub(in crate::federation) trait Pinned: fmt::Debug + Send + Sync {
    /// The rows of a table; `None` where it has no copy.
    fn table(&self, table: &TableId) -> Option<Arc<TableVersion>>;

    /// Takes note that a statement reads a table of it.
    fn used(&self, table: &TableId);

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
    /// Why tables that have copies are read in their stores.
    passed: Mutex<BTreeMap<(StoreName, TableId), &'static str>>,
    /// Stores that were read themselves, also in further runs.
    direct: Arc<Mutex<BTreeSet<StoreName>>>,
    /// What was counted of the statement, also in further runs.
    counted: Arc<Mutex<Counted>>,
    /// Whether it is planned and not run.
    is_only_planned: bool,
    /// Where it is noted what was read from copies.
    noted: Option<Arc<CopiesRead>>,
}

/// Tables that a statement has read, each of which counts once however many parts of it read it.
#[derive(Debug, Default)]
struct Counted {
    /// From their copies.
    used: BTreeSet<(StoreName, TableId)>,
    /// In their stores, though copies of them were offered.
    fell_through: BTreeSet<(StoreName, TableId)>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Offers {
    /// Those of copies that are kept, under what the session asks of them, in the place of these.
    pub(in crate::federation) fn replaced(&self, caches: Arc<Caches>, wants: Arc<Wants>) -> Self {
        let is_open = !caches.is_empty() && !matches!(wants.consistency, Consistency::Store);
        let source = is_open.then(|| Arc::new(Kept { caches, wants }) as Arc<dyn Source>);
        Self { source, direct: Arc::clone(&self.direct), noted: self.noted.clone(), ..Self::default() }
    }

    /// The same offers, of which nothing is settled, to a statement whose reads of copies are noted.
    pub(in crate::federation) fn noting(&self, noted: Arc<CopiesRead>) -> Self {
        Self { noted: Some(noted), ..self.anew() }
    }

    /// Those of sets that are pinned already, and of no others.
    pub(in crate::federation) fn of_pinned(&self, readings: BTreeMap<StoreName, Arc<Reading>>) -> Self {
        let source: Arc<dyn Source> = Arc::new(Fixed { readings });
        Self { source: Some(source), direct: Arc::clone(&self.direct), ..Self::default() }
    }

    /// Of any source.
    #[cfg(test)]
    pub(in crate::federation) fn from_source(source: Arc<dyn Source>) -> Self {
        Self { source: Some(source), ..Self::default() }
    }

    /// The same offers to another statement or run, of which nothing is settled.
    pub(in crate::federation) fn anew(&self) -> Self {
        let stores_only = AtomicBool::new(self.stores_only.load(Ordering::Relaxed));
        let (direct, noted, is_only_planned) = (Arc::clone(&self.direct), self.noted.clone(), self.is_only_planned);
        Self { source: self.source.clone(), stores_only, direct, noted, is_only_planned, ..Self::default() }
    }

    /// The same to another run of the statement, in which nothing counts that has counted in this one.
    pub(in crate::federation) fn again(&self) -> Self {
        Self { counted: Arc::clone(&self.counted), ..self.anew() }
    }

    /// The same to a statement that is planned and not run: nothing is asked for and waited for, and nothing counts.
    pub(in crate::federation) fn only_planned(&self) -> Self {
        Self { is_only_planned: true, direct: Arc::default(), noted: None, ..self.anew() }
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
                Some(Settled::Store(reason)) => {
                    if source.offered(store, &table.id) {
                        lock(&self.passed).insert(key.clone(), reason);
                        self.fell_through(store, &table.id);
                    }
                    false
                }
                // Who reads it is told that the copy is too old.
                Some(Settled::Stale(_)) | None => source.offered(store, &table.id),
            };
        answers.insert(key, is_offered);
        is_offered
    }

    /// The tables that were planned to be read in their stores though they have copies, and why.
    pub(in crate::federation) fn passed(&self) -> Vec<(StoreName, TableId, &'static str)> {
        lock(&self.passed).iter().map(|((store, table), reason)| (store.clone(), table.clone(), *reason)).collect()
    }

    /// Takes note of what is read from a copy.
    pub(in crate::federation) fn note(&self, store: &StoreName, table: &TableId, version: &Arc<TableVersion>) {
        if let Some(noted) = &self.noted {
            noted.note(store, table, version);
        }
    }

    /// Takes note that a table which was offered is read in its store.
    pub(in crate::federation) fn fell_through(&self, store: &StoreName, table: &TableId) {
        if let Some(source) = self.source.as_ref().filter(|_| !self.is_only_planned)
            && lock(&self.counted).fell_through.insert((store.clone(), table.clone()))
        {
            source.fell_through(store, table);
        }
    }

    /// Takes note that a table is read from its copy.
    pub(in crate::federation) fn used(&self, store: &StoreName, table: &TableId, pinned: &dyn Pinned) {
        if lock(&self.counted).used.insert((store.clone(), table.clone())) {
            pinned.used(table);
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
        if self.is_only_planned {
            return Settled::Store("the statement is not run");
        }
        let cell = Arc::clone(lock(&self.settled).entry(store.clone()).or_default());
        let decided = cell.get_or_init(|| async {
            match &self.source {
                Some(source) if is_allowed => source.decide(store).await,
                _ => Settled::Store("the statement reads its stores"),
            }
        });
        decided.await.clone()
    }

    /// The same for all tables of a store that the statement reads: where one of them has no copy, all are read in the store. A copy that is
    /// there only when the statement is planned comes too late for it.
    pub(in crate::federation) async fn settle_together(&self, store: &StoreName, tables: &[&Arc<Table>], is_allowed: bool) {
        let Some(source) = &self.source else { return };
        let refused = self.refused(store, tables, is_allowed);
        if self.is_only_planned && refused.is_none() {
            // What would come of it is known when it runs.
            return;
        }
        let cell = Arc::clone(lock(&self.settled).entry(store.clone()).or_default());
        let decided = cell.get_or_init(|| async {
            if let Some(reason) = refused {
                return Settled::Store(reason);
            }
            let has =
                |pinned: &Arc<dyn Pinned>, table: &Table| pinned.table(&table.id).is_some_and(|version| fits(&version, table));
            match source.decide(store).await {
                Settled::Copy(pinned) if !tables.iter().all(|table| has(&pinned, table)) => Settled::Store(APART),
                settled => settled,
            }
        });
        decided.await;
    }

    /// Why the tables of a store that a statement reads are read there, as far as that is known without a decision.
    fn refused(&self, store: &StoreName, tables: &[&Arc<Table>], is_allowed: bool) -> Option<&'static str> {
        if !is_allowed {
            return Some("the statement reads its stores");
        }
        if !tables.iter().any(|table| self.may_serve(store, table)) {
            return Some("none of its tables had a copy when the statement began");
        }
        (!tables.iter().all(|table| self.may_serve(store, table))).then_some(APART)
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
            Decision::Copy(reading) => Settled::Copy(Arc::new(Pin(reading))),
            Decision::Store { reason } => Settled::Store(reason),
            Decision::Stale(stale) => Settled::Stale(Box::new(Diagnosis::of(&stale))),
        }
    }

    fn fell_through(&self, store: &StoreName, table: &TableId) {
        self.caches.fell_through(store, table);
    }
}

/// A pinned set of the server's copies.
struct Pin(Arc<Reading>);

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pin").finish_non_exhaustive()
    }
}

impl Pinned for Pin {
    fn table(&self, table: &TableId) -> Option<Arc<TableVersion>> {
        self.0.table(table)
    }

    fn used(&self, table: &TableId) {
        self.0.used(table);
    }

    fn age(&self) -> Option<Duration> {
        Some(self.0.age()).filter(|age| *age < Duration::MAX)
    }

    fn position(&self) -> Option<String> {
        self.0.place().map(|place| place.to_string())
    }
}

/// Sets that were pinned before the statement began, whatever is newer now.
struct Fixed {
    readings: BTreeMap<StoreName, Arc<Reading>>,
}

impl fmt::Debug for Fixed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fixed").field("stores", &self.readings.keys()).finish_non_exhaustive()
    }
}

#[async_trait]
impl Source for Fixed {
    fn offered(&self, store: &StoreName, table: &TableId) -> bool {
        self.readings.get(store).is_some_and(|reading| reading.version(table).is_some())
    }

    async fn decide(&self, store: &StoreName) -> Settled {
        match self.readings.get(store) {
            Some(reading) => Settled::Copy(Arc::new(FixedPin(Arc::clone(reading)))),
            None => Settled::Store("no set of the store is pinned"),
        }
    }

    fn fell_through(&self, _store: &StoreName, _table: &TableId) {}
}

/// One of them, whose tables are read by nobody who would be counted.
struct FixedPin(Arc<Reading>);

impl fmt::Debug for FixedPin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FixedPin").field("store", self.0.store()).finish_non_exhaustive()
    }
}

impl Pinned for FixedPin {
    fn table(&self, table: &TableId) -> Option<Arc<TableVersion>> {
        self.0.version(table).cloned()
    }

    fn used(&self, _table: &TableId) {}

    fn age(&self) -> Option<Duration> {
        Some(self.0.age()).filter(|age| *age < Duration::MAX)
    }

    fn position(&self) -> Option<String> {
        self.0.place().map(|place| place.to_string())
    }
}
