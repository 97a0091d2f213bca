//! Aliases that name the first columns of a relation only: `rivers AS r (no, title)`. The other columns keep their names (manual,
//! "Table and Column Aliases"); the planner wants a name for each.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{Ident, Query, TableAlias, TableAliasColumnDef, TableFactor, VisitMut, VisitorMut};

use super::{ColumnsOf, WholeRows};
use crate::error::Diagnosis;

/// Writes out the names of the other columns, where all columns are known.
///
/// # Errors
/// 54001 beyond what may be written.
pub(in crate::federation::ast) fn complete(query: &mut Query, columns_of: &ColumnsOf<'_>) -> Result<(), Diagnosis> {
    let mut pass = Shorter(WholeRows::new(columns_of));
    let _: ControlFlow<()> = VisitMut::visit(query, &mut pass);
    pass.0.check()
}

struct Shorter<'c>(WholeRows<'c>);

impl Shorter<'_> {
    /// Gives an alias the names that are left of all.
    fn write(&self, alias: &mut TableAlias, all: &[String]) {
        let Some(left) = all.get(alias.columns.len()..) else { return };
        if alias.columns.is_empty() || !self.0.has_room(left.len(), left.iter().map(String::len).sum()) {
            return;
        }
        let names = left.iter().map(|name| Ident::with_quote('"', name));
        alias.columns.extend(names.map(|name| TableAliasColumnDef { name, data_type: None }));
    }
}

impl VisitorMut for Shorter<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        let around = self.0.with.len();
        self.0.enter(query);
        let tables = query.with.iter_mut().flat_map(|with| &mut with.cte_tables);
        for (table, (_, columns)) in tables.zip(self.0.with.iter().skip(around)) {
            if let Some(columns) = columns {
                self.write(&mut table.alias, columns);
            }
        }
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.0.leave();
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        let columns = match &*factor {
            TableFactor::Table { alias: Some(alias), args: None, .. } | TableFactor::Derived { alias: Some(alias), .. }
                if !alias.columns.is_empty() =>
            {
                self.0.source(factor).columns
            }
            _ => None,
        };
        if let (Some(columns), TableFactor::Table { alias: Some(alias), .. } | TableFactor::Derived { alias: Some(alias), .. }) =
            (columns, factor)
        {
            self.write(alias, &columns);
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::ast::ObjectName;
    use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
    use datafusion::sql::sqlparser::parser::Parser;

    use super::*;

    #[test]
    fn columns_that_an_alias_does_not_name_keep_their_names() {
        let columns_of = |name: &ObjectName| (name.to_string() == "s.t").then(|| vec!["id".to_owned(), "J".to_owned()]);
        for (sql, expected) in [
            ("SELECT * FROM s.t AS x (a)", "SELECT * FROM s.t AS x (a, J)"),
            ("SELECT * FROM (SELECT 1, 2 AS b, count(*)) x (a)", "SELECT * FROM (SELECT 1, 2 AS b, count(*)) x (a, b, count)"),
            ("SELECT * FROM (VALUES (1, 2)) x (a)", "SELECT * FROM (VALUES (1, 2)) x (a, column2)"),
            (
                "WITH x (a) AS (SELECT * FROM s.t) SELECT * FROM x y (b)",
                "WITH x (a, J) AS (SELECT * FROM s.t) SELECT * FROM x y (b, J)",
            ),
            ("SELECT * FROM s.t AS x (a, b)", "SELECT * FROM s.t AS x (a, b)"),
            ("SELECT * FROM s.t AS x (a, b, c)", "SELECT * FROM s.t AS x (a, b, c)"),
            ("SELECT * FROM s.t AS x", "SELECT * FROM s.t AS x"),
            ("SELECT * FROM nowhere AS x (a)", "SELECT * FROM nowhere AS x (a)"),
        ] {
            let mut query = Parser::new(&PostgreSqlDialect {}).try_with_sql(sql).unwrap().parse_query().unwrap();
            complete(&mut query, &columns_of).unwrap();
            assert_eq!(query.to_string().replace('"', ""), expected, "{sql}");
        }
    }
}
