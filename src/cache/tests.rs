//! Copies of a store whose changes, states and positions are those that a test says.

mod audit;
mod reads;

use std::time::Instant;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use tempfile::TempDir;
use tokio::sync::mpsc;

use super::*;
use crate::changes::fakes::{
    Did, FakeStore, Steps, batch_of, follow_all, group_of, id_of, mixed_of, pieces_of, position_of, quick_feeds, resume_of,
    table_of,
};
use crate::changes::{FeedEntry, State};
use crate::stores::capture::{Ended, Step};
use crate::stores::change::{Barrier, Group};
use crate::task::OwnedTask;

const PACE: Pace = Pace {
    backoff: (Duration::from_millis(1), Duration::from_millis(5)),
    poll: Duration::from_millis(2),
    patience: Duration::from_secs(20),
    join: Duration::from_secs(60),
};

struct Stage {
    store: Arc<FakeStore>,
    feeds: Arc<Feeds>,
    caches: Arc<Caches>,
    steps: Steps,
    _tasks: [OwnedTask<()>; 2],
    _refreshed: mpsc::Receiver<StoreName>,
    _directory: TempDir,
}

fn settings() -> CacheSettings {
    let (look, wait, audit) = (Duration::from_secs(3600), Duration::from_millis(5), Duration::ZERO);
    CacheSettings { look, wait, audit, ..CacheSettings::default() }
}

/// The totals of a table's rows by their names.
type Rows = BTreeMap<String, i64>;

fn rows_of(version: &Arc<TableVersion>) -> Rows {
    let mut rows = Rows::new();
    for batch in version.read(&[0, 1], 1_000) {
        let batch = batch.unwrap();
        let (names, totals) = (batch.column(0).as_string::<i32>(), batch.column(1).as_primitive::<Int64Type>());
        for row in 0..batch.num_rows() {
            assert!(rows.insert(names.value(row).to_owned(), totals.value(row)).is_none(), "a row is there twice");
        }
    }
    rows
}

fn pairs(pairs: &[(&str, i64)]) -> Rows {
    pairs.iter().map(|(name, total)| ((*name).to_owned(), *total)).collect()
}

fn number(position: &crate::stores::position::Position) -> u64 {
    u64::from_be_bytes(position.token.as_slice().try_into().unwrap())
}

impl Stage {
    /// A feed that streams from 0, and no table that is wanted.
    async fn streaming(tables: &[&str], settings: CacheSettings) -> Self {
        let (store, directory) = (FakeStore::new("shop"), tempfile::tempdir().unwrap());
        let (steps, feeds) = (store.feed(), quick_feeds(directory.path()));
        store.ends_at(Some(0));
        let connector: Arc<dyn Connector> = Arc::<FakeStore>::clone(&store);
        let entry = FeedEntry { connector, follow: Some(follow_all()), outbox: false, labels: Arc::new(|_table| None) };
        let (refresh, refreshed) = mpsc::channel(8);
        let following = OwnedTask::spawn(feeds.run(vec![entry], refresh, CancellationToken::new()));
        let described: Vec<Arc<Table>> = tables.iter().map(|table| table_of(table)).collect();
        feeds.described(store.name(), &described);
        let caches = Caches::paced(Arc::clone(&feeds), settings, PACE);
        let caching = OwnedTask::spawn(caches.run(CancellationToken::new()));
        let tasks = [following, caching];
        let stage = Self { store, feeds, caches, steps, _tasks: tasks, _refreshed: refreshed, _directory: directory };
        stage.holds(|| stage.feeds.state(stage.store.name()) == State::Streaming).await;
        stage.idle(0).await;
        stage
    }

    /// The same with tables that are wanted and loaded.
    async fn cached(tables: &[&str], settings: CacheSettings) -> Self {
        let stage = Self::streaming(tables, settings).await;
        stage.want(tables);
        for table in tables {
            stage.offered(table).await;
        }
        stage
    }

    fn entry(&self, connector: &Arc<FakeStore>, tables: Vec<Arc<Table>>) -> CacheEntry {
        let connector: Arc<dyn Connector> = Arc::<FakeStore>::clone(connector);
        let labels: Labels = Arc::new(|table| Some(("shop".to_owned(), table.name.clone())));
        CacheEntry { connector, tables, kept_back: Vec::new(), labels }
    }

    fn want(&self, tables: &[&str]) {
        let tables = tables.iter().map(|table| table_of(table)).collect();
        self.caches.replace(vec![self.entry(&self.store, tables)]);
    }

    async fn holds(&self, holds: impl Fn() -> bool) {
        let end = Instant::now() + Duration::from_secs(20);
        while !holds() {
            assert!(Instant::now() < end, "{:?} {:?}", self.caches.shown(), self.feeds.shown());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    async fn offered(&self, table: &str) {
        self.holds(|| self.caches.offered(self.store.name(), &id_of(table))).await;
    }

    async fn gone(&self, table: &str) {
        self.holds(|| !self.caches.offered(self.store.name(), &id_of(table))).await;
    }

    async fn send(&self, group: Group) {
        self.steps.send(Ok(Step::Group(group))).await.unwrap();
    }

    async fn does(&self, position: u64, dids: Vec<(&str, Did<'_>)>) {
        self.send(mixed_of(self.store.name(), &[(position, dids)])).await;
    }

    async fn idle(&self, position: u64) {
        let step = Step::Idle { position: position_of(self.store.name(), position), resume: resume_of(position) };
        self.steps.send(Ok(step)).await.unwrap();
    }

    fn copies(&self) -> Arc<StoreCopies> {
        self.caches.copies(self.store.name()).unwrap()
    }

    fn rows(&self, table: &str) -> Option<Rows> {
        let set = self.copies().set()?;
        Some(rows_of(&set.tables.get(&id_of(table))?.version))
    }

    /// Waits until a table has such rows.
    async fn has(&self, table: &str, rows: &[(&str, i64)]) {
        let wanted = pairs(rows);
        self.holds(|| self.rows(table).as_ref() == Some(&wanted)).await;
    }

    fn position(&self) -> Option<u64> {
        self.copies().set()?.position.as_deref().map(number)
    }

    fn shown(&self, table: &str) -> ShownCopy {
        self.caches.shown().into_iter().find(|shown| shown.table == id_of(table)).unwrap()
    }

    async fn stands(&self, table: &str, state: CopyState) {
        self.holds(|| self.caches.shown().iter().any(|shown| shown.table == id_of(table) && shown.state == state)).await;
    }
}

#[tokio::test]
async fn a_table_is_loaded_and_follows_its_feed() {
    let stage = Stage::streaming(&["orders"], settings()).await;
    assert!(stage.caches.is_empty() && !stage.caches.offered(stage.store.name(), &id_of("orders")));
    stage.store.fills(vec![batch_of(&[("a", 1)])], 0);
    stage.want(&["orders"]);
    stage.offered("orders").await;
    assert!(!stage.caches.is_empty() && stage.caches.wants(stage.store.name()));
    assert_eq!(stage.rows("orders"), Some(pairs(&[("a", 1)])));
    stage.send(group_of(stage.store.name(), &[(3, &[("b", 3)]), (4, &[("a", 4)])])).await;
    stage.has("orders", &[("a", 4), ("b", 3)]).await;
    assert_eq!(stage.position(), Some(4));
    stage.idle(9).await;
    stage.holds(|| stage.position() == Some(9)).await;
    let shown = stage.shown("orders");
    assert_eq!((shown.state, shown.rows, shown.label), (CopyState::Cached, 2, Some(("shop".to_owned(), "orders".to_owned()))));
    assert!(shown.bytes > 0 && shown.position.is_some() && shown.reason.is_none());
    // What is not wanted any more is gone at once.
    stage.caches.replace(Vec::new());
    assert!(!stage.caches.offered(stage.store.name(), &id_of("orders")) && stage.caches.is_empty());
    stage.holds(|| stage.caches.shown().is_empty()).await;
    assert_eq!(stage.caches.memory.total(), 0);
}

#[tokio::test]
async fn a_store_is_asked_where_it_is_only_when_it_shows_no_state_to_a_load() {
    let stage = Stage::cached(&["orders"], settings()).await;
    assert_eq!((stage.store.filled(), stage.store.asked_while_shown()), (1, 0));
    assert!(stage.store.asked() >= 2, "it was not asked before and behind");
}

#[tokio::test]
async fn what_the_fill_has_is_not_done_again_and_what_it_has_not_is_done() {
    let stage = Stage::streaming(&["orders"], settings()).await;
    stage.does(1, vec![("orders", Did::Part("a"))]).await;
    stage.does(2, vec![("orders", Did::Gone("a"))]).await;
    // In the log, and not in the state that is read: it was not visible yet.
    stage.does(3, vec![("orders", Did::Put("b", 3))]).await;
    stage.holds(|| stage.feeds.hub(stage.store.name()).is_some_and(|hub| hub.last() == 3)).await;
    stage.store.fills(vec![batch_of(&[("c", 1)])], 2);
    stage.store.ends_at(Some(3));
    stage.want(&["orders"]);
    // The first would fail on a row that is not there any more.
    stage.offered("orders").await;
    assert_eq!(stage.rows("orders"), Some(pairs(&[("b", 3), ("c", 1)])));
    assert_eq!((stage.store.filled(), stage.position()), (1, Some(3)));
}

#[tokio::test]
async fn a_state_that_is_ahead_of_its_feed_is_not_shown_before_the_feed_has_passed_it() {
    let stage = Stage::cached(&["orders", "items"], settings()).await;
    stage.store.fills_of(&id_of("items"), &[("a", 5)], 5);
    let (gate, filled) = (stage.store.hold_fills(), stage.store.filled());
    stage.caches.reload(stage.store.name(), &id_of("items")).unwrap();
    stage.holds(|| stage.store.filled() > filled).await;
    stage.store.ends_at(Some(5));
    gate.add_permits(1);
    stage.does(4, vec![("orders", Did::Put("a", 4)), ("items", Did::Put("a", 4))]).await;
    stage.has("orders", &[("a", 4)]).await;
    // Long enough for whoever does not wait for it.
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!((stage.rows("items"), stage.position()), (None, Some(4)));
    stage.does(5, vec![("orders", Did::Put("a", 5)), ("items", Did::Put("a", 5))]).await;
    stage.offered("items").await;
    assert_eq!((stage.rows("items"), stage.position()), (Some(pairs(&[("a", 5)])), Some(5)));
    assert_eq!(stage.rows("orders"), Some(pairs(&[("a", 5)])));
}

#[tokio::test]
async fn a_table_is_not_read_before_its_feed_has_come_to_where_its_store_is() {
    let stage = Stage::streaming(&["orders"], settings()).await;
    stage.store.ends_at(Some(5));
    let asked = stage.store.asked();
    stage.want(&["orders"]);
    stage.holds(|| stage.store.asked() > asked).await;
    stage.does(4, vec![("orders", Did::Put("a", 4))]).await;
    // Long enough for whoever does not wait for it.
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(stage.store.filled(), 0, "it was read while its feed was behind");
    stage.store.fills(vec![batch_of(&[("a", 5)])], 5);
    stage.idle(5).await;
    stage.offered("orders").await;
    assert_eq!((stage.store.filled(), stage.rows("orders")), (1, Some(pairs(&[("a", 5)]))));
}

#[tokio::test]
async fn a_transaction_in_pieces_is_seen_whole() {
    let stage = Stage::cached(&["orders"], settings()).await;
    let rows: Vec<String> = (0..50).map(|row| format!("r{row}")).collect();
    let rows: Vec<(&str, i64)> = rows.iter().map(|name| (name.as_str(), 1)).collect();
    for piece in pieces_of(stage.store.name(), 3, &rows) {
        stage.send(piece).await;
    }
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let seen = stage.rows("orders").unwrap().len();
        assert!(seen == 0 || seen == 50, "{seen} of 50 rows are seen");
        if seen == 50 {
            break;
        }
        assert!(Instant::now() < end);
        tokio::time::sleep(Duration::from_micros(200)).await;
    }
    assert_eq!(stage.position(), Some(3));
}

#[tokio::test]
async fn what_is_said_of_tables_is_done_to_their_copies_in_its_place() {
    let stage = Stage::cached(&["orders", "items"], settings()).await;
    let truncated = || Did::Tell(Barrier::Truncated { table: id_of("orders") });
    let dids =
        vec![("orders", Did::Put("a", 1)), ("orders", truncated()), ("orders", Did::Put("b", 1)), ("items", Did::Put("c", 1))];
    stage.does(1, dids).await;
    stage.has("orders", &[("b", 1)]).await;
    assert_eq!(stage.rows("items"), Some(pairs(&[("c", 1)])));
    // It is loaded again, and the other one stays.
    let filled = stage.store.filled();
    stage.store.fills_of(&id_of("orders"), &[("d", 2)], 2);
    stage.store.ends_at(Some(2));
    let reason = "it has other columns now".to_owned();
    stage.does(2, vec![("orders", Did::Tell(Barrier::Reshaped { table: id_of("orders"), reason }))]).await;
    stage.has("orders", &[("d", 2)]).await;
    assert_eq!((stage.store.filled(), stage.rows("items")), (filled + 1, Some(pairs(&[("c", 1)]))));
    // It has no events any more.
    let reason = "its log is not by rows".to_owned();
    stage.does(3, vec![("orders", Did::Tell(Barrier::Stopped { table: id_of("orders"), reason }))]).await;
    stage.gone("orders").await;
    stage.stands("orders", CopyState::StoreOnly).await;
    assert!(stage.caches.offered(stage.store.name(), &id_of("items")));
    assert_eq!(stage.shown("orders").reason.as_deref(), Some("its log is not by rows"));
}

#[tokio::test]
async fn behind_a_gap_everything_is_loaded_again() {
    let stage = Stage::cached(&["orders", "items"], settings()).await;
    stage.does(7, vec![("orders", Did::Put("a", 1)), ("items", Did::Put("a", 1))]).await;
    stage.has("items", &[("a", 1)]).await;
    // The store was set back: what it tells now is before what was told.
    let again = stage.store.feed();
    stage.store.fills(vec![batch_of(&[("b", 2)])], 4);
    stage.store.ends_at(Some(4));
    stage.steps.send(Err(Ended::Lost("it was set back".to_owned()))).await.unwrap();
    stage.gone("orders").await;
    again.send(Ok(Step::Idle { position: position_of(stage.store.name(), 4), resume: resume_of(4) })).await.unwrap();
    stage.has("orders", &[("b", 2)]).await;
    stage.has("items", &[("b", 2)]).await;
    assert_eq!(stage.position(), Some(4), "a position of before the gap is claimed");
}

#[tokio::test]
async fn a_change_that_does_not_fit_has_its_table_loaded_again() {
    let stage = Stage::cached(&["orders", "items"], settings()).await;
    stage.store.fills(vec![batch_of(&[("x", 8)])], 2);
    stage.store.ends_at(Some(2));
    stage.does(2, vec![("orders", Did::Part("unknown")), ("items", Did::Put("a", 1))]).await;
    stage.has("orders", &[("x", 8)]).await;
    assert_eq!(stage.rows("items"), Some(pairs(&[("a", 1)])));
    // Of a table whose changes are told whole a cell that is missing is no cell that stayed.
    stage.store.fills(vec![batch_of(&[("y", 8)])], 3);
    stage.store.ends_at(Some(3));
    stage.does(3, vec![("orders", Did::Move("x", "y"))]).await;
    stage.has("orders", &[("y", 8)]).await;
}

#[tokio::test]
async fn a_fault_while_changes_are_applied_has_copies_loaded_again() {
    let stage = Stage::cached(&["orders", "items"], settings()).await;
    let (gate, filled) = (stage.store.hold_fills(), stage.store.filled());
    stage.caches.reload(stage.store.name(), &id_of("items")).unwrap();
    stage.holds(|| stage.store.filled() > filled).await;
    stage.store.ends_at(Some(9));
    gate.add_permits(1);
    // Until it is followed with the other one, and waits for its feed.
    tokio::time::sleep(Duration::from_millis(50)).await;
    stage.store.faults(true);
    stage.does(4, vec![("items", Did::Put("a", 4))]).await;
    stage.gone("orders").await;
    stage.store.faults(false);
    stage.store.ends_at(Some(4));
    gate.add_permits(10);
    stage.offered("orders").await;
    stage.has("items", &[("a", 4)]).await;
}

#[tokio::test]
async fn copies_that_are_too_large_are_given_up_until_somebody_has_looked() {
    let stage = Stage::streaming(&["orders"], CacheSettings { memory_bytes: 1, ..settings() }).await;
    stage.store.fills(vec![batch_of(&[("a", 1)])], 0);
    stage.want(&["orders"]);
    stage.stands("orders", CopyState::StoreOnly).await;
    assert!(stage.shown("orders").reason.unwrap().contains("cache.memory"));
    assert_eq!(stage.caches.memory.total(), 0);
    let filled = stage.store.filled();
    // A discovery is no look at it.
    stage.want(&["orders"]);
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(stage.store.filled(), filled);
    stage.caches.reload(stage.store.name(), &id_of("orders")).unwrap();
    stage.holds(|| stage.store.filled() > filled).await;
    let error = stage.caches.reload(stage.store.name(), &id_of("notes")).unwrap_err();
    assert_eq!(error.sqlstate(), "55000");
}

#[tokio::test]
async fn a_copy_that_grows_too_large_goes_and_the_smaller_one_stays() {
    let stage = Stage::cached(&["orders", "items"], CacheSettings { memory_bytes: 2 << 20, ..settings() }).await;
    let names: Vec<String> = (0..4_000).map(|row| format!("{row}{}", "x".repeat(1_000))).collect();
    for (place, part) in names.chunks(500).enumerate() {
        let dids = part.iter().map(|name| ("orders", Did::Put(name, 1))).chain([("items", Did::Put("a", 1))]).collect();
        stage.does(u64::try_from(place).unwrap() + 1, dids).await;
    }
    stage.stands("orders", CopyState::StoreOnly).await;
    stage.gone("orders").await;
    stage.has("items", &[("a", 1)]).await;
    assert!(stage.caches.memory.total() < 2 << 20);
}

#[tokio::test]
async fn older_states_that_slow_readers_hold_are_counted_as_long_as_they_do() {
    let stage = Stage::cached(&["orders"], CacheSettings { memory_bytes: 2 << 20, ..settings() }).await;
    let names: Vec<String> = (0..300).map(|row| format!("{row}{}", "x".repeat(1_000))).collect();
    let rewrite = async |number: u64| {
        let dids = names.iter().map(|name| ("orders", Did::Put(name, i64::try_from(number).unwrap()))).collect();
        stage.does(number, dids).await;
        stage.holds(|| stage.position().is_none_or(|position| position >= number)).await;
    };
    for number in 1..=5 {
        rewrite(number).await;
    }
    let alone = stage.caches.memory.total();
    assert!((1 << 18..3 << 19).contains(&alone), "{alone}");
    let mut held = Vec::new();
    for number in 6..=15 {
        held.extend(stage.copies().set());
        rewrite(number).await;
    }
    stage.stands("orders", CopyState::StoreOnly).await;
    assert!(stage.shown("orders").reason.unwrap().contains("cache.memory"));
    assert!(stage.caches.memory.total() > 1 << 20, "what is read counts as long as it is");
    drop(held);
    stage.holds(|| stage.caches.memory.total() == 0).await;
    stage.store.fills(vec![batch_of(&[("a", 1)])], 15);
    stage.store.ends_at(Some(15));
    stage.caches.reload(stage.store.name(), &id_of("orders")).unwrap();
    stage.offered("orders").await;
}

#[tokio::test]
async fn over_another_connector_all_is_loaded_again_once_its_feed_has_begun() {
    let stage = Stage::cached(&["orders"], settings()).await;
    stage.does(3, vec![("orders", Did::Put("a", 1))]).await;
    stage.has("orders", &[("a", 1)]).await;
    let other = FakeStore::new("shop");
    stage.caches.replace(vec![stage.entry(&other, vec![table_of("orders")])]);
    assert!(!stage.caches.offered(stage.store.name(), &id_of("orders")));
    // Its feed is that of the one before, whose places say nothing of it.
    other.ends_at(Some(3));
    stage.stands("orders", CopyState::Waiting).await;
    assert!(!stage.caches.offered(stage.store.name(), &id_of("orders")));
    let steps = other.feed();
    other.fills(vec![batch_of(&[("b", 2)])], 3);
    let connector: Arc<dyn Connector> = Arc::<FakeStore>::clone(&other);
    let entry = FeedEntry { connector, follow: Some(follow_all()), outbox: false, labels: Arc::new(|_table| None) };
    stage.feeds.replace(vec![entry]);
    let idle = Step::Idle { position: position_of(stage.store.name(), 3), resume: resume_of(3) };
    steps.send(Ok(idle)).await.unwrap();
    stage.offered("orders").await;
    assert_eq!((other.filled(), stage.rows("orders")), (1, Some(pairs(&[("b", 2)]))));
}

#[tokio::test]
async fn a_table_with_other_columns_leaves_until_its_feed_knows_them() {
    let stage = Stage::cached(&["orders", "items"], settings()).await;
    let mut table = (*table_of("orders")).clone();
    table.columns.pop();
    table.schema = Table::arrow_schema(&table.columns);
    stage.caches.replace(vec![stage.entry(&stage.store, vec![Arc::new(table), table_of("items")])]);
    stage.gone("orders").await;
    stage.stands("orders", CopyState::Waiting).await;
    assert!(stage.caches.offered(stage.store.name(), &id_of("items")));
    let filled = stage.store.filled();
    stage.want(&["orders", "items"]);
    stage.offered("orders").await;
    assert_eq!(stage.store.filled(), filled + 1);
}

#[tokio::test]
async fn when_nothing_follows_any_more_nothing_is_shown() {
    let stage = Stage::cached(&["orders"], settings()).await;
    let [_feeds, caching] = stage._tasks;
    drop(caching);
    let end = Instant::now() + Duration::from_secs(20);
    while stage.caches.offered(stage.store.name(), &id_of("orders")) {
        assert!(Instant::now() < end);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Every transaction gives the rows of both tables its own number, while tables are loaded again and again, and somebody reads.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn no_read_finds_a_part_of_a_transaction_or_less_than_its_position_says() {
    const COUNT: u64 = 600;
    let stage = Stage::streaming(&["orders", "items"], CacheSettings { group_rows: 7, ..settings() }).await;
    for table in ["orders", "items"] {
        stage.store.fills_of(&id_of(table), &[("a", 0)], 0);
    }
    stage.want(&["orders", "items"]);
    let (caches, name, stop) = (Arc::clone(&stage.caches), stage.store.name().clone(), CancellationToken::new());
    let stopped = stop.clone();
    let reading = OwnedTask::spawn(async move {
        let (mut last, mut both) = (0, 0_u64);
        while !stopped.is_cancelled() {
            tokio::task::yield_now().await;
            let Some(set) = caches.copies(&name).and_then(|copies| copies.set()) else { continue };
            let seen: Vec<i64> = set.tables.values().map(|shelf| rows_of(&shelf.version)["a"]).collect();
            assert!(seen.iter().all(|each| *each == seen[0]), "a transaction is torn: {seen:?}");
            let seen_now = u64::try_from(seen[0]).unwrap();
            assert!(seen_now >= last, "{seen_now} was read behind {last}");
            let claimed = set.position.as_deref().map_or(0, number);
            assert!(seen_now >= claimed, "{claimed} is claimed of {seen_now}");
            (last, both) = (seen_now, both + u64::from(seen.len() == 2));
        }
        both
    });
    for position in 1..=COUNT {
        let total = i64::try_from(position).unwrap();
        // The store has it before its feed tells of it, and says so.
        stage.store.ends_at(Some(position));
        for table in ["orders", "items"] {
            stage.store.fills_of(&id_of(table), &[("a", total)], position);
        }
        let both = vec![("orders", Did::Put("a", total)), ("items", Did::Put("a", total))];
        stage.does(position, both).await;
        if position % 10 == 0 {
            stage.idle(position).await;
        }
        if position % 40 == 0 {
            let table = if rand::random::<bool>() { "orders" } else { "items" };
            stage.caches.reload(stage.store.name(), &id_of(table)).unwrap();
        }
        if position % 3 == 0 {
            tokio::time::sleep(Duration::from_micros(u64::from(rand::random::<u8>()))).await;
        }
    }
    let total = i64::try_from(COUNT).unwrap();
    stage.has("orders", &[("a", total)]).await;
    stage.has("items", &[("a", total)]).await;
    stage.holds(|| stage.position() == Some(COUNT)).await;
    tokio::time::sleep(Duration::from_millis(5)).await;
    stop.cancel();
    assert!(reading.join().await.unwrap() > 0, "nothing was read");
}
