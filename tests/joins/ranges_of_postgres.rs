//! Tables of PostgreSQL that are read as ranges: when, in how many statements, and with the same answer.

use super::Room;

const NEAR: &str = "CREATE TABLE one (k INTEGER PRIMARY KEY, v TEXT);
    INSERT INTO one VALUES (0, 'zero'), (1, 'one'), (2, 'two'), (3, 'three')";

/// Some 20 megabytes: worth two ranges.
const FAR: &str = "CREATE TABLE big (id int PRIMARY KEY, k int, filler text);
    INSERT INTO big SELECT n, n % 1000, repeat('x', 200) FROM generate_series(1, 90000) n; ANALYZE big;
    CREATE TABLE small AS SELECT * FROM big WHERE id <= 1000; ANALYZE small";

#[tokio::test(flavor = "multi_thread")]
async fn a_large_table_is_read_as_two_ranges() {
    let room = Room::new(NEAR, FAR).await;
    let all =
        "SELECT count(*), count(a.k), sum(b.id), sum(length(b.filler)), max(a.v) FROM far.big b LEFT JOIN near.one a ON a.k = b.k";
    let answer = room.ask(all).await;
    assert_eq!(answer.rows, ["90000|360|4050045000|18000000|zero"], "{}", answer.plan);
    assert!(answer.plan.contains("store=far, ranges=2, asked="), "{}", answer.plan);
    assert_eq!((answer.statements_to("far"), answer.pulled_from("far")), (2, 90_000), "{}", answer.plan);

    let some = room.ask(&format!("{all} WHERE b.id > 30000")).await;
    assert_eq!(some.rows, ["60000|240|3600030000|12000000|zero"], "{}", some.plan);
    assert_eq!((some.statements_to("far"), some.pulled_from("far")), (2, 60_000), "{}", some.plan);
    room.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_scan_is_one_statement() {
    let room = Room::new(NEAR, FAR).await;
    let columns = "count(*), count(a.k), sum(length(b.filler))";
    let undivided = [
        // An index leads to few rows.
        (format!("SELECT {columns} FROM far.big b LEFT JOIN near.one a ON a.k = b.k WHERE b.id <= 2000"), "2000|8|400000"),
        // So does no index.
        (format!("SELECT {columns} FROM far.big b LEFT JOIN near.one a ON a.k = b.k WHERE b.k < 100"), "9000|360|1800000"),
        (format!("SELECT {columns} FROM far.small b LEFT JOIN near.one a ON a.k = b.k"), "1000|4|200000"),
    ];
    for (sql, expected) in undivided {
        let answer = room.ask(&sql).await;
        assert_eq!(answer.rows, [expected], "{}", answer.plan);
        assert!(!answer.plan.contains("ranges="), "{}", answer.plan);
        assert_eq!(answer.statements_to("far"), 1, "{sql}");
    }
    room.stop().await;
}

/// The plan lets the table be read as ranges; the four keys of the other side are known when it comes to it.
#[tokio::test(flavor = "multi_thread")]
async fn a_scan_that_a_join_makes_short_is_one_statement() {
    let room = Room::new(NEAR, FAR).await;
    let answer =
        room.ask("SELECT count(*), sum(length(b.filler)) FROM far.big b JOIN near.one a ON a.k = b.k WHERE a.v <> ''").await;
    assert_eq!(answer.rows, ["360|72000"], "{}", answer.plan);
    assert!(answer.plan.contains("ranges=2"), "{}", answer.plan);
    assert_eq!((answer.statements_to("far"), answer.pulled_from("far")), (1, 360), "{}", answer.plan);
    room.stop().await;
}
