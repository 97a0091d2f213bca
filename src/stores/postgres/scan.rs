//! Running a statement that is ready to be sent: the COPY stream that becomes Arrow batches.
//!
//! ```text
//! Job → COPY (…) TO STDOUT (FORMAT BINARY) → Frames → a decoder per column → RecordBatch → channel → stream
//! ```
//!
//! The reader is a task that owns the connection. It starts a batch only when the last one has been taken, so it is at most
//! one batch ahead, and the rest waits in the socket. Dropping the stream ends the task, and the connection goes the way of a
//! running one (`pool.rs`). Deliberately absent: what the statement says (`job.rs`), and which pages of a table it reads (`branch/ranges.rs`).

use std::future::poll_fn;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use tokio::sync::{mpsc, oneshot};

use super::super::connector::{BatchStream, StoreName};
use super::super::error::StoreError;
use super::super::relational::documents::{DocumentCells, in_order};
use super::copy::{Frames, Malformed, Step};
use super::documents::REPEATED;
use super::error;
use super::job::{Item, Job};
use super::patience::Patience;
use super::pool::{Lease, State};
use super::types::{self, Broken, Decoder};
use crate::task::OwnedTask;

/// Arrow counts the bytes of a text column with 31 bits; a batch stays far below even where a limit is set higher.
const BATCH_BYTES_MAX: usize = 256 << 20;

/// What the reading task sends.
enum Message {
    Batch(RecordBatch),
    Failed(StoreError),
    /// The answer has been read to its end; a channel that closes without it is a lost scan, never a short one.
    End,
}

/// Sends the statement, waits until the server has begun to answer, and returns the stream. PostgreSQL holds back the start of
/// its answer until it has some rows to send or has come to the end; dropping the future meanwhile ends the session.
///
/// # Errors
/// What the server answered to the statement.
pub(super) async fn start(lease: Lease, job: Job) -> Result<BatchStream, StoreError> {
    let store = job.store.clone();
    let (started, start) = oneshot::channel();
    let (sender, receiver) = mpsc::channel(1);
    let task = OwnedTask::spawn(Box::pin(work(lease, job, started, sender)));
    start.await.unwrap_or_else(|_| Err(lost(&store)))?;
    let state = Some((receiver, task));
    Ok(futures::stream::unfold(state, move |state| next(state, store.clone())).boxed())
}

type Reading = (mpsc::Receiver<Message>, OwnedTask<()>);

async fn next(state: Option<Reading>, store: StoreName) -> Option<(Result<RecordBatch, StoreError>, Option<Reading>)> {
    let (mut receiver, task) = state?;
    match receiver.recv().await {
        Some(Message::Batch(batch)) => Some((Ok(batch), Some((receiver, task)))),
        Some(Message::Failed(error)) => Some((Err(error), None)),
        Some(Message::End) => None,
        None => Some((Err(lost(&store)), None)),
    }
}

fn lost(store: &StoreName) -> StoreError {
    StoreError::ConnectionLost { store: store.to_string(), reason: "The scan ended before its answer did.".to_owned() }
}

type Started = oneshot::Sender<Result<(), StoreError>>;

async fn work(mut lease: Lease, job: Job, started: Started, batches: mpsc::Sender<Message>) {
    let mut started = Some(started);
    let outcome = Box::pin(read(&mut lease, &job, &mut started, &batches)).await;
    match &outcome {
        Ok(()) => lease.settle(job.after),
        // The server has ended the statement itself; sqlx may have left a message unread.
        Err(_) if job.ended_by_server.load(Ordering::Relaxed) => lease.settle(State::Broken),
        // We gave up and the statement still runs: its session will be ended.
        Err(_) => {}
    }
    drop(lease);
    // A send fails only when nobody listens any more.
    let _ = match (outcome, started) {
        (Err(error), Some(started)) => started.send(Err(error)).is_ok(),
        (Err(error), None) => batches.send(Message::Failed(error)).await.is_ok(),
        (Ok(()), _) => batches.send(Message::End).await.is_ok(),
    };
}

async fn read(
    lease: &mut Lease,
    job: &Job,
    started: &mut Option<Started>,
    batches: &mpsc::Sender<Message>,
) -> Result<(), StoreError> {
    let statement = job.copy();
    let connection = lease.connection()?;
    let chunks = match tokio::time::timeout(job.deadline, connection.copy_out_raw(&statement)).await {
        Ok(chunks) => chunks.map_err(|problem| job.server_error(&problem))?,
        Err(_) => return Err(error::deadline(&job.store, job.deadline, "a scan to start")),
    };
    if let Some(started) = started.take() {
        let _ = started.send(Ok(()));
    }
    let mut source = Source { chunks, frames: Frames::default(), patience: Patience::new(job.deadline), job };
    let mut cells = cells(job);
    loop {
        let Ok(room) = batches.reserve().await else { return Err(StoreError::Cancelled) };
        let filled = source.fill(&mut cells).await?;
        if filled.rows > 0 {
            room.send(Message::Batch(finish(job, &mut cells, filled.rows)?));
        }
        if filled.ended {
            return source.drain().await;
        }
    }
}

/// What one turn of reading brought.
#[derive(Default)]
struct Filled {
    rows: usize,
    bytes: usize,
    ended: bool,
}

/// The COPY stream and the rows found in it.
struct Source<'a> {
    chunks: BoxStream<'a, Result<Bytes, sqlx::Error>>,
    frames: Frames,
    patience: Patience,
    job: &'a Job,
}

impl Source<'_> {
    /// Reads rows until the batch is full or the answer ends.
    async fn fill(&mut self, cells: &mut [Cells]) -> Result<Filled, StoreError> {
        let mut filled = Filled::default();
        poll_fn(|context| self.poll_fill(cells, &mut filled, context)).await?;
        Ok(filled)
    }

    /// As [`Source::fill`], as far as there is something to read. A loop without futures of its own: most messages are there
    /// already, and a message is one row.
    fn poll_fill(&mut self, cells: &mut [Cells], filled: &mut Filled, context: &mut Context<'_>) -> Poll<Result<(), StoreError>> {
        let rows_max = self.job.limits.batch_rows.max(1);
        let bytes_max = self.job.limits.batch_bytes.min(BATCH_BYTES_MAX);
        while filled.rows < rows_max && (filled.bytes < bytes_max || filled.rows == 0) {
            match self.frames.row(cells, Cells::append) {
                Ok(Step::Row(bytes)) => {
                    filled.rows += 1;
                    filled.bytes += bytes;
                }
                Ok(Step::End) => {
                    filled.ended = true;
                    break;
                }
                Ok(Step::More) => match ready!(self.poll_chunk(context))? {
                    Some(chunk) => self.frames.push(chunk),
                    None => return Poll::Ready(Err(self.job.malformed(&Malformed("it has no trailer")))),
                },
                Err(unfit) => return Poll::Ready(Err(unfit.in_scan(self.job))),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Reads what follows the trailer, so that the connection can be used again.
    async fn drain(&mut self) -> Result<(), StoreError> {
        while poll_fn(|context| self.poll_chunk(context)).await?.is_some() {}
        Ok(())
    }

    /// The next message.
    #[inline]
    fn poll_chunk(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>, StoreError>> {
        let job = self.job;
        match self.chunks.poll_next_unpin(context) {
            Poll::Ready(chunk) => {
                self.patience.renew();
                Poll::Ready(chunk.transpose().map_err(|problem| job.server_error(&problem)))
            }
            Poll::Pending => {
                ready!(self.patience.poll_exhausted(context));
                Poll::Ready(Err(error::deadline(&job.store, job.deadline, "the next rows of a scan")))
            }
        }
    }
}

/// The growing arrays of one selected item.
pub(super) enum Cells {
    /// The item's place among those of the job, for what is said of its values.
    Plain {
        output: usize,
        item: usize,
        decoder: Box<dyn Decoder>,
    },
    Document {
        item: usize,
        is_jsonb: bool,
        cells: Box<DocumentCells>,
    },
}

/// Cells without rows, one for each item of the answer.
pub(super) fn cells(job: &Job) -> Vec<Cells> {
    let rows = job.limits.batch_rows.min(8_192);
    let cells = job.items.iter().enumerate().map(|(item, selected)| match selected {
        Item::Plain { output, field, .. } => Cells::Plain { output: *output, item, decoder: types::decoder(field, rows) },
        Item::Document { part, is_jsonb, .. } => {
            Cells::Document { item, is_jsonb: *is_jsonb, cells: Box::new(DocumentCells::new(part, REPEATED)) }
        }
    });
    cells.collect()
}

/// Why a row cannot be read.
pub(super) enum Unfit {
    Row(Malformed),
    /// A value of this item.
    Value(usize, Box<Broken>),
    /// A value in a document of this item, by its path.
    Field(usize, String, Box<Broken>),
}

impl From<Malformed> for Unfit {
    fn from(problem: Malformed) -> Self {
        Self::Row(problem)
    }
}

impl Unfit {
    /// What the scan fails with.
    #[cold]
    pub(super) fn in_scan(self, job: &Job) -> StoreError {
        match self {
            Self::Row(problem) => job.malformed(&problem),
            Self::Value(item, broken) => job.broken(item, None, *broken),
            Self::Field(item, path, broken) => job.broken(item, Some(&path), *broken),
        }
    }
}

impl Cells {
    /// Adds a value in its binary form; `None` is NULL.
    #[inline]
    pub(super) fn append(&mut self, value: Option<&[u8]>) -> Result<(), Unfit> {
        match (self, value) {
            (Self::Plain { decoder, item, .. }, Some(value)) => decoder.value(value).map_err(|broken| Unfit::Value(*item, broken)),
            (Self::Plain { decoder, .. }, None) => {
                decoder.null();
                Ok(())
            }
            (Self::Document { item, is_jsonb, cells }, value) => append_document(*item, *is_jsonb, cells, value),
        }
    }

    fn finish(&mut self, job: &Job) -> Result<Vec<(usize, ArrayRef)>, StoreError> {
        match self {
            Self::Plain { output, item, decoder } => {
                let array = decoder.finish().map_err(|broken| Unfit::Value(*item, broken).in_scan(job))?;
                Ok(vec![(*output, array)])
            }
            Self::Document { cells, .. } => cells.finish().map_err(|problem| job.changed(&problem)),
        }
    }
}

fn append_document(item: usize, is_jsonb: bool, cells: &mut DocumentCells, value: Option<&[u8]>) -> Result<(), Unfit> {
    let Some(value) = value else {
        cells.append_null();
        return Ok(());
    };
    let text = types::json_text(value, is_jsonb).map_err(|broken| Unfit::Value(item, broken.into()))?;
    cells.append(text).map_err(|misfit| {
        let broken = Broken { sqlstate: misfit.sqlstate, rule: misfit.rule };
        Unfit::Field(item, misfit.path, broken.into())
    })
}

/// The batch of the rows so far. The cells are empty then.
pub(super) fn finish(job: &Job, cells: &mut [Cells], rows: usize) -> Result<RecordBatch, StoreError> {
    let mut arrays = Vec::with_capacity(job.schema.fields().len());
    for cells in cells {
        arrays.extend(cells.finish(job)?);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(job.schema.clone(), in_order(arrays), &options).map_err(|problem| job.changed(&problem))
}
