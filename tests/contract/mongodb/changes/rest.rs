//! Streams of which nothing has come for a while: the server is asked seldom then, and of what happens next nothing is lost, torn or told twice.
//! How soon it is told, and in which stream it is read, is tried beside the wait itself.

use std::time::Duration;

use mongodb::bson::{Document, doc};
use tributary::stores::capture::{Feed, Step};
use tributary::stores::change::Group;
use tributary::stores::position::Coverage;

use super::{Stage, WHO, events, follow, group, one};

/// After so long without an event a stream rests, with room to spare. Nothing below depends on that it does.
const QUIET: Duration = Duration::from_secs(7);

/// Reads on while nothing happens, until the server is asked seldom.
async fn rest(feed: &mut Box<dyn Feed>) {
    let reading = async {
        loop {
            // What others write is told as places.
            match feed.next().await {
                Ok(Step::Group(group)) => panic!("nothing has happened: {group:?}"),
                Ok(_) => {}
                Err(ended) => panic!("{ended:?}"),
            }
        }
    };
    let ended: Result<(), _> = tokio::time::timeout(QUIET, reading).await;
    assert!(ended.is_err());
}

fn told(group: &Group) -> Vec<String> {
    group.transactions.iter().flat_map(|transaction| &transaction.entries).map(|entry| one(group, entry)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_behind_a_rest_is_whole_and_given_once() {
    let stage = Stage::new(&[("items", doc! { "_id": 0, "a": 1 }), ("other", doc! { "_id": 0 })]).await;
    let (items, other) =
        (stage.world.database.collection::<Document>("items"), stage.world.database.collection::<Document>("other"));
    let mut feed = stage.feed(None).await;
    rest(&mut feed).await;
    let mut session = stage.world.client.start_session().await.unwrap();
    session.start_transaction().await.unwrap();
    items.insert_one(doc! { "_id": 1, "a": 2 }).session(&mut session).await.unwrap();
    other.insert_one(doc! { "_id": 1 }).session(&mut session).await.unwrap();
    items.delete_one(doc! { "_id": 0 }).session(&mut session).await.unwrap();
    session.commit_transaction().await.unwrap();
    items.insert_one(doc! { "_id": 2, "a": 3 }).await.unwrap();
    let (found, groups) = events(&mut feed, 4).await;
    assert_eq!(found, ["insert items 1,2", "insert other 1", "delete items 0,?", "insert items 2,3"]);
    let transactions: Vec<_> = groups.iter().flat_map(|group| &group.transactions).collect();
    assert_eq!(transactions.iter().map(|transaction| transaction.entries.len()).collect::<Vec<_>>(), [3, 1]);
    assert!(transactions.iter().all(|transaction| transaction.ends && transaction.first == 0));
    feed.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_single_write_behind_a_rest_and_the_transaction_behind_it_are_given_once_each() {
    let stage = Stage::new(&[("items", doc! { "_id": 0, "a": 1 })]).await;
    let items = stage.world.database.collection::<Document>("items");
    let mut feed = stage.feed(None).await;
    rest(&mut feed).await;
    items.insert_one(doc! { "_id": 1, "a": 1 }).await.unwrap();
    let mut session = stage.world.client.start_session().await.unwrap();
    session.start_transaction().await.unwrap();
    items.insert_one(doc! { "_id": 2, "a": 2 }).session(&mut session).await.unwrap();
    items.insert_one(doc! { "_id": 3, "a": 3 }).session(&mut session).await.unwrap();
    session.commit_transaction().await.unwrap();
    let (found, groups) = events(&mut feed, 3).await;
    assert_eq!(found, ["insert items 1,1", "insert items 2,2", "insert items 3,3"]);
    let transactions: Vec<_> = groups.iter().flat_map(|group| &group.transactions).collect();
    assert_eq!(transactions.iter().map(|transaction| transaction.entries.len()).collect::<Vec<_>>(), [1, 2]);
    feed.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_told_twice_where_positions_are_asked_for_behind_a_rest() {
    let stage = Stage::new(&[("items", doc! { "_id": 0 })]).await;
    let items = stage.world.database.collection::<Document>("items");
    let mut feed = stage.feed(None).await;
    rest(&mut feed).await;
    // The call that is under way may have the first of them when it is dropped.
    items.insert_one(doc! { "_id": 1 }).await.unwrap();
    let wanted = stage.world.connector.position(WHO, &follow()).await.unwrap();
    items.insert_one(doc! { "_id": 2 }).await.unwrap();
    items.insert_one(doc! { "_id": 3 }).await.unwrap();
    let (found, groups) = events(&mut feed, 3).await;
    assert_eq!(found, ["insert items 1", "insert items 2", "insert items 3"]);
    let transactions: Vec<_> = groups.iter().flat_map(|group| &group.transactions).collect();
    let [first, .., last] = &transactions[..] else { panic!("{} transactions", transactions.len()) };
    let connector = &stage.world.connector;
    assert_eq!(connector.covers(&last.position, &wanted), Coverage::Covered);
    assert_eq!(connector.covers(&wanted, &first.position), Coverage::Covered);
    feed.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_where_other_tables_are_asked_for_behind_a_rest() {
    let stage = Stage::new(&[("items", doc! { "_id": 0 }), ("other", doc! { "_id": 0 })]).await;
    let items = stage.world.database.collection::<Document>("items");
    let mut feed = stage.feed(None).await;
    rest(&mut feed).await;
    let mut followed = stage.followed().await;
    followed.retain(|followed| followed.table.id.name == "items");
    feed.reshape(&followed).await.unwrap();
    items.insert_one(doc! { "_id": 1 }).await.unwrap();
    let mut found = Vec::new();
    while found.len() < 2 {
        found.extend(told(&group(&mut feed).await));
    }
    found.sort_unstable();
    assert_eq!(found, ["insert items 1", "stopped other"]);
    feed.close().await;
}
