//! Statements planned and run through the engine with `install`, against what PostgreSQL 15 answered to the same text.
//!
//! Each case is a statement, the types `\gdesc` names, and the rows as `psql -At` prints them (`;` between rows); an error is
//! its SQLSTATE and message.

mod cases;
mod numbers;

use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{Field, Schema};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::datasource::MemTable;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::collect;
use datafusion::prelude::SessionConfig;
use datafusion::sql::parser::{DFParserBuilder, Statement};
use datafusion::sql::sqlparser::ast::{
    CastKind, DataType as SqlType, Expr as SqlExpr, Ident, Query, SelectItem, SetExpr, Statement as SqlStatement, UnaryOperator,
    Value, ValueWithSpan, visit_expressions_mut,
};
use datafusion::sql::sqlparser::parser::Parser;

use crate::error::{Diagnosis, find_diagnosis};
use crate::federation::ast::DEPTH_MAX;
use crate::federation::ast::postgres::Postgres;
use crate::format::DisplaySettings;
use crate::pgtype::{ENUM_KEY, PgField, PgType};

use super::cast::{read_literal, text_of};
use super::datum::{Column, Datum};
use super::settings::SessionValues;
use super::typed::Typed;
use super::{install, logic, sets, types};

/// Name, type and the three rows of the table `t`, as text.
const COLUMNS: &[(&str, PgType, [Option<&str>; 3])] = &[
    ("id", PgType::INT4, [Some("1"), Some("2"), Some("3")]),
    ("i2", PgType::INT2, [Some("7"), Some("32767"), None]),
    ("i8", PgType::INT8, [Some("9223372036854775807"), Some("-5"), None]),
    ("n", PgType::numeric(10, 2), [Some("10.50"), Some("-3.25"), None]),
    ("w", PgType::NUMERIC, [Some("9"), Some("10.5"), Some("1e20")]),
    ("r", PgType::FLOAT4, [Some("0.1"), Some("-2.5"), None]),
    ("d", PgType::FLOAT8, [Some("2.5"), Some("3.5"), Some("NaN")]),
    ("s", PgType::TEXT, [Some("Hello"), Some("a''b"), None]),
    ("v", PgType::with_typmod(1043, 14), [Some("abc"), Some("ABC"), None]),
    ("c", PgType::with_typmod(1042, 9), [Some("ab"), Some("ab  "), Some("b")]),
    ("b", PgType::BOOL, [Some("t"), Some("f"), None]),
    ("dt", PgType::DATE, [Some("2024-01-31"), Some("1969-07-20"), None]),
    ("ts", PgType::TIMESTAMP, [Some("2024-01-31 12:34:56.789"), Some("1969-07-20 20:17:40"), None]),
    ("tz", PgType::TIMESTAMPTZ, [Some("2024-03-10 12:00:00+00"), Some("infinity"), None]),
    ("iv", PgType::INTERVAL, [Some("1 mon"), Some("30 days"), Some("1 day 02:03:04")]),
    ("u", PgType::UUID, [Some("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"), Some("00000000-0000-0000-0000-000000000001"), None]),
    ("j", PgType::JSONB, [Some("{\"a\": 1, \"b\": [1, 2]}"), Some("[1, \"x\"]"), None]),
    ("jt", PgType::JSON, [Some("{\"a\":1}"), Some("[]"), None]),
    ("ip", PgType::INET, [Some("10.0.0.9"), Some("10.0.0.10"), Some("192.168.0.0/16")]),
    ("e", PgType::with_typmod(90_001, -1), [Some("happy"), Some("sad"), Some("ok")]),
    ("a", PgType { oid: 1007, typmod: -1 }, [Some("{1,2,3}"), Some("{}"), None]),
    ("ea", PgType { oid: 1009, typmod: -1 }, [Some("{ok,happy}"), Some("{sad}"), None]),
];

fn column(pg_type: PgType, values: &[Option<&str>; 3], name: &str) -> (Field, ArrayRef) {
    let labels = "[\"sad\",\"ok\",\"happy\"]";
    let is_enum = matches!(name, "e" | "ea");
    let typed = Typed { pg_type, labels: is_enum.then(|| Arc::from(labels)) };
    let field = Field::new(name, pg_type.carrier(), true).with_pg_type(pg_type);
    let mut metadata = field.metadata().clone();
    if is_enum {
        metadata.insert(ENUM_KEY.to_owned(), labels.to_owned());
    }
    let session = SessionValues::default();
    let carrier = pg_type.carrier();
    let parts: Vec<ArrayRef> = values
        .iter()
        .map(|text| match text {
            Some(text) => read_literal(text, &typed, true, &session).unwrap().to_array().unwrap(),
            None => arrow::array::new_null_array(&carrier, 1),
        })
        .map(|part| arrow::compute::cast(&part, &carrier).unwrap())
        .collect();
    let parts: Vec<&dyn arrow::array::Array> = parts.iter().map(AsRef::as_ref).collect();
    (field.with_metadata(metadata), arrow::compute::concat(&parts).unwrap())
}

fn state() -> SessionState {
    let config = SessionConfig::new().with_target_partitions(2);
    let builder = SessionStateBuilder::new().with_config(config).with_default_features();
    let state = install(builder).build();
    let (fields, arrays): (Vec<Field>, Vec<ArrayRef>) =
        COLUMNS.iter().map(|(name, pg_type, values)| column(*pg_type, values, name)).unzip();
    let schema = Arc::new(Schema::new(fields));
    let batch = RecordBatch::try_new(Arc::clone(&schema), arrays).unwrap();
    let table = MemTable::try_new(schema, vec![vec![batch]]).unwrap();
    state.schema_for_ref("t").unwrap().register_table("t".to_owned(), Arc::new(table)).unwrap();
    state
}

/// Integer literals are `integer` where they fit, as the session's own pass over the syntax tree makes them.
fn parse(sql: &str) -> Statement {
    let builder = DFParserBuilder::new(sql).with_dialect(&Postgres).with_recursion_limit(DEPTH_MAX);
    let mut statement = builder.build().unwrap().parse_statements().unwrap().pop_front().unwrap();
    if let Statement::Statement(inner) = &mut statement {
        if let SqlStatement::Query(query) = inner.as_mut() {
            name_outputs(query);
        }
        let _: ControlFlow<()> = visit_expressions_mut(inner.as_mut(), |expr| {
            if let SqlExpr::UnaryOp { op: UnaryOperator::Minus, expr: inner } = expr
                && !matches!(inner.as_ref(), SqlExpr::Cast { .. })
            {
                // The session's pass does the same: the engine plans a minus only over carriers it can negate.
                let text = format!("pg_negate({inner})");
                *expr = Parser::new(&Postgres).try_with_sql(&text).unwrap().parse_expr().unwrap();
            }
            if let SqlExpr::Value(ValueWithSpan { value: Value::Number(digits, _), .. }) = expr
                && digits.parse::<i32>().is_ok()
            {
                let number = Box::new(expr.clone());
                *expr =
                    SqlExpr::Cast { kind: CastKind::Cast, expr: number, data_type: SqlType::Int(None), format: None, array: false };
            }
            ControlFlow::Continue(())
        });
    }
    statement
}

/// Unnamed outputs get unique names, as the session's pass gives them.
fn name_outputs(query: &mut Query) {
    let SetExpr::Select(select) = query.body.as_mut() else { return };
    for (index, item) in select.projection.iter_mut().enumerate() {
        if let SelectItem::UnnamedExpr(expr) = item
            && !matches!(expr, SqlExpr::Identifier(_) | SqlExpr::CompoundIdentifier(_))
        {
            *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias: Ident::new(format!("output {index}")) };
        }
    }
}

async fn analysed(state: &SessionState, sql: &str) -> Result<LogicalPlan, datafusion::error::DataFusionError> {
    let plan = sets::lift(state.statement_to_plan(parse(sql)).await?)?;
    state.analyzer().execute_and_check(plan, state.config_options(), |_, _| {})
}

async fn run(state: &SessionState, sql: &str) -> Result<(String, String), datafusion::error::DataFusionError> {
    let plan = analysed(state, sql).await?;
    let output = types::output_types(&plan)?;
    let names: Vec<String> = output.iter().map(|pg_type| shown_type(*pg_type)).collect();
    let plan = logic::in_order(sets::narrow(state.optimizer().optimize(plan, state, |_, _| {})?)?)?;
    let physical = state.query_planner().create_physical_plan(&plan, state).await?;
    let batches = collect(physical, state.task_ctx()).await?;
    let mut rows = Vec::new();
    for batch in batches {
        for row in 0..batch.num_rows() {
            let cells: Vec<String> =
                batch.columns().iter().zip(&output).map(|(array, pg_type)| cell(array, *pg_type, row)).collect();
            rows.push(cells.join("|"));
        }
    }
    Ok((names.join(","), rows.join(";")))
}

/// As `\gdesc` of psql names it.
fn shown_type(pg_type: PgType) -> String {
    match (pg_type.oid, pg_type.typmod) {
        (90_001, _) => "mood".to_owned(),
        (1042, -1) => "bpchar".to_owned(),
        _ => pg_type.to_string(),
    }
}

fn cell(array: &ArrayRef, pg_type: PgType, row: usize) -> String {
    let typed: Typed = pg_type.into();
    match Column::new(array, Some(&typed)).unwrap().get(row) {
        Datum::Bool(value) => if value { "t" } else { "f" }.to_owned(),
        value => text_of(&typed, &value, &DisplaySettings::default()).unwrap(),
    }
}

async fn answer(state: &SessionState, sql: &str) -> String {
    match run(state, sql).await {
        Ok((types, rows)) => format!("{types} => {rows}"),
        Err(error) => match find_diagnosis(&error) {
            Some(Diagnosis { sqlstate, message, .. }) => format!("{sqlstate}: {message}"),
            None => format!("engine: {}", error.strip_backtrace()),
        },
    }
}

async fn check(cases: &[(&str, &str)]) {
    let state = state();
    let mut wrong = Vec::new();
    for (sql, expected) in cases {
        let found = answer(&state, sql).await;
        if found != *expected {
            wrong.push(format!("{sql}\n  expected {expected}\n  found    {found}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {} differ\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

#[tokio::test]
async fn operators_and_casts_answer_like_postgres() {
    check(cases::OPERATORS).await;
}

#[tokio::test]
async fn conditions_keep_errors_away_like_postgres() {
    check(cases::CONDITIONS).await;
}

#[tokio::test]
async fn functions_answer_like_postgres() {
    check(cases::FUNCTIONS).await;
}

#[tokio::test]
async fn functions_of_numbers_match_postgres() {
    check(numbers::FUNCTIONS).await;
}

#[tokio::test]
async fn aggregates_over_pairs_match_postgres() {
    check(numbers::PAIRS).await;
}

#[tokio::test]
async fn moments_documents_and_arrays_answer_like_postgres() {
    check(cases::VALUES).await;
}

#[tokio::test]
async fn queries_answer_like_postgres() {
    check(cases::QUERIES).await;
}

#[tokio::test]
async fn documents_are_not_repeated_beside_their_parts() {
    let state = state();
    let wide = "select unnest(a) as x, r, s from (select repeat(s, 2000000) as r, s, a from t) q";
    let cases = [
        (format!("select x from ({wide}) z"), "x"),
        (format!("select s, sum(x) as x from ({wide}) z where x > 1 group by s"), "s,x"),
        (format!("select max(length(r)) as x from (select * from ({wide}) z order by x limit 2) y"), "r,x"),
    ];
    for (sql, expected) in cases {
        let plan = analysed(&state, &sql).await.unwrap();
        let plan = sets::narrow(state.optimizer().optimize(plan, &state, |_, _| {}).unwrap()).unwrap();
        let mut given = Vec::new();
        plan.apply(|node| {
            if let Some(set) = sets::ProjectSet::of(node) {
                given.extend(set.clone().into_plan().schema().fields().iter().map(|field| field.name().clone()));
            }
            Ok(TreeNodeRecursion::Continue)
        })
        .unwrap();
        // Names inside the node are the engine's own for the call.
        let given: Vec<&str> = given.iter().map(|name| if name.contains("unnest") { "x" } else { name.as_str() }).collect();
        assert_eq!(given.join(","), expected, "{sql}");
    }
}

#[tokio::test]
async fn batches_of_long_rows_have_few_of_them() {
    let state = state();
    let sql = "select r, unnest(a) as x from (select repeat(s, 2000000) as r, a from t) q";
    let plan = analysed(&state, sql).await.unwrap();
    let plan = sets::narrow(state.optimizer().optimize(plan, &state, |_, _| {}).unwrap()).unwrap();
    let physical = state.query_planner().create_physical_plan(&plan, &state).await.unwrap();
    let batches = collect(physical, state.task_ctx()).await.unwrap();
    let rows: Vec<usize> = batches.iter().map(RecordBatch::num_rows).filter(|rows| *rows > 0).collect();
    assert_eq!(rows, [1, 1, 1]);
}

/// What was copied at each level would be there two to the power of the levels times.
#[tokio::test]
async fn nested_choices_stay_as_large_as_they_are_written() {
    let state = state();
    let nest = |levels, open: &str, inner: &str, close: &str| format!("{}{inner}{}", open.repeat(levels), close.repeat(levels));
    let cases = [
        (nest(25, "coalesce(", "b", " is null, false)"), "boolean => f;f;f"),
        (nest(25, "coalesce(1 + ", "id", ", 5)"), "integer => 26;27;28"),
        (nest(25, "nullif(1 + ", "id", ", 5)"), "integer => ;;"),
        (nest(25, "coalesce(null, ", "s || 'x'", ")"), "text => Hellox;a''bx;"),
        (nest(25, "case 1 + ", "id", " when 7 then 8 else 1 end"), "integer => 1;1;1"),
        (nest(25, "case case ", "id", " when 7 then 8 else 1 end when 1 then 2 else 3 end"), "integer => 2;2;2"),
    ];
    for (expr, expected) in cases {
        let sql = format!("select {expr} as x from t");
        let plan = analysed(&state, &sql).await.unwrap();
        let plan = state.optimizer().optimize(plan, &state, |_, _| {}).unwrap();
        let mut parts = 0;
        plan.apply(|node| {
            node.apply_expressions(|expr| {
                expr.apply(|_| {
                    parts += 1;
                    Ok(TreeNodeRecursion::Continue)
                })
            })
        })
        .unwrap();
        assert!(parts < 1000, "{parts} parts of {sql}");
        assert_eq!(answer(&state, &sql).await, expected, "{sql}");
    }
}

fn bare(oid: u32) -> PgType {
    PgType::with_typmod(oid, -1)
}

#[tokio::test]
async fn parameters_get_the_type_their_use_tells() {
    let state = state();
    let rows = [
        ("select * from t where u = $1 and n > $2", vec![PgType::UUID, PgType::NUMERIC]),
        ("select $1::jsonb, coalesce($2, 5), s || $3 from t", vec![PgType::JSONB, PgType::INT4, PgType::TEXT]),
        (
            "select id + $1, dt - $2::int, case when b then $3 else ts end from t",
            vec![PgType::INT4, PgType::INT4, PgType::TIMESTAMP],
        ),
        (
            "select id from t where e in ($1, $2) and iv between $3 and '1 day'",
            vec![PgType::with_typmod(90_001, -1), PgType::with_typmod(90_001, -1), PgType::INTERVAL],
        ),
    ];
    let arrays = [
        ("select id from t where a @> $1 or $2 && a", vec![PgType::INT4.array().unwrap(); 2]),
        ("select a <@ $1, a || $2, array_append(a, $3), array_cat($4, a) from t", [1007, 1007, 23, 1007].map(bare).to_vec()),
        ("select array_position(a, $1), array['x'] && $2 from t", vec![PgType::INT4, PgType::TEXT.array().unwrap()]),
    ];
    for (sql, expected) in rows.into_iter().chain(arrays) {
        let plan = analysed(&state, sql).await.unwrap();
        let found: Vec<PgType> = types::parameter_types(&plan).unwrap().into_values().collect();
        assert_eq!(found, expected, "{sql}");
    }
}
