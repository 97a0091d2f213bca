//! Transactions that are in the log of their store, and so in a copy, before anybody sees them in the store itself. For an ordinary commit that
//! is a moment, which writers beside a table that is loaded meet now and then. Where a commit waits for a standby that is not there,
//! it lasts until the test ends it.

use std::time::Duration;

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection, Executor};
use tokio_util::sync::CancellationToken;
use tributary::sandbox::Postgres;
use tributary::task::OwnedTask;

use super::behind::Behind;
use super::copies::{FROM_COPY, FROM_STORE, copied, reader, reload, until_cached, until_copied};
use super::world::{self, TABLES, World, cached};
use crate::changes::follow::told;
use crate::changes::native::Native;
use crate::changes::room::{self, LOG, Room};
use crate::commit::eventually;
use crate::commit::stage::{ACCOUNTS, START};
use crate::support::proxy;

/// How often a table is loaded while others write.
const LOADS: i64 = 5;
/// How long they write before and behind it.
const WHILE: Duration = Duration::from_millis(60);
/// Numbers of one round.
const ROUND: i64 = 1_000_000;

/// Gives keys larger and larger numbers until it is stopped, some of which are undone.
fn writing(mut behind: Behind, (first, keys): (i64, Vec<i64>), stop: CancellationToken) -> OwnedTask<Behind> {
    OwnedTask::spawn(async move {
        let mut number = first;
        while !stop.is_cancelled() {
            number += 1;
            let key = keys[usize::try_from(number).unwrap() % keys.len()];
            behind.write(number, &[key], number % 5 != 0).await.unwrap();
        }
        behind
    })
}

/// Loads the tables while two write, and compares them with the store each time.
async fn races(world: World, connect: impl AsyncFn(&Room) -> Native) {
    let store = world.store;
    let address = world.address();
    let (room, behind) = world.into_writer();
    let mut writers = vec![behind, Behind::new(connect(&room).await)];
    let (of_copy, of_store) = (reader(address, &FROM_COPY).await, reader(address, &FROM_STORE).await);
    for round in 1..=LOADS {
        let stop = CancellationToken::new();
        let tasks: Vec<OwnedTask<Behind>> = writers
            .drain(..)
            .zip(0..)
            .map(|(behind, place)| {
                let keys = (1..=ACCOUNTS).filter(|key| key % 2 == place).collect();
                writing(behind, (round * ROUND, keys), stop.clone())
            })
            .collect();
        tokio::time::sleep(WHILE).await;
        for table in ["accounts", "moves"] {
            reload(room.session(), (store, table)).await;
        }
        tokio::time::sleep(WHILE).await;
        stop.cancel();
        for task in tasks {
            writers.push(task.join().await.expect("a writer has failed"));
        }
        for (table, column) in [("accounts", "balance"), ("moves", "amount")] {
            let sql = format!("SELECT _id, {column} FROM {store}.{table} ORDER BY _id");
            let expected = of_store.rows(&sql).await.unwrap();
            assert_eq!(copied(&of_copy, (store, table), &sql).await, expected, "{store}.{table}, load {round}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_of_postgres_that_are_loaded_while_others_write_are_the_tables() {
    let connect = async |room: &Room| {
        let named = std::fs::read_to_string(room.place.path().join("stores/pg.toml")).unwrap();
        let database = named.lines().find_map(|line| line.strip_prefix("database = \"")?.strip_suffix('"')).unwrap();
        Native::Postgres(proxy::direct(room::postgres().await, database).await)
    };
    Box::pin(races(world::of_postgres().await, connect)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_of_mariadb_that_are_loaded_while_others_write_are_the_tables() {
    let connect = async |room: &Room| {
        let named = std::fs::read_to_string(room.place.path().join("stores/maria.toml")).unwrap();
        let database = named.lines().find_map(|line| line.strip_prefix("database = \"")?.strip_suffix('"')).unwrap();
        let options = room::mariadb().await.mysql_options().database(database);
        let mut native = Native::MariaDb(sqlx::mysql::MySqlConnection::connect_with(&options).await.unwrap());
        native.run("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED").await;
        native
    };
    Box::pin(races(world::of_mariadb().await, connect)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_of_mongodb_that_are_loaded_while_others_write_are_the_collections() {
    let world = world::of_mongodb().await;
    let Native::MongoDb { client, database, .. } = &world.native else { panic!("this is no MongoDB") };
    let (client, database) = (client.clone(), database.clone());
    let connect = async |_room: &Room| Native::MongoDb { client: client.clone(), database: database.clone(), open: None };
    Box::pin(races(world, connect)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_of_a_file_that_are_loaded_while_others_write_are_the_tables() {
    Box::pin(races(world::of_sqlite().await, async |room: &Room| room::in_file(&room.place).await)).await;
}

/// A PostgreSQL whose commits wait for a standby that does not come, behind a Tributary that has copies of its tables.
struct Waiting {
    room: Room,
    server: Postgres,
    database: String,
    /// The commit that waits.
    commit: Option<OwnedTask<()>>,
}

impl Waiting {
    /// Begins a commit of the number 5000 for key 1, and waits until Tributary has been told of it.
    async fn begin() -> Self {
        let server = room::own_postgres(&[]).await;
        let lines = format!("{LOG}{}", cached(&TABLES));
        let (room, mut native) = Box::pin(room::on_postgres(&server, &world::statements(), &lines, &TABLES)).await;
        until_cached(room.session(), "pg", &TABLES).await;
        let Native::Postgres(connection) = &mut native else { panic!("this is no PostgreSQL") };
        let database: String = sqlx::query_scalar("SELECT current_database()::text").fetch_one(connection).await.unwrap();
        let mut waiting = Self { room, server, database, commit: None };
        waiting.standby("'nobody'").await;
        waiting.commit = Some(OwnedTask::spawn(async move {
            native.run("UPDATE accounts SET balance = 5000 WHERE _id = 1").await;
        }));
        let rows = async || {
            let rows = told(waiting.room.session(), "pg", "table_name, new->>'balance'").await;
            rows.iter().any(|row| row == "accounts|5000").then_some(())
        };
        eventually("the change", rows).await;
        let mut direct = waiting.direct().await;
        let seen: i64 = sqlx::query_scalar("SELECT balance FROM accounts WHERE _id = 1").fetch_one(&mut direct).await.unwrap();
        assert_eq!(seen, START, "the commit does not wait");
        waiting
    }

    async fn direct(&self) -> PgConnection {
        proxy::direct(&self.server, &self.database).await
    }

    /// For which standby commits wait.
    async fn standby(&self, names: &str) {
        let mut connection = self.direct().await;
        connection.execute(AssertSqlSafe(format!("ALTER SYSTEM SET synchronous_standby_names = {names}"))).await.unwrap();
        connection.execute("SELECT pg_reload_conf()").await.unwrap();
        let shown = async || {
            let mut connection = self.direct().await;
            let now: String = sqlx::query_scalar("SHOW synchronous_standby_names").fetch_one(&mut connection).await.unwrap();
            (now == names.trim_matches('\'')).then_some(())
        };
        eventually("the setting", shown).await;
    }

    /// Lets the commit end.
    async fn end(&mut self) {
        self.standby("''").await;
        self.commit.take().unwrap().join().await.expect("the commit has failed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_postgres_that_is_loaded_while_a_logged_transaction_is_not_visible_has_it_afterwards() {
    let mut waiting = Box::pin(Waiting::begin()).await;
    // It may be loaded without that transaction, or wait for it.
    let loading = reload(waiting.room.session(), ("pg", "accounts"));
    tokio::time::timeout(Duration::from_secs(10), loading).await.ok();
    waiting.end().await;
    let reader = reader(waiting.room.server().addresses()[0], &FROM_COPY).await;
    let sql = "SELECT balance FROM pg.accounts WHERE _id = 1";
    until_copied(&reader, ("pg", "accounts"), sql, &["5000".to_owned()]).await;
    let counted = "SELECT count(*), sum(balance) FROM pg.accounts";
    let expected = format!("{ACCOUNTS}|{}", (ACCOUNTS - 1) * START + 5_000);
    until_copied(&reader, ("pg", "accounts"), counted, &[expected]).await;
}
