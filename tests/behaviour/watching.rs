//! What an operator is told over HTTP, and stores that accept connections and never answer.

use std::net::{SocketAddr, TcpListener};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tributary::config::state::State;

use super::eventually;
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
async fn number(address: SocketAddr, name: &str) -> u64 {
    let told = get(address, "/metrics").await;
    let line = told.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{name} is not in\n{told}")).parse().unwrap()
}

/// A directory that serves HTTP without TLS on a free port.
fn observed() -> Place {
    let place = Place::new();
    let main = "listen = \"127.0.0.1:0\"\nhttp.listen = \"127.0.0.1:0\"\nauth.trust = true\nlimits.max_connections = 2\n\
                [roles.ada]\nsuperuser = true\n";
    place.write("tributary.toml", main);
    place
}

/// A store whose server takes connections and never says anything; it is given up after `patience`.
fn mute(place: &Place, patience: &str) -> TcpListener {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let text = format!(
        "kind = \"postgres\"\nport = {port}\nuser = \"u\"\ndatabase = \"d\"\ntls = \"disable\"\nconnect_timeout = \"10m\"\n\
         discovery_timeout = \"{patience}\"\n"
    );
    place.write("stores/mute.toml", &text);
    listener
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
async fn a_server_that_starts_says_so_and_a_store_that_never_answers_is_given_up() {
    let place = observed();
    place.sqlite("shop", ITEMS).await;
    let _silent = mute(&place, "3s");
    let asked = async {
        let known = async || State::of_holder::<Vec<SocketAddr>>(place.path(), "listening")?.first().copied();
        let http = eventually("the HTTP address of a server that starts", known).await;
        (get(http, "/health").await, get(http, "/metrics").await)
    };
    let (server, (health, metrics)) = tokio::join!(place.serve(), asked);
    assert!(health.starts_with("HTTP/1.1 503") && health.contains("\"starting\""), "{health}");
    assert!(metrics.starts_with("HTTP/1.1 200 OK") && metrics.contains("tributary_info{version="), "{metrics}");
    let health = get(server.http_address().unwrap(), "/health").await;
    assert!(health.starts_with("HTTP/1.1 200 OK") && health.contains("\"mute\":{\"available\":false}"), "{health}");

    // The refresh of the one hangs; the other's does not wait for it.
    let (waiting, quick) = (proxy::connect(&server, OWNER).await, proxy::connect(&server, OWNER).await);
    let hangs = waiting.failure("CALL tributary.refresh('mute')");
    let ends = quick.answer("CALL tributary.refresh('shop')");
    tokio::pin!(hangs);
    tokio::select! {
        biased;
        failure = &mut hangs => panic!("the refresh of another store came too late: {failure:?}"),
        _ = ends => {}
    }
    let failure = hangs.await;
    assert!(failure.code.starts_with("08") && failure.message.contains("mute"), "{failure:?}");
    server.stop().await;
}
