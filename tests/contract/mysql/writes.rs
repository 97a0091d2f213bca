//! Writes to MariaDB: what is stored, counted and given back, who sees it and when, and what is left when it fails.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray};
use arrow::compute::concat_batches;
use arrow::datatypes::Schema;
use futures::{StreamExt, TryStreamExt};
use sqlx::{Executor, Row};
use tokio_util::sync::CancellationToken;
use tributary::error::Diagnose;
use tributary::pgtype::PgType;
use tributary::stores::connector::{Branch, ScanLimits};
use tributary::stores::edit::{
    Conflict, ConflictAction, ConflictTarget, Delete, DeleteRows, Edit, Edited, Insert, Proposed, Update, UpdateRows, field,
};
use tributary::stores::fragment::{Expression, Node, Relation, Tables};
use tributary::stores::predicate::Comparison;
use tributary::stores::value::Value;
use tributary::stores::{Predicate, Purpose, Scan, StoreError, StoreName, Table, WriteIsolation};

use super::{Room, all_columns, column, parse, read_all, scan_of, texts};
use crate::support::gate::Gate;

mod conflicts;
mod failing;
mod fitting;
mod holding;
mod prepared;

pub(super) const WRITE: Purpose = Purpose::Write(WriteIsolation::ReadCommitted);

pub(super) fn ints(values: impl IntoIterator<Item = i32>) -> ArrayRef {
    Arc::new(Int32Array::from_iter_values(values))
}

fn words(values: &[Option<&str>]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

fn rows(table: &Table, columns: &[usize], values: Vec<ArrayRef>) -> RecordBatch {
    let fields: Vec<_> = columns.iter().map(|ordinal| field(&table.columns[*ordinal])).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), values).unwrap()
}

pub(super) fn insert(table: &Arc<Table>, columns: &[usize], values: Vec<ArrayRef>) -> Insert {
    Insert {
        store: StoreName::new("shop"),
        table: Arc::clone(table),
        columns: columns.to_vec(),
        rows: rows(table, columns, values),
        conflict: None,
        paths: Vec::new(),
        returning: Vec::new(),
    }
}

fn update(table: &Arc<Table>, key: &[usize], set: &[usize], values: Vec<ArrayRef>) -> UpdateRows {
    let (key, set) = (key.to_vec(), set.to_vec());
    let rows = rows(table, &[key.clone(), set.clone()].concat(), values);
    UpdateRows { store: StoreName::new("shop"), table: Arc::clone(table), key, set, rows, paths: Vec::new(), returning: Vec::new() }
}

fn delete(table: &Arc<Table>, key: &[usize], values: Vec<ArrayRef>) -> DeleteRows {
    let (store, rows) = (StoreName::new("shop"), rows(table, key, values));
    DeleteRows { store, table: Arc::clone(table), key: key.to_vec(), rows, returning: Vec::new() }
}

pub(super) async fn run(branch: &Arc<dyn Branch>, edit: Edit) -> Result<Edited, StoreError> {
    branch.edit(&edit, &CancellationToken::new()).await
}

async fn once(room: &Room, edit: Edit) -> Result<Edited, StoreError> {
    room.store.accepts_edit(&edit).unwrap();
    let branch = room.store.open(Purpose::Once).await.unwrap();
    let edited = run(&branch, edit).await;
    branch.commit().await.unwrap();
    edited
}

/// The rows that a branch sees, each as its values with blanks between.
async fn seen(branch: &Arc<dyn Branch>, table: &Arc<Table>) -> Vec<String> {
    let scan = scan_of(table, all_columns(table), vec![]);
    let batches: Vec<RecordBatch> = branch.scan(table, &scan, ScanLimits::default()).await.unwrap().try_collect().await.unwrap();
    shown(&concat_batches(&table.schema, &batches).unwrap())
}

fn shown(batch: &RecordBatch) -> Vec<String> {
    let columns: Vec<Vec<String>> = (0..batch.num_columns()).map(|column| texts(batch, column)).collect();
    let mut rows: Vec<String> =
        (0..batch.num_rows()).map(|row| columns.iter().map(|column| column[row].as_str()).collect::<Vec<_>>().join(" ")).collect();
    rows.sort();
    rows
}

async fn stored(room: &Room, table: &Arc<Table>) -> Vec<String> {
    shown(&read_all(&room.store, table).await.unwrap())
}

fn state(outcome: Result<Edited, StoreError>) -> String {
    outcome.unwrap_err().sqlstate().to_owned()
}

/// `t (id int auto_increment primary key, a int, c varchar(5))` with rows 1 and 2.
async fn simple(room: &mut Room) -> Arc<Table> {
    room.run("CREATE TABLE t (id int AUTO_INCREMENT PRIMARY KEY, a int, c varchar(5) DEFAULT 'dflt')").await;
    room.run("INSERT INTO t VALUES (1, 10, 'x'), (2, 20, 'y')").await;
    room.table("t").await
}

/// Until a statement in the room's database waits for a lock. The tables of the information schema that tell of locks are filled anew
/// only where nobody has read them for a while.
async fn until_it_waits(room: &mut Room) {
    loop {
        let status = room.writer.fetch_one("SHOW ENGINE INNODB STATUS").await.unwrap().get::<String, _>(2);
        if status.split("---TRANSACTION").any(|one| one.contains("LOCK WAIT") && one.contains(&room.database)) {
            return;
        }
    }
}

#[tokio::test]
async fn inserted_rows_keep_their_values_and_defaults() {
    let mut room = Room::new("").await;
    let table = simple(&mut room).await;
    let mut given = insert(&table, &[1], vec![ints([30, 40])]);
    given.returning = vec![2, 0];
    let edited = once(&room, Edit::Insert(given)).await.unwrap();
    assert_eq!((edited.rows, shown(&edited.returned.unwrap())), (2, vec!["dflt 3".to_owned(), "dflt 4".to_owned()]));
    // A zero is a number and no request for the next one; NULL is not a request either.
    let zero = insert(&table, &[0, 2], vec![ints([0]), words(&[None])]);
    assert_eq!(once(&room, Edit::Insert(zero)).await.unwrap().rows, 1);
    let null = insert(&table, &[0], vec![Arc::new(Int32Array::from(vec![None::<i32>]))]);
    let error = once(&room, Edit::Insert(null)).await.unwrap_err();
    assert_eq!((error.sqlstate(), error.site().unwrap().column.as_deref()), ("23502", Some("id")));
    let hostile = insert(&table, &[0, 2], vec![ints([9]), words(&[Some("\\' or 1")])]);
    assert_eq!(state(once(&room, Edit::Insert(hostile)).await), "22001");
    let hostile = insert(&table, &[0, 2], vec![ints([9]), words(&[Some("\\'--`")])]);
    once(&room, Edit::Insert(hostile)).await.unwrap();
    let expected = ["0 ∅ ∅", "1 10 x", "2 20 y", "3 30 dflt", "4 40 dflt", "9 ∅ \\'--`"];
    assert_eq!(stored(&room, &table).await, expected);
    let double = insert(&table, &[0], vec![ints([100, 9])]);
    let error = once(&room, Edit::Insert(double)).await.unwrap_err();
    assert_eq!((error.sqlstate(), error.constraint().as_deref()), ("23505", Some("PRIMARY")));
    assert_eq!(stored(&room, &table).await, expected, "nothing of a statement that failed is left");
}

#[tokio::test]
async fn own_writes_are_seen_by_nobody_else_until_they_are_committed() {
    let mut room = Room::new("pool.size = 2").await;
    let table = simple(&mut room).await;
    for (commits, expected) in [(false, vec!["1 10 x", "2 20 y"]), (true, vec!["1 10 x", "2 20 y", "3 30 dflt"])] {
        let branch = room.store.open(WRITE).await.unwrap();
        assert!(!branch.has_written());
        assert_eq!(run(&branch, Edit::Insert(insert(&table, &[0, 1], vec![ints([3]), ints([30])]))).await.unwrap().rows, 1);
        assert!(branch.has_written());
        assert_eq!(seen(&branch, &table).await, ["1 10 x", "2 20 y", "3 30 dflt"]);
        assert_eq!(stored(&room, &table).await, ["1 10 x", "2 20 y"]);
        if commits {
            branch.commit().await.map(drop).unwrap()
        } else {
            branch.rollback().await.unwrap()
        }
        assert!(!branch.has_written());
        assert_eq!(stored(&room, &table).await, expected);
    }
    // Both slots of the pool are free again, and in no transaction.
    let both = [room.store.open(WRITE).await.unwrap(), room.store.open(WRITE).await.unwrap()];
    for branch in both {
        branch.rollback().await.unwrap();
    }
}

#[tokio::test]
async fn savepoints_undo_and_make_a_failed_transaction_usable() {
    let mut room = Room::new("").await;
    let table = simple(&mut room).await;
    let branch = room.store.open(WRITE).await.unwrap();
    let one = |id: i32| Edit::Insert(insert(&table, &[0], vec![ints([id])]));
    run(&branch, one(3)).await.unwrap();
    branch.savepoint(7).await.unwrap();
    run(&branch, one(4)).await.unwrap();
    assert_eq!(state(run(&branch, one(3)).await), "23505");
    // Nothing but the way back is taken, whatever the server would do.
    assert_eq!(state(run(&branch, one(5)).await), "25P02");
    branch.roll_back_to(7).await.unwrap();
    run(&branch, one(6)).await.unwrap();
    branch.release(7).await.unwrap();
    branch.commit().await.unwrap();
    assert_eq!(stored(&room, &table).await, ["1 10 x", "2 20 y", "3 ∅ dflt", "6 ∅ dflt"]);
    let branch = room.store.open(WRITE).await.unwrap();
    assert_eq!(state(run(&branch, one(1)).await), "23505");
    let error = branch.commit().await.unwrap_err();
    assert_eq!(error.sqlstate(), "25P02");
}

#[tokio::test]
async fn an_edit_takes_the_connection_of_an_open_scan_and_no_row_is_lost() {
    let mut room = Room::new("").await;
    room.run("CREATE TABLE big (id int PRIMARY KEY, t varchar(20))").await;
    room.run("INSERT INTO big SELECT seq, concat('row ', seq) FROM seq_1_to_30000").await;
    let table = room.table("big").await;
    for purpose in [WRITE, Purpose::Transaction { read_only: false, repeatable: true }] {
        let branch = room.store.open(purpose).await.unwrap();
        let scan = scan_of(&table, vec![0], vec![]);
        let mut stream = branch.scan(&table, &scan, ScanLimits::default()).await.unwrap();
        let first = stream.next().await.unwrap().unwrap();
        run(&branch, Edit::Insert(insert(&table, &[0], vec![ints([-1])]))).await.unwrap();
        let limits = ScanLimits::default();
        let second = branch.scan_for_update(&table, &scan, limits).await.unwrap();
        run(&branch, Edit::DeleteRows(delete(&table, &[0], vec![ints([30_000])]))).await.unwrap();
        let rest: Vec<RecordBatch> = stream.try_collect().await.unwrap();
        let count = first.num_rows() + rest.iter().map(RecordBatch::num_rows).sum::<usize>();
        assert_eq!(count, 30_000, "{purpose:?}");
        let second: Vec<RecordBatch> = second.try_collect().await.unwrap();
        assert_eq!(second.iter().map(RecordBatch::num_rows).sum::<usize>(), 30_001);
        assert_eq!(seen(&branch, &table).await.len(), 30_000);
        branch.rollback().await.unwrap();
        assert_eq!(stored(&room, &table).await.len(), 30_000);
    }
}

#[tokio::test]
async fn rows_are_changed_and_removed_by_their_keys() {
    let mut room = Room::new("").await;
    let table = simple(&mut room).await;
    room.run("INSERT INTO t VALUES (3, 30, 'z')").await;
    // One statement for all, one row that is not there, and one that stays as it is and counts.
    let same = update(&table, &[0], &[2], vec![ints([1, 2, 99]), words(&[Some("x"); 3])]);
    assert_eq!(once(&room, Edit::UpdateRows(same)).await.unwrap().rows, 2);
    let mut moved = update(&table, &[0], &[0, 1], vec![ints([3, 1, 99]), ints([30, 11, 98]), ints([7, 8, 9])]);
    moved.returning = vec![0, 1];
    let edited = once(&room, Edit::UpdateRows(moved)).await.unwrap();
    let returned = edited.returned.unwrap();
    assert_eq!(
        (edited.rows, texts(&returned, 0), texts(&returned, 1)),
        (2, vec!["30".into(), "11".into()], vec!["7".into(), "8".into()])
    );
    assert_eq!(stored(&room, &table).await, ["11 8 x", "2 20 x", "30 7 z"]);
    // The second row meets the first: nothing is left of either.
    let met = update(&table, &[0], &[0], vec![ints([11, 2]), ints([12, 12])]);
    assert_eq!(state(once(&room, Edit::UpdateRows(met)).await), "23505");
    assert_eq!(stored(&room, &table).await, ["11 8 x", "2 20 x", "30 7 z"]);
    let mut gone = delete(&table, &[0], vec![ints([11, 30, 99])]);
    gone.returning = vec![2];
    let edited = once(&room, Edit::DeleteRows(gone)).await.unwrap();
    assert_eq!((edited.rows, shown(&edited.returned.unwrap())), (2, vec!["x".to_owned(), "z".to_owned()]));
    assert_eq!(stored(&room, &table).await, ["2 20 x"]);
}

#[tokio::test]
async fn conditions_and_values_are_evaluated_by_the_store() {
    let mut room = Room::new("").await;
    room.run("CREATE TABLE p (id int PRIMARY KEY, a int, b int)").await;
    room.run("INSERT INTO p VALUES (1, 10, 100), (2, 20, 200), (3, 30, 300)").await;
    let table = room.table("p").await;
    let below = Predicate::Compare { column: column(&table, "id"), op: Comparison::Less, value: Value::Int(3) };
    let scan =
        Scan { store: StoreName::new("shop"), table: table.id.clone(), columns: vec![1, 2], filter: vec![below], limit: None };
    let tables = Tables::from([(table.id.clone(), Arc::clone(&table))]);
    let value = |ordinal| Expression::column(ordinal, PgType::INT4);
    let swapped = Relation::Project { input: Box::new(Relation::Table(scan.clone())), expressions: vec![value(1), value(0)] };
    let swap = |relation| Update {
        store: StoreName::new("shop"),
        table: Arc::clone(&table),
        relation,
        tables: tables.clone(),
        set: vec![1, 2],
        paths: Vec::new(),
        returning: Vec::new(),
    };
    assert_eq!(once(&room, Edit::Update(swap(swapped))).await.unwrap().rows, 2);
    assert_eq!(stored(&room, &table).await, ["1 100 10", "2 200 20", "3 30 300"]);
    let large = Expression::new(PgType::INT8, Node::Literal(Some(Value::Int(3_000_000_000))));
    let small = Expression::new(PgType::INT4, Node::Literal(Some(Value::Int(1))));
    let wide = Relation::Project { input: Box::new(Relation::Table(scan.clone())), expressions: vec![small, large] };
    assert_eq!(state(once(&room, Edit::Update(swap(wide))).await), "22003");
    let mut asked = swap(Relation::Table(scan.clone()));
    asked.returning = vec![0];
    assert!(room.store.accepts_edit(&Edit::Update(asked)).is_err());
    let rows = Scan { columns: Vec::new(), ..scan };
    let gone = Delete {
        store: StoreName::new("shop"),
        table: Arc::clone(&table),
        relation: Relation::Table(rows),
        tables,
        returning: vec![],
    };
    let edit = Edit::Delete(gone);
    assert!(room.store.describe_edit(&edit).contains("WHERE"), "{}", room.store.describe_edit(&edit));
    assert_eq!(once(&room, edit).await.unwrap().rows, 2);
    assert_eq!(stored(&room, &table).await, ["3 30 300"]);
}

#[tokio::test]
async fn conflicts_are_those_of_the_named_key() {
    let mut room = Room::new("").await;
    room.run("CREATE TABLE u (id int PRIMARY KEY, k varchar(9) COLLATE utf8mb4_general_ci UNIQUE, n int)").await;
    room.run("INSERT INTO u VALUES (1, 'a', 1), (2, NULL, 2)").await;
    let table = room.table("u").await;
    let conflicting = |target: ConflictTarget, action: ConflictAction, ids: &[i32], keys: &[Option<&str>]| {
        let values = vec![ints(ids.iter().copied()), words(keys), ints(ids.iter().map(|id| id * 10))];
        let mut edit = insert(&table, &[0, 1, 2], values);
        edit.conflict = Some(Conflict { target, action });
        edit.returning = vec![0, 2];
        Edit::Insert(edit)
    };
    let by = |columns: &[usize]| ConflictTarget::Columns(columns.to_vec());
    let excluded = || ConflictAction::Update(vec![(2, Proposed::Excluded(2))]);
    // 'A' is 'a' for this key. NULL meets nothing.
    let edited = once(&room, conflicting(ConflictTarget::Any, ConflictAction::Nothing, &[5, 6, 6], &[Some("A"), None, None])).await;
    let edited = edited.unwrap();
    assert_eq!((edited.rows, shown(&edited.returned.unwrap())), (1, vec!["6 60".to_owned()]));
    let edited = once(&room, conflicting(by(&[1]), excluded(), &[7, 8], &[Some("A"), Some("b")])).await.unwrap();
    assert_eq!((edited.rows, shown(&edited.returned.unwrap())), (2, vec!["1 70".to_owned(), "8 80".to_owned()]));
    assert_eq!(stored(&room, &table).await, ["1 a 70", "2 ∅ 2", "6 ∅ 60", "8 b 80"]);
    // Another key than the named one, one row twice, a key that is none.
    assert_eq!(state(once(&room, conflicting(by(&[1]), ConflictAction::Nothing, &[1], &[Some("new")])).await), "23505");
    assert_eq!(state(once(&room, conflicting(by(&[1]), excluded(), &[10, 11], &[Some("c"), Some("C")])).await), "21000");
    assert_eq!(state(once(&room, conflicting(by(&[2]), ConflictAction::Nothing, &[12], &[None])).await), "42P10");
    let nothing = once(&room, conflicting(by(&[0]), ConflictAction::Nothing, &[1, 2], &[None, None])).await.unwrap();
    assert_eq!((nothing.rows, nothing.returned.unwrap().num_rows()), (0, 0));
    let constant = ConflictAction::Update(vec![(2, Proposed::Constant(None)), (0, Proposed::Excluded(0))]);
    assert_eq!(once(&room, conflicting(by(&[0]), constant, &[1], &[Some("a")])).await.unwrap().rows, 1);
    assert_eq!(stored(&room, &table).await, ["1 a ∅", "2 ∅ 2", "6 ∅ 60", "8 b 80"]);
}

#[tokio::test]
async fn locked_rows_stay_as_they_were_read() {
    let mut room = Room::new("").await;
    let table = simple(&mut room).await;
    let branch = room.store.open(WRITE).await.unwrap();
    let one = Predicate::Compare { column: column(&table, "id"), op: Comparison::Equal, value: Value::Int(1) };
    let stream = branch.scan_for_update(&table, &scan_of(&table, vec![0, 1], vec![one]), ScanLimits::default()).await.unwrap();
    let batches: Vec<RecordBatch> = stream.try_collect().await.unwrap();
    assert_eq!(shown(&batches[0]), ["1 10"]);
    room.run("SET SESSION innodb_lock_wait_timeout = 1").await;
    let blocked = room.writer.execute("UPDATE t SET a = 11 WHERE id = 1").await.unwrap_err();
    assert!(blocked.to_string().contains("Lock wait timeout"), "{blocked}");
    room.run("UPDATE t SET a = 21 WHERE id = 2").await;
    branch.commit().await.unwrap();
    room.run("UPDATE t SET a = 11 WHERE id = 1").await;
    assert_eq!(stored(&room, &table).await, ["1 11 x", "2 21 y"]);
}

#[tokio::test]
async fn an_edit_that_waits_is_stopped_and_its_connection_lives_on() {
    let mut room = Room::new("pool.size = 1").await;
    let table = simple(&mut room).await;
    room.run("START TRANSACTION").await;
    room.run("UPDATE t SET a = 0 WHERE id = 1").await;
    for purpose in [Purpose::Once, WRITE] {
        let branch = room.store.open(purpose).await.unwrap();
        let stop = CancellationToken::new();
        let edit = Edit::UpdateRows(update(&table, &[0], &[1], vec![ints([1]), ints([5])]));
        let waiting = async {
            until_it_waits(&mut room).await;
            stop.cancel();
        };
        let (outcome, ()) = tokio::join!(branch.edit(&edit, &stop), waiting);
        assert!(matches!(outcome, Err(StoreError::Cancelled)), "{outcome:?}");
        branch.rollback().await.unwrap();
        // The only slots of both pools.
        room.store.ping().await.unwrap();
        room.store.open(WRITE).await.unwrap().rollback().await.unwrap();
    }
    room.run("ROLLBACK").await;
    assert_eq!(stored(&room, &table).await, ["1 10 x", "2 20 y"]);
}

#[tokio::test]
async fn a_deadlock_ends_the_whole_transaction_and_nothing_commits_after_it() {
    let mut room = Room::new("").await;
    let table = simple(&mut room).await;
    let edit = |id: i32| Edit::UpdateRows(update(&table, &[0], &[1], vec![ints([id]), ints([5])]));
    let repeatable = Purpose::Transaction { read_only: false, repeatable: true };
    for purpose in [WRITE, repeatable] {
        let branches = [room.store.open(purpose).await.unwrap(), room.store.open(purpose).await.unwrap()];
        for (place, branch) in branches.iter().enumerate() {
            branch.savepoint(1).await.unwrap();
            run(branch, edit(if place == 0 { 1 } else { 2 })).await.unwrap();
        }
        let (first, second) = tokio::join!(run(&branches[0], edit(2)), run(&branches[1], edit(1)));
        let (loser, error) = match (first, second) {
            (Err(error), Ok(_)) => (&branches[0], error),
            (Ok(_), Err(error)) => (&branches[1], error),
            other => panic!("{other:?}"),
        };
        assert_eq!(error.sqlstate(), "40P01");
        assert_eq!(loser.roll_back_to(1).await.unwrap_err().sqlstate(), "40001");
        assert_eq!(state(run(loser, edit(1)).await), "25P02");
        for branch in &branches {
            branch.rollback().await.unwrap();
        }
        assert_eq!(stored(&room, &table).await, ["1 10 x", "2 20 y"], "{purpose:?}");
    }
}

#[tokio::test]
async fn a_repeatable_transaction_changes_no_row_that_it_cannot_see() {
    let mut room = Room::new("").await;
    let table = simple(&mut room).await;
    for purpose in [Purpose::Transaction { read_only: false, repeatable: true }, Purpose::Write(WriteIsolation::RepeatableRead)] {
        let branch = room.store.open(purpose).await.unwrap();
        assert_eq!(seen(&branch, &table).await.len(), 2);
        room.run("UPDATE t SET a = a + 1 WHERE id = 1").await;
        let edit = Edit::UpdateRows(update(&table, &[0], &[2], vec![ints([1]), words(&[Some("new")])]));
        let outcome = run(&branch, edit).await;
        // Servers before 10.6.18 and 10.11.8 have no such check.
        if let Err(error) = outcome {
            assert_eq!(error.sqlstate(), "40001");
        }
        branch.rollback().await.unwrap();
    }
}

#[tokio::test]
async fn read_only_stores_and_tables_without_transactions_are_left_alone() {
    let mut room = Room::new("read_only = true").await;
    let table = simple(&mut room).await;
    assert!(room.store.is_read_only());
    for purpose in [Purpose::Once, WRITE] {
        let error = room.store.open(purpose).await.map(drop).unwrap_err();
        assert!(matches!(error, StoreError::ReadOnly { .. }), "{error:?}");
    }
    let branch = room.store.open(Purpose::Transaction { read_only: false, repeatable: true }).await.unwrap();
    assert_eq!(state(run(&branch, Edit::Insert(insert(&table, &[1], vec![ints([1])]))).await), "25006");
    branch.rollback().await.unwrap();
    // Alone: where such a table is seen, no snapshot of the server is claimed to be one state any more.
    let mut room = Room::alone("").await;
    assert!(!room.store.is_read_only());
    room.run("CREATE TABLE m (id int PRIMARY KEY) ENGINE = MyISAM").await;
    let other = room.table("m").await;
    let refusal = room.store.accepts_edit(&Edit::Insert(insert(&other, &[0], vec![ints([1])]))).unwrap_err();
    assert!(refusal.rule.contains("transactions"), "{refusal}");
    // Nobody tells what a view stands on.
    room.run("CREATE VIEW mv AS SELECT id FROM m").await;
    let view = room.table("mv").await;
    let refusal = room.store.accepts_edit(&Edit::Insert(insert(&view, &[0], vec![ints([1])]))).unwrap_err();
    assert!(refusal.rule.contains("transactions"), "{refusal}");
    let branch = room.store.open(Purpose::Transaction { read_only: true, repeatable: true }).await.unwrap();
    assert_eq!(state(run(&branch, Edit::Insert(insert(&other, &[0], vec![ints([1])]))).await), "0A000");
}

#[tokio::test]
async fn generated_columns_are_the_stores_own() {
    let mut room = Room::new("").await;
    room.run("CREATE TABLE g (id int PRIMARY KEY, twice int AS (id * 2) STORED)").await;
    let table = room.table("g").await;
    assert_eq!(state(once(&room, Edit::Insert(insert(&table, &[0, 1], vec![ints([1]), ints([2])]))).await), "428C9");
    let mut given = insert(&table, &[0], vec![ints([4])]);
    given.returning = vec![1];
    assert_eq!(shown(&once(&room, Edit::Insert(given)).await.unwrap().returned.unwrap()), ["8"]);
    assert_eq!(state(once(&room, Edit::UpdateRows(update(&table, &[0], &[1], vec![ints([4]), ints([2])]))).await), "428C9");
}

#[tokio::test]
async fn a_commit_without_an_answer_is_told_as_such() {
    let mut room = Room::new("").await;
    let table = simple(&mut room).await;
    let gate = Gate::to(room.server.host(), room.server.port()).await;
    let open = gate.open().await;
    let file = format!(
        "host = \"127.0.0.1\"\nport = {}\nuser = \"{}\"\npassword = \"{}\"\ndatabase = \"{}\"\nquery_timeout = \"2s\"\n",
        gate.port(),
        room.server.user(),
        room.server.password(),
        room.database
    );
    let store = parse(&file);
    let written = store.open(WRITE).await.unwrap();
    run(&written, Edit::Insert(insert(&table, &[0], vec![ints([50])]))).await.unwrap();
    let unwritten = store.open(WRITE).await.unwrap();
    let again = store.open(WRITE).await.unwrap();
    open.freeze();
    let error = written.commit().await.unwrap_err();
    assert_eq!((error.sqlstate(), matches!(error, StoreError::OutcomeUnknown { .. })), ("08007", true), "{error:?}");
    let error = unwritten.commit().await.unwrap_err();
    assert_eq!(error.sqlstate(), "08006", "there was nothing to commit: {error:?}");
    open.shut().await;
    let error = run(&again, Edit::Insert(insert(&table, &[0], vec![ints([51])]))).await.unwrap_err();
    assert!(matches!(error, StoreError::ConnectionLost { .. }), "{error:?}");
    again.rollback().await.unwrap();
    // The server rolls back what it is not told to commit; until then its rows are locked.
    let row = room.writer.fetch_one("SELECT count(*) FROM t FOR UPDATE").await.unwrap();
    assert_eq!(row.get::<i64, _>(0), 2);
    assert_eq!(stored(&room, &table).await, ["1 10 x", "2 20 y"]);
}
