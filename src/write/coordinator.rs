//! Who commits what was written to several stores.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::stores::{Connector, StoreName};

/// What a session asks of a commit.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Who has written.
    pub role: String,
    /// What is done where not all stores can be committed together.
    pub several: Several,
    /// What undoes the writes, in the order in which they were made; only for [`Several::Saga`].
    pub steps: Vec<Step>,
    /// The stores whose branches are committed, at least: a mark needs its table there.
    pub stores: Arc<BTreeMap<StoreName, Arc<dyn Connector>>>,
}

/// `tributary.cross_store_commit`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Several {
    /// All stores or none; what cannot be that is refused.
    Atomic,
    /// One after the other where it cannot, with what undoes them.
    Saga,
}

/// What undoes writes to a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The store.
    pub store: StoreName,
    /// Statements, in the order in which they are to run. Where a store has several steps, the latest is undone first.
    pub undo: Vec<String>,
}
