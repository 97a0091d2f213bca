//! **Question:** how many rows a second does a full scan of a PostgreSQL table bring into Arrow, against DuckDB's scanner?
//!
//! **Data:** `lineitem` of TPC-H, 16 columns, 3,000,000 rows, in a private PostgreSQL that keeps them in memory.
//! `TRIBUTARY_BENCH_ROWS` and `TRIBUTARY_BENCH_ROUNDS` change size and repetitions.
//!
//! **Baseline:** DuckDB 1.5.5 with its `postgres_scanner` and its own settings in a Python process of its own: `SELECT *`, read as Arrow
//! batches that are dropped as they come. It reads the table over several connections, as we do. The Python environment is the one
//! that `tributary bench --against duckdb` makes.
//!
//! **Measured:** the time on the clock of one pass over the table, from the question to the last batch; the server's work counts, on
//! the same machine for both. Ours is the connector's scan of all columns in the ranges that a statement of the server would get.
//! Both sides in turn, after the number of rows and the sum of a column have been compared; the medians over the rounds.
//!
//! **Budget:** at least as many rows a second as DuckDB's.

mod duckdb;
#[path = "../measure/mod.rs"]
mod measure;
mod ours;
mod table;

use std::process::ExitCode;
use std::time::Instant;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use tokio::runtime::Runtime;
use tributary::command::bench::duckdb_python;
use tributary::task::OwnedTask;

use duckdb::Duckdb;
use measure::{Verdicts, is_wanted, knob, median, must, say, say_machine};
use ours::Ours;

/// Least rows a second of ours for each of DuckDB's.
const BUDGET: f64 = 1.0;
const SCAN: &str = "SELECT * FROM shop.public.lineitem";
const SUM: &str = "SELECT sum(l_orderkey) FROM shop.public.lineitem";

fn main() -> ExitCode {
    if !is_wanted() {
        return ExitCode::SUCCESS;
    }
    say_machine("fullscan");
    let runtime = must(tokio::runtime::Builder::new_multi_thread().enable_all().build());
    let python = must(runtime.block_on(Box::pin(duckdb_python())));
    let server = runtime.block_on(Box::pin(table::filled(knob("TRIBUTARY_BENCH_ROWS", 3_000_000))));
    let ours = runtime.block_on(Box::pin(Ours::new(&server)));
    let mut duckdb = Duckdb::start(&python, &server);
    let rows = compare(&runtime, &ours, &mut duckdb);
    say(format_args!("{rows} rows, read in {} ranges; DuckDB {}", ours.ranges, duckdb.version));
    let (mut our_times, mut their_times) = (Vec::new(), Vec::new());
    for round in 0..knob("TRIBUTARY_BENCH_ROUNDS", 5).max(1) {
        // Who goes first changes, so that neither always finds what the other has left behind.
        if round % 2 == 0 {
            our_times.push(our_pass(&runtime, &ours, rows));
        }
        let (read, elapsed_ms) = duckdb.scan(SCAN);
        check(read, rows);
        their_times.push(elapsed_ms);
        if round % 2 == 1 {
            our_times.push(our_pass(&runtime, &ours, rows));
        }
    }
    runtime.block_on(ours.close());
    let (our_rate, their_rate) = (say_rate("ours", rows, &our_times), say_rate("DuckDB", rows, &their_times));
    let ratio = our_rate / their_rate;
    let mut verdicts = Verdicts::default();
    verdicts.judge(ratio >= BUDGET, &format!("{ratio:.3} times DuckDB's rows a second, at least {BUDGET}"));
    verdicts.end()
}

/// One pass of each side, which must have read the same. Gives the number of rows.
fn compare(runtime: &Runtime, ours: &Ours, duckdb: &mut Duckdb) -> u64 {
    let mut sum = 0_i128;
    let rows = runtime.block_on(Box::pin(ours.read(|batch| sum += sum_of_keys(batch)))) as u64;
    check(duckdb.scan(SCAN).0, rows);
    let expected = duckdb.value(SUM);
    must(if sum.to_string() == expected { Ok(()) } else { Err(format!("the keys add up to {sum} instead of {expected}")) });
    rows
}

fn sum_of_keys(batch: &RecordBatch) -> i128 {
    let keys = must(batch.column_by_name("l_orderkey").ok_or("the batch has no key")).as_primitive::<Int64Type>();
    keys.values().iter().map(|key| i128::from(*key)).sum()
}

fn check(read: u64, rows: u64) {
    must(if read == rows { Ok(()) } else { Err(format!("{read} rows instead of {rows}")) });
}

/// Time of one pass as a task, in milliseconds.
fn our_pass(runtime: &Runtime, ours: &Ours, rows: u64) -> f64 {
    let ours = ours.clone();
    let started = Instant::now();
    let pass = async { OwnedTask::spawn(async move { ours.read(|_batch| {}).await }).join().await };
    let read = must(runtime.block_on(pass).ok_or("a pass has failed"));
    let elapsed = started.elapsed();
    check(read as u64, rows);
    elapsed.as_secs_f64() * 1e3
}

/// Prints the times of one side and gives its rows a second.
fn say_rate(name: &str, rows: u64, times_ms: &[f64]) -> f64 {
    let middle = median(times_ms);
    let (least, most) = times_ms.iter().fold((f64::MAX, 0.0_f64), |(least, most), time| (least.min(*time), most.max(*time)));
    let rate = rows as f64 * 1e3 / middle.max(f64::MIN_POSITIVE);
    say(format_args!("{name:<7} median {middle:.0} ms ({least:.0} to {most:.0}), {rate:.0} rows a second"));
    rate
}
