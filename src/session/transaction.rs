//! The transaction state of a session: none, the implicit block of one text, or a block that was asked for.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::Shared;
use super::defined::Defined;
use super::listen::Pending;
use super::replay::Keyed;
use super::saga::Undone;
use crate::cache::{CopiesRead, Wants};
use crate::catalog::Snapshot;
use crate::error::Diagnosis;
use crate::federation::branches::{BranchKind, Branches};
use crate::federation::writers::Writers;
use crate::stores::commit::Gid;
use crate::stores::lock::LockWaits;
use crate::stores::{Connector, Serial, StoreName, WriteIsolation};
use crate::telemetry::log::Line;
use crate::write::commit::{self, Committed, Guarantee};
use crate::write::coordinator::{Asked, Coordinator, Several};

/// What decides which branches statements use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Modes {
    /// `READ ONLY`
    pub read_only: bool,
    /// `ISOLATION LEVEL …`
    pub isolation: Isolation,
    /// `DEFERRABLE`: a serializable transaction that only reads waits for a state without conflicts, where its store has such.
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

    /// The same of a transaction that writes.
    fn of_writes(self) -> WriteIsolation {
        match self {
            Self::ReadUncommitted | Self::ReadCommitted => WriteIsolation::ReadCommitted,
            Self::RepeatableRead => WriteIsolation::RepeatableRead,
            Self::Serializable => WriteIsolation::Serializable,
        }
    }
}

/// Whether the client has said already that a series of messages ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Series {
    /// `Sync` is its next message, or comes behind others that do nothing to a transaction.
    Ends,
    /// More may come, which would belong to the same transaction.
    GoesOn,
}

/// A savepoint of a block.
#[derive(Debug)]
pub struct Savepoint {
    /// Its name, which later ones may have too.
    pub name: String,
    /// The mark of the settings.
    pub mark: usize,
    /// How the stores are told of it.
    pub id: u32,
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

/// The same of writers: those that have written are waited for.
async fn let_go_of(writers: commit::Writers) {
    let (written, read): (commit::Writers, commit::Writers) = writers.into_iter().partition(|(_, branch)| branch.has_written());
    commit::roll_back(written).await;
    tokio::time::timeout(RELEASE_LIMIT, commit::roll_back(read)).await.ok();
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
    /// Whether its role writes to no store, whatever the block may do.
    pub only_reads: bool,
    /// Savepoints, the oldest first.
    pub savepoints: Vec<Savepoint>,
    next_savepoint: u32,
    /// The catalog as a repeatable block's first statement found it.
    pub snapshot: Option<Arc<Snapshot>>,
    /// The stores' transactions, shared by all statements of a repeatable block.
    pub branches: Option<Arc<Branches>>,
    /// Through which it has written.
    pub writers: Option<Arc<Writers>>,
    /// What it has read from copies: it must not write over what they did not show. No savepoint takes that back.
    pub(super) copies: Arc<CopiesRead>,
    /// What is to be done with stores that cannot be committed together, as the session has it set.
    pub several: Several,
    /// How long it waits for locks, as the session has it set.
    pub(super) waits: LockWaits,
    /// What undoes its writes.
    pub(super) undone: Undone,
    /// What it has defined.
    pub(super) defined: Defined,
    /// Its name, once an event carries that.
    pub(super) gid: Option<Gid>,
    /// Whether it has been sent before, where it has a key.
    pub(super) keyed: Keyed,
    /// Where its key was looked for. No savepoint takes that back: sent again, it is looked for there and nowhere else.
    pub(super) key_home: Option<StoreName>,
    /// What it has asked for by LISTEN and its like.
    pub(super) pending: Pending,
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
            only_reads: false,
            savepoints: Vec::new(),
            next_savepoint: 0,
            snapshot: None,
            branches: None,
            writers: None,
            copies: Arc::default(),
            several: Several::Atomic,
            waits: LockWaits::default(),
            undone: Undone::default(),
            defined: Defined::default(),
            gid: None,
            keyed: Keyed::default(),
            key_home: None,
            pending: Pending::default(),
        }
    }

    /// The branches of the next statement. A repeatable block keeps one set for all its statements; otherwise each
    /// statement has its own, so that it sees what was committed before it began (`READ COMMITTED`). What the block has written
    /// is seen by all of them. Copies, of which `wants` asks what they must have, are no part of one state that several statements see.
    pub fn statement_branches(&mut self, snapshot: &Snapshot, shared: &Shared, wants: Option<&Arc<Wants>>) -> Arc<Branches> {
        let kept = self.kept_branches(snapshot, shared);
        if self.modes.isolation == Isolation::Serializable {
            // What it reads is a part of the transaction that it writes in.
            self.open_writers(snapshot);
        }
        match (kept, self.writers.clone()) {
            (Some(kept), None) => kept,
            (Some(kept), Some(writers)) => Arc::new(kept.sharing().with_writers(writers)),
            (None, None) => Arc::new(self.reading(snapshot, shared, wants)),
            (None, Some(writers)) => Arc::new(self.reading(snapshot, shared, wants).with_writers(writers)),
        }
    }

    /// The branches of one statement. What it reads from copies is noted where the block may write.
    fn reading(&self, snapshot: &Snapshot, shared: &Shared, wants: Option<&Arc<Wants>>) -> Branches {
        let wants = wants.filter(|_| !self.copies.is_full());
        let branches = shared.reading(snapshot, wants);
        if wants.is_none() || self.modes.read_only { branches } else { branches.noting(Arc::clone(&self.copies)) }
    }

    /// The branches that all statements share, where they do.
    fn kept_branches(&mut self, snapshot: &Snapshot, shared: &Shared) -> Option<Arc<Branches>> {
        let kind = match self.modes.isolation {
            Isolation::ReadUncommitted | Isolation::ReadCommitted => return None,
            Isolation::RepeatableRead => BranchKind::Transaction { read_only: self.modes.read_only, repeatable: true },
            Isolation::Serializable => BranchKind::Serializable(self.serial()),
        };
        Some(Arc::clone(self.branches.get_or_insert_with(|| Arc::new(shared.branches(snapshot, kind)))))
    }

    /// What a serializable block may do in a store.
    fn serial(&self) -> Serial {
        match self.modes {
            Modes { read_only: true, is_deferrable: true, .. } => Serial::ReadDeferred,
            Modes { read_only: true, .. } => Serial::Read,
            Modes { .. } if self.only_reads => Serial::Read,
            Modes { .. } => Serial::Write,
        }
    }

    /// Through what the next statement writes to `store`, and the branches that it reads through: what is written is made of what stores
    /// have, and not their copies.
    ///
    /// # Errors
    /// 0A000 where a serializable transaction would write to one store and has read another, and where the store cannot be committed
    /// together with those that have been written to; what a store answered that the block has read.
    pub async fn write_branches(
        &mut self,
        store: &StoreName,
        snapshot: &Snapshot,
        shared: &Shared,
    ) -> Result<(Arc<Writers>, Branches), Diagnosis> {
        let writers = self.open_writers(snapshot);
        let Some(kept) = self.kept_branches(snapshot, shared) else {
            let fresh = shared.branches(snapshot, BranchKind::Statement);
            return Ok((Arc::clone(&writers), fresh.with_writers(writers)));
        };
        if self.modes.isolation == Isolation::Serializable {
            // One transaction of one store has all of it.
            kept.expect_scans(&BTreeMap::from([(store.clone(), 1)]))?;
        } else if writers.get(store).is_none()
            && let Some(branch) = kept.opened(store)
        {
            // What the block has read there and what it writes are one transaction.
            writers.adopt(store, branch).await?;
            kept.hand_over(store);
        }
        Ok((Arc::clone(&writers), kept.sharing().with_writers(writers)))
    }

    fn open_writers(&mut self, snapshot: &Snapshot) -> Arc<Writers> {
        let (isolation, savepoints) = (self.modes.isolation.of_writes(), &self.savepoints);
        let writers = self.writers.get_or_insert_with(|| {
            let writers = Writers::new(snapshot, isolation);
            writers.has_savepoints(savepoints.iter().map(|savepoint| savepoint.id).collect());
            writers
        });
        writers.may_be_saga(self.several == Several::Saga && !self.keyed.is_claimed());
        writers.wait_for_locks(self.waits);
        Arc::clone(writers)
    }

    /// The stores that it has written to, in the order of the first writes; of one that is repeated, those that it wrote to before.
    pub(super) fn written(&self) -> Vec<StoreName> {
        let mut written = self.writers.as_ref().map(|writers| writers.written()).unwrap_or_default();
        for store in self.undone.would_have_written() {
            if !written.contains(store) {
                written.push(store.clone());
            }
        }
        written
    }

    /// The stores that it has open to write, and reads through that.
    pub(super) fn opened(&self) -> Vec<Arc<dyn Connector>> {
        self.writers.as_ref().map(|writers| writers.opened()).unwrap_or_default()
    }

    /// Sets a savepoint.
    ///
    /// # Errors
    /// What a store answered.
    pub async fn set_savepoint(&mut self, name: &str, mark: usize) -> Result<(), Diagnosis> {
        let id = self.next_savepoint;
        self.next_savepoint = id.saturating_add(1);
        if let Some(writers) = &self.writers {
            writers.savepoint(id).await?;
        }
        self.savepoints.push(Savepoint { name: name.to_owned(), mark, id });
        Ok(())
    }

    /// Forgets the savepoint at `place` and those after it.
    ///
    /// # Errors
    /// What a store answered.
    pub async fn release(&mut self, place: usize) -> Result<(), Diagnosis> {
        if let (Some(writers), Some(savepoint)) = (&self.writers, self.savepoints.get(place)) {
            writers.release(savepoint.id).await?;
        }
        self.savepoints.truncate(place);
        Ok(())
    }

    /// How many savepoints it has been asked for. What is made now was made after all of them.
    pub fn savepoints_asked(&self) -> u32 {
        self.next_savepoint
    }

    /// Undoes what was written since the savepoint at `place`, after which the block goes on, and gives the mark of its settings.
    ///
    /// # Errors
    /// What a store answered; the block has failed then.
    pub async fn roll_back_to(&mut self, place: usize) -> Result<usize, Diagnosis> {
        let (mark, id) = self.savepoints.get(place).map_or((0, 0), |savepoint| (savepoint.mark, savepoint.id));
        if let Some(writers) = &self.writers {
            writers.roll_back_to(id).await?;
        }
        self.savepoints.truncate(place + 1);
        self.undone.roll_back_to(id);
        self.keyed.roll_back_to(id);
        self.pending.roll_back_to(id);
        Box::pin(self.defined.roll_back_to(id, self.writers.as_ref())).await?;
        self.failed = false;
        Ok(mark)
    }

    /// Gives up what a block that has failed holds in the stores. As long as a savepoint may be come back to, what it has written stays,
    /// and so does what a repeatable block sees: its statements must not see a later state after that.
    pub async fn give_up(&mut self) {
        self.failed = true;
        if !self.savepoints.is_empty() {
            return;
        }
        if let Some(writers) = self.writers.take() {
            tokio::time::timeout(RELEASE_LIMIT, writers.end_reads()).await.ok();
            let_go_of(writers.take()).await;
        }
        // The stores' transactions can be of no more use, and their locks and snapshots are released now. What a
        // rollback fails with closes the connection and needs no answer.
        if let Some(branches) = self.branches.take() {
            let_go(&branches).await.ok();
        }
    }

    /// Ends what the block has in the stores. What it has written comes first: how reads end changes nothing of it.
    ///
    /// # Errors
    /// What the coordinator answered to the commit; without writes, what a store answered to the end of reads that are to be kept.
    pub async fn finish(&self, keeps: bool, coordinator: &Arc<Coordinator>, asked: Asked) -> Result<Committed, Diagnosis> {
        let written = match &self.writers {
            Some(writers) => {
                // Everything that was written is locked by now, and some commits wait for all readers.
                tokio::time::timeout(RELEASE_LIMIT, writers.end_reads()).await.ok();
                writers.take()
            }
            None => Vec::new(),
        };
        let has_writers = !written.is_empty();
        let ended = if keeps && has_writers {
            Box::pin(coordinator.commit(written, asked)).await
        } else {
            let_go_of(written).await;
            Ok(nothing())
        };
        let read = match &self.branches {
            Some(branches) if keeps && ended.is_ok() => branches.finish(true).await,
            Some(branches) => let_go(branches).await,
            None => Ok(()),
        };
        if keeps && !has_writers {
            return read.map(|()| nothing());
        }
        // Nothing depends on them: they stand beside a write that is committed, or nothing is kept in any case.
        if let Err(error) = read {
            tracing::warn!(sqlstate = error.sqlstate, error = %Line(&error.message), "reads of a transaction did not end well");
        }
        ended
    }
}

/// What is promised of a transaction that wrote nothing.
fn nothing() -> Committed {
    Committed::of(Guarantee::Nothing, None, Vec::new())
}
