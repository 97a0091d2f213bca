//! A scan in ranges: the streams are the whole table at one state, and give back what they took.

use std::sync::Arc;

use arrow::array::RecordBatch;
use futures::TryStreamExt;
use futures::stream::select_all;
use tributary::stores::connector::ScanLimits;
use tributary::stores::{BatchStream, Branch, Connector, Purpose, Scan, Table};

use super::reading::{self, keys, whole};
use super::world::{BIG, World, until};

/// Small batches, so that most of a range is still to be read when the table changes.
const LIMITS: ScanLimits = ScanLimits { batch_rows: 500, batch_bytes: 4 << 20 };

pub async fn check(world: &dyn World) {
    world.make_big().await;
    let connector = world.open("");
    let big = reading::table(&connector, &world.namespace(), "big").await;
    for purpose in purposes() {
        ranges_are_the_whole(world, (&connector, &big), purpose).await;
    }
    what_cannot_be_divided_is_one(world, (&connector, &big)).await;
    dropped_ranges_end(world, (&connector, &big)).await;
    ranges_see_one_state(world, (&connector, &big)).await;
}

fn purposes() -> [Purpose; 4] {
    [
        reading::ALONE,
        Purpose::Statement { scans: 3 },
        Purpose::Transaction { read_only: true, repeatable: false },
        Purpose::Transaction { read_only: false, repeatable: true },
    ]
}

fn every_key() -> Vec<i64> {
    (1..=i64::try_from(BIG).unwrap()).collect()
}

async fn started(branch: &dyn Branch, table: &Arc<Table>, scan: &Scan, most: usize) -> Vec<BatchStream> {
    let streams = branch.scan_ranges(table, scan, LIMITS, most).await.unwrap();
    assert!((1..=most).contains(&streams.len()), "{} streams of at most {most}", streams.len());
    streams
}

async fn collected(streams: Vec<BatchStream>) -> Vec<RecordBatch> {
    select_all(streams).try_collect().await.unwrap()
}

async fn ranges_are_the_whole(world: &dyn World, (connector, big): (&Arc<dyn Connector>, &Arc<Table>), purpose: Purpose) {
    for most in [1, 2, 3] {
        let branch = connector.open(purpose).await.unwrap();
        let streams = started(&*branch, big, &whole(connector, big, Vec::new()), most).await;
        // Connections are free: what a table says of itself is what becomes of it.
        assert_eq!(streams.len() > 1, big.division.is_some() && most > 1, "{purpose:?} {most}");
        assert_eq!(keys(&collected(streams).await), every_key(), "{purpose:?} {most}");
        // The branch is as good as before.
        assert_eq!(reading::seen(connector, &*branch, big).await, BIG, "{purpose:?} {most}");
        drop(branch);
        until("the end of the ranges", async || world.busy().await == 0).await;
    }
}

async fn what_cannot_be_divided_is_one(world: &dyn World, (connector, big): (&Arc<dyn Connector>, &Arc<Table>)) {
    let scan = whole(connector, big, Vec::new());
    let branch = connector.open(reading::ALONE).await.unwrap();
    let limited = Scan { limit: Some(7), ..scan.clone() };
    let streams = started(&*branch, big, &limited, 3).await;
    assert_eq!(streams.len(), 1);
    assert_eq!(reading::count(&collected(streams).await), 7);
    let streams = started(&*branch, big, &Scan { columns: Vec::new(), ..scan.clone() }, 3).await;
    assert_eq!(reading::count(&collected(streams).await), BIG);
    drop(branch);
    // There is no connection for a second range, and none is waited for.
    let narrow = world.open("pool.size = 1");
    narrow.discover().await.unwrap();
    let branch = narrow.open(reading::ALONE).await.unwrap();
    let streams = started(&*branch, big, &scan, 3).await;
    assert_eq!(streams.len(), 1);
    assert_eq!(keys(&collected(streams).await), every_key());
}

async fn dropped_ranges_end(world: &dyn World, (connector, big): (&Arc<dyn Connector>, &Arc<Table>)) {
    let branch = connector.open(reading::ALONE).await.unwrap();
    let streams = started(&*branch, big, &whole(connector, big, Vec::new()), 3).await;
    let mut merged = select_all(streams);
    merged.try_next().await.unwrap().unwrap();
    drop((merged, branch));
    until("the end of dropped ranges", async || world.busy().await == 0).await;
}

/// A row comes and all others go while the ranges are under way.
async fn ranges_see_one_state(world: &dyn World, (connector, big): (&Arc<dyn Connector>, &Arc<Table>)) {
    let branch = connector.open(reading::ALONE).await.unwrap();
    let mut streams = started(&*branch, big, &whole(connector, big, Vec::new()), 3).await;
    // A stream that is one alone may begin to read with its first batch.
    let mut found: Vec<RecordBatch> = Vec::new();
    for stream in &mut streams {
        found.extend(stream.try_next().await.unwrap());
    }
    world.append("big", i64::try_from(BIG).unwrap() + 1).await;
    world.clear("big").await;
    world.append("big", 1).await;
    found.extend(collected(streams).await);
    assert_eq!(keys(&found), every_key());
    drop(branch);
    let later = connector.open(reading::ALONE).await.unwrap();
    let left = started(&*later, big, &whole(connector, big, Vec::new()), 3).await;
    assert_eq!(keys(&collected(left).await), [1]);
}
