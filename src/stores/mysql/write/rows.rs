//! Edits that carry rows: their statements.
//!
//! An `UPDATE` of rows that get different values is one statement for each: a join with the new values would compare keys under
//! collations that the server makes up for them. The statement is prepared once.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;

use super::super::super::cell::{self, Cell, Cells};
use super::super::super::connector::ScanLimits;
use super::super::super::edit::{DeleteRows, Edited, Insert, UpdateRows};
use super::super::super::error::StoreError;
use super::super::super::relational::edit::insert_head;
use super::super::super::relational::{Dialect, Sql};
use super::super::super::schema::{Column, Table};
use super::super::Shared;
use super::super::gather::Source;
use super::super::scan::{Job, PARAMETERS_MAX, bounded, refused, selected, write_selected};
use super::value;
use super::writer::Writer;
use crate::error::sqlstate;

/// The rows of an edit, column by column.
pub(super) struct Given<'a> {
    shared: &'a Shared,
    table: &'a Table,
    columns: Vec<(&'a Column, Cells<'a>)>,
}

impl<'a> Given<'a> {
    /// The rows of `batch`, whose columns are these of the table.
    ///
    /// # Errors
    /// A column in another form than that of an edit.
    pub(super) fn of(
        shared: &'a Shared,
        table: &'a Table,
        ordinals: impl Iterator<Item = usize>,
        batch: &'a RecordBatch,
    ) -> Result<Self, StoreError> {
        let columns: Option<Vec<_>> = ordinals
            .zip(batch.columns())
            .map(|(ordinal, array)| {
                let column = table.columns.get(ordinal)?;
                Some((column, Cells::of(array.as_ref(), column.pg_type())?))
            })
            .collect();
        let columns = columns.filter(|columns| columns.len() == batch.num_columns());
        let columns = columns.ok_or_else(|| internal(shared, "an edit carries a column in a form that is not its own"))?;
        Ok(Self { shared, table, columns })
    }

    /// A value, with the column that it is of.
    pub(super) fn cell(&self, place: usize, row: usize) -> Option<(&'a Column, Cell<'a>)> {
        self.columns.get(place).map(|(column, cells)| (*column, cells.get(row)))
    }

    /// Writes a value for its own column.
    ///
    /// # Errors
    /// A value that the column cannot have.
    pub(super) fn write(&self, place: usize, row: usize, sql: &mut Sql) -> Result<(), StoreError> {
        let (column, cell) = self.cell(place, row).ok_or_else(|| internal(self.shared, "an edit lacks a value"))?;
        let written = value::write(column, &cell, self.shared.policy(), sql);
        written.map_err(|fault| value::unfit(self.shared, self.table, column, fault))
    }

    /// Writes what its own column makes of a value for another column of the same type.
    ///
    /// # Errors
    /// As [`Given::write`].
    pub(super) fn write_for(&self, column: &Column, place: usize, row: usize, sql: &mut Sql) -> Result<(), StoreError> {
        let (own, cell) = self.cell(place, row).ok_or_else(|| internal(self.shared, "an edit lacks a value"))?;
        let policy = self.shared.policy();
        let written = match cell::value(&cell, own.pg_type()) {
            Some(given) => value::write_constant(column, Some(&*value::fitted(own, &given)), policy, sql),
            None => value::write(column, &cell, policy, sql),
        };
        written.map_err(|fault| value::unfit(self.shared, self.table, column, fault))
    }

    /// Writes `(?, ?)`.
    fn write_row(&self, places: &[usize], row: usize, sql: &mut Sql) -> Result<(), StoreError> {
        for (number, place) in places.iter().enumerate() {
            sql.push(if number == 0 { "(" } else { ", " });
            self.write(*place, row, sql)?;
        }
        sql.push(if places.is_empty() { "()" } else { ")" });
        Ok(())
    }

    /// Writes the condition that finds the rows by the columns in these places.
    ///
    /// # Errors
    /// As [`Given::write`].
    pub(super) fn write_condition(&self, places: &[usize], rows: Range<usize>, sql: &mut Sql) -> Result<(), StoreError> {
        sql.push(" WHERE ");
        if rows.len() == 1 {
            for (number, place) in places.iter().enumerate() {
                sql.push(if number == 0 { "" } else { " AND " });
                sql.push_name(self.columns.get(*place).map_or("", |(column, _)| column.name()));
                sql.push(" = ");
                self.write(*place, rows.start, sql)?;
            }
            return Ok(());
        }
        for (number, place) in places.iter().enumerate() {
            sql.push(if number == 0 { "(" } else { ", " });
            sql.push_name(self.columns.get(*place).map_or("", |(column, _)| column.name()));
        }
        sql.push(") IN (");
        for (number, row) in rows.enumerate() {
            sql.push(if number == 0 { "" } else { ", " });
            self.write_row(places, row, sql)?;
        }
        sql.push(")");
        Ok(())
    }

    /// Writes ` SET a = ?, …` of the columns from this place on.
    fn write_set(&self, first: usize, row: usize, sql: &mut Sql) -> Result<(), StoreError> {
        for place in first..self.columns.len() {
            sql.push(if place == first { " SET " } else { ", " });
            sql.push_name(self.columns.get(place).map_or("", |(column, _)| column.name()));
            sql.push(" = ");
            self.write(place, row, sql)?;
        }
        Ok(())
    }
}

/// An error that only a mistake of ours brings about.
pub(super) fn internal(shared: &Shared, message: &str) -> StoreError {
    StoreError::remote(shared.name.as_str(), sqlstate::INTERNAL_ERROR, message.to_owned())
}

/// A statement over a table that gives `returning`.
///
/// # Errors
/// Too many parameters, or a column that the table does not have.
pub(super) fn job(shared: &Arc<Shared>, table: &Arc<Table>, returning: &[usize], sql: Sql) -> Result<Job, StoreError> {
    let sql = bounded(sql).map_err(|error| refused(shared, error))?;
    let selected = selected(table, returning).map_err(|error| refused(shared, error))?;
    let source = Source::Table { table: Arc::clone(table), selected };
    Job::of(shared, source, table.project(returning), sql, ScanLimits::default())
}

fn returning_job(shared: &Arc<Shared>, table: &Arc<Table>, returning: &[usize], mut sql: Sql) -> Result<Job, StoreError> {
    if !returning.is_empty() {
        sql.push(" RETURNING ");
        write_selected(table, returning, &mut sql).map_err(|error| refused(shared, error))?;
    }
    job(shared, table, returning, sql)
}

/// `INSERT INTO t (a, b) VALUES (?, ?), …`
///
/// # Errors
/// A value that its column cannot have.
pub(super) fn insert(shared: &Arc<Shared>, edit: &Insert, rows: Range<usize>) -> Result<Job, StoreError> {
    let given = Given::of(shared, &edit.table, edit.columns.iter().copied(), &edit.rows)?;
    let places: Vec<usize> = (0..edit.columns.len()).collect();
    let mut sql = Sql::bound(Dialect::MySql);
    insert_head(&edit.table, &edit.columns, &mut sql).map_err(|error| refused(shared, error))?;
    sql.push(" VALUES ");
    for (number, row) in rows.enumerate() {
        sql.push(if number == 0 { "" } else { ", " });
        given.write_row(&places, row, &mut sql)?;
    }
    returning_job(shared, &edit.table, &edit.returning, sql)
}

/// Whether one statement takes the parameters of all rows.
pub(super) fn is_one_statement(edit: &Insert) -> bool {
    edit.rows.num_rows() <= rows_each(edit)
}

fn rows_each(edit: &Insert) -> usize {
    (PARAMETERS_MAX / edit.columns.len().max(1)).max(1)
}

/// Inserts rows of so many columns that they take several statements.
///
/// # Errors
/// What the server answered; rows before it have been written then.
pub(super) async fn insert_in_parts(writer: &mut Writer<'_>, edit: &Insert) -> Result<Edited, StoreError> {
    let (shared, count, each) = (writer.shared(), edit.rows.num_rows(), rows_each(edit));
    let mut batches = Vec::new();
    let mut rows = 0;
    for start in (0..count).step_by(each) {
        let job = insert(shared, edit, start..count.min(start + each))?;
        let answer = writer.ask(&job).await?;
        let done = writer.edited(&job, &answer, &edit.returning)?;
        rows += done.rows;
        batches.extend(done.returned);
    }
    let returned = together(shared, &edit.table, &edit.returning, &batches)?;
    Ok(Edited { rows, returned })
}

/// `DELETE FROM t WHERE (k) IN ((?), …)`
///
/// # Errors
/// As [`insert`].
pub(super) fn delete(shared: &Arc<Shared>, edit: &DeleteRows) -> Result<Job, StoreError> {
    let given = Given::of(shared, &edit.table, edit.key.iter().copied(), &edit.rows)?;
    let places: Vec<usize> = (0..edit.key.len()).collect();
    let mut sql = Sql::bound(Dialect::MySql);
    sql.push("DELETE FROM ");
    sql.push(&Dialect::MySql.table(&edit.table.id));
    given.write_condition(&places, 0..edit.rows.num_rows(), &mut sql)?;
    returning_job(shared, &edit.table, &edit.returning, sql)
}

fn given_update<'a>(shared: &'a Shared, edit: &'a UpdateRows) -> Result<Given<'a>, StoreError> {
    Given::of(shared, &edit.table, edit.key.iter().chain(&edit.set).copied(), &edit.rows)
}

/// `UPDATE t SET a = ? WHERE …` for rows that all get the same values.
fn update_statement(shared: &Arc<Shared>, edit: &UpdateRows, given: &Given<'_>, rows: Range<usize>) -> Result<Job, StoreError> {
    let places: Vec<usize> = (0..edit.key.len()).collect();
    let mut sql = Sql::bound(Dialect::MySql);
    sql.push("UPDATE ");
    sql.push(&Dialect::MySql.table(&edit.table.id));
    given.write_set(edit.key.len(), rows.start, &mut sql)?;
    given.write_condition(&places, rows, &mut sql)?;
    job(shared, &edit.table, &[], sql)
}

/// The only statement of an update: for one row, or for many that get the same values and keep their keys. `None` for other ones,
/// and where rows are given back, which are read one after the other.
///
/// # Errors
/// A value that its column cannot have.
pub(super) fn update_at_once(shared: &Arc<Shared>, edit: &UpdateRows) -> Result<Option<Job>, StoreError> {
    let count = edit.rows.num_rows();
    let moves = edit.set.iter().any(|column| edit.key.contains(column));
    if !edit.returning.is_empty() || count == 0 || (count > 1 && moves) {
        return Ok(None);
    }
    let given = given_update(shared, edit)?;
    let set_of = |row| {
        let mut sql = Sql::bound(Dialect::MySql);
        given.write_set(edit.key.len(), row, &mut sql).map(|()| sql)
    };
    let first = set_of(0)?;
    for row in 1..count {
        if set_of(row)? != first {
            return Ok(None);
        }
    }
    update_statement(shared, edit, &given, 0..count).map(Some)
}

/// Updates row by row, and reads back what is asked for.
///
/// # Errors
/// What the server answered; rows before it have been changed then.
pub(super) async fn update(writer: &mut Writer<'_>, edit: &UpdateRows) -> Result<Edited, StoreError> {
    let shared = writer.shared();
    let mut batches = Vec::new();
    let mut changed = 0;
    for row in 0..edit.rows.num_rows() {
        let (statement, back) = {
            let given = given_update(shared, edit)?;
            (update_statement(shared, edit, &given, row..row + 1)?, read_back(shared, edit, &given, row)?)
        };
        let found = writer.ask(&statement).await?.changed;
        changed += found;
        let Some(back) = back.filter(|_| found > 0) else { continue };
        let answer = writer.ask(&back).await?;
        if answer.rows.len() as u64 != found {
            return Err(StoreError::remote(
                shared.name.as_str(),
                sqlstate::FDW_ERROR,
                format!("a row of \"{}\" that was changed is not found by its key", edit.table.id.name),
            ));
        }
        batches.push(writer.read(&back, &answer)?);
    }
    let returned = together(shared, &edit.table, &edit.returning, &batches)?;
    Ok(Edited { rows: changed, returned })
}

/// Reads a changed row by the key that it has now.
fn read_back(shared: &Arc<Shared>, edit: &UpdateRows, given: &Given<'_>, row: usize) -> Result<Option<Job>, StoreError> {
    if edit.returning.is_empty() {
        return Ok(None);
    }
    let now = |(place, column): (usize, &usize)| {
        let set = edit.set.iter().position(|set| set == column);
        set.map_or(place, |set| edit.key.len() + set)
    };
    let places: Vec<usize> = edit.key.iter().enumerate().map(now).collect();
    look_up(shared, &edit.table, &edit.returning, |sql| given.write_condition(&places, row..row + 1, sql)).map(Some)
}

/// `SELECT … FROM t` with a condition.
///
/// # Errors
/// As the condition.
pub(super) fn look_up(
    shared: &Arc<Shared>,
    table: &Arc<Table>,
    columns: &[usize],
    condition: impl FnOnce(&mut Sql) -> Result<(), StoreError>,
) -> Result<Job, StoreError> {
    let mut sql = Sql::bound(Dialect::MySql);
    sql.push("SELECT ");
    write_selected(table, columns, &mut sql).map_err(|error| refused(shared, error))?;
    sql.push(" FROM ");
    sql.push(&Dialect::MySql.table(&table.id));
    condition(&mut sql)?;
    job(shared, table, columns, sql)
}

/// Rows that were given back one after the other; `None` when none were asked for.
///
/// # Errors
/// Rows that do not have the same columns.
pub(super) fn together(
    shared: &Shared,
    table: &Table,
    returning: &[usize],
    batches: &[RecordBatch],
) -> Result<Option<RecordBatch>, StoreError> {
    if returning.is_empty() {
        return Ok(None);
    }
    concat_batches(&table.project(returning), batches).map(Some).map_err(|error| internal(shared, &error.to_string()))
}
