//! What is read of a table beside its feed, and from where on the events are given that are not in it.

use super::*;
use crate::error::{Diagnose, sqlstate};

#[tokio::test]
async fn a_fill_looks_back_and_knows_what_is_in_it() {
    let (stage, steps, mut cursor) = Stage::streaming().await;
    steps.send(stage.group(&[(3, &[("a", 1)]), (4, &[("b", 1)])])).await.unwrap();
    assert_eq!(ids(&mut cursor, 2).await, ["t3", "t4"]);
    stage.store.fills(Vec::new(), 3);
    let (fill, mut before, capture) = stage.feeds.fill(stage.store.name(), &table_of("orders")).await.unwrap();
    let mut contained = Vec::new();
    for _ in 0..2 {
        let piece = before.next().await.unwrap();
        contained.push(capture.contains(&fill.version, piece.transaction().unwrap()));
    }
    assert_eq!(contained, [true, false]);
    assert!(stage.feeds.fill(&StoreName::new("other"), &table_of("orders")).await.is_err());
    stage.close().await;
}

/// As far as a store says whose transactions wait for other servers before they are seen.
const FAR: Duration = Duration::from_secs(600);

#[tokio::test]
async fn a_look_back_beyond_what_is_retained_is_refused_and_not_shortened() {
    let store = FakeStore::new("shop");
    let steps = store.feed();
    let settings = ChangeSettings { log_bytes: 12_000, ..settings() };
    let log = Pace { segment: 3_000, retain: Duration::from_millis(5), ..PACING.log };
    let how = (settings, Pacing { log, ..PACING });
    let stage = Stage::open(&store, entry(&store, false), how, tempfile::tempdir().unwrap());
    stage.until(State::Streaming).await;
    store.looks_back(FAR);
    let fill = async || stage.feeds.fill(store.name(), &table_of("orders")).await.err();
    assert!(fill().await.is_none(), "the log has all that there ever was");
    // Each of them is written by itself, until the log has begun to forget.
    let name = "x".repeat(1_000);
    for position in 1..=40 {
        steps.send(stage.group(&[(position, &[(name.as_str(), 1)])])).await.unwrap();
        stage.called(&format!("acknowledge {position}")).await;
    }
    let has_forgotten = || stage.hub().first().is_some_and(|place| place.seq > 0);
    stage.holds(has_forgotten, || "the log keeps everything".to_owned()).await;
    let refused = fill().await.unwrap();
    assert_eq!(refused.sqlstate(), sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE);
    assert!(refused.to_string().contains("does not reach back"), "{refused}");
    // What every feed keeps anyway is not asked of the log.
    store.looks_back(Duration::from_secs(60));
    assert!(fill().await.is_none());
    stage.close().await;
}
