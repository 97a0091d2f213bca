//! Lookups by a key: how much of an index the server reads for them, and which values that do not fit they meet.

use mongodb::IndexModel;
use mongodb::bson::{Bson, DateTime, Decimal128, Document, Uuid, doc};
use tributary::error::Diagnose;
use tributary::stores::predicate::{ColumnRef, Comparison, Predicate, Pushdown};
use tributary::stores::value::Value;
use tributary::stores::{StoreError, Table};

use super::{World, ordinal, shown};

/// Documents of a collection, and keys of the longer lists.
const DOCUMENTS: i64 = 3_000;
const KEYS: i64 = 100;
/// Entries of an index that are read beside those of the keys, at most: the ends of the places of types that have no values.
const BESIDE: i32 = 10;

/// A kind of key: its type in the store file, a document's value, and the literal that finds it.
struct Kind {
    declared: &'static str,
    stored: fn(i64) -> Bson,
    wanted: fn(i64) -> Value,
}

fn uuid(number: i64) -> Uuid {
    let mut bytes = [0x40; 16];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    Uuid::from_bytes(bytes)
}

const KINDS: [Kind; 6] = [
    Kind { declared: "bigint", stored: Bson::Int64, wanted: Value::Int },
    Kind {
        declared: "double precision",
        stored: |number| Bson::Double(number as f64),
        wanted: |number| Value::Float(number as f64),
    },
    Kind {
        declared: "numeric(38,2)",
        stored: |number| Bson::Decimal128(format!("{number}.25").parse::<Decimal128>().unwrap()),
        wanted: |number| Value::Decimal { unscaled: i128::from(number) * 100 + 25, scale: 2 },
    },
    Kind {
        declared: "text",
        stored: |number| Bson::String(format!("key {number}")),
        wanted: |number| Value::Text(format!("key {number}")),
    },
    Kind {
        declared: "timestamptz",
        stored: |number| Bson::DateTime(DateTime::from_millis(number)),
        wanted: |number| Value::TimestampTz(number * 1_000),
    },
    Kind { declared: "uuid", stored: |number| uuid(number).into(), wanted: |number| Value::Text(uuid(number).to_string()) },
];

fn equal(table: &Table, name: &str, value: Value) -> Predicate {
    Predicate::Compare { column: ColumnRef::of(ordinal(table, name)), op: Comparison::Equal, value }
}

fn pushed(world: &World, table: &Table, predicate: &Predicate) -> Predicate {
    match world.connector.pushdown(table, predicate) {
        Pushdown::Exact(pushed) | Pushdown::Superset(pushed) => pushed,
        Pushdown::Refused(reason) => panic!("{predicate:?}: {reason}"),
    }
}

/// Entries of indexes and documents that the last query of a collection has read.
async fn examined(world: &World, name: &str) -> (i32, i32) {
    let profile = world.database.collection::<Document>("system.profile");
    let namespace = format!("{}.{name}", world.database.name());
    let last = profile.find_one(doc! { "ns": namespace, "op": "query" }).sort(doc! { "$natural": -1 }).await.unwrap().unwrap();
    (last.get_i32("keysExamined").unwrap(), last.get_i32("docsExamined").unwrap())
}

async fn are_found_by_their_index(kind: &Kind) {
    let column = kind.declared;
    let options = format!("on_mismatch = \"error\"\nsample = 0\n[collections.c.columns]\n_id = \"{column}\"\nk = \"{column}\"\n");
    let world = World::new(&options).await;
    let document = |number| doc! { "_id": (kind.stored)(number), "k": (kind.stored)(number) };
    let collection = world.fill("c", (0..DOCUMENTS).map(document).collect()).await;
    collection.create_index(IndexModel::builder().keys(doc! { "k": 1 }).build()).await.unwrap();
    let table = world.table("c").await;
    world.database.run_command(doc! { "profile": 2 }).await.unwrap();
    for name in ["_id", "k"] {
        let values = (0..KEYS).map(|number| (kind.wanted)(number * 7)).collect();
        let list = Predicate::In { column: ColumnRef::of(ordinal(&table, name)), values, negated: false };
        for (predicate, rows) in [(equal(&table, name, (kind.wanted)(77)), 1), (list, KEYS)] {
            let asked = pushed(&world, &table, &predicate);
            let found = world.rows(&table, &[name], vec![asked.clone()]).await;
            let sent = world.connector.describe_scan(&table, &super::scan(&table, &[name], vec![asked]));
            assert_eq!(i64::try_from(found.len()).unwrap(), rows, "{sent}");
            // Between two keys of a list the server may read one more entry, to see where it is.
            let most = i32::try_from(rows).unwrap();
            let (keys, documents) = examined(&world, "c").await;
            assert!(keys <= 2 * most + BESIDE && documents <= most, "{keys} entries and {documents} documents for {rows}: {sent}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_of_every_type_are_found_by_their_index() {
    for kind in &KINDS {
        are_found_by_their_index(kind).await;
    }
}

async fn keys_of(world: &World, table: &std::sync::Arc<Table>, name: &str, value: i64) -> Result<Vec<Vec<String>>, StoreError> {
    let asked = pushed(world, table, &equal(table, name, Value::Int(value)));
    let mut rows = shown(&world.read(table, &["_id", name], vec![asked]).await?);
    rows.sort();
    Ok(rows)
}

/// A number of another type is what a scan reads of it, in a lookup too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lookups_find_equal_numbers_of_all_types() {
    let world =
        World::new("on_mismatch = \"error\"\nsample = 0\n[collections.c.columns]\n_id = \"bigint\"\nk = \"bigint\"\n").await;
    let values: [Bson; 5] = [42_i32.into(), 42_i64.into(), 42.0.into(), "42".parse::<Decimal128>().unwrap().into(), 43_i32.into()];
    let documents = values.into_iter().zip(0_i64..).map(|(value, id)| doc! { "_id": id, "k": value }).collect();
    let collection = world.fill("c", documents).await;
    collection.create_index(IndexModel::builder().keys(doc! { "k": 1 }).build()).await.unwrap();
    let table = world.table("c").await;
    let expected: Vec<Vec<String>> = (0..4).map(|id| vec![id.to_string(), "42".to_owned()]).collect();
    assert_eq!(keys_of(&world, &table, "k", 42).await.unwrap(), expected);
}

/// What could be the key, or has a place of its own in the index, is met; what stands among other numbers is not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lookups_meet_the_values_that_could_be_the_key() {
    let world = World::new(
        "on_mismatch = \"error\"\nsample = 0\n[collections.c.columns]\n_id = \"bigint\"\nk = \"bigint\"\nn = \"bigint\"\n",
    )
    .await;
    let collection = world.fill("c", vec![doc! { "_id": 1_i64, "k": 42_i64, "n": 42_i64 }]).await;
    collection.create_index(IndexModel::builder().keys(doc! { "k": 1 }).build()).await.unwrap();
    let table = world.table("c").await;
    let large = 9_007_199_254_740_994_i64;
    let rows: [(Bson, i64, bool); 8] = [
        (42.5.into(), 42, false),
        (f64::NAN.into(), 42, false),
        (Bson::Array(vec![41.into(), 43.into()]), 42, false),
        (Bson::Array(vec![41.into(), 42.into()]), 42, true),
        ("42".into(), 42, true),
        (doc! { "v": 42 }.into(), 42, true),
        // A double beyond 2^53 is no integer to the reader, and is one to the server.
        ((large as f64).into(), large, true),
        ((large as f64).into(), 42, false),
    ];
    for (value, key, is_met) in rows {
        let broken = doc! { "_id": 2_i64, "k": value.clone(), "n": value.clone() };
        collection.replace_one(doc! { "_id": 2_i64 }, broken).upsert(true).await.unwrap();
        let error = world.read(&table, &["k"], Vec::new()).await.unwrap_err();
        assert_eq!(error.sqlstate(), "22P02", "{value:?}");
        match keys_of(&world, &table, "k", key).await {
            Err(error) => assert!(is_met && error.sqlstate() == "22P02", "{value:?}: {error}"),
            Ok(found) => assert!(!is_met && found == [["1", "42"]], "{value:?}: {found:?}"),
        }
        // Without an index the server looks at every value anyway.
        assert!(keys_of(&world, &table, "n", key).await.is_err(), "{value:?}");
    }
}
