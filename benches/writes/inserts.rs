//! One row at a time, prepared, committed by itself.

use std::time::Instant;

use mongodb::Collection;
use mongodb::bson::{Document, doc};
use sqlx::mysql::MySqlConnection;
use sqlx::postgres::PgConnection;
use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, raw_sql};

use super::Sides;
use super::measure::{median, must};
use super::stores::Stores;

/// Inserts before anything is measured: statements are prepared then, and connections open.
const WARMING: u64 = 20;
const NOTE: &str = "delivered to the neighbour below";

/// The store by its own driver.
enum Direct {
    Postgres(PgConnection),
    MariaDb(MySqlConnection),
    Sqlite(SqliteConnection),
    MongoDb(Collection<Document>),
}

impl Direct {
    async fn connect(stores: &Stores, store: &str) -> Self {
        match store {
            "postgres" => Self::Postgres(stores.in_postgres().await),
            "mariadb" => Self::MariaDb(stores.in_mariadb().await),
            "sqlite" => Self::Sqlite(stores.in_sqlite().await),
            _ => Self::MongoDb(stores.in_mongodb()),
        }
    }

    async fn insert(&mut self, id: i64) {
        const MARKS: &str = "INSERT INTO notes (_id, n, note) VALUES (?, ?, ?)";
        match self {
            Self::Postgres(connection) => {
                let insert = sqlx::query("INSERT INTO notes (_id, n, note) VALUES ($1, $2, $3)").bind(id).bind(id % 17).bind(NOTE);
                must(insert.execute(connection).await);
            }
            Self::MariaDb(connection) => {
                must(sqlx::query(MARKS).bind(id).bind(id % 17).bind(NOTE).execute(connection).await);
            }
            Self::Sqlite(connection) => {
                must(sqlx::query(MARKS).bind(id).bind(id % 17).bind(NOTE).execute(connection).await);
            }
            Self::MongoDb(collection) => {
                must(collection.insert_one(doc! { "_id": id, "n": id % 17, "note": NOTE }).await);
            }
        }
    }
}

/// The same statement by Tributary.
struct Ours {
    connection: PgConnection,
    sql: String,
}

impl Ours {
    async fn insert(&mut self, id: i64) {
        let insert = sqlx::query(AssertSqlSafe(self.sql.clone())).bind(id).bind(id % 17).bind(NOTE);
        let done = must(insert.execute(&mut self.connection).await);
        must(if done.rows_affected() == 1 { Ok(()) } else { Err("the row was not counted") });
    }
}

/// Times of one row in milliseconds: medians over the rounds of the medians of `inserts` rows.
pub async fn compare(stores: &Stores, store: &str, rounds: u64, inserts: u64) -> Sides {
    let sql = format!("INSERT INTO {store}.notes (_id, n, note) VALUES ($1, $2, $3)");
    let mut ours = Ours { connection: stores.connect().await, sql };
    let mut direct = Direct::connect(stores, store).await;
    let mut ids = 1..;
    let mut next = move || ids.next().unwrap_or_default();
    for _ in 0..WARMING {
        ours.insert(next()).await;
        direct.insert(next()).await;
    }
    let (mut of_ours, mut of_direct) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        for turn in 0..2_u64 {
            let mut times = Vec::new();
            // Who goes first changes.
            let is_ours = (round + turn).is_multiple_of(2);
            for _ in 0..inserts {
                let (id, started) = (next(), Instant::now());
                if is_ours {
                    ours.insert(id).await;
                } else {
                    direct.insert(id).await;
                }
                times.push(started.elapsed().as_secs_f64() * 1e3);
            }
            let medians = if is_ours { &mut of_ours } else { &mut of_direct };
            medians.push(median(&times));
        }
    }
    let count = format!("SELECT count(*) FROM {store}.notes");
    let found: i64 = must(sqlx::query_scalar(AssertSqlSafe(count)).fetch_one(&mut ours.connection).await);
    let written = i64::try_from(2 * WARMING + 2 * rounds * inserts).unwrap_or(i64::MAX);
    must(if found == written { Ok(()) } else { Err(format!("{found} rows of {written} are in {store}")) });
    must(raw_sql(AssertSqlSafe(format!("DELETE FROM {store}.notes"))).execute(&mut ours.connection).await);
    Sides { ours: median(&of_ours), direct: median(&of_direct) }
}
