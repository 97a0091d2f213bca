//! What changes with every statement and can be asked for: sessions and what they do, prepared statements, cursors. Sessions write
//! it, `system::activity` makes rows of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};

use crate::pgtype::PgType;

/// Most bytes of a statement that are kept to be shown, as PostgreSQL's `track_activity_query_size`.
const QUERY_MAX: usize = 1_023;

/// All sessions; there are as many as may be connected.
#[derive(Debug, Default)]
pub struct Sessions(Mutex<Vec<Arc<Activity>>>);

impl Sessions {
    /// Makes a session visible for as long as what this returns is kept.
    pub fn enter(self: &Arc<Self>, activity: Activity) -> Presence {
        let activity = Arc::new(activity);
        locked(&self.0).push(Arc::clone(&activity));
        Presence { sessions: Arc::clone(self), activity }
    }

    /// The sessions that are there now, the oldest first.
    pub fn all(&self) -> Vec<Arc<Activity>> {
        locked(&self.0).clone()
    }
}

/// A session among the others, until it is dropped.
#[derive(Debug)]
pub struct Presence {
    sessions: Arc<Sessions>,
    activity: Arc<Activity>,
}

impl Presence {
    /// What the session does.
    pub fn activity(&self) -> &Activity {
        &self.activity
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        locked(&self.sessions.0).retain(|other| !Arc::ptr_eq(other, &self.activity));
    }
}

/// One session.
#[derive(Debug)]
pub struct Activity {
    /// The process id that its client was told.
    pub process_id: i32,
    /// Who it is of.
    pub role: String,
    /// When it began.
    pub began: DateTime<Utc>,
    doing: Mutex<Doing>,
}

/// What a session does.
#[derive(Debug, Clone)]
pub struct Doing {
    /// `active`, `idle`, `idle in transaction`, `idle in transaction (aborted)`.
    pub state: &'static str,
    /// Since when.
    pub since: DateTime<Utc>,
    /// The latest statement, the beginning of a long one.
    pub query: Arc<str>,
    /// When that began.
    pub query_start: Option<DateTime<Utc>>,
    /// When the transaction began, while there is one.
    pub transaction_start: Option<DateTime<Utc>>,
    /// What the client calls itself.
    pub application_name: String,
}

impl Activity {
    /// A session that begins now.
    pub fn new(process_id: i32, role: &str, application_name: &str) -> Self {
        let began = Utc::now();
        let doing = Doing {
            state: "idle",
            since: began,
            query: "".into(),
            query_start: None,
            transaction_start: None,
            application_name: application_name.to_owned(),
        };
        Self { process_id, role: role.to_owned(), began, doing: Mutex::new(doing) }
    }

    /// What it does now.
    pub fn doing(&self) -> Doing {
        locked(&self.doing).clone()
    }

    /// A statement starts, in a transaction that began at the second time.
    pub fn start(&self, query: &Arc<str>, (statement, transaction): (DateTime<Utc>, DateTime<Utc>), application_name: &str) {
        let mut doing = locked(&self.doing);
        (doing.state, doing.since) = ("active", statement);
        doing.query = shortened(query);
        (doing.query_start, doing.transaction_start) = (Some(statement), Some(transaction));
        if doing.application_name != application_name {
            application_name.clone_into(&mut doing.application_name);
        }
    }

    /// The session waits for its client, perhaps in a transaction block that began then.
    pub fn rest(&self, state: &'static str, transaction: Option<DateTime<Utc>>) {
        let mut doing = locked(&self.doing);
        (doing.state, doing.since, doing.transaction_start) = (state, Utc::now(), transaction);
    }
}

fn shortened(query: &Arc<str>) -> Arc<str> {
    if query.len() <= QUERY_MAX {
        return Arc::clone(query);
    }
    let end = (0..=QUERY_MAX).rev().find(|end| query.is_char_boundary(*end)).unwrap_or(0);
    query.get(..end).unwrap_or_default().into()
}

/// What a session keeps by name. Bounded as the session bounds it.
#[derive(Debug, Default)]
pub struct Named {
    statements: Mutex<BTreeMap<String, Statement>>,
    cursors: Mutex<BTreeMap<String, Cursor>>,
    channels: Mutex<Vec<String>>,
}

/// A prepared statement.
#[derive(Debug, Clone)]
pub struct Statement {
    /// The text it was prepared with.
    pub text: Arc<str>,
    /// When.
    pub prepared: DateTime<Utc>,
    /// The types of its parameters.
    pub parameters: Vec<PgType>,
    /// Whether by `PREPARE`.
    pub from_sql: bool,
}

/// An open cursor or named portal.
#[derive(Debug, Clone)]
pub struct Cursor {
    /// The text that opened it.
    pub text: Arc<str>,
    /// When.
    pub opened: DateTime<Utc>,
    /// Whether its rows are in binary format.
    pub is_binary: bool,
}

impl Named {
    /// The prepared statements.
    pub fn statements(&self) -> MutexGuard<'_, BTreeMap<String, Statement>> {
        locked(&self.statements)
    }

    /// The cursors.
    pub fn cursors(&self) -> MutexGuard<'_, BTreeMap<String, Cursor>> {
        locked(&self.cursors)
    }

    /// The channels that it listens to.
    pub fn channels(&self) -> MutexGuard<'_, Vec<String>> {
        locked(&self.channels)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_are_there_until_they_end() {
        let sessions: Arc<Sessions> = Arc::default();
        let first = sessions.enter(Activity::new(7, "ada", "psql"));
        let second = sessions.enter(Activity::new(7, "ada", ""));
        assert_eq!(sessions.all().len(), 2);
        drop(first);
        assert_eq!(sessions.all().len(), 1, "the same process id is another session's");
        let now = Utc::now();
        second.activity().start(&"SELECT 1".into(), (now, now), "x");
        let doing = sessions.all()[0].doing();
        assert_eq!((doing.state, &*doing.query, doing.transaction_start), ("active", "SELECT 1", Some(now)));
        second.activity().rest("idle", None);
        assert_eq!(sessions.all()[0].doing().transaction_start, None);
        drop(second);
        assert!(sessions.all().is_empty());
    }

    #[test]
    fn long_statements_are_kept_as_far_as_they_are_shown() {
        let text: Arc<str> = format!("{}ü", "x".repeat(QUERY_MAX - 1)).into();
        assert_eq!(shortened(&text).len(), QUERY_MAX - 1);
        let text: Arc<str> = "x".repeat(QUERY_MAX).into();
        assert!(Arc::ptr_eq(&shortened(&text), &text));
    }
}
