//! Writers of stores themselves, past Tributary: the same deeds in the words of each of them.

use mongodb::bson::{Document, doc};
use mongodb::{Client, ClientSession, Database};
use sqlx::mysql::MySqlConnection;
use sqlx::postgres::PgConnection;
use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Executor};

use super::check::{Content, Deed};

/// A connection to a store, in which at most one transaction is open.
pub enum Native {
    Postgres(PgConnection),
    MariaDb(MySqlConnection),
    Sqlite(SqliteConnection),
    MongoDb { client: Client, database: Database, open: Option<Box<ClientSession>> },
}

impl Native {
    /// Runs a statement of SQL.
    pub async fn run(&mut self, sql: &str) {
        self.try_run(sql).await.unwrap_or_else(|error| panic!("{error}"));
    }

    /// The same, where the server may go away meanwhile.
    pub async fn try_run(&mut self, sql: &str) -> Result<(), sqlx::Error> {
        let sql = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
        match self {
            Self::Postgres(connection) => connection.execute(sql).await.map(drop),
            Self::MariaDb(connection) => connection.execute(sql).await.map(drop),
            Self::Sqlite(connection) => connection.execute(sql).await.map(drop),
            Self::MongoDb { .. } => panic!("no SQL is spoken there"),
        }
    }

    /// Begins a transaction.
    pub async fn begin(&mut self) {
        match self {
            Self::Sqlite(_) => self.run("BEGIN IMMEDIATE").await,
            Self::Postgres(_) | Self::MariaDb(_) => self.run("BEGIN").await,
            Self::MongoDb { client, open, .. } => {
                let mut session = client.start_session().await.unwrap();
                session.start_transaction().await.unwrap();
                *open = Some(Box::new(session));
            }
        }
    }

    /// Ends it.
    pub async fn end(&mut self, is_kept: bool) {
        match self {
            Self::MongoDb { open, .. } => {
                let mut session = open.take().unwrap();
                if is_kept { session.commit_transaction().await.unwrap() } else { session.abort_transaction().await.unwrap() }
            }
            _ => self.run(if is_kept { "COMMIT" } else { "ROLLBACK" }).await,
        }
    }

    /// Whether it can go back to a point within a transaction.
    pub fn has_savepoints(&self) -> bool {
        !matches!(self, Self::MongoDb { .. })
    }

    /// Adds the row of a transaction.
    pub async fn number(&mut self, number: i64, deeds: usize) {
        if let Self::MongoDb { database, open, .. } = self {
            let row = doc! { "_id": number, "account": 0_i64, "amount": i64::try_from(deeds).unwrap() };
            let moves = database.collection::<Document>("moves");
            moves.insert_one(row).session(open.as_deref_mut().unwrap()).await.unwrap();
            return;
        }
        self.run(&format!("INSERT INTO moves (_id, account, amount) VALUES ({number}, 0, {deeds})")).await;
    }

    /// Adds a row to `lists`, by itself.
    pub async fn add(&mut self, id: i64) {
        if let Self::MongoDb { database, .. } = self {
            let lists = database.collection::<Document>("lists");
            lists.insert_one(doc! { "_id": id, "v": "" }).await.unwrap();
            return;
        }
        self.run(&format!("INSERT INTO lists (_id, v) VALUES ({id}, '')")).await;
    }

    /// Gives `lists` a column that nobody knows of; where documents have no columns, it begins or ceases to keep whole images of them.
    pub async fn alter(&mut self, number: i64) {
        if let Self::MongoDb { database, .. } = self {
            let images = doc! { "enabled": number % 2 == 0 };
            database.run_command(doc! { "collMod": "lists", "changeStreamPreAndPostImages": images }).await.unwrap();
            return;
        }
        self.run(&format!("ALTER TABLE lists ADD COLUMN c{number} bigint")).await;
    }

    /// Does something to a row of `accounts`. `rows` says whether it is there.
    pub async fn deed(&mut self, deed: Deed, rows: &Content) {
        if let Self::MongoDb { database, open, .. } = self {
            let accounts = database.collection::<Document>("accounts");
            let session = open.as_deref_mut().unwrap();
            match deed {
                Deed::Put { key, value } => {
                    let set = doc! { "$set": { "balance": value } };
                    accounts.update_one(doc! { "_id": key }, set).upsert(true).session(session).await.unwrap();
                }
                Deed::Delete { key } => {
                    accounts.delete_one(doc! { "_id": key }).session(session).await.unwrap();
                }
                Deed::Move { .. } => panic!("keys of documents stay as they are"),
            }
            return;
        }
        self.run(&sql("accounts", deed, rows)).await;
    }
}

/// A deed as a statement over `accounts` under this name.
pub fn sql(accounts: &str, deed: Deed, rows: &Content) -> String {
    match deed {
        Deed::Put { key, value } if rows.contains_key(&key) => {
            format!("UPDATE {accounts} SET balance = {value} WHERE _id = {key}")
        }
        Deed::Put { key, value } => format!("INSERT INTO {accounts} (_id, balance) VALUES ({key}, {value})"),
        Deed::Delete { key } => format!("DELETE FROM {accounts} WHERE _id = {key}"),
        Deed::Move { from, to, value } => format!("UPDATE {accounts} SET _id = {to}, balance = {value} WHERE _id = {from}"),
    }
}
