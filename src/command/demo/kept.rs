//! A materialized view over two stores, which follows a write past the server; it is read by a client that says how old its rows may
//! be. The write is taken back; the view stays, for whoever comes to look at it.

use std::io::Write;
use std::net::SocketAddr;

use sqlx::postgres::{PgConnection, PgListener, PgPool};
use sqlx::{AssertSqlSafe, Row, raw_sql};

use super::behind::{Stores, Written, connect, hear, in_time, refused, write};
use super::own::{self, Note};
use crate::command::CommandError;
use crate::options::Secret;

const TEXT: &str = include_str!("../../../catalog/demo/showcase/view.sql");

/// Where the view tells that its rows are others.
const CHANNEL: &str = "view:public.visited";
/// How the view stands.
const STATE: &str = "SELECT state FROM tributary.freshness WHERE store IS NULL AND table_name::text = 'visited'";

/// Shows it.
///
/// # Errors
/// The server or a store has refused something, or the view does not follow, which are faults of the program; or the note or the
/// output cannot be written.
pub(super) async fn show(
    address: SocketAddr,
    password: &Secret,
    stores: &Stores,
    (note, from): (&Note, i64),
    output: &mut dyn Write,
) -> Result<(), CommandError> {
    let (title, statements) = TEXT.split_once('\n').unwrap_or(("", TEXT));
    writeln!(output, "\n7. {}\n", title.trim_start_matches("-- "))?;
    statements.lines().try_for_each(|line| writeln!(output, "    {line}"))?;
    output.flush()?;
    let pool = connect(address, password).await.map_err(|error| refused(&error))?;
    let mut asking = pool.acquire().await.map_err(|error| refused(&error))?;
    let select = in_time(begin(&mut asking, statements)).await?;
    let mut listener = in_time(listen(&pool)).await?;
    writeln!(output, "\n {}", in_time(row(&mut asking, select)).await?)?;
    let visit = Written { channel: "crew.visits", id: in_time(own::free(&mut asking, from)).await? };
    note.write(visit.id)?;
    let kind = if matches!(stores, Stores::File(_)) { "SQLite" } else { "MariaDB" };
    writeln!(output, "\n In {kind} itself, by another program:\n\n    {}\n", visit.there())?;
    output.flush()?;
    write(stores, visit, true).await?;
    hear(&mut listener, CHANNEL, "").await?;
    writeln!(output, " The same SELECT:\n\n {}", in_time(row(&mut asking, select)).await?)?;
    let explained = in_time(source(&mut asking, select)).await?;
    writeln!(output, "\n EXPLAIN ANALYZE of it says where that comes from:\n\n {explained}")?;
    write(stores, visit, false).await?;
    note.remove()?;
    drop((listener, asking));
    pool.close().await;
    Ok(output.flush()?)
}

/// Makes the view, says how old it may be, and waits until it has rows. Gives the statement that reads it.
async fn begin<'a>(asking: &mut PgConnection, statements: &'a str) -> Result<&'a str, sqlx::Error> {
    let (before, select) = statements.trim_end().rsplit_once('\n').unwrap_or(("", statements));
    // Each by itself: what makes a view is no part of a transaction.
    for statement in before.split_inclusive(';') {
        raw_sql(AssertSqlSafe(statement.to_owned())).execute(&mut *asking).await?;
    }
    while sqlx::query_scalar::<_, String>(STATE).fetch_optional(&mut *asking).await?.as_deref() != Some("kept") {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    Ok(select)
}

async fn listen(pool: &PgPool) -> Result<PgListener, sqlx::Error> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen(CHANNEL).await?;
    Ok(listener)
}

/// The one row of the view, as psql shows rows without their alignment.
async fn row(asking: &mut PgConnection, select: &str) -> Result<String, sqlx::Error> {
    let rows = raw_sql(AssertSqlSafe(select.to_owned())).fetch_one(asking).await?;
    let fields = (0..rows.len()).map(|column| rows.try_get_unchecked::<String, _>(column));
    Ok(fields.collect::<Result<Vec<String>, _>>()?.join(" | "))
}

/// What EXPLAIN ANALYZE says of where the rows of the view come from.
async fn source(asking: &mut PgConnection, select: &str) -> Result<String, sqlx::Error> {
    let lines: Vec<String> = sqlx::query_scalar(AssertSqlSafe(format!("EXPLAIN ANALYZE {select}"))).fetch_all(&mut *asking).await?;
    let told = lines.iter().map(|line| line.trim()).filter(|line| line.starts_with("Maintained: ") || line.starts_with("Source: "));
    Ok(told.collect::<Vec<_>>().join("\n "))
}
