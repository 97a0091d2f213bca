//! The world of MariaDB, and of MySQL where one is named.

use async_trait::async_trait;
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Executor};
use tokio::sync::Mutex;
use tributary::sandbox::{MariaDb, Setup};
use tributary::stores::capture::{Follow, How};
use tributary::stores::value::Value;

use super::super::world::{At, Deed, Kind, Sample, Tells, Way, World};
use super::postgres::KINDS;
use super::relational::{DOCUMENTS, Dialect, follow, touched};
use crate::changes::room;
use crate::support::{self, MariaDbOf};

const DIALECT: Dialect = Dialect {
    quote: '`',
    key: "bigint PRIMARY KEY",
    declared: |kind| match kind {
        Kind::Bool => "boolean",
        Kind::Int => "bigint",
        Kind::Float => "double",
        Kind::Decimal => "decimal(10,2)",
        Kind::Text => "varchar(200)",
        Kind::Bytes => "varbinary(200)",
        Kind::Date => "date",
        Kind::Time => "time(6)",
        Kind::Timestamp => "datetime(6)",
        Kind::TimestampTz => "timestamp(6) NULL",
        Kind::Uuid => "uuid",
    },
    bytes: ("x'", "'"),
    utc: "",
    filler: "repeat('x', 1000)",
    table_end: " CHARACTER SET utf8mb4",
    comments: (" COMMENT 'who writes'", " COMMENT 'a remark'"),
};

struct Place {
    server: MariaDbOf,
    database: String,
    plain: Mutex<MySqlConnection>,
    is_mariadb: bool,
}

/// A database of its own on the shared MariaDB.
pub async fn start() -> Box<dyn World> {
    on(MariaDbOf::All(support::mariadb().await)).await
}

/// A database of its own on a MariaDB whose log is of these tests.
pub async fn start_followed() -> Box<dyn World> {
    on(MariaDbOf::All(room::mariadb().await)).await
}

/// A database of its own on the MySQL that the environment names.
#[cfg(feature = "test_mysql")]
pub async fn start_mysql() -> Box<dyn World> {
    on(MariaDbOf::One(support::mysql().expect("TRIBUTARY_TEST_MYSQL_URL names no server"))).await
}

/// A MariaDB that keeps no binary log.
pub async fn start_without_log() -> Box<dyn World> {
    let setup = Setup { arguments: vec!["--skip-log-bin".to_owned()], ..support::throwaway() };
    on(MariaDbOf::One(MariaDb::start_with(&setup).await.unwrap())).await
}

async fn on(server: MariaDbOf) -> Box<dyn World> {
    let database = server.fresh_database().await.unwrap();
    let options = MySqlConnectOptions::new()
        .host(server.host())
        .port(server.port())
        .username(server.user())
        .password(server.password())
        .database(&database)
        .pipes_as_concat(false)
        .no_engine_substitution(false);
    let mut plain = options.connect().await.unwrap();
    plain.execute("SET sql_mode = 'NO_BACKSLASH_ESCAPES,STRICT_ALL_TABLES', time_zone = '+00:00'").await.unwrap();
    let version: String = sqlx::query_scalar("SELECT VERSION()").fetch_one(&mut plain).await.unwrap();
    Box::new(Place { server, database, plain: Mutex::new(plain), is_mariadb: version.contains("MariaDB") })
}

impl Place {
    async fn run(&self, statements: &[String]) {
        let sql = statements.join(";\n");
        let mut plain = self.plain.lock().await;
        plain.execute(sqlx::raw_sql(AssertSqlSafe(sql.clone()))).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
}

#[async_trait]
impl World for Place {
    fn word(&self) -> &'static str {
        "mysql"
    }

    fn file(&self, at: At<'_>) -> String {
        let server = &self.server;
        format!(
            "host = '{}'\nport = {}\nuser = '{}'\npassword = '{}'\ndatabase = '{}'\ntinyint1 = 'bool'",
            if at.port.is_some() { "127.0.0.1" } else { server.host() },
            at.port.unwrap_or_else(|| server.port()),
            server.user(),
            at.password.unwrap_or_else(|| server.password()),
            self.database
        )
    }

    fn quick(&self) -> &'static str {
        "connect_timeout = '500ms'"
    }

    async fn way(&self) -> Way {
        let server = &self.server;
        Way::to(server.host(), server.port()).await
    }

    fn namespace(&self) -> String {
        self.database.clone()
    }

    /// `time` is a span here, and MySQL has no `uuid`.
    fn kinds(&self) -> Vec<Kind> {
        KINDS.into_iter().filter(|kind| *kind != Kind::Time && (self.is_mariadb || *kind != Kind::Uuid)).collect()
    }

    /// Neither NaN nor infinities, and no numbers so small that they have fewer digits.
    fn holds(&self, _kind: Kind, value: &Value) -> bool {
        !matches!(value, Value::Float(number) if !(number.is_normal() || *number == 0.0))
    }

    fn tells(&self) -> Tells {
        Tells {
            not_null: true,
            defaults: true,
            comments: true,
            foreign_keys: true,
            columns: true,
            scans_hold_connections: true,
            ends_readers: true,
            serializable: true,
            savepoints: true,
        }
    }

    async fn make(&self, sample: &Sample) {
        self.run(&DIALECT.make(sample, None)).await;
    }

    async fn make_big(&self) {
        self.run(&DIALECT.make_big()).await;
    }

    async fn make_slow(&self) -> String {
        let statements = [
            "CREATE TABLE sleeper (n bigint)",
            "INSERT INTO sleeper VALUES (1), (2), (3), (4), (5), (6), (7), (8), (9)",
            "CREATE VIEW slow AS SELECT SLEEP(100) AS x, n FROM sleeper",
        ];
        self.run(&statements.map(str::to_owned)).await;
        String::new()
    }

    async fn make_library(&self) {
        self.run(&DIALECT.make_library()).await;
        self.run(&["ANALYZE TABLE author".to_owned()]).await;
    }

    async fn make_documents(&self) -> String {
        self.run(&DIALECT.make_documents("json")).await;
        DOCUMENTS.to_owned()
    }

    async fn append(&self, table: &str, key: i64) {
        self.run(&[format!("INSERT INTO {} (id) VALUES ({key})", DIALECT.name(table))]).await;
    }

    async fn clear(&self, table: &str) {
        self.run(&[format!("DELETE FROM {}", DIALECT.name(table))]).await;
    }

    async fn drop_column(&self, table: &str, column: &str) {
        self.run(&[format!("ALTER TABLE {} DROP COLUMN {}", DIALECT.name(table), DIALECT.name(column))]).await;
    }

    async fn drop_table(&self, table: &str) {
        self.run(&[format!("DROP TABLE {}", DIALECT.name(table))]).await;
    }

    async fn touch(&self, table: &str, column: &str, key: i64) -> bool {
        let update = format!("UPDATE {} SET {column} = {column} + 100 WHERE id = {key}", DIALECT.name(table));
        let sql = format!("SET SESSION innodb_lock_wait_timeout = 1; {update}");
        touched(self.plain.lock().await.execute(sqlx::raw_sql(AssertSqlSafe(sql))).await.map(drop))
    }

    async fn hold(&self, table: &str, column: &str, key: i64) -> Box<dyn Send> {
        let mut connection = self.server.mysql_options().database(&self.database).connect().await.unwrap();
        let sql = format!("START TRANSACTION; UPDATE {} SET {column} = {column} WHERE id = {key}", DIALECT.name(table));
        connection.execute(sqlx::raw_sql(AssertSqlSafe(sql))).await.unwrap();
        Box::new(connection)
    }

    fn follow(&self) -> Follow {
        follow(How::Log)
    }

    async fn deeds(&self, table: &str, deeds: &[Deed], is_kept: bool) {
        self.run(&DIALECT.deeds(table, deeds, is_kept)).await;
    }

    async fn add_column(&self, table: &str, column: &str) -> bool {
        self.run(&[DIALECT.add_column(table, column)]).await;
        true
    }

    async fn truncate(&self, table: &str) -> bool {
        self.run(&[format!("TRUNCATE TABLE {}", DIALECT.name(table))]).await;
        true
    }

    fn leaves_objects(&self) -> bool {
        false
    }

    async fn busy(&self) -> usize {
        let sql = format!(
            "SELECT count(*) FROM information_schema.PROCESSLIST WHERE INFO LIKE '%`{}`.%' AND ID <> CONNECTION_ID()",
            self.database
        );
        let mut plain = self.plain.lock().await;
        let count: i64 = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut *plain).await.unwrap();
        usize::try_from(count).unwrap()
    }
}
