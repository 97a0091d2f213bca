//! `a IS DISTINCT FROM b AND c` means `(a IS DISTINCT FROM b) AND c` (manual, "Operator Precedence"), and the parser reads it
//! as `a IS DISTINCT FROM (b AND c)`. Parentheses stay in the parsed form, so an AND or OR without them shows what it ate.
//!
//! A sign binds tighter than `^`, and `~ @ |/ ||/` bind looser than `+` and `-`; the parser has both the other way round.

use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, UnaryOperator, Value};

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
        Expr::UnaryOp { op: UnaryOperator::Not, expr: inner } if is_logical(inner) => {
            let Some((operand, rest)) = split(inner) else { return };
            let negated = Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(operand) };
            *expr = put_first(rest, negated);
        }
        Expr::BinaryOp { op: BinaryOperator::And, right, .. } if is_or(right) => {
            let Some((operand, rest)) = split_or(right) else { return };
            if let Expr::BinaryOp { left, op, .. } = take(expr) {
                *expr = put_first(rest, Expr::BinaryOp { left, op, right: Box::new(operand) });
            }
        }
        Expr::UnaryOp { op: UnaryOperator::Minus | UnaryOperator::Plus, expr: inner } if is_power(inner) => {
            let Some(base) = first(inner, is_power).map(take) else { return };
            if let Expr::UnaryOp { op, expr: mut power } = take(expr) {
                if let Some(gap) = first(&mut power, is_power) {
                    *gap = Expr::UnaryOp { op, expr: Box::new(base) };
                }
                *expr = *power;
            }
        }
        // What a sign let go of: `a ^ -b ^ c` is `(a ^ -b) ^ c`.
        Expr::BinaryOp { op: BinaryOperator::PGExp, right, .. } if is_power(right) => {
            let Some(exponent) = first(right, is_power).map(take) else { return };
            if let Expr::BinaryOp { left, op, right: mut power } = take(expr) {
                if let Some(gap) = first(&mut power, is_power) {
                    *gap = Expr::BinaryOp { left, op, right: Box::new(exponent) };
                }
                *expr = *power;
            }
        }
        Expr::BinaryOp { op: BinaryOperator::Plus | BinaryOperator::Minus, left, .. } if ends_open(left) => {
            let Expr::BinaryOp { mut left, op, right } = take(expr) else { return };
            if let Some(operand) = open_prefix(&mut left) {
                *operand = Expr::BinaryOp { left: Box::new(take(operand)), op, right };
            }
            *expr = *left;
        }
        _ => {}
    }
}

fn is_power(expr: &Expr) -> bool {
    matches!(expr, Expr::BinaryOp { op: BinaryOperator::PGExp, .. })
}

/// The operand of the last prefix operator that nothing closes, so that it goes on with what follows: `5` in `a * ~ 5`.
fn open_prefix(expr: &mut Expr) -> Option<&mut Expr> {
    if !ends_open(expr) {
        return None;
    }
    match expr {
        Expr::UnaryOp { expr: inner, .. } => {
            if ends_open(inner) {
                open_prefix(inner)
            } else {
                Some(inner)
            }
        }
        Expr::BinaryOp { right, .. } => open_prefix(right),
        _ => None,
    }
}

fn ends_open(expr: &Expr) -> bool {
    use UnaryOperator::{BitwiseNot, PGAbs, PGCubeRoot, PGSquareRoot};
    match expr {
        Expr::UnaryOp { op: BitwiseNot | PGAbs | PGCubeRoot | PGSquareRoot, .. } => true,
        Expr::UnaryOp { expr: inner, .. } => ends_open(inner),
        Expr::BinaryOp { right, .. } => ends_open(right),
        _ => false,
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
            ("-2 ^ 2", "[[- 2] ^ 2]"),
            ("-a ^ b ^ c * 2", "[[[[- a] ^ b] ^ c] * 2]"),
            ("-(2 ^ 2)", "[- [2 ^ 2]]"),
            ("2 ^ -3 ^ 2", "[[2 ^ [- 3]] ^ 2]"),
            ("~ 5 + 1", "[~ [5 + 1]]"),
            ("~ 5 * 2 + 1 - 3", "[~ [[[5 * 2] + 1] - 3]]"),
            ("a * ~ @ b + 1", "[a * [~ [@ [b + 1]]]]"),
            ("(~ 5) + 1", "[[~ 5] + 1]"),
            ("|/ 16 + 9 < 6", "[[|/ [16 + 9]] < 6]"),
        ] {
            let mut expr = Parser::new(&PostgreSqlDialect {}).try_with_sql(text).unwrap().parse_expr().unwrap();
            let _: ControlFlow<()> = VisitMut::visit(&mut expr, &mut Pass);
            assert_eq!(shown(&expr), expected, "{text}");
        }
    }
}
