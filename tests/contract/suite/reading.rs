//! Scans for the checks, and conditions compared with the oracle.

use std::sync::Arc;

use arrow::array::RecordBatch;
use futures::TryStreamExt;
use tributary::pgtype::PgField;
use tributary::stores::connector::{Capabilities, ScanLimits};
use tributary::stores::predicate::ColumnRef;
use tributary::stores::value::Value;
use tributary::stores::{Branch, Connector, Predicate, Purpose, Pushdown, Scan, StoreError, Table};

use super::oracle;

/// One statement with one scan.
pub const ALONE: Purpose = Purpose::Statement { scans: 1 };

/// Discovers and finds a table.
pub async fn table(connector: &Arc<dyn Connector>, namespace: &str, name: &str) -> Arc<Table> {
    let schema = connector.discover().await.unwrap();
    let found = schema.tables.iter().find(|table| table.id.namespace == namespace && table.id.name == name);
    found.unwrap_or_else(|| panic!("no table {namespace}.{name}; refused: {:?}", schema.refused)).clone()
}

/// What a connector declares once it has seen its store.
pub async fn discovered(connector: &Arc<dyn Connector>) -> Capabilities {
    connector.discover().await.unwrap();
    connector.capabilities()
}

/// A scan of all columns.
pub fn whole(connector: &Arc<dyn Connector>, table: &Table, filter: Vec<Predicate>) -> Scan {
    Scan {
        store: connector.name().clone(),
        table: table.id.clone(),
        columns: (0..table.columns.len()).collect(),
        filter,
        limit: None,
    }
}

/// Runs a scan on a branch.
pub async fn collect(branch: &dyn Branch, table: &Arc<Table>, scan: &Scan) -> Result<Vec<RecordBatch>, StoreError> {
    branch.scan(table, scan, ScanLimits::default()).await?.try_collect().await
}

/// Runs a scan in a statement of its own.
pub async fn read(connector: &Arc<dyn Connector>, table: &Arc<Table>, scan: &Scan) -> Result<Vec<RecordBatch>, StoreError> {
    let branch = connector.open(ALONE).await?;
    collect(&*branch, table, scan).await
}

/// Reads a whole table.
pub async fn read_all(connector: &Arc<dyn Connector>, table: &Arc<Table>) -> Result<Vec<RecordBatch>, StoreError> {
    read(connector, table, &whole(connector, table, Vec::new())).await
}

/// How many rows batches have.
pub fn count(batches: &[RecordBatch]) -> usize {
    batches.iter().map(RecordBatch::num_rows).sum()
}

/// How many rows of a table a branch sees.
pub async fn seen(connector: &Arc<dyn Connector>, branch: &dyn Branch, table: &Arc<Table>) -> usize {
    count(&collect(branch, table, &whole(connector, table, Vec::new())).await.unwrap())
}

/// A row as the oracle sees it, by ordinal of the table.
pub type Row = Vec<Option<Option<Value>>>;

/// The rows of batches that hold all columns of a table.
pub fn rows(table: &Table, batches: &[RecordBatch]) -> Vec<Row> {
    let cell = |batch: &RecordBatch, row: usize, column: usize| {
        oracle::value(batch.column(column), row, table.columns[column].field.pg_type())
    };
    let of_batch = |batch: &RecordBatch| {
        (0..batch.num_rows())
            .map(|row| (0..batch.num_columns()).map(|column| cell(batch, row, column)).collect())
            .collect::<Vec<Row>>()
    };
    batches.iter().flat_map(of_batch).collect()
}

/// The keys in the first column, in order.
pub fn keys(batches: &[RecordBatch]) -> Vec<i64> {
    let of_row = |batch: &RecordBatch, row| match oracle::value(batch.column(0), row, batch.schema().field(0).pg_type()) {
        Some(Some(Value::Int(key))) => key,
        other => panic!("{other:?} is no key"),
    };
    let mut keys: Vec<i64> =
        batches.iter().flat_map(|batch| (0..batch.num_rows()).map(|row| of_row(batch, row)).collect::<Vec<_>>()).collect();
    keys.sort_unstable();
    keys
}

/// How many conditions a store judged each way.
#[derive(Debug, Default, Clone, Copy)]
pub struct Tally {
    pub exact: usize,
    pub superset: usize,
    pub refused: usize,
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.exact += other.exact;
        self.superset += other.superset;
        self.refused += other.refused;
    }
}

/// A table whose first column is an integer key, with all its rows.
pub struct Filled<'a> {
    pub connector: &'a Arc<dyn Connector>,
    pub table: Arc<Table>,
    pub rows: Vec<Row>,
}

impl<'a> Filled<'a> {
    /// Reads the table.
    pub async fn new(connector: &'a Arc<dyn Connector>, table: Arc<Table>) -> Self {
        let batches = read_all(connector, &table).await.unwrap();
        let rows = rows(&table, &batches);
        Self { connector, table, rows }
    }

    /// The keys of the rows that satisfy a condition.
    pub fn expected(&self, predicate: &Predicate) -> Vec<i64> {
        let kept = self.rows.iter().filter(|row| {
            let cells = |column: &ColumnRef| row[column.column].clone();
            oracle::holds(&cells, predicate) == Some(true)
        });
        let mut keys: Vec<i64> =
            kept.map(|row| if let Some(Some(Value::Int(key))) = row[0] { key } else { panic!("no key") }).collect();
        keys.sort_unstable();
        keys
    }

    /// Pushes a condition and compares what comes with the oracle: exact ones keep the same rows, supersets at least those.
    pub async fn check(&self, predicate: &Predicate, tally: &mut Tally) {
        let expected = self.expected(predicate);
        let (kept, exact) = match self.connector.pushdown(&self.table, predicate) {
            Pushdown::Exact(kept) => (kept, true),
            Pushdown::Superset(kept) => (kept, false),
            Pushdown::Refused(reason) => {
                assert!(!reason.is_empty(), "{predicate:?} is refused without a reason");
                tally.refused += 1;
                return;
            }
        };
        let scan = Scan { columns: vec![0], ..whole(self.connector, &self.table, vec![kept]) };
        let found = read(self.connector, &self.table, &scan).await.unwrap_or_else(|error| panic!("{predicate:?}: {error:?}"));
        let found = keys(&found);
        if exact {
            tally.exact += 1;
            assert_eq!(found, expected, "{predicate:?}");
        } else {
            tally.superset += 1;
            let missing: Vec<&i64> = expected.iter().filter(|key| found.binary_search(key).is_err()).collect();
            assert!(missing.is_empty(), "{predicate:?} misses {missing:?}");
        }
    }
}

/// Everything that is said of an error.
pub fn told(error: &StoreError) -> String {
    use tributary::error::Diagnose;
    format!("{error} {error:?} {:?} {:?} {}", error.detail(), error.hint(), error.sqlstate())
}
