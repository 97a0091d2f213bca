//! Histories of appends (`append`) while somebody is killed: whatever was read is what was kept, in one order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tributary::task::OwnedTask;

use super::append::{Common, last, stores_of, transact};
use super::bank::settled;
use super::checker::{Level, Outcome, Transaction, anomalies};
use super::kills::run;
use super::stage::{Lines, Stage, variables};
use super::storm::{Storm, door, kill, revive};
use super::victims::OF_SERVERS;
use super::{ask, eventually};
use crate::differential::random::Random;
use crate::support::proxy::{self, OWNER, Session};

const SESSIONS: u64 = 6;
/// Kills of an ordinary run over several stores, and over one.
const OVER_SEVERAL: usize = 4;
const OVER_ONE: usize = 3;

/// What the sessions do.
#[derive(Clone, Copy)]
struct Work {
    address: SocketAddr,
    stores: &'static [&'static str],
    level: &'static str,
}

/// Sessions that append until they are told to rest. Those that lose their connection come again.
struct Appenders {
    common: Arc<Common>,
    stopped: Arc<AtomicBool>,
    sessions: Vec<OwnedTask<()>>,
}

impl Appenders {
    fn start(work: Work, seed: u64) -> Self {
        let (common, stopped) = (Arc::new(Common::default()), Arc::new(AtomicBool::new(false)));
        let sessions = (0..SESSIONS).map(|number| {
            let random = Random::new(seed.wrapping_mul(31).wrapping_add(number));
            OwnedTask::spawn(append(Arc::clone(&common), Arc::clone(&stopped), work, random))
        });
        let sessions = sessions.collect();
        Self { common, stopped, sessions }
    }

    /// How many have been committed.
    fn committed(&self) -> usize {
        of(&self.common.history.lock().unwrap(), Outcome::Committed)
    }

    /// Waits until so many more have been.
    async fn go_on(&self, more: usize) {
        let wanted = self.committed() + more;
        eventually("more appends", async || (self.committed() >= wanted).then_some(())).await;
    }

    /// Lets every session end its transaction, and gives the history.
    async fn rest(self) -> Vec<Transaction> {
        self.stopped.store(true, Ordering::SeqCst);
        for session in self.sessions {
            session.join().await.expect("a session has failed");
        }
        std::mem::take(&mut *self.common.history.lock().unwrap())
    }
}

async fn append(common: Arc<Common>, stopped: Arc<AtomicBool>, work: Work, mut random: Random) {
    while !stopped.load(Ordering::SeqCst) {
        let Ok(session) = proxy::open(&proxy::login(work.address, OWNER)).await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        if ask(&session, "SET statement_timeout = '2s'").await.is_err() {
            continue;
        }
        while !stopped.load(Ordering::SeqCst) && !session.is_closed() {
            let transaction = transact(&session, &common, work.stores, (work.level, &mut random)).await;
            let failed = transaction.outcome != Outcome::Committed;
            common.history.lock().unwrap().push(transaction);
            if failed {
                // A store that is away fails at once, and so do all who ask it.
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
}

fn of(history: &[Transaction], outcome: Outcome) -> usize {
    history.iter().filter(|transaction| transaction.outcome == outcome).count()
}

/// Writes what transactions without a client may still lock; their servers end them.
async fn write(session: &Session, sql: &str) {
    eventually(sql, async || session.rows(sql).await.ok()).await;
}

/// What all rounds were.
#[derive(Debug, Default)]
struct Tally {
    committed: usize,
    unknown: usize,
    /// Committed transactions that have written to several stores.
    several: usize,
}

impl Tally {
    /// Looks at the history of a round, and makes the lists empty for the next one.
    async fn check(&mut self, session: &Session, history: &[Transaction], (work, level, told): (Work, Level, &str)) {
        let found = anomalies(history, &last(session, work.stores).await, level);
        assert!(found.is_empty(), "{told}: {found:?} in a history of {} transactions", history.len());
        self.committed += of(history, Outcome::Committed);
        self.unknown += of(history, Outcome::Unknown);
        let committed = history.iter().filter(|transaction| transaction.outcome == Outcome::Committed);
        self.several += committed.filter(|transaction| stores_of(transaction) > 1).count();
        for store in work.stores {
            write(session, &format!("UPDATE {store}.lists SET v = ''")).await;
        }
    }
}

async fn across_stores() {
    let (seed, kills) = run(OVER_SEVERAL);
    let mut random = Random::new(seed);
    let rounds = OF_SERVERS.rounds(kills, &mut random);
    let mut storm = Storm::over(&OF_SERVERS, Lines::default(), random).await;
    let work = Work { address: storm.address(), stores: OF_SERVERS.stores, level: "READ COMMITTED" };
    let mut tally = Tally::default();
    for (number, round) in rounds.iter().enumerate() {
        let told = format!("seed {seed}, round {number} {round:?}");
        let appenders = Appenders::start(work, seed.wrapping_add(number as u64));
        for pair in round {
            storm.strike(*pair, &|| appenders.committed()).await;
        }
        let history = appenders.rest().await;
        let session = storm.again(&told).await;
        tally.check(&session, &history, (work, Level::ReadCommitted, &told)).await;
    }
    eprintln!("appends across stores: seed {seed}, {kills} kills, {tally:?}\n{}", storm.told(&OF_SERVERS));
    assert!(tally.committed > kills && tally.several > 0, "{tally:?}");
}

/// Kills Tributary, the server and its connections in turn while transactions of one store are under way. No commit of one store has a
/// step at which it could be held.
async fn of_one_store(store: &'static str, isolation: &'static str, level: Level) {
    let (seed, kills) = run(OVER_ONE);
    let stores: &'static [&'static str] = match store {
        "pg" => &["pg"],
        "maria" => &["maria"],
        _ => &["mongo"],
    };
    let mut stage = Stage::start_with(stores, Lines::default(), "").await;
    let work = Work { address: stage.address(), stores, level: isolation };
    let mut tally = Tally::default();
    for number in 0..kills {
        let told = format!("{store}, {isolation}, seed {seed}, kill {number}");
        let appenders = Appenders::start(work, seed.wrapping_add(number as u64));
        appenders.go_on(10).await;
        match number % 3 {
            0 => {
                stage.proxy.kill().await.unwrap();
                stage.proxy.again(&variables("")).await.unwrap();
            }
            1 => {
                kill(&mut stage, store).await;
                revive(&mut stage, store).await;
            }
            _ => {
                door(&mut stage, store).cut().await;
                door(&mut stage, store).mend().await;
            }
        }
        appenders.go_on(10).await;
        let history = appenders.rest().await;
        let session = stage.session().await;
        settled(&session).await;
        // What was sent to a connection that broke may still be done, or is done by nobody: the store tells by letting the lists be locked.
        write(&session, &format!("UPDATE {store}.lists SET v = v")).await;
        tally.check(&session, &history, (work, level, &told)).await;
    }
    eprintln!("{isolation} appends to {store}: seed {seed}, {kills} kills, {tally:?}");
    assert!(tally.committed >= 20 * kills, "{tally:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn appends_across_postgres_mariadb_and_mongodb_read_what_is_committed_whoever_is_killed() {
    Box::pin(across_stores()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn serializable_appends_to_postgres_have_an_order_whoever_is_killed() {
    Box::pin(of_one_store("pg", "SERIALIZABLE", Level::Serializable)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn serializable_appends_to_mariadb_have_an_order_whoever_is_killed() {
    Box::pin(of_one_store("maria", "SERIALIZABLE", Level::Serializable)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn repeatable_appends_to_mongodb_see_one_state_whoever_is_killed() {
    Box::pin(of_one_store("mongo", "REPEATABLE READ", Level::Snapshot)).await;
}
