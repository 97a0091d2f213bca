//! Rounds over stores in memory.

mod table;

use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;

use super::*;
use crate::catalog::commits::{State, Waits};
use crate::error::Diagnosis;
use crate::stores::commit::{Hint, InDoubt, MarkOf, Resolved, Verdict};
use crate::stores::connector::Capabilities;
use crate::stores::position::{Coverage, Position};
use crate::stores::{Branch, Predicate, Purpose, Pushdown, Scan, StoreError, StoreSchema, Table};
use crate::write::failpoint::Points;
use crate::write::log::memory::MemoryJournal;
use crate::write::log::{Journal, LoggedStep, Named, SagaLeft};
use crate::write::saga::Compensator;

type Then = Box<dyn FnOnce() + Send>;

/// A store that holds prepared branches.
#[derive(Default)]
struct Shelf {
    listed: Mutex<Vec<BranchId>>,
    /// What happens between the list and its way back.
    then: Mutex<Option<Then>>,
    is_away: AtomicBool,
    is_busy: AtomicBool,
    /// What it holds is not listed, and cannot be ended: it follows another server.
    is_standby: AtomicBool,
    /// What its marks say; nothing while it cannot say.
    verdict: Mutex<Option<Verdict>>,
    calls: Mutex<Vec<String>>,
}

impl fmt::Debug for Shelf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shelf").finish_non_exhaustive()
    }
}

/// A store with its name.
#[derive(Debug)]
struct Shop(StoreName, Arc<Shelf>);

impl Shop {
    fn away(&self) -> Result<(), StoreError> {
        if !self.1.is_away.load(Ordering::Relaxed) {
            return Ok(());
        }
        Err(StoreError::Unreachable { store: self.0.to_string(), reason: "Gone.".to_owned() })
    }

    fn note(&self, call: String) {
        self.1.calls.lock().unwrap().push(call);
    }
}

#[async_trait]
impl Connector for Shop {
    fn name(&self) -> &StoreName {
        &self.0
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
        Err(StoreError::Unsupported { store: self.0.to_string(), feature: "branches" })
    }

    fn covers(&self, _applied: &Position, _wanted: &Position) -> Coverage {
        Coverage::Incomparable
    }

    async fn in_doubt(&self) -> Result<Vec<InDoubt>, StoreError> {
        self.away()?;
        let is_standby = self.1.is_standby.load(Ordering::Relaxed);
        let held = self.1.listed.lock().unwrap().clone();
        let listed = held.into_iter().filter(|_| !is_standby).map(|id| InDoubt { id, prepared: None }).collect();
        let then = self.1.then.lock().unwrap().take();
        if let Some(then) = then {
            then();
        }
        Ok(listed)
    }

    async fn resolve(&self, id: &BranchId, verdict: Verdict) -> Result<Resolved, StoreError> {
        self.away()?;
        if self.1.is_standby.load(Ordering::Relaxed) {
            return Err(StoreError::remote(self.0.as_str(), "25006", "in recovery".to_owned()));
        }
        if self.1.is_busy.load(Ordering::Relaxed) && self.1.listed.lock().unwrap().contains(id) {
            return Ok(Resolved::Busy);
        }
        self.note(format!("{} {verdict:?} {:x}", self.0, id.number));
        let mut listed = self.1.listed.lock().unwrap();
        let before = listed.len();
        listed.retain(|listed| listed != id);
        Ok(if listed.len() < before { Resolved::Done } else { Resolved::Gone })
    }

    async fn decide(&self, mark: MarkId, _hint: &Hint) -> Result<Verdict, StoreError> {
        self.away()?;
        self.note(format!("{} decides {:?}", self.0, mark.of));
        let verdict = *self.1.verdict.lock().unwrap();
        verdict.ok_or_else(|| StoreError::remote(self.0.as_str(), "55P03", "not yet".to_owned()))
    }

    async fn forget(&self, marks: &[MarkId]) -> Result<(), StoreError> {
        self.note(format!("{} forgets {}", self.0, marks.len()));
        Ok(())
    }

    async fn close(&self) {}
}

/// Undoes what it is told to, and says so.
#[derive(Debug, Default)]
struct Undoing(Mutex<Vec<String>>);

#[async_trait]
impl Compensator for Undoing {
    async fn run(&self, role: &str, sql: &[String], store: &StoreName, _mark: MarkId) -> Result<(), Diagnosis> {
        self.0.lock().unwrap().push(format!("{role} {store} {}", sql.join(";")));
        Ok(())
    }
}

type Shelves = BTreeMap<&'static str, Arc<Shelf>>;

struct Stage {
    recovery: Arc<Recovery>,
    journal: Arc<MemoryJournal>,
    shelves: Shelves,
    undoing: Arc<Undoing>,
}

/// The log of the tests ([`MemoryJournal`]).
fn gid(number: u64) -> Gid {
    Gid { log: LogId(0xa1), number }
}

fn branch(number: u64, store: &str) -> Named {
    let store = StoreName::new(store);
    Named { id: gid(number).of_store(&store), store }
}

fn left(number: u64, fate: Fate, stores: &[&str], mark: Option<&str>) -> Left {
    let branches = stores.iter().map(|store| branch(number, store)).collect();
    Left { gid: gid(number), fate, branches, mark: mark.map(StoreName::new) }
}

fn ask(store: &str) -> Fate {
    Fate::AskLast { store: StoreName::new(store), hint: Hint::default() }
}

impl Stage {
    /// Stores `a`, `b` and `c`, and what a log had in it.
    fn new(left: Vec<Left>) -> Self {
        let journal = Arc::new(MemoryJournal::with_left(left));
        let shared: Arc<dyn Journal> = Arc::<MemoryJournal>::clone(&journal);
        let shelves = ["a", "b", "c"].map(|name| (name, Arc::default())).into_iter().collect();
        Self::over(shared, None, (journal, shelves))
    }

    /// Over any log, and stores that others may have too.
    fn over(shared: Arc<dyn Journal>, table: Option<Arc<TableLog>>, (journal, shelves): (Arc<MemoryJournal>, Shelves)) -> Self {
        let (wake, _wakes) = mpsc::channel(1);
        let coordinator = Coordinator::new(shared, Arc::default(), Points::default(), wake, Audit::off());
        let undoing = Arc::new(Undoing::default());
        coordinator.compensate_with(Arc::<Undoing>::clone(&undoing));
        let connectors: Connectors = shelves
            .iter()
            .map(|(name, shelf)| {
                let connector: Arc<dyn Connector> = Arc::new(Shop(StoreName::new(name), Arc::clone(shelf)));
                (StoreName::new(name), connector)
            })
            .collect();
        let connectors = Arc::new(connectors);
        let stores: Stores = Arc::new(move || Arc::clone(&connectors));
        let recovery = Recovery::new(coordinator, stores, table, Audit::off());
        Self { recovery, journal, shelves, undoing }
    }

    fn hold(&self, number: u64, store: &str) {
        self.shelves[store].listed.lock().unwrap().push(branch(number, store).id);
    }

    /// What was asked of a store since the last time.
    fn calls(&self, store: &str) -> Vec<String> {
        std::mem::take(&mut *self.shelves[store].calls.lock().unwrap())
    }

    /// Transactions that the log was told the end of.
    fn ended(&self) -> Vec<u64> {
        let records = self.journal.records();
        let ends = records.iter().filter(|(_, force)| !force).filter_map(|(record, _)| match record {
            Record::Done { gid } => Some(gid.number),
            _ => None,
        });
        ends.collect()
    }

    fn doubts(&self) -> Vec<(String, Waits, bool)> {
        let doubts = self.recovery.shown().in_doubt();
        doubts.into_iter().map(|doubt| (doubt.store.to_string(), doubt.waits, doubt.is_ours)).collect()
    }

    fn state(&self, number: u64) -> State {
        self.recovery.shown().get(gid(number)).unwrap().state
    }
}

#[test]
fn rounds_follow_soon_after_one_was_asked_for() {
    assert_eq!([pause(false, Duration::ZERO), pause(false, WATCH), pause(true, WATCH)], [SOON, LATER, SOON]);
    assert!(WATCH > Duration::from_secs(30), "for so long a silent connection may hold what it has prepared");
}

#[tokio::test]
async fn what_is_decided_ends_so_and_the_rest_is_rolled_back() {
    let stage = Stage::new(vec![
        left(1, Fate::Commit, &["a", "b"], None),
        left(2, ask("c"), &["a"], Some("c")),
        left(3, Fate::Abort, &["b"], None),
    ]);
    *stage.shelves["c"].verdict.lock().unwrap() = Some(Verdict::Commit);
    for (number, store) in [(1, "a"), (2, "a"), (3, "b"), (4, "b")] {
        stage.hold(number, store);
    }
    // Of somebody else.
    let other = Gid { log: LogId(0xbb), number: 1 }.of_store(&StoreName::new("b"));
    stage.shelves["b"].listed.lock().unwrap().push(other);
    stage.recovery.round().await;
    assert_eq!(stage.calls("a"), ["a Commit 1", "a Commit 2"]);
    assert_eq!(stage.calls("b"), ["b Abort 3", "b Abort 4", "b Commit 1"]);
    assert_eq!(stage.calls("c"), ["c decides All", "c forgets 1"]);
    assert_eq!(stage.ended(), [1, 2, 3]);
    // The mark went after the end was on disk.
    assert!(stage.journal.records().contains(&(Record::Done { gid: gid(2) }, true)));
    assert_eq!([stage.state(1), stage.state(2), stage.state(3)], [State::Committed, State::Committed, State::RolledBack]);
    assert_eq!(stage.doubts(), [("b".to_owned(), Waits::ForLog, false)]);
    assert!(!stage.recovery.has_open());
    assert_eq!(*stage.shelves["b"].listed.lock().unwrap(), [other]);
}

#[tokio::test]
async fn what_was_prepared_after_the_list_is_not_judged_by_it() {
    let stage = Stage::new(Vec::new());
    let (open, shelf) = (Arc::clone(stage.recovery.coordinator.open()), Arc::clone(&stage.shelves["a"]));
    // A commit is decided between the list and what is made of it, and its store does not answer to the decision.
    let then = move || {
        let mut under_way = open.enter(gid(7), vec![branch(7, "a")]);
        shelf.listed.lock().unwrap().push(branch(7, "a").id);
        under_way.believe(Fate::Commit);
    };
    *stage.shelves["a"].then.lock().unwrap() = Some(Box::new(then));
    stage.recovery.round().await;
    assert_eq!((stage.calls("a"), stage.ended()), (Vec::new(), Vec::new()));
    assert!(stage.recovery.has_open());
    stage.recovery.round().await;
    assert_eq!((stage.calls("a"), stage.ended()), (vec!["a Commit 7".to_owned()], vec![7]));
}

#[tokio::test]
async fn what_is_under_way_is_left_alone() {
    let stage = Stage::new(Vec::new());
    let under_way = stage.recovery.coordinator.open().enter(gid(7), vec![branch(7, "a")]);
    stage.hold(7, "a");
    stage.recovery.round().await;
    assert_eq!((stage.calls("a"), stage.doubts().len()), (Vec::new(), 0));
    drop(under_way);
    stage.recovery.round().await;
    assert_eq!(stage.calls("a"), ["a Abort 7"]);
}

#[tokio::test]
async fn a_store_that_does_not_answer_keeps_what_is_its_own_open() {
    let stage = Stage::new(vec![left(1, Fate::Commit, &["a", "b"], None), left(2, ask("c"), &["a"], Some("c"))]);
    stage.hold(1, "a");
    stage.hold(2, "a");
    stage.shelves["b"].is_away.store(true, Ordering::Relaxed);
    stage.recovery.round().await;
    assert_eq!(stage.calls("a"), ["a Commit 1"]);
    assert_eq!((stage.ended(), stage.doubts()), (Vec::new(), vec![("a".to_owned(), Waits::ForLast, true)]));
    assert_eq!(stage.recovery.shown().get(gid(1)).unwrap().pending, [StoreName::new("b")]);
    // What a store was seen to hold is shown while it is away.
    stage.shelves["a"].is_away.store(true, Ordering::Relaxed);
    stage.shelves["b"].is_away.store(false, Ordering::Relaxed);
    stage.recovery.round().await;
    assert_eq!(stage.doubts(), [("a".to_owned(), Waits::ForLast, true)]);
    assert_eq!(stage.ended(), Vec::<u64>::new(), "the answer of another round counts no more");
    stage.shelves["a"].is_away.store(false, Ordering::Relaxed);
    *stage.shelves["c"].verdict.lock().unwrap() = Some(Verdict::Abort);
    stage.shelves["a"].is_busy.store(true, Ordering::Relaxed);
    stage.recovery.round().await;
    assert_eq!((stage.ended(), stage.doubts()), (vec![1], vec![("a".to_owned(), Waits::ForStore, true)]));
    stage.shelves["a"].is_busy.store(false, Ordering::Relaxed);
    stage.recovery.round().await;
    let asked = vec!["a Commit 1".to_owned(), "a Abort 2".to_owned()];
    assert_eq!((stage.calls("a"), stage.ended(), stage.doubts().len()), (asked, vec![1, 2], 0));
    assert_eq!(stage.state(2), State::RolledBack);
}

#[tokio::test]
async fn a_list_that_is_empty_is_no_proof_of_a_commit() {
    let stage = Stage::new(vec![left(1, Fate::Commit, &["a", "b"], None), left(2, Fate::Abort, &["a"], None)]);
    stage.hold(1, "a");
    stage.shelves["a"].is_standby.store(true, Ordering::Relaxed);
    stage.recovery.round().await;
    // What is rolled back is so by default: whoever lists it later ends it so.
    assert_eq!((stage.ended(), stage.calls("b")), (vec![2], vec!["b Commit 1".to_owned()]));
    assert_eq!(stage.recovery.shown().get(gid(1)).unwrap().pending, [StoreName::new("a")]);
    assert!(stage.recovery.has_open());
    stage.shelves["a"].is_standby.store(false, Ordering::Relaxed);
    stage.recovery.round().await;
    assert_eq!((stage.calls("a"), stage.ended()), (vec!["a Commit 1".to_owned()], vec![2, 1]));
    assert_eq!(stage.state(1), State::Committed);
}

fn saga(number: u64, stepped: &[u16]) -> Left {
    let step =
        |store: &str| LoggedStep { store: StoreName::new(store), undo: vec![format!("undo {store}")], hint: Hint::default() };
    let steps = vec![step("a"), step("b"), step("c")];
    let fate = SagaLeft { role: "ada".to_owned(), steps, stepped: stepped.iter().copied().collect(), ..SagaLeft::default() };
    left(number, Fate::Saga(fate), &[], None)
}

#[tokio::test]
async fn a_saga_goes_back_unless_its_last_step_is_there() {
    let stage = Stage::new(vec![saga(1, &[0])]);
    // Nobody knows whether the second step is there.
    stage.recovery.round().await;
    assert_eq!((stage.ended(), stage.doubts()), (Vec::new(), vec![("b".to_owned(), Waits::ForStore, true)]));
    *stage.shelves["b"].verdict.lock().unwrap() = Some(Verdict::Commit);
    *stage.shelves["c"].verdict.lock().unwrap() = Some(Verdict::Abort);
    stage.recovery.round().await;
    assert_eq!(*stage.undoing.0.lock().unwrap(), ["ada b undo b", "ada a undo a"]);
    assert_eq!((stage.ended(), stage.state(1)), (vec![1], State::RolledBack));
    assert_eq!(stage.calls("a"), ["a forgets 2"], "the mark of the step and that of its undoing");
    let stage = Stage::new(vec![saga(1, &[0, 1])]);
    *stage.shelves["c"].verdict.lock().unwrap() = Some(Verdict::Commit);
    stage.recovery.round().await;
    assert!(stage.undoing.0.lock().unwrap().is_empty());
    assert_eq!((stage.ended(), stage.state(1)), (vec![1], State::Committed));
    assert_eq!(stage.calls("c"), [format!("c decides {:?}", MarkOf::Step(2)), "c forgets 1".to_owned()]);
}

#[tokio::test]
async fn a_saga_that_waits_for_help_is_shown_and_left() {
    let mut waiting = saga(1, &[0, 1]);
    if let Fate::Saga(saga) = &mut waiting.fate {
        saga.stuck = Some((1, "the row is gone".to_owned()));
    }
    let stage = Stage::new(vec![waiting]);
    for _ in 0..2 {
        stage.recovery.round().await;
        assert_eq!(stage.doubts(), [("b".to_owned(), Waits::ForHelp, true)]);
    }
    assert!(stage.undoing.0.lock().unwrap().is_empty() && stage.ended().is_empty());
    let doubt = stage.recovery.shown().in_doubt().remove(0);
    assert_eq!((doubt.role.as_deref(), doubt.reason.as_deref()), (Some("ada"), Some("the row is gone")));
}

#[tokio::test]
async fn a_saga_that_was_left_is_shown_where_it_is_left() {
    let mut waiting = saga(1, &[0, 1]);
    if let Fate::Saga(saga) = &mut waiting.fate {
        saga.undone.insert(1);
        saga.stuck = Some((0, "the row is gone".to_owned()));
    }
    let stage = Stage::new(vec![waiting, saga(2, &[0])]);
    let shown = |number: u64| {
        let shown = stage.recovery.shown().get(gid(number)).unwrap();
        let pending: Vec<String> = shown.pending.iter().map(ToString::to_string).collect();
        (shown.state, pending.join(" "), shown.error)
    };
    let stuck = (State::Compensating, "a".to_owned(), Some("the row is gone".to_owned()));
    assert_eq!(shown(1), stuck);
    assert_eq!(shown(2), (State::Unknown, "a b c".to_owned(), None), "no store has been asked yet");
    stage.recovery.round().await;
    assert_eq!(shown(1), stuck);
}
