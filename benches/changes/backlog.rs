//! Changes that were made while nobody read them.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use mongodb::bson::{Document, doc};
use serde_json::json;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, raw_sql};
use tokio::process::Command;

use super::measure::{Verdicts, knob, median, must, say};
use super::results::Results;
use super::stores::Stores;

/// Least of the peer's speed, and rows for each second of processor time.
const RATIO_BUDGET: f64 = 0.5;
const ROWS_BUDGET: f64 = 50_000.0;
/// Rows of a transaction that has several.
const TOGETHER: u64 = 500;
/// Their slot and publication.
const PEER: &str = "bench_peer";
/// Longer than any backlog should take.
const PATIENCE: Duration = Duration::from_secs(600);
/// How often is looked whether it is over.
const LOOK: Duration = Duration::from_millis(20);

/// What one reader took.
#[derive(Debug, Clone, Copy)]
struct Drained {
    seconds: f64,
    processor_seconds: f64,
}

/// Reads backlogs of PostgreSQL on both sides and judges ours.
pub async fn judge(stores: &mut Stores, verdicts: &mut Verdicts, results: &mut Results) {
    let rounds = knob("TRIBUTARY_BENCH_ROUNDS", 3).max(1);
    let many = knob("TRIBUTARY_BENCH_ROWS", 500_000).max(TOGETHER) / TOGETHER * TOGETHER;
    let singles = knob("TRIBUTARY_BENCH_SINGLES", 100_000).max(1);
    let mut connection = stores.in_postgres().await;
    must(raw_sql(AssertSqlSafe(format!("CREATE PUBLICATION {PEER} FOR TABLE load_rows"))).execute(&mut connection).await);
    let mut next = 0;
    for (name, rows, each) in [("together", many, TOGETHER), ("single", singles, 1)] {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for round in 0..rounds {
            until_acknowledged(&mut connection).await;
            stores.stop().await;
            until_read_by(&mut connection, 0).await;
            let slot = format!("SELECT pg_create_logical_replication_slot('{PEER}', 'pgoutput')");
            must(raw_sql(AssertSqlSafe(slot)).execute(&mut connection).await);
            write(&mut connection, (next, rows), each).await;
            next += rows;
            let end: String = must(sqlx::query_scalar("SELECT pg_current_wal_flush_lsn()::text").fetch_one(&mut connection).await);
            // Who goes first changes.
            if round.is_multiple_of(2) {
                ours.push(drain(stores, &mut connection, rows).await);
            }
            theirs.push(drain_peer(stores, &mut connection, &end).await);
            if !round.is_multiple_of(2) {
                ours.push(drain(stores, &mut connection, rows).await);
            }
            must(raw_sql(AssertSqlSafe(format!("SELECT pg_drop_replication_slot('{PEER}')"))).execute(&mut connection).await);
        }
        tell(name, rows, (&ours, &theirs), (&mut *verdicts, &mut *results));
    }
}

fn tell(name: &str, rows: u64, (ours, theirs): (&[Drained], &[f64]), (verdicts, results): (&mut Verdicts, &mut Results)) {
    let seconds = median(&ours.iter().map(|drained| drained.seconds).collect::<Vec<_>>());
    let processor = median(&ours.iter().map(|drained| drained.processor_seconds).collect::<Vec<_>>());
    let peer = median(theirs);
    let (ratio, per_second) = (peer / seconds, rows as f64 / processor);
    verdicts.judge(
        ratio >= RATIO_BUDGET,
        &format!(
            "{rows} rows of PostgreSQL, {name}: {seconds:.2} s until they are in our log, {peer:.2} s by pg_recvlogical: {ratio:.2} of its \
             speed, at least {RATIO_BUDGET}"
        ),
    );
    verdicts.judge(
        per_second >= ROWS_BUDGET,
        &format!("      {name}: {per_second:.0} rows for each second of processor time, at least {ROWS_BUDGET:.0}"),
    );
    let figures = json!({
        "rows": rows, "ours_s": seconds, "ours_processor_s": processor, "rows_per_processor_s": per_second, "pg_recvlogical_s": peer,
        "ratio": ratio
    });
    results.put(&format!("backlog_postgres_{name}"), figures);
}

/// Changes rows of PostgreSQL in transactions of so many.
async fn write(connection: &mut PgConnection, (first, rows): (u64, u64), each: u64) {
    let rows = format!(
        "DO $$ BEGIN FOR start IN 0..{} LOOP INSERT INTO load_rows SELECT {first} + start * {each} + n, n, 7, 'some text of a row', \
         md5(n::text), '2024-02-29 12:00:00' FROM generate_series(0, {each} - 1) AS n; COMMIT; END LOOP; END $$",
        rows / each - 1
    );
    // Each by itself: several in one text are one transaction, in which nothing can be committed.
    for sql in ["SET synchronous_commit = off", &rows, "SET synchronous_commit = on", "CHECKPOINT"] {
        must(raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut *connection).await);
    }
}

/// Waits until the server knows that we have everything: what it does not know it sends again after a kill.
async fn until_acknowledged(connection: &mut PgConnection) {
    let end: String = must(sqlx::query_scalar("SELECT pg_current_wal_flush_lsn()::text").fetch_one(&mut *connection).await);
    let sql =
        format!("SELECT count(*) FROM pg_replication_slots WHERE slot_name LIKE 'tributary%' AND confirmed_flush_lsn >= '{end}'");
    until_one(connection, &sql, 1).await;
}

/// Waits until our slot is read by so many.
async fn until_read_by(connection: &mut PgConnection, wanted: i64) {
    until_one(connection, "SELECT count(*) FROM pg_replication_slots WHERE slot_name LIKE 'tributary%' AND active", wanted).await;
}

async fn until_one(connection: &mut PgConnection, sql: &str, wanted: i64) {
    let started = Instant::now();
    loop {
        let found: i64 = must(sqlx::query_scalar(AssertSqlSafe(sql.to_owned())).fetch_one(&mut *connection).await);
        if found == wanted {
            return;
        }
        check_time(started, sql);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Reads the backlog with Tributary, which is started for it, until it is synced.
async fn drain(stores: &mut Stores, connection: &mut PgConnection, rows: u64) -> Drained {
    let reading = until_read_by(connection, 1);
    // The slot may be read before anybody can log in.
    let (started, ()) = tokio::join!(
        async {
            reading.await;
            Instant::now()
        },
        stores.again()
    );
    until_synced(stores, "postgres", rows).await;
    // Of the whole process, with what it took to start.
    Drained { seconds: started.elapsed().as_secs_f64(), processor_seconds: stores.processor_time().as_secs_f64() }
}

/// Waits until so many rows of a store have been told and are synced.
async fn until_synced(stores: &Stores, store: &str, rows: u64) {
    let started = Instant::now();
    loop {
        let told = stores.number(&format!("tributary_feed_events_total{{store=\"{store}\"")).await;
        if told >= rows && stores.number(&format!("tributary_changes_queue_bytes{{store=\"{store}\"}}")).await == 0 {
            return;
        }
        check_time(started, store);
        tokio::time::sleep(LOOK).await;
    }
}

/// Ends a bench that waits for what does not come about.
fn check_time(started: Instant, what: &str) {
    must(if started.elapsed() < PATIENCE { Ok(()) } else { Err(format!("it takes too long: {what}")) });
}

/// The same with `pg_recvlogical`, in seconds.
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

/// Backlogs of MariaDB and MongoDB, which are shown: nothing reads these as `pg_recvlogical` reads PostgreSQL's.
pub async fn show_others(stores: &mut Stores, results: &mut Results) {
    // The oplog of the bench's server has 64 MB, and keeps no more than these.
    let rows = knob("TRIBUTARY_BENCH_OTHERS", 100_000).max(TOGETHER) / TOGETHER * TOGETHER;
    for store in ["mariadb", "mongodb"] {
        stores.stop().await;
        if store == "mariadb" {
            write_mariadb(stores, rows).await
        } else {
            write_mongodb(stores, rows).await
        }
        stores.again().await;
        let started = Instant::now();
        until_synced(stores, store, rows).await;
        let (seconds, processor) = (started.elapsed().as_secs_f64(), stores.processor_time().as_secs_f64());
        say(format_args!("      {rows} rows of {store} in {seconds:.2} s and {processor:.2} s of processor time"));
        results.put(&format!("backlog_{store}"), json!({ "rows": rows, "ours_s": seconds, "ours_processor_s": processor }));
    }
}

async fn write_mariadb(stores: &Stores, rows: u64) {
    let mut connection = stores.in_mariadb().await;
    for start in (0..rows).step_by(usize::try_from(TOGETHER).unwrap_or(1)) {
        let last = start + TOGETHER - 1;
        let insert = format!(
            "INSERT INTO load_rows SELECT seq, seq, 7, 'some text of a row', md5(seq), '2024-02-29 12:00:00' FROM seq_{start}_to_{last}"
        );
        must(raw_sql(AssertSqlSafe(insert)).execute(&mut connection).await);
    }
}

async fn write_mongodb(stores: &Stores, rows: u64) {
    let collection = stores.in_mongodb("load_rows");
    for start in (0..rows).step_by(usize::try_from(TOGETHER).unwrap_or(1)) {
        let ids = start..start + TOGETHER;
        let row = |id: u64| doc! { "_id": i64::try_from(id).unwrap_or_default(), "a": 5_i64, "c": "some text of a row" };
        must(collection.insert_many(ids.map(row).collect::<Vec<Document>>()).await);
    }
}
