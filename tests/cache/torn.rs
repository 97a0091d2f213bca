//! Transactions over two tables of a store: no statement sees one of them in part, at any consistency, wherever it reads.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tributary::task::OwnedTask;

use super::behind::Behind;
use super::copies::{reads_by, until_cached};
use super::world::{self, World};
use crate::changes::room::Room;
use crate::commit::stage::{ACCOUNTS, START};
use crate::support::proxy::Session;

/// Reads of each kind.
const READS: usize = 24;
/// Transactions for each of them: no more than every feed follows, however slow the machine is.
const WRITES: usize = 8;

/// Gives every key of both tables one number after the other, one transaction a permit, until it is stopped.
fn writing(mut behind: Behind, newest: Arc<AtomicI64>, turns: Arc<Semaphore>, stop: CancellationToken) -> OwnedTask<Behind> {
    OwnedTask::spawn(async move {
        let keys: Vec<i64> = (1..=ACCOUNTS).collect();
        while let Some(turn) = stop.run_until_cancelled(turns.acquire()).await {
            turn.expect("turns are not taken away").forget();
            let number = newest.load(Ordering::SeqCst) + 1;
            behind.keep(number, &keys).await;
            newest.store(number, Ordering::SeqCst);
        }
        behind
    })
}

/// Statements over both tables, whose rows have only numbers of one transaction.
fn statements(store: &str) -> [String; 4] {
    [
        format!("SELECT a.balance, m.amount FROM {store}.accounts a JOIN {store}.moves m ON m._id = a._id"),
        format!(
            "SELECT (SELECT balance FROM {store}.accounts WHERE _id = 1), (SELECT amount FROM {store}.moves WHERE _id = 12), \
             (SELECT max(balance) FROM {store}.accounts), (SELECT min(amount) FROM {store}.moves)"
        ),
        format!("SELECT balance FROM {store}.accounts UNION ALL SELECT amount FROM {store}.moves"),
        format!("SELECT min(a.balance), max(a.balance), min(b.balance) FROM {store}.accounts a, {store}.accounts b"),
    ]
}

/// One statement; fails where numbers of two transactions are in it.
async fn assert_whole(session: &Session, sql: &str, how: &str) {
    let rows = session.rows(sql).await.unwrap_or_else(|failure| panic!("{sql}: {failure:?}"));
    let mut numbers: Vec<&str> = rows.iter().flat_map(|row| row.split('|')).collect();
    assert!(!numbers.is_empty(), "{sql} gives nothing");
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), 1, "{how}: {sql} gives {rows:?}");
}

/// Reads while one writes. `prepare` says what happens before each round of reads.
async fn whole(world: World, (levels, on_stale): Ways<'_>, prepare: impl AsyncFn(&Room, usize)) {
    let store = world.store;
    let address = world.address();
    let (room, behind) = world.into_writer();
    let (newest, stop) = (Arc::new(AtomicI64::new(START)), CancellationToken::new());
    let turns = Arc::new(Semaphore::new(WRITES));
    let writer = writing(behind, Arc::clone(&newest), Arc::clone(&turns), stop.clone());
    let session = super::copies::reader(address, &[("max_staleness", "10s")]).await;
    for round in 0..READS {
        prepare(&room, round).await;
        for level in levels {
            for on_stale in on_stale {
                reads_by(&session, &[("consistency", *level), ("on_stale", *on_stale)]).await;
                turns.add_permits(WRITES.saturating_sub(turns.available_permits()));
                let sql = &statements(store)[round % 4];
                assert_whole(&session, sql, &format!("{store}, {level}, {on_stale}")).await;
            }
        }
    }
    stop.cancel();
    writer.join().await.expect("the writer has failed");
    assert!(newest.load(Ordering::SeqCst) > START, "nothing was written meanwhile");
}

/// Levels of consistency, and what becomes of reads for which no copy is fresh enough.
type Ways<'a> = (&'a [&'a str], &'a [&'a str]);

const ALL: Ways<'_> = (&["eventual", "session", "bounded", "strong", "store"], &["store", "wait"]);
/// What copies give: scans of a statement that MariaDB itself is asked for see several states where somebody always writes, and EXPLAIN
/// says so.
const OF_COPIES: Ways<'_> = (&["eventual", "session", "bounded", "strong"], &["wait"]);

#[tokio::test(flavor = "multi_thread")]
async fn no_transaction_of_postgres_is_seen_in_part() {
    Box::pin(whole(world::of_postgres().await, ALL, async |_, _| {})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_transaction_of_mariadb_is_seen_in_part() {
    Box::pin(whole(world::of_mariadb().await, OF_COPIES, async |_, _| {})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_transaction_of_mongodb_is_seen_in_part() {
    Box::pin(whole(world::of_mongodb().await, ALL, async |_, _| {})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_transaction_of_a_file_is_seen_in_part() {
    Box::pin(whole(world::of_sqlite().await, ALL, async |_, _| {})).await;
}

/// A statement over a table that has a copy and one that has none at that moment takes both from one state too, which is the store's.
#[tokio::test(flavor = "multi_thread")]
async fn no_transaction_of_postgres_is_seen_in_part_where_one_of_its_tables_is_not_cached() {
    let world = world::of_postgres().await;
    let session = world.reader(&[]).await;
    session.answer("ALTER TABLE pg.moves SET (tributary.cached = false)").await;
    Box::pin(whole(world, (&["eventual", "session", "strong"], &["store", "wait"]), async |_, _| {})).await;
}

/// The same while the copies are loaded again and again, one after the other.
#[tokio::test(flavor = "multi_thread")]
async fn no_transaction_of_postgres_is_seen_in_part_while_its_copies_are_loaded() {
    let world = world::of_postgres().await;
    let loads = async |room: &Room, round: usize| {
        if round.is_multiple_of(4) {
            for table in ["accounts", "moves"] {
                room.session().answer(&format!("CALL tributary.reload_cache('pg.{table}')")).await;
            }
        }
        if round % 8 == 7 {
            until_cached(room.session(), "pg", &["accounts", "moves"]).await;
        }
    };
    Box::pin(whole(world, (&["eventual", "session", "strong"], &["store", "wait"]), loads)).await;
}
