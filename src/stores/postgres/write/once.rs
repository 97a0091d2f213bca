//! One edit that the server commits by itself.
//!
//! **Invariant:** an edit that fails has changed nothing. One that gives rows back may fail when they are read (a value that has no place
//! in its column, a NULL that was forbidden when the table was discovered, too many bytes), so it runs in a transaction that is committed
//! when all of them have been read.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::super::super::connector::WriteIsolation;
use super::super::super::define::Define;
use super::super::super::edit::{Edit, Edited};
use super::super::super::error::StoreError;
use super::super::branch::Inner;
use super::super::pool::{Lease, State};
use super::run::{Failure, run};
use super::statement::Statement;
use super::transaction::{begin, modes_of};

/// A connection that has been in the pool for longer is tried before an edit is sent over it, which cannot be sent again.
const REST_MAX: Duration = Duration::from_secs(1);

/// Runs an edit, which waits for locks for so many milliseconds, or for 0 as long as the settings of the server say.
///
/// # Errors
/// What the server answered; [`StoreError::OutcomeUnknown`] when its answer was lost.
pub(in super::super) async fn once(
    inner: &Arc<Inner>,
    edit: &Edit,
    stop: &CancellationToken,
    lock_wait: u64,
) -> Result<Edited, StoreError> {
    // What the server is told of locks holds for a transaction.
    if !edit.returning().is_empty() || lock_wait != 0 {
        return Box::pin(in_transaction(inner, edit, stop, lock_wait)).await;
    }
    let statement = Statement::of(edit)?;
    loop {
        let mut lease = tried(inner).await?;
        match Box::pin(run(inner, &mut lease, &statement, stop, State::Ready)).await {
            Ok(edited) => return Ok(edited),
            // Each turn closes a pooled connection, so there is a last one.
            Err(Failure::Unsent(StoreError::ConnectionLost { .. })) if lease.is_reused() => inner.pools.leaders.forget_idle(),
            Err(Failure::Unsent(error) | Failure::Refused(error)) => return Err(error),
            Err(Failure::Lost(error)) => return Err(unknown(inner, &error)),
        }
    }
}

/// Runs a statement that defines something. It is never sent again: it may be done.
///
/// # Errors
/// As [`once`].
pub(in super::super) async fn define(
    inner: &Arc<Inner>,
    define: &Define,
    text: &str,
    stop: &CancellationToken,
) -> Result<(), StoreError> {
    let statement = Statement::defining(define, text);
    let mut lease = tried(inner).await?;
    match Box::pin(run(inner, &mut lease, &statement, stop, State::Ready)).await {
        Ok(_) => Ok(()),
        Err(Failure::Unsent(error) | Failure::Refused(error)) => Err(error),
        Err(Failure::Lost(error)) => Err(unknown(inner, &error)),
    }
}

async fn in_transaction(inner: &Arc<Inner>, edit: &Edit, stop: &CancellationToken, lock_wait: u64) -> Result<Edited, StoreError> {
    let transaction = begin(inner, modes_of(WriteIsolation::ReadCommitted)).await?;
    transaction.wait_for_locks(lock_wait).await?;
    // Dropping the transaction rolls it back.
    let edited = transaction.edit(edit, stop).await?;
    transaction.commit().await?;
    Ok(edited)
}

/// A connection that was alive a moment ago.
async fn tried(inner: &Inner) -> Result<Lease, StoreError> {
    let leaders = &inner.pools.leaders;
    let mut lease = leaders.acquire().await?;
    if lease.rested() <= REST_MAX {
        return Ok(lease);
    }
    match lease.query("SELECT").await {
        Ok(_) => Ok(lease),
        Err(StoreError::ConnectionLost { .. }) => {
            drop(lease);
            leaders.forget_idle();
            leaders.acquire().await
        }
        Err(error) => Err(error),
    }
}

/// A statement that commits was sent, and its answer is lost.
pub(super) fn unknown(inner: &Inner, error: &StoreError) -> StoreError {
    let reason = match error {
        StoreError::ConnectionLost { reason, .. } => reason.clone(),
        StoreError::Deadline { limit_ms, .. } => format!("There was no answer within {limit_ms} ms."),
        other => other.to_string(),
    };
    StoreError::OutcomeUnknown { store: inner.name.to_string(), reason }
}
