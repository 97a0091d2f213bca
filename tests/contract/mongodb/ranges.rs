//! Ranges of `_id`: keys of every type, collections that are stored by it, and those that cannot be divided.

use std::sync::Arc;

use futures::TryStreamExt;
use futures::stream::select_all;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Bson, DateTime, doc};
use tributary::stores::connector::{Purpose, ScanLimits};
use tributary::stores::schema::Division;
use tributary::stores::{BatchStream, Branch, Table};

use super::{World, row_count, scan, shown};

const LIMITS: ScanLimits = ScanLimits { batch_rows: 100, batch_bytes: 4 << 20 };

async fn ranges(branch: &dyn Branch, table: &Arc<Table>, columns: &[&str]) -> Vec<BatchStream> {
    branch.scan_ranges(table, &scan(table, columns, Vec::new()), LIMITS, 3).await.unwrap()
}

/// The column `n`, sorted.
async fn numbers(streams: Vec<BatchStream>) -> Vec<i64> {
    let batches: Vec<_> = select_all(streams).try_collect().await.unwrap();
    let mut numbers: Vec<i64> = shown(&batches).iter().map(|row| row[0].parse().unwrap()).collect();
    numbers.sort_unstable();
    numbers
}

/// Keys of all types have their place in one range or another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_of_every_type_are_read_once() {
    let world = World::new("on_mismatch = \"text\"\n").await;
    let key = |number: i32| match number % 6 {
        0 => Bson::Int32(number),
        1 => Bson::Int64(i64::from(number)),
        2 => Bson::String(format!("key {number}")),
        3 => Bson::ObjectId(ObjectId::new()),
        4 => Bson::DateTime(DateTime::from_millis(i64::from(number))),
        _ => Bson::Document(doc! { "k": number }),
    };
    let documents: Vec<_> = (0..3_000).map(|number| doc! { "_id": key(number), "n": i64::from(number) }).collect();
    let collection = world.fill("mixed", documents).await;
    let table = world.table("mixed").await;
    assert_eq!(table.division, Some(Division::Indexed));
    let all: Vec<i64> = (0..3_000).collect();
    let purposes = [
        Purpose::Statement { scans: 1 },
        Purpose::Statement { scans: 2 },
        Purpose::Transaction { read_only: true, repeatable: true },
    ];
    for purpose in purposes {
        let branch = world.connector.open(purpose).await.unwrap();
        let streams = ranges(&*branch, &table, &["n"]).await;
        assert!(streams.len() > 1, "{purpose:?}");
        collection.update_many(doc! {}, doc! { "$inc": { "n": 10_000 } }).await.unwrap();
        collection.insert_one(doc! { "_id": -1, "n": 5_i64 }).await.unwrap();
        assert_eq!(numbers(streams).await, all, "{purpose:?}");
        collection.delete_one(doc! { "_id": -1 }).await.unwrap();
        collection.update_many(doc! {}, doc! { "$inc": { "n": -10_000 } }).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collection_may_be_stored_by_its_key() {
    let world = World::new("").await;
    let create = doc! { "create": "clustered", "clusteredIndex": { "key": { "_id": 1 }, "unique": true } };
    world.database.run_command(create).await.unwrap();
    world.fill("clustered", (0..1_000_i64).map(|number| doc! { "_id": number, "n": number }).collect()).await;
    let table = world.table("clustered").await;
    assert_eq!(table.division, Some(Division::Clustered));
    let branch = world.branch(1).await;
    let streams = ranges(&*branch, &table, &["n"]).await;
    assert!(streams.len() > 1);
    assert_eq!(numbers(streams).await, (0..1_000).collect::<Vec<i64>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_no_bounds_is_one_stream() {
    let world = World::new("").await;
    world.database.create_collection("log").capped(true).size(1 << 16).await.unwrap();
    world.fill("log", (0..100_i64).map(|number| doc! { "_id": number, "n": number }).collect()).await;
    world.fill("words", (0..100_i64).map(|number| doc! { "_id": format!("w{number}"), "n": number }).collect()).await;
    world.fill("empty", Vec::new()).await;
    world.database.create_collection("seen").view_on("words").await.unwrap();
    for (name, division) in [("log", None), ("seen", None), ("words", Some(Division::Indexed))] {
        let table = world.table(name).await;
        assert_eq!(table.division, division, "{name}");
        let branch = world.branch(1).await;
        let streams = ranges(&*branch, &table, &["n"]).await;
        assert_eq!(streams.len(), 1, "{name}");
        assert_eq!(numbers(streams).await, (0..100).collect::<Vec<i64>>(), "{name}");
    }
    let empty = world.table("empty").await;
    let branch = world.branch(1).await;
    let streams = ranges(&*branch, &empty, &["_id"]).await;
    assert_eq!(row_count(&select_all(streams).try_collect::<Vec<_>>().await.unwrap()), 0);
    // A count is of all documents, and a column that is asked for twice is widened from one.
    let words = world.table("words").await;
    let rows: [&[&str]; 2] = [&[], &["n", "n"]];
    for columns in rows {
        let streams = ranges(&*branch, &words, columns).await;
        assert_eq!(streams.len(), 1, "{columns:?}");
        assert_eq!(row_count(&select_all(streams).try_collect::<Vec<_>>().await.unwrap()), 100, "{columns:?}");
    }
}
