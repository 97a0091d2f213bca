//! Tables `stock` that no test reads to their end: views, whose rows a store makes while they are read. A small table is beside each.

use std::pin::Pin;

use futures::TryStreamExt;
use mongodb::Client;
use mongodb::bson::{Document, doc};
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection};
use sqlx::{Connection, Executor};
use tokio_postgres::RowStream;
use tributary::sandbox::{MariaDb, Mongo};

use crate::support::proxy::{Failure, Session};

/// A thousand million rows of SQLite.
pub(super) const SQLITE: &str = "CREATE TABLE few (n INTEGER PRIMARY KEY, filler TEXT);
    WITH RECURSIVE i (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM i WHERE n < 1000) INSERT INTO few SELECT n, printf('%0300d', n) FROM i;
    CREATE VIEW stock AS SELECT a.n AS n, a.filler AS filler FROM few AS a, few AS b, few AS c;";

/// A database of MariaDB with a view of more rows than are ever read.
pub(super) async fn in_mariadb(server: &MariaDb) -> String {
    let database = server.fresh_database().await.unwrap();
    let mut owner = direct(server, &database).await;
    for sql in [
        "CREATE TABLE few (n int PRIMARY KEY)",
        "INSERT INTO few VALUES (1)",
        "CREATE VIEW stock AS SELECT seq AS n, repeat('x', 300) AS filler FROM seq_1_to_100000000000",
    ] {
        owner.execute(sql).await.unwrap();
    }
    database
}

/// A database of MongoDB with a view of ten million documents.
pub(super) async fn in_mongodb(server: &Mongo) -> String {
    let name = server.fresh_database().await.unwrap();
    let database = client(server).await.database(&name);
    let documents: Vec<Document> = (1..=1_000).map(|number| doc! { "_id": number, "filler": "x".repeat(300) }).collect();
    database.collection::<Document>("base").insert_many(documents).await.unwrap();
    let pipeline = vec![doc! { "$set": { "n": { "$range": [0, 10_000] } } }, doc! { "$unwind": "$n" }];
    database.create_collection("stock").view_on("base").pipeline(pipeline).await.unwrap();
    database.collection::<Document>("few").insert_one(doc! { "_id": 1, "n": 1 }).await.unwrap();
    name
}

/// A connection to a database of MariaDB itself.
pub(super) async fn direct(mariadb: &MariaDb, database: &str) -> MySqlConnection {
    let login = MySqlConnectOptions::new().host(mariadb.host()).port(mariadb.port()).database(database);
    MySqlConnection::connect_with(&login.username(mariadb.user()).password(mariadb.password())).await.unwrap()
}

/// A client of MongoDB itself.
pub(super) async fn client(server: &Mongo) -> Client {
    let url = format!("mongodb://{}:{}@{}:{}", server.user(), server.password(), server.host(), server.port());
    Client::with_uri_str(url).await.unwrap()
}

/// Starts a scan and reads its first row, so that it certainly runs in the store.
pub(super) async fn begin(session: &Session) -> Pin<Box<RowStream>> {
    let mut rows = Box::pin(session.query_raw("SELECT n, filler FROM shop.stock", Vec::<i32>::new()).await.unwrap());
    assert!(rows.try_next().await.unwrap().is_some());
    rows
}

/// What a scan fails with before its end.
pub(super) async fn end_of(mut rows: Pin<Box<RowStream>>) -> Failure {
    let mut seen = 0;
    loop {
        match rows.try_next().await {
            Ok(Some(_)) => seen += 1,
            Ok(None) => panic!("the scan came to its end after {seen} rows"),
            Err(error) => return Failure::of(error),
        }
    }
}
