//! What says which tables are cached: store files, ALTER TABLE and CALL; what EXPLAIN shows of it, and what is not cached and why.

use super::copies::{FROM_COPY, FROM_STORE, analyzed, copied, reader, served, shown, until_cached, until_copied, until_state};
use super::world::{self, cached};
use crate::changes::follow::until_streaming;
use crate::changes::room::{self, LOG, OUTBOX, Room};
use crate::commit::eventually;
use crate::support::proxy::{self, GUEST, Place};

const ORDERS: &str = "CREATE TABLE orders (id INTEGER PRIMARY KEY, v TEXT); INSERT INTO orders VALUES (1, 'a'); \
    CREATE TABLE notes (id INTEGER PRIMARY KEY, v TEXT); INSERT INTO notes VALUES (1, 'n')";
const BOTH: [&str; 2] = ["orders", "notes"];
const ALL: &str = "SELECT id, v FROM file.orders ORDER BY id";

#[tokio::test(flavor = "multi_thread")]
async fn alter_table_begins_and_ends_a_copy_also_over_a_restart() {
    let (mut room, mut native) = Box::pin(room::of_sqlite(ORDERS, OUTBOX, &BOTH)).await;
    let table = ("file", "orders");
    assert_eq!(shown(room.session(), table).await, None);
    room.session().answer("ALTER TABLE file.orders SET (tributary.cached = true)").await;
    until_cached(room.session(), "file", &["orders"]).await;
    let address = room.server().addresses()[0];
    assert_eq!(copied(&reader(address, &FROM_COPY).await, table, ALL).await, ["1|a"]);
    assert_eq!(shown(room.session(), ("file", "notes")).await, None, "another table is cached");
    room.stop().await;
    native.run("INSERT INTO orders VALUES (2, 'while it was away')").await;
    room.start().await;
    until_cached(room.session(), "file", &["orders"]).await;
    let address = room.server().addresses()[0];
    assert_eq!(copied(&reader(address, &FROM_COPY).await, table, ALL).await, ["1|a", "2|while it was away"]);
    for (on, off) in [
        ("SET (tributary.cached = true)", "SET (tributary.cached = false)"),
        ("SET (tributary.cached = true)", "RESET (tributary.cached)"),
    ] {
        room.session().answer(&format!("ALTER TABLE file.orders {on}")).await;
        until_cached(room.session(), "file", &["orders"]).await;
        room.session().answer(&format!("ALTER TABLE file.orders {off}")).await;
        eventually("the end of the copy", async || shown(room.session(), table).await.is_none().then_some(())).await;
        assert_eq!(room.session().answer(ALL).await, "1|a\n2|while it was away", "{off}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn alter_table_says_more_than_the_store_file_until_it_is_reset() {
    let (room, _native) = Box::pin(room::of_sqlite(ORDERS, &format!("{OUTBOX}{}", cached(&["o*"])), &BOTH)).await;
    let table = ("file", "orders");
    until_cached(room.session(), "file", &["orders"]).await;
    assert_eq!(shown(room.session(), ("file", "notes")).await, None);
    room.session().answer("ALTER TABLE file.orders SET (tributary.cached = false)").await;
    eventually("the end of the copy", async || shown(room.session(), table).await.is_none().then_some(())).await;
    room.session().answer("ALTER TABLE file.orders RESET (tributary.cached)").await;
    until_cached(room.session(), "file", &["orders"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_cached_is_refused_with_its_reason() {
    let place = Place::new();
    place.sqlite("plain", "CREATE TABLE orders (id INTEGER PRIMARY KEY, v TEXT)").await;
    let statements = format!("{ORDERS}; CREATE TABLE keyless (v TEXT)");
    place.sqlite_with("file", &statements, &format!("{OUTBOX}{}", cached(&["*"]))).await;
    let room = Box::pin(Room::open(place)).await;
    until_streaming(room.session(), "file", &BOTH).await;
    until_cached(room.session(), "file", &BOTH).await;
    let reason = until_state(room.session(), ("file", "keyless"), "store-only").await;
    assert!(reason.contains("key"), "{reason}");
    assert_eq!(room.session().answer("SELECT count(*) FROM file.keyless").await, "0");
    for (sql, code) in [
        ("ALTER TABLE plain.orders SET (tributary.cached = true)", "55000"),
        ("ALTER TABLE file.nothing SET (tributary.cached = true)", "42P01"),
        ("CALL tributary.reload_cache('plain.orders')", "55000"),
        ("CALL tributary.reload_cache('file.nothing')", "42P01"),
        ("SET tributary.consistency = 'always'", "22023"),
        ("SET tributary.on_stale = 'never'", "22023"),
        ("SET tributary.max_staleness = 'x'", "22023"),
        ("SET tributary.token = 'x'", "22023"),
    ] {
        let failure = room.session().failure(sql).await;
        assert_eq!(failure.code, code, "{sql}: {failure:?}");
    }
    let guest = proxy::connect(room.server(), GUEST).await;
    for sql in ["ALTER TABLE file.orders SET (tributary.cached = false)", "CALL tributary.reload_cache('file.orders')"] {
        assert_eq!(guest.failure(sql).await.code, "42501", "{sql}");
    }
    until_cached(room.session(), "file", &BOTH).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_file_that_has_tables_cached_and_is_not_followed_is_refused() {
    let place = Place::new();
    place.sqlite_with("file", ORDERS, &cached(&["orders"])).await;
    assert!(place.try_serve().await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_is_loaded_again_is_the_table() {
    let (room, mut native) = Box::pin(room::of_sqlite(ORDERS, &format!("{OUTBOX}{}", cached(&BOTH)), &BOTH)).await;
    until_cached(room.session(), "file", &BOTH).await;
    let reader = reader(room.server().addresses()[0], &FROM_COPY).await;
    let mut expected = vec!["1|a".to_owned()];
    for number in 2..6 {
        room.session().answer("CALL tributary.reload_cache('file.orders')").await;
        native.run(&format!("INSERT INTO orders VALUES ({number}, 'b')")).await;
        expected.push(format!("{number}|b"));
        until_copied(&reader, ("file", "orders"), ALL, &expected).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_larger_than_the_memory_for_copies_is_read_in_its_store_and_its_neighbour_is_not() {
    let place = Place::new();
    place.configure("cache.memory = \"1MiB\"");
    let large = "INSERT INTO orders SELECT value, hex(randomblob(600)) FROM generate_series(2, 4000)";
    // SQLite may be built without that function.
    let large = large.replace(
        "generate_series(2, 4000)",
        "(WITH RECURSIVE n(value) AS (SELECT 2 UNION ALL SELECT value + 1 FROM n WHERE value < 4000) SELECT value FROM n)",
    );
    place.sqlite_with("file", &format!("{ORDERS}; {large}"), &format!("{OUTBOX}{}", cached(&BOTH))).await;
    let mut native = room::in_file(&place).await;
    let room = Box::pin(Room::open(place)).await;
    until_streaming(room.session(), "file", &BOTH).await;
    until_cached(room.session(), "file", &["notes"]).await;
    let reason = until_state(room.session(), ("file", "orders"), "store-only").await;
    assert!(reason.contains("cache.memory"), "{reason}");
    let reader = reader(room.server().addresses()[0], &FROM_STORE).await;
    assert_eq!(reader.answer("SELECT count(*) FROM file.orders").await, "4000");
    assert_eq!(room.session().answer("SELECT count(*) FROM file.orders").await, "4000");
    // There is room for it when it is smaller.
    native.run("DELETE FROM orders WHERE id > 10").await;
    room.session().answer("CALL tributary.reload_cache('file.orders')").await;
    until_cached(room.session(), "file", &["orders"]).await;
    assert_eq!(room.session().answer("SELECT count(*) FROM file.orders").await, "10");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_grows_past_the_memory_for_copies_goes() {
    let place = Place::new();
    place.configure("cache.memory = \"1MiB\"");
    place.sqlite_with("file", ORDERS, &format!("{OUTBOX}{}", cached(&BOTH))).await;
    let mut native = room::in_file(&place).await;
    let room = Box::pin(Room::open(place)).await;
    until_streaming(room.session(), "file", &BOTH).await;
    until_cached(room.session(), "file", &BOTH).await;
    for number in 0..40 {
        native.run(&format!("INSERT INTO orders VALUES ({}, hex(randomblob(50000)))", number + 2)).await;
    }
    let reason = until_state(room.session(), ("file", "orders"), "store-only").await;
    assert!(reason.contains("cache.memory"), "{reason}");
    assert_eq!(room.session().answer("SELECT count(*), min(length(v)), max(length(v)) FROM file.orders").await, "41|1|100000");
    let reader = reader(room.server().addresses()[0], &FROM_COPY).await;
    until_copied(&reader, ("file", "notes"), "SELECT v FROM file.notes", &["n".to_owned()]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn plans_say_what_may_be_read_from_copies_and_what_was() {
    let (room, _native) = Box::pin(room::of_sqlite(ORDERS, &format!("{OUTBOX}{}", cached(&["orders"])), &BOTH)).await;
    until_cached(room.session(), "file", &["orders"]).await;
    let sql = "SELECT o.v, n.v FROM file.orders o JOIN file.notes n ON n.id = o.id";
    let plan = room.session().answer(&format!("EXPLAIN {ALL}")).await;
    assert!(plan.contains("Copy: offered") && !plan.contains("Source:"), "{plan}");
    let reader = reader(room.server().addresses()[0], &FROM_COPY).await;
    let plan = analyzed(&reader, ALL).await;
    assert!(plan.contains("Source: copy"), "{plan}");
    // Where a copy may not be read, none is offered.
    for (settings, statement) in [(&FROM_STORE[..], ALL), (&[][..], "SELECT v FROM file.orders FOR UPDATE")] {
        let session = super::copies::reader(room.server().addresses()[0], settings).await;
        let plan = session.answer(&format!("EXPLAIN {statement}")).await;
        assert!(!plan.contains("Copy: offered"), "{statement}: {plan}");
    }
    assert_eq!(reader.answer(sql).await, "a|n");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_writes_locks_or_keeps_a_state_reads_postgres_itself() {
    let mut world = world::of_postgres().await;
    let session = world.reader(&[("on_stale", "wait")]).await;
    let before = served(&session, ("pg", "accounts")).await;
    world.does(crate::changes::check::Deed::Put { key: 1, value: 8_000 }).await;
    // Each of these would be wrong with a row of a copy that has not got there.
    session.answer("BEGIN; SELECT balance FROM pg.accounts WHERE _id = 1 FOR UPDATE; COMMIT").await;
    session.answer("UPDATE pg.accounts SET balance = balance + 1 WHERE _id = 1 AND balance = 8000").await;
    session.answer("UPDATE pg.moves SET amount = (SELECT balance FROM pg.accounts WHERE _id = 1) WHERE _id = 1").await;
    session.answer("INSERT INTO pg.lists SELECT 100 + _id, balance::text FROM pg.accounts WHERE _id = 1").await;
    session.answer("BEGIN ISOLATION LEVEL REPEATABLE READ").await;
    assert_eq!(session.answer("SELECT balance FROM pg.accounts WHERE _id = 1").await, "8001");
    assert_eq!(session.answer("SELECT amount FROM pg.moves WHERE _id = 1").await, "8001");
    session.answer("COMMIT").await;
    session.answer("BEGIN").await;
    session.answer("UPDATE pg.accounts SET balance = 8002 WHERE _id = 1").await;
    assert_eq!(session.answer("SELECT balance FROM pg.accounts WHERE _id = 1").await, "8002", "a block sees what it has written");
    session.answer("ROLLBACK").await;
    assert_eq!(served(&session, ("pg", "accounts")).await, before, "a copy was read where the store must be");
    assert_eq!(session.answer("SELECT balance FROM pg.accounts WHERE _id = 1").await, "8001");
    assert_eq!(session.answer("SELECT v FROM pg.lists WHERE _id = 101").await, "8001");
    assert!(served(&session, ("pg", "accounts")).await > before, "a copy is not read any more");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_postgres_with_row_security_is_read_in_its_store() {
    let statements = "CREATE TABLE secrets (id bigint PRIMARY KEY, v text); INSERT INTO secrets VALUES (1, 'a'); \
        ALTER TABLE secrets ENABLE ROW LEVEL SECURITY; CREATE TABLE notes (id bigint PRIMARY KEY, v text)";
    let lines = format!("{LOG}{}", cached(&["secrets", "notes"]));
    let (room, _native) = Box::pin(room::of_postgres(statements, &lines, &["notes"])).await;
    until_cached(room.session(), "pg", &["notes"]).await;
    let reason = until_state(room.session(), ("pg", "secrets"), "store-only").await;
    assert!(!reason.is_empty());
    assert_eq!(room.session().answer("SELECT v FROM pg.secrets").await, "a");
}
