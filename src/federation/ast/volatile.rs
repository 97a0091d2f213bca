//! Functions that give another value each time, where a statement would have them called more often than it says.
//!
//! A WITH query is computed once however often it is named (`contain_volatile_functions` keeps PostgreSQL from putting it in the place
//! of its names). The planner puts a copy in each place, which nobody sees unless the copies differ.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Cte, Expr, ObjectName, ObjectNamePart, Query, Visit, Visitor, With, visit_expressions, visit_relations,
};

use super::name::fold;
use crate::error::{Diagnosis, sqlstate};

/// The functions.
const VOLATILE: [&str; 4] = ["random", "gen_random_uuid", "clock_timestamp", "timeofday"];

/// Tells of a relation whether it is a view that gives other rows each time.
pub type Views<'v> = dyn FnMut(&ObjectName) -> bool + 'v;

/// Whether a function of this name gives another value each time.
pub(super) fn is_volatile(name: &ObjectName) -> bool {
    let last = name.0.last().and_then(ObjectNamePart::as_ident);
    last.is_some_and(|name| VOLATILE.iter().any(|volatile| name.value.eq_ignore_ascii_case(volatile)))
}

/// Whether an expression calls such a function.
pub fn changes<T: Visit>(part: &T) -> bool {
    let called = visit_expressions(part, |expr| match expr {
        Expr::Function(function) if is_volatile(&function.name) => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    });
    called.is_break()
}

/// Whether a query gives other rows each time: by what it calls, also in FROM, or by a view.
pub fn gives_others(query: &Query, views: &mut Views<'_>) -> bool {
    let reads =
        |name: &ObjectName| if is_volatile(name) || views(name) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
    changes(query) || visit_relations(query, reads).is_break()
}

/// Refuses WITH queries that give other rows each time and are named more than once.
///
/// # Errors
/// 0A000
pub fn refuse_copies(query: &Query, views: &mut Views<'_>) -> Result<(), Diagnosis> {
    match Visit::visit(query, &mut Copies { views }) {
        ControlFlow::Break(error) => Err(*error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

struct Copies<'p, 'v> {
    views: &'p mut Views<'v>,
}

impl Visitor for Copies<'_, '_> {
    type Break = Box<Diagnosis>;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Self::Break> {
        let Some(with) = &query.with else { return ControlFlow::Continue(()) };
        for (cte, copies) in with.cte_tables.iter().zip(copies(query, with)) {
            if copies > 1 && gives_others(&cte.query, self.views) {
                let name = fold(&cte.alias.name);
                let message =
                    format!("WITH query \"{name}\" calls a volatile function and is named more than once, which is not supported");
                return ControlFlow::Break(Box::new(
                    Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, message)
                        .with_detail("It would be computed for each of its names, and give each of them other rows."),
                ));
            }
        }
        ControlFlow::Continue(())
    }
}

/// How often each WITH query is computed. One that a recursive query names, at least once for each of its rounds.
fn copies(query: &Query, with: &With) -> Vec<usize> {
    let mut named = BTreeMap::new();
    count(&query.body, &mut named);
    count(&query.order_by, &mut named);
    let name = |cte: &Cte| fold(&cte.alias.name);
    let mut copies: Vec<usize> = with.cte_tables.iter().map(|cte| named.get(&name(cte)).copied().unwrap_or(0)).collect();
    for (place, cte) in with.cte_tables.iter().enumerate().rev() {
        let mut named = BTreeMap::new();
        count(&cte.query, &mut named);
        let rounds = if named.contains_key(&name(cte)) { 2 } else { 1 };
        let times = copies.get(place).copied().unwrap_or(0).saturating_mul(rounds);
        for (earlier, copies) in with.cte_tables.iter().zip(&mut copies).take(place) {
            let names = named.get(&name(earlier)).copied().unwrap_or(0);
            *copies = copies.saturating_add(names.saturating_mul(times));
        }
    }
    copies
}

/// Counts the plain names of relations, those of subqueries too.
pub(super) fn count<T: Visit>(part: &T, named: &mut BTreeMap<String, usize>) {
    let _: ControlFlow<()> = visit_relations(part, |name: &ObjectName| {
        if let [ObjectNamePart::Identifier(name)] = name.0.as_slice() {
            *named.entry(fold(name)).or_default() += 1;
        }
        ControlFlow::Continue(())
    });
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
    use datafusion::sql::sqlparser::parser::Parser;

    use super::*;

    #[test]
    fn queries_that_change_have_one_name() {
        let mut views = |name: &ObjectName| name.to_string() == "v";
        for (sql, is_refused) in [
            ("WITH q AS (SELECT random() AS r) SELECT a.r = b.r FROM q a, q b", true),
            ("WITH q AS (SELECT random() AS r) SELECT r FROM q", false),
            ("WITH q AS (SELECT now() AS r) SELECT a.r = b.r FROM q a, q b", false),
            ("WITH q AS (SELECT random() AS r), p AS (SELECT r FROM q) SELECT a.r = b.r FROM p a, p b", true),
            ("WITH q AS (SELECT random() AS r), p AS (SELECT r FROM q) SELECT p.r, q.r FROM p, q", true),
            ("WITH q AS (SELECT random() AS r), p AS (SELECT r FROM q) SELECT r FROM p", false),
            ("WITH q AS (SELECT random() AS r) SELECT r FROM q WHERE r < (SELECT max(r) FROM q)", true),
            ("WITH q AS (SELECT * FROM v) SELECT 1 FROM q a, q b", true),
            ("WITH q AS (SELECT * FROM random() AS r) SELECT 1 FROM q a, q b", true),
            ("SELECT * FROM (WITH q AS (SELECT random() AS r) SELECT a.r FROM q a, q b) s", true),
            ("WITH RECURSIVE q AS (SELECT random() AS r UNION ALL SELECT r / 2 FROM q WHERE r > 0.1) SELECT r FROM q", false),
            (
                "WITH RECURSIVE p AS (SELECT random() AS r), q AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM q, p WHERE n < 5) SELECT n FROM q",
                true,
            ),
        ] {
            let query = Parser::new(&PostgreSqlDialect {}).try_with_sql(sql).unwrap().parse_query().unwrap();
            assert_eq!(refuse_copies(&query, &mut views).is_err(), is_refused, "{sql}");
        }
    }
}
