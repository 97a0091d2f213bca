//! Results of queries that are kept until a table changes that they were made of.
//!
//! ```text
//! changes/hub ── track (one task a store) ── ring (the events of a table) ─┬─ keep: is all of it in what was read? → an entry under a mark
//!                                                                           └─ find: has nothing happened since? is it what the read must see?
//! a query: find → its rows │ enter (one fills for all that ask) → begin (states of the stores) → the query over them → keep
//! ```
//!
//! **Invariants:** a result is kept only where it is proven to have everything that happened to its tables until then, and is given only as
//! long as nothing has happened since; what cannot be proven is read in the stores. A result of no table is not kept. Deliberately absent:
//! plans and roles (a key holds both, whatever it is), and results of writers.

mod fill;
mod read;
mod ring;
mod tally;
#[cfg(test)]
mod tests;
mod track;

use std::any::Any;
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use moka::sync::Cache;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::cache::Rule;
use crate::changes::Feeds;
use crate::stores::position::Position;
use crate::stores::schema::TableId;
use crate::stores::{Connector, StoreName, Table};
use crate::task::TaskSet;
use crate::telemetry::Family;
use tally::Tally;
use track::{Mark, Track};

pub use fill::{Fill, too_large};

/// How long tasks may take to end.
const GRACE: Duration = Duration::from_secs(5);
/// What an entry takes besides its rows and its key, about.
const ENTRY_BYTES: usize = 1 << 10;
/// A result that takes more than this part of all is not kept.
const SHARE: usize = 8;

/// Bounds of all results.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResultSettings {
    /// Most bytes of all that are kept.
    pub memory_bytes: u64,
    /// How long a read waits for the events that it must see before it goes to the stores.
    pub wait: Duration,
    /// How long a query waits for tables to be followed that were not followed before.
    pub ready: Duration,
    /// Where a store does not tell which transactions it has shown: for so long before it was read and meanwhile nothing may have happened.
    pub quiet: Duration,
    /// For how long the result of such a store is kept at most.
    pub quiet_age: Duration,
    /// Most time for a store to say where it is.
    pub patience: Duration,
    /// The rule that a test has it leave out.
    pub without: Option<Rule>,
}

impl Default for ResultSettings {
    fn default() -> Self {
        Self {
            memory_bytes: 64 << 20,
            wait: Duration::from_millis(30),
            ready: Duration::from_secs(1),
            quiet: Duration::from_secs(1),
            quiet_age: Duration::from_secs(10),
            patience: Duration::from_secs(10),
            without: None,
        }
    }
}

/// What results are kept under: everything that they depend on besides the rows of tables.
pub trait Keyed: Any + fmt::Debug + Send + Sync {
    /// A number that equal keys share.
    fn digest(&self) -> u64;
    /// Whether both are the same.
    fn is(&self, other: &dyn Keyed) -> bool;
    /// How much memory it takes, about.
    fn bytes(&self) -> usize;
}

/// A key.
#[derive(Debug, Clone)]
pub struct Key(Arc<dyn Keyed>);

impl Key {
    /// A key of something.
    pub fn of(keyed: impl Keyed) -> Self {
        Self(Arc::new(keyed))
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.0.is(other.0.as_ref())
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0.digest());
    }
}

/// Tables of one store that a query reads.
#[derive(Debug, Clone)]
pub struct Input {
    /// The store.
    pub connector: Arc<dyn Connector>,
    /// Its tables, each once.
    pub tables: Vec<Arc<Table>>,
}

/// A result is not kept, for this reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// A word of a fixed list, for metrics.
    pub word: &'static str,
    /// Why, as a clause.
    pub reason: Cow<'static, str>,
}

impl Rejected {
    /// For a reason.
    pub fn new(word: &'static str, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { word, reason: reason.into() }
    }
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

/// Where a result stands in one store.
#[derive(Debug)]
struct Standing {
    track: Arc<Track>,
    connector: Weak<dyn Connector>,
    mark: Mark,
    /// Everything in it is at or before this.
    bound: Position,
}

/// A result that is kept.
#[derive(Debug)]
struct Entry {
    rows: Rows,
    stores: Vec<Standing>,
    /// Until when it is good at most.
    until: Option<Instant>,
    bytes: usize,
}

/// The rows of a result.
#[derive(Debug, Clone)]
pub struct Rows {
    /// Their columns.
    pub schema: SchemaRef,
    /// The rows.
    pub batches: Arc<[RecordBatch]>,
}

/// What was found of a query.
#[derive(Debug)]
pub enum Found {
    /// Its rows.
    Rows(Rows),
    /// Nothing that is good any more: it may be made again.
    Nothing,
    /// Something that the read must not be given, for this reason: it reads the stores.
    Unfit(&'static str),
}

/// Who makes the result of a query.
#[derive(Debug)]
pub enum Turn {
    /// Whoever asked. The others wait until this is dropped.
    Own(Flight),
    /// Somebody else, until this is closed.
    Other(watch::Receiver<()>),
}

/// The making of a result, for which others wait.
#[derive(Debug)]
pub struct Flight {
    results: Arc<Results>,
    key: Key,
    _ends: watch::Sender<()>,
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.results.flights().remove(&self.key);
    }
}

/// All results that are kept.
pub struct Results {
    feeds: Arc<Feeds>,
    settings: ResultSettings,
    kept: Cache<Key, Arc<Entry>>,
    tracks: Mutex<BTreeMap<StoreName, Arc<Track>>>,
    /// Raised with every store that nobody follows yet.
    grown: watch::Sender<u64>,
    flights: Mutex<HashMap<Key, watch::Receiver<()>>>,
    tally: Tally,
}

impl fmt::Debug for Results {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Results").field("settings", &self.settings).field("kept", &self.kept.entry_count()).finish_non_exhaustive()
    }
}

impl Results {
    /// None yet, of tables whose events these feeds tell.
    pub fn new(feeds: Arc<Feeds>, settings: ResultSettings) -> Arc<Self> {
        let weigh = |_key: &Key, entry: &Arc<Entry>| u32::try_from(entry.bytes).unwrap_or(u32::MAX);
        let kept = Cache::builder().max_capacity(settings.memory_bytes).weigher(weigh).build();
        let (tracks, flights) = (Mutex::default(), Mutex::default());
        let grown = watch::channel(0).0;
        Arc::new(Self { feeds, settings, kept, tracks, grown, flights, tally: Tally::default() })
    }

    fn tracks(&self) -> MutexGuard<'_, BTreeMap<StoreName, Arc<Track>>> {
        // What a panic left behind are whole entries.
        self.tracks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn flights(&self) -> MutexGuard<'_, HashMap<Key, watch::Receiver<()>>> {
        // The same.
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Follows the tables of results until `stop`.
    pub fn run(self: &Arc<Self>, stop: CancellationToken) -> impl Future<Output = ()> + Send + 'static + use<> {
        let results = Arc::clone(self);
        async move {
            let (mut tasks, mut grown) = (TaskSet::new(), results.grown.subscribe());
            let mut followed: Vec<StoreName> = Vec::new();
            loop {
                grown.borrow_and_update();
                let all: Vec<Arc<Track>> = results.tracks().values().cloned().collect();
                for track in all {
                    if !followed.contains(&track.store) {
                        followed.push(track.store.clone());
                        tasks.spawn("results", track.run(Arc::clone(&results.feeds), tasks.token()));
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
    }

    /// Most bytes of one result.
    pub fn result_bytes_max(&self) -> usize {
        usize::try_from(self.settings.memory_bytes).unwrap_or(usize::MAX) / SHARE
    }

    /// Forgets all results.
    pub fn clear(&self) {
        self.kept.invalidate_all();
    }

    /// Tables of a store are others than they were, whatever they look like: no result of them is given from here on.
    pub fn doubt<'t>(&self, store: &StoreName, tables: impl IntoIterator<Item = &'t TableId>) {
        let track = self.tracks().get(store).cloned();
        if let Some(track) = track {
            track.doubt(tables);
        }
    }

    /// Numbers of results.
    pub fn families(&self) -> Vec<Family> {
        self.kept.run_pending_tasks();
        self.tally.families(self.kept.entry_count(), self.kept.weighted_size(), self.settings.memory_bytes)
    }

    /// Takes note of a result that was not kept.
    pub fn rejected(&self, rejected: &Rejected) {
        self.tally.rejected(rejected.word);
    }

    fn track(&self, store: &StoreName) -> Arc<Track> {
        let (track, is_new) = {
            let mut tracks = self.tracks();
            let before = tracks.len();
            let track = Arc::clone(tracks.entry(store.clone()).or_insert_with(|| Track::new(store)));
            (track, tracks.len() > before)
        };
        if is_new {
            self.grown.send_modify(|count| *count += 1);
        }
        track
    }

    /// Begins to follow tables, of which results are going to be asked for.
    pub fn follow(&self, tables: &BTreeMap<StoreName, Vec<Arc<Table>>>) {
        for (store, tables) in tables {
            // Where there would be too many it is told to who asks.
            self.track(store).want(tables.iter().map(|table| &table.id));
        }
    }

    /// Makes the result under a key, or waits for who does.
    pub fn enter(self: &Arc<Self>, key: &Key) -> Turn {
        let mut flights = self.flights();
        if let Some(other) = flights.get(key).filter(|other| other.has_changed().is_ok()) {
            return Turn::Other(other.clone());
        }
        let (ends, waits) = watch::channel(());
        flights.insert(key.clone(), waits);
        Turn::Own(Flight { results: Arc::clone(self), key: key.clone(), _ends: ends })
    }
}
