//! Finds the place of an error in a statement's text, from the name that its message quotes.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{Expr, Ident, ObjectName, ObjectNamePart, Query, SetExpr, Visit, Visitor};
use datafusion::sql::sqlparser::tokenizer::Location;

use crate::error::{Diagnosis, sqlstate};

/// The character index (from 1) of the relation, column or function that `error` is about.
pub fn position(error: &Diagnosis, query: &Query, text: &str) -> Option<usize> {
    if error.message.starts_with("argument of WHERE ") {
        let start = only_condition(query)?;
        return character_of(text, start.line, start.column);
    }
    let quoted = quoted_name(&error.message)?;
    let wanted = match error.sqlstate.as_str() {
        sqlstate::UNDEFINED_TABLE if error.message.starts_with("missing FROM") => Wanted::Qualifier,
        sqlstate::UNDEFINED_TABLE => Wanted::Relation,
        sqlstate::UNDEFINED_COLUMN | sqlstate::AMBIGUOUS_COLUMN | sqlstate::GROUPING_ERROR => Wanted::Column,
        sqlstate::UNDEFINED_FUNCTION => Wanted::Function,
        _ => return None,
    };
    let mut finder = Finder { wanted, name: quoted };
    match query.visit(&mut finder) {
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
            _ => None,
        };
        found.map_or(ControlFlow::Continue(()), ControlFlow::Break)
    }
}
