//! Rows that a client sends for a table: read, made into edits, and written beside the reading of those that follow.
//!
//! ```text
//! push → format/copy (raw rows) → federation/dml (values, condition, edits) → a place for one edit → a task → the store's branch
//! ```
//!
//! **Invariants:** no more is kept than one batch of raw rows, its edits, one that waits and one that is written, and a row that is not
//! whole, which counts for the memory of queries; an edit is never dropped: the client is told nothing before the last one is answered. The
//! audit log is told of each COPY once, however it ends.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::execution::memory_pool::MemoryReservation;
use futures::{StreamExt, stream};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::commits::Telling;
use super::output::Guard;
use crate::error::{Diagnosis, sqlstate};
use crate::federation::branches::Branches;
use crate::federation::dml::{Loading, Piece};
use crate::federation::error::diagnose;
use crate::format::copy::{ROWS_MAX, RawRows, Reader};
use crate::stores::{Branch, Edited, StoreError, StoreName};
use crate::task::OwnedTask;
use crate::write::run::{self, Observer};

/// A COPY whose rows the client sends. Its transaction is the session's block, which ends it as any statement's.
pub struct Copying {
    reader: Reader,
    rows: RawRows,
    loading: Loading,
    guard: Guard,
    /// How many columns there are, and whether their values are binary.
    shape: (usize, bool),
    /// Asks the store to end what it does.
    stop: CancellationToken,
    edits: Option<mpsc::Sender<Piece>>,
    writing: Option<OwnedTask<Result<u64, Diagnosis>>>,
    held: MemoryReservation,
    /// Gone when the audit log has been told.
    telling: Option<Telling>,
}

impl fmt::Debug for Copying {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Copying").field("columns", &self.shape.0).field("rows", &self.rows.len()).finish_non_exhaustive()
    }
}

/// Where the rows go.
pub(super) struct Destination {
    pub(super) branch: Arc<dyn Branch>,
    pub(super) store: StoreName,
    /// What the statement reads through, which hears of what the store answers.
    pub(super) branches: Arc<Branches>,
}

impl Copying {
    /// Begins; the store is sent nothing before there are rows.
    pub(super) fn begin(
        reader: Reader,
        loading: Loading,
        shape: (usize, bool),
        to: Destination,
        (guard, held, telling): (Guard, MemoryReservation, Option<Telling>),
    ) -> Self {
        let stop = guard.stop();
        // One place: the next edit is made while one is written.
        let (edits, waiting) = mpsc::channel(1);
        let writing = OwnedTask::spawn(write(to, waiting, stop.clone()));
        let mut rows = RawRows::new(shape.0);
        rows.ask_for(loading.rows_at_a_time().min(ROWS_MAX));
        Self { reader, rows, loading, guard, shape, stop, edits: Some(edits), writing: Some(writing), held, telling }
    }

    /// How many columns a row has.
    pub fn columns(&self) -> usize {
        self.shape.0
    }

    /// Whether the data are PostgreSQL's binary file format.
    pub fn is_binary(&self) -> bool {
        self.shape.1
    }

    /// What may end the statement; waiting for the client must heed it too.
    pub fn guard(&self) -> &Guard {
        &self.guard
    }

    /// Takes a part of the data. Waits while the store has enough to do.
    ///
    /// # Errors
    /// What the data or the store are at fault with; nothing is under way in the store then, and what was written is to be rolled back.
    pub async fn push(&mut self, data: &[u8]) -> Result<(), Diagnosis> {
        match self.take(data).await {
            Ok(()) => Ok(()),
            Err(error) => {
                let error = self.ended_by(error).await;
                self.tell(Err(&error)).await;
                Err(error)
            }
        }
    }

    /// The data are over: writes what is left, and gives the command tag.
    ///
    /// # Errors
    /// As [`Copying::push`].
    pub async fn finish(&mut self) -> Result<String, Diagnosis> {
        let read = match self.reader.end(&mut self.rows) {
            Ok(()) => self.flush().await,
            Err(error) => Err(self.loading.first_of(&self.rows, error)),
        };
        let ended = match read {
            Ok(()) => self.written().await.map(|rows| format!("COPY {rows}")),
            Err(error) => Err(self.ended_by(error).await),
        };
        self.tell(ended.as_ref().cloned()).await;
        ended
    }

    /// The error of a client that does not go on: what was at fault before comes first. Nothing is under way in the store then.
    pub async fn fail(&mut self, error: Diagnosis) -> Diagnosis {
        let error = match self.reader.place() {
            Some(place) => error.with_context(place),
            None => error,
        };
        let error = self.loading.first_of(&self.rows, error);
        let error = self.ended_by(error).await;
        self.tell(Err(&error)).await;
        error
    }

    /// Gives up: waits until nothing is under way in the store.
    pub async fn abandon(&mut self) {
        self.stop.cancel();
        let left = Diagnosis::new(sqlstate::QUERY_CANCELED, "a COPY was given up");
        let error = self.written().await.err().unwrap_or(left);
        tracing::debug!(sqlstate = error.sqlstate, "a COPY was given up");
        self.tell(Err(&error)).await;
    }

    /// Tells the audit log how it has ended, unless that has been told.
    async fn tell(&mut self, ended: Result<String, &Diagnosis>) {
        if let Some(telling) = self.telling.take() {
            telling.end(ended).await;
        }
    }

    async fn take(&mut self, data: &[u8]) -> Result<(), Diagnosis> {
        let mut input = data;
        while !input.is_empty() {
            let read = self.reader.read(&mut input, &mut self.rows);
            read.map_err(|error| self.loading.first_of(&self.rows, error))?;
            let held = self.reader.held() + self.rows.held();
            self.held.try_resize(held).map_err(|error| diagnose(&error).with_hint("Send smaller rows."))?;
            if self.rows.is_full() {
                self.flush().await?;
            }
        }
        Ok(())
    }

    /// Hands the rows on that have been read.
    async fn flush(&mut self) -> Result<(), Diagnosis> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let guard = self.guard.clone();
        let pieces = guard.run(Box::pin(self.loading.edits(&self.rows))).await??;
        self.rows.clear();
        // The first ones were few, so that the store has soon something to do.
        self.rows.ask_for(self.loading.rows_at_a_time());
        for piece in pieces {
            let Some(edits) = &self.edits else { return Err(ended()) };
            // A closed channel is the failure of an edit before, which is told by the task.
            if guard.run(edits.send(piece)).await?.is_err() {
                return Err(ended());
            }
        }
        Ok(())
    }

    /// Waits until everything is written that was handed on, and tells how many rows that were.
    async fn written(&mut self) -> Result<u64, Diagnosis> {
        self.edits = None;
        let Some(writing) = self.writing.take() else { return Ok(0) };
        let stop = self.stop.clone();
        self.guard.wait_for(&stop, async { writing.join().await.unwrap_or_else(|| Err(ended())) }).await
    }

    /// The error that the statement ends with: what rows before have failed with comes first.
    async fn ended_by(&mut self, error: Diagnosis) -> Diagnosis {
        let is_stopped = error.sqlstate == sqlstate::QUERY_CANCELED;
        if is_stopped {
            self.stop.cancel();
        }
        match self.written().await {
            Err(earlier) if !(is_stopped && earlier.sqlstate == sqlstate::QUERY_CANCELED) => earlier,
            _ => error,
        }
    }
}

fn ended() -> Diagnosis {
    Diagnosis::new(sqlstate::INTERNAL_ERROR, "the writing of rows ended without a result")
}

/// Writes what comes, one edit after the other, and counts the rows.
async fn write(to: Destination, waiting: mpsc::Receiver<Piece>, stop: CancellationToken) -> Result<u64, Diagnosis> {
    let heard = Heard { branches: to.branches, store: to.store };
    let (mut waiting, mut rows) = (waiting, 0);
    while let Some(piece) = waiting.recv().await {
        let edit = stream::iter([Ok(piece.edit.clone())]).boxed();
        let outcome = run::run(&to.branch, edit, &stop, &heard).await.map_err(|error| piece.placed(error))?;
        rows += outcome.rows;
    }
    Ok(rows)
}

/// Hears what the store answers. No rows come back.
struct Heard {
    branches: Arc<Branches>,
    store: StoreName,
}

impl Observer for Heard {
    fn heard(&self, answer: &Result<Edited, StoreError>) {
        self.branches.heard(&self.store, answer);
    }

    fn keep(&self, _rows: &RecordBatch) -> Result<(), Diagnosis> {
        Ok(())
    }
}
