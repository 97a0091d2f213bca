//! The change event: one row change of one store, with what is known of the row before and after it.
//!
//! Nothing emits these records yet (issue "Change feeds"); they are defined so that connectors, log and subscribers agree.

use serde::{Deserialize, Serialize};

use super::connector::StoreName;
use super::position::Position;
use super::schema::TableId;
use super::value::Value;

/// One source transaction, whole, in commit order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Transaction {
    /// The store it was committed in.
    pub store: StoreName,
    /// The identity of that store (system identifier, replica set id, …), so that a restored copy is noticed.
    pub store_identity: String,
    /// Where it ends in the store's history.
    pub position: Position,
    /// Who wrote it, when the store tells (replication origin, server id).
    pub origin: Option<String>,
    /// Microseconds since 1970-01-01 UTC by the store's clock, when it tells.
    pub commit_time_us: Option<i64>,
    /// The store's own id of the transaction.
    pub id: String,
    /// Its changes in order.
    pub changes: Vec<Change>,
}

/// What happened to a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operation {
    /// A row appeared.
    Insert,
    /// A row changed.
    Update,
    /// A row went.
    Delete,
    /// All rows went.
    Truncate,
    /// A row was read by a snapshot.
    Read,
}

/// A column in an event. `Unknown` is not `NULL`: the store did not send it (unchanged TOAST, minimal row image).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Known {
    /// The store sent this value; `None` is SQL `NULL`.
    Value(Option<Value>),
    /// The store did not send the column.
    Unknown,
}

/// One row change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// The table in the store's own names.
    pub table: TableId,
    /// Which version of the table's schema the values follow.
    pub schema_version: u64,
    /// What happened.
    pub operation: Operation,
    /// The row's key: values of the key columns, in key order.
    pub key: Vec<Value>,
    /// The row before, by column ordinal, where the store tells.
    pub before: Option<Vec<Known>>,
    /// The row after.
    pub after: Option<Vec<Known>>,
    /// The change's number within its transaction, from 0.
    pub ordinal: u64,
}
