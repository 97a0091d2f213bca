//! Views over two stores whose changes, states and positions are those that a test says. Neither of them can be read: what a view shows has
//! come from copies.

mod by_key;
mod reads;
mod refused;
mod typed;

use std::time::Instant;

use datafusion::scalar::ScalarValue;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tracing::Level;

use super::*;
use crate::cache::{CacheEntry, CacheSettings, Consistency, OnStale, Wants};
use crate::catalog::{Known, Naming, OwnTables, StoreEntry, ViewSource};
use crate::changes::fakes::{
    Did, FakeStore, Steps, batch_of, follow_all, id_of, mixed_of, position_of, quick_feeds, resume_of, table_of,
};
use crate::changes::{FeedEntry, Feeds, State};
use crate::federation::engine::Limits;
use crate::stores::capture::{Ended, Step};
use crate::stores::position::Position;
use crate::stores::{Connector, StoreSchema, Table};
use crate::telemetry::heard::Heard;

const TABLES: [&str; 2] = ["orders", "items"];
/// The same with the one of [`typed`].
const ALL: [&str; 3] = ["orders", "items", "typed"];
const PATIENCE: Duration = Duration::from_secs(30);
const JOINED: &str = "SELECT o.name, o.total, c.total AS other FROM shop.orders o JOIN crm.orders c ON c.name = o.name";

/// One of the stores.
struct Side {
    store: Arc<FakeStore>,
    steps: Steps,
}

impl Side {
    fn new(name: &str) -> Self {
        let store = FakeStore::new(name);
        let steps = store.feed();
        store.ends_at(Some(0));
        Self { store, steps }
    }

    fn connector(&self) -> Arc<dyn Connector> {
        Arc::<FakeStore>::clone(&self.store) as Arc<dyn Connector>
    }

    fn name(&self) -> &StoreName {
        self.store.name()
    }

    fn feed(&self) -> FeedEntry {
        FeedEntry { connector: self.connector(), follow: Some(follow_all()), outbox: false, labels: Arc::new(|_table| None) }
    }

    async fn does(&self, position: u64, dids: Vec<(&str, Did<'_>)>) {
        let group = mixed_of(self.name(), &[(position, dids)]);
        self.steps.send(Ok(Step::Group(group))).await.unwrap();
    }

    async fn puts(&self, position: u64, table: &str, name: &str, total: i64) {
        self.does(position, vec![(table, Did::Put(name, total))]).await;
    }

    async fn idle(&self, position: u64) {
        idle(&self.steps, self.name(), position).await;
    }
}

async fn idle(steps: &Steps, store: &StoreName, position: u64) {
    let step = Step::Idle { position: position_of(store, position), resume: resume_of(position) };
    steps.send(Ok(step)).await.unwrap();
}

struct Stage {
    shop: Side,
    crm: Side,
    feeds: Arc<Feeds>,
    caches: Arc<Caches>,
    catalog: Arc<Catalog>,
    views: Arc<Views>,
    _tasks: [OwnedTask<()>; 3],
    _refreshed: mpsc::Receiver<StoreName>,
    _directory: TempDir,
}

fn name(view: &str) -> ViewName {
    ViewName { schema: "public".to_owned(), name: view.to_owned() }
}

fn entry(view: &str, with_data: bool) -> ViewEntry {
    ViewEntry { name: name(view), owner: "app".to_owned(), with_data, indexes: Vec::new() }
}

/// One of the tables by its name.
fn described(table: &str) -> Arc<Table> {
    if table == "typed" { typed::table() } else { table_of(table) }
}

fn settings() -> ViewSettings {
    ViewSettings { debounce: Duration::from_millis(2), wait: Duration::from_millis(5), ..ViewSettings::default() }
}

fn catalog_of(sides: [&Side; 2], views: &[(&str, &str)]) -> Arc<Catalog> {
    let (mut stores, mut known) = (Vec::new(), Known::new());
    for side in sides {
        let tables: Vec<Arc<Table>> = ALL.iter().map(|table| described(table)).collect();
        let schema = StoreSchema { default_namespace: "public".to_owned(), tables, ..StoreSchema::default() };
        known.insert(side.name().clone(), Ok(Arc::new(schema)));
        let (connector, discovery_timeout) = (side.connector(), Duration::from_secs(10));
        let (naming, own) = (Naming::default(), OwnTables::default());
        stores.push(StoreEntry { connector, naming, discovery_timeout, own, follow: None, cached: Vec::new() });
    }
    let source = |(name, sql): &(&str, &str)| ViewSource { name: (*name).to_owned(), sql: (*sql).to_owned() };
    let views = views.iter().map(source).collect();
    Arc::new(Catalog::of_known("tributary", (stores, known), views, Vec::new()).unwrap())
}

impl Stage {
    /// Views of the catalog, of which none is kept yet, over feeds that stream from 0.
    async fn over(views: &[(&str, &str)], settings: ViewSettings) -> Self {
        let (shop, crm, directory) = (Side::new("shop"), Side::new("crm"), tempfile::tempdir().unwrap());
        let feeds = quick_feeds(directory.path());
        let (refresh, refreshed) = mpsc::channel(8);
        let following = OwnedTask::spawn(feeds.run(vec![shop.feed(), crm.feed()], refresh, CancellationToken::new()));
        let tables: Vec<Arc<Table>> = ALL.iter().map(|table| described(table)).collect();
        for side in [&shop, &crm] {
            feeds.described(side.name(), &tables);
        }
        let bounds = CacheSettings { look: Duration::from_secs(3600), wait: Duration::from_millis(5), ..CacheSettings::default() };
        let caches = Caches::new(Arc::clone(&feeds), bounds);
        let caching = OwnedTask::spawn(caches.run(CancellationToken::new()));
        let catalog = catalog_of([&shop, &crm], views);
        let engine = Engine::new(&Limits::default()).unwrap();
        let ground = Ground { caches: Arc::clone(&caches), engine, catalog: Arc::clone(&catalog) };
        let pace = Pace {
            backoff: (Duration::from_millis(1), Duration::from_millis(5)),
            settle: PATIENCE,
            poll: Duration::from_millis(2),
        };
        let views = Views::paced(Some(ground), settings, pace);
        let viewing = OwnedTask::spawn(views.run(CancellationToken::new()));
        let tasks = [following, caching, viewing];
        let stage = Self { shop, crm, feeds, caches, catalog, views, _tasks: tasks, _refreshed: refreshed, _directory: directory };
        for side in [&stage.shop, &stage.crm] {
            stage.holds(|| stage.feeds.state(side.name()) == State::Streaming).await;
            side.idle(0).await;
        }
        stage
    }

    /// The same with all tables cached, and these views kept.
    async fn kept(views: &[(&str, &str)]) -> Self {
        let stage = Self::over(views, settings()).await;
        stage.cache(&TABLES);
        stage.views.replace(views.iter().map(|(view, _)| entry(view, true)).collect());
        for (view, _) in views {
            stage.stands(view, ViewState::Kept).await;
        }
        stage
    }

    fn cache(&self, tables: &[&str]) {
        let of_side = |side: &Side| CacheEntry {
            connector: side.connector(),
            tables: tables.iter().map(|table| described(table)).collect(),
            kept_back: Vec::new(),
            labels: Arc::new(|_table| None),
        };
        self.caches.replace(vec![of_side(&self.shop), of_side(&self.crm)]);
    }

    async fn holds(&self, holds: impl Fn() -> bool) {
        let end = Instant::now() + PATIENCE;
        while !holds() {
            assert!(Instant::now() < end, "{:?} {:?}", self.views.shown(), self.caches.shown());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    fn shown(&self, view: &str) -> ShownView {
        self.views.shown().into_iter().find(|shown| shown.name == name(view)).unwrap()
    }

    async fn stands(&self, view: &str, state: ViewState) {
        self.holds(|| self.shown(view).state == state).await;
    }

    /// The rows as texts, sorted.
    fn rows(&self, view: &str) -> Option<Vec<String>> {
        self.views.reading(&name(view)).map(|reading| texts(&reading))
    }

    async fn has(&self, view: &str, rows: &[&str]) {
        self.holds(|| self.rows(view).is_some_and(|found| found == rows)).await;
    }

    async fn decide(&self, view: &str, wants: &Wants) -> ViewDecision {
        self.views.decide(&name(view), wants).await
    }

    fn tally(&self, view: &str, number: fn(&metrics::Tally) -> u64) -> u64 {
        number(&self.views.kept(&name(view)).unwrap().tally)
    }
}

fn texts(reading: &ViewReading) -> Vec<String> {
    let columns: Vec<usize> = (0..reading.columns()).collect();
    let mut rows = Vec::new();
    for batch in reading.rows().read(&columns, 1_000) {
        let batch = batch.unwrap();
        for row in 0..batch.num_rows() {
            let fields = batch.columns().iter().map(|column| ScalarValue::try_from_array(column, row).unwrap().to_string());
            rows.push(fields.collect::<Vec<_>>().join("|"));
        }
    }
    rows.sort();
    rows
}

fn wants(consistency: Consistency, on_stale: OnStale) -> Wants {
    Wants { consistency, max_staleness: None, on_stale, deadline: None, session: Arc::default(), shows_as_server: true }
}

fn read(decision: ViewDecision) -> Arc<ViewReading> {
    match decision {
        ViewDecision::Rows(reading) => reading,
        other => panic!("{other:?}"),
    }
}

fn refused(decision: ViewDecision) -> Diagnosis {
    match decision {
        ViewDecision::Refused(error) => *error,
        other => panic!("{other:?}"),
    }
}

fn queried(decision: ViewDecision) -> &'static str {
    match decision {
        ViewDecision::Query { reason } => reason,
        other => panic!("{other:?}"),
    }
}

fn number(position: &Position) -> u64 {
    u64::from_be_bytes(position.token.as_slice().try_into().unwrap())
}

/// The position of a store in what was read.
fn at(reading: &ViewReading, store: &StoreName) -> u64 {
    let stores = reading.stores();
    number(stores.iter().find(|of| of.store == *store).unwrap().position.as_ref().unwrap())
}

#[tokio::test]
async fn a_view_follows_two_stores() {
    let stage = Stage::kept(&[("sales", JOINED)]).await;
    assert_eq!(stage.views.upkeep(&name("sales")), Some(Upkeep::Incremental));
    assert_eq!(stage.rows("sales"), Some(Vec::new()));
    stage.shop.puts(3, "orders", "a", 1).await;
    stage.crm.puts(2, "orders", "a", 10).await;
    stage.has("sales", &["a|1|10"]).await;
    stage.crm.puts(3, "orders", "a", 20).await;
    stage.crm.puts(4, "orders", "b", 30).await;
    stage.shop.puts(4, "orders", "b", 2).await;
    stage.has("sales", &["a|1|20", "b|2|30"]).await;
    stage.shop.does(5, vec![("orders", Did::Gone("a"))]).await;
    stage.has("sales", &["b|2|30"]).await;
    let reading = stage.views.reading(&name("sales")).unwrap();
    assert_eq!((at(&reading, stage.shop.name()), at(&reading, stage.crm.name())), (5, 4));
    assert_eq!((reading.columns(), stage.tally("sales", |tally| tally.built.get())), (3, 1), "it was computed anew");
    let shown = stage.shown("sales");
    assert!(shown.rows == 1 && shown.bytes > 0 && shown.position().is_some_and(|text| text.contains("shop: ")));
    let inputs = stage.views.inputs();
    assert_eq!(inputs[stage.shop.name()], BTreeSet::from([id_of("orders")]));
    assert!(inputs.contains_key(stage.crm.name()));
}

#[tokio::test]
async fn a_change_of_rows_is_told_and_an_idle_position_is_not() {
    let stage = Stage::kept(&[("sales", JOINED)]).await;
    stage.crm.puts(1, "orders", "a", 10).await;
    let mut moved = stage.views.moved(&name("sales")).unwrap();
    moved.borrow_and_update();
    stage.shop.puts(1, "orders", "a", 1).await;
    tokio::time::timeout(PATIENCE, moved.changed()).await.unwrap().unwrap();
    stage.has("sales", &["a|1|10"]).await;
    moved.borrow_and_update();
    let steps = stage.tally("sales", |tally| tally.steps.get());
    stage.shop.idle(9).await;
    stage.holds(|| stage.views.reading(&name("sales")).is_some_and(|reading| at(&reading, stage.shop.name()) == 9)).await;
    assert!(!moved.has_changed().unwrap(), "nobody has changed a row");
    assert_eq!(stage.tally("sales", |tally| tally.steps.get()), steps);
    assert!(stage.views.moved(&name("none")).is_none());
}

/// Every transaction gives the rows of both tables its own number, while tables are loaded again and again, and somebody reads.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn no_state_has_a_part_of_a_transaction() {
    const COUNT: u64 = 300;
    const BOTH: &str = "SELECT o.total, i.total AS other, c.total AS third FROM shop.orders o JOIN shop.items i ON i.name = o.name \
                        JOIN crm.orders c ON c.name = o.name";
    let stage = Stage::kept(&[("both", BOTH)]).await;
    stage.crm.puts(1, "orders", "a", 7).await;
    let (views, stop) = (Arc::clone(&stage.views), CancellationToken::new());
    let stopped = stop.clone();
    let reading = OwnedTask::spawn(async move {
        let (mut last, mut seen) = (0, 0_u64);
        while !stopped.is_cancelled() {
            tokio::task::yield_now().await;
            let Some(reading) = views.reading(&name("both")) else { continue };
            for row in texts(&reading) {
                let totals: Vec<u64> = row.split('|').map(|total| total.parse().unwrap()).collect();
                assert_eq!(totals[0], totals[1], "a transaction is torn");
                assert!(totals[0] >= last, "{} was read behind {last}", totals[0]);
                (last, seen) = (totals[0], seen + 1);
            }
        }
        seen
    });
    for position in 1..=COUNT {
        let total = i64::try_from(position).unwrap();
        stage.shop.store.ends_at(Some(position));
        for table in TABLES {
            stage.shop.store.fills_of(&id_of(table), &[("a", total)], position);
        }
        stage.shop.does(position, vec![("orders", Did::Put("a", total)), ("items", Did::Put("a", total))]).await;
        if position % 60 == 0 {
            let table = if rand::random::<bool>() { "orders" } else { "items" };
            stage.caches.reload(stage.shop.name(), &id_of(table)).unwrap();
        }
        if position % 3 == 0 {
            tokio::time::sleep(Duration::from_micros(u64::from(rand::random::<u8>()))).await;
        }
    }
    let last = format!("{COUNT}|{COUNT}|7");
    stage.has("both", &[last.as_str()]).await;
    tokio::time::sleep(Duration::from_millis(5)).await;
    stop.cancel();
    assert!(reading.join().await.unwrap() > 0, "nothing was read");
}

#[tokio::test]
async fn rows_are_built_again_when_a_table_was_loaded_again() {
    let stage = Stage::kept(&[("sales", JOINED)]).await;
    stage.crm.puts(1, "orders", "a", 10).await;
    stage.shop.puts(1, "orders", "a", 1).await;
    stage.has("sales", &["a|1|10"]).await;
    let built = stage.tally("sales", |tally| tally.built.get());
    stage.shop.store.fills_of(&id_of("orders"), &[("a", 8)], 2);
    stage.shop.store.ends_at(Some(2));
    stage.caches.reload(stage.shop.name(), &id_of("orders")).unwrap();
    stage.shop.idle(2).await;
    stage.has("sales", &["a|8|10"]).await;
    assert!(stage.tally("sales", |tally| tally.built.get()) > built);
    stage.shop.puts(3, "orders", "a", 9).await;
    stage.has("sales", &["a|9|10"]).await;
}

#[tokio::test]
async fn behind_a_gap_nothing_of_the_history_before_is_shown() {
    let stage = Stage::kept(&[("sales", JOINED)]).await;
    stage.crm.puts(1, "orders", "a", 10).await;
    stage.shop.puts(7, "orders", "a", 1).await;
    stage.has("sales", &["a|1|10"]).await;
    // The store was set back, and cannot be loaded before it says where it is.
    let again = stage.shop.store.feed();
    stage.shop.store.fills(vec![batch_of(&[("a", 2)])], 4);
    stage.shop.store.ends_at(None);
    stage.shop.steps.send(Err(Ended::Lost("it was set back".to_owned()))).await.unwrap();
    stage.holds(|| stage.rows("sales").is_none()).await;
    stage.stands("sales", ViewState::Waiting).await;
    assert!(stage.shown("sales").reason.is_some_and(|reason| reason.contains("\"orders\" of store \"shop\"")));
    assert!(matches!(stage.decide("sales", &wants(Consistency::Eventual, OnStale::Store)).await, ViewDecision::Query { .. }));
    stage.shop.store.ends_at(Some(4));
    idle(&again, stage.shop.name(), 4).await;
    stage.has("sales", &["a|2|10"]).await;
    assert_eq!(at(&stage.views.reading(&name("sales")).unwrap(), stage.shop.name()), 4);
}

#[tokio::test]
async fn a_view_that_needs_all_rows_is_computed_for_many_changes_at_once() {
    const RANKED: &str = "SELECT name, total, row_number() OVER (ORDER BY total DESC, name) AS place FROM shop.orders";
    const COUNT: u64 = 60;
    let stage = Stage::over(&[("ranked", RANKED)], ViewSettings { debounce: Duration::from_millis(500), ..settings() }).await;
    stage.cache(&TABLES);
    stage.views.replace(vec![entry("ranked", true)]);
    stage.stands("ranked", ViewState::Kept).await;
    assert!(matches!(stage.views.upkeep(&name("ranked")), Some(Upkeep::Whole { .. })));
    for position in 1..=COUNT {
        stage.shop.puts(position, "orders", "a", i64::try_from(position).unwrap()).await;
    }
    stage.has("ranked", &[format!("a|{COUNT}|1").as_str()]).await;
    let computed = stage.tally("ranked", |tally| tally.steps.get());
    assert!((1..COUNT / 2).contains(&computed), "it was computed {computed} times");
    assert_eq!(stage.tally("ranked", |tally| tally.built.get()), 1);
    stage.shop.puts(COUNT + 1, "orders", "b", 1_000).await;
    stage.has("ranked", &["a|60|2", "b|1000|1"]).await;
    let reading = read(stage.decide("ranked", &wants(Consistency::Session, OnStale::Wait)).await);
    assert_eq!(at(&reading, stage.shop.name()), COUNT + 1);
}

#[tokio::test]
async fn a_view_over_a_view_follows_the_tables_below_it() {
    const OUTER: &str = "SELECT s.name, s.other, i.total AS items FROM public.sales s LEFT JOIN shop.items i ON i.name = s.name";
    let stage = Stage::kept(&[("sales", JOINED), ("wide", OUTER)]).await;
    stage.crm.puts(1, "orders", "a", 10).await;
    stage.shop.does(1, vec![("orders", Did::Put("a", 1)), ("items", Did::Put("a", 5))]).await;
    stage.has("wide", &["a|10|5"]).await;
    stage.has("sales", &["a|1|10"]).await;
    stage.shop.does(2, vec![("items", Did::Gone("a"))]).await;
    stage.has("wide", &["a|10|NULL"]).await;
    // The inner one has no rows of its own any more, which is nothing to the outer one.
    stage.views.replace(vec![entry("sales", false), entry("wide", true)]);
    stage.crm.puts(2, "orders", "a", 20).await;
    stage.has("wide", &["a|20|NULL"]).await;
    assert_eq!(stage.rows("sales"), None);
}

#[tokio::test]
async fn a_view_without_data_answers_nothing_until_it_is_refreshed() {
    let stage = Stage::over(&[("sales", JOINED)], settings()).await;
    stage.cache(&TABLES);
    stage.views.replace(vec![entry("sales", false)]);
    stage.stands("sales", ViewState::Empty).await;
    let asks = wants(Consistency::Session, OnStale::Store);
    let error = refused(stage.decide("sales", &asks).await);
    assert_eq!(error.message, "materialized view \"sales\" has not been populated");
    assert_eq!(error.sqlstate, sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE);
    assert!(stage.views.inputs().is_empty() && stage.rows("sales").is_none());
    for side in [&stage.shop, &stage.crm] {
        stage.holds(|| stage.caches.offered(side.name(), &id_of("orders"))).await;
    }
    let refreshed = stage.views.refresh(&name("sales"), false).await.unwrap();
    assert_eq!(refreshed, Refreshed { rows: Some(0), differed: None, waits: None });
    assert!(!stage.views.inputs().is_empty());
    stage.crm.puts(1, "orders", "a", 10).await;
    stage.shop.puts(1, "orders", "a", 1).await;
    stage.has("sales", &["a|1|10"]).await;
    // The catalog learns of it, and the rows stay; emptied they are gone.
    stage.views.replace(vec![entry("sales", true)]);
    assert_eq!(stage.rows("sales"), Some(vec!["a|1|10".to_owned()]));
    stage.views.replace(vec![entry("sales", false)]);
    assert_eq!(stage.rows("sales"), None);
    refused(stage.decide("sales", &asks).await);
    let unknown = stage.views.refresh(&name("none"), false).await.unwrap_err();
    assert_eq!(unknown.sqlstate, sqlstate::UNDEFINED_TABLE);
}

#[tokio::test]
async fn a_view_whose_tables_have_no_copies_yet_runs_its_query() {
    let stage = Stage::over(&[("sales", JOINED)], settings()).await;
    stage.views.replace(vec![entry("sales", true)]);
    stage.holds(|| stage.views.inputs().len() == 2).await;
    let refreshed = stage.views.refresh(&name("sales"), true).await.unwrap();
    assert!(refreshed.rows.is_none() && refreshed.waits.is_some(), "{refreshed:?}");
    assert!(matches!(stage.decide("sales", &wants(Consistency::Session, OnStale::Store)).await, ViewDecision::Query { .. }));
    stage.cache(&TABLES);
    stage.stands("sales", ViewState::Kept).await;
    let refreshed = stage.views.refresh(&name("sales"), true).await.unwrap();
    assert_eq!(refreshed, Refreshed { rows: Some(0), differed: Some(0), waits: None });
}

#[tokio::test]
async fn a_view_that_depends_on_more_than_tables_has_the_rows_of_its_last_refresh() {
    let stage =
        Stage::over(&[("one", "SELECT 1 AS one"), ("timed", "SELECT name, now() AS moment FROM shop.orders")], settings()).await;
    stage.cache(&TABLES);
    stage.views.replace(vec![entry("one", true), entry("timed", true)]);
    stage.has("one", &["1"]).await;
    let is_only_refreshed = |view: &str, why: &str| match stage.views.upkeep(&name(view)) {
        Some(Upkeep::Refresh { reason }) => reason.contains(why),
        _ => false,
    };
    assert!(is_only_refreshed("one", "reads no table"));
    assert_eq!(texts(&read(stage.decide("one", &wants(Consistency::Session, OnStale::Store)).await)), ["1"]);
    assert!(queried(stage.decide("one", &wants(Consistency::Strong, OnStale::Store)).await).contains("REFRESH"));
    refused(stage.decide("one", &wants(Consistency::Strong, OnStale::Error)).await);
    let bounded = Wants { max_staleness: Some(Duration::from_nanos(1)), ..wants(Consistency::Bounded, OnStale::Store) };
    assert!(queried(stage.decide("one", &bounded).await).contains("max_staleness"));
    // A session that has written since is not given rows without that.
    let asks = wants(Consistency::Session, OnStale::Store);
    asks.session.wrote(stage.shop.name());
    assert!(queried(stage.decide("one", &asks).await).contains("REFRESH"));
    refused(stage.decide("one", &Wants { on_stale: OnStale::Error, ..asks.clone() }).await);
    read(stage.decide("one", &Wants { consistency: Consistency::Eventual, ..asks.clone() }).await);
    let refreshed = stage.views.refresh(&name("one"), false).await.unwrap();
    assert_eq!((refreshed.rows, stage.rows("one")), (Some(1), Some(vec!["1".to_owned()])));
    read(stage.decide("one", &asks).await);
    // The stores of these tests cannot be read.
    stage.holds(|| is_only_refreshed("timed", "depends on the time")).await;
    stage.views.refresh(&name("timed"), false).await.unwrap_err();
    assert!(stage.rows("timed").is_none() && !stage.views.inputs().contains_key(stage.shop.name()));
}

#[tokio::test]
async fn an_expression_that_fails_has_the_query_run_until_it_does_not() {
    let stage = Stage::kept(&[("parts", "SELECT name, 10 / total AS part FROM shop.orders")]).await;
    stage.shop.puts(1, "orders", "a", 5).await;
    stage.has("parts", &["a|2"]).await;
    stage.shop.puts(2, "orders", "a", 0).await;
    stage.stands("parts", ViewState::Waiting).await;
    assert!(stage.shown("parts").reason.is_some_and(|reason| reason.contains("22012")));
    assert!(matches!(stage.decide("parts", &wants(Consistency::Session, OnStale::Store)).await, ViewDecision::Query { .. }));
    let error = stage.views.refresh(&name("parts"), false).await.unwrap_err();
    assert_eq!(error.sqlstate, sqlstate::DIVISION_BY_ZERO);
    stage.shop.puts(3, "orders", "a", 2).await;
    stage.has("parts", &["a|5"]).await;
}

#[tokio::test]
async fn a_view_that_is_too_large_is_not_tried_again_by_itself() {
    let (heard, _hearing) = Heard::here();
    let stage = Stage::over(&[("sales", JOINED)], ViewSettings { memory_bytes: 1, ..settings() }).await;
    stage.cache(&TABLES);
    stage.views.replace(vec![entry("sales", true)]);
    stage.holds(|| stage.shown("sales").reason.is_some_and(|reason| reason.contains("more than materialized views may"))).await;
    let told = heard.of(Level::WARN);
    let is_of_it = |line: &&String| line.contains("sales") && line.contains("more than materialized views may");
    assert_eq!(told.iter().filter(is_of_it).count(), 1, "{told:?}");
    let left = stage.tally("sales", |tally| tally.built.get());
    assert_eq!((left, stage.views.memory.total(), stage.rows("sales")), (0, 0, None));
    let error = stage.views.refresh(&name("sales"), false).await.unwrap_err();
    assert_eq!(error.sqlstate, sqlstate::OUT_OF_MEMORY);
}

#[tokio::test]
async fn a_refresh_checks_unique_indexes() {
    let stage = Stage::kept(&[("totals", "SELECT name, total FROM shop.orders")]).await;
    stage.shop.does(1, vec![("orders", Did::Put("a", 1)), ("orders", Did::Put("b", 1))]).await;
    stage.has("totals", &["a|1", "b|1"]).await;
    let index = |columns: Vec<usize>| ViewIndex { name: "totals_key".to_owned(), columns, is_unique: true };
    let with = |columns: Vec<usize>| vec![ViewEntry { indexes: vec![index(columns)], ..entry("totals", true) }];
    stage.views.replace(with(vec![0]));
    assert_eq!(stage.views.refresh(&name("totals"), false).await.unwrap().rows, Some(2));
    stage.views.replace(with(vec![1]));
    let error = stage.views.refresh(&name("totals"), false).await.unwrap_err();
    assert_eq!((error.sqlstate.as_str(), error.constraint.as_deref()), (sqlstate::UNIQUE_VIOLATION, Some("totals_key")));
}

#[tokio::test]
async fn a_view_over_a_table_that_is_gone_says_so_and_shows_nothing() {
    let stage = Stage::kept(&[("sales", JOINED), ("others", "SELECT name FROM crm.items")]).await;
    // Where these stores are looked at again, they have no tables.
    stage.catalog.refresh(stage.shop.name()).await.unwrap();
    stage.stands("sales", ViewState::Waiting).await;
    assert!(stage.shown("sales").reason.is_some_and(|reason| reason.contains("cannot be planned")));
    assert_eq!(stage.rows("sales"), None);
    stage.views.refresh(&name("sales"), false).await.unwrap_err();
    // The other one means what it meant.
    stage.crm.puts(1, "items", "a", 1).await;
    stage.has("others", &["a"]).await;
    assert_eq!(stage.tally("others", |tally| tally.built.get()), 1);
}

#[tokio::test]
async fn what_is_not_kept_any_more_is_not_shown() {
    let stage = Stage::kept(&[("sales", JOINED)]).await;
    let kept = stage.views.kept(&name("sales")).unwrap();
    stage.views.replace(Vec::new());
    assert!(stage.views.is_empty() && stage.views.inputs().is_empty() && kept.state().is_none());
    let decision = stage.decide("sales", &wants(Consistency::Session, OnStale::Store)).await;
    assert!(matches!(decision, ViewDecision::Query { .. }));
    // One of the same name is another one.
    stage.views.replace(vec![entry("sales", true)]);
    stage.stands("sales", ViewState::Kept).await;
    assert!(!Arc::ptr_eq(&kept, &stage.views.kept(&name("sales")).unwrap()));
    let Stage { views, _tasks: [_feeds, _caching, viewing], .. } = stage;
    drop(viewing);
    let end = Instant::now() + PATIENCE;
    while views.reading(&name("sales")).is_some() {
        assert!(Instant::now() < end);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(Views::none().is_empty());
}
