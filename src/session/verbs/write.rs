//! `INSERT`, `UPDATE`, `DELETE` and `MERGE`: who may, what is planned, the edits that the owner is sent, and what comes back.
//!
//! In a block the owner keeps what was written until its end; outside of one the statement is a transaction of its own, which has ended
//! before the client is told of it. One with RETURNING ends after its rows have been sent, so that what fails then has changed nothing.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::memory_pool::MemoryReservation;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast::{AssignmentTarget, Ident, ObjectName, ObjectNamePart, Visit, Visitor};
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};

use super::select::{described, is_as_told};
use super::transaction::{begin_implicit, own_block};
use super::{Bound, call, rights};
use crate::cache::TableVersion;
use crate::catalog::{QualifiedName, RelationBody};
use crate::error::{Diagnosis, sqlstate};
use crate::federation::ast::{locate, mistakes};
use crate::federation::branches::Branches;
use crate::federation::dml::{Beside, Dml, PlannedWrite, Race, Rows as ChangedRows, Work, Write, below, plan_aside, target};
use crate::federation::engine::Engine;
use crate::federation::error::diagnose;
use crate::federation::plan::Setting;
use crate::federation::writers::Writers;
use crate::session::output::{Execution, Guard, Rows, Tag};
use crate::session::reading::Past;
use crate::session::replay::Attempt;
use crate::session::saga::{self, Recording};
use crate::session::statement::{Kind, fold};
use crate::session::transaction::Block;
use crate::session::{Session, Shared};
use crate::stores::lock::LockWaits;
use crate::stores::{Branch, Edit, Edited, StoreError, StoreName};
use crate::write::kept::{KeptRows, Told};
use crate::write::run::{self, Observer, Outcome};
use crate::write::{access, conflict};

/// The savepoint to which a statement comes back that has lost a race; those of the client have smaller numbers.
const RACE: u32 = u32::MAX;
/// How often a statement looks at rows that others add at the same time.
const RACES_MAX: usize = 3;

/// Whether a statement changes rows, also by a name that it executes.
pub(in crate::session) fn is_one(session: &Session, kind: &Kind) -> bool {
    let changes_rows = |kind: &Kind| match kind {
        Kind::Write(_) | Kind::Truncate(_) | Kind::CopyIn(_) | Kind::Emit(_) => true,
        Kind::Call(function) => call::is_write(function),
        _ => false,
    };
    match kind {
        Kind::Execute { name, .. } => {
            let prepared = session.names.statement(name);
            prepared.is_ok_and(|prepared| prepared.parsed.as_ref().is_some_and(|parsed| changes_rows(&parsed.kind)))
        }
        kind => changes_rows(kind),
    }
}

/// Plans a write.
async fn plan(engine: &Engine, setting: &Setting, text: &str, write: &Write, given: &[u32]) -> Result<PlannedWrite, Diagnosis> {
    let relation = target(write, &setting.snapshot, &setting.path).map_err(|error| located(error, write, text))?;
    let chain = below(engine, setting, write.verb(), &relation)?;
    access::check_kind(write.verb(), chain.as_ref().map_or(&relation, |chain| &chain.base))?;
    check_mistakes(engine, text, write)?;
    let planned = plan_aside(engine, setting, write, given).await;
    planned.map_err(|error| located(error, write, text))
}

/// Plans a write that is prepared. The audit log is told of one that is refused before it could be run, where it would be told.
pub(super) async fn prepare(
    session: &mut Session,
    setting: &Setting,
    text: &str,
    write: &Write,
    given: &[u32],
) -> Result<PlannedWrite, Diagnosis> {
    let shared = Arc::clone(&session.shared);
    let relation = target(write, &setting.snapshot, &setting.path).map_err(|error| located(error, write, text))?;
    let chain = below(&shared.engine, setting, write.verb(), &relation)?;
    let base = chain.as_ref().map_or(&relation, |chain| &chain.base);
    if let Err(refused) = access::check_kind(write.verb(), base) {
        session.tell_refused((write.verb(), relation.name.as_str()), (rights::store_of(base), text), &refused).await;
        return Err(refused);
    }
    plan(&shared.engine, setting, text, write, given).await
}

/// Looks for the mistakes that are looked for in queries.
fn check_mistakes(engine: &Engine, text: &str, write: &Write) -> Result<(), Diagnosis> {
    let is_aggregate = |name: &str| engine.is_aggregate(name);
    if let Some(with) = &write.with {
        mistakes::check(with, text, &is_aggregate)?;
    }
    match &write.dml {
        Dml::Insert(insert) => mistakes::check(insert.as_ref(), text, &is_aggregate),
        Dml::Update(update) => mistakes::check_update(update, text, &is_aggregate),
        Dml::Delete(delete) => mistakes::check_delete(delete, text, &is_aggregate),
        Dml::Merge(merge) => mistakes::check(merge.as_ref(), text, &is_aggregate),
    }
}

/// Runs a write.
pub(super) async fn run(session: &mut Session, text: &Arc<str>, write: &Write, bound: Bound<'_>) -> Result<Execution, Diagnosis> {
    let (guard, setting) = (session.guard.clone(), session.setting());
    let relation = target(write, &setting.snapshot, &setting.path).map_err(|error| located(error, write, text))?;
    let shared = Arc::clone(&session.shared);
    let chain = below(&shared.engine, &setting, write.verb(), &relation)?;
    let permitted = match &chain {
        None => rights::check(session, &setting, write.verb(), &relation),
        Some(chain) => rights::check_through(session, &setting, write.verb(), chain),
    };
    if let Err(refused) = permitted {
        let base = chain.map_or_else(|| Arc::clone(&relation), |chain| chain.base);
        session.tell_refused((write.verb(), relation.name.as_str()), (rights::store_of(&base), &**text), &refused).await;
        return Err(refused);
    }
    let planned = guard.run(current_plan(session, &shared.engine, &setting, text, (write, bound))).await??;
    let (engine, store) = (&shared.engine, planned.target.store.clone());
    // What a series has read of the target before is a part of its transaction.
    if planned.columns.is_some() || session.series.has_read(&store, &planned.target.table.id) {
        begin_implicit(session)?;
    }
    let attempt = session.attempt(text, bound, setting.now)?;
    let values = bound.map(|(_, values)| values).unwrap_or_default();
    let past = session.past.clone();
    let read = session.block.as_ref().map(|block| block.copies.of(&store, &planned.target.table.id)).unwrap_or_default();
    let undoes = setting.rows_only;
    // Rows are compared with what was read of them one by one.
    let setting = Setting { rows_only: undoes || !read.is_empty(), ..setting };
    let asked = Running { engine, setting: &setting, planned: &planned, values, guard: &guard, past: &past, undoes, read: &read };
    let ended = match session.writing_block() {
        Some(block) => Box::pin(asked.run_in(block, &shared, (&attempt, Ending::OfBlock))).await,
        None => {
            let mut own = own_block(session, setting.now)?;
            let is_apart = own.modes.isolation.is_repeatable() || attempt.has_key();
            let ending = if is_apart { Ending::Own } else { Ending::OwnOrOnce };
            let ended = Box::pin(asked.run_in(&mut own, &shared, (&attempt, ending))).await;
            let by_itself = matches!(&ended, Ok(Ended::Ran(Answer { is_once: true, .. }))).then_some(&store);
            let finished = Box::pin(session.end_block(&own, (ended.is_ok(), by_itself))).await;
            if let Err(error) = &ended {
                past.by_itself(&store, Some(error));
                session.note_failed(error);
            }
            ended.and_then(|ended| finished.map(|()| ended))
        }
    };
    let told = ended.as_ref().map(|ended| ended.tag(&planned));
    session.tell_write((write.verb(), relation.name.as_str()), (&store, &**text), told).await;
    Ok(match ended? {
        Ended::Ran(answer) => answer.into_execution(session, planned, guard),
        Ended::Repeated(tag, None) => Execution::Done(tag),
        Ended::Repeated(_, Some(returned)) => {
            let kept = shared.engine.reservation("rows that are given again");
            let answer = Answer { rows: 0, returned: Some(returned), kept, undo: None, is_once: false };
            answer.into_execution(session, planned, guard)
        }
    })
}

/// How a write has gone.
enum Ended {
    /// It was made.
    Ran(Answer),
    /// It had been made before, and was answered so, with these rows.
    Repeated(String, Option<Returned>),
}

impl Ended {
    /// The command tag.
    fn tag(&self, planned: &PlannedWrite) -> String {
        match self {
            Self::Ran(answer) => format!("{} {}", tag_of(planned.verb()), answer.rows),
            Self::Repeated(tag, _) => tag.clone(),
        }
    }
}

/// The plan to run: the prepared one while nothing it stands on has changed, else a new one, which replaces it.
async fn current_plan(
    session: &mut Session,
    engine: &Engine,
    setting: &Setting,
    text: &str,
    (write, bound): (&Write, Bound<'_>),
) -> Result<PlannedWrite, Diagnosis> {
    let Some((prepared, _)) = bound else {
        let planned = plan(engine, setting, text, write, &[]).await?;
        if !planned.parameters.is_empty() {
            return Err(Diagnosis::new(sqlstate::UNDEFINED_PARAMETER, "there is no parameter $1"));
        }
        return Ok(planned);
    };
    let under = (setting.snapshot.version, session.settings.generation());
    if prepared.planned_under == under
        && let Some(planned) = &prepared.write
    {
        return Ok(planned.clone());
    }
    let planned = plan(engine, setting, text, write, &described(prepared)).await?;
    if planned.columns.is_some() != prepared.description.columns.is_some()
        || !is_as_told(bound, planned.columns.as_deref().unwrap_or_default())
    {
        return Err(Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, "cached plan must not change result type"));
    }
    if lasts(write, setting) {
        session.names.replan_write(prepared, &planned, under);
    }
    Ok(planned)
}

/// Whether a plan holds as long as the catalog and the settings do: one that reads relations of the system may hold their rows.
pub(super) fn lasts(write: &Write, setting: &Setting) -> bool {
    struct Relations<'s>(&'s Setting);
    impl Visitor for Relations<'_> {
        type Break = ();

        fn pre_visit_relation(&mut self, name: &ObjectName) -> ControlFlow<()> {
            let mut parts: Vec<String> = name.0.iter().filter_map(ObjectNamePart::as_ident).map(fold).collect();
            let relation = parts.pop().unwrap_or_default();
            let name = QualifiedName { schema: parts.pop(), database: parts.pop(), relation };
            // A name that is not found is that of a WITH query, which is looked into by itself.
            match self.0.snapshot.resolve(&name, &self.0.path) {
                Ok(relation) if !matches!(relation.body, RelationBody::Stored { .. }) => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            }
        }
    }
    let mut relations = Relations(setting);
    write.with.as_ref().is_none_or(|with| with.visit(&mut relations).is_continue()) && visit(write, &mut relations).is_continue()
}

fn visit<V: Visitor>(write: &Write, visitor: &mut V) -> ControlFlow<V::Break> {
    match &write.dml {
        Dml::Insert(insert) => insert.visit(visitor),
        Dml::Update(update) => update.visit(visitor),
        Dml::Delete(delete) => delete.visit(visitor),
        Dml::Merge(merge) => merge.visit(visitor),
    }
}

/// How what is written becomes lasting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// At the end of the session's block.
    OfBlock,
    /// At the end of the statement, by a commit.
    Own,
    /// The same, or by the store itself where one edit is all there is.
    OwnOrOnce,
}

/// What one execution of a write needs.
struct Running<'a> {
    engine: &'a Engine,
    setting: &'a Setting,
    planned: &'a PlannedWrite,
    values: &'a [ScalarValue],
    guard: &'a Guard,
    past: &'a Past,
    /// Whether it is noted what undoes it.
    undoes: bool,
    /// What its block has read of the target from copies.
    read: &'a [Arc<TableVersion>],
}

impl Running<'_> {
    /// Does everything up to the commit of a block, unless it has been done before.
    async fn run_in(&self, block: &mut Block, shared: &Shared, (attempt, ending): (&Attempt, Ending)) -> Result<Ended, Diagnosis> {
        let store = &self.planned.target.store;
        let (writers, branches) = block.write_branches(store, &self.setting.snapshot, shared).await?;
        let since = block.savepoints_asked();
        if let Some(answered) = block.admit(attempt, store, &writers, shared).await? {
            block.undone.repeated(store, since);
            return Ok(Ended::Repeated(answered.tag, self.given_before(answered.rows.as_ref())?));
        }
        let branches = Arc::new(self.holding(branches));
        let ran = Box::pin(self.run(&writers, &branches, ending)).await;
        // What it was made of is seen by what has become of it.
        self.past.read(&branches);
        let mut answer = ran.inspect_err(|error| block.keyed.failed(attempt.hash(), error))?;
        block.undone.wrote(store, since, answer.undo.take())?;
        let rows = if attempt.has_key() { self.kept_rows(&answer) } else { Ok(None) };
        let rows = rows.inspect_err(|error| block.keyed.failed(attempt.hash(), error))?;
        let ended = Ended::Ran(answer);
        block.keyed.answered(attempt.hash(), &ended.tag(self.planned), rows)?;
        Ok(ended)
    }

    /// What the client is told of the columns of RETURNING.
    fn told(&self) -> Option<Vec<Told>> {
        let columns = self.planned.columns.as_ref()?;
        Some(columns.iter().map(|column| (column.name.clone(), column.pg_type.oid, column.pg_type.typmod)).collect())
    }

    /// The rows of RETURNING, as they are given again.
    fn kept_rows(&self, answer: &Answer) -> Result<Option<KeptRows>, Diagnosis> {
        let told = self.told().zip(answer.returned.as_ref());
        told.map(|(told, returned)| KeptRows::of(told, &returned.schema, &returned.batches)).transpose()
    }

    /// The rows that were given when the statement was sent before.
    fn given_before(&self, rows: Option<&KeptRows>) -> Result<Option<Returned>, Diagnosis> {
        match (rows, self.told()) {
            (None, None) => Ok(None),
            (Some(rows), told) => {
                let (schema, batches) = rows.read(&told.unwrap_or_default())?;
                Ok(Some(Returned { schema, batches }))
            }
            (None, Some(_)) => {
                let message = "the rows that the statement gave back are not kept with the idempotency key";
                Err(Diagnosis::new(sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE, message))
            }
        }
    }

    /// The branches, through which rows that are going to be changed are held.
    fn holding(&self, branches: Branches) -> Branches {
        let target = &self.planned.target;
        if self.planned.locks() { branches.locking(target.store.clone(), target.table.id.clone()) } else { branches }
    }

    /// Does everything up to the commit.
    async fn run(&self, writers: &Arc<Writers>, branches: &Arc<Branches>, ending: Ending) -> Result<Answer, Diagnosis> {
        let target = &self.planned.target;
        let work = self.guard.run(self.planned.bind(self.engine, self.setting, self.values, branches)).await??;
        let watch = self.watch(branches);
        let mut kept = None;
        let (outcome, undo) = match work {
            Work::Nothing => (Outcome::default(), Some(Vec::new())),
            Work::Edit(edit) => {
                if ending == Ending::OwnOrOnce && !self.planned.is_checked() {
                    return self.run_once(*edit, watch, writers.waits()).await;
                }
                let branch = self.guard.run(writers.open(&target.store)).await??;
                let through = self.through(&branch);
                let outcome = self.send(&through.branch, stream::iter([Ok(*edit)]).boxed(), &watch).await?;
                (outcome, through.undo())
            }
            Work::Rows(rows) => {
                // Opened before anything is read: its store is then read through it.
                let branch = self.guard.run(writers.open(&target.store)).await??;
                kept = rows.kept();
                let through = self.through(&branch);
                let outcome = match rows.race() {
                    None => self.send(&through.branch, rows.edits(self.engine)?, &watch).await?,
                    Some(race) => {
                        // Savepoints are those of the transaction that the branch is in.
                        let leading = writers.leading(&branch);
                        Box::pin(self.contend((&leading, &through), (rows, race), &watch)).await?
                    }
                };
                (outcome, through.undo())
            }
        };
        let rows = outcome.rows;
        let returned = self.guard.run(self.returned(outcome, kept, &watch)).await??;
        Ok(Answer { rows, returned, kept: watch.kept, undo, is_once: false })
    }

    /// What edits are sent through: the branch itself, or what looks at the rows before, and what notes how they are undone.
    fn through(&self, branch: &Arc<dyn Branch>) -> Through {
        let target = &self.planned.target;
        let connector = self.setting.snapshot.connectors.get(&target.store);
        let branch = conflict::compared(branch, connector, self.read);
        match connector.filter(|_| self.undoes) {
            Some(connector) => {
                let (schema, relation) = (Some(target.relation.schema.clone()), target.relation.name.clone());
                let name = QualifiedName { database: None, schema, relation };
                let referring = saga::referring(&self.setting.snapshot, &target.store, &target.table.id);
                let recording = Arc::new(Recording::new(branch, Arc::clone(connector), name, referring));
                let shared = Arc::clone(&recording);
                Through { branch: shared, recording: Some(recording) }
            }
            None => Through { branch, recording: None },
        }
    }

    /// Sends an edit that its store commits by itself; it gives back a number only, so that nothing can fail afterwards.
    async fn run_once(&self, edit: Edit, watch: Watch<'_>, waits: LockWaits) -> Result<Answer, Diagnosis> {
        let writers = Writers::once(&self.setting.snapshot);
        writers.wait_for_locks(waits);
        let branch = self.guard.run(writers.open(&self.planned.target.store)).await??;
        let outcome = self.send(&branch, stream::iter([Ok(edit)]).boxed(), &watch).await?;
        Ok(Answer { rows: outcome.rows, returned: None, kept: watch.kept, undo: None, is_once: true })
    }

    async fn send(
        &self,
        branch: &Arc<dyn Branch>,
        edits: BoxStream<'static, Result<Edit, Diagnosis>>,
        watch: &Watch<'_>,
    ) -> Result<Outcome, Diagnosis> {
        let stop = self.guard.stop();
        self.guard.wait_for(&stop, run::run(branch, edits, &stop, watch)).await
    }

    /// Sends rows that others may be adding meanwhile: what was written is undone then, and done again over the rows as they are.
    async fn contend(
        &self,
        (branch, through): (&Arc<dyn Branch>, &Through),
        (rows, race): (ChangedRows, Race),
        watch: &Watch<'_>,
    ) -> Result<Outcome, Diagnosis> {
        let told = |error: StoreError| Diagnosis::of(&error);
        let mut edits = rows.edits(self.engine)?;
        let mut lost = None;
        for _ in 0..RACES_MAX {
            self.guard.run(branch.savepoint(RACE)).await?.map_err(told)?;
            let adds = Arc::new(AtomicBool::new(false));
            let last = Arc::clone(&adds);
            let sent = edits.inspect_ok(move |edit| last.store(Race::adds(edit), Ordering::Relaxed)).boxed();
            let error = match self.send(&through.branch, sent, watch).await {
                Ok(outcome) => {
                    self.guard.run(branch.release(RACE)).await?.map_err(told)?;
                    return Ok(outcome);
                }
                Err(error) => error,
            };
            if !(adds.load(Ordering::Relaxed) && race.is_lost(&error)) {
                return Err(error);
            }
            lost = Some(error);
            // A store that cannot come back has ended the transaction.
            if self.guard.run(branch.roll_back_to(RACE)).await?.is_err() {
                break;
            }
            through.forget();
            self.guard.run(branch.release(RACE)).await?.map_err(told)?;
            let branches = Arc::new(watch.branches.again());
            let work = self.guard.run(self.planned.bind(self.engine, self.setting, self.values, &branches)).await??;
            let Work::Rows(again) = work else { return Ok(Outcome::default()) };
            edits = again.edits(self.engine)?;
        }
        if let Some(error) = lost.filter(|error| !race.is_surely_lost(error)) {
            return Err(error);
        }
        let message = "could not serialize access due to concurrent update";
        Err(Diagnosis::new(sqlstate::SERIALIZATION_FAILURE, message)
            .with_detail("Other transactions have added rows that the statement would have met."))
    }

    /// The rows of RETURNING, all of them: the statement fails where one of them does.
    async fn returned(&self, outcome: Outcome, kept: Option<Beside>, watch: &Watch<'_>) -> Result<Option<Returned>, Diagnosis> {
        if self.planned.columns.is_none() && !self.planned.is_checked() {
            return Ok(None);
        }
        let beside = (watch.branches.as_ref(), kept);
        let stream = self.planned.returning(self.engine, self.setting, self.values, outcome.returned, beside).await?;
        gather(stream, watch).await.map(Some)
    }

    fn watch<'b>(&self, branches: &'b Arc<Branches>) -> Watch<'b> {
        let (store, kept) = (self.planned.target.store.clone(), self.engine.reservation("rows that changed"));
        Watch { branches, store, kept }
    }
}

/// What edits are sent through.
struct Through {
    branch: Arc<dyn Branch>,
    recording: Option<Arc<Recording>>,
}

impl Through {
    /// What undoes the edits; `None` when nobody knows.
    fn undo(&self) -> Option<Vec<String>> {
        self.recording.as_ref().and_then(|recording| recording.take())
    }

    /// The edits have been undone.
    fn forget(&self) {
        if let Some(recording) = &self.recording {
            recording.forget();
        }
    }
}

/// Hears what the store answers, and counts what is kept of it.
struct Watch<'a> {
    branches: &'a Arc<Branches>,
    store: StoreName,
    kept: MemoryReservation,
}

impl Observer for Watch<'_> {
    fn heard(&self, answer: &Result<Edited, StoreError>) {
        self.branches.heard(&self.store, answer);
    }

    fn keep(&self, rows: &RecordBatch) -> Result<(), Diagnosis> {
        self.kept.try_grow(rows.get_array_memory_size()).map_err(|error| diagnose(&error).with_hint("Return fewer rows at a time."))
    }
}

/// The rows of RETURNING.
struct Returned {
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
}

async fn gather(mut stream: SendableRecordBatchStream, watch: &Watch<'_>) -> Result<Returned, Diagnosis> {
    let (schema, mut batches) = (stream.schema(), Vec::new());
    while let Some(batch) = stream.try_next().await.map_err(|error| diagnose(&error))? {
        watch.keep(&batch)?;
        batches.push(batch);
    }
    Ok(Returned { schema, batches })
}

/// What a write has come to.
struct Answer {
    rows: u64,
    returned: Option<Returned>,
    /// Given back when the rows have been sent.
    kept: MemoryReservation,
    /// What undoes it; `None` when nobody knows.
    undo: Option<Vec<String>>,
    /// Whether its store has committed it by itself.
    is_once: bool,
}

impl Answer {
    fn into_execution(self, session: &Session, planned: PlannedWrite, guard: Guard) -> Execution {
        let words = tag_of(planned.verb());
        let (Some(returned), Some(columns)) = (self.returned, planned.columns) else {
            return Execution::Done(format!("{words} {}", self.rows));
        };
        let kept = self.kept;
        let batches = stream::iter(returned.batches).map(move |batch| {
            let _until_sent = &kept;
            Ok::<_, DataFusionError>(batch)
        });
        let stream = RecordBatchStreamAdapter::new(returned.schema, batches);
        Execution::Rows(Rows::new(columns, session.settings.display(), Box::pin(stream), Tag::Counted(words), guard))
    }
}

/// The words before the count in the tag of a statement. The 0 was an object id once.
pub(super) fn tag_of(verb: &str) -> &'static str {
    match verb {
        "INSERT" => "INSERT 0",
        "UPDATE" => "UPDATE",
        "MERGE" => "MERGE",
        _ => "DELETE",
    }
}

/// An error with its place in the text, where its message tells it.
fn located(error: Diagnosis, write: &Write, text: &str) -> Diagnosis {
    let position = error.position.or_else(|| match set_column(&error, write) {
        Some(column) => locate::character_of(text, column.span.start.line, column.span.start.column),
        None => in_parts(&error, write, text),
    });
    error.with_position(position)
}

fn in_parts(error: &Diagnosis, write: &Write, text: &str) -> Option<usize> {
    let with = write.with.as_ref().and_then(|with| locate::place_in(error, with, text));
    with.or_else(|| match &write.dml {
        Dml::Insert(insert) => locate::place_in(error, insert.as_ref(), text),
        Dml::Update(update) => locate::place_in(error, update.as_ref(), text),
        Dml::Delete(delete) => locate::place_in(error, delete.as_ref(), text),
        Dml::Merge(merge) => locate::place_in(error, merge.as_ref(), text),
    })
}

/// The column that a statement gives a value, when an error is about that.
fn set_column<'w>(error: &Diagnosis, write: &'w Write) -> Option<&'w Ident> {
    let (named, rest) = error.message.strip_prefix("column \"")?.split_once('"')?;
    if !(rest.starts_with(" of relation ") || rest.starts_with(" specified more than once")) {
        return None;
    }
    let names: Vec<&ObjectName> = match &write.dml {
        Dml::Insert(insert) => insert.columns.iter().collect(),
        Dml::Update(update) => {
            let targets = update.assignments.iter().map(|assignment| match &assignment.target {
                AssignmentTarget::ColumnName(name) => std::slice::from_ref(name),
                AssignmentTarget::Tuple(names) => names.as_slice(),
            });
            targets.flatten().collect()
        }
        Dml::Delete(_) | Dml::Merge(_) => Vec::new(),
    };
    let mut firsts = names.into_iter().filter_map(|name| name.0.first().and_then(ObjectNamePart::as_ident));
    // Of a column that is named twice PostgreSQL shows the second mention.
    firsts.rfind(|ident| fold(ident) == named)
}
