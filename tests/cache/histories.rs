//! Random histories: clients read copies, views and kept results at every consistency and write, others write past Tributary, and meanwhile Tributary and its stores
//! are killed and the ways to them are cut, frozen, slow or torn. What was read must be what was promised, and in the end copies have
//! what their tables have.
//!
//! `TRIBUTARY_TEST_READS=1000000` reads more often than usual, and breaks everything again and again meanwhile; `TRIBUTARY_TEST_CLIENTS=9`
//! has more clients do so, each of which has fewer keys of its own; `TRIBUTARY_TEST_CALM=10000` leaves everything alone for so many milliseconds
//! between two things that break; `TRIBUTARY_TEST_PAUSE=80` has those who write past Tributary wait for so many at most; `TRIBUTARY_TEST_SEED=…` draws as another run did.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use sqlx::sqlite::SqliteConnectOptions;
use tributary::config::environment;
use tributary::task::OwnedTask;

use super::behind::Way;
use super::checker::{Checks, History, Write, verdict};
use super::client::{self, Course, Deeds, Focus};
use super::copies::{FROM_COPY, FROM_STORE, reader, until_cached, until_copied};
use super::views::{standing, until_kept};
use super::world::{TABLES, cached};
use crate::changes::follow::until_streaming;
use crate::changes::harm::{Fault, Harm, faults};
use crate::changes::native::Native;
use crate::commit::stage::{ACCOUNTS, Door, LISTS, Lines, START, Stage, WITHOUT, mongodb_client, variables};
use crate::commit::{ask, eventually};
use crate::differential::random::Random;
use crate::support::proxy::PATIENCE;

/// How much is broken in an ordinary run, and how long it goes well in between.
const FAULTS: usize = 6;
const CALM: Duration = Duration::from_millis(1_200);
/// Milliseconds after which at most a writer past Tributary writes again.
const PAUSE: usize = 8;
/// Statements that give rows in an ordinary run, at least.
const READS: u64 = 500;
/// How often something freezes where a rule is left out.
const FREEZES: usize = 3;
/// The history of a run that is not given one.
const SEED: u64 = 20_261_123;
/// Clients of a run that is not given a number of them, and most keys of each.
const CLIENTS: i64 = 3;
const OWN: i64 = 3;
/// The first keys of a store are of who writes past Tributary, at least so many.
const BEHIND: i64 = 3;
/// At least as many things must have been looked at by each rule.
const CHECKS: u64 = 50;
/// Most complaints that are shown.
const SHOWN: usize = 20;

/// The way to a store itself, past any door.
pub async fn way(stage: &Stage, store: &str) -> Way {
    match store {
        "pg" => Way::Postgres(Box::new(stage.postgres.as_ref().unwrap().0.postgres_options())),
        "maria" => Way::MariaDb(Box::new(stage.mariadb.as_ref().unwrap().0.mysql_options())),
        "mongo" => {
            let server = &stage.mongodb.as_ref().unwrap().0;
            let client = mongodb_client(server).await;
            let database = client.database(server.database());
            Way::MongoDb(client, database)
        }
        file => {
            let path = stage.place.path().join(format!("{file}.db"));
            Way::Sqlite(Box::new(SqliteConnectOptions::new().filename(path).busy_timeout(PATIENCE)))
        }
    }
}

/// A connection to a store itself.
pub async fn behind(stage: &Stage, store: &str) -> Native {
    way(stage, store).await.open().await.unwrap()
}

/// The door of a store; a file has none.
pub fn door<'s>(stage: &'s mut Stage, store: &str) -> Option<&'s mut Door> {
    match store {
        "pg" => stage.postgres.as_mut().map(|(_, door)| door),
        "maria" => stage.mariadb.as_mut().map(|(_, door)| door),
        "mongo" => stage.mongodb.as_mut().map(|(_, door)| door),
        _ => None,
    }
}

/// Gives each account its row of `moves`, and waits until every table has its copy.
pub async fn until_ready(stage: &Stage, stores: &[&str]) {
    for store in stores {
        let mut native = behind(stage, store).await;
        native.begin().await;
        for key in 1..=ACCOUNTS {
            native.number(key, usize::try_from(START).unwrap()).await;
        }
        native.end(true).await;
    }
    let session = stage.session().await;
    for store in stores {
        until_streaming(&session, store, &TABLES).await;
        until_cached(&session, store, &TABLES).await;
    }
}

/// A run.
struct Storm {
    stage: Stage,
    course: Arc<Course>,
    random: Random,
    /// Whose it is, and what came about.
    told: Vec<String>,
}

fn number(variable: &str) -> Option<u64> {
    environment::text(variable).map(|text| text.parse().unwrap_or_else(|_| panic!("{variable} is no number")))
}

impl Storm {
    async fn over(stores: &'static [&'static str], (failpoints, focus): (&str, Focus)) -> (Self, u64) {
        let seed = number("TRIBUTARY_TEST_SEED").unwrap_or(SEED);
        let told = format!("reads of {stores:?} with TRIBUTARY_TEST_SEED={seed}");
        eprintln!("{told}");
        let lines = format!("changes.mode = \"as its kind\"\n{}", cached(&TABLES));
        let lines = Lines { server: "cache.look = \"50ms\"", store: &lines, journal: "wal" };
        let stage = Box::pin(Stage::start_with(stores, lines, failpoints)).await;
        until_ready(&stage, stores).await;
        let session = stage.session().await;
        for sql in client::keeping(stores) {
            session.answer(&sql).await;
        }
        for store in stores {
            until_kept(&session, &format!("kept_{store}")).await;
        }
        let pause = number("TRIBUTARY_TEST_PAUSE").map_or(PAUSE, |pause| usize::try_from(pause).unwrap());
        let course = Arc::new(Course::new(stores, stage.address(), (focus, pause.max(1))));
        (Self { stage, course, random: Random::new(seed), told: vec![told] }, seed)
    }

    fn note(&mut self, what: String) {
        eprintln!("{what}");
        self.told.push(what);
    }

    /// Something that breaks, and its end. Everybody goes on meanwhile.
    async fn suffer(&mut self, fault: Fault) {
        self.note(format!("{:?}: {fault:?}", self.course.began.elapsed()));
        self.course.turn.fetch_add(1, Ordering::SeqCst);
        match fault {
            Fault::Kill(point) => Box::pin(self.kill_at(point)).await,
            Fault::End(signal) => Box::pin(self.end_by(signal)).await,
            Fault::Hurt(store, harm) => Box::pin(self.hurt(store, harm)).await,
            Fault::Alter(store) => {
                let mut native = behind(&self.stage, store).await;
                native.alter(self.course.next()).await;
            }
        }
        eventually("the end of what was prepared", async || self.stage.prepared().await.is_empty().then_some(())).await;
        self.course.turn.fetch_add(1, Ordering::SeqCst);
    }

    async fn kill_at(&mut self, point: &str) {
        let failpoint = format!("{point}=kill@{}", self.random.below(20) + 2);
        // It may come there before anybody can log in.
        self.stage.proxy.again(&variables(&failpoint)).await.ok();
        eventually(&format!("a kill at {point}"), async || self.stage.proxy.has_ended().then_some(())).await;
        self.stage.proxy.again(&variables("")).await.unwrap();
    }

    async fn end_by(&mut self, signal: &'static str) {
        let process = self.stage.proxy.process_id().unwrap().to_string();
        let sent = tokio::process::Command::new("kill").args([signal, &process]).status().await;
        assert!(sent.unwrap().success(), "nobody is there to be ended");
        eventually("its end", async || self.stage.proxy.has_ended().then_some(())).await;
        self.stage.proxy.again(&variables("")).await.unwrap();
    }

    async fn hurt(&mut self, store: &str, harm: Harm) {
        let moment = Duration::from_millis(u64::try_from(self.random.below(900)).unwrap());
        let bytes = u32::try_from(self.random.below(3_000)).unwrap();
        if let Harm::Kill = harm {
            return match store {
                "pg" => self.stage.postgres.as_mut().unwrap().0.again().await.unwrap(),
                "maria" => self.stage.mariadb.as_mut().unwrap().0.again().await.unwrap(),
                _ => self.stage.mongodb.as_mut().unwrap().0.again().await.unwrap(),
            };
        }
        let door = door(&mut self.stage, store).unwrap();
        match harm {
            Harm::Kill => {}
            Harm::Cut => door.cut().await,
            Harm::Freeze => door.freeze(),
            Harm::Slow => door.slow(moment / 4),
            Harm::Tear => door.tear(bytes),
        }
        tokio::time::sleep(moment).await;
        door.mend().await;
    }

    /// Adds, moves and removes rows of `lists`, and empties it, in every store.
    async fn aside(&mut self) {
        for store in self.course.stores {
            let mut native = behind(&self.stage, store).await;
            for _ in 0..3 {
                native.add(LISTS + self.course.next()).await;
            }
            let id = LISTS + self.course.next();
            native.add(id).await;
            if *store == "mongo" {
                continue;
            }
            match self.random.below(4) {
                0 if *store != "east" => native.run("TRUNCATE TABLE lists").await,
                1 => native.run(&format!("UPDATE lists SET _id = {} WHERE _id = {id}", LISTS + self.course.next())).await,
                2 => native.run(&format!("DELETE FROM lists WHERE _id < {id} AND _id % 2 = 0")).await,
                _ => native.run("UPDATE lists SET v = v").await,
            }
        }
    }

    /// Breaks one thing after the other until there were enough reads.
    async fn run(&mut self, reads: u64) {
        let calm = number("TRIBUTARY_TEST_CALM").map_or(CALM, Duration::from_millis);
        let all = faults(self.course.stores.iter().copied());
        let (mut left, mut suffered) = (Vec::new(), 0);
        while suffered < FAULTS || self.course.reads.load(Ordering::SeqCst) < reads {
            tokio::time::sleep(calm).await;
            Box::pin(self.aside()).await;
            if left.is_empty() {
                left.clone_from(&all);
            }
            let next = self.random.below(left.len());
            let fault = left.swap_remove(next);
            Box::pin(self.suffer(fault)).await;
            suffered += 1;
        }
        tokio::time::sleep(CALM).await;
        self.course.stop.cancel();
    }

    /// Copies have what their tables have.
    async fn drained(&self) {
        let address = self.course.address;
        let (of_copy, of_store) = (reader(address, &FROM_COPY).await, reader(address, &FROM_STORE).await);
        for store in self.course.stores {
            // What was altered is known again.
            eventually("a look at it", async || ask(&of_store, &format!("CALL tributary.refresh('{store}')")).await.ok()).await;
            for (table, columns) in [("accounts", "_id, balance"), ("moves", "_id, account, amount"), ("lists", "_id, v")] {
                let sql = format!("SELECT {columns} FROM {store}.{table} ORDER BY _id");
                let expected = eventually("an answer", async || ask(&of_store, &sql).await.ok()).await;
                eventually("an answer of the copy", async || ask(&of_copy, &sql).await.ok()).await;
                // Its alterations begin and end that whole documents are kept, without which it has no copy.
                if (*store, table) == ("mongo", "lists") {
                    continue;
                }
                until_copied(&of_copy, (store, table), &sql, &expected).await;
            }
            let sql = format!("SELECT _id, balance, amount FROM kept_{store} ORDER BY _id");
            let expected = eventually("an answer", async || ask(&of_store, &sql).await.ok()).await;
            let is_kept = async || {
                let before = standing(&of_copy, &format!("kept_{store}")).await.2;
                let rows = ask(&of_copy, &sql).await.ok()?;
                (rows == expected && standing(&of_copy, &format!("kept_{store}")).await.2 > before).then_some(())
            };
            eventually("rows of the view that are those of its query", is_kept).await;
        }
    }
}

/// What was done, and how often statements failed.
async fn joined(
    clients: Vec<OwnedTask<Deeds>>,
    writers: Vec<OwnedTask<Vec<Write>>>,
) -> (History, BTreeMap<String, u64>, Vec<String>) {
    let (mut history, mut failed, mut wrong) = (History::default(), BTreeMap::new(), Vec::new());
    for task in writers {
        history.behind.extend(task.join().await.expect("a writer has failed"));
    }
    for task in clients {
        let deeds = task.join().await.expect("a client has failed");
        history.sessions.extend(deeds.sessions);
        wrong.extend(deeds.wrong);
        for (code, count) in deeds.failed {
            *failed.entry(code).or_default() += count;
        }
    }
    (history, failed, wrong)
}

/// How many clients a run has. Each of them has a key of its own at least: a key has one writer.
fn clients() -> i64 {
    let Some(clients) = number("TRIBUTARY_TEST_CLIENTS") else { return CLIENTS };
    let clients = i64::try_from(clients).ok().filter(|clients| (1..=ACCOUNTS - BEHIND).contains(clients));
    clients.unwrap_or_else(|| panic!("TRIBUTARY_TEST_CLIENTS is not from 1 to {}", ACCOUNTS - BEHIND))
}

/// How many keys each of so many clients has.
fn own(clients: i64) -> i64 {
    OWN.min((ACCOUNTS - BEHIND) / clients)
}

/// Those who read, and those who write past Tributary.
async fn crowd(storm: &Storm, seed: u64, count: i64) -> (Vec<OwnedTask<Deeds>>, Vec<OwnedTask<Vec<Write>>>) {
    let (mut writers, own) = (Vec::new(), own(count));
    for (place, store) in storm.course.stores.iter().enumerate() {
        let (way, random) = (way(&storm.stage, store).await, Random::new(seed + 100 + u64::try_from(place).unwrap()));
        let keys = (1..=ACCOUNTS - count * own).collect();
        writers.push(OwnedTask::spawn(client::beside(Arc::clone(&storm.course), (*store, way), keys, random)));
    }
    let mut clients = Vec::new();
    for client in 0..count {
        let first = ACCOUNTS - (client + 1) * own + 1;
        let random = Random::new(seed + 200 + u64::try_from(client).unwrap());
        clients.push(OwnedTask::spawn(client::run(Arc::clone(&storm.course), (first..first + own).collect(), random)));
    }
    (clients, writers)
}

/// What is found wrong in a short history, whose reads are about something, under a Tributary that leaves out a rule. Its way to PostgreSQL
/// is frozen now and then, and nothing else breaks.
pub async fn found_without(rule: &str, focus: Focus) -> Vec<String> {
    let (mut storm, seed) = Box::pin(Storm::over(&["pg", "east"], (&format!("{WITHOUT}{rule}"), focus))).await;
    let (clients, writers) = crowd(&storm, seed, CLIENTS).await;
    for _ in 0..FREEZES {
        tokio::time::sleep(CALM).await;
        Box::pin(storm.suffer(Fault::Hurt("pg", Harm::Freeze))).await;
    }
    storm.course.stop.cancel();
    let (history, failed, _) = joined(clients, writers).await;
    let (found, checks) = verdict(&history);
    eprintln!("without {rule}: {} are wrong; {checks}; failed: {failed:?}", found.len());
    found
}

async fn storm(stores: &'static [&'static str]) {
    let count = clients();
    let (mut storm, seed) = Box::pin(Storm::over(stores, ("", Focus::default()))).await;
    let (clients, writers) = crowd(&storm, seed, count).await;
    let reads = number("TRIBUTARY_TEST_READS").unwrap_or(READS);
    let began = Instant::now();
    Box::pin(storm.run(reads)).await;
    let (history, failed, wrong) = joined(clients, writers).await;
    let took = began.elapsed();
    let (found, checks) = verdict(&history);
    let course = storm.told.join("\n");
    let reads = storm.course.reads.load(Ordering::SeqCst);
    let rate = checks.total() as f64 / took.as_secs_f64();
    eprintln!("{reads} reads in {took:?}: {checks}; {rate:.0} checks a second; failed: {failed:?}");
    let shown = found.iter().chain(&wrong).take(SHOWN).cloned().collect::<Vec<_>>().join("\n");
    assert!(found.is_empty() && wrong.is_empty(), "{course}\n{} are wrong:\n{shown}", found.len() + wrong.len());
    assert_enough(checks, &course);
    Box::pin(storm.drained()).await;
}

/// A history in which little was read proves little.
fn assert_enough(checks: Checks, course: &str) {
    assert!(checks.each().iter().all(|count| *count >= CHECKS), "{course}\nonly {checks}");
}

#[test]
fn clients_share_no_key_and_leave_some_to_who_writes_past_them() {
    assert_eq!(own(CLIENTS), OWN);
    for clients in 1..=ACCOUNTS - BEHIND {
        assert!((1..=OWN).contains(&own(clients)) && ACCOUNTS - clients * own(clients) >= BEHIND, "{clients} clients");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_of_postgres_mariadb_mongodb_and_a_file_keep_what_is_promised_whatever_breaks() {
    Box::pin(storm(&["pg", "maria", "mongo", "east"])).await;
}
