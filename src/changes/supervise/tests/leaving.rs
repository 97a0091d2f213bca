//! What a store keeps where nobody follows it any more: it is to let go of its log, also where that does not go at once.

use super::*;

fn slot() -> OwnObject {
    let (name, remove) = ("tributary_x".to_owned(), "DROP".to_owned());
    OwnObject { what: "replication slot", name, remove, ours: true, holds_bytes: None }
}

fn removals(store: &FakeStore) -> usize {
    store.calls().iter().filter(|call| *call == "remove slot").count()
}

#[tokio::test]
async fn a_store_that_is_taken_out_of_the_configuration_lets_go_of_its_log_and_comes_back_behind_a_gap() {
    let (stage, steps, mut cursor) = Stage::streaming().await;
    steps.send(stage.group(&[(3, &[("a", 1)])])).await.unwrap();
    stage.called("acknowledge 3").await;
    stage.store.holds(vec![slot()]);
    stage.store.keeps_removing_nothing(2);
    stage.feeds.replace(Vec::new());
    stage.holds(|| removals(&stage.store) == 3, || format!("{:?}", stage.store.calls())).await;
    // Whoever closes its connector waits until nobody has it.
    stage.holds(|| Arc::strong_count(&stage.store) == 1, || "it is held".to_owned()).await;
    assert!(stage.feeds.shown().is_empty());
    assert_eq!(ids(&mut cursor, 1).await, ["t3"]);
    assert_eq!(entries(&mut cursor).await, ["stopped orders"]);
    stage.store.fail(Ended::Lost("the slot is gone".to_owned()));
    let _steps = stage.store.feed();
    stage.feeds.replace(vec![entry(&stage.store, false)]);
    stage.called("start orders from 3").await;
    assert_eq!(entries(&mut cursor).await, ["gap: the slot is gone"]);
    stage.until(State::Streaming).await;
    stage.close().await;
}

#[tokio::test]
async fn a_store_that_does_not_let_go_is_not_asked_for_ever_once_it_is_taken_out() {
    let (stage, _steps, _cursor) = Stage::streaming().await;
    stage.store.holds(vec![slot()]);
    stage.store.keeps_removing_nothing(usize::MAX);
    stage.feeds.replace(Vec::new());
    stage.holds(|| Arc::strong_count(&stage.store) == 1, || "it is held".to_owned()).await;
    assert_eq!(removals(&stage.store), 6);
    stage.close().await;
}

#[tokio::test]
async fn a_store_that_is_taken_out_before_it_was_followed_lets_go_all_the_same() {
    let store = FakeStore::new("shop");
    store.holds(vec![slot()]);
    let stage = Stage::open(&store, entry(&store, false), (settings(), PACING), tempfile::tempdir().unwrap());
    stage.feeds.replace(Vec::new());
    stage.called("remove slot").await;
    // The test has it twice.
    stage.holds(|| Arc::strong_count(&store) == 2, || "it is held".to_owned()).await;
    assert_eq!(store.calls().len(), 1, "{:?}", store.calls());
    stage.close().await;
}

#[tokio::test]
async fn what_is_kept_for_a_feed_that_waits_for_somebody_is_removed_however_often_that_fails() {
    let (stage, steps, mut cursor) = Stage::streaming().await;
    steps.send(stage.group(&[(3, &[("a", 1)])])).await.unwrap();
    assert_eq!(ids(&mut cursor, 1).await, ["t3"]);
    stage.store.keeps_removing_nothing(3);
    let mut last = steps;
    for _ in 0..3 {
        let next = stage.store.feed();
        last.send(lost("it is gone")).await.unwrap();
        assert_eq!(entries(&mut cursor).await, ["gap: it is gone"]);
        last = next;
    }
    last.send(lost("it is gone")).await.unwrap();
    stage.until(State::Refused).await;
    stage.holds(|| removals(&stage.store) == 4, || format!("{:?}", stage.store.calls())).await;
    // Once it is done, it is done.
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(removals(&stage.store), 4);
    let _steps = stage.store.feed();
    stage.feeds.restart(stage.store.name()).unwrap();
    stage.until(State::Streaming).await;
    stage.close().await;
}
