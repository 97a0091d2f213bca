//! **Question:** how soon after its commit is a row seen in a copy of its table, what does a read of a copy cost against its store, how
//! fast are changes taken into a copy, and what do they do to those who read?
//!
//! **Data:** one row a write into a table of PostgreSQL, MariaDB, SQLite and a collection of MongoDB, past Tributary
//! (`TRIBUTARY_BENCH_WRITES`, 500 for each). 300,000 accounts and as many orders in PostgreSQL with a tenth as many customers in MariaDB
//! and profiles in MongoDB (`TRIBUTARY_BENCH_ROWS`), all of them copied, and a join of these three that is computed from the copies, then
//! given as a result that is kept, then read from a materialized view. Then 300,000 rows written in transactions of 500 while
//! Tributary is stopped (`TRIBUTARY_BENCH_BACKLOG`). Two views that join a table of PostgreSQL with the customers, of 10,000 rows and of
//! 1,000,000 (`TRIBUTARY_BENCH_VIEW`), and single changes of them (`TRIBUTARY_BENCH_CHANGES`, 300 in a round). Rounds (`TRIBUTARY_BENCH_ROUNDS`, 3) of `TRIBUTARY_BENCH_SECONDS` (5).
//!
//! **Baseline:** for point reads the same pgbench on PostgreSQL itself, prepared, by turns; for joins the same statement with
//! `tributary.consistency = store`; for changes `pg_recvlogical` that writes the same log to `/dev/null` from a slot that is equal to
//! ours; for readers the same readers while as many rows of a table are changed that is not followed, so that PostgreSQL's own work
//! beside them is in both figures, and all of Tributary's in one. What they do while nobody writes is shown.
//!
//! **Measured:** from the answer to a commit to the answer of the first read of the copy that has the row, asked again and again. Reads
//! that the store had to answer would be quick and wrong to count: where there is one, the figure is not kept. That a join was given its
//! result, and read from its view, is counted too, and each of its answers is compared with that of the stores. Changes from the moment
//! at which Tributary goes on until the copy has all rows, with its processor time; some megabytes of the log wait in the socket by
//! then. Of a view from the commit of one row until a client is told that the rows are others, and the processor time of Tributary for
//! that. Writers beside readers do not wait for the disk (`synchronous_commit = off`). Tributary is a process of its own and built to be
//! measured.
//!
//! **Budget:** rows of PostgreSQL, MariaDB and MongoDB are seen within 5 ms in the middle and 50 ms for 99 of 100, those of SQLite
//! within its poll (25 ms) on top in the middle. A point read of a copy makes at least the throughput of PostgreSQL with 16 clients. A
//! join of three stores whose result is kept is at least 20 times as fast; what one costs that is computed from copies, or read from a
//! view, is shown and not judged. Changes go into a copy at least half as fast as by `pg_recvlogical`. Readers make at least 0.8 times as
//! much while 10,000 changes a second are taken in, the copy has them all within a second after the last, and no read goes to the store
//! meanwhile. A change costs the larger view at most twice as much as the smaller one.

mod apply;
mod joined;
#[path = "../measure/mod.rs"]
mod measure;
#[path = "../changes/numbers.rs"]
mod numbers;
mod parties;
#[path = "../lookup/pgbench.rs"]
mod pgbench;
mod readers;
#[path = "../measure/results.rs"]
mod results;
#[path = "../changes/servers.rs"]
mod servers;
mod stores;
mod viewed;
mod visible;
#[path = "../changes/writer.rs"]
mod writer;

use std::process::ExitCode;

use measure::{Verdicts, is_wanted, must, say_machine};
use results::Results;
use stores::Stores;

fn main() -> ExitCode {
    if !is_wanted() {
        return ExitCode::SUCCESS;
    }
    say_machine("cache");
    let runtime = must(tokio::runtime::Builder::new_multi_thread().enable_all().build());
    runtime.block_on(Box::pin(run())).end()
}

async fn run() -> Verdicts {
    let (mut verdicts, mut results) = (Verdicts::default(), Results::of("cache"));
    let stores = Box::pin(Stores::start()).await;
    Box::pin(visible::judge(&stores, &mut verdicts, &mut results)).await;
    Box::pin(readers::judge_points(&stores, &mut verdicts, &mut results)).await;
    Box::pin(joined::judge(&stores, &mut verdicts, &mut results)).await;
    Box::pin(readers::judge_beside(&stores, &mut verdicts, &mut results)).await;
    Box::pin(viewed::judge(&stores, &mut verdicts, &mut results)).await;
    Box::pin(apply::judge(&stores, &mut verdicts, &mut results)).await;
    results.write();
    verdicts
}
