//! The branches through which one statement or transaction block writes: one per store, opened at the first write to it. A serializable
//! block reads through them too, and opens them at its first read.
//!
//! **Invariant:** what has been written can be committed together: a store that could not take part is refused at the first write to it,
//! before anything is sent there, unless the block may end as a saga.

mod lost;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::Mutex as AsyncMutex;
use tokio_util::sync::CancellationToken;

use self::lost::{Lost, replaced};
use crate::catalog::Snapshot;
use crate::error::{Diagnosis, sqlstate};
use crate::stores::commit::{self, Part};
use crate::stores::connector::WriteIsolation;
use crate::stores::lock::LockWaits;
use crate::stores::{Branch, Connector, Purpose, StoreError, StoreName};
use crate::task::OwnedTask;
use crate::telemetry::log::Line;

/// A savepoint that nobody goes back to: whether it can be set tells whether a branch is still there, and afterwards it is certain how
/// the branch takes part.
const ALIVE: u32 = u32::MAX;

/// Write branches by store. Once a store has one, everything that its statement or block reads there goes through it, so that it sees
/// its own writes.
#[derive(Debug)]
pub struct Writers {
    connectors: Arc<BTreeMap<StoreName, Arc<dyn Connector>>>,
    purpose: Purpose,
    open: Arc<Mutex<Open>>,
    /// Held while a branch is opened that scans read through: several of one statement must not open one each.
    opening: AsyncMutex<()>,
    /// Whether stores may be written to that cannot be committed together.
    may_be_saga: AtomicBool,
    waits: Mutex<LockWaits>,
    retired: CancellationToken,
    /// Lets go of what an idle transaction block holds when the stores are closed under it; there from its first branch on.
    watch: OnceLock<OwnedTask<()>>,
}

/// What is open.
#[derive(Debug, Default)]
struct Open {
    branches: BTreeMap<StoreName, Arc<dyn Branch>>,
    /// Stores in the order in which they were first asked to write.
    order: Vec<StoreName>,
    /// Live savepoints, the oldest first.
    savepoints: Vec<u32>,
    /// Stores of which rows are locked, and behind which savepoint.
    locked: BTreeMap<StoreName, Option<u32>>,
    /// Stores that the block has read through the branch that it writes through.
    seen: BTreeSet<StoreName>,
    /// What a repeatable block has read through, of stores that are written to inside the transaction of another one. As long as such a
    /// branch is open, nobody else has changed what it has seen.
    read: Vec<(StoreName, Arc<dyn Branch>)>,
}

impl Open {
    fn holds(&self, store: &StoreName) -> bool {
        self.locked.contains_key(store) || self.branches.get(store).is_some_and(|branch| branch.has_written())
    }

    /// The open branches, those first that were first asked to write.
    fn in_order(&self) -> impl Iterator<Item = (&StoreName, &Arc<dyn Branch>)> {
        let first = self.order.iter().filter_map(|store| self.branches.get_key_value(store));
        first.chain(self.branches.iter().filter(|(store, _)| !self.order.contains(store)))
    }

    /// The branch that ends that of a store: its own, or the one of which it is a part.
    fn leading<'o>(&'o self, store: &'o StoreName, branch: &'o Arc<dyn Branch>) -> (&'o StoreName, &'o Arc<dyn Branch>) {
        branch.leader().and_then(|leader| self.branches.get_key_value(leader)).unwrap_or((store, branch))
    }

    /// How those take part that hold something, each connection once.
    fn parts(&self) -> Vec<(StoreName, Part)> {
        let mut parts: Vec<(StoreName, Part)> = Vec::new();
        for (store, branch) in self.in_order().filter(|(store, _)| self.holds(store)) {
            let (leader, branch) = self.leading(store, branch);
            if !parts.iter().any(|(known, _)| known == leader) {
                parts.push((leader.clone(), branch.part()));
            }
        }
        parts
    }

    /// Whether something is held, or is about to be in `next`, in another transaction than that of a store's branch.
    fn holds_beside(&self, store: &StoreName, next: &StoreName) -> bool {
        let leader_of = |of: &StoreName| -> StoreName {
            let branch = self.branches.get(of);
            branch.and_then(|branch| branch.leader()).unwrap_or(of).clone()
        };
        let own = leader_of(store);
        leader_of(next) != own || self.parts().iter().any(|(leader, _)| *leader != own)
    }

    /// The branches in the transaction of a store's, besides its own.
    fn followers<'o>(&'o self, leader: &'o StoreName) -> impl Iterator<Item = &'o StoreName> {
        self.branches.iter().filter(move |(_, branch)| branch.leader() == Some(leader)).map(|(store, _)| store)
    }

    /// Whether the transaction of a store's branch is that of others too: it must not end before them.
    fn leads(&self, store: &StoreName) -> bool {
        self.followers(store).next().is_some()
    }

    /// Whether something is held in the transaction of a store's branch, by whomever.
    fn is_held_in(&self, leader: &StoreName) -> bool {
        self.holds(leader) || self.followers(leader).any(|store| self.holds(store))
    }

    /// All branches, those first that others follow.
    fn leaders_first(&self) -> Vec<Arc<dyn Branch>> {
        let (leaders, followers): (Vec<_>, Vec<_>) = self.branches.values().cloned().partition(|branch| branch.leader().is_none());
        leaders.into_iter().chain(followers).collect()
    }
}

impl Writers {
    /// Writers of a transaction, which open with [`Purpose::Write`].
    pub fn new(snapshot: &Snapshot, isolation: WriteIsolation) -> Arc<Self> {
        Self::opening(snapshot, Purpose::Write(isolation))
    }

    /// Writers of one statement that is one edit, which open with [`Purpose::Once`].
    pub fn once(snapshot: &Snapshot) -> Arc<Self> {
        Self::opening(snapshot, Purpose::Once)
    }

    fn opening(snapshot: &Snapshot, purpose: Purpose) -> Arc<Self> {
        let (connectors, retired) = (Arc::clone(&snapshot.connectors), snapshot.retired.clone());
        let (open, opening, may_be_saga, waits) = (Arc::default(), AsyncMutex::default(), AtomicBool::default(), Mutex::default());
        Arc::new(Self { connectors, purpose, open, opening, may_be_saga, waits, retired, watch: OnceLock::new() })
    }

    /// Begins to watch over what is open. One statement that ends by itself is never idle.
    fn watch(&self) {
        if matches!(self.purpose, Purpose::Once) {
            return;
        }
        self.watch.get_or_init(|| {
            let (watched, retired) = (Arc::clone(&self.open), self.retired.clone());
            OwnedTask::spawn(async move {
                retired.cancelled().await;
                // Dropped branches end without keeping anything; what was written must not be taken for kept.
                let mut open = lock(&watched);
                for (store, branch) in &mut open.branches {
                    *branch = Arc::new(Lost::of(store, branch));
                }
                open.read.clear();
            })
        });
    }

    /// Whether stores may be written to that cannot be committed together, because the block may end as a saga.
    pub fn may_be_saga(&self, may: bool) {
        self.may_be_saga.store(may, Ordering::Relaxed);
    }

    /// How long what is written or locked from now on waits for locks.
    pub fn wait_for_locks(&self, waits: LockWaits) {
        *self.waits.lock().unwrap_or_else(PoisonError::into_inner) = waits;
    }

    /// The same.
    pub fn waits(&self) -> LockWaits {
        *self.waits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long a store is waited for when `next` is about to be written to.
    fn wait_in(&self, open: &Open, store: &StoreName, next: &StoreName) -> Option<Duration> {
        self.waits().in_store(open.holds_beside(store, next))
    }

    /// Tells the open branches how long they wait for locks when `next` is about to be written to.
    fn tell_waits(&self, next: &StoreName) {
        let open = lock(&self.open);
        for (store, branch) in &open.branches {
            branch.wait_for_locks(self.wait_in(&open, store, next));
        }
    }

    /// The stores that could be written to.
    pub fn connectors(&self) -> &Arc<BTreeMap<StoreName, Arc<dyn Connector>>> {
        &self.connectors
    }

    /// The savepoints that are live in a block whose writers are made late, the oldest first. No branch is open yet.
    pub fn has_savepoints(&self, live: Vec<u32>) {
        lock(&self.open).savepoints = live;
    }

    /// The branch for writes to `store`, opened at the first one. One that opens late gets the savepoints that are live.
    ///
    /// # Errors
    /// 0A000 when it cannot be committed together with the stores that have been written to; what opening failed with.
    pub async fn open(&self, store: &StoreName) -> Result<Arc<dyn Branch>, Diagnosis> {
        // Whatever was open is lost then.
        if self.retired.is_cancelled() {
            return Err(Diagnosis::of(&replaced(store)));
        }
        self.tell_waits(store);
        let branch = match self.get(store) {
            // What it holds was looked at when it came to hold it.
            Some(branch) if self.holds(store) || branch.leader().is_some() => branch,
            Some(branch) => match self.check_branch(store, &branch).await? {
                Ok(()) => branch,
                Err(refused) => self.move_beside(store, branch, refused).await?,
            },
            None => self.open_first(store).await?,
        };
        self.tell_waits(store);
        let mut open = lock(&self.open);
        if !open.order.contains(store) {
            open.order.push(store.clone());
        }
        Ok(branch)
    }

    /// Opens the branch of a store that has none: inside the transaction of another one where they share it.
    async fn open_first(&self, store: &StoreName) -> Result<Arc<dyn Branch>, Diagnosis> {
        if let Some(follower) = self.beside(store).await? {
            return self.keep(store, follower).await.map_err(|error| Diagnosis::of(&error));
        }
        if let Some(connector) = self.connectors.get(store) {
            self.check(store, connector.part())?;
        }
        let branch = self.open_for(store, self.purpose).await.map_err(|error| Diagnosis::of(&error))?;
        if let Err(refused) = self.check(store, branch.part()) {
            self.drop_unwritten(store, &branch).await;
            return Err(refused);
        }
        Ok(branch)
    }

    /// Puts a branch inside the transaction of another store in the place of one that has not written and cannot be committed beside it.
    async fn move_beside(
        &self,
        store: &StoreName,
        branch: Arc<dyn Branch>,
        refused: Diagnosis,
    ) -> Result<Arc<dyn Branch>, Diagnosis> {
        {
            let open = lock(&self.open);
            // What the block has seen through it must not be read again as it is later, nor may others lose their transaction.
            if open.seen.contains(store) || open.leads(store) {
                return Err(refused);
            }
        }
        self.drop_unwritten(store, &branch).await;
        match self.beside(store).await? {
            Some(follower) => self.keep(store, follower).await.map_err(|error| Diagnosis::of(&error)),
            None => Err(refused),
        }
    }

    /// Ends a branch through which nothing has been written.
    async fn drop_unwritten(&self, store: &StoreName, branch: &Arc<dyn Branch>) {
        lock(&self.open).branches.remove(store);
        end(store, branch).await;
    }

    /// A branch of `store` inside the transaction of another one that holds something, where they share one.
    async fn beside(&self, store: &StoreName) -> Result<Option<Arc<dyn Branch>>, Diagnosis> {
        let Some(connector) = self.connectors.get(store) else { return Ok(None) };
        let leaders: Vec<Arc<dyn Branch>> = {
            let open = lock(&self.open);
            let held = open.in_order().filter(|(other, branch)| branch.leader().is_none() && open.is_held_in(other));
            held.filter(|(other, _)| *other != store).map(|(_, branch)| Arc::clone(branch)).collect()
        };
        for leader in leaders {
            match leader.beside(connector).await {
                Ok(None) => {}
                Ok(Some(follower)) => return Ok(Some(follower)),
                // They are committed one after the other then.
                Err(_) if self.may_be_saga.load(Ordering::Relaxed) => {}
                Err(error) => return Err(Diagnosis::of(&error)),
            }
        }
        Ok(None)
    }

    /// The branch whose savepoints count for another one: itself, or the one of which it is a part.
    pub fn leading(&self, branch: &Arc<dyn Branch>) -> Arc<dyn Branch> {
        let leader = branch.leader().and_then(|leader| self.get(leader));
        leader.unwrap_or_else(|| Arc::clone(branch))
    }

    /// Ends the branch of a store, whose only write has failed, and opens another one.
    ///
    /// # Errors
    /// 40001 where the block has seen or locked something through it, or others are in its transaction; as [`Writers::open`].
    pub async fn reopen(&self, store: &StoreName) -> Result<Arc<dyn Branch>, Diagnosis> {
        let (branch, is_needed) = {
            let open = lock(&self.open);
            let is_needed = open.seen.contains(store) || open.locked.contains_key(store) || open.leads(store);
            (open.branches.get(store).cloned(), is_needed)
        };
        if let Some(branch) = branch {
            if is_needed || branch.leader().is_some() {
                let message = "could not serialize access: what the transaction has seen would have to be read again";
                return Err(Diagnosis::new(sqlstate::SERIALIZATION_FAILURE, message));
            }
            self.drop_unwritten(store, &branch).await;
        }
        self.open(store).await
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

    /// The stores that have been written to, in the order in which they were first asked to, and those of which rows are locked.
    pub fn held(&self) -> Vec<StoreName> {
        let open = lock(&self.open);
        open.in_order().map(|(store, _)| store).filter(|store| open.holds(store)).cloned().collect()
    }

    /// The stores that have been written to, in the order in which they were first asked to.
    pub fn written(&self) -> Vec<StoreName> {
        let open = lock(&self.open);
        open.in_order().filter(|(_, branch)| branch.has_written()).map(|(store, _)| store.clone()).collect()
    }

    /// The stores of which a branch is open.
    pub fn opened(&self) -> Vec<Arc<dyn Connector>> {
        let open = lock(&self.open);
        open.branches.keys().filter_map(|store| self.connectors.get(store).cloned()).collect()
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
        lock(&self.open).seen.insert(store.clone());
        self.tell_waits(store);
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
        let limit = self.wait_in(&lock(&self.open), store, store);
        let branch = connector.open_waiting(purpose, limit).await?;
        self.keep(store, branch).await
    }

    /// Takes a branch that a repeatable block has read through: what it writes must be seen there. It gets the savepoints that are live.
    /// Where the store shares a transaction with one that has been written to, a branch in there takes its place, and it is kept until
    /// the end.
    ///
    /// # Errors
    /// 0A000 when it cannot be committed together with the stores that have been written to; what setting savepoints failed with, 72000
    /// among it when the store has given the branch up.
    pub async fn adopt(&self, store: &StoreName, branch: Arc<dyn Branch>) -> Result<(), Diagnosis> {
        if let Some(open) = self.get(store) {
            return if self.holds(store) || open.leader().is_some() { Ok(()) } else { self.check_branch(store, &open).await? };
        }
        let kept = match self.beside(store).await? {
            Some(follower) => {
                // The store is locked from here on. If the branch was given up before, somebody may have changed what it had seen.
                branch.savepoint(ALIVE).await.map_err(|error| Diagnosis::of(&error))?;
                lock(&self.open).read.push((store.clone(), branch));
                follower
            }
            None => {
                self.check_branch(store, &branch).await??;
                branch
            }
        };
        self.keep(store, kept).await.map_err(|error| Diagnosis::of(&error))?;
        lock(&self.open).seen.insert(store.clone());
        Ok(())
    }

    async fn keep(&self, store: &StoreName, branch: Arc<dyn Branch>) -> Result<Arc<dyn Branch>, StoreError> {
        let live = lock(&self.open).savepoints.clone();
        for id in live {
            // What was opened is dropped with the error, which ends it.
            branch.savepoint(id).await?;
        }
        let kept = Arc::clone(lock(&self.open).branches.entry(store.clone()).or_insert(branch));
        self.watch();
        // The watch may have passed while the branch was opened. Nothing has been written through it.
        if self.retired.is_cancelled() {
            lock(&self.open).branches.remove(store);
            return Err(replaced(store));
        }
        Ok(kept)
    }

    /// Whether a branch can be committed together with those that hold something. Beside one that is not prepared it has to be, and one
    /// through which a block has read may have to leave for that what it has read through, which it cannot always: it does so now, and
    /// not at its first write.
    ///
    /// # Errors
    /// What the store answered, with which the branch has failed.
    async fn check_branch(&self, store: &StoreName, branch: &Arc<dyn Branch>) -> Result<Result<(), Diagnosis>, Diagnosis> {
        let has_last = lock(&self.open).parts().iter().any(|(_, part)| *part == Part::Last);
        if has_last && branch.part() == Part::Prepared {
            branch.savepoint(ALIVE).await.map_err(|error| Diagnosis::of(&error))?;
            branch.release(ALIVE).await.map_err(|error| Diagnosis::of(&error))?;
        }
        Ok(self.check(store, branch.part()))
    }

    /// Whether a store that takes part like this can be committed together with those that hold something.
    fn check(&self, store: &StoreName, part: Part) -> Result<(), Diagnosis> {
        let parts = lock(&self.open).parts();
        // A step of a saga has a mark, which needs no less of a store than the last part of another commit.
        let mut all = parts.iter().map(|(_, part)| *part).chain([part]);
        if self.may_be_saga.load(Ordering::Relaxed) && !all.any(|part| matches!(part, Part::Alone(_))) {
            return Ok(());
        }
        let parts: Vec<(&StoreName, Part)> = parts.iter().map(|(store, part)| (store, *part)).collect();
        commit::check_together(&parts, (store, part))
    }

    /// The branch of `store`, when it is open.
    pub fn get(&self, store: &StoreName) -> Option<Arc<dyn Branch>> {
        lock(&self.open).branches.get(store).cloned()
    }

    /// Whether no branch is open.
    pub fn is_empty(&self) -> bool {
        lock(&self.open).branches.is_empty()
    }

    /// Ends what is only kept so that nobody changes what the block has read. To be called before the commit, which may have to wait for
    /// all readers: what was written is locked by then.
    pub async fn end_reads(&self) {
        let read = std::mem::take(&mut lock(&self.open).read);
        for (store, branch) in read {
            end(&store, &branch).await;
        }
    }

    /// Hands over all open branches, to be committed or rolled back, in the order in which they were first asked to write; there are no
    /// savepoints afterwards.
    pub fn take(&self) -> Vec<(StoreName, Arc<dyn Branch>)> {
        let open = std::mem::take(&mut *lock(&self.open));
        open.in_order().map(|(store, branch)| (store.clone(), Arc::clone(branch))).collect()
    }

    /// The branches in the order in which they hear of savepoints: followers take note of what was done.
    fn branches(&self) -> Vec<Arc<dyn Branch>> {
        lock(&self.open).leaders_first()
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

/// Rolls a branch back. A store that does not answer does it by itself: its connector closes the connection.
async fn end(store: &StoreName, branch: &Arc<dyn Branch>) {
    if let Err(error) = branch.rollback().await {
        tracing::warn!(%store, error = %Line(&error.to_string()), "a rollback failed");
    }
}

#[cfg(test)]
mod tests {
    use std::any::Any;

    use async_trait::async_trait;

    use crate::catalog::object::Objects;
    use crate::federation::branches::{BranchKind, Branches};
    use crate::stores::connector::{Capabilities, ScanLimits};
    use crate::stores::position::{Coverage, Position};
    use crate::stores::schema::StoreSchema;
    use crate::stores::{BatchStream, Predicate, Pushdown, Scan, Serial, Table};

    use super::*;

    /// What was asked of branches, in order.
    type Asked = Arc<Mutex<Vec<String>>>;

    #[derive(Debug)]
    struct Store {
        name: StoreName,
        asked: Asked,
        /// What it says before it is opened, and what its branches say.
        part: (Part, Part),
        /// Stores with the same number share a transaction; those with a negative one could.
        group: i8,
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
            let opened = Written::open(&self.name, &self.asked, &format!("{purpose:?}"));
            Ok(Arc::new(Written { part: self.part.1, group: self.group, ..opened }))
        }

        fn part(&self) -> Part {
            self.part.0
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
        has_written: AtomicBool,
        part: Part,
        group: i8,
        leader: Option<StoreName>,
        /// Whether its store has given it up.
        is_gone: bool,
        /// Whether it turns out that it cannot be prepared, and whether it has.
        falls_back: bool,
        has_fallen: AtomicBool,
    }

    impl Written {
        fn open(name: &StoreName, asked: &Asked, how: &str) -> Self {
            let (part, group, leader) = (Part::Alone("it is a test"), 0, None);
            let (name, asked, has_written) = (name.clone(), Arc::clone(asked), AtomicBool::new(how != "read"));
            let (is_gone, falls_back, has_fallen) = (false, false, AtomicBool::new(false));
            let written = Self { name, asked, has_written, part, group, leader, is_gone, falls_back, has_fallen };
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

        fn wait_for_locks(&self, limit: Option<Duration>) {
            if let Some(limit) = limit {
                self.note(&format!("waits {limit:?}"));
            }
        }

        async fn savepoint(&self, id: u32) -> Result<(), StoreError> {
            if self.is_gone {
                return Err(StoreError::remote(self.name.as_str(), sqlstate::SNAPSHOT_TOO_OLD, "snapshot too old".to_owned()));
            }
            if id == ALIVE {
                self.has_fallen.store(self.falls_back, Ordering::Relaxed);
                self.note("is alive");
            } else {
                self.note(&format!("savepoint {id}"));
            }
            Ok(())
        }

        async fn roll_back_to(&self, id: u32) -> Result<(), StoreError> {
            self.note(&format!("roll back to {id}"));
            self.has_written.store(false, Ordering::Relaxed);
            Ok(())
        }

        async fn release(&self, id: u32) -> Result<(), StoreError> {
            if id != ALIVE {
                self.note(&format!("release {id}"));
            }
            Ok(())
        }

        fn has_written(&self) -> bool {
            self.has_written.load(Ordering::Relaxed)
        }

        fn part(&self) -> Part {
            if self.has_fallen.load(Ordering::Relaxed) { Part::Last } else { self.part }
        }

        fn leader(&self) -> Option<&StoreName> {
            self.leader.as_ref()
        }

        async fn beside(&self, other: &Arc<dyn Connector>) -> Result<Option<Arc<dyn Branch>>, StoreError> {
            let other = (other.as_ref() as &dyn Any).downcast_ref::<Store>().unwrap();
            if self.group == 0 || self.group.abs() != other.group.abs() {
                return Ok(None);
            }
            if other.group < 0 {
                return Err(StoreError::remote(other.name.as_str(), sqlstate::FEATURE_NOT_SUPPORTED, "its journal".to_owned()));
            }
            let follower = Self::open(&other.name, &self.asked, &format!("beside {}", self.name));
            Ok(Some(Arc::new(Self { leader: Some(self.name.clone()), part: Part::Last, ..follower })))
        }

        async fn commit(&self) -> Result<Option<Position>, StoreError> {
            Ok(None)
        }

        async fn rollback(&self) -> Result<(), StoreError> {
            self.note("rollback");
            Ok(())
        }
    }

    /// Stores that are committed alone.
    fn stores() -> (Snapshot, Asked) {
        let alone = (Part::Alone("it is a test"), Part::Alone("it is a test"));
        taking_part(&[("a", alone, 0), ("b", alone, 0)])
    }

    fn taking_part(stores: &[(&str, (Part, Part), i8)]) -> (Snapshot, Asked) {
        let asked = Asked::default();
        let store = |(name, part, group): &(&str, (Part, Part), i8)| {
            let (name, asked) = (StoreName::new(name), Arc::clone(&asked));
            let connector: Arc<dyn Connector> = Arc::new(Store { name: name.clone(), asked, part: *part, group: *group });
            (name, connector)
        };
        let snapshot = Snapshot {
            version: 1,
            database: "tributary".to_owned(),
            schemas: BTreeMap::new(),
            objects: Objects::default(),
            connectors: Arc::new(stores.iter().map(store).collect()),
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
        assert_eq!(refused.message, "a transaction cannot write to store \"b\" beside \"a\"");
        let other = Arc::new(Written::open(&StoreName::new("b"), &asked, "read"));
        assert!(writers.adopt(&StoreName::new("b"), other).await.is_err());
        assert_eq!(*asked.lock().unwrap(), ["a Once", "b read"]);
    }

    /// The stores that have branches, in the order of their first writes.
    fn taken(writers: &Writers) -> Vec<String> {
        writers.take().iter().map(|(store, _)| store.to_string()).collect()
    }

    #[tokio::test]
    async fn stores_that_are_prepared_are_written_to_beside_one_that_is_not() {
        let (prepared, last) = ((Part::Prepared, Part::Prepared), (Part::Last, Part::Last));
        let (snapshot, asked) = taking_part(&[("a", last, 0), ("b", prepared, 0), ("c", last, 0), ("d", prepared, 0)]);
        let writers = Writers::new(&snapshot, WriteIsolation::ReadCommitted);
        for name in ["d", "a", "b"] {
            writers.open(&StoreName::new(name)).await.unwrap();
        }
        let refused = writers.open(&StoreName::new("c")).await.unwrap_err();
        assert_eq!((refused.sqlstate.as_str(), refused.detail.unwrap().contains("Neither \"a\" nor \"c\"")), ("0A000", true));
        assert!(!asked.lock().unwrap().iter().any(|asked| asked.starts_with("c ")), "it was opened");
        assert!(writers.open(&StoreName::new("b")).await.is_ok());
        assert_eq!(taken(&writers), ["d", "a", "b"]);
    }

    #[tokio::test]
    async fn a_transaction_that_holds_something_elsewhere_does_not_wait_for_ever() {
        let prepared = (Part::Prepared, Part::Prepared);
        let (snapshot, asked) = taking_part(&[("a", prepared, 0), ("b", prepared, 0)]);
        let writers = Writers::new(&snapshot, WriteIsolation::ReadCommitted);
        let (a, b) = (StoreName::new("a"), StoreName::new("b"));
        let together = Some(Duration::from_secs(30));
        writers.wait_for_locks(LockWaits { asked: None, together });
        writers.open(&a).await.unwrap();
        assert_eq!(*asked.lock().unwrap(), ["a Write(ReadCommitted)"], "one store sees its deadlocks itself");
        writers.open(&b).await.unwrap();
        let waits = |name: &str| {
            let asked = asked.lock().unwrap();
            asked.iter().rev().find_map(|told| told.strip_prefix(&format!("{name} waits ")).map(str::to_owned))
        };
        assert_eq!([waits("a"), waits("b")], [Some("30s".to_owned()), Some("30s".to_owned())]);
        writers.wait_for_locks(LockWaits { asked: Some(Duration::from_secs(1)), together });
        writers.open(&a).await.unwrap();
        assert_eq!([waits("a"), waits("b")], [Some("1s".to_owned()), Some("1s".to_owned())]);
    }

    #[tokio::test]
    async fn a_branch_that_takes_part_otherwise_than_its_store_said_is_let_go() {
        let (snapshot, asked) = taking_part(&[("a", (Part::Last, Part::Last), 0), ("b", (Part::Prepared, Part::Last), 0)]);
        let writers = Writers::new(&snapshot, WriteIsolation::ReadCommitted);
        writers.open(&StoreName::new("a")).await.unwrap();
        assert_eq!(writers.open(&StoreName::new("b")).await.unwrap_err().sqlstate, sqlstate::FEATURE_NOT_SUPPORTED);
        assert_eq!(asked.lock().unwrap().last().unwrap(), "b rollback");
        assert!(writers.get(&StoreName::new("b")).is_none());
        writers.may_be_saga(true);
        assert!(writers.open(&StoreName::new("b")).await.is_ok(), "a saga takes any");
    }

    #[tokio::test]
    async fn a_store_that_shares_a_transaction_is_written_to_inside_of_it() {
        let last = (Part::Last, Part::Last);
        let (snapshot, asked) = taking_part(&[("a", last, 1), ("b", last, 1), ("c", last, -1)]);
        let (a, b, c) = (StoreName::new("a"), StoreName::new("b"), StoreName::new("c"));
        let writers = Writers::new(&snapshot, WriteIsolation::ReadCommitted);
        writers.savepoint(1).await.unwrap();
        let leader = writers.open(&a).await.unwrap();
        let follower = writers.open(&b).await.unwrap();
        assert_eq!(follower.leader(), Some(&a));
        assert!(Arc::ptr_eq(&writers.leading(&follower), &leader) && Arc::ptr_eq(&writers.leading(&leader), &leader));
        assert!(Arc::ptr_eq(&writers.open(&b).await.unwrap(), &follower));
        assert_eq!(writers.open(&c).await.unwrap_err().message, "its journal");
        writers.savepoint(2).await.unwrap();
        writers.roll_back_to(1).await.unwrap();
        writers.release(1).await.unwrap();
        let told = [
            "a Write(ReadCommitted)",
            "a savepoint 1",
            "b beside a",
            "b savepoint 1",
            "a savepoint 2",
            "b savepoint 2",
            "a roll back to 1",
            "b roll back to 1",
            "a release 1",
            "b release 1",
        ];
        assert_eq!(*asked.lock().unwrap(), told, "the leader hears of savepoints first");
        assert_eq!(taken(&writers), ["a", "b"]);
    }

    /// Followers may have names before that of their leader.
    #[tokio::test]
    async fn a_leader_that_has_undone_its_writes_leads_on() {
        let last = (Part::Last, Part::Last);
        let (snapshot, asked) = taking_part(&[("a", last, 1), ("b", last, 1), ("c", last, 1), ("d", last, 0)]);
        let [a, b, c, d] = ["a", "b", "c", "d"].map(StoreName::new);
        let writers = Writers::new(&snapshot, WriteIsolation::ReadCommitted);
        writers.savepoint(1).await.unwrap();
        writers.open(&b).await.unwrap();
        writers.open(&a).await.unwrap();
        writers.roll_back_to(1).await.unwrap();
        let told = asked.lock().unwrap().clone();
        assert_eq!(told[told.len() - 2..], ["b roll back to 1", "a roll back to 1"]);
        assert!(writers.held().is_empty(), "what a follower has written is undone too");
        // Only the follower holds something now, and its leader is asked all the same.
        writers.open_to_lock(&a).await.unwrap();
        assert_eq!(writers.open(&c).await.unwrap().leader(), Some(&b));
        assert_eq!(writers.open(&d).await.unwrap_err().sqlstate, sqlstate::FEATURE_NOT_SUPPORTED);
    }

    #[tokio::test]
    async fn a_leader_is_not_dropped_under_its_followers() {
        let last = (Part::Last, Part::Last);
        let (snapshot, asked) = taking_part(&[("a", last, 1), ("b", last, 1), ("c", last, 0)]);
        let [a, b, c] = ["a", "b", "c"].map(StoreName::new);
        let writers = Writers::new(&snapshot, WriteIsolation::ReadCommitted);
        writers.savepoint(1).await.unwrap();
        let leader = writers.open(&a).await.unwrap();
        writers.open(&b).await.unwrap();
        assert_eq!(writers.reopen(&a).await.unwrap_err().sqlstate, sqlstate::SERIALIZATION_FAILURE);
        writers.roll_back_to(1).await.unwrap();
        writers.open(&c).await.unwrap();
        assert_eq!(writers.open(&a).await.unwrap_err().sqlstate, sqlstate::FEATURE_NOT_SUPPORTED);
        assert!(Arc::ptr_eq(&writers.get(&a).unwrap(), &leader));
        assert!(!asked.lock().unwrap().iter().any(|asked| asked == "a rollback"));
    }

    #[tokio::test]
    async fn what_was_read_through_a_branch_that_is_gone_is_not_written_to() {
        let last = (Part::Last, Part::Last);
        let (snapshot, asked) = taking_part(&[("a", last, 1), ("b", last, 1)]);
        let (a, b) = (StoreName::new("a"), StoreName::new("b"));
        let writers = Writers::new(&snapshot, WriteIsolation::RepeatableRead);
        writers.open(&a).await.unwrap();
        let gone = Written { is_gone: true, ..Written::open(&b, &asked, "read") };
        assert_eq!(writers.adopt(&b, Arc::new(gone)).await.unwrap_err().sqlstate, sqlstate::SNAPSHOT_TOO_OLD);
        assert!(writers.get(&b).is_none());
    }

    #[tokio::test]
    async fn what_a_block_has_read_through_and_cannot_be_prepared_is_refused_beside_another_like_it() {
        let (last, prepared) = ((Part::Last, Part::Last), (Part::Prepared, Part::Prepared));
        let (snapshot, asked) = taking_part(&[("a", last, 0), ("b", prepared, 0), ("c", prepared, 0)]);
        let (a, b, c) = (StoreName::new("a"), StoreName::new("b"), StoreName::new("c"));
        let read = |store: &StoreName, falls_back| -> Arc<dyn Branch> {
            Arc::new(Written { part: Part::Prepared, falls_back, ..Written::open(store, &asked, "read") })
        };
        // Nobody has to be prepared yet: how it takes part is known when something is written through it.
        let writers = Writers::new(&snapshot, WriteIsolation::RepeatableRead);
        let first = read(&b, true);
        writers.adopt(&b, Arc::clone(&first)).await.unwrap();
        assert_eq!((first.part(), asked.lock().unwrap().len()), (Part::Prepared, 1));
        writers.open(&a).await.unwrap();
        let refused = writers.open(&b).await.unwrap_err();
        assert_eq!((refused.sqlstate.as_str(), refused.detail.unwrap().contains("Neither \"a\" nor \"b\"")), ("0A000", true));
        assert_eq!(writers.adopt(&c, read(&c, true)).await.unwrap_err().sqlstate, "0A000");
        writers.adopt(&c, read(&c, false)).await.unwrap();
        assert!(writers.open(&c).await.is_ok());
    }

    #[tokio::test]
    async fn what_a_block_has_read_of_a_store_inside_another_transaction_is_kept_until_the_end() {
        let last = (Part::Last, Part::Last);
        let (snapshot, asked) = taking_part(&[("a", last, 1), ("b", last, 1)]);
        let (a, b) = (StoreName::new("a"), StoreName::new("b"));
        let writers = Writers::new(&snapshot, WriteIsolation::RepeatableRead);
        writers.open(&a).await.unwrap();
        writers.adopt(&b, Arc::new(Written::open(&b, &asked, "read"))).await.unwrap();
        assert_eq!(writers.get(&b).unwrap().leader(), Some(&a));
        // Whether what was read still holds is asked once nobody else can change it.
        let told = ["a Write(RepeatableRead)", "b read", "b beside a", "b is alive"];
        assert_eq!(*asked.lock().unwrap(), told);
        writers.end_reads().await;
        assert_eq!(asked.lock().unwrap().last().unwrap(), "b rollback");
        assert_eq!(taken(&writers), ["a", "b"]);
    }

    #[tokio::test]
    async fn a_branch_is_opened_again_unless_something_was_seen_through_it() {
        let (snapshot, asked) = stores();
        let writers = Writers::new(&snapshot, WriteIsolation::ReadCommitted);
        let (a, b) = (StoreName::new("a"), StoreName::new("b"));
        let first = writers.open(&a).await.unwrap();
        assert!(!Arc::ptr_eq(&writers.reopen(&a).await.unwrap(), &first));
        assert_eq!(*asked.lock().unwrap(), ["a Write(ReadCommitted)", "a rollback", "a Write(ReadCommitted)"]);
        let seen = Writers::new(&snapshot, WriteIsolation::RepeatableRead);
        seen.adopt(&b, Arc::new(Written::open(&b, &asked, "read"))).await.unwrap();
        assert_eq!(seen.reopen(&b).await.unwrap_err().sqlstate, sqlstate::SERIALIZATION_FAILURE);
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
        assert_eq!((writers.held(), writers.written()), (vec![a.clone()], Vec::new()));
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
