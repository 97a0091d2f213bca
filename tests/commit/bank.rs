//! Transfers between accounts of several stores, by many sessions: whatever happens, money is neither made nor lost, and a transfer is in
//! all its stores or in none.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tributary::task::OwnedTask;

use super::stage::{ACCOUNTS, FILES, SERVERS, START, Shared};
use super::{Said, ask, eventually};
use crate::differential::random::Random;
use crate::support::proxy::{self, OWNER, Session};

/// Sessions that transfer at the same time.
const SESSIONS: usize = 8;
/// Transfers of a run in which nobody is killed.
const TRANSFERS: usize = 150;
/// The longest that a statement waits, as for a row of a store that waits for a row of another.
const STATEMENT_TIMEOUT: &str = "SET statement_timeout = '2s'";

/// How a transfer ended, as its client was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// COMMIT was answered.
    Committed,
    /// It was rolled back, or COMMIT was refused.
    RolledBack,
    /// COMMIT was answered by 08007 or by nothing.
    Unknown,
}

/// What is added to an account of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leg {
    pub store: &'static str,
    pub account: i64,
    pub amount: i64,
}

/// One transaction.
#[derive(Debug, Clone)]
pub struct Transfer {
    pub id: i64,
    pub legs: Vec<Leg>,
    pub end: End,
}

/// What the sessions share.
#[derive(Debug, Default)]
struct Common {
    next: AtomicI64,
    stopped: AtomicBool,
    done: Mutex<Vec<Transfer>>,
}

/// The sessions of one while, and every transfer of all.
pub struct Bank {
    stores: &'static [&'static str],
    common: Arc<Common>,
    sessions: Vec<OwnedTask<()>>,
}

impl Bank {
    /// A bank whose transfers are between these stores.
    pub fn over(stores: &'static [&'static str]) -> Self {
        Self { stores, common: Arc::default(), sessions: Vec::new() }
    }

    /// Lets sessions transfer until [`Bank::rest`]. Those that lose their connection come again.
    pub fn work(&mut self, address: SocketAddr, seed: u64) {
        self.common.stopped.store(false, Ordering::SeqCst);
        for number in 0..SESSIONS {
            let (common, stores) = (Arc::clone(&self.common), self.stores);
            let random = Random::new(seed.wrapping_mul(31).wrapping_add(number as u64));
            self.sessions.push(OwnedTask::spawn(run(common, stores, address, random)));
        }
    }

    /// How many have ended.
    pub fn ended(&self) -> usize {
        self.common.done.lock().unwrap().len()
    }

    /// How many have ended so.
    pub fn count(&self, end: End) -> usize {
        self.common.done.lock().unwrap().iter().filter(|transfer| transfer.end == end).count()
    }

    /// Waits until so many more have ended.
    pub async fn go_on(&self, more: usize) {
        let wanted = self.ended() + more;
        // However slow the machine is, each is waited for.
        while self.ended() < wanted {
            let seen = self.ended();
            eventually("another transfer", async || (self.ended() > seen).then_some(())).await;
        }
    }

    /// Lets every session end its transfer, and ends it.
    pub async fn rest(&mut self) {
        self.common.stopped.store(true, Ordering::SeqCst);
        for session in self.sessions.drain(..) {
            session.join().await.expect("a session of the bank has failed");
        }
    }

    /// What must hold once everything has ended: each transfer in all its stores or in none, as its client was told, and balances that
    /// are the sums of what was added to them. Gives the total of all balances.
    pub async fn check(&self, session: &Session, told: &str) -> i64 {
        let transfers = self.common.done.lock().unwrap().clone();
        let mut total = 0;
        let mut moved: BTreeMap<&str, BTreeMap<i64, (i64, i64)>> = BTreeMap::new();
        for &store in self.stores {
            let (accounts, moves) = (accounts(session, store).await, moves(session, store).await);
            for (account, balance) in &accounts {
                let added: i64 = moves.values().filter(|(at, _)| at == account).map(|(_, amount)| amount).sum();
                assert_eq!(*balance, START + added, "{told}: account {account} of {store}");
                total += balance;
            }
            assert_eq!(accounts.len(), usize::try_from(ACCOUNTS).unwrap());
            moved.insert(store, moves);
        }
        assert_eq!(total, self.total(), "{told}: the total of all balances");
        let mut known = 0;
        for transfer in &transfers {
            let found = transfer.legs.iter().filter(|leg| moved[leg.store].get(&transfer.id) == Some(&(leg.account, leg.amount)));
            let found = found.count();
            assert!(found == 0 || found == transfer.legs.len(), "{told}: {found} legs of {transfer:?}");
            match transfer.end {
                End::Committed => assert_ne!(found, 0, "{told}: {transfer:?} was answered by COMMIT and is not there"),
                End::RolledBack => assert_eq!(found, 0, "{told}: {transfer:?} was refused and is there"),
                End::Unknown => {}
            }
            known += found;
        }
        assert_eq!(known, moved.values().map(BTreeMap::len).sum::<usize>(), "{told}: rows of no transfer");
        total
    }

    /// What all accounts had together when nothing had been moved.
    pub fn total(&self) -> i64 {
        START * ACCOUNTS * i64::try_from(self.stores.len()).unwrap()
    }
}

async fn accounts(session: &Session, store: &str) -> BTreeMap<i64, i64> {
    let rows = session.answer(&format!("SELECT _id, balance FROM {store}.accounts")).await;
    rows.lines().map(|row| row.split_once('|').unwrap()).map(|(id, balance)| (number(id), number(balance))).collect()
}

/// Account and amount by transfer.
async fn moves(session: &Session, store: &str) -> BTreeMap<i64, (i64, i64)> {
    let rows = session.answer(&format!("SELECT _id, account, amount FROM {store}.moves")).await;
    let parts = rows.lines().map(|row| row.split('|').map(number).collect::<Vec<i64>>());
    parts.map(|row| (row[0], (row[1], row[2]))).collect()
}

fn number(text: &str) -> i64 {
    text.parse().unwrap()
}

/// One session, and the next after it where a connection is lost.
async fn run(common: Arc<Common>, stores: &'static [&'static str], address: SocketAddr, mut random: Random) {
    while !common.stopped.load(Ordering::SeqCst) {
        let Ok(session) = proxy::open(&proxy::login(address, OWNER)).await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        if ask(&session, STATEMENT_TIMEOUT).await.is_err() {
            continue;
        }
        while !common.stopped.load(Ordering::SeqCst) && !session.is_closed() {
            let mut transfer = draw(&common, stores, &mut random);
            transfer.end = make(&session, &transfer, &mut random).await;
            common.done.lock().unwrap().push(transfer);
        }
    }
}

/// A transfer between two stores or, where there are three, all of them, in any order.
fn draw(common: &Common, stores: &[&'static str], random: &mut Random) -> Transfer {
    let first = random.below(stores.len());
    let second = (first + 1 + random.below(stores.len() - 1)) % stores.len();
    let third = (0..stores.len()).find(|place| ![first, second].contains(place));
    let amount = i64::try_from(random.below(50)).unwrap() + 1;
    let account = |random: &mut Random| i64::try_from(random.below(usize::try_from(ACCOUNTS).unwrap())).unwrap() + 1;
    let mut legs = vec![
        Leg { store: stores[first], account: account(random), amount: -amount },
        Leg { store: stores[second], account: account(random), amount },
    ];
    if let Some(third) = third
        && random.chance(30)
    {
        legs[0].amount -= amount;
        legs.push(Leg { store: stores[third], account: account(random), amount });
    }
    // Mostly in one order, as two that lock each other out across stores are only ended by a timeout.
    if random.chance(80) {
        legs.sort_by_key(|leg| stores.iter().position(|store| *store == leg.store));
    }
    Transfer { id: common.next.fetch_add(1, Ordering::SeqCst) + 1, legs, end: End::RolledBack }
}

/// Makes a transfer. Until COMMIT is sent, whatever fails has kept nothing.
async fn make(session: &Session, transfer: &Transfer, random: &mut Random) -> End {
    let level = *random.pick(&["READ COMMITTED", "REPEATABLE READ"]);
    let mut statements = vec![format!("BEGIN ISOLATION LEVEL {level}")];
    for Leg { store, account, amount } in &transfer.legs {
        statements.push(format!("UPDATE {store}.accounts SET balance = balance + {amount} WHERE _id = {account}"));
        statements.push(format!("INSERT INTO {store}.moves (_id, account, amount) VALUES ({}, {account}, {amount})", transfer.id));
    }
    for sql in &statements {
        match ask(session, sql).await {
            Ok(_) => {}
            Err(Said::Lost) => return End::RolledBack,
            Err(Said::Code(_)) => return roll_back(session).await,
        }
    }
    if random.chance(10) {
        return roll_back(session).await;
    }
    match ask(session, "COMMIT").await {
        Ok(_) => End::Committed,
        Err(Said::Lost) => End::Unknown,
        Err(Said::Code(code)) if code == "08007" => End::Unknown,
        Err(Said::Code(_)) => End::RolledBack,
    }
}

async fn roll_back(session: &Session) -> End {
    // Whether it is answered or not, nothing was to be kept.
    let _ = ask(session, "ROLLBACK").await;
    End::RolledBack
}

/// Waits until every transaction that this server knows of has ended in all its stores.
pub async fn settled(session: &Session) {
    let open = "SELECT count(*) FROM tributary.transactions WHERE state NOT IN ('committed', 'rolled back')";
    eventually("the end of all transactions", async || (session.answer(open).await == "0").then_some(())).await;
}

/// Waits until a round has found nothing of this server's in doubt.
pub async fn undoubted(session: &Session) {
    let open = "SELECT count(*) FROM tributary.in_doubt WHERE is_ours";
    eventually("an empty list of what is in doubt", async || (session.answer(open).await == "0").then_some(())).await;
}

async fn transfer_in_peace(mut shared: Shared, stores: &'static [&'static str]) {
    let mut bank = Bank::over(stores);
    bank.work(shared.address(), 7);
    bank.go_on(TRANSFERS).await;
    bank.rest().await;
    let session = shared.session().await;
    settled(&session).await;
    bank.check(&session, "in peace").await;
    undoubted(&session).await;
    let (kept, lost) = (bank.count(End::Committed), bank.count(End::Unknown));
    eventually("the end of all marks", async || (shared.marks().await == 0).then_some(())).await;
    assert!(kept > TRANSFERS / 10 && lost == 0, "{kept} of {} transfers were committed, {lost} are unknown", bank.ended());
    shared.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn transfers_between_postgres_mariadb_and_mongodb_make_and_lose_no_money() {
    Box::pin(transfer_in_peace(Shared::of_servers().await, &SERVERS)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn transfers_between_postgres_and_two_files_make_and_lose_no_money() {
    Box::pin(transfer_in_peace(Shared::of_files().await, &FILES)).await;
}
