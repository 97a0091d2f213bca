//! WITH queries that have the name of one around them. Inside, the inner one is meant (manual, "WITH Clause"); the planner takes the name
//! for given twice.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{Ident, ObjectName, ObjectNamePart, Query, TableAlias, TableFactor, VisitMut, VisitorMut};

use super::HIDDEN;
use super::name::fold;

/// Gives them names of their own, where they are defined and where they are read.
pub(super) fn tell_apart(query: &mut Query) {
    let _: ControlFlow<()> = VisitMut::visit(query, &mut Shadowed::default());
}

#[derive(Default)]
struct Shadowed {
    /// The queries around, innermost last.
    levels: Vec<Level>,
    /// Names that were invented.
    count: usize,
}

/// The WITH queries of a query.
struct Level {
    named: Vec<Named>,
    is_recursive: bool,
    /// How many of them lie behind: they are visited before everything else.
    passed: usize,
}

struct Named {
    name: String,
    /// The name that it gets.
    own: Option<String>,
}

impl Level {
    fn in_sight(&self) -> &[Named] {
        let count = if self.is_recursive { self.named.len() } else { self.passed };
        self.named.get(..count).unwrap_or_default()
    }
}

impl Shadowed {
    /// The WITH query that a name means.
    fn meant(&self, name: &str) -> Option<&Named> {
        self.levels.iter().rev().find_map(|level| level.in_sight().iter().find(|named| named.name == name))
    }
}

impl VisitorMut for Shadowed {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        let is_recursive = query.with.as_ref().is_some_and(|with| with.recursive);
        let mut named: Vec<Named> = Vec::new();
        for table in query.with.iter_mut().flat_map(|with| &mut with.cte_tables) {
            let name = fold(&table.alias.name);
            let own = match named.iter().find(|known| known.name == name) {
                // A name that is given twice beside each other stays so, and is refused.
                Some(twice) => twice.own.clone(),
                None if self.meant(&name).is_some() => {
                    self.count += 1;
                    Some(format!("{name}{HIDDEN}{}", self.count))
                }
                None => None,
            };
            if let Some(own) = &own {
                table.alias.name = Ident::with_quote('"', own);
            }
            named.push(Named { name, own });
        }
        self.levels.push(Level { named, is_recursive, passed: 0 });
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.levels.pop();
        if let Some(around) = self.levels.last_mut() {
            around.passed = around.named.len().min(around.passed + 1);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table { name, alias, args: None, .. } = factor
            && let [ObjectNamePart::Identifier(written)] = name.0.as_slice()
            && let Some(own) = self.meant(&fold(written)).and_then(|named| named.own.as_ref())
        {
            // Columns keep the name that they are found by.
            if alias.is_none() {
                *alias = Some(TableAlias { explicit: true, name: written.clone(), columns: Vec::new(), at: None });
            }
            *name = ObjectName(vec![ObjectNamePart::Identifier(Ident::with_quote('"', own))]);
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
    use datafusion::sql::sqlparser::parser::Parser;

    use super::*;

    #[test]
    fn inner_queries_of_a_name_get_another() {
        for (sql, expected) in [
            (
                "WITH a AS (SELECT 1 AS n) SELECT * FROM (WITH A AS (SELECT n FROM a) SELECT a.n FROM a) x, a",
                "WITH a AS (SELECT 1 AS n) SELECT * FROM (WITH \"a~1\" AS (SELECT n FROM a) SELECT a.n FROM \"a~1\" AS a) x, a",
            ),
            (
                "WITH a AS (SELECT 1 AS n), b AS (WITH a AS (SELECT 2 AS n) SELECT y.n FROM a y, s.a) SELECT * FROM a, b",
                "WITH a AS (SELECT 1 AS n), b AS (WITH \"a~1\" AS (SELECT 2 AS n) SELECT y.n FROM \"a~1\" y, s.a) SELECT * FROM a, b",
            ),
            (
                "WITH a AS (SELECT 1 AS n) SELECT (WITH RECURSIVE a (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM a) SELECT max(n) FROM a)",
                "WITH a AS (SELECT 1 AS n) SELECT (WITH RECURSIVE \"a~1\" (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM \"a~1\" AS a) \
                 SELECT max(n) FROM \"a~1\" AS a)",
            ),
            (
                "WITH a AS (SELECT 1) SELECT (WITH a AS (SELECT 2), a AS (SELECT 3) SELECT 4)",
                "WITH a AS (SELECT 1) SELECT (WITH \"a~1\" AS (SELECT 2), \"a~1\" AS (SELECT 3) SELECT 4)",
            ),
            (
                "WITH a AS (WITH b AS (SELECT 1) SELECT * FROM b), b AS (SELECT 2) SELECT * FROM a, b",
                "WITH a AS (WITH b AS (SELECT 1) SELECT * FROM b), b AS (SELECT 2) SELECT * FROM a, b",
            ),
            (
                "SELECT * FROM (WITH a AS (SELECT 1) SELECT * FROM a) x, (WITH a AS (SELECT 2) SELECT * FROM a) y",
                "SELECT * FROM (WITH a AS (SELECT 1) SELECT * FROM a) x, (WITH a AS (SELECT 2) SELECT * FROM a) y",
            ),
        ] {
            let mut query = Parser::new(&PostgreSqlDialect {}).try_with_sql(sql).unwrap().parse_query().unwrap();
            tell_apart(&mut query);
            assert_eq!(query.to_string().replace(HIDDEN, "~"), expected, "{sql}");
        }
    }
}
