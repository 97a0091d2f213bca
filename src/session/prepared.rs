//! Prepared statements and portals of one session.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::Utc;
use datafusion::scalar::ScalarValue;

use super::output::{OutputColumn, Rows};
use super::statement::Parsed;
use crate::catalog::live;
use crate::error::{Diagnosis, Limit, sqlstate};
use crate::federation::dml::PlannedWrite;
use crate::federation::fast::Lookup;
use crate::federation::plan::Planned;
use crate::format::Format;
use crate::pgtype::PgType;

/// Most prepared statements a session may keep.
pub const STATEMENTS_MAX: usize = 10_000;
/// Most bytes of text of the named prepared statements of a session; what is planned from a text grows with it. The
/// unnamed one is bounded by the size of a message.
pub const STATEMENT_BYTES_MAX: usize = 16 << 20;
/// Most portals a session may keep open.
pub const PORTALS_MAX: usize = 1_000;
/// Most bytes of parameters that the named portals of a session may hold.
pub const PORTAL_BYTES_MAX: usize = 64 << 20;

/// What `Describe` tells of a prepared statement.
#[derive(Debug, Clone)]
pub struct Description {
    /// Types of `$1`, `$2`, … after inference.
    pub parameters: Vec<PgType>,
    /// Result columns; `None` when the statement returns no rows.
    pub columns: Option<Vec<OutputColumn>>,
}

/// Whether the fast path answers a statement, and since which catalog and settings that holds.
#[derive(Debug, Clone, Default)]
pub struct Route {
    /// The catalog version and the generation of the settings it was found under.
    pub under: (u64, u64),
    /// The resolved statement; `None` sends it to the planner.
    pub lookup: Option<Arc<Lookup>>,
}

/// A prepared statement.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// The statement; `None` for an empty text.
    pub parsed: Option<Parsed>,
    /// The name it is kept under.
    pub name: String,
    /// The way past the planner, where there is one.
    pub route: Route,
    /// The plan of a query; a statement with a fast path is planned when its parameters first need it.
    pub planned: Option<Planned>,
    /// The plan of a statement that changes rows.
    pub write: Option<PlannedWrite>,
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
    pub statement: Arc<Prepared>,
    /// Parameters in the carriers of their types.
    pub parameters: Vec<ScalarValue>,
    /// Formats, one per column.
    pub formats: Vec<Format>,
    /// Rows that a limited `Execute` left.
    pub rows: Option<Rows>,
    /// Whether it has run.
    pub done: bool,
    /// How many savepoints its block had been asked for when it was made.
    pub since: u32,
    /// Whether it failed while its rows were read: it gives no more of them.
    pub broken: bool,
}

impl Portal {
    /// Fails when it cannot be run because it has failed before.
    ///
    /// # Errors
    /// 55000
    pub fn check(&self, name: &str) -> Result<(), Diagnosis> {
        if self.broken {
            return Err(Diagnosis::new(sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE, format!("portal \"{name}\" cannot be run")));
        }
        Ok(())
    }
}

/// Statements and portals by name; the empty name is the unnamed one.
#[derive(Debug, Default)]
pub struct Names {
    statements: HashMap<String, Arc<Prepared>>,
    portals: HashMap<String, Portal>,
    /// Bytes of all named statements, as [`statement_bytes`] counts them.
    statement_bytes: usize,
    /// Bytes of the parameters of all named portals.
    portal_bytes: usize,
    /// The portal whose rows the statement reads that runs now.
    reading: Option<String>,
    /// The same by name, to be shown; the unnamed ones are left out.
    shown: Arc<live::Named>,
}

/// What a statement counts for against [`STATEMENT_BYTES_MAX`].
fn statement_bytes(name: &str, text: &str) -> usize {
    if name.is_empty() { 0 } else { name.len() + text.len() }
}

fn bytes_of(name: &str, statement: &Prepared) -> usize {
    statement_bytes(name, statement.parsed.as_ref().map_or("", |parsed| &parsed.text))
}

fn portal_bytes(name: &str, portal: &Portal) -> usize {
    if name.is_empty() { 0 } else { name.len() + portal.parameters.iter().map(ScalarValue::size).sum::<usize>() }
}

fn too_many(what: &str, limit: Limit) -> Diagnosis {
    Diagnosis::new(sqlstate::CONFIGURATION_LIMIT_EXCEEDED, format!("a session may keep at most {what}")).at(limit)
}

impl Names {
    /// What of them is shown, for as long as the session lasts.
    pub fn shown(&self) -> &Arc<live::Named> {
        &self.shown
    }

    /// Keeps a statement. The unnamed one is replaced, a named one must be new.
    ///
    /// # Errors
    /// 42P05, 53400 at the bounds.
    pub fn add_statement(&mut self, name: &str, statement: Prepared) -> Result<(), Diagnosis> {
        self.add(name, statement, false)
    }

    /// The same for `PREPARE`.
    ///
    /// # Errors
    /// 42P05, 53400 at the bounds.
    pub fn add_by_sql(&mut self, name: &str, statement: Prepared) -> Result<(), Diagnosis> {
        self.add(name, statement, true)
    }

    fn add(&mut self, name: &str, mut statement: Prepared, from_sql: bool) -> Result<(), Diagnosis> {
        self.check_statement(name, statement.parsed.as_ref().map_or("", |parsed| &parsed.text))?;
        name.clone_into(&mut statement.name);
        self.statement_bytes += bytes_of(name, &statement);
        if !name.is_empty() {
            let text = statement.parsed.as_ref().map_or_else(|| "".into(), |parsed| Arc::clone(&parsed.text));
            let parameters = statement.description.parameters.clone();
            let shown = live::Statement { text, prepared: Utc::now(), parameters, from_sql };
            self.shown.statements().insert(name.to_owned(), shown);
        }
        self.statements.insert(name.to_owned(), Arc::new(statement));
        Ok(())
    }

    /// Fails when a named statement exists already, or a session may not keep one more with this text.
    ///
    /// # Errors
    /// 42P05, 53400.
    pub fn check_statement(&self, name: &str, text: &str) -> Result<(), Diagnosis> {
        if !name.is_empty() && self.statements.contains_key(name) {
            let message = format!("prepared statement \"{name}\" already exists");
            return Err(Diagnosis::new(sqlstate::DUPLICATE_PREPARED_STATEMENT, message));
        }
        if self.statements.len() >= STATEMENTS_MAX {
            return Err(too_many(&format!("{STATEMENTS_MAX} prepared statements"), Limit::Statements));
        }
        if self.statement_bytes + statement_bytes(name, text) > STATEMENT_BYTES_MAX {
            let hint = "Close prepared statements that are no longer needed, or use the unnamed one.";
            let what = format!("{STATEMENT_BYTES_MAX} bytes of prepared statements");
            return Err(too_many(&what, Limit::Statements).with_hint(hint));
        }
        Ok(())
    }

    /// A statement.
    ///
    /// # Errors
    /// 26000
    pub fn statement(&self, name: &str) -> Result<&Arc<Prepared>, Diagnosis> {
        self.statements.get(name).ok_or_else(|| no_statement(name))
    }

    /// Keeps the plan that replaces a prepared statement's own, unless the name means another statement by now.
    pub fn replan(&mut self, old: &Prepared, planned: &Planned, under: (u64, u64)) {
        if let Some(known) = self.same_statement(old) {
            known.planned = Some(planned.clone());
            known.planned_under = under;
        }
    }

    /// The same for a statement that changes rows.
    pub fn replan_write(&mut self, old: &Prepared, planned: &PlannedWrite, under: (u64, u64)) {
        if let Some(known) = self.same_statement(old) {
            known.write = Some(planned.clone());
            known.planned_under = under;
        }
    }

    /// Keeps the way that replaces a prepared statement's own, unless the name means another statement by now.
    pub fn reroute(&mut self, old: &Prepared, route: &Route) {
        if let Some(known) = self.same_statement(old) {
            known.route = route.clone();
        }
    }

    fn same_statement(&mut self, old: &Prepared) -> Option<&mut Prepared> {
        let same = |known: &&mut Arc<Prepared>| match (&known.parsed, &old.parsed) {
            (Some(known), Some(old)) => Arc::ptr_eq(&known.text, &old.text),
            _ => false,
        };
        self.statements.get_mut(&old.name).filter(same).map(Arc::make_mut)
    }

    /// Forgets a statement; tells whether it existed.
    pub fn remove_statement(&mut self, name: &str) -> bool {
        let removed = self.statements.remove(name);
        self.statement_bytes -= removed.as_ref().map_or(0, |statement| bytes_of(name, statement));
        if !name.is_empty() {
            self.shown.statements().remove(name);
        }
        removed.is_some()
    }

    /// Forgets all statements.
    pub fn clear_statements(&mut self) {
        self.statements.clear();
        self.statement_bytes = 0;
        self.shown.statements().clear();
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
            return Err(too_many(&format!("{PORTALS_MAX} portals open"), Limit::Portals));
        }
        let bytes = self.portal_bytes + portal_bytes(name, &portal);
        if bytes > PORTAL_BYTES_MAX {
            let what = format!("{PORTAL_BYTES_MAX} bytes of parameters in open portals");
            return Err(too_many(&what, Limit::Portals));
        }
        self.portal_bytes = bytes;
        if let Some(parsed) = portal.statement.parsed.as_ref().filter(|_| !name.is_empty()) {
            let is_binary = portal.formats.first() == Some(&Format::Binary);
            let shown = live::Cursor { text: Arc::clone(&parsed.text), opened: Utc::now(), is_binary };
            self.shown.cursors().insert(name.to_owned(), shown);
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

    /// The statements of the portals that have rows left.
    pub fn reading(&self) -> impl Iterator<Item = &Arc<Prepared>> {
        self.portals.values().filter(|portal| portal.rows.is_some()).map(|portal| &portal.statement)
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
        let removed = self.portals.remove(name);
        self.portal_bytes -= removed.as_ref().map_or(0, |portal| portal_bytes(name, portal));
        if !name.is_empty() {
            self.shown.cursors().remove(name);
        }
    }

    /// Notes the portal whose rows a statement reads; `None` when one begins that reads none.
    pub fn read(&mut self, portal: Option<&str>) {
        self.reading = portal.map(str::to_owned);
    }

    /// Closes the portals that were made after a savepoint, as coming back to it does.
    pub fn close_portals_since(&mut self, savepoint: u32) {
        let later = self.portals.iter().filter(|(_, portal)| portal.since > savepoint).map(|(name, _)| name.clone());
        for name in later.collect::<Vec<_>>() {
            self.remove_portal(&name);
        }
    }

    /// The same when a statement has failed after the savepoint: the portal that it was reading has failed with it.
    pub fn fail_since(&mut self, savepoint: u32) {
        self.close_portals_since(savepoint);
        if let Some(portal) = self.reading.take().and_then(|name| self.portals.get_mut(&name)) {
            portal.rows = None;
            portal.broken = true;
        }
    }

    /// Closes all portals, as the end of a transaction does.
    pub fn clear_portals(&mut self) {
        // Most series leave no more than the unnamed one.
        if self.portals.keys().any(|name| !name.is_empty()) {
            self.shown.cursors().clear();
        }
        self.portals.clear();
        self.portal_bytes = 0;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::statement::{Kind, Parsed};

    fn statement(bytes: usize) -> Prepared {
        let parsed = Parsed { text: "x".repeat(bytes).into(), kind: Kind::Unlisten(None) };
        let description = Description { parameters: Vec::new(), columns: None };
        Prepared {
            parsed: Some(parsed),
            name: String::new(),
            route: Route::default(),
            planned: None,
            write: None,
            planned_under: (0, 0),
            description,
        }
    }

    fn portal(bytes: usize) -> Portal {
        let parameters = vec![ScalarValue::Binary(Some(vec![0; bytes]))];
        Portal {
            statement: Arc::new(statement(1)),
            parameters,
            formats: Vec::new(),
            rows: None,
            done: false,
            since: 0,
            broken: false,
        }
    }

    fn code<T>(outcome: Result<T, Diagnosis>) -> Option<String> {
        outcome.err().map(|error| error.sqlstate)
    }

    #[test]
    fn statements_are_bounded_by_number_and_by_bytes() {
        let mut names = Names::default();
        for place in 0..STATEMENTS_MAX {
            names.add_statement(&place.to_string(), statement(1)).unwrap();
        }
        assert_eq!(code(names.add_statement("more", statement(1))).as_deref(), Some("53400"));
        names.clear_statements();
        let half = STATEMENT_BYTES_MAX / 2 - 1;
        names.add_statement("a", statement(half)).unwrap();
        names.add_statement("b", statement(half)).unwrap();
        assert_eq!(code(names.add_statement("c", statement(half))).as_deref(), Some("53400"));
        assert!(names.statement("a").is_ok() && names.statement("b").is_ok(), "nothing was evicted");
        for _ in 0..3 {
            names.remove_statement("");
            names.add_statement("", statement(STATEMENT_BYTES_MAX)).unwrap();
        }
        assert!(names.remove_statement("a"));
        names.add_statement("c", statement(half)).unwrap();
        names.clear_statements();
        names.add_statement("a", statement(half)).unwrap();
        assert_eq!(names.statement_bytes, half + 1);
    }

    #[test]
    fn portals_are_bounded_by_number_and_by_bytes() {
        let mut names = Names::default();
        for place in 0..PORTALS_MAX {
            names.add_portal(&place.to_string(), portal(1)).unwrap();
        }
        assert_eq!(code(names.add_portal("more", portal(1))).as_deref(), Some("53400"));
        names.clear_portals();
        names.add_portal("a", portal(PORTAL_BYTES_MAX / 2)).unwrap();
        assert_eq!(code(names.add_portal("b", portal(PORTAL_BYTES_MAX / 2))).as_deref(), Some("53400"));
        names.add_portal("", portal(PORTAL_BYTES_MAX)).unwrap();
        names.remove_portal("a");
        names.add_portal("b", portal(PORTAL_BYTES_MAX / 2)).unwrap();
        names.remove_portal("b");
        names.remove_portal("");
        assert_eq!(names.portal_bytes, 0);
    }

    #[test]
    fn portals_go_with_the_savepoint_before_them() {
        let mut names = Names::default();
        for (name, since) in [("before", 0), ("first", 1), ("second", 2)] {
            names.add_portal(name, Portal { since, ..portal(8) }).unwrap();
        }
        names.read(Some("before"));
        names.fail_since(1);
        assert_eq!(code(names.portal("second")).as_deref(), Some("34000"));
        assert_eq!(code(names.portal("before").unwrap().check("before")).as_deref(), Some("55000"));
        assert!(names.portal("first").unwrap().check("first").is_ok());
        names.close_portals_since(0);
        assert!(names.portal("first").is_err() && names.portal("before").is_ok());
        assert_eq!(names.portal_bytes, portal_bytes("before", &portal(8)));
    }
}
