//! Aggregates and window functions over functions that give another value each time: each call that is written is computed by itself,
//! so that `sum(random()) = sum(random())` is false (PostgreSQL shares the state of equal calls only where they are not volatile).
//!
//! The planner computes equal calls once. So each such call gets a number, which resolution takes away again. A key of ORDER BY that is
//! an output is not computed again, and keeps the numbers of that.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, ObjectNamePart, OrderByExpr, OrderByKind, Query, Select, SelectItem, SetExpr, Value, VisitMut, VisitorMut,
};

use super::dialect::call_with;
use super::name::fold;
use super::volatile;
use crate::federation::semantics::aggregates;

/// The function that resolution takes for its first argument; no client can call it.
const NUMBERED: &str = "pg_evaluated";

/// Numbers the calls of a query and of every query inside it. Its outputs must have been named.
pub(super) fn tell_apart(query: &mut Query) {
    let _: ControlFlow<()> = VisitMut::visit(query, &mut Queries { made: 0 });
}

struct Queries {
    /// The numbers that are taken.
    made: usize,
}

impl VisitorMut for Queries {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        match (query.body.as_mut(), query.order_by.as_mut().map(|order| &mut order.kind)) {
            (SetExpr::Select(select), Some(OrderByKind::Expressions(keys))) => self.select(select, keys),
            (body, _) => self.sides(body),
        }
        ControlFlow::Continue(())
    }
}

impl Queries {
    /// The sides of set operations; those that are queries are visited themselves.
    fn sides(&mut self, body: &mut SetExpr) {
        match body {
            SetExpr::Select(select) => self.select(select, &mut []),
            SetExpr::SetOperation { left, right, .. } => {
                self.sides(left);
                self.sides(right);
            }
            _ => {}
        }
    }

    fn select(&mut self, select: &mut Select, keys: &mut [OrderByExpr]) {
        let place = |key: &OrderByExpr| select.projection.iter().position(|item| output(item) == Some(&key.expr));
        let places: Vec<Option<usize>> = keys.iter().map(place).collect();
        for item in &mut select.projection {
            if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item {
                self.calls(expr);
            }
        }
        if let Some(condition) = &mut select.having {
            self.calls(condition);
        }
        for (key, place) in keys.iter_mut().zip(places) {
            match place.and_then(|place| select.projection.get(place)).and_then(output) {
                Some(known) => key.expr = known.clone(),
                None => self.calls(&mut key.expr),
            }
        }
    }

    fn calls(&mut self, expr: &mut Expr) {
        let _: ControlFlow<()> = VisitMut::visit(expr, &mut Calls { made: &mut self.made, queries: 0 });
    }
}

fn output(item: &SelectItem) -> Option<&Expr> {
    match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => Some(expr),
        _ => None,
    }
}

struct Calls<'m> {
    made: &'m mut usize,
    /// How many subqueries are around.
    queries: usize,
}

impl VisitorMut for Calls<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.queries += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.queries -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if self.queries == 0 && is_call_over_rows(expr) && volatile::changes(&*expr) {
            *self.made += 1;
            let _: ControlFlow<()> = VisitMut::visit(expr, &mut Parts { number: *self.made, queries: 0, compared: 0 });
        }
        ControlFlow::Continue(())
    }
}

/// Puts the number of a call to what changes in it. A subquery gets it as a whole: the planner calls it by its output's name alone.
struct Parts {
    number: usize,
    /// How many subqueries are around.
    queries: usize,
    /// How many comparisons with ANY or ALL are around: their subqueries are no values.
    compared: usize,
}

impl Parts {
    fn is_meant(&self, part: &Expr) -> bool {
        if self.queries > 0 || self.compared > 0 {
            return false;
        }
        match part {
            Expr::Function(function) => volatile::is_volatile(&function.name),
            Expr::Subquery(query) => has_one_output(query) && volatile::changes(query),
            Expr::Exists { .. } | Expr::InSubquery { .. } | Expr::AnyOp { .. } | Expr::AllOp { .. } => volatile::changes(part),
            _ => false,
        }
    }
}

impl VisitorMut for Parts {
    type Break = ();

    fn pre_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.queries += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.queries -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, part: &mut Expr) -> ControlFlow<()> {
        self.compared += usize::from(matches!(part, Expr::AnyOp { .. } | Expr::AllOp { .. }));
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, part: &mut Expr) -> ControlFlow<()> {
        self.compared -= usize::from(matches!(part, Expr::AnyOp { .. } | Expr::AllOp { .. }));
        if self.is_meant(part) {
            let value = std::mem::replace(part, Expr::value(Value::Null));
            *part = call_with(NUMBERED, vec![value, Expr::value(Value::Number(self.number.to_string(), false))]);
        }
        ControlFlow::Continue(())
    }
}

/// Whether a query gives a value, and not a row of several.
fn has_one_output(query: &Query) -> bool {
    matches!(query.body.as_ref(), SetExpr::Select(select) if matches!(select.projection.as_slice(), [item] if output(item).is_some()))
}

/// Whether an expression is the call of an aggregate or of a window function.
fn is_call_over_rows(expr: &Expr) -> bool {
    let Expr::Function(function) = expr else { return false };
    let name = function.name.0.last().and_then(ObjectNamePart::as_ident).map(fold);
    function.over.is_some() || name.is_some_and(|name| aggregates::is_known(&name))
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::{dialect::PostgreSqlDialect, parser::Parser};

    use super::*;

    #[test]
    fn calls_that_change_are_told_apart() {
        for (sql, expected) in [
            (
                "SELECT sum(random()) = sum(random()) FROM t",
                "SELECT sum(pg_evaluated(random(), 1)) = sum(pg_evaluated(random(), 2)) FROM t",
            ),
            (
                "SELECT count(*) FILTER (WHERE random() < 1) AS n, max(x) AS m FROM t HAVING sum(random()) > 1 ORDER BY max(random()), count(*) FILTER (WHERE random() < 1)",
                "SELECT count(*) FILTER (WHERE pg_evaluated(random(), 1) < 1) AS n, max(x) AS m FROM t HAVING sum(pg_evaluated(random(), 2)) > 1 ORDER BY max(pg_evaluated(random(), 3)), count(*) FILTER (WHERE pg_evaluated(random(), 1) < 1)",
            ),
            (
                "SELECT max(random()) OVER () FROM t UNION ALL SELECT (SELECT min(random())) FROM t",
                "SELECT max(pg_evaluated(random(), 1)) OVER () FROM t UNION ALL SELECT (SELECT min(pg_evaluated(random(), 2))) FROM t",
            ),
            (
                "SELECT sum((SELECT random())), sum((SELECT max(random()) + x)), sum((SELECT 1)) FROM t",
                "SELECT sum(pg_evaluated((SELECT random()), 1)), sum(pg_evaluated((SELECT max(pg_evaluated(random(), 3)) + x), 2)), sum((SELECT 1)) FROM t",
            ),
            (
                "SELECT count(*) FILTER (WHERE EXISTS (SELECT random()) AND x = ANY(SELECT random())) FROM t",
                "SELECT count(*) FILTER (WHERE pg_evaluated(EXISTS (SELECT random()), 1) AND pg_evaluated(x = ANY(SELECT random()), 1)) FROM t",
            ),
            (
                "SELECT random(), sum(x), sum(x) FROM t ORDER BY random()",
                "SELECT random(), sum(x), sum(x) FROM t ORDER BY random()",
            ),
        ] {
            let mut query = Parser::new(&PostgreSqlDialect {}).try_with_sql(sql).unwrap().parse_query().unwrap();
            tell_apart(&mut query);
            assert_eq!(query.to_string(), expected);
        }
    }
}
