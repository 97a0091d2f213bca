//! SQLite's world: a file with a write-ahead log.

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, Row};
use tokio::sync::Mutex;
use tributary::stores::capture::{Follow, How};
use tributary::stores::value::Value;

use super::super::world::{At, Deed, Kind, Sample, Tells, Way, World};
use super::postgres::KINDS;
use super::relational::{DOCUMENTS, Dialect, follow, touched};

const DIALECT: Dialect = Dialect {
    quote: '"',
    key: "INTEGER PRIMARY KEY",
    declared: |kind| match kind {
        Kind::Bool => "BOOLEAN",
        Kind::Int => "INTEGER",
        Kind::Float => "REAL",
        Kind::Decimal => "DECIMAL(10,2)",
        Kind::Text => "TEXT",
        Kind::Bytes => "BLOB",
        Kind::Date => "DATE",
        Kind::Time => "TIME",
        Kind::Timestamp => "TIMESTAMP",
        Kind::TimestampTz => "TIMESTAMPTZ",
        Kind::Uuid => "UUID",
    },
    bytes: ("x'", "'"),
    utc: "Z",
    filler: "hex(zeroblob(500))",
    table_end: "",
    comments: ("", ""),
};

struct Place {
    _directory: tempfile::TempDir,
    path: PathBuf,
    plain: Mutex<SqliteConnection>,
}

/// A file of its own.
pub async fn start() -> Box<dyn World> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("suite.db");
    let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true).journal_mode(SqliteJournalMode::Wal);
    // A checkpoint that meets a reader says so instead of waiting.
    let plain = Mutex::new(options.busy_timeout(Duration::ZERO).connect().await.unwrap());
    let place = Place { _directory: directory, path, plain };
    place.run(&["CREATE TABLE beat (n INTEGER)".to_owned(), "INSERT INTO beat VALUES (0)".to_owned()]).await;
    Box::new(place)
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
        "sqlite"
    }

    fn file(&self, _at: At<'_>) -> String {
        format!("path = '{}'", self.path.display())
    }

    fn quick(&self) -> &'static str {
        ""
    }

    async fn way(&self) -> Way {
        Way::File(self.path.clone())
    }

    fn namespace(&self) -> String {
        "main".to_owned()
    }

    fn kinds(&self) -> Vec<Kind> {
        KINDS.to_vec()
    }

    /// NaN is stored as NULL.
    fn holds(&self, _kind: Kind, value: &Value) -> bool {
        !matches!(value, Value::Float(number) if number.is_nan())
    }

    fn tells(&self) -> Tells {
        Tells {
            not_null: true,
            defaults: true,
            comments: false,
            foreign_keys: true,
            columns: true,
            scans_hold_connections: true,
            ends_readers: true,
            serializable: true,
            savepoints: true,
        }
    }

    /// Tables whose types SQLite can enforce are made so.
    async fn make(&self, sample: &Sample) {
        let strict = [Kind::Int, Kind::Float, Kind::Text, Kind::Bytes];
        let is_strict = sample.columns.iter().all(|(_, kind)| strict.contains(kind));
        let dialect = Dialect { table_end: if is_strict { " STRICT" } else { "" }, ..DIALECT };
        let mut floats = Vec::new();
        let statements = dialect.make(sample, Some(&mut floats));
        let mut floats = floats.into_iter();
        let mut plain = self.plain.lock().await;
        for statement in statements {
            let mut query = sqlx::query(AssertSqlSafe(statement.clone()));
            for float in floats.by_ref().take(statement.matches(", ?").count()) {
                query = query.bind(float);
            }
            query.execute(&mut *plain).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
        }
    }

    async fn make_big(&self) {
        self.run(&DIALECT.make_big()).await;
    }

    async fn make_slow(&self) -> String {
        // Never ends, and never gives a row.
        let sql = "CREATE VIEW slow AS WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT (x + 1) % 1000 FROM c) \
             SELECT CAST(x AS TEXT) AS x FROM c WHERE x < 0";
        self.run(&[sql.to_owned()]).await;
        String::new()
    }

    async fn make_library(&self) {
        self.run(&DIALECT.make_library()).await;
    }

    async fn make_documents(&self) -> String {
        self.run(&DIALECT.make_documents("JSON")).await;
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
        let sql = format!("UPDATE {} SET {column} = {column} + 100 WHERE id = {key}", DIALECT.name(table));
        touched(self.plain.lock().await.execute(sqlx::raw_sql(AssertSqlSafe(sql))).await.map(drop))
    }

    /// The whole file is held.
    async fn hold(&self, _table: &str, _column: &str, _key: i64) -> Box<dyn Send> {
        let mut connection = SqliteConnectOptions::new().filename(&self.path).connect().await.unwrap();
        connection.execute("BEGIN IMMEDIATE").await.unwrap();
        Box::new(connection)
    }

    /// A log that holds something newer than a reader's state cannot be taken over whole while the reader holds it.
    /// Integers, texts, doubles and bytes; no arithmetic.
    fn runs(&self, plan: &str) -> Option<bool> {
        let kind = ["Int", "Text", "Float", "Bytes"].iter().any(|kind| plan.ends_with(&format!(" of {kind}")));
        let node = ["join", "group", "distinct", "union", "count", "coalesce", "case", "window"];
        if kind && node.iter().any(|node| plan.starts_with(node)) || plan.starts_with("like") || plan.starts_with("sort of Int") {
            return Some(true);
        }
        let inexact = ["Add", "Subtract", "Multiply", "Divide", "Modulo", "Sum", "Average", "upper", "lower", "ilike", "reverse"];
        inexact.iter().any(|name| plan.starts_with(name)).then_some(false)
    }

    fn follow(&self) -> Follow {
        follow(How::Outbox)
    }

    /// By a connection that waits for whoever else writes.
    async fn deeds(&self, table: &str, deeds: &[Deed], is_kept: bool) {
        let options = SqliteConnectOptions::new().filename(&self.path).busy_timeout(Duration::from_secs(30));
        let mut connection = options.connect().await.unwrap();
        let sql = DIALECT.deeds(table, deeds, is_kept).join("; ").replacen("BEGIN", "BEGIN IMMEDIATE", 1);
        connection.execute(sqlx::raw_sql(AssertSqlSafe(sql))).await.unwrap();
        connection.close().await.unwrap();
    }

    async fn add_column(&self, table: &str, column: &str) -> bool {
        let options = SqliteConnectOptions::new().filename(&self.path).busy_timeout(Duration::from_secs(30));
        let mut connection = options.connect().await.unwrap();
        connection.execute(sqlx::raw_sql(AssertSqlSafe(DIALECT.add_column(table, column)))).await.unwrap();
        connection.close().await.unwrap();
        true
    }

    /// DELETE without a condition is told row by row.
    async fn truncate(&self, _table: &str) -> bool {
        false
    }

    fn leaves_objects(&self) -> bool {
        true
    }

    async fn busy(&self) -> usize {
        self.run(&["UPDATE beat SET n = n + 1".to_owned()]).await;
        let mut plain = self.plain.lock().await;
        let row = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(&mut *plain).await.unwrap();
        usize::from(row.get::<i64, _>(0) != 0)
    }
}
