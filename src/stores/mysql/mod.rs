//! MySQL and MariaDB behind the store contract.
//!
//! ```text
//! options (store file) → Store ─ pool (prepared connections) ─ schema (information_schema → tables)
//!   pushdown (predicate → what the server can do, and its SQL) → branch (one view) → scan (task, binary rows)
//!   fragment (a part of a plan → whether the server computes it as PostgreSQL would, and its SQL) → scan
//!   edit (rows, or a condition with new values) → write (statements in one transaction, which may be prepared)
//!   own (tables of ours, and marks in one of them), preflight (settings that weaken what is promised)
//!   changes (the binlog → whole transactions; positions)
//!   scan → gather → types (row per type) or computed (form that is sent, type that is wanted) → reader (Arrow builder) → decode (bytes → value) → batches
//! ```
//!
//! **Invariants:** every connection runs in UTC, utf8mb4, with ANSI quotes and without backslash escapes; values are bound,
//! never written into SQL; a connection in an unknown state is closed, never pooled; a dropped stream stops its query on the
//! server. MariaDB 10.11 is what the tests run against; where MySQL 8 differs (defaults, no snapshot positions, `json` as a
//! type of its own) the code follows its manual and is untested. Deliberately absent: the text protocol for data, and
//! `LOAD DATA`.

use std::collections::HashSet;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use super::capture::{Capture, Follow, InstanceId};
use super::collation;
use super::commit::{BranchId, Caution, Hint, InDoubt, MarkId, Numbers, OwnTable, Part, Resolved, Verdict};
use super::connector::{Branch, Capabilities, Connector, KEYS_EACH, Kind, PoolUse, Purpose, Scan, StoreName};
use super::define::Define;
use super::document::{Known, Learning, Memory};
use super::edit::Edit;
use super::error::StoreError;
use super::fragment::{Fragment, Refusal, Relation, Tables};
use super::lock::{RowLock, SortKey};
use super::position::{Coverage, Position};
use super::predicate::{Predicate, Pushdown};
use super::relational::embedded;
use super::schema::{StoreSchema, Table, TableId};
use super::truncate::{Truncate, Truncation};
use crate::options::{OptionSpec, Problem, Secrets};
use crate::pgtype::{PgField, PgType};
use crate::task::TaskSet;

mod branch;
mod changes;
mod computed;
mod decode;
mod define;
mod documents;
mod error;
mod field;
mod fragment;
mod gather;
mod options;
mod own;
mod pool;
mod preflight;
mod pushdown;
mod reader;
mod ready;
mod scan;
mod schema;
mod types;
mod write;

use error::Place;
use fragment::{Flavour, Setting};
use options::Settings;
use pool::Pool;
use write::Names;

/// Connections that only stop queries of others, beside the pool so that a full pool can still be relieved.
const CONTROL_CONNECTIONS: usize = 2;

/// The most rows of one statement: a few hundred take the round trip off, more only make the statement longer.
const ROWS_OF_EDIT: usize = 500;

/// How long scans may take to stop their queries when the store is closed.
const CLOSE_GRACE: Duration = Duration::from_secs(2);

/// The registration of this kind in `stores::KINDS`.
pub const KIND: Registration = Registration;

/// Parses store files of this kind.
#[derive(Debug)]
pub struct Registration;

impl Kind for Registration {
    fn words(&self) -> &'static [&'static str] {
        &["mysql", "mariadb"]
    }

    fn options(&self) -> &'static [OptionSpec] {
        options::OPTIONS
    }

    fn native_types(&self) -> Vec<&'static str> {
        types::words()
    }

    fn parse(
        &self,
        name: &StoreName,
        path: &str,
        table: &toml::Table,
        secrets: &dyn Secrets,
    ) -> Result<Arc<dyn Connector>, Vec<Problem>> {
        Ok(Arc::new(store(name, path, table, secrets)?))
    }
}

fn store(name: &StoreName, path: &str, table: &toml::Table, secrets: &dyn Secrets) -> Result<Store, Vec<Problem>> {
    let settings = Arc::new(Settings::parse(path, table, secrets)?);
    let shared = Shared {
        name: name.clone(),
        pool: Pool::new(name, &settings, settings.pool_size),
        leaders: Pool::leading(name, &settings, settings.pool_size),
        control: Pool::new(name, &settings, CONTROL_CONNECTIONS),
        settings,
        tasks: Mutex::new(TaskSet::new()),
        can_match_snapshots: AtomicBool::new(true),
        other_engines: Mutex::new(HashSet::new()),
        gives_inserted: AtomicBool::new(false),
        names: Names::new(name),
        can_recover: AtomicBool::new(true),
        flavour: Mutex::new(Flavour::Unknown),
        memory: Memory::default(),
        broken: changes::Broken::default(),
        histories: changes::Histories::default(),
        readers: Arc::default(),
    };
    Ok(Store(Arc::new(shared)))
}

/// One configured server.
struct Store(Arc<Shared>);

/// What scans and branches share with their store.
struct Shared {
    name: StoreName,
    settings: Arc<Settings>,
    /// Scans, discovery and pings.
    pool: Arc<Pool>,
    /// Transactions and edits. A pool of their own: a session that reads from the store while it writes to it would wait for itself, and
    /// two that read from one store and write to another one for each other.
    leaders: Arc<Pool>,
    control: Arc<Pool>,
    /// The running scans. A scan outlives its stream for as long as it takes to stop its query.
    tasks: Mutex<TaskSet>,
    /// Assumed until discovery has seen the server.
    can_match_snapshots: AtomicBool,
    /// The tables of another engine than InnoDB that discovery has seen, whose state no snapshot holds and no transaction takes back.
    other_engines: Mutex<HashSet<TableId>>,
    /// Whether the server gives inserted rows back; assumed not to until discovery has seen it.
    gives_inserted: AtomicBool,
    /// Names for transactions that write.
    names: Names,
    /// Whether what is prepared outlives its connection and the server lets us see it; assumed until it was asked.
    can_recover: AtomicBool,
    /// What discovery has seen of the server.
    flavour: Mutex<Flavour>,
    /// Document schemas of earlier discoveries, so that samples only widen them.
    memory: Memory,
    /// The event of the binlog that came broken last.
    broken: changes::Broken,
    /// Which history the server is in, as far as it has answered.
    histories: changes::Histories,
    /// Held by every feed of the binlog.
    readers: Arc<()>,
}

impl Shared {
    fn place(&self) -> Place<'_> {
        Place { store: &self.name, table: None }
    }

    /// Whether the binlog is read, so that somebody may wait for a position in it.
    fn is_followed(&self) -> bool {
        Arc::strong_count(&self.readers) > 1
    }

    fn policy(&self) -> types::Policy {
        types::Policy::from(self.settings.as_ref())
    }

    fn setting(&self) -> Setting {
        let flavour = *self.flavour.lock().unwrap_or_else(PoisonError::into_inner);
        Setting { flavour, zero_date: self.settings.zero_date }
    }

    /// How a transaction that was begun with a name takes part in a commit of several stores.
    fn part(&self) -> Part {
        match (self.names.log(), self.can_recover.load(Ordering::Acquire)) {
            (None, _) => Part::Alone("no log of commits was opened for it"),
            (Some(_), true) => Part::Prepared,
            // What nobody sees after a crash must not wait for a decision, and what goes with its connection cannot.
            (Some(_), false) => Part::Last,
        }
    }

    fn spawn(&self, name: &'static str, work: Pin<Box<dyn Future<Output = ()> + Send>>) {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).spawn(name, work);
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("mysql::Store").field("name", &self.0.name).finish_non_exhaustive()
    }
}

#[async_trait]
impl Connector for Store {
    fn name(&self) -> &StoreName {
        &self.0.name
    }

    fn kind(&self) -> &'static str {
        "mysql"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            statement_snapshot: self.0.can_match_snapshots.load(Ordering::Relaxed),
            prepare: self.0.can_recover.load(Ordering::Acquire),
            // On the usual collations LIKE ignores case, so it is at most a superset.
            like: false,
            documents: true,
            cancel: true,
            keys_max: KEYS_EACH,
        }
    }

    async fn discover(&self) -> Result<StoreSchema, StoreError> {
        let mut lease = self.0.pool.lease().await?;
        let server = Arc::clone(&lease.session.server);
        self.0.can_match_snapshots.store(server.is_mariadb && server.has_binary_log, Ordering::Relaxed);
        *self.0.flavour.lock().unwrap_or_else(PoisonError::into_inner) = Flavour::of(&server);
        let mut learning = Learning { earlier: self.0.memory.known(), now: Known::new() };
        let mut found = schema::discover(&mut lease, self.0.place(), &self.0.settings, &mut learning).await?;
        self.0.settings.collation.apply(&mut found.schema, |_, column| types::is_plain_text(&column.native_type));
        *self.0.other_engines.lock().unwrap_or_else(PoisonError::into_inner) = found.other_engines;
        self.0.gives_inserted.store(server.gives_inserted(), Ordering::Relaxed);
        // MariaDB asks for no privilege. What was found of another server may hold no more.
        if !server.is_mariadb || !server.keeps_prepared() || !self.0.can_recover.load(Ordering::Acquire) {
            preflight::see_prepared(&self.0, &mut lease).await?;
        }
        lease.release();
        self.0.memory.replace(learning.now);
        Ok(found.schema)
    }

    fn learned(&self) -> Option<serde_json::Value> {
        self.0.memory.learned()
    }

    fn recall(&self, learned: &serde_json::Value) -> Result<(), String> {
        self.0.memory.recall(learned)
    }

    async fn ping(&self) -> Result<(), StoreError> {
        let mut lease = self.0.pool.lease().await?;
        lease.ping().await?;
        lease.release();
        Ok(())
    }

    fn pushdown(&self, table: &Table, predicate: &Predicate) -> Pushdown {
        pushdown::judge(table, predicate, self.0.settings.zero_date)
    }

    fn describe_scan(&self, table: &Table, scan: &Scan) -> String {
        self.describe_with_values(table, scan).0
    }

    fn describe_with_values(&self, table: &Table, scan: &Scan) -> (String, String) {
        match scan::statement(table, scan) {
            Ok(sql) => {
                let text = collation::noted_scan(sql.text().to_owned(), table, &scan.filter, &pushdown::compares_by_own);
                (text, super::relational::fragment::shown_values(sql.values()))
            }
            Err(error) => (format!("not sent: {error}"), String::new()),
        }
    }

    fn accepts(&self, relation: &Relation, tables: &Tables) -> Result<(), Refusal> {
        fragment::accepts(relation, tables, self.0.setting())
    }

    fn describe_fragment(&self, fragment: &Fragment, tables: &Tables) -> String {
        fragment::describe(fragment, tables, self.0.setting())
    }

    fn is_read_only(&self) -> bool {
        self.0.settings.read_only
    }

    fn accepts_edit(&self, edit: &Edit) -> Result<(), Refusal> {
        write::accepts(&self.0, edit)
    }

    fn accepts_truncate(&self, truncate: &Truncate) -> Result<Truncation, Refusal> {
        write::accepts_truncate(&self.0, truncate)
    }

    fn accepts_lock(&self, table: &Table, _lock: RowLock) -> Result<(), Refusal> {
        write::has_transactions(&self.0, table)
    }

    fn accepts_define(&self, asked: &Define) -> Result<Vec<String>, Refusal> {
        define::statements(&self.0, asked)
    }

    async fn define(&self, asked: &Define, stop: &CancellationToken) -> Result<(), StoreError> {
        Box::pin(define::run(&self.0, asked, stop)).await
    }

    fn sorts_locked(&self, table: &Table, key: &SortKey) -> bool {
        // A field of a document is no column of the store.
        let column = table.columns.get(key.column).filter(|column| embedded::source(&column.field).is_none());
        let oid = column.map(|column| column.field.pg_type().oid);
        [PgType::INT2, PgType::INT4, PgType::INT8].iter().any(|pg_type| Some(pg_type.oid) == oid)
    }

    fn rows_of_edit(&self) -> usize {
        ROWS_OF_EDIT
    }

    fn describe_edit(&self, edit: &Edit) -> String {
        write::describe(&self.0, edit).unwrap_or_else(|| format!("{} of {}", edit.verb(), edit.table().id.name))
    }

    async fn open(&self, purpose: Purpose) -> Result<Arc<dyn Branch>, StoreError> {
        Ok(Arc::new(branch::Branch::open(&self.0, purpose).await?))
    }

    fn covers(&self, applied: &Position, wanted: &Position) -> Coverage {
        changes::covers(applied, wanted)
    }

    fn pool(&self) -> Option<PoolUse> {
        let Shared { pool, leaders, control, .. } = self.0.as_ref();
        Some(pool.usage().and(leaders.usage()).and(control.usage()))
    }

    fn number_with(&self, numbers: &Arc<Numbers>) {
        self.0.names.take_from(numbers);
    }

    fn part(&self) -> Part {
        self.0.part()
    }

    async fn in_doubt(&self) -> Result<Vec<InDoubt>, StoreError> {
        write::in_doubt(&self.0).await
    }

    async fn resolve(&self, id: &BranchId, verdict: Verdict) -> Result<Resolved, StoreError> {
        write::resolve(&self.0, id, verdict).await
    }

    async fn decide(&self, mark: MarkId, _hint: &Hint) -> Result<Verdict, StoreError> {
        own::decide(&self.0, mark).await
    }

    async fn forget(&self, marks: &[MarkId]) -> Result<(), StoreError> {
        own::forget(&self.0, marks).await
    }

    fn own_table(&self, which: OwnTable) -> Option<Arc<Table>> {
        own::table(&self.0, which)
    }

    async fn install(&self, which: OwnTable) -> Result<(), StoreError> {
        own::install(&self.0, which).await
    }

    async fn preflight(&self) -> Result<Vec<Caution>, StoreError> {
        preflight::cautions(&self.0).await
    }

    fn capture(&self) -> Option<Arc<dyn Capture>> {
        changes::capture(self)
    }

    async fn position(&self, _who: InstanceId, follow: &Follow) -> Result<Position, StoreError> {
        changes::newest(&self.0, follow).await
    }

    async fn close(&self) {
        self.0.pool.close();
        self.0.leaders.close();
        let mut tasks = std::mem::take(&mut *self.0.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        tasks.stop(CLOSE_GRACE).await;
        self.0.control.close();
    }
}
