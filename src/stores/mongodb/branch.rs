//! One consistent view of a deployment: a snapshot that scans share, or none.
//!
//! On a replica set (server 5.0 and newer) the first scan of a branch asks for a snapshot session and learns the cluster
//! time at which the server reads; later scans open sessions of their own at that time, so that they run side by side.
//! The server keeps such a state for `minSnapshotHistoryWindowInSeconds` (300 by default); a scan that lasts longer ends
//! with 72000, never with rows of two states. A transaction block that only reads opens no transaction of the server, which
//! would end after a minute; the first write of a block does, at the same time as its reads, and everything after it runs in that
//! transaction.

mod ranges;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use futures::StreamExt;
use mongodb::bson::raw::RawDocumentBuf;
use mongodb::bson::{Timestamp, doc};
use mongodb::options::SessionOptions;
use mongodb::{ClientSession, Collection};
use tokio::sync::{Mutex, OnceCell};
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::changes;
use super::error::is_snapshot_refusal;
use super::fragment;
use super::scan::{self, Opened, Query, Session};
use super::write::transaction::Transaction;
use super::write::{Link, is_single, run};
use crate::error::{Diagnose, sqlstate};
use crate::stores::StoreError;
use crate::stores::commit::{Hint, MarkId, Part};
use crate::stores::connector::{BatchStream, Branch as Contract, Purpose, Scan, ScanLimits, WriteIsolation};
use crate::stores::document::OnMismatch;
use crate::stores::edit::{Edit, Edited};
use crate::stores::fragment::{Fragment, Tables};
use crate::stores::lock::LockWait;
use crate::stores::position::Position;
use crate::stores::schema::{Table, TableId};

/// How long an edit that met another transaction waits before it is run again, each time.
const PAUSES: [Duration; 6] = [
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(20),
    Duration::from_millis(40),
    Duration::from_millis(80),
    Duration::from_millis(160),
];

/// Why a branch whose store can share snapshots does not.
const TORN: &str = "MongoDB does not read capped collections at a snapshot";

/// Why nothing can be said of the scans of a branch that writes before it does.
const WRITING: &str = "the branch writes";

/// Why the scans of a transaction block may see different states.
const COMMITTED: &str = "in a read committed transaction each scan sees the newest state";

enum View {
    /// Each scan reads the newest state, for this reason.
    Newest(&'static str),
    /// All scans read one state, whose time the first one learns.
    Snapshot(Mutex<Option<Timestamp>>),
}

/// What a branch may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Scans alone.
    Read,
    /// Scans, or a transaction from its first edit on.
    ReadOrWrite,
    /// A transaction.
    Write,
    /// One edit.
    Once,
}

impl Mode {
    fn of(purpose: Purpose) -> Self {
        match purpose {
            Purpose::Transaction { read_only: false, repeatable: true } => Self::ReadOrWrite,
            Purpose::Statement { .. } | Purpose::Transaction { .. } | Purpose::Serializable(_) => Self::Read,
            Purpose::Write(_) => Self::Write,
            Purpose::Once => Self::Once,
        }
    }
}

/// The connector's branch.
pub(super) struct Branch {
    shared: Arc<Shared>,
    view: View,
    /// Whether other scans must see what one scan sees.
    several: bool,
    /// Whether a scan had to read outside the snapshot.
    torn: AtomicBool,
    mode: Mode,
    /// The transaction, once something is to be written.
    writing: OnceCell<Transaction>,
    lock_wait: LockWait,
    /// Says that it may have one.
    _writer: Option<Arc<()>>,
}

impl fmt::Debug for Branch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let view = match &self.view {
            View::Newest(_) => "newest",
            View::Snapshot(_) => "snapshot",
        };
        f.debug_struct("Branch").field("store", &self.shared.name).field("view", &view).finish()
    }
}

impl Branch {
    /// Opens a branch ([`crate::stores::Connector::open`]).
    pub(super) async fn open(shared: Arc<Shared>, purpose: Purpose) -> Result<Self, StoreError> {
        if matches!(purpose, Purpose::Serializable(_) | Purpose::Write(WriteIsolation::Serializable)) {
            let store = shared.pool.context.store.clone();
            return Err(StoreError::Unsupported { store, feature: "serializable transactions" });
        }
        let mode = Mode::of(purpose);
        if matches!(mode, Mode::Write | Mode::Once) {
            return Self::open_writing(shared, mode).await;
        }
        let deployment = shared.pool.known_deployment().await?;
        let view = match (deployment.snapshot(), purpose) {
            (Err(reason), _) => View::Newest(reason),
            (Ok(()), Purpose::Transaction { repeatable: false, .. }) => View::Newest(COMMITTED),
            (Ok(()), _) => View::Snapshot(Mutex::new(None)),
        };
        let several = !matches!(purpose, Purpose::Statement { scans: 0 | 1 });
        let writer = (mode == Mode::ReadOrWrite).then(|| Arc::clone(&shared.writers));
        let (torn, writing, lock_wait) = (AtomicBool::new(false), OnceCell::new(), LockWait::default());
        Ok(Self { shared, view, several, torn, mode, writing, lock_wait, _writer: writer })
    }

    async fn open_writing(shared: Arc<Shared>, mode: Mode) -> Result<Self, StoreError> {
        let (view, torn) = (View::Newest(WRITING), AtomicBool::new(false));
        let writer = (mode == Mode::Write).then(|| Arc::clone(&shared.writers));
        let (writing, lock_wait) = (OnceCell::new(), LockWait::default());
        let branch = Self { shared, view, several: true, torn, mode, writing, lock_wait, _writer: writer };
        match mode {
            Mode::Write => branch.transaction(None).await.map(|_begun| ())?,
            Mode::Read | Mode::ReadOrWrite | Mode::Once => branch.allow()?,
        }
        Ok(branch)
    }

    fn allow(&self) -> Result<(), StoreError> {
        let store = || self.shared.pool.context.store.clone();
        match self.mode {
            Mode::Read => Err(StoreError::Unsupported { store: store(), feature: "writes" }),
            _ if self.shared.pool.is_read_only() => Err(StoreError::ReadOnly { store: store() }),
            Mode::ReadOrWrite | Mode::Write | Mode::Once => Ok(()),
        }
    }

    /// The transaction, which begins now if there is none: at the time of the snapshot, if one was read before, by a read of `table`.
    async fn transaction(&self, table: Option<&TableId>) -> Result<&Transaction, StoreError> {
        let begun = self.writing.get_or_try_init(|| async {
            let time = match &self.view {
                View::Newest(_) => None,
                View::Snapshot(time) => *time.lock().await,
            };
            self.begin(time.zip(table)).await
        });
        begun.await
    }

    async fn begin(&self, since: Option<(Timestamp, &TableId)>) -> Result<Transaction, StoreError> {
        self.allow()?;
        if !self.is_replicated().await? {
            let store = self.shared.pool.context.store.clone();
            let feature = "transactions on a standalone server; run it as a replica set of one";
            return Err(StoreError::Unsupported { store, feature });
        }
        Transaction::begin(&self.shared.pool, since).await
    }

    async fn is_replicated(&self) -> Result<bool, StoreError> {
        let pool = &self.shared.pool;
        match pool.seen() {
            Some(deployment) => Ok(deployment.replicated),
            None => Ok(pool.deployment().await?.replicated),
        }
    }

    /// An edit that is committed with its answer. What it changes depends on nothing that was read before it, so that it is run again where
    /// somebody else's transaction was in its way, for which the server does not wait.
    async fn edit_once(&self, edit: &Edit, stop: &CancellationToken) -> Result<Edited, StoreError> {
        if is_single(edit) {
            let mut link = Link { pool: &self.shared.pool, session: None, stop, lock_wait: self.lock_wait.millis() };
            return Box::pin(run(&mut link, edit)).await;
        }
        let mut pauses = PAUSES.iter();
        loop {
            let transaction = self.begin(None).await?;
            let error = match Box::pin(transaction.edit(edit, stop)).await {
                Ok(edited) => return transaction.commit().await.map(|_time| edited),
                Err(error) => error,
            };
            // What it would say is of no more use; the transaction has failed in any case.
            drop(transaction.rollback().await);
            let Some(pause) = pauses.next().filter(|_| error.sqlstate() == sqlstate::SERIALIZATION_FAILURE) else {
                return Err(error);
            };
            tokio::select! {
                () = tokio::time::sleep(*pause) => {}
                () = stop.cancelled() => return Err(StoreError::Cancelled),
            }
        }
    }

    async fn collection(&self, table: &Table) -> Result<Collection<RawDocumentBuf>, StoreError> {
        Ok(self.shared.pool.database(&table.id.namespace).await?.collection(&table.id.name))
    }

    async fn session(&self, collection: &Collection<RawDocumentBuf>) -> Result<Session, StoreError> {
        match &self.view {
            View::Newest(_) => Ok(Session::Alone),
            View::Snapshot(_) if !self.several => Ok(Session::Own(Box::new(self.snapshot_session(None).await?))),
            View::Snapshot(time) => self.session_at(time, collection).await,
        }
    }

    /// A session at a time that others read at too; the first one learns it.
    async fn session_at(
        &self,
        time: &Mutex<Option<Timestamp>>,
        collection: &Collection<RawDocumentBuf>,
    ) -> Result<Session, StoreError> {
        let mut time = time.lock().await;
        if time.is_some() {
            return Ok(Session::Own(Box::new(self.snapshot_session(*time).await?)));
        }
        let mut session = self.snapshot_session(None).await?;
        if !self.fix_snapshot(collection, &mut session).await? {
            return Ok(Session::Alone);
        }
        *time = session.snapshot_time();
        Ok(Session::Own(Box::new(session)))
    }

    /// The time of the snapshot, which is fixed now if it was not; `None` of a branch or collection that has none.
    pub(super) async fn fixed(&self, table: &Table) -> Result<Option<Timestamp>, StoreError> {
        let collection = self.collection(table).await?;
        let session = self.session(&collection).await?;
        match (&self.view, session) {
            (View::Snapshot(time), Session::Own(_)) => Ok(*time.lock().await),
            _ => Ok(None),
        }
    }

    async fn snapshot_session(&self, time: Option<Timestamp>) -> Result<ClientSession, StoreError> {
        let pool = &self.shared.pool;
        let client = pool.client().await?;
        let mut options = SessionOptions::default();
        options.snapshot = Some(true);
        options.snapshot_time = time;
        pool.within("a session", async { client.start_session().with_options(options).await }).await
    }

    /// Reads one key, so that the server chooses the time without a whole scan being waited for. False when the collection
    /// cannot be read at a snapshot.
    async fn fix_snapshot(&self, collection: &Collection<RawDocumentBuf>, session: &mut ClientSession) -> Result<bool, StoreError> {
        let pool = &self.shared.pool;
        let reading = async {
            let find = collection.find(doc! {}).limit(1).projection(doc! { "_id": 1 }).max_time(pool.query_timeout());
            let mut cursor = find.session(&mut *session).batch().await?;
            cursor.stream(session).next().await.transpose().map(|_| ())
        };
        match tokio::time::timeout(pool.patience(), reading).await {
            Ok(Ok(())) => Ok(true),
            Ok(Err(error)) if is_snapshot_refusal(&error) => {
                self.torn.store(true, Ordering::Release);
                Ok(false)
            }
            Ok(Err(error)) => Err(pool.context.translate(&error)),
            Err(_) => Err(pool.context.deadline("a snapshot")),
        }
    }

    /// A scan that asks for a column more than once: a document has each field once, so the batches are widened here.
    async fn scan_repeated(
        &self,
        table: &Arc<Table>,
        scan: &Scan,
        limits: ScanLimits,
        distinct: Vec<usize>,
    ) -> Result<BatchStream, StoreError> {
        let once = Scan { columns: distinct.clone(), ..scan.clone() };
        let stream = Contract::scan(self, table, &once, limits).await?;
        Ok(self.widened(stream, scan, &distinct))
    }

    /// The columns of a scan from batches of its different columns in order.
    fn widened(&self, stream: BatchStream, scan: &Scan, distinct: &[usize]) -> BatchStream {
        let places: Vec<usize> = scan.columns.iter().filter_map(|ordinal| distinct.binary_search(ordinal).ok()).collect();
        let context = self.shared.pool.context.clone();
        stream.map(move |batch| batch?.project(&places).map_err(|_no_column| context.malformed())).boxed()
    }

    /// Opens the scan; a collection that cannot be read at a snapshot is read without.
    async fn start(&self, table: &Table, query: Query, limits: ScanLimits) -> Result<Opened, StoreError> {
        let pool = &self.shared.pool;
        let collection = self.collection(table).await?;
        let session = self.session(&collection).await?;
        let at_snapshot = matches!(session, Session::Own(_));
        match scan::open(pool, &collection, query.clone(), limits, session).await? {
            Ok(opened) => Ok(opened),
            Err(error) if at_snapshot && is_snapshot_refusal(&error) => {
                self.torn.store(true, Ordering::Release);
                let again = scan::open(pool, &collection, query, limits, Session::Alone).await?;
                again.map_err(|error| pool.context.translate(&error))
            }
            Err(error) => Err(pool.context.translate(&error)),
        }
    }
}

#[async_trait]
impl Contract for Branch {
    async fn scan(&self, table: &Arc<Table>, scan: &Scan, limits: ScanLimits) -> Result<BatchStream, StoreError> {
        if scan.limit == Some(0) {
            // The server takes a limit of zero for none at all.
            return Ok(futures::stream::empty().boxed());
        }
        let distinct: BTreeSet<usize> = scan.columns.iter().copied().collect();
        if distinct.len() < scan.columns.len() {
            return self.scan_repeated(table, scan, limits, distinct.into_iter().collect()).await;
        }
        let on_mismatch = self.shared.options_of(&table.id).on_mismatch;
        if let Some(writing) = self.writing.get() {
            return Box::pin(writing.scan(table, scan, limits, on_mismatch)).await;
        }
        let opened = self.start(table, Query::of(table, scan, on_mismatch), limits).await?;
        scan::stream(self.shared.pool.clone(), opened, table, scan, limits, on_mismatch)
    }

    async fn scan_ranges(
        &self,
        table: &Arc<Table>,
        scan: &Scan,
        limits: ScanLimits,
        most: usize,
    ) -> Result<Vec<BatchStream>, StoreError> {
        if self.writing.get().is_some() {
            return Ok(vec![Contract::scan(self, table, scan, limits).await?]);
        }
        match Box::pin(self.start_ranges(table, scan, limits, most)).await? {
            Some(streams) => Ok(streams),
            None => Ok(vec![Contract::scan(self, table, scan, limits).await?]),
        }
    }

    async fn run(
        &self,
        fragment: &Fragment,
        tables: &Tables,
        schema: &SchemaRef,
        limits: ScanLimits,
    ) -> Result<BatchStream, StoreError> {
        let written = self.shared.surrounded(|surroundings| fragment::write(&fragment.root, tables, surroundings));
        let pipeline = written.map_err(|refusal| {
            tracing::debug!(%refusal, "a fragment is not accepted any more");
            StoreError::Unsupported { store: fragment.store.to_string(), feature: "this part of a plan" }
        })?;
        let Some(table) = tables.get(&pipeline.table) else { return Err(self.shared.pool.context.malformed()) };
        if let Some(writing) = self.writing.get() {
            return Box::pin(writing.pipeline(table, pipeline, schema, limits)).await;
        }
        let opened = self.start(table, Query::of_pipeline(&pipeline), limits).await?;
        Ok(scan::stream_pipeline(self.shared.pool.clone(), opened, pipeline, schema, limits))
    }

    async fn edit(&self, edit: &Edit, stop: &CancellationToken) -> Result<Edited, StoreError> {
        self.allow()?;
        if self.mode == Mode::Once {
            return Box::pin(self.edit_once(edit, stop)).await;
        }
        let transaction = Box::pin(self.transaction(Some(&edit.table().id))).await?;
        Box::pin(transaction.edit(edit, stop)).await
    }

    async fn scan_for_update(&self, table: &Arc<Table>, scan: &Scan, limits: ScanLimits) -> Result<BatchStream, StoreError> {
        if scan.limit == Some(0) {
            return Ok(futures::stream::empty().boxed());
        }
        let transaction = Box::pin(self.transaction(Some(&table.id))).await?;
        let is_lenient = self.shared.options_of(&table.id).on_mismatch == OnMismatch::Null;
        if is_lenient && !scan.filter.is_empty() {
            // Its filters pass over what does not fit.
            let feature = "conditions of writes to a collection with on_mismatch = \"null\"";
            return Err(StoreError::Unsupported { store: self.shared.pool.context.store.clone(), feature });
        }
        let distinct: Vec<usize> = scan.columns.iter().copied().collect::<BTreeSet<_>>().into_iter().collect();
        if distinct.len() == scan.columns.len() {
            return Box::pin(transaction.scan(table, scan, limits, OnMismatch::Error)).await;
        }
        let once = Scan { columns: distinct.clone(), ..scan.clone() };
        let stream = Box::pin(transaction.scan(table, &once, limits, OnMismatch::Error)).await?;
        Ok(self.widened(stream, scan, &distinct))
    }

    fn wait_for_locks(&self, limit: Option<Duration>) {
        self.lock_wait.set(limit);
    }

    async fn savepoint(&self, id: u32) -> Result<(), StoreError> {
        match self.writing.get() {
            Some(transaction) => transaction.savepoint(id).await,
            None => Ok(()),
        }
    }

    async fn roll_back_to(&self, id: u32) -> Result<(), StoreError> {
        match self.writing.get() {
            Some(transaction) => transaction.roll_back_to(id).await,
            None => Ok(()),
        }
    }

    async fn release(&self, id: u32) -> Result<(), StoreError> {
        match self.writing.get() {
            Some(transaction) => transaction.release(id).await,
            None => Ok(()),
        }
    }

    fn has_written(&self) -> bool {
        self.writing.get().is_some_and(Transaction::has_written)
    }

    fn shared_snapshot(&self) -> Result<(), &'static str> {
        if self.writing.get().is_some() {
            return Ok(());
        }
        match &self.view {
            View::Newest(reason) => Err(reason),
            View::Snapshot(_) if self.torn.load(Ordering::Acquire) => Err(TORN),
            View::Snapshot(_) => Ok(()),
        }
    }

    fn part(&self) -> Part {
        match self.mode {
            Mode::Read => Part::Alone("the branch only reads"),
            Mode::Once => Part::Alone("the store commits the edit by itself"),
            Mode::ReadOrWrite | Mode::Write => Part::Last,
        }
    }

    async fn mark(&self, mark: MarkId) -> Result<(), StoreError> {
        if self.mode == Mode::Once {
            return Err(StoreError::Unsupported { store: self.shared.pool.context.store.clone(), feature: "marks in this branch" });
        }
        let transaction = Box::pin(self.transaction(None)).await?;
        Box::pin(transaction.mark(mark)).await
    }

    fn hint(&self) -> Hint {
        self.writing.get().map(|transaction| transaction.hint().clone()).unwrap_or_default()
    }

    async fn commit(&self) -> Result<Option<Position>, StoreError> {
        let (Some(transaction), true) = (self.writing.get(), self.mode != Mode::Once) else { return Ok(None) };
        let time = Box::pin(transaction.commit()).await?;
        Ok(time.map(|time| changes::position(&self.shared.name, time)))
    }

    async fn rollback(&self) -> Result<(), StoreError> {
        match (self.writing.get(), self.mode != Mode::Once) {
            (Some(transaction), true) => transaction.rollback().await,
            _ => Ok(()),
        }
    }
}
