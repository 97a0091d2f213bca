//! Stores that are away, come back, are killed, or hold what does not fit.

use std::net::SocketAddr;

use futures::TryStreamExt;
use mongodb::bson::doc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tributary::sandbox::Postgres;

use super::eventually;
use crate::support::gate::Gate;
use crate::support::{self, proxy};
use proxy::{Failure, OWNER, Place};

const STOCK: &str = "CREATE TABLE stock (n int PRIMARY KEY, filler text);
    INSERT INTO stock SELECT n, repeat('x', 200) FROM generate_series(1, 200000) AS n";

#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_that_is_away_at_the_start_comes_back_by_itself() {
    let place = Place::new();
    let postgres = support::postgres().await;
    let database = proxy::fresh(postgres, "CREATE TABLE stock (n int PRIMARY KEY); INSERT INTO stock VALUES (1)").await;
    let gate = Gate::to(postgres.host(), postgres.port()).await;
    let login = format!(
        "kind = \"postgres\"\nport = {}\nuser = \"{}\"\npassword = \"{}\"\ndatabase = \"{database}\"\n",
        gate.port(),
        postgres.user(),
        postgres.password()
    );
    place.write("stores/shop.toml", &login);
    place.sqlite("notes", "CREATE TABLE notes (n INTEGER PRIMARY KEY); INSERT INTO notes VALUES (7);").await;
    let server = place.serve().await;
    let session = proxy::connect(&server, OWNER).await;
    assert_eq!(session.answer("SELECT n FROM notes.notes").await, "7");
    for sql in ["SELECT n FROM shop.stock", "SELECT * FROM shop.anything JOIN notes.notes ON true"] {
        let failure = session.failure(sql).await;
        assert!(failure.code.starts_with("08"), "{failure:?}");
        assert!(failure.message.contains("shop"), "{failure:?}");
        assert!(!format!("{failure:?}").contains(postgres.password()), "{failure:?}");
    }
    let open = gate.open().await;
    eventually("the store's return", async || session.rows("SELECT n FROM shop.stock").await.ok().filter(|rows| *rows == ["1"]))
        .await;
    // Away again: its tables stay known, and scans tell that it cannot be reached.
    drop(open);
    let failure = eventually("the loss", async || session.rows("SELECT n FROM shop.stock").await.err()).await;
    assert!(failure.code.starts_with("08") || failure.code.starts_with("57"), "{failure:?}");
    assert_eq!(session.answer("SELECT n FROM notes.notes").await, "7");
    let _open = gate.open().await;
    eventually("the second return", async || session.rows("SELECT n FROM shop.stock").await.ok().filter(|rows| *rows == ["1"]))
        .await;
}

/// What `/health` says: the status of the whole, and whether each store is available.
async fn health(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer.split("\r\n\r\n").nth(1).unwrap().trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_the_list_of_stores_follow_a_postgres_that_goes_and_returns() {
    const WELL: &str = r#"{"status":"ok","stores":{"notes":{"available":true},"shop":{"available":true}}}"#;
    const AWAY: &str = r#"{"status":"degraded","stores":{"notes":{"available":true},"shop":{"available":false}}}"#;
    let place = Place::new();
    let main = "listen = \"127.0.0.1:0\"\nhttp.listen = \"127.0.0.1:0\"\nauth.trust = true\n[roles.ada]\n";
    place.write("tributary.toml", main);
    let postgres = support::postgres().await;
    let database = proxy::fresh(postgres, "CREATE TABLE stock (n int PRIMARY KEY); INSERT INTO stock VALUES (1)").await;
    let gate = Gate::to(postgres.host(), postgres.port()).await;
    let (user, password) = (postgres.user(), postgres.password());
    let login = format!("port = {}\nuser = \"{user}\"\npassword = \"{password}\"\ndatabase = \"{database}\"\n", gate.port());
    place.write("stores/shop.toml", &format!("kind = \"postgres\"\n{login}"));
    place.sqlite("notes", "CREATE TABLE notes (n INTEGER PRIMARY KEY); INSERT INTO notes VALUES (7);").await;
    let open = gate.open().await;
    let server = place.serve().await;
    let told = server.http_address().unwrap();
    let mut login = tokio_postgres::Config::new();
    login.host("127.0.0.1").port(server.addresses()[0].port()).user("ada").dbname(proxy::DATABASE);
    let session = proxy::open(&login).await.unwrap();
    let listed = "SELECT name, available, reason IS NULL FROM tributary.stores ORDER BY name";
    assert_eq!(session.answer("SELECT n FROM shop.stock").await, "1");
    assert_eq!(health(told).await, WELL);
    assert_eq!(session.answer(listed).await, "notes|t|t\nshop|t|t");

    // A statement that fails is enough to know.
    open.shut().await;
    let failure = session.failure("SELECT n FROM shop.stock").await;
    assert!(failure.code.starts_with("08"), "{failure:?}");
    assert_eq!(health(told).await, AWAY);
    assert_eq!(session.answer(listed).await, "notes|t|t\nshop|f|f");
    // So is one that succeeds.
    let open = gate.open().await;
    eventually("the return", async || session.rows("SELECT n FROM shop.stock").await.ok()).await;
    assert_eq!(session.answer(listed).await, "notes|t|t\nshop|t|t");
    assert_eq!(health(told).await, WELL);

    // Without statements it is known to those who ask, both ways.
    open.shut().await;
    eventually("the loss", async || (health(told).await == AWAY).then_some(())).await;
    assert_eq!(session.answer(listed).await, "notes|t|t\nshop|f|f");
    let _open = gate.open().await;
    eventually("the return in the list", async || (session.answer(listed).await == "notes|t|t\nshop|t|t").then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sqlite_file_that_is_replaced_or_gone_is_noticed() {
    let place = Place::new();
    let file = place.sqlite("notes", "CREATE TABLE notes (n INTEGER PRIMARY KEY); INSERT INTO notes VALUES (7);").await;
    let server = place.serve().await;
    let (session, block) = (proxy::connect(&server, OWNER).await, proxy::connect(&server, OWNER).await);
    assert_eq!(session.answer("SELECT n FROM notes.notes").await, "7");
    block.answer("BEGIN ISOLATION LEVEL REPEATABLE READ").await;
    assert_eq!(block.answer("SELECT n FROM notes.notes").await, "7");
    let (next, gone) = (place.path().join("next.db"), place.path().join("gone.db"));
    proxy::sqlite(&next, "CREATE TABLE notes (n INTEGER PRIMARY KEY); INSERT INTO notes VALUES (8), (9);").await;
    std::fs::rename(&next, &file).unwrap();
    assert_eq!(session.answer("SELECT n FROM notes.notes ORDER BY n").await, "8\n9");
    assert_eq!(block.answer("SELECT n FROM notes.notes; COMMIT").await, "7", "the block keeps the state that it has");
    assert_eq!(block.answer("SELECT count(*) FROM notes.notes").await, "2");

    std::fs::rename(&file, &gone).unwrap();
    let failure = session.failure("SELECT n FROM notes.notes").await;
    assert_eq!((failure.code.as_str(), failure.message.as_str()), ("08001", "store \"notes\" cannot be reached"));
    assert_eq!(failure.detail, "The database file does not exist.");
    assert_eq!(session.answer("SELECT available, reason FROM tributary.stores").await, "f|The database file does not exist.");
    // A file with another table under the name is found by the refresh that a statement asks for which misses its column.
    proxy::sqlite(&file, "CREATE TABLE notes (m TEXT); INSERT INTO notes VALUES ('new');").await;
    assert_eq!(session.failure("SELECT n FROM notes.notes").await.code, "HV000");
    eventually("the new table", async || session.rows("SELECT m FROM notes.notes").await.ok().filter(|rows| *rows == ["new"]))
        .await;
    assert_eq!(session.answer("SELECT available, reason IS NULL FROM tributary.stores").await, "t|t");
}

#[tokio::test]
async fn grouping_by_a_key_reads_the_columns_that_are_named() {
    let place = Place::new();
    let tables = "CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT, weight NUMERIC(6, 2), born DATE);
        INSERT INTO people VALUES (1, 'Ada', 60.5, 'never'), (2, 'Bob', 70, 'ever');
        CREATE TABLE visits (id INTEGER PRIMARY KEY, person INTEGER, cost NUMERIC(6, 2), day DATE);
        INSERT INTO visits VALUES (1, 1, 5, 'some day'), (2, 1, 6, 'another'), (3, 2, 7, '')";
    place.sqlite("crew", tables).await;
    let server = place.serve().await;
    let session = proxy::connect(&server, OWNER).await;
    session.answer("SET tributary.pushdown = scans").await;
    assert_eq!(session.failure("SELECT born FROM crew.people").await.code, "22007");
    for (sql, expected, read) in [
        ("SELECT id, count(*) FROM crew.people GROUP BY id ORDER BY 1", "1|1\n2|1", &[r#"t."id" FROM"#][..]),
        ("SELECT count(*) FROM crew.people GROUP BY id", "1\n1", &[r#"t."id" FROM"#]),
        ("SELECT name FROM crew.people GROUP BY id HAVING max(weight) > 65", "Bob", &[r#"t."id", t."name", t."weight" FROM"#]),
        (
            "SELECT name, rank() OVER (ORDER BY weight) FROM crew.people GROUP BY id ORDER BY 2",
            "Ada|1\nBob|2",
            &[r#"t."weight" FROM"#],
        ),
        (
            "SELECT p.id, p.name, sum(v.cost) FROM crew.people p JOIN crew.visits v ON v.person = p.id GROUP BY p.id ORDER BY 1",
            "1|Ada|11.00\n2|Bob|7.00",
            &[r#"t."id", t."name" FROM"#, r#"t."person", t."cost" FROM"#],
        ),
        (
            "SELECT id, (SELECT max(v.cost) FROM crew.visits v WHERE v.person = p.id AND p.weight > 65) FROM crew.people p
             GROUP BY id ORDER BY 1",
            "1|~\n2|7.00",
            &[r#"t."id", t."weight" FROM"#],
        ),
        (
            "SELECT id, name, weight FROM crew.people GROUP BY weight, id ORDER BY 1",
            "1|Ada|60.50\n2|Bob|70.00",
            &[r#"t."weight" FROM"#],
        ),
    ] {
        assert_eq!(session.answer(sql).await, expected, "{sql}");
        let plan = session.answer(&format!("EXPLAIN {sql}")).await;
        for words in read {
            assert!(plan.contains(words), "{sql}: {words} in\n{plan}");
        }
        assert!(!plan.contains("born") && !plan.contains("day"), "{sql}:\n{plan}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_killed_in_the_middle_of_a_scan_fails_that_statement_only() {
    let place = Place::new();
    let postgres = Postgres::start_with(&support::throwaway()).await.unwrap();
    let database = proxy::fresh(&postgres, STOCK).await;
    place.postgres("shop", &postgres, &database, "");
    place.sqlite("notes", "CREATE TABLE notes (n INTEGER PRIMARY KEY); INSERT INTO notes VALUES (7);").await;
    let server = place.serve().await;
    let session = proxy::connect(&server, OWNER).await;
    let rows = session.query_raw("SELECT n, filler FROM shop.stock", Vec::<i32>::new()).await.unwrap();
    let mut rows = std::pin::pin!(rows);
    assert!(rows.try_next().await.unwrap().is_some());
    drop(postgres);
    let mut seen = 1_u32;
    let error = loop {
        match rows.try_next().await {
            Ok(Some(_)) => seen += 1,
            Ok(None) => panic!("a scan that was cut off after {seen} rows looks complete"),
            Err(error) => break Failure::of(error),
        }
    };
    assert!(seen < 200_000);
    assert!(error.code.starts_with("08") || error.code.starts_with("57"), "{error:?}");
    assert!(format!("{error:?}").contains("shop"), "{error:?}");
    assert_eq!(session.answer("SELECT n FROM notes.notes").await, "7");
    let failure = session.failure("SELECT count(*) FROM shop.stock").await;
    assert!(failure.code.starts_with("08"), "{failure:?}");
}

#[tokio::test]
async fn values_that_do_not_fit_their_column_fail_by_name() {
    let place = Place::new();
    let rows = "CREATE TABLE people (id INTEGER PRIMARY KEY, age INTEGER, born DATE); INSERT INTO people VALUES (1, 36, '1815-12-10'), (2, 'old', 'then');";
    place.sqlite("notes", rows).await;
    let server = place.serve().await;
    let session = proxy::connect(&server, OWNER).await;
    assert_eq!(session.answer("SELECT id FROM notes.people ORDER BY id").await, "1\n2");
    assert_eq!(session.answer("SELECT age FROM notes.people WHERE id = 1").await, "36");
    for column in ["age", "born"] {
        let failure = session.failure(&format!("SELECT {column} FROM notes.people")).await;
        assert!(failure.code.starts_with("22"), "{failure:?}");
        assert!(failure.message.contains(column) || failure.detail.contains(column), "{failure:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_that_do_not_fit_their_schema_fail_by_name_in_mongodb() {
    let place = Place::new();
    let mongodb = support::mongodb().await;
    let database = mongodb.fresh_database().await.unwrap();
    let url = format!("mongodb://{}:{}@{}:{}", mongodb.user(), mongodb.password(), mongodb.host(), mongodb.port());
    let client = mongodb::Client::with_uri_str(url).await.unwrap();
    let people = client.database(&database).collection("people");
    let validator = doc! { "$jsonSchema": { "bsonType": "object", "properties": { "age": { "bsonType": "int" } } } };
    client
        .database(&database)
        .create_collection("people")
        .validator(validator)
        .validation_action(mongodb::options::ValidationAction::Warn)
        .await
        .unwrap();
    people.insert_many([doc! { "_id": 1, "age": 36 }, doc! { "_id": 2, "age": "old" }]).await.unwrap();
    place.mongodb("crm", mongodb, &database, "[collections.people.columns]\nage = \"int4\"\n");
    let server = place.serve().await;
    let session = proxy::connect(&server, OWNER).await;
    assert_eq!(session.answer("SELECT age FROM crm.people WHERE _id = 1").await, "36");
    let failure = session.failure("SELECT age FROM crm.people").await;
    assert!(failure.code.starts_with("22"), "{failure:?}");
    assert!(format!("{failure:?}").contains("age"), "{failure:?}");
    assert!(!format!("{failure:?}").contains(mongodb.password()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_column_fails_once_and_is_then_unknown_in_postgres() {
    let place = Place::new();
    let postgres = support::postgres().await;
    let database =
        proxy::fresh(postgres, "CREATE TABLE stock (n int PRIMARY KEY, size text); INSERT INTO stock VALUES (1, 'a')").await;
    place.postgres("shop", postgres, &database, "");
    let server = place.serve().await;
    let session = proxy::connect(&server, OWNER).await;
    assert_eq!(session.answer("SELECT size FROM shop.stock").await, "a");
    sqlx::Executor::execute(&mut proxy::direct(postgres, &database).await, "ALTER TABLE stock DROP COLUMN size").await.unwrap();
    let failure = session.failure("SELECT size FROM shop.stock").await;
    assert_ne!(failure.code, "XX000", "{failure:?}");
    assert!(format!("{failure:?}").contains("shop"), "{failure:?}");
    eventually("the refresh", async || session.rows("SELECT * FROM shop.stock").await.ok().filter(|rows| *rows == ["1"])).await;
    assert_eq!(session.failure("SELECT size FROM shop.stock").await.code, "42703");
}
