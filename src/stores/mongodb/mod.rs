//! The MongoDB connector: collections and views as tables, read by raw batches, filtered by find.
//!
//! ```text
//! store file → pool (driver client, deadlines) + options of collections
//! discover: schema (listing, sampling) → columns (tables, keys)
//! pushdown: predicate → literal (tests on a value) → filter document
//! accepts: fragment (relation → aggregation pipeline)
//! write: edits → commands, in a transaction or alone; marks of commits over several stores
//! own: collections of ours, and what weakens a promise
//! changes: change streams → whole transactions; positions
//! open: branch (snapshot, transaction) → scan (find, one batch ahead) → raw (BSON → document values) → Arrow
//! ```
//!
//! **Invariants:** a filter keeps every row for which its predicate is true of what the scan reads, and every row whose
//! tested value would raise an error; scans of one branch read one cluster time or say that they do not; no text of the
//! driver's errors reaches a client. Deliberately absent: writes to nested documents.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

mod branch;
mod changes;
mod columns;
mod define;
mod error;
mod fragment;
mod literal;
mod own;
mod pool;
mod pushdown;
mod raw;
mod scan;
mod schema;
mod types;
mod write;

#[cfg(test)]
mod raw_tests;

use self::branch::Branch;
use self::fragment::Surroundings;
use self::pool::{OPTIONS, Pool, Settings};
use self::pushdown::Mismatch;
use super::capture::{Capture, Follow, InstanceId};
use super::collation;
use super::commit::{Caution, Hint, MarkId, OwnTable, Part, Verdict};
use super::connector::{Branch as BranchContract, Capabilities, Connector, KEYS_EACH, Kind, PoolUse, Purpose, Scan, StoreName};
use super::define::Define;
use super::document::options::read_tables;
use super::document::{DocumentOptions, Memory, OnMismatch};
use super::edit::Edit;
use super::error::StoreError;
use super::fragment::{Fragment, Refusal, Relation, Tables};
use super::position::{Coverage, Position};
use super::predicate::{Predicate, Pushdown};
use super::schema::{StoreSchema, Table, TableId};
use super::truncate::{Truncate, Truncation};
use crate::options::{OptionSpec, Problem, Reader, Secrets};

/// The registration of this kind in `stores::KINDS`.
pub const KIND: Registration = Registration;

/// Most rows of one edit in a transaction, which is one command.
const ROWS_OF_EDIT: usize = 1_000;

/// Parses store files of this kind.
#[derive(Debug)]
pub struct Registration;

impl Kind for Registration {
    fn words(&self) -> &'static [&'static str] {
        &["mongodb", "mongo"]
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
    ) -> Result<Arc<dyn Connector>, Vec<Problem>> {
        let mut reader = Reader::new(path, table, OPTIONS, secrets);
        let settings = Settings::read(&mut reader);
        let defaults = DocumentOptions {
            on_mismatch: on_mismatch(&reader.text("on_mismatch")),
            sample: reader.count("sample"),
            include_document: reader.bool("doc_column"),
            ..DocumentOptions::default()
        };
        let declared = reader.table("collections");
        let mut problems = reader.finish();
        let (of_collation, of_tables) = (format!("{path}.{}", collation::OPTION.key), format!("{path}.tables"));
        for problem in &mut problems {
            if problem.path == of_collation {
                problem.rule =
                    "is not a known key: a collation of MongoDB counts for a whole command, so texts are compared by bytes"
                        .to_owned();
            } else if problem.path == of_tables {
                // What the other kinds call so.
                problem.rule = "is not a known key; perhaps collections".to_owned();
            }
        }
        let mut collections = BTreeMap::new();
        if let Some(declared) = declared {
            collections = read_tables(&format!("{path}.collections"), declared, secrets, &mut problems);
            inherit(&mut collections, declared, &defaults);
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let pool = Arc::new(Pool::new(name.as_str(), settings));
        let (name, memory, writers) = (name.clone(), Memory::default(), Arc::default());
        let positions_asked = changes::Asked::default();
        let shared = Shared { name, pool, defaults, collections, memory, writers, positions_asked };
        Ok(Arc::new(MongoDb { shared: Arc::new(shared) }))
    }
}

fn on_mismatch(word: &str) -> OnMismatch {
    match word {
        "null" => OnMismatch::Null,
        "text" => OnMismatch::Text,
        _ => OnMismatch::Error,
    }
}

/// Gives collections the store's own options where they set none.
fn inherit(collections: &mut BTreeMap<String, DocumentOptions>, declared: &toml::Table, defaults: &DocumentOptions) {
    for (name, options) in collections {
        let sets = |key: &str| declared.get(name).and_then(|table| table.get(key)).is_some();
        if !sets("on_mismatch") {
            options.on_mismatch = defaults.on_mismatch;
        }
        if !sets("sample") {
            options.sample = defaults.sample;
        }
        if !sets("include_document") {
            options.include_document = defaults.include_document;
        }
    }
}

/// What connector and branches share.
struct Shared {
    name: StoreName,
    pool: Arc<Pool>,
    defaults: DocumentOptions,
    /// By `collection` or `database.collection`.
    collections: BTreeMap<String, DocumentOptions>,
    /// What discovery found so far, so that columns do not vanish with the luck of a sample.
    memory: Memory,
    /// Held by every branch that may have a transaction.
    writers: Arc<()>,
    /// When somebody has asked for a position.
    positions_asked: changes::Asked,
}

impl Shared {
    /// Whether a transaction may be open.
    fn has_writers(&self) -> bool {
        Arc::strong_count(&self.writers) > 1
    }

    fn options_of(&self, table: &TableId) -> &DocumentOptions {
        self.collections
            .get(&format!("{}.{}", table.namespace, table.name))
            .or_else(|| self.collections.get(&table.name))
            .unwrap_or(&self.defaults)
    }

    /// Gives `write` what the writer of pipelines has to know.
    fn surrounded<T>(&self, write: impl FnOnce(Surroundings<'_>) -> T) -> T {
        let on_mismatch = |table: &TableId| self.options_of(table).on_mismatch;
        write(Surroundings { deployment: self.pool.seen(), on_mismatch: &on_mismatch })
    }
}

/// One configured deployment.
struct MongoDb {
    shared: Arc<Shared>,
}

impl std::fmt::Debug for MongoDb {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MongoDb").field("name", &self.shared.name).finish_non_exhaustive()
    }
}

#[async_trait]
impl Connector for MongoDb {
    fn name(&self) -> &StoreName {
        &self.shared.name
    }

    fn kind(&self) -> &'static str {
        "mongodb"
    }

    fn capabilities(&self) -> Capabilities {
        // `statement_snapshot` is what a replica set can; a standalone server says why not in `Branch::shared_snapshot`.
        Capabilities { statement_snapshot: true, prepare: false, like: false, documents: true, cancel: true, keys_max: KEYS_EACH }
    }

    async fn discover(&self) -> Result<StoreSchema, StoreError> {
        let options = |table: &TableId| self.shared.options_of(table).clone();
        let known = schema::Known { options: &options, earlier: self.shared.memory.known() };
        let (mut schema, schemas) = schema::discover(&self.shared.pool, known).await?;
        schema::judge_declared(&self.shared.collections, &mut schema, &schemas);
        own::settle(&self.shared.pool, &mut schema);
        self.shared.memory.replace(schemas);
        Ok(schema)
    }

    fn learned(&self) -> Option<serde_json::Value> {
        self.shared.memory.learned()
    }

    fn recall(&self, learned: &serde_json::Value) -> Result<(), String> {
        self.shared.memory.recall(learned)
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.shared.pool.deployment().await.map(|_| ())
    }

    fn pushdown(&self, table: &Table, predicate: &Predicate) -> Pushdown {
        let mismatch = Mismatch::of(self.shared.options_of(&table.id).on_mismatch);
        pushdown::judge(table, mismatch, predicate)
    }

    fn is_read_only(&self) -> bool {
        self.shared.pool.is_read_only()
    }

    fn accepts_edit(&self, edit: &Edit) -> Result<(), Refusal> {
        write::accepts(edit, self.shared.pool.seen().is_none_or(|deployment| deployment.replicated))
    }

    fn accepts_truncate(&self, truncate: &Truncate) -> Result<Truncation, Refusal> {
        truncate.as_delete()
    }

    fn accepts_define(&self, asked: &Define) -> Result<Vec<String>, Refusal> {
        define::statements(asked)
    }

    async fn define(&self, asked: &Define, stop: &CancellationToken) -> Result<(), StoreError> {
        Box::pin(define::run(&self.shared.pool, asked, stop)).await
    }

    fn rows_of_edit(&self) -> usize {
        let is_standalone = self.shared.pool.seen().is_some_and(|deployment| !deployment.replicated);
        if is_standalone { 1 } else { ROWS_OF_EDIT }
    }

    fn describe_edit(&self, edit: &Edit) -> String {
        write::describe(edit)
    }

    fn describe_scan(&self, table: &Table, scan: &Scan) -> String {
        self.describe_with_values(table, scan).0
    }

    fn describe_with_values(&self, table: &Table, scan: &Scan) -> (String, String) {
        scan::describe(table, scan, self.shared.options_of(&table.id).on_mismatch)
    }

    fn accepts(&self, relation: &Relation, tables: &Tables) -> Result<(), Refusal> {
        self.shared.surrounded(|surroundings| fragment::accepts(relation, tables, surroundings))
    }

    fn describe_fragment(&self, fragment: &Fragment, tables: &Tables) -> String {
        self.shared.surrounded(|surroundings| fragment::describe(fragment, tables, surroundings))
    }

    fn has_few_digits(&self) -> bool {
        true
    }

    async fn open(&self, purpose: Purpose) -> Result<Arc<dyn BranchContract>, StoreError> {
        Ok(Arc::new(Branch::open(self.shared.clone(), purpose).await?))
    }

    fn covers(&self, applied: &Position, wanted: &Position) -> Coverage {
        changes::covers(applied, wanted)
    }

    fn pool(&self) -> Option<PoolUse> {
        Some(self.shared.pool.usage())
    }

    fn part(&self) -> Part {
        match self.shared.pool.seen() {
            Some(deployment) if !deployment.replicated => Part::Alone("transactions need a replica set"),
            _ => Part::Last,
        }
    }

    async fn decide(&self, mark: MarkId, hint: &Hint) -> Result<Verdict, StoreError> {
        Box::pin(write::mark::decide(&self.shared.pool, mark, hint)).await
    }

    async fn forget(&self, marks: &[MarkId]) -> Result<(), StoreError> {
        Box::pin(write::mark::forget(&self.shared.pool, marks)).await
    }

    fn own_table(&self, which: OwnTable) -> Option<Arc<Table>> {
        Some(Arc::new(own::table(self.shared.pool.default_database(), which)))
    }

    async fn install(&self, which: OwnTable) -> Result<(), StoreError> {
        Box::pin(own::install(&self.shared, which)).await
    }

    async fn preflight(&self) -> Result<Vec<Caution>, StoreError> {
        Box::pin(own::preflight(&self.shared.pool)).await
    }

    fn capture(&self) -> Option<Arc<dyn Capture>> {
        changes::capture(self)
    }

    async fn position(&self, _who: InstanceId, follow: &Follow) -> Result<Position, StoreError> {
        Box::pin(changes::newest(&self.shared, follow)).await
    }

    async fn close(&self) {
        self.shared.pool.close().await;
    }
}
