//! Queries whose results are kept: which ones they are, and what becomes of one that is run.
//!
//! ```text
//! select → may_serve (by names, before anything is planned) → plan → rule → find ─ rows
//!                                                                        └ fill: states of the stores → the query over them → keep
//! ```
//!
//! **Invariants:** rights are looked at before any result is, by planning; a query whose result is not kept, or not given, runs as any other.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::memory_pool::MemoryReservation;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast::{ObjectName, Query, visit_relations};
use futures::{StreamExt, stream};

use super::define::qualified;
use super::{Bound, select};
use crate::cache::results::{self as kept, Flight, Found, Input, Key, Rejected, Turn};
use crate::catalog::results::ResultRules;
use crate::catalog::{RelationBody, Snapshot};
use crate::error::Diagnosis;
use crate::federation::branches::Branches;
use crate::federation::digits;
use crate::federation::error::diagnose;
use crate::federation::plan::{Planned, Setting};
use crate::federation::ranges::Reading;
use crate::federation::results::{self, Reads};
use crate::session::Session;
use crate::session::output::{Execution, Rows};
use crate::stores::{StoreName, Table};

/// How long a query waits for somebody else who makes its result.
const OTHER_MAX: Duration = Duration::from_secs(10);

/// What became of a query.
pub(super) enum Outcome {
    /// Its result is not to be kept, or not given to this read.
    Off,
    /// It was given a result that was kept.
    Hit(Execution),
    /// Its result is kept now.
    Filled(Execution),
    /// Its result is not kept; some rows of it, where they have been read, and all others behind them.
    Rejected(Rejected, Option<Execution>),
    /// There is a result, which the read must not be given.
    Unfit(&'static str),
}

impl Outcome {
    /// The line of `EXPLAIN ANALYZE`; `None` where nothing is kept of the query.
    pub(super) fn line(&self) -> Option<String> {
        Some(match self {
            Self::Off => return None,
            Self::Hit(_) => "Cache: hit".to_owned(),
            Self::Filled(_) => "Cache: filled".to_owned(),
            Self::Rejected(rejected, _) => format!("Cache: rejected: {rejected}"),
            Self::Unfit(reason) => format!("Cache: rejected: {reason}"),
        })
    }

    /// The rows, where there are some.
    fn execution(self) -> Option<Execution> {
        match self {
            Self::Hit(execution) | Self::Filled(execution) => Some(execution),
            Self::Rejected(_, execution) => execution,
            Self::Off | Self::Unfit(_) => None,
        }
    }
}

/// Whether the result of a query may be kept, as far as its names tell. Nothing is planned for it.
pub(super) fn may_serve(session: &Session, snapshot: &Snapshot, query: &Query) -> bool {
    let rules = session.shared.catalog.result_rules();
    if rules.is_empty() || snapshot.is_provisional() {
        return false;
    }
    // A block that keeps one state reads it whole. One that may write would do so by rows of before, which nothing compares with those that
    // it writes: what of copies it has read is noted, and what of results it has is not. So may a series of messages that goes on.
    let is_bound = match &session.block {
        Some(block) => block.failed || block.modes.isolation.is_repeatable() || !block.modes.read_only,
        None => session.series.goes_on(),
    };
    !is_bound && (rules.with_text(&query.to_string()).next().is_some() || names_table(session, snapshot, query, &rules))
}

/// Whether a query names a table whose results are kept, or a view, which may.
fn names_table(session: &Session, snapshot: &Snapshot, query: &Query, rules: &ResultRules) -> bool {
    if !rules.has_tables() {
        return false;
    }
    let path = session.search_path();
    let walked = visit_relations(query, |name: &ObjectName| {
        let found = qualified(name).ok().and_then(|name| snapshot.resolve(&name, &path).ok());
        let is_one = found.is_some_and(|relation| match &relation.body {
            RelationBody::Stored { store, table } => rules.has_table(store, &table.id),
            RelationBody::View { .. } => true,
            RelationBody::Rows(_) => false,
        });
        if is_one { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    walked.is_break()
}

/// Whether the result of a planned query is kept: by its text, with names that stand for what they stood for, or by all of its tables.
fn is_ruled(rules: &ResultRules, query: &Query, planned: &Planned) -> bool {
    let is_same = |relations: &BTreeSet<(String, String)>| {
        let own = planned.relations.values().map(|relation| (relation.schema.clone(), relation.name.clone()));
        *relations == own.collect::<BTreeSet<_>>()
    };
    if rules.with_text(&query.to_string()).any(|rule| is_same(&rule.relations)) {
        return true;
    }
    let mut stored = planned.relations.values().filter(|relation| !matches!(relation.body, RelationBody::View { .. })).peekable();
    let is_kept = |body: &RelationBody| match body {
        RelationBody::Stored { store, table } => rules.has_table(store, &table.id),
        RelationBody::View { .. } | RelationBody::Rows(_) => false,
    };
    stored.peek().is_some() && stored.all(|relation| is_kept(&relation.body))
}

/// Runs a query by its result, or so that its result is kept; `None` where it is run as any other.
pub(super) async fn run(
    session: &mut Session,
    text: &Arc<str>,
    query: &Query,
    bound: Bound<'_>,
    reading: Reading,
) -> Result<Option<Execution>, Diagnosis> {
    if reading != Reading::Whole || session.shared.catalog.result_rules().is_empty() {
        return Ok(None);
    }
    let snapshot = session.snapshot();
    if !may_serve(session, &snapshot, query) {
        return Ok(None);
    }
    Ok(Box::pin(look(session, text, query, bound)).await?.execution())
}

/// The same, which tells what became of it.
pub(super) async fn look(session: &mut Session, text: &Arc<str>, query: &Query, bound: Bound<'_>) -> Result<Outcome, Diagnosis> {
    let setting = Setting { reading: Reading::Whole, ..session.setting() };
    if !may_serve(session, &setting.snapshot, query) {
        return Ok(Outcome::Off);
    }
    let Some(wants) = session.wants_of_results()? else { return Ok(Outcome::Off) };
    let planned = select::current_plan(session, &setting, text, query, bound).await?;
    if !select::is_as_told(bound, &planned.columns) || !is_ruled(&session.shared.catalog.result_rules(), query, &planned) {
        return Ok(Outcome::Off);
    }
    let caches = Arc::clone(&session.shared.caches);
    let store = caches.results();
    let reads = match results::reads(&session.shared.engine, &setting, &planned).await {
        Ok(reads) => reads,
        Err(rejected) => {
            store.rejected(&rejected);
            return Ok(Outcome::Rejected(rejected, None));
        }
    };
    let asked = Asked { setting: &setting, planned: &planned, bound, reads: &reads };
    let given = bound.map(|(prepared, _)| select::described(prepared)).unwrap_or_default();
    let key = results::key(query, (given.as_slice(), asked.values()), &setting);
    if let Some(block) = &mut session.block {
        block.used = true;
    }
    for is_first in [true, false] {
        match store.find(&key, &wants).await {
            Found::Rows(rows) => return Ok(Outcome::Hit(hit(session, &planned, rows))),
            Found::Unfit(reason) => return Ok(Outcome::Unfit(reason)),
            Found::Nothing => {}
        }
        match store.enter(&key) {
            Turn::Own(flight) => return Box::pin(fill(session, asked, &key, flight)).await,
            Turn::Other(mut other) if is_first => {
                // Ends with an error: whoever made it tells nothing.
                let ended = tokio::time::timeout(OTHER_MAX, other.changed()).await;
                if ended.is_err() {
                    break;
                }
            }
            Turn::Other(_) => break,
        }
    }
    // What one could not keep another one probably cannot either.
    let rejected = Rejected::new("others", "others make it again and again");
    store.rejected(&rejected);
    Ok(Outcome::Rejected(rejected, None))
}

/// What is asked for.
#[derive(Clone, Copy)]
struct Asked<'a> {
    setting: &'a Setting,
    planned: &'a Planned,
    bound: Bound<'a>,
    reads: &'a Reads,
}

impl<'a> Asked<'a> {
    fn values(&self) -> &'a [ScalarValue] {
        self.bound.map(|(_, values)| values).unwrap_or_default()
    }

    /// The tables with the connectors of now.
    fn inputs(&self) -> Option<Vec<Input>> {
        let connectors = &self.setting.snapshot.connectors;
        let input = |(store, tables): (&StoreName, &Vec<Arc<Table>>)| {
            Some(Input { connector: Arc::clone(connectors.get(store)?), tables: tables.clone() })
        };
        self.reads.iter().map(input).collect()
    }
}

/// The rows of a result that was kept.
fn hit(session: &Session, planned: &Planned, rows: kept::Rows) -> Execution {
    let batches: Vec<_> = rows.batches.iter().cloned().map(Ok).collect();
    let stream = RecordBatchStreamAdapter::new(rows.schema, stream::iter(batches));
    let (columns, display, guard) = (planned.columns.clone(), session.settings.display(), session.guard.clone());
    Execution::Rows(Rows::new(columns, display, Box::pin(stream), select::SELECTED, guard))
}

/// Runs a query over states of its stores, and keeps its result where that is proven to be possible. Whoever waits for it waits no longer
/// than until then.
async fn fill(session: &mut Session, asked: Asked<'_>, key: &Key, flight: Flight) -> Result<Outcome, Diagnosis> {
    let caches = Arc::clone(&session.shared.caches);
    let store = caches.results();
    let rejected = |rejected: Rejected, execution| {
        store.rejected(&rejected);
        Ok(Outcome::Rejected(rejected, execution))
    };
    let Some(inputs) = asked.inputs() else {
        return rejected(Rejected::new("not-ready", "a store is not there any more"), None);
    };
    let fill = match store.begin(&inputs).await {
        Ok(fill) => fill,
        Err(why) => return rejected(why, None),
    };
    let branches = Arc::new(session.shared.reading(&asked.setting.snapshot, None).showing(fill.branches()));
    // What fails here may fail only because of how it was asked: it is run once more as any other.
    let failed = |error: &Diagnosis| Rejected::new("failed", format!("it fails with {}", error.sqlstate));
    let (engine, values) = (session.shared.engine.clone(), asked.values());
    let ready = digits::bind(&engine, asked.setting, asked.planned, values, (&branches, None)).await;
    let read = match ready.and_then(digits::Ready::run) {
        Ok(stream) => read(stream, store.result_bytes_max(), &engine.reservation("results")).await,
        Err(error) => return rejected(failed(&error), None),
    };
    let rows = |session: &Session, read: SendableRecordBatchStream| {
        let (columns, display, guard) = (asked.planned.columns.clone(), session.settings.display(), session.guard.clone());
        let rows = Rows::new(columns, display, read, select::SELECTED, guard);
        Execution::Rows(rows.noted(session.past.through(&branches)))
    };
    match read {
        Read::Failed(error) => rejected(failed(&error), None),
        Read::More(stream) => {
            drop(flight);
            rejected(kept::too_large(store.result_bytes_max()), Some(rows(session, stream)))
        }
        Read::All(all) => {
            let kept = if is_of(&branches, asked.reads) {
                branches.show_no_more();
                store.keep(key, fill, all.clone()).await
            } else {
                Err(Rejected::new("fault", "it has read a store that it did not name"))
            };
            drop(flight);
            let batches: Vec<_> = all.batches.iter().cloned().map(Ok).collect();
            let execution = rows(session, Box::pin(RecordBatchStreamAdapter::new(all.schema, stream::iter(batches))));
            match kept {
                Ok(()) => Ok(Outcome::Filled(execution)),
                Err(why) => rejected(why, Some(execution)),
            }
        }
    }
}

/// Whether nothing but these stores was read.
fn is_of(branches: &Branches, reads: &Reads) -> bool {
    branches.read_directly().iter().all(|store| reads.contains_key(store))
}

/// What was read of a query.
enum Read {
    /// All of it.
    All(kept::Rows),
    /// More than is kept: what was read, and the rest behind it.
    More(SendableRecordBatchStream),
    Failed(Box<Diagnosis>),
}

/// Reads a result as far as it may be kept, and there is memory for.
async fn read(mut stream: SendableRecordBatchStream, most: usize, memory: &MemoryReservation) -> Read {
    let (schema, mut batches, mut bytes) = (stream.schema(), Vec::<RecordBatch>::new(), 0_usize);
    while let Some(next) = stream.next().await {
        match next {
            Ok(batch) if batch.num_rows() == 0 => {}
            Ok(batch) => {
                bytes = bytes.saturating_add(batch.get_array_memory_size());
                batches.push(batch);
            }
            Err(error) => return Read::Failed(Box::new(diagnose(&error))),
        }
        if bytes > most || memory.try_resize(bytes).is_err() {
            let all = stream::iter(batches.into_iter().map(Ok)).chain(stream);
            return Read::More(Box::pin(RecordBatchStreamAdapter::new(schema, all)));
        }
    }
    Read::All(kept::Rows { schema, batches: batches.into() })
}
