//! Forms of GROUP BY and DISTINCT ON that the planner reads otherwise: ordinals within grouping sets, and repetitions.

use datafusion::sql::sqlparser::ast::{Distinct, Expr, GroupByExpr, OrderByKind, Query, Select, SelectItem, SetExpr, Value};

/// Replaces ordinals within grouping sets by what they stand for. The planner does so for plain GROUP BY only, and would group
/// by the numbers.
pub(super) fn resolve_ordinals(select: &mut Select) {
    let GroupByExpr::Expressions(groups, _) = &mut select.group_by else { return };
    for group in groups {
        if let Expr::Rollup(sets) | Expr::Cube(sets) | Expr::GroupingSets(sets) = group {
            for member in sets.iter_mut().flatten() {
                if let Some(meant) = ordinal(member).and_then(|place| item(&select.projection, place)) {
                    *member = meant;
                }
            }
        }
    }
}

fn ordinal(expr: &Expr) -> Option<usize> {
    let Expr::Value(value) = expr else { return None };
    let Value::Number(text, _) = &value.value else { return None };
    text.parse::<usize>().ok()?.checked_sub(1)
}

/// An item of a SELECT list by its place; `None` behind wildcards, whose columns are not known yet.
fn item(items: &[SelectItem], place: usize) -> Option<Expr> {
    let is_one = |item: &SelectItem| matches!(item, SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. });
    if !items.iter().take(place).all(is_one) {
        return None;
    }
    match items.get(place)? {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => Some(expr.clone()),
        _ => None,
    }
}

/// Takes repetitions out of DISTINCT ON and its ORDER BY, which must begin alike: the second time an expression is named says
/// nothing more, whatever its direction.
pub(super) fn drop_repetitions(query: &mut Query) {
    let SetExpr::Select(select) = query.body.as_mut() else { return };
    let Some(Distinct::On(keys)) = &mut select.distinct else { return };
    retain_first(keys, |key| key);
    if let Some(order) = &mut query.order_by
        && let OrderByKind::Expressions(keys) = &mut order.kind
    {
        retain_first(keys, |key| &key.expr);
    }
}

fn retain_first<T>(keys: &mut Vec<T>, expr: impl Fn(&T) -> &Expr) {
    let mut kept: Vec<T> = Vec::with_capacity(keys.len());
    for key in std::mem::take(keys) {
        if !kept.iter().any(|known| expr(known) == expr(&key)) {
            kept.push(key);
        }
    }
    *keys = kept;
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::ast::Statement;
    use datafusion::sql::sqlparser::{dialect::PostgreSqlDialect, parser::Parser};

    use super::*;

    #[test]
    fn ordinals_and_repetitions_are_resolved() {
        let rows = [
            ("SELECT a, b AS x FROM t GROUP BY ROLLUP (1, 2)", "SELECT a, b AS x FROM t GROUP BY ROLLUP (a, b)"),
            (
                "SELECT a, b FROM t GROUP BY GROUPING SETS ((1), (2, 1), ())",
                "SELECT a, b FROM t GROUP BY GROUPING SETS ((a), (b, a), ())",
            ),
            ("SELECT a FROM t GROUP BY CUBE (1, 3)", "SELECT a FROM t GROUP BY CUBE (a, 3)"),
            ("SELECT * FROM t GROUP BY ROLLUP (2)", "SELECT * FROM t GROUP BY ROLLUP (2)"),
            ("SELECT a FROM t GROUP BY 1", "SELECT a FROM t GROUP BY 1"),
            ("SELECT DISTINCT ON (a, a) b FROM t ORDER BY a, a DESC, c", "SELECT DISTINCT ON (a) b FROM t ORDER BY a, c"),
            ("SELECT b FROM t ORDER BY a, a DESC", "SELECT b FROM t ORDER BY a, a DESC"),
        ];
        for (sql, expected) in rows {
            let mut parsed = Parser::parse_sql(&PostgreSqlDialect {}, sql).unwrap();
            let Some(Statement::Query(query)) = parsed.first_mut() else { panic!("{sql}") };
            drop_repetitions(query);
            if let SetExpr::Select(select) = query.body.as_mut() {
                resolve_ordinals(select);
            }
            assert_eq!(query.to_string(), expected, "{sql}");
        }
    }
}
