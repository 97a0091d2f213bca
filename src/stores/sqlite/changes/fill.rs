//! A state of a file with its place among the changes: both are read in one read transaction.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{Array, AsArray};
use arrow::datatypes::Int64Type;
use futures::TryStreamExt;

use super::super::super::capture::Fill;
use super::super::super::commit::{CHANGES, FEED};
use super::super::super::connector::{BatchStream, Branch as _, Purpose, Scan, ScanLimits};
use super::super::super::error::StoreError;
use super::super::super::schema::{Collation, Column, ColumnStatistics, Generated, Table, TableId, TableKind};
use super::super::branch::Branch;
use super::super::pool::Pool;
use super::super::schema::NAMESPACE;
use super::super::types;
use super::{Cuts, Place};
use crate::error::sqlstate;

/// SQLite shows a state for as long as somebody reads it; meanwhile the write-ahead log only grows.
const SHOWN: Duration = Duration::from_secs(3_600);

/// How often a state is read again because a look has gone beyond it meanwhile.
const TRIES: usize = 20;

/// Opens the state that is the newest now, at which a look ends.
///
/// # Errors
/// What SQLite says, also that nobody follows the file.
pub(super) async fn open(pool: &Arc<Pool>, cuts: &Cuts) -> Result<Fill, StoreError> {
    let ends = Instant::now() + SHOWN;
    let mut tries = 1;
    loop {
        let (branch, place) = newest(pool).await?;
        // Where none can be had, changes come twice that are in the state, which is better than that they do not come.
        if cuts.add(place) || tries >= TRIES {
            // What was given before the transaction began is in it.
            return Ok(Fill { branch: Arc::new(branch), version: place.token(), look_back: Duration::ZERO, ends });
        }
        tries += 1;
    }
}

async fn newest(pool: &Arc<Pool>) -> Result<(Branch, Place), StoreError> {
    let branch = Branch::open(Arc::clone(pool), Purpose::Transaction { read_only: true, repeatable: true }, None).await?;
    let seq = number_of(&branch, pool, ("sqlite_sequence", "name", "seq"), CHANGES).await?;
    let uuid = uuid(&branch, pool).await?;
    let Some(history) = uuid.as_deref().and_then(Place::history_of) else {
        let message = "nobody follows the changes of the file".to_owned();
        return Err(StoreError::remote(pool.store().as_str(), sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE, message));
    };
    // Before the first change there is no number.
    Ok((branch, Place { history, seq: seq.unwrap_or(0) }))
}

/// The number beside a name in a table of two columns.
async fn number_of(
    branch: &Branch,
    pool: &Pool,
    (table, name, number): (&str, &str, &str),
    wanted: &str,
) -> Result<Option<i64>, StoreError> {
    let table = described(table, &[(name, "TEXT"), (number, "INTEGER")]);
    let mut batches = scan(branch, pool, &table).await?;
    while let Some(batch) = batches.try_next().await? {
        let [names, numbers] = batch.columns() else { continue };
        let Some((names, numbers)) = names.as_string_opt::<i32>().zip(numbers.as_primitive_opt::<Int64Type>()) else { continue };
        let found = (0..batch.num_rows()).find(|row| names.is_valid(*row) && names.value(*row) == wanted && numbers.is_valid(*row));
        if let Some(row) = found {
            return Ok(Some(numbers.value(row)));
        }
    }
    Ok(None)
}

/// What was drawn for the table of changes.
async fn uuid(branch: &Branch, pool: &Pool) -> Result<Option<String>, StoreError> {
    let table = described(FEED, &[("id", "TEXT"), ("uuid", "TEXT")]);
    let mut batches = scan(branch, pool, &table).await?;
    while let Some(batch) = batches.try_next().await? {
        let [ids, uuids] = batch.columns() else { continue };
        let Some((ids, uuids)) = ids.as_string_opt::<i32>().zip(uuids.as_string_opt::<i32>()) else { continue };
        // Other rows say what places mean.
        let is_owner = |row: &usize| ids.is_valid(*row) && ids.value(*row).starts_with("tributary_") && uuids.is_valid(*row);
        if let Some(row) = (0..batch.num_rows()).find(is_owner) {
            return Ok(Some(uuids.value(row).to_owned()));
        }
    }
    Ok(None)
}

async fn scan(branch: &Branch, pool: &Pool, table: &Arc<Table>) -> Result<BatchStream, StoreError> {
    let columns = (0..table.columns.len()).collect();
    let scan = Scan { store: pool.store().clone(), table: table.id.clone(), columns, filter: Vec::new(), limit: None };
    branch.scan(table, &scan, ScanLimits::default()).await
}

/// A table that discovery leaves out.
fn described(name: &str, columns: &[(&str, &str)]) -> Arc<Table> {
    let column = |(name, declared): &(&str, &str)| Column {
        field: types::field(name, declared, true, false),
        native_type: (*declared).to_owned(),
        default: None,
        generated: Generated::No,
        comment: None,
        collation: Collation::Bytes,
        statistics: ColumnStatistics::default(),
    };
    let columns: Vec<Column> = columns.iter().map(column).collect();
    Arc::new(Table {
        id: TableId { namespace: NAMESPACE.to_owned(), name: name.to_owned() },
        kind: TableKind::Table,
        schema: Table::arrow_schema(&columns),
        columns,
        primary_key: None,
        unique_keys: Vec::new(),
        foreign_keys: Vec::new(),
        checks: Vec::new(),
        indexes: Vec::new(),
        comment: None,
        row_estimate: None,
        division: None,
    })
}
