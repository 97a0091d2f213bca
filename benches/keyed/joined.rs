//! Tributary before the three stores, in a process of its own, and one prepared join on one connection.

use std::path::Path;
use std::time::Instant;

use sqlx::postgres::PgConnection;
use sqlx::{ConnectOptions, Connection, Row};
use tributary::command::password::{fresh_verifier, make_password};
use tributary::sandbox::{CatalogFiles, Endpoint, Tributary};

use super::direct::{By, Found, Order, email, order};
use super::measure::must;
use super::stores::Reached;

const BY_ID: &str = "SELECT c.name, o.id, o.cents, o.note, p.note FROM crm.customers c JOIN shop.orders o ON o.customer = c.id \
    JOIN field.profiles p ON p._id = c.id WHERE c.id = $1";
const BY_EMAIL: &str = "SELECT c.name, o.id, o.cents, o.note, p.note FROM crm.customers c JOIN shop.orders o ON o.customer = c.id \
    JOIN field.profiles p ON p._id = c.id WHERE c.email = $1";

/// A connection to a running server.
pub struct Joined {
    connection: PgConnection,
    /// Ends with the connection.
    _server: Tributary,
}

impl Joined {
    /// Starts a server over the stores and connects.
    pub async fn start(stores: &Reached) -> Self {
        let password = make_password();
        let files = CatalogFiles {
            settings: "log.level = \"warn\"\n".to_owned(),
            stores: vec![
                ("crm".to_owned(), store_file("mariadb", &stores.customers)),
                ("shop".to_owned(), store_file("postgres", &stores.orders)),
                ("field".to_owned(), store_file("mongodb", &stores.profiles)),
            ],
            views: Vec::new(),
            user: "bench".to_owned(),
            verifier: fresh_verifier(&password),
            password,
        };
        let server = must(Tributary::start(Path::new(env!("CARGO_BIN_EXE_tributary")), &files).await);
        let connection = must(server.postgres_options().disable_statement_logging().connect().await);
        Self { connection, _server: server }
    }

    /// The join, and its time in milliseconds.
    pub async fn look_up(&mut self, by: By, customer: i64) -> (Found, f64) {
        let started = Instant::now();
        let rows = match by {
            By::Id => sqlx::query(BY_ID).bind(customer).fetch_all(&mut self.connection).await,
            By::Email => sqlx::query(BY_EMAIL).bind(email(customer)).fetch_all(&mut self.connection).await,
        };
        let rows = must(rows);
        let first = must(rows.first().ok_or("the customer has no rows"));
        let (name, note): (String, String) = (must(first.try_get(0)), must(first.try_get(4)));
        let mut orders: Vec<Order> = rows.iter().map(|row| order(row, 1)).collect();
        let elapsed = started.elapsed();
        orders.sort_unstable();
        (Found { name, orders, note }, elapsed.as_secs_f64() * 1e3)
    }

    /// Closes the connection and ends the server.
    pub async fn close(self) {
        must(self.connection.close().await);
    }
}

/// Host, names and passwords of private servers consist of characters that mean nothing in TOML.
fn store_file(kind: &str, endpoint: &Endpoint) -> String {
    let (host, port, database) = (endpoint.host(), endpoint.port(), endpoint.database());
    let address = match kind {
        "mongodb" => format!("hosts = [\"{host}:{port}\"]\ndirect = true\ndatabases = [\"{database}\"]\n"),
        _ => format!("host = \"{host}\"\nport = {port}\n"),
    };
    let (user, password) = (endpoint.user(), endpoint.password());
    format!("kind = \"{kind}\"\n{address}user = \"{user}\"\npassword = \"{password}\"\ndatabase = \"{database}\"\n")
}
