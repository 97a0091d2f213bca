//! What says which tables are cached: store files, ALTER TABLE and CALL; what EXPLAIN shows of it, and what is not cached and why.

use std::time::{Duration, Instant};

use super::copies::{FROM_COPY, FROM_STORE, analyzed, copied, reader, served, shown, until_cached, until_copied, until_state};
use super::world::{self, cached};
use crate::changes::follow::until_streaming;
use crate::changes::room::{self, LOG, OUTBOX, Room};
use crate::commit::eventually;
use crate::support::proxy::{self, OWNER, Place};

const ORDERS: &str = "CREATE TABLE orders (id INTEGER PRIMARY KEY, v TEXT); INSERT INTO orders VALUES (1, 'a'); \
    CREATE TABLE notes (id INTEGER PRIMARY KEY, v TEXT); INSERT INTO notes VALUES (1, 'n')";
const BOTH: [&str; 2] = ["orders", "notes"];
const ALL: &str = "SELECT id, v FROM file.orders ORDER BY id";
/// How often a feed looks at its tables where nothing has it do so.
const SURVEY: Duration = Duration::from_secs(60);

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
async fn words_that_say_nothing_are_refused_and_change_nothing() {
    let (room, _native) = Box::pin(room::of_sqlite(ORDERS, &format!("{OUTBOX}{}", cached(&["orders"])), &BOTH)).await;
    until_cached(room.session(), "file", &["orders"]).await;
    for sql in ["consistency = 'always'", "on_stale = 'never'", "max_staleness = 'x'", "max_staleness = '-1s'", "token = 'x'"] {
        let failure = room.session().failure(&format!("SET tributary.{sql}")).await;
        assert_eq!(failure.code, "22023", "{sql}: {failure:?}");
    }
    let reader = reader(room.server().addresses()[0], &FROM_COPY).await;
    for sql in ["consistency = 'always'", "on_stale = 'never'"] {
        reader.failure(&format!("SET tributary.{sql}")).await;
    }
    assert_eq!(copied(&reader, ("file", "orders"), ALL).await, ["1|a"]);
    // For one transaction, and for a connection from its beginning.
    reader.answer("BEGIN; SET LOCAL tributary.consistency = 'store'").await;
    let before = served(&reader, ("file", "orders")).await;
    assert_eq!(reader.answer(ALL).await, "1|a");
    assert_eq!(served(&reader, ("file", "orders")).await, before);
    reader.answer("COMMIT").await;
    assert_eq!(reader.answer("SHOW tributary.consistency").await, "strong");
    let mut login = proxy::login(room.server().addresses()[0], OWNER);
    login.options("-c tributary.consistency=eventual");
    let session = proxy::open(&login).await.unwrap();
    assert_eq!(session.answer("SHOW tributary.consistency").await, "eventual");
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
    // Where no copy may be read, none is offered.
    let session = super::copies::reader(room.server().addresses()[0], &FROM_STORE).await;
    let plan = session.answer(&format!("EXPLAIN {ALL}")).await;
    assert!(!plan.contains("Copy: offered"), "{plan}");
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
    let (room, mut native) = Box::pin(room::of_postgres(statements, &lines, &["notes"])).await;
    until_cached(room.session(), "pg", &["notes"]).await;
    let reason = until_state(room.session(), ("pg", "secrets"), "store-only").await;
    assert!(!reason.is_empty());
    assert_eq!(room.session().answer("SELECT v FROM pg.secrets").await, "a");
    // Switched on under a copy, it is noticed with the next change of the table: long before all tables are looked at once a minute.
    native.run("INSERT INTO notes VALUES (1, 'n')").await;
    let noticed = async {
        loop {
            // Once more each time: who looks at the tables already may have seen this one before.
            native.run("ALTER TABLE notes ENABLE ROW LEVEL SECURITY").await;
            native.run("UPDATE notes SET v = v").await;
            let end = Instant::now() + Duration::from_secs(1);
            while Instant::now() < end {
                let shown = shown(room.session(), ("pg", "notes")).await.filter(|shown| shown.state == "store-only");
                if let Some(shown) = shown {
                    return shown.reason;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    };
    let reason = tokio::time::timeout(SURVEY * 3 / 4, noticed).await.expect("a change of the table does not have it looked at");
    assert!(!reason.is_empty());
    let before = served(room.session(), ("pg", "notes")).await;
    assert_eq!(room.session().answer("SELECT v FROM pg.notes").await, "n");
    assert_eq!(served(room.session(), ("pg", "notes")).await, before);
}
