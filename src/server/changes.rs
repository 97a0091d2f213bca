//! Change feeds, put together: what is followed of which store, what feeds are told of the catalog, and the hand-over of events.
//!
//! ```text
//! start:  log of changes opened → (recovery of commits) → feeds, catalog versions → feeds, hand-over
//! reload: stores replaced → feeds replaced, over the connectors of now; what stores keep that are gone is dropped over those of before
//! stop:   (sessions, commits) → hand-over → feeds → (stores)
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::join_all;
use tokio_util::sync::CancellationToken;

use super::commits::Commits;
use super::{Memory, STOP_GRACE, ServerError, entries};
use crate::catalog::{Catalog, RelationBody, Snapshot, StoreEntry};
use crate::changes::feeds::Labels;
use crate::changes::{ChangeSettings, FeedEntry, Feeds, Hook, Moment};
use crate::config::state::State;
use crate::config::{self, ChangeLog, Config, StateError};
use crate::error::{Diagnosis, sqlstate};
use crate::session::Shared;
use crate::stores::capture::{InstanceId, OwnObject};
use crate::stores::schema::TableId;
use crate::stores::{Connector, StoreName, Table};
use crate::task::{OwnedTask, TaskSet};
use crate::telemetry::log::Line;
use crate::write::failpoint::{Point, Points};
use crate::write::hand_over::{self, Handed};

/// The name of the file with the number of this instance.
const INSTANCE: &str = "instance";
/// The name of the file with how far events were handed over.
const HANDED: &str = "handed";
/// The directory of the logs, inside of the state directory.
const LOGS: &str = "changes";
/// How long a store may take to tell what of ours is in it.
const PATIENCE: Duration = Duration::from_secs(30);

/// What feeds need while the server runs.
#[derive(Debug)]
pub(super) struct Feeding {
    feeds: Arc<Feeds>,
    tasks: TaskSet,
    handing: TaskSet,
}

impl Feeding {
    /// Opens the logs of changes. No store is asked.
    ///
    /// # Errors
    /// A file that cannot be opened.
    pub(super) async fn open(config: &Config, memory: &Memory, points: &Points) -> Result<Self, ServerError> {
        let instance = instance(&memory.state)?;
        let (directory, settings) = (memory.state.directory().join(LOGS), settings(&config.settings.changes));
        let hook = hook(points.clone());
        let opened = OwnedTask::spawn_blocking(move || Feeds::open(&directory, settings, instance, hook)).join().await;
        let died = || ServerError::Build(Diagnosis::new(sqlstate::INTERNAL_ERROR, "the log of changes could not be opened"));
        Ok(Self { feeds: opened.ok_or_else(died)??, tasks: TaskSet::new(), handing: TaskSet::new() })
    }

    /// What sessions follow.
    pub(super) fn feeds(&self) -> &Arc<Feeds> {
        &self.feeds
    }

    /// Begins to follow. The recovery of commits has had its round: a slot is not made while a branch of ours is prepared.
    ///
    /// # Errors
    /// What is kept of the hand-over cannot be read.
    pub(super) fn run(
        &mut self,
        config: &Config,
        catalog: &Arc<Catalog>,
        (shared, memory): (&Arc<Shared>, &Arc<Memory>),
        commits: &Commits,
    ) -> Result<(), ServerError> {
        let stores = feed_entries(&entries(config), catalog);
        let (connectors, stop) = (connectors(&stores), self.tasks.token());
        let (refresh, stopped) = (shared.changed.clone(), stop.clone());
        // They are known before anybody can ask for them.
        self.tasks.spawn("feeds", self.feeds.run(stores, refresh, stopped));
        self.tasks.spawn("described stores", describe(Arc::clone(catalog), Arc::clone(&self.feeds), stop.clone()));
        let (who, stopped) = (self.feeds.instance(), stop.clone());
        self.tasks.spawn("objects of feeds", tell_objects(connectors, who, stop));
        let off: Vec<_> =
            config.disabled.iter().map(|store| tell_switched_off(config.directory.clone(), store.clone(), who)).collect();
        self.tasks.spawn("objects in stores that are switched off", async move {
            // Cancel-safe: nothing is changed.
            tokio::select! {
                () = stopped.cancelled() => {}
                _ = join_all(off) => {}
            }
        });
        let served = Arc::clone(catalog);
        let now = Arc::new(move || Arc::clone(&served.snapshot().connectors));
        let handed = handed(memory)?;
        let stop = self.handing.token();
        let own = commits.commitment().own;
        self.handing.spawn("hand-over", hand_over::run(Arc::clone(&self.feeds), now, own, handed, stop));
        Ok(())
    }

    /// Follows other stores, or the same ones over other connectors.
    pub(super) fn replace(&self, stores: &[StoreEntry], catalog: &Arc<Catalog>) {
        self.feeds.replace(feed_entries(stores, catalog));
    }

    /// Ends what follows, and writes down how far it came. Sessions and commits have ended.
    pub(super) async fn stop(&mut self) {
        let aborted = self.handing.stop(STOP_GRACE).await;
        if tokio::time::timeout(STOP_GRACE, self.feeds.stop()).await.is_err() {
            tracing::warn!("feeds were not closed in time: what they have not told the stores is read again by the next start");
        }
        let aborted = aborted + self.tasks.stop(STOP_GRACE).await;
        if aborted > 0 {
            tracing::warn!(aborted, "work on feeds had to be aborted");
        }
    }
}

/// Who we are to the stores. Made once; a copy of the directory is the same instance, and two of them are in each other's way.
fn instance(state: &State) -> Result<InstanceId, StateError> {
    if let Some(kept) = state.read::<String>(INSTANCE)? {
        let wrong = || state.damaged(INSTANCE, format!("\"{kept}\" is not 16 hex digits"));
        return InstanceId::parse(&kept).ok_or_else(wrong);
    }
    // Zero stands for an instance that has no number yet.
    let made = InstanceId(rand::random::<u64>().max(1));
    state.write(INSTANCE, &made.to_string())?;
    Ok(made)
}

/// The number of the instance whose directory it is, also while a server holds it; `None` before its first start.
pub fn known_instance(directory: &Path) -> Option<InstanceId> {
    State::peek::<String>(directory, INSTANCE).and_then(|text| InstanceId::parse(&text))
}

fn settings(log: &ChangeLog) -> ChangeSettings {
    ChangeSettings {
        is_durable: log.is_durable,
        log_bytes: log.log_bytes,
        log_age: log.log_age,
        memory_bytes: log.memory_bytes,
        transaction_bytes: log.transaction_bytes,
        subscriptions: log.subscriptions,
    }
}

/// The places where tests stop feeds.
fn hook(points: Points) -> Hook {
    Arc::new(move |moment: Moment| {
        let point = match moment {
            Moment::Append => Point::ChangesAppend,
            Moment::Publish => Point::ChangesPublish,
            Moment::Sync => Point::ChangesSync,
            Moment::Acknowledge => Point::ChangesAcknowledge,
        };
        let points = points.clone();
        async move { points.reached(point).await }.boxed()
    })
}

fn feed_entries(stores: &[StoreEntry], catalog: &Arc<Catalog>) -> Vec<FeedEntry> {
    let entry = |store: &StoreEntry| FeedEntry {
        connector: Arc::clone(&store.connector),
        follow: store.follow.clone(),
        outbox: store.own.outbox,
        labels: labels(catalog, store.connector.name()),
    };
    stores.iter().map(entry).collect()
}

fn connectors(stores: &[FeedEntry]) -> Vec<Arc<dyn Connector>> {
    stores.iter().map(|store| Arc::clone(&store.connector)).collect()
}

/// What the tables of a store are called in SQL, whenever that is asked.
pub(super) fn labels(catalog: &Arc<Catalog>, store: &StoreName) -> Labels {
    let (catalog, store) = (Arc::clone(catalog), store.clone());
    Arc::new(move |table: &TableId| label(&catalog.snapshot(), &store, table))
}

/// What a table of a store is called in SQL.
fn label(snapshot: &Snapshot, store: &StoreName, table: &TableId) -> Option<(String, String)> {
    let mut of_store = snapshot.schemas.values().filter(|schema| schema.store.as_ref() == Some(store));
    let schema = of_store.find(|schema| schema.namespace == table.namespace)?;
    schema.relations.contains_key(&table.name).then(|| (schema.name.clone(), table.name.clone()))
}

/// The tables of every store that has been discovered. Of one that has not, nothing is known: it need not have lost any.
pub(super) fn tables_of(snapshot: &Snapshot) -> BTreeMap<StoreName, Vec<Arc<Table>>> {
    let mut tables: BTreeMap<StoreName, Vec<Arc<Table>>> =
        snapshot.connectors.keys().map(|store| (store.clone(), Vec::new())).collect();
    for schema in snapshot.schemas.values() {
        let Some(store) = &schema.store else { continue };
        if schema.unavailable.is_some() {
            tables.remove(store);
            continue;
        }
        let stored = schema.relations.values().filter_map(|relation| match &relation.body {
            RelationBody::Stored { table, .. } => Some(Arc::clone(table)),
            RelationBody::View { .. } | RelationBody::Rows(_) => None,
        });
        if let Some(found) = tables.get_mut(store) {
            found.extend(stored);
        }
    }
    tables
}

/// Tells feeds of every discovery of their store.
async fn describe(catalog: Arc<Catalog>, feeds: Arc<Feeds>, stop: CancellationToken) {
    let mut versions = catalog.versions();
    let mut told: BTreeMap<StoreName, Vec<Arc<Table>>> = BTreeMap::new();
    loop {
        let now = tables_of(&catalog.snapshot());
        told.retain(|store, _| now.contains_key(store));
        for (store, tables) in now {
            if told.get(&store).is_some_and(|known| are_same(known, &tables)) {
                continue;
            }
            feeds.described(&store, &tables);
            told.insert(store, tables);
        }
        // Cancel-safe: a version that is not seen here is seen the next time.
        tokio::select! {
            () = stop.cancelled() => return,
            changed = versions.changed() => if changed.is_err() { return },
        }
    }
}

/// Whether both come from one discovery: the next one makes its tables anew. A store without tables is told of once.
pub(super) fn are_same(known: &[Arc<Table>], tables: &[Arc<Table>]) -> bool {
    known.len() == tables.len() && known.iter().zip(tables).all(|(known, table)| Arc::ptr_eq(known, table))
}

/// Says once what lies in the stores under the prefix of our names and serves none of our feeds. What a store that is switched off
/// keeps is told by its feed.
async fn tell_objects(connectors: Vec<Arc<dyn Connector>>, who: InstanceId, stop: CancellationToken) {
    let asked = connectors.iter().filter_map(|connector| Some((connector.name(), connector.capture()?)));
    let told = asked.map(|(store, capture)| async move {
        match tokio::time::timeout(PATIENCE, capture.objects(who)).await {
            Ok(Ok(objects)) => objects.iter().for_each(|object| tell_object(store, object, who)),
            Ok(Err(error)) => {
                tracing::debug!(%store, error = %Line(&error.to_string()), "it is not known what of ours is left there");
            }
            Err(_late) => tracing::debug!(%store, "it is not known what of ours is left there"),
        }
    });
    // Cancel-safe: nothing is changed.
    tokio::select! {
        () = stop.cancelled() => {}
        _ = join_all(told) => {}
    }
}

/// What of ours lies in a store that its file switches off; nothing where it does not any more.
///
/// # Errors
/// Why that is not known, as a clause.
pub async fn left_in(directory: &Path, store: &StoreName, who: InstanceId) -> Result<Vec<OwnObject>, String> {
    let (directory, name) = (directory.to_owned(), store.to_string());
    let read = OwnedTask::spawn_blocking(move || config::one_store(&directory, &name)).join().await;
    let (found, is_enabled) = read.ok_or_else(|| "its file could not be read".to_owned())?.map_err(|problems| {
        let first = problems.first().map(ToString::to_string).unwrap_or_default();
        format!("its file is not valid: {first}")
    })?;
    let connector = found.entry.connector;
    let Some(capture) = connector.capture().filter(|_| !is_enabled) else { return Ok(Vec::new()) };
    let asked = tokio::time::timeout(PATIENCE, capture.objects(who)).await;
    connector.close().await;
    match asked {
        Ok(objects) => objects.map_err(|error| error.to_string()),
        Err(_late) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
    }
}

/// Says once what lies in a store that is switched off: no feed removes it, and it may make the store keep its log.
async fn tell_switched_off(directory: PathBuf, store: StoreName, who: InstanceId) {
    match left_in(&directory, &store, who).await {
        Ok(objects) => {
            for object in &objects {
                if object.ours {
                    let (what, name, remove) = (object.what, Line(&object.name), Line(&object.remove));
                    tracing::warn!(%store, what, %name, %remove, "left in a store that is switched off");
                }
                tell_object(&store, object, who);
            }
        }
        Err(reason) => tracing::debug!(%store, reason = %Line(&reason), "it is not known what of ours is left there"),
    }
}

fn tell_object(store: &StoreName, object: &OwnObject, who: InstanceId) {
    if object.ours {
        return;
    }
    let (what, name, remove) = (object.what, object.name.as_str(), Line(&object.remove));
    if InstanceId::parse_object(name).is_some_and(|(instance, _)| instance == who) {
        tracing::warn!(%store, what, name, %remove, "left by a store of this server that has another name now");
    } else {
        tracing::debug!(%store, what, name, %remove, "of another server");
    }
}

/// How far events were handed over, and how that is kept.
fn handed(memory: &Arc<Memory>) -> Result<Handed, StateError> {
    let places = memory.state.read(HANDED)?.unwrap_or_default();
    let memory = Arc::clone(memory);
    let keep = move |places: &BTreeMap<StoreName, String>| memory.state.write(HANDED, places).map_err(|error| error.to_string());
    Ok(Handed { places, keep: Arc::new(keep) })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::catalog::Relation;
    use crate::catalog::snapshot::Schema;

    fn schema(name: &str, store: Option<&str>, tables: &[&str]) -> Schema {
        let relation = |table: &&str| {
            let table = Arc::new(Table::plain("main", table, Vec::new()));
            let (name, body) = (table.id.name.clone(), RelationBody::Stored { store: StoreName::new("shop"), table });
            (name.clone(), Arc::new(Relation { oid: 1, schema: String::new(), name, body }))
        };
        Schema {
            name: name.to_owned(),
            oid: 1,
            store: store.map(StoreName::new),
            namespace: "main".to_owned(),
            relations: tables.iter().map(relation).collect(),
            unavailable: None,
        }
    }

    fn snapshot(schemas: Vec<Schema>) -> Snapshot {
        Snapshot {
            version: 1,
            database: String::new(),
            schemas: schemas.into_iter().map(|schema| (schema.name.clone(), schema)).collect(),
            objects: crate::catalog::object::Objects::default(),
            connectors: Arc::new(BTreeMap::new()),
            reach: Arc::default(),
            retired: CancellationToken::new(),
        }
    }

    #[test]
    fn tables_are_called_as_their_schema_says() {
        let shop = StoreName::new("shop");
        let snapshot = snapshot(vec![schema("goods", Some("shop"), &["orders"]), schema("public", None, &["orders"])]);
        let id = |namespace: &str, name: &str| TableId { namespace: namespace.to_owned(), name: name.to_owned() };
        let expected = Some(("goods".to_owned(), "orders".to_owned()));
        assert_eq!(label(&snapshot, &shop, &id("main", "orders")), expected);
        assert_eq!(label(&snapshot, &shop, &id("main", "tributary_outbox")), None);
        assert_eq!(label(&snapshot, &shop, &id("other", "orders")), None);
        assert_eq!(label(&snapshot, &StoreName::new("crm"), &id("main", "orders")), None);
    }

    #[test]
    fn an_instance_keeps_its_number() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(known_instance(directory.path()), None);
        let state = State::open(directory.path()).unwrap();
        let made = instance(&state).unwrap();
        assert_eq!(instance(&state).unwrap(), made);
        assert_eq!(known_instance(directory.path()), Some(made));
        state.write(INSTANCE, &"x").unwrap();
        assert!(matches!(instance(&state), Err(StateError::Damaged { .. })));
        assert_eq!(known_instance(directory.path()), None);
    }

    #[test]
    fn two_discoveries_are_told_apart() {
        let table = || Arc::new(Table::plain("main", "t", Vec::new()));
        let (one, other) = (vec![table()], vec![table()]);
        assert!(are_same(&one, &one.clone()) && are_same(&[], &[]));
        assert!(!are_same(&one, &other) && !are_same(&one, &[]));
    }

    #[tokio::test]
    async fn every_moment_has_its_place() {
        let hook = hook(Points::parse("changes_sync=pause:50ms").unwrap());
        let began = std::time::Instant::now();
        for moment in [Moment::Append, Moment::Publish, Moment::Acknowledge] {
            hook(moment).await;
        }
        assert!(began.elapsed() < Duration::from_millis(40));
        hook(Moment::Sync).await;
        assert!(began.elapsed() >= Duration::from_millis(50));
    }
}
