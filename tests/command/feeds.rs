//! What `check` says of change feeds, and what `uninstall` removes of them.

use std::path::Path;

use sqlx::{AssertSqlSafe, Connection, Executor};

use super::serving::Serving;
use super::{text, tributary, write};
use crate::changes::follow::until_streaming;
use crate::changes::native::Native;
use crate::changes::room::{self, LOG, OUTBOX};
use crate::support::proxy::{self, Place, sqlite};

const MAIN: &str = "listen = \"127.0.0.1:0\"\nhttp.listen = \"off\"\nauth.trust = true\n[roles.ada]\n";
const ORDERS: &str = "CREATE TABLE orders (id INTEGER PRIMARY KEY, v TEXT); CREATE TABLE keyless (v TEXT)";

/// What a command says, and its exit code.
pub(super) fn said(arguments: &[&str]) -> (String, Option<i32>) {
    let output = tributary(arguments, "");
    (text(&output.stdout) + &text(&output.stderr), output.status.code())
}

fn directory(place: &Place) -> &str {
    place.path().to_str().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn uninstall_removes_what_is_ours_of_a_file_and_check_tells_what_is_left() {
    let (mut room, mut native) = room::of_sqlite(ORDERS, OUTBOX, &["orders"]).await;
    native.run("INSERT INTO orders VALUES (1, 'a')").await;
    until_streaming(room.session(), "file", &["orders"]).await;
    // While somebody follows it, nothing is removed.
    let (told, code) = said(&["uninstall", directory(&room.place), "file"]);
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("changes.mode = \"off\""), "{told}");
    room.stop().await;
    let (told, code) = said(&["uninstall", directory(&room.place), "file", "--dry-run"]);
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("would remove trigger tributary_") && told.contains("DROP TRIGGER"), "{told}");
    let left = "SELECT count(*) FROM sqlite_schema WHERE type = 'trigger'";
    assert_ne!(count(&room.place, left).await, 0);
    // Switched off, it is told by check with what removes it, and found all the same.
    let off = "kind = \"sqlite\"\npath = \"file.db\"\n";
    room.place.write("stores/file.toml", off);
    let (told, _) = said(&["check", directory(&room.place)]);
    assert!(told.contains("DROP TRIGGER"), "{told}");
    room.place.write("stores/file.toml", &format!("{off}enabled = false\n"));
    let (told, _) = said(&["check", directory(&room.place)]);
    assert!(told.contains("which no feed uses: the store is switched off") && told.contains("DROP TRIGGER"), "{told}");
    let (told, code) = said(&["uninstall", directory(&room.place), "file"]);
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("removes trigger tributary_"), "{told}");
    assert_eq!(count(&room.place, left).await, 0);
    assert_eq!(
        count(&room.place, "SELECT count(*) FROM sqlite_schema WHERE name IN ('tributary_changes', 'tributary_feed')").await,
        0
    );
    assert_eq!(count(&room.place, "SELECT count(*) FROM orders").await, 1);
    let (told, code) = said(&["uninstall", directory(&room.place), "file"]);
    assert_eq!((code, told.contains("nothing of ours is in the store")), (Some(0), true), "{told}");
    assert_eq!(said(&["uninstall", directory(&room.place), "fiel"]).1, Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn uninstall_removes_tables_of_commits_once_nobody_writes_to_the_file_and_nothing_in_them_is_open() {
    let place = Place::new();
    let tables = "CREATE TABLE tributary_marks (id TEXT PRIMARY KEY, state TEXT, at TEXT); \
        CREATE TABLE tributary_keys (\"key\" TEXT PRIMARY KEY, hash TEXT, outcome TEXT, at TIMESTAMPTZ); \
        CREATE TABLE tributary_outbox (id TEXT PRIMARY KEY, topic TEXT, \"key\" TEXT, payload TEXT, at TEXT, \"transaction\" TEXT); \
        INSERT INTO tributary_keys (\"key\", at) VALUES ('sent', '2020-01-01 00:00:00.000+00:00'); INSERT INTO tributary_outbox (id) VALUES ('waits')";
    place.sqlite_with("file", tables, "").await;
    let left = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name LIKE 'tributary%'";
    // Through a store that is switched on somebody may write.
    let (told, code) = said(&["uninstall", directory(&place), "file"]);
    assert_eq!((code, told.matches("leaves table").count(), told.matches("enabled = false").count()), (Some(0), 3, 3), "{told}");
    assert_eq!(count(&place, left).await, 3);
    place.write("stores/file.toml", "kind = \"sqlite\"\npath = \"file.db\"\nenabled = false\n");
    let (told, code) = said(&["uninstall", directory(&place), "file", "--dry-run"]);
    assert_eq!((code, told.matches("would remove table").count()), (Some(0), 2), "{told}");
    assert_eq!(count(&place, left).await, 3);
    let (told, code) = said(&["uninstall", directory(&place), "file"]);
    assert_eq!(code, Some(0), "{told}");
    for words in [
        "removes table tributary_marks",
        "removes table tributary_keys",
        "leaves table tributary_outbox, in which there are events",
    ] {
        assert!(told.contains(words), "{words}: {told}");
    }
    assert_eq!(count(&place, left).await, 1);
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(place.path().join("file.db"));
    let options = options.busy_timeout(proxy::PATIENCE);
    let mut connection = sqlx::sqlite::SqliteConnection::connect_with(&options).await.unwrap();
    connection.execute("DELETE FROM tributary_outbox").await.unwrap();
    connection.close().await.unwrap();
    let (told, code) = said(&["uninstall", directory(&place), "file"]);
    assert_eq!((code, told.contains("removes table tributary_outbox")), (Some(0), true), "{told}");
    assert_eq!(count(&place, left).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn uninstall_leaves_keys_of_a_file_while_a_transaction_may_be_sent_again_or_another_store_is_the_same() {
    let place = Place::new();
    let tables = "CREATE TABLE tributary_keys (\"key\" TEXT PRIMARY KEY, hash TEXT, outcome TEXT, at TIMESTAMPTZ); \
        INSERT INTO tributary_keys VALUES ('old', 'h', NULL, '2020-01-01 00:00:00.000+00:00'); \
        INSERT INTO tributary_keys VALUES ('new', 'h', NULL, strftime('%Y-%m-%d %H:%M:%f', 'now', '-2 hours') || '+00:00')";
    place.sqlite_with("file", tables, "").await;
    let file = "kind = \"sqlite\"\npath = \"file.db\"\n";
    let own = format!("{file}enabled = false\nidempotency = true\nidempotency_retention = \"1h\"\n");
    place.write("stores/file.toml", &own);
    let left = "SELECT count(*) FROM sqlite_schema WHERE name = 'tributary_keys'";
    // Of a server with another retention nothing is in the file.
    let (told, code) = said(&["uninstall", directory(&place), "file"]);
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("leaves table tributary_keys, in which there are keys of transactions"), "{told}");
    assert_eq!(count(&place, left).await, 1);
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(place.path().join("file.db"));
    let options = options.busy_timeout(proxy::PATIENCE);
    let mut connection = sqlx::sqlite::SqliteConnection::connect_with(&options).await.unwrap();
    connection.execute("DELETE FROM tributary_keys WHERE \"key\" = 'new'").await.unwrap();
    connection.close().await.unwrap();
    place.write("stores/twin.toml", file);
    let (told, code) = said(&["uninstall", directory(&place), "file"]);
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("leaves table tributary_keys, which commits through store \"twin\" may need"), "{told}");
    assert_eq!(count(&place, left).await, 1);
    place.write("stores/twin.toml", &format!("{file}enabled = false\n"));
    let (told, code) = said(&["uninstall", directory(&place), "file"]);
    assert_eq!((code, told.contains("removes table tributary_keys")), (Some(0), true), "{told}");
    assert_eq!(count(&place, left).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn uninstall_tells_which_tables_of_a_file_it_could_not_look_at() {
    let place = Place::new();
    // One of another form than ours, one as it should be; the third one is not there.
    let tables = "CREATE TABLE tributary_keys (name TEXT); CREATE TABLE tributary_marks (id TEXT PRIMARY KEY, state TEXT, at TEXT)";
    place.sqlite_with("file", tables, "").await;
    place.write("stores/file.toml", "kind = \"sqlite\"\npath = \"file.db\"\nenabled = false\n");
    let (told, code) = said(&["uninstall", directory(&place), "file"]);
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("problem: whether table tributary_keys is there and needed is not known"), "{told}");
    assert!(told.contains("removes table tributary_marks") && !told.contains("tributary_outbox"), "{told}");
    assert_eq!(count(&place, "SELECT count(*) FROM sqlite_schema WHERE name LIKE 'tributary%' AND type = 'table'").await, 1);
}

/// A number of the file.
async fn count(place: &Place, sql: &str) -> i64 {
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(place.path().join("file.db"));
    let options = options.busy_timeout(proxy::PATIENCE);
    let mut connection = sqlx::sqlite::SqliteConnection::connect_with(&options).await.unwrap();
    let found = sqlx::query_scalar(AssertSqlSafe(sql.to_owned())).fetch_one(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn check_tells_what_a_file_lacks() {
    let catalog = tempfile::tempdir().unwrap();
    write(catalog.path(), "tributary.toml", MAIN);
    sqlite(&catalog.path().join("file.db"), ORDERS).await;
    write(catalog.path(), "stores/file.toml", &format!("kind = \"sqlite\"\npath = \"file.db\"\n{OUTBOX}"));
    let (told, code) = said(&["check", path(catalog.path())]);
    assert_eq!(code, Some(0), "{told}");
    let line = |table: &str| told.lines().find(|line| line.contains(table)).unwrap_or_else(|| panic!("{table}: {told}")).to_owned();
    assert!(line("main.orders").contains(" ok"), "{told}");
    assert!(line("main.keyless").contains("store-only") && line("main.keyless").contains("primary key"), "{told}");
    // It changes nothing.
    assert!(!told.contains("tributary_feed"), "{told}");
    write(catalog.path(), "stores/file.toml", &format!("kind = \"sqlite\"\npath = \"file.db\"\nread_only = true\n{OUTBOX}"));
    let (told, code) = said(&["check", path(catalog.path())]);
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("refused") && told.contains("read-only"), "{told}");
    for (lines, expected) in [
        (LOG, "stores.file.changes.mode: \"log\" is not for a store of the kind sqlite"),
        ("changes.mood = \"log\"\n", "stores.file.changes.mood: is not a known key; perhaps changes.mode"),
    ] {
        write(catalog.path(), "stores/file.toml", &format!("kind = \"sqlite\"\npath = \"file.db\"\n{lines}"));
        let (told, code) = said(&["check", path(catalog.path())]);
        assert_eq!(code, Some(1), "{told}");
        assert!(told.contains(expected), "{told}");
    }
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn uninstall_removes_slot_and_publication_of_postgres_and_leaves_those_of_others() {
    let tables = "CREATE TABLE orders (id bigint PRIMARY KEY)";
    let (mut room, mut native) = room::of_postgres(tables, LOG, &["orders"]).await;
    // A second server over the same database has a slot of its own.
    let second = Place::new();
    let file = std::fs::read_to_string(room.place.path().join("stores/pg.toml")).unwrap();
    second.write("stores/pg.toml", &file);
    let mut second = room::Room::open(second).await;
    until_streaming(second.session(), "pg", &["orders"]).await;
    room.stop().await;
    second.stop().await;
    let (told, code) = said(&["uninstall", directory(&room.place), "pg"]);
    assert_eq!(code, Some(0), "{told}");
    for words in ["removes replication slot tributary_", "removes publication tributary_", "of another server"] {
        assert!(told.contains(words), "{words}: {told}");
    }
    let Native::Postgres(connection) = &mut native else { panic!("this is no PostgreSQL") };
    for left in
        ["SELECT count(*) FROM pg_replication_slots WHERE database = current_database()", "SELECT count(*) FROM pg_publication"]
    {
        let found: i64 = sqlx::query_scalar(left).fetch_one(&mut *connection).await.unwrap();
        assert_eq!(found, 1, "{left}");
    }
    connection.execute("INSERT INTO orders VALUES (1); UPDATE orders SET id = 2").await.unwrap();
    // Switched off in the file of a server that runs, the slot goes at once, since it makes the server keep its log.
    room = second;
    room.start().await;
    until_streaming(room.session(), "pg", &["orders"]).await;
    room.place.write("stores/pg.toml", &file.replace(LOG, ""));
    room.server().reload().await.unwrap();
    let slots = "SELECT count(*) FROM pg_replication_slots WHERE database = current_database()";
    crate::commit::eventually("the end of the slot", async || {
        let found: i64 = sqlx::query_scalar(slots).fetch_one(&mut *connection).await.unwrap();
        (found == 0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn serve_says_one_line_for_each_state_of_a_file_and_no_value_of_it() {
    let place = Place::new();
    place.sqlite_with("file", ORDERS, OUTBOX).await;
    let mut serving = Serving::start(place.path());
    serving.wait_for("changes of the store are followed");
    let mut native = room::in_file(&place).await;
    for id in 1..=20 {
        native.run(&format!("INSERT INTO orders VALUES ({id}, 'a secret')")).await;
    }
    // What is durable in our log is taken out of the file.
    let left = "SELECT count(*) FROM tributary_changes";
    crate::commit::eventually("an empty table", async || (count(&place, left).await == 0).then_some(())).await;
    place.write("stores/file.toml", "kind = \"sqlite\"\npath = \"file.db\"\n");
    serving.signal("HUP");
    serving.wait_for("changes of the store are not followed");
    let said = serving.end();
    for line in
        ["changes of the store are followed", "changes of the store are not followed", "changes of the table are not followed"]
    {
        assert_eq!(said.matches(line).count(), 1, "{line}: {said}");
    }
    assert!(said.lines().any(|line| line.contains("changes of the table are not followed") && line.contains("keyless")), "{said}");
    assert!(!said.contains("a secret") && !said.contains("INSERT INTO"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn serve_says_nothing_of_a_mend_where_there_is_none() {
    let place = Place::new();
    place.sqlite_with("file", &format!("{ORDERS}; CREATE VIEW shown AS SELECT id FROM orders"), OUTBOX).await;
    let mut serving = Serving::start(place.path());
    serving.wait_for("changes of the store are followed");
    let said = serving.end();
    let line = |table: &str| {
        said.lines()
            .find(|line| line.contains("changes of the table") && line.contains(table))
            .unwrap_or_else(|| panic!("{table}: {said}"))
    };
    assert!(line("main.keyless").contains("mend="), "{said}");
    // Nobody can mend that a view is one.
    assert!(line("main.shown").contains("view") && !line("main.shown").contains("mend"), "{said}");
}

/// A line with these words, which may have been said before the server served.
fn heard(serving: &mut Serving, words: &str) -> String {
    let said = serving.said.iter().find(|line| line.contains(words)).cloned();
    said.unwrap_or_else(|| serving.wait_for(words))
}

#[tokio::test(flavor = "multi_thread")]
async fn serve_says_at_start_what_weakens_the_feed_of_a_file_and_what_was_left_in_it() {
    let place = Place::new();
    let tables = format!("{ORDERS}; CREATE TABLE people (id INTEGER PRIMARY KEY, mail TEXT UNIQUE)");
    place.sqlite_with("file", &tables, OUTBOX).await;
    let mut serving = Serving::start(place.path());
    // As check tells it.
    let line = heard(&mut serving, "INSERT OR REPLACE into");
    assert!(line.contains("people") && line.contains("changes.tables") && line.contains("ON CONFLICT DO UPDATE"), "{line}");
    heard(&mut serving, "changes of the store are followed");
    // When it is looked again, what is new is told.
    room::in_file(&place).await.run("CREATE TABLE places (id INTEGER PRIMARY KEY, code TEXT UNIQUE)").await;
    serving.signal("HUP");
    serving.wait_for("INSERT OR REPLACE into \"places\"");
    let said = serving.end();
    assert_eq!(said.matches("INSERT OR REPLACE into").count(), 2, "{said}");
    // Switched off while no server runs: nobody removes it.
    let off = "kind = \"sqlite\"\npath = \"file.db\"\n";
    place.write("stores/file.toml", &format!("{off}enabled = false\n"));
    let mut serving = Serving::start(place.path());
    let line = heard(&mut serving, "left in a store that is switched off");
    assert!(line.contains("trigger") && line.contains("DROP TRIGGER"), "{line}");
    serving.end();
    // The same store under another name.
    std::fs::remove_file(place.path().join("stores/file.toml")).unwrap();
    place.write("stores/renamed.toml", off);
    let mut serving = Serving::start(place.path());
    let line = heard(&mut serving, "left by a store of this server that has another name now");
    assert!(line.contains("renamed") && line.contains("DROP TRIGGER"), "{line}");
    serving.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn serve_takes_out_of_a_file_what_follows_it_when_its_store_is_switched_off_or_taken_away() {
    let place = Place::new();
    place.sqlite_with("file", ORDERS, OUTBOX).await;
    let file = std::fs::read_to_string(place.path().join("stores/file.toml")).unwrap();
    let triggers = "SELECT count(*) FROM sqlite_schema WHERE type = 'trigger'";
    let mut serving = Serving::start(place.path());
    heard(&mut serving, "changes of the store are followed");
    for is_there in [true, false] {
        assert_ne!(count(&place, triggers).await, 0);
        if is_there {
            place.write("stores/file.toml", &format!("enabled = false\n{file}"));
        } else {
            std::fs::remove_file(place.path().join("stores/file.toml")).unwrap();
        }
        serving.signal("HUP");
        serving.wait_for("removed: the store is not followed any more");
        // What keeps nothing by itself is told with the statement that removes it.
        let line = serving.wait_for("left of the feed that was");
        assert!(line.contains("DROP TABLE"), "{line}");
        assert_eq!(count(&place, triggers).await, 0);
        // Put back, it is followed again.
        place.write("stores/file.toml", &file);
        serving.signal("HUP");
        serving.wait_for("changes of the store are followed");
    }
    serving.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn serve_warns_once_before_postgres_keeps_more_for_a_feed_than_it_may() {
    let server = room::own_postgres(&[]).await;
    let tables = "CREATE TABLE orders (id bigint PRIMARY KEY); CREATE TABLE ballast (v text)";
    let database = proxy::fresh(&server, tables).await;
    let place = Place::new();
    place.postgres("pg", &server, &database, &format!("{LOG}changes.max_retained = \"64MiB\"\nchanges.except = [\"ballast\"]\n"));
    let mut serving = Serving::start(place.path());
    serving.wait_for("changes of the store are followed");
    // What a transaction that is open may have written is kept for it.
    let mut holder = proxy::direct(&server, &database).await;
    holder.execute("BEGIN; INSERT INTO orders VALUES (1)").await.unwrap();
    let mut writer = proxy::direct(&server, &database).await;
    let held = "SELECT max(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn))::bigint FROM pg_replication_slots";
    // To seven eighths of it.
    while sqlx::query_scalar::<_, i64>(held).fetch_one(&mut writer).await.unwrap() < 56 << 20 {
        writer.execute("INSERT INTO ballast SELECT repeat(md5(n::text), 10) FROM generate_series(1, 2000) AS n").await.unwrap();
    }
    serving.wait_for("the store keeps much of its log for us");
    holder.execute("COMMIT").await.unwrap();
    let said = serving.end();
    assert_eq!(said.matches("the store keeps much of its log for us").count(), 1, "{said}");
    assert!(!said.contains("more than changes.max_retained allows"), "{said}");
}
