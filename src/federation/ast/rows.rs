//! How many rows a query gives: FETCH FIRST, negative LIMIT and OFFSET, set operations that count duplicates, and VALUES of
//! outer columns, which the planner would have of one type already.
//!
//! The planner has no FETCH, and its INTERSECT ALL and EXCEPT ALL keep every duplicate of the left side, where SQL keeps
//! `min(m, n)` and `max(m - n, 0)` of them (manual, "Combining Queries"). Numbering equal rows on both sides makes rows
//! distinct, and their plain INTERSECT and EXCEPT then count as they should.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Fetch, Ident, LimitClause, Query, Select, SelectItem, SetExpr, SetOperator, SetQuantifier, TableFactor, UnaryOperator,
    Value, Values, visit_expressions,
};
use datafusion::sql::sqlparser::parser::Parser;

use super::postgres::Postgres;
use crate::error::{Diagnosis, sqlstate};

/// Gives `query` itself, not the queries inside it, a form that the planner knows.
///
/// # Errors
/// 0A000 for what would be ignored, 2201W and 2201X for negative numbers of rows.
pub(super) fn rewrite(query: &mut Query) -> Result<(), Diagnosis> {
    if let Some(fetch) = query.fetch.take() {
        limit_by_fetch(query, fetch)?;
    }
    if let Some(LimitClause::LimitOffset { limit, offset, .. }) = &mut query.limit_clause {
        if let Some(limit) = limit {
            row_count(limit, "LIMIT")?;
        }
        if let Some(offset) = offset {
            row_count(&mut offset.value, "OFFSET")?;
        }
        if limit.as_ref().is_some_and(is_negative) {
            return Err(Diagnosis::new("2201W", "LIMIT must not be negative"));
        }
        if offset.as_ref().is_some_and(|offset| is_negative(&offset.value)) {
            return Err(Diagnosis::new("2201X", "OFFSET must not be negative"));
        }
    }
    spread_values(&mut query.body)?;
    number_duplicates(&mut query.body)
}

/// The body of a query of our own.
pub(super) fn template(sql: &str) -> Result<Box<SetExpr>, Diagnosis> {
    let parsed = Parser::new(&Postgres).try_with_sql(sql).and_then(|mut parser| parser.parse_query());
    parsed.map(|query| query.body).map_err(|error| Diagnosis::new(sqlstate::INTERNAL_ERROR, error.to_string()))
}

/// Most rows of VALUES over outer columns and subqueries: each becomes a branch of a set operation.
const SPREAD_MAX: usize = 100;

/// `VALUES (t.a), (t.b)` as `SELECT t.a AS column1 UNION ALL SELECT t.b`, whose branches find a common type. So do rows with subqueries:
/// the planner computes a list before it runs anything.
fn spread_values(body: &mut SetExpr) -> Result<(), Diagnosis> {
    let SetExpr::Values(values) = body else { return Ok(()) };
    let reads = |expr: &Expr| match expr {
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) | Expr::Subquery(_) | Expr::Exists { .. } | Expr::InSubquery { .. } => {
            ControlFlow::Break(())
        }
        _ => ControlFlow::Continue(()),
    };
    let reads_something = visit_expressions(&values.rows, reads).is_break();
    if !reads_something || values.rows.len() > SPREAD_MAX {
        return Ok(());
    }
    let mut spread: Option<SetExpr> = None;
    for row in std::mem::take(&mut values.rows) {
        let mut branch = template("SELECT 1")?;
        if let SetExpr::Select(select) = branch.as_mut() {
            let named = row.content.into_iter().enumerate();
            let named =
                named.map(|(place, expr)| SelectItem::ExprWithAlias { expr, alias: Ident::new(format!("column{}", place + 1)) });
            select.projection = named.collect();
        }
        spread = Some(match spread {
            None => *branch,
            Some(above) => SetExpr::SetOperation {
                op: SetOperator::Union,
                set_quantifier: SetQuantifier::All,
                left: Box::new(above),
                right: branch,
            },
        });
    }
    if let Some(spread) = spread {
        *body = spread;
    }
    Ok(())
}

/// A number of rows may be written as a text, and reads no column.
fn row_count(count: &mut Expr, clause: &str) -> Result<(), Diagnosis> {
    match count {
        Expr::Value(value) => {
            let Value::SingleQuotedString(text) = &value.value else { return Ok(()) };
            let Ok(rows) = text.trim().parse::<i64>() else {
                let message = format!("invalid input syntax for type bigint: \"{text}\"");
                return Err(Diagnosis::new(sqlstate::INVALID_TEXT_REPRESENTATION, message));
            };
            let digits = Expr::value(Value::Number(rows.unsigned_abs().to_string(), false));
            *count = if rows < 0 { Expr::UnaryOp { op: UnaryOperator::Minus, expr: Box::new(digits) } } else { digits };
            Ok(())
        }
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) => {
            Err(Diagnosis::new("42P10", format!("argument of {clause} must not contain variables")))
        }
        _ => Ok(()),
    }
}

fn limit_by_fetch(query: &mut Query, fetch: Fetch) -> Result<(), Diagnosis> {
    if fetch.with_ties || fetch.percent {
        let message = "FETCH FIRST with ties or percents is not supported yet";
        return Err(Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, message));
    }
    let count = fetch.quantity.unwrap_or_else(|| Expr::value(Value::Number("1".to_owned(), false)));
    match &mut query.limit_clause {
        Some(LimitClause::LimitOffset { limit: limit @ None, .. }) => *limit = Some(count),
        None => query.limit_clause = Some(LimitClause::LimitOffset { limit: Some(count), offset: None, limit_by: Vec::new() }),
        Some(_) => return Err(Diagnosis::new(sqlstate::SYNTAX_ERROR, "multiple LIMIT clauses not allowed")),
    }
    Ok(())
}

fn is_negative(count: &Expr) -> bool {
    match count {
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => {
            matches!(expr.as_ref(), Expr::Value(value) if matches!(&value.value, Value::Number(digits, _) if digits.contains(|c| ('1'..='9').contains(&c))))
        }
        Expr::Nested(inner) => is_negative(inner),
        _ => false,
    }
}

/// Rewrites INTERSECT ALL and EXCEPT ALL at every level of one query's set operations.
fn number_duplicates(body: &mut SetExpr) -> Result<(), Diagnosis> {
    let SetExpr::SetOperation { op, set_quantifier, left, right } = body else { return Ok(()) };
    number_duplicates(left)?;
    number_duplicates(right)?;
    let counts = matches!(op, SetOperator::Intersect | SetOperator::Except) && *set_quantifier == SetQuantifier::All;
    if !counts {
        return Ok(());
    }
    let Some(names) = outputs(left) else {
        let message = format!("{op} ALL of * is not supported yet");
        return Err(Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, message).with_hint("Name the columns instead."));
    };
    let op = *op;
    if let SetExpr::SetOperation { left, right, .. } = std::mem::replace(body, nothing()) {
        *body = numbered(op, &names, [left, right])?;
    }
    Ok(())
}

/// Stands where a body has been taken from.
fn nothing() -> SetExpr {
    SetExpr::Values(Values { explicit_row: false, value_keyword: false, rows: Vec::new() })
}

/// The names of a query's columns; `None` when a `*` hides how many there are.
fn outputs(body: &SetExpr) -> Option<Vec<Ident>> {
    match body {
        SetExpr::Select(select) => select.projection.iter().map(output).collect(),
        SetExpr::SetOperation { left, .. } => outputs(left),
        SetExpr::Query(query) => outputs(&query.body),
        SetExpr::Values(values) => {
            let count = values.rows.first()?.content.len();
            Some((1..=count).map(|place| Ident::with_quote('"', format!("column{place}"))).collect())
        }
        _ => None,
    }
}

fn output(item: &SelectItem) -> Option<Ident> {
    match item {
        SelectItem::ExprWithAlias { alias, .. } => Some(alias.clone()),
        SelectItem::UnnamedExpr(Expr::Identifier(name)) => Some(name.clone()),
        SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts)) => parts.last().cloned(),
        _ => None,
    }
}

/// The relation whose duplicates are numbered: the common types of both sides are found below it (`semantics::resolve`).
pub const SIDE: &str = "side\u{1}";

/// Both sides with their duplicates numbered, combined without ALL. The frame is parsed from text that holds our own names
/// only; the sides and the clients' names are put into the parsed form, so nothing of theirs is ever read again.
fn numbered(op: SetOperator, names: &[Ident], sides: [Box<SetExpr>; 2]) -> Result<SetExpr, Diagnosis> {
    let columns = (0..names.len()).map(|place| format!("c{place}")).collect::<Vec<_>>().join(", ");
    let side = format!(
        "SELECT {columns}, row_number() OVER (PARTITION BY {columns}) AS duplicate FROM (SELECT 1) AS \"{SIDE}\" ({columns})"
    );
    let text = format!("SELECT {columns} FROM ({side} {op} {side}) AS both_sides");
    let broken = |error: &dyn std::fmt::Display| Diagnosis::new(sqlstate::INTERNAL_ERROR, format!("{op} ALL: {error}"));
    let parsed = Parser::new(&Postgres).try_with_sql(&text).and_then(|mut parser| parser.parse_query());
    let mut frame = parsed.map_err(|error| broken(&error))?;
    let mut outer = select_of(&mut frame.body);
    if let Some(select) = outer.as_deref_mut() {
        for (item, name) in select.projection.iter_mut().zip(names) {
            if let SelectItem::UnnamedExpr(expr) = item {
                let expr = std::mem::replace(expr, Expr::value(Value::Null));
                *item = SelectItem::ExprWithAlias { expr, alias: name.clone() };
            }
        }
    }
    let Some(SetExpr::SetOperation { left, right, .. }) = outer.and_then(derived) else {
        return Err(broken(&"the frame lost its sides"));
    };
    for (place, side) in [left, right].into_iter().zip(sides) {
        match select_of(place).and_then(derived) {
            Some(inside) => *inside = *side,
            None => return Err(broken(&"the frame lost a side")),
        }
    }
    Ok(*frame.body)
}

fn select_of(body: &mut SetExpr) -> Option<&mut Select> {
    match body {
        SetExpr::Select(select) => Some(select),
        _ => None,
    }
}

/// The body of the one subquery in FROM.
fn derived(select: &mut Select) -> Option<&mut SetExpr> {
    match &mut select.from.first_mut()?.relation {
        TableFactor::Derived { subquery, .. } => Some(&mut subquery.body),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(sql: &str, expected: Result<&str, &str>) {
        let mut query = Parser::new(&Postgres).try_with_sql(sql).unwrap().parse_query().unwrap();
        let found = rewrite(&mut query).map(|()| query.to_string()).map_err(|error| error.sqlstate);
        assert_eq!(found.as_deref().map_err(String::as_str), expected, "{sql}");
    }

    #[test]
    fn row_counts_come_in_the_planners_form() {
        check("SELECT a FROM t FETCH FIRST 3 ROWS ONLY", Ok("SELECT a FROM t LIMIT 3"));
        check("SELECT a FROM t OFFSET 2 FETCH NEXT ROW ONLY", Ok("SELECT a FROM t LIMIT 1 OFFSET 2"));
        check("SELECT a FROM t FETCH FIRST 3 ROWS WITH TIES", Err("0A000"));
        check("SELECT a FROM t LIMIT -1", Err("2201W"));
        check("SELECT a FROM t LIMIT 1 OFFSET -1", Err("2201X"));
        check("SELECT a FROM t LIMIT -0", Ok("SELECT a FROM t LIMIT -0"));
    }

    #[test]
    fn rows_that_read_something_are_branches() {
        check("VALUES ((SELECT 2)), (3)", Ok("SELECT (SELECT 2) AS column1 UNION ALL SELECT 3 AS column1"));
        check("VALUES (1 IN (SELECT 2))", Ok("SELECT 1 IN (SELECT 2) AS column1"));
        check("VALUES (1), (2)", Ok("VALUES (1), (2)"));
    }

    #[test]
    fn duplicates_are_numbered_where_they_count() {
        check(
            "SELECT a AS x FROM t EXCEPT ALL SELECT b FROM u",
            Ok(
                "SELECT c0 AS x FROM (SELECT c0, row_number() OVER (PARTITION BY c0) AS duplicate FROM (SELECT a AS x FROM t) AS \"side\u{1}\" (c0) EXCEPT SELECT c0, row_number() OVER (PARTITION BY c0) AS duplicate FROM (SELECT b FROM u) AS \"side\u{1}\" (c0)) AS both_sides",
            ),
        );
        check("SELECT a FROM t UNION ALL SELECT b FROM u", Ok("SELECT a FROM t UNION ALL SELECT b FROM u"));
        check("SELECT * FROM t INTERSECT ALL SELECT b FROM u", Err("0A000"));
    }
}
