//! Ranges of pages: which tables have them, rows that move meanwhile, and tables that others lock.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int32Type;
use futures::TryStreamExt;
use futures::stream::select_all;
use tributary::stores::connector::{Purpose, ScanLimits};
use tributary::stores::schema::{Division, Table};
use tributary::stores::{BatchStream, Branch};

use super::{Fixture, row_count, scan_of};

const LIMITS: ScanLimits = ScanLimits { batch_rows: 100, batch_bytes: 4 << 20 };
/// Who waits for the table `t`.
const WAITING: &str = "SELECT count(*)::text FROM pg_locks WHERE NOT granted AND relation = 't'::regclass";
const PATIENCE: Duration = Duration::from_secs(60);

async fn ranges(branch: &dyn Branch, table: &Arc<Table>, most: usize) -> Vec<BatchStream> {
    branch.scan_ranges(table, &scan_of(table, Vec::new()), LIMITS, most).await.unwrap()
}

async fn collected(streams: Vec<BatchStream>) -> Vec<RecordBatch> {
    select_all(streams).try_collect().await.unwrap()
}

/// The columns `id` and `n`, in order.
fn shown(batches: &[RecordBatch]) -> Vec<(i32, i32)> {
    let of_batch = |batch: &RecordBatch| {
        let column = |place: usize| batch.column(place).as_primitive::<Int32Type>().values().to_vec();
        column(0).into_iter().zip(column(1)).collect::<Vec<_>>()
    };
    let mut rows: Vec<(i32, i32)> = batches.iter().flat_map(of_batch).collect();
    rows.sort_unstable();
    rows
}

#[tokio::test]
async fn plain_tables_have_pages() {
    let mut fixture = Fixture::new().await;
    fixture
        .run(
            "CREATE TABLE plain AS SELECT g AS id, repeat('x', 1000) AS t FROM generate_series(1, 700) g; ANALYZE plain;
             CREATE TABLE fresh (id int); CREATE VIEW v AS SELECT * FROM plain; CREATE MATERIALIZED VIEW m AS SELECT * FROM plain;
             CREATE TABLE parts (id int) PARTITION BY RANGE (id);
             CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (100);
             CREATE TABLE parent (id int); CREATE TABLE child () INHERITS (parent)",
        )
        .await;
    let schema = fixture.connector.discover().await.unwrap();
    let of = |name: &str| schema.tables.iter().find(|table| table.id.name == name).unwrap().division;
    assert_eq!(of("plain"), Some(Division::Pages(100)));
    assert_eq!(
        (of("fresh"), of("parts_1"), of("child")),
        (Some(Division::Pages(0)), Some(Division::Pages(0)), Some(Division::Pages(0)))
    );
    for name in ["v", "m", "parts", "parent"] {
        assert_eq!(of(name), None, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_move_are_read_where_they_were() {
    let mut fixture = Fixture::new().await;
    fixture
        .run(
            "CREATE TABLE \"Odd \"\"t'\\\" (id int PRIMARY KEY, n int, t text);
             INSERT INTO \"Odd \"\"t'\\\" SELECT g, 0, repeat('x', 500) FROM generate_series(1, 6000) g;
             DELETE FROM \"Odd \"\"t'\\\" WHERE id % 3 = 0; ANALYZE",
        )
        .await;
    let table = fixture.table("Odd \"t'\\").await;
    let expected: Vec<(i32, i32)> = (1..=6000).filter(|id| id % 3 != 0).map(|id| (id, 0)).collect();
    let purposes = [
        Purpose::Statement { scans: 1 },
        Purpose::Statement { scans: 2 },
        Purpose::Transaction { read_only: false, repeatable: true },
    ];
    for purpose in purposes {
        let branch = fixture.connector.open(purpose).await.unwrap();
        let streams = ranges(&*branch, &table, 3).await;
        assert_eq!(streams.len(), 3, "{purpose:?}");
        fixture
            .run(
                "UPDATE \"Odd \"\"t'\\\" SET n = n + 1; DELETE FROM \"Odd \"\"t'\\\" WHERE id < 1000;
                 INSERT INTO \"Odd \"\"t'\\\" SELECT g, 7, repeat('y', 500) FROM generate_series(10001, 14000) g",
            )
            .await;
        assert_eq!(shown(&collected(streams).await), expected, "{purpose:?}");
        fixture
            .run(
                "TRUNCATE \"Odd \"\"t'\\\"; INSERT INTO \"Odd \"\"t'\\\"
                 SELECT g, 0, repeat('x', 500) FROM generate_series(1, 6000) g WHERE g % 3 <> 0",
            )
            .await;
        drop(branch);
    }
}

/// The table has far more pages than discovery counted, and then fewer than ranges.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_are_counted_when_the_scan_begins() {
    let mut fixture = Fixture::new().await;
    fixture.run("CREATE TABLE t (id int, n int); INSERT INTO t VALUES (1, 1); ANALYZE t").await;
    let table = fixture.table("t").await;
    assert_eq!(table.division, Some(Division::Pages(1)));
    let branch = fixture.connector.open(Purpose::Statement { scans: 1 }).await.unwrap();
    let streams = ranges(&*branch, &table, 4).await;
    assert_eq!((streams.len(), shown(&collected(streams).await)), (1, vec![(1, 1)]));
    fixture.run("INSERT INTO t SELECT g, g FROM generate_series(2, 50000) g").await;
    let branch = fixture.connector.open(Purpose::Statement { scans: 1 }).await.unwrap();
    let streams = ranges(&*branch, &table, 4).await;
    assert_eq!(streams.len(), 4);
    let mut counts = Vec::new();
    for stream in streams {
        counts.push(row_count(&stream.try_collect::<Vec<_>>().await.unwrap()));
    }
    assert_eq!(counts.iter().sum::<usize>(), 50_000);
    assert!(counts.iter().all(|count| *count > 10_000), "{counts:?}");
    fixture.run("TRUNCATE t").await;
    let branch = fixture.connector.open(Purpose::Statement { scans: 1 }).await.unwrap();
    assert_eq!(row_count(&collected(ranges(&*branch, &table, 4).await).await), 0);
}

/// One more connection than the pool has reads ranges, and each scan has one of its own all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ranges_take_no_place_of_a_scan() {
    let mut fixture = Fixture::on(crate::support::postgres().await, "pool.size = 2\npool.wait = \"2s\"").await;
    fixture.run("CREATE TABLE t AS SELECT g AS id, g AS n FROM generate_series(1, 50000) g; ANALYZE t").await;
    let table = fixture.table("t").await;
    let mut held = Vec::new();
    for expected in [2, 1] {
        let branch = fixture.connector.open(Purpose::Statement { scans: 1 }).await.unwrap();
        let mut streams = ranges(&*branch, &table, 4).await;
        assert_eq!(streams.len(), expected);
        for stream in &mut streams {
            assert!(stream.try_next().await.unwrap().is_some());
        }
        held.push((branch, streams));
    }
    assert_eq!(fixture.connector.pool().unwrap().waits, 0);
}

/// Whoever wants to rewrite the table waits for the ranges; nobody waits behind it while connections are held.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_locked_table_is_read_as_one_stream() {
    let mut fixture = Fixture::new().await;
    fixture.run("CREATE TABLE t AS SELECT g AS id, g AS n FROM generate_series(1, 20000) g; ANALYZE t").await;
    let table = fixture.table("t").await;
    fixture.run("BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE").await;
    let connector = Arc::clone(&fixture.connector);
    let reading = async {
        let branch = connector.open(Purpose::Statement { scans: 1 }).await.unwrap();
        let streams = ranges(&*branch, &table, 4).await;
        (streams.len(), row_count(&collected(streams).await))
    };
    let ending = async {
        while fixture.ask(WAITING).await.as_deref() == Some("0") {
            tokio::task::yield_now().await;
        }
        fixture.run("COMMIT").await;
    };
    let both = async { tokio::join!(reading, ending) };
    let (read, ()) = tokio::time::timeout(PATIENCE, both).await.unwrap();
    assert_eq!(read, (1, 20_000));
}
