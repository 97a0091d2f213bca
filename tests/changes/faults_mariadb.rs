//! Faults of MariaDB's feed, and what is told of each.

use super::eventually;
use super::follow::{Live, barriers, told, until_barrier, until_feed, until_streaming, until_told};
use super::native::Native;
use super::room::{self, LOG, Room};
use crate::support::gate::Gate;
use crate::support::proxy::{self, OWNER, Place};

const ORDERS: &str = "CREATE TABLE orders (id bigint PRIMARY KEY, v text); CREATE TABLE notes (id bigint PRIMARY KEY, v text)";
const BOTH: [&str; 2] = ["orders", "notes"];
const SHOWN: &str = "op, table_name, key->>'id', new->>'v'";

#[tokio::test(flavor = "multi_thread")]
async fn what_is_prepared_is_told_when_it_is_committed_also_over_a_restart() {
    let (mut room, mut native) = room::of_mariadb(ORDERS, LOG, &BOTH).await;
    let name = format!("x{:016x}", rand::random::<u64>());
    native
        .run(&format!("XA START '{name}'; INSERT INTO orders VALUES (1, 'prepared'); XA END '{name}'; XA PREPARE '{name}'"))
        .await;
    let (_other, mut other) = room::of_mariadb(ORDERS, LOG, &BOTH).await;
    // A connection that has prepared does nothing else before it has ended that.
    native.run(&format!("XA COMMIT '{name}'")).await;
    native.run(&format!("XA START '{name}'; INSERT INTO orders VALUES (2, 'undone'); XA END '{name}'; XA PREPARE '{name}'")).await;
    native.run(&format!("XA ROLLBACK '{name}'")).await;
    native
        .run(&format!("XA START '{name}'; INSERT INTO orders VALUES (3, 'over a restart'); XA END '{name}'; XA PREPARE '{name}'"))
        .await;
    let rows = until_told(room.session(), ("maria", SHOWN), 1).await;
    assert_eq!(rows, ["insert|orders|1|prepared"]);
    other.run("INSERT INTO orders VALUES (1, 'of another database')").await;
    room.stop().await;
    native.run(&format!("XA COMMIT '{name}'; INSERT INTO orders VALUES (4, 'last')")).await;
    room.start().await;
    let rows = until_told(room.session(), ("maria", SHOWN), 3).await;
    let expected = ["insert|orders|1|prepared", "insert|orders|3|over a restart", "insert|orders|4|last"];
    assert_eq!(rows, expected, "{:?}", barriers(room.session(), "maria").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn truncate_moved_keys_and_undone_parts_are_told_as_they_are() {
    let (room, mut native) = room::of_mariadb(ORDERS, LOG, &BOTH).await;
    native.run("INSERT INTO orders VALUES (1, 'a'), (2, 'b'); UPDATE orders SET id = 3 WHERE id = 2").await;
    native.run("BEGIN; INSERT INTO notes VALUES (1, 'a'); SAVEPOINT s; INSERT INTO notes VALUES (2, 'b'); ROLLBACK TO SAVEPOINT s; COMMIT").await;
    native.run("TRUNCATE TABLE orders; INSERT INTO notes VALUES (5, 'behind')").await;
    let shown = "op, table_name, key->>'id', old->>'id', new->>'v'";
    let rows = until_told(room.session(), ("maria", shown), 6).await;
    assert_eq!(rows[..3], ["insert|orders|1|~|a", "insert|orders|2|~|b", "update|orders|3|2|b"].map(str::to_owned));
    assert_eq!(rows[3], "insert|notes|1|~|a");
    assert!(rows[4].starts_with("truncate|orders|"), "{rows:?}");
    assert_eq!((rows[5].as_str(), rows.len()), ("insert|notes|5|~|behind", 6));
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_behind_a_new_column_have_it() {
    let (room, mut native) = room::of_mariadb(ORDERS, LOG, &BOTH).await;
    native
        .run("INSERT INTO orders VALUES (1, 'a'); ALTER TABLE orders ADD COLUMN w int; INSERT INTO orders VALUES (2, 'b', 5)")
        .await;
    let mut id = 2;
    let shown = "op, table_name, key->>'id', new->>'v', new->>'w'";
    let later = async || {
        id += 1;
        native.run(&format!("INSERT INTO orders VALUES ({id}, 'c', 6); INSERT INTO notes VALUES ({id}, 'x')")).await;
        let rows = told(room.session(), "maria", shown).await;
        rows.iter().any(|row| row.starts_with("insert|orders|") && row.ends_with("|c|6")).then_some(rows)
    };
    let rows = eventually("a row of the new shape", later).await;
    assert_eq!(rows[0], "insert|orders|1|a|~");
    assert!(rows.iter().any(|row| row == "insert|notes|3|x|~"), "{rows:?}");
    assert!(barriers(room.session(), "maria").await.iter().any(|row| row.contains("|orders|")));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_begins_when_an_altered_table_was_looked_at_is_not_broken_by_its_next_row() {
    let (room, mut native) = room::of_mariadb(ORDERS, LOG, &BOTH).await;
    native
        .run("INSERT INTO orders VALUES (1, 'a'); ALTER TABLE orders ADD COLUMN w int; INSERT INTO orders VALUES (2, 'b', 5)")
        .await;
    // The row may come before or behind the look.
    let looked = async || {
        let all = barriers(room.session(), "maria").await;
        let is_looked = |row: &String| row.contains("from here on") || row.contains("other columns or another key now");
        all.into_iter().any(|row| row.starts_with("reshaped|orders|") && is_looked(&row)).then_some(())
    };
    eventually("a look at the table", looked).await;
    until_feed(room.session(), "maria", "orders", "streaming").await;
    let client = proxy::connect(room.server(), OWNER).await;
    let mut live = Live::start(&client, "SUBSCRIBE TO maria.orders WITH SNAPSHOT").await;
    while !live.next().await.unwrap().starts_with("snapshot_end|") {}
    let before = barriers(room.session(), "maria").await;
    native.run("INSERT INTO orders VALUES (3, 'c', 6)").await;
    assert!(live.next().await.unwrap().ends_with("|3|c|6"));
    assert_eq!(barriers(room.session(), "maria").await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_that_cannot_be_followed_say_why() {
    let statements = format!(
        "{ORDERS}; CREATE TABLE keyless (v text); CREATE TABLE other_engine (id int PRIMARY KEY) ENGINE = MyISAM; \
         CREATE TABLE parents (id int PRIMARY KEY); CREATE TABLE children (id int PRIMARY KEY, parent int, \
         FOREIGN KEY (parent) REFERENCES parents (id) ON DELETE CASCADE)"
    );
    let (room, mut native) = room::of_mariadb(&statements, LOG, &["orders", "notes", "parents"]).await;
    for (table, word) in [("keyless", "key"), ("other_engine", "MyISAM"), ("children", "foreign key")] {
        let reason = until_feed(room.session(), "maria", table, "store-only").await;
        assert!(reason.to_lowercase().contains(&word.to_lowercase()), "{table}: {reason}");
    }
    // The changes of a cascade are in nobody's log, and are told of nobody.
    native.run("INSERT INTO parents VALUES (1); INSERT INTO children VALUES (1, 1); DELETE FROM parents").await;
    let rows = until_told(room.session(), ("maria", "op, table_name, key->>'id'"), 2).await;
    assert_eq!(rows, ["insert|parents|1", "delete|parents|1"]);
}

/// A statement does not tell what it changes through views and triggers, which are of its database as a rule.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_was_logged_as_its_statement_stops_the_tables_of_its_database_until_they_are_looked_at() {
    let (room, mut native) = room::of_mariadb(ORDERS, LOG, &BOTH).await;
    native.run("INSERT INTO orders VALUES (1, 'a'); INSERT INTO notes VALUES (1, 'a')").await;
    native
        .run("SET SESSION binlog_format = STATEMENT; UPDATE orders SET v = 'as a statement'; SET SESSION binlog_format = ROW")
        .await;
    for table in BOTH {
        until_barrier(room.session(), "maria", &[&format!("stopped|{table}|"), "statement format"]).await;
        until_barrier(room.session(), "maria", &[&format!("reshaped|{table}|")]).await;
    }
    native.run("INSERT INTO orders VALUES (2, 'b'); INSERT INTO notes VALUES (2, 'b')").await;
    until_last(&room, "insert|notes|2|b").await;
    let told = told(room.session(), "maria", SHOWN).await;
    let at = |wanted: &str| told.iter().position(|row| row.starts_with(wanted)).unwrap_or_else(|| panic!("{wanted}: {told:?}"));
    for table in BOTH {
        let places = ["insert|@|1|a", "stopped|@|", "reshaped|@|", "insert|@|2|b"].map(|row| at(&row.replace('@', table)));
        assert!(places.is_sorted(), "{told:?}");
    }
    assert!(!told.iter().any(|row| row.starts_with("gap|") || row.ends_with("|as a statement")), "{told:?}");
    for table in BOTH {
        until_feed(room.session(), "maria", table, "streaming").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_cannot_be_shown_stops_its_table_alone() {
    let tables = "CREATE TABLE days (id bigint PRIMARY KEY, v date); CREATE TABLE notes (id bigint PRIMARY KEY, v text)";
    let (room, mut native) = room::of_mariadb(tables, LOG, &["days", "notes"]).await;
    let days = "INSERT INTO days VALUES (1, '2024-02-29'); INSERT INTO days VALUES (2, '2024-02-31')";
    native.run(&format!("SET sql_mode = 'ALLOW_INVALID_DATES'; {days}")).await;
    native.run("INSERT INTO notes VALUES (1, 'told')").await;
    let reason = until_feed(room.session(), "maria", "days", "store-only").await;
    assert!(!reason.contains("2024"), "a value is told: {reason}");
    let last = async || told(room.session(), "maria", SHOWN).await.pop().filter(|row| row == "insert|notes|1|told");
    eventually("the other table's change", last).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_are_compressed_are_read_and_a_purged_log_leaves_a_gap() {
    let arguments = ["--log-bin-compress=1", "--log-bin-compress-min-len=10"];
    let server = room::own_mariadb(&arguments).await;
    let (mut room, mut native) = room::on_mariadb(&server, ORDERS, LOG, &BOTH).await;
    native
        .run("INSERT INTO orders VALUES (1, repeat('x', 5000)); UPDATE orders SET v = repeat('y', 5000); DELETE FROM orders")
        .await;
    let rows = until_told(room.session(), ("maria", "op, key->>'id', length(new->>'v')"), 3).await;
    assert_eq!(rows, ["insert|1|5000", "update|1|5000", "delete|1|~"]);
    room.stop().await;
    native.run("INSERT INTO orders VALUES (2, 'lost'); FLUSH BINARY LOGS; FLUSH BINARY LOGS").await;
    purge(&mut native).await;
    room.start().await;
    until_streaming(room.session(), "maria", &BOTH).await;
    until_barrier(room.session(), "maria", &["gap"]).await;
    native.run("INSERT INTO orders VALUES (3, 'told again')").await;
    let last = async || told(room.session(), "maria", SHOWN).await.pop().filter(|row| row == "insert|orders|3|told again");
    eventually("the row behind the gap", last).await;
    let rows = told(room.session(), "maria", SHOWN).await;
    assert!(!rows.iter().any(|row| row.ends_with("|lost")), "{rows:?}");
}

/// Drops every file of the log but the newest, once nobody reads from them.
async fn purge(native: &mut Native) {
    let Native::MariaDb(connection) = native else { panic!("this is no MariaDB") };
    let newest = async || {
        let files = sqlx::raw_sql("SHOW BINARY LOGS").fetch_all(&mut *connection).await.unwrap();
        let names: Vec<String> = files.iter().map(|row| sqlx::Row::get::<String, _>(row, 0)).collect();
        let purge = format!("PURGE BINARY LOGS TO '{}'", names.last().unwrap());
        sqlx::raw_sql(sqlx::AssertSqlSafe(purge)).execute(&mut *connection).await.unwrap();
        (names.len() == 1).then_some(())
    };
    eventually("a log of one file", newest).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_says_nothing_any_more_is_left_and_found_again() {
    let server = room::mariadb().await;
    let (_beside, mut native) = room::of_mariadb(ORDERS, "", &["gap"]).await;
    let Native::MariaDb(connection) = &mut native else { panic!("this is no MariaDB") };
    let database: String = sqlx::query_scalar("SELECT DATABASE()").fetch_one(&mut *connection).await.unwrap();
    let gate = Gate::to(server.host(), server.port()).await;
    let open = gate.open().await;
    let place = Place::new();
    let login = format!("port = {}\nuser = \"{}\"\npassword = \"{}\"\n", gate.port(), server.user(), server.password());
    place.write(
        "stores/maria.toml",
        &format!(
            "kind = \"mariadb\"\n{login}database = \"{database}\"\nquery_timeout = \"3s\"\n{LOG}changes.tables = [\"{database}.*\"]\n"
        ),
    );
    let room = Room::open(place).await;
    until_streaming(room.session(), "maria", &BOTH).await;
    open.freeze();
    until_feed(room.session(), "maria", "", "waiting").await;
    native.run("INSERT INTO orders VALUES (1, 'in the dark')").await;
    open.shut().await;
    let _open = gate.open().await;
    assert_eq!(until_told(room.session(), ("maria", SHOWN), 1).await, ["insert|orders|1|in the dark"]);
    assert_eq!(barriers(room.session(), "maria").await, Vec::<String>::new());
}

/// The last thing that is told is this row.
async fn until_last(room: &Room, expected: &str) {
    let last = async || told(room.session(), "maria", SHOWN).await.pop().filter(|row| row == expected);
    eventually("the last row", last).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_another_history_and_another_server_leave_gaps() {
    let server = room::own_mariadb(&[]).await;
    let (mut room, mut native) = room::on_mariadb(&server, ORDERS, LOG, &BOTH).await;
    native.run("INSERT INTO orders VALUES (1, 'a')").await;
    until_last(&room, "insert|orders|1|a").await;
    room.stop().await;
    // Its numbers begin anew, once nobody reads from it any more.
    let Native::MariaDb(connection) = &mut native else { panic!("this is no MariaDB") };
    let reset = async || sqlx::raw_sql("RESET MASTER").execute(&mut *connection).await.ok().map(drop);
    eventually("the end of who reads the log", reset).await;
    native.run("INSERT INTO orders VALUES (2, 'lost')").await;
    room.start().await;
    until_streaming(room.session(), "maria", &BOTH).await;
    until_barrier(room.session(), "maria", &["gap", "another history"]).await;
    native.run("INSERT INTO orders VALUES (3, 'told again')").await;
    until_last(&room, "insert|orders|3|told again").await;
    let rows = told(room.session(), "maria", SHOWN).await;
    assert!(!rows.iter().any(|row| row.ends_with("|lost")), "{rows:?}");
    // Another server has the same tables and a history of its own.
    room.stop().await;
    let second = room::own_mariadb(&["--server-id=77"]).await;
    let (_beside, mut native) = room::on_mariadb(&second, ORDERS, "", &BOTH).await;
    let Native::MariaDb(connection) = &mut native else { panic!("this is no MariaDB") };
    let database: String = sqlx::query_scalar("SELECT DATABASE()").fetch_one(&mut *connection).await.unwrap();
    room.place.mariadb("maria", &second, &database, LOG);
    room.start().await;
    until_streaming(room.session(), "maria", &BOTH).await;
    let gaps = async || {
        let all = barriers(room.session(), "maria").await;
        (all.iter().filter(|row| row.starts_with("gap|")).count() == 2).then_some(())
    };
    eventually("the second gap", gaps).await;
    native.run("INSERT INTO orders VALUES (4, 'of the second')").await;
    until_last(&room, "insert|orders|4|of the second").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_begins_anew_under_a_feed_leaves_a_gap() {
    let server = room::own_mariadb(&[]).await;
    let (room, mut native) = room::on_mariadb(&server, ORDERS, LOG, &BOTH).await;
    native.run("INSERT INTO orders VALUES (1, repeat('x', 20000))").await;
    until_told(room.session(), ("maria", "op, table_name, key->>'id'"), 1).await;
    native.run("RESET MASTER; INSERT INTO orders VALUES (2, 'lost')").await;
    until_barrier(room.session(), "maria", &["gap", "another history"]).await;
    until_streaming(room.session(), "maria", &BOTH).await;
    native.run("INSERT INTO orders VALUES (3, 'told again')").await;
    until_last(&room, "insert|orders|3|told again").await;
    let rows = told(room.session(), "maria", SHOWN).await;
    assert!(!rows.iter().any(|row| row.ends_with("|lost")), "{rows:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_loses_its_key_goes_alone_and_comes_back_with_one() {
    let (room, mut native) = room::of_mariadb(ORDERS, LOG, &BOTH).await;
    native.run("INSERT INTO orders VALUES (1, 'a')").await;
    until_last(&room, "insert|orders|1|a").await;
    native.run("ALTER TABLE orders DROP PRIMARY KEY; INSERT INTO orders VALUES (2, 'until it is looked at')").await;
    let reason = until_feed(room.session(), "maria", "orders", "store-only").await;
    assert!(reason.contains("key"), "{reason}");
    until_barrier(room.session(), "maria", &["|orders|"]).await;
    native.run("INSERT INTO orders VALUES (4, 'not told')").await;
    native.run("INSERT INTO notes VALUES (1, 'told')").await;
    until_last(&room, "insert|notes|1|told").await;
    native.run("ALTER TABLE orders ADD PRIMARY KEY (id)").await;
    room.session().answer("CALL tributary.refresh('maria')").await;
    until_feed(room.session(), "maria", "orders", "streaming").await;
    native.run("INSERT INTO orders VALUES (3, 'told again')").await;
    until_last(&room, "insert|orders|3|told again").await;
    let rows = told(room.session(), "maria", SHOWN).await;
    assert!(!rows.iter().any(|row| row.ends_with("|not told")), "{rows:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_key_that_acts_stops_the_table_that_gets_it() {
    let tables =
        "CREATE TABLE parents (id bigint PRIMARY KEY, v text); CREATE TABLE orders (id bigint PRIMARY KEY, v text, parent bigint)";
    let (room, mut native) = room::of_mariadb(tables, LOG, &["parents", "orders"]).await;
    native.run("INSERT INTO parents VALUES (1, 'p'); INSERT INTO orders VALUES (1, 'a', 1)").await;
    until_last(&room, "insert|orders|1|a").await;
    native.run("ALTER TABLE orders ADD FOREIGN KEY (parent) REFERENCES parents (id) ON DELETE CASCADE; DELETE FROM parents").await;
    let reason = until_feed(room.session(), "maria", "orders", "store-only").await;
    assert!(reason.contains("foreign key"), "{reason}");
    until_barrier(room.session(), "maria", &["|orders|"]).await;
    native.run("INSERT INTO orders VALUES (2, 'not told', NULL)").await;
    let mut id = 1;
    let other = async || {
        id += 1;
        native.run(&format!("INSERT INTO parents VALUES ({id}, 'told')")).await;
        told(room.session(), "maria", SHOWN).await.pop().filter(|row| row.starts_with("insert|parents|") && row.ends_with("|told"))
    };
    eventually("the other table's change", other).await;
    let rows = told(room.session(), "maria", SHOWN).await;
    assert!(!rows.iter().any(|row| row.ends_with("|not told")), "{rows:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_lacks_is_told_with_the_statement_that_mends_it() {
    let server = room::own_mariadb(&["--binlog-row-metadata=NO_LOG"]).await;
    let (mut room, mut native) = room::on_mariadb(&server, ORDERS, "", &BOTH).await;
    room.stop().await;
    let Native::MariaDb(connection) = &mut native else { panic!("this is no MariaDB") };
    let database: String = sqlx::query_scalar("SELECT DATABASE()").fetch_one(&mut *connection).await.unwrap();
    room.place.mariadb("maria", &server, &database, LOG);
    room.start().await;
    let reason = until_feed(room.session(), "maria", "", "refused").await;
    assert!(reason.contains("binlog_row_metadata"), "{reason}");
    let mend = room.session().answer("SELECT mend FROM tributary.feeds WHERE store = 'maria' AND table_name IS NULL").await;
    let statement = mend.split(", and").next().unwrap();
    assert_eq!(statement, "SET GLOBAL binlog_row_metadata = 'FULL'");
    // What was done without it cannot be told, what comes can.
    native.run("INSERT INTO orders VALUES (1, 'before')").await;
    native.run(statement).await;
    room.session().answer("CALL tributary.restart_feed('maria')").await;
    until_streaming(room.session(), "maria", &BOTH).await;
    native.run("INSERT INTO orders VALUES (2, 'behind')").await;
    until_last(&room, "insert|orders|2|behind").await;
    assert_eq!(told(room.session(), "maria", SHOWN).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_larger_than_a_packet_of_the_protocol_is_told_whole() {
    let tables = "CREATE TABLE orders (id bigint PRIMARY KEY, v longtext); CREATE TABLE notes (id bigint PRIMARY KEY, v text)";
    let server = room::own_mariadb(&["--max-allowed-packet=64M"]).await;
    let (mut room, mut native) = room::on_mariadb(&server, tables, LOG, &BOTH).await;
    let big = 20 << 20;
    native.run(&format!("INSERT INTO orders VALUES (1, repeat('x', {big})); INSERT INTO notes VALUES (1, 'behind')")).await;
    let shown = "op, table_name, length(new->>'v')";
    let expected = [format!("insert|orders|{big}"), "insert|notes|6".to_owned()];
    assert_eq!(until_told(room.session(), ("maria", shown), 2).await, expected);
    // The log has it too.
    room.stop().await;
    room.start().await;
    assert_eq!(until_told(room.session(), ("maria", shown), 2).await, expected);
}
