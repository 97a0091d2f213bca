//! Sending a statement and waiting for its answer, whatever happens meanwhile.
//!
//! ```text
//! no rows in parameters, none back    one message; the answer is the count
//! rows of a COPY                      the statement, the data, their end (`copy_in`)
//! else                                prepared (and kept), the types of what comes back are looked at, then executed
//! told to stop, or too late           pg_cancel_backend over another connection, again and again, until there is an answer
//! ```
//!
//! **Invariants:** nothing is executed whose rows could be misread; an answer is read to its end, also behind a value that cannot be
//! given, and no more than [`GATHER_BYTES_MAX`] of it are kept; no request to cancel is under way when this returns.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use futures::TryStreamExt;
use futures::stream::BoxStream;
use sqlx::postgres::{PgArguments, PgColumn, PgQueryResult, PgRow};
use sqlx::{
    Arguments, AssertSqlSafe, Column as _, Connection, Either, Executor, PgConnection, Row, SqlSafeStr, Statement as _, ValueRef,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::super::super::connector::GATHER_BYTES_MAX;
use super::super::super::edit::Edited;
use super::super::super::error::StoreError;
use super::super::branch::Inner;
use super::super::error;
use super::super::job::{Item, Job};
use super::super::pool::{Lease, State};
use super::super::scan::{Cells, cells, finish};
use super::copy_in;
use super::statement::{Parameters, Returned, Statement};
use crate::error::sqlstate;
use crate::pgtype::PgType;

/// How long an answer is waited for between two requests to cancel. One that comes before the statement has begun does nothing.
const AGAIN: Duration = Duration::from_secs(1);
/// What a statement waits for.
const ANSWER: &str = "the answer to a statement that writes";

/// Rows and counts as they come.
type Answers<'a> = BoxStream<'a, Result<Either<PgQueryResult, PgRow>, sqlx::Error>>;

/// Why an edit failed.
pub(super) enum Failure {
    /// The connection was gone before anything was executed.
    Unsent(StoreError),
    /// It has changed nothing. A transaction that it belongs to has failed.
    Refused(StoreError),
    /// Its answer is lost.
    Lost(StoreError),
}

/// Why a statement is asked to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    /// Its caller wants it to.
    Stop,
    /// Its deadline has passed.
    Late,
}

/// What sending comes to besides an answer.
pub(super) enum Problem {
    /// Of the connection or the server, before the statement was executed.
    Early(sqlx::Error),
    /// Of the connection or the server, afterwards.
    Server(sqlx::Error),
    /// A look at the answer forbids the statement, which has not been executed.
    Changed(StoreError),
    /// The statement was executed, and a value that it gave back cannot be given.
    Unreadable(StoreError),
}

/// Runs a statement. The connection is in the state `after` then, or unusable.
///
/// # Errors
/// What has happened to the statement, and why.
pub(super) async fn run(
    inner: &Inner,
    lease: &mut Lease,
    statement: &Statement,
    stop: &CancellationToken,
    after: State,
) -> Result<Edited, Failure> {
    if stop.is_cancelled() {
        return Err(Failure::Refused(StoreError::Cancelled));
    }
    let process_id = lease.process_id();
    let connection = lease.connection().map_err(Failure::Unsent)?;
    let fillers = copy_in::fillers(&inner.settings.connect);
    let (answer, told) = Box::pin(attend(inner, process_id, stop, Box::pin(statement.send(connection, fillers)))).await;
    // The statement still runs: its session ends with the lease.
    let Some(answer) = answer else { return Err(Failure::Lost(late(inner))) };
    let outcome = match answer {
        Ok(edited) => Ok(edited),
        Err(Problem::Changed(error) | Problem::Unreadable(error)) => Err(Failure::Refused(error)),
        Err(Problem::Early(problem)) => Err(statement.failure(&problem, (inner, told), Failure::Unsent)),
        Err(Problem::Server(problem)) => Err(statement.failure(&problem, (inner, told), Failure::Lost)),
    };
    match &outcome {
        Err(Failure::Unsent(_) | Failure::Lost(_)) => lease.settle(State::Broken),
        Err(Failure::Refused(error)) if is_stale(error) => forget_statements(inner, lease, after).await,
        Ok(_) | Err(Failure::Refused(_)) => lease.settle(after),
    }
    if told.is_none() || matches!(outcome, Err(Failure::Unsent(_) | Failure::Lost(_))) {
        return outcome;
    }
    // The last request may have come after the end of the statement.
    if after != State::Transaction {
        lease.settle(State::Broken);
        return outcome;
    }
    match drain(inner, lease).await {
        Ok(false) => outcome,
        Ok(true) => outcome.and(Err(Failure::Refused(StoreError::Cancelled))),
        Err(error) => Err(Failure::Lost(error)),
    }
}

/// Waits for the answer of `work`, and asks the server to end it when it is to stop. `None` when it does not answer even then.
async fn attend<T>(
    inner: &Inner,
    process_id: i32,
    stop: &CancellationToken,
    work: impl Future<Output = T>,
) -> (Option<T>, Option<Told>) {
    let mut work = std::pin::pin!(work);
    // The work goes on behind each `select!`, and the others lose nothing.
    let told = tokio::select! {
        biased;
        answer = &mut work => return (Some(answer), None),
        () = stop.cancelled() => Told::Stop,
        () = tokio::time::sleep(inner.settings.deadline) => Told::Late,
    };
    let patience = match told {
        Told::Stop => inner.settings.deadline,
        Told::Late => inner.settings.connect_timeout,
    };
    let begun = Instant::now();
    while begun.elapsed() < patience {
        cancel(inner, process_id).await;
        tokio::select! {
            biased;
            answer = &mut work => return (Some(answer), Some(told)),
            () = tokio::time::sleep(AGAIN) => {}
        }
    }
    (None, Some(told))
}

/// Asks the server to end what a connection runs.
pub(super) async fn cancel(inner: &Inner, process_id: i32) {
    let sql = format!("SELECT pg_catalog.pg_cancel_backend({process_id})");
    if let Err(error) = Box::pin(inner.pools.control.acquire_with(&sql)).await {
        tracing::debug!(store = %inner.name, %error, "a statement could not be cancelled");
    }
}

/// Reads what an abandoned statement left on a connection in a transaction. Gives whether the server reported a failure, with which the
/// transaction has failed too.
///
/// # Errors
/// The connection is lost.
pub(super) async fn drain(inner: &Inner, lease: &mut Lease) -> Result<bool, StoreError> {
    let mut has_failed = false;
    loop {
        let connection = lease.connection()?;
        let problem = match tokio::time::timeout(inner.settings.deadline, connection.ping()).await {
            Ok(Ok(())) => break,
            Ok(Err(problem)) => error::running(&inner.name, &problem),
            // The statement still runs: its session ends with the lease.
            Err(_) => return Err(late(inner)),
        };
        // Each turn takes a message of the server.
        if matches!(problem, StoreError::ConnectionLost { .. }) {
            lease.settle(State::Broken);
            return Err(problem);
        }
        has_failed = true;
    }
    lease.settle(State::Transaction);
    Ok(has_failed)
}

/// Drops the statements that a connection keeps: one of them was made for a table that has changed.
pub(super) async fn forget_statements(inner: &Inner, lease: &mut Lease, after: State) {
    let Ok(connection) = lease.connection() else { return };
    let forgotten = tokio::time::timeout(inner.settings.connect_timeout, connection.clear_cached_statements()).await;
    lease.settle(if matches!(forgotten, Ok(Ok(()))) { after } else { State::Broken });
}

/// What a statement that is kept, or the session behind a connection, no longer fits says.
fn is_stale(error: &StoreError) -> bool {
    match error {
        StoreError::SchemaChanged { .. } => true,
        StoreError::Remote { sqlstate, .. } => sqlstate == sqlstate::INVALID_SQL_STATEMENT_NAME,
        _ => false,
    }
}

fn late(inner: &Inner) -> StoreError {
    error::deadline(&inner.name, inner.settings.deadline, ANSWER)
}

impl Statement {
    /// `fillers` go before the end of a COPY.
    async fn send(&self, connection: &mut PgConnection, fillers: usize) -> Result<Edited, Problem> {
        let text = AssertSqlSafe(Arc::clone(&self.text));
        let Some(returned) = &self.returned else {
            let rows = match &self.parameters {
                Parameters::Load(load) => {
                    let rows = copy_in::send(connection, self, load, fillers).await?;
                    return Ok(Edited { rows, returned: None });
                }
                Parameters::None => gather(Executor::fetch_many(connection, sqlx::raw_sql(text)), &mut None).await,
                Parameters::Row(_) | Parameters::Columns(_) => {
                    let prepared = Executor::prepare(&mut *connection, text.into_sql_str()).await.map_err(Problem::Early)?;
                    let query = prepared.query_with(self.arguments().map_err(Problem::Early)?);
                    gather(Executor::fetch_many(connection, query), &mut None).await
                }
            };
            return Ok(Edited { rows: rows.map_err(Problem::Server)?, returned: None });
        };
        let prepared = Executor::prepare(&mut *connection, text.into_sql_str()).await.map_err(Problem::Early)?;
        if !returned.is_as_discovered(prepared.columns()) {
            return Err(Problem::Changed(self.changed("Its columns or their types differ from what was discovered.".to_owned())));
        }
        let mut reading = Some(Reading::of(returned));
        let query = prepared.query_with(self.arguments().map_err(Problem::Early)?);
        let rows = gather(Executor::fetch_many(connection, query), &mut reading).await.map_err(Problem::Server)?;
        let returned = reading.map(Reading::finish).transpose().map_err(Problem::Unreadable)?;
        Ok(Edited { rows, returned })
    }

    fn arguments(&self) -> Result<PgArguments, sqlx::Error> {
        let mut arguments = PgArguments::default();
        match &self.parameters {
            Parameters::None | Parameters::Load(_) => {}
            Parameters::Row(texts) => {
                for text in texts {
                    arguments.add(text.as_deref()).map_err(sqlx::Error::Encode)?;
                }
            }
            Parameters::Columns(columns) => {
                for texts in columns {
                    arguments.add(texts.as_slice()).map_err(sqlx::Error::Encode)?;
                }
            }
        }
        Ok(arguments)
    }

    /// Whether it is a COPY.
    pub(super) fn is_load(&self) -> bool {
        matches!(self.parameters, Parameters::Load(_))
    }

    /// What a failure of the server or the connection means. `gone` is what a lost connection means.
    fn failure(&self, problem: &sqlx::Error, (inner, told): (&Inner, Option<Told>), gone: fn(StoreError) -> Failure) -> Failure {
        let error = match &self.parameters {
            Parameters::Load(_) => error::copying(&self.store, problem, &self.table.id.name),
            _ => error::running(&self.store, problem),
        };
        let is_cancelled = matches!(&error, StoreError::Remote { sqlstate, .. } if sqlstate == sqlstate::QUERY_CANCELED);
        match told {
            _ if matches!(error, StoreError::ConnectionLost { .. }) => gone(error),
            Some(Told::Stop) if is_cancelled => Failure::Refused(StoreError::Cancelled),
            Some(Told::Late) if is_cancelled => Failure::Refused(late(inner)),
            _ if self.defines => Failure::Refused(error),
            _ if error::is_of_another_plan(problem) => {
                Failure::Refused(self.changed("Its columns have changed since they were discovered.".to_owned()))
            }
            _ if error::is_inside_function(problem) => Failure::Refused(advised(error)),
            _ => Failure::Refused(error::scanning(error, std::slice::from_ref(&self.table))),
        }
    }

    fn changed(&self, difference: String) -> StoreError {
        StoreError::SchemaChanged { store: self.store.to_string(), table: self.table.id.name.clone(), difference }
    }
}

/// A trigger that names its tables without their schema finds none on our connections.
fn advised(mut error: StoreError) -> StoreError {
    if let StoreError::Remote { sqlstate, detail, .. } = &mut error
        && sqlstate == sqlstate::UNDEFINED_TABLE
        && detail.is_none()
    {
        *detail = Some("The search_path is empty here: the function should have a SET search_path of its own.".to_owned());
    }
    error
}

/// Reads an answer to its end. Gives how many rows the server says it was about.
async fn gather(mut answers: Answers<'_>, reading: &mut Option<Reading<'_>>) -> Result<u64, sqlx::Error> {
    let mut rows = 0;
    while let Some(answer) = answers.try_next().await? {
        match (answer, reading.as_mut()) {
            (Either::Left(done), _) => rows += done.rows_affected(),
            (Either::Right(row), Some(reading)) => reading.take(&row),
            (Either::Right(_), None) => {}
        }
    }
    Ok(rows)
}

impl Returned {
    /// The binary form of a value says nothing of its type; the description of the statement does.
    fn is_as_discovered(&self, given: &[PgColumn]) -> bool {
        let number = self.is_numbered.then_some(PgType::INT8.oid);
        let wanted: Vec<u32> = self.job.items.iter().map(Item::returned_type).chain(number).collect();
        let is_alike = |(wanted, given): (&u32, &PgColumn)| given.type_info().oid().is_some_and(|oid| oid.0 == *wanted);
        wanted.len() == given.len() && wanted.iter().zip(given).all(is_alike)
    }
}

/// Rows of RETURNING on their way into a batch.
struct Reading<'r> {
    returned: &'r Returned,
    cells: Vec<Cells>,
    count: usize,
    /// How much has been kept.
    bytes: usize,
    /// The numbers of the rows, where they have some.
    numbers: Vec<i64>,
    broken: Option<StoreError>,
}

impl<'r> Reading<'r> {
    fn of(returned: &'r Returned) -> Self {
        Self { returned, cells: cells(&returned.job), count: 0, bytes: 0, numbers: Vec::new(), broken: None }
    }

    /// Takes a row, unless one before it could not be read: then nothing is kept any more.
    fn take(&mut self, row: &PgRow) {
        if self.broken.is_some() {
            return;
        }
        if let Err(error) = self.read(row) {
            (self.cells, self.numbers) = (Vec::new(), Vec::new());
            self.broken = Some(error);
        }
    }

    fn read(&mut self, row: &PgRow) -> Result<(), StoreError> {
        let job = &self.returned.job;
        self.bytes += append(&mut self.cells, row, job)?;
        if self.returned.is_numbered {
            let number = row.try_get(self.cells.len()).map_err(|problem| error::running(&job.store, &problem))?;
            self.numbers.push(number);
            self.bytes += size_of::<i64>();
        }
        self.count += 1;
        if self.bytes > GATHER_BYTES_MAX {
            let message = "too much is to be given back by one statement".to_owned();
            return Err(StoreError::remote(job.store.as_str(), sqlstate::OUT_OF_MEMORY, message));
        }
        Ok(())
    }

    /// The batch, in the order of the rows that were given.
    fn finish(mut self) -> Result<RecordBatch, StoreError> {
        if let Some(broken) = self.broken {
            return Err(broken);
        }
        let job = &self.returned.job;
        let batch = finish(job, &mut self.cells, self.count)?;
        if !self.returned.is_numbered || self.numbers.is_sorted() {
            return Ok(batch);
        }
        let mut order: Vec<u32> = (0_u32..).take(self.count).collect();
        order.sort_by_key(|place| usize::try_from(*place).ok().and_then(|place| self.numbers.get(place)));
        take_record_batch(&batch, &UInt32Array::from(order)).map_err(|problem| job.changed(&problem))
    }
}

/// Adds a row. Gives about how large it is.
///
/// # Errors
/// A value that cannot be given.
pub(super) fn append(columns: &mut [Cells], row: &PgRow, job: &Job) -> Result<usize, StoreError> {
    let mut bytes = 0;
    for (place, column) in columns.iter_mut().enumerate() {
        let value = raw(row, place).map_err(|problem| error::running(&job.store, &problem))?;
        bytes += 4 + value.map_or(0, <[u8]>::len);
        column.append(value).map_err(|unfit| unfit.in_scan(job))?;
    }
    Ok(bytes)
}

/// A value of a row as it came; `None` is NULL.
fn raw(row: &PgRow, place: usize) -> Result<Option<&[u8]>, sqlx::Error> {
    let value = row.try_get_raw(place)?;
    if value.is_null() {
        return Ok(None);
    }
    value.as_bytes().map(Some).map_err(sqlx::Error::Decode)
}
