//! HAVING where the planner wants more than PostgreSQL: without GROUP BY and without an aggregate all rows are one group, and a
//! condition that is not boolean is told as that of HAVING.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, GroupByExpr, ObjectNamePart, Select, SelectItem, Value, visit_expressions,
};

use super::dialect::{call, call_with};
use super::name::fold;
use crate::federation::semantics::aggregates;

/// The function that resolution takes for "argument of HAVING"; no client can call it.
const CONDITION: &str = "pg_having";

/// Gives HAVING a form that the planner takes.
pub(super) fn rewrite(select: &mut Select) {
    if select.having.is_none() {
        return;
    }
    let groups_all = matches!(&select.group_by, GroupByExpr::Expressions(keys, _) if keys.is_empty());
    let aggregates_items = select.projection.iter().any(|item| match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => has_aggregate(expr),
        _ => false,
    });
    let Some(condition) = &mut select.having else { return };
    let is_aggregated = aggregates_items || has_aggregate(condition);
    if may_be_other_than_boolean(condition) {
        *condition = call(CONDITION, take(condition));
    }
    if groups_all && !is_aggregated {
        // The count is never NULL, and makes the rows one group.
        let counted = Expr::IsNotNull(Box::new(call_with("count", vec![Expr::value(Value::Number("1".to_owned(), false))])));
        let own = Expr::Nested(Box::new(take(condition)));
        *condition = Expr::BinaryOp { left: Box::new(counted), op: BinaryOperator::And, right: Box::new(own) };
    }
}

fn take(expr: &mut Expr) -> Expr {
    std::mem::replace(expr, Expr::value(Value::Null))
}

fn has_aggregate(expr: &Expr) -> bool {
    let found = visit_expressions(expr, |part| match part {
        Expr::Function(function) if function.over.is_none() => {
            let name = function.name.0.last().and_then(ObjectNamePart::as_ident).map(fold);
            if name.is_some_and(|name| aggregates::is_known(&name)) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }
        _ => ControlFlow::Continue(()),
    });
    found.is_break()
}

/// Whether the form of a condition leaves open that it is a boolean.
fn may_be_other_than_boolean(expr: &Expr) -> bool {
    match expr {
        Expr::Nested(inner) => may_be_other_than_boolean(inner),
        Expr::Value(value) => !matches!(value.value, Value::Boolean(_) | Value::Null),
        Expr::Function(_) | Expr::Identifier(_) | Expr::CompoundIdentifier(_) | Expr::Cast { .. } => true,
        Expr::BinaryOp { op, .. } => {
            use BinaryOperator::{Divide, Minus, Modulo, Multiply, Plus, StringConcat};
            matches!(op, Plus | Minus | Multiply | Divide | Modulo | StringConcat)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::ast::SetExpr;
    use datafusion::sql::sqlparser::{dialect::PostgreSqlDialect, parser::Parser};

    use super::*;

    fn check(having: &str, expected: &str) {
        let sql = format!("SELECT 1 FROM t {having}");
        let mut query = Parser::new(&PostgreSqlDialect {}).try_with_sql(&sql).unwrap().parse_query().unwrap();
        if let SetExpr::Select(select) = query.body.as_mut() {
            rewrite(select);
        }
        assert_eq!(query.to_string(), format!("SELECT 1 FROM t {expected}"));
    }

    #[test]
    fn all_rows_are_one_group() {
        check("HAVING true", "HAVING count(1) IS NOT NULL AND (true)");
        check("HAVING 1 > 2 OR false", "HAVING count(1) IS NOT NULL AND (1 > 2 OR false)");
        for unchanged in ["HAVING max(a) > 1", "GROUP BY a HAVING a > 1", "GROUP BY a"] {
            check(unchanged, unchanged);
        }
    }

    #[test]
    fn a_condition_that_may_be_no_boolean_is_marked() {
        check("HAVING sum(a)", "HAVING pg_having(sum(a))");
        check("GROUP BY a HAVING a", "GROUP BY a HAVING pg_having(a)");
        check("HAVING 1", "HAVING count(1) IS NOT NULL AND (pg_having(1))");
    }
}
