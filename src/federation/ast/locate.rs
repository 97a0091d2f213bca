//! Finds the place of an error in a statement's text, from the name that its message quotes.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{Expr, Ident, ObjectName, ObjectNamePart, Query, Visit, Visitor};

use crate::error::{Diagnosis, sqlstate};

/// The character index (from 1) of the relation, column or function that `error` is about.
pub fn position(error: &Diagnosis, query: &Query, text: &str) -> Option<usize> {
    let quoted = quoted_name(&error.message)?;
    let wanted = match error.sqlstate.as_str() {
        sqlstate::UNDEFINED_TABLE => Wanted::Relation,
        sqlstate::UNDEFINED_COLUMN | sqlstate::AMBIGUOUS_COLUMN => Wanted::Column,
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
        None => message.split(' ').nth(1)?,
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

enum Wanted {
    Relation,
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
            (Wanted::Relation, Expr::CompoundIdentifier(parts)) if parts.first().is_some_and(|first| self.matches(first)) => {
                parts.first().cloned()
            }
            (Wanted::Function, Expr::Function(function)) => self.first_of(&function.name),
            _ => None,
        };
        found.map_or(ControlFlow::Continue(()), ControlFlow::Break)
    }
}
