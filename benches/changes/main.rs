//! **Question:** how long after its commit does a client that listens hear of a change, how fast is a backlog read, and what do feeds
//! cost that have nothing to tell?
//!
//! **Data:** one row a write into a table of PostgreSQL, MariaDB, SQLite and a collection of MongoDB, 200 a second, past Tributary;
//! `TRIBUTARY_BENCH_WRITES` changes how many (2,000). Then transactions of MongoDB of two documents each, one by one and so far apart that
//! nothing that follows tells the end of any. Then backlogs of 500,000 changed rows in transactions of 500 and of 100,000 in
//! transactions of one (`TRIBUTARY_BENCH_ROWS` and `TRIBUTARY_BENCH_SINGLES`), in `TRIBUTARY_BENCH_ROUNDS` rounds (3).
//!
//! **Baseline:** `pg_recvlogical` that writes the same stream of PostgreSQL's log to `/dev/null`, from a slot that is equal to ours; each
//! round both read the same backlog, by turns first.
//!
//! **Measured:** from the answer to COMMIT to the notification at the client, where one that comes earlier took no time; the writer's own
//! time is shown beside it. From the moment at which a slot is read to the end of the backlog, for us until it is synced in our log, and
//! the processor time of Tributary, which is a process of its own and built to be measured.
//!
//! **Budget:** notifications of PostgreSQL, MariaDB and MongoDB within 5 ms in the middle and 50 ms for 99 of 100; of SQLite within its
//! poll (25 ms) and 5 ms, for 99 of 100 too. Transactions of MongoDB within the `max_await_time` of its feed (100 ms), which is how long the
//! server waits before it says that nothing more is there, and the 5 ms that every notification has, for 99 of 100. A backlog of PostgreSQL
//! at least half as fast as by `pg_recvlogical`, and 50,000 rows for each second of processor time, in transactions of many and of one.
//! Less than 1 % of a processor while nobody writes.

mod backlog;
mod latency;
#[path = "../measure/mod.rs"]
mod measure;
mod numbers;
#[path = "../measure/results.rs"]
mod results;
mod servers;
mod stores;
mod transactions;
mod writer;

use std::process::ExitCode;
use std::time::Duration;

use measure::{Verdicts, is_wanted, must, say_machine};
use results::Results;
use serde_json::json;
use stores::Stores;

/// Most of a processor while nobody writes.
const IDLE_BUDGET: f64 = 0.01;
/// How long that is watched.
const IDLE: Duration = Duration::from_secs(20);

fn main() -> ExitCode {
    if !is_wanted() {
        return ExitCode::SUCCESS;
    }
    say_machine("changes");
    let runtime = must(tokio::runtime::Builder::new_multi_thread().enable_all().build());
    runtime.block_on(Box::pin(run())).end()
}

async fn run() -> Verdicts {
    let (mut verdicts, mut results) = (Verdicts::default(), Results::of("changes"));
    let mut stores = Box::pin(Stores::start()).await;
    Box::pin(latency::judge(&stores, &mut verdicts, &mut results)).await;
    Box::pin(transactions::judge(&stores, &mut verdicts, &mut results)).await;
    judge_idle(&stores, &mut verdicts, &mut results).await;
    Box::pin(backlog::judge(&mut stores, &mut verdicts, &mut results)).await;
    Box::pin(backlog::show_others(&mut stores, &mut results)).await;
    results.write();
    verdicts
}

async fn judge_idle(stores: &Stores, verdicts: &mut Verdicts, results: &mut Results) {
    let before = stores.processor_time();
    tokio::time::sleep(IDLE).await;
    let share = (stores.processor_time() - before).as_secs_f64() / IDLE.as_secs_f64();
    let claim = format!("four feeds without changes: {:.2} % of a processor, less than {} %", share * 1e2, IDLE_BUDGET * 1e2);
    verdicts.judge(share < IDLE_BUDGET, &claim);
    results.put("idle", json!({ "processor_share": share }));
}
