//! `rivers.*` beside `FROM hydro.rivers`: for `*` the planner wants a relation's whole name, where PostgreSQL takes its last part.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    ObjectName, ObjectNamePart, Query, Select, SelectItem, SelectItemQualifiedWildcardKind, TableFactor, TableWithJoins, VisitMut,
    VisitorMut,
};

use super::name::fold;

/// Writes the whole names. One that several relations have stays as it is.
pub(super) fn qualify(query: &mut Query) {
    let _: ControlFlow<()> = VisitMut::visit(query, &mut Stars);
}

struct Stars;

impl VisitorMut for Stars {
    type Break = ();

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        let mut known = Vec::new();
        for item in &select.from {
            add(item, &mut known);
        }
        for item in &mut select.projection {
            if let SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) = item
                && let [ObjectNamePart::Identifier(last)] = name.0.as_slice()
            {
                let last = fold(last);
                let mut meant = known.iter().filter(|relation| relation.last == last);
                if let (Some(Relation { whole: Some(whole), .. }), None) = (meant.next(), meant.next()) {
                    *name = whole.clone();
                }
            }
        }
        ControlFlow::Continue(())
    }
}

/// A relation of FROM.
struct Relation {
    /// What it is called.
    last: String,
    /// Its name where that has several parts and no other is given to it.
    whole: Option<ObjectName>,
}

fn add(item: &TableWithJoins, known: &mut Vec<Relation>) {
    for factor in std::iter::once(&item.relation).chain(item.joins.iter().map(|join| &join.relation)) {
        match factor {
            TableFactor::Table { name, alias: None, args: None, .. } => {
                let last = name.0.last().and_then(ObjectNamePart::as_ident).map(fold);
                let whole = (name.0.len() > 1).then(|| name.clone());
                known.extend(last.map(|last| Relation { last, whole }));
            }
            TableFactor::NestedJoin { table_with_joins, alias: None } => add(table_with_joins, known),
            TableFactor::Table { alias: Some(alias), .. }
            | TableFactor::NestedJoin { alias: Some(alias), .. }
            | TableFactor::Derived { alias: Some(alias), .. }
            | TableFactor::Function { alias: Some(alias), .. }
            | TableFactor::UNNEST { alias: Some(alias), .. } => known.push(Relation { last: fold(&alias.name), whole: None }),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
    use datafusion::sql::sqlparser::parser::Parser;

    use super::*;

    #[test]
    fn names_of_relations_are_written_out_before_stars() {
        for (sql, expected) in [
            ("SELECT rivers.* FROM hydro.rivers", "SELECT hydro.rivers.* FROM hydro.rivers"),
            ("SELECT Rivers.* FROM x, hydro.rivers", "SELECT hydro.rivers.* FROM x, hydro.rivers"),
            ("SELECT 1 FROM a WHERE EXISTS (SELECT r.* FROM h.r)", "SELECT 1 FROM a WHERE EXISTS (SELECT h.r.* FROM h.r)"),
            ("SELECT r.* FROM (h.q CROSS JOIN h.r)", "SELECT h.r.* FROM (h.q CROSS JOIN h.r)"),
            ("SELECT rivers.* FROM hydro.rivers AS r", "SELECT rivers.* FROM hydro.rivers AS r"),
            ("SELECT r.* FROM h.r, i.r", "SELECT r.* FROM h.r, i.r"),
            ("SELECT r.* FROM h.r, (SELECT 1) AS r", "SELECT r.* FROM h.r, (SELECT 1) AS r"),
            ("SELECT rivers.* FROM rivers", "SELECT rivers.* FROM rivers"),
        ] {
            let mut query = Parser::new(&PostgreSqlDialect {}).try_with_sql(sql).unwrap().parse_query().unwrap();
            qualify(&mut query);
            assert_eq!(query.to_string(), expected, "{sql}");
        }
    }
}
