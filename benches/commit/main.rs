//! **Question:** what does a commit over two stores cost against the stores' own two phases, and how many are there a second when many
//! clients commit at once?
//!
//! **Data:** one row into a table of PostgreSQL and one of MariaDB in each transaction, both durable as they are by default.
//! `TRIBUTARY_BENCH_COMMITS` changes how many each round has (200), `TRIBUTARY_BENCH_ROUNDS` the repetitions, `TRIBUTARY_BENCH_SECONDS` how
//! long many clients commit.
//!
//! **Baseline:** PREPARE TRANSACTION and COMMIT PREPARED, then XA END with XA PREPARE and XA COMMIT, by sqlx on connections that are kept: the
//! sum of the two stores' own prepare and commit.
//!
//! **Measured:** the time of COMMIT alone, without the statements before it, of one client of the built program in a process of its own;
//! both sides in turn within each round, medians of the rounds' medians. Then commits a second of one client and of sixteen, statements
//! included, by turns.
//!
//! **Budget:** COMMIT at most 1.5 times the sum; sixteen clients at least three times the commits a second of one. Shown beside them: what
//! COMMIT takes over other stores, and the commits a second of as many clients that drive both stores themselves, which shows what of it is
//! the machine's.

mod clients;
mod direct;
#[path = "../measure/mod.rs"]
mod measure;
#[path = "../measure/results.rs"]
mod results;
mod stores;

use std::process::ExitCode;
use std::time::Duration;

use clients::Clients;
use direct::Direct;
use measure::{Verdicts, is_wanted, knob, median, must, say, say_machine};
use results::Results;
use serde_json::json;
use stores::Stores;

/// Most time of COMMIT for each unit of the sum.
const TIME_BUDGET: f64 = 1.5;
/// Least commits a second of sixteen clients for each of one.
const THROUGHPUT_BUDGET: f64 = 3.0;
const MANY: usize = 16;
/// Transactions before anything is measured.
const WARMING: u64 = 20;

/// The stores that are judged, and those that are shown.
const BOTH: &[&str] = &["postgres", "mariadb"];
const SHOWN: [&[&str]; 3] = [&["postgres"], &["postgres", "mongodb"], &["east", "west"]];

fn main() -> ExitCode {
    if !is_wanted() {
        return ExitCode::SUCCESS;
    }
    say_machine("commit");
    let runtime = must(tokio::runtime::Builder::new_multi_thread().enable_all().build());
    runtime.block_on(Box::pin(run())).end()
}

async fn run() -> Verdicts {
    let (mut verdicts, mut results) = (Verdicts::default(), Results::of("commit"));
    let stores = Box::pin(Stores::start()).await;
    let rounds = knob("TRIBUTARY_BENCH_ROUNDS", 7).max(1);
    let commits = knob("TRIBUTARY_BENCH_COMMITS", 200).max(1);
    let clients = Clients::default();
    Box::pin(judge_time(&stores, &clients, (rounds, commits), (&mut verdicts, &mut results))).await;
    Box::pin(judge_throughput(&stores, &clients, (&mut verdicts, &mut results))).await;
    for shown in SHOWN {
        let mut connection = stores.connect().await;
        let mut medians = Vec::new();
        for _ in 0..rounds {
            medians.push(clients.commits(&mut connection, shown, commits).await);
        }
        let time = median(&medians);
        say(format_args!("      COMMIT over {}: {time:.3} ms", shown.join(" and ")));
        results.put(&format!("commit_{}", shown.join("_")), json!({ "ours_ms": time }));
    }
    results.write();
    verdicts
}

async fn judge_time(
    stores: &Stores,
    clients: &Clients,
    (rounds, commits): (u64, u64),
    (verdicts, results): (&mut Verdicts, &mut Results),
) {
    let (mut connection, mut direct) = (stores.connect().await, Direct::connect(stores).await);
    clients.commits(&mut connection, BOTH, WARMING).await;
    direct.commits(clients, WARMING).await;
    let (mut ours, mut in_postgres, mut in_mariadb) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds {
        // Who goes first changes.
        if round.is_multiple_of(2) {
            ours.push(clients.commits(&mut connection, BOTH, commits).await);
        }
        let (postgres, mariadb) = direct.commits(clients, commits).await;
        in_postgres.push(postgres);
        in_mariadb.push(mariadb);
        if !round.is_multiple_of(2) {
            ours.push(clients.commits(&mut connection, BOTH, commits).await);
        }
    }
    let (ours, postgres, mariadb) = (median(&ours), median(&in_postgres), median(&in_mariadb));
    let ratio = ours / (postgres + mariadb);
    verdicts.judge(
        ratio <= TIME_BUDGET,
        &format!(
            "COMMIT over both: {ours:.3} ms, directly {postgres:.3} ms in PostgreSQL and {mariadb:.3} ms in MariaDB: {ratio:.3} times \
             their sum, at most {TIME_BUDGET}"
        ),
    );
    let figures = json!({ "ours_ms": ours, "postgres_ms": postgres, "mariadb_ms": mariadb, "ratio": ratio });
    results.put("commit_postgres_mariadb", figures);
}

async fn judge_throughput(stores: &Stores, clients: &Clients, (verdicts, results): (&mut Verdicts, &mut Results)) {
    let wait = Duration::from_secs(knob("TRIBUTARY_BENCH_SECONDS", 5).max(1));
    let (mut one, mut many, mut direct_one, mut direct_many) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..3 {
        one.push(clients.per_second(stores, BOTH, (1, wait)).await);
        many.push(clients.per_second(stores, BOTH, (MANY, wait)).await);
        direct_one.push(Direct::per_second(stores, clients, (1, wait)).await);
        direct_many.push(Direct::per_second(stores, clients, (MANY, wait)).await);
    }
    let (one, many, direct_one, direct_many) = (median(&one), median(&many), median(&direct_one), median(&direct_many));
    let ratio = many / one;
    verdicts.judge(
        ratio >= THROUGHPUT_BUDGET,
        &format!("{MANY} clients: {many:.0} commits a second, one: {one:.0}: {ratio:.3} times, at least {THROUGHPUT_BUDGET}"),
    );
    let of_direct = many / direct_many;
    say(format_args!(
        "      directly, without a record of decisions: {direct_many:.0} and {direct_one:.0}, {:.3} times; ours {of_direct:.3} of it with {MANY}",
        direct_many / direct_one
    ));
    let direct = json!({ "one": direct_one, "sixteen": direct_many, "ratio": direct_many / direct_one });
    results.put("commits_per_second", json!({ "one": one, "sixteen": many, "ratio": ratio, "direct": direct }));
}
