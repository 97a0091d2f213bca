//! `ARRAY[…]` over columns and subqueries as a call.
//!
//! The planner reads the elements of an array without what stands around them: the WITH queries, whose names would mean tables then, and
//! the rows of outer queries. Arguments of a call it reads with both.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{Array, Expr, Query, VisitMut, VisitorMut};

use super::dialect::call_with;
use super::sets::is_lateral;

/// Rewrites such arrays of a query and of every query inside it, after all passes that know arrays by their form.
pub(super) fn rewrite(query: &mut Query) {
    let _: ControlFlow<()> = VisitMut::visit(query, &mut Arrays);
}

struct Arrays;

impl VisitorMut for Arrays {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Self::Break> {
        if let Expr::Array(Array { elem, .. }) = expr
            && elem.iter().any(is_lateral)
        {
            *expr = call_with("make_array", std::mem::take(elem));
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::{dialect::PostgreSqlDialect, parser::Parser};

    use super::*;

    fn check(sql: &str, expected: &str) {
        let mut query = Parser::new(&PostgreSqlDialect {}).try_with_sql(sql).unwrap().parse_query().unwrap();
        rewrite(&mut query);
        assert_eq!(query.to_string(), expected, "{sql}");
    }

    #[test]
    fn arrays_that_read_something_are_calls() {
        check("SELECT ARRAY[a, 1], ARRAY[1, 2]", "SELECT make_array(a, 1), ARRAY[1, 2]");
        check("SELECT ARRAY[ARRAY[t.a], ARRAY[1]] FROM t", "SELECT make_array(make_array(t.a), ARRAY[1]) FROM t");
        check(
            "WITH t AS (SELECT 1 AS a) SELECT ARRAY[(SELECT a FROM t)]",
            "WITH t AS (SELECT 1 AS a) SELECT make_array((SELECT a FROM t))",
        );
    }
}
