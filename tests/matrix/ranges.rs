//! Scans in ranges: under every condition that a store takes, the ranges together are the rows of one scan, and those of PostgreSQL.
//!
//! The tables have the same rows in all stores: keys at both ends of their type and below zero, NULL, and many rows that are gone again,
//! a whole stretch of them among others. In one collection the keys are of all types, NULL among them. A statement is planned as
//! usual; its scan is then asked of the store in ranges, whatever the size of the table, as one stream, and of Tributary with
//! pushdown held back. What is planned to be run as ranges, and of which size a table is for that, is tested in `federation/ranges`.

use std::any::Any;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::physical_plan::ExecutionPlan;
use futures::TryStreamExt;
use futures::stream::select_all;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Bson, DateTime, Document, doc};
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection};
use sqlx::{AssertSqlSafe, Connection, Executor};
use tributary::catalog::RelationBody;
use tributary::federation::branches::{BranchKind, Branches};
use tributary::federation::engine::{Engine, Limits};
use tributary::federation::plan::{self, Setting};
use tributary::federation::scan::ScanExec;
use tributary::server::Server;
use tributary::session::statement::{Kind, parse};
use tributary::stores::connector::ScanLimits;
use tributary::stores::{BatchStream, Scan, Table as StoredTable};

use super::page::Table;
use super::{Cell, Proof};
use crate::differential::ask::{Answer, Asked};

/// The key of a document by its number.
type KeyOf = fn(i64) -> Bson;
use crate::support::{
    self,
    proxy::{self, OWNER, Place},
};

/// Rows that are written; more than half of them stay.
const ROWS: i64 = 3000;
/// Most ranges that are asked for.
const MOST: usize = 3;
/// Small batches, so that ranges have several.
const LIMITS: ScanLimits = ScanLimits { batch_rows: 200, batch_bytes: 4 << 20 };

/// Half of a pool is left to others, and what a statement has used comes back a little later.
const FREE: &str = "pool.size = 20\n";

const SESSION: &str = "SET TimeZone = 'UTC'";

/// A table in a store.
struct Ground {
    shown: &'static str,
    table: &'static str,
    key: &'static str,
    /// Why it is read as one stream.
    whole: Option<&'static str>,
}

const GROUNDS: [Ground; 7] = [
    Ground { shown: "PostgreSQL (pages; rows deleted and moved)", table: "by_page.deleted", key: "id", whole: None },
    Ground { shown: "PostgreSQL (pages; deleted rows cleaned away)", table: "by_page.cleaned", key: "id", whole: None },
    Ground {
        shown: "MariaDB",
        table: "by_key.deleted",
        key: "id",
        whole: Some("Scan (MariaDB: two ranges of keys are read no faster than one stream)"),
    },
    Ground {
        shown: "SQLite",
        table: "by_row.deleted",
        key: "id",
        whole: Some("Scan (SQLite: two connections cannot be proved to see one state)"),
    },
    Ground { shown: "MongoDB (`_id` of whole numbers)", table: "by_id.numbers", key: "_id", whole: None },
    Ground { shown: "MongoDB (`_id` of all types and NULL)", table: "by_id.mixed", key: "i", whole: None },
    Ground { shown: "MongoDB (stored by `_id`)", table: "by_id.clustered", key: "_id", whole: None },
];

/// A condition, with `{k}` for the key of the table.
const CONDITIONS: [(&str, &str); 12] = [
    ("none", "true"),
    ("<", "n < 700"),
    (">", "n > 700"),
    ("BETWEEN", "n BETWEEN -5 AND 2000"),
    ("=, text", "w = 'ada '"),
    ("IN", "w IN ('Ada', 'zoë', 'none')"),
    ("IS NULL", "n IS NULL"),
    ("IS NOT NULL", "w IS NOT NULL"),
    ("AND", "n > 100 AND w = 'Ada'"),
    ("the key < 0", "{k} < 0"),
    ("the key at an end of its type", "{k} >= 9223372036854775807 OR {k} <= -9223372036854775807"),
    ("without rows", "n > 100000"),
];

const TITLE: &str = "Scans in ranges, by their condition";

const ABOUT: &str = "**in ranges** the scan was asked as several ranges, which together gave the rows of one stream, of a scan with pushdown held back, and of \
one PostgreSQL · **one stream** the store, or a part of the plan that the store runs, is not divided. Rows are gone in all tables, a stretch of them among
others; keys lie at both ends of their type and below zero.";

/// Asks every cell. Gives the table, and what differs.
pub async fn proved() -> (Table, Vec<String>) {
    let place = Place::new();
    let copy = Box::pin(stores(&place)).await;
    let server = place.serve().await;
    let engine = Engine::new(&Limits { partitions: 2, ..Limits::default() }).unwrap();
    let login = proxy::login(server.addresses()[0], OWNER);
    let mut held = Asked::new(login, format!("{SESSION}; SET tributary.pushdown = none"));
    let mut copy = Asked::new(copy, SESSION);
    let (mut rows, mut wrong) = (Vec::new(), Vec::new());
    for (name, condition) in CONDITIONS {
        let mut cells = Vec::new();
        for ground in &GROUNDS {
            let proof = prove(&server, &engine, (&mut held, &mut copy), ground, condition).await;
            cells.push(proof.unwrap_or_else(|difference| {
                wrong.push(format!("{}, WHERE {condition}\n    {difference}", ground.table));
                Cell::Absent
            }));
        }
        rows.push((vec![name], cells));
    }
    server.stop().await;
    let stores = GROUNDS.iter().map(|ground| ground.shown).collect();
    (Table { title: TITLE, about: ABOUT, heads: vec!["Condition"], stores, rows }, wrong)
}

async fn prove(
    server: &Server,
    engine: &Engine,
    (held, copy): (&mut Asked, &mut Asked),
    ground: &Ground,
    condition: &str,
) -> Proof {
    let said = |table: &str, key: &str| format!("SELECT {key} AS k, i, n, w FROM {table} WHERE {}", condition.replace("{k}", key));
    let sql = said(ground.table, ground.key);
    let expected = rows_of(&copy.simple(&said("kept", if ground.key == "_id" { "id" } else { ground.key })).await)?;
    let unpushed = rows_of(&held.simple(&sql).await)?;
    if unpushed != expected {
        return Err(format!("not pushed: {} rows, not {}", unpushed.len(), expected.len()));
    }
    let found = read(server, engine, &sql).await;
    if found.rows != found.whole {
        return Err(format!("in {} streams: {} rows, not {}", found.streams, found.rows.len(), found.whole.len()));
    }
    // What is checked again here may be more.
    let mut given = found.rows.iter();
    let is_given = expected.iter().all(|row| given.any(|other| other == row));
    if !is_given || (!found.is_checked && found.rows.len() > expected.len()) {
        return Err(format!("of the store: {} rows, not {}", found.rows.len(), expected.len()));
    }
    match (found.streams, ground.whole) {
        (0, _) => Ok(Cell::Other("one stream", "Scan (a part of the plan that the store runs is not divided)".to_owned())),
        (1, Some(reason)) => Ok(Cell::Other("one stream", reason.to_owned())),
        (1, None) => Err("it is not divided".to_owned()),
        (_, None) => Ok(Cell::Other("in ranges", String::new())),
        (streams, Some(_)) => Err(format!("it is read as {streams} ranges")),
    }
}

/// The rows of an answer in text, sorted.
fn rows_of(answer: &Answer) -> Result<Vec<String>, String> {
    let Answer::Rows { rows, .. } = answer else { return Err(answer.to_string()) };
    let shown = |value: &Option<Vec<u8>>| value.as_ref().map_or("~".into(), |text| String::from_utf8_lossy(text).into_owned());
    let mut rows: Vec<String> = rows.iter().map(|row| row.iter().map(shown).collect::<Vec<_>>().join("|")).collect();
    rows.sort();
    Ok(rows)
}

/// What a scan gave.
struct Found {
    /// In how many ranges it was read; 0 where the store runs a part of the plan.
    streams: usize,
    /// Whether a node above the scan checks its rows.
    is_checked: bool,
    rows: Vec<String>,
    /// The same scan as one stream.
    whole: Vec<String>,
}

/// Plans a statement and reads the scan that stands for it, as ranges and as it is.
async fn read(server: &Server, engine: &Engine, sql: &str) -> Found {
    let snapshot = server.catalog().snapshot();
    let setting = Setting::of_server(Arc::clone(&snapshot));
    let Some(Kind::Query(query)) = parse(sql).unwrap().into_iter().next().map(|parsed| parsed.kind) else { panic!("{sql}") };
    let planned = plan::plan_aside(engine, &setting, *query, &[]).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    let branches = Arc::new(Branches::new(&snapshot, BranchKind::Statement, None));
    let bound = plan::bind_aside(engine, &setting, &planned, &[], &branches).await.unwrap();
    let mut scans = Vec::new();
    let is_checked = gather(&bound.physical, &mut scans);
    let [scan] = scans.as_slice() else {
        let batches: Vec<RecordBatch> = bound.run().unwrap().try_collect().await.unwrap();
        return Found { streams: 0, is_checked: false, rows: shown(&batches, None), whole: shown(&batches, None) };
    };
    let found = snapshot.schemas.values().flat_map(|schema| schema.relations.values());
    let mut tables = found.filter_map(|relation| match &relation.body {
        RelationBody::Stored { store, table } if *store == scan.store && table.id == scan.table => Some(table),
        _ => None,
    });
    let table: &Arc<StoredTable> = tables.next().unwrap();
    let branch = branches.get(&scan.store).await.unwrap();
    let streams = branch.scan_ranges(table, scan, LIMITS, MOST).await.unwrap();
    let count = streams.len();
    let rows = shown(&collected(streams).await, Some(table));
    let whole = branch.scan(table, scan, LIMITS).await.unwrap();
    Found { streams: count, is_checked, rows, whole: shown(&collected(vec![whole]).await, Some(table)) }
}

async fn collected(streams: Vec<BatchStream>) -> Vec<RecordBatch> {
    select_all(streams).try_collect().await.unwrap()
}

/// Gathers the scans of a plan. Gives whether a node above checks their rows.
fn gather(plan: &Arc<dyn ExecutionPlan>, scans: &mut Vec<Scan>) -> bool {
    if let Some(scan) = (plan.as_ref() as &dyn Any).downcast_ref::<ScanExec>() {
        scans.push(scan.scan().clone());
    }
    let below = plan.children().into_iter().map(|child| gather(child, scans));
    below.fold(plan.name() == "FilterExec", |one, other| one | other)
}

/// The rows of batches in text, sorted. Those of a scan have the columns of the table in its order, and the key comes first in the answer.
fn shown(batches: &[RecordBatch], table: Option<&Arc<StoredTable>>) -> Vec<String> {
    let options = FormatOptions::default().with_null("~");
    let mut rows = Vec::new();
    for batch in batches {
        let schema = batch.schema();
        let place = |name: &str| schema.fields().iter().position(|field| field.name() == name);
        let places: Vec<usize> = match table {
            None => (0..batch.num_columns()).collect(),
            Some(_) => {
                let key = place("_id").or_else(|| place("id")).or_else(|| place("i"));
                [key, place("i"), place("n"), place("w")].into_iter().map(|place| place.unwrap()).collect()
            }
        };
        let columns: Vec<_> = places.iter().map(|place| ArrayFormatter::try_new(batch.column(*place), &options).unwrap()).collect();
        for row in 0..batch.num_rows() {
            rows.push(columns.iter().map(|column| column.value(row).to_string()).collect::<Vec<_>>().join("|"));
        }
    }
    rows.sort();
    rows
}

/// The key of a row, by its number: both ends of the type, what is next to zero, and numbers on both sides of it.
fn key(i: i64) -> i64 {
    match i {
        1 => i64::MIN,
        2 => i64::MAX,
        4 => 0,
        5 => -1,
        7 => -i64::MAX,
        _ => i * 7 - 10_000,
    }
}

fn number(i: i64) -> Option<i64> {
    (i % 11 != 0).then_some(i)
}

fn word(i: i64) -> Option<&'static str> {
    [Some("Ada"), Some("ada "), None, Some("zoë"), Some("")][usize::try_from(i % 5).unwrap()]
}

/// Whether a row is deleted after all are written.
fn is_gone(i: i64) -> bool {
    i % 3 == 0 || (1200..1800).contains(&i)
}

/// What [`is_gone`] says, in SQL.
const GONE: &str = "i % 3 = 0 OR i BETWEEN 1200 AND 1799";

fn rows_in_sql(rows: impl Iterator<Item = i64>) -> String {
    let mut text = String::new();
    for i in rows {
        let number = number(i).map_or("NULL".to_owned(), |n| n.to_string());
        let word = word(i).map_or("NULL".to_owned(), |word| format!("'{word}'"));
        let comma = if text.is_empty() { "" } else { ", " };
        write!(text, "{comma}({}, {i}, {number}, {word})", key(i)).unwrap();
    }
    text
}

/// Fills all stores. Gives where the one PostgreSQL with what is left of the rows is.
async fn stores(place: &Place) -> tokio_postgres::Config {
    let copy = fill_postgres(place).await;
    fill_mariadb(place).await;
    let all = rows_in_sql(0..ROWS);
    let sql = format!(
        "CREATE TABLE deleted (id INTEGER PRIMARY KEY, i INTEGER, n INTEGER, w TEXT) STRICT; INSERT INTO deleted VALUES {all}; \
         DELETE FROM deleted WHERE {GONE};"
    );
    place.sqlite("by_row", &sql).await;
    fill_mongodb(place).await;
    copy
}

/// Two hundred letters behind each row, so that there are pages enough. VACUUM cannot stand among other statements.
async fn fill_postgres(place: &Place) -> tokio_postgres::Config {
    let server = support::postgres().await;
    let all = rows_in_sql(0..ROWS);
    let made = |table: &str| {
        format!(
            "CREATE TABLE {table} (id bigint PRIMARY KEY, i bigint, n bigint, w text, filler text DEFAULT repeat('x', 200)); \
             INSERT INTO {table} (id, i, n, w) VALUES {all}; DELETE FROM {table} WHERE {GONE}; \
             UPDATE {table} SET filler = 'y' WHERE i % 10 = 4; ANALYZE {table};"
        )
    };
    let database = proxy::fresh(server, &format!("{} {}", made("deleted"), made("cleaned"))).await;
    proxy::direct(server, &database).await.execute("VACUUM cleaned").await.unwrap();
    place.postgres("by_page", server, &database, FREE);
    let kept = rows_in_sql((0..ROWS).filter(|i| !is_gone(*i)));
    let table = "CREATE TABLE kept (id bigint PRIMARY KEY, i bigint, n bigint, w text COLLATE \"C\")";
    let copy = proxy::fresh(server, &format!("{table}; INSERT INTO kept VALUES {kept};")).await;
    let mut config = tokio_postgres::Config::new();
    config.host(server.host()).port(server.port()).user(server.user()).password(server.password()).dbname(&copy);
    config
}

async fn fill_mariadb(place: &Place) {
    let server = support::mariadb().await;
    let database = server.fresh_database().await.unwrap();
    let login = MySqlConnectOptions::new().host(server.host()).port(server.port()).database(&database);
    let mut owner = MySqlConnection::connect_with(&login.username(server.user()).password(server.password())).await.unwrap();
    let word = "varchar(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci";
    let statements = [
        format!("CREATE TABLE deleted (id bigint PRIMARY KEY, i bigint, n bigint, w {word})"),
        format!("INSERT INTO deleted VALUES {}", rows_in_sql(0..ROWS)),
        format!("DELETE FROM deleted WHERE {GONE}"),
    ];
    for statement in statements {
        owner.execute(AssertSqlSafe(statement)).await.unwrap();
    }
    place.mariadb("by_key", server, &database, "");
}

async fn fill_mongodb(place: &Place) {
    let server = support::mongodb().await;
    let name = server.fresh_database().await.unwrap();
    let url = format!(
        "mongodb://{}:{}@{}:{}/?authSource=admin&directConnection=true",
        server.user(),
        server.password(),
        server.host(),
        server.port()
    );
    let database = mongodb::Client::with_uri_str(url).await.unwrap().database(&name);
    let create = doc! { "create": "clustered", "clusteredIndex": { "key": { "_id": 1 }, "unique": true } };
    database.run_command(create).await.unwrap();
    let kinds: [(&str, KeyOf); 3] =
        [("numbers", |i| Bson::Int64(key(i))), ("mixed", any_key), ("clustered", |i| Bson::Int64(key(i)))];
    let gone: BTreeSet<i64> = (0..ROWS).filter(|i| is_gone(*i)).collect();
    for (table, key) in kinds {
        let collection = database.collection::<Document>(table);
        collection.insert_many((0..ROWS).map(|i| document(key(i), i))).await.unwrap();
        let gone: Vec<Bson> = gone.iter().copied().map(Bson::Int64).collect();
        collection.delete_many(doc! { "i": { "$in": gone } }).await.unwrap();
    }
    place.mongodb("by_id", server, &name, FREE);
}

/// A missing field is NULL.
fn document(key: Bson, i: i64) -> Document {
    let mut document = doc! { "_id": key, "i": i };
    if let Some(number) = number(i) {
        document.insert("n", number);
    }
    document.insert("w", word(i).map_or(Bson::Null, |word| Bson::String(word.to_owned())));
    document
}

/// A key of one type or another. One is NULL, and its row stays.
fn any_key(i: i64) -> Bson {
    let bytes = |at: usize| i.to_be_bytes()[at % 8];
    let small = i32::try_from(i).unwrap();
    match i % 7 {
        _ if i == 1 => Bson::Null,
        0 => Bson::Int32(small),
        1 => Bson::Int64(key(i)),
        2 => Bson::String(format!("key {i}")),
        3 => Bson::ObjectId(ObjectId::from_bytes(std::array::from_fn(bytes))),
        4 => Bson::DateTime(DateTime::from_millis(-i)),
        5 => Bson::Double(f64::from(small) + 0.5),
        _ => Bson::Document(doc! { "k": i }),
    }
}

#[test]
fn what_is_deleted_is_not_in_the_copy() {
    let kept: Vec<i64> = (0..ROWS).filter(|i| !is_gone(*i)).collect();
    assert_eq!(kept.len(), 1600);
    for i in [1, 2, 4, 5, 7] {
        assert!(kept.contains(&i), "the odd key of row {i}");
    }
    let keys: BTreeSet<i64> = (0..ROWS).map(key).collect();
    assert_eq!(keys.len(), 3000, "keys are different");
}
