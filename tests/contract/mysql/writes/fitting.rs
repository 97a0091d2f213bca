//! Values that a column keeps otherwise than they were given, and what is told of that.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float32Array, Float64Array};
use tributary::error::Diagnose;
use tributary::stores::edit::{Conflict, ConflictAction, ConflictTarget, Edit, Proposed};

use super::super::{Room, texts};
use super::{insert, ints, once, shown, state, stored, update, words};

fn floats(values: impl IntoIterator<Item = f64>) -> ArrayRef {
    Arc::new(Float64Array::from_iter_values(values))
}

#[tokio::test]
async fn floats_with_declared_digits_are_rounded_to_them_and_never_cut() {
    let mut room = Room::new("").await;
    room.run("CREATE TABLE f (id int PRIMARY KEY, d double(5,2), g float(5,2))").await;
    let table = room.table("f").await;
    let singles: ArrayRef = Arc::new(Float32Array::from_iter_values([0.125, 1.5]));
    let mut given = insert(&table, &[0, 1, 2], vec![ints([1, 2]), floats([2.675, -0.125]), singles]);
    given.returning = vec![0, 1, 2];
    let returned = once(&room, Edit::Insert(given)).await.unwrap().returned.unwrap();
    assert_eq!(shown(&returned), ["1 2.67 0.12", "2 -0.12 1.5"]);
    assert_eq!(stored(&room, &table).await, ["1 2.67 0.12", "2 -0.12 1.5"]);
    for large in [999.996, 1000.0, -1e300] {
        let edit = Edit::Insert(insert(&table, &[0, 1], vec![ints([3]), floats([large])]));
        assert_eq!(state(once(&room, edit).await), "22003", "{large}");
        let edit = Edit::UpdateRows(update(&table, &[0], &[1], vec![ints([1]), floats([large])]));
        assert_eq!(state(once(&room, edit).await), "22003", "{large}");
    }
    assert_eq!(stored(&room, &table).await, ["1 2.67 0.12", "2 -0.12 1.5"]);
}

#[tokio::test]
async fn keys_are_found_as_they_are_stored() {
    let mut room = Room::new("").await;
    room.run("CREATE TABLE r (k double(5,2) PRIMARY KEY, n int)").await;
    let table = room.table("r").await;
    for (key, n) in [(1.239, 1), (1.241, 2)] {
        let mut given = insert(&table, &[0, 1], vec![floats([key]), ints([n])]);
        let action = ConflictAction::Update(vec![(1, Proposed::Excluded(1))]);
        given.conflict = Some(Conflict { target: ConflictTarget::Columns(vec![0]), action });
        given.returning = vec![0, 1];
        let returned = once(&room, Edit::Insert(given)).await.unwrap().returned.unwrap();
        assert_eq!(shown(&returned), [format!("1.24 {n}")]);
    }
    let mut moved = update(&table, &[0], &[0], vec![floats([1.24]), floats([2.501])]);
    moved.returning = vec![0];
    let edited = once(&room, Edit::UpdateRows(moved)).await.unwrap();
    assert_eq!((edited.rows, texts(&edited.returned.unwrap(), 0)), (1, vec!["2.5".to_owned()]));

    room.run("CREATE TABLE p (k char(3) COLLATE utf8mb4_nopad_bin PRIMARY KEY)").await;
    let table = room.table("p").await;
    let mut given = insert(&table, &[0], vec![words(&[Some("a  ")])]);
    given.returning = vec![0];
    assert_eq!(texts(&once(&room, Edit::Insert(given)).await.unwrap().returned.unwrap(), 0), ["a"]);
    let mut moved = update(&table, &[0], &[0], vec![words(&[Some("a")]), words(&[Some("b  ")])]);
    moved.returning = vec![0];
    let edited = once(&room, Edit::UpdateRows(moved)).await.unwrap();
    assert_eq!((edited.rows, texts(&edited.returned.unwrap(), 0)), (1, vec!["b".to_owned()]));
}

#[tokio::test]
async fn blanks_are_kept_or_cut_as_postgres_does() {
    let mut room = Room::new("").await;
    room.run("CREATE TABLE b (id int PRIMARY KEY, c char(3), v varchar(3), t tinytext)").await;
    let table = room.table("b").await;
    let of =
        |id: i32, column: usize, text: &str| Edit::Insert(insert(&table, &[0, column], vec![ints([id]), words(&[Some(text)])]));
    for (id, column, text) in [(1, 1, "a "), (2, 1, "abc  "), (3, 2, "a "), (4, 2, "abc  "), (5, 3, "a ")] {
        once(&room, of(id, column, text)).await.unwrap();
    }
    assert_eq!(stored(&room, &table).await, ["1 a ∅ ∅", "2 abc ∅ ∅", "3 ∅ a  ∅", "4 ∅ abc ∅", "5 ∅ ∅ a "]);
    for (column, text) in [(1, "abcd"), (2, "abcd "), (3, &*" ".repeat(256))] {
        let error = once(&room, of(9, column, text)).await.unwrap_err();
        assert_eq!(error.sqlstate(), "22001", "{column} {error}");
    }
    assert_eq!(stored(&room, &table).await.len(), 5);
}

#[tokio::test]
async fn no_label_is_made_up() {
    let mut room = Room::new("").await;
    room.run("CREATE TABLE l (id int PRIMARY KEY, e enum('x','y') NOT NULL, d enum('x','y') NOT NULL DEFAULT 'y', n enum('x'))")
        .await;
    let table = room.table("l").await;
    let error = once(&room, Edit::Insert(insert(&table, &[0], vec![ints([1])]))).await.unwrap_err();
    assert_eq!((error.sqlstate(), error.site().unwrap().column.as_deref()), ("23502", Some("e")));
    once(&room, Edit::Insert(insert(&table, &[0, 1], vec![ints([1]), words(&[Some("x")])]))).await.unwrap();
    assert_eq!(stored(&room, &table).await, ["1 x y ∅"]);
}
