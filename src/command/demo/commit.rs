//! Writes as a client of the demo makes them: one transaction over several stores and one write to another, each shown with what
//! its commit has promised, and taken back.

use std::io::Write;
use std::net::SocketAddr;

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, raw_sql};

use super::own::{self, Note};
use crate::command::CommandError;
use crate::options::Secret;
use crate::sandbox::Endpoint;

const EMBEDDED: &str = include_str!("../../../catalog/demo/showcase/commit.sql");
const SERVED: &str = include_str!("../../../catalog/demo/showcase/commit_servers.sql");

const SINGLE: &str = include_str!("../../../catalog/demo/showcase/write.sql");

/// Where the number of a row stands in the statements.
const ID: &str = ":id";

/// Takes back what any of them writes, also of a demo that was killed in between: the write to one store by itself, the rest as one
/// transaction, as it was made.
const BACK_SINGLE: &str = "DELETE FROM archive.readings WHERE station_id = :id";
const BACK: [&str; 3] = [
    "DELETE FROM hydro.stations WHERE id = :id",
    "DELETE FROM crew.visits WHERE id = :id",
    "DELETE FROM field.reports WHERE station = :id",
];

/// Shows them. Gives the number of their rows.
///
/// # Errors
/// A statement failed, which is a fault of the program, or the note or the output cannot be written.
pub(super) async fn show(
    address: SocketAddr,
    password: &Secret,
    servers: bool,
    note: &Note,
    output: &mut dyn Write,
) -> Result<i64, CommandError> {
    let mut connection = connect(address, password).await.map_err(|error| refused(&error))?;
    if let Some(left) = note.left() {
        take_back(&mut connection, servers, left).await.map_err(|error| refused(&error))?;
        note.remove()?;
    }
    let id = own::free(&mut connection, 1001).await.map_err(|error| refused(&error))?;
    note.write(id)?;
    for (number, text) in [(4, if servers { SERVED } else { EMBEDDED }), (5, SINGLE)] {
        let (title, statements) = text.split_once('\n').unwrap_or(("", text));
        writeln!(output, "\n{number}. {}\n", title.trim_start_matches("-- "))?;
        let statements = statements.replace(ID, &id.to_string());
        statements.lines().try_for_each(|line| writeln!(output, "    {line}"))?;
        writeln!(output, "    SHOW tributary.last_commit;")?;
        output.flush()?;
        let said = run(&mut connection, &statements).await.map_err(|error| refused(&error))?;
        writeln!(output, "\n {said}")?;
    }
    take_back(&mut connection, servers, id).await.map_err(|error| refused(&error))?;
    note.remove()?;
    connection.close().await.map_err(|error| refused(&error))?;
    writeln!(output, "\nBoth were taken back, so that the demo's rows stay as they are.")?;
    output.flush()?;
    Ok(id)
}

async fn connect(address: SocketAddr, password: &Secret) -> Result<PgConnection, sqlx::Error> {
    let login = Endpoint {
        host: address.ip().to_string(),
        port: address.port(),
        user: "demo".to_owned(),
        password: password.clone(),
        database: "tributary".to_owned(),
    };
    login.postgres_options().disable_statement_logging().connect().await
}

/// Runs the statements. Gives what their commit has promised.
async fn run(connection: &mut PgConnection, statements: &str) -> Result<String, sqlx::Error> {
    for statement in statements.lines() {
        raw_sql(AssertSqlSafe(statement.to_owned())).execute(&mut *connection).await?;
    }
    sqlx::query_scalar("SHOW tributary.last_commit").fetch_one(&mut *connection).await
}

async fn take_back(connection: &mut PgConnection, servers: bool, id: i64) -> Result<(), sqlx::Error> {
    // Without servers the reports are a file that is not written to.
    let written = BACK.into_iter().take(if servers { 3 } else { 2 });
    for statement in [BACK_SINGLE, "BEGIN"].into_iter().chain(written).chain(["COMMIT"]) {
        raw_sql(AssertSqlSafe(statement.replace(ID, &id.to_string()))).execute(&mut *connection).await?;
    }
    Ok(())
}

fn refused(error: &sqlx::Error) -> CommandError {
    CommandError::Refused(format!("the demo's writes failed: {error}"))
}
