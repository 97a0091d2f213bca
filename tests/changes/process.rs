//! Tributary as a process of its own over one store that is followed and has an outbox, to be killed and started again, and a writer to
//! that store itself.

use std::path::{Path, PathBuf};

use mongodb::bson::{Document, doc};
use sqlx::Connection;
use sqlx::mysql::MySqlConnection;
use tempfile::TempDir;
use tokio::process::Command;
use tributary::sandbox::{MariaDb, Mongo, Postgres, Tributary};

use super::eventually;
use super::follow::until_streaming;
use super::native::Native;
use super::room::{self, LOG, OUTBOX};
use crate::commit::stage::{address, mongodb_client, start, variables};
use crate::support::listener::Listener;
use crate::support::proxy::{self, OWNER, Place, Session};

const ORDERS: &str = "CREATE TABLE orders (_id bigint NOT NULL PRIMARY KEY, v text)";
const COLUMNS: &str = "sample = 0\n[collections.orders.columns]\n_id = \"bigint\"\n";

/// The process, its directory and a connection to its store.
pub struct Process {
    // In the order in which they are dropped: the process before its directory.
    pub proxy: Tributary,
    pub place: Place,
    pub native: Native,
    pub store: &'static str,
}

impl Process {
    /// Over a database of PostgreSQL, which is followed by its log.
    pub async fn of_postgres(server: &Postgres, failpoints: &str) -> Self {
        let place = Place::new();
        let database = proxy::fresh(server, ORDERS).await;
        place.postgres("pg", server, &database, &format!("outbox = true\n{LOG}"));
        let native = Native::Postgres(proxy::direct(server, &database).await);
        Self::over("pg", (place, native), failpoints).await
    }

    /// Over one of MariaDB.
    pub async fn of_mariadb(server: &MariaDb, failpoints: &str) -> Self {
        let place = Place::new();
        let database = server.fresh_database().await.unwrap();
        let options = server.mysql_options().database(&database);
        let mut native = Native::MariaDb(MySqlConnection::connect_with(&options).await.unwrap());
        native.run(ORDERS).await;
        place.mariadb("maria", server, &database, &format!("outbox = true\n{LOG}"));
        Self::over("maria", (place, native), failpoints).await
    }

    /// Over one of MongoDB.
    pub async fn of_mongodb(server: &Mongo, failpoints: &str) -> Self {
        let place = Place::new();
        let name = server.fresh_database().await.unwrap();
        let client = mongodb_client(server).await;
        let database = client.database(&name);
        database.create_collection("orders").await.unwrap();
        place.mongodb("mongo", server, &name, &format!("outbox = true\n{LOG}{COLUMNS}"));
        Self::over("mongo", (place, Native::MongoDb { client, database, open: None }), failpoints).await
    }

    /// Over a SQLite file.
    pub async fn of_sqlite(failpoints: &str) -> Self {
        let place = Place::new();
        place.sqlite_with("file", ORDERS, &format!("outbox = true\n{OUTBOX}")).await;
        let native = room::in_file(&place).await;
        Self::over("file", (place, native), failpoints).await
    }

    async fn over(store: &'static str, (place, native): (Place, Native), failpoints: &str) -> Self {
        let proxy = Box::pin(start(&place, "", failpoints)).await;
        let process = Self { proxy, place, native, store };
        process.is_followed().await;
        process
    }

    /// Waits until its tables are followed and its outbox can be read, which was made at the start.
    async fn is_followed(&self) {
        let session = self.session().await;
        until_streaming(&session, self.store, &["orders"]).await;
        session.answer(&format!("CALL tributary.refresh('{}')", self.store)).await;
        until_streaming(&session, self.store, &["tributary_outbox"]).await;
    }

    /// A session.
    pub async fn session(&self) -> Session {
        proxy::open(&proxy::login(address(&self.proxy), OWNER)).await.unwrap()
    }

    /// A client that listens to these channels.
    pub async fn listener(&self, channels: &[&str]) -> Listener {
        Listener::to(&proxy::login(address(&self.proxy), OWNER), channels).await
    }

    /// Kills it.
    pub async fn kill(&mut self) {
        self.proxy.kill().await.unwrap();
    }

    /// Asks it to end, and waits until it has.
    pub async fn end(&self) {
        let process = self.proxy.process_id().unwrap().to_string();
        assert!(Command::new("kill").args(["-TERM", &process]).status().await.unwrap().success());
        eventually("the end of the process", async || self.proxy.has_ended().then_some(())).await;
    }

    /// Starts it again, with nothing that stops it.
    pub async fn again(&mut self) {
        self.proxy.again(&variables("")).await.unwrap();
        self.is_followed().await;
    }

    /// Adds a row past it.
    pub async fn insert(&mut self, id: i64) {
        if let Native::MongoDb { database, .. } = &self.native {
            database.collection::<Document>("orders").insert_one(doc! { "_id": id }).await.unwrap();
            return;
        }
        self.native.run(&format!("INSERT INTO orders (_id) VALUES ({id})")).await;
    }

    /// The statement that writes an event with a key to its outbox.
    pub fn emit(&self, key: &str) -> String {
        format!("CALL tributary.emit('t', '{key}', '1', '{}')", self.store)
    }

    /// How many events wait in its outbox.
    pub async fn waiting(&self, session: &Session) -> String {
        session.answer(&format!("SELECT count(*) FROM {}.tributary_outbox", self.store)).await
    }

    /// The keys of all events that its log tells of, in their order.
    pub async fn events(&self, session: &Session) -> Vec<String> {
        self.appeared(session, "tributary_outbox", "new->>'key'").await
    }

    /// Those of all rows of `orders`.
    pub async fn orders(&self, session: &Session) -> Vec<String> {
        self.appeared(session, "orders", "key->>'_id'").await
    }

    async fn appeared(&self, session: &Session, table: &str, column: &str) -> Vec<String> {
        let sql = format!(
            "SELECT {column} FROM tributary.changes WHERE store = '{}' AND table_name = '{table}' \
             AND op IN ('insert', 'upsert', 'read') ORDER BY position",
            self.store
        );
        session.rows(&sql).await.unwrap()
    }

    /// What is on disk of its log now.
    pub fn log(&self) -> TempDir {
        let saved = tempfile::tempdir().unwrap();
        copy(&self.log_directory(), saved.path());
        saved
    }

    /// Puts an earlier state of its log into the place of what there is, as if the machine had lost what was written since.
    pub fn put_log(&self, saved: &TempDir) {
        let directory = self.log_directory();
        std::fs::remove_dir_all(&directory).unwrap();
        std::fs::create_dir(&directory).unwrap();
        copy(saved.path(), &directory);
    }

    fn log_directory(&self) -> PathBuf {
        self.place.path().join(".state/changes").join(self.store)
    }
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}

/// A step on the way of a change to its log, at which the process waits when the test wishes so (`write::failpoint`).
pub struct Step {
    directory: TempDir,
    point: &'static str,
}

impl Step {
    pub fn new(point: &'static str) -> Self {
        Self { directory: tempfile::tempdir().unwrap(), point }
    }

    /// What the process is told at its start.
    pub fn failpoint(&self) -> String {
        format!("{}=ask:{}", self.point, self.directory.path().display())
    }

    /// The next one at the step waits there until the process is killed.
    pub fn hold(&self) {
        std::fs::write(self.directory.path().join(self.point), "").unwrap();
    }

    /// Whether somebody waits there.
    pub fn is_held(&self) -> bool {
        self.directory.path().join(format!("{}.held", self.point)).exists()
    }
}
