//! What a join has read of its first side decides what the store of the other side is asked for.

use super::Room;

const NEAR: &str = "CREATE TABLE pick (id INTEGER PRIMARY KEY, a INTEGER, b INTEGER, word TEXT, ratio REAL, day TEXT);
    INSERT INTO pick VALUES (1, 10, 1, 'zebra', 0.0, 'x'), (2, 20, 2, 'Apple', 2.5, 'x'), (3, NULL, 3, NULL, NULL, 'x'),
    (4, 10, 4, 'äpfel', 1e300, 'y');
    CREATE TABLE none (id INTEGER PRIMARY KEY, a INTEGER);
    CREATE TABLE wide (id INTEGER PRIMARY KEY, a INTEGER);
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 15000)
    INSERT INTO wide SELECT i, i * 2 FROM n;";

/// The words are ordered by a language, in which capital letters and accents come between others. `-0` is in one row.
const FAR: &str = "CREATE TABLE fact (id int PRIMARY KEY, a int, b bigint, word text COLLATE \"en-x-icu\", ratio float8);
    INSERT INTO fact SELECT i, i % 100, i % 7, CASE i % 50 WHEN 0 THEN 'zebra' WHEN 1 THEN 'Apple' WHEN 2 THEN 'äpfel'
    ELSE 'word ' || i END, CASE i % 1000 WHEN 0 THEN '-0'::float8 WHEN 1 THEN 2.5 WHEN 2 THEN 'NaN' WHEN 3 THEN NULL ELSE i END
    FROM generate_series(1, 20000) AS i;
    ANALYZE fact;";

#[tokio::test(flavor = "multi_thread")]
async fn only_rows_that_can_match_are_asked_for() {
    let room = Room::new(NEAR, FAR).await;
    // Statement, rows of the answer, most rows that the far store may send.
    let rows = [
        ("SELECT f.id FROM near.pick p JOIN far.fact f ON f.a = p.a", 600, 400),
        ("SELECT f.id FROM near.pick p JOIN far.fact f ON f.id = p.id", 4, 4),
        ("SELECT f.id FROM far.fact f JOIN near.pick p ON f.word = p.word", 1200, 1200),
        ("SELECT f.id FROM near.pick p JOIN far.fact f ON f.ratio = p.ratio", 40, 40),
        ("SELECT f.id FROM far.fact f WHERE f.a IN (SELECT a FROM near.pick)", 400, 400),
        ("SELECT p.id, f.id FROM near.pick p LEFT JOIN far.fact f ON f.a = p.a AND f.b = p.b", 85, 400),
        ("SELECT f.id FROM near.none p JOIN far.fact f ON f.a = p.a", 0, 0),
        ("SELECT f.id FROM near.pick p JOIN far.fact f ON f.a = p.a WHERE p.day = 'no such'", 0, 0),
        ("SELECT f.id FROM near.wide w JOIN far.fact f ON f.id = w.a WHERE w.id <= 9000", 9000, 9000),
        ("SELECT f.id FROM near.wide w JOIN far.fact f ON f.id = w.a WHERE w.id >= 9990", 11, 11),
        // Without a match these keep rows of the far store, so that no key may be left out.
        ("SELECT f.id FROM far.fact f LEFT JOIN near.pick p ON f.a = p.a", 20_200, 20_000),
        ("SELECT f.id FROM near.pick p FULL JOIN far.fact f ON f.a = p.a", 20_201, 20_000),
        ("SELECT f.id FROM far.fact f WHERE NOT EXISTS (SELECT FROM near.pick p WHERE f.a = p.a)", 19_600, 20_000),
        ("SELECT f.id FROM far.fact f JOIN near.pick p ON f.a IS NOT DISTINCT FROM p.a", 600, 20_000),
    ];
    for (sql, expected, most) in rows {
        let answer = room.ask(sql).await;
        assert_eq!(answer.rows.len(), expected, "{sql}\n{}", answer.plan);
        let pulled = answer.pulled_from("far");
        assert!(pulled <= most, "{sql} pulled {pulled} rows, not {most}\n{}", answer.plan);
    }
    room.stop().await;
}

/// Their filters are complete only when the scan is: a scan that waited for them would wait for ever.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_waits_for_filters_of_top_rows_and_extremes() {
    let room = Room::new(NEAR, FAR).await;
    let rows = [
        ("SELECT id FROM far.fact ORDER BY b DESC, id LIMIT 2", "13|6"),
        ("SELECT max(id), min(a) FROM far.fact WHERE word < 'zz'", ""),
        ("SELECT max(f.id), min(f.a) FROM far.fact f JOIN near.pick p ON f.a = p.a", "19920|10"),
        ("SELECT f.id FROM far.fact f JOIN near.pick p ON f.a = p.a ORDER BY f.id DESC LIMIT 2", "19920|19910"),
        ("SELECT f.id FROM far.fact f JOIN near.pick p ON f.a = p.a WHERE p.id = 2 ORDER BY f.b, f.id LIMIT 1", "420"),
    ];
    for (sql, expected) in rows {
        let answer = room.ask(sql).await;
        if !expected.is_empty() {
            let mut wanted: Vec<&str> = expected.split('|').collect();
            if answer.rows.len() == 1 {
                wanted = vec![expected];
            }
            wanted.sort_unstable();
            assert_eq!(answer.rows, wanted, "{sql}\n{}", answer.plan);
        }
        assert!(!answer.rows.is_empty(), "{sql}");
    }
    room.stop().await;
}

/// The first ten rows are the first ten rows, whatever they are joined with.
#[tokio::test(flavor = "multi_thread")]
async fn a_limited_scan_finds_the_rows_that_it_would_find_alone() {
    let near = "CREATE TABLE pick (id INTEGER PRIMARY KEY); INSERT INTO pick VALUES (5), (5000);
        CREATE TABLE rows (id INTEGER PRIMARY KEY, n INTEGER);
        WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9000) INSERT INTO rows SELECT i, i FROM n;";
    let room = Room::new(near, FAR).await;
    for sql in [
        "SELECT s.id FROM near.pick p JOIN (SELECT id FROM near.rows LIMIT 10) s ON s.id = p.id",
        "SELECT s.id FROM far.fact p JOIN (SELECT id FROM near.rows LIMIT 10) s ON s.id = p.id WHERE p.id IN (5, 5000)",
    ] {
        let answer = room.ask(sql).await;
        assert_eq!(answer.rows, ["5"], "{sql}\n{}", answer.plan);
    }
    // Which ten rows these are is not said; both keys are never among them.
    for sql in [
        "SELECT s.id FROM near.pick p JOIN (SELECT id FROM near.rows WHERE reverse(id::text) <> 'x' LIMIT 10) s ON s.id = p.id",
        "SELECT s.id FROM near.pick p JOIN (SELECT id FROM far.fact WHERE md5(word) <> 'x' ORDER BY md5(word), id LIMIT 10) s ON s.id = p.id",
        "SELECT s.id FROM near.pick p JOIN (SELECT r.id FROM near.rows r JOIN far.fact f ON f.id = r.id LIMIT 10) s ON s.id = p.id",
    ] {
        let answer = room.ask(sql).await;
        assert!(answer.rows.len() < 2, "{sql} gave {:?}\n{}", answer.rows, answer.plan);
    }
    room.stop().await;
}

/// Many keys on both sides are joined in partitions, each of which tells of its own keys.
#[tokio::test(flavor = "multi_thread")]
async fn partitions_of_a_join_tell_of_their_keys() {
    let near = "CREATE TABLE many (id INTEGER PRIMARY KEY, k INTEGER);
        WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 140000) INSERT INTO many SELECT i, i + 100000 FROM n;";
    let far = "CREATE TABLE big (id int PRIMARY KEY); INSERT INTO big SELECT generate_series(1, 160000); ANALYZE;";
    let room = Room::new(near, far).await;
    let answer = room.ask("SELECT count(*) FROM near.many m JOIN far.big b ON b.id = m.k").await;
    assert!(answer.plan.contains("mode=Partitioned"), "{}", answer.plan);
    assert_eq!((answer.rows.as_slice(), answer.pulled_from("far")), (&["60000".to_owned()][..], 60_000), "{}", answer.plan);
    room.stop().await;
}

/// A key is asked for once, whatever the number of statements that it takes; each store gets one statement where the keys fit.
#[tokio::test(flavor = "multi_thread")]
async fn keys_are_asked_for_in_as_few_statements_as_they_fit() {
    let far = "CREATE TABLE big (id int PRIMARY KEY, n int, word text);
        INSERT INTO big SELECT i, i % 1000, 'w' || i FROM generate_series(1, 160000) AS i; CREATE INDEX ON big (word); ANALYZE;";
    let room = Room::new(NEAR, far).await;
    // Statement, rows of the answer, rows and statements of the far store.
    let rows = [
        ("SELECT b.id FROM near.pick p JOIN far.big b ON b.id = p.id", 4, 4, 1),
        ("SELECT b.id FROM near.wide w JOIN far.big b ON b.id = w.a", 15_000, 15_000, 1),
        ("SELECT w.id, b.id FROM near.wide w LEFT JOIN far.big b ON b.id = w.a", 15_000, 15_000, 1),
        ("SELECT b.id FROM far.big b WHERE b.id IN (SELECT a FROM near.wide)", 15_000, 15_000, 1),
        ("SELECT b.id FROM near.wide w JOIN far.big b ON b.word = 'w' || w.a", 15_000, 15_000, 1),
        // More keys than values: only the ends are told, and those leave out the rows where `n` is below 2.
        ("SELECT count(*) FROM near.wide w JOIN far.big b ON b.n = w.a", 1, 159_680, 1),
        ("SELECT b.id FROM near.none w JOIN far.big b ON b.id = w.a", 0, 0, 0),
    ];
    for (sql, expected, pulled, statements) in rows {
        let answer = room.ask(sql).await;
        assert_eq!(answer.rows.len(), expected, "{sql}\n{}", answer.plan);
        assert_eq!((answer.pulled_from("far"), answer.statements_to("far")), (pulled, statements), "{sql}\n{}", answer.plan);
    }
    room.stop().await;
}

/// A list is sent whole where no index finds its rows: that the store looks each row up in it is cheaper than that the row travels.
#[tokio::test(flavor = "multi_thread")]
async fn many_keys_are_asked_for_in_one_statement_without_an_index() {
    let near = "CREATE TABLE many (id INTEGER PRIMARY KEY, k INTEGER, word TEXT, day TEXT);
        WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60000)
        INSERT INTO many SELECT i, i * 5, CASE WHEN i = 7 THEN '{\"a\\,''b}' ELSE 'w' || (i * 5) END, date('2000-01-01', i || ' days') FROM n;";
    let far = "CREATE TABLE fact (id int, small int, large bigint, word text COLLATE \"en-x-icu\", code varchar, day date, moment timestamp);
        INSERT INTO fact SELECT i, i, i, CASE WHEN i = 35 THEN '{\"a\\,''b}' ELSE 'w' || i END, 'w' || i, DATE '2000-01-01' + i, TIMESTAMP '2000-01-01' + i * INTERVAL '1 day'
        FROM generate_series(1, 200000) AS i; ANALYZE fact;
        CREATE TABLE part (id int PRIMARY KEY, name text); INSERT INTO part SELECT i, 'p' FROM generate_series(1, 1000) AS i; ANALYZE part;";
    let room = Room::new(near, far).await;
    // A statement, and the rows of its answer, which are those that the far store sends.
    let rows = [
        ("SELECT f.id FROM near.many m JOIN far.fact f ON f.small = m.k", 40_000),
        ("SELECT f.id FROM near.many m JOIN far.fact f ON f.large = m.k", 40_000),
        ("SELECT f.id FROM near.many m JOIN far.fact f ON f.word = m.word", 40_000),
        ("SELECT f.id FROM near.many m JOIN far.fact f ON f.code = m.word", 39_999),
        ("SELECT f.id FROM near.many m JOIN far.fact f ON f.day = m.day::date", 60_000),
        ("SELECT f.id FROM near.many m JOIN far.fact f ON f.moment = m.day::timestamp", 60_000),
        // A part of the plan that the far store runs.
        (
            "SELECT g.id, g.name FROM near.many m JOIN (SELECT f.small, f.id, p.name FROM far.fact f LEFT JOIN far.part p ON p.id = f.id) g ON g.small = m.k",
            40_000,
        ),
    ];
    for (sql, expected) in rows {
        let answer = room.ask(sql).await;
        assert_eq!(answer.rows.len(), expected, "{sql}\n{}", answer.plan);
        assert_eq!((answer.pulled_from("far"), answer.statements_to("far")), (expected, 1), "{sql}\n{}", answer.plan);
    }
    room.stop().await;
}

/// Keys of several columns are rows of values: of two keys that occur apart, the rows that have both are not asked for.
#[tokio::test(flavor = "multi_thread")]
async fn keys_of_two_columns_are_asked_for_together() {
    let near = "CREATE TABLE pick (id INTEGER PRIMARY KEY, a INTEGER, b INTEGER, word TEXT);
        INSERT INTO pick VALUES (1, 1, 10, 'w1'), (2, 2, 20, 'W2'), (3, 4, NULL, 'w4'), (4, NULL, 41, NULL), (5, 1, 10, 'w1'), (6, 5, 60, 'w5');
        CREATE TABLE wide (id INTEGER PRIMARY KEY, a INTEGER, b INTEGER);
        WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 15000) INSERT INTO wide SELECT i, i % 200, i FROM n;";
    let far = "CREATE TABLE fact (id int PRIMARY KEY, a int, b bigint, word text COLLATE \"en-x-icu\");
        INSERT INTO fact SELECT i, i % 200, i / 200, 'w' || i % 200 FROM generate_series(1, 40000) AS i;
        INSERT INTO fact SELECT 50000 + i, CASE WHEN i % 2 = 0 THEN i END, CASE WHEN i % 2 = 1 THEN i END, NULL FROM generate_series(1, 100) AS i;
        CREATE INDEX ON fact (a, b); ANALYZE fact;";
    let room = Room::new(near, far).await;
    // Statement, rows of the answer, most rows that the far store may send.
    let rows = [
        ("SELECT p.id, f.id FROM near.pick p JOIN far.fact f ON f.a = p.a AND f.b = p.b", 4, 3),
        ("SELECT p.id, f.id FROM near.pick p LEFT JOIN far.fact f ON f.a = p.a AND f.b = p.b", 6, 3),
        ("SELECT f.id FROM far.fact f WHERE EXISTS (SELECT FROM near.pick p WHERE p.a = f.a AND p.b = f.b)", 3, 3),
        ("SELECT p.id, f.id FROM near.pick p JOIN far.fact f ON f.a = p.a AND f.word = p.word AND f.b = p.b", 3, 2),
        ("SELECT p.id, f.id FROM near.pick p JOIN far.fact f ON f.a = p.a AND f.word = p.word", 800, 600),
        // More rows than alternatives would be written of, and more than a statement of every store takes.
        ("SELECT w.id FROM near.wide w JOIN far.fact f ON f.a = w.a AND f.b = w.b WHERE w.id <= 150", 150, 150),
        ("SELECT w.id FROM near.wide w JOIN far.fact f ON f.a = w.a AND f.b = w.b", 200, 200),
        // NULLs are equal here: rows with one are asked for besides.
        (
            "SELECT p.id, f.id FROM near.pick p JOIN far.fact f ON f.a IS NOT DISTINCT FROM p.a AND f.b IS NOT DISTINCT FROM p.b",
            6,
            40_100,
        ),
    ];
    for (sql, expected, most) in rows {
        let answer = room.ask(sql).await;
        assert_eq!(answer.rows.len(), expected, "{sql}\n{}", answer.plan);
        let pulled = answer.pulled_from("far");
        assert!(pulled <= most, "{sql} pulled {pulled} rows, not {most}\n{}", answer.plan);
        assert!(answer.statements_to("far") <= 1, "{sql}\n{}", answer.plan);
    }
    // The engine takes out what rows next to each other have in common; they are asked for as rows all the same.
    let listed = room.ask("SELECT f.id FROM far.fact f WHERE (f.a, f.b) IN ((1, 2), (1, 3), (2, 5), (2, 6))").await;
    assert_eq!(listed.rows, ["1002", "1202", "401", "601"], "{}", listed.plan);
    assert!(listed.plan.contains("(\"a\", \"b\") IN ("), "{}", listed.plan);
    room.stop().await;
}
