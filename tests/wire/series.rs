//! Writes between two `Sync` messages: one transaction, which the last of them ends.

use super::client::{Client, bind, describe, execute, message, parse, query, sync};
use crate::support::proxy::{OWNER, Place};

const NOTES: &str =
    "PRAGMA journal_mode = wal; CREATE TABLE notes (n INTEGER PRIMARY KEY, t TEXT); INSERT INTO notes VALUES (1, 'one');";

/// One statement, unnamed throughout, up to its `Execute`.
fn one(sql: &str) -> Vec<u8> {
    [parse("", sql, &[]), bind("", "", &[], &[]), execute("", 0)].concat()
}

fn insert(n: u8) -> Vec<u8> {
    one(&format!("INSERT INTO notes.notes VALUES ({n}, 'x')"))
}

/// What a client is told of a successful write.
const DONE: &str = "1\n2\nC INSERT 0 1";
const COUNT: &str = "SELECT count(*) AS c FROM notes.notes";

async fn stage() -> (Place, tributary::server::Server, Client) {
    let place = Place::new();
    place.configure("auth.trust = true");
    place.sqlite("notes", NOTES).await;
    let server = place.serve().await;
    let client = Client::trusted(server.addresses()[0], OWNER).await;
    (place, server, client)
}

async fn rows(client: &mut Client) -> String {
    let told = client.script(&query(COUNT)).await;
    told.lines().nth(1).unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_series_is_kept_as_a_whole_or_not_at_all() {
    let (_place, _server, mut client) = stage().await;
    let told = client.script(&[insert(2), sync()].concat()).await;
    assert_eq!(told, format!("{DONE}\nZ I"));
    assert_eq!(rows(&mut client).await, "D 2");
    let told = client.script(&[insert(3), insert(4), sync()].concat()).await;
    assert_eq!(told, format!("{DONE}\n{DONE}\nZ I"));
    assert_eq!(rows(&mut client).await, "D 4");
    for failing in [insert(1), one("SELECT 1/0"), one("SELEC"), one("SELECT * FROM notes.nowhere")] {
        let told = client.script(&[insert(5), failing, insert(6), sync()].concat()).await;
        assert!(told.starts_with(DONE) && told.ends_with("Z I") && told.contains("E ERROR"), "{told}");
        assert!(!told["1\n2\nC INSERT".len()..].contains("C INSERT"), "what follows an error is skipped: {told}");
        assert_eq!(rows(&mut client).await, "D 4");
    }
    // A series sees what it has written, and Flush does not end it.
    client.send(&[insert(5), message(b'H', b"")].concat()).await;
    for kind in ['1', '2', 'C'] {
        assert_eq!(client.answer().await.map(|answer| answer.kind), Some(kind));
    }
    let told = client.script(&[one(COUNT), one("SELEC"), sync()].concat()).await;
    assert!(told.starts_with("1\n2\nD 5\nC SELECT 1\nE ERROR 42601"), "{told}");
    assert_eq!(rows(&mut client).await, "D 4");
}

#[tokio::test]
async fn what_is_closed_before_the_end_of_a_series_does_not_go_on_with_it() {
    let (_place, _server, mut client) = stage().await;
    let closed = || message(b'C', b"P\0");
    let told = client.script(&[insert(2), closed(), sync()].concat()).await;
    assert_eq!(told, format!("{DONE}\n3\nZ I"));
    assert_eq!(rows(&mut client).await, "D 2");
    // More than are looked at, and what follows them belongs to the same transaction.
    let many = vec![closed(); 9].concat();
    let told = client.script(&[insert(3), many.clone(), sync()].concat()).await;
    assert_eq!(told, format!("{DONE}\n{}Z I", "3\n".repeat(9)));
    assert_eq!(rows(&mut client).await, "D 3");
    for between in [closed(), many] {
        let told = client.script(&[insert(4), between, insert(1), sync()].concat()).await;
        assert!(told.starts_with(DONE) && told.ends_with("Z I") && told.contains("E ERROR 23505"), "{told}");
        assert_eq!(rows(&mut client).await, "D 3", "what follows fails, and the first is undone");
    }
}

#[tokio::test]
async fn a_series_that_begins_a_block_takes_its_writes_into_it() {
    let (_place, _server, mut client) = stage().await;
    let told = client.script(&[insert(2), one("BEGIN"), insert(3), sync()].concat()).await;
    assert_eq!(told, format!("{DONE}\n1\n2\nC BEGIN\n{DONE}\nZ T"));
    assert_eq!(client.script(&query("ROLLBACK")).await, "C ROLLBACK\nZ I");
    assert_eq!(rows(&mut client).await, "D 1");
    let told = client.script(&[one("BEGIN"), insert(2), one("COMMIT"), insert(1), sync()].concat()).await;
    assert!(told.ends_with("C COMMIT\n1\n2\nE ERROR 23505\nZ I"), "{told}");
    assert_eq!(rows(&mut client).await, "D 2");
}

#[tokio::test]
async fn rows_of_returning_are_written_once_and_read_in_parts() {
    let (_place, _server, mut client) = stage().await;
    let sql = "INSERT INTO notes.notes VALUES (2, 'x'), (3, 'x'), (4, 'x') RETURNING n";
    let script = [
        parse("", sql, &[]),
        bind("p", "", &[], &[]),
        describe(b'P', "p"),
        execute("p", 2),
        execute("p", 2),
        execute("p", 0),
        sync(),
    ];
    let told = client.script(&script.concat()).await;
    assert_eq!(told, "1\n2\nT n:20:0\nD 2\nD 3\ns\nD 4\nC INSERT 0 1\nC INSERT 0 0\nZ I");
    assert_eq!(rows(&mut client).await, "D 4");
    // A write that returns nothing runs once.
    let script = [
        parse("", "DELETE FROM notes.notes WHERE n > 1", &[]),
        bind("p", "", &[], &[]),
        describe(b'P', "p"),
        execute("p", 1),
        execute("p", 1),
        sync(),
    ];
    let told = client.script(&script.concat()).await;
    assert_eq!(told, "1\n2\nn\nC DELETE 3\nE ERROR 55000\nZ I");
    assert_eq!(rows(&mut client).await, "D 4", "the error undoes the series");
}
