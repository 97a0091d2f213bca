//! The SQLite connector: one database file.
//!
//! ```text
//! Registration::parse → Connector { pool, tables }
//! discover → schema (one read transaction) → types (declared type → Postgres type)
//! open → branch (one connection, one thread, one snapshot) ← layout (SQL, shape) → scan (rows into Arrow)
//! pushdown → Predicate judged, and written with bound parameters; fragment → the same for parts of plans
//! write → Edit judged, written, and run on the thread of a branch
//! own → tables of ours, and the marks of commits over several stores
//! changes → triggers and a table of ours, looked at again and again
//! ```
//!
//! A transaction has no prepared state that survives its connection. So a store is the last resource of a commit over several, with a
//! mark in the same transaction; and several files share one transaction, into which the others are attached (`branch/beside.rs`).
//!
//! **Invariants:** only `scan.rs` is unsafe; a connection belongs to one blocking thread while it is used; the file's journal
//! mode is never changed, and a connection that has attached another file serves nobody else.

mod attached;
mod branch;
mod changes;
mod define;
mod fragment;
mod layout;
mod own;
mod pool;
mod pushdown;
mod scan;
mod schema;
mod types;
mod write;

use std::any::Any;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::capture::{Capture, Follow, InstanceId};
use super::collation;
use super::commit::{Hint, MarkId, OwnTable, Part, Verdict};
use super::connector::{self, Capabilities, KEYS_EACH, Kind, Purpose, Scan, StoreName};
use super::define::Define;
use super::document::{Known, Learning, Memory};
use super::edit::Edit;
use super::error::StoreError;
use super::fragment::{Fragment, Refusal, Relation, Tables};
use super::lock::{RowLock, Waiting};
use super::position::{Coverage, Position};
use super::predicate::{Predicate, Pushdown};
use super::relational::documents::{self, TableOptions, read_options};
use super::schema::{Collation, Column, Key, StoreSchema, Table, TableKind};
use super::truncate::{Truncate, Truncation};
use crate::options::{Form, OptionSpec, Problem, Reader, Secrets};
use crate::task::OwnedTask;

/// The registration of this kind in `stores::KINDS`.
pub const KIND: Registration = Registration;

const OPTIONS: &[OptionSpec] = &[
    OptionSpec {
        key: "path",
        form: Form::Path,
        default: None,
        meaning: "The database file, relative to the catalog directory; it must exist.",
    },
    OptionSpec {
        key: "read_only",
        form: Form::Bool,
        default: Some("false"),
        meaning: "Whether connections are opened read-only, so that SQLite itself refuses writes.",
    },
    OptionSpec {
        key: "pool.size",
        form: Form::Integer(1, 1000),
        default: Some("8"),
        meaning: "Most connections at a time; every statement or transaction that reads the store holds one.",
    },
    OptionSpec {
        key: "pool.wait",
        form: Form::Duration,
        default: Some("5s"),
        meaning: "How long a statement waits for a free connection.",
    },
    OptionSpec {
        key: "busy_timeout",
        form: Form::Duration,
        default: Some("5s"),
        meaning: "How long SQLite waits for a lock that another connection holds.",
    },
    OptionSpec {
        key: "snapshot_idle",
        form: Form::Duration,
        default: Some("10m"),
        meaning: "How long a statement or transaction keeps its state of the file while nothing is read from it; meanwhile the write-ahead log only grows.",
    },
    collation::OPTION,
    documents::OPTION,
];

/// Parses store files of this kind.
#[derive(Debug)]
pub struct Registration;

impl Kind for Registration {
    fn words(&self) -> &'static [&'static str] {
        &["sqlite"]
    }

    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
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
    ) -> Result<Arc<dyn connector::Connector>, Vec<Problem>> {
        let mut reader = Reader::new(path, table, OPTIONS, secrets);
        let settings = pool::Settings {
            path: reader.path("path").unwrap_or_default(),
            read_only: reader.bool("read_only"),
            size: u32::try_from(reader.count("pool.size")).unwrap_or(1),
            wait: reader.duration("pool.wait"),
            busy_timeout: reader.duration("busy_timeout"),
            snapshot_idle: reader.duration("snapshot_idle"),
        };
        if settings.snapshot_idle.is_zero() && reader.is_set("snapshot_idle") {
            reader.problem("snapshot_idle", "0", "must be longer than zero, because no state may be kept for ever".to_owned());
        }
        // SQLite counts the timeout in milliseconds of 32 bits, and the driver gives up on more.
        if i32::try_from(settings.busy_timeout.as_millis()).is_err() {
            reader.problem("busy_timeout", &format!("{:?}", settings.busy_timeout), "is longer than 24 days".to_owned());
        }
        let collation = collation::Policy::of_word(&reader.text("collation"));
        let found = reader.table("tables");
        let mut problems = reader.finish();
        let tables = read_options(path, found, secrets, &mut problems);
        if !problems.is_empty() {
            return Err(problems);
        }
        let pool = Arc::new(pool::Pool::new(name.clone(), settings));
        let (memory, lockable, cuts) = (Memory::default(), Mutex::default(), Arc::default());
        Ok(Arc::new(Connector { pool, tables, collation, memory, lockable, cuts }))
    }
}

/// One SQLite store.
#[derive(Debug)]
pub struct Connector {
    pool: Arc<pool::Pool>,
    tables: TableOptions,
    /// Whose rules compare text.
    collation: collation::Policy,
    /// Document schemas of earlier discoveries, so that samples only widen them.
    memory: Memory,
    /// A table by which the file is locked, as of the last discovery.
    lockable: Mutex<Option<String>>,
    /// States of the file that were read for whoever follows its changes.
    cuts: Arc<changes::Cuts>,
}

impl Connector {
    fn lockable(&self) -> Option<String> {
        self.lockable.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Views show none, and the order of texts in UTF-16 is no rule that anybody wrote.
    fn collate(&self, schema: &mut StoreSchema) {
        let has_own = |column: &Column| matches!(&column.collation, Collation::Loose(name) if name != types::OF_A_VIEW);
        self.collation.apply(schema, |_, column| has_own(column));
    }
}

#[async_trait]
impl connector::Connector for Connector {
    fn name(&self) -> &StoreName {
        self.pool.store()
    }

    fn kind(&self) -> &'static str {
        "sqlite"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { statement_snapshot: true, prepare: false, like: true, documents: true, cancel: true, keys_max: KEYS_EACH }
    }

    async fn discover(&self) -> Result<StoreSchema, StoreError> {
        let mut connection = self.pool.acquire().await?;
        let (runtime, pool, options) = (Handle::current(), self.pool.clone(), self.tables.clone());
        let mut learning = Learning { earlier: self.memory.known(), now: Known::new() };
        let work = move || {
            let found = match runtime.block_on(connection.lock_handle()) {
                Ok(mut lock) => schema::discover(&scan::Database::new(&mut lock), &options, &mut learning)
                    .map_err(|failure| pool.store_error(failure, None)),
                Err(_crashed) => Err(lost(&pool)),
            };
            // After a failure the transaction's state is not known.
            if found.is_err() {
                connection.close_on_drop();
            }
            found.map(|schema| (schema, learning.now))
        };
        let (mut schema, known) = OwnedTask::spawn_blocking(work).join().await.unwrap_or_else(|| Err(lost(&self.pool)))?;
        self.collate(&mut schema);
        self.memory.replace(known);
        let lockable = schema.tables.iter().find(|table| write::is_stored(table)).map(|table| table.id.name.clone());
        *self.lockable.lock().unwrap_or_else(PoisonError::into_inner) = lockable;
        Ok(schema)
    }

    fn learned(&self) -> Option<serde_json::Value> {
        self.memory.learned()
    }

    fn recall(&self, learned: &serde_json::Value) -> Result<(), String> {
        self.memory.recall(learned)
    }

    async fn ping(&self) -> Result<(), StoreError> {
        // Opening a transaction reads the file, which a ping of the driver would not.
        let branch = branch::Branch::open(self.pool.clone(), Purpose::Statement { scans: 0 }, None).await?;
        connector::Branch::rollback(&branch).await
    }

    fn pushdown(&self, table: &Table, predicate: &Predicate) -> Pushdown {
        pushdown::pushdown(table, predicate)
    }

    fn accepts(&self, relation: &Relation, tables: &Tables) -> Result<(), Refusal> {
        fragment::accepts(relation, tables)
    }

    fn describe_fragment(&self, fragment: &Fragment, tables: &Tables) -> String {
        fragment::describe(fragment, tables)
    }

    fn is_read_only(&self) -> bool {
        self.pool.is_read_only()
    }

    fn accepts_edit(&self, edit: &Edit) -> Result<(), Refusal> {
        write::accepts(edit)
    }

    fn row_key<'t>(&self, table: &'t Table) -> Option<&'t Key> {
        write::row_key(table)
    }

    fn accepts_truncate(&self, truncate: &Truncate) -> Result<Truncation, Refusal> {
        truncate.as_delete()
    }

    fn accepts_lock(&self, table: &Table, lock: RowLock) -> Result<(), Refusal> {
        if table.kind != TableKind::Table {
            return Err(Refusal::new(lock.strength.words(), "a view has no rows of its own"));
        }
        match lock.waiting {
            Waiting::Wait => Ok(()),
            Waiting::Skip | Waiting::Fail => {
                Err(Refusal::new(lock.waiting.words().trim_start(), "the store locks its file as a whole, and waits for it"))
            }
        }
    }

    fn accepts_define(&self, asked: &Define) -> Result<Vec<String>, Refusal> {
        define::statements(asked)
    }

    async fn define(&self, asked: &Define, stop: &CancellationToken) -> Result<(), StoreError> {
        define::run(&self.pool, asked, stop).await
    }

    fn defines_in_transactions(&self) -> bool {
        true
    }

    async fn discover_in(&self, branch: &Arc<dyn connector::Branch>) -> Result<StoreSchema, StoreError> {
        let branch: &dyn connector::Branch = &**branch;
        let Some(branch) = (branch as &dyn Any).downcast_ref::<branch::Branch>() else {
            let reason = "The transaction has ended.".to_owned();
            return Err(StoreError::ConnectionLost { store: self.pool.store().to_string(), reason });
        };
        // Nothing of it is kept: nobody knows yet whether the tables will be there.
        let learning = Learning { earlier: self.memory.known(), now: Known::new() };
        let mut schema = branch.discover(&self.tables, learning).await?;
        self.collate(&mut schema);
        Ok(schema)
    }

    fn describe_edit(&self, edit: &Edit) -> String {
        write::describe(edit)
    }

    fn describe_scan(&self, table: &Table, scan: &Scan) -> String {
        self.describe_with_values(table, scan).0
    }

    fn describe_with_values(&self, table: &Table, scan: &Scan) -> (String, String) {
        match layout::Layout::new(self.pool.store(), table, scan) {
            Ok(layout) => {
                let text = collation::noted_scan(layout.sql().to_owned(), table, &scan.filter, &pushdown::compares_by_own);
                (text, super::relational::fragment::shown_values(layout.values()))
            }
            Err(error) => (error.to_string(), String::new()),
        }
    }

    async fn open(&self, purpose: Purpose) -> Result<Arc<dyn connector::Branch>, StoreError> {
        self.open_waiting(purpose, None).await
    }

    async fn open_waiting(&self, purpose: Purpose, limit: Option<Duration>) -> Result<Arc<dyn connector::Branch>, StoreError> {
        Ok(Arc::new(branch::Branch::open(self.pool.clone(), purpose, limit).await?))
    }

    fn covers(&self, applied: &Position, wanted: &Position) -> Coverage {
        changes::covers(applied, wanted)
    }

    fn pool(&self) -> Option<connector::PoolUse> {
        Some(self.pool.usage())
    }

    fn part(&self) -> Part {
        Part::Last
    }

    async fn decide(&self, mark: MarkId, _hint: &Hint) -> Result<Verdict, StoreError> {
        own::decide(&self.pool, mark).await
    }

    async fn forget(&self, marks: &[MarkId]) -> Result<(), StoreError> {
        own::forget(&self.pool, marks).await
    }

    fn own_table(&self, which: OwnTable) -> Option<Arc<Table>> {
        Some(own::table(which))
    }

    async fn install(&self, which: OwnTable) -> Result<(), StoreError> {
        own::install(&self.pool, which).await
    }

    fn capture(&self) -> Option<Arc<dyn Capture>> {
        changes::capture(self)
    }

    /// The last row that triggers have kept; a feed comes to it with its next look.
    async fn position(&self, who: InstanceId, follow: &Follow) -> Result<Position, StoreError> {
        changes::upper_bound(&self.pool, who, follow).await
    }

    async fn close(&self) {
        self.pool.close().await;
    }
}

fn lost(pool: &pool::Pool) -> StoreError {
    StoreError::ConnectionLost { store: pool.store().to_string(), reason: "The connection's thread has ended.".to_owned() }
}

#[cfg(test)]
mod tests;
