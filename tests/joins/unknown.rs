//! Joins of tables that nobody has counted: whichever is written first, the rows are the same, nothing is multiplied, and the side that is
//! read first may be larger than the memory.

use tributary::federation::engine::{Engine, Limits};

use super::Room;

/// Without a rowid SQLite does not tell the rows of a table before `ANALYZE`.
const NEAR: &str = "CREATE TABLE small (id INTEGER PRIMARY KEY, k INTEGER) WITHOUT ROWID;
    CREATE TABLE other (id INTEGER PRIMARY KEY, k INTEGER) WITHOUT ROWID;
    CREATE TABLE large (id INTEGER PRIMARY KEY, k INTEGER) WITHOUT ROWID;
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 50) INSERT INTO small SELECT i, i * 400 FROM n;
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 30) INSERT INTO other SELECT i, i * 800 FROM n;
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 15000) INSERT INTO large SELECT i, i FROM n;";

/// PostgreSQL does not tell before the first `ANALYZE`, which must not come by itself here. The large table takes about 4 MB in memory.
const FAR: &str = "CREATE TABLE small (id bigint, k bigint) WITH (autovacuum_enabled = off);
    CREATE TABLE large (id bigint, k bigint, filler text) WITH (autovacuum_enabled = off);
    INSERT INTO small SELECT i, i * 400 FROM generate_series(1, 50) AS i;
    INSERT INTO large SELECT i, i, repeat('x', 240) || i FROM generate_series(1, 15000) AS i;";

/// A small table, a large one, and the store of the large one.
const PAIRS: [(&str, &str, &str); 2] = [("near.small", "far.large", "far"), ("far.small", "near.large", "near")];

/// Of the first so many rows of the small table, those with a partner.
fn matched(most: usize) -> Vec<String> {
    let mut rows: Vec<String> = (1..=most).filter(|id| id * 400 <= 15_000).map(|id| format!("{id}|{}", id * 400)).collect();
    rows.sort();
    rows
}

#[tokio::test(flavor = "multi_thread")]
async fn joins_of_postgres_and_sqlite_tables_without_statistics_are_the_same_in_both_orders() {
    let room = Room::new(NEAR, FAR).await;
    let known = "SELECT count(*) FROM pg_class WHERE relname IN ('small', 'other', 'large') AND reltuples < 0";
    assert_eq!(room.ask(known).await.rows, ["5"], "a table was counted");
    let columns = "count(*), count(s.id), count(l.id)";
    for (small, large, far) in PAIRS {
        let orders = [format!("{small} s, {large} l"), format!("{large} l, {small} s")];
        for (place, from) in orders.iter().enumerate() {
            let sql = format!("SELECT s.id, l.id FROM {from} WHERE l.k = s.k");
            let answer = room.ask(&sql).await;
            assert_eq!(answer.rows, matched(50), "{sql}\n{}", answer.plan);
            is_sound(&sql, &answer.plan);
            // Of equals the first is read first, and its keys are asked for.
            assert!(place > 0 || answer.pulled_from(far) == 37, "{sql} pulled {:?}\n{}", answer.pulled, answer.plan);
            // A condition is asked of its store in either order.
            let sql = format!("{sql} AND s.id <= 20");
            let answer = room.ask(&sql).await;
            assert_eq!(answer.rows, matched(20), "{sql}\n{}", answer.plan);
            is_sound(&sql, &answer.plan);
            assert!(place > 0 || answer.pulled_from(far) == 20, "{sql} pulled {:?}\n{}", answer.pulled, answer.plan);
        }
        for (join, expected) in [
            (format!("{small} s LEFT JOIN {large} l"), "50|50|37"),
            (format!("{large} l RIGHT JOIN {small} s"), "50|50|37"),
            (format!("{large} l LEFT JOIN {small} s"), "15000|37|15000"),
            (format!("{small} s RIGHT JOIN {large} l"), "15000|37|15000"),
            (format!("{small} s FULL JOIN {large} l"), "15013|50|15000"),
            (format!("{large} l FULL JOIN {small} s"), "15013|50|15000"),
        ] {
            let sql = format!("SELECT {columns} FROM {join} ON l.k = s.k");
            let answer = room.ask(&sql).await;
            assert_eq!(answer.rows, [expected], "{sql}\n{}", answer.plan);
            is_sound(&sql, &answer.plan);
        }
    }
    // The first two of each order have nothing to do with each other.
    for from in ["near.small s, near.other o, far.large l", "near.other o, near.small s, far.large l"] {
        let sql = format!("SELECT count(*), max(s.id) FROM {from} WHERE l.k = s.k AND l.id = o.k");
        let answer = room.ask(&sql).await;
        assert_eq!(answer.rows, ["18|36"], "{sql}\n{}", answer.plan);
        is_sound(&sql, &answer.plan);
    }
    room.stop().await;
}

/// Equal keys meet by their hash, and nothing is multiplied to be left out afterwards.
fn is_sound(sql: &str, plan: &str) {
    assert!(plan.contains("HashJoinExec") && !plan.contains("CrossJoin") && !plan.contains("NestedLoop"), "{sql}\n{plan}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_table_that_nobody_counted_may_be_larger_than_the_memory_of_its_join() {
    let room = Room::new(NEAR, FAR).await;
    let directory = tempfile::tempdir().unwrap();
    let spill_directory = Some(directory.path().to_owned());
    let limits = Limits { memory_bytes: 3 << 19, spill_directory, batch_rows: 256, partitions: 2, ..Limits::default() };
    let engine = Engine::new(&limits).unwrap();
    let shown = "count(*), count(s.id), sum(length(l.filler)), max(l.filler)";
    for (from, is_first) in [
        ("far.large l JOIN near.small s", true),
        ("far.large l LEFT JOIN near.small s", true),
        ("near.small s JOIN far.large l", false),
    ] {
        let sql = format!("SELECT {shown} FROM {from} ON l.k = s.k");
        let expected = room.ask(&sql).await;
        let found = room.ask_with(&engine, &sql).await;
        assert_eq!(found.rows, expected.rows, "{sql}\n{}", found.plan);
        assert_eq!(found.spilled > 0, is_first, "{sql}\n{}", found.plan);
    }
    room.stop().await;
}
