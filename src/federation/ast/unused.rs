//! WITH queries that nothing reads. PostgreSQL checks them as any other, and then leaves them out; a plan has no place for them.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{Cte, ObjectName, Query, Visit, visit_relations};

use super::name::fold;

/// The names of the WITH queries of a query's own list that nothing in it names.
pub fn names(query: &Query) -> Vec<String> {
    let tables = query.with.iter().flat_map(|with| &with.cte_tables);
    let is_unused = |table: &&Cte| {
        let name = fold(&table.alias.name);
        mentions(query, &name) == mentions(table.query.as_ref(), &name)
    };
    tables.filter(is_unused).map(|table| fold(&table.alias.name)).collect()
}

/// How often something is read under a name without a schema.
fn mentions<V: Visit>(part: &V, name: &str) -> usize {
    let mut count = 0;
    let _: ControlFlow<()> = visit_relations(part, |relation: &ObjectName| {
        if let [part] = relation.0.as_slice()
            && part.as_ident().is_some_and(|ident| fold(ident) == name)
        {
            count += 1;
        }
        ControlFlow::Continue(())
    });
    count
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::parser::Parser;

    use super::super::postgres::Postgres;
    use super::*;

    #[test]
    fn what_nothing_names_is_found() {
        for (sql, expected) in [
            ("WITH a AS (SELECT 1), b AS (SELECT 2) SELECT * FROM b", &["a"][..]),
            ("WITH a AS (SELECT 1), b AS (SELECT * FROM a) SELECT 1", &["b"]),
            ("WITH a AS (SELECT 1) SELECT (SELECT count(*) FROM A)", &[]),
            ("WITH \"A\" AS (SELECT 1) SELECT 1 FROM s.\"A\"", &["A"]),
            ("WITH RECURSIVE a AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM a WHERE n < 3) SELECT 1", &["a"]),
            ("SELECT 1", &[]),
        ] {
            let query = *Parser::new(&Postgres).try_with_sql(sql).unwrap().parse_query().unwrap();
            assert_eq!(names(&query), expected, "{sql}");
        }
    }
}
