//! Columns of a table whose primary key is grouped by: PostgreSQL takes them without being grouped by (manual, "SELECT", GROUP BY
//! Clause), for the key says which value they have.
//!
//! The planner does so for keys that are proven. Of one that is only declared (SQLite lets most hold NULLs, and values of a document's key
//! may be read as one) nothing may be concluded, so what the query names of its table is grouped by too. Where the key does hold, that
//! makes the same groups; where it does not, rows that differ stay apart instead of one of them speaking for all.
//!
//! A column of USING is the one of the side that an inner, left or right join keeps: grouped by the former, the latter may stand too.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Distinct, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr, Ident, ObjectNamePart, OrderBy,
    OrderByKind, Query, Select, SelectItem, SelectItemQualifiedWildcardKind, SetExpr, TableFactor, TableWithJoins, Visit, Visitor,
};

use super::Known;
use super::grouping::{is_sets, item, ordinal};
use super::name::{figure_name, fold};
use super::using::{MERGED, MERGED_FIRST, name_of};
use super::whole_row::{Relations, left_out};
use crate::federation::semantics::functions::set_function;

/// Adds such columns to the groups of a query, not to those of the queries inside it.
pub(super) fn rewrite(query: &mut Query, relations: &Relations<'_>, known: &Known<'_>) {
    let Query { body, order_by, .. } = query;
    match body.as_mut() {
        SetExpr::Select(select) => in_select(select, order_by.as_ref(), relations, known),
        body => in_sides(body, relations, known),
    }
}

fn in_sides(body: &mut SetExpr, relations: &Relations<'_>, known: &Known<'_>) {
    match body {
        SetExpr::Select(select) => in_select(select, None, relations, known),
        SetExpr::SetOperation { left, right, .. } => {
            in_sides(left, relations, known);
            in_sides(right, relations, known);
        }
        _ => {}
    }
}

/// A relation of FROM.
pub(super) struct Side {
    /// What its columns are qualified with; empty where nothing is known.
    name: Vec<Ident>,
    columns: Option<Vec<String>>,
    /// The columns of its declared key.
    key: Option<Vec<String>>,
}

/// A column by the place of its relation.
type Column = (usize, String);

fn in_select(select: &mut Select, order: Option<&OrderBy>, relations: &Relations<'_>, known: &Known<'_>) {
    let GroupByExpr::Expressions(groups, modifiers) = &select.group_by else { return };
    if groups.is_empty() || !modifiers.is_empty() || groups.iter().any(is_sets) {
        return;
    }
    let sides = sides(&select.from, relations, known);
    let grouped: BTreeSet<Column> = groups.iter().filter_map(|group| group_column(group, &select.projection, &sides)).collect();
    let kept: BTreeSet<Column> = groups.iter().filter_map(|group| kept_column(group, &sides)).collect();
    let is_grouped = |place: usize, side: &Side| {
        side.key.as_ref().is_some_and(|key| key.iter().all(|column| grouped.contains(&(place, column.clone()))))
    };
    let determined: BTreeSet<usize> =
        sides.iter().enumerate().filter(|(place, side)| is_grouped(*place, side)).map(|(place, _)| place).collect();
    if determined.is_empty() && kept.is_empty() {
        return;
    }
    let Looking { found: mut named, outside_merged, .. } = named_columns(select, order, &sides, known);
    let is_kept = |column: &Column| kept.contains(column) && outside_merged.contains(column);
    named.retain(|column| (determined.contains(&column.0) || is_kept(column)) && !grouped.contains(column));
    let further: Vec<Expr> = named.into_iter().filter_map(|(place, column)| Some(column_of(sides.get(place)?, &column))).collect();
    if let GroupByExpr::Expressions(groups, _) = &mut select.group_by {
        groups.extend(further);
    }
}

/// The relations of FROM, also those of joins in parentheses.
pub(super) fn sides(from: &[TableWithJoins], relations: &Relations<'_>, known: &Known<'_>) -> Vec<Side> {
    let (mut sides, mut pending) = (Vec::new(), from.iter().collect::<Vec<_>>());
    while let Some(joined) = pending.pop() {
        for factor in std::iter::once(&joined.relation).chain(joined.joins.iter().map(|join| &join.relation)) {
            match factor {
                TableFactor::NestedJoin { table_with_joins, alias: None } => pending.push(table_with_joins),
                factor => sides.push(side(factor, relations, known)),
            }
        }
    }
    sides
}

fn side(factor: &TableFactor, relations: &Relations<'_>, known: &Known<'_>) -> Side {
    let is_renamed = matches!(factor, TableFactor::Table { alias: Some(alias), .. } if !alias.columns.is_empty());
    let stored = relations.stored(factor).filter(|_| !is_renamed);
    let key = stored.and_then(|name| (known.key_of)(name)).filter(|key| !key.is_empty());
    Side { name: name_of(factor).unwrap_or_default(), columns: relations.columns(factor).or_else(|| function_column(factor)), key }
}

/// The one column of a function in FROM that has a name.
fn function_column(factor: &TableFactor) -> Option<Vec<String>> {
    let alias = match factor {
        TableFactor::Table { name, args: Some(_), alias: Some(alias), with_ordinality: false, .. }
        | TableFactor::Function { name, alias: Some(alias), with_ordinality: false, .. } => {
            set_function(&fold(name.0.last()?.as_ident()?))?;
            alias
        }
        TableFactor::UNNEST { array_exprs, alias: Some(alias), with_ordinality: false, .. } if array_exprs.len() == 1 => alias,
        _ => return None,
    };
    match alias.columns.as_slice() {
        [] => Some(vec![fold(&alias.name)]),
        [column] => Some(vec![fold(&column.name)]),
        _ => None,
    }
}

/// The column that a name means, written with its relation; `None` where it is not known which one it is.
pub(super) fn with_relation(name: &Expr, sides: &[Side]) -> Option<Expr> {
    let (place, column) = column(name, sides)?;
    let side = sides.get(place).filter(|side| !side.name.is_empty())?;
    Some(column_of(side, &column))
}

fn column_of(side: &Side, column: &str) -> Expr {
    Expr::CompoundIdentifier(side.name.iter().cloned().chain([Ident::with_quote('"', column)]).collect())
}

/// The column that a name means.
fn column(expr: &Expr, sides: &[Side]) -> Option<Column> {
    let has = |side: &Side, name: &String| side.columns.as_ref().is_some_and(|columns| columns.contains(name));
    let (qualifier, name): (&[Ident], String) = match expr {
        Expr::Nested(inner) => return column(inner, sides),
        // It may be a column of a relation whose columns are not known.
        Expr::Identifier(_) if sides.iter().any(|side| side.columns.is_none()) => return None,
        Expr::Identifier(name) => ([].as_slice(), fold(name)),
        Expr::CompoundIdentifier(parts) => parts.split_last().map(|(name, qualifier)| (qualifier, fold(name)))?,
        _ => return None,
    };
    let mut meant = sides.iter().enumerate().filter(|(_, side)| is_called(side, qualifier) && has(side, &name));
    let (place, _) = meant.next()?;
    // Another one would make the name ambiguous.
    meant.next().is_none().then_some((place, name))
}

/// Whether a relation is meant by what stands before a column; nothing there means every one.
fn is_called(side: &Side, qualifier: &[Ident]) -> bool {
    let skipped = side.name.len().checked_sub(qualifier.len());
    skipped.is_some_and(|skipped| side.name.iter().skip(skipped).zip(qualifier).all(|(own, written)| fold(own) == fold(written)))
}

/// The column that a group is: written as it is, by its place in the SELECT list, or by its name there.
fn group_column(group: &Expr, items: &[SelectItem], sides: &[Side]) -> Option<Column> {
    if let Some(place) = ordinal(group) {
        return column(&item(items, place)?, sides);
    }
    let found = column(group, sides);
    let Expr::Identifier(name) = group else { return found };
    found.or_else(|| {
        let meant = items.iter().find_map(|item| match item {
            SelectItem::ExprWithAlias { expr, alias } if fold(alias) == fold(name) => Some(expr),
            _ => None,
        });
        column(meant?, sides)
    })
}

/// The column of the kept side that a group over a whole column of USING is to PostgreSQL, where both sides have one type.
fn kept_column(group: &Expr, sides: &[Side]) -> Option<Column> {
    match group {
        Expr::Nested(inner) => kept_column(inner, sides),
        Expr::Function(function) if is_merged(function) => match &function.args {
            FunctionArguments::List(list) => match list.args.first()? {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::CompoundIdentifier(parts))) => {
                    column(&Expr::CompoundIdentifier(parts.clone()), sides)
                }
                FunctionArg::Unnamed(FunctionArgExpr::Expr(inner)) => kept_column(inner, sides),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    }
}

/// Whether a call is what a pass has written for a column of USING.
fn is_merged(function: &Function) -> bool {
    let name = function.name.0.last().and_then(ObjectNamePart::as_ident);
    name.is_some_and(|name| matches!(name.value.as_str(), MERGED | MERGED_FIRST))
}

/// The columns that a SELECT names outside of aggregates, with its ORDER BY, but not in subqueries.
fn named_columns<'l>(select: &Select, order: Option<&OrderBy>, sides: &'l [Side], known: &'l Known<'l>) -> Looking<'l> {
    let mut looking =
        Looking { sides, known, inside: 0, in_access: 0, in_merged: 0, found: BTreeSet::new(), outside_merged: BTreeSet::new() };
    for item in &select.projection {
        match item {
            SelectItem::Wildcard(options) => looking.all(&[], &left_out(options).unwrap_or_default()),
            SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), options) => {
                let name: Vec<Ident> = name.0.iter().filter_map(ObjectNamePart::as_ident).cloned().collect();
                looking.all(&name, &left_out(options).unwrap_or_default());
            }
            item => looking.at(item),
        }
    }
    looking.at(&select.having);
    looking.at(&select.named_window);
    let outputs: BTreeSet<String> = select.projection.iter().filter_map(output).collect();
    let mut keys: Vec<&Expr> = Vec::new();
    if let Some(Distinct::On(expressions)) = &select.distinct {
        keys.extend(expressions);
    }
    if let Some(OrderByKind::Expressions(expressions)) = order.map(|order| &order.kind) {
        keys.extend(expressions.iter().map(|key| &key.expr));
    }
    for key in keys {
        // A name alone is an output if there is one.
        if !matches!(key, Expr::Identifier(name) if outputs.contains(&fold(name))) {
            looking.at(key);
        }
    }
    looking
}

fn output(item: &SelectItem) -> Option<String> {
    match item {
        SelectItem::ExprWithAlias { alias, .. } => Some(fold(alias)),
        SelectItem::UnnamedExpr(expr) => Some(figure_name(expr)),
        _ => None,
    }
}

struct Looking<'l> {
    sides: &'l [Side],
    known: &'l Known<'l>,
    /// How many aggregates and subqueries are around.
    inside: usize,
    /// How many field accesses are around: their names are no columns.
    in_access: usize,
    /// How many columns of USING are around.
    in_merged: usize,
    found: BTreeSet<Column>,
    /// Those of them that are named by themselves, and not as a side of a column of USING.
    outside_merged: BTreeSet<Column>,
}

impl Looking<'_> {
    fn at(&mut self, part: &impl Visit) {
        let _: ControlFlow<()> = part.visit(self);
    }

    /// Every column of the relations of a name.
    fn all(&mut self, name: &[Ident], left_out: &[String]) {
        for (place, side) in self.sides.iter().enumerate().filter(|(_, side)| is_called(side, name)) {
            let shown = side.columns.iter().flatten().filter(|column| !left_out.contains(column));
            let shown: Vec<Column> = shown.map(|column| (place, column.clone())).collect();
            self.outside_merged.extend(shown.iter().cloned());
            self.found.extend(shown);
        }
    }

    fn is_aggregate(&self, expr: &Expr) -> bool {
        let Expr::Function(Function { name, over: None, .. }) = expr else { return false };
        name.0.last().and_then(ObjectNamePart::as_ident).is_some_and(|name| (self.known.is_aggregate)(&fold(name)))
    }
}

impl Visitor for Looking<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.inside += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.inside -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        self.inside += usize::from(self.is_aggregate(expr));
        if self.inside == 0 && self.in_access == 0 {
            let name = if let Expr::CompoundFieldAccess { root, .. } = expr { root.as_ref() } else { expr };
            let column = column(name, self.sides);
            if self.in_merged == 0 {
                self.outside_merged.extend(column.clone());
            }
            self.found.extend(column);
        }
        self.in_merged += usize::from(matches!(expr, Expr::Function(function) if is_merged(function)));
        self.in_access += usize::from(matches!(expr, Expr::CompoundFieldAccess { .. }));
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        self.inside -= usize::from(self.is_aggregate(expr));
        self.in_merged -= usize::from(matches!(expr, Expr::Function(function) if is_merged(function)));
        self.in_access -= usize::from(matches!(expr, Expr::CompoundFieldAccess { .. }));
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::ast::ObjectName;
    use datafusion::sql::sqlparser::{dialect::PostgreSqlDialect, parser::Parser};

    use super::*;

    fn list(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn check(sql: &str, groups: &str) {
        let columns_of = |name: &ObjectName| match name.to_string().as_str() {
            "s.t" | "t" => Some(list(&["id", "name", "Odd", "n"])),
            "pair" => Some(list(&["a", "b", "c"])),
            "u" => Some(list(&["t_id", "name"])),
            _ => None,
        };
        let key_of = |name: &ObjectName| match name.to_string().as_str() {
            "s.t" | "t" => Some(list(&["id"])),
            "pair" => Some(list(&["a", "b"])),
            _ => None,
        };
        let is_aggregate = |name: &str| matches!(name, "count" | "max");
        let known = Known { columns_of: &columns_of, key_of: &key_of, is_aggregate: &is_aggregate };
        let mut query = Parser::new(&PostgreSqlDialect {}).try_with_sql(sql).unwrap().parse_query().unwrap();
        let mut relations = Relations::new(&columns_of);
        relations.enter(&query);
        rewrite(&mut query, &relations, &known);
        let SetExpr::Select(select) = query.body.as_ref() else { panic!("{sql}") };
        assert_eq!(select.group_by.to_string(), format!("GROUP BY {groups}"), "{sql}");
    }

    #[test]
    fn what_a_declared_key_determines_is_grouped_by() {
        check("SELECT t.id, t.name, count(*) FROM s.t JOIN u ON t_id = id GROUP BY t.id", "t.id, s.t.\"name\"");
        check("SELECT x.name FROM s.t AS x LEFT JOIN u ON t_id = id GROUP BY x.id, u.name", "x.id, u.name, x.\"name\"");
        check("SELECT id, n + 1, max(name) FROM t GROUP BY id HAVING \"Odd\" > 0", "id, t.\"Odd\", t.\"n\"");
        check("SELECT id AS key, n FROM t GROUP BY 1", "1, t.\"n\"");
        check("SELECT id AS key, n FROM t GROUP BY key", "key, t.\"n\"");
        check("SELECT t.* FROM t GROUP BY id", "id, t.\"Odd\", t.\"n\", t.\"name\"");
        check("SELECT *, count(*) FROM pair GROUP BY b, a", "b, a, pair.\"c\"");
        check("SELECT id, count(*) FROM t GROUP BY id ORDER BY name, max(n)", "id, t.\"name\"");
        check("SELECT count(*) OVER (ORDER BY n), (name).x FROM t GROUP BY (id)", "(id), t.\"n\", t.\"name\"");
    }

    #[test]
    fn the_kept_side_of_a_column_of_using_is_grouped_by_where_it_is_named() {
        for (function, kept) in [("pg_merged(u.name, w.name)", "u.\"name\""), ("pg_merged_first(w.name, u.name)", "w.\"name\"")] {
            let from = "FROM u JOIN u AS w ON u.name = w.name";
            let both = format!("{function}, {kept}");
            check(&format!("SELECT u.name, w.name {from} GROUP BY {function}"), &both);
            check(&format!("SELECT 1 {from} GROUP BY ({function}) ORDER BY u.name, w.name"), &format!("({function}), {kept}"));
            check(&format!("SELECT {function} AS name, count(u.name), max(w.name) {from} GROUP BY {function}"), function);
            check(&format!("SELECT u.name, w.name {from} GROUP BY lower({function})"), &format!("lower({function})"));
        }
    }

    #[test]
    fn other_groups_are_left_as_they_are() {
        for (sql, groups) in [
            ("SELECT id, max(name), count(n) FROM t GROUP BY id", "id"),
            ("SELECT id, max(n) AS name FROM t GROUP BY id ORDER BY name", "id"),
            ("SELECT id, (SELECT name FROM u WHERE t_id = id) FROM t GROUP BY id", "id"),
            ("SELECT u.name FROM t, u GROUP BY t.id", "t.id"),
            ("SELECT t.name FROM t, u GROUP BY u.t_id", "u.t_id"),
            ("SELECT c FROM pair GROUP BY a", "a"),
            ("SELECT name FROM t GROUP BY id + 1", "id + 1"),
            ("SELECT name FROM t GROUP BY ROLLUP (id)", "ROLLUP (id)"),
            ("SELECT name FROM t, elsewhere GROUP BY id", "id"),
            ("SELECT name FROM (SELECT * FROM t) AS t GROUP BY id", "id"),
            ("WITH t AS (SELECT 1 AS id, 2 AS name) SELECT name FROM t GROUP BY id", "id"),
            ("SELECT name FROM t AS t (key) GROUP BY key", "key"),
        ] {
            check(sql, groups);
        }
    }
}
