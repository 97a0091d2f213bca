//! SUBSCRIBE: rows of changes in either protocol and as COPY, from now, behind a place or with a snapshot, and how it ends.

use bytes::Bytes;
use futures::TryStreamExt;

use super::eventually;
use super::follow::{Live, barriers, told, until_feed, until_told};
use super::room::{self, LOG, OUTBOX, Room};
use crate::support::proxy::{self, Failure, GUEST, OWNER, PATIENCE, Session};

const ORDERS: &str = "CREATE TABLE orders (id INTEGER PRIMARY KEY, v TEXT, n INTEGER); INSERT INTO orders VALUES (1, 'old', 10)";

async fn session(room: &Room) -> Session {
    proxy::open(&proxy::login(room.server().addresses()[0], OWNER)).await.unwrap()
}

/// The place of the newest event.
async fn newest(room: &Room, store: &str) -> String {
    told(room.session(), store, "position").await.pop().unwrap()
}

/// A row without its place and transaction.
fn short(row: &str) -> String {
    let fields: Vec<&str> = row.split('|').collect();
    // Nothing unknown is an empty list or none.
    let unknown = if fields[3] == "~" { "{}" } else { fields[3] };
    format!("{}|{unknown}|{}", fields[0], fields[4..].join("|"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_is_told_with_its_snapshot_and_then_with_its_changes() {
    let (room, mut native) = room::of_sqlite(ORDERS, OUTBOX, &["orders"]).await;
    let client = session(&room).await;
    let mut live = Live::start(&client, "SUBSCRIBE TO ONLY file.orders WITH SNAPSHOT").await;
    let rows = live.next_of(2).await;
    assert_eq!(rows[0].split('|').next(), Some("snapshot"));
    assert!(rows[0].ends_with("|1|old|10"), "{rows:?}");
    assert!(rows[1].starts_with("snapshot_end|") && rows[1].ends_with("|~|~|~"), "{rows:?}");
    native.run("UPDATE orders SET n = 11").await;
    assert!(live.next().await.unwrap().ends_with("|1|old|11"));
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_are_told_behind_a_place_in_both_protocols_and_as_copy() {
    let (mut room, mut native) = room::of_sqlite(ORDERS, OUTBOX, &["orders"]).await;
    native.run("INSERT INTO orders VALUES (2, 'a|b', NULL)").await;
    until_told(room.session(), ("file", "op"), 1).await;
    let from = newest(&room, "file").await;
    native
        .run("UPDATE orders SET n = 5 WHERE id = 2; UPDATE orders SET id = 3 WHERE id = 2; DELETE FROM orders WHERE id = 3")
        .await;
    let sql = format!("SUBSCRIBE TO file.orders FROM '{from}'");
    let one = session(&room).await;
    let rows = Live::start(&one, &sql).await.next_of(4).await;
    assert_eq!(short(&rows[0]), "update|{}|2|a|b|5");
    // Another key: the row of the old one goes, without a place between the two, and the new one comes.
    assert!(rows[1].starts_with("delete|~|") && rows[1].ends_with("|2|a|b|5"), "{rows:?}");
    assert_eq!((short(&rows[2]).as_str(), rows[2].starts_with("insert|~|")), ("insert|{}|3|a|b|5", false));
    assert!(rows[3].starts_with("delete|") && rows[3].ends_with("|3|a|b|5"), "{rows:?}");
    // The same over a restart of the server.
    drop(one);
    room.stop().await;
    room.start().await;
    let two = session(&room).await;
    assert_eq!(Live::start(&two, &sql).await.next_of(4).await, rows);
    // In the extended protocol, with the place as a parameter.
    let three = session(&room).await;
    let mut stream = Box::pin(three.query_raw("SUBSCRIBE TO file.orders FROM $1", [from.as_str()]).await.unwrap());
    let mut ops = Vec::new();
    while ops.len() < 4 {
        let row = tokio::time::timeout(PATIENCE, stream.try_next()).await.unwrap().unwrap().unwrap();
        ops.push((row.get::<_, String>("tributary_op"), row.get::<_, Option<i64>>("id")));
    }
    let expected = [("update", 2_i64), ("delete", 2), ("insert", 3), ("delete", 3)];
    assert_eq!(ops, expected.map(|(op, id)| (op.to_owned(), Some(id))));
    // As many rows of a portal as are asked for.
    let mut four = session(&room).await;
    let block = four.transaction().await.unwrap();
    let statement = block.prepare(&sql).await.unwrap();
    let portal = block.bind(&statement, &[]).await.unwrap();
    for expected in ["update", "delete", "insert", "delete"] {
        let rows = tokio::time::timeout(PATIENCE, block.query_portal(&portal, 1)).await.unwrap().unwrap();
        assert_eq!((rows.len(), rows[0].get::<_, &str>(0)), (1, expected));
    }
    block.rollback().await.unwrap();
    for (options, expected) in [("", "update\t"), (" (FORMAT csv, HEADER)", "tributary_op,"), (" (FORMAT binary)", "PGCOPY\n")] {
        let session = session(&room).await;
        let copied = session.copy_out(&format!("COPY ({sql}) TO STDOUT{options}")).await.unwrap();
        let text = tokio::time::timeout(PATIENCE, copied_until(Box::pin(copied), b"a|b")).await.unwrap();
        assert!(text.starts_with(expected.as_bytes()), "{options}: {text:?}");
    }
}

/// What comes as copy data up to some bytes.
async fn copied_until(mut stream: std::pin::Pin<Box<tokio_postgres::CopyOutStream>>, wanted: &[u8]) -> Vec<u8> {
    let mut found: Vec<u8> = Vec::new();
    while !found.windows(wanted.len()).any(|bytes| bytes == wanted) {
        let more: Bytes = stream.try_next().await.unwrap().unwrap();
        found.extend_from_slice(&more);
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_is_told_of_rows_that_come_into_it_and_leave_it() {
    let (room, mut native) = room::of_sqlite(ORDERS, OUTBOX, &["orders"]).await;
    native.run("INSERT INTO orders VALUES (2, 'x', 1)").await;
    until_told(room.session(), ("file", "op"), 1).await;
    let from = newest(&room, "file").await;
    native
        .run("UPDATE orders SET n = 100 WHERE id = 2; UPDATE orders SET n = 101 WHERE id = 2; UPDATE orders SET n = 2 WHERE id = 2")
        .await;
    native.run("UPDATE orders SET n = 60 WHERE id = 1; DELETE FROM orders WHERE id = 1").await;
    let session = session(&room).await;
    let sql = format!("SUBSCRIBE TO (SELECT id, n * 2 AS twice FROM file.orders WHERE n > 50) FROM '{from}'");
    let rows = Live::start(&session, &sql).await.next_of(5).await;
    let ops: Vec<String> = rows.iter().map(|row| short(row)).collect();
    assert_eq!(ops[..2], ["insert|{}|2|200", "update|{}|2|202"]);
    assert!(ops[2].starts_with("delete|") && ops[2].contains("|2|"), "{ops:?}");
    assert_eq!(ops[3], "insert|{}|1|120");
    assert!(ops[4].starts_with("delete|") && ops[4].contains("|1|"), "{ops:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expression_that_fails_is_told_behind_the_rows_before_it() {
    let (room, mut native) = room::of_sqlite(ORDERS, OUTBOX, &["orders"]).await;
    for (id, n) in [(2, 1), (3, 5), (4, 0)] {
        native.run(&format!("INSERT INTO orders VALUES ({id}, '', {n})")).await;
        // Each is a look of its own.
        until_told(room.session(), ("file", "op"), usize::try_from(id - 1).unwrap()).await;
    }
    let from = told(room.session(), "file", "position").await.remove(0);
    let client = session(&room).await;
    let mut live = Live::start(&client, &format!("SUBSCRIBE TO (SELECT id, 10 / n AS a FROM file.orders) FROM '{from}'")).await;
    let row = live.next().await.unwrap();
    assert!(short(&row).ends_with("|{}|3|2"), "{row}");
    assert_eq!(live.next().await.unwrap_err().code, "22012");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_told_is_refused() {
    let tables = format!("{ORDERS}; CREATE TABLE notes (id INTEGER PRIMARY KEY)");
    let lines = format!("{OUTBOX}changes.except = [\"notes\"]\n");
    let (room, mut native) = room::of_sqlite(&tables, &lines, &["orders"]).await;
    for (sql, code) in [
        ("SUBSCRIBE TO file.nothing", "42P01"),
        ("SUBSCRIBE TO file.notes", "55000"),
        ("SUBSCRIBE TO file.orders WITH SNAPSHOT FROM 'x'", "42601"),
        ("SUBSCRIBE TO file.orders FROM 'x'", "22P02"),
        ("SUBSCRIBE TO file.orders FROM '00000001-0000000000000001-00000000-00000000'", "55000"),
        ("SUBSCRIBE TO (SELECT count(*) FROM file.orders)", "0A000"),
        ("SUBSCRIBE TO (SELECT DISTINCT id FROM file.orders)", "0A000"),
        ("SUBSCRIBE TO (SELECT id FROM file.orders ORDER BY id)", "0A000"),
        ("SUBSCRIBE TO (SELECT id FROM file.orders LIMIT 1)", "0A000"),
        ("SUBSCRIBE TO (SELECT id, now() FROM file.orders)", "0A000"),
        ("SUBSCRIBE TO (SELECT id, random() FROM file.orders)", "0A000"),
        ("SUBSCRIBE TO (SELECT a.id FROM file.orders a JOIN file.orders b ON a.id = b.id)", "0A000"),
        ("SUBSCRIBE TO (SELECT id FROM file.orders WHERE id IN (SELECT 1))", "0A000"),
        ("SUBSCRIBE TO (SELECT id FROM file.orders FOR UPDATE)", "0A000"),
        ("SUBSCRIBE TO (SELECT 1)", "0A000"),
    ] {
        let failure = room.session().failure(sql).await;
        assert_eq!(failure.code, code, "{sql}: {failure:?}");
    }
    // A block that has written would be told of nothing before it ends.
    room.session().answer("BEGIN; UPDATE file.orders SET n = 1 WHERE id = 1").await;
    let failure = room.session().rows("SUBSCRIBE TO file.orders").await.unwrap_err();
    assert_eq!(failure.code, "25001", "{failure:?}");
    room.session().answer("ROLLBACK").await;
    let hint = room.session().failure("SUBSCRIBE TO file.orders FROM '00000001-0000000000000001-00000000-00000000'").await.hint;
    assert!(hint.contains("WITH SNAPSHOT"), "{hint}");
    // Nor is one of this log that no event has had, once nothing comes again that was told before: whoever waited for it would miss all
    // that come before it.
    native.run("INSERT INTO orders (id) VALUES (900)").await;
    until_told(room.session(), ("file", "op"), 1).await;
    let place = newest(&room, "file").await;
    let ahead = format!("{}-000000000000ffff-{}", &place[..8], &place[26..]);
    let failure = room.session().failure(&format!("SUBSCRIBE TO file.orders FROM '{ahead}'")).await;
    assert_eq!(failure.code, "55000", "{failure:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_ends_with_a_reason() {
    let (mut room, mut native) = room::of_sqlite(ORDERS, OUTBOX, &["orders"]).await;
    let started = async |room: &Room, native: &mut super::native::Native, id: i64| {
        native.run(&format!("INSERT INTO orders (id) VALUES ({id})")).await;
        let session = session(room).await;
        let mut live = Live::start(&session, "SUBSCRIBE TO file.orders WITH SNAPSHOT").await;
        while !live.next().await.unwrap().starts_with("snapshot_end|") {}
        (session, live)
    };
    let (client, mut live) = started(&room, &mut native, 10).await;
    client.cancel().await;
    assert_eq!(live.failure().await.code, "57014");
    assert_eq!(client.answer("SELECT 'usable'").await, "usable");
    client.answer("SET statement_timeout = '300ms'").await;
    assert_eq!(Live::start(&client, "SUBSCRIBE TO file.orders").await.failure().await.code, "57014");
    // Another shape is not told to who has asked for this one.
    let (_client, mut live) = started(&room, &mut native, 11).await;
    native.run("ALTER TABLE orders ADD COLUMN w INTEGER").await;
    for id in 100..110 {
        native.run(&format!("INSERT INTO orders (id) VALUES ({id})")).await;
    }
    let failure: Failure = live.failure().await;
    assert_eq!(failure.code, "55000", "{failure:?}");
    until_feed(room.session(), "file", "orders", "streaming").await;
    // A table that is not followed any more.
    let guest = proxy::open(&proxy::login(room.server().addresses()[0], GUEST)).await.unwrap();
    let mut of_guest = Live::start(&guest, "SUBSCRIBE TO file.orders WITH SNAPSHOT").await;
    while !of_guest.next().await.unwrap().starts_with("snapshot_end|") {}
    let main = std::fs::read_to_string(room.place.path().join("tributary.toml")).unwrap();
    room.place.write("tributary.toml", main.split(&format!("[roles.{GUEST}]")).next().unwrap());
    room.server().reload().await.unwrap();
    assert_eq!(of_guest.failure().await.code, "42501");
    let (_client, mut live) = started(&room, &mut native, 200).await;
    // It has no end that could be waited for.
    let begun = std::time::Instant::now();
    let told = async { (live.failure().await.code, begun.elapsed()) };
    let ((), (code, waited)) = tokio::join!(room.stop(), told);
    assert_eq!(code, "57P01");
    assert!(waited < std::time::Duration::from_secs(10), "it was ended after {waited:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_too_slow_is_told_to_start_over_and_one_too_many_is_refused() {
    let place = proxy::Place::new();
    place.configure("changes.memory = \"1MiB\"\nchanges.log_size = \"32MiB\"\nlimits.subscriptions = 1");
    place.sqlite_with("file", ORDERS, OUTBOX).await;
    let mut native = room::in_file(&place).await;
    let room = Room::open(place).await;
    super::follow::until_streaming(room.session(), "file", &["orders"]).await;
    let mut slow = session(&room).await;
    let block = slow.transaction().await.unwrap();
    let statement = block.prepare("SUBSCRIBE TO file.orders WITH SNAPSHOT").await.unwrap();
    let portal = block.bind(&statement, &[]).await.unwrap();
    // The snapshot and its end.
    assert_eq!(block.query_portal(&portal, 2).await.unwrap().len(), 2);
    let failure = room.session().failure("SUBSCRIBE TO file.orders").await;
    assert_eq!(failure.code, "53300", "{failure:?}");
    for id in 1_000..1_060 {
        native.run(&format!("INSERT INTO orders VALUES ({id}, hex(zeroblob(500000)), 0)")).await;
    }
    let is_gone = async || {
        // What is removed while it is read is an error.
        let ids = room.session().rows("SELECT key->>'id' FROM tributary.changes").await.ok()?;
        (ids.contains(&"1059".to_owned()) && !ids.contains(&"1000".to_owned())).then_some(())
    };
    eventually("the end of what was written first", is_gone).await;
    let error = loop {
        match tokio::time::timeout(PATIENCE, block.query_portal(&portal, 1)).await.unwrap() {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert_eq!(error.code().map(|code| code.code()), Some("55000"), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_postgres_values_that_were_not_sent_are_listed_and_conditions_over_them_are_refused() {
    let tables = "CREATE TABLE orders (id bigint PRIMARY KEY, n int NOT NULL, big text)";
    let (room, mut native) = room::of_postgres(tables, LOG, &["orders"]).await;
    native.run("INSERT INTO orders SELECT 1, 1, string_agg(md5(n::text), '') FROM generate_series(1, 2000) AS n").await;
    until_told(room.session(), ("pg", "op"), 1).await;
    let from = newest(&room, "pg").await;
    native.run("UPDATE orders SET n = 60; DELETE FROM orders; INSERT INTO orders VALUES (2, 1, ''); TRUNCATE orders").await;
    let client = session(&room).await;
    let rows = Live::start(&client, &format!("SUBSCRIBE TO pg.orders FROM '{from}'")).await.next_of(4).await;
    let rows: Vec<String> = rows.iter().map(|row| short(row)).collect();
    assert_eq!(rows[0], "update|{big}|1|60|~");
    assert!(rows[1].starts_with("delete|") && rows[1].contains("|1|~|~"), "{rows:?}");
    assert_eq!(rows[2], "insert|{}|2|1|");
    assert!(rows[3].starts_with("truncate|"), "{rows:?}");
    let failure = room.session().failure("SUBSCRIBE TO (SELECT id FROM pg.orders WHERE big <> '')").await;
    assert_eq!(failure.code, "0A000");
    assert!(failure.hint.contains("REPLICA IDENTITY FULL"), "{failure:?}");
    let statement = failure.hint.split_once("behind ").unwrap().1.split_once(", ").unwrap().0.to_owned();
    // What a row was before is not known here: what passes is put, what does not goes.
    let client = session(&room).await;
    let sql = format!("SUBSCRIBE TO (SELECT id, n FROM pg.orders WHERE n > 50) FROM '{from}'");
    let rows = Live::start(&client, &sql).await.next_of(2).await;
    assert!(rows[0].starts_with("upsert|") && rows[1].starts_with("delete|"), "{rows:?}");
    // The statement of the hint mends it, and no row is missing because of it.
    native.run(&format!("{statement}; INSERT INTO orders VALUES (3, 1, 'whole')")).await;
    let shown = "op, key->>'id'";
    eventually("the row behind it", async || {
        let told = told(room.session(), "pg", shown).await;
        told.last().is_some_and(|row| row == "insert|3").then_some(())
    })
    .await;
    let from = newest(&room, "pg").await;
    native.run("UPDATE orders SET n = 2 WHERE id = 3; DELETE FROM orders WHERE id = 3").await;
    let sql = format!("SUBSCRIBE TO (SELECT id, big FROM pg.orders WHERE big <> '') FROM '{from}'");
    let subscribed = async || {
        let client = session(&room).await;
        let mut live = Live::start(&client, &sql).await;
        let first = live.next().await.ok()?;
        Some([first, live.next().await.unwrap()])
    };
    let rows = eventually("a subscription with the condition", subscribed).await;
    assert!(rows[0].starts_with("update|") && rows[0].ends_with("|3|whole") && rows[1].starts_with("delete|"), "{rows:?}");
    assert!(barriers(room.session(), "pg").await.iter().all(|row| row.starts_with("truncate|")));
}
