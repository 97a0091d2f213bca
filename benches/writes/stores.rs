//! The four stores with one table each, and Tributary before them.

use std::path::{Path, PathBuf};

use mongodb::bson::Document;
use mongodb::options::{ClientOptions, Credential, ServerAddress};
use mongodb::{Client, Collection};
use sqlx::mysql::MySqlConnection;
use sqlx::postgres::PgConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection, raw_sql};
use tempfile::TempDir;
use tributary::command::password::{fresh_verifier, make_password};
use tributary::sandbox::{CatalogFiles, Endpoint, MariaDb, Mongo, Postgres, Setup, Tributary};

use super::measure::must;

const TABLE: &str = "CREATE TABLE notes (_id bigint NOT NULL PRIMARY KEY, n bigint NOT NULL, note varchar(60) NOT NULL)";

/// As much as changes of some 100,000 documents take several times.
const MONGODB_CACHE_MIB: u32 = 1_024;

/// The servers; dropping this ends them.
pub struct Stores {
    pub postgres: Postgres,
    pub mariadb: MariaDb,
    mongodb: Mongo,
    client: Client,
    directory: TempDir,
    server: Tributary,
}

impl Stores {
    /// Starts everything, with empty tables.
    pub async fn start() -> Self {
        let setup = Setup::default();
        let postgres = must(Postgres::start_with(&setup).await);
        let mariadb = must(MariaDb::start_with(&setup).await);
        // A COPY is one transaction, which MongoDB keeps in its cache: a small one refuses 100,000 rows.
        let mongodb = must(Mongo::start_with(&Setup { cache_mib: Some(MONGODB_CACHE_MIB), ..setup }).await);
        let client = must(client_of(&mongodb));
        must(client.database(mongodb.database()).create_collection("notes").await);
        let directory = must(TempDir::new());
        let file = directory.path().join("notes.db");
        let mut connection = must(postgres.postgres_options().connect().await);
        must(raw_sql(TABLE).execute(&mut connection).await);
        must(connection.close().await);
        let mut connection = must(mariadb.mysql_options().connect().await);
        must(raw_sql(TABLE).execute(&mut connection).await);
        must(connection.close().await);
        let mut connection = must(SqliteConnectOptions::new().filename(&file).create_if_missing(true).connect().await);
        must(raw_sql(TABLE).execute(&mut connection).await);
        must(connection.close().await);
        let columns = "sample = 0\n[collections.notes.columns]\n_id = \"bigint\"\nn = \"bigint\"\nnote = \"text\"\n";
        let password = make_password();
        let files = CatalogFiles {
            settings: "log.level = \"warn\"\n".to_owned(),
            stores: vec![
                ("postgres".to_owned(), store_file("postgres", &postgres)),
                ("mariadb".to_owned(), store_file("mariadb", &mariadb)),
                ("mongodb".to_owned(), format!("{}{columns}", store_file("mongodb", &mongodb))),
                ("sqlite".to_owned(), format!("kind = \"sqlite\"\npath = \"{}\"\n", file.display())),
            ],
            views: Vec::new(),
            user: "bench".to_owned(),
            verifier: fresh_verifier(&password),
            password,
        };
        let server = must(Tributary::start(Path::new(env!("CARGO_BIN_EXE_tributary")), &files).await);
        Self { postgres, mariadb, mongodb, client, directory, server }
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

    /// A connection to the file.
    pub async fn in_sqlite(&self) -> SqliteConnection {
        let options = SqliteConnectOptions::new().filename(self.file());
        must(options.disable_statement_logging().connect().await)
    }

    /// The collection.
    pub fn in_mongodb(&self) -> Collection<Document> {
        self.client.database(self.mongodb.database()).collection("notes")
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("notes.db")
    }

    /// Ends the driver's own tasks; the rest ends when this is dropped.
    pub async fn close(self) {
        self.client.clone().shutdown().await;
    }
}

fn client_of(endpoint: &Endpoint) -> mongodb::error::Result<Client> {
    let credential = Credential::builder()
        .username(endpoint.user().to_owned())
        .password(endpoint.password().to_owned())
        .source("admin".to_owned())
        .build();
    let address = ServerAddress::Tcp { host: endpoint.host().to_owned(), port: Some(endpoint.port()) };
    Client::with_options(ClientOptions::builder().hosts(vec![address]).direct_connection(true).credential(credential).build())
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
