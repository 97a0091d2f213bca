//! How deep an expression may be for the planner, whose work grows faster than the depth of what it plans.
//!
//! Long chains of AND and OR, which programs generate, are associative: they are rebuilt as balanced trees first. What is
//! still deep after that (a sum of hundreds of terms) is refused.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, TableFactor, VisitMut, VisitorMut};

use crate::error::{Diagnosis, Limit, sqlstate};

/// The deepest expression that is planned.
pub const EXPRESSION_DEPTH_MAX: usize = 256;
/// The deepest nesting of subqueries in expressions: the engine's work doubles with each level.
pub const SUBQUERY_DEPTH_MAX: usize = 12;
/// The most tables, subqueries and functions in FROM: a plan is as deep as its joins are many.
pub const RELATIONS_MAX: usize = 1_000;
/// Shorter chains are left as they are.
const CHAIN_MIN: usize = 16;

/// Balances chains and measures what is left.
///
/// # Errors
/// 54001 beyond [`EXPRESSION_DEPTH_MAX`], [`SUBQUERY_DEPTH_MAX`] or [`RELATIONS_MAX`].
pub fn bound(tree: &mut impl VisitMut) -> Result<(), Diagnosis> {
    match VisitMut::visit(tree, &mut Depth { current: 0, subqueries: 0, relations: 0 }) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(Deep::Subqueries) => {
            Err(Diagnosis::new(sqlstate::STATEMENT_TOO_COMPLEX, "subqueries are nested too deep")
                .with_detail(format!("At most {SUBQUERY_DEPTH_MAX} subqueries in expressions may stand inside each other."))
                .at(Limit::Complexity))
        }
        ControlFlow::Break(Deep::Relations) => {
            Err(Diagnosis::new(sqlstate::STATEMENT_TOO_COMPLEX, "statement joins too many relations")
                .with_detail(format!("At most {RELATIONS_MAX} are allowed."))
                .at(Limit::Complexity))
        }
        ControlFlow::Break(Deep::Operators) => {
            Err(Diagnosis::new(sqlstate::STATEMENT_TOO_COMPLEX, "expression is nested too deep")
                .with_detail(format!("At most {EXPRESSION_DEPTH_MAX} operators may stand inside each other."))
                .with_hint("Use a list, an array or an aggregate.")
                .at(Limit::Complexity))
        }
    }
}

struct Depth {
    current: usize,
    subqueries: usize,
    relations: usize,
}

/// What there is too much of.
enum Deep {
    Operators,
    Subqueries,
    Relations,
}

fn is_subquery(expr: &Expr) -> bool {
    matches!(expr, Expr::Subquery(_) | Expr::Exists { .. } | Expr::InSubquery { .. })
}

impl VisitorMut for Depth {
    type Break = Deep;

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Deep> {
        balance(expr);
        self.current += 1;
        self.subqueries += usize::from(is_subquery(expr));
        if self.subqueries > SUBQUERY_DEPTH_MAX {
            return ControlFlow::Break(Deep::Subqueries);
        }
        if self.current > EXPRESSION_DEPTH_MAX { ControlFlow::Break(Deep::Operators) } else { ControlFlow::Continue(()) }
    }

    fn pre_visit_table_factor(&mut self, _relation: &mut TableFactor) -> ControlFlow<Deep> {
        self.relations += 1;
        if self.relations > RELATIONS_MAX { ControlFlow::Break(Deep::Relations) } else { ControlFlow::Continue(()) }
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Deep> {
        self.subqueries = self.subqueries.saturating_sub(usize::from(is_subquery(expr)));
        self.current = self.current.saturating_sub(1);
        ControlFlow::Continue(())
    }
}

fn associative(expr: &Expr) -> Option<BinaryOperator> {
    match expr {
        Expr::BinaryOp { op: op @ (BinaryOperator::And | BinaryOperator::Or), .. } => Some(op.clone()),
        _ => None,
    }
}

/// Rebuilds a long chain of one operator, in order, so that its depth is the logarithm of its length.
fn balance(expr: &mut Expr) {
    let Some(op) = associative(expr) else { return };
    let is_chained = |side: &Expr| associative(side).as_ref() == Some(&op);
    let Expr::BinaryOp { left, right, .. } = expr else { return };
    if !is_chained(left) && !is_chained(right) {
        return;
    }
    let chain =
        std::mem::replace(expr, Expr::Wildcard(datafusion::sql::sqlparser::ast::helpers::attached_token::AttachedToken::empty()));
    let operands = flatten(chain, &op);
    *expr = if operands.len() < CHAIN_MIN { fold_left(operands, &op) } else { build(operands, &op) };
}

fn flatten(chain: Expr, op: &BinaryOperator) -> Vec<Expr> {
    let mut operands = Vec::new();
    let mut pending = vec![chain];
    while let Some(next) = pending.pop() {
        match next {
            Expr::BinaryOp { left, op: found, right } if found == *op => {
                pending.push(*right);
                pending.push(*left);
            }
            other => operands.push(other),
        }
    }
    operands
}

fn join(left: Expr, op: &BinaryOperator, right: Expr) -> Expr {
    Expr::BinaryOp { left: Box::new(left), op: op.clone(), right: Box::new(right) }
}

fn fold_left(operands: Vec<Expr>, op: &BinaryOperator) -> Expr {
    let folded = operands.into_iter().reduce(|left, right| join(left, op, right));
    // A chain has at least two operands.
    folded.unwrap_or_else(|| Expr::value(datafusion::sql::sqlparser::ast::Value::Null))
}

fn build(mut operands: Vec<Expr>, op: &BinaryOperator) -> Expr {
    while operands.len() > 1 {
        let mut halved = Vec::with_capacity(operands.len().div_ceil(2));
        let mut rest = operands.into_iter();
        while let Some(left) = rest.next() {
            halved.push(match rest.next() {
                Some(right) => join(left, op, right),
                None => left,
            });
        }
        operands = halved;
    }
    fold_left(operands, op)
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::{dialect::PostgreSqlDialect, parser::Parser};

    use super::*;

    fn check(condition: &str) -> Result<String, String> {
        let sql = format!("SELECT 1 WHERE {condition}");
        let mut query = *Parser::new(&PostgreSqlDialect {}).try_with_sql(&sql).unwrap().parse_query().unwrap();
        bound(&mut query).map(|()| query.to_string()).map_err(|error| error.sqlstate)
    }

    #[test]
    fn chains_keep_their_operands_in_order_and_lose_their_depth() {
        let terms: Vec<String> = (0..5_000).map(|number| format!("a = {number}")).collect();
        let balanced = check(&terms.join(" OR ")).unwrap();
        assert_eq!(balanced.matches("a = ").count(), 5_000);
        let places: Vec<usize> = [0, 1, 2_500, 4_999]
            .iter()
            .map(|number| balanced.find(&format!("a = {number} ")).or_else(|| balanced.find(&format!("a = {number}"))).unwrap())
            .collect();
        assert!(places.is_sorted());
        assert_eq!(check("a AND b OR c AND d"), Ok("SELECT 1 WHERE a AND b OR c AND d".to_owned()));
    }

    #[test]
    fn what_stays_deep_is_refused() {
        assert_eq!(check(&format!("0 < 1{}", " + 1".repeat(1_000))), Err("54001".to_owned()));
        assert!(check(&format!("0 < 1{}", " + 1".repeat(100))).is_ok());
    }

    #[test]
    fn subqueries_inside_each_other_are_counted_and_not_those_beside() {
        let nested = |levels: usize| format!("1 = {}1{}", "(SELECT ".repeat(levels), ")".repeat(levels));
        assert!(check(&nested(SUBQUERY_DEPTH_MAX)).is_ok());
        assert_eq!(check(&nested(SUBQUERY_DEPTH_MAX + 1)), Err("54001".to_owned()));
        assert!(check(&vec!["EXISTS (SELECT 1)"; 100].join(" AND ")).is_ok());
    }
}
