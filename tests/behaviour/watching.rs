//! What an operator is told over HTTP, and stores that accept connections and never answer.

use std::net::SocketAddr;

use mongodb::bson::doc;
use sqlx::AssertSqlSafe;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tributary::config::state::State;

use super::{endless, eventually};
use crate::support;
use crate::support::gate::Gate;
use crate::support::proxy::{self, OWNER, Place};

const ITEMS: &str = "CREATE TABLE items (id INTEGER PRIMARY KEY, word TEXT);
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500) INSERT INTO items SELECT i, 'hunter2' FROM n;";

/// The whole answer to a GET.
async fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

/// The number on a line of `/metrics`.
pub async fn number(address: SocketAddr, name: &str) -> u64 {
    let told = get(address, "/metrics").await;
    let line = told.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{name} is not in\n{told}")).parse().unwrap()
}

/// A directory that serves HTTP without TLS on a free port.
pub(super) fn observed() -> Place {
    let place = Place::new();
    let main = "listen = \"127.0.0.1:0\"\nhttp.listen = \"127.0.0.1:0\"\nauth.trust = true\nlimits.max_connections = 2\n\
                [roles.ada]\nsuperuser = true\n";
    place.write("tributary.toml", main);
    place
}

/// A store behind a gate to nothing, which is given up after `patience`.
async fn mute(place: &Place, patience: &str) -> Gate {
    let gate = Gate::to("127.0.0.1", 0).await;
    let text = format!(
        "kind = \"postgres\"\nport = {}\nuser = \"u\"\ndatabase = \"d\"\ntls = \"disable\"\nconnect_timeout = \"10m\"\n\
         discovery_timeout = \"{patience}\"\n",
        gate.port()
    );
    place.write("stores/mute.toml", &text);
    gate
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_metrics_tell_what_a_server_does() {
    let place = observed();
    place.sqlite("shop", ITEMS).await;
    let server = place.serve().await;
    let http = server.http_address().unwrap();
    let health = get(http, "/health").await;
    assert!(health.starts_with("HTTP/1.1 200 OK"), "{health}");
    assert!(health.ends_with("{\"status\":\"ok\",\"stores\":{\"shop\":{\"available\":true}}}\n"), "{health}");

    let session = proxy::connect(&server, OWNER).await;
    assert_eq!(session.rows("SELECT id FROM shop.items WHERE word = 'hunter2'").await.unwrap().len(), 500);
    session.failure("SELECT 1 FROM nowhere").await;
    session.answer("SET statement_timeout = '1s'").await;
    session.failure("SELECT count(*) FROM generate_series(1, 100000000000) AS n").await;
    let _second = proxy::connect(&server, OWNER).await;
    assert!(proxy::open(&proxy::login(server.addresses()[0], OWNER)).await.is_err());

    assert!(number(http, "tributary_statements_total{outcome=\"succeeded\"}").await >= 2);
    assert_eq!(number(http, "tributary_statements_total{outcome=\"failed\"}").await, 1);
    assert_eq!(number(http, "tributary_statements_total{outcome=\"cancelled\"}").await, 1);
    assert_eq!(number(http, "tributary_sessions_open").await, 2);
    assert_eq!(number(http, "tributary_refusals_total{limit=\"sessions\"}").await, 1);
    assert!(number(http, "tributary_sent_rows_total").await >= 500);
    assert!(number(http, "tributary_sent_bytes_total").await >= 500 * 8);
    assert_eq!(number(http, "tributary_store_scans_total{store=\"shop\"}").await, 1);
    assert_eq!(number(http, "tributary_store_rows_total{store=\"shop\"}").await, 500);
    assert_eq!(number(http, "tributary_store_errors_total{store=\"shop\"}").await, 0);
    assert!(number(http, "tributary_store_pool_size{store=\"shop\"}").await >= 1);
    // What a statement took is given back.
    eventually("an idle server", async || {
        let running = number(http, "tributary_statements_running").await;
        let lent = number(http, "tributary_store_pool_in_use{store=\"shop\"}").await;
        (running + lent == 0).then_some(())
    })
    .await;
    let told = get(http, "/metrics").await;
    assert!(!told.contains("hunter2") && !told.contains("SELECT") && !told.contains(proxy::PASSWORD), "{told}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_starts_says_so_and_one_refresh_waits_for_no_other() {
    let place = observed();
    place.sqlite("shop", ITEMS).await;
    // Far longer than the test: the store is silent for exactly as long as its gate is.
    let gate = mute(&place, "10m").await;
    let silent = gate.silence().await;
    let asked = async {
        let known = async || State::of_holder::<Vec<SocketAddr>>(place.path(), "listening")?.first().copied();
        let http = eventually("the HTTP address of a server that starts", known).await;
        let told = (get(http, "/health").await, get(http, "/metrics").await);
        silent.shut().await;
        told
    };
    let (server, (health, metrics)) = tokio::join!(place.serve(), asked);
    assert!(health.starts_with("HTTP/1.1 503") && health.contains("\"starting\""), "{health}");
    assert!(metrics.starts_with("HTTP/1.1 200 OK") && metrics.contains("tributary_info{version="), "{metrics}");
    let http = server.http_address().unwrap();
    let health = get(http, "/health").await;
    assert!(health.starts_with("HTTP/1.1 200 OK") && health.contains("\"mute\":{\"available\":false}"), "{health}");

    // The refresh of the one hangs; the other's does not wait for it.
    let silent = gate.silence().await;
    let (waiting, quick) = (proxy::connect(&server, OWNER).await, proxy::connect(&server, OWNER).await);
    let hangs = waiting.failure("CALL tributary.refresh('mute')");
    let ends = async {
        let running = async || (number(http, "tributary_statements_running").await == 1).then_some(());
        eventually("the refresh that hangs", running).await;
        quick.answer("CALL tributary.refresh('shop')").await
    };
    tokio::pin!(hangs);
    tokio::select! {
        biased;
        failure = &mut hangs => panic!("the refresh of a silent store has ended: {failure:?}"),
        _ = ends => {}
    }
    silent.shut().await;
    let failure = hangs.await;
    assert!(failure.code.starts_with("08") && failure.message.contains("mute"), "{failure:?}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_never_answers_is_given_up() {
    let place = observed();
    place.sqlite("shop", ITEMS).await;
    let gate = mute(&place, "300ms").await;
    let _silent = gate.silence().await;
    let server = place.serve().await;
    let session = proxy::connect(&server, OWNER).await;
    assert_eq!(session.answer("SELECT count(*) FROM shop.items").await, "500");
    let failure = session.failure("CALL tributary.refresh('mute')").await;
    assert_eq!((failure.code.as_str(), failure.detail.as_str()), ("08006", "Waiting for the description of its tables."));
    server.stop().await;
}

const LENT: &str = "tributary_store_pool_in_use{store=\"shop\"}";

/// Waits until no connection to the store is lent out.
async fn at_rest(http: SocketAddr) {
    eventually("the return of all connections", async || (number(http, LENT).await == 0).then_some(())).await;
}

/// What is told of the pool of `shop`, which lends one connection to scans, while a cursor holds it. Its `stock` has 100,000 rows.
async fn pool_of_one(place: &Place) {
    const WAITS: &str = "tributary_store_pool_waits_total{store=\"shop\"}";
    let server = place.serve().await;
    let http = server.http_address().unwrap();
    at_rest(http).await;
    let (reader, other) = (proxy::connect(&server, OWNER).await, proxy::connect(&server, OWNER).await);
    reader.answer("BEGIN; DECLARE c CURSOR FOR SELECT n, filler FROM shop.stock").await;
    assert_eq!(reader.rows("FETCH 1 FROM c").await.unwrap().len(), 1);
    let (lent, size) = (number(http, LENT).await, number(http, "tributary_store_pool_size{store=\"shop\"}").await);
    assert!((1..=size).contains(&lent), "{lent} of {size}");
    let before = number(http, WAITS).await;
    let (counted, ()) = tokio::join!(other.answer("SELECT count(*) FROM shop.stock"), async {
        eventually("a wait for a connection", async || (number(http, WAITS).await > before).then_some(())).await;
        reader.answer("CLOSE c; COMMIT").await;
    });
    assert_eq!(counted, "100000");
    at_rest(http).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pool_of_a_postgres_is_told_while_a_cursor_is_open() {
    let place = observed();
    let postgres = support::postgres().await;
    let table = "CREATE UNLOGGED TABLE stock AS SELECT n, repeat('x', 300) AS filler FROM generate_series(1, 100000) AS n";
    let database = proxy::fresh(postgres, table).await;
    place.postgres("shop", postgres, &database, "pool.size = 1\npool.wait = \"10m\"\n");
    pool_of_one(&place).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pool_of_a_mariadb_is_told_while_a_cursor_is_open() {
    let place = observed();
    let mariadb = support::mariadb().await;
    let database = mariadb.fresh_database().await.unwrap();
    let mut owner = endless::direct(mariadb, &database).await;
    let table = "CREATE TABLE stock AS SELECT seq AS n, repeat('x', 300) AS filler FROM seq_1_to_100000";
    sqlx::query(AssertSqlSafe(table.to_owned())).execute(&mut owner).await.unwrap();
    place.mariadb("shop", mariadb, &database, "pool.size = 1\npool.wait = \"10m\"\n");
    pool_of_one(&place).await;
}

/// The driver lends a connection to each command and not to a cursor, so a command is held up here.
#[tokio::test(flavor = "multi_thread")]
async fn the_pool_of_a_mongodb_is_told_while_a_command_runs() {
    let place = observed();
    let mongodb = support::mongodb().await;
    let database = mongodb.fresh_database().await.unwrap();
    let (user, password) = (mongodb.user(), mongodb.password());
    let url = format!("mongodb://{user}:{password}@{}:{}", mongodb.host(), mongodb.port());
    let client = mongodb::Client::with_uri_str(url).await.unwrap();
    client.database(&database).collection("stock").insert_one(doc! { "_id": 1, "n": 1 }).await.unwrap();
    let gate = Gate::to(mongodb.host(), mongodb.port()).await;
    let open = gate.open().await;
    // The driver's own deadlines are far longer than the test.
    let store = format!(
        "kind = \"mongodb\"\nhosts = [\"127.0.0.1:{}\"]\ndirect = true\nuser = \"{user}\"\npassword = \"{password}\"\n\
         database = \"{database}\"\ndatabases = [\"{database}\"]\nconnect_timeout = \"10m\"\nserver_selection_timeout = \"10m\"\n",
        gate.port()
    );
    place.write("stores/shop.toml", &store);
    let server = place.serve().await;
    let http = server.http_address().unwrap();
    let session = proxy::connect(&server, OWNER).await;
    assert_eq!(session.answer("SELECT n FROM shop.stock").await, "1");
    at_rest(http).await;
    open.freeze();
    let (outcome, ()) = tokio::join!(session.rows("SELECT n FROM shop.stock"), async {
        let size = number(http, "tributary_store_pool_size{store=\"shop\"}").await;
        let lent = eventually("a lent connection", async || Some(number(http, LENT).await).filter(|lent| *lent > 0)).await;
        assert!(lent <= size, "{lent} of {size}");
        session.cancel().await;
    });
    assert_eq!(outcome.unwrap_err().code, "57014");
    at_rest(http).await;
}
