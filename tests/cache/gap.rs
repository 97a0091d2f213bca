//! Transactions that are in the log of their store, and so in a copy, before anybody sees them in the store itself. For an ordinary commit that
//! is a moment, which writers beside a table that is loaded meet now and then. Where a commit waits for a standby or a replica that is not
//! there, it lasts until the test ends it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use sqlx::mysql::MySqlConnection;
use sqlx::{AssertSqlSafe, Connection, Executor};
use tokio_util::sync::CancellationToken;
use tributary::sandbox::{MariaDb, Postgres, Tributary};
use tributary::task::OwnedTask;

use super::behind::Behind;
use super::copies::{FROM_COPY, FROM_STORE, analyzed, copied, reader, reload, until_cached, until_copied, until_state};
use super::results::{cache_line, until_hit};
use super::world::{self, TABLES, World, cached};
use crate::changes::follow::{told, until_streaming};
use crate::changes::native::Native;
use crate::changes::room::{self, LOG, Room};
use crate::commit::eventually;
use crate::commit::stage::{ACCOUNTS, START, WITHOUT, address, start};
use crate::support::proxy::{self, Place, Session};

/// How often a table is loaded while others write.
const LOADS: i64 = 5;
/// How long they write before and behind it.
const WHILE: Duration = Duration::from_millis(60);
/// Numbers of one round.
const ROUND: i64 = 1_000_000;

/// Gives keys larger and larger numbers until it is stopped, some of which are undone. Rests for longer than it writes, so that whoever follows
/// it gets to its end on a machine that is busy too.
fn writing(mut behind: Behind, (first, keys): (i64, Vec<i64>), stop: CancellationToken) -> OwnedTask<Behind> {
    OwnedTask::spawn(async move {
        let mut number = first;
        while !stop.is_cancelled() {
            number += 1;
            let key = keys[usize::try_from(number).unwrap() % keys.len()];
            let began = Instant::now();
            behind.write(number, &[key], number % 5 != 0).await.unwrap();
            tokio::time::sleep(began.elapsed() * 2).await;
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
        let options = room::synced_mariadb().await.mysql_options().database(database);
        let mut native = Native::MariaDb(sqlx::mysql::MySqlConnection::connect_with(&options).await.unwrap());
        native.run("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED").await;
        native
    };
    Box::pin(races(world::of_synced_mariadb().await, connect)).await;
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

/// The number that a commit which waits gives key 1.
const LATER: i64 = 5_000;
/// How often a result is tried to be kept meanwhile. A store that is slow to say where it is takes more than a second for each.
const TRIES: usize = 3;

/// A Tributary as a process of its own, which has copies of the tables of a store, and keeps results of a query.
struct Front {
    // In the order in which they are dropped: the process before its directory.
    session: Session,
    proxy: Tributary,
    store: &'static str,
    _place: Place,
}

impl Front {
    /// Before the one store of a directory; without a rule, where one is named.
    async fn start(place: Place, store: &'static str, without: &str) -> Self {
        // An auditor would find what becomes of a copy without it.
        let proxy = Box::pin(start(&place, "cache.audit = \"0s\"", without)).await;
        let session = reader(address(&proxy), &[]).await;
        until_streaming(&session, store, &TABLES).await;
        until_cached(&session, store, &TABLES).await;
        let front = Self { session, proxy, store, _place: place };
        front.session.answer(&format!("CREATE CACHE totals FOR {}", front.totals())).await;
        until_hit(&front.session, &front.totals()).await;
        front
    }

    fn address(&self) -> SocketAddr {
        address(&self.proxy)
    }

    /// The query whose results are kept.
    fn totals(&self) -> String {
        format!("SELECT count(*), sum(balance) FROM {}.accounts", self.store)
    }

    /// What it gives before the commit, and behind it.
    fn expected(is_later: bool) -> String {
        let all = if is_later { (ACCOUNTS - 1) * START + LATER } else { ACCOUNTS * START };
        format!("{ACCOUNTS}|{all}")
    }

    fn balance(&self) -> String {
        format!("SELECT balance FROM {}.accounts WHERE _id = 1", self.store)
    }

    /// Waits until it was told of the commit.
    async fn until_told(&self) {
        let is_told = async || {
            let rows = told(&self.session, self.store, "table_name, new->>'balance'").await;
            rows.contains(&format!("accounts|{LATER}")).then_some(())
        };
        eventually("the change", is_told).await;
    }

    /// No result is kept that is made while the commit waits, however often that is tried.
    async fn assert_rejects(&self) {
        let mut rejected = 0;
        let tried = async || {
            let plan = analyzed(&self.session, &self.totals()).await;
            let line = cache_line(&plan).unwrap_or_default();
            let is_rejected = line.contains("Cache: rejected: ");
            // What was made before may be given for the moment until it is known to be old.
            assert!(is_rejected || rejected == 0 && line.contains("Cache: hit"), "{}, {rejected}: {plan}", self.store);
            rejected += usize::from(is_rejected);
            (rejected == TRIES).then_some(())
        };
        eventually("a result that is not kept", tried).await;
    }

    /// A result is made and kept while the commit waits.
    async fn until_filled(&self) {
        let is_filled = async || {
            let plan = analyzed(&self.session, &self.totals()).await;
            cache_line(&plan).is_some_and(|line| line.contains("Cache: filled")).then_some(())
        };
        eventually("a result that is kept", is_filled).await;
    }

    /// The commit has ended: results have it, and so has the copy.
    async fn assert_has_it(&self) {
        let strong = reader(self.address(), &[("consistency", "strong")]).await;
        assert_eq!(strong.answer(&self.totals()).await, Self::expected(true), "{}", self.store);
        until_hit(&strong, &self.totals()).await;
        assert_eq!(strong.answer(&self.totals()).await, Self::expected(true), "{}", self.store);
        let of_copy = reader(self.address(), &FROM_COPY).await;
        let table = (self.store, "accounts");
        until_copied(&of_copy, table, &self.balance(), &[LATER.to_string()]).await;
        let largest = format!("SELECT count(*), max(balance) FROM {}.accounts", self.store);
        until_copied(&of_copy, table, &largest, &[format!("{ACCOUNTS}|{LATER}")]).await;
    }

    /// What becomes of both where nobody asks whether it was in what was read.
    async fn assert_misses_it(&self) {
        let any = reader(self.address(), &[]).await;
        until_hit(&any, &self.totals()).await;
        assert_eq!(any.answer(&self.totals()).await, Self::expected(false), "nobody misses the rule: the result is right");
        let of_copy = reader(self.address(), &FROM_COPY).await;
        until_copied(&of_copy, (self.store, "accounts"), &self.balance(), &[START.to_string()]).await;
    }
}

/// A PostgreSQL whose commits wait for a standby that does not come, with two Tributaries before one database of it: the second one does not
/// ask whether what it was told of is in what it reads.
struct Waiting {
    fronts: [Front; 2],
    server: Postgres,
    database: String,
    /// The commit that waits.
    commit: Option<OwnedTask<()>>,
}

impl Waiting {
    /// Begins a commit, and waits until both were told of it.
    async fn begin() -> Self {
        let server = room::own_postgres(&[]).await;
        let database = proxy::fresh(&server, &world::statements()).await;
        let place = || {
            let place = Place::new();
            place.postgres("pg", &server, &database, &format!("{LOG}{}", cached(&TABLES)));
            place
        };
        let fronts = [
            Box::pin(Front::start(place(), "pg", "")).await,
            Box::pin(Front::start(place(), "pg", &format!("{WITHOUT}contained"))).await,
        ];
        let mut native = Native::Postgres(proxy::direct(&server, &database).await);
        let mut waiting = Self { fronts, server, database, commit: None };
        waiting.standby("'nobody'").await;
        waiting.commit = Some(OwnedTask::spawn(async move {
            native.run(&format!("UPDATE accounts SET balance = {LATER} WHERE _id = 1")).await;
        }));
        for front in &waiting.fronts {
            front.until_told().await;
        }
        let mut direct = proxy::direct(&waiting.server, &waiting.database).await;
        let seen: i64 = sqlx::query_scalar("SELECT balance FROM accounts WHERE _id = 1").fetch_one(&mut direct).await.unwrap();
        assert_eq!(seen, START, "the commit does not wait");
        waiting
    }

    /// For which standby commits wait.
    async fn standby(&self, names: &str) {
        let mut connection = proxy::direct(&self.server, &self.database).await;
        connection.execute(AssertSqlSafe(format!("ALTER SYSTEM SET synchronous_standby_names = {names}"))).await.unwrap();
        connection.execute("SELECT pg_reload_conf()").await.unwrap();
        let shown = async || {
            let mut connection = proxy::direct(&self.server, &self.database).await;
            let now: String = sqlx::query_scalar("SHOW synchronous_standby_names").fetch_one(&mut connection).await.unwrap();
            (now == names.trim_matches('\'')).then_some(())
        };
        eventually("the setting", shown).await;
        // Whoever lets commits wait is told by the checkpointer, which looks at its settings before it does this.
        connection.execute("CHECKPOINT").await.unwrap();
    }

    /// Lets the commit end.
    async fn end(&mut self) {
        self.standby("''").await;
        self.commit.take().unwrap().join().await.expect("the commit has failed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_read_of_postgres_while_a_logged_transaction_is_not_visible_has_it_afterwards_unless_nobody_asks_for_it() {
    let mut waiting = Box::pin(Waiting::begin()).await;
    let [front, careless] = &waiting.fronts;
    front.assert_rejects().await;
    careless.until_filled().await;
    // It may be loaded without that transaction, or wait for it.
    let loading = reload(&front.session, ("pg", "accounts"));
    tokio::time::timeout(Duration::from_secs(10), loading).await.ok();
    reload(&careless.session, ("pg", "accounts")).await;
    waiting.end().await;
    let [front, careless] = &waiting.fronts;
    front.assert_has_it().await;
    careless.assert_misses_it().await;
}

/// A MariaDB whose commits wait for a replica to have them, which it does not have, when they are in its log.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_read_of_mariadb_while_a_logged_transaction_is_not_visible_has_it_afterwards() {
    let waits = ["--rpl-semi-sync-master-wait-point=AFTER_SYNC", "--rpl-semi-sync-master-timeout=600000"];
    let server = room::own_mariadb(&waits).await;
    let database = server.fresh_database().await.unwrap();
    let (mut native, mut beside) = (in_mariadb(&server, &database).await, in_mariadb(&server, &database).await);
    native.run(&world::statements()).await;
    let place = Place::new();
    let lines = format!("changes.tables = [\"{database}.*\"]\n{LOG}{}", cached(&TABLES));
    place.mariadb("maria", &server, &database, &lines);
    let front = Box::pin(Front::start(place, "maria", "")).await;
    beside.run("SET GLOBAL rpl_semi_sync_master_enabled = ON").await;
    let commit = OwnedTask::spawn(async move {
        native.run(&format!("UPDATE accounts SET balance = {LATER} WHERE _id = 1")).await;
    });
    front.until_told().await;
    let Native::MariaDb(connection) = &mut beside else { panic!("this is no MariaDB") };
    let seen: i64 = sqlx::query_scalar("SELECT balance FROM accounts WHERE _id = 1").fetch_one(connection).await.unwrap();
    assert_eq!(seen, START, "the commit does not wait");
    // From the second time on it was told more than a second ago.
    front.assert_rejects().await;
    front.session.answer("CALL tributary.reload_cache('maria.accounts')").await;
    until_state(&front.session, ("maria", "accounts"), "loading").await;
    beside.run("SET GLOBAL rpl_semi_sync_master_enabled = OFF").await;
    commit.join().await.expect("the commit has failed");
    front.assert_has_it().await;
}

async fn in_mariadb(server: &MariaDb, database: &str) -> Native {
    Native::MariaDb(MySqlConnection::connect_with(&server.mysql_options().database(database)).await.unwrap())
}
