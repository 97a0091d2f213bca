//! Aggregates of which a join wants few groups: the same answers, and the store groups only what is wanted.

use super::Room;

const NEAR: &str = "CREATE TABLE part (id INTEGER PRIMARY KEY, brand TEXT);
    CREATE TABLE line (id INTEGER PRIMARY KEY, part INTEGER, quantity INTEGER);
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)
    INSERT INTO part SELECT i, 'b' || (i % 200) FROM n;
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9000)
    INSERT INTO line SELECT i, CASE WHEN i % 11 <> 0 THEN i % 2500 END, i % 50 FROM n;
    ANALYZE;";

// Some parts have no lines, some lines no part, and some of the wanted parts no key that lines could have.
const FAR: &str = "CREATE TABLE part (id int PRIMARY KEY, number int, brand text);
    INSERT INTO part SELECT i, CASE WHEN i % 7 <> 0 THEN i END, 'b' || i % 200 FROM generate_series(1, 2000) AS i;
    CREATE TABLE line (id int PRIMARY KEY, part int, quantity int, price numeric(10, 2));
    INSERT INTO line SELECT i, CASE WHEN i % 11 <> 0 THEN i % 2500 END, i % 49, i / 7.0 FROM generate_series(1, 9000) AS i;
    CREATE TABLE wide (part bigint, price numeric(10, 2));
    INSERT INTO wide SELECT part, price FROM line;
    CREATE TABLE offer (part int, supplier int, cost int, PRIMARY KEY (part, supplier));
    INSERT INTO offer SELECT i % 2000 + 1, i / 2000, i * 37 % 101 FROM generate_series(0, 7999) AS i;
    ANALYZE;";

/// Statements with a place for a limit, which nothing is reduced through.
const PAIRS: [&str; 9] = [
    "SELECT p.id, t.n, t.s FROM far.part p LEFT JOIN (SELECT part, count(*) n, sum(price) s FROM far.wide GROUP BY part{}) t \
     ON t.part = p.id WHERE p.brand = 'b3'",
    "SELECT p.id, t.n FROM far.part p LEFT JOIN (SELECT part, count(*) n FROM far.line GROUP BY part{}) t ON t.part = p.number WHERE p.brand = 'b7'",
    "SELECT p.id, t.a FROM far.part p JOIN (SELECT part, avg(quantity) a FROM far.line GROUP BY part HAVING count(*) > 2{}) t \
     ON t.part = p.id AND t.a > p.id % 40 WHERE p.brand = 'b3'",
    "SELECT p.id FROM far.part p WHERE p.brand = 'b3' AND EXISTS \
     (SELECT FROM (SELECT part, max(quantity) q FROM far.line GROUP BY part{}) t WHERE t.part = p.id AND t.q > 20)",
    "SELECT p.id FROM far.part p WHERE p.brand = 'b3' AND NOT EXISTS \
     (SELECT FROM (SELECT part, max(quantity) q FROM far.line GROUP BY part{}) t WHERE t.part = p.id AND t.q > 20)",
    "SELECT p.id FROM far.part p WHERE p.brand = 'b3' AND p.number NOT IN (SELECT part FROM far.line WHERE part > 0 GROUP BY part{})",
    "SELECT l.id, t.c FROM far.line l JOIN far.part p ON p.id = l.part JOIN (SELECT part, min(cost) c FROM far.offer GROUP BY part{}) t \
     ON t.part = l.part WHERE p.brand = 'b3' AND l.quantity < 30",
    "SELECT p.id, t.n, u.n FROM far.part p LEFT JOIN (SELECT part, count(*) n FROM far.line GROUP BY part{}) t ON t.part = p.id \
     LEFT JOIN (SELECT part, count(*) n FROM far.offer GROUP BY part{}) u ON u.part = t.part WHERE p.brand = 'b3'",
    "SELECT p.id, t.n FROM near.part p LEFT JOIN (SELECT part, count(*) n FROM near.line GROUP BY part{}) t ON t.part = p.id WHERE p.id < 5",
];

/// The statements of a plan.
fn asked(plan: &str) -> String {
    plan.lines().filter(|line| line.starts_with("Asked of ")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn fewer_groups_change_no_answer() {
    let room = Room::new(NEAR, FAR).await;
    for pair in PAIRS {
        let few = room.ask(&pair.replace("{}", "")).await;
        let all = room.ask(&pair.replace("{}", " LIMIT 1000000")).await;
        assert_eq!(few.rows, all.rows, "{pair}\n{}", few.plan);
        assert!(!few.rows.is_empty() || pair.contains("NOT"), "{pair}");
    }
    room.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_correlated_average_is_one_part_that_groups_what_is_wanted() {
    let room = Room::new(NEAR, FAR).await;
    // TPC-H 17, 20 and 2.
    let rows = [
        "SELECT sum(l.price) FROM far.line l, far.part p WHERE p.id = l.part AND p.brand = 'b3' \
         AND l.quantity < (SELECT 0.9 * avg(quantity) FROM far.line WHERE part = p.id)",
        "SELECT o.supplier, o.part FROM far.offer o WHERE o.part IN (SELECT id FROM far.part WHERE brand = 'b3') \
         AND o.cost > (SELECT 0.5 * sum(quantity) FROM far.line WHERE part = o.part)",
        "SELECT p.id, o.supplier FROM far.part p, far.offer o WHERE p.id = o.part AND p.brand = 'b3' \
         AND o.cost = (SELECT min(x.cost) FROM far.offer x WHERE x.part = p.id)",
    ];
    for sql in rows {
        let answer = room.ask(sql).await;
        assert!(!answer.rows.is_empty(), "{sql}\n{}", answer.plan);
        assert_eq!(answer.statements_to("far"), 1, "{sql}\n{}", answer.plan);
        assert_eq!(asked(&answer.plan).matches("\"brand\" = ").count(), 2, "{sql}\n{}", answer.plan);
    }
    // Most parts are wanted here.
    let sql = "SELECT sum(l.price) FROM far.line l, far.part p WHERE p.id = l.part AND p.brand <> 'b3' \
               AND l.quantity < (SELECT 0.9 * avg(quantity) FROM far.line WHERE part = p.id)";
    let answer = room.ask(sql).await;
    assert_eq!(asked(&answer.plan).matches("\"brand\" <> ").count(), 1, "{}", answer.plan);
    room.stop().await;
}
