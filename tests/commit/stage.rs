//! Stores that are filled alike, and Tributary before them: in this process over the servers of all tests, or as a process of its own
//! over servers that may be killed, and over ways to them that may be cut.
//!
//! Each store has `accounts` with the same balances, `moves` that say what was added to them, and `lists`, which are empty texts.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use mongodb::bson::{Document, doc};
use mongodb::{Client, Database};
use sqlx::mysql::MySqlConnection;
use sqlx::postgres::PgConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, Connection, Executor, Row};
use tributary::options::Secret;
use tributary::sandbox::{Endpoint, MariaDb, Mongo, Postgres, Setup, Tributary, free_port};
use tributary::server::Server;

use super::eventually;
use crate::support;
use crate::support::gate::{Gate, Open};
use crate::support::proxy::{self, DATABASE, OWNER, Place, Session};

/// Accounts of each store, numbered from 1.
pub const ACCOUNTS: i64 = 12;
/// What each of them begins with.
pub const START: i64 = 1_000;
/// Lists of each store, numbered from 1.
pub const LISTS: i64 = 4;

/// The stores of the tests, by the names that they have in Tributary.
pub const SERVERS: [&str; 3] = ["pg", "maria", "mongo"];
/// What is started in the place of the first of them, under its name: a PostgreSQL that cannot prepare.
pub const UNPREPARED: &str = "pg without prepared transactions";
/// A server that prepares, and two files that are committed together.
pub const FILES: [&str; 3] = ["pg", "east", "west"];

/// Statements that make and fill the tables in a store of SQL.
pub fn tables() -> Vec<String> {
    let rows = |count: i64, value: &str| (1..=count).map(|id| format!("({id}, {value})")).collect::<Vec<_>>().join(", ");
    vec![
        "CREATE TABLE accounts (_id bigint NOT NULL PRIMARY KEY, balance bigint NOT NULL)".to_owned(),
        "CREATE TABLE moves (_id bigint NOT NULL PRIMARY KEY, account bigint NOT NULL, amount bigint NOT NULL)".to_owned(),
        "CREATE TABLE lists (_id bigint NOT NULL PRIMARY KEY, v text NOT NULL)".to_owned(),
        format!("INSERT INTO accounts VALUES {}", rows(ACCOUNTS, &START.to_string())),
        format!("INSERT INTO lists VALUES {}", rows(LISTS, "''")),
    ]
}

/// Lines of a store file that declare what documents hold.
pub const COLLECTIONS: &str = "sample = 0\n[collections.accounts.columns]\n_id = \"bigint\"\nbalance = \"bigint\"\n\
    [collections.moves.columns]\n_id = \"bigint\"\naccount = \"bigint\"\namount = \"bigint\"\n\
    [collections.lists.columns]\n_id = \"bigint\"\nv = \"text\"\n";

/// Makes the tables in a database of PostgreSQL.
pub async fn fill_postgres(server: &Postgres, database: &str) {
    let options = server.postgres_options().database(database);
    let mut connection = PgConnection::connect_with(&options).await.unwrap();
    for sql in tables() {
        connection.execute(AssertSqlSafe(sql)).await.unwrap();
    }
    connection.close().await.unwrap();
}

/// The same in MariaDB.
pub async fn fill_mariadb(server: &MariaDb, database: &str) {
    let options = server.mysql_options().database(database);
    let mut connection = MySqlConnection::connect_with(&options).await.unwrap();
    for sql in tables() {
        connection.execute(AssertSqlSafe(sql)).await.unwrap();
    }
    connection.close().await.unwrap();
}

/// The same in MongoDB.
pub async fn fill_mongodb(server: &Mongo, database: &str) {
    let client = mongodb_client(server).await;
    let database = client.database(database);
    let accounts: Vec<Document> = (1..=ACCOUNTS).map(|id| doc! { "_id": id, "balance": START }).collect();
    database.collection::<Document>("accounts").insert_many(accounts).await.unwrap();
    let lists: Vec<Document> = (1..=LISTS).map(|id| doc! { "_id": id, "v": "" }).collect();
    database.collection::<Document>("lists").insert_many(lists).await.unwrap();
    database.create_collection("moves").await.unwrap();
}

/// Has MongoDB keep whole documents beside their changes, where they are to be copied: what is copied cannot be told in parts.
pub async fn keep_images(database: &Database, collections: &[&str], lines: &str) {
    for collection in collections.iter().filter(|_| lines.contains("changes.cached")) {
        let images = doc! { "collMod": *collection, "changeStreamPreAndPostImages": { "enabled": true } };
        database.run_command(images).await.unwrap();
    }
}

/// A client of MongoDB itself.
pub async fn mongodb_client(server: &Mongo) -> Client {
    let (user, password, host, port) = (server.user(), server.password(), server.host(), server.port());
    Client::with_uri_str(format!("mongodb://{user}:{password}@{host}:{port}/?directConnection=true")).await.unwrap()
}

/// A SQLite file with the tables as a store; its journal is one that several files can be committed with, unless it is said to be `wal`.
pub async fn fill_sqlite(place: &Place, name: &str, journal: &str) -> PathBuf {
    place.sqlite(name, &format!("PRAGMA journal_mode = {journal}; {}", tables().join("; "))).await
}

/// What a query of one text gives in a file itself.
pub async fn in_file(path: &Path, sql: &str) -> Vec<String> {
    let options = SqliteConnectOptions::new().filename(path);
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    let rows = sqlx::query_scalar(AssertSqlSafe(sql.to_owned())).fetch_all(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    rows
}

/// Marks of commits in the SQLite files of a catalog directory.
pub async fn marks_in_files(place: &Place) -> usize {
    let mut found = 0;
    for file in ["east", "west"].map(|name| place.path().join(format!("{name}.db"))) {
        let is_there = "SELECT name FROM sqlite_schema WHERE name = 'tributary_marks'";
        if file.exists() && !in_file(&file, is_there).await.is_empty() {
            found += in_file(&file, "SELECT id FROM tributary_marks WHERE state = 'commit'").await.len();
        }
    }
    found
}

/// Tributary in this process, over databases of the servers that all tests share.
pub struct Shared {
    pub place: Place,
    server: Option<Server>,
    /// The MongoDB and the database that decide.
    deciding: Option<(&'static Mongo, String)>,
}

impl Shared {
    /// Over PostgreSQL, MariaDB and MongoDB.
    pub async fn of_servers() -> Self {
        let place = trusting();
        let (postgres, mariadb, mongodb) = (support::postgres().await, support::mariadb().await, support::mongodb().await);
        let databases = [
            postgres.fresh_database().await.unwrap(),
            mariadb.fresh_database().await.unwrap(),
            mongodb.fresh_database().await.unwrap(),
        ];
        fill_postgres(postgres, &databases[0]).await;
        fill_mariadb(mariadb, &databases[1]).await;
        fill_mongodb(mongodb, &databases[2]).await;
        place.postgres("pg", postgres, &databases[0], "pool.size = 12\n");
        place.mariadb("maria", mariadb, &databases[1], "pool.size = 12\n");
        place.mongodb("mongo", mongodb, &databases[2], COLLECTIONS);
        let server = Box::pin(place.serve()).await;
        let deciding = Some((mongodb, databases[2].clone()));
        Self { place, server: Some(server), deciding }
    }

    /// Over PostgreSQL and two files.
    pub async fn of_files() -> Self {
        let place = trusting();
        let postgres = support::postgres().await;
        let database = postgres.fresh_database().await.unwrap();
        fill_postgres(postgres, &database).await;
        place.postgres("pg", postgres, &database, "pool.size = 12\n");
        for name in ["east", "west"] {
            fill_sqlite(&place, name, "delete").await;
        }
        let server = Box::pin(place.serve()).await;
        Self { place, server: Some(server), deciding: None }
    }

    /// How many marks of commits are in the stores that decide.
    pub async fn marks(&self) -> usize {
        let mut found = 0;
        if let Some((server, database)) = &self.deciding {
            let marks = mongodb_client(server).await.database(database).collection::<Document>("tributary_marks");
            found += usize::try_from(marks.count_documents(doc! { "state": "commit" }).await.unwrap()).unwrap();
        }
        found + marks_in_files(&self.place).await
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.as_ref().unwrap().addresses()[0]
    }

    /// A session.
    pub async fn session(&self) -> Session {
        proxy::open(&proxy::login(self.address(), OWNER)).await.unwrap()
    }

    /// Ends the server; the directory is left as it is then.
    pub async fn stop(&mut self) {
        if let Some(server) = self.server.take() {
            server.stop().await;
        }
    }
}

fn trusting() -> Place {
    let place = Place::new();
    place.configure("auth.trust = true\nlimits.max_connections = 100");
    place
}

/// A line of store files: changes are followed.
pub const FOLLOWED: &str = "changes.mode = \"as its kind\"\n";

/// Lines of the file of a store of a kind.
pub fn lines_of(kind: &str, lines: &str) -> String {
    lines.replace("as its kind", if kind == "sqlite" { "outbox" } else { "log" })
}

/// Further lines of a catalog directory.
#[derive(Debug, Clone, Copy)]
pub struct Lines<'l> {
    /// In `tributary.toml`.
    pub server: &'l str,
    /// In the file of each store. [`FOLLOWED`] among them stands for the way in which changes of its kind are followed.
    pub store: &'l str,
    /// The mode of the journal of SQLite files.
    pub journal: &'l str,
}

impl Default for Lines<'_> {
    fn default() -> Self {
        Self { server: "", store: "", journal: "delete" }
    }
}

/// A step at which a commit is held until it is let go, however long that takes.
pub struct Hold(tempfile::TempDir);

impl Hold {
    /// One that is told to a process by [`Hold::at`].
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("held")
    }

    /// The failpoint.
    pub fn at(&self, point: &str) -> String {
        format!("{point}=hold:{}", self.file().display())
    }

    /// Waits until a commit is there.
    pub async fn reached(&self) {
        eventually("the commit at its failpoint", async || self.file().exists().then_some(())).await;
    }

    /// Lets it go on. The next one is held too.
    pub fn let_go(&self) {
        std::fs::remove_file(self.file()).unwrap();
    }
}

/// What is killed and started again: Tributary as a process, and servers of its own behind gates.
pub struct Stage {
    pub proxy: Tributary,
    pub place: Place,
    pub postgres: Option<(Postgres, Door)>,
    pub mariadb: Option<(MariaDb, Door)>,
    pub mongodb: Option<(Mongo, Door)>,
}

/// The way to a server.
pub struct Door {
    gate: Gate,
    open: Option<Open>,
}

impl Door {
    pub async fn to(endpoint: &Endpoint) -> Self {
        let gate = Gate::to(endpoint.host(), endpoint.port()).await;
        let open = Some(gate.open().await);
        Self { gate, open }
    }

    /// Where it is.
    pub fn port(&self) -> u16 {
        self.gate.port()
    }

    /// Nothing goes through any more, and nobody is told.
    pub fn freeze(&self) {
        if let Some(open) = &self.open {
            open.freeze();
        }
    }

    /// Everything takes so much longer.
    pub fn slow(&self, delay: Duration) {
        if let Some(open) = &self.open {
            open.slow(delay);
        }
    }

    /// The next answer breaks off behind so many bytes, and so does everything after it.
    pub fn tear(&self, bytes: u32) {
        if let Some(open) = &self.open {
            open.tear(bytes);
        }
    }

    /// Breaks all connections.
    pub async fn cut(&mut self) {
        if let Some(open) = self.open.take() {
            open.shut().await;
        }
    }

    /// Opens it, with all connections broken that were frozen.
    pub async fn mend(&mut self) {
        self.cut().await;
        self.open = Some(self.gate.open().await);
    }
}

/// Data that outlives `kill -9`, and as many transactions as the tests have sessions.
fn setup(arguments: &[&str]) -> Setup {
    Setup { arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(), ..Setup::default() }
}

impl Stage {
    /// Starts those of [`SERVERS`] or [`FILES`] that are named, fills them, and starts Tributary over them with these failpoints.
    pub async fn start(stores: &[&str], failpoints: &str) -> Self {
        Self::start_with(stores, Lines::default(), failpoints).await
    }

    /// The same with further lines in the files of the catalog directory.
    pub async fn start_with(stores: &[&str], lines: Lines<'_>, failpoints: &str) -> Self {
        Box::pin(Self::set(stores, lines, failpoints)).await
    }

    async fn set(stores: &[&str], lines: Lines<'_>, failpoints: &str) -> Self {
        let place = Place::new();
        let mut stage = (None, None, None);
        for store in stores {
            match *store {
                "pg" | UNPREPARED => {
                    let arguments: &[&str] = if *store == UNPREPARED { &["-c", "max_prepared_transactions=0"] } else { &[] };
                    let server = Postgres::start_with(&setup(arguments)).await.unwrap();
                    fill_postgres(&server, server.database()).await;
                    let door = Door::to(&server).await;
                    behind((&place, "pg", "postgres"), (&*server, &door, lines.store));
                    stage.0 = Some((server, door));
                }
                "maria" => {
                    let mut arguments = vec!["--innodb-lock-wait-timeout=5"];
                    // What is in its log is seen a moment later then, which copies have to do with.
                    arguments.extend(lines.store.contains("changes.cached").then_some("--sync-binlog=1"));
                    let server = MariaDb::start_with(&setup(&arguments)).await.unwrap();
                    fill_mariadb(&server, server.database()).await;
                    let door = Door::to(&server).await;
                    behind((&place, "maria", "mariadb"), (&*server, &door, lines.store));
                    stage.1 = Some((server, door));
                }
                "mongo" => {
                    // A transaction whose client is gone keeps its documents for no longer than this.
                    let server = Mongo::start_with(&setup(&["--setParameter=transactionLifetimeLimitSeconds=3"])).await.unwrap();
                    fill_mongodb(&server, server.database()).await;
                    let database = mongodb_client(&server).await.database(server.database());
                    keep_images(&database, &["accounts", "moves", "lists"], lines.store).await;
                    let door = Door::to(&server).await;
                    behind((&place, "mongo", "mongodb"), (&*server, &door, lines.store));
                    stage.2 = Some((server, door));
                }
                file => {
                    fill_sqlite(&place, file, lines.journal).await;
                    let text = format!("kind = \"sqlite\"\npath = \"{file}.db\"\n{}", lines_of("sqlite", lines.store));
                    place.write(&format!("stores/{file}.toml"), &text);
                }
            }
        }
        let proxy = start(&place, lines.server, failpoints).await;
        Self { proxy, place, postgres: stage.0, mariadb: stage.1, mongodb: stage.2 }
    }

    /// Where Tributary listens.
    pub fn address(&self) -> SocketAddr {
        address(&self.proxy)
    }

    /// A session; Tributary runs.
    pub async fn session(&self) -> Session {
        proxy::open(&proxy::login(self.address(), OWNER)).await.unwrap()
    }

    /// A connection to PostgreSQL that no gate is on.
    pub async fn in_postgres(&self) -> PgConnection {
        let (server, _) = self.postgres.as_ref().unwrap();
        PgConnection::connect_with(&server.postgres_options()).await.unwrap()
    }

    /// The same to MariaDB.
    pub async fn in_mariadb(&self) -> MySqlConnection {
        let (server, _) = self.mariadb.as_ref().unwrap();
        MySqlConnection::connect_with(&server.mysql_options()).await.unwrap()
    }

    /// Prepared transactions in PostgreSQL and MariaDB, by their names.
    pub async fn prepared(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        if self.postgres.is_some() {
            let mut connection = self.in_postgres().await;
            let listed = sqlx::query_scalar::<_, String>("SELECT gid FROM pg_prepared_xacts");
            names.extend(listed.fetch_all(&mut connection).await.unwrap());
            connection.close().await.unwrap();
        }
        if self.mariadb.is_some() {
            let mut connection = self.in_mariadb().await;
            let rows = sqlx::raw_sql("XA RECOVER").fetch_all(&mut connection).await.unwrap();
            names.extend(rows.iter().map(|row| String::from_utf8(row.get::<Vec<u8>, _>("data")).unwrap()));
            connection.close().await.unwrap();
        }
        names
    }
}

/// Where a process of Tributary listens.
pub fn address(proxy: &Tributary) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, proxy.port()))
}

/// Before the rule of reads that a proxy leaves out, in the place of failpoints.
pub const WITHOUT: &str = "without ";

/// The variable with the failpoints.
pub fn variables(failpoints: &str) -> [(&'static str, &str); 1] {
    match failpoints.strip_prefix(WITHOUT) {
        Some(rule) => [("TRIBUTARY_WITHOUT_RULE", rule)],
        None => [("TRIBUTARY_FAILPOINTS", failpoints)],
    }
}

/// Serves a directory by a process on a free port. The directory's own `tributary.toml` is written for it.
pub async fn start(place: &Place, lines: &str, failpoints: &str) -> Tributary {
    let port = free_port().unwrap();
    let text = format!(
        "listen = \"127.0.0.1:{port}\"\nhttp.listen = \"off\"\ndatabase = \"{DATABASE}\"\nauth.trust = true\nlog.level = \"warn\"\n\
         limits.max_connections = 100\nlimits.drain_grace = \"2s\"\n{lines}\n[roles.{OWNER}]\nsuperuser = true\n[roles.guest]\n"
    );
    place.write("tributary.toml", &text);
    let endpoint = Endpoint {
        host: "127.0.0.1".to_owned(),
        port,
        user: OWNER.to_owned(),
        password: Secret::new(""),
        database: DATABASE.to_owned(),
    };
    let program = Path::new(env!("CARGO_BIN_EXE_tributary"));
    Tributary::start_in(program, place.path(), endpoint, &variables(failpoints)).await.unwrap_or_else(|error| panic!("{error}"))
}

/// A store file that goes through a door.
fn behind((place, name, kind): (&Place, &str, &str), (endpoint, door, lines): (&Endpoint, &Door, &str)) {
    let (user, password, database, port) = (endpoint.user(), endpoint.password(), endpoint.database(), door.port());
    let lines = lines_of(kind, lines);
    let login = format!("user = \"{user}\"\npassword = \"{password}\"\ndatabase = \"{database}\"\n");
    let text = match kind {
        "mongodb" => format!(
            "kind = \"mongodb\"\nhosts = [\"127.0.0.1:{port}\"]\ndirect = true\n{login}databases = [\"{database}\"]\n\
             query_timeout = \"5s\"\nserver_selection_timeout = \"3s\"\n{lines}{COLLECTIONS}"
        ),
        "postgres" => format!("kind = \"postgres\"\nport = {port}\n{login}deadline = \"5s\"\npool.size = 12\n{lines}"),
        _ => format!("kind = \"mariadb\"\nport = {port}\n{login}query_timeout = \"5s\"\npool.size = 12\n{lines}"),
    };
    place.write(&format!("stores/{name}.toml"), &text);
}
