//! Writes to a PostgreSQL store.
//!
//! ```text
//! Edit → statement (one INSERT, UPDATE or DELETE; rows as texts in parameters) → run → how many rows, and those of RETURNING
//!     copy_in        the COPY that long insertions are in a transaction, once the table is known to hold still
//!     once           a statement that the server commits by itself; a transaction around one that gives rows back
//!     transaction    BEGIN … COMMIT on one connection, with savepoints; scans in it are cursors
//!     definition     CREATE, ALTER and DROP inside of the transaction, and what it sees of the database afterwards
//!     prepared       PREPARE TRANSACTION in the place of COMMIT, and what comes of it
//! ```
//!
//! **Invariants:** an edit is one statement of the server, so that it is done or not done; what has been sent is never sent again; an
//! edit is asked to end by a request to the server, and its real answer is waited for; a lost answer to what commits is
//! [`StoreError::OutcomeUnknown`]. A value reaches a column by assignment, which fails where a cast would cut.

mod copy_in;
mod copy_rows;
mod cursor;
mod definition;
mod once;
mod prepared;
mod run;
mod statement;
#[cfg(test)]
mod tests;
mod transaction;

pub(super) use once::{define, once};
pub(super) use prepared::{in_doubt, resolve};
pub(super) use statement::{describe, native};
pub(super) use transaction::{Transaction, begin, modes_of};

use std::collections::HashMap;
use std::sync::Arc;

use super::super::connector::{Scan, ScanLimits};
use super::super::document::OnMismatch;
use super::super::edit::Edit;
use super::super::error::StoreError;
use super::super::fragment::{Refusal, Relation};
use super::super::lock::RowLock;
use super::super::relational::{edit, embedded};
use super::super::schema::Table;
use super::job::{Job, used_columns};

/// Whether the server runs an edit with our outcome. It means what PostgreSQL means, so what counts is where the values are: fields of
/// documents have no place of their own, and some of them are read as NULLs that the server does not see.
///
/// # Errors
/// What is not written, or not judged, that way.
pub(super) fn accepts(asked: &Edit) -> Result<(), Refusal> {
    match asked {
        Edit::UpdateRows(update) if edit::sets_fields(update)? => {
            let mut key = update.key.iter().filter_map(|ordinal| update.table.columns.get(*ordinal));
            if key.any(|column| embedded::source(&column.field).is_some()) {
                return Err(Refusal::new(asked.verb(), "a field of a document names no row"));
            }
        }
        _ => edit::writes_columns(asked)?,
    }
    let relation = match asked {
        Edit::Update(update) => &update.relation,
        Edit::Delete(delete) => &delete.relation,
        Edit::Insert(_) | Edit::UpdateRows(_) | Edit::DeleteRows(_) => return Ok(()),
    };
    if !edit::is_plain(relation, &asked.table().id) {
        return Err(Refusal::new(asked.verb(), "the rows are told by more than conditions on their table"));
    }
    let mut is_read_as_null = false;
    relation.visit(&mut |below| {
        if let Relation::Table(scan) = below {
            is_read_as_null |= used_columns(scan).into_iter().any(|ordinal| is_nulled(asked.table(), ordinal));
        }
    });
    if is_read_as_null {
        return Err(Refusal::new(asked.verb(), "values that do not fit their field are read as NULL"));
    }
    Ok(())
}

/// Whether values of the column that do not fit it are read as NULL.
fn is_nulled(table: &Table, ordinal: usize) -> bool {
    let source = table.columns.get(ordinal).and_then(|column| embedded::source(&column.field));
    source.is_some_and(|source| source.on_mismatch == OnMismatch::Null)
}

/// The scan of rows that are about to be changed.
///
/// # Errors
/// As [`Job::scan`]; a condition on a field that is NULL where a value does not fit it.
pub(super) fn locked_scan(table: &Arc<Table>, scan: &Scan, limits: ScanLimits) -> Result<Job, StoreError> {
    let mut conditions = scan.clone();
    conditions.columns.clear();
    if used_columns(&conditions).into_iter().any(|ordinal| is_nulled(table, ordinal)) {
        let feature = "conditions on values that are read as NULL where they do not fit, in statements that write";
        return Err(StoreError::Unsupported { store: scan.store.to_string(), feature });
    }
    let mut job = Job::scan(&strict(table), scan, limits)?;
    job.schema = table.project(&scan.columns);
    Ok(job.locking(RowLock::FOR_CHANGE))
}

/// The table with values that do not fit their columns as errors.
fn strict(table: &Arc<Table>) -> Arc<Table> {
    if !(0..table.columns.len()).any(|ordinal| is_nulled(table, ordinal)) {
        return Arc::clone(table);
    }
    let mut strict = table.as_ref().clone();
    for column in &mut strict.columns {
        let mut metadata: HashMap<String, String> = column.field.metadata().clone();
        if let Some(word) = metadata.get_mut(embedded::MISMATCH_KEY).filter(|word| word.as_str() == "null") {
            "error".clone_into(word);
            column.field.set_metadata(metadata);
        }
    }
    Arc::new(strict)
}
