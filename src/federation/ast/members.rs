//! Rows looked for in a subquery, `(a, b) IN (SELECT x, y …)`, as EXISTS over the rows that are equal (manual, "Subquery
//! Expressions"): the planner compares one column only.
//!
//! A row that is equal in no column that is known, and in some that is NULL, makes the answer NULL. EXISTS has no NULL, so it takes
//! the place only where NULL means false, or, below NOT, true: there the rows count whose comparison is not false. The row's own
//! columns keep their meaning inside, as nothing there has a name that a client can write.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Ident, Join, JoinConstraint, Query, Select, SelectItem, SetExpr, TableAlias, TableAliasColumnDef,
    TableFactor, TableWithJoins, UnaryOperator, VisitMut, VisitorMut,
};

use super::whole_row::{ColumnsOf, Relations};
use super::{HIDDEN, depth, rows, set_order, tuple, using, volatile};
use crate::error::{Diagnosis, sqlstate};

/// Rewrites a query and every query inside it. Outputs must have been named, and names of USING replaced.
///
/// # Errors
/// 42601 for a subquery with another number of columns, 0A000 where NULL means something of its own, 54001 for a query that is too
/// deep once it is rewritten.
pub(super) fn rewrite(query: &mut Query, columns_of: &ColumnsOf<'_>) -> Result<(), Diagnosis> {
    let mut members = Members { relations: Relations::new(columns_of), made: 0 };
    if let ControlFlow::Break(error) = VisitMut::visit(query, &mut members) {
        return Err(*error);
    }
    if members.made > 0 { depth::bound(query) } else { Ok(()) }
}

type Flow = ControlFlow<Box<Diagnosis>>;

struct Members<'c> {
    relations: Relations<'c>,
    /// How many subqueries have got names.
    made: usize,
}

/// Where a condition stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    /// Whether rows are grouped there: what is computed of a group is not known inside a subquery.
    is_grouped: bool,
    /// Whether NULL means true there, as below NOT.
    is_denied: bool,
}

impl VisitorMut for Members<'_> {
    type Break = Box<Diagnosis>;

    fn pre_visit_query(&mut self, query: &mut Query) -> Flow {
        self.relations.enter(query);
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> Flow {
        self.relations.leave();
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> Flow {
        if let Some(condition) = &mut select.selection {
            self.condition(condition, Place { is_grouped: false, is_denied: false })?;
        }
        if let Some(condition) = &mut select.having {
            self.condition(condition, Place { is_grouped: true, is_denied: false })?;
        }
        for from in &mut select.from {
            self.joins(&mut from.joins)?;
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> Flow {
        match factor {
            TableFactor::NestedJoin { table_with_joins, .. } => self.joins(&mut table_with_joins.joins),
            _ => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> Flow {
        let Some((row, query)) = compared(expr) else { return ControlFlow::Continue(()) };
        if let Err(error) = self.same_width(row.len(), query) {
            return ControlFlow::Break(Box::new(error));
        }
        let message = "this comparison of a row with a subquery is not supported";
        let detail = "A row is looked for in a subquery by IN, in conditions of WHERE, HAVING and ON and their AND, OR and NOT.";
        ControlFlow::Break(Box::new(Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, message).with_detail(detail)))
    }
}

impl Members<'_> {
    fn joins(&mut self, joins: &mut [Join]) -> Flow {
        for join in joins {
            if let Some(JoinConstraint::On(condition)) = using::constraint_mut(&mut join.join_operator) {
                self.condition(condition, Place { is_grouped: false, is_denied: false })?;
            }
        }
        ControlFlow::Continue(())
    }

    /// The parts of a condition in which NULL means what it means for the whole.
    fn condition(&mut self, expr: &mut Expr, place: Place) -> Flow {
        match expr {
            Expr::Nested(inner) => self.condition(inner, place),
            Expr::UnaryOp { op: UnaryOperator::Not, expr: inner } => {
                self.condition(inner, Place { is_denied: !place.is_denied, ..place })
            }
            Expr::BinaryOp { left, op: BinaryOperator::And | BinaryOperator::Or, right } => {
                self.condition(left, place)?;
                self.condition(right, place)
            }
            _ => match self.written(expr, place) {
                Ok(Some(written)) => {
                    *expr = written;
                    ControlFlow::Continue(())
                }
                Ok(None) => ControlFlow::Continue(()),
                Err(error) => ControlFlow::Break(Box::new(error)),
            },
        }
    }

    /// What stands for a row that is looked for; `None` for anything else.
    fn written(&mut self, expr: &Expr, place: Place) -> Result<Option<Expr>, Diagnosis> {
        let Some(negated) = looks_for_equal(expr) else { return Ok(None) };
        let Some((row, query)) = compared(expr) else { return Ok(None) };
        self.same_width(row.len(), query)?;
        if row.iter().any(volatile::changes) || volatile::changes(query) {
            return Err(refused("volatile functions where a row is looked for in a subquery are not supported"));
        }
        if row.iter().any(|column| tuple::columns(without_parentheses(column)).is_some()) {
            return Err(refused("rows in a row that is looked for in a subquery are not supported"));
        }
        let outside = outside(&row, place)?;
        let (relation, names) = self.names(row.len());
        let column = |name: &Ident| Expr::CompoundIdentifier(vec![relation.clone(), name.clone()]);
        let (mut equal, mut kept) = (Vec::with_capacity(row.len()), None);
        for (at, (operand, name)) in row.into_iter().zip(&names).enumerate() {
            if outside == Some(at) {
                kept = Some((operand, column(name)));
            } else {
                let (left, right) = (Box::new(operand), Box::new(column(name)));
                equal.push(Expr::BinaryOp { left, op: BinaryOperator::Eq, right });
            }
        }
        let mut condition = tuple::joined(equal, &BinaryOperator::And);
        if negated != place.is_denied {
            condition = condition.map(|equal| Expr::IsNotFalse(Box::new(Expr::Nested(Box::new(equal)))));
        }
        let alias_columns = names.iter().map(|name| TableAliasColumnDef { name: name.clone(), data_type: None }).collect();
        let alias = TableAlias { explicit: true, name: relation.clone(), columns: alias_columns, at: None };
        let from = TableFactor::Derived { lateral: false, subquery: Box::new(query.clone()), alias: Some(alias), sample: None };
        Ok(Some(match kept {
            None => Expr::Exists { subquery: Box::new(found(None, from, condition)?), negated },
            Some((operand, column)) => {
                let subquery = Box::new(found(Some(column), from, condition)?);
                Expr::InSubquery { expr: Box::new(operand), subquery, negated }
            }
        }))
    }

    /// The names of the rows that are looked at, and of their columns.
    fn names(&mut self, width: usize) -> (Ident, Vec<Ident>) {
        self.made += 1;
        let made = self.made;
        let quoted = |name: String| Ident::with_quote('"', name);
        let columns = (0..width).map(|place| quoted(format!("member{HIDDEN}{made}{HIDDEN}{place}"))).collect();
        (quoted(format!("members{HIDDEN}{made}")), columns)
    }

    /// Refuses a subquery that is known to have another number of columns than a row.
    fn same_width(&self, row: usize, query: &Query) -> Result<(), Diagnosis> {
        let told = |much: &str| Err(Diagnosis::new(sqlstate::SYNTAX_ERROR, format!("subquery has too {much} columns")));
        match self.width(query) {
            Some(found) if found > row => told("many"),
            Some(found) if found < row => told("few"),
            _ => Ok(()),
        }
    }

    /// How many columns a query has; `None` where a `*` hides it.
    fn width(&self, query: &Query) -> Option<usize> {
        let by_sight = width(&query.body);
        by_sight.or_else(|| {
            let alias = TableAlias { explicit: true, name: Ident::new("members"), columns: Vec::new(), at: None };
            let subquery = Box::new(query.clone());
            let from = TableFactor::Derived { lateral: false, subquery, alias: Some(alias), sample: None };
            self.relations.columns(&from).map(|columns| columns.len())
        })
    }
}

fn width(body: &SetExpr) -> Option<usize> {
    match body {
        SetExpr::Select(select) => {
            let is_one = |item: &SelectItem| matches!(item, SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. });
            select.projection.iter().all(is_one).then_some(select.projection.len())
        }
        SetExpr::Values(values) => values.rows.first().map(|row| row.content.len()),
        SetExpr::SetOperation { left, .. } => width(left),
        SetExpr::Query(query) => width(&query.body),
        _ => None,
    }
}

/// A row and the subquery that it is compared with.
fn compared(expr: &Expr) -> Option<(Vec<Expr>, &Query)> {
    let (row, query) = match expr {
        Expr::InSubquery { expr, subquery, .. } => (expr, subquery.as_ref()),
        Expr::AnyOp { left, right, .. } | Expr::AllOp { left, right, .. } => (left, subquery_of(right)?),
        Expr::BinaryOp { left, right, .. } => match (subquery_of(left), subquery_of(right)) {
            (Some(query), _) => (right, query),
            (None, Some(query)) => (left, query),
            (None, None) => return None,
        },
        _ => return None,
    };
    Some((tuple::columns(without_parentheses(row))?, query))
}

/// Whether a comparison with a subquery holds for one row that is equal (`false`), or for none (`true`); `None` for others.
fn looks_for_equal(expr: &Expr) -> Option<bool> {
    match expr {
        Expr::InSubquery { negated, .. } => Some(*negated),
        Expr::AnyOp { compare_op: BinaryOperator::Eq, .. } => Some(false),
        Expr::AllOp { compare_op: BinaryOperator::NotEq, .. } => Some(true),
        _ => None,
    }
}

fn subquery_of(expr: &Expr) -> Option<&Query> {
    match expr {
        Expr::Subquery(query) => Some(query.as_ref()),
        _ => None,
    }
}

fn without_parentheses(mut expr: &Expr) -> &Expr {
    while let Expr::Nested(inner) = expr {
        expr = inner;
    }
    expr
}

/// The one column of a row that stays outside of the subquery, because it is computed of a group.
fn outside(row: &[Expr], place: Place) -> Result<Option<usize>, Diagnosis> {
    if !place.is_grouped {
        return Ok(None);
    }
    let mut computed = row.iter().enumerate().filter(|(_, column)| !is_plain(column)).map(|(at, _)| at);
    match (computed.next(), computed.next()) {
        (first, None) => Ok(first),
        _ => Err(refused("a row with several computed columns is not supported where HAVING looks for it in a subquery")),
    }
}

/// Whether an expression is a column or a constant, which mean the same inside a subquery.
fn is_plain(expr: &Expr) -> bool {
    match expr {
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) | Expr::Value(_) | Expr::TypedString(_) => true,
        Expr::Nested(inner) => is_plain(inner),
        Expr::Cast { expr: inner, .. } => matches!(without_parentheses(inner), Expr::Value(_)),
        _ => false,
    }
}

/// `SELECT column FROM from WHERE condition`, of nothing but a constant where no column is asked for.
fn found(column: Option<Expr>, from: TableFactor, condition: Option<Expr>) -> Result<Query, Diagnosis> {
    let mut body = rows::template("SELECT 1")?;
    if let SetExpr::Select(select) = body.as_mut() {
        if let Some(column) = column {
            select.projection = vec![SelectItem::UnnamedExpr(column)];
        }
        select.from = vec![TableWithJoins { relation: from, joins: Vec::new() }];
        select.selection = condition;
    }
    Ok(set_order::query_of(*body))
}

fn refused(message: &str) -> Diagnosis {
    Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, message)
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::ast::ObjectName;
    use datafusion::sql::sqlparser::{dialect::PostgreSqlDialect, parser::Parser};

    use super::*;

    fn written(sql: &str) -> Result<String, (String, String)> {
        let columns_of = |name: &ObjectName| (name.to_string() == "two").then(|| vec!["x".to_owned(), "y".to_owned()]);
        let mut query = Parser::new(&PostgreSqlDialect {}).try_with_sql(sql).unwrap().parse_query().unwrap();
        rewrite(&mut query, &columns_of).map_err(|error| (error.sqlstate, error.message))?;
        // The names as they are told apart, without what hides them.
        Ok(query.to_string().replace("member\u{1}", "c").replace("members\u{1}", "m").replace('\u{1}', "_").replace('"', ""))
    }

    fn check(condition: &str, expected: &str) {
        assert_eq!(written(&format!("SELECT 1 FROM t WHERE {condition}")), Ok(format!("SELECT 1 FROM t WHERE {expected}")));
    }

    #[test]
    fn a_row_that_is_there_is_equal_to_one() {
        let exists = "EXISTS (SELECT 1 FROM (SELECT x, y FROM u) AS m1 (c1_0, c1_1) WHERE a = m1.c1_0 AND b = m1.c1_1)";
        for membership in ["(a, b) IN (SELECT x, y FROM u)", "ROW(a, b) = ANY (SELECT x, y FROM u)"] {
            check(membership, exists);
            check(&format!("c = 1 AND ({membership} OR d)"), &format!("c = 1 AND ({exists} OR d)"));
        }
        check("(a) IN (SELECT x FROM u)", "(a) IN (SELECT x FROM u)");
        check("a IN (SELECT x FROM u)", "a IN (SELECT x FROM u)");
        check("(a, b) IN ((1, 2))", "(a, b) IN ((1, 2))");
    }

    #[test]
    fn a_row_that_is_not_there_differs_from_all() {
        let rows = "(SELECT 1 FROM (VALUES (1, 2)) AS m1 (c1_0, c1_1) WHERE";
        let (equal, open) = ("a = m1.c1_0 AND b = m1.c1_1)", "(a = m1.c1_0 AND b = m1.c1_1) IS NOT FALSE)");
        check("(a, b) NOT IN (VALUES (1, 2))", &format!("NOT EXISTS {rows} {open}"));
        check(
            "(a, b) <> ALL (SELECT 1, 2)",
            "NOT EXISTS (SELECT 1 FROM (SELECT 1, 2) AS m1 (c1_0, c1_1) WHERE (a = m1.c1_0 AND b = m1.c1_1) IS NOT FALSE)",
        );
        check("NOT (a, b) IN (VALUES (1, 2))", &format!("NOT EXISTS {rows} {open}"));
        check("NOT ((a, b) NOT IN (VALUES (1, 2)) AND c)", &format!("NOT (NOT EXISTS {rows} {equal} AND c)"));
        check("NOT (NOT (a, b) IN (VALUES (1, 2)))", &format!("NOT (NOT EXISTS {rows} {equal})"));
    }

    #[test]
    fn joins_and_groups_have_conditions_too() {
        for (sql, expected) in [
            (
                "SELECT 1 FROM t JOIN (v JOIN w ON (v.a, w.b) IN (SELECT 1, 2)) ON (t.a, 1) IN (SELECT * FROM two)",
                "SELECT 1 FROM t JOIN (v JOIN w ON EXISTS (SELECT 1 FROM (SELECT 1, 2) AS m2 (c2_0, c2_1) WHERE v.a = m2.c2_0 AND w.b = m2.c2_1)) ON EXISTS (SELECT 1 FROM (SELECT * FROM two) AS m1 (c1_0, c1_1) WHERE t.a = m1.c1_0 AND 1 = m1.c1_1)",
            ),
            (
                "SELECT a FROM t GROUP BY a HAVING (a, 'x') IN (SELECT * FROM two)",
                "SELECT a FROM t GROUP BY a HAVING EXISTS (SELECT 1 FROM (SELECT * FROM two) AS m1 (c1_0, c1_1) WHERE a = m1.c1_0 AND 'x' = m1.c1_1)",
            ),
            (
                "SELECT a FROM t GROUP BY a HAVING (a, count(*)) NOT IN (SELECT * FROM two)",
                "SELECT a FROM t GROUP BY a HAVING count(*) NOT IN (SELECT m1.c1_1 FROM (SELECT * FROM two) AS m1 (c1_0, c1_1) WHERE (a = m1.c1_0) IS NOT FALSE)",
            ),
        ] {
            assert_eq!(written(sql).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn what_has_no_other_form_is_refused() {
        let rows = [
            ("SELECT 1 FROM t WHERE (a, b) IN (SELECT 1)", "42601", "subquery has too few columns"),
            ("SELECT 1 FROM t WHERE (a, b) NOT IN (SELECT 1, 2, 3 UNION SELECT 4, 5, 6)", "42601", "subquery has too many columns"),
            ("SELECT 1 FROM t WHERE (a, b, c) IN (SELECT * FROM two)", "42601", "subquery has too few columns"),
            ("SELECT (a, b) IN (SELECT 1, 2, 3) FROM t", "42601", "subquery has too many columns"),
            ("SELECT (a, b) IN (SELECT 1, 2) FROM t", "0A000", "this comparison of a row with a subquery is not supported"),
            ("SELECT 1 FROM t WHERE (a, b) = (SELECT 1, 2)", "0A000", "this comparison of a row with a subquery is not supported"),
            (
                "SELECT 1 FROM t WHERE (a, b) < ALL (SELECT 1, 2)",
                "0A000",
                "this comparison of a row with a subquery is not supported",
            ),
            (
                "SELECT 1 FROM t WHERE ((a, b) IN (SELECT 1, 2)) = c",
                "0A000",
                "this comparison of a row with a subquery is not supported",
            ),
            (
                "SELECT 1 FROM t WHERE (a, random()) IN (SELECT 1, 2)",
                "0A000",
                "volatile functions where a row is looked for in a subquery are not supported",
            ),
            (
                "SELECT 1 FROM t WHERE ((a, b), c) IN (SELECT 1, 2)",
                "0A000",
                "rows in a row that is looked for in a subquery are not supported",
            ),
            (
                "SELECT a FROM t GROUP BY a HAVING (max(b), count(*)) IN (SELECT 1, 2)",
                "0A000",
                "a row with several computed columns is not supported where HAVING looks for it in a subquery",
            ),
        ];
        for (sql, code, message) in rows {
            assert_eq!(written(sql), Err((code.to_owned(), message.to_owned())), "{sql}");
        }
    }
}
