//! The connector for PostgreSQL 12 and later.
//!
//! ```text
//! settings (store file) → pool (connections with their session set up)
//! schema (catalog queries) → types (native type → Arrow field)
//! pushdown, fragment (what the server may evaluate) → job (COPY statement) → scan → copy (rows in the stream) → types (values) → batches
//!                                         → lookup (prepared statement, for the rows of a key)  → types (values) → batch
//!                                           relay (the same, kept but for its values)           → types (ways) → rows as clients get them
//! write (edits and transactions) → one connection for statements, cursors and savepoints, and what is prepared of it
//! own (tables of ours), ledger (a log of commits in some of them), preflight (settings that weaken what is promised)
//! changes (logical replication, or triggers and a table of ours → whole transactions; positions)
//! ```
//!
//! **Invariants:** statements are built from quoted names and proved literals only; a connection returns to its pool only when
//! its answers have been read to the end; the session of a scan that ends early is ended in the server; a value that its carrier cannot
//! hold fails the scan by name.

mod array;
mod branch;
mod changes;
mod copy;
mod define;
mod documents;
mod error;
mod field;
mod fragment;
mod job;
mod ledger;
mod lookup;
mod own;
mod pages;
mod patience;
mod pool;
mod preflight;
mod pushdown;
mod queries;
mod relay;
mod scan;
mod schema;
mod settings;
mod statistics;
mod types;
mod write;

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use super::capture::{Capture, Follow, InstanceId};
use super::commit::{BranchId, Caution, Hint, InDoubt, Ledger, MarkId, Numbers, OwnTable, Part, Resolved, Verdict};
use super::connector::{self, Branch, Capabilities, Kind, Purpose, Scan, StoreName};
use super::define::Define;
use super::document::{Known, Learning, Memory};
use super::edit::Edit;
use super::error::StoreError;
use super::fragment::{Fragment, Refusal, Relation, Tables};
use super::lock::{RowLock, SortKey};
use super::position::{Coverage, Position};
use super::predicate::{Predicate, Pushdown};
use super::relational::documents::{TableOptions, read_options};
use super::relational::embedded;
use super::relay::{Kept, Relayed};
use super::schema::{StoreSchema, Table};
use super::truncate::{Truncate, Truncation};
use super::value::Value;
use crate::format::Format;
use crate::options::{OptionSpec, Problem, Reader, Secrets};
use crate::pgtype::{PgField, PgType};
use branch::Inner;
use changes::{Pushes, Strikes};
use pool::Pools;

/// Rows of one statement. They travel as an array for each column, so that what bounds them is memory.
const ROWS_OF_EDIT: usize = 20_000;

/// The registration of this kind in `stores::KINDS`.
pub const KIND: Registration = Registration;

/// Parses store files of this kind.
#[derive(Debug)]
pub struct Registration;

impl Kind for Registration {
    fn words(&self) -> &'static [&'static str] {
        &["postgres", "postgresql"]
    }

    fn options(&self) -> &'static [OptionSpec] {
        settings::OPTIONS
    }

    fn native_types(&self) -> Vec<&'static str> {
        types::names()
    }

    fn parse(
        &self,
        name: &StoreName,
        path: &str,
        table: &toml::Table,
        secrets: &dyn Secrets,
    ) -> Result<Arc<dyn connector::Connector>, Vec<Problem>> {
        let mut reader = Reader::new(path, table, settings::OPTIONS, secrets);
        let settings = settings::read(&mut reader);
        let tables = reader.table("tables");
        let mut problems = reader.finish();
        let documents = read_options(path, tables, secrets, &mut problems);
        if !problems.is_empty() {
            return Err(problems);
        }
        let pools = Pools::new(name, &settings);
        let inner = Arc::new(Inner {
            name: name.clone(),
            settings,
            pools,
            is_numbered: AtomicBool::new(false),
            strikes: Strikes::default(),
            pushes: Pushes::default(),
        });
        Ok(Arc::new(Connector { inner, documents, memory: Memory::default() }))
    }
}

/// One configured PostgreSQL store.
struct Connector {
    inner: Arc<Inner>,
    documents: TableOptions,
    /// Document schemas of earlier discoveries, so that samples only widen them.
    memory: Memory,
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").field("name", &self.inner.name).finish_non_exhaustive()
    }
}

impl Connector {
    /// Types of extensions that are sent as text have operators of their own.
    fn collate(&self, schema: &mut StoreSchema) {
        self.inner.settings.collation.apply(schema, |_, column| types::Form::of(&column.field) == types::Form::Binary);
    }
}

#[async_trait]
impl connector::Connector for Connector {
    fn name(&self) -> &StoreName {
        &self.inner.name
    }

    fn kind(&self) -> &'static str {
        "postgres"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            statement_snapshot: true,
            prepare: self.inner.pools.can_prepare(),
            like: true,
            documents: true,
            cancel: true,
            keys_max: array::KEYS_MAX,
        }
    }

    async fn discover(&self) -> Result<StoreSchema, StoreError> {
        self.inner.pools.start();
        let mut learning = Learning { earlier: self.memory.known(), now: Known::new() };
        let control = &self.inner.pools.control;
        let mut schema = Box::pin(schema::discover(&self.inner.name, control, &self.documents, &mut learning)).await?;
        self.collate(&mut schema);
        self.memory.replace(learning.now);
        Ok(schema)
    }

    fn learned(&self) -> Option<serde_json::Value> {
        self.memory.learned()
    }

    fn recall(&self, learned: &serde_json::Value) -> Result<(), String> {
        self.memory.recall(learned)
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.inner.pools.start();
        Box::pin(self.inner.pools.control.acquire_with("SELECT 1")).await.map(|_| ())
    }

    fn pushdown(&self, table: &Table, predicate: &Predicate) -> Pushdown {
        pushdown::judge(table, predicate)
    }

    fn describe_scan(&self, table: &Table, scan: &Scan) -> String {
        job::describe(table, scan).0
    }

    fn describe_with_values(&self, table: &Table, scan: &Scan) -> (String, String) {
        job::describe(table, scan)
    }

    fn accepts(&self, relation: &Relation, tables: &Tables) -> Result<(), Refusal> {
        fragment::accepts(relation, tables)
    }

    fn describe_fragment(&self, fragment: &Fragment, tables: &Tables) -> String {
        fragment::describe(fragment, tables)
    }

    fn is_read_only(&self) -> bool {
        self.inner.settings.read_only
    }

    fn accepts_edit(&self, edit: &Edit) -> Result<(), Refusal> {
        write::accepts(edit)
    }

    fn accepts_truncate(&self, _truncate: &Truncate) -> Result<Truncation, Refusal> {
        Ok(Truncation::InTransaction)
    }

    fn accepts_lock(&self, _table: &Table, _lock: RowLock) -> Result<(), Refusal> {
        Ok(())
    }

    fn accepts_define(&self, asked: &Define) -> Result<Vec<String>, Refusal> {
        define::statements(asked)
    }

    async fn define(&self, asked: &Define, stop: &CancellationToken) -> Result<(), StoreError> {
        self.inner.pools.start();
        Box::pin(define::run(&self.inner, asked, stop)).await
    }

    fn defines_in_transactions(&self) -> bool {
        true
    }

    async fn discover_in(&self, branch: &Arc<dyn Branch>) -> Result<StoreSchema, StoreError> {
        let branch: &dyn Branch = &**branch;
        let Some(view) = (branch as &dyn Any).downcast_ref::<branch::View>() else {
            let reason = "The transaction has ended.".to_owned();
            return Err(StoreError::ConnectionLost { store: self.inner.name.to_string(), reason });
        };
        // Nothing of it is kept: nobody knows yet whether the tables will be there.
        let mut learning = Learning { earlier: self.memory.known(), now: Known::new() };
        let mut schema = Box::pin(view.discover(&self.documents, &mut learning)).await?;
        self.collate(&mut schema);
        Ok(schema)
    }

    fn sorts_locked(&self, table: &Table, key: &SortKey) -> bool {
        // Texts have collations, and numbers of other types values that are read as something else.
        let sorted = [PgType::INT2, PgType::INT4, PgType::INT8, PgType::DATE, PgType::TIMESTAMP, PgType::TIMESTAMPTZ];
        // A field of a document is no column of the store.
        let column = table.columns.get(key.column).filter(|column| embedded::source(&column.field).is_none());
        let oid = column.map(|column| column.field.pg_type().oid);
        sorted.iter().any(|pg_type| Some(pg_type.oid) == oid)
    }

    fn rows_of_edit(&self) -> usize {
        ROWS_OF_EDIT
    }

    fn describe_edit(&self, edit: &Edit) -> String {
        write::describe(edit)
    }

    async fn open(&self, purpose: Purpose) -> Result<Arc<dyn Branch>, StoreError> {
        self.inner.pools.start();
        Ok(Arc::new(Box::pin(branch::open(&self.inner, purpose)).await?))
    }

    fn keep(&self, table: &Arc<Table>, scan: &Scan, formats: &[Format]) -> Option<Kept> {
        let kept = relay::keep(table, scan, formats, self.inner.settings.deadline)?;
        Some(Arc::new(kept))
    }

    async fn relay(&self, kept: &Kept, values: &[Value]) -> Result<Relayed, StoreError> {
        let Some(kept) = kept.downcast_ref::<relay::Kept>() else {
            return Err(StoreError::Unsupported { store: self.inner.name.to_string(), feature: "what another store has prepared" });
        };
        self.inner.pools.start();
        relay::run(&self.inner, kept, values).await
    }

    fn covers(&self, applied: &Position, wanted: &Position) -> Coverage {
        changes::covers(applied, wanted)
    }

    fn pool(&self) -> Option<connector::PoolUse> {
        Some(self.inner.pools.usage())
    }

    fn number_with(&self, _numbers: &Arc<Numbers>) {
        // A transaction gets the name of the whole one when it is prepared.
        self.inner.is_numbered.store(true, Ordering::Release);
    }

    fn part(&self) -> Part {
        self.inner.part()
    }

    async fn in_doubt(&self) -> Result<Vec<InDoubt>, StoreError> {
        self.inner.pools.start();
        Box::pin(write::in_doubt(&self.inner)).await
    }

    async fn resolve(&self, id: &BranchId, verdict: Verdict) -> Result<Resolved, StoreError> {
        self.inner.pools.start();
        Box::pin(write::resolve(&self.inner, id, verdict)).await
    }

    async fn decide(&self, mark: MarkId, _hint: &Hint) -> Result<Verdict, StoreError> {
        self.inner.pools.start();
        Box::pin(own::decide(&self.inner, mark)).await
    }

    async fn forget(&self, marks: &[MarkId]) -> Result<(), StoreError> {
        self.inner.pools.start();
        Box::pin(own::forget(&self.inner, marks)).await
    }

    fn own_table(&self, which: OwnTable) -> Option<Arc<Table>> {
        own::table(which)
    }

    async fn install(&self, which: OwnTable) -> Result<(), StoreError> {
        self.inner.pools.start();
        Box::pin(own::install(&self.inner, which)).await
    }

    async fn preflight(&self) -> Result<Vec<Caution>, StoreError> {
        self.inner.pools.start();
        Box::pin(preflight::cautions(&self.inner)).await
    }

    fn ledger(&self) -> Option<Arc<dyn Ledger>> {
        if self.inner.settings.read_only {
            return None;
        }
        Some(Arc::new(ledger::Rows::new(&self.inner.name, &self.inner.settings)))
    }

    fn capture(&self) -> Option<Arc<dyn Capture>> {
        changes::capture(self)
    }

    /// By the log: where it ends. The server gives a feed what is on its disk, which after a commit with `synchronous_commit = off` may
    /// take some 200 ms (`wal_writer_delay`), up to three times as long where much is written. By triggers: the last number of a row;
    /// a feed comes to it when the transactions have ended that had written before.
    async fn position(&self, _who: InstanceId, follow: &Follow) -> Result<Position, StoreError> {
        self.inner.pools.start();
        Box::pin(changes::upper_bound(&self.inner, follow.how)).await
    }

    async fn close(&self) {
        self.inner.pools.close().await;
    }
}
