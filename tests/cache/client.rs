//! Clients of random histories: sessions that read at every consistency and write to their own keys, come back when they lose their
//! connection, and carry what they have seen to another one; and writers past Tributary beside them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::behind::{Behind, Way, updates};
use super::checker::{Level, Op, Read, Write};
use crate::changes::check::End;
use crate::commit::stage::{ACCOUNTS, START};
use crate::commit::{Said, ask};
use crate::differential::random::Random;
use crate::support::proxy::{self, OWNER, PATIENCE, Session};

/// How long a statement may take; one that waits for a copy gives up then.
const TIMEOUT: &str = "SET statement_timeout = '3s'";
/// Bounds in milliseconds.
const BOUNDS: [u64; 3] = [100, 500, 2_000];
/// Stores that cannot be prepared, of which a transaction may have one.
const LAST: [&str; 2] = ["mongo", "east"];
/// A number of a turn that reads.
const READ: usize = 19;
/// Most keys of a transaction.
const KEYS: usize = 3;

/// What reads of a history are about, where not about everything.
#[derive(Debug, Clone, Copy, Default)]
pub struct Focus {
    pub level: Option<Level>,
    pub source: Option<Source>,
}

/// What all of a history share.
pub struct Course {
    pub stores: &'static [&'static str],
    pub address: SocketAddr,
    pub began: Instant,
    pub stop: CancellationToken,
    /// Odd while something is broken, and another number each time.
    pub turn: AtomicU64,
    /// Statements that gave rows.
    pub reads: AtomicU64,
    pub focus: Focus,
    /// Milliseconds after which at most somebody who writes past Tributary writes again.
    pub pause: usize,
    number: AtomicI64,
}

impl Course {
    /// One over these stores.
    pub fn new(stores: &'static [&'static str], address: SocketAddr, (focus, pause): (Focus, usize)) -> Self {
        Self {
            stores,
            address,
            pause,
            began: Instant::now(),
            stop: CancellationToken::new(),
            turn: AtomicU64::new(0),
            reads: AtomicU64::new(0),
            focus,
            number: AtomicI64::new(START),
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap()
    }

    /// A number that nobody else has.
    pub fn next(&self) -> i64 {
        self.number.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// The turn, where nothing is broken.
    fn calm(&self) -> Option<u64> {
        Some(self.turn.load(Ordering::SeqCst)).filter(|turn| turn.is_multiple_of(2))
    }
}

/// What a client has done.
#[derive(Default)]
pub struct Deeds {
    pub sessions: Vec<Vec<Op>>,
    /// Statements that failed, by their SQLSTATE.
    pub failed: BTreeMap<String, u64>,
    /// Failures that may not come.
    pub wrong: Vec<String>,
}

/// One client.
struct Client {
    course: Arc<Course>,
    keys: Vec<i64>,
    random: Random,
    session: Option<Session>,
    /// What it has written last, and not read since.
    last: Option<(Vec<&'static str>, Vec<i64>)>,
    deeds: Deeds,
}

/// Reads and writes until the history ends.
pub async fn run(course: Arc<Course>, keys: Vec<i64>, random: Random) -> Deeds {
    let stop = course.stop.clone();
    let mut client = Client { course, keys, random, session: None, last: None, deeds: Deeds::default() };
    while !stop.is_cancelled() {
        client.turn().await;
    }
    client.deeds
}

impl Client {
    async fn turn(&mut self) {
        let Some(session) = self.session.take() else {
            let session = open(self.course.address).await;
            if session.is_some() {
                self.deeds.sessions.push(Vec::new());
                self.session = session;
            } else {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            return;
        };
        let next = if self.last.is_some() { READ } else { self.random.below(20) };
        let went = match next {
            0 => return self.carry(&session).await,
            1..=5 => self.write(&session).await,
            _ => self.read(&session).await,
        };
        if went.is_ok() {
            self.session = Some(session);
        }
    }

    /// Goes on over another connection with what it has written and seen, or as somebody else where that fails.
    async fn carry(&mut self, session: &Session) {
        let Ok(token) = ask(session, "SHOW tributary.token").await else { return };
        let Some(next) = open(self.course.address).await else { return };
        match ask(&next, &format!("SET tributary.token = '{}'", token.join(""))).await {
            Ok(_) => self.session = Some(next),
            Err(Said::Lost) => {}
            Err(Said::Code(code)) => self.deeds.wrong.push(format!("its token is refused: {code}")),
        }
    }

    fn did(&mut self, op: Op) {
        self.deeds.sessions.last_mut().unwrap().push(op);
    }

    /// Writes down a failure. An error: the connection is lost.
    fn failed(&mut self, said: &Said, sql: &str) -> Result<(), ()> {
        let Said::Code(code) = said else { return Err(()) };
        *self.deeds.failed.entry(code.clone()).or_default() += 1;
        if ["XX", "22", "42", "0A"].iter().any(|class| code.starts_with(class)) {
            self.deeds.wrong.push(format!("{sql}: {code}"));
        }
        // Of an administrator's shutdown and the like the connection does not outlive its error.
        if code.starts_with("57P") || code == "08006" && sql == "BEGIN" { Err(()) } else { Ok(()) }
    }

    /// A transaction that gives some keys a number.
    async fn write(&mut self, session: &Session) -> Result<(), ()> {
        let (course, mut stores) = (Arc::clone(&self.course), self.stores());
        if LAST.iter().all(|store| stores.contains(store)) {
            stores.truncate(1);
        }
        let (number, keys) = (course.next(), self.some(self.keys.clone()));
        let updates = stores.iter().flat_map(|store| updates(&format!("{store}."), number, &keys));
        let statements: Vec<String> = std::iter::once("BEGIN".to_owned()).chain(updates).collect();
        let (begun, calm) = (course.now(), course.calm());
        let (end, went) = self.transaction(session, &statements).await;
        // Where one of several stores does not answer, it follows later.
        let is_whole = stores.len() == 1 || calm.is_some() && calm == course.calm();
        let end = if end == End::Kept && !is_whole { End::Unknown } else { end };
        for store in &stores {
            self.did(Op::Write(Write { store, number, keys: keys.clone(), begun, ended: course.now(), end }));
        }
        // Most look at what they have just written.
        self.last = Some((stores, keys)).filter(|_| end == End::Kept && self.random.chance(70));
        went
    }

    async fn transaction(&mut self, session: &Session, statements: &[String]) -> (End, Result<(), ()>) {
        for sql in statements {
            if let Err(said) = ask(session, sql).await {
                let went = self.failed(&said, sql).and(ask(session, "ROLLBACK").await.map(drop).map_err(drop));
                return (End::Undone, went);
            }
        }
        let last = if self.random.chance(90) { "COMMIT" } else { "ROLLBACK" };
        match ask(session, last).await {
            Ok(_) => (if last == "COMMIT" { End::Kept } else { End::Undone }, Ok(())),
            Err(said) => {
                let is_undone = last == "ROLLBACK" || matches!(&said, Said::Code(code) if code != "08007");
                (if is_undone { End::Undone } else { End::Unknown }, self.failed(&said, last))
            }
        }
    }

    /// One statement that reads.
    async fn read(&mut self, session: &Session) -> Result<(), ()> {
        let bound = *self.random.pick(&BOUNDS);
        let level = match self.random.below(10) {
            0 => Level::Store,
            1 | 2 => Level::Strong,
            3..=5 => Level::Session,
            6 | 7 => Level::Bounded(bound * 1_000),
            _ => Level::Eventual,
        };
        let Focus { level: of_all, source: from_all } = self.course.focus;
        let level = of_all.unwrap_or(level);
        let on_stale = *self.random.pick(&["store", "wait", "error"]);
        if let Err(said) = ask(session, &settings(level, on_stale)).await {
            return self.failed(&said, "SET");
        }
        let (own, all) = (self.last.take(), (1..=ACCOUNTS).collect::<Vec<i64>>());
        let (stores, own) = own.map_or_else(|| (self.stores(), None), |(stores, keys)| (stores, Some(keys)));
        let (keys, is_prepared) = match self.random.below(3) {
            _ if from_all == Some(Source::Result) => (all, false),
            _ if own.is_some() => (own.unwrap_or_default(), false),
            0 => (all, false),
            1 => (vec![*self.random.pick(&all)], self.random.chance(60)),
            _ => (self.some(all), false),
        };
        let stores = if is_prepared { vec![stores[0]] } else { stores };
        let source = match self.random.below(4) {
            0 => Source::View,
            // The text of one that is kept, which has all keys.
            1 if keys.len() > KEYS => Source::Result,
            _ => Source::Tables,
        };
        let (source, is_prepared) = (from_all.unwrap_or(source), is_prepared && from_all.is_none());
        let begun = self.course.now();
        let answer = if is_prepared {
            prepared(session, stores[0], keys[0]).await
        } else {
            ask(session, &statement(&stores, &keys, source)).await
        };
        let ended = self.course.now();
        match answer {
            Ok(rows) => {
                self.course.reads.fetch_add(1, Ordering::SeqCst);
                for (place, store) in stores.into_iter().enumerate() {
                    let rows = numbers(&rows, place);
                    self.did(Op::Read(Read { store, level, begun, ended, keys: keys.clone(), rows }));
                }
                Ok(())
            }
            Err(said) => {
                if on_stale == "store" && said == Said::Code("55000".to_owned()) {
                    self.deeds.wrong.push(format!("{level:?} that may go to the store is refused"));
                }
                self.failed(&said, "a read")
            }
        }
    }

    /// One store, or two of them.
    fn stores(&mut self) -> Vec<&'static str> {
        let all = self.course.stores;
        let first = self.random.below(all.len());
        let mut chosen = vec![all[first]];
        if all.len() > 1 && self.random.chance(25) {
            chosen.push(all[(first + 1) % all.len()]);
        }
        chosen
    }

    /// Some of these keys.
    fn some(&mut self, mut keys: Vec<i64>) -> Vec<i64> {
        let count = (self.random.below(KEYS) + 1).min(keys.len());
        while keys.len() > count {
            let place = self.random.below(keys.len());
            keys.swap_remove(place);
        }
        keys
    }
}

async fn open(address: SocketAddr) -> Option<Session> {
    let login = proxy::login(address, OWNER);
    let session = tokio::time::timeout(PATIENCE, proxy::open(&login)).await.ok()?.ok()?;
    ask(&session, TIMEOUT).await.ok()?;
    Some(session)
}

fn settings(level: Level, on_stale: &str) -> String {
    let (consistency, bound) = match level {
        Level::Store => ("store", String::new()),
        Level::Strong => ("strong", String::new()),
        Level::Session => ("session", String::new()),
        Level::Bounded(bound) => ("bounded", format!("{}ms", bound / 1_000)),
        Level::Eventual => ("eventual", String::new()),
    };
    format!(
        "SET tributary.consistency = '{consistency}'; SET tributary.max_staleness = '{bound}'; SET tributary.on_stale = '{on_stale}'"
    )
}

/// What a statement is answered from, where it is kept here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The tables themselves, or their copies.
    Tables,
    /// A materialized view over them.
    View,
    /// The result of the whole statement.
    Result,
}

/// A statement over both tables of each store, whose rows begin with the place of the store.
fn statement(stores: &[&str], keys: &[i64], source: Source) -> String {
    let listed = keys.iter().map(i64::to_string).collect::<Vec<_>>().join(", ");
    let parts = stores.iter().enumerate().map(|(place, store)| match source {
        Source::Tables => format!("{} WHERE a._id IN ({listed})", joined(place, store)),
        Source::View => format!("SELECT {place}, _id, balance, amount FROM kept_{store} WHERE _id IN ({listed})"),
        Source::Result => joined(place, store),
    });
    parts.collect::<Vec<_>>().join(" UNION ALL ")
}

/// Both tables of a store, with the place of the store in a statement.
fn joined(place: usize, store: &str) -> String {
    format!("SELECT {place}, a._id, a.balance, m.amount FROM {store}.accounts a JOIN {store}.moves m ON m._id = a._id")
}

/// What keeps answers of such statements: a view of each store, and the results of what is asked of all keys.
pub fn keeping(stores: &[&str]) -> Vec<String> {
    let views = stores.iter().map(|store| {
        let query = format!("SELECT a._id, a.balance, m.amount FROM {store}.accounts a JOIN {store}.moves m ON m._id = a._id");
        format!("CREATE MATERIALIZED VIEW kept_{store} AS {query}")
    });
    let alone = stores.iter().map(|store| statement(&[store], &[], Source::Result));
    let both = (0..stores.len()).map(|place| statement(&[stores[place], stores[(place + 1) % stores.len()]], &[], Source::Result));
    let results = alone.chain(both.filter(|_| stores.len() > 1)).map(|query| format!("CREATE CACHE FOR {query}"));
    views.chain(results).collect()
}

/// The numbers of one store in the rows of such a statement.
fn numbers(rows: &[String], place: usize) -> Vec<[i64; 3]> {
    let parsed = rows.iter().map(|row| row.split('|').map(|field| field.parse().unwrap()).collect::<Vec<i64>>());
    let own = parsed.filter(|row| usize::try_from(row[0]).unwrap() == place);
    own.map(|row| [row[1], row[2], row[3]]).collect()
}

/// The row of one key by the extended protocol, in the form of such a statement.
async fn prepared(session: &Session, store: &str, key: i64) -> Result<Vec<String>, Said> {
    let sql = format!("SELECT balance FROM {store}.accounts WHERE _id = $1");
    let asked = tokio::time::timeout(PATIENCE, session.query(&sql, &[&key])).await;
    match asked.unwrap_or_else(|_elapsed| panic!("no answer to {sql}")) {
        Ok(rows) => Ok(rows.iter().map(|row| row.get::<_, i64>(0)).map(|number| format!("0|{key}|{number}|{number}")).collect()),
        Err(error) => Err(error.as_db_error().map_or(Said::Lost, |told| Said::Code(told.code().code().to_owned()))),
    }
}

/// Writes to keys of a store past Tributary until the history ends.
pub async fn beside(course: Arc<Course>, (store, way): (&'static str, Way), keys: Vec<i64>, mut random: Random) -> Vec<Write> {
    let mut done = Vec::new();
    while !course.stop.is_cancelled() {
        let Some(native) = way.open().await else {
            tokio::time::sleep(Duration::from_millis(30)).await;
            continue;
        };
        let mut behind = Behind::new(native);
        loop {
            let (number, first) = (course.next(), random.below(keys.len()));
            let chosen = &keys[first..first + 1 + random.below(keys.len() - first)];
            let begun = course.now();
            let wrote = behind.write(number, chosen, random.chance(90)).await;
            let end = wrote.unwrap_or_else(|end| end);
            done.push(Write { store, number, keys: chosen.to_vec(), begun, ended: course.now(), end });
            if wrote.is_err() || course.stop.is_cancelled() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(u64::try_from(random.below(course.pause)).unwrap())).await;
        }
    }
    done
}
