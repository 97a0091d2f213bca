//! Tributary itself inside the test: a temporary catalog directory with a certificate and two roles, served on a free
//! loopback port.

use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, Connection, Executor};
use tokio::sync::mpsc;
use tokio_postgres::{AsyncMessage, Client, Config, NoTls, Notification};
use tributary::command::password::fresh_verifier;
use tributary::config;
use tributary::options::Secret;
use tributary::sandbox::{MariaDb, Mongo, Postgres};
use tributary::server::{Server, ServerError};
use tributary::task::OwnedTask;

/// A role that may refresh stores.
pub const OWNER: &str = "ada";
/// A role that may only read.
pub const GUEST: &str = "guest";
/// The password of both.
pub const PASSWORD: &str = "correct horse";
/// The database's name.
pub const DATABASE: &str = "tributary";

/// Longer than any test should take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A catalog directory that is gone when dropped.
pub struct Place {
    directory: tempfile::TempDir,
    verifier: String,
}

impl Place {
    /// A directory with a certificate for `localhost` and the two roles.
    pub fn new() -> Self {
        let place = Self { directory: tempfile::tempdir().unwrap(), verifier: fresh_verifier(&Secret::new(PASSWORD)) };
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        place.write("server.crt", &made.cert.pem());
        place.write("server.key", &made.signing_key.serialize_pem());
        place.configure("");
        place
    }

    /// Writes `tributary.toml` with further lines at its top.
    pub fn configure(&self, lines: &str) {
        let verifier = &self.verifier;
        let text = format!(
            "listen = \"127.0.0.1:0\"\nhttp.listen = \"off\"\ndatabase = \"{DATABASE}\"\n{lines}\n\
             [tls]\ncertificate = \"server.crt\"\nkey = \"server.key\"\n\
             [roles.{OWNER}]\npassword = \"{verifier}\"\nsuperuser = true\n[roles.{GUEST}]\npassword = \"{verifier}\"\n"
        );
        self.write("tributary.toml", &text);
    }

    /// Lets `/metrics` be asked on a free port, which takes a server without TLS.
    pub fn show_metrics(&self) {
        let path = self.path().join("tributary.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        let (before, rest) = text.split_once("[tls]").unwrap();
        let (_, roles) = rest.split_once("[roles.").unwrap();
        let before = before.replace("http.listen = \"off\"", "http.listen = \"127.0.0.1:0\"");
        std::fs::write(path, format!("{before}[roles.{roles}")).unwrap();
    }

    /// A further role with the same password.
    pub fn add_role(&self, name: &str) {
        let path = self.path().join("tributary.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(path, format!("{text}[roles.{name}]\npassword = \"{}\"\n", self.verifier)).unwrap();
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The certificate, which is its own authority.
    pub fn authority(&self) -> PathBuf {
        self.path().join("server.crt")
    }

    /// Writes a file of the directory.
    pub fn write(&self, name: &str, content: &str) {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    /// A new SQLite file with these statements run on it, served as the store `name`.
    pub async fn sqlite(&self, name: &str, statements: &str) -> PathBuf {
        let path = self.path().join(format!("{name}.db"));
        sqlite(&path, statements).await;
        self.write(&format!("stores/{name}.toml"), &format!("kind = \"sqlite\"\npath = \"{name}.db\"\n"));
        path
    }

    /// The same with further lines in its file.
    pub async fn sqlite_with(&self, name: &str, statements: &str, lines: &str) -> PathBuf {
        let path = self.sqlite(name, statements).await;
        self.write(&format!("stores/{name}.toml"), &format!("kind = \"sqlite\"\npath = \"{name}.db\"\n{lines}\n"));
        path
    }

    /// A database of a PostgreSQL server as the store `name`, with further lines in its file.
    pub fn postgres(&self, name: &str, server: &Postgres, database: &str, lines: &str) {
        self.login(
            name,
            ("postgres", server.port()),
            (server.user(), server.password()),
            &format!("database = \"{database}\"\n{lines}"),
        );
    }

    /// A database of a MariaDB server as the store `name`, with further lines in its file.
    pub fn mariadb(&self, name: &str, server: &MariaDb, database: &str, lines: &str) {
        self.login(
            name,
            ("mariadb", server.port()),
            (server.user(), server.password()),
            &format!("database = \"{database}\"\n{lines}"),
        );
    }

    /// A database of a MongoDB replica set as the store `name`, with further lines in its file.
    pub fn mongodb(&self, name: &str, server: &Mongo, database: &str, lines: &str) {
        let text = format!(
            "kind = \"mongodb\"\nhosts = [\"{}:{}\"]\nuser = \"{}\"\npassword = \"{}\"\nreplica_set = \"{}\"\n\
             database = \"{database}\"\ndatabases = [\"{database}\"]\n{lines}\n",
            server.host(),
            server.port(),
            server.user(),
            server.password(),
            server.replica_set()
        );
        self.write(&format!("stores/{name}.toml"), &text);
    }

    fn login(&self, name: &str, (kind, port): (&str, u16), (user, password): (&str, &str), lines: &str) {
        let text = format!("kind = \"{kind}\"\nport = {port}\nuser = \"{user}\"\npassword = \"{password}\"\n{lines}\n");
        self.write(&format!("stores/{name}.toml"), &text);
    }

    /// Reads the directory and serves it.
    pub async fn try_serve(&self) -> Result<Server, ServerError> {
        Server::start(config::load(self.path()).map_err(ServerError::Config)?).await
    }

    /// The same, where it must succeed.
    pub async fn serve(&self) -> Server {
        self.try_serve().await.unwrap_or_else(|error| panic!("{error}: {error:?}"))
    }
}

/// Runs statements on a SQLite file, which is made when it is not there.
pub async fn sqlite(path: &Path, statements: &str) {
    let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    connection.execute(AssertSqlSafe(statements.to_owned())).await.unwrap();
    connection.close().await.unwrap();
}

/// A connection to a database of a PostgreSQL server itself.
pub async fn direct(server: &Postgres, database: &str) -> PgConnection {
    let options = PgConnectOptions::new_without_pgpass().host(server.host()).port(server.port()).database(database);
    PgConnection::connect_with(&options.username(server.user()).password(server.password())).await.unwrap()
}

/// Runs statements on a new database of a PostgreSQL server and returns its name.
pub async fn fresh(server: &Postgres, statements: &str) -> String {
    let database = server.fresh_database().await.unwrap();
    let mut connection = direct(server, &database).await;
    connection.execute(AssertSqlSafe(statements.to_owned())).await.unwrap();
    connection.close().await.unwrap();
    database
}

/// A client of Tributary.
pub struct Session {
    client: Client,
    address: String,
    _connection: OwnedTask<()>,
}

impl Deref for Session {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

/// How tokio-postgres connects as a role.
pub fn login(address: SocketAddr, role: &str) -> Config {
    let mut login = Config::new();
    login.host("127.0.0.1").port(address.port()).user(role).password(PASSWORD).dbname(DATABASE);
    login
}

/// Connects as a role.
pub async fn connect(server: &Server, role: &str) -> Session {
    open(&login(server.addresses()[0], role)).await.unwrap()
}

/// Connects with any settings.
pub async fn open(login: &Config) -> Result<Session, tokio_postgres::Error> {
    let (client, connection) = login.connect(NoTls).await?;
    // How the connection ended is told by the client's own calls.
    let connection = OwnedTask::spawn(async move { connection.await.unwrap_or(()) });
    Ok(Session { client, address: address_of(login), _connection: connection })
}

/// The same for a client that listens: what it is told goes into the queue, and while that is full nothing is read of the connection.
pub async fn open_listening(login: &Config, told: mpsc::Sender<Notification>) -> Result<Session, tokio_postgres::Error> {
    let (client, mut connection) = login.connect(NoTls).await?;
    let connection = OwnedTask::spawn(async move {
        while let Some(Ok(message)) = std::future::poll_fn(|context| connection.poll_message(context)).await {
            if let AsyncMessage::Notification(notification) = message {
                // Who does not look any more may still ask.
                told.send(notification).await.ok();
            }
        }
    });
    Ok(Session { client, address: address_of(login), _connection: connection })
}

fn address_of(login: &Config) -> String {
    let host = match login.get_hosts() {
        [tokio_postgres::config::Host::Tcp(host), ..] => host.clone(),
        hosts => panic!("a session goes to one host, not to {hosts:?}"),
    };
    format!("{host}:{}", login.get_ports().first().copied().unwrap_or(5432))
}

impl DerefMut for Session {
    fn deref_mut(&mut self) -> &mut Client {
        &mut self.client
    }
}

impl Session {
    /// Rows of a statement as text, by the simple protocol: fields joined by `|`, NULL as `~`.
    pub async fn rows(&self, sql: &str) -> Result<Vec<String>, Failure> {
        let messages = tokio::time::timeout(PATIENCE, self.client.simple_query(sql)).await;
        let messages = messages.unwrap_or_else(|_| panic!("no answer to {sql}")).map_err(Failure::of)?;
        let rows = messages.iter().filter_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => {
                Some((0..row.len()).map(|place| row.get(place).unwrap_or("~")).collect::<Vec<_>>().join("|"))
            }
            _ => None,
        });
        Ok(rows.collect())
    }

    /// The same, joined by newlines, where the statement must succeed.
    pub async fn answer(&self, sql: &str) -> String {
        self.rows(sql).await.unwrap_or_else(|failure| panic!("{sql}: {failure:?}")).join("\n")
    }

    /// What a statement fails with; the session must then still be usable.
    pub async fn failure(&self, sql: &str) -> Failure {
        let failure = match self.rows(sql).await {
            Err(failure) => failure,
            Ok(rows) => panic!("{sql} gave {rows:?}"),
        };
        assert_eq!(self.answer("SELECT 'usable'").await, "usable", "after {sql}");
        failure
    }

    /// Asks to cancel what runs, and waits until the server has taken it: it closes the connection then, so that no request comes
    /// late and meets the next statement.
    pub async fn cancel(&self) {
        let request = std::net::TcpStream::connect(&self.address).unwrap();
        let mut answer = request.try_clone().unwrap();
        request.set_nonblocking(true).unwrap();
        let request = tokio::net::TcpStream::from_std(request).unwrap();
        self.client.cancel_token().cancel_query_raw(request, NoTls).await.unwrap();
        let ended = tokio::task::spawn_blocking(move || {
            answer.set_nonblocking(false)?;
            answer.set_read_timeout(Some(PATIENCE))?;
            std::io::Read::read(&mut answer, &mut [0; 1])
        });
        assert_eq!(ended.await.unwrap().unwrap(), 0, "a cancel request is answered by the end of its connection");
    }
}

/// What a client is told about an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub code: String,
    pub message: String,
    pub detail: String,
    pub hint: String,
    pub position: Option<u32>,
}

impl Failure {
    /// From the driver's error.
    pub fn of(error: tokio_postgres::Error) -> Self {
        let Some(told) = error.as_db_error() else { panic!("the connection failed: {error}") };
        let position = match told.position() {
            Some(tokio_postgres::error::ErrorPosition::Original(place)) => Some(*place),
            _ => None,
        };
        Self {
            code: told.code().code().to_owned(),
            message: told.message().to_owned(),
            detail: told.detail().unwrap_or_default().to_owned(),
            hint: told.hint().unwrap_or_default().to_owned(),
            position,
        }
    }
}
