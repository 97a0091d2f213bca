//! What each of the demo's databases is filled with, and the SQLite files that hold all four without any server.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use sha2::{Digest, Sha256};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, Connection, Executor};

use super::place::Place;
use super::rows::{self, Rows, statements};
use super::season;
use crate::command::CommandError;

const ARCHIVE_SCHEMA: &str = include_str!("../../../catalog/demo/archive/schema.sql");

/// What one database is made of: statements to run in order, and a word on its content for the progress line.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) store: &'static str,
    pub(super) statements: Vec<String>,
    pub(super) described: String,
}

/// Rivers and stations, in SQL that PostgreSQL and SQLite share.
pub(super) fn hydro() -> Content {
    let (rivers, stations) = (rows::rivers(), rows::stations());
    let described = format!("{} rivers, {} stations", rivers.len(), stations.len());
    let schema = include_str!("../../../catalog/demo/hydro/schema.sql");
    Content { store: "hydro", statements: joined(schema, [rivers.inserts(), stations.inserts()]), described }
}

/// The crews and their visits, for SQLite.
pub(super) fn crew() -> Content {
    crew_with(include_str!("../../../catalog/demo/crew/schema.sqlite.sql"))
}

/// The crews and their visits, for MariaDB.
pub(super) fn crew_for_mariadb() -> Content {
    crew_with(include_str!("../../../catalog/demo/crew/schema.mariadb.sql"))
}

fn crew_with(schema: &str) -> Content {
    let (people, visits) = (rows::people(), rows::visits());
    let described = format!("{} people, {} visits", people.len(), visits.len());
    Content { store: "crew", statements: joined(schema, [people.inserts(), visits.inserts()]), described }
}

fn archive() -> Content {
    let readings = season::readings();
    let described = format!("{} readings", readings.len());
    Content { store: "archive", statements: joined(ARCHIVE_SCHEMA, [readings.inserts()]), described }
}

fn field() -> Content {
    let reports = Rows::new("reports", &["doc"], rows::reports().map(|report| vec![report]).collect());
    let described = format!("{} reports", reports.len());
    let schema = include_str!("../../../catalog/demo/field/schema.sql");
    Content { store: "field", statements: joined(schema, [reports.inserts()]), described }
}

fn joined<const N: usize>(schema: &str, inserts: [Vec<String>; N]) -> Vec<String> {
    statements(schema).into_iter().chain(inserts.into_iter().flatten()).collect()
}

/// Tells databases with other rows from those of this program. The files are in the program, so a digest of them is the
/// version; what is computed from them has a number of its own.
fn version() -> String {
    let mut digest = Sha256::new();
    digest.update(season::VERSION);
    for content in [hydro(), crew(), field()] {
        content.statements.iter().for_each(|statement| digest.update(statement));
    }
    let regimes = rows::regimes();
    regimes.iter().flatten().for_each(|percent| digest.update(percent));
    digest.update(ARCHIVE_SCHEMA);
    digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The directory of the SQLite files. Builds them at the first start, and when the program brings other content.
///
/// # Errors
/// They cannot be written.
pub(super) async fn prepare(place: &Place, output: &mut dyn Write) -> Result<PathBuf, CommandError> {
    let files = ["hydro", "crew", "archive", "field"].map(|store| format!("{store}.db"));
    let version = version();
    if let Some(databases) = place.databases(&version, &files) {
        writeln!(output, "The demo's databases are in {}.", databases.display())?;
        return Ok(databases);
    }
    writeln!(output, "Building the demo's databases in {} …", place.directory().join("databases").display())?;
    let unfinished = place.unfinished()?;
    for content in [hydro, crew, archive, field] {
        let started = Instant::now();
        let content = content();
        fill(&unfinished.join(format!("{}.db", content.store)), &content).await.map_err(|error| failed(&content, &error))?;
        writeln!(output, "  {:8} {} ({} ms)", content.store, content.described, started.elapsed().as_millis())?;
        output.flush()?;
    }
    Ok(place.finish(&unfinished, &version)?)
}

async fn fill(path: &Path, content: &Content) -> Result<(), sqlx::Error> {
    let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
    let mut connection = SqliteConnection::connect_with(&options).await?;
    // One transaction: SQLite would otherwise wait for the disk after every statement.
    let mut transaction = connection.begin().await?;
    for statement in &content.statements {
        transaction.execute(AssertSqlSafe(statement.as_str())).await?;
    }
    transaction.commit().await?;
    // Row estimates, by which joins are ordered.
    connection.execute("ANALYZE").await?;
    connection.close().await
}

/// A store that could not be filled.
pub(super) fn failed(content: &Content, error: &dyn std::error::Error) -> CommandError {
    CommandError::Refused(format!("the demo's store {} cannot be filled: {error}", content.store))
}
