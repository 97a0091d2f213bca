//! Clients as listeners: what sessions tell one another, and what stores tell, arrives while a client idles.

use super::{Stage, cache, script};
use crate::changes::follow::until_streaming;
use crate::changes::room::OUTBOX;
use crate::support::proxy::{self, OWNER, Place};

const CHECKS: [&str; 4] = ["idle", "transactions", "changes", "left"];

async fn stage() -> Stage {
    let place = Place::new();
    place.sqlite_with("file", "CREATE TABLE orders (id INTEGER PRIMARY KEY, v TEXT)", OUTBOX).await;
    let server = place.serve().await;
    until_streaming(&proxy::connect(&server, OWNER).await, "file", &["orders"]).await;
    Stage { place, server }
}

async fn python(name: &str) {
    let program = cache().join("python/bin/python");
    stage().await.check(program.to_str().unwrap(), &[&script(name)], &CHECKS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn python_psycopg_listens() {
    python("psycopg_listens.py").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn python_asyncpg_listens() {
    python("asyncpg_listens.py").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn node_pg_listens() {
    stage().await.check("node", &[&script("node_pg_listens.mjs")], &CHECKS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn java_pgjdbc_listens() {
    let jar = "/usr/share/java/postgresql.jar";
    stage().await.check("java", &["-cp", jar, &script("JdbcListens.java")], &CHECKS).await;
}
