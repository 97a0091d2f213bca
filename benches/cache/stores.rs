//! The stores, their tables, and Tributary before them with copies of most of these.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mongodb::bson::{Document, doc};
use mongodb::options::{ClientOptions, Credential, ServerAddress};
use mongodb::{Client, Collection};
use sqlx::mysql::MySqlConnection;
use sqlx::postgres::{PgConnection, PgListener, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, raw_sql};
use tempfile::TempDir;
use tokio::process::Command;
use tributary::command::password::{fresh_verifier, make_password};
use tributary::sandbox::{Endpoint, MariaDb, Mongo, Postgres, Setup, Tributary};

use super::measure::{knob, must};
use super::numbers;
use super::parties::Party;

/// The stores by the names that they have in Tributary.
pub const NAMES: [&str; 4] = ["postgres", "mariadb", "mongodb", "sqlite"];
/// How many tables are copied, as the store files below say.
const COPIES: i64 = 9;
/// What collections hold.
const COLUMNS: &str = "[collections.notes.columns]\n_id = \"bigint\"\nn = \"bigint\"\n\
    [collections.profiles.columns]\n_id = \"bigint\"\nscore = \"bigint\"\n";
/// Documents that are written at a time.
const DOCUMENTS: u64 = 10_000;
/// How many times as many rows the larger one of the tables below views has.
pub const FEW: u64 = 100;
/// Longer than anything should take to be there.
const PATIENCE: Duration = Duration::from_secs(300);

/// The servers; dropping this ends them.
pub struct Stores {
    postgres: Postgres,
    mariadb: MariaDb,
    mongodb: Mongo,
    directory: TempDir,
    http: u16,
    server: Tributary,
    /// Accounts and orders; a tenth as many of the others.
    pub rows: u64,
    /// Of the larger one of the tables below views.
    pub rows_of_views: u64,
}

impl Stores {
    /// Starts everything, with its rows, and waits until all copies are loaded.
    pub async fn start() -> Self {
        let rows = knob("TRIBUTARY_BENCH_ROWS", 300_000).max(10);
        let rows_of_views = knob("TRIBUTARY_BENCH_VIEW", 1_000_000).max(FEW);
        let setup = Setup { cache_mib: Some(512), ..Setup::default() };
        let postgres = must(Postgres::start_with(&setup).await);
        let mariadb = must(MariaDb::start_with(&setup).await);
        let mongodb = must(Mongo::start_with(&setup).await);
        let directory = must(TempDir::new());
        fill_postgres(&postgres, rows, rows_of_views).await;
        fill_mariadb(&mariadb, rows / 10).await;
        fill_mongodb(&mongodb, rows / 10).await;
        fill_sqlite(&directory.path().join("file.db")).await;
        let (port, http) = (free_port(), free_port());
        let password = make_password();
        let settings = format!(
            "listen = \"127.0.0.1:{port}\"\nhttp.listen = \"127.0.0.1:{http}\"\nlog.level = \"warn\"\nchanges.log_size = \"4GiB\"\n\
             cache.memory = \"4GiB\"\n[roles.bench]\npassword = \"{}\"\nsuperuser = true\n",
            fresh_verifier(&password)
        );
        write(&directory, "tributary.toml", &settings);
        // Of changes of `without_copy` nothing is told, so that Tributary has no work with them.
        let postgres_copies = "changes.tables = [\"notes\", \"accounts\", \"orders\", \"load_rows\", \"few\", \"many\"]\n\
                               changes.cached = [\"notes\", \"accounts\", \"orders\", \"load_rows\"]\n";
        let mongodb_copies = format!("changes.cached = [\"notes\", \"profiles\"]\n{COLUMNS}");
        let sqlite = "kind = \"sqlite\"\npath = \"file.db\"\nchanges.mode = \"outbox\"\nchanges.cached = [\"notes\"]\n";
        for (name, text) in [
            ("postgres", store_file("postgres", &postgres, postgres_copies)),
            ("mariadb", store_file("mariadb", &mariadb, "changes.cached = [\"notes\", \"customers\"]\n")),
            ("mongodb", store_file("mongodb", &mongodb, &mongodb_copies)),
            ("sqlite", sqlite.to_owned()),
        ] {
            write(&directory, &format!("stores/{name}.toml"), &text);
        }
        let endpoint =
            Endpoint { host: "127.0.0.1".to_owned(), port, user: "bench".to_owned(), password, database: "tributary".to_owned() };
        let program = Path::new(env!("CARGO_BIN_EXE_tributary"));
        let server = must(Tributary::start_in(program, directory.path(), endpoint, &[]).await);
        let stores = Self { postgres, mariadb, mongodb, directory, http, server, rows, rows_of_views };
        for name in NAMES {
            stores.until_streaming(name).await;
        }
        stores.until_loaded().await;
        stores
    }

    async fn until_streaming(&self, store: &str) {
        let started = Instant::now();
        let state = format!("tributary_feed_state{{store=\"{store}\",state=\"streaming\"}}");
        while numbers::sum(self.http, &state).await != 1 {
            check_time(started, &format!("the feed of {store} does not stream"));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn until_loaded(&self) {
        let mut connection = self.connect("eventual").await;
        let started = Instant::now();
        loop {
            let sql = "SELECT store || '.' || table_name, state, coalesce(reason, '') FROM tributary.freshness";
            let copies: Vec<(String, String, String)> = must(sqlx::query_as(sql).fetch_all(&mut connection).await);
            let loaded = copies.iter().filter(|(_, state, _)| state == "cached").count();
            if i64::try_from(loaded).is_ok_and(|loaded| loaded == COPIES) {
                return;
            }
            let mut missing = String::from("not every copy is loaded:");
            for (table, state, reason) in copies.iter().filter(|(_, state, _)| state != "cached") {
                let _ = write!(missing, " {table} is {state} {reason};");
            }
            check_time(started, &missing);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// A client of Tributary whose reads have this guarantee.
    pub async fn connect(&self, consistency: &str) -> PgConnection {
        let mut connection: PgConnection = must(self.server.postgres_options().disable_statement_logging().connect().await);
        let set = format!("SET tributary.consistency = '{consistency}'");
        must(raw_sql(AssertSqlSafe(set)).execute(&mut connection).await);
        connection
    }

    /// A client that listens to a channel.
    pub async fn listener(&self, channel: &str) -> PgListener {
        let options = self.server.postgres_options().disable_statement_logging();
        let pool = must(PgPoolOptions::new().max_connections(1).connect_with(options).await);
        let mut listener = must(PgListener::connect_with(&pool).await);
        must(listener.listen(channel).await);
        listener
    }

    /// How many reads of some tables their copies have answered, and how many their stores.
    pub async fn answered(&self, tables: &[&str]) -> (i64, i64) {
        let mut connection = self.connect("eventual").await;
        let names = tables.iter().map(|table| format!("'{table}'")).collect::<Vec<_>>().join(", ");
        let sql = format!(
            "SELECT coalesce(sum(served), 0)::bigint, coalesce(sum(fell_through), 0)::bigint FROM tributary.freshness \
             WHERE store || '.' || table_name IN ({names})"
        );
        must(sqlx::query_as(AssertSqlSafe(sql)).fetch_one(&mut connection).await)
    }

    /// How many rows the copy of a table of PostgreSQL has; `None` while there is no copy.
    pub async fn copied(&self, connection: &mut PgConnection, table: &str) -> Option<i64> {
        let sql = format!(
            "SELECT rows FROM tributary.freshness WHERE store = 'postgres' AND table_name = '{table}' AND state = 'cached'"
        );
        must(sqlx::query_scalar(AssertSqlSafe(sql)).fetch_optional(connection).await)
    }

    /// PostgreSQL, and Tributary.
    pub fn parties(&self) -> [Party; 2] {
        [Party::at("direct", &self.postgres), Party::at("copy", &self.server)]
    }

    /// What pgbench runs, in a file.
    pub fn script(&self, name: &str, text: &str) -> PathBuf {
        write(&self.directory, name, text);
        self.directory.path().join(name)
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

    /// The processor time of Tributary so far.
    pub fn processor_time(&self) -> Duration {
        numbers::processor_time(self.server.process_id().unwrap_or_default())
    }

    /// Holds Tributary where it is, or lets it go on.
    pub async fn hold(&self, is_held: bool) {
        let signal = if is_held { "-STOP" } else { "-CONT" };
        let process = must(self.server.process_id().ok_or("Tributary has ended"));
        let status = must(Command::new("kill").args([signal, &process.to_string()]).status().await);
        must(if status.success() { Ok(()) } else { Err(format!("kill {signal} ended with {status}")) });
    }
}

/// Ends a bench that waits for what does not come about.
pub fn check_time(started: Instant, what: &str) {
    must(if started.elapsed() < PATIENCE { Ok(()) } else { Err(format!("it takes too long: {what}")) });
}

async fn fill_postgres(postgres: &Postgres, rows: u64, rows_of_views: u64) {
    let mut connection: PgConnection = must(postgres.postgres_options().disable_statement_logging().connect().await);
    let account = "(id bigint NOT NULL PRIMARY KEY, owner bigint NOT NULL, balance bigint NOT NULL, filler text NOT NULL)";
    let filled = format!("SELECT n, n / 10, n % 1000, repeat('x', 84) FROM generate_series(1, {rows}) AS n");
    let statements = format!(
        "CREATE TABLE notes (_id bigint NOT NULL PRIMARY KEY, n bigint NOT NULL); \
         CREATE TABLE load_rows (_id bigint NOT NULL PRIMARY KEY, a bigint NOT NULL, b integer, c text, d text, e timestamp); \
         CREATE TABLE accounts {account}; INSERT INTO accounts {filled}; \
         CREATE TABLE without_copy {account}; INSERT INTO without_copy {filled}; \
         CREATE TABLE orders (id bigint NOT NULL PRIMARY KEY, customer bigint NOT NULL, total bigint NOT NULL); \
         INSERT INTO orders SELECT n, n % {customers}, n % 1000 FROM generate_series(1, {rows}) AS n; \
         CREATE TABLE few (LIKE orders INCLUDING ALL); CREATE TABLE many (LIKE orders INCLUDING ALL); \
         INSERT INTO few SELECT n, n % {customers}, n % 1000 FROM generate_series(1, {few}) AS n; \
         INSERT INTO many SELECT n, n % {customers}, n % 1000 FROM generate_series(1, {rows_of_views}) AS n",
        customers = (rows / 10).max(1),
        few = rows_of_views / FEW
    );
    must(raw_sql(AssertSqlSafe(statements)).execute(&mut connection).await);
    must(raw_sql("VACUUM (ANALYZE)").execute(&mut connection).await);
    must(connection.close().await);
}

async fn fill_mariadb(mariadb: &MariaDb, rows: u64) {
    let mut connection: MySqlConnection = must(mariadb.mysql_options().disable_statement_logging().connect().await);
    let statements = format!(
        "CREATE TABLE notes (_id bigint NOT NULL PRIMARY KEY, n bigint NOT NULL); \
         CREATE TABLE customers (id bigint NOT NULL PRIMARY KEY, region bigint NOT NULL, credit bigint NOT NULL); \
         INSERT INTO customers SELECT seq, seq % 50, seq % 1000 FROM seq_0_to_{}; ANALYZE TABLE customers",
        rows.max(1) - 1
    );
    must(raw_sql(AssertSqlSafe(statements)).execute(&mut connection).await);
    must(connection.close().await);
}

/// Collections whose changes tell whole documents: copies need that.
async fn fill_mongodb(mongodb: &Mongo, rows: u64) {
    let database = client(mongodb).database(mongodb.database());
    for collection in ["notes", "profiles"] {
        must(database.run_command(doc! { "create": collection, "changeStreamPreAndPostImages": { "enabled": true } }).await);
    }
    let profiles = database.collection::<Document>("profiles");
    let rows = i64::try_from(rows.max(1)).unwrap_or(i64::MAX);
    for start in (0..rows).step_by(usize::try_from(DOCUMENTS).unwrap_or(1)) {
        let ids = start..rows.min(start.saturating_add(i64::try_from(DOCUMENTS).unwrap_or(1)));
        let documents: Vec<Document> = ids.map(|id| doc! { "_id": id, "score": id % 997 }).collect();
        must(profiles.insert_many(documents).await);
    }
}

async fn fill_sqlite(file: &Path) {
    let mut connection: SqliteConnection = must(SqliteConnectOptions::new().filename(file).create_if_missing(true).connect().await);
    let table = "CREATE TABLE notes (_id bigint NOT NULL PRIMARY KEY, n bigint NOT NULL)";
    must(raw_sql(table).execute(&mut connection).await);
    must(connection.close().await);
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
