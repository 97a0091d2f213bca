//! What went wrong at the server or on the way to it, as a [`StoreError`].
//!
//! Server messages are passed through with SQLSTATE, detail and constraint. sqlx keeps no connection text in its errors.

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::PgDatabaseError;

use super::super::connector::StoreName;
use super::super::error::StoreError;
use super::super::schema::Table;
use super::types::Broken;
use crate::error::{Site, sqlstate};

/// Text that a changed table puts into the server's error message; see `job::guard`; the number of the table follows.
pub(super) const CHANGED_MARK: &str = "tributary: columns have changed";

/// A failure to connect or log in.
pub(super) fn connecting(store: &StoreName, error: &sqlx::Error) -> StoreError {
    let reason = match error {
        sqlx::Error::Database(said) => said.message().to_owned(),
        sqlx::Error::Io(error) => error.to_string(),
        sqlx::Error::Tls(error) => format!("TLS: {error}"),
        other => other.to_string(),
    };
    StoreError::Unreachable { store: store.to_string(), reason }
}

/// A failure of a statement on an established connection.
pub(super) fn running(store: &StoreName, error: &sqlx::Error) -> StoreError {
    let store = store.to_string();
    match error {
        sqlx::Error::Database(said) => match said.try_downcast_ref::<PgDatabaseError>() {
            Some(said) if ends_session(said.code()) => StoreError::ConnectionLost { store, reason: said.message().to_owned() },
            Some(said) => StoreError::Remote {
                store,
                sqlstate: said.code().to_owned(),
                message: said.message().to_owned(),
                detail: said.detail().or_else(|| said.hint()).map(str::to_owned),
                constraint: said.constraint().map(str::to_owned),
                site: site(said).map(Box::new),
            },
            None => StoreError::ConnectionLost { store, reason: said.message().to_owned() },
        },
        sqlx::Error::Io(error) => StoreError::ConnectionLost { store, reason: error.to_string() },
        other => StoreError::ConnectionLost { store, reason: other.to_string() },
    }
}

/// A failure of a COPY into a table of this name, with the row of the data at which the server was.
pub(super) fn copying(store: &StoreName, error: &sqlx::Error, table: &str) -> StoreError {
    let mut failure = running(store, error);
    if let StoreError::Remote { site, .. } = &mut failure
        && let sqlx::Error::Database(said) = error
        && let Some(place) = said.try_downcast_ref::<PgDatabaseError>().and_then(PgDatabaseError::r#where)
        && let Some(row) = row_in(place, table)
    {
        site.get_or_insert_default().row = Some(row);
    }
    failure
}

/// The row that the context of an error names, from 0: `COPY t, line 3, column a`. The words may be in any language.
fn row_in(context: &str, table: &str) -> Option<u64> {
    let place = context.lines().find_map(|line| line.strip_prefix("COPY ")?.strip_prefix(table)?.strip_prefix(", "))?;
    let mut numbers = place.split(|letter: char| !letter.is_ascii_digit()).filter(|digits| !digits.is_empty());
    numbers.next()?.parse::<u64>().ok()?.checked_sub(1)
}

/// The table or column that an error is about.
fn site(said: &PgDatabaseError) -> Option<Site> {
    let [schema, table, column] = [said.schema(), said.table(), said.column()].map(|name| name.map(str::to_owned));
    (schema.is_some() || table.is_some() || column.is_some()).then_some(Site { schema, table, column, ..Site::default() })
}

/// Class 57P: shutdown, crash recovery, start-up, idle-session timeout; class 08: the connection itself.
fn ends_session(sqlstate: &str) -> bool {
    sqlstate.starts_with("57P") || sqlstate.starts_with("08")
}

/// Whether the server says that a function of its own failed: what is missing there is not our table.
pub(super) fn is_inside_function(error: &sqlx::Error) -> bool {
    let sqlx::Error::Database(said) = error else { return false };
    said.try_downcast_ref::<PgDatabaseError>().and_then(PgDatabaseError::r#where).is_some_and(|place| place.contains("function"))
}

/// Whether the server refuses a statement that was prepared for a table that has changed.
pub(super) fn is_of_another_plan(error: &sqlx::Error) -> bool {
    let sqlx::Error::Database(said) = error else { return false };
    // The code stands for much else, and the message may be in any language.
    said.try_downcast_ref::<PgDatabaseError>().and_then(PgDatabaseError::routine) == Some("RevalidateCachedQuery")
}

/// A failure of a statement over these tables: what can only come from a table that is no longer as discovered says so.
pub(super) fn scanning(error: StoreError, tables: &[Arc<Table>]) -> StoreError {
    let StoreError::Remote { store, sqlstate, message, .. } = &error else { return error };
    let changed = match sqlstate.as_str() {
        // Missing relation, column, schema or type; operators and casts that no longer fit the column's type.
        sqlstate::UNDEFINED_TABLE
        | sqlstate::UNDEFINED_COLUMN
        | sqlstate::INVALID_SCHEMA_NAME
        | sqlstate::UNDEFINED_OBJECT
        | sqlstate::UNDEFINED_FUNCTION
        | sqlstate::DATATYPE_MISMATCH
        | sqlstate::CANNOT_COERCE => true,
        sqlstate::INVALID_TEXT_REPRESENTATION => message.contains(CHANGED_MARK),
        _ => false,
    };
    if !changed {
        return error;
    }
    let difference = if message.contains(CHANGED_MARK) {
        "Its columns or their types differ from what was discovered.".to_owned()
    } else {
        format!("The store said: {message}.")
    };
    StoreError::SchemaChanged { store: store.clone(), table: culprit(message, tables).to_owned(), difference }
}

/// The table that a message is about: the one behind the number after the mark, or else the one that it names, or else the first.
fn culprit<'t>(message: &str, tables: &'t [Arc<Table>]) -> &'t str {
    let after = message.split_once(CHANGED_MARK).map(|(_, after)| after);
    let number = after.and_then(|after| after.trim_start().split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok());
    let named = || tables.iter().find(|table| message.contains(&format!("\"{}.{}\"", table.id.namespace, table.id.name)));
    let found = number.and_then(|number: usize| tables.get(number)).or_else(named).or(tables.first());
    found.map_or("?", |table| &table.id.name)
}

/// A value that the column's carrier cannot hold.
pub(super) fn value(store: &StoreName, table: &str, column: &str, broken: Broken) -> StoreError {
    StoreError::Value {
        store: store.to_string(),
        table: table.to_owned(),
        column: column.to_owned(),
        sqlstate: broken.sqlstate,
        rule: broken.rule,
    }
}

/// A missed deadline.
pub(super) fn deadline(store: &StoreName, limit: Duration, waiting_for: &'static str) -> StoreError {
    let limit_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
    StoreError::Deadline { store: store.to_string(), limit_ms, waiting_for }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_row_of_a_copy_is_read_from_its_context() {
        let rows = [
            ("COPY t, line 3", Some(2)),
            ("COPY t, line 12, column a: \"7\"", Some(11)),
            ("COPY t, Zeile 1, Spalte a", Some(0)),
            ("PL/pgSQL function f() line 9 at RAISE\nCOPY t, line 4: \"1\\t2\"", Some(3)),
            ("COPY tt, line 3", None),
            ("COPY t, line 0", None),
            ("COPY t, line", None),
            ("SQL statement \"SELECT 1\"", None),
        ];
        for (context, expected) in rows {
            assert_eq!(row_in(context, "t"), expected, "{context}");
        }
        assert_eq!(row_in("COPY it's 5, line 8", "it's 5"), Some(7));
    }
}
