//! Which edits the server runs with PostgreSQL's outcome.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use super::super::super::document::DocumentType;
use super::super::super::document::schema::type_of_field;
use super::super::super::edit::{Edit, Insert, part, path_at};
use super::super::super::fragment::Refusal;
use super::super::super::relational::edit::writes_columns;
use super::super::super::relational::embedded;
use super::super::super::schema::{Column, Generated, Table, TableKind};
use super::super::super::truncate::{Emptied, Truncate, Truncation};
use super::super::Shared;
use super::super::fragment::whole;
use crate::pgtype::PgType;

/// See [`super::accepts`].
pub(super) fn accepts(shared: &Shared, edit: &Edit) -> Result<(), Refusal> {
    writes_columns(edit)?;
    let table = edit.table();
    has_transactions(shared, table)?;
    let refuse = |rule| Err(Refusal::new(edit.verb(), rule));
    let gives_inserted = shared.gives_inserted.load(Ordering::Relaxed);
    match edit {
        Edit::Insert(insert) if !insert.returning.is_empty() && !gives_inserted => {
            refuse("the server gives no rows back that it inserts (MariaDB does since 10.5)")
        }
        // MariaDB, whose JSON is text.
        Edit::Insert(_) if gives_inserted => Ok(()),
        Edit::Insert(insert) => keeps_digits(insert),
        Edit::Update(update) => whole::accepts_update(update, shared.setting()),
        Edit::Delete(delete) => whole::accepts_delete(delete, shared.setting()),
        Edit::UpdateRows(update) => keys(table, &update.key),
        Edit::DeleteRows(delete) if !delete.returning.is_empty() && !gives_inserted => {
            refuse("the server gives no rows back that it deletes (MariaDB does)")
        }
        Edit::DeleteRows(delete) => keys(table, &delete.key),
    }
}

/// How tables are emptied. TRUNCATE of the server commits by itself and begins the numbers of the table anew; where either is not meant,
/// the rows are deleted.
///
/// # Errors
/// What the server does not do.
pub(in super::super) fn accepts_truncate(shared: &Shared, truncate: &Truncate) -> Result<Truncation, Refusal> {
    if truncate.cascades {
        return Err(Refusal::new("CASCADE", "the store empties no table for another one"));
    }
    truncate.tables.iter().try_for_each(|emptied| has_transactions(shared, &emptied.table))?;
    let counts = |emptied: &Emptied| emptied.table.columns.iter().any(|column| column.generated == Generated::ByDefault);
    let is_one = truncate.tables.len() == 1;
    match (truncate.restarts, truncate.tables.iter().any(counts)) {
        (true, true) if !is_one => {
            Err(Refusal::new("RESTART IDENTITY", "the store begins the numbers of one table at a time anew"))
        }
        (true, true) => Ok(Truncation::ByItself),
        (_, false) if is_one => Ok(Truncation::ByItself),
        _ => Ok(Truncation::AsDelete { in_blocks: false }),
    }
}

/// Whether the rows of a table are kept by an engine with transactions.
///
/// # Errors
/// The table, when they are not or nobody knows.
pub(in super::super) fn has_transactions(shared: &Shared, table: &Table) -> Result<(), Refusal> {
    let others = shared.other_engines.lock().unwrap_or_else(PoisonError::into_inner);
    let no_transactions = match table.kind {
        TableKind::Table if others.contains(&table.id) => {
            Some("its engine has no transactions, so a statement that fails leaves what it has done")
        }
        TableKind::Table => None,
        _ => (!others.is_empty())
            .then_some("some tables of the server are kept by an engine without transactions, maybe those that it shows"),
    };
    drop(others);
    match no_transactions {
        Some(rule) => Err(Refusal::new(format_args!("table \"{}\"", table.id.name), rule)),
        None => Ok(()),
    }
}

/// Whether what new rows have in JSON columns keeps its digits there: `json` of MySQL makes a double of every number with a point.
fn keeps_digits(insert: &Insert) -> Result<(), Refusal> {
    for (place, ordinal) in insert.columns.iter().enumerate() {
        let Some(column) = insert.table.columns.get(*ordinal) else { continue };
        if embedded::source(&column.field).is_none() {
            continue;
        }
        let field = part(&insert.table, *ordinal, path_at(&insert.paths, place));
        let kind = field.and_then(|field| type_of_field(&field.field));
        if kind.is_none_or(|kind| has_digits(&kind)) {
            let rule = "the server keeps numbers with a point as doubles in JSON";
            return Err(Refusal::new(format_args!("column \"{}\"", column.name()), rule));
        }
    }
    Ok(())
}

/// Whether values of the type may have numbers with more digits than a double.
fn has_digits(kind: &DocumentType) -> bool {
    match kind {
        DocumentType::Decimal { .. } | DocumentType::Numeric | DocumentType::Mixed => true,
        DocumentType::List(inner) => has_digits(inner),
        DocumentType::Struct(fields) => fields.is_empty() || fields.iter().any(|field| has_digits(&field.kind)),
        _ => false,
    }
}

/// Whether values of the columns find the rows that they are read from.
fn keys(table: &Table, key: &[usize]) -> Result<(), Refusal> {
    let is_inexact = |column: &&Column| [PgType::BOOL.oid, PgType::FLOAT4.oid].contains(&column.pg_type().oid);
    let mut columns = key.iter().filter_map(|ordinal| table.columns.get(*ordinal));
    match columns.find(is_inexact) {
        None => Ok(()),
        Some(column) => Err(Refusal::new(
            format_args!("column \"{}\"", column.name()),
            "the store holds values in it that are read alike, or compares them as another type",
        )),
    }
}
