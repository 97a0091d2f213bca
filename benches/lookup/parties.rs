//! Who is measured: a PostgreSQL, pgbouncer before it, and Tributary before it.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor};
use tempfile::TempDir;
use tributary::sandbox::{Postgres, Setup};

use super::measure::must;

/// How long a server may take to listen.
const START: Duration = Duration::from_secs(60);
/// The role that clients of the proxies log in as.
const ROLE: &str = "bench";
/// The database's name at the proxies.
const DATABASE: &str = "tributary";
/// Connections that either proxy may open.
const POOL: usize = 20;

/// One that can be asked.
#[derive(Debug, Clone)]
pub struct Party {
    pub name: &'static str,
    pub port: u16,
    pub user: String,
    pub password: String,
    pub database: String,
}

/// All of them; dropping this ends them.
pub struct Parties {
    postgres: Postgres,
    proxies: Vec<(Party, Running)>,
    directory: TempDir,
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // A server that has ended by itself needs no more.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Parties {
    /// Fills a server with a table of so many rows and starts both proxies before it.
    pub async fn start(rows: u64) -> Self {
        let directory = must(TempDir::new());
        // pgbouncer runs under another account when we are root.
        must(fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755)));
        let postgres = must(Postgres::start_with(&Setup::default()).await);
        fill(&postgres, rows).await;
        let script = format!("\\set aid random(1, {rows})\nSELECT abalance FROM pgbench_accounts WHERE aid = :aid;\n");
        must(fs::write(directory.path().join("script.sql"), script));
        let proxies = vec![pgbouncer(&postgres, directory.path()), tributary(&postgres, directory.path())];
        Self { postgres, proxies, directory }
    }

    /// The server itself, pgbouncer, and Tributary.
    pub fn all(&self) -> Vec<Party> {
        let server = &self.postgres;
        let direct = Party {
            name: "direct",
            port: server.port(),
            user: server.user().to_owned(),
            password: server.password().to_owned(),
            database: server.database().to_owned(),
        };
        std::iter::once(direct).chain(self.proxies.iter().map(|(party, _)| party.clone())).collect()
    }

    /// What pgbench runs.
    pub fn script(&self) -> PathBuf {
        self.directory.path().join("script.sql")
    }
}

async fn fill(postgres: &Postgres, rows: u64) {
    let options = PgConnectOptions::new_without_pgpass().host(postgres.host()).port(postgres.port());
    let options = options.database(postgres.database()).username(postgres.user()).password(postgres.password());
    let mut connection = must(options.disable_statement_logging().connect().await);
    let statements = format!(
        "CREATE TABLE pgbench_accounts (aid int PRIMARY KEY, bid int, abalance int, filler char(84)); \
         INSERT INTO pgbench_accounts SELECT n, n / 100000 + 1, n % 1000, '' FROM generate_series(1, {rows}) AS n"
    );
    must(connection.execute(AssertSqlSafe(statements)).await);
    must(connection.execute("VACUUM (FREEZE, ANALYZE) pgbench_accounts").await);
    must(connection.close().await);
}

fn free_port() -> u16 {
    must(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr())).port()
}

fn party(name: &'static str, port: u16) -> Party {
    Party { name, port, user: ROLE.to_owned(), password: String::new(), database: DATABASE.to_owned() }
}

fn pgbouncer(postgres: &Postgres, directory: &Path) -> (Party, Running) {
    let port = free_port();
    let text = format!(
        "[databases]\n{DATABASE} = host={} port={} dbname={} user={} password={}\n\
         [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\npool_mode = session\n\
         default_pool_size = {POOL}\nlog_connections = 0\nlog_disconnections = 0\nlog_stats = 0\n",
        postgres.host(),
        postgres.port(),
        postgres.database(),
        postgres.user(),
        postgres.password()
    );
    let path = directory.join("pgbouncer.ini");
    must(fs::write(&path, text));
    let mut program = Command::new("pgbouncer");
    if must(fs::metadata(&path)).uid() == 0 {
        // It refuses to run as root.
        program.arg("--user=nobody");
    }
    program.arg(&path);
    (party("pgbouncer", port), start(program, port, &directory.join("pgbouncer.log")))
}

fn tributary(postgres: &Postgres, directory: &Path) -> (Party, Running) {
    let port = free_port();
    let catalog: PathBuf = directory.join("catalog");
    must(fs::create_dir_all(catalog.join("stores")));
    let settings = format!(
        "listen = \"127.0.0.1:{port}\"\nhttp.listen = \"off\"\ndatabase = \"{DATABASE}\"\nauth.trust = true\n[roles.{ROLE}]\n"
    );
    let store = format!(
        "kind = \"postgres\"\nhost = \"{}\"\nport = {}\nuser = \"{}\"\npassword = \"{}\"\ndatabase = \"{}\"\npool.size = {POOL}\n",
        postgres.host(),
        postgres.port(),
        postgres.user(),
        postgres.password(),
        postgres.database()
    );
    must(fs::write(catalog.join("tributary.toml"), settings));
    must(fs::write(catalog.join("stores/bank.toml"), store));
    let mut program = Command::new(env!("CARGO_BIN_EXE_tributary"));
    program.arg("serve").arg(&catalog);
    (party("tributary", port), start(program, port, &directory.join("tributary.log")))
}

/// Starts a server and waits until it listens.
fn start(mut program: Command, port: u16, log: &Path) -> Running {
    let file = must(File::create(log));
    program.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file);
    let mut running = Running(must(program.spawn()));
    let started = Instant::now();
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
        let ended = must(running.0.try_wait()).is_some() || started.elapsed() > START;
        must(if ended { Err(fs::read_to_string(log).unwrap_or_default()) } else { Ok(()) });
        std::thread::sleep(Duration::from_millis(20));
    }
    running
}
