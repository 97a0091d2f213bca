//! `SELECT name, unnest(words) FROM people ORDER BY id`: keys that are no outputs of a select list with sets.
//!
//! PostgreSQL computes such a key for the row that the sets are expanded from. The planner looks for it above the expanded rows,
//! where it is not. So the key becomes an output of a query in FROM, beside the sets, and the query itself orders by that.

use datafusion::sql::sqlparser::ast::{
    Distinct, Expr, GroupByExpr, Ident, OrderBy, OrderByKind, Query, Select, SelectItem, SetExpr, TableAlias, TableFactor,
    TableWithJoins,
};

use super::HIDDEN;
use super::name::fold;
use super::sets::holds_set;

/// Moves the select list of a query below its order, where a key needs it. Tells whether it did.
pub(super) fn keys_as_outputs(query: &mut Query) -> bool {
    let Some(OrderBy { kind: OrderByKind::Expressions(keys), .. }) = &mut query.order_by else { return false };
    let SetExpr::Select(select) = query.body.as_mut() else { return false };
    // Of distinct rows, PostgreSQL orders by outputs only.
    let is_plain = matches!(select.distinct, None | Some(Distinct::All));
    if !is_plain || !(keys.iter().any(|key| holds_set(&key.expr)) || select.projection.iter().any(is_of_sets)) {
        return false;
    }
    let Some(outputs) = select.projection.iter().map(output).collect::<Option<Vec<_>>>() else { return false };
    let known: Vec<Option<Expr>> = keys.iter().map(|key| outside(&key.expr, &outputs)).collect();
    if known.iter().all(Option::is_some) {
        return false;
    }
    let shown = outputs.iter().map(|(_, name)| SelectItem::UnnamedExpr(Expr::Identifier(quoted(name)))).collect();
    for (place, (key, known)) in keys.iter_mut().zip(known).enumerate() {
        let alias = quoted(&format!("order{HIDDEN}{place}"));
        let is_own = known.is_none();
        let expr = std::mem::replace(&mut key.expr, known.unwrap_or_else(|| Expr::Identifier(alias.clone())));
        if is_own {
            select.projection.push(SelectItem::ExprWithAlias { expr, alias });
        }
    }
    move_below(select, shown);
    true
}

fn is_of_sets(item: &SelectItem) -> bool {
    matches!(item, SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } if holds_set(expr))
}

/// An output and its name; `None` for a wildcard, whose names are not known here.
fn output(item: &SelectItem) -> Option<(&Expr, String)> {
    match item {
        SelectItem::ExprWithAlias { expr, alias } => Some((expr, fold(alias))),
        SelectItem::UnnamedExpr(expr) => match expr {
            Expr::Identifier(ident) => Some((expr, fold(ident))),
            Expr::CompoundIdentifier(parts) => Some((expr, fold(parts.last()?))),
            _ => None,
        },
        _ => None,
    }
}

/// A key that is an output, by name, by place or by being the same expression, as a key over the outputs.
fn outside(key: &Expr, outputs: &[(&Expr, String)]) -> Option<Expr> {
    match key {
        Expr::Nested(inner) => outside(inner, outputs),
        Expr::Value(_) => Some(key.clone()),
        _ => {
            let by_name = |name: &str| matches!(key, Expr::Identifier(ident) if fold(ident) == name);
            let named = outputs.iter().find(|(_, name)| by_name(name));
            let found = named.or_else(|| outputs.iter().find(|(expr, _)| *expr == key));
            found.map(|(_, name)| Expr::Identifier(quoted(name)))
        }
    }
}

fn quoted(name: &str) -> Ident {
    Ident::with_quote('"', name)
}

/// Makes a select a query in FROM, of whose columns `shown` are the outputs.
fn move_below(select: &mut Select, shown: Vec<SelectItem>) {
    let below = Select {
        projection: std::mem::replace(&mut select.projection, shown),
        from: std::mem::take(&mut select.from),
        selection: select.selection.take(),
        group_by: std::mem::replace(&mut select.group_by, GroupByExpr::Expressions(Vec::new(), Vec::new())),
        having: select.having.take(),
        named_window: std::mem::take(&mut select.named_window),
        qualify: select.qualify.take(),
        // What is taken is gone from the select that the rest is copied of.
        ..select.clone()
    };
    let subquery = query_of(SetExpr::Select(Box::new(below)));
    let alias = TableAlias { explicit: true, name: quoted(&format!("rows{HIDDEN}")), columns: Vec::new(), at: None };
    let relation = TableFactor::Derived { lateral: false, subquery: Box::new(subquery), alias: Some(alias), sample: None };
    select.from = vec![TableWithJoins { relation, joins: Vec::new() }];
}

/// A query that is nothing but its body.
pub(super) fn query_of(body: SetExpr) -> Query {
    Query {
        with: None,
        body: Box::new(body),
        order_by: None,
        limit_clause: None,
        fetch: None,
        locks: Vec::new(),
        for_clause: None,
        settings: None,
        format_clause: None,
        pipe_operators: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::{dialect::PostgreSqlDialect, parser::Parser};

    use super::*;

    fn check(sql: &str, expected: &str) {
        let mut query = Parser::new(&PostgreSqlDialect {}).try_with_sql(sql).unwrap().parse_query().unwrap();
        let is_moved = keys_as_outputs(&mut query);
        assert_eq!(query.to_string().replace(HIDDEN, "#"), expected, "{sql}");
        assert_eq!(is_moved, sql != expected, "{sql}");
    }

    #[test]
    fn keys_that_are_no_outputs_are_computed_beside_the_sets() {
        check(
            "SELECT name, unnest(a) AS \"x\" FROM t WHERE id > 1 ORDER BY id DESC, x, 1 LIMIT 3",
            "SELECT \"name\", \"x\" FROM (SELECT name, unnest(a) AS \"x\", id AS \"order#0\" FROM t WHERE id > 1) AS \"rows#\" \
             ORDER BY \"order#0\" DESC, \"x\", 1 LIMIT 3",
        );
        check(
            "SELECT t.n, unnest(a) AS x FROM t GROUP BY n ORDER BY count(*), unnest(a)",
            "SELECT \"n\", \"x\" FROM (SELECT t.n, unnest(a) AS x, count(*) AS \"order#0\" FROM t GROUP BY n) AS \"rows#\" \
             ORDER BY \"order#0\", \"x\"",
        );
        check(
            "SELECT id FROM t ORDER BY unnest(a)",
            "SELECT \"id\" FROM (SELECT id, unnest(a) AS \"order#0\" FROM t) AS \"rows#\" ORDER BY \"order#0\"",
        );
    }

    #[test]
    fn other_orders_stay_as_they_are() {
        for sql in [
            "SELECT name, unnest(a) AS x FROM t ORDER BY name, (x), 1",
            "SELECT name, unnest(a) AS x FROM t",
            "SELECT name FROM t ORDER BY id",
            "SELECT DISTINCT name, unnest(a) AS x FROM t ORDER BY id",
            "SELECT *, unnest(a) AS x FROM t ORDER BY id",
            "SELECT (SELECT max(x) FROM UNNEST(a) AS u (x)) AS m FROM t ORDER BY id",
        ] {
            check(sql, sql);
        }
    }
}
