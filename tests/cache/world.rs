//! A Tributary in this process over one store, whose `accounts`, `moves` and `lists` are cached, and a writer to that store itself.

use std::net::SocketAddr;

use mongodb::bson::{Document, doc};
use tributary::sandbox::{MariaDb, Mongo};

use super::behind::Behind;
use super::copies::{reader, until_cached};
use crate::changes::check::{Content, Deed};
use crate::changes::native::Native;
use crate::changes::room::{self, LOG, OUTBOX, Room};
use crate::commit::stage::{ACCOUNTS, COLLECTIONS, LISTS, START, mongodb_client, tables};
use crate::support;
use crate::support::proxy::Session;

/// The tables of each store.
pub const TABLES: [&str; 3] = ["accounts", "moves", "lists"];

/// The store with its writer.
pub struct World {
    pub room: Room,
    pub native: Native,
    pub store: &'static str,
    /// What `accounts` has.
    pub rows: Content,
}

/// The line of a store file that has these tables cached.
pub fn cached(tables: &[&str]) -> String {
    let quoted: Vec<String> = tables.iter().map(|table| format!("\"{table}\"")).collect();
    format!("changes.cached = [{}]\n", quoted.join(", "))
}

fn lines(mode: &str) -> String {
    format!("{mode}{}", cached(&TABLES))
}

/// Statements that make the tables, and give each account its row of `moves`.
pub fn statements() -> String {
    let moves: Vec<String> = (1..=ACCOUNTS).map(|id| format!("({id}, 0, {START})")).collect();
    format!("{}; INSERT INTO moves VALUES {}", tables().join("; "), moves.join(", "))
}

/// Over a database of PostgreSQL.
pub async fn of_postgres() -> World {
    let (room, native) = Box::pin(room::of_postgres(&statements(), &lines(LOG), &TABLES)).await;
    World::new(room, native, "pg").await
}

/// Over a database of MariaDB.
pub async fn of_mariadb() -> World {
    on_mariadb(room::mariadb().await).await
}

/// Over one of a MariaDB that tells of what others do not see yet.
pub async fn of_synced_mariadb() -> World {
    on_mariadb(room::synced_mariadb().await).await
}

/// The same on a server.
pub async fn on_mariadb(server: &MariaDb) -> World {
    let (room, mut native) = Box::pin(room::on_mariadb(server, &statements(), &lines(LOG), &TABLES)).await;
    // Without locks of what lies between rows.
    native.run("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED").await;
    World::new(room, native, "maria").await
}

/// Over a file, which is read while it is written to.
pub async fn of_sqlite() -> World {
    let statements = format!("PRAGMA journal_mode = wal; {}", statements());
    let (room, native) = Box::pin(room::of_sqlite(&statements, &lines(OUTBOX), &TABLES)).await;
    World::new(room, native, "file").await
}

/// Over a file, which is read through one connection, so that whoever writes waits for whoever reads.
pub async fn of_narrow_sqlite() -> World {
    let lines = format!("{}pool.size = 1\n", lines(OUTBOX));
    let (room, native) = Box::pin(room::of_sqlite(&statements(), &lines, &TABLES)).await;
    World::new(room, native, "file").await
}

/// The collections and what is in them.
pub fn documents() -> [(&'static str, Vec<Document>); 3] {
    let accounts: Vec<Document> = (1..=ACCOUNTS).map(|id| doc! { "_id": id, "balance": START }).collect();
    let moves: Vec<Document> = (1..=ACCOUNTS).map(|id| doc! { "_id": id, "account": 0_i64, "amount": START }).collect();
    let lists: Vec<Document> = (1..=LISTS).map(|id| doc! { "_id": id, "v": "" }).collect();
    [("accounts", accounts), ("moves", moves), ("lists", lists)]
}

/// Over a database of MongoDB.
pub async fn of_mongodb() -> World {
    on_mongodb(support::mongodb().await).await
}

/// The same on a server.
pub async fn on_mongodb(server: &Mongo) -> World {
    let lines = format!("{}{COLLECTIONS}", lines(LOG));
    let (room, database) = Box::pin(room::on_mongodb(server, &documents(), &lines)).await;
    let client = mongodb_client(server).await;
    let native = Native::MongoDb { database: client.database(database.name()), client, open: None };
    World::new(room, native, "mongo").await
}

impl World {
    async fn new(room: Room, native: Native, store: &'static str) -> Self {
        until_cached(room.session(), store, &TABLES).await;
        let rows = (1..=ACCOUNTS).map(|id| (id, START)).collect();
        Self { room, native, store, rows }
    }

    /// Where Tributary listens.
    pub fn address(&self) -> SocketAddr {
        self.room.server().addresses()[0]
    }

    /// A session with these settings of `tributary`.
    pub async fn reader(&self, settings: &[(&str, &str)]) -> Session {
        reader(self.address(), settings).await
    }

    /// A transaction past Tributary that does this.
    pub async fn does(&mut self, deed: Deed) {
        self.native.begin().await;
        self.native.deed(deed, &self.rows).await;
        self.native.end(true).await;
        deed.apply(&mut self.rows);
    }

    /// One that is undone.
    pub async fn undoes(&mut self, deed: Deed) {
        self.native.begin().await;
        self.native.deed(deed, &self.rows).await;
        self.native.end(false).await;
    }

    /// The rows of `accounts` in the order of their keys, as clients see them.
    pub fn listed(&self) -> Vec<String> {
        self.rows.iter().map(|(key, balance)| format!("{key}|{balance}")).collect()
    }

    /// Gives the room, and a writer of keys over the same connection.
    pub fn into_writer(self) -> (Room, Behind) {
        (self.room, Behind::new(self.native))
    }
}
