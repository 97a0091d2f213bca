//! JSON functions that the planner cannot call as they are.
//!
//! | Written | Planned |
//! |---|---|
//! | `json_agg(x ORDER BY y) FILTER (…)` | `pg_json_agg(array_agg(pg_json_item(x) ORDER BY y) FILTER (…))` |
//! | `json_object_agg(k, v)` | `pg_json_object_agg(array_agg(pg_json_pair(k, v)))` |
//! | `FROM t, json_each(t.j) AS e` | `FROM t, UNNEST(pg_json_each_keys(t.j), pg_json_each_values(t.j)) AS e (key, value)` |
//! | `SELECT json_array_elements(j)` | `SELECT unnest(pg_json_array_elements(j))` |
//! | `to_json(ROW(a, b))` | `to_json(pg_json_row('f1', a, 'f2', b))` |
//!
//! What the functions on the right compute is `semantics/functions/json`.

use datafusion::sql::sqlparser::ast::{
    DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause, FunctionArguments, Ident, ObjectName,
    ObjectNamePart, OrderByExpr, TableAlias, TableAliasColumnDef, TableFactor, Value,
};

use super::dialect::{call, call_with};
use crate::error::{Diagnosis, sqlstate};

/// Functions that return sets: name, the functions whose lists are unnested, the names of their columns.
const SETS: &[(&str, &[&str], &[&str])] = &[
    ("json_array_elements", &["pg_json_array_elements"], &["value"]),
    ("jsonb_array_elements", &["pg_jsonb_array_elements"], &["value"]),
    ("json_array_elements_text", &["pg_json_array_elements_text"], &["value"]),
    ("jsonb_array_elements_text", &["pg_jsonb_array_elements_text"], &["value"]),
    ("json_object_keys", &["pg_json_object_keys"], &[]),
    ("jsonb_object_keys", &["pg_jsonb_object_keys"], &[]),
    ("json_each", &["pg_json_each_keys", "pg_json_each_values"], &["key", "value"]),
    ("jsonb_each", &["pg_jsonb_each_keys", "pg_jsonb_each_values"], &["key", "value"]),
    ("json_each_text", &["pg_json_each_keys", "pg_json_each_texts"], &["key", "value"]),
    ("jsonb_each_text", &["pg_jsonb_each_text_keys", "pg_jsonb_each_texts"], &["key", "value"]),
];

/// The form of a call that the planner knows; `None` for calls that stay.
///
/// # Errors
/// 0A000 and 42P10 for DISTINCT where it is not known what it means.
pub(super) fn rewrite(function: &mut Function) -> Result<Option<Expr>, Diagnosis> {
    let Some(name) = plain_name(&function.name) else { return Ok(None) };
    match name.as_str() {
        "json_agg" | "jsonb_agg" => list_aggregate(&name, function),
        "json_object_agg" | "jsonb_object_agg" => object_aggregate(&name, function),
        "to_json" | "to_jsonb" | "row_to_json" => {
            write_rows(function);
            Ok(None)
        }
        "json_build_object" | "jsonb_build_object" | "json_build_array" | "jsonb_build_array" => {
            write_rows(function);
            Ok(None)
        }
        _ => Ok(set_in_expression(&name, function)),
    }
}

/// A name without a schema, folded.
fn plain_name(name: &ObjectName) -> Option<String> {
    match name.0.as_slice() {
        [ObjectNamePart::Identifier(ident)] => Some(super::name::fold(ident)),
        _ => None,
    }
}

/// The plain arguments of a call, when there are `count` of them.
fn arguments(function: &Function, count: usize) -> Option<Vec<Expr>> {
    let FunctionArguments::List(list) = &function.args else { return None };
    expressions(&list.args).filter(|arguments| arguments.len() == count)
}

fn expressions(arguments: &[FunctionArg]) -> Option<Vec<Expr>> {
    arguments
        .iter()
        .map(|argument| match argument {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
            _ => None,
        })
        .collect()
}

fn is_distinct(function: &Function) -> bool {
    matches!(&function.args, FunctionArguments::List(list) if list.duplicate_treatment == Some(DuplicateTreatment::Distinct))
}

/// The same call of `array_agg` over other arguments.
fn collected(function: &Function, argument: Expr) -> Expr {
    let mut inner = function.clone();
    inner.name = ObjectName(vec![ObjectNamePart::Identifier(Ident::new("array_agg"))]);
    if let FunctionArguments::List(list) = &mut inner.args {
        list.duplicate_treatment = None;
        list.args = vec![FunctionArg::Unnamed(FunctionArgExpr::Expr(argument))];
    }
    Expr::Function(inner)
}

fn list_aggregate(name: &str, function: &mut Function) -> Result<Option<Expr>, Diagnosis> {
    write_rows(function);
    let Some(arguments) = arguments(function, 1) else { return Ok(None) };
    let Some(argument) = arguments.into_iter().next() else { return Ok(None) };
    if !is_distinct(function) {
        return Ok(Some(call(&format!("pg_{name}"), collected(function, call("pg_json_item", argument)))));
    }
    let order = take_order(function);
    let order = match order.as_slice() {
        [] => "asc".to_owned(),
        [key] if key.expr == argument => {
            let is_descending = key.options.asc == Some(false);
            // NULL is the greatest value where nothing else is said.
            let nulls_first = key.options.nulls_first.unwrap_or(is_descending);
            format!("{}{}", if is_descending { "desc" } else { "asc" }, if nulls_first { " first" } else { "" })
        }
        _ => {
            let message = "in an aggregate with DISTINCT, ORDER BY expressions must appear in argument list";
            return Err(Diagnosis::new("42P10", message));
        }
    };
    let items = collected(function, call("pg_json_keyed_item", argument));
    let order = Expr::value(Value::SingleQuotedString(order));
    Ok(Some(call_with(&format!("pg_{name}_distinct"), vec![items, order])))
}

fn take_order(function: &mut Function) -> Vec<OrderByExpr> {
    let FunctionArguments::List(list) = &mut function.args else { return Vec::new() };
    let mut order = Vec::new();
    list.clauses.retain(|clause| match clause {
        FunctionArgumentClause::OrderBy(keys) => {
            order.extend(keys.iter().cloned());
            false
        }
        _ => true,
    });
    order
}

fn object_aggregate(name: &str, function: &mut Function) -> Result<Option<Expr>, Diagnosis> {
    write_rows(function);
    let Some(arguments) = arguments(function, 2) else { return Ok(None) };
    if is_distinct(function) {
        return Err(Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, format!("{name}(DISTINCT …) is not supported")));
    }
    Ok(Some(call(&format!("pg_{name}"), collected(function, call_with("pg_json_pair", arguments)))))
}

/// Arguments `ROW(a, b)` with their fields named as PostgreSQL names those of a row without a type.
fn write_rows(function: &mut Function) {
    let FunctionArguments::List(list) = &mut function.args else { return };
    for argument in &mut list.args {
        if let FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) = argument
            && let Some(fields) = super::tuple::columns(expr)
        {
            let names = (1..).map(|place| format!("f{place}"));
            *expr = row(names.zip(fields));
        }
    }
}

/// A row of named fields.
pub(super) fn row(fields: impl Iterator<Item = (String, Expr)>) -> Expr {
    let arguments = fields.flat_map(|(name, field)| [Expr::value(Value::SingleQuotedString(name)), field]);
    call_with("pg_json_row", arguments.collect())
}

/// Whether a function returns a set.
pub(super) fn returns_set(name: &str) -> bool {
    SETS.iter().any(|(known, ..)| *known == name)
}

/// A function that returns a set of one column, outside of FROM.
fn set_in_expression(name: &str, function: &Function) -> Option<Expr> {
    let (_, lists, _) = SETS.iter().find(|(known, lists, _)| *known == name && lists.len() == 1)?;
    let argument = arguments(function, 1)?.into_iter().next()?;
    Some(call("unnest", call(lists.first()?, argument)))
}

/// A function of FROM that returns a set, as the unnesting of lists.
pub(super) fn set_in_from(factor: &mut TableFactor) {
    let (name, arguments, alias, with_ordinality) = match factor {
        TableFactor::Table { name, args: Some(args), alias, with_ordinality, .. } => (name, &args.args, alias, *with_ordinality),
        TableFactor::Function { name, args, alias, with_ordinality, .. } => (name, &*args, alias, *with_ordinality),
        _ => return,
    };
    super::dialect::strip_schema(name);
    let Some(name) = plain_name(name) else { return };
    let Some((_, lists, columns)) = SETS.iter().find(|(known, ..)| *known == name) else { return };
    let Some([argument]) = expressions(arguments).and_then(|all| <[Expr; 1]>::try_from(all).ok()) else { return };
    let mut array_exprs: Vec<Expr> = lists.iter().map(|list| call(list, argument.clone())).collect();
    let alias = named(alias.take(), &name, columns, with_ordinality);
    if with_ordinality && let Some(first) = array_exprs.first() {
        array_exprs.push(call("pg_ordinals", first.clone()));
    }
    *factor = TableFactor::UNNEST {
        alias: Some(alias),
        array_exprs,
        with_offset: false,
        with_offset_alias: None,
        with_ordinality: false,
    };
}

/// The name and the columns of a function in FROM; `None` for what is none, or is not known.
pub(super) fn function_columns(factor: &TableFactor) -> Option<(String, Vec<String>)> {
    let (name, alias, with_ordinality) = match factor {
        TableFactor::Table { name, args: Some(_), alias, with_ordinality, .. } => (name.clone(), alias, *with_ordinality),
        TableFactor::Function { name, alias, with_ordinality, .. } => (name.clone(), alias, *with_ordinality),
        TableFactor::UNNEST { alias, array_exprs, with_ordinality, .. } if array_exprs.len() == 1 => {
            (ObjectName(vec![ObjectNamePart::Identifier(Ident::new("unnest"))]), alias, *with_ordinality)
        }
        _ => return None,
    };
    let name = name.0.last().and_then(ObjectNamePart::as_ident).map(super::name::fold)?;
    let columns = match SETS.iter().find(|(known, ..)| *known == name) {
        Some((_, _, columns)) => *columns,
        None if matches!(name.as_str(), "unnest" | "generate_series") => &[],
        None => return None,
    };
    let alias = named(alias.clone(), &name, columns, with_ordinality);
    Some((super::name::fold(&alias.name), alias.columns.iter().map(|column| super::name::fold(&column.name)).collect()))
}

/// The alias with a name for every column: those written, then the function's own. A function without names for its columns
/// calls its one column after the alias.
fn named(alias: Option<TableAlias>, function: &str, columns: &[&str], with_ordinality: bool) -> TableAlias {
    let own = TableAlias { explicit: true, name: Ident::new(function), columns: Vec::new(), at: None };
    let mut alias = alias.unwrap_or(own);
    let shown = super::name::fold(&alias.name);
    let fallback = [shown.as_str()];
    let columns: &[&str] = if columns.is_empty() { &fallback } else { columns };
    let all = columns.iter().copied().chain(with_ordinality.then_some("ordinality"));
    let missing =
        all.skip(alias.columns.len()).map(|name| TableAliasColumnDef { name: Ident::with_quote('"', name), data_type: None });
    let missing: Vec<_> = missing.collect();
    alias.columns.extend(missing);
    alias
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use datafusion::sql::sqlparser::{ast::VisitMut, dialect::PostgreSqlDialect, parser::Parser};

    use super::super::dialect::Dialect;

    fn check(sql: &str, expected: Result<&str, &str>) {
        let mut statements = Parser::parse_sql(&PostgreSqlDialect {}, sql).unwrap();
        let result = match VisitMut::visit(&mut statements, &mut Dialect::default()) {
            ControlFlow::Continue(()) => Ok(statements[0].to_string()),
            ControlFlow::Break(error) => Err(error.sqlstate),
        };
        assert_eq!(result.as_deref().map_err(String::as_str), expected, "{sql}");
    }

    #[test]
    fn aggregates_collect_texts() {
        check(
            "SELECT json_agg(x ORDER BY y DESC) FILTER (WHERE z) FROM t",
            Ok("SELECT pg_json_agg(array_agg(pg_json_item(x) ORDER BY y DESC) FILTER (WHERE z)) FROM t"),
        );
        check("SELECT jsonb_object_agg(k, v) FROM t", Ok("SELECT pg_jsonb_object_agg(array_agg(pg_json_pair(k, v))) FROM t"));
        check(
            "SELECT json_agg(DISTINCT x ORDER BY x DESC) FROM t",
            Ok("SELECT pg_json_agg_distinct(array_agg(pg_json_keyed_item(x)), 'desc first') FROM t"),
        );
        check("SELECT json_agg(DISTINCT x ORDER BY y) FROM t", Err("42P10"));
        check("SELECT json_object_agg(DISTINCT k, v) FROM t", Err("0A000"));
        check("SELECT to_json(ROW(a, 1)) FROM t", Ok("SELECT to_json(pg_json_row('f1', a, 'f2', 1)) FROM t"));
    }

    #[test]
    fn sets_are_unnested() {
        check(
            "SELECT * FROM t, jsonb_array_elements(t.j -> 'a') e",
            Ok("SELECT * FROM t, UNNEST(pg_jsonb_array_elements(t.j -> 'a')) e (\"value\")"),
        );
        check(
            "SELECT * FROM t, LATERAL json_each(t.j) AS e(k)",
            Ok("SELECT * FROM t, UNNEST(pg_json_each_keys(t.j), pg_json_each_values(t.j)) AS e (k, \"value\")"),
        );
        check(
            "SELECT * FROM json_object_keys('{}') WITH ORDINALITY",
            Ok(
                "SELECT * FROM UNNEST(pg_json_object_keys('{}'), pg_ordinals(pg_json_object_keys('{}'))) AS json_object_keys (\"json_object_keys\", \"ordinality\")",
            ),
        );
        check("SELECT json_array_elements_text(j) FROM t", Ok("SELECT unnest(pg_json_array_elements_text(j)) FROM t"));
    }
}
