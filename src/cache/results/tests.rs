//! Results over a store whose changes, states and positions are those that a test says.

use std::collections::BTreeSet;

use tempfile::TempDir;
use tokio::sync::mpsc;

use super::*;
use crate::cache::required::Required;
use crate::cache::serve::{Consistency, OnStale, Wants};
use crate::changes::fakes::{FakeStore, Steps, batch_of, follow_all, group_of, position_of, quick_feeds, resume_of, table_of};
use crate::changes::{FeedEntry, State};
use crate::stores::capture::Step;
use crate::stores::change::Barrier;
use crate::task::OwnedTask;

#[derive(Debug)]
struct Named(&'static str);

impl Keyed for Named {
    fn digest(&self) -> u64 {
        // All of them are told apart by what they are.
        1
    }

    fn is(&self, other: &dyn Keyed) -> bool {
        let other: &dyn Any = other;
        other.downcast_ref::<Self>().is_some_and(|other| other.0 == self.0)
    }

    fn bytes(&self) -> usize {
        self.0.len()
    }
}

fn key(name: &'static str) -> Key {
    Key::of(Named(name))
}

struct Stage {
    store: Arc<FakeStore>,
    connector: Arc<dyn Connector>,
    feeds: Arc<Feeds>,
    results: Arc<Results>,
    steps: Steps,
    session: Arc<Required>,
    _tasks: [OwnedTask<()>; 2],
    _refreshed: mpsc::Receiver<StoreName>,
    _directory: TempDir,
}

fn settings() -> ResultSettings {
    ResultSettings { wait: Duration::from_millis(20), ready: Duration::from_secs(20), ..ResultSettings::default() }
}

impl Stage {
    /// A feed of `orders` and `items` that streams from 0.
    async fn new(settings: ResultSettings) -> Self {
        let (store, directory) = (FakeStore::new("shop"), tempfile::tempdir().unwrap());
        let (steps, feeds) = (store.feed(), quick_feeds(directory.path()));
        store.ends_at(Some(0));
        let connector: Arc<dyn Connector> = Arc::<FakeStore>::clone(&store);
        let entry = FeedEntry {
            connector: Arc::clone(&connector),
            follow: Some(follow_all()),
            outbox: false,
            labels: Arc::new(|_table| None),
        };
        let (refresh, refreshed) = mpsc::channel(8);
        let following = OwnedTask::spawn(feeds.run(vec![entry], refresh, CancellationToken::new()));
        feeds.described(store.name(), &[table_of("orders"), table_of("items")]);
        let results = Results::new(Arc::clone(&feeds), settings);
        let tracking = OwnedTask::spawn(results.run(CancellationToken::new()));
        let session = Arc::default();
        let tasks = [following, tracking];
        let stage =
            Self { store, connector, feeds, results, steps, session, _tasks: tasks, _refreshed: refreshed, _directory: directory };
        stage.holds(|| stage.feeds.state(stage.store.name()) == State::Streaming).await;
        stage.idle(0).await;
        stage
    }

    async fn holds(&self, holds: impl Fn() -> bool) {
        let end = Instant::now() + Duration::from_secs(20);
        while !holds() {
            assert!(Instant::now() < end, "{:?}", self.feeds.shown());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    fn at(&self, number: u64) -> Position {
        position_of(self.store.name(), number)
    }

    async fn idle(&self, number: u64) {
        self.steps.send(Ok(Step::Idle { position: self.at(number), resume: resume_of(number) })).await.unwrap();
    }

    /// A transaction that writes `orders` is told.
    async fn writes(&self, number: u64) {
        let group = group_of(self.store.name(), &[(number, &[("a", 1)])]);
        self.steps.send(Ok(Step::Group(group))).await.unwrap();
        self.reached(number).await;
    }

    /// Everything up to there was seen by who follows for results.
    async fn reached(&self, number: u64) {
        let track = self.results.track(self.store.name());
        self.holds(|| track.applied().is_some_and(|applied| *applied == self.at(number))).await;
    }

    fn inputs(&self, tables: &[&str]) -> Vec<Input> {
        let tables = tables.iter().map(|table| table_of(table)).collect();
        vec![Input { connector: Arc::clone(&self.connector), tables }]
    }

    /// Reads a table in the state of a number, and keeps what was read.
    async fn fill(&self, name: &'static str, table: &str, state: u64) -> Result<(), Rejected> {
        self.store.fills(vec![batch_of(&[("a", 1)])], state);
        let fill = self.results.begin(&self.inputs(&[table])).await?;
        self.results.keep(&key(name), fill, rows(1)).await
    }

    fn wants(&self, consistency: Consistency) -> Wants {
        let session = Arc::clone(&self.session);
        Wants { consistency, max_staleness: None, on_stale: OnStale::Store, deadline: None, session, shows_as_server: true }
    }

    async fn find(&self, name: &'static str, consistency: Consistency) -> &'static str {
        match self.results.find(&key(name), &self.wants(consistency)).await {
            Found::Rows(_) => "rows",
            Found::Nothing => "nothing",
            Found::Unfit(reason) => reason,
        }
    }
}

/// A result of so many batches of one row.
fn rows(count: usize) -> Rows {
    let batch = batch_of(&[("a", 1)]);
    Rows { schema: batch.schema(), batches: vec![batch; count].into() }
}

#[tokio::test]
async fn a_result_is_given_until_a_table_changes_that_it_was_made_of() {
    let stage = Stage::new(settings()).await;
    stage.fill("orders", "orders", 0).await.unwrap();
    stage.fill("items", "items", 0).await.unwrap();
    stage.reached(0).await;
    assert_eq!(stage.find("orders", Consistency::Session).await, "rows");
    assert_eq!(stage.find("other", Consistency::Session).await, "nothing");
    stage.writes(1).await;
    assert_eq!(stage.find("orders", Consistency::Session).await, "nothing");
    assert_eq!(stage.find("items", Consistency::Session).await, "rows", "its table has not changed");
    stage.fill("orders", "orders", 1).await.unwrap();
    assert_eq!(stage.find("orders", Consistency::Session).await, "rows");
}

#[tokio::test]
async fn what_was_told_before_it_was_seen_is_not_missed_for_ever() {
    let stage = Stage::new(settings()).await;
    stage.fill("orders", "orders", 0).await.unwrap();
    stage.writes(5).await;
    // The store tells of the transaction, and does not show it yet.
    assert_eq!(stage.fill("orders", "orders", 4).await.unwrap_err().word, "changed");
    assert_eq!(stage.find("orders", Consistency::Eventual).await, "nothing");
    stage.fill("orders", "orders", 5).await.unwrap();
    assert_eq!(stage.find("orders", Consistency::Eventual).await, "rows");
}

#[tokio::test]
async fn what_is_told_while_a_result_is_made_keeps_it_from_being_kept() {
    let stage = Stage::new(settings()).await;
    stage.store.fills(Vec::new(), 0);
    let fill = stage.results.begin(&stage.inputs(&["orders"])).await.unwrap();
    stage.writes(1).await;
    assert_eq!(stage.results.keep(&key("orders"), fill, rows(1)).await.unwrap_err().word, "changed");
    // Of another table nothing has happened.
    let fill = stage.results.begin(&stage.inputs(&["items"])).await.unwrap();
    stage.writes(2).await;
    stage.results.keep(&key("items"), fill, rows(1)).await.unwrap();
}

#[tokio::test]
async fn behind_a_gap_nothing_of_before_is_good_and_nothing_is_kept_at_once() {
    let stage = Stage::new(settings()).await;
    stage.fill("items", "items", 0).await.unwrap();
    stage.reached(0).await;
    assert_eq!(stage.find("items", Consistency::Session).await, "rows");
    let mut group = group_of(stage.store.name(), &[(3, &[])]);
    let barrier = Barrier::Gap { reason: "the log was dropped".to_owned() };
    group.transactions[0].entries.push(crate::stores::change::Entry::Barrier(barrier));
    stage.steps.send(Ok(Step::Group(group))).await.unwrap();
    stage.reached(3).await;
    assert_eq!(stage.find("items", Consistency::Session).await, "nothing");
    assert_eq!(stage.fill("items", "items", 9).await.unwrap_err().word, "changed");
}

#[tokio::test]
async fn a_read_is_given_nothing_older_than_it_must_see() {
    let stage = Stage::new(settings()).await;
    stage.fill("items", "items", 0).await.unwrap();
    stage.reached(0).await;
    assert_eq!(stage.find("items", Consistency::Store).await, "tributary.consistency is store");
    stage.session.raise_by(&*stage.store, stage.at(7));
    let behind = "not everything has been told yet that the read must see";
    assert_eq!(stage.find("items", Consistency::Session).await, behind);
    assert_eq!(stage.find("items", Consistency::Eventual).await, "rows");
    stage.idle(7).await;
    stage.reached(7).await;
    assert_eq!(stage.find("items", Consistency::Session).await, "rows");
    // Whoever wants all that there is asks the store.
    stage.store.ends_at(Some(9));
    assert_eq!(stage.find("items", Consistency::Strong).await, behind);
    stage.idle(9).await;
    stage.reached(9).await;
    assert_eq!(stage.find("items", Consistency::Strong).await, "rows");
    stage.session.unknown(stage.store.name());
    stage.store.ends_at(Some(10));
    assert_eq!(stage.find("items", Consistency::Session).await, behind, "what it has seen is asked for");
}

#[tokio::test]
async fn a_result_carries_what_it_may_have_to_later_reads_of_copies() {
    let stage = Stage::new(settings()).await;
    stage.store.ends_at(Some(4));
    stage.fill("items", "items", 0).await.unwrap();
    stage.idle(4).await;
    stage.reached(4).await;
    assert!(stage.session.positions().is_empty());
    assert_eq!(stage.find("items", Consistency::Session).await, "rows");
    assert_eq!(stage.session.positions()[stage.store.name()], [stage.at(4)]);
}

#[tokio::test]
async fn one_makes_it_for_all_that_ask() {
    let stage = Stage::new(settings()).await;
    let (one, other) = (stage.results.enter(&key("a")), stage.results.enter(&key("a")));
    let Turn::Own(flight) = one else { panic!("nobody else makes it") };
    let Turn::Other(mut waits) = other else { panic!("it is made already") };
    assert!(matches!(stage.results.enter(&key("b")), Turn::Own(_)));
    assert!(!waits.has_changed().unwrap());
    drop(flight);
    assert!(waits.changed().await.is_err(), "it has ended");
    assert!(matches!(stage.results.enter(&key("a")), Turn::Own(_)));
}

#[tokio::test]
async fn what_reads_no_table_or_is_too_large_is_not_kept_and_all_of_it_is_bounded() {
    let most: usize = 64 << 10;
    let stage = Stage::new(ResultSettings { memory_bytes: most as u64, ..settings() }).await;
    assert_eq!(stage.results.begin(&[]).await.unwrap_err().word, "no-tables");
    let none = stage.inputs(&[]);
    assert_eq!(stage.results.begin(&none).await.unwrap_err().word, "no-tables");
    assert_eq!(stage.results.begin(&stage.inputs(&["unknown"])).await.unwrap_err().word, "not-followed");
    let fill = stage.results.begin(&stage.inputs(&["items"])).await.unwrap();
    let large = stage.results.keep(&key("large"), fill, rows(most)).await;
    assert_eq!(large.unwrap_err().word, "too-large");
    let names: Vec<&'static str> = (0..200).map(|number| -> &'static str { format!("r{number}").leak() }).collect();
    for name in &names {
        stage.fill(name, "items", 0).await.unwrap();
    }
    stage.results.kept.run_pending_tasks();
    assert!(stage.results.kept.weighted_size() <= most as u64);
    let kept: BTreeSet<_> = names.iter().filter(|name| stage.results.kept.contains_key(&key(name))).collect();
    assert!(!kept.is_empty() && kept.len() < names.len(), "{}", kept.len());
}

#[tokio::test]
async fn a_feed_that_is_away_gives_no_results() {
    let stage = Stage::new(settings()).await;
    stage.fill("items", "items", 0).await.unwrap();
    stage.reached(0).await;
    let Stage { store, feeds, results, steps, session, _tasks, _refreshed, _directory, .. } = stage;
    drop(steps);
    let end = Instant::now() + Duration::from_secs(20);
    while feeds.state(store.name()) == State::Streaming {
        assert!(Instant::now() < end, "{:?}", feeds.shown());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let wants = Wants {
        consistency: Consistency::Eventual,
        max_staleness: None,
        on_stale: OnStale::Store,
        deadline: None,
        session,
        shows_as_server: true,
    };
    let found = results.find(&key("items"), &wants).await;
    assert!(!matches!(found, Found::Rows(_)), "{found:?}");
}
