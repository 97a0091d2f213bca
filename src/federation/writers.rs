//! The branches through which one statement or transaction block writes: one per store, opened at the first write to it. A serializable
//! block reads through them too, and opens them at its first read.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use tokio::sync::Mutex as AsyncMutex;
use tokio_util::sync::CancellationToken;

use crate::catalog::Snapshot;
use crate::error::{Diagnosis, sqlstate};
use crate::stores::connector::{ScanLimits, WriteIsolation};
use crate::stores::position::Position;
use crate::stores::{BatchStream, Branch, Connector, Edit, Edited, Fragment, Purpose, Scan, StoreError, StoreName, Table, Tables};
use crate::task::OwnedTask;

/// Write branches by store. Once a store has one, everything that its statement or block reads there goes through it, so that it sees
/// its own writes.
#[derive(Debug)]
pub struct Writers {
    connectors: Arc<BTreeMap<StoreName, Arc<dyn Connector>>>,
    purpose: Purpose,
    open: Arc<Mutex<Open>>,
    /// Held while a branch is opened that scans read through: several of one statement must not open one each.
    opening: AsyncMutex<()>,
    retired: CancellationToken,
    /// Lets go of what an idle transaction block holds when the stores are closed under it.
    _watch: OwnedTask<()>,
}

/// What is open.
#[derive(Debug, Default)]
struct Open {
    branches: BTreeMap<StoreName, Arc<dyn Branch>>,
    /// Live savepoints, the oldest first.
    savepoints: Vec<u32>,
    /// Stores of which rows are locked, and behind which savepoint.
    locked: BTreeMap<StoreName, Option<u32>>,
}

impl Open {
    fn holds(&self, store: &StoreName) -> bool {
        self.locked.contains_key(store) || self.branches.get(store).is_some_and(|branch| branch.has_written())
    }
}

impl Writers {
    /// Writers of a transaction, which open with [`Purpose::Write`]. Must be called inside the runtime.
    pub fn new(snapshot: &Snapshot, isolation: WriteIsolation) -> Arc<Self> {
        Self::opening(snapshot, Purpose::Write(isolation))
    }

    /// Writers of one statement that is one edit, which open with [`Purpose::Once`]. Must be called inside the runtime.
    pub fn once(snapshot: &Snapshot) -> Arc<Self> {
        Self::opening(snapshot, Purpose::Once)
    }

    fn opening(snapshot: &Snapshot, purpose: Purpose) -> Arc<Self> {
        let open: Arc<Mutex<Open>> = Arc::default();
        let (watched, retired) = (Arc::clone(&open), snapshot.retired.clone());
        let watch = OwnedTask::spawn(async move {
            retired.cancelled().await;
            // Dropped branches end without keeping anything; what was written must not be taken for kept.
            for (store, branch) in &mut lock(&watched).branches {
                let has_written = branch.has_written();
                *branch = Arc::new(Lost { store: store.clone(), has_written });
            }
        });
        let (connectors, retired) = (Arc::clone(&snapshot.connectors), snapshot.retired.clone());
        Arc::new(Self { connectors, purpose, open, opening: AsyncMutex::default(), retired, _watch: watch })
    }

    /// The savepoints that are live in a block whose writers are made late, the oldest first. No branch is open yet.
    pub fn has_savepoints(&self, live: Vec<u32>) {
        lock(&self.open).savepoints = live;
    }

    /// The branch for writes to `store`, opened at the first one. One that opens late gets the savepoints that are live.
    ///
    /// # Errors
    /// 0A000 when another store has been written to; what opening failed with.
    pub async fn open(&self, store: &StoreName) -> Result<Arc<dyn Branch>, Diagnosis> {
        // Whatever was open is lost then.
        if self.retired.is_cancelled() {
            return Err(Diagnosis::of(&replaced(store)));
        }
        self.check_only(store)?;
        if let Some(branch) = self.get(store) {
            return Ok(branch);
        }
        let opened = self.open_for(store, self.purpose).await;
        opened.map_err(|error| Diagnosis::of(&error))
    }

    /// Opens the branch of `store` to lock rows through. The store then counts as written to.
    ///
    /// # Errors
    /// As [`Writers::open`].
    pub async fn open_to_lock(&self, store: &StoreName) -> Result<(), Diagnosis> {
        self.open(store).await?;
        let mut open = lock(&self.open);
        let since = open.savepoints.last().copied();
        open.locked.entry(store.clone()).or_insert(since);
        Ok(())
    }

    /// Whether something has been written to `store`, or rows of it are locked.
    pub fn holds(&self, store: &StoreName) -> bool {
        lock(&self.open).holds(store)
    }

    /// The branch that a serializable block reads `store` through, and writes through if it comes to that. It gets the savepoints that
    /// are live: a failed read must not take what was before them.
    ///
    /// # Errors
    /// What opening failed with.
    pub(super) async fn open_to_read(&self, store: &StoreName, purpose: Purpose) -> Result<Arc<dyn Branch>, StoreError> {
        let _first = self.opening.lock().await;
        match self.get(store) {
            Some(branch) => Ok(branch),
            None => self.open_for(store, purpose).await,
        }
    }

    async fn open_for(&self, store: &StoreName, purpose: Purpose) -> Result<Arc<dyn Branch>, StoreError> {
        let Some(connector) = self.connectors.get(store) else {
            let reason = "It is no longer configured.".to_owned();
            return Err(StoreError::Unreachable { store: store.to_string(), reason });
        };
        let branch = connector.open(purpose).await?;
        self.keep(store, branch).await
    }

    /// Takes a branch that a repeatable block has read through: what it writes must be seen there. It gets the savepoints that are live.
    ///
    /// # Errors
    /// 0A000 when another store has been written to; what setting savepoints failed with.
    pub async fn adopt(&self, store: &StoreName, branch: Arc<dyn Branch>) -> Result<(), Diagnosis> {
        self.check_only(store)?;
        if self.get(store).is_some() {
            return Ok(());
        }
        self.keep(store, branch).await.map_err(|error| Diagnosis::of(&error))?;
        Ok(())
    }

    async fn keep(&self, store: &StoreName, branch: Arc<dyn Branch>) -> Result<Arc<dyn Branch>, StoreError> {
        let live = lock(&self.open).savepoints.clone();
        for id in live {
            // What was opened is dropped with the error, which ends it.
            branch.savepoint(id).await?;
        }
        let kept = Arc::clone(lock(&self.open).branches.entry(store.clone()).or_insert(branch));
        // The watch may have passed while the branch was opened. Nothing has been written through it.
        if self.retired.is_cancelled() {
            lock(&self.open).branches.remove(store);
            return Err(replaced(store));
        }
        Ok(kept)
    }

    /// Several stores share no commit.
    fn check_only(&self, store: &StoreName) -> Result<(), Diagnosis> {
        let open = lock(&self.open);
        let Some(other) = open.branches.keys().find(|name| *name != store && open.holds(name)) else { return Ok(()) };
        let done = if open.locked.contains_key(other) { "lock rows of, or write to," } else { "write to" };
        let message = format!("a transaction cannot {done} several stores yet (\"{other}\", \"{store}\")");
        Err(Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, message)
            .with_detail(format!("Nothing was written to store \"{store}\"."))
            .with_hint("Write to each store in a transaction of its own."))
    }

    /// The branch of `store`, when it is open.
    pub fn get(&self, store: &StoreName) -> Option<Arc<dyn Branch>> {
        lock(&self.open).branches.get(store).cloned()
    }

    /// Whether no branch is open.
    pub fn is_empty(&self) -> bool {
        lock(&self.open).branches.is_empty()
    }

    /// Hands over all open branches, to be committed or rolled back; there are no savepoints afterwards.
    pub fn take(&self) -> Vec<(StoreName, Arc<dyn Branch>)> {
        let open = std::mem::take(&mut *lock(&self.open));
        open.branches.into_iter().collect()
    }

    fn branches(&self) -> Vec<Arc<dyn Branch>> {
        lock(&self.open).branches.values().cloned().collect()
    }

    /// Sets a savepoint in every branch, also in those that open later. Ids grow.
    ///
    /// # Errors
    /// What a store answered; the block has then failed.
    pub async fn savepoint(&self, id: u32) -> Result<(), Diagnosis> {
        lock(&self.open).savepoints.push(id);
        for branch in self.branches() {
            branch.savepoint(id).await.map_err(|error| Diagnosis::of(&error))?;
        }
        Ok(())
    }

    /// Undoes what was written since a savepoint, which stays; those after it are gone.
    ///
    /// # Errors
    /// What a store answered; all of them have been tried, and the block has failed.
    pub async fn roll_back_to(&self, id: u32) -> Result<(), Diagnosis> {
        {
            let mut open = lock(&self.open);
            open.savepoints.retain(|live| *live <= id);
            open.locked.retain(|_, since| since.is_none_or(|since| since < id));
        }
        let mut first = Ok(());
        for branch in self.branches() {
            let undone = branch.roll_back_to(id).await.map_err(|error| Diagnosis::of(&error));
            first = first.and(undone);
        }
        first
    }

    /// Forgets a savepoint and those after it.
    ///
    /// # Errors
    /// What a store answered; the block has then failed.
    pub async fn release(&self, id: u32) -> Result<(), Diagnosis> {
        {
            let mut open = lock(&self.open);
            open.savepoints.retain(|live| *live < id);
            let last = open.savepoints.last().copied();
            open.locked.values_mut().filter(|since| since.is_some_and(|since| since >= id)).for_each(|since| *since = last);
        }
        for branch in self.branches() {
            branch.release(id).await.map_err(|error| Diagnosis::of(&error))?;
        }
        Ok(())
    }
}

fn lock(open: &Mutex<Open>) -> MutexGuard<'_, Open> {
    open.lock().unwrap_or_else(PoisonError::into_inner)
}

fn replaced(store: &StoreName) -> StoreError {
    let reason = "It was replaced when the catalog directory was read again.".to_owned();
    StoreError::ConnectionLost { store: store.to_string(), reason }
}

/// A branch whose store was closed under it: nothing of it is kept, and whoever asks is told.
#[derive(Debug)]
struct Lost {
    store: StoreName,
    has_written: bool,
}

#[async_trait]
impl Branch for Lost {
    async fn scan(&self, _table: &Arc<Table>, _scan: &Scan, _limits: ScanLimits) -> Result<BatchStream, StoreError> {
        Err(replaced(&self.store))
    }

    async fn run(
        &self,
        _fragment: &Fragment,
        _tables: &Tables,
        _schema: &SchemaRef,
        _limits: ScanLimits,
    ) -> Result<BatchStream, StoreError> {
        Err(replaced(&self.store))
    }

    async fn edit(&self, _edit: &Edit, _stop: &CancellationToken) -> Result<Edited, StoreError> {
        Err(replaced(&self.store))
    }

    async fn scan_for_update(&self, _table: &Arc<Table>, _scan: &Scan, _limits: ScanLimits) -> Result<BatchStream, StoreError> {
        Err(replaced(&self.store))
    }

    fn shared_snapshot(&self) -> Result<(), &'static str> {
        Err("the store was replaced")
    }

    async fn savepoint(&self, _id: u32) -> Result<(), StoreError> {
        Err(replaced(&self.store))
    }

    async fn roll_back_to(&self, _id: u32) -> Result<(), StoreError> {
        Err(replaced(&self.store))
    }

    async fn release(&self, _id: u32) -> Result<(), StoreError> {
        Err(replaced(&self.store))
    }

    fn has_written(&self) -> bool {
        self.has_written
    }

    async fn commit(&self) -> Result<Option<Position>, StoreError> {
        Err(replaced(&self.store))
    }

    async fn rollback(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::catalog::object::Objects;
    use crate::federation::branches::{BranchKind, Branches};
    use crate::stores::connector::Capabilities;
    use crate::stores::position::Coverage;
    use crate::stores::schema::StoreSchema;
    use crate::stores::{Predicate, Pushdown, Serial};

    use super::*;

    /// What was asked of branches, in order.
    type Asked = Arc<Mutex<Vec<String>>>;

    #[derive(Debug)]
    struct Store {
        name: StoreName,
        asked: Asked,
    }

    #[async_trait]
    impl Connector for Store {
        fn name(&self) -> &StoreName {
            &self.name
        }

        fn kind(&self) -> &'static str {
            "store"
        }

        fn capabilities(&self) -> Capabilities {
            Capabilities { statement_snapshot: true, prepare: false, like: true, documents: false, cancel: false, keys_max: 10_000 }
        }

        async fn discover(&self) -> Result<StoreSchema, StoreError> {
            Ok(StoreSchema::default())
        }

        async fn ping(&self) -> Result<(), StoreError> {
            Ok(())
        }

        fn pushdown(&self, _table: &Table, _predicate: &Predicate) -> Pushdown {
            Pushdown::Refused("no scan is asked for")
        }

        fn describe_scan(&self, _table: &Table, _scan: &Scan) -> String {
            String::new()
        }

        async fn open(&self, purpose: Purpose) -> Result<Arc<dyn Branch>, StoreError> {
            Ok(Arc::new(Written::open(&self.name, &self.asked, &format!("{purpose:?}"))))
        }

        fn covers(&self, _applied: &Position, _wanted: &Position) -> Coverage {
            Coverage::Incomparable
        }

        async fn close(&self) {}
    }

    /// A branch that has written, unless it was told `read`.
    #[derive(Debug)]
    struct Written {
        name: StoreName,
        asked: Asked,
        has_written: bool,
    }

    impl Written {
        fn open(name: &StoreName, asked: &Asked, how: &str) -> Self {
            let written = Self { name: name.clone(), asked: Arc::clone(asked), has_written: how != "read" };
            written.note(how);
            written
        }

        fn note(&self, what: &str) {
            self.asked.lock().unwrap().push(format!("{} {what}", self.name));
        }
    }

    #[async_trait]
    impl Branch for Written {
        async fn scan(&self, _table: &Arc<Table>, _scan: &Scan, _limits: ScanLimits) -> Result<BatchStream, StoreError> {
            Err(replaced(&self.name))
        }

        fn shared_snapshot(&self) -> Result<(), &'static str> {
            Ok(())
        }

        async fn savepoint(&self, id: u32) -> Result<(), StoreError> {
            self.note(&format!("savepoint {id}"));
            Ok(())
        }

        async fn roll_back_to(&self, id: u32) -> Result<(), StoreError> {
            self.note(&format!("roll back to {id}"));
            Ok(())
        }

        async fn release(&self, id: u32) -> Result<(), StoreError> {
            self.note(&format!("release {id}"));
            Ok(())
        }

        fn has_written(&self) -> bool {
            self.has_written
        }

        async fn commit(&self) -> Result<Option<Position>, StoreError> {
            Ok(None)
        }

        async fn rollback(&self) -> Result<(), StoreError> {
            Ok(())
        }
    }

    fn stores() -> (Snapshot, Asked) {
        let asked = Asked::default();
        let store = |name: &str| {
            let connector: Arc<dyn Connector> = Arc::new(Store { name: StoreName::new(name), asked: Arc::clone(&asked) });
            (StoreName::new(name), connector)
        };
        let snapshot = Snapshot {
            version: 1,
            database: "tributary".to_owned(),
            schemas: BTreeMap::new(),
            objects: Objects::default(),
            connectors: Arc::new(BTreeMap::from([store("a"), store("b")])),
            reach: Arc::default(),
            retired: CancellationToken::new(),
        };
        (snapshot, asked)
    }

    #[tokio::test]
    async fn a_branch_that_opens_late_gets_the_savepoints_that_are_live() {
        let (snapshot, asked) = stores();
        let writers = Writers::new(&snapshot, WriteIsolation::ReadCommitted);
        for id in 1..=3 {
            writers.savepoint(id).await.unwrap();
        }
        writers.release(3).await.unwrap();
        writers.open(&StoreName::new("a")).await.unwrap();
        writers.open(&StoreName::new("a")).await.unwrap();
        writers.savepoint(4).await.unwrap();
        writers.roll_back_to(2).await.unwrap();
        let told = ["a Write(ReadCommitted)", "a savepoint 1", "a savepoint 2", "a savepoint 4", "a roll back to 2"];
        assert_eq!(*asked.lock().unwrap(), told);
        assert_eq!(writers.take().len(), 1);
        assert!(writers.is_empty() && writers.get(&StoreName::new("a")).is_none());
    }

    #[tokio::test]
    async fn a_second_store_is_refused_before_it_is_opened() {
        let (snapshot, asked) = stores();
        let writers = Writers::once(&snapshot);
        writers.open(&StoreName::new("a")).await.unwrap();
        let refused = writers.open(&StoreName::new("b")).await.unwrap_err();
        assert_eq!(refused.sqlstate, sqlstate::FEATURE_NOT_SUPPORTED, "{refused:?}");
        assert_eq!(refused.message, "a transaction cannot write to several stores yet (\"a\", \"b\")");
        let other = Arc::new(Written::open(&StoreName::new("b"), &asked, "read"));
        assert!(writers.adopt(&StoreName::new("b"), other).await.is_err());
        assert_eq!(*asked.lock().unwrap(), ["a Once", "b read"]);
    }

    #[tokio::test]
    async fn a_store_that_is_open_and_unwritten_is_refused_after_another_was_written() {
        let (snapshot, asked) = stores();
        let writers = Writers::new(&snapshot, WriteIsolation::RepeatableRead);
        let (a, b) = (StoreName::new("a"), StoreName::new("b"));
        let unwritten: Arc<dyn Branch> = Arc::new(Written::open(&a, &asked, "read"));
        writers.adopt(&a, Arc::clone(&unwritten)).await.unwrap();
        writers.open(&b).await.unwrap();
        assert_eq!(writers.open(&a).await.unwrap_err().sqlstate, sqlstate::FEATURE_NOT_SUPPORTED);
        assert_eq!(writers.adopt(&a, unwritten).await.unwrap_err().sqlstate, sqlstate::FEATURE_NOT_SUPPORTED);
        assert!(writers.open(&b).await.is_ok());
    }

    #[tokio::test]
    async fn what_a_block_has_read_through_is_not_opened_again_when_it_writes() {
        let (snapshot, asked) = stores();
        let kind = BranchKind::Transaction { read_only: false, repeatable: true };
        let (kept, a) = (Branches::new(&snapshot, kind, None), StoreName::new("a"));
        assert!(kept.hand_over(&a).is_none());
        kept.get(&a).await.unwrap();
        let branch = kept.hand_over(&a).unwrap();
        assert_eq!(Diagnosis::of(&kept.get(&a).await.unwrap_err()).sqlstate, sqlstate::SERIALIZATION_FAILURE);
        let writers = Writers::new(&snapshot, WriteIsolation::RepeatableRead);
        writers.adopt(&a, branch).await.unwrap();
        kept.sharing().with_writers(writers).get(&a).await.unwrap();
        assert_eq!(asked.lock().unwrap().len(), 1);
    }

    #[tokio::test]
    async fn a_store_whose_rows_are_locked_counts_until_a_savepoint_lets_go_of_them() {
        let (snapshot, asked) = stores();
        let writers = Writers::new(&snapshot, WriteIsolation::ReadCommitted);
        let (a, b) = (StoreName::new("a"), StoreName::new("b"));
        let unwritten: Arc<dyn Branch> = Arc::new(Written::open(&a, &asked, "read"));
        writers.adopt(&a, unwritten).await.unwrap();
        writers.savepoint(1).await.unwrap();
        writers.savepoint(2).await.unwrap();
        writers.open_to_lock(&a).await.unwrap();
        assert!(writers.holds(&a) && !writers.holds(&b));
        assert_eq!(writers.open(&b).await.unwrap_err().sqlstate, sqlstate::FEATURE_NOT_SUPPORTED);
        assert!(writers.open(&a).await.is_ok());
        // What was locked behind a savepoint that is forgotten was locked behind the one before.
        writers.release(2).await.unwrap();
        assert!(writers.holds(&a));
        writers.roll_back_to(1).await.unwrap();
        assert!(!writers.holds(&a));
        assert!(writers.open(&b).await.is_ok());
    }

    #[tokio::test]
    async fn a_serializable_block_opens_each_store_once_for_what_it_reads_and_writes() {
        let (snapshot, asked) = stores();
        let (kept, a) = (Branches::new(&snapshot, BranchKind::Serializable(Serial::Write), None), StoreName::new("a"));
        let writers = Writers::new(&snapshot, WriteIsolation::Serializable);
        writers.has_savepoints(vec![3]);
        let branches = kept.sharing().with_writers(Arc::clone(&writers));
        let (first, second) = tokio::join!(branches.get(&a), branches.get(&a));
        assert!(Arc::ptr_eq(&first.unwrap(), &second.unwrap()));
        writers.open(&a).await.unwrap();
        assert_eq!(*asked.lock().unwrap(), ["a Serializable(Write)", "a savepoint 3"]);
        kept.finish(true).await.unwrap();
        assert_eq!(writers.take().len(), 1, "the writers end it, and nobody else");
    }

    #[tokio::test]
    async fn what_was_written_through_a_replaced_store_is_not_taken_for_kept() {
        let (snapshot, _asked) = stores();
        let writers = Writers::new(&snapshot, WriteIsolation::ReadCommitted);
        writers.open(&StoreName::new("a")).await.unwrap();
        snapshot.retired.cancel();
        let is_lost = |branch: Arc<dyn Branch>| format!("{branch:?}").starts_with("Lost");
        while !writers.get(&StoreName::new("a")).is_some_and(is_lost) {
            tokio::task::yield_now().await;
        }
        assert_eq!(writers.open(&StoreName::new("a")).await.unwrap_err().sqlstate, sqlstate::CONNECTION_FAILURE);
        let taken = writers.take();
        let (_, branch) = taken.first().unwrap();
        assert!(branch.has_written() && branch.commit().await.is_err() && branch.rollback().await.is_ok());
        assert_eq!(writers.open(&StoreName::new("b")).await.unwrap_err().sqlstate, sqlstate::CONNECTION_FAILURE);
    }
}
