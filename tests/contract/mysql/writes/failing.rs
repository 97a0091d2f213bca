//! Edits that fail: what of them is kept, and what is said of it.

use arrow::array::RecordBatch;
use futures::TryStreamExt;
use sqlx::{Executor, Row};
use tokio_util::sync::CancellationToken;
use tributary::error::Diagnose;
use tributary::sandbox::{MariaDb, Setup};
use tributary::stores::connector::ScanLimits;
use tributary::stores::edit::Edit;
use tributary::stores::predicate::Comparison;
use tributary::stores::value::Value;
use tributary::stores::{Predicate, Purpose, StoreError};

use super::super::{Room, column, connector, parse, scan_of};
use super::{WRITE, delete, insert, ints, once, run, simple, state, stored, until_it_waits, update, words};
use crate::support::gate::Gate;
use crate::support::{MariaDbOf, throwaway};

/// Both kinds of transactions that may write.
const PURPOSES: [Purpose; 2] = [WRITE, Purpose::Transaction { read_only: false, repeatable: true }];

/// How many rows `t` has.
async fn count(room: &mut Room) -> i64 {
    room.writer.fetch_one("SELECT count(*) FROM t").await.unwrap().get::<i64, _>(0)
}

#[tokio::test]
async fn a_row_that_cannot_be_given_back_is_not_kept() {
    let mut room = Room::new("").await;
    let table = simple(&mut room).await;
    room.run("ALTER TABLE t MODIFY a bigint").await;
    let mut given = insert(&table, &[0, 1], vec![ints([7]), ints([70])]);
    given.returning = vec![1];
    let error = once(&room, Edit::Insert(given)).await.unwrap_err();
    assert!(matches!(error, StoreError::SchemaChanged { .. }), "{error:?}");
    assert_eq!(count(&mut room).await, 2);
}

#[tokio::test]
async fn rows_that_are_given_back_do_not_fill_the_memory() {
    let mut room = Room::new("").await;
    room.run("CREATE TABLE w (id int PRIMARY KEY, t longtext)").await;
    room.run("INSERT INTO w SELECT seq, repeat('x', 14000000) FROM seq_1_to_5").await;
    let table = room.table("w").await;
    let mut gone = delete(&table, &[0], vec![ints(1..=5)]);
    gone.returning = vec![1];
    assert_eq!(state(once(&room, Edit::DeleteRows(gone.clone())).await), "53200");
    gone.returning = vec![0];
    assert_eq!(once(&room, Edit::DeleteRows(gone)).await.unwrap().rows, 5, "nothing was removed before");
    // More than the server takes at once: it would close the connection, and nobody would know why.
    let long = "x".repeat(17_000_000);
    let edit = Edit::Insert(insert(&table, &[0, 1], vec![ints([9]), words(&[Some(long.as_str())])]));
    assert_eq!(state(once(&room, edit).await), "54000");
}

#[tokio::test]
async fn the_outcome_of_what_was_never_sent_is_known() {
    let mut room = Room::new("").await;
    let table = simple(&mut room).await;
    let gate = Gate::to(room.server.host(), room.server.port()).await;
    let open = gate.open().await;
    let file = format!(
        "host = \"127.0.0.1\"\nport = {}\nuser = \"{}\"\npassword = \"{}\"\ndatabase = \"{}\"\nquery_timeout = \"1s\"\nconnect_timeout = \"1s\"\n",
        gate.port(),
        room.server.user(),
        room.server.password(),
        room.database
    );
    let store = parse(&file);
    store.ping().await.unwrap();
    store.open(WRITE).await.unwrap().rollback().await.unwrap();
    open.freeze();
    let branch = store.open(Purpose::Once).await.unwrap();
    let edit = Edit::Insert(insert(&table, &[0], vec![ints([7])]));
    let error = branch.edit(&edit, &CancellationToken::new()).await.unwrap_err();
    assert!(error.sqlstate().starts_with("08") && !matches!(error, StoreError::OutcomeUnknown { .. }), "{error:?}");
    open.shut().await;
    assert_eq!(count(&mut room).await, 2);
}

#[tokio::test]
async fn a_deadlock_that_nobody_hears_of_ends_the_transaction_too() {
    let mut room = Room::new("").await;
    let table = simple(&mut room).await;
    for (purpose, is_dropped) in PURPOSES.into_iter().flat_map(|purpose| [(purpose, true), (purpose, false)]) {
        let branch = room.store.open(purpose).await.unwrap();
        branch.savepoint(1).await.unwrap();
        let edit = Edit::UpdateRows(update(&table, &[0], &[1], vec![ints([1]), ints([5])]));
        run(&branch, edit).await.unwrap();
        room.run("START TRANSACTION").await;
        // The server gives the one up that has done less.
        room.run("INSERT INTO t (id) SELECT seq FROM seq_100_to_400").await;
        room.run("UPDATE t SET a = 0 WHERE id = 2").await;
        let two = Predicate::Compare { column: column(&table, "id"), op: Comparison::Equal, value: Value::Int(2) };
        let scan = scan_of(&table, vec![0], vec![two]);
        let stream = branch.scan_for_update(&table, &scan, ScanLimits::default()).await.unwrap();
        until_it_waits(&mut room).await;
        room.run("UPDATE t SET a = 0 WHERE id = 1").await;
        let kept = (!is_dropped).then_some(stream);
        let edit = Edit::Insert(insert(&table, &[0], vec![ints([50])]));
        assert_eq!(state(run(&branch, edit.clone()).await), "25P02", "{purpose:?} {is_dropped}");
        if let Some(stream) = kept {
            let ended: Result<Vec<RecordBatch>, StoreError> = stream.try_collect().await;
            assert_eq!(ended.unwrap_err().sqlstate(), "40P01", "{purpose:?}");
        }
        assert_eq!(branch.roll_back_to(1).await.unwrap_err().sqlstate(), "40001", "{purpose:?} {is_dropped}");
        assert_eq!(state(run(&branch, edit).await), "25P02", "{purpose:?} {is_dropped}");
        assert_eq!(branch.commit().await.unwrap_err().sqlstate(), "25P02");
        room.run("ROLLBACK").await;
        assert_eq!(stored(&room, &table).await, ["1 10 x", "2 20 y"], "{purpose:?} {is_dropped}");
    }
}

#[tokio::test]
async fn a_lock_that_is_not_had_in_time_ends_what_the_server_says_that_it_ends() {
    for ends_all in [false, true] {
        let arguments = vec!["--innodb-lock-wait-timeout=1".to_owned(), format!("--innodb-rollback-on-timeout={ends_all}")];
        let server = MariaDb::start_with(&Setup { arguments, ..throwaway() }).await.unwrap();
        let mut room = Room::on(MariaDbOf::One(server), "").await;
        let table = simple(&mut room).await;
        room.run("START TRANSACTION").await;
        room.run("UPDATE t SET a = 0 WHERE id = 1").await;
        for purpose in PURPOSES {
            let branch = room.store.open(purpose).await.unwrap();
            let one = |id| Edit::Insert(insert(&table, &[0], vec![ints([id])]));
            run(&branch, one(3)).await.unwrap();
            branch.savepoint(1).await.unwrap();
            let blocked = Edit::UpdateRows(update(&table, &[0], &[1], vec![ints([1]), ints([5])]));
            assert_eq!(state(run(&branch, blocked).await), "55P03", "{purpose:?}");
            assert_eq!(state(run(&branch, one(4)).await), "25P02", "{purpose:?}");
            if ends_all {
                assert_eq!(branch.roll_back_to(1).await.unwrap_err().sqlstate(), "40001", "{purpose:?}");
                assert_eq!(state(run(&branch, one(4)).await), "25P02", "{purpose:?}");
            } else {
                branch.roll_back_to(1).await.unwrap();
                run(&branch, one(4)).await.unwrap();
            }
            branch.rollback().await.unwrap();
            assert_eq!(stored(&room, &table).await.len(), 2, "{purpose:?}");
        }
    }
}

#[tokio::test]
async fn settings_of_the_server_change_nothing_of_what_is_checked_and_when_a_transaction_ends() {
    let mut room = Room::alone("pool.size = 1").await;
    let table = simple(&mut room).await;
    room.run(
        "CREATE TABLE child (id int PRIMARY KEY, t int, FOREIGN KEY (t) REFERENCES t (id), CONSTRAINT small CHECK (id < 100))",
    )
    .await;
    for global in ["completion_type = 'CHAIN'", "foreign_key_checks = 0", "check_constraint_checks = 0"] {
        room.run(format!("SET GLOBAL {global}")).await;
    }
    let store = connector(&room.server, &room.database, "pool.size = 1");
    let branch = store.open(PURPOSES[1]).await.unwrap();
    run(&branch, Edit::Insert(insert(&table, &[0], vec![ints([3])]))).await.unwrap();
    branch.commit().await.unwrap();
    // In a transaction that had been begun by the end of the other one, this would be lost.
    let branch = store.open(Purpose::Once).await.unwrap();
    run(&branch, Edit::Insert(insert(&table, &[0], vec![ints([4])]))).await.unwrap();
    assert_eq!(count(&mut room).await, 4);
    let child = room.table("child").await;
    for (id, parent, expected) in [(1, 99, "23503"), (100, 1, "23514")] {
        let branch = store.open(Purpose::Once).await.unwrap();
        let edit = Edit::Insert(insert(&child, &[0, 1], vec![ints([id]), ints([parent])]));
        assert_eq!(state(run(&branch, edit).await), expected);
    }
}

#[tokio::test]
async fn what_was_undone_was_not_written_and_a_way_back_that_fails_is_a_failure() {
    let mut room = Room::new("").await;
    let table = simple(&mut room).await;
    for purpose in PURPOSES {
        let branch = room.store.open(purpose).await.unwrap();
        let one = |id| Edit::Insert(insert(&table, &[0], vec![ints([id])]));
        branch.savepoint(1).await.unwrap();
        run(&branch, one(3)).await.unwrap();
        branch.savepoint(2).await.unwrap();
        assert_eq!(state(run(&branch, one(3)).await), "23505");
        branch.roll_back_to(2).await.unwrap();
        assert!(branch.has_written(), "{purpose:?}");
        branch.roll_back_to(1).await.unwrap();
        assert!(!branch.has_written(), "{purpose:?}");
        // There is no such savepoint any more.
        assert_eq!(branch.roll_back_to(2).await.unwrap_err().sqlstate(), "40001", "{purpose:?}");
        assert_eq!(state(run(&branch, one(4)).await), "25P02", "{purpose:?}");
        assert_eq!(branch.commit().await.unwrap_err().sqlstate(), "25P02", "{purpose:?}");
        assert_eq!(stored(&room, &table).await, ["1 10 x", "2 20 y"]);
    }
}
