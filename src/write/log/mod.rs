//! The log of commits over several stores: what was begun, what was decided, and what has ended everywhere.
//!
//! ```text
//! coordinator → Journal::append(Begin | Commit, forced) → the decision → Done, not forced
//! start → Journal::left → Open → recover
//! ```
//!
//! **Invariants:** a transaction without a record of its decision is taken for rolled back; a record that was forced is on disk when the
//! call returns; after an answer that nobody knows nothing more is decided here until a restart. Deliberately absent: what stores are
//! asked (`write::protocol`, `write::recover`).

pub mod file;
pub mod group;
#[cfg(test)]
pub mod memory;
pub mod record;
#[cfg(test)]
pub mod shelf;
pub mod table;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use crate::error::{Diagnosis, sqlstate};
use crate::stores::StoreName;
use crate::stores::commit::{BranchId, Gid, Hint, LogId, Numbers};

/// One line of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// The mark in the store `last` decides; the branches wait for it.
    Begin {
        /// The transaction.
        gid: Gid,
        /// Who is committed with the mark.
        last: StoreName,
        /// What ends its part sooner after a crash.
        hint: Hint,
        /// Who is prepared.
        branches: Vec<Named>,
    },
    /// It is committed.
    Commit {
        /// The transaction.
        gid: Gid,
        /// Who is prepared.
        branches: Vec<Named>,
    },
    /// It is rolled back.
    Abort {
        /// The transaction.
        gid: Gid,
    },
    /// It has ended in every store.
    Done {
        /// The transaction.
        gid: Gid,
    },
    /// Steps that are committed one after the other, each with a mark.
    Saga {
        /// The transaction.
        gid: Gid,
        /// Who has written, and undoes.
        role: String,
        /// The steps in their order.
        steps: Vec<LoggedStep>,
    },
    /// A step is committed.
    Stepped {
        /// The transaction.
        gid: Gid,
        /// Which.
        step: u16,
    },
    /// A step is undone.
    Undone {
        /// The transaction.
        gid: Gid,
        /// Which.
        step: u16,
    },
    /// A step cannot be undone without somebody's help.
    Stuck {
        /// The transaction.
        gid: Gid,
        /// Which.
        step: u16,
        /// Why.
        reason: String,
    },
}

impl Record {
    /// The transaction that it is about.
    pub fn gid(&self) -> Gid {
        match self {
            Self::Begin { gid, .. }
            | Self::Commit { gid, .. }
            | Self::Abort { gid }
            | Self::Done { gid }
            | Self::Saga { gid, .. }
            | Self::Stepped { gid, .. }
            | Self::Undone { gid, .. }
            | Self::Stuck { gid, .. } => *gid,
        }
    }
}

/// A branch with its store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// Where it was opened.
    pub store: StoreName,
    /// What the store calls it.
    pub id: BranchId,
}

/// A step of a saga.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedStep {
    /// Where.
    pub store: StoreName,
    /// The statements that undo it, in the order in which they are to run.
    pub undo: Vec<String>,
    /// What ends it sooner after a crash.
    pub hint: Hint,
}

/// Why a record was not appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JournalError {
    /// It was certainly not written.
    Refused(Diagnosis),
    /// Perhaps it was written. Nothing is appended any more until a restart.
    Unknown(Diagnosis),
}

impl fmt::Display for JournalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(told) | Self::Unknown(told) => write!(f, "{told}"),
        }
    }
}

impl std::error::Error for JournalError {}

/// The log.
#[async_trait]
pub trait Journal: fmt::Debug + Send + Sync {
    /// Where the names of transactions come from. A log that was lost to somebody else is replaced by another with other numbers.
    fn numbers(&self) -> Arc<Numbers>;

    /// Whether a transaction may be begun, which needs a record later.
    ///
    /// # Errors
    /// 58030 after a write of which nobody knows whether it happened, 54000 when too many transactions have not ended.
    fn is_usable(&self) -> Result<(), Diagnosis>;

    /// Appends a record. One that is forced is on disk when this returns; another rides along with the next, and is waited for only as
    /// long as the queue is full.
    ///
    /// # Errors
    /// [`JournalError`]
    async fn append(&self, record: Record, force: bool) -> Result<(), JournalError>;

    /// What had begun and had no `Done` when the log was opened.
    fn left(&self) -> Vec<Left>;

    /// Whether names that carry this log are decided here, as far as is known.
    fn decides(&self, log: LogId) -> bool {
        self.numbers().log() == log
    }

    /// Whether everything that was taken with the names decided here has been looked at.
    fn is_read(&self) -> bool {
        true
    }

    /// Writes what is queued, and ends.
    async fn close(&self);
}

/// A transaction that has not ended in every store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// Which.
    pub gid: Gid,
    /// How it ends.
    pub fate: Fate,
    /// The branches that were to be prepared.
    pub branches: Vec<Named>,
    /// The store that has the mark of the whole transaction, if one was to be written: what is removed when it has ended.
    pub mark: Option<StoreName>,
}

/// How a transaction ends that has not ended everywhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// The mark in this store decides.
    AskLast {
        /// The store.
        store: StoreName,
        /// What ends its part sooner.
        hint: Hint,
    },
    /// It is committed.
    Commit,
    /// It is rolled back.
    Abort,
    /// If the last of its steps is committed, it is committed; otherwise what was committed of it is undone, the latest first.
    Saga(SagaLeft),
    /// A record of its decision may be in the log or not: what is there at the next start decides, and nothing is ended until then.
    Unwritten,
}

/// How far a saga has come.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SagaLeft {
    /// Who has written, and undoes.
    pub role: String,
    /// The steps in their order.
    pub steps: Vec<LoggedStep>,
    /// Those that are known to be committed; of the others their marks tell.
    pub stepped: BTreeSet<u16>,
    /// Those that are undone.
    pub undone: BTreeSet<u16>,
    /// The one that cannot be undone, and why.
    pub stuck: Option<(u16, String)>,
}

impl SagaLeft {
    /// The step that is undone next: the latest that is known to be committed and is not undone.
    pub fn next_to_undo(&self) -> Option<u16> {
        self.stepped.iter().copied().rev().find(|step| !self.undone.contains(step))
    }

    /// The stores of the steps that are known to be committed and are not undone.
    pub fn to_undo(&self) -> Vec<StoreName> {
        let steps = self.stepped.difference(&self.undone).filter_map(|step| self.steps.get(usize::from(*step)));
        steps.map(|logged| logged.store.clone()).collect()
    }
}

/// What a log without memory answers: there is none.
#[derive(Debug)]
pub struct NoJournal(Arc<Numbers>);

impl NoJournal {
    /// One whose names nobody else gives.
    pub fn new() -> Self {
        Self(Arc::new(Numbers::new(LogId(rand::random()), 0)))
    }

    fn refusal() -> Diagnosis {
        Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, "a transaction cannot write to several stores without a log of commits")
    }
}

impl Default for NoJournal {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Journal for NoJournal {
    fn numbers(&self) -> Arc<Numbers> {
        Arc::clone(&self.0)
    }

    fn is_usable(&self) -> Result<(), Diagnosis> {
        Err(Self::refusal())
    }

    async fn append(&self, _record: Record, _force: bool) -> Result<(), JournalError> {
        Err(JournalError::Refused(Self::refusal()))
    }

    fn left(&self) -> Vec<Left> {
        Vec::new()
    }

    async fn close(&self) {}
}
