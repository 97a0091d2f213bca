//! What stands behind SET, column by column.

use datafusion::sql::sqlparser::ast::{
    Assignment, AssignmentTarget, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, ObjectName, ObjectNamePart,
    Query, SelectItem, SetExpr, TableFactor, TableWithJoins, WildcardAdditionalOptions, With,
};

use super::super::ast::name::fold;
use super::super::ast::volatile::Views;
use super::super::ast::{picks, volatile};
use super::super::plan::{Setting, parse_query};
use super::super::views::path_of;
use super::target::{Target, qualified};
use crate::catalog::{RelationBody, SearchPath};
use crate::error::{Diagnosis, sqlstate};
use crate::stores::schema::TableKind;

/// How deep views are looked into.
const VIEWS_MAX: usize = 16;

/// Assignments column by column: those of lists are taken apart. `with` stands before the statement.
///
/// # Errors
/// 42601 for a column that is assigned twice and for lists of unlike lengths, 42703 and 42804 for columns and fields that do not exist.
pub(super) fn single(
    setting: &Setting,
    (target, with): (&mut Target, Option<&With>),
    assignments: Vec<Assignment>,
) -> Result<Vec<(usize, Expr)>, Diagnosis> {
    let mut views = |name: &ObjectName| is_of_with(name, with, setting) || differs(name, (setting, &setting.path), VIEWS_MAX);
    let widths = |name: &ObjectName| columns_of(name, with, setting);
    let mut found: Vec<(usize, Expr)> = Vec::with_capacity(assignments.len());
    for Assignment { target: to, value } in assignments {
        match to {
            AssignmentTarget::ColumnName(name) => found.push((target.place(&name)?, value)),
            AssignmentTarget::Tuple(names) => {
                let values = match bare(value) {
                    Expr::Subquery(query) => outputs(*query, names.len(), (&mut views, &widths))?,
                    value => listed(value).ok_or_else(no_row)?,
                };
                if values.len() != names.len() {
                    return Err(Diagnosis::new(sqlstate::SYNTAX_ERROR, "number of columns does not match number of values"));
                }
                for (name, value) in names.iter().zip(values) {
                    found.push((target.place(name)?, value));
                }
            }
        }
    }
    for (ordinal, value) in &found {
        target.check_part(*ordinal, value)?;
    }
    let ordinals: Vec<usize> = found.iter().map(|(ordinal, _)| *ordinal).collect();
    match target.repeated(&ordinals)? {
        None => Ok(found),
        Some(twice) => Err(Diagnosis::new(sqlstate::SYNTAX_ERROR, format!("multiple assignments to same column \"{twice}\""))),
    }
}

/// An expression without the parentheses around parentheses, and without those around a subquery, which has its own.
fn bare(value: Expr) -> Expr {
    match value {
        Expr::Nested(inner) if matches!(inner.as_ref(), Expr::Nested(_) | Expr::Subquery(_)) => bare(*inner),
        value => value,
    }
}

/// The values of `(a, b)`, `ROW(a, b)` and `(VALUES (a, b))`. Parentheses around a single value make no row of it.
fn listed(value: Expr) -> Option<Vec<Expr>> {
    match value {
        Expr::Tuple(values) => Some(values),
        // The parser takes VALUES inside an expression for a call.
        Expr::Nested(value) => match *value {
            Expr::Function(call) if is_named(&call, "values") => arguments(call),
            value => listed(value),
        },
        Expr::Function(call) if is_named(&call, "row") => arguments(call),
        _ => None,
    }
}

fn arguments(call: Function) -> Option<Vec<Expr>> {
    let FunctionArguments::List(list) = call.args else { return None };
    let value = |argument: FunctionArg| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) => Some(value),
        _ => None,
    };
    list.args.into_iter().map(value).collect()
}

fn is_named(call: &Function, word: &str) -> bool {
    match call.name.0.as_slice() {
        [part] => part.as_ident().is_some_and(|name| name.quote_style.is_none() && name.value.eq_ignore_ascii_case(word)),
        _ => false,
    }
}

/// As PostgreSQL says it.
fn no_row() -> Diagnosis {
    let message = "source for a multiple-column UPDATE item must be a sub-SELECT or ROW() expression";
    Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, message)
}

/// The columns of a query, each by a subquery of its own: all of them must read the same row. `views` tells of a relation whether it
/// may give other rows when it is read again.
fn outputs(query: Query, count: usize, (views, widths): (&mut Views<'_>, Widths<'_>)) -> Result<Vec<Expr>, Diagnosis> {
    let refused = |reason: &str| {
        let message = format!("columns cannot be set together from a subquery that {reason}");
        Err(Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, message).with_hint("Set each of them by itself."))
    };
    if count > 1 && volatile::changes(&query) {
        return refused("calls a volatile function");
    }
    if count > 1 && picks::depends_on_order(&query, views) {
        return refused("depends on the order of rows");
    }
    if width_of(&query, widths).is_some_and(|width| width != count) {
        return Err(Diagnosis::new(sqlstate::SYNTAX_ERROR, "number of columns does not match number of values"));
    }
    if count == 1 {
        return Ok(vec![Expr::Subquery(Box::new(query))]);
    }
    (0..count).map(|place| Ok(Expr::Subquery(Box::new(output(&query, (place, count))?)))).collect()
}

/// Whether a name is that of a query of WITH, where one of these may give other rows each time: its copies would.
fn is_of_with(name: &ObjectName, with: Option<&With>, setting: &Setting) -> bool {
    let [ObjectNamePart::Identifier(name)] = name.0.as_slice() else { return false };
    let (Some(with), name) = (with, fold(name)) else { return false };
    let mut views = |name: &ObjectName| differs(name, (setting, &setting.path), VIEWS_MAX);
    let mut is_other = |query: &Query| picks::depends_on_order(query, &mut views);
    with.cte_tables.iter().any(|cte| fold(&cte.alias.name) == name) && with.cte_tables.iter().any(|cte| is_other(&cte.query))
}

/// Whether a name is that of a view which may give other rows each time. Nobody knows it of a view of a store.
fn differs(name: &ObjectName, (setting, path): (&Setting, &SearchPath), depth: usize) -> bool {
    let Ok(relation) = qualified(name).and_then(|name| setting.snapshot.resolve(&name, path)) else { return false };
    match &relation.body {
        RelationBody::View { sql, .. } => {
            // Names in views are looked up on a path of their own.
            let mut views = |name: &ObjectName| differs(name, (setting, path_of(&relation)), depth - 1);
            depth == 0 || parse_query(sql).ok().is_none_or(|query| picks::depends_on_order(&query, &mut views))
        }
        RelationBody::Stored { table, .. } => table.kind == TableKind::View,
        RelationBody::Rows(_) => false,
    }
}

/// How many columns a relation has.
type Widths<'w> = &'w dyn Fn(&ObjectName) -> Option<usize>;

/// How many columns a table or a view has; `None` for what may be a query of WITH.
fn columns_of(name: &ObjectName, with: Option<&With>, setting: &Setting) -> Option<usize> {
    let last = name.0.last().and_then(ObjectNamePart::as_ident).map(fold)?;
    if with.is_some_and(|with| with.cte_tables.iter().any(|cte| fold(&cte.alias.name) == last)) {
        return None;
    }
    match &setting.snapshot.resolve(&qualified(name).ok()?, &setting.path).ok()?.body {
        RelationBody::Stored { table, .. } => Some(table.columns.len()),
        RelationBody::View { columns, .. } if !columns.is_empty() => Some(columns.len()),
        RelationBody::View { .. } | RelationBody::Rows(_) => None,
    }
}

/// How many columns a query has, as far as that can be seen.
fn width_of(query: &Query, widths: Widths<'_>) -> Option<usize> {
    match query.body.as_ref() {
        SetExpr::Select(select) => {
            let width = |item: &SelectItem| match item {
                SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. } => Some(1),
                // What its own WITH names is no table.
                SelectItem::Wildcard(options) if query.with.is_none() && *options == WildcardAdditionalOptions::default() => {
                    width_of_all(&select.from, widths)
                }
                _ => None,
            };
            select.projection.iter().map(width).sum()
        }
        SetExpr::Values(values) => values.rows.first().map(|row| row.content.len()),
        _ => None,
    }
}

/// How many columns `*` stands for.
fn width_of_all(from: &[TableWithJoins], widths: Widths<'_>) -> Option<usize> {
    let width = |item: &TableWithJoins| match &item.relation {
        TableFactor::Table { name, args: None, .. } => widths(name),
        TableFactor::Derived { subquery, .. } => width_of(subquery, widths),
        _ => None,
    };
    // USING makes one column of two.
    let is_plain = !from.is_empty() && from.iter().all(|item| item.joins.is_empty());
    if is_plain { from.iter().map(width).sum() } else { None }
}

/// `SELECT c1 FROM (query) AS q (c0, c1)`
fn output(query: &Query, (place, count): (usize, usize)) -> Result<Query, Diagnosis> {
    let names: Vec<String> = (0..count).map(|place| format!("c{place}")).collect();
    let mut outer = parse_query(&format!("SELECT c{place} FROM (SELECT 1) AS q ({})", names.join(", ")))?;
    if let SetExpr::Select(select) = outer.body.as_mut()
        && let Some(TableFactor::Derived { subquery, .. }) = select.from.first_mut().map(|from| &mut from.relation)
    {
        **subquery = query.clone();
    }
    Ok(outer)
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::{dialect::PostgreSqlDialect, parser::Parser};

    use super::*;

    fn expr(sql: &str) -> Expr {
        Parser::new(&PostgreSqlDialect {}).try_with_sql(sql).unwrap().parse_expr().unwrap()
    }

    fn split(sql: &str, count: usize) -> Result<Vec<String>, String> {
        let query = Parser::new(&PostgreSqlDialect {}).try_with_sql(sql).unwrap().parse_query().unwrap();
        let mut views = |name: &ObjectName| name.to_string() == "v";
        let known = |name: &ObjectName| if name.to_string() == "three" { Some(3_usize) } else { None };
        let found = outputs(*query, count, (&mut views, &known)).map_err(|error| error.sqlstate)?;
        Ok(found.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn lists_are_written_in_several_ways() {
        for (sql, expected) in [
            ("(1, 2)", 2),
            ("((1, 2))", 2),
            ("ROW(1, 2, 3)", 3),
            ("row(1)", 1),
            ("(row(1))", 1),
            ("(VALUES (1, 2))", 2),
            ("((VALUES (1)))", 1),
        ] {
            assert_eq!(listed(bare(expr(sql))).map(|values| values.len()), Some(expected), "{sql}");
        }
        for sql in ["f(1, 2)", "\"row\"(1)", "1 + 1", "row(*)", "1", "(1)", "((1))", "DEFAULT", "(DEFAULT)"] {
            assert!(listed(bare(expr(sql))).is_none(), "{sql}");
        }
        assert!(matches!(bare(expr("((SELECT 1, 2))")), Expr::Subquery(_)));
    }

    #[test]
    fn a_query_gives_each_column_by_itself() {
        let found = split("SELECT a, max(b) FROM t", 2).unwrap();
        assert_eq!(
            found,
            [
                "(SELECT c0 FROM (SELECT a, max(b) FROM t) AS q (c0, c1))",
                "(SELECT c1 FROM (SELECT a, max(b) FROM t) AS q (c0, c1))"
            ]
        );
        assert_eq!(split("SELECT a FROM t", 1).unwrap(), ["(SELECT a FROM t)"]);
        assert_eq!(split("SELECT a FROM t", 2), Err("42601".to_owned()));
        assert_eq!(split("VALUES (1, 2, 3)", 2), Err("42601".to_owned()));
        for sql in [
            "SELECT random(), 1",
            "SELECT a, b FROM t LIMIT 1",
            "SELECT a, b FROM (SELECT * FROM t OFFSET 1) s",
            "SELECT a, b FROM v",
        ] {
            assert_eq!(split(sql, 2), Err("0A000".to_owned()), "{sql}");
        }
        assert!(split("SELECT a FROM t LIMIT 1", 1).is_ok());
        for sql in ["SELECT * FROM three", "SELECT * FROM (SELECT * FROM three) AS t (a)", "SELECT *, 1 FROM (SELECT 1, 2) AS t"] {
            assert_eq!(split(sql, 2), Err("42601".to_owned()), "{sql}");
            assert!(split(sql, 3).is_ok(), "{sql}");
        }
        for sql in ["SELECT * FROM t", "WITH three AS (SELECT 1, 2) SELECT * FROM three"] {
            assert!(split(sql, 2).is_ok(), "{sql}");
        }
    }
}
