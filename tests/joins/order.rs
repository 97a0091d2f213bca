//! The order of joins: the same answers however they are written, and never a product of what nothing connects.

use super::Room;

const NEAR: &str = "CREATE TABLE nation (id INTEGER PRIMARY KEY, region INTEGER, name TEXT);
    CREATE TABLE region (id INTEGER PRIMARY KEY, name TEXT);
    INSERT INTO region VALUES (1, 'north'), (2, 'south'), (3, 'west');
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 30) INSERT INTO nation SELECT i, i % 3 + 1, 'n' || i FROM n;
    CREATE TABLE zero (id INTEGER PRIMARY KEY, text TEXT); INSERT INTO zero VALUES (1, 'x'), (2, '7');";

const FAR: &str = "CREATE TABLE customer (id int PRIMARY KEY, nation int, name text);
    INSERT INTO customer SELECT i, i % 30 + 1, 'c' || i FROM generate_series(1, 600) AS i;
    CREATE TABLE orders (id int PRIMARY KEY, customer bigint, total numeric(10, 2));
    INSERT INTO orders SELECT i, i % 600 + 1, i FROM generate_series(1, 6000) AS i;
    CREATE INDEX ON orders (customer);
    ANALYZE;";

#[tokio::test(flavor = "multi_thread")]
async fn every_written_order_gives_the_same_rows() {
    let room = Room::new(NEAR, FAR).await;
    let relations = ["near.region r", "near.nation n", "far.customer c", "far.orders o"];
    let conditions = "n.region = r.id AND c.nation = n.id AND o.customer = c.id AND r.name = 'south' AND o.total > n.id * 100";
    let mut first: Option<Vec<String>> = None;
    for order in [[0, 1, 2, 3], [3, 2, 1, 0], [0, 3, 1, 2], [2, 0, 3, 1], [1, 3, 0, 2]] {
        let from = order.map(|place| relations[place]).join(", ");
        let sql = format!("SELECT r.name, n.name, c.name, o.id, o.total FROM {from} WHERE {conditions}");
        let answer = room.ask(&sql).await;
        assert!(!answer.plan.contains("CrossJoin") && !answer.plan.contains("NestedLoop"), "{sql}\n{}", answer.plan);
        assert!(answer.rows.len() > 100, "{sql}");
        assert_eq!(first.get_or_insert_with(|| answer.rows.clone()), &answer.rows, "{sql}\n{}", answer.plan);
        let star = room.ask(&format!("SELECT * FROM {from} WHERE {conditions}")).await;
        assert_eq!(star.rows.len(), answer.rows.len());
        let count = room.ask(&format!("SELECT count(*) FROM {from} WHERE {conditions}")).await;
        assert_eq!(count.rows, [answer.rows.len().to_string()]);
    }
    room.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_joins_bound_stays_where_it_is_written() {
    let room = Room::new(NEAR, FAR).await;
    let rows = [
        // Parts that nothing connects are multiplied last.
        ("SELECT count(*) FROM near.region a, near.region b, near.nation n WHERE n.region = a.id", "90"),
        (
            "SELECT count(*) FROM near.region r JOIN near.nation n ON n.region = r.id LEFT JOIN far.customer c ON c.nation = n.id AND c.id < 40 \
          JOIN far.orders o ON o.id = n.id",
            "39",
        ),
        (
            "SELECT count(*) FROM far.customer c JOIN near.nation n ON c.nation = n.id JOIN near.region r ON r.id = n.region \
          WHERE NOT EXISTS (SELECT FROM far.orders o WHERE o.customer = c.id AND o.total > 3000)",
            "0",
        ),
        // The text of the other row is no number, and would fail if it were read.
        (
            "SELECT o.id FROM near.zero z JOIN near.region r ON r.id = z.id JOIN far.orders o ON o.id = CAST(z.text AS int) WHERE z.id = 2",
            "7",
        ),
        (
            "SELECT count(*) FROM near.region r JOIN near.nation n ON n.region = r.id JOIN far.customer c ON c.nation = n.id \
          JOIN far.orders o ON o.customer = c.id AND o.id / n.region > 100 WHERE r.id > 1",
            "",
        ),
    ];
    for (sql, expected) in rows {
        let answer = room.ask(sql).await;
        if !expected.is_empty() {
            assert_eq!(answer.rows, [expected], "{sql}\n{}", answer.plan);
        }
    }
    room.stop().await;
}
