//! Sixteen clients that read single accounts: of PostgreSQL, of its copy, and of the copy while it changes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, raw_sql};
use tokio_util::sync::CancellationToken;
use tributary::task::OwnedTask;

use super::measure::{Verdicts, knob, median, must, say};
use super::pgbench;
use super::results::Results;
use super::stores::Stores;

/// How many read.
const CLIENTS: usize = 16;
/// Least throughput of the copy for each unit of PostgreSQL's.
const POINTS_BUDGET: f64 = 1.0;
/// Least throughput beside changes of the copied table for each unit of that beside changes of another one.
const BESIDE_BUDGET: f64 = 0.8;
/// Changes a second, and those of one transaction.
const CHANGES: u64 = 10_000;
const TOGETHER: u64 = 100;
/// The part of the changes that the writer must have managed.
const MANAGED: f64 = 0.95;
/// Seconds after the last change in which the copy must have it.
const BEHIND_BUDGET: f64 = 1.0;

/// Compares the copy with PostgreSQL itself.
pub async fn judge_points(stores: &Stores, verdicts: &mut Verdicts, results: &mut Results) {
    let rounds = knob("TRIBUTARY_BENCH_ROUNDS", 3).max(1);
    let before = stores.answered(&["postgres.accounts"]).await;
    let (mut direct, mut copy, mut latencies) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds {
        // Who goes first changes.
        let order = if round.is_multiple_of(2) { [0, 1] } else { [1, 0] };
        for party in order {
            let figures = read(stores, party).await;
            if party == 0 {
                direct.push(figures.per_second);
            } else {
                copy.push(figures.per_second);
                latencies.push(figures.latency_ms);
            }
        }
    }
    let after = stores.answered(&["postgres.accounts"]).await;
    verdicts.judge(after.0 > before.0 && after.1 == before.1, "point reads: all were of the copy");
    let (direct, copy, latency) = (median(&direct), median(&copy), median(&latencies));
    let ratio = copy / direct;
    verdicts.judge(
        ratio >= POINTS_BUDGET,
        &format!(
            "point reads of {CLIENTS} clients: {copy:.0} a second of the copy, {direct:.0} of PostgreSQL, {ratio:.2} times as many, \
             at least {POINTS_BUDGET}"
        ),
    );
    let figures =
        json!({ "clients": CLIENTS, "copy_per_s": copy, "postgres_per_s": direct, "ratio": ratio, "copy_latency_ms": latency });
    results.put("point_reads", figures);
}

/// Reads of PostgreSQL (0) or of the copy (1).
async fn read(stores: &Stores, party: usize) -> pgbench::Figures {
    let seconds = knob("TRIBUTARY_BENCH_SECONDS", 5).max(1);
    let table = if party == 0 { "accounts" } else { "postgres.accounts" };
    let text = format!("\\set id random(1, {})\nSELECT balance FROM {table} WHERE id = :id;\n", stores.rows);
    let script = stores.script(&format!("read_{party}.sql"), &text);
    let [direct, copy] = stores.parties();
    let asked = if party == 0 { direct } else { copy };
    let run = OwnedTask::spawn_blocking(move || pgbench::run(&asked, &script, CLIENTS, seconds));
    must(run.join().await.ok_or("pgbench did not end"))
}

/// Compares readers of the copy while it takes in changes with readers while a table that is not followed changes as much.
pub async fn judge_beside(stores: &Stores, verdicts: &mut Verdicts, results: &mut Results) {
    let rounds = knob("TRIBUTARY_BENCH_ROUNDS", 3).max(1);
    let before = stores.answered(&["postgres.accounts"]).await;
    let (mut alone, mut other, mut same, mut managed) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut behind = 0.0_f64;
    let mut client = stores.connect("strong").await;
    must(raw_sql("SET tributary.on_stale = 'wait'").execute(&mut client).await);
    for _ in 0..rounds {
        alone.push(read(stores, 1).await.per_second);
        for (table, figures) in [("without_copy", &mut other), ("accounts", &mut same)] {
            let writer = Writer::start(stores, table).await;
            figures.push(read(stores, 1).await.per_second);
            managed.push(writer.stop().await);
            if table == "accounts" {
                behind = behind.max(until_taken_in(&mut client).await);
            }
        }
    }
    let after = stores.answered(&["postgres.accounts"]).await;
    let (alone, other, same) = (median(&alone), median(&other), median(&same));
    let least = managed.iter().copied().fold(f64::INFINITY, f64::min);
    let ratio = same / other;
    verdicts.judge(
        ratio >= BESIDE_BUDGET,
        &format!(
            "readers beside changes of their table: {same:.0} a second, {other:.0} beside those of a table that is not followed: \
             {ratio:.2} times as many, at least {BESIDE_BUDGET}"
        ),
    );
    verdicts.judge(
        least >= CHANGES as f64 * MANAGED,
        &format!("      {least:.0} changes a second at least were written, of {CHANGES} that were wanted"),
    );
    verdicts.judge(
        behind <= BEHIND_BUDGET,
        &format!("      {behind:.2} s at most after the last change the copy had all of them, at most {BEHIND_BUDGET}"),
    );
    let (of_copy, of_store) = (after.0 - before.0, after.1 - before.1);
    verdicts.judge(of_store == 0, &format!("      {of_copy} reads were of the copy, {of_store} of the store"));
    say(format_args!("      {alone:.0} a second while nobody wrote, {:.2} times as many as beside changes", alone / same));
    results.put(
        "readers_beside_changes",
        json!({
            "same_table_per_s": same,
            "other_table_per_s": other,
            "alone_per_s": alone,
            "ratio": ratio,
            "ratio_to_alone": same / alone,
            "changes_per_s": least,
            "behind_s": behind,
            "of_store": of_store,
        }),
    );
}

/// The seconds until a read of the copy has all that was committed before it.
async fn until_taken_in(client: &mut PgConnection) -> f64 {
    let started = Instant::now();
    must(sqlx::query("SELECT balance FROM postgres.accounts WHERE id = 1").fetch_one(client).await.map(drop));
    started.elapsed().as_secs_f64()
}

/// Who changes rows at a steady rate.
struct Writer {
    stop: CancellationToken,
    changed: Arc<AtomicU64>,
    started: Instant,
    task: OwnedTask<()>,
}

impl Writer {
    async fn start(stores: &Stores, table: &'static str) -> Self {
        let mut connection = stores.in_postgres().await;
        must(raw_sql("SET synchronous_commit = off").execute(&mut connection).await);
        let (stop, changed) = (CancellationToken::new(), Arc::new(AtomicU64::new(0)));
        let (token, count, rows) = (stop.clone(), Arc::clone(&changed), stores.rows);
        let task = OwnedTask::spawn(async move { write(connection, table, rows, &token, &count).await });
        Self { stop, changed, started: Instant::now(), task }
    }

    /// Ends it, and tells how many rows it changed in a second.
    async fn stop(self) -> f64 {
        self.stop.cancel();
        self.task.join().await;
        self.changed.load(Ordering::Relaxed) as f64 / self.started.elapsed().as_secs_f64()
    }
}

async fn write(mut connection: PgConnection, table: &str, rows: u64, stop: &CancellationToken, changed: &AtomicU64) {
    let sql = format!("UPDATE {table} SET balance = balance + 1 WHERE id BETWEEN $1 AND $2");
    let mut clock = tokio::time::interval(Duration::from_micros(1_000_000 * TOGETHER / CHANGES));
    let mut next = 0_u64;
    while !stop.is_cancelled() {
        clock.tick().await;
        // Neighbours change together, and the next ones lie elsewhere.
        let first = 1 + next * 7_919 * TOGETHER % rows.saturating_sub(TOGETHER).max(1);
        next += 1;
        let (first, last) = (i64::try_from(first).unwrap_or(1), i64::try_from(first + TOGETHER - 1).unwrap_or(1));
        let done = sqlx::query(AssertSqlSafe(sql.clone())).bind(first).bind(last).execute(&mut connection).await;
        changed.fetch_add(must(done).rows_affected(), Ordering::Relaxed);
    }
}
