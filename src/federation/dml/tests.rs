//! Which edits statements become, over a store that tells of a table and takes what the test says.

mod parts;
mod rules;
mod seen;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int16Array, Int32Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field};
use async_trait::async_trait;
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast::{Ident, ObjectName, SetExpr, Statement};
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::Tokenizer;
use futures::{StreamExt, TryStreamExt};

use super::*;
use crate::catalog::object::Objects;
use crate::catalog::{Relation, RelationBody, Schema, Snapshot};
use crate::federation::ast::postgres::Postgres;
use crate::federation::ast::tokens::settle;
use crate::federation::branches::BranchKind;
use crate::federation::engine::Limits;
use crate::federation::error::diagnose;
use crate::format::copy::{Header, Layout, Marks, RawRows, Reader, Wanted};
use crate::pgtype::PgField;
use crate::stores::connector::{Capabilities, ScanLimits};
use crate::stores::fragment::Relation as Remote;
use crate::stores::position::{Coverage, Position};
use crate::stores::schema::{Collation, Column, ColumnStatistics, Generated, Key, StoreSchema};
use crate::stores::{
    BatchStream, Branch, Connector, Predicate, Purpose, Pushdown, Refusal, Scan, StoreError, StoreName, Table, Tables,
};

/// A store with three rows, which takes edits of two.
#[derive(Debug)]
struct Shop {
    name: StoreName,
    /// Whether it finds rows by itself.
    finds: bool,
}

#[async_trait]
impl Connector for Shop {
    fn name(&self) -> &StoreName {
        &self.name
    }

    fn kind(&self) -> &'static str {
        "shop"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { statement_snapshot: true, prepare: false, like: true, documents: false, cancel: false, keys_max: 10_000 }
    }

    async fn discover(&self) -> Result<StoreSchema, StoreError> {
        Ok(StoreSchema::default())
    }

    async fn ping(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn pushdown(&self, _table: &Table, _predicate: &Predicate) -> Pushdown {
        Pushdown::Refused("the engine does it")
    }

    fn describe_scan(&self, table: &Table, _scan: &Scan) -> String {
        table.id.name.clone()
    }

    fn accepts(&self, _relation: &Remote, _tables: &Tables) -> Result<(), Refusal> {
        Ok(())
    }

    fn accepts_edit(&self, edit: &Edit) -> Result<(), Refusal> {
        if self.finds || edit.rows().is_some() { Ok(()) } else { Err(Refusal::new(edit.verb(), "the test refuses it")) }
    }

    fn rows_of_edit(&self) -> usize {
        2
    }

    async fn open(&self, _purpose: Purpose) -> Result<Arc<dyn Branch>, StoreError> {
        Ok(Arc::new(Stock))
    }

    fn covers(&self, _applied: &Position, _wanted: &Position) -> Coverage {
        Coverage::Incomparable
    }

    async fn close(&self) {}
}

/// The rows, for those who are going to change them.
#[derive(Debug)]
struct Stock;

#[async_trait]
impl Branch for Stock {
    async fn scan(&self, _table: &Arc<Table>, scan: &Scan, _limits: ScanLimits) -> Result<BatchStream, StoreError> {
        Err(StoreError::Unsupported { store: scan.store.to_string(), feature: "reading rows that others may change" })
    }

    async fn scan_for_update(&self, _table: &Arc<Table>, scan: &Scan, _limits: ScanLimits) -> Result<BatchStream, StoreError> {
        let batch = stock().project(&scan.columns).unwrap();
        Ok(futures::stream::iter([Ok(batch)]).boxed())
    }

    fn shared_snapshot(&self) -> Result<(), &'static str> {
        Ok(())
    }

    async fn commit(&self) -> Result<Option<Position>, StoreError> {
        Ok(None)
    }

    async fn rollback(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

fn stock() -> RecordBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int32Array::from(vec![1, 2, 3])),
        Arc::new(StringArray::from(vec![Some("a"), Some("b"), None])),
        Arc::new(Int16Array::from(vec![Some(10), Some(20), None])),
        Arc::new(Int32Array::from(vec![100, 200, 300])),
    ];
    RecordBatch::try_new(Arc::clone(&table(true).schema), columns).unwrap()
}

/// `t(id integer PRIMARY KEY, name varchar(3), qty smallint, code integer GENERATED ALWAYS …)`
fn table(has_key: bool) -> Table {
    let column = |name: &str, data_type: DataType, pg_type: PgType, generated: Generated| Column {
        field: Field::new(name, data_type, name != "id").with_pg_type(pg_type),
        native_type: String::new(),
        default: None,
        generated,
        comment: None,
        collation: Collation::Bytes,
        statistics: ColumnStatistics::default(),
    };
    let columns = vec![
        column("id", DataType::Int32, PgType::INT4, Generated::No),
        column("name", DataType::Utf8, PgType::with_typmod(1043, 7), Generated::No),
        column("qty", DataType::Int16, PgType::INT2, Generated::No),
        column("code", DataType::Int32, PgType::INT4, Generated::Always),
    ];
    let key = Key { name: "t_pkey".to_owned(), columns: vec![0], proven: true };
    Table { primary_key: has_key.then_some(key), ..Table::plain("public", "t", columns) }
}

struct Room {
    engine: Engine,
    setting: Setting,
}

impl Room {
    /// A room whose store finds rows by itself or not, and whose table has a key or not.
    fn new(finds: bool, has_key: bool) -> Self {
        Self::over(finds, table(has_key))
    }

    fn over(finds: bool, table: Table) -> Self {
        let store = StoreName::new("shop");
        let connector: Arc<dyn Connector> = Arc::new(Shop { name: store.clone(), finds });
        let body = RelationBody::Stored { store: store.clone(), table: Arc::new(table) };
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
        Self { engine: Engine::new(&Limits::default()).unwrap(), setting: Setting::of_server(Arc::new(snapshot)) }
    }

    async fn planned(&self, sql: &str) -> Result<PlannedWrite, Diagnosis> {
        let mut tokens = Tokenizer::new(&Postgres, sql).tokenize_with_location().unwrap();
        settle(&mut tokens, sql)?;
        let statement = Parser::new(&Postgres).with_tokens_with_locations(tokens).parse_statement().unwrap();
        let write = match statement {
            Statement::Query(query) => {
                let query = *query;
                match *query.body {
                    SetExpr::Insert(statement)
                    | SetExpr::Update(statement)
                    | SetExpr::Delete(statement)
                    | SetExpr::Merge(statement) => Write::of(statement, query.with),
                    other => panic!("{other}"),
                }
            }
            statement => Write::of(statement, None),
        };
        plan_aside(&self.engine, &self.setting, &write.unwrap(), &[]).await
    }

    async fn work(&self, sql: &str, values: &[ScalarValue]) -> Result<Work, Diagnosis> {
        let planned = self.planned(sql).await?;
        let branches = Branches::new(&self.setting.snapshot, BranchKind::Statement, None);
        let table = planned.target.table.id.clone();
        let branches = if planned.locks() { branches.locking(planned.target.store.clone(), table) } else { branches };
        planned.bind(&self.engine, &self.setting, values, &Arc::new(branches)).await
    }

    /// The edits in words, or the SQLSTATE.
    async fn edits(&self, sql: &str, values: &[ScalarValue]) -> Result<Vec<String>, String> {
        let work = self.work(sql, values).await.map_err(|error| error.sqlstate)?;
        let edits = match work {
            Work::Nothing => Vec::new(),
            Work::Edit(edit) => vec![*edit],
            Work::Rows(rows) => {
                let edits = rows.edits(&self.engine).map_err(|error| error.sqlstate)?;
                edits.try_collect().await.map_err(|error: Diagnosis| error.sqlstate)?
            }
        };
        Ok(edits.iter().map(in_words).collect())
    }
}

/// `INSERT id,name: 1|a; 2|b`, and for what the store finds `DELETE where` or `DELETE all`.
fn in_words(edit: &Edit) -> String {
    let Some(batch) = edit.rows() else {
        let (Edit::Update(crate::stores::edit::Update { relation, .. })
        | Edit::Delete(crate::stores::edit::Delete { relation, .. })) = edit
        else {
            panic!("{edit:?}")
        };
        let mut is_narrowed = false;
        relation.visit(&mut |node| is_narrowed |= matches!(node, Remote::Filter { .. }));
        return format!("{} {}", edit.verb(), if is_narrowed { "where" } else { "all" });
    };
    let names: Vec<&str> = batch.schema_ref().fields().iter().map(|field| field.name().as_str()).collect();
    format!("{} {}: {}", edit.verb(), names.join(","), in_rows(std::slice::from_ref(batch)).join("; "))
}

fn in_rows(batches: &[RecordBatch]) -> Vec<String> {
    let rows = batches.iter().flat_map(|batch| (0..batch.num_rows()).map(move |row| (batch, row)));
    rows.map(|(batch, row)| {
        let fields = batch.columns().iter().map(|column| ScalarValue::try_from_array(column, row).unwrap().to_string());
        fields.collect::<Vec<_>>().join("|")
    })
    .collect()
}

async fn check(room: &Room, sql: &str, expected: &[&str]) {
    let expected: Vec<String> = expected.iter().map(|text| (*text).to_owned()).collect();
    assert_eq!(room.edits(sql, &[]).await, Ok(expected), "{sql}");
}

#[tokio::test]
async fn cells_are_read_in_the_types_of_their_columns() {
    let room = Room::new(true, true);
    let rows: &[(&str, &[&str])] = &[
        ("INSERT INTO t (id, name) VALUES (1, 'ab')", &["INSERT id,name: 1|ab"]),
        ("INSERT INTO shop.t AS x VALUES ('1', 2, 2.5)", &["INSERT id,name,qty: 1|2|3"]),
        ("INSERT INTO t (qty, id) VALUES (NULL, -1)", &["INSERT qty,id: NULL|-1"]),
        ("INSERT INTO t DEFAULT VALUES", &["INSERT : "]),
        ("INSERT INTO t VALUES (DEFAULT, DEFAULT)", &["INSERT : "]),
        (
            "INSERT INTO t VALUES (1, 'a', 1 + 1), (2, 'b', '7'), (3, 'c', 3), (4, DEFAULT, 4)",
            &["INSERT id,name,qty: 1|a|2; 2|b|7", "INSERT id,name,qty: 3|c|3", "INSERT id,qty: 4|4"],
        ),
        ("INSERT INTO t VALUES (generate_series(1, 2), 'a')", &["INSERT id,name: 1|a; 2|a"]),
        ("INSERT INTO t SELECT g, 'x', NULL FROM generate_series(1, 2) g", &["INSERT id,name,qty: 1|x|NULL; 2|x|NULL"]),
        ("WITH s AS (SELECT 7 AS i) INSERT INTO t (id) SELECT i FROM s", &["INSERT id: 7"]),
        ("INSERT INTO t (id) SELECT 1 WHERE false", &[]),
        ("INSERT INTO t (id, name) OVERRIDING SYSTEM VALUE VALUES (1, 'a')", &["INSERT id,name: 1|a"]),
        ("INSERT INTO t OVERRIDING USER VALUE SELECT 1, 'a'", &["INSERT id,name: 1|a"]),
        ("UPDATE ONLY (shop.t) AS x SET qty = 1 WHERE x.id = 1", &["UPDATE where"]),
        ("DELETE FROM ONLY t", &["DELETE all"]),
    ];
    for (sql, expected) in rows {
        check(&room, sql, expected).await;
    }
}

#[tokio::test]
async fn rows_that_meet_others_update_them_and_the_rest_is_inserted() {
    let room = Room::new(true, true);
    let into = "INSERT INTO t (id, qty) VALUES (1, 5), (7, 8) ON CONFLICT (id) DO UPDATE SET";
    let rows: &[(&str, &[&str])] = &[
        ("qty = t.qty + excluded.qty", &["UPDATE id,qty: 1|15", "INSERT id,qty: 7|8"]),
        ("name = 'z', qty = -t.qty", &["UPDATE id,name,qty: 1|z|-10", "INSERT id,qty: 7|8"]),
        ("qty = excluded.qty WHERE t.qty > 10", &["INSERT id,qty: 7|8"]),
        ("name = coalesce(excluded.name, t.name || '!')", &["UPDATE id,name: 1|a!", "INSERT id,qty: 7|8"]),
    ];
    for (set, expected) in rows {
        check(&room, &format!("{into} {set}"), expected).await;
    }
    check(&room, "INSERT INTO t (id) SELECT 2 ON CONFLICT (id) DO UPDATE SET qty = t.qty * 2", &["UPDATE id,qty: 2|40"]).await;
    let into = "INSERT INTO t (id, qty) VALUES (2, 5), (7, 8), (1, 6) ON CONFLICT (id) DO UPDATE SET";
    // What gets another key may meet the rows behind it.
    let in_turn = ["UPDATE id,id: 2|12", "INSERT id,qty: 7|8", "UPDATE id,id: 1|11"];
    check(&room, &format!("{into} id = t.id + 10"), &in_turn).await;
    let same = room.edits(&format!("{into} id = excluded.id, qty = t.qty + 1"), &[]).await.unwrap();
    assert_eq!((same.len(), same[1].as_str()), (2, "INSERT id,qty: 7|8"));
}

#[tokio::test]
async fn rows_of_a_merge_get_the_first_clause_that_holds() {
    let room = Room::new(true, true);
    let start = "MERGE INTO t USING (VALUES (1, 5), (2, 6), (7, 8)) AS s (i, q) ON t.id = s.i";
    let rows: &[(&str, &[&str])] = &[
        (
            "WHEN MATCHED AND t.qty > 10 THEN DELETE WHEN MATCHED THEN UPDATE SET qty = t.qty + s.q, name = 'm' \
             WHEN NOT MATCHED THEN INSERT (id, qty) VALUES (i, q)",
            &["DELETE id: 2", "UPDATE id,qty,name: 1|15|m", "INSERT id,qty: 7|8"],
        ),
        (
            "WHEN NOT MATCHED AND q > 8 THEN INSERT (id) VALUES (i) WHEN NOT MATCHED THEN INSERT (id, name) VALUES (i, DEFAULT)",
            &["INSERT id: 7"],
        ),
        ("WHEN MATCHED AND i = 1 THEN UPDATE SET qty = 10 / (q - 5) WHEN MATCHED AND i = 3 THEN DELETE", &[]),
        ("WHEN MATCHED AND i = 2 THEN UPDATE SET qty = 10 / (q - 5)", &["UPDATE id,qty: 2|10"]),
    ];
    for (clauses, expected) in rows {
        let sql = format!("{start} {clauses}");
        match expected {
            [] => assert_eq!(room.edits(&sql, &[]).await, Err("22012".to_owned()), "{sql}"),
            expected => check(&room, &sql, expected).await,
        }
    }
    let refused = [
        ("MERGE INTO t USING (VALUES (1), (1)) AS s (i) ON t.id = s.i WHEN MATCHED THEN DELETE", "21000"),
        ("MERGE INTO t USING t AS s ON t.id = s.id WHEN MATCHED THEN DELETE WHEN MATCHED AND s.id > 1 THEN DELETE", "42601"),
        ("MERGE INTO t USING t AS s ON t.id = s.id WHEN NOT MATCHED THEN INSERT (id) VALUES (t.id)", "42P01"),
        ("MERGE INTO t USING t AS s ON t.id = s.id WHEN NOT MATCHED THEN INSERT (id, name) VALUES (s.id)", "42601"),
        ("MERGE INTO t USING t AS s ON t.id = s.id WHEN NOT MATCHED THEN INSERT (id) VALUES (1), (2)", "42601"),
        ("MERGE INTO t USING t AS s ON t.id = s.id WHEN MATCHED THEN UPDATE SET code = 1", "428C9"),
        ("MERGE INTO t USING t AS s ON t.id = s.id WHEN MATCHED THEN DELETE RETURNING id", "42601"),
        ("MERGE INTO t USING t AS s ON t.id = s.id WHEN MATCHED AND random() > 0 THEN DELETE", "0A000"),
        ("MERGE INTO t USING t ON true WHEN MATCHED THEN DELETE", "42712"),
        ("MERGE INTO t AS x USING (SELECT 1 AS i) AS x ON true WHEN MATCHED THEN DELETE", "42712"),
    ];
    for (sql, expected) in refused {
        assert_eq!(room.edits(sql, &[]).await, Err(expected.to_owned()), "{sql}");
    }
}

#[tokio::test]
async fn columns_of_other_tables_come_back_beside_their_rows() {
    let room = Room::new(true, true);
    let sql = "DELETE FROM t USING (VALUES (2, 'two'), (1, 'one')) AS s (i, word) WHERE s.i = t.id RETURNING s.word, t.name, id";
    let planned = room.planned(sql).await.unwrap();
    let (store, table) = (planned.target.store.clone(), planned.target.table.id.clone());
    let branches = Branches::new(&room.setting.snapshot, BranchKind::Statement, None).locking(store, table);
    let branches = Arc::new(branches);
    let work = planned.bind(&room.engine, &room.setting, &[], &branches).await.unwrap();
    let Work::Rows(rows) = work else { panic!("{work:?}") };
    let kept = rows.kept();
    let edits: Vec<Edit> = rows.edits(&room.engine).unwrap().try_collect().await.unwrap();
    let returned = stock().slice(0, 2).project(edits[0].returning()).unwrap();
    let stream = planned.returning(&room.engine, &room.setting, &[], vec![returned], (branches.as_ref(), kept)).await.unwrap();
    let batches: Vec<RecordBatch> = stream.try_collect().await.unwrap();
    assert_eq!(in_rows(&batches), ["one|a|1", "two|b|2"]);
}

#[tokio::test]
async fn what_postgres_refuses_is_refused() {
    let room = Room::new(true, true);
    let rows = [
        ("INSERT INTO t (id, id) VALUES (1, 2)", "42701"),
        ("INSERT INTO t (nope) VALUES (1)", "42703"),
        ("INSERT INTO nope (id) VALUES (1)", "42P01"),
        ("INSERT INTO t (id) VALUES (1, 2)", "42601"),
        ("INSERT INTO t (id, name) VALUES (1)", "42601"),
        ("INSERT INTO t (id, name) SELECT 1", "42601"),
        ("INSERT INTO t VALUES (1), (2, 'a')", "42601"),
        ("INSERT INTO t (id) VALUES (true)", "42804"),
        ("INSERT INTO t (id) VALUES ('x')", "22P02"),
        ("INSERT INTO t (name) VALUES ('abcd')", "22001"),
        ("INSERT INTO t (qty) VALUES (40000)", "22003"),
        ("INSERT INTO t (code) VALUES (1)", "428C9"),
        ("INSERT INTO t (code) OVERRIDING SYSTEM VALUE VALUES (1)", "428C9"),
        ("INSERT INTO t (id) VALUES (1) ON CONFLICT (id) WHERE qty > 1 DO NOTHING", "0A000"),
        ("INSERT INTO t (id) VALUES (1) ON CONFLICT (abs(id)) DO UPDATE SET qty = 1", "0A000"),
        ("INSERT INTO t (id) SELECT 'a' || 'b'", "42804"),
        ("INSERT INTO t (id) VALUES (count(*))", "42803"),
        ("INSERT INTO t (id) VALUES (1), (generate_series(1, 2))", "0A000"),
        ("INSERT INTO t (id) VALUES (1) ON CONFLICT (name) DO NOTHING", "42P10"),
        ("INSERT INTO t (id) VALUES (1) ON CONFLICT DO UPDATE SET name = 'a'", "42601"),
        ("INSERT INTO t (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET qty = qty + 1", "42702"),
        ("INSERT INTO t (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET qty = t.qty + 1 WHERE random() > 0", "0A000"),
        ("INSERT INTO t (id) VALUES (7), (7) ON CONFLICT (id) DO UPDATE SET qty = t.qty + 1", "21000"),
        ("INSERT INTO t (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET name = 'abcd'", "22001"),
        ("INSERT INTO t (id) VALUES (1) ON CONFLICT ON CONSTRAINT nope DO NOTHING", "42704"),
        ("UPDATE t SET nope = 1", "42703"),
        ("UPDATE t SET id = 1, id = 2", "42601"),
        ("UPDATE t SET (id, name) = (1, 2, 3)", "42601"),
        ("UPDATE t SET (id, name) = (SELECT * FROM t AS x WHERE x.id = t.id)", "42601"),
        ("UPDATE t SET (id, name) = (SELECT id, name FROM t ORDER BY id LIMIT 1)", "0A000"),
        ("WITH s AS (SELECT 1 AS a, 2 AS b LIMIT 1) UPDATE t SET (id, qty) = (SELECT a, b FROM s)", "0A000"),
        ("UPDATE t SET (qty) = (5)", "0A000"),
        ("UPDATE t SET qty = 'a' || 'b'", "42804"),
        ("UPDATE t SET qty = 'x' WHERE false", "22P02"),
        ("UPDATE t SET code = 1", "428C9"),
        ("UPDATE t SET code = DEFAULT", "0A000"),
        ("UPDATE t SET qty = row_number() OVER ()", "42P20"),
        ("UPDATE t SET qty = generate_series(1, 2)", "0A000"),
        ("DELETE FROM t WHERE id = 1 RETURNING (SELECT count(*) FROM t)", "0A000"),
        ("DELETE FROM t RETURNING count(*)", "42803"),
        ("DELETE FROM t USING (SELECT 1 AS i) s WHERE s.i = t.id RETURNING s.nope", "42703"),
        ("DELETE FROM t USING (SELECT 1 AS id) s WHERE s.id = t.id RETURNING id", "42702"),
        ("UPDATE t SET qty = 1 FROM (SELECT 1 AS id) s WHERE s.id = t.id RETURNING qty + id", "42702"),
        ("WITH d AS (DELETE FROM t RETURNING id) DELETE FROM t", "0A000"),
    ];
    for (sql, expected) in rows {
        assert_eq!(room.edits(sql, &[]).await, Err(expected.to_owned()), "{sql}");
    }
}

#[tokio::test]
async fn rows_that_a_store_does_not_find_are_named_by_their_key() {
    let room = Room::new(false, true);
    let rows: &[(&str, &[&str])] = &[
        ("UPDATE t SET qty = qty + 1, name = 'z' WHERE id > 1", &["UPDATE id,qty,name: 2|21|z; 3|NULL|z"]),
        ("UPDATE t AS x SET (id, qty) = (x.id + 10, 5) WHERE x.name = 'a'", &["UPDATE id,id,qty: 1|11|5"]),
        ("UPDATE t SET qty = s.i FROM (SELECT 2 AS i) s WHERE s.i = t.id", &["UPDATE id,qty: 2|2"]),
        ("DELETE FROM t WHERE name IS NULL", &["DELETE id: 3"]),
        ("DELETE FROM t WHERE id IN (SELECT max(id) FROM t)", &["DELETE id: 3"]),
        ("DELETE FROM t", &["DELETE id: 1; 2", "DELETE id: 3"]),
        ("DELETE FROM t WHERE false", &[]),
        ("UPDATE t SET qty = 1 WHERE 1 = 0", &[]),
    ];
    for (sql, expected) in rows {
        check(&room, sql, expected).await;
    }
    let twice = "UPDATE t SET qty = v.q FROM (VALUES (1, 5), (1, 6), (9, 7)) v(i, q) WHERE v.i = t.id";
    let edits = room.edits(twice, &[]).await.unwrap();
    assert!(edits.len() == 1 && edits[0].starts_with("UPDATE id,qty: 1|") && !edits[0].contains(';'), "{edits:?}");
    let keyless = Room::new(false, false);
    assert_eq!(keyless.edits("DELETE FROM t WHERE id = 1", &[]).await, Err("0A000".to_owned()));
}

#[tokio::test]
async fn a_store_finds_rows_under_the_conditions_of_the_statement_only() {
    let room = Room::new(true, false);
    let rows: &[(&str, &[&str])] = &[
        ("UPDATE t SET qty = 5 WHERE id = 1", &["UPDATE where"]),
        ("UPDATE t SET name = NULL", &["UPDATE all"]),
        ("DELETE FROM t WHERE id = 1", &["DELETE where"]),
        ("DELETE FROM t", &["DELETE all"]),
        ("DELETE FROM t WHERE id = 1 AND false", &[]),
    ];
    for (sql, expected) in rows {
        check(&room, sql, expected).await;
    }
    for sql in ["DELETE FROM t WHERE true", "DELETE FROM t WHERE id IN (SELECT max(id) FROM t)"] {
        assert_eq!(room.edits(sql, &[]).await, Err("0A000".to_owned()), "without a key: {sql}");
    }
}

#[tokio::test]
async fn parameters_have_the_types_of_the_columns_that_they_are_given_to() {
    let room = Room::new(true, true);
    let varchar = PgType::VARCHAR;
    for (sql, expected) in [
        ("INSERT INTO t (id, name, qty) VALUES ($1, $2, $3)", vec![PgType::INT4, varchar, PgType::INT2]),
        ("INSERT INTO t (id, name) SELECT $1, $2", vec![PgType::INT4, varchar]),
        ("UPDATE t SET qty = $2 WHERE id = $1", vec![PgType::INT4, PgType::INT2]),
        ("DELETE FROM t WHERE name = $1 RETURNING id + $2", vec![varchar, PgType::INT4]),
    ] {
        let found = room.planned(sql).await.unwrap().parameters;
        let oids = |types: &[PgType]| types.iter().map(|pg_type| pg_type.oid).collect::<Vec<_>>();
        // Comparisons read texts as `text`.
        let found: Vec<u32> = oids(&found).into_iter().map(|oid| if oid == 25 { 1043 } else { oid }).collect();
        assert_eq!(found, oids(&expected), "{sql}");
    }
    let values = [ScalarValue::Int32(Some(4)), ScalarValue::from("ab")];
    let edits = room.edits("INSERT INTO t (id, name, qty) VALUES ($1, $2, $1 + 1)", &values).await;
    assert_eq!(edits, Ok(vec!["INSERT id,name,qty: 4|ab|5".to_owned()]));
}

#[tokio::test]
async fn no_row_is_updated_twice_by_one_insert() {
    let room = Room::new(true, true);
    let insert = |rows: &str| format!("INSERT INTO t (id, name) VALUES {rows} ON CONFLICT (id) DO UPDATE SET name = excluded.name");
    let edits = room.edits(&insert("(1, 'a'), (2, 'b'), (3, 'c')"), &[]).await;
    assert_eq!(edits.map(|edits| edits.len()), Ok(2));
    assert_eq!(room.edits(&insert("(1, 'a'), (2, 'b'), (1, 'c')"), &[]).await, Err("21000".to_owned()));
    // Both are in one edit, in which the store sees them.
    assert_eq!(room.edits(&insert("(1, 'a'), (1, 'b')"), &[]).await.map(|edits| edits.len()), Ok(1));
}

#[tokio::test]
async fn what_comes_back_is_a_select_list_over_the_changed_rows() {
    let room = Room::new(true, true);
    let planned = room.planned("UPDATE t SET qty = 1 WHERE id = 1 RETURNING id, upper(name) AS n, *").await.unwrap();
    let names: Vec<String> = planned.columns.as_ref().unwrap().iter().map(|column| column.name.clone()).collect();
    assert_eq!(names, ["id", "n", "id", "name", "qty", "code"]);
    let all = room.planned("UPDATE shop.t SET qty = 1 RETURNING t.*").await.unwrap();
    assert_eq!(all.columns.unwrap().len(), 4);
    let stream = planned
        .returning(&room.engine, &room.setting, &[], vec![stock(), stock().slice(0, 1)], (&Branches::none(), None))
        .await
        .unwrap();
    let batches: Vec<RecordBatch> = stream.try_collect().await.map_err(|error| diagnose(&error)).unwrap();
    let rows = ["1|A|1|a|10|100", "2|B|2|b|20|200", "3|NULL|3|NULL|NULL|300", "1|A|1|a|10|100"];
    assert_eq!(in_rows(&batches), rows);
    let Work::Edit(edit) = room.work("DELETE FROM t WHERE id = 1 RETURNING 1", &[]).await.unwrap() else { panic!("no edit") };
    assert_eq!(edit.returning(), [0], "rows are counted by a column");
}

/// The edits of rows that a client sends, in words, or the SQLSTATE of what they fail with and where that is.
async fn loaded(listed: &[&str], condition: &str, data: &str) -> Result<Vec<String>, String> {
    let room = Room::new(true, true);
    let parsed = |sql: &str| Parser::new(&Postgres).try_with_sql(sql).unwrap().parse_expr().unwrap();
    let filled = Filled {
        table: ObjectName::from(vec![Ident::new("t")]),
        columns: listed.iter().map(|name| Ident::new(*name)).collect(),
        condition: (!condition.is_empty()).then(|| Box::new(parsed(condition))),
    };
    let told = |error: Diagnosis| format!("{} [{}]", error.sqlstate, error.context.unwrap_or_default());
    let planned = plan_copy_aside(&room.engine, &room.setting, &filled).await.map_err(told)?;
    let wanted: Vec<Wanted> = planned.names().into_iter().map(|name| Wanted { name, ..Wanted::default() }).collect();
    let loading = planned.loading(&room.engine, &room.setting, false).map_err(told)?;
    let (mut rows, mut input) = (RawRows::new(wanted.len()), data.as_bytes());
    let marks = Marks { delimiter: b'\t', null: "\\N".to_owned(), header: Header::Absent };
    let read = Reader::new("t", wanted, Layout::Text(marks)).read(&mut input, &mut rows);
    read.map_err(|error| told(loading.first_of(&rows, error)))?;
    let pieces = loading.edits(&rows).await.map_err(told)?;
    Ok(pieces.iter().map(|piece| in_words(&piece.edit)).collect())
}

#[tokio::test]
async fn rows_of_a_client_become_edits() {
    let rows: &[(&[&str], &str, &str, &[&str])] = &[
        (&[], "", "1\tab\t3\n2\t\\N\t\\N\n3\tc\t1\n", &["INSERT id,name,qty: 1|ab|3; 2|NULL|NULL", "INSERT id,name,qty: 3|c|1"]),
        (&["qty", "id"], "", "\\N\t1\n", &["INSERT qty,id: NULL|1"]),
        (&[], "qty > 1", "1\tab\t3\n2\t\\N\t\\N\n3\tc\t1\n", &["INSERT id,name,qty: 1|ab|3"]),
        (&["id", "name"], "t.id IS NOT NULL", "\\N\ta\n5\tb\n", &["INSERT id,name: 5|b"]),
        (&["id"], "qty IS NULL AND true", "1\n2\n", &["INSERT id: 1; 2"]),
        (&["id"], "false", "1\n2\n", &[]),
    ];
    for (listed, condition, data, expected) in rows {
        let expected: Vec<String> = expected.iter().map(|text| (*text).to_owned()).collect();
        assert_eq!(loaded(listed, condition, data).await, Ok(expected), "{data:?} WHERE {condition}");
    }
}

#[tokio::test]
async fn rows_of_a_client_that_do_not_fit_are_named() {
    let rows: &[(&[&str], &str, &str, &str)] = &[
        (&["id"], "", "1\nx\n", "22P02 [COPY t, line 2, column id: \"x\"]"),
        (&["id", "name"], "", "x\n", "22P02 [COPY t, line 1, column id: \"x\"]"),
        (&["id", "name"], "", "1\n", "22P04 [COPY t, line 1: \"1\"]"),
        (&["id"], "", "1\n1\t2\n", "22P04 [COPY t, line 2: \"1\t2\"]"),
        (&["name"], "", "abcd\n", "22001 [COPY t, line 1, column name: \"abcd\"]"),
        (&["qty"], "", "40000\n", "22003 [COPY t, line 1, column qty: \"40000\"]"),
        (&["id"], "1 / (id - 2) < 2", "1\n2\n3\n", "22012 [COPY t, line 2]"),
        (&["code"], "", "", "42P10 []"),
        (&["id", "id"], "", "", "42701 []"),
        (&["nope"], "", "", "42703 []"),
        (&["id"], "nope = 1", "", "42703 []"),
        (&["id"], "id", "", "42804 []"),
        (&["id"], "count(*) > 1", "", "42803 []"),
        (&["id"], "row_number() OVER () = 1", "", "42P20 []"),
        (&["id"], "id IN (SELECT 1)", "", "0A000 []"),
        (&["id"], "code = 1", "", "0A000 []"),
        (&["id"], "id = $1", "", "42P02 []"),
    ];
    for (listed, condition, data, expected) in rows {
        assert_eq!(loaded(listed, condition, data).await, Err((*expected).to_owned()), "{data:?} WHERE {condition}");
    }
}
