//! What SQLite says of a write, in the words and codes of PostgreSQL (<https://www.sqlite.org/rescode.html>).

use libsqlite3_sys as ffi;

use super::super::super::error::StoreError;
use super::super::super::schema::Table;
use super::super::pool::Pool;
use super::super::scan::Failure;
use super::super::schema::NAMESPACE;
use crate::error::{Site, sqlstate};

/// An error in the words of SQLite, which stay its detail where we have better ones.
struct Told {
    sqlstate: &'static str,
    message: String,
    constraint: Option<String>,
    site: Option<Site>,
}

/// The failure of a statement that changes `table`, or of one that begins or ends a transaction.
pub(in super::super) fn told(pool: &Pool, table: Option<&Table>, failure: Failure) -> StoreError {
    let Some(told) = of_code(&failure, table) else {
        return pool.store_error(failure, table.map(|table| table.id.name.as_str()));
    };
    let Told { sqlstate, message, constraint, site } = told;
    let mut detail = format!("SQLite: {} (result code {}).", failure.message, failure.code);
    if sqlstate == sqlstate::LOCK_NOT_AVAILABLE {
        detail.push_str(" Another connection writes, or reads what would be overwritten: it may be a cursor of this session.");
    }
    StoreError::Remote {
        store: pool.store().to_string(),
        sqlstate: sqlstate.to_owned(),
        message,
        detail: Some(detail),
        constraint,
        site: site.map(Box::new),
    }
}

/// A NULL for a column that SQLite would number itself.
pub(super) fn not_null(store: &str, table: &Table, column: &str) -> StoreError {
    let Told { sqlstate, message, site, .. } = of_null(&table.id.name, column);
    let (store, sqlstate) = (store.to_owned(), sqlstate.to_owned());
    StoreError::Remote { store, sqlstate, message, detail: None, constraint: None, site: site.map(Box::new) }
}

/// A command to a branch in which an edit has failed.
pub(in super::super) fn in_failed(store: &str) -> StoreError {
    let message = "current transaction is aborted, commands ignored until end of transaction block";
    StoreError::remote(store, sqlstate::IN_FAILED_SQL_TRANSACTION, message.to_owned())
}

/// The end of a transaction that SQLite has given up before: after a failure of the disk, or where a write was interrupted.
pub(in super::super) fn rolled_back(store: &str) -> StoreError {
    StoreError::remote(store, sqlstate::SERIALIZATION_FAILURE, "the transaction has been rolled back".to_owned())
}

/// More rows of open scans than are kept while something is written.
pub(in super::super) fn too_much(store: &str) -> StoreError {
    StoreError::Remote {
        store: store.to_owned(),
        sqlstate: sqlstate::OUT_OF_MEMORY.to_owned(),
        message: "too many rows are being read while the store is written".to_owned(),
        detail: Some("Read them to their end before the write, or close their cursors".to_owned()),
        constraint: None,
        site: None,
    }
}

fn of_code(failure: &Failure, table: Option<&Table>) -> Option<Told> {
    let said = failure.message.as_str();
    let plain = |sqlstate| Told { sqlstate, message: said.to_owned(), constraint: None, site: None };
    Some(match failure.code {
        ffi::SQLITE_BUSY_SNAPSHOT => Told {
            message: "could not serialize access due to concurrent update".to_owned(),
            ..plain(sqlstate::SERIALIZATION_FAILURE)
        },
        ffi::SQLITE_CONSTRAINT_UNIQUE | ffi::SQLITE_CONSTRAINT_PRIMARYKEY | ffi::SQLITE_CONSTRAINT_ROWID => of_key(said, table),
        ffi::SQLITE_CONSTRAINT_NOTNULL => {
            let (table, column) = place(said, table);
            of_null(&table, &column)
        }
        ffi::SQLITE_CONSTRAINT_FOREIGNKEY => plain(sqlstate::FOREIGN_KEY_VIOLATION),
        ffi::SQLITE_CONSTRAINT_CHECK => of_check(said, table),
        ffi::SQLITE_CONSTRAINT_DATATYPE | ffi::SQLITE_MISMATCH => plain(sqlstate::DATATYPE_MISMATCH),
        ffi::SQLITE_ERROR if said.starts_with("ON CONFLICT clause does not match") => Told {
            message: "there is no unique or exclusion constraint matching the ON CONFLICT specification".to_owned(),
            ..plain(sqlstate::INVALID_COLUMN_REFERENCE)
        },
        code => match code & 0xff {
            ffi::SQLITE_BUSY | ffi::SQLITE_LOCKED => {
                Told { message: "could not obtain lock on the database file".to_owned(), ..plain(sqlstate::LOCK_NOT_AVAILABLE) }
            }
            _ => return None,
        },
    })
}

/// `UNIQUE constraint failed: t.a, t.b`, or `… failed: index 'name'`.
fn of_key(said: &str, table: Option<&Table>) -> Told {
    let failed = said.split_once(": ").map_or("", |(_, failed)| failed);
    let index = failed.strip_prefix("index '").and_then(|rest| rest.strip_suffix('\''));
    let constraint = match index {
        Some(name) => Some(name.to_owned()),
        None => table.and_then(|table| key_over(failed, table)),
    };
    let message = match &constraint {
        Some(name) => format!("duplicate key value violates unique constraint \"{name}\""),
        None => said.to_owned(),
    };
    let site = table.map(|table| of_table(&table.id.name));
    Told { sqlstate: sqlstate::UNIQUE_VIOLATION, message, constraint, site }
}

/// The name of the key over exactly these columns of the table.
fn key_over(failed: &str, table: &Table) -> Option<String> {
    let prefix = format!("{}.", table.id.name);
    let mut columns = Vec::new();
    for part in failed.split(", ") {
        let name = part.strip_prefix(&prefix)?;
        columns.push(table.columns.iter().position(|column| column.name() == name)?);
    }
    columns.sort_unstable();
    let is_same = |key: &[usize]| {
        let mut key = key.to_vec();
        key.sort_unstable();
        key == columns
    };
    let keys = table.primary_key.iter().chain(&table.unique_keys);
    keys.into_iter().find(|key| is_same(&key.columns)).map(|key| key.name.clone())
}

/// `CHECK constraint failed: name`, or the condition of one that has no name.
fn of_check(said: &str, table: Option<&Table>) -> Told {
    let failed = said.split_once(": ").map_or("", |(_, failed)| failed);
    let check = table.and_then(|table| {
        let checks = &table.checks;
        checks
            .iter()
            .find(|check| check.name == failed)
            .or_else(|| checks.iter().find(|check| check.expression.trim() == failed.trim()))
            .or_else(|| {
                let mut told = checks.iter().filter(|check| quoted_start(&check.expression).is_some_and(|start| start == failed));
                told.next().filter(|_| told.next().is_none())
            })
    });
    let constraint = check.map(|check| check.name.clone());
    let message = match (&constraint, table) {
        (Some(name), Some(table)) => {
            format!("new row for relation \"{}\" violates check constraint \"{name}\"", table.id.name)
        }
        _ => said.to_owned(),
    };
    let site = table.map(|table| of_table(&table.id.name));
    Told { sqlstate: sqlstate::CHECK_VIOLATION, message, constraint, site }
}

/// What SQLite tells of a condition without a name that begins with something in quotes: that alone, without them.
fn quoted_start(expression: &str) -> Option<String> {
    let mut letters = expression.trim_start().chars().peekable();
    let close = match letters.next()? {
        '[' => ']',
        quote @ ('"' | '`' | '\'') => quote,
        _ => return None,
    };
    let mut told = String::new();
    while let Some(letter) = letters.next() {
        // Twice it stands for itself.
        if letter == close && letters.next_if_eq(&close).is_none() {
            return Some(told);
        }
        told.push(letter);
    }
    None
}

fn of_table(name: &str) -> Site {
    Site { schema: Some(NAMESPACE.to_owned()), table: Some(name.to_owned()), ..Site::default() }
}

/// `NOT NULL constraint failed: t.a`
fn place(said: &str, table: Option<&Table>) -> (String, String) {
    let failed = said.split_once(": ").map_or(said, |(_, failed)| failed);
    if let Some(table) = table
        && let Some(column) = failed.strip_prefix(&table.id.name).and_then(|rest| rest.strip_prefix('.'))
    {
        return (table.id.name.clone(), column.to_owned());
    }
    let (table, column) = failed.split_once('.').unwrap_or((failed, ""));
    (table.to_owned(), column.to_owned())
}

fn of_null(table: &str, column: &str) -> Told {
    Told {
        sqlstate: sqlstate::NOT_NULL_VIOLATION,
        message: format!("null value in column \"{column}\" of relation \"{table}\" violates not-null constraint"),
        constraint: None,
        site: Some(Site { column: Some(column.to_owned()), ..of_table(table) }),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::super::schema::Check;
    use super::*;

    #[test]
    fn conditions_are_known_by_what_is_told_of_them() {
        let check = |name: &str, expression: &str| {
            let (name, expression) = (name.to_owned(), expression.to_owned());
            Check { name, columns: Vec::new(), expression }
        };
        let checks = vec![
            check("named", "1"),
            check("t_n_check", "\"n\" BETWEEN 1 AND 9"),
            check("t_odd_check", "[o]]d] > `n`"),
            check("t_n_check1", "n < 8"),
            check("t_m_check", "\"m\" > 0"),
            check("t_m_check1", "`m` < 9"),
        ];
        let table = Table { checks, ..Table::plain(NAMESPACE, "t", Vec::new()) };
        let rows = [
            ("named", Some("named")),
            ("n", Some("t_n_check")),
            ("o]d", Some("t_odd_check")),
            ("n < 8", Some("t_n_check1")),
            // It is not told which of the two.
            ("m", None),
            ("other", None),
        ];
        for (told, expected) in rows {
            let told = of_check(&format!("CHECK constraint failed: {told}"), Some(&table));
            assert_eq!(told.constraint.as_deref(), expected, "{}", told.message);
        }
    }
}
