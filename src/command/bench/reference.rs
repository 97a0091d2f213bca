//! The answers that are right: of a PostgreSQL that holds everything or, without servers, of SQLite itself on the same files.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteRow};
use sqlx::{AssertSqlSafe, Connection, Row, TypeInfo, ValueRef, raw_sql};

use super::answer::{Answer, Cell, Exactness};
use super::client::{Client, Failure};
use super::dialect::for_sqlite;
use super::query::Query;
use crate::sandbox::Endpoint;

/// How long the reference may take for one query.
const LIMIT: Duration = Duration::from_secs(600);
/// Instructions of SQLite's machine between two looks at the clock.
const STEPS: i32 = 100_000;

/// Who is asked.
#[derive(Debug)]
pub(super) enum Reference {
    /// A database that holds all tables.
    Postgres(Client),
    /// Files that hold them together.
    Sqlite(Vec<PathBuf>),
}

impl Reference {
    /// PostgreSQL.
    pub(super) fn postgres(endpoint: &Endpoint) -> Self {
        Self::Postgres(Client::new(endpoint, LIMIT))
    }

    /// How it is called in reports.
    pub(super) fn described(&self) -> &'static str {
        match self {
            Self::Postgres(_) => "a PostgreSQL that holds everything, to the letter",
            Self::Sqlite(_) => "SQLite itself, numbers to nine digits because it adds in floats",
        }
    }

    /// How exactly it must be agreed with.
    pub(super) fn exactness(&self) -> Exactness {
        match self {
            Self::Postgres(_) => Exactness::Text,
            Self::Sqlite(_) => Exactness::Number,
        }
    }

    /// The right answer.
    ///
    /// # Errors
    /// It took too long, or the reference cannot run the query.
    pub(super) async fn answer(&mut self, query: &Query) -> Result<Answer, Failure> {
        match self {
            Self::Postgres(client) => Ok(client.ask(&query.for_postgres).await?.answer),
            Self::Sqlite(files) => {
                let sql = query.for_sqlite.map_or_else(|| for_sqlite(&query.sql), for_sqlite);
                ask_sqlite(files, &sql).await
            }
        }
    }
}

async fn ask_sqlite(files: &[PathBuf], sql: &str) -> Result<Answer, Failure> {
    let refused = |error: sqlx::Error| match &error {
        sqlx::Error::Database(told) if told.message() == "interrupted" => Failure::TimedOut,
        _ => Failure::Refused(error.to_string()),
    };
    let (first, others) = files.split_first().ok_or_else(|| Failure::Refused("there are no files".to_owned()))?;
    // The first file is opened itself: a connection in memory would attach the others as databases in memory, which are empty.
    let options = SqliteConnectOptions::new().filename(first).read_only(true);
    let mut connection = SqliteConnection::connect_with(&options).await.map_err(refused)?;
    for (number, file) in others.iter().enumerate() {
        // A name without schema is looked for in all attached files.
        let attach = format!("ATTACH '{}' AS f{number}", file.display().to_string().replace('\'', "''"));
        raw_sql(AssertSqlSafe(attach)).execute(&mut connection).await.map_err(refused)?;
    }
    // As in PostgreSQL.
    raw_sql("PRAGMA case_sensitive_like = ON").execute(&mut connection).await.map_err(refused)?;
    let started = Instant::now();
    connection.lock_handle().await.map_err(refused)?.set_progress_handler(STEPS, move || started.elapsed() < LIMIT);
    let rows = raw_sql(AssertSqlSafe(sql.to_owned())).fetch_all(&mut connection).await.map_err(refused)?;
    let rows = rows.iter().map(|row| (0..row.len()).map(|column| text(row, column)).collect()).collect::<Result<_, _>>();
    Ok(Answer { rows: rows.map_err(refused)?, floats: Vec::new() })
}

fn text(row: &SqliteRow, column: usize) -> Result<Cell, sqlx::Error> {
    let value = row.try_get_raw(column)?;
    if value.is_null() {
        return Ok(None);
    }
    let kind = value.type_info().name().to_owned();
    Ok(Some(match kind.as_str() {
        "INTEGER" => row.try_get_unchecked::<i64, _>(column)?.to_string(),
        "REAL" => row.try_get_unchecked::<f64, _>(column)?.to_string(),
        _ => row.try_get_unchecked::<String, _>(column)?,
    }))
}
