//! Finds the place of an error in a statement's text, from the name or the value that its message quotes.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, GroupByExpr, Ident, ObjectName, ObjectNamePart, OrderByKind, Query, SelectItem, SetExpr, Value, ValueWithSpan, Visit,
    Visitor, WindowType,
};
use datafusion::sql::sqlparser::tokenizer::Location;

use crate::error::{Diagnosis, sqlstate};

/// The character index (from 1) of the relation, column, function or literal that `error` is about.
pub fn position(error: &Diagnosis, query: &Query, text: &str) -> Option<usize> {
    if error.message.starts_with("argument of WHERE ") {
        let start = only_condition(query)?;
        return character_of(text, start.line, start.column);
    }
    if let Some(start) = literal(error, query).or_else(|| ordinal(&error.message, query)).or_else(|| arity(&error.message, query)) {
        return character_of(text, start.line, start.column);
    }
    named(error, query, text)
}

/// The same for a part of a statement that is no query: the only literal or the name that `error` is about.
pub fn place_in(error: &Diagnosis, part: &impl Visit, text: &str) -> Option<usize> {
    match literal(error, part) {
        Some(start) => character_of(text, start.line, start.column),
        None => named(error, part, text),
    }
}

/// The first use of the name that `error` quotes.
fn named(error: &Diagnosis, part: &impl Visit, text: &str) -> Option<usize> {
    let quoted = quoted_name(&error.message)?;
    let wanted = match error.sqlstate.as_str() {
        sqlstate::UNDEFINED_TABLE if error.message.starts_with("missing FROM") => Wanted::Qualifier,
        sqlstate::UNDEFINED_TABLE => Wanted::Relation,
        sqlstate::UNDEFINED_COLUMN | sqlstate::AMBIGUOUS_COLUMN | sqlstate::GROUPING_ERROR => Wanted::Column,
        sqlstate::UNDEFINED_FUNCTION => Wanted::Function,
        sqlstate::UNDEFINED_OBJECT if error.message.starts_with("window ") => Wanted::Window,
        _ => return None,
    };
    let mut finder = Finder { wanted, name: quoted };
    match part.visit(&mut finder) {
        ControlFlow::Break(ident) => character(text, &ident),
        ControlFlow::Continue(()) => None,
    }
}

/// The last part of the first name in the message: `column t.x does not exist` gives `x`.
fn quoted_name(message: &str) -> Option<String> {
    let name = match message.split('"').nth(1) {
        Some(quoted) => quoted,
        // `function upper(text, text) does not exist`
        None => message.split(' ').nth(1)?.split('(').next()?,
    };
    Some(name.rsplit('.').next().unwrap_or(name).to_owned())
}

fn character(text: &str, ident: &Ident) -> Option<usize> {
    character_of(text, ident.span.start.line, ident.span.start.column)
}

/// A line and a column, both from 1, as a character index from 1.
pub fn character_of(text: &str, line: u64, column: u64) -> Option<usize> {
    let line = usize::try_from(line).ok()?.checked_sub(1)?;
    let before: usize = text.split('\n').take(line).map(|line| line.chars().count() + 1).sum();
    let position = before + usize::try_from(column).ok()?;
    (column > 0 && position <= text.chars().count() + 1).then_some(position)
}

/// Where the only literal is that holds the text which `error` says is no value of a type.
fn literal(error: &Diagnosis, part: &impl Visit) -> Option<Location> {
    struct Literals<'w> {
        wanted: Option<&'w str>,
        found: Vec<Location>,
    }
    impl Visitor for Literals<'_> {
        type Break = ();

        fn pre_visit_value(&mut self, value: &ValueWithSpan) -> ControlFlow<()> {
            if let Value::SingleQuotedString(text) | Value::EscapedStringLiteral(text) = &value.value
                && self.wanted.is_none_or(|wanted| wanted == text)
            {
                self.found.push(value.span.start);
            }
            ControlFlow::Continue(())
        }
    }
    let is_of_input = [sqlstate::INVALID_TEXT_REPRESENTATION, sqlstate::DATETIME_FIELD_OVERFLOW, sqlstate::INVALID_DATETIME_FORMAT];
    if !is_of_input.contains(&error.sqlstate.as_str()) {
        return None;
    }
    let wanted = match error.message.as_str() {
        "invalid input syntax for type json" => None,
        message => Some(message.split_once(": \"")?.1.strip_suffix('"')?),
    };
    let mut literals = Literals { wanted, found: Vec::new() };
    let _: ControlFlow<()> = part.visit(&mut literals);
    match literals.found.as_slice() {
        [only] if only.line > 0 => Some(*only),
        _ => None,
    }
}

/// Where the number is that ORDER BY or GROUP BY takes for a place of the select list.
fn ordinal(message: &str, query: &Query) -> Option<Location> {
    struct Keys<'w>(&'w str);
    impl Keys<'_> {
        fn among<'e>(&self, keys: impl Iterator<Item = &'e Expr>) -> ControlFlow<Location> {
            for key in keys {
                if let Expr::Value(value) = key
                    && matches!(&value.value, Value::Number(digits, _) if digits == self.0)
                {
                    return ControlFlow::Break(value.span.start);
                }
            }
            ControlFlow::Continue(())
        }
    }
    impl Visitor for Keys<'_> {
        type Break = Location;

        fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Location> {
            if let Some(OrderByKind::Expressions(keys)) = query.order_by.as_ref().map(|order| &order.kind) {
                self.among(keys.iter().map(|key| &key.expr))?;
            }
            match query.body.as_ref() {
                SetExpr::Select(select) => match &select.group_by {
                    GroupByExpr::Expressions(keys, _) => self.among(keys.iter()),
                    GroupByExpr::All(_) => ControlFlow::Continue(()),
                },
                _ => ControlFlow::Continue(()),
            }
        }
    }
    let (before, _) = message.split_once(" is not in select list")?;
    let (_, number) = before.split_once(" BY position ")?;
    query.visit(&mut Keys(number)).break_value().filter(|start| start.line > 0)
}

/// Where the right side of a set operation begins whose left side has another number of columns.
fn arity(message: &str, query: &Query) -> Option<Location> {
    struct Sides;
    impl Visitor for Sides {
        type Break = Location;

        fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Location> {
            unlike_side(&query.body).map_or(ControlFlow::Continue(()), ControlFlow::Break)
        }
    }
    if !message.ends_with(" query must have the same number of columns") {
        return None;
    }
    query.visit(&mut Sides).break_value().filter(|start| start.line > 0)
}

fn unlike_side(body: &SetExpr) -> Option<Location> {
    let SetExpr::SetOperation { left, right, .. } = body else { return None };
    let own = || {
        let ((left, _), (right, first)) = (columns(left)?, columns(right)?);
        (left != right).then_some(first).flatten()
    };
    unlike_side(left).or_else(|| unlike_side(right)).or_else(own)
}

/// How many columns a side of a set operation has, and where the first is, when that can be seen.
fn columns(body: &SetExpr) -> Option<(usize, Option<Location>)> {
    match body {
        SetExpr::Select(select) => {
            let exprs: Option<Vec<&Expr>> = select
                .projection
                .iter()
                .map(|item| match item {
                    SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => Some(expr),
                    _ => None,
                })
                .collect();
            let exprs = exprs?;
            Some((exprs.len(), exprs.first().and_then(|first| start_of(first))))
        }
        SetExpr::SetOperation { left, .. } => columns(left),
        SetExpr::Query(query) => columns(&query.body),
        _ => None,
    }
}

/// Where the condition of the statement's only WHERE begins.
fn only_condition(query: &Query) -> Option<Location> {
    struct Conditions(Vec<Option<Location>>);
    impl Visitor for Conditions {
        type Break = ();

        fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
            if let SetExpr::Select(select) = query.body.as_ref() {
                self.0.extend(select.selection.as_ref().map(start_of));
            }
            ControlFlow::Continue(())
        }
    }
    let mut found = Conditions(Vec::new());
    let _: ControlFlow<()> = query.visit(&mut found);
    match found.0.as_slice() {
        [only] => *only,
        _ => None,
    }
}

/// Where an expression begins, when its first part is a name or a literal.
pub fn start_of(expr: &Expr) -> Option<Location> {
    let start = datafusion::sql::sqlparser::ast::Spanned::span(expr).start;
    (start.line > 0).then_some(start)
}

enum Wanted {
    Relation,
    Qualifier,
    Column,
    Function,
    Window,
}

struct Finder {
    wanted: Wanted,
    name: String,
}

impl Finder {
    fn matches(&self, ident: &Ident) -> bool {
        if ident.quote_style.is_some() { ident.value == self.name } else { ident.value.to_lowercase() == self.name }
    }

    fn first_of(&self, name: &ObjectName) -> Option<Ident> {
        let last = name.0.last().and_then(ObjectNamePart::as_ident)?;
        let first = name.0.first().and_then(ObjectNamePart::as_ident)?;
        self.matches(last).then(|| first.clone())
    }
}

impl Visitor for Finder {
    type Break = Ident;

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<Ident> {
        match (&self.wanted, self.first_of(relation)) {
            (Wanted::Relation, Some(ident)) => ControlFlow::Break(ident),
            _ => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Ident> {
        let found = match (&self.wanted, expr) {
            (Wanted::Column, Expr::Identifier(ident)) if self.matches(ident) => Some(ident.clone()),
            (Wanted::Column, Expr::CompoundIdentifier(parts)) if parts.last().is_some_and(|last| self.matches(last)) => {
                parts.first().cloned()
            }
            (Wanted::Relation | Wanted::Qualifier, Expr::CompoundIdentifier(parts))
                if parts.first().is_some_and(|first| self.matches(first)) =>
            {
                parts.first().cloned()
            }
            (Wanted::Function, Expr::Function(function)) => self.first_of(&function.name),
            (Wanted::Window, Expr::Function(function)) => match &function.over {
                Some(WindowType::NamedWindow(name)) if self.matches(name) => Some(name.clone()),
                _ => None,
            },
            _ => None,
        };
        found.map_or(ControlFlow::Continue(()), ControlFlow::Break)
    }
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::{dialect::PostgreSqlDialect, parser::Parser};

    use super::*;

    fn check(sql: &str, code: &str, message: &str, expected: Option<usize>) {
        let query = Parser::new(&PostgreSqlDialect {}).try_with_sql(sql).unwrap().parse_query().unwrap();
        assert_eq!(position(&Diagnosis::new(code, message), &query, sql), expected, "{sql}");
    }

    #[test]
    fn values_and_ordinals_have_places() {
        let integer = "invalid input syntax for type integer: \"abc\"";
        check("SELECT 'abc'::int", "22P02", integer, Some(8));
        check("SELECT 'abc', 'abc'::int", "22P02", integer, None);
        check("SELECT date '2024-02-30'", "22008", "date/time field value out of range: \"2024-02-30\"", Some(13));
        check("SELECT '{'::json", "22P02", "invalid input syntax for type json", Some(8));
        check("SELECT 99 FROM t ORDER BY 1, 99", "42P10", "ORDER BY position 99 is not in select list", Some(30));
        check("SELECT a FROM t GROUP BY 7", "42P10", "GROUP BY position 7 is not in select list", Some(26));
        let arity = "each UNION query must have the same number of columns";
        check("SELECT 1 UNION SELECT 2, 3", "42601", arity, Some(23));
        check("SELECT 1, 2 UNION SELECT 3, 4 UNION SELECT 5", "42601", arity, Some(44));
        check("SELECT sum(a) OVER w FROM t", "42704", "window \"w\" does not exist", Some(20));
    }
}
