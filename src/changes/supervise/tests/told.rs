//! What a store is told to be durable, by each feed anew: it may forget what it is told of. And what clients are told, which has to stay.

use std::sync::OnceLock;

use super::*;

fn times(stage: &Stage, call: &str) -> usize {
    stage.store.calls().iter().filter(|known| *known == call).count()
}

#[tokio::test]
async fn a_feed_that_begins_again_tells_first_what_is_durable() {
    let (stage, steps, _cursor) = Stage::streaming().await;
    steps.send(stage.group(&[(3, &[("a", 1)])])).await.unwrap();
    stage.called("acknowledge 3").await;
    let _again = stage.store.feed();
    drop(steps);
    stage.called("start orders from 3").await;
    stage.holds(|| times(&stage, "acknowledge 3") == 2, || format!("{:?}", stage.store.calls())).await;
    stage.close().await;
}

#[tokio::test]
async fn a_feed_that_begins_from_now_tells_nothing_of_the_history_that_was_lost() {
    let (stage, steps, mut cursor) = Stage::streaming().await;
    steps.send(stage.group(&[(3, &[("a", 1)])])).await.unwrap();
    stage.called("acknowledge 3").await;
    let again = stage.store.feed();
    steps.send(lost("it is gone")).await.unwrap();
    again.send(stage.group(&[(9, &[("b", 2)])])).await.unwrap();
    assert_eq!(ids(&mut cursor, 1).await, ["t3"]);
    assert_eq!(entries(&mut cursor).await, ["gap: it is gone"]);
    stage.called("acknowledge 9").await;
    assert_eq!(times(&stage, "acknowledge 3"), 1, "{:?}", stage.store.calls());
    stage.close().await;
}

/// A kill in between would leave others under the numbers that were told.
#[tokio::test]
async fn what_may_come_again_as_other_transactions_is_told_when_it_can_be_read() {
    let (store, feeds) = (FakeStore::new("shop"), Arc::new(OnceLock::<Arc<Feeds>>::new()));
    store.gives_unlike();
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let (known, noted, name) = (Arc::clone(&feeds), Arc::clone(&seen), store.name().clone());
    let hook: Hook = Arc::new(move |moment| {
        if moment == Moment::Publish
            && let Some(hub) = known.get().and_then(|feeds| feeds.hub(&name))
        {
            noted.lock().unwrap().push((hub.last(), hub.log().progress().borrow().written));
        }
        async {}.boxed()
    });
    let steps = store.feed();
    let stage = Stage::open_with(&store, entry(&store, false), (settings(), PACING), tempfile::tempdir().unwrap(), hook);
    assert!(feeds.set(Arc::clone(&stage.feeds)).is_ok());
    stage.until(State::Streaming).await;
    let mut cursor = stage.hub().at_start();
    for number in 3..8 {
        steps.send(stage.group(&[(number, &[("a", 1)])])).await.unwrap();
    }
    assert_eq!(ids(&mut cursor, 5).await, ["t3", "t4", "t5", "t6", "t7"]);
    // Before each was told, the log had it.
    assert_eq!(*seen.lock().unwrap(), [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5)]);
    stage.close().await;
}
