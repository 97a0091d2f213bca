//! `tributary.changes`: the retained log as a relation, and what stands beside it in views and numbers.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::eventually;
use super::follow::{told, until_barrier, until_feed, until_streaming, until_told};
use super::room::{self, OUTBOX, Room};
use crate::support::proxy::{self, GUEST, Place};

const ORDERS: &str =
    "CREATE TABLE orders (id INTEGER PRIMARY KEY, v TEXT, body JSON); CREATE TABLE notes (id INTEGER PRIMARY KEY, v TEXT)";
const BOTH: [&str; 2] = ["orders", "notes"];

#[tokio::test(flavor = "multi_thread")]
async fn events_are_rows_that_queries_work_with() {
    let (room, mut native) = room::of_sqlite(ORDERS, OUTBOX, &BOTH).await;
    native
        .run("INSERT INTO orders VALUES (1, 'a', '{\"x\": [1, 2]}'); UPDATE orders SET v = 'b'; INSERT INTO notes VALUES (1, 'n')")
        .await;
    until_told(room.session(), ("file", "op"), 3).await;
    let session = room.session();
    let shown = "SELECT store, table_schema, table_name, key->>'id', new->'body'->'x'->>1, old->>'v', committed IS NULL, received <= now() \
        FROM tributary.changes WHERE table_name = 'orders' ORDER BY position";
    assert_eq!(session.answer(shown).await, "file|file|orders|1|2|~|t|t\nfile|file|orders|1|2|a|t|t");
    assert_eq!(
        session.answer("SELECT table_name, count(*) FROM tributary.changes GROUP BY 1 ORDER BY 1").await,
        "notes|1\norders|2"
    );
    let joined = "SELECT o.v, c.op FROM tributary.changes c JOIN file.orders o ON o.id = (c.key->>'id')::bigint \
        WHERE c.table_name = 'orders' AND c.new->>'v' = o.v";
    assert_eq!(session.answer(joined).await, "b|update");
    // Bounds of places, as texts.
    let places = told(session, "file", "position").await;
    for (condition, expected) in [
        (format!("position > '{}'", places[0]), 2),
        (format!("position >= '{}'", places[0]), 3),
        (format!("position BETWEEN '{}' AND '{}'", places[0], places[1]), 2),
        (format!("position > '{}' AND table_name = 'notes'", places[2]), 0),
        // Before all places, or compared as any other text.
        ("position > ''".to_owned(), 3),
        ("position >= '0'".to_owned(), 3),
        ("position <= 'x'".to_owned(), 3),
        ("position = 'x'".to_owned(), 0),
    ] {
        let counted = format!("SELECT count(*) FROM tributary.changes WHERE store = 'file' AND {condition}");
        assert_eq!(session.answer(&counted).await, expected.to_string(), "{condition}");
    }
    // One that is no place would give nothing for ever.
    for condition in ["position > 'x'", "position >= 'x' AND store = 'file'", "position BETWEEN 'x' AND 'y'"] {
        let failure = session.failure(&format!("SELECT op FROM tributary.changes WHERE {condition}")).await;
        assert_eq!(failure.code, "22P02", "{condition}: {failure:?}");
    }
    for sql in ["INSERT INTO tributary.changes (store) VALUES ('x')", "DELETE FROM tributary.changes", "TRUNCATE tributary.changes"]
    {
        let code = session.failure(sql).await.code;
        assert!(["42501", "42809", "0A000", "55000"].contains(&code.as_str()), "{sql}: {code}");
    }
    assert_eq!(session.answer("SELECT count(*) FROM tributary.changes WHERE store = 'elsewhere'").await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_a_table_that_is_gone_stay_for_superusers_and_its_end_is_told_to_all() {
    let (room, mut native) = room::of_sqlite(ORDERS, OUTBOX, &BOTH).await;
    native.run("INSERT INTO notes VALUES (1, 'n'); INSERT INTO orders (id) VALUES (1)").await;
    let places = until_told(room.session(), ("file", "position"), 2).await;
    let guest = proxy::connect(room.server(), GUEST).await;
    let rows = "SELECT table_name, key->>'id' FROM tributary.changes WHERE table_schema = 'file' AND op = 'upsert' ORDER BY 1";
    assert_eq!(guest.answer(rows).await, "notes|1\norders|1");
    native.run("DROP TABLE notes").await;
    room.session().answer("CALL tributary.refresh('file')").await;
    until_barrier(room.session(), "file", &["stopped|notes|"]).await;
    let hides = async || (guest.answer(rows).await == "orders|1").then_some(());
    eventually("the rows are not shown any more", hides).await;
    assert_eq!(room.session().answer(rows).await, "notes|1\norders|1");
    let ended = "SELECT DISTINCT op FROM tributary.changes WHERE table_schema = 'file' AND table_name = 'notes' AND op = 'stopped'";
    assert_eq!(guest.answer(ended).await, "stopped");
    // There are no columns to subscribe to.
    let failure = room.session().failure(&format!("SUBSCRIBE TO file.notes FROM '{}'", places[0])).await;
    assert_eq!(failure.code, "42P01", "{failure:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_that_is_not_retained_is_an_error_that_says_how_to_start_over() {
    let (mut room, mut native) = room::of_sqlite(ORDERS, OUTBOX, &BOTH).await;
    native.run("INSERT INTO notes VALUES (1, 'n')").await;
    until_told(room.session(), ("file", "op"), 1).await;
    let place = told(room.session(), "file", "position").await.remove(0);
    let other = format!("{:08x}{}", u32::from_str_radix(&place[..8], 16).unwrap() ^ 1, &place[8..]);
    let asked = |place: &str| format!("SELECT op FROM tributary.changes WHERE store = 'file' AND position > '{place}'");
    let failure = room.session().failure(&asked(&other)).await;
    assert_eq!(failure.code, "55000", "{failure:?}");
    assert!(failure.hint.contains("WITH SNAPSHOT"), "{failure:?}");
    // Also where no store is named: there is no log that the place could be of, or it is older than what its log has.
    let older = format!("{}-0000000000000000-00000000-00000000", &place[..8]);
    for place in [&other, &older] {
        let failure = room.session().failure(&format!("SELECT op FROM tributary.changes WHERE position >= '{place}'")).await;
        assert_eq!(failure.code, "55000", "{place}: {failure:?}");
    }
    // A log that does not survive is another one after a restart, and says so.
    room.stop().await;
    room.place.configure("changes.log = \"volatile\"");
    room.start().await;
    until_streaming(room.session(), "file", &BOTH).await;
    assert_eq!(room.session().failure(&asked(&place)).await.code, "55000");
    native.run("INSERT INTO notes VALUES (2, 'n')").await;
    let rows = async || told(room.session(), "file", "key->>'id'").await.contains(&"2".to_owned()).then_some(());
    eventually("the event in the new log", rows).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn feeds_are_told_in_views_and_numbers_and_to_those_who_may_see_them() {
    let place = Place::new();
    place.sqlite_with("file", ORDERS, &format!("{OUTBOX}changes.except = [\"notes\"]\n")).await;
    place.sqlite("quiet", ORDERS).await;
    let mut native = room::in_file(&place).await;
    place.configure("");
    let main = std::fs::read_to_string(place.path().join("tributary.toml")).unwrap();
    place.write("tributary.toml", &plain(&main).replace("http.listen = \"off\"", "http.listen = \"127.0.0.1:0\""));
    let room = Room::open(place).await;
    until_streaming(room.session(), "file", &["orders"]).await;
    until_feed(room.session(), "quiet", "", "off").await;
    native.run("INSERT INTO orders (id) VALUES (1), (2)").await;
    until_told(room.session(), ("file", "op"), 2).await;
    let feed = "SELECT state, events, position IS NOT NULL, lag < interval '1 minute', since <= now() FROM tributary.feeds \
        WHERE store = 'file' AND table_name IS NULL";
    let is_there = async || (room.session().answer(feed).await == "streaming|2|t|t|t").then_some(());
    eventually("the numbers of the feed", is_there).await;
    let objects = room.session().answer("SELECT DISTINCT store, what, ours FROM tributary.feed_objects ORDER BY 2").await;
    assert!(objects.contains("file|trigger|t"), "{objects}");
    let guest = proxy::connect(room.server(), GUEST).await;
    assert_eq!(guest.answer("SELECT count(*) FROM tributary.feed_objects").await, "0");
    assert_eq!(guest.answer("SELECT DISTINCT table_name FROM tributary.changes").await, "orders");
    assert_eq!(guest.failure("CALL tributary.restart_feed('file')").await.code, "42501");
    room.session().answer("CALL tributary.restart_feed('file')").await;
    until_streaming(room.session(), "file", &["orders"]).await;
    assert_eq!(told(room.session(), "file", "op").await.len(), 2, "a feed that is begun again tells nothing twice");
    let text = metrics(&room.server().http_address().unwrap().to_string()).await;
    for line in [
        "tributary_feed_state{store=\"file\",state=\"streaming\"} 1",
        "tributary_feed_state{store=\"file\",state=\"lost\"} 0",
        "tributary_feed_table_state{store=\"file\",table=\"file.orders\",state=\"streaming\"} 1",
        "tributary_feed_lag_milliseconds{store=\"file\"} ",
        "tributary_feed_losses_total{store=\"file\"} 0",
        "tributary_changes_log_bytes{store=\"file\"} ",
        "tributary_feed_transactions_total{store=\"file\"} ",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    assert!(!text.contains("INSERT"), "{text}");
}

/// Settings without TLS.
fn plain(main: &str) -> String {
    let (before, rest) = main.split_once("[tls]").unwrap();
    format!("{before}{}", &rest[rest.find("[roles").unwrap()..])
}

/// What `/metrics` says.
pub async fn metrics(address: &str) -> String {
    let mut connection = tokio::net::TcpStream::connect(address).await.unwrap();
    connection.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut text = String::new();
    connection.read_to_string(&mut text).await.unwrap();
    text
}
