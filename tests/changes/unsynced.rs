//! What a store keeps for us until our log has it on disk: while the log is not synced nothing is acknowledged and no event is removed, so
//! that all of it comes again where the machine loses what was not synced.

use std::collections::BTreeSet;

use sqlx::AssertSqlSafe;

use super::eventually;
use super::follow::barriers;
use super::native::Native;
use super::process::{Process, Step};
use super::room;

/// Rows that are written and told while the log is not synced.
const WRITES: i64 = 5;

/// The end of the server's log, of PostgreSQL; the other stores have none that a feed is measured by.
async fn end(native: &mut Native) -> String {
    match native {
        Native::Postgres(connection) => {
            sqlx::query_scalar("SELECT pg_current_wal_lsn()::text").fetch_one(connection).await.unwrap()
        }
        _ => String::new(),
    }
}

/// That the store still has what was written behind `end`. Of MariaDB and MongoDB we keep the place ourselves, in our log.
async fn assert_kept(native: &mut Native, end: &str) {
    match native {
        Native::Postgres(connection) => {
            // How far we are is told now and then: it has been told again since.
            let mut replies = BTreeSet::new();
            let replied = async || {
                let asked = "SELECT reply_time::text FROM pg_stat_replication WHERE reply_time IS NOT NULL";
                let reply: Option<String> = sqlx::query_scalar(asked).fetch_optional(&mut *connection).await.unwrap();
                replies.extend(reply);
                (replies.len() > 2).then_some(())
            };
            eventually("two replies to the server", replied).await;
            let kept = format!("SELECT bool_and(confirmed_flush_lsn <= '{end}') FROM pg_replication_slots");
            let kept: bool = sqlx::query_scalar(AssertSqlSafe(kept)).fetch_one(&mut *connection).await.unwrap();
            assert!(kept, "the server may forget what is not on disk here");
        }
        Native::Sqlite(connection) => {
            let kept: i64 = sqlx::query_scalar("SELECT count(*) FROM tributary_changes").fetch_one(&mut *connection).await.unwrap();
            assert!(kept > WRITES, "{kept} changes are left of those that are not on disk here, and of the event");
        }
        Native::MariaDb(_) | Native::MongoDb { .. } => {}
    }
}

/// Writes while the log is not synced, and loses what was not.
async fn lose(mut process: Process, step: &Step) {
    let session = process.session().await;
    let mut listener = process.listener(&[&format!("{}.orders", process.store), "topic:t"]).await;
    session.answer(&process.emit("before")).await;
    assert_eq!(listener.next().await.member("key"), "before");
    // What was removed there is on disk here.
    eventually("an empty outbox", async || (process.waiting(&session).await == "0").then_some(())).await;
    step.hold();
    // Nothing is synced from now on, so that this has all that the store was told of.
    let saved = process.log();
    let end = end(&mut process.native).await;
    // Who listens need not wait for the disk. But nothing of a file is told that cannot be read in the log, which is not written while it is
    // synced.
    let is_told = !matches!(process.native, Native::Sqlite(_));
    for id in 1..=WRITES {
        process.insert(id).await;
        if is_told {
            assert_eq!(listener.next().await.member("key"), format!("{{\"_id\":{id}}}"));
        }
    }
    session.answer(&process.emit("unsynced")).await;
    if is_told {
        assert_eq!(listener.next().await.member("key"), "unsynced");
    }
    eventually("a log that is not synced", async || step.is_held().then_some(())).await;
    assert_kept(&mut process.native, &end).await;
    assert_eq!(process.waiting(&session).await, "1");
    match process.native {
        // What was acknowledged is taken out of a file from time to time, and when its feed ends.
        Native::Sqlite(_) => process.end().await,
        _ => process.kill().await,
    }
    process.put_log(&saved);
    process.again().await;
    let session = process.session().await;
    let expected: Vec<String> = (1..=WRITES).map(|id| id.to_string()).collect();
    let all = async || {
        let (orders, events) = (process.orders(&session).await, process.events(&session).await);
        (orders.len() >= expected.len() && events.len() >= 2).then_some((orders, events))
    };
    let (orders, events) = eventually("what was lost here", all).await;
    assert_eq!(orders, expected);
    assert_eq!(events, ["before", "unsynced"]);
    let barriers = barriers(&session, process.store).await;
    assert!(!barriers.iter().any(|row| row.starts_with("gap|")), "{barriers:?}");
    eventually("an empty outbox", async || (process.waiting(&session).await == "0").then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_synced_comes_again_from_postgres() {
    let step = Step::new("changes_sync");
    // The server asks for a reply when half of it is over.
    let server = room::own_postgres(&["-c", "wal_sender_timeout=6s"]).await;
    let process = Box::pin(Process::of_postgres(&server, &step.failpoint())).await;
    Box::pin(lose(process, &step)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_synced_comes_again_from_mariadb() {
    let step = Step::new("changes_sync");
    let server = room::own_mariadb(&[]).await;
    let process = Box::pin(Process::of_mariadb(&server, &step.failpoint())).await;
    Box::pin(lose(process, &step)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_synced_comes_again_from_mongodb() {
    let step = Step::new("changes_sync");
    let server = room::own_mongodb(&[]).await;
    let process = Box::pin(Process::of_mongodb(&server, &step.failpoint())).await;
    Box::pin(lose(process, &step)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_synced_comes_again_from_a_file() {
    let step = Step::new("changes_sync");
    let process = Box::pin(Process::of_sqlite(&step.failpoint())).await;
    Box::pin(lose(process, &step)).await;
}
