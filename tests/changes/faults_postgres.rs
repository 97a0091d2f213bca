//! Faults of PostgreSQL's feed, and what is told of each.

use sqlx::AssertSqlSafe;
use sqlx::postgres::PgConnection;

use super::eventually;
use super::follow::{barriers, told, until_barrier, until_feed, until_streaming, until_told};
use super::native::Native;
use super::room::{self, LOG, OUTBOX, Room};
use crate::support::gate::Gate;
use crate::support::proxy::{self, Place};

const ORDERS: &str = "CREATE TABLE orders (id bigint PRIMARY KEY, v text); CREATE TABLE notes (id bigint PRIMARY KEY, v text)";
const BOTH: [&str; 2] = ["orders", "notes"];
const SHOWN: &str = "op, table_name, key->>'id', new->>'v'";

fn connection(native: &mut Native) -> &mut PgConnection {
    match native {
        Native::Postgres(connection) => connection,
        _ => panic!("this is no PostgreSQL"),
    }
}

/// The text that a query of one gives.
pub async fn text(native: &mut Native, sql: &str) -> String {
    sqlx::query_scalar(AssertSqlSafe(sql.to_owned())).fetch_one(connection(native)).await.unwrap()
}

/// The name of the slot of the store.
pub async fn slot(room: &Room) -> String {
    let sql = "SELECT name FROM tributary.feed_objects WHERE store = 'pg' AND what = 'replication slot' AND ours";
    eventually("the slot", async || room.session().rows(sql).await.unwrap().pop()).await
}

/// Waits until nobody reads from a slot.
pub async fn released(native: &mut Native, slot: &str) {
    let sql = format!("SELECT count(*)::text FROM pg_replication_slots WHERE slot_name = '{slot}' AND active");
    eventually("the end of the slot's reader", async || (text(native, &sql).await == "0").then_some(())).await;
}

/// The first row and the third are told, and not the second.
pub async fn assert_gap(room: &Room) {
    let last = async || told(room.session(), "pg", SHOWN).await.iter().any(|row| row == "insert|orders|3|told again").then_some(());
    eventually("the row behind the gap", last).await;
    let rows = told(room.session(), "pg", SHOWN).await;
    assert_eq!(rows[0], "insert|orders|1|told");
    assert!(!rows.iter().any(|row| row.starts_with("insert|orders|2|")), "{rows:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_was_dropped_leaves_a_gap_and_the_feed_goes_on() {
    let (mut room, mut native) = room::of_postgres(ORDERS, LOG, &BOTH).await;
    native.run("INSERT INTO orders VALUES (1, 'told')").await;
    until_told(room.session(), ("pg", SHOWN), 1).await;
    let slot = slot(&room).await;
    room.stop().await;
    released(&mut native, &slot).await;
    native.run(&format!("SELECT pg_drop_replication_slot('{slot}')")).await;
    native.run("INSERT INTO orders VALUES (2, 'lost')").await;
    room.start().await;
    until_streaming(room.session(), "pg", &BOTH).await;
    native.run("INSERT INTO orders VALUES (3, 'told again')").await;
    until_barrier(room.session(), "pg", &["slot"]).await;
    assert_gap(&room).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_is_ahead_is_not_streamed_over() {
    let (mut room, mut native) = room::of_postgres(ORDERS, LOG, &BOTH).await;
    native.run("INSERT INTO orders VALUES (1, 'told')").await;
    until_told(room.session(), ("pg", SHOWN), 1).await;
    let slot = slot(&room).await;
    room.stop().await;
    released(&mut native, &slot).await;
    native.run("INSERT INTO orders VALUES (2, 'taken by somebody else')").await;
    native.run(&format!("SELECT pg_replication_slot_advance('{slot}', pg_current_wal_lsn())")).await;
    room.start().await;
    until_streaming(room.session(), "pg", &BOTH).await;
    until_barrier(room.session(), "pg", &["ahead"]).await;
    native.run("INSERT INTO orders VALUES (3, 'told again')").await;
    assert_gap(&room).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_slot_is_dropped_when_it_holds_more_than_it_may() {
    let lines = format!("{LOG}changes.max_retained = \"16MiB\"\nchanges.except = [\"ballast\"]\n");
    let ballast = "CREATE TABLE ballast (id bigint, v text)";
    let (room, mut native) = room::of_postgres(&format!("{ORDERS}; {ballast}"), &lines, &BOTH).await;
    let first = slot(&room).await;
    // What a transaction that is open may have written is kept for it.
    let database = text(&mut native, "SELECT current_database()::text").await;
    let mut holder = proxy::direct(room::postgres().await, &database).await;
    sqlx::raw_sql("BEGIN; INSERT INTO notes VALUES (7, 'open')").execute(&mut holder).await.unwrap();
    for _ in 0..3 {
        native.run("INSERT INTO ballast SELECT n, repeat(md5(n::text), 10) FROM generate_series(1, 30000) AS n").await;
    }
    let sql = format!("SELECT count(*)::text FROM pg_replication_slots WHERE slot_name = '{first}' AND restart_lsn IS NOT NULL");
    let held = format!(
        "SELECT coalesce(max(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)), 0)::bigint < 16777216 \
         FROM pg_replication_slots WHERE slot_name = '{first}'"
    );
    let is_less = format!("SELECT ({held})::text");
    let dropped = async || (text(&mut native, &sql).await == "0" || text(&mut native, &is_less).await == "true").then_some(());
    eventually("the end of what the slot holds", dropped).await;
    sqlx::raw_sql("COMMIT").execute(&mut holder).await.unwrap();
    until_streaming(room.session(), "pg", &BOTH).await;
    until_barrier(room.session(), "pg", &["gap"]).await;
    native.run("INSERT INTO orders VALUES (1, 'told again')").await;
    let told = async || told(room.session(), "pg", SHOWN).await.contains(&"insert|orders|1|told again".to_owned()).then_some(());
    eventually("the row behind the gap", told).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_loses_its_key_goes_alone_and_can_be_written() {
    let (room, mut native) = room::of_postgres(ORDERS, LOG, &BOTH).await;
    native.run("INSERT INTO orders VALUES (1, 'a'); INSERT INTO notes VALUES (1, 'a')").await;
    until_told(room.session(), ("pg", SHOWN), 2).await;
    native.run("ALTER TABLE orders DROP CONSTRAINT orders_pkey").await;
    room.session().answer("CALL tributary.refresh('pg')").await;
    let reason = until_feed(room.session(), "pg", "orders", "store-only").await;
    assert!(reason.contains("key") || reason.contains("identity"), "{reason}");
    // It is not in the publication any more, where this would be refused.
    let update = async || {
        let updated = sqlx::raw_sql("UPDATE orders SET v = 'b'").execute(connection(&mut native)).await;
        updated.is_ok().then_some(())
    };
    eventually("an update of the table", update).await;
    native.run("UPDATE notes SET v = 'b'").await;
    let last = async || told(room.session(), "pg", SHOWN).await.pop().filter(|row| row == "update|notes|1|b");
    eventually("the other table's change", last).await;
    assert!(barriers(room.session(), "pg").await.iter().any(|row| row.contains("|orders|")));
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_behind_a_new_column_have_it() {
    let (room, mut native) = room::of_postgres(ORDERS, LOG, &BOTH).await;
    native.run("INSERT INTO orders VALUES (1, 'a')").await;
    native.run("ALTER TABLE orders ADD COLUMN w int; INSERT INTO orders VALUES (2, 'b', 5)").await;
    let mut id = 2;
    let shown = "op, table_name, key->>'id', new->>'v', new->>'w'";
    let later = async || {
        id += 1;
        native.run(&format!("INSERT INTO orders VALUES ({id}, 'c', 6)")).await;
        native.run("INSERT INTO notes VALUES (9, 'x') ON CONFLICT (id) DO UPDATE SET v = 'y'").await;
        let rows = told(room.session(), "pg", shown).await;
        rows.iter().any(|row| row.starts_with("insert|orders|") && row.ends_with("|c|6")).then_some(rows)
    };
    let rows = eventually("a row of the new shape", later).await;
    assert_eq!(rows[0], "insert|orders|1|a|~");
    assert!(barriers(room.session(), "pg").await.iter().any(|row| row.contains("|orders|")));
    // The other table has missed nothing.
    assert!(rows.iter().any(|row| row == "insert|notes|9|x|~"), "{rows:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn truncate_moved_keys_unchanged_values_and_savepoints_are_told_as_they_are() {
    let big = "(SELECT string_agg(md5(n::text), '') FROM generate_series(1, 3000) AS n)";
    let (room, mut native) = room::of_postgres(ORDERS, LOG, &BOTH).await;
    native.run(&format!("INSERT INTO orders VALUES (1, {big})")).await;
    native.run("UPDATE orders SET id = 2").await;
    native
        .run("BEGIN; INSERT INTO notes VALUES (1, 'a'); SAVEPOINT s; INSERT INTO notes VALUES (2, 'b'); ROLLBACK TO s; COMMIT")
        .await;
    native.run("TRUNCATE orders, notes").await;
    let shown = "op, table_name, key->>'id', old->>'id', length(new->>'v'), coalesce(unknown::text, '{}')";
    let rows = until_told(room.session(), ("pg", shown), 5).await;
    assert_eq!(rows[..3], ["insert|orders|1|~|96000|{}", "update|orders|2|1|~|{v}", "insert|notes|1|~|1|{}"].map(str::to_owned));
    let mut truncated: Vec<&str> = rows[3..].iter().map(String::as_str).collect();
    truncated.sort_unstable();
    assert!(truncated[0].starts_with("truncate|notes|") && truncated[1].starts_with("truncate|orders|"), "{rows:?}");
    let one = "SELECT count(DISTINCT substr(position, 1, 25)) FROM tributary.changes WHERE op = 'truncate'";
    assert_eq!(room.session().answer(one).await, "1");
    assert_eq!(rows.len(), 5, "{rows:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_prepared_is_told_when_it_is_committed_and_once() {
    let (mut room, mut native) = room::of_postgres(ORDERS, LOG, &BOTH).await;
    native.run("BEGIN; INSERT INTO orders VALUES (1, 'prepared'); PREPARE TRANSACTION 'p1'").await;
    native.run("INSERT INTO orders VALUES (2, 'meanwhile')").await;
    until_told(room.session(), ("pg", SHOWN), 1).await;
    room.stop().await;
    native.run("COMMIT PREPARED 'p1'").await;
    room.start().await;
    let rows = until_told(room.session(), ("pg", SHOWN), 2).await;
    assert_eq!(rows, ["insert|orders|2|meanwhile", "insert|orders|1|prepared"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_transaction_is_one_and_one_past_the_bound_stops_its_tables() {
    let place = Place::new();
    place.configure("changes.max_transaction = \"1MiB\"");
    let server = room::postgres().await;
    let database = proxy::fresh(server, ORDERS).await;
    place.postgres("pg", server, &database, LOG);
    let room = Room::open(place).await;
    until_streaming(room.session(), "pg", &BOTH).await;
    let mut native = Native::Postgres(proxy::direct(server, &database).await);
    native.run("INSERT INTO notes SELECT n, 'x' FROM generate_series(1, 10000) AS n").await;
    let counted = "SELECT count(*), count(DISTINCT substr(position, 1, 25)), min(ordinal) >= 0 FROM tributary.changes \
        WHERE table_name = 'notes' AND op = 'insert'";
    eventually("the rows", async || (room.session().answer(counted).await == "10000|1|t").then_some(())).await;
    native.run("INSERT INTO orders SELECT n, repeat(md5(n::text), 20) FROM generate_series(1, 8000) AS n").await;
    let reason = until_feed(room.session(), "pg", "orders", "store-only").await;
    assert!(!reason.is_empty());
    native.run("INSERT INTO notes VALUES (10001, 'still told')").await;
    let last = async || told(room.session(), "pg", SHOWN).await.pop().filter(|row| row == "insert|notes|10001|still told");
    eventually("the other table's change", last).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_that_cannot_be_followed_say_why() {
    let statements = format!(
        "{ORDERS}; CREATE TABLE keyless (v text); CREATE UNLOGGED TABLE passing (id int PRIMARY KEY); \
         CREATE TABLE guarded (id int PRIMARY KEY); ALTER TABLE guarded ENABLE ROW LEVEL SECURITY; \
         CREATE TABLE named (id int NOT NULL, v text); CREATE UNIQUE INDEX by_id ON named (id); \
         ALTER TABLE named REPLICA IDENTITY USING INDEX by_id; CREATE TABLE whole (v text); ALTER TABLE whole REPLICA IDENTITY FULL; \
         CREATE TABLE parts (id int PRIMARY KEY, v text) PARTITION BY RANGE (id); CREATE TABLE part PARTITION OF parts DEFAULT"
    );
    let (room, mut native) = room::of_postgres(&statements, LOG, &["orders", "named", "parts"]).await;
    for (table, word) in [("keyless", "key"), ("passing", "unlogged"), ("guarded", "security")] {
        let reason = until_feed(room.session(), "pg", table, "store-only").await;
        assert!(reason.contains(word), "{table}: {reason}");
    }
    // Writes to them go on.
    native.run("INSERT INTO keyless VALUES ('a'); UPDATE keyless SET v = 'b'").await;
    native.run("INSERT INTO parts VALUES (1, 'of a part'); INSERT INTO named VALUES (1, 'a'); UPDATE named SET id = 2").await;
    let rows = until_told(room.session(), ("pg", SHOWN), 3).await;
    assert_eq!(rows, ["insert|parts|1|of a part", "insert|named|1|a", "update|named|2|a"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_logical_replication_the_log_is_refused_and_the_outbox_serves() {
    let server = room::own_postgres(&["-c", "wal_level=replica", "-c", "max_wal_senders=0"]).await;
    let database = proxy::fresh(&server, ORDERS).await;
    let place = Place::new();
    place.postgres("pg", &server, &database, LOG);
    let mut room = Room::open(place).await;
    let reason = until_feed(room.session(), "pg", "", "refused").await;
    assert!(reason.contains("wal_level"), "{reason}");
    let mend = room.session().answer("SELECT mend FROM tributary.feeds WHERE store = 'pg' AND table_name IS NULL").await;
    assert!(mend.contains("ALTER SYSTEM"), "{mend}");
    room.stop().await;
    room.place.postgres("pg", &server, &database, OUTBOX);
    room.start().await;
    until_streaming(room.session(), "pg", &BOTH).await;
    let mut native = Native::Postgres(proxy::direct(&server, &database).await);
    native.run("SET datestyle = 'German'; SET bytea_output = 'escape'").await;
    native
        .run("BEGIN; INSERT INTO orders VALUES (1, 'a (\"b\") \\ c,'), (2, NULL); UPDATE orders SET id = 3 WHERE id = 2; COMMIT")
        .await;
    native.run("BEGIN; INSERT INTO orders VALUES (9, 'undone'); ROLLBACK").await;
    native.run("DELETE FROM orders WHERE id = 3; TRUNCATE orders").await;
    let rows = until_told(room.session(), ("pg", SHOWN), 5).await;
    assert_eq!(
        rows[..4],
        ["insert|orders|1|a (\"b\") \\ c,", "insert|orders|2|~", "update|orders|3|~", "delete|orders|3|~"].map(str::to_owned)
    );
    assert!(rows[4].starts_with("truncate|orders|"), "{rows:?}");
    // What is durable here is taken out there.
    let left = "SELECT count(*)::text FROM tributary_changes";
    eventually("an empty outbox", async || (text(&mut native, left).await == "0").then_some(())).await;
    // What was written while nobody was there is told later.
    room.stop().await;
    native.run("INSERT INTO notes VALUES (1, 'meanwhile')").await;
    room.start().await;
    let rows = until_told(room.session(), ("pg", SHOWN), 6).await;
    assert_eq!(rows[5], "insert|notes|1|meanwhile");
    // A second Tributary would take rows away from the first.
    let second = Place::new();
    second.postgres("pg", &server, &database, OUTBOX);
    let second = Room::open(second).await;
    until_feed(second.session(), "pg", "", "refused").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_says_nothing_any_more_is_left_and_found_again() {
    let server = room::own_postgres(&["-c", "wal_sender_timeout=1s"]).await;
    let database = proxy::fresh(&server, ORDERS).await;
    let gate = Gate::to(server.host(), server.port()).await;
    let open = gate.open().await;
    let place = Place::new();
    place.write(
        "stores/pg.toml",
        &format!(
            "kind = \"postgres\"\nport = {}\nuser = \"{}\"\npassword = \"{}\"\ndatabase = \"{database}\"\ndeadline = \"3s\"\n{LOG}",
            gate.port(),
            server.user(),
            server.password()
        ),
    );
    let room = Room::open(place).await;
    until_streaming(room.session(), "pg", &BOTH).await;
    open.freeze();
    until_feed(room.session(), "pg", "", "waiting").await;
    let mut native = Native::Postgres(proxy::direct(&server, &database).await);
    native.run("INSERT INTO orders VALUES (1, 'in the dark')").await;
    open.shut().await;
    let _open = gate.open().await;
    let rows = until_told(room.session(), ("pg", SHOWN), 1).await;
    assert_eq!(rows, ["insert|orders|1|in the dark"]);
    assert_eq!(barriers(room.session(), "pg").await, Vec::<String>::new());
}

/// Goes on to other files of the server's log, and lets it remove old ones.
async fn fill_log(native: &mut Native) {
    for _ in 0..4 {
        native.run("INSERT INTO notes VALUES (-1, 'ballast')").await;
        native.run("DELETE FROM notes WHERE id = -1").await;
        native.run("SELECT pg_switch_wal()").await;
        native.run("CHECKPOINT").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_whose_log_the_server_has_removed_leaves_a_gap() {
    let arguments = ["max_slot_wal_keep_size=16MB", "min_wal_size=32MB", "max_wal_size=32MB"].map(|setting| ["-c", setting]);
    let server = room::own_postgres(&arguments.concat()).await;
    let (mut room, mut native) = room::on_postgres(&server, ORDERS, LOG, &BOTH).await;
    native.run("INSERT INTO orders VALUES (1, 'told')").await;
    until_told(room.session(), ("pg", SHOWN), 1).await;
    let slot = slot(&room).await;
    room.stop().await;
    released(&mut native, &slot).await;
    native.run("INSERT INTO orders VALUES (2, 'lost')").await;
    let is_lost = format!("SELECT wal_status FROM pg_replication_slots WHERE slot_name = '{slot}'");
    let lost = async || {
        fill_log(&mut native).await;
        (text(&mut native, &is_lost).await == "lost").then_some(())
    };
    eventually("the end of the slot's log", lost).await;
    room.start().await;
    until_streaming(room.session(), "pg", &BOTH).await;
    until_barrier(room.session(), "pg", &["gap", "removed log"]).await;
    native.run("INSERT INTO orders VALUES (3, 'told again')").await;
    assert_gap(&room).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_server_under_the_same_address_is_a_gap() {
    let (mut room, mut native) = room::of_postgres(ORDERS, LOG, &BOTH).await;
    native.run("INSERT INTO orders VALUES (1, 'told')").await;
    until_told(room.session(), ("pg", SHOWN), 1).await;
    room.stop().await;
    let second = room::own_postgres(&[]).await;
    let database = proxy::fresh(&second, ORDERS).await;
    let mut native = Native::Postgres(proxy::direct(&second, &database).await);
    native.run("INSERT INTO orders VALUES (2, 'lost')").await;
    room.place.postgres("pg", &second, &database, LOG);
    room.start().await;
    until_streaming(room.session(), "pg", &BOTH).await;
    until_barrier(room.session(), "pg", &["gap"]).await;
    native.run("INSERT INTO orders VALUES (3, 'told again')").await;
    assert_gap(&room).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_brought_back_in_an_older_state_leaves_a_gap() {
    let mut server = room::own_postgres(&[]).await;
    let (mut room, mut native) = room::on_postgres(&server, ORDERS, LOG, &BOTH).await;
    let database = text(&mut native, "SELECT current_database()::text").await;
    native.run("INSERT INTO orders VALUES (1, 'told')").await;
    until_told(room.session(), ("pg", SHOWN), 1).await;
    room.stop().await;
    let data = text(&mut native, "SHOW data_directory").await;
    native.run("CHECKPOINT").await;
    drop(native);
    server.kill().await.unwrap();
    let copied = format!("{data}.before");
    copy(&data, &copied);
    server.again().await.unwrap();
    room.start().await;
    until_streaming(room.session(), "pg", &BOTH).await;
    let mut native = Native::Postgres(proxy::direct(&server, &database).await);
    fill_log(&mut native).await;
    native.run("INSERT INTO orders VALUES (7, 'told, and lost by the server')").await;
    let last = async || told(room.session(), "pg", SHOWN).await.pop().filter(|row| row.contains("|orders|7|"));
    eventually("the last row", last).await;
    room.stop().await;
    drop(native);
    server.kill().await.unwrap();
    std::fs::remove_dir_all(&data).unwrap();
    copy(&copied, &data);
    server.again().await.unwrap();
    room.start().await;
    until_streaming(room.session(), "pg", &BOTH).await;
    until_barrier(room.session(), "pg", &["gap"]).await;
    let mut native = Native::Postgres(proxy::direct(&server, &database).await);
    native.run("INSERT INTO orders VALUES (3, 'told again')").await;
    assert_gap(&room).await;
}

/// Copies a directory with the owners of its files.
fn copy(from: &str, to: &str) {
    assert!(std::process::Command::new("cp").args(["-a", from, to]).status().unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_cannot_be_shown_stops_its_table_alone() {
    let tables = "CREATE TABLE days (id bigint PRIMARY KEY, v timestamp); CREATE TABLE notes (id bigint PRIMARY KEY, v text)";
    let (room, mut native) = room::of_postgres(tables, LOG, &["days", "notes"]).await;
    for (id, value) in [(1, "2024-02-29"), (2, "294276-12-31 23:59:59"), (3, "2024-02-29")] {
        native.run(&format!("INSERT INTO days VALUES ({id}, '{value}')")).await;
    }
    native.run("INSERT INTO notes VALUES (1, 'told')").await;
    let reason = until_feed(room.session(), "pg", "days", "store-only").await;
    assert!(!reason.contains("294276"), "a value is told: {reason}");
    let last = async || told(room.session(), "pg", SHOWN).await.pop().filter(|row| row == "insert|notes|1|told");
    eventually("the other table's change", last).await;
    let rows = told(room.session(), "pg", SHOWN).await;
    assert!(rows[0].starts_with("insert|days|1|") && !rows.iter().any(|row| row.starts_with("insert|days|3|")), "{rows:?}");
    assert!(barriers(room.session(), "pg").await.iter().any(|row| row.starts_with("stopped|days|")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_larger_than_a_file_of_the_log_is_told_whole() {
    let (mut room, mut native) = room::of_postgres(ORDERS, LOG, &BOTH).await;
    let big = 20 << 20;
    native.run(&format!("INSERT INTO orders VALUES (1, repeat('x', {big})); INSERT INTO notes VALUES (1, 'behind')")).await;
    let shown = "op, table_name, length(new->>'v')";
    let expected = [format!("insert|orders|{big}"), "insert|notes|6".to_owned()];
    assert_eq!(until_told(room.session(), ("pg", shown), 2).await, expected);
    room.stop().await;
    room.start().await;
    assert_eq!(until_told(room.session(), ("pg", shown), 2).await, expected);
}

/// Two tables of a role that owns nothing else, one of them in a schema of somebody else's, and their server's owner.
async fn of_a_role(lines: &str) -> (Room, Native, String) {
    let server = room::postgres().await;
    let database = proxy::fresh(server, "CREATE SCHEMA aud").await;
    let role = format!("feeder_of_{database}");
    let mut owner = Native::Postgres(proxy::direct(server, &database).await);
    let tables = "CREATE TABLE orders (id bigint PRIMARY KEY, v text); CREATE TABLE aud.notes (id bigint PRIMARY KEY, v text); \
        CREATE TABLE moved (id bigint PRIMARY KEY, v text)";
    owner
        .run(&format!(
            "CREATE ROLE \"{role}\" LOGIN REPLICATION PASSWORD 'secret'; GRANT CREATE ON DATABASE \"{database}\" TO \"{role}\"; \
             GRANT USAGE, CREATE ON SCHEMA aud, public TO \"{role}\"; SET ROLE \"{role}\"; {tables}; RESET ROLE"
        ))
        .await;
    let place = Place::new();
    let port = server.port();
    let file = format!("kind = \"postgres\"\nport = {port}\nuser = \"{role}\"\npassword = \"secret\"\ndatabase = \"{database}\"\n");
    place.write("stores/pg.toml", &format!("{file}{lines}"));
    let room = Room::open(place).await;
    until_streaming(room.session(), "pg", &["orders", "notes", "moved"]).await;
    (room, owner, role)
}

/// A right that is taken away ends the feed of that table alone, and the table is followed again when it is given back.
async fn assert_rights_are_of_tables(lines: &str) {
    let (mut room, mut owner, role) = of_a_role(lines).await;
    owner.run("INSERT INTO orders VALUES (1, 'a'); INSERT INTO aud.notes VALUES (1, 'a'); INSERT INTO moved VALUES (1, 'a')").await;
    until_told(room.session(), ("pg", SHOWN), 3).await;
    room.stop().await;
    owner.run(&format!("REVOKE USAGE ON SCHEMA aud FROM \"{role}\"; ALTER TABLE moved OWNER TO CURRENT_USER")).await;
    owner.run(&format!("GRANT SELECT ON moved TO \"{role}\"")).await;
    room.start().await;
    until_streaming(room.session(), "pg", &["orders"]).await;
    let reason = until_feed(room.session(), "pg", "moved", "store-only").await;
    assert!(reason.contains("not owned"), "{reason}");
    owner.run("INSERT INTO moved VALUES (2, 'b'); INSERT INTO aud.notes VALUES (2, 'b'); INSERT INTO orders VALUES (2, 'b')").await;
    let second =
        async || Some(told(room.session(), "pg", SHOWN).await).filter(|rows| rows.contains(&"insert|orders|2|b".to_owned()));
    let rows = eventually("the change of the table that stays", second).await;
    assert_eq!(rows.iter().filter(|row| row.ends_with("|2|b")).count(), 1, "{rows:?}");
    owner.run(&format!("GRANT USAGE ON SCHEMA aud TO \"{role}\"")).await;
    room.session().answer("CALL tributary.refresh('pg')").await;
    until_streaming(room.session(), "pg", &["notes"]).await;
    // Of a table with triggers, rows are told from the barrier on that follows when it was taken up.
    let mut number = 3;
    let last = async || {
        owner.run(&format!("INSERT INTO aud.notes VALUES ({number}, 'c')")).await;
        number += 1;
        told(room.session(), "pg", SHOWN).await.into_iter().find(|row| row.starts_with("insert|notes|") && row.ends_with("|c"))
    };
    eventually("a change of the table that came back", last).await;
    let rows = told(room.session(), "pg", SHOWN).await;
    let came_back = rows.iter().rposition(|row| row.starts_with("reshaped|notes")).unwrap();
    assert!(rows[..came_back].iter().all(|row| !row.ends_with("|c")), "{rows:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_that_is_taken_away_stops_its_table_alone() {
    assert_rights_are_of_tables(LOG).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_that_is_taken_away_stops_its_table_alone_also_with_triggers() {
    assert_rights_are_of_tables(OUTBOX).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn triggers_are_removed_with_the_feed_and_one_that_comes_back_begins_behind_a_gap() {
    let (room, mut native) = room::of_postgres(ORDERS, OUTBOX, &BOTH).await;
    native.run("INSERT INTO orders VALUES (1, 'told')").await;
    until_told(room.session(), ("pg", SHOWN), 1).await;
    let database = text(&mut native, "SELECT current_database()::text").await;
    room.place.postgres("pg", room::postgres().await, &database, "");
    room.server().reload().await.unwrap();
    let left = "SELECT ((SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'tributary%') \
        + (SELECT count(*) FROM pg_class WHERE relname LIKE 'tributary%') \
        + (SELECT count(*) FROM pg_proc WHERE proname LIKE 'tributary%'))::text";
    eventually("the end of the triggers", async || (text(&mut native, left).await == "0").then_some(())).await;
    native.run("INSERT INTO orders VALUES (2, 'lost')").await;
    room.place.postgres("pg", room::postgres().await, &database, OUTBOX);
    room.server().reload().await.unwrap();
    until_streaming(room.session(), "pg", &BOTH).await;
    until_barrier(room.session(), "pg", &["gap"]).await;
    native.run("INSERT INTO orders VALUES (3, 'told again')").await;
    assert_gap(&room).await;
}
