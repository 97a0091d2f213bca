//! From stores to snapshots: discovery at start, refresh on demand, and the return of stores that were away.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use futures::StreamExt;
use futures::future::join_all;
use futures::stream::FuturesUnordered;
use tokio::sync::{OwnedMutexGuard, watch};
use tokio_util::sync::CancellationToken;

use super::builder::Builder;
use super::cached::CachedTables;
pub use super::entry::{OwnTables, StoreEntry, ViewSource};
use super::kept::{self, Described, KeepViews, Kept, TellViews};
use super::object;
use super::oid::Oids;
use super::reach::Reach;
use super::results;
use super::snapshot::{RelationBody, RowFunction, Snapshot};
use crate::error::{Diagnose, Diagnosis, sqlstate};
use crate::pgtype::PgType;
use crate::stores::{Connector, StoreError, StoreName, StoreSchema};
use crate::task::Backoff;

/// A system relation with its place.
pub struct SystemRelation {
    /// `pg_catalog`, `information_schema` or `tributary`.
    pub schema: &'static str,
    /// Its name.
    pub name: String,
    /// Its object id; fixed ids of PostgreSQL where clients know them, else 0 to have one allocated.
    pub oid: u32,
    /// What it is made of.
    pub body: SystemBody,
}

/// What a system relation is made of.
#[derive(Clone)]
pub enum SystemBody {
    /// Rows from the snapshot.
    Rows(Arc<dyn RowFunction>),
}

/// What discovery has found of each store.
pub type Known = BTreeMap<StoreName, Result<Arc<StoreSchema>, StoreError>>;

/// Plans a view's query over a snapshot and tells its columns; the catalog itself plans nothing.
pub type DescribeView = Arc<dyn Fn(&Arc<Snapshot>, &str) -> Result<Vec<(String, PgType)>, Diagnosis> + Send + Sync>;

/// The current snapshot and all that the next one needs.
pub struct Catalog {
    current: ArcSwap<Snapshot>,
    /// The current snapshot's version, for whoever waits for the next one.
    version: watch::Sender<u64>,
    sources: Mutex<Sources>,
    /// One reload at a time, so that the last one that was asked for is the one that stays.
    reload: tokio::sync::Mutex<()>,
    /// One change of kept views at a time, with all that is looked at before it.
    pub(super) views: tokio::sync::Mutex<()>,
    /// How many snapshots were made for single transactions.
    pub(super) provisional: AtomicU64,
    /// Tables that clients have asked to be cached, or not to be.
    pub(super) cached: CachedTables,
    /// Of which queries clients have asked that results are kept.
    pub(super) results: results::Kept,
    /// Who is told of changes of kept views.
    pub(super) told_views: OnceLock<TellViews>,
}

impl std::fmt::Debug for Catalog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Catalog").field("version", &self.current.load().version).finish_non_exhaustive()
    }
}

pub(super) struct Sources {
    database: String,
    pub(super) stores: BTreeMap<StoreName, StoreEntry>,
    pub(super) views: Vec<ViewSource>,
    system: Arc<Vec<SystemRelation>>,
    pub(super) describe: Option<DescribeView>,
    /// Views that clients have made.
    pub(super) kept: Kept,
    /// Writes them.
    pub(super) keep: Option<KeepViews>,
    known: Known,
    /// Views that could not be planned when the current snapshot was built.
    pub(super) broken: BTreeMap<String, Diagnosis>,
    pub(super) oids: Oids,
    reach: Arc<Reach>,
    retired: CancellationToken,
    /// Ends the tries to discover these stores as soon as others have taken their place.
    replaced: CancellationToken,
    refreshes: BTreeMap<StoreName, Refreshes>,
}

/// Held while a store is refreshed: one refresh at a time, so that the later one is the one that stays. A store that hangs keeps
/// its own turn only.
type Turn = Arc<tokio::sync::Mutex<()>>;

/// The refreshes of one store.
#[derive(Debug, Clone, Default)]
struct Refreshes {
    turn: Turn,
    /// How many have put a new description in place.
    done: u64,
}

/// Why another catalog directory is not taken over.
#[derive(Debug)]
pub enum Refusal {
    /// Two relations or schemas would have the same name.
    Collision(Diagnosis),
    /// Views that cannot be planned and are not as they were, each with its source.
    Views(Vec<(ViewSource, Diagnosis)>),
}

/// Connectors that are served no more.
#[derive(Debug)]
pub struct Replaced {
    /// The connectors; statements may still run on them.
    pub connectors: Vec<Arc<dyn Connector>>,
    /// Ends what runs on them, to be cancelled before they are closed under it.
    pub retired: CancellationToken,
}

impl Catalog {
    /// Discovers all stores at once and builds the first snapshot. A store that fails is served as unavailable.
    ///
    /// # Errors
    /// 42710 when two relations or schemas would have the same name.
    pub async fn load(
        database: &str,
        stores: Vec<StoreEntry>,
        views: Vec<ViewSource>,
        system: Vec<SystemRelation>,
    ) -> Result<Self, Diagnosis> {
        Box::pin(Self::resume(database, stores, views, system, Oids::default())).await
    }

    /// As [`Catalog::load`], with the object ids of an earlier process.
    ///
    /// # Errors
    /// As [`Catalog::load`].
    pub async fn resume(
        database: &str,
        stores: Vec<StoreEntry>,
        views: Vec<ViewSource>,
        system: Vec<SystemRelation>,
        oids: Oids,
    ) -> Result<Self, Diagnosis> {
        let stores = by_name(stores);
        let known = discover_all(&stores).await;
        let (database, system) = (database.to_owned(), Arc::new(system));
        Self::begin(Sources { database, stores, views, system, oids, ..Sources::of(known) })
    }

    /// As [`Catalog::load`], of stores that have been discovered already.
    ///
    /// # Errors
    /// As [`Catalog::load`].
    pub fn of_known(
        database: &str,
        (stores, known): (Vec<StoreEntry>, Known),
        views: Vec<ViewSource>,
        system: Vec<SystemRelation>,
    ) -> Result<Self, Diagnosis> {
        let (database, stores, system) = (database.to_owned(), by_name(stores), Arc::new(system));
        Self::begin(Sources { database, stores, views, system, ..Sources::of(known) })
    }

    fn begin(mut sources: Sources) -> Result<Self, Diagnosis> {
        let first = build(&mut sources, 1)?;
        let (current, version) = (ArcSwap::new(first), watch::Sender::new(1));
        let (sources, reload, views) = (Mutex::new(sources), tokio::sync::Mutex::new(()), tokio::sync::Mutex::new(()));
        let (cached, results, told_views) = (CachedTables::default(), results::Kept::default(), OnceLock::new());
        Ok(Self { current, version, sources, reload, views, provisional: AtomicU64::new(0), cached, results, told_views })
    }

    /// Gives the catalog the means to tell the columns of views, and builds the next snapshot with them.
    ///
    /// # Errors
    /// As [`Catalog::load`].
    pub fn describe_views(&self, describe: DescribeView) -> Result<(), Diagnosis> {
        let mut sources = self.lock();
        sources.describe = Some(describe);
        let next = build(&mut sources, self.current.load().version + 1)?;
        self.publish(next);
        Ok(())
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Sources> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn publish(&self, next: Arc<Snapshot>) {
        let version = next.version;
        self.current.store(next);
        self.version.send_replace(version);
    }

    /// Tells of every new snapshot by its version; versions in between may be skipped.
    pub fn versions(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// The object ids of the current snapshot, and those of gone objects that may come back.
    pub fn oids(&self) -> Oids {
        self.lock().oids.clone()
    }

    /// The current snapshot.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// Replaces stores and views after the catalog directory was read again, and discovers the stores. Gives back the
    /// connectors that were served until now: statements may still run on them, and the caller closes them after those.
    ///
    /// # Errors
    /// The old snapshot stays then, and the new connectors are closed.
    pub async fn replace(&self, stores: Vec<StoreEntry>, views: Vec<ViewSource>) -> Result<Replaced, Refusal> {
        let _turn = self.reload.lock().await;
        let stores = by_name(stores);
        let refused: Vec<Arc<dyn Connector>> = connectors_of(&stores);
        let replaced = self.discover_and_take_over(stores, views).await;
        if replaced.is_err() {
            join_all(refused.iter().map(|connector| connector.close())).await;
        }
        replaced
    }

    /// A store that was refreshed while the stores were discovered may be served by a newer description than the one that was
    /// found here, and is discovered once more.
    async fn discover_and_take_over(
        &self,
        stores: BTreeMap<StoreName, StoreEntry>,
        views: Vec<ViewSource>,
    ) -> Result<Replaced, Refusal> {
        let noted = self.lock().refreshes.clone();
        let mut known = discover_all(&stores).await;
        // No refresh of a store ends while its turn is held, so each round is about other stores than those before.
        let mut turns: BTreeMap<StoreName, OwnedMutexGuard<()>> = BTreeMap::new();
        loop {
            let overtaken = {
                let sources = self.lock();
                let mut overtaken = sources.refreshed_since(&noted);
                overtaken.retain(|(store, _)| stores.contains_key(store) && !turns.contains_key(store));
                if overtaken.is_empty() {
                    return self.take_over(sources, (stores, known), views);
                }
                overtaken
            };
            let mut again = BTreeMap::new();
            for (store, turn) in overtaken {
                turns.insert(store.clone(), turn.lock_owned().await);
                let served = self.snapshot().connectors.get(&store).cloned();
                if let Some(entry) = stores.get(&store) {
                    pass_on(served.as_ref(), &entry.connector);
                    again.insert(store, entry.clone());
                }
            }
            for (store, found) in discover_all(&again).await {
                // A store that answered a moment ago and is too slow now is still known; one that is gone is not.
                let is_kept = found.as_ref().is_err_and(|error| !is_away(error)) && known.get(&store).is_some_and(Result::is_ok);
                if !is_kept {
                    known.insert(store, found);
                }
            }
        }
    }

    fn take_over(
        &self,
        mut sources: MutexGuard<'_, Sources>,
        (stores, known): (BTreeMap<StoreName, StoreEntry>, Known),
        views: Vec<ViewSource>,
    ) -> Result<Replaced, Refusal> {
        let mut next = Sources {
            database: sources.database.clone(),
            stores,
            views,
            system: Arc::clone(&sources.system),
            describe: sources.describe.clone(),
            kept: sources.kept.clone(),
            keep: sources.keep.clone(),
            oids: sources.oids.clone(),
            reach: Arc::clone(&sources.reach),
            ..Sources::of(known)
        };
        let snapshot = assemble(&mut next, self.current.load().version + 1).map_err(Refusal::Collision)?;
        let worsened = worsened(&sources, &next);
        if !worsened.is_empty() {
            return Err(Refusal::Views(worsened));
        }
        tell_broken(&BTreeMap::new(), &next.broken);
        let before = std::mem::replace(&mut *sources, next);
        self.publish(snapshot);
        sources.reach.forget();
        before.replaced.cancel();
        Ok(Replaced { connectors: connectors_of(&before.stores), retired: before.retired })
    }

    /// Discovers one store again and swaps the snapshot in. When a reload replaces the store meanwhile, the try ends at once and
    /// the answer is its successor's.
    ///
    /// # Errors
    /// 42704 for an unknown store; what the store answered, in which case its relations are unavailable from now on when
    /// it cannot be reached, and unchanged otherwise.
    pub async fn refresh(&self, store: &StoreName) -> Result<(), Diagnosis> {
        loop {
            let (entry, turn, replaced) = self.begin_refresh(store)?;
            let refresh = async {
                let _turn = turn.lock().await;
                let found = entry.discover().await.map(Arc::new);
                self.end_refresh(store, &entry, found)
            };
            // Cancel-safe: nothing is awaited between an answer and its place in the snapshot.
            let outcome = tokio::select! {
                biased;
                () = replaced.cancelled() => None,
                outcome = refresh => outcome,
            };
            if let Some(outcome) = outcome {
                return outcome;
            }
            // The reload may have read a store that answers before this call, so that one is asked again.
            if let Some(Err(error)) = self.lock().known.get(store) {
                return Err(Diagnosis::of(error));
            }
        }
    }

    /// The store with its turn, and what ends a try to discover it.
    fn begin_refresh(&self, store: &StoreName) -> Result<(StoreEntry, Turn, CancellationToken), Diagnosis> {
        let mut sources = self.lock();
        let Some(entry) = sources.stores.get(store).cloned() else {
            return Err(Diagnosis::new(sqlstate::UNDEFINED_OBJECT, format!("store \"{store}\" does not exist")));
        };
        let turn = Arc::clone(&sources.refreshes.entry(store.clone()).or_default().turn);
        Ok((entry, turn, sources.replaced.clone()))
    }

    /// Serves what was found of a store; `None` when a reload has replaced the store meanwhile.
    fn end_refresh(
        &self,
        store: &StoreName,
        entry: &StoreEntry,
        found: Result<Arc<StoreSchema>, StoreError>,
    ) -> Option<Result<(), Diagnosis>> {
        let outcome = found.as_ref().map(|_| ()).map_err(|error| Diagnosis::of(error));
        let mut sources = self.lock();
        if !sources.stores.get(store).is_some_and(|now| Arc::ptr_eq(&now.connector, &entry.connector)) {
            return None;
        }
        found.as_ref().map_or_else(|error| sources.reach.failed(store, error), |_| sources.reach.succeeded(store));
        if found.as_ref().is_err_and(|error| !is_away(error)) && matches!(sources.known.get(store), Some(Ok(_))) {
            return Some(outcome);
        }
        let before = sources.known.insert(store.clone(), found);
        match build(&mut sources, self.current.load().version + 1) {
            Ok(next) => {
                self.publish(next);
                if outcome.is_ok() {
                    sources.refreshes.entry(store.clone()).or_default().done += 1;
                }
                Some(outcome)
            }
            Err(collision) => {
                // What was served goes on; one store's new names must not keep the others from being refreshed.
                match before {
                    Some(before) => sources.known.insert(store.clone(), before),
                    None => sources.known.remove(store),
                };
                Some(Err(collision))
            }
        }
    }

    /// The stores that are away as far as is known, with the reason.
    pub fn unavailable(&self) -> Vec<(StoreName, StoreError)> {
        let snapshot = self.snapshot();
        let mut away: BTreeMap<StoreName, StoreError> =
            snapshot.connectors.keys().filter_map(|name| Some((name.clone(), snapshot.reach.away(name)?))).collect();
        away.extend(self.undiscovered());
        away.into_iter().collect()
    }

    /// As [`Catalog::unavailable`], after a look at stores that nothing has been heard of for a while; at most for `limit`.
    pub async fn unavailable_now(&self, limit: Duration) -> Vec<(StoreName, StoreError)> {
        let snapshot = self.snapshot();
        snapshot.reach.settled(&snapshot.connectors, limit).await;
        self.unavailable()
    }

    /// Looks at stores when somebody asks whether they answer, until `stop`.
    pub async fn probe(&self, stop: CancellationToken) {
        let reach = Arc::clone(&self.snapshot().reach);
        reach.probe(|| BTreeMap::clone(&self.snapshot().connectors), stop).await;
    }

    /// The stores that could not be discovered, with the reason.
    fn undiscovered(&self) -> Vec<(StoreName, StoreError)> {
        let sources = self.lock();
        sources.known.iter().filter_map(|(name, known)| known.as_ref().err().map(|error| (name.clone(), error.clone()))).collect()
    }

    /// The views that cannot be planned now, with the reason.
    pub fn broken_views(&self) -> BTreeMap<String, Diagnosis> {
        self.lock().broken.clone()
    }

    /// Tries stores that could not be discovered again, from every second to every half minute, until `stop`; those that went
    /// away later are asked for. One that hangs does not hold up the return of the others.
    pub async fn watch(&self, stop: CancellationToken) {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
        let (mut tries, mut tried) = (FuturesUnordered::new(), BTreeSet::new());
        let mut next = Box::pin(tokio::time::sleep(backoff.next_wait()));
        loop {
            // Cancel-safe: a try stays in its set, and the sleep goes on.
            tokio::select! {
                () = stop.cancelled() => return,
                Some((store, outcome)) = tries.next() => {
                    tried.remove(&store);
                    // A reload may have taken the store away meanwhile.
                    let is_served = self.snapshot().connectors.contains_key(&store);
                    if is_served && tell_return(&store, &outcome) {
                        backoff.reset();
                    }
                }
                () = &mut next => {
                    match self.unavailable().is_empty() {
                        true => backoff.reset(),
                        false => self.snapshot().reach.ask(),
                    }
                    for (store, _) in self.undiscovered() {
                        if tried.insert(store.clone()) {
                            tries.push(async move {
                                let outcome = self.refresh(&store).await;
                                (store, outcome)
                            });
                        }
                    }
                    next = Box::pin(tokio::time::sleep(backoff.next_wait()));
                }
            }
        }
    }

    /// Closes every connector.
    pub async fn close(&self) {
        let connectors: Vec<Arc<dyn Connector>> = self.snapshot().connectors.values().cloned().collect();
        join_all(connectors.iter().map(|connector| connector.close())).await;
    }
}

impl Sources {
    /// What discovery has found, and nothing else.
    fn of(known: Known) -> Self {
        Self {
            database: String::new(),
            stores: BTreeMap::new(),
            views: Vec::new(),
            system: Arc::default(),
            describe: None,
            kept: Kept::new(),
            keep: None,
            known,
            broken: BTreeMap::new(),
            oids: Oids::default(),
            reach: Arc::default(),
            retired: CancellationToken::new(),
            replaced: CancellationToken::new(),
            refreshes: BTreeMap::new(),
        }
    }

    /// The stores of which a refresh has ended well since `noted`, with their turns.
    fn refreshed_since(&self, noted: &BTreeMap<StoreName, Refreshes>) -> Vec<(StoreName, Turn)> {
        let before = |store: &StoreName| noted.get(store).map_or(0, |noted| noted.done);
        let refreshed = self.refreshes.iter().filter(|(store, now)| now.done > before(store));
        refreshed.map(|(store, now)| (store.clone(), Arc::clone(&now.turn))).collect()
    }
}

/// Gives the next connector of a store what the one that is served has learnt since the next one was made.
fn pass_on(served: Option<&Arc<dyn Connector>>, next: &Arc<dyn Connector>) {
    let learned = served.filter(|served| served.kind() == next.kind()).and_then(|served| served.learned());
    if let Some(Err(reason)) = learned.map(|learned| next.recall(&learned)) {
        tracing::warn!(store = %next.name(), reason, "what was learnt of documents is not taken over");
    }
}

fn by_name(stores: Vec<StoreEntry>) -> BTreeMap<StoreName, StoreEntry> {
    stores.into_iter().map(|entry| (entry.connector.name().clone(), entry)).collect()
}

fn connectors_of(stores: &BTreeMap<StoreName, StoreEntry>) -> Vec<Arc<dyn Connector>> {
    stores.values().map(|entry| Arc::clone(&entry.connector)).collect()
}

fn is_away(error: &StoreError) -> bool {
    matches!(error, StoreError::Unreachable { .. } | StoreError::ConnectionLost { .. })
}

/// Tells what became of a store that was away; whether it is back.
fn tell_return(store: &StoreName, outcome: &Result<(), Diagnosis>) -> bool {
    match outcome {
        Ok(()) => tracing::info!(store = %store, "store is back"),
        Err(error) if error.sqlstate.starts_with("08") => {}
        Err(error) => tracing::warn!(store = %store, error = %error, "store answers but cannot be served"),
    }
    outcome.is_ok()
}

async fn discover_all(stores: &BTreeMap<StoreName, StoreEntry>) -> Known {
    let tries = stores.iter().map(|(name, entry)| async move {
        let found = entry.discover().await;
        if let Err(error) = &found {
            // A detail of the store's own may quote a value.
            let reason = error.detail().filter(|_| !matches!(error, StoreError::Remote { .. }));
            tracing::warn!(store = %name, error = %error, reason, "store cannot be served");
        }
        (name.clone(), found.map(Arc::new))
    });
    join_all(tries).await.into_iter().collect()
}

/// The views that cannot be planned and either could be until now or have another text than until now. What is missing while a
/// store is away may be there when it is back.
fn worsened(before: &Sources, next: &Sources) -> Vec<(ViewSource, Diagnosis)> {
    let is_store_away = next.known.values().any(Result::is_err);
    let may_mend =
        |error: &Diagnosis| is_store_away && (error.sqlstate.starts_with("08") || error.sqlstate == sqlstate::UNDEFINED_TABLE);
    let was_broken = |view: &ViewSource| before.views.contains(view) && before.broken.contains_key(&view.name);
    let broken = next.views.iter().filter_map(|view| Some((view, next.broken.get(&view.name)?)));
    let worsened = broken.filter(|(view, error)| !was_broken(view) && !may_mend(error));
    worsened.map(|(view, error)| (view.clone(), error.clone())).collect()
}

/// The next snapshot; views that are newly broken are logged.
pub(super) fn build(sources: &mut Sources, version: u64) -> Result<Arc<Snapshot>, Diagnosis> {
    let before = sources.broken.clone();
    let snapshot = assemble(sources, version)?;
    tell_broken(&before, &sources.broken);
    Ok(snapshot)
}

fn tell_broken(before: &BTreeMap<String, Diagnosis>, now: &BTreeMap<String, Diagnosis>) {
    for (view, error) in now.iter().filter(|(view, error)| before.get(*view) != Some(*error)) {
        let (file, sqlstate) = (format!("views/{view}.sql"), &error.sqlstate);
        tracing::warn!(file, sqlstate, error = %error, detail = error.detail, "a view cannot be planned; it answers with this error");
    }
}

fn assemble(sources: &mut Sources, version: u64) -> Result<Arc<Snapshot>, Diagnosis> {
    let (bare, oids) = build_with(sources, version, &Described::new())?;
    let bare = Arc::new(bare);
    let (snapshot, oids, broken) =
        match sources.describe.as_ref().filter(|_| !(sources.views.is_empty() && sources.kept.is_empty())) {
            None => (bare, oids, BTreeMap::new()),
            Some(describe) => {
                let (columns, broken) = kept::describe_all(&sources.views, &sources.kept, describe, &bare);
                let (snapshot, oids) = build_with(sources, version, &columns)?;
                (Arc::new(snapshot), oids, broken)
            }
        };
    sources.oids = oids;
    sources.broken = broken;
    Ok(snapshot)
}

fn build_with(sources: &Sources, version: u64, view_columns: &Described) -> Result<(Snapshot, Oids), Diagnosis> {
    let mut builder = Builder::begin(sources.oids.clone());
    for relation in sources.system.iter() {
        builder.system(relation)?;
    }
    for view in &sources.views {
        let columns = view_columns.get(&("public".to_owned(), view.name.clone())).cloned().unwrap_or_default();
        builder.insert("public", &view.name, RelationBody::View { sql: view.sql.clone(), columns, kept: None })?;
    }
    for (name, entry) in &sources.stores {
        match sources.known.get(name) {
            Some(Ok(found)) => builder.store(name, entry, found)?,
            Some(Err(error)) => builder.away(name, entry, Diagnosis::of(error))?,
            None => {}
        }
    }
    kept::insert(&mut builder, &sources.kept, view_columns)?;
    let connectors = sources.stores.iter().map(|(name, entry)| (name.clone(), Arc::clone(&entry.connector)));
    let connectors = Arc::new(connectors.collect());
    let objects = object::derive(&builder.schemas, &mut builder.oids);
    let oids = builder.oids.into_oids(|owner| sources.stores.keys().any(|store| store.as_str() == owner));
    let (database, reach, retired) = (sources.database.clone(), Arc::clone(&sources.reach), sources.retired.clone());
    Ok((Snapshot { version, database, schemas: builder.schemas, objects, connectors, reach, retired }, oids))
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use tokio::sync::{mpsc, oneshot};

    use super::*;
    use crate::catalog::Naming;
    use crate::stores::connector::{Branch, Capabilities, Purpose};
    use crate::stores::position::{Coverage, Position};
    use crate::stores::schema::{TableId, TableKind};
    use crate::stores::{Predicate, Pushdown, Scan, Table};
    use crate::task::OwnedTask;

    /// Longer than any step takes on a busy machine.
    const PATIENCE: Duration = Duration::from_secs(60);

    type Answer = Result<StoreSchema, StoreError>;

    /// Where the discoveries of a store arrive, to be answered.
    type Questions = mpsc::Receiver<oneshot::Sender<Answer>>;

    /// A store each of whose discoveries waits for its answer.
    #[derive(Debug)]
    struct Asked {
        name: StoreName,
        questions: mpsc::Sender<oneshot::Sender<Answer>>,
    }

    #[async_trait]
    impl Connector for Asked {
        fn name(&self) -> &StoreName {
            &self.name
        }

        fn kind(&self) -> &'static str {
            "asked"
        }

        fn capabilities(&self) -> Capabilities {
            Capabilities { statement_snapshot: true, prepare: false, like: true, documents: false, cancel: false, keys_max: 0 }
        }

        async fn discover(&self) -> Answer {
            let (question, answer) = oneshot::channel();
            self.questions.send(question).await.unwrap();
            answer.await.unwrap()
        }

        async fn ping(&self) -> Result<(), StoreError> {
            Ok(())
        }

        fn pushdown(&self, _table: &Table, predicate: &Predicate) -> Pushdown {
            Pushdown::Exact(predicate.clone())
        }

        fn describe_scan(&self, _table: &Table, _scan: &Scan) -> String {
            String::new()
        }

        async fn open(&self, _purpose: Purpose) -> Result<Arc<dyn Branch>, StoreError> {
            Err(away())
        }

        fn covers(&self, _applied: &Position, _wanted: &Position) -> Coverage {
            Coverage::Incomparable
        }

        async fn close(&self) {}
    }

    fn away() -> StoreError {
        StoreError::Unreachable { store: "shop".to_owned(), reason: "nobody listens".to_owned() }
    }

    fn store(name: &str) -> (StoreEntry, Questions) {
        let (questions, asked) = mpsc::channel(1);
        let connector = Arc::new(Asked { name: StoreName::new(name), questions });
        let (naming, own) = (Naming::default(), OwnTables::default());
        (StoreEntry { connector, naming, discovery_timeout: PATIENCE * 10, own, follow: None, cached: Vec::new() }, asked)
    }

    fn holding(tables: &[&str]) -> StoreSchema {
        let table = |name: &&str| Table {
            id: TableId { namespace: "m".to_owned(), name: (*name).to_owned() },
            kind: TableKind::Table,
            columns: Vec::new(),
            primary_key: None,
            unique_keys: Vec::new(),
            foreign_keys: Vec::new(),
            checks: Vec::new(),
            indexes: Vec::new(),
            comment: None,
            row_estimate: None,
            division: None,
            schema: Table::arrow_schema(&[]),
        };
        let tables = tables.iter().map(table).map(Arc::new).collect();
        StoreSchema { default_namespace: "m".to_owned(), tables, ..StoreSchema::default() }
    }

    /// A catalog of the store `shop`, which has been discovered without a table.
    fn serving() -> (Arc<Catalog>, Questions) {
        let (shop, questions) = store("shop");
        let known = Known::from([(StoreName::new("shop"), Ok(Arc::new(holding(&[]))))]);
        let catalog = Catalog::of_known("tributary", (vec![shop], known), Vec::new(), Vec::new()).unwrap();
        (Arc::new(catalog), questions)
    }

    /// The next discovery of a store.
    async fn asked(questions: &mut Questions) -> oneshot::Sender<Answer> {
        tokio::time::timeout(PATIENCE, questions.recv()).await.expect("the store is not asked").unwrap()
    }

    async fn answer(questions: &mut Questions, answer: Answer) {
        asked(questions).await.send(answer).unwrap();
    }

    async fn end<T: Send + 'static>(task: OwnedTask<T>) -> T {
        tokio::time::timeout(PATIENCE, task.join()).await.expect("the task does not end").unwrap()
    }

    fn refreshing(catalog: &Arc<Catalog>) -> OwnedTask<Result<(), Diagnosis>> {
        let catalog = Arc::clone(catalog);
        OwnedTask::spawn(async move { catalog.refresh(&StoreName::new("shop")).await })
    }

    fn reloading(catalog: &Arc<Catalog>, stores: Vec<StoreEntry>) -> OwnedTask<Result<Replaced, Refusal>> {
        let catalog = Arc::clone(catalog);
        OwnedTask::spawn(async move { catalog.replace(stores, Vec::new()).await })
    }

    fn tables(catalog: &Catalog) -> Vec<String> {
        catalog.snapshot().schemas["shop"].relations.keys().cloned().collect()
    }

    #[tokio::test]
    async fn a_reload_puts_no_older_description_over_that_of_a_refresh() {
        let (catalog, mut served) = serving();
        let ((shop, mut of_shop), (slow, mut of_slow)) = (store("shop"), store("slow"));
        let reload = reloading(&catalog, vec![shop, slow]);
        answer(&mut of_shop, Ok(holding(&["first"]))).await;
        let waiting = asked(&mut of_slow).await;
        // The store changes, and is refreshed while the reload waits for another one.
        let refresh = refreshing(&catalog);
        answer(&mut served, Ok(holding(&["first", "second"]))).await;
        end(refresh).await.unwrap();
        assert_eq!(tables(&catalog), ["first", "second"]);
        waiting.send(Ok(holding(&[]))).unwrap();
        let again = asked(&mut of_shop).await;
        // One that is asked for now waits for the reload, and sees what it leaves.
        let late = refreshing(&catalog);
        again.send(Ok(holding(&["first", "second", "third"]))).unwrap();
        end(reload).await.unwrap();
        assert_eq!(tables(&catalog), ["first", "second", "third"]);
        answer(&mut of_shop, Ok(holding(&["fourth"]))).await;
        end(late).await.unwrap();
        assert_eq!(tables(&catalog), ["fourth"]);
        assert!(served.try_recv().is_err(), "a replaced store is asked");
    }

    #[tokio::test]
    async fn a_reload_beside_a_refresh_that_fails_or_hangs_discovers_once() {
        let (catalog, mut served) = serving();
        let ((shop, mut of_shop), (slow, mut of_slow)) = (store("shop"), store("slow"));
        let reload = reloading(&catalog, vec![shop, slow]);
        answer(&mut of_shop, Ok(holding(&["first"]))).await;
        let waiting = asked(&mut of_slow).await;
        let failing = refreshing(&catalog);
        answer(&mut served, Err(away())).await;
        assert_eq!(end(failing).await.unwrap_err().sqlstate, "08001");
        let hanging = refreshing(&catalog);
        let hangs = asked(&mut served).await;
        waiting.send(Ok(holding(&[]))).unwrap();
        end(reload).await.unwrap();
        assert_eq!(tables(&catalog), ["first"]);
        // The refresh goes on with the successor.
        answer(&mut of_shop, Ok(holding(&["second"]))).await;
        end(hanging).await.unwrap();
        assert_eq!(tables(&catalog), ["second"]);
        assert!(hangs.is_closed());
    }

    #[tokio::test]
    async fn a_refresh_of_a_store_that_a_reload_took_away_ends_at_once() {
        let (catalog, mut served) = serving();
        let refresh = refreshing(&catalog);
        let hangs = asked(&mut served).await;
        let replaced = end(reloading(&catalog, Vec::new())).await.unwrap();
        assert_eq!(end(refresh).await.unwrap_err().sqlstate, "42704");
        assert!(hangs.is_closed());
        assert_eq!(Arc::strong_count(&replaced.connectors[0]), 1, "the refresh holds a connector that is to be closed");
    }

    #[tokio::test]
    async fn a_refresh_of_a_store_whose_successor_is_away_says_so() {
        let (catalog, mut served) = serving();
        let refresh = refreshing(&catalog);
        let _hangs = asked(&mut served).await;
        let (shop, mut of_shop) = store("shop");
        let reload = reloading(&catalog, vec![shop]);
        answer(&mut of_shop, Err(away())).await;
        end(reload).await.unwrap();
        assert_eq!(end(refresh).await.unwrap_err().sqlstate, "08001");
    }
}
