//! The direct lookups: each store by its own driver, one after another, with prepared statements where there are such.

use std::time::Instant;

use futures::TryStreamExt;
use mongodb::bson::{Document, doc};
use mongodb::options::{ClientOptions, Credential, ServerAddress};
use mongodb::{Client, Collection};
use sqlx::mysql::MySqlConnection;
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{ConnectOptions, Connection, Row};
use tributary::sandbox::Endpoint;

use super::measure::must;
use super::stores::Reached;

/// What is known of the customer that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// The key that the other stores know too.
    Id,
    /// A key of the first store only: what the others are asked for is in its row.
    Email,
}

impl By {
    /// The word in printed lines.
    pub fn word(self) -> &'static str {
        match self {
            Self::Id => "by id",
            Self::Email => "by email",
        }
    }
}

/// A customer's email.
pub fn email(customer: i64) -> String {
    format!("c{customer}@example.org")
}

/// What both sides must find.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub name: String,
    /// By id.
    pub orders: Vec<Order>,
    pub note: String,
}

/// Id, cents and note.
pub type Order = (i64, i64, String);

/// The order in three columns from this one on.
pub fn order(row: &PgRow, first: usize) -> Order {
    (must(row.try_get(first)), must(row.try_get(first + 1)), must(row.try_get(first + 2)))
}

/// A client of a MongoDB, of this one server only.
///
/// # Errors
/// What the driver finds wrong with the address.
pub fn client_of(endpoint: &Endpoint) -> mongodb::error::Result<Client> {
    let credential = Credential::builder()
        .username(endpoint.user().to_owned())
        .password(endpoint.password().to_owned())
        .source("admin".to_owned())
        .build();
    let address = ServerAddress::Tcp { host: endpoint.host().to_owned(), port: Some(endpoint.port()) };
    Client::with_options(ClientOptions::builder().hosts(vec![address]).direct_connection(true).credential(credential).build())
}

/// A connection to each store.
pub struct Direct {
    mariadb: MySqlConnection,
    postgres: PgConnection,
    profiles: Collection<Document>,
    /// Ends the driver's own tasks when it goes.
    _client: Client,
}

impl Direct {
    /// Connects.
    pub async fn connect(stores: &Reached) -> Self {
        let client = must(client_of(&stores.profiles));
        Self {
            mariadb: must(stores.customers.mysql_options().disable_statement_logging().connect().await),
            postgres: must(stores.orders.postgres_options().disable_statement_logging().connect().await),
            profiles: client.database(stores.profiles.database()).collection("profiles"),
            _client: client,
        }
    }

    /// The three lookups, and the time of each in milliseconds.
    pub async fn look_up(&mut self, by: By, customer: i64) -> (Found, [f64; 3]) {
        let started = Instant::now();
        let row = match by {
            By::Id => {
                let query = sqlx::query("SELECT id, name FROM customers WHERE id = ?").bind(customer);
                query.fetch_one(&mut self.mariadb).await
            }
            By::Email => {
                let query = sqlx::query("SELECT id, name FROM customers WHERE email = ?").bind(email(customer));
                query.fetch_one(&mut self.mariadb).await
            }
        };
        let row = must(row);
        let (id, name): (i64, String) = (must(row.try_get(0)), must(row.try_get(1)));
        let first = started.elapsed();
        let query = sqlx::query("SELECT id, cents, note FROM orders WHERE customer = $1").bind(id);
        let rows = must(query.fetch_all(&mut self.postgres).await);
        let mut orders: Vec<Order> = rows.iter().map(|row| order(row, 0)).collect();
        let second = started.elapsed();
        let fields = doc! { "note": 1 };
        let profiles = must(self.profiles.find(doc! { "_id": id }).projection(fields).await);
        let profiles: Vec<Document> = must(profiles.try_collect().await);
        let third = started.elapsed();
        let note = must(profiles.first().ok_or("the customer has no profile"));
        let note = must(note.get_str("note")).to_owned();
        orders.sort_unstable();
        let times = [first, second.saturating_sub(first), third.saturating_sub(second)];
        (Found { name, orders, note }, times.map(|time| time.as_secs_f64() * 1e3))
    }

    /// Closes the connections that say so.
    pub async fn close(self) {
        must(self.mariadb.close().await);
        must(self.postgres.close().await);
    }
}
