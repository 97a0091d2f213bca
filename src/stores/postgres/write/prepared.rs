//! Transactions that are prepared: how they become so, and how they end, on their own connection or on any.
//!
//! ```text
//! SELECT; PREPARE TRANSACTION 'tributary:…' → COMMIT PREPARED '…' | ROLLBACK PREPARED '…'
//! ```
//!
//! **Invariants:** `PREPARE TRANSACTION` never ends a transaction that has failed, which the server would roll back without an error: a
//! `SELECT` or `SET` before it fails then. What ends a prepared transaction stands alone in its text, because the server takes it in no block.
//! Nothing is sent twice here: an answer that is lost is looked for by whoever lists what is left.

use std::sync::atomic::Ordering;

use chrono::{DateTime, Utc};
use sqlx::Row;
use sqlx::postgres::PgRow;

use super::super::super::commit::{BranchId, InDoubt, Resolved, Verdict, Vote};
use super::super::super::connector::StoreName;
use super::super::super::error::StoreError;
use super::super::branch::Inner;
use super::super::error;
use super::super::pool::State;
use super::transaction::{Line, Transaction};
use crate::error::sqlstate;

/// What waits in this database, behind whether the server follows another one, which lists nothing and can end nothing. Of those of
/// other databases only their own can tell, and end them.
const LISTED: &str = "SELECT pg_catalog.pg_is_in_recovery(); SELECT gid, (pg_catalog.date_part('epoch', prepared) * 1000000)::pg_catalog.int8 FROM pg_catalog.pg_prepared_xacts \
     WHERE database = pg_catalog.current_database() AND gid LIKE 'tributary:%'";

impl Transaction {
    /// Leaves what was written to the server under a name. What is checked only now waits for locks for so many milliseconds.
    ///
    /// # Errors
    /// What the server answered, with which the transaction is rolled back; after a lost answer it may be there.
    pub(in super::super) async fn prepare(&self, id: &BranchId, lock_wait: u64) -> Result<Vote, StoreError> {
        if !self.has_written() {
            // The server checks at its end what the transaction has read.
            self.commit().await?;
            return Ok(Vote::ReadOnly);
        }
        let ready = self.ready().await;
        let mut line = match ready {
            Ok(line) => line,
            Err(error) => {
                if let Err(left) = self.roll_back().await {
                    tracing::debug!(error = %left, "a transaction that had failed could not be rolled back");
                }
                return Err(error);
            }
        };
        // Whoever does not wait for the answer has let go of it all the same, and no later word can be about it.
        let mut ending = Line::of(line.lease.take());
        let first = self.not_told(lock_wait).unwrap_or_else(|| "SELECT".to_owned());
        let outcome = self.say(&mut ending, &format!("{first}; PREPARE TRANSACTION '{id}'")).await;
        // Dropping the lease ends a session that is lost or late, and rolls back what the server refused to prepare.
        let lease = ending.lease.take();
        if !matches!(outcome, Ok(()) | Err(StoreError::ConnectionLost { .. } | StoreError::Deadline { .. })) {
            self.has_written.store(false, Ordering::Release);
        }
        outcome?;
        let mut lease = lease.ok_or_else(|| self.ended())?;
        lease.settle(State::Ready);
        line.prepared = Some((lease, *id));
        Ok(Vote::Yes)
    }

    /// Ends what was prepared, on the same connection.
    ///
    /// # Errors
    /// What the server answered; nobody knows what has become of it then.
    pub(in super::super) async fn end_prepared(&self, verdict: Verdict) -> Result<(), StoreError> {
        let prepared = self.line.lock().await.prepared.take();
        let (mut lease, id) = prepared.ok_or_else(|| self.ended())?;
        lease.query(&ending(verdict, &id)).await?;
        self.has_written.store(false, Ordering::Release);
        Ok(())
    }

    /// Adds a row of ours to what was written.
    ///
    /// # Errors
    /// What the server answered, with which the transaction has failed.
    pub(in super::super) async fn mark(&self, sql: &str) -> Result<(), StoreError> {
        let mut line = self.ready().await?;
        self.has_written.store(true, Ordering::Release);
        self.say(&mut line, sql).await
    }
}

/// The statement that ends a prepared transaction. A name of ours holds nothing that would have to be quoted.
fn ending(verdict: Verdict, id: &BranchId) -> String {
    match verdict {
        Verdict::Commit => format!("COMMIT PREPARED '{id}'"),
        Verdict::Abort => format!("ROLLBACK PREPARED '{id}'"),
    }
}

/// Ends a prepared transaction from a connection of its own.
///
/// # Errors
/// What the server answered; the transaction is as it was, or nobody knows.
pub(in super::super) async fn resolve(inner: &Inner, id: &BranchId, verdict: Verdict) -> Result<Resolved, StoreError> {
    // Only this may be repeated: an end that was sent twice would be told as one that nobody knows of.
    let (mut lease, _) = Box::pin(inner.pools.control.acquire_with("SELECT 1")).await?;
    match lease.query(&ending(verdict, id)).await {
        Ok(_) => Ok(Resolved::Done),
        Err(StoreError::Remote { sqlstate, .. }) if sqlstate == sqlstate::UNDEFINED_OBJECT => Ok(Resolved::Gone),
        Err(StoreError::Remote { sqlstate, .. }) if sqlstate == sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE => Ok(Resolved::Busy),
        Err(error) => Err(error),
    }
}

/// What is prepared in the database under names of ours.
///
/// # Errors
/// What the server answered; [`StoreError::Unreachable`] where it is a standby: that its list is empty says nothing.
pub(in super::super) async fn in_doubt(inner: &Inner) -> Result<Vec<InDoubt>, StoreError> {
    let (_lease, answers) = Box::pin(inner.pools.control.acquire_with(LISTED)).await?;
    let mut answers = answers.iter();
    // Without an answer nothing is known of it.
    let state = answers.next().and_then(|rows| rows.first());
    let is_standby: Result<bool, sqlx::Error> = state.map_or(Ok(true), |row| row.try_get(0));
    refuse_standby(&inner.name, is_standby.map_err(|problem| error::running(&inner.name, &problem))?)?;
    let listed: Result<Vec<Option<InDoubt>>, sqlx::Error> = answers.flatten().map(of_row).collect();
    let listed = listed.map_err(|problem| error::running(&inner.name, &problem))?;
    Ok(listed.into_iter().flatten().collect())
}

/// A server that follows another one knows of no prepared transaction, and they are there all the same.
fn refuse_standby(store: &StoreName, is_standby: bool) -> Result<(), StoreError> {
    if !is_standby {
        return Ok(());
    }
    let reason = "It is a standby, which cannot tell which transactions are prepared.".to_owned();
    Err(StoreError::Unreachable { store: store.to_string(), reason })
}

fn of_row(row: &PgRow) -> Result<Option<InDoubt>, sqlx::Error> {
    let (gid, micros): (String, i64) = (row.try_get(0)?, row.try_get(1)?);
    Ok(BranchId::parse(&gid).map(|id| InDoubt { id, prepared: DateTime::<Utc>::from_timestamp_micros(micros) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_quoted_as_it_is() {
        let text = "tributary:00000000000000ff:0000000000000007:00000000000000aa";
        let id = BranchId::parse(text).unwrap();
        assert_eq!(ending(Verdict::Commit, &id), format!("COMMIT PREPARED '{text}'"));
        assert_eq!(ending(Verdict::Abort, &id), format!("ROLLBACK PREPARED '{text}'"));
    }

    #[test]
    fn a_standby_is_asked_for_before_its_list_and_lists_nothing() {
        assert!(LISTED.starts_with("SELECT pg_catalog.pg_is_in_recovery(); SELECT gid, "));
        let name = StoreName::new("shop");
        assert!(refuse_standby(&name, false).is_ok());
        assert!(matches!(refuse_standby(&name, true), Err(StoreError::Unreachable { store, .. }) if store == "shop"));
    }
}
