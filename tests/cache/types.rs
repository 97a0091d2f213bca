//! Values of every type: what a copy gives is what its store gives, in text and in binary, of rows that were there when the table was read,
//! of rows that came later, and of rows whose key has changed.
//!
//! The values are those with which the connectors' type tables are walked.

use mongodb::bson::{Document, doc};

use super::copies::{FROM_COPY, FROM_STORE, copied, reader, shown, until_cached, until_copied};
use super::world::cached;
use crate::changes::room::{self, LOG, OUTBOX, Room};
use crate::changes::types::{Raw, columns_of, documents, in_binary, matrix, quoted};
use crate::commit::ask;
use crate::contract::{mysql, postgres, sqlite};

/// Compares the copy of `matrix` with the table, and tells how many rows and columns with a binary form there are.
async fn compare(room: &Room, store: &str, key: &str) -> (usize, usize) {
    let address = room.server().addresses()[0];
    let (of_copy, of_store) = (reader(address, &FROM_COPY).await, reader(address, &FROM_STORE).await);
    let named = (store, "matrix");
    let table = format!("{store}.matrix");
    let list = columns_of(&of_store, &table).await.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
    let sql = format!("SELECT {list} FROM {table} ORDER BY {key}");
    let (found, expected) = (copied(&of_copy, named, &sql).await, of_store.rows(&sql).await.unwrap());
    assert_eq!(found, expected, "{store} in text");
    let columns = in_binary(&of_store, &table, key).await;
    let list = columns.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
    let sql = format!("SELECT {list} FROM {table} ORDER BY {key}");
    let before = shown(&of_copy, named).await.unwrap().served;
    let (found, expected) = (of_copy.query(&sql, &[]).await.unwrap(), of_store.query(&sql, &[]).await.unwrap());
    assert!(shown(&of_copy, named).await.unwrap().served > before, "{store}: {sql} is not of the copy");
    assert_eq!(found.len(), expected.len(), "{store}");
    for (row, (one, other)) in found.iter().zip(&expected).enumerate() {
        for (place, column) in columns.iter().enumerate() {
            let (one, other) = (one.get::<_, Option<Raw>>(place), other.get::<_, Option<Raw>>(place));
            assert_eq!(one, other, "{store}: {column} of row {row} in binary");
        }
    }
    // Each value is what the store says it is where it is looked for by conditions too.
    for column in &columns {
        let sql = format!("SELECT {key} FROM {table} WHERE \"{column}\" IS NOT NULL ORDER BY {key}");
        assert_eq!(of_copy.rows(&sql).await.unwrap(), of_store.rows(&sql).await.unwrap(), "{store}: {sql}");
    }
    (expected.len(), columns.len())
}

fn lines(mode: &str) -> String {
    format!("{mode}{}", cached(&["matrix"]))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_of_postgres_comes_from_a_copy_as_from_its_store() {
    // The server sends names for these, of which a feed has no value.
    let types: Vec<(&str, Vec<String>)> = postgres::types::ROWS
        .iter()
        .filter(|(native, ..)| !native.starts_with("reg"))
        .map(|(native, _, values)| (*native, values.iter().map(|value| quoted(value)).collect()))
        .collect();
    let statements = matrix(&types, "bigint PRIMARY KEY");
    let made =
        "CREATE TYPE mood AS ENUM ('sad', 'it''s'); CREATE DOMAIN price AS numeric(6,2); CREATE TYPE pair AS (a int, b text)";
    let setup = format!("{made}; {}", statements.join("; "));
    for mode in [LOG, OUTBOX] {
        let (room, mut native) = Box::pin(room::of_postgres(&setup, &lines(mode), &["matrix"])).await;
        until_cached(room.session(), "pg", &["matrix"]).await;
        let (rows, columns) = compare(&room, "pg", "id").await;
        assert!(rows >= 4 && columns >= 40, "{rows} rows, {columns} columns");
        native.run("UPDATE matrix SET id = id + 1000").await;
        for statement in &statements[1..] {
            native.run(statement).await;
        }
        assert_eq!(compare(&room, "pg", "id").await, (2 * rows, columns));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_of_mariadb_comes_from_a_copy_as_from_its_store() {
    let types: Vec<(&str, Vec<String>)> = mysql::types::TYPES
        .iter()
        .map(|(declared, values)| (*declared, values.iter().map(|(literal, _)| (*literal).to_owned()).collect()))
        .collect();
    let statements = matrix(&types, "bigint PRIMARY KEY");
    let modes = "SET sql_mode = 'ALLOW_INVALID_DATES,NO_BACKSLASH_ESCAPES'";
    let setup = format!("{modes}; {} CHARACTER SET utf8mb4; {}", statements[0], statements[1..].join("; "));
    let (room, mut native) = Box::pin(room::of_mariadb(&setup, &lines(LOG), &["matrix"])).await;
    until_cached(room.session(), "maria", &["matrix"]).await;
    let (rows, columns) = compare(&room, "maria", "id").await;
    assert!(rows >= 4 && columns >= 40, "{rows} rows, {columns} columns");
    native.run("UPDATE matrix SET id = id + 1000 ORDER BY id DESC").await;
    for statement in &statements[1..] {
        native.run(statement).await;
    }
    assert_eq!(compare(&room, "maria", "id").await, (2 * rows, columns));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_of_a_file_comes_from_a_copy_as_from_its_store() {
    let types: Vec<(&str, Vec<String>)> = sqlite::ROWS
        .iter()
        .map(|(declared, _, values)| (*declared, values.iter().map(|(literal, _)| (*literal).to_owned()).collect()))
        .collect();
    let statements = matrix(&types, "INTEGER PRIMARY KEY");
    let (room, mut native) = Box::pin(room::of_sqlite(&statements.join("; "), &lines(OUTBOX), &["matrix"])).await;
    until_cached(room.session(), "file", &["matrix"]).await;
    let (rows, columns) = compare(&room, "file", "id").await;
    assert!(rows >= 4 && columns >= 30, "{rows} rows, {columns} columns");
    native.run("UPDATE matrix SET id = id + 1000").await;
    for statement in &statements[1..] {
        native.run(statement).await;
    }
    assert_eq!(compare(&room, "file", "id").await, (2 * rows, columns));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_of_mongodb_comes_from_a_copy_as_from_its_store() {
    let (room, database) = Box::pin(room::of_mongodb(&[("matrix", documents(1))], &lines(LOG))).await;
    until_cached(room.session(), "mongo", &["matrix"]).await;
    let (rows, columns) = compare(&room, "mongo", "_id").await;
    assert!(rows == 3 && columns >= 8, "{rows} rows, {columns} columns");
    let matrix = database.collection::<Document>("matrix");
    matrix.insert_many(documents(100)).await.unwrap();
    // Replacements give every value again, updates some.
    let all = documents(1);
    for (document, next) in all.iter().zip(all.iter().cycle().skip(1)) {
        let id = document.get_i64("_id").unwrap();
        let mut next = next.clone();
        next.insert("_id", id);
        matrix.replace_one(doc! { "_id": id }, next).await.unwrap();
    }
    matrix.update_one(doc! { "_id": 100_i64 }, doc! { "$set": { "word": "other" }, "$unset": { "real": "" } }).await.unwrap();
    assert_eq!(compare(&room, "mongo", "_id").await, (6, columns));
}

/// Values that a feed leaves out, as those of columns of which the store sends a name alone, come from the row that the copy had, or the table
/// is read in its store: a wrong one is never given.
#[tokio::test(flavor = "multi_thread")]
async fn values_that_the_feed_of_postgres_leaves_out_are_never_given_wrong() {
    // One value lies out of line, and is not sent when others change.
    let long = "(SELECT string_agg(md5(n::text), '') FROM generate_series(1, 4000) AS n)";
    let setup = format!(
        "CREATE TABLE notes (id bigint PRIMARY KEY, n int, body text); INSERT INTO notes VALUES (1, 1, {long}); \
         CREATE TABLE named (id bigint PRIMARY KEY, what regclass); INSERT INTO named VALUES (1, 'notes')"
    );
    let lines = format!("{LOG}{}", cached(&["notes", "named"]));
    let (room, mut native) = Box::pin(room::of_postgres(&setup, &lines, &["notes", "named"])).await;
    until_cached(room.session(), "pg", &["notes"]).await;
    let address = room.server().addresses()[0];
    let (of_copy, of_store) = (reader(address, &FROM_COPY).await, reader(address, &FROM_STORE).await);
    let notes = "SELECT id, n, md5(body), length(body) FROM pg.notes ORDER BY id";
    for change in [
        "UPDATE notes SET n = 2 WHERE id = 1",
        "UPDATE notes SET id = 2 WHERE id = 1",
        "UPDATE notes SET n = 3, id = 3 WHERE id = 2; UPDATE notes SET n = 4 WHERE id = 3",
        "INSERT INTO notes SELECT 4, 1, body FROM notes; DELETE FROM notes WHERE id = 3; UPDATE notes SET n = 5",
    ] {
        native.run(change).await;
        let expected = of_store.rows(notes).await.unwrap();
        assert_eq!(copied(&of_copy, ("pg", "notes"), notes).await, expected, "{change}");
    }
    let named = "SELECT id, what FROM pg.named ORDER BY id";
    for change in [
        "INSERT INTO named VALUES (2, 'named')",
        "UPDATE named SET what = 'pg_class' WHERE id = 1",
        "DELETE FROM named WHERE id = 2",
    ] {
        native.run(change).await;
        let (found, expected) = (ask(&of_copy, named).await, of_store.rows(named).await.unwrap());
        assert_eq!(found, Ok(expected), "{change}: {:?}", shown(&of_copy, ("pg", "named")).await);
    }
    // Its neighbour is read from its copy all the time.
    let expected = of_store.rows(notes).await.unwrap();
    until_copied(&of_copy, ("pg", "notes"), notes, &expected).await;
}
