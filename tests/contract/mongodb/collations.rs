//! Edits of collections whose own collation takes `a` for `A`.

use std::sync::Arc;

use mongodb::Collection;
use mongodb::bson::{Document, doc};
use mongodb::options::Collation;
use tributary::error::Diagnose;
use tributary::stores::edit::{Conflict, ConflictAction, ConflictTarget, Delete, DeleteRows, Insert, Proposed, Update, UpdateRows};
use tributary::stores::fragment::{Expression, Node};
use tributary::stores::predicate::{ColumnRef, Comparison, Predicate};
use tributary::stores::value::Value;
use tributary::stores::{Edit, Relation, Scan, Table, Tables};

use super::writes::{batch, insert, ints, once, rows_of, store, texts};
use super::{World, ordinal};

/// Three documents whose keys and names are in capitals.
async fn folded(world: &World) -> (Collection<Document>, Arc<Table>) {
    let folding = Collation::builder().locale("en").strength(mongodb::options::CollationStrength::Secondary).build();
    world.database.create_collection("folded").collation(folding).await.unwrap();
    let documents = ["A", "B", "C"].map(|key| doc! { "_id": key, "name": format!("N{key}"), "n": 1_i64 });
    let collection = world.fill("folded", documents.to_vec()).await;
    (collection, world.table("folded").await)
}

/// `_id` and `n` of all documents.
async fn numbers(collection: &Collection<Document>) -> Vec<String> {
    let mut found = Vec::new();
    for key in ["A", "B", "C", "D", "a", "b", "c", "d"] {
        let by_bytes = Collation::builder().locale("simple").build();
        if let Some(document) = collection.find_one(doc! { "_id": key }).collation(by_bytes).await.unwrap() {
            found.push(format!("{key} {}", document.get_i64("n").unwrap_or(-1)));
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_are_met_by_the_bytes_of_their_keys() {
    let world = World::new("").await;
    let (collection, table) = folded(&world).await;
    let n = ordinal(&table, "n");
    let update = |keys: &[&str]| {
        let keys: Vec<_> = keys.iter().map(|key| Some(*key)).collect();
        let rows = batch(&table, &[0, n], vec![texts(&keys), ints(&vec![Some(7); keys.len()])]);
        let (table, key, set, returning) = (table.clone(), vec![0], vec![n], vec![0]);
        Edit::UpdateRows(UpdateRows { store: store(), table, key, set, rows, paths: Vec::new(), returning })
    };
    assert_eq!(once(&world, &update(&["a"])).await.unwrap().rows, 0);
    let edited = once(&world, &update(&["a", "B", "c"])).await.unwrap();
    assert_eq!((edited.rows, rows_of(&edited)), (1, vec![vec!["B".to_owned()]]));
    assert_eq!(numbers(&collection).await, ["A 1", "B 7", "C 1"]);
    let delete = |keys: &[&str], returning: Vec<usize>| {
        let keys: Vec<_> = keys.iter().map(|key| Some(*key)).collect();
        let rows = batch(&table, &[0], vec![texts(&keys)]);
        Edit::DeleteRows(DeleteRows { store: store(), table: table.clone(), key: vec![0], rows, returning })
    };
    assert_eq!(once(&world, &delete(&["a"], Vec::new())).await.unwrap().rows, 0);
    let edited = once(&world, &delete(&["a", "b", "C"], vec![0])).await.unwrap();
    assert_eq!((edited.rows, rows_of(&edited)), (1, vec![vec!["C".to_owned()]]));
    assert_eq!(numbers(&collection).await, ["A 1", "B 7"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whole_forms_mean_the_bytes_of_their_keys() {
    let world = World::new("").await;
    let (collection, table) = folded(&world).await;
    let n = ordinal(&table, "n");
    let tables = Tables::from([(table.id.clone(), table.clone())]);
    let over = |keys: &[&str]| {
        let values = keys.iter().map(|key| Value::Text((*key).to_owned())).collect();
        let one = Predicate::In { column: ColumnRef::of(0), values, negated: false };
        let scan = Scan { store: store(), table: table.id.clone(), columns: vec![0], filter: vec![one], limit: None };
        Relation::Table(scan)
    };
    let update = |keys: &[&str]| {
        let value = Expression::new(table.columns[n].pg_type(), Node::Literal(Some(Value::Int(9))));
        let relation = Relation::Project { input: Box::new(over(keys)), expressions: vec![value] };
        let (table, tables, set) = (table.clone(), tables.clone(), vec![n]);
        Edit::Update(Update { store: store(), table, relation, tables, set, paths: Vec::new(), returning: Vec::new() })
    };
    let delete = |keys: &[&str]| {
        let (table, tables) = (table.clone(), tables.clone());
        Edit::Delete(Delete { store: store(), table, relation: over(keys), tables, returning: Vec::new() })
    };
    for (edit, expected) in [(update(&["a"]), 0), (update(&["a", "b", "C"]), 1), (delete(&["b"]), 0), (delete(&["A", "b"]), 1)] {
        assert_eq!(once(&world, &edit).await.unwrap().rows, expected, "{edit:?}");
    }
    assert_eq!(numbers(&collection).await, ["B 1", "C 9"]);
    let compared = Predicate::Compare { column: ColumnRef::of(0), op: Comparison::Equal, value: Value::Text("b".to_owned()) };
    let scan = Scan { store: store(), table: table.id.clone(), columns: vec![0], filter: vec![compared], limit: None };
    let (relation, returning) = (Relation::Table(scan), Vec::new());
    let edit = Edit::Delete(Delete { store: store(), table: table.clone(), relation, tables, returning });
    assert_eq!(once(&world, &edit).await.unwrap().rows, 0);
}

/// What the server takes for the same key is not inserted beside it, and is not updated in its place.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_in_other_letters_is_no_conflict_that_is_met() {
    let world = World::new("").await;
    let (collection, table) = folded(&world).await;
    let n = ordinal(&table, "n");
    let put = |key: &str, action: Option<ConflictAction>| {
        let rows = insert(&table, &["_id", "n"], vec![texts(&[Some(key)]), ints(&[Some(5)])]);
        let conflict = action.map(|action| Conflict { target: ConflictTarget::Columns(vec![0]), action });
        Edit::Insert(Insert { conflict, ..rows })
    };
    let set = || Some(ConflictAction::Update(vec![(n, Proposed::Excluded(n))]));
    for action in [None, Some(ConflictAction::Nothing), set()] {
        let error = once(&world, &put("a", action)).await.unwrap_err();
        assert_eq!((error.sqlstate(), error.constraint().as_deref()), ("23505", Some("_id_")), "{error:?}");
        assert_eq!(error.site().and_then(|site| site.table).as_deref(), Some("folded"));
    }
    assert_eq!(once(&world, &put("A", set())).await.unwrap().rows, 1);
    assert_eq!(once(&world, &put("d", set())).await.unwrap().rows, 1);
    assert_eq!(numbers(&collection).await, ["A 5", "B 1", "C 1", "d 5"]);
}
