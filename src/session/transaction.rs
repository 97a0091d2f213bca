//! The transaction state of a session: none, one statement's own, or a block.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use tokio::sync::mpsc;

use crate::catalog::Snapshot;
use crate::federation::branches::{BranchKind, Branches};
use crate::stores::{Connector, StoreName};

/// The isolation that decides which branches statements use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Modes {
    /// `READ ONLY`
    pub read_only: bool,
    /// `REPEATABLE READ` or `SERIALIZABLE`
    pub repeatable: bool,
}

/// A transaction block.
#[derive(Debug)]
pub struct Block {
    /// When it began; `now()` inside.
    pub started: DateTime<Utc>,
    /// How it began.
    pub modes: Modes,
    /// An error has happened.
    pub failed: bool,
    /// Whether a statement has run, after which modes cannot change.
    pub used: bool,
    /// Savepoints: name and the mark of the settings.
    pub savepoints: Vec<(String, usize)>,
    /// The catalog as a repeatable block's first statement found it.
    pub snapshot: Option<Arc<Snapshot>>,
    /// The stores' transactions, shared by all statements of a repeatable block.
    pub branches: Option<Arc<Branches>>,
}

impl Block {
    /// A fresh block.
    pub fn new(modes: Modes, now: DateTime<Utc>) -> Self {
        Self { started: now, modes, failed: false, used: false, savepoints: Vec::new(), snapshot: None, branches: None }
    }

    /// The branches of the next statement. A repeatable block keeps one set for all its statements; otherwise each
    /// statement has its own, so that it sees what was committed before it began (`READ COMMITTED`).
    pub fn statement_branches(
        &mut self,
        connectors: &BTreeMap<StoreName, Arc<dyn Connector>>,
        changed: &mpsc::Sender<StoreName>,
    ) -> Arc<Branches> {
        let fresh = |kind| Arc::new(Branches::new(connectors.clone(), kind, Some(changed.clone())));
        if !self.modes.repeatable {
            return fresh(BranchKind::Statement);
        }
        let kind = BranchKind::Transaction { read_only: self.modes.read_only, repeatable: true };
        Arc::clone(self.branches.get_or_insert_with(|| fresh(kind)))
    }
}
