//! Materialized views: the rows of queries over tables of any stores, kept in memory and up to date.
//!
//! ```text
//! catalog (a view) ── federation/kept_query ── follow (one task a view): how is it kept?
//!   every table has a copy:  cache: Sets (one set a store) ─┬─ maintain: differences → engine → output      ──> serve: State, swapped as one
//!                                                           ├─ by_key: the query for keys that changed → output
//!                                                           └─ recompute: the query over the sets → output  ─┘
//!   else: REFRESH → recompute: the query over the stores → output ─────────────────────────────────────────┘
//! a statement's Wants → serve: decide → ViewReading (a state, pinned), or the view's own query
//! ```
//!
//! **Invariants:** a state is the query's answer over one set of copies of each store, with the positions and ages of those sets, so that
//! no transaction of a store is seen in part; a state is read under a guarantee only where its sets are those that the guarantee allows
//! for each store, or later ones of the same histories; where that is not so the view's own query is the answer. Deliberately absent: the
//! text of views and who may read them (`catalog`, `session`), an order among stores, files.

mod by_key;
pub mod engine;
mod follow;
mod maintain;
mod memory;
mod metrics;
mod order;
pub mod output;
mod recompute;
mod refusal;
mod serve;
mod status;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::cache::Caches;
use crate::catalog::Catalog;
use crate::error::{Diagnosis, sqlstate};
use crate::federation::engine::Engine;
use crate::stores::StoreName;
use crate::stores::schema::TableId;
use crate::task::OwnedTask;
use crate::telemetry::Family;
use memory::Memory;
use serve::Kept;

pub use refusal::{NotPopulated, StaleView};
pub use serve::{ViewDecision, ViewReading, ViewStore};
pub use status::{ShownView, Upkeep, ViewState};

/// Most REFRESHes of one view that wait for their turn; further ones wait to be let in.
const REQUESTS_MAX: usize = 8;

/// Bounds of all views.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViewSettings {
    /// Most bytes of the rows of all views, with what keeps them up to date.
    pub memory_bytes: u64,
    /// How long a read waits for a view before its query is run.
    pub wait: Duration,
    /// For how long changes are gathered before the query of a view is run for them.
    pub debounce: Duration,
}

impl Default for ViewSettings {
    fn default() -> Self {
        Self { memory_bytes: 256 << 20, wait: Duration::from_millis(30), debounce: Duration::from_millis(100) }
    }
}

/// How fast things go; shorter in tests.
#[derive(Debug, Clone, Copy)]
struct Pace {
    /// The first wait before a view is built again, and the longest.
    backoff: (Duration, Duration),
    /// How long it may take until the tables of a new view are asked to be cached.
    settle: Duration,
    /// How often it is looked whether tables without copies can be followed.
    poll: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            backoff: (Duration::from_secs(1), Duration::from_secs(60)),
            settle: Duration::from_secs(3),
            poll: Duration::from_millis(200),
        }
    }
}

/// The name of a view.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ViewName {
    /// Its schema.
    pub schema: String,
    /// Its own name.
    pub name: String,
}

impl fmt::Display for ViewName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.name)
    }
}

/// An index that a client has made on a view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViewIndex {
    /// Its name.
    pub name: String,
    /// The columns, as places among those of the view, from 0.
    pub columns: Vec<usize>,
    /// Whether no two rows may have the same values in all of them, as far as none of them is NULL.
    pub is_unique: bool,
}

/// A materialized view as it is in the catalog. Its query is that of the relation of this name in the catalog's snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViewEntry {
    /// Its name.
    pub name: ViewName,
    /// With whose rights it reads.
    pub owner: String,
    /// Whether it was filled once, and not emptied since (`WITH NO DATA`).
    pub with_data: bool,
    /// Its indexes.
    pub indexes: Vec<ViewIndex>,
}

/// What came of a REFRESH.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refreshed {
    /// How many rows the view has. `None`: it is built by itself as soon as all its tables have copies, and its query is run until then.
    pub rows: Option<u64>,
    /// How many rows were not those of its query, where it was asked to verify and there was something to compare; also `None` where they
    /// were others and its query may give others each time (`order`).
    pub differed: Option<u64>,
    /// What it waits for, as a clause.
    pub waits: Option<String>,
}

/// A REFRESH on its way to the task of its view.
#[derive(Debug)]
struct Request {
    verify: bool,
    answer: oneshot::Sender<Result<Refreshed, Diagnosis>>,
}

/// What views stand on.
#[derive(Debug, Clone)]
struct Ground {
    caches: Arc<Caches>,
    engine: Engine,
    catalog: Arc<Catalog>,
}

/// All materialized views.
pub struct Views {
    /// `None`: there are never any.
    ground: Option<Ground>,
    settings: ViewSettings,
    pace: Pace,
    memory: Arc<Memory>,
    kept: ArcSwap<BTreeMap<ViewName, Arc<Kept>>>,
    /// Held while they are replaced.
    replacing: Mutex<()>,
    /// Raised when there are others.
    grown: watch::Sender<u64>,
    /// Raised when they want copies of other tables.
    wanted: watch::Sender<u64>,
}

impl fmt::Debug for Views {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kept = self.kept.load();
        f.debug_struct("Views").field("settings", &self.settings).field("kept", &kept.keys()).finish_non_exhaustive()
    }
}

impl Views {
    /// No views yet, which will be kept up to date with these copies and be planned over the snapshots of this catalog.
    pub fn new(caches: Arc<Caches>, engine: Engine, catalog: Arc<Catalog>, settings: ViewSettings) -> Arc<Self> {
        Self::paced(Some(Ground { caches, engine, catalog }), settings, Pace::default())
    }

    /// Keeps nothing.
    pub fn none() -> Arc<Self> {
        Self::paced(None, ViewSettings::default(), Pace::default())
    }

    fn paced(ground: Option<Ground>, settings: ViewSettings, pace: Pace) -> Arc<Self> {
        Arc::new(Self {
            ground,
            settings,
            pace,
            memory: Arc::default(),
            kept: ArcSwap::default(),
            replacing: Mutex::new(()),
            grown: watch::channel(0).0,
            wanted: watch::channel(0).0,
        })
    }

    /// Keeps the views until `stop`. When it ends, or is dropped, the queries of views are run.
    pub fn run(self: &Arc<Self>, stop: CancellationToken) -> impl Future<Output = ()> + Send + 'static + use<> {
        let views = Arc::clone(self);
        async move { views.follow_all(stop).await }
    }

    async fn follow_all(self: Arc<Self>, stop: CancellationToken) {
        let mut grown = self.grown.subscribe();
        let mut tasks: BTreeMap<ViewName, (Arc<Kept>, OwnedTask<()>)> = BTreeMap::new();
        loop {
            grown.borrow_and_update();
            let kept = self.kept.load_full();
            // Whatever is under way for one that is gone ends here.
            tasks.retain(|name, (of, _)| kept.get(name).is_some_and(|now| Arc::ptr_eq(now, of)));
            for (name, kept) in kept.iter() {
                if !tasks.contains_key(name)
                    && let Some(keeper) = follow::Keeper::of(&self, kept)
                {
                    tasks.insert(name.clone(), (Arc::clone(kept), OwnedTask::spawn(Box::pin(keeper.run(stop.clone())))));
                }
            }
            // Cancel-safe, both of them.
            tokio::select! {
                () = stop.cancelled() => break,
                changed = grown.changed() => if changed.is_err() { break },
            }
        }
        for (_, (_, task)) in tasks {
            task.join().await;
        }
    }

    /// These are the views from now on. One that is as it was keeps its rows; one that was emptied loses them, and one that is new and has
    /// data is filled.
    pub fn replace(&self, all: Vec<ViewEntry>) {
        let _alone = self.replacing.lock().unwrap_or_else(PoisonError::into_inner);
        let known = self.kept.load_full();
        let mut kept = BTreeMap::new();
        for entry in all {
            let name = entry.name.clone();
            let one = match known.get(&name) {
                Some(one) => {
                    one.ask(entry);
                    Arc::clone(one)
                }
                None => Kept::new(entry, &self.memory),
            };
            kept.insert(name, one);
        }
        let gone: Vec<&Arc<Kept>> = known.values().filter(|one| !kept.contains_key(&one.name)).collect();
        let has_others = !gone.is_empty() || kept.len() != known.len();
        for one in gone {
            one.withdraw();
            self.memory.remove(&one.name);
        }
        if has_others {
            self.kept.store(Arc::new(kept));
            self.grown.send_modify(|count| *count += 1);
        }
        // Also where one was emptied, or is not any more.
        self.tell_wanted();
    }

    fn tell_wanted(&self) {
        self.wanted.send_modify(|count| *count += 1);
    }

    /// The tables that views are kept up to date with, and that are to be cached for that.
    pub fn inputs(&self) -> BTreeMap<StoreName, BTreeSet<TableId>> {
        let mut inputs: BTreeMap<StoreName, BTreeSet<TableId>> = BTreeMap::new();
        for kept in self.kept.load().values().filter(|kept| kept.is_populated()) {
            let Some(how) = kept.how() else { continue };
            for (store, tables) in &how.wanted {
                inputs.entry(store.clone()).or_default().extend(tables.iter().cloned());
            }
        }
        inputs
    }

    /// Raised when [`Views::inputs`] are others.
    pub fn wanted(&self) -> watch::Receiver<u64> {
        self.wanted.subscribe()
    }

    /// Fills a view anew: from copies of all its tables, where it is kept up to date with those, else from the stores. With `verify` its
    /// rows are first compared with those of its query over the very sets that they were made of, and stay where they are the same.
    ///
    /// # Errors
    /// 42P01 where there is no such view; 23505 where its rows break a unique index; what its query fails with; 53200 for a view that is
    /// too large.
    pub async fn refresh(&self, name: &ViewName, verify: bool) -> Result<Refreshed, Diagnosis> {
        let Some(kept) = self.kept.load().get(name).cloned() else {
            let message = format!("relation \"{name}\" does not exist");
            return Err(Diagnosis::new(sqlstate::UNDEFINED_TABLE, message));
        };
        let ended = || {
            let message = format!("materialized view \"{}\" is not kept any more", name.name);
            Diagnosis::new(sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE, message)
        };
        let (answer, answered) = oneshot::channel();
        kept.requests.send(Request { verify, answer }).await.map_err(|_ended| ended())?;
        answered.await.map_err(|_ended| ended())?
    }

    /// The rows of a view as they are, whatever a guarantee asks for.
    pub fn reading(&self, name: &ViewName) -> Option<Arc<ViewReading>> {
        let state = self.kept.load().get(name)?.state()?;
        Some(Arc::new(ViewReading::of(state)))
    }

    /// How a view is kept; `None` where that is not known yet.
    pub fn upkeep(&self, name: &ViewName) -> Option<Upkeep> {
        Some(self.kept.load().get(name)?.how()?.upkeep.clone())
    }

    /// Raised with every state of a view that has other rows than the one before. `None`: there is no such view.
    pub fn moved(&self, name: &ViewName) -> Option<watch::Receiver<u64>> {
        Some(self.kept.load().get(name)?.moved())
    }

    /// How every view stands.
    pub fn shown(&self) -> Vec<ShownView> {
        self.kept.load().values().map(|kept| kept.shown()).collect()
    }

    /// Numbers of views and of their reads.
    pub fn families(&self) -> Vec<Family> {
        let memory = (self.memory.total(), self.settings.memory_bytes);
        metrics::families(&self.kept.load(), memory)
    }

    /// Whether there is no view.
    pub fn is_empty(&self) -> bool {
        self.kept.load().is_empty()
    }

    /// The bounds.
    pub fn settings(&self) -> &ViewSettings {
        &self.settings
    }

    fn kept(&self, name: &ViewName) -> Option<Arc<Kept>> {
        self.kept.load().get(name).cloned()
    }
}
