//! Statements that are stopped: by a cancel request, a timeout, a client that goes away or a LIMIT. The store must stop too.

use std::time::Duration;

use futures::TryStreamExt;
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection};
use sqlx::{AssertSqlSafe, Connection, Row};
use tokio_postgres::NoTls;
use tributary::sandbox::{MariaDb, Postgres};
use tributary::server::Server;

use super::eventually;
use crate::support::{self, proxy};
use proxy::{Failure, OWNER, Place, Session};

/// A scan that takes far longer than any test.
const ROWS: u32 = 3_000_000;

struct Scanned {
    _place: Place,
    server: Server,
    database: String,
}

async fn postgres_stage(postgres: &Postgres) -> Scanned {
    let place = Place::new();
    let table = format!("CREATE TABLE stock AS SELECT n, repeat('x', 300) AS filler FROM generate_series(1, {ROWS}) AS n");
    let database = proxy::fresh(postgres, &table).await;
    place.postgres("shop", postgres, &database, "pool.size = 2\n");
    let server = place.serve().await;
    Scanned { _place: place, server, database }
}

/// How many statements of others run in the database now.
async fn running(postgres: &Postgres, database: &str) -> i64 {
    let mut observer = proxy::direct(postgres, "postgres").await;
    let row = sqlx::query(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND state = 'active' AND query ILIKE '%stock%' AND pid <> pg_backend_pid()",
    )
    .bind(database)
    .fetch_one(&mut observer)
    .await
    .unwrap();
    observer.close().await.unwrap();
    row.get(0)
}

async fn idle(postgres: &Postgres, database: &str) {
    eventually("the end of the store's statement", async || (running(postgres, database).await == 0).then_some(())).await;
}

/// Starts a scan and reads its first row, so that it certainly runs in the store.
async fn begin(session: &Session) -> std::pin::Pin<Box<tokio_postgres::RowStream>> {
    let mut rows = Box::pin(session.query_raw("SELECT n, filler FROM shop.stock", Vec::<i32>::new()).await.unwrap());
    assert!(rows.try_next().await.unwrap().is_some());
    rows
}

async fn end_of(mut rows: std::pin::Pin<Box<tokio_postgres::RowStream>>) -> Failure {
    let mut seen = 0;
    loop {
        match rows.try_next().await {
            Ok(Some(_)) => seen += 1,
            Ok(None) => panic!("the scan came to its end after {seen} rows"),
            Err(error) => return Failure::of(error),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_statements_stop_in_postgres() {
    let postgres = support::postgres().await;
    let stage = postgres_stage(postgres).await;
    let session = proxy::connect(&stage.server, OWNER).await;

    let rows = begin(&session).await;
    assert!(running(postgres, &stage.database).await > 0);
    session.canceller().cancel_query(NoTls).await.unwrap();
    assert_eq!(end_of(rows).await.code, "57014");
    idle(postgres, &stage.database).await;
    assert_eq!(session.answer("SELECT 1").await, "1");

    session.answer("SET statement_timeout = '300ms'").await;
    let slow = "SELECT count(*) FROM shop.stock AS a JOIN shop.stock AS b ON a.n + b.n < 0";
    assert_eq!(session.failure(slow).await.code, "57014");
    idle(postgres, &stage.database).await;
    session.answer("RESET statement_timeout").await;

    // More often than the pool is large: a LIMIT must leave connections that can be used again.
    for _ in 0..8 {
        assert_eq!(session.answer("SELECT count(*) FROM (SELECT n FROM shop.stock WHERE filler <> 'y' LIMIT 3) AS few").await, "3");
    }
    idle(postgres, &stage.database).await;

    let leaving = proxy::connect(&stage.server, OWNER).await;
    let rows = begin(&leaving).await;
    assert!(running(postgres, &stage.database).await > 0);
    drop(rows);
    drop(leaving);
    idle(postgres, &stage.database).await;
    assert_eq!(session.answer("SELECT n FROM shop.stock WHERE n = 5").await, "5");
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_statements_stop_in_mariadb() {
    let mariadb = support::mariadb().await;
    let place = Place::new();
    let database = mariadb.fresh_database().await.unwrap();
    let mut observer = direct(mariadb, &database).await;
    let table = format!("CREATE TABLE stock AS SELECT seq AS n, repeat('x', 300) AS filler FROM seq_1_to_{}", ROWS / 3);
    sqlx::query(AssertSqlSafe(table)).execute(&mut observer).await.unwrap();
    place.mariadb("shop", mariadb, &database, "pool.size = 2\n");
    let server = place.serve().await;
    let session = proxy::connect(&server, OWNER).await;

    let rows = begin(&session).await;
    assert!(executing(&mut observer, &database).await > 0);
    session.canceller().cancel_query(NoTls).await.unwrap();
    assert_eq!(end_of(rows).await.code, "57014");
    eventually("the end in MariaDB", async || (executing(&mut observer, &database).await == 0).then_some(())).await;

    session.answer("SET statement_timeout = '300ms'").await;
    let slow = "SELECT count(*) FROM shop.stock AS a JOIN shop.stock AS b ON a.n + b.n < 0";
    assert_eq!(session.failure(slow).await.code, "57014");
    session.answer("RESET statement_timeout").await;
    eventually("the end in MariaDB", async || (executing(&mut observer, &database).await == 0).then_some(())).await;

    for _ in 0..8 {
        assert_eq!(session.answer("SELECT count(*) FROM (SELECT n FROM shop.stock WHERE filler <> 'y' LIMIT 3) AS few").await, "3");
    }
    let leaving = proxy::connect(&server, OWNER).await;
    let rows = begin(&leaving).await;
    drop(rows);
    drop(leaving);
    eventually("the end in MariaDB", async || (executing(&mut observer, &database).await == 0).then_some(())).await;
    assert_eq!(session.answer("SELECT n FROM shop.stock WHERE n = 5").await, "5");
}

async fn direct(mariadb: &MariaDb, database: &str) -> MySqlConnection {
    let login = MySqlConnectOptions::new().host(mariadb.host()).port(mariadb.port()).database(database);
    MySqlConnection::connect_with(&login.username(mariadb.user()).password(mariadb.password())).await.unwrap()
}

async fn executing(observer: &mut MySqlConnection, database: &str) -> i64 {
    let row = sqlx::query(
        "SELECT count(*) FROM information_schema.processlist WHERE (db = ? OR info LIKE concat('%', ?, '%')) AND command <> 'Sleep' AND info LIKE '%stock%' AND id <> connection_id()",
    )
    .bind(database)
    .bind(database)
    .fetch_one(observer)
    .await
    .unwrap();
    row.get(0)
}

#[tokio::test]
async fn an_idle_session_in_a_transaction_is_ended_when_asked() {
    let place = Place::new();
    place.configure("limits.idle_in_transaction_timeout = \"200ms\"\n");
    let server = place.serve().await;
    let session = proxy::connect(&server, OWNER).await;
    assert_eq!(session.answer("SELECT 1").await, "1");
    session.answer("BEGIN").await;
    let ended = tokio::time::timeout(Duration::from_secs(20), async {
        while !session.is_closed() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    ended.await.expect("the session goes on");
}
