//! A database of foreign tables: postgres_fdw and mysql_fdw (Debian: `postgresql-15-mysql-fdw`) in the server of the stage.

use std::time::Duration;

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection, raw_sql};

use super::super::client;
use super::super::load::Site;
use super::super::placement::{PlacedStore, StoreKind};
use super::super::stage::Stage;
use super::Reached;
use crate::command::CommandError;
use crate::sandbox::Endpoint;

/// Makes the database and its foreign tables and returns where it is.
///
/// # Errors
/// An extension is not installed, or a table cannot be imported.
pub(super) async fn prepare(stage: &Stage, reached: &Reached<'_>) -> Result<Endpoint, CommandError> {
    let server = stage.postgres().ok_or_else(|| CommandError::Refused("there is no PostgreSQL for fdw".to_owned()))?;
    let database = server.fresh_database().await.map_err(|error| CommandError::Refused(error.to_string()))?;
    let endpoint = Endpoint { database, ..Endpoint::clone(server) };
    let refused = |error: sqlx::Error| {
        let hint = "mysql_fdw is in the Debian package postgresql-15-mysql-fdw";
        CommandError::Refused(format!("the foreign tables of fdw cannot be made: {error} ({hint})"))
    };
    let mut connection = client::open(&endpoint, Duration::ZERO).await.map_err(refused)?;
    for (store, site) in reached.placement.stores.iter().zip(reached.sites) {
        let Site::Server(remote) = site else { continue };
        for statement in statements(store, remote) {
            run(&mut connection, statement).await.map_err(refused)?;
        }
    }
    connection.close().await.map_err(refused)?;
    Ok(endpoint)
}

async fn run(connection: &mut PgConnection, sql: String) -> Result<(), sqlx::Error> {
    raw_sql(AssertSqlSafe(sql)).execute(connection).await.map(drop)
}

/// Names and passwords of private servers need no quoting. Both wrappers are given the settings that their manuals advise for
/// joins and large scans.
fn statements(store: &PlacedStore, remote: &Endpoint) -> Vec<String> {
    let Endpoint { host, port, user, password, database } = remote;
    let (name, password) = (&store.name, password.expose());
    let tables: Vec<&str> = store.tables.iter().map(|table| table.name).collect();
    let tables_listed = tables.join(", ");
    let tuned = "use_remote_estimate 'true', fetch_size '10000'";
    if store.kind == StoreKind::Postgres {
        let mut made = vec![
            "CREATE EXTENSION IF NOT EXISTS postgres_fdw".to_owned(),
            format!(
                "CREATE SERVER {name} FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '{host}', port '{port}', dbname '{database}', {tuned})"
            ),
            format!("CREATE USER MAPPING FOR CURRENT_USER SERVER {name} OPTIONS (user '{user}', password '{password}')"),
            format!("IMPORT FOREIGN SCHEMA public LIMIT TO ({tables_listed}) FROM SERVER {name} INTO public"),
        ];
        made.extend(tables.iter().map(|table| format!("ANALYZE {table}")));
        return made;
    }
    vec![
        "CREATE EXTENSION IF NOT EXISTS mysql_fdw".to_owned(),
        format!("CREATE SERVER {name} FOREIGN DATA WRAPPER mysql_fdw OPTIONS (host '{host}', port '{port}', {tuned})"),
        format!("CREATE USER MAPPING FOR CURRENT_USER SERVER {name} OPTIONS (username '{user}', password '{password}')"),
        format!("IMPORT FOREIGN SCHEMA {database} LIMIT TO ({tables_listed}) FROM SERVER {name} INTO public"),
    ]
}
