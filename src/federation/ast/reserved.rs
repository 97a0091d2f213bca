//! What no client may ask for: functions that the passes write, which to a client do not exist, and writes inside of queries.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{Expr, ObjectName, ObjectNamePart, Query, SetExpr, TableFactor, Visit, Visitor};

use super::name::fold;
use crate::error::{Diagnosis, sqlstate};
use crate::federation::semantics::functions::is_internal;

/// Refuses a query that asks for one. It must see the query as the client wrote it.
///
/// # Errors
/// 42883, 0A000
pub fn refuse(query: &Query) -> Result<(), Diagnosis> {
    match Visit::visit(query, &mut Calls) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(*error),
    }
}

struct Calls;

impl Visitor for Calls {
    type Break = Box<Diagnosis>;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Self::Break> {
        let verb = match query.body.as_ref() {
            SetExpr::Insert(_) => "INSERT",
            SetExpr::Update(_) => "UPDATE",
            SetExpr::Delete(_) => "DELETE",
            SetExpr::Merge(_) => "MERGE",
            _ => return ControlFlow::Continue(()),
        };
        let message = format!("{verb} inside of another statement is not supported");
        let error = Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, message);
        ControlFlow::Break(Box::new(error.with_detail(format!("{verb} would change rows; it can be a statement of its own only."))))
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Self::Break> {
        match expr {
            Expr::Function(function) => check(&function.name),
            _ => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<Self::Break> {
        match factor {
            TableFactor::Table { name, args: Some(_), .. } | TableFactor::Function { name, .. } => check(name),
            _ => ControlFlow::Continue(()),
        }
    }
}

fn check(name: &ObjectName) -> ControlFlow<Box<Diagnosis>> {
    let called = name.0.last().and_then(ObjectNamePart::as_ident).map(fold).unwrap_or_default();
    if is_internal(&called) {
        let message = format!("function {called} does not exist");
        return ControlFlow::Break(Box::new(Diagnosis::new(sqlstate::UNDEFINED_FUNCTION, message)));
    }
    ControlFlow::Continue(())
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::{dialect::PostgreSqlDialect, parser::Parser};

    use super::*;

    #[test]
    fn what_passes_write_cannot_be_called() {
        let rows = [
            ("SELECT \"set generate_series\"(1, 2)", false),
            ("SELECT * FROM \"set functions\"(1)", false),
            ("SELECT \"operator +\"(1, 2)", false),
            ("SELECT PG_NEGATE(1)", false),
            ("SELECT pg_catalog.pg_json_row('a', 1)", false),
            ("SELECT a FROM t WHERE EXISTS (SELECT pg_cast_int4('1'))", false),
            ("SELECT * FROM pg_ordinals(ARRAY[1])", false),
            ("SELECT pg_typeof(1), generate_series(1, 2), jsonb_agg(x) FROM t", true),
            ("SELECT \"pg_negate\" FROM pg_negate", true),
        ];
        for (sql, is_allowed) in rows {
            let query = Parser::new(&PostgreSqlDialect {}).try_with_sql(sql).unwrap().parse_query().unwrap();
            let found = refuse(&query).map_err(|error| error.sqlstate);
            assert_eq!(found.is_ok(), is_allowed, "{sql}: {found:?}");
        }
    }
}
