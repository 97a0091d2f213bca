//! Positions of a server that a feed is waited for to reach: behind everything that is visible, whatever was written last.
//!
//! Each test has a server of its own, as those of feeds.

use std::sync::Arc;
use std::time::Duration;

use sqlx::mysql::MySqlConnection;
use sqlx::{AssertSqlSafe, Executor, Row};
use tributary::sandbox::MariaDb;
use tributary::stores::StoreError;
use tributary::stores::capture::{Follow, How, Step};
use tributary::stores::change::Transaction;
use tributary::stores::commit::{LogId, Numbers, Vote};
use tributary::stores::connector::Connector;
use tributary::stores::edit::Edit;
use tributary::stores::position::{Coverage, Position};

use super::changes::{Following, LIMIT, US, follow, shown};
use super::writes::{WRITE, insert, ints, run};
use super::{Room, connect};
use crate::support::MariaDbOf;

async fn newest(room: &Room) -> Position {
    room.store.position(US, &follow()).await.unwrap()
}

/// What a feed has told on its way, and where it is.
struct Reached {
    told: Vec<String>,
    transactions: Vec<Transaction>,
    position: Position,
}

/// Reads until the feed has reached a position.
async fn reach(following: &mut Following, store: &Arc<dyn Connector>, wanted: &Position) -> Reached {
    let (mut told, mut transactions) = (Vec::new(), Vec::new());
    let reading = async {
        loop {
            let reached = match following.step().await.unwrap() {
                Step::Group(group) => {
                    following.resume = Some(group.resume.clone());
                    let group = Arc::new(group);
                    told.extend(group.transactions.iter().flat_map(|each| shown(&(each.clone(), Arc::clone(&group)))));
                    transactions.extend(group.transactions.iter().cloned());
                    group.transactions.last().filter(|last| last.ends).map(|last| last.position.clone())
                }
                Step::Idle { position, resume } => {
                    following.resume = Some(resume);
                    Some(position)
                }
                Step::Doubt(_) => None,
            };
            if let Some(reached) = reached.filter(|reached| store.covers(reached, wanted) == Coverage::Covered) {
                return reached;
            }
        }
    };
    let position = tokio::time::timeout(LIMIT, reading).await.expect("the feed does not reach the position");
    Reached { told, transactions, position }
}

async fn say(connection: &mut MySqlConnection, statements: &[&str]) {
    for statement in statements {
        connection.execute(AssertSqlSafe((*statement).to_owned())).await.unwrap();
    }
}

#[tokio::test]
async fn a_position_is_reached_behind_every_change_and_whatever_was_written_last() {
    let mut room = Room::alone("").await;
    room.run("CREATE TABLE t (id int primary key)").await;
    room.run("CREATE TABLE beside (id int primary key)").await;
    let mut following = Following::begin(&room, &["t"]).await;
    // Nothing has happened since the feed began.
    let first = newest(&room).await;
    let reached = reach(&mut following, &room.store, &first).await;
    assert!(reached.told.is_empty(), "{:?}", reached.told);
    room.run("INSERT INTO t VALUES (1)").await;
    let second = newest(&room).await;
    assert_eq!(room.store.covers(&reached.position, &second), Coverage::Behind);
    assert_eq!(reach(&mut following, &room.store, &second).await.told, ["insert 1"]);
    room.run("INSERT INTO t VALUES (2)").await;
    room.run("INSERT INTO beside VALUES (1)").await;
    let third = newest(&room).await;
    let reached = reach(&mut following, &room.store, &third).await;
    assert_eq!(reached.told, ["insert 2"]);
    for statement in
        ["INSERT INTO beside VALUES (2)", "CREATE TABLE other (id int)", "BEGIN", "INSERT INTO beside VALUES (3)", "COMMIT"]
    {
        room.run(statement).await;
    }
    let last = newest(&room).await;
    assert_eq!(room.store.covers(&reached.position, &last), Coverage::Behind);
    assert!(reach(&mut following, &room.store, &last).await.told.is_empty());
    let outbox = Follow { how: How::Outbox, ..follow() };
    assert!(matches!(room.store.position(US, &outbox).await, Err(StoreError::Unsupported { .. })));
    following.feed.close().await;
}

#[tokio::test]
async fn a_position_passes_a_transaction_that_is_prepared_and_its_end_has_another() {
    let mut room = Room::alone("").await;
    room.run("CREATE TABLE t (id int primary key)").await;
    let mut following = Following::begin(&room, &["t"]).await;
    let mut other = connect(&room.server, &room.database).await;
    say(&mut other, &["XA START 'a'", "INSERT INTO t VALUES (1)", "XA END 'a'", "XA PREPARE 'a'"]).await;
    let prepared = newest(&room).await;
    let reached = reach(&mut following, &room.store, &prepared).await;
    assert!(reached.told.is_empty(), "{:?}", reached.told);
    // Begun again behind it, in front of its end.
    let resume = following.resume.clone().unwrap();
    following.feed.close().await;
    say(&mut other, &["XA COMMIT 'a'"]).await;
    let ended = newest(&room).await;
    assert_eq!(room.store.covers(&reached.position, &ended), Coverage::Behind);
    let mut again = Following::again(&room, &["t"], &resume).await;
    assert_eq!(reach(&mut again, &room.store, &ended).await.told, ["insert 1"]);
    say(&mut other, &["XA START 'b'", "INSERT INTO t VALUES (2)", "XA END 'b'", "XA PREPARE 'b'", "XA ROLLBACK 'b'"]).await;
    let undone = newest(&room).await;
    assert!(reach(&mut again, &room.store, &undone).await.told.is_empty());
    again.feed.close().await;
}

#[tokio::test]
async fn what_was_read_of_a_log_before_it_began_anew_has_nothing_of_what_it_holds_then() {
    let mut room = Room::alone("").await;
    room.run("CREATE TABLE t (id int primary key)").await;
    let mut following = Following::begin(&room, &["t"]).await;
    for id in 1..=5 {
        room.run(format!("INSERT INTO t VALUES ({id})")).await;
    }
    let before = newest(&room).await;
    let reached = reach(&mut following, &room.store, &before).await.position;
    following.feed.close().await;
    // It counts from the beginning, so that its first ids are among those that were read.
    room.run("RESET MASTER").await;
    room.run("INSERT INTO t VALUES (6)").await;
    let after = newest(&room).await;
    for read in [&before, &reached] {
        assert_eq!(room.store.covers(read, &after), Coverage::Incomparable, "{read:?} {after:?}");
    }
    let mut anew = Following::begin(&room, &["t"]).await;
    room.run("INSERT INTO t VALUES (7)").await;
    let last = newest(&room).await;
    let reached = reach(&mut anew, &room.store, &last).await;
    assert_eq!(reached.told, ["insert 7"]);
    assert_eq!(room.store.covers(&reached.position, &before), Coverage::Incomparable);
    anew.feed.close().await;
}

/// Whoever sees a row and asks for a position then gets one at or behind it: in each, commits are written before they are visible.
#[tokio::test]
async fn what_is_visible_is_in_front_of_the_position_that_is_asked_for_then() {
    const ROWS: i32 = 300;
    let mut room = Room::on(MariaDbOf::One(MariaDb::start().await.unwrap()), "").await;
    room.run("CREATE TABLE t (id int primary key)").await;
    let mut following = Following::begin(&room, &["t"]).await;
    let mut writer = connect(&room.server, &room.database).await;
    let mut reader = connect(&room.server, &room.database).await;
    let writing = async {
        for id in 1..=ROWS {
            let insert = format!("INSERT INTO t VALUES ({id})");
            match id % 2 {
                0 => writer.execute(AssertSqlSafe(insert)).await.map(drop).unwrap(),
                _ => say(&mut writer, &["XA START 'x'", insert.as_str(), "XA END 'x'", "XA PREPARE 'x'", "XA COMMIT 'x'"]).await,
            }
        }
    };
    let reading = async {
        let mut seen = Vec::new();
        loop {
            let newest_row: Option<i32> = reader.fetch_one("SELECT MAX(id) FROM t").await.unwrap().get(0);
            seen.extend(newest_row.zip(Some(newest(&room).await)));
            if newest_row == Some(ROWS) {
                return seen;
            }
        }
    };
    let ((), seen) = tokio::join!(writing, reading);
    let reached = reach(&mut following, &room.store, &seen.last().unwrap().1).await;
    let expected: Vec<String> = (1..=ROWS).map(|id| format!("insert {id}")).collect();
    assert_eq!(reached.told, expected);
    for (id, position) in &seen {
        let transaction = &reached.transactions[usize::try_from(*id).unwrap() - 1];
        assert_eq!(room.store.covers(position, &transaction.position), Coverage::Covered, "row {id}");
    }
    following.feed.close().await;
}

#[tokio::test]
async fn a_commit_gives_its_position_where_somebody_follows() {
    let mut room = Room::alone("").await;
    room.run("CREATE TABLE t (id int primary key)").await;
    let table = room.table("t").await;
    room.store.number_with(&Arc::new(Numbers::new(LogId(rand::random()), 1)));
    let row = |id: i32| Edit::Insert(insert(&table, &[0], vec![ints([id])]));
    let branch = room.store.open(WRITE).await.unwrap();
    run(&branch, row(1)).await.unwrap();
    assert_eq!(branch.commit().await.unwrap(), None, "nobody follows");
    let mut following = Following::begin(&room, &["t"]).await;
    let branch = room.store.open(WRITE).await.unwrap();
    run(&branch, row(2)).await.unwrap();
    let position = branch.commit().await.unwrap().unwrap();
    assert_eq!(reach(&mut following, &room.store, &position).await.told, ["insert 2"]);
    let branch = room.store.open(WRITE).await.unwrap();
    run(&branch, row(3)).await.unwrap();
    let id = branch.branch_id(room.store.name(), Numbers::new(LogId(1), 1).next());
    assert!(matches!(branch.prepare(&id).await, Ok(Vote::Yes)));
    let position = branch.commit_prepared().await.unwrap().unwrap();
    assert_eq!(reach(&mut following, &room.store, &position).await.told, ["insert 3"]);
    // The connection is used again.
    let branch = room.store.open(WRITE).await.unwrap();
    run(&branch, row(4)).await.unwrap();
    assert!(branch.commit().await.unwrap().is_some());
    following.feed.close().await;
}

#[tokio::test]
async fn a_position_is_reached_again_after_the_server_was_killed() {
    let mut room = Room::on(MariaDbOf::One(MariaDb::start().await.unwrap()), "").await;
    room.run("CREATE TABLE t (id int primary key)").await;
    let mut following = Following::begin(&room, &["t"]).await;
    room.run("INSERT INTO t VALUES (1)").await;
    let before = newest(&room).await;
    assert_eq!(reach(&mut following, &room.store, &before).await.told, ["insert 1"]);
    let resume = following.resume.clone().unwrap();
    following.feed.close().await;
    let MariaDbOf::One(server) = &mut room.server else { panic!("it is one of our own") };
    server.kill().await.unwrap();
    assert!(room.store.position(US, &follow()).await.is_err());
    let MariaDbOf::One(server) = &mut room.server else { panic!("it is one of our own") };
    server.again().await.unwrap();
    // Connections of before are found to be dead one after the other.
    while matches!(room.store.discover().await, Err(StoreError::ConnectionLost { .. })) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut again = Following::again(&room, &["t"], &resume).await;
    let after = newest(&room).await;
    assert_eq!(room.store.covers(&after, &before), Coverage::Covered);
    assert!(reach(&mut again, &room.store, &after).await.told.is_empty());
    room.writer = connect(&room.server, &room.database).await;
    room.run("INSERT INTO t VALUES (2)").await;
    let last = newest(&room).await;
    assert_eq!(reach(&mut again, &room.store, &last).await.told, ["insert 2"]);
    again.feed.close().await;
}
