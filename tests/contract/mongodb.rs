//! The MongoDB connector against a real replica set.

mod changes;
mod collations;
mod documents;
mod filters;
mod fragments;
mod lookups;
mod marks;
mod positions;
mod ranges;
mod reading;
mod trouble;
mod writes;

use std::sync::Arc;

use arrow::array::{Array, RecordBatch};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use futures::TryStreamExt;
use mongodb::bson::Document;
use mongodb::options::{ClientOptions, Credential, ServerAddress};
use mongodb::{Client, Collection, Database};
use tributary::options::Problem;
use tributary::sandbox::Mongo;
use tributary::stores::connector::{Connector, Purpose, Scan, ScanLimits};
use tributary::stores::predicate::Predicate;
use tributary::stores::{Branch, StoreError, StoreName, Table};

use crate::support;
use crate::support::secrets::NoSecrets;

/// A database of its own on a server, seen by a plain client and by the connector.
struct World {
    client: Client,
    database: Database,
    connector: Arc<dyn Connector>,
}

fn parse(file: &str) -> Result<Arc<dyn Connector>, Vec<Problem>> {
    let table: toml::Table = toml::from_str(file).unwrap();
    let kind = tributary::stores::kind("mongodb").unwrap();
    kind.parse(&StoreName::new("docs"), "stores.docs", &table, &NoSecrets)
}

fn store_file(server: &Mongo, database: &str, password: &str) -> String {
    format!(
        "hosts = [\"{}:{}\"]\nuser = \"{}\"\npassword = \"{password}\"\nauth_source = \"admin\"\nreplica_set = \"{}\"\ndatabase = \"{database}\"\n\
         databases = [\"{database}_other\"]\nserver_selection_timeout = \"3s\"\nconnect_timeout = \"3s\"\n",
        server.host(),
        server.port(),
        server.user(),
        server.replica_set(),
    )
}

fn client(server: &Mongo) -> Client {
    let credential = Credential::builder()
        .username(server.user().to_owned())
        .password(server.password().to_owned())
        .source("admin".to_owned())
        .build();
    let host = ServerAddress::Tcp { host: server.host().to_owned(), port: Some(server.port()) };
    Client::with_options(ClientOptions::builder().hosts(vec![host]).direct_connection(true).credential(credential).build()).unwrap()
}

impl World {
    /// On the shared server; `options` are appended to the store file.
    async fn new(options: &str) -> Self {
        Self::on(support::mongodb().await, options).await
    }

    async fn on(server: &Mongo, options: &str) -> Self {
        let name = server.fresh_database().await.unwrap();
        let client = client(server);
        let database = client.database(&name);
        let file = format!("{}{options}", store_file(server, &name, server.password()));
        Self { client, database, connector: parse(&file).unwrap() }
    }

    async fn fill(&self, name: &str, documents: Vec<Document>) -> Collection<Document> {
        let collection = self.database.collection::<Document>(name);
        if documents.is_empty() {
            self.database.create_collection(name).await.unwrap();
        } else {
            collection.insert_many(documents).await.unwrap();
        }
        collection
    }

    /// Discovers and returns a table of the default database.
    async fn table(&self, name: &str) -> Arc<Table> {
        let schema = self.connector.discover().await.unwrap();
        let found = schema.tables.iter().find(|table| table.id.namespace == self.database.name() && table.id.name == name);
        found.unwrap_or_else(|| panic!("no table {name} among {:?}", schema.refused)).clone()
    }

    async fn branch(&self, scans: usize) -> Arc<dyn Branch> {
        self.connector.open(Purpose::Statement { scans }).await.unwrap()
    }

    /// Reads some columns by name.
    async fn read(&self, table: &Arc<Table>, columns: &[&str], filter: Vec<Predicate>) -> Result<Vec<RecordBatch>, StoreError> {
        let branch = self.branch(1).await;
        collect(&*branch, table, scan(table, columns, filter)).await
    }

    /// Reads and shows all values as text, sorted.
    async fn rows(&self, table: &Arc<Table>, columns: &[&str], filter: Vec<Predicate>) -> Vec<Vec<String>> {
        let mut rows = shown(&self.read(table, columns, filter).await.unwrap());
        rows.sort();
        rows
    }
}

fn ordinal(table: &Table, name: &str) -> usize {
    table.columns.iter().position(|column| column.name() == name).unwrap_or_else(|| panic!("no column {name}"))
}

fn scan(table: &Table, columns: &[&str], filter: Vec<Predicate>) -> Scan {
    let columns = columns.iter().map(|name| ordinal(table, name)).collect();
    Scan { store: StoreName::new("docs"), table: table.id.clone(), columns, filter, limit: None }
}

async fn collect(branch: &dyn Branch, table: &Arc<Table>, scan: Scan) -> Result<Vec<RecordBatch>, StoreError> {
    branch.scan(table, &scan, ScanLimits::default()).await?.try_collect().await
}

fn shown(batches: &[RecordBatch]) -> Vec<Vec<String>> {
    let options = FormatOptions::default().with_null("NULL");
    let mut rows = Vec::new();
    for batch in batches {
        let columns: Vec<_> = batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options).unwrap()).collect();
        for row in 0..batch.num_rows() {
            rows.push(columns.iter().map(|column| column.value(row).to_string()).collect());
        }
    }
    rows
}

fn row_count(batches: &[RecordBatch]) -> usize {
    batches.iter().map(RecordBatch::num_rows).sum()
}

/// The value of a text column.
fn text(batch: &RecordBatch, column: usize, row: usize) -> Option<&str> {
    let array = batch.column(column).as_any().downcast_ref::<arrow::array::StringArray>().unwrap();
    array.is_valid(row).then(|| array.value(row))
}
