//! Values of every type: what a feed gives of a row is what a scan gives of it, in text and in binary.
//!
//! The values are those with which the connectors' type tables are walked.

use std::error::Error;

use futures::TryStreamExt;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Bson, DateTime, Decimal128, Document, doc};
use tokio_postgres::types::{FromSql, Type};

use super::eventually;
use super::follow::{Live, told};
use super::room::{self, LOG, OUTBOX, Room};
use crate::contract::{mysql, postgres, sqlite};
use crate::support::proxy::{self, OWNER, Session};

/// The bytes of a value, whatever its type is.
#[derive(Debug, PartialEq, Eq)]
pub struct Raw(Vec<u8>);

impl<'a> FromSql<'a> for Raw {
    fn from_sql(_ty: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(raw.to_vec()))
    }

    fn accepts(_ty: &Type) -> bool {
        true
    }
}

/// One statement that makes the table `matrix` of a key and a column for each type, and one for each row of values: the first of each
/// type, then the second of each, until there is none any more, and a row of NULLs.
pub fn matrix(types: &[(&str, Vec<String>)], key: &str) -> Vec<String> {
    let columns: Vec<String> = types.iter().enumerate().map(|(at, (declared, _))| format!("c{at} {declared}")).collect();
    let mut statements = vec![format!("CREATE TABLE matrix (id {key}, {})", columns.join(", "))];
    let most = types.iter().map(|(_, values)| values.len()).max().unwrap();
    for row in 0..=most {
        let values: Vec<&str> = types.iter().map(|(_, values)| values.get(row).map_or("NULL", String::as_str)).collect();
        statements.push(format!("INSERT INTO matrix VALUES ({}, {})", row + 1, values.join(", ")));
    }
    statements
}

/// The place of the first event of a store, behind which everything else comes.
async fn from(room: &Room, store: &str) -> String {
    eventually("the first event", async || told(room.session(), store, "position").await.into_iter().next()).await
}

/// What of a store is compared.
#[derive(Debug, Clone, Copy)]
struct Compared<'c> {
    store: &'c str,
    /// The column of the key.
    key: &'c str,
    /// The least key of the rows.
    least: i64,
    /// The columns that the store does not tell: a feed says so, and gives nothing.
    untold: &'c [String],
}

/// Compares what a feed has given behind a place with the rows of the table, of which those from the least on were written there. A row
/// whose key has changed goes first, as what it was.
async fn compare(room: &Room, compared: Compared<'_>, from: &str) -> usize {
    let Compared { store, key, least, untold } = compared;
    let table = format!("{store}.matrix");
    let all = columns_of(room.session(), &table).await;
    let shown = |column: &String| if untold.contains(column) { "NULL".to_owned() } else { format!("\"{column}\"") };
    let list = all.iter().map(shown).collect::<Vec<_>>().join(", ");
    let expected = format!("SELECT {list} FROM {table} WHERE {key} >= {least} ORDER BY {key}");
    let expected = room.session().rows(&expected).await.unwrap();
    let session = proxy::open(&proxy::login(room.server().addresses()[0], OWNER)).await.unwrap();
    let mut live = Live::start(&session, &format!("SUBSCRIBE TO {table} FROM '{from}'")).await;
    for row in &expected {
        let mut told = live.next().await.unwrap();
        while told.starts_with("delete|") {
            told = live.next().await.unwrap();
        }
        let fields: Vec<&str> = told.splitn(5, '|').collect();
        assert_eq!(fields[4], row, "{store} in text");
        let unknown = fields[3].trim_matches(['{', '}', '~']).split(',').filter(|name| !name.is_empty());
        assert_eq!(unknown.collect::<Vec<_>>(), untold, "{store}: what it does not tell");
    }
    drop(live);
    let mut columns = in_binary(room.session(), &table, key).await;
    columns.retain(|column| !untold.contains(column));
    let list = columns.iter().map(|column| format!("\"{column}\"")).collect::<Vec<_>>().join(", ");
    let scan = format!("SELECT {list} FROM {table} WHERE {key} >= {least} ORDER BY {key}");
    let expected = room.session().query(&scan, &[]).await.unwrap();
    let session = proxy::open(&proxy::login(room.server().addresses()[0], OWNER)).await.unwrap();
    let feed = format!("SUBSCRIBE TO (SELECT {list} FROM {table}) FROM '{from}'");
    let mut rows = Box::pin(session.query_raw(feed.as_str(), Vec::<i32>::new()).await.unwrap());
    for row in &expected {
        let told = loop {
            let told = tokio::time::timeout(proxy::PATIENCE, rows.try_next()).await.unwrap().unwrap().unwrap();
            if told.get::<_, &str>("tributary_op") != "delete" {
                break told;
            }
        };
        for (at, column) in columns.iter().enumerate() {
            let (told, scanned) = (told.get::<_, Option<Raw>>(at + 4), row.get::<_, Option<Raw>>(at));
            assert_eq!(told, scanned, "{store}: {column} in binary");
        }
    }
    columns.len()
}

/// The columns of a table.
pub async fn columns_of(session: &Session, table: &str) -> Vec<String> {
    let (schema, name) = table.split_once('.').unwrap();
    let listed = format!(
        "SELECT column_name FROM information_schema.columns WHERE table_schema = '{schema}' AND table_name = '{name}' \
         ORDER BY ordinal_position"
    );
    session.rows(&listed).await.unwrap()
}

/// The columns of a table whose types have a binary form.
pub async fn in_binary(session: &Session, table: &str, key: &str) -> Vec<String> {
    let mut columns = Vec::new();
    for column in columns_of(session, table).await {
        let is_key = column == key;
        if is_key || session.query(&format!("SELECT \"{column}\" FROM {table}"), &[]).await.is_ok() {
            columns.push(column);
        }
    }
    columns
}

pub fn quoted(value: &str) -> String {
    if value == "NULL" { value.to_owned() } else { format!("'{}'", value.replace('\'', "''")) }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_of_postgres_comes_through_its_feed_as_through_a_scan() {
    let types: Vec<(&str, Vec<String>)> = postgres::types::ROWS
        .iter()
        .map(|(native, _, values)| (*native, values.iter().map(|value| quoted(value)).collect()))
        .collect();
    let statements = matrix(&types, "bigint PRIMARY KEY");
    let made =
        "CREATE TYPE mood AS ENUM ('sad', 'it''s'); CREATE DOMAIN price AS numeric(6,2); CREATE TYPE pair AS (a int, b text)";
    let setup = format!("{made}; {}", statements[0]);
    // The server sends names for these, which its catalogs of that moment alone turn into the numbers that a scan gives.
    let is_name = |native: &str| native.starts_with("reg");
    let untold: Vec<String> =
        types.iter().enumerate().filter(|(_, (native, _))| is_name(native)).map(|(at, _)| format!("c{at}")).collect();
    assert_eq!(untold.len(), 5);
    let compared = |least| Compared { store: "pg", key: "id", least, untold: &untold };
    for lines in [LOG, OUTBOX] {
        let (room, mut native) = room::of_postgres(&setup, lines, &["matrix"]).await;
        native.run("INSERT INTO matrix (id) VALUES (-1)").await;
        let from = from(&room, "pg").await;
        for statement in &statements[1..] {
            native.run(statement).await;
        }
        assert!(compare(&room, compared(0), &from).await >= 40);
        // Updates that move the key give every value again.
        let moved = told(room.session(), "pg", "position").await.pop().unwrap();
        for id in 1..statements.len() {
            native.run(&format!("UPDATE matrix SET id = id + 1000 WHERE id = {id}")).await;
        }
        compare(&room, compared(1_000), &moved).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_of_mariadb_comes_through_its_feed_as_through_a_scan() {
    let types: Vec<(&str, Vec<String>)> = mysql::types::TYPES
        .iter()
        .map(|(declared, values)| (*declared, values.iter().map(|(literal, _)| (*literal).to_owned()).collect()))
        .collect();
    let statements = matrix(&types, "bigint PRIMARY KEY");
    let (room, mut native) = room::of_mariadb(&format!("{} CHARACTER SET utf8mb4", statements[0]), LOG, &["matrix"]).await;
    let compared = |least| Compared { store: "maria", key: "id", least, untold: &[] };
    native.run("SET sql_mode = 'ALLOW_INVALID_DATES,NO_BACKSLASH_ESCAPES'; INSERT INTO matrix (id) VALUES (-1)").await;
    let from = from(&room, "maria").await;
    for statement in &statements[1..] {
        native.run(statement).await;
    }
    assert!(compare(&room, compared(0), &from).await >= 40);
    let moved = told(room.session(), "maria", "position").await.pop().unwrap();
    native.run("UPDATE matrix SET id = id + 1000 WHERE id > 0 ORDER BY id").await;
    compare(&room, compared(1_000), &moved).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_of_a_file_comes_through_its_feed_as_through_a_scan() {
    let types: Vec<(&str, Vec<String>)> = sqlite::ROWS
        .iter()
        .map(|(declared, _, values)| (*declared, values.iter().map(|(literal, _)| (*literal).to_owned()).collect()))
        .collect();
    let statements = matrix(&types, "INTEGER PRIMARY KEY");
    let compared = |least| Compared { store: "file", key: "id", least, untold: &[] };
    let (room, mut native) = room::of_sqlite(&statements[0], OUTBOX, &["matrix"]).await;
    native.run("INSERT INTO matrix (id) VALUES (-1)").await;
    let from = from(&room, "file").await;
    for statement in &statements[1..] {
        native.run(statement).await;
    }
    assert!(compare(&room, compared(0), &from).await >= 30);
    let moved = told(room.session(), "file", "position").await.pop().unwrap();
    native.run("UPDATE matrix SET id = id + 1000 WHERE id > 0").await;
    compare(&room, compared(1_000), &moved).await;
}

/// Documents with a field of each type, and one with none.
pub fn documents(first: i64) -> Vec<Document> {
    let uuid = Binary { subtype: BinarySubtype::Uuid, bytes: (0..16).collect() };
    let raw = Binary { subtype: BinarySubtype::Generic, bytes: vec![0, 255] };
    let wide: Decimal128 = "-12345678901234567890.5".parse().unwrap();
    let full = |id: i64| {
        doc! {
            "_id": id, "truth": true, "int": 7_i32, "long": i64::MIN, "real": -0.1, "word": "ž'|\"", "at": DateTime::from_millis(-1),
            "raw": raw.clone(), "uuid": uuid.clone(),
            "wide": wide,
            "object": ObjectId::from_bytes([7; 12]), "list": ["a", "b"], "nested": { "a": 1_i64, "b": { "c": "d" } },
        }
    };
    let mut other = full(first + 1);
    other.insert("real", f64::INFINITY);
    other.insert("list", Bson::Array(Vec::new()));
    other.insert("nested", doc! { "a": Bson::Null });
    vec![full(first), other, doc! { "_id": first + 2 }]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_of_mongodb_comes_through_its_feed_as_through_a_scan() {
    let compared = |least| Compared { store: "mongo", key: "_id", least, untold: &[] };
    let (room, database) = room::of_mongodb(&[("matrix", documents(1))], LOG).await;
    let matrix = database.collection::<Document>("matrix");
    matrix.insert_one(doc! { "_id": 10_i64 }).await.unwrap();
    let from = from(&room, "mongo").await;
    matrix.insert_many(documents(100)).await.unwrap();
    assert!(compare(&room, compared(100), &from).await >= 8);
    // Replacements give every value again, where they are not what was there.
    let replaced = told(room.session(), "mongo", "position").await.pop().unwrap();
    let all = documents(100);
    for (document, next) in all.iter().zip(all.iter().cycle().skip(1)) {
        let id = document.get_i64("_id").unwrap();
        let mut next = next.clone();
        next.insert("_id", id);
        matrix.replace_one(doc! { "_id": id }, next).await.unwrap();
    }
    compare(&room, compared(100), &replaced).await;
}
