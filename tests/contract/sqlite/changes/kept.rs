//! What the table of changes keeps: its numbers, its sizes, its bounds, and what older versions have left there.

use sqlx::{AssertSqlSafe, Executor, Row};
use tributary::stores::StoreError;
use tributary::stores::capture::{Ended, Feed, Follow, How, Step};
use tributary::stores::change::Group;
use tributary::stores::position::Coverage;

use super::{Stage, TABLES, WHO, events, follow, large, next, told};

/// A file of whose table of changes all rows were read, made durable and removed, and the last group of them.
async fn emptied() -> (Stage, Group) {
    let mut stage = Stage::new(TABLES).await;
    let mut feed = stage.feed(None).await;
    stage.run("INSERT INTO t (id) VALUES (1), (2), (3)").await;
    let (_, group) = events(&mut feed, 3).await;
    feed.acknowledge(&group.transactions[0].position, &group.resume).await.unwrap();
    feed.close().await;
    assert_eq!(stage.count("SELECT count(*) FROM tributary_changes").await, 0);
    (stage, group)
}

/// How the feed ends, which gives no rows before.
async fn end(feed: &mut Box<dyn Feed>) -> Ended {
    loop {
        match next(feed).await {
            Ok(Step::Group(group)) => panic!("{:?}", told(&group)),
            Ok(_) => {}
            Err(ended) => return ended,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_that_begin_anew_are_a_gap() {
    for is_running in [false, true] {
        let (mut stage, group) = emptied().await;
        let running = if is_running { Some(stage.feed(Some(&group.resume)).await) } else { None };
        // More rows than were removed, so that the numbers go on behind the last one that was read.
        stage.run("BEGIN; DELETE FROM sqlite_sequence; INSERT INTO t (id) VALUES (11), (12), (13), (14), (15); COMMIT").await;
        let ended = match running {
            Some(mut feed) => {
                let ended = end(&mut feed).await;
                feed.close().await;
                ended
            }
            None => match stage.start(&follow(), Some(&group.resume)).await {
                Ok(_) => panic!("a history with a hole is gone on with"),
                Err(ended) => ended,
            },
        };
        assert!(matches!(&ended, Ended::Lost(reason) if reason.contains("sqlite_sequence")), "{is_running} {ended:?}");
        // Numbers that are reset while nothing is kept are no gap once it begins behind them.
        stage.run("DELETE FROM tributary_changes; DELETE FROM sqlite_sequence").await;
        let mut feed = stage.feed(None).await;
        stage.run("INSERT INTO t (id) VALUES (20)").await;
        assert_eq!(events(&mut feed, 1).await.0, ["upsert t 20,NULL,NULL,NULL"]);
        feed.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_row_that_passes_the_bound_is_no_gap() {
    let mut stage = Stage::new(TABLES).await;
    let small = Follow { max_retained: 10 << 10, ..follow() };
    let mut feed = stage.start(&small, None).await.unwrap_or_else(|ended| panic!("{ended:?}"));
    let Step::Idle { resume, .. } = next(&mut feed).await.unwrap() else { panic!("nothing has changed") };
    feed.close().await;
    stage.run(&large(1, 10)).await;
    let watch = stage.capture.watch(WHO, &small).await.unwrap();
    assert_eq!((watch.retained_bytes, watch.left_bytes), (Some((10 << 10) - 1), Some(0)));
    assert_eq!(stage.count("SELECT overflowed FROM tributary_feed WHERE id LIKE 'tributary%'").await, 0);
    let mut feed = stage.start(&small, Some(&resume)).await.unwrap_or_else(|ended| panic!("{ended:?}"));
    assert_eq!(events(&mut feed, 10).await.0.len(), 10);
    feed.close().await;
    // The next one is not written, and is one.
    stage.run("DELETE FROM t WHERE id = 1").await;
    assert_eq!(stage.capture.watch(WHO, &small).await.unwrap().retained_bytes, Some(10 << 10));
    assert!(matches!(stage.start(&small, Some(&resume)).await, Err(Ended::Lost(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_too_large_fails_nobody() {
    let (mut stage, group) = emptied().await;
    let written =
        "SELECT s.sql FROM sqlite_schema AS s WHERE s.type = 'trigger' AND s.tbl_name = 't' AND s.name LIKE '%!_u' ESCAPE '!'";
    let trigger: String = stage.plain.fetch_one(written).await.unwrap().get(0);
    assert!(trigger.contains("s.b < 900000000 AND"), "{trigger}");
    // The same with a smaller bound.
    let name = trigger.split('"').nth(1).unwrap();
    let bounded = trigger.replace("s.b < 900000000 AND", "s.b < 200 AND");
    stage.run(&format!("DROP TRIGGER {name}; {bounded}")).await;
    stage.run("UPDATE t SET raw = zeroblob(150) WHERE id = 1").await;
    let overflowed = "SELECT overflowed FROM tributary_feed WHERE id LIKE 'tributary%'";
    let kept = "SELECT count(*) FROM tributary_changes";
    assert_eq!((stage.count(kept).await, stage.count(overflowed).await), (1, 0));
    // Before and after it are too much together, and neither is alone.
    stage.run("UPDATE t SET note = 'x' WHERE id = 1").await;
    assert_eq!((stage.count(kept).await, stage.count(overflowed).await), (1, 1));
    assert_eq!(stage.count("SELECT count(*) FROM t WHERE note = 'x'").await, 1);
    let lost = stage.start(&follow(), Some(&group.resume)).await;
    assert!(matches!(&lost, Err(Ended::Lost(reason)) if reason.contains("900 MB")), "{:?}", lost.err());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_keeps_changes_is_removed_with_all_rows() {
    // Of tables of an older version, and where the numbers were reset.
    let older = "ALTER TABLE tributary_changes DROP COLUMN w; ALTER TABLE tributary_changes DROP COLUMN z; \
                 ALTER TABLE tributary_feed DROP COLUMN w; ALTER TABLE tributary_feed DROP COLUMN kept";
    for made in ["SELECT 1", older, "DELETE FROM sqlite_sequence"] {
        let (mut stage, _) = emptied().await;
        stage.run("INSERT INTO t (id) VALUES (11), (12)").await;
        for letter in ["i", "u", "d"] {
            let sql = format!(
                "SELECT s.name FROM sqlite_schema AS s WHERE s.tbl_name = 't' AND s.name LIKE 'tributary%!_{letter}' ESCAPE '!'"
            );
            let name: String = stage.plain.fetch_one(sqlx::raw_sql(AssertSqlSafe(sql))).await.unwrap().get(0);
            stage.run(&format!("DROP TRIGGER {name}")).await;
        }
        stage.run("DROP TABLE doc").await;
        stage.run(made).await;
        assert_eq!(stage.count("SELECT count(*) FROM tributary_changes").await, 2, "{made}");
        assert!(stage.capture.remove(WHO, true).await.unwrap().is_empty(), "{made}");
        assert_eq!(stage.count("SELECT count(*) FROM tributary_changes").await, 0, "{made}");
        assert_eq!(stage.count("SELECT handed FROM tributary_feed WHERE id LIKE 'tributary%'").await, 5, "{made}");
        assert_eq!(stage.capture.remove(WHO, false).await.unwrap().len(), 2, "{made}");
        // The table of numbers itself cannot be dropped.
        assert_eq!(stage.count("SELECT count(*) FROM sqlite_sequence").await, 0, "{made}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn triggers_of_an_older_version_do_not_wait_for_their_table() {
    let (mut stage, group) = emptied().await;
    let discovered = stage.followed().await;
    let sql = "SELECT s.name FROM sqlite_schema AS s WHERE s.tbl_name = 't' AND s.name LIKE 'tributary%!_i' ESCAPE '!'";
    let name: String = stage.plain.fetch_one(sql).await.unwrap().get(0);
    stage
        .run(&format!(
            "DROP TRIGGER {name}; CREATE TRIGGER \"{name}\" AFTER INSERT ON \"t\" BEGIN \
             INSERT INTO tributary_changes (tbl, op, n0) SELECT 1, 'i', NEW.id FROM tributary_feed WHERE id LIKE 'tributary%'; END; \
             ALTER TABLE t ADD COLUMN more TEXT"
        ))
        .await;
    // It is followed as it was discovered before it was changed.
    let mut feed =
        stage.capture.start(WHO, &follow(), &discovered, Some(&group.resume)).await.unwrap_or_else(|ended| panic!("{ended:?}"));
    let triggers = "SELECT count(*) FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = 't'";
    assert_eq!(stage.count(triggers).await, 2);
    // Of what is written meanwhile no row is kept that could not be gone on behind.
    stage.run("INSERT INTO t (id) VALUES (11)").await;
    assert_eq!(events(&mut feed, 1).await.0, ["reshaped t"]);
    feed.reshape(&stage.followed().await).await.unwrap();
    assert_eq!(stage.count(triggers).await, 3);
    stage.run("INSERT INTO t (id) VALUES (12)").await;
    assert_eq!(events(&mut feed, 2).await.0, ["reshaped t", "upsert t 12,NULL,NULL,NULL,NULL"]);
    feed.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_says_how_far_changes_are_that_were_not_kept() {
    let mut stage = Stage::new(TABLES).await;
    let small = Follow { max_retained: 10 << 10, ..follow() };
    assert!(stage.connector.position(WHO, &small).await.is_err(), "nobody follows the file");
    let feed = stage.start(&small, None).await.unwrap_or_else(|ended| panic!("{ended:?}"));
    let before = stage.connector.position(WHO, &small).await.unwrap();
    let log = Follow { how: How::Log, ..follow() };
    assert!(matches!(stage.connector.position(WHO, &log).await, Err(StoreError::Unsupported { .. })));
    feed.close().await;
    stage.run(&large(1, 50)).await;
    let lost = stage.connector.position(WHO, &small).await.unwrap_err();
    assert!(lost.to_string().contains("max_retained"), "{lost}");
    // What is asked behind the gap is of another history, which no feed of before comes to.
    let feed = stage.start(&small, None).await.unwrap_or_else(|ended| panic!("{ended:?}"));
    let after = stage.connector.position(WHO, &small).await.unwrap();
    assert_eq!(stage.connector.covers(&before, &after), Coverage::Incomparable);
    feed.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_not_kept_any_more_are_counted() {
    let (mut stage, group) = emptied().await;
    let position = stage.connector.position(WHO, &follow()).await.unwrap();
    assert_eq!(stage.connector.covers(&group.transactions[0].position, &position), Coverage::Covered);
    assert_eq!(stage.connector.covers(&position, &group.transactions[0].position), Coverage::Covered);
    stage.run("BEGIN; DELETE FROM sqlite_sequence; INSERT INTO t (id) VALUES (11); COMMIT").await;
    let reset = stage.connector.position(WHO, &follow()).await.unwrap_err();
    assert!(reset.to_string().contains("sqlite_sequence"), "{reset}");
}
