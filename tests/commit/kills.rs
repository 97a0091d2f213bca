//! The bank while somebody is killed: Tributary at every step of the protocol, servers by SIGKILL, connections by being cut or by going
//! silent. After each kill everything is started again, and everything must be as the clients were told.
//!
//! `TRIBUTARY_TEST_KILLS=1000` kills more often than usual, `TRIBUTARY_TEST_SEED=…` in the order of another run.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mongodb::bson::{Document, doc};
use tributary::config::environment;
use tributary::write::failpoint::Point;

use super::bank::{Bank, End, settled, undoubted};
use super::eventually;
use super::stage::{Door, FILES, SERVERS, Stage, marks_in_files, mongodb_client, variables};
use crate::differential::random::Random;

/// Kills of an ordinary run over servers, and over one server and two files.
const OVER_SERVERS: usize = 40;
const OVER_FILES: usize = 20;
/// Servers and connections that are killed while one Tributary lives.
const BESIDE: usize = 4;
/// Marks that a kill may leave for ever: one for each transaction that was just ending.
const MARKS_EACH: usize = 8;

/// The steps at which a commit of `stores` can be stopped.
fn points(stores: &[&str]) -> Vec<&'static str> {
    let named = Point::ALL.into_iter().map(|(_, name)| name).filter(|name| *name != "saga_step");
    // Files decide every commit that they take part in; without a second server none is decided by the log alone.
    let by_log = ["before_decision", "after_decision"];
    named.filter(|name| stores.contains(&"maria") || !by_log.contains(name)).collect()
}

/// Who can be killed besides Tributary.
#[derive(Debug, Clone, Copy)]
enum Victim {
    Server(&'static str),
    Cut(&'static str),
    Freeze(&'static str),
}

/// What a run has done.
#[derive(Debug, Default)]
struct Tally {
    kills: usize,
    /// Those that met transactions under way.
    met: usize,
    points: BTreeSet<&'static str>,
}

fn number(variable: &str) -> Option<u64> {
    environment::text(variable).map(|text| text.parse().unwrap_or_else(|_| panic!("{variable} is no number")))
}

async fn storm(stores: [&'static str; 3], usual: usize) {
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let seed = number("TRIBUTARY_TEST_SEED").unwrap_or(clock.as_secs());
    let kills = number("TRIBUTARY_TEST_KILLS").map_or(usual, |kills| usize::try_from(kills).unwrap());
    eprintln!("{kills} kills over {stores:?} with TRIBUTARY_TEST_SEED={seed}");
    let (mut random, mut tally, points) = (Random::new(seed), Tally::default(), points(&stores));
    let mut bank = Bank::over(stores);
    let mut stage = Stage::start(&stores, "").await;
    let mut proxies = 0;
    while tally.kills < kills || proxies < points.len() {
        let told = format!("seed {seed}, {} kills", tally.kills);
        if random.chance(85) {
            let point = points[proxies % points.len()];
            proxies += 1;
            let failpoint = format!("{point}=kill@{}", random.below(4) + 1);
            again(&mut stage, &bank, &failpoint, &told).await;
            bank.work(stage.address(), seed.wrapping_add(tally.kills as u64));
            eventually(point, async || stage.proxy.has_ended().then_some(())).await;
            tally.points.insert(point);
            tally.met += 1;
            tally.kills += 1;
        } else {
            // Every step takes a while, so that what is killed meanwhile is met at any of them.
            let pauses: Vec<String> = points.iter().map(|point| format!("{point}=pause:15ms")).collect();
            again(&mut stage, &bank, &pauses.join(", "), &told).await;
            bank.work(stage.address(), seed.wrapping_add(tally.kills as u64));
            for _ in 0..BESIDE {
                kill_beside(&mut stage, &bank, (&stores[..], &mut random), &mut tally).await;
            }
        }
        bank.rest().await;
    }
    again(&mut stage, &bank, "", &format!("seed {seed}, at the end")).await;
    undoubted(&stage.session().await).await;
    assert!(tally.met > 0, "no kill has met a transaction: {tally:?}");
    let missed: Vec<&&str> = points.iter().filter(|point| !tally.points.contains(*point)).collect();
    assert!(missed.is_empty(), "never killed at {missed:?}");
    let (kept, unknown) = (bank.count(End::Committed), bank.count(End::Unknown));
    eprintln!("{} transfers: {kept} committed, {unknown} unknown to their clients; {tally:?}", bank.ended());
    assert!(kept > kills, "{kept} transfers were committed");
    let left = marks(&stage).await;
    assert!(left <= tally.kills * MARKS_EACH, "{left} marks of commits are left after {} kills", tally.kills);
}

/// Starts Tributary again, waits until everything has ended that was begun, and checks it.
async fn again(stage: &mut Stage, bank: &Bank, failpoints: &str, told: &str) {
    stage.proxy.again(&variables(failpoints)).await.unwrap_or_else(|error| panic!("{told}: {error}"));
    eventually("the end of what was prepared", async || stage.prepared().await.is_empty().then_some(())).await;
    let session = stage.session().await;
    settled(&session).await;
    bank.check(&session, told).await;
}

/// Kills a server or its connections while transactions are under way, and brings it back.
async fn kill_beside(stage: &mut Stage, bank: &Bank, (stores, random): (&[&'static str], &mut Random), tally: &mut Tally) {
    eventually("transactions under way", async || (bank.in_flight() > 0).then_some(())).await;
    let servers: Vec<&'static str> = stores.iter().copied().filter(|store| SERVERS.contains(store)).collect();
    let server = *random.pick(&servers);
    let victim = *random.pick(&[Victim::Server(server), Victim::Cut(server), Victim::Freeze(server)]);
    let (before, away) = (random.below(40), random.below(300));
    tokio::time::sleep(Duration::from_millis(u64::try_from(before).unwrap())).await;
    tally.met += usize::from(bank.in_flight() > 0);
    tally.kills += 1;
    match victim {
        Victim::Server(server) => {
            kill(stage, server).await;
            tokio::time::sleep(Duration::from_millis(u64::try_from(away).unwrap())).await;
            revive(stage, server).await;
        }
        Victim::Cut(server) => {
            door(stage, server).cut().await;
            tokio::time::sleep(Duration::from_millis(u64::try_from(away).unwrap())).await;
            door(stage, server).mend().await;
        }
        Victim::Freeze(server) => {
            door(stage, server).freeze();
            tokio::time::sleep(Duration::from_millis(u64::try_from(away * 4).unwrap())).await;
            door(stage, server).mend().await;
        }
    }
    // Sessions go on by themselves once the store is back.
    let kept = bank.count(End::Committed);
    eventually("more commits", async || (bank.count(End::Committed) > kept).then_some(())).await;
}

fn door<'s>(stage: &'s mut Stage, server: &str) -> &'s mut Door {
    match server {
        "pg" => stage.postgres.as_mut().map(|(_, door)| door).unwrap(),
        "maria" => stage.mariadb.as_mut().map(|(_, door)| door).unwrap(),
        _ => stage.mongodb.as_mut().map(|(_, door)| door).unwrap(),
    }
}

async fn kill(stage: &mut Stage, server: &str) {
    match server {
        "pg" => stage.postgres.as_mut().unwrap().0.kill().await.unwrap(),
        "maria" => stage.mariadb.as_mut().unwrap().0.kill().await.unwrap(),
        _ => stage.mongodb.as_mut().unwrap().0.kill().await.unwrap(),
    }
}

async fn revive(stage: &mut Stage, server: &str) {
    match server {
        "pg" => stage.postgres.as_mut().unwrap().0.again().await.unwrap(),
        "maria" => stage.mariadb.as_mut().unwrap().0.again().await.unwrap(),
        _ => stage.mongodb.as_mut().unwrap().0.again().await.unwrap(),
    }
}

/// Marks of commits that are in the stores which decide.
async fn marks(stage: &Stage) -> usize {
    let mut found = 0;
    if let Some((server, _)) = &stage.mongodb {
        let marks = mongodb_client(server).await.database(server.database()).collection::<Document>("tributary_marks");
        found += usize::try_from(marks.count_documents(doc! { "state": "commit" }).await.unwrap()).unwrap();
    }
    found + marks_in_files(&stage.place).await
}

#[tokio::test(flavor = "multi_thread")]
async fn no_money_is_made_or_lost_whoever_of_postgres_mariadb_and_mongodb_is_killed() {
    Box::pin(storm(SERVERS, OVER_SERVERS)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_money_is_made_or_lost_between_postgres_and_two_files_whoever_is_killed() {
    Box::pin(storm(FILES, OVER_FILES)).await;
}

#[test]
fn every_step_of_the_protocol_is_one_at_which_postgres_mariadb_and_mongodb_are_met() {
    assert_eq!(points(&SERVERS).len() + 1, Point::ALL.len());
    assert_eq!(points(&FILES).len() + 3, Point::ALL.len());
}
