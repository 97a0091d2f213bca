//! Catalog queries that clients send (psql's `\d`, drivers' introspection) use forms that the engine cannot plan. These
//! rewrites apply only to parts of a query whose relations are all the catalog's own, where they change nothing:
//!
//! - a select over a relation that never has rows has no rows;
//! - a correlated scalar subquery over catalog relations finds at most one row, so `max` of its column is that row;
//! - a column's collation is always its type's, so `attcollation <> typcollation` is false;
//! - a default exists only where `atthasdef` is true, so that condition is dropped beside `pg_attrdef`;
//! - `ARRAY(SELECT x …)` is `(SELECT array_agg(x) …)`.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, GroupByExpr, Ident,
    JoinOperator, ObjectName, ObjectNamePart, Query, Select, SelectItem, SetExpr, TableFactor, TableWithJoins, Value, VisitMut,
    VisitorMut,
};

use super::name::figure_name;
use crate::catalog::system::always_empty;

/// Rewrites the catalog parts of a query.
pub fn rewrite(query: &mut Query) {
    let _: ControlFlow<()> = VisitMut::visit(query, &mut Catalog);
}

struct Catalog;

impl VisitorMut for Catalog {
    type Break = ();

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        if select.from.iter().any(never_has_rows) && !groups(select) {
            empty(select);
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match expr {
            Expr::BinaryOp { left, op: BinaryOperator::NotEq, right }
                if ends_with(left, "attcollation") && ends_with(right, "typcollation") =>
            {
                *expr = Expr::value(Value::Boolean(false));
            }
            Expr::Subquery(query) if is_catalog_query(query) => {
                let _: ControlFlow<()> = VisitMut::visit(query, &mut ImpliedDefault);
                aggregate(query, "max");
            }
            Expr::Function(function) => {
                if let Some(query) = array_subquery(function) {
                    *expr = Expr::Subquery(query);
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// A row of `pg_attrdef` exists only where `atthasdef` is true, so asking for it too, of an outer relation, adds nothing.
struct ImpliedDefault;

impl VisitorMut for ImpliedDefault {
    type Break = ();

    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        let reads =
            |name: &str| select.from.iter().any(|table| relation_name(&table.relation).is_some_and(|(_, found)| found == name));
        if reads("pg_attrdef")
            && let Some(selection) = &mut select.selection
        {
            drop_conjunct(selection, "atthasdef");
        }
        ControlFlow::Continue(())
    }
}

fn drop_conjunct(condition: &mut Expr, name: &str) {
    if ends_with(condition, name) {
        *condition = Expr::value(Value::Boolean(true));
    } else if let Expr::BinaryOp { left, op: BinaryOperator::And, right } = condition {
        drop_conjunct(left, name);
        drop_conjunct(right, name);
    }
}

/// Whether an inner-joined relation is one without rows.
fn never_has_rows(table: &TableWithJoins) -> bool {
    let inner =
        |operator: &JoinOperator| matches!(operator, JoinOperator::Join(_) | JoinOperator::Inner(_) | JoinOperator::CrossJoin(_));
    let outer = table.joins.iter().any(|join| {
        !inner(&join.join_operator) && !matches!(join.join_operator, JoinOperator::Left(_) | JoinOperator::LeftOuter(_))
    });
    !outer && (is_empty(&table.relation) || table.joins.iter().any(|join| inner(&join.join_operator) && is_empty(&join.relation)))
}

fn is_empty(factor: &TableFactor) -> bool {
    relation_name(factor).is_some_and(|(schema, name)| schema.is_none_or(|schema| schema == "pg_catalog") && always_empty(&name))
}

fn relation_name(factor: &TableFactor) -> Option<(Option<String>, String)> {
    let TableFactor::Table { name, args: None, .. } = factor else { return None };
    let mut parts: Vec<String> =
        name.0.iter().filter_map(ObjectNamePart::as_ident).map(|ident| ident.value.to_lowercase()).collect();
    let relation = parts.pop()?;
    Some((parts.pop(), relation))
}

fn groups(select: &Select) -> bool {
    let grouped = !matches!(&select.group_by, GroupByExpr::Expressions(list, _) if list.is_empty());
    grouped
        || select.having.is_some()
        || select
            .projection
            .iter()
            .any(|item| matches!(item, SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } if aggregates(expr)))
}

fn aggregates(expr: &Expr) -> bool {
    let Expr::Function(function) = expr else { return false };
    let name =
        function.name.0.last().and_then(ObjectNamePart::as_ident).map(|ident| ident.value.to_lowercase()).unwrap_or_default();
    matches!(
        name.as_str(),
        "count" | "min" | "max" | "sum" | "avg" | "array_agg" | "string_agg" | "bool_or" | "bool_and" | "json_agg"
    )
}

/// Turns the select into one without rows, with the same column names; a wildcard needs its relation and is left alone.
fn empty(select: &mut Select) {
    let mut projection = Vec::with_capacity(select.projection.len());
    for item in &select.projection {
        let alias = match item {
            SelectItem::UnnamedExpr(expr) => Ident::with_quote('"', figure_name(expr)),
            SelectItem::ExprWithAlias { alias, .. } => alias.clone(),
            _ => return,
        };
        projection.push(SelectItem::ExprWithAlias { expr: Expr::value(Value::SingleQuotedString(String::new())), alias });
    }
    select.projection = projection;
    select.from = Vec::new();
    select.selection = Some(Expr::value(Value::Boolean(false)));
}

/// A plain select of one column whose relations are all the catalog's.
fn is_catalog_query(query: &Query) -> bool {
    let SetExpr::Select(select) = query.body.as_ref() else { return false };
    let of_catalog = |factor: &TableFactor| {
        relation_name(factor).is_some_and(|(schema, name)| match schema.as_deref() {
            Some(schema) => matches!(schema, "pg_catalog" | "information_schema"),
            None => name.starts_with("pg_"),
        })
    };
    let all =
        select.from.iter().all(|table| of_catalog(&table.relation) && table.joins.iter().all(|join| of_catalog(&join.relation)));
    !select.from.is_empty() && all && !groups(select) && query.limit_clause.is_none() && select.projection.len() == 1
}

/// Wraps the one output of a query in an aggregate.
fn aggregate(query: &mut Query, name: &str) {
    let SetExpr::Select(select) = query.body.as_mut() else { return };
    for item in &mut select.projection {
        let (expr, alias) = match item {
            SelectItem::UnnamedExpr(expr) => (expr.clone(), Ident::with_quote('"', figure_name(expr))),
            SelectItem::ExprWithAlias { expr, alias } => (expr.clone(), alias.clone()),
            _ => return,
        };
        *item = SelectItem::ExprWithAlias { expr: call(name, expr), alias };
    }
    query.order_by = None;
}

/// The query inside `ARRAY(…)`, aggregated.
fn array_subquery(function: &mut Function) -> Option<Box<Query>> {
    let name = function.name.0.last().and_then(ObjectNamePart::as_ident)?;
    let FunctionArguments::Subquery(query) = &mut function.args else { return None };
    if !name.value.eq_ignore_ascii_case("array") {
        return None;
    }
    let mut query = query.clone();
    aggregate(&mut query, "array_agg");
    Some(query)
}

fn call(name: &str, argument: Expr) -> Expr {
    Expr::Function(Function {
        name: ObjectName(vec![ObjectNamePart::Identifier(Ident::new(name))]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args: vec![FunctionArg::Unnamed(FunctionArgExpr::Expr(argument))],
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

fn ends_with(expr: &Expr, name: &str) -> bool {
    match expr {
        Expr::Identifier(ident) => ident.value == name,
        Expr::CompoundIdentifier(parts) => parts.last().is_some_and(|last| last.value == name),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::{ast::Statement, dialect::PostgreSqlDialect, parser::Parser};

    use super::*;

    fn check(sql: &str, expected: &str) {
        let Statement::Query(mut query) = Parser::parse_sql(&PostgreSqlDialect {}, sql).unwrap().remove(0) else {
            panic!("not a query")
        };
        rewrite(&mut query);
        assert_eq!(query.to_string(), expected);
    }

    #[test]
    fn catalog_parts_are_rewritten_and_others_are_not() {
        check(
            "SELECT polname, 1 FROM pg_catalog.pg_policy WHERE polrelid = any(x)",
            "SELECT '' AS \"polname\", '' AS \"?column?\" WHERE false",
        );
        check("SELECT count(*) FROM pg_policy", "SELECT count(*) FROM pg_policy");
        check(
            "SELECT c.oid FROM pg_class c LEFT JOIN pg_inherits i ON true",
            "SELECT c.oid FROM pg_class c LEFT JOIN pg_inherits i ON true",
        );
        check("SELECT (SELECT x FROM pg_attrdef d) FROM t", "SELECT (SELECT max(x) AS \"x\" FROM pg_attrdef d) FROM t");
        check("SELECT (SELECT x FROM shop.orders) FROM t", "SELECT (SELECT x FROM shop.orders) FROM t");
    }
}
