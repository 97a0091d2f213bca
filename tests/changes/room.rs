//! A Tributary in this process over a store of one kind, which is followed, and a writer to that store itself.
//!
//! PostgreSQL makes a slot only when every transaction of its server has ended that was open, so its tests have a server of their own,
//! and MariaDB's too, whose log is that of the server.

use mongodb::bson::Document;
use sqlx::Connection;
use sqlx::mysql::MySqlConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use tokio::sync::OnceCell;
use tributary::sandbox::{MariaDb, Mongo, Postgres, Setup};
use tributary::server::Server;

use super::follow::until_streaming;
use super::native::Native;
use crate::commit::stage::{keep_images, mongodb_client};
use crate::support;
use crate::support::listener::Listener;
use crate::support::proxy::{self, OWNER, Place, Session};

/// Lines of the files of stores that are followed.
pub const LOG: &str = "changes.mode = \"log\"\n";
pub const OUTBOX: &str = "changes.mode = \"outbox\"\nchanges.poll = \"5ms\"\n";

/// Many slots, and commits that are sent at once.
const OF_POSTGRES: [&str; 6] = ["-c", "max_replication_slots=200", "-c", "max_wal_senders=200", "-c", "synchronous_commit=on"];

fn setup(arguments: &[&str]) -> Setup {
    Setup { arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(), ..support::throwaway() }
}

/// A PostgreSQL whose transactions are those of these tests.
pub async fn postgres() -> &'static Postgres {
    static SERVER: OnceCell<Postgres> = OnceCell::const_new();
    SERVER.get_or_init(async || own_postgres(&[]).await).await
}

/// One of a test's own, with further arguments.
pub async fn own_postgres(arguments: &[&str]) -> Postgres {
    Postgres::start_with(&setup(&[&OF_POSTGRES[..], arguments].concat())).await.unwrap()
}

/// A MariaDB whose log is that of these tests.
pub async fn mariadb() -> &'static MariaDb {
    static SERVER: OnceCell<MariaDb> = OnceCell::const_new();
    SERVER.get_or_init(async || own_mariadb(&[]).await).await
}

/// The same, whose commits wait for the log to be on disk: what is in it is told before others see it, as on a server that is to keep what it
/// has.
pub async fn synced_mariadb() -> &'static MariaDb {
    static SERVER: OnceCell<MariaDb> = OnceCell::const_new();
    SERVER.get_or_init(async || own_mariadb(&["--sync-binlog=1"]).await).await
}

/// One of a test's own, with further arguments.
pub async fn own_mariadb(arguments: &[&str]) -> MariaDb {
    MariaDb::start_with(&setup(arguments)).await.unwrap()
}

/// A MongoDB of a test's own, with further arguments.
pub async fn own_mongodb(arguments: &[&str]) -> Mongo {
    Mongo::start_with(&setup(arguments)).await.unwrap()
}

/// A served directory and a session.
pub struct Room {
    // In the order in which they are dropped: the server before its directory.
    session: Option<Session>,
    server: Option<Server>,
    pub place: Place,
}

impl Room {
    /// Serves a directory.
    pub async fn open(place: Place) -> Self {
        let mut room = Self { session: None, server: None, place };
        room.start().await;
        room
    }

    /// Serves it, again or for the first time.
    pub async fn start(&mut self) {
        let server = Box::pin(self.place.serve()).await;
        self.session = Some(proxy::connect(&server, OWNER).await);
        self.server = Some(server);
    }

    /// Ends the server and leaves the directory as it is.
    pub async fn stop(&mut self) {
        self.session = None;
        if let Some(server) = self.server.take() {
            server.stop().await;
        }
    }

    /// The server.
    pub fn server(&self) -> &Server {
        self.server.as_ref().unwrap()
    }

    /// The session.
    pub fn session(&self) -> &Session {
        self.session.as_ref().unwrap()
    }

    /// A client that listens to these channels.
    pub async fn listener(&self, channels: &[&str]) -> Listener {
        Listener::to(&proxy::login(self.server().addresses()[0], OWNER), channels).await
    }
}

/// A database of PostgreSQL as the store `pg`, whose tables are followed.
pub async fn of_postgres(statements: &str, lines: &str, tables: &[&str]) -> (Room, Native) {
    on_postgres(postgres().await, statements, lines, tables).await
}

/// The same on a server.
pub async fn on_postgres(server: &Postgres, statements: &str, lines: &str, tables: &[&str]) -> (Room, Native) {
    let place = Place::new();
    let database = proxy::fresh(server, statements).await;
    place.postgres("pg", server, &database, lines);
    let room = Room::open(place).await;
    until_streaming(room.session(), "pg", tables).await;
    (room, Native::Postgres(proxy::direct(server, &database).await))
}

/// A database of MariaDB as the store `maria`. Others of the server, which are those of other tests, are shown and not followed.
pub async fn of_mariadb(statements: &str, lines: &str, tables: &[&str]) -> (Room, Native) {
    on_mariadb(mariadb().await, statements, lines, tables).await
}

/// The same on a server.
pub async fn on_mariadb(server: &MariaDb, statements: &str, lines: &str, tables: &[&str]) -> (Room, Native) {
    let place = Place::new();
    let database = server.fresh_database().await.unwrap();
    let options = server.mysql_options().database(&database);
    let mut native = Native::MariaDb(MySqlConnection::connect_with(&options).await.unwrap());
    native.run(statements).await;
    let own = if lines.is_empty() { String::new() } else { format!("changes.tables = [\"{database}.*\"]\n") };
    place.mariadb("maria", server, &database, &format!("{own}{lines}"));
    let room = Room::open(place).await;
    if !lines.is_empty() {
        until_streaming(room.session(), "maria", tables).await;
    }
    (room, native)
}

/// A SQLite file as the store `file`.
pub async fn of_sqlite(statements: &str, lines: &str, tables: &[&str]) -> (Room, Native) {
    let place = Place::new();
    place.sqlite_with("file", statements, lines).await;
    let native = in_file(&place).await;
    let room = Room::open(place).await;
    until_streaming(room.session(), "file", tables).await;
    (room, native)
}

/// A writer to that file.
pub async fn in_file(place: &Place) -> Native {
    let options = SqliteConnectOptions::new().filename(place.path().join("file.db"));
    Native::Sqlite(SqliteConnection::connect_with(&options.busy_timeout(proxy::PATIENCE)).await.unwrap())
}

/// A database of MongoDB as the store `mongo`, with these documents.
pub async fn of_mongodb(documents: &[(&str, Vec<Document>)], lines: &str) -> (Room, mongodb::Database) {
    on_mongodb(support::mongodb().await, documents, lines).await
}

/// The same on a server.
pub async fn on_mongodb(server: &Mongo, documents: &[(&str, Vec<Document>)], lines: &str) -> (Room, mongodb::Database) {
    let place = Place::new();
    let name = server.fresh_database().await.unwrap();
    let database = mongodb_client(server).await.database(&name);
    for (collection, documents) in documents {
        if documents.is_empty() {
            database.create_collection(*collection).await.unwrap();
        } else {
            database.collection::<Document>(collection).insert_many(documents).await.unwrap();
        }
        keep_images(&database, &[*collection], lines).await;
    }
    place.mongodb("mongo", server, &name, lines);
    let room = Room::open(place).await;
    let tables: Vec<&str> = documents.iter().map(|(collection, _)| *collection).collect();
    until_streaming(room.session(), "mongo", &tables).await;
    (room, database)
}
