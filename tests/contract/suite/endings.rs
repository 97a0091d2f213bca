//! Closing a store, with scans and transactions still open.

use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt};
use tributary::error::Diagnose;
use tributary::stores::connector::ScanLimits;
use tributary::stores::{Purpose, StoreError};

use super::reading::{self, told, whole};
use super::world::{BIG, World, until};

/// The longest that closing a store may take.
const PATIENCE: Duration = Duration::from_secs(10);

pub async fn check(world: &dyn World) {
    a_store_that_was_never_used_closes(world).await;
    closing_does_not_wait_for_readers(world).await;
}

async fn a_store_that_was_never_used_closes(world: &dyn World) {
    let connector = world.open("");
    tokio::time::timeout(PATIENCE, connector.close()).await.unwrap();
    assert!(matches!(connector.ping().await, Err(StoreError::Unreachable { .. })));
    tokio::time::timeout(PATIENCE, connector.close()).await.unwrap();
}

async fn closing_does_not_wait_for_readers(world: &dyn World) {
    world.make_big().await;
    let connector = world.open("");
    let big = reading::table(&connector, &world.namespace(), "big").await;
    let idle = connector.open(Purpose::Transaction { read_only: true, repeatable: true }).await.unwrap();
    assert_eq!(reading::seen(&connector, &*idle, &big).await, BIG);
    let branch = connector.open(reading::ALONE).await.unwrap();
    let limits = ScanLimits { batch_rows: 100, ..ScanLimits::default() };
    let mut stream = branch.scan(&big, &whole(&connector, &big, Vec::new()), limits).await.unwrap();
    let first = stream.next().await.unwrap().unwrap().num_rows();
    let begun = Instant::now();
    connector.close().await;
    assert!(begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
    for error in [
        connector.ping().await.unwrap_err(),
        connector.discover().await.unwrap_err(),
        connector.open(Purpose::Statement { scans: 2 }).await.err().unwrap(),
        reading::read_all(&connector, &big).await.unwrap_err(),
    ] {
        assert!(matches!(error, StoreError::Unreachable { .. }), "{error:?}");
        assert!(error.sqlstate() == "08001" && told(&error).contains("suite"), "{error:?}");
    }
    // What was under way may be finished or fail; it is never short.
    if let Ok(rest) = stream.try_collect::<Vec<_>>().await {
        assert_eq!(first + reading::count(&rest), BIG);
    }
    drop((branch, idle));
    if world.tells().ends_readers {
        until("the end of everything", async || world.busy().await == 0).await;
    }
}
