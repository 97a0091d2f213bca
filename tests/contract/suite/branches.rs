//! Every kind of branch: what its scans see while others write, and how it ends.

use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use tributary::error::Diagnose;
use tributary::stores::connector::ScanLimits;
use tributary::stores::{Connector, Purpose, Serial, StoreError, Table};

use super::reading::{self, count, seen, whole};
use super::sample;
use super::world::{BIG, World, until};

pub async fn check(world: &dyn World) {
    world.make(&sample::of_keys("rows", 1)).await;
    let connector = world.open("");
    let rows = reading::table(&connector, &world.namespace(), "rows").await;
    let mut next = 2;
    for purpose in every_purpose() {
        next = scans_see_what_the_branch_says(world, (&connector, &rows), purpose, next).await;
    }
    a_long_scan_sees_one_state(world).await;
    a_full_pool_waits_and_says_so(world).await;
}

/// Every purpose of branches that only read, with every choice in it.
fn every_purpose() -> Vec<Purpose> {
    let chosen = |purpose: &Purpose| match purpose {
        Purpose::Statement { .. } => 0,
        Purpose::Transaction { .. } => 1,
        // A new purpose does not compile until it is listed below.
        Purpose::Serializable(Serial::Read | Serial::ReadDeferred) => 2,
        // Where reads are locks, nobody adds rows beside them: see `writes`.
        Purpose::Serializable(Serial::Write) | Purpose::Once | Purpose::Write(_) => 3,
    };
    let mut purposes = [Serial::Read, Serial::ReadDeferred].map(Purpose::Serializable).to_vec();
    purposes.extend([0, 1, 2, 4].map(|scans| Purpose::Statement { scans }));
    for read_only in [false, true] {
        purposes.extend([false, true].map(|repeatable| Purpose::Transaction { read_only, repeatable }));
    }
    let mut kinds: Vec<u8> = purposes.iter().map(chosen).collect();
    kinds.sort_unstable();
    kinds.dedup();
    assert_eq!(kinds, [0, 1, 2]);
    purposes
}

/// Adds a row between two scans. Gives the next free key.
async fn scans_see_what_the_branch_says(
    world: &dyn World,
    (connector, rows): (&Arc<dyn Connector>, &Arc<Table>),
    purpose: Purpose,
    next: i64,
) -> i64 {
    let before = usize::try_from(next).unwrap() - 1;
    let opened = connector.open(purpose).await;
    if matches!(purpose, Purpose::Serializable(_)) && !world.tells().serializable {
        let error = opened.err().unwrap();
        assert!(matches!(error, StoreError::Unsupported { .. }) && error.sqlstate() == "0A000", "{error:?}");
        assert!(error.to_string().contains("\"suite\""), "{error}");
        return next;
    }
    let branch = opened.unwrap();
    let several = !matches!(purpose, Purpose::Statement { scans: 0 | 1 });
    assert_eq!(seen(connector, &*branch, rows).await, before, "{purpose:?}");
    world.append("rows", next).await;
    let shared = branch.shared_snapshot();
    if several {
        let expected = if shared.is_ok() { before } else { before + 1 };
        assert_eq!(seen(connector, &*branch, rows).await, expected, "{purpose:?} {shared:?}");
    }
    if matches!(purpose, Purpose::Transaction { repeatable: true, .. } | Purpose::Serializable(_)) {
        assert_eq!(shared, Ok(()), "{purpose:?}");
    }
    // Ended in turn in each way.
    match next % 3 {
        0 => assert_eq!(branch.commit().await.unwrap(), None, "{purpose:?}"),
        1 => branch.rollback().await.unwrap(),
        _ => {}
    }
    drop(branch);
    until("the end of the branch", async || world.busy().await == 0).await;
    let later = connector.open(reading::ALONE).await.unwrap();
    assert_eq!(seen(connector, &*later, rows).await, before + 1, "{purpose:?}");
    next + 1
}

/// All rows go while a scan is under way; it still gives all of them, or says that it cannot.
async fn a_long_scan_sees_one_state(world: &dyn World) {
    world.make_big().await;
    let connector = world.open("");
    let big = reading::table(&connector, &world.namespace(), "big").await;
    let branch = connector.open(reading::ALONE).await.unwrap();
    let limits = ScanLimits { batch_rows: 1_000, ..ScanLimits::default() };
    let mut stream = branch.scan(&big, &whole(&connector, &big, Vec::new()), limits).await.unwrap();
    let first = stream.next().await.unwrap().unwrap();
    world.clear("big").await;
    let rest: Vec<_> = stream.try_collect().await.unwrap();
    assert_eq!(first.num_rows() + count(&rest), BIG);
    drop(branch);
    assert_eq!(count(&reading::read_all(&connector, &big).await.unwrap()), 0);
}

async fn a_full_pool_waits_and_says_so(world: &dyn World) {
    world.drop_table("big").await;
    world.make_big().await;
    let holds = world.tells().scans_hold_connections;
    let connector = world.open(if holds { "pool.size = 1\npool.wait = '200ms'" } else { "pool.size = 1" });
    let big = reading::table(&connector, &world.namespace(), "big").await;
    let rows = reading::table(&connector, &world.namespace(), "rows").await;
    let branch = connector.open(reading::ALONE).await.unwrap();
    let mut stream = branch.scan(&big, &whole(&connector, &big, Vec::new()), ScanLimits::default()).await.unwrap();
    stream.next().await.unwrap().unwrap();
    let beside = tokio::time::timeout(Duration::from_secs(30), reading::read_all(&connector, &rows)).await.unwrap();
    if holds {
        let error = beside.unwrap_err();
        assert!(matches!(error, StoreError::Deadline { limit_ms: 200, .. }), "{error:?}");
    } else {
        assert!(count(&beside.unwrap()) > 0);
    }
    drop((stream, branch));
    // Free again as soon as the dropped scan has stopped.
    until("a free connection", async || reading::read_all(&connector, &rows).await.is_ok()).await;
}
