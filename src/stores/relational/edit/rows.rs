//! What surrounds the rows of an `INSERT`.

use super::super::super::edit::{Conflict, ConflictAction, ConflictTarget, Proposed};
use super::super::super::schema::Table;
use super::super::super::value::Value;
use super::super::sql::{Sql, Unwritable};

const NO_COLUMN: Unwritable = Unwritable("is set in no column of the table");

/// Writes `INSERT INTO table (columns)`, without the parentheses when there are no columns.
///
/// # Errors
/// A column that the table does not have.
pub fn insert_head(table: &Table, columns: &[usize], sql: &mut Sql) -> Result<(), Unwritable> {
    let name = sql.dialect().table(&table.id);
    sql.push("INSERT INTO ");
    sql.push(&name);
    if columns.is_empty() {
        return Ok(());
    }
    sql.push(" ");
    list(table, columns, sql)
}

/// Writes a constant of the column with an ordinal.
pub type Spell<'s> = &'s dyn Fn(usize, Option<&Value>, &mut Sql) -> Result<(), Unwritable>;

/// Writes ` ON CONFLICT …` of PostgreSQL and SQLite. `spell` writes a constant of the column with this ordinal.
///
/// # Errors
/// A column that the table does not have; an update that names no key or sets nothing; what `spell` fails with.
pub fn conflict(conflict: &Conflict, table: &Table, spell: Spell<'_>, sql: &mut Sql) -> Result<(), Unwritable> {
    sql.push(" ON CONFLICT");
    match (&conflict.target, &conflict.action) {
        (ConflictTarget::Any, ConflictAction::Nothing) => {}
        (ConflictTarget::Columns(key), _) if !key.is_empty() => {
            sql.push(" ");
            list(table, key, sql)?;
        }
        _ => return Err(Unwritable("meets another row by no key that is named")),
    }
    match &conflict.action {
        ConflictAction::Nothing => sql.push(" DO NOTHING"),
        ConflictAction::Update(set) if set.is_empty() => return Err(NO_COLUMN),
        ConflictAction::Update(set) => {
            for (place, (column, value)) in set.iter().enumerate() {
                sql.push(if place == 0 { " DO UPDATE SET " } else { ", " });
                sql.push_name(name(table, *column)?);
                sql.push(" = ");
                match value {
                    Proposed::Excluded(from) => {
                        sql.push("excluded.");
                        sql.push_name(name(table, *from)?);
                    }
                    Proposed::Constant(constant) => spell(*column, constant.as_ref(), sql)?,
                }
            }
        }
    }
    Ok(())
}

/// `("a", "b")`
fn list(table: &Table, columns: &[usize], sql: &mut Sql) -> Result<(), Unwritable> {
    for (place, column) in columns.iter().enumerate() {
        sql.push(if place == 0 { "(" } else { ", " });
        sql.push_name(name(table, *column)?);
    }
    sql.push(")");
    Ok(())
}

fn name(table: &Table, ordinal: usize) -> Result<&str, Unwritable> {
    table.columns.get(ordinal).map(|column| column.name()).ok_or(NO_COLUMN)
}
