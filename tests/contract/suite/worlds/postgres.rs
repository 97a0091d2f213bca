//! PostgreSQL's world.

use async_trait::async_trait;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Executor};
use tokio::sync::Mutex;
use tributary::sandbox::Postgres;
use tributary::stores::capture::{Follow, How};
use tributary::stores::value::Value;

use super::super::world::{At, Deed, Kind, Sample, Tells, Way, World};
use super::relational::{DOCUMENTS, Dialect, follow, touched};
use crate::changes::room;
use crate::support;

const DIALECT: Dialect = Dialect {
    quote: '"',
    key: "bigint PRIMARY KEY",
    declared: |kind| match kind {
        Kind::Bool => "boolean",
        Kind::Int => "bigint",
        Kind::Float => "double precision",
        Kind::Decimal => "numeric(10,2)",
        Kind::Text => "text",
        Kind::Bytes => "bytea",
        Kind::Date => "date",
        Kind::Time => "time",
        Kind::Timestamp => "timestamp",
        Kind::TimestampTz => "timestamptz",
        Kind::Uuid => "uuid",
    },
    bytes: ("'\\x", "'"),
    utc: "+00",
    filler: "repeat('x', 1000)",
    table_end: "",
    comments: ("", ""),
};

/// Every kind.
pub const KINDS: [Kind; 11] = [
    Kind::Bool,
    Kind::Int,
    Kind::Float,
    Kind::Decimal,
    Kind::Text,
    Kind::Bytes,
    Kind::Date,
    Kind::Time,
    Kind::Timestamp,
    Kind::TimestampTz,
    Kind::Uuid,
];

struct Place {
    server: &'static Postgres,
    database: String,
    plain: Mutex<PgConnection>,
    /// By what it is followed.
    how: How,
}

/// A database of its own on the shared server.
pub async fn start() -> Box<dyn World> {
    on(support::postgres().await, How::Log).await
}

/// A database of its own on a server where nobody keeps transactions open.
pub async fn start_followed() -> Box<dyn World> {
    on(room::postgres().await, How::Log).await
}

/// The same, followed by triggers.
pub async fn start_with_triggers() -> Box<dyn World> {
    on(room::postgres().await, How::Outbox).await
}

async fn on(server: &'static Postgres, how: How) -> Box<dyn World> {
    let database = server.fresh_database().await.unwrap();
    let options = PgConnectOptions::new_without_pgpass()
        .host(server.host())
        .port(server.port())
        .username(server.user())
        .password(server.password())
        .database(&database);
    let plain = Mutex::new(options.connect().await.unwrap());
    Box::new(Place { server, database, plain, how })
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
        "postgres"
    }

    fn file(&self, at: At<'_>) -> String {
        format!(
            "host = '{}'\nport = {}\nuser = '{}'\npassword = '{}'\ndatabase = '{}'",
            if at.port.is_some() { "127.0.0.1" } else { self.server.host() },
            at.port.unwrap_or_else(|| self.server.port()),
            self.server.user(),
            at.password.unwrap_or_else(|| self.server.password()),
            self.database
        )
    }

    fn quick(&self) -> &'static str {
        "connect_timeout = '500ms'"
    }

    async fn way(&self) -> Way {
        Way::to(self.server.host(), self.server.port()).await
    }

    fn namespace(&self) -> String {
        "public".to_owned()
    }

    fn kinds(&self) -> Vec<Kind> {
        KINDS.to_vec()
    }

    fn holds(&self, _kind: Kind, _value: &Value) -> bool {
        true
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
        self.run(&["CREATE VIEW slow AS SELECT 1::int8 AS x FROM pg_sleep(600)".to_owned()]).await;
        String::new()
    }

    async fn make_library(&self) {
        self.run(&DIALECT.make_library()).await;
        let comments = "COMMENT ON TABLE author IS 'who writes'; COMMENT ON COLUMN author.note IS 'a remark'; ANALYZE author";
        self.run(&[comments.to_owned()]).await;
    }

    async fn make_documents(&self) -> String {
        self.run(&DIALECT.make_documents("jsonb")).await;
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
        let sql = format!("SET LOCAL lock_timeout = '200ms'; {update}");
        touched(self.plain.lock().await.execute(sqlx::raw_sql(AssertSqlSafe(sql))).await.map(drop))
    }

    async fn hold(&self, table: &str, column: &str, key: i64) -> Box<dyn Send> {
        let mut connection = self.server.postgres_options().database(&self.database).connect().await.unwrap();
        let sql = format!("BEGIN; UPDATE {} SET {column} = {column} WHERE id = {key}", DIALECT.name(table));
        connection.execute(sqlx::raw_sql(AssertSqlSafe(sql))).await.unwrap();
        Box::new(connection)
    }

    /// All but what reads settings or the locale, what PostgreSQL itself lacks, and what changed between its releases.
    fn runs(&self, plan: &str) -> Option<bool> {
        let lacks =
            ["Minimum of Bool", "Maximum of Bool", "Minimum of Bytes", "Maximum of Bytes", "Minimum of Uuid", "Maximum of Uuid"];
        let folds = plan.starts_with("upper") || plan.starts_with("lower") || plan == "ilike";
        let of_moment = ["extract", "date part", "date trunc"].iter().any(|word| plan.starts_with(word)) || plan.contains(" as ");
        let of_float = plan.contains(" of Float") || plan.contains(" of every Float");
        if lacks.contains(&plan) || folds || plan.contains("TimestampTz as") && !plan.ends_with("with time zone") {
            return Some(false);
        }
        (!of_moment && !of_float).then_some(true)
    }

    fn follow(&self) -> Follow {
        follow(self.how)
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
        true
    }

    async fn busy(&self) -> usize {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
             AND application_name = 'tributary' AND state <> 'idle'";
        let count: i64 = sqlx::query_scalar(sql).fetch_one(&mut *self.plain.lock().await).await.unwrap();
        usize::try_from(count).unwrap()
    }
}
