//! The MySQL/MariaDB connector against a real MariaDB.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use futures::TryStreamExt;
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Executor};
use tributary::sandbox::MariaDb;
use tributary::stores::connector::ScanLimits;
use tributary::stores::predicate::ColumnRef;
use tributary::stores::schema::TableId;
use tributary::stores::{Connector, Predicate, Purpose, Scan, StoreError, StoreName, Table};

use crate::support::secrets::NoSecrets;
use crate::support::{self, MariaDbOf};

mod changes;
mod conditions;
mod documents;
mod failures;
mod fragments;
mod life;
mod positions;
pub mod types;
mod writes;

/// A connector over a server, with further lines of its store file.
fn connector(server: &MariaDb, database: &str, more: &str) -> Arc<dyn Connector> {
    let file = format!(
        "host = \"{}\"\nport = {}\nuser = \"{}\"\npassword = \"{}\"\ndatabase = \"{database}\"\n{more}\n",
        server.host(),
        server.port(),
        server.user(),
        server.password()
    );
    parse(&file)
}

fn parse(file: &str) -> Arc<dyn Connector> {
    let table: toml::Table = toml::from_str(file).unwrap();
    let kind = tributary::stores::kind("mariadb").unwrap();
    kind.parse(&StoreName::new("shop"), "stores.shop", &table, &NoSecrets).unwrap()
}

/// A database of its own, a connection that writes to it, and a connector that reads it.
struct Room {
    server: MariaDbOf,
    database: String,
    writer: MySqlConnection,
    store: Arc<dyn Connector>,
}

impl Room {
    /// On the server of all tests.
    async fn new(more: &str) -> Self {
        Self::on(MariaDbOf::All(support::mariadb().await), more).await
    }

    /// On a server whose log grows only by what this room writes.
    async fn alone(more: &str) -> Self {
        Self::on(MariaDbOf::One(MariaDb::start_with(&support::throwaway()).await.unwrap()), more).await
    }

    async fn on(server: MariaDbOf, more: &str) -> Self {
        let database = server.fresh_database().await.unwrap();
        let writer = connect(&server, &database).await;
        let store = connector(&server, &database, more);
        Self { server, database, writer, store }
    }

    async fn run(&mut self, sql: impl Into<String>) {
        self.writer.execute(AssertSqlSafe(sql.into())).await.unwrap();
    }

    /// Discovers anew and finds one table of this room's database.
    async fn table(&self, name: &str) -> Arc<Table> {
        let schema = self.store.discover().await.unwrap();
        assert_eq!(schema.default_namespace, self.database);
        let wanted = TableId { namespace: self.database.clone(), name: name.to_owned() };
        schema.tables.iter().find(|table| table.id == wanted).unwrap_or_else(|| panic!("{name} was not discovered")).clone()
    }
}

/// A connection beside the connector, without strict mode so that zero dates can be stored.
async fn connect(server: &MariaDb, database: &str) -> MySqlConnection {
    let options = MySqlConnectOptions::new()
        .host(server.host())
        .port(server.port())
        .username(server.user())
        .password(server.password())
        .database(database)
        .pipes_as_concat(false)
        .no_engine_substitution(false);
    let mut connection = options.connect().await.unwrap();
    connection.execute("SET sql_mode = 'ALLOW_INVALID_DATES,NO_BACKSLASH_ESCAPES'").await.unwrap();
    connection
}

fn scan_of(table: &Table, columns: Vec<usize>, filter: Vec<Predicate>) -> Scan {
    Scan { store: StoreName::new("shop"), table: table.id.clone(), columns, filter, limit: None }
}

fn all_columns(table: &Table) -> Vec<usize> {
    (0..table.columns.len()).collect()
}

async fn read(store: &Arc<dyn Connector>, table: &Arc<Table>, scan: &Scan) -> Result<RecordBatch, StoreError> {
    let branch = store.open(Purpose::Statement { scans: 1 }).await?;
    let stream = branch.scan(table, scan, ScanLimits::default()).await?;
    let batches: Vec<RecordBatch> = stream.try_collect().await?;
    Ok(concat_batches(&table.project(&scan.columns), &batches).unwrap())
}

async fn read_all(store: &Arc<dyn Connector>, table: &Arc<Table>) -> Result<RecordBatch, StoreError> {
    read(store, table, &scan_of(table, all_columns(table), vec![])).await
}

/// One column as text; NULL is `∅`.
fn texts(batch: &RecordBatch, column: usize) -> Vec<String> {
    let options = FormatOptions::default().with_null("∅");
    let formatter = ArrayFormatter::try_new(batch.column(column), &options).unwrap();
    (0..batch.num_rows()).map(|row| formatter.value(row).to_string()).collect()
}

fn column(table: &Table, name: &str) -> ColumnRef {
    ColumnRef::of(table.columns.iter().position(|column| column.name() == name).unwrap())
}
