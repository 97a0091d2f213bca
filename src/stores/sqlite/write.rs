//! Writes to a SQLite store.
//!
//! ```text
//! Edit ─ accepts → statement (text) ─ cells (values) → run: step by step on the branch's thread → Edited
//!                                                       └ failure (what SQLite says, as PostgreSQL would)
//! ```
//!
//! **Invariants:** an edit runs inside a savepoint or transaction of its own, so that all of it stays or nothing; nothing is stored that a
//! scan would not read back as the value that was given. Rows that are updated by their key are statements one by one: rules between
//! rows of one table are looked at after each of them.

mod cells;
pub(super) mod failure;
mod statement;

use std::borrow::Cow;
use std::collections::HashSet;

use arrow::array::{Array, RecordBatch};
use tokio_util::sync::CancellationToken;

use super::super::cell::Cells;
use super::super::connector::{GATHER_BYTES_MAX, Scan, ScanLimits};
use super::super::document::{OnMismatch, json_text};
use super::super::edit::{Conflict, ConflictAction, ConflictTarget, Edit, Edited, Insert, Proposed};
use super::super::error::StoreError;
use super::super::fragment::Refusal;
use super::super::predicate::Predicate;
use super::super::relational::edit::{gathered, writes_columns};
use super::super::relational::fragment::shown;
use super::super::relational::{Unwritable, embedded};
use super::super::schema::{Collation, Column, Generated, Key, Table, TableKind};
use super::super::value::Value;
use super::fragment;
use super::layout::{Filler, Layout};
use super::pool::Pool;
use super::scan::{Database, Failure, Statement};
use super::types::read::{Cell, Fault};
use super::types::{OF_A_VIEW, is_any};
use crate::error::sqlstate;
use crate::pgtype::PgType;
use cells::stored;
use statement::{Repeated, aborting, meeting, qualified};

/// Whether SQLite runs the edit with the outcome that PostgreSQL would have.
pub(super) fn accepts(edit: &Edit) -> Result<(), Refusal> {
    writes_columns(edit)?;
    let table = edit.table();
    if !is_stored(table) {
        return Err(Refusal::new(&table.id.name, "rows of views and virtual tables are kept as their makers please"));
    }
    match edit {
        Edit::Insert(insert) => accepts_insert(insert),
        Edit::Update(update) => fragment::accepts_update(update),
        Edit::Delete(delete) => fragment::accepts_delete(delete),
        Edit::UpdateRows(update) => accepts_key(table, &update.key),
        Edit::DeleteRows(delete) => accepts_key(table, &delete.key),
    }
}

/// Whether SQLite itself keeps the rows of the table.
pub(super) fn is_stored(table: &Table) -> bool {
    let is_virtual = |column: &Column| matches!(&column.collation, Collation::Loose(name) if name == OF_A_VIEW);
    table.kind == TableKind::Table && !table.columns.iter().any(is_virtual)
}

/// The first key by which single rows are changed.
pub(super) fn row_key(table: &Table) -> Option<&Key> {
    let mut keys = table.primary_key.iter().chain(&table.unique_keys);
    keys.find(|key| !key.columns.is_empty() && accepts_key(table, &key.columns).is_ok())
}

/// Whether a key names one row each by what is read of it, wherever that is not NULL. Numbers that are equal are one number to a unique
/// index whatever their kind is; a text is read of cells of text only, as it is, and equals no cell of another kind.
fn accepts_key(table: &Table, key: &[usize]) -> Result<(), Refusal> {
    let is_certain = |column: &Column| match column.pg_type() {
        PgType::INT8 => true,
        PgType::TEXT => column.collation == Collation::Bytes,
        _ => false,
    };
    let is_certain = |column: &Column| is_certain(column) && !is_any(&column.field);
    if key.iter().all(|ordinal| table.columns.get(*ordinal).is_some_and(is_certain)) {
        return Ok(());
    }
    Err(Refusal::new(&table.id.name, "cells of other kinds may stand for one value of the key"))
}

fn accepts_insert(insert: &Insert) -> Result<(), Refusal> {
    Repeated::insert(insert).map_err(|Unwritable(rule)| Refusal::new("INSERT", rule))?;
    let Some(Conflict { target, action }) = &insert.conflict else { return Ok(()) };
    if insert.columns.is_empty() {
        return Err(Refusal::new("ON CONFLICT", "SQLite takes it with values only"));
    }
    let (ConflictTarget::Columns(key), ConflictAction::Update(set)) = (target, action) else { return Ok(()) };
    for (ordinal, value) in set {
        let Some(column) = insert.table.columns.get(*ordinal) else { continue };
        // Rows that meet twice are told by their keys as they are afterwards.
        let is_loose = !matches!(column.collation, Collation::Bytes | Collation::Linguistic(_));
        if key.contains(ordinal) && is_loose {
            return Err(Refusal::new(column.name(), "it is text of several spellings, and a key by which rows meet"));
        }
        let is_numbered = column.generated == Generated::ByDefault && !column.field.is_nullable();
        if is_numbered && *value == Proposed::Constant(None) {
            return Err(Refusal::new(column.name(), "SQLite would number the row anew"));
        }
    }
    Ok(())
}

/// The statement as `EXPLAIN` shows it.
pub(super) fn describe(edit: &Edit) -> String {
    let whole = gathered(edit, json_text::Repeated::First).unwrap_or(Cow::Borrowed(edit));
    let described = match &*whole {
        Edit::Insert(insert) => Repeated::insert(insert).map(|repeated| repeated.text(1)),
        Edit::UpdateRows(update) => Repeated::update(update).map(|repeated| repeated.text(1)),
        Edit::DeleteRows(delete) => Repeated::delete(delete).map(|repeated| repeated.text(1)),
        Edit::Update(update) => fragment::write_update(update, false).map(shown),
        Edit::Delete(delete) => fragment::write_delete(delete, false).map(shown),
    };
    described.unwrap_or_else(|Unwritable(rule)| format!("not sent: a value {rule}"))
}

/// Runs an edit inside what the caller undoes when it fails.
///
/// # Errors
/// What SQLite says, a value that has no form in a cell, or [`StoreError::Cancelled`] after `stop`.
pub(super) fn run(database: &Database<'_>, pool: &Pool, edit: &Edit, stop: &CancellationToken) -> Result<Edited, StoreError> {
    let whole = gathered(edit, json_text::Repeated::First)?;
    let edit = &*whole;
    let job = Job { database, pool, edit, table: edit.table(), stop };
    job.refuse_generated()?;
    job.refuse_nameless()?;
    let keys: &[usize] = match edit {
        Edit::Insert(insert) => meeting(insert.conflict.as_ref()),
        _ => &[],
    };
    let mut takings = Takings::new(job, keys)?;
    match edit {
        Edit::Insert(insert) => job.rows(&job.written(Repeated::insert(insert))?, &insert.columns, &insert.rows, &mut takings)?,
        Edit::UpdateRows(update) => {
            let columns: Vec<usize> = update.key.iter().chain(&update.set).copied().collect();
            job.rows(&job.written(Repeated::update(update))?, &columns, &update.rows, &mut takings)?;
        }
        Edit::DeleteRows(delete) => job.rows(&job.written(Repeated::delete(delete))?, &delete.key, &delete.rows, &mut takings)?,
        Edit::Update(update) => {
            let (text, values) = job.written(fragment::write_update(update, true))?.into_parts();
            job.whole(&aborting(&text, "UPDATE "), &values, &mut takings)?;
        }
        Edit::Delete(delete) => {
            let (text, values) = job.written(fragment::write_delete(delete, true))?.into_parts();
            job.whole(&text, &values, &mut takings)?;
        }
    }
    takings.finish()
}

/// Whether SQLite must be interrupted to stop the edit: the others are many short statements, between which one can stop without
/// the loss of the transaction that an interrupt costs.
pub(super) fn is_long(edit: &Edit) -> bool {
    matches!(edit, Edit::Update(_) | Edit::Delete(_))
}

/// Whether the scan looks at fields of documents whose values are NULL to it where they do not fit.
pub(super) fn reads_nulls(table: &Table, scan: &Scan) -> bool {
    let is_lenient = |ordinal: &usize| {
        let column = table.columns.get(*ordinal);
        let source = column.and_then(|column| embedded::source(&column.field));
        source.is_some_and(|source| source.on_mismatch == OnMismatch::Null)
    };
    let mut conditions = Vec::new();
    scan.filter.iter().for_each(|predicate| columns_of(predicate, &mut conditions));
    scan.columns.iter().chain(&conditions).any(is_lenient)
}

fn columns_of(predicate: &Predicate, found: &mut Vec<usize>) {
    match predicate {
        Predicate::And(parts) | Predicate::Or(parts) => parts.iter().for_each(|part| columns_of(part, found)),
        // Fields of documents stand in no rows.
        Predicate::Rows(_) => {}
        Predicate::Compare { column, .. }
        | Predicate::In { column, .. }
        | Predicate::IsNull { column, .. }
        | Predicate::Like { column, .. } => found.push(column.column),
    }
}

/// An edit under way.
#[derive(Clone, Copy)]
struct Job<'j> {
    database: &'j Database<'j>,
    pool: &'j Pool,
    edit: &'j Edit,
    table: &'j Table,
    stop: &'j CancellationToken,
}

impl<'j> Job<'j> {
    fn store(&self) -> &str {
        self.pool.store().as_str()
    }

    fn failed(&self, failure: Failure) -> StoreError {
        failure::told(self.pool, Some(self.table), failure)
    }

    fn written<T>(&self, written: Result<T, Unwritable>) -> Result<T, StoreError> {
        written.map_err(|unwritable| self.changed(&format!("The edit cannot be sent: {unwritable}.")))
    }

    fn changed(&self, difference: &str) -> StoreError {
        let (store, table) = (self.store().to_owned(), self.table.id.name.clone());
        StoreError::SchemaChanged { store, table, difference: difference.to_owned() }
    }

    /// Values for columns that the table computes.
    fn refuse_generated(&self) -> Result<(), StoreError> {
        let (columns, is_insert) = match self.edit {
            Edit::Insert(insert) => (&insert.columns, true),
            Edit::Update(update) => (&update.set, false),
            Edit::UpdateRows(update) => (&update.set, false),
            Edit::Delete(_) | Edit::DeleteRows(_) => return Ok(()),
        };
        let columns = columns.iter().filter_map(|ordinal| self.table.columns.get(*ordinal));
        let Some(column) = columns.into_iter().find(|column| column.generated == Generated::Always) else { return Ok(()) };
        let message = if is_insert {
            format!("cannot insert a non-DEFAULT value into column \"{}\"", column.name())
        } else {
            format!("column \"{}\" can only be updated to DEFAULT", column.name())
        };
        Err(StoreError::remote(self.store(), sqlstate::GENERATED_ALWAYS, message))
    }

    /// Rows that are named by NULL, which names none.
    fn refuse_nameless(&self) -> Result<(), StoreError> {
        let (rows, width) = match self.edit {
            Edit::UpdateRows(update) => (&update.rows, update.key.len()),
            Edit::DeleteRows(delete) => (&delete.rows, delete.key.len()),
            Edit::Insert(_) | Edit::Update(_) | Edit::Delete(_) => return Ok(()),
        };
        if rows.columns().iter().take(width).all(|values| values.null_count() == 0) {
            return Ok(());
        }
        let feature = "a change of single rows whose key is NULL";
        Err(StoreError::Unsupported { store: self.store().to_owned(), feature })
    }

    /// Between two statements: whether somebody has told the edit to stop.
    fn look_up(&self) -> Result<(), StoreError> {
        if self.pool.closing().is_cancelled() {
            return Err(self.pool.closed());
        }
        if self.stop.is_cancelled() { Err(StoreError::Cancelled) } else { Ok(()) }
    }

    fn whole(self, text: &str, values: &[Value], takings: &mut Takings<'j>) -> Result<(), StoreError> {
        self.look_up()?;
        let mut statement = takings.prepare(text)?;
        statement.bind(values).map_err(|failure| self.failed(failure))?;
        takings.take(&mut statement)
    }

    fn rows(
        self,
        repeated: &Repeated,
        columns: &[usize],
        batch: &RecordBatch,
        takings: &mut Takings<'j>,
    ) -> Result<(), StoreError> {
        let columns = self.columns_of(columns, batch)?;
        let mut prepared: Option<(usize, Statement<'j>)> = None;
        let mut start = 0;
        while start < batch.num_rows() {
            self.look_up()?;
            let count = repeated.rows_max().min(batch.num_rows() - start);
            let mut statement = match prepared.take() {
                Some((rows, statement)) if rows == count => statement,
                _ => takings.prepare(&repeated.text(count))?,
            };
            statement.reset();
            statement.bind(&repeated.constants).map_err(|failure| self.failed(failure))?;
            let mut number = repeated.constants.len();
            for row in start..start + count {
                for (column, cells) in &columns {
                    number += 1;
                    self.bind(&mut statement, number, column, &cells.get(row))?;
                }
            }
            takings.take(&mut statement)?;
            prepared = Some((count, statement));
            start += count;
        }
        Ok(())
    }

    /// The columns of the rows with their values.
    fn columns_of<'b>(&self, columns: &[usize], batch: &'b RecordBatch) -> Result<Vec<(&'j Column, Cells<'b>)>, StoreError> {
        let table = self.table;
        let pair = |(ordinal, array): (&usize, &'b arrow::array::ArrayRef)| {
            let column = table.columns.get(*ordinal)?;
            Some((column, Cells::of(array.as_ref(), column.pg_type())?))
        };
        let found: Option<Vec<_>> = columns.iter().zip(batch.columns()).map(pair).collect();
        let found = found.filter(|found| found.len() == columns.len());
        found.ok_or_else(|| self.changed("The rows of the edit are not those of its columns."))
    }

    fn bind(
        &self,
        statement: &mut Statement<'_>,
        number: usize,
        column: &Column,
        cell: &super::super::cell::Cell<'_>,
    ) -> Result<(), StoreError> {
        // SQLite would make a number of its own.
        if cell.is_null() && column.generated == Generated::ByDefault && !column.field.is_nullable() {
            return Err(failure::not_null(self.store(), self.table, column.name()));
        }
        let value = stored(cell, column).map_err(|Fault { sqlstate, rule }| StoreError::Value {
            store: self.store().to_owned(),
            table: self.table.id.name.clone(),
            column: column.name().to_owned(),
            sqlstate,
            rule,
        })?;
        statement.bind_at(number, value.bound()).map_err(|failure| self.failed(failure))
    }
}

/// What the statements of an edit give back.
struct Takings<'j> {
    job: Job<'j>,
    rows: u64,
    /// What is behind every statement: ` RETURNING …`, or nothing.
    suffix: String,
    layout: Option<Layout>,
    filler: Option<Filler>,
    returned: usize,
    bytes: usize,
    /// Where the columns begin that tell rows apart, and how many there are.
    keys: (usize, usize),
    seen: HashSet<Vec<u8>>,
}

impl<'j> Takings<'j> {
    /// `keys` are columns in which no two rows may meet.
    fn new(job: Job<'j>, keys: &[usize]) -> Result<Self, StoreError> {
        let returning = job.edit.returning();
        let layout = Layout::returning(job.pool.store(), job.table, returning)?;
        let mut list: Vec<String> = Vec::new();
        if !layout.sql().is_empty() {
            list.push(layout.sql().to_owned());
        }
        for key in keys {
            list.push(job.written(qualified(job.table, *key))?);
        }
        let suffix = if list.is_empty() { String::new() } else { format!(" RETURNING {}", list.join(", ")) };
        let layout = (!returning.is_empty()).then_some(layout);
        let keys = (0, keys.len());
        Ok(Self { job, rows: 0, suffix, layout, filler: None, returned: 0, bytes: 0, keys, seen: HashSet::new() })
    }

    fn prepare(&mut self, text: &str) -> Result<Statement<'j>, StoreError> {
        let sql = format!("{text}{}", self.suffix);
        let statement = self.job.database.prepare(&sql).map_err(|failure| self.job.failed(failure))?;
        self.keys.0 = statement.columns().saturating_sub(self.keys.1);
        if let Some(layout) = self.layout.take() {
            self.filler = Some(layout.filler(self.keys.0, ScanLimits::default())?);
        }
        Ok(statement)
    }

    /// Runs a statement to its end.
    fn take(&mut self, statement: &mut Statement<'_>) -> Result<(), StoreError> {
        let job = self.job;
        while statement.step().map_err(|failure| self.stopped(failure))? {
            if let Some(filler) = &mut self.filler {
                self.bytes += filler.append(statement, job.pool).map_err(|error| *error)?;
                self.returned += 1;
            }
            if self.bytes > GATHER_BYTES_MAX {
                let message = "too much is to be given back by one statement".to_owned();
                return Err(StoreError::remote(job.store(), sqlstate::OUT_OF_MEMORY, message));
            }
            self.meet(statement)?;
        }
        self.rows += job.database.changes();
        Ok(())
    }

    fn stopped(&self, failure: Failure) -> StoreError {
        match self.job.failed(failure) {
            StoreError::Cancelled if self.job.pool.closing().is_cancelled() => self.job.pool.closed(),
            error => error,
        }
    }

    /// Two rows of one statement must not update the same one. Which row it is, tells its key as it is stored: the rules of the store
    /// for what is equal have been applied.
    fn meet(&mut self, statement: &mut Statement<'_>) -> Result<(), StoreError> {
        let (start, count) = self.keys;
        if count == 0 {
            return Ok(());
        }
        let mut key = Vec::new();
        for place in start..start + count {
            match statement.cell(place).map_err(|failure| self.job.failed(failure))? {
                Cell::Null => return Ok(()),
                Cell::Int(number) => push(&mut key, b'i', &number.to_le_bytes()),
                Cell::Real(number) => push(&mut key, b'r', &number.to_le_bytes()),
                Cell::Text(text) => push(&mut key, b't', text),
                Cell::Blob(bytes) => push(&mut key, b'b', bytes),
            }
        }
        if self.seen.insert(key) {
            return Ok(());
        }
        let message = "ON CONFLICT DO UPDATE command cannot affect row a second time".to_owned();
        Err(StoreError::remote(self.job.store(), sqlstate::CARDINALITY_VIOLATION, message))
    }

    fn finish(mut self) -> Result<Edited, StoreError> {
        let returned = match (&mut self.filler, self.job.edit.returning()) {
            (_, []) => None,
            (Some(filler), _) => Some(filler.finish(self.returned)?),
            (None, columns) => Some(RecordBatch::new_empty(self.job.table.project(columns))),
        };
        Ok(Edited { rows: self.rows, returned })
    }
}

fn push(key: &mut Vec<u8>, kind: u8, bytes: &[u8]) {
    key.push(kind);
    key.extend_from_slice(&bytes.len().to_le_bytes());
    key.extend_from_slice(bytes);
}
