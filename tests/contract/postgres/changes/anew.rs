//! What the stream does not tell of a table: values that ALTER TABLE writes anew, and a publication that somebody else changes.

use super::*;

/// Waits until the feed doubts a table, tells it the tables, and gives what comes behind that.
async fn reshaped(stage: &mut Stage, reader: &mut Reader, id: i32) -> Vec<String> {
    while reader.doubts == 0 {
        let next = step(&mut *reader.feed).await;
        reader.doubts += usize::from(matches!(next, Step::Doubt(_)));
    }
    reader.doubts = 0;
    reader.feed.reshape(&stage.tables().await).await.unwrap();
    stage.run(&format!("INSERT INTO t VALUES ({id}, 'behind')")).await;
    reader.told(2).await
}

#[tokio::test]
async fn values_that_a_definition_writes_anew_are_told_of() {
    let mut stage = Stage::new(How::Log, TABLE).await;
    let mut reader = stage.feed(None).await;
    stage.run("INSERT INTO t VALUES (1, 'a')").await;
    assert_eq!(reader.told(1).await, ["insert t 1 a"]);
    // The type stays as it is.
    stage.run("ALTER TABLE t ALTER COLUMN note TYPE text USING note || '!'").await;
    stage.run("INSERT INTO t VALUES (2, 'b')").await;
    assert_eq!(reader.told(1).await, ["insert t 2 b"]);
    assert_eq!(reshaped(&mut stage, &mut reader, 3).await, ["reshaped t", "insert t 3 behind"]);
    // Also where nobody follows it, and once.
    let resume = reader.close().await;
    stage.run("ALTER TABLE t ALTER COLUMN note TYPE text USING upper(note)").await;
    let mut reader = stage.feed(Some(&resume)).await;
    stage.run("INSERT INTO t VALUES (4, 'd')").await;
    assert_eq!(reader.told(2).await, ["reshaped t", "insert t 4 d"]);
    let resume = reader.close().await;
    let mut reader = stage.feed(Some(&resume)).await;
    stage.run("INSERT INTO t VALUES (5, 'e')").await;
    assert_eq!(reader.told(1).await, ["insert t 5 e"]);
    reader.close().await;
    stage.end().await;
}

#[tokio::test]
async fn rows_of_before_a_definition_are_told_before_it() {
    let mut stage = Stage::new(How::Log, TABLE).await;
    let mut reader = stage.feed(None).await;
    stage.run("INSERT INTO t VALUES (1, 'a')").await;
    assert_eq!(reader.told(1).await, ["insert t 1 a"]);
    // The catalogs are read while the stream is behind.
    stage.run("UPDATE t SET note = 'old' WHERE id = 1").await;
    stage.run("ALTER TABLE t ALTER COLUMN note TYPE text USING note || '!'").await;
    reader.feed.reshape(&stage.tables().await).await.unwrap();
    stage.run("INSERT INTO t VALUES (2, 'b')").await;
    assert_eq!(reader.told(3).await, ["update t 1 old", "reshaped t", "insert t 2 b"]);
    // Also at a start, and where no row comes behind it.
    let resume = reader.close().await;
    stage.run("UPDATE t SET note = 'older' WHERE id = 1").await;
    stage.run("ALTER TABLE t ALTER COLUMN note TYPE text USING note || '!'").await;
    let mut reader = stage.feed(Some(&resume)).await;
    assert_eq!(reader.told(2).await, ["update t 1 older", "reshaped t"]);
    stage.run("INSERT INTO t VALUES (3, 'c')").await;
    assert_eq!(reader.told(1).await, ["insert t 3 c"]);
    reader.close().await;
    stage.end().await;
}

#[tokio::test]
async fn rows_of_before_another_column_that_a_feed_finds_when_it_begins_are_said_to_be_missing() {
    let mut stage = Stage::new(How::Log, TABLE).await;
    let mut reader = stage.feed(None).await;
    stage.run("INSERT INTO t VALUES (1, 'a')").await;
    assert_eq!(reader.told(1).await, ["insert t 1 a"]);
    let resume = reader.close().await;
    stage.run("INSERT INTO t VALUES (2, 'unread')").await;
    stage.run("ALTER TABLE t ADD COLUMN more integer").await;
    stage.run("INSERT INTO t VALUES (3, 'c')").await;
    let mut reader = stage.feed(Some(&resume)).await;
    // It is another one than it was where the feed ended; its rows of before do not fit; from the next one on they do.
    assert_eq!(reader.told(4).await, ["reshaped t", "stopped t", "reshaped t", "insert t 3 c ~"]);
    reader.close().await;
    stage.end().await;
}

#[tokio::test]
async fn rows_that_are_written_anew_with_a_default_are_told_of_as_a_definition() {
    let mut stage = Stage::new(How::Log, TABLE).await;
    stage.run("CREATE TABLE u (id integer PRIMARY KEY)").await;
    stage.run("INSERT INTO t VALUES (1, 'a')").await;
    stage.run("ALTER TABLE t ADD COLUMN kind integer DEFAULT 7").await;
    let resume = stage.feed(None).await.close().await;
    stage.run("VACUUM FULL t").await;
    stage.run("VACUUM FULL u").await;
    let mut reader = stage.feed(Some(&resume)).await;
    stage.run("INSERT INTO u VALUES (1)").await;
    assert_eq!(reader.told(2).await, ["reshaped t", "insert u 1"]);
    // Once.
    let resume = reader.close().await;
    stage.run("VACUUM FULL t").await;
    let mut reader = stage.feed(Some(&resume)).await;
    stage.run("INSERT INTO t VALUES (2, 'b')").await;
    assert_eq!(reader.told(1).await, ["insert t 2 b 7"]);
    reader.close().await;
    stage.end().await;
}

#[tokio::test]
async fn tables_are_looked_at_while_nobody_waits_for_long() {
    let mut stage = Stage::new(How::Log, TABLE).await;
    let mut reader = stage.feed(None).await;
    stage.run("INSERT INTO t VALUES (1, 'a')").await;
    assert_eq!(reader.told(1).await, ["insert t 1 a"]);
    stage.run("ALTER TABLE t ALTER COLUMN note TYPE text USING note || '!'").await;
    stage.run("INSERT INTO t VALUES (2, 'b')").await;
    let until = tokio::time::Instant::now() + Duration::from_secs(30);
    // Shorter than any answer takes.
    let doubts = loop {
        assert!(tokio::time::Instant::now() < until, "nobody has looked");
        match tokio::time::timeout(Duration::ZERO, reader.feed.next()).await {
            Ok(Ok(Step::Doubt(doubts))) => break doubts,
            Ok(Ok(_)) => {}
            Ok(Err(ended)) => panic!("{ended:?}"),
            Err(_elapsed) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    };
    assert_eq!(doubts.iter().map(|id| id.name.as_str()).collect::<Vec<_>>(), ["t"]);
    reader.close().await;
    stage.end().await;
}

#[tokio::test]
async fn a_table_that_was_out_of_a_publication_for_a_moment_is_told_of() {
    let publication = "CREATE PUBLICATION told FOR TABLE t WITH (publish_via_partition_root = true)";
    let mut stage = Stage::new(How::Log, &format!("{TABLE}; {publication}")).await;
    stage.follow.publication = Some("told".to_owned());
    let mut reader = stage.feed(None).await;
    stage.run("INSERT INTO t VALUES (1, 'a')").await;
    assert_eq!(reader.told(1).await, ["insert t 1 a"]);
    for statement in [
        "ALTER PUBLICATION told DROP TABLE t",
        "INSERT INTO t VALUES (2, 'nobody is told')",
        "ALTER PUBLICATION told ADD TABLE t",
        "INSERT INTO t VALUES (3, 'c')",
    ] {
        stage.run(statement).await;
    }
    assert_eq!(reader.told(1).await, ["insert t 3 c"]);
    assert_eq!(reshaped(&mut stage, &mut reader, 4).await, ["reshaped t", "insert t 4 behind"]);
    // A table that joins it says nothing of the others.
    stage.run("CREATE TABLE u (id integer PRIMARY KEY)").await;
    stage.run("ALTER PUBLICATION told ADD TABLE u").await;
    reader.feed.reshape(&stage.tables().await).await.unwrap();
    stage.run("INSERT INTO t VALUES (5, 'e')").await;
    let told = reader.told(1).await;
    assert!(!told.contains(&"reshaped t".to_owned()), "{told:?}");
    reader.close().await;
    stage.end().await;
}
