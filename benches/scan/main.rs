//! **Question:** what does a full scan into Arrow cost the client, in CPU time per row, against the least code that could
//! decode the same columns with the same driver?
//!
//! **Data:** one table of a million rows made by a fixed rule: `int8` key, `int4`, `numeric(12,2)`, `text`, `timestamp`,
//! `float8`, `bool`, and another `text`; the numeric and the last text are sometimes NULL. MongoDB holds the same as documents
//! with one field nested. `TRIBUTARY_BENCH_ROWS` and `TRIBUTARY_BENCH_ROUNDS` change size and repetitions; words on the command
//! line choose stores (`cargo bench --bench scan -- sqlite`).
//!
//! **Baseline:** a loop written for this one table by the fastest known path of its driver, into Arrow builders of the types
//! that our scan gives, with room for a batch from the start, and a record batch of each 8,192 rows, which is dropped where it
//! was made. It makes the checks that no decoder of outside input can do without: text is UTF-8, numbers and dates are in their
//! form and range. It has no error that names anything, no cancellation, no deadline, no statement that is made of a scan, and
//! no other task that takes its batches.
//! PostgreSQL: binary COPY, one message a row. MariaDB: prepared statement, raw bytes of binary rows. SQLite: `sqlite3_step`
//! on its own handle. MongoDB: raw batches of 10,000, each document walked once by the driver's iterator, its fields taken in
//! any order and missing ones as NULL. Both sides run as tasks of one runtime, in turn, and are compared over every column once
//! before anything is timed; each timed round compares the sum of the key.
//!
//! **Measured:** user and system time of this process (`getrusage`), so servers do not count, and SQLite's engine does, on
//! both sides.
//!
//! **Budget:** at most 1.25 times the baseline, for each store; the median over the rounds is judged.

mod columns;
mod cpu;
mod made;
mod mariadb;
#[path = "../measure/mod.rs"]
mod measure;
mod mongodb;
mod ours;
mod postgres;
mod rounds;
mod sqlite;

use std::process::ExitCode;

use measure::{Verdicts, is_wanted, knob, must, say_machine};
use rounds::Subject;

/// Most CPU time of ours for each unit of the baseline's.
const BUDGET: f64 = 1.25;

fn main() -> ExitCode {
    if !is_wanted() {
        return ExitCode::SUCCESS;
    }
    say_machine("scan");
    let runtime = must(tokio::runtime::Builder::new_multi_thread().enable_all().build());
    runtime.block_on(Box::pin(run())).end()
}

async fn run() -> Verdicts {
    let rows = knob("TRIBUTARY_BENCH_ROWS", 1_000_000);
    let words: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let mut verdicts = Verdicts::default();
    for name in ["postgres", "mariadb", "sqlite", "mongodb"] {
        if !words.is_empty() && !words.iter().any(|word| name.contains(word.as_str())) {
            continue;
        }
        // One server at a time, so that no other one's background work shares the caches.
        let subject = subject(name, rows).await;
        let ratio = Box::pin(rounds::compare(subject, knob("TRIBUTARY_BENCH_ROUNDS", 9))).await;
        verdicts.judge(ratio <= BUDGET, &format!("{name}: {ratio:.3} times the baseline's CPU time per row, at most {BUDGET}"));
    }
    verdicts
}

async fn subject(name: &str, rows: u64) -> Subject {
    match name {
        "postgres" => Box::pin(postgres::subject(rows)).await,
        "mariadb" => Box::pin(mariadb::subject(rows)).await,
        "sqlite" => Box::pin(sqlite::subject(rows)).await,
        _ => Box::pin(mongodb::subject(rows)).await,
    }
}
