//! Subscriptions over a table of a store that is not asked: what is told of its changes, and which queries are refused.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::Field;
use datafusion::scalar::ScalarValue;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::catalog::Snapshot;
use crate::catalog::object::Objects;
use crate::catalog::snapshot::Schema as CatalogSchema;
use crate::changes::fakes::FakeStore;
use crate::federation::engine::Limits;
use crate::federation::plan::parse_query;
use crate::stores::Connector;
use crate::stores::change::builder::{Cell, RowsBuilder};
use crate::stores::change::{Operation, Rows};
use crate::stores::schema::{Collation, Column, ColumnStatistics, Generated};

fn table() -> Arc<Table> {
    let column = |name: &str, pg_type: PgType, is_nullable: bool| Column {
        field: Field::new(name, pg_type.carrier(), is_nullable).with_pg_type(pg_type),
        native_type: pg_type.to_string(),
        default: None,
        generated: Generated::No,
        comment: None,
        collation: Collation::Bytes,
        statistics: ColumnStatistics::default(),
    };
    let columns = vec![column("id", PgType::INT8, false), column("qty", PgType::INT4, true), column("note", PgType::TEXT, true)];
    Arc::new(Table::plain("public", "orders", columns))
}

fn delta(sql: &str) -> Result<Delta, Diagnosis> {
    let (store, connector) = (StoreName::new("shop"), FakeStore::new("shop"));
    let body = RelationBody::Stored { store: store.clone(), table: table() };
    let relation = Arc::new(Relation { oid: 20_001, schema: "shop".to_owned(), name: "orders".to_owned(), body });
    let schema = CatalogSchema {
        name: "shop".to_owned(),
        oid: 1,
        store: Some(store.clone()),
        namespace: "public".to_owned(),
        relations: BTreeMap::from([("orders".to_owned(), relation)]),
        unavailable: None,
    };
    let connector: Arc<dyn Connector> = connector;
    let snapshot = Snapshot {
        version: 1,
        database: "tributary".to_owned(),
        schemas: BTreeMap::from([("shop".to_owned(), schema)]),
        objects: Objects::default(),
        connectors: Arc::new(BTreeMap::from([(store, connector)])),
        reach: Arc::default(),
        retired: CancellationToken::new(),
    };
    let engine = Engine::new(&Limits::default()).unwrap();
    plan(&engine, &Setting::of_server(Arc::new(snapshot)), parse_query(sql).unwrap())
}

type Side<'a> = Option<[Option<&'a str>; 3]>;

/// Rows of the table: `?` is a cell that was not sent.
fn rows(changes: &[(Operation, Side<'_>, Side<'_>)]) -> Rows {
    let shape = Shape::of(&table(), vec![0], vec![true, true, false]);
    let mut builder = RowsBuilder::new(&shape);
    let cell = |text: Option<&'static str>| match text {
        Some("?") => Cell::Unknown,
        Some(text) => Cell::Text(text),
        None => Cell::Null,
    };
    for (operation, new, old) in changes {
        let leak = |side: &Side<'_>| -> Vec<Option<&'static str>> {
            let texts = side.iter().flatten();
            texts.map(|text| text.map(|text| -> &'static str { Box::leak(text.to_owned().into_boxed_str()) })).collect()
        };
        let (new, before) = (leak(new), leak(old));
        let mut new = new.into_iter().map(cell);
        let mut before = before.into_iter().map(cell);
        let old: Option<&mut dyn Iterator<Item = Cell<'_>>> = if old.is_some() { Some(&mut before) } else { None };
        builder.push(*operation, &mut new, old).unwrap();
    }
    builder.finish().unwrap()
}

/// Each row as its op, whether it has a position, what is unknown, and the outputs.
fn shown(batch: Option<RecordBatch>) -> Vec<String> {
    let Some(batch) = batch else { return Vec::new() };
    let text = |column: usize, row: usize| {
        let value = ScalarValue::try_from_array(batch.column(column), row).unwrap();
        if value.is_null() { "NULL".to_owned() } else { value.to_string() }
    };
    let row = |row: usize| {
        let unknown = batch.column(3).as_list::<i32>();
        let names: Vec<String> = match unknown.is_valid(row) {
            true => unknown.value(row).as_string::<i32>().iter().flatten().map(str::to_owned).collect(),
            false => Vec::new(),
        };
        let outputs: Vec<String> = (4..batch.num_columns()).map(|column| text(column, row)).collect();
        let position = if batch.column(1).is_valid(row) { "" } else { " -" };
        format!("{}{position} [{}] {}", text(0, row), names.join(","), outputs.join("|"))
    };
    (0..batch.num_rows()).map(row).collect()
}

fn told(sql: &str, changes: &[(Operation, Side<'_>, Side<'_>)]) -> Vec<String> {
    let (delta, rows) = (delta(sql).unwrap(), rows(changes));
    delta.check(&rows.shape).unwrap();
    let changes: Vec<Change<'_>> =
        (0..rows.operations.len()).map(|row| Change { row, position: row.to_string(), transaction: "t" }).collect();
    shown(delta.changes(&rows, &changes).unwrap())
}

const ROW: Side<'_> = Some([Some("1"), Some("5"), Some("a")]);

#[test]
fn a_table_is_told_as_it_changes() {
    let changes = [
        (Operation::Insert, ROW, None),
        (Operation::Update, Some([Some("1"), None, Some("?")]), None),
        (Operation::Upsert, ROW, None),
        (Operation::Delete, None, Some([Some("1"), Some("?"), Some("?")])),
        (Operation::Update, Some([Some("2"), Some("6"), Some("?")]), Some([Some("1"), Some("?"), Some("?")])),
    ];
    let expected = [
        "insert [] 1|5|a",
        "update [note] 1|NULL|NULL",
        "upsert [] 1|5|a",
        "delete [qty,note] 1|NULL|NULL",
        "delete - [qty,note] 1|NULL|NULL",
        "insert [note] 2|6|NULL",
    ];
    assert_eq!(told("SELECT * FROM shop.orders", &changes), expected);
}

#[test]
fn conditions_are_asked_of_both_sides() {
    let (more, less) = (Some([Some("1"), Some("9"), Some("a")]), Some([Some("1"), Some("3"), Some("a")]));
    let changes = [
        (Operation::Insert, less, None),
        (Operation::Insert, more, None),
        (Operation::Update, more, more),
        (Operation::Update, more, less),
        (Operation::Update, less, more),
        (Operation::Update, less, less),
        (Operation::Update, more, None),
        (Operation::Update, less, None),
        (Operation::Upsert, less, None),
        (Operation::Delete, None, more),
        (Operation::Delete, None, less),
        (Operation::Delete, None, Some([Some("1"), Some("?"), Some("?")])),
        (Operation::Update, Some([Some("1"), None, Some("a")]), more),
    ];
    let expected = [
        "insert [] 1|18",
        "update [] 1|18",
        "insert [] 1|18",
        "delete [] 1|18",
        "upsert [] 1|18",
        "delete [twice] 1|NULL",
        "delete [twice] 1|NULL",
        "delete [] 1|18",
        "delete [twice] 1|NULL",
        "delete [] 1|18",
    ];
    assert_eq!(told("SELECT id, qty * 2 AS twice FROM shop.orders WHERE qty > 5", &changes), expected);
    let nested = "SELECT s.id, s.twice FROM (SELECT id, qty * 2 AS twice FROM shop.orders o) s WHERE s.twice > 10";
    assert_eq!(told(nested, &changes), expected);
}

#[test]
fn rows_that_do_not_pass_and_cells_that_were_not_sent_are_not_computed() {
    let zero = Some([Some("1"), Some("0"), Some("a")]);
    let changes = [
        (Operation::Insert, zero, None),
        (Operation::Insert, ROW, None),
        (Operation::Delete, None, Some([Some("1"), Some("?"), Some("?")])),
    ];
    let sql = "SELECT 10 / qty AS a FROM shop.orders WHERE qty <> 0";
    assert_eq!(told(sql, &changes), ["insert [] 2", "delete [a] NULL"]);
    let sql = "SELECT 10 / coalesce(qty, 0) AS a FROM shop.orders";
    assert_eq!(told(sql, &changes[1..]), ["insert [] 2", "delete [a] NULL"]);
    let failing = delta(sql).unwrap();
    let rows = rows(&changes[..1]);
    let change = Change { row: 0, position: String::new(), transaction: "t" };
    assert_eq!(failing.changes(&rows, &[change]).unwrap_err().sqlstate, "22012");
}

#[test]
fn conditions_over_cells_that_were_not_sent_end_it() {
    // As the shape has it they always are.
    let unsent = Some([Some("1"), Some("?"), Some("a")]);
    let failing = delta("SELECT id FROM shop.orders WHERE qty > 5").unwrap();
    let rows = rows(&[(Operation::Update, unsent, None), (Operation::Delete, None, unsent)]);
    let change = |row| Change { row, position: String::new(), transaction: "t" };
    let error = failing.changes(&rows, &[change(0)]).unwrap_err();
    assert_eq!(error.sqlstate, "55000");
    assert!(error.message.contains("\"qty\""), "{error:?}");
    // Of a row that is gone nothing is asked.
    assert_eq!(shown(failing.changes(&rows, &[change(1)]).unwrap()), ["delete [] 1"]);
    assert_eq!(told("SELECT id FROM shop.orders", &[(Operation::Update, unsent, None)]), ["update [] 1"]);
}

#[test]
fn snapshots_are_rows_that_pass() {
    let delta = delta("SELECT note FROM shop.orders WHERE qty > 5").unwrap();
    let found = rows(&[(Operation::Read, ROW, None), (Operation::Read, Some([Some("2"), Some("6"), None]), None)]);
    assert_eq!(shown(Some(delta.snapshot(found.new).unwrap())), ["snapshot - [] NULL"]);
    assert_eq!(shown(Some(delta.mark("snapshot_end", None, None).unwrap())), ["snapshot_end - [] NULL"]);
    assert_eq!(shown(Some(delta.mark("truncate", Some("p"), Some("t")).unwrap())), ["truncate [] NULL"]);
    let names: Vec<&str> = delta.columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(names, ["tributary_op", "tributary_position", "tributary_transaction", "tributary_unknown", "note"]);
}

#[test]
fn what_does_not_follow_from_one_row_is_refused() {
    let rows = [
        ("SELECT count(*) FROM shop.orders", "0A000"),
        ("SELECT qty FROM shop.orders GROUP BY qty", "0A000"),
        ("SELECT DISTINCT qty FROM shop.orders", "0A000"),
        ("SELECT id FROM shop.orders ORDER BY id", "0A000"),
        ("SELECT id FROM shop.orders LIMIT 1", "0A000"),
        ("SELECT a.id FROM shop.orders a JOIN shop.orders b ON a.id = b.id", "0A000"),
        ("SELECT id FROM shop.orders WHERE id IN (SELECT qty FROM shop.orders)", "0A000"),
        ("SELECT row_number() OVER () FROM shop.orders", "0A000"),
        ("SELECT id FROM shop.orders UNION ALL SELECT 1", "0A000"),
        ("SELECT 1", "0A000"),
        ("SELECT now(), id FROM shop.orders", "0A000"),
        ("SELECT id FROM shop.orders WHERE random() < 0.5", "0A000"),
        ("SELECT current_user, id FROM shop.orders", "0A000"),
        ("SELECT id FROM shop.orders WHERE id = $1", "0A000"),
        ("SELECT unnest(ARRAY[id]) FROM shop.orders", "0A000"),
        ("SELECT nothing FROM shop.orders", "42703"),
        ("SELECT 1 FROM shop.nothing", "42P01"),
    ];
    for (sql, expected) in rows {
        assert_eq!(delta(sql).map(drop).unwrap_err().sqlstate, expected, "{sql}");
    }
}

#[test]
fn expressions_that_grow_are_bounded() {
    let mut sql = "SELECT id, qty AS a FROM shop.orders".to_owned();
    for level in 0..30 {
        sql = format!("SELECT id, a + a AS a FROM ({sql}) s{level}");
    }
    // With a stack as the server's threads have it.
    let planned = move || delta(&sql).map(drop).unwrap_err().sqlstate;
    assert_eq!(std::thread::Builder::new().stack_size(16 << 20).spawn(planned).unwrap().join().unwrap(), "54001");
}

#[test]
fn conditions_stand_on_what_every_event_has() {
    let shape = |known: [bool; 3]| Shape::of(&table(), vec![0], known.to_vec());
    let delta = delta("SELECT id FROM shop.orders WHERE note = 'a'").unwrap();
    assert!(delta.check(&shape([true; 3])).is_ok());
    assert_eq!(delta.check(&shape([true, true, false])).unwrap_err().sqlstate, "0A000");
    assert_eq!(delta.check(&shape([false, true, true])).unwrap_err().sqlstate, "0A000");
    let mut other = (*table()).clone();
    other.columns.pop();
    other.schema = Table::arrow_schema(&other.columns);
    assert_eq!(delta.check(&Shape::of(&other, vec![0], vec![true; 2])).unwrap_err().sqlstate, "55000");
}
