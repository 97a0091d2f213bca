//! LISTEN and NOTIFY between sessions: what is told, when, and what is not.

use super::client::{Client, bind, execute, parse, query, startup, sync};
use super::server::{self, DATABASE, Server, USER, trusting};

async fn client(server: &Server) -> Client {
    Client::trusted(server.address, USER).await
}

/// A client and its process id.
async fn named(server: &Server) -> (Client, i32) {
    let mut client = Client::connect(server.address).await;
    client.send(&startup(0, &[("user", USER), ("database", DATABASE)])).await;
    let answers = client.until_ready().await;
    let key = answers.iter().find(|answer| answer.kind == 'K').unwrap();
    (client, i32::from_be_bytes(key.body[..4].try_into().unwrap()))
}

async fn run(client: &mut Client, sql: &str) -> String {
    client.script(&query(sql)).await
}

/// The next message of a client that has asked for nothing.
async fn told(client: &mut Client) -> String {
    client.answer().await.unwrap().shown()
}

#[tokio::test]
async fn an_idle_client_is_told_who_says_what() {
    let server = server::start(trusting()).await;
    let (mut listener, (mut other, process_id)) = (client(&server).await, named(&server).await);
    assert_eq!(run(&mut listener, "LISTEN news").await, "C LISTEN\nZ I");
    assert_eq!(run(&mut other, "NOTIFY news, 'it''s on'").await, "C NOTIFY\nZ I");
    let answer = listener.answer().await.unwrap();
    assert_eq!(answer.shown(), "A news it's on");
    assert_eq!(i32::from_be_bytes(answer.body[..4].try_into().unwrap()), process_id);
    // Folded as identifiers are, and told nothing of other channels.
    run(&mut other, "NOTIFY other; NOTIFY \"News\"; NOTIFY NEWS").await;
    assert_eq!(told(&mut listener).await, "A news");
    assert_eq!(run(&mut listener, "SELECT 1 AS n").await, "T n:23:0\nD 1\nC SELECT 1\nZ I");
}

#[tokio::test]
async fn a_client_is_told_of_its_own_before_its_statement_is_over() {
    let server = server::start(trusting()).await;
    let mut client = client(&server).await;
    run(&mut client, "LISTEN a").await;
    assert_eq!(run(&mut client, "NOTIFY a, 'x'").await, "C NOTIFY\nA a x\nZ I");
    assert_eq!(run(&mut client, "SELECT pg_notify('a', 'y')").await, "T pg_notify:2278:0\nD \nC SELECT 1\nA a y\nZ I");
    assert_eq!(run(&mut client, "BEGIN; LISTEN b; NOTIFY b; COMMIT").await, "C BEGIN\nC LISTEN\nC NOTIFY\nC COMMIT\nA b\nZ I");
}

#[tokio::test]
async fn what_is_not_committed_is_not_told() {
    let server = server::start(trusting()).await;
    let (mut listener, mut other) = (client(&server).await, client(&server).await);
    run(&mut listener, "LISTEN a").await;
    run(&mut other, "BEGIN; NOTIFY a, 'undone'; ROLLBACK").await;
    run(&mut other, "NOTIFY a, 'undone'; SELECT 1/0").await;
    run(&mut other, "BEGIN; NOTIFY a, '1'; SAVEPOINT s; NOTIFY a, 'undone'; ROLLBACK TO s; NOTIFY a, '2'; NOTIFY a, '1'").await;
    run(&mut other, "NOTIFY a, '3'").await;
    run(&mut other, "COMMIT").await;
    // In their order, and what is repeated once.
    for expected in ["A a 1", "A a 2", "A a 3"] {
        assert_eq!(told(&mut listener).await, expected);
    }
    // A series of messages is one transaction too.
    let one = |sql: &str| [parse("", sql, &[]), bind("", "", &[], &[]), execute("", 0)].concat();
    other.script(&[one("NOTIFY a, 'undone'"), one("SELECT 1/0"), sync()].concat()).await;
    other.script(&[one("NOTIFY a, '4'"), sync()].concat()).await;
    assert_eq!(told(&mut listener).await, "A a 4");
}

#[tokio::test]
async fn a_client_in_a_transaction_is_told_behind_it() {
    let server = server::start(trusting()).await;
    let (mut listener, mut other) = (client(&server).await, client(&server).await);
    run(&mut listener, "LISTEN a").await;
    run(&mut listener, "BEGIN").await;
    run(&mut other, "NOTIFY a, 'x'").await;
    assert_eq!(run(&mut listener, "SELECT 1 AS n").await, "T n:23:0\nD 1\nC SELECT 1\nZ T");
    assert_eq!(run(&mut listener, "COMMIT").await, "C COMMIT\nA a x\nZ I");
}

#[tokio::test]
async fn channels_are_left_and_listed() {
    let server = server::start(trusting()).await;
    let mut client = client(&server).await;
    let listed = "SELECT count(*) AS n, min(c) AS c FROM pg_listening_channels() AS c";
    run(&mut client, "LISTEN a; LISTEN b; LISTEN a").await;
    assert_eq!(run(&mut client, listed).await, "T n:20:0|c:25:0\nD 2|a\nC SELECT 1\nZ I");
    // Not before the commit, and not at all without one.
    run(&mut client, "BEGIN; UNLISTEN a; LISTEN c").await;
    assert!(run(&mut client, listed).await.contains("D 2|a"));
    run(&mut client, "ROLLBACK").await;
    assert!(run(&mut client, listed).await.contains("D 2|a"));
    assert_eq!(run(&mut client, "UNLISTEN a").await, "C UNLISTEN\nZ I");
    assert_eq!(run(&mut client, "SELECT pg_listening_channels()").await, "T pg_listening_channels:25:0\nD b\nC SELECT 1\nZ I");
    assert_eq!(run(&mut client, "NOTIFY a, 'x'").await, "C NOTIFY\nZ I");
    run(&mut client, "UNLISTEN *").await;
    assert!(run(&mut client, listed).await.contains("D 0|NULL"));
    // In the order in which they were asked for, as PostgreSQL lists them.
    run(&mut client, "LISTEN c; LISTEN a; LISTEN b; LISTEN a; UNLISTEN c; LISTEN c").await;
    let in_order = run(&mut client, "SELECT * FROM pg_listening_channels()").await;
    assert!(in_order.contains("D a\nD b\nD c\n"), "{in_order}");
    run(&mut client, "DISCARD ALL").await;
    assert!(run(&mut client, listed).await.contains("D 0|NULL"));
}

#[tokio::test]
async fn what_cannot_be_told_is_refused() {
    let server = server::start(trusting()).await;
    let mut client = client(&server).await;
    let long = "x".repeat(8_000);
    let name = "n".repeat(64);
    let rows = [
        (format!("NOTIFY a, '{long}'"), "22023"),
        (format!("SELECT pg_notify('a', '{long}')"), "22023"),
        (format!("SELECT pg_notify('{name}', '')"), "22023"),
        ("SELECT pg_notify('', 'x')".to_owned(), "22023"),
        ("LISTEN 'a'".to_owned(), "42601"),
        ("NOTIFY a, b".to_owned(), "42601"),
        ("SELECT pg_notify(NULL, 'x')".to_owned(), "22023"),
        ("SELECT pg_notify('a')".to_owned(), "42883"),
        ("NOTIFY \"shop.orders\", 'x'".to_owned(), "42501"),
        ("NOTIFY \"topic:a\"".to_owned(), "42501"),
        ("NOTIFY \"view:a\"".to_owned(), "42501"),
        ("LISTEN \"shop.orders\"".to_owned(), "42P01"),
        ("LISTEN \"pg_catalog.pg_class\"".to_owned(), "42809"),
        ("LISTEN \"topic:a\"".to_owned(), "55000"),
        ("LISTEN \"view:a\"".to_owned(), "42P01"),
        ("SUBSCRIBE TO pg_class".to_owned(), "42809"),
        ("SUBSCRIBE TO nothing".to_owned(), "42P01"),
        ("CALL tributary.restart_feed('shop')".to_owned(), "42501"),
    ];
    for (sql, code) in rows {
        let shown: String = sql.chars().take(60).collect();
        assert_eq!(run(&mut client, &sql).await, format!("E ERROR {code}\nZ I"), "{shown}");
    }
    assert_eq!(run(&mut client, "SELECT * FROM tributary.changes").await.lines().last(), Some("Z I"));
}

#[tokio::test]
async fn long_names_are_known_by_an_alias() {
    let server = server::start(trusting()).await;
    let mut client = client(&server).await;
    let name = "n".repeat(80);
    assert_eq!(run(&mut client, &format!("LISTEN {name}")).await, "N NOTICE 42622\nC LISTEN\nZ I");
    let said = run(&mut client, &format!("NOTIFY {name}, 'x'")).await;
    let alias = said.lines().find_map(|line| line.strip_prefix("A ")).unwrap().strip_suffix(" x").unwrap().to_owned();
    assert_eq!(alias.len(), 63);
    assert_eq!(run(&mut client, &format!("NOTIFY \"{alias}\", 'y'")).await, format!("C NOTIFY\nA {alias} y\nZ I"));
    assert_eq!(run(&mut client, &format!("UNLISTEN {name}")).await, "C UNLISTEN\nZ I");
    assert_eq!(run(&mut client, &format!("NOTIFY \"{alias}\", 'y'")).await, "C NOTIFY\nZ I");
}
