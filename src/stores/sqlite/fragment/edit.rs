//! Whole updates and deletes: the conditions and values of fragments, in statements that change the rows of one table.

use super::super::super::edit::{Delete, Update};
use super::super::super::fragment::{Refusal, Relation, Shape, Tables, shapes};
use super::super::super::relational::{Dialect, Sql, Unwritable, edit, embedded};
use super::super::super::schema::{Column, Generated, Table};
use super::judge::{computed_with, is_integer, kinds};
use super::phrasing::Sqlite;
use crate::pgtype::PgType;

/// Whether SQLite stores what PostgreSQL would. It has no type that it holds values to, so an expression must have that of its column.
pub(in super::super) fn accepts_update(update: &Update) -> Result<(), Refusal> {
    has_plain_columns(&update.table)?;
    let values = shapes(&update.relation, &update.tables);
    if values.len() != update.set.len() {
        return Err(Refusal::new("UPDATE", "it has another number of values than of columns"));
    }
    for (ordinal, value) in update.set.iter().zip(&values) {
        let Some(column) = update.table.columns.get(*ordinal) else {
            return Err(Refusal::new("UPDATE", "it sets a column that is not known"));
        };
        if !is_kept(column, value) {
            return Err(Refusal::new(column.name(), "SQLite would not hold the value to the type of the column"));
        }
    }
    write_update(update, true).map(drop).map_err(|Unwritable(rule)| Refusal::new("UPDATE", rule))
}

/// The same of rows that go.
pub(in super::super) fn accepts_delete(delete: &Delete) -> Result<(), Refusal> {
    has_plain_columns(&delete.table)?;
    write_delete(delete, true).map(drop).map_err(|Unwritable(rule)| Refusal::new("DELETE", rule))
}

/// The statement with bound values, up to what it gives back.
///
/// # Errors
/// What [`accepts_update`] refuses.
pub(in super::super) fn write_update(update: &Update, checks: bool) -> Result<Sql, Unwritable> {
    let mut spelling = phrasing(&update.relation, &update.tables, checks);
    // A value that is copied is stored as a value of the other column.
    for origin in shapes(&update.relation, &update.tables).into_iter().filter_map(|shape| shape.origin) {
        spelling.used.entry(origin.table).or_default().insert(origin.column);
    }
    let mut sql = Sql::bound(Dialect::Sqlite);
    edit::update(update, &spelling, &mut sql)?;
    Ok(sql)
}

/// The same of rows that go.
///
/// # Errors
/// What [`accepts_delete`] refuses.
pub(in super::super) fn write_delete(delete: &Delete, checks: bool) -> Result<Sql, Unwritable> {
    let spelling = phrasing(&delete.relation, &delete.tables, checks);
    let mut sql = Sql::bound(Dialect::Sqlite);
    edit::delete(delete, &spelling, &mut sql)?;
    Ok(sql)
}

fn phrasing<'t>(relation: &Relation, tables: &'t Tables, checks: bool) -> Sqlite<'t> {
    Sqlite { tables, used: computed_with(relation, tables), checks, by_own_collations: false }
}

fn is_kept(column: &Column, value: &Shape) -> bool {
    // A number of a row that is NULL is a new number to SQLite; generated columns are told of where the edit is run.
    let is_own = column.generated == Generated::No && kinds(column).is_some();
    let is_wider = column.pg_type() == PgType::INT8 && is_integer(value.pg_type);
    is_own && (is_wider || column.pg_type().oid == value.pg_type.oid)
}

/// What holds for conditions on fields of documents in a scan is not written here.
fn has_plain_columns(table: &Table) -> Result<(), Refusal> {
    match table.columns.iter().find(|column| embedded::source(&column.field).is_some()) {
        Some(column) => Err(Refusal::new(column.name(), "it is a field of a document, which is taken apart here")),
        None => Ok(()),
    }
}
