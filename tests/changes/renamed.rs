//! Tables and columns that get other names, of which another may have been one's own before: what is told of each, and under which name.
//!
//! Every row says where it belongs: that of a table has its first name in it, that of a column the column's. Under a name that has
//! changed hands nothing is told of the new owner before somebody who knows the old one was told that this has ended.

use super::eventually;
use super::follow::{told, until_barrier, until_feed, until_told};
use super::native::Native;
use super::room::{self, LOG, OUTBOX, Room};

const TABLES: &str = "CREATE TABLE orders (id bigint PRIMARY KEY, v text); CREATE TABLE notes (id bigint PRIMARY KEY, v text)";
const COLUMNS: &str = "CREATE TABLE orders (id bigint PRIMARY KEY, v text, w text)";
/// In a file a key is an INTEGER.
const TABLES_OF_FILE: &str =
    "CREATE TABLE orders (id INTEGER PRIMARY KEY, v TEXT); CREATE TABLE notes (id INTEGER PRIMARY KEY, v TEXT)";
const COLUMNS_OF_FILE: &str = "CREATE TABLE orders (id INTEGER PRIMARY KEY, v TEXT, w TEXT)";
const BOTH: [&str; 2] = ["orders", "notes"];
/// What rows are; everything else says something of a table.
const ROWS: [&str; 5] = ["insert", "upsert", "update", "delete", "read"];
/// `orders` is `bought` from here on, and `notes` is `orders`.
const RENAME: &str = "BEGIN; ALTER TABLE orders RENAME TO bought; ALTER TABLE notes RENAME TO orders; COMMIT";
/// The columns `v` and `w` have one another's names.
const SWAP: &str = "BEGIN; ALTER TABLE orders RENAME COLUMN v TO x; ALTER TABLE orders RENAME COLUMN w TO v; \
    ALTER TABLE orders RENAME COLUMN x TO w; COMMIT";

/// Something that was told, by its fields.
fn fields(row: &str) -> [&str; 3] {
    row.splitn(3, '|').collect::<Vec<_>>().try_into().unwrap()
}

/// Whether it is a row, and not something between rows, and of this table.
fn is_row_of(row: &str, table: &str) -> bool {
    let [op, of, _] = fields(row);
    ROWS.contains(&op) && of == table
}

/// What is no row.
fn barriers(rows: &[String]) -> usize {
    rows.iter().filter(|row| !ROWS.contains(&fields(row)[0])).count()
}

/// The table `orders` becomes `bought` and `notes` becomes `orders`.
async fn names_change_hands(room: &Room, native: &mut Native, (store, rename): (&str, &str)) {
    let shown = "op, table_name, new->>'v'";
    native.run("INSERT INTO orders VALUES (1, 'of orders')").await;
    native.run("INSERT INTO notes VALUES (1, 'of notes')").await;
    until_told(room.session(), (store, shown), 2).await;
    native.run(rename).await;
    let mut id = 1;
    let settled = async || {
        id += 1;
        native.run(&format!("INSERT INTO bought VALUES ({id}, 'of orders')")).await;
        native.run(&format!("INSERT INTO orders VALUES ({id}, 'of notes')")).await;
        let rows = told(room.session(), store, shown).await;
        let is_told = |end: &str| rows.iter().any(|row| row.ends_with(end));
        (is_told("|bought|of orders") && is_told("|orders|of notes")).then_some(())
    };
    eventually("rows of both under their new names", settled).await;
    // The name that nobody has any more.
    until_barrier(room.session(), store, &["stopped|notes|"]).await;
    check_names(&told(room.session(), store, shown).await);
}

/// What was told of the tables under each name.
fn check_names(rows: &[String]) {
    let mut has_ended = false;
    for row in rows {
        match fields(row) {
            [op, "orders", _] if !ROWS.contains(&op) => has_ended = true,
            [op, ..] if !ROWS.contains(&op) => {}
            [_, "orders", "of orders"] => assert!(!has_ended, "a row of the table that was called so: {rows:#?}"),
            [_, "orders", "of notes"] => assert!(has_ended, "nobody was told that this is another table: {rows:#?}"),
            [_, "notes", "of notes"] | [_, "bought", "of orders"] => {}
            _ => panic!("{row} is of another table: {rows:#?}"),
        }
    }
}

/// The columns `v` and `w` change names, and then one gets a name that none had.
async fn columns_change_names(room: &Room, native: &mut Native, store: &str) {
    let shown = "op, table_name, new->>'v', new->>'w'";
    native.run("INSERT INTO orders (id, v, w) VALUES (1, 'v', 'w')").await;
    until_told(room.session(), (store, shown), 1).await;
    native.run(SWAP).await;
    let mut id = 1;
    let settled = async || {
        id += 1;
        native.run(&format!("INSERT INTO orders (id, v, w) VALUES ({id}, 'w', 'v')")).await;
        let rows = told(room.session(), store, shown).await;
        let ended = rows.iter().rposition(|row| !ROWS.contains(&fields(row)[0]))?;
        rows[ended..].iter().any(|row| row.ends_with("|orders|w|v")).then_some(rows)
    };
    let rows = eventually("a row by the new names", settled).await;
    let (mut is_new, mut has_ended) = (false, false);
    for row in &rows {
        match fields(row) {
            [op, ..] if !ROWS.contains(&op) => has_ended = true,
            [.., "v|w"] => assert!(!is_new && !has_ended, "a row by the old names: {rows:#?}"),
            [.., "w|v"] => is_new = true,
            _ => panic!("{row} has values of other columns: {rows:#?}"),
        }
    }
    native.run("ALTER TABLE orders RENAME COLUMN v TO title").await;
    let later = async || {
        id += 1;
        native.run(&format!("INSERT INTO orders (id, title, w) VALUES ({id}, 'by another name', 'v')")).await;
        let rows = told(room.session(), store, "op, table_name, new->>'title'").await;
        let found = rows.iter().position(|row| row.ends_with("|orders|by another name"))?;
        Some(barriers(&rows[..found]))
    };
    let behind = eventually("a row with the new column", later).await;
    assert!(behind > barriers(&rows), "nobody was told that the columns are others");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_another_table_of_postgres_gets_is_not_told_of_before_it_has_ended() {
    let (room, mut native) = room::of_postgres(TABLES, LOG, &BOTH).await;
    Box::pin(names_change_hands(&room, &mut native, ("pg", RENAME))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_another_table_of_mariadb_gets_is_not_told_of_before_it_has_ended() {
    let (room, mut native) = room::of_mariadb(TABLES, LOG, &BOTH).await;
    let rename = "RENAME TABLE orders TO bought, notes TO orders";
    Box::pin(names_change_hands(&room, &mut native, ("maria", rename))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_another_table_of_a_file_gets_is_not_told_of_before_it_has_ended() {
    let (room, mut native) = room::of_sqlite(TABLES_OF_FILE, OUTBOX, &BOTH).await;
    Box::pin(names_change_hands(&room, &mut native, ("file", RENAME))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_of_postgres_that_change_names_are_told_by_one_or_the_other() {
    let (room, mut native) = room::of_postgres(COLUMNS, LOG, &["orders"]).await;
    Box::pin(columns_change_names(&room, &mut native, "pg")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_of_mariadb_that_change_names_are_told_by_one_or_the_other() {
    let (room, mut native) = room::of_mariadb(COLUMNS, LOG, &["orders"]).await;
    Box::pin(columns_change_names(&room, &mut native, "maria")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_of_a_file_that_change_names_are_told_by_one_or_the_other() {
    let (room, mut native) = room::of_sqlite(COLUMNS_OF_FILE, OUTBOX, &["orders"]).await;
    Box::pin(columns_change_names(&room, &mut native, "file")).await;
}

/// A table gets a name that none had: it is another one, followed from there, and its rows are told under no name but those two.
async fn a_new_name(room: &Room, native: &mut Native, store: &str) {
    let shown = "op, table_name, key->>'id'";
    native.run("INSERT INTO orders VALUES (1, 'a')").await;
    until_told(room.session(), (store, shown), 1).await;
    native.run("ALTER TABLE orders RENAME TO bought").await;
    if store == "pg" {
        // The log has a row of a table that nobody asked for, and nothing of the one that is gone.
        room.session().answer("CALL tributary.refresh('pg')").await;
    }
    let mut id = 1;
    let settled = async || {
        id += 1;
        native.run(&format!("INSERT INTO bought VALUES ({id}, 'b')")).await;
        native.run(&format!("INSERT INTO notes VALUES ({id}, 'c')")).await;
        told(room.session(), store, shown).await.iter().any(|row| is_row_of(row, "bought")).then_some(())
    };
    eventually("a row under the new name", settled).await;
    until_barrier(room.session(), store, &["stopped|orders|"]).await;
    until_feed(room.session(), store, "bought", "streaming").await;
    let last = format!("|notes|{id}");
    let whole = async || Some(told(room.session(), store, shown).await).filter(|rows| rows.iter().any(|row| row.ends_with(&last)));
    let rows = eventually("the last row of the other table", whole).await;
    let ended = rows.iter().position(|row| row.starts_with("stopped|orders|")).unwrap();
    assert!(!rows[ended..].iter().any(|row| is_row_of(row, "orders")), "told under a name that is nobody's: {rows:#?}");
    let begun = rows.iter().position(|row| row.starts_with("reshaped|bought|")).unwrap();
    assert!(!rows[..begun].iter().any(|row| is_row_of(row, "bought")), "nobody was told where it begins: {rows:#?}");
    // The other table has missed nothing.
    let others: Vec<String> = rows.iter().filter(|row| is_row_of(row, "notes")).map(|row| fields(row)[2].to_owned()).collect();
    assert_eq!(others, (2..=id).map(|id: i64| id.to_string()).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_postgres_under_a_new_name_is_another_one() {
    let (room, mut native) = room::of_postgres(TABLES, LOG, &BOTH).await;
    Box::pin(a_new_name(&room, &mut native, "pg")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_mariadb_under_a_new_name_is_another_one() {
    let (room, mut native) = room::of_mariadb(TABLES, LOG, &BOTH).await;
    Box::pin(a_new_name(&room, &mut native, "maria")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_a_file_under_a_new_name_is_another_one() {
    let (room, mut native) = room::of_sqlite(TABLES_OF_FILE, OUTBOX, &BOTH).await;
    Box::pin(a_new_name(&room, &mut native, "file")).await;
}
