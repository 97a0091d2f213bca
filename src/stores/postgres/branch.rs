//! One consistent view of the database: autocommit for a statement with one scan, else an exported snapshot.
//!
//! ```text
//! leader:  BEGIN ISOLATION LEVEL REPEATABLE READ …; pg_export_snapshot() → id, held until the branch ends
//! worker:  BEGIN …; SET TRANSACTION SNAPSHOT 'id'; COPY …           one per scan, from the pool of scans
//! ```
//!
//! The slots of the scans that a statement announces are reserved together when it is opened. Scans that it did not announce,
//! those beyond `pool.size`, and those of a transaction block take theirs one by one. What reads ranges of a large table (`ranges.rs`)
//! takes no slot that is not free at once, and only one of those that others wait for.
//!
//! A branch that writes has one connection for all ([`super::write`]): from the start, or, for a block that reads first, from its first
//! edit or savepoint on. That is the leader's only where nothing is prepared: a transaction that has exported its snapshot cannot be, so
//! another one takes the snapshot over, which can, and the leader ends. That takes one connection more for a moment: where there is none, the
//! leader writes, and the branch can only be the one that is not prepared. So has one that is serializable, whether it writes or not: the server finds conflicts by what it has
//! seen the very transaction read. Only a deferred one is led by a snapshot, which nothing can reach.

mod ranges;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, PoisonError};
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use futures::StreamExt;
use sqlx::Row;
use sqlx::postgres::PgRow;
use tokio::sync::{Mutex, OwnedSemaphorePermit};
use tokio_util::sync::CancellationToken;

use super::super::commit::{BranchId, MarkId, Part, Verdict, Vote};
use super::super::connector::{BatchStream, Branch, Purpose, Scan, ScanLimits, Serial, StoreName, WriteIsolation};
use super::super::define::Define;
use super::super::document::Learning;
use super::super::edit::{Edit, Edited};
use super::super::error::StoreError;
use super::super::fragment::{Fragment, Tables};
use super::super::lock::{LockWait, RowLock, SortKey};
use super::super::position::Position;
use super::super::relational::documents::TableOptions;
use super::super::relational::literal;
use super::super::schema::{StoreSchema, Table};
use super::super::truncate::Truncate;
use super::changes::{Pushes, Strikes};
use super::define;
use super::error;
use super::job::Job;
use super::lookup::{Batch, Lookup};
use super::own;
use super::pool::{Lease, Pools, State};
use super::scan;
use super::schema;
use super::settings::Settings;
use super::write::{self, Transaction};
use crate::error::sqlstate;

/// What a connector and its branches share.
pub(super) struct Inner {
    /// The store's name.
    pub name: StoreName,
    /// The parsed store file.
    pub settings: Settings,
    /// Its connections.
    pub pools: Pools,
    /// Whether there is a log that names prepared transactions.
    pub is_numbered: AtomicBool,
    /// How often its feed has met a message in one place that cannot be read.
    pub strikes: Strikes,
    /// When its server was made to write its log for who waits for the feed.
    pub pushes: Pushes,
}

impl Inner {
    /// How a transaction that writes takes part in a commit of several stores.
    pub(super) fn part(&self) -> Part {
        match (self.is_numbered.load(Ordering::Acquire), self.pools.can_prepare()) {
            (false, _) => Part::Alone("no log of commits was opened for it"),
            (true, true) => Part::Prepared,
            (true, false) => Part::Last,
        }
    }
}

/// An open view.
pub(super) struct View {
    inner: Arc<Inner>,
    kind: ViewKind,
    /// The transaction that writes, in which everything runs once there is one.
    writing: OnceLock<Arc<Transaction>>,
    /// Whether that has exported its snapshot, so that it cannot be prepared.
    has_exported: AtomicBool,
    lock_wait: LockWait,
}

/// Slots of the pool of scans that nobody has taken yet.
type Reserved = std::sync::Mutex<Vec<OwnedSemaphorePermit>>;

enum ViewKind {
    /// Each scan sees the state at its own start. The text says why, when there can be more than one scan.
    EachScan(Option<&'static str>),
    /// All scans see the leader's snapshot. The leader goes when the view is ended, or writes. How a transaction begins that takes the
    /// snapshot over is known of a view that may write.
    Snapshot { leader: Mutex<Option<Lease>>, worker_begin: String, reserved: Reserved, writer_begin: Option<String> },
    /// One edit that commits by itself.
    Once,
    /// A transaction on one connection, which may write unless it was begun to read alone. The text says why its scans do not see one
    /// state.
    Writing(Result<(), &'static str>),
}

/// How a transaction is begun whose reads are of one snapshot.
const READING: &str = "REPEATABLE READ READ ONLY";

const READ_COMMITTED: &str = "the transaction is READ COMMITTED, so each scan sees the state at its own start";

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shared = matches!(self.kind, ViewKind::Snapshot { .. });
        f.debug_struct("View").field("store", &self.inner.name).field("shared_snapshot", &shared).finish()
    }
}

/// Opens a view of the store.
///
/// # Errors
/// The store cannot be reached, or what it answered.
pub(super) async fn open(inner: &Arc<Inner>, purpose: Purpose) -> Result<View, StoreError> {
    let kind = match purpose {
        Purpose::Statement { scans: 0 | 1 } => ViewKind::EachScan(None),
        Purpose::Statement { scans } => lead(inner, READING, ("", scans)).await?,
        Purpose::Transaction { repeatable: false, .. } => ViewKind::EachScan(Some(READ_COMMITTED)),
        Purpose::Transaction { read_only: true, .. } => lead(inner, READING, ("", 0)).await?,
        Purpose::Transaction { read_only: false, .. } => lead(inner, "REPEATABLE READ READ WRITE", ("", 0)).await?,
        // The server waits for a snapshot that no anomaly can reach, so whoever reads it need not be watched: the workers,
        // whose reads the server does not count as the leader's, may share it.
        Purpose::Serializable(Serial::ReadDeferred) => lead(inner, "SERIALIZABLE READ ONLY DEFERRABLE", ("", 0)).await?,
        Purpose::Serializable(Serial::Write) if !inner.settings.read_only => {
            let modes = write::modes_of(WriteIsolation::Serializable);
            return Box::pin(alone(inner, modes, Ok(()))).await;
        }
        Purpose::Serializable(Serial::Write | Serial::Read) => {
            return Box::pin(alone(inner, "SERIALIZABLE READ ONLY", Ok(()))).await;
        }
        Purpose::Once | Purpose::Write(_) if inner.settings.read_only => {
            return Err(StoreError::ReadOnly { store: inner.name.to_string() });
        }
        Purpose::Once => ViewKind::Once,
        Purpose::Write(isolation) => {
            let shares = if isolation == WriteIsolation::ReadCommitted { Err(READ_COMMITTED) } else { Ok(()) };
            return Box::pin(alone(inner, write::modes_of(isolation), shares)).await;
        }
    };
    Ok(of_kind(inner, kind))
}

/// Opens a view to read in one snapshot, which is taken once these statements have locked tables, each of which ends in `; `.
///
/// # Errors
/// The store cannot be reached, or what it answered: 55P03 for a lock that it does not give.
pub(super) async fn open_locked(inner: &Arc<Inner>, locks: &str) -> Result<View, StoreError> {
    Ok(of_kind(inner, lead(inner, READING, (locks, 0)).await?))
}

fn of_kind(inner: &Arc<Inner>, kind: ViewKind) -> View {
    let (writing, has_exported) = (OnceLock::new(), AtomicBool::new(false));
    View { inner: inner.clone(), kind, writing, has_exported, lock_wait: LockWait::default() }
}

/// A view with everything on one connection.
async fn alone(inner: &Arc<Inner>, modes: &str, shares: Result<(), &'static str>) -> Result<View, StoreError> {
    let transaction = Box::pin(write::begin(inner, modes)).await?;
    let (kind, writing, has_exported) = (ViewKind::Writing(shares), OnceLock::from(transaction), AtomicBool::new(false));
    Ok(View { inner: inner.clone(), kind, writing, has_exported, lock_wait: LockWait::default() })
}

async fn lead(inner: &Arc<Inner>, modes: &str, (locks, scans): (&str, usize)) -> Result<ViewKind, StoreError> {
    let begin = format!("BEGIN ISOLATION LEVEL {modes}; {locks}SELECT pg_catalog.pg_export_snapshot()");
    let (mut leader, rows) = inner.pools.leaders.acquire_with(&begin).await?;
    leader.settle(State::Transaction);
    let snapshot: String = match rows.iter().flatten().next().map(|row| row.try_get(0)) {
        Some(Ok(snapshot)) => snapshot,
        Some(Err(problem)) => return Err(error::running(&inner.name, &problem)),
        None => return Err(error::running(&inner.name, &sqlx::Error::RowNotFound)),
    };
    // A scan that waited behind one who waits for the leader would be waited for by the leader: it does not wait either.
    let worker_begin = format!("{}; {locks}", follower(inner, &snapshot)?);
    let worker_begin = worker_begin.trim_end_matches("; ").to_owned();
    let writer_begin = if modes.ends_with("READ WRITE") { Some(importing(inner, modes, &snapshot)?) } else { None };
    // Always after the leader: whoever holds slots has all that it needs.
    let reserved = if scans == 0 { Vec::new() } else { inner.pools.scans.reserve(scans).await? };
    Ok(ViewKind::Snapshot { leader: Mutex::new(Some(leader)), worker_begin, reserved: reserved.into(), writer_begin })
}

/// How a transaction begins that reads an exported snapshot.
fn follower(inner: &Inner, snapshot: &str) -> Result<String, StoreError> {
    importing(inner, READING, snapshot)
}

/// How a transaction of these modes begins that sees an exported snapshot.
fn importing(inner: &Inner, modes: &str, snapshot: &str) -> Result<String, StoreError> {
    let mut begin = format!("BEGIN ISOLATION LEVEL {modes}; SET TRANSACTION SNAPSHOT ");
    literal::write_text(snapshot, &mut begin).map_err(|_cause| error::running(&inner.name, &sqlx::Error::RowNotFound))?;
    Ok(begin)
}

impl View {
    fn ended(&self) -> StoreError {
        StoreError::Remote {
            store: self.inner.name.to_string(),
            sqlstate: sqlstate::NO_ACTIVE_SQL_TRANSACTION.to_owned(),
            message: "the transaction on the store has ended".to_owned(),
            detail: None,
            constraint: None,
            site: None,
        }
    }

    /// Asks a question of our own in the snapshot that all scans see.
    ///
    /// # Errors
    /// What the server answered; 25P01 of a view that has no snapshot, or has none any more.
    pub(super) async fn ask_leader(&self, sql: &str) -> Result<Vec<PgRow>, StoreError> {
        let ViewKind::Snapshot { leader, .. } = &self.kind else { return Err(self.ended()) };
        let mut leader = leader.lock().await;
        leader.as_mut().ok_or_else(|| self.ended())?.query(sql).await
    }

    async fn look_up(&self, lookup: &Lookup) -> Result<BatchStream, StoreError> {
        let mut rows = Batch::default();
        lookup.look_up(&self.inner.pools.scans, lookup.values(), &mut rows).await?;
        Ok(futures::stream::iter(rows.finish(lookup)?.map(Ok)).boxed())
    }

    /// A pooled connection may have died with a restarted server. Nothing has been read then, so the job is sent once more.
    async fn run_alone(&self, job: Job) -> Result<BatchStream, StoreError> {
        let scans = &self.inner.pools.scans;
        let lease = scans.acquire().await?;
        let again = lease.is_reused().then(|| job.clone());
        match (scan::start(lease, job).await, again) {
            (Err(StoreError::ConnectionLost { .. }), Some(again)) => {
                scans.forget_idle();
                let lease = scans.acquire().await?;
                scan::start(lease, again).await
            }
            (outcome, _) => outcome,
        }
    }

    async fn start(&self, mut job: Job) -> Result<BatchStream, StoreError> {
        job.deadline = self.inner.settings.deadline;
        if let Some(transaction) = self.writing.get() {
            return Box::pin(transaction.scan(job)).await;
        }
        let (leader, worker_begin, reserved) = match &self.kind {
            ViewKind::Snapshot { leader, worker_begin, reserved, .. } => (leader, worker_begin, reserved),
            ViewKind::EachScan(_) => return Box::pin(self.run_alone(job)).await,
            ViewKind::Once | ViewKind::Writing(_) => return Err(self.unsupported("scans beside an edit that commits by itself")),
        };
        let has_leader = leader.lock().await.is_some();
        // Whoever writes takes the snapshot over: from then on reads are its own.
        if let Some(transaction) = self.writing.get() {
            return Box::pin(transaction.scan(job)).await;
        }
        if !has_leader {
            return Err(self.ended());
        }
        let slot = reserved.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let scans = &self.inner.pools.scans;
        let begun = match slot {
            Some(slot) => Box::pin(scans.fill_with(slot, worker_begin)).await,
            None => Box::pin(scans.acquire_with(worker_begin)).await,
        };
        let (mut worker, _) = match (begun, self.writing.get()) {
            (Ok(begun), _) => begun,
            // The snapshot was gone with its leader.
            (Err(_), Some(transaction)) => return Box::pin(transaction.scan(job)).await,
            (Err(error), None) => return Err(error),
        };
        worker.settle(State::Transaction);
        job.after = State::Transaction;
        scan::start(worker, job).await
    }

    fn unsupported(&self, feature: &'static str) -> StoreError {
        StoreError::Unsupported { store: self.inner.name.to_string(), feature }
    }

    /// The transaction for edits. That of a block which has only read so far goes on from the leader's snapshot.
    async fn writing(&self) -> Result<&Arc<Transaction>, StoreError> {
        if let Some(transaction) = self.writing.get() {
            return Ok(transaction);
        }
        let ViewKind::Snapshot { leader, writer_begin: Some(begin), .. } = &self.kind else {
            return Err(self.unsupported("writes"));
        };
        if self.inner.settings.read_only {
            return Err(StoreError::ReadOnly { store: self.inner.name.to_string() });
        }
        let mut leader = leader.lock().await;
        // Somebody else may have been first.
        if let Some(transaction) = self.writing.get() {
            return Ok(transaction);
        }
        if self.inner.part() == Part::Prepared {
            let old = leader.as_mut().ok_or_else(|| self.ended())?;
            let exchanged = Box::pin(self.inner.pools.leaders.exchange(old, begin)).await;
            match exchanged {
                Ok(lease) => {
                    let transaction = self.writing.get_or_init(|| Transaction::of(&self.inner, lease));
                    // Not before: a scan that finds its snapshot gone finds the transaction. Its connection is rolled back behind us.
                    leader.take();
                    return Ok(transaction);
                }
                // There may be no other connection, and one store needs none.
                Err(error @ (StoreError::Unreachable { .. } | StoreError::Crowded { .. } | StoreError::Deadline { .. })) => {
                    tracing::debug!(store = %self.inner.name, %error, "a block that has read will not be prepared");
                }
                Err(error) => return Err(error),
            }
        }
        self.has_exported.store(true, Ordering::Release);
        let lease = leader.take().ok_or_else(|| self.ended())?;
        Ok(self.writing.get_or_init(|| Transaction::of(&self.inner, lease)))
    }

    /// The same for what may have to wait for locks.
    async fn locking(&self) -> Result<&Arc<Transaction>, StoreError> {
        let transaction = self.writing().await?;
        Box::pin(transaction.wait_for_locks(self.lock_wait.millis())).await?;
        Ok(transaction)
    }

    /// The transaction whose state can be gone back to; `None` of a branch whose failed scans leave nothing behind.
    async fn undoing(&self) -> Result<Option<&Arc<Transaction>>, StoreError> {
        if let Some(transaction) = self.writing.get() {
            return Ok(Some(transaction));
        }
        let writes = matches!(self.kind, ViewKind::Snapshot { writer_begin: Some(_), .. });
        if writes && !self.inner.settings.read_only { self.writing().await.map(Some) } else { Ok(None) }
    }

    /// The transaction that is to be prepared or marked.
    fn written(&self) -> Result<&Arc<Transaction>, StoreError> {
        self.writing.get().ok_or_else(|| self.unsupported("prepared transactions without writes"))
    }

    /// What the database holds for the transaction that writes.
    ///
    /// # Errors
    /// What the server answered, with which the transaction has failed.
    pub(super) async fn discover(&self, documents: &TableOptions, learning: &mut Learning) -> Result<StoreSchema, StoreError> {
        let transaction = self.writing().await?;
        Box::pin(schema::discover_in(&self.inner.name, transaction, documents, learning)).await
    }

    async fn end(&self, word: &str) -> Result<(), StoreError> {
        let ViewKind::Snapshot { leader, .. } = &self.kind else { return Ok(()) };
        let Some(mut leader) = leader.lock().await.take() else { return Err(self.ended()) };
        leader.query(word).await?;
        leader.settle(State::Ready);
        Ok(())
    }
}

#[async_trait]
impl Branch for View {
    async fn scan(&self, table: &Arc<Table>, scan: &Scan, limits: ScanLimits) -> Result<BatchStream, StoreError> {
        if matches!(self.kind, ViewKind::EachScan(_))
            && let Some(lookup) = Lookup::of(table, scan, self.inner.settings.deadline)
        {
            return Box::pin(self.look_up(&lookup)).await;
        }
        self.start(Job::scan(table, scan, limits)?).await
    }

    async fn scan_ranges(
        &self,
        table: &Arc<Table>,
        scan: &Scan,
        limits: ScanLimits,
        most: usize,
    ) -> Result<Vec<BatchStream>, StoreError> {
        if self.writing.get().is_some() {
            return Ok(vec![Branch::scan(self, table, scan, limits).await?]);
        }
        match Box::pin(self.start_ranges(table, scan, limits, most)).await? {
            Some(streams) => Ok(streams),
            None => Ok(vec![Branch::scan(self, table, scan, limits).await?]),
        }
    }

    async fn run(
        &self,
        fragment: &Fragment,
        tables: &Tables,
        schema: &SchemaRef,
        limits: ScanLimits,
    ) -> Result<BatchStream, StoreError> {
        self.start(Job::fragment(fragment, tables, schema, limits)?).await
    }

    fn shared_snapshot(&self) -> Result<(), &'static str> {
        match &self.kind {
            ViewKind::EachScan(Some(reason)) | ViewKind::Writing(Err(reason)) => Err(reason),
            ViewKind::EachScan(None) | ViewKind::Snapshot { .. } | ViewKind::Once | ViewKind::Writing(Ok(())) => Ok(()),
        }
    }

    async fn edit(&self, edit: &Edit, stop: &CancellationToken) -> Result<Edited, StoreError> {
        if matches!(self.kind, ViewKind::Once) {
            return Box::pin(write::once(&self.inner, edit, stop, self.lock_wait.millis())).await;
        }
        let transaction = Box::pin(self.locking()).await?;
        Box::pin(transaction.edit(edit, stop)).await
    }

    async fn truncate(&self, truncate: &Truncate, stop: &CancellationToken) -> Result<(), StoreError> {
        let transaction = Box::pin(self.locking()).await?;
        Box::pin(transaction.truncate(truncate, stop)).await
    }

    async fn define(&self, asked: &Define, stop: &CancellationToken) -> Result<(), StoreError> {
        let transaction = self.writing().await?;
        Box::pin(define::run_in(&self.inner, transaction, asked, stop)).await
    }

    async fn scan_for_update(&self, table: &Arc<Table>, scan: &Scan, limits: ScanLimits) -> Result<BatchStream, StoreError> {
        let mut job = write::locked_scan(table, scan, limits)?;
        job.deadline = self.inner.settings.deadline;
        Box::pin(Box::pin(self.locking()).await?.scan(job)).await
    }

    async fn scan_locked(
        &self,
        table: &Arc<Table>,
        scan: &Scan,
        lock: RowLock,
        order: &[SortKey],
        limits: ScanLimits,
    ) -> Result<BatchStream, StoreError> {
        let all = Scan { limit: scan.limit.filter(|_| order.is_empty()), ..scan.clone() };
        let mut job = Job::scan(table, &all, limits)?.sorted(table, order, scan.limit).locking(lock);
        job.deadline = self.inner.settings.deadline;
        Box::pin(Box::pin(self.locking()).await?.scan(job)).await
    }

    fn wait_for_locks(&self, limit: Option<Duration>) {
        self.lock_wait.set(limit);
    }

    async fn savepoint(&self, id: u32) -> Result<(), StoreError> {
        match self.undoing().await? {
            Some(transaction) => Box::pin(transaction.savepoint(id)).await,
            None => Ok(()),
        }
    }

    async fn roll_back_to(&self, id: u32) -> Result<(), StoreError> {
        match self.undoing().await? {
            Some(transaction) => Box::pin(transaction.roll_back_to(id)).await,
            None => Ok(()),
        }
    }

    async fn release(&self, id: u32) -> Result<(), StoreError> {
        match self.undoing().await? {
            Some(transaction) => Box::pin(transaction.release(id)).await,
            None => Ok(()),
        }
    }

    fn has_written(&self) -> bool {
        self.writing.get().is_some_and(|transaction| transaction.has_written())
    }

    fn part(&self) -> Part {
        match &self.kind {
            ViewKind::Snapshot { writer_begin: Some(_), .. } | ViewKind::Writing(_) => match self.inner.part() {
                Part::Prepared if self.has_exported.load(Ordering::Acquire) => Part::Last,
                part => part,
            },
            ViewKind::Once => Part::Alone("its edit commits by itself"),
            ViewKind::Snapshot { writer_begin: None, .. } | ViewKind::EachScan(_) => Part::Alone("it only reads"),
        }
    }

    async fn prepare(&self, id: &BranchId) -> Result<Vote, StoreError> {
        Box::pin(self.written()?.prepare(id, self.lock_wait.millis())).await
    }

    async fn commit_prepared(&self) -> Result<Option<Position>, StoreError> {
        Box::pin(self.written()?.end_prepared(Verdict::Commit)).await?;
        Ok(None)
    }

    async fn roll_back_prepared(&self) -> Result<(), StoreError> {
        Box::pin(self.written()?.end_prepared(Verdict::Abort)).await
    }

    async fn mark(&self, mark: MarkId) -> Result<(), StoreError> {
        Box::pin(self.written()?.mark(&own::mark(mark))).await
    }

    async fn commit(&self) -> Result<Option<Position>, StoreError> {
        match self.writing.get() {
            Some(transaction) => Box::pin(transaction.commit()).await?,
            None => self.end("COMMIT").await?,
        }
        Ok(None)
    }

    async fn rollback(&self) -> Result<(), StoreError> {
        match self.writing.get() {
            Some(transaction) => Box::pin(transaction.roll_back()).await,
            None => self.end("ROLLBACK").await,
        }
    }
}
