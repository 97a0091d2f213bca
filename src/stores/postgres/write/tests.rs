//! What the server is sent for edits.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, RecordBatch, RecordBatchOptions, StringArray};
use arrow::datatypes::Schema;

use super::super::super::connector::{Scan, ScanLimits, StoreName};
use super::super::super::edit::{
    Conflict, ConflictAction, ConflictTarget, DeleteRows, Edit, Insert, Proposed, Update, UpdateRows, field,
};
use super::super::super::fragment::{Expression, Node, Relation};
use super::super::super::predicate::{ColumnRef, Comparison, Predicate};
use super::super::super::schema::{Collation, Column, ColumnStatistics, Generated, Table};
use super::super::super::value::Value;
use super::super::types::{NativeType, map};
use super::statement::{Parameters, Statement};
use super::{accepts, describe, locked_scan};
use crate::pgtype::PgType;

fn column(name: &str, oid: u32, kind: char, native_type: &str) -> Column {
    let labels = if kind == 'e' { vec!["sad".to_owned()] } else { Vec::new() };
    let native = NativeType { oid, typmod: -1, kind, element: None, labels };
    Column {
        field: map(name, &native, true).unwrap(),
        native_type: native_type.to_owned(),
        default: None,
        generated: Generated::No,
        comment: None,
        collation: Collation::Bytes,
        statistics: ColumnStatistics::default(),
    }
}

fn table() -> Arc<Table> {
    let mut columns = vec![
        column("id", 23, 'b', "integer"),
        column("na\"me", 1043, 'b', "character varying(3)"),
        column("mood", 90_000, 'e', "public.mood"),
        column("pair", 90_001, 'c', "public.pair"),
        column("of", 2205, 'b', "regclass"),
        column("ci", 25, 'b', "text"),
    ];
    columns[5].collation = Collation::Loose("ci".to_owned());
    Arc::new(Table::plain("public", "t", columns))
}

fn rows(columns: &[(usize, ArrayRef)]) -> RecordBatch {
    let fields: Vec<_> = columns.iter().map(|(ordinal, _)| field(&table().columns[*ordinal])).collect();
    let count = columns.first().map_or(2, |(_, values)| values.len());
    let options = RecordBatchOptions::new().with_row_count(Some(count));
    let arrays = columns.iter().map(|(_, values)| values.clone()).collect();
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &options).unwrap()
}

fn numbers(values: &[i32]) -> ArrayRef {
    Arc::new(Int32Array::from(values.to_vec()))
}

fn texts(values: &[Option<&str>]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

fn insert(columns: &[(usize, ArrayRef)], conflict: Option<Conflict>, returning: &[usize]) -> Edit {
    let ordinals = columns.iter().map(|(ordinal, _)| *ordinal).collect();
    let (store, returning) = (StoreName::new("s"), returning.to_vec());
    Edit::Insert(Insert { store, table: table(), columns: ordinals, rows: rows(columns), conflict, paths: Vec::new(), returning })
}

fn check(edit: &Edit, text: &str, parameters: &Parameters) {
    assert_eq!(accepts(edit), Ok(()));
    let statement = Statement::of(edit).unwrap();
    assert_eq!((statement.text.replace("pg_catalog.", "").as_str(), &statement.parameters), (text, parameters));
}

fn some(texts: &[&str]) -> Vec<Option<String>> {
    texts.iter().map(|text| Some((*text).to_owned())).collect()
}

#[test]
fn one_row_is_bound_value_by_value() {
    let hostile = "\\' or 1=1 -- ";
    let edit = insert(&[(0, numbers(&[-7])), (1, texts(&[Some(hostile)])), (2, texts(&[None]))], None, &[0, 2, 3]);
    check(
        &edit,
        "INSERT INTO \"public\".\"t\" (\"id\", \"na\"\"me\", \"mood\") VALUES ($1::text::int4, $2::text::varchar, \
         $3::text::public.mood) RETURNING \"id\", \"mood\"::text, \"pair\"::text",
        &Parameters::Row(vec![Some("-7".to_owned()), Some(hostile.to_owned()), None]),
    );
}

#[test]
fn values_of_identities_override_those_of_the_server() {
    let Edit::Insert(edit) = insert(&[(0, numbers(&[7]))], None, &[]) else { panic!("an insertion") };
    let mut counted = Table::clone(&edit.table);
    counted.columns[0].generated = Generated::Always;
    check(
        &Edit::Insert(Insert { table: Arc::new(counted), ..edit }),
        "INSERT INTO \"public\".\"t\" (\"id\") OVERRIDING SYSTEM VALUE VALUES ($1::text::int4)",
        &Parameters::Row(some(&["7"])),
    );
}

#[test]
fn rows_are_bound_as_arrays_of_texts() {
    let edit = insert(&[(0, numbers(&[1, 2])), (3, texts(&[Some("(1,2)"), None]))], None, &[]);
    check(
        &edit,
        "INSERT INTO \"public\".\"t\" (\"id\", \"pair\") SELECT v0.c0::int4, v0.c1::public.pair \
         FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS v0 (c0, c1, n)",
        &Parameters::Columns(vec![some(&["1", "2"]), vec![Some("(1,2)".to_owned()), None]]),
    );
    check(&insert(&[], None, &[]), "INSERT INTO \"public\".\"t\" SELECT FROM generate_series(1, 2)", &Parameters::None);
}

#[test]
fn conflicts_are_the_servers_own() {
    let set = vec![
        (1, Proposed::Excluded(1)),
        (2, Proposed::Constant(Some(Value::Text("it's".to_owned())))),
        (4, Proposed::Constant(Some(Value::Int(7)))),
        (3, Proposed::Constant(None)),
    ];
    let conflict = Conflict { target: ConflictTarget::Columns(vec![0]), action: ConflictAction::Update(set) };
    let edit = insert(&[(0, numbers(&[1]))], Some(conflict), &[]);
    check(
        &edit,
        "INSERT INTO \"public\".\"t\" (\"id\") VALUES ($1::text::int4) ON CONFLICT (\"id\") DO UPDATE SET \
         \"na\"\"me\" = excluded.\"na\"\"me\", \"mood\" = 'it''s'::public.mood, \"of\" = '7'::int8::oid, \"pair\" = NULL",
        &Parameters::Row(some(&["1"])),
    );
    assert!(!describe(&edit).contains("it''s"), "{}", describe(&edit));
}

#[test]
fn rows_by_key_are_numbered_and_found_by_their_bytes() {
    let (store, table) = (StoreName::new("s"), table());
    let given = rows(&[(0, numbers(&[1, 2])), (5, texts(&[Some("a"), Some("B")])), (0, numbers(&[3, 4]))]);
    let (key, set, returning) = (vec![0, 5], vec![0], vec![1]);
    let update = UpdateRows { store: store.clone(), table: table.clone(), key, set, rows: given, paths: Vec::new(), returning };
    check(
        &Edit::UpdateRows(update),
        "UPDATE \"public\".\"t\" AS t0 SET \"id\" = v0.c2::int4 \
         FROM unnest($1::text[], $2::text[], $3::text[]) WITH ORDINALITY AS v0 (c0, c1, c2, n) \
         WHERE t0.\"id\" = v0.c0::int4 AND t0.\"ci\" = v0.c1::text AND t0.\"ci\" COLLATE \"C\" = v0.c1::text \
         RETURNING t0.\"na\"\"me\", v0.n",
        &Parameters::Columns(vec![some(&["1", "2"]), some(&["a", "B"]), some(&["3", "4"])]),
    );
    let given = rows(&[(3, texts(&[Some("(1,2)")]))]);
    let delete = DeleteRows { store, table, key: vec![3], rows: given, returning: Vec::new() };
    check(
        &Edit::DeleteRows(delete),
        "DELETE FROM \"public\".\"t\" AS t0 USING unnest($1::text[]) WITH ORDINALITY AS v0 (c0, n) \
         WHERE t0.\"pair\"::text COLLATE \"C\" = v0.c0::text",
        &Parameters::Columns(vec![some(&["(1,2)"])]),
    );
}

#[test]
fn a_label_that_is_computed_is_cast_to_its_type() {
    let (store, table) = (StoreName::new("s"), table());
    let below = Predicate::Compare { column: ColumnRef::of(0), op: Comparison::Less, value: Value::Int(5) };
    let scan = Scan { store: store.clone(), table: table.id.clone(), columns: vec![0], filter: vec![below], limit: None };
    let label = Expression::new(PgType::TEXT, Node::Literal(Some(Value::Text("sad".to_owned()))));
    let relation = Relation::Project { input: Box::new(Relation::Table(scan)), expressions: vec![label] };
    let tables = [(table.id.clone(), table.clone())].into();
    let edit = Edit::Update(Update { store, table, relation, tables, set: vec![2], paths: Vec::new(), returning: vec![0] });
    assert_eq!(accepts(&edit), Ok(()));
    let text = Statement::of(&edit).unwrap().text.replace("pg_catalog.", "");
    assert!(text.starts_with("UPDATE \"public\".\"t\" SET \"mood\" = 'sad'::text::public.mood WHERE "), "{text}");
    assert!(text.ends_with(" RETURNING \"id\"") && text.contains("\"id\" < '5'::int8"), "{text}");
    assert!(describe(&edit).contains("\"id\" < $"), "{}", describe(&edit));
}

#[test]
fn rows_that_are_about_to_be_changed_are_locked() {
    let table = table();
    let scan = Scan { store: StoreName::new("s"), table: table.id.clone(), columns: vec![0], filter: Vec::new(), limit: Some(3) };
    let job = locked_scan(&table, &scan, ScanLimits::default()).unwrap();
    assert!(job.select.ends_with(" LIMIT 3 FOR NO KEY UPDATE"), "{}", job.select);
    assert!(job.copy().starts_with("COPY (SELECT \"id\" FROM"), "{}", job.copy());
}
