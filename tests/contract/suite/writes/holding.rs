//! Rows that somebody holds, edits that are stopped while they wait, and stores that are lost meanwhile.

use std::time::Duration;

use futures::TryStreamExt;
use tokio_util::sync::CancellationToken;
use tributary::error::{Diagnose, sqlstate};
use tributary::stores::connector::ScanLimits;
use tributary::stores::lock::{RowLock, Strength, Waiting};
use tributary::stores::{Purpose, StoreError, WriteIsolation};

use super::super::reading::{self, count};
use super::super::world::{World, until};
use super::{Target, run};

/// Long enough for an edit to reach the store and wait there. Nothing that is checked depends on it.
const A_WHILE: Duration = Duration::from_millis(400);

/// The longest that an edit may go on after it was stopped or lost its store.
const SOON: Duration = Duration::from_secs(20);

pub(super) async fn check(world: &dyn World) {
    let target = Target::make(world, "held").await;
    rows_that_are_read_for_update_stay(world, &target).await;
    rows_that_are_locked_stay(world, &target).await;
    a_stopped_edit_tells_the_truth(world).await;
    a_lost_store_leaves_nothing_half_done(world).await;
}

/// Nobody else changes what was read, or the edit of it fails.
async fn rows_that_are_read_for_update_stay(world: &dyn World, target: &Target) {
    let branch = target.connector.open(Purpose::Write(WriteIsolation::ReadCommitted)).await.unwrap();
    let scan = branch.scan_for_update(&target.table, &target.one(1), ScanLimits::default()).await.unwrap();
    let read: Vec<_> = scan.try_collect().await.unwrap();
    assert_eq!((count(&read), reading::keys(&read)), (1, vec![1]));
    let changed = world.touch("held", "n", 1).await;
    let outcome = run(&*branch, &target.update(&[1], &[11], Vec::new())).await;
    if changed {
        let error = outcome.unwrap_err();
        assert_eq!(error.sqlstate(), "40001", "what somebody else has changed since is not written over: {error:?}");
        branch.rollback().await.unwrap();
        assert_eq!(target.rows().await[0].1, Some(110));
    } else {
        assert_eq!(outcome.unwrap().rows, 1);
        branch.commit().await.unwrap();
        assert_eq!(target.rows().await[0].1, Some(11));
    }
    until("the row", async || world.touch("held", "n", 1).await).await;
}

/// What a client locks stays locked until the end, in each strength; or the store says that it locks nothing.
async fn rows_that_are_locked_stay(world: &dyn World, target: &Target) {
    for strength in [Strength::KeyShare, Strength::Share, Strength::NoKeyUpdate, Strength::Update] {
        let lock = RowLock { strength, waiting: Waiting::Wait };
        let branch = target.connector.open(Purpose::Write(WriteIsolation::ReadCommitted)).await.unwrap();
        let opened = branch.scan_locked(&target.table, &target.one(4), lock, &[], ScanLimits::default()).await;
        if target.connector.accepts_lock(&target.table, lock).is_err() {
            assert_eq!(opened.err().unwrap().sqlstate(), "0A000", "{lock:?}");
            branch.rollback().await.unwrap();
            continue;
        }
        let read: Vec<_> = opened.unwrap().try_collect().await.unwrap();
        assert_eq!((count(&read), reading::keys(&read)), (1, vec![4]), "{lock:?}");
        assert!(!branch.has_written(), "{lock:?}");
        let was_changed = world.touch("held", "n", 4).await;
        // The weakest keeps others from the key of the row alone, where a store has it.
        assert!(!was_changed || strength == Strength::KeyShare, "{lock:?}");
        branch.commit().await.unwrap();
        until("the row", async || world.touch("held", "n", 4).await).await;
    }
}

async fn a_stopped_edit_tells_the_truth(world: &dyn World) {
    let target = Target::of(world.open("pool.size = 1"), world, "held").await;
    let before = target.rows().await;
    let held = world.hold("held", "n", 2).await;
    let stop = CancellationToken::new();
    let edit = target.update(&[2], &[-1], Vec::new());
    let branch = target.connector.open(Purpose::Once).await.unwrap();
    let waiting = tokio::time::timeout(SOON, branch.edit(&edit, &stop));
    let stopping = async {
        tokio::time::sleep(A_WHILE).await;
        stop.cancel();
    };
    let (outcome, ()) = tokio::join!(waiting, stopping);
    let error = outcome.unwrap().unwrap_err();
    // A file's lock is waited for in one go, which may end first.
    let is_told = matches!(error, StoreError::Cancelled) || !world.way().await.breaks();
    assert!(is_told && ["57014", "55P03"].contains(&error.sqlstate()), "{error:?}");
    drop(branch);
    drop(held);
    until("the row", async || world.touch("held", "n", 5).await).await;
    let after = target.rows().await;
    assert_eq!(after[1], before[1], "a stopped edit has changed nothing");
    // The one connection of the pool is as good as new.
    for _ in 0..3 {
        assert_eq!(target.once(&edit).await.unwrap().rows, 1);
    }
    assert_eq!(target.rows().await[1].1, Some(-1));
}

async fn a_lost_store_leaves_nothing_half_done(world: &dyn World) {
    let way = world.way().await;
    if !way.breaks() {
        return;
    }
    let target = Target::of(world.open_at(way.at(), world.quick()), world, "held").await;
    let here = Target::of(world.open(""), world, "held").await;
    // Before anything is sent.
    way.cut().await;
    let error = tokio::time::timeout(SOON, target.once(&target.insert(&[90], None, Vec::new()))).await.unwrap().unwrap_err();
    assert!(error.sqlstate().starts_with("08"), "{error:?}");
    way.mend().await;
    until("the store's return", async || target.connector.ping().await.is_ok()).await;
    assert!(!here.keys().await.contains(&90), "{error:?}");
    // While the store works on an edit that it commits by itself: nobody knows, and nobody tries again.
    let held = world.hold("held", "n", 3).await;
    let branch = target.connector.open(Purpose::Once).await.unwrap();
    let edit = target.update(&[3], &[-3], Vec::new());
    let waiting = tokio::time::timeout(SOON, run(&*branch, &edit));
    let cutting = async {
        tokio::time::sleep(A_WHILE).await;
        way.cut().await;
    };
    let (outcome, ()) = tokio::join!(waiting, cutting);
    let error = outcome.unwrap().unwrap_err();
    assert!(matches!(error, StoreError::OutcomeUnknown { .. }), "{error:?}");
    assert_eq!(error.sqlstate(), sqlstate::TRANSACTION_RESOLUTION_UNKNOWN);
    drop((branch, held));
    way.mend().await;
    until("the store's return", async || target.connector.ping().await.is_ok()).await;
    // In a transaction: it is gone with the connection.
    let branch = target.connector.open(Purpose::Write(WriteIsolation::ReadCommitted)).await.unwrap();
    run(&*branch, &target.insert(&[91], None, Vec::new())).await.unwrap();
    way.cut().await;
    let error = tokio::time::timeout(SOON, run(&*branch, &target.insert(&[92], None, Vec::new()))).await.unwrap().unwrap_err();
    assert!(error.sqlstate().starts_with("08") && !matches!(error, StoreError::OutcomeUnknown { .. }), "{error:?}");
    assert!(tokio::time::timeout(SOON, branch.commit()).await.unwrap().is_err());
    drop(branch);
    way.mend().await;
    until("the store's return", async || target.connector.ping().await.is_ok()).await;
    let keys = here.keys().await;
    assert!(!keys.contains(&91) && !keys.contains(&92), "{keys:?}");
    assert_eq!(target.once(&target.insert(&[93], None, Vec::new())).await.unwrap().rows, 1);
}
