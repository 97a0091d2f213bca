//! A scan in a transaction that writes: a cursor, so that scans and edits can take turns on one connection.
//!
//! ```text
//! DECLARE c7 BINARY NO SCROLL CURSOR FOR SELECT …; FETCH FORWARD n FROM c7 → a batch
//!                                                  FETCH FORWARD n FROM c7 → the next one, n by the size of the rows so far
//! ```
//!
//! The cursor sees the rows as they were when it was declared; later edits of the same transaction do not change them.
//!
//! **Invariants:** the connection is held for one FETCH, which goes on in a task of its own, so that a stream that nobody polls keeps
//! nobody waiting; a stream that is dropped leaves at most that one FETCH to be read; a FETCH keeps no more than [`GATHER_BYTES_MAX`].

use std::sync::Arc;

use arrow::array::RecordBatch;
use futures::StreamExt;
use sqlx::postgres::PgRow;

use super::super::super::connector::{BatchStream, GATHER_BYTES_MAX};
use super::super::super::error::StoreError;
use super::super::job::Job;
use super::super::scan::{Cells, cells, finish};
use super::run::append;
use super::transaction::Transaction;
use crate::error::sqlstate;
use crate::task::OwnedTask;

/// Rows of the first batch: as many as may be wide without harm.
const FIRST: usize = 16;
/// Rows of any batch: the next ones may be far wider than those so far.
const MOST: usize = 1_024;
/// A batch has at most so many times the rows of the one before.
const GROWTH: usize = 8;

struct Cursor {
    transaction: Arc<Transaction>,
    job: Job,
    /// Its number, and the turn of the transaction that it was opened in.
    place: (u64, u64),
    cells: Vec<Cells>,
    /// How many rows are asked for next.
    rows: usize,
    is_declared: bool,
}

impl Drop for Cursor {
    fn drop(&mut self) {
        self.transaction.leave_cursor(self.place, self.is_declared);
    }
}

impl Transaction {
    /// Starts a scan. Its first rows are read.
    ///
    /// # Errors
    /// What the server answered.
    pub(in super::super) async fn scan(self: &Arc<Self>, job: Job) -> Result<BatchStream, StoreError> {
        let place = self.open_cursor();
        let (cells, rows) = (cells(&job), job.limits.batch_rows.clamp(1, FIRST));
        let cursor = Cursor { transaction: self.clone(), job, place, cells, rows, is_declared: false };
        let Some((first, rest)) = step(cursor).await? else { return Ok(futures::stream::empty().boxed()) };
        let later = futures::stream::unfold(rest, |cursor| async move {
            match step(cursor?).await {
                Ok(Some((batch, rest))) => Some((Ok(batch), rest)),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        });
        Ok(futures::stream::iter([Ok(first)]).chain(later).boxed())
    }
}

/// The next batch, and the cursor if there may be more. `None` behind the last one.
async fn step(mut cursor: Cursor) -> Result<Option<(RecordBatch, Option<Cursor>)>, StoreError> {
    let store = cursor.job.store.clone();
    let task = OwnedTask::spawn(Box::pin(async move {
        let asked = cursor.rows;
        let batch = cursor.fetch().await?;
        let count = batch.as_ref().map_or(0, RecordBatch::num_rows);
        Ok::<_, StoreError>(batch.map(|batch| (batch, (count == asked).then_some(cursor))))
    }));
    let lost =
        || StoreError::ConnectionLost { store: store.to_string(), reason: "The scan ended before its answer did.".to_owned() };
    task.join().await.unwrap_or_else(|| Err(lost()))
}

impl Cursor {
    async fn fetch(&mut self) -> Result<Option<RecordBatch>, StoreError> {
        let transaction = self.transaction.clone();
        let mut line = transaction.ready().await?;
        let (number, rows) = (self.place.0, self.rows);
        let fetch = format!("FETCH FORWARD {rows} FROM c{number}");
        let sql = if self.is_declared {
            fetch
        } else {
            format!("DECLARE c{number} BINARY NO SCROLL CURSOR FOR {}; {fetch}", self.job.select)
        };
        self.is_declared = true;
        let (mut count, mut bytes) = (0, 0);
        let (cells, job) = (&mut self.cells, &self.job);
        let mut take = |row: &PgRow| -> Result<(), StoreError> {
            bytes += append(cells, row, job)?;
            count += 1;
            if bytes > GATHER_BYTES_MAX { Err(too_wide(job)) } else { Ok(()) }
        };
        transaction.rows(&mut line, &sql, Some(job), &mut take).await?;
        drop(line);
        if count == 0 {
            return Ok(None);
        }
        let fitting = self.job.limits.batch_bytes / (bytes / count).max(1);
        self.rows = fitting.min(rows.saturating_mul(GROWTH)).clamp(1, self.job.limits.batch_rows.clamp(1, MOST));
        finish(&self.job, &mut self.cells, count).map(Some)
    }
}

fn too_wide(job: &Job) -> StoreError {
    StoreError::Remote {
        store: job.store.to_string(),
        sqlstate: sqlstate::OUT_OF_MEMORY.to_owned(),
        message: "rows that are read in a transaction which writes are too wide".to_owned(),
        detail: Some("Read them before the first write.".to_owned()),
        constraint: None,
        site: None,
    }
}
