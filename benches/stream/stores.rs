//! Two stores with the same big table, and whether a query still runs in them.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor};
use tempfile::TempDir;
use tributary::sandbox::{Durability, Postgres, Setup};

use super::measure::must;

/// The stores' names, which are their SQL schemas.
pub const NAMES: [&str; 2] = ["postgres", "sqlite"];

/// The servers, the files, and where they are.
pub struct Stores {
    pub postgres: Postgres,
    directory: TempDir,
}

impl Stores {
    /// Starts a PostgreSQL that asks local users for no password, and fills both stores.
    pub async fn fill(rows: u64) -> Self {
        let directory = must(TempDir::new());
        // The server runs under another account.
        must(std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755)));
        let access = directory.path().join("pg_hba.conf");
        must(std::fs::write(&access, "host all all 127.0.0.1/32 trust\n"));
        let setup = Setup {
            durability: Durability::Forgone,
            arguments: vec!["-c".to_owned(), format!("hba_file={}", access.display())],
            ..Setup::default()
        };
        let stores = Self { postgres: must(Postgres::start_with(&setup).await), directory };
        let mut connection = stores.direct().await;
        must(
            connection
                .execute("CREATE UNLOGGED TABLE events (id int8, at timestamp, kind text, amount numeric(12,2), note text)")
                .await,
        );
        let insert = format!(
            "INSERT INTO events SELECT n, timestamp '2020-01-01' + n * interval '1 second', 'kind ' || n % 17, \
             (n % 1000000) / 100.0, md5(n::text) FROM generate_series(1, {rows}) AS n"
        );
        must(connection.execute(AssertSqlSafe(insert)).await);
        must(connection.execute("VACUUM (FREEZE, ANALYZE) events").await);
        must(connection.close().await);
        must(stores.fill_sqlite(rows).await);
        stores
    }

    async fn fill_sqlite(&self, rows: u64) -> Result<(), sqlx::Error> {
        let options = SqliteConnectOptions::new().filename(self.sqlite_path()).create_if_missing(true);
        let mut connection = options.journal_mode(SqliteJournalMode::Off).disable_statement_logging().connect().await?;
        let table = "CREATE TABLE events (id INTEGER PRIMARY KEY, at TIMESTAMP, kind TEXT, amount DECIMAL(12,2), note TEXT)";
        connection.execute(table).await?;
        let insert = format!(
            "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {rows}) \
             INSERT INTO events SELECT n, datetime(1577836800 + n, 'unixepoch'), 'kind ' || n % 17, (n % 1000000) / 100.0, \
             printf('%032x', n * 2654435761) FROM numbers"
        );
        connection.execute(AssertSqlSafe(insert)).await?;
        connection.close().await
    }

    /// The database file.
    pub fn sqlite_path(&self) -> PathBuf {
        self.directory.path().join("events.db")
    }

    /// Where PostgreSQL itself is.
    pub fn postgres_address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.postgres.port()))
    }

    async fn direct(&self) -> PgConnection {
        let server = &self.postgres;
        let options = PgConnectOptions::new_without_pgpass().host(server.host()).port(server.port()).database(server.database());
        must(options.username(server.user()).password(server.password()).disable_statement_logging().connect().await)
    }

    /// Whether the store runs a query of the proxy.
    pub async fn is_asked(&self, store: &str) -> bool {
        if store == "sqlite" { self.is_sqlite_read().await } else { self.is_postgres_asked().await }
    }

    async fn is_postgres_asked(&self) -> bool {
        let mut connection = self.direct().await;
        let running = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'tributary' AND state = 'active'";
        let count: i64 = must(sqlx::query_scalar(running).fetch_one(&mut connection).await);
        must(connection.close().await);
        count > 0
    }

    /// A reader keeps others from locking the file as a whole ("File Locking And Concurrency", sqlite.org).
    async fn is_sqlite_read(&self) -> bool {
        let options = SqliteConnectOptions::new().filename(self.sqlite_path()).busy_timeout(Duration::ZERO);
        let mut connection: SqliteConnection = must(options.disable_statement_logging().connect().await);
        let locked = connection.execute("BEGIN EXCLUSIVE").await;
        let is_read = match locked {
            Ok(_) => false,
            Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("5") => true,
            Err(error) => must(Err(error)),
        };
        // Closing ends the transaction.
        must(connection.close().await);
        is_read
    }
}
