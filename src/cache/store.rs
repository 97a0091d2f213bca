//! The copies of one store as readers see them: one published set, swapped as a whole, and what is asked of it.
//!
//! **Invariants:** a later set has everything that an earlier one has, unless it has nothing; how fresh a set is, is told with the set
//! itself, so that whoever holds an old one is not told of a newer one's age; their numbers only grow, and with nothing in between another
//! history begins.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::CacheEntry;
use super::audit::{Audits, ShownAudit};
use super::metrics::Tally;
use super::probe::Probes;
use super::required::Required;
use super::status::{CopyState, ShownCopy, Stands, Uses};
use super::version::TableVersion;
use crate::changes::Place;
use crate::stores::position::{Coverage, Position};
use crate::stores::schema::TableId;
use crate::stores::{Connector, StoreName, Table};

/// The beginning of our clock.
static BEGINNING: LazyLock<Instant> = LazyLock::new(Instant::now);

/// A moment as nanoseconds of our clock, from 1.
fn tick(moment: Instant) -> u64 {
    let since = moment.saturating_duration_since(*BEGINNING);
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX).saturating_add(1)
}

/// A copy in a published set.
#[derive(Debug, Clone)]
pub(super) struct Shelf {
    pub(super) version: Arc<TableVersion>,
    pub(super) uses: Arc<Uses>,
}

/// All copies of one store at one place of its history.
#[derive(Debug)]
pub(super) struct Published {
    pub(super) tables: Arc<BTreeMap<TableId, Shelf>>,
    /// Everything up to here is in it; `None` where that is not known.
    pub(super) position: Option<Arc<Position>>,
    /// Behind the last entry that is in it.
    pub(super) place: Option<Place>,
    /// Everything that was committed until this tick is in it; 0 where that is not known.
    fresh: AtomicU64,
    /// Larger than that of every set before it.
    pub(super) number: u64,
    /// Larger than that of every set with nothing between them: those have nothing to do with this one.
    pub(super) history: u64,
}

impl Published {
    fn nothing(number: u64, history: u64) -> Arc<Self> {
        Arc::new(Self { tables: Arc::default(), position: None, place: None, fresh: AtomicU64::new(0), number, history })
    }

    /// How the position stands to one that is wanted.
    pub(super) fn covers(&self, connector: &dyn Connector, wanted: &Position) -> Coverage {
        match &self.position {
            Some(position) => connector.covers(position, wanted),
            None => Coverage::Behind,
        }
    }

    /// Everything that was committed until then is in it.
    pub(super) fn raise(&self, moment: Instant) {
        self.fresh.fetch_max(tick(moment), Ordering::AcqRel);
    }

    /// At most so old is what it shows; `None` where that is not known.
    pub(super) fn known_age(&self) -> Option<Duration> {
        let fresh = self.fresh.load(Ordering::Acquire);
        (fresh > 0).then(|| Duration::from_nanos(tick(Instant::now()).saturating_sub(fresh)))
    }
}

/// What is asked of the copies of a store.
#[derive(Debug, Clone, Default)]
pub(super) struct Asked {
    /// `None` where the store is not there any more.
    pub(super) entry: Option<Arc<CacheEntry>>,
    /// Raised with every other connector.
    pub(super) life: u64,
    /// Raised with everything that is asked.
    pub(super) turn: u64,
}

/// What is asked of single copies.
#[derive(Debug, Default)]
pub(super) struct Requests {
    /// To be loaded again.
    pub(super) reload: BTreeSet<TableId>,
    /// To be given up, since all of them are too large.
    pub(super) demote: BTreeSet<TableId>,
    /// How often tables were said to be others than they were.
    pub(super) doubted: u64,
}

/// The copies of one store.
#[derive(Debug)]
pub(super) struct StoreCopies {
    pub(super) name: StoreName,
    published: ArcSwap<Published>,
    /// Raised with every set that is published.
    moved: watch::Sender<u64>,
    asked: watch::Sender<Asked>,
    requests: Mutex<Requests>,
    /// How often tables were said to be others than they were, and up to which of that their copies are gone.
    doubted: AtomicU64,
    gone: AtomicU64,
    is_wanted: AtomicBool,
    /// Which connector it is, and the last of which it is known that its store has the history of the set.
    life: AtomicU64,
    trusted: AtomicU64,
    pub(super) probes: Probes,
    pub(super) stands: Stands,
    pub(super) tally: Tally,
    pub(super) audits: Audits,
}

impl StoreCopies {
    pub(super) fn new(name: &StoreName) -> Arc<Self> {
        LazyLock::force(&BEGINNING);
        Arc::new(Self {
            name: name.clone(),
            published: ArcSwap::new(Published::nothing(0, 0)),
            moved: watch::channel(0).0,
            asked: watch::channel(Asked::default()).0,
            requests: Mutex::default(),
            doubted: AtomicU64::new(0),
            gone: AtomicU64::new(0),
            is_wanted: AtomicBool::new(false),
            life: AtomicU64::new(0),
            trusted: AtomicU64::new(0),
            probes: Probes::default(),
            stands: Stands::new(name),
            tally: Tally::default(),
            audits: Audits::default(),
        })
    }

    fn requests(&self) -> MutexGuard<'_, Requests> {
        // What a panic left behind are whole names.
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Other tables are wanted, or the same of another connector.
    pub(super) fn want(&self, entry: Option<CacheEntry>) {
        self.is_wanted.store(entry.as_ref().is_some_and(|entry| !entry.tables.is_empty()), Ordering::Release);
        self.asked.send_modify(|asked| {
            let is_same = match (&asked.entry, &entry) {
                // Of a store without wanted tables nobody notes what was written there.
                (Some(before), Some(now)) => {
                    let has_tables = !before.tables.is_empty() && !now.tables.is_empty();
                    has_tables && Arc::ptr_eq(&before.connector, &now.connector)
                }
                _ => false,
            };
            if !is_same {
                asked.life += 1;
                // Readers see it before anybody is told.
                self.life.store(asked.life, Ordering::Release);
            }
            asked.turn += 1;
            asked.entry = entry.map(Arc::new);
        });
    }

    pub(super) fn asked(&self) -> watch::Receiver<Asked> {
        self.asked.subscribe()
    }

    pub(super) fn entry(&self) -> Option<Arc<CacheEntry>> {
        self.asked.borrow().entry.clone()
    }

    pub(super) fn is_wanted(&self) -> bool {
        self.is_wanted.load(Ordering::Acquire)
    }

    pub(super) fn ask_reload(&self, table: &TableId) {
        self.requests().reload.insert(table.clone());
        self.asked.send_modify(|asked| asked.turn += 1);
    }

    /// A table is another one than it was, though it may look alike: from here on its copy is not read.
    pub(super) fn doubt(&self, table: &TableId) {
        {
            let mut requests = self.requests();
            requests.reload.insert(table.clone());
            requests.doubted = self.doubted.fetch_add(1, Ordering::AcqRel) + 1;
        }
        self.asked.send_modify(|asked| asked.turn += 1);
    }

    /// Copies that were in doubt are gone, up to this.
    pub(super) fn are_gone(&self, doubted: u64) {
        self.gone.fetch_max(doubted, Ordering::AcqRel);
    }

    /// Whether no copy is read that somebody knows to be another table's. All of a store's wait for that, for a moment.
    fn is_certain(&self) -> bool {
        self.gone.load(Ordering::Acquire) >= self.doubted.load(Ordering::Acquire)
    }

    pub(super) fn ask_demotion(&self, table: &TableId) {
        self.requests().demote.insert(table.clone());
        self.asked.send_modify(|asked| asked.turn += 1);
    }

    pub(super) fn take_requests(&self) -> Requests {
        std::mem::take(&mut self.requests())
    }

    /// The store behind this connector has the history of the set.
    pub(super) fn trust(&self, life: u64) {
        self.trusted.fetch_max(life, Ordering::AcqRel);
    }

    /// Whether it is known that the store has the history of the set.
    pub(super) fn is_trusted(&self) -> bool {
        self.trusted.load(Ordering::Acquire) == self.life.load(Ordering::Acquire)
    }

    /// Whether the store is still read by this connector.
    pub(super) fn is_of(&self, life: u64) -> bool {
        self.life.load(Ordering::Acquire) == life
    }

    /// Raised with every set that is published.
    pub(super) fn moved(&self) -> watch::Receiver<u64> {
        self.moved.subscribe()
    }

    /// The set, where there is something in it that may be read.
    pub(super) fn set(&self) -> Option<Arc<Published>> {
        let set = self.published.load_full();
        (!set.tables.is_empty() && self.is_trusted() && self.is_certain()).then_some(set)
    }

    /// The same, also where it is not known that the store has its history.
    pub(super) fn any_set(&self) -> Arc<Published> {
        self.published.load_full()
    }

    /// Whether a table is in it.
    pub(super) fn has(&self, table: &TableId) -> bool {
        self.published.load().tables.contains_key(table) && self.is_trusted() && self.is_certain()
    }

    /// The next set. Only the task that follows the store calls it.
    pub(super) fn publish(&self, tables: Arc<BTreeMap<TableId, Shelf>>, position: Option<Arc<Position>>, place: Option<Place>) {
        let before = self.published.load_full();
        // What was in the last one is in this one. With a history that was lost there is nothing in between.
        let fresh = AtomicU64::new(if tables.is_empty() { 0 } else { before.fresh.load(Ordering::Acquire) });
        let (number, history) = (before.number + 1, before.history);
        self.published.store(Arc::new(Published { tables, position, place, fresh, number, history }));
        self.moved.send_modify(|count| *count += 1);
    }

    /// Nothing is shown any more.
    pub(super) fn publish_nothing(&self) {
        let before = self.published.load_full();
        if !before.tables.is_empty() {
            self.published.store(Published::nothing(before.number + 1, before.history + 1));
            self.moved.send_modify(|count| *count += 1);
        }
    }

    /// Everything up to a position, asked for after `moment`, was everything that was committed at that moment: sets that have it are as
    /// fresh as that. `false`: the set of now has it not.
    pub(super) fn refresh(&self, connector: &dyn Connector, moment: Instant, position: &Position) -> bool {
        loop {
            let set = self.published.load_full();
            if set.tables.is_empty() || set.covers(connector, position) != Coverage::Covered {
                return false;
            }
            set.raise(moment);
            // The next one was made of it before it was raised, perhaps.
            if Arc::ptr_eq(&set, &self.published.load()) {
                return true;
            }
        }
    }

    /// How every copy stands.
    pub(super) fn shown(&self) -> Vec<ShownCopy> {
        let (set, entry) = (self.set(), self.entry());
        let position = set.as_ref().and_then(|set| set.place).map(|place| place.to_string());
        let age = set.as_ref().and_then(|set| set.known_age());
        let of_table = |(table, stand): (TableId, super::status::Stand)| {
            let is_served = set.as_ref().is_some_and(|set| set.tables.contains_key(&table));
            // A set that is not trusted yet is not served.
            let (state, reason) = match stand.state {
                CopyState::Cached if !is_served => {
                    (CopyState::Waiting, Some("it is not known yet that the store has the same history".to_owned()))
                }
                state => (state, stand.reason),
            };
            ShownCopy {
                store: self.name.clone(),
                label: entry.as_ref().and_then(|entry| (entry.labels)(&table)),
                table,
                state,
                reason,
                rows: stand.rows,
                bytes: stand.bytes,
                position: position.clone().filter(|_| is_served),
                staleness: age.filter(|_| is_served),
                served: stand.uses.served.get(),
                fell_through: stand.uses.fell_through.get(),
                waited: stand.uses.waited.get(),
                since: stand.since,
            }
        };
        self.stands.all().into_iter().map(of_table).collect()
    }

    /// What the auditor has found of every table that is wanted.
    pub(super) fn audited(&self) -> Vec<ShownAudit> {
        let entry = self.entry();
        let of_table = |table: TableId| {
            let audited = self.audits.of(&table);
            let (diverged, found) = audited.diverged.unzip();
            ShownAudit {
                store: self.name.clone(),
                label: entry.as_ref().and_then(|entry| (entry.labels)(&table)),
                table,
                checks: audited.checks,
                rows: audited.rows,
                open: audited.open,
                divergences: audited.divergences,
                checked: audited.checked,
                diverged,
                found,
            }
        };
        self.stands.all().into_keys().map(of_table).collect()
    }
}

/// A published set of one store, held: whoever has it reads one state of all of its tables.
#[derive(Debug)]
pub struct Reading {
    pub(super) store: StoreName,
    pub(super) set: Arc<Published>,
    /// Whether it was waited for.
    pub(super) has_waited: bool,
}

impl Reading {
    /// The store.
    pub fn store(&self) -> &StoreName {
        &self.store
    }

    /// A table of it; `None`: it is not in the set, and is read in its store.
    pub fn table(&self, table: &TableId) -> Option<Arc<TableVersion>> {
        self.set.tables.get(table).map(|shelf| Arc::clone(&shelf.version))
    }

    /// Takes note that a statement reads a table of it.
    pub fn used(&self, table: &TableId) {
        if let Some(shelf) = self.set.tables.get(table) {
            shelf.uses.served.add(1);
            shelf.uses.waited.add(u64::from(self.has_waited));
        }
    }

    /// The same for a plan that was made over `table`: `None` also where the copy has other columns, so that ordinals of the one are not
    /// those of the other.
    pub fn table_like(&self, table: &Table) -> Option<Arc<TableVersion>> {
        let is_alike = self.set.tables.get(&table.id).is_some_and(|shelf| shelf.version.table().schema == table.schema);
        if is_alike { self.table(&table.id) } else { None }
    }

    /// The same for who keeps something up to date with it, which is no use of the copy.
    pub fn version(&self, table: &TableId) -> Option<&Arc<TableVersion>> {
        self.set.tables.get(table).map(|shelf| &shelf.version)
    }

    /// The number of the set: one of the same [`Reading::history`] with a larger number has everything that this one has.
    pub fn number(&self) -> u64 {
        self.set.number
    }

    /// Which history of the store it is of: nothing is known of how sets of two of them stand to one another.
    pub fn history(&self) -> u64 {
        self.set.history
    }

    /// A session has seen it, so that it may tell another one what that must see.
    pub fn seen_by(&self, session: &Required) {
        session.see(&self.store, self.set.position.as_ref());
    }

    /// The position of the store up to which everything is in it.
    pub fn position(&self) -> Option<&Position> {
        self.set.position.as_deref()
    }

    /// The place of the last entry that is in it, where one came since it was loaded.
    pub fn place(&self) -> Option<Place> {
        self.set.place
    }

    /// At most so old is what it shows, now; [`Duration::MAX`] where that is not known.
    pub fn age(&self) -> Duration {
        self.set.known_age().unwrap_or(Duration::MAX)
    }
}
