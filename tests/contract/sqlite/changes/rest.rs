//! Files that nobody has written to for a while: what is written then is told, whatever the file's journal.

use std::time::Duration;

use tributary::stores::position::Coverage;

use super::{Stage, TABLES, WHO, events, follow, with_journal};

/// Longer than a feed goes on asking SQLite behind the last change of the file.
const REST: Duration = Duration::from_millis(1_500);

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_has_rested_is_told_of_when_it_is_written_again() {
    let follow = follow();
    for tables in [TABLES.to_owned(), with_journal()] {
        let mut stage = Stage::new(&tables).await;
        let mut feed = stage.feed(None).await;
        for id in 1..4 {
            stage.run(&format!("INSERT INTO t (id) VALUES ({id})")).await;
            let position = stage.connector.position(WHO, &follow).await.unwrap();
            let (found, group) = events(&mut feed, 1).await;
            assert_eq!(found, [format!("upsert t {id},NULL,NULL,NULL")]);
            let given = &group.transactions.last().unwrap().position;
            assert_eq!(stage.connector.covers(given, &position), Coverage::Covered, "row {id}");
            feed.acknowledge(given, &group.resume).await.unwrap();
            tokio::time::sleep(REST).await;
        }
        // A log that is emptied, and begins anew.
        stage.run("PRAGMA wal_checkpoint(TRUNCATE); INSERT INTO doc VALUES ('a', '[1]')").await;
        assert_eq!(events(&mut feed, 1).await.0, ["upsert doc a,[1]"]);
        feed.close().await;
    }
}
