//! LISTEN and NOTIFY: what a session is told by itself, and when.

use std::process::Stdio;
use std::time::Duration;

use mongodb::bson::{Document, doc};
use tokio::process::Command;

use super::eventually;
use super::follow::told;
use super::room::{self, LOG, OUTBOX};
use crate::support::proxy::{self, DATABASE, GUEST, OWNER, PASSWORD};

const ORDERS: &str =
    "CREATE TABLE orders (id INTEGER PRIMARY KEY, v TEXT, n INTEGER); CREATE TABLE notes (id INTEGER PRIMARY KEY, v TEXT)";
const BOTH: [&str; 2] = ["orders", "notes"];
/// Long enough for what is there to be told.
const WHILE: Duration = Duration::from_millis(300);

#[tokio::test(flavor = "multi_thread")]
async fn a_write_behind_the_proxy_is_told_with_what_it_changed() {
    let (room, mut native) = room::of_sqlite(ORDERS, OUTBOX, &BOTH).await;
    let mut listener = room.listener(&["file.orders"]).await;
    native.run("INSERT INTO notes VALUES (1, 'not listened to'); INSERT INTO orders VALUES (1, 'it''s \"a\"', NULL)").await;
    native.run("UPDATE orders SET id = 2, n = 5; DELETE FROM orders").await;
    let notes = listener.next_of(3).await;
    for note in &notes {
        assert_eq!((note.channel.as_str(), note.process_id), ("file.orders", 0), "{note:?}");
        assert_eq!(note.member("table"), "file.orders");
        // A file does not say when it was written to.
        assert_eq!(note.member("at"), "null");
    }
    let [first, second, third] = &notes[..] else { panic!("{notes:?}") };
    assert_eq!(
        (first.member("key"), first.member("row")),
        (r#"{"id":1}"#.to_owned(), r#"{"id":1,"v":"it's \"a\"","n":null}"#.to_owned())
    );
    assert_eq!(
        (second.member("op"), second.member("key"), second.member("old_key")),
        ("update".into(), r#"{"id":2}"#.into(), r#"{"id":1}"#.into())
    );
    assert_eq!((third.member("op"), third.member("key")), ("delete".to_owned(), r#"{"id":2}"#.to_owned()));
    assert!(first.member("position") < second.member("position") && second.member("position") < third.member("position"));
    // The log tells the same places.
    let places = told(room.session(), "file", "position").await;
    assert_eq!(places[1..], [first.member("position"), second.member("position"), third.member("position")]);
    // A write through the proxy is one as any other, also to whoever makes it.
    listener.answer("INSERT INTO file.orders VALUES (7, 'through', 1)").await;
    assert_eq!(listener.next().await.member("key"), r#"{"id":7}"#);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_told_inside_a_block_and_listening_begins_with_its_commit() {
    let (room, mut native) = room::of_sqlite(ORDERS, OUTBOX, &BOTH).await;
    let mut listener = room.listener(&[]).await;
    listener.answer("BEGIN; LISTEN \"file.orders\"; ROLLBACK").await;
    native.run("INSERT INTO orders (id) VALUES (1)").await;
    listener.quiet(WHILE).await;
    listener.answer("BEGIN; SAVEPOINT s; LISTEN \"file.orders\"; ROLLBACK TO s; COMMIT").await;
    native.run("INSERT INTO orders (id) VALUES (2)").await;
    listener.quiet(WHILE).await;
    listener.answer("BEGIN; LISTEN \"file.orders\"; SAVEPOINT s; UNLISTEN *; ROLLBACK TO s; COMMIT").await;
    assert_eq!(listener.answer("SELECT * FROM pg_listening_channels()").await, "file.orders");
    listener.answer("BEGIN").await;
    native.run("INSERT INTO orders (id) VALUES (3)").await;
    listener.quiet(WHILE).await;
    assert_eq!(listener.answer("SELECT 1").await, "1");
    listener.quiet(WHILE).await;
    listener.answer("COMMIT").await;
    assert_eq!(listener.next().await.member("key"), r#"{"id":3}"#);
    // Nor inside of a series of messages.
    let statement = listener.prepare("SELECT $1::int").await.unwrap();
    for id in 4..24 {
        native.run(&format!("INSERT INTO orders (id) VALUES ({id})")).await;
        assert_eq!(listener.query_one(&statement, &[&id]).await.unwrap().get::<_, i32>(0), id);
    }
    assert_eq!(listener.next_of(20).await.len(), 20);
    for gone in ["UNLISTEN \"file.orders\"", "LISTEN \"file.orders\"; UNLISTEN *", "LISTEN \"file.orders\"; SELECT 1; DISCARD ALL"]
    {
        for statement in gone.split("; ") {
            listener.answer(statement).await;
        }
        assert_eq!(listener.answer("SELECT * FROM pg_listening_channels()").await, "", "{gone}");
    }
    native.run("INSERT INTO orders (id) VALUES (99)").await;
    listener.quiet(WHILE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_names_are_for_sessions_among_themselves() {
    let (room, _native) = room::of_sqlite(ORDERS, OUTBOX, &BOTH).await;
    let (mut one, mut other) = (room.listener(&["news"]).await, room.listener(&["News"]).await);
    one.answer("NOTIFY news, 'a'; NOTIFY news, 'b'; NOTIFY news, 'a'").await;
    let told = one.next_of(2).await;
    assert_eq!((told[0].payload.as_str(), told[1].payload.as_str()), ("a", "b"));
    let process: i32 = one.answer("SELECT pg_backend_pid()").await.parse().unwrap();
    assert_eq!(told[0].process_id, process);
    other.answer("BEGIN; NOTIFY news, 'undone'; ROLLBACK").await;
    other.answer("BEGIN; NOTIFY news, 'kept'; SAVEPOINT s; NOTIFY news, 'undone'; ROLLBACK TO s").await;
    one.quiet(WHILE).await;
    other.answer("COMMIT").await;
    assert_eq!(one.next().await.payload, "kept");
    other.answer("SELECT pg_notify('news', 'by a function')").await;
    assert_eq!(one.next().await.payload, "by a function");
    one.answer("NOTIFY \"News\"").await;
    let told = other.next().await;
    assert_eq!((told.channel.as_str(), told.payload.as_str()), ("News", ""));
    one.quiet(WHILE).await;
    let long = "x".repeat(8_000);
    for (sql, code) in [
        ("NOTIFY \"file.orders\", 'x'", "42501"),
        ("SELECT pg_notify('file.orders', 'x')", "42501"),
        ("NOTIFY \"topic:a\"", "42501"),
        ("NOTIFY \"view:a\"", "42501"),
        ("SELECT pg_notify('a', 'b') FROM file.orders", "0A000"),
        (format!("NOTIFY news, '{long}'").as_str(), "22023"),
    ] {
        assert_eq!(one.failure(sql).await.code, code, "{}", sql.get(..60).unwrap_or(sql));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_listened_to_is_an_error_that_says_why() {
    let lines = format!("{OUTBOX}changes.except = [\"notes\"]\n");
    let (room, _native) = room::of_sqlite(ORDERS, &lines, &["orders"]).await;
    room.place.write("views/shown.sql", "SELECT id FROM file.orders");
    room.server().reload().await.unwrap();
    for (channel, code) in [
        ("file.nothing", "42P01"),
        ("nowhere.orders", "42P01"),
        ("public.shown", "42809"),
        ("pg_catalog.pg_class", "42809"),
        ("file.notes", "55000"),
        ("view:public.shown", "42809"),
    ] {
        let failure = room.session().failure(&format!("LISTEN \"{channel}\"")).await;
        assert_eq!(failure.code, code, "{channel}: {failure:?}");
    }
    let failure = room.session().failure("LISTEN \"file.notes\"").await;
    assert!(failure.hint.contains("changes."), "{failure:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn long_names_have_an_alias_and_long_rows_are_left_out() {
    let long = format!("t{}", "é".repeat(40));
    let tables =
        format!("CREATE TABLE {long} (id INTEGER PRIMARY KEY, v TEXT); CREATE TABLE texts (id TEXT PRIMARY KEY NOT NULL, v TEXT)");
    let (room, mut native) = room::of_sqlite(&tables, OUTBOX, &[&long, "texts"]).await;
    let channel = format!("file.{long}");
    let mut listener = room.listener(&[&channel, "file.texts"]).await;
    native.run(&format!("INSERT INTO {long} VALUES (1, 'a')")).await;
    let alias = listener.next().await.channel;
    assert!(alias.len() <= 63 && channel.starts_with(alias.split('~').next().unwrap()), "{alias}");
    assert_eq!(alias.split('~').nth(1).map(str::len), Some(16), "{alias}");
    let mut second = room.listener(&[&alias]).await;
    native.run(&format!("INSERT INTO {long} VALUES (2, 'b')")).await;
    assert_eq!((listener.next().await.channel, second.next().await.channel), (alias.clone(), alias));
    // A row that is too long is left out, and so is a key.
    native.run("INSERT INTO texts VALUES ('k', hex(zeroblob(4000))); INSERT INTO texts VALUES (hex(zeroblob(4000)), 'v')").await;
    let notes = listener.next_of(2).await;
    assert_eq!((notes[0].member("key"), notes[0].json().get("row")), (r#"{"id":"k"}"#.to_owned(), None));
    assert_eq!((notes[1].member("key"), notes[1].member("cut")), ("null".to_owned(), "true".to_owned()));
    assert!(notes.iter().all(|note| note.payload.len() < 8_000));
    // Text that JSON has to write otherwise.
    native.run("INSERT INTO texts VALUES ('z', 'a' || char(1) || char(10) || '\"\\b')").await;
    let note = listener.next().await;
    assert_eq!((note.member("key"), note.json()["row"]["v"].as_str()), (r#"{"id":"z"}"#.to_owned(), Some("a\u{1}\n\"\\b")));
    // A NUL is in no text of PostgreSQL: the table stops, as a scan of it fails, and that is told.
    native.run("INSERT INTO texts VALUES ('zero', 'a' || char(0) || 'b')").await;
    assert_eq!(listener.next().await.member("op"), "reset");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_listens_too_slowly_is_told_to_look_again() {
    let place = proxy::Place::new();
    place.configure("changes.memory = \"1MiB\"\nchanges.log_size = \"32MiB\"");
    place.sqlite_with("file", ORDERS, OUTBOX).await;
    let mut native = room::in_file(&place).await;
    let room = room::Room::open(place).await;
    super::follow::until_streaming(room.session(), "file", &BOTH).await;
    let mut listener = room.listener(&["file.orders"]).await;
    listener.answer("BEGIN").await;
    for id in 1..=100 {
        native.run(&format!("INSERT INTO orders VALUES ({id}, hex(zeroblob(500000)), 0)")).await;
    }
    let is_gone = async || {
        let ids = room.session().rows("SELECT key->>'id' FROM tributary.changes WHERE table_name = 'orders'").await.unwrap();
        (ids.contains(&"100".to_owned()) && !ids.contains(&"1".to_owned())).then_some(())
    };
    eventually("the end of what was written first", is_gone).await;
    listener.answer("COMMIT").await;
    let told = listener.next().await;
    assert_eq!((told.channel.as_str(), told.member("op")), ("file.orders", "reset".to_owned()), "{}", told.payload);
    native.run("INSERT INTO orders VALUES (1000, 'small', 0)").await;
    loop {
        // From the end on, wherever that was when it was told.
        let told = listener.next().await;
        if told.member("key") == r#"{"id":1000}"# {
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_goes_is_told_nothing_more() {
    let (room, mut native) = room::of_sqlite(ORDERS, OUTBOX, &BOTH).await;
    let address = room.server().addresses()[0];
    let mut guest = crate::support::listener::Listener::to(&proxy::login(address, GUEST), &["file.orders"]).await;
    native.run("INSERT INTO orders (id) VALUES (1)").await;
    assert_eq!(guest.next().await.member("key"), r#"{"id":1}"#);
    let main = std::fs::read_to_string(room.place.path().join("tributary.toml")).unwrap();
    room.place.write("tributary.toml", main.split(&format!("[roles.{GUEST}]")).next().unwrap());
    room.server().reload().await.unwrap();
    native.run("INSERT INTO orders (id) VALUES (2)").await;
    let told = guest.next().await;
    assert_eq!(told.member("op"), "revoked", "{}", told.payload);
    guest.quiet(WHILE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_loses_nothing_and_tells_of_no_gap() {
    let (room, mut native) = room::of_sqlite(ORDERS, OUTBOX, &BOTH).await;
    let mut listener = room.listener(&["file.orders"]).await;
    for id in 1..=30 {
        native.run(&format!("INSERT INTO orders (id) VALUES ({id})")).await;
        if id % 10 == 0 {
            room.server().reload().await.unwrap();
        }
    }
    let keys: Vec<String> = listener.next_of(30).await.iter().map(|note| note.member("key")).collect();
    assert_eq!(keys, (1..=30).map(|id| format!("{{\"id\":{id}}}")).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn psql_shows_a_write_behind_the_proxy() {
    let (room, mut native) = room::of_sqlite(ORDERS, OUTBOX, &BOTH).await;
    let (ready, go) = (room.place.path().join("ready"), room.place.path().join("go"));
    let wait = format!("\\! touch {}; while [ ! -e {} ]; do sleep 0.02; done", ready.display(), go.display());
    room.place.write("script.sql", &format!("LISTEN \"file.orders\";\n{wait}\nSELECT 1;\n"));
    let port = room.server().addresses()[0].port();
    let mut psql = Command::new("psql");
    psql.arg("-X").arg("-f").arg(room.place.path().join("script.sql"));
    psql.arg(format!("host=127.0.0.1 port={port} user={OWNER} dbname={DATABASE} sslmode=disable")).env("PGPASSWORD", PASSWORD);
    let psql = psql.env("LC_ALL", "C").stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true).spawn();
    let psql = psql.unwrap_or_else(|error| panic!("psql: {error}; install the Debian package postgresql-client"));
    eventually("psql that listens", async || ready.exists().then_some(())).await;
    native.run("INSERT INTO orders VALUES (5, 'behind', 1)").await;
    eventually("the event", async || (told(room.session(), "file", "op").await.len() == 1).then_some(())).await;
    tokio::time::sleep(WHILE).await;
    std::fs::write(&go, "").unwrap();
    let output = tokio::time::timeout(proxy::PATIENCE, psql.wait_with_output()).await.unwrap().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("Asynchronous notification \"file.orders\" with payload \"{"), "{said}{:?}", output.stderr);
    assert!(said.contains("\"key\":{\"id\":5}"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_behind_the_proxy_to_postgres_are_told() {
    let (room, mut native) = room::of_postgres("CREATE TABLE orders (id bigint PRIMARY KEY, v text)", LOG, &["orders"]).await;
    let mut listener = room.listener(&["pg.orders"]).await;
    native.run("BEGIN; INSERT INTO orders VALUES (1, 'a'); UPDATE orders SET v = 'b'; COMMIT").await;
    let notes = listener.next_of(2).await;
    assert_eq!((notes[0].member("row"), notes[1].member("row")), (r#"{"id":1,"v":"a"}"#.into(), r#"{"id":1,"v":"b"}"#.into()));
    assert_eq!(notes[0].member("transaction"), notes[1].member("transaction"));
    assert!(notes[0].member("at").ends_with('Z'), "{notes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_behind_the_proxy_to_mariadb_are_told() {
    let (room, mut native) = room::of_mariadb("CREATE TABLE orders (id bigint PRIMARY KEY, v text)", LOG, &["orders"]).await;
    let mut listener = room.listener(&["maria.orders"]).await;
    native.run("INSERT INTO orders VALUES (1, 'a'), (2, 'b')").await;
    let notes = listener.next_of(2).await;
    assert_eq!(notes[1].member("row"), r#"{"id":2,"v":"b"}"#);
    assert_eq!(notes[0].member("transaction"), notes[1].member("transaction"));
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_behind_the_proxy_to_mongodb_are_told() {
    let orders: Vec<Document> = vec![doc! { "_id": 1_i64, "v": "a" }];
    let (room, database) = room::of_mongodb(&[("orders", orders)], LOG).await;
    let mut listener = room.listener(&["mongo.orders"]).await;
    database.collection::<Document>("orders").insert_one(doc! { "_id": 2_i64, "v": "b" }).await.unwrap();
    let note = listener.next().await;
    assert_eq!(
        (note.member("op"), note.member("key"), note.member("row")),
        ("insert".into(), r#"{"_id":2}"#.into(), r#"{"_id":2,"v":"b"}"#.into())
    );
}
