//! Comparisons of rows, `(a, b) < (c, d)`, written out column by column (manual, "Row Constructor Comparison").

use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Value};

use super::volatile;
use crate::error::{Diagnosis, sqlstate};

/// Writes a comparison of rows out. Rows of different length are left for the planner to refuse.
///
/// # Errors
/// 0A000 where a column would be computed several times and gives another value each time.
pub(super) fn rewrite(expr: &mut Expr) -> Result<(), Diagnosis> {
    if repeated(expr).iter().any(volatile::changes) {
        let message = "volatile functions in rows that are ordered, or looked for in lists, are not supported";
        return Err(Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, message));
    }
    write_out(expr);
    Ok(())
}

/// The columns that a comparison names several times when it is written out.
fn repeated(expr: &Expr) -> Vec<Expr> {
    match expr {
        Expr::BinaryOp {
            left,
            op: BinaryOperator::Lt | BinaryOperator::LtEq | BinaryOperator::Gt | BinaryOperator::GtEq,
            right,
        } => {
            let sides = [columns(left), columns(right)];
            // The last column decides alone.
            let all_but_last = |mut columns: Vec<Expr>| {
                columns.pop();
                columns
            };
            sides.into_iter().flatten().flat_map(all_but_last).collect()
        }
        Expr::InList { expr, list, .. } if list.len() > 1 => columns(expr).unwrap_or_default(),
        _ => Vec::new(),
    }
}

fn write_out(expr: &mut Expr) {
    match expr {
        Expr::BinaryOp { left, op, right } => {
            let (Some(left), Some(right)) = (columns(left), columns(right)) else { return };
            if let Some(written) = comparison(&left, op, &right) {
                *expr = Expr::Nested(Box::new(written));
            }
        }
        Expr::InList { expr: inner, list, negated } => {
            let Some(left) = columns(inner) else { return };
            let rows: Option<Vec<Expr>> =
                list.iter().map(|row| comparison(&left, &BinaryOperator::Eq, &columns(row)?).map(nested)).collect();
            let Some(any) = rows.and_then(|rows| joined(rows, &BinaryOperator::Or)) else { return };
            *expr = if *negated {
                Expr::UnaryOp { op: datafusion::sql::sqlparser::ast::UnaryOperator::Not, expr: Box::new(nested(any)) }
            } else {
                nested(any)
            };
        }
        _ => {}
    }
}

/// The columns of `(a, b)` and `ROW(a, b)`.
pub(super) fn columns(expr: &Expr) -> Option<Vec<Expr>> {
    match expr {
        Expr::Tuple(columns) => Some(columns.clone()),
        Expr::Function(Function { name, args: FunctionArguments::List(list), .. })
            if name.0.len() == 1
                && name.0.first().and_then(|part| part.as_ident()).is_some_and(|ident| ident.value.eq_ignore_ascii_case("row")) =>
        {
            let column = |argument: &FunctionArg| match argument {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(column)) => Some(column.clone()),
                _ => None,
            };
            list.args.iter().map(column).collect()
        }
        _ => None,
    }
}

fn comparison(left: &[Expr], op: &BinaryOperator, right: &[Expr]) -> Option<Expr> {
    if left.len() != right.len() || left.is_empty() {
        return None;
    }
    let pairs = || left.iter().zip(right);
    let test = |(a, b): (&Expr, &Expr), op: BinaryOperator| combined(a.clone(), op, b.clone());
    match op {
        BinaryOperator::Eq => pairs().map(|pair| test(pair, BinaryOperator::Eq)).reduce(|a, b| combined(a, BinaryOperator::And, b)),
        BinaryOperator::NotEq => {
            pairs().map(|pair| test(pair, BinaryOperator::NotEq)).reduce(|a, b| combined(a, BinaryOperator::Or, b))
        }
        BinaryOperator::Lt | BinaryOperator::LtEq | BinaryOperator::Gt | BinaryOperator::GtEq => {
            let strict = match op {
                BinaryOperator::Lt | BinaryOperator::LtEq => BinaryOperator::Lt,
                _ => BinaryOperator::Gt,
            };
            // From the last column on: a difference decides, equality asks the next column, and the last one the operator.
            pairs().rev().fold(None, |rest, pair| {
                Some(match rest {
                    None => test(pair, op.clone()),
                    Some(rest) => {
                        let equal = combined(test(pair, BinaryOperator::Eq), BinaryOperator::And, nested(rest));
                        combined(test(pair, strict.clone()), BinaryOperator::Or, nested(equal))
                    }
                })
            })
        }
        _ => None,
    }
}

/// All the conditions by AND or OR. They are joined in pairs, so that the expression is not as deep as the list is long.
pub(super) fn joined(mut conditions: Vec<Expr>, op: &BinaryOperator) -> Option<Expr> {
    if conditions.len() > 1 {
        let rest = conditions.split_off(conditions.len() / 2);
        return Some(combined(joined(conditions, op)?, op.clone(), joined(rest, op)?));
    }
    conditions.pop()
}

fn combined(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) }
}

fn nested(expr: Expr) -> Expr {
    match expr {
        Expr::Value(ref value) if value.value == Value::Null => expr,
        other => Expr::Nested(Box::new(other)),
    }
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
    use datafusion::sql::sqlparser::parser::Parser;

    use super::*;

    #[test]
    fn rows_are_compared_column_by_column() {
        for (text, expected) in [
            ("(a, b) = (1, 2)", "(a = 1 AND b = 2)"),
            ("ROW(a, b) <> ROW(1, 2)", "(a <> 1 OR b <> 2)"),
            ("(a, b) <= (1, 2)", "(a < 1 OR (a = 1 AND (b <= 2)))"),
            ("(a, b) NOT IN ((1, 2), (3, 4))", "NOT ((a = 1 AND b = 2) OR (a = 3 AND b = 4))"),
            ("(a, b) = (1, 2, 3)", "(a, b) = (1, 2, 3)"),
            ("a = 1", "a = 1"),
        ] {
            let mut expr = Parser::new(&PostgreSqlDialect {}).try_with_sql(text).unwrap().parse_expr().unwrap();
            rewrite(&mut expr).unwrap();
            assert_eq!(expr.to_string(), expected);
        }
        for (text, is_refused) in [
            ("(random(), 1) < (0.5, 2)", true),
            ("(1, random()) < (1, 2)", false),
            ("(random(), 1) = (0.5, 2)", false),
            ("(random(), 1) IN ((0.5, 2), (0.1, 1))", true),
        ] {
            let mut expr = Parser::new(&PostgreSqlDialect {}).try_with_sql(text).unwrap().parse_expr().unwrap();
            assert_eq!(rewrite(&mut expr).is_err(), is_refused, "{text}");
        }
    }
}
