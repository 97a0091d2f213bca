//! Which parts of plans SQLite may run, and how they are spelled for it.
//!
//! Any column may hold any kind of cell, so a part that computes with a column checks every row of its table as a scan checks what it
//! reads: a cell of another kind fails the statement before it can be grouped, counted or compared wrongly. Rows that an equality leaves
//! out may go unlooked at, as in a scan with that condition. Columns whose kind is certain (STRICT tables, rowids) are not checked.
//!
//! What is accepted has one meaning in SQLite: integers, doubles, truth values, texts and bytes compared as they are stored. Deliberately
//! absent: moments and decimals, which are stored in several forms; arithmetic and sums, which leave the integers where they overflow.

mod edit;
mod judge;
mod phrasing;
#[cfg(test)]
mod tests;

pub(super) use edit::{accepts_delete, accepts_update, write_delete, write_update};
pub(super) use judge::accepts;

use super::super::collation;
use super::super::fragment::{Fragment, Shape, Tables};
use super::super::relational::{Dialect, Sql, Unwritable, fragment};
use super::super::schema::Column;
use super::pushdown::compares_by_own;
use phrasing::Sqlite;

/// What the error of a failed check begins with, between SQLite's own words and the kind of the cell.
pub(super) const CHECK_MARK: &str = "bad JSON path: '";

/// The statement with bound values.
///
/// # Errors
/// What [`accepts`] refuses.
pub(super) fn write(fragment: &Fragment, tables: &Tables) -> Result<Sql, Unwritable> {
    written(fragment, tables, true)
}

fn written(sent: &Fragment, tables: &Tables, checks: bool) -> Result<Sql, Unwritable> {
    let mut sql = Sql::bound(Dialect::Sqlite);
    let used = judge::computed_with(&sent.root, tables);
    let phrasing = Sqlite { tables, used, checks, by_own_collations: sent.by_own_collations };
    fragment::write(&sent.root, tables, &phrasing, None, &mut sql)?;
    Ok(sql)
}

/// The statement as `EXPLAIN` shows it, without the checks of cells.
pub(super) fn describe(described: &Fragment, tables: &Tables) -> String {
    match written(described, tables, false) {
        Ok(sql) => {
            let (text, whole) = (fragment::shown(sql), described.by_own_collations);
            collation::noted_part(text, &described.root, tables, whole, &compares_by_own)
        }
        Err(Unwritable(rule)) => format!("not sent: a value {rule}"),
    }
}

/// The stored column whose values a column of a fragment has.
pub(super) fn stored_column<'t>(shape: &Shape, tables: &'t Tables) -> Option<&'t Column> {
    let origin = shape.origin.as_ref()?;
    tables.get(&origin.table)?.columns.get(origin.column)
}
