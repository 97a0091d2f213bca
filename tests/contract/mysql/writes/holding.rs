//! Connections of MariaDB that are held while the same or another session writes.

use std::time::Duration;

use arrow::array::RecordBatch;
use futures::{StreamExt, TryStreamExt};
use tributary::error::Diagnose;
use tributary::stores::connector::ScanLimits;
use tributary::stores::edit::Edit;
use tributary::stores::{Purpose, StoreError};

use super::super::{Room, scan_of};
use super::{WRITE, insert, ints, once, run, stored};

#[tokio::test]
async fn a_scan_that_is_open_keeps_nobody_from_writing() {
    let mut room = Room::new("pool.size = 1").await;
    room.run("CREATE TABLE big (id int PRIMARY KEY, t varchar(200))").await;
    room.run("INSERT INTO big SELECT seq, repeat('x', 200) FROM seq_1_to_100000").await;
    let table = room.table("big").await;
    let one = |id: i32| Edit::Insert(insert(&table, &[0], vec![ints([id])]));
    for (number, purpose) in [Purpose::Once, WRITE].into_iter().enumerate() {
        let reading = room.store.open(Purpose::Statement { scans: 1 }).await.unwrap();
        let mut stream = reading.scan(&table, &scan_of(&table, vec![0, 1], vec![]), ScanLimits::default()).await.unwrap();
        let first = stream.next().await.unwrap().unwrap();
        let id = -1 - i32::try_from(number).unwrap();
        let writing = async {
            if purpose == WRITE {
                let branch = room.store.open(WRITE).await.unwrap();
                run(&branch, one(id)).await.unwrap();
                branch.commit().await.unwrap();
            } else {
                once(&room, one(id)).await.unwrap();
            }
        };
        tokio::time::timeout(Duration::from_secs(9), writing).await.unwrap();
        let rest: Vec<RecordBatch> = stream.try_collect().await.unwrap();
        let count = first.num_rows() + rest.iter().map(RecordBatch::num_rows).sum::<usize>();
        assert_eq!(count, 100_000 + number, "{purpose:?}");
    }
    assert_eq!(stored(&room, &table).await.len(), 100_002);
}

#[tokio::test]
async fn writers_that_wait_in_vain_are_told_what_they_wait_for() {
    let mut room = Room::new("pool.size = 1\npool.wait = \"100ms\"").await;
    room.run("CREATE TABLE t (id int PRIMARY KEY)").await;
    let table = room.table("t").await;
    let one = |id: i32| Edit::Insert(insert(&table, &[0], vec![ints([id])]));
    let holding = room.store.open(WRITE).await.unwrap();
    run(&holding, one(1)).await.unwrap();
    for purpose in [WRITE, Purpose::Transaction { read_only: false, repeatable: true }] {
        let error = room.store.open(purpose).await.map(drop).unwrap_err();
        assert!(matches!(error, StoreError::Crowded { limit_ms: 100, .. }), "{purpose:?} {error:?}");
        assert_eq!(error.sqlstate(), "53300");
        assert!(error.hint().unwrap().contains("pool.size"), "{error:?}");
    }
    let error = once(&room, one(2)).await.unwrap_err();
    assert_eq!(error.sqlstate(), "53300", "{error:?}");
    // Who reads waits for none of them.
    assert!(stored(&room, &table).await.is_empty());
    holding.commit().await.unwrap();
    once(&room, one(2)).await.unwrap();
    assert_eq!(stored(&room, &table).await, ["1", "2"]);
}
