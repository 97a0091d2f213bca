//! The two phases of each store by its own driver.

use std::time::{Duration, Instant};

use futures::future::join_all;
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

    /// How many transactions with a row in each so many clients commit in a second of a while: both prepare, then both commit, without a
    /// record of the decision.
    pub async fn per_second(stores: &Stores, keys: &Clients, (clients, wait): (usize, Duration)) -> f64 {
        let mut connections = join_all((0..clients).map(|_| Self::connect(stores))).await;
        let started = Instant::now();
        let work = connections.iter_mut().map(|direct| async move {
            let mut commits = 0_u64;
            while started.elapsed() < wait {
                direct.both(keys.key()).await;
                commits += 1;
            }
            commits
        });
        let commits: u64 = join_all(work).await.into_iter().sum();
        commits as f64 / started.elapsed().as_secs_f64()
    }

    async fn both(&mut self, key: i64) {
        self.write_to_postgres(key).await;
        self.write_to_mariadb(key).await;
        let (postgres, mariadb) = (&mut self.postgres, &mut self.mariadb);
        let prepare = format!("PREPARE TRANSACTION 'bench {key}'");
        must(raw_sql(AssertSqlSafe(prepare)).execute(&mut *postgres).await);
        must(raw_sql(AssertSqlSafe(format!("XA END 'bench {key}'; XA PREPARE 'bench {key}'"))).execute(&mut *mariadb).await);
        must(raw_sql(AssertSqlSafe(format!("COMMIT PREPARED 'bench {key}'"))).execute(&mut *postgres).await);
        must(raw_sql(AssertSqlSafe(format!("XA COMMIT 'bench {key}'"))).execute(&mut *mariadb).await);
    }

    async fn write_to_postgres(&mut self, key: i64) {
        must(raw_sql("BEGIN").execute(&mut self.postgres).await);
        let insert = sqlx::query("INSERT INTO notes (_id, n) VALUES ($1, $2)").bind(key).bind(key % 17);
        must(insert.execute(&mut self.postgres).await);
    }

    async fn write_to_mariadb(&mut self, key: i64) {
        must(raw_sql(AssertSqlSafe(format!("XA START 'bench {key}'"))).execute(&mut self.mariadb).await);
        let insert = sqlx::query("INSERT INTO notes (_id, n) VALUES (?, ?)").bind(key).bind(key % 17);
        must(insert.execute(&mut self.mariadb).await);
    }

    async fn in_postgres(&mut self, key: i64) -> f64 {
        self.write_to_postgres(key).await;
        let connection = &mut self.postgres;
        let started = Instant::now();
        for sql in [format!("PREPARE TRANSACTION 'bench {key}'"), format!("COMMIT PREPARED 'bench {key}'")] {
            must(raw_sql(AssertSqlSafe(sql)).execute(&mut *connection).await);
        }
        started.elapsed().as_secs_f64() * 1e3
    }

    async fn in_mariadb(&mut self, key: i64) -> f64 {
        self.write_to_mariadb(key).await;
        let connection = &mut self.mariadb;
        let started = Instant::now();
        for sql in [format!("XA END 'bench {key}'; XA PREPARE 'bench {key}'"), format!("XA COMMIT 'bench {key}'")] {
            must(raw_sql(AssertSqlSafe(sql)).execute(&mut *connection).await);
        }
        started.elapsed().as_secs_f64() * 1e3
    }
}
