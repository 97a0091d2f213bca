//! Publications of PostgreSQL that go, come back, or leave something out; how far a slot is where nothing is to be told; and what foreign
//! keys do by themselves.

use super::eventually;
use super::faults_postgres::{assert_gap, released, slot, text};
use super::follow::{told, until_barrier, until_feed, until_streaming, until_told};
use super::native::Native;
use super::room::{self, LOG, OUTBOX};
use crate::support::proxy;

const ORDERS: &str = "CREATE TABLE orders (id bigint PRIMARY KEY, v text); CREATE TABLE notes (id bigint PRIMARY KEY, v text)";
const BOTH: [&str; 2] = ["orders", "notes"];
const SHOWN: &str = "op, table_name, key->>'id', new->>'v'";
/// Follows by a publication of its owner's.
const TOLD: &str = "changes.publication = \"told\"\n";

/// The statement that drops the one publication of a database.
async fn dropping(native: &mut Native) -> String {
    format!("DROP PUBLICATION \"{}\"", text(native, "SELECT pubname::text FROM pg_publication").await)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publication_that_is_dropped_under_a_feed_leaves_a_gap_and_the_feed_goes_on() {
    let (room, mut native) = room::of_postgres(ORDERS, LOG, &BOTH).await;
    native.run("INSERT INTO orders VALUES (1, 'told')").await;
    until_told(room.session(), ("pg", SHOWN), 1).await;
    let drop = dropping(&mut native).await;
    native.run(&drop).await;
    native.run("INSERT INTO orders VALUES (2, 'lost')").await;
    until_barrier(room.session(), "pg", &["gap", "publication"]).await;
    until_streaming(room.session(), "pg", &BOTH).await;
    native.run("INSERT INTO orders VALUES (3, 'told again')").await;
    assert_gap(&room).await;
}

/// What happens to a publication while nobody reads leaves a gap, though it is there again when somebody does.
async fn assert_gap_behind(lines: &str, statements: &str, again: &str) {
    let (mut room, mut native) = room::of_postgres(statements, lines, &BOTH).await;
    native.run("INSERT INTO orders VALUES (1, 'told')").await;
    until_told(room.session(), ("pg", SHOWN), 1).await;
    let (slot, drop) = (slot(&room).await, dropping(&mut native).await);
    room.stop().await;
    released(&mut native, &slot).await;
    for statement in [drop.as_str(), "INSERT INTO orders VALUES (2, 'lost')", again] {
        native.run(statement).await;
    }
    room.start().await;
    until_barrier(room.session(), "pg", &["gap", "publication"]).await;
    until_streaming(room.session(), "pg", &BOTH).await;
    native.run("INSERT INTO orders VALUES (3, 'told again')").await;
    assert_gap(&room).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publication_that_was_dropped_while_nobody_read_leaves_a_gap() {
    Box::pin(assert_gap_behind(LOG, ORDERS, "SELECT 1")).await;
}

/// The server looks for it as of each change, and there was none then.
#[tokio::test(flavor = "multi_thread")]
async fn a_publication_that_was_not_there_for_a_moment_leaves_a_gap() {
    let made = "CREATE PUBLICATION told FOR TABLE orders, notes";
    Box::pin(assert_gap_behind(&format!("{LOG}{TOLD}"), &format!("{ORDERS}; {made}"), made)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publication_that_leaves_rows_or_columns_out_stops_those_tables_alone() {
    let less = "orders WHERE (id < 10), notes (id), whole";
    let statements =
        format!("{ORDERS}; CREATE TABLE whole (id bigint PRIMARY KEY, v text); CREATE PUBLICATION told FOR TABLE {less}");
    let (room, mut native) = room::of_postgres(&statements, &format!("{LOG}{TOLD}"), &["whole"]).await;
    for table in BOTH {
        let reason = until_feed(room.session(), "pg", table, "store-only").await;
        assert!(reason.contains("without some of its rows or columns"), "{table}: {reason}");
    }
    native.run("INSERT INTO orders VALUES (1, 'a'); INSERT INTO notes VALUES (1, 'a'); INSERT INTO whole VALUES (1, 'told')").await;
    assert_eq!(until_told(room.session(), ("pg", SHOWN), 1).await, ["insert|whole|1|told"]);
    // With all of them they are followed.
    native.run("ALTER PUBLICATION told SET TABLE orders, notes, whole").await;
    room.session().answer("CALL tributary.refresh('pg')").await;
    until_streaming(room.session(), "pg", &BOTH).await;
    let mut id = 20;
    let both = async || {
        id += 1;
        native.run(&format!("INSERT INTO orders VALUES ({id}, 'b'); INSERT INTO notes VALUES ({id}, 'b')")).await;
        let rows = told(room.session(), "pg", SHOWN).await;
        let is_told = |table: &str| rows.iter().any(|row| row.starts_with(&format!("insert|{table}|")) && row.ends_with("|b"));
        (is_told("orders") && is_told("notes")).then_some(())
    };
    eventually("rows of both", both).await;
    // What is left out from here on is nobody's change, and whoever follows is told that no more comes.
    native.run(&format!("ALTER PUBLICATION told SET TABLE {less}")).await;
    native.run("INSERT INTO orders VALUES (1000, 'left out')").await;
    room.session().answer("CALL tributary.refresh('pg')").await;
    for table in BOTH {
        until_feed(room.session(), "pg", table, "store-only").await;
        until_barrier(room.session(), "pg", &[&format!("stopped|{table}|")]).await;
    }
    native.run("INSERT INTO whole VALUES (2, 'still told')").await;
    let last = async || told(room.session(), "pg", SHOWN).await.contains(&"insert|whole|2|still told".to_owned()).then_some(());
    eventually("the other table's change", last).await;
}

/// The server would keep its log for the slot else, however little of it is the feed's.
#[tokio::test(flavor = "multi_thread")]
async fn the_slot_moves_on_while_only_other_tables_and_databases_are_written() {
    let statements = format!("{ORDERS}; CREATE TABLE ballast (id bigint, v text)");
    let (room, mut native) = room::of_postgres(&statements, &format!("{LOG}changes.except = [\"ballast\"]\n"), &BOTH).await;
    let slot = slot(&room).await;
    let server = room::postgres().await;
    let beside = proxy::fresh(server, "CREATE TABLE ballast (id bigint, v text)").await;
    let mut beside = Native::Postgres(proxy::direct(server, &beside).await);
    for is_beside in [false, true] {
        let writer = if is_beside { &mut beside } else { &mut native };
        writer.run("INSERT INTO ballast SELECT n, md5(n::text) FROM generate_series(1, 10000) AS n").await;
        let end = text(&mut native, "SELECT pg_current_wal_flush_lsn()::text").await;
        let sql = format!("SELECT (confirmed_flush_lsn >= '{end}')::text FROM pg_replication_slots WHERE slot_name = '{slot}'");
        let has_moved = async || (text(&mut native, &sql).await == "true").then_some(());
        eventually(&format!("a slot that has moved on, {is_beside}"), has_moved).await;
    }
    assert_eq!(told(room.session(), "pg", SHOWN).await, Vec::<String>::new());
}

/// What foreign keys do to rows is told as what anybody does, in the transaction that has made them do it.
async fn assert_cascades_are_told(lines: &str) {
    let reference = "parent bigint REFERENCES parents ON UPDATE CASCADE";
    let statements = format!(
        "CREATE TABLE parents (id bigint PRIMARY KEY, v text); \
         CREATE TABLE children (id bigint PRIMARY KEY, v text, {reference} ON DELETE CASCADE); \
         CREATE TABLE guests (id bigint PRIMARY KEY, v text, {reference} ON DELETE SET NULL)"
    );
    let (room, mut native) = room::of_postgres(&statements, lines, &["parents", "children", "guests"]).await;
    let made = "INSERT INTO parents VALUES (1, 'p'); INSERT INTO children VALUES (1, 'c', 1), (2, 'c', 1); \
        INSERT INTO guests VALUES (1, 'g', 1)";
    for statement in [made, "UPDATE parents SET id = 5", "DELETE FROM parents"] {
        native.run(statement).await;
    }
    let mut rows = until_told(room.session(), ("pg", "op, table_name, key->>'id', new->>'parent'"), 12).await;
    assert_eq!(rows.len(), 12, "{rows:#?}");
    // In which order one statement changes rows of several tables is its own.
    rows.chunks_mut(4).for_each(<[String]>::sort_unstable);
    let expected = [
        ["insert|children|1|1", "insert|children|2|1", "insert|guests|1|1", "insert|parents|1|~"],
        ["update|children|1|5", "update|children|2|5", "update|guests|1|5", "update|parents|5|~"],
        ["delete|children|1|~", "delete|children|2|~", "delete|parents|5|~", "update|guests|1|~"],
    ];
    assert_eq!(rows, expected.concat());
    let transactions = "SELECT count(DISTINCT transaction) FROM tributary.changes WHERE store = 'pg'";
    assert_eq!(room.session().answer(transactions).await, "3");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_foreign_keys_do_is_told() {
    Box::pin(assert_cascades_are_told(LOG)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_foreign_keys_do_is_told_also_with_triggers() {
    Box::pin(assert_cascades_are_told(OUTBOX)).await;
}
