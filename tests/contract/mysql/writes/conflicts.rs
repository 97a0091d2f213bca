//! `ON CONFLICT`: what is said of rows that are proposed, and what is no conflict of theirs.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array};
use futures::future::join_all;
use tributary::stores::edit::{Conflict, ConflictAction, ConflictTarget, Edit, Proposed};
use tributary::stores::{Purpose, Table};

use super::super::Room;
use super::{WRITE, insert, ints, once, run, state, stored};

fn maybe(values: &[Option<i32>]) -> ArrayRef {
    Arc::new(Int32Array::from(values.to_vec()))
}

fn by(column: usize) -> ConflictTarget {
    ConflictTarget::Columns(vec![column])
}

/// New rows of the table's first columns.
fn proposed(table: &Arc<Table>, rows: Vec<ArrayRef>, target: ConflictTarget, action: ConflictAction) -> Edit {
    let columns: Vec<usize> = (0..rows.len()).collect();
    let mut edit = insert(table, &columns, rows);
    edit.conflict = Some(Conflict { target, action });
    Edit::Insert(edit)
}

fn set(column: usize) -> ConflictAction {
    ConflictAction::Update(vec![(column, Proposed::Excluded(column))])
}

#[tokio::test]
async fn rows_that_meet_others_are_judged_first() {
    let mut room = Room::new("").await;
    room.run("CREATE TABLE c (id int PRIMARY KEY, v int NOT NULL CHECK (v > 0), w int NOT NULL, u int NOT NULL DEFAULT 0)").await;
    room.run("INSERT INTO c VALUES (1, 1, 1, 1), (2, 2, 2, 2)").await;
    let table = room.table("c").await;
    let constant = || ConflictAction::Update(vec![(3, Proposed::Constant(None))]);
    for (target, action) in
        [(by(0), ConflictAction::Nothing), (by(0), set(1)), (by(0), set(2)), (ConflictTarget::Any, ConflictAction::Nothing)]
    {
        let of = |ids: &[i32], v: &[Option<i32>], w: &[Option<i32>]| {
            proposed(&table, vec![ints(ids.iter().copied()), maybe(v), maybe(w)], target.clone(), action.clone())
        };
        let shown = format!("{target:?} {action:?}");
        let rows = [
            (of(&[1], &[Some(-5)], &[Some(1)]), "23514"),
            (of(&[1], &[None], &[Some(1)]), "23502"),
            (of(&[1], &[Some(5)], &[None]), "23502"),
            // The second row, whichever way the first one goes.
            (of(&[1, 2], &[Some(5), Some(-5)], &[Some(5), Some(5)]), "23514"),
            (of(&[8, 2], &[Some(5), Some(-5)], &[Some(5), Some(5)]), "23514"),
            (of(&[1, 8], &[Some(5), Some(5)], &[Some(5), None]), "23502"),
        ];
        for (edit, expected) in rows {
            assert_eq!(state(once(&room, edit).await), expected, "{shown}");
        }
        // A column without a value and without a default.
        let without = proposed(&table, vec![ints([1]), ints([5])], target.clone(), ConflictAction::Nothing);
        assert_eq!(state(once(&room, without).await), "23502", "{shown}");
        assert_eq!(stored(&room, &table).await, ["1 1 1 1", "2 2 2 2"], "{shown}");
    }
    // The new values of the row that exists are judged as well.
    let edit = proposed(&table, vec![ints([1]), ints([5]), ints([5])], by(0), constant());
    assert_eq!(state(once(&room, edit).await), "23502");
    // In a transaction, with a savepoint before.
    let branch = room.store.open(WRITE).await.unwrap();
    let of = |v: i32, action| proposed(&table, vec![ints([1]), ints([v]), ints([7])], by(0), action);
    assert_eq!(run(&branch, of(3, set(1))).await.unwrap().rows, 1);
    branch.savepoint(1).await.unwrap();
    assert_eq!(state(run(&branch, of(-3, set(1))).await), "23514");
    branch.roll_back_to(1).await.unwrap();
    assert_eq!(run(&branch, of(4, ConflictAction::Nothing)).await.unwrap().rows, 0);
    assert_eq!(run(&branch, of(4, set(2))).await.unwrap().rows, 1);
    branch.commit().await.unwrap();
    assert_eq!(stored(&room, &table).await, ["1 3 7 1", "2 2 2 2"]);
}

#[tokio::test]
async fn rows_that_meet_others_need_no_parent() {
    let mut room = Room::new("").await;
    room.run("CREATE TABLE parent (id int PRIMARY KEY)").await;
    room.run("INSERT INTO parent VALUES (1)").await;
    room.run("CREATE TABLE f (id int PRIMARY KEY, k int, parent int, FOREIGN KEY (parent) REFERENCES parent (id))").await;
    // The server looks at the foreign key before this one, which is younger.
    room.run("ALTER TABLE f ADD UNIQUE (k)").await;
    room.run("INSERT INTO f VALUES (1, 10, 1)").await;
    let table = room.table("f").await;
    let of = |id: i32, k: i32, target, action| proposed(&table, vec![ints([id]), ints([k]), ints([77])], target, action);
    for target in [by(1), ConflictTarget::Any] {
        assert_eq!(once(&room, of(2, 10, target.clone(), ConflictAction::Nothing)).await.unwrap().rows, 0, "{target:?}");
        assert_eq!(state(once(&room, of(2, 20, target.clone(), ConflictAction::Nothing)).await), "23503", "{target:?}");
    }
    assert_eq!(state(once(&room, of(2, 10, by(1), set(2))).await), "23503");
    assert_eq!(stored(&room, &table).await, ["1 10 1"]);
}

#[tokio::test]
async fn many_who_change_one_row_do_not_wait_for_each_other_in_a_circle() {
    let mut room = Room::new("").await;
    room.run("CREATE TABLE c (id int AUTO_INCREMENT PRIMARY KEY, k int UNIQUE, n int NOT NULL CHECK (n > 0))").await;
    room.run("INSERT INTO c VALUES (1, 10, 1), (2, 20, 1)").await;
    let table = room.table("c").await;
    let room = &room;
    let one = |key: i32, number: i32| {
        let mut edit = insert(&table, &[1, 2], vec![ints([key]), ints([number])]);
        let action = if number % 3 == 0 { ConflictAction::Nothing } else { set(2) };
        edit.conflict = Some(Conflict { target: by(1), action });
        Edit::Insert(edit)
    };
    for round in 1..20 {
        let edits = (0..6).map(|number| once(room, one(if number % 2 == 0 { 10 } else { 20 }, round * 6 + number)));
        for outcome in join_all(edits).await {
            outcome.unwrap();
        }
    }
    assert_eq!(stored(room, &table).await.len(), 2);
    // Numbers that were counted up for rows that are not there are left out, as those of a sequence are.
    let branch = room.store.open(Purpose::Once).await.unwrap();
    assert_eq!(run(&branch, one(30, 1)).await.unwrap().rows, 1);
    assert_eq!(stored(room, &table).await.len(), 3);
}

#[tokio::test]
async fn what_a_trigger_meets_in_another_table_is_no_conflict() {
    // Alone: a server that keeps no notes by itself.
    let mut room = Room::alone("").await;
    room.run("SET GLOBAL sql_notes = 0").await;
    room.run("SET GLOBAL max_error_count = 0").await;
    room.run("CREATE TABLE log (id int PRIMARY KEY)").await;
    room.run("CREATE TABLE t (id int PRIMARY KEY, n int UNIQUE)").await;
    room.run("CREATE PROCEDURE note (number int) INSERT INTO log VALUES (number)").await;
    let table = room.table("t").await;
    let of = |ids: &[i32], numbers: &[i32], target, action| {
        proposed(&table, vec![ints(ids.iter().copied()), ints(numbers.iter().copied())], target, action)
    };
    for body in ["INSERT INTO log VALUES (NEW.n)", "BEGIN DECLARE EXIT HANDLER FOR 1062 RESIGNAL; CALL note(NEW.n); END"] {
        for time in ["BEFORE", "AFTER"] {
            room.run("DELETE FROM t").await;
            room.run("DELETE FROM log").await;
            room.run("INSERT INTO t VALUES (1, 7)").await;
            room.run("INSERT INTO log VALUES (7)").await;
            room.run(format!("CREATE TRIGGER noting {time} INSERT ON t FOR EACH ROW {body}")).await;
            let shown = format!("{time} {body}");
            for (target, action) in
                [(ConflictTarget::Any, ConflictAction::Nothing), (by(0), ConflictAction::Nothing), (by(0), set(1))]
            {
                // Its own key is not there, and the other table has a row of the same name.
                room.run("INSERT IGNORE INTO log VALUES (8)").await;
                for ids in [&[2][..], &[2, 3]] {
                    let numbers: Vec<i32> = ids.iter().map(|id| id + 6).collect();
                    assert_eq!(state(once(&room, of(ids, &numbers, target.clone(), action.clone())).await), "23505", "{shown}");
                }
                assert_eq!(stored(&room, &table).await, ["1 7"], "{shown}");
            }
            // What the row itself meets.
            let any = |ids: &[i32], numbers: &[i32]| of(ids, numbers, ConflictTarget::Any, ConflictAction::Nothing);
            assert_eq!(once(&room, any(&[1], &[70])).await.unwrap().rows, 0, "{shown}");
            assert_eq!(once(&room, any(&[1, 4], &[71, 72])).await.unwrap().rows, 1, "{shown}");
            assert_eq!(once(&room, of(&[1], &[73], by(0), set(1))).await.unwrap().rows, 1, "{shown}");
            assert_eq!(stored(&room, &table).await, ["1 73", "4 72"], "{shown}");
            // Both: a trigger that runs before the row is written fails first, as in PostgreSQL.
            let met = once(&room, any(&[1], &[8])).await;
            match time {
                "BEFORE" => assert_eq!(state(met), "23505", "{shown}"),
                _ => assert_eq!(met.unwrap().rows, 0, "{shown}"),
            }
            room.run("DROP TRIGGER noting").await;
        }
    }
}
