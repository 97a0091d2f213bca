//! `pg_listening_channels()`: the channels of the session, one by one, as the elements of a list that a system function gives.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName, ObjectNamePart, Query, TableAlias, TableFactor,
    VisitMut, VisitorMut,
};

use super::dialect::{call, call_with};
use super::name::fold;

const NAME: &str = "pg_listening_channels";
/// The system function.
const LIST: &str = "pg_listening_channel_list";

/// Puts elements of the list in the place of calls, once outputs have their names and before sets are looked at.
pub(super) fn rewrite(query: &mut Query) {
    let _: ControlFlow<()> = VisitMut::visit(query, &mut Calls);
}

struct Calls;

impl VisitorMut for Calls {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::Function(function) = expr
            && is_meant(&function.name)
            && matches!(&function.args, FunctionArguments::List(list) if list.args.is_empty())
        {
            *expr = call("unnest", list());
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table { name, args: Some(args), alias, .. } = factor
            && args.args.is_empty()
            && is_meant(name)
        {
            *name = ObjectName(vec![ObjectNamePart::Identifier(Ident::new("unnest"))]);
            args.args.push(FunctionArg::Unnamed(FunctionArgExpr::Expr(list())));
            let own = || TableAlias { explicit: true, name: Ident::new(NAME), columns: Vec::new(), at: None };
            alias.get_or_insert_with(own);
        }
        ControlFlow::Continue(())
    }
}

fn list() -> Expr {
    call_with(LIST, Vec::new())
}

fn is_meant(name: &ObjectName) -> bool {
    let parts: Vec<String> = name.0.iter().filter_map(ObjectNamePart::as_ident).map(fold).collect();
    match parts.as_slice() {
        [function] => function == NAME,
        [schema, function] => schema == "pg_catalog" && function == NAME,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::{dialect::PostgreSqlDialect, parser::Parser};

    use super::*;

    fn check(sql: &str, expected: &str) {
        let mut query = Parser::new(&PostgreSqlDialect {}).try_with_sql(sql).unwrap().parse_query().unwrap();
        rewrite(&mut query);
        assert_eq!(query.to_string(), expected, "{sql}");
    }

    #[test]
    fn channels_are_elements_of_a_list() {
        check("SELECT pg_listening_channels()", "SELECT unnest(pg_listening_channel_list())");
        check(
            "SELECT * FROM pg_catalog.pg_listening_channels()",
            "SELECT * FROM unnest(pg_listening_channel_list()) AS pg_listening_channels",
        );
        check(
            "SELECT c FROM pg_listening_channels() AS c WHERE c = 'a'",
            "SELECT c FROM unnest(pg_listening_channel_list()) AS c WHERE c = 'a'",
        );
        for other in ["SELECT pg_listening_channels(1)", "SELECT * FROM pg_listening_channels", "SELECT x.pg_listening_channels()"]
        {
            check(other, other);
        }
    }
}
