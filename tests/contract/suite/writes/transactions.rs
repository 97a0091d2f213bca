//! Transactions that write: what they and others see, how they end, and what a savepoint brings back.

use std::sync::Arc;

use tributary::error::{Diagnose, sqlstate};
use tributary::stores::{Branch, Connector, Purpose, Serial, StoreError, WriteIsolation, edit};

use super::super::world::{World, until};
use super::{Target, run};

const LEVELS: [WriteIsolation; 3] = [WriteIsolation::ReadCommitted, WriteIsolation::RepeatableRead, WriteIsolation::Serializable];

pub(super) async fn check(world: &dyn World) {
    let target = Target::make(world, "shared").await;
    for level in LEVELS {
        a_transaction_is_kept_or_undone(world, &target, level).await;
    }
    a_block_that_has_read_writes(&target, Purpose::Transaction { read_only: false, repeatable: true }).await;
    if world.tells().serializable {
        a_block_that_has_read_writes(&target, Purpose::Serializable(Serial::Write)).await;
        what_was_read_stays_or_nothing_is_written(world, &target).await;
    }
    savepoints_bring_back_what_was(world, &target).await;
    many_rows_are_written_in_pieces(&target).await;
    a_read_only_store_says_so(world, &target).await;
}

async fn begin(connector: &Arc<dyn Connector>, level: WriteIsolation) -> Result<Arc<dyn Branch>, StoreError> {
    connector.open(Purpose::Write(level)).await
}

async fn a_transaction_is_kept_or_undone(world: &dyn World, target: &Target, level: WriteIsolation) {
    let before = target.keys().await;
    let opened = begin(&target.connector, level).await;
    if level == WriteIsolation::Serializable && !world.tells().serializable {
        assert_eq!(opened.err().unwrap().sqlstate(), "0A000");
        return;
    }
    let branch = opened.unwrap();
    assert!(!branch.has_written(), "{level:?}");
    let both = [before.clone(), vec![50, 51]].concat();
    assert_eq!(run(&*branch, &target.insert(&[50, 51], None, Vec::new())).await.unwrap().rows, 2);
    assert!(branch.has_written(), "{level:?}");
    assert_eq!(target.seen_by(&*branch).await, both, "{level:?}: its own writes are seen");
    assert_eq!(target.keys().await, before, "{level:?}: nobody else sees them");
    assert_eq!(run(&*branch, &target.update(&[50], &[1], Vec::new())).await.unwrap().rows, 1);
    assert_eq!(run(&*branch, &target.delete(&[51], Vec::new())).await.unwrap().rows, 1);
    assert_eq!(target.seen_by(&*branch).await, [before.clone(), vec![50]].concat());
    branch.rollback().await.unwrap();
    assert_eq!(target.keys().await, before, "{level:?}: nothing is left");
    // A branch that is dropped is undone too, and holds nobody up.
    let branch = begin(&target.connector, level).await.unwrap();
    run(&*branch, &target.update(&[1], &[0], Vec::new())).await.unwrap();
    drop(branch);
    until("the row that was held", async || world.touch("shared", "n", 1).await).await;
    assert_eq!(target.rows().await[0].1.unwrap() % 100, 10, "{level:?}: only what was added to the first value is there");
    let branch = begin(&target.connector, level).await.unwrap();
    run(&*branch, &target.insert(&[50], None, Vec::new())).await.unwrap();
    branch.commit().await.unwrap();
    assert_eq!(target.keys().await, [before.clone(), vec![50]].concat());
    target.once(&target.delete(&[50], Vec::new())).await.unwrap();
}

/// A repeatable block reads first and writes later, through the same branch.
async fn a_block_that_has_read_writes(target: &Target, purpose: Purpose) {
    let before = target.keys().await;
    let branch = target.connector.open(purpose).await.unwrap();
    branch.savepoint(1).await.unwrap();
    branch.release(1).await.unwrap();
    assert_eq!(target.seen_by(&*branch).await, before);
    assert_eq!(run(&*branch, &target.insert(&[60], None, Vec::new())).await.unwrap().rows, 1);
    assert_eq!(target.seen_by(&*branch).await, [before.clone(), vec![60]].concat());
    assert_eq!(target.keys().await, before);
    branch.commit().await.unwrap();
    assert_eq!(target.keys().await, [before.clone(), vec![60]].concat());
    target.once(&target.delete(&[60], Vec::new())).await.unwrap();
}

/// A serializable block reads all rows and writes one of them. Somebody else adds to another row meanwhile, waits, or makes it fail.
async fn what_was_read_stays_or_nothing_is_written(world: &dyn World, target: &Target) {
    let before = target.rows().await;
    let branch = target.connector.open(Purpose::Serializable(Serial::Write)).await.unwrap();
    target.seen_by(&*branch).await;
    let has_changed = world.touch("shared", "n", 2).await;
    let outcome = match run(&*branch, &target.update(&[1], &[before[0].1.unwrap() + 100], Vec::new())).await {
        Ok(_) => branch.commit().await.map(|_| ()),
        Err(error) => Err(error),
    };
    let written = match outcome {
        Ok(()) => true,
        Err(error) => {
            assert_eq!(error.sqlstate(), sqlstate::SERIALIZATION_FAILURE, "{error:?}");
            drop(branch.rollback().await);
            false
        }
    };
    let after = target.rows().await;
    assert_eq!(after[0].1 != before[0].1, written);
    assert_eq!(after[1].1 != before[1].1, has_changed);
    // A block that only reads ends well.
    let branch = target.connector.open(Purpose::Serializable(Serial::Write)).await.unwrap();
    assert_eq!(target.seen_by(&*branch).await.len(), before.len());
    assert!(!branch.has_written());
    branch.commit().await.unwrap();
    until("the row", async || world.touch("shared", "n", 2).await).await;
}

async fn savepoints_bring_back_what_was(world: &dyn World, target: &Target) {
    let before = target.keys().await;
    let branch = begin(&target.connector, WriteIsolation::ReadCommitted).await.unwrap();
    branch.savepoint(1).await.unwrap();
    branch.roll_back_to(1).await.unwrap();
    run(&*branch, &target.insert(&[70], None, Vec::new())).await.unwrap();
    branch.savepoint(2).await.unwrap();
    branch.release(2).await.unwrap();
    branch.savepoint(3).await.unwrap();
    run(&*branch, &target.insert(&[71], None, Vec::new())).await.unwrap();
    let back = branch.roll_back_to(3).await;
    if !world.tells().savepoints {
        assert_eq!(back.unwrap_err().sqlstate(), "0A000");
        branch.rollback().await.unwrap();
        assert_eq!(target.keys().await, before);
        return;
    }
    back.unwrap();
    assert_eq!(target.seen_by(&*branch).await, [before.clone(), vec![70]].concat());
    assert!(branch.has_written());
    // A failure is undone as well, and the savepoint is still there.
    let error = run(&*branch, &target.insert(&[72, 1], None, Vec::new())).await.unwrap_err();
    assert_eq!(error.sqlstate(), sqlstate::UNIQUE_VIOLATION);
    branch.roll_back_to(3).await.unwrap();
    assert_eq!(target.seen_by(&*branch).await, [before.clone(), vec![70]].concat());
    run(&*branch, &target.insert(&[73], None, Vec::new())).await.unwrap();
    branch.release(3).await.unwrap();
    branch.commit().await.unwrap();
    assert_eq!(target.keys().await, [before.clone(), vec![70, 73]].concat());
    target.once(&target.delete(&[70, 73], Vec::new())).await.unwrap();
}

/// More rows than one statement of the store takes, and none of them where one is there already.
async fn many_rows_are_written_in_pieces(target: &Target) {
    let each = target.connector.rows_of_edit();
    assert!(each >= 1);
    let before = target.keys().await;
    let keys: Vec<i64> = (1_000..).take(each.min(2_000) * 2 + 1).collect();
    let pieces = edit::slice(&target.insert(&keys, None, Vec::new()), each.min(2_000));
    assert_eq!(pieces.len(), 3);
    for kept in [false, true] {
        let branch = begin(&target.connector, WriteIsolation::ReadCommitted).await.unwrap();
        let mut rows = 0;
        for piece in &pieces {
            rows += run(&*branch, piece).await.unwrap().rows;
        }
        assert_eq!(rows, u64::try_from(keys.len()).unwrap());
        if kept {
            branch.commit().await.unwrap();
        } else {
            assert!(run(&*branch, &pieces[0]).await.is_err(), "all of them are there");
            branch.rollback().await.unwrap();
            assert_eq!(target.keys().await, before);
        }
    }
    assert_eq!(target.keys().await.len(), before.len() + keys.len());
    let gone = target.connector.open(Purpose::Write(WriteIsolation::ReadCommitted)).await.unwrap();
    let mut rows = 0;
    for piece in edit::slice(&target.delete(&keys, Vec::new()), each.min(2_000)) {
        rows += run(&*gone, &piece).await.unwrap().rows;
    }
    gone.commit().await.unwrap();
    assert_eq!((rows, target.keys().await), (u64::try_from(keys.len()).unwrap(), before));
}

async fn a_read_only_store_says_so(world: &dyn World, target: &Target) {
    assert!(!target.connector.is_read_only());
    let closed = Target::of(world.open("read_only = true"), world, "shared").await;
    assert!(closed.connector.is_read_only());
    let before = closed.keys().await;
    for purpose in [Purpose::Once, Purpose::Write(WriteIsolation::ReadCommitted)] {
        let outcome = match closed.connector.open(purpose).await {
            Ok(branch) => run(&*branch, &closed.insert(&[80], None, Vec::new())).await.map(drop),
            Err(error) => Err(error),
        };
        let error = outcome.unwrap_err();
        assert_eq!(error.sqlstate(), sqlstate::READ_ONLY_SQL_TRANSACTION, "{purpose:?}: {error:?}");
    }
    assert_eq!(closed.keys().await, before);
}
