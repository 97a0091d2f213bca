//! Feeds of a store that does what the test says.

mod faults;
mod fills;
mod leaving;
mod pieces;
mod told;

use arrow::array::{Int64Array, RecordBatch, StringArray};
use futures::FutureExt;
use tempfile::TempDir;
use tokio::sync::mpsc;

use super::*;
use crate::changes::fakes::{FakeStore, Steps, follow_all, group_of, id_of, position_of, resume_of, shape_of, table_of};
use crate::changes::log::Pace;
use crate::changes::{ChangeSettings, Cursor, Feeds, Hook, Moment, TableState};
use crate::stores::capture::{InstanceId, OwnObject, Step, Watch};
use crate::stores::change::{Entry, Group, Operation};

/// Long enough for a busy machine; a test that waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(60);

const PACING: Pacing = Pacing {
    log: Pace {
        sync: Duration::from_millis(1),
        retry: Duration::from_millis(5),
        segment: 16 << 20,
        retain: Duration::from_secs(60),
    },
    backoff: (Duration::from_millis(1), Duration::from_millis(5)),
    watch: Duration::from_millis(5),
    survey: Duration::from_secs(3600),
    mark: Duration::ZERO,
    refused: Duration::from_millis(10),
    settle: Duration::from_secs(60),
    stuck: Duration::from_millis(100),
    patience: Duration::from_secs(5),
    beginning: Duration::from_secs(5),
};

struct Stage {
    feeds: Arc<Feeds>,
    store: Arc<FakeStore>,
    task: OwnedTask<()>,
    refreshed: mpsc::Receiver<StoreName>,
    directory: TempDir,
}

fn entry(store: &Arc<FakeStore>, outbox: bool) -> FeedEntry {
    let connector: Arc<dyn Connector> = Arc::<FakeStore>::clone(store);
    FeedEntry { connector, follow: Some(follow_all()), outbox, labels: Arc::new(|_table| None) }
}

fn settings() -> ChangeSettings {
    ChangeSettings { is_durable: true, transaction_bytes: 1 << 20, ..ChangeSettings::default() }
}

impl Stage {
    fn open(store: &Arc<FakeStore>, entry: FeedEntry, how: (ChangeSettings, Pacing), directory: TempDir) -> Self {
        Self::open_with(store, entry, how, directory, Arc::new(|_moment| async {}.boxed()))
    }

    fn open_with(
        store: &Arc<FakeStore>,
        entry: FeedEntry,
        (settings, pacing): (ChangeSettings, Pacing),
        directory: TempDir,
        hook: Hook,
    ) -> Self {
        let feeds = Feeds::new(directory.path(), settings, InstanceId(7), hook, pacing);
        let (refresh, refreshed) = mpsc::channel(8);
        let task = OwnedTask::spawn(feeds.run(vec![entry], refresh, CancellationToken::new()));
        feeds.described(store.name(), &[table_of("orders")]);
        Self { feeds, store: Arc::clone(store), task, refreshed, directory }
    }

    /// A feed that has begun, and what it is given by.
    async fn streaming() -> (Self, Steps, Cursor) {
        let store = FakeStore::new("shop");
        let steps = store.feed();
        let stage = Self::open(&store, entry(&store, false), (settings(), PACING), tempfile::tempdir().unwrap());
        stage.until(State::Streaming).await;
        let cursor = stage.hub().at_start();
        (stage, steps, cursor)
    }

    fn hub(&self) -> Arc<Hub> {
        self.feeds.hub(self.store.name()).unwrap()
    }

    async fn until(&self, state: State) {
        self.holds(|| self.feeds.state(self.store.name()) == state, || format!("{state:?}: {:?}", self.feeds.shown())).await;
    }

    /// Waits until the store was asked something.
    async fn called(&self, call: &str) {
        self.holds(|| self.store.calls().iter().any(|known| known == call), || format!("{call}: {:?}", self.store.calls())).await;
    }

    async fn holds(&self, holds: impl Fn() -> bool, told: impl Fn() -> String) {
        let end = Instant::now() + PATIENCE;
        while !holds() {
            assert!(Instant::now() < end, "{}", told());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    fn group(&self, transactions: &[(u64, &[(&str, i64)])]) -> Result<Step, Ended> {
        Ok(Step::Group(group_of(self.store.name(), transactions)))
    }

    fn idle(&self, position: u64) -> Result<Step, Ended> {
        Ok(Step::Idle { position: position_of(self.store.name(), position), resume: resume_of(position) })
    }

    /// Ends all as a server does.
    async fn close(self) -> (Arc<FakeStore>, TempDir) {
        self.feeds.stop().await;
        self.task.join().await.unwrap();
        (self.store, self.directory)
    }
}

/// A cursor's next transactions as their ids.
async fn ids(cursor: &mut Cursor, count: usize) -> Vec<String> {
    let mut ids = Vec::new();
    for _ in 0..count {
        let piece = tokio::time::timeout(PATIENCE, cursor.next()).await.unwrap().unwrap();
        ids.push(piece.transaction().unwrap().id.clone());
    }
    ids
}

/// A cursor's next transaction as words for its entries.
async fn entries(cursor: &mut Cursor) -> Vec<String> {
    let piece = tokio::time::timeout(PATIENCE, cursor.next()).await.unwrap().unwrap();
    let word = |entry: &Entry| match entry {
        Entry::Row { rows, row } => {
            let rows = &piece.group.rows[usize::try_from(*rows).unwrap()];
            rows.operations[usize::try_from(*row).unwrap()].word().to_owned()
        }
        Entry::Barrier(Barrier::Truncated { table }) => format!("truncated {}", table.name),
        Entry::Barrier(Barrier::Reshaped { table, .. }) => format!("reshaped {}", table.name),
        Entry::Barrier(Barrier::Stopped { table, .. }) => format!("stopped {}", table.name),
        Entry::Barrier(Barrier::Gap { reason }) => format!("gap: {reason}"),
    };
    piece.transaction().unwrap().entries.iter().map(word).collect()
}

fn lost(reason: &str) -> Result<Step, Ended> {
    Err(Ended::Lost(reason.to_owned()))
}

#[tokio::test]
async fn what_a_feed_gives_is_published_and_what_is_durable_acknowledged() {
    let (stage, steps, mut cursor) = Stage::streaming().await;
    steps.send(stage.group(&[(3, &[("a", 1)]), (4, &[("b", 2)])])).await.unwrap();
    assert_eq!(ids(&mut cursor, 2).await, ["t3", "t4"]);
    stage.called("acknowledge 4").await;
    steps.send(stage.idle(9)).await.unwrap();
    stage.called("acknowledge 9").await;
    let applied = stage.hub().positions().borrow().clone();
    assert_eq!((applied.seq, applied.position), (2, Some(position_of(stage.store.name(), 9))));
    let shown = stage.feeds.shown().remove(0);
    assert_eq!((shown.state, shown.events, shown.lag), (State::Streaming, 2, Some(Duration::ZERO)));
    assert!(stage.feeds.subscribed_from(stage.store.name(), &id_of("orders")).is_ok());
    let (store, _) = stage.close().await;
    assert_eq!(store.calls().first().unwrap(), "start orders from now");
    assert_eq!(store.calls().last().unwrap(), "close");
}

#[tokio::test]
async fn a_feed_that_breaks_goes_on_where_it_was_and_tells_nothing_twice() {
    let (stage, steps, mut cursor) = Stage::streaming().await;
    steps.send(stage.group(&[(3, &[("a", 1)]), (4, &[("b", 2)])])).await.unwrap();
    assert_eq!(ids(&mut cursor, 2).await, ["t3", "t4"]);
    let again = stage.store.feed();
    drop(steps);
    again.send(stage.group(&[(4, &[("b", 2)]), (5, &[("c", 3)])])).await.unwrap();
    again.send(stage.group(&[(6, &[])])).await.unwrap();
    again.send(stage.group(&[(7, &[("d", 4)])])).await.unwrap();
    assert_eq!(ids(&mut cursor, 2).await, ["t5", "t7"]);
    stage.called("start orders from 4").await;
    stage.called("acknowledge 7").await;
    assert_eq!(stage.hub().last(), 4);
    stage.close().await;
}

#[tokio::test]
async fn the_next_start_goes_on_where_the_log_ends() {
    let (stage, steps, mut cursor) = Stage::streaming().await;
    steps.send(stage.group(&[(3, &[("a", 1)])])).await.unwrap();
    let piece = cursor.next().await.unwrap();
    let place = piece.place(0).unwrap();
    stage.called("acknowledge 3").await;
    let (store, directory) = stage.close().await;
    let steps = store.feed();
    let stage = Stage::open(&store, entry(&store, false), (settings(), PACING), directory);
    stage.until(State::Streaming).await;
    stage.called("start orders from 3").await;
    steps.send(stage.group(&[(3, &[("a", 1)]), (5, &[("c", 3)])])).await.unwrap();
    let mut cursor = stage.hub().at(&place).unwrap();
    assert_eq!(ids(&mut cursor, 1).await, ["t5"]);
    assert_eq!(stage.hub().last(), 2);
    stage.close().await;
}

#[tokio::test]
async fn a_place_that_never_was_is_not_waited_for() {
    let store = FakeStore::new("shop");
    let steps = store.feed();
    let pacing = Pacing { watch: Duration::from_millis(20), settle: Duration::from_millis(50), ..PACING };
    let stage = Stage::open(&store, entry(&store, false), (settings(), pacing), tempfile::tempdir().unwrap());
    stage.until(State::Streaming).await;
    steps.send(stage.group(&[(3, &[("a", 1)])])).await.unwrap();
    let place = stage.hub().at_start().next().await.unwrap().place(0).unwrap();
    let mut ahead = place;
    ahead.seq += 5;
    stage.holds(|| stage.hub().at(&ahead).is_err(), || "it is waited for".to_owned()).await;
    assert!(stage.hub().at(&place).is_ok());
    stage.close().await;
}

#[tokio::test]
async fn a_volatile_log_begins_from_now_and_of_another_generation() {
    let store = FakeStore::new("shop");
    let (volatile, directory) = (ChangeSettings { is_durable: false, ..settings() }, tempfile::tempdir().unwrap());
    let steps = store.feed();
    let stage = Stage::open(&store, entry(&store, false), (volatile.clone(), PACING), directory);
    stage.until(State::Streaming).await;
    steps.send(stage.group(&[(3, &[("a", 1)])])).await.unwrap();
    stage.called("acknowledge 3").await;
    assert_eq!(stage.hub().positions().borrow().durable, 0);
    let place = stage.hub().at_start().next().await.unwrap().place(0).unwrap();
    let (store, directory) = stage.close().await;
    let _steps = store.feed();
    let stage = Stage::open(&store, entry(&store, false), (volatile, PACING), directory);
    stage.until(State::Streaming).await;
    assert_eq!(store.calls().iter().filter(|call| *call == "start orders from now").count(), 2);
    assert!(stage.hub().at(&place).is_err());
    assert_eq!(stage.hub().last(), 0, "there is no gap in a log that has told nothing");
    stage.close().await;
}

#[tokio::test]
async fn history_that_is_missing_is_a_gap_and_not_too_often() {
    let (stage, steps, mut cursor) = Stage::streaming().await;
    steps.send(stage.group(&[(3, &[("a", 1)])])).await.unwrap();
    assert_eq!(ids(&mut cursor, 1).await, ["t3"]);
    let again = stage.store.feed();
    steps.send(lost("the slot is gone")).await.unwrap();
    assert_eq!(entries(&mut cursor).await, ["gap: the slot is gone"]);
    stage.until(State::Streaming).await;
    // Behind a gap nothing is taken for given before.
    again.send(stage.group(&[(2, &[("b", 1)])])).await.unwrap();
    assert_eq!(ids(&mut cursor, 1).await, ["t2"]);
    let mut last = again;
    for _ in 0..2 {
        let next = stage.store.feed();
        last.send(lost("it is gone again")).await.unwrap();
        assert_eq!(entries(&mut cursor).await, ["gap: it is gone again"]);
        last = next;
    }
    last.send(lost("it is gone")).await.unwrap();
    stage.until(State::Refused).await;
    // Nobody looks at what the store would keep until then.
    stage.called("remove slot").await;
    let shown = stage.feeds.shown().remove(0);
    assert!(shown.reason.unwrap().contains("4 times within an hour"));
    assert_eq!(shown.mend.unwrap(), "CALL tributary.restart_feed('shop')");
    let (_steps, looks) = (stage.store.feed(), stage.store.looks());
    stage.feeds.restart(stage.store.name()).unwrap();
    stage.until(State::Streaming).await;
    assert_eq!(stage.store.looks(), looks + 1, "what the store remembers of its feeds is forgotten");
    assert_eq!(entries(&mut cursor).await, ["gap: it is gone"]);
    stage.close().await;
}

#[tokio::test]
async fn a_store_that_cannot_be_followed_is_tried_again() {
    let store = FakeStore::new("shop");
    store.refuse(Some(("wal_level is replica", "ALTER SYSTEM SET wal_level = logical")));
    let stage = Stage::open(&store, entry(&store, false), (settings(), PACING), tempfile::tempdir().unwrap());
    stage.until(State::Refused).await;
    let shown = stage.feeds.shown().remove(0);
    assert_eq!(shown.mend.as_deref(), Some("ALTER SYSTEM SET wal_level = logical"));
    let refused = stage.feeds.subscribed_from(store.name(), &id_of("orders")).unwrap_err();
    assert_eq!((refused.reason.as_str(), refused.is_passing), ("wal_level is replica", false));
    store.fail(Ended::Refused { reason: "another instance has it".to_owned(), mend: String::new() });
    let _steps = store.feed();
    store.refuse(None);
    stage.until(State::Streaming).await;
    // First it was refused by its beginning.
    assert_eq!(store.calls().len(), 2);
    assert_eq!(stage.hub().last(), 0);
    stage.close().await;
}

#[tokio::test]
async fn a_reload_closes_the_feed_before_the_next_one_begins() {
    let (stage, steps, mut cursor) = Stage::streaming().await;
    steps.send(stage.group(&[(3, &[("a", 1)])])).await.unwrap();
    stage.called("acknowledge 3").await;
    let again = stage.store.feed();
    stage.feeds.replace(vec![entry(&stage.store, false)]);
    stage.called("start orders from 3").await;
    again.send(stage.group(&[(4, &[("b", 1)])])).await.unwrap();
    assert_eq!(ids(&mut cursor, 2).await, ["t3", "t4"]);
    let calls = stage.store.calls();
    let close = calls.iter().position(|call| call == "close").unwrap();
    assert_eq!(calls[close + 1], "start orders from 3");
    // A store that is there no more is closed, and what it gave stays.
    stage.feeds.replace(Vec::new());
    stage.holds(|| stage.store.calls().iter().filter(|call| *call == "close").count() == 2, String::new).await;
    assert_eq!(ids(&mut stage.hub().at_start(), 2).await, ["t3", "t4"]);
    assert!(stage.feeds.shown().is_empty());
    assert!(stage.feeds.subscribed_from(stage.store.name(), &id_of("orders")).is_err());
    stage.close().await;
}

#[tokio::test]
async fn tables_that_come_and_go_are_told() {
    let (stage, steps, mut cursor) = Stage::streaming().await;
    stage.feeds.described(stage.store.name(), &[table_of("orders"), table_of("notes")]);
    stage.called("reshape orders notes").await;
    assert_eq!(entries(&mut cursor).await, ["reshaped notes"]);
    stage.store.judge(&id_of("orders"), Some("it has no primary key"));
    stage.feeds.described(stage.store.name(), &[table_of("orders"), table_of("notes")]);
    stage.called("reshape notes").await;
    assert_eq!(entries(&mut cursor).await, ["stopped orders"]);
    let shown = stage.feeds.shown().remove(0);
    let tables: Vec<_> = shown.tables.iter().map(|table| (table.table.name.as_str(), table.state)).collect();
    assert_eq!(tables, [("notes", TableState::Streaming), ("orders", TableState::StoreOnly)]);
    let told = stage.feeds.subscribed_from(stage.store.name(), &id_of("orders")).unwrap_err();
    assert_eq!(told.reason, "it has no primary key");
    // The same again is nothing new.
    stage.feeds.described(stage.store.name(), &[table_of("orders"), table_of("notes")]);
    steps.send(stage.group(&[(3, &[])])).await.unwrap();
    steps.send(stage.idle(5)).await.unwrap();
    stage.called("acknowledge 5").await;
    assert_eq!(stage.hub().last(), 2);
    stage.close().await;
}

fn barrier(stage: &Stage, position: u64, barrier: Barrier) -> Result<Step, Ended> {
    let mut group: Group = group_of(stage.store.name(), &[(position, &[])]);
    group.transactions[0].entries = vec![Entry::Barrier(barrier)];
    Ok(Step::Group(group))
}

#[tokio::test]
async fn a_table_that_stops_is_left_out_until_it_was_looked_at() {
    let (mut stage, steps, mut cursor) = Stage::streaming().await;
    let stopped = Barrier::Stopped { table: id_of("orders"), reason: "it has a column that nobody knows".to_owned() };
    steps.send(barrier(&stage, 3, stopped.clone())).await.unwrap();
    assert_eq!(entries(&mut cursor).await, ["stopped orders"]);
    // What the feed gives of it nevertheless is not told.
    steps.send(stage.group(&[(4, &[("a", 1)])])).await.unwrap();
    steps.send(Ok(Step::Doubt(vec![id_of("orders")]))).await.unwrap();
    assert_eq!(stage.refreshed.recv().await.unwrap(), *stage.store.name());
    let mend = || stage.feeds.shown()[0].tables[0].mend.clone().unwrap();
    assert_eq!(mend(), "It is looked at again by itself.");
    let told = stage.feeds.subscribed_from(stage.store.name(), &id_of("orders")).unwrap_err();
    assert_eq!(told.reason, "it has a column that nobody knows");
    stage.feeds.described(stage.store.name(), &[table_of("orders")]);
    stage.called("reshape orders").await;
    assert_eq!(entries(&mut cursor).await, ["reshaped orders"]);
    steps.send(stage.group(&[(5, &[("b", 1)])])).await.unwrap();
    assert_eq!(ids(&mut cursor, 1).await, ["t5"]);
    // One that nothing doubts stays so.
    steps.send(barrier(&stage, 6, stopped)).await.unwrap();
    assert_eq!(entries(&mut cursor).await, ["stopped orders"]);
    stage.feeds.described(stage.store.name(), &[table_of("orders")]);
    stage.called("reshape ").await;
    assert!(cursor.next().now_or_never().is_none());
    assert_eq!(stage.feeds.shown()[0].tables[0].state, TableState::StoreOnly);
    assert!(mend().contains("restart_feed"), "{}", mend());
    stage.close().await;
}

#[tokio::test]
async fn a_store_without_a_feed_keeps_no_log_for_one() {
    let store = FakeStore::new("shop");
    let object = |what: &'static str, ours: bool| OwnObject {
        what,
        name: "tributary_x".to_owned(),
        remove: "DROP".to_owned(),
        ours,
        holds_bytes: None,
    };
    store.holds(vec![object("replication slot", true), object("publication", true)]);
    let off = FeedEntry { follow: None, ..entry(&store, false) };
    let stage = Stage::open(&store, off.clone(), (settings(), PACING), tempfile::tempdir().unwrap());
    stage.called("remove slot").await;
    let left = || stage.feeds.shown()[0].objects.iter().map(|object| object.what).collect::<Vec<_>>();
    stage.holds(|| left() == ["publication"], || format!("{:?}", left())).await;
    assert_eq!(stage.feeds.state(store.name()), State::Off);
    assert!(stage.feeds.restart(store.name()).is_err());
    assert!(stage.feeds.subscribed_from(store.name(), &id_of("orders")).unwrap_err().mend.is_some());
    // What is of another is left alone.
    store.holds(vec![object("replication slot", false)]);
    stage.feeds.replace(vec![off]);
    stage.holds(|| left() == ["replication slot"], || format!("{:?}", left())).await;
    assert_eq!(store.calls().len(), 1);
    stage.close().await;
}

#[tokio::test]
async fn whoever_follows_a_store_that_is_switched_off_is_told() {
    let (stage, steps, mut cursor) = Stage::streaming().await;
    steps.send(stage.group(&[(3, &[("a", 1)])])).await.unwrap();
    assert_eq!(ids(&mut cursor, 1).await, ["t3"]);
    let off = FeedEntry { follow: None, ..entry(&stage.store, false) };
    stage.feeds.replace(vec![off.clone()]);
    assert_eq!(entries(&mut cursor).await, ["stopped orders"]);
    stage.until(State::Off).await;
    assert!(stage.feeds.subscribed_from(stage.store.name(), &id_of("orders")).is_err());
    // Once.
    stage.feeds.replace(vec![off]);
    let _steps = stage.store.feed();
    stage.feeds.replace(vec![entry(&stage.store, false)]);
    assert_eq!(entries(&mut cursor).await, ["reshaped orders"]);
    stage.until(State::Streaming).await;
    // Also where it is not there at all any more.
    stage.feeds.replace(Vec::new());
    assert_eq!(entries(&mut cursor).await, ["stopped orders"]);
    stage.close().await;
}

#[tokio::test]
async fn a_store_that_keeps_too_much_lets_go_and_there_is_a_gap() {
    let (stage, steps, mut cursor) = Stage::streaming().await;
    steps.send(stage.group(&[(3, &[("a", 1)])])).await.unwrap();
    assert_eq!(ids(&mut cursor, 1).await, ["t3"]);
    let _again = stage.store.feed();
    stage.store.keeps(Watch { retained_bytes: Some(2 << 30), ..Watch::default() });
    let told = entries(&mut cursor).await;
    assert!(told[0].starts_with("gap: the store kept 2147483648 bytes of its log for us"), "{told:?}");
    let calls = stage.store.calls();
    let removed = calls.iter().position(|call| call == "remove slot").unwrap();
    assert_eq!(calls[removed - 1], "close");
    assert_eq!(calls[removed + 1], "start orders from now");
    stage.close().await;
}

#[tokio::test]
async fn a_feed_that_is_stuck_is_begun_again() {
    let (stage, _steps, _cursor) = Stage::streaming().await;
    let _again = stage.store.feed();
    let mut lag = 1;
    while stage.store.calls().iter().filter(|call| call.starts_with("start")).count() < 2 {
        stage.store.keeps(Watch { lag_bytes: Some(lag), ..Watch::default() });
        lag += 1;
        assert!(lag < 10_000, "{:?}", stage.store.calls());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    stage.until(State::Streaming).await;
    stage.close().await;
}

#[tokio::test]
async fn what_a_store_keeps_is_looked_at_also_while_there_is_no_log() {
    let store = FakeStore::new("shop");
    let _steps = store.feed();
    let directory = tempfile::tempdir().unwrap();
    // Something else stands where the log would be.
    std::fs::write(directory.path().join("shop"), "").unwrap();
    store.keeps(Watch { retained_bytes: Some(2 << 30), ..Watch::default() });
    let stage = Stage::open(&store, entry(&store, false), (settings(), PACING), directory);
    stage.called("remove slot").await;
    assert!(stage.feeds.hub(store.name()).is_none());
    std::fs::remove_file(stage.directory.path().join("shop")).unwrap();
    stage.until(State::Streaming).await;
    stage.close().await;
}

#[tokio::test]
async fn what_a_store_keeps_is_looked_at_also_between_short_tries() {
    let store = FakeStore::new("shop");
    store.keeps(Watch { retained_bytes: Some(2 << 30), ..Watch::default() });
    // No feed begins, and each is tried sooner than it would be looked.
    let pacing = Pacing { watch: Duration::from_millis(50), ..PACING };
    let stage = Stage::open(&store, entry(&store, false), (settings(), pacing), tempfile::tempdir().unwrap());
    stage.called("remove slot").await;
    stage.close().await;
}

#[tokio::test]
async fn a_feed_that_gives_nothing_and_breaks_is_tried_more_and_more_seldom() {
    let store = FakeStore::new("shop");
    let pacing = Pacing { backoff: (Duration::from_millis(50), Duration::from_secs(60)), ..PACING };
    for position in 1..=6 {
        let steps = store.feed();
        let (position, resume) = (position_of(store.name(), position), resume_of(position));
        steps.send(Ok(Step::Idle { position, resume })).await.unwrap();
    }
    let last = store.feed();
    let began = Instant::now();
    let stage = Stage::open(&store, entry(&store, false), (settings(), pacing), tempfile::tempdir().unwrap());
    stage
        .holds(|| store.calls().iter().filter(|call| call.starts_with("start")).count() == 7, || format!("{:?}", store.calls()))
        .await;
    // 50, 100, 200, 400, 800 and 1,600 ms, less a quarter.
    assert!(began.elapsed() >= Duration::from_millis(2_300), "{:?}", began.elapsed());
    drop(last);
    stage.close().await;
}

#[tokio::test]
async fn events_for_delivery_of_before_the_feed_are_told_once_behind_a_gap() {
    let store = FakeStore::new("shop");
    let columns: Vec<arrow::array::ArrayRef> =
        vec![Arc::new(StringArray::from(vec!["a", "b"])), Arc::new(Int64Array::from(vec![1, 2]))];
    let batch = RecordBatch::try_new(Arc::clone(&shape_of("tributary_outbox").schema), columns).unwrap();
    store.fills(vec![batch], 2);
    let steps = store.feed();
    let stage = Stage::open(&store, entry(&store, true), (settings(), PACING), tempfile::tempdir().unwrap());
    stage.called("start orders tributary_outbox from now").await;
    stage.until(State::Streaming).await;
    let mut cursor = stage.hub().at_start();
    let read = Operation::Read.word();
    assert_eq!(entries(&mut cursor).await, [read, read]);
    steps.send(stage.idle(5)).await.unwrap();
    stage.called("acknowledge 5").await;
    let (store, directory) = stage.close().await;
    let steps = store.feed();
    let stage = Stage::open(&store, entry(&store, true), (settings(), PACING), directory);
    stage.called("start orders tributary_outbox from 5").await;
    steps.send(stage.group(&[(6, &[("c", 1)])])).await.unwrap();
    let mut cursor = stage.hub().at_start();
    assert_eq!(entries(&mut cursor).await, [read, read]);
    assert_eq!(ids(&mut cursor, 1).await, ["t6"]);
    let _again = store.feed();
    steps.send(lost("it is gone")).await.unwrap();
    assert_eq!(entries(&mut cursor).await, ["gap: it is gone"]);
    assert_eq!(entries(&mut cursor).await, [read, read]);
    stage.close().await;
}

#[tokio::test]
async fn feeds_that_never_ran_stop_at_once() {
    let feeds = Feeds::none();
    feeds.stop().await;
    assert!(feeds.shown().is_empty() && feeds.hubs().is_empty());
    assert_eq!(feeds.families().iter().filter(|family| family.name() == "tributary_notifications_total").count(), 1);
}
