//! Branches: one consistent view of the server, for one statement or for a transaction block.
//!
//! | opened for | connections | what scans see |
//! |---|---|---|
//! | a statement with one scan | one, autocommit | the state when the scan starts |
//! | a statement with more scans | one per scan, in snapshot transactions at one binary-log position | one state, or EXPLAIN says why not |
//! | a transaction, repeatable | one pinned, more at the same position when scans overlap | the state when it began |
//! | a transaction, serializable | as a repeatable one | the same: InnoDB's serializable transactions lock what they read, so they are serial in commit order, of which a snapshot is a beginning |
//! | a transaction, read committed | one pinned, autocommit ones beside it when scans overlap | what is committed when each scan starts |
//!
//! **Deadlocks:** a pinned connection serves one scan at a time, under a lock that the scan holds. A second scan never waits
//! behind it while another way exists: it takes a connection beside it. Only where a repeatable transaction cannot get a
//! second connection at its position does it wait, for at most `pool.wait`, and then fails with 40001; so a join that reads
//! both sides in turn ends with an error and never hangs. The slots of a statement are reserved together for the same reason.

use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};
use tokio_util::sync::CancellationToken;

use super::super::connector::{self, BatchStream, Purpose, Scan, ScanLimits};
use super::super::error::StoreError;
use super::super::fragment::{Fragment, Tables};
use super::super::position::Position;
use super::super::schema::Table;
use super::Shared;
use super::changes::{self, Access, SnapshotPosition};
use super::fragment;
use super::pool::Lease;
use super::scan::{Job, Seat};
use super::write;
use crate::error::sqlstate;

/// A pinned connection; `None` once its transaction has ended or broken.
type Pinned = Arc<AsyncMutex<Option<Lease>>>;

/// One consistent view of the server.
pub(super) struct Branch {
    shared: Arc<Shared>,
    view: View,
    stop: CancellationToken,
}

enum View {
    /// Each scan stands for itself. The reason is told when more than one scan was announced.
    Alone(Result<(), &'static str>),
    /// Scans of one statement at one position, with the connections not used yet, and whether the position proves one state.
    Snapshot { position: SnapshotPosition, ready: Mutex<Vec<Lease>>, proved: Result<(), &'static str> },
    /// A transaction block.
    Transaction(Transaction),
}

struct Transaction {
    primary: Pinned,
    /// More connections at the same position.
    beside: Mutex<Vec<Pinned>>,
    position: Option<SnapshotPosition>,
    repeatable: bool,
    proved: Result<(), &'static str>,
}

impl fmt::Debug for Branch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let view = match &self.view {
            View::Alone(_) => "alone",
            View::Snapshot { .. } => "snapshot",
            View::Transaction(_) => "transaction",
        };
        f.debug_struct("Branch").field("store", &self.shared.name).field("view", &view).finish_non_exhaustive()
    }
}

impl Branch {
    /// Opens a view.
    ///
    /// # Errors
    /// Why no connection could be had, or what the server answered.
    pub(super) async fn open(shared: &Arc<Shared>, purpose: Purpose) -> Result<Self, StoreError> {
        let view = match purpose {
            Purpose::Statement { scans: 0 | 1 } => View::Alone(Ok(())),
            Purpose::Statement { scans } if scans > shared.settings.pool_size => {
                View::Alone(Err("the statement reads the store more often than pool.size allows at once"))
            }
            Purpose::Statement { scans } => snapshot_view(shared, scans).await?,
            Purpose::Transaction { read_only: false, repeatable } => transaction_view(shared, Access::Write, repeatable).await?,
            Purpose::Transaction { read_only: true, repeatable } => transaction_view(shared, Access::Read, repeatable).await?,
            Purpose::Serializable => transaction_view(shared, Access::Read, true).await?,
            Purpose::Once | Purpose::Write(_) => {
                return Err(StoreError::Unsupported { store: shared.name.to_string(), feature: "writes" });
            }
        };
        Ok(Self { shared: Arc::clone(shared), view, stop: CancellationToken::new() })
    }

    async fn seat(&self) -> Result<Seat, StoreError> {
        match &self.view {
            View::Alone(_) => Ok(Seat::Own(self.shared.pool.lease().await?)),
            View::Snapshot { position, ready, .. } => {
                let prepared = lock(ready).pop();
                match prepared {
                    Some(lease) => Ok(Seat::Snapshot(lease)),
                    // The plan ran a scan more often than it announced.
                    None => match self.lease_at(position).await? {
                        Some(lease) => Ok(Seat::Snapshot(lease)),
                        None => Err(self.moved_on()),
                    },
                }
            }
            View::Transaction(transaction) => self.transaction_seat(transaction).await,
        }
    }

    async fn transaction_seat(&self, transaction: &Transaction) -> Result<Seat, StoreError> {
        let beside = lock(&transaction.beside).clone();
        for pinned in std::iter::once(&transaction.primary).chain(&beside) {
            if let Ok(guard) = Arc::clone(pinned).try_lock_owned() {
                return Ok(Seat::Pinned(guard));
            }
        }
        if !transaction.repeatable {
            return Ok(Seat::Own(self.shared.pool.lease().await?));
        }
        if let Some(position) = &transaction.position
            && let Some(lease) = self.lease_at(position).await?
        {
            let pinned: Pinned = Arc::new(AsyncMutex::new(Some(lease)));
            lock(&transaction.beside).push(Arc::clone(&pinned));
            return Ok(Seat::Pinned(pinned.lock_owned().await));
        }
        let wait = Arc::clone(&transaction.primary).lock_owned();
        tokio::time::timeout(self.shared.settings.pool_wait, wait).await.map(Seat::Pinned).map_err(|_elapsed| self.moved_on())
    }

    /// Another connection whose snapshot stands at `position`; `None` when the server has moved on.
    async fn lease_at(&self, position: &SnapshotPosition) -> Result<Option<Lease>, StoreError> {
        let mut lease = self.shared.pool.lease().await?;
        if changes::begin_snapshot(&mut lease, Access::Read).await?.as_ref() == Some(position) {
            return Ok(Some(lease));
        }
        write::roll_back(lease).await?;
        Ok(None)
    }

    fn moved_on(&self) -> StoreError {
        StoreError::Remote {
            store: self.shared.name.to_string(),
            sqlstate: sqlstate::SERIALIZATION_FAILURE.to_owned(),
            message: format!("store \"{}\" cannot read twice at once from one snapshot", self.shared.name),
            detail: Some("Its data has changed since the snapshot, and its connection is busy with another scan.".to_owned()),
            constraint: None,
            site: None,
        }
    }

    /// Ends the transaction by `end` and gives every connection back that is in a known state.
    async fn finish<F: Future<Output = Result<(), StoreError>>>(&self, end: impl FnOnce(Lease) -> F) -> Result<(), StoreError> {
        let View::Transaction(transaction) = &self.view else { return Ok(()) };
        let limit = self.shared.settings.query_timeout;
        let taken = tokio::time::timeout(limit, transaction.primary.lock()).await.map(|mut guard| guard.take());
        let outcome = match taken {
            Ok(Some(lease)) => end(lease).await,
            Ok(None) => Err(self.shared.place().lost("the transaction has already ended")),
            Err(_elapsed) => Err(StoreError::Deadline {
                store: self.shared.name.to_string(),
                limit_ms: u64::try_from(limit.as_millis()).unwrap_or(u64::MAX),
                waiting_for: "a scan of the transaction to end",
            }),
        };
        let beside = std::mem::take(&mut *lock(&transaction.beside));
        for guard in beside.into_iter().filter_map(|pinned| pinned.try_lock_owned().ok()) {
            close_beside(guard).await;
        }
        outcome
    }
}

async fn close_beside(mut guard: OwnedMutexGuard<Option<Lease>>) {
    if let Some(lease) = guard.take()
        && let Err(error) = write::roll_back(lease).await
    {
        tracing::debug!(error = %error, "a snapshot could not be ended; its connection is closed");
    }
}

/// A connection in a transaction. One that died while it was idle is replaced once.
async fn begun(shared: &Arc<Shared>, access: Access, repeatable: bool) -> Result<(Lease, Option<SnapshotPosition>), StoreError> {
    let mut lease = shared.pool.lease().await?;
    let position = match write::begin(&mut lease, access, repeatable).await {
        Err(StoreError::ConnectionLost { .. }) if lease.reused => {
            drop(lease);
            shared.pool.forget_idle();
            lease = shared.pool.lease().await?;
            write::begin(&mut lease, access, repeatable).await?
        }
        outcome => outcome?,
    };
    Ok((lease, position))
}

/// Whether an equal position proves that two connections see one state.
fn proved(shared: &Shared, lease: &Lease, position: &SnapshotPosition) -> Result<(), &'static str> {
    if shared.has_other_engines.load(Ordering::Relaxed) {
        return Err("some tables are kept by an engine without transactions");
    }
    lease.session.server.logs_all.and_then(|()| position.proves())
}

async fn transaction_view(shared: &Arc<Shared>, access: Access, repeatable: bool) -> Result<View, StoreError> {
    let (lease, position) = begun(shared, access, repeatable).await?;
    // Without a position all scans take turns on one connection.
    let proved = position.as_ref().map_or(Ok(()), |position| proved(shared, &lease, position));
    let primary = Arc::new(AsyncMutex::new(Some(lease)));
    Ok(View::Transaction(Transaction { primary, beside: Mutex::new(Vec::new()), position, repeatable, proved }))
}

async fn snapshot_view(shared: &Arc<Shared>, scans: usize) -> Result<View, StoreError> {
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
            Ok(View::Snapshot { position, ready: Mutex::new(leases), proved })
        }
        Err(reason) => {
            futures::future::try_join_all(leases.into_iter().map(write::roll_back)).await?;
            Ok(View::Alone(Err(reason)))
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl connector::Branch for Branch {
    async fn scan(&self, table: &Arc<Table>, scan: &Scan, limits: ScanLimits) -> Result<BatchStream, StoreError> {
        let job = Job::new(&self.shared, table, scan, limits)?;
        let seat = self.seat().await?;
        Ok(job.start(seat, self.stop.clone()))
    }

    async fn run(
        &self,
        fragment: &Fragment,
        tables: &Tables,
        schema: &SchemaRef,
        limits: ScanLimits,
    ) -> Result<BatchStream, StoreError> {
        let job = fragment::job(&self.shared, fragment, tables, schema, limits)?;
        let seat = self.seat().await?;
        Ok(job.start(seat, self.stop.clone()))
    }

    fn shared_snapshot(&self) -> Result<(), &'static str> {
        match &self.view {
            View::Alone(shared) => *shared,
            View::Snapshot { proved, .. } => *proved,
            View::Transaction(transaction) if transaction.repeatable => transaction.proved,
            View::Transaction(_) => Err("in a read committed transaction each scan sees what is committed when it starts"),
        }
    }

    async fn commit(&self) -> Result<Option<Position>, StoreError> {
        self.finish(write::commit).await?;
        Ok(None)
    }

    async fn rollback(&self) -> Result<(), StoreError> {
        self.stop.cancel();
        self.finish(write::roll_back).await
    }
}
