//! Faults of ours: a feed that ends by one is begun again where it was, and what brings one each time is passed over, behind a gap.

use std::sync::atomic::AtomicUsize;

use super::*;

/// A fault at the next moments of a kind, as often as the number says.
fn faulty(moment: Moment) -> (Arc<AtomicUsize>, Hook) {
    let left = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&left);
    let hook: Hook = Arc::new(move |now| {
        let is_due = now == moment && counted.load(Ordering::Acquire) > 0;
        if is_due {
            counted.fetch_sub(1, Ordering::AcqRel);
        }
        assert!(!is_due, "a fault");
        async {}.boxed()
    });
    (left, hook)
}

async fn streaming(hook: Hook) -> (Stage, Steps, Cursor) {
    let store = FakeStore::new("shop");
    let steps = store.feed();
    let stage = Stage::open_with(&store, entry(&store, false), (settings(), PACING), tempfile::tempdir().unwrap(), hook);
    stage.until(State::Streaming).await;
    let mut cursor = stage.hub().at_start();
    steps.send(stage.group(&[(3, &[("a", 1)])])).await.unwrap();
    assert_eq!(ids(&mut cursor, 1).await, ["t3"]);
    (stage, steps, cursor)
}

#[tokio::test]
async fn a_feed_that_ends_by_a_fault_goes_on_where_it_was_and_tells_nothing_twice() {
    // Before the log has it, and behind that.
    for (moment, call) in [(Moment::Append, "start orders from 3"), (Moment::Publish, "start orders from 4")] {
        let (left, hook) = faulty(moment);
        let (stage, steps, mut cursor) = streaming(hook).await;
        let again = stage.store.feed();
        again.send(stage.group(&[(4, &[("b", 2)]), (5, &[("c", 3)])])).await.unwrap();
        left.store(1, Ordering::Release);
        steps.send(stage.group(&[(4, &[("b", 2)])])).await.unwrap();
        assert_eq!(ids(&mut cursor, 2).await, ["t4", "t5"], "{moment:?}");
        stage.called(call).await;
        stage.called("acknowledge 5").await;
        stage.until(State::Streaming).await;
        let shown = stage.feeds.shown().remove(0);
        assert_eq!((stage.hub().last(), shown.reconnects, shown.losses), (3, 1, 0), "{moment:?}");
        stage.close().await;
    }
}

#[tokio::test]
async fn what_brings_a_fault_each_time_is_passed_over_behind_a_gap_and_not_for_ever() {
    const GAP: &str = "gap: the feed has ended by a fault 3 times at one place";
    let (left, hook) = faulty(Moment::Append);
    let (stage, steps, mut cursor) = streaming(hook).await;
    // What gives feeds their steps is kept, so that none of them ends otherwise.
    let mut given = Vec::new();
    for _ in 0..2 {
        let again = stage.store.feed();
        again.send(stage.group(&[(4, &[("b", 1)])])).await.unwrap();
        given.push(again);
    }
    let behind = stage.store.feed();
    left.store(3, Ordering::Release);
    steps.send(stage.group(&[(4, &[("b", 1)])])).await.unwrap();
    assert_eq!(entries(&mut cursor).await, [GAP]);
    behind.send(stage.group(&[(9, &[("c", 1)])])).await.unwrap();
    assert_eq!(ids(&mut cursor, 1).await, ["t9"]);
    assert_eq!(stage.feeds.shown()[0].losses, 1);
    for _ in 0..12 {
        let again = stage.store.feed();
        again.send(stage.group(&[(10, &[("d", 1)])])).await.unwrap();
        given.push(again);
    }
    // From now on there is one in whatever is told.
    left.store(usize::MAX, Ordering::Release);
    behind.send(stage.group(&[(10, &[("d", 1)])])).await.unwrap();
    stage.until(State::Refused).await;
    stage.called("remove slot").await;
    let shown = stage.feeds.shown().remove(0);
    assert!(shown.reason.as_ref().is_some_and(|reason| reason.contains("4 times within an hour")), "{shown:?}");
    left.store(0, Ordering::Release);
    stage.feeds.restart(stage.store.name()).unwrap();
    assert_eq!(entries(&mut cursor).await, [GAP]);
    assert_eq!(ids(&mut cursor, 1).await, ["t10"]);
    stage.close().await;
}

#[tokio::test]
async fn a_fault_that_nothing_can_be_begun_behind_is_told_and_the_store_keeps_nothing() {
    let (stage, _steps, _cursor) = Stage::streaming().await;
    stage.store.breaks_when_looked_at();
    stage.store.keeps_removing_nothing(1);
    stage.feeds.restart(stage.store.name()).unwrap();
    stage.until(State::Refused).await;
    assert_eq!(stage.feeds.shown()[0].reason.as_deref(), Some("the feed has ended by a fault"));
    let removals = || stage.store.calls().iter().filter(|call| *call == "remove slot").count();
    stage.holds(|| removals() == 2, || format!("{:?}", stage.store.calls())).await;
    let told = stage.feeds.restart(stage.store.name()).unwrap_err();
    assert!(told.mend.as_ref().is_some_and(|mend| mend.contains("Start the server again")), "{told:?}");
    stage.close().await;
}
