//! Rounds of instances that share their stores, and a table with their logs.

use super::*;
use crate::write::log::shelf::{Handle, Store};

/// An instance, its log, and its connection to the table.
struct Instance {
    stage: Stage,
    log: Arc<TableLog>,
    handle: Arc<Handle>,
}

impl Instance {
    async fn new(store: &Arc<Store>, number: u32, shelves: &Shelves) -> Self {
        let handle = Handle::new(store, number);
        let log = TableLog::open("s", Arc::<Handle>::clone(&handle), None).await;
        let shared: Arc<dyn Journal> = Arc::<TableLog>::clone(&log);
        let stage = Stage::over(shared, Some(Arc::clone(&log)), (Arc::default(), shelves.clone()));
        Self { stage, log, handle }
    }

    fn next(&self) -> Gid {
        self.log.numbers().next()
    }

    async fn forced(&self, record: Record) {
        self.log.append(record, true).await.unwrap();
    }

    /// A saga whose first step is known to be committed is written down, and nobody goes on with it.
    async fn leave_saga(&self) -> (Gid, SagaLeft) {
        let gid = self.next();
        let Fate::Saga(left) = saga(1, &[0]).fate else { panic!("no saga") };
        let record = Record::Saga { gid, role: left.role.clone(), steps: left.steps.clone() };
        self.forced(record).await;
        self.forced(Record::Stepped { gid, step: 0 }).await;
        (gid, left)
    }

    /// The connection to the table breaks, and that is noticed.
    async fn lose(&self, log: LogId) {
        self.handle.cut();
        assert!(!self.log.still_holds(log).await);
    }

    fn undone(&self) -> Vec<String> {
        self.stage.undoing.0.lock().unwrap().clone()
    }
}

fn shelves() -> Shelves {
    ["a", "b", "c"].map(|name| (name, Arc::default())).into_iter().collect()
}

fn says(shelves: &Shelves, store: &str, verdict: Verdict) {
    *shelves[store].verdict.lock().unwrap() = Some(verdict);
}

/// The transactions with records in a log.
fn in_log(store: &Store, log: LogId) -> BTreeSet<Gid> {
    let rows = store.rows.lock().unwrap();
    rows[&log].2.iter().flat_map(|bytes| crate::write::log::record::take_all(bytes).unwrap()).map(|record| record.gid()).collect()
}

#[tokio::test]
async fn a_saga_of_an_instance_that_is_gone_is_ended_though_no_store_lists_it() {
    let (store, shelves) = (Arc::new(Store::default()), shelves());
    let first = Instance::new(&store, 1, &shelves).await;
    let (gid, _) = first.leave_saga().await;
    let second = Instance::new(&store, 2, &shelves).await;
    says(&shelves, "b", Verdict::Commit);
    says(&shelves, "c", Verdict::Abort);
    second.stage.recovery.round().await;
    assert!(second.undone().is_empty(), "its instance lives");
    first.handle.cut();
    second.stage.recovery.round().await;
    assert_eq!(second.undone(), ["ada b undo b", "ada a undo a"]);
    let shown = second.stage.recovery.shown().get(gid).unwrap();
    assert_eq!((shown.state, shown.role.as_str()), (State::RolledBack, "ada"));
    // The end was on disk before the marks went.
    assert!(in_log(&store, gid.log).is_empty());
    assert_eq!(second.stage.calls("a"), ["a forgets 2"]);
    // Nothing is left that the log would be needed for; a branch that is prepared late has it taken over once more.
    assert!(!second.log.holds(gid.log) && second.log.lost().is_empty());
    let late = Gid { number: gid.number + 1, ..gid }.of_store(&StoreName::new("a"));
    shelves["a"].listed.lock().unwrap().push(late);
    second.stage.recovery.round().await;
    assert_eq!(second.stage.calls("a"), [format!("a Abort {:x}", late.number)]);
    assert!(second.log.holds(gid.log), "it was named in this round");
    shelves["a"].listed.lock().unwrap().clear();
    second.stage.recovery.round().await;
    assert!(!second.log.holds(gid.log) && second.log.is_usable().is_ok());
}

#[tokio::test]
async fn what_another_instance_has_ended_is_not_ended_again() {
    let (store, shelves) = (Arc::new(Store::default()), shelves());
    let first = Instance::new(&store, 1, &shelves).await;
    let (gid, left) = first.leave_saga().await;
    let mut under_way = first.stage.recovery.coordinator.open().enter(gid, Vec::new());
    under_way.believe(Fate::Saga(left));
    drop(under_way);
    first.lose(gid.log).await;
    let second = Instance::new(&store, 2, &shelves).await;
    assert_eq!(second.log.numbers().log(), gid.log);
    ["b", "c"].into_iter().for_each(|name| says(&shelves, name, Verdict::Commit));
    second.stage.recovery.round().await;
    assert_eq!((second.undone().len(), in_log(&store, gid.log).len()), (0, 0), "it is committed");
    // Its marks are gone, and would say now that it is not.
    ["a", "b", "c"].into_iter().for_each(|name| says(&shelves, name, Verdict::Abort));
    first.stage.recovery.round().await;
    assert!(first.undone().is_empty() && first.stage.recovery.coordinator.open().has_left());
    second.handle.cut();
    first.stage.recovery.round().await;
    assert!(first.undone().is_empty());
    if !first.log.holds(gid.log) {
        first.log.take_over(gid.log).await.unwrap();
    }
    first.stage.recovery.round().await;
    assert!(first.undone().is_empty() && !first.stage.recovery.coordinator.open().has_left());
}

#[tokio::test]
async fn marks_go_only_with_an_end_that_is_in_the_log() {
    let (store, shelves) = (Arc::new(Store::default()), shelves());
    let first = Instance::new(&store, 1, &shelves).await;
    let (one, _) = first.leave_saga().await;
    let (two, _) = first.leave_saga().await;
    first.handle.is_away.store(true, Ordering::Relaxed);
    first.lose(one.log).await;
    // The log is away: what it is told now is lost.
    first.log.append(Record::Done { gid: one }, false).await.unwrap();
    let mark = |gid| (StoreName::new("a"), MarkId { gid, of: MarkOf::Step(0) });
    for gid in [one, two] {
        let (store, mark) = mark(gid);
        first.stage.recovery.coordinator.open().forget_later(store, mark);
    }
    first.stage.recovery.forget_marks().await;
    assert!(first.stage.calls("a").is_empty());
    first.handle.is_away.store(false, Ordering::Relaxed);
    first.log.take_over(one.log).await.unwrap();
    assert_eq!(in_log(&store, one.log).len(), 2);
    first.stage.recovery.forget_marks().await;
    assert_eq!(first.stage.calls("a"), ["a forgets 2"]);
    assert!(in_log(&store, one.log).is_empty(), "each has its own end");
}

#[tokio::test]
async fn a_take_says_nothing_of_what_was_decided_after_it() {
    let (store, shelves) = (Arc::new(Store::default()), shelves());
    let first = Instance::new(&store, 1, &shelves).await;
    let log = first.log.numbers().log();
    let mut renumbered = first.log.renumbered();
    first.lose(log).await;
    // Taken once more, and nobody has asked what was in it.
    renumbered.changed().await.unwrap();
    assert_eq!(first.log.numbers().log(), log);
    let gid = first.next();
    let named = Named { store: StoreName::new("a"), id: gid.of_store(&StoreName::new("a")) };
    let mut under_way = first.stage.recovery.coordinator.open().enter(gid, vec![named.clone()]);
    shelves["a"].listed.lock().unwrap().push(named.id);
    let lost = StoreError::OutcomeUnknown { store: "s".to_owned(), reason: String::new() };
    *first.handle.fails.lock().unwrap() = Some((lost, true));
    first.handle.cut();
    under_way.believe(Fate::Unwritten);
    first.log.append(Record::Commit { gid, branches: vec![named] }, true).await.unwrap_err();
    drop(under_way);
    first.stage.recovery.round().await;
    first.stage.recovery.round().await;
    assert_eq!(first.stage.calls("a"), [format!("a Commit {:x}", gid.number)]);
    assert!(!first.stage.recovery.coordinator.open().has_left());
    renumbered.changed().await.unwrap();
    // One that is certainly not in it is rolled back.
    let gid = first.next();
    let named = Named { store: StoreName::new("a"), id: gid.of_store(&StoreName::new("a")) };
    let mut under_way = first.stage.recovery.coordinator.open().enter(gid, vec![named.clone()]);
    shelves["a"].listed.lock().unwrap().push(named.id);
    under_way.believe(Fate::Unwritten);
    drop(under_way);
    first.stage.recovery.round().await;
    assert_eq!(first.stage.calls("a"), Vec::<String>::new(), "nobody has taken the log since");
    first.lose(gid.log).await;
    first.stage.recovery.round().await;
    first.stage.recovery.round().await;
    // The end of the other was not forced, and went with the connection: a store is told once more what it has done already.
    let told = first.stage.calls("a");
    assert!(told.contains(&format!("a Abort {:x}", gid.number)), "{told:?}");
    assert!(told.iter().all(|call| call.starts_with("a Commit") != call.ends_with(&format!("{:x}", gid.number))), "{told:?}");
    assert!(!first.stage.recovery.coordinator.open().has_left());
}
