//! What is read of one table, and in which pieces it comes.

use serde::{Deserialize, Serialize};

use super::connector::StoreName;
use super::predicate::Predicate;
use super::schema::TableId;

/// A serialisable description of one table read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scan {
    /// The store whose pool runs it.
    pub store: StoreName,
    /// The table in the store's own names.
    pub table: TableId,
    /// Ordinals into [`Table::columns`], in output order.
    pub columns: Vec<usize>,
    /// Conjuncts that the store evaluates; each was accepted by [`Connector::pushdown`].
    pub filter: Vec<Predicate>,
    /// At most this many rows; set only when every filter of the query is in `filter` and exact.
    pub limit: Option<u64>,
}

/// Bounds of one scan.
#[derive(Debug, Clone, Copy)]
pub struct ScanLimits {
    /// Most rows in one batch.
    pub batch_rows: usize,
    /// A batch is closed early when its values reach about this many bytes.
    pub batch_bytes: usize,
}

impl Default for ScanLimits {
    fn default() -> Self {
        Self { batch_rows: 8192, batch_bytes: 4 << 20 }
    }
}
