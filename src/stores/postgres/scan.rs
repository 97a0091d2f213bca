//! One scan: the statement, and the COPY stream that becomes Arrow batches.
//!
//! ```text
//! Scan → statement → COPY (…) TO STDOUT (FORMAT BINARY) → Frames → a decoder per column → RecordBatch → channel → stream
//! ```
//!
//! The reader is a task that owns the connection. It starts a batch only when the last one has been taken, so it is at most
//! one batch ahead, and the rest waits in the socket. Dropping the stream ends the task, and the connection goes the way of a
//! running one (`pool.rs`). Deliberately absent: splitting one table over several connections.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use tokio::sync::{mpsc, oneshot};

use super::super::connector::{BatchStream, Scan, ScanLimits, StoreName};
use super::super::error::StoreError;
use super::super::predicate::Predicate;
use super::super::relational::documents::{DocumentCells, Selected, in_order, select};
use super::super::relational::{Dialect, Sql, Unwritable, embedded, literal, write_all};
use super::super::schema::Table;
use super::copy::{Frames, Malformed, Step};
use super::documents::REPEATED;
use super::error;
use super::patience::Patience;
use super::pool::{Lease, State};
use super::pushdown::Names;
use super::types::{self, Broken, Decoder, Form};
use crate::error::sqlstate;
use crate::task::OwnedTask;

/// Arrow counts the bytes of a text column with 31 bits; a batch stays far below even where a limit is set higher.
const BATCH_BYTES_MAX: usize = 256 << 20;

/// A scan that is ready to be sent.
pub(super) struct Job {
    store: StoreName,
    table: Arc<Table>,
    selected: Vec<Selected>,
    schema: SchemaRef,
    statement: String,
    limits: ScanLimits,
    deadline: Duration,
    /// What the connection is in the middle of once the answer has been read.
    after: State,
    /// Whether the statement has ended because the server said so, or because the connection is gone.
    ended_by_server: AtomicBool,
}

impl Job {
    /// Writes the statement of a scan.
    ///
    /// # Errors
    /// A filter value that cannot be written, which [`super::pushdown::judge`] would have refused.
    pub(super) fn new(
        table: &Arc<Table>,
        scan: &Scan,
        limits: ScanLimits,
        deadline: Duration,
        after: State,
    ) -> Result<Self, StoreError> {
        let mut sql = Sql::literal();
        let selected = write_select(table, scan, &mut sql).map_err(|Unwritable(rule)| unwritable(scan, rule))?;
        push_guard(table, scan, &mut sql).map_err(|Unwritable(rule)| unwritable(scan, rule))?;
        push_limit(scan, &mut sql);
        Ok(Self {
            store: scan.store.clone(),
            table: table.clone(),
            selected,
            schema: table.project(&scan.columns),
            statement: format!("COPY ({}) TO STDOUT (FORMAT BINARY)", sql.text()),
            limits,
            deadline,
            after,
            ended_by_server: AtomicBool::new(false),
        })
    }

    fn cells(&self) -> Vec<Cells> {
        let rows = self.limits.batch_rows.min(8_192);
        let cells = self.selected.iter().filter_map(|item| match item {
            Selected::Plain { output, ordinal } => {
                let decoder = types::decoder(&self.table.columns.get(*ordinal)?.field, rows);
                Some(Cells::Plain { output: *output, ordinal: *ordinal, decoder })
            }
            Selected::Document(part) => {
                let is_jsonb = types::is_jsonb(&self.table.columns.get(part.ordinal)?.field);
                let cells = Box::new(DocumentCells::new(part, REPEATED));
                Some(Cells::Document { column: part.column.clone(), is_jsonb, cells })
            }
        });
        cells.collect()
    }

    fn malformed(&self, problem: &Malformed) -> StoreError {
        StoreError::ConnectionLost { store: self.store.to_string(), reason: problem.to_string() }
    }

    #[cold]
    fn broken(&self, column: &str, broken: Broken) -> StoreError {
        error::value(&self.store, &self.table, column, broken)
    }

    fn changed(&self, problem: &arrow::error::ArrowError) -> StoreError {
        StoreError::SchemaChanged {
            store: self.store.to_string(),
            table: self.table.id.name.clone(),
            difference: format!("{problem}."),
        }
    }

    fn server_error(&self, problem: &sqlx::Error) -> StoreError {
        self.ended_by_server.store(true, Ordering::Relaxed);
        let failure = error::running(&self.store, problem);
        if error::is_inside_function(problem) { failure } else { error::scanning(failure, &self.table) }
    }
}

fn unwritable(scan: &Scan, rule: &'static str) -> StoreError {
    StoreError::Remote {
        store: scan.store.to_string(),
        sqlstate: sqlstate::INVALID_PARAMETER_VALUE.to_owned(),
        message: format!("a filter value {rule}"),
        detail: None,
        constraint: None,
    }
}

/// The statement as `EXPLAIN` shows it: values as placeholders, without the wrapping COPY and without the check of the
/// table's columns.
pub(super) fn describe(table: &Table, scan: &Scan) -> String {
    let mut sql = Sql::bound(Dialect::Postgres);
    match write_select(table, scan, &mut sql) {
        Ok(_) => {
            push_limit(scan, &mut sql);
            sql.text().to_owned()
        }
        Err(Unwritable(rule)) => format!("not sent: a filter value {rule}"),
    }
}

fn write_select(table: &Table, scan: &Scan, sql: &mut Sql) -> Result<Vec<Selected>, Unwritable> {
    let selected = select(table, &scan.columns).ok_or(Unwritable("belongs to no column of the table"))?;
    sql.push("SELECT");
    for (place, item) in selected.iter().enumerate() {
        sql.push(if place == 0 { " " } else { ", " });
        match item {
            Selected::Plain { ordinal, .. } => {
                let column = table.columns.get(*ordinal).ok_or(Unwritable("belongs to no column of the table"))?;
                sql.push_name(column.name());
                sql.push(Form::of(&column.field).cast());
            }
            Selected::Document(part) => sql.push_name(&part.column),
        }
    }
    sql.push(" FROM ");
    sql.push(&Dialect::Postgres.table(&table.id));
    write_all(&scan.filter, &Names(table), sql)?;
    Ok(selected)
}

fn push_limit(scan: &Scan, sql: &mut Sql) {
    if let Some(limit) = scan.limit {
        sql.push(" LIMIT ");
        sql.push(itoa::Buffer::new().format(limit));
    }
}

/// Adds a condition that is evaluated once and fails when a column is no longer of the discovered type.
///
/// A binary COPY carries no types: the bytes of a column that has become `real` would be read as an `integer` without any
/// sign of it. Table and check are read in the same statement, so there is no gap between them.
fn push_guard(table: &Table, scan: &Scan, sql: &mut Sql) -> Result<(), Unwritable> {
    let mut used: BTreeSet<usize> = scan.columns.iter().copied().collect();
    scan.filter.iter().for_each(|predicate| gather_columns(predicate, &mut used));
    let named = used.iter().filter_map(|ordinal| table.columns.get(*ordinal)).map(|column| match embedded::source(&column.field) {
        Some(source) => (source.column.to_owned(), source.native_type.to_owned()),
        None => (column.name().to_owned(), column.native_type.clone()),
    });
    let used: BTreeSet<(String, String)> = named.collect();
    if used.is_empty() {
        return Ok(());
    }
    let mut text = String::new();
    text.push_str(if scan.filter.is_empty() { " WHERE" } else { " AND" });
    text.push_str(" CASE WHEN (SELECT pg_catalog.count(*) FROM pg_catalog.pg_attribute a WHERE a.attrelid = ");
    literal::write_text(&Dialect::Postgres.table(&table.id), &mut text)?;
    text.push_str("::pg_catalog.regclass AND NOT a.attisdropped AND ");
    text.push_str("(a.attname::pg_catalog.text, pg_catalog.format_type(a.atttypid, a.atttypmod)) IN (");
    for (place, (name, native_type)) in used.iter().enumerate() {
        text.push_str(if place == 0 { "(" } else { ", (" });
        literal::write_text(name, &mut text)?;
        text.push_str(", ");
        literal::write_text(native_type, &mut text)?;
        text.push(')');
    }
    text.push_str(")) = ");
    text.push_str(itoa::Buffer::new().format(used.len()));
    // The sub-select keeps the planner from evaluating the failing cast ahead of time.
    text.push_str(" THEN TRUE ELSE (SELECT '");
    text.push_str(error::CHANGED_MARK);
    text.push_str("'::pg_catalog.text OFFSET 0)::pg_catalog.bool END");
    sql.push(&text);
    Ok(())
}

fn gather_columns(predicate: &Predicate, used: &mut BTreeSet<usize>) {
    match predicate {
        Predicate::Compare { column, .. }
        | Predicate::In { column, .. }
        | Predicate::IsNull { column, .. }
        | Predicate::Like { column, .. } => {
            used.insert(column.column);
        }
        Predicate::And(parts) | Predicate::Or(parts) => parts.iter().for_each(|part| gather_columns(part, used)),
    }
}

/// What the reading task sends.
enum Message {
    Batch(RecordBatch),
    Failed(StoreError),
    /// The answer has been read to its end; a channel that closes without it is a lost scan, never a short one.
    End,
}

/// Sends the statement, waits until the server has begun to answer, and returns the stream. PostgreSQL holds back the start of
/// its answer until it has some rows to send or has come to the end; dropping the future meanwhile cancels the statement.
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
        // We gave up and the statement still runs: it will be cancelled.
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
    let connection = lease.connection()?;
    let chunks = match tokio::time::timeout(job.deadline, connection.copy_out_raw(&job.statement)).await {
        Ok(chunks) => chunks.map_err(|problem| job.server_error(&problem))?,
        Err(_) => return Err(error::deadline(&job.store, job.deadline, "a scan to start")),
    };
    if let Some(started) = started.take() {
        let _ = started.send(Ok(()));
    }
    let mut source = Source { chunks, frames: Frames::default(), patience: Patience::new(job.deadline), job };
    let mut cells = job.cells();
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
enum Cells {
    Plain { output: usize, ordinal: usize, decoder: Box<dyn Decoder> },
    Document { column: String, is_jsonb: bool, cells: Box<DocumentCells> },
}

/// Why a row cannot be read.
enum Unfit {
    Row(Malformed),
    /// A value of the column in this place of the table.
    Value(usize, Box<Broken>),
    /// A value in a document, by its path.
    Field(String, Box<Broken>),
}

impl From<Malformed> for Unfit {
    fn from(problem: Malformed) -> Self {
        Self::Row(problem)
    }
}

impl Unfit {
    #[cold]
    fn in_scan(self, job: &Job) -> StoreError {
        match self {
            Self::Row(problem) => job.malformed(&problem),
            Self::Value(ordinal, broken) => {
                let column = job.table.columns.get(ordinal).map_or("?", |column| column.name());
                job.broken(column, *broken)
            }
            Self::Field(path, broken) => job.broken(&path, *broken),
        }
    }
}

impl Cells {
    #[inline]
    fn append(&mut self, value: Option<&[u8]>) -> Result<(), Unfit> {
        match (self, value) {
            (Self::Plain { decoder, ordinal, .. }, Some(value)) => {
                decoder.value(value).map_err(|broken| Unfit::Value(*ordinal, broken))
            }
            (Self::Plain { decoder, .. }, None) => {
                decoder.null();
                Ok(())
            }
            (Self::Document { column, is_jsonb, cells }, value) => append_document(column, *is_jsonb, cells, value),
        }
    }

    fn finish(&mut self, job: &Job) -> Result<Vec<(usize, ArrayRef)>, StoreError> {
        match self {
            Self::Plain { output, ordinal, decoder } => {
                let array = decoder.finish().map_err(|broken| Unfit::Value(*ordinal, broken).in_scan(job))?;
                Ok(vec![(*output, array)])
            }
            Self::Document { cells, .. } => cells.finish().map_err(|problem| job.changed(&problem)),
        }
    }
}

fn append_document(column: &str, is_jsonb: bool, cells: &mut DocumentCells, value: Option<&[u8]>) -> Result<(), Unfit> {
    let Some(value) = value else {
        cells.append_null();
        return Ok(());
    };
    let text = types::json_text(value, is_jsonb).map_err(|broken| Unfit::Field(column.to_owned(), broken.into()))?;
    cells.append(text).map_err(|misfit| {
        let broken = Broken { sqlstate: misfit.sqlstate, rule: misfit.rule };
        Unfit::Field(misfit.path, broken.into())
    })
}

fn finish(job: &Job, cells: &mut [Cells], rows: usize) -> Result<RecordBatch, StoreError> {
    let mut arrays = Vec::with_capacity(job.schema.fields().len());
    for cells in cells {
        arrays.extend(cells.finish(job)?);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(job.schema.clone(), in_order(arrays), &options).map_err(|problem| job.changed(&problem))
}
