//! Which columns of tables a key is traced to, and rows that are computed anew by key, against the whole query after every step.

mod histories;

use std::collections::BTreeSet;

use arrow::datatypes::{Field, Schema};
use datafusion::catalog::SchemaProvider;
use datafusion::common::{Constraint, Constraints};
use datafusion::datasource::MemTable;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::{LogicalPlan, TableScan};
use datafusion::prelude::SessionConfig;

use super::*;
use crate::pgtype::{ENUM_KEY, PgField, PgType};
use crate::stores::StoreName;
use crate::stores::schema::TableId;
use crate::views::engine::{InputId, Kind, program};

/// The tables of these tests with their columns; the key of each is `id`.
fn tables() -> [(&'static str, SchemaRef); 3] {
    let field = |name: &str, data_type: DataType| Field::new(name, data_type, name != "id");
    let padded = field("padded", DataType::Utf8).with_pg_type(PgType::BPCHAR);
    let a = vec![
        field("id", DataType::Int64),
        field("g", DataType::Utf8),
        field("n", DataType::Int64),
        field("f", DataType::Float64),
        padded,
    ];
    let b =
        vec![field("id", DataType::Int64), field("a_id", DataType::Int64), field("v", DataType::Int64), field("s", DataType::Utf8)];
    let labels = [(ENUM_KEY.to_owned(), "[\"x\",\"y\"]".to_owned())].into();
    let c = vec![
        field("id", DataType::Int64),
        field("small", DataType::Int32),
        field("flag", DataType::Boolean),
        field("amount", DataType::Decimal128(12, 2)),
        field("kind", DataType::Utf8).with_metadata(labels),
    ];
    [("a", Arc::new(Schema::new(a))), ("b", Arc::new(Schema::new(b))), ("c", Arc::new(Schema::new(c)))]
}

fn plain() -> SessionState {
    let config = SessionConfig::new().with_target_partitions(1);
    SessionStateBuilder::new().with_config(config).with_default_features().build()
}

fn key_of(table: &str) -> TableKey {
    (StoreName::new("s"), TableId { namespace: "public".to_owned(), name: table.to_owned() })
}

fn table_of(scan: &TableScan) -> Option<TableKey> {
    Some(key_of(scan.table_name.table()))
}

fn input_of(scan: &TableScan) -> Option<InputId> {
    let (store, table) = table_of(scan)?;
    Some(InputId { store, table })
}

fn put(state: &SessionState, name: &str, provider: MemTable) {
    let schema: Arc<dyn SchemaProvider> = state.schema_for_ref("any").unwrap();
    schema.deregister_table(name).unwrap();
    schema.register_table(name.to_owned(), Arc::new(provider)).unwrap();
}

async fn optimized(state: &SessionState, sql: &str) -> LogicalPlan {
    let plan = state.create_logical_plan(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    state.optimize(&plan).unwrap()
}

fn traced(state: &SessionState, plan: &LogicalPlan) -> Result<Lineages, &'static str> {
    let is_settled = |part: &LogicalPlan| matches!(program(part, state, &input_of), Kind::Incremental(_));
    Lineages::of(plan, plan.schema().as_arrow(), &table_of, &is_settled)
}

/// The names of the columns by which a query is computed, each with the columns of tables that it is traced to.
async fn lineages(sql: &str, has_keys: bool) -> Vec<(String, BTreeSet<String>)> {
    let state = plain();
    for (name, schema) in tables() {
        let table = MemTable::try_new(schema, vec![Vec::new()]).unwrap();
        let key = if has_keys { vec![Constraint::PrimaryKey(vec![0])] } else { Vec::new() };
        put(&state, name, table.with_constraints(Constraints::new_unverified(key)));
    }
    let plan = optimized(&state, sql).await;
    let Ok(lineages) = traced(&state, &plan) else { return Vec::new() };
    let named = |(table, ordinals): (&TableKey, &BTreeSet<usize>)| {
        let (name, schema) = tables().into_iter().find(|(name, _)| *name == table.1.name).unwrap();
        ordinals.iter().map(|ordinal| format!("{name}.{}", schema.field(*ordinal).name())).collect::<Vec<_>>()
    };
    let of_one = |lineage: &Lineage| {
        (plan.schema().field(lineage.column).name().clone(), lineage.tables.iter().flat_map(named).collect::<BTreeSet<String>>())
    };
    let all: Vec<_> = lineages.all().iter().map(of_one).collect();
    assert_eq!(lineages.first().map(of_one).as_ref(), all.first());
    all
}

/// The first of them.
async fn lineage(sql: &str) -> Option<(String, BTreeSet<String>)> {
    lineages(sql, false).await.into_iter().next()
}

async fn by(sql: &str, column: &str, columns: &[&str]) {
    let columns: BTreeSet<String> = columns.iter().map(|column| (*column).to_owned()).collect();
    let expected = (column.to_owned(), columns);
    assert_eq!(lineage(sql).await, Some(expected), "{sql}");
}

async fn whole(sql: &str) {
    assert_eq!(lineage(sql).await, None, "{sql}");
}

#[tokio::test]
async fn windows_are_traced_by_what_divides_all_of_them() {
    by("SELECT g, row_number() OVER (PARTITION BY g ORDER BY n) AS r FROM a", "g", &["a.g"]).await;
    by(
        "SELECT n, g, row_number() OVER (PARTITION BY g, n ORDER BY id) AS r, sum(n) OVER (PARTITION BY g) AS s FROM a",
        "g",
        &["a.g"],
    )
    .await;
    whole("SELECT g, row_number() OVER (PARTITION BY g ORDER BY n) AS r, rank() OVER (ORDER BY n) AS s FROM a").await;
    whole("SELECT id, g, sum(n) OVER (ORDER BY n) AS s FROM a").await;
    whole("SELECT n + 1 AS m, row_number() OVER (PARTITION BY n + 1 ORDER BY id) AS r FROM a").await;
    // What a window gives has no key below.
    whole("SELECT row_number() OVER (PARTITION BY g ORDER BY n) AS r FROM a").await;
}

#[tokio::test]
async fn conditions_names_and_orders_keep_the_key() {
    let sql =
        "SELECT x.k FROM (SELECT g AS k, row_number() OVER (PARTITION BY g ORDER BY n) AS r FROM a WHERE n > 1) x WHERE x.r = 1";
    by(sql, "k", &["a.g"]).await;
    by("SELECT g, row_number() OVER (PARTITION BY g ORDER BY n) AS r FROM a ORDER BY r, g", "g", &["a.g"]).await;
    whole("SELECT g, row_number() OVER (PARTITION BY g ORDER BY n) AS r FROM a ORDER BY r, g LIMIT 3").await;
    whole("SELECT g, row_number() OVER (PARTITION BY g ORDER BY n) AS r FROM (SELECT g, n FROM a ORDER BY n LIMIT 3) x").await;
}

#[tokio::test]
async fn groups_are_traced_by_plain_columns_that_their_bytes_tell_apart() {
    by("SELECT g, sum(f) AS s FROM a GROUP BY g", "g", &["a.g"]).await;
    by("SELECT n AS m, g, string_agg(g, ',' ORDER BY id) AS s FROM a GROUP BY g, n HAVING count(*) > 1", "m", &["a.n"]).await;
    by("SELECT DISTINCT g, f FROM a", "g", &["a.g"]).await;
    whole("SELECT sum(f) AS s FROM a").await;
    whole("SELECT n + 1 AS m, sum(f) AS s FROM a GROUP BY n + 1").await;
    whole("SELECT f, sum(f) AS s FROM a GROUP BY f").await;
    whole("SELECT padded, sum(f) AS s FROM a GROUP BY padded").await;
    whole("SELECT g, n, sum(f) AS s FROM a GROUP BY ROLLUP (g, n)").await;
    // The key of the outer groups is what the inner ones give.
    whole("SELECT c, sum(s) AS t FROM (SELECT g, count(*) AS c, sum(f) AS s FROM a GROUP BY g) x GROUP BY c").await;
}

#[tokio::test]
async fn joins_are_traced_to_both_sides_of_an_equality_where_no_row_stands_alone() {
    let over = |join: &str| format!("SELECT a.id, row_number() OVER (PARTITION BY a.id ORDER BY b.id) AS r FROM a {join}");
    by(&over("JOIN b ON a.id = b.a_id"), "id", &["a.id", "b.a_id"]).await;
    by(&over("LEFT JOIN b ON a.id = b.a_id AND b.v > 1"), "id", &["a.id", "b.a_id"]).await;
    // Not by the key: any row may meet any other one.
    by(&over("LEFT JOIN b ON a.n = b.v"), "id", &["a.id"]).await;
    by(&over("JOIN b ON a.n = b.v"), "id", &["a.id"]).await;
    // Of several columns that with the most tables.
    let sql = "SELECT a.g, a.id, row_number() OVER (PARTITION BY a.g, a.id ORDER BY b.id) AS r FROM a JOIN b ON a.id = b.a_id";
    by(sql, "id", &["a.id", "b.a_id"]).await;
    // The side without a match has NULL there, whatever its own rows have.
    whole("SELECT b.a_id AS k, row_number() OVER (PARTITION BY b.a_id ORDER BY a.id) AS r FROM a LEFT JOIN b ON a.id = b.a_id")
        .await;
    let sql = "SELECT b.s, row_number() OVER (PARTITION BY b.s ORDER BY b.id) AS r FROM a RIGHT JOIN b ON a.g = b.s";
    by(sql, "s", &["a.g", "b.s"]).await;
    whole("SELECT a.id, row_number() OVER (PARTITION BY a.id ORDER BY b.id) AS r FROM a FULL JOIN b ON a.id = b.a_id").await;
}

#[tokio::test]
async fn joins_that_only_ask_for_a_match_are_traced_from_the_rows_that_they_give() {
    let over = |asked: &str| format!("SELECT g, row_number() OVER (PARTITION BY g ORDER BY id) AS r FROM a WHERE {asked}");
    by(&over("g IN (SELECT s FROM b WHERE v > 1)"), "g", &["a.g", "b.s"]).await;
    by(&over("NOT EXISTS (SELECT 1 FROM b WHERE b.s = a.g)"), "g", &["a.g", "b.s"]).await;
    by(&over("EXISTS (SELECT 1 FROM b WHERE b.v = a.n)"), "g", &["a.g"]).await;
    // One NULL in it is enough for no row at all.
    by(&over("g NOT IN (SELECT s FROM b)"), "g", &["a.g"]).await;
}

#[tokio::test]
async fn tables_that_are_read_several_times_are_traced_in_all_places_or_in_none() {
    by("SELECT g, sum(f) AS s FROM (SELECT g, f FROM a UNION ALL SELECT s, v / 2.0 FROM b) x GROUP BY g", "g", &["a.g", "b.s"])
        .await;
    let sql = "SELECT x.id, row_number() OVER (PARTITION BY x.id ORDER BY y.id) AS r FROM b x JOIN b y ON x.id = y.a_id";
    by(sql, "id", &["b.a_id", "b.id"]).await;
    let sql = "SELECT x.id, row_number() OVER (PARTITION BY x.id ORDER BY y.id) AS r FROM b x JOIN b y ON x.v = y.v";
    whole(sql).await;
    whole("SELECT g, sum(f) AS s FROM (SELECT g, f FROM a WHERE n > 1 UNION ALL SELECT 'x', f FROM a) x GROUP BY g").await;
}

#[tokio::test]
async fn a_part_that_is_one_for_all_keys_must_always_be_the_same() {
    let over = |part: &str| {
        format!("SELECT a.g, row_number() OVER (PARTITION BY a.g ORDER BY a.id) AS r, p.x FROM a JOIN {part} p ON p.k = a.n")
    };
    by(&over("(SELECT v AS k, count(*) AS x FROM b GROUP BY v)"), "g", &["a.g"]).await;
    // Which text comes first is another one each time.
    whole(&over("(SELECT v AS k, string_agg(s, ',') AS x FROM b GROUP BY v)")).await;
    whole(&over("(SELECT v AS k, s AS x FROM b LIMIT 1)")).await;
    whole(&over("(SELECT v AS k, row_number() OVER (ORDER BY s) AS x FROM b)")).await;
}

#[tokio::test]
async fn types_with_several_forms_and_types_of_another_width_are_no_keys() {
    let over = |column: &str| format!("SELECT {column}, string_agg(kind, ',') AS s FROM c GROUP BY {column}");
    by(&over("small"), "small", &["c.small"]).await;
    by(&over("flag"), "flag", &["c.flag"]).await;
    whole(&over("amount")).await;
    whole(&over("kind")).await;
    // Of a join by an equality of two types one side alone is known.
    let over = |column: &str| {
        format!("SELECT {column}, row_number() OVER (PARTITION BY {column} ORDER BY c.kind) AS r FROM c JOIN a ON a.id = c.small")
    };
    by(&over("c.small"), "small", &["c.small"]).await;
    by(&over("a.id"), "id", &["a.id"]).await;
}

#[tokio::test]
async fn joins_of_three_tables_by_one_key_are_traced_to_all_of_them() {
    let over = |column: &str, join: &str| {
        format!("SELECT {column} AS k, row_number() OVER (PARTITION BY {column} ORDER BY b.id) AS r FROM a {join}")
    };
    let all = ["a.id", "b.a_id", "c.id"];
    by(&over("a.id", "JOIN b ON a.id = b.a_id JOIN c ON c.id = a.id"), "k", &all).await;
    by(&over("b.a_id", "JOIN b ON a.id = b.a_id JOIN c ON c.id = b.a_id"), "k", &all).await;
}

async fn names(sql: &str, has_keys: bool) -> Vec<String> {
    lineages(sql, has_keys).await.into_iter().map(|(name, _)| name).collect()
}

#[tokio::test]
async fn of_several_columns_keys_of_tables_are_first_and_booleans_last() {
    let sql = "SELECT n, id, row_number() OVER (PARTITION BY n, id ORDER BY f) AS r FROM a";
    assert_eq!(names(sql, false).await, ["n"]);
    assert_eq!(names(sql, true).await, ["id"]);
    let sql = "SELECT flag, small, row_number() OVER (PARTITION BY flag, small ORDER BY kind) AS r FROM c";
    assert_eq!(names(sql, false).await, ["small"]);
    // Each of these is known of a table that the other one is not known of.
    let sql = "SELECT c.flag, a.g, row_number() OVER (PARTITION BY c.flag, a.g ORDER BY a.f) AS r FROM a JOIN c ON c.id = a.n";
    assert_eq!(names(sql, false).await, ["g", "flag"]);
}

#[tokio::test]
async fn a_side_of_a_join_that_may_fail_unseen_is_not_traced() {
    let failing = "SELECT a.id, x.p, row_number() OVER (PARTITION BY a.id ORDER BY x.p) AS r \
                   FROM a JOIN (SELECT a_id, 10 / v AS p FROM b) x ON a.id = x.a_id";
    whole(failing).await;
    // All rows of this side are asked for.
    let seen = "SELECT x.id, x.p, row_number() OVER (PARTITION BY x.id ORDER BY b.id) AS r \
                FROM (SELECT id, 10 / n AS p FROM a) x LEFT JOIN b ON x.id = b.a_id";
    by(seen, "id", &["a.id", "b.a_id"]).await;
}
