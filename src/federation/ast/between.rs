//! `x BETWEEN SYMMETRIC a AND b`: between the bounds in either order, as PostgreSQL's parse analysis spells it out.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, UnaryOperator, Value, visit_expressions};

use crate::error::{Diagnosis, Limit, sqlstate};

/// The most expressions below one BETWEEN SYMMETRIC. Its parts are written twice, so nesting doubles them each time.
const PARTS_MAX: usize = 300;

/// Gives a BETWEEN whose lower bound begins with the mark of [`super::tokens`] its meaning; its parts are right already.
///
/// # Errors
/// 54001 when its parts are too large to be written twice.
pub(super) fn rewrite(expr: &mut Expr) -> Result<(), Diagnosis> {
    let Expr::Between { low, .. } = expr else { return Ok(()) };
    let Some(mark) = marked(low) else { return Ok(()) };
    if let Expr::UnaryOp { expr: inner, .. } = take(mark) {
        *mark = *inner;
    }
    let mut parts = 0_usize;
    let _: ControlFlow<()> = visit_expressions(&*expr, |_| {
        parts += 1;
        ControlFlow::Continue(())
    });
    if parts > PARTS_MAX {
        return Err(Diagnosis::new(sqlstate::STATEMENT_TOO_COMPLEX, "operands of BETWEEN SYMMETRIC are too large")
            .with_detail(format!("At most {PARTS_MAX} expressions are allowed below it."))
            .at(Limit::Complexity));
    }
    if let Expr::Between { expr: subject, negated, low, high } = take(expr) {
        let there = Expr::Between { expr: subject.clone(), negated, low: low.clone(), high: high.clone() };
        let back = Expr::Between { expr: subject, negated, low: high, high: low };
        let op = if negated { BinaryOperator::And } else { BinaryOperator::Or };
        *expr = Expr::Nested(Box::new(Expr::BinaryOp { left: Box::new(there), op, right: Box::new(back) }));
    }
    Ok(())
}

fn take(expr: &mut Expr) -> Expr {
    std::mem::replace(expr, Expr::value(Value::Null))
}

/// The mark stands before the first operand of the lower bound, which operators may follow.
fn marked(low: &mut Expr) -> Option<&mut Expr> {
    match low {
        Expr::UnaryOp { op: UnaryOperator::PGPrefixFactorial, .. } => Some(low),
        Expr::BinaryOp { left, .. } => marked(left),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::ast::{VisitMut, VisitorMut};
    use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
    use datafusion::sql::sqlparser::parser::Parser;

    use super::*;

    struct Pass;

    impl VisitorMut for Pass {
        type Break = String;

        fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<String> {
            rewrite(expr).map_or_else(|error| ControlFlow::Break(error.sqlstate), ControlFlow::Continue)
        }
    }

    fn check(text: &str, expected: Result<&str, &str>) {
        let mut expr = Parser::new(&PostgreSqlDialect {}).try_with_sql(text).unwrap().parse_expr().unwrap();
        let found = match VisitMut::visit(&mut expr, &mut Pass) {
            ControlFlow::Continue(()) => Ok(expr.to_string()),
            ControlFlow::Break(code) => Err(code),
        };
        assert_eq!(found.as_deref().map_err(String::as_str), expected, "{text}");
    }

    #[test]
    fn bounds_are_tried_in_both_orders() {
        check("a BETWEEN !! 1 AND 2", Ok("(a BETWEEN 1 AND 2 OR a BETWEEN 2 AND 1)"));
        check("a NOT BETWEEN !! b + 1 AND c", Ok("(a NOT BETWEEN b + 1 AND c AND a NOT BETWEEN c AND b + 1)"));
        check("a BETWEEN 1 AND 2", Ok("a BETWEEN 1 AND 2"));
        let nested = (0..12).fold("a".to_owned(), |inner, _| format!("({inner}) BETWEEN !! 1 AND 2"));
        check(&nested, Err("54001"));
    }
}
