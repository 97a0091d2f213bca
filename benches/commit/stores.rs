//! The stores with one table each, and Tributary before them.

use std::path::Path;

use mongodb::Client;
use mongodb::options::{ClientOptions, Credential, ServerAddress};
use sqlx::mysql::MySqlConnection;
use sqlx::postgres::PgConnection;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, raw_sql};
use tempfile::TempDir;
use tributary::command::password::{fresh_verifier, make_password};
use tributary::sandbox::{CatalogFiles, Endpoint, MariaDb, Mongo, Postgres, Setup, Tributary};

use super::measure::must;

const TABLE: &str = "CREATE TABLE notes (_id bigint NOT NULL PRIMARY KEY, n bigint NOT NULL)";
/// Connections of each store: more than clients.
const POOL: &str = "pool.size = 20\n";

/// The servers; dropping this ends them.
pub struct Stores {
    postgres: Postgres,
    mariadb: MariaDb,
    _mongodb: Mongo,
    _directory: TempDir,
    server: Tributary,
}

impl Stores {
    /// Starts everything, with empty tables.
    pub async fn start() -> Self {
        let setup = Setup::default();
        let postgres = must(Postgres::start_with(&setup).await);
        let mariadb = must(MariaDb::start_with(&setup).await);
        let mongodb = must(Mongo::start_with(&setup).await);
        let mut connection = must(postgres.postgres_options().connect().await);
        must(raw_sql(TABLE).execute(&mut connection).await);
        must(connection.close().await);
        let mut connection = must(mariadb.mysql_options().connect().await);
        must(raw_sql(TABLE).execute(&mut connection).await);
        must(connection.close().await);
        must(make_collection(&mongodb).await);
        let directory = must(TempDir::new());
        let columns = "sample = 0\n[collections.notes.columns]\n_id = \"bigint\"\nn = \"bigint\"\n";
        let mut stores = vec![
            ("postgres".to_owned(), format!("{}{POOL}", store_file("postgres", &postgres))),
            ("mariadb".to_owned(), format!("{}{POOL}", store_file("mariadb", &mariadb))),
            ("mongodb".to_owned(), format!("{}{POOL}{columns}", store_file("mongodb", &mongodb))),
        ];
        for name in ["east", "west"] {
            let file = directory.path().join(format!("{name}.db"));
            let mut connection = must(SqliteConnectOptions::new().filename(&file).create_if_missing(true).connect().await);
            must(raw_sql(TABLE).execute(&mut connection).await);
            must(connection.close().await);
            stores.push((name.to_owned(), format!("kind = \"sqlite\"\npath = \"{}\"\n", file.display())));
        }
        let password = make_password();
        let files = CatalogFiles {
            settings: "log.level = \"warn\"\n".to_owned(),
            stores,
            views: Vec::new(),
            user: "bench".to_owned(),
            verifier: fresh_verifier(&password),
            password,
        };
        let server = must(Tributary::start(Path::new(env!("CARGO_BIN_EXE_tributary")), &files).await);
        Self { postgres, mariadb, _mongodb: mongodb, _directory: directory, server }
    }

    /// A connection to Tributary.
    pub async fn connect(&self) -> PgConnection {
        must(self.server.postgres_options().disable_statement_logging().connect().await)
    }

    /// A connection to PostgreSQL.
    pub async fn in_postgres(&self) -> PgConnection {
        must(self.postgres.postgres_options().disable_statement_logging().connect().await)
    }

    /// A connection to MariaDB.
    pub async fn in_mariadb(&self) -> MySqlConnection {
        must(self.mariadb.mysql_options().disable_statement_logging().connect().await)
    }
}

async fn make_collection(endpoint: &Endpoint) -> mongodb::error::Result<()> {
    let credential = Credential::builder()
        .username(endpoint.user().to_owned())
        .password(endpoint.password().to_owned())
        .source("admin".to_owned())
        .build();
    let address = ServerAddress::Tcp { host: endpoint.host().to_owned(), port: Some(endpoint.port()) };
    let options = ClientOptions::builder().hosts(vec![address]).direct_connection(true).credential(credential).build();
    let client = Client::with_options(options)?;
    client.database(endpoint.database()).create_collection("notes").await?;
    client.shutdown().await;
    Ok(())
}

/// Host, names and passwords of private servers consist of characters that mean nothing in TOML.
fn store_file(kind: &str, endpoint: &Endpoint) -> String {
    let (host, port, database) = (endpoint.host(), endpoint.port(), endpoint.database());
    let address = match kind {
        "mongodb" => format!("hosts = [\"{host}:{port}\"]\ndirect = true\ndatabases = [\"{database}\"]\n"),
        _ => format!("host = \"{host}\"\nport = {port}\n"),
    };
    let (user, password) = (endpoint.user(), endpoint.password());
    format!("kind = \"{kind}\"\n{address}user = \"{user}\"\npassword = \"{password}\"\ndatabase = \"{database}\"\n")
}
