//! WITH queries that nothing reads: mistakes in them are told as in others.

use datafusion::execution::SessionState;
use datafusion::sql::sqlparser::ast::Query;

use super::ast::unused;
use super::context::PlanContext;
use super::plan::{analyze, parse_query, to_logical};
use crate::error::Diagnosis;
use crate::pgtype::PgType;

/// Plans such queries of a query's own list, as far as their types go.
///
/// # Errors
/// As for a query that reads them.
pub(super) fn check(
    context: &PlanContext<'_>,
    state: &SessionState,
    query: &Query,
    known: &[Option<PgType>],
) -> Result<(), Diagnosis> {
    for name in unused::names(query) {
        let reader = parse_query(&format!("SELECT 1 FROM \"{}\"", name.replace('"', "\"\"")))?;
        let reader = Query { with: query.with.clone(), ..reader };
        analyze(state, &to_logical(context, reader, known)?)?;
    }
    Ok(())
}
