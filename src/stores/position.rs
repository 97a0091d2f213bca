//! Positions in a store's own history: opaque, partially ordered, compared only by the connector that made them.

use serde::{Deserialize, Serialize};

use super::connector::StoreName;

/// A place in the change history of one store (LSN, GTID set, cluster time, outbox sequence), in its connector's encoding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The store whose history this is.
    pub store: StoreName,
    /// The connector's own encoding.
    pub token: Vec<u8>,
}

/// How two positions of one store relate. Histories are partial orders (GTID domains), so "unknown" counts as not covered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coverage {
    /// Everything up to the wanted position is applied.
    Covered,
    /// Something up to the wanted position is missing.
    Behind,
    /// The positions cannot be compared: another store identity, or a malformed token.
    Incomparable,
}
