//! `ON CONFLICT` by hand, in a transaction that holds what it has seen.
//!
//! Where a key is named, the row that it finds is locked first: then it can be changed, and nobody deletes it meanwhile. (An INSERT that
//! fails locks the row too, but shares it: two that then want to change it would wait for each other.) Every row is then inserted,
//! also one that has found another: the server says of it what NOT NULL, CHECK and the types of the columns say before it says that
//! there is a duplicate. A duplicate that shows up only then is another transaction's, which has just been committed and is looked up
//! again, or one of another key, which is an error. Without a named key every duplicate is a conflict. Several rows are tried as one
//! statement, which the server does wholly or not at all.
//!
//! The server may complain of a foreign key before it looks at a key that was made later than the foreign one; a row that meets
//! another is not written, so it needs no parent. What a trigger meets in another table is no conflict of this row, and the server
//! tells by a note where its error comes from. Servers that tell nothing (MySQL) are asked for the row that was met.

use std::sync::Arc;

use arrow::array::RecordBatch;

use super::super::super::edit::{Conflict, ConflictAction, ConflictTarget, Edited, Insert, Proposed};
use super::super::super::error::StoreError;
use super::super::super::relational::{Dialect, Sql};
use super::super::Shared;
use super::super::scan::Job;
use super::rows::{self, Given, internal};
use super::value;
use super::writer::Writer;
use crate::error::sqlstate;

/// What is done about rows that exist.
struct Meeting<'a> {
    shared: &'a Arc<Shared>,
    edit: &'a Insert,
    given: Given<'a>,
    /// Whether every key counts.
    is_any: bool,
    /// The named key and where its values are among those of the edit; `None` where all keys count, or where the store makes a value of
    /// it, which meets nothing.
    key: Option<(&'a [usize], Vec<usize>)>,
    /// What is set in a row that exists; `None` leaves it alone.
    set: Option<&'a [(usize, Proposed)]>,
}

/// What has become of the rows so far.
#[derive(Default)]
struct Done {
    rows: u64,
    returned: Vec<RecordBatch>,
    /// The keys of rows that were added or changed, which must not be changed again.
    touched: Vec<RecordBatch>,
}

/// Inserts rows, and does with those that meet an existing one as the edit says.
///
/// # Errors
/// What the server answered; some of the rows have been written then.
pub(super) async fn insert(writer: &mut Writer<'_>, edit: &Insert) -> Result<Edited, StoreError> {
    let shared = writer.shared();
    let meeting = Meeting::of(shared, edit)?;
    let count = edit.rows.num_rows();
    if count > 1 && rows::is_one_statement(edit) && !meeting.meets_any(writer).await? {
        let job = rows::insert(shared, edit, 0..count)?;
        match writer.ask(&job).await {
            Err(error) if may_be_conflict(&error) => {}
            outcome => return writer.edited(&job, &outcome?, &edit.returning),
        }
    }
    let mut done = Done::default();
    for row in 0..count {
        meeting.row(writer, row, &mut done).await?;
    }
    let returned = rows::together(shared, &edit.table, &edit.returning, &done.returned)?;
    Ok(Edited { rows: done.rows, returned })
}

/// Whether the server may have said this of a row that meets another.
fn may_be_conflict(error: &StoreError) -> bool {
    is_duplicate(error) || matches!(error, StoreError::Remote { sqlstate, .. } if sqlstate == sqlstate::FOREIGN_KEY_VIOLATION)
}

fn is_duplicate(error: &StoreError) -> bool {
    matches!(error, StoreError::Remote { sqlstate, .. } if sqlstate == sqlstate::UNIQUE_VIOLATION)
}

/// Where the values of these columns are among those of the edit; `None` where the store makes one of them.
fn places(edit: &Insert, columns: &[usize]) -> Option<Vec<usize>> {
    columns.iter().map(|column| edit.columns.iter().position(|given| given == column)).collect()
}

impl<'a> Meeting<'a> {
    fn of(shared: &'a Arc<Shared>, edit: &'a Insert) -> Result<Self, StoreError> {
        let Some(Conflict { target, action }) = &edit.conflict else {
            return Err(internal(shared, "an edit lacks what it does about conflicts"));
        };
        let given = Given::of(shared, &edit.table, edit.columns.iter().copied(), &edit.rows)?;
        let key = match target {
            ConflictTarget::Any => None,
            ConflictTarget::Columns(columns) => {
                check_key(shared, edit, columns)?;
                places(edit, columns).map(|places| (columns.as_slice(), places))
            }
        };
        let set = match action {
            ConflictAction::Nothing => None,
            ConflictAction::Update(set) => Some(set.as_slice()),
        };
        let meeting = Self { shared, edit, given, is_any: matches!(target, ConflictTarget::Any), key, set };
        meeting.check_set()?;
        Ok(meeting)
    }

    /// The row is found again by its key, so that keeps its values.
    fn check_set(&self) -> Result<(), StoreError> {
        let unsupported = |feature| StoreError::Unsupported { store: self.shared.name.to_string(), feature };
        for (column, proposed) in self.set.unwrap_or_default() {
            let is_key = self.key.as_ref().is_some_and(|(key, _)| key.contains(column));
            if is_key && *proposed != Proposed::Excluded(*column) {
                return Err(unsupported("another value for a column of the key of ON CONFLICT"));
            }
            let Proposed::Excluded(from) = proposed else { continue };
            if !self.edit.columns.contains(from) {
                return Err(unsupported("a column of excluded that has no value in the INSERT"));
            }
            let types = [column, from].map(|ordinal| self.edit.table.columns.get(*ordinal).map(|found| found.pg_type().oid));
            if types[0] != types[1] {
                return Err(unsupported("a column of excluded in a column of another type"));
            }
        }
        Ok(())
    }

    /// Whether one of the rows surely meets an existing one. It is locked then.
    async fn meets_any(&self, writer: &mut Writer<'_>) -> Result<bool, StoreError> {
        let Some((key, places)) = &self.key else { return Ok(false) };
        let job = rows::look_up(self.shared, &self.edit.table, key, |sql| {
            self.given.write_condition(places, 0..self.edit.rows.num_rows(), sql)?;
            sql.push(" LIMIT 1 FOR UPDATE");
            Ok(())
        })?;
        Ok(!writer.ask(&job).await?.rows.is_empty())
    }

    async fn row(&self, writer: &mut Writer<'_>, row: usize, done: &mut Done) -> Result<(), StoreError> {
        let found = self.find(writer, row).await?;
        let job = rows::insert(self.shared, self.edit, row..row + 1)?;
        let error = match writer.ask(&job).await {
            Ok(answer) => {
                done.rows += 1;
                if !self.edit.returning.is_empty() {
                    done.returned.push(writer.read(&job, &answer)?);
                }
                return self.touch(writer, row, done).await;
            }
            Err(error) => error,
        };
        if !may_be_conflict(&error) {
            return Err(error);
        }
        let told = writer.failed_in_trigger().await?;
        if told == Some(true) {
            return Err(error);
        }
        if self.is_any {
            let is_conflict = (told.is_some() && is_duplicate(&error)) || self.meets_known(writer, row).await?;
            return if is_conflict { Ok(()) } else { Err(error) };
        }
        let found = match found {
            Some(found) => Some(found),
            None => self.find(writer, row).await?,
        };
        match found {
            Some(found) => self.meet(writer, row, &found, done).await,
            None => Err(error),
        }
    }

    /// Whether a key of the table, all of whose values are given, finds a row.
    async fn meets_known(&self, writer: &mut Writer<'_>, row: usize) -> Result<bool, StoreError> {
        let table = &self.edit.table;
        for key in table.primary_key.iter().chain(&table.unique_keys) {
            let Some(places) = places(self.edit, &key.columns) else { continue };
            // The row is locked already in this way by the INSERT, and nothing is done with it.
            if self.look(writer, (&key.columns, &places), row, " LOCK IN SHARE MODE").await?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The named key of the row that exists, as it is stored, locked.
    async fn find(&self, writer: &mut Writer<'_>, row: usize) -> Result<Option<RecordBatch>, StoreError> {
        match &self.key {
            Some((key, places)) => self.look(writer, (key, places), row, " FOR UPDATE").await,
            None => Ok(None),
        }
    }

    /// A key of the row that exists, as it is stored.
    async fn look(
        &self,
        writer: &mut Writer<'_>,
        (key, places): (&[usize], &[usize]),
        row: usize,
        lock: &str,
    ) -> Result<Option<RecordBatch>, StoreError> {
        // NULL is equal to nothing, in a key too.
        if places.iter().any(|place| self.given.cell(*place, row).is_none_or(|(_, cell)| cell.is_null())) {
            return Ok(None);
        }
        let job = rows::look_up(self.shared, &self.edit.table, key, |sql| {
            self.given.write_condition(places, row..row + 1, sql)?;
            sql.push(lock);
            Ok(())
        })?;
        let answer = writer.ask(&job).await?;
        if answer.rows.is_empty() { Ok(None) } else { writer.read(&job, &answer).map(Some) }
    }

    async fn meet(&self, writer: &mut Writer<'_>, row: usize, found: &RecordBatch, done: &mut Done) -> Result<(), StoreError> {
        let Some(set) = self.set else { return Ok(()) };
        if done.touched.contains(found) {
            return Err(StoreError::Remote {
                store: self.shared.name.to_string(),
                sqlstate: sqlstate::CARDINALITY_VIOLATION.to_owned(),
                message: "ON CONFLICT DO UPDATE command cannot affect row a second time".to_owned(),
                detail: Some("Two rows of the command have one key, as the store compares it.".to_owned()),
                constraint: None,
                site: None,
            });
        }
        writer.ask(&self.update(set, row)?).await?;
        done.rows += 1;
        if let (false, Some((_, places))) = (self.edit.returning.is_empty(), &self.key) {
            let back = rows::look_up(self.shared, &self.edit.table, &self.edit.returning, |sql| {
                self.given.write_condition(places, row..row + 1, sql)
            })?;
            let answer = writer.ask(&back).await?;
            done.returned.push(writer.read(&back, &answer)?);
        }
        self.touch(writer, row, done).await
    }

    /// Notes the row as it is stored now, when another one of the edit may meet it.
    async fn touch(&self, writer: &mut Writer<'_>, row: usize, done: &mut Done) -> Result<(), StoreError> {
        if self.set.is_some() && row + 1 < self.edit.rows.num_rows() {
            done.touched.extend(self.find(writer, row).await?);
        }
        Ok(())
    }

    /// `UPDATE t SET … WHERE` the key.
    fn update(&self, set: &[(usize, Proposed)], row: usize) -> Result<Job, StoreError> {
        let (shared, table) = (self.shared, &self.edit.table);
        let mut sql = Sql::bound(Dialect::MySql);
        sql.push("UPDATE ");
        sql.push(&Dialect::MySql.table(&table.id));
        for (number, (ordinal, proposed)) in set.iter().enumerate() {
            let column = table.columns.get(*ordinal).ok_or_else(|| internal(shared, "an edit sets no column of the table"))?;
            sql.push(if number == 0 { " SET " } else { ", " });
            sql.push_name(column.name());
            sql.push(" = ");
            match proposed {
                Proposed::Excluded(from) => {
                    let place = self.edit.columns.iter().position(|given| given == from);
                    let place = place.ok_or_else(|| internal(shared, "an edit lacks a value"))?;
                    self.given.write_for(column, place, row, &mut sql)?;
                }
                Proposed::Constant(constant) => value::write_constant(column, constant.as_ref(), shared.policy(), &mut sql)
                    .map_err(|fault| value::unfit(shared, table, column, fault))?,
            }
        }
        let places = self.key.as_ref().map_or(&[][..], |(_, places)| places.as_slice());
        if places.is_empty() {
            return Err(internal(shared, "an edit names no key"));
        }
        self.given.write_condition(places, row..row + 1, &mut sql)?;
        rows::job(shared, table, &[], sql)
    }
}

/// Whether there is a unique key over exactly these columns.
fn check_key(shared: &Shared, edit: &Insert, columns: &[usize]) -> Result<(), StoreError> {
    let keys = edit.table.primary_key.iter().chain(&edit.table.unique_keys);
    let is_same = |key: &[usize]| key.len() == columns.len() && key.iter().all(|column| columns.contains(column));
    if keys.map(|key| key.columns.as_slice()).any(is_same) {
        return Ok(());
    }
    let message = "there is no unique or exclusion constraint matching the ON CONFLICT specification";
    Err(StoreError::remote(shared.name.as_str(), sqlstate::INVALID_COLUMN_REFERENCE, message.to_owned()))
}
