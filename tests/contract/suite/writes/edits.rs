//! What single edits do: every form, every kind of value, and the errors that name what refused them.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, take};
use arrow::datatypes::{Int64Type, Schema};
use tributary::error::{Diagnose, sqlstate};
use tributary::pgtype::PgType;
use tributary::stores::edit::{self, Conflict, ConflictAction, ConflictTarget, Insert, Proposed, Update};
use tributary::stores::fragment::{Expression, Node};
use tributary::stores::value::Value;
use tributary::stores::{Edit, Purpose, Relation, StoreError, WriteIsolation};

use super::super::reading;
use super::super::sample;
use super::super::world::World;
use super::{Target, int, run, text};

pub(super) async fn check(world: &dyn World) {
    let target = Target::make(world, "edited").await;
    rows_are_added(&target).await;
    rows_that_are_there_are_met(&target).await;
    rows_are_changed_and_removed(&target).await;
    the_store_evaluates_whole_forms(&target).await;
    every_value_is_stored(world).await;
    refusals_name_what_refused(world).await;
}

async fn rows_are_added(target: &Target) {
    let [key, n, label] = target.places();
    let done = target.once(&target.insert(&[6, 7], None, Vec::new())).await.unwrap();
    assert_eq!((done.rows, done.returned.is_none()), (2, true));
    let done = target.once(&target.insert(&[8], None, vec![label, n, key])).await.unwrap();
    let returned = done.returned.unwrap();
    assert_eq!((returned.schema(), returned.num_rows()), (target.table.project(&[label, n, key]), 1));
    assert!(returned.column(0).is_null(0), "a column that is left out has no value here");
    assert_eq!(reading::keys(&[returned.project(&[2]).unwrap()]), [8]);
    // A text that tries to be more, and NULL that is written.
    let rows = target.batch(&[key, label], vec![int(&[9, 10]), text(&[Some("\\' or 1=1 -- \"; $1 ?"), None])]);
    let (store, table) = (target.connector.name().clone(), target.table.clone());
    let insert = Insert { store, table, columns: vec![key, label], rows, conflict: None, paths: Vec::new(), returning: Vec::new() };
    assert_eq!(target.once(&Edit::Insert(insert)).await.unwrap().rows, 2);
    let rows = target.rows().await;
    assert_eq!(rows[8], (9, None, Some("\\' or 1=1 -- \"; $1 ?".to_owned())));
    assert_eq!(rows[9], (10, None, None));
    // All rows of an edit, or none.
    let error = target.once(&target.insert(&[11, 3], None, Vec::new())).await.unwrap_err();
    assert_eq!(error.sqlstate(), sqlstate::UNIQUE_VIOLATION, "{error:?}");
    assert_eq!(target.keys().await, (1..=10).collect::<Vec<_>>());
}

async fn rows_that_are_there_are_met(target: &Target) {
    let [key, n, label] = target.places();
    let nothing = |target| Some(Conflict { target, action: ConflictAction::Nothing });
    for conflict in [nothing(ConflictTarget::Any), nothing(ConflictTarget::Columns(vec![key]))] {
        let met = target.insert(&[1, 2, 20], conflict, vec![key]);
        let done = target.once(&met).await.unwrap();
        assert_eq!((done.rows, reading::keys(&done.returned.into_iter().collect::<Vec<_>>())), (1, vec![20]));
        assert_eq!(target.once(&target.delete(&[20], Vec::new())).await.unwrap().rows, 1);
    }
    let twice = target.insert(&[20, 20], nothing(ConflictTarget::Any), Vec::new());
    assert_eq!(target.once(&twice).await.unwrap().rows, 1);
    let set = vec![(n, Proposed::Excluded(n)), (label, Proposed::Constant(Some(Value::Text("met".to_owned()))))];
    let update = Conflict { target: ConflictTarget::Columns(vec![key]), action: ConflictAction::Update(set) };
    target.once(&target.update(&[1], &[0], Vec::new())).await.unwrap();
    let done = target.once(&target.insert(&[1, 21], Some(update.clone()), Vec::new())).await.unwrap();
    assert_eq!(done.rows, 2);
    let rows = target.rows().await;
    assert_eq!(rows[0], (1, Some(10), Some("met".to_owned())));
    assert!(rows.contains(&(21, Some(210), None)));
    let error = target.once(&target.insert(&[22, 22], Some(update), Vec::new())).await.unwrap_err();
    assert_eq!(error.sqlstate(), "21000", "{error:?}");
    assert_eq!(target.once(&target.delete(&[20, 21], Vec::new())).await.unwrap().rows, 2);
}

async fn rows_are_changed_and_removed(target: &Target) {
    let [key, n, label] = target.places();
    let done = target.once(&target.update(&[3, 99, 2], &[31, 0, 21], vec![key, n])).await.unwrap();
    assert_eq!(done.rows, 2, "a key without a row is passed over");
    let returned = done.returned.unwrap();
    let of = |column: usize| {
        let column = returned.column(column).as_any().downcast_ref::<Int64Array>().unwrap();
        column.iter().map(Option::unwrap).collect::<Vec<i64>>()
    };
    assert_eq!((of(0), of(1)), (vec![3, 2], vec![31, 21]), "rows come back in the order of the edit");
    // What stays as it was counts, as in PostgreSQL.
    assert_eq!(target.once(&target.update(&[3, 2], &[31, 21], Vec::new())).await.unwrap().rows, 2);
    assert_eq!(target.rows().await[1].1, Some(21));
    let done = target.once(&target.delete(&[2, 99], vec![label, key])).await.unwrap();
    let returned = done.returned.unwrap();
    assert_eq!((done.rows, returned.num_rows()), (1, 1));
    assert_eq!(reading::keys(&[returned.project(&[1]).unwrap()]), [2]);
    assert_eq!(target.once(&target.delete(&[99], vec![key])).await.unwrap().rows, 0);
    assert!(!target.keys().await.contains(&2));
}

async fn the_store_evaluates_whole_forms(target: &Target) {
    let [_, n, _] = target.places();
    assert_eq!(target.once(&target.delete_whole(Some(4))).await.unwrap().rows, 1);
    assert_eq!(target.once(&target.delete_whole(Some(4))).await.unwrap().rows, 0);
    let literal = Expression { pg_type: PgType::INT8, node: Node::Literal(Some(Value::Int(31))) };
    let relation = Relation::Project { input: Box::new(target.relation(Some(3))), expressions: vec![literal] };
    let (store, table) = (target.connector.name().clone(), target.table.clone());
    let update = Update { store, table, relation, tables: target.tables(), set: vec![n], paths: Vec::new(), returning: Vec::new() };
    assert_eq!(target.once(&Edit::Update(update.clone())).await.unwrap().rows, 1, "a row that stays as it is counts");
    let before = target.keys().await.len();
    // Rows that are told by anything but conditions on the table are none that a store finds again.
    let values = Relation::Values { types: vec![PgType::INT8], rows: vec![vec![Some(Value::Int(1))]] };
    let refused = target.connector.accepts_edit(&Edit::Update(Update { relation: values, ..update })).unwrap_err();
    assert!(!refused.rule.is_empty() && !refused.subject.is_empty());
    assert_eq!(target.once(&target.delete_whole(None)).await.unwrap().rows, u64::try_from(before).unwrap());
    assert!(target.keys().await.is_empty());
}

/// Every value of every kind is stored so that it is read as it was.
async fn every_value_is_stored(world: &dyn World) {
    world.make(&sample::of_kinds(world, "valued", &world.kinds())).await;
    let target = Target::of(world.open(""), world, "valued").await;
    let read = reading::read_all(&target.connector, &target.table).await.unwrap();
    let all = concat_batches(&target.table.schema, &read).unwrap();
    let keys = reading::keys(&read);
    let shifted: Vec<i64> = all.column(0).as_primitive::<Int64Type>().values().iter().map(|key| key + 1_000).collect();
    let columns: Vec<usize> = (0..target.table.columns.len()).collect();
    let mut arrays: Vec<ArrayRef> = all.columns().to_vec();
    arrays[0] = int(&shifted);
    let rows = target.batch(&columns, arrays.clone());
    let (store, table) = (target.connector.name().clone(), target.table.clone());
    let insert = Insert { store, table, columns, rows, conflict: None, paths: Vec::new(), returning: Vec::new() };
    assert_eq!(target.once(&Edit::Insert(insert)).await.unwrap().rows, u64::try_from(keys.len()).unwrap());
    let both = reading::read_all(&target.connector, &target.table).await.unwrap();
    let rows = reading::rows(&target.table, &both);
    for key in keys {
        let of = |key: i64| rows.iter().find(|row| row[0] == Some(Some(Value::Int(key)))).unwrap();
        assert_eq!(format!("{:?}", &of(key)[1..]), format!("{:?}", &of(key + 1_000)[1..]), "row {key}");
    }
    every_value_replaces_another(&target, &shifted, &arrays).await;
}

/// The rows of the first half get the values of the others, in opposite order, through an update.
async fn every_value_replaces_another(target: &Target, keys: &[i64], arrays: &[ArrayRef]) {
    let count = keys.len();
    let order = UInt32Array::from_iter_values((0..u32::try_from(count).unwrap()).rev());
    let set: Vec<usize> = (1..target.table.columns.len()).collect();
    let fields: Vec<_> = (0..=set.len()).map(|ordinal| edit::field(&target.table.columns[ordinal])).collect();
    let mut values = vec![int(keys)];
    values.extend(arrays[1..].iter().map(|array| take(array, &order, None).unwrap()));
    let rows = RecordBatch::try_new(Arc::new(Schema::new(fields)), values).unwrap();
    let (store, table) = (target.connector.name().clone(), target.table.clone());
    let update = edit::UpdateRows { store, table, key: vec![0], set, rows, paths: Vec::new(), returning: Vec::new() };
    assert_eq!(target.once(&Edit::UpdateRows(update)).await.unwrap().rows, u64::try_from(count).unwrap());
    let read = reading::read_all(&target.connector, &target.table).await.unwrap();
    let rows = reading::rows(&target.table, &read);
    let of = |key: i64| rows.iter().find(|row| row[0] == Some(Some(Value::Int(key)))).unwrap();
    for (place, key) in keys.iter().enumerate() {
        let origin = keys[count - 1 - place] - 1_000;
        assert_eq!(format!("{:?}", &of(*key)[1..]), format!("{:?}", &of(origin)[1..]), "row {key}");
    }
}

async fn refusals_name_what_refused(world: &dyn World) {
    world.make_library().await;
    let author = Target::of(world.open(""), world, "author").await;
    let name = author.place("name");
    let insert = |target: &Target, key: i64, column: usize, value: ArrayRef, returning: Vec<usize>| {
        let rows = target.batch(&[0, column], vec![int(&[key]), value]);
        let (store, table) = (target.connector.name().clone(), target.table.clone());
        Edit::Insert(Insert { store, table, columns: vec![0, column], rows, conflict: None, paths: Vec::new(), returning })
    };
    let twice = insert(&author, 10, name, text(&[Some("Woolf")]), Vec::new());
    is_told(&author.once(&twice).await.unwrap_err(), sqlstate::UNIQUE_VIOLATION, "name");
    // The same inside a transaction, which has failed with it.
    let branch = author.connector.open(Purpose::Write(WriteIsolation::ReadCommitted)).await.unwrap();
    is_told(&run(&*branch, &twice).await.unwrap_err(), sqlstate::UNIQUE_VIOLATION, "name");
    let next = insert(&author, 11, name, text(&[Some("Sand")]), Vec::new());
    assert!(run(&*branch, &next).await.is_err(), "after a failure a transaction goes back only");
    branch.rollback().await.unwrap();
    if world.tells().not_null {
        let none = insert(&author, 10, name, text(&[None]), Vec::new());
        is_told(&author.once(&none).await.unwrap_err(), sqlstate::NOT_NULL_VIOLATION, "name");
    }
    if world.tells().defaults {
        let note = author.place("note");
        let done = author.once(&insert(&author, 10, name, text(&[Some("Eco")]), vec![note])).await.unwrap();
        let returned = done.returned.unwrap();
        assert_eq!(returned.column(0).as_string::<i32>().value(0), "none", "what is left out is the default");
    }
    if world.tells().foreign_keys {
        let book = Target::of(world.open(""), world, "book").await;
        let lost = insert(&book, 10, book.place("author"), int(&[99]), Vec::new());
        assert_eq!(book.once(&lost).await.unwrap_err().sqlstate(), sqlstate::FOREIGN_KEY_VIOLATION);
        assert_eq!(author.once(&author.delete(&[1], Vec::new())).await.unwrap_err().sqlstate(), sqlstate::FOREIGN_KEY_VIOLATION);
    }
}

/// The constraint, the column or the store's own words name what is meant.
fn is_told(error: &StoreError, state: &str, column: &str) {
    assert_eq!(error.sqlstate(), state, "{error:?}");
    let site = error.site().unwrap_or_default();
    let named = [error.constraint(), site.column, Some(error.to_string())].into_iter().flatten().any(|told| told.contains(column));
    assert!(named, "{column} is not named: {error:?}");
}
