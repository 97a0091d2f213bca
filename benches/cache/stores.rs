//! The stores, their tables, and Tributary before them with copies of most of these.

use std::fmt::Write as _;
use std::ops::Deref;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use mongodb::bson::{Document, doc};
use sqlx::postgres::{PgConnection, PgListener};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, raw_sql};
use tokio::process::Command;
use tributary::sandbox::{Setup, Tributary};

use super::measure::{knob, must};
use super::numbers;
use super::parties::Party;
use super::servers::{Databases, listener};

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
    databases: Databases,
    http: u16,
    server: Tributary,
    /// Accounts and orders; a tenth as many of the others.
    pub rows: u64,
    /// Of the larger one of the tables below views.
    pub rows_of_views: u64,
}

impl Deref for Stores {
    type Target = Databases;

    fn deref(&self) -> &Databases {
        &self.databases
    }
}

impl Stores {
    /// Starts everything, with its rows, and waits until all copies are loaded.
    pub async fn start() -> Self {
        let rows = knob("TRIBUTARY_BENCH_ROWS", 300_000).max(10);
        let rows_of_views = knob("TRIBUTARY_BENCH_VIEW", 1_000_000).max(FEW);
        let databases = Box::pin(Databases::start(&Setup { cache_mib: Some(512), ..Setup::default() })).await;
        fill_postgres(&databases, rows, rows_of_views).await;
        fill_mariadb(&databases, rows / 10).await;
        fill_mongodb(&databases, rows / 10).await;
        fill_sqlite(&databases).await;
        // Of changes of `without_copy` nothing is told, so that Tributary has no work with them.
        let postgres = "changes.tables = [\"notes\", \"accounts\", \"orders\", \"load_rows\", \"few\", \"many\"]\n\
                        changes.cached = [\"notes\", \"accounts\", \"orders\", \"load_rows\"]\n";
        let mariadb = "changes.cached = [\"notes\", \"customers\"]\n";
        let mongodb = format!("changes.cached = [\"notes\", \"profiles\"]\n{COLUMNS}");
        let lines = [postgres, mariadb, mongodb.as_str(), "changes.cached = [\"notes\"]\n"];
        let (server, http) = Box::pin(databases.tributary("cache.memory = \"4GiB\"\n", lines)).await;
        let stores = Self { databases, http, server, rows, rows_of_views };
        stores.until_loaded().await;
        stores
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
        listener(&self.server, channel).await
    }

    /// A number that Tributary tells, the sum of those that begin so.
    pub async fn number(&self, name: &str) -> u64 {
        numbers::sum(self.http, name).await
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
        [Party::at("direct", self.databases.postgres()), Party::at("copy", &self.server)]
    }

    /// What pgbench runs, in a file.
    pub fn script(&self, name: &str, text: &str) -> PathBuf {
        self.databases.write(name, text)
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

async fn fill_postgres(databases: &Databases, rows: u64, rows_of_views: u64) {
    let mut connection = databases.in_postgres().await;
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

async fn fill_mariadb(databases: &Databases, rows: u64) {
    let mut connection = databases.in_mariadb().await;
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
async fn fill_mongodb(databases: &Databases, rows: u64) {
    let database = databases.mongodb();
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

async fn fill_sqlite(databases: &Databases) {
    let mut connection = databases.in_sqlite().await;
    let table = "CREATE TABLE notes (_id bigint NOT NULL PRIMARY KEY, n bigint NOT NULL)";
    must(raw_sql(table).execute(&mut connection).await);
    must(connection.close().await);
}
