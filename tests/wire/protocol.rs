//! Message scripts of authenticated clients: what comes back, in which order, and what the connection survives.

use std::time::Duration;

use tokio::io::AsyncReadExt;
use tributary::wire::{Limits, Settings};

use super::client::{Client, bind, describe, execute, message, parse, query, startup, sync};
use super::server::{self, Server, USER, trusting};

fn limited(change: impl FnOnce(&mut Limits)) -> Settings {
    let mut settings = trusting();
    change(&mut settings.limits);
    settings
}

pub async fn connected() -> (Server, Client) {
    let server = server::start(trusting()).await;
    let client = Client::trusted(server.address, USER).await;
    (server, client)
}

/// A session of a real PostgreSQL, whose answers the expected ones must equal.
async fn oracle() -> Client {
    let server = crate::support::postgres().await;
    let address = tokio::net::lookup_host((server.host(), server.port())).await.unwrap().next().unwrap();
    let mut client = Client::connect(address).await;
    client.send(&startup(0, &[("user", server.user()), ("database", server.database())])).await;
    client.scram(server.password()).await;
    client.until_ready().await;
    client
}

/// Runs a table of scripts on one connection, so that each also shows that the one before left it usable. The expected
/// answers are first held against PostgreSQL's own.
pub async fn check(rows: Vec<(&str, Vec<u8>, &str)>) {
    let mut oracle = oracle().await;
    for (name, bytes, expected) in &rows {
        assert_eq!(oracle.script(bytes).await, *expected, "{name}, asked of PostgreSQL");
    }
    check_ours(rows).await;
}

/// [`check`] without PostgreSQL, where it can do what we refuse.
pub async fn check_ours(rows: Vec<(&str, Vec<u8>, &str)>) {
    let (_server, mut client) = connected().await;
    for (name, bytes, expected) in rows {
        assert_eq!(client.script(&bytes).await, expected, "{name}");
    }
}

/// Fails with its first row, not while it is planned.
const FAILING: &str = "SELECT (1 / x)::int4 AS n FROM generate_series(0, 0) AS t(x)";

#[tokio::test]
async fn simple_queries_answer_statement_by_statement() {
    check(vec![
        ("one", query("SELECT 1 AS n"), "T n:23:0\nD 1\nC SELECT 1\nZ I"),
        ("two", query("SELECT 1 AS n; SELECT 2 AS n;"), "T n:23:0\nD 1\nC SELECT 1\nT n:23:0\nD 2\nC SELECT 1\nZ I"),
        ("empty", query(""), "I\nZ I"),
        ("only separators", query(" ; "), "I\nZ I"),
        (
            "failure ends the text",
            query(&format!("SELECT 1 AS n; {FAILING}; SELECT 3")),
            "T n:23:0\nD 1\nC SELECT 1\nT n:23:0\nE ERROR 22012\nZ I",
        ),
        ("syntax error runs nothing", query("SELECT 1; SELEC 2"), "E ERROR 42601\nZ I"),
        ("block", query("BEGIN"), "C BEGIN\nZ T"),
        ("notice before the tag", query("BEGIN"), "N WARNING 25001\nC BEGIN\nZ T"),
        ("failure in a block", query(FAILING), "T n:23:0\nE ERROR 22012\nZ E"),
        ("refused until its end", query("SELECT 1"), "E ERROR 25P02\nZ E"),
        ("end", query("ROLLBACK"), "C ROLLBACK\nZ I"),
        ("usable", query("SELECT 1 AS n"), "T n:23:0\nD 1\nC SELECT 1\nZ I"),
    ])
    .await;
}

#[tokio::test]
async fn a_reported_setting_is_told_before_the_end() {
    let (_server, mut client) = connected().await;
    client.send(&query("SET application_name = 'x'")).await;
    let answers = client.until_ready().await;
    assert_eq!(answers.iter().map(|answer| answer.kind).collect::<String>(), "CSZ");
    assert_eq!(answers[1].body, b"application_name\0x\0");
}

#[tokio::test]
async fn extended_queries_answer_in_order() {
    let whole =
        |max_rows| [parse("", "SELECT 1 AS n", &[]), bind("", "", &[], &[]), describe(b'P', ""), execute("", max_rows), sync()];
    check(vec![
        ("all rows", whole(0).concat(), "1\n2\nT n:23:0\nD 1\nC SELECT 1\nZ I"),
        ("negative bound", whole(-1).concat(), "1\n2\nT n:23:0\nD 1\nC SELECT 1\nZ I"),
        ("largest bound", whole(i32::MAX).concat(), "1\n2\nT n:23:0\nD 1\nC SELECT 1\nZ I"),
        ("bound reached", whole(1).concat(), "1\n2\nT n:23:0\nD 1\ns\nZ I"),
        (
            "statement described",
            [parse("s1", "SELECT $1::int4 + 1 AS n", &[]), describe(b'S', "s1"), sync()].concat(),
            "1\nt 23\nT n:23:0\nZ I",
        ),
        ("binary", [bind("", "s1", &[Some(b"41")], &[1]), describe(b'P', ""), sync()].concat(), "2\nT n:23:1\nZ I"),
        ("no rows to describe", [parse("", "BEGIN", &[]), describe(b'S', ""), sync()].concat(), "1\nt \nn\nZ I"),
        ("empty", [parse("", "", &[]), bind("", "", &[], &[]), execute("", 0), sync()].concat(), "1\n2\nI\nZ I"),
        ("closing what is not there", [message(b'C', b"Snone\0"), message(b'C', b"Pnone\0"), sync()].concat(), "3\n3\nZ I"),
        ("flushed while idle", [message(b'H', b""), sync()].concat(), "Z I"),
        ("closed", [message(b'C', b"Ss1\0"), describe(b'S', "s1"), sync()].concat(), "3\nE ERROR 26000\nZ I"),
    ])
    .await;
}

#[tokio::test]
async fn extended_errors_skip_to_sync_and_have_their_codes() {
    let then = |failing: Vec<u8>| [failing, query("SELECT 1"), execute("", 0), sync()].concat();
    check(vec![
        ("prepared", [parse("s", "SELECT $1::int4 AS n", &[]), sync()].concat(), "1\nZ I"),
        ("taken name", then(parse("s", "SELECT 2", &[])), "E ERROR 42P05\nZ I"),
        ("syntax", then(parse("", "SELEC", &[])), "E ERROR 42601\nZ I"),
        ("unknown statement", then(bind("", "none", &[], &[])), "E ERROR 26000\nZ I"),
        ("unknown portal", then(execute("none", 0)), "E ERROR 34000\nZ I"),
        ("unknown portal described", then(describe(b'P', "none")), "E ERROR 34000\nZ I"),
        ("too few parameters", then(bind("", "s", &[], &[])), "E ERROR 08P01\nZ I"),
        ("too many parameters", then(bind("", "s", &[Some(b"1"), None], &[])), "E ERROR 08P01\nZ I"),
        ("too many result formats", then(bind("", "s", &[Some(b"1")], &[0, 1])), "E ERROR 08P01\nZ I"),
        ("not a number", then(bind("", "s", &[Some(b"x")], &[])), "E ERROR 22P02\nZ I"),
        ("bad text", then(message(b'P', b"\0SELECT '\xff'\0\0\0")), "E ERROR 22021\nZ I"),
        ("still there", [bind("", "s", &[Some(b"7")], &[]), execute("", 0), sync()].concat(), "2\nD 7\nC SELECT 1\nZ I"),
        ("portal", [parse("t", "SELECT 1", &[]), query("BEGIN")].concat(), "1\nC BEGIN\nZ T"),
        ("taken portal", then([bind("p", "t", &[], &[]), bind("p", "t", &[], &[])].concat()), "2\nE ERROR 42P03\nZ E"),
    ])
    .await;
}

#[tokio::test]
async fn several_portals_go_on_side_by_side() {
    let series = "SELECT x::int4 AS n FROM generate_series(1, 5) AS t(x)";
    let turns = [("a", 2), ("b", 1), ("a", 2), ("b", 0), ("a", 2), ("a", 1)];
    let executes: Vec<Vec<u8>> = turns.iter().map(|(portal, max_rows)| execute(portal, *max_rows)).collect();
    let bound = [parse("s", series, &[]), bind("a", "s", &[], &[]), bind("b", "s", &[], &[]), executes.concat(), sync()];
    let rows = "1,2,2,D 1,D 2,s,D 1,s,D 3,D 4,s,D 2,D 3,D 4,D 5,C SELECT 4,D 5,C SELECT 1,C SELECT 0,Z T".replace(',', "\n");
    check(vec![
        ("block", query("BEGIN"), "C BEGIN\nZ T"),
        ("portals", bound.concat(), &rows),
        ("end", query("COMMIT"), "C COMMIT\nZ I"),
        ("gone with their block", [execute("a", 1), sync()].concat(), "E ERROR 34000\nZ I"),
        ("gone with their series", [bind("c", "s", &[], &[]), sync(), execute("c", 1), sync()].concat(), "2\nZ I"),
        ("its answer", Vec::new(), "E ERROR 34000\nZ I"),
    ])
    .await;
}

#[tokio::test]
async fn a_batch_is_answered_in_one_write() {
    let (_server, mut client) = connected().await;
    let batch = [parse("", "SELECT 1 AS n", &[]), bind("", "", &[], &[]), describe(b'P', ""), execute("", 0), sync()];
    client.send(&batch.concat()).await;
    let mut buffer = vec![0; 4096];
    let length = client.stream.read(&mut buffer).await.unwrap();
    // ReadyForQuery is six bytes.
    assert_eq!(buffer[length - 6..length], *b"Z\0\0\0\x05I");
}

#[tokio::test]
async fn what_runs_up_to_sync_is_of_one_time() {
    let (_server, mut client) = connected().await;
    let ask = [parse("", "SELECT now()::text AS n", &[]), bind("", "", &[], &[]), execute("", 0)].concat();
    let times = |answer: &str| answer.lines().filter(|line| line.starts_with("D ")).map(str::to_owned).collect::<Vec<_>>();
    let series = [ask.clone(), ask.clone(), sync()].concat();
    let first = times(&client.script(&series).await);
    assert_eq!((first.len(), &first[0]), (2, &first[1]));
    let second = times(&client.script(&series).await);
    assert_eq!((second.len(), &second[0]), (2, &second[1]));
    assert_ne!(first[0], second[0], "each series has its own");
    // A block that begins in a series has the time of the series, and keeps it behind its end.
    let begin = [parse("", "BEGIN", &[]), bind("", "", &[], &[]), execute("", 0)].concat();
    let begun = times(&client.script(&[ask.clone(), begin, ask.clone(), sync()].concat()).await);
    assert_eq!((begun.len(), &begun[0]), (2, &begun[1]));
    assert_eq!(times(&client.script(&series).await), begun);
    assert_eq!(client.script(&query("COMMIT")).await, "C COMMIT\nZ I");
    assert_ne!(times(&client.script(&series).await), begun);
}

#[tokio::test]
async fn flush_sends_what_is_there_without_an_end() {
    let (_server, mut client) = connected().await;
    client.send(&[parse("", "SELECT 1 AS n", &[]), describe(b'S', ""), message(b'H', b"")].concat()).await;
    let mut kinds = String::new();
    for _ in 0..3 {
        kinds.push(client.answer().await.unwrap().kind);
    }
    assert_eq!(kinds, "1tT");
    assert_eq!(client.script(&sync()).await, "Z I");
}

#[tokio::test]
async fn what_is_not_spoken_is_refused_and_the_session_goes_on() {
    check_ours(vec![
        ("function call", message(b'F', b"\0\0\x04\xd2\0\0\0\0\0\0"), "E ERROR 0A000\nZ I"),
        ("stray copy", [message(b'd', b"x"), message(b'c', b""), message(b'f', b"x\0"), sync()].concat(), "Z I"),
        ("bad text", query("x").iter().map(|byte| if *byte == b'x' { 0xff } else { *byte }).collect(), "E ERROR 22021\nZ I"),
        // PostgreSQL takes the format at Bind and fails at Execute.
        ("unknown format", [parse("", "SELECT 1", &[]), bind("", "", &[], &[7]), sync()].concat(), "1\nE ERROR 22023\nZ I"),
        ("usable", query("SELECT 1 AS n"), "T n:23:0\nD 1\nC SELECT 1\nZ I"),
    ])
    .await;
}

#[tokio::test]
async fn what_cannot_be_read_ends_the_connection_with_a_word() {
    let rows: Vec<(Vec<u8>, &str)> = vec![
        (message(b'!', b""), "08P01"),
        (message(b'p', b"secret\0"), "08P01"),
        (b"Q\0\0\0\x03".to_vec(), "08P01"),
        (b"Q\x7f\xff\xff\xff".to_vec(), "54000"),
        (b"S\0\0\x40\0".to_vec(), "54000"),
        (message(b'Q', b"no end"), "08P01"),
        (message(b'B', b"\0\0\0\0\0\x01\x7f\xff\xff\xff"), "08P01"),
        (message(b'P', b"\0\0\xff\xff"), "08P01"),
        (message(b'D', b"Zx\0"), "08P01"),
        (message(b'E', b"\0\0"), "08P01"),
    ];
    let server = server::start(trusting()).await;
    for (bytes, code) in rows {
        let mut client = Client::trusted(server.address, USER).await;
        client.send(&bytes).await;
        client.refused(code).await;
    }
    let server = server::start(limited(|limits| limits.message_max = 1000)).await;
    let mut client = Client::trusted(server.address, USER).await;
    client.send(&query(&" ".repeat(995))).await;
    assert_eq!(client.until_ready().await[0].kind, 'I');
    client.send(&query(&" ".repeat(996))).await;
    client.refused("54000").await;
}

#[tokio::test]
async fn goodbye_is_not_answered() {
    let (_server, mut client) = connected().await;
    client.send(&[query("SELECT 1 AS n"), message(b'X', b"")].concat()).await;
    assert_eq!(client.until_ready().await.len(), 4);
    assert_eq!(client.answer().await, None);
}

#[tokio::test]
async fn sessions_are_counted_and_one_too_many_is_told() {
    let server = server::start(limited(|limits| limits.max_connections = 1)).await;
    let first = Client::trusted(server.address, USER).await;
    let mut second = Client::connect(server.address).await;
    second.start(USER).await;
    second.refused("53300").await;
    drop(first);
    // The place is free once the server has noticed; each try until then is refused in the same words.
    loop {
        let mut again = Client::connect(server.address).await;
        again.start(USER).await;
        let answers = again.until_ready().await;
        match answers.last().unwrap().kind {
            'Z' => break,
            _ => assert_eq!(answers.last().unwrap().error().1, "53300"),
        }
    }
}

#[tokio::test]
async fn idle_sessions_are_ended_by_their_own_clock() {
    let short = Some(Duration::from_millis(50));
    let server = server::start(limited(|limits| limits.idle_timeout = short)).await;
    let mut client = Client::trusted(server.address, USER).await;
    client.refused("57P05").await;

    let server = server::start(limited(|limits| limits.idle_in_transaction_timeout = short)).await;
    let mut client = Client::trusted(server.address, USER).await;
    assert_eq!(client.script(&query("BEGIN")).await, "C BEGIN\nZ T");
    client.refused("25P03").await;
}
