//! Clients that break the protocol before they are authenticated: none gets further than FATAL and a closed connection.

use std::io::Read;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tributary::wire::Limits;

use super::client::{Client, cancel_request, gss_request, initial_response, message, packet, query, salt_of, ssl_request, startup};
use super::server::{self, DATABASE, PASSWORD, USER, settings, trusting, with_tls};

#[tokio::test]
async fn a_query_behind_a_wrong_password_never_runs() {
    let server = server::start(settings()).await;
    let mut client = Client::connect(server.address).await;
    client.start(USER).await;
    let offered = client.answer().await.unwrap();
    assert_eq!(offered.body, b"\0\0\0\x0aSCRAM-SHA-256\0\0");
    // Everything in one write: the exchange with a wrong proof, then statements.
    let pipelined = [
        initial_response("SCRAM-SHA-256", "n,,n=,r=clientnonce"),
        message(b'p', b"c=biws,r=clientnonce,p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="),
        query("SELECT 1"),
        query("SELECT 2"),
    ];
    client.send(&pipelined.concat()).await;
    assert_eq!(client.answer().await.unwrap().kind, 'R');
    client.refused("08P01").await;
}

#[tokio::test]
async fn wrong_password_unknown_role_and_role_without_verifier_look_the_same() {
    let server = server::start(settings()).await;
    let mut seen = Vec::new();
    for user in [USER, "nobody", "bare"] {
        let mut salts = Vec::new();
        for _ in 0..2 {
            let mut client = Client::connect(server.address).await;
            client.start(user).await;
            client.answer().await.unwrap();
            client.send(&initial_response("SCRAM-SHA-256", "n,,n=,r=clientnonce")).await;
            let first = client.answer().await.unwrap();
            salts.push(salt_of(std::str::from_utf8(&first.body[4..]).unwrap()));
        }
        assert_eq!(salts[0], salts[1], "{user}: the salt of a role that exists does not change");
        let mut client = Client::connect(server.address).await;
        client.start(user).await;
        let answer = client.scram("wrong").await;
        let text = answer.field(b'M').unwrap().replace(user, "?");
        assert_eq!(client.answer().await, None);
        seen.push((answer.error(), text, salts[0].0.len(), salts[0].1));
    }
    assert_eq!(seen[0].0, ("FATAL".to_owned(), "28P01".to_owned()));
    assert_eq!(seen[0], seen[1]);
    assert_eq!(seen[0], seen[2]);
}

#[tokio::test]
async fn an_error_after_the_password_is_fatal_too() {
    let server = server::start(settings()).await;
    let mut client = Client::connect(server.address).await;
    client.send(&startup(0, &[("user", USER), ("database", "elsewhere")])).await;
    let last = client.scram(PASSWORD).await;
    assert_eq!((last.kind, &last.body[..4]), ('R', [0, 0, 0, 12].as_slice()));
    client.stream.write_all(&query("SELECT 1")).await.unwrap();
    client.refused("3D000").await;
}

#[tokio::test]
async fn only_password_messages_are_taken_before_authentication() {
    let server = server::start(settings()).await;
    for early in [query("SELECT 1"), message(b'X', b""), message(b'P', b"\0SELECT 1\0\0\0"), message(b'd', b"x")] {
        let mut client = Client::connect(server.address).await;
        client.start(USER).await;
        assert_eq!(client.answer().await.unwrap().kind, 'R');
        client.send(&early).await;
        client.refused("08P01").await;
    }
}

#[tokio::test]
async fn sizes_are_refused_by_their_announcement() {
    let server = server::start(settings()).await;
    // Only the lengths are sent: the answer comes although not one byte of the gigabyte did.
    for length in [1_u32 << 30, u32::MAX, 65_537, 7] {
        let mut client = Client::connect(server.address).await;
        client.send(&length.to_be_bytes()).await;
        client.refused("08P01").await;
    }
    for length in [1_u32 << 30, u32::MAX, 65_537, 3] {
        let mut client = Client::connect(server.address).await;
        client.start(USER).await;
        assert_eq!(client.answer().await.unwrap().kind, 'R');
        client.send(&[b"p".as_slice(), &length.to_be_bytes()].concat()).await;
        client.refused("08P01").await;
    }
}

#[tokio::test]
async fn malformed_sasl_messages_are_refused() {
    let server = server::start(settings()).await;
    let rows: Vec<Vec<u8>> = vec![
        message(b'p', b""),
        message(b'p', b"SCRAM-SHA-256"),
        message(b'p', b"SCRAM-SHA-256\0\x7f\xff\xff\xffn,,"),
        message(b'p', b"SCRAM-SHA-256\0\xff\xff\xff\xff"),
        initial_response("PLAIN", "\0ann\0x"),
        initial_response("SCRAM-SHA-256-PLUS", "p=tls-server-end-point,,n=,r=x"),
        initial_response("SCRAM-SHA-256", "p=tls-server-end-point,,n=,r=x"),
        initial_response("SCRAM-SHA-256", "p=tls-unique,,n=,r=x"),
        initial_response("SCRAM-SHA-256", "x"),
        initial_response("SCRAM-SHA-256", ""),
    ];
    for row in rows {
        let mut client = Client::connect(server.address).await;
        client.start(USER).await;
        assert_eq!(client.answer().await.unwrap().kind, 'R');
        client.send(&row).await;
        client.refused("08P01").await;
    }
}

#[tokio::test]
async fn startup_packets_that_make_no_sense_are_refused() {
    let server = server::start(settings()).await;
    let rows: Vec<(Vec<u8>, &str)> = vec![
        (packet(b"\0\x03\0\0user\0ann"), "08P01"),
        (packet(b"\0\x02\0\0\0"), "0A000"),
        (startup(0, &[("database", DATABASE)]), "28000"),
        (startup(0, &[("user", USER), ("replication", "true")]), "0A000"),
        (startup(0, &[("user", USER), ("options", "--nonsense")]), "42601"),
        (packet(b"\0\x03\0\0user\0\xff\xfe\0\0"), "22021"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(), "08P01"),
    ];
    for (bytes, code) in rows {
        let mut client = Client::connect(server.address).await;
        client.send(&bytes).await;
        client.refused(code).await;
    }
}

#[tokio::test]
async fn encryption_is_declined_once_each_and_the_session_goes_on() {
    let server = server::start(settings()).await;
    let mut client = Client::connect(server.address).await;
    for request in [gss_request(), ssl_request()] {
        client.send(&request).await;
        assert_eq!(client.stream.read_u8().await.unwrap(), b'N');
    }
    client.start(USER).await;
    assert_eq!(client.answer().await.unwrap().kind, 'R');

    let mut client = Client::connect(server.address).await;
    client.send(&ssl_request()).await;
    assert_eq!(client.stream.read_u8().await.unwrap(), b'N');
    client.send(&ssl_request()).await;
    client.refused("08P01").await;
}

#[tokio::test]
async fn bytes_smuggled_before_the_tls_handshake_are_not_used() {
    let directory = tempfile::tempdir().unwrap();
    let (settings, _) = with_tls(directory.path(), false);
    let server = server::start(super::server::trusted(settings)).await;
    let mut client = Client::connect(server.address).await;
    let smuggled = [ssl_request(), startup(0, &[("user", USER), ("database", DATABASE)]), query("SELECT 1")].concat();
    client.send(&smuggled).await;
    let mut answer = Vec::new();
    // The handshake fails on them; what comes back is 'S' and at most a TLS alert (record type 21).
    client.stream.read_to_end(&mut answer).await.ok();
    assert_eq!(answer.first(), Some(&b'S'));
    assert!(matches!(answer.get(1), None | Some(21)), "{answer:?}");
}

#[tokio::test]
async fn a_server_that_requires_tls_takes_no_plain_session() {
    let directory = tempfile::tempdir().unwrap();
    let (settings, _) = with_tls(directory.path(), true);
    let server = server::start(settings).await;
    let mut client = Client::connect(server.address).await;
    client.start(USER).await;
    client.refused("28000").await;
}

#[tokio::test]
async fn who_says_nothing_is_cut_and_blocks_nobody() {
    let limits = Limits { startup_timeout: Duration::from_secs(2), max_handshakes: 1, ..Limits::default() };
    let server = server::start(tributary::wire::Settings { limits, ..trusting() }).await;
    let mut silent = Client::connect(server.address).await;
    let mut halfway = Client::connect(server.address).await;
    halfway.send(&[0, 0]).await;
    // Who has not said what it wants takes no handshake, of which there is one at a time.
    let patient = Client::trusted(server.address, USER).await;
    assert_eq!(silent.answer().await, None);
    assert_eq!(halfway.answer().await, None);
    drop(patient);
}

/// A connection from another address of this machine.
async fn from(last: u8, server: SocketAddr) -> Client {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from(([127, 0, 0, last], 0))).unwrap();
    Client { stream: socket.connect(server).await.unwrap() }
}

#[tokio::test]
async fn a_cancel_request_comes_through_while_every_place_is_taken() {
    let limits = Limits { startup_timeout: Duration::from_secs(30), max_handshakes: 1, ..Limits::default() };
    let server = server::start(tributary::wire::Settings { limits, ..settings() }).await;
    let mut victim = Client::connect(server.address).await;
    victim.start(USER).await;
    victim.scram(PASSWORD).await;
    let greeting = victim.until_ready().await;
    let key = greeting.iter().find(|answer| answer.kind == 'K').unwrap();
    let process_id = i32::from_be_bytes(key.body[..4].try_into().unwrap());
    victim.send(&query("SELECT n FROM generate_series(1, 2000000000) AS n")).await;
    // One logs in and seven wait for their turn: nobody else can come in.
    let mut stalled = Vec::new();
    for number in 0..8 {
        let mut client = from(2 + number / 4, server.address).await;
        client.start(USER).await;
        stalled.push(client);
    }
    assert_eq!(stalled[0].answer().await.unwrap().kind, 'R');
    // Their packets may still be on the way: tried until the room is full.
    loop {
        let mut beyond = from(9, server.address).await;
        beyond.start(USER).await;
        let answer = tokio::time::timeout(Duration::from_millis(300), beyond.answer()).await;
        if let Ok(answer) = answer {
            assert_eq!(answer.unwrap().error(), ("FATAL".to_owned(), "53300".to_owned()));
            break;
        }
    }
    let mut canceller = from(10, server.address).await;
    canceller.send(&cancel_request(process_id, &key.body[4..])).await;
    assert_eq!(canceller.answer().await, None);
    let rest = victim.until_ready().await;
    let error = rest.iter().find(|answer| answer.kind == 'E').unwrap();
    assert_eq!(error.error().1, "57014");
    drop(stalled);
}

#[tokio::test]
async fn who_waits_for_a_turn_has_a_deadline_too() {
    let limits = Limits { startup_timeout: Duration::from_secs(1), max_handshakes: 1, ..Limits::default() };
    let server = server::start(tributary::wire::Settings { limits, ..settings() }).await;
    let mut stalled = Vec::new();
    for _ in 0..4 {
        let mut client = Client::connect(server.address).await;
        client.start(USER).await;
        stalled.push(client);
    }
    let started = std::time::Instant::now();
    for client in &mut stalled {
        while client.answer().await.is_some() {}
    }
    // One after the other they would have taken four seconds.
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
}

#[tokio::test]
async fn silent_peers_of_one_address_keep_no_other_address_out() {
    let limits = Limits { max_handshakes: 2, ..Limits::default() };
    let server = server::start(tributary::wire::Settings { limits, ..trusting() }).await;
    let mut silent = Vec::new();
    // Two handshakes at a time, and sixteen connections in all: more than one address may have of either.
    for _ in 0..20 {
        silent.push(Client::connect(server.address).await);
    }
    let mut client = from(2, server.address).await;
    client.start(USER).await;
    assert_eq!(client.until_ready().await.last().unwrap().shown(), "Z I");
    for beyond in &mut silent[8..] {
        assert_eq!(beyond.answer().await, None, "an address has half of the room");
    }
    for waiting in silent.drain(..8) {
        let read = waiting.stream.into_std().unwrap().read(&mut [0]);
        assert_eq!(read.unwrap_err().kind(), std::io::ErrorKind::WouldBlock, "who waits for a turn is not cut");
    }
}

#[tokio::test]
async fn a_shutdown_during_the_handshake_ends_it() {
    let server = server::start(settings()).await;
    let mut client = Client::connect(server.address).await;
    client.start(USER).await;
    assert_eq!(client.answer().await.unwrap().kind, 'R');
    server.shutdown.cancel();
    assert_eq!(client.answer().await, None);
    server.task.join().await.unwrap();
    assert!(TcpStream::connect(server.address).await.is_err());
}
