//! Statements that write do to each store what they do to its copy in one PostgreSQL: the same rows, counts, answers and failures.
//!
//! ```text
//! tables               what is written to, in the words of each store, and the rows that every topic begins with
//! statements/*.sql     topics: statements that build upon one another (`script` has the form)
//! statements/two/*.sql topics that write to two stores, over several pairs of them
//! generate, mixed      topics that a seed makes: over one table, without any refusal, and of every kind over several tables
//! owner                the stores by their own drivers
//! stage                Tributary, the copy, and a side for each store
//! ```
//!
//! Every topic runs over every store. What goes by the simple protocol over one store goes by the extended one over the next, and
//! parameters go in text and in binary by the same turns; in a second round it is the other way round. After each statement the tables
//! that the topic has written to are compared: as both sides show them to the session itself, then as they lie in the store, read by its
//! own driver past Tributary, so that what is not committed, or lies there in another form, is noticed.
//!
//! `cargo test --test main dml -- random=2000 seed=7` runs that many statements of both generators and nothing else; the topic
//! `random-7-12` is the same for its seed and its number, however many there are. `only=<text>` runs the topics that have that name or a
//! statement with the text, and tells of each of their statements; `file=<path>` runs that topic alone; `store=crm` or
//! `store=shop+crm` runs over one store or pair; `rounds=2` runs everything by both protocols.

mod generate;
mod mixed;
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

/// Statements of an ordinary run that seeds make, over one table and over several, and the seed.
const GENERATED: usize = 60;
const RANDOM: usize = 240;
const SEED: u64 = 1;

/// Of the statements of all kinds that a seed makes, at most one in so many may be refused.
const REFUSED_SHARE: usize = 6;

/// The pairs of stores that topics of two run over: what is called `target` there, and what `other`.
const PAIRS: [(&str, [usize; 2]); 3] = [("shop+crm", [0, 1]), ("shop+archive", [0, 2]), ("crm+field", [1, 3])];

/// How often each topic runs in an ordinary run, by other protocols each time.
const ROUNDS: usize = 1;

/// Most rows of a store or of the copy that are shown where the other lacks them.
const SHOWN_ROWS: usize = 4;

/// How statements came out.
#[derive(Default)]
struct Tally {
    statements: usize,
    refused: usize,
    /// The same of statements that a seed made and that may be refused.
    made: usize,
    made_refused: usize,
    wrong: usize,
}

/// What a topic runs over.
struct Scene<'a> {
    name: &'static str,
    /// Its place among those that topics of its kind know.
    place: usize,
    /// The stores that are written to, one or two. The first one's sessions are asked.
    sides: Vec<&'a mut Side>,
}

/// A table that a topic has written to, and the place of its side.
type Written = (usize, &'static Table);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_to_postgres_mariadb_sqlite_and_mongodb_do_what_they_do_to_one_postgres() {
    let (topics, of_two) = topics();
    let (stage, mut sides) = Box::pin(Stage::set()).await;
    let wanted = argument("store=");
    let is_wanted = |name: &str| wanted.as_ref().is_none_or(|wanted| wanted == name);
    let scenes = sides.iter_mut().filter(|side| is_wanted(STORES[side.store])).map(|side| {
        let (name, place) = (STORES[side.store], side.store);
        Scene { name, place, sides: vec![side] }
    });
    let mut tallies = futures::future::join_all(scenes.map(|scene| Box::pin(run_all(scene, &topics)))).await;
    for (place, (name, pair)) in PAIRS.into_iter().enumerate().filter(|(_, (name, _))| is_wanted(name)) {
        let sides = sides.get_disjoint_mut(pair).unwrap().into_iter().collect();
        tallies.push(Box::pin(run_all(Scene { name, place, sides }, &of_two)).await);
    }
    stage.clear().await;
    let of = |count: fn(&Tally) -> usize| tallies.iter().map(count).sum::<usize>();
    let (made, refused) = (of(|tally| tally.made), of(|tally| tally.made_refused));
    eprintln!("{} statements that write: {} refused", of(|tally| tally.statements), of(|tally| tally.refused));
    eprintln!("{made} of them of all kinds by a seed: {refused} refused");
    assert_eq!(of(|tally| tally.wrong), 0, "statements did not come out as their files say");
    assert!(refused * REFUSED_SHARE <= made, "{refused} of {made} statements that a seed made were refused");
}

/// The topics that are asked for: of single stores, and of two.
fn topics() -> (Vec<Topic>, Vec<Topic>) {
    let pairs = PAIRS.map(|(name, _)| name);
    if let Some(file) = argument("file=") {
        let path = Path::new(&file);
        let is_of_two = path.parent().is_some_and(|directory| directory.ends_with("two"));
        return if is_of_two { (vec![], vec![Topic::read(path, &pairs)]) } else { (vec![Topic::read(path, &STORES)], vec![]) };
    }
    let seed = argument("seed=").map_or(SEED, |seed| seed.parse().unwrap());
    let random = argument("random=").map(|count| count.parse::<usize>().unwrap());
    let (mut topics, mut of_two) = (Vec::new(), Vec::new());
    if random.is_none() {
        topics = written("dml/statements", &STORES);
        of_two = written("dml/statements/two", &pairs);
        let written: usize = topics.iter().chain(&of_two).map(|topic| topic.steps.len()).sum();
        assert!(written >= 300, "{written} written statements");
    }
    topics.push(generate::topic(random.map_or(GENERATED, |count| count / 5), seed));
    topics.extend(mixed::topics(random.unwrap_or(RANDOM), seed));
    if let Some(only) = argument("only=") {
        let is_wanted = |topic: &Topic| topic.name == only || topic.steps.iter().any(|step| step.line.contains(&only));
        topics.retain(is_wanted);
        of_two.retain(is_wanted);
    }
    (topics, of_two)
}

/// The topics of a directory.
fn written(below: &str, places: &[&str]) -> Vec<Topic> {
    let entries = std::fs::read_dir(directory().join(below)).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file()).collect();
    files.sort();
    files.iter().map(|file| Topic::read(file, places)).collect()
}

async fn run_all(mut scene: Scene<'_>, topics: &[Topic]) -> Tally {
    let mut tally = Tally::default();
    let rounds = argument("rounds=").map_or(ROUNDS, |rounds| rounds.parse().unwrap());
    for topic in topics {
        for round in 0..rounds {
            run(&mut scene, topic, round, &mut tally).await;
        }
    }
    tally
}

async fn run(scene: &mut Scene<'_>, topic: &Topic, round: usize, tally: &mut Tally) {
    let shown = ["only=", "file="].iter().any(|prefix| argument(prefix).is_some());
    let mut written: Vec<Written> = Vec::new();
    for side in &mut scene.sides {
        side.begin().await;
    }
    let place = scene.place;
    for (number, step) in topic.steps.iter().enumerate().filter(|(_, step)| step.is_over(place)) {
        for (at, table) in step.tables() {
            let is_there = scene.sides.get(at).is_some_and(|side| table.is_in(side.store));
            if is_there && table.is_written() && written.iter().all(|(side, known)| (*side, known.name) != (at, table.name)) {
                written.push((at, table));
            }
        }
        let by_turns = (number + scene.sides[0].store + round).is_multiple_of(2);
        let (outcome, told) = judge(scene, (step, topic.made), by_turns, &written).await;
        let expected = if step.is_refused(scene.place) { Outcome::Refused } else { Outcome::Same };
        let place = format!("{} over {}", topic.name, scene.name);
        if outcome != expected && !(topic.made && outcome == Outcome::Refused) {
            tally.wrong += 1;
            eprintln!("\n{outcome:?}, expected {expected:?}, in {place}:\n  {}\n    {told}", step.line);
        } else if shown {
            eprintln!("\n{outcome:?} in {place}:\n  {}\n    {told}", step.line);
        }
        tally.count(topic.made, outcome);
        if outcome == Outcome::Different {
            agree(scene, &written).await;
        }
    }
}

impl Tally {
    fn count(&mut self, made: bool, outcome: Outcome) {
        let refused = usize::from(outcome == Outcome::Refused);
        self.statements += 1;
        self.refused += refused;
        if made {
            self.made += 1;
            self.made_refused += refused;
        }
    }
}

async fn agree(scene: &mut Scene<'_>, written: &[Written]) {
    for (at, side) in scene.sides.iter_mut().enumerate() {
        let tables: Vec<&'static Table> = written.iter().filter(|(place, _)| *place == at).map(|(_, table)| *table).collect();
        side.agree(&tables).await;
    }
}

/// Runs a statement on both sides. One that Tributary refuses is not run on the copy.
async fn judge(scene: &mut Scene<'_>, (step, made): (&Step, bool), by_turns: bool, written: &[Written]) -> Verdict {
    let sql = step.sql(scene.sides[0].store, scene.sides.get(1).map(|side| side.store));
    let side = &mut *scene.sides[0];
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
        let difference = compare::difference(&found, &expected, compare::is_ordered(&sql));
        if let Some(difference) = difference.filter(|_| !(made && both_fail(&found, &expected))) {
            return (Outcome::Different, difference);
        }
        if count != expected_count {
            return (Outcome::Different, format!("the tag counts {count} row(s), expected {expected_count}"));
        }
    }
    for (at, table) in written {
        if let Some(difference) = rows_differ(scene, *at, table).await {
            return (Outcome::Different, difference);
        }
    }
    match refusal {
        Some(message) => (Outcome::Refused, message),
        None => (Outcome::Same, format!("{found}, {count} in its tag")),
    }
}

/// Whether both have failed for what is in the rows: which row is met first, and which of two faults it has, is nobody's promise.
fn both_fail(found: &Answer, expected: &Answer) -> bool {
    let is_of_rows = |answer: &Answer| match answer {
        Answer::Error { state, .. } => ["21", "22", "23"].iter().any(|class| state.starts_with(class)),
        Answer::Rows { .. } => false,
    };
    is_of_rows(found) && is_of_rows(expected)
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

/// What differs in a table of a side: as the sessions see it, and as it lies in the store.
async fn rows_differ(scene: &mut Scene<'_>, at: usize, table: &Table) -> Option<String> {
    let side = &scene.sides[at];
    let columns: Vec<String> = table.columns_of(side.store).map(|(_, column)| column.shown()).collect();
    let sql = format!("SELECT {} FROM {}", columns.join(", "), side.name(table));
    let asked = &mut *scene.sides[0];
    let (ours, theirs) = tokio::join!(asked.ours.simple(&sql), asked.theirs.simple(&sql));
    if let Some(difference) = compare::difference(&ours, &theirs, false) {
        return Some(format!("{} then shows {difference}", table.name));
    }
    let (stored, copied) = scene.sides[at].contents(table).await;
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
