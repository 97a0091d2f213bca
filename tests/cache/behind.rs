//! Writers of a store itself that give some accounts, and their rows of `moves`, one number in one transaction. Their server may go away
//! meanwhile.

use mongodb::bson::{Document, doc};
use mongodb::{Client, Database};
use sqlx::Connection;
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};

use crate::changes::check::End;
use crate::changes::native::Native;

/// How one comes to a store, again and again.
#[derive(Debug, Clone)]
pub enum Way {
    Postgres(Box<PgConnectOptions>),
    MariaDb(Box<MySqlConnectOptions>),
    Sqlite(Box<SqliteConnectOptions>),
    MongoDb(Client, Database),
}

impl Way {
    /// A connection; `None` where the store is away.
    pub async fn open(&self) -> Option<Native> {
        match self {
            Self::Postgres(options) => PgConnection::connect_with(options).await.ok().map(Native::Postgres),
            Self::MariaDb(options) => {
                let mut native = MySqlConnection::connect_with(options).await.ok().map(Native::MariaDb)?;
                // Without locks of what lies between rows.
                native.try_run("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED").await.ok()?;
                Some(native)
            }
            Self::Sqlite(options) => SqliteConnection::connect_with(options).await.ok().map(Native::Sqlite),
            Self::MongoDb(client, database) => {
                Some(Native::MongoDb { client: client.clone(), database: database.clone(), open: None })
            }
        }
    }
}

/// One of them.
pub struct Behind {
    native: Native,
}

impl Behind {
    /// Over a connection.
    pub fn new(native: Native) -> Self {
        Self { native }
    }

    /// Writes a number to keys, and keeps it or undoes it. Tells how that ended as far as anybody knows; another connection is needed
    /// where an error has come.
    pub async fn write(&mut self, number: i64, keys: &[i64], is_kept: bool) -> Result<End, End> {
        if let Some((client, database)) = self.documents() {
            return documents((&client, &database), (number, keys), is_kept).await;
        }
        let begin = if matches!(self.native, Native::Sqlite(_)) { "BEGIN IMMEDIATE" } else { "BEGIN" };
        for sql in std::iter::once(begin.to_owned()).chain(updates("", number, keys)) {
            self.native.try_run(&sql).await.map_err(|_lost| End::Undone)?;
        }
        if !is_kept {
            self.native.try_run("ROLLBACK").await.map_err(|_lost| End::Undone)?;
            return Ok(End::Undone);
        }
        self.native.try_run("COMMIT").await.map(|()| End::Kept).map_err(|_lost| End::Unknown)
    }

    /// The client and the database of documents.
    fn documents(&self) -> Option<(Client, Database)> {
        let Native::MongoDb { client, database, .. } = &self.native else { return None };
        Some((client.clone(), database.clone()))
    }

    /// Writes a number that is kept.
    pub async fn keep(&mut self, number: i64, keys: &[i64]) {
        assert_eq!(self.write(number, keys, true).await, Ok(End::Kept), "{number} was not written");
    }
}

/// Statements that give keys a number, over tables of a schema that ends with its dot.
pub fn updates(schema: &str, number: i64, keys: &[i64]) -> [String; 2] {
    let keys = keys.iter().map(i64::to_string).collect::<Vec<_>>().join(", ");
    [
        format!("UPDATE {schema}accounts SET balance = {number} WHERE _id IN ({keys})"),
        format!("UPDATE {schema}moves SET amount = {number} WHERE _id IN ({keys})"),
    ]
}

async fn documents((client, database): (&Client, &Database), (number, keys): (i64, &[i64]), is_kept: bool) -> Result<End, End> {
    let mut session = client.start_session().await.map_err(|_lost| End::Undone)?;
    session.start_transaction().await.map_err(|_lost| End::Undone)?;
    for (collection, field) in [("accounts", "balance"), ("moves", "amount")] {
        let mut set = Document::new();
        set.insert(field, number);
        let which = doc! { "_id": { "$in": keys.to_vec() } };
        let collection = database.collection::<Document>(collection);
        let written = collection.update_many(which, doc! { "$set": set });
        written.session(&mut session).await.map_err(|_lost| End::Undone)?;
    }
    if !is_kept {
        session.abort_transaction().await.map_err(|_lost| End::Undone)?;
        return Ok(End::Undone);
    }
    session.commit_transaction().await.map(|()| End::Kept).map_err(|_lost| End::Unknown)
}
