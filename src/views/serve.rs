//! One view as its readers see it, and one decision for a view and statement: its rows, or its query.
//!
//! **Invariants:** rows are given only where for each store the set that they were made of is one that `cache` would give the statement,
//! or has the same rows of all the tables, or is a later one of the same history; a read waits no longer than it may; a view that was never
//! filled answers nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use futures::future::join_all;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::memory::Memory;
use super::metrics::Tally;
use super::refusal::{NotPopulated, StaleView};
use super::status::{ShownView, Stand, Upkeep, ViewState};
use super::{REQUESTS_MAX, Request, ViewEntry, ViewName, Views};
use crate::cache::{Caches, Consistency, Decision, OnStale, Reading, Rule, Stale, TableVersion, Wants};
use crate::changes::Place;
use crate::error::Diagnosis;
use crate::stores::StoreName;
use crate::stores::position::Position;
use crate::stores::schema::TableId;

/// How long a read waits for a view that it was told to wait for, where its statement has no limit.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// Tables by their stores.
pub(super) type Inputs = BTreeMap<StoreName, BTreeSet<TableId>>;

/// The rows of a view, and what they were made of.
#[derive(Debug)]
pub(super) struct State {
    pub(super) rows: Arc<TableVersion>,
    /// How many of the columns are the view's; what is behind them only tells its rows apart.
    pub(super) columns: usize,
    /// One set for each store; none where the rows came from the stores.
    pub(super) readings: BTreeMap<StoreName, Arc<Reading>>,
    /// When the rows were asked for.
    pub(super) began: Instant,
}

/// How a view is kept, as far as its readers have to know.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct How {
    pub(super) upkeep: Upkeep,
    /// The tables that its states are made of.
    pub(super) inputs: Inputs,
    /// Those that are to be cached for it.
    pub(super) wanted: Inputs,
    /// Whether its rows are right only for sessions that show times and numbers as the server does.
    pub(super) shows: bool,
}

/// One view.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) name: ViewName,
    asked: watch::Sender<Arc<ViewEntry>>,
    pub(super) requests: mpsc::Sender<Request>,
    /// For the task of the view.
    inbox: Mutex<Option<mpsc::Receiver<Request>>>,
    state: ArcSwapOption<State>,
    how: ArcSwapOption<How>,
    /// Raised with every state.
    published: watch::Sender<u64>,
    /// Raised with every state that has other rows.
    moved: watch::Sender<u64>,
    /// The version of the catalog over which it was planned last.
    pub(super) planned: watch::Sender<u64>,
    is_populated: AtomicBool,
    stand: Mutex<Stand>,
    pub(super) tally: Tally,
    /// Of all views, where states count that are not the newest any more.
    memory: Arc<Memory>,
}

impl Kept {
    pub(super) fn new(entry: ViewEntry, memory: &Arc<Memory>) -> Arc<Self> {
        let (requests, inbox) = mpsc::channel(REQUESTS_MAX);
        let state = if entry.with_data { ViewState::Filling } else { ViewState::Empty };
        Arc::new(Self {
            name: entry.name.clone(),
            is_populated: AtomicBool::new(entry.with_data),
            asked: watch::channel(Arc::new(entry)).0,
            requests,
            inbox: Mutex::new(Some(inbox)),
            state: ArcSwapOption::empty(),
            how: ArcSwapOption::empty(),
            published: watch::channel(0).0,
            moved: watch::channel(0).0,
            planned: watch::channel(0).0,
            stand: Mutex::new(Stand::new(state)),
            tally: Tally::default(),
            memory: Arc::clone(memory),
        })
    }

    /// Its task takes this once.
    pub(super) fn take_inbox(&self) -> Option<mpsc::Receiver<Request>> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// The catalog has it so now. Emptied is what has lost its data since, and not what a REFRESH has filled that the catalog does not know of.
    pub(super) fn ask(&self, entry: ViewEntry) {
        self.asked.send_if_modified(|asked| {
            if **asked == entry {
                return false;
            }
            if asked.with_data != entry.with_data {
                self.is_populated.store(entry.with_data, Ordering::Release);
            }
            *asked = Arc::new(entry);
            true
        });
        if !self.is_populated() {
            self.withdraw();
        }
    }

    pub(super) fn asked(&self) -> watch::Receiver<Arc<ViewEntry>> {
        self.asked.subscribe()
    }

    /// Whether it was filled, and not emptied since.
    pub(super) fn is_populated(&self) -> bool {
        self.is_populated.load(Ordering::Acquire)
    }

    pub(super) fn populate(&self) {
        self.is_populated.store(true, Ordering::Release);
    }

    pub(super) fn state(&self) -> Option<Arc<State>> {
        self.state.load_full().filter(|_| self.is_populated())
    }

    pub(super) fn how(&self) -> Option<Arc<How>> {
        self.how.load_full()
    }

    /// Says how it is kept; `true` where that is news.
    pub(super) fn tell(&self, how: How) -> bool {
        let is_news = self.how.load().as_deref() != Some(&how);
        if is_news {
            self.how.store(Some(Arc::new(how)));
        }
        is_news
    }

    /// Raised with every state that has other rows.
    pub(super) fn moved(&self) -> watch::Receiver<u64> {
        self.moved.subscribe()
    }

    /// The next state. Only the task of the view calls it.
    pub(super) fn publish(&self, state: State) {
        let before = self.state.load_full();
        let replaced = before.as_ref().filter(|before| !Arc::ptr_eq(&before.rows, &state.rows));
        if let Some(before) = replaced {
            self.memory.replaced(&self.name, &before.rows, Some(&state.rows));
        }
        let has_moved = before.is_none() || replaced.is_some();
        self.state.store(Some(Arc::new(state)));
        self.published.send_modify(|count| *count += 1);
        if has_moved {
            self.moved.send_modify(|count| *count += 1);
        }
    }

    /// Its rows are not read any more.
    pub(super) fn withdraw(&self) {
        if let Some(before) = self.state.swap(None) {
            self.memory.replaced(&self.name, &before.rows, None);
            self.published.send_modify(|count| *count += 1);
        }
    }

    fn stand(&self) -> MutexGuard<'_, Stand> {
        // What a panic left behind are whole values.
        self.stand.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn stands(&self, state: ViewState, reason: Option<&str>) {
        self.stand().set(&self.name, state, reason);
    }

    /// How much it takes with what keeps it up to date.
    pub(super) fn measure(&self, bytes: u64) {
        self.stand().bytes = bytes;
    }

    pub(super) fn shown(&self) -> ShownView {
        let (state, stand) = (self.state(), self.stand().clone());
        let how = self.how();
        let readings = state.iter().flat_map(|state| state.readings.iter());
        let place = |reading: &Reading| reading.place().map(|place| place.to_string());
        ShownView {
            name: self.name.clone(),
            upkeep: how.map(|how| how.upkeep.clone()),
            state: stand.state,
            reason: stand.reason,
            rows: state.as_ref().map_or(0, |state| u64::try_from(state.rows.rows()).unwrap_or(u64::MAX)),
            bytes: stand.bytes,
            positions: readings.map(|(store, reading)| (store.clone(), place(reading))).collect(),
            staleness: state.and_then(|state| ViewReading::of(state).age()),
            served: self.tally.served.get(),
            fell_through: self.tally.fell_through.get(),
            waited: self.tally.waited.get(),
            since: stand.since,
        }
    }
}

/// What the rows of a view have of one store.
#[derive(Debug, Clone)]
pub struct ViewStore {
    /// The store.
    pub store: StoreName,
    /// Everything up to here is in it, where that is known.
    pub position: Option<Position>,
    /// The place of the last entry that is in it, where one came since its copies were loaded.
    pub place: Option<Place>,
    /// At most so old is what it shows; `None` where that is not known.
    pub age: Option<Duration>,
}

/// A state of a view, held.
#[derive(Debug)]
pub struct ViewReading {
    state: Arc<State>,
    /// For each store the set of the state, and one with the same rows or less of which more may be known: of a copy that was idle meanwhile.
    stores: BTreeMap<StoreName, (Arc<Reading>, Arc<Reading>)>,
    has_waited: bool,
}

impl ViewReading {
    /// A state, of which no more is known than its own sets say.
    pub(super) fn of(state: Arc<State>) -> Self {
        let both = |(store, reading): (&StoreName, &Arc<Reading>)| (store.clone(), (Arc::clone(reading), Arc::clone(reading)));
        let stores = state.readings.iter().map(both).collect();
        Self { state, stores, has_waited: false }
    }

    /// Its rows.
    pub fn rows(&self) -> &Arc<TableVersion> {
        &self.state.rows
    }

    /// How many of the columns of [`ViewReading::rows`] are the view's: the first ones. What is behind them only tells its rows apart.
    pub fn columns(&self) -> usize {
        self.state.columns
    }

    /// Whether it was waited for.
    pub fn has_waited(&self) -> bool {
        self.has_waited
    }

    /// What it has of each store. None: its rows came from the stores, when it was refreshed.
    pub fn stores(&self) -> Vec<ViewStore> {
        let each = |(store, (own, other)): (&StoreName, &(Arc<Reading>, Arc<Reading>))| ViewStore {
            store: store.clone(),
            position: own.position().cloned(),
            place: own.place(),
            age: known(own.age().min(other.age())),
        };
        self.stores.iter().map(each).collect()
    }

    /// At most so old is what it shows, over all stores; `None` where that is not known.
    pub fn age(&self) -> Option<Duration> {
        if self.stores.is_empty() {
            return Some(self.state.began.elapsed());
        }
        let ages = self.stores.values().map(|(own, other)| own.age().min(other.age()));
        ages.max().and_then(known)
    }
}

fn known(age: Duration) -> Option<Duration> {
    Some(age).filter(|age| *age < Duration::MAX)
}

/// From what a statement reads a view.
#[derive(Debug)]
pub enum ViewDecision {
    /// Its rows.
    Rows(Arc<ViewReading>),
    /// Its query.
    Query {
        /// Why, as a clause.
        reason: &'static str,
    },
    /// Nothing.
    Refused(Box<Diagnosis>),
}

/// Why the rows of a view are not given.
#[derive(Debug)]
enum Lack {
    NotAsked,
    ShownOtherwise,
    NotKept,
    Behind,
    TooOld,
    OnlyRefreshed,
    /// What was said of the copies of a store.
    Store(&'static str),
    Stale(Stale),
}

impl Lack {
    /// A word of a fixed list, for metrics.
    fn word(&self) -> &'static str {
        match self {
            Self::NotAsked => "store",
            Self::ShownOtherwise => "settings",
            Self::NotKept => "not-kept",
            Self::Behind => "behind",
            Self::TooOld => "too-old",
            Self::OnlyRefreshed => "only-refreshed",
            Self::Store(_) | Self::Stale(_) => "copies",
        }
    }

    /// The reason, as a clause.
    fn reason(&self) -> &'static str {
        match self {
            Self::NotAsked => "tributary.consistency is store",
            Self::ShownOtherwise => "its rows are others under the session's TimeZone, DateStyle or like settings",
            Self::NotKept => "its rows are not there now",
            Self::Behind => "its rows do not follow yet from everything that the read must see",
            Self::TooOld => "its rows are older than tributary.max_staleness allows",
            Self::OnlyRefreshed => "its rows are those of its last REFRESH",
            Self::Store(reason) => reason,
            Self::Stale(stale) => stale.reason,
        }
    }
}

/// How the set of a state stands to the one that a statement was given.
#[derive(Debug, PartialEq, Eq)]
enum Fit {
    /// All the tables are the same in both.
    Same,
    /// It has everything that the other one has.
    Later,
    /// It has less, or is of an earlier history.
    Behind,
    /// It is of a later history.
    Ahead,
}

fn fit(own: &Reading, decided: &Reading, tables: &BTreeSet<TableId>) -> Fit {
    let is_same = |table: &TableId| match (own.version(table), decided.version(table)) {
        (Some(own), Some(decided)) => Arc::ptr_eq(own, decided),
        _ => false,
    };
    if tables.iter().all(is_same) {
        return Fit::Same;
    }
    if own.history() > decided.history() {
        return Fit::Ahead;
    }
    if own.history() == decided.history() && own.number() >= decided.number() { Fit::Later } else { Fit::Behind }
}

impl Views {
    /// Decides for one view and statement.
    pub async fn decide(&self, name: &ViewName, wants: &Wants) -> ViewDecision {
        let Some((kept, ground)) = self.kept(name).zip(self.ground.as_ref()) else {
            return ViewDecision::Query { reason: "it is not kept yet" };
        };
        if !kept.is_populated() {
            return ViewDecision::Refused(Box::new(Diagnosis::of(&NotPopulated { name: name.name.clone() })));
        }
        let limit = match wants.on_stale {
            OnStale::Wait => wants.deadline.unwrap_or_else(|| Instant::now() + WAIT_MAX),
            OnStale::Store | OnStale::Error => {
                let limit = Instant::now() + self.settings.wait;
                wants.deadline.map_or(limit, |deadline| limit.min(deadline))
            }
        };
        let version = *ground.catalog.versions().borrow();
        let mut deciding = Deciding { caches: &ground.caches, kept: &kept, wants, version, limit, has_waited: false };
        let decided = deciding.decide().await;
        kept.tally.waited.add(u64::from(deciding.has_waited));
        match decided {
            Ok(reading) => {
                kept.tally.served.add(1);
                ViewDecision::Rows(Arc::new(reading))
            }
            Err(lack) => deciding.lacks(lack),
        }
    }
}

/// One decision on its way.
struct Deciding<'a> {
    caches: &'a Caches,
    kept: &'a Kept,
    wants: &'a Wants,
    /// Of the catalog.
    version: u64,
    limit: Instant,
    has_waited: bool,
}

impl Deciding<'_> {
    /// What becomes of a read for which there are no rows.
    fn lacks(&self, lack: Lack) -> ViewDecision {
        let is_refused = match lack {
            // What copies do not serve, the query reads in the store, as it was decided for those.
            Lack::NotAsked | Lack::ShownOtherwise | Lack::Store(_) => false,
            Lack::Stale(_) => true,
            // Without rows a session reads what the query gives, which is everything that it has written and seen.
            Lack::NotKept => self.wants.on_stale != OnStale::Store && self.is_strict(),
            Lack::Behind | Lack::TooOld | Lack::OnlyRefreshed => self.wants.on_stale != OnStale::Store,
        };
        if !is_refused {
            self.kept.tally.fell_through(lack.word());
            return ViewDecision::Query { reason: lack.reason() };
        }
        self.kept.tally.rejected.add(1);
        let told = match &lack {
            Lack::Stale(stale) => Diagnosis::of(stale),
            lack => {
                let age = self.kept.state().and_then(|state| ViewReading::of(state).age());
                Diagnosis::of(&StaleView { name: self.kept.name.name.clone(), reason: lack.reason(), age })
            }
        };
        ViewDecision::Refused(Box::new(told))
    }

    /// Whether the guarantee is one that the client relies on also where there are no rows.
    fn is_strict(&self) -> bool {
        matches!(self.wants.consistency, Consistency::Bounded | Consistency::Strong)
    }

    async fn decide(&mut self) -> Result<ViewReading, Lack> {
        if self.wants.consistency == Consistency::Store {
            return Err(Lack::NotAsked);
        }
        self.planned().await?;
        let Some(how) = self.kept.how() else { return Err(Lack::NotKept) };
        if how.shows && !self.wants.shows_as_server {
            return Err(Lack::ShownOtherwise);
        }
        if matches!(how.upkeep, Upkeep::Refresh { .. }) {
            return self.refreshed(&how);
        }
        let mut published = self.kept.published.subscribe();
        loop {
            let decided = self.decide_stores(&how).await?;
            loop {
                published.borrow_and_update();
                let lack = match self.kept.state() {
                    None => Lack::NotKept,
                    Some(state) => match self.judge(&state, &how, &decided) {
                        Ok(reading) => return Ok(reading),
                        // Its sets are newer than those that were decided for.
                        Err(Fit::Ahead) if Instant::now() < self.limit => break,
                        Err(_) => Lack::Behind,
                    },
                };
                self.wait(&mut published, lack).await?;
            }
        }
    }

    /// Waits until its task has planned it over the catalog of now: what stands below it may be another view than it was.
    async fn planned(&self) -> Result<(), Lack> {
        let mut planned = self.kept.planned.subscribe();
        while *planned.borrow_and_update() < self.version {
            // Cancel-safe, both of them.
            tokio::select! {
                changed = planned.changed() => if changed.is_err() { return Err(Lack::NotKept) },
                () = tokio::time::sleep_until(self.limit) => return Err(Lack::NotKept),
            }
        }
        Ok(())
    }

    /// What of the copies the statement may read, for each store.
    async fn decide_stores(&self, how: &How) -> Result<BTreeMap<StoreName, Arc<Reading>>, Lack> {
        let decisions = how.inputs.keys().map(|store| async move { (store, self.caches.decide(store, self.wants).await) });
        let mut decided = BTreeMap::new();
        for (store, decision) in join_all(decisions).await {
            match decision {
                Decision::Copy(reading) => {
                    decided.insert(store.clone(), reading);
                }
                Decision::Store { reason } => return Err(Lack::Store(reason)),
                Decision::Stale(stale) => return Err(Lack::Stale(stale)),
            }
        }
        Ok(decided)
    }

    /// The state, where its sets serve for those that were decided for.
    fn judge(&self, state: &Arc<State>, how: &How, decided: &BTreeMap<StoreName, Arc<Reading>>) -> Result<ViewReading, Fit> {
        let mut stores = BTreeMap::new();
        for (store, tables) in &how.inputs {
            let (Some(own), Some(other)) = (state.readings.get(store), decided.get(store)) else { return Err(Fit::Behind) };
            let both = match fit(own, other, tables) {
                _ if !self.caches.keeps(Rule::Follows) => (Arc::clone(own), Arc::clone(own)),
                // The newer one tells more of it.
                Fit::Same => (Arc::clone(other), Arc::clone(own)),
                Fit::Later => (Arc::clone(own), Arc::clone(other)),
                Fit::Behind
                    if self.wants.consistency == Consistency::Eventual
                        && own.history() == other.history()
                        && self.wants.max_staleness.is_none_or(|most| own.age() <= most) =>
                {
                    (Arc::clone(own), Arc::clone(own))
                }
                lack => return Err(lack),
            };
            stores.insert(store.clone(), both);
        }
        if self.wants.consistency != Consistency::Eventual {
            for (own, _) in stores.values() {
                own.seen_by(&self.wants.session);
            }
        }
        Ok(ViewReading { state: Arc::clone(state), stores, has_waited: self.has_waited })
    }

    /// The rows of a view that nothing but REFRESH keeps up to date: as old as that, which is what a client of such a view expects, but for
    /// what its session has committed since.
    fn refreshed(&self, how: &How) -> Result<ViewReading, Lack> {
        // One that follows from copies tells by its sets what it has, and not by when it was made: it came while the view was kept otherwise.
        let Some(state) = self.kept.state().filter(|state| state.readings.is_empty()) else { return Err(Lack::NotKept) };
        if self.wants.consistency == Consistency::Strong {
            return Err(Lack::OnlyRefreshed);
        }
        // What reads more than tables may read any store.
        let is_read = |store: &StoreName| how.inputs.is_empty() || how.inputs.contains_key(store);
        if self.wants.consistency != Consistency::Eventual && !self.wants.session.is_written_before(state.began, is_read) {
            return Err(Lack::OnlyRefreshed);
        }
        let reading = ViewReading::of(state);
        let is_too_old = |most: Duration| reading.age().is_none_or(|age| age > most);
        if self.wants.max_staleness.is_some_and(is_too_old) { Err(Lack::TooOld) } else { Ok(reading) }
    }

    /// Waits for the next state.
    async fn wait(&mut self, published: &mut watch::Receiver<u64>, lack: Lack) -> Result<(), Lack> {
        // Rows that are not there do not come within the time of a read.
        if matches!(lack, Lack::NotKept) && !(self.wants.on_stale == OnStale::Wait && self.is_strict()) {
            return Err(lack);
        }
        self.has_waited = true;
        // Cancel-safe, both of them.
        tokio::select! {
            changed = published.changed() => if changed.is_ok() { Ok(()) } else { Err(lack) },
            () = tokio::time::sleep_until(self.limit) => Err(lack),
        }
    }
}
