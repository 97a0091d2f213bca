//! A client of the Postgres protocol that runs a query, keeps its answer and measures the time until the last row.
//!
//! Queries go by the simple protocol, so that answers of all servers come as text.

use std::time::{Duration, Instant};

use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Column, Connection, Row, TypeInfo, ValueRef, raw_sql};

use super::answer::Answer;
use crate::sandbox::Endpoint;

/// How much later than the server's own limit a query is given up here.
const GRACE: Duration = Duration::from_secs(10);
/// SQLSTATE `query_canceled`, which a statement timeout ends with.
const CANCELED: &str = "57014";

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// It took longer than the limit.
    TimedOut,
    /// The server's words.
    Refused(String),
}

/// An answer and how long it took.
#[derive(Debug, Clone)]
pub(super) struct Timed {
    pub(super) answer: Answer,
    pub(super) elapsed: Duration,
}

/// A connection that is opened at the first query, and again after one that was given up.
#[derive(Debug)]
pub(super) struct Client {
    endpoint: Endpoint,
    limit: Duration,
    connection: Option<PgConnection>,
}

impl Client {
    /// A client whose queries may take as long as `limit`.
    pub(super) fn new(endpoint: &Endpoint, limit: Duration) -> Self {
        Self { endpoint: endpoint.clone(), limit, connection: None }
    }

    /// Runs a query.
    ///
    /// # Errors
    /// The query's failure, or that of connecting.
    pub(super) async fn ask(&mut self, sql: &str) -> Result<Timed, Failure> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => open(&self.endpoint, self.limit).await.map_err(|error| failure(&error))?,
        };
        let started = Instant::now();
        let rows = raw_sql(AssertSqlSafe(sql.to_owned())).fetch_all(&mut connection);
        // The server that does not heed its own limit is left behind with the connection.
        let rows = tokio::time::timeout(self.limit + GRACE, rows).await.map_err(|_elapsed| Failure::TimedOut)?;
        let elapsed = started.elapsed();
        if !matches!(&rows, Err(error) if error.as_database_error().is_none()) {
            self.connection = Some(connection);
        }
        let rows = rows.map_err(|error| failure(&error))?;
        let answer = read(&rows).map_err(|error| Failure::Refused(error.to_string()))?;
        Ok(Timed { answer, elapsed })
    }
}

/// Connects to a server of the Postgres protocol with a limit for each statement; none where it is zero.
///
/// # Errors
/// What the server answered.
pub(super) async fn open(endpoint: &Endpoint, limit: Duration) -> Result<PgConnection, sqlx::Error> {
    let options = endpoint.postgres_options();
    let mut connection = PgConnection::connect_with(&options).await?;
    let set = format!("SET statement_timeout = {}", limit.as_millis());
    raw_sql(AssertSqlSafe(set)).execute(&mut connection).await?;
    Ok(connection)
}

fn failure(error: &sqlx::Error) -> Failure {
    let Some(told) = error.as_database_error() else { return Failure::Refused(error.to_string()) };
    match told.code().as_deref() {
        Some(CANCELED) => Failure::TimedOut,
        Some(code) => Failure::Refused(format!("{} ({code})", told.message())),
        None => Failure::Refused(told.message().to_owned()),
    }
}

fn read(rows: &[PgRow]) -> Result<Answer, sqlx::Error> {
    let is_float = |row: &PgRow, column: usize| {
        row.columns().get(column).is_some_and(|found| matches!(found.type_info().name(), "FLOAT4" | "FLOAT8"))
    };
    let floats = rows.first().map(|row| (0..row.len()).filter(|&column| is_float(row, column)).collect()).unwrap_or_default();
    let rows = rows.iter().map(|row| (0..row.len()).map(|column| text(row, column)).collect()).collect::<Result<_, _>>()?;
    Ok(Answer { rows, floats })
}

fn text(row: &PgRow, column: usize) -> Result<Option<String>, sqlx::Error> {
    let value = row.try_get_raw(column)?;
    if value.is_null() {
        return Ok(None);
    }
    value.as_str().map(|text| Some(text.to_owned())).map_err(sqlx::Error::Decode)
}
