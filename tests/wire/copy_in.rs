//! COPY from the client: the messages of both protocols, what ends it early, and what is then in the store.

use super::client::{Client, bind, execute, message, parse, query, sync};
use crate::support::proxy::{OWNER, Place};

const NOTES: &str =
    "PRAGMA journal_mode = wal; CREATE TABLE notes (n INTEGER PRIMARY KEY, t TEXT); INSERT INTO notes VALUES (1, 'one');";

const COPY: &str = "COPY notes.notes FROM STDIN";

async fn stage() -> (Place, tributary::server::Server, Client) {
    let place = Place::new();
    place.configure("auth.trust = true");
    place.sqlite("notes", NOTES).await;
    let server = place.serve().await;
    let client = Client::trusted(server.addresses()[0], OWNER).await;
    (place, server, client)
}

fn some(bytes: &[u8]) -> Vec<u8> {
    message(b'd', bytes)
}

fn done() -> Vec<u8> {
    message(b'c', b"")
}

fn flush() -> Vec<u8> {
    message(b'H', b"")
}

/// A statement by the extended protocol, up to its `Execute`.
fn one(sql: &str) -> Vec<u8> {
    [parse("", sql, &[]), bind("", "", &[], &[]), execute("", 0)].concat()
}

async fn rows(client: &mut Client) -> String {
    let told = client.script(&query("SELECT n, t FROM notes.notes ORDER BY n")).await;
    let rows: Vec<&str> = told.lines().filter_map(|line| line.strip_prefix("D ")).collect();
    rows.join(" ")
}

async fn check(client: &mut Client, what: &str, sent: Vec<Vec<u8>>, told: &str, kept: &str) {
    assert_eq!(client.script(&sent.concat()).await, told, "{what}");
    assert_eq!(rows(client).await, kept, "{what}");
    client.script(&query("DELETE FROM notes.notes WHERE n > 1")).await;
}

#[tokio::test]
async fn rows_come_in_pieces_of_any_size_by_both_protocols() {
    let (_place, _server, mut client) = stage().await;
    let pieces = |bytes: &[u8]| bytes.iter().map(|byte| some(&[*byte])).collect::<Vec<_>>().concat();
    let data = b"2\ttwo\n3\t\\N\n";
    let kept = "1|one 2|two 3|NULL";
    check(&mut client, "simple", vec![query(COPY), some(data), done()], "G\nC COPY 2\nZ I", kept).await;
    check(&mut client, "byte by byte", vec![query(COPY), pieces(data), done()], "G\nC COPY 2\nZ I", kept).await;
    check(&mut client, "nothing", vec![query(COPY), done()], "G\nC COPY 0\nZ I", "1|one").await;
    let beside = vec![query(COPY), flush(), some(data), sync(), flush(), done()];
    check(&mut client, "Flush and Sync are ignored", beside, "G\nC COPY 2\nZ I", kept).await;
    let extended = vec![one(COPY), sync(), some(data), done(), sync()];
    check(&mut client, "extended", extended, "1\n2\nG\nC COPY 2\nZ I", kept).await;
    let ended = vec![query(COPY), some(b"2\ttwo\n\\.\nnot a row"), done()];
    check(&mut client, "what follows the end is ignored", ended, "G\nC COPY 1\nZ I", "1|one 2|two").await;
    let two = vec![query(&format!("{COPY} CSV; SELECT 7 AS n")), some(b"2,two\n"), done()];
    check(&mut client, "two statements", two, "G\nC COPY 1\nT n:23:0\nD 7\nC SELECT 1\nZ I", "1|one 2|two").await;
    let header = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
    let row = b"\0\x02\0\0\0\x08\0\0\0\0\0\0\0\x02\0\0\0\x03two\0\x02\0\0\0\x08\0\0\0\0\0\0\0\x03\xff\xff\xff\xff\xff\xff";
    let binary = vec![query(&format!("{COPY} (FORMAT binary)")), some(header), pieces(row), done()];
    check(&mut client, "binary", binary, "G\nC COPY 2\nZ I", kept).await;
    let kept_rows = vec![query(&format!("{COPY} WHERE n <> 2 AND t IS NULL")), some(data), done()];
    check(&mut client, "a condition", kept_rows, "G\nC COPY 1\nZ I", "1|one 3|NULL").await;
}

#[tokio::test]
async fn what_ends_early_leaves_nothing() {
    let (_place, _server, mut client) = stage().await;
    let good: &[u8] = b"2\ttwo\n";
    let many: Vec<u8> = (2..9_000).flat_map(|n| format!("{n}\tx\n").into_bytes()).collect();
    let given_up = vec![query(COPY), some(good), message(b'f', b"no more\0")];
    check(&mut client, "the client gives up", given_up, "G\nE ERROR 57014\nZ I", "1|one").await;
    let cases: [(&str, &[u8], &str); 4] = [
        ("too few columns", b"3\n", "22P04"),
        ("no number", b"x\tthree\n", "22P02"),
        ("a key that exists", b"1\tagain\n", "23505"),
        ("not UTF-8", b"3\t\xff\n", "22021"),
    ];
    for (what, data, code) in cases {
        for before in [good, many.as_slice()] {
            let told = format!("G\nE ERROR {code}\nZ I");
            // What the client sends before it has heard of the error is ignored.
            let sent = vec![query(COPY), some(before), some(data), some(good), done()];
            check(&mut client, what, sent, &told, "1|one").await;
        }
        let told = format!("1\n2\nG\nE ERROR {code}\nZ I");
        let sent = vec![one(COPY), some(good), some(data), some(good), done(), flush(), sync()];
        check(&mut client, what, sent, &told, "1|one").await;
    }
    let failed = vec![query(&format!("{COPY}; SELECT 1")), some(b"x\n"), done()];
    check(&mut client, "what follows does not run", failed, "G\nE ERROR 22P02\nZ I", "1|one").await;
    let undone = vec![query(&format!("{COPY}; SELECT * FROM notes.nowhere")), some(good), done()];
    check(&mut client, "and is one transaction with it", undone, "G\nC COPY 1\nE ERROR 42P01\nZ I", "1|one").await;
    client.script(&query("SET statement_timeout = 200")).await;
    check(&mut client, "the client is silent for too long", vec![query(COPY), some(good)], "G\nE ERROR 57014\nZ I", "1|one").await;
    client.script(&query("SET statement_timeout = 0")).await;
    client.send(&[query(COPY), some(good), query("SELECT 1")].concat()).await;
    let told: Vec<String> = client.until_ready().await.iter().map(super::client::Answer::shown).collect();
    assert_eq!(told, ["G", "E ERROR 08P01", "E FATAL 08P01"]);
}

#[tokio::test]
async fn a_copy_belongs_to_its_block() {
    let (_place, _server, mut client) = stage().await;
    let good: &[u8] = b"2\ttwo\n";
    let ours = |end: &str| vec![query("BEGIN"), query(COPY), some(good), done(), query(end)];
    for (end, kept) in [("COMMIT", "1|one 2|two"), ("ROLLBACK", "1|one")] {
        for sent in ours(end) {
            client.send(&sent).await;
        }
        for expected in ["C BEGIN\nZ T".to_owned(), "G\nC COPY 1\nZ T".to_owned(), format!("C {end}\nZ I")] {
            let told: Vec<String> = client.until_ready().await.iter().map(super::client::Answer::shown).collect();
            assert_eq!(told.join("\n"), expected);
        }
        assert_eq!(rows(&mut client).await, kept, "{end}");
        client.script(&query("DELETE FROM notes.notes WHERE n > 1")).await;
    }
    client.script(&query("BEGIN; SAVEPOINT s")).await;
    let told = client.script(&[query(COPY), some(b"x\ty\n"), done()].concat()).await;
    assert_eq!(told, "G\nE ERROR 22P02\nZ E");
    assert_eq!(client.script(&query(COPY)).await, "E ERROR 25P02\nZ E");
    assert_eq!(client.script(&query("ROLLBACK TO s")).await, "C ROLLBACK\nZ T");
    assert_eq!(client.script(&[query(COPY), some(good), done()].concat()).await, "G\nC COPY 1\nZ T");
    assert_eq!(client.script(&query("COMMIT")).await, "C COMMIT\nZ I");
    assert_eq!(rows(&mut client).await, "1|one 2|two");
    let told = client.script(&query("BEGIN READ ONLY; COPY notes.notes FROM STDIN")).await;
    assert_eq!(told, "C BEGIN\nE ERROR 25006\nZ E");
}

#[tokio::test]
async fn errors_say_where_they_lie() {
    let (_place, _server, mut client) = stage().await;
    let cases: [(&str, &[u8], &str); 6] = [
        ("", b"2\ttwo\nx\tthree\n", "COPY notes, line 2, column n: \"x\""),
        ("", b"2\ttwo\n3\n", "COPY notes, line 2: \"3\""),
        ("CSV", b"2,\"t\nw\"\n3,\"\n", "COPY notes, line 3: \"3,\"\n\""),
        ("", b"2\ttwo\n1\tone\n", "COPY notes, lines 1 to 2"),
        ("", b"1\tone\n", "COPY notes, line 1"),
        ("WHERE 1 / (n - 3) IS NOT NULL", b"2\ttwo\n3\tthree\n4\tfour\n", "COPY notes, line 2"),
    ];
    for (options, data, context) in cases {
        let sent = [query(&format!("{COPY} {options}")), message(b'd', data), done()].concat();
        client.send(&sent).await;
        let told = client.until_ready().await;
        let error = told.iter().find(|answer| answer.kind == 'E').unwrap();
        assert_eq!(error.field(b'W').as_deref(), Some(context));
    }
    type Ended<'e> = (&'e str, &'e [u8], &'e [u8], &'e str, &'e str);
    let ended: [Ended<'_>; 3] = [
        ("", b"2\ttwo\n3", b"no more\0", "COPY from stdin failed: no more", "COPY notes, line 2"),
        ("CSV HEADER", b"", b"\0", "COPY from stdin failed: ", "COPY notes, line 1"),
        ("", b"x\ty\n", b"no more\0", "invalid input syntax for type bigint: \"x\"", "COPY notes, line 1, column n: \"x\""),
    ];
    for (options, data, reason, message, context) in ended {
        let sent = [query(&format!("{COPY} {options}")), some(data), message_of_failure(reason)].concat();
        client.send(&sent).await;
        let told = client.until_ready().await;
        let error = told.iter().find(|answer| answer.kind == 'E').unwrap();
        assert_eq!((error.field(b'M').as_deref(), error.field(b'W').as_deref()), (Some(message), Some(context)));
    }
    assert_eq!(rows(&mut client).await, "1|one");
    client.send(&[query(COPY), some(b"2\ttwo\n"), query("SELECT 1")].concat()).await;
    let told = client.until_ready().await;
    let messages: Vec<Option<String>> = told.iter().filter(|answer| answer.kind == 'E').map(|answer| answer.field(b'M')).collect();
    let first = Some("unexpected message type 0x51 during COPY from stdin".to_owned());
    assert_eq!(messages.first(), Some(&first));
    assert_eq!(messages.len(), 2);
}

fn message_of_failure(reason: &[u8]) -> Vec<u8> {
    message(b'f', reason)
}
