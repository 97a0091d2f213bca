//! The store file's options and the driver's client made from them.
//!
//! The driver pools connections per server, watches the topology and reconnects by itself; this file bounds it and gives
//! every wait a deadline. The client is made on first use, because parsing a store file must not touch the network.

mod control;
mod streams;

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mongodb::bson::{Document, doc};
use mongodb::event::EventHandler;
use mongodb::event::cmap::CmapEvent;
use mongodb::options::{
    ClientOptions, ConnectionString, Credential, ReadPreference, SelectionCriteria, ServerAddress, Tls, TlsOptions, WriteConcern,
};
use mongodb::{Client, Database};
use tokio::sync::OnceCell;

use super::error::Context;
use crate::options::{Form, OptionSpec, Reader, Secret};
use crate::stores::StoreError;
use crate::stores::connector::PoolUse;
use crate::telemetry::metrics::Count;

/// The most connections to one server that a file may ask for.
const POOL_SIZE_MAX: i64 = 1_000;
/// How much longer than the server's own deadline (`maxTimeMS`) we wait for its answer.
const ANSWER_GRACE: Duration = Duration::from_secs(5);

const fn option(key: &'static str, form: Form, default: &'static str, meaning: &'static str) -> OptionSpec {
    OptionSpec { key, form, default: Some(default), meaning }
}

/// The keys of a store file with `kind = "mongodb"`.
pub(super) const OPTIONS: &[OptionSpec] = &[
    option(
        "uri",
        Form::Secret,
        "",
        "Connection string; instead of hosts, user, password, auth_source, replica_set and tls. \
         Its maxPoolSize, maxIdleTimeMS, connectTimeoutMS and serverSelectionTimeoutMS count where the file does not set pool.size, \
         pool.idle_timeout, connect_timeout and server_selection_timeout; its appName, read preference and concerns never do.",
    ),
    option("hosts", Form::Texts, "", "Servers as host:port; localhost:27017 when neither hosts nor uri is given."),
    option("user", Form::Text, "", "User name; no authentication when absent."),
    option("password", Form::Secret, "", "Password of the user."),
    option("auth_source", Form::Text, "", "Database that holds the user; admin when absent."),
    option("replica_set", Form::Text, "", "Name of the replica set; absent for a standalone server or mongos."),
    option("direct", Form::Bool, "false", "Talk to the one server given and do not look for the others of its replica set."),
    option(
        "tls.mode",
        Form::Choice(&["off", "on"]),
        "off",
        "Whether connections are encrypted and the server's certificate checked.",
    ),
    option("tls.ca_file", Form::Path, "", "PEM file of the authorities trusted; the Mozilla list when absent."),
    option("tls.cert_key_file", Form::Path, "", "PEM file with our certificate and key, for servers that ask for one."),
    option(
        "database",
        Form::Text,
        "",
        "Database whose collections appear under the store's own name; that of the uri when absent.",
    ),
    option("databases", Form::Texts, "", "The only databases to look at besides the default one; all when absent."),
    option("sample", Form::Integer(0, 100_000), "1000", "Documents drawn at random from each collection to infer its columns."),
    option(
        "on_mismatch",
        Form::Choice(&["error", "null", "text"]),
        "error",
        "What becomes of a value that does not fit its column: an error, NULL, or its extended JSON in text columns (an error elsewhere).",
    ),
    option("doc_column", Form::Bool, "false", "Whether each collection has a column _doc with the whole document as json."),
    option("pool.size", Form::Integer(1, POOL_SIZE_MAX), "10", "Most connections to one server."),
    option("pool.idle_timeout", Form::Duration, "10m", "An unused connection is closed after this time."),
    option("connect_timeout", Form::Duration, "10s", "Longest wait for a TCP or TLS connection."),
    option("server_selection_timeout", Form::Duration, "10s", "Longest wait for a server that can answer."),
    option("query_timeout", Form::Duration, "10m", "Longest time one command may take in the server (maxTimeMS)."),
    option("read_only", Form::Bool, "false", "Whether writes to the store are refused."),
    option("collections", Form::Table, "", "Declared columns or JSON schema of collections, one table each."),
];

/// How to reach the deployment.
#[derive(Debug, Clone)]
enum Target {
    Uri(Secret),
    Parts(Box<Parts>),
}

#[derive(Debug, Clone)]
struct Parts {
    hosts: Vec<ServerAddress>,
    user: Option<String>,
    password: Option<Secret>,
    auth_source: Option<String>,
    replica_set: Option<String>,
    direct: bool,
    tls: Option<(Option<PathBuf>, Option<PathBuf>)>,
}

/// What a store file says about connections.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    target: Target,
    /// The default namespace.
    pub(super) database: String,
    /// The key that names it.
    database_key: &'static str,
    databases: Vec<String>,
    limits: Limits,
    query_timeout: Duration,
    read_only: bool,
}

/// The limits that a uri may set as well; a key of the file comes before it.
#[derive(Debug, Clone, Copy)]
struct Limits {
    pool_size: u32,
    idle_timeout: Duration,
    connect_timeout: Duration,
    selection_timeout: Duration,
}

impl Limits {
    fn read(reader: &mut Reader<'_>, uri: Option<&ConnectionString>) -> Self {
        let mut limits = Self {
            pool_size: u32::try_from(reader.count("pool.size")).unwrap_or(1),
            idle_timeout: reader.duration("pool.idle_timeout"),
            connect_timeout: positive(reader, "connect_timeout"),
            selection_timeout: positive(reader, "server_selection_timeout"),
        };
        let Some(uri) = uri else { return limits };
        if let Some(size) = uri.max_pool_size.filter(|size| *size != 0 && !reader.is_set("pool.size")) {
            if !(1..=POOL_SIZE_MAX).contains(&i64::from(size)) {
                reader.problem("uri", "", format!("maxPoolSize {size} is not in 1..={POOL_SIZE_MAX}"));
            }
            limits.pool_size = size;
        }
        if let Some(idle) = uri.max_idle_time.filter(|_| !reader.is_set("pool.idle_timeout")) {
            limits.idle_timeout = idle;
        }
        let waits = [
            ("connect_timeout", uri.connect_timeout, &mut limits.connect_timeout),
            ("server_selection_timeout", uri.server_selection_timeout, &mut limits.selection_timeout),
        ];
        for (key, given, limit) in waits {
            // To the driver 0 is no limit, which the file's own stands for.
            let Some(given) = given.filter(|given| !given.is_zero() && !reader.is_set(key)) else { continue };
            *limit = given;
        }
        limits
    }
}

impl Settings {
    /// Reads the connection keys; problems stay in `reader`.
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let uri = reader.secret("uri");
        let of_uri = uri.as_ref().and_then(|uri| check_uri(uri, reader));
        let limits = Limits::read(reader, of_uri.as_ref());
        let given = reader.optional_text("database");
        let database_key = if given.is_none() && of_uri.is_some() { "uri" } else { "database" };
        let database = given.or(of_uri.and_then(|parsed| parsed.default_database));
        if database.is_none() {
            reader.problem("database", "", "is required unless the uri names one".to_owned());
        }
        let target = match uri {
            Some(uri) => Target::Uri(uri),
            None => Target::Parts(Box::new(read_parts(reader))),
        };
        Self {
            target,
            database: database.unwrap_or_default(),
            database_key,
            databases: reader.texts("databases"),
            limits,
            query_timeout: positive(reader, "query_timeout"),
            read_only: reader.bool("read_only"),
        }
    }

    async fn client_options(&self) -> mongodb::error::Result<ClientOptions> {
        let mut options = match &self.target {
            Target::Uri(uri) => ClientOptions::parse(uri.expose()).await?,
            Target::Parts(parts) => parts.client_options(),
        };
        options.app_name = Some("tributary".to_owned());
        options.max_pool_size = Some(self.limits.pool_size);
        options.max_idle_time = Some(self.limits.idle_timeout);
        options.connect_timeout = Some(self.limits.connect_timeout);
        options.server_selection_timeout = Some(self.limits.selection_timeout);
        options.write_concern = Some(WriteConcern::majority());
        // The driver keeps a read concern that is already set instead of asking for the session's snapshot, and answers
        // would then not belong to one state. Secondaries may lag behind a client's own writes.
        options.read_concern = None;
        options.selection_criteria = Some(SelectionCriteria::ReadPreference(ReadPreference::Primary));
        Ok(options)
    }
}

impl Parts {
    fn client_options(&self) -> ClientOptions {
        let mut options = ClientOptions::builder().hosts(self.hosts.clone()).build();
        options.repl_set_name = self.replica_set.clone();
        options.direct_connection = self.direct.then_some(true);
        if let Some(user) = &self.user {
            let mut credential = Credential::default();
            credential.username = Some(user.clone());
            credential.password = self.password.as_ref().map(|password| password.expose().to_owned());
            credential.source = self.auth_source.clone();
            options.credential = Some(credential);
        }
        if let Some((ca_file, cert_key_file)) = &self.tls {
            let mut tls = TlsOptions::default();
            tls.ca_file_path = ca_file.clone();
            tls.cert_key_file_path = cert_key_file.clone();
            options.tls = Some(Tls::Enabled(tls));
        }
        options
    }
}

fn read_parts(reader: &mut Reader<'_>) -> Parts {
    let mut texts = reader.texts("hosts");
    if texts.is_empty() {
        texts.push("localhost:27017".to_owned());
    }
    let mut hosts = Vec::with_capacity(texts.len());
    for text in &texts {
        match ServerAddress::parse(text) {
            Ok(address) => hosts.push(address),
            // A connection string in the wrong place would show its password.
            Err(_) if text.contains('@') => reader.problem("hosts", "(hidden)", "is not host:port".to_owned()),
            Err(_) => reader.problem("hosts", &format!("\"{text}\""), "is not host:port".to_owned()),
        }
    }
    let user = reader.optional_text("user");
    let password = reader.secret("password");
    if user.is_some() != password.is_some() {
        reader.problem("password", "", "goes with user: give both or neither".to_owned());
    }
    let tls = (reader.text("tls.mode") == "on").then(|| (reader.path("tls.ca_file"), reader.path("tls.cert_key_file")));
    Parts {
        hosts,
        user,
        password,
        auth_source: reader.optional_text("auth_source"),
        replica_set: reader.optional_text("replica_set"),
        direct: reader.bool("direct"),
        tls,
    }
}

/// The driver's reason is not shown: it quotes parts of the connection string, and a mistyped one may show the password.
fn check_uri(uri: &Secret, reader: &mut Reader<'_>) -> Option<ConnectionString> {
    for key in ["hosts", "user", "password", "auth_source", "replica_set", "direct", "tls"] {
        if reader.is_set(key) {
            reader.problem(key, "", "cannot be given together with uri".to_owned());
        }
    }
    let parsed = ConnectionString::parse(uri.expose());
    if parsed.is_err() {
        reader.problem("uri", "(hidden)", "is not a MongoDB connection string".to_owned());
    }
    parsed.ok()
}

fn positive(reader: &mut Reader<'_>, key: &str) -> Duration {
    let duration = reader.duration(key);
    if duration.is_zero() {
        reader.problem(key, "0", "is not above zero".to_owned());
    }
    duration
}

/// What the deployment can do, as its `hello` answer tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Deployment {
    /// A member of a replica set, or a router of a sharded cluster.
    pub(super) replicated: bool,
    /// A router of a sharded cluster.
    pub(super) sharded: bool,
    /// The newest wire protocol it speaks; 13 is server 5.0.
    pub(super) wire_version: i32,
}

impl Deployment {
    fn of(hello: &Document) -> Self {
        let sharded = hello.get_str("msg").is_ok_and(|word| word == "isdbgrid");
        Self {
            replicated: hello.contains_key("setName") || sharded,
            sharded,
            wire_version: hello.get_i32("maxWireVersion").unwrap_or(0),
        }
    }

    /// Why reads cannot share a snapshot, if they cannot.
    pub(super) fn snapshot(self) -> Result<(), &'static str> {
        if !self.replicated {
            return Err("a standalone MongoDB server cannot read at a snapshot; run it as a replica set of one");
        }
        if self.wire_version < 13 {
            return Err("MongoDB servers before 5.0 cannot read at a snapshot");
        }
        Ok(())
    }
}

/// The connections that are lent out, as the driver numbers them for each server.
type Lent = HashMap<ServerAddress, HashSet<u32>>;

/// What the driver tells of its connections.
#[derive(Debug, Default)]
struct Told {
    /// Sets and no count: the driver also tells of the return of connections that it never told it had lent, because nobody waited
    /// for them any more.
    lent: Mutex<Lent>,
    waits: Count,
}

impl Told {
    /// Takes note of an event; a server lends `most` connections.
    fn hear(&self, event: &CmapEvent, most: u64) {
        match event {
            CmapEvent::ConnectionCheckoutStarted(begun) => {
                let lent = self.lock().get(&begun.address).map_or(0, HashSet::len) as u64;
                if lent >= most {
                    self.waits.add(1);
                }
            }
            CmapEvent::ConnectionCheckedOut(lent) => {
                self.lock().entry(lent.address.clone()).or_default().insert(lent.connection_id);
            }
            CmapEvent::ConnectionCheckedIn(back) => self.forget(&back.address, back.connection_id),
            CmapEvent::ConnectionClosed(closed) => self.forget(&closed.address, closed.connection_id),
            // Its numbers are given out again by the pool that may follow.
            CmapEvent::PoolClosed(closed) => {
                self.lock().remove(&closed.address);
            }
            _ => {}
        }
    }

    fn forget(&self, address: &ServerAddress, connection_id: u32) {
        if let Some(lent) = self.lock().get_mut(address) {
            lent.remove(&connection_id);
        }
    }

    /// How many connections are lent out, those of all servers together.
    fn lent(&self) -> u64 {
        self.lock().values().map(HashSet::len).sum::<usize>() as u64
    }

    fn lock(&self) -> MutexGuard<'_, Lent> {
        self.lent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The driver's client, made on first use, and the deadlines around it.
#[derive(Debug)]
pub(super) struct Pool {
    settings: Settings,
    client: OnceCell<Client>,
    /// Stops what the other one waits for.
    control: OnceCell<Client>,
    /// Reads change streams.
    streams: OnceCell<Client>,
    closed: AtomicBool,
    told: Arc<Told>,
    /// What the deployment said of itself last, and the losses ([`Context::losses`]) before it was asked.
    seen: Mutex<Option<(Deployment, u64)>>,
    /// Translates errors.
    pub(super) context: Context,
}

impl Pool {
    /// A pool that has not connected yet.
    pub(super) fn new(store: &str, settings: Settings) -> Self {
        let context = Context {
            store: store.to_owned(),
            query_timeout: settings.query_timeout,
            selection_timeout: settings.limits.selection_timeout,
            losses: Arc::default(),
        };
        let (closed, told) = (AtomicBool::new(false), Arc::default());
        let (client, control, streams) = (OnceCell::new(), OnceCell::new(), OnceCell::new());
        Self { settings, client, control, streams, closed, told, seen: Mutex::new(None), context }
    }

    /// The default namespace.
    pub(super) fn default_database(&self) -> &str {
        &self.settings.database
    }

    /// The key of the store file that names the default namespace.
    pub(super) fn database_key(&self) -> &'static str {
        self.settings.database_key
    }

    /// Whether discovery looks at a database.
    pub(super) fn serves(&self, database: &str) -> bool {
        let chosen = &self.settings.databases;
        chosen.is_empty() || database == self.settings.database || chosen.iter().any(|name| name == database)
    }

    /// The databases besides the default one that discovery is told to look at.
    pub(super) fn chosen_databases(&self) -> &[String] {
        &self.settings.databases
    }

    /// Whether the store's file says that nothing is written.
    pub(super) fn is_read_only(&self) -> bool {
        self.settings.read_only
    }

    /// The longest one command may take in the server.
    pub(super) fn query_timeout(&self) -> Duration {
        self.settings.query_timeout
    }

    /// The client; made now if there is none. Making it resolves SRV names but opens no connection.
    pub(super) async fn client(&self) -> Result<&Client, StoreError> {
        self.check_open()?;
        let made = self.client.get_or_try_init(|| async {
            let mut options = self.settings.client_options().await?;
            let (told, most) = (Arc::clone(&self.told), u64::from(self.settings.limits.pool_size));
            options.cmap_event_handler = Some(EventHandler::callback(move |event| told.hear(&event, most)));
            Client::with_options(options)
        });
        match tokio::time::timeout(self.settings.limits.selection_timeout, made).await {
            Ok(Ok(client)) => Ok(client),
            Ok(Err(error)) => Err(self.context.translate(&error)),
            Err(_) => Err(self.context.unreachable("the name of the deployment was not resolved in time")),
        }
    }

    fn check_open(&self) -> Result<(), StoreError> {
        if self.closed.load(Ordering::Acquire) { Err(self.context.unreachable("the store is closed")) } else { Ok(()) }
    }

    /// How the driver's connections are used; those to all servers of the deployment together, against the bound of one.
    pub(super) fn usage(&self) -> PoolUse {
        let most = u64::from(self.settings.limits.pool_size);
        PoolUse { in_use: self.told.lent(), most, waits: self.told.waits.get() }
    }

    /// A database of the deployment.
    pub(super) async fn database(&self, name: &str) -> Result<Database, StoreError> {
        Ok(self.client().await?.database(name))
    }

    /// Waits for the driver no longer than the server's own deadline plus server selection and some grace.
    pub(super) async fn within<T>(
        &self,
        waiting_for: &'static str,
        work: impl Future<Output = mongodb::error::Result<T>>,
    ) -> Result<T, StoreError> {
        match tokio::time::timeout(self.patience(), work).await {
            Ok(done) => done.map_err(|error| self.context.translate(&error)),
            Err(_) => Err(self.context.deadline(waiting_for)),
        }
    }

    /// The longest we wait for one answer.
    pub(super) fn patience(&self) -> Duration {
        self.settings.query_timeout + self.settings.limits.selection_timeout + ANSWER_GRACE
    }

    /// Asks the server what it is. One round trip, within the server selection timeout.
    pub(super) async fn deployment(&self) -> Result<Deployment, StoreError> {
        let admin = self.database("admin").await?;
        let losses = self.context.losses();
        let hello = self.within("hello", async { admin.run_command(doc! { "hello": 1 }).await }).await?;
        let deployment = Deployment::of(&hello);
        self.remember(deployment, losses);
        Ok(deployment)
    }

    /// What the deployment can do. It is asked where that is not known, where a connection was lost since, because another server may be
    /// there now or none, and where it was too little to read at a snapshot: a server that can do less than before refuses a snapshot by
    /// itself, and one that can do more would not tell.
    pub(super) async fn known_deployment(&self) -> Result<Deployment, StoreError> {
        self.check_open()?;
        let losses = self.context.losses();
        let known = self.last_seen().filter(|(deployment, before)| *before == losses && deployment.snapshot().is_ok());
        match known {
            Some((deployment, _)) => Ok(deployment),
            None => self.deployment().await,
        }
    }

    fn remember(&self, deployment: Deployment, losses: u64) {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some((deployment, losses));
    }

    fn last_seen(&self) -> Option<(Deployment, u64)> {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the deployment said of itself last, without asking it; `None` before it was asked.
    pub(super) fn seen(&self) -> Option<Deployment> {
        self.last_seen().map(|(deployment, _)| deployment)
    }

    /// Ends the client's background work and closes its connections without waiting for cursors.
    pub(super) async fn close(&self) {
        self.closed.store(true, Ordering::Release);
        for client in [&self.client, &self.control, &self.streams].into_iter().filter_map(OnceCell::get) {
            client.clone().shutdown().immediate(true).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use mongodb::event::cmap::{
        ConnectionCheckedInEvent, ConnectionCheckedOutEvent, ConnectionCheckoutStartedEvent, ConnectionClosedEvent, PoolClosedEvent,
    };
    use serde::de::DeserializeOwned;
    use serde_json::json;

    use super::*;
    use crate::options::Secrets;

    struct NoSecrets;

    impl Secrets for NoSecrets {
        fn variable(&self, _name: &str) -> Option<String> {
            None
        }

        fn file(&self, _path: &str) -> Result<String, String> {
            Err("there are no files".to_owned())
        }

        fn resolve(&self, path: &str) -> PathBuf {
            PathBuf::from(path)
        }
    }

    fn read(text: &str) -> (Settings, Vec<String>) {
        let table: toml::Table = toml::from_str(text).unwrap();
        let mut reader = Reader::new("stores.crm", &table, OPTIONS, &NoSecrets);
        let settings = Settings::read(&mut reader);
        (settings, reader.finish().iter().map(ToString::to_string).collect())
    }

    #[test]
    fn settings_report_what_is_wrong_without_secrets() {
        let rows: [(&str, &[&str]); 6] = [
            ("database = \"shop\"", &[]),
            ("uri = \"mongodb://root:hunter2@db.example/shop\"", &[]),
            ("", &["stores.crm.database: is required unless the uri names one"]),
            ("database = \"s\"\nuser = \"u\"", &["stores.crm.password: goes with user: give both or neither"]),
            (
                "uri = \"mongodb://root:hunter2@h:notaport/x\"\nhosts = [\"h\"]\ndatabase = \"s\"",
                &[
                    "stores.crm.hosts: cannot be given together with uri",
                    "stores.crm.uri: (hidden) is not a MongoDB connection string",
                ],
            ),
            (
                "database = \"s\"\nhosts = [\"h:x\"]\nquery_timeout = \"0\"",
                &["stores.crm.hosts: \"h:x\" is not host:port", "stores.crm.query_timeout: 0 is not above zero"],
            ),
        ];
        for (text, expected) in rows {
            let (settings, problems) = read(text);
            assert_eq!(problems, expected, "{text}");
            assert!(!format!("{settings:?}").contains("hunter2"));
        }
    }

    #[test]
    fn the_database_of_the_uri_is_the_default() {
        assert_eq!(read("uri = \"mongodb://h/shop\"").0.database, "shop");
        assert_eq!(read("uri = \"mongodb://h/shop\"\ndatabase = \"other\"").0.database, "other");
    }

    #[test]
    fn limits_of_the_uri_count_where_the_file_sets_none() {
        let uri = "mongodb://h/shop?maxPoolSize=3&maxIdleTimeMS=4000&connectTimeoutMS=500&serverSelectionTimeoutMS=600";
        let told = |limits: Limits| {
            (limits.pool_size, [limits.idle_timeout, limits.connect_timeout, limits.selection_timeout].map(|wait| wait.as_millis()))
        };
        let (settings, problems) = read(&format!("uri = \"{uri}\""));
        assert_eq!((told(settings.limits), problems.is_empty()), ((3, [4_000, 500, 600]), true));
        let own = "connect_timeout = \"2s\"\nserver_selection_timeout = \"3s\"\npool = { size = 7, idle_timeout = \"1s\" }";
        let (settings, problems) = read(&format!("uri = \"{uri}\"\n{own}"));
        assert_eq!((told(settings.limits), problems.is_empty()), ((7, [1_000, 2_000, 3_000]), true));
        let (settings, _) = read("uri = \"mongodb://h/shop\"");
        assert_eq!(told(settings.limits), (10, [600_000, 10_000, 10_000]));
        let (_, problems) = read("uri = \"mongodb://h/shop?maxPoolSize=2000&serverSelectionTimeoutMS=0\"");
        let expected = ["stores.crm.uri: maxPoolSize 2000 is not in 1..=1000"];
        assert_eq!(problems, expected);
    }

    #[test]
    fn deployments_tell_whether_they_can_snapshot() {
        let rows = [
            (doc! { "maxWireVersion": 17 }, false),
            (doc! { "maxWireVersion": 9, "setName": "rs" }, false),
            (doc! { "maxWireVersion": 17, "setName": "rs" }, true),
            (doc! { "maxWireVersion": 17, "msg": "isdbgrid" }, true),
        ];
        for (hello, expected) in rows {
            assert_eq!(Deployment::of(&hello).snapshot().is_ok(), expected, "{hello}");
        }
    }

    #[tokio::test]
    async fn what_is_known_serves_until_a_connection_is_lost_or_the_store_is_closed() {
        let (settings, problems) = read("database = \"shop\"\nhosts = [\"127.0.0.1:1\"]\nserver_selection_timeout = \"50ms\"");
        assert!(problems.is_empty(), "{problems:?}");
        let pool = Pool::new("crm", settings);
        let able = Deployment { replicated: true, sharded: false, wire_version: 17 };
        pool.remember(able, pool.context.losses());
        assert_eq!(pool.known_deployment().await.unwrap(), able);
        let lost = mongodb::error::Error::from(std::io::Error::from(std::io::ErrorKind::ConnectionReset));
        assert!(matches!(pool.context.translate(&lost), StoreError::ConnectionLost { .. }));
        // The server is asked, and is not there.
        assert!(matches!(pool.known_deployment().await.unwrap_err(), StoreError::Unreachable { .. }));
        assert_eq!(pool.seen(), Some(able));
        pool.remember(able, pool.context.losses());
        assert_eq!(pool.known_deployment().await.unwrap(), able);
        pool.close().await;
        assert!(matches!(pool.known_deployment().await.unwrap_err(), StoreError::Unreachable { .. }));
    }

    /// An event of the driver, which can be made only from its serialised form; the address is not in it.
    fn event<E: DeserializeOwned>(id: u32) -> E {
        serde_json::from_value(json!({ "connectionId": id, "reason": "dropped" })).unwrap()
    }

    fn address(host: &str) -> ServerAddress {
        ServerAddress::Tcp { host: host.to_owned(), port: None }
    }

    fn started(host: &str) -> CmapEvent {
        let mut event: ConnectionCheckoutStartedEvent = event(0);
        event.address = address(host);
        CmapEvent::ConnectionCheckoutStarted(event)
    }

    fn checked_out(host: &str, id: u32) -> CmapEvent {
        let mut event: ConnectionCheckedOutEvent = event(id);
        event.address = address(host);
        CmapEvent::ConnectionCheckedOut(event)
    }

    fn checked_in(host: &str, id: u32) -> CmapEvent {
        let mut event: ConnectionCheckedInEvent = event(id);
        event.address = address(host);
        CmapEvent::ConnectionCheckedIn(event)
    }

    fn closed(host: &str, id: u32) -> CmapEvent {
        let mut event: ConnectionClosedEvent = event(id);
        event.address = address(host);
        CmapEvent::ConnectionClosed(event)
    }

    fn pool_closed(host: &str) -> CmapEvent {
        let mut event: PoolClosedEvent = event(0);
        event.address = address(host);
        CmapEvent::PoolClosed(event)
    }

    #[test]
    fn a_lent_connection_counts_once_however_it_comes_back() {
        let told = Told::default();
        let rows = [
            // Nobody waited for this one any more when it was ready.
            (checked_in("a", 1), 0),
            (checked_out("a", 1), 1),
            (checked_out("b", 1), 2),
            (checked_in("a", 1), 1),
            (closed("a", 1), 1),
            (closed("b", 1), 0),
            (closed("b", 1), 0),
            (checked_out("a", 2), 1),
            (checked_out("b", 2), 2),
            (pool_closed("b"), 1),
            (closed("b", 2), 1),
            (checked_in("a", 2), 0),
        ];
        for (at, (event, expected)) in rows.into_iter().enumerate() {
            told.hear(&event, 10);
            assert_eq!(told.lent(), expected, "after event {at}: {event:?}");
        }
    }

    #[test]
    fn a_wait_is_counted_when_the_server_lends_all_it_has() {
        let told = Told::default();
        let rows = [
            (started("a"), 0),
            (checked_out("a", 1), 0),
            (started("a"), 0),
            (checked_out("a", 2), 0),
            (started("b"), 0),
            (started("a"), 1),
            (closed("a", 1), 1),
            (started("a"), 1),
        ];
        for (at, (event, expected)) in rows.into_iter().enumerate() {
            told.hear(&event, 2);
            assert_eq!(told.waits.get(), expected, "after event {at}: {event:?}");
        }
    }
}
