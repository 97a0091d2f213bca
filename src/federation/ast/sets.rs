//! Calls of set-returning functions: where they may stand, and the form in which the planner takes them.
//!
//! In a select list, GROUP BY or ORDER BY such a call becomes `unnest` of all its elements, which the planner hoists; in FROM
//! it becomes a relation that `semantics::sets` plans. Orders beside sets and below outputs: `set_order`. `ROWS FROM` is unknown to the parser.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr, Ident, JoinConstraint, LimitClause, ObjectName,
    ObjectNamePart, OrderByKind, Query, Select, SelectItem, SetExpr, TableFactor, TableFunctionArgs, Visit, VisitMut, Visitor,
    VisitorMut, visit_expressions,
};

use super::dialect::{call, call_with};
use super::name::fold;
use super::{depth, json, set_order};
use crate::error::{Diagnosis, sqlstate};
use crate::federation::semantics::aggregates;
use crate::federation::semantics::functions::set_function;
use crate::federation::semantics::sets::FUNCTIONS;

/// Rewrites the calls of a query and of every query inside it.
///
/// # Errors
/// 0A000 for calls where no set may stand, as PostgreSQL words it; 42P10 and 0A000 for keys of ORDER BY; 54001 for a query that is too deep once it is rewritten.
pub(super) fn rewrite(query: &mut Query) -> Result<(), Diagnosis> {
    let mut sets = Sets { has_nested: false };
    if let ControlFlow::Break(error) = VisitMut::visit(query, &mut sets) {
        return Err(*error);
    }
    if sets.has_nested { depth::bound(query) } else { Ok(()) }
}

type Flow = ControlFlow<Box<Diagnosis>>;

struct Sets {
    /// Whether a query has become one inside another.
    has_nested: bool,
}

impl VisitorMut for Sets {
    type Break = Box<Diagnosis>;

    fn pre_visit_query(&mut self, query: &mut Query) -> Flow {
        if let SetExpr::Values(values) = query.body.as_ref() {
            for expr in values.rows.iter().flat_map(|row| &row.content) {
                forbid(expr, "VALUES")?;
            }
        }
        if let Some(order_by) = &query.order_by
            && let OrderByKind::Expressions(keys) = &order_by.kind
        {
            for key in keys {
                check_nesting(&key.expr)?;
            }
        }
        if let Some(LimitClause::LimitOffset { limit, offset, .. }) = &query.limit_clause {
            if let Some(expr) = limit {
                forbid(expr, "LIMIT")?;
            }
            if let Some(offset) = offset {
                forbid(&offset.value, "OFFSET")?;
            }
        }
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &mut Query) -> Flow {
        let moved = set_order::keys_as_outputs(query).and_then(|keys| Ok(set_order::outputs_apart(query)? || keys));
        match moved {
            Ok(has_moved) => {
                self.has_nested |= has_moved;
                ControlFlow::Continue(())
            }
            Err(error) => ControlFlow::Break(Box::new(error)),
        }
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> Flow {
        check_select(select)
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> Flow {
        mark(factor)
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> Flow {
        if let Expr::Function(function) = expr
            && function.over.is_none()
            && let Some(name) = own_name(&function.name).and_then(|name| set_function(&name))
        {
            function.name = marked(name);
            let elements = std::mem::replace(expr, Expr::value(datafusion::sql::sqlparser::ast::Value::Null));
            *expr = call("unnest", elements);
        }
        ControlFlow::Continue(())
    }
}

fn check_select(select: &Select) -> Flow {
    if let Some(condition) = &select.selection {
        forbid(condition, "WHERE")?;
    }
    if let Some(condition) = &select.having {
        forbid(condition, "HAVING")?;
    }
    for join in select.from.iter().flat_map(|item| &item.joins) {
        if let Some(JoinConstraint::On(condition)) = super::using::constraint(&join.join_operator) {
            forbid(condition, "JOIN conditions")?;
        }
    }
    for item in &select.projection {
        if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item {
            check_nesting(expr)?;
        }
    }
    if let GroupByExpr::Expressions(keys, _) = &select.group_by {
        for key in keys {
            check_nesting(key)?;
        }
    }
    ControlFlow::Continue(())
}

fn refuse(message: String) -> Box<Diagnosis> {
    Box::new(Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, message))
}

/// Refuses a clause that holds a set, except inside its subqueries.
fn forbid(expr: &Expr, clause: &str) -> Flow {
    if holds_set(expr) {
        return ControlFlow::Break(refuse(format!("set-returning functions are not allowed in {clause}")));
    }
    ControlFlow::Continue(())
}

/// Refuses sets below what computes only one of its arguments, and below aggregates.
fn check_nesting(expr: &Expr) -> Flow {
    let mut below = Below { queries: 0 };
    Visit::visit(expr, &mut below)
}

struct Below {
    queries: usize,
}

impl Visitor for Below {
    type Break = Box<Diagnosis>;

    fn pre_visit_query(&mut self, _query: &Query) -> Flow {
        self.queries += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &Query) -> Flow {
        self.queries -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> Flow {
        if self.queries > 0 {
            return ControlFlow::Continue(());
        }
        let message = match expr {
            Expr::Case { .. } => "set-returning functions are not allowed in CASE",
            Expr::Function(function) if is_named(&function.name, "coalesce") => {
                "set-returning functions are not allowed in COALESCE"
            }
            Expr::Function(function) if function.over.is_some() => {
                "window function calls cannot contain set-returning function calls"
            }
            Expr::Function(function) if is_aggregate(function) => {
                "aggregate function calls cannot contain set-returning function calls"
            }
            _ => return ControlFlow::Continue(()),
        };
        if holds_set(expr) {
            let hint = "You might be able to move the set-returning function into a LATERAL FROM item.";
            return ControlFlow::Break(Box::new(refuse(message.to_owned()).with_hint(hint)));
        }
        ControlFlow::Continue(())
    }
}

fn is_aggregate(function: &Function) -> bool {
    function.filter.is_some() || own_name(&function.name).is_some_and(|name| aggregates::is_known(&name))
}

fn is_named(name: &ObjectName, wanted: &str) -> bool {
    own_name(name).is_some_and(|name| name == wanted)
}

/// The name of a function of the system's own, folded.
fn own_name(name: &ObjectName) -> Option<String> {
    match name.0.as_slice() {
        [ObjectNamePart::Identifier(ident)] => Some(fold(ident)),
        [ObjectNamePart::Identifier(schema), ObjectNamePart::Identifier(ident)] if fold(schema) == "pg_catalog" => {
            Some(fold(ident))
        }
        _ => None,
    }
}

/// Whether a set-returning function is called in the expression itself.
pub(super) fn holds_set(expr: &Expr) -> bool {
    holds_call(expr, &|function| own_name(&function.name).is_some_and(|name| is_set(&name)))
}

/// Whether such a function is called in a part of a statement itself, outside its subqueries.
pub(super) fn holds_call(part: &impl Visit, is_meant: &dyn Fn(&Function) -> bool) -> bool {
    part.visit(&mut Calls { queries: 0, is_meant }).is_break()
}

struct Calls<'m> {
    queries: usize,
    is_meant: &'m dyn Fn(&Function) -> bool,
}

impl Visitor for Calls<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, _query: &Query) -> ControlFlow<()> {
        self.queries += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &Query) -> ControlFlow<()> {
        self.queries -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        match expr {
            Expr::Function(function) if self.queries == 0 && (self.is_meant)(function) => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    }
}

/// Whether calls of a function give sets.
pub(in super::super) fn is_set(name: &str) -> bool {
    name == "unnest" || set_function(name).is_some() || json::returns_set(name)
}

fn marked(name: &str) -> ObjectName {
    ObjectName(vec![ObjectNamePart::Identifier(Ident::with_quote('"', name))])
}

fn unnamed(arguments: &[FunctionArg]) -> Option<Vec<Expr>> {
    let plain = arguments.iter().map(|argument| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
        _ => None,
    });
    plain.collect()
}

/// Gives a function in FROM the form that `semantics::sets` plans.
fn mark(factor: &mut TableFactor) -> Flow {
    let (calls, alias, with_ordinality) = match factor {
        TableFactor::Table { name, args: Some(arguments), alias, with_ordinality, .. } => {
            let Some(calls) = from_calls(name, &arguments.args) else { return ControlFlow::Continue(()) };
            (calls, alias.take(), *with_ordinality)
        }
        TableFactor::Function { name, args, alias, with_ordinality, .. } => {
            let Some(calls) = from_calls(name, args) else { return ControlFlow::Continue(()) };
            (calls, alias.take(), *with_ordinality)
        }
        TableFactor::UNNEST { alias, array_exprs, with_ordinality, with_offset: false, .. } => {
            (std::mem::take(array_exprs), alias.take(), *with_ordinality)
        }
        _ => return ControlFlow::Continue(()),
    };
    for call in &calls {
        let nested = match call {
            Expr::Function(function) => arguments_of(function).iter().any(holds_set),
            other => holds_set(other),
        };
        if nested || matches!(call, Expr::Function(_)) && holds_set(call) {
            return ControlFlow::Break(refuse("set-returning functions must appear at top level of FROM".to_owned()));
        }
    }
    // A function over columns is lateral without a word, which the planner knows of `UNNEST` only.
    *factor = if calls.iter().any(is_lateral) {
        TableFactor::UNNEST { alias, array_exprs: calls, with_offset: false, with_offset_alias: None, with_ordinality }
    } else {
        let args = calls.into_iter().map(|call| FunctionArg::Unnamed(FunctionArgExpr::Expr(call))).collect();
        TableFactor::Table {
            name: marked(FUNCTIONS),
            alias,
            args: Some(TableFunctionArgs { args, settings: None }),
            with_hints: Vec::new(),
            version: None,
            with_ordinality,
            partitions: Vec::new(),
            json_path: None,
            sample: None,
            index_hints: Vec::new(),
        }
    };
    ControlFlow::Continue(())
}

/// The calls of a function in FROM; `None` for functions that return no set.
fn from_calls(name: &ObjectName, arguments: &[FunctionArg]) -> Option<Vec<Expr>> {
    let name = own_name(name)?;
    let arguments = unnamed(arguments)?;
    if name == "unnest" {
        return Some(arguments);
    }
    let set = set_function(&name)?;
    let mut elements = call_with(set, arguments);
    if let Expr::Function(function) = &mut elements {
        function.name = marked(set);
    }
    Some(vec![elements])
}

fn arguments_of(function: &Function) -> Vec<Expr> {
    match &function.args {
        FunctionArguments::List(list) => unnamed(&list.args).unwrap_or_default(),
        _ => Vec::new(),
    }
}

/// Whether an expression may refer to other items of FROM, or to queries around it.
pub(super) fn is_lateral(expr: &Expr) -> bool {
    let found = visit_expressions(expr, |part| match part {
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) | Expr::Subquery(_) | Expr::Exists { .. } | Expr::InSubquery { .. } => {
            ControlFlow::Break(())
        }
        _ => ControlFlow::Continue(()),
    });
    found.is_break()
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::{dialect::PostgreSqlDialect, parser::Parser};

    use super::*;

    fn check(sql: &str, expected: Result<&str, &str>) {
        let mut query = Parser::new(&PostgreSqlDialect {}).try_with_sql(sql).unwrap().parse_query().unwrap();
        let found = rewrite(&mut query).map(|()| query.to_string()).map_err(|error| error.message);
        assert_eq!(found.as_deref().map_err(String::as_str), expected, "{sql}");
    }

    #[test]
    fn calls_take_the_form_of_their_place() {
        check("SELECT generate_series(1, 3) + 1", Ok("SELECT unnest(\"set generate_series\"(1, 3)) + 1"));
        check(
            "SELECT * FROM generate_series(1, 3) AS g(i)",
            Ok("SELECT * FROM \"set functions\"(\"set generate_series\"(1, 3)) AS g (i)"),
        );
        check(
            "SELECT * FROM t, generate_series(1, t.n) WITH ORDINALITY",
            Ok("SELECT * FROM t, UNNEST(\"set generate_series\"(1, t.n)) WITH ORDINALITY"),
        );
        check("SELECT * FROM t, pg_catalog.unnest(t.a, t.b) x", Ok("SELECT * FROM t, UNNEST(t.a, t.b) x"));
        check("SELECT * FROM other(1)", Ok("SELECT * FROM other(1)"));
    }

    #[test]
    fn sets_are_refused_where_postgres_refuses_them() {
        check("SELECT 1 WHERE generate_series(1, 2) = 1", Err("set-returning functions are not allowed in WHERE"));
        check("SELECT CASE WHEN true THEN generate_series(1, 2) END", Err("set-returning functions are not allowed in CASE"));
        check("SELECT coalesce(unnest(a), 1) FROM t", Err("set-returning functions are not allowed in COALESCE"));
        check("SELECT sum(generate_series(1, 2))", Err("aggregate function calls cannot contain set-returning function calls"));
        check("SELECT 1 LIMIT generate_series(1, 2)", Err("set-returning functions are not allowed in LIMIT"));
        check("VALUES (generate_series(1, 2))", Err("set-returning functions are not allowed in VALUES"));
        check(
            "SELECT * FROM generate_series(1, generate_series(1, 2))",
            Err("set-returning functions must appear at top level of FROM"),
        );
        check(
            "SELECT (SELECT count(*) FROM unnest(a) x) FROM t WHERE EXISTS (SELECT unnest(a))",
            Ok("SELECT (SELECT count(*) FROM UNNEST(a) x) FROM t WHERE EXISTS (SELECT unnest(a))"),
        );
    }
}
