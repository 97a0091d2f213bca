//! The transaction state of a session: none, the implicit block of one text, or a block that was asked for.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::Shared;
use crate::catalog::Snapshot;
use crate::error::Diagnosis;
use crate::federation::branches::{BranchKind, Branches};

/// What decides which branches statements use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Modes {
    /// `READ ONLY`
    pub read_only: bool,
    /// `ISOLATION LEVEL …`
    pub isolation: Isolation,
    /// `DEFERRABLE`, which is shown and changes nothing: no store waits for a state without conflicts.
    pub is_deferrable: bool,
}

/// How far a transaction is kept apart from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// The same as read committed, but for its name, as in PostgreSQL.
    ReadUncommitted,
    /// Each statement sees what was committed before it began.
    ReadCommitted,
    /// All statements see one state of each store.
    RepeatableRead,
    /// All statements see one state of one store, which fits into the serial order of its serializable transactions.
    Serializable,
}

impl Isolation {
    /// The words in which settings hold it.
    pub fn words(self) -> &'static str {
        match self {
            Self::ReadUncommitted => "read uncommitted",
            Self::ReadCommitted => "read committed",
            Self::RepeatableRead => "repeatable read",
            Self::Serializable => "serializable",
        }
    }

    /// The level behind the words; `None` when they name none.
    pub fn of_words(words: &str) -> Option<Self> {
        let all = [Self::ReadUncommitted, Self::ReadCommitted, Self::RepeatableRead, Self::Serializable];
        all.into_iter().find(|level| level.words().eq_ignore_ascii_case(words))
    }

    /// Whether statements share what they see.
    pub fn is_repeatable(self) -> bool {
        matches!(self, Self::RepeatableRead | Self::Serializable)
    }
}

/// How long a session waits for stores to roll back before it goes on without their answers: it must not be the store that
/// never answers who decides when a timeout or a cancel request is heard.
const RELEASE_LIMIT: Duration = Duration::from_secs(1);

/// Rolls back what the branches hold. Stores that do not answer in time are left to their connectors, which close connections
/// of unknown state.
///
/// # Errors
/// What a store answered in time.
pub async fn let_go(branches: &Branches) -> Result<(), Diagnosis> {
    tokio::time::timeout(RELEASE_LIMIT, branches.finish(false)).await.unwrap_or(Ok(()))
}

/// A transaction block.
#[derive(Debug)]
pub struct Block {
    /// When it began; `now()` inside.
    pub started: DateTime<Utc>,
    /// How it began.
    pub modes: Modes,
    /// Whether nobody asked for it: it holds the statements of one text together and ends with it.
    pub implicit: bool,
    /// An error has happened.
    pub failed: bool,
    /// Whether a query has run, after which modes cannot change.
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
        Self {
            started: now,
            modes,
            implicit: false,
            failed: false,
            used: false,
            savepoints: Vec::new(),
            snapshot: None,
            branches: None,
        }
    }

    /// The branches of the next statement. A repeatable block keeps one set for all its statements; otherwise each
    /// statement has its own, so that it sees what was committed before it began (`READ COMMITTED`).
    pub fn statement_branches(&mut self, snapshot: &Snapshot, shared: &Shared) -> Arc<Branches> {
        let fresh = |kind| Arc::new(shared.branches(snapshot, kind));
        let kind = match self.modes.isolation {
            Isolation::ReadUncommitted | Isolation::ReadCommitted => return fresh(BranchKind::Statement),
            Isolation::RepeatableRead => BranchKind::Transaction { read_only: self.modes.read_only, repeatable: true },
            Isolation::Serializable => BranchKind::Serializable,
        };
        Arc::clone(self.branches.get_or_insert_with(|| fresh(kind)))
    }
}
