//! Queries that may give other rows when they are computed again over the same tables: they pick rows of an order, or put rows into one,
//! and nothing says that the order is the same each time.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Distinct, Expr, Function, FunctionArgumentClause, FunctionArguments, ObjectName, ObjectNamePart, Query, Select, Visit, Visitor,
};

use super::name::fold;
use super::volatile::Views;

/// Aggregates whose value is in the order in which their rows come.
const GATHERING: [&str; 7] = ["array_agg", "string_agg", "json_agg", "jsonb_agg", "json_object_agg", "jsonb_object_agg", "xmlagg"];

/// Whether a query picks rows by their order or shows it, in any of its parts. `views` tells of a relation whether it does.
pub fn depends_on_order(query: &Query, views: &mut Views<'_>) -> bool {
    Visit::visit(query, &mut Orders { views }).is_break()
}

struct Orders<'p, 'v> {
    views: &'p mut Views<'v>,
}

impl Visitor for Orders<'_, '_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        broken(query.limit_clause.is_some() || query.fetch.is_some() || !query.locks.is_empty())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        broken(matches!(select.distinct, Some(Distinct::On(_))))
    }

    fn pre_visit_relation(&mut self, name: &ObjectName) -> ControlFlow<()> {
        broken((self.views)(name))
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        broken(matches!(expr, Expr::Function(call) if is_ordered(call)))
    }
}

fn broken(is_found: bool) -> ControlFlow<()> {
    if is_found { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}

/// Whether the value of a call depends on the order of rows.
fn is_ordered(call: &Function) -> bool {
    let is_ordering = |clause: &FunctionArgumentClause| matches!(clause, FunctionArgumentClause::OrderBy(_));
    let has_order = match &call.args {
        FunctionArguments::List(list) => list.clauses.iter().any(is_ordering),
        // `ARRAY(SELECT …)`
        FunctionArguments::Subquery(_) => true,
        FunctionArguments::None => false,
    };
    let name = call.name.0.last().and_then(ObjectNamePart::as_ident).map(fold).unwrap_or_default();
    has_order || call.over.is_some() || !call.within_group.is_empty() || GATHERING.contains(&name.as_str())
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
    use datafusion::sql::sqlparser::parser::Parser;

    use super::*;

    #[test]
    fn what_picks_rows_is_found_wherever_it_stands() {
        let mut views = |name: &ObjectName| name.to_string() == "v";
        for (sql, expected) in [
            ("SELECT a, b FROM t", false),
            ("SELECT max(a), count(DISTINCT b) FROM t GROUP BY c ORDER BY c", false),
            ("SELECT DISTINCT a, b FROM t", false),
            ("SELECT a, b FROM t LIMIT 1", true),
            ("SELECT a, b FROM t OFFSET 1", true),
            ("SELECT a, b FROM t FETCH FIRST ROW ONLY", true),
            ("SELECT DISTINCT ON (a) a, b FROM t", true),
            ("SELECT row_number() OVER (ORDER BY a), b FROM t", true),
            ("SELECT array_agg(a ORDER BY b), 1 FROM t", true),
            ("SELECT max(a ORDER BY b), 1 FROM t", true),
            ("SELECT string_agg(a, ','), 1 FROM t", true),
            ("SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY a), 1 FROM t", true),
            ("SELECT ARRAY(SELECT a FROM t), 1", true),
            ("SELECT a, (SELECT b FROM u LIMIT 1) FROM t", true),
            ("SELECT a, b FROM (SELECT a, b FROM t LIMIT 1) s", true),
            ("WITH s AS (SELECT a, b FROM t LIMIT 1) SELECT a, b FROM s", true),
            ("SELECT a, b FROM v", true),
        ] {
            let query = Parser::new(&PostgreSqlDialect {}).try_with_sql(sql).unwrap().parse_query().unwrap();
            assert_eq!(depends_on_order(&query, &mut views), expected, "{sql}");
        }
    }
}
