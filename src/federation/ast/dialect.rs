//! Postgres spellings that the engine's planner does not know, turned into ones it does; what would be ignored is refused.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    AccessExpr, BinaryOperator, DataType, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments,
    Ident, ObjectName, ObjectNamePart, Query, TableFactor, UnaryOperator, Value, VisitorMut,
};

use super::{interval, json, keywords, likes, literal, null_test, rows, similar, tuple};
use crate::error::{Diagnosis, sqlstate};

/// The pass.
#[derive(Debug, Default)]
pub struct Dialect {
    written: likes::Written,
}

impl Dialect {
    /// Whether something may be deeper than it was.
    pub(super) fn has_written(&self) -> bool {
        self.written.is_any()
    }

    /// Forms that stand for others whatever is inside them.
    fn respell(&mut self, expr: &mut Expr) -> Result<(), Diagnosis> {
        tuple::rewrite(expr)?;
        keywords::call(expr);
        if let Some(call) = quantified(expr) {
            *expr = call;
        }
        if let Some(call) = distinct_from_literal(expr) {
            *expr = call;
        }
        if let Some(matches) = likes::rewrite(expr, &mut self.written)? {
            *expr = matches;
        }
        null_test::rewrite(expr)
    }
}

impl VisitorMut for Dialect {
    type Break = Box<Diagnosis>;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Self::Break> {
        if !query.locks.is_empty() {
            let error = Diagnosis::new(
                sqlstate::FEATURE_NOT_SUPPORTED,
                "row locks (FOR UPDATE, FOR SHARE) of queries inside others are not supported",
            )
            .with_hint("Lock the rows by a query of its own before.");
            return ControlFlow::Break(Box::new(error));
        }
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<Self::Break> {
        match rows::rewrite(query) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(Box::new(error)),
        }
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Self::Break> {
        if let TableFactor::Table { version, with_hints, partitions, sample, json_path, index_hints, .. } = factor {
            let plain = version.is_none() && sample.is_none() && json_path.is_none();
            if !plain || !with_hints.is_empty() || !partitions.is_empty() || !index_hints.is_empty() {
                let error = Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, "TABLESAMPLE and table hints are not supported")
                    .with_detail("They would be ignored, and other rows returned than asked for.");
                return ControlFlow::Break(Box::new(error));
            }
        }
        keywords::in_from(factor);
        json::set_in_from(factor);
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Self::Break> {
        if let Err(error) = self.respell(expr) {
            return ControlFlow::Break(Box::new(error));
        }
        let rewritten = match expr {
            Expr::UnaryOp { op, expr: inner } => match unary(op, inner) {
                Some(rewritten) => rewritten,
                None => return ControlFlow::Continue(()),
            },
            Expr::Interval(interval) => interval::rewrite(interval),
            Expr::Value(value) => match bit_string(&value.value) {
                Some(text) => Ok(literal::cast(Expr::value(text), plain_type("bit"))),
                None => return ControlFlow::Continue(()),
            },
            Expr::AtTimeZone { timestamp, time_zone } => Ok(call_with("timezone", vec![take_out(time_zone), take_out(timestamp)])),
            Expr::CompoundFieldAccess { root, access_chain } => {
                join_column_name(root, access_chain);
                access_chain.iter_mut().for_each(quote_field);
                return ControlFlow::Continue(());
            }
            Expr::Function(function) => match called(function).transpose() {
                Some(rewritten) => rewritten,
                None => return ControlFlow::Continue(()),
            },
            Expr::BinaryOp { op, .. } => {
                if let BinaryOperator::PGCustomBinaryOperator(parts) = op
                    && let Some(plain) = parts.last().and_then(|name| plain_operator(name))
                {
                    *op = plain;
                }
                return ControlFlow::Continue(());
            }
            Expr::Like { pattern, escape_char, .. } | Expr::ILike { pattern, escape_char, .. } => {
                own_escape(pattern, escape_char);
                return ControlFlow::Continue(());
            }
            Expr::SimilarTo { negated, expr: inner, pattern, escape_char } => {
                let text = std::mem::replace(inner.as_mut(), Expr::value(Value::Null));
                similar::rewrite(text, pattern, escape_char.as_ref(), *negated)
            }
            Expr::Collate { expr: inner, collation } => match byte_order(collation) {
                Ok(()) => Ok(std::mem::replace(inner.as_mut(), Expr::value(Value::Null))),
                Err(error) => Err(error),
            },
            Expr::Cast { expr: inner, data_type, .. } => match cast_function(data_type, is_text(inner)) {
                Some(name) => Ok(call(&name, std::mem::replace(inner.as_mut(), Expr::value(Value::Null)))),
                None => {
                    if matches!(data_type, DataType::Text | DataType::Varchar(_) | DataType::CharacterVarying(_)) {
                        show_name(inner);
                    }
                    return ControlFlow::Continue(());
                }
            },
            Expr::TypedString(typed) => match cast_function(&typed.data_type, true) {
                Some(name) => Ok(call(&name, Expr::Value(typed.value.clone()))),
                None => return ControlFlow::Continue(()),
            },
            _ => return ControlFlow::Continue(()),
        };
        match rewritten {
            Ok(new) => {
                *expr = new;
                ControlFlow::Continue(())
            }
            Err(error) => ControlFlow::Break(Box::new(error)),
        }
    }
}

/// A comparison with the elements of an array as a call; `None` for subqueries and for what is no comparison.
fn quantified(expr: &mut Expr) -> Option<Expr> {
    use BinaryOperator::{Eq, Gt, GtEq, Lt, LtEq, NotEq};
    let (quantifier, left, op, right) = match expr {
        Expr::AnyOp { left, compare_op, right, .. } => ("any", left, compare_op, right),
        Expr::AllOp { left, compare_op, right } => ("all", left, compare_op, right),
        _ => return None,
    };
    let is_comparison = matches!(op, Eq | NotEq | Lt | LtEq | Gt | GtEq);
    if !is_comparison || matches!(**right, Expr::Subquery(_)) {
        return None;
    }
    Some(call_with(&format!("operator {quantifier} {op}"), vec![take_out(left), take_out(right)]))
}

/// `x IS [NOT] DISTINCT FROM 'literal'` as a call: the planner would ask for a common type of `x` and a text, which not every
/// type has, before the literal is read as one of `x`.
fn distinct_from_literal(expr: &mut Expr) -> Option<Expr> {
    let (name, left, right) = match expr {
        Expr::IsDistinctFrom(left, right) => ("operator distinct", left, right),
        Expr::IsNotDistinctFrom(left, right) => ("operator not distinct", left, right),
        _ => return None,
    };
    let is_literal = |side: &Expr| matches!(side, Expr::Value(value) if matches!(value.value, Value::SingleQuotedString(_)));
    if is_literal(left) == is_literal(right) {
        return None;
    }
    Some(call_with(name, vec![take_out(left), take_out(right)]))
}

/// What stands for a call; `None` when it stays as it is, but for the schema of its name.
fn called(function: &mut Function) -> Result<Option<Expr>, Diagnosis> {
    strip_schema(&mut function.name);
    if matches!(function.args, FunctionArguments::Subquery(_)) {
        let error = Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, "ARRAY(subquery) is not supported");
        return Err(error.with_hint("Aggregate inside: (SELECT array_agg(x ORDER BY …) FROM …)."));
    }
    if matches!(function.name.0.as_slice(), [ObjectNamePart::Identifier(name)] if name.value.eq_ignore_ascii_case("make_interval"))
    {
        interval::place_arguments(function)?;
    }
    json::rewrite(function)
}

/// What stands for a prefix operator; `None` when the planner knows the operator itself.
fn unary(op: &UnaryOperator, operand: &mut Expr) -> Option<Result<Expr, Diagnosis>> {
    Some(match op {
        // The sign of a number is a part of it, twice negated too.
        UnaryOperator::Minus if is_number(operand) => return None,
        UnaryOperator::Minus => Ok(negated_number(operand).unwrap_or_else(|| call("pg_negate", take_out(operand)))),
        UnaryOperator::BitwiseNot => Ok(call("pg_bitnot", take_out(operand))),
        UnaryOperator::PGAbs => Ok(call("abs", take_out(operand))),
        // Roots are taken of `double precision` only, also where a function of the name knows `numeric`.
        UnaryOperator::PGSquareRoot => Ok(call("sqrt", literal::cast(take_out(operand), DataType::DoublePrecision))),
        UnaryOperator::PGCubeRoot => Ok(call("cbrt", literal::cast(take_out(operand), DataType::DoublePrecision))),
        UnaryOperator::PGPostfixFactorial => {
            Err(Diagnosis::new(sqlstate::SYNTAX_ERROR, "syntax error: there is no operator ! behind its operand")
                .with_hint("The factorial of n is factorial(n)."))
        }
        _ => return None,
    })
}

fn take_out(expr: &mut Expr) -> Expr {
    std::mem::replace(expr, Expr::value(Value::Null))
}

/// The number of `(-5)`.
fn negated_number(expr: &Expr) -> Option<Expr> {
    match expr {
        Expr::Nested(inner) => negated_number(inner),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr: number } if is_number(number) => Some(number.as_ref().clone()),
        _ => None,
    }
}

/// `B'101'` and `X'1F'` as the text that the reader of bit strings knows.
fn bit_string(value: &Value) -> Option<Value> {
    match value {
        Value::SingleQuotedByteStringLiteral(bits) => Some(Value::SingleQuotedString(format!("b{bits}"))),
        Value::HexStringLiteral(digits) => Some(Value::SingleQuotedString(format!("x{digits}"))),
        _ => None,
    }
}

/// A type by its name alone, which for `bit` means any length.
pub(super) fn plain_type(name: &str) -> DataType {
    DataType::Custom(ObjectName(vec![ObjectNamePart::Identifier(Ident::new(name))]), Vec::new())
}

/// `t.tags[1]`: without parentheses, names with dots are a column's name.
fn join_column_name(root: &mut Expr, access_chain: &mut Vec<AccessExpr>) {
    let mut parts = match root {
        Expr::Identifier(ident) => vec![ident.clone()],
        Expr::CompoundIdentifier(parts) => parts.clone(),
        _ => return,
    };
    let names = access_chain.iter().take_while(|access| matches!(access, AccessExpr::Dot(Expr::Identifier(_)))).count();
    if names == 0 || names == access_chain.len() {
        return;
    }
    parts.extend(access_chain.drain(..names).filter_map(|access| match access {
        AccessExpr::Dot(Expr::Identifier(ident)) => Some(ident),
        _ => None,
    }));
    *root = Expr::CompoundIdentifier(parts);
}

/// `(address).city` names a field, which the planner wants as a text.
fn quote_field(access: &mut AccessExpr) {
    if let AccessExpr::Dot(Expr::Identifier(ident)) = access {
        let name = if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() };
        *access = AccessExpr::Dot(Expr::value(Value::SingleQuotedString(name)));
    }
}

/// The engine's only escape character is the backslash: `LIKE p ESCAPE '/'` is `LIKE like_escape(p, '/')`.
pub(super) fn own_escape(pattern: &mut Expr, escape: &mut Option<datafusion::sql::sqlparser::ast::ValueWithSpan>) {
    let Some(character) = escape.take_if(|written| !matches!(&written.value, Value::SingleQuotedString(text) if text == "\\"))
    else {
        return;
    };
    let translated = call("like_escape", std::mem::replace(pattern, Expr::value(Value::Null)));
    *pattern = with_argument(translated, Expr::Value(character));
}

fn with_argument(mut expr: Expr, argument: Expr) -> Expr {
    if let Expr::Function(function) = &mut expr
        && let FunctionArguments::List(list) = &mut function.args
    {
        list.args.push(FunctionArg::Unnamed(FunctionArgExpr::Expr(argument)));
    }
    expr
}

/// `pg_catalog.lower` is `lower`: the engine has one namespace of functions.
pub(super) fn strip_schema(name: &mut ObjectName) {
    let qualified = name.0.len() == 2
        && name
            .0
            .first()
            .and_then(ObjectNamePart::as_ident)
            .is_some_and(|ident| matches!(ident.value.to_lowercase().as_str(), "pg_catalog" | "information_schema"));
    if qualified {
        name.0.remove(0);
    }
}

/// The operator behind `OPERATOR(pg_catalog.~)`.
fn plain_operator(name: &str) -> Option<BinaryOperator> {
    Some(match name {
        "~" => BinaryOperator::PGRegexMatch,
        "~*" => BinaryOperator::PGRegexIMatch,
        "!~" => BinaryOperator::PGRegexNotMatch,
        "!~*" => BinaryOperator::PGRegexNotIMatch,
        "~~" => BinaryOperator::PGLikeMatch,
        "!~~" => BinaryOperator::PGNotLikeMatch,
        "~~*" => BinaryOperator::PGILikeMatch,
        "!~~*" => BinaryOperator::PGNotILikeMatch,
        "=" => BinaryOperator::Eq,
        "<>" => BinaryOperator::NotEq,
        "<" => BinaryOperator::Lt,
        "<=" => BinaryOperator::LtEq,
        ">" => BinaryOperator::Gt,
        ">=" => BinaryOperator::GtEq,
        "+" => BinaryOperator::Plus,
        "-" => BinaryOperator::Minus,
        "*" => BinaryOperator::Multiply,
        "/" => BinaryOperator::Divide,
        "%" => BinaryOperator::Modulo,
        "||" => BinaryOperator::StringConcat,
        _ => return None,
    })
}

/// Only the collations that compare by bytes are the engine's own.
fn byte_order(collation: &ObjectName) -> Result<(), Diagnosis> {
    let name = collation.0.last().and_then(ObjectNamePart::as_ident).map(|ident| ident.value.as_str()).unwrap_or_default();
    match name {
        "C" | "POSIX" | "ucs_basic" | "default" => Ok(()),
        other => Err(Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, format!("collation \"{other}\" is not supported"))
            .with_hint("Text compares by bytes here, as with the collation \"C\".")),
    }
}

/// The function behind a cast to a type whose text form is a name in the catalog: `'shop.orders'::regclass`. All other
/// types are planned by `semantics`.
///
/// A name, which is a literal or a parameter, becomes an object id; an object id becomes the text that clients expect to see.
fn cast_function(data_type: &DataType, from_name: bool) -> Option<String> {
    let word = match data_type {
        DataType::Regclass => "regclass".to_owned(),
        DataType::Custom(name, _) => name.0.last().and_then(ObjectNamePart::as_ident)?.value.to_lowercase(),
        _ => return None,
    };
    let direction = if from_name || word == "regprocedure" { "oid" } else { "cast" };
    matches!(word.as_str(), "regclass" | "regtype" | "regproc" | "regprocedure" | "regnamespace" | "regrole")
        .then(|| format!("pg_{direction}_{word}"))
}

/// The id of an object that is looked up by its name, as the text that its type shows.
fn show_name(expr: &mut Expr) {
    if let Expr::Nested(inner) = expr {
        return show_name(inner);
    }
    let Expr::Function(function) = expr else { return };
    let [ObjectNamePart::Identifier(name)] = function.name.0.as_slice() else { return };
    let shown = match name.value.to_lowercase().as_str() {
        "pg_oid_regclass" | "to_regclass" => "pg_cast_regclass",
        "pg_oid_regnamespace" | "to_regnamespace" => "pg_cast_regnamespace",
        _ => return,
    };
    *expr = call(shown, take_out(expr));
}

fn is_text(expr: &Expr) -> bool {
    matches!(expr, Expr::Value(value) if matches!(value.value, Value::SingleQuotedString(_) | Value::Placeholder(_)))
}

/// A number, with or without parentheses: the planner reads its sign itself.
fn is_number(expr: &Expr) -> bool {
    match expr {
        Expr::Value(value) => matches!(value.value, Value::Number(..)),
        Expr::Nested(inner) => is_number(inner),
        _ => false,
    }
}

pub(super) fn call(name: &str, argument: Expr) -> Expr {
    call_with(name, vec![argument])
}

pub(super) fn call_with(name: &str, arguments: Vec<Expr>) -> Expr {
    Expr::Function(Function {
        name: ObjectName(vec![ObjectNamePart::Identifier(Ident::new(name))]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args: arguments.into_iter().map(|argument| FunctionArg::Unnamed(FunctionArgExpr::Expr(argument))).collect(),
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::{ast::VisitMut, dialect::PostgreSqlDialect, parser::Parser};

    use super::*;

    fn check(sql: &str, expected: Result<&str, &str>) {
        let mut statements = Parser::parse_sql(&PostgreSqlDialect {}, sql).unwrap();
        let result = match VisitMut::visit(&mut statements, &mut Dialect::default()) {
            ControlFlow::Continue(()) => Ok(statements[0].to_string()),
            ControlFlow::Break(error) => Err(error.sqlstate),
        };
        assert_eq!(result.as_deref().map_err(String::as_str), expected, "{sql}");
    }

    #[test]
    fn literals_beside_distinct_from_are_read_later() {
        check("SELECT a IS DISTINCT FROM '{1}' FROM t", Ok("SELECT operator distinct(a, '{1}') FROM t"));
        check("SELECT '{1}' IS NOT DISTINCT FROM a FROM t", Ok("SELECT operator not distinct('{1}', a) FROM t"));
        check(
            "SELECT a IS DISTINCT FROM b, 'a' IS DISTINCT FROM 'b' FROM t",
            Ok("SELECT a IS DISTINCT FROM b, 'a' IS DISTINCT FROM 'b' FROM t"),
        );
    }

    #[test]
    fn spellings_become_the_planners() {
        check("SELECT (a).City, (a).\"B\" FROM t", Ok("SELECT (a).'city', (a).'B' FROM t"));
        check("SELECT pg_catalog.lower(x) FROM t", Ok("SELECT lower(x) FROM t"));
        check("SELECT a OPERATOR(pg_catalog.~) 'x' FROM t", Ok("SELECT a ~ 'x' FROM t"));
        check("SELECT x COLLATE \"C\" FROM t", Ok("SELECT x FROM t"));
        check("SELECT x COLLATE \"de_DE\" FROM t", Err("0A000"));
        check("SELECT x::regclass, x::int FROM t", Ok("SELECT pg_cast_regclass(x), x::INT FROM t"));
        check(
            "SELECT 'x'::regclass::text, 'x'::regclass::oid",
            Ok("SELECT pg_cast_regclass(pg_oid_regclass('x'))::TEXT, pg_oid_regclass('x')::oid"),
        );
        check("SELECT a LIKE b ESCAPE '/' FROM t", Ok("SELECT a LIKE like_escape(b, '/') FROM t"));
        check("SELECT t.tags[1], (t.address).city FROM t", Ok("SELECT t.tags[1], (t.address).'city' FROM t"));
        check("SELECT -x, -1, -(2), a AT TIME ZONE 'UTC' FROM t", Ok("SELECT pg_negate(x), -1, -(2), timezone('UTC', a) FROM t"));
        check("SELECT -(-5), - -5, -(-x)", Ok("SELECT 5, 5, pg_negate((pg_negate(x)))"));
        check("SELECT ~5, @ -5, |/ 4", Ok("SELECT pg_bitnot(5), abs(-5), sqrt(CAST(4 AS DOUBLE PRECISION))"));
        check("SELECT B'101', X'1F'", Ok("SELECT CAST('b101' AS bit), CAST('x1F' AS bit)"));
        check("SELECT INTERVAL '1' DAY", Ok("SELECT CAST('1' AS INTERVAL DAY)"));
        check("SELECT 5 !", Err("42601"));
        check("SELECT 1 FROM t FOR UPDATE", Err("0A000"));
        check("SELECT 1 FROM t TABLESAMPLE BERNOULLI (1)", Err("0A000"));
        check("SELECT ARRAY(SELECT 1)", Err("0A000"));
    }
}
