//! Savepoints of a branch that writes.

use std::sync::atomic::Ordering;

use super::super::super::error::StoreError;
use super::super::write::Mark;
use super::{Branch, Transaction, Writing};

impl Branch {
    /// Sets a savepoint, forgets it or comes back to it. The transaction has failed unless this succeeds.
    pub(super) async fn at_savepoint(&self, mark: Mark, id: u32) -> Result<(), StoreError> {
        if !self.may_write() {
            return Ok(());
        }
        let (transaction, writing) = self.alone()?;
        let outcome = self.try_savepoint(transaction, writing, mark, id).await;
        writing.flags.has_failed.store(outcome.is_err(), Ordering::Release);
        outcome
    }

    async fn try_savepoint(&self, transaction: &Transaction, writing: &Writing, mark: Mark, id: u32) -> Result<(), StoreError> {
        if mark != Mark::ComeBack {
            self.check(writing)?;
        }
        let (_turn, mut primary) = self.take_turn(transaction, writing).await?;
        if mark != Mark::ComeBack {
            self.check_free(writing, &primary)?;
        }
        let mut lease = primary.take().ok_or_else(|| self.ended())?;
        match lease.rows_of(format!("{} s{id}", mark.words())).await {
            Ok(_) => {
                // The savepoint was there, and with it the transaction.
                lease.is_doubtful = false;
                *primary = Some(lease);
                writing.marks.note(mark, id, &writing.flags);
                Ok(())
            }
            // The savepoint is gone because the server has rolled everything back, as it does after a deadlock.
            Err(StoreError::Remote { message, .. }) if mark == Mark::ComeBack => {
                lease.is_doubtful = true;
                *primary = Some(lease);
                Err(self.rolled_back(&message))
            }
            Err(error) => {
                // After any other error it is not known what the connection does.
                if matches!(error, StoreError::Remote { .. }) {
                    lease.is_doubtful = true;
                    *primary = Some(lease);
                }
                Err(error)
            }
        }
    }
}
