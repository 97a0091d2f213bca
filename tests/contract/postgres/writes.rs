//! Edits and transactions that write, looked at from beside.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, AsArray, Int32Array, RecordBatch, StringArray};
use arrow::datatypes::{Int32Type, Schema};
use futures::{StreamExt, TryStreamExt};
use tokio_util::sync::CancellationToken;
use tributary::error::Diagnose;
use tributary::pgtype::PgType;
use tributary::stores::connector::{Connector, Purpose, ScanLimits, Serial, StoreName, WriteIsolation};
use tributary::stores::edit::{
    Conflict, ConflictAction, ConflictTarget, Delete, DeleteRows, Insert, Proposed, Update, UpdateRows, field,
};
use tributary::stores::fragment::{Expression, Function, Node};
use tributary::stores::predicate::{ColumnRef, Comparison};
use tributary::stores::value::Value;
use tributary::stores::{Branch, Edit, Edited, Predicate, Relation, Scan, StoreError, Table};

use super::{Fixture, row_count, scan_of};

pub(super) const ROWS: &str = "SELECT coalesce(string_agg(t::text, ' ' ORDER BY id), '') FROM t";
pub(super) const WRITE: Purpose = Purpose::Write(WriteIsolation::ReadCommitted);

/// A table of three rows.
pub(super) async fn three() -> (Fixture, Arc<Table>) {
    let mut fixture = Fixture::new().await;
    fixture.run("CREATE TABLE t (id int PRIMARY KEY, name varchar(19), n int DEFAULT 7 NOT NULL CHECK (n < 1000))").await;
    fixture.run("INSERT INTO t VALUES (1, 'a', 10), (2, 'b', 20), (3, NULL, 30)").await;
    let table = fixture.table("t").await;
    (fixture, table)
}

fn numbers(values: &[i32]) -> ArrayRef {
    Arc::new(Int32Array::from(values.to_vec()))
}

fn no_number() -> ArrayRef {
    Arc::new(Int32Array::from(vec![None::<i32>]))
}

fn texts(values: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

fn rows(table: &Table, columns: &[(usize, ArrayRef)]) -> RecordBatch {
    let fields: Vec<_> = columns.iter().map(|(ordinal, _)| field(&table.columns[*ordinal])).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns.iter().map(|(_, values)| values.clone()).collect()).unwrap()
}

fn insert(table: &Arc<Table>, columns: &[(usize, ArrayRef)], returning: &[usize]) -> Insert {
    let (store, rows, table) = (StoreName::new("crm"), rows(table, columns), table.clone());
    let columns = columns.iter().map(|(ordinal, _)| *ordinal).collect();
    Insert { store, table, columns, rows, conflict: None, paths: Vec::new(), returning: returning.to_vec() }
}

pub(super) fn one(table: &Arc<Table>, id: i32) -> Edit {
    Edit::Insert(insert(table, &[(0, numbers(&[id]))], &[]))
}

/// New numbers for rows by their keys.
pub(super) fn renumber(table: &Arc<Table>, keys: &[i32], to: &[i32], returning: &[usize]) -> Edit {
    let (store, rows) = (StoreName::new("crm"), rows(table, &[(0, numbers(keys)), (2, numbers(to))]));
    let (table, key, set, paths, returning) = (table.clone(), vec![0], vec![2], Vec::new(), returning.to_vec());
    Edit::UpdateRows(UpdateRows { store, table, key, set, paths, rows, returning })
}

fn below(table: &Table, id: i64) -> Relation {
    let filter = vec![Predicate::Compare { column: ColumnRef::of(0), op: Comparison::Less, value: Value::Int(id) }];
    Relation::Table(Scan { store: StoreName::new("crm"), table: table.id.clone(), columns: vec![2], filter, limit: None })
}

fn delete_below(table: &Arc<Table>, id: i64) -> Edit {
    let (store, relation) = (StoreName::new("crm"), below(table, id));
    let tables = [(table.id.clone(), table.clone())].into();
    Edit::Delete(Delete { store, table: table.clone(), relation, tables, returning: vec![1] })
}

pub(super) async fn run(branch: &Arc<dyn Branch>, edit: &Edit) -> Result<Edited, StoreError> {
    branch.edit(edit, &CancellationToken::new()).await
}

/// Runs an edit that commits by itself.
async fn once(connector: &Arc<dyn Connector>, edit: &Edit) -> Result<Edited, StoreError> {
    connector.accepts_edit(edit).unwrap();
    run(&connector.open(Purpose::Once).await?, edit).await
}

pub(super) async fn read(branch: &Arc<dyn Branch>, table: &Arc<Table>) -> Result<usize, StoreError> {
    let batches = branch.scan(table, &scan_of(table, Vec::new()), ScanLimits::default()).await?.try_collect::<Vec<_>>().await?;
    Ok(row_count(&batches))
}

pub(super) async fn until(fixture: &mut Fixture, sql: &str, expected: &str) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while fixture.ask(sql).await.as_deref() != Some(expected) {
        assert!(Instant::now() < deadline, "{sql} is not {expected}");
        tokio::task::yield_now().await;
    }
}

/// How many sessions wait for this one. `pg_stat_activity` would stay as it was in a transaction.
const WAITING: &str = "SELECT count(*)::text FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY (pg_blocking_pids(pid))";

fn returned(edited: &Edited) -> (u64, Vec<i32>) {
    let numbers = edited.returned.as_ref().map(|batch| batch.column(0).as_primitive::<Int32Type>().values().to_vec());
    (edited.rows, numbers.unwrap_or_default())
}

#[tokio::test]
async fn every_edit_does_what_its_statement_does() {
    let (mut fixture, table) = three().await;
    let connector = fixture.connector.clone();
    let edited =
        once(&connector, &Edit::Insert(insert(&table, &[(0, numbers(&[4])), (1, texts(&["it's"]))], &[2, 0]))).await.unwrap();
    assert_eq!(returned(&edited), (1, vec![7]));
    let several = insert(&table, &[(0, numbers(&[6, 5])), (1, texts(&["\\' or 1=1 -- ", ""])), (2, numbers(&[60, 50]))], &[0]);
    assert_eq!(returned(&once(&connector, &Edit::Insert(several)).await.unwrap()), (2, vec![6, 5]));
    let edited = once(&connector, &renumber(&table, &[5, 9, 1], &[51, 91, 11], &[2])).await.unwrap();
    assert_eq!(returned(&edited), (2, vec![51, 11]));
    let swapped = renumber(&table, &[6, 5], &[61, 52], &[2]);
    assert_eq!(returned(&once(&connector, &swapped).await.unwrap()), (2, vec![61, 52]));
    let (store, keys) = (StoreName::new("crm"), rows(&table, &[(0, numbers(&[4, 3]))]));
    let gone = DeleteRows { store, table: table.clone(), key: vec![0], rows: keys, returning: vec![0] };
    assert_eq!(returned(&once(&connector, &Edit::DeleteRows(gone)).await.unwrap()), (2, vec![4, 3]));
    let column = Expression::column(0, PgType::INT4);
    let by = Expression::new(PgType::INT4, Node::Literal(Some(Value::Int(1))));
    let sum = Expression::new(PgType::INT4, Node::Call { function: Function::Add, arguments: vec![column, by] });
    let relation = Relation::Project { input: Box::new(below(&table, 3)), expressions: vec![sum] };
    let tables = [(table.id.clone(), table.clone())].into();
    let whole = Update {
        store: StoreName::new("crm"),
        table: table.clone(),
        relation,
        tables,
        set: vec![2],
        paths: Vec::new(),
        returning: vec![],
    };
    assert_eq!(once(&connector, &Edit::Update(whole)).await.unwrap().rows, 2);
    let expected = "(1,a,12) (2,b,21) (5,\"\",52) (6,\"\\\\' or 1=1 -- \",61)";
    assert_eq!(fixture.ask(ROWS).await.as_deref(), Some(expected));
    let edited = once(&connector, &delete_below(&table, 2)).await.unwrap();
    assert_eq!((edited.rows, edited.returned.unwrap().column(0).as_string::<i32>().value(0)), (1, "a"));
    let none = once(&connector, &delete_below(&table, -5)).await.unwrap();
    assert_eq!((none.rows, none.returned.unwrap().num_rows()), (0, 0));
}

#[tokio::test]
async fn conflicts_are_met_as_the_server_meets_them() {
    let (mut fixture, table) = three().await;
    let connector = fixture.connector.clone();
    let mut given = insert(&table, &[(0, numbers(&[2, 8])), (2, numbers(&[22, 88]))], &[0]);
    given.conflict = Some(Conflict { target: ConflictTarget::Any, action: ConflictAction::Nothing });
    assert_eq!(returned(&once(&connector, &Edit::Insert(given.clone())).await.unwrap()), (1, vec![8]));
    let set = vec![(2, Proposed::Excluded(2)), (1, Proposed::Constant(Some(Value::Text("it's".to_owned()))))];
    let update = Conflict { target: ConflictTarget::Columns(vec![0]), action: ConflictAction::Update(set) };
    given.conflict = Some(update.clone());
    assert_eq!(once(&connector, &Edit::Insert(given.clone())).await.unwrap().rows, 2);
    assert_eq!(fixture.ask(ROWS).await.as_deref(), Some("(1,a,10) (2,it's,22) (3,,30) (8,it's,88)"));
    let twice = insert(&table, &[(0, numbers(&[2, 2])), (2, numbers(&[1, 2]))], &[]);
    let error = once(&connector, &Edit::Insert(Insert { conflict: Some(update), ..twice })).await.unwrap_err();
    assert_eq!(error.sqlstate(), "21000");
    given.conflict = Some(Conflict { target: ConflictTarget::Columns(vec![1]), action: ConflictAction::Nothing });
    assert_eq!(once(&connector, &Edit::Insert(given)).await.unwrap_err().sqlstate(), "42P10");
    assert_eq!(fixture.ask(ROWS).await.as_deref(), Some("(1,a,10) (2,it's,22) (3,,30) (8,it's,88)"));
}

#[tokio::test]
async fn a_refused_edit_names_its_place_and_changes_nothing() {
    let (mut fixture, table) = three().await;
    let connector = fixture.connector.clone();
    let before = fixture.ask(ROWS).await;
    let cases = [
        (one(&table, 2), "23505", Some("t_pkey"), None),
        (renumber(&table, &[1, 2], &[5, 1000], &[]), "23514", Some("t_n_check"), None),
        (Edit::Insert(insert(&table, &[(0, numbers(&[9])), (1, texts(&["01234567890123456789"]))], &[])), "22001", None, None),
        (Edit::Insert(insert(&table, &[(0, numbers(&[9])), (2, no_number())], &[0])), "23502", None, Some("n")),
    ];
    for (edit, sqlstate, constraint, column) in cases {
        let error = once(&connector, &edit).await.unwrap_err();
        assert_eq!((error.sqlstate(), error.constraint().as_deref()), (sqlstate, constraint), "{error:?}");
        if let Some(column) = column {
            let site = error.site().unwrap();
            assert_eq!((site.table.as_deref(), site.column.as_deref()), (Some("t"), Some(column)));
        }
        assert_eq!(fixture.ask(ROWS).await, before, "{edit:?}");
    }
    assert_eq!(once(&connector, &one(&table, 9)).await.unwrap().rows, 1);
}

#[tokio::test]
async fn what_cannot_be_given_back_is_not_written() {
    let mut fixture = Fixture::new().await;
    fixture.run("CREATE TABLE t (id int, at timestamp DEFAULT '294270-01-01', day date DEFAULT '2024-02-29')").await;
    let table = fixture.table("t").await;
    let connector = fixture.connector.clone();
    // The carrier of moments ends in the year 294247.
    let error = once(&connector, &Edit::Insert(insert(&table, &[(0, numbers(&[1]))], &[0, 1]))).await.unwrap_err();
    assert!(matches!(error, StoreError::Value { .. }), "{error:?}");
    assert_eq!(fixture.ask("SELECT count(*)::text FROM t").await.as_deref(), Some("0"));
    let edited = once(&connector, &Edit::Insert(insert(&table, &[(0, numbers(&[2]))], &[0, 2]))).await.unwrap();
    assert_eq!((edited.rows, edited.returned.unwrap().num_columns()), (1, 2));
    assert_eq!(fixture.ask("SELECT count(*)::text FROM t WHERE id = 2").await.as_deref(), Some("1"));
}

#[tokio::test]
async fn a_null_that_its_column_forbade_is_not_written_where_it_is_given_back() {
    let (mut fixture, table) = three().await;
    let connector = fixture.connector.clone();
    fixture.run("ALTER TABLE t ALTER n DROP NOT NULL").await;
    let given = |returning: &[usize]| Edit::Insert(insert(&table, &[(0, numbers(&[9])), (2, no_number())], returning));
    let error = once(&connector, &given(&[2])).await.unwrap_err();
    assert!(matches!(error, StoreError::SchemaChanged { .. }), "{error:?}");
    assert_eq!(fixture.ask("SELECT count(*)::text FROM t").await.as_deref(), Some("3"));
    assert_eq!(returned(&once(&connector, &given(&[0])).await.unwrap()), (1, vec![9]));
    assert_eq!(fixture.ask("SELECT count(*)::text FROM t WHERE n IS NULL").await.as_deref(), Some("1"));
}

#[tokio::test]
async fn more_than_there_is_room_for_is_neither_given_back_nor_written() {
    let mut fixture = Fixture::new().await;
    fixture.run("CREATE TABLE t (id int PRIMARY KEY, name text, n int)").await;
    fixture.run("INSERT INTO t SELECT i, repeat('x', 1048576), 0 FROM generate_series(1, 70) i").await;
    let (table, connector) = (fixture.table("t").await, fixture.connector.clone());
    let error = once(&connector, &delete_below(&table, 100)).await.unwrap_err();
    assert_eq!(error.sqlstate(), "53200", "{error:?}");
    assert_eq!(fixture.ask("SELECT count(*)::text FROM t").await.as_deref(), Some("70"));
    let branch = connector.open(WRITE).await.unwrap();
    branch.savepoint(1).await.unwrap();
    assert_eq!(run(&branch, &delete_below(&table, 100)).await.unwrap_err().sqlstate(), "53200");
    assert_eq!(branch.commit().await.unwrap_err().sqlstate(), "25P02");
    branch.roll_back_to(1).await.unwrap();
    assert_eq!(run(&branch, &delete_below(&table, 11)).await.unwrap().rows, 10);
    branch.commit().await.unwrap();
    assert_eq!(fixture.ask("SELECT count(*)::text FROM t").await.as_deref(), Some("60"));
}

#[tokio::test]
async fn a_transaction_sees_its_writes_and_nobody_else_does_until_it_ends() {
    let (mut fixture, table) = three().await;
    for isolation in [WriteIsolation::ReadCommitted, WriteIsolation::RepeatableRead, WriteIsolation::Serializable] {
        for keeps in [false, true] {
            let before = fixture.ask("SELECT count(*)::text FROM t").await;
            let branch = fixture.connector.open(Purpose::Write(isolation)).await.unwrap();
            assert_eq!(branch.shared_snapshot().is_ok(), isolation != WriteIsolation::ReadCommitted);
            assert!(!branch.has_written());
            let rows = read(&branch, &table).await.unwrap();
            let id = i32::try_from(rows).unwrap() + 1;
            run(&branch, &one(&table, id)).await.unwrap();
            assert!(branch.has_written());
            assert_eq!(read(&branch, &table).await.unwrap(), rows + 1);
            assert_eq!(fixture.ask("SELECT count(*)::text FROM t").await, before);
            let ended = if keeps { branch.commit().await.map(drop) } else { branch.rollback().await };
            ended.unwrap();
            assert!(!branch.has_written());
            assert!(read(&branch, &table).await.is_err() && branch.commit().await.is_err());
            let after = (rows + usize::from(keeps)).to_string();
            assert_eq!(fixture.ask("SELECT count(*)::text FROM t").await, Some(after));
        }
    }
    drop(fixture.connector.open(WRITE).await.unwrap());
    let idle = "SELECT count(*)::text FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in%'";
    until(&mut fixture, idle, "0").await;
}

#[tokio::test]
async fn savepoints_undo_what_came_after_them_also_a_failure() {
    let (mut fixture, table) = three().await;
    let branch = fixture.connector.open(WRITE).await.unwrap();
    branch.savepoint(1).await.unwrap();
    run(&branch, &one(&table, 4)).await.unwrap();
    branch.savepoint(2).await.unwrap();
    run(&branch, &one(&table, 5)).await.unwrap();
    assert_eq!(run(&branch, &one(&table, 5)).await.unwrap_err().sqlstate(), "23505");
    assert_eq!(run(&branch, &one(&table, 6)).await.unwrap_err().sqlstate(), "25P02");
    assert_eq!(read(&branch, &table).await.unwrap_err().sqlstate(), "25P02");
    assert_eq!(branch.commit().await.unwrap_err().sqlstate(), "25P02");
    branch.roll_back_to(2).await.unwrap();
    assert!(branch.has_written());
    assert_eq!(read(&branch, &table).await.unwrap(), 4);
    branch.roll_back_to(1).await.unwrap();
    assert!(!branch.has_written());
    assert_eq!(branch.roll_back_to(2).await.unwrap_err().sqlstate(), "3B001");
    branch.roll_back_to(1).await.unwrap();
    run(&branch, &one(&table, 7)).await.unwrap();
    branch.release(1).await.unwrap();
    branch.commit().await.unwrap();
    assert_eq!(fixture.ask("SELECT string_agg(id::text, ' ' ORDER BY id) FROM t").await.as_deref(), Some("1 2 3 7"));
}

#[tokio::test]
async fn scans_and_edits_take_turns() {
    let (mut fixture, table) = three().await;
    fixture.run("INSERT INTO t SELECT n, 'x', 1 FROM generate_series(4, 20000) n").await;
    let branch = fixture.connector.open(WRITE).await.unwrap();
    let limits = ScanLimits { batch_rows: 1_000, ..ScanLimits::default() };
    let mut first = branch.scan(&table, &scan_of(&table, Vec::new()), limits).await.unwrap();
    let mut second = branch.scan(&table, &scan_of(&table, Vec::new()), limits).await.unwrap();
    let seen = first.next().await.unwrap().unwrap().num_rows() + first.next().await.unwrap().unwrap().num_rows();
    assert!(second.next().await.unwrap().unwrap().num_rows() <= 1_000);
    assert_eq!(run(&branch, &delete_below(&table, 15_000)).await.unwrap().rows, 14_999);
    // As they were when the scan began.
    assert_eq!(seen + row_count(&first.try_collect::<Vec<_>>().await.unwrap()), 20_000);
    drop(second);
    for _ in 0..40 {
        let mut dropped = branch.scan(&table, &scan_of(&table, Vec::new()), limits).await.unwrap();
        dropped.next().await.unwrap().unwrap();
    }
    assert_eq!(read(&branch, &table).await.unwrap(), 5_001);
    let mut nothing = scan_of(&table, Vec::new());
    nothing.columns.clear();
    let counted: Vec<_> = branch.scan(&table, &nothing, limits).await.unwrap().try_collect().await.unwrap();
    assert_eq!(row_count(&counted), 5_001);
    branch.commit().await.unwrap();
    assert_eq!(fixture.ask("SELECT count(*)::text FROM t").await.as_deref(), Some("5001"));
}

#[tokio::test]
async fn rows_that_are_suddenly_wide_are_read_up_to_a_bound() {
    let mut fixture = Fixture::new().await;
    fixture.run("CREATE TABLE t (id int PRIMARY KEY, name text, n int)").await;
    fixture.run("INSERT INTO t SELECT i, CASE WHEN i > 200 THEN repeat('x', 90000) END, 0 FROM generate_series(1, 1200) i").await;
    let table = fixture.table("t").await;
    let branch = fixture.connector.open(WRITE).await.unwrap();
    assert_eq!(read(&branch, &table).await.unwrap_err().sqlstate(), "53200");
    // What is left of the answer is in nobody's way.
    assert_eq!(run(&branch, &one(&table, 9_999)).await.unwrap().rows, 1);
    branch.commit().await.unwrap();
    // Rows that are wide from the start are read a few at a time.
    fixture.run("DELETE FROM t WHERE id <= 200 OR id > 1200").await;
    let branch = fixture.connector.open(WRITE).await.unwrap();
    assert_eq!(read(&branch, &table).await.unwrap(), 1_000);
    branch.rollback().await.unwrap();
}

#[tokio::test]
async fn serializable_transactions_that_have_read_what_others_write_do_not_both_commit() {
    let (mut fixture, table) = three().await;
    let serial = Purpose::Serializable(Serial::Write);
    let [left, right] = [fixture.connector.open(serial).await.unwrap(), fixture.connector.open(serial).await.unwrap()];
    for branch in [&left, &right] {
        assert_eq!(read(branch, &table).await.unwrap(), 3);
        assert!(!branch.has_written());
    }
    // Each writes what the other has read: no order of the two gives both what they saw.
    run(&left, &renumber(&table, &[1], &[11], &[])).await.unwrap();
    left.commit().await.unwrap();
    let outcome = match run(&right, &renumber(&table, &[2], &[22], &[])).await {
        Ok(_) => right.commit().await.map(drop),
        Err(error) => Err(error),
    };
    assert_eq!(outcome.unwrap_err().sqlstate(), "40001");
    drop(right);
    assert_eq!(fixture.ask(ROWS).await.as_deref(), Some("(1,a,11) (2,b,20) (3,,30)"));
}

#[tokio::test]
async fn a_locked_scan_keeps_others_from_its_rows() {
    let (mut fixture, table) = three().await;
    let branch = fixture.connector.open(WRITE).await.unwrap();
    let filter = vec![Predicate::Compare { column: ColumnRef::of(0), op: Comparison::Equal, value: Value::Int(2) }];
    let locked: Vec<_> =
        branch.scan_for_update(&table, &scan_of(&table, filter), ScanLimits::default()).await.unwrap().try_collect().await.unwrap();
    assert_eq!(row_count(&locked), 1);
    fixture.run("SET lock_timeout = '50ms'; UPDATE t SET n = 11 WHERE id = 1").await;
    let blocked = sqlx::query("UPDATE t SET n = 21 WHERE id = 2").execute(&mut fixture.plain).await.unwrap_err();
    assert_eq!(blocked.as_database_error().and_then(|said| said.code()).as_deref(), Some("55P03"));
    assert_eq!(run(&branch, &renumber(&table, &[2], &[22], &[2])).await.unwrap().rows, 1);
    branch.commit().await.unwrap();
    assert_eq!(fixture.ask(ROWS).await.as_deref(), Some("(1,a,11) (2,b,22) (3,,30)"));
}

#[tokio::test]
async fn an_edit_that_is_told_to_stop_changes_nothing_and_leaves_its_connection_right() {
    let (mut fixture, table) = three().await;
    let connector = fixture.connector.clone();
    fixture.run("BEGIN; UPDATE t SET n = 99 WHERE id = 2").await;
    for purpose in [Purpose::Once, WRITE] {
        let (branch, stop) = (connector.open(purpose).await.unwrap(), CancellationToken::new());
        branch.savepoint(1).await.unwrap();
        let edit = renumber(&table, &[1, 2], &[5, 6], &[]);
        let (outcome, ()) = tokio::join!(branch.edit(&edit, &stop), async {
            until(&mut fixture, WAITING, "1").await;
            stop.cancel();
        });
        assert!(matches!(outcome, Err(StoreError::Cancelled)), "{outcome:?}");
        let never = branch.edit(&one(&table, 9), &stop).await;
        assert!(never.is_err(), "{never:?}");
        if purpose == WRITE {
            branch.roll_back_to(1).await.unwrap();
            assert_eq!(run(&branch, &one(&table, 8)).await.unwrap().rows, 1);
        }
        branch.rollback().await.unwrap();
    }
    fixture.run("COMMIT").await;
    assert_eq!(fixture.ask(ROWS).await.as_deref(), Some("(1,a,10) (2,b,99) (3,,30)"));
    assert_eq!(once(&connector, &one(&table, 9)).await.unwrap().rows, 1);
}

#[tokio::test]
async fn a_way_back_that_fails_leads_nowhere() {
    let (mut fixture, table) = three().await;
    let branch = fixture.connector.open(WRITE).await.unwrap();
    branch.savepoint(1).await.unwrap();
    run(&branch, &one(&table, 4)).await.unwrap();
    assert_eq!(branch.roll_back_to(9).await.unwrap_err().sqlstate(), "3B001");
    assert_eq!(run(&branch, &one(&table, 5)).await.unwrap_err().sqlstate(), "25P02");
    assert_eq!(branch.savepoint(2).await.unwrap_err().sqlstate(), "25P02");
    assert_eq!(branch.commit().await.unwrap_err().sqlstate(), "25P02");
    assert!(branch.has_written());
    branch.roll_back_to(1).await.unwrap();
    run(&branch, &one(&table, 6)).await.unwrap();
    branch.commit().await.unwrap();
    assert_eq!(fixture.ask("SELECT string_agg(id::text, ' ' ORDER BY id) FROM t").await.as_deref(), Some("1 2 3 6"));
}

#[tokio::test]
async fn an_edit_that_nobody_waits_for_has_failed() {
    let (mut fixture, table) = three().await;
    let branch = fixture.connector.open(WRITE).await.unwrap();
    branch.savepoint(1).await.unwrap();
    fixture.run("BEGIN; UPDATE t SET n = 99 WHERE id = 2").await;
    let edit = renumber(&table, &[2], &[22], &[]);
    tokio::select! {
        outcome = run(&branch, &edit) => panic!("{outcome:?}"),
        () = until(&mut fixture, WAITING, "1") => {}
    }
    fixture.run("COMMIT").await;
    assert_eq!(run(&branch, &one(&table, 4)).await.unwrap_err().sqlstate(), "25P02");
    assert_eq!(branch.commit().await.unwrap_err().sqlstate(), "25P02");
    branch.roll_back_to(1).await.unwrap();
    run(&branch, &one(&table, 5)).await.unwrap();
    branch.commit().await.unwrap();
    assert_eq!(fixture.ask(ROWS).await.as_deref(), Some("(1,a,10) (2,b,99) (3,,30) (5,,7)"));
}

#[tokio::test]
async fn a_commit_that_nobody_waits_for_is_not_said_to_be_undone() {
    let (mut fixture, table) = three().await;
    let body = "BEGIN PERFORM pg_advisory_xact_lock(7); RETURN NULL; END";
    fixture.run(&format!("CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS '{body}'")).await;
    let late = "CREATE CONSTRAINT TRIGGER f AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION f()";
    fixture.run(late).await;
    fixture.run("SELECT pg_advisory_lock(7)").await;
    let branch = fixture.connector.open(WRITE).await.unwrap();
    run(&branch, &one(&table, 4)).await.unwrap();
    tokio::select! {
        outcome = branch.commit() => panic!("{outcome:?}"),
        () = until(&mut fixture, WAITING, "1") => {}
    }
    assert!(branch.rollback().await.is_err() && branch.commit().await.is_err());
    assert!(branch.has_written());
}

#[tokio::test]
async fn a_block_that_has_read_writes_on_its_snapshot() {
    let (mut fixture, table) = three().await;
    let branch = fixture.connector.open(Purpose::Transaction { read_only: false, repeatable: true }).await.unwrap();
    assert_eq!(read(&branch, &table).await.unwrap(), 3);
    fixture.run("INSERT INTO t VALUES (50, 'later', 1)").await;
    branch.savepoint(1).await.unwrap();
    run(&branch, &one(&table, 4)).await.unwrap();
    assert_eq!(read(&branch, &table).await.unwrap(), 4);
    fixture.run("UPDATE t SET n = 11 WHERE id = 1").await;
    assert_eq!(run(&branch, &renumber(&table, &[1], &[12], &[])).await.unwrap_err().sqlstate(), "40001");
    branch.roll_back_to(1).await.unwrap();
    run(&branch, &one(&table, 6)).await.unwrap();
    branch.commit().await.unwrap();
    let ids = "SELECT string_agg(id::text, ' ' ORDER BY id) FROM t";
    assert_eq!(fixture.ask(ids).await.as_deref(), Some("1 2 3 6 50"));
    let reading = fixture.connector.open(Purpose::Transaction { read_only: true, repeatable: true }).await.unwrap();
    assert_eq!(run(&reading, &one(&table, 9)).await.unwrap_err().sqlstate(), "0A000");
}

pub(super) const END_WRITERS: &str = "SELECT count(pg_terminate_backend(pid))::text FROM pg_stat_activity WHERE datname = current_database() \
     AND application_name = 'tributary' AND state LIKE 'idle in%'";

#[tokio::test]
async fn a_lost_answer_to_what_commits_is_an_unknown_outcome() {
    let (mut fixture, table) = three().await;
    let connector = fixture.connector.clone();
    let branch = connector.open(WRITE).await.unwrap();
    run(&branch, &one(&table, 4)).await.unwrap();
    assert_eq!(fixture.ask(END_WRITERS).await.as_deref(), Some("1"));
    until(&mut fixture, END_WRITERS, "0").await;
    let error = branch.commit().await.unwrap_err();
    assert!(matches!(error, StoreError::OutcomeUnknown { .. }) && error.sqlstate() == "08007", "{error:?}");
    // Nothing had been written, so that nothing is in doubt.
    let branch = connector.open(WRITE).await.unwrap();
    read(&branch, &table).await.unwrap();
    assert_eq!(fixture.ask(END_WRITERS).await.as_deref(), Some("1"));
    until(&mut fixture, END_WRITERS, "0").await;
    let error = branch.commit().await.unwrap_err();
    assert!(matches!(error, StoreError::ConnectionLost { .. }), "{error:?}");
    let body = "BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NEW; END";
    fixture.run(&format!("CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS '{body}'")).await;
    fixture.run("CREATE TRIGGER f BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()").await;
    let error = once(&connector, &one(&table, 4)).await.unwrap_err();
    assert!(matches!(error, StoreError::OutcomeUnknown { .. }), "{error:?}");
    fixture.run("DROP TRIGGER f ON t").await;
    assert_eq!(once(&connector, &one(&table, 4)).await.unwrap().rows, 1);
}

#[tokio::test]
async fn a_deferred_constraint_fails_the_commit() {
    let (mut fixture, table) = three().await;
    fixture.run("ALTER TABLE t ADD CONSTRAINT up FOREIGN KEY (n) REFERENCES t (id) DEFERRABLE INITIALLY DEFERRED NOT VALID").await;
    let branch = fixture.connector.open(WRITE).await.unwrap();
    run(&branch, &one(&table, 4)).await.unwrap();
    let error = branch.commit().await.unwrap_err();
    assert_eq!((error.sqlstate(), error.constraint().as_deref()), ("23503", Some("up")));
    assert!(!branch.has_written());
    assert_eq!(fixture.ask("SELECT count(*)::text FROM t").await.as_deref(), Some("3"));
}

#[tokio::test]
async fn a_table_that_has_changed_is_said_to_have() {
    let (mut fixture, table) = three().await;
    let connector = fixture.connector.clone();
    let edit = |id: i32| Edit::Insert(insert(&table, &[(0, numbers(&[id]))], &[2]));
    once(&connector, &edit(4)).await.unwrap();
    fixture.run("ALTER TABLE t DROP CONSTRAINT t_n_check, ALTER n DROP DEFAULT, ALTER n TYPE text").await;
    fixture.run("ALTER TABLE t ALTER n SET DEFAULT 'x'").await;
    for _ in 0..2 {
        let error = once(&connector, &edit(5)).await.unwrap_err();
        assert!(matches!(error, StoreError::SchemaChanged { .. }), "{error:?}");
    }
    assert_eq!(fixture.ask("SELECT count(*)::text FROM t").await.as_deref(), Some("4"));
    fixture.run("ALTER TABLE t DROP COLUMN n").await;
    let error = once(&connector, &renumber(&table, &[1], &[2], &[])).await.unwrap_err();
    assert!(matches!(error, StoreError::SchemaChanged { .. }), "{error:?}");
}

#[tokio::test]
async fn a_read_only_store_refuses_writes_and_reads() {
    let server = crate::support::postgres().await;
    let mut fixture = Fixture::on(server, "read_only = true").await;
    fixture.run("CREATE TABLE t (id int PRIMARY KEY)").await;
    let table = fixture.table("t").await;
    assert!(fixture.connector.is_read_only());
    for purpose in [Purpose::Once, WRITE] {
        let error = fixture.connector.open(purpose).await.err().unwrap();
        assert!(matches!(error, StoreError::ReadOnly { .. }) && error.sqlstate() == "25006", "{error:?}");
    }
    let block = fixture.connector.open(Purpose::Transaction { read_only: false, repeatable: true }).await.unwrap();
    assert!(matches!(run(&block, &one(&table, 1)).await, Err(StoreError::ReadOnly { .. })));
    assert_eq!(read(&block, &table).await.unwrap(), 0);
}

/// Types whose values travel in forms of their own.
#[tokio::test]
async fn values_of_every_form_are_written_and_given_back() {
    let mut fixture = Fixture::new().await;
    fixture
        .run(
            "CREATE TYPE mood AS ENUM ('sad', 'it''s'); CREATE TYPE pair AS (x int, y text); CREATE DOMAIN short AS varchar(3);
             CREATE TABLE t (mood mood PRIMARY KEY, moods mood[], pair pair, short short, pad char(4), bits bit(3), place point,
               words text[], doc json, at timestamptz, span interval, number numeric(8,2), raw bytea, address inet);
             INSERT INTO t VALUES ('it''s', '{sad,NULL}', '(1,\"a,b\")', 'abc', 'a', '101', '(1,2)', '{\"a,b\",NULL,\"\"}', '{\"a\": 1}',
               '2020-02-29 12:34:56.000001+00', '1 mon -2 days 03:04:05.000006', -1.50, '\\x00ff', '10.0.0.1/8')",
        )
        .await;
    let table = fixture.table("t").await;
    let before = fixture.ask("SELECT t::text FROM t").await;
    let all: Vec<usize> = (0..table.columns.len()).collect();
    let batch = fixture.read(&table, Vec::new()).await.unwrap().remove(0);
    let fields: Vec<_> = table.columns.iter().map(field).collect();
    let given = RecordBatch::try_new(Arc::new(Schema::new(fields)), batch.columns().to_vec()).unwrap();
    let (store, connector) = (StoreName::new("crm"), fixture.connector.clone());
    fixture.run("DELETE FROM t").await;
    let new = Insert {
        store: store.clone(),
        table: table.clone(),
        columns: all.clone(),
        rows: given.clone(),
        conflict: None,
        paths: Vec::new(),
        returning: all.clone(),
    };
    let edited = once(&connector, &Edit::Insert(new)).await.unwrap();
    assert_eq!((edited.rows, edited.returned.unwrap().columns()), (1, batch.columns()));
    assert_eq!(fixture.ask("SELECT t::text FROM t").await, before);
    // By the key first, then everything else anew.
    let same =
        RecordBatch::try_new(Arc::new(Schema::new(table.columns.iter().map(field).collect::<Vec<_>>())), given.columns().to_vec());
    let set = all[1..].to_vec();
    let update =
        UpdateRows { store, table: table.clone(), key: vec![0], set, rows: same.unwrap(), paths: Vec::new(), returning: all };
    let edited = once(&connector, &Edit::UpdateRows(update)).await.unwrap();
    assert_eq!((edited.rows, edited.returned.unwrap().columns()), (1, batch.columns()));
    assert_eq!(fixture.ask("SELECT t::text FROM t").await, before);
}
