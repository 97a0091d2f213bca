//! Edits as SQL: what the SQL stores write alike. How rows are given to a statement is each connector's own affair.
//!
//! ```text
//! Update, Delete ─ whole → UPDATE t SET … WHERE …, in the words of the connector's Phrasing for fragments
//! Insert         ─ documents (fields of JSON columns become one) ─ rows → INSERT INTO t (…) … ON CONFLICT …
//! ```
//!
//! **Invariants:** values reach the text only as [`Sql`](super::Sql) binds or proves them, names only in quotes; no statement without a
//! condition is written for a relation that has one.

mod documents;
mod rows;
#[cfg(test)]
mod tests;
mod whole;

use super::super::edit::{ConflictAction, ConflictTarget, Edit, Proposed};
use super::super::fragment::Refusal;
use super::embedded;

pub use documents::{gathered, sets_fields, with_fields};
pub use rows::{conflict, insert_head};
pub use whole::{delete, is_plain, reads_assigned, update};

/// Whether all columns that the edit writes, and those by which it names rows, are columns of the table: a field of a document in one
/// of them has no place of its own to be written to. Those of new rows make up a document ([`gathered`]).
///
/// # Errors
/// The first column that is a field of a document.
pub fn writes_columns(edit: &Edit) -> Result<(), Refusal> {
    let table = edit.table();
    if let Edit::Insert(insert) = edit {
        (0..insert.columns.len()).try_for_each(|place| documents::is_insertable(insert, place))?;
    } else if edit.names_fields() {
        return Err(Refusal::new(edit.verb(), "fields of documents are not written one by one"));
    }
    for ordinal in written(edit) {
        let Some(column) = table.columns.get(ordinal) else {
            return Err(Refusal::new(edit.verb(), "it names a column that the table does not have"));
        };
        if embedded::source(&column.field).is_some() {
            return Err(Refusal::new(
                format_args!("column \"{}\"", column.name()),
                "fields of documents are not written one by one",
            ));
        }
    }
    Ok(())
}

/// Ordinals of the columns that are written or looked up, besides those of new rows.
fn written(edit: &Edit) -> Vec<usize> {
    match edit {
        Edit::Insert(insert) => {
            let mut columns = Vec::new();
            if let Some(conflict) = &insert.conflict {
                if let ConflictTarget::Columns(key) = &conflict.target {
                    columns.extend(key);
                }
                if let ConflictAction::Update(set) = &conflict.action {
                    for (column, value) in set {
                        columns.push(*column);
                        if let Proposed::Excluded(from) = value {
                            columns.push(*from);
                        }
                    }
                }
            }
            columns
        }
        Edit::Update(update) => update.set.clone(),
        Edit::Delete(_) => Vec::new(),
        Edit::UpdateRows(update) => update.key.iter().chain(&update.set).copied().collect(),
        Edit::DeleteRows(delete) => delete.key.clone(),
    }
}
