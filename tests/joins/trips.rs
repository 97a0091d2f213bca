//! Round trips: how often a prepared join of three stores asks each of them, counted in front of the servers.

use std::time::Duration;

use mongodb::Client;
use mongodb::bson::{Document, doc};
use sqlx::mysql::MySqlConnection;
use sqlx::{Connection, Executor};
use tokio_postgres::Statement;
use tokio_postgres::types::ToSql;
use tributary::sandbox::{Endpoint, Wire};

use crate::support::{self, proxy};
use proxy::{OWNER, Place, Session};

const CUSTOMERS: [&str; 2] = [
    "CREATE TABLE customers (id bigint PRIMARY KEY, email varchar(80) NOT NULL UNIQUE, name varchar(80) NOT NULL)",
    "INSERT INTO customers SELECT seq, CONCAT('c', seq, '@example.org'), CONCAT('Customer ', seq) FROM seq_1_to_200",
];
const ORDERS: &str = "CREATE TABLE orders (id int8 PRIMARY KEY, customer int8 NOT NULL, cents int8 NOT NULL);
    INSERT INTO orders SELECT n, n % 200 + 1, n * 7 FROM generate_series(1, 600) AS n;
    CREATE INDEX ON orders (customer); ANALYZE orders";
const JOIN: &str = "SELECT c.name, o.id, o.cents, p.note FROM crm.customers c JOIN shop.orders o ON o.customer = c.id \
    JOIN field.profiles p ON p._id = c.id WHERE";

/// Executions after which connections are open, statements prepared, and the plan is one for all values.
const WARMING: usize = 8;
/// Executions that are counted.
const COUNTED: usize = 6;

/// Forwarders in front of the stores `crm`, `shop` and `field`.
type Wires = [Wire; 3];

async fn wire(place: &Place, name: &str, words: &str, endpoint: &Endpoint) -> Wire {
    let wire = Wire::to(endpoint, Duration::ZERO).await.unwrap();
    let reached = wire.in_front_of(endpoint);
    let (host, port, database) = (reached.host(), reached.port(), reached.database());
    let address = match words {
        "mongodb" => format!("hosts = [\"{host}:{port}\"]\ndirect = true\ndatabases = [\"{database}\"]"),
        _ => format!("host = \"{host}\"\nport = {port}"),
    };
    let (user, password) = (reached.user(), reached.password());
    let login = format!("user = \"{user}\"\npassword = \"{password}\"\ndatabase = \"{database}\"");
    place.write(&format!("stores/{name}.toml"), &format!("kind = \"{words}\"\n{address}\n{login}\n"));
    wire
}

async fn wires(place: &Place) -> Wires {
    let (postgres, mariadb, mongodb) = (support::postgres().await, support::mariadb().await, support::mongodb().await);
    let crm = Endpoint { database: mariadb.fresh_database().await.unwrap(), ..Endpoint::clone(mariadb) };
    let mut owner = MySqlConnection::connect_with(&crm.mysql_options()).await.unwrap();
    for sql in CUSTOMERS {
        owner.execute(sql).await.unwrap();
    }
    let shop = Endpoint { database: proxy::fresh(postgres, ORDERS).await, ..Endpoint::clone(postgres) };
    let field = Endpoint { database: mongodb.fresh_database().await.unwrap(), ..Endpoint::clone(mongodb) };
    let address = format!("mongodb://{}:{}@{}:{}", field.user(), field.password(), field.host(), field.port());
    let client = Client::with_uri_str(address).await.unwrap();
    let profiles = (1..=200_i64).map(|id| doc! { "_id": id, "note": format!("note {id}") });
    client.database(field.database()).collection::<Document>("profiles").insert_many(profiles).await.unwrap();
    [
        wire(place, "crm", "mariadb", &crm).await,
        wire(place, "shop", "postgres", &shop).await,
        wire(place, "field", "mongodb", &field).await,
    ]
}

/// The fewest round trips of an execution to each store. Heartbeats of MongoDB's driver fall into some of them, and so does the look at a
/// connection that a busy machine has left idle.
async fn fewest_trips(session: &Session, wires: &Wires, statement: &Statement, key: &(dyn ToSql + Sync)) -> [u64; 3] {
    let mut fewest = [u64::MAX; 3];
    for execution in 0..WARMING + COUNTED {
        let before = wires.each_ref().map(Wire::total);
        assert_eq!(session.query(statement, &[key]).await.unwrap().len(), 3);
        if execution < WARMING {
            continue;
        }
        for ((wire, before), fewest) in wires.iter().zip(before).zip(&mut fewest) {
            *fewest = (*fewest).min(wire.total().since(before).round_trips);
        }
    }
    fewest
}

/// The bar: at most one round trip for each store and level of dependency, and each store is on one level only.
#[tokio::test(flavor = "multi_thread")]
async fn a_warm_join_by_key_asks_mariadb_postgres_and_mongodb_once_each() {
    let place = Place::new();
    let wires = wires(&place).await;
    let server = place.serve().await;
    let session = proxy::connect(&server, OWNER).await;
    // All keys are in the statement.
    let by_id = session.prepare(&format!("{JOIN} c.id = $1")).await.unwrap();
    assert_eq!(fewest_trips(&session, &wires, &by_id, &7_i64).await, [1, 1, 1]);
    // What the other stores are asked for is in the row of the first.
    let by_email = session.prepare(&format!("{JOIN} c.email = $1")).await.unwrap();
    assert_eq!(fewest_trips(&session, &wires, &by_email, &"c7@example.org").await, [1, 1, 1]);
    server.stop().await;
}
