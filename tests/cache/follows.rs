//! Copies follow whoever writes: behind Tributary and through it, what is undone, moved, emptied, altered and dropped.

use std::time::Duration;

use mongodb::bson::{Document, doc};
use tributary::sandbox::{Endpoint, Wire};

use super::copies::{FROM_COPY, FROM_STORE, OF_ANY_AGE, analyzed, copied, served, shown, until_cached, until_copied};
use super::world::{self, TABLES, World, cached};
use crate::changes::check::Deed;
use crate::changes::follow::until_streaming;
use crate::changes::native::{Native, sql};
use crate::changes::room::{self, LOG, Room};
use crate::commit::stage::{ACCOUNTS, COLLECTIONS, LISTS, START, keep_images, mongodb_client};
use crate::commit::{Said, ask, eventually};
use crate::support;
use crate::support::proxy::{self, Place};

/// What is done to `accounts`, each by itself.
fn deeds(store: &str, version: i64) -> Vec<Deed> {
    let (first, added, moved) = (1 + version, 100 + version, 200 + version);
    let mut deeds = vec![
        Deed::Put { key: first, value: 5_000 + version },
        Deed::Put { key: added, value: 5_010 + version },
        Deed::Delete { key: first },
        Deed::Put { key: added, value: 5_020 + version },
    ];
    if store != "mongo" {
        deeds.push(Deed::Move { from: added, to: moved, value: 5_030 + version });
    }
    deeds
}

async fn follows(mut world: World) {
    let store = world.store;
    let table = (store, "accounts");
    let all = format!("SELECT _id, balance FROM {store}.accounts ORDER BY _id");
    let reader = world.reader(&FROM_COPY).await;
    assert_eq!(copied(&reader, table, &all).await, world.listed());
    for deed in deeds(store, 0) {
        world.does(deed).await;
        assert_eq!(copied(&reader, table, &all).await, world.listed(), "{store} behind {deed:?}");
    }
    world.undoes(Deed::Put { key: 5, value: 7 }).await;
    assert_eq!(copied(&reader, table, &all).await, world.listed(), "{store} behind what was undone");
    for deed in deeds(store, 1) {
        let statement = sql(&format!("{store}.accounts"), deed, &world.rows);
        world.room.session().answer(&statement).await;
        deed.apply(&mut world.rows);
        assert_eq!(copied(&reader, table, &all).await, world.listed(), "{store} behind {statement}");
    }
    let in_store = world.reader(&FROM_STORE).await;
    assert_eq!(in_store.rows(&all).await.unwrap(), world.listed());
    let shown = shown(&reader, table).await.unwrap();
    assert_eq!((usize::try_from(shown.rows).unwrap(), shown.state.as_str()), (world.rows.len(), "cached"), "{shown:?}");
    assert!(shown.bytes > 0 && shown.reason.is_empty(), "{shown:?}");
    reads(&world).await;
}

/// Parts of the copy: by key, by conditions, counted, sorted, and joined with another copy.
async fn reads(world: &World) {
    let store = world.store;
    let (reader, in_store) = (world.reader(&FROM_COPY).await, world.reader(&FROM_STORE).await);
    for statement in [
        "SELECT balance FROM @.accounts WHERE _id = 6",
        "SELECT balance FROM @.accounts WHERE _id = 77777",
        "SELECT _id, balance FROM @.accounts WHERE _id IN (3, 4, 4, 99999) ORDER BY _id",
        "SELECT _id FROM @.accounts WHERE _id = 3 AND balance < 0",
        "SELECT _id FROM @.accounts WHERE _id = 3 OR balance > 5000 ORDER BY _id",
        "SELECT count(*), sum(balance), min(_id) FROM @.accounts",
        "SELECT count(*) FROM @.accounts WHERE balance % 2 = 1",
        "SELECT _id FROM @.accounts ORDER BY balance DESC, _id DESC LIMIT 3 OFFSET 1",
        "SELECT _id FROM @.accounts WHERE balance > 1000 ORDER BY _id LIMIT 1",
        "SELECT a._id, m.amount FROM @.accounts a JOIN @.moves m ON m._id = a._id WHERE a._id < 5 ORDER BY a._id",
        "SELECT a._id FROM @.accounts a WHERE NOT EXISTS (SELECT 1 FROM @.moves m WHERE m._id = a._id) ORDER BY a._id",
        "SELECT a.balance FROM @.accounts a, @.accounts b WHERE a._id = b._id + 1 ORDER BY a._id",
        "WITH a AS (SELECT * FROM @.accounts) SELECT (SELECT max(balance) FROM a) - (SELECT min(balance) FROM a)",
    ] {
        let statement = statement.replace('@', store);
        let rows = copied(&reader, (store, "accounts"), &statement).await;
        assert_eq!(rows, in_store.rows(&statement).await.unwrap(), "{statement}");
    }
    // Prepared, by the extended protocol.
    let by_key = reader.prepare(&format!("SELECT balance FROM {store}.accounts WHERE _id = $1")).await.unwrap();
    let before = served(&reader, (store, "accounts")).await;
    for key in (1..=ACCOUNTS).chain([999]) {
        let rows = reader.query(&by_key, &[&key]).await.unwrap();
        let found: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
        assert_eq!(found, world.rows.get(&key).copied().into_iter().collect::<Vec<_>>(), "{store}: {key}");
    }
    assert!(served(&reader, (store, "accounts")).await >= before + u64::try_from(ACCOUNTS).unwrap());
    let text = format!("SELECT sum(balance) FROM {store}.accounts");
    let (of_copy, of_store) = (analyzed(&reader, &text).await, analyzed(&in_store, &text).await);
    assert!(of_copy.contains("Source: copy"), "{of_copy}");
    assert!(!of_store.contains("Source: copy"), "{of_store}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cached_table_of_postgres_follows_whoever_writes() {
    Box::pin(follows(world::of_postgres().await)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cached_table_of_mariadb_follows_whoever_writes() {
    Box::pin(follows(world::of_mariadb().await)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cached_collection_of_mongodb_follows_whoever_writes() {
    Box::pin(follows(world::of_mongodb().await)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cached_table_of_a_file_follows_whoever_writes() {
    Box::pin(follows(world::of_sqlite().await)).await;
}

/// Empties `accounts` in the store, and `moves` through Tributary.
async fn emptied(mut world: World) {
    let store = world.store;
    let reader = world.reader(&FROM_COPY).await;
    let count = |table: &str| format!("SELECT count(*) FROM {store}.{table}");
    match &mut world.native {
        Native::MongoDb { database, .. } => {
            database.collection::<Document>("accounts").delete_many(doc! {}).await.unwrap();
        }
        Native::Sqlite(_) => world.native.run("DELETE FROM accounts").await,
        Native::Postgres(_) | Native::MariaDb(_) => world.native.run("TRUNCATE TABLE accounts").await,
    }
    world.rows.clear();
    assert_eq!(copied(&reader, (store, "accounts"), &count("accounts")).await, ["0"]);
    world.does(Deed::Put { key: 7, value: 70 }).await;
    let all = format!("SELECT _id, balance FROM {store}.accounts ORDER BY _id");
    assert_eq!(copied(&reader, (store, "accounts"), &all).await, ["7|70"]);
    world.room.session().answer(&format!("TRUNCATE {store}.moves")).await;
    // A store may empty a table by making it anew, which is another shape.
    until_copied(&reader, (store, "moves"), &count("moves"), &["0".to_owned()]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cached_table_of_postgres_that_is_emptied_is_empty() {
    Box::pin(emptied(world::of_postgres().await)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cached_table_of_mariadb_that_is_emptied_is_empty() {
    Box::pin(emptied(world::of_mariadb().await)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cached_collection_of_mongodb_that_is_emptied_is_empty() {
    Box::pin(emptied(world::of_mongodb().await)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cached_table_of_a_file_that_is_emptied_is_empty() {
    Box::pin(emptied(world::of_sqlite().await)).await;
}

/// Another column, then another table under the same name.
async fn shaped(mut world: World) {
    let store = world.store;
    let reader = world.reader(&FROM_COPY).await;
    let statement = format!("SELECT w FROM {store}.accounts WHERE _id = 50");
    world.native.run("ALTER TABLE accounts ADD COLUMN w bigint").await;
    world.native.run("INSERT INTO accounts (_id, balance, w) VALUES (50, 5, 6)").await;
    let refresh = format!("CALL tributary.refresh('{store}')");
    let known = async || {
        ask(&reader, &refresh).await.ok()?;
        ask(&reader, &statement).await.ok().filter(|rows| *rows == ["6"]).map(drop)
    };
    eventually("the new column", known).await;
    until_copied(&reader, (store, "accounts"), &statement, &["6".to_owned()]).await;
    world.native.run("UPDATE accounts SET w = 7 WHERE _id = 50").await;
    until_copied(&reader, (store, "accounts"), &statement, &["7".to_owned()]).await;
    world.native.run("DROP TABLE lists").await;
    let lists = format!("SELECT _id, v FROM {store}.lists ORDER BY _id");
    let gone = async || {
        ask(&reader, &refresh).await.ok()?;
        let is_shown = shown(&reader, (store, "lists")).await.is_some();
        (ask(&reader, &lists).await == Err(Said::Code("42P01".to_owned())) && !is_shown).then_some(())
    };
    eventually("the end of the table", gone).await;
    until_copied(&reader, (store, "accounts"), &statement, &["7".to_owned()]).await;
    world.native.run("CREATE TABLE lists (_id bigint NOT NULL PRIMARY KEY, v text NOT NULL)").await;
    world.native.run("INSERT INTO lists VALUES (1, 'of another table')").await;
    let again = async || {
        ask(&reader, &refresh).await.ok()?;
        ask(&reader, &lists).await.ok().map(drop)
    };
    eventually("the other table", again).await;
    until_copied(&reader, (store, "lists"), &lists, &["1|of another table".to_owned()]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cached_table_of_postgres_that_is_altered_or_dropped_is_never_read_as_it_was() {
    Box::pin(shaped(world::of_postgres().await)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cached_table_of_mariadb_that_is_altered_or_dropped_is_never_read_as_it_was() {
    Box::pin(shaped(world::of_mariadb().await)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cached_table_of_a_file_that_is_altered_or_dropped_is_never_read_as_it_was() {
    Box::pin(shaped(world::of_sqlite().await)).await;
}

/// A table that is dropped and made again with the same columns is another one, whatever it looks like: who did that through Tributary never
/// sees the old rows again, and what is written to the new one comes to its copy.
async fn replaced(world: World) {
    let (store, session) = (world.store, world.room.session());
    let listed = format!("SELECT id, n FROM {store}.again ORDER BY id");
    session.answer(&format!("CREATE TABLE {store}.again (id bigint PRIMARY KEY, n bigint)")).await;
    session.answer(&format!("INSERT INTO {store}.again VALUES (1, 1), (2, 2)")).await;
    session.answer(&format!("ALTER TABLE {store}.again SET (tributary.cached = true)")).await;
    until_cached(session, store, &["again"]).await;
    let bare = proxy::open(&proxy::login(world.room.server().addresses()[0], proxy::OWNER)).await.unwrap();
    for round in 3..6 {
        let made = format!(
            "DROP TABLE {store}.again; CREATE TABLE {store}.again (id bigint PRIMARY KEY, n bigint); INSERT INTO {store}.again VALUES ({round}, 0)"
        );
        // At once where the store can do that, else one by one.
        if store == "maria" {
            for statement in made.split("; ") {
                session.answer(statement).await;
            }
        } else {
            session.answer(&format!("BEGIN; {made}; COMMIT")).await;
        }
        assert_eq!(session.answer(&listed).await, format!("{round}|0"), "{store}");
        session.answer(&format!("UPDATE {store}.again SET n = n + 1")).await;
        assert_eq!(session.answer(&listed).await, format!("{round}|1"), "{store}");
        bare.answer("SET tributary.consistency = 'strong'").await;
        assert_eq!(bare.answer(&listed).await, format!("{round}|1"), "{store}");
        until_cached(session, store, &["again"]).await;
        session.answer(&format!("UPDATE {store}.again SET n = n + 1")).await;
        assert_eq!(session.answer(&listed).await, format!("{round}|2"), "{store}");
        assert_eq!(bare.answer(&listed).await, format!("{round}|2"), "{store}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cached_table_of_postgres_that_is_replaced_by_its_like_is_never_read_as_it_was() {
    Box::pin(replaced(world::of_postgres().await)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cached_table_of_mariadb_that_is_replaced_by_its_like_is_never_read_as_it_was() {
    Box::pin(replaced(world::of_mariadb().await)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cached_table_of_a_file_that_is_replaced_by_its_like_is_never_read_as_it_was() {
    Box::pin(replaced(world::of_sqlite().await)).await;
}

/// Reads in a row.
const READS: u64 = 200;

/// Reads of a copy cost their store nothing: less than one question for two reads, where reads of the store cost one each.
async fn costs(place: Place, wire: &Wire, store: &'static str) {
    // An idle store is asked for its position once in a while, and not with each read.
    place.configure("cache.look = \"60s\"");
    let room = Box::pin(Room::open(place)).await;
    until_streaming(room.session(), store, &TABLES).await;
    until_cached(room.session(), store, &TABLES).await;
    let address = room.server().addresses()[0];
    let sql = format!("SELECT balance FROM {store}.accounts WHERE _id = 1");
    let cost = async |settings: &[(&str, &str)]| {
        let session = super::copies::reader(address, settings).await;
        let before = wire.total();
        for _ in 0..READS {
            assert_eq!(session.answer(&sql).await, START.to_string());
        }
        wire.total().since(before).round_trips
    };
    assert!(cost(&FROM_STORE).await >= READS, "reads of the store are not counted");
    // The feed itself says something now and then.
    let cheap = async || (cost(&OF_ANY_AGE).await < READS / 2).then_some(());
    eventually("reads that ask nobody", cheap).await;
}

/// A store file of a server behind a forwarder.
fn behind(place: &Place, (store, kind): (&str, &str), (endpoint, database): (&Endpoint, &str), lines: &str) {
    let (user, password, port) = (endpoint.user(), endpoint.password(), endpoint.port());
    let login = format!("user = \"{user}\"\npassword = \"{password}\"\ndatabase = \"{database}\"\n");
    let own = match kind {
        "mongodb" => format!("hosts = [\"127.0.0.1:{port}\"]\ndirect = true\ndatabases = [\"{database}\"]\n"),
        _ => format!("port = {port}\n"),
    };
    place.write(&format!("stores/{store}.toml"), &format!("kind = \"{kind}\"\n{own}{login}{LOG}{}{lines}", cached(&TABLES)));
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_of_a_copy_ask_postgres_nothing() {
    let (server, place) = (room::postgres().await, Place::new());
    let database = proxy::fresh(server, &world::statements()).await;
    let wire = Wire::to(server, Duration::ZERO).await.unwrap();
    behind(&place, ("pg", "postgres"), (&wire.in_front_of(server), &database), "");
    Box::pin(costs(place, &wire, "pg")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_of_a_copy_ask_mariadb_nothing() {
    let (server, place) = (room::mariadb().await, Place::new());
    let database = server.fresh_database().await.unwrap();
    let options = server.mysql_options().database(&database);
    let connection = <sqlx::mysql::MySqlConnection as sqlx::Connection>::connect_with(&options).await.unwrap();
    Native::MariaDb(connection).run(&world::statements()).await;
    let wire = Wire::to(server, Duration::ZERO).await.unwrap();
    let own = format!("changes.tables = [\"{database}.*\"]\n");
    behind(&place, ("maria", "mariadb"), (&wire.in_front_of(server), &database), &own);
    Box::pin(costs(place, &wire, "maria")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_of_a_copy_ask_mongodb_nothing() {
    let (server, place) = (support::mongodb().await, Place::new());
    let database = server.fresh_database().await.unwrap();
    let client = mongodb_client(server).await;
    let documents = |field: &str, count: i64| {
        (1..=count)
            .map(|id| {
                let mut document = doc! { "_id": id };
                document.insert(field, START);
                document
            })
            .collect::<Vec<Document>>()
    };
    for (collection, field, count) in [("accounts", "balance", ACCOUNTS), ("moves", "amount", ACCOUNTS), ("lists", "n", LISTS)] {
        client.database(&database).collection::<Document>(collection).insert_many(documents(field, count)).await.unwrap();
    }
    let wire = Wire::to(server, Duration::ZERO).await.unwrap();
    keep_images(&client.database(&database), &TABLES, &cached(&TABLES)).await;
    behind(&place, ("mongo", "mongodb"), (&wire.in_front_of(server), &database), COLLECTIONS);
    Box::pin(costs(place, &wire, "mongo")).await;
}
