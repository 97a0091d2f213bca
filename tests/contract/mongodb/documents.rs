//! Documents inside of documents: written as a whole, and field by field beside others that keep their BSON types.

use std::sync::Arc;

use mongodb::Collection;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Bson, Document, doc};
use tributary::error::Diagnose;
use tributary::stores::edit::{self, Insert, Path, Update, UpdateRows};
use tributary::stores::fragment::{Expression, Node};
use tributary::stores::predicate::{ColumnRef, Comparison, Predicate};
use tributary::stores::value::Value;
use tributary::stores::{Edit, Relation, Scan, Table, Tables};

use super::writes::{batch, insert, ints, once, rows_of, store, texts};
use super::{World, ordinal};

/// Reports as volunteers write them: an old one with a number in 32 bits and a field that no schema declares, and one without an observer.
async fn reports(world: &World) -> (Collection<Document>, Arc<Table>) {
    let first = doc! { "_id": 1_i64, "observer": { "name": "Tom", "age": 36_i32, "by": ObjectId::from_bytes([1; 12]), "own": "x" },
    "seen": [{ "animal": "otter", "count": 2_i32 }], "any": 5_i32 };
    let second = doc! { "_id": 2_i64, "any": "text" };
    let collection = world.fill("reports", vec![first, second]).await;
    (collection, world.table("reports").await)
}

/// The declared columns; everything else is found by looking.
const DECLARED: &str = "[collections.reports.columns]\nobserver = { name = \"text\", age = \"bigint\", by = \"objectId\" }\n";

async fn stored(collection: &Collection<Document>, id: i64) -> Document {
    collection.find_one(doc! { "_id": id }).await.unwrap().unwrap()
}

/// New values for fields by the keys of their documents.
fn set_field(table: &Arc<Table>, path: &[&str], rows: &[(i64, Option<&str>)], returning: Vec<usize>) -> Edit {
    let path: Path = path.iter().map(|name| (*name).to_owned()).collect();
    let observer = ordinal(table, "observer");
    let field = edit::part(table, observer, &path).unwrap();
    let keys: Vec<_> = rows.iter().map(|(id, _)| Some(*id)).collect();
    let values: Vec<_> = rows.iter().map(|(_, value)| *value).collect();
    let columns = vec![edit::field(&table.columns[0]), edit::field(&field)];
    let schema = Arc::new(arrow::datatypes::Schema::new(columns));
    let rows = arrow::array::RecordBatch::try_new(schema, vec![ints(&keys), texts(&values)]).unwrap();
    let (table, set, paths) = (table.clone(), vec![observer], vec![path]);
    Edit::UpdateRows(UpdateRows { store: store(), table, key: vec![0], set, paths, rows, returning })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_field_is_set_beside_others_that_stay_as_they_were() {
    let world = World::new(DECLARED).await;
    let (collection, table) = reports(&world).await;
    let edit = set_field(&table, &["name"], &[(1, Some("Eve")), (2, Some("Ann"))], Vec::new());
    assert_eq!(once(&world, &edit).await.unwrap().rows, 2);
    let by = ObjectId::from_bytes([1; 12]);
    let observer = doc! { "name": "Eve", "age": 36_i32, "by": by, "own": "x" };
    assert_eq!(stored(&collection, 1).await.get_document("observer").unwrap(), &observer);
    assert_eq!(stored(&collection, 2).await, doc! { "_id": 2_i64, "any": "text", "observer": { "name": "Ann" } });
    let edit = set_field(&table, &["by"], &[(1, Some("abababababababababababab"))], vec![0]);
    assert_eq!(rows_of(&once(&world, &edit).await.unwrap()), [["1"]]);
    let observer = doc! { "name": "Eve", "age": 36_i32, "by": ObjectId::from_bytes([0xab; 12]), "own": "x" };
    assert_eq!(stored(&collection, 1).await.get_document("observer").unwrap(), &observer);
    // The same by a condition that the server evaluates.
    let place = ordinal(&table, "observer");
    let filter = vec![Predicate::Compare { column: ColumnRef::of(0), op: Comparison::Equal, value: Value::Int(1) }];
    let scan = Scan { store: store(), table: table.id.clone(), columns: vec![0], filter, limit: None };
    let age = edit::part(&table, place, &["age".to_owned()]).unwrap().pg_type();
    let expressions = vec![Expression::new(age, Node::Literal(Some(Value::Int(40))))];
    let relation = Relation::Project { input: Box::new(Relation::Table(scan)), expressions };
    let (tables, set, paths) = (Tables::from([(table.id.clone(), table.clone())]), vec![place], vec![vec!["age".to_owned()]]);
    let update = Update { store: store(), table: table.clone(), relation, tables, set, paths, returning: Vec::new() };
    assert_eq!(once(&world, &Edit::Update(update)).await.unwrap().rows, 1);
    let observer = doc! { "name": "Eve", "age": 40_i64, "by": ObjectId::from_bytes([0xab; 12]), "own": "x" };
    assert_eq!(stored(&collection, 1).await.get_document("observer").unwrap(), &observer);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_made_of_what_is_no_document() {
    let world = World::new(DECLARED).await;
    let (collection, table) = reports(&world).await;
    for other in [Bson::Null, Bson::Int32(1), Bson::String("x".to_owned()), Bson::Array(vec![Bson::Document(doc! { "name": "y" })])]
    {
        collection.update_one(doc! { "_id": 2_i64 }, doc! { "$set": { "observer": other.clone() } }).await.unwrap();
        let edit = set_field(&table, &["name"], &[(1, Some("Eve")), (2, Some("Ann"))], Vec::new());
        let error = once(&world, &edit).await.unwrap_err();
        assert_eq!(error.sqlstate(), "22P02", "{error}");
        assert_eq!(stored(&collection, 2).await.get("observer"), Some(&other));
        assert_eq!(
            stored(&collection, 1).await.get_document("observer").unwrap().get_str("name").unwrap(),
            "Tom",
            "of one edit nothing"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn documents_are_written_as_a_whole_and_read_again() {
    let world = World::new(DECLARED).await;
    let (collection, table) = reports(&world).await;
    let observer = "{\"name\": \"Ann\", \"age\": 7, \"by\": \"abababababababababababab\"}";
    let any = "{\"$numberDecimal\": \"1.50\"}";
    let new = insert(&table, &["_id", "observer", "any"], vec![ints(&[Some(3)]), texts(&[Some(observer)]), texts(&[Some(any)])]);
    let returning = ["observer", "any"].map(|name| ordinal(&table, name)).to_vec();
    let edited = once(&world, &Edit::Insert(Insert { returning, ..new })).await.unwrap();
    let shown = rows_of(&edited).concat();
    assert!(shown[0].contains("age: 7") && shown[0].contains("name: Ann"), "{shown:?}");
    assert_eq!(shown[1], "{\"$numberDecimal\":\"1.50\"}");
    let expected = doc! { "_id": 3_i64, "observer": { "name": "Ann", "age": 7_i64, "by": ObjectId::from_bytes([0xab; 12]) },
    "any": Bson::Decimal128("1.50".parse().unwrap()) };
    assert_eq!(stored(&collection, 3).await, expected);
    let unfit = |observer: &str| {
        let rows = insert(&table, &["_id", "observer"], vec![ints(&[Some(9)]), texts(&[Some(observer)])]);
        Edit::Insert(rows)
    };
    for (text, code) in [("{\"age\": 1.5}", "22003"), ("{\"nowhere\": 1}", "42703"), ("[]", "22P02"), ("{", "22P02")] {
        assert_eq!(once(&world, &unfit(text)).await.unwrap_err().sqlstate(), code, "{text}");
    }
    let seen = ordinal(&table, "seen");
    let list = arrow::array::ListArray::new(
        Arc::new(arrow::datatypes::Field::new("item", arrow::datatypes::DataType::Utf8, true)),
        arrow::buffer::OffsetBuffer::from_lengths([2]),
        texts(&[Some("{\"animal\": \"dipper\"}"), Some("{\"count\": 3}")]),
        None,
    );
    let field = edit::field(&table.columns[seen]);
    let list = arrow::compute::cast(&list, field.data_type()).unwrap();
    let rows = batch(&table, &[0, seen], vec![ints(&[Some(3)]), list]);
    let (table, set) = (table.clone(), vec![seen]);
    let update = UpdateRows { store: store(), table, key: vec![0], set, paths: Vec::new(), rows, returning: vec![seen] };
    let edited = once(&world, &Edit::UpdateRows(update)).await.unwrap();
    assert_eq!(edited.rows, 1);
    let found = stored(&collection, 3).await;
    let expected = vec![Bson::Document(doc! { "animal": "dipper" }), Bson::Document(doc! { "count": 3_i64 })];
    assert_eq!(found.get_array("seen").unwrap(), &expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_document_has_the_fields_that_are_named() {
    let world = World::new(DECLARED).await;
    let (collection, table) = reports(&world).await;
    let place = ordinal(&table, "observer");
    let paths: Vec<Path> = vec![Vec::new(), vec!["name".to_owned()], vec!["by".to_owned()]];
    let fields = [(0, &paths[0]), (place, &paths[1]), (place, &paths[2])];
    let schema = fields.map(|(ordinal, path)| edit::field(&edit::part(&table, ordinal, path).unwrap()));
    let schema = Arc::new(arrow::datatypes::Schema::new(schema.to_vec()));
    let arrays = vec![ints(&[Some(4)]), texts(&[Some("Ann")]), texts(&[Some("abababababababababababab")])];
    let rows = arrow::array::RecordBatch::try_new(schema, arrays).unwrap();
    let (columns, returning) = (vec![0, place, place], vec![place]);
    let new = Insert { store: store(), table: table.clone(), columns, paths, rows, conflict: None, returning };
    let edited = once(&world, &Edit::Insert(new)).await.unwrap();
    assert!(rows_of(&edited)[0][0].contains("name: Ann"), "{:?}", rows_of(&edited));
    let expected = doc! { "_id": 4_i64, "observer": { "name": "Ann", "by": ObjectId::from_bytes([0xab; 12]) } };
    assert_eq!(stored(&collection, 4).await, expected);
}
