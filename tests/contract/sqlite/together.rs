//! Several database files in one transaction: what is kept is kept in all of them, or in none.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::Schema;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use futures::TryStreamExt;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Executor, Row};
use tokio_util::sync::CancellationToken;
use tributary::error::Diagnose;
use tributary::stores::commit::Part;
use tributary::stores::connector::ScanLimits;
use tributary::stores::edit::{self, Insert, Update};
use tributary::stores::fragment::{Expression, Node};
use tributary::stores::predicate::{ColumnRef, Comparison, Predicate};
use tributary::stores::value::Value;
use tributary::stores::{
    Branch, Connector, Edit, Fragment, Purpose, Relation, Scan, StoreError, StoreName, Table, Tables, WriteIsolation,
};

use super::named;

const WRITE: Purpose = Purpose::Write(WriteIsolation::ReadCommitted);
const REPEATABLE: Purpose = Purpose::Transaction { read_only: false, repeatable: true };

const SETUP: &str = "CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT UNIQUE); CREATE VIEW v AS SELECT id FROM t;";

/// A database file with a connection of somebody else, who waits for nobody.
struct File {
    path: PathBuf,
    plain: SqliteConnection,
    connector: Arc<dyn Connector>,
    table: Arc<Table>,
}

impl File {
    async fn new(directory: &Path, name: &str, options: &str) -> Self {
        let path = directory.join(format!("{name}.db"));
        let open = SqliteConnectOptions::new().filename(&path).create_if_missing(true).busy_timeout(Duration::ZERO);
        let mut plain = open.connect().await.unwrap();
        plain.execute(sqlx::raw_sql(SETUP)).await.unwrap();
        let connector = named(name, &path, options);
        let table = table(&connector).await;
        Self { path, plain, connector, table }
    }

    async fn run(&mut self, sql: &'static str) -> Result<(), sqlx::Error> {
        self.plain.execute(sqlx::raw_sql(sql)).await.map(drop)
    }

    /// Gives the file another journal, once connections that are on their way out have left it.
    async fn switch(&mut self, sql: &'static str) {
        let mut tries = 0;
        while let Err(error) = self.run(sql).await {
            tries += 1;
            assert!(tries < 250, "{sql}: {error}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The names that everybody sees, in order.
    async fn stored(&mut self) -> Vec<String> {
        let rows = self.plain.fetch_all(sqlx::raw_sql("SELECT name FROM t ORDER BY name")).await.unwrap();
        rows.iter().map(|row| row.get::<String, _>(0)).collect()
    }

    fn store(&self) -> StoreName {
        self.connector.name().clone()
    }

    fn put(&self, id: i64, name: &str) -> Edit {
        let fields: Vec<_> = self.table.columns.iter().map(edit::field).collect();
        let arrays: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(vec![id])), Arc::new(StringArray::from(vec![name]))];
        let rows = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap();
        let (table, columns) = (self.table.clone(), vec![0, 1]);
        Edit::Insert(Insert { store: self.store(), table, columns, rows, conflict: None, paths: Vec::new(), returning: Vec::new() })
    }

    fn scan(&self, filter: Vec<Predicate>) -> Scan {
        Scan { store: self.store(), table: self.table.id.clone(), columns: vec![1], filter, limit: None }
    }

    /// The names that a branch sees, in order.
    async fn seen(&self, branch: &dyn Branch) -> Vec<String> {
        let stream = branch.scan(&self.table, &self.scan(Vec::new()), ScanLimits::default()).await.unwrap();
        texts(&stream.try_collect::<Vec<_>>().await.unwrap())
    }
}

async fn table(connector: &Arc<dyn Connector>) -> Arc<Table> {
    let schema = connector.discover().await.unwrap();
    schema.tables.iter().find(|table| table.id.name == "t").unwrap().clone()
}

fn texts(batches: &[RecordBatch]) -> Vec<String> {
    let mut found = Vec::new();
    for batch in batches {
        let names = ArrayFormatter::try_new(batch.column(0).as_ref(), &FormatOptions::default()).unwrap();
        found.extend((0..batch.num_rows()).map(|row| names.value(row).to_string()));
    }
    found.sort();
    found
}

fn go() -> CancellationToken {
    CancellationToken::new()
}

async fn put(branch: &dyn Branch, file: &File, id: i64, name: &str) -> Result<(), StoreError> {
    branch.edit(&file.put(id, name), &go()).await.map(drop)
}

async fn beside(branch: &dyn Branch, other: &File) -> Arc<dyn Branch> {
    branch.beside(&other.connector).await.unwrap().unwrap()
}

async fn two(options: &str) -> (tempfile::TempDir, File, File) {
    let directory = tempfile::tempdir().unwrap();
    let (a, b) = (File::new(directory.path(), "a", options).await, File::new(directory.path(), "b", options).await);
    (directory, a, b)
}

#[tokio::test]
async fn what_is_written_to_two_files_is_kept_in_both_or_in_none() {
    let (_directory, mut a, mut b) = two("").await;
    let first = a.connector.open(WRITE).await.unwrap();
    assert_eq!((first.part(), first.leader()), (Part::Last, None));
    put(&*first, &a, 1, "one").await.unwrap();
    let second = beside(&*first, &b).await;
    assert_eq!((second.part(), second.leader()), (Part::Last, Some(&a.store())));
    assert!(!second.has_written());
    put(&*second, &b, 1, "two").await.unwrap();
    assert!(first.has_written() && second.has_written());
    assert_eq!((a.seen(&*first).await, b.seen(&*second).await), (vec!["one".to_owned()], vec!["two".to_owned()]));
    assert!(a.stored().await.is_empty() && b.stored().await.is_empty());
    // What ends it is the first branch; the other one does nothing.
    second.commit().await.unwrap();
    assert!(b.stored().await.is_empty());
    first.commit().await.unwrap();
    second.rollback().await.unwrap();
    assert!(!first.has_written() && !second.has_written());
    assert_eq!((a.stored().await, b.stored().await), (vec!["one".to_owned()], vec!["two".to_owned()]));
    // What is ended takes no more.
    assert!(put(&*second, &b, 2, "late").await.is_err());
    for commits in [false, true] {
        let first = a.connector.open(WRITE).await.unwrap();
        put(&*first, &a, 3, "three").await.unwrap();
        let second = beside(&*first, &b).await;
        put(&*second, &b, 3, "four").await.unwrap();
        if commits {
            // A broken rule of one file is the end of both.
            let error = put(&*second, &b, 4, "two").await.unwrap_err();
            assert_eq!((error.sqlstate(), error.constraint().as_deref()), ("23505", Some("t_name_key")));
            assert!(error.detail().unwrap().contains("store \"b\""), "{error:?}");
            assert_eq!(put(&*first, &a, 4, "five").await.unwrap_err().sqlstate(), "25P02");
            assert_eq!(first.commit().await.unwrap_err().sqlstate(), "25P02");
        } else {
            first.rollback().await.unwrap();
        }
    }
    let first = a.connector.open(WRITE).await.unwrap();
    put(&*first, &a, 5, "five").await.unwrap();
    put(&*beside(&*first, &b).await, &b, 5, "six").await.unwrap();
    drop(first);
    let again = b.connector.open(WRITE).await.unwrap();
    assert_eq!(b.seen(&*again).await, ["two"], "the lock of the file is free again");
    drop(again);
    assert_eq!((a.stored().await, b.stored().await), (vec!["one".to_owned()], vec!["two".to_owned()]));
}

#[tokio::test]
async fn savepoints_of_the_first_branch_are_those_of_all() {
    let (_directory, mut a, mut b) = two("").await;
    for purpose in [WRITE, REPEATABLE] {
        let first = a.connector.open(purpose).await.unwrap();
        first.savepoint(1).await.unwrap();
        put(&*first, &a, 1, "one").await.unwrap();
        let second = beside(&*first, &b).await;
        second.savepoint(1).await.unwrap();
        put(&*second, &b, 1, "two").await.unwrap();
        for branch in [&second, &first] {
            branch.savepoint(2).await.unwrap();
        }
        put(&*second, &b, 2, "two").await.unwrap_err();
        for branch in [&second, &first] {
            branch.roll_back_to(2).await.unwrap();
        }
        assert!(first.has_written() && second.has_written());
        for branch in [&second, &first] {
            branch.roll_back_to(1).await.unwrap();
        }
        assert!(!first.has_written() && !second.has_written());
        assert!(a.seen(&*first).await.is_empty() && b.seen(&*second).await.is_empty());
        // The file is there still, and what is written in it alone is kept by the first branch.
        put(&*second, &b, 3, "three").await.unwrap();
        assert!(!first.has_written() && second.has_written());
        for branch in [&second, &first] {
            branch.release(1).await.unwrap();
        }
        first.commit().await.unwrap();
        assert_eq!((a.stored().await.len(), b.stored().await), (0, vec!["three".to_owned()]));
        b.run("DELETE FROM t").await.unwrap();
    }
}

#[tokio::test]
async fn files_with_a_write_ahead_log_are_refused() {
    let (_directory, mut a, mut b) = two("").await;
    b.switch("PRAGMA journal_mode = wal").await;
    let first = a.connector.open(WRITE).await.unwrap();
    put(&*first, &a, 1, "one").await.unwrap();
    let error = first.beside(&b.connector).await.err().unwrap();
    let expected = "stores \"a\" and \"b\" cannot be committed together: the journal of \"b\" is in mode wal";
    assert_eq!((error.sqlstate(), error.to_string().as_str()), ("0A000", expected));
    assert!(error.detail().unwrap().contains("PRAGMA journal_mode = delete"));
    // Nothing was written there, and the transaction goes on.
    put(&*first, &a, 2, "two").await.unwrap();
    first.commit().await.unwrap();
    assert_eq!(a.stored().await, ["one", "two"]);
    a.switch("PRAGMA journal_mode = wal").await;
    b.switch("PRAGMA journal_mode = delete").await;
    let first = a.connector.open(WRITE).await.unwrap();
    put(&*first, &a, 3, "three").await.unwrap();
    let error = first.beside(&b.connector).await.err().unwrap();
    assert!(error.to_string().ends_with("the journal of \"a\" is in mode wal"), "{error}");
    first.rollback().await.unwrap();
    // Whoever is attached is locked, so that nobody can change it any more.
    a.switch("PRAGMA journal_mode = delete").await;
    let first = a.connector.open(WRITE).await.unwrap();
    put(&*first, &a, 3, "three").await.unwrap();
    let second = beside(&*first, &b).await;
    assert!(b.run("PRAGMA journal_mode = wal").await.is_err());
    put(&*second, &b, 3, "four").await.unwrap();
    first.commit().await.unwrap();
    assert_eq!((a.stored().await.len(), b.stored().await), (3, vec!["four".to_owned()]));
}

#[tokio::test]
async fn only_branches_that_write_share_a_transaction() {
    let (directory, a, b) = two("").await;
    for purpose in [Purpose::Statement { scans: 1 }, Purpose::Once] {
        let branch = a.connector.open(purpose).await.unwrap();
        assert!(branch.beside(&b.connector).await.unwrap().is_none());
        assert!(matches!(branch.part(), Part::Alone(_)));
    }
    let first = a.connector.open(WRITE).await.unwrap();
    assert!(first.beside(&named("c", &b.path, "read_only = true")).await.unwrap().is_none());
    // Nothing is known yet by which it could be locked.
    assert!(first.beside(&named("c", &b.path, "")).await.unwrap().is_none());
    let gone = File::new(directory.path(), "gone", "").await;
    std::fs::remove_file(&gone.path).unwrap();
    let error = first.beside(&gone.connector).await.err().unwrap();
    assert!(matches!(error, StoreError::Unreachable { .. }) && !error.detail().unwrap().contains('/'), "{error:?}");
    b.connector.close().await;
    assert_eq!(first.beside(&b.connector).await.err().unwrap().sqlstate(), "08001");
    first.rollback().await.unwrap();
}

#[tokio::test]
async fn a_file_that_two_stores_name_is_one() {
    let (_directory, mut a, mut b) = two("").await;
    let (other, third) = (named("c", &a.path, ""), named("d", &b.path, ""));
    let first = a.connector.open(WRITE).await.unwrap();
    put(&*first, &a, 1, "one").await.unwrap();
    for connector in [&other, &third] {
        connector.discover().await.unwrap();
    }
    let same = first.beside(&other).await.unwrap().unwrap();
    assert_eq!(same.leader(), Some(&a.store()));
    put(&*same, &a, 2, "two").await.unwrap();
    assert_eq!(a.seen(&*first).await, ["one", "two"]);
    let second = beside(&*first, &b).await;
    put(&*second, &b, 1, "three").await.unwrap();
    // One that is beside another one is as good to ask.
    let fourth = second.beside(&third).await.unwrap().unwrap();
    assert_eq!((b.seen(&*fourth).await, fourth.leader()), (vec!["three".to_owned()], Some(&a.store())));
    first.commit().await.unwrap();
    assert_eq!((a.stored().await.len(), b.stored().await.len()), (2, 1));
}

#[tokio::test]
async fn so_many_files_are_too_many() {
    let directory = tempfile::tempdir().unwrap();
    let mut files = Vec::new();
    for number in 0..12 {
        files.push(File::new(directory.path(), &format!("f{number}"), "").await);
    }
    let (first, others) = files.split_first_mut().unwrap();
    let branch = first.connector.open(WRITE).await.unwrap();
    put(&*branch, first, 1, "x").await.unwrap();
    for (number, other) in others.iter().enumerate() {
        match branch.beside(&other.connector).await {
            Ok(second) => put(&*second.unwrap(), other, 1, "x").await.unwrap(),
            Err(error) => assert_eq!((number, error.sqlstate()), (10, "54000")),
        }
    }
    branch.commit().await.unwrap();
    let mut kept = Vec::new();
    for file in &mut files {
        kept.push(file.stored().await.len());
    }
    assert_eq!(kept, [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0]);
}

#[tokio::test]
async fn others_who_hold_a_file_are_waited_for_and_then_told_of() {
    let (_directory, mut a, mut b) = two("busy_timeout = \"50ms\"").await;
    b.run("BEGIN IMMEDIATE").await.unwrap();
    let first = a.connector.open(WRITE).await.unwrap();
    put(&*first, &a, 1, "one").await.unwrap();
    let error = first.beside(&b.connector).await.err().unwrap();
    assert_eq!(error.sqlstate(), "55P03");
    assert!(error.detail().unwrap().contains("store \"b\""), "{error:?}");
    b.run("ROLLBACK").await.unwrap();
    let second = beside(&*first, &b).await;
    assert!(b.run("BEGIN IMMEDIATE").await.is_err(), "it is locked before anything is written");
    put(&*second, &b, 1, "two").await.unwrap();
    // Whoever reads it holds up the commit, and nothing of it is kept.
    b.run("BEGIN; SELECT * FROM t").await.unwrap();
    assert_eq!(first.commit().await.unwrap_err().sqlstate(), "55P03");
    b.run("ROLLBACK").await.unwrap();
    assert!(a.stored().await.is_empty() && b.stored().await.is_empty());
    put(&*a.connector.open(WRITE).await.unwrap(), &a, 1, "one").await.unwrap();
}

/// What the block has read there is still so when it writes: others are kept out by the old branch until the new one has the lock.
#[tokio::test]
async fn a_file_that_a_repeatable_block_has_read_is_locked_before_its_branch_ends() {
    let (_directory, mut a, mut b) = two("").await;
    b.run("INSERT INTO t VALUES (1, 'old')").await.unwrap();
    let earlier = b.connector.open(REPEATABLE).await.unwrap();
    assert_eq!(b.seen(&*earlier).await, ["old"]);
    assert!(b.run("UPDATE t SET name = 'new'").await.is_err());
    let first = a.connector.open(REPEATABLE).await.unwrap();
    put(&*first, &a, 1, "one").await.unwrap();
    let second = beside(&*first, &b).await;
    assert!(b.run("UPDATE t SET name = 'new'").await.is_err());
    earlier.rollback().await.unwrap();
    assert!(b.run("UPDATE t SET name = 'new'").await.is_err());
    put(&*second, &b, 2, "two").await.unwrap();
    first.commit().await.unwrap();
    assert_eq!((a.stored().await, b.stored().await), (vec!["one".to_owned()], vec!["old".to_owned(), "two".to_owned()]));
}

/// A branch that was given up before the lock was taken kept nobody out: whoever asks it hears so.
#[tokio::test]
async fn a_branch_that_was_given_up_says_so_once_its_file_is_locked() {
    let directory = tempfile::tempdir().unwrap();
    let (a, mut b) =
        (File::new(directory.path(), "a", "").await, File::new(directory.path(), "b", "snapshot_idle = \"50ms\"").await);
    b.run("INSERT INTO t VALUES (1, 'old')").await.unwrap();
    let earlier = b.connector.open(REPEATABLE).await.unwrap();
    assert_eq!(b.seen(&*earlier).await, ["old"]);
    b.switch("UPDATE t SET name = 'new'").await;
    let first = a.connector.open(REPEATABLE).await.unwrap();
    put(&*first, &a, 1, "one").await.unwrap();
    let second = beside(&*first, &b).await;
    assert_eq!(b.seen(&*second).await, ["new"]);
    assert_eq!(earlier.savepoint(u32::MAX).await.unwrap_err().sqlstate(), "72000");
    // One that is there still can be asked as often as one likes.
    let there = a.connector.open(REPEATABLE).await.unwrap();
    there.savepoint(u32::MAX).await.unwrap();
    there.rollback().await.unwrap();
    first.rollback().await.unwrap();
}

/// No more than ten files are ever attached to one connection.
#[tokio::test]
async fn a_connection_that_has_attached_a_file_is_not_used_again() {
    let (_directory, mut a, mut b) = two("pool.size = 1").await;
    for number in 0..12 {
        let first = a.connector.open(WRITE).await.unwrap();
        put(&*first, &a, number, &format!("{number}")).await.unwrap();
        put(&*beside(&*first, &b).await, &b, number, &format!("{number}")).await.unwrap();
        first.commit().await.unwrap();
    }
    assert_eq!((a.stored().await.len(), b.stored().await.len()), (12, 12));
}

#[tokio::test]
async fn whatever_is_asked_of_an_attached_file_is_asked_of_that_one() {
    let (_directory, a, mut b) = two("").await;
    b.run("INSERT INTO t VALUES (1, 'x'), (2, 'y'), (3, 'z')").await.unwrap();
    let first = a.connector.open(WRITE).await.unwrap();
    put(&*first, &a, 9, "a's own").await.unwrap();
    let second = beside(&*first, &b).await;
    let above = Predicate::Compare { column: ColumnRef::of(0), op: Comparison::Greater, value: Value::Int(1) };
    let found = second.scan(&b.table, &b.scan(vec![above.clone()]), ScanLimits::default()).await.unwrap();
    assert_eq!(texts(&found.try_collect::<Vec<_>>().await.unwrap()), ["y", "z"]);
    let held = second.scan_for_update(&b.table, &b.scan(vec![above.clone()]), ScanLimits::default()).await.unwrap();
    assert_eq!(texts(&held.try_collect::<Vec<_>>().await.unwrap()), ["y", "z"]);
    let tables = Tables::from([(b.table.id.clone(), b.table.clone())]);
    let part = Fragment::new(b.store(), Relation::Distinct { input: Box::new(Relation::Table(b.scan(Vec::new()))) });
    let schema = b.table.project(&[1]);
    let found = second.run(&part, &tables, &schema, ScanLimits::default()).await.unwrap();
    assert_eq!(texts(&found.try_collect::<Vec<_>>().await.unwrap()), ["x", "y", "z"]);
    let value = Expression::new(b.table.columns[1].pg_type(), Node::Literal(Some(Value::Text("new".to_owned()))));
    let rows = Relation::Table(Scan { filter: vec![above], limit: None, columns: vec![0], ..b.scan(Vec::new()) });
    let narrowed = Relation::Filter { input: Box::new(rows), condition: equal(0, 2) };
    let relation = Relation::Project { input: Box::new(narrowed), expressions: vec![value] };
    let update =
        Update { store: b.store(), table: b.table.clone(), relation, tables, set: vec![1], paths: Vec::new(), returning: vec![1] };
    let edited = second.edit(&Edit::Update(update), &go()).await.unwrap();
    assert_eq!((edited.rows, texts(&edited.returned.into_iter().collect::<Vec<_>>())), (1, vec!["new".to_owned()]));
    first.commit().await.unwrap();
    assert_eq!(b.stored().await, ["new", "x", "z"]);
}

/// A column that equals a number.
fn equal(ordinal: usize, number: i64) -> Expression {
    let pg_type = tributary::pgtype::PgType::INT8;
    let (left, right) = (Expression::column(ordinal, pg_type), Expression::new(pg_type, Node::Literal(Some(Value::Int(number)))));
    Expression::condition(Node::Compare { op: Comparison::Equal, left: Box::new(left), right: Box::new(right) })
}

#[tokio::test]
async fn the_end_of_one_store_ends_the_transaction() {
    let (_directory, mut a, b) = two("").await;
    let first = a.connector.open(WRITE).await.unwrap();
    put(&*first, &a, 1, "one").await.unwrap();
    let second = beside(&*first, &b).await;
    put(&*second, &b, 1, "two").await.unwrap();
    b.connector.close().await;
    let mut number = 2;
    // The thread of the transaction hears of it by itself.
    let error = loop {
        if let Err(error) = put(&*first, &a, number, &format!("{number}")).await {
            break error;
        }
        number += 1;
        assert!(number < 1_000, "nobody has told it");
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    assert_eq!(error.sqlstate(), "08001");
    assert_eq!(first.commit().await.unwrap_err().sqlstate(), "08001");
    assert!(a.stored().await.is_empty());
}
