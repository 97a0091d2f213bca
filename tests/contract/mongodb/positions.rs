//! Positions of a replica set that a feed is waited for to reach: behind everything that can be read, whatever was written last.
//!
//! The server writes something by itself every ten seconds when nobody else does, behind which every feed comes in any case. So what is
//! reached without that is told by the position that is asked for afterwards: it is the same.

use std::time::Duration;

use mongodb::bson::{Bson, Document, doc};
use tokio_util::sync::CancellationToken;
use tributary::sandbox::Mongo;
use tributary::stores::capture::{Feed, Follow, Followed, How, Step};
use tributary::stores::change::{Resume, Transaction};
use tributary::stores::connector::Purpose;
use tributary::stores::position::{Coverage, Position};
use tributary::stores::{Edit, StoreError, WriteIsolation};

use super::World;
use super::changes::{PATIENCE, Stage, WHO, follow, next, one};
use super::writes::{insert, ints};
use crate::support;

/// How often something is tried of which the server's own writes may keep us from knowing.
const TRIES: usize = 10;

async fn newest(stage: &Stage) -> Position {
    stage.world.connector.position(WHO, &follow()).await.unwrap()
}

/// What a feed has told on its way, and where it is.
struct Reached {
    told: Vec<String>,
    transactions: Vec<Transaction>,
    position: Position,
    resume: Resume,
}

/// Reads until the feed has reached a position.
async fn reach(stage: &Stage, feed: &mut Box<dyn Feed>, wanted: &Position) -> Reached {
    let (mut told, mut transactions) = (Vec::new(), Vec::new());
    let reading = async {
        loop {
            let (reached, resume) = match next(feed).await.unwrap() {
                Step::Group(group) => {
                    let entries = group.transactions.iter().flat_map(|transaction| &transaction.entries);
                    told.extend(entries.map(|entry| one(&group, entry)));
                    transactions.extend(group.transactions.iter().cloned());
                    (group.transactions.last().filter(|last| last.ends).map(|last| last.position.clone()), group.resume)
                }
                Step::Idle { position, resume } => (Some(position), resume),
                Step::Doubt(_) => continue,
            };
            let is_covered = |reached: &Position| stage.world.connector.covers(reached, wanted) == Coverage::Covered;
            if let Some(position) = reached.filter(is_covered) {
                return (position, resume);
            }
        }
    };
    let (position, resume) = tokio::time::timeout(PATIENCE, reading).await.expect("the feed does not reach the position");
    Reached { told, transactions, position, resume }
}

impl Stage {
    async fn insert(&self, collection: &str, id: i32) {
        self.world.database.collection::<Document>(collection).insert_one(doc! { "_id": id }).await.unwrap();
    }

    /// Only one of the collections is followed.
    async fn only(&self, name: &str) -> Vec<Followed> {
        self.followed().await.into_iter().filter(|followed| followed.table.id.name == name).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_position_is_reached_behind_every_change() {
    let stage = Stage::new(&[("items", doc! { "_id": 0 })]).await;
    let mut feed = stage.feed(None).await;
    let first = newest(&stage).await;
    let reached = reach(&stage, &mut feed, &first).await;
    assert!(reached.told.is_empty(), "{:?}", reached.told);
    stage.insert("items", 1).await;
    let second = newest(&stage).await;
    assert_eq!(stage.world.connector.covers(&reached.position, &second), Coverage::Behind);
    assert_eq!(reach(&stage, &mut feed, &second).await.told, ["insert items 1"]);
    let outbox = Follow { how: How::Outbox, ..follow() };
    let refused = stage.world.connector.position(WHO, &outbox).await;
    assert!(matches!(refused, Err(StoreError::Unsupported { .. })), "{refused:?}");
    feed.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_position_is_reached_where_the_last_write_is_of_no_table_that_is_followed() {
    let server = Mongo::start_with(&support::throwaway()).await.unwrap();
    for kind in ["a document of the same second", "a document", "a collection", "a document behind one that is followed"] {
        let mut is_reached_alone = false;
        for _ in 0..TRIES {
            let filled = [("items", doc! { "_id": 0 }), ("other", doc! { "_id": 0 })];
            let stage = Stage::of(World::on(&server, "").await, &filled).await;
            let followed = stage.only("items").await;
            let mut feed = stage.capture.start(WHO, &follow(), &followed, None).await.unwrap_or_else(|ended| panic!("{ended:?}"));
            if kind != "a document of the same second" {
                let begun = newest(&stage).await;
                reach(&stage, &mut feed, &begun).await;
            }
            match kind {
                "a collection" => stage.run(doc! { "create": "third" }).await,
                "a document behind one that is followed" => {
                    stage.insert("items", 1).await;
                    stage.insert("other", 1).await;
                }
                _ => stage.insert("other", 1).await,
            }
            let wanted = newest(&stage).await;
            let reached = reach(&stage, &mut feed, &wanted).await;
            let expected: &[&str] = if kind.ends_with("followed") { &["insert items 1"] } else { &[] };
            assert_eq!(reached.told, expected, "{kind}");
            is_reached_alone = newest(&stage).await == wanted;
            feed.close().await;
            if is_reached_alone {
                break;
            }
        }
        assert!(is_reached_alone, "only the server's own writes bring a feed behind {kind}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_position_is_reached_behind_whole_transactions() {
    let stage = Stage::new(&[("items", doc! { "_id": 0 }), ("other", doc! { "_id": 0 })]).await;
    let (items, other) =
        (stage.world.database.collection::<Document>("items"), stage.world.database.collection::<Document>("other"));
    let mut feed = stage.feed(None).await;
    let mut session = stage.world.client.start_session().await.unwrap();
    session.start_transaction().await.unwrap();
    items.insert_one(doc! { "_id": 1 }).session(&mut session).await.unwrap();
    other.insert_one(doc! { "_id": 1 }).session(&mut session).await.unwrap();
    // What is not committed is not waited for.
    let before = newest(&stage).await;
    let reached = reach(&stage, &mut feed, &before).await;
    assert!(reached.told.is_empty(), "{:?}", reached.told);
    session.commit_transaction().await.unwrap();
    let behind = newest(&stage).await;
    assert_eq!(stage.world.connector.covers(&reached.position, &behind), Coverage::Behind);
    let reached = reach(&stage, &mut feed, &behind).await;
    assert_eq!(reached.told, ["insert items 1", "insert other 1"]);
    assert_eq!((reached.transactions.len(), reached.transactions[0].ends), (1, true));
    // One of ours, which says where it ends.
    let table = stage.world.table("items").await;
    let branch = stage.world.connector.open(Purpose::Write(WriteIsolation::ReadCommitted)).await.unwrap();
    let rows = insert(&table, &["_id"], vec![ints(&[Some(2), Some(3)])]);
    branch.edit(&Edit::Insert(rows), &CancellationToken::new()).await.unwrap();
    let position = branch.commit().await.unwrap().unwrap();
    let reached = reach(&stage, &mut feed, &position).await;
    assert_eq!(reached.told, ["insert items 2", "insert items 3"]);
    assert_eq!(reached.transactions.len(), 1);
    feed.close().await;
}

/// Whoever reads a document that a majority has and asks for a position then gets one at or behind it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_visible_is_in_front_of_the_position_that_is_asked_for_then() {
    const ROWS: i32 = 300;
    let stage = Stage::new(&[("items", doc! { "_id": 0 })]).await;
    let items = stage.world.database.collection::<Document>("items");
    let mut feed = stage.feed(None).await;
    let writing = async {
        for id in 1..=ROWS {
            stage.insert("items", id).await;
        }
    };
    let reading = async {
        let mut seen = Vec::new();
        loop {
            let command = doc! { "find": "items", "sort": { "_id": -1 }, "limit": 1, "readConcern": { "level": "majority" } };
            let answer = stage.world.database.run_command(command).await.unwrap();
            let found = answer.get_document("cursor").unwrap().get_array("firstBatch").unwrap().first().and_then(Bson::as_document);
            let id = found.unwrap().get_i32("_id").unwrap();
            seen.push((id, newest(&stage).await));
            if id == ROWS {
                return seen;
            }
        }
    };
    let ((), seen) = tokio::join!(writing, reading);
    assert_eq!(items.count_documents(doc! {}).await.unwrap(), 301);
    let reached = reach(&stage, &mut feed, &seen.last().unwrap().1).await;
    let expected: Vec<String> = (1..=ROWS).map(|id| format!("insert items {id}")).collect();
    assert_eq!(reached.told, expected);
    for (id, position) in seen.iter().filter(|(id, _)| *id > 0) {
        let transaction = &reached.transactions[usize::try_from(*id).unwrap() - 1];
        assert_eq!(stage.world.connector.covers(position, &transaction.position), Coverage::Covered, "document {id}");
    }
    feed.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_position_is_reached_again_after_the_server_was_killed() {
    let mut server = Mongo::start().await.unwrap();
    let stage = Stage::of(World::on(&server, "").await, &[("items", doc! { "_id": 0 })]).await;
    let mut feed = stage.feed(None).await;
    stage.insert("items", 1).await;
    let before = newest(&stage).await;
    let reached = reach(&stage, &mut feed, &before).await;
    assert_eq!(reached.told, ["insert items 1"]);
    feed.close().await;
    server.kill().await.unwrap();
    assert!(stage.world.connector.position(WHO, &follow()).await.is_err());
    server.again().await.unwrap();
    let after = newest(&stage).await;
    assert_eq!(stage.world.connector.covers(&after, &before), Coverage::Covered);
    let mut feed = stage.feed(Some(&reached.resume)).await;
    assert!(reach(&stage, &mut feed, &after).await.told.is_empty());
    let is_back = async {
        while stage.world.database.run_command(doc! { "ping": 1 }).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, is_back).await.expect("the server does not come back");
    stage.insert("items", 2).await;
    let last = newest(&stage).await;
    assert_eq!(reach(&stage, &mut feed, &last).await.told, ["insert items 2"]);
    feed.close().await;
}
