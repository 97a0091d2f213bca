//! Faults of SQLite's feed, and what is told of each.

use std::path::{Path, PathBuf};

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, Connection};

use super::eventually;
use super::follow::{Live, barriers, told, until_barrier, until_feed, until_streaming, until_told};
use super::room::{self, LOG, OUTBOX, Room};
use crate::support::proxy::{self, OWNER, Place, sqlite};

const ORDERS: &str = "CREATE TABLE orders (id INTEGER PRIMARY KEY, v TEXT); CREATE TABLE notes (id INTEGER PRIMARY KEY, v TEXT)";
const BOTH: [&str; 2] = ["orders", "notes"];
const SHOWN: &str = "op, table_name, key->>'id', new->>'v'";

/// A number of the file.
async fn count(place: &Place, sql: &str) -> i64 {
    let options = SqliteConnectOptions::new().filename(place.path().join("file.db"));
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    let found = sqlx::query_scalar(AssertSqlSafe(sql.to_owned())).fetch_one(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_are_told_in_order_and_leave_the_file_once_they_are_durable() {
    let (room, mut native) = room::of_sqlite(ORDERS, OUTBOX, &BOTH).await;
    native.run("BEGIN; INSERT INTO orders VALUES (1, 'a'), (2, 'b'); UPDATE orders SET id = 3 WHERE id = 2; COMMIT").await;
    native.run("BEGIN; INSERT INTO orders VALUES (9, 'undone'); ROLLBACK").await;
    native.run("DELETE FROM orders WHERE id = 1; REPLACE INTO orders VALUES (3, 'c')").await;
    let rows = until_told(room.session(), ("file", "table_name, key->>'id', old->>'id', new->>'v'"), 5).await;
    assert_eq!(rows, ["orders|1|~|a", "orders|2|~|b", "orders|3|2|b", "orders|1|1|~", "orders|3|~|c"]);
    let left = "SELECT count(*) FROM tributary_changes";
    eventually("an empty table", async || (count(&room.place, left).await == 0).then_some(())).await;
    // The file says nothing else to whoever writes to it.
    assert_eq!(count(&room.place, "SELECT count(*) FROM orders").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_while_nobody_is_there_are_told_later_and_past_the_bound_there_is_a_gap() {
    let lines = format!("{OUTBOX}changes.max_retained = \"16MiB\"\n");
    let (mut room, mut native) = room::of_sqlite(ORDERS, &lines, &BOTH).await;
    room.stop().await;
    native.run("INSERT INTO notes VALUES (1, 'later')").await;
    room.start().await;
    assert_eq!(until_told(room.session(), ("file", SHOWN), 1).await[0].split_once('|').unwrap().1, "notes|1|later");
    room.stop().await;
    let many = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 17000) \
        INSERT INTO orders SELECT i, hex(zeroblob(512)) FROM n";
    // Whoever writes is not told of it.
    native.run(many).await;
    assert_eq!(count(&room.place, "SELECT count(*) FROM orders").await, 17_000);
    assert!(count(&room.place, "SELECT count(*) FROM tributary_changes").await <= 16_384);
    room.start().await;
    until_streaming(room.session(), "file", &BOTH).await;
    until_barrier(room.session(), "file", &["gap"]).await;
    native.run("INSERT INTO notes VALUES (2, 'told again')").await;
    let last = async || told(room.session(), "file", SHOWN).await.pop().filter(|row| row.ends_with("|notes|2|told again"));
    eventually("the row behind the gap", last).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_replaced_leaves_a_gap() {
    let (mut room, mut native) = room::of_sqlite(ORDERS, OUTBOX, &BOTH).await;
    native.run("INSERT INTO orders VALUES (1, 'of the first')").await;
    until_told(room.session(), ("file", SHOWN), 1).await;
    room.stop().await;
    drop(native);
    let path = room.place.path().join("file.db");
    std::fs::remove_file(&path).unwrap();
    sqlite(&path, ORDERS).await;
    room.start().await;
    until_streaming(room.session(), "file", &BOTH).await;
    until_barrier(room.session(), "file", &["gap"]).await;
    let mut native = room::in_file(&room.place).await;
    native.run("INSERT INTO orders VALUES (1, 'of the second')").await;
    let last = async || told(room.session(), "file", SHOWN).await.pop().filter(|row| row.ends_with("|orders|1|of the second"));
    eventually("the row of the second file", last).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_changes_is_followed_in_its_new_shape() {
    let (room, mut native) = room::of_sqlite(ORDERS, OUTBOX, &BOTH).await;
    native.run("INSERT INTO orders VALUES (1, 'a'); ALTER TABLE orders ADD COLUMN w INTEGER").await;
    let mut id = 1;
    let shown = "table_name, key->>'id', new->>'v', new->>'w'";
    let later = async || {
        id += 1;
        native.run(&format!("INSERT INTO orders VALUES ({id}, 'c', 6)")).await;
        let rows = told(room.session(), "file", shown).await;
        rows.iter().any(|row| row.ends_with("|c|6")).then_some(rows)
    };
    let rows = eventually("a row of the new shape", later).await;
    assert_eq!(rows[0], "orders|1|a|~");
    // One that is dropped and made again has lost its triggers, and gets new ones.
    native.run("DROP TABLE notes; CREATE TABLE notes (id INTEGER PRIMARY KEY, v TEXT)").await;
    let mut id = 0;
    let again = async || {
        id += 1;
        native.run(&format!("INSERT INTO notes VALUES ({id}, 'of the second')")).await;
        told(room.session(), "file", SHOWN).await.iter().any(|row| row.ends_with("|of the second")).then_some(())
    };
    eventually("a row of the table that was made again", again).await;
    assert!(barriers(room.session(), "file").await.iter().any(|row| row.contains("|notes|")));
}

#[tokio::test(flavor = "multi_thread")]
async fn files_and_tables_that_cannot_be_followed_say_why() {
    let statements = format!("{ORDERS}; CREATE TABLE keyless (v TEXT)");
    let (room, _native) = room::of_sqlite(&statements, OUTBOX, &BOTH).await;
    let reason = until_feed(room.session(), "file", "keyless", "store-only").await;
    assert!(reason.contains("key"), "{reason}");
    // Another Tributary would take its rows away.
    let second = Place::new();
    let path = room.place.path().join("file.db");
    second.write("stores/file.toml", &format!("kind = \"sqlite\"\npath = \"{}\"\n{OUTBOX}", path.display()));
    let second = Room::open(second).await;
    until_feed(second.session(), "file", "", "refused").await;
    let mend = second.session().answer("SELECT mend FROM tributary.feeds WHERE table_name IS NULL").await;
    assert!(!mend.is_empty() && mend != "~", "{mend}");
    // Nor can be written to what is read only.
    let third = Place::new();
    third.sqlite_with("file", ORDERS, &format!("read_only = true\n{OUTBOX}")).await;
    let third = Room::open(third).await;
    until_feed(third.session(), "file", "", "refused").await;
    // A file has no log of its own, which is told before anything is served.
    third.place.write("stores/file.toml", &format!("kind = \"sqlite\"\npath = \"file.db\"\n{LOG}"));
    assert!(third.server().reload().await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_cannot_be_shown_stops_its_table_alone() {
    let tables = "CREATE TABLE days (id INTEGER PRIMARY KEY, v DATE); CREATE TABLE notes (id INTEGER PRIMARY KEY, v TEXT)";
    let (room, mut native) = room::of_sqlite(tables, OUTBOX, &["days", "notes"]).await;
    native.run("INSERT INTO days VALUES (1, '2024-02-29'); INSERT INTO days VALUES (2, 'secret'); INSERT INTO notes VALUES (1, 'told')").await;
    let reason = until_feed(room.session(), "file", "days", "store-only").await;
    assert!(!reason.contains("secret"), "a value is told: {reason}");
    let last = async || told(room.session(), "file", SHOWN).await.iter().any(|row| row.ends_with("|notes|1|told")).then_some(());
    eventually("the other table's change", last).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_rows_and_emptied_tables_are_told_row_by_row() {
    let (mut room, mut native) = room::of_sqlite(ORDERS, OUTBOX, &BOTH).await;
    native.run("INSERT INTO notes VALUES (1, 'a'), (2, 'b'), (3, 'c'); DELETE FROM notes").await;
    let rows = until_told(room.session(), ("file", "op, table_name, key->>'id'"), 6).await;
    let deleted: Vec<&str> = rows.iter().filter_map(|row| row.strip_prefix("delete|notes|")).collect();
    assert_eq!(deleted, ["1", "2", "3"], "{rows:?}");
    // One that is larger than a file of the log.
    let half = 10 << 20;
    native.run(&format!("INSERT INTO orders VALUES (1, hex(zeroblob({half}))); INSERT INTO notes VALUES (4, 'behind')")).await;
    let shown = "table_name, length(new->>'v')";
    let expected = [format!("orders|{}", 2 * half), "notes|6".to_owned()];
    assert_eq!(until_told(room.session(), ("file", shown), 8).await[6..], expected);
    room.stop().await;
    room.start().await;
    assert_eq!(until_told(room.session(), ("file", shown), 8).await[6..], expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_copy_of_a_file_leaves_a_gap() {
    let (mut room, mut native) = room::of_sqlite(ORDERS, OUTBOX, &BOTH).await;
    native.run("INSERT INTO orders VALUES (1, 'told')").await;
    until_told(room.session(), ("file", SHOWN), 1).await;
    eventually("an empty table", async || (count(&room.place, "SELECT count(*) FROM tributary_changes").await == 0).then_some(()))
        .await;
    room.stop().await;
    let (path, copy) = (room.place.path().join("file.db"), room.place.path().join("copy.db"));
    std::fs::copy(&path, &copy).unwrap();
    room.start().await;
    until_streaming(room.session(), "file", &BOTH).await;
    native.run("INSERT INTO orders VALUES (2, 'told, and lost by the file')").await;
    until_told(room.session(), ("file", SHOWN), 2).await;
    room.stop().await;
    drop(native);
    std::fs::rename(&copy, &path).unwrap();
    room.start().await;
    until_streaming(room.session(), "file", &BOTH).await;
    until_barrier(room.session(), "file", &["gap"]).await;
    let mut native = room::in_file(&room.place).await;
    native.run("INSERT INTO orders VALUES (3, 'told again')").await;
    let last = async || told(room.session(), "file", SHOWN).await.pop().filter(|row| row.ends_with("|orders|3|told again"));
    eventually("the row behind the gap", last).await;
}

/// The files of the log of the store, in their order.
fn log_files(place: &Place) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(place.path().join(".state/changes/file")).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// One bit of a file is another one.
fn flip(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[at] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

/// Waits until all that was told is on disk, behind which the file forgets it.
async fn until_durable(place: &Place) {
    let left = "SELECT count(*) FROM tributary_changes";
    eventually("an empty table", async || (count(place, left).await == 0).then_some(())).await;
}

/// How a subscription ends that begins behind a place.
async fn ends(room: &Room, position: &str) -> String {
    let client = proxy::connect(room.server(), OWNER).await;
    let mut live = Live::start(&client, &format!("SUBSCRIBE TO file.orders FROM '{position}'")).await;
    live.failure().await.code
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_part_of_the_log_that_is_damaged_is_gone_and_nothing_else() {
    let (mut room, mut native) = room::of_sqlite(ORDERS, OUTBOX, &BOTH).await;
    // Each start begins a file.
    for id in [1, 2] {
        native.run(&format!("INSERT INTO orders VALUES ({id}, 'a')")).await;
        until_told(room.session(), ("file", SHOWN), id).await;
        room.stop().await;
        room.start().await;
        until_streaming(room.session(), "file", &BOTH).await;
    }
    let position = told(room.session(), "file", "position").await.remove(0);
    room.stop().await;
    let files = log_files(&room.place);
    assert!(files.len() >= 3, "{files:?}");
    flip(&files[0], 20);
    room.start().await;
    until_streaming(room.session(), "file", &BOTH).await;
    native.run("INSERT INTO orders VALUES (3, 'a')").await;
    let last = async || told(room.session(), "file", "key->>'id'").await.contains(&"3".to_owned()).then_some(());
    eventually("the next row", last).await;
    assert_eq!(told(room.session(), "file", "key->>'id'").await, ["2", "3"]);
    // Whoever has seen the first row and no more begins at the second, which is there; whoever has seen none starts over.
    let first = format!("{}-0000000000000000-00000000-00000000", &position[..8]);
    assert_eq!(ends(&room, &first).await, "55000");
    assert_eq!(barriers(room.session(), "file").await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_in_the_middle_ends_the_log_there_and_leaves_a_gap() {
    let (mut room, mut native) = room::of_sqlite(ORDERS, OUTBOX, &BOTH).await;
    native.run("INSERT INTO orders VALUES (1, 'before')").await;
    until_told(room.session(), ("file", SHOWN), 1).await;
    until_durable(&room.place).await;
    let file = log_files(&room.place).pop().unwrap();
    let behind_one = usize::try_from(std::fs::metadata(&file).unwrap().len()).unwrap();
    native.run("INSERT INTO orders VALUES (2, 'damaged')").await;
    until_told(room.session(), ("file", SHOWN), 2).await;
    until_durable(&room.place).await;
    native.run("INSERT INTO orders VALUES (3, 'behind it')").await;
    until_told(room.session(), ("file", SHOWN), 3).await;
    until_durable(&room.place).await;
    let position = told(room.session(), "file", "position").await.pop().unwrap();
    room.stop().await;
    // In the frame behind the first row, or in the note of a place that stands there.
    flip(&file, behind_one + 40);
    room.start().await;
    until_streaming(room.session(), "file", &BOTH).await;
    until_barrier(room.session(), "file", &["gap"]).await;
    native.run("INSERT INTO orders VALUES (4, 'told again')").await;
    let last = async || told(room.session(), "file", SHOWN).await.iter().any(|row| row.ends_with("|4|told again")).then_some(());
    eventually("the row behind the gap", last).await;
    let rows = told(room.session(), "file", "key->>'id'").await;
    assert_eq!((rows[0].as_str(), rows.contains(&"3".to_owned())), ("1", false), "{rows:?}");
    assert_eq!(ends(&room, &position).await, "55000");
}
