//! The catalog directory: read again without dropping sessions, refused when names collide, and held by one process.

use std::os::unix::fs::PermissionsExt;

use sqlx::{Connection, Executor};
use tributary::sandbox::Postgres;
use tributary::server::ServerError;

use super::eventually;
use crate::support;
use crate::support::proxy::{self, OWNER, Place, login};

const ITEMS: &str = "CREATE TABLE items (id INTEGER PRIMARY KEY); INSERT INTO items VALUES (1);";

#[tokio::test]
async fn reading_the_directory_again_adds_stores_roles_and_views() {
    let place = Place::new();
    place.sqlite("shop", ITEMS).await;
    let server = place.serve().await;
    let session = proxy::connect(&server, OWNER).await;
    session.answer("SET application_name = 'kept'; PREPARE kept AS SELECT id FROM shop.items").await;
    let late = login(server.addresses()[0], "late");
    assert!(proxy::open(&late).await.is_err());
    place.sqlite("attic", "CREATE TABLE boxes (id INTEGER PRIMARY KEY); INSERT INTO boxes VALUES (5);").await;
    place.write("views/added.sql", "SELECT i.id + b.id AS sum FROM shop.items AS i, attic.boxes AS b");
    place.add_role("late");
    server.reload().await.unwrap();
    assert_eq!(session.answer("SELECT id FROM attic.boxes; SELECT sum FROM added").await, "5\n6");
    assert_eq!(session.answer("SHOW application_name; EXECUTE kept").await, "kept\n1");
    assert_eq!(proxy::open(&late).await.unwrap().answer("SELECT current_user").await, "late");
    assert!(session.answer("SELECT rolname FROM pg_roles").await.contains("late"));
    std::fs::remove_file(place.path().join("stores/attic.toml")).unwrap();
    std::fs::remove_file(place.path().join("views/added.sql")).unwrap();
    server.reload().await.unwrap();
    assert_eq!(session.failure("SELECT id FROM attic.boxes").await.code, "42P01");
    assert_eq!(session.failure("SELECT sum FROM added").await.code, "42P01");
    place.write("stores/broken.toml", "kind = \"sqlite\"\n");
    assert!(matches!(server.reload().await, Err(ServerError::Config(problems)) if !problems.is_empty()));
    assert_eq!(session.answer("SELECT id FROM shop.items").await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_that_fails_half_way_changes_nothing_in_postgres_nor_elsewhere() {
    let place = Place::new();
    let postgres = support::postgres().await;
    let database = proxy::fresh(postgres, "CREATE TABLE stock (n int PRIMARY KEY); INSERT INTO stock VALUES (1)").await;
    place.postgres("shop", postgres, &database, "");
    place.write("views/kept.sql", "SELECT n FROM shop.stock");
    place.add_role("leaving");
    let server = place.serve().await;
    let session = proxy::connect(&server, OWNER).await;
    let roles = session.answer("SELECT rolname FROM pg_roles ORDER BY 1").await;
    // The two stores claim one schema, which is only seen once the first has been discovered.
    let schema = "CREATE SCHEMA audit; CREATE TABLE audit.log (n int)";
    proxy::direct(postgres, &database).await.execute(schema).await.unwrap();
    place.sqlite("shop_audit", ITEMS).await;
    place.configure("");
    place.add_role("late");
    place.write("views/kept.sql", "SELECT n + 1 AS n FROM shop.stock");
    for _ in 0..2 {
        let error = server.reload().await.unwrap_err();
        assert!(matches!(&error, ServerError::Build(diagnosis) if diagnosis.sqlstate == "42710"), "{error:?}");
    }
    assert_eq!(session.answer("SELECT rolname FROM pg_roles ORDER BY 1").await, roles);
    let address = server.addresses()[0];
    assert!(proxy::open(&login(address, "late")).await.is_err(), "a role of the refused directory can log in");
    assert_eq!(proxy::open(&login(address, "leaving")).await.unwrap().answer("SELECT n FROM kept").await, "1");
    assert_eq!(session.failure("SELECT * FROM shop_audit.items").await.code, "42P01");

    std::fs::remove_file(place.path().join("stores/shop_audit.toml")).unwrap();
    assert_eq!(server.reload().await.unwrap(), Vec::<&str>::new());
    assert_eq!(proxy::open(&login(address, "late")).await.unwrap().answer("SELECT n FROM kept").await, "2");
    assert!(proxy::open(&login(address, "leaving")).await.is_err());
}

#[tokio::test]
async fn a_view_that_cannot_be_planned_keeps_the_one_that_worked() {
    let place = Place::new();
    place.sqlite("shop", ITEMS).await;
    place.write("views/low.sql", "SELECT id FROM shop.items");
    place.write("views/old.sql", "SELECT id FROM shop.gone");
    let server = place.serve().await;
    let session = proxy::connect(&server, OWNER).await;
    for (broken, told) in [
        ("SELECT id\nFROM shop.itmes", "views/low.sql, line 2, column 6: relation \"shop.itmes\" does not exist"),
        ("SELECT id,", "views/low.sql, line 1, column 11: syntax error at end of input"),
    ] {
        place.write("views/low.sql", broken);
        place.write("views/added.sql", "SELECT 1 AS n");
        let Err(ServerError::Config(problems)) = server.reload().await else { panic!("{broken} was taken over") };
        let [problem] = problems.as_slice() else { panic!("{problems:?}") };
        assert!(problem.to_string().starts_with(told), "{problem}");
        assert_eq!(session.answer("SELECT id FROM low").await, "1");
        assert_eq!(session.failure("SELECT n FROM added").await.code, "42P01", "the directory was taken over in part");
    }
    // What was broken before and stays as it was keeps nothing from being taken over, nor does a store that is away.
    place.write("views/low.sql", "SELECT id + 1 AS id FROM shop.items");
    server.reload().await.unwrap();
    assert_eq!(session.answer("SELECT id FROM low; SELECT n FROM added").await, "2\n1");
    std::fs::rename(place.path().join("shop.db"), place.path().join("away.db")).unwrap();
    server.reload().await.unwrap();
    let failure = session.failure("SELECT id FROM low").await;
    assert!(failure.code.starts_with("08"), "{failure:?}");
}

#[tokio::test]
async fn a_reload_tells_the_keys_that_wait_for_a_restart() {
    let place = Place::new();
    let server = place.serve().await;
    place.configure("limits.max_connections = 7\nlog.level = \"warn\"");
    assert_eq!(server.reload().await.unwrap(), ["limits.max_connections", "log.level"]);
    place.configure("");
    assert_eq!(server.reload().await.unwrap(), Vec::<&str>::new());
}

/// The connections of Tributary to a database of a server, by process id.
async fn backends(server: &Postgres, database: &str) -> Vec<i32> {
    let mut connection = proxy::direct(server, database).await;
    let sql = "SELECT pid FROM pg_stat_activity WHERE datname = $1 AND pid <> pg_backend_pid() ORDER BY pid";
    let rows = sqlx::query_scalar(sql).bind(database).fetch_all(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    rows
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_postgres_keeps_its_connections_until_its_statements_have_ended() {
    let place = Place::new();
    let postgres = support::postgres().await;
    let database = proxy::fresh(postgres, "CREATE TABLE stock (n int PRIMARY KEY); INSERT INTO stock VALUES (1)").await;
    place.postgres("shop", postgres, &database, "");
    let server = place.serve().await;
    let idle = proxy::connect(&server, OWNER).await;
    let prepared = idle.prepare("SELECT n FROM shop.stock WHERE n < $1").await.unwrap();
    assert_eq!(idle.query(&prepared, &[&5]).await.unwrap().len(), 1);
    let busy = proxy::connect(&server, OWNER).await;
    busy.answer("BEGIN ISOLATION LEVEL REPEATABLE READ").await;
    assert_eq!(busy.answer("SELECT n FROM shop.stock").await, "1");
    let before = backends(postgres, &database).await;
    assert!(!before.is_empty());

    server.reload().await.unwrap();
    proxy::direct(postgres, &database).await.execute("INSERT INTO stock VALUES (2)").await.unwrap();
    assert_eq!(busy.answer("SELECT n FROM shop.stock").await, "1", "the block goes on where it began");
    assert_eq!(idle.query(&prepared, &[&5]).await.unwrap().len(), 2, "a prepared statement is planned anew");
    let among = backends(postgres, &database).await;
    assert!(before.iter().any(|old| among.contains(old)), "the block's connection was closed under it");
    busy.answer("COMMIT").await;
    eventually("the end of the replaced connections", async || {
        let now = backends(postgres, &database).await;
        now.iter().all(|pid| !before.contains(pid)).then_some(())
    })
    .await;
    assert_eq!(busy.answer("SELECT count(*) FROM shop.stock").await, "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_postgres_is_closed_after_the_drain_time_whatever_runs_on_it() {
    let place = Place::new();
    place.configure("[limits]\ndrain_grace = \"1s\"");
    let postgres = support::postgres().await;
    let database = proxy::fresh(postgres, "CREATE TABLE stock (n int PRIMARY KEY); INSERT INTO stock VALUES (1)").await;
    place.postgres("shop", postgres, &database, "");
    let server = place.serve().await;
    let busy = proxy::connect(&server, OWNER).await;
    busy.answer("BEGIN ISOLATION LEVEL REPEATABLE READ").await;
    assert_eq!(busy.answer("SELECT n FROM shop.stock").await, "1");
    let before = backends(postgres, &database).await;
    for _ in 0..3 {
        server.reload().await.unwrap();
    }
    eventually("the end of the replaced connections", async || {
        let now = backends(postgres, &database).await;
        now.iter().all(|pid| !before.contains(pid)).then_some(())
    })
    .await;
    let failure = busy.rows("SELECT n FROM shop.stock").await.unwrap_err();
    assert!(failure.code.starts_with("08"), "{failure:?}");
    busy.answer("ROLLBACK").await;
    assert_eq!(busy.answer("SELECT n FROM shop.stock").await, "1");
}

#[tokio::test]
async fn a_refresh_finds_new_tables_and_a_changed_table_refreshes_by_itself() {
    let place = Place::new();
    let file = place.sqlite("shop", ITEMS).await;
    let server = place.serve().await;
    let session = proxy::connect(&server, OWNER).await;
    proxy::sqlite(&file, "CREATE TABLE boxes (id INTEGER PRIMARY KEY, size TEXT); INSERT INTO boxes VALUES (1, 'big');").await;
    assert_eq!(session.failure("SELECT * FROM shop.boxes").await.code, "42P01");
    session.answer("CALL tributary.refresh('shop')").await;
    assert_eq!(session.answer("SELECT * FROM shop.boxes").await, "1|big");
    proxy::sqlite(&file, "ALTER TABLE boxes DROP COLUMN size;").await;
    let failure = session.failure("SELECT size FROM shop.boxes").await;
    assert!(failure.message.contains("shop") || failure.message.contains("size"), "{failure:?}");
    assert_ne!(failure.code, "XX000", "{failure:?}");
    eventually("the refresh of the changed table", async || {
        session.rows("SELECT * FROM shop.boxes").await.ok().filter(|rows| *rows == ["1"])
    })
    .await;
    assert_eq!(session.failure("SELECT size FROM shop.boxes").await.code, "42703");
}

#[tokio::test]
async fn stores_that_claim_one_schema_are_refused() {
    let place = Place::new();
    place.sqlite("shop", ITEMS).await;
    place.sqlite("second", ITEMS).await;
    place.write("stores/second.toml", "kind = \"sqlite\"\npath = \"second.db\"\nschema = \"shop\"\n");
    let Err(ServerError::Config(problems)) = place.try_serve().await else { panic!("served two stores in one schema") };
    assert!(problems.iter().any(|problem| problem.to_string().contains("shop")), "{problems:?}");
    place.write("stores/second.toml", "kind = \"sqlite\"\npath = \"second.db\"\nschema = \"pg_catalog\"\n");
    assert!(place.try_serve().await.is_err());
    place.write("stores/second.toml", "kind = \"sqlite\"\npath = \"second.db\"\nschema = \"spare\"\n");
    let server = place.serve().await;
    assert_eq!(proxy::connect(&server, OWNER).await.answer("SELECT id FROM spare.items").await, "1");
}

#[tokio::test]
async fn the_state_directory_is_private_and_held_by_one_server() {
    let place = Place::new();
    place.sqlite("shop", ITEMS).await;
    let server = place.serve().await;
    let state = place.path().join(".state");
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&state), 0o700);
    for entry in std::fs::read_dir(&state).unwrap() {
        let entry = entry.unwrap();
        let expected = if entry.file_type().unwrap().is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode(&entry.path()), expected, "{}", entry.path().display());
    }
    let refused = place.try_serve().await.unwrap_err();
    assert!(matches!(refused, ServerError::State(_)), "{refused}");
    assert_eq!(proxy::connect(&server, OWNER).await.answer("SELECT id FROM shop.items").await, "1");
    server.stop().await;
    let again = place.serve().await;
    assert_eq!(proxy::connect(&again, OWNER).await.answer("SELECT id FROM shop.items").await, "1");
}
