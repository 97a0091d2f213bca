//! Live tests on temporary database files.

mod scans;
mod tables;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use futures::StreamExt;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode};
use sqlx::{AssertSqlSafe, ConnectOptions};

use super::super::connector::{Branch, Connector, Kind, Purpose, Scan, ScanLimits, StoreName};
use super::super::error::StoreError;
use super::super::predicate::{ColumnRef, Comparison, Predicate, Pushdown};
use super::super::schema::{StoreSchema, Table};
use super::super::value::Value;
use super::KIND;
use crate::options::Secrets;

const STATEMENT: Purpose = Purpose::Statement { scans: 1 };

struct Here;

impl Secrets for Here {
    fn variable(&self, _name: &str) -> Option<String> {
        None
    }

    fn file(&self, _path: &str) -> Result<String, String> {
        Err("no files here".to_owned())
    }

    fn resolve(&self, path: &str) -> PathBuf {
        PathBuf::from(path)
    }
}

/// A database file with our connector and a connection of its own to write with.
struct Fixture {
    _directory: tempfile::TempDir,
    path: PathBuf,
    writer: SqliteConnection,
    store: Arc<dyn Connector>,
}

impl Fixture {
    async fn new(sql: &str, options: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("shop.db");
        let mut writer = connect(&path).await;
        run(&mut writer, sql).await;
        let store = connector(&path, options);
        Self { _directory: directory, path, writer, store }
    }

    async fn table(&self, name: &str) -> Arc<Table> {
        find(&self.store.discover().await.unwrap(), name)
    }

    /// Runs a scan of all columns on a branch of its own.
    async fn read(&self, table: &Arc<Table>, filter: Vec<Predicate>) -> Result<Vec<Vec<String>>, StoreError> {
        let branch = self.store.open(STATEMENT).await?;
        let scan = Scan { filter, ..all_of(table) };
        collect(branch.as_ref(), table, &scan).await.map(|batches| show(&batches))
    }
}

async fn connect(path: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(path).create_if_missing(true).journal_mode(SqliteJournalMode::Wal);
    options.foreign_keys(false).connect().await.unwrap()
}

async fn run(writer: &mut SqliteConnection, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(writer).await.unwrap();
}

fn connector(path: &Path, options: &str) -> Arc<dyn Connector> {
    let text = format!("path = {:?}\n{options}", path.to_str().unwrap());
    KIND.parse(&StoreName::new("shop"), "stores.shop", &toml::from_str(&text).unwrap(), &Here).unwrap()
}

fn find(schema: &StoreSchema, name: &str) -> Arc<Table> {
    schema.tables.iter().find(|table| table.id.name == name).unwrap().clone()
}

fn all_of(table: &Table) -> Scan {
    Scan {
        store: StoreName::new("shop"),
        table: table.id.clone(),
        columns: (0..table.columns.len()).collect(),
        filter: Vec::new(),
        limit: None,
    }
}

async fn collect(branch: &dyn Branch, table: &Arc<Table>, scan: &Scan) -> Result<Vec<RecordBatch>, StoreError> {
    let mut stream = branch.scan(table, scan, ScanLimits::default()).await?;
    let mut batches = Vec::new();
    while let Some(batch) = stream.next().await {
        batches.push(batch?);
    }
    Ok(batches)
}

/// Cells as text, NULL as `~`.
fn show(batches: &[RecordBatch]) -> Vec<Vec<String>> {
    let options = FormatOptions::default().with_null("~");
    let mut rows = Vec::new();
    for batch in batches {
        let columns: Vec<_> =
            batch.columns().iter().map(|array| ArrayFormatter::try_new(array.as_ref(), &options).unwrap()).collect();
        rows.extend((0..batch.num_rows()).map(|row| columns.iter().map(|column| column.value(row).to_string()).collect()));
    }
    rows
}

fn equal(column: usize, value: Value) -> Predicate {
    Predicate::Compare { column: ColumnRef::of(column), op: Comparison::Equal, value }
}

/// What the store is to evaluate of a predicate that it must not refuse.
fn pushed(store: &dyn Connector, table: &Table, predicate: &Predicate) -> Predicate {
    match store.pushdown(table, predicate) {
        Pushdown::Exact(predicate) | Pushdown::Superset(predicate) => predicate,
        Pushdown::Refused(reason) => panic!("{reason}: {predicate:?}"),
    }
}
