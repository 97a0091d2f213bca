//! Copies of tables that follow the feeds of their stores, and what reads of them promise.
//!
//! ```text
//! changes/hub ── follow (one task a store) ── apply → version (one immutable state a table) ── store: Published, swapped as one
//! Feeds::fill ── fill (a table is loaded beside the feed) → follow: it joins the published set
//! a statement's Wants → serve: decide → Reading (a published set, pinned), or the store
//!                         └ probe: where is the store now? · how fresh is the set?
//! a transaction's reads of copies → noted → whoever changes rows compares them with what was read
//! audit: are rows of a copy those of the store? What differs is told and loaded again
//! results: rows of queries, each until a table changes that it was made of
//! who keeps something up to date with copies → sets: the newest sets of its stores, and when there are newer ones
//! ```
//!
//! **Invariants:** a published set has whole transactions of its store, the same for all of its tables; it names a position only when
//! everything up to that position is in it; a copy is filled by its store and its feed and never by who writes; of a history that is not
//! known to go on nothing is shown. Deliberately absent: sessions, plans, and an order among stores.

mod apply;
mod audit;
mod fill;
mod follow;
mod memory;
mod metrics;
mod noted;
mod probe;
mod required;
pub mod results;
mod rules;
mod serve;
mod sets;
mod status;
mod store;
#[cfg(test)]
mod tests;
pub mod version;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use crate::changes::Feeds;
use crate::changes::feeds::Labels;
use crate::error::{Diagnose, sqlstate};
use crate::stores::schema::TableId;
use crate::stores::{Connector, StoreName, Table};
use crate::task::TaskSet;
use crate::telemetry::Family;
use memory::Memory;
use results::{ResultSettings, Results};
use store::StoreCopies;

pub use audit::ShownAudit;
pub use memory::OlderStates;
pub use noted::CopiesRead;
pub use required::Required;
pub use rules::Rule;
pub use serve::{AtOnce, Consistency, Decision, OnStale, Stale, Wants};
pub use sets::Sets;
pub use status::{CopyState, ShownCopy};
pub use store::Reading;
pub use version::TableVersion;

/// Most tables that are loaded at a time, of all stores.
const FILLS_MAX: usize = 2;
/// How long tasks may take to end.
const GRACE: Duration = Duration::from_secs(5);

/// Bounds of all copies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheSettings {
    /// Most bytes of all copies, with those that are being loaded and with older states that are still read.
    pub memory_bytes: u64,
    /// How long a read waits for a copy before it goes to the store.
    pub wait: Duration,
    /// The time between looks at how fresh an idle copy is.
    pub look: Duration,
    /// Most rows that are applied before they are published.
    pub group_rows: usize,
    /// For how long what is there is gathered before it is applied.
    pub group_time: Duration,
    /// The time between looks of the auditor at a table of each store; zero: it does not look.
    pub audit: Duration,
    /// About how many rows it looks at each time.
    pub audit_rows: usize,
    /// Bounds of the results of queries.
    pub results: ResultSettings,
    /// The rule that a test has it leave out.
    pub without: Option<Rule>,
}

impl Default for CacheSettings {
    fn default() -> Self {
        Self {
            memory_bytes: 256 << 20,
            wait: Duration::from_millis(30),
            look: Duration::from_secs(1),
            group_rows: 8192,
            group_time: Duration::from_millis(2),
            audit: Duration::from_secs(10),
            audit_rows: 256,
            results: ResultSettings::default(),
            without: None,
        }
    }
}

/// How fast things go; shorter in tests.
#[derive(Debug, Clone, Copy)]
struct Pace {
    /// The first wait before a table is loaded again, and the longest.
    backoff: (Duration, Duration),
    /// How often it is looked whether the feed of a table that waits has begun.
    poll: Duration,
    /// Most time for a store to say where it is.
    patience: Duration,
    /// Most time for the feed to come to where its store is before a table is read, and to pass the state that was read then.
    join: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            backoff: (Duration::from_secs(1), Duration::from_secs(60)),
            poll: Duration::from_millis(200),
            patience: Duration::from_secs(10),
            join: Duration::from_secs(120),
        }
    }
}

/// What is cached of a store.
#[derive(Clone)]
pub struct CacheEntry {
    /// Its connector.
    pub connector: Arc<dyn Connector>,
    /// The tables that are wanted, as they were discovered last.
    pub tables: Vec<Arc<Table>>,
    /// Tables that are wanted and are read in their store only, with the reason as a clause.
    pub kept_back: Vec<(TableId, String)>,
    /// What its tables are called.
    pub labels: Labels,
}

impl fmt::Debug for CacheEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tables: Vec<&TableId> = self.tables.iter().map(|table| &table.id).collect();
        f.debug_struct("CacheEntry")
            .field("store", self.connector.name())
            .field("tables", &tables)
            .field("kept_back", &self.kept_back)
            .finish_non_exhaustive()
    }
}

/// A table is not cached, so there is nothing to load again. Diagnosis: 55000, the reason as detail.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the table is not cached")]
pub struct NotCached {
    /// Why, as a clause.
    pub reason: String,
}

impl Diagnose for NotCached {
    fn sqlstate(&self) -> &str {
        sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE
    }

    fn detail(&self) -> Option<String> {
        Some(format!("The reason is: {}.", self.reason))
    }
}

/// All copies.
pub struct Caches {
    feeds: Arc<Feeds>,
    settings: CacheSettings,
    pace: Pace,
    stores: ArcSwap<BTreeMap<StoreName, Arc<StoreCopies>>>,
    /// Held while they are replaced.
    replacing: Mutex<()>,
    /// Whether any table is wanted.
    is_wanted: AtomicBool,
    /// Raised when there are stores that nobody follows yet.
    grown: watch::Sender<u64>,
    memory: Memory,
    fills: Arc<Semaphore>,
    results: Arc<Results>,
}

impl fmt::Debug for Caches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stores: Vec<StoreName> = self.stores.load().keys().cloned().collect();
        f.debug_struct("Caches").field("settings", &self.settings).field("stores", &stores).finish_non_exhaustive()
    }
}

impl Caches {
    /// No copies yet, which will follow these feeds.
    pub fn new(feeds: Arc<Feeds>, settings: CacheSettings) -> Arc<Self> {
        Self::paced(feeds, settings, Pace::default())
    }

    /// Caches nothing.
    pub fn none() -> Arc<Self> {
        Self::new(Feeds::none(), CacheSettings::default())
    }

    fn paced(feeds: Arc<Feeds>, settings: CacheSettings, pace: Pace) -> Arc<Self> {
        let memory = Memory::new(settings.memory_bytes);
        let results = Results::new(Arc::clone(&feeds), settings.results.clone());
        Arc::new(Self {
            feeds,
            settings,
            pace,
            stores: ArcSwap::default(),
            replacing: Mutex::new(()),
            is_wanted: AtomicBool::new(false),
            grown: watch::channel(0).0,
            memory,
            fills: Arc::new(Semaphore::new(FILLS_MAX)),
            results,
        })
    }

    /// Loads and follows what is wanted until `stop`. When it ends, or is dropped, nothing is served from copies any more.
    pub fn run(self: &Arc<Self>, stop: CancellationToken) -> impl Future<Output = ()> + Send + 'static + use<> {
        let caches = Arc::clone(self);
        async move { caches.follow_all(stop).await }
    }

    async fn follow_all(self: Arc<Self>, stop: CancellationToken) {
        let (mut tasks, mut grown, mut followed) = (TaskSet::new(), self.grown.subscribe(), BTreeSet::new());
        tasks.spawn("results", self.results.run(tasks.token()));
        loop {
            grown.borrow_and_update();
            for (name, copies) in self.stores.load_full().iter() {
                if followed.insert(name.clone()) {
                    let follower = follow::Follower::new(Arc::clone(&self), Arc::clone(copies));
                    tasks.spawn("cache", Box::pin(follower.run(tasks.token())));
                    tasks.spawn("cache probes", probe::answer(Arc::clone(&self), Arc::clone(copies), tasks.token()));
                    tasks.spawn("cache looks", probe::look(Arc::clone(&self), Arc::clone(copies), tasks.token()));
                    tasks.spawn("cache audit", audit::audit(Arc::clone(&self), Arc::clone(copies), tasks.token()));
                }
            }
            // Cancel-safe, both of them.
            tokio::select! {
                () = stop.cancelled() => break,
                changed = grown.changed() => if changed.is_err() { break },
            }
        }
        tasks.stop(GRACE).await;
    }

    /// Caches these tables from now on. Whoever has a copy and is as it was keeps it. Where a connector is another one, what is there is
    /// not read before the store behind it is known to have the same history.
    pub fn replace(&self, entries: Vec<CacheEntry>) {
        let _alone = self.replacing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut entries: BTreeMap<StoreName, CacheEntry> =
            entries.into_iter().map(|entry| (entry.connector.name().clone(), entry)).collect();
        let is_wanted = entries.values().any(|entry| !entry.tables.is_empty());
        let known = self.stores.load_full();
        for (name, copies) in known.iter() {
            copies.want(entries.remove(name));
        }
        if !entries.is_empty() {
            let mut stores = (*known).clone();
            for (name, entry) in entries {
                let copies = StoreCopies::new(&name);
                copies.want(Some(entry));
                stores.insert(name, copies);
            }
            self.stores.store(Arc::new(stores));
            self.grown.send_modify(|count| *count += 1);
        }
        self.is_wanted.store(is_wanted, Ordering::Release);
    }

    /// Drops the copy of a table and loads it again, whatever kept it from that before.
    ///
    /// # Errors
    /// It is not wanted, or is kept back.
    pub fn reload(&self, store: &StoreName, table: &TableId) -> Result<(), NotCached> {
        let not = |reason: String| Err(NotCached { reason });
        let Some(entry) = self.copies(store).and_then(|copies| copies.entry()) else {
            return not(format!("no table of store \"{store}\" is cached"));
        };
        if let Some((_, reason)) = entry.kept_back.iter().find(|(kept_back, _)| kept_back == table) {
            return not(reason.clone());
        }
        if !entry.tables.iter().any(|wanted| wanted.id == *table) {
            return not("neither the file of its store nor ALTER TABLE … SET (tributary.cached) asks for it".to_owned());
        }
        if let Some(copies) = self.copies(store) {
            copies.ask_reload(table);
        }
        Ok(())
    }

    /// Tables of a store are others than they were, whatever they look like: their copies are not read from here on, and are loaded again
    /// behind the feed's next look at them.
    pub fn doubt<'t>(&self, store: &StoreName, tables: impl IntoIterator<Item = &'t TableId>) {
        let Some((copies, entry)) = self.copies(store).and_then(|copies| copies.entry().map(|entry| (copies, entry))) else {
            return;
        };
        for table in tables.into_iter().filter(|table| entry.tables.iter().any(|wanted| wanted.id == **table)) {
            copies.doubt(table);
        }
    }

    /// Whether a copy is loaded and follows its feed now. Cheap: it is asked for every table of every plan.
    pub fn offered(&self, store: &StoreName, table: &TableId) -> bool {
        !self.is_empty() && self.stores.load().get(store).is_some_and(|copies| copies.has(table))
    }

    /// Whether a rule is kept: no test has it left out.
    pub fn keeps(&self, rule: Rule) -> bool {
        rule.is_kept(self.settings.without)
    }

    /// Whether no table is wanted.
    pub fn is_empty(&self) -> bool {
        !self.is_wanted.load(Ordering::Acquire)
    }

    /// Whether tables of a store are wanted, so that it matters what a session has written and seen there.
    pub fn wants(&self, store: &StoreName) -> bool {
        !self.is_empty() && self.stores.load().get(store).is_some_and(|copies| copies.is_wanted())
    }

    /// The results of queries that are kept.
    pub fn results(&self) -> &Arc<Results> {
        &self.results
    }

    /// Whether it matters what a session has seen of a store: it is followed, so that here or on another instance there may be copies of it.
    pub fn notes(&self, store: &StoreName) -> bool {
        self.wants(store) || self.feeds.hub(store).is_some()
    }

    /// Whether any store is followed, or anything is cached.
    pub fn has_feeds(&self) -> bool {
        !self.is_empty() || self.feeds.are_any()
    }

    /// How every copy stands, by store and table.
    pub fn shown(&self) -> Vec<ShownCopy> {
        self.stores.load().values().flat_map(|copies| copies.shown()).collect()
    }

    /// What the auditor has found of every table that is wanted, by store and table.
    pub fn audits(&self) -> Vec<ShownAudit> {
        self.stores.load().values().flat_map(|copies| copies.audited()).collect()
    }

    /// Numbers of copies and of their reads.
    pub fn families(&self) -> Vec<Family> {
        let mut all = metrics::families(&self.stores.load(), &self.memory);
        all.extend(self.results.families());
        all
    }

    /// The bounds.
    pub fn settings(&self) -> &CacheSettings {
        &self.settings
    }

    /// A read of a table that may be read from a copy went to the store.
    pub fn fell_through(&self, store: &StoreName, table: &TableId) {
        if let Some(copies) = self.copies(store) {
            copies.stands.fell_through(table);
        }
    }

    fn copies(&self, store: &StoreName) -> Option<Arc<StoreCopies>> {
        self.stores.load().get(store).cloned()
    }

    /// Says how much a copy takes.
    fn weigh(&self, store: &StoreName, table: &TableId, bytes: usize) {
        self.memory.set(store, table, bytes);
        self.relieve();
    }

    /// Where copies are more than they may be, the largest one goes.
    fn relieve(&self) {
        while let Some((store, table)) = self.memory.take_excess() {
            if let Some(copies) = self.copies(&store) {
                copies.ask_demotion(&table);
            }
        }
    }
}
