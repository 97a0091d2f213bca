//! Our side: a connector made from its store file, and its scan through the public contract.

use std::path::PathBuf;
use std::sync::Arc;

use futures::StreamExt;
use tributary::options::Secrets;
use tributary::stores::connector::ScanLimits;
use tributary::stores::{self, Connector, Purpose, Scan, StoreName, Table};

use super::columns::{Depth, Digest};
use super::measure::must;

/// A connector and the scan of all columns of its table.
#[derive(Debug, Clone)]
pub struct Ours {
    connector: Arc<dyn Connector>,
    table: Arc<Table>,
    scan: Scan,
}

impl Ours {
    /// A connector of `kind` from the text of its store file, and what it finds of the table `sales`.
    pub async fn new(kind: &str, file: &str) -> Self {
        let options: toml::Table = must(toml::from_str(file));
        let kind = must(stores::kind(kind).ok_or("no such kind of store"));
        let name = StoreName::new("bench");
        let parsed = kind.parse(&name, "stores.bench", &options, &NoSecrets);
        let connector = must(parsed.map_err(|problems| format!("{problems:?}")));
        let schema = must(connector.discover().await);
        let found = schema.tables.iter().find(|table| table.id.name == "sales");
        let table = Arc::clone(must(found.ok_or_else(|| format!("sales was not found: {:?}", schema.refused))));
        let columns = (0..table.columns.len()).collect();
        let scan = Scan { store: name, table: table.id.clone(), columns, filter: Vec::new(), limit: None };
        Self { connector, table, scan }
    }

    /// Reads the table once.
    pub async fn read(&self, depth: Depth) -> Digest {
        let mut digest = Digest::new(depth);
        let branch = must(self.connector.open(Purpose::Statement { scans: 1 }).await);
        let mut batches = must(branch.scan(&self.table, &self.scan, ScanLimits::default()).await);
        while let Some(batch) = batches.next().await {
            digest.take_batch(&must(batch));
        }
        digest
    }

    /// Closes the connector's pools.
    pub async fn close(self) {
        self.connector.close().await;
    }
}

struct NoSecrets;

impl Secrets for NoSecrets {
    fn variable(&self, _name: &str) -> Option<String> {
        None
    }

    fn file(&self, _path: &str) -> Result<String, String> {
        Err("a bench has no secret files".to_owned())
    }

    fn resolve(&self, path: &str) -> PathBuf {
        PathBuf::from(path)
    }
}
