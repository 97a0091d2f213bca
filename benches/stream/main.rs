//! **Question:** how long does a client wait for the first row of ten million, and how much memory does the proxy take while
//! the client reads slowly or not at all?
//!
//! **Data:** `SELECT * FROM <store>.events` over 10 million rows of five columns, in PostgreSQL and in SQLite, by the simple
//! protocol (text) and the extended one (binary). `TRIBUTARY_BENCH_ROWS` changes the size, `TRIBUTARY_BENCH_SECONDS` how long
//! the slow reader reads and pauses.
//!
//! **Baseline:** the same client with the same statement on PostgreSQL itself; for SQLite the driver's own first row.
//!
//! **Measured:** from the first byte of the query to the first `DataRow`, 11 times, each ended by a cancel request; then the
//! resident set of the server's process (`/proc/<pid>/status`) while a client reads 64 KiB every few milliseconds, stops
//! reading, and reads again. At the end the query is cancelled, and the store is asked whether it still runs. The server is
//! the built program in a process of its own.
//!
//! **Budget:** first row under 50 ms; growth under 150 MB; the query gone from the store.

mod client;
mod first_row;
#[path = "../measure/mod.rs"]
mod measure;
mod proxy;
mod slow_reader;
mod stores;

use std::process::ExitCode;

use client::Protocol;
use measure::{Verdicts, is_wanted, knob, must, say, say_machine};
use proxy::Proxy;
use stores::Stores;

fn main() -> ExitCode {
    if !is_wanted() {
        return ExitCode::SUCCESS;
    }
    say_machine("stream");
    let runtime = must(tokio::runtime::Builder::new_multi_thread().enable_all().build());
    let rows = knob("TRIBUTARY_BENCH_ROWS", 10_000_000);
    say(format_args!("filling two stores with {rows} rows each"));
    let stores = runtime.block_on(Box::pin(Stores::fill(rows)));
    let proxy = Proxy::start(&stores);
    let mut verdicts = Verdicts::default();
    for protocol in [Protocol::Simple, Protocol::Extended] {
        first_row::measure(&proxy, &stores, protocol, &mut verdicts);
    }
    runtime.block_on(first_row::say_sqlite_driver(&stores));
    for protocol in [Protocol::Simple, Protocol::Extended] {
        for store in stores::NAMES {
            slow_reader::measure(&proxy, &stores, (store, protocol), &runtime, &mut verdicts);
        }
    }
    verdicts.end()
}
