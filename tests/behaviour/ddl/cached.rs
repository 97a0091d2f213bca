//! Which tables are cached: asked for by files and by ALTER TABLE, which is kept, and loaded again by a call. What reads of copies promise is
//! elsewhere.

use std::path::Path;

use serde_json::Value;

use super::super::eventually;
use crate::changes::follow::{until_feed, until_streaming};
use crate::changes::room::{self, OUTBOX, Room};
use crate::support::proxy::{self, GUEST, OWNER, Place, Session};

const TABLES: &str = "CREATE TABLE orders (id INTEGER PRIMARY KEY, v TEXT); CREATE TABLE notes (id INTEGER PRIMARY KEY, v TEXT);
    CREATE TABLE keyless (v TEXT); CREATE VIEW late AS SELECT id FROM orders WHERE id > 7; INSERT INTO orders VALUES (1, 'one');";

/// A file whose tables are followed, with further lines in its store's file.
async fn place(lines: &str) -> Room {
    room::of_sqlite(TABLES, &format!("{OUTBOX}{lines}"), &["orders", "notes"]).await.0
}

async fn codes(session: &Session, rows: &[(&str, &str)]) {
    for (sql, expected) in rows {
        assert_eq!(session.failure(sql).await.code, *expected, "{sql}");
    }
}

/// How the copy of a table stands, and since when; nothing where it is not asked for.
async fn copy(session: &Session, table: &str) -> Option<(String, String)> {
    let sql = format!("SELECT state, since FROM tributary.freshness WHERE store = 'file' AND table_name = '{table}'");
    let row = session.answer(&sql).await;
    row.split_once('|').map(|(state, since)| (state.to_owned(), since.to_owned()))
}

async fn until_cached(session: &Session, table: &str) -> String {
    let cached = async || copy(session, table).await.filter(|(state, _)| state == "cached").map(|(_, since)| since);
    eventually(&format!("a copy of {table}"), cached).await
}

async fn until_gone(session: &Session, table: &str) {
    let is_gone = async || copy(session, table).await.is_none().then_some(());
    eventually(&format!("no copy of {table}"), is_gone).await;
}

/// What is kept of tables: their names, and whether they are cached.
fn kept(directory: &Path) -> Vec<(String, bool)> {
    let text = std::fs::read_to_string(directory.join(".state/cached.json")).unwrap_or_default();
    let kept: Value = serde_json::from_str(&text).unwrap_or_default();
    let of_table = |kept: &Value| (kept["table"]["name"].as_str().unwrap().to_owned(), kept["cached"].as_bool().unwrap());
    kept["content"].as_array().map(|tables| tables.iter().map(of_table).collect()).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_asks_of_a_table_outlives_the_server() {
    let mut room = place("").await;
    assert_eq!(copy(room.session(), "orders").await, None);
    room.session().answer("ALTER TABLE file.orders SET (tributary.cached = true)").await;
    assert_eq!(kept(room.place.path()), [("orders".to_owned(), true)]);
    until_cached(room.session(), "orders").await;
    assert_eq!(copy(room.session(), "notes").await, None);
    room.stop().await;
    room.start().await;
    until_cached(room.session(), "orders").await;
    let session = room.session();
    // Where it was asked for by a name without a schema, and twice.
    session.answer("SET search_path = file").await;
    session.answer("ALTER TABLE ONLY orders RESET (tributary.cached)").await;
    session.answer("ALTER TABLE IF EXISTS orders RESET (tributary.cached)").await;
    until_gone(session, "orders").await;
    assert!(kept(room.place.path()).is_empty(), "{:?}", kept(room.place.path()));
    assert_eq!(session.answer("SELECT v FROM orders").await, "one");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_ask_for_tables_and_clients_say_otherwise_of_single_ones() {
    let room = place("changes.cached = [\"orders\", \"main.n*\"]\n").await;
    let session = room.session();
    until_cached(session, "orders").await;
    until_cached(session, "notes").await;
    session.answer("ALTER TABLE file.notes SET (tributary.cached = off)").await;
    until_gone(session, "notes").await;
    assert_eq!(kept(room.place.path()), [("notes".to_owned(), false)]);
    session.answer("ALTER TABLE file.notes RESET (tributary.cached)").await;
    until_cached(session, "notes").await;
    // Another file.
    room.place.write("stores/file.toml", &format!("kind = \"sqlite\"\npath = \"file.db\"\n{OUTBOX}changes.cached = [\"notes\"]\n"));
    room.server().reload().await.unwrap();
    until_gone(session, "orders").await;
    until_cached(session, "notes").await;
    room.place.write("stores/file.toml", "kind = \"sqlite\"\npath = \"file.db\"\nchanges.cached = [\"notes\"]\n");
    let refused = room.server().reload().await.unwrap_err();
    assert!(format!("{refused:?}").contains("needs changes.mode"), "{refused:?}");
    until_cached(session, "notes").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_that_come_later_are_cached_as_they_were_asked_for() {
    let room = place("changes.cached = [\"*\"]\n").await;
    let session = room.session();
    session.answer("CREATE TABLE file.later (id INTEGER PRIMARY KEY)").await;
    until_cached(session, "later").await;
    session.answer("DROP TABLE file.later").await;
    until_gone(session, "later").await;
    // What has no key stays in its store, and says why.
    let reason = async || {
        let row = session.answer("SELECT state, reason FROM tributary.freshness WHERE table_name = 'keyless'").await;
        row.split_once('|').filter(|(state, _)| *state == "store-only").map(|(_, reason)| reason.to_owned())
    };
    let reason = eventually("the reason of a table that is kept back", reason).await;
    assert!(reason.contains("primary key"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_cached_or_be_asked_is_refused_and_changes_nothing() {
    let place = Place::new();
    place.sqlite_with("file", TABLES, OUTBOX).await;
    place.sqlite("still", "CREATE TABLE t (id INTEGER PRIMARY KEY)").await;
    place.add_role("reader");
    let main = place.path().join("tributary.toml");
    std::fs::write(&main, std::fs::read_to_string(&main).unwrap() + "read_only = true\n").unwrap();
    let room = Room::open(place).await;
    let session = room.session();
    until_streaming(session, "file", &["orders"]).await;
    until_feed(session, "file", "keyless", "store-only").await;
    session.answer("CREATE VIEW seen AS SELECT 1 AS a").await;
    let refused = session.failure("ALTER TABLE still.t SET (tributary.cached = true)").await;
    assert_eq!(refused.code, "55000");
    assert!(refused.hint.contains("changes.mode in stores/still.toml"), "{refused:?}");
    let refused = session.failure("ALTER TABLE file.keyless SET (tributary.cached = true)").await;
    assert_eq!((refused.code.as_str(), refused.detail.contains("primary key")), ("55000", true), "{refused:?}");
    let rows = [
        ("ALTER TABLE file.nothing SET (tributary.cached = true)", "42P01"),
        ("ALTER TABLE nowhere.orders SET (tributary.cached = true)", "42P01"),
        ("ALTER TABLE seen SET (tributary.cached = true)", "42809"),
        ("ALTER TABLE file.late SET (tributary.cached = true)", "42809"),
        ("ALTER TABLE pg_catalog.pg_class SET (tributary.cached = true)", "42809"),
        ("ALTER TABLE file.tributary_changes SET (tributary.cached = true)", "42501"),
        ("ALTER TABLE file.orders SET (tributary.chached = true)", "22023"),
        ("ALTER TABLE file.orders SET (tributary.cached = perhaps)", "22023"),
        ("ALTER TABLE file.orders SET (fillfactor = 70)", "0A000"),
    ];
    codes(session, &rows).await;
    session.answer("ALTER TABLE IF EXISTS file.nothing SET (tributary.cached = true)").await;
    // It is kept for all sessions at once, and a ROLLBACK would leave it.
    session.answer("BEGIN").await;
    let in_block = session.rows("ALTER TABLE file.orders SET (tributary.cached = true)").await.unwrap_err();
    assert_eq!(in_block.code, "25001");
    session.answer("ROLLBACK").await;
    session.answer("SET default_transaction_read_only = on").await;
    codes(session, &[("ALTER TABLE file.orders SET (tributary.cached = true)", "25006")]).await;
    let reader = proxy::connect(room.server(), "reader").await;
    codes(&reader, &[("ALTER TABLE file.orders SET (tributary.cached = true)", "42501")]).await;
    assert!(kept(room.place.path()).is_empty(), "{:?}", kept(room.place.path()));
    assert_eq!(copy(session, "orders").await, None);
    // Whether it was done or refused, it was told of.
    let audit = async || {
        let text = std::fs::read_to_string(room.place.path().join(".state/audit.jsonl")).unwrap_or_default();
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let told = |line: &Value| line["event"] == "ddl" && line["object"] == "file.orders" && line["role"] == "reader";
        lines.into_iter().find(told)
    };
    let line = eventually("a line of the audit log", audit).await;
    assert_eq!((line["verb"].as_str(), line["store"].as_str()), (Some("ALTER TABLE"), Some("file")), "{line}");
    assert_eq!((line["outcome"].as_str(), line["sqlstate"].as_str()), (Some("failed"), Some("42501")), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_is_loaded_again_when_a_superuser_asks() {
    let room = place("").await;
    let session = room.session();
    let call = "CALL tributary.reload_cache('file.orders')";
    let refused = session.failure(call).await;
    assert_eq!((refused.code.as_str(), refused.detail.is_empty()), ("55000", false), "{refused:?}");
    session.answer("ALTER TABLE file.orders SET (tributary.cached = true)").await;
    let before = until_cached(session, "orders").await;
    session.answer(call).await;
    let again = async || copy(session, "orders").await.filter(|(state, since)| state == "cached" && *since != before);
    eventually("the copy that was loaded again", again).await;
    session.answer("SET search_path = file; CALL tributary.reload_cache('\"orders\"')").await;
    until_cached(session, "orders").await;
    assert_eq!(session.answer("SELECT v FROM orders").await, "one");
    let rows = [
        ("CALL tributary.reload_cache('file.nothing')", "42P01"),
        ("CALL tributary.reload_cache('file.late')", "42809"),
        ("CALL tributary.reload_cache('')", "42602"),
        ("CALL tributary.reload_cache(NULL)", "22023"),
        ("CALL tributary.reload_cache()", "42883"),
        ("CALL tributary.reload_cache('file.orders', 'file.notes')", "42883"),
    ];
    codes(session, &rows).await;
    let guest = proxy::connect(room.server(), GUEST).await;
    codes(&guest, &[(call, "42501")]).await;
    assert_eq!(proxy::connect(room.server(), OWNER).await.answer("SELECT v FROM file.orders").await, "one");
}
