//! Names of relations where a value is asked for: `row_to_json(t)` takes the whole row, `count(t)` counts rows, and `e` of
//! `json_array_elements(…) AS e` is the function's value (manual, "Value Expressions").
//!
//! The planner knows columns only, so a row is written out column by column, and a value as the column it is. A name that is
//! also a column is the column. Where not every column is known, or the row may be missing altogether (outer joins), the name
//! is left for the planner to refuse.

mod aliases;
mod shorter;
mod stars;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, JoinOperator, ObjectName, Query, Select, SelectItem,
    SelectItemQualifiedWildcardKind, SetExpr, TableAlias, TableFactor, Visit, VisitMut, Visitor, VisitorMut,
    WildcardAdditionalOptions,
};

use super::name::{figure_name, fold};
use super::null_test::{self, Test};
use super::size::COPIED_MAX;
use super::{json, visible, volatile};
use crate::error::{Diagnosis, Limit, sqlstate};

pub(super) use aliases::rename as rename_hidden;
pub(super) use shorter::complete as complete_aliases;
pub(super) use stars::write_out as write_out_stars;

/// The functions that take rows.
const TAKE_ROWS: &[&str] = &[
    "row_to_json",
    "to_json",
    "to_jsonb",
    "json_agg",
    "jsonb_agg",
    "json_object_agg",
    "jsonb_object_agg",
    "json_build_object",
    "jsonb_build_object",
    "json_build_array",
    "jsonb_build_array",
];

/// The columns of a table or view; `None` for names of nothing.
pub type ColumnsOf<'c> = dyn Fn(&ObjectName) -> Option<Vec<String>> + 'c;

/// Rewrites the whole query. Its outputs must have been named.
///
/// # Errors
/// 54001 beyond [`WRITTEN_MAX`] columns, or [`COPIED_MAX`] bytes of names.
pub(super) fn rewrite(query: &mut Query, columns_of: &ColumnsOf<'_>) -> Result<(), Diagnosis> {
    let mut pass = WholeRows::new(columns_of);
    let _: ControlFlow<()> = VisitMut::visit(query, &mut pass);
    pass.check()
}

/// What other passes may know of the relations of the query that they visit.
pub(super) struct Relations<'c>(WholeRows<'c>);

impl<'c> Relations<'c> {
    pub(super) fn new(columns_of: &'c ColumnsOf<'c>) -> Self {
        Self(WholeRows::new(columns_of))
    }

    /// Puts the WITH queries of a query in sight, until it is left.
    pub(super) fn enter(&mut self, query: &Query) {
        self.0.enter(query);
    }

    pub(super) fn leave(&mut self) {
        self.0.leave();
    }

    /// The name of a relation of FROM that is no function and no WITH query.
    pub(super) fn stored<'f>(&self, factor: &'f TableFactor) -> Option<&'f ObjectName> {
        let TableFactor::Table { name, args: None, .. } = factor else { return None };
        let own = name.0.last().and_then(|part| part.as_ident()).map(fold)?;
        let is_common = name.0.len() == 1 && self.0.with.iter().any(|(known, _)| *known == own);
        (!is_common).then_some(name)
    }

    /// The columns of a relation of FROM; `None` when they are not known.
    pub(super) fn columns(&self, factor: &TableFactor) -> Option<Vec<String>> {
        self.0.source(factor).columns
    }

    /// Writes out the stars of a query that stand beside outputs of the same names.
    ///
    /// # Errors
    /// 54001 beyond what may be written.
    pub(super) fn write_out_repeated(&self, query: &mut Query) -> Result<(), Diagnosis> {
        stars::repeated_in(&mut query.body, &self.0);
        self.0.check()
    }
}

/// A relation of FROM.
#[derive(Clone)]
struct Source {
    name: String,
    /// Its columns; `None` when they are not known.
    columns: Option<Vec<String>>,
    /// Whether it is a function with one column, which its name stands for.
    is_value: bool,
    /// Whether an outer join may give it no row at all.
    may_be_missing: bool,
}

struct WholeRows<'c> {
    columns_of: &'c ColumnsOf<'c>,
    /// FROM of the queries around, innermost last.
    scopes: Vec<Vec<Source>>,
    /// WITH queries in sight and their columns.
    with: Vec<(String, Option<Vec<String>>)>,
    /// How many of those there were outside of each query.
    marks: Vec<usize>,
    /// FROM around the subqueries of FROM that do not see it.
    hidden: Vec<Vec<Vec<Source>>>,
    /// How many field accesses are around: their names are no columns.
    in_access: usize,
    /// Columns that rows were written out as.
    written: Cell<usize>,
    /// Bytes of the names that were written.
    names: Cell<usize>,
}

/// Most columns that the rows of a statement are written out as.
const WRITTEN_MAX: usize = 100_000;

impl VisitorMut for WholeRows<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        self.open(query);
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.close();
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        self.scopes.push(self.sources(select));
        for item in &mut select.projection {
            let SelectItem::UnnamedExpr(Expr::Identifier(ident)) = item else { continue };
            if let Some(expr) = self.value(ident) {
                let alias = Ident::with_quote('"', fold(ident));
                *item = SelectItem::ExprWithAlias { expr, alias };
            }
        }
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, _: &mut Select) -> ControlFlow<()> {
        self.scopes.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        self.hide(factor);
        ControlFlow::Continue(())
    }

    fn post_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        self.show(factor);
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        self.in_access += usize::from(matches!(expr, Expr::CompoundFieldAccess { .. }));
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        self.in_access -= usize::from(matches!(expr, Expr::CompoundFieldAccess { .. }));
        match expr {
            Expr::Identifier(ident) if self.in_access == 0 => {
                if let Some(column) = self.value(ident) {
                    *expr = column;
                }
            }
            Expr::Function(function) => {
                let name = function.name.0.last().and_then(|part| part.as_ident()).map(fold).unwrap_or_default();
                let FunctionArguments::List(list) = &mut function.args else { return ControlFlow::Continue(()) };
                if TAKE_ROWS.contains(&name.as_str()) {
                    list.args.iter_mut().for_each(|argument| self.write_row(argument));
                } else if name == "count"
                    && list.duplicate_treatment.is_none()
                    && let [argument] = list.args.as_mut_slice()
                    && self.row(argument).is_some_and(|source| self.is_own(source))
                {
                    // A row is never NULL, whatever is in it.
                    *argument = FunctionArg::Unnamed(FunctionArgExpr::Wildcard);
                }
            }
            Expr::IsNull(_) | Expr::IsNotNull(_) => {
                let written = Test::of(expr).and_then(|(test, row)| Some(null_test::of_fields(self.fields(row)?, test)));
                if let Some(written) = written {
                    *expr = written;
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

impl<'c> WholeRows<'c> {
    fn new(columns_of: &'c ColumnsOf<'c>) -> Self {
        Self {
            columns_of,
            scopes: Vec::new(),
            with: Vec::new(),
            marks: Vec::new(),
            hidden: Vec::new(),
            in_access: 0,
            written: Cell::new(0),
            names: Cell::new(0),
        }
    }
}

impl WholeRows<'_> {
    fn enter(&mut self, query: &Query) {
        self.marks.push(self.with.len());
        let Some(with) = &query.with else { return };
        let mut named = BTreeMap::new();
        for cte in &with.cte_tables {
            let name = fold(&cte.alias.name);
            volatile::count(&cte.query, &mut named);
            // Before its end the name of a WITH query is another relation's.
            let is_another = !with.recursive && named.contains_key(&name);
            let columns = if is_another { None } else { renamed(self.outputs(&cte.query), &cte.alias) };
            self.with.push((name, columns));
        }
    }

    fn leave(&mut self) {
        self.with.truncate(self.marks.pop().unwrap_or(0));
    }

    /// Enters a query with its relations, which its ORDER BY, beside the SELECT, sees too.
    fn open(&mut self, query: &Query) {
        self.enter(query);
        let scope = match query.body.as_ref() {
            SetExpr::Select(select) => self.sources(select),
            _ => Vec::new(),
        };
        self.scopes.push(scope);
    }

    fn close(&mut self) {
        self.leave();
        self.scopes.pop();
    }

    /// Takes the relations of FROM out of sight of a subquery beside them.
    fn hide(&mut self, factor: &TableFactor) {
        if matches!(factor, TableFactor::Derived { lateral: false, .. }) {
            // The scopes of the SELECT and of the query that it is the body of.
            let own = self.scopes.len().saturating_sub(2);
            let hidden = self.scopes.iter_mut().skip(own).map(std::mem::take);
            self.hidden.push(hidden.collect());
        }
    }

    /// Puts them back behind it.
    fn show(&mut self, factor: &TableFactor) {
        if matches!(factor, TableFactor::Derived { lateral: false, .. })
            && let Some(hidden) = self.hidden.pop()
        {
            let own = self.scopes.len().saturating_sub(hidden.len());
            for (scope, sources) in self.scopes.iter_mut().skip(own).zip(hidden) {
                *scope = sources;
            }
        }
    }

    /// The relation that a name means, when it means no column: one of any query around comes before every relation.
    fn relation(&self, name: &str) -> Option<&Source> {
        let is_column = |source: &Source| source.columns.iter().flatten().any(|column| column == name);
        if self.scopes.iter().flatten().any(is_column) { None } else { self.relation_named(name) }
    }

    fn relation_named(&self, name: &str) -> Option<&Source> {
        for scope in self.scopes.iter().rev() {
            if scope.iter().any(|source| source.columns.is_none()) {
                return None;
            }
            if let Some(found) = scope.iter().find(|source| source.name == name) {
                return Some(found);
            }
        }
        None
    }

    /// The column that the name of a function in FROM stands for.
    fn value(&self, ident: &Ident) -> Option<Expr> {
        let source = self.relation(&fold(ident)).filter(|source| source.is_value)?;
        let column = source.columns.as_ref()?.first()?;
        self.has_room(0, source.name.len().saturating_add(column.len())).then(|| column_of(&source.name, column))
    }

    /// The columns of a row that is tested for NULL. Those of a row that is missing are NULL, as PostgreSQL has it.
    fn fields(&self, row: &Expr) -> Option<Vec<Expr>> {
        let source = match row {
            Expr::Nested(inner) => return self.fields(inner),
            Expr::Identifier(ident) => self.relation(&fold(ident))?,
            Expr::QualifiedWildcard(name, _) => match name.0.as_slice() {
                [part] => self.relation_named(&fold(part.as_ident()?))?,
                _ => return None,
            },
            _ => return None,
        };
        let columns = source.columns.as_ref()?;
        self.has_room_for_row(source, columns).then(|| columns.iter().map(|column| column_of(&source.name, column)).collect())
    }

    /// Whether columns, with names of so many bytes, may be written; where they may not, the statement is refused in the end.
    fn has_room(&self, columns: usize, names: usize) -> bool {
        self.written.set(self.written.get().saturating_add(columns));
        self.names.set(self.names.get().saturating_add(names));
        !self.is_full()
    }

    fn has_room_for_row(&self, source: &Source, columns: &[String]) -> bool {
        let qualifiers = source.name.len().saturating_mul(columns.len());
        // A column stands there as a name and, in a row of JSON, as a text.
        let names = columns.iter().map(|column| column.len().saturating_mul(2)).fold(qualifiers, usize::saturating_add);
        self.has_room(columns.len(), names)
    }

    /// # Errors
    /// 54001 where something had no room.
    fn check(&self) -> Result<(), Diagnosis> {
        if !self.is_full() {
            return Ok(());
        }
        Err(Diagnosis::new(sqlstate::STATEMENT_TOO_COMPLEX, "statement names rows of relations too often")
            .with_detail(format!(
                "Rows may be written out as at most {WRITTEN_MAX} columns, whose names take at most {} MB.",
                COPIED_MAX >> 20
            ))
            .at(Limit::Complexity))
    }

    fn is_full(&self) -> bool {
        self.written.get() > WRITTEN_MAX || self.names.get() > COPIED_MAX
    }

    /// The relation whose row an argument is, when every row of the query has one.
    fn row(&self, argument: &FunctionArg) -> Option<&Source> {
        let found = match argument {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Identifier(ident))) => self.relation(&fold(ident)),
            // `t.*` can be no column.
            FunctionArg::Unnamed(FunctionArgExpr::QualifiedWildcard(name)) => match name.0.as_slice() {
                [part] => part.as_ident().and_then(|ident| self.relation_named(&fold(ident))),
                _ => None,
            },
            _ => None,
        };
        found.filter(|source| !source.may_be_missing && !source.is_value)
    }

    /// Whether a relation is of the innermost FROM.
    fn is_own(&self, source: &Source) -> bool {
        self.scopes.last().is_some_and(|scope| scope.iter().any(|own| own.name == source.name))
    }

    fn write_row(&self, argument: &mut FunctionArg) {
        let Some(source) = self.row(argument) else { return };
        let Some(columns) = source.columns.as_ref().filter(|columns| self.has_room_for_row(source, columns)) else { return };
        let fields = columns.iter().map(|column| (column.clone(), column_of(&source.name, column)));
        *argument = FunctionArg::Unnamed(FunctionArgExpr::Expr(json::row(fields)));
    }

    fn sources(&self, select: &Select) -> Vec<Source> {
        let mut sources: Vec<Source> = Vec::new();
        for from in &select.from {
            let start = sources.len();
            sources.push(self.source(&from.relation));
            for join in &from.joins {
                let mut right = self.source(&join.relation);
                let (left_missing, right_missing) = missing_sides(&join.join_operator);
                right.may_be_missing = right_missing;
                if left_missing {
                    sources.iter_mut().skip(start).for_each(|source| source.may_be_missing = true);
                }
                sources.push(right);
            }
        }
        sources
    }

    fn source(&self, factor: &TableFactor) -> Source {
        let unknown = || Source { name: String::new(), columns: None, is_value: false, may_be_missing: false };
        let of =
            |name: String, columns: Option<Vec<String>>, is_value: bool| Source { name, columns, is_value, may_be_missing: false };
        if let Some((name, columns)) = json::function_columns(factor) {
            let is_value = columns.len() == 1;
            return of(name, Some(columns), is_value);
        }
        match factor {
            TableFactor::Table { name, args: None, alias, .. } => {
                let own = name.0.last().and_then(|part| part.as_ident()).map(fold).unwrap_or_default();
                let common = self.with.iter().rev().find(|(known, _)| name.0.len() == 1 && *known == own);
                let columns = match common {
                    Some((_, columns)) => columns.clone(),
                    None => (self.columns_of)(name),
                };
                match alias {
                    Some(alias) => of(fold(&alias.name), renamed(columns, alias), false),
                    None => of(own, columns, false),
                }
            }
            TableFactor::Derived { subquery, alias: Some(alias), .. } => {
                of(fold(&alias.name), renamed(self.outputs(subquery), alias), false)
            }
            _ => unknown(),
        }
    }

    /// The names of a query's columns.
    fn outputs(&self, query: &Query) -> Option<Vec<String>> {
        // What its own WITH names is not in sight here.
        if query.with.is_some() {
            return None;
        }
        let names = self.body_outputs(&query.body)?;
        let mut sorted = names.clone();
        sorted.sort();
        sorted.dedup();
        // A name that two columns have cannot be referred to.
        (sorted.len() == names.len()).then_some(names)
    }

    fn body_outputs(&self, body: &SetExpr) -> Option<Vec<String>> {
        match body {
            SetExpr::Select(select) => self.select_outputs(select),
            SetExpr::Query(query) => self.outputs(query),
            SetExpr::SetOperation { left, .. } => self.body_outputs(left),
            SetExpr::Values(values) => {
                let count = values.rows.first()?.content.len();
                Some((1..=count).map(|place| format!("column{place}")).collect())
            }
            _ => None,
        }
    }

    fn select_outputs(&self, select: &Select) -> Option<Vec<String>> {
        let mut names = Vec::new();
        for item in &select.projection {
            match item {
                SelectItem::UnnamedExpr(expr) => names.push(figure_name(expr)),
                SelectItem::ExprWithAlias { alias, .. } => names.push(visible(&fold(alias)).to_owned()),
                SelectItem::Wildcard(options) if *options == WildcardAdditionalOptions::default() => {
                    for source in self.sources(select) {
                        names.extend(source.columns?);
                    }
                }
                SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), options) => {
                    let wanted = name.0.last().and_then(|part| part.as_ident()).map(fold)?;
                    let left_out = left_out(options)?;
                    let columns = self.sources(select).into_iter().find(|source| source.name == wanted)?.columns?;
                    names.extend(columns.into_iter().filter(|column| !left_out.contains(column)));
                }
                _ => return None,
            }
        }
        Some(names)
    }
}

/// Whether there are queries inside a query.
fn nests(query: &Query) -> bool {
    struct Queries(usize);
    impl Visitor for Queries {
        type Break = ();

        fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
            self.0 += 1;
            if self.0 > 1 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }
    }
    Visit::visit(query, &mut Queries(0)).is_break()
}

fn column_of(relation: &str, column: &str) -> Expr {
    Expr::CompoundIdentifier(vec![Ident::with_quote('"', relation), Ident::with_quote('"', column)])
}

/// The columns with the names that an alias gives the first of them.
fn renamed(columns: Option<Vec<String>>, alias: &TableAlias) -> Option<Vec<String>> {
    let mut columns = columns?;
    for (column, given) in columns.iter_mut().zip(&alias.columns) {
        *column = fold(&given.name);
    }
    Some(columns)
}

/// The names after EXCEPT, which stands where columns of USING were written out; `None` beside other options.
pub(super) fn left_out(options: &WildcardAdditionalOptions) -> Option<Vec<String>> {
    let others = WildcardAdditionalOptions { opt_except: None, ..options.clone() };
    let except =
        options.opt_except.iter().flat_map(|except| std::iter::once(&except.first_element).chain(&except.additional_elements));
    (others == WildcardAdditionalOptions::default()).then(|| except.map(fold).collect())
}

/// Whether a join may give the left and the right side no row.
fn missing_sides(operator: &JoinOperator) -> (bool, bool) {
    match operator {
        JoinOperator::Left(_) | JoinOperator::LeftOuter(_) => (false, true),
        JoinOperator::Right(_) | JoinOperator::RightOuter(_) => (true, false),
        JoinOperator::FullOuter(_) => (true, true),
        _ => (false, false),
    }
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::{dialect::PostgreSqlDialect, parser::Parser};

    use super::*;

    fn check(sql: &str, expected: &str) {
        let columns_of = |name: &ObjectName| match name.to_string().as_str() {
            "s.t" => Some(vec!["id".to_owned(), "J".to_owned()]),
            "u" => Some(vec!["id".to_owned(), "t".to_owned()]),
            _ => None,
        };
        let mut query = Parser::new(&PostgreSqlDialect {}).try_with_sql(sql).unwrap().parse_query().unwrap();
        rewrite(&mut query, &columns_of).unwrap();
        assert_eq!(query.to_string(), expected);
    }

    #[test]
    fn rows_have_room_or_are_refused() {
        let wide: Vec<String> = (0..1_000).map(|place| format!("column_{place}")).collect();
        let columns_of = |name: &ObjectName| (name.to_string() == "w").then(|| wide.clone());
        let long = format!("\"{}\"", "x".repeat(100_000));
        let rows = [
            (format!("SELECT {} FROM w", vec!["to_json(w)"; 100].join(", ")), Ok(())),
            (format!("SELECT {} FROM w", vec!["to_json(w)"; 101].join(", ")), Err("54001")),
            (format!("SELECT 1 FROM w WHERE {}", vec!["w.* IS NULL"; 101].join(" OR ")), Err("54001")),
            (format!("SELECT {} FROM w", vec!["count(w)"; 101].join(", ")), Ok(())),
            (format!("SELECT to_json({long}) FROM w AS {long}"), Err("54001")),
            (format!("SELECT {} FROM json_array_elements('[]') AS e({long})", vec!["e"; 100].join(", ")), Ok(())),
            (format!("SELECT {} FROM json_array_elements('[]') AS e({long})", vec!["e"; 1_000].join(", ")), Err("54001")),
        ];
        for (sql, expected) in rows {
            let mut query = Parser::new(&PostgreSqlDialect {}).try_with_sql(&sql).unwrap().parse_query().unwrap();
            let found = rewrite(&mut query, &columns_of).map_err(|error| error.sqlstate);
            assert_eq!(found.as_ref().map_err(String::as_str), expected.as_ref().map_err(|code| *code), "{sql:.60}");
        }
    }

    #[test]
    fn rows_are_written_out() {
        let row = "pg_json_row('id', \"t\".\"id\", 'J', \"t\".\"J\")";
        check("SELECT row_to_json(t) FROM s.t", &format!("SELECT row_to_json({row}) FROM s.t"));
        check("SELECT json_agg(T.* ORDER BY id) FROM s.t", &format!("SELECT json_agg({row} ORDER BY id) FROM s.t"));
        check(
            "WITH w AS (SELECT id AS a FROM u) SELECT to_json(x) FROM (SELECT w.*, 1 AS \"B\" FROM w) x",
            "WITH w AS (SELECT id AS a FROM u) SELECT to_json(pg_json_row('a', \"x\".\"a\", 'B', \"x\".\"B\")) FROM (SELECT w.*, 1 AS \"B\" FROM w) x",
        );
        check(
            "SELECT to_json(v) FROM (VALUES (1, 2)) v(a)",
            "SELECT to_json(pg_json_row('a', \"v\".\"a\", 'column2', \"v\".\"column2\")) FROM (VALUES (1, 2)) v (a)",
        );
        check("SELECT to_json(t.*) FROM s.t, u", &format!("SELECT to_json({row}) FROM s.t, u"));
        let inner = format!("(SELECT to_json({row}) AS r FROM s.t)");
        check("SELECT (SELECT to_json(t) AS r FROM s.t) FROM s.t AS x", &format!("SELECT {inner} FROM s.t AS x"));
        check("SELECT d.r FROM u, (SELECT to_json(t) AS r FROM s.t) d", &format!("SELECT d.r FROM u, {inner} d"));
        check("SELECT t FROM u, (SELECT to_json(t) AS r FROM s.t) d", &format!("SELECT t FROM u, {inner} d"));
        check("SELECT count(t), count(t.*) FILTER (WHERE true) FROM s.t", "SELECT count(*), count(*) FILTER (WHERE true) FROM s.t");
        for unchanged in [
            "SELECT count(DISTINCT t), count(id) FROM s.t",
            "SELECT count(t) FROM u LEFT JOIN s.t ON true",
            "SELECT (SELECT count(x) FROM u) FROM s.t AS x",
            "SELECT (SELECT to_json(t) FROM s.t) FROM u",
            "SELECT d.r FROM u, LATERAL (SELECT to_json(t) AS r FROM s.t) d",
            "SELECT to_json(t) FROM s.t, u",
            "SELECT to_json(t) FROM s.t, unknown",
            "SELECT to_json(t) FROM u LEFT JOIN s.t ON true",
            "SELECT to_json(x) FROM (SELECT 1 AS a, 2 AS a) x",
            "SELECT lower(t) FROM s.t",
        ] {
            check(unchanged, unchanged);
        }
    }

    #[test]
    fn rows_of_relations_are_tested_column_by_column() {
        let null = "(\"t\".\"id\" IS NULL AND \"t\".\"J\" IS NULL)";
        check("SELECT 1 FROM s.t WHERE t.* IS NULL", &format!("SELECT 1 FROM s.t WHERE {null}"));
        check("SELECT (T) IS NULL FROM s.t", &format!("SELECT {null} FROM s.t"));
        check(
            "SELECT 1 FROM u LEFT JOIN s.t AS x(a) ON true WHERE NOT (x.*) IS NOT NULL",
            "SELECT 1 FROM u LEFT JOIN s.t AS x (a) ON true WHERE NOT (\"x\".\"a\" IS NOT NULL AND \"x\".\"J\" IS NOT NULL)",
        );
        for unchanged in ["SELECT 1 FROM s.t, unknown WHERE t.* IS NULL", "SELECT 1 FROM s.t WHERE id IS NULL"] {
            check(unchanged, unchanged);
        }
    }

    #[test]
    fn values_of_functions_are_their_columns() {
        check(
            "SELECT e, e ->> 'a' FROM s.t, jsonb_array_elements(\"J\") AS e ORDER BY e -> 'x'",
            "SELECT \"e\".\"value\" AS \"e\", \"e\".\"value\" ->> 'a' FROM s.t, jsonb_array_elements(\"J\") AS e ORDER BY \"e\".\"value\" -> 'x'",
        );
        check(
            "SELECT e.key, (SELECT max(f) FROM jsonb_array_elements_text(e.value) f(x)) FROM json_each('{}') e",
            "SELECT e.key, (SELECT max(\"f\".\"x\") FROM jsonb_array_elements_text(e.value) f (x)) FROM json_each('{}') e",
        );
        check("SELECT t FROM u, json_array_elements('[]') t", "SELECT t FROM u, json_array_elements('[]') t");
    }
}
