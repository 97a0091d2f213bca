//! One consistent view of a deployment: a snapshot that scans share, or none.
//!
//! On a replica set (server 5.0 and newer) the first scan of a branch asks for a snapshot session and learns the cluster
//! time at which the server reads; later scans open sessions of their own at that time, so that they run side by side.
//! The server keeps such a state for `minSnapshotHistoryWindowInSeconds` (300 by default); a scan that lasts longer ends
//! with 72000, never with rows of two states. A transaction block that only reads opens no transaction of the server, which
//! would end after a minute; the first write of a block will, when there are writes.

mod ranges;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use futures::StreamExt;
use mongodb::bson::raw::RawDocumentBuf;
use mongodb::bson::{Timestamp, doc};
use mongodb::options::SessionOptions;
use mongodb::{ClientSession, Collection};
use tokio::sync::Mutex;

use super::Shared;
use super::error::is_snapshot_refusal;
use super::fragment;
use super::scan::{self, Opened, Query, Session};
use crate::stores::StoreError;
use crate::stores::connector::{BatchStream, Branch as Contract, Purpose, Scan, ScanLimits};
use crate::stores::fragment::{Fragment, Tables};
use crate::stores::position::Position;
use crate::stores::schema::Table;

/// Why a branch whose store can share snapshots does not.
const TORN: &str = "MongoDB does not read capped collections at a snapshot";

/// Why the scans of a transaction block may see different states.
const COMMITTED: &str = "in a read committed transaction each scan sees the newest state";

enum View {
    /// Each scan reads the newest state, for this reason.
    Newest(&'static str),
    /// All scans read one state, whose time the first one learns.
    Snapshot(Mutex<Option<Timestamp>>),
}

/// The connector's branch.
pub(super) struct Branch {
    shared: Arc<Shared>,
    view: View,
    /// Whether other scans must see what one scan sees.
    several: bool,
    /// Whether a scan had to read outside the snapshot.
    torn: AtomicBool,
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
        if purpose == Purpose::Serializable {
            let store = shared.pool.context.store.clone();
            return Err(StoreError::Unsupported { store, feature: "serializable transactions" });
        }
        if matches!(purpose, Purpose::Once | Purpose::Write(_)) {
            return Err(StoreError::Unsupported { store: shared.pool.context.store.clone(), feature: "writes" });
        }
        let deployment = shared.pool.known_deployment().await?;
        let view = match (deployment.snapshot(), purpose) {
            (Err(reason), _) => View::Newest(reason),
            (Ok(()), Purpose::Transaction { repeatable: false, .. }) => View::Newest(COMMITTED),
            (Ok(()), _) => View::Snapshot(Mutex::new(None)),
        };
        let several = !matches!(purpose, Purpose::Statement { scans: 0 | 1 });
        Ok(Self { shared, view, several, torn: AtomicBool::new(false) })
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
        let places: Vec<usize> = scan.columns.iter().filter_map(|ordinal| distinct.binary_search(ordinal).ok()).collect();
        let context = self.shared.pool.context.clone();
        let once = Scan { columns: distinct, ..scan.clone() };
        let stream = Contract::scan(self, table, &once, limits).await?;
        let widened = stream.map(move |batch| batch?.project(&places).map_err(|_no_column| context.malformed()));
        Ok(widened.boxed())
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
        let opened = self.start(table, Query::of_pipeline(&pipeline), limits).await?;
        Ok(scan::stream_pipeline(self.shared.pool.clone(), opened, pipeline, schema, limits))
    }

    fn shared_snapshot(&self) -> Result<(), &'static str> {
        match &self.view {
            View::Newest(reason) => Err(reason),
            View::Snapshot(_) if self.torn.load(Ordering::Acquire) => Err(TORN),
            View::Snapshot(_) => Ok(()),
        }
    }

    async fn commit(&self) -> Result<Option<Position>, StoreError> {
        Ok(None)
    }

    async fn rollback(&self) -> Result<(), StoreError> {
        Ok(())
    }
}
