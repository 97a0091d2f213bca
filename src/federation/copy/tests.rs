//! What is read from copies and what is not, over a store that says it meets every condition and tells its rows apart from those of the
//! copy.

mod points;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::{ArrayRef, Int16Array, Int32Array, StringArray};
use arrow::datatypes::{DataType, Field};
use async_trait::async_trait;
use datafusion::scalar::ScalarValue;

use super::keys::Keys;
use super::offers::{Pinned, Source};
use super::*;
use crate::cache::CopiesRead;
use crate::catalog::object::Objects;
use crate::catalog::{Relation, RelationBody, Schema, Snapshot};
use crate::error::{Diagnosis, sqlstate};
use crate::federation::branches::BranchKind;
use crate::federation::engine::{Engine, Limits};
use crate::federation::error::diagnose;
use crate::federation::explain;
use crate::federation::fast::Lookup;
use crate::federation::plan::{self, Bound, Setting, parse_query};
use crate::pgtype::{PgField, PgType};
use crate::stores::change::Shape;
use crate::stores::connector::{Capabilities, ScanLimits};
use crate::stores::fragment::Relation as Remote;
use crate::stores::position::{Coverage, Position};
use crate::stores::predicate::{ColumnRef, Comparison, Rows};
use crate::stores::schema::{Column, ColumnStatistics, Generated, Key, StoreSchema, TableId};
use crate::stores::value::Value;
use crate::stores::{BatchStream, Branch, Connector, Purpose, Pushdown, Refusal, StoreError, Tables};

/// A store whose one row has the id 100, whatever it is asked under.
#[derive(Debug)]
struct Shop(StoreName);

#[async_trait]
impl Connector for Shop {
    fn name(&self) -> &StoreName {
        &self.0
    }

    fn kind(&self) -> &'static str {
        "shop"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { statement_snapshot: true, prepare: false, like: true, documents: false, cancel: false, keys_max: 10_000 }
    }

    async fn discover(&self) -> std::result::Result<StoreSchema, StoreError> {
        Ok(StoreSchema::default())
    }

    async fn ping(&self) -> std::result::Result<(), StoreError> {
        Ok(())
    }

    fn pushdown(&self, _table: &Table, predicate: &Predicate) -> Pushdown {
        Pushdown::Exact(predicate.clone())
    }

    fn describe_scan(&self, table: &Table, _scan: &Scan) -> String {
        table.id.name.clone()
    }

    fn accepts(&self, _relation: &Remote, _tables: &Tables) -> std::result::Result<(), Refusal> {
        Ok(())
    }

    async fn open(&self, _purpose: Purpose) -> std::result::Result<Arc<dyn Branch>, StoreError> {
        Ok(Arc::new(OneRow))
    }

    fn covers(&self, _applied: &Position, _wanted: &Position) -> Coverage {
        Coverage::Incomparable
    }

    async fn close(&self) {}
}

#[derive(Debug)]
struct OneRow;

#[async_trait]
impl Branch for OneRow {
    async fn scan(&self, _table: &Arc<Table>, scan: &Scan, _limits: ScanLimits) -> std::result::Result<BatchStream, StoreError> {
        let batch = batch(&[(100, "store", 0, 0)]).project(&scan.columns).unwrap();
        Ok(futures::stream::iter([Ok(batch)]).boxed())
    }

    fn shared_snapshot(&self) -> std::result::Result<(), &'static str> {
        Ok(())
    }

    async fn commit(&self) -> std::result::Result<Option<Position>, StoreError> {
        Ok(None)
    }

    async fn rollback(&self) -> std::result::Result<(), StoreError> {
        Ok(())
    }
}

/// `t(id integer PRIMARY KEY, name text, qty smallint, above integer)`
fn table() -> Table {
    let column = |name: &str, data_type: DataType, pg_type: PgType| Column {
        field: Field::new(name, data_type, name != "id").with_pg_type(pg_type),
        native_type: String::new(),
        default: None,
        generated: Generated::No,
        comment: None,
        collation: Collation::Bytes,
        statistics: ColumnStatistics::default(),
    };
    let columns = vec![
        column("id", DataType::Int32, PgType::INT4),
        column("name", DataType::Utf8, PgType::TEXT),
        column("qty", DataType::Int16, PgType::INT2),
        column("above", DataType::Int32, PgType::INT4),
    ];
    let key = Key { name: "t_pkey".to_owned(), columns: vec![0], proven: true };
    Table { primary_key: Some(key), ..Table::plain("public", "t", columns) }
}

fn batch(rows: &[(i32, &str, i16, i32)]) -> RecordBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int32Array::from_iter_values(rows.iter().map(|row| row.0))),
        Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.1))),
        Arc::new(Int16Array::from_iter_values(rows.iter().map(|row| row.2))),
        Arc::new(Int32Array::from_iter_values(rows.iter().map(|row| row.3))),
    ];
    RecordBatch::try_new(Arc::clone(&table().schema), columns).unwrap()
}

/// A copy with the rows 1 to 500, in two parts; the names are those of the ids.
fn version(table: &Arc<Table>) -> Arc<TableVersion> {
    let shape = Shape::of(table, vec![0], vec![true; 4]);
    let names: Vec<String> = (0..=500).map(|id| format!("n{id}")).collect();
    let row = |id: i32| (id, names[id as usize].as_str(), (id % 10) as i16, id / 2);
    let (first, second): (Vec<_>, Vec<_>) = ((1..=300).map(row).collect(), (301..=500).map(row).collect());
    let version = TableVersion::empty(table, &shape).unwrap();
    Arc::new(version.filled(&batch(&first)).unwrap().filled(&batch(&second)).unwrap())
}

#[derive(Debug)]
struct Fixed {
    version: Arc<TableVersion>,
    used: Arc<AtomicUsize>,
}

impl Pinned for Fixed {
    fn table(&self, table: &TableId) -> Option<Arc<TableVersion>> {
        Some(Arc::clone(&self.version)).filter(|version| version.table().id == *table)
    }

    fn used(&self, _table: &TableId) {
        self.used.fetch_add(1, Ordering::Relaxed);
    }

    fn age(&self) -> Option<Duration> {
        Some(Duration::from_micros(6_001))
    }

    fn position(&self) -> Option<String> {
        None
    }
}

/// Offers the copy, and settles on what the test says.
#[derive(Debug)]
struct Held {
    settled: Settled,
    asked: AtomicUsize,
    fell_through: AtomicUsize,
}

#[async_trait]
impl Source for Held {
    fn offered(&self, _store: &StoreName, table: &TableId) -> bool {
        table.name == "t"
    }

    async fn decide(&self, _store: &StoreName) -> Settled {
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.settled.clone()
    }

    fn fell_through(&self, _store: &StoreName, _table: &TableId) {
        self.fell_through.fetch_add(1, Ordering::Relaxed);
    }
}

struct Room {
    engine: Engine,
    setting: Setting,
    held: Arc<Held>,
    used: Arc<AtomicUsize>,
}

/// What a room settles on.
enum On {
    Copy,
    Store,
    Nothing,
}

impl Room {
    fn new(on: On) -> Self {
        Self::over(table(), on)
    }

    fn over(table: Table, on: On) -> Self {
        let (store, table, used) = (StoreName::new("shop"), Arc::new(table), Arc::<AtomicUsize>::default());
        let settled = match on {
            On::Copy => Settled::Copy(Arc::new(Fixed { version: version(&table), used: Arc::clone(&used) })),
            On::Store => Settled::Store("the test says so"),
            On::Nothing => Settled::Stale(Box::new(Diagnosis::new(sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE, "too old"))),
        };
        let connector: Arc<dyn Connector> = Arc::new(Shop(store.clone()));
        let body = RelationBody::Stored { store: store.clone(), table };
        let relation = Relation { oid: 20_001, schema: "shop".to_owned(), name: "t".to_owned(), body };
        let schema = Schema {
            name: "shop".to_owned(),
            oid: 20_000,
            store: Some(store.clone()),
            namespace: "public".to_owned(),
            relations: BTreeMap::from([("t".to_owned(), Arc::new(relation))]),
            unavailable: None,
        };
        let snapshot = Snapshot {
            version: 1,
            database: "tributary".to_owned(),
            schemas: BTreeMap::from([("shop".to_owned(), schema)]),
            objects: Objects::default(),
            connectors: Arc::new(BTreeMap::from([(store, connector)])),
            reach: Arc::default(),
            retired: tokio_util::sync::CancellationToken::new(),
        };
        let held = Arc::new(Held { settled, asked: AtomicUsize::new(0), fell_through: AtomicUsize::new(0) });
        let limits = Limits::default();
        Self { engine: Engine::new(&limits).unwrap(), setting: Setting::of_server(Arc::new(snapshot)), held, used }
    }

    fn branches(&self, kind: BranchKind) -> Branches {
        let source: Arc<dyn Source> = Arc::clone(&self.held) as Arc<dyn Source>;
        Branches::new(&self.setting.snapshot, kind, None).with_offers(Offers::from_source(source))
    }

    async fn bound(&self, sql: &str, branches: &Arc<Branches>) -> std::result::Result<Bound, Diagnosis> {
        let planned = plan::plan_aside(&self.engine, &self.setting, parse_query(sql)?, &[]).await?;
        plan::bind_aside(&self.engine, &self.setting, &planned, &[], branches).await
    }

    /// The rows as texts, sorted.
    async fn answer(&self, sql: &str) -> Vec<String> {
        let branches = Arc::new(self.branches(BranchKind::Statement));
        let bound = self.bound(sql, &branches).await.unwrap();
        rows_of(bound.run().unwrap()).await.unwrap()
    }

    fn counts(&self) -> (usize, usize) {
        (self.held.asked.load(Ordering::Relaxed), self.held.fell_through.load(Ordering::Relaxed))
    }
}

/// The one node of a plan that reads something.
fn leaf(plan: &Arc<dyn ExecutionPlan>) -> &Arc<dyn ExecutionPlan> {
    plan.children().first().copied().map_or(plan, leaf)
}

async fn rows_of(stream: SendableRecordBatchStream) -> std::result::Result<Vec<String>, Diagnosis> {
    let batches: Vec<RecordBatch> = stream.try_collect().await.map_err(|error| diagnose(&error))?;
    let mut rows = Vec::new();
    for batch in &batches {
        for row in 0..batch.num_rows() {
            let cells = batch.columns().iter().map(|column| ScalarValue::try_from_array(column, row).unwrap().to_string());
            rows.push(cells.collect::<Vec<_>>().join("|"));
        }
    }
    rows.sort();
    Ok(rows)
}

#[tokio::test]
async fn conditions_that_a_store_would_have_met_are_checked_over_its_copy() {
    let room = Room::new(On::Copy);
    let rows: [(&str, &[&str]); 8] = [
        // By key, with a second condition, with values that occur twice and that are not there.
        ("SELECT id, name FROM shop.t WHERE id = 7", &["7|n7"]),
        ("SELECT name FROM shop.t WHERE id = 7 AND qty = 6", &[]),
        ("SELECT name FROM shop.t WHERE id IN (7, 499, 7, 1000)", &["n499", "n7"]),
        ("SELECT name FROM shop.t WHERE id > 3 AND id < 7 AND qty <> 5", &["n4", "n6"]),
        // By columns that are not asked for.
        ("SELECT id FROM shop.t WHERE name = 'n33'", &["33"]),
        ("SELECT count(*) FROM shop.t WHERE qty = 3", &["50"]),
        ("SELECT count(*) FROM shop.t", &["500"]),
        ("SELECT id FROM shop.t WHERE name LIKE 'n49_' AND id < 492", &["490", "491"]),
    ];
    for (sql, expected) in rows {
        assert_eq!(room.answer(sql).await, expected, "{sql}");
    }
    assert_eq!(room.counts().1, 0);
}

#[tokio::test]
async fn a_limit_counts_rows_that_meet_the_condition() {
    let room = Room::new(On::Copy);
    for (limit, expected) in [(1, 1), (49, 49), (60, 50)] {
        let found = room.answer(&format!("SELECT qty FROM shop.t WHERE qty = 9 LIMIT {limit}")).await;
        assert_eq!(found, vec!["9"; expected], "{limit}");
    }
    assert_eq!(room.answer("SELECT id FROM shop.t WHERE qty = 9 ORDER BY id DESC LIMIT 1").await, ["499"]);
}

#[tokio::test]
async fn joins_find_their_partners_in_one_state_of_the_copies() {
    let room = Room::new(On::Copy);
    let sql = "SELECT a.id, b.name FROM shop.t a JOIN shop.t b ON a.above = b.id WHERE a.id IN (10, 11, 999)";
    assert_eq!(room.answer(sql).await, ["10|n5", "11|n5"]);
    assert_eq!(room.counts(), (1, 0));
    assert_eq!(room.used.load(Ordering::Relaxed), 1, "two parts of one statement are one read of the table");
    let sql = "SELECT count(*) FROM shop.t a JOIN shop.t b ON a.above = b.id";
    // The ids 2 to 500 have a half that is an id.
    assert_eq!(room.answer(sql).await, ["499"]);
    let sql = "SELECT id FROM shop.t a WHERE id = 4 AND qty = (SELECT max(qty) FROM shop.t b WHERE b.above = a.above)";
    assert_eq!(room.answer(sql).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_store_that_is_settled_on_is_planned_and_read_as_ever() {
    let room = Room::new(On::Store);
    let branches = Arc::new(room.branches(BranchKind::Statement));
    let bound = room.bound("SELECT id FROM shop.t", &branches).await.unwrap();
    assert_eq!(leaf(&bound.physical).name(), "ScanExec");
    assert_eq!(rows_of(bound.run().unwrap()).await.unwrap(), ["100"]);
    assert_eq!(branches.read_directly(), [StoreName::new("shop")]);
    assert_eq!(room.counts(), (1, 1));
}

#[tokio::test]
async fn a_plan_for_a_copy_reads_the_store_where_the_copy_does_not_serve() {
    let room = Room::new(On::Store);
    let branches = Arc::new(room.branches(BranchKind::Statement));
    let planned = plan::plan_aside(&room.engine, &room.setting, parse_query("SELECT id FROM shop.t").unwrap(), &[]).await.unwrap();
    // Nothing is settled before this plan is made.
    let bound = plan::bind(&room.engine, &room.setting, &planned, &[], &branches).await.unwrap();
    let copy = (leaf(&bound.physical).as_ref() as &dyn std::any::Any).downcast_ref::<CopyExec>().unwrap();
    assert_eq!(copy.served(), None);
    assert_eq!(rows_of(bound.run().unwrap()).await.unwrap(), ["100"]);
    assert_eq!(copy.served(), Some(Served::Store("the test says so")));
    assert_eq!((room.counts(), branches.read_directly().len()), ((1, 1), 1));
}

#[tokio::test]
async fn a_statement_fails_where_no_copy_is_fresh_enough_and_no_store_is_wanted() {
    let room = Room::new(On::Nothing);
    let branches = Arc::new(room.branches(BranchKind::Statement));
    let bound = room.bound("SELECT id FROM shop.t", &branches).await.unwrap();
    let refused = rows_of(bound.run().unwrap()).await.unwrap_err();
    assert_eq!((refused.sqlstate.as_str(), refused.message.as_str()), (sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE, "too old"));
    assert!(branches.read_directly().is_empty());
}

#[test]
fn copies_are_read_by_single_statements_that_change_and_lock_nothing() {
    let room = Room::new(On::Copy);
    let (shop, table) = (StoreName::new("shop"), table());
    let is_copied = |branches: &Branches| branches.is_copied(&shop, &table);
    assert!(is_copied(&room.branches(BranchKind::Statement)));
    assert!(is_copied(&room.branches(BranchKind::Statement).again()));
    for kind in
        [BranchKind::Transaction { read_only: true, repeatable: true }, BranchKind::Serializable(crate::stores::Serial::Read)]
    {
        assert!(!is_copied(&room.branches(kind)), "{kind:?}");
    }
    let locking = TableId { namespace: "public".to_owned(), name: "other".to_owned() };
    assert!(!is_copied(&room.branches(BranchKind::Statement).locking(shop.clone(), locking)));
    let writing = room.branches(BranchKind::Statement);
    writing.read_stores_only();
    assert!(!is_copied(&writing) && !is_copied(&writing.again()));
    // A table of which there is no copy.
    let other = Table::plain("public", "u", table.columns.clone());
    assert!(!room.branches(BranchKind::Statement).is_copied(&shop, &other));
}

#[tokio::test]
async fn what_was_answered_of_a_table_holds_to_the_end_of_the_statement() {
    let room = Room::new(On::Store);
    let (shop, table) = (StoreName::new("shop"), table());
    let branches = room.branches(BranchKind::Statement);
    assert!(branches.is_copied(&shop, &table));
    assert!(matches!(branches.copies_of(&shop).await, Settled::Store(_)));
    assert!(branches.is_copied(&shop, &table));
    let next = branches.again();
    next.copies_of(&shop).await;
    assert!(!next.is_copied(&shop, &table));
    next.reads_directly(&shop);
    assert_eq!(branches.read_directly(), [shop]);
}

#[tokio::test]
async fn what_is_read_from_a_copy_is_noted_for_its_block() {
    let (shop, id) = (StoreName::new("shop"), table().id);
    for (on, expected) in [(On::Copy, 1), (On::Store, 0)] {
        let (room, read) = (Room::new(on), Arc::new(CopiesRead::default()));
        for _ in 0..2 {
            let branches = Arc::new(room.branches(BranchKind::Statement).noting(Arc::clone(&read)));
            let bound = room.bound("SELECT name FROM shop.t WHERE id = 7", &branches).await.unwrap();
            rows_of(bound.run().unwrap()).await.unwrap();
        }
        assert_eq!(read.of(&shop, &id).len(), expected);
    }
}

#[test]
fn text_that_compares_by_rules_of_its_store_is_read_there() {
    let mut native = table();
    assert_eq!(refusal(&native), None);
    native.columns[1].collation = Collation::Native { name: "de".to_owned(), is_loose: false };
    assert!(refusal(&native).is_some_and(|reason| reason.contains("\"name\"")));
    let view = Table { kind: TableKind::View, ..table() };
    assert!(refusal(&view).is_some());
    let room = Room::over(native.clone(), On::Copy);
    assert!(!room.branches(BranchKind::Statement).is_copied(&StoreName::new("shop"), &native));
}

#[tokio::test]
async fn a_copy_with_other_columns_than_the_plan_is_not_read() {
    let room = Room::new(On::Copy);
    let branches = room.branches(BranchKind::Statement);
    let mut changed = table();
    changed.columns.swap(2, 3);
    let changed = Table { schema: Table::arrow_schema(&changed.columns), ..changed };
    branches.copies_of(&StoreName::new("shop")).await;
    assert!(!branches.is_copied(&StoreName::new("shop"), &changed));
}

#[tokio::test]
async fn lookups_without_a_plan_are_answered_from_the_copy() {
    let room = Room::new(On::Copy);
    let rows: [(&str, &[&str]); 6] = [
        ("SELECT name, id FROM shop.t WHERE id = 8", &["n8|8"]),
        ("SELECT name FROM shop.t WHERE id = 8 AND qty = 1", &[]),
        ("SELECT qty FROM shop.t WHERE name = 'n12' AND above IS NOT NULL", &["2"]),
        ("SELECT id FROM shop.t WHERE id IN (5, 5, -3) AND name <= 'n5'", &["5"]),
        ("SELECT id FROM shop.t WHERE id BETWEEN 40 AND 44 AND qty >= 3 LIMIT 5", &["43", "44"]),
        ("SELECT id FROM shop.t WHERE id = 8 AND above IS NULL", &[]),
    ];
    for (sql, expected) in rows {
        let query = parse_query(sql).unwrap();
        let lookup = Lookup::resolve(&query, &room.setting.snapshot, &room.setting.path, &[]).expect(sql);
        let branches = Arc::new(room.branches(BranchKind::Statement));
        assert!(lookup.is_copied(&branches));
        let ready = lookup.bind(&room.setting.snapshot, &[]).expect(sql);
        assert_eq!(rows_of(ready.run(&room.engine, &branches).unwrap()).await.unwrap(), expected, "{sql}");
        let ready = lookup.bind(&room.setting.snapshot, &[]).expect(sql);
        let explained = ready.explained(&room.engine, &room.setting, &branches).unwrap();
        assert_eq!(rows_of(explained.run().unwrap()).await.unwrap(), expected, "{sql}");
        assert!(branches.read_directly().is_empty());
    }
    let room = Room::new(On::Store);
    let query = parse_query("SELECT name FROM shop.t WHERE id = 8").unwrap();
    let lookup = Lookup::resolve(&query, &room.setting.snapshot, &room.setting.path, &[]).unwrap();
    let branches = Arc::new(room.branches(BranchKind::Statement));
    let ready = lookup.bind(&room.setting.snapshot, &[]).unwrap();
    assert_eq!(rows_of(ready.run(&room.engine, &branches).unwrap()).await.unwrap(), ["store"]);
    assert_eq!((room.counts(), branches.read_directly().len()), ((1, 1), 1));
}

#[tokio::test]
async fn explain_says_what_may_be_and_what_was_read_from_a_copy() {
    let room = Room::new(On::Copy);
    let branches = Arc::new(room.branches(BranchKind::Statement));
    let bound = room.bound("SELECT id FROM shop.t WHERE qty = 3", &branches).await.unwrap();
    let offered = explain::lines(&bound, &branches, false).await.unwrap().join("\n");
    for part in ["CopyExec: shop.t, condition=", "Copy: offered (shop.t)"] {
        assert!(offered.contains(part), "{offered}");
    }
    rows_of(bound.run().unwrap()).await.unwrap();
    let served = explain::lines(&bound, &branches, true).await.unwrap().join("\n");
    for part in ["CopyExec: shop.t, from copy", "Source: copy, at most 7 ms old (shop.t)", "output_rows=50"] {
        assert!(served.contains(part), "{served}");
    }
    assert!(!served.contains("Asked of"), "{served}");
    assert!(explain::pulled(&bound.physical).is_empty());
    let json = explain::json(&bound, &branches, true).await.unwrap();
    assert!(json.contains("\"Source\": \"copy\""), "{json}");
}

#[tokio::test]
async fn explain_says_why_a_table_is_read_in_its_store_though_it_has_a_copy() {
    let room = Room::new(On::Store);
    let branches = Arc::new(room.branches(BranchKind::Statement));
    let bound = room.bound("SELECT id FROM shop.t WHERE qty = 3", &branches).await.unwrap();
    rows_of(bound.run().unwrap()).await.unwrap();
    let told = explain::lines(&bound, &branches, true).await.unwrap();
    let sources: Vec<&String> = told.iter().filter(|line| line.starts_with("Source: ")).collect();
    assert_eq!(sources, ["Source: store, the test says so (shop.t)"], "{told:?}");
}

#[tokio::test]
async fn explain_decides_nothing_of_what_it_does_not_run() {
    let sql = "SELECT a.id FROM shop.t a JOIN shop.t b ON a.above = b.id";
    for on in [On::Copy, On::Store, On::Nothing] {
        let room = Room::new(on);
        let branches = Arc::new(room.branches(BranchKind::Statement).only_planned());
        let bound = room.bound(sql, &branches).await.unwrap();
        let said = explain::lines(&bound, &branches, false).await.unwrap().join("\n");
        assert_eq!(said.matches("Copy: offered (shop.t)").count(), 2, "{said}");
        assert_eq!((room.counts(), room.used.load(Ordering::Relaxed)), ((0, 0), 0), "{said}");
    }
}

#[tokio::test]
async fn a_table_falls_through_once_for_a_statement() {
    let room = Room::new(On::Store);
    let branches = room.branches(BranchKind::Statement);
    let (shop, id) = (StoreName::new("shop"), table().id);
    branches.fell_through(&shop, &id);
    branches.fell_through(&shop, &id);
    branches.again().fell_through(&shop, &id);
    assert_eq!(room.counts(), (0, 1));
    branches.sharing().fell_through(&shop, &id);
    assert_eq!(room.counts(), (0, 2), "that is another statement");
}

#[test]
fn keys_are_those_that_conditions_leave() {
    let column = ColumnRef::of;
    let equal = |ordinal: usize, value: Value| Predicate::Compare { column: column(ordinal), op: Comparison::Equal, value };
    let list = |ordinal: usize, values: &[i64]| Predicate::In {
        column: column(ordinal),
        values: values.iter().map(|value| Value::Int(*value)).collect(),
        negated: false,
    };
    let table = table();
    let count = |conditions: &[Predicate], key: &[usize], most: usize| {
        Keys::of(conditions, &table, key, most).map(|keys| keys.batch(&table, key, 0, usize::MAX).unwrap().num_rows())
    };
    assert_eq!(count(&[], &[0], 10), None);
    assert_eq!(count(&[equal(2, Value::Int(1))], &[0], 10), None);
    assert_eq!(count(&[equal(0, Value::Int(1))], &[0], 10), Some(1));
    assert_eq!(count(&[list(0, &[1, 2, 2, 3])], &[0], 10), Some(3));
    assert_eq!(count(&[list(0, &[1, 2, 3, 4])], &[0], 3), None);
    // What the column cannot hold is in no row.
    assert_eq!(count(&[list(0, &[1, 1 << 40])], &[0], 10), Some(1));
    assert_eq!(count(&[equal(0, Value::Int(1 << 40))], &[0], 10), Some(0));
    // The shortest of several lists, and those within a conjunction.
    assert_eq!(count(&[list(0, &[1, 2, 3]), Predicate::And(vec![list(0, &[2])])], &[0], 10), Some(1));
    assert_eq!(count(&[Predicate::Or(vec![list(0, &[1]), list(2, &[2])])], &[0], 10), None);
    // Keys of several columns.
    let both = [list(0, &[1, 2]), list(2, &[3, 4, 5])];
    assert_eq!(count(&both, &[0, 2], 10), Some(6));
    assert_eq!(count(&both, &[2, 0], 5), None);
    let rows =
        vec![vec![Value::Int(1), Value::Int(7)], vec![Value::Int(2), Value::Int(1 << 20)], vec![Value::Int(1), Value::Int(7)]];
    let rows = Predicate::Rows(Rows { columns: vec![column(0), column(2)], rows });
    assert_eq!(count(std::slice::from_ref(&rows), &[2, 0], 10), Some(1));
    assert_eq!(count(&[rows], &[2, 1], 10), None);
    // Only what equals by its bytes.
    assert_eq!(count(&[equal(1, Value::Text("a".to_owned()))], &[1], 10), Some(1));
    let mut padded = table.clone();
    padded.columns[1].field = Field::new("name", DataType::Utf8, true).with_pg_type(PgType::with_typmod(1042, 8));
    assert_eq!(Keys::of(&[equal(1, Value::Text("a".to_owned()))], &padded, &[1], 10), None);
}
