//! Our side: a connector made from its store file, and its scan in as many ranges as a statement of the server would get.

use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::RecordBatch;
use futures::StreamExt;
use futures::stream::select_all;
use tributary::federation::engine::Limits;
use tributary::federation::ranges;
use tributary::options::Secrets;
use tributary::sandbox::Endpoint;
use tributary::stores::connector::ScanLimits;
use tributary::stores::{self, Connector, Purpose, Scan, StoreName, Table};

use super::measure::must;

/// A connector and the scan of all columns of the table.
#[derive(Debug, Clone)]
pub struct Ours {
    connector: Arc<dyn Connector>,
    table: Arc<Table>,
    scan: Scan,
    /// In how many ranges the table is read, at most.
    pub ranges: usize,
}

impl Ours {
    /// A connector to the server, and what it finds of the table.
    pub async fn new(server: &Endpoint) -> Self {
        let file = format!(
            "host = '{}'\nport = {}\nuser = '{}'\npassword = '{}'\ndatabase = '{}'\n",
            server.host(),
            server.port(),
            server.user(),
            server.password(),
            server.database()
        );
        let options: toml::Table = must(toml::from_str(&file));
        let kind = must(stores::kind("postgres").ok_or("no such kind of store"));
        let name = StoreName::new("bench");
        let parsed = kind.parse(&name, "stores.bench", &options, &NoSecrets);
        let connector = must(parsed.map_err(|problems| format!("{problems:?}")));
        let schema = must(connector.discover().await);
        let found = schema.tables.iter().find(|table| table.id.name == "lineitem");
        let table = Arc::clone(must(found.ok_or_else(|| format!("lineitem was not found: {:?}", schema.refused))));
        let columns = (0..table.columns.len()).collect();
        let scan = Scan { store: name, table: table.id.clone(), columns, filter: Vec::new(), limit: None };
        // As the server bounds them: no more than there are processors.
        let processors = std::thread::available_parallelism().map_or(2, std::num::NonZeroUsize::get);
        let ranges = ranges::of(&table, &scan, Limits::default().ranges.min(processors));
        Self { connector, table, scan, ranges }
    }

    /// Reads the table once, shows each batch, and tells how many rows there were.
    pub async fn read(&self, mut each: impl FnMut(&RecordBatch)) -> usize {
        let branch = must(self.connector.open(Purpose::Statement { scans: 1 }).await);
        let limits = ScanLimits::default();
        let streams = if self.ranges > 1 {
            must(branch.scan_ranges(&self.table, &self.scan, limits, self.ranges).await)
        } else {
            vec![must(branch.scan(&self.table, &self.scan, limits).await)]
        };
        let mut batches = select_all(streams);
        let mut rows = 0;
        while let Some(batch) = batches.next().await {
            let batch = must(batch);
            rows += batch.num_rows();
            each(&batch);
        }
        rows
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
