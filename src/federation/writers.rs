//! The branches through which one statement or transaction block writes: one per store, opened at the first write to it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use crate::catalog::Snapshot;
use crate::error::{Diagnosis, sqlstate};
use crate::stores::connector::{ScanLimits, WriteIsolation};
use crate::stores::position::Position;
use crate::stores::{BatchStream, Branch, Connector, Purpose, Scan, StoreError, StoreName, Table};
use crate::task::OwnedTask;

/// Write branches by store. Once a store has one, everything that its statement or block reads there goes through it, so that it sees
/// its own writes.
#[derive(Debug)]
pub struct Writers {
    connectors: Arc<BTreeMap<StoreName, Arc<dyn Connector>>>,
    purpose: Purpose,
    open: Arc<Mutex<Open>>,
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
                *branch = Arc::new(Lost { store: store.clone() });
            }
        });
        let (connectors, retired) = (Arc::clone(&snapshot.connectors), snapshot.retired.clone());
        Arc::new(Self { connectors, purpose, open, retired, _watch: watch })
    }

    /// The branch for writes to `store`, opened at the first one. One that opens late gets the savepoints that are live.
    ///
    /// # Errors
    /// 0A000 when another store has been written to; what opening failed with.
    pub async fn open(&self, store: &StoreName) -> Result<Arc<dyn Branch>, Diagnosis> {
        if let Some(branch) = self.get(store) {
            return Ok(branch);
        }
        self.check_only(store)?;
        if self.retired.is_cancelled() {
            return Err(Diagnosis::of(&replaced(store)));
        }
        let Some(connector) = self.connectors.get(store) else {
            let reason = "It is no longer configured.".to_owned();
            return Err(Diagnosis::of(&StoreError::Unreachable { store: store.to_string(), reason }));
        };
        let branch = connector.open(self.purpose).await.map_err(|error| Diagnosis::of(&error))?;
        self.keep(store, branch).await
    }

    /// Takes a branch that a repeatable block has read through: what it writes must be seen there. It gets the savepoints that are live.
    ///
    /// # Errors
    /// 0A000 when another store has been written to; what setting savepoints failed with.
    pub async fn adopt(&self, store: &StoreName, branch: Arc<dyn Branch>) -> Result<(), Diagnosis> {
        if self.get(store).is_some() {
            return Ok(());
        }
        self.check_only(store)?;
        self.keep(store, branch).await.map(|_| ())
    }

    async fn keep(&self, store: &StoreName, branch: Arc<dyn Branch>) -> Result<Arc<dyn Branch>, Diagnosis> {
        let live = lock(&self.open).savepoints.clone();
        for id in live {
            // What was opened is dropped with the error, which ends it.
            branch.savepoint(id).await.map_err(|error| Diagnosis::of(&error))?;
        }
        let kept = Arc::clone(lock(&self.open).branches.entry(store.clone()).or_insert(branch));
        // The watch may have passed while the branch was opened.
        if self.retired.is_cancelled() {
            lock(&self.open).branches.remove(store);
            return Err(Diagnosis::of(&replaced(store)));
        }
        Ok(kept)
    }

    /// Several stores share no commit.
    fn check_only(&self, store: &StoreName) -> Result<(), Diagnosis> {
        let open = lock(&self.open);
        let mut others = open.branches.iter().filter(|(name, branch)| *name != store && branch.has_written());
        let Some((other, _)) = others.next() else { return Ok(()) };
        let message = format!("a transaction cannot write to several stores yet (\"{other}\", \"{store}\")");
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
        lock(&self.open).savepoints.retain(|live| *live <= id);
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
        lock(&self.open).savepoints.retain(|live| *live < id);
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
}

#[async_trait]
impl Branch for Lost {
    async fn scan(&self, _table: &Arc<Table>, _scan: &Scan, _limits: ScanLimits) -> Result<BatchStream, StoreError> {
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
        true
    }

    async fn commit(&self) -> Result<Option<Position>, StoreError> {
        Err(replaced(&self.store))
    }

    async fn rollback(&self) -> Result<(), StoreError> {
        Ok(())
    }
}
