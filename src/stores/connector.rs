//! The contract between the engine and a store: what a connector must do, and what it may rely on.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use futures::stream::BoxStream;
use tokio_util::sync::CancellationToken;

use super::capture::{Capture, Follow, InstanceId};
use super::commit::{BranchId, Caution, Gid, Hint, InDoubt, Ledger, MarkId, Numbers, OwnTable, Part, Resolved, Verdict, Vote};
use super::define::Define;
use super::edit::{Edit, Edited};
use super::error::StoreError;
use super::fragment::{Fragment, Refusal, Relation, Tables};
use super::lock::{RowLock, SortKey};
use super::position::{Coverage, Position};
use super::predicate::{Predicate, Pushdown};
use super::relay::{Kept, Relayed};
use super::schema::{Key, StoreSchema, Table};
use super::truncate::{Truncate, Truncation};
use super::value::Value;
use crate::format::Format;
use crate::options::{OptionSpec, Problem, Secrets};

pub use super::capabilities::{Capabilities, KEYS_EACH, PoolUse};
pub use super::purpose::{GATHER_BYTES_MAX, Purpose, Serial, WriteIsolation};
pub use super::scan::{Scan, ScanLimits};
pub use super::store_name::StoreName;

/// One store kind: parses its own store files.
pub trait Kind: Sync {
    /// The words accepted as `kind`, the preferred one first.
    fn words(&self) -> &'static [&'static str];

    /// The keys of its store file besides the shared ones ([`crate::config`] reads `kind`, `schema`, `namespaces`).
    fn options(&self) -> &'static [OptionSpec];

    /// The words of its type table, one for each row: native types that it reads by a rule of their own. The contract suite reads
    /// values of every one.
    fn native_types(&self) -> Vec<&'static str>;

    /// Builds a connector without touching the network. All problems are returned, not the first. `path` is the prefix of
    /// their paths (`stores.crm`).
    ///
    /// # Errors
    /// Every problem found in `table`.
    fn parse(
        &self,
        name: &StoreName,
        path: &str,
        table: &toml::Table,
        secrets: &dyn Secrets,
    ) -> Result<Arc<dyn Connector>, Vec<Problem>>;
}

/// Our code for one configured store.
///
/// Methods may be called concurrently. Every network call inside has a deadline from the store's options. Errors name the
/// store and never carry a secret or a connection string.
#[async_trait]
pub trait Connector: Any + fmt::Debug + Send + Sync {
    /// The store's name.
    fn name(&self) -> &StoreName;

    /// The preferred word of its kind: `postgres`, `mysql`, `sqlite`, `mongodb`.
    fn kind(&self) -> &'static str;

    /// What the store can do; the contract suite verifies both "can" and "cannot".
    fn capabilities(&self) -> Capabilities;

    /// Reads tables, columns, keys and estimates. Connects when needed.
    ///
    /// # Errors
    /// [`StoreError::Unreachable`] or what the store answered.
    async fn discover(&self) -> Result<StoreSchema, StoreError>;

    /// A cheap round trip that proves that the store answers.
    ///
    /// # Errors
    /// As [`Connector::discover`].
    async fn ping(&self) -> Result<(), StoreError>;

    /// How the store can evaluate `predicate` on `table`. Pure: no network.
    fn pushdown(&self, table: &Table, predicate: &Predicate) -> Pushdown;

    /// The statement or pipeline that [`Branch::scan`] would send, for `EXPLAIN`; parameters appear as placeholders.
    fn describe_scan(&self, table: &Table, scan: &Scan) -> String;

    /// The same and, behind it, the values of its placeholders in their order, for the client whose values they are. The second text
    /// is empty where there are none.
    fn describe_with_values(&self, table: &Table, scan: &Scan) -> (String, String) {
        (self.describe_scan(table, scan), String::new())
    }

    /// Whether the store computes the topmost node of `relation` as PostgreSQL would, values, NULLs, order and errors, and can
    /// send its columns. The nodes below have been accepted before. Pure: no network. A store that runs no plans refuses all.
    ///
    /// # Errors
    /// The expression or operation that the store does not compute that way, and the rule.
    fn accepts(&self, relation: &Relation, tables: &Tables) -> Result<(), Refusal> {
        let _ = tables;
        Err(Refusal::new(relation.name(), "the store runs no parts of plans"))
    }

    /// The statement or pipeline that [`Branch::run`] would send, for `EXPLAIN`, with its parameters after it.
    fn describe_fragment(&self, fragment: &Fragment, tables: &Tables) -> String {
        let _ = tables;
        format!("not sent: a {}", fragment.root.name())
    }

    /// Whether its decimals have fewer digits than `numeric`, so that what it computes of them may fail (22003) where PostgreSQL's does not.
    fn has_few_digits(&self) -> bool {
        false
    }

    /// Whether the file of the store says that nothing is written to it.
    fn is_read_only(&self) -> bool {
        false
    }

    /// Whether the store runs `edit` with PostgreSQL's outcome: the same rows changed, the same values stored, the same failures.
    /// It is asked about whole forms, the nodes of whose relation [`Connector::accepts`] has taken, and about those that carry
    /// rows, of which only the form counts and not the values. Pure: no network.
    ///
    /// # Errors
    /// What the store does not do that way, and the rule.
    fn accepts_edit(&self, edit: &Edit) -> Result<(), Refusal> {
        Err(Refusal::new(edit.verb(), "the store takes no writes"))
    }

    /// A key by which the store changes single rows of `table` though it is not proven: what is read of it finds the row that it was read
    /// of and no other, and a row that has NULL in it is refused when it is to be changed. Pure: no network.
    fn row_key<'t>(&self, _table: &'t Table) -> Option<&'t Key> {
        None
    }

    /// Whether the store locks rows of `table` for a client that reads them. Pure: no network.
    ///
    /// # Errors
    /// What the store does not do that way, and the rule.
    fn accepts_lock(&self, table: &Table, lock: RowLock) -> Result<(), Refusal> {
        let _ = table;
        Err(Refusal::new(lock.strength.words(), "the store locks no rows for who reads them"))
    }

    /// Whether [`Branch::scan_locked`] gives rows of `table` in the order of `key` as PostgreSQL has it. Pure: no network.
    fn sorts_locked(&self, table: &Table, key: &SortKey) -> bool {
        let _ = (table, key);
        false
    }

    /// How the store empties tables with PostgreSQL's outcome. Pure: no network.
    ///
    /// # Errors
    /// What the store does not do that way, and the rule.
    fn accepts_truncate(&self, truncate: &Truncate) -> Result<Truncation, Refusal> {
        let _ = truncate;
        Err(Refusal::new("TRUNCATE", "the store takes no writes"))
    }

    /// The most rows of an edit that are one statement of the store, so that all of them are written or none.
    fn rows_of_edit(&self) -> usize {
        500
    }

    /// The statement or command that [`Branch::edit`] would send, for `EXPLAIN`; values appear as placeholders.
    fn describe_edit(&self, edit: &Edit) -> String {
        format!("{} of {}", edit.verb(), edit.table().id.name)
    }

    /// The statements that [`Connector::define`] would send, as far as they are known without asking the store. Pure: no network.
    ///
    /// # Errors
    /// What the store has not, and the rule.
    fn accepts_define(&self, define: &Define) -> Result<Vec<String>, Refusal> {
        Err(Refusal::new(define.what.verb(), "the store defines nothing for its clients"))
    }

    /// Defines a table or an index, or changes one, and commits it by itself. The caller waits for the answer in any case, as for
    /// [`Branch::edit`].
    ///
    /// # Errors
    /// What the store answered; [`StoreError::OutcomeUnknown`] when its answer was lost.
    async fn define(&self, define: &Define, stop: &CancellationToken) -> Result<(), StoreError> {
        let _ = stop;
        Err(StoreError::Unsupported { store: define.store.to_string(), feature: define.what.verb() })
    }

    /// Whether a branch that writes takes definitions ([`Branch::define`]), which end with its transaction.
    fn defines_in_transactions(&self) -> bool {
        false
    }

    /// As [`Connector::discover`], of what a branch of this store sees that has defined something. Nothing is learnt by it.
    ///
    /// # Errors
    /// What the store answered, with which the branch may have failed.
    async fn discover_in(&self, branch: &Arc<dyn Branch>) -> Result<StoreSchema, StoreError> {
        let _ = branch;
        Err(StoreError::Unsupported { store: self.name().to_string(), feature: "definitions in transactions" })
    }

    /// Opens one consistent view of the store. It may connect to nothing yet, and leave it to the first scan to find the store away.
    ///
    /// # Errors
    /// [`StoreError::Unreachable`], or what the store answered.
    async fn open(&self, purpose: Purpose) -> Result<Arc<dyn Branch>, StoreError>;

    /// [`Connector::open`] of a branch that waits for locks for so long at most, also when it opens ([`Branch::wait_for_locks`]).
    ///
    /// # Errors
    /// As [`Connector::open`].
    async fn open_waiting(&self, purpose: Purpose, limit: Option<Duration>) -> Result<Arc<dyn Branch>, StoreError> {
        let branch = self.open(purpose).await?;
        branch.wait_for_locks(limit);
        Ok(branch)
    }

    /// Prepares `scan` for being run again and again with other values: its filter compares columns with values of their types, and
    /// what is kept holds for all values of these types. Its rows come in `formats`, one for each column of the scan. Pure: no
    /// network. `None` when the store has no shorter way to such rows than [`Branch::scan`].
    fn keep(&self, table: &Arc<Table>, scan: &Scan, formats: &[Format]) -> Option<Kept> {
        let _ = (table, scan, formats);
        None
    }

    /// The rows of what [`Connector::keep`] has made, as the only scan of a statement would find them; `values` take the places of
    /// those in the scan's filter, in order. Dropping the future stops the query in the store.
    ///
    /// # Errors
    /// As [`Branch::scan`] and its stream.
    async fn relay(&self, kept: &Kept, values: &[Value]) -> Result<Relayed, StoreError> {
        let _ = (kept, values);
        Err(StoreError::Unsupported { store: self.name().to_string(), feature: "rows that are passed on as they are" })
    }

    /// Whether everything up to `wanted` is contained in `applied`. Only the store that made the positions may answer.
    fn covers(&self, applied: &Position, wanted: &Position) -> Coverage;

    /// What discovery has learnt and a restart should not forget: the schemas of documents, which samples only widen.
    /// `None` when there is nothing to keep.
    fn learned(&self) -> Option<serde_json::Value> {
        None
    }

    /// Takes back what [`Connector::learned`] of the same store and kind gave earlier. Called before the
    /// connector is served; what it has discovered until then is replaced and must be discovered again.
    ///
    /// # Errors
    /// What is wrong, when it is something else; nothing has changed then.
    fn recall(&self, learned: &serde_json::Value) -> Result<(), String> {
        let _ = learned;
        Ok(())
    }

    /// How its connections are used now; `None` of a store that has no pool.
    fn pool(&self) -> Option<PoolUse> {
        None
    }

    /// From where names of branches are taken. Called before the store is served, and again when another log was taken; one that was
    /// never told takes part in no commit of several stores.
    fn number_with(&self, numbers: &Arc<Numbers>) {
        let _ = numbers;
    }

    /// How its branches will take part, as far as is known without asking: what an open branch says counts.
    fn part(&self) -> Part {
        Part::Alone("stores of its kind are committed alone")
    }

    /// Prepared branches with names of ours ([`BranchId`]), of any log, that this store can end.
    ///
    /// # Errors
    /// What the store answered.
    async fn in_doubt(&self) -> Result<Vec<InDoubt>, StoreError> {
        Ok(Vec::new())
    }

    /// Ends a prepared branch, from any connection. Safe to repeat.
    ///
    /// # Errors
    /// What the store answered; the branch is as it was.
    async fn resolve(&self, id: &BranchId, verdict: Verdict) -> Result<Resolved, StoreError> {
        let _ = (id, verdict);
        Err(StoreError::Unsupported { store: self.name().to_string(), feature: "prepared transactions" })
    }

    /// Whether the mark is among what the store has committed for good; if not, that it never will be. Safe to repeat; the answer never
    /// changes. Not asked while the transaction is under way here: it may wait for it.
    ///
    /// # Errors
    /// It is not decided yet, or the store did not answer.
    async fn decide(&self, mark: MarkId, hint: &Hint) -> Result<Verdict, StoreError> {
        let _ = (mark, hint);
        Err(StoreError::Unsupported { store: self.name().to_string(), feature: "marks of commits" })
    }

    /// Removes the marks that say commit, of transactions that have ended everywhere; of those that say abort only what is older than a
    /// day.
    ///
    /// # Errors
    /// What the store answered; the marks that are left do no harm.
    async fn forget(&self, marks: &[MarkId]) -> Result<(), StoreError> {
        let _ = marks;
        Ok(())
    }

    /// The table of ours as discovery would describe it, in its default namespace, named [`OwnTable::name`]. Pure: no network.
    fn own_table(&self, which: OwnTable) -> Option<Arc<Table>> {
        let _ = which;
        None
    }

    /// Makes the table where it is not there. Never in somebody's transaction. Safe to run side by side. Where an open branch keeps
    /// others from making one, [`OwnTable::Marks`] is left to [`Branch::mark`].
    ///
    /// # Errors
    /// What the store answered.
    async fn install(&self, which: OwnTable) -> Result<(), StoreError> {
        let _ = which;
        Err(StoreError::Unsupported { store: self.name().to_string(), feature: "tables of ours" })
    }

    /// What weakens promises about the store. Asked at start and by `check`; connects.
    ///
    /// # Errors
    /// What the store answered.
    async fn preflight(&self) -> Result<Vec<Caution>, StoreError> {
        Ok(Vec::new())
    }

    /// A log in tables of this store, for several instances.
    fn ledger(&self) -> Option<Arc<dyn Ledger>> {
        None
    }

    /// How its changes are followed; `None` of a store that has no way.
    fn capture(&self) -> Option<Arc<dyn Capture>> {
        None
    }

    /// A position at or behind which everything is that is committed and visible at the call, in the terms of the feed that `follow` asks
    /// for: an upper bound for who waits until it has come, and never the version of a read, as a transaction may be in the log before
    /// it is visible. One cheap round trip.
    ///
    /// # Errors
    /// What the store answered; [`StoreError::Unsupported`] of a store without feeds.
    async fn position(&self, who: InstanceId, follow: &Follow) -> Result<Position, StoreError> {
        let _ = (who, follow);
        Err(StoreError::Unsupported { store: self.name().to_string(), feature: "positions" })
    }

    /// Closes pools and ends background work. Later calls answer [`StoreError::Unreachable`].
    async fn close(&self);
}

/// One consistent view of one store: autocommit for a statement, or the session's transaction on that store.
///
/// Dropping the last handle ends it without committing; connections whose state is unknown are closed, never pooled.
#[async_trait]
pub trait Branch: Any + fmt::Debug + Send + Sync {
    /// Starts a scan. Batches have the schema of `scan.columns` of the table, in that order, with at most
    /// [`ScanLimits::batch_rows`] rows each; with no columns they carry only a row count. Rows satisfy `scan.filter`.
    /// The stream reads ahead by at most one batch, and dropping it stops the query in the store.
    ///
    /// # Errors
    /// What the store answered when the scan was started; later failures arrive in the stream.
    async fn scan(&self, table: &Arc<Table>, scan: &Scan, limits: ScanLimits) -> Result<BatchStream, StoreError>;

    /// Starts a scan without a limit as streams that are read side by side, at most `most` of them: each gives the rows of one range, all of
    /// them together every row of one state of the store, once and in no order. A stream is a scan for all else. Only connections that
    /// are free at once are taken for more than one, and as many are left as others may need at a time, so that it may be one in any case; a
    /// store that divides nothing gives one always.
    ///
    /// # Errors
    /// As [`Branch::scan`].
    async fn scan_ranges(
        &self,
        table: &Arc<Table>,
        scan: &Scan,
        limits: ScanLimits,
        most: usize,
    ) -> Result<Vec<BatchStream>, StoreError> {
        let _ = most;
        Ok(vec![self.scan(table, scan, limits).await?])
    }

    /// Starts a fragment, every node of which [`Connector::accepts`] took. Batches have exactly `schema`, whose columns are those
    /// of the fragment's root in order, with at most [`ScanLimits::batch_rows`] rows each. A `numeric` that does not fit the
    /// decimal carrier of its column is 22003. Rows come in the order of a [`Relation::Sort`] at the root. The stream reads
    /// ahead by at most one batch, and dropping it stops the query in the store.
    ///
    /// # Errors
    /// As [`Branch::scan`].
    async fn run(
        &self,
        fragment: &Fragment,
        tables: &Tables,
        schema: &SchemaRef,
        limits: ScanLimits,
    ) -> Result<BatchStream, StoreError> {
        let _ = (tables, schema, limits);
        Err(StoreError::Unsupported { store: fragment.store.to_string(), feature: "parts of plans" })
    }

    /// Runs one edit, which [`Connector::accepts_edit`] took. The caller waits for the answer in any case: `stop` asks the store to
    /// end early with [`StoreError::Cancelled`], and the answer is the truth either way. An edit that fails has changed nothing.
    ///
    /// # Errors
    /// What the store answered; [`StoreError::OutcomeUnknown`] when it commits by itself and its answer was lost.
    async fn edit(&self, edit: &Edit, stop: &CancellationToken) -> Result<Edited, StoreError> {
        let _ = stop;
        Err(StoreError::Unsupported { store: edit.store().to_string(), feature: "writes" })
    }

    /// Empties tables, as [`Connector::accepts_truncate`] said; otherwise as [`Branch::edit`].
    ///
    /// # Errors
    /// As [`Branch::edit`].
    async fn truncate(&self, truncate: &Truncate, stop: &CancellationToken) -> Result<(), StoreError> {
        let _ = stop;
        Err(StoreError::Unsupported { store: truncate.store.to_string(), feature: "TRUNCATE" })
    }

    /// Defines a table or an index, or changes one, until the branch ends without keeping it; otherwise as [`Branch::edit`]. It is asked
    /// for where [`Connector::defines_in_transactions`].
    ///
    /// # Errors
    /// As [`Branch::edit`].
    async fn define(&self, define: &Define, stop: &CancellationToken) -> Result<(), StoreError> {
        let _ = stop;
        Err(StoreError::Unsupported { store: define.store.to_string(), feature: define.what.verb() })
    }

    /// A scan of rows that nobody else changes until the branch ends. Values that do not fit their column are errors, whatever the
    /// file of the store says of them, so that no condition meets a NULL that is none.
    ///
    /// # Errors
    /// As [`Branch::scan`].
    async fn scan_for_update(&self, table: &Arc<Table>, scan: &Scan, limits: ScanLimits) -> Result<BatchStream, StoreError> {
        let _ = (table, limits);
        Err(StoreError::Unsupported { store: scan.store.to_string(), feature: "writes" })
    }

    /// A scan of rows that are locked for the client until the branch ends, those that it gives at least. It is asked for what
    /// [`Connector::accepts_lock`] took, of a branch that writes. Rows that others have changed meanwhile are given as they are now, if
    /// they still satisfy `scan.filter`, or are 40001 where the branch sees one state. Of `order`, whose keys are such as
    /// [`Connector::sorts_locked`] took, the first `scan.limit` rows are locked and given.
    ///
    /// # Errors
    /// As [`Branch::scan`], and 55P03 for a row that is not waited for.
    async fn scan_locked(
        &self,
        table: &Arc<Table>,
        scan: &Scan,
        lock: RowLock,
        order: &[SortKey],
        limits: ScanLimits,
    ) -> Result<BatchStream, StoreError> {
        let _ = (table, lock, order, limits);
        Err(StoreError::Unsupported { store: scan.store.to_string(), feature: "row locks" })
    }

    /// Its statements from now on wait for locks for so long at most (then 55P03), or for as long as the store says by itself.
    fn wait_for_locks(&self, _limit: Option<Duration>) {}

    /// Marks a state to come back to. A branch that takes no edits has nothing to undo.
    ///
    /// # Errors
    /// What the store answered.
    async fn savepoint(&self, id: u32) -> Result<(), StoreError> {
        let _ = id;
        Ok(())
    }

    /// Undoes all edits since [`Branch::savepoint`] was called with this id, and forgets later savepoints; the savepoint itself stays.
    /// A branch that failed since goes on.
    ///
    /// # Errors
    /// What the store answered.
    async fn roll_back_to(&self, id: u32) -> Result<(), StoreError> {
        let _ = id;
        Ok(())
    }

    /// Forgets a savepoint and those after it, and keeps what was written.
    ///
    /// # Errors
    /// What the store answered.
    async fn release(&self, id: u32) -> Result<(), StoreError> {
        let _ = id;
        Ok(())
    }

    /// Whether an edit of this branch may have changed something that is neither committed nor undone.
    fn has_written(&self) -> bool {
        false
    }

    /// Whether all scans of this branch see one state of the store; otherwise the reason, for `EXPLAIN`.
    fn shared_snapshot(&self) -> Result<(), &'static str>;

    /// How it takes part in a commit of several stores.
    fn part(&self) -> Part {
        Part::Alone("its transaction cannot be prepared")
    }

    /// The name it will be prepared under: its own where it began with one.
    fn branch_id(&self, store: &StoreName, gid: Gid) -> BranchId {
        gid.of_store(store)
    }

    /// Votes. After [`Vote::Yes`] only the two calls below are taken. After an error it has ended without keeping anything, except
    /// after [`StoreError::ConnectionLost`] and [`StoreError::Deadline`]: then it may still become prepared, and whoever finds it
    /// rolls it back.
    ///
    /// # Errors
    /// What the store answered.
    async fn prepare(&self, id: &BranchId) -> Result<Vote, StoreError> {
        let _ = id;
        Err(StoreError::Unsupported { store: "of the branch".to_owned(), feature: "prepared transactions" })
    }

    /// Keeps what was prepared, on the same connection.
    ///
    /// # Errors
    /// What the store answered; [`Connector::resolve`] is to be used then.
    async fn commit_prepared(&self) -> Result<Option<Position>, StoreError> {
        Err(StoreError::Unsupported { store: "of the branch".to_owned(), feature: "prepared transactions" })
    }

    /// Drops what was prepared, on the same connection.
    ///
    /// # Errors
    /// As [`Branch::commit_prepared`].
    async fn roll_back_prepared(&self) -> Result<(), StoreError> {
        Err(StoreError::Unsupported { store: "of the branch".to_owned(), feature: "prepared transactions" })
    }

    /// Writes the mark into its transaction, in [`OwnTable::Marks`], for which [`Connector::install`] was called before.
    ///
    /// # Errors
    /// What the store answered; it has ended the branch as an error of an edit does.
    async fn mark(&self, mark: MarkId) -> Result<(), StoreError> {
        let _ = mark;
        Err(StoreError::Unsupported { store: "of the branch".to_owned(), feature: "marks of commits" })
    }

    /// What ends it sooner after a crash.
    fn hint(&self) -> Hint {
        Hint::default()
    }

    /// A branch of another store inside this one's transaction, so that one commit keeps both. `None`: the stores share none.
    ///
    /// # Errors
    /// They could share one, but not as they are.
    async fn beside(&self, other: &Arc<dyn Connector>) -> Result<Option<Arc<dyn Branch>>, StoreError> {
        let _ = other;
        Ok(None)
    }

    /// The store whose branch ends this one. A branch with a leader ends as a no-op, and only takes note of savepoints, behind it.
    fn leader(&self) -> Option<&StoreName> {
        None
    }

    /// Ends the branch and keeps its writes. Returns the store's position when it has one.
    ///
    /// # Errors
    /// What the store answered; the outcome is then unknown unless the error says otherwise.
    async fn commit(&self) -> Result<Option<Position>, StoreError>;

    /// Ends the branch and drops its writes.
    ///
    /// # Errors
    /// What the store answered; the connection is closed then.
    async fn rollback(&self) -> Result<(), StoreError>;
}

/// Arrow batches on their way from a store.
pub type BatchStream = BoxStream<'static, Result<RecordBatch, StoreError>>;
