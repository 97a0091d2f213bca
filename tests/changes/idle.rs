//! What feeds cost that have nothing to tell.

use std::time::Duration;

use super::follow::until_streaming;
use crate::commit::stage::{FOLLOWED, Lines, Stage};

/// How long it is watched.
const WHILE: Duration = Duration::from_secs(20);
/// Clock ticks of a second, as `/proc` counts (proc(5), `sysconf(_SC_CLK_TCK)` is 100 on every Linux).
const TICKS: u64 = 100;

/// User and system time of a process in ticks.
fn used(process: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    // The name in parentheses may hold anything.
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn feeds_of_postgres_mariadb_mongodb_and_a_file_rest_when_nobody_writes() {
    let stores = ["pg", "maria", "mongo", "east"];
    let stage = Stage::start_with(&stores, Lines { store: FOLLOWED, ..Lines::default() }, "").await;
    let session = stage.session().await;
    for store in stores {
        until_streaming(&session, store, &["accounts"]).await;
    }
    let process = stage.proxy.process_id().unwrap();
    let before = used(process);
    tokio::time::sleep(WHILE).await;
    let ticks = used(process) - before;
    // The bench holds the optimised program to 1 %; without optimisation everything takes several times as long.
    let most = TICKS * WHILE.as_secs() / 100 * if cfg!(debug_assertions) { 5 } else { 1 };
    assert!(ticks <= most, "{ticks} ticks in {WHILE:?}, at most {most}");
}
