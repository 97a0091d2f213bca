//! Number literals have Postgres' types: `1` is `integer`, not `bigint`, wherever that shows in a result.
//!
//! The planner reads every whole number as 64 bits. Where the literal's own type reaches an output (select items, casts,
//! arithmetic, CASE, function arguments, VALUES, arrays), it is wrapped in a cast, which the optimiser folds away; beyond 64
//! bits it is `numeric` everywhere.
//! Comparisons, LIMIT, and ordinals in ORDER BY and GROUP BY are left alone.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Array, BinaryOperator, CastKind, DataType, ExactNumberInfo, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments,
    Query, Select, SelectItem, SetExpr, UnaryOperator, Value, VisitorMut,
};

/// The pass.
#[derive(Debug)]
pub struct Literals;

impl VisitorMut for Literals {
    type Break = ();

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        wrap_values(&mut query.body);
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        for item in &mut select.projection {
            if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item {
                wrap(expr);
            }
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        wrap_wide(expr);
        sign_wide(expr);
        match expr {
            Expr::Cast { expr, .. } => wrap(expr),
            Expr::BinaryOp { left, op, right } if is_arithmetic(op) || matches!(op, BinaryOperator::StringConcat) => {
                wrap(left);
                wrap(right);
            }
            Expr::Case { conditions, else_result, .. } => {
                for when in conditions {
                    wrap(&mut when.result);
                }
                if let Some(result) = else_result {
                    wrap(result);
                }
            }
            Expr::Array(Array { elem, .. }) => elem.iter_mut().for_each(wrap),
            Expr::Function(function) => wrap_arguments(function),
            Expr::Substring { substring_from, substring_for, .. } => {
                [substring_from, substring_for].into_iter().flatten().for_each(|place| wrap(place));
            }
            Expr::Overlay { overlay_from, overlay_for, .. } => {
                wrap(overlay_from);
                overlay_for.iter_mut().for_each(|length| wrap(length));
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

fn wrap_values(body: &mut SetExpr) {
    match body {
        SetExpr::Values(values) => values.rows.iter_mut().flat_map(|row| row.content.iter_mut()).for_each(wrap),
        SetExpr::SetOperation { left, right, .. } => {
            wrap_values(left);
            wrap_values(right);
        }
        _ => {}
    }
}

/// Digits that the planner's own decimals hold.
const DIGITS_MAX: i64 = 76;

/// A whole number beyond `bigint`, and one of more digits than the planner's decimals have, is read as `numeric` is: from
/// text.
fn wrap_wide(expr: &mut Expr) {
    let Expr::Value(value) = expr else { return };
    let Value::Number(text, _) = &value.value else { return };
    let is_whole = text.bytes().all(|byte| byte.is_ascii_digit());
    if is_whole && text.parse::<i64>().is_err() {
        *expr = cast(Expr::value(Value::SingleQuotedString(text.clone())), DataType::Numeric(ExactNumberInfo::None));
        return;
    }
    let (digits, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    // An exponent that is no number is the planner's error to tell.
    let Ok(exponent) = exponent.parse::<i64>() else { return };
    let length = i64::try_from(digits.len()).unwrap_or(i64::MAX).saturating_add(exponent.saturating_abs());
    if length > DIGITS_MAX {
        let inner = Expr::value(Value::SingleQuotedString(text.clone()));
        *expr = cast(inner, DataType::Numeric(ExactNumberInfo::None));
    }
}

/// The sign of a number that [`wrap_wide`] made a text goes into it: the planner negates only what it knows as a number.
fn sign_wide(expr: &mut Expr) {
    let Expr::UnaryOp { op: UnaryOperator::Minus, expr: inner } = expr else { return };
    let mut number = inner.as_mut();
    while let Expr::Nested(nested) = number {
        number = nested;
    }
    let Expr::Cast { expr: text, data_type: DataType::Numeric(ExactNumberInfo::None), .. } = number else { return };
    if let Expr::Value(value) = text.as_mut()
        && let Value::SingleQuotedString(digits) = &mut value.value
    {
        let signed = format!("-{digits}");
        // The least `bigint` is one, though its digits alone are not.
        if signed.parse::<i64>().is_ok() {
            **inner = Expr::value(Value::Number(std::mem::take(digits), false));
        } else {
            *digits = signed;
            *expr = std::mem::replace(number, Expr::value(Value::Null));
        }
    }
}

/// Arithmetic, and the operators of JSON that take a place in an array, which only `integer` is.
fn is_arithmetic(op: &BinaryOperator) -> bool {
    use BinaryOperator as Op;
    let is_bitwise =
        matches!(op, Op::BitwiseAnd | Op::BitwiseOr | Op::PGBitwiseXor | Op::PGBitwiseShiftLeft | Op::PGBitwiseShiftRight);
    is_bitwise || matches!(op, Op::Plus | Op::Minus | Op::Multiply | Op::Divide | Op::Modulo | Op::Arrow | Op::LongArrow)
}

/// Which function is meant depends on the types of its arguments.
fn wrap_arguments(function: &mut Function) {
    let FunctionArguments::List(list) = &mut function.args else { return };
    for argument in &mut list.args {
        if let FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) = argument {
            wrap(expr);
        }
    }
}

fn wrap(expr: &mut Expr) {
    if whole_number(expr).is_some_and(|number| i32::try_from(number).is_ok()) {
        let inner = std::mem::replace(expr, Expr::value(Value::Null));
        *expr = cast(inner, DataType::Integer(None));
    }
}

/// The value of a whole-number literal, with its sign.
fn whole_number(expr: &Expr) -> Option<i64> {
    match expr {
        Expr::Value(value) => match &value.value {
            Value::Number(text, _) => text.parse().ok(),
            _ => None,
        },
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => whole_number(expr).map(|number| -number),
        Expr::UnaryOp { op: UnaryOperator::Plus, expr } => whole_number(expr),
        Expr::Nested(inner) => whole_number(inner),
        _ => None,
    }
}

/// `CAST(expr AS data_type)`.
pub(super) fn cast(expr: Expr, data_type: DataType) -> Expr {
    Expr::Cast { kind: CastKind::Cast, expr: Box::new(expr), data_type, array: false, format: None }
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::{ast::VisitMut, dialect::PostgreSqlDialect, parser::Parser};

    use super::*;

    fn check(sql: &str, expected: &str) {
        let mut statements = Parser::parse_sql(&PostgreSqlDialect {}, sql).unwrap();
        let _: ControlFlow<()> = VisitMut::visit(&mut statements, &mut Literals);
        assert_eq!(statements[0].to_string(), expected);
    }

    #[test]
    fn literals_are_integers_where_their_type_shows() {
        check("SELECT 1, -2, 3000000000", "SELECT CAST(1 AS INTEGER), CAST(-2 AS INTEGER), 3000000000");
        check("SELECT a + 1 FROM t WHERE b = 2 LIMIT 3", "SELECT a + CAST(1 AS INTEGER) FROM t WHERE b = 2 LIMIT 3");
        check("SELECT coalesce(a, 0) FROM t ORDER BY 1", "SELECT coalesce(a, CAST(0 AS INTEGER)) FROM t ORDER BY 1");
        check("SELECT round(a, 2) FROM t", "SELECT round(a, CAST(2 AS INTEGER)) FROM t");
        check("SELECT substring(a FROM 2) FROM t", "SELECT SUBSTRING(a FROM CAST(2 AS INTEGER)) FROM t");
        check("VALUES (1, 'x')", "VALUES (CAST(1 AS INTEGER), 'x')");
        check("SELECT a > 1e300, 1e5 FROM t", "SELECT a > CAST('1e300' AS NUMERIC), 1e5 FROM t");
        check("SELECT 0::boolean, 10::bit(4)", "SELECT CAST(0 AS INTEGER)::BOOLEAN, CAST(10 AS INTEGER)::BIT(4)");
        check("SELECT -2147483648, -2147483647", "SELECT CAST(-2147483648 AS INTEGER), CAST(-2147483647 AS INTEGER)");
        check("SELECT 2147483648, 9223372036854775808", "SELECT 2147483648, CAST('9223372036854775808' AS NUMERIC)");
        check("SELECT -(9223372036854775808)", "SELECT -9223372036854775808");
        check("SELECT -9223372036854775809", "SELECT CAST('-9223372036854775809' AS NUMERIC)");
        check(
            "SELECT a FROM t WHERE b < 12345678901234567890",
            "SELECT a FROM t WHERE b < CAST('12345678901234567890' AS NUMERIC)",
        );
        check("SELECT lag(a, 1) OVER () FROM t", "SELECT lag(a, CAST(1 AS INTEGER)) OVER () FROM t");
    }
}
