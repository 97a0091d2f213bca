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
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use moka::sync::Cache;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::serve::{Consistency, Wants};
use crate::changes::{Feeds, State};
use crate::stores::position::{Coverage, Position};
use crate::stores::schema::{TableId, TableKind};
use crate::stores::{Branch, Connector, StoreName, Table};
use crate::task::TaskSet;
use crate::telemetry::Family;
use ring::Unproven;
use tally::Tally;
use track::{Mark, Track, Version};

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

/// States of stores that a query is run over, so that its result can be kept.
#[derive(Debug)]
pub struct Fill {
    began: Instant,
    parts: Vec<Part>,
}

#[derive(Debug)]
struct Part {
    track: Arc<Track>,
    connector: Arc<dyn Connector>,
    tables: Vec<TableId>,
    history: u64,
    version: Version,
    branch: Option<Arc<dyn Branch>>,
    /// When the store stops showing the state.
    ends: Option<Instant>,
}

impl Fill {
    /// Through what each store is to be read that shows a state of its own.
    pub fn branches(&self) -> BTreeMap<StoreName, Arc<dyn Branch>> {
        let shown = self.parts.iter().filter_map(|part| Some((part.connector.name().clone(), Arc::clone(part.branch.as_ref()?))));
        shown.collect()
    }
}

/// All results that are kept.
pub struct Results {
    feeds: Arc<Feeds>,
    settings: ResultSettings,
    kept: Cache<Key, Arc<Entry>>,
    tracks: Mutex<BTreeMap<StoreName, Arc<Track>>>,
    /// Whether there are any.
    is_used: AtomicBool,
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
        let (grown, is_used) = (watch::channel(0).0, AtomicBool::new(false));
        Arc::new(Self { feeds, settings, kept, tracks, is_used, grown, flights, tally: Tally::default() })
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

    /// Whether results of a store are kept, so that it matters what a session has seen there.
    pub fn tracks_store(&self, store: &StoreName) -> bool {
        self.is_used() && self.tracks().contains_key(store)
    }

    /// Whether results of any store are.
    pub fn is_used(&self) -> bool {
        self.is_used.load(Ordering::Acquire)
    }

    /// Most bytes of one result.
    pub fn result_bytes_max(&self) -> usize {
        usize::try_from(self.settings.memory_bytes).unwrap_or(usize::MAX) / SHARE
    }

    /// Forgets all results.
    pub fn clear(&self) {
        self.kept.invalidate_all();
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
            self.is_used.store(true, Ordering::Release);
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

    /// The rows that are kept under a key, where a read may be given them.
    pub async fn find(&self, key: &Key, wants: &Wants) -> Found {
        let Some(entry) = self.kept.get(key) else {
            self.tally.missed("absent");
            return Found::Nothing;
        };
        let limit = tokio::time::Instant::now() + self.settings.wait;
        let limit = wants.deadline.map_or(limit, |deadline| limit.min(deadline));
        match self.judge(&entry, wants, limit).await {
            Ok(()) => {
                self.tally.hits.add(1);
                Found::Rows(entry.rows.clone())
            }
            Err(lack) => {
                self.tally.missed(lack.word());
                if lack.is_of_entry() {
                    self.kept.invalidate(key);
                    return Found::Nothing;
                }
                Found::Unfit(lack.reason())
            }
        }
    }

    async fn judge(&self, entry: &Entry, wants: &Wants, limit: tokio::time::Instant) -> Result<(), Lack> {
        if wants.consistency == Consistency::Store {
            return Err(Lack::NotAsked);
        }
        if entry.until.is_some_and(|until| Instant::now() >= until) {
            return Err(Lack::Changed);
        }
        let mut connectors = Vec::with_capacity(entry.stores.len());
        for standing in &entry.stores {
            let connector = standing.connector.upgrade().ok_or(Lack::Changed)?;
            self.check(standing, &connector)?;
            Reach { results: self, standing, connector: &connector, wants, limit }.judge().await?;
            connectors.push(connector);
        }
        // What was looked at first may have changed while others were waited for.
        for (standing, connector) in entry.stores.iter().zip(&connectors) {
            self.check(standing, connector)?;
        }
        if wants.consistency != Consistency::Eventual {
            for (standing, connector) in entry.stores.iter().zip(&connectors) {
                // A copy that is read behind this must not be older.
                wants.session.raise_by(connector.as_ref(), standing.bound.clone());
            }
        }
        Ok(())
    }

    /// Whether nothing is known to have happened since.
    fn check(&self, standing: &Standing, connector: &Arc<dyn Connector>) -> Result<(), Lack> {
        if !standing.track.is_current(&standing.mark) || !self.feeds.runs_over(connector.name(), connector) {
            return Err(Lack::Changed);
        }
        let is_streaming = self.feeds.state(connector.name()) == State::Streaming;
        if is_streaming { Ok(()) } else { Err(Lack::NotStreaming) }
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

    /// Opens states of the stores to run a query over.
    ///
    /// # Errors
    /// A result of these tables cannot be kept now, or at all.
    pub async fn begin(&self, inputs: &[Input]) -> Result<Fill, Rejected> {
        if inputs.iter().all(|input| input.tables.is_empty()) {
            return Err(Rejected::new("no-tables", "it reads no table"));
        }
        let mut tracks = Vec::with_capacity(inputs.len());
        for input in inputs {
            let store = input.connector.name();
            input.tables.iter().try_for_each(|table| self.check_followed(store, table))?;
            let track = self.track(store);
            if !track.want(input.tables.iter().map(|table| &table.id)) {
                return Err(Rejected::new("too-many", format!("too many tables of store \"{store}\" are followed for results")));
            }
            tracks.push(track);
        }
        let mut parts = Vec::with_capacity(inputs.len());
        for (input, track) in inputs.iter().zip(tracks) {
            let tables: Vec<TableId> = input.tables.iter().map(|table| table.id.clone()).collect();
            let ready = tokio::time::timeout(self.settings.ready, ready(&track, &tables)).await;
            let not = |_late| Rejected::new("not-ready", format!("tables of store \"{}\" are not followed yet", track.store));
            parts.push((input, ready.map_err(not)?, tables, track));
        }
        // Behind the moment at which all of them are followed.
        let began = Instant::now();
        let mut opened = Vec::with_capacity(parts.len());
        for (input, history, tables, track) in parts {
            opened.push(self.open(input, history, tables, track).await?);
        }
        Ok(Fill { began, parts: opened })
    }

    fn check_followed(&self, store: &StoreName, table: &Table) -> Result<(), Rejected> {
        let rejected = |reason: String| Err(Rejected::new("not-followed", format!("table \"{}\" {reason}", table.id.name)));
        if !matches!(table.kind, TableKind::Table | TableKind::Collection) {
            return rejected("is a view, whose changes no store tells".to_owned());
        }
        match self.feeds.subscribed_from(store, &table.id) {
            Ok(shape) => match &shape.unseen {
                Some(unseen) => rejected(format!("may change without an event: {unseen}")),
                None => Ok(()),
            },
            Err(not) => rejected(format!("is not followed: {}", not.reason)),
        }
    }

    async fn open(&self, input: &Input, history: u64, tables: Vec<TableId>, track: Arc<Track>) -> Result<Part, Rejected> {
        let connector = Arc::clone(&input.connector);
        let store = connector.name().clone();
        if !self.feeds.runs_over(&store, &connector) {
            return Err(Rejected::new("not-ready", format!("the feed of store \"{store}\" has not begun")));
        }
        let state = match connector.capture() {
            Some(capture) => match capture.state(&input.tables).await {
                Ok(state) => state.map(|state| (capture, state)),
                Err(error) => return Err(Rejected::new("no-state", error.to_string())),
            },
            None => None,
        };
        Ok(match state {
            Some((capture, state)) => {
                let version = Version::Exact { capture, version: state.version, look_back: state.look_back };
                Part { track, connector, tables, history, version, branch: Some(state.branch), ends: Some(state.ends) }
            }
            None => {
                let version = Version::Quiet(self.settings.quiet);
                Part { track, connector, tables, history, version, branch: None, ends: None }
            }
        })
    }

    /// Keeps the rows of a query that has read nothing but a fill.
    ///
    /// # Errors
    /// It is not proven that they have everything that happened, or they are too large.
    pub async fn keep(&self, key: &Key, fill: Fill, rows: Rows) -> Result<(), Rejected> {
        let bytes = rows.batches.iter().map(RecordBatch::get_array_memory_size).sum::<usize>();
        let bytes = bytes.saturating_add(key.0.bytes()).saturating_add(ENTRY_BYTES);
        if bytes > self.result_bytes_max() {
            return Err(too_large(self.result_bytes_max()));
        }
        let Fill { began, parts } = fill;
        if parts.is_empty() {
            return Err(Rejected::new("no-tables", "it reads no table"));
        }
        let is_quiet = parts.iter().any(|part| part.branch.is_none());
        let mut stores = Vec::with_capacity(parts.len());
        for mut part in parts {
            if part.ends.is_some_and(|ends| Instant::now() >= ends) {
                return Err(Rejected::new("no-state", "its store did not show one state for as long as reading it took"));
            }
            // The store need not show it any more.
            part.branch = None;
            let bound = self.bound(&part.connector).await?;
            stores.push((part, bound));
        }
        let mut standings = Vec::with_capacity(stores.len());
        for (part, bound) in stores {
            let Part { track, connector, tables, history, version, .. } = part;
            let mark = track.mark(&tables, (began, history), &version).map_err(|unproven| unproven_of(&track.store, unproven))?;
            // In this order: whoever is not followed any more was told of in an event before.
            for table in &tables {
                if let Err(not) = self.feeds.subscribed_from(&track.store, table) {
                    return Err(Rejected::new("not-followed", not.reason));
                }
            }
            standings.push(Standing { track, connector: Arc::downgrade(&connector), mark, bound });
        }
        let until = is_quiet.then(|| began + self.settings.quiet_age);
        self.kept.insert(key.clone(), Arc::new(Entry { rows, stores: standings, until, bytes }));
        self.tally.filled.add(1);
        Ok(())
    }

    /// A position that everything is at or before that was visible until now.
    async fn bound(&self, connector: &Arc<dyn Connector>) -> Result<Position, Rejected> {
        let store = connector.name();
        let silent = || Rejected::new("no-position", format!("store \"{store}\" has not said in time where it is"));
        let follow = self.feeds.follow(store).ok_or_else(silent)?;
        let asked = connector.position(self.feeds.instance(), &follow);
        match tokio::time::timeout(self.settings.patience, asked).await {
            Ok(Ok(position)) => Ok(position),
            Ok(Err(_)) | Err(_) => Err(silent()),
        }
    }
}

/// Waits until tables are followed; gives the history that they are followed in.
async fn ready(track: &Track, tables: &[TableId]) -> u64 {
    let mut moved = track.moved();
    loop {
        moved.borrow_and_update();
        if let Some(history) = track.history_of(tables) {
            return history;
        }
        if moved.changed().await.is_err() {
            // Who waits has a limit.
            std::future::pending::<()>().await;
        }
    }
}

/// A result takes more than it may.
pub fn too_large(most: usize) -> Rejected {
    Rejected::new("too-large", format!("it takes more than {} KiB, an eighth of cache.results", most >> 10))
}

fn unproven_of(store: &StoreName, unproven: Unproven) -> Rejected {
    match unproven {
        Unproven::Unknown => {
            Rejected::new("unknown", format!("it is not known what happened in store \"{store}\" just before it was read"))
        }
        Unproven::Happened => {
            Rejected::new("changed", format!("a table of store \"{store}\" has changed while it was read, or just before"))
        }
    }
}

/// Why a result is not given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lack {
    NotAsked,
    Changed,
    NotStreaming,
    Behind,
    OtherHistory,
    TooOld,
    NoPosition,
}

impl Lack {
    /// Whether the result is good for nobody any more.
    fn is_of_entry(self) -> bool {
        self == Self::Changed
    }

    fn word(self) -> &'static str {
        match self {
            Self::NotAsked => "store",
            Self::Changed => "changed",
            Self::NotStreaming => "not-streaming",
            Self::Behind => "behind",
            Self::OtherHistory => "other-history",
            Self::TooOld => "too-old",
            Self::NoPosition => "no-position",
        }
    }

    fn reason(self) -> &'static str {
        match self {
            Self::NotAsked => "tributary.consistency is store",
            Self::Changed => "a table has changed that it was made of",
            Self::NotStreaming => "a feed of its tables is not streaming",
            Self::Behind => "not everything has been told yet that the read must see",
            Self::OtherHistory => "it is of another history than what the session has seen",
            Self::TooOld => "it may be older than tributary.max_staleness allows",
            Self::NoPosition => "a store has not said in time where it is",
        }
    }
}

/// Whether what was seen of a store has reached what a read must see.
struct Reach<'a> {
    results: &'a Results,
    standing: &'a Standing,
    connector: &'a Arc<dyn Connector>,
    wants: &'a Wants,
    limit: tokio::time::Instant,
}

impl Reach<'_> {
    async fn judge(&self) -> Result<(), Lack> {
        let Self { standing, connector, wants, .. } = self;
        let (track, store) = (&standing.track, connector.name());
        let is_bound = wants.consistency != Consistency::Eventual;
        let mark = if is_bound { wants.session.unsettled_at(store) } else { None };
        let mut probe = None;
        if wants.consistency == Consistency::Strong || mark.is_some() {
            let (began, position) = self.ask().await?;
            if let Some(mark) = mark {
                wants.session.settle(connector.as_ref(), mark, &position);
            }
            probe = Some((began, position));
        }
        let mut moved = track.moved();
        loop {
            moved.borrow_and_update();
            let lack = match self.reached(is_bound, probe.as_ref()) {
                Ok(()) => match wants.max_staleness.filter(|most| track.age().is_none_or(|age| age > *most)) {
                    None => return Ok(()),
                    Some(_) if tokio::time::Instant::now() >= self.limit => return Err(Lack::TooOld),
                    Some(_) => {
                        probe = Some(self.ask().await?);
                        continue;
                    }
                },
                Err(lack) => lack,
            };
            self.results.check(standing, connector)?;
            // Cancel-safe, both of them.
            tokio::select! {
                changed = moved.changed() => changed.map_err(|_gone| lack)?,
                () = tokio::time::sleep_until(self.limit) => return Err(lack),
            }
        }
    }

    fn reached(&self, is_bound: bool, probe: Option<&(Instant, Position)>) -> Result<(), Lack> {
        if !is_bound && probe.is_none() {
            return Ok(());
        }
        let applied = self.standing.track.applied().ok_or(Lack::Behind)?;
        let connector = self.connector.as_ref();
        let of = |coverage| match coverage {
            Coverage::Covered => Ok(()),
            Coverage::Behind => Err(Lack::Behind),
            Coverage::Incomparable => Err(Lack::OtherHistory),
        };
        if is_bound {
            of(self.wants.session.coverage(connector, &applied))?;
        }
        if let Some((began, position)) = probe {
            of(connector.covers(&applied, position))?;
            self.standing.track.refresh(*began);
        }
        Ok(())
    }

    /// Asks the store where it is.
    async fn ask(&self) -> Result<(Instant, Position), Lack> {
        let feeds = &self.results.feeds;
        let follow = feeds.follow(self.connector.name()).ok_or(Lack::NotStreaming)?;
        let began = Instant::now();
        let asked = self.connector.position(feeds.instance(), &follow);
        match tokio::time::timeout_at(self.limit, asked).await {
            Ok(Ok(position)) => Ok((began, position)),
            Ok(Err(_)) | Err(_) => Err(Lack::NoPosition),
        }
    }
}
