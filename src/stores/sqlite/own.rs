//! Tables of ours in a database file, and the marks of commits in one of them.
//!
//! A branch that writes has locked its file, so nobody else could make a table there: the table of marks is made by the transaction
//! that writes the first one. A mark is there when what it marks has been committed. Whether it ever will be is asked under the lock
//! of the file, where no transaction is open that could still write it; what was left behind by a process that is gone is rolled back
//! when the file is opened.

use std::sync::Arc;

use tokio::runtime::Handle;

use super::super::commit::{CHANGES, FEED, MarkId, OwnTable, Verdict};
use super::super::error::StoreError;
use super::super::schema::{Collation, Column, ColumnStatistics, Generated, Key, Table, TableId, TableKind};
use super::super::value::Value;
use super::pool::Pool;
use super::scan::{Database, Failure, Statement};
use super::schema::NAMESPACE;
use super::types;
use super::types::read::Cell;
use crate::error::sqlstate;
use crate::task::OwnedTask;

/// This moment, as moments with a zone are stored.
const NOW: &str = "strftime('%Y-%m-%d %H:%M:%f', 'now') || '+00:00'";

/// A day ago.
const YESTERDAY: &str = "strftime('%Y-%m-%d %H:%M:%f', 'now', '-1 day') || '+00:00'";

/// Names of one statement.
const NAMES_EACH: usize = 500;

/// The most marks of what was aborted that are removed at a time.
const OLD_EACH: usize = 1_000;

const COMMITTED: &str = "commit";
const ABORTED: &str = "abort";

/// A column: its name, its declared type, and whether it must have a value.
type Described = (&'static str, &'static str, bool);

/// The columns, of which the first is the key.
fn described(which: OwnTable) -> &'static [Described] {
    match which {
        OwnTable::Marks => &[("id", "TEXT", true), ("state", "TEXT", true), ("at", "TIMESTAMPTZ", true)],
        OwnTable::Keys => &[("key", "TEXT", true), ("hash", "TEXT", true), ("outcome", "TEXT", false), ("at", "TIMESTAMPTZ", true)],
        OwnTable::Outbox => &[
            ("id", "TEXT", true),
            ("topic", "TEXT", true),
            ("key", "TEXT", false),
            ("payload", "TEXT", false),
            ("at", "TIMESTAMPTZ", true),
            ("transaction", "TEXT", false),
        ],
    }
}

fn default_of(declared: &str) -> Option<&'static str> {
    (declared == "TIMESTAMPTZ").then_some(NOW)
}

/// Whether discovery leaves the table out.
pub(super) fn is_hidden(name: &str) -> bool {
    [OwnTable::Marks.name(), OwnTable::Keys.name(), CHANGES, FEED].contains(&name)
}

/// The table as discovery would describe it.
pub(super) fn table(which: OwnTable) -> Arc<Table> {
    let column = |(name, declared, not_null): &Described| Column {
        field: types::field(name, declared, !not_null, false),
        native_type: (*declared).to_owned(),
        default: default_of(declared).map(str::to_owned),
        generated: Generated::No,
        comment: None,
        collation: Collation::Bytes,
        statistics: ColumnStatistics::default(),
    };
    let columns: Vec<Column> = described(which).iter().map(column).collect();
    Arc::new(Table {
        id: TableId { namespace: NAMESPACE.to_owned(), name: which.name().to_owned() },
        kind: TableKind::Table,
        schema: Table::arrow_schema(&columns),
        columns,
        primary_key: Some(Key { name: format!("{}_pkey", which.name()), columns: vec![0], proven: false }),
        unique_keys: Vec::new(),
        foreign_keys: Vec::new(),
        checks: Vec::new(),
        indexes: Vec::new(),
        comment: None,
        row_estimate: None,
        division: None,
    })
}

fn creation(which: OwnTable) -> String {
    let mut text = format!("CREATE TABLE IF NOT EXISTS main.{} (", which.name());
    for (place, (name, declared, not_null)) in described(which).iter().enumerate() {
        text.push_str(if place == 0 { "" } else { ", " });
        text.push_str(&format!("\"{name}\" {declared}"));
        text.push_str(if *not_null { " NOT NULL" } else { "" });
        text.push_str(if place == 0 { " PRIMARY KEY" } else { "" });
        if let Some(default) = default_of(declared) {
            text.push_str(&format!(" DEFAULT ({default})"));
        }
    }
    text.push(')');
    text
}

/// Makes the table where it is not there.
///
/// # Errors
/// What SQLite says; a store that is read-only.
pub(super) async fn install(pool: &Arc<Pool>, which: OwnTable) -> Result<(), StoreError> {
    // Whoever writes here has locked the file, and makes it with the first mark.
    if which == OwnTable::Marks && pool.has_writers() {
        return Ok(());
    }
    alone(pool, move |database| database.run(&creation(which))).await
}

/// Writes a mark into the open transaction.
///
/// # Errors
/// What SQLite says.
pub(super) fn mark(database: &Database<'_>, id: &str) -> Result<(), Failure> {
    database.run(&creation(OwnTable::Marks))?;
    let sql = format!("INSERT OR ABORT INTO main.tributary_marks (id, state, at) VALUES (?1, '{COMMITTED}', {NOW})");
    first(database, &sql, &[Value::Text(id.to_owned())]).map(drop)
}

/// What became of the mark; one that is not there will never be. Where even the table is not there nobody has ever marked anything, or
/// somebody has dropped it, which nothing here can tell apart.
///
/// # Errors
/// What SQLite says, also that somebody else holds the lock of the file.
pub(super) async fn decide(pool: &Arc<Pool>, mark: MarkId) -> Result<Verdict, StoreError> {
    let id = mark.to_string();
    let state = alone(pool, move |database| {
        database.run("BEGIN IMMEDIATE")?;
        let state = settle(database, &id).and_then(|state| database.run("COMMIT").map(|()| state));
        if state.is_err() {
            // What is left open ends with the connection too.
            drop(database.run("ROLLBACK"));
        }
        state
    });
    match state.await?.as_deref() {
        Some(COMMITTED) => Ok(Verdict::Commit),
        Some(ABORTED) => Ok(Verdict::Abort),
        _ => {
            let message = "a mark of a commit says neither that it was kept nor that it was not".to_owned();
            Err(StoreError::remote(pool.store().as_str(), sqlstate::DATA_CORRUPTED, message))
        }
    }
}

fn settle(database: &Database<'_>, id: &str) -> Result<Option<String>, Failure> {
    database.run(&creation(OwnTable::Marks))?;
    let id = [Value::Text(id.to_owned())];
    let sql = format!("INSERT OR IGNORE INTO main.tributary_marks (id, state, at) VALUES (?1, '{ABORTED}', {NOW})");
    first(database, &sql, &id)?;
    first(database, "SELECT m.state FROM main.tributary_marks AS m WHERE m.id = ?1", &id)
}

/// Removes marks of what has been committed everywhere, and those of what was aborted more than a day ago.
///
/// # Errors
/// What SQLite says.
pub(super) async fn forget(pool: &Arc<Pool>, marks: &[MarkId]) -> Result<(), StoreError> {
    if marks.is_empty() {
        return Ok(());
    }
    let ids: Vec<Value> = marks.iter().map(|mark| Value::Text(mark.to_string())).collect();
    let work = move |database: &Database<'_>| {
        let there = "SELECT s.name FROM main.sqlite_schema AS s WHERE s.type = 'table' AND s.name = 'tributary_marks'";
        if first(database, there, &[])?.is_none() {
            return Ok(());
        }
        for some in ids.chunks(NAMES_EACH) {
            let places = vec!["?"; some.len()].join(", ");
            let sql = format!("DELETE FROM main.tributary_marks WHERE state = '{COMMITTED}' AND id IN ({places})");
            first(database, &sql, some)?;
        }
        let old = format!("SELECT m.id FROM main.tributary_marks AS m WHERE m.state = '{ABORTED}' AND m.at < {YESTERDAY}");
        database.run(&format!("DELETE FROM main.tributary_marks WHERE id IN ({old} LIMIT {OLD_EACH})"))
    };
    alone(pool, work).await
}

/// Runs a statement to its end. Gives the first column of its first row, if that is a text or a whole number.
///
/// # Errors
/// What SQLite says.
pub(super) fn first(database: &Database<'_>, sql: &str, values: &[Value]) -> Result<Option<String>, Failure> {
    let mut statement = database.prepare(sql)?;
    statement.bind(values)?;
    one(&mut statement)
}

/// The same of a statement whose parameters are bound, which is at its end then.
pub(super) fn one(statement: &mut Statement<'_>) -> Result<Option<String>, Failure> {
    let mut found = None;
    while statement.step()? {
        if found.is_some() {
            continue;
        }
        found = match statement.cell(0)? {
            Cell::Text(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
            Cell::Int(number) => Some(number.to_string()),
            Cell::Null | Cell::Real(_) | Cell::Blob(_) => None,
        };
    }
    Ok(found)
}

/// Works on a connection of its own.
///
/// # Errors
/// What SQLite says; a store that is read-only.
pub(super) async fn alone<T: Send + 'static>(
    pool: &Arc<Pool>,
    work: impl FnOnce(&Database<'_>) -> Result<T, Failure> + Send + 'static,
) -> Result<T, StoreError> {
    if pool.is_read_only() {
        return Err(StoreError::ReadOnly { store: pool.store().to_string() });
    }
    reading(pool, work).await
}

/// The same for what only reads.
///
/// # Errors
/// What SQLite says.
pub(super) async fn reading<T: Send + 'static>(
    pool: &Arc<Pool>,
    work: impl FnOnce(&Database<'_>) -> Result<T, Failure> + Send + 'static,
) -> Result<T, StoreError> {
    let mut connection = pool.acquire().await?;
    let (runtime, owner) = (Handle::current(), Arc::clone(pool));
    let task = OwnedTask::spawn_blocking(move || {
        let done = match runtime.block_on(connection.lock_handle()) {
            Ok(mut lock) => work(&Database::new(&mut lock)).map_err(|failure| owner.store_error(failure, None)),
            Err(_crashed) => Err(super::lost(&owner)),
        };
        // After a failure the transaction's state is not known.
        if done.is_err() {
            connection.close_on_drop();
        }
        done
    });
    task.join().await.unwrap_or_else(|| Err(super::lost(pool)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pgtype::PgType;

    #[test]
    fn tables_of_ours_are_made_as_they_are_described() {
        let expected = "CREATE TABLE IF NOT EXISTS main.tributary_keys (\"key\" TEXT NOT NULL PRIMARY KEY, \"hash\" TEXT NOT NULL, \
                        \"outcome\" TEXT, \"at\" TIMESTAMPTZ NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%f', 'now') || '+00:00'))";
        assert_eq!(creation(OwnTable::Keys), expected);
        for which in OwnTable::ALL {
            let table = table(which);
            assert_eq!((table.id.namespace.as_str(), table.id.name.as_str()), ("main", which.name()));
            assert!(table.columns.iter().all(|column| creation(which).contains(&format!(
                "\"{}\" {}",
                column.name(),
                column.native_type
            ))));
            let at = table.columns.iter().find(|column| column.name() == "at").unwrap();
            assert_eq!(at.pg_type(), PgType::TIMESTAMPTZ);
            assert_eq!(is_hidden(which.name()), which != OwnTable::Outbox);
        }
        assert!(!is_hidden("tributary_mark") && is_hidden("tributary_changes") && is_hidden("tributary_feed"));
    }
}
