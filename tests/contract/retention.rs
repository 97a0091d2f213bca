//! Keys and marks that nobody needs any more go from the stores, and what is young stays.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{Connection, Executor};
use tokio_util::sync::CancellationToken;
use tributary::catalog::OwnTables;
use tributary::stores::commit::{Hint, MarkId, MarkOf, OwnTable, Verdict};
use tributary::stores::{Connector, Purpose, StoreName, WriteIsolation};
use tributary::telemetry::Audit;
use tributary::write::coordinator::Coordinator;
use tributary::write::keys::{Answered, Keys};
use tributary::write::recover::{Connectors, Recovery};

use crate::support;
use crate::support::proxy::{self, Place};
use crate::support::secrets::NoSecrets;

const WRITE: Purpose = Purpose::Write(WriteIsolation::ReadCommitted);
/// How long keys are kept here.
const KEPT: Duration = Duration::from_secs(3600);
/// More than are read at a time.
const MANY: usize = 600;

/// The store of a file.
fn connector(kind: &str, file: &str) -> Arc<dyn Connector> {
    let (name, table) = (StoreName::new("shop"), toml::from_str::<toml::Table>(file).unwrap());
    tributary::stores::kind(kind).unwrap().parse(&name, "stores.shop", &table, &NoSecrets).unwrap()
}

fn login(port: u16, (user, password): (&str, &str), database: &str) -> String {
    format!("host = '127.0.0.1'\nport = {port}\nuser = '{user}'\npassword = '{password}'\ndatabase = '{database}'\n")
}

/// What looks for old rows in one store.
struct Broom {
    connector: Arc<dyn Connector>,
    coordinator: Arc<Coordinator>,
    recovery: Arc<Recovery>,
    unmarked: BTreeSet<StoreName>,
}

impl Broom {
    fn of(connector: Arc<dyn Connector>) -> Self {
        let coordinator = Coordinator::without_log();
        connector.number_with(&coordinator.journal().numbers());
        let stores = Arc::new(Connectors::from([(connector.name().clone(), Arc::clone(&connector))]));
        let recovery = Recovery::new(Arc::clone(&coordinator), Arc::new(move || Arc::clone(&stores)), None, Audit::off());
        Self { connector, coordinator, recovery, unmarked: BTreeSet::new() }
    }

    /// One round. Whether something is left for the next.
    async fn sweep(&mut self) -> bool {
        let stores = Connectors::from([(self.connector.name().clone(), Arc::clone(&self.connector))]);
        let own = OwnTables { keys: Some(KEPT), outbox: false };
        let own = BTreeMap::from([(self.connector.name().clone(), own)]);
        self.recovery.sweep_once(&stores, &own, &mut self.unmarked).await
    }

    fn keys(&self) -> Keys {
        Keys::of(&self.connector).unwrap()
    }

    async fn claim(&self, keys: &[String], at: DateTime<Utc>) {
        let branch = self.connector.open(WRITE).await.unwrap();
        for key in keys {
            let claimed = self.keys().claim(&branch, (key.as_str(), "h"), at, &CancellationToken::new()).await;
            claimed.unwrap_or_else(|error| panic!("{key}: {error:?}"));
            self.keys().keep(&branch, key, &[Answered::tag("h", "INSERT 0 1")]).await.unwrap();
        }
        branch.commit().await.unwrap();
    }

    async fn is_known(&self, key: &str) -> bool {
        let branch = self.connector.open(WRITE).await.unwrap();
        let known = self.keys().find(&branch, key).await.unwrap();
        branch.rollback().await.unwrap();
        known.is_some()
    }
}

/// Old keys go, however many they are, and can be used again; young ones stay.
async fn old_keys_go(connector: Arc<dyn Connector>) {
    let mut broom = Broom::of(connector);
    broom.connector.install(OwnTable::Keys).await.unwrap();
    let now = Utc::now();
    // A day more than it takes: where moments are texts, a day counts as a whole.
    let old: Vec<String> = (0..MANY).map(|number| format!("old {number}")).collect();
    broom.claim(&old, now - TimeDelta::days(2)).await;
    broom.claim(&["young".to_owned()], now).await;
    assert!(!broom.sweep().await, "all of it was removed in one round");
    for key in [&old[0], &old[MANY / 2], &old[MANY - 1]] {
        assert!(!broom.is_known(key).await, "{key}");
    }
    assert!(broom.is_known("young").await);
    broom.claim(&old[..1], now).await;
    assert!(!broom.sweep().await);
    assert!(broom.is_known(&old[0]).await && broom.is_known("young").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_postgres_go_when_they_are_old() {
    let server = support::postgres().await;
    let database = server.fresh_database().await.unwrap();
    let store = connector("postgres", &login(server.port(), (server.user(), server.password()), &database));
    old_keys_go(store).await;
    let mut plain = proxy::direct(server, &database).await;
    let found: i64 = sqlx::query_scalar("SELECT count(*) FROM pg_indexes WHERE indexname = 'tributary_keys_at'")
        .fetch_one(&mut plain)
        .await
        .unwrap();
    assert_eq!(found, 1, "they are found by an index");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_mariadb_go_when_they_are_old() {
    let server = support::mariadb().await;
    let database = server.fresh_database().await.unwrap();
    old_keys_go(connector("mariadb", &login(server.port(), (server.user(), server.password()), &database))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_mongodb_go_when_they_are_old() {
    let server = support::mongodb().await;
    let database = server.fresh_database().await.unwrap();
    let file = format!(
        "hosts = ['{}:{}']\nuser = '{}'\npassword = '{}'\nreplica_set = '{}'\ndatabase = '{database}'\ndatabases = ['{database}']\n",
        server.host(),
        server.port(),
        server.user(),
        server.password(),
        server.replica_set()
    );
    old_keys_go(connector("mongodb", &file)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_a_file_go_when_they_are_old() {
    let place = Place::new();
    let path = place.sqlite("shop", "CREATE TABLE t (id INTEGER PRIMARY KEY)").await;
    old_keys_go(connector("sqlite", &format!("path = '{}'", path.display()))).await;
}

/// Writes a mark that says commit, as a process that is gone has left it.
async fn marked(broom: &Broom) -> MarkId {
    let mark = MarkId { gid: broom.coordinator.journal().numbers().next(), of: MarkOf::All };
    broom.connector.install(OwnTable::Marks).await.unwrap();
    let branch = broom.connector.open(WRITE).await.unwrap();
    branch.mark(mark).await.unwrap();
    branch.commit().await.unwrap();
    mark
}

#[tokio::test(flavor = "multi_thread")]
async fn marks_that_an_earlier_process_left_in_a_file_go_when_they_are_old() {
    let place = Place::new();
    let path = place.sqlite("shop", "CREATE TABLE t (id INTEGER PRIMARY KEY)").await;
    let mut broom = Broom::of(connector("sqlite", &format!("path = '{}'", path.display())));
    // There is no table of them yet, which is asked for once.
    assert!(!broom.sweep().await);
    assert_eq!(broom.unmarked.len(), 1);
    let (old, young) = (marked(&broom).await, marked(&broom).await);
    proxy::sqlite(&path, &format!("UPDATE tributary_marks SET at = '2020-01-01 00:00:00.000+00:00' WHERE id = '{old}'")).await;
    broom.unmarked.clear();
    broom.sweep().await;
    let options = SqliteConnectOptions::new().filename(&path);
    let mut plain = SqliteConnection::connect_with(&options).await.unwrap();
    let left: Vec<String> = sqlx::query_scalar("SELECT id FROM tributary_marks").fetch_all(&mut plain).await.unwrap();
    assert_eq!(left, [young.to_string()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn marks_that_an_earlier_process_left_in_postgres_go_when_they_are_old() {
    let server = support::postgres().await;
    let database = server.fresh_database().await.unwrap();
    let mut broom = Broom::of(connector("postgres", &login(server.port(), (server.user(), server.password()), &database)));
    let (old, young) = (marked(&broom).await, marked(&broom).await);
    let mut plain = proxy::direct(server, &database).await;
    plain.execute("UPDATE tributary_marks SET at = at - interval '23 hours'").await.unwrap();
    broom.sweep().await;
    let left = "SELECT id::text FROM tributary_marks ORDER BY id";
    let found: Vec<String> = sqlx::query_scalar(left).fetch_all(&mut plain).await.unwrap();
    assert_eq!(found.len(), 2, "both are young");
    let aging = format!("UPDATE tributary_marks SET at = at - interval '2 hours' WHERE id = '{old}'");
    plain.execute(sqlx::AssertSqlSafe(aging)).await.unwrap();
    broom.sweep().await;
    let found: Vec<String> = sqlx::query_scalar(left).fetch_all(&mut plain).await.unwrap();
    assert_eq!(found, [young.to_string()]);
    assert_eq!(broom.connector.decide(young, &Hint::default()).await.unwrap(), Verdict::Commit);
}
