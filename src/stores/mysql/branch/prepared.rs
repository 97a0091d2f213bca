//! How a branch takes part in a commit of several stores.
//!
//! One that has begun with a name is prepared under it. A block that had read before it wrote has none, because the transaction that it
//! reads in is not of that kind: it can only be the one that is committed with a mark.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::super::super::commit::{BranchId, MarkId, Part, Verdict, Vote};
use super::super::super::error::StoreError;
use super::super::super::position::Position;
use super::super::pool::Lease;
use super::super::{changes, own, write};
use super::{Branch, Transaction, View, Writing};
use crate::error::sqlstate;

impl Branch {
    fn may_be_kept(&self) -> Option<&Writing> {
        match &self.view {
            View::Transaction(Transaction { writing, .. }) => writing.as_deref(),
            View::Alone(_) | View::Snapshot { .. } | View::Once => None,
        }
    }

    /// How it takes part.
    pub(super) fn takes_part(&self) -> Part {
        let Some(writing) = self.may_be_kept() else { return Part::Alone("it only reads, or commits by itself") };
        match (self.shared.part(), writing.xid) {
            (Part::Prepared, None) => Part::Last,
            // Whether its name is of the log that decides is looked at when several stores are committed.
            (part, _) => part,
        }
    }

    /// The name that it began with.
    pub(super) fn own_name(&self) -> Option<BranchId> {
        self.may_be_kept()?.xid.map(|xid| xid.0)
    }

    /// Leaves what was written to the server, unless that is nothing.
    ///
    /// # Errors
    /// What the server answered.
    pub(super) async fn vote(&self, id: &BranchId) -> Result<Vote, StoreError> {
        let writing = self.named(id)?;
        self.close_scans(writing).await?;
        let flags = &writing.flags;
        let is_empty = !(flags.has_written.load(Ordering::Acquire) && flags.has_changed.load(Ordering::Acquire));
        let outcome = self.finish(|lease| self.leave(lease, writing, is_empty)).await;
        if matches!(outcome, Err(StoreError::Remote { .. })) {
            flags.has_written.store(false, Ordering::Release);
        }
        outcome?;
        if !is_empty {
            return Ok(Vote::Yes);
        }
        flags.has_written.store(false, Ordering::Release);
        Ok(Vote::ReadOnly)
    }

    async fn leave(&self, mut lease: Lease, writing: &Writing, is_empty: bool) -> Result<(), StoreError> {
        let Some(xid) = writing.xid else { return Err(self.ended()) };
        if lease.is_doubtful {
            write::roll_back_written(lease, Some(xid)).await?;
            return Err(self.rolled_back("a scan of it was refused"));
        }
        if is_empty {
            return write::commit_written(lease, Some(xid), (false, false), "").await.map(drop);
        }
        // A connection that has failed here is closed: what it has not prepared goes with it.
        write::prepare(&mut lease, &xid).await?;
        *writing.prepared.lock().await = Some(lease);
        Ok(())
    }

    /// What is to be prepared under a name that it has.
    fn named(&self, id: &BranchId) -> Result<&Writing, StoreError> {
        match self.may_be_kept() {
            Some(writing) if writing.xid.is_some_and(|xid| xid.0 == *id) => Ok(writing),
            _ => {
                let message = format!("the transaction in store \"{}\" did not begin as {id}", self.shared.name);
                Err(StoreError::remote(self.shared.name.as_str(), sqlstate::INTERNAL_ERROR, message))
            }
        }
    }

    /// Ends what was prepared, on the same connection, and gives a position behind it where one is asked for.
    ///
    /// # Errors
    /// What the server answered; nobody knows what has become of it then.
    pub(super) async fn end_prepared(&self, verdict: Verdict) -> Result<Option<Position>, StoreError> {
        let Some(writing) = self.may_be_kept() else { return Err(self.ended()) };
        let lease = writing.prepared.lock().await.take();
        let (Some(lease), Some(xid)) = (lease, writing.xid) else { return Err(self.ended()) };
        let server = Arc::clone(&lease.session.server);
        let question = if verdict == Verdict::Commit { self.question(&server) } else { "" };
        let before = self.shared.histories.before();
        let rows = write::settle(lease, &xid, verdict, question).await?;
        writing.flags.has_written.store(false, Ordering::Release);
        Ok(changes::answered(&self.shared, &before, &server, &rows))
    }

    /// Adds the mark to what was written.
    ///
    /// # Errors
    /// What the server answered, with which the transaction has failed.
    pub(super) async fn write_mark(&self, mark: MarkId) -> Result<(), StoreError> {
        let (transaction, writing) = self.alone()?;
        self.check(writing)?;
        let (_turn, mut primary) = self.take_turn(transaction, writing).await?;
        self.check_free(writing, &primary)?;
        let mut lease = primary.take().ok_or_else(|| self.ended())?;
        // Until it has succeeded, as of an edit.
        writing.flags.has_failed.store(true, Ordering::Release);
        writing.flags.has_written.store(true, Ordering::Release);
        writing.flags.has_changed.store(true, Ordering::Release);
        match lease.asked(own::mark(&self.shared.settings.database, mark)).await {
            Ok(_) => {
                *primary = Some(lease);
                writing.flags.has_failed.store(false, Ordering::Release);
                Ok(())
            }
            Err(refused) => {
                if refused.number.is_some() {
                    lease.is_doubtful = true;
                    *primary = Some(lease);
                }
                Err(own::explained(&self.shared, refused))
            }
        }
    }
}
