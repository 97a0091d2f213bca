//! The audit log: who logged in, what changed, and what was written, without a password and without a value.

use std::os::unix::fs::PermissionsExt;

use serde_json::Value;
use sqlx::Connection;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use tributary::server::Server;

use super::eventually;
use crate::support::proxy::{self, DATABASE, GUEST, OWNER, PASSWORD, Place};

const NOTES: &str = "CREATE TABLE notes (n INTEGER PRIMARY KEY, t TEXT); INSERT INTO notes VALUES (1, 'one');";

const COPY: &str = "COPY notes.notes (n, t) FROM STDIN";

/// The file, in which every line is one object.
fn text(place: &Place) -> String {
    std::fs::read_to_string(place.path().join(".state/audit.jsonl")).unwrap_or_default()
}

fn lines(place: &Place) -> Vec<Value> {
    text(place).lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"))).collect()
}

/// The first line of an event about a role, once it is there.
async fn line(place: &Place, event: &str, role: &str) -> Value {
    let found = async || lines(place).into_iter().find(|line| line["event"] == event && line["role"] == role);
    eventually(event, found).await
}

#[tokio::test(flavor = "multi_thread")]
async fn logins_and_changes_are_written_down_without_what_is_secret() {
    let place = Place::new();
    place.sqlite("notes", NOTES).await;
    let server = place.serve().await;
    let session = proxy::connect(&server, OWNER).await;
    let login = line(&place, "login", OWNER).await;
    assert!(login["address"] == "127.0.0.1" && login["at"].as_str().is_some_and(|at| at.ends_with('Z')), "{login}");
    // Names come from whoever connects, and may be anything.
    let (strange, wrong) = ("eve\"}\n{\"event\": \"login\", \"role\": \"root\"", "hunter2");
    for (role, password) in [(strange, PASSWORD), (OWNER, wrong)] {
        let mut login = proxy::login(server.addresses()[0], role);
        assert!(proxy::open(login.password(password)).await.is_err());
    }
    let failed = line(&place, "login_failed", OWNER).await;
    assert_eq!((failed["outcome"].as_str(), failed["sqlstate"].as_str()), (Some("failed"), Some("28P01")), "{failed}");
    let failures = async || {
        let failed = lines(&place).into_iter().filter(|line| line["event"] == "login_failed").count();
        (failed >= 2).then_some(())
    };
    eventually("both failures", failures).await;
    assert!(lines(&place).iter().all(|line| line["role"] != "root"), "{}", text(&place));
    session.answer("CALL tributary.refresh('notes')").await;
    let refresh = line(&place, "refresh", OWNER).await;
    assert_eq!((refresh["outcome"].as_str(), refresh["store"].as_str()), (Some("done"), Some("notes")), "{refresh}");
    let guest = proxy::connect(&server, GUEST).await;
    assert_eq!(guest.failure("CALL tributary.refresh('notes')").await.code, "42501");
    let refused = line(&place, "refresh", GUEST).await;
    assert_eq!((refused["outcome"].as_str(), refused["sqlstate"].as_str()), (Some("failed"), Some("42501")), "{refused}");
    // Statements are told where that is asked for.
    session.answer("DELETE FROM notes.notes WHERE t = 'hunter2'").await;
    server.reload().await.unwrap();
    let reload = async || lines(&place).into_iter().find(|line| line["event"] == "reload");
    eventually("the reload", reload).await;
    assert!(lines(&place).iter().all(|line| line["event"] != "write"), "{}", text(&place));
    let all = text(&place);
    assert!(!all.contains(PASSWORD) && !all.contains("hunter2") && !all.contains("SCRAM"), "{all}");
    server.stop().await;
    let file = std::fs::metadata(place.path().join(".state/audit.jsonl")).unwrap();
    let mode = file.permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_are_written_down_with_what_they_did_and_not_with_their_values() {
    let place = Place::new();
    place.configure("audit.writes = true");
    place.sqlite("notes", NOTES).await;
    let server = place.serve().await;
    let session = proxy::connect(&server, OWNER).await;
    session.answer("INSERT INTO notes.notes VALUES (2, 'hunter2') -- hunter2").await;
    session.failure("INSERT INTO notes.notes VALUES (1, 'hunter2')").await;
    let insert = session.prepare("INSERT INTO notes.notes VALUES ($1, $2)").await.unwrap();
    session.execute(&insert, &[&3_i64, &"hunter2"]).await.unwrap();
    let writes = async || {
        let lines: Vec<Value> = lines(&place).into_iter().filter(|line| line["event"] == "write").collect();
        (lines.len() == 3).then_some(lines)
    };
    let writes = eventually("all writes", writes).await;
    assert!(writes.iter().all(|line| line["role"] == OWNER), "{writes:?}");
    assert_eq!((&writes[0]["outcome"], &writes[0]["tag"]), (&Value::from("done"), &Value::from("INSERT 0 1")));
    assert!(writes[1]["tag"].is_null(), "{writes:?}");
    assert_eq!((writes[1]["outcome"].as_str(), writes[1]["sqlstate"].as_str()), (Some("failed"), Some("23505")));
    assert!(writes[0].to_string().contains("notes") && !text(&place).contains("hunter2"), "{writes:?}");
    server.stop().await;
}

/// The lines about writes, once there are so many.
async fn writes(place: &Place, count: usize) -> Vec<Value> {
    let found = async || {
        let lines: Vec<Value> = lines(place).into_iter().filter(|line| line["event"] == "write").collect();
        (lines.len() >= count).then_some(lines)
    };
    eventually("all writes", found).await
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_that_are_refused_for_rights_are_written_down_too() {
    let place = Place::new();
    place.configure("audit.writes = true");
    // The last of the roles is the guest.
    let main = std::fs::read_to_string(place.path().join("tributary.toml")).unwrap();
    place.write("tributary.toml", &format!("{main}read_only = true\n"));
    place.sqlite("notes", NOTES).await;
    place.sqlite("shut", NOTES).await;
    place.write("stores/shut.toml", "kind = \"sqlite\"\npath = \"shut.db\"\nread_only = true\n");
    let server = place.serve().await;
    let (session, guest) = (proxy::connect(&server, OWNER).await, proxy::connect(&server, GUEST).await);
    let insert = "INSERT INTO notes.notes VALUES (2, 'hunter2')";
    for sql in [insert, "UPDATE notes.notes SET t = 'hunter2'", "TRUNCATE notes.notes", COPY] {
        assert_eq!(guest.failure(sql).await.code, "42501", "{sql}");
    }
    let prepared = guest.prepare("DELETE FROM notes.notes WHERE t = $1").await.unwrap();
    assert!(guest.execute(&prepared, &[&"hunter2"]).await.is_err());
    assert_eq!(guest.failure("CALL tributary.emit('topic', NULL, '{}', 'notes')").await.code, "42501");
    for sql in ["INSERT INTO shut.notes VALUES (2, 'hunter2')", "TRUNCATE shut.notes"] {
        assert_eq!(session.failure(sql).await.code, "25006", "{sql}");
    }
    assert_eq!(session.failure("DELETE FROM pg_class WHERE relname = 'hunter2'").await.code, "42501");
    // The same where it is refused before it is run.
    assert_eq!(session.failure("PREPARE p AS DELETE FROM pg_class WHERE relname = 'hunter2'").await.code, "42501");
    let refused = session.prepare("UPDATE pg_class SET relname = 'hunter2' WHERE relname = $1").await.err();
    assert_eq!(refused.as_ref().and_then(|error| error.code()).map(|code| code.code()), Some("42501"));
    let told = writes(&place, 11).await;
    let told: Vec<[Option<&str>; 5]> =
        told.iter().map(|line| ["role", "verb", "table", "store", "sqlstate"].map(|key| line[key].as_str())).collect();
    let refused = |role, verb, table, store, code| [Some(role), Some(verb), Some(table), store, Some(code)];
    let by_guest = |verb| refused(GUEST, verb, "notes", Some("notes"), "42501");
    let expected = [
        by_guest("INSERT"),
        by_guest("UPDATE"),
        by_guest("TRUNCATE TABLE"),
        by_guest("COPY"),
        by_guest("DELETE"),
        refused(GUEST, "EMIT", "tributary_outbox", Some("notes"), "42501"),
        refused(OWNER, "INSERT", "notes", Some("shut"), "25006"),
        refused(OWNER, "TRUNCATE TABLE", "notes", Some("shut"), "25006"),
        refused(OWNER, "DELETE", "pg_class", None, "42501"),
        refused(OWNER, "DELETE", "pg_class", None, "42501"),
        refused(OWNER, "UPDATE", "pg_class", None, "42501"),
    ];
    assert_eq!(told, expected);
    let all = text(&place);
    assert!(!all.contains("\"tag\"") && !all.contains("hunter2") && !all.contains(PASSWORD), "{all}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_an_event_is_written_down_only_where_there_is_one() {
    let place = Place::new();
    place.configure("audit.writes = true");
    // The last of the roles is the guest.
    let main = std::fs::read_to_string(place.path().join("tributary.toml")).unwrap();
    place.write("tributary.toml", &format!("{main}read_only = true\n"));
    place.sqlite("notes", NOTES).await;
    let server = place.serve().await;
    let (session, guest) = (proxy::connect(&server, OWNER).await, proxy::connect(&server, GUEST).await);
    let (call, query) =
        ("CALL tributary.emit('topic', NULL, '{}', 'hunter2')", "SELECT tributary.emit('topic', NULL, '{}', 'hunter2')");
    for sql in [call, query] {
        assert_eq!(guest.failure(sql).await.code, "42501", "{sql}");
        assert_eq!(session.failure(sql).await.code, "42704", "{sql}");
    }
    assert_eq!(session.failure("CALL tributary.emit('topic', NULL, '{}', 'notes')").await.code, "55000");
    let told = writes(&place, 5).await;
    let told: Vec<[Option<&str>; 4]> =
        told.iter().map(|line| ["role", "verb", "store", "sqlstate"].map(|key| line[key].as_str())).collect();
    let refused = |role, store, code| [Some(role), Some("EMIT"), store, Some(code)];
    let expected = [
        refused(GUEST, None, "42501"),
        refused(OWNER, None, "42704"),
        refused(GUEST, None, "42501"),
        refused(OWNER, None, "42704"),
        refused(OWNER, Some("notes"), "55000"),
    ];
    assert_eq!(told, expected);
    assert!(!text(&place).contains("hunter2"), "{}", text(&place));
    server.stop().await;
}

/// A driver that sends the data of a COPY.
async fn driver(server: &Server) -> PgConnection {
    let options = PgConnectOptions::new_without_pgpass().host("127.0.0.1").port(server.addresses()[0].port());
    PgConnection::connect_with(&options.username(OWNER).password(PASSWORD).database(DATABASE)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_is_written_down_however_it_ends() {
    let place = Place::new();
    place.configure("audit.writes = true");
    place.sqlite("notes", NOTES).await;
    let server = place.serve().await;
    let mut client = driver(&server).await;
    let mut copy = client.copy_in_raw(COPY).await.unwrap();
    copy.send(b"2\thunter2\n3\thunter2\n".as_slice()).await.unwrap();
    assert_eq!(copy.finish().await.unwrap(), 2);
    let mut copy = client.copy_in_raw(COPY).await.unwrap();
    copy.send(b"4\thunter2\n1\thunter2\n".as_slice()).await.unwrap();
    assert!(copy.finish().await.is_err());
    let mut copy = client.copy_in_raw(COPY).await.unwrap();
    copy.send(b"5\thunter2\n".as_slice()).await.unwrap();
    copy.abort("no more").await.unwrap();
    // One line each, in this order; then a client that is gone in the middle.
    assert_eq!(writes(&place, 3).await.len(), 3);
    let mut copy = client.copy_in_raw(COPY).await.unwrap();
    copy.send(b"6\thunter2\n".as_slice()).await.unwrap();
    drop(copy);
    drop(client);
    let writes = writes(&place, 4).await;
    let told: Vec<(Option<&str>, Option<&str>, Option<&str>)> =
        writes.iter().map(|line| (line["outcome"].as_str(), line["tag"].as_str(), line["sqlstate"].as_str())).collect();
    let failed = |code| (Some("failed"), None, Some(code));
    assert_eq!(told, [(Some("done"), Some("COPY 2"), None), failed("23505"), failed("57014"), failed("57014")]);
    let is_told = |line: &Value| {
        let [role, verb, table, store] = ["role", "verb", "table", "store"].map(|key| line[key].as_str());
        (role, verb, table, store) == (Some(OWNER), Some("COPY"), Some("notes"), Some("notes"))
    };
    assert!(writes.iter().all(is_told) && !text(&place).contains("hunter2"), "{writes:?}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn definitions_are_written_down_always() {
    let place = Place::new();
    place.sqlite("notes", NOTES).await;
    let server = place.serve().await;
    let session = proxy::connect(&server, OWNER).await;
    session.answer("CREATE TABLE notes.more (n int PRIMARY KEY, t text DEFAULT 'hunter2')").await;
    session.answer("CREATE VIEW few AS SELECT n FROM notes.more WHERE t = 'hunter2'").await;
    session.answer("DROP VIEW few").await;
    session.failure("DROP TABLE notes.nothing").await;
    session.answer("SET search_path = notes").await;
    session.answer("DROP TABLE more").await;
    let definitions = async || {
        let lines: Vec<Value> = lines(&place).into_iter().filter(|line| line["event"] == "ddl").collect();
        (lines.len() == 5).then_some(lines)
    };
    let told = eventually("all definitions", definitions).await;
    assert!(told.iter().all(|line| line["role"] == OWNER), "{told:?}");
    let told: Vec<[Option<&str>; 5]> =
        told.iter().map(|line| ["verb", "object", "store", "outcome", "sqlstate"].map(|key| line[key].as_str())).collect();
    let (done, failed) = (Some("done"), Some("failed"));
    let expected = [
        [Some("CREATE TABLE"), Some("notes.more"), Some("notes"), done, None],
        [Some("CREATE VIEW"), Some("public.few"), None, done, None],
        [Some("DROP VIEW"), Some("public.few"), None, done, None],
        [Some("DROP TABLE"), Some("notes.nothing"), Some("notes"), failed, Some("42P01")],
        [Some("DROP TABLE"), Some("notes.more"), Some("notes"), done, None],
    ];
    assert_eq!(told, expected);
    assert!(!text(&place).contains("hunter2"), "{}", text(&place));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_file_is_written_where_none_is_wanted() {
    let place = Place::new();
    place.configure("audit.file = \"off\"");
    let server = place.serve().await;
    let session = proxy::connect(&server, OWNER).await;
    assert_eq!(session.answer("SELECT 1").await, "1");
    server.stop().await;
    assert!(!place.path().join(".state/audit.jsonl").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_is_written_down_with_the_names_of_what_it_changed() {
    let place = Place::new();
    place.sqlite("notes", NOTES).await;
    place.sqlite("kept", NOTES).await;
    place.write("views/gone.sql", "SELECT 1 AS n");
    place.write("views/other.sql", "SELECT 1 AS n");
    let server = place.serve().await;
    place.write("stores/notes.toml", "kind = \"sqlite\"\npath = \"notes.db\"\nread_only = true\n");
    place.write("views/other.sql", "SELECT 2 AS n");
    place.write("views/seen.sql", "SELECT n FROM kept.notes");
    std::fs::remove_file(place.path().join("views/gone.sql")).unwrap();
    server.reload().await.unwrap();
    let found = async || lines(&place).into_iter().find(|line| line["event"] == "reload");
    let told = eventually("the reload", found).await;
    let named = |key: &str| told[key].as_array().map(|names| names.iter().map(|name| name.as_str().unwrap()).collect::<Vec<_>>());
    assert_eq!(named("stores_changed"), Some(vec!["notes"]), "{told}");
    assert_eq!(named("views_added"), Some(vec!["seen"]), "{told}");
    assert_eq!(named("views_changed"), Some(vec!["other"]), "{told}");
    assert_eq!(named("views_removed"), Some(vec!["gone"]), "{told}");
    assert_eq!((named("stores_added"), named("roles_changed")), (None, None), "{told}");
    // What nothing has changed says nothing.
    server.reload().await.unwrap();
    let both = async || {
        let told: Vec<Value> = lines(&place).into_iter().filter(|line| line["event"] == "reload").collect();
        (told.len() == 2).then_some(told)
    };
    let told = eventually("both reloads", both).await;
    assert!(told[1]["stores_changed"].is_null() && told[1]["views_changed"].is_null(), "{}", told[1]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_are_written_down_as_they_are_where_that_is_asked_for() {
    let place = Place::new();
    place.configure("audit.writes = true\naudit.values = true");
    place.sqlite("notes", NOTES).await;
    let server = place.serve().await;
    let session = proxy::connect(&server, OWNER).await;
    let insert = "INSERT INTO notes.notes VALUES (2, 'seen\t\"so\"')";
    session.answer(insert).await;
    assert_eq!(line(&place, "write", OWNER).await["statement"], insert);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_file_is_followed_by_another_and_so_many_are_kept() {
    let place = Place::new();
    place.configure("audit.writes = true\naudit.rotate = \"4KiB\"\naudit.keep = 2");
    place.sqlite("notes", NOTES).await;
    let server = place.serve().await;
    let session = proxy::connect(&server, OWNER).await;
    for number in 2..120 {
        session.answer(&format!("INSERT INTO notes.notes VALUES ({number}, 'n')")).await;
    }
    server.stop().await;
    let file = |ending: &str| place.path().join(format!(".state/audit.jsonl{ending}"));
    for ending in ["", ".1", ".2"] {
        let text = std::fs::read_to_string(file(ending)).unwrap();
        assert!(!text.is_empty() && text.len() <= 4 << 10, "{ending}: {} bytes", text.len());
        assert!(text.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{ending}: {text}");
    }
    assert!(!file(".3").exists());
    let last = std::fs::read_to_string(file("")).unwrap();
    assert_eq!(serde_json::from_str::<Value>(last.lines().last().unwrap()).unwrap()["tag"], "INSERT 0 1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_of_two_postgres_is_written_down_with_its_name_and_what_was_promised() {
    let place = Place::new();
    place.configure("audit.writes = true");
    let postgres = crate::support::postgres().await;
    for name in ["north", "south"] {
        let database = proxy::fresh(postgres, "CREATE TABLE t (id bigint PRIMARY KEY)").await;
        place.postgres(name, postgres, &database, "");
    }
    let server = place.serve().await;
    let session = proxy::connect(&server, OWNER).await;
    session.answer("BEGIN; INSERT INTO north.t VALUES (1); INSERT INTO south.t VALUES (1); COMMIT").await;
    let told = line(&place, "commit", OWNER).await;
    assert_eq!((told["guarantee"].as_str(), told["outcome"].as_str()), (Some("two-phase: north, south"), Some("done")), "{told}");
    let gid = session.answer("SELECT gid FROM tributary.transactions ORDER BY decided DESC LIMIT 1").await;
    assert_eq!(told["gid"].as_str(), Some(gid.as_str()), "{told}");
    // One of a single store is told by its writes alone.
    session.answer("INSERT INTO north.t VALUES (2)").await;
    let commits = lines(&place).into_iter().filter(|line| line["event"] == "commit").count();
    assert_eq!(commits, 1);
    server.stop().await;
}
