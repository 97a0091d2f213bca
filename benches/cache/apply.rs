//! Changes that were made while Tributary was stopped, on their way into a copy.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::json;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, raw_sql};
use tokio::process::Command;

use super::measure::{Verdicts, knob, median, must, say};
use super::results::Results;
use super::stores::{Stores, check_time};

/// Least of the peer's speed.
const RATIO_BUDGET: f64 = 0.5;
/// Rows of a transaction.
const TOGETHER: u64 = 500;
/// Their slot and publication.
const PEER: &str = "bench_peer";
/// How often is looked whether it is over.
const LOOK: Duration = Duration::from_millis(5);

/// Lets both sides read the same log and judges ours.
pub async fn judge(stores: &Stores, verdicts: &mut Verdicts, results: &mut Results) {
    let rounds = knob("TRIBUTARY_BENCH_ROUNDS", 3).max(1);
    let rows = knob("TRIBUTARY_BENCH_BACKLOG", 300_000).max(TOGETHER) / TOGETHER * TOGETHER;
    let mut connection = stores.in_postgres().await;
    let mut client = stores.connect("eventual").await;
    run(&mut connection, &format!("CREATE PUBLICATION {PEER} FOR TABLE load_rows")).await;
    let (mut ours, mut theirs, mut processor) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds {
        run(&mut connection, "TRUNCATE load_rows").await;
        until_copied(stores, &mut client, 0).await;
        run(&mut connection, &format!("SELECT pg_create_logical_replication_slot('{PEER}', 'pgoutput')")).await;
        stores.hold(true).await;
        write(&mut connection, rows).await;
        let end: String = must(sqlx::query_scalar("SELECT pg_current_wal_flush_lsn()::text").fetch_one(&mut connection).await);
        // Who goes first changes. The other one is held or not begun.
        if !round.is_multiple_of(2) {
            theirs.push(drain_peer(stores, &mut connection, &end).await);
        }
        let before = stores.processor_time();
        let started = Instant::now();
        stores.hold(false).await;
        until_copied(stores, &mut client, rows).await;
        ours.push(started.elapsed().as_secs_f64());
        processor.push((stores.processor_time() - before).as_secs_f64());
        if round.is_multiple_of(2) {
            theirs.push(drain_peer(stores, &mut connection, &end).await);
        }
        run(&mut connection, &format!("SELECT pg_drop_replication_slot('{PEER}')")).await;
    }
    let (ours, theirs, processor) = (median(&ours), median(&theirs), median(&processor));
    let ratio = theirs / ours;
    verdicts.judge(
        ratio >= RATIO_BUDGET,
        &format!(
            "{rows} rows of PostgreSQL: {ours:.2} s until they are in the copy, {theirs:.2} s by pg_recvlogical: {ratio:.2} of its \
             speed, at least {RATIO_BUDGET}"
        ),
    );
    say(format_args!("      {processor:.2} s of processor time, {:.0} rows for each second of it", rows as f64 / processor));
    results.put(
        "apply",
        json!({ "rows": rows, "ours_s": ours, "ours_processor_s": processor, "pg_recvlogical_s": theirs, "ratio": ratio }),
    );
}

async fn run(connection: &mut PgConnection, sql: &str) {
    must(raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut *connection).await);
}

/// Waits until the copy has so many rows. That there is one all the time is a part of it: one that is loaded again would be no answer.
async fn until_copied(stores: &Stores, client: &mut PgConnection, rows: u64) {
    let started = Instant::now();
    loop {
        let found = stores.copied(client, "load_rows").await;
        let found = must(found.ok_or("the copy of load_rows was given up"));
        if u64::try_from(found).is_ok_and(|found| found == rows) {
            return;
        }
        check_time(started, "load_rows is not copied");
        tokio::time::sleep(LOOK).await;
    }
}

/// Writes rows in transactions.
async fn write(connection: &mut PgConnection, rows: u64) {
    let rows = format!(
        "DO $$ BEGIN FOR start IN 0..{} LOOP INSERT INTO load_rows SELECT start * {TOGETHER} + n, n, 7, 'some text of a row', \
         md5(n::text), '2024-02-29 12:00:00' FROM generate_series(0, {TOGETHER} - 1) AS n; COMMIT; END LOOP; END $$",
        rows / TOGETHER - 1
    );
    // Each by itself: several in one text are one transaction, in which nothing can be committed.
    for sql in ["SET synchronous_commit = off", &rows, "SET synchronous_commit = on", "CHECKPOINT"] {
        run(connection, sql).await;
    }
}

/// The seconds that `pg_recvlogical` takes.
async fn drain_peer(stores: &Stores, connection: &mut PgConnection, end: &str) -> f64 {
    let endpoint = stores.postgres();
    let mut command = Command::new(program());
    command.args(["--start", "--no-loop", "--file=/dev/null", "--fsync-interval=0", "--slot", PEER, "--endpos", end]);
    command.args(["-o", "proto_version=1", "-o", &format!("publication_names={PEER}")]);
    command.args(["--host", endpoint.host(), "--username", endpoint.user(), "--dbname", endpoint.database()]);
    command.arg(format!("--port={}", endpoint.port())).env("PGPASSWORD", endpoint.password()).kill_on_drop(true);
    let mut child = must(command.spawn());
    let active = format!("SELECT count(*) FROM pg_replication_slots WHERE slot_name = '{PEER}' AND active");
    let started = loop {
        let found: i64 = must(sqlx::query_scalar(AssertSqlSafe(active.clone())).fetch_one(&mut *connection).await);
        if found == 1 || must(child.try_wait()).is_some() {
            break Instant::now();
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    };
    let status = must(child.wait().await);
    must(if status.success() { Ok(()) } else { Err(format!("pg_recvlogical ended with {status}")) });
    started.elapsed().as_secs_f64()
}

/// The program beside the newest server, or whatever is called so.
fn program() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().filter_map(Result::ok);
    let mut programs: Vec<PathBuf> = versions.map(|version| version.path().join("bin/pg_recvlogical")).collect();
    programs.retain(|program| program.is_file());
    programs.sort();
    programs.pop().unwrap_or_else(|| PathBuf::from("pg_recvlogical"))
}
