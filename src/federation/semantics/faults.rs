//! Which expressions may fail for a row: a division, a sum of integers, a text that is read as a number.
//!
//! What may fail is computed for no row that a condition beside it leaves out (`logic`), and goes to no place where that condition is not.
//! An expression is taken for one that may fail unless it is known here.

use arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::common::tree_node::TreeNode;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{Expr, ExprSchemable, Operator};
use datafusion::scalar::ScalarValue;

use super::functions::is_small_pattern;
use super::overload::{is_string, numeric_rank};
use super::resolve::lazy;
use super::typed::TypedFunction;
use crate::pgtype::PgType;

/// Whether a part of the expression may fail for a row of the schema.
pub(in super::super) fn may_fail(expr: &Expr, schema: &DFSchema) -> bool {
    expr.exists(|part| Ok(fails(part, schema))).unwrap_or(true)
}

/// The engine's own functions that give what they are given, or look at it.
const OF_ENGINE: &[&str] = &["array_has", "coalesce", "get_field", "greatest", "least", "make_array", "nullif", "nvl"];

/// Functions with decided types that have a value for all arguments that they can be called with.
const TYPED: &[&str] = &[
    "array_length",
    "array_lower",
    "array_ndims",
    "array_upper",
    "ascii",
    "bit_length",
    "btrim",
    "cardinality",
    "ceil",
    "ceiling",
    "char_length",
    "character_length",
    "concat",
    "concat_operator",
    "concat_ws",
    "current_date",
    "current_timestamp",
    "float_bits",
    "float_key",
    "float_of_bits",
    "floor",
    "greatest",
    "initcap",
    "isfinite",
    "json_field_text",
    "json_text",
    "least",
    "left",
    "length",
    "localtime",
    "localtimestamp",
    "lower",
    "ltrim",
    "md5",
    "now",
    "null_if",
    "octet_length",
    "operator #>",
    "operator #>>",
    "operator &&",
    "operator ->",
    "operator ->>",
    "operator <@",
    "operator ?",
    "operator ?&",
    "operator ?|",
    "operator @>",
    "or_null",
    "position",
    "quote_ident",
    "quote_literal",
    "quote_nullable",
    "reverse",
    "right",
    "round",
    "row_identity",
    "rtrim",
    "sign",
    "signum",
    "starts_with",
    "statement_timestamp",
    "strpos",
    "transaction_timestamp",
    "trim",
    "trunc",
    "typed_key",
    "upper",
    "wide_numeric",
];

/// Whether computing a node of an expression may fail, its parts apart. Subqueries are computed before the rows of the node.
fn fails(part: &Expr, schema: &DFSchema) -> bool {
    match part {
        Expr::Alias(_)
        | Expr::Column(_)
        | Expr::OuterReferenceColumn(..)
        | Expr::Literal(..)
        | Expr::Placeholder(_)
        | Expr::Not(_)
        | Expr::IsNull(_)
        | Expr::IsNotNull(_)
        | Expr::IsTrue(_)
        | Expr::IsNotTrue(_)
        | Expr::IsFalse(_)
        | Expr::IsNotFalse(_)
        | Expr::IsUnknown(_)
        | Expr::IsNotUnknown(_)
        | Expr::Between(_)
        | Expr::InList(_)
        | Expr::Like(_)
        | Expr::Case(_)
        | Expr::TryCast(_)
        | Expr::Lambda(_)
        | Expr::AggregateFunction(_)
        | Expr::WindowFunction(_)
        | Expr::ScalarSubquery(_)
        | Expr::Exists(_)
        | Expr::InSubquery(_)
        | Expr::SetComparison(_) => false,
        Expr::BinaryExpr(binary) => !is_condition(binary.op),
        Expr::Cast(cast) => !cast.expr.get_type(schema).is_ok_and(|from| always_fits(&from, cast.field.data_type())),
        Expr::HigherOrderFunction(call) => lazy::parts(call).is_none(),
        Expr::ScalarFunction(call) => match TypedFunction::called_by(part) {
            Some(function) => call_fails(function, call),
            None => !OF_ENGINE.contains(&call.func.name()),
        },
        _ => true,
    }
}

fn is_condition(op: Operator) -> bool {
    use Operator::{And, Eq, Gt, GtEq, IsDistinctFrom, IsNotDistinctFrom, LikeMatch, Lt, LtEq, NotEq, NotLikeMatch, Or};
    matches!(op, And | Or | Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom | LikeMatch | NotLikeMatch)
}

fn call_fails(function: &TypedFunction, call: &ScalarFunction) -> bool {
    let returns = function.returns().pg_type;
    let is_numeric = returns.oid == PgType::NUMERIC.oid;
    let from = function.arguments().first().map(|typed| typed.pg_type);
    match call.func.name() {
        "pg_cast" => !from.is_some_and(|from| converts(from, returns, true)),
        "pg_convert" => !from.is_some_and(|from| converts(from, returns, false)),
        // Integers and floats have a range; the range of `numeric` is left by no sum of stored values.
        "pg_add" | "pg_subtract" | "pg_multiply" => !is_numeric,
        "pg_negate" | "abs" => !is_numeric && !is_float(returns),
        "pg_divide" | "pg_modulo" | "mod" => is_float(returns) || !call.args.get(1).is_some_and(is_positive),
        "substring" | "substr" => from.is_none_or(|from| !is_string(from)) || !takes_length(function, call),
        "extract" | "date_part" => !is_known_field(function, call),
        "operator ~" | "operator !~" => !call.args.get(1).is_some_and(|pattern| is_pattern(pattern, "")),
        "operator ~*" | "operator !~*" => !call.args.get(1).is_some_and(|pattern| is_pattern(pattern, "i")),
        name if name.starts_with("operator any ") || name.starts_with("operator all ") => false,
        name => !TYPED.contains(&name),
    }
}

fn is_float(pg_type: PgType) -> bool {
    matches!(pg_type.oid, 700 | 701)
}

/// Whether every value of one type has one of the other.
fn converts(from: PgType, to: PgType, asked: bool) -> bool {
    if is_string(to) {
        // An assignment refuses what is too long, a cast cuts it.
        return asked || to.typmod == -1;
    }
    match (numeric_rank(from), numeric_rank(to)) {
        (Some(low @ 0..=2), Some(high @ 0..=2)) => low <= high,
        (Some(0..=2), Some(3)) => to.typmod == -1,
        (Some(0..=2), Some(_)) => true,
        _ => matches!((from.oid, to.oid), (16, 23) | (23, 16) | (1114, 1082 | 1083) | (1184, 1082 | 1083 | 1114)),
    }
}

/// A constant that every integer and decimal can be divided by.
fn is_positive(divisor: &Expr) -> bool {
    match divisor {
        Expr::Cast(cast) => is_positive(&cast.expr),
        Expr::Literal(value, _) => match value {
            ScalarValue::Int16(Some(value)) => *value > 0,
            ScalarValue::Int32(Some(value)) => *value > 0,
            ScalarValue::Int64(Some(value)) => *value > 0,
            ScalarValue::Decimal128(Some(value), _, _) => *value > 0,
            _ => false,
        },
        _ => false,
    }
}

/// A constant regular expression that texts can be compared with.
fn is_pattern(pattern: &Expr, flags: &str) -> bool {
    matches!(pattern, Expr::Literal(ScalarValue::Utf8(Some(pattern)), _) if is_small_pattern(pattern, flags))
}

/// `substring(text from place)`, or with a length that is a constant and not negative; a pattern may be none.
fn takes_length(function: &TypedFunction, call: &ScalarFunction) -> bool {
    let is_place = function.arguments().get(1).is_some_and(|typed| typed.pg_type == PgType::INT4);
    let is_length = |length: &Expr| matches!(length, Expr::Literal(ScalarValue::Int32(Some(length)), _) if *length >= 0);
    is_place && call.args.get(2).is_none_or(is_length)
}

/// A field that dates and timestamps have.
fn is_known_field(function: &TypedFunction, call: &ScalarFunction) -> bool {
    let of = function.arguments().get(1).map_or(0, |typed| typed.pg_type.oid);
    let Some(Expr::Literal(ScalarValue::Utf8(Some(field)), _)) = call.args.first() else { return false };
    match field.to_ascii_lowercase().as_str() {
        "year" | "quarter" | "month" | "week" | "day" | "dow" | "doy" | "isodow" | "isoyear" => matches!(of, 1082 | 1114 | 1184),
        "hour" | "minute" | "second" => matches!(of, 1083 | 1114 | 1184),
        _ => false,
    }
}

/// Whether every value of one carrier is a value of the other.
pub(in super::super) fn always_fits(from: &DataType, to: &DataType) -> bool {
    use DataType::{Decimal128, Float32, Float64, Int16, Int32, Int64};
    let digits = |integer: &DataType| match integer {
        Int16 => Some(5),
        Int32 => Some(10),
        Int64 => Some(19),
        _ => None,
    };
    match (from, to) {
        (from, to) if from == to => true,
        (Int16, Int32 | Int64) | (Int32, Int64) | (Float32, Float64) | (Int16 | Int32 | Int64, Float64) => true,
        (Decimal128(precision, scale), Decimal128(wider, longer)) => {
            let (whole, room) = (i16::from(*precision) - i16::from(*scale), i16::from(*wider) - i16::from(*longer));
            longer >= scale && room >= whole
        }
        (integer, Decimal128(precision, scale)) => {
            digits(integer).is_some_and(|digits| i16::from(*precision) - i16::from(*scale) >= digits)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{Field, Schema};
    use datafusion::logical_expr::{cast, col, lit, when};

    use super::super::functions::regexp_operator;
    use super::super::operators::{negate_kernel, numeric_kernel};
    use super::super::typed::{Kernel, Typed};
    use super::*;

    fn schema() -> DFSchema {
        let fields = vec![
            Field::new("a", DataType::Int32, true),
            Field::new("b", DataType::Int64, true),
            Field::new("t", DataType::Utf8, true),
        ];
        DFSchema::try_from(Schema::new(fields)).unwrap()
    }

    #[test]
    fn comparisons_and_widening_never_fail() {
        let rows = [
            (col("a").eq(lit(1)).and(col("t").is_null()), false),
            (cast(col("a"), DataType::Int64).eq(col("b")), false),
            (cast(col("b"), DataType::Int32).eq(col("a")), true),
            (cast(col("t"), DataType::Int32).eq(col("a")), true),
            ((lit(10) / col("a")).gt(lit(1)), true),
            (col("a").is_null().or((lit(10) % col("a")).gt(lit(1))), true),
            (col("t").like(lit("a%")), false),
            (col("a").in_list(vec![lit(1), col("b")], false), false),
            (when(col("a").eq(lit(0)), lit(1)).end().unwrap(), false),
        ];
        for (expr, expected) in rows {
            assert_eq!(may_fail(&expr, &schema()), expected, "{expr}");
        }
    }

    #[test]
    fn decided_calls_fail_by_their_types() {
        let numeric: Typed = PgType::NUMERIC.into();
        let of_numeric = |name: &'static str, right: Expr| {
            let kernel = Kernel::Strict(numeric_kernel(super::super::operators::Operator::Add).unwrap());
            TypedFunction::new(name, vec![numeric.clone(), numeric.clone()], numeric.clone(), kernel).call(vec![col("b"), right])
        };
        let negated = |pg_type: PgType| {
            TypedFunction::new("pg_negate", vec![pg_type.into()], pg_type.into(), negate_kernel(pg_type).unwrap())
                .call(vec![col("a")])
        };
        let converted = |from: PgType, to: PgType| {
            let kernel = Kernel::Strict(|_, values| Ok(values[0].clone()));
            TypedFunction::new("pg_cast", vec![from.into()], to.into(), kernel).call(vec![col("t")])
        };
        let rows = [
            (of_numeric("pg_add", col("a")), false),
            (of_numeric("pg_divide", col("a")), true),
            (of_numeric("pg_divide", lit(2)), false),
            (of_numeric("pg_divide", lit(0)), true),
            (of_numeric("unheard_of", lit(2)), true),
            (negated(PgType::INT4), true),
            (negated(PgType::FLOAT8), false),
            (converted(PgType::DATE, PgType::TEXT), false),
            (converted(PgType::TEXT, PgType::INT4), true),
            (converted(PgType::INT8, PgType::INT4), true),
            (converted(PgType::INT4, PgType::NUMERIC), false),
            (regexp_operator(col("t"), lit("^\\d$"), false, false), false),
            (regexp_operator(col("t"), lit("^\\d$"), true, true), false),
            (regexp_operator(col("t"), lit("a(b"), true, false), true),
            (regexp_operator(col("t"), lit("a".repeat(101)), true, false), true),
            (regexp_operator(col("t"), col("t"), false, true), true),
        ];
        for (expr, expected) in rows {
            assert_eq!(may_fail(&expr, &schema()), expected, "{expr}");
        }
    }
}
