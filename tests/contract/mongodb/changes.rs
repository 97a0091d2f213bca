//! Changes of a replica set, written behind the connector.

mod grants;
mod rest;

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, RecordBatch};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use futures::TryStreamExt;
use mongodb::bson::{Bson, Document, doc};
use tributary::stores::capture::{Capture, Ended, Feed, Follow, Followed, How, InstanceId, Judged, Step, TablePattern};
use tributary::stores::change::{Barrier, Entry, Group, Known, Operation, Resume};
use tributary::stores::connector::ScanLimits;
use tributary::stores::position::Coverage;

use super::{World, scan};

pub(super) const WHO: InstanceId = InstanceId(0xab);
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

pub(super) fn follow() -> Follow {
    Follow {
        how: How::Log,
        only: vec![TablePattern::parse("*").unwrap()],
        except: Vec::new(),
        max_retained: 1 << 30,
        poll: Duration::from_millis(5),
        publication: None,
        server_id: None,
    }
}

pub(super) struct Stage {
    pub(super) world: World,
    pub(super) capture: Arc<dyn Capture>,
}

impl Stage {
    pub(super) async fn new(collections: &[(&str, Document)]) -> Self {
        Self::of(World::new("").await, collections).await
    }

    pub(super) async fn of(world: World, collections: &[(&str, Document)]) -> Self {
        for (name, document) in collections {
            drop(world.fill(name, vec![document.clone()]).await);
        }
        let capture = world.connector.capture().unwrap();
        Self { world, capture }
    }

    pub(super) async fn followed(&self) -> Vec<Followed> {
        let tables = self.world.connector.discover().await.unwrap().tables;
        let survey = self.capture.survey(WHO, &follow(), &tables).await.unwrap();
        assert!(survey.refused.is_none(), "{survey:?}");
        let followed = survey.tables.into_iter().filter_map(|judged| match judged {
            Judged::Followed(followed) => Some(followed),
            Judged::StoreOnly { .. } => None,
        });
        followed.collect()
    }

    async fn start(&self, from: Option<&Resume>) -> Result<Box<dyn Feed>, Ended> {
        self.capture.start(WHO, &follow(), &self.followed().await, from).await
    }

    pub(super) async fn feed(&self, from: Option<&Resume>) -> Box<dyn Feed> {
        self.start(from).await.unwrap_or_else(|ended| panic!("{ended:?}"))
    }

    pub(super) async fn run(&self, command: Document) {
        self.world.database.run_command(command).await.unwrap();
    }
}

pub(super) async fn next(feed: &mut Box<dyn Feed>) -> Result<Step, Ended> {
    tokio::time::timeout(PATIENCE, feed.next()).await.expect("the feed gives nothing")
}

async fn group(feed: &mut Box<dyn Feed>) -> Group {
    loop {
        if let Step::Group(group) = next(feed).await.unwrap() {
            return group;
        }
    }
}

/// The events of so many rows and barriers, however they are divided, and the groups.
async fn events(feed: &mut Box<dyn Feed>, count: usize) -> (Vec<String>, Vec<Group>) {
    let (mut found, mut groups) = (Vec::new(), Vec::new());
    while found.len() < count {
        let group = group(feed).await;
        let entries = group.transactions.iter().flat_map(|transaction| &transaction.entries);
        found.extend(entries.map(|entry| one(&group, entry)));
        groups.push(group);
    }
    (found, groups)
}

pub(super) fn one(group: &Group, entry: &Entry) -> String {
    match entry {
        Entry::Barrier(Barrier::Reshaped { table, .. }) => format!("reshaped {}", table.name),
        Entry::Barrier(Barrier::Stopped { table, .. }) => format!("stopped {}", table.name),
        Entry::Barrier(other) => format!("{other:?}"),
        Entry::Row { rows, row } => {
            let (rows, row) = (&group.rows[*rows as usize], *row as usize);
            let is_delete = rows.operations[row] == Operation::Delete;
            let side = match (&rows.old, is_delete) {
                (Some(old), true) => side(old, &rows.old_known, row),
                _ => side(&rows.new, &rows.new_known, row),
            };
            format!("{} {} {side}", rows.operations[row].word(), rows.shape.id.name)
        }
    }
}

fn side(batch: &RecordBatch, known: &Known, row: usize) -> String {
    let options = FormatOptions::default().with_null("NULL");
    let cell = |(column, array): (usize, &Arc<dyn Array>)| {
        if known.has(column, row) {
            ArrayFormatter::try_new(array, &options).unwrap().value(row).to_string()
        } else {
            "?".to_owned()
        }
    };
    batch.columns().iter().enumerate().map(cell).collect::<Vec<_>>().join(",")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn single_writes_say_what_they_changed() {
    let stage = Stage::new(&[("items", doc! { "_id": 1, "a": 1, "b": "x", "o": { "n": 1 } })]).await;
    let items = stage.world.database.collection::<Document>("items");
    let mut feed = stage.feed(None).await;
    items.insert_one(doc! { "_id": 2, "a": 5 }).await.unwrap();
    items.update_one(doc! { "_id": 2 }, doc! { "$set": { "a": 6 }, "$unset": { "b": 1 } }).await.unwrap();
    items.update_one(doc! { "_id": 1 }, doc! { "$set": { "o.n": 2 }, "$unset": { "b": 1 } }).await.unwrap();
    items.replace_one(doc! { "_id": 1 }, doc! { "a": 9 }).await.unwrap();
    items.delete_one(doc! { "_id": 2 }).await.unwrap();
    // What nobody follows, and what is ours.
    stage.world.database.collection::<Document>("tributary_marks").insert_one(doc! { "_id": "m" }).await.unwrap();
    let (found, groups) = events(&mut feed, 5).await;
    let expected = [
        "insert items 2,5,NULL,NULL",
        "update items 2,6,?,?",
        "update items 1,?,NULL,?",
        "update items 1,9,NULL,NULL",
        "delete items 2,?,?,?",
    ];
    assert_eq!(found, expected);
    let transactions: Vec<_> = groups.iter().flat_map(|group| &group.transactions).collect();
    assert_eq!(transactions.len(), 5);
    for (before, after) in transactions.iter().zip(&transactions[1..]) {
        assert_eq!(stage.world.connector.covers(&before.position, &after.position), Coverage::Behind);
        assert!(before.ends && before.committed_us.is_some());
    }
    feed.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_comes_as_one_and_a_feed_goes_on_behind_it() {
    let stage = Stage::new(&[("items", doc! { "_id": 0, "a": 1 }), ("other", doc! { "_id": 0 })]).await;
    let (items, other) =
        (stage.world.database.collection::<Document>("items"), stage.world.database.collection::<Document>("other"));
    let mut feed = stage.feed(None).await;
    let mut session = stage.world.client.start_session().await.unwrap();
    session.start_transaction().await.unwrap();
    items.insert_one(doc! { "_id": 1, "a": 2 }).session(&mut session).await.unwrap();
    other.insert_one(doc! { "_id": 1 }).session(&mut session).await.unwrap();
    items.delete_one(doc! { "_id": 0 }).session(&mut session).await.unwrap();
    session.commit_transaction().await.unwrap();
    let (found, groups) = events(&mut feed, 3).await;
    assert_eq!(found, ["insert items 1,2", "insert other 1", "delete items 0,?"]);
    let [group] = &groups[..] else { panic!("{} groups", groups.len()) };
    assert_eq!((group.transactions.len(), group.transactions[0].ends), (1, true));
    assert!(group.transactions[0].id.contains(':'), "{}", group.transactions[0].id);
    feed.close().await;
    items.insert_one(doc! { "_id": 2, "a": 3 }).await.unwrap();
    let mut feed = stage.feed(Some(&group.resume)).await;
    assert_eq!(events(&mut feed, 1).await.0, ["insert items 2,3"]);
    // One that is larger than a group comes in pieces.
    let many: Vec<Document> = (10..10_010).map(|id| doc! { "_id": id, "a": 1 }).collect();
    session.start_transaction().await.unwrap();
    items.insert_many(many).session(&mut session).await.unwrap();
    session.commit_transaction().await.unwrap();
    let (found, groups) = events(&mut feed, 10_000).await;
    let transactions: Vec<_> = groups.iter().flat_map(|group| &group.transactions).collect();
    assert!(found.len() == 10_000 && transactions.len() > 1, "{} {}", found.len(), transactions.len());
    assert!(transactions.iter().all(|transaction| transaction.position == transactions[0].position));
    assert!(transactions[..transactions.len() - 1].iter().all(|transaction| !transaction.ends));
    feed.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn documents_are_whole_where_the_collection_keeps_them() {
    let stage = Stage::new(&[("items", doc! { "_id": 1, "a": 1, "b": "x" })]).await;
    stage.run(doc! { "collMod": "items", "changeStreamPreAndPostImages": { "enabled": true } }).await;
    let followed = stage.followed().await;
    assert!(followed[0].shape.always_known.iter().all(|is_known| *is_known));
    let items = stage.world.database.collection::<Document>("items");
    let mut feed = stage.feed(None).await;
    items.update_one(doc! { "_id": 1 }, doc! { "$set": { "a": 2 } }).await.unwrap();
    items.delete_one(doc! { "_id": 1 }).await.unwrap();
    let (found, groups) = events(&mut feed, 2).await;
    assert_eq!(found, ["update items 1,2,x", "delete items 1,2,x"]);
    let rows = &groups[0].rows[0];
    assert_eq!(side(rows.old.as_ref().unwrap(), &rows.old_known, 0), "1,1,x");
    feed.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_fit_and_what_is_dropped_stops_alone() {
    let stage = Stage::new(&[("items", doc! { "_id": 1, "a": 1 }), ("other", doc! { "_id": 0 })]).await;
    let (items, other) =
        (stage.world.database.collection::<Document>("items"), stage.world.database.collection::<Document>("other"));
    let mut feed = stage.feed(None).await;
    items.insert_one(doc! { "_id": 2, "a": "no number" }).await.unwrap();
    items.insert_one(doc! { "_id": 3, "a": 3 }).await.unwrap();
    other.insert_one(doc! { "_id": 1 }).await.unwrap();
    assert_eq!(events(&mut feed, 2).await.0, ["stopped items", "insert other 1"]);
    other.drop().await.unwrap();
    assert_eq!(events(&mut feed, 1).await.0, ["stopped other"]);
    while !matches!(next(&mut feed).await.unwrap(), Step::Doubt(_)) {}
    // It is there again, and whoever follows it again begins anew.
    other.insert_one(doc! { "_id": 5 }).await.unwrap();
    feed.reshape(&stage.followed().await).await.unwrap();
    // The stream may still be behind.
    let mut found = Vec::new();
    for id in 6..100 {
        other.insert_one(doc! { "_id": id }).await.unwrap();
        if let Ok(Step::Group(group)) = next(&mut feed).await {
            found.extend(group.transactions.iter().flat_map(|transaction| &transaction.entries).map(|entry| one(&group, entry)));
        }
        if found.iter().any(|event| event.starts_with("insert other")) {
            break;
        }
    }
    let (barrier, row) =
        (found.iter().position(|event| event == "reshaped other"), found.iter().position(|event| event.starts_with("insert")));
    assert!(barrier.zip(row).is_some_and(|(barrier, row)| barrier < row), "{found:?}");
    feed.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_is_too_large_is_told_by_its_key() {
    let stage = Stage::new(&[("items", doc! { "_id": 0, "a": "x" })]).await;
    stage.run(doc! { "collMod": "items", "changeStreamPreAndPostImages": { "enabled": true } }).await;
    let items = stage.world.database.collection::<Document>("items");
    items.insert_one(doc! { "_id": 1, "a": "y".repeat(9 << 20) }).await.unwrap();
    let mut feed = stage.feed(None).await;
    items.update_one(doc! { "_id": 0 }, doc! { "$set": { "a": "before" } }).await.unwrap();
    items.update_one(doc! { "_id": 1 }, doc! { "$set": { "b": 1 } }).await.unwrap();
    items.update_one(doc! { "_id": 0 }, doc! { "$set": { "a": "after" } }).await.unwrap();
    let (found, _) = events(&mut feed, 4).await;
    // Whole documents were promised, so that the collection begins anew.
    assert_eq!(found, ["update items 0,before", "update items 1,?", "reshaped items", "update items 0,after"]);
    // Right behind the place where a feed goes on.
    items.update_one(doc! { "_id": 0 }, doc! { "$set": { "a": "last" } }).await.unwrap();
    let (_, groups) = events(&mut feed, 1).await;
    feed.close().await;
    items.update_one(doc! { "_id": 1 }, doc! { "$set": { "b": 2 } }).await.unwrap();
    // The collection is discovered anew: by now it has a field "b".
    let mut feed = stage.feed(Some(&groups[0].resume)).await;
    assert_eq!(events(&mut feed, 2).await.0, ["update items 1,?,?", "reshaped items"]);
    // And right behind what a feed gave.
    items.update_one(doc! { "_id": 1 }, doc! { "$set": { "b": 3 } }).await.unwrap();
    assert_eq!(events(&mut feed, 2).await.0, ["update items 1,?,?", "reshaped items"]);
    feed.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_with_an_event_that_is_too_large_stays_one() {
    let stage = Stage::new(&[("items", doc! { "_id": 0, "a": "x" })]).await;
    stage.run(doc! { "collMod": "items", "changeStreamPreAndPostImages": { "enabled": true } }).await;
    let items = stage.world.database.collection::<Document>("items");
    items.insert_one(doc! { "_id": 1, "a": "y".repeat(9 << 20) }).await.unwrap();
    let mut feed = stage.feed(None).await;
    let mut session = stage.world.client.start_session().await.unwrap();
    session.start_transaction().await.unwrap();
    for (id, set) in [(0, doc! { "a": "first" }), (1, doc! { "b": 1 }), (0, doc! { "a": "last" })] {
        items.update_one(doc! { "_id": id }, doc! { "$set": set }).session(&mut session).await.unwrap();
    }
    session.commit_transaction().await.unwrap();
    let (found, groups) = events(&mut feed, 4).await;
    assert_eq!(found, ["update items 0,first", "update items 1,?", "reshaped items", "update items 0,last"]);
    // The stream was opened anew in the middle of it, which is no end.
    let transactions: Vec<_> = groups.iter().flat_map(|group| &group.transactions).collect();
    assert!(transactions.iter().all(|transaction| transaction.id == transactions[0].id));
    let ends: Vec<bool> = transactions.iter().map(|transaction| transaction.ends).collect();
    assert_eq!(ends.iter().rposition(|ends| !ends), ends.len().checked_sub(2), "{ends:?}");
    assert_eq!(transactions.iter().filter(|transaction| transaction.first == 0).count(), 1);
    feed.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_feed_goes_on_behind_a_collection_that_nobody_follows_any_more() {
    let stage = Stage::new(&[("items", doc! { "_id": 0, "a": 1 }), ("other", doc! { "_id": 0 })]).await;
    let (items, other) =
        (stage.world.database.collection::<Document>("items"), stage.world.database.collection::<Document>("other"));
    let mut feed = stage.feed(None).await;
    items.insert_one(doc! { "_id": 1, "a": 1 }).await.unwrap();
    other.insert_one(doc! { "_id": 1 }).await.unwrap();
    let (found, groups) = events(&mut feed, 2).await;
    assert_eq!(found, ["insert items 1,1", "insert other 1"]);
    let mut followed = stage.followed().await;
    followed.retain(|followed| followed.table.id.name == "items");
    feed.reshape(&followed).await.unwrap();
    items.insert_one(doc! { "_id": 2, "a": 2 }).await.unwrap();
    let (mut found, _) = events(&mut feed, 2).await;
    found.sort_unstable();
    assert_eq!(found, ["insert items 2,2", "stopped other"]);
    feed.close().await;
    // The same where it begins anew.
    let resume = &groups.last().unwrap().resume;
    let mut feed = stage.capture.start(WHO, &follow(), &followed, Some(resume)).await.unwrap_or_else(|ended| panic!("{ended:?}"));
    assert_eq!(events(&mut feed, 1).await.0, ["insert items 2,2"]);
    feed.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fill_has_its_place_among_the_changes() {
    let stage = Stage::new(&[("items", doc! { "_id": 0, "a": 1 })]).await;
    let items = stage.world.database.collection::<Document>("items");
    let mut feed = stage.feed(None).await;
    items.insert_one(doc! { "_id": 1 }).await.unwrap();
    let (_, before) = events(&mut feed, 1).await;
    let table = stage.world.table("items").await;
    let fill = stage.capture.fill(&table).await.unwrap();
    items.insert_one(doc! { "_id": 2 }).await.unwrap();
    let (_, after) = events(&mut feed, 1).await;
    assert!(stage.capture.contains(&fill.version, &before[0].transactions[0]));
    assert!(!stage.capture.contains(&fill.version, &after[0].transactions[0]));
    let scanned = fill.branch.scan(&table, &scan(&table, &["_id"], Vec::new()), ScanLimits::default()).await.unwrap();
    let batches: Vec<RecordBatch> = scanned.try_collect().await.unwrap();
    assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 2);
    feed.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn collections_are_judged_and_nothing_is_left() {
    let stage = Stage::new(&[("items", doc! { "_id": 0 })]).await;
    stage.run(doc! { "create": "ring", "capped": true, "size": 4096 }).await;
    stage.run(doc! { "create": "seen", "viewOn": "items", "pipeline": Bson::Array(Vec::new()) }).await;
    stage.run(doc! { "create": "metrics", "timeseries": { "timeField": "at" } }).await;
    let tables = stage.world.connector.discover().await.unwrap().tables;
    let survey = stage.capture.survey(WHO, &follow(), &tables).await.unwrap();
    let followed = survey.tables.iter().filter(|judged| matches!(judged, Judged::Followed(_)));
    assert_eq!(followed.map(|judged| judged.table().name.as_str()).collect::<Vec<_>>(), ["items"]);
    let outbox = Follow { how: How::Outbox, ..follow() };
    assert!(stage.capture.survey(WHO, &outbox, &tables).await.unwrap().refused.is_some());
    let feed = stage.feed(None).await;
    let watch = stage.capture.watch(WHO, &follow()).await.unwrap();
    assert!(watch.retained_bytes.is_none());
    feed.close().await;
    assert!(stage.capture.objects(WHO).await.unwrap().is_empty() && stage.capture.remove(WHO, false).await.unwrap().is_empty());
    let lost = stage.start(Some(&Resume(vec![1, 2, 3]))).await;
    assert!(matches!(lost, Err(Ended::Lost(_))));
}
