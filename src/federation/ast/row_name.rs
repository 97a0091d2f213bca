//! Names of relations that stand for their whole rows: `row_to_json(v)`, `to_json(v.*)`, `SELECT v.*`.

use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, FunctionArguments, ObjectName, ObjectNamePart, Select, SelectItem,
    SelectItemQualifiedWildcardKind, TableFactor,
};

use super::name::fold;

/// Whether an expression, without those inside of it, is the whole row of a relation or takes it by a star. A column of the relation's name
/// looks the same as its row.
pub fn is_row(expr: &Expr, relation: &str) -> bool {
    match expr {
        Expr::Identifier(name) => fold(name) == relation,
        Expr::QualifiedWildcard(name, _) => is_named(name, relation),
        Expr::Function(function) => match &function.args {
            FunctionArguments::List(list) => list.args.iter().any(|argument| is_star(argument, relation)),
            FunctionArguments::None | FunctionArguments::Subquery(_) => false,
        },
        _ => false,
    }
}

/// Whether a query gives all columns of a relation that is not its own.
pub fn gives_row(select: &Select, relation: &str) -> bool {
    let is_star = |item: &SelectItem| match item {
        SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) => is_named(name, relation),
        _ => false,
    };
    if !select.projection.iter().any(is_star) {
        return false;
    }
    let joined = select.from.iter().flat_map(|item| item.joins.iter().map(|join| &join.relation));
    let mut own = select.from.iter().map(|item| &item.relation).chain(joined);
    !own.any(|factor| is_called(factor, relation))
}

fn is_star(argument: &FunctionArg, relation: &str) -> bool {
    let (FunctionArg::Named { arg, .. } | FunctionArg::ExprNamed { arg, .. } | FunctionArg::Unnamed(arg)) = argument;
    matches!(arg, FunctionArgExpr::QualifiedWildcard(name) if is_named(name, relation))
}

/// Whatever stands before its name.
fn is_named(name: &ObjectName, relation: &str) -> bool {
    name.0.last().and_then(ObjectNamePart::as_ident).is_some_and(|name| fold(name) == relation)
}

fn is_called(factor: &TableFactor, relation: &str) -> bool {
    match factor {
        TableFactor::Table { alias: Some(alias), .. } | TableFactor::Derived { alias: Some(alias), .. } => {
            fold(&alias.name) == relation
        }
        TableFactor::Table { name, alias: None, .. } => is_named(name, relation),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::{ast::SetExpr, dialect::PostgreSqlDialect, parser::Parser};

    use super::super::super::plan::parse_query;
    use super::*;

    #[test]
    fn rows_are_told_by_their_names() {
        let rows = [
            ("v", true),
            ("\"v\"", true),
            ("\"V\"", false),
            ("to_json(v.*)", true),
            ("to_json(crew.v.*)", true),
            ("to_json(w.*)", false),
            ("count(*)", false),
            ("v.a", false),
            ("lower('v')", false),
        ];
        for (sql, expected) in rows {
            let expr = Parser::new(&PostgreSqlDialect {}).try_with_sql(sql).unwrap().parse_expr().unwrap();
            assert_eq!(is_row(&expr, "v"), expected, "{sql}");
        }
    }

    #[test]
    fn a_star_over_its_own_relation_is_none_of_another() {
        let rows = [
            ("SELECT v.*", true),
            ("SELECT 1, v.* FROM a JOIN b ON true", true),
            ("SELECT v.* FROM crew.v", false),
            ("SELECT v.* FROM a JOIN b AS v ON true", false),
            ("SELECT v.* FROM v AS w", true),
            ("SELECT w.*, *", false),
        ];
        for (sql, expected) in rows {
            let query = parse_query(sql).unwrap();
            let SetExpr::Select(select) = query.body.as_ref() else { panic!("{sql}") };
            assert_eq!(gives_row(select, "v"), expected, "{sql}");
        }
    }
}
