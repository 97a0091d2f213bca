//! How far everything is that is committed, where the server shows more than it gives a feed, and where triggers have lost something.

use super::*;

/// What the server says where its log ends, as a number.
const END: &str = "SELECT (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint::text";
/// A number that grows with every transaction that has ended, and so with every one that has the log written for who waits.
const ENDED: &str = "SELECT txid_snapshot_xmax(txid_current_snapshot())::text";
/// How far the log is on disk.
const FLUSHED: &str = "SELECT (pg_current_wal_flush_lsn() - '0/0'::pg_lsn)::bigint::text";
/// Bytes of a page of the log, and with what each begins.
const PAGE: u64 = 8_192;
const HEADER: u64 = 24;

impl Stage {
    async fn position(&self) -> Position {
        self.fixture.connector.position(self.who, &self.follow).await.unwrap()
    }

    async fn number(&mut self, sql: &str) -> u64 {
        self.fixture.ask(sql).await.unwrap().parse().unwrap()
    }

    /// Waits until the log is on disk up to a position, and tells whether a transaction has ended since for that.
    async fn is_written(&mut self, wanted: &Position, before: u64) -> bool {
        while self.number(ENDED).await == before {
            if self.number(FLUSHED).await >= location(wanted) {
                return self.number(ENDED).await > before;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        true
    }
}

impl Reader {
    /// Reads until everything up to a position has come.
    async fn reach(&mut self, stage: &Stage, wanted: &Position) {
        let covers = |applied: &Position| stage.fixture.connector.covers(applied, wanted) == Coverage::Covered;
        while !covers(&self.position) {
            match step(&mut *self.feed).await {
                Step::Group(group) => self.position = group.transactions.last().unwrap().position.clone(),
                Step::Idle { position, .. } => self.position = position,
                Step::Doubt(_) => self.doubts += 1,
            }
        }
    }
}

/// Where a position is in the log.
fn location(position: &Position) -> u64 {
    u64::from_be_bytes(position.token[8..16].try_into().unwrap())
}

/// A server where nobody else writes.
async fn alone(server: &Postgres) -> Stage {
    let mut fixture = Fixture::on(server, "").await;
    fixture.run(TABLE).await;
    let capture = fixture.connector.capture().unwrap();
    Stage { fixture, capture, who: InstanceId(rand::random()), follow: follow(How::Log) }
}

#[tokio::test]
async fn a_log_that_ends_with_a_page_is_not_waited_for_behind_the_next_header() {
    let server = Postgres::start_with(&throwaway()).await.unwrap();
    let mut stage = alone(&server).await;
    let mut reader = stage.feed(None).await;
    // On disk at once, so that nothing is written but what is written here.
    stage.run("SET synchronous_commit = on").await;
    let message = |bytes: u64| format!("SELECT pg_logical_emit_message(true, 'x', repeat('x', {bytes}))");
    // What a message takes besides its text. As long as it is short it takes the same.
    let mut besides = 88;
    let mut landed = None;
    for _ in 0..2_000 {
        let at = stage.number(END).await;
        let left = PAGE - at % PAGE;
        if !(besides + 16..=besides + 150).contains(&left) {
            stage.run(&message(16)).await;
            let written = stage.number(END).await - at;
            // What crosses a page is a header longer, and the server may write in between.
            besides = if left > 1_000 { written - 16 } else { besides };
            continue;
        }
        stage.run(&message(left - besides)).await;
        if stage.number(END).await % PAGE != HEADER {
            continue;
        }
        let asked = stage.position().await;
        if [0, HEADER].contains(&(location(&asked) % PAGE)) {
            landed = Some(asked);
            break;
        }
    }
    let wanted = landed.expect("the log never ended with a page");
    assert_eq!(location(&wanted) % PAGE, 0, "the header of the next page is not a part of what was written");
    reader.reach(&stage, &wanted).await;
    reader.close().await;
}

#[tokio::test]
async fn commits_that_are_not_waited_for_are_counted() {
    let mut stage = Stage::new(How::Log, TABLE).await;
    let mut reader = stage.feed(None).await;
    stage.run("SET synchronous_commit = off").await;
    for key in 1..=20 {
        stage.run(&format!("INSERT INTO t VALUES ({key}, 'seen before it is on disk')")).await;
        let wanted = stage.position().await;
        assert_eq!(stage.fixture.connector.covers(&reader.position, &wanted), Coverage::Behind);
        let told = reader.told(1).await;
        assert_eq!(told, [format!("insert t {key} seen before it is on disk")]);
        reader.reach(&stage, &wanted).await;
    }
    reader.close().await;
    stage.end().await;
}

#[tokio::test]
async fn a_transaction_that_stays_open_keeps_nobody_waiting() {
    let server = Postgres::start_with(&throwaway()).await.unwrap();
    let mut stage = alone(&server).await;
    let mut reader = stage.feed(None).await;
    stage.run("BEGIN; INSERT INTO t VALUES (1, 'not on disk, and not committed')").await;
    // Nothing else is written, and what there is of it the server would keep to itself.
    let wanted = stage.position().await;
    reader.reach(&stage, &wanted).await;
    stage.run("COMMIT").await;
    assert_eq!(reader.told(1).await, ["insert t 1 not on disk, and not committed"]);
    reader.close().await;
}

/// The server is made to write its log now and then only. Whoever asks in between does not ask again.
#[tokio::test]
async fn a_position_that_is_asked_for_shortly_behind_another_is_come_to_though_nothing_more_is_written() {
    let server = Postgres::start_with(&throwaway()).await.unwrap();
    let mut stage = alone(&server).await;
    let mut reader = stage.feed(None).await;
    // Nobody else ends a transaction, and this one stays open: what it writes the server would keep to itself.
    stage.run("BEGIN; INSERT INTO t VALUES (0, 'not on disk')").await;
    let (mut later, mut by_chance, mut key) = (0, 0, 0);
    while later < 3 {
        key += 1;
        assert!(key < 1_000, "the server was made to write at once each time");
        stage.run(&format!("INSERT INTO t VALUES ({key}, 'not on disk')")).await;
        let before = stage.number(ENDED).await;
        let wanted = stage.position().await;
        // Written at once: there is nothing to wait for.
        if stage.number(ENDED).await > before || stage.number(FLUSHED).await >= location(&wanted) {
            continue;
        }
        let made = tokio::time::timeout(Duration::from_secs(30), stage.is_written(&wanted, before)).await;
        if made.expect("the log is written some time") {
            later += 1;
        } else {
            // The server does so by itself every 15 s.
            by_chance += 1;
            assert!(by_chance < 4, "nobody makes the server write its log later");
        }
        reader.reach(&stage, &wanted).await;
    }
    stage.run("COMMIT").await;
    reader.close().await;
}

#[tokio::test]
async fn triggers_that_have_kept_no_room_say_nothing_until_a_feed_begins_anew() {
    let mut stage = Stage::new(How::Outbox, TABLE).await;
    stage.follow.max_retained = 0;
    let reader = stage.feed(None).await;
    let before = stage.position().await;
    let resume = reader.close().await;
    stage.run("INSERT INTO t SELECT n, 'x' FROM generate_series(1, 3000) AS n").await;
    let lost = stage.fixture.connector.position(stage.who, &stage.follow).await.unwrap_err();
    assert!(lost.to_string().contains("max_retained"), "{lost}");
    is_lost_soon(stage.start(Some(&resume)).await).await;
    let mut reader = stage.feed(None).await;
    let wanted = stage.position().await;
    assert_eq!(stage.fixture.connector.covers(&before, &wanted), Coverage::Behind);
    reader.reach(&stage, &wanted).await;
    reader.close().await;
    stage.end().await;
}

/// A feed that goes on finds out that something is missing.
async fn is_lost_soon(started: Result<Box<dyn Feed>, Ended>) {
    let mut feed = started.unwrap_or_else(|ended| panic!("{ended:?}"));
    let ended = loop {
        if let Err(ended) = tokio::time::timeout(Duration::from_secs(30), feed.next()).await.unwrap() {
            break ended;
        }
    };
    assert!(matches!(ended, Ended::Lost(_)), "{ended:?}");
    feed.close().await;
}

#[tokio::test]
async fn triggers_say_nothing_where_there_are_none() {
    let stage = Stage::new(How::Outbox, TABLE).await;
    assert!(stage.fixture.connector.position(stage.who, &stage.follow).await.is_err());
}
