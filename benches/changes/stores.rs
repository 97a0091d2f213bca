//! The stores, whose changes are followed, and Tributary before them: a process that can be ended and started again on its directory.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use mongodb::bson::Document;
use mongodb::options::{ClientOptions, Credential, ServerAddress};
use mongodb::{Client, Collection};
use sqlx::mysql::MySqlConnection;
use sqlx::postgres::{PgConnection, PgListener, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection, raw_sql};
use tempfile::TempDir;
use tributary::command::password::{fresh_verifier, make_password};
use tributary::sandbox::{Endpoint, MariaDb, Mongo, Postgres, Setup, Tributary};

use super::measure::must;
use super::numbers;

/// The stores by the names that they have in Tributary.
pub const NAMES: [&str; 4] = ["postgres", "mariadb", "mongodb", "sqlite"];
const TABLES: &str = "CREATE TABLE notes (_id bigint NOT NULL PRIMARY KEY, n bigint NOT NULL);
    CREATE TABLE load_rows (_id bigint NOT NULL PRIMARY KEY, a bigint NOT NULL, b integer, c text, d text, e timestamp)";
/// What collections that are empty at first will hold.
const COLUMNS: &str = "[collections.notes.columns]\n_id = \"bigint\"\nn = \"bigint\"\n\
    [collections.load_rows.columns]\n_id = \"bigint\"\na = \"bigint\"\nc = \"text\"\n";
/// Longer than anything should take to be there.
const PATIENCE: Duration = Duration::from_secs(120);

/// The servers; dropping this ends them.
pub struct Stores {
    postgres: Postgres,
    mariadb: MariaDb,
    mongodb: Mongo,
    directory: TempDir,
    http: u16,
    server: Tributary,
}

impl Stores {
    /// Starts everything, with empty tables, and waits until all feeds stream.
    pub async fn start() -> Self {
        let setup = Setup::default();
        let postgres = must(Postgres::start_with(&setup).await);
        let mariadb = must(MariaDb::start_with(&setup).await);
        let mongodb = must(Mongo::start_with(&setup).await);
        let directory = must(TempDir::new());
        fill(&postgres, &mariadb, &mongodb, &directory.path().join("file.db")).await;
        let (port, http) = (free_port(), free_port());
        let password = make_password();
        let settings = format!(
            "listen = \"127.0.0.1:{port}\"\nhttp.listen = \"127.0.0.1:{http}\"\nlog.level = \"warn\"\nchanges.log_size = \"4GiB\"\n\
             [roles.bench]\npassword = \"{}\"\nsuperuser = true\n",
            fresh_verifier(&password)
        );
        write(&directory, "tributary.toml", &settings);
        for (name, text) in [
            ("postgres", store_file("postgres", &postgres, "")),
            ("mariadb", store_file("mariadb", &mariadb, "")),
            ("mongodb", store_file("mongodb", &mongodb, COLUMNS)),
            ("sqlite", "kind = \"sqlite\"\npath = \"file.db\"\nchanges.mode = \"outbox\"\n".to_owned()),
        ] {
            write(&directory, &format!("stores/{name}.toml"), &text);
        }
        let endpoint =
            Endpoint { host: "127.0.0.1".to_owned(), port, user: "bench".to_owned(), password, database: "tributary".to_owned() };
        let program = Path::new(env!("CARGO_BIN_EXE_tributary"));
        let server = must(Tributary::start_in(program, directory.path(), endpoint, &[]).await);
        let stores = Self { postgres, mariadb, mongodb, directory, http, server };
        for name in NAMES {
            stores.until_streaming(name).await;
        }
        stores
    }

    async fn until_streaming(&self, store: &str) {
        let started = std::time::Instant::now();
        while self.number(&format!("tributary_feed_state{{store=\"{store}\",state=\"streaming\"}}")).await != 1 {
            must(if started.elapsed() < PATIENCE { Ok(()) } else { Err(format!("the feed of {store} does not stream")) });
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// A number that the server tells, the sum of those that begin so.
    pub async fn number(&self, name: &str) -> u64 {
        numbers::sum(self.http, name).await
    }

    /// The processor time of the server so far.
    pub fn processor_time(&self) -> Duration {
        numbers::processor_time(self.server.process_id().unwrap_or_default())
    }

    /// Ends the server at once.
    pub async fn stop(&mut self) {
        must(self.server.kill().await);
    }

    /// Starts it again; its feeds begin at about the same time at which it can be logged in to.
    pub async fn again(&mut self) {
        must(self.server.again(&[]).await);
    }

    /// A client that listens to a table of a store.
    pub async fn listener(&self, channel: &str) -> PgListener {
        let options = self.server.postgres_options().disable_statement_logging();
        let pool = must(PgPoolOptions::new().max_connections(1).connect_with(options).await);
        let mut listener = must(PgListener::connect_with(&pool).await);
        must(listener.listen(channel).await);
        listener
    }

    /// The server that PostgreSQL is.
    pub fn postgres(&self) -> &Endpoint {
        &self.postgres
    }

    /// A connection to PostgreSQL.
    pub async fn in_postgres(&self) -> PgConnection {
        must(self.postgres.postgres_options().disable_statement_logging().connect().await)
    }

    /// A connection to MariaDB.
    pub async fn in_mariadb(&self) -> MySqlConnection {
        must(self.mariadb.mysql_options().disable_statement_logging().connect().await)
    }

    /// A connection to the SQLite file.
    pub async fn in_sqlite(&self) -> SqliteConnection {
        let options = SqliteConnectOptions::new().filename(self.directory.path().join("file.db"));
        must(options.busy_timeout(PATIENCE).disable_statement_logging().connect().await)
    }

    /// A collection of MongoDB.
    pub fn in_mongodb(&self, collection: &str) -> Collection<Document> {
        client(&self.mongodb).database(self.mongodb.database()).collection(collection)
    }
}

/// Makes the tables.
async fn fill(postgres: &Postgres, mariadb: &MariaDb, mongodb: &Mongo, file: &Path) {
    let mut connection = must(postgres.postgres_options().connect().await);
    must(raw_sql(TABLES).execute(&mut connection).await);
    must(connection.close().await);
    let mut connection = must(mariadb.mysql_options().connect().await);
    must(raw_sql(TABLES).execute(&mut connection).await);
    must(connection.close().await);
    let mut connection = must(SqliteConnectOptions::new().filename(file).create_if_missing(true).connect().await);
    must(raw_sql(TABLES).execute(&mut connection).await);
    must(connection.close().await);
    let client = client(mongodb);
    for collection in ["notes", "load_rows"] {
        must(client.database(mongodb.database()).create_collection(collection).await);
    }
}

fn client(endpoint: &Endpoint) -> Client {
    let credential = Credential::builder()
        .username(endpoint.user().to_owned())
        .password(endpoint.password().to_owned())
        .source("admin".to_owned())
        .build();
    let address = ServerAddress::Tcp { host: endpoint.host().to_owned(), port: Some(endpoint.port()) };
    must(Client::with_options(ClientOptions::builder().hosts(vec![address]).direct_connection(true).credential(credential).build()))
}

fn write(directory: &TempDir, name: &str, text: &str) {
    let path: PathBuf = directory.path().join(name);
    must(std::fs::create_dir_all(path.parent().unwrap_or(directory.path())));
    must(std::fs::write(path, text));
}

fn free_port() -> u16 {
    let listener = must(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
    must(listener.local_addr()).port()
}

/// Host, names and passwords of private servers consist of characters that mean nothing in TOML.
fn store_file(kind: &str, endpoint: &Endpoint, more: &str) -> String {
    let (host, port, database) = (endpoint.host(), endpoint.port(), endpoint.database());
    let address = match kind {
        "mongodb" => format!("hosts = [\"{host}:{port}\"]\ndirect = true\ndatabases = [\"{database}\"]\n"),
        _ => format!("host = \"{host}\"\nport = {port}\n"),
    };
    let (user, password) = (endpoint.user(), endpoint.password());
    format!(
        "kind = \"{kind}\"\n{address}user = \"{user}\"\npassword = \"{password}\"\ndatabase = \"{database}\"\n\
         changes.mode = \"log\"\nchanges.max_retained = \"64GiB\"\n{more}"
    )
}
