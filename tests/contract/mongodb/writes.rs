//! Edits of collections, looked at through a client of their own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::array::{ArrayRef, Decimal128Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::Schema;
use futures::TryStreamExt;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Bson, Document, doc};
use mongodb::options::IndexOptions;
use mongodb::{Collection, IndexModel};
use tokio_util::sync::CancellationToken;
use tributary::error::Diagnose;
use tributary::pgtype::UTC;
use tributary::stores::connector::{Purpose, ScanLimits};
use tributary::stores::edit::{
    self, Conflict, ConflictAction, ConflictTarget, Delete, DeleteRows, Insert, Proposed, Update, UpdateRows,
};
use tributary::stores::fragment::{Expression, Node};
use tributary::stores::predicate::{ColumnRef, Comparison, Predicate};
use tributary::stores::value::Value;
use tributary::stores::{Branch, Edit, Edited, Relation, Scan, StoreError, StoreName, Table, Tables, WriteIsolation};

use super::{World, collect, ordinal, scan, shown};

const WRITE: Purpose = Purpose::Write(WriteIsolation::ReadCommitted);
const REPEATABLE: Purpose = Purpose::Transaction { read_only: false, repeatable: true };

pub(super) fn store() -> StoreName {
    StoreName::new("docs")
}

fn go() -> CancellationToken {
    CancellationToken::new()
}

/// Two items with a unique name, in a collection whose keys are numbers.
async fn items(world: &World) -> (Collection<Document>, Arc<Table>) {
    let price: Bson = Bson::Decimal128("1.50".parse().unwrap());
    let first = doc! { "_id": 1_i64, "name": "a", "n": 1_i32, "price": &price, "at": mongodb::bson::DateTime::from_millis(0), "tags": ["x"] };
    let second = doc! { "_id": 2_i64, "name": "b", "n": 2_i64, "nested": { "a": 1 } };
    let collection = world.fill("items", vec![first, second]).await;
    let options = IndexOptions::builder().unique(true).name("by_name".to_owned()).build();
    collection.create_index(IndexModel::builder().keys(doc! { "name": 1 }).options(options).build()).await.unwrap();
    (collection, world.table("items").await)
}

/// How many transactions the server has ended without keeping them.
async fn aborted(collection: &Collection<Document>) -> i64 {
    let status = collection.client().database("admin").run_command(doc! { "serverStatus": 1 }).await.unwrap();
    let count = status.get_document("transactions").unwrap().get("totalAborted").unwrap();
    count.as_i64().or_else(|| count.as_i32().map(i64::from)).unwrap()
}

/// Whether the server is at an insert into the collection.
async fn inserts(collection: &Collection<Document>) -> bool {
    let of_collection = doc! { "$match": { "ns": collection.namespace().to_string(), "op": "insert" } };
    let pipeline = [doc! { "$currentOp": { "allUsers": true } }, of_collection];
    let found = collection.client().database("admin").aggregate(pipeline).await.unwrap();
    !found.try_collect::<Vec<Document>>().await.unwrap().is_empty()
}

pub(super) fn ints(values: &[Option<i64>]) -> ArrayRef {
    Arc::new(Int64Array::from(values.to_vec()))
}

pub(super) fn texts(values: &[Option<&str>]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

pub(super) fn insert(table: &Arc<Table>, names: &[&str], arrays: Vec<ArrayRef>) -> Insert {
    let columns: Vec<usize> = names.iter().map(|name| ordinal(table, name)).collect();
    let rows = batch(table, &columns, arrays);
    Insert { store: store(), table: table.clone(), columns, rows, conflict: None, paths: Vec::new(), returning: Vec::new() }
}

pub(super) fn batch(table: &Table, columns: &[usize], arrays: Vec<ArrayRef>) -> RecordBatch {
    let fields: Vec<_> = columns.iter().map(|ordinal| edit::field(&table.columns[*ordinal])).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap()
}

fn named(table: &Arc<Table>, rows: &[(i64, &str)]) -> Insert {
    let ids: Vec<_> = rows.iter().map(|(id, _)| Some(*id)).collect();
    let names: Vec<_> = rows.iter().map(|(_, name)| Some(*name)).collect();
    insert(table, &["_id", "name"], vec![ints(&ids), texts(&names)])
}

pub(super) async fn once(world: &World, edit: &Edit) -> Result<Edited, StoreError> {
    assert_eq!(world.connector.accepts_edit(edit), Ok(()), "{edit:?}");
    let branch = world.connector.open(Purpose::Once).await?;
    let edited = branch.edit(edit, &go()).await;
    assert!(!branch.has_written());
    branch.commit().await?;
    edited
}

/// `_id` and name of all documents.
async fn stored(collection: &Collection<Document>) -> Vec<String> {
    let found: Vec<Document> = collection.find(doc! {}).sort(doc! { "_id": 1 }).await.unwrap().try_collect().await.unwrap();
    found.iter().map(|document| format!("{} {}", document.get("_id").unwrap(), document.get_str("name").unwrap_or("~"))).collect()
}

pub(super) fn rows_of(edited: &Edited) -> Vec<Vec<String>> {
    edited.returned.iter().flat_map(|batch| shown(std::slice::from_ref(batch))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn documents_are_inserted_with_the_types_that_are_read() {
    let world = World::new("").await;
    let (collection, table) = items(&world).await;
    let price: ArrayRef = Arc::new(Decimal128Array::from(vec![Some(250)]).with_precision_and_scale(38, 2).unwrap());
    let at: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![Some(5_000)]).with_timezone(UTC));
    let new =
        insert(&table, &["_id", "name", "n", "price", "at"], vec![ints(&[Some(3)]), texts(&[Some("c")]), ints(&[None]), price, at]);
    let returning = ["name", "price", "tags", "_id"].map(|name| ordinal(&table, name)).to_vec();
    let edited = once(&world, &Edit::Insert(Insert { returning, ..new })).await.unwrap();
    assert_eq!((edited.rows, rows_of(&edited)), (1, vec![["c", "2.50", "NULL", "3"].map(str::to_owned).to_vec()]));
    let found = collection.find_one(doc! { "_id": 3 }).await.unwrap().unwrap();
    let expected = doc! { "_id": 3_i64, "name": "c", "n": Bson::Null, "price": Bson::Decimal128("2.50".parse().unwrap()),
    "at": mongodb::bson::DateTime::from_millis(5) };
    assert_eq!(found, expected, "what is left out is absent");
    // Keys are made here.
    let made = world.fill("made", vec![doc! { "_id": ObjectId::new(), "name": "old" }]).await;
    let made_table = world.table("made").await;
    let rows = insert(&made_table, &["name"], vec![texts(&[Some("x"), Some("y")])]);
    let edited = once(&world, &Edit::Insert(Insert { returning: vec![0], ..rows })).await.unwrap();
    let ids: Vec<ObjectId> = rows_of(&edited).iter().map(|row| ObjectId::parse_str(&row[0]).unwrap()).collect();
    for (id, name) in ids.into_iter().zip(["x", "y"]) {
        assert_eq!(made.find_one(doc! { "_id": id }).await.unwrap().unwrap(), doc! { "_id": id, "name": name });
    }
    let null = |id: Option<i64>| Edit::Insert(insert(&table, &["_id", "name"], vec![ints(&[id]), texts(&[None])]));
    assert_eq!(once(&world, &null(None)).await.unwrap_err().sqlstate(), "23502");
    let keyless = Edit::Insert(insert(&table, &["name"], vec![texts(&[Some("k")])]));
    assert_eq!(once(&world, &keyless).await.unwrap_err().sqlstate(), "23502");
    let at: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![Some(1)]).with_timezone(UTC));
    let fine = Edit::Insert(insert(&table, &["_id", "at"], vec![ints(&[Some(9)]), at]));
    assert_eq!(once(&world, &fine).await.unwrap_err().sqlstate(), "22008");
    let nested = ordinal(&table, "nested");
    let document = insert(&table, &["_id", "nested"], vec![ints(&[Some(4)]), texts(&[Some("{\"a\": 7}")])]);
    let edited = once(&world, &Edit::Insert(Insert { returning: vec![nested], ..document })).await.unwrap();
    assert_eq!((edited.rows, rows_of(&edited).concat()), (1, vec!["{a: 7}".to_owned()]));
    let found = collection.find_one(doc! { "_id": 4 }).await.unwrap().unwrap();
    assert_eq!(found, doc! { "_id": 4_i64, "nested": { "a": 7_i64 } });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_document_leaves_nothing_behind() {
    let world = World::new("").await;
    let (collection, table) = items(&world).await;
    let twice = Edit::Insert(named(&table, &[(3, "c"), (4, "a")]));
    let error = once(&world, &twice).await.unwrap_err();
    assert_eq!((error.sqlstate(), error.constraint().as_deref()), ("23505", Some("by_name")));
    let known = Edit::Insert(named(&table, &[(1, "z")]));
    let error = once(&world, &known).await.unwrap_err();
    assert_eq!((error.sqlstate(), error.constraint().as_deref()), ("23505", Some("_id_")));
    assert_eq!(stored(&collection).await, ["1 a", "2 b"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn documents_that_meet_existing_ones_are_left_out_or_update_them() {
    let world = World::new("").await;
    let (collection, table) = items(&world).await;
    let (id, name, n) = (0, ordinal(&table, "name"), ordinal(&table, "n"));
    let with = |insert: Insert, target, action| Edit::Insert(Insert { conflict: Some(Conflict { target, action }), ..insert });
    let rows = Insert { returning: vec![id], ..named(&table, &[(1, "z"), (5, "e"), (5, "f"), (6, "b")]) };
    let edited = once(&world, &with(rows, ConflictTarget::Any, ConflictAction::Nothing)).await.unwrap();
    assert_eq!((edited.rows, rows_of(&edited)), (1, vec![vec!["5".to_owned()]]));
    let set = || ConflictAction::Update(vec![(name, Proposed::Excluded(name)), (n, Proposed::Constant(Some(Value::Int(50))))]);
    let rows = Insert { returning: vec![name, n], ..named(&table, &[(7, "g"), (2, "bb")]) };
    let edited = once(&world, &with(rows, ConflictTarget::Columns(vec![id]), set())).await.unwrap();
    let expected = [["g", "NULL"], ["bb", "50"]].map(|row| row.map(str::to_owned).to_vec());
    assert_eq!((edited.rows, rows_of(&edited)), (2, expected.to_vec()));
    let by_name = ConflictAction::Update(vec![(n, Proposed::Constant(None))]);
    let rows = named(&table, &[(100, "a")]);
    assert_eq!(once(&world, &with(rows, ConflictTarget::Columns(vec![name]), by_name)).await.unwrap().rows, 1);
    assert_eq!(collection.find_one(doc! { "_id": 1 }).await.unwrap().unwrap().get("n"), Some(&Bson::Null));
    let twice = with(named(&table, &[(8, "q"), (8, "r")]), ConflictTarget::Columns(vec![id]), set());
    assert_eq!(once(&world, &twice).await.unwrap_err().sqlstate(), "21000");
    let other = with(named(&table, &[(9, "a")]), ConflictTarget::Columns(vec![id]), set());
    assert_eq!(once(&world, &other).await.unwrap_err().sqlstate(), "23505");
    let keyless = with(named(&table, &[(9, "s")]), ConflictTarget::Columns(vec![n]), ConflictAction::Nothing);
    assert!(world.connector.accepts_edit(&keyless).is_err());
    assert_eq!(stored(&collection).await, ["1 a", "2 bb", "5 e", "7 g"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn documents_are_changed_by_their_keys() {
    let world = World::new("").await;
    let (collection, table) = items(&world).await;
    let (name, n) = (ordinal(&table, "name"), ordinal(&table, "n"));
    let rows = batch(&table, &[0, name], vec![ints(&[Some(2), Some(9), Some(1)]), texts(&[Some("B"), Some("?"), Some("A")])]);
    let update = UpdateRows {
        store: store(),
        table: table.clone(),
        key: vec![0],
        set: vec![name],
        rows,
        paths: Vec::new(),
        returning: vec![name, n],
    };
    let edited = once(&world, &Edit::UpdateRows(update)).await.unwrap();
    let expected = [["B", "2"], ["A", "1"]].map(|row| row.map(str::to_owned).to_vec());
    assert_eq!((edited.rows, rows_of(&edited)), (2, expected.to_vec()));
    let first = collection.find_one(doc! { "_id": 1 }).await.unwrap().unwrap();
    assert_eq!(first.get("n"), Some(&Bson::Int32(1)), "a field that is not set keeps its type");
    let tables = Tables::from([(table.id.clone(), table.clone())]);
    let over = |filter: Vec<Predicate>| {
        let columns = vec![0, n];
        Relation::Table(Scan { store: store(), table: table.id.clone(), columns, filter, limit: None })
    };
    let key = |id| vec![Predicate::Compare { column: ColumnRef::of(0), op: Comparison::Equal, value: Value::Int(id) }];
    let whole = |filter| {
        let value = Expression::new(table.columns[n].pg_type(), Node::Literal(Some(Value::Int(7))));
        let relation = Relation::Project { input: Box::new(over(filter)), expressions: vec![value] };
        let (table, tables, set) = (table.clone(), tables.clone(), vec![n]);
        Edit::Update(Update { store: store(), table, relation, tables, set, paths: Vec::new(), returning: Vec::new() })
    };
    assert_eq!(once(&world, &whole(key(2))).await.unwrap().rows, 1);
    assert_eq!(once(&world, &whole(key(2))).await.unwrap().rows, 1, "what stays as it was counts too");
    assert_eq!(once(&world, &whole(key(77))).await.unwrap().rows, 0);
    assert_eq!(once(&world, &whole(Vec::new())).await.unwrap().rows, 2);
    let other = vec![Predicate::Compare { column: ColumnRef::of(n), op: Comparison::Equal, value: Value::Int(7) }];
    assert!(world.connector.accepts_edit(&whole(other)).is_err());
    let gone = batch(&table, &[0], vec![ints(&[Some(1), Some(9)])]);
    let delete = DeleteRows { store: store(), table: table.clone(), key: vec![0], rows: gone, returning: vec![name] };
    let edited = once(&world, &Edit::DeleteRows(delete)).await.unwrap();
    assert_eq!((edited.rows, rows_of(&edited)), (1, vec![vec!["A".to_owned()]]));
    assert_eq!(stored(&collection).await, ["2 B"]);
    let all = Delete { store: store(), table: table.clone(), relation: over(Vec::new()), tables, returning: Vec::new() };
    assert_eq!(once(&world, &Edit::Delete(all)).await.unwrap().rows, 1);
    let moved = batch(&table, &[0, 0], vec![ints(&[Some(2)]), ints(&[Some(3)])]);
    let moved = UpdateRows {
        store: store(),
        table: table.clone(),
        key: vec![0],
        set: vec![0],
        rows: moved,
        paths: Vec::new(),
        returning: Vec::new(),
    };
    assert!(world.connector.accepts_edit(&Edit::UpdateRows(moved)).is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_sees_its_writes_and_undoes_them() {
    let world = World::new("").await;
    let (collection, table) = items(&world).await;
    let put = |id, name| Edit::Insert(named(&table, &[(id, name)]));
    let branch = world.connector.open(WRITE).await.unwrap();
    assert!(!branch.has_written());
    branch.savepoint(1).await.unwrap();
    branch.roll_back_to(1).await.unwrap();
    branch.edit(&put(3, "c"), &go()).await.unwrap();
    assert!(branch.has_written());
    let mut seen = shown(&collect(&*branch, &table, scan(&table, &["name"], Vec::new())).await.unwrap());
    seen.sort();
    assert_eq!(seen.concat(), ["a", "b", "c"]);
    assert_eq!(stored(&collection).await.len(), 2);
    branch.savepoint(2).await.unwrap();
    branch.roll_back_to(2).await.unwrap();
    assert_eq!(branch.roll_back_to(1).await.unwrap_err().sqlstate(), "0A000");
    branch.commit().await.unwrap();
    assert_eq!(stored(&collection).await, ["1 a", "2 b", "3 c"]);
    let undone = world.connector.open(WRITE).await.unwrap();
    undone.edit(&put(4, "d"), &go()).await.unwrap();
    undone.rollback().await.unwrap();
    let failed = world.connector.open(WRITE).await.unwrap();
    failed.edit(&put(4, "d"), &go()).await.unwrap();
    assert_eq!(failed.edit(&put(4, "e"), &go()).await.unwrap_err().sqlstate(), "23505");
    assert_eq!(failed.edit(&put(5, "e"), &go()).await.unwrap_err().sqlstate(), "25P02");
    assert_eq!(failed.commit().await.unwrap_err().sqlstate(), "25P02");
    // What has ended takes nothing more: it would be done outside of a transaction.
    for ended in [&branch, &undone, &failed] {
        assert_eq!(ended.edit(&put(6, "f"), &go()).await.unwrap_err().sqlstate(), "25P02");
    }
    drop(world.connector.open(WRITE).await.unwrap());
    assert_eq!(stored(&collection).await.len(), 3);
}

/// A join that needs no more rows lets go of a scan, and the statement goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_that_nobody_waits_for_any_more_leaves_its_transaction_as_it_was() {
    let world = World::new("").await;
    let (collection, table) = items(&world).await;
    let branch = world.connector.open(WRITE).await.unwrap();
    branch.edit(&Edit::Insert(named(&table, &[(3, "c")])), &go()).await.unwrap();
    for id in 4..9 {
        let names = scan(&table, &["name"], Vec::new());
        let mut read = Box::pin(branch.scan(&table, &names, ScanLimits::default()));
        // Under way, and not answered yet.
        assert!(futures::poll!(&mut read).is_pending());
        drop(read);
        let name = format!("d{id}");
        branch.edit(&Edit::Insert(named(&table, &[(id, &name)])), &go()).await.unwrap();
    }
    let seen = collect(&*branch, &table, scan(&table, &["name"], Vec::new())).await.unwrap();
    assert_eq!(shown(&seen).len(), 8);
    // A read that nobody waits for keeps nobody from ending the transaction.
    let names = scan(&table, &["name"], Vec::new());
    let mut read = Box::pin(branch.scan(&table, &names, ScanLimits::default()));
    assert!(futures::poll!(&mut read).is_pending());
    drop(read);
    branch.commit().await.unwrap();
    assert_eq!(stored(&collection).await.len(), 8);
    let undone = world.connector.open(WRITE).await.unwrap();
    undone.edit(&Edit::Insert(named(&table, &[(9, "e")])), &go()).await.unwrap();
    let mut read = Box::pin(undone.scan(&table, &names, ScanLimits::default()));
    assert!(futures::poll!(&mut read).is_pending());
    undone.rollback().await.unwrap();
    // It may have been answered before.
    assert!(read.await.err().is_none_or(|error| error.sqlstate() == "25P02"));
    assert_eq!(stored(&collection).await.len(), 8);
}

/// A transaction of the server fails where it meets another one. One that holds an edit alone is run again; others are their owner's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edit_of_its_own_outlasts_a_transaction_that_is_in_its_way() {
    let world = World::new("").await;
    let (collection, table) = items(&world).await;
    let n = ordinal(&table, "n");
    let rows = batch(&table, &[0, n], vec![ints(&[Some(1), Some(2)]), ints(&[Some(10), Some(20)])]);
    let update = UpdateRows {
        store: store(),
        table: table.clone(),
        key: vec![0],
        set: vec![n],
        rows,
        paths: Vec::new(),
        returning: Vec::new(),
    };
    let edit = Edit::UpdateRows(update);
    let held = world.connector.open(WRITE).await.unwrap();
    held.edit(&edit, &go()).await.unwrap();
    let other = world.connector.open(WRITE).await.unwrap();
    assert_eq!(other.edit(&edit, &go()).await.unwrap_err().sqlstate(), "40001");
    let before = aborted(&collection).await;
    let ending = async {
        // It has failed at least once by then.
        let failed = async {
            while aborted(&collection).await == before {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(20), failed).await.unwrap();
        held.rollback().await.unwrap();
    };
    let (edited, ()) = tokio::join!(once(&world, &edit), ending);
    assert_eq!(edited.unwrap().rows, 2);
    assert_eq!(collection.count_documents(doc! { "n": { "$in": [10, 20] } }).await.unwrap(), 2);
    // Nobody waits for ever. The values are others, as what changes nothing is in nobody's way.
    let rows = batch(&table, &[0, n], vec![ints(&[Some(1), Some(2)]), ints(&[Some(11), Some(21)])]);
    let update = UpdateRows {
        store: store(),
        table: table.clone(),
        key: vec![0],
        set: vec![n],
        rows,
        paths: Vec::new(),
        returning: Vec::new(),
    };
    let edit = Edit::UpdateRows(update);
    let held = world.connector.open(WRITE).await.unwrap();
    held.edit(&edit, &go()).await.unwrap();
    assert_eq!(once(&world, &edit).await.unwrap_err().sqlstate(), "40001");
    held.commit().await.unwrap();
}

/// To the server it is an empty one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collection_that_is_gone_is_not_taken_for_an_empty_one() {
    let world = World::new("").await;
    let (collection, table) = items(&world).await;
    let name = ordinal(&table, "name");
    let rows = batch(&table, &[0, name], vec![ints(&[Some(1)]), texts(&[Some("x")])]);
    let update = UpdateRows {
        store: store(),
        table: table.clone(),
        key: vec![0],
        set: vec![name],
        rows,
        paths: Vec::new(),
        returning: Vec::new(),
    };
    let keys = batch(&table, &[0], vec![ints(&[Some(1)])]);
    let delete = DeleteRows { store: store(), table: table.clone(), key: vec![0], rows: keys, returning: Vec::new() };
    collection.drop().await.unwrap();
    for edit in [Edit::UpdateRows(update), Edit::DeleteRows(delete)] {
        assert!(matches!(once(&world, &edit).await, Err(StoreError::SchemaChanged { .. })));
        let branch = world.connector.open(WRITE).await.unwrap();
        let held = branch.scan_for_update(&table, &scan(&table, &["_id"], Vec::new()), ScanLimits::default()).await;
        assert!(matches!(held.err(), Some(StoreError::SchemaChanged { .. })));
        branch.rollback().await.unwrap();
    }
}

/// The server takes no command above 16 MiB.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edit_that_is_larger_than_a_command_is_written_or_not_written() {
    let world = World::new("").await;
    let collection = world.fill("wide", vec![doc! { "_id": 24_i64, "text": "x" }]).await;
    let table = world.table("wide").await;
    let (text, count) = (ordinal(&table, "text"), 24);
    let wide = "w".repeat(1 << 20);
    let put = |from: i64| {
        let ids: Vec<_> = (from..from + count).map(Some).collect();
        let rows = insert(&table, &["_id", "text"], vec![ints(&ids), texts(&vec![Some(wide.as_str()); ids.len()])]);
        Insert { returning: vec![0], ..rows }
    };
    assert_eq!(once(&world, &Edit::Insert(put(1))).await.unwrap_err().sqlstate(), "23505");
    assert_eq!(collection.count_documents(doc! {}).await.unwrap(), 1);
    let nothing = Some(Conflict { target: ConflictTarget::Any, action: ConflictAction::Nothing });
    let edited = once(&world, &Edit::Insert(Insert { conflict: nothing, ..put(1) })).await.unwrap();
    assert_eq!((edited.rows, rows_of(&edited).last().unwrap()[0].as_str()), (23, "23"), "what the last command met is left out");
    assert_eq!(once(&world, &Edit::Insert(put(100))).await.unwrap().rows, 24);
    let keys: Vec<_> = (100..100 + count).map(Some).collect();
    let other = "v".repeat(1 << 20);
    let rows = batch(&table, &[0, text], vec![ints(&keys), texts(&vec![Some(other.as_str()); keys.len()])]);
    let update = UpdateRows {
        store: store(),
        table: table.clone(),
        key: vec![0],
        set: vec![text],
        rows,
        paths: Vec::new(),
        returning: Vec::new(),
    };
    assert_eq!(once(&world, &Edit::UpdateRows(update)).await.unwrap().rows, 24);
    assert_eq!(collection.count_documents(doc! { "text": &other }).await.unwrap(), 24);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_others_change_are_not_written_over() {
    let world = World::new("").await;
    let (collection, table) = items(&world).await;
    let name = ordinal(&table, "name");
    let branch = world.connector.open(WRITE).await.unwrap();
    let stream = branch.scan_for_update(&table, &scan(&table, &["_id", "name"], Vec::new()), ScanLimits::default()).await.unwrap();
    let found: Vec<RecordBatch> = stream.try_collect().await.unwrap();
    assert_eq!(super::row_count(&found), 2);
    collection.update_one(doc! { "_id": 1 }, doc! { "$set": { "name": "new" } }).await.unwrap();
    let rows = batch(&table, &[0, name], vec![ints(&[Some(1)]), texts(&[Some("mine")])]);
    let update = UpdateRows {
        store: store(),
        table: table.clone(),
        key: vec![0],
        set: vec![name],
        rows,
        paths: Vec::new(),
        returning: Vec::new(),
    };
    assert_eq!(branch.edit(&Edit::UpdateRows(update), &go()).await.unwrap_err().sqlstate(), "40001");
    branch.rollback().await.unwrap();
    let put = Edit::Insert(named(&table, &[(8, "h")]));
    let fresh = world.connector.open(REPEATABLE).await.unwrap();
    fresh.edit(&put, &go()).await.unwrap();
    fresh.commit().await.unwrap();
    assert_eq!(stored(&collection).await, ["1 new", "2 b", "8 h"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_that_was_read_is_written_in() {
    let world = World::new("").await;
    let (collection, table) = items(&world).await;
    let name = ordinal(&table, "name");
    let update = |id: i64, to: &str| {
        let rows = batch(&table, &[0, name], vec![ints(&[Some(id)]), texts(&[Some(to)])]);
        let (table, key, set, returning) = (table.clone(), vec![0], vec![name], Vec::new());
        Edit::UpdateRows(UpdateRows { store: store(), table, key, set, rows, paths: Vec::new(), returning })
    };
    let read = async |branch: &dyn Branch| {
        let mut seen = shown(&collect(branch, &table, scan(&table, &["name"], Vec::new())).await.unwrap()).concat();
        seen.sort();
        seen
    };
    let [kept, refused] = [world.connector.open(REPEATABLE).await.unwrap(), world.connector.open(REPEATABLE).await.unwrap()];
    assert_eq!(read(&*kept).await, ["a", "b"]);
    assert_eq!(read(&*refused).await, ["a", "b"]);
    collection.update_one(doc! { "_id": 1 }, doc! { "$set": { "name": "new" } }).await.unwrap();
    collection.insert_one(doc! { "_id": 5_i64, "name": "late" }).await.unwrap();
    // Others see the one that was changed since, this branch does not, and changes another.
    kept.edit(&update(2, "mine"), &go()).await.unwrap();
    assert_eq!(read(&*kept).await, ["a", "mine"]);
    kept.commit().await.unwrap();
    assert_eq!(stored(&collection).await, ["1 new", "2 mine", "5 late"]);
    assert_eq!(refused.edit(&update(1, "lost"), &go()).await.unwrap_err().sqlstate(), "40001");
    refused.rollback().await.unwrap();
    assert_eq!(stored(&collection).await, ["1 new", "2 mine", "5 late"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_edit_has_changed_nothing() {
    let world = World::new("").await;
    let (collection, table) = items(&world).await;
    let stop = CancellationToken::new();
    stop.cancel();
    for purpose in [Purpose::Once, WRITE] {
        for rows in [named(&table, &[(3, "c")]), named(&table, &[(3, "c"), (4, "d")])] {
            let branch = world.connector.open(purpose).await.unwrap();
            assert!(matches!(branch.edit(&Edit::Insert(rows), &stop).await, Err(StoreError::Cancelled)));
            branch.rollback().await.unwrap();
        }
    }
    // A command that waits for nobody is not stopped, or is and leaves nothing: the answer is what is there.
    let many: Vec<(i64, String)> = (10..1_000).map(|id| (id, format!("n{id}"))).collect();
    let many: Vec<(i64, &str)> = many.iter().map(|(id, name)| (*id, name.as_str())).collect();
    let edit = Edit::Insert(named(&table, &many));
    let (stop, is_done) = (CancellationToken::new(), AtomicBool::new(false));
    let branch = world.connector.open(Purpose::Once).await.unwrap();
    let editing = async {
        let edited = branch.edit(&edit, &stop).await;
        is_done.store(true, Ordering::Relaxed);
        edited
    };
    let stopping = async {
        while !inserts(&collection).await && !is_done.load(Ordering::Relaxed) {
            tokio::task::yield_now().await;
        }
        stop.cancel();
    };
    let (edited, ()) = tokio::join!(editing, stopping);
    let expected = if edited.is_ok() { 992 } else { 2 };
    assert_eq!(stored(&collection).await.len(), expected, "{edited:?}");
    once(&world, &Edit::Insert(named(&table, &[(5_000, "last")]))).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_written_says_so() {
    let closed = World::new("read_only = true\n").await;
    assert!(closed.connector.is_read_only());
    for purpose in [Purpose::Once, WRITE] {
        assert!(matches!(closed.connector.open(purpose).await, Err(StoreError::ReadOnly { .. })));
    }
    let world = World::new("").await;
    assert!(!world.connector.is_read_only());
    let (_, table) = items(&world).await;
    let edit = Edit::Insert(named(&table, &[(3, "c")]));
    assert_eq!(world.branch(1).await.edit(&edit, &go()).await.unwrap_err().sqlstate(), "0A000");
    let serial = world.connector.open(Purpose::Write(WriteIsolation::Serializable)).await;
    assert_eq!(serial.err().unwrap().sqlstate(), "0A000");
    assert_eq!(world.connector.describe_edit(&edit), "{\"insert\":\"items\",\"documents\":\"?\"}");
}
