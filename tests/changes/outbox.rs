//! Events of `tributary.emit` on their way: to who listens to their topic, in the order of their commits, out of their table once that is
//! durable, also when the server is killed between the two.

use super::eventually;
use super::follow::{Live, told, until_streaming};
use super::room::{self, LOG, OUTBOX, Room};
use crate::commit::stage::{FOLLOWED, Lines, Stage, variables};
use crate::support::listener::Listener;
use crate::support::proxy::{self, OWNER, Place};

const ORDERS: &str = "CREATE TABLE orders (id INTEGER PRIMARY KEY, v TEXT)";
const LEFT: &str = "SELECT count(*) FROM {store}.tributary_outbox";

/// Writes events beside rows, and listens; then nothing is left in the store.
async fn deliver(room: &Room, store: &str) {
    // Its table was made at the start, and is not known before it is looked for.
    room.session().answer(&format!("CALL tributary.refresh('{store}')")).await;
    until_streaming(room.session(), store, &["tributary_outbox"]).await;
    let mut listener = room.listener(&["topic:orders"]).await;
    let mut other = room.listener(&["topic:other"]).await;
    let client = proxy::connect(room.server(), OWNER).await;
    let mut live = Live::start(&client, &format!("SUBSCRIBE TO {store}.tributary_outbox WITH SNAPSHOT")).await;
    assert!(live.next().await.unwrap().starts_with("snapshot_end|"));
    let key = if store == "mongo" { "_id" } else { "id" };
    for number in 1..=5 {
        let emit = |topic: &str| format!("CALL tributary.emit('{topic}', 'k{}', '{{\"n\": {number}}}', '{store}')", number % 2);
        room.session().answer(&format!("BEGIN; INSERT INTO {store}.orders ({key}) VALUES ({number}); {}", emit("orders"))).await;
        room.session().answer("COMMIT").await;
        room.session().answer(&format!("BEGIN; {}", emit("orders"))).await;
        room.session().answer("ROLLBACK").await;
    }
    let notes = listener.next_of(5).await;
    for (note, number) in notes.iter().zip(1..) {
        assert_eq!((note.channel.as_str(), note.member("op").as_str()), ("topic:orders", "event"), "{note:?}");
        assert_eq!(note.member("topic"), "orders");
        assert_eq!(note.member("key"), format!("k{}", number % 2));
        assert_eq!(note.json()["payload"]["n"], number, "{note:?}");
        assert!(!note.member("id").is_empty() && !note.member("position").is_empty());
    }
    for (row, number) in live.next_of(5).await.iter().zip(1..) {
        // A file does not say whether a row was there before.
        assert!(row.starts_with("insert|") || row.starts_with("upsert|"), "{row}");
        assert!(row.contains(&format!("|orders|k{}|", number % 2)), "{row}");
    }
    other.quiet(std::time::Duration::from_millis(200)).await;
    let left = LEFT.replace("{store}", store);
    eventually("an empty outbox", async || (room.session().answer(&left).await == "0").then_some(())).await;
    // That they were taken out is nobody's event.
    listener.quiet(std::time::Duration::from_millis(200)).await;
    let ops = told(room.session(), store, "table_name, op").await;
    assert!(!ops.iter().any(|row| row.ends_with("|delete")), "{ops:?}");
    // A payload that is too long is left out, and the event can be asked for.
    let long = "x".repeat(9_000);
    room.session().answer(&format!("CALL tributary.emit('orders', NULL, '\"{long}\"', '{store}')")).await;
    let note = listener.next().await;
    assert_eq!(
        (note.member("cut"), note.json().get("payload").is_some_and(|payload| !payload.is_null())),
        ("true".to_owned(), false)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_a_file_are_told_and_taken_out() {
    let (room, _native) = room::of_sqlite(ORDERS, &format!("outbox = true\n{OUTBOX}"), &["orders"]).await;
    Box::pin(deliver(&room, "file")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_postgres_are_told_and_taken_out() {
    let (room, _native) = room::of_postgres(ORDERS, &format!("outbox = true\n{LOG}"), &["orders"]).await;
    Box::pin(deliver(&room, "pg")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_mariadb_are_told_and_taken_out() {
    let tables = "CREATE TABLE orders (id bigint PRIMARY KEY, v text)";
    let (room, _native) = room::of_mariadb(tables, &format!("outbox = true\n{LOG}"), &["orders"]).await;
    Box::pin(deliver(&room, "maria")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_mongodb_are_told_and_taken_out() {
    let columns = "sample = 0\n[collections.orders.columns]\n_id = \"bigint\"\n";
    let lines = format!("outbox = true\n{LOG}{columns}");
    let (room, _database) = room::of_mongodb(&[("orders", Vec::new())], &lines).await;
    Box::pin(deliver(&room, "mongo")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_a_store_that_comes_later_are_told_to_who_listens_already() {
    let lines = format!("outbox = true\n{OUTBOX}");
    let (room, _native) = room::of_sqlite(ORDERS, &lines, &["orders"]).await;
    let mut listener = room.listener(&["topic:orders"]).await;
    room.place.sqlite_with("later", ORDERS, &lines).await;
    room.server().reload().await.unwrap();
    until_streaming(room.session(), "later", &["orders"]).await;
    // Its log may be there only behind the version of the catalog that it came with.
    tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
    room.session().answer("CALL tributary.emit('orders', 'k', '{\"n\": 7}', 'later')").await;
    // That the outbox is another table than the one before it may be told first.
    let event = async {
        loop {
            let note = listener.next().await;
            if note.member("op") != "reset" {
                return note;
            }
        }
    };
    let note = event.await;
    assert_eq!(note.json()["payload"]["n"], 7, "{note:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_were_there_before_the_feed_are_told_and_without_a_durable_log_none_is_taken_out() {
    let place = Place::new();
    place.sqlite_with("file", ORDERS, "outbox = true\n").await;
    let mut room = Room::open(place).await;
    room.session().answer("CALL tributary.emit('orders', 'k', '{\"n\": 1}', 'file')").await;
    room.stop().await;
    room.place.configure("changes.log = \"volatile\"");
    room.place.write("stores/file.toml", &format!("kind = \"sqlite\"\npath = \"file.db\"\noutbox = true\n{OUTBOX}"));
    room.start().await;
    until_streaming(room.session(), "file", &["orders"]).await;
    let mut listener = room.listener(&["topic:orders"]).await;
    room.session().answer("CALL tributary.emit('orders', 'k', '{\"n\": 2}', 'file')").await;
    assert_eq!(listener.next().await.json()["payload"]["n"], 2);
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    let left = LEFT.replace("{store}", "file");
    room.session().answer("CALL tributary.refresh('file')").await;
    assert_eq!(room.session().answer(&left).await, "2");
    // With one, all of them are.
    room.stop().await;
    room.place.configure("");
    room.start().await;
    eventually("an empty outbox", async || (room.session().answer(&left).await == "0").then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_event_is_left_when_the_server_is_killed_between_its_log_and_its_table() {
    let lines = format!("outbox = true\n{FOLLOWED}");
    let mut stage = Stage::start_with(&["east"], Lines { store: &lines, ..Lines::default() }, "").await;
    let session = stage.session().await;
    session.answer("CALL tributary.refresh('east')").await;
    until_streaming(&session, "east", &["accounts"]).await;
    let left = LEFT.replace("{store}", "east");
    for (number, point) in (1..).zip(["changes_append", "changes_publish", "changes_sync", "changes_acknowledge"]) {
        // It may come there before anybody can log in.
        if stage.proxy.again(&variables(&format!("{point}=kill@2"))).await.is_ok() {
            let emit = format!("CALL tributary.emit('t', 'k', '{number}', 'east')");
            let emitted = async || {
                if let Ok(session) = proxy::open(&proxy::login(stage.address(), OWNER)).await {
                    // Whether this is answered depends on who is faster.
                    super::ask(&session, &emit).await.ok();
                }
                stage.proxy.has_ended().then_some(())
            };
            eventually(point, emitted).await;
        }
        stage.proxy.again(&variables("")).await.unwrap();
        let session = stage.session().await;
        eventually("an empty outbox", async || (super::ask(&session, &left).await == Ok(vec!["0".to_owned()])).then_some(())).await;
        // And what comes next is told as ever.
        let mut listener = Listener::to(&proxy::login(stage.address(), OWNER), &["topic:t"]).await;
        session.answer(&format!("CALL tributary.emit('t', 'k', '{}', 'east')", number + 100)).await;
        assert_eq!(listener.next().await.json()["payload"], number + 100, "{point}");
    }
}
