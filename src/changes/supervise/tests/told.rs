//! What a store is told to be durable, by each feed anew: it may forget what it is told of.

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
