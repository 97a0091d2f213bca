//! Batches, COPY and units of work over a PostgreSQL, a MariaDB and a MongoDB store, and in transactions over two of them. MariaDB and
//! MongoDB have neither RETURNING of all kinds nor COPY, so that much of it is Tributary's own work.

use std::path::Path;

use mongodb::bson::{Document, doc};
use mongodb::options::IndexOptions;
use mongodb::{Client, IndexModel};
use sqlx::mysql::MySqlConnection;
use sqlx::{Connection, Executor};

use super::{Stage, cache, script};
use crate::support;
use crate::support::proxy::{self, Place};

const IN_POSTGRES: &str = "CREATE TABLE parts (_id bigint PRIMARY KEY, code text NOT NULL UNIQUE, amount bigint)";
const IN_MARIADB: &str = "CREATE TABLE parts (_id bigint PRIMARY KEY, \
                          code varchar(40) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL UNIQUE, amount bigint)";
const IN_MONGODB: &str = "[collections.parts.columns]\ncode = \"text\"\namount = \"bigint\"";

/// A server over three stores with the same table.
async fn set() -> Stage {
    let place = Place::new();
    let postgres = support::postgres().await;
    place.postgres("shop", postgres, &proxy::fresh(postgres, IN_POSTGRES).await, "");
    let mariadb = support::mariadb().await;
    let database = mariadb.fresh_database().await.unwrap();
    let mut connection = MySqlConnection::connect_with(&mariadb.mysql_options().database(&database)).await.unwrap();
    connection.execute(IN_MARIADB).await.unwrap();
    connection.close().await.unwrap();
    place.mariadb("crm", mariadb, &database, "");
    let mongodb = support::mongodb().await;
    let database = mongodb.fresh_database().await.unwrap();
    let (host, port, user, password) = (mongodb.host(), mongodb.port(), mongodb.user(), mongodb.password());
    let url = format!("mongodb://{user}:{password}@{host}:{port}/?authSource=admin&directConnection=true");
    let collections = Client::with_uri_str(url).await.unwrap().database(&database);
    // What the key of a collection is, is told by what lies there. The scripts remove it.
    let parts = collections.collection::<Document>("parts");
    parts.insert_one(doc! { "_id": 1_i64, "code": "first", "amount": 1_i64 }).await.unwrap();
    let unique = IndexOptions::builder().unique(true).name("parts_code".to_owned()).build();
    let index = IndexModel::builder().keys(doc! { "code": 1 }).options(unique).build();
    parts.create_index(index).await.unwrap();
    place.mongodb("field", mongodb, &database, IN_MONGODB);
    let server = place.serve().await;
    assert!(server.catalog().unavailable().is_empty(), "{:?}", server.catalog().unavailable());
    Stage { place, server }
}

async fn python(name: &str, checks: &[&str]) {
    let stage = set().await;
    let program = cache().join("python/bin/python");
    stage.check(program.to_str().unwrap(), &[&script(name)], checks).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn python_psycopg_batches_over_postgres_mariadb_and_mongodb() {
    let checks = ["many", "many_returning", "many_upserts", "failing", "copied", "of_two_stores", "savepoints_of_two_stores"];
    python("psycopg_batches.py", &checks).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn python_asyncpg_batches_over_postgres_mariadb_and_mongodb() {
    python("asyncpg_batches.py", &["many", "many_upserts", "failing", "copied", "of_two_stores"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn python_sqlalchemy_batches_over_postgres_mariadb_and_mongodb() {
    python("sqlalchemy_batches.py", &["batches", "unit_of_work", "of_two_stores"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn java_pgjdbc_batches_over_postgres_mariadb_and_mongodb() {
    let stage = set().await;
    let checks = [
        "batches",
        "failing",
        "copied",
        "of_two_stores",
        "batches_rewritten",
        "failing_rewritten",
        "copied_rewritten",
        "of_two_stores_rewritten",
    ];
    let jar = "/usr/share/java/postgresql.jar";
    assert!(Path::new(jar).exists(), "the JDBC driver is missing; tests/run installs libpostgresql-jdbc-java");
    stage.check("java", &["-cp", jar, &script("JdbcBatches.java")], &checks).await;
}
