//! The PostgreSQL connector against a real server: what is special to it, besides the suite that every connector runs.

mod changes;
mod documents;
mod ends;
mod failures;
mod fragments;
mod keys;
mod ledger;
mod loads;
mod prepared;
mod ranges;
mod reaching;
mod reads;
mod rows;
pub mod types;
mod writes;

use std::sync::Arc;

use arrow::array::RecordBatch;
use futures::TryStreamExt;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Executor};
use tributary::sandbox::Postgres;
use tributary::stores::connector::{Connector, Purpose, Scan, ScanLimits, StoreName};
use tributary::stores::schema::Table;
use tributary::stores::{Predicate, StoreError, kind};

use crate::support::secrets::NoSecrets;

/// A database of its own with a connector on it, and a plain connection to prepare and check things with.
pub struct Fixture {
    pub plain: PgConnection,
    pub connector: Arc<dyn Connector>,
}

impl Fixture {
    /// A new database on the shared server.
    pub async fn new() -> Self {
        Self::on(crate::support::postgres().await, "").await
    }

    /// A new database on `server`; `options` are further lines of the store file.
    pub async fn on(server: &Postgres, options: &str) -> Self {
        let database = server.fresh_database().await.unwrap();
        let plain = PgConnectOptions::new_without_pgpass()
            .host(server.host())
            .port(server.port())
            .username(server.user())
            .password(server.password())
            .database(&database)
            .connect()
            .await
            .unwrap();
        Self { plain, connector: connector(server, &database, server.password(), options).unwrap() }
    }

    /// Runs statements on the plain connection.
    pub async fn run(&mut self, sql: &str) {
        self.plain.execute(sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// The first column of the first row, as text.
    pub async fn ask(&mut self, sql: &str) -> Option<String> {
        sqlx::query_scalar(AssertSqlSafe(sql.to_owned())).fetch_one(&mut self.plain).await.unwrap()
    }

    /// Discovers and returns a table of namespace `public`.
    pub async fn table(&self, name: &str) -> Arc<Table> {
        let schema = self.connector.discover().await.unwrap();
        let found = schema.tables.iter().find(|table| table.id.namespace == "public" && table.id.name == name);
        found.unwrap_or_else(|| panic!("no table {name}")).clone()
    }

    /// Reads all columns of a table in a statement of its own.
    pub async fn read(&self, table: &Arc<Table>, filter: Vec<Predicate>) -> Result<Vec<RecordBatch>, StoreError> {
        let scan = scan_of(table, filter);
        let branch = self.connector.open(Purpose::Statement { scans: 1 }).await?;
        branch.scan(table, &scan, ScanLimits::default()).await?.try_collect().await
    }
}

/// A scan of all columns.
pub fn scan_of(table: &Table, filter: Vec<Predicate>) -> Scan {
    Scan { store: StoreName::new("crm"), table: table.id.clone(), columns: (0..table.columns.len()).collect(), filter, limit: None }
}

/// How many rows the batches have.
pub fn row_count(batches: &[RecordBatch]) -> usize {
    batches.iter().map(RecordBatch::num_rows).sum()
}

/// A connector as its store file would make it.
pub fn connector(
    server: &Postgres,
    database: &str,
    password: &str,
    options: &str,
) -> Result<Arc<dyn Connector>, Vec<tributary::options::Problem>> {
    let file = format!(
        "host = '{}'\nport = {}\nuser = '{}'\npassword = '{password}'\ndatabase = '{database}'\n{options}",
        server.host(),
        server.port(),
        server.user()
    );
    let table: toml::Table = toml::from_str(&file).unwrap();
    kind("postgres").unwrap().parse(&StoreName::new("crm"), "stores.crm", &table, &NoSecrets)
}
