//! Transactions that come in pieces, and those that are too large.

use super::*;
use crate::changes::fakes::pieces_of;

#[tokio::test]
async fn a_transaction_in_pieces_is_told_when_it_has_ended() {
    let (stage, steps, mut cursor) = Stage::streaming().await;
    let rows: &[(&str, i64)] = &[("a", 1), ("b", 2), ("c", 3)];
    steps.send(stage.idle(2)).await.unwrap();
    let mut pieces = pieces_of(stage.store.name(), 3, rows).into_iter();
    steps.send(Ok(Step::Group(pieces.next().unwrap()))).await.unwrap();
    steps.send(Ok(Step::Group(pieces.next().unwrap()))).await.unwrap();
    assert!(cursor.next().now_or_never().is_none());
    // It breaks, and all of it comes again.
    let again = stage.store.feed();
    drop(steps);
    for piece in pieces_of(stage.store.name(), 3, rows) {
        again.send(Ok(Step::Group(piece))).await.unwrap();
    }
    again.send(stage.group(&[(4, &[("d", 5)])])).await.unwrap();
    assert_eq!(ids(&mut cursor, 4).await, ["t3", "t3", "t3", "t4"]);
    stage.called("acknowledge 4").await;
    assert_eq!(stage.hub().last(), 2);
    stage.close().await;
}

#[tokio::test]
async fn a_transaction_in_pieces_that_is_being_written_is_not_given_again() {
    let (store, gate) = (FakeStore::new("shop"), watch::Sender::new(true));
    let may_sync = gate.clone();
    let hook: Hook = Arc::new(move |moment| {
        let mut may_sync = may_sync.subscribe();
        async move {
            if moment == Moment::Sync {
                may_sync.wait_for(|may| *may).await.ok();
            }
        }
        .boxed()
    });
    let steps = store.feed();
    let stage = Stage::open_with(&store, entry(&store, false), (settings(), PACING), tempfile::tempdir().unwrap(), hook);
    stage.until(State::Streaming).await;
    let mut cursor = stage.hub().at_start();
    steps.send(stage.idle(1)).await.unwrap();
    stage.called("acknowledge 1").await;
    // The disk is slow from here on: nothing more is written while something is put on it.
    gate.send_replace(false);
    steps.send(stage.idle(2)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    for piece in pieces_of(store.name(), 3, &[("a", 1), ("b", 2), ("c", 3)]) {
        steps.send(Ok(Step::Group(piece))).await.unwrap();
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    let again = store.feed();
    stage.feeds.replace(vec![entry(&store, false)]);
    tokio::time::sleep(Duration::from_millis(50)).await;
    gate.send_replace(true);
    stage.called("start orders from 3").await;
    again.send(stage.group(&[(3, &[("a", 1)]), (4, &[("d", 5)])])).await.unwrap();
    assert_eq!(ids(&mut cursor, 4).await, ["t3", "t3", "t3", "t4"]);
    assert_eq!(stage.hub().last(), 2);
    stage.called("acknowledge 4").await;
    let (store, directory) = stage.close().await;
    let _steps = store.feed();
    let stage = Stage::open(&store, entry(&store, false), (settings(), PACING), directory);
    stage.called("start orders from 4").await;
    stage.until(State::Streaming).await;
    assert_eq!(stage.hub().last(), 2);
    stage.close().await;
}

#[tokio::test]
async fn tables_are_looked_at_behind_a_transaction_in_pieces() {
    let (stage, steps, mut cursor) = Stage::streaming().await;
    let mut pieces = pieces_of(stage.store.name(), 3, &[("a", 1), ("b", 2)]).into_iter();
    steps.send(Ok(Step::Group(pieces.next().unwrap()))).await.unwrap();
    stage.holds(|| stage.feeds.shown()[0].events == 1, String::new).await;
    let surveys = stage.store.surveys();
    stage.feeds.described(stage.store.name(), &[table_of("orders"), table_of("notes")]);
    tokio::time::sleep(Duration::from_millis(100)).await;
    let meanwhile = stage.store.surveys() - surveys;
    assert!((1..=2).contains(&meanwhile), "the store was asked {meanwhile} times");
    assert!(!stage.store.calls().iter().any(|call| call.starts_with("reshape")));
    steps.send(Ok(Step::Group(pieces.next().unwrap()))).await.unwrap();
    assert_eq!(ids(&mut cursor, 2).await, ["t3", "t3"]);
    stage.called("reshape orders notes").await;
    assert_eq!(entries(&mut cursor).await, ["reshaped notes"]);
    stage.close().await;
}

#[tokio::test]
async fn of_a_transaction_in_pieces_that_was_taken_back_nothing_is_told() {
    let store = FakeStore::new("shop");
    let steps = store.feed();
    // Nothing fits into memory, so that all is read of the log.
    let small = ChangeSettings { memory_bytes: 1, ..settings() };
    let stage = Stage::open(&store, entry(&store, false), (small, PACING), tempfile::tempdir().unwrap());
    stage.until(State::Streaming).await;
    let mut cursor = stage.hub().at_start();
    for piece in pieces_of(store.name(), 3, &[("a", 1), ("b", 2), ("c", 3)]).into_iter().take(2) {
        steps.send(Ok(Step::Group(piece))).await.unwrap();
    }
    steps.send(stage.group(&[(4, &[("d", 5), ("e", 6)])])).await.unwrap();
    assert_eq!(entries(&mut cursor).await, ["insert", "update"]);
    assert_eq!(ids(&mut stage.hub().at_start(), 1).await, ["t4"]);
    stage.called("acknowledge 4").await;
    // Nothing stands open that tables would have to be looked at behind.
    stage.feeds.described(store.name(), &[table_of("orders"), table_of("notes")]);
    stage.called("reshape orders notes").await;
    let (store, directory) = stage.close().await;
    let _steps = store.feed();
    let stage = Stage::open(&store, entry(&store, false), (settings(), PACING), directory);
    stage.until(State::Streaming).await;
    assert_eq!(ids(&mut stage.hub().at_start(), 1).await, ["t4"]);
    stage.close().await;
}

#[tokio::test]
async fn a_transaction_that_is_too_large_stops_its_tables() {
    let store = FakeStore::new("shop");
    let steps = store.feed();
    let small = ChangeSettings { transaction_bytes: 1, ..settings() };
    let stage = Stage::open(&store, entry(&store, false), (small, PACING), tempfile::tempdir().unwrap());
    stage.until(State::Streaming).await;
    let mut cursor = stage.hub().at_start();
    let rows: &[(&str, i64)] = &[("a", 1), ("b", 2), ("c", 3)];
    for piece in pieces_of(store.name(), 3, rows) {
        steps.send(Ok(Step::Group(piece))).await.unwrap();
    }
    assert_eq!(entries(&mut cursor).await, ["stopped orders"]);
    stage.called("acknowledge 3").await;
    let told = stage.feeds.subscribed_from(store.name(), &id_of("orders")).unwrap_err();
    assert!(told.reason.contains("changes.max_transaction"), "{told:?}");
    stage.close().await;
}
