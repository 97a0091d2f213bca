//! Clients of Tributary that write a row to each of some stores and commit.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use futures::future::join_all;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, raw_sql};

use super::measure::{median, must};
use super::stores::Stores;

/// Gives the keys of all rows.
#[derive(Debug, Default)]
pub struct Clients {
    given: AtomicI64,
}

impl Clients {
    /// A key that no row has.
    pub fn key(&self) -> i64 {
        self.given.fetch_add(1, Ordering::Relaxed)
    }

    /// The median time of so many COMMITs in milliseconds.
    pub async fn commits(&self, connection: &mut PgConnection, stores: &[&str], commits: u64) -> f64 {
        let mut times = Vec::new();
        for _ in 0..commits {
            times.push(self.commit(connection, stores).await.as_secs_f64() * 1e3);
        }
        median(&times)
    }

    /// One transaction, and the time of its COMMIT.
    async fn commit(&self, connection: &mut PgConnection, stores: &[&str]) -> Duration {
        must(raw_sql("BEGIN").execute(&mut *connection).await);
        for store in stores {
            let insert = format!("INSERT INTO {store}.notes (_id, n) VALUES ($1, $2)");
            let key = self.key();
            must(sqlx::query(AssertSqlSafe(insert)).bind(key).bind(key % 17).execute(&mut *connection).await);
        }
        let started = Instant::now();
        must(raw_sql("COMMIT").execute(&mut *connection).await);
        started.elapsed()
    }

    /// How many transactions so many clients commit in a second of a while.
    pub async fn per_second(&self, stores: &Stores, written: &[&str], (clients, wait): (usize, Duration)) -> f64 {
        let mut connections = join_all((0..clients).map(|_| stores.connect())).await;
        let started = Instant::now();
        let work = connections.iter_mut().map(|connection| async move {
            let mut commits = 0_u64;
            while started.elapsed() < wait {
                self.commit(connection, written).await;
                commits += 1;
            }
            commits
        });
        let commits: u64 = join_all(work).await.into_iter().sum();
        commits as f64 / started.elapsed().as_secs_f64()
    }
}
