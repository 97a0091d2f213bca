//! Names of relations that a column nearer by has too: in `EXISTS (SELECT 1 FROM stations s WHERE s.river_id = km.id)`, where `stations`
//! has a column `km`, `km.id` is that of the relation `km` around (manual, "Column References"). The planner looks for a field of the
//! column. Such relations get another name, wherever they are named.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName, ObjectNamePart, Query, Select, SelectItem,
    SelectItemQualifiedWildcardKind, TableAlias, TableFactor, VisitMut, VisitorMut,
};

use super::super::HIDDEN;
use super::super::name::fold;
use super::{ColumnsOf, WholeRows, nests};

/// Renames them. Names that are also used in other ways than `name.column` and `name.*` stay.
pub(in crate::federation::ast) fn rename(query: &mut Query, columns_of: &ColumnsOf<'_>) {
    // Locks name their relations; and relations around are those of queries around.
    if !query.locks.is_empty() || !nests(query) {
        return;
    }
    let mut looking = Looking { rows: WholeRows::new(columns_of), hidden: BTreeSet::new(), kept: BTreeSet::new() };
    let _: ControlFlow<()> = VisitMut::visit(query, &mut looking);
    let Looking { mut hidden, kept, .. } = looking;
    hidden.retain(|name| !kept.contains(name));
    if !hidden.is_empty() {
        let _: ControlFlow<()> = VisitMut::visit(query, &mut Renaming(hidden));
    }
}

/// Looks which names are hidden, and which of all names must stay.
struct Looking<'c> {
    rows: WholeRows<'c>,
    hidden: BTreeSet<String>,
    kept: BTreeSet<String>,
}

impl Looking<'_> {
    /// Looks what `relation.column` means.
    fn look(&mut self, relation: String) {
        let mut is_hidden = false;
        for scope in self.rows.scopes.iter().rev() {
            if scope.iter().any(|source| source.name == relation) {
                if is_hidden {
                    self.hidden.insert(relation);
                }
                return;
            }
            is_hidden |= scope.iter().any(|source| source.columns.iter().flatten().any(|column| *column == relation));
        }
        // Of no relation that is known: it may be a field of the column.
        self.kept.insert(relation);
    }

    fn keep(&mut self, name: &ObjectName) {
        self.kept.extend(name.0.iter().filter_map(ObjectNamePart::as_ident).map(fold));
    }

    fn look_at_call(&mut self, function: &Function) {
        let FunctionArguments::List(list) = &function.args else { return };
        for argument in &list.args {
            if let FunctionArg::Unnamed(FunctionArgExpr::QualifiedWildcard(name)) = argument {
                self.keep(name);
            }
        }
    }
}

impl VisitorMut for Looking<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        self.rows.open(query);
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.rows.close();
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        self.rows.scopes.push(self.rows.sources(select));
        for item in &select.projection {
            if let SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) = item
                && name.0.len() != 1
            {
                self.keep(name);
            }
        }
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, _: &mut Select) -> ControlFlow<()> {
        self.rows.scopes.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        self.rows.hide(factor);
        match factor {
            TableFactor::Table { args: None, .. } | TableFactor::Derived { .. } => {}
            // The name of a function may be that of its column.
            TableFactor::Table { name, alias, .. } | TableFactor::Function { name, alias, .. } => {
                self.keep(name);
                self.kept.extend(alias.as_ref().map(|alias| fold(&alias.name)));
            }
            TableFactor::UNNEST { alias: Some(alias), .. } | TableFactor::NestedJoin { alias: Some(alias), .. } => {
                self.kept.insert(fold(&alias.name));
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn post_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        self.rows.show(factor);
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match expr {
            Expr::CompoundIdentifier(parts) => match parts.as_slice() {
                [relation, _] => self.look(fold(relation)),
                parts => self.kept.extend(parts.iter().map(fold)),
            },
            Expr::Identifier(name) => {
                let name = fold(name);
                if self.rows.relation(&name).is_some() {
                    self.kept.insert(name);
                }
            }
            Expr::QualifiedWildcard(name, _) => self.keep(name),
            Expr::Function(function) => self.look_at_call(function),
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// Writes the other names of these relations.
struct Renaming(BTreeSet<String>);

impl Renaming {
    fn rename(&self, name: &mut Ident) {
        if let Some(found) = self.0.get(&fold(name)) {
            *name = Ident { value: format!("{found}{HIDDEN}"), quote_style: Some('"'), span: name.span };
        }
    }
}

impl VisitorMut for Renaming {
    type Break = ();

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        for item in &mut select.projection {
            if let SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) = item
                && let [ObjectNamePart::Identifier(relation)] = name.0.as_mut_slice()
            {
                self.rename(relation);
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        match factor {
            TableFactor::Table { alias: Some(alias), .. } | TableFactor::Derived { alias: Some(alias), .. } => {
                self.rename(&mut alias.name);
            }
            TableFactor::Table { name, alias, args: None, .. } => {
                let last = name.0.last().and_then(ObjectNamePart::as_ident);
                if let Some(last) = last.filter(|last| self.0.contains(&fold(last))) {
                    let mut name = last.clone();
                    self.rename(&mut name);
                    *alias = Some(TableAlias { explicit: true, name, columns: Vec::new(), at: None });
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::CompoundIdentifier(parts) = expr
            && let [relation, _] = parts.as_mut_slice()
        {
            self.rename(relation);
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
    use datafusion::sql::sqlparser::parser::Parser;

    use super::*;

    fn check(sql: &str, expected: &str) {
        let columns_of = |name: &ObjectName| match name.to_string().as_str() {
            "s.t" => Some(vec!["id".to_owned(), "k".to_owned()]),
            "s.k" => Some(vec!["id".to_owned(), "b".to_owned()]),
            "doc" => Some(vec!["id".to_owned(), "address".to_owned()]),
            _ => None,
        };
        let mut query = Parser::new(&PostgreSqlDialect {}).try_with_sql(sql).unwrap().parse_query().unwrap();
        rename(&mut query, &columns_of);
        assert_eq!(query.to_string().replace(HIDDEN, "~"), expected, "{sql}");
    }

    #[test]
    fn relations_that_a_column_hides_get_another_name() {
        for (sql, expected) in [
            (
                "SELECT k.b FROM s.k WHERE EXISTS (SELECT k FROM s.t WHERE t.id = K.id AND k > 1) ORDER BY k.id",
                "SELECT \"k~\".b FROM s.k AS \"k~\" WHERE EXISTS (SELECT k FROM s.t WHERE t.id = \"k~\".id AND k > 1) ORDER BY \"k~\".id",
            ),
            (
                "SELECT k.* FROM s.t AS k, LATERAL (SELECT 1 FROM s.t WHERE k.k = 2) x",
                "SELECT \"k~\".* FROM s.t AS \"k~\", LATERAL (SELECT 1 FROM s.t WHERE \"k~\".k = 2) x",
            ),
            (
                "SELECT (SELECT (SELECT k.id FROM doc) FROM s.t) FROM s.k",
                "SELECT (SELECT (SELECT \"k~\".id FROM doc) FROM s.t) FROM s.k AS \"k~\"",
            ),
        ] {
            check(sql, expected);
        }
    }

    #[test]
    fn other_names_stay() {
        for sql in [
            "SELECT k.id FROM s.k, s.t WHERE t.k = k.b",
            "SELECT k.id FROM s.k WHERE EXISTS (SELECT 1 FROM s.t k WHERE k.id = 1)",
            "SELECT address.city FROM doc",
            "SELECT (SELECT k.id FROM s.t) FROM nowhere",
            "SELECT (SELECT k.id FROM s.t), row_to_json(k) FROM s.k",
            "SELECT (SELECT k.id FROM s.t), row_to_json(k.*) FROM s.k",
            "SELECT (SELECT k.id FROM s.t), s.k.b FROM s.k",
            "SELECT (SELECT k.id FROM s.t) FROM s.k FOR UPDATE OF k",
            "SELECT * FROM s.k, (SELECT k.id FROM s.t) x",
        ] {
            check(sql, sql);
        }
    }
}
