//! Histories of many sessions that append to lists of several stores and read them, looked at for what their isolation level forbids.
//! Across stores that is READ COMMITTED: rows are held from their change to the decision, and whatever a transaction reads, it reads before
//! its own decision. What two stores show at one moment may be before and after one commit; `steps` shows such a read. Of one store
//! REPEATABLE READ is one state, to which nothing is written that has changed since, and SERIALIZABLE is an order.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use tributary::task::OwnedTask;

use super::bank::settled;
use super::checker::{Key, Level, Op, Outcome, Transaction, anomalies};
use super::stage::{FILES, LISTS, SERVERS, Shared};
use super::{Said, ask};
use crate::differential::random::Random;
use crate::support::proxy::{self, OWNER, Session};

/// The one store of a transaction at the levels above.
const POSTGRES: [&str; 1] = ["pg"];
const MARIADB: [&str; 1] = ["maria"];
const MONGODB: [&str; 1] = ["mongo"];
const FILE: [&str; 1] = ["east"];

const SESSIONS: u64 = 8;
/// Transactions of each session.
const TRANSACTIONS: usize = 40;

/// What all sessions share.
#[derive(Default)]
pub struct Common {
    values: AtomicI64,
    pub history: Mutex<Vec<Transaction>>,
}

/// Runs many transactions and gives the history.
async fn history(address: SocketAddr, stores: &'static [&'static str], level: &'static str) -> Vec<Transaction> {
    let common = Arc::new(Common::default());
    let sessions = (0..SESSIONS).map(|seed| {
        let (common, mut random) = (Arc::clone(&common), Random::new(seed + 1));
        OwnedTask::spawn(async move {
            let session = proxy::open(&proxy::login(address, OWNER)).await.unwrap();
            ask(&session, "SET statement_timeout = '2s'").await.unwrap();
            for _ in 0..TRANSACTIONS {
                let transaction = transact(&session, &common, stores, (level, &mut random)).await;
                common.history.lock().unwrap().push(transaction);
            }
            assert!(!session.is_closed(), "a connection was lost in peace");
        })
    });
    for session in sessions.collect::<Vec<_>>() {
        session.join().await.expect("a session has failed");
    }
    std::mem::take(&mut *common.history.lock().unwrap())
}

/// Makes a transaction. One whose connection is lost before COMMIT is sent is rolled back.
pub async fn transact(session: &Session, common: &Common, stores: &[&str], (level, random): (&str, &mut Random)) -> Transaction {
    let mut ops = Vec::new();
    let mut failed = ask(session, &format!("BEGIN ISOLATION LEVEL {level}")).await.is_err();
    for _ in 0..=random.below(4) {
        let key: Key = (random.below(stores.len()), i64::try_from(random.below(usize::try_from(LISTS).unwrap())).unwrap() + 1);
        let (store, list) = (stores[key.0], key.1);
        if failed {
            break;
        }
        if random.chance(50) {
            let value = common.values.fetch_add(1, Ordering::SeqCst) + 1;
            let appended = ask(session, &format!("UPDATE {store}.lists SET v = v || ',{value}' WHERE _id = {list}")).await;
            failed = appended.is_err();
            // What failed may have been written, and is rolled back then.
            ops.push(Op::Append(key, value));
        } else {
            match ask(session, &format!("SELECT v FROM {store}.lists WHERE _id = {list}")).await {
                Ok(rows) => ops.push(Op::Read(key, values(&rows[0]))),
                Err(_) => failed = true,
            }
        }
    }
    let outcome = if failed || random.chance(10) {
        if let Err(said) = ask(session, "ROLLBACK").await {
            assert_eq!(said, Said::Lost, "ROLLBACK is always taken");
        }
        Outcome::RolledBack
    } else {
        match ask(session, "COMMIT").await {
            Ok(_) => Outcome::Committed,
            Err(Said::Code(code)) if code != "08007" => Outcome::RolledBack,
            Err(_) => Outcome::Unknown,
        }
    };
    Transaction { ops, outcome }
}

fn values(list: &str) -> Vec<i64> {
    list.split(',').filter(|part| !part.is_empty()).map(|part| part.parse().unwrap()).collect()
}

/// The lists when everything has ended.
pub async fn last(session: &Session, stores: &[&str]) -> BTreeMap<Key, Vec<i64>> {
    let mut last = BTreeMap::new();
    for (place, store) in stores.iter().enumerate() {
        let rows = session.answer(&format!("SELECT _id, v FROM {store}.lists")).await;
        for (list, text) in rows.lines().map(|row| row.split_once('|').unwrap()) {
            last.insert((place, list.parse().unwrap()), values(text));
        }
    }
    last
}

async fn check(mut shared: Shared, stores: &'static [&'static str], isolation: &'static str, level: Level) {
    let history = history(shared.address(), stores, isolation).await;
    let session = shared.session().await;
    settled(&session).await;
    let last = last(&session, stores).await;
    sound(&history, &last, level, stores.len());
    shared.stop().await;
}

/// Looks at a history over so many stores, of which enough must have been committed for it to tell something.
pub fn sound(history: &[Transaction], last: &BTreeMap<Key, Vec<i64>>, level: Level, stores: usize) {
    let of = |outcome: Outcome| history.iter().filter(|transaction| transaction.outcome == outcome).count();
    let several = history.iter().filter(|transaction| transaction.outcome == Outcome::Committed && stores_of(transaction) > 1);
    let (committed, several) = (of(Outcome::Committed), several.count());
    assert!(committed > history.len() / 10, "{committed} of {} transactions were committed", history.len());
    assert!(stores == 1 || several > 5, "{several} of them wrote to several stores");
    let found = anomalies(history, last, level);
    assert!(found.is_empty(), "{found:?} in a history of {} transactions", history.len());
}

/// How many stores a transaction has written to.
pub fn stores_of(transaction: &Transaction) -> usize {
    let mut written: Vec<usize> = Vec::new();
    for op in &transaction.ops {
        if let Op::Append((store, _), _) = op
            && !written.contains(store)
        {
            written.push(*store);
        }
    }
    written.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn appends_across_postgres_mariadb_and_mongodb_read_what_is_committed() {
    Box::pin(check(Shared::of_servers().await, &SERVERS, "READ COMMITTED", Level::ReadCommitted)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn appends_across_postgres_and_two_files_read_what_is_committed() {
    Box::pin(check(Shared::of_files().await, &FILES, "READ COMMITTED", Level::ReadCommitted)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn serializable_appends_to_postgres_have_an_order() {
    Box::pin(check(Shared::of_files().await, &POSTGRES, "SERIALIZABLE", Level::Serializable)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn serializable_appends_to_mariadb_beside_postgres_and_mongodb_have_an_order() {
    Box::pin(check(Shared::of_servers().await, &MARIADB, "SERIALIZABLE", Level::Serializable)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn serializable_appends_to_a_file_beside_postgres_have_an_order() {
    Box::pin(check(Shared::of_files().await, &FILE, "SERIALIZABLE", Level::Serializable)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn repeatable_appends_to_postgres_see_one_state() {
    Box::pin(check(Shared::of_files().await, &POSTGRES, "REPEATABLE READ", Level::Snapshot)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn repeatable_appends_to_mariadb_beside_postgres_and_mongodb_see_one_state() {
    Box::pin(check(Shared::of_servers().await, &MARIADB, "REPEATABLE READ", Level::Snapshot)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn repeatable_appends_to_mongodb_beside_postgres_and_mariadb_see_one_state() {
    Box::pin(check(Shared::of_servers().await, &MONGODB, "REPEATABLE READ", Level::Snapshot)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn repeatable_appends_to_a_file_beside_postgres_see_one_state() {
    Box::pin(check(Shared::of_files().await, &FILE, "REPEATABLE READ", Level::Snapshot)).await;
}
