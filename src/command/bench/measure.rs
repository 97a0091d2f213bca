//! Runs the queries: a first run of each that is checked and counted, then the measured ones, contenders taking turns.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use super::answer::{Answer, Exactness, difference};
use super::client::{Client, Failure, Timed};
use super::memory;
use super::peer::Contender;
use super::plan;
use super::query::Query;
use super::reference::Reference;
use super::statistic::Times;
use crate::sandbox::{Traffic, Wire};

/// How a contender stood with a query.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "state", content = "told")]
pub(super) enum Standing {
    /// All its answers were right.
    Right,
    /// There was nothing to compare its answers with.
    Unchecked(String),
    /// It took longer than the limit, which then counts as its time.
    TimedOut,
    /// It gave no answer.
    Failed(String),
    /// It gave another answer.
    Wrong(String),
}

impl Standing {
    /// Whether its times can be compared.
    pub(super) fn counts(&self) -> bool {
        matches!(self, Self::Right | Self::Unchecked(_) | Self::TimedOut)
    }
}

/// One contender's runs of one query.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Measured {
    pub(super) contender: String,
    #[serde(flatten)]
    pub(super) standing: Standing,
    /// `None` where nothing was measured.
    #[serde(flatten)]
    pub(super) times: Option<Times>,
    pub(super) runs_ms: Vec<f64>,
}

/// What one store was asked for by Tributary, in one run of a query.
#[derive(Debug, Clone, Serialize)]
pub(super) struct StoreTraffic {
    pub(super) store: String,
    pub(super) kind: &'static str,
    /// Rows that the plan says it pulled.
    pub(super) rows: Option<u64>,
    /// Bytes that the server sent, or what the plan says where there is no server.
    pub(super) bytes: Option<u64>,
    /// Times that it was waited for, seen on the wire.
    pub(super) round_trips: Option<u64>,
}

/// Everything about one query.
#[derive(Debug, Clone, Serialize)]
pub(super) struct QueryResult {
    pub(super) query: &'static str,
    pub(super) title: String,
    pub(super) rows: Option<usize>,
    /// Tributary first.
    pub(super) contenders: Vec<Measured>,
    pub(super) stores: Vec<StoreTraffic>,
    /// Most resident memory of Tributary's process during its runs.
    pub(super) peak_rss_mib: Option<f64>,
    /// What `EXPLAIN (ANALYZE, FORMAT json)` said.
    pub(super) explain: Option<Value>,
}

/// A store as the counting run sees it.
#[derive(Debug)]
pub(super) struct WatchedStore {
    pub(super) name: String,
    pub(super) kind: &'static str,
    /// `None` for files.
    pub(super) wire: Option<Wire>,
}

/// All that takes part in the runs.
#[derive(Debug)]
pub(super) struct Arena {
    /// Tributary first.
    pub(super) contenders: Vec<Contender>,
    pub(super) reference: Reference,
    /// Tributary behind wires that count.
    pub(super) watched: Client,
    pub(super) stores: Vec<WatchedStore>,
    /// The process of the measured Tributary.
    pub(super) process_id: Option<u32>,
    pub(super) repeat: usize,
    pub(super) limit: Duration,
}

impl Arena {
    /// Runs one query on everybody.
    pub(super) async fn run(&mut self, query: &Query) -> QueryResult {
        let expected = self.reference.answer(query).await;
        let least = self.reference.exactness();
        if let Some(process_id) = self.process_id {
            memory::begin_peak(process_id);
        }
        let (explain, stores) = self.count(query).await;
        let mut measured: Vec<Measured> = Vec::new();
        for contender in &mut self.contenders {
            let standing = standing(contender.ask(&query.sql).await, &expected, query, looser(contender.exactness, least)).0;
            measured.push(Measured { contender: contender.name.clone(), standing, times: None, runs_ms: Vec::new() });
        }
        for round in 0..self.repeat {
            for turn in 0..measured.len() {
                // Each round begins with another contender, so that nobody always follows the same one.
                let place = (round + turn) % measured.len();
                let (Some(contender), Some(kept)) = (self.contenders.get_mut(place), measured.get_mut(place)) else { continue };
                if !matches!(kept.standing, Standing::Right | Standing::Unchecked(_)) {
                    continue;
                }
                let exactness = looser(contender.exactness, least);
                let (standing, elapsed) = standing(contender.ask(&query.sql).await, &expected, query, exactness);
                kept.standing = standing;
                kept.runs_ms.extend(elapsed.map(|elapsed| elapsed.as_secs_f64() * 1e3));
            }
        }
        for kept in &mut measured {
            kept.times = match kept.standing {
                // A limit that was reached once is reached again: nobody is made to wait for it.
                Standing::TimedOut => Times::of(&[self.limit.as_secs_f64() * 1e3]),
                _ => Times::of(&kept.runs_ms),
            };
        }
        QueryResult {
            query: query.name,
            title: query.title.clone(),
            rows: expected.as_ref().ok().map(|answer| answer.rows.len()),
            contenders: measured,
            stores,
            peak_rss_mib: self.process_id.and_then(memory::peak_mib),
            explain,
        }
    }

    /// Runs the query once behind the counting wires, under EXPLAIN ANALYZE.
    async fn count(&mut self, query: &Query) -> (Option<Value>, Vec<StoreTraffic>) {
        let before = self.traffic();
        let explained = self.watched.ask(&format!("EXPLAIN (ANALYZE, FORMAT json) {}", query.sql)).await;
        let after = self.traffic();
        let plan = explained.ok().and_then(|timed| plan_of(&timed.answer));
        let told = plan.as_ref().map(plan::pulled).unwrap_or_default();
        let stores = self.stores.iter().zip(before.iter().zip(&after)).map(|(store, (before, after))| {
            let told = told.get(&store.name).copied();
            let seen = after.zip(*before).map(|(after, before)| after.since(before));
            StoreTraffic {
                store: store.name.clone(),
                kind: store.kind,
                rows: told.and_then(|told| told.rows),
                bytes: seen.map(|seen| seen.bytes).or_else(|| told.and_then(|told| told.bytes)),
                round_trips: seen.map(|seen| seen.round_trips).or_else(|| told.and_then(|told| told.round_trips)),
            }
        });
        // A store that was not asked says nothing.
        let stores = stores.filter(|store| store.rows.is_some() || store.bytes.is_some_and(|bytes| bytes > 0));
        (plan, stores.collect())
    }

    fn traffic(&self) -> Vec<Option<Traffic>> {
        self.stores.iter().map(|store| store.wire.as_ref().map(Wire::total)).collect()
    }
}

/// The plan in an answer of `EXPLAIN (FORMAT json)`, in one row or a row to a line.
fn plan_of(answer: &Answer) -> Option<Value> {
    let lines: Vec<&str> = answer.rows.iter().filter_map(|row| row.first()?.as_deref()).collect();
    serde_json::from_str(&lines.join("\n")).ok()
}

fn looser(a: Exactness, b: Exactness) -> Exactness {
    if a == Exactness::Number { a } else { b }
}

fn standing(
    given: Result<Timed, Failure>,
    expected: &Result<Answer, Failure>,
    query: &Query,
    exactness: Exactness,
) -> (Standing, Option<Duration>) {
    let timed = match given {
        Ok(timed) => timed,
        Err(Failure::TimedOut) => return (Standing::TimedOut, None),
        Err(Failure::Refused(words)) => return (Standing::Failed(words), None),
    };
    let standing = match expected {
        Err(Failure::TimedOut) => Standing::Unchecked("the reference did not finish".to_owned()),
        Err(Failure::Refused(words)) => Standing::Unchecked(format!("the reference failed: {words}")),
        Ok(expected) => difference(&timed.answer, expected, &query.sorted_by, exactness).map_or(Standing::Right, Standing::Wrong),
    };
    (standing, Some(timed.elapsed))
}

/// Says on standard output how a query went, as soon as that is known.
pub(super) fn tell(result: &QueryResult, output: &mut dyn Write) -> std::io::Result<()> {
    for measured in &result.contenders {
        let (name, contender) = (result.query, &measured.contender);
        match &measured.standing {
            Standing::Right => {}
            Standing::TimedOut => writeln!(output, "  {name} {contender}: gave no answer within the limit")?,
            Standing::Unchecked(why) => writeln!(output, "  {name} {contender}: unchecked, {why}")?,
            Standing::Failed(words) => writeln!(output, "  {name} {contender}: FAILED: {words}")?,
            Standing::Wrong(words) => writeln!(output, "  {name} {contender}: WRONG: {words}")?,
        }
    }
    output.flush()
}

/// Rows of all stores of a query.
pub(super) fn by_store(results: &[QueryResult]) -> BTreeMap<(&str, &'static str), (u64, u64, u64)> {
    let mut sums: BTreeMap<(&str, &'static str), (u64, u64, u64)> = BTreeMap::new();
    for store in results.iter().flat_map(|result| &result.stores) {
        let sum = sums.entry((&store.store, store.kind)).or_default();
        sum.0 += store.rows.unwrap_or(0);
        sum.1 += store.bytes.unwrap_or(0);
        sum.2 += store.round_trips.unwrap_or(0);
    }
    sums
}
