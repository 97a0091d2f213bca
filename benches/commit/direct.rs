//! The two phases of each store by its own driver.

use std::time::Instant;

use sqlx::mysql::MySqlConnection;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, raw_sql};

use super::clients::Clients;
use super::measure::{median, must};
use super::stores::Stores;

/// A connection to each.
pub struct Direct {
    postgres: PgConnection,
    mariadb: MySqlConnection,
}

impl Direct {
    /// Connects.
    pub async fn connect(stores: &Stores) -> Self {
        Self { postgres: stores.in_postgres().await, mariadb: stores.in_mariadb().await }
    }

    /// The median times of so many ends of transactions with one row in milliseconds, in PostgreSQL and in MariaDB.
    pub async fn commits(&mut self, keys: &Clients, commits: u64) -> (f64, f64) {
        let (mut in_postgres, mut in_mariadb) = (Vec::new(), Vec::new());
        for _ in 0..commits {
            in_postgres.push(self.in_postgres(keys.key()).await);
            in_mariadb.push(self.in_mariadb(keys.key()).await);
        }
        (median(&in_postgres), median(&in_mariadb))
    }

    async fn in_postgres(&mut self, key: i64) -> f64 {
        let connection = &mut self.postgres;
        must(raw_sql("BEGIN").execute(&mut *connection).await);
        let insert = sqlx::query("INSERT INTO notes (_id, n) VALUES ($1, $2)").bind(key).bind(key % 17);
        must(insert.execute(&mut *connection).await);
        let started = Instant::now();
        for sql in [format!("PREPARE TRANSACTION 'bench {key}'"), format!("COMMIT PREPARED 'bench {key}'")] {
            must(raw_sql(AssertSqlSafe(sql)).execute(&mut *connection).await);
        }
        started.elapsed().as_secs_f64() * 1e3
    }

    async fn in_mariadb(&mut self, key: i64) -> f64 {
        let connection = &mut self.mariadb;
        must(raw_sql(AssertSqlSafe(format!("XA START 'bench {key}'"))).execute(&mut *connection).await);
        let insert = sqlx::query("INSERT INTO notes (_id, n) VALUES (?, ?)").bind(key).bind(key % 17);
        must(insert.execute(&mut *connection).await);
        let started = Instant::now();
        for sql in [format!("XA END 'bench {key}'; XA PREPARE 'bench {key}'"), format!("XA COMMIT 'bench {key}'")] {
            must(raw_sql(AssertSqlSafe(sql)).execute(&mut *connection).await);
        }
        started.elapsed().as_secs_f64() * 1e3
    }
}
