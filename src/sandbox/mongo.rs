//! A private MongoDB: a replica set of one member with authentication, on loopback.

use std::ffi::OsString;
use std::ops::Deref;
use std::time::Duration;

use base64::Engine as _;
use mongodb::Client;
use mongodb::bson::{Document, doc};
use mongodb::options::{ClientOptions, Credential, ServerAddress};

use super::guarded::{EndSignal, Guarded, Place, free_port, io_error, start_retrying};
use super::program::MONGOD;
use super::{Durability, Endpoint, SandboxError, Setup, random_password, unique_name};

const SERVER: &str = "mongodb";
const USER: &str = "tributary";
const DATABASE: &str = "tributary";
const REPLICA_SET: &str = "tributary";

/// The least that the server takes is 256 MiB.
const CACHE_MIB: u32 = 256;
const SETTINGS: &[&str] =
    &["--bind_ip=127.0.0.1", "--nounixsocket", "--auth", "--oplogSize=64", "--setParameter=diagnosticDataCollectionEnabled=false"];

/// A MongoDB server of our own, or one that somebody else runs.
#[derive(Debug)]
pub struct Mongo {
    endpoint: Endpoint,
    guarded: Option<Guarded>,
}

impl Deref for Mongo {
    type Target = Endpoint;

    fn deref(&self) -> &Endpoint {
        &self.endpoint
    }
}

impl Mongo {
    /// Starts a durable replica set of one member without TLS, and waits until it is primary.
    ///
    /// # Errors
    /// The program is missing, or the server did not come up.
    pub async fn start() -> Result<Self, SandboxError> {
        Self::start_with(&Setup::default()).await
    }

    /// Starts a replica set of one member.
    ///
    /// # Errors
    /// As [`Mongo::start`].
    pub async fn start_with(setup: &Setup) -> Result<Self, SandboxError> {
        start_retrying(|| Self::start_once(setup)).await
    }

    /// A server that runs already; dropping the handle leaves it alone.
    pub fn at(endpoint: Endpoint) -> Self {
        Self { endpoint, guarded: None }
    }

    async fn start_once(setup: &Setup) -> Result<Self, SandboxError> {
        let place = Place::new(SERVER, None)?;
        let port = free_port(SERVER)?;
        let arguments = server_arguments(&place, setup, port)?;
        let guarded = place.start(MONGOD, &arguments, EndSignal::Kill)?;
        let endpoint = Endpoint {
            host: "127.0.0.1".to_owned(),
            port,
            user: USER.to_owned(),
            password: random_password(),
            database: DATABASE.to_owned(),
        };
        guarded.ready(|| initiate(&endpoint)).await?;
        guarded.ready(|| create_user(&endpoint)).await?;
        guarded.ready(|| authenticated(&endpoint)).await?;
        Ok(Self { endpoint, guarded: Some(guarded) })
    }

    /// The replica set's name, for clients that insist on one.
    pub fn replica_set(&self) -> &'static str {
        REPLICA_SET
    }

    /// The process id of a private server, for tests that kill it.
    pub fn process_id(&self) -> Option<u32> {
        self.guarded.as_ref().and_then(Guarded::process_id)
    }

    /// Kills a private server by SIGKILL; what it wrote stays. Of a server that somebody else runs nothing happens.
    ///
    /// # Errors
    /// It goes on.
    pub async fn kill(&mut self) -> Result<(), SandboxError> {
        match &mut self.guarded {
            Some(guarded) => guarded.kill().await,
            None => Ok(()),
        }
    }

    /// Starts a private server again that was killed, or kills it first: on its data directory and its port. It is primary then.
    ///
    /// # Errors
    /// As [`Mongo::start`].
    pub async fn again(&mut self) -> Result<(), SandboxError> {
        let endpoint = &self.endpoint;
        let Some(guarded) = &mut self.guarded else { return Ok(()) };
        guarded.again(|| writable(endpoint)).await
    }

    /// A database name that nobody uses. MongoDB creates a database with its first document.
    ///
    /// # Errors
    /// None; the type is that of the other servers.
    pub fn fresh_database(&self) -> impl Future<Output = Result<String, SandboxError>> {
        std::future::ready(Ok(unique_name()))
    }
}

fn server_arguments(place: &Place, setup: &Setup, port: u16) -> Result<Vec<OsString>, SandboxError> {
    let data = place.path().join("data");
    std::fs::create_dir(&data).map_err(io_error(SERVER, "make the data directory"))?;
    // A replica set with authentication needs a shared key of 6 to 1024 base64 characters, in a file of mode 0600.
    let key = base64::engine::general_purpose::STANDARD.encode(random_password().expose());
    let key_file = place.write("replica.key", &key)?;
    let mut arguments: Vec<OsString> = SETTINGS.iter().map(OsString::from).collect();
    // The server refuses an option that is given twice.
    let cache_gib = f64::from(setup.cache_mib.unwrap_or(CACHE_MIB).max(CACHE_MIB)) / 1024.0;
    arguments.push(format!("--wiredTigerCacheSizeGB={cache_gib}").into());
    arguments.push(format!("--port={port}").into());
    arguments.push(format!("--replSet={REPLICA_SET}").into());
    arguments.push(format!("--keyFile={}", key_file.display()).into());
    arguments.push(format!("--dbpath={}", data.display()).into());
    if setup.durability == Durability::Forgone {
        arguments.push("--journalCommitInterval=500".into());
    }
    if let Some(certificate) = &setup.tls {
        let both = format!("{}\n{}", certificate.chain_pem, certificate.key_pem.expose());
        let file = place.write("server.pem", &both)?;
        arguments.push("--tlsMode=allowTLS".into());
        arguments.push(format!("--tlsCertificateKeyFile={}", file.display()).into());
        arguments.push("--tlsAllowConnectionsWithoutCertificates".into());
    }
    arguments.extend(setup.arguments.iter().map(OsString::from));
    Ok(arguments)
}

/// Starts the replica set. The localhost exception (manual, "Localhost Exception in Self-Managed Deployments") lets an
/// unauthenticated client do this once, and then create the first user.
async fn initiate(endpoint: &Endpoint) -> Result<(), String> {
    let member = format!("{}:{}", endpoint.host, endpoint.port);
    let set = doc! { "_id": REPLICA_SET, "members": [{ "_id": 0, "host": member }] };
    match run(endpoint, None, doc! { "replSetInitiate": set }).await {
        Err(reason) if !reason.contains("already initialized") => Err(reason),
        _ => Ok(()),
    }
}

async fn create_user(endpoint: &Endpoint) -> Result<(), String> {
    let hello = run(endpoint, None, doc! { "hello": 1 }).await?;
    if !hello.get_bool("isWritablePrimary").unwrap_or(false) {
        return Err("not primary yet".to_owned());
    }
    let roles = vec![doc! { "role": "root", "db": "admin" }];
    let create = doc! { "createUser": &endpoint.user, "pwd": endpoint.password.expose(), "roles": roles };
    run(endpoint, None, create).await.map(drop)
}

async fn authenticated(endpoint: &Endpoint) -> Result<(), String> {
    run(endpoint, Some(credential(endpoint)), doc! { "ping": 1 }).await.map(drop)
}

/// Whether the server is primary, which it has to become anew after each start.
async fn writable(endpoint: &Endpoint) -> Result<(), String> {
    let hello = run(endpoint, Some(credential(endpoint)), doc! { "hello": 1 }).await?;
    if hello.get_bool("isWritablePrimary").unwrap_or(false) { Ok(()) } else { Err("not primary yet".to_owned()) }
}

fn credential(endpoint: &Endpoint) -> Credential {
    Credential::builder()
        .username(endpoint.user.clone())
        .password(endpoint.password.expose().to_owned())
        .source("admin".to_owned())
        .build()
}

async fn run(endpoint: &Endpoint, credential: Option<Credential>, command: Document) -> Result<Document, String> {
    let address = ServerAddress::Tcp { host: endpoint.host.clone(), port: Some(endpoint.port) };
    let options = ClientOptions::builder()
        .hosts(vec![address])
        .direct_connection(true)
        .credential(credential)
        .server_selection_timeout(Duration::from_secs(2))
        .build();
    let client = Client::with_options(options).map_err(|error| error.to_string())?;
    let answer = client.database("admin").run_command(command).await.map_err(|error| error.to_string());
    client.shutdown().immediate(true).await;
    answer
}
