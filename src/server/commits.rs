//! Commits over several stores, put together: the log, the coordinator over it, the recovery beside it, and the audit log.
//!
//! ```text
//! start: log opened → stores numbered, tables of ours made → (catalog, sessions) → a round of the recovery → clients
//! stop:  (sessions drained) → coordinator → recovery → log → audit log → (stores)
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use futures::future::{join_all, join3};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::{Memory, STOP_GRACE, ServerError};
use crate::catalog::{Catalog, StoreEntry};
use crate::config::{Config, environment};
use crate::error::{Diagnose as _, Diagnosis, sqlstate};
use crate::session::{Commitment, Shared, Undoing};
use crate::stores::commit::{LogId, Numbers, OwnTable, Part};
use crate::stores::{Connector, StoreName};
use crate::task::{Backoff, OwnedTask, TaskSet};
use crate::telemetry::log::Line;
use crate::telemetry::{Audit, Family};
use crate::write::coordinator::Coordinator;
use crate::write::failpoint::Points;
use crate::write::log::Journal;
use crate::write::log::group::FileLog;
use crate::write::log::table::TableLog;
use crate::write::recover::retention::Own;
use crate::write::recover::{Connectors, Recovery, Stores};

/// The name of the file with the log that this server had in a table.
const COMMIT_LOG: &str = "commit_log";
/// The variable that names the places where tests stop commits and changes.
const FAILPOINTS: &str = "TRIBUTARY_FAILPOINTS";
/// How long clients wait at most for what earlier processes have left; the rest is ended while they are served.
const FIRST_ROUND: Duration = Duration::from_secs(10);

/// The log of commits.
#[derive(Debug, Clone)]
enum Log {
    File(Arc<FileLog>),
    Table(Arc<TableLog>),
}

impl Log {
    async fn open(config: &Config, memory: &Memory) -> Result<Self, ServerError> {
        let Some(store) = &config.settings.commit_log else {
            let directory = memory.state.directory().to_owned();
            let opened = OwnedTask::spawn_blocking(move || FileLog::open(&directory)).join().await;
            let died = || ServerError::Build(Diagnosis::new(sqlstate::INTERNAL_ERROR, "the log of commits could not be opened"));
            return Ok(Self::File(Arc::new(opened.ok_or_else(died)??)));
        };
        let keeper = config.stores.iter().find(|entry| entry.name == *store);
        let ledger = keeper.and_then(|entry| entry.entry.connector.ledger());
        let nowhere = || {
            let told = format!("store \"{store}\" cannot keep the log of commits");
            ServerError::Build(Diagnosis::new(sqlstate::CONFIG_FILE_ERROR, told))
        };
        let ledger = ledger.ok_or_else(nowhere)?;
        check_files(store, memory).await?;
        let before: Option<LogId> = memory.state.read(COMMIT_LOG)?;
        let log = TableLog::open(store.as_str(), ledger, before).await;
        // While the store is away there is none, and the one of before is asked for later.
        let own = log.numbers().log();
        if log.holds(own) {
            memory.state.write(COMMIT_LOG, &own)?;
        }
        Ok(Self::Table(log))
    }

    fn journal(&self) -> Arc<dyn Journal> {
        match self {
            Self::File(log) => Arc::<FileLog>::clone(log),
            Self::Table(log) => Arc::<TableLog>::clone(log),
        }
    }

    fn table(&self) -> Option<&Arc<TableLog>> {
        match self {
            Self::File(_) => None,
            Self::Table(log) => Some(log),
        }
    }

    /// How many bytes it has on disk, where that is known.
    fn bytes(&self) -> Option<u64> {
        match self {
            Self::File(log) => Some(log.bytes()),
            Self::Table(_) => None,
        }
    }
}

/// Makes sure that nothing is open in the files, where nobody would look for it any more.
async fn check_files(store: &StoreName, memory: &Memory) -> Result<(), ServerError> {
    let directory = memory.state.directory().to_owned();
    let counted = OwnedTask::spawn_blocking(move || FileLog::count_open(&directory)).join().await;
    let died = || ServerError::Build(Diagnosis::new(sqlstate::INTERNAL_ERROR, "the log of commits could not be read"));
    match counted.ok_or_else(died)?? {
        0 => Ok(()),
        open => Err(ServerError::Build(left_in_files(store, open))),
    }
}

fn left_in_files(store: &StoreName, open: usize) -> Diagnosis {
    let message = format!("commit.log is \"{store}\", and {open} commits over several stores have not ended in the log in files");
    Diagnosis::new(sqlstate::CONFIG_FILE_ERROR, message)
        .with_detail("Their decisions are in that log, and branches that wait for them are in the stores.")
        .with_hint("Start with commit.log = \"file\" until tributary.transactions shows none of them; then change it.")
}

/// What commits need while the server runs.
#[derive(Debug)]
pub(super) struct Commits {
    log: Log,
    coordinator: Arc<Coordinator>,
    audit: Arc<Audit>,
    own: Arc<ArcSwap<Own>>,
    lock_wait: Option<Duration>,
    points: Points,
    wakes: Option<mpsc::Receiver<()>>,
    tasks: TaskSet,
}

impl Commits {
    /// Opens the log and the audit log. Stores may be away.
    ///
    /// # Errors
    /// A file that cannot be opened, or a log that is damaged.
    pub(super) async fn open(config: &Config, memory: &Memory) -> Result<Self, ServerError> {
        let audit = Audit::start(&config.settings.audit)?;
        let log = Log::open(config, memory).await?;
        // One round that was asked for is enough, however many ask.
        let (wake, wakes) = mpsc::channel(1);
        let points = points();
        let coordinator = Coordinator::new(log.journal(), Arc::default(), points.clone(), wake, Arc::clone(&audit));
        let own = Arc::new(ArcSwap::from_pointee(own_of(config.stores.iter().map(|store| &store.entry))));
        let lock_wait = config.settings.lock_wait;
        Ok(Self { log, coordinator, audit, own, lock_wait, points, wakes: Some(wakes), tasks: TaskSet::new() })
    }

    /// Gives new connectors their numbers, before they are served.
    pub(super) fn number(&self, stores: &[StoreEntry]) {
        let numbers = self.log.journal().numbers();
        stores.iter().for_each(|store| store.connector.number_with(&numbers));
    }

    /// Makes the tables of ours that store files ask for, so that discovery finds them. What cannot be made now is made later.
    pub(super) async fn install(stores: &[StoreEntry]) {
        let wanted = stores.iter().flat_map(|store| wanted(store.own).map(move |which| (Arc::clone(&store.connector), which)));
        let made = wanted.map(|(connector, which)| async move {
            if let Err(error) = connector.install(which).await {
                tracing::debug!(store = %connector.name(), error = %Line(&error.to_string()), "a table of ours is made later");
            }
        });
        if tokio::time::timeout(FIRST_ROUND, join_all(made)).await.is_err() {
            tracing::debug!("tables of ours are made later");
        }
    }

    /// What sessions commit with.
    pub(super) fn commitment(&self) -> Commitment {
        let (coordinator, audit, own) = (Arc::clone(&self.coordinator), Arc::clone(&self.audit), Arc::clone(&self.own));
        Commitment { coordinator, audit, own, lock_wait: self.lock_wait }
    }

    /// Where everybody tells what was done.
    pub(super) fn audit(&self) -> &Arc<Audit> {
        &self.audit
    }

    /// Where tests stop us.
    pub(super) fn points(&self) -> &Points {
        &self.points
    }

    /// What is told of commits over HTTP.
    pub(super) fn numbered(&self) -> Numbered {
        Numbered { log: self.log.clone(), coordinator: Arc::clone(&self.coordinator), audit: Arc::clone(&self.audit) }
    }

    /// Ends what earlier processes have left, as far as the stores answer, and goes on with the rest beside the clients.
    pub(super) async fn start(&mut self, catalog: &Arc<Catalog>, shared: &Arc<Shared>, memory: &Arc<Memory>) {
        self.coordinator.compensate_with(Undoing::of(shared));
        let served = Arc::clone(catalog);
        let stores: Stores = Arc::new(move || Arc::clone(&served.snapshot().connectors));
        let table = self.log.table().cloned();
        let recovery = Recovery::new(Arc::clone(&self.coordinator), Arc::clone(&stores), table, Arc::clone(&self.audit));
        // Stores are asked for both before clients come, so that what clients do is all that they hear of afterwards.
        let first = join3(recovery.round(), tell_cautions(stores()), make_marks(stores()));
        if tokio::time::timeout(FIRST_ROUND, first).await.is_err() {
            tracing::warn!("what earlier processes have left in the stores is ended while clients are served");
        }
        let stop = self.tasks.token();
        if let Some(wakes) = self.wakes.take() {
            self.tasks.spawn("recovery", Box::pin(Arc::clone(&recovery).run(wakes, catalog.versions(), stop.clone())));
        }
        self.tasks.spawn("retention", Box::pin(recovery.sweep(Arc::clone(&self.own), stop.clone())));
        let tables =
            Tables { catalog: Arc::clone(catalog), own: Arc::clone(&self.own), made: BTreeMap::new(), told: BTreeSet::new() };
        self.tasks.spawn("tables of ours", Box::pin(tables.run(stop.clone())));
        if let Log::Table(log) = &self.log {
            let renumbered = from_the_start(log.renumbered());
            self.tasks.spawn("numbers", renumber(renumbered, Arc::clone(memory), stores, stop));
        }
    }

    /// Serves other stores.
    pub(super) fn replace(&self, stores: &[StoreEntry]) {
        self.own.store(Arc::new(own_of(stores.iter())));
        // The log may have been replaced since they were numbered.
        self.number(stores);
    }

    /// Waits for commits under way, and writes down what is known. Sessions have ended.
    pub(super) async fn stop(&mut self) {
        self.coordinator.stop(STOP_GRACE).await;
        let aborted = self.tasks.stop(STOP_GRACE).await;
        if aborted > 0 {
            tracing::warn!(aborted, "work on commits had to be aborted");
        }
        // A store or a disk that does not answer keeps nobody waiting: what is not written is found out by the next start.
        if tokio::time::timeout(STOP_GRACE, self.coordinator.journal().close()).await.is_err() {
            tracing::warn!("the log of commits was not closed in time");
        }
        if tokio::time::timeout(STOP_GRACE, self.audit.close()).await.is_err() {
            tracing::warn!("the audit log was not closed in time");
        }
    }
}

fn own_of<'a>(stores: impl Iterator<Item = &'a StoreEntry>) -> Own {
    stores.map(|store| (store.connector.name().clone(), store.own)).collect()
}

/// The tables that a store file asks for.
fn wanted(own: crate::catalog::OwnTables) -> impl Iterator<Item = OwnTable> {
    let keys = own.keys.is_some().then_some(OwnTable::Keys);
    keys.into_iter().chain(own.outbox.then_some(OwnTable::Outbox))
}

/// Where tests stop commits, and changes on their way to their log. Nobody stops those of a release build.
fn points() -> Points {
    let Some(text) = environment::text(FAILPOINTS) else { return Points::default() };
    if !cfg!(debug_assertions) {
        tracing::warn!("{FAILPOINTS} is set, and this build does not heed it");
        return Points::default();
    }
    Points::parse(&text).unwrap_or_else(|wrong| {
        tracing::error!(wrong, "{FAILPOINTS} is not heeded");
        Points::default()
    })
}

/// What is told of commits over HTTP.
pub(super) struct Numbered {
    log: Log,
    coordinator: Arc<Coordinator>,
    audit: Arc<Audit>,
}

impl Numbered {
    /// Whether the log can be written to.
    pub(super) fn has_log(&self) -> bool {
        self.coordinator.can_commit_several().is_ok()
    }

    pub(super) fn families(&self) -> Vec<Family> {
        let shown = self.coordinator.shown();
        let counts = shown.counts().into_iter().map(|(guarantee, outcome, count)| {
            let values = [guarantee, outcome].map(str::to_owned);
            (values, count)
        });
        let in_doubt = u64::try_from(shown.in_doubt().len()).unwrap_or(u64::MAX);
        let mut families = vec![
            Family::counter(
                "tributary_commits_total",
                "Transactions that have written, by what was promised of them and how they ended.",
            )
            .by_both(["guarantee", "outcome"], counts),
            Family::gauge("tributary_in_doubt", "Prepared branches and committed steps of sagas that nobody has ended yet.")
                .is(in_doubt),
            self.audit.family(),
        ];
        let bytes = self.log.bytes();
        families.extend(
            bytes.map(|bytes| Family::gauge("tributary_commit_log_bytes", "Bytes of the log of commits on disk.").is(bytes)),
        );
        families
    }
}

/// Says once what weakens promises about stores.
async fn tell_cautions(stores: Arc<Connectors>) {
    let asked = stores.iter().map(|(store, connector)| async move { (store, connector.preflight().await) });
    for (store, found) in join_all(asked).await {
        match found {
            Ok(cautions) => {
                for caution in cautions {
                    tracing::warn!(%store, key = caution.key, mend = %Line(&caution.mend), "{}", Line(&caution.told));
                }
            }
            Err(error) => tracing::debug!(%store, error = %Line(&error.to_string()), "it is not known what weakens its promises"),
        }
    }
}

/// Makes the collection of marks where transactions that make it meet: the first two commits at once would refuse each other. Stores
/// that are away now make it with the first mark.
async fn make_marks(stores: Arc<Connectors>) {
    let made = to_be_marked(&stores).into_iter().map(|(store, connector)| async move {
        if let Err(error) = connector.install(OwnTable::Marks).await {
            tracing::debug!(%store, error = %Line(&error.to_string()), "the collection of marks is made with the first of them");
        }
    });
    join_all(made).await;
}

/// MongoDB stores that may decide over others: where only one store is written to, nothing is marked.
fn to_be_marked(stores: &Connectors) -> Vec<(&StoreName, &Arc<dyn Connector>)> {
    let written =
        || stores.iter().filter(|(_, connector)| !connector.is_read_only() && !matches!(connector.part(), Part::Alone(_)));
    let marked = written().filter(|(_, connector)| connector.kind() == "mongodb" && connector.part() == Part::Last);
    if written().count() > 1 { marked.collect() } else { Vec::new() }
}

/// The log may have been replaced after the connectors were numbered and before anybody listens: what it is now counts as news.
fn from_the_start(mut renumbered: watch::Receiver<Arc<Numbers>>) -> watch::Receiver<Arc<Numbers>> {
    renumbered.mark_changed();
    renumbered
}

/// Gives all connectors the numbers of another log whenever one was taken, and remembers which it is.
async fn renumber(mut renumbered: watch::Receiver<Arc<Numbers>>, memory: Arc<Memory>, stores: Stores, stop: CancellationToken) {
    loop {
        // Cancel-safe: numbers that are not seen here are seen the next time.
        tokio::select! {
            () = stop.cancelled() => return,
            changed = renumbered.changed() => if changed.is_err() { return },
        }
        let numbers = Arc::clone(&renumbered.borrow_and_update());
        stores().values().for_each(|connector| connector.number_with(&numbers));
        let (memory, log) = (Arc::clone(&memory), numbers.log());
        let written = OwnedTask::spawn_blocking(move || memory.state.write(COMMIT_LOG, &log)).join().await;
        if let Some(Err(error)) = written {
            tracing::warn!(error = %error, detail = error.detail(), "the log of commits is not known to the next start");
        }
    }
}

/// Makes tables of ours in stores that were away, and in those that a reload brings.
struct Tables {
    catalog: Arc<Catalog>,
    own: Arc<ArcSwap<Own>>,
    /// Connectors whose store has the table.
    made: BTreeMap<(StoreName, OwnTable), Weak<dyn Connector>>,
    /// Stores of which it was said that they have none.
    told: BTreeSet<StoreName>,
}

impl Tables {
    async fn run(mut self, stop: CancellationToken) {
        let mut versions = self.catalog.versions();
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
        loop {
            let has_all = self.make().await;
            if has_all {
                backoff.reset();
            }
            let pause = backoff.next_wait();
            // Cancel-safe: a version that is not seen here is seen the next time.
            tokio::select! {
                () = stop.cancelled() => return,
                changed = versions.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(pause), if !has_all => {}
            }
        }
    }

    /// Makes what is missing. Whether nothing is left.
    async fn make(&mut self) -> bool {
        let (own, connectors) = (self.own.load_full(), Arc::clone(&self.catalog.snapshot().connectors));
        let mut has_all = true;
        for (store, tables) in own.iter() {
            let Some(connector) = connectors.get(store) else { continue };
            for which in wanted(*tables) {
                let key = (store.clone(), which);
                let known = self.made.get(&key).and_then(Weak::upgrade);
                if known.is_some_and(|known| Arc::ptr_eq(&known, connector)) {
                    continue;
                }
                match connector.install(which).await {
                    Ok(()) => {
                        self.made.insert(key, Arc::downgrade(connector));
                        self.told.remove(store);
                        self.show(store, which).await;
                    }
                    Err(error) => {
                        has_all = false;
                        if self.told.insert(store.clone()) {
                            let (table, error) = (which.name(), error.to_string());
                            tracing::warn!(%store, table, error = %Line(&error), "a table of ours cannot be made; it is tried again");
                        }
                    }
                }
            }
        }
        has_all
    }

    /// The outbox is a table like others, once discovery has found it.
    async fn show(&self, store: &StoreName, which: OwnTable) {
        if which != OwnTable::Outbox || self.is_shown(store, which) {
            return;
        }
        if let Err(error) = self.catalog.refresh(store).await {
            tracing::debug!(%store, error = %Line(&error.message), "the outbox is shown when the store is refreshed");
        }
    }

    fn is_shown(&self, store: &StoreName, which: OwnTable) -> bool {
        let snapshot = self.catalog.snapshot();
        let mut schemas = snapshot.schemas.values().filter(|schema| schema.store.as_ref() == Some(store));
        schemas.any(|schema| schema.relations.contains_key(which.name()))
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::options::Secrets;

    struct NoSecrets;

    impl Secrets for NoSecrets {
        fn variable(&self, _name: &str) -> Option<String> {
            None
        }

        fn file(&self, _path: &str) -> Result<String, String> {
            Err("no files here".to_owned())
        }

        fn resolve(&self, path: &str) -> PathBuf {
            PathBuf::from(path)
        }
    }

    /// Stores that nobody asks for anything.
    fn connectors(files: &[(&str, &str, &str)]) -> Connectors {
        let parsed = |(name, kind, file): &(&str, &str, &str)| {
            let (name, table) = (StoreName::new(name), toml::from_str::<toml::Table>(file).unwrap());
            let connector = crate::stores::kind(kind).unwrap().parse(&name, "stores.s", &table, &NoSecrets).unwrap();
            (name, connector)
        };
        files.iter().map(parsed).collect()
    }

    #[test]
    fn marks_are_made_where_mongodb_may_decide_over_others() {
        const MONGO: &str = "uri = 'mongodb://127.0.0.1:1/shop'";
        const FILE: &str = "path = 'nowhere.db'";
        let closed = |file: &str| format!("{file}\nread_only = true");
        let (closed_mongo, closed_file) = (closed(MONGO), closed(FILE));
        let marked = |files: &[(&str, &str, &str)]| {
            let stores = connectors(files);
            to_be_marked(&stores).into_iter().map(|(store, _)| store.to_string()).collect::<Vec<_>>()
        };
        assert!(marked(&[("m", "mongodb", MONGO)]).is_empty(), "it is alone");
        assert!(marked(&[("f", "sqlite", FILE), ("g", "sqlite", FILE)]).is_empty());
        assert_eq!(marked(&[("f", "sqlite", FILE), ("m", "mongodb", MONGO)]), ["m"]);
        assert!(marked(&[("f", "sqlite", closed_file.as_str()), ("m", "mongodb", MONGO)]).is_empty());
        assert!(marked(&[("f", "sqlite", FILE), ("g", "sqlite", FILE), ("m", "mongodb", closed_mongo.as_str())]).is_empty());
    }

    #[test]
    fn a_log_that_was_replaced_before_anybody_listened_is_heard_of() {
        let numbers = |log| Arc::new(Numbers::new(LogId(log), 1));
        let sender = watch::Sender::new(numbers(1));
        sender.send_replace(numbers(2));
        let mut heard = from_the_start(sender.subscribe());
        assert!(heard.has_changed().unwrap());
        assert_eq!(heard.borrow_and_update().log(), LogId(2));
        assert!(!heard.has_changed().unwrap(), "once");
    }

    #[test]
    fn a_log_in_files_that_has_something_open_is_told_of() {
        let told = left_in_files(&StoreName::new("crm"), 2);
        assert_eq!(told.sqlstate, "F0000");
        assert!(told.message.contains("commit.log is \"crm\", and 2 commits"), "{told:?}");
        assert!(told.hint.is_some_and(|hint| hint.contains("commit.log = \"file\"")));
    }
}
