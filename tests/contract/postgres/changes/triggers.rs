//! What triggers of ours keep, in which order it is given, and for whom.

use super::*;

#[tokio::test]
async fn triggers_give_transactions_in_an_order_in_which_they_could_have_been_committed() {
    let mut stage = Stage::new(How::Outbox, TABLE).await;
    stage.run("INSERT INTO t VALUES (1, 'x')").await;
    let mut reader = stage.feed(None).await;
    let (mut early, mut open) = (stage.other().await, stage.other().await);
    // The one with the smallest number changes the row last, while a third keeps those between from being told.
    early.run("BEGIN; INSERT INTO t VALUES (100, 'early')").await;
    open.run("BEGIN; INSERT INTO t VALUES (200, 'open')").await;
    stage.run("UPDATE t SET note = 'first' WHERE id = 1").await;
    early.run("UPDATE t SET note = 'second' WHERE id = 1; COMMIT").await;
    let waits = tokio::time::timeout(Duration::from_millis(500), reader.feed.next()).await;
    assert!(waits.is_err() || matches!(waits, Ok(Ok(Step::Idle { .. }))), "{waits:?}");
    open.run("COMMIT").await;
    let told = reader.told(4).await;
    let place = |what: &str| told.iter().position(|each| each.starts_with(what)).unwrap_or_else(|| panic!("{what}: {told:?}"));
    assert!(place("update t 1 first") < place("update t 1 second"), "{told:?}");
    assert_eq!(place("insert t 100") + 1, place("update t 1 second"), "a transaction comes whole: {told:?}");
    reader.close().await;
    stage.end().await;
}

#[tokio::test]
async fn triggers_stop_at_their_bound_and_never_fail_a_write() {
    let mut stage = Stage::new(How::Outbox, TABLE).await;
    stage.follow.max_retained = 0;
    let resume = stage.feed(None).await.close().await;
    stage.run("INSERT INTO t SELECT n, 'x' FROM generate_series(1, 3000) AS n").await;
    assert_eq!(stage.fixture.ask("SELECT (count(*) <= 1001)::text FROM tributary_changes").await.as_deref(), Some("true"));
    let mut feed = stage.start(Some(&resume)).await.unwrap_or_else(|ended| panic!("{ended:?}"));
    let ended = loop {
        match tokio::time::timeout(Duration::from_secs(30), feed.next()).await.unwrap() {
            Ok(_) => {}
            Err(ended) => break ended,
        }
    };
    assert!(matches!(&ended, Ended::Lost(reason) if reason.contains("max_retained")), "{ended:?}");
    feed.close().await;
    let mut reader = stage.feed(None).await;
    let watched = stage.capture.watch(stage.who, &stage.follow).await.unwrap();
    assert!(watched.retained_bytes.is_some_and(|bytes| bytes < 16 << 10), "what nobody takes is not kept for us: {watched:?}");
    stage.run("UPDATE t SET note = 'y' WHERE id = 1").await;
    assert_eq!(reader.told(1).await, ["update t 1 y < 1 x"]);
    reader.close().await;
    stage.end().await;
}

#[tokio::test]
async fn triggers_serve_one_instance() {
    let mut stage = Stage::new(How::Outbox, TABLE).await;
    let mut reader = stage.feed(None).await;
    let mine = std::mem::replace(&mut stage.who, InstanceId(rand::random()));
    let survey = stage.survey().await;
    let (reason, mend) = survey.refused.unwrap();
    assert!(reason.contains(&mine.to_string()) && mend.starts_with("DROP FUNCTION"), "{reason}; {mend}");
    assert!(survey.objects.iter().any(|object| object.what == "trigger" && !object.ours));
    // What another instance left is not removed.
    assert!(stage.capture.remove(stage.who, false).await.unwrap().is_empty());
    stage.run("INSERT INTO t VALUES (1, 'a')").await;
    assert_eq!(reader.told(1).await, ["insert t 1 a"]);
    stage.who = mine;
    // A trigger that somebody has taken away is noticed, and put back.
    let name = stage.who.object(stage.fixture.connector.name());
    stage.run(&format!("DROP TRIGGER {name}_r ON t; INSERT INTO t VALUES (2, 'lost'); TRUNCATE t")).await;
    assert_eq!(reader.told(1).await, ["stopped t"]);
    reader.feed.reshape(&stage.tables().await).await.unwrap();
    assert_eq!(reader.told(1).await, ["reshaped t"]);
    stage.run("INSERT INTO t VALUES (3, 'c')").await;
    assert_eq!(reader.told(1).await, ["insert t 3 c"]);
    reader.close().await;
    stage.end().await;
}
