//! Statements that write do to each store what they do to its copy in one PostgreSQL: the same rows, counts, answers and failures.
//!
//! ```text
//! tables               what is written to, in the words of each store, and the rows that every topic begins with
//! statements/*.sql     topics: statements that build upon one another (`script` has the form)
//! generate             one more topic, made by a fixed seed
//! owner                the stores by their own drivers
//! stage                Tributary, the copy, and a side for each store
//! ```
//!
//! Every topic runs over every store. What goes by the simple protocol over one store goes by the extended one over the next, and
//! parameters go in text and in binary by the same turns; in a second round it is the other way round. After each statement the tables
//! that the topic has written to are compared: as both sides show them to the session itself, then as they lie in the store, read by its
//! own driver past Tributary, so that what is not committed, or lies there in another form, is noticed.
//!
//! `cargo test --test main dml -- generated=2000 seed=7` makes other statements than usual; `only=<text>` runs the topics that
//! have that name or a statement with the text, and tells of each of their statements; `file=<path>` runs that topic alone;
//! `store=crm` runs over one store; `rounds=2` runs everything by both protocols.

mod generate;
mod owner;
mod script;
mod stage;
mod tables;

use std::path::Path;

use super::ask::{Answer, Asked};
use super::{Outcome, Verdict, argument, compare, directory};
use owner::Row;
use script::{Step, Topic};
use stage::{Side, Stage};
use tables::{STORES, Table};

/// Generated statements of an ordinary run, and their seed.
const GENERATED: usize = 60;
const SEED: u64 = 1;

/// How often each topic runs in an ordinary run, by other protocols each time.
const ROUNDS: usize = 1;

/// Most rows of a store or of the copy that are shown where the other lacks them.
const SHOWN_ROWS: usize = 4;

/// How statements came out.
#[derive(Default)]
struct Tally {
    statements: usize,
    refused: usize,
    wrong: usize,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_to_postgres_mariadb_sqlite_and_mongodb_do_what_they_do_to_one_postgres() {
    let topics = topics();
    let (stage, sides) = Box::pin(Stage::set()).await;
    let store = argument("store=");
    let sides = sides.into_iter().filter(|side| store.as_ref().is_none_or(|store| store == STORES[side.store]));
    let tallies = futures::future::join_all(sides.map(|side| Box::pin(run_all(side, &topics)))).await;
    stage.clear().await;
    let of = |count: fn(&Tally) -> usize| tallies.iter().map(count).sum::<usize>();
    eprintln!("{} statements that write: {} refused", of(|tally| tally.statements), of(|tally| tally.refused));
    assert_eq!(of(|tally| tally.wrong), 0, "statements did not come out as their files say");
}

/// The topics that are asked for.
fn topics() -> Vec<Topic> {
    if let Some(file) = argument("file=") {
        return vec![Topic::read(Path::new(&file))];
    }
    let entries = std::fs::read_dir(directory().join("dml/statements")).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut topics: Vec<Topic> = files.iter().map(|file| Topic::read(file)).collect();
    let written: usize = topics.iter().map(|topic| topic.steps.len()).sum();
    assert!(written >= 150, "{written} written statements");
    let seed = argument("seed=").map_or(SEED, |seed| seed.parse().unwrap());
    topics.push(generate::topic(argument("generated=").map_or(GENERATED, |count| count.parse().unwrap()), seed));
    if let Some(only) = argument("only=") {
        topics.retain(|topic| topic.name == only || topic.steps.iter().any(|step| step.line.contains(&only)));
    }
    topics
}

async fn run_all(mut side: Side, topics: &[Topic]) -> Tally {
    let mut tally = Tally::default();
    let rounds = argument("rounds=").map_or(ROUNDS, |rounds| rounds.parse().unwrap());
    for topic in topics {
        for round in 0..rounds {
            run(&mut side, topic, round, &mut tally).await;
        }
    }
    tally
}

async fn run(side: &mut Side, topic: &Topic, round: usize, tally: &mut Tally) {
    let shown = ["only=", "file="].iter().any(|prefix| argument(prefix).is_some());
    let mut written: Vec<&'static Table> = Vec::new();
    side.begin().await;
    let store = side.store;
    for (number, step) in topic.steps.iter().enumerate().filter(|(_, step)| step.is_over(store)) {
        for table in step.tables() {
            if table.is_written() && written.iter().all(|known| known.name != table.name) {
                written.push(table);
            }
        }
        let (outcome, told) = judge(side, step, (number + side.store + round).is_multiple_of(2), &written).await;
        let expected = if step.is_refused(side.store) { Outcome::Refused } else { Outcome::Same };
        let place = format!("{} over {}", topic.name, STORES[side.store]);
        if outcome != expected {
            tally.wrong += 1;
            eprintln!("\n{outcome:?}, expected {expected:?}, in {place}:\n  {}\n    {told}", step.line);
        } else if shown {
            eprintln!("\n{outcome:?} in {place}:\n  {}\n    {told}", step.line);
        }
        tally.statements += 1;
        tally.refused += usize::from(outcome == Outcome::Refused);
        if outcome == Outcome::Different {
            side.agree(&written).await;
        }
    }
}

/// Runs a statement on both sides. One that Tributary refuses is not run on the copy.
async fn judge(side: &mut Side, step: &Step, by_turns: bool, written: &[&'static Table]) -> Verdict {
    let sql = step.sql(side.store);
    let (found, count) = ask(&mut side.ours, &sql, step, by_turns).await;
    let refusal = match &found {
        Answer::Error { state, message } if state == "0A000" => Some(message.clone()),
        _ => None,
    };
    if refusal.is_some() {
        // A block has failed here, and must have failed there.
        side.theirs.simple("SELECT 1/0").await;
    } else {
        let (expected, expected_count) = ask(&mut side.theirs, &sql, step, by_turns).await;
        if let Some(difference) = compare::difference(&found, &expected, compare::is_ordered(&sql)) {
            return (Outcome::Different, difference);
        }
        if count != expected_count {
            return (Outcome::Different, format!("the tag counts {count} row(s), expected {expected_count}"));
        }
    }
    for table in written {
        if let Some(difference) = rows_differ(side, table).await {
            return (Outcome::Different, difference);
        }
    }
    match refusal {
        Some(message) => (Outcome::Refused, message),
        None => (Outcome::Same, format!("{found}, {count} in its tag")),
    }
}

async fn ask(asked: &mut Asked, sql: &str, step: &Step, by_turns: bool) -> (Answer, u64) {
    if let Some(rows) = &step.rows {
        return asked.copied(sql, rows, if by_turns { rows.len().max(1) } else { 3 }).await;
    }
    if step.parameters.is_empty() && by_turns {
        asked.counted_in_text(sql).await
    } else {
        asked.counted(sql, &step.parameters, by_turns).await
    }
}

/// What differs in a table: as the sessions see it, and as it lies in the store.
async fn rows_differ(side: &mut Side, table: &Table) -> Option<String> {
    let columns: Vec<String> = table.columns_of(side.store).map(|(_, column)| column.shown()).collect();
    let sql = format!("SELECT {} FROM {}", columns.join(", "), side.name(table));
    let (ours, theirs) = tokio::join!(side.ours.simple(&sql), side.theirs.simple(&sql));
    if let Some(difference) = compare::difference(&ours, &theirs, false) {
        return Some(format!("{} then shows {difference}", table.name));
    }
    let (stored, copied) = side.contents(table).await;
    if stored == copied {
        return None;
    }
    let lacking = |who: &str, rows: &[Row], others: &[Row]| {
        let lines = rows.iter().filter(|row| !others.contains(row)).take(SHOWN_ROWS);
        lines.map(|row| format!("\n      only {who} {row:?}")).collect::<String>()
    };
    Some(format!(
        "{} row(s) lie in {}, expected {}{}{}",
        stored.len(),
        table.name,
        copied.len(),
        lacking("the store ", &stored, &copied),
        lacking("PostgreSQL", &copied, &stored)
    ))
}
