//! Changes of a file, written behind the connector and through it.

mod kept;
mod rest;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, RecordBatch};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use futures::TryStreamExt;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Executor, Row};
use tokio_util::sync::CancellationToken;
use tributary::stores::capture::{Capture, Ended, Feed, Follow, Followed, How, InstanceId, Judged, Step, TablePattern};
use tributary::stores::change::{Barrier, Entry, Group, Known, Operation, Resume};
use tributary::stores::connector::ScanLimits;
use tributary::stores::define::{Define, Step as Altered, What};
use tributary::stores::position::{Coverage, Position};
use tributary::stores::{Connector, Purpose, Scan, StoreName, Table, WriteIsolation};

use super::{connector, file};

const WHO: InstanceId = InstanceId(0xab);
const PATIENCE: Duration = Duration::from_secs(20);

const TABLES: &str = "CREATE TABLE t (id INTEGER PRIMARY KEY, v REAL, note TEXT, raw BLOB);
    CREATE TABLE doc (id TEXT PRIMARY KEY, body JSON) WITHOUT ROWID;
    CREATE TABLE loose (id INTEGER)";

/// The same where others write while a state is read: without a write-ahead log they would wait for it to be let go of.
fn with_journal() -> String {
    format!("PRAGMA journal_mode = wal; {TABLES}")
}

fn follow() -> Follow {
    Follow {
        how: How::Outbox,
        only: vec![TablePattern::parse("*").unwrap()],
        except: Vec::new(),
        max_retained: 1 << 30,
        poll: Duration::from_millis(5),
        publication: None,
        server_id: None,
    }
}

/// A file with its feed.
struct Stage {
    plain: SqliteConnection,
    connector: Arc<dyn Connector>,
    capture: Arc<dyn Capture>,
    directory: tempfile::TempDir,
}

impl Stage {
    async fn new(statements: &str) -> Self {
        let (directory, plain, connector) = file(statements).await;
        let capture = connector.capture().unwrap();
        Self { plain, connector, capture, directory }
    }

    async fn run(&mut self, sql: &str) {
        self.plain.execute(sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))).await.unwrap();
    }

    async fn count(&mut self, sql: &str) -> i64 {
        self.plain.fetch_one(sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))).await.unwrap().get(0)
    }

    async fn followed(&self) -> Vec<Followed> {
        let tables = self.connector.discover().await.unwrap().tables;
        let survey = self.capture.survey(WHO, &follow(), &tables).await.unwrap();
        assert!(survey.refused.is_none(), "{survey:?}");
        let followed = survey.tables.into_iter().filter_map(|judged| match judged {
            Judged::Followed(followed) => Some(followed),
            Judged::StoreOnly { .. } => None,
        });
        followed.collect()
    }

    async fn start(&self, follow: &Follow, from: Option<&Resume>) -> Result<Box<dyn Feed>, Ended> {
        self.capture.start(WHO, follow, &self.followed().await, from).await
    }

    async fn feed(&self, from: Option<&Resume>) -> Box<dyn Feed> {
        self.start(&follow(), from).await.unwrap_or_else(|ended| panic!("{ended:?}"))
    }

    async fn table(&self, name: &str) -> Arc<Table> {
        self.connector.discover().await.unwrap().tables.into_iter().find(|table| table.id.name == name).unwrap()
    }
}

async fn next(feed: &mut Box<dyn Feed>) -> Result<Step, Ended> {
    tokio::time::timeout(PATIENCE, feed.next()).await.expect("the feed gives nothing")
}

/// The next group, whatever comes before it.
async fn group(feed: &mut Box<dyn Feed>) -> Group {
    loop {
        if let Step::Group(group) = next(feed).await.unwrap() {
            return group;
        }
    }
}

/// The events of so many rows and barriers, however they are divided, and the last group.
async fn events(feed: &mut Box<dyn Feed>, count: usize) -> (Vec<String>, Group) {
    let mut found = Vec::new();
    loop {
        let group = group(feed).await;
        found.extend(told(&group));
        if found.len() >= count {
            return (found, group);
        }
    }
}

fn told(group: &Group) -> Vec<String> {
    let entries = group.transactions.iter().flat_map(|transaction| &transaction.entries);
    entries.map(|entry| one(group, entry)).collect()
}

fn one(group: &Group, entry: &Entry) -> String {
    match entry {
        Entry::Barrier(Barrier::Reshaped { table, .. }) => format!("reshaped {}", table.name),
        Entry::Barrier(Barrier::Stopped { table, .. }) => format!("stopped {}", table.name),
        Entry::Barrier(other) => format!("{other:?}"),
        Entry::Row { rows, row } => {
            let (rows, row) = (&group.rows[*rows as usize], *row as usize);
            let old = rows.old.as_ref().map(|old| format!(" <- {}", side(old, &rows.old_known, row)));
            let old = old.filter(|_| rows.operations[row] != Operation::Upsert).unwrap_or_default();
            let new = if rows.operations[row] == Operation::Delete { String::new() } else { side(&rows.new, &rows.new_known, row) };
            format!("{} {} {new}{old}", rows.operations[row].word(), rows.shape.id.name)
        }
    }
}

fn side(batch: &RecordBatch, known: &Known, row: usize) -> String {
    let options = FormatOptions::default().with_null("NULL");
    let cell = |(column, array): (usize, &Arc<dyn Array>)| {
        if known.has(column, row) {
            ArrayFormatter::try_new(array, &options).unwrap().value(row).to_string()
        } else {
            "?".to_owned()
        }
    };
    batch.columns().iter().enumerate().map(cell).collect::<Vec<_>>().join(",")
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_come_whole_and_in_order() {
    let mut stage = Stage::new(TABLES).await;
    stage.run("INSERT INTO t VALUES (1, 1, 'before', NULL)").await;
    let mut feed = stage.feed(None).await;
    stage.run("BEGIN; INSERT INTO t VALUES (2, 0.30000000000000004, 'it''s', x'00ff'); INSERT INTO doc VALUES ('a', '{\"x\": 1}'); ROLLBACK").await;
    stage
        .run(
            "BEGIN; INSERT INTO t (v, raw) VALUES (2, x'00ff'); INSERT INTO doc VALUES ('a', jsonb('{\"x\":1}')); \
             UPDATE t SET id = 7, note = 'moved' WHERE id = 1; DELETE FROM t WHERE id = 2; COMMIT",
        )
        .await;
    let (found, group) = events(&mut feed, 4).await;
    let expected = [
        "upsert t 2,2.0,NULL,00ff",
        "upsert doc a,{\"x\":1}",
        "update t 7,1.0,moved,NULL <- 1,1.0,before,NULL",
        "delete t  <- 2,2.0,NULL,00ff",
    ];
    assert_eq!(found, expected);
    assert_eq!((group.transactions.len(), group.transactions[0].ends, group.transactions[0].first), (1, true, 0));
    let moved = group.rows.iter().find(|rows| rows.shape.id.name == "t").unwrap();
    assert_eq!((0..3).map(|row| moved.moves(row)).collect::<Vec<_>>(), [false, true, false]);
    // What REPLACE does is one event.
    stage.run("INSERT OR REPLACE INTO t VALUES (7, 3, 'replaced', NULL)").await;
    assert_eq!(events(&mut feed, 1).await.0, ["upsert t 7,3.0,replaced,NULL"]);
    feed.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_feed_goes_on_where_it_was() {
    let mut stage = Stage::new(TABLES).await;
    let mut feed = stage.feed(None).await;
    stage.run("INSERT INTO t (id) VALUES (1)").await;
    let (_, first) = events(&mut feed, 1).await;
    let position = |group: &Group| group.transactions.last().unwrap().position.clone();
    // What is durable of another file says nothing of this one.
    let mut foreign = position(&first);
    foreign.token[0] ^= 0xff;
    feed.acknowledge(&foreign, &first.resume).await.unwrap();
    feed.close().await;
    assert_eq!(stage.count("SELECT count(*) FROM tributary_changes").await, 1);
    let mut feed = stage.feed(Some(&first.resume)).await;
    feed.acknowledge(&position(&first), &first.resume).await.unwrap();
    feed.close().await;
    assert_eq!(stage.count("SELECT count(*) FROM tributary_changes").await, 0);
    stage.run("INSERT INTO t (id) VALUES (2); INSERT INTO t (id) VALUES (3)").await;
    let mut feed = stage.feed(Some(&first.resume)).await;
    let (found, second) = events(&mut feed, 2).await;
    assert_eq!(found, ["upsert t 2,NULL,NULL,NULL", "upsert t 3,NULL,NULL,NULL"]);
    let (before, after) = (position(&first), position(&second));
    assert_eq!(stage.connector.covers(&after, &before), Coverage::Covered);
    assert_eq!(stage.connector.covers(&before, &after), Coverage::Behind);
    let foreign = Position { store: StoreName::new("other"), ..after.clone() };
    assert_eq!(stage.connector.covers(&foreign, &after), Coverage::Incomparable);
    // Nothing was acknowledged, so that all of it comes again.
    feed.close().await;
    let mut feed = stage.feed(Some(&first.resume)).await;
    assert_eq!(events(&mut feed, 2).await.0, found);
    feed.acknowledge(&after, &second.resume).await.unwrap();
    feed.close().await;
    // What was removed is not to be had again.
    let lost = stage.start(&follow(), Some(&first.resume)).await;
    assert!(matches!(lost, Err(Ended::Lost(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_transaction_comes_in_pieces() {
    let mut stage = Stage::new(TABLES).await;
    let mut feed = stage.feed(None).await;
    let rows = 20_000;
    stage
        .run(&format!(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows}) INSERT INTO t (id) SELECT i FROM n"
        ))
        .await;
    let (mut given, mut resumes) = (0, Vec::new());
    loop {
        let group = group(&mut feed).await;
        let [transaction] = &group.transactions[..] else { panic!("{} transactions", group.transactions.len()) };
        assert_eq!(transaction.first as usize, given);
        given += transaction.entries.len();
        resumes.push(group.resume.clone());
        if transaction.ends {
            break;
        }
    }
    assert_eq!(given, rows);
    assert!(resumes.len() > 2 && resumes[0] == resumes[1] && resumes[0] != resumes[resumes.len() - 1]);
    feed.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_while_a_large_transaction_is_given_comes_behind_it() {
    let mut stage = Stage::new(TABLES).await;
    let mut feed = stage.feed(None).await;
    let many =
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40000) INSERT INTO t (id) SELECT i FROM n";
    stage.run(many).await;
    let first = group(&mut feed).await;
    assert!(!first.transactions[0].ends);
    stage.run("INSERT INTO doc VALUES ('a', '[1]')").await;
    while !group(&mut feed).await.transactions[0].ends {}
    // Nobody writes any more.
    assert_eq!(events(&mut feed, 1).await.0, ["upsert doc a,[1]"]);
    feed.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_becomes_another_one_is_told() {
    let mut stage = Stage::new(TABLES).await;
    let mut feed = stage.feed(None).await;
    stage.run("INSERT INTO t (id) VALUES (1); ALTER TABLE t ADD COLUMN more TEXT DEFAULT 'd'; INSERT INTO t (id) VALUES (2)").await;
    // By the triggers that were there: without the new column.
    assert_eq!(events(&mut feed, 2).await.0, ["upsert t 1,NULL,NULL,NULL", "upsert t 2,NULL,NULL,NULL"]);
    feed.reshape(&stage.followed().await).await.unwrap();
    stage.run("INSERT INTO t (id) VALUES (3)").await;
    assert_eq!(events(&mut feed, 2).await.0, ["reshaped t", "upsert t 3,NULL,NULL,NULL,d"]);
    // A table that is made again has no triggers.
    stage.run("DROP TABLE t; CREATE TABLE t (id INTEGER PRIMARY KEY); INSERT INTO t VALUES (4)").await;
    feed.reshape(&stage.followed().await).await.unwrap();
    stage.run("INSERT INTO t VALUES (5)").await;
    assert_eq!(events(&mut feed, 2).await.0, ["reshaped t", "upsert t 5"]);
    stage.run("DROP TABLE t").await;
    feed.reshape(&stage.followed().await).await.unwrap();
    assert_eq!(events(&mut feed, 1).await.0, ["stopped t"]);
    // Whatever is defined lets the tables be discovered again.
    stage.run("CREATE TABLE extra (id INTEGER PRIMARY KEY)").await;
    while !matches!(next(&mut feed).await.unwrap(), Step::Doubt(_)) {}
    feed.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_of_a_table_that_is_followed_is_dropped_also_in_a_transaction() {
    let mut stage = Stage::new(TABLES).await;
    let mut feed = stage.feed(None).await;
    stage.run("INSERT INTO t (id, note) VALUES (1, 'a')").await;
    assert_eq!(events(&mut feed, 1).await.0, ["upsert t 1,NULL,a,NULL"]);
    let drop_column = async |stage: &Stage, name: &str| {
        let steps = vec![Altered::DropColumn { name: name.to_owned(), cascades: false }];
        let what = What::AlterTable { table: stage.table("t").await, only: false, steps };
        Define { store: StoreName::new("shop"), what }
    };
    let branch = stage.connector.open(Purpose::Write(WriteIsolation::ReadCommitted)).await.unwrap();
    branch.define(&drop_column(&stage, "note").await, &CancellationToken::new()).await.unwrap();
    branch.commit().await.unwrap();
    feed.reshape(&stage.followed().await).await.unwrap();
    stage.run("INSERT INTO t (id) VALUES (2)").await;
    assert_eq!(events(&mut feed, 2).await.0, ["reshaped t", "upsert t 2,NULL,NULL"]);
    stage.connector.define(&drop_column(&stage, "raw").await, &CancellationToken::new()).await.unwrap();
    feed.reshape(&stage.followed().await).await.unwrap();
    stage.run("INSERT INTO t (id) VALUES (3)").await;
    assert_eq!(events(&mut feed, 2).await.0, ["reshaped t", "upsert t 3,NULL"]);
    feed.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn triggers_that_somebody_dropped_are_made_again() {
    let mut stage = Stage::new(TABLES).await;
    let mut feed = stage.feed(None).await;
    let trigger = "SELECT count(*) FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = 't'";
    assert_eq!(stage.count(trigger).await, 3);
    let name: String = stage
        .plain
        .fetch_one("SELECT name FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = 't' LIMIT 1")
        .await
        .unwrap()
        .get(0);
    stage.run(&format!("DROP TRIGGER {name}; INSERT INTO t (id) VALUES (1)")).await;
    let (found, _) = events(&mut feed, 1).await;
    assert!(found.contains(&"reshaped t".to_owned()), "{found:?}");
    assert_eq!(stage.count(trigger).await, 3);
    // A trigger of somebody's that runs before ours would be told of too early.
    stage.run("CREATE TRIGGER own AFTER INSERT ON t BEGIN UPDATE t SET note = 'own' WHERE id = NEW.id; END").await;
    assert_eq!(events(&mut feed, 1).await.0, ["reshaped t"]);
    stage.run("INSERT INTO t (id) VALUES (2)").await;
    let expected = ["upsert t 2,NULL,NULL,NULL", "update t 2,NULL,own,NULL <- 2,NULL,NULL,NULL"];
    assert_eq!(events(&mut feed, 2).await.0, expected);
    feed.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_foreign_keys_and_conflicts_do_is_told() {
    let tables = "CREATE TABLE tree (id INTEGER PRIMARY KEY, parent INTEGER REFERENCES tree ON DELETE CASCADE);
        CREATE TABLE leaf (id TEXT PRIMARY KEY, tree INTEGER REFERENCES tree ON DELETE SET NULL, n INTEGER) WITHOUT ROWID";
    let mut stage = Stage::new(tables).await;
    let mut feed = stage.feed(None).await;
    stage.run("PRAGMA foreign_keys = ON; INSERT INTO tree VALUES (1, NULL), (2, 1); INSERT INTO leaf VALUES ('a', 2, 1)").await;
    assert_eq!(events(&mut feed, 3).await.0, ["upsert tree 1,NULL", "upsert tree 2,1", "upsert leaf a,2,1"]);
    stage.run("DELETE FROM tree WHERE id = 1").await;
    let mut found = events(&mut feed, 3).await.0;
    found.sort_unstable();
    assert_eq!(found, ["delete tree  <- 1,NULL", "delete tree  <- 2,1", "update leaf a,NULL,1 <- a,2,1"]);
    stage.run("INSERT INTO leaf VALUES ('a', NULL, 5) ON CONFLICT (id) DO UPDATE SET n = excluded.n").await;
    stage.run("INSERT OR IGNORE INTO leaf VALUES ('a', NULL, 9); UPDATE leaf SET id = 'b' WHERE id = 'a'").await;
    assert_eq!(events(&mut feed, 2).await.0, ["update leaf a,NULL,5 <- a,NULL,1", "update leaf b,NULL,5 <- a,NULL,5"]);
    feed.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_cannot_be_read_stops_its_table_alone() {
    let mut stage = Stage::new(TABLES).await;
    let mut feed = stage.feed(None).await;
    stage
        .run(
            "BEGIN; INSERT INTO t (id) VALUES (1); INSERT INTO t (id, v) VALUES (2, 'no number'); INSERT INTO t (id) VALUES (3); \
             INSERT INTO doc VALUES ('a', '[1]'); COMMIT",
        )
        .await;
    let (found, group) = events(&mut feed, 3).await;
    assert_eq!(found, ["upsert t 1,NULL,NULL,NULL", "stopped t", "upsert doc a,[1]"]);
    let Entry::Barrier(Barrier::Stopped { reason, .. }) = &group.transactions[0].entries[1] else { panic!("no barrier") };
    assert!(reason.contains("\"v\"") && !reason.contains("no number"), "{reason}");
    stage.run("INSERT INTO t (id) VALUES (4); INSERT INTO doc VALUES ('b', '[2]')").await;
    assert_eq!(events(&mut feed, 1).await.0, ["upsert doc b,[2]"]);
    // Whoever begins with it again is told that something is missing.
    feed.reshape(&stage.followed().await).await.unwrap();
    stage.run("INSERT INTO t (id) VALUES (5)").await;
    assert_eq!(events(&mut feed, 2).await.0, ["reshaped t", "upsert t 5,NULL,NULL,NULL"]);
    feed.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_is_bounded_and_no_write_fails() {
    let mut stage = Stage::new(TABLES).await;
    let small = Follow { max_retained: 10 << 10, ..follow() };
    let mut feed = stage.start(&small, None).await.unwrap_or_else(|ended| panic!("{ended:?}"));
    let Step::Idle { resume, .. } = next(&mut feed).await.unwrap() else { panic!("nothing has changed") };
    feed.close().await;
    stage.run(&large(1, 50)).await;
    assert_eq!(
        (stage.count("SELECT count(*) FROM t").await, stage.count("SELECT count(*) FROM tributary_changes").await),
        (50, 10)
    );
    let watch = stage.capture.watch(WHO, &small).await.unwrap();
    assert_eq!((watch.retained_bytes, watch.left_bytes), (Some(10 << 10), Some(0)));
    assert!(matches!(stage.start(&small, Some(&resume)).await, Err(Ended::Lost(_))));
    // From now on everything is kept again.
    let mut feed = stage.start(&small, None).await.unwrap_or_else(|ended| panic!("{ended:?}"));
    stage.run("INSERT INTO t (id) VALUES (100)").await;
    assert_eq!(events(&mut feed, 1).await.0, ["upsert t 100,NULL,NULL,NULL"]);
    // While somebody reads it too.
    stage.run(&large(200, 250)).await;
    let lost = loop {
        match next(&mut feed).await {
            Ok(_) => {}
            Err(ended) => break ended,
        }
    };
    assert!(matches!(lost, Ended::Lost(_)), "{lost:?}");
    feed.close().await;
}

/// Writes rows of which each is kept as 1 KiB: 32 bytes, eight of its number, and its text.
fn large(first: i32, last: i32) -> String {
    format!(
        "WITH RECURSIVE n (i) AS (SELECT {first} UNION ALL SELECT i + 1 FROM n WHERE i < {last}) \
         INSERT INTO t (id, note) SELECT i, substr(hex(zeroblob(512)), 1, 984) FROM n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_is_counted_in_bytes() {
    let mut stage = Stage::new(TABLES).await;
    let mut feed = stage.feed(None).await;
    let follow = follow();
    stage.run("INSERT INTO t (id, note, raw) VALUES (1, 'äb', zeroblob(100)); UPDATE t SET note = NULL, id = 20").await;
    let (_, group) = events(&mut feed, 2).await;
    let inserted = 32 + 8 + 3 + 100;
    let updated = 32 + (8 + 3 + 100) + (8 + 100);
    let watch = stage.capture.watch(WHO, &follow).await.unwrap();
    assert_eq!((watch.retained_bytes, watch.lag_bytes), (Some(inserted + updated), Some(0)));
    feed.acknowledge(&group.transactions[0].position, &group.resume).await.unwrap();
    feed.close().await;
    stage.run("DELETE FROM t").await;
    let watch = stage.capture.watch(WHO, &follow).await.unwrap();
    let deleted = 32 + 8 + 100;
    let left = follow.max_retained - deleted;
    assert_eq!((watch.retained_bytes, watch.lag_bytes, watch.left_bytes), (Some(deleted), Some(deleted), Some(left)));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_copy_is_told_from_the_file_whatever_was_written_to_it_since() {
    let mut stage = Stage::new(TABLES).await;
    let (path, copy) = (path(&stage), stage.directory.path().join("copy.db"));
    let mut feed = stage.feed(None).await;
    stage.run("INSERT INTO t (id) VALUES (1)").await;
    let (_, first) = events(&mut feed, 1).await;
    feed.close().await;
    std::fs::copy(&path, &copy).unwrap();
    let mut feed = stage.feed(Some(&first.resume)).await;
    stage.run("INSERT INTO t (id) VALUES (2); INSERT INTO t (id) VALUES (3)").await;
    let (_, second) = events(&mut feed, 2).await;
    feed.close().await;
    // Into the same file, and the same numbers are given again.
    std::fs::copy(&copy, &path).unwrap();
    stage.run("INSERT INTO t (id) VALUES (12); INSERT INTO t (id) VALUES (13); INSERT INTO t (id) VALUES (14)").await;
    let lost = stage.start(&follow(), Some(&second.resume)).await;
    assert!(matches!(&lost, Err(Ended::Lost(reason)) if reason.contains("older state")), "{:?}", lost.err());
    // Of what was read before the copy was made, nothing has changed.
    let slow = Follow { poll: Duration::from_secs(1), ..follow() };
    let mut feed = stage.start(&slow, Some(&first.resume)).await.unwrap_or_else(|ended| panic!("{ended:?}"));
    let (rows, third) = events(&mut feed, 3).await;
    assert_eq!(rows, [12, 13, 14].map(|id| format!("upsert t {id},NULL,NULL,NULL")));
    // And while it is read: all of it before the next look.
    std::fs::copy(&copy, &path).unwrap();
    let many: Vec<String> = (22..30).map(|id| format!("INSERT INTO t (id) VALUES ({id})")).collect();
    stage.run(&many.join("; ")).await;
    let lost = loop {
        match next(&mut feed).await {
            Ok(Step::Group(group)) => panic!("{:?}", told(&group)),
            Ok(_) => {}
            Err(ended) => break ended,
        }
    };
    feed.close().await;
    // A look at half of the copy sees a file without our tables, and is to be tried again.
    let lost = match lost {
        Ended::Again(_) => stage.start(&slow, Some(&third.resume)).await.err().expect("the file is another"),
        lost => lost,
    };
    assert!(matches!(lost, Ended::Lost(_)), "{lost:?}");
    // What comes behind the gap is of another history, so that nothing that was said of the old one is taken for it.
    let mut feed = stage.feed(None).await;
    stage.run("INSERT INTO t (id) VALUES (40)").await;
    let (_, anew) = events(&mut feed, 1).await;
    let [old, new] = [&second, &anew].map(|group| group.transactions[0].position.clone());
    assert_eq!(stage.connector.covers(&old, &new), Coverage::Incomparable);
    feed.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_instance_follows_a_file_and_leaves_nothing() {
    let stage = Stage::new(TABLES).await;
    let feed = stage.feed(None).await;
    feed.close().await;
    let (other, follow) = (InstanceId(0xcd), follow());
    let Err(Ended::Refused { mend, .. }) = stage.capture.start(other, &follow, &stage.followed().await, None).await else {
        panic!("two instances follow one file")
    };
    assert!(mend.contains("DELETE FROM tributary_feed"), "{mend}");
    let objects = stage.capture.objects(WHO).await.unwrap();
    assert_eq!((objects.len(), objects.iter().all(|object| object.ours)), (3 + 3 + 2, true), "{objects:?}");
    assert!(stage.capture.objects(other).await.unwrap().iter().all(|object| !object.ours));
    assert!(stage.capture.remove(other, false).await.unwrap().is_empty());
    let removed = stage.capture.remove(WHO, true).await.unwrap();
    assert_eq!((removed.len(), stage.capture.objects(WHO).await.unwrap().len()), (6, 2));
    assert_eq!(stage.capture.remove(WHO, false).await.unwrap().len(), 2);
    assert!(stage.capture.objects(WHO).await.unwrap().is_empty());
    // Also where nothing is left.
    assert!(stage.capture.remove(WHO, false).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fill_has_its_place_among_the_changes() {
    let mut stage = Stage::new(&with_journal()).await;
    let mut feed = stage.feed(None).await;
    stage.run("INSERT INTO t (id) VALUES (1)").await;
    let (_, before) = events(&mut feed, 1).await;
    let table = stage.table("t").await;
    let fill = stage.capture.fill(&table).await.unwrap();
    stage.run("INSERT INTO t (id) VALUES (2)").await;
    let (_, after) = events(&mut feed, 1).await;
    assert!(stage.capture.contains(&fill.version, &before.transactions[0]));
    assert!(!stage.capture.contains(&fill.version, &after.transactions[0]));
    assert!(!stage.capture.contains(b"", &before.transactions[0]));
    let scan = Scan { store: StoreName::new("shop"), table: table.id.clone(), columns: vec![0], filter: Vec::new(), limit: None };
    let batches: Vec<RecordBatch> =
        fill.branch.scan(&table, &scan, ScanLimits::default()).await.unwrap().try_collect().await.unwrap();
    assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 1);
    feed.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_fill_has_is_given_apart_from_what_it_has_not() {
    let mut stage = Stage::new(&with_journal()).await;
    let slow = Follow { poll: Duration::from_secs(1), ..follow() };
    let mut feed = stage.start(&slow, None).await.unwrap_or_else(|ended| panic!("{ended:?}"));
    let Step::Idle { .. } = next(&mut feed).await.unwrap() else { panic!("nothing has changed") };
    // All of it before the next look.
    stage.run("INSERT INTO t (id) VALUES (1)").await;
    let table = stage.table("t").await;
    let fill = stage.connector.capture().unwrap().fill(&table).await.unwrap();
    stage.run("INSERT INTO t (id) VALUES (2)").await;
    let (before, after) = (group(&mut feed).await, group(&mut feed).await);
    assert_eq!([told(&before), told(&after)], [["upsert t 1,NULL,NULL,NULL"], ["upsert t 2,NULL,NULL,NULL"]]);
    assert!(stage.capture.contains(&fill.version, &before.transactions[0]));
    assert!(!stage.capture.contains(&fill.version, &after.transactions[0]));
    feed.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_are_judged_and_the_file_is_told_from_another() {
    let mut stage = Stage::new(TABLES).await;
    stage.run("CREATE TABLE two (id INTEGER PRIMARY KEY, mail TEXT UNIQUE); CREATE VIEW w AS SELECT id FROM t").await;
    // Unique by what is no column, and by a key that is compared in another way than its bytes.
    stage.run("CREATE TABLE three (id INTEGER PRIMARY KEY, mail TEXT); CREATE UNIQUE INDEX lowered ON three (lower(mail))").await;
    stage.run("CREATE TABLE four (id TEXT COLLATE NOCASE PRIMARY KEY)").await;
    let tables = stage.connector.discover().await.unwrap().tables;
    let survey = stage.capture.survey(WHO, &follow(), &tables).await.unwrap();
    let store_only = survey.tables.iter().filter(|judged| matches!(judged, Judged::StoreOnly { .. }));
    let names: Vec<&str> = store_only.map(|judged| judged.table().name.as_str()).collect();
    assert_eq!((names, survey.cautions.len(), survey.objects.len()), (vec!["loose", "w"], 3, 0));
    // A store that is read-only, and a log that SQLite has not.
    let closed = connector(&path(&stage), "read_only = true").capture().unwrap();
    assert!(closed.survey(WHO, &follow(), &tables).await.unwrap().refused.is_some());
    let log = Follow { how: How::Log, ..follow() };
    assert!(matches!(stage.start(&log, None).await, Err(Ended::Refused { .. })));
    // Another file under the name.
    let mut feed = stage.feed(None).await;
    let (old, new) = (path(&stage), stage.directory.path().join("new.db"));
    let mut other = SqliteConnectOptions::new().filename(&new).create_if_missing(true).connect().await.unwrap();
    other.execute(sqlx::raw_sql(TABLES)).await.unwrap();
    std::fs::rename(&new, &old).unwrap();
    let lost = loop {
        match next(&mut feed).await {
            Ok(_) => {}
            Err(ended) => break ended,
        }
    };
    assert!(matches!(lost, Ended::Lost(_)), "{lost:?}");
    feed.close().await;
}

fn path(stage: &Stage) -> std::path::PathBuf {
    Path::join(stage.directory.path(), "shop.db")
}
