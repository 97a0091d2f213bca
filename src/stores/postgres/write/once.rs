//! One edit that the server commits by itself.
//!
//! **Invariant:** an edit that fails has changed nothing. What is given back must therefore be readable whatever it is, or else the
//! edit runs in a transaction that is committed when its rows have been read.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::super::super::connector::WriteIsolation;
use super::super::super::edit::{Edit, Edited};
use super::super::super::error::StoreError;
use super::super::branch::Inner;
use super::super::job::Item;
use super::super::pool::{Lease, State};
use super::run::{Failure, run};
use super::statement::{Returned, Statement};
use super::transaction::begin;
use crate::pgtype::{PgField, PgType};

/// A connection that has been in the pool for longer is tried before an edit is sent over it, which cannot be sent again.
const REST_MAX: Duration = Duration::from_secs(1);

/// Runs an edit.
///
/// # Errors
/// What the server answered; [`StoreError::OutcomeUnknown`] when its answer was lost.
pub(in super::super) async fn once(inner: &Arc<Inner>, edit: &Edit, stop: &CancellationToken) -> Result<Edited, StoreError> {
    let statement = Statement::of(edit)?;
    if statement.returned.as_ref().is_some_and(|returned| !is_always_readable(returned)) {
        return Box::pin(in_transaction(inner, edit, stop)).await;
    }
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

async fn in_transaction(inner: &Arc<Inner>, edit: &Edit, stop: &CancellationToken) -> Result<Edited, StoreError> {
    let transaction = begin(inner, WriteIsolation::ReadCommitted).await?;
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

/// Whether every value of these types can be given.
fn is_always_readable(returned: &Returned) -> bool {
    const TYPES: [PgType; 9] = [
        PgType::BOOL,
        PgType::INT2,
        PgType::INT4,
        PgType::INT8,
        PgType::FLOAT4,
        PgType::FLOAT8,
        PgType::TEXT,
        PgType::VARCHAR,
        PgType::UUID,
    ];
    returned.job.items.iter().all(|item| match item {
        Item::Plain { field, .. } => TYPES.iter().any(|known| known.oid == field.pg_type().oid),
        Item::Document { .. } => false,
    })
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
