//! The branches of one statement or transaction block: one consistent view per store, opened when first needed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use futures::future::join_all;
use tokio::sync::{OnceCell, mpsc};
use tokio_util::sync::CancellationToken;

use super::copy::{Offers, Pinned, Settled};
use super::counts::AllReads;
use super::locks::Locked;
use super::materialized::{Choices, Materialized, Told, ViewRows};
use super::placement::Copies;
use super::writers::Writers;
use crate::cache::{Caches, CopiesRead, Reading, TableVersion, Wants};
use crate::catalog::{Reach, Relation, RelationBody, Snapshot};
use crate::error::{Diagnosis, sqlstate};
use crate::stores::lock::RowLock;
use crate::stores::schema::TableId;
use crate::stores::{Branch, Connector, Purpose, Serial, StoreError, StoreName, Table};
use crate::task::OwnedTask;

/// Branches by store. Plans find it among the extensions of their session configuration, so they hold no pool themselves.
#[derive(Debug)]
pub struct Branches {
    connectors: Arc<BTreeMap<StoreName, Arc<dyn Connector>>>,
    kind: BranchKind,
    slots: Arc<Mutex<BTreeMap<StoreName, Slot>>>,
    changed: Option<mpsc::Sender<StoreName>>,
    reach: Arc<Reach>,
    retired: CancellationToken,
    reads: Arc<AllReads>,
    /// Through which the block has written, and reads what it has written to.
    writers: Option<Arc<Writers>>,
    /// Tables whose rows are held as they are read.
    held: Arc<[Held]>,
    /// What the statement may read from copies.
    offers: Arc<Offers>,
    /// Through what stores are read whose state was opened before the statement, which is given up with the statement.
    shown: Arc<Mutex<Shown>>,
    /// What it reads materialized views from.
    views: Arc<Choices>,
    /// Lets go of what an idle transaction block holds when the stores are closed under it; there from its first branch on.
    watch: Arc<OnceLock<OwnedTask<()>>>,
}

/// What the branches belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BranchKind {
    /// One statement.
    Statement,
    /// A transaction block.
    Transaction {
        /// `READ ONLY`
        read_only: bool,
        /// `REPEATABLE READ`
        repeatable: bool,
    },
    /// A `SERIALIZABLE` transaction block, which may use one store only. It reads through its writers, if it has some, so that what it
    /// reads and what it writes are one transaction.
    Serializable(Serial),
}

/// A table whose rows are held until the end of the transaction.
#[derive(Debug)]
struct Held {
    store: StoreName,
    table: TableId,
    hold: Hold,
}

/// Why rows are held as they are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hold {
    /// The statement is going to change them.
    ToChange,
    /// The client wants them to be locked.
    Locked(RowLock),
}

/// What stores are read through that was opened before; `None` once it has been let go of.
type Shown = BTreeMap<StoreName, Option<Arc<dyn Branch>>>;

#[derive(Debug, Default, Clone)]
struct Slot {
    scans: usize,
    branch: Arc<OnceCell<Arc<dyn Branch>>>,
    /// Whether the branch was open and has gone to whoever writes: no other one may take its place.
    handed_over: bool,
}

impl Branches {
    /// Branches over the stores of a snapshot. Stores whose tables turn out to have changed are told to `changed`, as far as
    /// its bound allows: one pending refresh of a store serves all.
    pub fn new(snapshot: &Snapshot, kind: BranchKind, changed: Option<mpsc::Sender<StoreName>>) -> Self {
        let (connectors, retired) = (Arc::clone(&snapshot.connectors), snapshot.retired.clone());
        let slots: Arc<Mutex<BTreeMap<StoreName, Slot>>> = Arc::default();
        let (reach, reads, watch) = (Arc::clone(&snapshot.reach), Arc::default(), Arc::default());
        let (held, offers, shown, views) = (Arc::default(), Arc::default(), Arc::default(), Arc::default());
        Self { connectors, kind, slots, changed, reach, retired, reads, writers: None, held, offers, shown, views, watch }
    }

    /// A second handle on the same branches, for one statement of a block.
    #[must_use]
    pub fn sharing(&self) -> Self {
        let (connectors, slots, changed) = (Arc::clone(&self.connectors), Arc::clone(&self.slots), self.changed.clone());
        let (reach, retired, reads) = (Arc::clone(&self.reach), self.retired.clone(), Arc::clone(&self.reads));
        let writers = self.writers.clone();
        let (kind, held, watch) = (self.kind, Arc::default(), Arc::clone(&self.watch));
        let (offers, shown, views) = (Arc::new(self.offers.anew()), Arc::clone(&self.shown), Arc::new(self.views.anew()));
        Self { connectors, kind, slots, changed, reach, retired, reads, writers, held, offers, shown, views, watch }
    }

    /// Branches for a second run of the same statement: it sees what its transaction sees, and of a statement's own branches none that the
    /// first run has used.
    #[must_use]
    pub fn again(&self) -> Self {
        let shared = self.sharing();
        let slots = if self.kind == BranchKind::Statement { Arc::default() } else { Arc::clone(&shared.slots) };
        Self { slots, held: Arc::clone(&self.held), offers: Arc::new(self.offers.again()), ..shared }
    }

    /// A second handle for a statement that is planned and not run: nothing is decided of what it would read from copies, and of views
    /// it is shown the rows that are there.
    #[must_use]
    pub fn only_planned(&self) -> Self {
        Self { offers: Arc::new(self.offers.only_planned()), views: Arc::new(self.views.only_planned()), ..self.sharing() }
    }

    /// The same, which reads what `writers` have written to through them.
    #[must_use]
    pub fn with_writers(self, writers: Arc<Writers>) -> Self {
        Self { writers: Some(writers), ..self }
    }

    /// The same for a statement that changes rows of a table: what it reads of the table nobody else changes before it ends.
    #[must_use]
    pub fn locking(self, store: StoreName, table: TableId) -> Self {
        Self { held: Arc::new([Held { store, table, hold: Hold::ToChange }]), ..self }
    }

    /// The same for a statement that locks rows for the client.
    #[must_use]
    pub fn locking_rows(self, tables: &[Locked]) -> Self {
        let held =
            |locked: &Locked| Held { store: locked.store.clone(), table: locked.table.id.clone(), hold: Hold::Locked(locked.lock) };
        Self { held: tables.iter().map(held).collect(), ..self }
    }

    /// The same for a statement that may read copies, under what its session asks of them.
    #[must_use]
    pub fn with_copies(self, caches: Arc<Caches>, wants: Arc<Wants>) -> Self {
        Self { offers: Arc::new(self.offers.replaced(caches, wants)), ..self }
    }

    /// The same for a statement of a block that may write later on what it reads from copies.
    #[must_use]
    pub fn noting(self, noted: Arc<CopiesRead>) -> Self {
        Self { offers: Arc::new(self.offers.noting(noted)), ..self }
    }

    /// The same for a statement that reads these stores in states that are open already.
    #[must_use]
    pub fn showing(self, shown: BTreeMap<StoreName, Arc<dyn Branch>>) -> Self {
        let shown = shown.into_iter().map(|(store, branch)| (store, Some(branch))).collect();
        Self { shown: Arc::new(Mutex::new(shown)), ..self }
    }

    /// Lets go of what [`Branches::showing`] was given, behind the last row that is read of it.
    pub fn show_no_more(&self) {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).values_mut().for_each(|branch| *branch = None);
    }

    /// The same for a statement that reads copies in these sets, as far as they have its tables.
    #[must_use]
    pub fn with_pinned(self, readings: BTreeMap<StoreName, Arc<Reading>>) -> Self {
        Self { offers: Arc::new(self.offers.of_pinned(readings)), ..self }
    }

    #[cfg(test)]
    pub(super) fn with_offers(self, offers: Offers) -> Self {
        Self { offers: Arc::new(offers), ..self }
    }

    /// The same for a statement that may read the rows of materialized views, under what its session asks of them.
    #[must_use]
    pub fn with_views(self, views: Arc<dyn Materialized>, wants: Arc<Wants>) -> Self {
        Self { views: Arc::new(Choices::of(views, wants)), ..self }
    }

    /// Whether the rows of materialized views may be read by a statement that may read these stores: not where the block has written to one
    /// of them, nor wherever copies are not read either.
    pub(super) fn may_read_views<'s>(&self, mut stores: impl Iterator<Item = &'s StoreName>) -> bool {
        let is_open = self.kind == BranchKind::Statement && self.held.is_empty() && !self.offers.are_refused();
        is_open && !stores.any(|store| self.writes_to(store))
    }

    /// What materialized views are read from.
    pub(super) fn views(&self) -> &Choices {
        &self.views
    }

    /// The rows that a materialized view is read from, by its object id; `None` where its query is run.
    pub(super) fn view_rows(&self, view: u32) -> Option<ViewRows> {
        self.views.rows(view)
    }

    /// The tables that are read in their stores though they have copies, and why, for `EXPLAIN`.
    pub(super) fn passed_copies(&self) -> Vec<(StoreName, TableId, &'static str)> {
        self.offers.passed()
    }

    /// What the materialized views of the statement are read from, for `EXPLAIN`.
    pub(super) fn told_views(&self) -> Vec<Told> {
        self.views.told()
    }

    /// Has the statement read its stores and no copy: one that writes must not write what it has read of the past.
    pub(super) fn read_stores_only(&self) {
        self.offers.refuse();
    }

    /// Whether tables of a store may be read from copies: neither where a block keeps one state of its stores, nor by who locks rows, nor
    /// where the block has written.
    fn may_copy(&self, store: &StoreName) -> bool {
        self.kind == BranchKind::Statement && self.held.is_empty() && self.offers.are_open() && !self.writes_to(store)
    }

    /// Whether a table is read from a copy, as far as that is known now. The same for the whole statement.
    pub(super) fn is_copied(&self, store: &StoreName, table: &Table) -> bool {
        self.may_copy(store) && self.offers.offered(store, table)
    }

    /// From what the tables of a store are read that are kept as copies; settled by the first caller for the whole statement.
    pub(super) async fn copies_of(&self, store: &StoreName) -> Settled {
        self.offers.settle(store, self.may_copy(store)).await
    }

    /// Settles this for all stores of the relations before they are planned: what is going to be read in a store is then planned as ever.
    pub(super) async fn settle_copies(&self, relations: &BTreeMap<u32, Arc<Relation>>) {
        if !self.offers.are_open() {
            return;
        }
        let mut stored: BTreeMap<&StoreName, Vec<&Arc<Table>>> = BTreeMap::new();
        for relation in relations.values() {
            if let RelationBody::Stored { store, table } = &relation.body {
                stored.entry(store).or_default().push(table);
            }
        }
        join_all(stored.iter().map(|(store, tables)| self.offers.settle_together(store, tables, self.may_copy(store)))).await;
    }

    /// The stores that were read themselves, and not from copies; also by further runs of the statement ([`Branches::again`]).
    pub fn read_directly(&self) -> Vec<StoreName> {
        self.offers.direct()
    }

    /// Takes note of what is read from a copy.
    pub(super) fn note_copy(&self, store: &StoreName, table: &TableId, version: &Arc<TableVersion>) {
        self.offers.note(store, table, version);
    }

    /// Takes note that a table which was offered as a copy is read in its store.
    pub(super) fn fell_through(&self, store: &StoreName, table: &TableId) {
        self.offers.fell_through(store, table);
    }

    /// Takes note that a table is read from its copy.
    pub(super) fn reads_copy(&self, store: &StoreName, table: &TableId, pinned: &dyn Pinned) {
        self.offers.used(store, table, pinned);
    }

    /// Takes note of a store that is read past its branch.
    pub(super) fn reads_directly(&self, store: &StoreName) {
        self.offers.read_directly(store);
    }

    /// Why what a scan reads is held; `None` when it is not.
    pub(super) fn hold(&self, store: &StoreName, table: &TableId) -> Option<Hold> {
        self.held.iter().find(|held| held.store == *store && held.table == *table).map(|held| held.hold)
    }

    /// Whether the client wants rows to be locked.
    pub(super) fn locks_rows(&self) -> bool {
        self.held.iter().any(|held| matches!(held.hold, Hold::Locked(_)))
    }

    /// Whether the rows of a table are held as they are read.
    pub(super) fn locks_table(&self, store: &StoreName, table: &TableId) -> bool {
        self.hold(store, table).is_some()
    }

    /// Whether the statement or its block has a branch that writes to `store`: all that is read there goes through it.
    pub fn writes_to(&self, store: &StoreName) -> bool {
        self.writer(store).is_some()
    }

    fn writer(&self, store: &StoreName) -> Option<Arc<dyn Branch>> {
        self.writers.as_ref().and_then(|writers| writers.get(store))
    }

    /// The branch that is open of `store` and ended here.
    pub fn opened(&self, store: &StoreName) -> Option<Arc<dyn Branch>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner).get(store)?.branch.get().cloned()
    }

    /// Takes the open branch of `store` out of those that are ended here: it is going to be ended by whoever writes through it. The
    /// store still counts as read, and is read through that branch only.
    pub fn hand_over(&self, store: &StoreName) -> Option<Arc<dyn Branch>> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = slots.get_mut(store)?;
        let branch = slot.branch.get().cloned()?;
        slot.branch = Arc::default();
        slot.handed_over = true;
        Some(branch)
    }

    /// The same, which counts what is read among the reads of the whole server.
    #[must_use]
    pub fn counting(self, reads: Arc<AllReads>) -> Self {
        Self { reads, ..self }
    }

    /// Branches over no store, for what reads none.
    pub fn none() -> Self {
        let (connectors, kind) = (Arc::default(), BranchKind::Statement);
        let (slots, reach, retired, reads) = (Arc::default(), Arc::default(), CancellationToken::new(), Arc::default());
        let (held, offers, shown, views, watch) = (Arc::default(), Arc::default(), Arc::default(), Arc::default(), Arc::default());
        Self { connectors, kind, slots, changed: None, reach, retired, reads, writers: None, held, offers, shown, views, watch }
    }

    /// Cancelled when the stores are closed under what runs on them.
    pub fn retired(&self) -> &CancellationToken {
        &self.retired
    }

    /// What is read from all stores.
    pub fn reads(&self) -> &AllReads {
        &self.reads
    }

    /// Tells how many scans of each store the plan holds, before it runs.
    ///
    /// # Errors
    /// 0A000 where a serializable transaction would read a second store: each store has an order of its own transactions, and
    /// nothing orders those of two.
    pub fn expect_scans(&self, counts: &BTreeMap<StoreName, usize>) -> Result<(), Diagnosis> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(self.kind, BranchKind::Serializable(_)) {
            let stores: BTreeSet<&StoreName> = slots.keys().chain(counts.keys()).collect();
            let names: Vec<String> = stores.iter().map(|store| format!("\"{store}\"")).collect();
            if names.len() > 1 {
                let message = format!("a serializable transaction cannot read several stores ({})", names.join(", "));
                return Err(Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, message).with_hint(
                    "Stores share no order of transactions. REPEATABLE READ keeps one state per store for the whole transaction.",
                ));
            }
        }
        for (store, count) in counts {
            slots.entry(store.clone()).or_default().scans = *count;
        }
        Ok(())
    }

    /// The branch of `store`, opened by the first caller.
    ///
    /// # Errors
    /// What opening failed with; the next caller tries again. 40001 where the branch has gone to a write that the caller does not see.
    pub async fn get(&self, store: &StoreName) -> Result<Arc<dyn Branch>, StoreError> {
        self.check_retired(store)?;
        self.offers.read_directly(store);
        if let Some(writer) = self.writer(store) {
            return Ok(writer);
        }
        if let Some(shown) = self.shown.lock().unwrap_or_else(PoisonError::into_inner).get(store) {
            return shown.clone().ok_or_else(|| gone(store));
        }
        let slot = {
            let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
            slots.entry(store.clone()).or_default().clone()
        };
        if let Some(branch) = slot.branch.get() {
            return Ok(Arc::clone(branch));
        }
        if slot.handed_over {
            return Err(gone(store));
        }
        let Some(connector) = self.connectors.get(store) else {
            return Err(StoreError::Unreachable { store: store.to_string(), reason: "It is no longer configured.".to_owned() });
        };
        let purpose = match self.kind {
            BranchKind::Statement => Purpose::Statement { scans: slot.scans.max(1) },
            BranchKind::Transaction { read_only, repeatable } => Purpose::Transaction { read_only, repeatable },
            BranchKind::Serializable(Serial::Write) if connector.is_read_only() => Purpose::Serializable(Serial::Read),
            BranchKind::Serializable(serial) => Purpose::Serializable(serial),
        };
        let opened = match (&self.writers, purpose) {
            (Some(writers), Purpose::Serializable(_)) => writers.open_to_read(store, purpose).await,
            _ => slot.branch.get_or_try_init(|| connector.open(purpose)).await.cloned(),
        };
        self.watch();
        // Opening may connect to nothing yet, so that only rows prove that the store answers.
        opened.inspect_err(|error| {
            self.reads.of(store).errors.add(1);
            self.reach.failed(store, error);
        })
    }

    /// Begins to watch over what is open. One statement is never idle.
    fn watch(&self) {
        if self.kind == BranchKind::Statement {
            return;
        }
        self.watch.get_or_init(|| {
            let (slots, retired) = (Arc::clone(&self.slots), self.retired.clone());
            OwnedTask::spawn(async move {
                retired.cancelled().await;
                slots.lock().unwrap_or_else(PoisonError::into_inner).clear();
            })
        });
    }

    /// Fails when the stores are closed under what runs on them.
    ///
    /// # Errors
    /// [`StoreError::Unreachable`]
    pub fn check_retired(&self, store: &StoreName) -> Result<(), StoreError> {
        if self.retired.is_cancelled() {
            let reason = "It was replaced when the catalog directory was read again.".to_owned();
            return Err(StoreError::Unreachable { store: store.to_string(), reason });
        }
        Ok(())
    }

    /// Takes note of what a store has sent.
    pub fn heard<T>(&self, store: &StoreName, answer: &Result<T, StoreError>) {
        match answer {
            Ok(_) => self.reach.succeeded(store),
            Err(StoreError::SchemaChanged { .. }) => self.report_changed(store),
            Err(_) if self.retired.is_cancelled() => {}
            Err(error) => self.reach.failed(store, error),
        }
    }

    /// The connector of `store`.
    pub fn connector(&self, store: &StoreName) -> Option<&Arc<dyn Connector>> {
        self.connectors.get(store)
    }

    /// Asks for a refresh of a store whose table no longer looks as discovered.
    fn report_changed(&self, store: &StoreName) {
        if let Some(changed) = &self.changed {
            // A full queue means that refreshes are pending already, and the next statement will report again.
            let _ = changed.try_send(store.clone());
        }
    }

    /// Ends all open branches, keeping or dropping their writes.
    ///
    /// # Errors
    /// The first failure; all branches have been tried.
    pub async fn finish(&self, commit: bool) -> Result<(), Diagnosis> {
        let open: Vec<Arc<dyn Branch>> = {
            let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *slots).into_values().filter_map(|slot| slot.branch.get().cloned()).collect()
        };
        let ends = open
            .iter()
            .map(|branch| async move { if commit { branch.commit().await.map(|_| ()) } else { branch.rollback().await } });
        for end in join_all(ends).await {
            end.map_err(|error| Diagnosis::of(&error))?;
        }
        Ok(())
    }
}

/// A later state of a store than the one that its transaction has seen is never read in its place.
fn gone(store: &StoreName) -> StoreError {
    StoreError::Remote {
        store: store.to_string(),
        sqlstate: sqlstate::SERIALIZATION_FAILURE.to_owned(),
        message: format!("could not serialize access: what the transaction has seen of store \"{store}\" is gone"),
        detail: Some("A write has taken it over.".to_owned()),
        constraint: None,
        site: None,
    }
}

/// A table whose rows are held joins no part of a plan: only a scan of it can keep others from its rows. Nor does one that is read from a
/// copy.
impl Copies for Branches {
    fn offered(&self, store: &StoreName, table: &Table) -> bool {
        self.locks_table(store, &table.id) || self.is_copied(store, table)
    }
}
