//! Joins that are larger than the memory they may take: they end, with the same rows, and leave nothing behind.

use std::path::Path;

use tributary::error::Limit;
use tributary::federation::engine::{Engine, Limits};

use super::Room;

/// About 4 MB in memory on either side. Some keys are NULL, some without a partner, some in many rows.
const NEAR: &str = "CREATE TABLE one (id INTEGER PRIMARY KEY, k INTEGER, filler TEXT);
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 15000)
    INSERT INTO one SELECT i, CASE WHEN i % 50 = 0 THEN NULL WHEN i % 1000 = 7 THEN 7 ELSE i END, printf('%0250d', i) FROM n;";

const FAR: &str = "CREATE TABLE other (id int PRIMARY KEY, k bigint, filler text);
    INSERT INTO other SELECT i, CASE WHEN i % 70 = 0 THEN NULL WHEN i % 5000 = 9 THEN 7 ELSE i * 2 END, repeat('x', 240) || i
    FROM generate_series(1, 17000) AS i; ANALYZE;";

fn files(directory: &Path) -> usize {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { files(&path) } else { 1 }).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn joins_larger_than_the_pool_end_with_the_same_rows() {
    let room = Room::new(NEAR, FAR).await;
    let directory = tempfile::tempdir().unwrap();
    let limits = |memory_bytes, partitions| Limits {
        memory_bytes,
        spill_directory: Some(directory.path().to_owned()),
        batch_rows: 256,
        partitions,
        ..Limits::default()
    };
    let shown = "sum(a.id), sum(b.id), count(*), sum(length(a.filler)), sum(length(b.filler)), max(a.filler), max(b.filler)";
    let kinds = ["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"];
    let mut statements: Vec<String> =
        kinds.iter().map(|kind| format!("SELECT {shown} FROM near.one a {kind} far.other b ON a.k = b.k")).collect();
    let of_one = "sum(a.id), count(*), sum(length(a.filler)), max(a.filler)";
    statements.extend([
        format!("SELECT {of_one} FROM near.one a WHERE EXISTS (SELECT FROM far.other b WHERE a.k = b.k AND b.filler <> a.filler)"),
        format!(
            "SELECT {of_one} FROM near.one a WHERE NOT EXISTS (SELECT FROM far.other b WHERE a.k = b.k AND b.filler <> a.filler)"
        ),
        format!("SELECT {shown} FROM near.one a JOIN far.other b ON a.k = b.k AND length(a.filler) + length(b.filler) > 490"),
        "SELECT count(*) FROM (SELECT a.filler AS x, b.filler AS y FROM near.one a LEFT JOIN far.other b ON a.k = b.k LIMIT 777) t"
            .to_owned(),
    ]);
    for partitions in [1, 2] {
        let small = Engine::new(&limits(3 << 19, partitions)).unwrap();
        let mut spilled = 0;
        for sql in &statements {
            let expected = room.ask(sql).await;
            let found = room.ask_with(&small, sql).await;
            assert_eq!(found.rows, expected.rows, "{sql}\n{}", found.plan);
            assert_eq!((expected.spilled, files(directory.path())), (0, 0), "{sql}");
            spilled += usize::from(found.spilled > 0);
        }
        assert!(spilled > 4, "{spilled} of {} statements went to disk with {partitions} partitions", statements.len());
    }
    room.stop().await;
}

/// Rows of one key cannot be told apart by any hash: they are counted, and refused.
#[tokio::test(flavor = "multi_thread")]
async fn a_join_whose_one_key_is_larger_than_the_pool_of_postgres_and_sqlite_rows_is_refused() {
    let same = |text: &str, from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        text.replace(from, to)
    };
    let near = same(NEAR, "CASE WHEN i % 50 = 0 THEN NULL WHEN i % 1000 = 7 THEN 7 ELSE i END", "7");
    let far = same(FAR, "CASE WHEN i % 70 = 0 THEN NULL WHEN i % 5000 = 9 THEN 7 ELSE i * 2 END", "7");
    let room = Room::new(&near, &far).await;
    let directory = tempfile::tempdir().unwrap();
    for (spill_directory, partitions) in [(Some(directory.path().to_owned()), 1), (Some(directory.path().to_owned()), 2), (None, 1)]
    {
        let limits = Limits { memory_bytes: 3 << 19, spill_directory, batch_rows: 256, partitions, ..Limits::default() };
        let small = Engine::new(&limits).unwrap();
        let sql = "SELECT count(*), max(a.filler), max(b.filler) FROM near.one a JOIN far.other b ON a.k = b.k";
        let refused = room.failure_with(&small, sql).await;
        assert_eq!((refused.sqlstate.as_str(), refused.limit), ("53200", Some(Limit::QueryMemory)), "{refused:?}");
        assert!(refused.detail.as_ref().is_some_and(|detail| detail.contains("SpillingJoinInput")), "{refused:?}");
        assert_eq!(files(directory.path()), 0);
    }
    room.stop().await;
}

/// Columns that come back from the disk share their memory, which counts once: the rows of the one key take a quarter of the pool.
#[tokio::test(flavor = "multi_thread")]
async fn a_join_of_wide_postgres_and_sqlite_rows_counts_what_it_reads_back_once() {
    let columns: Vec<String> = (0..20).map(|place| format!("c{place}")).collect();
    let list = |form: &dyn Fn(&String) -> String| columns.iter().map(form).collect::<Vec<_>>().join(", ");
    let near = format!(
        "CREATE TABLE wide (id INTEGER PRIMARY KEY, k INTEGER, {});
        WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1800)
        INSERT INTO wide SELECT i, CASE WHEN i % 6 = 0 THEN 7 ELSE i END, {} FROM n;",
        list(&|column| format!("{column} TEXT")),
        list(&|column| format!("CASE WHEN i % 9 = 1 THEN NULL ELSE printf('{column}%047d', i) END")),
    );
    let room = Room::new(&near, FAR).await;
    let directory = tempfile::tempdir().unwrap();
    let spill_directory = Some(directory.path().to_owned());
    let limits = Limits { memory_bytes: 3 << 19, spill_directory, batch_rows: 256, partitions: 1, ..Limits::default() };
    let small = Engine::new(&limits).unwrap();
    let shown = list(&|column| format!("max(a.{column})"));
    let sql = format!("SELECT count(*), count(b.filler), {shown} FROM near.wide a JOIN far.other b ON a.k = b.k");
    let expected = room.ask(&sql).await;
    let found = room.ask_with(&small, &sql).await;
    assert_eq!(found.rows, expected.rows, "{sql}\n{}", found.plan);
    assert!(found.spilled > 0 && expected.spilled == 0, "{}", found.plan);
    room.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_of_spill_files_of_postgres_rows_is_told_as_the_limit_it_is() {
    let room = Room::new(NEAR, FAR).await;
    let directory = tempfile::tempdir().unwrap();
    let spill_directory = Some(directory.path().to_owned());
    let limits =
        Limits { memory_bytes: 3 << 19, spill_directory, spill_bytes: 64 << 10, batch_rows: 256, partitions: 1, ranges: 1 };
    let small = Engine::new(&limits).unwrap();
    let sql = "SELECT count(*), max(a.filler), max(b.filler) FROM near.one a JOIN far.other b ON a.k = b.k";
    let refused = room.failure_with(&small, sql).await;
    assert_eq!((refused.sqlstate.as_str(), refused.limit), ("53400", Some(Limit::Spill)), "{refused:?}");
    room.stop().await;
}
