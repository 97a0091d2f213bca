//! Marks of commits, and tables of ours in a database file.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::Schema;
use futures::TryStreamExt;
use sqlx::sqlite::SqliteConnection;
use sqlx::{Executor, Row};
use tokio_util::sync::CancellationToken;
use tributary::error::Diagnose;
use tributary::pgtype::UTC;
use tributary::stores::commit::{Gid, Hint, LogId, MarkId, MarkOf, OwnTable, Part, Verdict};
use tributary::stores::connector::ScanLimits;
use tributary::stores::edit::{self, Insert, UpdateRows};
use tributary::stores::{Connector, Edit, Purpose, Scan, StoreName, Table, WriteIsolation};

use super::{connector, file};

const WRITE: Purpose = Purpose::Write(WriteIsolation::ReadCommitted);

fn mark(number: u64) -> MarkId {
    MarkId { gid: Gid { log: LogId(7), number }, of: MarkOf::All }
}

async fn decided(connector: &Arc<dyn Connector>, mark: MarkId) -> Verdict {
    connector.decide(mark, &Hint::default()).await.unwrap()
}

/// What is written down, as `state number`.
async fn stored(plain: &mut SqliteConnection) -> Vec<String> {
    let sql = "SELECT state || ' ' || ltrim(substr(id, 28), '0') FROM tributary_marks ORDER BY id";
    let rows = plain.fetch_all(sqlx::raw_sql(sql)).await.unwrap();
    rows.iter().map(|row| row.get::<String, _>(0)).collect()
}

fn batch(table: &Table, columns: &[usize], arrays: Vec<ArrayRef>) -> RecordBatch {
    let fields: Vec<_> = columns.iter().map(|ordinal| edit::field(&table.columns[*ordinal])).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap()
}

fn texts(values: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

#[tokio::test]
async fn a_mark_is_kept_with_its_transaction_or_not_at_all() {
    let (_directory, mut plain, connector) = file("CREATE TABLE t (id INTEGER PRIMARY KEY)").await;
    assert_eq!(connector.part(), Part::Last);
    for number in [1, 2, 3] {
        let branch = connector.open(WRITE).await.unwrap();
        assert_eq!(branch.hint(), Hint::default());
        branch.mark(mark(number)).await.unwrap();
        assert!(branch.has_written());
        match number {
            1 => drop(branch.commit().await.unwrap()),
            2 => branch.rollback().await.unwrap(),
            _ => drop(branch),
        }
    }
    assert_eq!(stored(&mut plain).await, ["commit 1"]);
    for _ in 0..2 {
        assert_eq!(decided(&connector, mark(1)).await, Verdict::Commit);
        assert_eq!(decided(&connector, mark(2)).await, Verdict::Abort);
    }
    // Two that ask at once are told the same.
    let (one, other) = tokio::join!(decided(&connector, mark(3)), decided(&connector, mark(3)));
    assert_eq!((one, other), (Verdict::Abort, Verdict::Abort));
    assert_eq!(stored(&mut plain).await, ["commit 1", "abort 2", "abort 3"]);
    // What was decided stays so: the mark comes too late, and so does all that is written with it.
    let late = connector.open(WRITE).await.unwrap();
    assert_eq!(late.mark(mark(2)).await.unwrap_err().sqlstate(), "23505");
    assert_eq!(late.commit().await.unwrap_err().sqlstate(), "25P02");
    assert_eq!(decided(&connector, mark(2)).await, Verdict::Abort);
    // Steps of a saga and their way back are marks of their own.
    let step = |of| MarkId { of, ..mark(1) };
    assert_eq!(decided(&connector, step(MarkOf::Step(1))).await, Verdict::Abort);
    assert_eq!(decided(&connector, step(MarkOf::Undo(1))).await, Verdict::Abort);
    // A branch that reads, and one that commits by itself, write none.
    for purpose in [Purpose::Statement { scans: 1 }, Purpose::Once] {
        assert_eq!(connector.open(purpose).await.unwrap().mark(mark(9)).await.unwrap_err().sqlstate(), "0A000");
    }
}

#[tokio::test]
async fn nothing_is_decided_while_the_transaction_is_open() {
    let (directory, mut plain, first) = file("CREATE TABLE t (id INTEGER PRIMARY KEY)").await;
    let impatient = connector(&directory.path().join("shop.db"), "busy_timeout = \"50ms\"");
    for (number, verdict) in [(1, Verdict::Abort), (2, Verdict::Commit)] {
        let branch = first.open(WRITE).await.unwrap();
        branch.mark(mark(number)).await.unwrap();
        assert!(impatient.decide(mark(number), &Hint::default()).await.is_err());
        match verdict {
            Verdict::Commit => drop(branch.commit().await.unwrap()),
            Verdict::Abort => branch.rollback().await.unwrap(),
        }
        assert_eq!(decided(&impatient, mark(number)).await, verdict);
    }
    assert_eq!(stored(&mut plain).await, ["abort 1", "commit 2"]);
    let closed = connector(&directory.path().join("shop.db"), "read_only = true");
    assert_eq!(closed.decide(mark(2), &Hint::default()).await.unwrap_err().sqlstate(), "25006");
}

#[tokio::test]
async fn marks_that_are_of_no_more_use_are_removed() {
    let (_directory, mut plain, connector) = file("CREATE TABLE t (id INTEGER PRIMARY KEY)").await;
    connector.forget(&[mark(1)]).await.unwrap();
    for number in [1, 2, 3] {
        let branch = connector.open(WRITE).await.unwrap();
        branch.mark(mark(number)).await.unwrap();
        branch.commit().await.unwrap();
    }
    for number in [4, 5] {
        assert_eq!(decided(&connector, mark(number)).await, Verdict::Abort);
    }
    connector.forget(&[]).await.unwrap();
    // What was aborted just now may still be in somebody's way.
    connector.forget(&[mark(1), mark(3), mark(4)]).await.unwrap();
    assert_eq!(stored(&mut plain).await, ["commit 2", "abort 4", "abort 5"]);
    plain
        .execute("UPDATE tributary_marks SET at = '2020-01-01 00:00:00.000+00:00' WHERE id LIKE '%5' OR id LIKE '%2'")
        .await
        .unwrap();
    let many: Vec<MarkId> = (100..1_700).map(mark).collect();
    connector.forget(&many).await.unwrap();
    assert_eq!(stored(&mut plain).await, ["commit 2", "abort 4"]);
}

/// Others may prepare for longer than a transaction may be idle.
#[tokio::test]
async fn a_branch_that_is_about_to_be_committed_is_not_idle() {
    let (directory, mut plain, _connector) = file("CREATE TABLE t (id INTEGER PRIMARY KEY)").await;
    let hasty = connector(&directory.path().join("shop.db"), "snapshot_idle = \"300ms\"");
    for (number, is_marked) in [(1, true), (2, false)] {
        let branch = hasty.open(WRITE).await.unwrap();
        if is_marked {
            branch.mark(mark(number)).await.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(1_200)).await;
        match branch.commit().await {
            Ok(_) => assert!(is_marked),
            Err(error) => assert_eq!((is_marked, error.sqlstate()), (false, "72000")),
        }
    }
    assert_eq!(stored(&mut plain).await, ["commit 1"]);
}

#[tokio::test]
async fn one_mark_is_that_of_all_attached_files() {
    let (directory, mut plain, first) = file("CREATE TABLE t (id INTEGER PRIMARY KEY)").await;
    let path = directory.path().join("other.db");
    std::fs::copy(directory.path().join("shop.db"), &path).unwrap();
    let other = super::named("other", &path, "");
    other.discover().await.unwrap();
    let branch = first.open(WRITE).await.unwrap();
    let beside = branch.beside(&other).await.unwrap().unwrap();
    assert_eq!(beside.mark(mark(1)).await.unwrap_err().sqlstate(), "0A000");
    branch.mark(mark(1)).await.unwrap();
    branch.commit().await.unwrap();
    assert_eq!(stored(&mut plain).await, ["commit 1"]);
    assert_eq!(decided(&first, mark(1)).await, Verdict::Commit);
    assert!(other.discover().await.unwrap().tables.iter().all(|table| table.id.name == "t"));
}

#[tokio::test]
async fn tables_of_ours_are_made_once_and_described_as_they_are() {
    let (_directory, mut plain, connector) = file("CREATE TABLE t (id INTEGER PRIMARY KEY)").await;
    for which in OwnTable::ALL {
        let (one, other) = tokio::join!(connector.install(which), connector.install(which));
        one.and(other).unwrap();
        connector.install(which).await.unwrap();
        let sql = "SELECT CAST(count(*) AS TEXT) FROM sqlite_schema WHERE type = 'table' AND name LIKE 'tributary!_%' ESCAPE '!'";
        let rows = plain.fetch_all(sqlx::raw_sql(sql)).await.unwrap();
        let expected = OwnTable::ALL.iter().position(|known| *known == which).unwrap() + 1;
        assert_eq!(rows[0].get::<String, _>(0), expected.to_string());
    }
    // Whoever writes makes the table of marks itself, and nobody waits for him.
    plain.execute("DROP TABLE tributary_marks").await.unwrap();
    let branch = connector.open(WRITE).await.unwrap();
    connector.install(OwnTable::Marks).await.unwrap();
    branch.mark(mark(1)).await.unwrap();
    branch.commit().await.unwrap();
    assert_eq!(stored(&mut plain).await, ["commit 1"]);
    let schema = connector.discover().await.unwrap();
    let names: Vec<&str> = schema.tables.iter().map(|table| table.id.name.as_str()).collect();
    assert_eq!(names, ["t", "tributary_outbox"]);
    let (found, own) = (schema.tables[1].as_ref(), connector.own_table(OwnTable::Outbox).unwrap());
    assert_eq!((&found.id, found.kind, &found.columns), (&own.id, own.kind, &own.columns));
    assert_eq!(found.primary_key, own.primary_key);
}

#[tokio::test]
async fn keys_are_written_as_those_of_any_table() {
    let (_directory, mut plain, connector) = file("CREATE TABLE t (id INTEGER PRIMARY KEY)").await;
    connector.install(OwnTable::Keys).await.unwrap();
    let keys = connector.own_table(OwnTable::Keys).unwrap();
    let moment = || Arc::new(TimestampMicrosecondArray::from(vec![1_500_000]).with_timezone(UTC)) as ArrayRef;
    let put = |key: &str, hash: &str| {
        let rows = batch(&keys, &[0, 1, 3], vec![texts(&[key]), texts(&[hash]), moment()]);
        let (store, table, columns) = (StoreName::new("shop"), keys.clone(), vec![0, 1, 3]);
        Edit::Insert(Insert { store, table, columns, rows, conflict: None, paths: Vec::new(), returning: Vec::new() })
    };
    let go = CancellationToken::new();
    let branch = connector.open(WRITE).await.unwrap();
    branch.edit(&put("k", "h"), &go).await.unwrap();
    let rows = batch(&keys, &[0, 2], vec![texts(&["k"]), texts(&["[]"])]);
    let (store, table) = (StoreName::new("shop"), keys.clone());
    let outcome = UpdateRows { store, table, key: vec![0], set: vec![2], rows, paths: Vec::new(), returning: Vec::new() };
    assert_eq!(branch.edit(&Edit::UpdateRows(outcome), &go).await.unwrap().rows, 1);
    branch.commit().await.unwrap();
    let again = connector.open(WRITE).await.unwrap();
    let error = again.edit(&put("k", "other"), &go).await.unwrap_err();
    assert_eq!((error.sqlstate(), error.constraint().as_deref()), ("23505", Some("tributary_keys_pkey")));
    again.rollback().await.unwrap();
    // Bytes tell keys apart.
    let third = connector.open(WRITE).await.unwrap();
    third.edit(&put("K", "h"), &go).await.unwrap();
    third.commit().await.unwrap();
    let scan = Scan { store: StoreName::new("shop"), table: keys.id.clone(), columns: vec![3], filter: Vec::new(), limit: None };
    let reader = connector.open(Purpose::Statement { scans: 1 }).await.unwrap();
    let stream = reader.scan(&keys, &scan, ScanLimits::default()).await.unwrap();
    let batches: Vec<RecordBatch> = stream.try_collect().await.unwrap();
    assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 2);
    let rows =
        plain.fetch_all(sqlx::raw_sql("SELECT key || hash || ifnull(outcome, '~') || at FROM tributary_keys ORDER BY key")).await;
    let rows: Vec<String> = rows.unwrap().iter().map(|row| row.get::<String, _>(0)).collect();
    assert_eq!(rows, ["Kh~1970-01-01 00:00:01.5+00:00", "kh[]1970-01-01 00:00:01.5+00:00"]);
}
