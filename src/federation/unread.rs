//! WITH queries that nothing reads: mistakes in them are told as in others, and their parameters are the statement's.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use datafusion::execution::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::sqlparser::ast::{Expr, Query, Value, visit_expressions};

use super::ast::name::fold;
use super::ast::unused;
use super::context::PlanContext;
use super::parameters;
use super::plan::{analyze, parse_query, placeholder_number, resolve, to_logical};
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
        analyze(state, &reading(context, query, (name.as_str(), known))?)?;
    }
    Ok(())
}

/// Adds what the uses of parameters in such queries tell of their types. A parameter has the type of its first use, and WITH stands
/// before everything else. What cannot be planned is left to [`check`].
pub(super) fn tell(
    context: &PlanContext<'_>,
    state: &SessionState,
    (query, known): (&Query, &[Option<PgType>]),
    found: &mut BTreeMap<usize, PgType>,
) {
    let names = unused::names(query);
    if names.is_empty() {
        return;
    }
    let first = first_in(query, &names);
    for name in &names {
        let uses = reading(context, query, (name.as_str(), known))
            .and_then(|plan| resolve(state, &plan, known))
            .and_then(|resolved| parameters::uses(&resolved));
        for (number, pg_type) in uses.into_iter().flatten() {
            if first.contains(&(number, name.as_str())) {
                found.insert(number, pg_type);
            } else {
                found.entry(number).or_insert(pg_type);
            }
        }
    }
}

/// The plan of a query that reads one of the WITH queries of another.
fn reading(context: &PlanContext<'_>, query: &Query, (name, known): (&str, &[Option<PgType>])) -> Result<LogicalPlan, Diagnosis> {
    let reader = parse_query(&format!("SELECT 1 FROM \"{}\"", name.replace('"', "\"\"")))?;
    to_logical(context, Query { with: query.with.clone(), ..reader }, known)
}

/// Parameters, with the WITH query among `names` in which they are used first.
fn first_in<'n>(query: &Query, names: &'n [String]) -> BTreeSet<(usize, &'n str)> {
    let (mut seen, mut first) = (BTreeSet::new(), BTreeSet::new());
    for table in query.with.iter().flat_map(|with| &with.cte_tables) {
        let own = fold(&table.alias.name);
        let name = names.iter().find(|name| **name == own);
        let _: ControlFlow<()> = visit_expressions(table.query.as_ref(), |expr| {
            if let Expr::Value(value) = expr
                && let Value::Placeholder(id) = &value.value
                && let Some(number) = placeholder_number(id)
                && seen.insert(number)
            {
                first.extend(name.map(|name| (number, name.as_str())));
            }
            ControlFlow::Continue(())
        });
    }
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_of_the_query_that_uses_them_first() {
        let query = parse_query("WITH a AS (SELECT $1), b AS (SELECT $1, $2), c AS (SELECT $2, $3) SELECT $4 FROM b").unwrap();
        let names = ["a".to_owned(), "c".to_owned()];
        assert_eq!(unused::names(&query), names);
        assert_eq!(first_in(&query, &names), BTreeSet::from([(1, "a"), (3, "c")]));
    }
}
