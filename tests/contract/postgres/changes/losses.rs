//! When history is missing, and who holds a slot.

use super::*;

#[tokio::test]
async fn a_slot_that_is_gone_or_ahead_is_a_loss() {
    let mut stage = Stage::new(How::Log, TABLE).await;
    let resume = stage.feed(None).await.close().await;
    let name = stage.who.object(stage.fixture.connector.name());
    // A commit that is not waited for may not be in what the server calls the end of its log, and the slot would stay where it is.
    stage.run("SET synchronous_commit = on; INSERT INTO t VALUES (1, 'a')").await;
    stage.run(&format!("SELECT pg_replication_slot_advance('{name}', pg_current_wal_lsn())")).await;
    is_lost(stage.start(Some(&resume)).await, "ahead");
    let removed = stage.capture.remove(stage.who, true).await.unwrap();
    assert_eq!(removed.iter().map(|object| object.what).collect::<Vec<_>>(), ["replication slot"]);
    is_lost(stage.start(Some(&resume)).await, "gone");
    // It begins again from now.
    let mut reader = stage.feed(None).await;
    stage.run("INSERT INTO t VALUES (2, 'b')").await;
    assert_eq!(reader.told(1).await, ["insert t 2 b"]);
    let watched = stage.capture.watch(stage.who, &stage.follow).await.unwrap();
    assert!(watched.retained_bytes.is_some() && watched.lag_bytes.is_some());
    reader.close().await;
    stage.end().await;
}

#[tokio::test]
async fn a_slot_in_use_is_tried_again_and_removed_by_force() {
    let stage = Stage::new(How::Log, TABLE).await;
    let reader = stage.feed(None).await;
    assert!(matches!(stage.start(Some(&reader.resume)).await, Err(Ended::Again(_))));
    let removed = stage.capture.remove(stage.who, false).await.unwrap();
    assert_eq!(removed.iter().map(|object| object.what).collect::<Vec<_>>(), ["replication slot", "publication"]);
    assert!(stage.capture.remove(stage.who, false).await.unwrap().is_empty());
    reader.close().await;
}

#[tokio::test]
async fn another_server_or_kind_of_feed_is_a_loss() {
    let mut stage = Stage::new(How::Log, TABLE).await;
    let resume = stage.feed(None).await.close().await;
    let mut other = resume.clone();
    other.0[1] ^= 1;
    is_lost(stage.start(Some(&other)).await, "another one");
    // A timeline that this one does not come from.
    let mut other = resume.clone();
    other.0[12] ^= 2;
    is_lost(stage.start(Some(&other)).await, "history");
    stage.follow = follow(How::Outbox);
    is_lost(stage.start(Some(&resume)).await, "other means");
    let mut other = stage.feed(None).await.close().await;
    other.0[12] ^= 2;
    is_lost(stage.start(Some(&other)).await, "timeline");
    stage.end().await;
}

/// What of ours is there, in the order in which it would be removed.
async fn ours(stage: &Stage) -> Vec<&'static str> {
    let objects = stage.capture.objects(stage.who).await.unwrap();
    objects.iter().filter(|object| object.ours).map(|object| object.what).collect()
}

#[tokio::test]
async fn nothing_is_left_of_a_feed_by_other_means() {
    let mut stage = Stage::new(How::Log, TABLE).await;
    let of_log = stage.feed(None).await.close().await;
    assert_eq!(ours(&stage).await, ["replication slot", "publication"]);
    stage.follow = follow(How::Outbox);
    let told: Vec<String> = stage.survey().await.cautions.into_iter().map(|caution| caution.told).collect();
    assert!(told.iter().any(|told| told.contains("replication slot tributary_") && told.contains("keeps")), "{told:?}");
    // Until triggers are there, what the slot keeps is what is kept for us.
    let watched = stage.capture.watch(stage.who, &stage.follow).await.unwrap();
    assert!(watched.retained_bytes.is_some() && watched.lag_bytes.is_some(), "{watched:?}");
    is_lost(stage.start(Some(&of_log)).await, "other means");
    assert!(ours(&stage).await.is_empty());
    let of_triggers = stage.feed(None).await.close().await;
    assert_eq!(ours(&stage).await, ["trigger", "trigger", "function", "table", "table", "sequence"]);
    stage.follow = follow(How::Log);
    stage.run("INSERT INTO t VALUES (1, 'a')").await;
    is_lost(stage.start(Some(&of_triggers)).await, "other means");
    assert!(ours(&stage).await.is_empty());
    // Whoever comes back to triggers has missed what happened without them.
    stage.follow = follow(How::Outbox);
    is_lost(stage.start(Some(&of_triggers)).await, "removed meanwhile");
    stage.end().await;
}

#[tokio::test]
async fn triggers_that_are_removed_keep_nothing_and_leave_a_gap() {
    let mut stage = Stage::new(How::Outbox, TABLE).await;
    let resume = stage.feed(None).await.close().await;
    let removed = stage.capture.remove(stage.who, true).await.unwrap();
    let whats: Vec<&str> = removed.iter().map(|object| object.what).collect();
    assert_eq!(whats, ["trigger", "trigger", "function", "table", "table", "sequence"]);
    assert!(ours(&stage).await.is_empty());
    stage.run("INSERT INTO t VALUES (1, 'lost')").await;
    is_lost(stage.start(Some(&resume)).await, "removed meanwhile");
    // Where not all of it could be removed, a feed finds out as well.
    let mut reader = stage.feed(None).await;
    let mut holder = stage.other().await;
    holder.run("BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE").await;
    assert!(stage.capture.remove(stage.who, true).await.is_err());
    holder.run("COMMIT").await;
    let ended = loop {
        match tokio::time::timeout(Duration::from_secs(30), reader.feed.next()).await.unwrap() {
            Ok(_) => {}
            Err(ended) => break ended,
        }
    };
    assert!(matches!(&ended, Ended::Lost(reason) if reason.contains("removed meanwhile")), "{ended:?}");
    reader.close().await;
    stage.end().await;
}
