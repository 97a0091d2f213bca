//! Writes into the stores themselves, past the server, and what a client of the demo is told of them that listens. What is written is
//! taken back in the same way.

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mongodb::Client;
use mongodb::bson::{Document, doc};
use mongodb::options::{ClientOptions, Credential, ServerAddress};
use sqlx::mysql::MySqlConnection;
use sqlx::postgres::{PgConnection, PgListener, PgPool, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, raw_sql};

use super::own::{self, Note};
use super::servers::Servers;
use crate::command::CommandError;
use crate::options::Secret;
use crate::sandbox::Endpoint;

const EMBEDDED: &str = include_str!("../../../catalog/demo/showcase/listen.sql");
const SERVED: &str = include_str!("../../../catalog/demo/showcase/listen_servers.sql");

/// How long a feed may take to begin, and a change to be told.
const PATIENCE: Duration = Duration::from_secs(60);

/// The stores behind the demo.
#[derive(Debug)]
pub(super) enum Stores {
    /// The SQLite file with the visits.
    File(PathBuf),
    /// Servers of its own.
    Servers(Box<Servers>),
}

/// A row that is written in one store.
#[derive(Clone, Copy, Debug)]
pub(super) struct Written {
    /// The channel of its table, which is the table's name.
    pub(super) channel: &'static str,
    pub(super) id: i64,
}

impl Written {
    /// What writes it, in the words of its store.
    pub(super) fn there(self) -> String {
        let id = self.id;
        match self.channel {
            "hydro.stations" => format!(
                "INSERT INTO stations (id, river_id, name, km, built, mean_m3s, regime) VALUES ({id}, 1, 'Rees', 837, '2025-01-08', 2260, 'mixed')"
            ),
            "crew.visits" => format!(
                "INSERT INTO visits (id, station_id, person_id, visited, cost, note) VALUES ({id}, 12, 2, '2025-01-08', 120.00, 'seen by another program')"
            ),
            _ => format!("db.reports.insertOne({{ station: {id}, notes: 'a kingfisher' }})"),
        }
    }

    /// What takes it back, where it is SQL.
    fn back(self) -> String {
        let table = if self.channel == "hydro.stations" { "stations" } else { "visits" };
        format!("DELETE FROM {table} WHERE id = {}", self.id)
    }
}

/// Shows it. Gives the number of the rows.
///
/// # Errors
/// A store or the server has refused something, or nothing is told, which are faults of the program; or the note or the output
/// cannot be written.
pub(super) async fn show(
    address: SocketAddr,
    password: &Secret,
    stores: &Stores,
    (note, from): (&Note, i64),
    output: &mut dyn Write,
) -> Result<i64, CommandError> {
    let text = match stores {
        Stores::File(_) => EMBEDDED,
        Stores::Servers(_) => SERVED,
    };
    let (title, statements) = text.split_once('\n').unwrap_or(("", text));
    writeln!(output, "\n6. {}\n", title.trim_start_matches("-- "))?;
    statements.lines().try_for_each(|line| writeln!(output, "    {line}"))?;
    output.flush()?;
    let channels: Vec<&str> = statements.lines().filter_map(|line| line.split('"').nth(1)).collect();
    let pool = connect(address, password).await.map_err(|error| refused(&error))?;
    let heard = async {
        until_streaming(&pool, &channels).await?;
        let mut listener = PgListener::connect_with(&pool).await?;
        listener.listen_all(channels.iter().copied()).await?;
        Ok::<PgListener, sqlx::Error>(listener)
    };
    let mut listener = in_time(heard).await?;
    let id = in_time(async { own::free(&mut *pool.acquire().await?, from).await }).await?;
    let written: &[(&'static str, &'static str)] = match stores {
        Stores::File(_) => &[("crew.visits", "SQLite")],
        Stores::Servers(_) => &[("hydro.stations", "PostgreSQL"), ("crew.visits", "MariaDB"), ("field.reports", "MongoDB")],
    };
    note.write(id)?;
    for &(channel, kind) in written {
        let row = Written { channel, id };
        writeln!(output, "\n In {kind} itself, by another program:\n\n    {}\n", row.there())?;
        output.flush()?;
        write(stores, row, true).await?;
        let told = hear(&mut listener, channel, &format!("\":{id}")).await?;
        writeln!(output, " Asynchronous notification \"{channel}\" with payload \"{told}\".")?;
        write(stores, row, false).await?;
        hear(&mut listener, channel, "").await?;
    }
    note.remove()?;
    drop(listener);
    pool.close().await;
    output.flush()?;
    Ok(id)
}

/// Clients of the demo: the one that listens, and one that asks.
pub(super) async fn connect(address: SocketAddr, password: &Secret) -> Result<PgPool, sqlx::Error> {
    let login = Endpoint {
        host: address.ip().to_string(),
        port: address.port(),
        user: "demo".to_owned(),
        password: password.clone(),
        database: "tributary".to_owned(),
    };
    PgPoolOptions::new().max_connections(3).connect_with(login.postgres_options().disable_statement_logging()).await
}

/// Waits until these tables are followed.
async fn until_streaming(pool: &PgPool, channels: &[&str]) -> Result<(), sqlx::Error> {
    let streaming =
        "SELECT table_schema || '.' || table_name FROM tributary.feeds WHERE state = 'streaming' AND table_name IS NOT NULL";
    loop {
        let tables: Vec<String> = sqlx::query_scalar(streaming).fetch_all(pool).await?;
        if channels.iter().all(|channel| tables.iter().any(|table| table == channel)) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The payload of the next notification of a channel with this part: others tell of what was written before.
pub(super) async fn hear(listener: &mut PgListener, channel: &str, part: &str) -> Result<String, CommandError> {
    let next = async {
        loop {
            let told = listener.recv().await?;
            if told.channel() == channel && told.payload().contains(part) {
                return Ok::<String, sqlx::Error>(told.payload().to_owned());
            }
        }
    };
    in_time(next).await
}

pub(super) async fn in_time<T>(work: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, CommandError> {
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(done) => done.map_err(|error| refused(&error)),
        Err(_elapsed) => Err(CommandError::Refused("nobody has told the demo of a change".to_owned())),
    }
}

/// Writes a row into its store, or takes it back.
pub(super) async fn write(stores: &Stores, row: Written, is_there: bool) -> Result<(), CommandError> {
    let endpoint = |store: &str| match stores {
        Stores::Servers(servers) => servers.endpoints().into_iter().find(|(name, _)| *name == store).map(|(_, endpoint)| endpoint),
        Stores::File(_) => None,
    };
    let sql = if is_there { row.there() } else { row.back() };
    let written = match (stores, row.channel) {
        (Stores::File(path), _) => in_sqlite(path, sql).await.map_err(|error| error.to_string()),
        (Stores::Servers(_), "hydro.stations") => match endpoint("hydro") {
            Some(endpoint) => in_postgres(endpoint, sql).await.map_err(|error| error.to_string()),
            None => Ok(()),
        },
        (Stores::Servers(_), "crew.visits") => match endpoint("crew") {
            Some(endpoint) => in_mariadb(endpoint, sql).await.map_err(|error| error.to_string()),
            None => Ok(()),
        },
        (Stores::Servers(_), _) => match endpoint("field") {
            Some(endpoint) => in_mongodb(endpoint, row.id, is_there).await.map_err(|error| error.to_string()),
            None => Ok(()),
        },
    };
    written.map_err(|error| refused(&error))
}

async fn in_sqlite(path: &Path, sql: String) -> Result<(), sqlx::Error> {
    let options = SqliteConnectOptions::new().filename(path).busy_timeout(PATIENCE).disable_statement_logging();
    let mut connection = SqliteConnection::connect_with(&options).await?;
    raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await?;
    connection.close().await
}

async fn in_postgres(endpoint: &Endpoint, sql: String) -> Result<(), sqlx::Error> {
    let mut connection = PgConnection::connect_with(&endpoint.postgres_options().disable_statement_logging()).await?;
    raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await?;
    connection.close().await
}

async fn in_mariadb(endpoint: &Endpoint, sql: String) -> Result<(), sqlx::Error> {
    let mut connection = MySqlConnection::connect_with(&endpoint.mysql_options().disable_statement_logging()).await?;
    raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await?;
    connection.close().await
}

async fn in_mongodb(endpoint: &Endpoint, id: i64, is_there: bool) -> Result<(), mongodb::error::Error> {
    let credential = Credential::builder()
        .username(endpoint.user.clone())
        .password(endpoint.password.expose().to_owned())
        .source("admin".to_owned())
        .build();
    let address = ServerAddress::Tcp { host: endpoint.host.clone(), port: Some(endpoint.port) };
    let options = ClientOptions::builder().hosts(vec![address]).direct_connection(true).credential(credential).build();
    let client = Client::with_options(options)?;
    let reports = client.database(&endpoint.database).collection::<Document>("reports");
    if is_there {
        reports.insert_one(doc! { "station": id, "notes": "a kingfisher" }).await?;
    } else {
        reports.delete_one(doc! { "station": id }).await?;
    }
    client.shutdown().await;
    Ok(())
}

pub(super) fn refused(error: &dyn std::fmt::Display) -> CommandError {
    CommandError::Refused(format!("the demo's write behind the server failed: {error}"))
}
