//! From a commit to the first read of the copy that sees it.

use std::time::Instant;

use serde_json::json;
use sqlx::AssertSqlSafe;
use sqlx::postgres::PgConnection;

use super::measure::{Verdicts, knob, must, say};
use super::numbers::quantiles;
use super::results::Results;
use super::servers::NAMES;
use super::stores::{Stores, check_time};
use super::writer::Writer;

/// Writes before anything counts.
const WARMING: u64 = 50;
/// Milliseconds in the middle, and for 99 of 100.
const BUDGET: (f64, f64) = (5.0, 50.0);
/// The poll of SQLite, which is on top.
const POLL: f64 = 25.0;

/// Measures every store and judges it.
pub async fn judge(stores: &Stores, verdicts: &mut Verdicts, results: &mut Results) {
    let writes = knob("TRIBUTARY_BENCH_WRITES", 500).max(1);
    for store in NAMES {
        let table = format!("{store}.notes");
        let (served_before, fell_before) = stores.answered(&[table.as_str()]).await;
        let mut reader = stores.connect("eventual").await;
        let mut writer = Writer::to(stores, store).await;
        let (mut times, mut reads) = (Vec::new(), 0_i64);
        for key in 0..WARMING + writes {
            let is_counted = key >= WARMING;
            let key = i64::try_from(key).unwrap_or_default();
            writer.write(key).await;
            let committed = Instant::now();
            reads += see(&mut reader, &table, key, committed).await;
            if is_counted {
                times.push(committed.elapsed().as_secs_f64() * 1e3);
            }
        }
        let read = read_time(&mut reader, &table).await;
        let (served, fell) = stores.answered(&[table.as_str()]).await;
        let is_of_copy = fell == fell_before && served - served_before >= reads;
        verdicts.judge(is_of_copy, &format!("{store}: all of {reads} reads were of the copy"));
        let (p50, p99) = quantiles(&times);
        let budget = if store == "sqlite" { (BUDGET.0 + POLL, BUDGET.1) } else { BUDGET };
        verdicts.judge(
            p50 <= budget.0 && p99 <= budget.1,
            &format!(
                "{store}: a commit is seen in the copy after {p50:.2} ms, 99 of 100 within {p99:.2} ms, at most {} and {} ms",
                budget.0, budget.1
            ),
        );
        say(format_args!(
            "      of which a read takes {read:.2} ms; {:.1} reads for each row",
            reads as f64 / (WARMING + writes) as f64
        ));
        if is_of_copy {
            results.put(&format!("visible_{store}"), json!({ "p50_ms": p50, "p99_ms": p99, "read_p50_ms": read }));
        }
    }
}

/// Reads a row until it is there, and tells how often.
async fn see(reader: &mut PgConnection, table: &str, key: i64, since: Instant) -> i64 {
    let mut reads = 0;
    loop {
        reads += 1;
        let select = format!("SELECT n FROM {table} WHERE _id = $1");
        let found: Option<i64> = must(sqlx::query_scalar(AssertSqlSafe(select)).bind(key).fetch_optional(&mut *reader).await);
        if found.is_some() {
            return reads;
        }
        check_time(since, &format!("a row of {table} is never seen"));
    }
}

/// What a read takes that finds its row, in the middle, in milliseconds.
async fn read_time(reader: &mut PgConnection, table: &str) -> f64 {
    let mut times = Vec::new();
    for _ in 0..WARMING {
        let started = Instant::now();
        see(reader, table, 0, started).await;
        times.push(started.elapsed().as_secs_f64() * 1e3);
    }
    quantiles(&times).0
}
