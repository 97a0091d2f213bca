//! How the views of branches begin.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use tokio::sync::Mutex as AsyncMutex;

use super::super::super::connector::WriteIsolation;
use super::super::super::error::StoreError;
use super::super::Shared;
use super::super::changes::{self, Access, SnapshotPosition};
use super::super::pool::Lease;
use super::super::ready::Ready;
use super::super::write;
use super::{Transaction, View, Writing, lock};

/// A connection in a transaction. One that died while it was idle is replaced once.
async fn begun(shared: &Arc<Shared>, access: Access, repeatable: bool) -> Result<(Lease, Option<SnapshotPosition>), StoreError> {
    let mut lease = shared.leaders.lease().await?;
    let position = match unhurried(&mut lease, access, repeatable).await {
        Err(StoreError::ConnectionLost { .. }) if lease.reused => {
            drop(lease);
            shared.leaders.forget_idle();
            lease = shared.leaders.lease().await?;
            unhurried(&mut lease, access, repeatable).await?
        }
        outcome => outcome?,
    };
    Ok((lease, position))
}

/// Begins a transaction whose reads wait as the server's settings say, whatever the last one on the connection was told.
async fn unhurried(lease: &mut Lease, access: Access, repeatable: bool) -> Result<Option<SnapshotPosition>, StoreError> {
    lease.wait_for_locks(0).await?;
    write::begin(lease, access, repeatable).await
}

/// Whether an equal position proves that two connections see one state.
fn proved(shared: &Shared, lease: &Lease, position: &SnapshotPosition) -> Result<(), &'static str> {
    if !lock(&shared.other_engines).is_empty() {
        return Err("some tables are kept by an engine without transactions");
    }
    lease.session.server.logs_all.and_then(|()| position.proves())
}

/// A transaction block, whose reads may come first.
///
/// # Errors
/// Why no connection could be had, or what the server answered.
pub(super) async fn transaction_view(shared: &Arc<Shared>, access: Access, repeatable: bool) -> Result<View, StoreError> {
    let (lease, position) = begun(shared, access, repeatable).await?;
    // Without a position all scans take turns on one connection.
    let proved = position.as_ref().map_or(Ok(()), |position| proved(shared, &lease, position));
    let primary = Arc::new(AsyncMutex::new(Some(lease)));
    let writing = (access == Access::Write && !shared.settings.read_only).then(Box::default);
    Ok(View::Transaction(Transaction { primary, beside: Mutex::new(Vec::new()), position, repeatable, proved, writing }))
}

/// A transaction that writes, on one connection.
///
/// # Errors
/// Why no connection could be had, or what the server answered.
pub(super) async fn writing_view(shared: &Arc<Shared>, isolation: WriteIsolation) -> Result<View, StoreError> {
    let (lease, xid) = write::begin_xa(shared, isolation).await?;
    // Discovery may have seen another server, or none yet.
    if !lease.session.server.keeps_prepared() {
        shared.can_recover.store(false, Ordering::Release);
    }
    let writing = Writing { xid: Some(xid), ..Writing::default() };
    writing.flags.is_alone.store(true, Ordering::Release);
    Ok(View::Transaction(Transaction {
        primary: Arc::new(AsyncMutex::new(Some(lease))),
        beside: Mutex::new(Vec::new()),
        position: None,
        repeatable: isolation != WriteIsolation::ReadCommitted,
        proved: Ok(()),
        writing: Some(Box::new(writing)),
    }))
}

/// Connections for the scans of one statement, at one position where that can be had.
///
/// # Errors
/// Why no connection could be had, or what the server answered.
pub(super) async fn snapshot_view(shared: &Arc<Shared>, scans: usize) -> Result<View, StoreError> {
    let mut leases = shared.pool.lease_many(scans).await?;
    let begun = match changes::begin_one_snapshot(&mut leases).await {
        Err(StoreError::ConnectionLost { .. }) if leases.iter().any(|lease| lease.reused) => {
            drop(leases);
            shared.pool.forget_idle();
            leases = shared.pool.lease_many(scans).await?;
            changes::begin_one_snapshot(&mut leases).await?
        }
        outcome => outcome?,
    };
    match begun {
        Ok(position) => {
            let proved = leases.first().map_or(Ok(()), |lease| proved(shared, lease, &position));
            Ok(View::Snapshot { position, ready: Ready::new(shared, leases), proved })
        }
        Err(reason) => {
            futures::future::try_join_all(leases.into_iter().map(write::roll_back)).await?;
            Ok(View::Alone(Err(reason)))
        }
    }
}
