//! Prepared statements and portals of one session.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::scalar::ScalarValue;

use super::output::{OutputColumn, Rows};
use super::statement::Parsed;
use crate::error::{Diagnosis, sqlstate};
use crate::federation::plan::Planned;
use crate::format::Format;
use crate::pgtype::PgType;

/// Most prepared statements a session may keep.
pub const STATEMENTS_MAX: usize = 10_000;
/// Most portals a session may keep open.
pub const PORTALS_MAX: usize = 1_000;

/// What `Describe` tells of a prepared statement.
#[derive(Debug, Clone)]
pub struct Description {
    /// Types of `$1`, `$2`, … after inference.
    pub parameters: Vec<PgType>,
    /// Result columns; `None` when the statement returns no rows.
    pub columns: Option<Vec<OutputColumn>>,
}

/// A prepared statement.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// The statement; `None` for an empty text.
    pub parsed: Option<Parsed>,
    /// The name it is kept under.
    pub name: String,
    /// The plan of a query.
    pub planned: Option<Planned>,
    /// The catalog version and the generation of the settings it was planned under: system functions answer from any
    /// setting, so any change makes a new plan.
    pub planned_under: (u64, u64),
    /// What clients are told.
    pub description: Description,
}

/// A bound statement.
#[derive(Debug)]
pub struct Portal {
    /// The statement as it was when bound.
    pub statement: Prepared,
    /// Parameters in the carriers of their types.
    pub parameters: Vec<ScalarValue>,
    /// Formats, one per column.
    pub formats: Vec<Format>,
    /// Rows that a limited `Execute` left.
    pub rows: Option<Rows>,
    /// Whether it has run.
    pub done: bool,
}

/// Statements and portals by name; the empty name is the unnamed one.
#[derive(Debug, Default)]
pub struct Names {
    statements: HashMap<String, Prepared>,
    portals: HashMap<String, Portal>,
}

impl Names {
    /// Keeps a statement. The unnamed one is replaced, a named one must be new.
    ///
    /// # Errors
    /// 42P05, 53400 at the bound.
    pub fn add_statement(&mut self, name: &str, mut statement: Prepared) -> Result<(), Diagnosis> {
        self.check_statement_name(name)?;
        name.clone_into(&mut statement.name);
        self.statements.insert(name.to_owned(), statement);
        Ok(())
    }

    /// Fails when a named statement exists already, or there are too many.
    ///
    /// # Errors
    /// 42P05, 53400.
    pub fn check_statement_name(&self, name: &str) -> Result<(), Diagnosis> {
        if !name.is_empty() && self.statements.contains_key(name) {
            let message = format!("prepared statement \"{name}\" already exists");
            return Err(Diagnosis::new(sqlstate::DUPLICATE_PREPARED_STATEMENT, message));
        }
        if self.statements.len() >= STATEMENTS_MAX {
            let message = format!("a session may keep at most {STATEMENTS_MAX} prepared statements");
            return Err(Diagnosis::new(sqlstate::CONFIGURATION_LIMIT_EXCEEDED, message));
        }
        Ok(())
    }

    /// A statement.
    ///
    /// # Errors
    /// 26000
    pub fn statement(&self, name: &str) -> Result<&Prepared, Diagnosis> {
        self.statements.get(name).ok_or_else(|| no_statement(name))
    }

    /// Keeps the plan that replaces a prepared statement's own, unless the name means another statement by now.
    pub fn replan(&mut self, old: &Prepared, planned: &Planned, under: (u64, u64)) {
        let same = |known: &&mut Prepared| match (&known.parsed, &old.parsed) {
            (Some(known), Some(old)) => Arc::ptr_eq(&known.text, &old.text),
            _ => false,
        };
        if let Some(known) = self.statements.get_mut(&old.name).filter(|known| same(known)) {
            known.planned = Some(planned.clone());
            known.planned_under = under;
        }
    }

    /// Forgets a statement; tells whether it existed.
    pub fn remove_statement(&mut self, name: &str) -> bool {
        self.statements.remove(name).is_some()
    }

    /// Forgets all statements.
    pub fn clear_statements(&mut self) {
        self.statements.clear();
    }

    /// Keeps a portal. The unnamed one is replaced, a named one must be new.
    ///
    /// # Errors
    /// 42P03, 53400 at the bound.
    pub fn add_portal(&mut self, name: &str, portal: Portal) -> Result<(), Diagnosis> {
        if !name.is_empty() && self.portals.contains_key(name) {
            return Err(Diagnosis::new(sqlstate::DUPLICATE_CURSOR, format!("cursor \"{name}\" already exists")));
        }
        if self.portals.len() >= PORTALS_MAX {
            let message = format!("a session may keep at most {PORTALS_MAX} portals open");
            return Err(Diagnosis::new(sqlstate::CONFIGURATION_LIMIT_EXCEEDED, message));
        }
        self.portals.insert(name.to_owned(), portal);
        Ok(())
    }

    /// A portal.
    ///
    /// # Errors
    /// 34000
    pub fn portal(&self, name: &str) -> Result<&Portal, Diagnosis> {
        self.portals.get(name).ok_or_else(|| no_portal(name))
    }

    /// A portal to change.
    ///
    /// # Errors
    /// 34000
    pub fn portal_mut(&mut self, name: &str) -> Result<&mut Portal, Diagnosis> {
        self.portals.get_mut(name).ok_or_else(|| no_portal(name))
    }

    /// Closes a portal and stops its query.
    pub fn remove_portal(&mut self, name: &str) {
        self.portals.remove(name);
    }

    /// Closes all portals, as the end of a transaction does.
    pub fn clear_portals(&mut self) {
        self.portals.clear();
    }
}

fn no_statement(name: &str) -> Diagnosis {
    let message = if name.is_empty() {
        "unnamed prepared statement does not exist".to_owned()
    } else {
        format!("prepared statement \"{name}\" does not exist")
    };
    Diagnosis::new(sqlstate::INVALID_SQL_STATEMENT_NAME, message)
}

fn no_portal(name: &str) -> Diagnosis {
    Diagnosis::new(sqlstate::INVALID_CURSOR_NAME, format!("portal \"{name}\" does not exist"))
}
