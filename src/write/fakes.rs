//! Stores, branches and a log for tests of commits: each call is put into one list, and answered as the test says.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{Semaphore, mpsc};

use super::commit::Committed;
use super::coordinator::{Asked, Coordinator, Several, Step};
use super::failpoint::Points;
use super::log::memory::MemoryJournal;
use super::log::record::Unfinished;
use super::log::{Journal, JournalError, Left, Record};
use super::open::Standing;
use super::saga::Compensator;
use crate::catalog::commits::{State, Transaction};
use crate::error::{Diagnosis, sqlstate};
use crate::stores::commit::{BranchId, Gid, InDoubt, LogId, MarkId, MarkOf, Numbers, OwnTable, Part, Resolved, Verdict, Vote};
use crate::stores::connector::{Capabilities, ScanLimits};
use crate::stores::position::{Coverage, Position};
use crate::stores::{
    BatchStream, Branch, Connector, Predicate, Purpose, Pushdown, Scan, StoreError, StoreName, StoreSchema, Table,
};
use crate::telemetry::audit::Audit;

/// What was asked of everybody, in order.
#[derive(Debug, Clone, Default)]
pub(super) struct Calls(Arc<Mutex<Vec<String>>>);

impl Calls {
    fn note(&self, call: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(call);
    }

    /// All of them so far.
    pub fn all(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// An answer of a store.
pub(super) fn remote(code: &str) -> StoreError {
    StoreError::remote("x", code, "refused".to_owned())
}

/// The connection broke.
pub(super) fn lost() -> StoreError {
    StoreError::ConnectionLost { store: "x".to_owned(), reason: "Reset.".to_owned() }
}

/// No answer in time.
pub(super) fn late() -> StoreError {
    StoreError::Deadline { store: "x".to_owned(), limit_ms: 1, waiting_for: "an answer" }
}

/// The connection broke after a commit was sent.
pub(super) fn unknown() -> StoreError {
    StoreError::OutcomeUnknown { store: "x".to_owned(), reason: "Reset.".to_owned() }
}

/// A branch that has written.
#[derive(Debug)]
pub(super) struct Fake {
    name: StoreName,
    part: Part,
    /// What it says from the second time on.
    later: Option<Part>,
    asked_part: AtomicBool,
    vote: Vote,
    calls: Calls,
    fails: BTreeMap<&'static str, StoreError>,
    /// The call that waits until it is let go.
    waits: Option<(&'static str, Arc<Semaphore>)>,
    /// The call that dies.
    dies: Option<&'static str>,
}

impl Fake {
    async fn asked(&self, call: &'static str) -> Result<(), StoreError> {
        self.calls.note(format!("{} {call}", self.name));
        if let Some((_, gate)) = self.waits.as_ref().filter(|(waits, _)| *waits == call) {
            gate.acquire().await.unwrap().forget();
        }
        assert!(self.dies != Some(call), "a fault");
        self.fails.get(call).cloned().map_or(Ok(()), Err)
    }

    /// Where its store is after a call.
    fn position(&self, call: &str) -> Option<Position> {
        Some(Position { store: self.name.clone(), token: call.as_bytes().to_vec() })
    }

    /// The same that fails at a call.
    pub fn fails(mut self, call: &'static str, error: StoreError) -> Self {
        self.fails.insert(call, error);
        self
    }

    /// The same that waits in a call.
    pub fn waits(mut self, call: &'static str, gate: &Arc<Semaphore>) -> Self {
        self.waits = Some((call, Arc::clone(gate)));
        self
    }

    /// The same that dies in a call.
    pub fn dies(mut self, call: &'static str) -> Self {
        self.dies = Some(call);
        self
    }

    /// The same that takes part otherwise when it is asked again.
    pub fn turns(mut self, part: Part) -> Self {
        self.later = Some(part);
        self
    }

    /// The same with nothing to keep.
    pub fn reads(mut self) -> Self {
        self.vote = Vote::ReadOnly;
        self
    }
}

#[async_trait]
impl Branch for Fake {
    async fn scan(&self, _table: &Arc<Table>, scan: &Scan, _limits: ScanLimits) -> Result<BatchStream, StoreError> {
        Err(StoreError::Unsupported { store: scan.store.to_string(), feature: "scans" })
    }

    fn has_written(&self) -> bool {
        true
    }

    fn shared_snapshot(&self) -> Result<(), &'static str> {
        Ok(())
    }

    fn part(&self) -> Part {
        let is_again = self.asked_part.swap(true, Ordering::Relaxed);
        self.later.filter(|_| is_again).unwrap_or(self.part)
    }

    async fn prepare(&self, id: &BranchId) -> Result<Vote, StoreError> {
        assert_eq!(id.branch, crate::stores::commit::store_hash(&self.name));
        self.asked("prepare").await.map(|()| self.vote)
    }

    async fn commit_prepared(&self) -> Result<Option<Position>, StoreError> {
        self.asked("keep").await.map(|()| self.position("keep"))
    }

    async fn roll_back_prepared(&self) -> Result<(), StoreError> {
        self.asked("drop").await
    }

    async fn mark(&self, mark: MarkId) -> Result<(), StoreError> {
        match mark.of {
            MarkOf::All => self.asked("mark").await,
            MarkOf::Step(_) => self.asked("mark step").await,
            MarkOf::Undo(_) => self.asked("mark undo").await,
        }
    }

    async fn commit(&self) -> Result<Option<Position>, StoreError> {
        self.asked("commit").await.map(|()| self.position("commit"))
    }

    async fn rollback(&self) -> Result<(), StoreError> {
        self.asked("rollback").await
    }
}

/// A store whose table of marks can be made, or not.
#[derive(Debug)]
struct Shop {
    name: StoreName,
    calls: Calls,
    /// What stores have in doubt.
    in_doubt: Arc<Mutex<Vec<(StoreName, BranchId)>>>,
    fails: Option<StoreError>,
    /// What it answers when a branch is to be ended.
    refuses: Option<StoreError>,
}

#[async_trait]
impl Connector for Shop {
    fn name(&self) -> &StoreName {
        &self.name
    }

    fn kind(&self) -> &'static str {
        "shop"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { statement_snapshot: true, prepare: true, like: true, documents: false, cancel: false, keys_max: 10_000 }
    }

    async fn discover(&self) -> Result<StoreSchema, StoreError> {
        Ok(StoreSchema::default())
    }

    async fn ping(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn pushdown(&self, _table: &Table, _predicate: &Predicate) -> Pushdown {
        Pushdown::Refused("no scan is asked for")
    }

    fn describe_scan(&self, _table: &Table, _scan: &Scan) -> String {
        String::new()
    }

    async fn open(&self, _purpose: Purpose) -> Result<Arc<dyn Branch>, StoreError> {
        Err(StoreError::Unsupported { store: self.name.to_string(), feature: "branches" })
    }

    fn covers(&self, _applied: &Position, _wanted: &Position) -> Coverage {
        Coverage::Incomparable
    }

    async fn install(&self, which: OwnTable) -> Result<(), StoreError> {
        self.calls.note(format!("{} install {}", self.name, which.name()));
        self.fails.clone().map_or(Ok(()), Err)
    }

    async fn in_doubt(&self) -> Result<Vec<InDoubt>, StoreError> {
        let listed = self.in_doubt.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let here = listed.into_iter().filter(|(store, _)| *store == self.name);
        Ok(here.map(|(_, id)| InDoubt { id, prepared: None }).collect())
    }

    async fn resolve(&self, id: &BranchId, verdict: Verdict) -> Result<Resolved, StoreError> {
        self.calls.note(format!("{} resolve {id} {verdict:?}", self.name));
        self.refuses.clone().map_or(Ok(Resolved::Done), Err)
    }

    async fn close(&self) {}
}

/// A log that is in the list too.
#[derive(Debug)]
struct Scribe {
    inner: MemoryJournal,
    calls: Calls,
}

fn word(record: &Record) -> &'static str {
    match record {
        Record::Begin { .. } => "begin",
        Record::Commit { .. } => "commit",
        Record::Abort { .. } => "abort",
        Record::Done { .. } => "done",
        Record::Saga { .. } => "saga",
        Record::Stepped { .. } => "stepped",
        Record::Undone { .. } => "undone",
        Record::Stuck { .. } => "stuck",
    }
}

#[async_trait]
impl Journal for Scribe {
    fn numbers(&self) -> Arc<Numbers> {
        self.inner.numbers()
    }

    fn is_usable(&self) -> Result<(), Diagnosis> {
        self.inner.is_usable()
    }

    async fn append(&self, record: Record, force: bool) -> Result<(), JournalError> {
        self.calls.note(format!("log {}{}", word(&record), if force { "!" } else { "" }));
        self.inner.append(record, force).await
    }

    fn left(&self) -> Vec<Left> {
        self.inner.left()
    }

    async fn close(&self) {}
}

/// Undoes steps, or fails so many times.
#[derive(Debug)]
pub(super) struct Undoing {
    calls: Calls,
    failures: AtomicU64,
    /// With which code.
    code: Mutex<String>,
}

impl Undoing {
    /// How many of the next calls fail.
    pub fn fail(&self, times: u64) {
        self.fail_with(times, sqlstate::CHECK_VIOLATION);
    }

    /// The same with another code.
    pub fn fail_with(&self, times: u64, code: &str) {
        *self.code.lock().unwrap_or_else(PoisonError::into_inner) = code.to_owned();
        self.failures.store(times, Ordering::Relaxed);
    }
}

#[async_trait]
impl Compensator for Undoing {
    async fn run(&self, role: &str, sql: &[String], store: &StoreName, mark: MarkId) -> Result<(), Diagnosis> {
        assert!(matches!(mark.of, MarkOf::Undo(_)));
        self.calls.note(format!("{role} undoes {store}: {}", sql.join("; ")));
        let left = self.failures.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        let code = self.code.lock().unwrap_or_else(PoisonError::into_inner).clone();
        left.map_or(Ok(()), |_failing| Err(Diagnosis::new(&code, "it does not fit any more")))
    }
}

/// A coordinator with everything that it needs.
pub(super) struct Stage {
    /// Who commits.
    pub coordinator: Arc<Coordinator>,
    /// What was asked.
    pub calls: Calls,
    /// Who undoes.
    pub undoing: Arc<Undoing>,
    journal: Arc<Scribe>,
    wakes: mpsc::Receiver<()>,
    stores: BTreeMap<StoreName, Arc<dyn Connector>>,
    in_doubt: Arc<Mutex<Vec<(StoreName, BranchId)>>>,
}

impl Stage {
    /// With stores `a`, `b` and `c`.
    pub fn new() -> Self {
        Self::audited(Audit::off())
    }

    /// The same where somebody hears of promises that were broken.
    pub fn audited(audit: Arc<Audit>) -> Self {
        let calls = Calls::default();
        let journal = Arc::new(Scribe { inner: MemoryJournal::new(), calls: calls.clone() });
        let (wake, wakes) = mpsc::channel(1);
        let shared: Arc<dyn Journal> = Arc::<Scribe>::clone(&journal);
        let coordinator = Coordinator::new(shared, Arc::default(), Points::default(), wake, audit);
        let undoing = Arc::new(Undoing { calls: calls.clone(), failures: AtomicU64::new(0), code: Mutex::default() });
        let compensator: Arc<dyn Compensator> = Arc::<Undoing>::clone(&undoing);
        coordinator.compensate_with(compensator);
        let in_doubt = Arc::default();
        let mut stage = Self { coordinator, calls, undoing, journal, wakes, stores: BTreeMap::new(), in_doubt };
        for name in ["a", "b", "c"] {
            stage.store(name, None);
        }
        stage
    }

    /// Another store of that name, whose table of marks can be made or not.
    pub fn store(&mut self, name: &str, fails: Option<StoreError>) {
        self.put(name, fails, None);
    }

    /// Another store of that name, which ends no branch.
    pub fn resolves_with(&mut self, name: &str, refuses: StoreError) {
        self.put(name, None, Some(refuses));
    }

    fn put(&mut self, name: &str, fails: Option<StoreError>, refuses: Option<StoreError>) {
        let (calls, in_doubt) = (self.calls.clone(), Arc::clone(&self.in_doubt));
        let shop: Arc<dyn Connector> = Arc::new(Shop { name: StoreName::new(name), calls, in_doubt, fails, refuses });
        self.stores.insert(StoreName::new(name), shop);
    }

    /// The stores.
    pub fn stores(&self) -> &BTreeMap<StoreName, Arc<dyn Connector>> {
        &self.stores
    }

    /// The store `a` holds a branch that nobody has ended.
    pub fn doubts(&self, id: BranchId) {
        self.doubts_in("a", id);
    }

    /// A store holds one.
    pub fn doubts_in(&self, name: &str, id: BranchId) {
        self.in_doubt.lock().unwrap_or_else(PoisonError::into_inner).push((StoreName::new(name), id));
    }

    /// A branch.
    pub fn branch(&self, name: &str, part: Part) -> Fake {
        let (name, calls) = (StoreName::new(name), self.calls.clone());
        let asked_part = AtomicBool::new(false);
        Fake { name, part, later: None, asked_part, vote: Vote::Yes, calls, fails: BTreeMap::new(), waits: None, dies: None }
    }

    /// What the next forced record is answered with.
    pub fn log_fails(&self, error: JournalError) {
        self.journal.inner.fail_next(error);
    }

    /// The records that the log has.
    pub fn records(&self) -> Vec<Record> {
        self.journal.inner.records().into_iter().map(|(record, _)| record).collect()
    }

    /// What a session of `ada` asks.
    pub fn asked(&self, several: Several, steps: &[(&str, &str)]) -> Asked {
        let step = |(store, undo): &(&str, &str)| Step { store: StoreName::new(store), undo: vec![(*undo).to_owned()] };
        let steps = steps.iter().map(step).collect();
        Asked { role: "ada".to_owned(), several, steps, gid: None, stores: Arc::new(self.stores.clone()) }
    }

    /// Commits, all or none.
    pub async fn commit(&self, branches: Vec<Fake>) -> Result<Committed, Diagnosis> {
        self.commit_so(branches, self.asked(Several::Atomic, &[])).await
    }

    /// Commits.
    pub async fn commit_so(&self, branches: Vec<Fake>, asked: Asked) -> Result<Committed, Diagnosis> {
        let named = |branch: Fake| -> (StoreName, Arc<dyn Branch>) { (branch.name.clone(), Arc::new(branch)) };
        self.coordinator.commit(branches.into_iter().map(named).collect(), asked).await
    }

    /// Waits for what follows the answers, and gives all calls. The log has nothing open then that nobody is going to end.
    pub async fn settled(&self) -> Vec<String> {
        self.coordinator.stop(Duration::from_secs(5)).await;
        let known: Vec<Gid> = self.coordinator.open().left().iter().map(|left| left.gid).collect();
        for left in Unfinished::of(&self.records()).left() {
            assert!(known.contains(&left.gid), "{left:?} is left in the log");
        }
        self.calls.all()
    }

    /// Whether a round of the recovery was asked for since the last call.
    pub fn was_woken(&mut self) -> bool {
        self.wakes.try_recv().is_ok()
    }

    /// What is known of the branch of a store in the first transaction.
    pub fn standing(&self, store: &str) -> Standing {
        self.coordinator.open().standing(&first().of_store(&StoreName::new(store)))
    }

    /// The first transaction as it is shown.
    pub fn shown(&self) -> Transaction {
        self.coordinator.shown().get(first()).unwrap()
    }

    /// The state and the pending stores of it.
    pub fn state(&self) -> (State, Vec<String>) {
        let shown = self.shown();
        (shown.state, shown.pending.iter().map(ToString::to_string).collect())
    }
}

/// The first name that [`MemoryJournal`] gives.
pub(super) fn first() -> Gid {
    Numbers::new(LogId(0xa1), 1).next()
}
