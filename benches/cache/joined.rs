//! A join of three stores, of copies and of the stores.

use std::time::Instant;

use serde_json::json;
use sqlx::postgres::PgConnection;

use super::measure::{Verdicts, knob, median, must, say};
use super::results::Results;
use super::stores::Stores;

/// Least speed of the copies for each unit of the stores'.
const RATIO_BUDGET: f64 = 20.0;
/// All rows of all three.
const WHOLE: &str = "SELECT c.region, count(*) AS orders, sum(o.total)::bigint AS total, max(p.score) AS score \
    FROM postgres.orders AS o JOIN mariadb.customers AS c ON c.id = o.customer JOIN mongodb.profiles AS p ON p._id = c.id \
    GROUP BY c.region ORDER BY c.region";
/// One row of each.
const ONE: &str = "SELECT c.region, 1::bigint AS orders, o.total, p.score \
    FROM postgres.orders AS o JOIN mariadb.customers AS c ON c.id = o.customer JOIN mongodb.profiles AS p ON p._id = c.id \
    WHERE o.id = 7";
const TABLES: [&str; 3] = ["postgres.orders", "mariadb.customers", "mongodb.profiles"];
/// How often the join of one row runs in a round.
const REPEATS: u64 = 200;

type Answer = Vec<(i64, i64, i64, i64)>;

/// Measures both joins and judges them.
pub async fn judge(stores: &Stores, verdicts: &mut Verdicts, results: &mut Results) {
    let rounds = knob("TRIBUTARY_BENCH_ROUNDS", 3).max(1);
    let mut of_copies = stores.connect("session").await;
    let mut of_stores = stores.connect("store").await;
    for (name, sql, repeats) in [("whole", WHOLE, 3), ("one_row", ONE, REPEATS)] {
        let before = stores.answered(&TABLES).await;
        // Plans are made and connections open before anything counts.
        let answers = (run(&mut of_copies, sql).await, run(&mut of_stores, sql).await);
        must(if answers.0 == answers.1 { Ok(()) } else { Err(format!("{name}: copies and stores answer differently")) });
        let (mut copies, mut direct) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            copies.push(time(&mut of_copies, sql, repeats).await);
            direct.push(time(&mut of_stores, sql, repeats).await);
        }
        let after = stores.answered(&TABLES).await;
        verdicts.judge(
            after.0 > before.0 && after.1 == before.1,
            &format!("join of three stores, {name}: copies answered all that they were asked"),
        );
        let (copies, direct) = (median(&copies), median(&direct));
        let ratio = direct / copies;
        let claim = format!(
            "join of three stores, {name}: {copies:.2} ms of copies, {direct:.2} ms of the stores, {ratio:.1} times as fast"
        );
        if name == "whole" {
            verdicts.judge(ratio >= RATIO_BUDGET, &format!("{claim}, at least {RATIO_BUDGET}"));
        } else {
            say(format_args!("      {claim}"));
        }
        results.put(&format!("join_{name}"), json!({ "copies_ms": copies, "stores_ms": direct, "ratio": ratio }));
    }
}

async fn run(connection: &mut PgConnection, sql: &'static str) -> Answer {
    must(sqlx::query_as(sql).fetch_all(connection).await)
}

/// Milliseconds of one, in the middle of some.
async fn time(connection: &mut PgConnection, sql: &'static str, repeats: u64) -> f64 {
    let mut times = Vec::new();
    for _ in 0..repeats {
        let started = Instant::now();
        let answer = run(&mut *connection, sql).await;
        times.push(started.elapsed().as_secs_f64() * 1e3);
        must(if answer.is_empty() { Err("a join found nothing") } else { Ok(()) });
    }
    median(&times)
}
