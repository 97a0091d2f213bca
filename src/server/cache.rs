//! Copies of tables, put together: which tables are to be cached, what keeps some of them back, and who is told of it.
//!
//! ```text
//! start, a discovery, a reload: snapshot + files of stores ─┐
//! ALTER TABLE … SET (tributary.cached) → kept in .state ────┼→ entries → Caches
//! tables that materialized views read ──────────────────────┘
//! stop:  (sessions, commits) → copies → (feeds)
//! ```
//!
//! What is told here of a table holds until one of those changes. Whether its feed follows it is asked by who loads it, each time.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::changes::{are_same, labels, tables_of};
use super::{Memory, STOP_GRACE, ServerError, entries};
use crate::cache::results::ResultSettings;
use crate::cache::{CacheEntry, CacheSettings, Caches, Rule};
use crate::catalog::cached::{Asked, KeptCached};
use crate::catalog::results::KeptRules;
use crate::catalog::{Catalog, Snapshot, StoreEntry};
use crate::changes::Feeds;
use crate::config::{Config, CopyBounds, State, environment};
use crate::error::Diagnosis;
use crate::federation::copy;
use crate::stores::capture::{Follow, TablePattern};
use crate::stores::schema::TableId;
use crate::stores::{Connector, StoreName, Table};
use crate::task::TaskSet;
use crate::views::Views;

/// The name of the file with the tables that clients have asked to be cached, or not to be.
const CACHED: &str = "cached";

/// The variable with the rule of reads that a test leaves out.
const WITHOUT: &str = "TRIBUTARY_WITHOUT_RULE";

/// The name of the file with the queries whose results are kept.
const RESULTS: &str = "results";

/// What copies need while the server runs.
#[derive(Debug)]
pub(super) struct Caching {
    caches: Arc<Caches>,
    entries: Arc<Entries>,
    tasks: TaskSet,
}

impl Caching {
    /// Takes over what clients have asked of an earlier process. Nothing is loaded.
    ///
    /// # Errors
    /// What is kept cannot be read.
    pub(super) fn open(
        config: &Config,
        catalog: &Arc<Catalog>,
        feeds: &Arc<Feeds>,
        memory: &Arc<Memory>,
    ) -> Result<Self, ServerError> {
        let kept: Vec<KeptCached> = memory.state.read(CACHED)?.unwrap_or_default();
        let (memory, to) = (Arc::clone(memory), Arc::clone(memory));
        let keep = move |kept: &[KeptCached]| to.state.write(CACHED, &kept).map_err(|error| Diagnosis::of(&error));
        catalog.keep_cached(kept, Arc::new(keep));
        let rules: KeptRules = memory.state.read(RESULTS)?.unwrap_or_default();
        let to = Arc::clone(&memory);
        let keep = move |rules: &KeptRules| to.state.write(RESULTS, rules).map_err(|error| Diagnosis::of(&error));
        catalog.keep_results(rules, Arc::new(keep));
        let caches = Caches::new(Arc::clone(feeds), settings(&config.settings.cache));
        let stores = entries(config);
        let entries = Arc::new(Entries::new(&caches, catalog, &stores));
        // The catalog is held by what it tells.
        let told = Arc::downgrade(&entries);
        catalog.tell_cached(Arc::new(move || {
            if let Some(entries) = told.upgrade() {
                entries.renew();
            }
        }));
        Ok(Self { caches, entries, tasks: TaskSet::new() })
    }

    /// Caches the tables that these views read, too. Told once, before anything runs.
    pub(super) fn read_by(&self, views: &Arc<Views>) {
        // Who comes second changes nothing.
        let _ = self.entries.views.set(Arc::clone(views));
    }

    /// What sessions read.
    pub(super) fn caches(&self) -> &Arc<Caches> {
        &self.caches
    }

    /// Begins to load and to follow. The feeds know their stores.
    pub(super) fn run(&mut self) {
        // Before the first look at the catalog, so that no version is missed.
        let versions = self.entries.catalog.versions();
        self.entries.renew();
        let stop = self.tasks.token();
        self.tasks.spawn("copies", self.caches.run(stop.clone()));
        self.tasks.spawn("cached tables", follow(Arc::clone(&self.entries), versions, stop));
    }

    /// Caches the tables of other stores, or of the same ones under other files.
    pub(super) fn replace(&self, stores: &[StoreEntry]) {
        self.entries.replace(stores);
    }

    /// Ends what loads and follows. Sessions and commits have ended.
    pub(super) async fn stop(&mut self) {
        let aborted = self.tasks.stop(STOP_GRACE).await;
        if aborted > 0 {
            tracing::warn!(aborted, "work on copies of tables had to be aborted");
        }
    }
}

/// The rule that a test has us leave out. A release build leaves out none.
fn without() -> Option<Rule> {
    let rule = environment::text(WITHOUT).filter(|_| cfg!(debug_assertions)).and_then(|word| Rule::of_word(&word));
    if let Some(rule) = rule {
        tracing::error!(?rule, "{WITHOUT} has reads break a rule");
    }
    rule
}

fn settings(bounds: &CopyBounds) -> CacheSettings {
    let CopyBounds { memory_bytes, wait, look, audit, audit_rows, results_bytes } = *bounds;
    let results = ResultSettings { memory_bytes: results_bytes, wait, ..ResultSettings::default() };
    let without = without();
    let results = ResultSettings { without, ..results };
    CacheSettings { memory_bytes, wait, look, audit, audit_rows, results, without, ..CacheSettings::default() }
}

/// Looks at every new version of the catalog, and whenever views read other tables.
async fn follow(entries: Arc<Entries>, mut versions: watch::Receiver<u64>, stop: CancellationToken) {
    let mut wanted = entries.views.get().map(|views| views.wanted());
    // What views have come to want before this is looked at too.
    entries.renew();
    loop {
        let others = async {
            match &mut wanted {
                Some(wanted) => wanted.changed().await,
                None => std::future::pending().await,
            }
        };
        // Cancel-safe: a version that is not seen here is seen the next time.
        tokio::select! {
            () = stop.cancelled() => return,
            changed = versions.changed() => if changed.is_err() { return },
            changed = others => if changed.is_err() { return },
        }
        entries.renew();
    }
}

/// What the file of a store says of copies.
#[derive(Debug, Clone, Default)]
struct Filed {
    follow: Option<Follow>,
    cached: Vec<TablePattern>,
}

impl Filed {
    fn of(store: &StoreEntry) -> Self {
        Self { follow: store.follow.clone(), cached: store.cached.clone() }
    }
}

/// What is wanted of one store.
#[derive(Debug)]
struct Wanted {
    connector: Arc<dyn Connector>,
    tables: Vec<Arc<Table>>,
    kept_back: Vec<(TableId, String)>,
}

impl Wanted {
    fn is(&self, other: &Self) -> bool {
        let is_connector = Arc::ptr_eq(&self.connector, &other.connector);
        is_connector && are_same(&self.tables, &other.tables) && self.kept_back == other.kept_back
    }
}

/// What copies are told of, and where it comes from.
#[derive(Debug)]
struct Entries {
    caches: Arc<Caches>,
    catalog: Arc<Catalog>,
    /// The views whose tables are cached for them.
    views: OnceLock<Arc<Views>>,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    files: BTreeMap<StoreName, Filed>,
    /// What was discovered last. A store that is away keeps its tables: its copies go on when it is back.
    tables: BTreeMap<StoreName, Vec<Arc<Table>>>,
    /// What was told last.
    told: Vec<Wanted>,
}

impl Entries {
    fn new(caches: &Arc<Caches>, catalog: &Arc<Catalog>, stores: &[StoreEntry]) -> Self {
        let known = Known { files: files(stores), ..Known::default() };
        Self { caches: Arc::clone(caches), catalog: Arc::clone(catalog), views: OnceLock::new(), known: Mutex::new(known) }
    }

    fn replace(&self, stores: &[StoreEntry]) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).files = files(stores);
        self.renew();
    }

    /// Tells what is wanted now, where that is something else than before. Whoever comes last tells what is so then.
    fn renew(&self) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let snapshot = self.catalog.snapshot();
        known.look(&snapshot);
        let inputs = self.views.get().map(|views| views.inputs()).unwrap_or_default();
        let wanted = known.wanted(&snapshot, (&self.catalog.asked_cached(), &inputs));
        let is_same = wanted.len() == known.told.len() && wanted.iter().zip(&known.told).all(|(now, before)| now.is(before));
        if !is_same {
            self.caches.replace(wanted.iter().map(|wanted| self.entry(wanted)).collect());
            known.told = wanted;
        }
    }

    fn entry(&self, wanted: &Wanted) -> CacheEntry {
        CacheEntry {
            connector: Arc::clone(&wanted.connector),
            tables: wanted.tables.clone(),
            kept_back: wanted.kept_back.clone(),
            labels: labels(&self.catalog, wanted.connector.name()),
        }
    }
}

impl Known {
    fn look(&mut self, snapshot: &Snapshot) {
        self.tables.retain(|store, _| snapshot.connectors.contains_key(store));
        self.tables.extend(tables_of(snapshot));
    }

    fn wanted(&self, snapshot: &Snapshot, (asked, inputs): (&Asked, &Inputs)) -> Vec<Wanted> {
        let of_store = |(store, tables): (&StoreName, &Vec<Arc<Table>>)| {
            let connector = Arc::clone(snapshot.connectors.get(store)?);
            let filed = self.files.get(store).cloned().unwrap_or_default();
            let (tables, kept_back) = judge(store, &filed, tables, (asked, inputs.get(store)));
            let is_any = !(tables.is_empty() && kept_back.is_empty());
            is_any.then_some(Wanted { connector, tables, kept_back })
        };
        self.tables.iter().filter_map(of_store).collect()
    }
}

fn files(stores: &[StoreEntry]) -> BTreeMap<StoreName, Filed> {
    stores.iter().map(|store| (store.connector.name().clone(), Filed::of(store))).collect()
}

/// The tables that are to be cached, and those that are kept from it, each with the reason as a clause.
type Judgement = (Vec<Arc<Table>>, Vec<(TableId, String)>);

/// The tables of stores that materialized views read.
type Inputs = BTreeMap<StoreName, BTreeSet<TableId>>;

fn judge(
    store: &StoreName,
    filed: &Filed,
    tables: &[Arc<Table>],
    (asked, inputs): (&Asked, Option<&BTreeSet<TableId>>),
) -> Judgement {
    let (mut wanted, mut kept_back) = Judgement::default();
    // As though its file named them: what a client has said of a single table comes before it.
    let is_read = |id: &TableId| inputs.is_some_and(|inputs| inputs.contains(id)) && !asked.refuses(store, id);
    for table in tables.iter().filter(|table| asked.wants(store, &table.id, &filed.cached) || is_read(&table.id)) {
        match refusal(store, filed.follow.as_ref(), table) {
            Some(reason) => kept_back.push((table.id.clone(), reason)),
            None => wanted.push(Arc::clone(table)),
        }
    }
    (wanted, kept_back)
}

/// Why a table is never cached as long as files and tables are as they are.
fn refusal(store: &StoreName, follow: Option<&Follow>, table: &Table) -> Option<String> {
    match follow {
        None => Some(format!("the file of store \"{store}\" asks for no feed of changes")),
        Some(follow) if !follow.wants(&table.id) => Some(format!("changes.tables in the file of store \"{store}\" leaves it out")),
        Some(_) => copy::refusal(table),
    }
}

/// What clients have asked for under a configuration, also while a server holds its directory.
///
/// # Errors
/// It cannot be read.
pub fn asked_cached(directory: &Path) -> Result<Asked, Diagnosis> {
    let kept: Option<Vec<KeptCached>> = State::of(directory, CACHED).map_err(|error| Diagnosis::of(&error))?;
    Ok(Asked::of(kept.unwrap_or_default()))
}

/// Which of the tables of a store would be cached as far as its feed follows them, and which would not, each with the reason as a clause.
pub fn judge_cached(store: &StoreEntry, tables: &[Arc<Table>], asked: &Asked) -> Judgement {
    judge(store.connector.name(), &Filed::of(store), tables, (asked, None))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::stores::capture::How;

    fn patterns(texts: &[&str]) -> Vec<TablePattern> {
        texts.iter().map(|text| TablePattern::parse(text).unwrap()).collect()
    }

    fn follow_but(except: &[&str]) -> Follow {
        Follow {
            how: How::Log,
            only: patterns(&["*"]),
            except: patterns(except),
            max_retained: 1 << 30,
            poll: Duration::from_millis(20),
            publication: None,
            server_id: None,
        }
    }

    fn kept(name: &str, cached: bool) -> KeptCached {
        let table = TableId { namespace: "main".to_owned(), name: name.to_owned() };
        KeptCached { store: "shop".to_owned(), table, cached }
    }

    /// The names of the tables that are cached, and the reasons of those that are not.
    fn judged(filed: &Filed, asked: Vec<KeptCached>, tables: &[&str]) -> (Vec<String>, Vec<String>) {
        let tables: Vec<Arc<Table>> = tables.iter().map(|name| Arc::new(Table::plain("main", name, Vec::new()))).collect();
        let (wanted, kept_back) = judge(&StoreName::new("shop"), filed, &tables, (&Asked::of(asked), None));
        let names = wanted.iter().map(|table| table.id.name.clone()).collect();
        (names, kept_back.into_iter().map(|(table, reason)| format!("{}: {reason}", table.name)).collect())
    }

    #[test]
    fn the_defaults_of_the_file_are_those_of_copies() {
        let defaults = CacheSettings::default();
        let (wait, look, audit) = (Duration::from_millis(30), Duration::from_secs(1), Duration::from_secs(10));
        let bounds = CopyBounds { memory_bytes: 256 << 20, wait, look, audit, audit_rows: 256, results_bytes: 64 << 20 };
        assert_eq!(settings(&bounds), defaults);
    }

    #[test]
    fn files_ask_by_patterns_and_clients_for_single_tables() {
        let filed = Filed { follow: Some(follow_but(&[])), cached: patterns(&["main.o*"]) };
        let tables = ["orders", "old", "notes", "tributary_outbox"];
        assert_eq!(judged(&filed, Vec::new(), &tables).0, ["orders", "old"]);
        assert_eq!(judged(&filed, vec![kept("old", false), kept("notes", true)], &tables).0, ["orders", "notes"]);
        assert_eq!(judged(&Filed { cached: Vec::new(), ..filed }, Vec::new(), &tables), (Vec::new(), Vec::new()));
    }

    #[test]
    fn tables_that_views_read_are_cached_unless_a_client_has_said_otherwise() {
        let filed = Filed { follow: Some(follow_but(&[])), cached: Vec::new() };
        let tables: Vec<Arc<Table>> =
            ["orders", "old", "notes"].iter().map(|name| Arc::new(Table::plain("main", name, Vec::new()))).collect();
        let inputs: BTreeSet<TableId> = tables.iter().take(2).map(|table| table.id.clone()).collect();
        let asked = Asked::of(vec![kept("old", false)]);
        let (wanted, _) = judge(&StoreName::new("shop"), &filed, &tables, (&asked, Some(&inputs)));
        assert_eq!(wanted.iter().map(|table| table.id.name.as_str()).collect::<Vec<_>>(), ["orders"]);
    }

    #[test]
    fn what_keeps_a_table_back_is_told() {
        let asked = || vec![kept("orders", true)];
        let (names, reasons) = judged(&Filed::default(), asked(), &["orders", "notes"]);
        assert_eq!(reasons, ["orders: the file of store \"shop\" asks for no feed of changes"]);
        assert!(names.is_empty());
        let filed = Filed { follow: Some(follow_but(&["orders"])), cached: patterns(&["notes"]) };
        let (names, reasons) = judged(&filed, asked(), &["orders", "notes"]);
        assert_eq!(names, ["notes"]);
        assert_eq!(reasons, ["orders: changes.tables in the file of store \"shop\" leaves it out"]);
    }

    #[test]
    fn what_clients_have_asked_for_is_read_without_the_server() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(asked_cached(directory.path()).unwrap(), Asked::default());
        let state = State::open(directory.path()).unwrap();
        state.write(CACHED, &vec![kept("orders", true)]).unwrap();
        assert_eq!(asked_cached(directory.path()).unwrap(), Asked::of(vec![kept("orders", true)]));
        state.write(CACHED, &"x").unwrap();
        assert_eq!(asked_cached(directory.path()).unwrap_err().sqlstate, "58000");
    }
}
