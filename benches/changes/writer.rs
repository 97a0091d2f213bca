//! Who writes rows past Tributary, one by one.

use mongodb::Collection;
use mongodb::bson::{Document, doc};
use sqlx::mysql::MySqlConnection;
use sqlx::postgres::PgConnection;
use sqlx::sqlite::SqliteConnection;

use super::measure::must;
use super::servers::Databases;

/// Who writes to the `notes` of one store.
pub enum Writer {
    Postgres(PgConnection),
    MariaDb(MySqlConnection),
    MongoDb(Collection<Document>),
    Sqlite(SqliteConnection),
}

impl Writer {
    /// One for the store of this name.
    pub async fn to(databases: &Databases, store: &str) -> Self {
        match store {
            "postgres" => Self::Postgres(databases.in_postgres().await),
            "mariadb" => Self::MariaDb(databases.in_mariadb().await),
            "mongodb" => Self::MongoDb(databases.in_mongodb("notes")),
            _ => Self::Sqlite(databases.in_sqlite().await),
        }
    }

    /// One row, committed.
    pub async fn write(&mut self, key: i64) {
        match self {
            Self::Postgres(connection) => {
                let insert = sqlx::query("INSERT INTO notes (_id, n) VALUES ($1, $2)").bind(key).bind(key % 17);
                must(insert.execute(connection).await.map(drop));
            }
            Self::MariaDb(connection) => {
                let insert = sqlx::query("INSERT INTO notes (_id, n) VALUES (?, ?)").bind(key).bind(key % 17);
                must(insert.execute(connection).await.map(drop));
            }
            Self::MongoDb(collection) => must(collection.insert_one(doc! { "_id": key, "n": key % 17 }).await.map(drop)),
            Self::Sqlite(connection) => {
                let insert = sqlx::query("INSERT INTO notes (_id, n) VALUES (?, ?)").bind(key).bind(key % 17);
                must(insert.execute(connection).await.map(drop));
            }
        }
    }
}
