//! How feeds and the tables in them stand, as views, metrics and `check` tell it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::feeds::Labels;
use super::text::Place;
use crate::stores::StoreName;
use crate::stores::capture::{OwnObject, Watch};
use crate::stores::change::Group;
use crate::stores::commit::Caution;
use crate::stores::schema::TableId;
use crate::telemetry::log::Line;

/// How the feed of a store stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// The file of the store asks for none.
    Off,
    /// It has not begun to stream.
    Starting,
    /// It gives what happens.
    Streaming,
    /// It is tried again by itself.
    Waiting,
    /// History is missing; it begins again behind a gap.
    Lost,
    /// It waits for somebody.
    Refused,
}

impl State {
    /// All of them, for metrics.
    pub const ALL: [Self; 6] = [Self::Off, Self::Starting, Self::Streaming, Self::Waiting, Self::Lost, Self::Refused];

    /// The word that operators see.
    pub fn word(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Starting => "starting",
            Self::Streaming => "streaming",
            Self::Waiting => "waiting",
            Self::Lost => "lost",
            Self::Refused => "refused",
        }
    }
}

/// How a table stands in the feed of its store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TableState {
    /// It was seen to be there, and its events have not begun.
    Loading,
    /// Its events are given.
    Streaming,
    /// It is read in its store only.
    StoreOnly,
}

impl TableState {
    /// All of them, for metrics.
    pub const ALL: [Self; 3] = [Self::Loading, Self::Streaming, Self::StoreOnly];

    /// The word that operators see.
    pub fn word(self) -> &'static str {
        match self {
            Self::Loading => "loading",
            Self::Streaming => "streaming",
            Self::StoreOnly => "store-only",
        }
    }
}

/// A feed as it stands now.
#[derive(Debug, Clone)]
pub struct Shown {
    /// The store.
    pub store: StoreName,
    /// How it stands.
    pub state: State,
    /// Why, as a clause.
    pub reason: Option<String>,
    /// What to do about it.
    pub mend: Option<String>,
    /// What weakens it.
    pub cautions: Vec<Caution>,
    /// What of ours the store holds, as far as it was looked at.
    pub objects: Vec<OwnObject>,
    /// Its tables, in name order.
    pub tables: Vec<ShownTable>,
    /// Behind its last entry.
    pub position: Option<Place>,
    /// When the last transaction that came was committed, by the store's clock.
    pub applied: Option<DateTime<Utc>>,
    /// How far it is behind: zero while the end of the store's history has been given.
    pub lag: Option<Duration>,
    /// The same in bytes of the store's log.
    pub lag_bytes: Option<u64>,
    /// What the store keeps because of it.
    pub retained_bytes: Option<u64>,
    /// The most that it may keep.
    pub retained_max_bytes: Option<u64>,
    /// How long until the store drops history that it needs.
    pub window: Option<Duration>,
    /// Rows that it has given since the process started.
    pub events: u64,
    /// Since when it stands so.
    pub since: DateTime<Utc>,
    /// Transactions that it has given since the process started.
    pub transactions: u64,
    /// Bytes of the values in its rows since then.
    pub bytes: u64,
    /// How often history was missing since then.
    pub losses: u64,
    /// How often it was begun again since then.
    pub reconnects: u64,
    /// How large its log is.
    pub log_bytes: Option<u64>,
    /// What of that is in memory.
    pub ring_bytes: Option<u64>,
    /// What waits for being written, or for being on disk.
    pub queue_bytes: Option<u64>,
    /// For how long something has not been on disk.
    pub sync_lag: Option<Duration>,
    /// Events that wait for being handed over, where the store has such.
    pub outbox_waiting: Option<u64>,
}

/// A table of a feed as it stands now.
#[derive(Debug, Clone)]
pub struct ShownTable {
    /// In the store's own names.
    pub table: TableId,
    /// In SQL: schema and name, where it is shown.
    pub label: Option<(String, String)>,
    /// How it stands.
    pub state: TableState,
    /// Why, as a clause.
    pub reason: Option<String>,
    /// What to do about it.
    pub mend: Option<String>,
    /// Rows that it has given since the process started.
    pub events: u64,
    /// Since when it stands so.
    pub since: DateTime<Utc>,
}

/// How the feed of a store stands, kept as it runs.
#[derive(Debug)]
pub(super) struct Status {
    store: StoreName,
    now: Mutex<Now>,
}

#[derive(Debug, Clone)]
struct Now {
    state: State,
    reason: Option<String>,
    mend: Option<String>,
    since: DateTime<Utc>,
    cautions: Vec<Caution>,
    objects: Vec<OwnObject>,
    tables: BTreeMap<TableId, TableNow>,
    watch: Watch,
    position: Option<Place>,
    committed_us: Option<i64>,
    /// Whether the end of the store's history has been given.
    is_at_end: bool,
    numbers: Numbers,
}

#[derive(Debug, Clone)]
struct TableNow {
    state: TableState,
    reason: Option<String>,
    mend: Option<String>,
    since: DateTime<Utc>,
    events: u64,
}

/// What a feed has done since the process started.
#[derive(Debug, Clone, Default)]
pub(super) struct Numbers {
    /// Rows, by what happened to them.
    pub(super) events: BTreeMap<&'static str, u64>,
    /// Whole transactions.
    pub(super) transactions: u64,
    /// Bytes of their rows in memory.
    pub(super) bytes: u64,
    /// How often history was missing.
    pub(super) losses: u64,
    /// How often a feed that had begun was begun again.
    pub(super) reconnects: u64,
}

/// How a table is to be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) state: TableState,
    pub(super) reason: Option<String>,
    pub(super) mend: Option<String>,
}

impl Told {
    /// Its events are given.
    pub(super) fn streaming() -> Self {
        Self { state: TableState::Streaming, reason: None, mend: None }
    }

    /// It is read in its store only.
    pub(super) fn store_only(reason: &str, mend: Option<&str>) -> Self {
        Self { state: TableState::StoreOnly, reason: Some(reason.to_owned()), mend: mend.map(str::to_owned) }
    }
}

impl Status {
    pub(super) fn new(store: &StoreName) -> Self {
        let now = Now {
            state: State::Off,
            reason: None,
            mend: None,
            since: Utc::now(),
            cautions: Vec::new(),
            objects: Vec::new(),
            tables: BTreeMap::new(),
            watch: Watch::default(),
            position: None,
            committed_us: None,
            is_at_end: false,
            numbers: Numbers::default(),
        };
        Self { store: store.clone(), now: Mutex::new(now) }
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        // What a panic left behind are whole values.
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn state(&self) -> State {
        self.now().state
    }

    /// Why it stands so, and what to do about it.
    pub(super) fn reason(&self) -> (Option<String>, Option<String>) {
        let now = self.now();
        (now.reason.clone(), now.mend.clone())
    }

    /// Sets how it stands. One log line for each change of the state.
    pub(super) fn set(&self, state: State, reason: Option<&str>, mend: Option<&str>) {
        let mut now = self.now();
        (now.reason, now.mend) = (reason.map(str::to_owned), mend.map(str::to_owned));
        if now.state == state {
            return;
        }
        (now.state, now.since, now.is_at_end) = (state, Utc::now(), false);
        drop(now);
        let (store, reason, mend) = (&self.store, Line(reason.unwrap_or_default()), Line(mend.unwrap_or_default()));
        match state {
            State::Off => tracing::info!(%store, "changes of the store are not followed"),
            State::Starting => tracing::debug!(%store, "the feed of changes begins"),
            State::Streaming => tracing::info!(%store, "changes of the store are followed"),
            State::Waiting => tracing::warn!(%store, %reason, "the feed of changes was interrupted; it is tried again"),
            State::Lost => tracing::warn!(%store, %reason, "changes were missed; the feed begins again behind a gap"),
            State::Refused => tracing::warn!(%store, %reason, %mend, "changes of the store cannot be followed"),
        }
    }

    /// Sets what a look at the store found besides its tables. One log line for each caution that was not found before.
    pub(super) fn set_found(&self, cautions: Vec<Caution>, objects: Vec<OwnObject>) {
        let mut now = self.now();
        let fresh = fresh(&now.cautions, &cautions);
        (now.cautions, now.objects) = (cautions, objects);
        drop(now);
        let store = &self.store;
        for Caution { key, told, mend } in fresh {
            let (told, mend) = (Line(&told), Line(&mend));
            if mend.0.is_empty() {
                tracing::warn!(%store, key, "{told}");
            } else {
                tracing::warn!(%store, key, %mend, "{told}");
            }
        }
    }

    /// What of ours is in the store, as far as it was looked at.
    pub(super) fn objects(&self) -> Vec<OwnObject> {
        self.now().objects.clone()
    }

    /// Sets what of ours is in the store.
    pub(super) fn set_objects(&self, objects: Vec<OwnObject>) {
        self.now().objects = objects;
    }

    /// Sets how every table stands. One log line for each that is read in its store only from now on, and for each that is not any more.
    pub(super) fn set_tables(&self, tables: BTreeMap<TableId, Told>) {
        let mut now = self.now();
        let mut before = std::mem::take(&mut now.tables);
        for (table, told) in tables {
            let known = before.remove(&table);
            let is_same = known.as_ref().is_some_and(|known| known.state == told.state);
            if !is_same {
                self.tell(&table, &told, known.is_some());
            }
            let since = known.as_ref().filter(|_| is_same).map_or_else(Utc::now, |known| known.since);
            let events = known.map_or(0, |known| known.events);
            let Told { state, reason, mend } = told;
            now.tables.insert(table, TableNow { state, reason, mend, since, events });
        }
    }

    /// Sets how one table stands.
    pub(super) fn set_table(&self, table: &TableId, told: Told) {
        let mut now = self.now();
        let events = now.tables.get(table).map_or(0, |known| known.events);
        if now.tables.get(table).is_none_or(|known| known.state != told.state) {
            self.tell(table, &told, true);
        }
        let Told { state, reason, mend } = told;
        now.tables.insert(table.clone(), TableNow { state, reason, mend, since: Utc::now(), events });
    }

    fn tell(&self, table: &TableId, told: &Told, was_known: bool) {
        let (store, name) = (&self.store, format!("{}.{}", table.namespace, table.name));
        let (reason, mend) = (told.reason.as_deref().unwrap_or_default(), told.mend.as_deref().unwrap_or_default());
        let (table, reason, mend) = (Line(&name), Line(reason), Line(mend));
        match told.state {
            TableState::StoreOnly if mend.0.is_empty() => {
                tracing::warn!(%store, %table, %reason, "changes of the table are not followed");
            }
            TableState::StoreOnly => tracing::warn!(%store, %table, %reason, %mend, "changes of the table are not followed"),
            TableState::Streaming if was_known => tracing::info!(%store, %table, "changes of the table are followed"),
            TableState::Streaming | TableState::Loading => {}
        }
    }

    /// How a table stands.
    pub(super) fn table(&self, table: &TableId) -> Option<Told> {
        let now = self.now();
        let known = now.tables.get(table)?;
        Some(Told { state: known.state, reason: known.reason.clone(), mend: known.mend.clone() })
    }

    pub(super) fn set_watch(&self, watch: Watch) {
        self.now().watch = watch;
    }

    pub(super) fn lag_bytes(&self) -> Option<u64> {
        self.now().watch.lag_bytes
    }

    /// Transactions were published, of which the last entry is at `place`.
    pub(super) fn count(&self, group: &Group, place: Place) {
        let mut now = self.now();
        (now.position, now.is_at_end) = (Some(place), false);
        let committed = group.transactions.iter().rev().find_map(|transaction| transaction.committed_us);
        now.committed_us = committed.or(now.committed_us);
        let ended = group.transactions.iter().filter(|transaction| transaction.ends).count();
        now.numbers.transactions += u64::try_from(ended).unwrap_or(0);
    }

    /// Rows were given to the log, of whole transactions or of a piece of one.
    pub(super) fn count_rows(&self, group: &Group) {
        let mut now = self.now();
        for rows in &group.rows {
            now.numbers.bytes += u64::try_from(rows.value_bytes()).unwrap_or(0);
            let (mut row, mut events) = (0, 0);
            // Rows of one kind mostly come together.
            for together in rows.operations.chunk_by(|one, next| one == next) {
                let (first, count) = (row, u64::try_from(together.len()).unwrap_or(0));
                row += together.len();
                let Some(operation) = together.first().filter(|_| !rows.is_own_removal(first)) else { continue };
                *now.numbers.events.entry(operation.word()).or_default() += count;
                events += count;
            }
            if let Some(table) = now.tables.get_mut(&rows.shape.id) {
                table.events += events;
            }
        }
    }

    /// The store has nothing that was not given.
    pub(super) fn reached_end(&self) {
        self.now().is_at_end = true;
    }

    pub(super) fn count_loss(&self) {
        self.now().numbers.losses += 1;
    }

    pub(super) fn count_reconnect(&self) {
        self.now().numbers.reconnects += 1;
    }

    pub(super) fn numbers(&self) -> Numbers {
        self.now().numbers.clone()
    }

    /// As operators see it, but for what its file says and what its log has.
    pub(super) fn shown(&self, labels: Option<&Labels>) -> Shown {
        let now = self.now().clone();
        let applied = now.committed_us.and_then(DateTime::from_timestamp_micros);
        let tables = now.tables.into_iter().map(|(table, known)| ShownTable {
            label: labels.and_then(|labels| labels(&table)),
            table,
            state: known.state,
            reason: known.reason,
            mend: known.mend,
            events: known.events,
            since: known.since,
        });
        let held_back = Some(now.watch.detail).filter(|detail| !detail.is_empty());
        Shown {
            store: self.store.clone(),
            state: now.state,
            reason: now.reason.or(held_back),
            mend: now.mend,
            cautions: now.cautions,
            objects: now.objects,
            tables: tables.collect(),
            position: now.position,
            applied,
            lag: lag(now.is_at_end || now.watch.lag_bytes == Some(0), applied),
            lag_bytes: now.watch.lag_bytes,
            retained_bytes: now.watch.retained_bytes,
            retained_max_bytes: None,
            window: now.watch.left,
            events: now.numbers.events.values().sum(),
            since: now.since,
            transactions: now.numbers.transactions,
            bytes: now.numbers.bytes,
            losses: now.numbers.losses,
            reconnects: now.numbers.reconnects,
            log_bytes: None,
            ring_bytes: None,
            queue_bytes: None,
            sync_lag: None,
            outbox_waiting: None,
        }
    }
}

/// The cautions that were not among those of before. One whose numbers alone are others is the same: hours that pass are told once.
fn fresh(before: &[Caution], found: &[Caution]) -> Vec<Caution> {
    let gist = |told: &str| told.chars().filter(|character| !character.is_ascii_digit()).collect::<String>();
    let is_same = |known: &Caution, caution: &Caution| known.key == caution.key && gist(&known.told) == gist(&caution.told);
    found.iter().filter(|caution| !before.iter().any(|known| is_same(known, caution))).cloned().collect()
}

/// How far a feed is behind whose last transaction was committed at a time by the store's clock.
fn lag(is_at_end: bool, applied: Option<DateTime<Utc>>) -> Option<Duration> {
    if is_at_end {
        return Some(Duration::ZERO);
    }
    let behind = Utc::now().signed_duration_since(applied?);
    // The store's clock may be ahead of ours.
    Some(behind.max(TimeDelta::zero()).to_std().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::changes::fakes::{group_of, id_of};

    fn place(seq: u64) -> Place {
        Place { generation: 1, seq, ordinal: 0, check: 0 }
    }

    #[test]
    fn what_came_is_counted_by_table_and_kind() {
        let store = StoreName::new("shop");
        let status = Status::new(&store);
        status.set(State::Streaming, None, None);
        status
            .set_tables(BTreeMap::from([(id_of("orders"), Told::streaming()), (id_of("notes"), Told::store_only("x", Some("y")))]));
        let group = group_of(&store, &[(3, &[("a", 1), ("b", 2)]), (4, &[("c", 3)])]);
        status.count_rows(&group);
        status.count(&group, place(2));
        let labels: Labels = std::sync::Arc::new(|table| (table.name == "orders").then(|| ("shop".to_owned(), table.name.clone())));
        let shown = status.shown(Some(&labels));
        assert_eq!((shown.state, shown.events, shown.position), (State::Streaming, 3, Some(place(2))));
        let tables: Vec<_> = shown.tables.iter().map(|table| (table.table.name.as_str(), table.state, table.events)).collect();
        assert_eq!(tables, [("notes", TableState::StoreOnly, 0), ("orders", TableState::Streaming, 3)]);
        assert_eq!(shown.tables[1].label, Some(("shop".to_owned(), "orders".to_owned())));
        assert_eq!(shown.tables[0].label, None);
        let numbers = status.numbers();
        assert_eq!((numbers.transactions, numbers.events.get("insert"), numbers.events.get("update")), (2, Some(&2), Some(&1)));
        // Counts stay when tables are looked at again.
        status.set_tables(BTreeMap::from([(id_of("orders"), Told::streaming())]));
        assert_eq!(status.shown(None).tables[0].events, 3);
        status.set_table(&id_of("orders"), Told::store_only("x", None));
        assert_eq!((status.table(&id_of("orders")).unwrap().state, status.table(&id_of("notes"))), (TableState::StoreOnly, None));
    }

    #[test]
    fn a_caution_is_told_when_it_is_found_first() {
        let caution = |told: &str| Caution { key: "oplog", told: told.to_owned(), mend: "x".to_owned() };
        let before = [caution("it has 12 hours"), caution("it is off")];
        let found = [caution("it has 9 hours"), caution("it is off"), caution("it is full")];
        assert_eq!(fresh(&before, &found), [caution("it is full")]);
        assert_eq!(fresh(&[], &found), found);
        let other = Caution { key: "binlog", ..caution("it is off") };
        assert_eq!(fresh(&before, std::slice::from_ref(&other)), [other]);
        // What has gone and comes again is told again.
        let status = Status::new(&StoreName::new("shop"));
        status.set_found(found.to_vec(), Vec::new());
        assert_eq!(status.shown(None).cautions, found);
        status.set_found(Vec::new(), Vec::new());
        assert_eq!(fresh(&status.shown(None).cautions, &found), found);
    }

    #[test]
    fn lag_is_nothing_at_the_end_and_grows_behind_it() {
        let store = StoreName::new("shop");
        let status = Status::new(&store);
        assert_eq!(status.shown(None).lag, None);
        status.count(&group_of(&store, &[(3, &[("a", 1)])]), place(1));
        assert!(status.shown(None).lag.unwrap() > Duration::from_secs(1_000));
        status.reached_end();
        assert_eq!(status.shown(None).lag, Some(Duration::ZERO));
        status.count(&group_of(&store, &[(4, &[("a", 1)])]), place(2));
        assert_ne!(status.shown(None).lag, Some(Duration::ZERO));
        status.set_watch(Watch { lag_bytes: Some(0), ..Watch::default() });
        assert_eq!(status.shown(None).lag, Some(Duration::ZERO));
        assert_eq!(lag(false, Some(Utc::now() + TimeDelta::hours(1))), Some(Duration::ZERO));
    }
}
