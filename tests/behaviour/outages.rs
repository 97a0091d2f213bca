//! MariaDB and MongoDB that are away, cut off in the middle of a scan, or not what the store file says. PostgreSQL is in `stores`.

use mongodb::bson::doc;
use sqlx::{AssertSqlSafe, Executor};
use tributary::sandbox::{MariaDb, Mongo};

use super::endless::{self, begin, direct, end_of};
use super::eventually;
use crate::support::gate::Gate;
use crate::support::{self, proxy};
use proxy::{OWNER, Place, Session};

const NOTES: &str = "CREATE TABLE notes (n INTEGER PRIMARY KEY); INSERT INTO notes VALUES (7);";

/// The store `shop` in MariaDB, reached through a gate.
fn mariadb_behind(gate: &Gate, place: &Place, server: &MariaDb, database: &str) {
    let (user, password, port) = (server.user(), server.password(), gate.port());
    let file =
        format!("kind = \"mariadb\"\nport = {port}\nuser = \"{user}\"\npassword = \"{password}\"\ndatabase = \"{database}\"\n");
    place.write("stores/shop.toml", &file);
}

/// The same in MongoDB, where a server behind a closed gate is looked for until the time for it is over.
fn mongodb_behind(gate: &Gate, place: &Place, server: &Mongo, database: &str) {
    let (user, password, port) = (server.user(), server.password(), gate.port());
    let file = format!(
        "kind = \"mongodb\"\nhosts = [\"127.0.0.1:{port}\"]\ndirect = true\nuser = \"{user}\"\npassword = \"{password}\"\n\
         database = \"{database}\"\ndatabases = [\"{database}\"]\nserver_selection_timeout = \"2s\"\n"
    );
    place.write("stores/shop.toml", &file);
}

/// Waits until the one row of `few` is read again.
async fn returned(session: &Session) {
    let few = async || session.rows("SELECT n FROM shop.few").await.ok().filter(|rows| *rows == ["1"]);
    eventually("the store's return", few).await;
}

/// A `shop` behind a gate that is closed when the server starts, opens, closes and opens again.
async fn comes_and_goes(gate: &Gate, place: &Place, password: &str) {
    place.sqlite("notes", NOTES).await;
    let server = place.serve().await;
    let session = proxy::connect(&server, OWNER).await;
    assert_eq!(session.answer("SELECT n FROM notes.notes").await, "7");
    for sql in ["SELECT n FROM shop.few", "SELECT * FROM shop.anything JOIN notes.notes ON true"] {
        let failure = session.failure(sql).await;
        assert!(failure.code.starts_with("08"), "{failure:?}");
        assert!(failure.message.contains("shop"), "{failure:?}");
        assert!(!format!("{failure:?}").contains(password), "{failure:?}");
    }
    let open = gate.open().await;
    returned(&session).await;
    // Away again: its tables stay known, and scans tell that it cannot be reached.
    open.shut().await;
    let failure = eventually("the loss", async || session.rows("SELECT n FROM shop.few").await.err()).await;
    assert!(failure.code.starts_with("08"), "{failure:?}");
    assert_eq!(session.answer("SELECT n FROM notes.notes").await, "7");
    let _open = gate.open().await;
    returned(&session).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mariadb_that_is_away_at_the_start_comes_back_by_itself() {
    let place = Place::new();
    let mariadb = support::mariadb().await;
    let database = endless::in_mariadb(mariadb).await;
    let gate = Gate::to(mariadb.host(), mariadb.port()).await;
    mariadb_behind(&gate, &place, mariadb, &database);
    comes_and_goes(&gate, &place, mariadb.password()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mongodb_that_is_away_at_the_start_comes_back_by_itself() {
    let place = Place::new();
    let mongodb = support::mongodb().await;
    let database = mongodb.fresh_database().await.unwrap();
    let client = endless::client(mongodb).await;
    client.database(&database).collection("few").insert_one(doc! { "_id": 1, "n": 1 }).await.unwrap();
    let gate = Gate::to(mongodb.host(), mongodb.port()).await;
    mongodb_behind(&gate, &place, mongodb, &database);
    comes_and_goes(&gate, &place, mongodb.password()).await;
}

/// A gate that closes while `stock` is read.
async fn cut_off_in_the_middle(gate: &Gate, place: &Place) {
    place.sqlite("notes", NOTES).await;
    let open = gate.open().await;
    let server = place.serve().await;
    let session = proxy::connect(&server, OWNER).await;
    let rows = begin(&session).await;
    open.shut().await;
    let failure = tokio::time::timeout(proxy::PATIENCE, end_of(rows)).await.expect("the scan goes on");
    assert!(failure.code.starts_with("08"), "{failure:?}");
    assert!(format!("{failure:?}").contains("shop"), "{failure:?}");
    assert_eq!(session.answer("SELECT n FROM notes.notes").await, "7");
    let failure = session.failure("SELECT n FROM shop.few").await;
    assert!(failure.code.starts_with("08"), "{failure:?}");
    let _open = gate.open().await;
    returned(&session).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mariadb_cut_off_in_the_middle_of_a_scan_fails_that_statement_only() {
    let place = Place::new();
    let mariadb = support::mariadb().await;
    let database = endless::in_mariadb(mariadb).await;
    let gate = Gate::to(mariadb.host(), mariadb.port()).await;
    mariadb_behind(&gate, &place, mariadb, &database);
    cut_off_in_the_middle(&gate, &place).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mongodb_cut_off_in_the_middle_of_a_scan_fails_that_statement_only() {
    let place = Place::new();
    let mongodb = support::mongodb().await;
    let database = endless::in_mongodb(mongodb).await;
    let gate = Gate::to(mongodb.host(), mongodb.port()).await;
    mongodb_behind(&gate, &place, mongodb, &database);
    cut_off_in_the_middle(&gate, &place).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_column_fails_once_and_is_then_unknown_in_mariadb() {
    let place = Place::new();
    let mariadb = support::mariadb().await;
    let database = mariadb.fresh_database().await.unwrap();
    let mut owner = direct(mariadb, &database).await;
    for sql in ["CREATE TABLE stock (n int PRIMARY KEY, size varchar(9))", "INSERT INTO stock VALUES (1, 'a')"] {
        owner.execute(sql).await.unwrap();
    }
    place.mariadb("shop", mariadb, &database, "");
    let server = place.serve().await;
    let session = proxy::connect(&server, OWNER).await;
    assert_eq!(session.answer("SELECT size FROM shop.stock").await, "a");
    owner.execute("ALTER TABLE stock DROP COLUMN size").await.unwrap();
    let failure = session.failure("SELECT size FROM shop.stock").await;
    assert_eq!((failure.code.as_str(), failure.message.as_str()), ("HV000", "table \"stock\" of store \"shop\" has changed"));
    assert!(failure.detail.contains("size") && failure.hint.contains("tributary.refresh('shop')"), "{failure:?}");
    eventually("the refresh", async || session.rows("SELECT * FROM shop.stock").await.ok().filter(|rows| *rows == ["1"])).await;
    assert_eq!(session.failure("SELECT size FROM shop.stock").await.code, "42703");
}

/// No connection of ours selects the database, so that one that is missing does not lock out the others of the server.
#[tokio::test(flavor = "multi_thread")]
async fn a_mariadb_database_that_is_not_there_has_no_tables_until_it_is_made() {
    let place = Place::new();
    let mariadb = support::mariadb().await;
    let other = endless::in_mariadb(mariadb).await;
    let missing = format!("{other}_later");
    place.mariadb("shop", mariadb, &missing, "");
    place.sqlite("notes", NOTES).await;
    let server = place.serve().await;
    let session = proxy::connect(&server, OWNER).await;
    for sql in ["SELECT n FROM shop.few", "SELECT * FROM shop.few JOIN notes.notes ON true"] {
        let failure = session.failure(sql).await;
        assert_eq!((failure.code.as_str(), failure.message.as_str()), ("42P01", "relation \"shop.few\" does not exist"));
    }
    assert_eq!(session.answer("SELECT n FROM notes.notes").await, "7");
    assert_eq!(session.answer(&format!("SELECT n FROM shop_{other}.few")).await, "1");

    let mut owner = direct(mariadb, &other).await;
    for sql in [format!("CREATE DATABASE {missing}"), format!("CREATE TABLE {missing}.few AS SELECT n + 1 AS n FROM few")] {
        owner.execute(AssertSqlSafe(sql)).await.unwrap();
    }
    session.answer("CALL tributary.refresh('shop')").await;
    assert_eq!(session.answer("SELECT n FROM shop.few").await, "2");
}
