//! Output columns have the names PostgreSQL gives them (`FigureColname` in its parse analysis): `count`, `?column?`, `case`.
//!
//! The planner wants unique names, so a name that would repeat carries a hidden number (see [`super::HIDDEN`]).

use std::collections::{BTreeMap, BTreeSet};

use datafusion::sql::sqlparser::ast::AccessExpr;
use datafusion::sql::sqlparser::ast::{
    ArrayElemTypeDef, DataType, Expr, Ident, Query, Select, SelectItem, SetExpr, Subscript, TableFactor, TrimWhereField, Visit,
    VisitMut, Visitor, VisitorMut,
};
use std::ops::ControlFlow;

use super::HIDDEN;

/// Names the outputs of a query and of every query inside it.
pub fn name_outputs(query: &mut Query) {
    let _: ControlFlow<()> = VisitMut::visit(query, &mut Inner);
    let mut names = Named::default();
    let _: ControlFlow<()> = query.order_by.as_ref().map_or(ControlFlow::Continue(()), |order| Visit::visit(order, &mut names));
    let ordered = names.bare.clone();
    if let SetExpr::Select(select) = query.body.as_ref() {
        let mut grouped = Named::default();
        let _: ControlFlow<()> = Visit::visit(&select.group_by, &mut grouped);
        names.bare.extend(grouped.bare);
    }
    let columns = names.qualified.difference(&names.bare).cloned().collect();
    rename(&mut query.body, &Level::Top { ordered, columns });
    let _: ControlFlow<()> = VisitMut::visit(query, &mut Repeated);
}

/// In a query that stands in FROM or WITH, a name that two outputs have must not be found by either: both are hidden, and
/// `diagnose` tells a reference to them from one to nothing.
struct Repeated;

impl VisitorMut for Repeated {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        for table in query.with.iter_mut().flat_map(|with| &mut with.cte_tables) {
            hide_repeated(&mut table.query);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if let TableFactor::Derived { subquery, .. } = factor {
            hide_repeated(subquery);
        }
        ControlFlow::Continue(())
    }
}

fn hide_repeated(query: &mut Query) {
    // Its own ORDER BY may mean the output, which it finds by the first one's name.
    if query.order_by.is_some() {
        return;
    }
    let mut body = query.body.as_mut();
    let select = loop {
        match body {
            SetExpr::Select(select) => break select,
            SetExpr::SetOperation { left, .. } => body = left.as_mut(),
            SetExpr::Query(inner) => body = inner.body.as_mut(),
            _ => return,
        }
    };
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for name in select.projection.iter().filter_map(shown_name) {
        *counts.entry(name).or_default() += 1;
    }
    for (place, item) in select.projection.iter_mut().enumerate() {
        let Some(name) = shown_name(item).filter(|name| counts.get(name).is_some_and(|count| *count > 1)) else { continue };
        let unique = Ident::with_quote('"', format!("{name}{HIDDEN}{place}"));
        match item {
            SelectItem::ExprWithAlias { alias, .. } => *alias = unique,
            SelectItem::UnnamedExpr(expr) => {
                let expr = std::mem::replace(expr, Expr::Identifier(Ident::new("")));
                *item = SelectItem::ExprWithAlias { expr, alias: unique };
            }
            _ => {}
        }
    }
}

/// The name of an output as clients see it; `None` for `*`.
fn shown_name(item: &SelectItem) -> Option<String> {
    match item {
        SelectItem::UnnamedExpr(expr) => Some(figure_name(expr)),
        SelectItem::ExprWithAlias { alias, .. } => Some(super::visible(&fold(alias)).to_owned()),
        _ => None,
    }
}

/// The names in some expressions: of columns of a named relation, and without one, which may be those of outputs.
#[derive(Default)]
struct Named {
    qualified: BTreeSet<String>,
    bare: BTreeSet<String>,
}

impl Visitor for Named {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        match expr {
            Expr::Identifier(ident) => {
                self.bare.insert(fold(ident));
            }
            Expr::CompoundIdentifier(parts) => self.qualified.extend(parts.last().map(fold)),
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// Names of the outermost level are never referred to but by ORDER BY, so there they may be hidden where they would clash.
enum Level {
    Top {
        /// Names in ORDER BY that may be those of outputs.
        ordered: BTreeSet<String>,
        /// Columns that ORDER BY names with their relation, which the planner adds beside the outputs, and never without it.
        columns: BTreeSet<String>,
    },
    Inner,
}

impl Level {
    /// Whether a name beside a wildcard, which may repeat a name the wildcard stands for, can be hidden.
    fn may_hide(&self, name: &str) -> bool {
        match self {
            Self::Top { ordered, .. } => !ordered.contains(name),
            Self::Inner => false,
        }
    }

    /// Whether the name of an output that is no column of this name is also that of a column which ORDER BY means.
    fn hides(&self, name: &str, expr: &Expr) -> bool {
        let is_column = match expr {
            Expr::Identifier(ident) => fold(ident) == name,
            Expr::CompoundIdentifier(parts) => parts.last().is_some_and(|last| fold(last) == name),
            _ => false,
        };
        matches!(self, Self::Top { columns, .. } if !is_column && columns.contains(name))
    }
}

struct Inner;

impl VisitorMut for Inner {
    type Break = ();

    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        name_select(select, &Level::Inner);
        ControlFlow::Continue(())
    }
}

fn rename(body: &mut SetExpr, level: &Level) {
    match body {
        SetExpr::Select(select) => name_select(select, level),
        SetExpr::Query(query) => rename(&mut query.body, &Level::Inner),
        SetExpr::SetOperation { left, .. } => rename(left, &Level::Inner),
        _ => {}
    }
}

fn name_select(select: &mut Select, level: &Level) {
    let wild = |item: &SelectItem| matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..));
    let has_wildcard = select.projection.iter().any(wild);
    let mut used: BTreeSet<String> = BTreeSet::new();
    for (place, item) in select.projection.iter_mut().enumerate() {
        match item {
            SelectItem::UnnamedExpr(expr) => {
                let name = figure_name(expr);
                let plain = matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_));
                let clashes = !used.insert(name.clone()) || (has_wildcard && level.may_hide(&name)) || level.hides(&name, expr);
                if plain && !clashes {
                    continue;
                }
                let unique = if clashes { format!("{name}{HIDDEN}{place}") } else { name };
                let expr = std::mem::replace(expr, Expr::Identifier(Ident::new("")));
                *item = SelectItem::ExprWithAlias { expr, alias: Ident::with_quote('"', unique) };
            }
            SelectItem::ExprWithAlias { alias, expr } => {
                let shown = fold(alias);
                let clashes = !used.insert(shown.clone()) || (has_wildcard && level.may_hide(&shown)) || level.hides(&shown, expr);
                if !shown.contains(HIDDEN) && clashes {
                    *alias = Ident::with_quote('"', format!("{shown}{HIDDEN}{place}"));
                }
            }
            _ => {}
        }
    }
}

/// An identifier as Postgres folds it.
pub fn fold(ident: &Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() }
}

/// The name of an unnamed output expression.
pub fn figure_name(expr: &Expr) -> String {
    figure(expr).map_or_else(|| "?column?".to_owned(), |(name, _)| name)
}

/// The name with its strength: 2 for names a reader would expect, 1 for names that something better may replace.
fn figure(expr: &Expr) -> Option<(String, u8)> {
    match expr {
        Expr::Identifier(ident) => Some((fold(ident), 2)),
        Expr::CompoundIdentifier(parts) => parts.last().map(|last| (fold(last), 2)),
        Expr::CompoundFieldAccess { root, access_chain } => figure_access(root, access_chain),
        Expr::Nested(inner) | Expr::Collate { expr: inner, .. } => figure(inner),
        Expr::Function(function) => function.name.0.last().and_then(|part| part.as_ident()).map(|ident| (fold(ident), 2)),
        Expr::Cast { expr, data_type, .. } => match figure(expr) {
            Some((name, 2)) => Some((name, 2)),
            _ => type_name(data_type).map(|name| (name, 1)),
        },
        Expr::TypedString(typed) => type_name(&typed.data_type).map(|name| (name, 1)),
        Expr::Case { else_result, .. } => match else_result.as_deref().and_then(figure) {
            Some((name, 2)) => Some((name, 2)),
            _ => Some(("case".to_owned(), 1)),
        },
        Expr::Subquery(query) => figure_subquery(query),
        other => fixed_name(other).map(|name| (name.to_owned(), 2)),
    }
}

fn figure_access(root: &Expr, chain: &[AccessExpr]) -> Option<(String, u8)> {
    let last_field = chain.iter().rev().find_map(|access| match access {
        AccessExpr::Dot(field) => Some(field),
        AccessExpr::Subscript(Subscript::Index { .. } | Subscript::Slice { .. }) => None,
    });
    figure(last_field.unwrap_or(root))
}

fn figure_subquery(query: &Query) -> Option<(String, u8)> {
    let SetExpr::Select(select) = query.body.as_ref() else { return None };
    match select.projection.first()? {
        SelectItem::UnnamedExpr(expr) => figure(expr).map(|(name, _)| (name, 2)),
        SelectItem::ExprWithAlias { alias, .. } => Some((fold(alias).split(HIDDEN).next().unwrap_or_default().to_owned(), 2)),
        _ => None,
    }
}

/// Syntax that is a function call in disguise.
fn fixed_name(expr: &Expr) -> Option<&'static str> {
    Some(match expr {
        Expr::Exists { negated: false, .. } => "exists",
        Expr::Array(_) => "array",
        Expr::Tuple(_) => "row",
        Expr::Interval(_) => "interval",
        Expr::Extract { .. } => "extract",
        Expr::Ceil { .. } => "ceil",
        Expr::Floor { .. } => "floor",
        Expr::Position { .. } => "position",
        Expr::Substring { .. } => "substring",
        Expr::Overlay { .. } => "overlay",
        Expr::AtTimeZone { .. } => "timezone",
        Expr::Trim { trim_where, .. } => match trim_where {
            Some(TrimWhereField::Leading) => "ltrim",
            Some(TrimWhereField::Trailing) => "rtrim",
            Some(TrimWhereField::Both) | None => "btrim",
        },
        _ => return None,
    })
}

/// `pg_type.typname` of a type as written.
fn type_name(data_type: &DataType) -> Option<String> {
    let name = match data_type {
        DataType::Int(_) | DataType::Integer(_) | DataType::Int4(_) => "int4",
        DataType::SmallInt(_) | DataType::Int2(_) => "int2",
        DataType::BigInt(_) | DataType::Int8(_) => "int8",
        DataType::Numeric(_) | DataType::Decimal(_) | DataType::Dec(_) => "numeric",
        DataType::Real | DataType::Float4 => "float4",
        DataType::Double(_) | DataType::DoublePrecision | DataType::Float8 | DataType::Float(_) => "float8",
        DataType::Boolean | DataType::Bool => "bool",
        DataType::Varchar(_) | DataType::CharacterVarying(_) | DataType::CharVarying(_) => "varchar",
        DataType::Char(_) | DataType::Character(_) => "bpchar",
        DataType::Timestamp(_, zone) if is_zoned(zone) => "timestamptz",
        DataType::Time(_, zone) if is_zoned(zone) => "timetz",
        DataType::Timestamp(..) => "timestamp",
        DataType::Time(..) => "time",
        DataType::Interval { .. } => "interval",
        DataType::Custom(name, _) => return name.0.last().and_then(|part| part.as_ident()).map(fold),
        DataType::Array(ArrayElemTypeDef::SquareBracket(element, _) | ArrayElemTypeDef::AngleBracket(element)) => {
            return type_name(element);
        }
        other => return Some(other.to_string().to_lowercase()),
    };
    Some(name.to_owned())
}

fn is_zoned(zone: &datafusion::sql::sqlparser::ast::TimezoneInfo) -> bool {
    use datafusion::sql::sqlparser::ast::TimezoneInfo;
    matches!(zone, TimezoneInfo::WithTimeZone | TimezoneInfo::Tz)
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::{ast::Statement, dialect::PostgreSqlDialect, parser::Parser};

    use super::*;

    fn names(sql: &str) -> Vec<String> {
        let statement = Parser::parse_sql(&PostgreSqlDialect {}, sql).unwrap().remove(0);
        let Statement::Query(mut query) = statement else { panic!("not a query") };
        name_outputs(&mut query);
        let SetExpr::Select(select) = *query.body else { panic!("not a select") };
        select
            .projection
            .iter()
            .map(|item| match item {
                SelectItem::UnnamedExpr(expr) => figure_name(expr),
                SelectItem::ExprWithAlias { alias, .. } => super::super::visible(&alias.value).to_owned(),
                other => other.to_string(),
            })
            .collect()
    }

    #[test]
    fn repeated_names_of_inner_queries_are_all_hidden() {
        for (sql, expected) in [
            (
                "SELECT * FROM (SELECT a, 2 AS A, b FROM t) q",
                "SELECT * FROM (SELECT a AS \"a\u{1}0\", 2 AS \"a\u{1}1\", b FROM t) q",
            ),
            (
                "WITH q AS (SELECT 1 AS a, 2 AS a UNION SELECT 3, 4) SELECT 1 AS a FROM q",
                "WITH q AS (SELECT 1 AS \"a\u{1}0\", 2 AS \"a\u{1}1\" UNION SELECT 3 AS \"?column?\", 4 AS \"?column?\u{1}1\") SELECT 1 AS a FROM q",
            ),
        ] {
            let statement = Parser::parse_sql(&PostgreSqlDialect {}, sql).unwrap().remove(0);
            let Statement::Query(mut query) = statement else { panic!("not a query") };
            name_outputs(&mut query);
            assert_eq!(query.to_string(), expected);
        }
    }

    #[test]
    fn outputs_beside_a_star_are_hidden_from_orders_that_name_its_columns() {
        for (sql, expected) in [
            ("SELECT *, t.a FROM t ORDER BY t.a", "SELECT *, t.a AS \"a\u{1}1\" FROM t ORDER BY t.a"),
            ("SELECT *, 1 AS a FROM t ORDER BY lower(ab)", "SELECT *, 1 AS \"a\u{1}1\" FROM t ORDER BY lower(ab)"),
            ("SELECT *, 1 AS a FROM t ORDER BY (A)", "SELECT *, 1 AS a FROM t ORDER BY (A)"),
        ] {
            let statement = Parser::parse_sql(&PostgreSqlDialect {}, sql).unwrap().remove(0);
            let Statement::Query(mut query) = statement else { panic!("not a query") };
            name_outputs(&mut query);
            assert_eq!(query.to_string(), expected);
        }
    }

    #[test]
    fn outputs_are_named_as_postgres_names_them() {
        let rows = [
            ("SELECT 1, 'a', a.B, \"C\"", vec!["?column?", "?column?", "b", "C"]),
            ("SELECT count(*), pg_catalog.Version(), x::int, 1::int, '1'::text", vec!["count", "version", "x", "int4", "text"]),
            ("SELECT CASE WHEN a THEN 1 END, CASE WHEN a THEN 1 ELSE b END", vec!["case", "b"]),
            ("SELECT EXISTS (SELECT 1), (SELECT max(a) FROM t), ARRAY[1]", vec!["exists", "max", "array"]),
            ("SELECT coalesce(a, b), a + b, -a, a IS NULL", vec!["coalesce", "?column?", "?column?", "?column?"]),
            ("SELECT extract(year from d), trim(x), substring(x from 1)", vec!["extract", "btrim", "substring"]),
            ("SELECT id, id, 1 AS id", vec!["id", "id", "id"]),
            ("SELECT a FROM (SELECT 1 AS a, 2 AS a) t", vec!["a"]),
        ];
        for (sql, expected) in rows {
            assert_eq!(names(sql), expected, "{sql}");
        }
    }
}
