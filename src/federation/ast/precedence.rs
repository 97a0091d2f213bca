//! `a IS DISTINCT FROM b AND c` means `(a IS DISTINCT FROM b) AND c` (manual, "Operator Precedence"), and the parser reads it
//! as `a IS DISTINCT FROM (b AND c)`. Parentheses stay in the parsed form, so an AND or OR without them shows what it ate.

use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, Value};

/// Gives one expression, whose parts are right already, its Postgres meaning.
pub(super) fn regroup(expr: &mut Expr) {
    match expr {
        Expr::IsDistinctFrom(_, right) | Expr::IsNotDistinctFrom(_, right) if is_logical(right) => {
            let Some((operand, rest)) = split(right) else { return };
            let test = match take(expr) {
                Expr::IsDistinctFrom(left, _) => Expr::IsDistinctFrom(left, Box::new(operand)),
                Expr::IsNotDistinctFrom(left, _) => Expr::IsNotDistinctFrom(left, Box::new(operand)),
                other => other,
            };
            *expr = put_first(rest, test);
        }
        // What stands before binds tighter than the OR, or the NOT tighter than either, that came out of a test.
        Expr::UnaryOp { op: datafusion::sql::sqlparser::ast::UnaryOperator::Not, expr: inner } if is_logical(inner) => {
            let Some((operand, rest)) = split(inner) else { return };
            let negated = Expr::UnaryOp { op: datafusion::sql::sqlparser::ast::UnaryOperator::Not, expr: Box::new(operand) };
            *expr = put_first(rest, negated);
        }
        Expr::BinaryOp { op: BinaryOperator::And, right, .. } if is_or(right) => {
            let Some((operand, rest)) = split_or(right) else { return };
            if let Expr::BinaryOp { left, op, .. } = take(expr) {
                *expr = put_first(rest, Expr::BinaryOp { left, op, right: Box::new(operand) });
            }
        }
        _ => {}
    }
}

fn take(expr: &mut Expr) -> Expr {
    std::mem::replace(expr, Expr::value(Value::Null))
}

fn is_logical(expr: &Expr) -> bool {
    matches!(expr, Expr::BinaryOp { op: BinaryOperator::And | BinaryOperator::Or, .. })
}

fn is_or(expr: &Expr) -> bool {
    matches!(expr, Expr::BinaryOp { op: BinaryOperator::Or, .. })
}

/// The first operand of a chain of AND and OR, and the chain with a gap in its place.
fn split(chain: &mut Expr) -> Option<(Expr, Expr)> {
    let operand = take(first(chain, is_logical)?);
    Some((operand, take(chain)))
}

/// The first operand of a chain of OR, which may be a chain of AND.
fn split_or(chain: &mut Expr) -> Option<(Expr, Expr)> {
    let operand = take(first(chain, is_or)?);
    Some((operand, take(chain)))
}

/// Fills the gap that [`split`] left.
fn put_first(mut chain: Expr, operand: Expr) -> Expr {
    let is_gap = |expr: &Expr| !matches!(expr, Expr::BinaryOp { op: BinaryOperator::And | BinaryOperator::Or, .. });
    if let Some(gap) = first(&mut chain, |expr| !is_gap(expr)) {
        *gap = operand;
    }
    chain
}

/// The leftmost part that `goes_on` does not lead further into; `None` when `chain` itself is that part.
fn first(chain: &mut Expr, goes_on: impl Fn(&Expr) -> bool) -> Option<&mut Expr> {
    if !goes_on(chain) {
        return None;
    }
    let mut node = chain;
    loop {
        if !goes_on(node) {
            return Some(node);
        }
        match node {
            Expr::BinaryOp { left, .. } => node = left,
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use datafusion::sql::sqlparser::ast::{VisitMut, VisitorMut};
    use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
    use datafusion::sql::sqlparser::parser::Parser;

    use super::*;

    struct Pass;

    impl VisitorMut for Pass {
        type Break = ();

        fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
            regroup(expr);
            ControlFlow::Continue(())
        }
    }

    /// With every group in brackets.
    fn shown(expr: &Expr) -> String {
        match expr {
            Expr::BinaryOp { left, op, right } => format!("[{} {op} {}]", shown(left), shown(right)),
            Expr::IsDistinctFrom(left, right) => format!("[{} <d> {}]", shown(left), shown(right)),
            Expr::UnaryOp { op, expr } => format!("[{op} {}]", shown(expr)),
            Expr::Nested(inner) => shown(inner),
            other => other.to_string(),
        }
    }

    #[test]
    fn tests_of_difference_bind_tighter_than_logic() {
        for (text, expected) in [
            ("a IS DISTINCT FROM b AND c", "[[a <d> b] AND c]"),
            ("a IS DISTINCT FROM b OR c AND d", "[[a <d> b] OR [c AND d]]"),
            ("a IS DISTINCT FROM b AND c OR d", "[[[a <d> b] AND c] OR d]"),
            ("x AND a IS DISTINCT FROM b OR c", "[[x AND [a <d> b]] OR c]"),
            ("x OR a IS DISTINCT FROM b AND c", "[x OR [[a <d> b] AND c]]"),
            ("x AND a IS DISTINCT FROM b AND c OR d", "[[x AND [[a <d> b] AND c]] OR d]"),
            ("NOT a IS DISTINCT FROM b AND c", "[[NOT [a <d> b]] AND c]"),
            ("a IS DISTINCT FROM (b AND c)", "[a <d> [b AND c]]"),
            ("a IS DISTINCT FROM b OR c IS DISTINCT FROM d AND e", "[[a <d> b] OR [[c <d> d] AND e]]"),
            ("a AND (b OR c)", "[a AND [b OR c]]"),
        ] {
            let mut expr = Parser::new(&PostgreSqlDialect {}).try_with_sql(text).unwrap().parse_expr().unwrap();
            let _: ControlFlow<()> = VisitMut::visit(&mut expr, &mut Pass);
            assert_eq!(shown(&expr), expected, "{text}");
        }
    }
}
