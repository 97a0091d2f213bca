//! The databases whose changes are followed, those who write to them, and Tributary before them: what the benches of feeds and of copies
//! share. The tables are each bench's own.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mongodb::bson::Document;
use mongodb::options::{ClientOptions, Credential, ServerAddress};
use mongodb::{Client, Collection, Database};
use sqlx::ConnectOptions;
use sqlx::mysql::MySqlConnection;
use sqlx::postgres::{PgConnection, PgListener, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use tempfile::TempDir;
use tributary::command::password::{fresh_verifier, make_password};
use tributary::sandbox::{Endpoint, MariaDb, Mongo, Postgres, Setup, Tributary};

use super::measure::must;
use super::numbers;

/// The stores by the names that they have in Tributary.
pub const NAMES: [&str; 4] = ["postgres", "mariadb", "mongodb", "sqlite"];
/// The SQLite file, beside the file of the server.
const FILE: &str = "file.db";
/// Longer than anything should take to be there.
const PATIENCE: Duration = Duration::from_secs(300);

/// The servers and the file; dropping this ends them.
pub struct Databases {
    postgres: Postgres,
    mariadb: MariaDb,
    mongodb: Mongo,
    directory: TempDir,
}

impl Databases {
    /// Starts all of them, without tables.
    pub async fn start(setup: &Setup) -> Self {
        let databases = Self {
            postgres: must(Postgres::start_with(setup).await),
            mariadb: must(MariaDb::start_with(setup).await),
            mongodb: must(Mongo::start_with(setup).await),
            directory: must(TempDir::new()),
        };
        // An empty file is an empty database.
        databases.write(FILE, "");
        databases
    }

    /// Starts Tributary with lines of its own file before any table of that, and lines at the end of the store files, in the order of
    /// [`NAMES`]. Waits until all feeds stream, and gives the port at which it tells its numbers.
    pub async fn tributary(&self, server: &str, stores: [&str; 4]) -> (Tributary, u16) {
        let (port, http) = (free_port(), free_port());
        let password = make_password();
        let settings = format!(
            "listen = \"127.0.0.1:{port}\"\nhttp.listen = \"127.0.0.1:{http}\"\nlog.level = \"warn\"\nchanges.log_size = \"4GiB\"\n\
             {server}[roles.bench]\npassword = \"{}\"\nsuperuser = true\n",
            fresh_verifier(&password)
        );
        self.write("tributary.toml", &settings);
        let [postgres, mariadb, mongodb, sqlite] = stores;
        for (name, text) in [
            ("postgres", store_file("postgres", &self.postgres, postgres)),
            ("mariadb", store_file("mariadb", &self.mariadb, mariadb)),
            ("mongodb", store_file("mongodb", &self.mongodb, mongodb)),
            ("sqlite", format!("kind = \"sqlite\"\npath = \"{FILE}\"\nchanges.mode = \"outbox\"\n{sqlite}")),
        ] {
            self.write(&format!("stores/{name}.toml"), &text);
        }
        let endpoint =
            Endpoint { host: "127.0.0.1".to_owned(), port, user: "bench".to_owned(), password, database: "tributary".to_owned() };
        let program = Path::new(env!("CARGO_BIN_EXE_tributary"));
        let started = must(Tributary::start_in(program, self.directory.path(), endpoint, &[]).await);
        for name in NAMES {
            until_streaming(http, name).await;
        }
        (started, http)
    }

    /// Writes a file beside that of the server.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        must(std::fs::create_dir_all(path.parent().unwrap_or(self.directory.path())));
        must(std::fs::write(&path, text));
        path
    }

    /// The server that PostgreSQL is.
    pub fn postgres(&self) -> &Endpoint {
        &self.postgres
    }

    /// The database of MongoDB.
    pub fn mongodb(&self) -> Database {
        client(&self.mongodb).database(self.mongodb.database())
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
        let options = SqliteConnectOptions::new().filename(self.directory.path().join(FILE));
        must(options.busy_timeout(PATIENCE).disable_statement_logging().connect().await)
    }

    /// A collection of MongoDB.
    pub fn in_mongodb(&self, collection: &str) -> Collection<Document> {
        self.mongodb().collection(collection)
    }
}

/// A client of Tributary that listens to a channel.
pub async fn listener(server: &Tributary, channel: &str) -> PgListener {
    let options = server.postgres_options().disable_statement_logging();
    let pool = must(PgPoolOptions::new().max_connections(1).connect_with(options).await);
    let mut listener = must(PgListener::connect_with(&pool).await);
    must(listener.listen(channel).await);
    listener
}

async fn until_streaming(http: u16, store: &str) {
    let started = Instant::now();
    let state = format!("tributary_feed_state{{store=\"{store}\",state=\"streaming\"}}");
    while numbers::sum(http, &state).await != 1 {
        must(if started.elapsed() < PATIENCE { Ok(()) } else { Err(format!("the feed of {store} does not stream")) });
        tokio::time::sleep(Duration::from_millis(20)).await;
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
