//! The stores, whose changes are followed, and Tributary before them: a process that can be ended and started again on its directory.

use std::ops::Deref;
use std::time::Duration;

use sqlx::postgres::PgListener;
use sqlx::{Connection, raw_sql};
use tributary::sandbox::{Setup, Tributary};

use super::measure::must;
use super::numbers;
use super::servers::{Databases, listener};

const TABLES: &str = "CREATE TABLE notes (_id bigint NOT NULL PRIMARY KEY, n bigint NOT NULL);
    CREATE TABLE load_rows (_id bigint NOT NULL PRIMARY KEY, a bigint NOT NULL, b integer, c text, d text, e timestamp)";
/// What collections that are empty at first will hold.
const COLUMNS: &str = "[collections.notes.columns]\n_id = \"bigint\"\nn = \"bigint\"\n\
    [collections.load_rows.columns]\n_id = \"bigint\"\na = \"bigint\"\nc = \"text\"\n";

/// The servers; dropping this ends them.
pub struct Stores {
    databases: Databases,
    http: u16,
    server: Tributary,
}

impl Deref for Stores {
    type Target = Databases;

    fn deref(&self) -> &Databases {
        &self.databases
    }
}

impl Stores {
    /// Starts everything, with empty tables, and waits until all feeds stream.
    pub async fn start() -> Self {
        let databases = Box::pin(Databases::start(&Setup::default())).await;
        fill(&databases).await;
        let (server, http) = Box::pin(databases.tributary("", ["", "", COLUMNS, ""])).await;
        Self { databases, http, server }
    }

    /// A number that the server tells, the sum of those that begin so.
    pub async fn number(&self, name: &str) -> u64 {
        numbers::sum(self.http, name).await
    }

    /// The processor time of the server so far.
    pub fn processor_time(&self) -> Duration {
        numbers::processor_time(self.server.process_id().unwrap_or_default())
    }

    /// Ends the server at once.
    pub async fn stop(&mut self) {
        must(self.server.kill().await);
    }

    /// Starts it again; its feeds begin at about the same time at which it can be logged in to.
    pub async fn again(&mut self) {
        must(self.server.again(&[]).await);
    }

    /// A client that listens to a table of a store.
    pub async fn listener(&self, channel: &str) -> PgListener {
        listener(&self.server, channel).await
    }
}

/// Makes the tables.
async fn fill(databases: &Databases) {
    let mut connection = databases.in_postgres().await;
    must(raw_sql(TABLES).execute(&mut connection).await);
    must(connection.close().await);
    let mut connection = databases.in_mariadb().await;
    must(raw_sql(TABLES).execute(&mut connection).await);
    must(connection.close().await);
    let mut connection = databases.in_sqlite().await;
    must(raw_sql(TABLES).execute(&mut connection).await);
    must(connection.close().await);
    for collection in ["notes", "load_rows"] {
        must(databases.mongodb().create_collection(collection).await);
    }
}
