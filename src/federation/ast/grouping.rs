//! Forms of GROUP BY and DISTINCT ON that the planner reads otherwise: ordinals within grouping sets, and repetitions.

use datafusion::sql::sqlparser::ast::{Distinct, Expr, GroupByExpr, Ident, OrderByKind, Query, Select, SelectItem, SetExpr, Value};

use super::dialect::call_with;
use super::name::figure_name;

/// Most expressions of a CUBE that is written out: PostgreSQL takes no more.
const CUBE_MAX: usize = 12;

/// Replaces ordinals within grouping sets by what they stand for. The planner does so for plain GROUP BY only, and would group
/// by the numbers. Two outputs that ordinals name are grouped apart even if they are the same: a set may show only one of them.
pub(super) fn resolve_ordinals(select: &mut Select) {
    let GroupByExpr::Expressions(groups, _) = &mut select.group_by else { return };
    let mut named: Vec<(usize, Expr)> = Vec::new();
    for group in groups {
        let (Expr::Rollup(sets) | Expr::Cube(sets) | Expr::GroupingSets(sets)) = &mut *group else { continue };
        for member in sets.iter_mut().flatten() {
            let place = ordinal(member).or_else(|| first_like(&select.projection, member));
            if let Some(place) = place
                && let Some(meant) = item(&select.projection, place)
            {
                *member = told_apart(&mut named, place, meant);
            }
        }
        drop_repeated_members(group);
    }
    for (place, expr) in named {
        let Some(item) = select.projection.get_mut(place) else { continue };
        let alias = match item {
            SelectItem::ExprWithAlias { expr: shown, alias } if *shown != expr => alias.clone(),
            SelectItem::UnnamedExpr(shown) if *shown != expr => Ident::with_quote('"', figure_name(shown)),
            _ => continue,
        };
        *item = SelectItem::ExprWithAlias { expr, alias };
    }
}

/// The place of the first item that is this expression.
fn first_like(items: &[SelectItem], expr: &Expr) -> Option<usize> {
    items.iter().position(
        |item| matches!(item, SelectItem::UnnamedExpr(found) | SelectItem::ExprWithAlias { expr: found, .. } if found == expr),
    )
}

/// An item as an expression that no item at another place is.
fn told_apart(named: &mut Vec<(usize, Expr)>, place: usize, meant: Expr) -> Expr {
    if let Some((_, known)) = named.iter().find(|(known, _)| *known == place) {
        return known.clone();
    }
    let mut own = meant;
    while named.iter().any(|(_, known)| *known == own) {
        own = call_with("coalesce", vec![own, Expr::value(Value::Null)]);
    }
    named.push((place, own.clone()));
    own
}

/// Takes repetitions out of each grouping set. ROLLUP and CUBE over one expression twice are written out: the planner would
/// name a column of it twice.
fn drop_repeated_members(group: &mut Expr) {
    let is_repeated = |sets: &[Vec<Expr>]| {
        let members: Vec<&Expr> = sets.iter().flatten().collect();
        members.iter().enumerate().any(|(place, member)| members[..place].contains(member))
    };
    let joined = |sets: &[Vec<Expr>], keep: &dyn Fn(usize) -> bool| -> Vec<Expr> {
        sets.iter().enumerate().filter(|(place, _)| keep(*place)).flat_map(|(_, set)| set.clone()).collect()
    };
    let mut sets: Vec<Vec<Expr>> = match group {
        Expr::Rollup(sets) if is_repeated(sets) => {
            (0..=sets.len()).rev().map(|length| joined(sets, &|place| place < length)).collect()
        }
        Expr::Cube(sets) if is_repeated(sets) && sets.len() <= CUBE_MAX => {
            (0..1_usize << sets.len()).rev().map(|chosen| joined(sets, &|place| chosen & (1 << place) != 0)).collect()
        }
        Expr::GroupingSets(sets) => std::mem::take(sets),
        _ => return,
    };
    for set in &mut sets {
        retain_first(set, |member| member);
    }
    *group = Expr::GroupingSets(sets);
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
            (
                "SELECT a, a AS x FROM t GROUP BY ROLLUP (1, 2)",
                "SELECT a, coalesce(a, NULL) AS x FROM t GROUP BY ROLLUP (a, coalesce(a, NULL))",
            ),
            ("SELECT a, a FROM t GROUP BY CUBE (2)", "SELECT a, a FROM t GROUP BY CUBE (a)"),
            (
                "SELECT a, a FROM t GROUP BY GROUPING SETS ((a), (2))",
                "SELECT a, coalesce(a, NULL) AS \"a\" FROM t GROUP BY GROUPING SETS ((a), (coalesce(a, NULL)))",
            ),
            ("SELECT a, a FROM t GROUP BY ROLLUP (a, a)", "SELECT a, a FROM t GROUP BY GROUPING SETS ((a), (a), ())"),
            ("SELECT a FROM t GROUP BY CUBE (a, 1)", "SELECT a FROM t GROUP BY GROUPING SETS ((a), (a), (a), ())"),
            ("SELECT 1 FROM t GROUP BY GROUPING SETS ((b, b), (b))", "SELECT 1 FROM t GROUP BY GROUPING SETS ((b), (b))"),
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
