//! The answers of Tributary over four stores equal those of one PostgreSQL that holds a copy of all of them.
//!
//! ```text
//! sets/<schema>.<table>.txt   rows of a store, and the same values as its copy has them
//! queries/<topic>.sql         one statement a line; `statement ==> the copy's wording` where a store's document is a json
//!                             column there; `<- value` binds a parameter (`\N` is NULL), and ⏎ is a line break
//! generate, templates         statements made by a fixed seed
//! typed, hunt                 statements of any depth by rules that know types; what differs is made small
//! refused.sql                 those of the statements that Tributary refuses with 0A000: exactly these, with reasons
//! dml                         statements that write, and what they leave in the stores: a test of its own
//! ```
//!
//! Every statement goes through the extended protocol with binary results and, without parameters, through the simple
//! protocol with text; with parameters also with one plan for all of their values. Compared are column names, column types,
//! values, row order where the statement gives one, and the SQLSTATE of errors. Exceptions: enum types of PostgreSQL are text
//! (`ask`).
//!
//! `cargo test --test main differential -- differential generated=5000 templates=5000` makes more statements than usual;
//! `only=<text>` runs the statements that contain it and shows every difference, `file=<path>` those of another file alone.
//! `random=20000 seed=7` runs that many of the typed generator and nothing else, `from=123` from that one on.
//! `pushdown=scans` or `pushdown=none` asks the stores for less than usual, `plans=force_generic_plan` runs every statement with the
//! plan for all values of its parameters.

pub mod ask;
mod choices;
pub mod compare;
mod dml;
pub mod estimate;
mod generate;
mod hunt;
pub mod random;
mod set;
pub mod stage;
mod tables;
mod templates;
pub mod typed;

use std::path::Path;

use ask::{Answer, Asked};
use stage::Stage;

/// Generated statements of an ordinary run.
const GENERATED: usize = 150;

/// Statements over templates of an ordinary run.
const TEMPLATES: usize = 150;

/// Statements of the typed generator of an ordinary run, and their seed.
const RANDOM: usize = 400;
const SEED: u64 = 1;

/// Pairs of connections that work at the same time.
const WORKERS: usize = 4;

/// What must become of a statement.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Outcome {
    Same,
    Refused,
    Different,
}

/// One statement.
#[derive(Clone, Debug)]
struct Query {
    topic: String,
    /// As the file has it.
    line: String,
    sql: String,
    /// The same in the words of the copy.
    copy_sql: String,
    parameters: Vec<Option<String>>,
    expected: Outcome,
}

/// What became of it: the outcome, and what differs.
type Verdict = (Outcome, String);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_over_postgres_mariadb_sqlite_and_mongodb_equal_those_of_one_postgres() {
    let stage = Box::pin(Stage::set(argument("pushdown=").unwrap_or_else(|| "full".to_owned()))).await;
    let stage = stage.planning(argument("plans=").unwrap_or_else(|| "auto".to_owned()));
    let only = argument("only=");
    let random = argument("random=").map(|count| count.parse::<usize>().unwrap());
    let mut wrong = if random.is_none() { written_and_generated(&stage, only.as_deref()).await } else { 0 };
    if only.is_none() && argument("file=").is_none() {
        let seed = argument("seed=").map_or(SEED, |seed| seed.parse().unwrap());
        let first = argument("from=").map_or(0, |first| first.parse().unwrap());
        let tally = hunt::run(&stage, seed, first, random.unwrap_or(RANDOM)).await;
        eprintln!("seed {seed}: {tally}");
        wrong += tally.different;
    }
    stage.clear().await;
    assert_eq!(wrong, 0, "statements did not come out as their files say");
}

/// Runs the statements that are written down and those of the plain generators; gives how many came out otherwise than is
/// written.
async fn written_and_generated(stage: &Stage, only: Option<&str>) -> usize {
    let shown = only.is_some() || argument("file=").is_some();
    let queries = queries(only);
    let slices: Vec<Vec<Query>> =
        (0..WORKERS).map(|worker| queries.iter().skip(worker).step_by(WORKERS).cloned().collect()).collect();
    let verdicts = futures::future::join_all(slices.into_iter().map(|slice| judge_all(stage, slice))).await;
    let mut wrong = 0;
    for (query, (outcome, difference)) in verdicts.iter().flatten() {
        if shown && *outcome != Outcome::Same {
            eprintln!("\n{outcome:?}:\n  {}\n    {difference}", query.line);
        }
        if *outcome != query.expected {
            wrong += 1;
            eprintln!("\n{outcome:?}, expected {:?}, in {}:\n  {}\n    {difference}", query.expected, query.topic, query.line);
        }
    }
    let of = |outcome: Outcome| verdicts.iter().flatten().filter(|(_, (found, _))| *found == outcome).count();
    eprintln!(
        "{} statements: {} same, {} refused, {} different",
        queries.len(),
        of(Outcome::Same),
        of(Outcome::Refused),
        of(Outcome::Different)
    );
    wrong
}

/// Runs one of so many of the statements that are written down and made, and so many of the typed generator; gives how many there were and how
/// many came out otherwise than one PostgreSQL answers them. What is refused elsewhere may be answered on this stage.
pub async fn slice(stage: &Stage, every: usize, random: usize) -> (usize, usize) {
    let chosen: Vec<Query> = queries(None).into_iter().step_by(every).collect();
    let parts: Vec<Vec<Query>> =
        (0..WORKERS).map(|worker| chosen.iter().skip(worker).step_by(WORKERS).cloned().collect()).collect();
    let verdicts = futures::future::join_all(parts.into_iter().map(|part| judge_all(stage, part))).await;
    let mut wrong = 0;
    for (query, (outcome, difference)) in verdicts.iter().flatten() {
        if *outcome != Outcome::Same && *outcome != query.expected {
            wrong += 1;
            eprintln!("\n{outcome:?}, in {}:\n  {}\n    {difference}", query.topic, query.line);
        }
    }
    let tally = hunt::run(stage, SEED, 0, random).await;
    eprintln!("{} statements, and {tally}", chosen.len());
    (chosen.len() + random, wrong + tally.different)
}

fn queries(only: Option<&str>) -> Vec<Query> {
    if let Some(file) = argument("file=") {
        return lines(Path::new(&file)).iter().map(|line| query("file", line)).collect();
    }
    let count = argument("generated=").map_or(GENERATED, |count| count.parse().unwrap());
    let mut queries = written();
    assert!(queries.len() >= 100, "{} written statements", queries.len());
    queries.extend(generate::statements(count).iter().map(|sql| query("generated", sql)));
    let count = argument("templates=").map_or(TEMPLATES, |count| count.parse().unwrap());
    queries.extend(templates::statements(count).iter().map(|sql| query("templates", sql)));
    mark(&mut queries, "refused.sql", Outcome::Refused);
    queries.retain(|query| only.is_none_or(|only| query.sql.contains(only)));
    queries
}

async fn judge_all(stage: &Stage, queries: Vec<Query>) -> Vec<(Query, Verdict)> {
    let ((mut ours, mut copy), mut generic) = (stage.pair(), stage.generic());
    let mut verdicts = Vec::new();
    for query in queries {
        let verdict = judge(&mut ours, &mut generic, &mut copy, &query).await;
        verdicts.push((query, verdict));
    }
    verdicts
}

async fn judge(ours: &mut Asked, generic: &mut Asked, copy: &mut Asked, query: &Query) -> Verdict {
    let ordered = compare::is_ordered(&query.sql);
    let (found, expected) =
        tokio::join!(ours.extended(&query.sql, &query.parameters), copy.extended(&query.copy_sql, &query.parameters));
    if let (Answer::Error { state, message }, true) = (&found, matches!(&expected, Answer::Rows { .. }))
        && state == "0A000"
    {
        return (Outcome::Refused, message.clone());
    }
    if let Some(difference) = compare::difference(&found, &expected, ordered) {
        return (Outcome::Different, format!("binary: {difference}"));
    }
    if query.parameters.is_empty() {
        let (found, expected) = tokio::join!(ours.simple(&query.sql), copy.simple(&query.copy_sql));
        if let Some(difference) = compare::difference(&found, &expected, ordered) {
            return (Outcome::Different, format!("text: {difference}"));
        }
    } else {
        let found = generic.extended(&query.sql, &query.parameters).await;
        if let Some(difference) = compare::difference(&found, &expected, ordered) {
            return (Outcome::Different, format!("for all values: {difference}"));
        }
    }
    (Outcome::Same, String::new())
}

/// A filter that matches no test and says something to this one.
fn argument(prefix: &str) -> Option<String> {
    std::env::args().find_map(|argument| argument.strip_prefix(prefix).map(str::to_owned))
}

/// The statements of all topics.
fn written() -> Vec<Query> {
    let mut files: Vec<_> = std::fs::read_dir(directory().join("queries")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut queries = Vec::new();
    for file in files {
        let topic = file.file_stem().unwrap().to_str().unwrap();
        queries.extend(lines(&file).iter().map(|line| query(topic, line)));
    }
    queries
}

/// Sets what is expected of the statements that a list names. A name that no statement has is an error, so that the list
/// stays exact.
fn mark(queries: &mut [Query], list: &str, expected: Outcome) {
    for line in lines(&directory().join(list)) {
        let mut found = 0;
        for query in queries.iter_mut().filter(|query| query.line == line) {
            query.expected = expected;
            found += 1;
        }
        assert!(found > 0, "{list} names a statement that nobody makes: {line}");
    }
}

fn directory() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/differential")
}

/// The lines of a file without comments.
fn lines(file: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    text.lines().filter(|line| !line.is_empty() && !line.starts_with("--")).map(str::to_owned).collect()
}

fn query(topic: &str, line: &str) -> Query {
    let mut parts = line.split(" <- ");
    let statement = parts.next().unwrap();
    let parameters = parts.map(|value| if value == "\\N" { None } else { Some(value.to_owned()) }).collect();
    let (sql, copy_sql) = statement.split_once(" ==> ").unwrap_or((statement, statement));
    Query {
        topic: topic.to_owned(),
        line: line.to_owned(),
        sql: sql.replace('⏎', "\n"),
        copy_sql: copy_sql.replace('⏎', "\n"),
        parameters,
        expected: Outcome::Same,
    }
}
