//! Joins above joins in partitions of which some have no rows: nobody reads the second side of such a partition, and the others must not
//! wait for what it would have told of its keys. Rows stay in the partition that they belong to, also when they come from disk.

use tributary::federation::engine::{Engine, Limits};

use super::Room;

/// `few` is known to be small. `wide` was when it was counted, and takes about 4 MB in memory by now.
const NEAR: &str = "CREATE TABLE marks (id INTEGER PRIMARY KEY, k INTEGER, name TEXT);
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40) INSERT INTO marks SELECT i, i % 20, 'm' || i FROM n;
    CREATE TABLE few (k INTEGER PRIMARY KEY);
    INSERT INTO few VALUES (1), (2), (3), (4);
    CREATE TABLE wide (k INTEGER PRIMARY KEY, filler TEXT) WITHOUT ROWID;
    INSERT INTO wide VALUES (-1, 'a'), (-2, 'b');
    ANALYZE;
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 15000) INSERT INTO wide SELECT i, printf('%0250d', i) FROM n;";

/// Nobody has counted these, so that both sides of their joins are divided.
const FAR: &str = "CREATE TABLE one (id bigint) WITH (autovacuum_enabled = off);
    CREATE TABLE people (id bigint PRIMARY KEY) WITH (autovacuum_enabled = off);
    CREATE TABLE many (id bigint, k bigint) WITH (autovacuum_enabled = off);
    CREATE TABLE numbers (id bigint) WITH (autovacuum_enabled = off);
    INSERT INTO one VALUES (2);
    INSERT INTO people SELECT generate_series(1, 5);
    INSERT INTO many SELECT i, i % 50 FROM generate_series(1, 500) AS i;
    INSERT INTO numbers SELECT generate_series(1, 3000);";

/// Groups of rows of both stores, which neither makes by itself: 12 rows have the key 2.
const GROUPS: &str =
    "(SELECT u.k, count(*) AS n FROM (SELECT k FROM far.many UNION ALL SELECT k FROM near.marks) u GROUP BY u.k) g";

const LOOKED_UP: &str = "(SELECT min(m.name), count(*) FROM near.marks m WHERE m.k = p.id) q (a, b)";

#[tokio::test(flavor = "multi_thread")]
async fn partitions_wait_for_none_that_nobody_asks_for_rows_of_postgres() {
    let room = Room::new(NEAR, FAR).await;
    let statements = [
        // A divided join below another one.
        (
            format!(
                "SELECT o.id, q.n FROM far.one o LEFT JOIN
                (SELECT x.id, g.n FROM far.numbers x LEFT JOIN {GROUPS} ON g.k = x.id) q ON q.id = o.id"
            ),
            "2|12",
            "mode=Partitioned, join_type=Left, on=[(id@0, k@0)]",
        ),
        // Three of them, the last of which hears of it through the one between.
        (
            format!(
                "SELECT o.id, q.n FROM far.one o LEFT JOIN (SELECT y.id, r.n FROM far.numbers y LEFT JOIN
                (SELECT x.id, g.n FROM far.numbers x LEFT JOIN {GROUPS} ON g.k = x.id) r ON r.id = y.id) q ON q.id = o.id"
            ),
            "2|12",
            "mode=Partitioned, join_type=Left, on=[(id@0, k@0)]",
        ),
        // One whose first side all partitions have in common.
        (
            format!(
                "SELECT o.id, q.n FROM far.one o LEFT JOIN (SELECT g.k, g.n FROM {GROUPS} JOIN near.few f ON f.k = g.k) q ON q.k = o.id"
            ),
            "2|12",
            "mode=CollectLeft, join_type=RightSemi",
        ),
        // The same, on whose order something relies.
        (
            format!(
                "SELECT o.id, q.n, q.r FROM far.one o LEFT JOIN
                (SELECT g.k, g.n, row_number() OVER (PARTITION BY g.k ORDER BY g.n) AS r
                FROM {GROUPS} JOIN near.few f ON f.k = g.k) q ON q.k = o.id"
            ),
            "2|12|1",
            "mode=CollectLeft, join_type=RightSemi",
        ),
        // Two subqueries of one row.
        (
            format!(
                "SELECT p.id, (SELECT a FROM {LOOKED_UP}), (SELECT b FROM {LOOKED_UP}) FROM far.people p
                WHERE EXISTS (SELECT FROM far.one o WHERE o.id = p.id)"
            ),
            "2|m2|2",
            "mode=Partitioned, join_type=Left",
        ),
    ];
    for (sql, expected, shape) in &statements {
        let answer = room.ask(sql).await;
        assert_eq!(answer.rows, [*expected], "{sql}\n{}", answer.plan);
        assert!(answer.plan.contains("mode=Partitioned") && answer.plan.contains(shape), "{sql}\n{}", answer.plan);
    }
    room.stop().await;
}

/// A join with a common first side that is larger than the memory, below one whose partitions must find their rows in its.
#[tokio::test(flavor = "multi_thread")]
async fn rows_of_postgres_stay_in_their_partition_when_they_come_from_disk() {
    let room = Room::new(NEAR, FAR).await;
    let directory = tempfile::tempdir().unwrap();
    let spill_directory = Some(directory.path().to_owned());
    let limits = Limits { memory_bytes: 3 << 20, spill_directory, batch_rows: 256, partitions: 2, ..Limits::default() };
    let small = Engine::new(&limits).unwrap();
    let groups = GROUPS.replace("SELECT k FROM far.many", "SELECT id AS k FROM far.numbers");
    let sql = format!(
        "SELECT count(*), count(q.n), sum(length(q.filler)) FROM far.numbers o LEFT JOIN
        (SELECT g.k, g.n, w.filler FROM {groups} JOIN near.wide w ON w.k = g.k) q ON q.k = o.id"
    );
    let expected = room.ask(&sql).await;
    assert_eq!((expected.rows.as_slice(), expected.spilled), (["3000|3000|750000".to_owned()].as_slice(), 0), "{}", expected.plan);
    assert!(expected.plan.contains("mode=CollectLeft, join_type=Inner"), "{}", expected.plan);
    let found = room.ask_with(&small, &sql).await;
    assert_eq!(found.rows, expected.rows, "{}", found.plan);
    assert!(found.spilled > 0, "{}", found.plan);
    room.stop().await;
}
