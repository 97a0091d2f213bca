//! Assembles the rooms, starts them, drains and stops them: the only place that knows all of them.
//!
//! ```text
//! Config → HTTP (starting) → log of commits → connectors, engine, catalog (discovered) → what is left ended → feeds → copies → views → wire listener → HTTP (serving)
//! SIGHUP → read the catalog directory again → roles, stores and views swapped; sessions go on, replaced stores drain
//! SIGTERM → stop listening → drain sessions → wait for commits → end views, copies, feeds → close stores
//! ```

mod cache;
mod changes;
mod commits;
mod memory;
mod observed;
mod reloads;
mod views;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use rand::distr::{Alphanumeric, SampleString};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use self::cache::Caching;
pub use self::cache::{asked_cached, judge_cached};
use self::changes::Feeding;
pub use self::changes::{known_instance, left_in};
use self::commits::Commits;
use self::memory::{Memory, keep, keep_learned};
use self::observed::{Observed, Running, start_http};
use self::reloads::{Changes, Files};
use self::views::Viewing;
use crate::address::{self, BindError};
use crate::catalog::discover::{Refusal, SystemRelation, ViewSource};
use crate::catalog::kept::KeptView;
use crate::catalog::{Catalog, Known, Replaced, Snapshot, StoreEntry, system};
use crate::config::state::State;
use crate::config::{self, Config, Settings};
use crate::error::{Diagnose, Diagnosis, sqlstate};
use crate::federation::engine::{Engine, Limits as EngineLimits};
use crate::federation::plan::{self, Setting};
use crate::options::{Problem, Secret};
use crate::session::Shared;
use crate::session::role::Roles;
use crate::session::views::ServedViews;
use crate::stores::{Connector, StoreName};
use crate::task::{Backoff, TaskSet};
use crate::telemetry;
use crate::telemetry::audit::{Audit, AuditError};
use crate::wire::{self, Listener};
use crate::write::log::file::LogError;

/// How long background work may take to end after the sessions have.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// Reloads whose replaced connectors may wait to be looked at.
const REPLACED_MAX: usize = 16;

/// What keeps the server from starting.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The catalog directory is not valid.
    #[error("the catalog directory has {} problem(s)", .0.len())]
    Config(Vec<Problem>),
    /// The state directory cannot be used.
    #[error(transparent)]
    State(#[from] config::state::StateError),
    /// The engine or catalog cannot be built.
    #[error("{}", .0.message)]
    Build(Diagnosis),
    /// An address or a certificate cannot be used.
    #[error(transparent)]
    Wire(#[from] wire::WireError),
    /// The HTTP address cannot be used.
    #[error(transparent)]
    Http(#[from] telemetry::HttpError),
    /// The log of commits cannot be used.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The log of changes cannot be used.
    #[error(transparent)]
    Changes(#[from] crate::changes::LogError),
    /// The audit log cannot be used.
    #[error(transparent)]
    Audit(#[from] AuditError),
}

impl Diagnose for ServerError {
    fn sqlstate(&self) -> &str {
        match self {
            Self::Config(_) => sqlstate::CONFIG_FILE_ERROR,
            Self::State(error) => error.sqlstate(),
            Self::Build(error) => error.sqlstate(),
            Self::Wire(error) => error.sqlstate(),
            Self::Http(error) => error.sqlstate(),
            Self::Log(error) => error.sqlstate(),
            Self::Changes(error) => error.sqlstate(),
            Self::Audit(error) => error.sqlstate(),
        }
    }

    fn detail(&self) -> Option<String> {
        match self {
            Self::Config(_) => None,
            Self::State(error) => error.detail(),
            Self::Build(error) => error.detail(),
            Self::Wire(error) => error.detail(),
            Self::Http(error) => error.detail(),
            Self::Log(error) => error.detail(),
            Self::Changes(error) => error.detail(),
            Self::Audit(error) => error.detail(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Config(_) => None,
            Self::State(error) => error.hint(),
            Self::Build(error) => error.hint(),
            Self::Wire(error) => error.hint(),
            Self::Http(error) => error.hint(),
            Self::Log(error) => error.hint(),
            Self::Changes(error) => error.hint(),
            Self::Audit(error) => error.hint(),
        }
    }
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    directory: PathBuf,
    /// What the server started with.
    settings: Settings,
    catalog: Arc<Catalog>,
    roles: Arc<ArcSwap<Roles>>,
    /// What is served, as far as files say it.
    files: ArcSwap<Files>,
    addresses: Vec<SocketAddr>,
    http: Option<SocketAddr>,
    shutdown: CancellationToken,
    tasks: TaskSet,
    /// Connectors that a reload has replaced. A full queue makes the next reload wait.
    replaced: mpsc::Sender<Replaced>,
    /// What is decided over several stores, and what is told of that.
    commits: Commits,
    /// What follows changes of the stores.
    feeding: Feeding,
    /// What keeps copies of tables.
    caching: Caching,
    /// What keeps the rows of materialized views.
    viewing: Viewing,
    /// Held for as long as the server runs, so that no second one uses the same directory.
    memory: Arc<Memory>,
}

impl Server {
    /// Starts serving a checked configuration. Stores that cannot be reached are served as unavailable.
    ///
    /// # Errors
    /// See [`ServerError`].
    pub async fn start(config: Config) -> Result<Self, ServerError> {
        let state = State::open(&config.directory)?;
        let (shutdown, mut tasks) = (CancellationToken::new(), TaskSet::new());
        let observed = Arc::new(Observed { shutdown: shutdown.clone(), running: OnceLock::new() });
        // Before anything that waits for stores, so that whoever watches the server can tell a slow start from none.
        let http = start_http(&config, &observed, &mut tasks)?;
        state.write(LISTENING, &http.into_iter().collect::<Vec<_>>())?;
        let engine = Engine::new(&engine_limits(&config, &state)).map_err(ServerError::Build)?;
        let relations: Vec<SystemRelation> = system::relations();
        let mock_seed = mock_seed(&state)?;
        let memory = Arc::new(Memory::open(state)?);
        let mut commits = Box::pin(Commits::open(&config, &memory)).await?;
        let mut feeding = Feeding::open(&config, &memory, commits.points()).await?;
        let (stores, oids) = (memory.recall(entries(&config))?, memory.oids());
        commits.number(&stores);
        Box::pin(Commits::install(&stores)).await;
        let catalog = Catalog::resume(&config.settings.database, stores, config.views.clone(), relations, oids);
        let catalog = Box::pin(catalog).await.map_err(ServerError::Build)?;
        let catalog = Arc::new(catalog);
        describe_views(&catalog, &engine).map_err(ServerError::Build)?;
        keep_views(&catalog, &memory)?;
        memory.keep(&catalog)?;
        let roles = Arc::new(ArcSwap::from_pointee(config.settings.roles.clone()));
        let steps = Arc::clone(engine.steps());
        let (commitment, feeds) = (commits.commitment(), Arc::clone(feeding.feeds()));
        let mut caching = Caching::open(&config, &catalog, &feeds, &memory)?;
        let caches = Arc::clone(caching.caches());
        let mut viewing = Viewing::open(&catalog, &engine, &caches);
        caching.read_by(viewing.views());
        let views = Arc::clone(viewing.views());
        let kept = (Arc::clone(&caches), ServedViews::new(Arc::clone(&views)));
        let (shared, reports) = Shared::new(Arc::clone(&catalog), engine, Arc::clone(&roles), commitment, Arc::clone(&feeds), kept);
        let shared = Arc::new(shared);
        let listener = Listener::bind(wire_settings(&config, &roles, (mock_seed, commits.audit())))?;
        let addresses = listener.local_addresses();
        memory.state.write(LISTENING, &addresses.iter().copied().chain(http).collect::<Vec<_>>())?;
        Box::pin(commits.start(&catalog, &shared, &memory)).await;
        feeding.run(&config, &catalog, (&shared, &memory), &commits)?;
        caching.run();
        viewing.run();
        let (counts, reads) = (listener.counts(), Arc::clone(&shared.reads));
        let (served, commits_of) = (Arc::clone(&catalog), commits.numbered());
        let running = Running { catalog: served, counts, reads, steps, commits: commits_of, feeds, caches, views };
        tasks.spawn("listener", listener.run(shared, shutdown.clone()));
        // Set once, here: nobody else has the cell.
        let _ = observed.running.set(running);
        let replaced = look_after(&catalog, &memory, (reports, config.settings.limits.drain_grace), &mut tasks);
        let files = ArcSwap::from_pointee(Files::of(&config));
        let Config { directory, settings, .. } = config;
        Ok(Self {
            directory,
            settings,
            catalog,
            roles,
            files,
            addresses,
            http,
            shutdown,
            tasks,
            replaced,
            commits,
            feeding,
            caching,
            viewing,
            memory,
        })
    }

    /// Where the Postgres protocol is served.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Where health and metrics are told.
    pub fn http_address(&self) -> Option<SocketAddr> {
        self.http
    }

    /// What exists.
    pub fn catalog(&self) -> &Arc<Catalog> {
        &self.catalog
    }

    /// Reads the catalog directory again. Roles, stores and views change, all of them or none. Gives back the keys that
    /// differ from those the server started with and take effect at its next start. A view that cannot be planned, and could be
    /// until now or has another text, keeps everything as it was. The connections of the stores as they
    /// were end with the statements that run on them, at the latest after the drain time.
    ///
    /// # Errors
    /// Every problem found; the running configuration stays then.
    pub async fn reload(&self) -> Result<Vec<&'static str>, ServerError> {
        let (roles, stores, files) = (self.roles.load_full(), self.store_names(), self.files.load_full());
        let outcome = Box::pin(self.read_again()).await;
        let changes = outcome.as_ref().map(|keys| {
            let changes = Changes::of_roles(&roles, &self.roles.load()).and_stores(&stores, &self.store_names(), keys);
            changes.and_files(&files, &self.files.load())
        });
        reloads::tell_reload(self.commits.audit(), changes).await;
        outcome
    }

    async fn read_again(&self) -> Result<Vec<&'static str>, ServerError> {
        let config = config::load(&self.directory).map_err(ServerError::Config)?;
        // The new connectors start from what the old ones have learnt.
        keep(&self.memory, &self.catalog).await;
        let stores = self.memory.recall(entries(&config))?;
        self.commits.number(&stores);
        let replaced = self.catalog.replace(stores, config.views.clone()).await.map_err(refused)?;
        // Nothing can fail any more, and nothing is waited for between the swaps.
        self.roles.store(Arc::new(config.settings.roles.clone()));
        self.files.store(Arc::new(Files::of(&config)));
        self.commits.replace(&entries(&config));
        self.feeding.replace(&entries(&config), &self.catalog);
        self.caching.replace(&entries(&config));
        // Nobody receives any more when the server is stopping, which ends all connections.
        self.replaced.send(replaced).await.ok();
        Ok(self.settings.needing_restart(&config.settings))
    }

    fn store_names(&self) -> BTreeSet<StoreName> {
        self.catalog.snapshot().connectors.keys().cloned().collect()
    }

    /// Stops listening, lets running statements end within the drain time, then closes the stores.
    pub async fn stop(mut self) {
        self.shutdown.cancel();
        let aborted = self.tasks.stop(self.settings.limits.drain_grace + STOP_GRACE).await;
        if aborted > 0 {
            tracing::warn!(aborted, "background work had to be aborted");
        }
        self.commits.stop().await;
        self.viewing.stop().await;
        self.caching.stop().await;
        self.feeding.stop().await;
        keep(&self.memory, &self.catalog).await;
        self.catalog.close().await;
    }
}

/// Starts what goes on beside the sessions. Gives where replaced connectors are sent to be closed.
fn look_after(
    catalog: &Arc<Catalog>,
    memory: &Arc<Memory>,
    (reports, grace): (mpsc::Receiver<StoreName>, Duration),
    tasks: &mut TaskSet,
) -> mpsc::Sender<Replaced> {
    let (watched, stop) = (Arc::clone(catalog), tasks.token());
    tasks.spawn("away stores", async move { watched.watch(stop).await });
    let (probed, stop) = (Arc::clone(catalog), tasks.token());
    tasks.spawn("asked stores", async move { probed.probe(stop).await });
    tasks.spawn("changed stores", refresh_reported(Arc::clone(catalog), reports, tasks.token()));
    tasks.spawn("memory", keep_learned(Arc::clone(memory), Arc::clone(catalog), tasks.token()));
    let (replaced, retired) = mpsc::channel(REPLACED_MAX);
    tasks.spawn("replaced stores", close_replaced(retired, grace, tasks.token()));
    replaced
}

/// The name of the file with the views that clients have made.
const VIEWS: &str = "views";
/// The name of the file with the addresses that are served.
const LISTENING: &str = "listening";

/// A view that cannot be planned is a problem of the directory, as it is to `tributary check`.
fn refused(refusal: Refusal) -> ServerError {
    let views = match refusal {
        Refusal::Collision(diagnosis) => return ServerError::Build(diagnosis),
        Refusal::Views(views) => views,
    };
    let problem = |(view, error): (ViewSource, Diagnosis)| {
        let place = error.position.map(|position| view.line_and_column(position));
        let place = place.map(|(line, column)| format!(", line {line}, column {column}")).unwrap_or_default();
        let detail = error.detail.as_ref().map(|detail| format!(": {detail}")).unwrap_or_default();
        let rule = format!("{}{detail} ({})", error.message, error.sqlstate);
        Problem { path: format!("views/{}.sql{place}", view.name), value: String::new(), rule }
    };
    ServerError::Config(views.into_iter().map(problem).collect())
}

/// The catalog asks the engine for the columns of views, which it cannot plan itself.
fn describe_views(catalog: &Catalog, engine: &Engine) -> Result<(), Diagnosis> {
    let engine = engine.clone();
    let describe = move |snapshot: &Arc<Snapshot>, sql: &str| {
        let setting = Setting::of_server(Arc::clone(snapshot));
        let columns = plan::describe(&engine, &setting, sql)?;
        Ok(columns.into_iter().map(|column| (column.name, column.pg_type)).collect())
    };
    catalog.describe_views(Arc::new(describe))
}

/// Gives the catalog the views that clients have made, and the means to keep them.
fn keep_views(catalog: &Catalog, memory: &Arc<Memory>) -> Result<(), ServerError> {
    let views: Vec<KeptView> = memory.state.read(VIEWS)?.unwrap_or_default();
    let memory = Arc::clone(memory);
    let keep = move |views: &[&KeptView]| memory.state.write(VIEWS, &views).map_err(|error| Diagnosis::of(&error));
    catalog.keep_views(views, Arc::new(keep)).map_err(ServerError::Build)
}

/// Views that cannot be planned, with the reasons.
#[derive(Debug)]
pub struct BrokenViews {
    /// Those of the catalog directory, by name.
    pub filed: BTreeMap<String, Diagnosis>,
    /// Those that clients have made, by schema and name.
    pub of_clients: Vec<(String, Diagnosis)>,
}

/// The views of a configuration, and those that clients have made under it, that cannot be planned over what its stores answered.
///
/// # Errors
/// What keeps the catalog from being built at all: 42710 when two schemas would have the same name; views that cannot be read.
pub fn broken_views(config: &Config, known: Known) -> Result<BrokenViews, Diagnosis> {
    let engine = Engine::new(&EngineLimits::default())?;
    let stores = (entries(config), known);
    let catalog = Catalog::of_known(&config.settings.database, stores, config.views.clone(), system::relations())?;
    let views: Option<Vec<KeptView>> = State::of(&config.directory, VIEWS).map_err(|error| Diagnosis::of(&error))?;
    let keep = |_: &[&KeptView]| -> Result<(), Diagnosis> {
        Err(Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, "nothing is changed by a check"))
    };
    catalog.keep_views(views.unwrap_or_default(), Arc::new(keep))?;
    describe_views(&catalog, &engine)?;
    Ok(BrokenViews { filed: catalog.broken_views(), of_clients: catalog.broken_of_clients() })
}

/// Refreshes stores that statements found changed. A store that is reported during its own refresh may have changed after it
/// was read, and is refreshed once more; one that hangs does not hold up the others.
async fn refresh_reported(catalog: Arc<Catalog>, mut reports: mpsc::Receiver<StoreName>, stop: CancellationToken) {
    let (mut refreshes, mut running, mut again) = (FuturesUnordered::new(), BTreeSet::new(), BTreeSet::new());
    loop {
        // Cancel-safe: `recv` loses no message when it is dropped, and a refresh stays in its set.
        let due = tokio::select! {
            () = stop.cancelled() => return,
            report = reports.recv() => match report {
                Some(store) if running.contains(&store) => {
                    again.insert(store);
                    continue;
                }
                Some(store) => store,
                None => return,
            },
            Some(store) = refreshes.next() => {
                running.remove(&store);
                if !again.remove(&store) {
                    continue;
                }
                store
            }
        };
        running.insert(due.clone());
        let catalog = Arc::clone(&catalog);
        refreshes.push(async move {
            match catalog.refresh(&due).await {
                Ok(()) => tracing::info!(store = %due, "refreshed after a change of its schema"),
                Err(error) => tracing::warn!(store = %due, error = %error, "refresh failed"),
            }
            due
        });
    }
}

/// Closes replaced connectors, each as soon as nothing runs on it. When the server stops, those left have the drain time too.
async fn close_replaced(mut replaced: mpsc::Receiver<Replaced>, grace: Duration, stop: CancellationToken) {
    let mut retiring = FuturesUnordered::new();
    loop {
        // Cancel-safe: `recv` loses no message, and a connector that retires stays in its set.
        tokio::select! {
            () = stop.cancelled() => break,
            more = replaced.recv() => match more {
                Some(Replaced { connectors, retired }) => {
                    retiring.extend(connectors.into_iter().map(|connector| retire(connector, retired.clone(), grace)));
                }
                None => break,
            },
            Some(()) = retiring.next() => {}
        }
    }
    while retiring.next().await.is_some() {}
}

/// Waits until no statement, snapshot or block holds the connector, at most for `grace`, then closes it. Plans of prepared
/// statements do not hold it.
async fn retire(connector: Arc<dyn Connector>, retired: CancellationToken, grace: Duration) {
    let mut backoff = Backoff::new(Duration::from_millis(20), Duration::from_secs(1));
    let unused = async {
        while Arc::strong_count(&connector) > 1 {
            tokio::time::sleep(backoff.next_wait()).await;
        }
    };
    if tokio::time::timeout(grace, unused).await.is_err() {
        tracing::warn!(store = %connector.name(), "a replaced store is closed under what still uses it");
        retired.cancel();
    }
    connector.close().await;
}

fn entries(config: &Config) -> Vec<StoreEntry> {
    config.stores.iter().map(|store| store.entry.clone()).collect()
}

fn engine_limits(config: &Config, state: &State) -> EngineLimits {
    let limits = &config.settings.limits;
    EngineLimits {
        memory_bytes: usize::try_from(limits.query_memory_bytes).unwrap_or(usize::MAX),
        spill_directory: Some(state.spill_directory()),
        spill_bytes: limits.spill_bytes,
        batch_rows: limits.batch_rows,
        partitions: std::thread::available_parallelism().map_or(2, std::num::NonZeroUsize::get),
        ranges: limits.scan_ranges,
    }
}

/// What would keep a valid configuration from being served on this machine now: certificates that cannot be used, addresses
/// that cannot be listened on. Those that a server of the same directory listens on are free to its successor. Must be called
/// inside the runtime.
pub fn obstacles(config: &Config) -> Vec<ServerError> {
    let settings = &config.settings;
    let listen = settings.listen.iter().map(|&address| (address, "listen"));
    let wanted = listen.chain(settings.http.map(|address| (address, "http.listen")));
    let mut taken: Vec<BindError> = wanted.filter_map(|(address, key)| address::try_out(address, key).err()).collect();
    // Asked only now: looking whether the lock is held would be in the way of a server that starts at this moment.
    if !taken.is_empty() {
        let own: Vec<SocketAddr> = State::of_holder(&config.directory, LISTENING).unwrap_or_default();
        taken.retain(|refused| !own.contains(&refused.address));
    }
    let tls = tls_settings(config).and_then(|tls| tls.try_out().err());
    tls.into_iter().chain(taken.into_iter().map(wire::WireError::from)).map(ServerError::from).collect()
}

/// The seed of made-up verifiers is kept, so that a restart does not tell which roles exist.
fn mock_seed(state: &State) -> Result<Secret, ServerError> {
    if let Some(seed) = state.read::<String>("mock_seed")? {
        return Ok(Secret::new(seed));
    }
    let seed = Alphanumeric.sample_string(&mut rand::rng(), 32);
    state.write("mock_seed", &seed)?;
    Ok(Secret::new(seed))
}

fn wire_settings(config: &Config, roles: &Arc<ArcSwap<Roles>>, (mock_seed, audit): (Secret, &Arc<Audit>)) -> wire::Settings {
    let settings = &config.settings;
    let limits = &settings.limits;
    wire::Settings {
        listen: settings.listen.clone(),
        tls: tls_settings(config),
        trust: settings.trust,
        roles: Arc::clone(roles),
        mock_seed,
        audit: Arc::clone(audit),
        limits: wire::Limits {
            max_connections: limits.max_connections,
            startup_timeout: limits.startup_timeout,
            startup_message_max: usize::try_from(limits.startup_message_bytes).unwrap_or(usize::MAX),
            message_max: usize::try_from(limits.message_bytes).unwrap_or(usize::MAX),
            max_handshakes: limits.max_handshakes,
            idle_timeout: limits.idle_timeout,
            idle_in_transaction_timeout: limits.idle_in_transaction_timeout,
            drain_grace: limits.drain_grace,
        },
    }
}

fn tls_settings(config: &Config) -> Option<wire::TlsSettings> {
    config.settings.tls.as_ref().map(|tls| wire::TlsSettings {
        certificate: tls.certificate.clone(),
        key: tls.key.clone(),
        client_ca: tls.client_ca.clone(),
        required: tls.required,
    })
}
