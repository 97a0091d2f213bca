//! Stars that the planner does not read as PostgreSQL does: `a.*` of a relation around the query, which it does not look for, and a star
//! beside an output of one of its names, which it takes for a column given twice. Both are written out column by column.
//!
//! A column of a relation around the query is an output under its own name; the planner would call it by its expression.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Ident, Query, Select, SelectItem, SelectItemQualifiedWildcardKind, SetExpr, TableFactor, TableWithJoins, VisitMut,
    VisitorMut, WildcardAdditionalOptions,
};

use super::super::name::{figure_name, fold};
use super::super::using::joins_by_name;
use super::super::visible;
use super::{ColumnsOf, Source, WholeRows, column_of, left_out, nests};
use crate::error::Diagnosis;

/// Writes out the stars of the whole query.
///
/// # Errors
/// 54001 beyond what may be written.
pub(in crate::federation::ast) fn write_out(query: &mut Query, columns_of: &ColumnsOf<'_>) -> Result<(), Diagnosis> {
    let mut pass = Stars(WholeRows::new(columns_of));
    if nests(query) {
        let _: ControlFlow<()> = VisitMut::visit(query, &mut pass);
    } else {
        repeated_in(&mut query.body, &pass.0);
    }
    pass.0.check()
}

struct Stars<'c>(WholeRows<'c>);

impl VisitorMut for Stars<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        self.0.open(query);
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.0.close();
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        self.0.scopes.push(self.0.sources(select));
        repeated(select, &self.0);
        self.around(select);
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, _: &mut Select) -> ControlFlow<()> {
        self.0.scopes.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        self.0.hide(factor);
        ControlFlow::Continue(())
    }

    fn post_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        self.0.show(factor);
        ControlFlow::Continue(())
    }
}

/// The scopes of a SELECT and of the query that it is the body of.
const OWN_SCOPES: usize = 2;

impl Stars<'_> {
    /// Writes out the outputs that are of relations around.
    fn around(&self, select: &mut Select) {
        if self.0.scopes.len() <= OWN_SCOPES {
            return;
        }
        let mut own = BTreeSet::new();
        if !select.from.iter().all(|from| add_names(from, &mut own)) {
            return;
        }
        let items = std::mem::take(&mut select.projection);
        select.projection = items.into_iter().flat_map(|item| self.written(item, &own)).collect();
    }

    /// An item, or what it stands for when it is of a relation around.
    fn written(&self, item: SelectItem, own: &BTreeSet<String>) -> Vec<SelectItem> {
        match item {
            SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), options)
                if options == WildcardAdditionalOptions::default() =>
            {
                let relation = match name.0.as_slice() {
                    [part] => part.as_ident().map(fold).filter(|relation| !own.contains(relation)),
                    _ => None,
                };
                let source = relation.and_then(|relation| self.relation_around(&relation));
                match source.and_then(|source| Some((source, source.columns.as_ref()?))) {
                    Some((source, columns)) if self.0.has_room_for_row(source, columns) => {
                        columns.iter().map(|column| named(column_of(&source.name, column))).collect()
                    }
                    _ => vec![SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), options)],
                }
            }
            SelectItem::UnnamedExpr(expr) if self.is_around(&expr, own) => vec![named(expr)],
            item => vec![item],
        }
    }

    /// Whether an expression is a column of a relation around.
    fn is_around(&self, expr: &Expr, own: &BTreeSet<String>) -> bool {
        match expr {
            Expr::CompoundIdentifier(parts) => match parts.as_slice() {
                [.., relation, _] => {
                    let relation = fold(relation);
                    !own.contains(&relation) && self.relation_around(&relation).is_some()
                }
                _ => false,
            },
            Expr::Identifier(name) => {
                let name = fold(name);
                let has = |source: &Source| source.columns.iter().flatten().any(|column| *column == name);
                let lacks = |source: &Source| source.columns.is_some() && !has(source);
                self.0.scopes.last().is_some_and(|own| own.iter().all(lacks))
                    && self.0.scopes.iter().rev().skip(OWN_SCOPES).flatten().any(has)
            }
            _ => false,
        }
    }

    /// The relation of a query around that a name means, which is none of the SELECT's own.
    fn relation_around(&self, name: &str) -> Option<&Source> {
        for scope in self.0.scopes.iter().rev().skip(OWN_SCOPES) {
            let found = scope.iter().find(|source| source.name == name);
            if found.is_some() || scope.iter().any(|source| source.name.is_empty()) {
                return found;
            }
        }
        None
    }
}

fn named(expr: Expr) -> SelectItem {
    let alias = Ident::with_quote('"', figure_name(&expr));
    SelectItem::ExprWithAlias { expr, alias }
}

/// Adds the names of the relations of a FROM item; gives `false` where one is not known.
fn add_names(from: &TableWithJoins, names: &mut BTreeSet<String>) -> bool {
    std::iter::once(&from.relation).chain(from.joins.iter().map(|join| &join.relation)).all(|factor| match factor {
        TableFactor::Table { alias: Some(alias), .. }
        | TableFactor::Derived { alias: Some(alias), .. }
        | TableFactor::Function { alias: Some(alias), .. }
        | TableFactor::UNNEST { alias: Some(alias), .. }
        | TableFactor::NestedJoin { alias: Some(alias), .. } => {
            names.insert(fold(&alias.name));
            true
        }
        TableFactor::Table { name, alias: None, .. } | TableFactor::Function { name, alias: None, .. } => {
            names.extend(name.0.last().and_then(|part| part.as_ident()).map(fold));
            true
        }
        TableFactor::NestedJoin { table_with_joins, alias: None } => add_names(table_with_joins, names),
        _ => false,
    })
}

/// Writes out stars beside outputs of the same names, in the SELECTs that a body consists of.
pub(super) fn repeated_in(body: &mut SetExpr, rows: &WholeRows<'_>) {
    match body {
        SetExpr::Select(select) => repeated(select, rows),
        SetExpr::SetOperation { left, right, .. } => {
            repeated_in(left, rows);
            repeated_in(right, rows);
        }
        _ => {}
    }
}

fn repeated(select: &mut Select, rows: &WholeRows<'_>) {
    let is_star = |item: &SelectItem| matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..));
    if select.projection.len() < 2 || !select.projection.iter().any(is_star) {
        return;
    }
    let sources = rows.sources(select);
    // What `*` shows of columns that are merged is settled elsewhere (`using`).
    let is_merged = !joins_by_name(&select.from).is_empty();
    let stars = select.projection.iter().map(|item| if is_merged { of_one(item, &sources) } else { of_star(item, &sources) });
    let stars: Vec<Option<Vec<Part<'_>>>> = stars.collect();
    let names: BTreeSet<String> = select.projection.iter().filter_map(output_name).collect();
    let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for column in stars.iter().flatten().flatten().flat_map(Part::shown) {
        *counts.entry(column).or_default() += 1;
    }
    let is_repeated = |column: (&str, &str)| names.contains(column.1) || counts.get(&column).is_some_and(|count| *count > 1);
    let mut written = Vec::with_capacity(select.projection.len());
    for (item, star) in std::mem::take(&mut select.projection).into_iter().zip(&stars) {
        let parts = star.as_ref().filter(|parts| parts.iter().flat_map(Part::shown).any(is_repeated));
        match parts {
            Some(parts) if parts.iter().all(|part| rows.has_room_for_row(part.source, part.columns)) => {
                let columns = parts.iter().flat_map(Part::shown);
                written.extend(columns.map(|(relation, column)| SelectItem::UnnamedExpr(column_of(relation, column))));
            }
            _ => written.push(item),
        }
    }
    select.projection = written;
}

fn output_name(item: &SelectItem) -> Option<String> {
    match item {
        SelectItem::UnnamedExpr(expr) => Some(figure_name(expr)),
        SelectItem::ExprWithAlias { alias, .. } => Some(visible(&fold(alias)).to_owned()),
        _ => None,
    }
}

/// What a star shows of a relation.
struct Part<'s> {
    source: &'s Source,
    columns: &'s [String],
    left_out: Vec<String>,
}

impl<'s> Part<'s> {
    /// The columns behind the name of their relation.
    fn shown(&self) -> impl Iterator<Item = (&'s str, &'s str)> {
        let columns = self.columns.iter().filter(move |column| !self.left_out.contains(column));
        columns.map(move |column| (self.source.name.as_str(), column.as_str()))
    }
}

/// What any star shows; `None` for other items, and where that is not known.
fn of_star<'s>(item: &SelectItem, sources: &'s [Source]) -> Option<Vec<Part<'s>>> {
    match item {
        SelectItem::Wildcard(options) if *options == WildcardAdditionalOptions::default() => {
            let mut names = BTreeSet::new();
            let part = |source: &'s Source| {
                let is_plain = !source.name.is_empty() && names.insert(source.name.as_str());
                let columns = source.columns.as_deref().filter(|_| is_plain)?;
                Some(Part { source, columns, left_out: Vec::new() })
            };
            sources.iter().map(part).collect()
        }
        item => of_one(item, sources),
    }
}

/// What the star of one relation shows.
fn of_one<'s>(item: &SelectItem, sources: &'s [Source]) -> Option<Vec<Part<'s>>> {
    let SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), options) = item else { return None };
    let [part] = name.0.as_slice() else { return None };
    let relation = fold(part.as_ident()?);
    let mut meant = sources.iter().filter(|source| source.name == relation);
    let (Some(source), None) = (meant.next(), meant.next()) else { return None };
    Some(vec![Part { source, columns: source.columns.as_deref()?, left_out: left_out(options)? }])
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::ast::ObjectName;
    use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
    use datafusion::sql::sqlparser::parser::Parser;

    use super::*;

    fn check(sql: &str, expected: &str) {
        let columns_of = |name: &ObjectName| match name.to_string().as_str() {
            "s.t" => Some(vec!["id".to_owned(), "J".to_owned()]),
            "u" => Some(vec!["id".to_owned(), "b".to_owned()]),
            _ => None,
        };
        let mut query = Parser::new(&PostgreSqlDialect {}).try_with_sql(sql).unwrap().parse_query().unwrap();
        write_out(&mut query, &columns_of).unwrap();
        assert_eq!(query.to_string().replace('"', ""), expected, "{sql}");
    }

    #[test]
    fn stars_beside_outputs_of_their_names_are_written_out() {
        for (sql, expected) in [
            ("SELECT t.*, t.id FROM s.t", "SELECT t.id, t.J, t.id FROM s.t"),
            ("SELECT *, 1 AS b FROM s.t, u", "SELECT t.id, t.J, u.id, u.b, 1 AS b FROM s.t, u"),
            ("SELECT x.*, u.*, lower(b) AS B FROM s.t x, u", "SELECT x.*, u.id, u.b, lower(b) AS B FROM s.t x, u"),
            ("SELECT *, x.* FROM u x", "SELECT x.id, x.b, x.id, x.b FROM u x"),
            ("SELECT id, x.* FROM (SELECT * FROM u) x (n)", "SELECT id, x.* FROM (SELECT * FROM u) x (n)"),
            ("SELECT n, x.* FROM (SELECT * FROM u) x (n)", "SELECT n, x.n, x.b FROM (SELECT * FROM u) x (n)"),
            ("SELECT u.*, b FROM u UNION SELECT *, 2 FROM u", "SELECT u.id, u.b, b FROM u UNION SELECT *, 2 FROM u"),
        ] {
            check(sql, expected);
        }
        for unchanged in [
            "SELECT * FROM s.t, u",
            "SELECT t.*, u.* FROM s.t, u",
            "SELECT *, 1 AS c FROM u",
            "SELECT *, id FROM u JOIN s.t USING(id)",
            "SELECT *, id FROM u, nowhere",
            "SELECT s.t.*, id FROM s.t",
        ] {
            check(unchanged, unchanged);
        }
    }

    #[test]
    fn outputs_of_relations_around_are_named() {
        for (sql, expected) in [
            ("SELECT 1 FROM u, LATERAL (SELECT u.*) x", "SELECT 1 FROM u, LATERAL (SELECT u.id AS id, u.b AS b) x"),
            (
                "SELECT 1 FROM u, LATERAL (SELECT U.b, id, J, t.id FROM s.t) x",
                "SELECT 1 FROM u, LATERAL (SELECT U.b AS b, id, J, t.id FROM s.t) x",
            ),
            ("SELECT 1 FROM u, LATERAL (SELECT b, t.* FROM s.t) x", "SELECT 1 FROM u, LATERAL (SELECT b AS b, t.* FROM s.t) x"),
            (
                "SELECT (SELECT count(*) FROM (SELECT y.*) z) FROM u y",
                "SELECT (SELECT count(*) FROM (SELECT y.id AS id, y.b AS b) z) FROM u y",
            ),
            (
                "SELECT 1 FROM u, LATERAL (SELECT 2 UNION SELECT u.b FROM s.t) x",
                "SELECT 1 FROM u, LATERAL (SELECT 2 UNION SELECT u.b AS b FROM s.t) x",
            ),
        ] {
            check(sql, expected);
        }
        for unchanged in [
            "SELECT 1 FROM u, (SELECT u.*) x",
            "SELECT 1 FROM u, LATERAL (SELECT u.* FROM s.t u) x",
            "SELECT 1 FROM u, LATERAL (SELECT b, u.b FROM nowhere u) x",
            "SELECT 1 FROM nowhere n, LATERAL (SELECT n.*) x",
            "SELECT u.b, id FROM u",
        ] {
            check(unchanged, unchanged);
        }
    }
}
