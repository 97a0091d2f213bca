//! A private PostgreSQL: logical WAL, prepared transactions, SCRAM over TCP on loopback.

use std::ffi::OsString;
use std::ops::Deref;

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection, Executor};

use super::guarded::{EndSignal, Guarded, Place, free_port, start_retrying, unprivileged_account};
use super::program::{INITDB, POSTGRES};
use super::{Durability, Endpoint, SandboxError, Setup, random_password, unique_name, write_certificate};
use crate::options::Secret;

const SERVER: &str = "postgres";
const USER: &str = "tributary";
const DATABASE: &str = "postgres";

/// Settings every private server has; `max_connections` leaves room for parallel tests.
const SETTINGS: &[&str] = &[
    "listen_addresses=127.0.0.1",
    "unix_socket_directories=",
    "wal_level=logical",
    "max_prepared_transactions=64",
    "max_connections=300",
    "max_wal_senders=32",
    "max_replication_slots=32",
    "shared_buffers=64MB",
    "timezone=UTC",
    "log_timezone=UTC",
];
const FORGONE: &[&str] = &["fsync=off", "synchronous_commit=off", "full_page_writes=off"];

/// A PostgreSQL server of our own, or one that somebody else runs.
#[derive(Debug)]
pub struct Postgres {
    endpoint: Endpoint,
    guarded: Option<Guarded>,
}

impl Deref for Postgres {
    type Target = Endpoint;

    fn deref(&self) -> &Endpoint {
        &self.endpoint
    }
}

impl Postgres {
    /// Starts a durable server without TLS.
    ///
    /// # Errors
    /// The program is missing, or the server did not come up.
    pub async fn start() -> Result<Self, SandboxError> {
        Self::start_with(&Setup::default()).await
    }

    /// Starts a server.
    ///
    /// # Errors
    /// As [`Postgres::start`].
    pub async fn start_with(setup: &Setup) -> Result<Self, SandboxError> {
        start_retrying(|| Self::start_once(setup)).await
    }

    /// A server that runs already; dropping the handle leaves it alone.
    pub fn at(endpoint: Endpoint) -> Self {
        Self { endpoint, guarded: None }
    }

    async fn start_once(setup: &Setup) -> Result<Self, SandboxError> {
        let place = Place::new(SERVER, unprivileged_account()?)?;
        let password = random_password();
        make_data_directory(&place, &password).await?;
        let port = free_port(SERVER)?;
        let endpoint =
            Endpoint { host: "127.0.0.1".to_owned(), port, user: USER.to_owned(), password, database: DATABASE.to_owned() };
        let arguments = server_arguments(&place, setup, port)?;
        let guarded = place.start(POSTGRES, &arguments, EndSignal::Quit)?;
        let connection = guarded.ready(|| connect(&endpoint)).await?;
        connection.close().await.map_err(refused)?;
        Ok(Self { endpoint, guarded: Some(guarded) })
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

    /// Starts a private server again that was killed, or kills it first: on its data directory and its port.
    ///
    /// # Errors
    /// As [`Postgres::start`].
    pub async fn again(&mut self) -> Result<(), SandboxError> {
        let endpoint = &self.endpoint;
        let Some(guarded) = &mut self.guarded else { return Ok(()) };
        let connection = guarded.again(|| connect(endpoint)).await?;
        connection.close().await.map_err(refused)
    }

    /// Creates a new empty database and returns its name.
    ///
    /// # Errors
    /// What the server answered.
    pub async fn fresh_database(&self) -> Result<String, SandboxError> {
        let name = unique_name();
        let mut connection = connect(&self.endpoint).await.map_err(|reason| SandboxError::Refused { server: SERVER, reason })?;
        // `template0` is never in use by a session, so databases can be created at the same time.
        let statement = format!("CREATE DATABASE {name} TEMPLATE template0");
        connection.execute(AssertSqlSafe(statement)).await.map_err(refused)?;
        connection.close().await.map_err(refused)?;
        Ok(name)
    }
}

async fn make_data_directory(place: &Place, password: &Secret) -> Result<(), SandboxError> {
    let password_file = place.write("password", password.expose())?;
    // `C` for the order of text, as Tributary itself compares; UTF-8 for upper and lower case.
    let mut arguments: Vec<OsString> =
        ["--encoding=UTF8", "--locale=C.UTF-8", "--lc-collate=C", "--auth=scram-sha-256", "--no-sync", "--username", USER]
            .map(OsString::from)
            .into();
    arguments.extend(["--pwfile".into(), password_file.into_os_string()]);
    arguments.extend(["--pgdata".into(), place.path().join("data").into_os_string()]);
    place.prepare(INITDB, &arguments).await
}

fn server_arguments(place: &Place, setup: &Setup, port: u16) -> Result<Vec<OsString>, SandboxError> {
    let mut settings: Vec<String> = SETTINGS.iter().map(|&setting| setting.to_owned()).collect();
    settings.push(format!("port={port}"));
    // Of two settings of one name the later one counts.
    settings.extend(setup.cache_mib.map(|mib| format!("shared_buffers={mib}MB")));
    if setup.durability == Durability::Forgone {
        settings.extend(FORGONE.iter().map(|&setting| setting.to_owned()));
    }
    if let Some(certificate) = &setup.tls {
        let (chain, key) = write_certificate(place, certificate)?;
        settings.push("ssl=on".to_owned());
        settings.push(format!("ssl_cert_file={}", chain.display()));
        settings.push(format!("ssl_key_file={}", key.display()));
    }
    let mut arguments = vec!["-D".into(), place.path().join("data").into_os_string()];
    arguments.extend(settings.into_iter().flat_map(|setting| ["-c".into(), setting.into()]));
    arguments.extend(setup.arguments.iter().map(OsString::from));
    Ok(arguments)
}

/// Logs in as a client of the Postgres protocol.
pub(super) async fn connect(endpoint: &Endpoint) -> Result<PgConnection, String> {
    PgConnection::connect_with(&endpoint.postgres_options()).await.map_err(|error| error.to_string())
}

fn refused(error: sqlx::Error) -> SandboxError {
    SandboxError::Refused { server: SERVER, reason: error.to_string() }
}
