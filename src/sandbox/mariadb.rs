//! A private MariaDB: row binlog with full images and metadata, a password user over TCP on loopback.

use std::ffi::OsString;
use std::ops::Deref;

use sqlx::mysql::MySqlConnection;
use sqlx::{AssertSqlSafe, Connection, Executor};

use super::guarded::{EndSignal, Guarded, Place, free_port, io_error, is_root, start_retrying};
use super::program::{MARIADB_INSTALL, MARIADBD};
use super::{Durability, Endpoint, SandboxError, Setup, random_password, unique_name, write_certificate};

const SERVER: &str = "mariadb";
const USER: &str = "tributary";
const DATABASE: &str = "tributary";

/// Settings every private server has. Host names are not resolved, so `127.0.0.1` is not `localhost` and the passwordless
/// socket account of the data directory cannot be reached over TCP.
const SETTINGS: &[&str] = &[
    "--bind-address=127.0.0.1",
    "--skip-name-resolve",
    "--server-id=1",
    "--log-bin=binlog",
    "--binlog-format=ROW",
    "--binlog-row-image=FULL",
    "--binlog-row-metadata=FULL",
    "--character-set-server=utf8mb4",
    "--default-time-zone=+00:00",
    "--max-connections=300",
    "--innodb-buffer-pool-size=64M",
];
const FORGONE: &[&str] = &["--innodb-flush-log-at-trx-commit=0", "--sync-binlog=0", "--innodb-flush-method=nosync"];

/// A MariaDB (or MySQL) server of our own, or one that somebody else runs.
#[derive(Debug)]
pub struct MariaDb {
    endpoint: Endpoint,
    guarded: Option<Guarded>,
}

impl Deref for MariaDb {
    type Target = Endpoint;

    fn deref(&self) -> &Endpoint {
        &self.endpoint
    }
}

impl MariaDb {
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
    /// As [`MariaDb::start`].
    pub async fn start_with(setup: &Setup) -> Result<Self, SandboxError> {
        start_retrying(|| Self::start_once(setup)).await
    }

    /// A server that runs already; dropping the handle leaves it alone.
    pub fn at(endpoint: Endpoint) -> Self {
        Self { endpoint, guarded: None }
    }

    async fn start_once(setup: &Setup) -> Result<Self, SandboxError> {
        let place = Place::new(SERVER, None)?;
        std::fs::create_dir(place.path().join("tmp")).map_err(io_error(SERVER, "make a directory"))?;
        let mut install = common_arguments(&place);
        install.extend(["--skip-test-db".into(), "--skip-name-resolve".into()]);
        place.prepare(MARIADB_INSTALL, &install).await?;
        let port = free_port(SERVER)?;
        let password = random_password();
        let endpoint =
            Endpoint { host: "127.0.0.1".to_owned(), port, user: USER.to_owned(), password, database: DATABASE.to_owned() };
        let arguments = server_arguments(&place, setup, &endpoint)?;
        let guarded = place.start(MARIADBD, &arguments, EndSignal::Kill)?;
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
    /// As [`MariaDb::start`].
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
        connection.execute(AssertSqlSafe(format!("CREATE DATABASE {name}"))).await.map_err(refused)?;
        connection.close().await.map_err(refused)?;
        Ok(name)
    }
}

fn common_arguments(place: &Place) -> Vec<OsString> {
    let mut datadir = OsString::from("--datadir=");
    datadir.push(place.path().join("data"));
    // A server that starts removes the temporary tables it finds in its directory, also those of other servers.
    let mut tmpdir = OsString::from("--tmpdir=");
    tmpdir.push(place.path().join("tmp"));
    let mut arguments = vec!["--no-defaults".into(), datadir, tmpdir];
    if is_root() {
        // Without it the server refuses to run as root. It keeps to loopback and to its own directory.
        arguments.push("--user=root".into());
    }
    arguments
}

fn server_arguments(place: &Place, setup: &Setup, endpoint: &Endpoint) -> Result<Vec<OsString>, SandboxError> {
    // The file runs before the first connection is accepted, so there is no moment without the password.
    let (user, password) = (&endpoint.user, endpoint.password.expose());
    let accounts = format!(
        "CREATE DATABASE IF NOT EXISTS {DATABASE};\n\
         CREATE USER IF NOT EXISTS '{user}'@'%' IDENTIFIED BY '{password}';\n\
         GRANT ALL PRIVILEGES ON *.* TO '{user}'@'%' WITH GRANT OPTION;\n"
    );
    let init_file = place.write("accounts.sql", &accounts)?;
    let mut arguments = common_arguments(place);
    arguments.extend(SETTINGS.iter().map(OsString::from));
    // Of two settings of one name the later one counts.
    arguments.extend(setup.cache_mib.map(|mib| format!("--innodb-buffer-pool-size={mib}M").into()));
    arguments.push(format!("--port={}", endpoint.port).into());
    arguments.push(format!("--init-file={}", init_file.display()).into());
    arguments.push(format!("--socket={}", place.path().join("socket").display()).into());
    arguments.push(format!("--pid-file={}", place.path().join("server.pid").display()).into());
    if setup.durability == Durability::Forgone {
        arguments.extend(FORGONE.iter().map(OsString::from));
    }
    if let Some(certificate) = &setup.tls {
        let (chain, key) = write_certificate(place, certificate)?;
        arguments.push(format!("--ssl-cert={}", chain.display()).into());
        arguments.push(format!("--ssl-key={}", key.display()).into());
    }
    arguments.extend(setup.arguments.iter().map(OsString::from));
    Ok(arguments)
}

async fn connect(endpoint: &Endpoint) -> Result<MySqlConnection, String> {
    MySqlConnection::connect_with(&endpoint.mysql_options()).await.map_err(|error| error.to_string())
}

fn refused(error: sqlx::Error) -> SandboxError {
    SandboxError::Refused { server: SERVER, reason: error.to_string() }
}
