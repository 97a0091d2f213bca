//! How long the first row takes.

use std::time::{Duration, Instant};

use futures::TryStreamExt;
use sqlx::ConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;

use super::client::{Client, Protocol};
use super::measure::{Verdicts, median, must, say};
use super::proxy::Proxy;
use super::stores::{NAMES, Stores};

const TIMES: usize = 11;
/// Longest median wait for the first row.
const BUDGET_MS: f64 = 50.0;

/// Measures all stores by one protocol, and PostgreSQL itself.
pub fn measure(proxy: &Proxy, stores: &Stores, protocol: Protocol, verdicts: &mut Verdicts) {
    let server = &stores.postgres;
    let mut direct = Client::connect(stores.postgres_address(), server.user(), server.database());
    let peer = say_waits(&format!("PostgreSQL itself, {}", protocol.word()), &mut direct, protocol, "SELECT * FROM events");
    for store in NAMES {
        let mut client = proxy.connect();
        let name = format!("{store}, {}", protocol.word());
        let wait_ms = say_waits(&name, &mut client, protocol, &format!("SELECT * FROM {store}.events"));
        let beside = if store == "postgres" { format!(" ({:.1} times PostgreSQL's own)", wait_ms / peer) } else { String::new() };
        verdicts.judge(wait_ms < BUDGET_MS, &format!("{name}: first row after {wait_ms:.2} ms{beside}, under {BUDGET_MS} ms"));
    }
}

/// Prints the waits of one client and gives the median in milliseconds.
fn say_waits(name: &str, client: &mut Client, protocol: Protocol, sql: &str) -> f64 {
    let waits: Vec<f64> = (0..TIMES).map(|_| wait(client, protocol, sql).as_secs_f64() * 1e3).collect();
    let middle = median(&waits);
    let (least, most) = waits.iter().fold((f64::MAX, 0.0_f64), |(least, most), wait| (least.min(*wait), most.max(*wait)));
    let first = waits.first().copied().unwrap_or_default();
    say(format_args!("{name}: first row, median {middle:.2} ms ({least:.2} to {most:.2}), the very first {first:.2} ms"));
    middle
}

fn wait(client: &mut Client, protocol: Protocol, sql: &str) -> Duration {
    let started = Instant::now();
    client.ask(protocol, sql);
    client.until_row();
    let waited = started.elapsed();
    client.cancel();
    must(if client.until_cancelled() { Ok(()) } else { Err("the answer was complete before it could be cancelled") });
    waited
}

/// What SQLite's driver alone needs for its first row, on an open connection.
pub async fn say_sqlite_driver(stores: &Stores) {
    let options = SqliteConnectOptions::new().filename(stores.sqlite_path()).read_only(true);
    let mut connection = must(options.disable_statement_logging().connect().await);
    let mut waits = Vec::new();
    for _ in 0..TIMES {
        let started = Instant::now();
        let mut rows = sqlx::query("SELECT * FROM events").fetch(&mut connection);
        must(must(rows.try_next().await).ok_or("the table is empty"));
        waits.push(started.elapsed().as_secs_f64() * 1e3);
    }
    say(format_args!("SQLite's driver alone: first row, median {:.2} ms", median(&waits)));
}
