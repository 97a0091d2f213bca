//! Random histories: writes past Tributary and through it, in one store and in several, kept and undone, and a table that is altered
//! and emptied, while Tributary is killed and started again, stores too, and the ways to them are cut, frozen, slow or torn in the middle
//! of an answer. In the end what the log holds, and what a client was told that came back each time at its own place, must be what was
//! done.
//!
//! `TRIBUTARY_TEST_FEEDS=5000` makes longer histories than usual, `TRIBUTARY_TEST_SEED=…` those of another run.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use mongodb::Client;
use sqlx::Connection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use tributary::config::environment;
use tributary::task::OwnedTask;

use super::check::{Content, Deed, Done, End, Told, What, complaints};
use super::follow::until_streaming;
use super::harm::{Fault, Harm, faults};
use super::native::{Native, sql};
use super::room::OUTBOX;
use super::shaped::{self, Seen, Step};
use super::subscriber::{Subscriber, listed};
use super::{Said, ask, eventually};
use crate::commit::stage::{ACCOUNTS, Door, FOLLOWED, LISTS, Lines, START, Stage, mongodb_client, variables};
use crate::differential::random::Random;
use crate::support::proxy::PATIENCE;

/// Steps of an ordinary run for each store.
const STEPS: usize = 30;
/// Keys of `accounts`, which clients share out among themselves.
const KEYS: usize = 36;
/// Writers past Tributary, which write at the same time where the store lets them, and the one through it.
const CLIENTS: usize = 3;
const PROXIED: usize = 2;
/// Values are this much for each write of a key, and the number of the transaction.
const VERSION: i64 = 1_000_000;
/// The lines of the server's own file.
const SERVER: &str = "limits.subscriptions = 20\n";
/// The history of a run that is not given one: all runs do the same, as far as the moment does not matter.
const SEED: u64 = 20_261_123;
/// How long a row of the altered table may take until another one is tried.
const WAIT: Duration = Duration::from_secs(3);

/// One store: what is in it, what was done, and who writes there.
struct World {
    store: &'static str,
    /// Whether rows from before an alteration can be read behind it: a binlog is read as its tables are now, and so is what triggers have
    /// written.
    reads_back: bool,
    rows: Content,
    versions: BTreeMap<i64, i64>,
    done: Vec<Done>,
    /// What was done to `lists`.
    aside: Vec<Step>,
}

impl World {
    fn of(store: &'static str, lines: &str) -> Self {
        let rows = (1..=ACCOUNTS).map(|id| (id, START)).collect();
        let reads_back = store != "maria" && lines != OUTBOX;
        Self { store, reads_back, rows, versions: BTreeMap::new(), done: Vec::new(), aside: Vec::new() }
    }

    /// Something to do with keys of a client, which has not been done yet.
    fn draw(&mut self, client: usize, number: i64, rows: &Content, random: &mut Random) -> Deed {
        let key = |random: &mut Random| i64::try_from(random.below(KEYS / CLIENTS) * CLIENTS + client + 1).unwrap();
        let (one, other) = (key(random), key(random));
        let is_there = rows.contains_key(&one);
        if is_there && random.chance(20) {
            return Deed::Delete { key: one };
        }
        if is_there && !rows.contains_key(&other) && self.store != "mongo" && random.chance(30) {
            return Deed::Move { from: one, to: other, value: self.value(other, number) };
        }
        Deed::Put { key: one, value: self.value(one, number) }
    }

    /// A value that nothing else writes, larger than all before it at this key.
    fn value(&mut self, key: i64, number: i64) -> i64 {
        let version = self.versions.entry(key).or_insert(0);
        *version += 1;
        *version * VERSION + number
    }

    fn keep(&mut self, done: Done) {
        if done.end == End::Kept {
            done.deeds.iter().for_each(|deed| deed.apply(&mut self.rows));
        }
        self.done.push(done);
    }
}

/// A transaction under way.
struct Open {
    done: Done,
    rows: Content,
    left: usize,
}

/// A run.
struct Storm {
    stage: Stage,
    worlds: Vec<World>,
    /// A client of MongoDB, whose login takes long, until the server is killed.
    mongo: Option<Client>,
    random: Random,
    number: i64,
    told: String,
    /// What came about, step by step: told where something is wrong.
    steps: Vec<String>,
}

/// What came about is told behind what is wrong, which somebody who sees only the beginning of it needs first.
impl Drop for Storm {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("what came about over {}:\n{}", self.told, self.steps.join("\n"));
        }
    }
}

fn number(variable: &str) -> Option<u64> {
    environment::text(variable).map(|text| text.parse().unwrap_or_else(|_| panic!("{variable} is no number")))
}

impl Storm {
    async fn over(stores: &'static [&'static str], lines: &'static str) -> Self {
        let seed = number("TRIBUTARY_TEST_SEED").unwrap_or(SEED);
        let told = format!("{stores:?} with TRIBUTARY_TEST_SEED={seed}");
        eprintln!("a history over {told}");
        let stage = Stage::start_with(stores, Lines { server: SERVER, store: lines, journal: "delete" }, "").await;
        let session = stage.session().await;
        for store in stores {
            until_streaming(&session, store, &["accounts", "moves", "lists"]).await;
        }
        let worlds = stores.iter().map(|store| World::of(store, lines)).collect();
        Self { stage, worlds, mongo: None, random: Random::new(seed), number: 0, told, steps: Vec::new() }
    }

    /// A connection to the store of a world.
    async fn native(&mut self, world: usize) -> Native {
        match self.worlds[world].store {
            "pg" => Native::Postgres(self.stage.in_postgres().await),
            "maria" => {
                let mut native = Native::MariaDb(self.stage.in_mariadb().await);
                // Without locks of what lies between rows, for which two writers on one thread would wait for ever.
                native.run("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED").await;
                native
            }
            "mongo" => {
                let server = &self.stage.mongodb.as_ref().unwrap().0;
                let client = match &self.mongo {
                    Some(client) => client.clone(),
                    None => self.mongo.insert(mongodb_client(server).await).clone(),
                };
                Native::MongoDb { database: client.database(server.database()), client, open: None }
            }
            file => {
                let path = self.stage.place.path().join(format!("{file}.db"));
                let options = SqliteConnectOptions::new().filename(path).busy_timeout(Duration::from_secs(30));
                Native::Sqlite(SqliteConnection::connect_with(&options).await.unwrap())
            }
        }
    }

    /// Writes a step down.
    fn note(&mut self, step: String) {
        self.steps.push(step);
    }

    /// Waits until a query gives this one row; fails with how the feed stands and the last that it has told.
    async fn until_row(&self, store: &str, (what, sql, row): (&str, &str, &str)) {
        let session = self.stage.session().await;
        let deadline = Instant::now() + PATIENCE;
        let mut last = Ok(Vec::new());
        while Instant::now() < deadline {
            last = ask(&session, sql).await;
            if last.as_ref().is_ok_and(|rows| *rows == [row]) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let feed = format!("SELECT table_name, state, reason, position FROM tributary.feeds WHERE store = '{store}'");
        let stands = ask(&session, &feed).await;
        panic!("{store}: {what} is {last:?} and never {row}; its feed stands so: {stands:?}");
    }

    fn next_number(&mut self) -> i64 {
        self.number += 1;
        self.number
    }

    /// Transactions past Tributary, of two clients at the same time where the store has locks for rows.
    async fn past(&mut self, world: usize) {
        let both = matches!(self.worlds[world].store, "pg" | "maria") && self.random.chance(50);
        let mut open = Vec::new();
        let clients = if both { vec![0, 1] } else { vec![self.random.below(PROXIED)] };
        for client in clients {
            let number = self.next_number();
            let left = self.random.below(5) + 1;
            let mut native = self.native(world).await;
            native.begin().await;
            let rows = self.worlds[world].rows.clone();
            open.push((native, Open { done: Done { number, client, deeds: Vec::new(), end: End::Kept }, rows, left }));
        }
        while !open.is_empty() {
            let turn = self.random.below(open.len());
            if open[turn].1.left > 0 {
                let (native, transaction) = &mut open[turn];
                transaction.left -= 1;
                self.go_on(world, native, transaction).await;
                continue;
            }
            let (mut native, mut transaction) = open.swap_remove(turn);
            native.number(transaction.done.number, transaction.done.deeds.len()).await;
            let is_kept = self.random.chance(80);
            native.end(is_kept).await;
            transaction.done.end = if is_kept { End::Kept } else { End::Undone };
            self.keep(world, transaction.done);
        }
    }

    fn keep(&mut self, world: usize, done: Done) {
        let Done { number, client, deeds, end } = &done;
        self.note(format!("  {number} of client {client} in {}: {end:?} {deeds:?}", self.worlds[world].store));
        self.worlds[world].keep(done);
    }

    /// One deed, which may be undone again at once.
    async fn go_on(&mut self, world: usize, native: &mut Native, open: &mut Open) {
        let (number, client) = (open.done.number, open.done.client);
        let deed = self.worlds[world].draw(client, number, &open.rows, &mut self.random);
        if native.has_savepoints() && self.random.chance(15) {
            native.run("SAVEPOINT s").await;
            native.deed(deed, &open.rows).await;
            native.run("ROLLBACK TO SAVEPOINT s").await;
            return;
        }
        native.deed(deed, &open.rows).await;
        deed.apply(&mut open.rows);
        open.done.deeds.push(deed);
    }

    /// A transaction through Tributary over some stores.
    async fn through(&mut self, worlds: &[usize]) {
        let session = self.stage.session().await;
        let number = self.next_number();
        let mut statements = vec!["BEGIN".to_owned()];
        let mut done = Vec::new();
        for &world in worlds {
            let store = self.worlds[world].store;
            let mut rows = self.worlds[world].rows.clone();
            let mut deeds = Vec::new();
            for _ in 0..=self.random.below(3) {
                let deed = self.worlds[world].draw(PROXIED, number, &rows, &mut self.random);
                statements.push(sql(&format!("{store}.accounts"), deed, &rows));
                deed.apply(&mut rows);
                deeds.push(deed);
            }
            let insert = format!("INSERT INTO {store}.moves (_id, account, amount) VALUES ({number}, 0, {})", deeds.len());
            statements.push(insert);
            done.push((world, Done { number, client: PROXIED, deeds, end: End::Undone }));
        }
        let mut end = End::Kept;
        for statement in &statements {
            if let Err(said) = ask(&session, statement).await {
                self.note(format!("  {statement}: {said:?}"));
                end = End::Undone;
                break;
            }
        }
        if end == End::Kept {
            end = match ask(&session, if self.random.chance(80) { "COMMIT" } else { "ROLLBACK" }).await {
                Ok(_) => End::Kept,
                Err(Said::Code(code)) if code != "08007" => End::Undone,
                Err(_) => End::Unknown,
            };
        }
        self.settle(done, end, number).await;
    }

    /// Writes down how a transaction ended: where its client was not told, or where it said ROLLBACK, by what is in the stores.
    async fn settle(&mut self, done: Vec<(usize, Done)>, end: End, number: i64) {
        for (world, mut done) in done {
            done.end = if end == End::Undone { End::Undone } else { self.is_there(world, number).await };
            self.keep(world, done);
        }
    }

    /// Whether the row of a transaction is in its store, once nothing is on its way any more.
    async fn is_there(&self, world: usize, number: i64) -> End {
        eventually("the end of what was prepared", async || self.stage.prepared().await.is_empty().then_some(())).await;
        let session = self.stage.session().await;
        let store = self.worlds[world].store;
        let found = format!("SELECT count(*) FROM {store}.moves WHERE _id = {number}");
        let found = eventually("an answer", async || ask(&session, &found).await.ok()).await;
        if found == ["1"] { End::Kept } else { End::Undone }
    }

    /// Kills Tributary at a step on the way of changes to their log, while something is written, and starts it again.
    async fn kill_at(&mut self, point: &str) {
        let failpoint = format!("{point}=kill@{}", self.random.below(4) + 2);
        // It may come there before anybody can log in.
        self.stage.proxy.again(&variables(&failpoint)).await.ok();
        for _ in 0..500 {
            if self.stage.proxy.has_ended() {
                break;
            }
            let world = self.random.below(self.worlds.len());
            self.past(world).await;
        }
        assert!(self.stage.proxy.has_ended(), "nobody came to {point}");
        let world = self.random.below(self.worlds.len());
        self.past(world).await;
        self.stage.proxy.again(&variables("")).await.unwrap();
    }

    /// Ends Tributary at any moment by a signal, while something is written, and starts it again.
    async fn end_by(&mut self, signal: &'static str) {
        let process = self.stage.proxy.process_id().unwrap().to_string();
        let wait = self.moment(300);
        let ending = OwnedTask::spawn(async move {
            tokio::time::sleep(wait).await;
            let sent = tokio::process::Command::new("kill").args([signal, &process]).status().await;
            assert!(sent.unwrap().success(), "nobody is there to be ended");
        });
        let deadline = Instant::now() + PATIENCE;
        while !self.stage.proxy.has_ended() {
            assert!(Instant::now() < deadline, "{signal} ends nothing");
            let world = self.random.below(self.worlds.len());
            self.past(world).await;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        ending.join().await.expect("the signal was not sent");
        self.stage.proxy.again(&variables("")).await.unwrap();
    }

    /// Some time, shorter than this.
    fn moment(&mut self, milliseconds: usize) -> Duration {
        Duration::from_millis(u64::try_from(self.random.below(milliseconds)).unwrap())
    }

    /// The way to a store.
    fn door(&mut self, store: &str) -> &mut Door {
        let stage = &mut self.stage;
        match store {
            "pg" => &mut stage.postgres.as_mut().unwrap().1,
            "maria" => &mut stage.mariadb.as_mut().unwrap().1,
            _ => &mut stage.mongodb.as_mut().unwrap().1,
        }
    }

    /// Does something to a store's server, or to the way to it, while something is written there.
    async fn hurt(&mut self, store: &str, harm: Harm) {
        let (wait, bytes) = (self.moment(200), u32::try_from(self.random.below(600)).unwrap());
        match harm {
            Harm::Kill => {
                self.mongo = None;
                return match store {
                    "pg" => self.stage.postgres.as_mut().unwrap().0.again().await.unwrap(),
                    "maria" => self.stage.mariadb.as_mut().unwrap().0.again().await.unwrap(),
                    _ => self.stage.mongodb.as_mut().unwrap().0.again().await.unwrap(),
                };
            }
            Harm::Cut => self.door(store).cut().await,
            Harm::Freeze => self.door(store).freeze(),
            Harm::Slow => self.door(store).slow(wait),
            Harm::Tear => self.door(store).tear(bytes),
        }
        let world = self.worlds.iter().position(|world| world.store == store).unwrap();
        self.past(world).await;
        tokio::time::sleep(wait).await;
        self.past(world).await;
        self.door(store).mend().await;
    }

    /// Adds rows to `lists`, empties it, or gives it another column, past Tributary or through it.
    async fn aside(&mut self, world: usize, must_alter: bool) {
        let store = self.worlds[world].store;
        let number = self.next_number();
        let mut native = self.native(world).await;
        if must_alter || self.random.chance(20) {
            self.note(format!("  {number} alters lists of {store}"));
            // What others add at the same time may or may not come before it.
            self.worlds[world].aside.push(Step::Altered);
            if store == "mongo" || self.random.chance(50) {
                native.alter(number).await;
            } else {
                let session = self.stage.session().await;
                if let Err(said) = ask(&session, &format!("ALTER TABLE {store}.lists ADD COLUMN c{number} bigint")).await {
                    self.note(format!("  {store} was not altered: {said:?}"));
                }
            }
        } else if matches!(store, "pg" | "maria") && self.random.chance(15) {
            self.note(format!("  {number} empties lists of {store}"));
            native.run("TRUNCATE TABLE lists").await;
            self.worlds[world].aside.push(Step::Emptied);
        }
        for _ in 0..=self.random.below(2) {
            self.add(world, &mut native).await;
        }
    }

    /// Adds a row to `lists` and gives its key.
    async fn add(&mut self, world: usize, native: &mut Native) -> i64 {
        let id = self.next_number() + LISTS;
        self.note(format!("  {id} is added to lists of {}", self.worlds[world].store));
        native.add(id).await;
        self.worlds[world].aside.push(Step::Row(id));
        id
    }

    /// Adds rows to `lists` until one of them is told: it is followed again, in whatever shape it has now.
    async fn until_aside(&mut self, world: usize) {
        let deadline = Instant::now() + PATIENCE;
        let mut native = self.native(world).await;
        let (session, store) = (self.stage.session().await, self.worlds[world].store);
        while Instant::now() < deadline {
            let id = self.add(world, &mut native).await;
            let is_told = format!(
                "SELECT count(*) FROM tributary.changes WHERE store = '{store}' AND table_name = 'lists' AND key->>'_id' = '{id}'"
            );
            let until = Instant::now() + WAIT;
            while Instant::now() < until {
                if ask(&session, &is_told).await == Ok(vec!["1".to_owned()]) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        panic!("nothing of the altered table of {store} is told any more");
    }

    async fn suffer(&mut self, fault: Fault) {
        let is_cut = match fault {
            Fault::Kill(_) | Fault::End(_) => true,
            Fault::Hurt(store, _) => store == "pg",
            Fault::Alter(_) => false,
        };
        // The feed of PostgreSQL begins again with its tables as they are then.
        if is_cut {
            self.worlds.iter_mut().filter(|world| world.store == "pg").for_each(|world| world.aside.push(Step::Cut));
        }
        match fault {
            Fault::Kill(point) => Box::pin(self.kill_at(point)).await,
            Fault::End(signal) => Box::pin(self.end_by(signal)).await,
            Fault::Hurt(store, harm) => Box::pin(self.hurt(store, harm)).await,
            Fault::Alter(store) => {
                let world = self.worlds.iter().position(|world| world.store == store).unwrap();
                Box::pin(self.aside(world, true)).await;
            }
        }
    }

    /// Steps, with every fault among them, and once more in a history that is longer than usual.
    async fn run(&mut self, steps: usize) {
        let all = faults(self.worlds.iter().map(|world| world.store));
        let between = (steps.min(STEPS * self.worlds.len()) / (all.len() + 1)).max(1);
        let (mut left, mut suffered) = (all.clone(), 0);
        for step in 0..steps {
            if step % between == between - 1 {
                let next = self.random.below(left.len());
                let fault = left.swap_remove(next);
                self.note(format!("step {step}: {fault:?}"));
                Box::pin(self.suffer(fault)).await;
                suffered += 1;
                if left.is_empty() {
                    left.clone_from(&all);
                }
            }
            let world = self.random.below(self.worlds.len());
            let other = self.random.below(self.worlds.len());
            match self.random.below(12) {
                0..=6 => Box::pin(self.past(world)).await,
                7 | 8 => Box::pin(self.through(&[world])).await,
                9 | 10 => Box::pin(self.aside(world, false)).await,
                _ if other != world => Box::pin(self.through(&[world, other])).await,
                _ => {}
            }
        }
        assert!(suffered >= all.len(), "{suffered} of {} faults came about", all.len());
    }

    /// Waits until the last transaction of each store is told, and checks everything.
    async fn check(&mut self, subscribers: &[Subscriber]) {
        let before: Content = (1..=ACCOUNTS).map(|id| (id, START)).collect();
        for world in 0..self.worlds.len() {
            let number = self.next_number();
            let mut native = self.native(world).await;
            native.begin().await;
            native.number(number, 0).await;
            native.end(true).await;
            self.keep(world, Done { number, client: 0, deeds: Vec::new(), end: End::Kept });
            let (session, store) = (self.stage.session().await, self.worlds[world].store);
            let is_told = format!(
                "SELECT count(*) FROM tributary.changes WHERE store = '{store}' AND table_name = 'moves' AND key->>'_id' = '{number}'"
            );
            Box::pin(self.until_row(store, ("the last transaction", is_told.as_str(), "1"))).await;
            Box::pin(self.until_aside(world)).await;
            let world = &self.worlds[world];
            let told = told(&session, store).await;
            let rows = rows(&session, store).await;
            assert!(rows == world.rows, "{store}: rows are not what was done: {:?}", differences(&world.rows, &rows));
            let found = complaints(&world.done, &told, &before, &rows);
            assert!(found.is_empty(), "{store}: {}\ntold was: {}", found.join("\n"), listed(&told));
            let aside: Vec<Seen> =
                told.iter().filter_map(|told| if let What::Aside(seen) = told.what { Some(seen) } else { None }).collect();
            let found = shaped::complaints(&world.aside, &aside, world.reads_back);
            assert!(found.is_empty(), "{store}: {}\ndone was: {:?}\ntold was: {aside:?}", found.join("\n"), world.aside);
            let kept = world.done.iter().filter(|done| done.end == End::Kept).count();
            assert!(kept > world.done.len() / 3, "only {kept} transactions of {store} were kept");
            if let Some(subscriber) = subscribers.iter().find(|subscriber| subscriber.store == store) {
                subscriber.compare(&told).await;
            }
        }
    }
}

/// Rows that are not as they were expected: the key, what was expected and what is there.
fn differences(expected: &Content, found: &Content) -> Vec<(i64, Option<i64>, Option<i64>)> {
    let keys: BTreeSet<i64> = expected.keys().chain(found.keys()).copied().collect();
    let both = keys.into_iter().map(|key| (key, expected.get(&key).copied(), found.get(&key).copied()));
    both.filter(|(_, expected, found)| expected != found).collect()
}

/// What the log of a store holds, in order.
async fn told(session: &crate::support::proxy::Session, store: &str) -> Vec<Told> {
    let sql = format!(
        "SELECT position, table_name, op, key->>'_id', old->>'_id', new->>'balance', new->>'amount', reason \
         FROM tributary.changes WHERE store = '{store}' ORDER BY position"
    );
    session.rows(&sql).await.unwrap().iter().map(|row| event(row)).collect()
}

fn event(row: &str) -> Told {
    let fields: Vec<&str> = row.split('|').collect();
    let whole = |text: &str| text.parse::<i64>().ok();
    let (table, op, key) = (fields[1], fields[2], whole(fields[3]));
    let (old, balance, amount) = (whole(fields[4]), whole(fields[5]), whole(fields[6]));
    let what = match (table, op, key) {
        ("moves", "insert" | "upsert", Some(number)) => {
            What::Number(number, amount.and_then(|amount| usize::try_from(amount).ok()).unwrap_or(usize::MAX))
        }
        ("lists", "insert" | "upsert", Some(id)) => What::Aside(Seen::Row(id)),
        ("lists", "truncate", None) => What::Aside(Seen::Emptied),
        ("lists", "reshaped" | "stopped", None) => What::Aside(Seen::Shaped),
        ("accounts", "delete", Some(key)) => What::Deed(Deed::Delete { key }),
        ("accounts", "insert" | "update" | "upsert", Some(key)) => match (old.filter(|old| *old != key), balance) {
            (Some(from), Some(value)) => What::Deed(Deed::Move { from, to: key, value }),
            (None, Some(value)) => What::Deed(Deed::Put { key, value }),
            (_, None) => What::Other(row.to_owned()),
        },
        _ => What::Other(row.to_owned()),
    };
    Told { position: fields[0].to_owned(), what }
}

async fn rows(session: &crate::support::proxy::Session, store: &str) -> Content {
    let rows = session.rows(&format!("SELECT _id, balance FROM {store}.accounts")).await.unwrap();
    let parts = rows.iter().map(|row| row.split_once('|').unwrap());
    parts.map(|(id, balance)| (id.parse().unwrap(), balance.parse().unwrap())).collect()
}

async fn storm(stores: &'static [&'static str], lines: &'static str) {
    let steps = number("TRIBUTARY_TEST_FEEDS").map_or(STEPS * stores.len(), |steps| usize::try_from(steps).unwrap());
    let mut storm = Box::pin(Storm::over(stores, lines)).await;
    // Each follows from the first thing that its store tells.
    let mut subscribers = Vec::new();
    for (world, store) in stores.iter().enumerate() {
        let number = storm.next_number();
        let mut native = storm.native(world).await;
        native.begin().await;
        native.number(number, 0).await;
        native.end(true).await;
        storm.keep(world, Done { number, client: 0, deeds: Vec::new(), end: End::Kept });
        let session = storm.stage.session().await;
        let first = format!("SELECT position FROM tributary.changes WHERE store = '{store}' ORDER BY position LIMIT 1");
        let first = eventually("the first event", async || ask(&session, &first).await.ok()?.pop()).await;
        subscribers.push(Subscriber::start(store, storm.stage.address(), first));
    }
    Box::pin(storm.run(steps)).await;
    Box::pin(storm.check(&subscribers)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_change_of_postgres_mariadb_mongodb_and_a_file_is_lost_doubled_or_torn_whoever_is_killed() {
    Box::pin(storm(&["pg", "maria", "mongo", "east"], FOLLOWED)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_change_of_a_file_is_lost_doubled_or_torn_whenever_tributary_is_killed() {
    Box::pin(storm(&["east"], FOLLOWED)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_change_of_postgres_is_lost_doubled_or_torn_where_triggers_tell_it() {
    Box::pin(storm(&["pg"], OUTBOX)).await;
}
