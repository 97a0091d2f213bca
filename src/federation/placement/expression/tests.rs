//! Tables of engine expressions and what becomes of them.

use arrow::datatypes::{DataType, Field};
use datafusion::common::DFSchema;
use datafusion::common::metadata::FieldMetadata;
use datafusion::logical_expr::{cast, lit, when};
use datafusion::prelude::col;

use super::super::scope::{Input, Slot};
use super::*;
use crate::federation::semantics::key_of;
use crate::pgtype::PgField;

const COLUMNS: [(&str, PgType); 7] = [
    ("id", PgType::INT4),
    ("big", PgType::INT8),
    ("name", PgType::TEXT),
    ("price", PgType::numeric(12, 2)),
    ("ratio", PgType::FLOAT8),
    ("wide", PgType::NUMERIC),
    ("code", PgType::BPCHAR),
];

fn check(expr: &Expr, expected: Result<&str, &str>) {
    let fields =
        COLUMNS.map(|(name, pg_type)| (None, std::sync::Arc::new(Field::new(name, pg_type.carrier(), true).with_pg_type(pg_type))));
    let schema = DFSchema::new_with_metadata(fields.to_vec(), std::collections::HashMap::new()).unwrap();
    let slots: Vec<Slot> = COLUMNS.iter().enumerate().map(|(place, (_, pg_type))| Slot::plain(place, *pg_type)).collect();
    let scope = Scope::new(vec![Input { schema: &schema, slots: &slots, offset: 0 }]);
    let found = Translator { scope: &scope, subqueries: &Subqueries::new() }.expression(expr);
    let shown = found.map(|found| found.to_string()).map_err(|refusal| refusal.subject);
    assert_eq!(shown.as_deref().map_err(String::as_str), expected, "{expr}");
}

fn typed(value: ScalarValue, pg_type: PgType) -> Expr {
    let field = Field::new("", value.data_type(), true).with_pg_type(pg_type);
    Expr::Literal(value, Some(FieldMetadata::new_from_field(&field)))
}

#[test]
fn conditions_are_flat_and_typed() {
    check(&col("id").gt(lit(5_i32)), Ok("(#0 > <integer>)"));
    check(&col("id").eq(col("big")), Ok("(#0::bigint = #1)"));
    check(
        &col("id").eq(lit(5_i32)).and(col("name").is_null()).and(lit(true)),
        Ok("((#0 = <integer>) AND #2 IS NULL AND <boolean>)"),
    );
    check(&cast(col("id"), DataType::Int64).lt(col("big")), Ok("(#0::bigint < #1)"));
    check(&col("price").gt(col("big")), Ok("(#3 > #1::numeric)"));
    check(&col("name").like(lit("a%")), Ok("(#2 LIKE <text>)"));
    check(&col("id").between(lit(1_i32), lit(2_i32)), Ok("((#0 >= <integer>) AND (#0 <= <integer>))"));
    check(&col("id").not_between(lit(1_i32), lit(2_i32)), Ok("((#0 < <integer>) OR (#0 > <integer>))"));
    check(&col("id").in_list(vec![lit(1_i32), lit(2_i32)], true), Ok("#0 NOT IN (2 items)"));
    check(&Expr::IsNotTrue(Box::new(col("id").eq(lit(1_i32)))), Ok("(#0 = <integer>) IS NOT TRUE"));
    check(&col("ratio").gt(col("id")), Err("a comparison of double precision with integer"));
    check(&(col("id") + lit(1_i32)), Err("operator +"));
}

#[test]
fn keys_are_the_types_themselves_in_comparisons() {
    let key = |name: &str, pg_type: PgType| key_of(col(name), &pg_type.into()).unwrap();
    check(&key("ratio", PgType::FLOAT8).eq(lit(0.5_f64)), Ok("(#4 = <double precision>)"));
    check(&key("wide", PgType::NUMERIC).eq(key("price", PgType::NUMERIC)), Ok("(#5 = #3)"));
    // The key of 15, as the optimiser computes it.
    let mut fifteen = vec![3_u8];
    fifteen.extend((2_u64 ^ (1 << 63)).to_be_bytes());
    fifteen.extend(*b"15");
    let constant = Expr::Literal(ScalarValue::Binary(Some(fifteen)), None);
    check(&key("wide", PgType::NUMERIC).gt(constant.clone()), Ok("(#5 > <numeric>)"));
    check(&constant.lt(key("wide", PgType::NUMERIC)), Ok("(<numeric> < #5)"));
    check(&key("wide", PgType::NUMERIC), Err("typed_key"));
    check(&key("code", PgType::BPCHAR).eq(lit(ScalarValue::Binary(Some(b"ab".to_vec())))), Ok("(#6 = <character>)"));
}

#[test]
fn choices_keep_their_form() {
    let case = when(col("id").gt(lit(1_i32)), col("name")).otherwise(lit("x")).unwrap();
    check(&case, Ok("CASE of 1 branches"));
    let coalesce = when(col("name").is_not_null(), col("name")).otherwise(lit("none")).unwrap();
    check(&coalesce, Ok("coalesce(#2, <text>)"));
    let mixed = when(col("id").gt(lit(1_i32)), col("id")).otherwise(col("big")).unwrap();
    check(&mixed, Err("a branch of type bigint"));
}

#[test]
fn constants_without_a_neutral_form_are_refused() {
    check(&typed(ScalarValue::from("{}"), PgType::JSONB), Err("a constant of type jsonb"));
    check(&typed(ScalarValue::from("7.50"), PgType::NUMERIC), Ok("<numeric>"));
    check(&cast(col("name"), DataType::Date32), Err("a cast from text to date"));
    check(&cast(col("price"), DataType::Decimal128(20, 4)), Err("a cast from numeric(12,2) to numeric"));
    check(&col("stranger"), Err("a column"));
}
