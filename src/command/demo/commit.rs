//! One transaction over several stores, made as a client of the demo makes it: shown with what its commit has promised, and taken back.

use std::io::Write;
use std::net::SocketAddr;

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, raw_sql};

use crate::command::CommandError;
use crate::options::Secret;
use crate::sandbox::Endpoint;

const EMBEDDED: &str = include_str!("../../../catalog/demo/showcase/commit.sql");
const SERVED: &str = include_str!("../../../catalog/demo/showcase/commit_servers.sql");

/// Takes back what either of them writes, also of a demo that was killed in between.
const BACK: [&str; 3] = [
    "DELETE FROM hydro.stations WHERE id = 1001",
    "DELETE FROM crew.visits WHERE id = 1001",
    "DELETE FROM field.reports WHERE station = 1001",
];

/// Shows it.
///
/// # Errors
/// A statement failed, which is a fault of the program, or the output cannot be written.
pub(super) async fn show(
    address: SocketAddr,
    password: &Secret,
    servers: bool,
    output: &mut dyn Write,
) -> Result<(), CommandError> {
    let text = if servers { SERVED } else { EMBEDDED };
    let (title, statements) = text.split_once('\n').unwrap_or(("", text));
    writeln!(output, "\n4. {}\n", title.trim_start_matches("-- "))?;
    statements.lines().try_for_each(|line| writeln!(output, "    {line}"))?;
    writeln!(output, "    SHOW tributary.last_commit;")?;
    output.flush()?;
    let said = run(address, password, statements, servers).await.map_err(|error| refused(&error))?;
    writeln!(output, "\n {said}\n\nIt was taken back by another one, so that the demo's rows stay as they are.")?;
    Ok(output.flush()?)
}

/// Makes the transaction and takes it back. Gives what its commit has promised.
async fn run(address: SocketAddr, password: &Secret, statements: &str, servers: bool) -> Result<String, sqlx::Error> {
    let login = Endpoint {
        host: address.ip().to_string(),
        port: address.port(),
        user: "demo".to_owned(),
        password: password.clone(),
        database: "tributary".to_owned(),
    };
    let mut connection: PgConnection = login.postgres_options().disable_statement_logging().connect().await?;
    take_back(&mut connection, servers).await?;
    for statement in statements.lines() {
        raw_sql(AssertSqlSafe(statement.to_owned())).execute(&mut connection).await?;
    }
    let said = sqlx::query_scalar("SHOW tributary.last_commit").fetch_one(&mut connection).await?;
    take_back(&mut connection, servers).await?;
    connection.close().await?;
    Ok(said)
}

async fn take_back(connection: &mut PgConnection, servers: bool) -> Result<(), sqlx::Error> {
    // Without servers the reports are a file that is not written to.
    let written = BACK.into_iter().take(if servers { 3 } else { 2 });
    for statement in ["BEGIN"].into_iter().chain(written).chain(["COMMIT"]) {
        raw_sql(statement).execute(&mut *connection).await?;
    }
    Ok(())
}

fn refused(error: &sqlx::Error) -> CommandError {
    CommandError::Refused(format!("the demo's transaction failed: {error}"))
}
