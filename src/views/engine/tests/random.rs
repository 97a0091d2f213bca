//! Random histories of inserts, updates and deletes over few values, many of them NULL or there several times.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::{Row, Stage, decimal, int, plain, small, text, truth, two_tables};

/// Queries whose results follow the changes of their tables.
const QUERIES: &[&str] = &[
    // Rows by themselves.
    "SELECT id, n + 1 AS m FROM a WHERE n > 2",
    "SELECT g FROM a",
    "SELECT g, CASE WHEN n > 3 THEN 'large' WHEN ok THEN 'ok' END AS c FROM a WHERE ok IS NOT FALSE AND g IS NOT NULL",
    "SELECT id FROM a WHERE false",
    "SELECT DISTINCT g, ok FROM a",
    "SELECT g, n FROM a UNION ALL SELECT s, v FROM b",
    "SELECT g FROM a UNION SELECT s FROM b",
    "SELECT 1 AS x UNION ALL SELECT v FROM b",
    "SELECT g FROM a INTERSECT SELECT s FROM b",
    "SELECT g FROM a EXCEPT SELECT s FROM b",
    // Joins.
    "SELECT a.id, b.id AS other, b.v FROM a JOIN b ON a.id = b.a_id",
    "SELECT a.g, b.s FROM a JOIN b ON a.g = b.s",
    "SELECT a.id, b.id AS other FROM a JOIN b ON a.g = b.s AND a.n < b.v",
    "SELECT a.id, b.id AS other, b.v FROM a LEFT JOIN b ON a.id = b.a_id",
    "SELECT a.g, b.s FROM a LEFT JOIN b ON a.g = b.s AND b.v > a.n",
    "SELECT a.id, b.id AS other FROM a RIGHT JOIN b ON a.id = b.a_id AND a.ok",
    "SELECT a.id, a.g FROM a LEFT JOIN b ON a.id = b.a_id WHERE b.id IS NULL",
    "SELECT x.id, y.id AS other FROM a x JOIN a y ON x.g = y.g AND x.id < y.id",
    "SELECT x.id, y.n FROM a x LEFT JOIN a y ON x.n = y.id",
    "SELECT a.id, b.v, c.s FROM a JOIN b ON a.id = b.a_id LEFT JOIN b c ON b.v = c.v",
    "SELECT id, g FROM a WHERE id IN (SELECT a_id FROM b WHERE v > 1)",
    "SELECT id, g FROM a WHERE EXISTS (SELECT 1 FROM b WHERE b.s = a.g AND b.v > a.n)",
    "SELECT id, g FROM a WHERE NOT EXISTS (SELECT 1 FROM b WHERE b.a_id = a.id)",
    "SELECT id, g FROM a WHERE NOT EXISTS (SELECT 1 FROM b WHERE b.s = a.g AND b.v > a.n)",
    // Aggregations.
    "SELECT g, count(*) AS c, count(n) AS k, sum(n) AS s, min(n) AS l, max(d) AS h FROM a GROUP BY g",
    "SELECT g, ok, sum(d) AS s, avg(d) AS m FROM a GROUP BY g, ok",
    "SELECT count(*) AS c, sum(n) AS s, min(g) AS l, max(g) AS h, avg(d) AS m, bool_and(ok) AS e, bool_or(ok) AS o FROM a",
    "SELECT count(*) AS c FROM a WHERE n > 100",
    "SELECT g, count(DISTINCT n) AS c, sum(DISTINCT n) AS s, count(*) AS k FROM a GROUP BY g",
    "SELECT count(DISTINCT g) AS c FROM a",
    "SELECT g, count(*) FILTER (WHERE ok) AS c, sum(n) FILTER (WHERE n > 2) AS s, max(n) FILTER (WHERE NOT ok) AS h FROM a GROUP BY g",
    "SELECT g, sum(n) * 2 AS s FROM a GROUP BY g HAVING count(*) > 1 AND min(n) < 4",
    "SELECT n % 3 AS k, bool_and(ok) AS e, bool_or(ok) AS o FROM a GROUP BY n % 3",
    "SELECT c, count(*) AS k FROM (SELECT g, count(*) AS c FROM a GROUP BY g) x GROUP BY c",
    // Both.
    "SELECT a.g, count(*) AS c, count(b.id) AS k, sum(b.v) AS s FROM a LEFT JOIN b ON a.id = b.a_id GROUP BY a.g",
    "SELECT a.id, a.g, t.c FROM a LEFT JOIN (SELECT a_id, count(*) AS c FROM b GROUP BY a_id) t ON a.id = t.a_id",
    "SELECT count(*) AS c, sum(b.v) AS s FROM a JOIN b ON a.id = b.a_id WHERE a.ok",
    "SELECT a.id, (SELECT max(v) FROM b WHERE b.a_id = a.id) AS h FROM a",
    "SELECT g FROM a GROUP BY g HAVING g IN (SELECT s FROM b)",
];

fn maybe<T>(random: &mut StdRng, value: T) -> Option<T> {
    (random.random_range(0..5) > 0).then_some(value)
}

fn word(random: &mut StdRng) -> Option<&'static str> {
    let words = ["x", "y", "z", "", "a word that is longer than the others"];
    let word = words[random.random_range(0..words.len())];
    maybe(random, word)
}

fn row_of(table: &str, key: i64, random: &mut StdRng) -> Row {
    let number = random.random_range(0..6_i32);
    let number = maybe(random, number);
    if table == "a" {
        let (cents, ok) = (random.random_range(-300..300_i128), random.random_range(0..2) == 0);
        return vec![int(key), text(word(random)), small(number), decimal(maybe(random, cents)), truth(maybe(random, ok))];
    }
    let of = random.random_range(0..12_i64);
    vec![int(key), int(maybe(random, of)), small(number), text(word(random))]
}

fn change(stage: &mut Stage, random: &mut StdRng, keys: i64) {
    for table in &mut stage.tables {
        for _ in 0..random.random_range(0..5) {
            let key = random.random_range(0..keys);
            let row = (random.random_range(0..3) > 0).then(|| row_of(table.name, key, random));
            table.put(key, row);
        }
    }
}

async fn history(seed: u64, queries: &[&str]) {
    let mut random = StdRng::seed_from_u64(seed);
    let mut stage = Stage::new(plain(), two_tables());
    for sql in queries {
        stage.add(sql).await;
    }
    // Some begin with tables that have rows.
    if seed % 2 == 1 {
        for _ in 0..6 {
            change(&mut stage, &mut random, 12);
        }
    }
    for step in 0..14 {
        stage.step().await;
        match step {
            // All rows go, and others come.
            6 => {
                for table in &mut stage.tables {
                    let keys: Vec<i64> = table.rows.keys().copied().collect();
                    keys.into_iter().for_each(|key| table.put(key, None));
                }
            }
            7 => {
                for _ in 0..8 {
                    change(&mut stage, &mut random, 12);
                }
            }
            // What nothing has changed in.
            9 => {}
            _ => change(&mut stage, &mut random, 12),
        }
    }
}

#[tokio::test]
async fn results_are_those_of_their_queries_after_every_step() {
    for seed in 0..2 {
        history(seed, QUERIES).await;
    }
}

#[tokio::test]
async fn results_of_joins_with_conditions_follow_long_histories() {
    let queries: Vec<&str> = QUERIES.iter().copied().filter(|sql| sql.contains("b.v > a.n") || sql.contains("a.n < b.v")).collect();
    assert_eq!(queries.len(), 4);
    for seed in 10..16 {
        history(seed, &queries).await;
    }
}
