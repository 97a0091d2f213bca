//! One read, of a table or of a part of a plan: a prepared statement whose binary rows go straight into Arrow builders, in a task
//! of its own.
//!
//! ```text
//! Scan ─ statement ─┐
//! Fragment ─ its SQL ┴ bound parameters → task: fetch → gather.rs: a Reader per column → batch ─ channel of 1 → BatchStream
//!                                          └ stream dropped, or the branch stopped → KILL QUERY from a control connection
//! ```
//!
//! **Invariants:** a stream ends only after the server said that the rows ended: a task that vanishes is an error, not a
//! short result. A connection with rows left to read is closed, or, when a transaction hangs on it, drained after the kill
//! through the very stream that was reading: the driver keeps half a packet there and nowhere else.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use sqlx::AssertSqlSafe;
use sqlx::mysql::{MySql, MySqlArguments, MySqlRow};
use sqlx::query::Query;
use tokio::sync::{OwnedMutexGuard, mpsc};
use tokio_util::sync::CancellationToken;

use super::super::connector::{BatchStream, Scan, ScanLimits};
use super::super::error::StoreError;
use super::super::lock::{RowLock, SortKey, Strength, Waiting};
use super::super::relational::documents::{Selected, select};
use super::super::relational::{Dialect, Sql, Unwritable, embedded, write_all};
use super::super::schema::Table;
use super::super::value::Value;
use super::Shared;
use super::error::{Place, may_end_transaction};
use super::gather::{Gathering, Source};
use super::options::ZeroDate;
use super::pool::Lease;
use super::pushdown::Spelled;
use super::ready::Ready;
use super::types::Policy;
use crate::error::sqlstate;

/// The first batch is small so that the first row is early; each next one is four times larger, up to the limit.
const FIRST_BATCH_ROWS: usize = 128;

/// How often a query is killed whose connection must live on: a kill between two steps of a query is lost.
pub(super) const KILLS_MAX: usize = 3;

/// The most parameters of a prepared statement, a number of two bytes in the protocol.
pub(super) const PARAMETERS_MAX: usize = 65_535;

/// An edit with more parameters is prepared each time: its text depends on how many rows it writes.
const KEPT_PARAMETERS_MAX: usize = 64;

/// The statement that reads `scan`.
///
/// # Errors
/// When a value of the filter cannot be sent.
pub(super) fn statement(table: &Table, scan: &Scan) -> Result<Sql, Unwritable> {
    let mut sql = Sql::bound(Dialect::MySql);
    sql.push("SELECT ");
    write_selected(table, &scan.columns, &mut sql)?;
    sql.push(if scan.columns.is_empty() { "1 FROM " } else { " FROM " });
    sql.push(&Dialect::MySql.table(&table.id));
    write_all(&scan.filter, &Spelled { table, alias: None }, &mut sql)?;
    if let Some(limit) = scan.limit {
        sql.push(" LIMIT ");
        sql.push(itoa::Buffer::new().format(limit));
    }
    bounded(sql)
}

/// Writes what is selected of some columns, with commas between.
///
/// # Errors
/// A column that the table does not have.
pub(super) fn write_selected(table: &Table, ordinals: &[usize], sql: &mut Sql) -> Result<(), Unwritable> {
    for (number, item) in selected(table, ordinals)?.iter().enumerate() {
        sql.push(if number == 0 { "" } else { ", " });
        sql.push_name(source_of(table, item).map_or("", |(name, _)| name));
    }
    Ok(())
}

/// The statement, when the protocol can carry its parameters.
///
/// # Errors
/// When there are too many.
pub(super) fn bounded(sql: Sql) -> Result<Sql, Unwritable> {
    if sql.values().len() > PARAMETERS_MAX {
        return Err(Unwritable("is one of too many for one statement"));
    }
    Ok(sql)
}

/// What is selected of some columns.
///
/// # Errors
/// A column that the table does not have.
pub(super) fn selected(table: &Table, ordinals: &[usize]) -> Result<Vec<Selected>, Unwritable> {
    select(table, ordinals).ok_or(Unwritable("belongs to no column of the table"))
}

/// The store's own name and type of what is selected.
pub(super) fn source_of<'t>(table: &'t Table, item: &Selected) -> Option<(&'t str, &'t str)> {
    match item {
        Selected::Plain { ordinal, .. } => table.columns.get(*ordinal).map(|column| (column.name(), column.native_type.as_str())),
        Selected::Document(part) => {
            let source = embedded::source(&table.columns.get(part.ordinal)?.field)?;
            Some((source.column, source.native_type))
        }
    }
}

/// The connection that a scan reads from.
#[derive(Debug)]
pub(super) enum Seat {
    /// A connection of the scan's own, in no transaction.
    Own(Lease),
    /// A connection of the scan's own, inside a snapshot of its statement, and where it goes then.
    Snapshot(Lease, Arc<Ready>),
    /// A connection that a transaction hangs on; the lock is held as long as the scan reads.
    Pinned(OwnedMutexGuard<Option<Lease>>),
}

impl Seat {
    fn lease(&mut self) -> Option<&mut Lease> {
        match self {
            Self::Own(lease) | Self::Snapshot(lease, _) => Some(lease),
            Self::Pinned(guard) => guard.as_mut(),
        }
    }
}

/// What the task tells the stream.
enum Event {
    Batch(RecordBatch),
    Failed(StoreError),
    /// All rows were read.
    Done,
}

/// How reading ended.
pub(super) enum Ending {
    /// The server said that there are no more rows.
    Complete,
    /// The server refused or gave up; its connection is ready for the next statement.
    Refused(StoreError),
    /// We gave up, and the server may still be sending.
    Abandoned(StoreError),
    /// The connection is gone.
    Lost(StoreError),
    /// Nobody reads the stream any more.
    Unwanted,
}

/// How an attempt to read ended, and what it left behind.
struct Outcome {
    ending: Ending,
    /// Whether no row had come yet.
    untouched: bool,
    /// Whether the connection has nothing left to read.
    at_rest: bool,
}

/// The answer to the query. It must outlive every future that reads from it, because a packet that is half read is kept in
/// it alone.
pub(super) struct Rows<'a> {
    stream: BoxStream<'a, Result<MySqlRow, sqlx::Error>>,
    /// Whether the query has been sent, or at least begun to be.
    asked: bool,
    /// Whether a row has come.
    answered: bool,
    /// Whether the answer has come to its end; the stream must not be asked again.
    ended: bool,
    /// Whether it was an error with which the transaction may be gone.
    is_doubtful: bool,
}

impl Rows<'_> {
    /// The next row. Cancel-safe.
    pub(super) async fn next(&mut self) -> Result<Option<MySqlRow>, sqlx::Error> {
        self.asked = true;
        let row = self.stream.try_next().await;
        self.answered |= matches!(row, Ok(Some(_)));
        self.ended = !matches!(row, Ok(Some(_)));
        self.is_doubtful |= row.as_ref().is_err_and(may_end_transaction);
        row
    }

    /// Reads to the end, or to the server's error. False when the connection is gone.
    async fn drain(&mut self) -> bool {
        loop {
            match self.stream.try_next().await {
                Ok(Some(_)) => {}
                Ok(None) => return true,
                Err(error) => {
                    self.is_doubtful |= may_end_transaction(&error);
                    return matches!(error, sqlx::Error::Database(_));
                }
            }
        }
    }
}

/// A value in one of the forms that are bound.
enum Parameter {
    Int(i64),
    Float(f64),
    Text(String),
    Bytes(Vec<u8>),
}

impl Parameter {
    fn of(value: Value) -> Result<Self, Unwritable> {
        match value {
            Value::Int(number) => Ok(Self::Int(number)),
            Value::Float(number) => Ok(Self::Float(number)),
            Value::Text(text) => Ok(Self::Text(text)),
            Value::Bytes(bytes) => Ok(Self::Bytes(bytes)),
            // `Spelled::write_value` gives these as a number, or as text inside a cast.
            Value::Bool(_)
            | Value::Decimal { .. }
            | Value::Numeric(_)
            | Value::Date(_)
            | Value::Time(_)
            | Value::Timestamp(_)
            | Value::TimestampTz(_) => Err(Unwritable("has a type that the store takes no parameter of")),
        }
    }
}

/// One read, ready to run.
pub(super) struct Job {
    /// The store.
    pub(super) shared: Arc<Shared>,
    /// What is read.
    pub(super) source: Source,
    /// The columns of the batches.
    pub(super) schema: SchemaRef,
    /// The bounds of the batches.
    pub(super) limits: ScanLimits,
    /// The statement.
    pub(super) text: String,
    /// How values are read.
    pub(super) policy: Policy,
    parameters: Vec<Parameter>,
}

/// The error for a value that cannot be sent.
pub(super) fn refused(shared: &Shared, error: Unwritable) -> StoreError {
    StoreError::Remote {
        store: shared.name.to_string(),
        sqlstate: sqlstate::FEATURE_NOT_SUPPORTED.to_owned(),
        message: error.to_string(),
        detail: None,
        constraint: None,
        site: None,
    }
}

/// The words for the first rows of a table in an order. NULL is the least value here.
fn sorted(table: &Table, order: &[SortKey], limit: Option<u64>) -> String {
    let mut keys = Vec::with_capacity(order.len());
    for key in order {
        let Some(column) = table.columns.get(key.column) else { continue };
        let name = format!("{}.{}", Dialect::MySql.table(&table.id), Dialect::MySql.quote(column.name()));
        let direction = if key.descending { "DESC" } else { "ASC" };
        // An index gives the order of a column only.
        if column.field.is_nullable() && key.nulls_first == key.descending {
            keys.push(format!("{name} IS NULL {}", if key.nulls_first { "DESC" } else { "ASC" }));
        }
        keys.push(format!("{name} {direction}"));
    }
    let limit = limit.map(|limit| format!(" LIMIT {limit}")).unwrap_or_default();
    format!(" ORDER BY {}{limit}", keys.join(", "))
}

/// How a lock is spelled. InnoDB knows two strengths; only MySQL has a spelling for the weaker one that it takes words behind of.
fn lock_words(strength: Strength, waiting: Waiting) -> &'static str {
    match (strength, waiting) {
        (Strength::Update | Strength::NoKeyUpdate, _) => " FOR UPDATE",
        (Strength::Share | Strength::KeyShare, Waiting::Wait) => " LOCK IN SHARE MODE",
        (Strength::Share | Strength::KeyShare, Waiting::Skip | Waiting::Fail) => {
            " /*M! LOCK IN SHARE MODE */ /*!80001 FOR SHARE */"
        }
    }
}

impl Job {
    /// Prepares `scan`.
    ///
    /// # Errors
    /// When a value of the filter cannot be sent.
    pub(super) fn new(shared: &Arc<Shared>, table: &Arc<Table>, scan: &Scan, limits: ScanLimits) -> Result<Self, StoreError> {
        let sql = statement(table, scan).map_err(|error| refused(shared, error))?;
        let selected = selected(table, &scan.columns).map_err(|error| refused(shared, error))?;
        let source = Source::Table { table: Arc::clone(table), selected };
        Self::of(shared, source, table.project(&scan.columns), sql, limits)
    }

    /// Prepares a statement that has been written already.
    ///
    /// # Errors
    /// When a value cannot be sent.
    pub(super) fn of(
        shared: &Arc<Shared>,
        source: Source,
        schema: SchemaRef,
        sql: Sql,
        limits: ScanLimits,
    ) -> Result<Self, StoreError> {
        let (text, values) = sql.into_parts();
        let parameters: Result<_, Unwritable> = values.into_iter().map(Parameter::of).collect();
        let parameters = parameters.map_err(|error| refused(shared, error))?;
        Ok(Self { policy: shared.policy(), shared: Arc::clone(shared), source, schema, limits, text, parameters })
    }

    /// Prepares a scan whose rows nobody else changes until the transaction ends, and in which a day that no calendar has is an error.
    ///
    /// # Errors
    /// As [`Job::new`].
    pub(super) fn locking(shared: &Arc<Shared>, table: &Arc<Table>, scan: &Scan, limits: ScanLimits) -> Result<Self, StoreError> {
        let mut job = Self::new(shared, table, scan, limits)?;
        job.text.push_str(" FOR UPDATE");
        job.policy.zero_date = ZeroDate::Error;
        Ok(job)
    }

    /// Prepares a scan whose rows are locked for who reads them.
    ///
    /// # Errors
    /// As [`Job::new`].
    pub(super) fn held(
        shared: &Arc<Shared>,
        (table, scan): (&Arc<Table>, &Scan),
        (lock, order): (RowLock, &[SortKey]),
        limits: ScanLimits,
    ) -> Result<Self, StoreError> {
        let all = Scan { limit: scan.limit.filter(|_| order.is_empty()), ..scan.clone() };
        let mut job = Self::new(shared, table, &all, limits)?;
        if !order.is_empty() {
            job.text.push_str(&sorted(table, order, scan.limit));
        }
        job.text.push_str(lock_words(lock.strength, lock.waiting));
        job.text.push_str(lock.waiting.words());
        Ok(job)
    }

    /// Starts the task and gives its stream. `stop` ends the scan with [`StoreError::Cancelled`].
    pub(super) fn start(self, seat: Seat, stop: CancellationToken) -> BatchStream {
        let (sender, receiver) = mpsc::channel(1);
        let shared = Arc::clone(&self.shared);
        shared.spawn("mysql scan", Box::pin(self.run(seat, sender, stop)));
        let store = shared.name.clone();
        futures::stream::unfold(Some(receiver), move |receiver| {
            let store = store.clone();
            async move {
                let mut receiver = receiver?;
                match receiver.recv().await {
                    Some(Event::Batch(batch)) => Some((Ok(batch), Some(receiver))),
                    Some(Event::Failed(error)) => Some((Err(error), None)),
                    Some(Event::Done) => None,
                    // The task ended without a word: the store was closed while it read.
                    None => Some((Err(Place { store: &store, table: None }.lost("the scan was stopped")), None)),
                }
            }
        })
        .boxed()
    }

    async fn run(self, mut seat: Seat, sender: mpsc::Sender<Event>, stop: CancellationToken) {
        let mut outcome = self.attempt(&mut seat, &sender, &stop).await;
        // A connection may have died while it was idle. Nothing has been read then, so the query is sent once more.
        if let (Ending::Lost(_), true, Seat::Own(lease)) = (&outcome.ending, outcome.untouched, &seat)
            && lease.reused
        {
            drop(seat);
            self.shared.pool.forget_idle();
            match self.shared.pool.lease().await {
                Ok(lease) => {
                    seat = Seat::Own(lease);
                    outcome = self.attempt(&mut seat, &sender, &stop).await;
                }
                Err(error) => {
                    let _ = sender.send(Event::Failed(error)).await;
                    return;
                }
            }
        }
        self.close(outcome, seat, sender).await;
    }

    async fn attempt(&self, seat: &mut Seat, sender: &mpsc::Sender<Event>, stop: &CancellationToken) -> Outcome {
        let is_pinned = matches!(seat, Seat::Pinned(_));
        let Some(lease) = seat.lease() else {
            let ending = Ending::Lost(self.place().lost("the transaction has ended"));
            return Outcome { ending, untouched: false, at_rest: false };
        };
        let id = lease.session.id;
        let stream = self.query().fetch(&mut lease.session.connection);
        let mut rows = Rows { stream, asked: false, answered: false, ended: false, is_doubtful: false };
        // Cancel-safe: the rows outlive the future that reads them, so a packet that was half read stays with them.
        let ending = tokio::select! {
            biased;
            () = sender.closed() => Ending::Unwanted,
            () = stop.cancelled() => Ending::Abandoned(StoreError::Cancelled),
            ending = self.read(&mut rows, sender) => ending,
        };
        let (running, untouched) = (rows.asked && !rows.ended, !rows.answered);
        let is_left = running && matches!(ending, Ending::Abandoned(_) | Ending::Unwanted);
        let is_drained = is_left && is_pinned && self.stop_and_drain(id, &mut rows).await;
        // Also where nobody is left to hear of it.
        let is_doubtful = rows.is_doubtful;
        drop(rows);
        lease.is_doubtful |= is_doubtful;
        let at_rest = match &ending {
            Ending::Complete | Ending::Refused(_) => true,
            Ending::Lost(_) => false,
            Ending::Abandoned(_) | Ending::Unwanted if !running => true,
            Ending::Abandoned(_) | Ending::Unwanted if is_pinned => {
                // A kill that came too late for the query may hit the next statement: the first ping takes it.
                is_drained && (lease.ping().await.is_ok() || lease.ping().await.is_ok())
            }
            Ending::Abandoned(_) | Ending::Unwanted => {
                kill(&self.shared, id).await;
                false
            }
        };
        Outcome { ending, untouched, at_rest }
    }

    /// Where errors happen.
    pub(super) fn place(&self) -> Place<'_> {
        Place { store: &self.shared.name, table: Some(self.source.name()) }
    }

    /// Leaves the connection as its owner expects it, and tells the stream how it ended.
    async fn close(&self, outcome: Outcome, seat: Seat, sender: mpsc::Sender<Event>) {
        let event = match outcome.ending {
            Ending::Complete => Some(Event::Done),
            Ending::Refused(error) | Ending::Abandoned(error) => Some(Event::Failed(error)),
            Ending::Lost(error) => {
                self.shared.pool.forget_idle();
                Some(Event::Failed(error))
            }
            Ending::Unwanted => None,
        };
        // The connection first: the channel may be full, and whoever ends the transaction waits for the connection.
        if outcome.at_rest {
            return self.settle(seat, event.map(|event| (sender, event))).await;
        }
        if let Seat::Pinned(mut guard) = seat {
            *guard = None;
        }
        if let Some(event) = event {
            // A closed channel means that nobody waits for the news, so a failed send is no failure.
            let _ = sender.send(event).await;
        }
    }

    /// The connection has nothing left to read. It is free before the stream ends, so that the next statement, or the next scan of this
    /// one, finds it.
    async fn settle(&self, seat: Seat, news: Option<(mpsc::Sender<Event>, Event)>) {
        match seat {
            Seat::Own(lease) => lease.release(),
            Seat::Pinned(guard) => drop(guard),
            // Its snapshot may be gone, and then it is closed.
            Seat::Snapshot(lease, _) if lease.is_doubtful => drop(lease),
            Seat::Snapshot(lease, ready) => ready.put_back(lease),
        }
        if let Some((sender, event)) = news {
            let _ = sender.send(event).await;
        }
    }

    /// Stops the query that is running on a connection which a transaction needs, and reads what is left of its answer.
    /// False when the connection is of no more use.
    async fn stop_and_drain(&self, id: u64, rows: &mut Rows<'_>) -> bool {
        for _ in 0..KILLS_MAX {
            kill(&self.shared, id).await;
            match tokio::time::timeout(self.shared.settings.connect_timeout, rows.drain()).await {
                Ok(drained) => return drained,
                Err(_elapsed) => {}
            }
        }
        false
    }

    /// Whether it is worth it that the connection keeps the statement of an edit for the next time.
    pub(super) fn is_kept(&self) -> bool {
        self.parameters.len() <= KEPT_PARAMETERS_MAX
    }

    /// The most bytes of a message that the statement takes.
    pub(super) fn message_bytes(&self) -> usize {
        /// What goes with a parameter besides its value: a type, a bit and a length.
        const BESIDE: usize = 12;
        let bytes = |parameter: &Parameter| match parameter {
            Parameter::Int(_) | Parameter::Float(_) => size_of::<i64>(),
            Parameter::Text(text) => text.len(),
            Parameter::Bytes(bytes) => bytes.len(),
        };
        let values: usize = self.parameters.iter().map(|parameter| bytes(parameter) + BESIDE).sum();
        self.text.len().max(values) + BESIDE
    }

    /// The statement with its parameters.
    pub(super) fn query(&self) -> Query<'static, MySql, MySqlArguments> {
        self.parameters.iter().fold(sqlx::query(AssertSqlSafe(self.text.clone())), |query, parameter| match parameter {
            Parameter::Int(number) => query.bind(*number),
            Parameter::Float(number) => query.bind(*number),
            Parameter::Text(text) => query.bind(text.clone()),
            Parameter::Bytes(bytes) => query.bind(bytes.clone()),
        })
    }

    async fn read(&self, rows: &mut Rows<'_>, sender: &mpsc::Sender<Event>) -> Ending {
        let mut gathering = match Gathering::new(self) {
            Ok(gathering) => gathering,
            Err(error) => return Ending::Refused(error),
        };
        let mut rows_wanted = FIRST_BATCH_ROWS.min(self.limits.batch_rows).max(1);
        let limit = self.shared.settings.query_timeout;
        loop {
            let more = match tokio::time::timeout(limit, gathering.fill(rows, rows_wanted)).await {
                Ok(Ok(more)) => more,
                Ok(Err(ending)) => return ending,
                Err(_elapsed) => return Ending::Abandoned(self.late(limit, "the next rows")),
            };
            match gathering.finish() {
                Ok(Some(batch)) => {
                    if sender.send(Event::Batch(batch)).await.is_err() {
                        return Ending::Unwanted;
                    }
                }
                Ok(None) => {}
                Err(error) => return Ending::Abandoned(error),
            }
            if !more {
                return Ending::Complete;
            }
            rows_wanted = (rows_wanted * 4).min(self.limits.batch_rows).max(1);
        }
    }

    /// The error for an answer that did not come in time.
    pub(super) fn late(&self, limit: Duration, waiting_for: &'static str) -> StoreError {
        StoreError::Deadline {
            store: self.shared.name.to_string(),
            limit_ms: u64::try_from(limit.as_millis()).unwrap_or(u64::MAX),
            waiting_for,
        }
    }
}

/// Stops the query that is running on connection `id`.
pub(super) async fn kill(shared: &Shared, id: u64) {
    let killed = match shared.control.lease().await {
        Ok(mut control) => {
            let answer = control.kill_query(id).await;
            if answer.is_ok() {
                control.release();
            }
            answer
        }
        Err(error) => Err(error),
    };
    if let Err(error) = killed {
        tracing::warn!(store = %shared.name, error = %error, "a query could not be stopped");
    }
}
