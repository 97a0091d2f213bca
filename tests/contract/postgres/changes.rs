//! Changes of a PostgreSQL store, by its log and by triggers. On a server of their own: a slot waits for the transactions of everybody.

mod anew;
mod losses;
mod positions;
mod triggers;

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, RecordBatch};
use arrow::util::display::array_value_to_string;
use futures::TryStreamExt;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Executor};
use tokio::sync::OnceCell;
use tributary::error::Diagnose;
use tributary::sandbox::Postgres;
use tributary::stores::capture::{Capture, Ended, Feed, Follow, Followed, How, InstanceId, Judged, Step, Survey, TablePattern};
use tributary::stores::change::{Barrier, Entry, Group, Known, Operation, Resume, Transaction};
use tributary::stores::connector::ScanLimits;
use tributary::stores::position::{Coverage, Position};
use tributary::task::OwnedTask;

use super::Fixture;
use crate::support::throwaway;

async fn server() -> &'static Postgres {
    static SERVER: OnceCell<Postgres> = OnceCell::const_new();
    SERVER.get_or_init(async || Postgres::start_with(&throwaway()).await.unwrap()).await
}

fn follow(how: How) -> Follow {
    Follow {
        how,
        only: TablePattern::parse("*").into_iter().collect(),
        except: Vec::new(),
        max_retained: 1 << 30,
        poll: Duration::from_millis(10),
        publication: None,
        server_id: None,
    }
}

/// A database of its own and who follows it.
struct Stage {
    fixture: Fixture,
    capture: Arc<dyn Capture>,
    who: InstanceId,
    follow: Follow,
}

impl Stage {
    async fn new(how: How, sql: &str) -> Self {
        let mut fixture = Fixture::on(server().await, "").await;
        fixture.run(sql).await;
        let capture = fixture.connector.capture().unwrap();
        Self { fixture, capture, who: InstanceId(rand::random()), follow: follow(how) }
    }

    async fn run(&mut self, sql: &str) {
        self.fixture.run(sql).await;
    }

    /// Somebody else in the same database.
    async fn other(&mut self) -> Other {
        let database = self.fixture.ask("SELECT current_database()::text").await.unwrap();
        let server = server().await;
        let login = PgConnectOptions::new_without_pgpass().host(server.host()).port(server.port());
        let login = login.username(server.user()).password(server.password()).database(&database);
        Other(login.connect().await.unwrap())
    }

    async fn survey(&self) -> Survey {
        let schema = self.fixture.connector.discover().await.unwrap();
        self.capture.survey(self.who, &self.follow, &schema.tables).await.unwrap()
    }

    async fn tables(&self) -> Vec<Followed> {
        let survey = self.survey().await;
        assert_eq!(survey.refused, None);
        let followed = survey.tables.into_iter().filter_map(|judged| match judged {
            Judged::Followed(followed) => Some(followed),
            Judged::StoreOnly { .. } => None,
        });
        followed.collect()
    }

    async fn start(&self, from: Option<&Resume>) -> Result<Box<dyn Feed>, Ended> {
        self.capture.start(self.who, &self.follow, &self.tables().await, from).await
    }

    async fn feed(&self, from: Option<&Resume>) -> Reader {
        let mut feed = self.start(from).await.unwrap_or_else(|ended| panic!("{ended:?}"));
        let Step::Idle { position, resume } = step(&mut *feed).await else { panic!("a feed says first where it begins") };
        Reader { feed, position, resume, doubts: 0 }
    }

    /// Takes everything of ours away: there are only so many slots.
    async fn end(self) {
        self.capture.remove(self.who, false).await.unwrap();
        let left = self.capture.objects(self.who).await.unwrap();
        assert!(left.iter().all(|object| !object.ours), "{left:?}");
    }
}

struct Other(PgConnection);

impl Other {
    async fn run(&mut self, sql: &str) {
        self.0.execute(sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
}

async fn step(feed: &mut dyn Feed) -> Step {
    let next = tokio::time::timeout(Duration::from_secs(30), feed.next()).await.expect("a step within 30 s");
    next.unwrap_or_else(|ended| panic!("{ended:?}"))
}

struct Reader {
    feed: Box<dyn Feed>,
    position: Position,
    resume: Resume,
    doubts: usize,
}

impl Reader {
    async fn group(&mut self) -> Group {
        loop {
            match step(&mut *self.feed).await {
                Step::Group(group) => {
                    self.resume = group.resume.clone();
                    self.position = group.transactions.last().unwrap().position.clone();
                    return group;
                }
                Step::Idle { resume, .. } => self.resume = resume,
                Step::Doubt(_) => self.doubts += 1,
            }
        }
    }

    /// What is told, in words, until it is so much.
    async fn told(&mut self, count: usize) -> Vec<String> {
        let mut told = Vec::new();
        while told.len() < count {
            let group = self.group().await;
            told.extend(group.transactions.iter().flat_map(|transaction| words(&group, transaction)));
        }
        told
    }

    async fn close(self) -> Resume {
        self.feed.close().await;
        self.resume
    }
}

/// `insert t 1 a`; `?` is unknown, `~` NULL. An old row follows behind `<`.
fn words(group: &Group, transaction: &Transaction) -> Vec<String> {
    let word = |entry: &Entry| match entry {
        Entry::Barrier(Barrier::Truncated { table }) => format!("truncated {}", table.name),
        Entry::Barrier(Barrier::Reshaped { table, .. }) => format!("reshaped {}", table.name),
        Entry::Barrier(Barrier::Stopped { table, .. }) => format!("stopped {}", table.name),
        Entry::Barrier(Barrier::Gap { .. }) => "gap".to_owned(),
        Entry::Row { rows, row } => {
            let (rows, row) = (&group.rows[*rows as usize], *row as usize);
            let side = |batch: Option<&RecordBatch>, known: &Known| {
                let cells = (0..rows.shape.schema.fields().len()).map(|column| match batch {
                    Some(batch) if known.has(column, row) && batch.column(column).is_null(row) => "~".to_owned(),
                    Some(batch) if known.has(column, row) => array_value_to_string(batch.column(column), row).unwrap(),
                    _ => "?".to_owned(),
                });
                cells.collect::<Vec<_>>().join(" ")
            };
            let (new, old) = (side(Some(&rows.new), &rows.new_known), side(rows.old.as_ref(), &rows.old_known));
            let what = format!("{} {}", rows.operations[row].word(), rows.shape.id.name);
            let has_old = rows.old.is_some() && old.contains(|letter| letter != '?' && letter != ' ');
            let old = if has_old { format!(" < {old}") } else { String::new() };
            if rows.operations[row] == Operation::Delete { format!("{what}{old}") } else { format!("{what} {new}{old}") }
        }
    };
    transaction.entries.iter().map(word).collect()
}

const TABLE: &str = "CREATE TABLE t (id integer PRIMARY KEY, note text)";

/// Rows, keys, transactions and TRUNCATE come as they were committed, and again only behind where somebody stopped.
async fn changes_are_told(how: How) {
    let mut stage = Stage::new(how, TABLE).await;
    let mut reader = stage.feed(None).await;
    let whole = how == How::Outbox;
    stage.run("INSERT INTO t VALUES (1, 'a'), (2, NULL)").await;
    stage
        .run("BEGIN; UPDATE t SET note = 'b' WHERE id = 1; UPDATE t SET id = 3 WHERE id = 2; DELETE FROM t WHERE id = 1; COMMIT")
        .await;
    stage.run("BEGIN; INSERT INTO t VALUES (9, 'gone'); ROLLBACK").await;
    stage.run("TRUNCATE t").await;
    let old = |log: &str, triggers: &str| if whole { triggers.to_owned() } else { log.to_owned() };
    let expected = [
        "insert t 1 a".to_owned(),
        "insert t 2 ~".to_owned(),
        old("update t 1 b", "update t 1 b < 1 a"),
        old("update t 3 ~ < 2 ?", "update t 3 ~ < 2 ~"),
        old("delete t < 1 ?", "delete t < 1 b"),
        "truncated t".to_owned(),
    ];
    assert_eq!(reader.told(6).await, expected);
    let resume = reader.resume.clone();
    let before = reader.position.clone();
    reader.feed.acknowledge(&before, &resume).await.unwrap();
    let resume = reader.close().await;
    stage.run("INSERT INTO t VALUES (4, 'while away')").await;
    let mut reader = stage.feed(Some(&resume)).await;
    let group = reader.group().await;
    assert_eq!(words(&group, &group.transactions[0]), ["insert t 4 while away"]);
    assert_eq!(stage.fixture.connector.covers(&before, &group.transactions[0].position), Coverage::Behind);
    reader.close().await;
    // What was not acknowledged comes again, the same.
    let mut reader = stage.feed(Some(&resume)).await;
    let again = reader.group().await;
    assert_eq!(
        (&again.transactions[0].id, &again.transactions[0].position),
        (&group.transactions[0].id, &group.transactions[0].position)
    );
    reader.close().await;
    stage.end().await;
}

#[tokio::test]
async fn changes_are_told_by_the_log() {
    changes_are_told(How::Log).await;
}

#[tokio::test]
async fn changes_are_told_by_triggers() {
    changes_are_told(How::Outbox).await;
}

/// A change of columns stops the table, and it goes on with the new ones.
async fn columns_change(how: How) {
    let mut stage = Stage::new(how, &format!("{TABLE}; CREATE TABLE u (id integer PRIMARY KEY)")).await;
    let mut reader = stage.feed(None).await;
    stage.run("INSERT INTO t VALUES (1, 'a')").await;
    assert_eq!(reader.told(1).await, ["insert t 1 a"]);
    stage.run("ALTER TABLE t ADD COLUMN more integer; INSERT INTO t VALUES (2, 'b', 7); INSERT INTO u VALUES (1)").await;
    assert_eq!(reader.told(2).await, ["stopped t", "insert u 1"]);
    while reader.doubts == 0 {
        let next = step(&mut *reader.feed).await;
        reader.doubts += usize::from(matches!(next, Step::Doubt(_)));
    }
    reader.feed.reshape(&stage.tables().await).await.unwrap();
    stage.run("INSERT INTO u VALUES (2)").await;
    let mut told = Vec::new();
    while !told.contains(&"reshaped t".to_owned()) {
        told.extend(reader.told(1).await);
    }
    stage.run("INSERT INTO t VALUES (3, 'c', 8)").await;
    while !told.contains(&"insert t 3 c 8".to_owned()) {
        told.extend(reader.told(1).await);
    }
    assert!(!told.iter().any(|each| each.starts_with("insert t 2")), "{told:?}");
    reader.close().await;
    stage.end().await;
}

#[tokio::test]
async fn columns_that_change_stop_one_table_of_the_log() {
    columns_change(How::Log).await;
}

#[tokio::test]
async fn columns_that_change_stop_one_table_of_triggers() {
    columns_change(How::Outbox).await;
}

/// A table that somebody has locked goes alone, until it can be put among the others.
async fn a_locked_table_waits_alone(how: How) {
    let mut stage = Stage::new(how, &format!("{TABLE}; CREATE TABLE u (id integer PRIMARY KEY)")).await;
    let mut holder = stage.other().await;
    holder.run("BEGIN; LOCK TABLE u IN SHARE ROW EXCLUSIVE MODE").await;
    let mut reader = stage.feed(None).await;
    stage.run("INSERT INTO t VALUES (1, 'a')").await;
    assert_eq!(reader.told(2).await, ["stopped u", "insert t 1 a"]);
    holder.run("COMMIT").await;
    reader.feed.reshape(&stage.tables().await).await.unwrap();
    let mut told = Vec::new();
    for (sql, expected) in [("INSERT INTO t VALUES (2, 'b')", "reshaped u"), ("INSERT INTO u VALUES (1)", "insert u 1")] {
        stage.run(sql).await;
        while !told.iter().any(|each| each == expected) {
            told.extend(reader.told(1).await);
        }
    }
    assert!(told.iter().any(|each| each == "insert t 2 b"), "{told:?}");
    reader.close().await;
    stage.end().await;
}

#[tokio::test]
async fn a_locked_table_waits_alone_beside_the_log() {
    a_locked_table_waits_alone(How::Log).await;
}

#[tokio::test]
async fn a_locked_table_waits_alone_beside_triggers() {
    a_locked_table_waits_alone(How::Outbox).await;
}

#[tokio::test]
async fn large_values_that_stay_are_unknown() {
    let sql = "CREATE TABLE t (id integer PRIMARY KEY, large text, note text); ALTER TABLE t ALTER large SET STORAGE EXTERNAL; \
         CREATE TABLE f (id integer PRIMARY KEY, large text, note text); ALTER TABLE f ALTER large SET STORAGE EXTERNAL; \
         ALTER TABLE f REPLICA IDENTITY FULL";
    let mut stage = Stage::new(How::Log, sql).await;
    let tables = stage.tables().await;
    let known = |name: &str| {
        let found = tables.iter().find(|followed| followed.table.id.name == name).unwrap();
        found.shape.always_known.clone()
    };
    assert_eq!((known("t"), known("f")), (vec![true, false, false], vec![true, true, true]));
    let mut reader = stage.feed(None).await;
    stage.run("INSERT INTO t VALUES (1, repeat('x', 9000), 'a'); INSERT INTO f VALUES (1, repeat('x', 9000), 'a')").await;
    stage.run("UPDATE t SET note = 'b'; UPDATE f SET note = 'b'").await;
    let told = reader.told(4).await;
    assert_eq!(told[2], "update t 1 ? b");
    assert!(told[3].starts_with("update f 1 xxx") && told[3].contains(" b < 1 xxx"), "{}", told[3]);
    reader.close().await;
    stage.end().await;
}

#[tokio::test]
async fn transactions_beyond_a_group_come_in_pieces() {
    let mut stage = Stage::new(How::Log, TABLE).await;
    let mut reader = stage.feed(None).await;
    stage.run("INSERT INTO t SELECT n, 'x' FROM generate_series(1, 20000) AS n").await;
    let (mut entries, mut ends) = (0, Vec::new());
    while entries < 20_000 {
        let group = reader.group().await;
        let [piece] = group.transactions.as_slice() else { panic!("{}", group.transactions.len()) };
        assert_eq!(piece.first as usize, entries);
        entries += piece.entries.len();
        ends.push(piece.ends);
    }
    assert!(ends.len() > 2 && ends.pop() == Some(true) && !ends.contains(&true), "{ends:?}");
    reader.close().await;
    stage.end().await;
}

fn is_lost(started: Result<Box<dyn Feed>, Ended>, expected: &str) {
    match started {
        Err(Ended::Lost(reason)) => assert!(reason.contains(expected), "{reason}"),
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("it goes on"),
    }
}

#[tokio::test]
async fn what_cannot_be_followed_says_why() {
    let sql = "CREATE TABLE good (id integer PRIMARY KEY); CREATE TABLE keyless (id integer); CREATE VIEW v AS SELECT 1 AS id; \
         CREATE TABLE named (id integer NOT NULL UNIQUE); CREATE UNLOGGED TABLE fleeting (id integer PRIMARY KEY); \
         CREATE TABLE secret (id integer PRIMARY KEY); ALTER TABLE secret ENABLE ROW LEVEL SECURITY; \
         CREATE TABLE parent (id integer PRIMARY KEY); CREATE TABLE child (PRIMARY KEY (id)) INHERITS (parent); \
         CREATE TABLE root (id integer PRIMARY KEY) PARTITION BY RANGE (id); \
         CREATE TABLE part PARTITION OF root FOR VALUES FROM (0) TO (100)";
    let mut stage = Stage::new(How::Log, sql).await;
    let survey = stage.survey().await;
    let mut told: Vec<(String, String)> = survey
        .tables
        .iter()
        .map(|judged| match judged {
            Judged::Followed(followed) => (followed.table.id.name.clone(), "followed".to_owned()),
            Judged::StoreOnly { table, reason, mend } => {
                (table.name.clone(), format!("{reason}; {}", mend.clone().unwrap_or_default()))
            }
        })
        .collect();
    told.sort();
    let expected = [
        ("child", "followed"),
        ("fleeting", "SET LOGGED"),
        ("good", "followed"),
        ("keyless", "ADD PRIMARY KEY"),
        ("named", "REPLICA IDENTITY USING INDEX \"named_id_key\""),
        ("parent", "inherit"),
        ("part", "told as those of public.root"),
        ("root", "followed"),
        ("secret", "row security"),
        ("v", "is a view"),
    ];
    assert_eq!(told.len(), expected.len(), "{told:?}");
    for ((name, reason), (expected_name, expected_reason)) in told.iter().zip(expected) {
        assert!(name == expected_name && reason.contains(expected_reason), "{name}: {reason}");
    }
    assert!(survey.cautions.iter().any(|caution| caution.key == "max_slot_wal_keep_size"));
    assert!(survey.cautions.iter().any(|caution| caution.told.contains("public.root")));
    // Changes of a partition come under the name of the whole.
    let mut reader = stage.feed(None).await;
    stage.run("INSERT INTO root VALUES (1); INSERT INTO part VALUES (2); UPDATE keyless SET id = 1").await;
    assert_eq!(reader.told(2).await, ["insert root 1", "insert root 2"]);
    reader.close().await;
    stage.end().await;
}

/// A partition says by itself what old rows have, and they come as if the whole had said it.
#[tokio::test]
async fn old_rows_of_partitions_have_what_those_have() {
    let sql = "CREATE TABLE root (id integer PRIMARY KEY, note text) PARTITION BY RANGE (id); \
         CREATE TABLE part PARTITION OF root FOR VALUES FROM (0) TO (100); ALTER TABLE root REPLICA IDENTITY FULL; \
         CREATE TABLE odd (id integer PRIMARY KEY, note text NOT NULL) PARTITION BY RANGE (id); \
         CREATE TABLE odd_part PARTITION OF odd FOR VALUES FROM (0) TO (100); CREATE UNIQUE INDEX by_note ON odd_part (note); \
         ALTER TABLE odd_part REPLICA IDENTITY USING INDEX by_note; \
         CREATE TABLE silent (id integer PRIMARY KEY) PARTITION BY RANGE (id); \
         CREATE UNLOGGED TABLE silent_part PARTITION OF silent FOR VALUES FROM (0) TO (100); \
         CREATE TABLE deep (id integer PRIMARY KEY) PARTITION BY RANGE (id); \
         CREATE TABLE deeper PARTITION OF deep FOR VALUES FROM (0) TO (100) PARTITION BY RANGE (id); \
         CREATE TABLE deepest PARTITION OF deeper FOR VALUES FROM (0) TO (100)";
    let mut stage = Stage::new(How::Log, sql).await;
    let survey = stage.survey().await;
    let told = |name: &str| survey.tables.iter().find(|judged| judged.table().name == name).unwrap();
    assert!(matches!(told("root"), Judged::Followed(followed) if followed.shape.always_known == [true, false]));
    assert!(matches!(told("deep"), Judged::Followed(_)));
    assert!(matches!(told("odd"), Judged::StoreOnly { mend: Some(mend), .. }
        if mend == "ALTER TABLE public.odd_part REPLICA IDENTITY DEFAULT"));
    assert!(matches!(told("silent"), Judged::StoreOnly { reason, .. } if reason.contains("public.silent_part")));
    let mut reader = stage.feed(None).await;
    stage.run("INSERT INTO root VALUES (1, 'a'); DELETE FROM root; INSERT INTO deep VALUES (1); UPDATE deep SET id = 2").await;
    let told = reader.told(4).await;
    assert_eq!(told, ["insert root 1 a", "delete root < 1 ?", "insert deep 1", "update deep 2 < 1"]);
    stage.run("ALTER TABLE part REPLICA IDENTITY FULL; INSERT INTO root VALUES (2, 'b'); DELETE FROM root").await;
    assert_eq!(reader.told(2).await, ["insert root 2 b", "delete root < 2 b"]);
    reader.close().await;
    stage.end().await;
}

/// A fill has exactly the transactions that it says it has.
async fn fills_are_exact(how: How) {
    let mut stage = Stage::new(how, TABLE).await;
    let mut reader = stage.feed(None).await;
    stage.run("INSERT INTO t VALUES (1, 'before')").await;
    let before = reader.group().await;
    let table = stage.fixture.table("t").await;
    let mut held = stage.other().await;
    held.run("BEGIN; INSERT INTO t VALUES (2, 'across')").await;
    let fill = stage.capture.fill(&table).await.unwrap();
    held.run("COMMIT").await;
    stage.run("INSERT INTO t VALUES (3, 'behind')").await;
    let mut after = Vec::new();
    while after.len() < 2 {
        after.extend(reader.group().await.transactions);
    }
    assert!(stage.capture.contains(&fill.version, &before.transactions[0]));
    assert_eq!(after.iter().map(|each| stage.capture.contains(&fill.version, each)).collect::<Vec<_>>(), [false, false]);
    let scan = super::scan_of(&table, Vec::new());
    let stream = fill.branch.scan(&table, &scan, ScanLimits::default()).await.unwrap();
    let rows: Vec<RecordBatch> = stream.try_collect().await.unwrap();
    assert_eq!(super::row_count(&rows), 1);
    fill.branch.rollback().await.unwrap();
    reader.close().await;
    stage.end().await;
}

/// A scan that waited for a TRUNCATE would find a table empty that never was.
#[tokio::test]
async fn a_fill_of_a_table_that_is_being_emptied_is_refused_and_one_of_another_is_not() {
    let mut stage = Stage::new(How::Log, TABLE).await;
    stage.run("CREATE TABLE beside (id integer PRIMARY KEY); INSERT INTO t VALUES (1, 'before')").await;
    let (table, beside) = (stage.fixture.table("t").await, stage.fixture.table("beside").await);
    let mut held = stage.other().await;
    held.run("BEGIN; TRUNCATE t; INSERT INTO t VALUES (2, 'behind')").await;
    let refused = stage.capture.fill(&table).await.unwrap_err();
    assert_eq!(refused.sqlstate(), "55P03", "{refused}");
    let both = [Arc::clone(&table), Arc::clone(&beside)];
    assert_eq!(stage.capture.state(&both).await.unwrap_err().sqlstate(), "55P03");
    stage.capture.fill(&beside).await.unwrap().branch.rollback().await.unwrap();
    held.run("COMMIT").await;
    let fill = stage.capture.fill(&table).await.unwrap();
    let mut waiting = stage.other().await;
    let scan = super::scan_of(&table, Vec::new());
    waiting.run("SET lock_timeout = '100ms'").await;
    let rows: Vec<RecordBatch> = fill.branch.scan(&table, &scan, ScanLimits::default()).await.unwrap().try_collect().await.unwrap();
    assert_eq!(super::row_count(&rows), 1);
    fill.branch.rollback().await.unwrap();
    waiting.run("TRUNCATE t").await;
    stage.end().await;
}

/// Whoever waits for the lock of a fill, and whom its own scans would wait for, does not wait for long.
#[tokio::test]
async fn a_fill_whose_table_somebody_is_about_to_empty_ends_and_lets_it_be_emptied() {
    let mut stage = Stage::new(How::Log, TABLE).await;
    stage.run("INSERT INTO t VALUES (1, 'before')").await;
    let table = stage.fixture.table("t").await;
    let fill = stage.capture.fill(&table).await.unwrap();
    let mut waiting = stage.other().await;
    let emptying = OwnedTask::spawn(async move { waiting.run("TRUNCATE t").await });
    let waiters =
        "SELECT count(*)::text FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock' AND relation = 't'::regclass";
    let is_waiting = async {
        while stage.fixture.ask(waiters).await.unwrap() == "0" {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), is_waiting).await.expect("somebody who waits for the table");
    let scan = super::scan_of(&table, Vec::new());
    let refused = match fill.branch.scan(&table, &scan, ScanLimits::default()).await {
        Ok(rows) => rows.try_collect::<Vec<RecordBatch>>().await.unwrap_err(),
        Err(refused) => refused,
    };
    assert_eq!(refused.sqlstate(), "55P03", "{refused}");
    fill.branch.rollback().await.unwrap();
    emptying.join().await.unwrap();
    stage.end().await;
}

#[tokio::test]
async fn fills_have_their_place_in_the_log() {
    fills_are_exact(How::Log).await;
}

#[tokio::test]
async fn fills_have_their_place_among_rows_of_triggers() {
    fills_are_exact(How::Outbox).await;
}

/// Every type comes through the feed as a scan reads it.
async fn values_are_those_of_a_scan(how: How) {
    let sql = "CREATE TYPE mood AS ENUM ('sad', 'a \"b\"'); CREATE TYPE pair AS (a integer, b text); CREATE TABLE t (id integer PRIMARY KEY, \
         b boolean, i2 smallint, i8 bigint, f4 real, f8 double precision, n numeric(10, 2), free numeric, tx text, vc varchar(9), \
         bp char(4), by bytea, d date, ti time, ts timestamp, tz timestamptz, iv interval, u uuid, j json, jb jsonb, m mood, \
         ar integer[], ta text[], r int4range, p pair, pa pair[], ip inet, mo money, bits bit(3), lsn pg_lsn, o oid, c regclass)";
    let mut stage = Stage::new(how, sql).await;
    let mut reader = stage.feed(None).await;
    stage
        .run(
            "INSERT INTO t VALUES (1, true, -1, 9223372036854775807, 1.5, 'NaN', 12.34, '123456789012345678901234567890.5', E'a\\\\\"b,\\n(', 'é', 'x', '\\x00ff', \
             '0044-03-15 BC', '24:00', 'infinity', '2024-02-29 12:34:56.789+02', '1 year -2 days 03:04:05.678', \
             '00112233-4455-6677-8899-aabbccddeeff', '{\"a\": 1 }', '{\"b\":1, \"a\":null}', 'a \"b\"', '{1,NULL,3}', '{\"a,b\",\"\"}', \
             '[1,5)', '(1,\"x y\")', ARRAY['(1,a)'::pair], '10.0.0.1/8', '12.34', '101', '16/B374D848', 7, 'pg_class'); INSERT INTO t (id) VALUES (2)",
        )
        .await;
    let group = reader.group().await;
    let table = stage.fixture.table("t").await;
    let scanned = stage.fixture.read(&table, Vec::new()).await.unwrap();
    let told = &group.rows[0];
    for (column, field) in told.shape.schema.fields().iter().enumerate() {
        if field.name() == "c" {
            assert!(!told.new_known.has(column, 0), "its name means nothing without the catalogs");
            continue;
        }
        assert!(told.new_known.has(column, 0) && told.new_known.has(column, 1), "{}", field.name());
        assert_eq!(told.new.column(column), scanned[0].column(column), "{}", field.name());
    }
    reader.close().await;
    stage.end().await;
}

#[tokio::test]
async fn values_of_the_log_are_those_of_a_scan() {
    values_are_those_of_a_scan(How::Log).await;
}

#[tokio::test]
async fn values_of_triggers_are_those_of_a_scan() {
    values_are_those_of_a_scan(How::Outbox).await;
}
