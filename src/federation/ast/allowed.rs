//! Calls that may not stand in some parts of statements, in the words of PostgreSQL.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{Expr, Function, ObjectNamePart, Query, Visit, Visitor};

use super::name::fold;
use super::sets::{holds_call, holds_set};
use crate::error::{Diagnosis, sqlstate};

/// Refuses aggregates, window functions and, unless they are `sets`, set-returning functions in an expression of `clause`; those inside
/// of its subqueries are the subqueries' own. `is_aggregate` knows the names of aggregate functions.
///
/// # Errors
/// 42803, 42P20, 0A000
pub fn refuse_calls(expr: &Expr, clause: &str, sets: Sets, is_aggregate: &dyn Fn(&str) -> bool) -> Result<(), Diagnosis> {
    let is_window = |function: &Function| function.over.is_some();
    if holds_call(expr, &is_window) {
        let message = format!("window functions are not allowed in {clause}");
        return Err(Diagnosis::new(sqlstate::WINDOWING_ERROR, message));
    }
    let is_grouping = |function: &Function| {
        let name = function.name.0.last().and_then(ObjectNamePart::as_ident).map(fold);
        name.is_some_and(|name| is_aggregate(&name))
    };
    if holds_call(expr, &is_grouping) {
        let message = format!("aggregate functions are not allowed in {clause}");
        return Err(Diagnosis::new(sqlstate::GROUPING_ERROR, message));
    }
    if sets == Sets::Refused && holds_set(expr) {
        let message = format!("set-returning functions are not allowed in {clause}");
        return Err(Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, message));
    }
    Ok(())
}

/// Whether set-returning functions may stand in a clause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sets {
    /// They may.
    Allowed,
    /// They may not.
    Refused,
}

/// Whether a part of a statement has a subquery.
pub fn holds_query(part: &impl Visit) -> bool {
    part.visit(&mut Queries).is_break()
}

struct Queries;

impl Visitor for Queries {
    type Break = ();

    fn pre_visit_query(&mut self, _query: &Query) -> ControlFlow<()> {
        ControlFlow::Break(())
    }
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::{dialect::PostgreSqlDialect, parser::Parser};

    use super::*;

    #[test]
    fn calls_are_refused_outside_of_subqueries() {
        let rows = [
            ("a + 1", None),
            ("count(*)", Some("42803")),
            ("1 + max(a)", Some("42803")),
            ("max(a) OVER ()", Some("42P20")),
            ("generate_series(1, 2)", Some("0A000")),
            ("(SELECT max(a) FROM t)", None),
            ("(SELECT generate_series(1, 1))", None),
        ];
        for (sql, expected) in rows {
            let expr = Parser::new(&PostgreSqlDialect {}).try_with_sql(sql).unwrap().parse_expr().unwrap();
            let is_aggregate = |name: &str| matches!(name, "count" | "max");
            let found = refuse_calls(&expr, "UPDATE", Sets::Refused, &is_aggregate).map_err(|error| error.sqlstate);
            assert_eq!(found.err().as_deref(), expected, "{sql}");
            assert_eq!(holds_query(&expr), sql.contains("SELECT"), "{sql}");
        }
        let set = Parser::new(&PostgreSqlDialect {}).try_with_sql("generate_series(1, 2)").unwrap().parse_expr().unwrap();
        assert!(refuse_calls(&set, "INSERT", Sets::Allowed, &|_| false).is_ok());
    }
}
