//! Transactions over several stores, as one store takes part in them: prepared and ended later, by whoever may, or committed with a mark
//! that says so for ever.

use std::sync::Arc;

use tributary::stores::commit::{BranchId, Gid, Hint, LogId, MarkId, MarkOf, Numbers, OwnTable, Part, Resolved, Verdict, Vote};
use tributary::stores::{Branch, Connector, Purpose, WriteIsolation};

use super::super::reading;
use super::super::world::{World, until};
use super::{Target, run};

pub(super) async fn check(world: &dyn World) {
    let target = Target::make(world, "promised").await;
    // A log of its own, as others may use the same server.
    let numbers = Arc::new(Numbers::new(LogId(rand::random()), 1));
    target.connector.number_with(&numbers);
    let prepares = reading::discovered(&target.connector).await.prepare;
    let branch = begin(&target).await;
    assert_eq!(branch.part(), if prepares { Part::Prepared } else { Part::Last });
    assert_eq!(target.connector.part(), branch.part());
    branch.rollback().await.unwrap();
    if prepares {
        what_is_prepared_waits_for_its_end(&target, &numbers).await;
        what_is_prepared_outlives_its_connection(world, &target, &numbers).await;
    }
    a_mark_says_for_ever_what_was_committed(&target, &numbers).await;
}

async fn begin(target: &Target) -> Arc<dyn Branch> {
    target.connector.open(Purpose::Write(WriteIsolation::ReadCommitted)).await.unwrap()
}

/// A transaction that has added a row, prepared.
async fn prepared(target: &Target, gid: Gid, key: i64) -> (Arc<dyn Branch>, BranchId) {
    let branch = begin(target).await;
    assert_eq!(run(&*branch, &target.insert(&[key], None, Vec::new())).await.unwrap().rows, 1);
    let id = branch.branch_id(target.connector.name(), gid);
    assert_eq!(id.log, gid.log);
    assert_eq!(branch.prepare(&id).await.unwrap(), Vote::Yes);
    (branch, id)
}

async fn is_listed(connector: &Arc<dyn Connector>, id: BranchId) -> bool {
    connector.in_doubt().await.unwrap().iter().any(|listed| listed.id == id)
}

async fn what_is_prepared_waits_for_its_end(target: &Target, numbers: &Numbers) {
    let before = target.keys().await;
    let (branch, id) = prepared(target, numbers.next(), 50).await;
    assert_eq!(target.keys().await, before, "nobody sees it yet");
    assert!(is_listed(&target.connector, id).await);
    branch.roll_back_prepared().await.unwrap();
    assert_eq!(target.keys().await, before);
    assert!(!is_listed(&target.connector, id).await);
    let (branch, id) = prepared(target, numbers.next(), 50).await;
    branch.commit_prepared().await.unwrap();
    assert_eq!(target.keys().await, [before.clone(), vec![50]].concat());
    assert!(!is_listed(&target.connector, id).await);
    assert_eq!(target.connector.resolve(&id, Verdict::Commit).await.unwrap(), Resolved::Gone);
    // One that has changed nothing keeps nobody waiting either.
    let branch = begin(target).await;
    run(&*branch, &target.delete(&[999], Vec::new())).await.unwrap();
    let id = branch.branch_id(target.connector.name(), numbers.next());
    if branch.prepare(&id).await.unwrap() == Vote::Yes {
        branch.commit_prepared().await.unwrap();
    }
    assert!(!is_listed(&target.connector, id).await);
    target.once(&target.delete(&[50], Vec::new())).await.unwrap();
}

async fn what_is_prepared_outlives_its_connection(world: &dyn World, target: &Target, numbers: &Numbers) {
    let before = target.keys().await;
    let elsewhere = world.open("");
    for (verdict, after) in [(Verdict::Abort, before.clone()), (Verdict::Commit, [before.clone(), vec![51]].concat())] {
        let (branch, id) = prepared(target, numbers.next(), 51).await;
        drop(branch);
        assert!(is_listed(&elsewhere, id).await);
        // The server may hold it for the connection until that is known to have ended.
        until("the end of a prepared branch", async || {
            elsewhere.resolve(&id, verdict).await.is_ok_and(|end| end == Resolved::Done)
        })
        .await;
        assert_eq!(target.keys().await, after, "{verdict:?}");
        assert_eq!(elsewhere.resolve(&id, verdict).await.unwrap(), Resolved::Gone);
        assert!(!is_listed(&target.connector, id).await);
    }
    target.once(&target.delete(&[51], Vec::new())).await.unwrap();
}

async fn a_mark_says_for_ever_what_was_committed(target: &Target, numbers: &Numbers) {
    let (before, connector) = (target.keys().await, &target.connector);
    for _ in 0..2 {
        connector.install(OwnTable::Marks).await.unwrap();
    }
    let mark = |of| MarkId { gid: numbers.next(), of };
    let [kept, dropped, never] = [mark(MarkOf::All), mark(MarkOf::Step(1)), mark(MarkOf::Undo(1))];
    let branch = begin(target).await;
    run(&*branch, &target.insert(&[60], None, Vec::new())).await.unwrap();
    branch.mark(kept).await.unwrap();
    let hint = branch.hint();
    assert!(hint.0.len() <= 64);
    branch.commit().await.unwrap();
    let branch = begin(target).await;
    run(&*branch, &target.insert(&[61], None, Vec::new())).await.unwrap();
    branch.mark(dropped).await.unwrap();
    let gone = branch.hint();
    branch.rollback().await.unwrap();
    for _ in 0..2 {
        assert_eq!(connector.decide(kept, &hint).await.unwrap(), Verdict::Commit);
        assert_eq!(connector.decide(dropped, &gone).await.unwrap(), Verdict::Abort);
        assert_eq!(connector.decide(never, &Hint::default()).await.unwrap(), Verdict::Abort);
    }
    // What was decided so cannot be committed any more.
    for late in [dropped, never] {
        let branch = begin(target).await;
        run(&*branch, &target.insert(&[62], None, Vec::new())).await.unwrap();
        let kept = match branch.mark(late).await {
            Ok(()) => branch.commit().await.is_ok(),
            Err(_) => {
                // It may have ended with the error.
                branch.rollback().await.ok();
                false
            }
        };
        assert!(!kept, "{late}");
    }
    assert_eq!(target.keys().await, [before, vec![60]].concat());
    connector.forget(&[kept, dropped]).await.unwrap();
    // What says abort stays, for those who come late; what said commit was of a transaction that has ended.
    assert_eq!(connector.decide(dropped, &gone).await.unwrap(), Verdict::Abort);
    assert!(connector.own_table(OwnTable::Marks).is_some_and(|table| table.id.name == OwnTable::Marks.name()));
    target.once(&target.delete(&[60], Vec::new())).await.unwrap();
}
