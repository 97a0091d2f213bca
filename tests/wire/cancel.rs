//! Statements that must stop before they are done: cancel requests, clients that leave, shutdown, slow readers.

use std::time::Duration;

use tokio::io::AsyncReadExt;
use tributary::wire::{Limits, Settings};

use super::client::{Client, bind, cancel_request, execute, message, parse, query, startup, sync};
use super::server::{self, DATABASE, Server, USER, trusting};

/// Many more rows than any test could read: it only ends early.
const ENDLESS: &str = "SELECT n FROM generate_series(1, 2000000000) AS n";

/// A grace so long that a test which waits for it has failed.
fn patient() -> Settings {
    Settings { limits: Limits { drain_grace: Duration::from_secs(3600), ..Limits::default() }, ..trusting() }
}

struct Victim {
    client: Client,
    process_id: i32,
    key: Vec<u8>,
}

async fn victim(server: &Server, minor: u16) -> Victim {
    let mut client = Client::connect(server.address).await;
    client.send(&startup(minor, &[("user", USER), ("database", DATABASE)])).await;
    let answers = client.until_ready().await;
    let key = answers.iter().find(|answer| answer.kind == 'K').unwrap();
    let process_id = i32::from_be_bytes(key.body[..4].try_into().unwrap());
    Victim { client, process_id, key: key.body[4..].to_vec() }
}

async fn cancel(server: &Server, process_id: i32, key: &[u8]) {
    let mut canceller = Client::connect(server.address).await;
    canceller.send(&cancel_request(process_id, key)).await;
    // The server closes without a word, whether it hit anything or not.
    assert_eq!(canceller.answer().await, None);
}

/// Reads up to the first row.
async fn first_row(client: &mut Client) {
    loop {
        let answer = client.answer().await.unwrap();
        match answer.kind {
            'D' => break,
            'T' | '1' | '2' => {}
            _ => panic!("{}", answer.shown()),
        }
    }
}

/// Reads the rest and shows it without its rows.
async fn rest(client: &mut Client) -> String {
    let mut shown = Vec::new();
    while let Some(answer) = client.answer().await {
        if answer.kind != 'D' {
            shown.push(answer.shown());
        }
        if answer.kind == 'Z' {
            break;
        }
    }
    shown.join("\n")
}

#[tokio::test]
async fn a_cancel_request_stops_rows_on_their_way() {
    let server = server::start(trusting()).await;
    for minor in [0, 2] {
        let Victim { mut client, process_id, key } = victim(&server, minor).await;
        client.send(&query(ENDLESS)).await;
        first_row(&mut client).await;
        cancel(&server, process_id, &key).await;
        assert_eq!(rest(&mut client).await, "E ERROR 57014\nZ I", "protocol 3.{minor}");
        assert_eq!(client.script(&query("SELECT 1 AS n")).await, "T n:23:0\nD 1\nC SELECT 1\nZ I");
    }
}

#[tokio::test]
async fn a_cancel_request_stops_a_portal_that_went_on() {
    let server = server::start(trusting()).await;
    let Victim { mut client, process_id, key } = victim(&server, 0).await;
    client.send(&[parse("", ENDLESS, &[]), bind("", "", &[], &[]), execute("", 1), message(b'H', b"")].concat()).await;
    first_row(&mut client).await;
    assert_eq!(client.answer().await.unwrap().kind, 's');
    client.send(&[execute("", 0), sync()].concat()).await;
    first_row(&mut client).await;
    cancel(&server, process_id, &key).await;
    assert_eq!(rest(&mut client).await, "E ERROR 57014\nZ I");
}

#[tokio::test]
async fn a_wrong_key_or_a_late_request_stops_nothing() {
    let server = server::start(trusting()).await;
    let Victim { mut client, process_id, mut key } = victim(&server, 0).await;
    cancel(&server, process_id, &key).await;
    assert_eq!(client.script(&query("SELECT 1 AS n")).await, "T n:23:0\nD 1\nC SELECT 1\nZ I");
    key[0] ^= 1;
    client.send(&query("SELECT n FROM generate_series(1, 300000) AS n")).await;
    first_row(&mut client).await;
    cancel(&server, process_id, &key).await;
    assert_eq!(rest(&mut client).await, "C SELECT 300000\nZ I");
}

#[tokio::test]
async fn a_cancel_request_works_while_all_sessions_are_taken() {
    let mut settings = trusting();
    settings.limits.max_connections = 1;
    let server = server::start(settings).await;
    let Victim { mut client, process_id, key } = victim(&server, 0).await;
    client.send(&query(ENDLESS)).await;
    first_row(&mut client).await;
    cancel(&server, process_id, &key).await;
    assert_eq!(rest(&mut client).await, "E ERROR 57014\nZ I");
}

#[tokio::test]
async fn a_client_that_left_stops_its_statement() {
    // One streams to a reader that stopped reading, one computes without a row to send.
    for text in [ENDLESS, "SELECT sum(generate_series) FROM generate_series(1, 200000000000)"] {
        let server = server::start(patient()).await;
        let Victim { mut client, .. } = victim(&server, 0).await;
        client.send(&query(text)).await;
        if text == ENDLESS {
            first_row(&mut client).await;
        }
        drop(client);
        server.shutdown.cancel();
        // The drain would wait an hour for the statement.
        let drained = tokio::time::timeout(Duration::from_secs(20), server.task.join()).await;
        assert!(drained.is_ok(), "{text}");
    }
}

#[tokio::test]
async fn shutdown_ends_idle_sessions_at_once_and_lets_statements_finish() {
    let server = server::start(patient()).await;
    let mut idle = victim(&server, 0).await.client;
    let mut busy = victim(&server, 0).await.client;
    // More than the sockets can hold, so that the statement still runs at shutdown.
    busy.send(&query("SELECT n FROM generate_series(1, 1000000) AS n")).await;
    first_row(&mut busy).await;
    server.shutdown.cancel();
    idle.refused("57P01").await;
    assert_eq!(rest(&mut busy).await, "C SELECT 1000000\nZ I");
    busy.refused("57P01").await;
    server.task.join().await.unwrap();
}

#[tokio::test]
async fn statements_that_outlast_the_grace_are_ended() {
    let mut settings = trusting();
    settings.limits.drain_grace = Duration::from_millis(100);
    let server = server::start(settings).await;
    let mut busy = victim(&server, 0).await.client;
    busy.send(&query(ENDLESS)).await;
    first_row(&mut busy).await;
    server.shutdown.cancel();
    assert_eq!(rest(&mut busy).await, "E FATAL 57P01");
    server.task.join().await.unwrap();
}

#[tokio::test]
async fn a_slow_reader_stops_the_query_and_memory_stays_flat() {
    let server = server::start(trusting()).await;
    let Victim { mut client, process_id, key } = victim(&server, 0).await;
    client.send(&query(ENDLESS)).await;
    first_row(&mut client).await;
    // The server goes on until the sockets' buffers are full; then nothing of 2,000,000,000 rows may pile up. Reading in
    // sips keeps it going for a while, which a collecting server would use to grow.
    let before = resident_kib();
    let mut sip = vec![0; 64 << 10];
    for _ in 0..200 {
        client.stream.read_exact(&mut sip).await.unwrap();
    }
    let grown = resident_kib().saturating_sub(before);
    assert!(grown < 100 << 10, "{grown} KiB more");
    cancel(&server, process_id, &key).await;
    // The sips cut through messages, so the end is looked for in the bytes.
    let mut tail = Vec::new();
    while !tail.ends_with(b"Z\0\0\0\x05I") {
        assert_ne!(client.stream.read_buf(&mut tail).await.unwrap(), 0);
        let excess = tail.len().saturating_sub(4096);
        tail.drain(..excess);
    }
    let text = String::from_utf8_lossy(&tail);
    assert!(text.contains("57014"), "{text}");
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn statement_timeout_also_counts_for_a_slow_reader() {
    let server = server::start(trusting()).await;
    let Victim { mut client, .. } = victim(&server, 0).await;
    assert_eq!(client.script(&query("SET statement_timeout = '300ms'")).await, "C SET\nZ I");
    client.send(&query(ENDLESS)).await;
    first_row(&mut client).await;
    // Nobody reads; only the timeout can end it, and shutdown waits for that.
    server.shutdown.cancel();
    assert_eq!(rest(&mut client).await, "E ERROR 57014\nZ I");
    client.refused("57P01").await;
}

#[tokio::test]
async fn the_first_row_does_not_wait_for_the_last() {
    let server = server::start(trusting()).await;
    let Victim { mut client, .. } = victim(&server, 0).await;
    for bytes in [query(ENDLESS), [parse("", ENDLESS, &[]), bind("", "", &[], &[]), execute("", 0)].concat()] {
        client.send(&bytes).await;
        first_row(&mut client).await;
        client = victim(&server, 0).await.client;
    }
}
