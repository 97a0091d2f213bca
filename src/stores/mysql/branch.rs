//! Branches: one consistent view of the server, for one statement or for a transaction block.
//!
//! | opened for | connections | what scans see |
//! |---|---|---|
//! | a statement with one scan | one, autocommit | the state when the scan starts |
//! | a statement with more scans | one per scan, in snapshot transactions at one binary-log position | one state, or EXPLAIN says why not |
//! | a transaction, repeatable | one pinned, more at the same position when scans overlap | the state when it began |
//! | a serializable transaction that may write | one; scans take turns | what is committed when they read it, and nobody changes it before the end |
//! | one that only reads | as a repeatable one | the same: InnoDB's serializable transactions lock what they read, so they are serial in commit order, of which a snapshot is a beginning |
//! | a transaction, read committed | one pinned, autocommit ones beside it when scans overlap | what is committed when each scan starts |
//! | one edit | one, autocommit | |
//! | a transaction that writes | one; scans take turns (`write/turn.rs`) | what its level says, and what it wrote |
//!
//! A transaction that is not READ ONLY becomes one that writes with its first edit.
//!
//! **Deadlocks:** a pinned connection serves one scan at a time, under a lock that the scan holds. A second scan never waits
//! behind it while another way exists: it takes a connection beside it. Only where a repeatable transaction cannot get a
//! second connection at its position does it wait, for at most `pool.wait`, and then fails with 40001; so a join that reads
//! both sides in turn ends with an error and never hangs. The slots of a statement are reserved together for the same reason. The
//! connections of transactions and edits are another pool's than those of scans (`Shared::leaders`): a cursor that is open never keeps
//! its own session from writing.

mod prepared;
mod savepoints;
mod standing;
mod views;

use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use tokio::sync::{Mutex as AsyncMutex, MutexGuard as AsyncMutexGuard, OwnedMutexGuard};
use tokio_util::sync::CancellationToken;

use super::super::commit::{BranchId, Gid, MarkId, Part, Verdict, Vote};
use super::super::connector::{self, BatchStream, Purpose, Scan, ScanLimits, Serial, StoreName, WriteIsolation};
use super::super::edit::{Edit, Edited};
use super::super::error::StoreError;
use super::super::fragment::{Fragment, Tables};
use super::super::lock::{LockWait, RowLock, SortKey};
use super::super::position::Position;
use super::super::schema::Table;
use super::super::truncate::Truncate;
use super::Shared;
use super::changes::{self, Access, SnapshotPosition};
use super::fragment;
use super::pool::{Lease, Server};
use super::ready::Ready;
use super::scan::{Job, Seat};
use super::write::{self, Flags, Mark, Marks, Turn, Xid, share};
use crate::error::sqlstate;
use views::{snapshot_view, transaction_view, writing_view};

/// A pinned connection; `None` once its transaction has ended or broken.
type Pinned = Arc<AsyncMutex<Option<Lease>>>;

/// The connection of a transaction in the hands of one statement.
type Own = OwnedMutexGuard<Option<Lease>>;

/// The scan that is open on it; whoever has this is next.
type Open<'w> = AsyncMutexGuard<'w, Weak<Turn>>;

/// One consistent view of the server.
pub(super) struct Branch {
    shared: Arc<Shared>,
    view: View,
    stop: CancellationToken,
    lock_wait: LockWait,
}

enum View {
    /// Each scan stands for itself. The reason is told when more than one scan was announced.
    Alone(Result<(), &'static str>),
    /// Scans of one statement at one position, with the connections that no scan reads from, and whether the position proves one state.
    Snapshot { position: SnapshotPosition, ready: Arc<Ready>, proved: Result<(), &'static str> },
    /// A transaction block.
    Transaction(Transaction),
    /// One edit that commits by itself.
    Once,
}

struct Transaction {
    primary: Pinned,
    /// More connections at the same position.
    beside: Mutex<Vec<Pinned>>,
    position: Option<SnapshotPosition>,
    repeatable: bool,
    proved: Result<(), &'static str>,
    /// What a transaction needs that may write.
    writing: Option<Box<Writing>>,
}

#[derive(Default)]
struct Writing {
    /// Its name when it is an XA transaction.
    xid: Option<Xid>,
    flags: Arc<Flags>,
    /// The scan that was last started on the transaction's connection. Whoever waits for that connection holds the lock.
    turn: AsyncMutex<Weak<Turn>>,
    marks: Marks,
    /// The connection on which it was prepared.
    prepared: AsyncMutex<Option<Lease>>,
}

impl fmt::Debug for Branch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let view = match &self.view {
            View::Alone(_) => "alone",
            View::Snapshot { .. } => "snapshot",
            View::Transaction(_) => "transaction",
            View::Once => "once",
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
            Purpose::Serializable(Serial::Write) if !shared.settings.read_only => {
                writing_view(shared, WriteIsolation::Serializable).await?
            }
            Purpose::Serializable(_) => transaction_view(shared, Access::Read, true).await?,
            Purpose::Once | Purpose::Write(_) if shared.settings.read_only => {
                return Err(StoreError::ReadOnly { store: shared.name.to_string() });
            }
            Purpose::Once => View::Once,
            Purpose::Write(isolation) => writing_view(shared, isolation).await?,
        };
        Ok(Self { shared: Arc::clone(shared), view, stop: CancellationToken::new(), lock_wait: LockWait::default() })
    }

    async fn seat(&self) -> Result<Seat, StoreError> {
        match &self.view {
            View::Alone(_) => Ok(Seat::Own(self.shared.pool.lease().await?)),
            View::Snapshot { position, ready, .. } => {
                // Without one the plan runs more scans side by side than it announced.
                let lease = match ready.take() {
                    Some(lease) => Some(lease),
                    None => self.lease_at(position).await?,
                };
                lease.map(|lease| Seat::Snapshot(lease, Arc::clone(ready))).ok_or_else(|| self.moved_on())
            }
            View::Transaction(transaction) => self.transaction_seat(transaction).await,
            View::Once => {
                Err(StoreError::Unsupported { store: self.shared.name.to_string(), feature: "scans beside a single edit" })
            }
        }
    }

    async fn transaction_seat(&self, transaction: &Transaction) -> Result<Seat, StoreError> {
        let primary = match Arc::clone(&transaction.primary).try_lock_owned() {
            Ok(primary) => primary,
            Err(_busy) => {
                if let Some(seat) = self.seat_beside(transaction).await? {
                    return Ok(seat);
                }
                let wait = Arc::clone(&transaction.primary).lock_owned();
                tokio::time::timeout(self.shared.settings.pool_wait, wait).await.map_err(|_elapsed| self.moved_on())?
            }
        };
        if is_doubtful(&primary) {
            return Err(self.rolled_back("a scan of it was refused"));
        }
        Ok(Seat::Pinned(primary))
    }

    /// A connection beside the transaction's own; `None` when no other shows its state.
    async fn seat_beside(&self, transaction: &Transaction) -> Result<Option<Seat>, StoreError> {
        let beside = lock(&transaction.beside).clone();
        for pinned in beside {
            if let Ok(guard) = pinned.try_lock_owned()
                && !is_doubtful(&guard)
            {
                return Ok(Some(Seat::Pinned(guard)));
            }
        }
        if !transaction.repeatable {
            return Ok(Some(Seat::Own(self.shared.pool.lease().await?)));
        }
        let Some(position) = &transaction.position else { return Ok(None) };
        let Some(lease) = self.lease_at(position).await? else { return Ok(None) };
        let pinned: Pinned = Arc::new(AsyncMutex::new(Some(lease)));
        lock(&transaction.beside).push(Arc::clone(&pinned));
        Ok(Some(Seat::Pinned(pinned.lock_owned().await)))
    }

    /// Starts a read where its view has a place for it.
    async fn start(&self, job: Job) -> Result<BatchStream, StoreError> {
        let View::Transaction(Transaction { writing: Some(writing), .. }) = &self.view else {
            let seat = self.seat().await?;
            return Ok(job.start(seat, self.stop.clone()));
        };
        let View::Transaction(transaction) = &self.view else { return Err(self.ended()) };
        self.check(writing)?;
        if !writing.flags.is_alone.load(Ordering::Acquire) {
            let turn = writing.turn.lock().await;
            if let Ok(primary) = Arc::clone(&transaction.primary).try_lock_owned() {
                self.check_free(writing, &primary)?;
                return Ok(self.start_in_turn(job, writing, turn, primary));
            }
            drop(turn);
            if let Some(seat) = self.seat_beside(transaction).await? {
                return Ok(job.start(seat, self.stop.clone()));
            }
        }
        let (turn, mut primary) = self.take_turn(transaction, writing).await?;
        self.check_free(writing, &primary)?;
        self.be_patient(&mut primary).await?;
        Ok(self.start_in_turn(job, writing, turn, primary))
    }

    fn start_in_turn(&self, job: Job, writing: &Writing, mut turn: Open<'_>, primary: Own) -> BatchStream {
        let (handle, stream) = share(&self.shared.name, job.start(Seat::Pinned(primary), self.stop.clone()), &writing.flags);
        *turn = handle;
        stream
    }

    /// The transaction's connection, free of scans.
    async fn take_turn<'w>(&self, transaction: &Transaction, writing: &'w Writing) -> Result<(Open<'w>, Own), StoreError> {
        let limit = self.shared.settings.query_timeout;
        let turn = writing.turn.lock().await;
        let free = async {
            if let Some(open) = turn.upgrade() {
                open.gather().await?;
            }
            Ok::<Own, StoreError>(Arc::clone(&transaction.primary).lock_owned().await)
        };
        let primary = tokio::time::timeout(limit, free).await.map_err(|_elapsed| self.late())??;
        Ok((turn, primary))
    }

    /// Tells the transaction's connection how long to wait for locks.
    async fn be_patient(&self, primary: &mut Own) -> Result<(), StoreError> {
        // Whoever does not wait for the answer leaves a transaction without a connection.
        let mut lease = primary.take().ok_or_else(|| self.ended())?;
        let told = lease.wait_for_locks(self.lock_wait.millis()).await;
        if matches!(told, Ok(()) | Err(StoreError::Remote { .. })) {
            **primary = Some(lease);
        }
        told
    }

    /// Refuses everything after a failure: the server may have ended the transaction, and would commit what comes next by itself.
    fn check(&self, writing: &Writing) -> Result<(), StoreError> {
        if !writing.flags.has_failed.load(Ordering::Acquire) {
            return Ok(());
        }
        let message = format!(
            "the transaction in store \"{}\" has failed; only its end or a savepoint before the failure is left",
            self.shared.name
        );
        Err(StoreError::remote(self.shared.name.as_str(), sqlstate::IN_FAILED_SQL_TRANSACTION, message))
    }

    /// The same, once the connection is free of scans: how the last one ended may be known only now, or to nobody else.
    fn check_free(&self, writing: &Writing, primary: &Own) -> Result<(), StoreError> {
        if is_doubtful(primary) {
            writing.flags.has_failed.store(true, Ordering::Release);
        }
        self.check(writing)
    }

    /// The transaction, when it may write.
    fn writing(&self) -> Result<(&Transaction, &Writing), StoreError> {
        let store = || self.shared.name.to_string();
        if self.shared.settings.read_only {
            return Err(StoreError::ReadOnly { store: store() });
        }
        match &self.view {
            View::Transaction(transaction) => transaction.writing.as_deref().map(|writing| (transaction, writing)),
            View::Alone(_) | View::Snapshot { .. } | View::Once => None,
        }
        .ok_or_else(|| StoreError::Unsupported { store: store(), feature: "writes in a view that reads" })
    }

    /// The same, from now on with everything on its one connection.
    fn alone(&self) -> Result<(&Transaction, &Writing), StoreError> {
        let found = self.writing()?;
        found.1.flags.is_alone.store(true, Ordering::Release);
        Ok(found)
    }

    async fn edit_in_transaction(&self, edit: &Edit, stop: &CancellationToken) -> Result<Edited, StoreError> {
        let (transaction, writing) = self.alone()?;
        self.check(writing)?;
        // Cancel-safe: who does not take the turn leaves the open scan as it is.
        let (_turn, mut primary) = tokio::select! {
            biased;
            taken = self.take_turn(transaction, writing) => taken?,
            () = stop.cancelled() => return Err(StoreError::Cancelled),
        };
        self.check_free(writing, &primary)?;
        self.be_patient(&mut primary).await?;
        let lease = primary.take().ok_or_else(|| self.ended())?;
        // Until it has succeeded. Whoever drops this leaves a transaction without a connection.
        writing.flags.has_failed.store(true, Ordering::Release);
        writing.flags.has_written.store(true, Ordering::Release);
        let (outcome, lease) = write::run(&self.shared, lease, edit, stop).await;
        *primary = lease;
        writing.flags.has_failed.store(outcome.is_err(), Ordering::Release);
        // What failed may have changed something all the same, unless it is undone.
        if !matches!(&outcome, Ok(edited) if edited.rows == 0) {
            writing.flags.has_changed.store(true, Ordering::Release);
        }
        outcome
    }

    fn may_write(&self) -> bool {
        matches!(&self.view, View::Transaction(Transaction { writing: Some(_), .. }))
    }

    /// Reads an open scan to its end, so that the transaction can end.
    async fn end_turn(&self, writing: &Writing) {
        let Some(open) = writing.turn.lock().await.upgrade() else { return };
        let gathered = tokio::time::timeout(self.shared.settings.query_timeout, open.gather()).await;
        if !matches!(gathered, Ok(Ok(()))) {
            self.stop.cancel();
            tracing::debug!(store = %self.shared.name, "a scan was given up because its transaction ends");
        }
    }

    /// Reads what is open to its end before the transaction is kept. One that has failed is rolled back.
    async fn close_scans(&self, writing: &Writing) -> Result<(), StoreError> {
        let mut checked = self.check(writing);
        if checked.is_ok() {
            self.end_turn(writing).await;
            // How the scan ended that was still open is known only now.
            checked = self.check(writing);
        }
        let Err(failed) = checked else { return Ok(()) };
        connector::Branch::rollback(self).await?;
        Err(failed)
    }

    fn ended(&self) -> StoreError {
        self.shared.place().lost("the transaction has already ended")
    }

    fn late(&self) -> StoreError {
        StoreError::Deadline {
            store: self.shared.name.to_string(),
            limit_ms: u64::try_from(self.shared.settings.query_timeout.as_millis()).unwrap_or(u64::MAX),
            waiting_for: "a scan of the transaction to end",
        }
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

    fn rolled_back(&self, reason: &str) -> StoreError {
        let message = format!("store \"{}\" has rolled the whole transaction back: {reason}", self.shared.name);
        StoreError::remote(self.shared.name.as_str(), sqlstate::SERIALIZATION_FAILURE, message)
    }

    /// What is asked behind the end of a transaction that was written: a position, where somebody may wait for it.
    fn question(&self, server: &Server) -> &'static str {
        if self.shared.is_followed() { changes::question(server) } else { "" }
    }

    /// Commits what is not known to be gone, and gives a position behind it where one is asked for.
    async fn keep(&self, lease: Lease, writing: &Writing) -> Result<Option<Position>, StoreError> {
        let has_written = writing.flags.has_written.load(Ordering::Acquire);
        if lease.is_doubtful && has_written {
            write::roll_back_written(lease, writing.xid).await?;
            return Err(self.rolled_back("a scan of it was refused"));
        }
        let has_changed = has_written && writing.flags.has_changed.load(Ordering::Acquire);
        let server = Arc::clone(&lease.session.server);
        let question = if has_changed { self.question(&server) } else { "" };
        let before = self.shared.histories.before();
        let rows = write::commit_written(lease, writing.xid, (has_written, has_changed), question).await?;
        Ok(changes::answered(&self.shared, &before, &server, &rows))
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
    async fn finish<T: Default, F>(&self, end: impl FnOnce(Lease) -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let View::Transaction(transaction) = &self.view else { return Ok(T::default()) };
        let limit = self.shared.settings.query_timeout;
        let taken = tokio::time::timeout(limit, transaction.primary.lock()).await.map(|mut guard| guard.take());
        let outcome = match taken {
            Ok(Some(lease)) => end(lease).await,
            Ok(None) => Err(self.ended()),
            Err(_elapsed) => Err(self.late()),
        };
        let beside = std::mem::take(&mut *lock(&transaction.beside));
        for guard in beside.into_iter().filter_map(|pinned| pinned.try_lock_owned().ok()) {
            close_beside(guard).await;
        }
        outcome
    }
}

/// Whether the transaction of a connection may be gone.
fn is_doubtful(primary: &Own) -> bool {
    primary.as_ref().is_some_and(|lease| lease.is_doubtful)
}

async fn close_beside(mut guard: OwnedMutexGuard<Option<Lease>>) {
    if let Some(lease) = guard.take()
        && let Err(error) = write::roll_back(lease).await
    {
        tracing::debug!(error = %error, "a snapshot could not be ended; its connection is closed");
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl connector::Branch for Branch {
    async fn scan(&self, table: &Arc<Table>, scan: &Scan, limits: ScanLimits) -> Result<BatchStream, StoreError> {
        let job = Job::new(&self.shared, table, scan, limits)?;
        self.start(job).await
    }

    async fn run(
        &self,
        fragment: &Fragment,
        tables: &Tables,
        schema: &SchemaRef,
        limits: ScanLimits,
    ) -> Result<BatchStream, StoreError> {
        let job = fragment::job(&self.shared, fragment, tables, schema, limits)?;
        self.start(job).await
    }

    async fn edit(&self, edit: &Edit, stop: &CancellationToken) -> Result<Edited, StoreError> {
        match self.view {
            View::Once => write::once(&self.shared, edit, stop, self.lock_wait.millis()).await,
            _ => self.edit_in_transaction(edit, stop).await,
        }
    }

    async fn truncate(&self, truncate: &Truncate, stop: &CancellationToken) -> Result<(), StoreError> {
        match self.view {
            View::Once => write::truncate(&self.shared, truncate, stop, self.lock_wait.millis()).await,
            _ => Err(StoreError::Unsupported { store: truncate.store.to_string(), feature: "TRUNCATE in a transaction" }),
        }
    }

    async fn scan_for_update(&self, table: &Arc<Table>, scan: &Scan, limits: ScanLimits) -> Result<BatchStream, StoreError> {
        self.alone()?;
        self.start(Job::locking(&self.shared, table, scan, limits)?).await
    }

    async fn scan_locked(
        &self,
        table: &Arc<Table>,
        scan: &Scan,
        lock: RowLock,
        order: &[SortKey],
        limits: ScanLimits,
    ) -> Result<BatchStream, StoreError> {
        self.alone()?;
        self.start(Job::held(&self.shared, (table, scan), (lock, order), limits)?).await
    }

    fn wait_for_locks(&self, limit: Option<Duration>) {
        self.lock_wait.set(limit);
    }

    async fn savepoint(&self, id: u32) -> Result<(), StoreError> {
        self.at_savepoint(Mark::Set, id).await
    }

    async fn roll_back_to(&self, id: u32) -> Result<(), StoreError> {
        self.at_savepoint(Mark::ComeBack, id).await
    }

    async fn release(&self, id: u32) -> Result<(), StoreError> {
        self.at_savepoint(Mark::Release, id).await
    }

    fn has_written(&self) -> bool {
        matches!(&self.view, View::Transaction(Transaction { writing: Some(writing), .. })
            if writing.flags.has_written.load(Ordering::Acquire))
    }

    fn shared_snapshot(&self) -> Result<(), &'static str> {
        match &self.view {
            View::Alone(shared) => *shared,
            View::Snapshot { proved, .. } => *proved,
            View::Transaction(transaction) if transaction.repeatable => transaction.proved,
            View::Once => Ok(()),
            View::Transaction(_) => Err("in a read committed transaction each scan sees what is committed when it starts"),
        }
    }

    fn part(&self) -> Part {
        self.takes_part()
    }

    fn branch_id(&self, store: &StoreName, gid: Gid) -> BranchId {
        self.own_name().unwrap_or_else(|| gid.of_store(store))
    }

    async fn prepare(&self, id: &BranchId) -> Result<Vote, StoreError> {
        self.vote(id).await
    }

    async fn commit_prepared(&self) -> Result<Option<Position>, StoreError> {
        self.end_prepared(Verdict::Commit).await
    }

    async fn roll_back_prepared(&self) -> Result<(), StoreError> {
        self.end_prepared(Verdict::Abort).await.map(drop)
    }

    async fn mark(&self, mark: MarkId) -> Result<(), StoreError> {
        self.write_mark(mark).await
    }

    async fn commit(&self) -> Result<Option<Position>, StoreError> {
        let View::Transaction(Transaction { writing: Some(writing), .. }) = &self.view else {
            self.finish(write::commit).await?;
            return Ok(None);
        };
        self.close_scans(writing).await?;
        let position = self.finish(|lease| self.keep(lease, writing)).await?;
        writing.flags.has_written.store(false, Ordering::Release);
        Ok(position)
    }

    async fn rollback(&self) -> Result<(), StoreError> {
        self.stop.cancel();
        let View::Transaction(Transaction { writing: Some(writing), .. }) = &self.view else {
            return self.finish(write::roll_back).await;
        };
        let xid = writing.xid;
        let outcome = self.finish(|lease| write::roll_back_written(lease, xid)).await;
        writing.flags.has_written.store(false, Ordering::Release);
        match outcome {
            // Without its connection the server rolls the transaction back.
            Err(StoreError::ConnectionLost { .. }) => Ok(()),
            outcome => outcome,
        }
    }
}
