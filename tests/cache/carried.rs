//! What a session has written and seen, carried to another connection and to another instance by `tributary.token`.

use mongodb::bson::Document;
use sqlx::Connection;
use sqlx::mysql::MySqlConnection;
use tributary::sandbox::Endpoint;

use super::behind::Behind;
use super::copies::{FROM_COPY, OF_ANY_AGE, reader, reads_by, until_cached, until_copied};
use super::world::{self, TABLES, cached};
use crate::changes::follow::until_streaming;
use crate::changes::native::Native;
use crate::changes::room::{self, LOG, Room};
use crate::commit::stage::{COLLECTIONS, START, keep_images, mongodb_client};
use crate::commit::{Said, ask, eventually};
use crate::support;
use crate::support::gate::Gate;
use crate::support::proxy::{self, Place};

/// How a session reads that wants the copy, and not before it has what it must have.
const FAILS: [(&str, &str); 1] = [("on_stale", "error")];

fn balance(store: &str, key: i64) -> String {
    format!("SELECT balance FROM {store}.accounts WHERE _id = {key}")
}

fn stale() -> Result<Vec<String>, Said> {
    Err(Said::Code("55000".to_owned()))
}

/// The lines by which a store is reached through a gate.
fn through(gate: &Gate, server: &Endpoint, database: &str) -> String {
    let (port, user, password) = (gate.port(), server.user(), server.password());
    let login = format!("user = \"{user}\"\npassword = \"{password}\"\ndatabase = \"{database}\"\n");
    format!("port = {port}\n{login}")
}

/// Two instances over one store, the second of which comes to it by a gate, and a writer to the store itself. What is written through the
/// first one, and what was read there, is carried to the second, whose copy is behind.
async fn carries(store: &'static str, (first, second): (Place, Place), gate: Gate, native: Native) {
    let open = gate.open().await;
    let (first, second) = (Box::pin(Room::open(first)).await, Box::pin(Room::open(second)).await);
    for room in [&first, &second] {
        until_streaming(room.session(), store, &TABLES).await;
        until_cached(room.session(), store, &TABLES).await;
    }
    let (here, address) = (first.server().addresses()[0], second.server().addresses()[0]);
    let mut behind = Behind::new(native);
    behind.keep(4_000, &[2]).await;
    let table = (store, "accounts");
    until_copied(&reader(address, &FROM_COPY).await, table, &balance(store, 2), &["4000".to_owned()]).await;
    // Its copy stays as it is from now on.
    open.freeze();
    let session = first.session();
    session.answer(&format!("UPDATE {store}.accounts SET balance = 5000 WHERE _id = 1")).await;
    let token = session.answer("SHOW tributary.token").await;
    assert!(!token.is_empty() && token.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_'), "{token}");
    let sql = balance(store, 1);
    let without = reader(address, &FAILS).await;
    assert_eq!(without.answer(&sql).await, START.to_string(), "one that knows of nothing reads what is there");
    let with = reader(address, &FAILS).await;
    with.answer(&format!("SET tributary.token = '{token}'")).await;
    assert_eq!(ask(&with, &sql).await, stale(), "{store}");
    // It carries on from there.
    let onwards = with.answer("SHOW tributary.token").await;
    let third = reader(address, &FAILS).await;
    third.answer(&format!("SET tributary.token = '{onwards}'")).await;
    assert_eq!(ask(&third, &sql).await, stale(), "{store}");
    third.answer("SET tributary.token = ''").await;
    assert_eq!(third.answer(&sql).await, START.to_string(), "a token that was cleared");
    let careless = reader(address, &OF_ANY_AGE).await;
    careless.answer(&format!("SET tributary.token = '{token}'")).await;
    assert_eq!(careless.answer(&sql).await, START.to_string());
    // What somebody else has written and was read there is carried as well.
    behind.keep(6_000, &[3]).await;
    let seeing = reader(here, &FROM_COPY).await;
    assert_eq!(seeing.answer(&balance(store, 3)).await, "6000");
    let seen = seeing.answer("SHOW tributary.token").await;
    assert_eq!(third.answer(&balance(store, 3)).await, START.to_string());
    third.answer(&format!("SET tributary.token = '{seen}'")).await;
    assert_eq!(ask(&third, &balance(store, 3)).await, stale(), "{store}: what was seen");
    open.shut().await;
    let _open = gate.open().await;
    for (session, key, expected) in [(&with, 1, "5000"), (&third, 3, "6000")] {
        let sql = balance(store, key);
        let caught_up = async || ask(session, &sql).await.ok();
        assert_eq!(eventually("a copy that has what was written", caught_up).await, [expected], "{store}");
    }
    reads_by(&with, &FROM_COPY).await;
    until_copied(&with, table, &sql, &["5000".to_owned()]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_carries_writes_to_another_instance_over_postgres_whose_copy_is_behind() {
    let server = room::postgres().await;
    let database = proxy::fresh(server, &world::statements()).await;
    let (first, second, lines) = (Place::new(), Place::new(), format!("{LOG}{}", cached(&TABLES)));
    first.postgres("pg", server, &database, &lines);
    let gate = Gate::to(server.host(), server.port()).await;
    let text = format!("kind = \"postgres\"\n{}deadline = \"2s\"\n{lines}", through(&gate, server, &database));
    second.write("stores/pg.toml", &text);
    let native = Native::Postgres(proxy::direct(server, &database).await);
    Box::pin(carries("pg", (first, second), gate, native)).await;
}

/// Others write in a domain of their own and as another server.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_carries_writes_to_another_instance_over_mariadb_whose_copy_is_behind() {
    let server = room::own_mariadb(&[]).await;
    let database = server.fresh_database().await.unwrap();
    let options = server.mysql_options().database(&database);
    let mut native = Native::MariaDb(MySqlConnection::connect_with(&options).await.unwrap());
    native.run(&world::statements()).await;
    let own = format!("changes.tables = [\"{database}.*\"]\n");
    let (first, second, lines) = (Place::new(), Place::new(), format!("{own}{LOG}{}", cached(&TABLES)));
    first.mariadb("maria", &server, &database, &lines);
    let gate = Gate::to(server.host(), server.port()).await;
    let text = format!("kind = \"mariadb\"\n{}query_timeout = \"2s\"\n{lines}", through(&gate, &server, &database));
    second.write("stores/maria.toml", &text);
    native.run("SET SESSION gtid_domain_id = 7; SET SESSION server_id = 99").await;
    Box::pin(carries("maria", (first, second), gate, native)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_carries_writes_to_another_instance_over_mongodb_whose_copy_is_behind() {
    let server = support::mongodb().await;
    let name = server.fresh_database().await.unwrap();
    let client = mongodb_client(server).await;
    let database = client.database(&name);
    for (collection, documents) in world::documents() {
        database.collection::<Document>(collection).insert_many(documents).await.unwrap();
    }
    let (first, second, lines) = (Place::new(), Place::new(), format!("{LOG}{}{COLLECTIONS}", cached(&TABLES)));
    keep_images(&database, &TABLES, &lines).await;
    first.mongodb("mongo", server, &name, &lines);
    let gate = Gate::to(server.host(), server.port()).await;
    let (port, user, password) = (gate.port(), server.user(), server.password());
    let login = format!("hosts = [\"127.0.0.1:{port}\"]\ndirect = true\nuser = \"{user}\"\npassword = \"{password}\"\n");
    let databases = format!("database = \"{name}\"\ndatabases = [\"{name}\"]\n");
    let patience = "query_timeout = \"3s\"\nserver_selection_timeout = \"3s\"\n";
    second.write("stores/mongo.toml", &format!("kind = \"mongodb\"\n{login}{databases}{patience}{lines}"));
    Box::pin(carries("mongo", (first, second), gate, Native::MongoDb { client, database, open: None })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_merged_and_what_is_none_is_refused() {
    let world = world::of_sqlite().await;
    let (one, other, third) = (world.reader(&[]).await, world.reader(&[]).await, world.reader(&[("on_stale", "wait")]).await);
    one.answer("UPDATE file.accounts SET balance = 5001 WHERE _id = 1").await;
    other.answer("UPDATE file.accounts SET balance = 5002 WHERE _id = 2").await;
    for session in [&other, &one] {
        let token = session.answer("SHOW tributary.token").await;
        third.answer(&format!("SET tributary.token = '{token}'")).await;
    }
    let both = "SELECT balance FROM file.accounts WHERE _id IN (1, 2) ORDER BY _id";
    assert_eq!(third.answer(both).await, "5001\n5002");
    let merged = third.answer("SHOW tributary.token").await;
    assert!(!merged.is_empty());
    // Neither RESET nor DISCARD forgets what was written.
    third.answer("RESET ALL").await;
    third.answer("DISCARD ALL").await;
    assert_eq!(third.answer("SHOW tributary.token").await, merged);
    let token = one.answer("SHOW tributary.token").await;
    let (cut, turned) = (token[..token.len() / 2].to_owned(), token.chars().rev().collect::<String>());
    for wrong in ["x", "{}", "AAAA", "....", cut.as_str(), turned.as_str()] {
        let failure = third.failure(&format!("SET tributary.token = '{wrong}'")).await;
        assert_eq!(failure.code, "22023", "{wrong}: {failure:?}");
    }
    let long = "A".repeat(1 << 20);
    assert_eq!(third.failure(&format!("SET tributary.token = '{long}'")).await.code, "54000");
    assert_eq!(third.answer(both).await, "5001\n5002");
}
