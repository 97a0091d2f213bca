//! The bank while somebody is killed: Tributary at every step of the protocol, servers by SIGKILL, connections of servers and of clients
//! by being cut, servers by going silent; each while a commit is held at a step. Afterwards everything is started again, and everything
//! must be as the clients were told.
//!
//! A run takes a part of the table of victims and steps, the same one each time: over servers, and over one server and files, Tributary
//! at every step and everybody else once; over the other sets, which have the same steps, a few pairs. `TRIBUTARY_TEST_KILLS=1000` takes
//! the whole table several times, `TRIBUTARY_TEST_SEED=…` another part or order. What was met is told at the end (`--nocapture`).

use mongodb::bson::{Document, doc};
use tributary::config::environment;

use super::bank::{Bank, End, undoubted};
use super::stage::{Lines, Stage, marks_in_files, mongodb_client};
use super::storm::Storm;
use super::victims::{OF_A_FILE, OF_FILES, OF_MONGODB, OF_SERVERS, OF_TWO, OF_UNPREPARED, Pair, Set, Victim};
use crate::differential::random::Random;

/// The seed of a run that is given none.
const SEED: u64 = 20_261_122;
/// Kills of an ordinary run over each of the sets of which it does not take every step.
const OVER_OTHERS: usize = 4;
/// Marks that a kill may leave for ever: one for each transaction that was just ending.
const MARKS_EACH: usize = 8;

/// What a variable says; a number.
pub fn number(variable: &str) -> Option<u64> {
    environment::text(variable).map(|text| text.parse().unwrap_or_else(|_| panic!("{variable} is no number")))
}

/// The seed of a run, and how many kills it has.
pub fn run(usual: usize) -> (u64, usize) {
    let kills = number("TRIBUTARY_TEST_KILLS").map_or(usual, |kills| usize::try_from(kills).unwrap());
    (number("TRIBUTARY_TEST_SEED").unwrap_or(SEED), kills)
}

/// What an ordinary run takes of the table.
#[derive(Debug, Clone, Copy)]
enum Usual {
    /// Every step (`Set::slice`).
    EveryStep,
    /// So many pairs.
    Kills(usize),
}

/// The rounds of a run, and whether Tributary is killed at every step in them.
fn plan(set: &Set, usual: Usual, random: &mut Random) -> (Vec<Vec<Pair>>, bool) {
    let asked = number("TRIBUTARY_TEST_KILLS").map(|kills| usize::try_from(kills).unwrap());
    let kills = match (asked, usual) {
        (None, Usual::EveryStep) => return (set.slice(random), true),
        (Some(kills), _) | (None, Usual::Kills(kills)) => kills,
    };
    (set.rounds(kills, random), kills >= 2 * set.points().len())
}

async fn storm(set: Set, usual: Usual) {
    let seed = number("TRIBUTARY_TEST_SEED").unwrap_or(SEED);
    let name = set.name;
    let mut random = Random::new(seed);
    let (rounds, is_at_all) = plan(&set, usual, &mut random);
    let kills: usize = rounds.iter().map(Vec::len).sum();
    eprintln!("{name}: {kills} kills with TRIBUTARY_TEST_SEED={seed}");
    let mut bank = Bank::over(set.stores);
    let mut storm = Storm::over(&set, Lines::default(), random).await;
    for (number, round) in rounds.iter().enumerate() {
        let told = format!("{name}, seed {seed}, round {number} {round:?}");
        bank.work(storm.address(), seed.wrapping_add(number as u64));
        for pair in round {
            storm.strike(*pair, &|| bank.count(End::Committed)).await;
        }
        bank.rest().await;
        let session = storm.again(&told).await;
        bank.check(&session, &told).await;
        if number % 10 == 9 {
            eprintln!("{name}: {} kills, {} transfers, all as they were told", storm.kills(), bank.ended());
        }
    }
    conclude(&storm, &bank, (set, seed, kills, rounds.len()), is_at_all).await;
}

/// What must hold at the end, and what is told of it.
async fn conclude(storm: &Storm, bank: &Bank, (set, seed, kills, rounds): (Set, u64, usize, usize), is_at_all: bool) {
    let (name, session) = (set.name, storm.stage.session().await);
    undoubted(&session).await;
    let total = bank.check(&session, &format!("{name}, seed {seed}, at the end")).await;
    let in_doubt = session.answer("SELECT count(*) FROM tributary.in_doubt").await;
    assert_eq!(storm.kills(), kills, "{name}");
    let missed = storm.missed(&set);
    assert!(missed.is_empty() || kills < set.table().len(), "{name}: never met {missed:?}");
    let alone: Vec<&str> = missed.iter().filter(|(victim, _)| *victim == Victim::Tributary).map(|(_, point)| *point).collect();
    assert!(alone.is_empty() || !is_at_all, "{name}: Tributary was never killed at {alone:?}");
    let (kept, unknown) = (bank.count(End::Committed), bank.count(End::Unknown));
    // A store that is killed keeps most of the others waiting.
    assert!(2 * kept > kills, "{name}: {kept} transfers were committed");
    let left = marks(&storm.stage).await;
    assert!(left <= kills * MARKS_EACH, "{name}: {left} marks of commits are left after {kills} kills");
    eprintln!(
        "{name}: seed {seed}, {kills} kills in {rounds} rounds; {} of {} pairs of victim and step:\n{}{} transfers: {kept} committed, \
         {unknown} unknown to their clients; conserved: {total} of {}; in doubt: {in_doubt}; marks left: {left}",
        set.table().len() - missed.len(),
        set.table().len(),
        storm.told(&set),
        bank.ended(),
        bank.total(),
    );
    assert_eq!(in_doubt, "0", "{name}");
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
    Box::pin(storm(OF_SERVERS, Usual::EveryStep)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_money_is_made_or_lost_between_postgres_and_two_files_whoever_is_killed() {
    Box::pin(storm(OF_FILES, Usual::EveryStep)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_money_is_made_or_lost_between_postgres_mariadb_and_a_file_whoever_is_killed() {
    Box::pin(storm(OF_A_FILE, Usual::Kills(OVER_OTHERS))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_money_is_made_or_lost_between_postgres_and_mongodb_whoever_is_killed() {
    Box::pin(storm(OF_MONGODB, Usual::Kills(OVER_OTHERS))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_money_is_made_or_lost_between_mariadb_and_a_postgres_that_cannot_prepare_whoever_is_killed() {
    Box::pin(storm(OF_UNPREPARED, Usual::Kills(OVER_OTHERS))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_money_is_made_or_lost_between_postgres_and_mariadb_whoever_is_killed() {
    Box::pin(storm(OF_TWO, Usual::Kills(OVER_OTHERS))).await;
}
