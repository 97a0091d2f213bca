//! Which parts of plans SQLite may run, and how they are spelled for it.
//!
//! Any column may hold any kind of cell, so a part that computes with a column checks every row of its table as a scan checks what it
//! reads: a cell of another kind fails the statement before it can be grouped, counted or compared wrongly. Rows that an equality leaves
//! out may go unlooked at, as in a scan with that condition. Columns whose kind is certain (STRICT tables, rowids) are not checked.
//!
//! What is accepted has one meaning in SQLite: integers, doubles, truth values, texts and bytes compared as they are stored. Deliberately
//! absent: moments and decimals, which are stored in several forms; arithmetic and sums, which leave the integers where they overflow.

mod judge;
mod phrasing;
#[cfg(test)]
mod tests;

pub(super) use judge::accepts;

use super::super::fragment::{Fragment, Relation, Shape, Tables};
use super::super::relational::{Dialect, Sql, Unwritable, fragment};
use super::super::schema::Column;
use phrasing::Sqlite;

/// What the error of a failed check begins with, between SQLite's own words and the kind of the cell.
pub(super) const CHECK_MARK: &str = "bad JSON path: '";

/// The statement with bound values.
///
/// # Errors
/// What [`accepts`] refuses.
pub(super) fn write(root: &Relation, tables: &Tables) -> Result<Sql, Unwritable> {
    let mut sql = Sql::bound(Dialect::Sqlite);
    let used = judge::computed_with(root, tables);
    fragment::write(root, tables, &Sqlite { tables, used, checks: true }, None, &mut sql)?;
    Ok(sql)
}

/// The statement as `EXPLAIN` shows it, without the checks of cells.
pub(super) fn describe(described: &Fragment, tables: &Tables) -> String {
    let mut sql = Sql::bound(Dialect::Sqlite);
    let used = judge::computed_with(&described.root, tables);
    match fragment::write(&described.root, tables, &Sqlite { tables, used, checks: false }, None, &mut sql) {
        Ok(()) => fragment::shown(sql),
        Err(Unwritable(rule)) => format!("not sent: a value {rule}"),
    }
}

/// The stored column whose values a column of a fragment has.
pub(super) fn stored_column<'t>(shape: &Shape, tables: &'t Tables) -> Option<&'t Column> {
    let origin = shape.origin.as_ref()?;
    tables.get(&origin.table)?.columns.get(origin.column)
}
