//! Catalog queries that clients send (psql's `\d`, drivers' introspection) use forms that the engine cannot plan. These
//! rewrites apply only to parts of a query whose relations are all the catalog's own, where they change nothing:
//!
//! - a select over a relation that never has rows has no rows, nor has one that asks `pg_type` for domains or composites;
//! - what a CASE does with a domain or a composite type is never done;
//! - a correlated scalar subquery over catalog relations finds at most one row, so `first_value` of its column is that row;
//! - `EXISTS` in an output column is a count above zero;
//! - a column's collation is always its type's, so `attcollation <> typcollation` is false;
//! - a default exists only where `atthasdef` is true, so that condition is dropped beside `pg_attrdef`;
//! - the parts `x` and `n` of `information_schema._pg_expandarray(keys)` are two `unnest`s side by side;
//! - an arm of UNION ALL without rows adds nothing, and `c.tableoid` is the object id of the catalog behind `c`;
//! - no relation has options, so `reloptions || …` is `reloptions`;
//! - `ARRAY(SELECT x …)` is `(SELECT array_agg(x) …)`.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    AccessExpr, ArrayElemTypeDef, BinaryOperator, CastKind, DataType, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArgumentList, FunctionArguments, GroupByExpr, Ident, JoinOperator, ObjectName, ObjectNamePart, Query, Select,
    SelectItem, SetExpr, SetOperator, SetQuantifier, TableFactor, TableWithJoins, Value, Values, Visit, VisitMut, Visitor,
    VisitorMut,
};

use super::dialect::{call, plain_type};
use super::literal;
use super::name::{figure_name, fold};
use crate::catalog::system::always_empty;

/// Rewrites the catalog parts of a query.
pub fn rewrite(query: &mut Query) {
    // A name of the system's own, so a query that has it is a client's question about the catalog.
    if query.to_string().contains("_pg_expandarray(") {
        let _: ControlFlow<()> = VisitMut::visit(query, &mut ExpandedKeys);
    }
    let _: ControlFlow<()> = VisitMut::visit(query, &mut Catalog);
}

/// The names of all WITH queries, at any depth.
pub fn with_names(query: &Query) -> BTreeSet<String> {
    struct Names(BTreeSet<String>);
    impl Visitor for Names {
        type Break = ();

        fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
            let tables = query.with.iter().flat_map(|with| &with.cte_tables);
            self.0.extend(tables.map(|table| fold(&table.alias.name)));
            ControlFlow::Continue(())
        }
    }
    let mut names = Names(BTreeSet::new());
    let _: ControlFlow<()> = Visit::visit(query, &mut names);
    names.0
}

struct Catalog;

impl VisitorMut for Catalog {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        if let SetExpr::Select(select) = query.body.as_mut()
            && has_no_rows(select)
            && empty(select)
        {
            query.order_by = None;
        }
        drop_empty_arms(&mut query.body);
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        if has_no_rows(select) {
            empty(select);
        }
        name_catalogs(select);
        for item in &mut select.projection {
            if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item {
                let _: ControlFlow<()> = VisitMut::visit(expr, &mut CountedExists);
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::Case { operand: None, conditions, .. } = expr {
            for branch in conditions.iter_mut().filter(|branch| asks_for_no_type(&branch.condition)) {
                if let Expr::Subquery(query) = &branch.result {
                    branch.result = typed_null(query);
                }
            }
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match expr {
            Expr::BinaryOp { left, op: BinaryOperator::NotEq, right }
                if ends_with(left, "attcollation") && ends_with(right, "typcollation") =>
            {
                *expr = Expr::value(Value::Boolean(false));
            }
            Expr::BinaryOp { left, op: BinaryOperator::StringConcat, .. } if ends_with(left, "reloptions") => {
                *expr = null_of(DataType::Array(ArrayElemTypeDef::SquareBracket(Box::new(DataType::Text), None)));
            }
            Expr::Subquery(query) if is_catalog_query(query) => {
                let _: ControlFlow<()> = VisitMut::visit(query, &mut ImpliedDefault);
                aggregate(query, "first_value");
            }
            Expr::Function(function) => {
                if let Some(query) = array_subquery(function) {
                    *expr = Expr::Subquery(query);
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// An arm of `UNION ALL` without rows adds nothing; the first one names the columns and stays.
fn drop_empty_arms(body: &mut Box<SetExpr>) {
    let SetExpr::SetOperation { op: SetOperator::Union, set_quantifier: SetQuantifier::All, left, right } = body.as_mut() else {
        return;
    };
    drop_empty_arms(left);
    if matches!(right.as_ref(), SetExpr::Select(select) if has_no_rows(select)) {
        let nothing = Values { explicit_row: false, value_keyword: false, rows: Vec::new() };
        *body = std::mem::replace(left, Box::new(SetExpr::Values(nothing)));
    }
}

/// `c.tableoid` is the object id of the catalog that `c` stands for.
fn name_catalogs(select: &mut Select) {
    struct TableOid(BTreeMap<String, String>);
    impl VisitorMut for TableOid {
        type Break = ();

        fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
            if let Expr::CompoundIdentifier(parts) = expr
                && let [alias, column] = parts.as_slice()
                && column.value.eq_ignore_ascii_case("tableoid")
                && let Some(relation) = self.0.get(&fold(alias))
            {
                let found = call("pg_oid_regclass", Expr::value(Value::SingleQuotedString(relation.clone())));
                *expr = literal::cast(found, plain_type("oid"));
            }
            ControlFlow::Continue(())
        }
    }
    let factors =
        select.from.iter().flat_map(|table| std::iter::once(&table.relation).chain(table.joins.iter().map(|join| &join.relation)));
    let aliases: BTreeMap<String, String> = factors
        .filter_map(|factor| {
            let (schema, relation) = relation_name(factor)?;
            let TableFactor::Table { alias: Some(alias), .. } = factor else { return None };
            let catalog = schema.is_none_or(|schema| schema == "pg_catalog") && relation.starts_with("pg_");
            catalog.then(|| (fold(&alias.name), format!("pg_catalog.{relation}")))
        })
        .collect();
    let mut visitor = TableOid(aliases);
    for item in &mut select.projection {
        let _: ControlFlow<()> = VisitMut::visit(item, &mut visitor);
    }
    if let Some(selection) = &mut select.selection {
        let _: ControlFlow<()> = VisitMut::visit(selection, &mut visitor);
    }
}

/// `EXISTS (SELECT … FROM pg_constraint …)` as `(SELECT count(*) …) > 0`, which the engine can plan anywhere.
struct CountedExists;

impl VisitorMut for CountedExists {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        let Expr::Exists { subquery, negated } = expr else { return ControlFlow::Continue(()) };
        if !is_catalog_query(subquery) {
            return ControlFlow::Continue(());
        }
        let mut counted = subquery.clone();
        let SetExpr::Select(select) = counted.body.as_mut() else { return ControlFlow::Continue(()) };
        let count = call_on(FunctionArgExpr::Wildcard, "count");
        select.projection = vec![SelectItem::ExprWithAlias { expr: count, alias: Ident::new("count") }];
        counted.order_by = None;
        let op = if *negated { BinaryOperator::Eq } else { BinaryOperator::Gt };
        let zero = Expr::value(Value::Number("0".to_owned(), false));
        *expr = Expr::BinaryOp { left: Box::new(Expr::Subquery(counted)), op, right: Box::new(zero) };
        ControlFlow::Continue(())
    }
}

/// `t.typtype = 'd'`: there are no domains, and no composite types.
fn asks_for_no_type(condition: &Expr) -> bool {
    let Expr::BinaryOp { left, op: BinaryOperator::Eq, right } = condition else { return false };
    let absent = |value: &Expr| {
        matches!(value, Expr::Value(value)
            if matches!(&value.value, Value::SingleQuotedString(kind) if kind == "d" || kind == "c"))
    };
    ends_with(left, "typtype") && absent(right)
}

/// NULL of the type that a subquery about a type's parts has: an array of names, an array of object ids, or an object id.
fn typed_null(query: &Query) -> Expr {
    let text = query.to_string();
    let data_type = match (text.contains("array_agg("), text.contains("::text") || text.contains("::TEXT")) {
        (true, true) => DataType::Array(ArrayElemTypeDef::SquareBracket(Box::new(DataType::Text), None)),
        (true, false) => DataType::Array(ArrayElemTypeDef::SquareBracket(Box::new(oid_type()), None)),
        (false, _) => oid_type(),
    };
    null_of(data_type)
}

fn null_of(data_type: DataType) -> Expr {
    let null = Box::new(Expr::value(Value::Null));
    Expr::Cast { kind: CastKind::DoubleColon, expr: null, data_type, array: false, format: None }
}

/// JDBC's way to number the columns of a key: a set of `(x, n)`, value and place, in the output of a subquery.
struct ExpandedKeys;

impl VisitorMut for ExpandedKeys {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::CompoundFieldAccess { root, access_chain } = expr
            && let [AccessExpr::Dot(Expr::Identifier(part))] = access_chain.as_slice()
        {
            let inner = match root.as_ref() {
                Expr::Nested(inner) => inner.as_ref(),
                other => other,
            };
            if let Some(keys) = expanded(inner) {
                *expr = if part.value.eq_ignore_ascii_case("n") {
                    call("unnest", call("pg_array_ordinals", keys))
                } else {
                    call("unnest", keys)
                };
            } else if matches!(inner, Expr::CompoundIdentifier(_)) {
                *expr = inner.clone();
            }
        } else if let Some(keys) = expanded(expr) {
            *expr = call("unnest", keys);
        }
        ControlFlow::Continue(())
    }
}

/// The argument of `_pg_expandarray`.
fn expanded(expr: &Expr) -> Option<Expr> {
    let Expr::Function(function) = expr else { return None };
    let name = function.name.0.last().and_then(ObjectNamePart::as_ident)?;
    let FunctionArguments::List(list) = &function.args else { return None };
    match list.args.as_slice() {
        [FunctionArg::Unnamed(FunctionArgExpr::Expr(keys))] if name.value == "_pg_expandarray" => Some(keys.clone()),
        _ => None,
    }
}

fn oid_type() -> DataType {
    DataType::Custom(ObjectName(vec![ObjectNamePart::Identifier(Ident::new("oid"))]), Vec::new())
}

/// A row of `pg_attrdef` exists only where `atthasdef` is true, so asking for it too, of an outer relation, adds nothing.
struct ImpliedDefault;

impl VisitorMut for ImpliedDefault {
    type Break = ();

    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        let reads =
            |name: &str| select.from.iter().any(|table| relation_name(&table.relation).is_some_and(|(_, found)| found == name));
        if reads("pg_attrdef")
            && let Some(selection) = &mut select.selection
        {
            drop_conjunct(selection, "atthasdef");
        }
        ControlFlow::Continue(())
    }
}

fn drop_conjunct(condition: &mut Expr, name: &str) {
    if ends_with(condition, name) {
        *condition = Expr::value(Value::Boolean(true));
    } else if let Expr::BinaryOp { left, op: BinaryOperator::And, right } = condition {
        drop_conjunct(left, name);
        drop_conjunct(right, name);
    }
}

/// Whether a plain select can be seen to find nothing.
fn has_no_rows(select: &Select) -> bool {
    let asks = || select.from.iter().any(|table| reads(table, "pg_type")) && select.selection.as_ref().is_some_and(any_conjunct);
    !groups(select) && (select.from.iter().any(never_has_rows) || asks())
}

fn any_conjunct(condition: &Expr) -> bool {
    match condition {
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => any_conjunct(left) || any_conjunct(right),
        other => asks_for_no_type(other),
    }
}

fn reads(table: &TableWithJoins, name: &str) -> bool {
    relation_name(&table.relation)
        .is_some_and(|(schema, found)| found == name && schema.is_none_or(|schema| schema == "pg_catalog"))
}

/// Whether an inner-joined relation is one without rows.
fn never_has_rows(table: &TableWithJoins) -> bool {
    let inner =
        |operator: &JoinOperator| matches!(operator, JoinOperator::Join(_) | JoinOperator::Inner(_) | JoinOperator::CrossJoin(_));
    let outer = table.joins.iter().any(|join| {
        !inner(&join.join_operator) && !matches!(join.join_operator, JoinOperator::Left(_) | JoinOperator::LeftOuter(_))
    });
    !outer && (is_empty(&table.relation) || table.joins.iter().any(|join| inner(&join.join_operator) && is_empty(&join.relation)))
}

fn is_empty(factor: &TableFactor) -> bool {
    relation_name(factor).is_some_and(|(schema, name)| schema.is_none_or(|schema| schema == "pg_catalog") && always_empty(&name))
}

fn relation_name(factor: &TableFactor) -> Option<(Option<String>, String)> {
    let TableFactor::Table { name, args: None, .. } = factor else { return None };
    let mut parts: Vec<String> =
        name.0.iter().filter_map(ObjectNamePart::as_ident).map(|ident| ident.value.to_lowercase()).collect();
    let relation = parts.pop()?;
    Some((parts.pop(), relation))
}

fn groups(select: &Select) -> bool {
    let grouped = !matches!(&select.group_by, GroupByExpr::Expressions(list, _) if list.is_empty());
    grouped
        || select.having.is_some()
        || select
            .projection
            .iter()
            .any(|item| matches!(item, SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } if aggregates(expr)))
}

fn aggregates(expr: &Expr) -> bool {
    let Expr::Function(function) = expr else { return false };
    let name =
        function.name.0.last().and_then(ObjectNamePart::as_ident).map(|ident| ident.value.to_lowercase()).unwrap_or_default();
    matches!(
        name.as_str(),
        "count" | "min" | "max" | "sum" | "avg" | "array_agg" | "string_agg" | "bool_or" | "bool_and" | "json_agg"
    )
}

/// Turns the select into one without rows, with the same column names; a wildcard needs its relation and is left alone,
/// which is told by `false`.
fn empty(select: &mut Select) -> bool {
    let mut projection = Vec::with_capacity(select.projection.len());
    for item in &select.projection {
        let alias = match item {
            SelectItem::UnnamedExpr(expr) => Ident::with_quote('"', figure_name(expr)),
            SelectItem::ExprWithAlias { alias, .. } => alias.clone(),
            _ => return false,
        };
        projection.push(SelectItem::ExprWithAlias { expr: Expr::value(Value::SingleQuotedString(String::new())), alias });
    }
    select.projection = projection;
    select.from = Vec::new();
    select.selection = Some(Expr::value(Value::Boolean(false)));
    true
}

/// A plain select of one column whose relations are all the catalog's.
fn is_catalog_query(query: &Query) -> bool {
    let SetExpr::Select(select) = query.body.as_ref() else { return false };
    let of_catalog = |factor: &TableFactor| {
        relation_name(factor).is_some_and(|(schema, name)| match schema.as_deref() {
            Some(schema) => matches!(schema, "pg_catalog" | "information_schema"),
            None => name.starts_with("pg_"),
        })
    };
    let all =
        select.from.iter().all(|table| of_catalog(&table.relation) && table.joins.iter().all(|join| of_catalog(&join.relation)));
    !select.from.is_empty() && all && !groups(select) && query.limit_clause.is_none() && select.projection.len() == 1
}

/// Wraps the one output of a query in an aggregate.
fn aggregate(query: &mut Query, name: &str) {
    let SetExpr::Select(select) = query.body.as_mut() else { return };
    for item in &mut select.projection {
        let (expr, alias) = match item {
            SelectItem::UnnamedExpr(expr) => (expr.clone(), Ident::with_quote('"', figure_name(expr))),
            SelectItem::ExprWithAlias { expr, alias } => (expr.clone(), alias.clone()),
            _ => return,
        };
        *item = SelectItem::ExprWithAlias { expr: call(name, expr), alias };
    }
    query.order_by = None;
}

/// The query inside `ARRAY(…)`, aggregated.
fn array_subquery(function: &mut Function) -> Option<Box<Query>> {
    let name = function.name.0.last().and_then(ObjectNamePart::as_ident)?;
    let FunctionArguments::Subquery(query) = &mut function.args else { return None };
    if !name.value.eq_ignore_ascii_case("array") {
        return None;
    }
    let mut query = query.clone();
    aggregate(&mut query, "array_agg");
    Some(query)
}

fn call_on(argument: FunctionArgExpr, name: &str) -> Expr {
    Expr::Function(Function {
        name: ObjectName(vec![ObjectNamePart::Identifier(Ident::new(name))]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args: vec![FunctionArg::Unnamed(argument)],
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

fn ends_with(expr: &Expr, name: &str) -> bool {
    match expr {
        Expr::Identifier(ident) => ident.value == name,
        Expr::CompoundIdentifier(parts) => parts.last().is_some_and(|last| last.value == name),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::{ast::Statement, dialect::PostgreSqlDialect, parser::Parser};

    use super::*;

    fn check(sql: &str, expected: &str) {
        let Statement::Query(mut query) = Parser::parse_sql(&PostgreSqlDialect {}, sql).unwrap().remove(0) else {
            panic!("not a query")
        };
        rewrite(&mut query);
        assert_eq!(query.to_string(), expected);
    }

    #[test]
    fn catalog_parts_are_rewritten_and_others_are_not() {
        check(
            "SELECT polname, 1 FROM pg_catalog.pg_policy WHERE polrelid = any(x)",
            "SELECT '' AS \"polname\", '' AS \"?column?\" WHERE false",
        );
        check("SELECT count(*) FROM pg_policy", "SELECT count(*) FROM pg_policy");
        check(
            "SELECT c.oid FROM pg_class c LEFT JOIN pg_inherits i ON true",
            "SELECT c.oid FROM pg_class c LEFT JOIN pg_inherits i ON true",
        );
        check("SELECT (SELECT x FROM pg_attrdef d) FROM t", "SELECT (SELECT first_value(x) AS \"x\" FROM pg_attrdef d) FROM t");
        check("SELECT a FROM pg_policy ORDER BY b", "SELECT '' AS \"a\" WHERE false");
        check("SELECT t.oid FROM pg_type t WHERE t.typtype = 'd' AND t.oid = 1", "SELECT '' AS \"oid\" WHERE false");
        check(
            "SELECT EXISTS (SELECT 1 FROM pg_index i WHERE i.indrelid = c.oid) AS x FROM pg_class c",
            "SELECT (SELECT count(*) AS count FROM pg_index i WHERE i.indrelid = c.oid) > 0 AS x FROM pg_class c",
        );
        check(
            "SELECT CASE WHEN t.typtype = 'c' THEN (SELECT array_agg(a.attname::text) FROM pg_attribute a) END FROM pg_type t",
            "SELECT CASE WHEN t.typtype = 'c' THEN NULL::TEXT[] END FROM pg_type t",
        );
        check(
            "SELECT (_pg_expandarray(i.k)).n AS n, _pg_expandarray(i.k) AS kk FROM pg_index i",
            "SELECT unnest(pg_array_ordinals(i.k)) AS n, unnest(i.k) AS kk FROM pg_index i",
        );
        check("SELECT c.tableoid FROM pg_class c", "SELECT CAST(pg_oid_regclass('pg_catalog.pg_class') AS oid) FROM pg_class c");
        check("SELECT (SELECT x FROM shop.orders) FROM t", "SELECT (SELECT x FROM shop.orders) FROM t");
    }
}
