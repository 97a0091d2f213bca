//! Marks of commits, and collections of ours.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::TryStreamExt;
use mongodb::bson::{DateTime, Document, doc};
use tokio_util::sync::CancellationToken;
use tributary::error::Diagnose;
use tributary::stores::commit::{Gid, Hint, LogId, MarkId, MarkOf, OwnTable, Part, Verdict};
use tributary::stores::connector::{Purpose, ScanLimits};
use tributary::stores::edit::UpdateRows;
use tributary::stores::{Branch, Edit, Scan, StoreError, WriteIsolation};

use super::World;
use super::writes::{batch, insert, ints, once, store, texts};

const WRITE: Purpose = Purpose::Write(WriteIsolation::ReadCommitted);

fn mark(number: u64) -> MarkId {
    MarkId { gid: Gid { log: LogId(7), number }, of: MarkOf::All }
}

/// What is written down, as `state number`.
async fn stored(world: &World) -> Vec<String> {
    let marks = world.database.collection::<Document>("tributary_marks");
    let found: Vec<Document> = marks.find(doc! {}).sort(doc! { "_id": 1 }).await.unwrap().try_collect().await.unwrap();
    let number = |id: &str| u64::from_str_radix(id.rsplit(':').next().unwrap(), 16).unwrap();
    found.iter().map(|one| format!("{} {}", one.get_str("state").unwrap(), number(one.get_str("_id").unwrap()))).collect()
}

async fn decided(world: &World, number: u64) -> Verdict {
    world.connector.decide(mark(number), &Hint::default()).await.unwrap()
}

/// A transaction that has written something of its own.
async fn begun(world: &World, id: i64) -> Arc<dyn Branch> {
    let table = world.table("items").await;
    let branch = world.connector.open(WRITE).await.unwrap();
    let row = Edit::Insert(insert(&table, &["_id", "name"], vec![ints(&[Some(id)]), texts(&[Some("new")])]));
    branch.edit(&row, &CancellationToken::new()).await.unwrap();
    branch
}

async fn items(world: &World) -> u64 {
    world.database.collection::<Document>("items").count_documents(doc! {}).await.unwrap()
}

async fn world(options: &str) -> World {
    let world = World::new(options).await;
    world.fill("items", vec![doc! { "_id": 1_i64, "name": "old" }]).await;
    world
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mark_is_kept_with_its_transaction_or_not_at_all() {
    let world = world("").await;
    assert_eq!(world.connector.part(), Part::Last);
    let kept = begun(&world, 2).await;
    assert_eq!(kept.part(), Part::Last);
    assert!((1..=64).contains(&kept.hint().0.len()));
    // A collection that others make after a transaction began is out of its reach.
    world.connector.install(OwnTable::Marks).await.unwrap();
    kept.mark(mark(1)).await.unwrap();
    kept.commit().await.unwrap();
    let dropped = begun(&world, 3).await;
    dropped.mark(mark(2)).await.unwrap();
    dropped.rollback().await.unwrap();
    assert_eq!((stored(&world).await, items(&world).await), (vec!["commit 1".to_owned()], 2));
    for _ in 0..2 {
        assert_eq!((decided(&world, 1).await, decided(&world, 2).await), (Verdict::Commit, Verdict::Abort));
    }
    // What was decided stays so: the mark comes too late, and so does all that is written with it.
    let late = begun(&world, 4).await;
    assert_eq!(late.mark(mark(2)).await.unwrap_err().sqlstate(), "23505");
    assert_eq!(late.commit().await.unwrap_err().sqlstate(), "25P02");
    assert_eq!((stored(&world).await, items(&world).await), (vec!["commit 1".to_owned(), "abort 2".to_owned()], 2));
    let (one, other) = tokio::join!(decided(&world, 5), decided(&world, 5));
    assert_eq!((one, other), (Verdict::Abort, Verdict::Abort));
    for purpose in [Purpose::Statement { scans: 1 }, Purpose::Once] {
        let branch = world.connector.open(purpose).await.unwrap();
        assert!(matches!(branch.part(), Part::Alone(_)));
        assert_eq!(branch.hint(), Hint::default());
        assert_eq!(branch.mark(mark(9)).await.unwrap_err().sqlstate(), "0A000");
    }
}

/// Nobody may be left who would end it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_that_is_still_open_is_ended_by_its_hint() {
    let world = world("").await;
    for number in [1, 2] {
        let open = begun(&world, 10).await;
        open.mark(mark(number)).await.unwrap();
        let asked = Instant::now();
        assert_eq!(world.connector.decide(mark(number), &open.hint()).await.unwrap(), Verdict::Abort);
        assert!(asked.elapsed() < Duration::from_secs(20), "the server gives it a minute");
        assert_eq!(open.commit().await.unwrap_err().sqlstate(), "40001");
        assert_eq!(decided(&world, number).await, Verdict::Abort);
    }
    assert_eq!((stored(&world).await, items(&world).await), (vec!["abort 1".to_owned(), "abort 2".to_owned()], 1));
}

/// Without a hint the open transaction is waited for, as long as a command may take.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_decided_while_the_transaction_is_open() {
    let world = world("query_timeout = \"2s\"\n").await;
    for (number, verdict) in [(1, Verdict::Commit), (2, Verdict::Abort), (3, Verdict::Commit)] {
        let open = begun(&world, 20 + i64::try_from(number).unwrap()).await;
        open.mark(mark(number)).await.unwrap();
        // The collection is there from the first commit on.
        if number > 1 {
            let error = world.connector.decide(mark(number), &Hint::default()).await.unwrap_err();
            assert!(matches!(error, StoreError::Deadline { .. }), "{error:?}");
        }
        match verdict {
            Verdict::Commit => drop(open.commit().await.unwrap()),
            Verdict::Abort => open.rollback().await.unwrap(),
        }
        assert_eq!(decided(&world, number).await, verdict);
    }
    let expected = ["commit 1", "abort 2", "commit 3"].map(str::to_owned).to_vec();
    assert_eq!((stored(&world).await, items(&world).await), (expected, 3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn marks_that_are_of_no_more_use_are_removed() {
    let world = world("").await;
    world.connector.forget(&[]).await.unwrap();
    world.connector.forget(&[mark(1)]).await.unwrap();
    for number in [1, 2, 3] {
        let branch = world.connector.open(WRITE).await.unwrap();
        branch.mark(mark(number)).await.unwrap();
        branch.commit().await.unwrap();
    }
    for number in [4, 5] {
        assert_eq!(decided(&world, number).await, Verdict::Abort);
    }
    // What was aborted just now may still be in somebody's way.
    world.connector.forget(&[mark(1), mark(3), mark(4)]).await.unwrap();
    assert_eq!(stored(&world).await, ["commit 2", "abort 4", "abort 5"]);
    let marks = world.database.collection::<Document>("tributary_marks");
    let old = doc! { "$set": { "at": DateTime::from_millis(0) } };
    marks.update_many(doc! { "_id": { "$in": [mark(2).to_string(), mark(5).to_string()] } }, old).await.unwrap();
    let many: Vec<MarkId> = (100..2_600).map(mark).collect();
    world.connector.forget(&many).await.unwrap();
    assert_eq!(stored(&world).await, ["commit 2", "abort 4"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn collections_of_ours_are_made_once_and_described_by_what_is_written_there() {
    let world = world("").await;
    for which in OwnTable::ALL {
        let (one, other) = tokio::join!(world.connector.install(which), world.connector.install(which));
        one.and(other).unwrap();
        world.connector.install(which).await.unwrap();
    }
    let mut made = world.database.list_collection_names().await.unwrap();
    made.sort();
    assert_eq!(made, ["items", "tributary_keys", "tributary_marks", "tributary_outbox"]);
    let schema = world.connector.discover().await.unwrap();
    let ours = schema.tables.iter().filter(|table| table.id.namespace == world.database.name());
    let ours: Vec<&str> = ours.map(|table| table.id.name.as_str()).collect();
    assert_eq!(ours, ["items", "tributary_outbox"]);
    let own = world.connector.own_table(OwnTable::Outbox).unwrap();
    let found = world.table("tributary_outbox").await;
    assert_eq!((&found.id, found.kind, &found.columns), (&own.id, own.kind, &own.columns));
    assert_eq!(found.primary_key, own.primary_key);
    let values = vec![texts(&[Some("u")]), texts(&[Some("orders")]), texts(&[Some("{\"n\": 1.50}")])];
    let row = insert(&own, &["_id", "topic", "payload"], values);
    once(&world, &Edit::Insert(row)).await.unwrap();
    assert_eq!(world.rows(&found, &["_id", "topic", "payload"], Vec::new()).await, [["u", "orders", "{\"n\": 1.50}"]]);
    // A transaction that begins now reaches the collection of marks.
    let branch = begun(&world, 2).await;
    branch.mark(mark(1)).await.unwrap();
    branch.commit().await.unwrap();
    assert_eq!(stored(&world).await, ["commit 1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_written_as_those_of_any_collection() {
    let world = world("").await;
    world.connector.install(OwnTable::Keys).await.unwrap();
    let keys = world.connector.own_table(OwnTable::Keys).unwrap();
    let put = |key: &str| Edit::Insert(insert(&keys, &["_id", "hash"], vec![texts(&[Some(key)]), texts(&[Some("h")])]));
    let go = CancellationToken::new();
    let branch = world.connector.open(WRITE).await.unwrap();
    branch.edit(&put("k"), &go).await.unwrap();
    let rows = batch(&keys, &[0, 2], vec![texts(&[Some("k")]), texts(&[Some("[]")])]);
    let outcome = UpdateRows {
        store: store(),
        table: keys.clone(),
        key: vec![0],
        set: vec![2],
        rows,
        paths: Vec::new(),
        returning: Vec::new(),
    };
    assert_eq!(branch.edit(&Edit::UpdateRows(outcome), &go).await.unwrap().rows, 1);
    branch.commit().await.unwrap();
    let again = world.connector.open(WRITE).await.unwrap();
    assert_eq!(again.edit(&put("k"), &go).await.unwrap_err().sqlstate(), "23505");
    again.rollback().await.unwrap();
    let other = world.connector.open(WRITE).await.unwrap();
    other.edit(&put("K"), &go).await.unwrap();
    let scan = Scan { store: store(), table: keys.id.clone(), columns: vec![0, 2], filter: Vec::new(), limit: None };
    let stream = other.scan(&keys, &scan, ScanLimits::default()).await.unwrap();
    let mut seen = super::shown(&stream.try_collect::<Vec<_>>().await.unwrap());
    seen.sort();
    assert_eq!(seen, [["K", "NULL"], ["k", "[]"]]);
    other.commit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_weakens_a_promise_is_told() {
    let world = world("").await;
    let settings = doc! { "getParameter": 1, "transactionLifetimeLimitSeconds": 1 };
    let reply = world.client.database("admin").run_command(settings).await.unwrap();
    let is_short = reply.get_i32("transactionLifetimeLimitSeconds").unwrap() < 60;
    let told: Vec<&str> = world.connector.preflight().await.unwrap().iter().map(|caution| caution.key).collect();
    assert_eq!(told.contains(&"transactionLifetimeLimitSeconds"), is_short, "{told:?}");
    assert!(!told.contains(&"replSetName"), "{told:?}");
    let closed = World::new("read_only = true\n").await;
    assert!(closed.connector.preflight().await.unwrap().is_empty());
    assert_eq!(closed.connector.decide(mark(1), &Hint::default()).await.unwrap_err().sqlstate(), "25006");
    assert_eq!(closed.connector.install(OwnTable::Keys).await.unwrap_err().sqlstate(), "25006");
}
