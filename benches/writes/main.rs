//! **Question:** what does a write through Tributary cost against the same write to the store itself: one row, and many?
//!
//! **Data:** a table of a key, a number and a text of 32 letters in PostgreSQL, MariaDB, MongoDB and SQLite, durable as they are by default.
//! MongoDB has 1 GiB of cache, of which the transaction that a COPY is takes part; the others have little.
//! `TRIBUTARY_BENCH_ROWS` changes how many rows are copied (100,000), `TRIBUTARY_BENCH_INSERTS` how many single rows each round has,
//! `TRIBUTARY_BENCH_ROUNDS` the repetitions.
//!
//! **Baseline:** the stores' own drivers on warm connections: a prepared INSERT of one row (`insertOne` in MongoDB), COPY FROM STDIN by the
//! same client, and `insertMany` of 1,000 documents at a time that were made beforehand.
//!
//! **Measured:** the time until the answer, of one prepared statement on one connection to the built program in a process of its own; and
//! rows a second from the first byte of a COPY to its answer. Both sides in turn within each round, who goes first changes; medians of
//! the rounds. What was written is counted on both sides.
//!
//! **Budget:** one row at most 1.3 times as long as directly, in PostgreSQL and MariaDB (shown for the others); COPY into PostgreSQL at
//! least 0.7 times as many rows a second, into MongoDB at least 0.8 times.

mod inserts;
mod loads;
#[path = "../measure/mod.rs"]
mod measure;
#[path = "../measure/results.rs"]
mod results;
mod stores;

use std::process::ExitCode;

use measure::{Verdicts, is_wanted, knob, must, say, say_machine};
use results::Results;
use serde_json::json;
use stores::Stores;

/// Most time of one row for each unit of the direct one.
const INSERT_BUDGET: f64 = 1.3;
/// Least rows a second for each of the direct ones.
const POSTGRES_BUDGET: f64 = 0.7;
const MONGODB_BUDGET: f64 = 0.8;

fn main() -> ExitCode {
    if !is_wanted() {
        return ExitCode::SUCCESS;
    }
    say_machine("writes");
    let runtime = must(tokio::runtime::Builder::new_multi_thread().enable_all().build());
    runtime.block_on(Box::pin(run())).end()
}

async fn run() -> Verdicts {
    let (mut verdicts, mut results) = (Verdicts::default(), Results::of("writes"));
    let rounds = knob("TRIBUTARY_BENCH_ROUNDS", 7).max(1);
    let stores = Box::pin(Stores::start()).await;
    for (store, is_judged) in [("postgres", true), ("mariadb", true), ("sqlite", false), ("mongodb", false)] {
        let times = Box::pin(inserts::compare(&stores, store, rounds, knob("TRIBUTARY_BENCH_INSERTS", 300).max(1))).await;
        let ratio = times.ours / times.direct;
        let told = format!("one row into {store}: {:.3} ms, directly {:.3} ms: {ratio:.3} times", times.ours, times.direct);
        if is_judged {
            verdicts.judge(ratio <= INSERT_BUDGET, &format!("{told}, at most {INSERT_BUDGET}"));
        } else {
            say(format_args!("      {told}"));
        }
        results.put(&format!("insert_{store}"), json!({ "ours_ms": times.ours, "direct_ms": times.direct, "ratio": ratio }));
    }
    let rows = knob("TRIBUTARY_BENCH_ROWS", 100_000).max(1);
    for (store, budget) in [("postgres", POSTGRES_BUDGET), ("mongodb", MONGODB_BUDGET)] {
        let speeds = Box::pin(loads::compare(&stores, store, rounds, rows)).await;
        let ratio = speeds.ours / speeds.direct;
        verdicts.judge(
            ratio >= budget,
            &format!(
                "COPY into {store}: {:.0} rows a second, directly {:.0}: {ratio:.3} times, at least {budget}",
                speeds.ours, speeds.direct
            ),
        );
        let figures = json!({ "rows": rows, "ours_rows_s": speeds.ours, "direct_rows_s": speeds.direct, "ratio": ratio });
        results.put(&format!("copy_{store}"), figures);
    }
    stores.close().await;
    results.write();
    verdicts
}

/// Medians of both sides.
#[derive(Debug, Clone, Copy)]
pub struct Sides {
    /// Through the proxy.
    pub ours: f64,
    /// Without it.
    pub direct: f64,
}
