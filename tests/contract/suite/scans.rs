//! What a scan gives: values as they were written, columns, counts, limits, batches; and that it is nothing but a description.

use std::cmp::Ordering;
use std::sync::Arc;

use futures::TryStreamExt;
use tributary::stores::connector::ScanLimits;
use tributary::stores::position::{Coverage, Position};
use tributary::stores::predicate::{ColumnRef, Comparison};
use tributary::stores::value::Value;
use tributary::stores::{Connector, Predicate, Pushdown, Scan, StoreName, Table};

use super::oracle;
use super::reading::{self, count, keys, read, whole};
use super::sample;
use super::world::{BIG, Kind, Sample, World};

pub async fn check(world: &dyn World) {
    values_are_read_as_they_were_written(world).await;
    let (connector, table) = filled(world, 30).await;
    columns_come_as_asked(&connector, &table).await;
    limits_are_kept(&connector, &table).await;
    no_columns_still_count_rows(world, &connector, &table).await;
    a_scan_is_a_description(world, &connector, &table).await;
    batches_keep_their_bounds(world).await;
    positions_of_others_are_not_comparable(world).await;
}

/// A table of keys 1 to `rows` with a text and a number.
async fn filled(world: &dyn World, rows: usize) -> (Arc<dyn Connector>, Arc<Table>) {
    let rows = (0..rows).map(|row| vec![Some(Value::Text(format!("row {row}"))), Some(Value::Int(-1))]).collect();
    let columns = vec![("label".to_owned(), Kind::Text), ("n".to_owned(), Kind::Int)];
    world.make(&Sample { table: "t".to_owned(), columns, rows }).await;
    let connector = world.open("");
    let table = reading::table(&connector, &world.namespace(), "t").await;
    (connector, table)
}

/// The extremes, NULL and texts of every script, in one table of all kinds.
async fn values_are_read_as_they_were_written(world: &dyn World) {
    let written = sample::of_kinds(world, "kinds", &world.kinds());
    world.make(&written).await;
    let connector = world.open("");
    let table = reading::table(&connector, &world.namespace(), "kinds").await;
    let found = reading::Filled::new(&connector, table).await;
    assert_eq!(found.rows.len(), written.rows.len());
    for row in &found.rows {
        let Some(Some(Value::Int(key))) = &row[0] else { panic!("{:?} is no key", row[0]) };
        let expected = &written.rows[usize::try_from(*key).unwrap() - 1];
        for (place, (wanted, cell)) in expected.iter().zip(&row[1..]).enumerate() {
            let agrees = match (wanted, cell) {
                (None, None) => true,
                (Some(wanted), Some(Some(cell))) => oracle::compare(wanted, cell) == Ordering::Equal,
                _ => false,
            };
            assert!(agrees, "{:?} of row {key}: {wanted:?} was read as {cell:?}", written.columns[place]);
        }
    }
}

fn ordinal(table: &Table, name: &str) -> usize {
    table.columns.iter().position(|column| column.name() == name).unwrap()
}

/// A condition on the key that must be exact, so that limits may go with it.
fn below(connector: &Arc<dyn Connector>, table: &Table, key: i64) -> Predicate {
    let predicate = Predicate::Compare { column: ColumnRef::of(0), op: Comparison::LessOrEqual, value: Value::Int(key) };
    match connector.pushdown(table, &predicate) {
        Pushdown::Exact(kept) | Pushdown::Superset(kept) => kept,
        Pushdown::Refused(reason) => panic!("an order of keys is refused: {reason}"),
    }
}

async fn columns_come_as_asked(connector: &Arc<dyn Connector>, table: &Arc<Table>) {
    let (label, n) = (ordinal(table, "label"), ordinal(table, "n"));
    for columns in [vec![label], vec![n, 0, label], vec![0, label, n], vec![label, 0, label]] {
        let scan = Scan { columns: columns.clone(), ..whole(connector, table, Vec::new()) };
        let batches = read(connector, table, &scan).await.unwrap();
        assert_eq!(count(&batches), 30);
        assert!(batches.iter().all(|batch| batch.schema() == table.project(&columns)), "{columns:?}");
        let place = |wanted: usize| columns.iter().position(|column| *column == wanted);
        let (Some(key), Some(text)) = (place(0), place(label)) else { continue };
        // Columns of one row belong together, however they are asked for.
        for (batch, row) in batches.iter().flat_map(|batch| (0..batch.num_rows()).map(move |row| (batch, row))) {
            let cell = |place: usize, column: usize| oracle::value(batch.column(place), row, table.columns[column].pg_type());
            let Some(Some(Value::Int(number))) = cell(key, 0) else { panic!("no key") };
            assert_eq!(cell(text, label), Some(Some(Value::Text(format!("row {}", number - 1)))));
        }
    }
}

async fn limits_are_kept(connector: &Arc<dyn Connector>, table: &Arc<Table>) {
    for (limit, expected) in [(0, 0), (1, 1), (29, 29), (30, 30), (1_000, 30)] {
        let scan = Scan { limit: Some(limit), ..whole(connector, table, Vec::new()) };
        assert_eq!(count(&read(connector, table, &scan).await.unwrap()), expected, "{limit}");
    }
    for (limit, expected) in [(0, 0), (5, 5), (100, 12)] {
        let scan = Scan { limit: Some(limit), ..whole(connector, table, vec![below(connector, table, 12)]) };
        let batches = read(connector, table, &scan).await.unwrap();
        assert_eq!(count(&batches), expected, "{limit}");
        assert!(keys(&batches).iter().all(|key| *key <= 12));
    }
}

async fn no_columns_still_count_rows(world: &dyn World, connector: &Arc<dyn Connector>, table: &Arc<Table>) {
    let none = Scan { columns: Vec::new(), ..whole(connector, table, Vec::new()) };
    let batches = read(connector, table, &none).await.unwrap();
    assert_eq!(count(&batches), 30);
    assert!(batches.iter().all(|batch| batch.num_columns() == 0));
    let filtered = Scan { filter: vec![below(connector, table, 7)], ..none.clone() };
    assert_eq!(count(&read(connector, table, &filtered).await.unwrap()), 7);
    let limited = Scan { limit: Some(4), ..filtered };
    assert_eq!(count(&read(connector, table, &limited).await.unwrap()), 4);
    world.make(&sample::of_keys("empty", 0)).await;
    let empty = reading::table(connector, &world.namespace(), "empty").await;
    for columns in [Vec::new(), vec![0]] {
        let scan = Scan { columns, ..whole(connector, &empty, Vec::new()) };
        assert_eq!(count(&read(connector, &empty, &scan).await.unwrap()), 0);
    }
}

/// A scan goes through its serialised form and reads the same; and what is described of it holds no value, but where
/// values are asked for.
async fn a_scan_is_a_description(world: &dyn World, connector: &Arc<dyn Connector>, table: &Arc<Table>) {
    let label = ColumnRef::of(ordinal(table, "label"));
    let secret = Predicate::Compare { column: label, op: Comparison::Equal, value: Value::Text("hunter2".to_owned()) };
    let (Pushdown::Exact(secret) | Pushdown::Superset(secret)) = connector.pushdown(table, &secret) else {
        panic!("equality of texts is refused")
    };
    let scan = Scan { columns: vec![2, 0], limit: Some(9), ..whole(connector, table, vec![below(connector, table, 20)]) };
    let again: Scan = serde_json::from_str(&serde_json::to_string(&scan).unwrap()).unwrap();
    assert_eq!(again, scan);
    // Another connector of the same store runs it: there is nothing of this one in it.
    assert_eq!(count(&read(&world.open(""), table, &again).await.unwrap()), 9);
    let described = connector.describe_scan(table, &whole(connector, table, vec![secret.clone()]));
    assert!(described.contains("label") && !described.contains("hunter2"), "{described}");
    let (text, values) = connector.describe_with_values(table, &whole(connector, table, vec![secret]));
    assert!(text == described && values.contains("hunter2"), "{text}{values}");
    let (_, none) = connector.describe_with_values(table, &whole(connector, table, Vec::new()));
    assert_eq!(none, "");
    for kind in world.kinds() {
        let column = ColumnRef { column: 1, path: vec!["a.b".to_owned(), "\"".to_owned()] };
        let is_written = |value: &Value| !matches!(value, Value::Float(number) if !number.is_finite());
        let values: Vec<Value> = sample::probes(world, kind).into_iter().filter(is_written).collect();
        let filter = vec![
            Predicate::Or(vec![
                Predicate::In { column: column.clone(), values: values.clone(), negated: true },
                Predicate::And(vec![Predicate::IsNull { column: column.clone(), negated: true }]),
            ]),
            Predicate::Compare { column, op: Comparison::NotEqual, value: values[0].clone() },
        ];
        let scan = whole(connector, table, filter);
        assert_eq!(serde_json::from_str::<Scan>(&serde_json::to_string(&scan).unwrap()).unwrap(), scan);
    }
}

async fn batches_keep_their_bounds(world: &dyn World) {
    world.make_big().await;
    let connector = world.open("");
    let table = reading::table(&connector, &world.namespace(), "big").await;
    let scan = Scan { filter: vec![below(&connector, &table, 3_000)], ..whole(&connector, &table, Vec::new()) };
    let read_within = async |limits: ScanLimits| {
        let branch = connector.open(reading::ALONE).await.unwrap();
        branch.scan(&table, &scan, limits).await.unwrap().try_collect::<Vec<_>>().await.unwrap()
    };
    let batches = read_within(ScanLimits { batch_rows: 70, batch_bytes: 64 << 20 }).await;
    assert!(batches.iter().all(|batch| (1..=70).contains(&batch.num_rows())));
    assert_eq!(keys(&batches), (1..=3_000).collect::<Vec<i64>>());
    let batches = read_within(ScanLimits { batch_rows: 8_192, batch_bytes: 20_000 }).await;
    // Rows of 1000 bytes and a key: some twenty of them reach the bound, whatever a store counts besides.
    assert!(batches.iter().all(|batch| batch.num_rows() <= 30), "{:?}", batches.iter().map(|batch| batch.num_rows()).max());
    assert_eq!(keys(&batches), (1..=3_000).collect::<Vec<i64>>());
    let all = reading::read_all(&connector, &table).await.unwrap();
    let most = ScanLimits::default();
    assert!(all.iter().all(|batch| batch.num_rows() <= most.batch_rows && batch.get_array_memory_size() < 4 * most.batch_bytes));
    assert_eq!(count(&all), BIG);
}

/// Nobody gives positions out yet; whatever is shown to a connector that it did not make is incomparable, and ends nothing.
async fn positions_of_others_are_not_comparable(world: &dyn World) {
    let connector = world.open("");
    let position = |store: &str, token: &[u8]| Position { store: StoreName::new(store), token: token.to_vec() };
    let own = connector.name().as_str();
    for (applied, wanted) in [
        (position(own, b""), position(own, b"")),
        (position(own, &[0xff]), position(own, &[0xff; 3])),
        (position("another", &[0; 16]), position(own, &[0; 16])),
        (position(own, &[0; 8]), position("another", &[0; 8])),
    ] {
        assert_eq!(connector.covers(&applied, &wanted), Coverage::Incomparable, "{applied:?} {wanted:?}");
    }
    connector.ping().await.unwrap();
}
