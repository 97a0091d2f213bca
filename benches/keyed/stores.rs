//! Three stores that a customer is spread over, and what is in them.

use std::time::Duration;

use mongodb::bson::{Document, doc};
use sqlx::mysql::MySqlConnection;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection, raw_sql};
use tributary::sandbox::{Endpoint, MariaDb, Mongo, Postgres, Setup, Wire};

use super::direct;
use super::measure::must;

/// Documents of one insert.
const INSERTED: u64 = 10_000;
/// Memory for cached data of each server: everything is in it.
const CACHE_MIB: u32 = 512;

/// Where a customer, its orders and its profile are, in the order in which they are looked up.
#[derive(Debug, Clone)]
pub struct Reached {
    /// MariaDB.
    pub customers: Endpoint,
    /// PostgreSQL.
    pub orders: Endpoint,
    /// MongoDB.
    pub profiles: Endpoint,
}

impl Reached {
    /// The same servers behind forwarders of their own, in the order of the fields.
    pub async fn behind(&self, round_trip: Duration) -> (Self, [Wire; 3]) {
        let wires = [
            must(Wire::to(&self.customers, round_trip).await),
            must(Wire::to(&self.orders, round_trip).await),
            must(Wire::to(&self.profiles, round_trip).await),
        ];
        let [customers, orders, profiles] = &wires;
        let reached = Self {
            customers: customers.in_front_of(&self.customers),
            orders: orders.in_front_of(&self.orders),
            profiles: profiles.in_front_of(&self.profiles),
        };
        (reached, wires)
    }
}

/// The servers; dropping this ends them.
pub struct Stores {
    mariadb: MariaDb,
    postgres: Postgres,
    mongodb: Mongo,
    /// Customers have the numbers from 1 to this one.
    pub customers: u64,
}

impl Stores {
    /// Starts the servers and fills them: `orders` orders, a tenth as many customers, and three documents for ten orders, of which one
    /// in three is a customer's profile.
    pub async fn fill(orders: u64) -> Self {
        let setup = Setup { cache_mib: Some(CACHE_MIB), ..Setup::default() };
        let postgres = must(Postgres::start_with(&setup).await);
        let mariadb = must(MariaDb::start_with(&setup).await);
        let mongodb = must(Mongo::start_with(&setup).await);
        let stores = Self { mariadb, postgres, mongodb, customers: (orders / 10).max(1) };
        must(stores.fill_mariadb().await);
        must(stores.fill_postgres(orders).await);
        must(stores.fill_mongodb(stores.customers * 3).await);
        stores
    }

    /// The servers themselves.
    pub fn reached(&self) -> Reached {
        Reached {
            customers: Endpoint::clone(&self.mariadb),
            orders: Endpoint::clone(&self.postgres),
            profiles: Endpoint::clone(&self.mongodb),
        }
    }

    async fn fill_mariadb(&self) -> Result<(), sqlx::Error> {
        let mut connection = MySqlConnection::connect_with(&self.mariadb.mysql_options()).await?;
        let insert = format!(
            "INSERT INTO customers SELECT seq, CONCAT('c', seq, '@example.org'), CONCAT('Customer ', seq) FROM seq_1_to_{}",
            self.customers
        );
        let create = "CREATE TABLE customers (id bigint PRIMARY KEY, email varchar(80) NOT NULL UNIQUE, name varchar(80) NOT NULL)";
        for sql in [create.to_owned(), insert, "ANALYZE TABLE customers".to_owned()] {
            raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await?;
        }
        connection.close().await
    }

    async fn fill_postgres(&self, orders: u64) -> Result<(), sqlx::Error> {
        let mut connection = PgConnection::connect_with(&self.postgres.postgres_options()).await?;
        let insert = format!(
            "INSERT INTO orders SELECT n, n % {} + 1, n * 7 % 100000, md5(n::text) FROM generate_series(1, {orders}) AS n",
            self.customers
        );
        let create = "CREATE TABLE orders (id int8 PRIMARY KEY, customer int8 NOT NULL, cents int8 NOT NULL, note text NOT NULL)";
        let index = "CREATE INDEX orders_customer ON orders (customer)";
        for sql in [create.to_owned(), insert, index.to_owned(), "VACUUM (FREEZE, ANALYZE) orders".to_owned()] {
            raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await?;
        }
        connection.close().await
    }

    async fn fill_mongodb(&self, documents: u64) -> Result<(), mongodb::error::Error> {
        let client = direct::client_of(&self.mongodb)?;
        let profiles = client.database(self.mongodb.database()).collection::<Document>("profiles");
        for batch in 0..documents.div_ceil(INSERTED) {
            let numbers = batch * INSERTED + 1..=documents.min((batch + 1) * INSERTED);
            let made = numbers.map(|number| {
                let id = i64::try_from(number).unwrap_or(i64::MAX);
                doc! { "_id": id, "note": format!("delivered to the neighbour of number {id}"), "visits": id % 17 }
            });
            profiles.insert_many(made.collect::<Vec<Document>>()).await?;
        }
        client.shutdown().await;
        Ok(())
    }
}
