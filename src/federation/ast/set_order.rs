//! `SELECT name, unnest(words) FROM people ORDER BY id`: keys that are no outputs of a select list with sets, and `SELECT -x AS x FROM
//! t ORDER BY x + 0`: keys that read a column whose name an output has taken.
//!
//! PostgreSQL computes a key that is no name of an output for the row that the select list is computed for. The planner looks for it
//! above, where sets are expanded and outputs come before columns. So the key becomes an output of a query in FROM, beside the others,
//! and the query itself orders by that. `SELECT -x AS x FROM t ORDER BY t.x + 0, x` goes the same way: the planner adds `t.x` to the
//! outputs, and then calls `x` ambiguous.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    AccessExpr, Distinct, Expr, GroupByExpr, Ident, OrderBy, OrderByExpr, OrderByKind, Query, Select, SelectItem, SetExpr,
    TableAlias, TableFactor, TableWithJoins, Visit, Visitor,
};

use super::HIDDEN;
use super::grouping::is_sets;
use super::name::{figure_name, fold};
use super::sets::holds_set;
use crate::error::{Diagnosis, sqlstate};

/// PostgreSQL's `ERRCODE_INVALID_COLUMN_REFERENCE`.
const INVALID_COLUMN_REFERENCE: &str = "42P10";

/// Moves the select list of a query below its order, where a key needs it. Tells whether it did.
///
/// # Errors
/// 42P10 for a key that is no output of DISTINCT, 0A000 where the select list cannot be moved.
pub(super) fn keys_as_outputs(query: &mut Query) -> Result<bool, Diagnosis> {
    let Some(OrderBy { kind: OrderByKind::Expressions(keys), .. }) = &mut query.order_by else { return Ok(false) };
    let SetExpr::Select(select) = query.body.as_mut() else { return Ok(false) };
    let taken = taken(&select.projection);
    let is_taken = keys.iter().any(|key| reads(&key.expr, &taken));
    match &select.distinct {
        None | Some(Distinct::All) => {}
        // Of distinct rows, PostgreSQL orders by outputs only.
        Some(Distinct::Distinct) => return among_outputs(keys, &select.projection, &taken).map(|()| false),
        // What is written with its relation, the planner finds.
        Some(Distinct::On(_)) if reads_bare(keys, &taken) => return Err(refused("in a SELECT with DISTINCT ON")),
        Some(Distinct::On(_)) => return Ok(false),
    }
    let has_sets = || keys.iter().any(|key| holds_set(&key.expr)) || select.projection.iter().any(is_of_sets);
    if !is_taken && !has_sets() {
        return Ok(false);
    }
    let Some(outputs) = select.projection.iter().map(output).collect::<Option<Vec<_>>>() else {
        return if reads_bare(keys, &taken) { Err(refused("beside *")) } else { Ok(false) };
    };
    let known: Vec<Option<Expr>> = keys.iter().map(|key| outside(&key.expr, &outputs)).collect();
    if known.iter().all(Option::is_some) {
        for (key, known) in keys.iter_mut().zip(known).filter(|(key, _)| reads(&key.expr, &taken)) {
            key.expr = known.unwrap_or_else(|| key.expr.clone());
        }
        return Ok(false);
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
    Ok(true)
}

/// Computes a select list with sets under names that nothing else has, where an output has the name of a column that the list reads:
/// `SELECT -x AS x, unnest(words) FROM t`. The planner puts both beside each other below the sets. Tells whether it did.
///
/// # Errors
/// 0A000 where it cannot be done for rows that are grouped.
pub(super) fn outputs_apart(query: &mut Query) -> Result<bool, Diagnosis> {
    let SetExpr::Select(select) = query.body.as_mut() else { return Ok(sides_apart(&mut query.body)) };
    if !is_mixed(select) {
        return Ok(false);
    }
    let is_grouped = is_grouped(select);
    let kept = if is_grouped { Err(refused("beside functions that return sets and GROUP BY")) } else { Ok(false) };
    match query.order_by.as_mut().map(|order| &mut order.kind) {
        None => {}
        Some(OrderByKind::Expressions(keys)) => {
            let outputs: Vec<_> = select.projection.iter().filter_map(output).collect();
            let Some(known) = keys.iter().map(|key| outside(&key.expr, &outputs)).collect::<Option<Vec<_>>>() else { return kept };
            for (key, known) in keys.iter_mut().zip(known) {
                key.expr = known;
            }
        }
        Some(OrderByKind::All(_)) => return kept,
    }
    if set_apart(select) { Ok(true) } else { kept }
}

fn sides_apart(body: &mut SetExpr) -> bool {
    match body {
        SetExpr::Select(select) => set_apart(select),
        SetExpr::SetOperation { left, right, .. } => {
            let is_left = sides_apart(left);
            sides_apart(right) || is_left
        }
        _ => false,
    }
}

fn set_apart(select: &mut Select) -> bool {
    if !is_mixed(select) {
        return false;
    }
    let names = select.projection.iter().map(|item| output(item).map(|(_, name)| name));
    let Some(names) = names.collect::<Option<Vec<_>>>() else { return false };
    let (mut own, mut shown) = (Vec::with_capacity(names.len()), Vec::with_capacity(names.len()));
    for (place, (item, name)) in std::mem::take(&mut select.projection).into_iter().zip(names).enumerate() {
        let alias = quoted(&format!("output{HIDDEN}{place}"));
        shown.push(SelectItem::ExprWithAlias { expr: Expr::Identifier(alias.clone()), alias: quoted(&name) });
        own.push(match item {
            SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => SelectItem::ExprWithAlias { expr, alias },
            other => other,
        });
    }
    select.projection = own;
    move_below(select, shown);
    true
}

fn is_grouped(select: &Select) -> bool {
    !matches!(&select.group_by, GroupByExpr::Expressions(keys, _) if keys.is_empty())
}

/// Whether an output beside sets has the name of a column that the select list reads. An output that is grouped itself, by its place or
/// its name, is computed further below.
fn is_mixed(select: &Select) -> bool {
    if groups_outputs(select) || matches!(select.distinct, Some(Distinct::On(_))) || !select.projection.iter().any(is_of_sets) {
        return false;
    }
    let names = taken(select.projection.iter().filter(|item| !is_of_sets(item)));
    let mut looking = Reads { names: &names, fields: Vec::new(), qualified: true };
    select.projection.iter().filter_map(output).any(|(expr, _)| Visit::visit(expr, &mut looking).is_break())
}

/// Whether rows are grouped by something else than expressions over columns: by places, by names that may be those of outputs alone, or in
/// sets.
fn groups_outputs(select: &Select) -> bool {
    let GroupByExpr::Expressions(groups, modifiers) = &select.group_by else { return true };
    let is_output = |group: &Expr| match without_parentheses(group) {
        Expr::Value(_) => true,
        Expr::Identifier(name) => {
            let name = fold(name);
            let names = taken(select.projection.iter().filter(|item| matches!(item, SelectItem::ExprWithAlias { .. })));
            names.contains(&name) && !select.projection.iter().filter_map(output).any(|(expr, _)| reads_column(expr, &name))
        }
        group => is_sets(group),
    };
    !modifiers.is_empty() || groups.iter().any(is_output)
}

/// Whether an expression reads a name, which is a column's then, outside of its subqueries.
fn reads_column(expr: &Expr, name: &str) -> bool {
    struct Reading<'n>(&'n str, usize);
    impl Visitor for Reading<'_> {
        type Break = ();

        fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
            self.1 += 1;
            ControlFlow::Continue(())
        }

        fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
            self.1 -= 1;
            ControlFlow::Continue(())
        }

        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            match expr {
                Expr::Identifier(name) if self.1 == 0 && fold(name) == self.0 => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            }
        }
    }
    Visit::visit(expr, &mut Reading(name, 0)).is_break()
}

/// Keys of distinct rows by the names of the outputs that they are. The planner knows names only.
fn among_outputs(keys: &mut [OrderByExpr], projection: &[SelectItem], taken: &BTreeSet<String>) -> Result<(), Diagnosis> {
    let is_open = projection.iter().any(|item| output(item).is_none());
    for key in keys.iter_mut() {
        let (meant, is_taken) = (without_parentheses(&key.expr), reads(&key.expr, taken));
        let is_column = matches!(meant, Expr::CompoundIdentifier(_));
        if is_plain(meant) || is_column && !is_taken {
            continue;
        }
        match projection.iter().filter_map(output).find(|(expr, _)| without_parentheses(expr) == meant) {
            Some((_, name)) => key.expr = Expr::Identifier(quoted(&name)),
            // `*` may show the column.
            None if is_taken && !(is_column && is_open) => {
                let message = "for SELECT DISTINCT, ORDER BY expressions must appear in select list";
                return Err(Diagnosis::new(INVALID_COLUMN_REFERENCE, message));
            }
            None => {}
        }
    }
    Ok(())
}

fn refused(place: &str) -> Diagnosis {
    let message = format!("ORDER BY with an expression over a name that an output has is not supported {place}");
    Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, message)
        .with_detail("The name means the column inside an expression, and the output where it stands alone.")
        .with_hint("Give the output another name, or write the column with that of its relation.")
}

/// The names of outputs that are not the columns of these names.
pub(super) fn taken<'i>(projection: impl IntoIterator<Item = &'i SelectItem>) -> BTreeSet<String> {
    let name = |item: &SelectItem| {
        let (expr, name) = match item {
            SelectItem::ExprWithAlias { expr, alias } => (expr, fold(alias)),
            SelectItem::UnnamedExpr(expr) => (expr, figure_name(expr)),
            _ => return None,
        };
        let column = match without_parentheses(expr) {
            Expr::Identifier(ident) => Some(fold(ident)),
            Expr::CompoundIdentifier(parts) => parts.last().map(fold),
            _ => None,
        };
        (column.as_ref() != Some(&name)).then_some(name)
    };
    projection.into_iter().filter_map(name).collect()
}

/// Whether a key is a name or a place, which means an output if there is one.
pub(super) fn is_plain(key: &Expr) -> bool {
    matches!(without_parentheses(key), Expr::Identifier(_) | Expr::Value(_))
}

/// Whether a key, which is not a name itself, reads one of some names, with or without that of its relation: the planner adds `t.x`
/// to the outputs, where `x` means two then. Those in its subqueries count too, whoever's they are.
pub(super) fn reads(key: &Expr, names: &BTreeSet<String>) -> bool {
    !names.is_empty() && !is_plain(key) && Visit::visit(key, &mut Reads { names, fields: Vec::new(), qualified: true }).is_break()
}

/// Whether keys, which are not names themselves, read one of some names without that of its relation.
fn reads_bare(keys: &[OrderByExpr], names: &BTreeSet<String>) -> bool {
    let mut looking = Reads { names, fields: Vec::new(), qualified: false };
    keys.iter().any(|key| !is_plain(&key.expr) && Visit::visit(&key.expr, &mut looking).is_break())
}

struct Reads<'n> {
    names: &'n BTreeSet<String>,
    /// Names of fields, which are no columns: where they stand in the statement.
    fields: Vec<*const Expr>,
    /// Whether names count that stand behind those of relations.
    qualified: bool,
}

impl Visitor for Reads<'_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        match expr {
            Expr::CompoundFieldAccess { access_chain, .. } => {
                let fields = access_chain.iter().filter_map(|access| match access {
                    AccessExpr::Dot(field) => Some(std::ptr::from_ref(field)),
                    AccessExpr::Subscript(_) => None,
                });
                self.fields.extend(fields);
                ControlFlow::Continue(())
            }
            Expr::Identifier(name) if self.names.contains(&fold(name)) && !self.fields.contains(&std::ptr::from_ref(expr)) => {
                ControlFlow::Break(())
            }
            Expr::CompoundIdentifier(parts)
                if self.qualified && parts.last().is_some_and(|name| self.names.contains(&fold(name))) =>
            {
                ControlFlow::Break(())
            }
            _ => ControlFlow::Continue(()),
        }
    }
}

fn without_parentheses(mut expr: &Expr) -> &Expr {
    while let Expr::Nested(inner) = expr {
        expr = inner;
    }
    expr
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
            let found = named.or_else(|| outputs.iter().find(|(expr, _)| without_parentheses(expr) == key));
            found.map(|(_, name)| Expr::Identifier(quoted(name)))
        }
    }
}

fn quoted(name: &str) -> Ident {
    Ident::with_quote('"', name)
}

/// Makes a select a query in FROM, of whose columns `shown` are the outputs.
fn move_below(select: &mut Select, shown: Vec<SelectItem>) {
    let mut below = Select {
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
    set_apart(&mut below);
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
        let is_moved = keys_as_outputs(&mut query).unwrap();
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
    fn a_name_inside_a_key_is_a_column_and_never_an_output() {
        check(
            "SELECT -x AS x, y FROM t ORDER BY x + 0, x, 2 LIMIT 1",
            "SELECT \"x\", \"y\" FROM (SELECT -x AS x, y, x + 0 AS \"order#0\" FROM t) AS \"rows#\" ORDER BY \"order#0\", \"x\", 2 LIMIT 1",
        );
        check(
            "SELECT sum(a) AS a FROM t GROUP BY b ORDER BY -sum(a)",
            "SELECT \"a\" FROM (SELECT sum(a) AS a, -sum(a) AS \"order#0\" FROM t GROUP BY b) AS \"rows#\" ORDER BY \"order#0\"",
        );
        for (sql, expected) in [
            ("SELECT -x AS x FROM t ORDER BY (-x), (x)", Ok("SELECT -x AS x FROM t ORDER BY \"x\", (x)")),
            ("SELECT DISTINCT -x AS x FROM t ORDER BY (-x)", Ok("SELECT DISTINCT -x AS x FROM t ORDER BY \"x\"")),
            ("SELECT DISTINCT -x AS x FROM t ORDER BY x + 0", Err("42P10")),
            ("SELECT DISTINCT -x AS x FROM t ORDER BY x, t.x + 1", Err("42P10")),
            ("SELECT DISTINCT y AS x FROM t ORDER BY t.x", Err("42P10")),
            ("SELECT DISTINCT (a || b) AS x FROM t ORDER BY a || b", Ok("SELECT DISTINCT (a || b) AS x FROM t ORDER BY \"x\"")),
            ("SELECT -t.x AS x FROM t ORDER BY x, -t.x", Ok("SELECT -t.x AS x FROM t ORDER BY x, \"x\"")),
            ("SELECT DISTINCT ON (y) -x AS x FROM t ORDER BY y, x + 0", Err("0A000")),
            ("SELECT u.*, -t.x AS x FROM t, u ORDER BY x + 0", Err("0A000")),
        ] {
            let mut query = Parser::new(&PostgreSqlDialect {}).try_with_sql(sql).unwrap().parse_query().unwrap();
            let found = keys_as_outputs(&mut query).map(|_| query.to_string()).map_err(|error| error.sqlstate);
            assert_eq!(found.as_deref().map_err(String::as_str), expected, "{sql}");
        }
    }

    #[test]
    fn a_column_with_its_relation_is_kept_from_an_output_of_its_name() {
        check(
            "SELECT -x AS x FROM t ORDER BY x, t.x + 1, y + 1, (x)",
            "SELECT \"x\" FROM (SELECT -x AS x, t.x + 1 AS \"order#1\", y + 1 AS \"order#2\" FROM t) AS \"rows#\" \
             ORDER BY \"x\", \"order#1\", \"order#2\", \"x\"",
        );
        check(
            "SELECT y AS x FROM t ORDER BY t.x, y LIMIT 2",
            "SELECT \"x\" FROM (SELECT y AS x, t.x AS \"order#0\" FROM t) AS \"rows#\" ORDER BY \"order#0\", \"x\" LIMIT 2",
        );
        check(
            "SELECT f(a.x, b.x) + 1 AS x FROM a JOIN b ON a.x = b.x ORDER BY f(a.x, b.x) % 5, x",
            "SELECT \"x\" FROM (SELECT f(a.x, b.x) + 1 AS x, f(a.x, b.x) % 5 AS \"order#0\" FROM a JOIN b ON a.x = b.x) AS \"rows#\" \
             ORDER BY \"order#0\", \"x\"",
        );
    }

    #[test]
    fn outputs_beside_sets_are_kept_from_columns_of_their_names() {
        for (sql, expected) in [
            (
                "SELECT -x AS x, unnest(a) AS u FROM t WHERE x > 1 LIMIT 2",
                "SELECT \"output#0\" AS \"x\", \"output#1\" AS \"u\" FROM (SELECT -x AS \"output#0\", unnest(a) AS \"output#1\" FROM t \
                 WHERE x > 1) AS \"rows#\" LIMIT 2",
            ),
            (
                "SELECT y AS x, x AS y, unnest(a) AS u FROM t ORDER BY y, unnest(a), 1",
                "SELECT \"output#0\" AS \"x\", \"output#1\" AS \"y\", \"output#2\" AS \"u\" FROM (SELECT y AS \"output#0\", \
                 x AS \"output#1\", unnest(a) AS \"output#2\" FROM t) AS \"rows#\" ORDER BY \"y\", \"u\", 1",
            ),
            (
                "SELECT -x AS x, unnest(a) AS u FROM t ORDER BY z",
                "SELECT \"x\", \"u\" FROM (SELECT \"output#0\" AS \"x\", \"output#1\" AS \"u\", \"output#2\" AS \"order#0\" FROM \
                 (SELECT -x AS \"output#0\", unnest(a) AS \"output#1\", z AS \"output#2\" FROM t) AS \"rows#\") AS \"rows#\" ORDER BY \"order#0\"",
            ),
            (
                "SELECT DISTINCT t.x + 1 AS x, unnest(a) AS u FROM t UNION SELECT 1, 2",
                "SELECT DISTINCT \"output#0\" AS \"x\", \"output#1\" AS \"u\" FROM (SELECT DISTINCT t.x + 1 AS \"output#0\", \
                 unnest(a) AS \"output#1\" FROM t) AS \"rows#\" UNION SELECT 1, 2",
            ),
            (
                "SELECT -x AS x, unnest(ARRAY[x, 7]) AS u FROM t GROUP BY x ORDER BY u",
                "SELECT \"output#0\" AS \"x\", \"output#1\" AS \"u\" FROM (SELECT -x AS \"output#0\", unnest(ARRAY[x, 7]) AS \"output#1\" \
                 FROM t GROUP BY x) AS \"rows#\" ORDER BY \"u\"",
            ),
            (
                "SELECT -t.x AS x, unnest(ARRAY[7]) AS u FROM t GROUP BY x",
                "SELECT -t.x AS x, unnest(ARRAY[7]) AS u FROM t GROUP BY x",
            ),
            ("SELECT -x AS x, unnest(ARRAY[7]) AS u FROM t GROUP BY 1", "SELECT -x AS x, unnest(ARRAY[7]) AS u FROM t GROUP BY 1"),
            ("SELECT x, unnest(a) AS a FROM t", "SELECT x, unnest(a) AS a FROM t"),
            ("SELECT -y AS x, unnest(a) AS u FROM t", "SELECT -y AS x, unnest(a) AS u FROM t"),
            ("SELECT -x AS x FROM t", "SELECT -x AS x FROM t"),
            ("SELECT *, -x AS x, unnest(a) AS u FROM t", "SELECT *, -x AS x, unnest(a) AS u FROM t"),
        ] {
            let mut query = Parser::new(&PostgreSqlDialect {}).try_with_sql(sql).unwrap().parse_query().unwrap();
            let has_keys = keys_as_outputs(&mut query).unwrap();
            let is_moved = outputs_apart(&mut query).unwrap() || has_keys;
            assert_eq!(query.to_string().replace(HIDDEN, "#"), expected, "{sql}");
            assert_eq!(is_moved, sql != expected, "{sql}");
        }
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
            "SELECT -x AS x FROM t ORDER BY x, t.y + 1, y + 1, (x)",
            "SELECT *, -y AS x FROM t ORDER BY t.x + 1, t.x",
            "SELECT DISTINCT *, -y AS x FROM t ORDER BY t.x",
            "SELECT DISTINCT ON (t.x + 1) -y AS x FROM t ORDER BY t.x + 1, x",
            "SELECT DISTINCT t.x, y FROM t ORDER BY t.x, y, 1",
            "SELECT t.x, (y) AS \"y\" FROM t ORDER BY x + y",
            "SELECT *, (a).city AS city FROM t ORDER BY (a).city, (a).b.city",
        ] {
            check(sql, sql);
        }
    }
}
