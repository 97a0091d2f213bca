//! Every step of a commit, and every answer that it may get there.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Semaphore;

use super::super::commit::unknown_gid;
use super::super::coordinator::Several;
use super::super::fakes::{Fake, Stage, first, late, lost, remote, unknown};
use super::super::open::Standing;
use super::*;
use crate::stores::commit::LogId;
use crate::stores::connector::ScanLimits;
use crate::stores::position::Position;
use crate::stores::{BatchStream, Branch, Scan, Table};
use crate::telemetry::audit::{Audit, AuditSettings};

const P: Part = Part::Prepared;

fn disk_full() -> JournalError {
    JournalError::Refused(Diagnosis::new(sqlstate::DISK_FULL, "the log is full"))
}

fn no_answer() -> JournalError {
    JournalError::Unknown(Diagnosis::new(sqlstate::IO_ERROR, "the log does not answer"))
}

fn names(names: &[&str]) -> Vec<StoreName> {
    names.iter().map(|name| StoreName::new(name)).collect()
}

#[tokio::test]
async fn a_transaction_is_committed_by_the_name_that_it_was_given_before_or_not_at_all() {
    let stage = Stage::new();
    let branches = || vec![stage.branch("a", P), stage.branch("b", P)];
    let named = |gid: Gid| Asked { gid: Some(gid), ..stage.asked(Several::Atomic, &[]) };
    let (gid, later) = (stage.coordinator.name(), stage.coordinator.name());
    let told = stage.commit_so(branches(), named(later)).await.unwrap();
    assert_eq!(told.gid, Some(later));
    assert_eq!(stage.commit_so(branches(), named(gid)).await.unwrap().gid, Some(gid));
    for other in [Gid { log: LogId(0xbb), ..gid }, Gid { number: gid.number - 1, ..gid }, Gid { number: gid.number + 9, ..gid }] {
        let before = stage.calls.all().len();
        let told = stage.commit_so(branches(), named(other)).await.unwrap_err();
        assert_eq!((told.sqlstate.as_str(), told.detail.as_deref()), ("40001", Some("Everything was rolled back.")));
        assert_eq!(stage.coordinator.shown().get(other), None);
        // The log may be told only now that those before have ended.
        let mut calls = stage.calls.all().split_off(before);
        calls.retain(|call| !call.starts_with("log done"));
        calls.sort_unstable();
        assert_eq!(calls, ["a rollback", "b rollback"], "{other}");
    }
    // One store needs no log.
    let told = stage.commit_so(vec![stage.branch("a", P)], named(Gid { log: LogId(0xbb), ..gid })).await.unwrap();
    assert_eq!((told.gid, told.guarantee.word()), (None, "single store"));
}

/// The fate of a branch that is left.
fn fate(standing: Standing) -> Fate {
    match standing {
        Standing::Left(left) => left.fate,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn stores_that_are_prepared_are_decided_by_one_record() {
    let mut stage = Stage::new();
    let told = stage.commit(vec![stage.branch("b", P), stage.branch("a", P)]).await.unwrap();
    assert_eq!(told.guarantee, Guarantee::TwoPhase(names(&["b", "a"])));
    assert_eq!((told.gid, told.late), (Some(first()), Vec::new()));
    assert_eq!(stage.state(), (State::Committed, Vec::new()));
    let calls = stage.settled().await;
    assert_eq!(calls, ["b prepare", "a prepare", "log commit!", "b keep", "a keep", "log done"]);
    assert_eq!((stage.standing("a"), stage.was_woken()), (Standing::Unknown, false));
    assert!(stage.coordinator.open().take_marks(9).is_empty());
    assert_eq!(stage.coordinator.shown().counts(), [("two-phase", "committed", 1)]);
}

#[tokio::test]
async fn one_store_that_is_not_prepared_decides_with_its_mark() {
    let mut stage = Stage::new();
    let told = stage.commit(vec![stage.branch("c", Part::Last), stage.branch("a", P)]).await.unwrap();
    assert_eq!(told.guarantee, Guarantee::LastResource { prepared: names(&["a"]), last: names(&["c"]) });
    let calls = stage.settled().await;
    let expected = ["c install tributary_marks", "a prepare", "log begin!", "c mark", "c commit", "a keep", "log done"];
    assert_eq!(calls, expected);
    let mark = MarkId { gid: first(), of: MarkOf::All };
    assert_eq!(stage.coordinator.open().take_marks(9), [(StoreName::new("c"), mark)]);
    assert!(matches!(&stage.records()[0], Record::Begin { last, branches, .. } if last.as_str() == "c" && branches.len() == 1));
    assert!(!stage.was_woken());
}

/// The positions that a commit tells, as the fakes write them.
fn positions(told: &Committed) -> Vec<(&str, &str)> {
    told.positions.iter().map(|position| (position.store.as_str(), std::str::from_utf8(&position.token).unwrap())).collect()
}

#[tokio::test]
async fn positions_are_told_of_those_stores_that_have_answered() {
    let stage = Stage::new();
    let told = stage.commit(vec![stage.branch("a", P), stage.branch("c", Part::Last), stage.branch("b", P)]).await.unwrap();
    assert_eq!(positions(&told), [("c", "commit"), ("a", "keep"), ("b", "keep")]);
    let late = vec![stage.branch("a", P), stage.branch("b", P).fails("keep", lost())];
    let told = stage.commit(late).await.unwrap();
    assert_eq!(positions(&told), [("a", "keep")]);
    assert_eq!(told.late, names(&["b"]));
    let told = stage.commit(vec![stage.branch("a", P)]).await.unwrap();
    assert_eq!(positions(&told), [("a", "commit")]);
}

#[tokio::test]
async fn the_table_of_marks_is_made_once_for_a_connector() {
    let mut stage = Stage::new();
    let both = |stage: &Stage| vec![stage.branch("a", P), stage.branch("c", Part::Last)];
    stage.commit(both(&stage)).await.unwrap();
    stage.commit(both(&stage)).await.unwrap();
    stage.store("c", None);
    stage.commit(both(&stage)).await.unwrap();
    // The table may be gone when a mark is refused.
    let refused = vec![stage.branch("a", P), stage.branch("c", Part::Last).fails("mark", remote("42P01"))];
    stage.commit(refused).await.unwrap_err();
    stage.commit(both(&stage)).await.unwrap();
    let made = stage.calls.all().into_iter().filter(|call| call.starts_with("c install")).count();
    assert_eq!(made, 3);
}

/// What a failure leads to: the code, a part of the detail, and the calls.
type Row = (Vec<Fake>, &'static str, &'static str, &'static [&'static str]);

fn row(branches: Vec<Fake>, code: &'static str, detail: &'static str, calls: &'static [&'static str]) -> Row {
    (branches, code, detail, calls)
}

async fn check(rows: impl Fn(&Stage) -> Vec<Row>) {
    let count = rows(&Stage::new()).len();
    for place in 0..count {
        let stage = Stage::new();
        let (branches, code, detail, expected) = rows(&stage).swap_remove(place);
        let told = stage.commit(branches).await.unwrap_err();
        assert_eq!(told.sqlstate, code, "row {place}: {told:?}");
        assert!(told.detail.as_deref().unwrap_or_default().contains(detail), "row {place}: {told:?}");
        let calls = stage.settled().await;
        let asked: Vec<&str> = calls.iter().map(String::as_str).filter(|call| !call.contains("install")).collect();
        assert_eq!(asked, expected, "row {place}");
        let state = if code == "08007" { State::Unknown } else { State::RolledBack };
        assert_eq!(stage.shown().state, state, "row {place}");
        assert_eq!(unknown_gid(&told).is_some(), code == "08007", "row {place}");
    }
}

#[tokio::test]
async fn whoever_refuses_before_the_decision_rolls_all_back() {
    const BACK: &str = "Everything was rolled back.";
    const NONE: &str = "Nothing was committed: no decision was made.";
    check(|stage| {
        let last = || stage.branch("c", Part::Last);
        let a = || stage.branch("a", P);
        let b = || stage.branch("b", P);
        vec![
            row(vec![a().fails("prepare", remote("23503")), b()], "23503", BACK, &["a prepare", "b prepare", "b drop"]),
            row(vec![a(), b().fails("prepare", remote("40001"))], "40001", BACK, &["a prepare", "b prepare", "a drop"]),
            row(vec![a().fails("prepare", lost()), b()], "08006", NONE, &["a prepare", "b prepare", "b drop"]),
            row(vec![a(), b().fails("prepare", late())], "08006", NONE, &["a prepare", "b prepare", "a drop"]),
            row(vec![a(), b().fails("prepare", unknown())], "08006", NONE, &["a prepare", "b prepare", "a drop"]),
            row(
                vec![a().fails("prepare", lost()), b().fails("prepare", remote("23503"))],
                "23503",
                BACK,
                &["a prepare", "b prepare"],
            ),
            row(vec![a().reads(), b().fails("prepare", remote("23503"))], "23503", BACK, &["a prepare", "b prepare"]),
            row(
                vec![a().fails("prepare", remote("23503")), b().fails("drop", lost())],
                "23503",
                BACK,
                &["a prepare", "b prepare", "b drop"],
            ),
            row(
                vec![a().fails("prepare", remote("23503")), last()],
                "23503",
                BACK,
                &["a prepare", "log begin!", "c mark", "c rollback", "log done"],
            ),
            row(
                vec![last().fails("mark", remote("42501")), a()],
                "42501",
                BACK,
                &["a prepare", "log begin!", "c mark", "a drop", "c rollback", "log done"],
            ),
            row(
                vec![last().fails("mark", lost()), a()],
                "08006",
                NONE,
                &["a prepare", "log begin!", "c mark", "a drop", "c rollback", "log done"],
            ),
            row(
                vec![last().fails("commit", remote("40001")), a()],
                "40001",
                BACK,
                &["a prepare", "log begin!", "c mark", "c commit", "a drop", "log done"],
            ),
        ]
    })
    .await;
}

#[tokio::test]
async fn nothing_is_ended_after_a_decision_that_has_no_answer() {
    const CALLS: &[&str] = &["a prepare", "log begin!", "c mark", "c commit"];
    check(|stage| {
        let both = |error| vec![stage.branch("a", P), stage.branch("c", Part::Last).fails("commit", error)];
        let errors = [lost(), late(), unknown(), StoreError::Cancelled, remote("57P01"), remote("08006"), remote("40003")];
        errors.into_iter().map(|error| (both(error), "08007", "", CALLS)).collect()
    })
    .await;
    let mut stage = Stage::new();
    let told = stage.commit(vec![stage.branch("a", P), stage.branch("c", Part::Last).fails("commit", unknown())]).await;
    assert_eq!(unknown_gid(&told.unwrap_err()), Some(first()));
    let Standing::Left(left) = stage.standing("a") else { panic!("{:?}", stage.standing("a")) };
    assert!(matches!(&left.fate, Fate::AskLast { store, .. } if store.as_str() == "c"));
    assert_eq!((left.mark, stage.was_woken()), (Some(StoreName::new("c")), true));
    assert_eq!(stage.coordinator.shown().counts(), [("last resource", "unknown", 1)]);
}

#[tokio::test]
async fn a_log_that_refuses_rolls_all_back() {
    let stage = Stage::new();
    stage.log_fails(disk_full());
    let told = stage.commit(vec![stage.branch("a", P), stage.branch("b", P)]).await.unwrap_err();
    assert_eq!((told.sqlstate.as_str(), told.detail.as_deref()), ("53100", Some("Everything was rolled back.")));
    assert_eq!(stage.settled().await, ["a prepare", "b prepare", "log commit!", "a drop", "b drop"]);
    assert_eq!(stage.standing("a"), Standing::Unknown);
    for error in [disk_full(), no_answer()] {
        let stage = Stage::new();
        stage.log_fails(error);
        let told = stage.commit(vec![stage.branch("a", P), stage.branch("c", Part::Last)]).await.unwrap_err();
        assert!(["53100", "58030"].contains(&told.sqlstate.as_str()), "{told:?}");
        let calls = stage.settled().await;
        assert_eq!(calls[1..], ["a prepare", "log begin!", "c mark", "a drop", "c rollback"]);
    }
}

#[tokio::test]
async fn a_log_that_does_not_answer_leaves_the_decision_to_the_next_start() {
    let stage = Stage::new();
    stage.log_fails(no_answer());
    let told = stage.commit(vec![stage.branch("a", P), stage.branch("b", P)]).await.unwrap_err();
    assert_eq!((told.sqlstate.as_str(), unknown_gid(&told)), ("08007", Some(first())));
    assert_eq!(stage.calls.all(), ["a prepare", "b prepare", "log commit!"]);
    assert_eq!((fate(stage.standing("a")), fate(stage.standing("b"))), (Fate::Unwritten, Fate::Unwritten));
    assert_eq!(stage.state().0, State::Unknown);
    // Later ones are refused before anything is prepared; one store is committed as ever.
    let told = stage.commit(vec![stage.branch("a", P), stage.branch("b", P)]).await.unwrap_err();
    assert_eq!(told.sqlstate, "58030");
    stage.commit(vec![stage.branch("a", P)]).await.unwrap();
    assert_eq!(stage.settled().await[3..], ["a rollback", "b rollback", "a commit"]);
}

#[tokio::test]
async fn a_store_that_does_not_answer_after_the_decision_follows() {
    for (error, is_missing) in [(lost(), false), (late(), false), (remote("57P01"), false), (remote("42704"), true)] {
        let mut stage = Stage::new();
        let told = stage.commit(vec![stage.branch("a", P).fails("keep", error), stage.branch("b", P)]).await.unwrap();
        let (expected, others) = if is_missing { (told.missing, told.late) } else { (told.late, told.missing) };
        assert_eq!((expected, others), (names(&["a"]), Vec::new()));
        assert_eq!((stage.state(), stage.was_woken()), ((State::Committing, vec!["a".to_owned()]), true));
        assert_eq!(stage.settled().await, ["a prepare", "b prepare", "log commit!", "a keep", "b keep"]);
        assert_eq!(fate(stage.standing("a")), Fate::Commit);
    }
    let stage = Stage::new();
    stage.commit(vec![stage.branch("c", Part::Last), stage.branch("a", P).fails("keep", lost())]).await.unwrap();
    let Standing::Left(left) = stage.standing("a") else { panic!("{:?}", stage.standing("a")) };
    assert_eq!((left.fate, left.mark), (Fate::Commit, Some(StoreName::new("c"))));
    assert!(stage.coordinator.open().take_marks(9).is_empty());
}

#[tokio::test]
async fn a_store_without_what_it_promised_is_told_of() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("audit.jsonl");
    let settings = AuditSettings { file: Some(file.clone()), writes: false, values: false, rotate: 1 << 20, keep: 1 };
    let audit = Audit::start(&settings).unwrap();
    let mut stage = Stage::audited(Arc::clone(&audit));
    let branches = vec![
        stage.branch("a", P).fails("keep", lost()),
        stage.branch("b", P).fails("keep", remote("42704")),
        stage.branch("c", P).fails("keep", late()),
    ];
    let told = stage.commit(branches).await.unwrap();
    assert_eq!((told.late, told.missing), (names(&["a", "c"]), names(&["b"])));
    assert_eq!(stage.state().1, ["a", "c", "b"]);
    audit.close().await;
    let written = std::fs::read_to_string(file).unwrap();
    let line: serde_json::Value = serde_json::from_str(&written).unwrap();
    let (gid, branch) = (first().to_string(), first().of_store(&StoreName::new("b")).to_string());
    let fields = ["event", "role", "gid", "store", "branch"].map(|key| line[key].as_str().unwrap_or_default().to_owned());
    assert_eq!(fields, ["heuristic", "ada", gid.as_str(), "b", branch.as_str()]);
    let error = stage.shown().error.unwrap();
    assert_eq!(error, "store \"b\" does not have what it had promised to commit: refused");
    assert_eq!((stage.state().0, stage.was_woken()), (State::Committing, true));
    let stage = Stage::new();
    stage.commit(vec![stage.branch("a", P).fails("keep", lost()), stage.branch("b", P)]).await.unwrap();
    assert_eq!(stage.shown().error, Some(lost().to_string()));
}

#[tokio::test]
async fn who_has_no_place_for_a_prepared_transaction_hears_of_the_setting() {
    let full = |code: &str, detail: &str| StoreError::Remote {
        store: "a".to_owned(),
        sqlstate: code.to_owned(),
        message: "maximum number of prepared transactions reached".to_owned(),
        detail: Some(detail.to_owned()),
        constraint: None,
        site: None,
    };
    let hint = Some("Raise max_prepared_transactions in the store.".to_owned());
    let increase = "Increase \"max_prepared_transactions\" (currently 1).";
    for (error, expected) in
        [(full("53200", increase), hint), (full("53200", "Failed on request of size 8."), None), (full("53400", increase), None)]
    {
        let stage = Stage::new();
        let told = stage.commit(vec![stage.branch("a", P).fails("prepare", error), stage.branch("b", P)]).await.unwrap_err();
        assert_eq!(told.hint, expected, "{told:?}");
        assert!(told.detail.unwrap().ends_with("Everything was rolled back."));
    }
}

#[tokio::test]
async fn who_has_nothing_to_keep_drops_out() {
    let stage = Stage::new();
    stage.commit(vec![stage.branch("a", P).reads(), stage.branch("b", P)]).await.unwrap();
    assert_eq!(stage.settled().await, ["a prepare", "b prepare", "log commit!", "b keep", "log done"]);
    assert!(matches!(&stage.records()[0], Record::Commit { branches, .. } if branches.len() == 1));
    let stage = Stage::new();
    let told = stage.commit(vec![stage.branch("a", P).reads(), stage.branch("b", P).reads()]).await.unwrap();
    assert!(told.late.is_empty());
    assert_eq!(stage.settled().await, ["a prepare", "b prepare"]);
    let stage = Stage::new();
    stage.commit(vec![stage.branch("a", P).reads(), stage.branch("c", Part::Last)]).await.unwrap();
    assert_eq!(stage.settled().await[1..], ["a prepare", "log begin!", "c mark", "c commit", "log done"]);
}

#[tokio::test]
async fn what_cannot_be_committed_together_is_rolled_back() {
    let stage = Stage::new();
    let told = stage.commit(vec![stage.branch("a", Part::Last), stage.branch("b", Part::Last)]).await.unwrap_err();
    assert_eq!(told.sqlstate, "0A000");
    assert!(told.detail.unwrap().ends_with("can take part. Everything was rolled back."));
    let told = stage.commit(vec![stage.branch("a", P), stage.branch("b", Part::Alone("it is alone"))]).await.unwrap_err();
    assert_eq!(told.sqlstate, "0A000");
    assert_eq!(stage.settled().await, ["a rollback", "b rollback", "a rollback", "b rollback"]);
    let mut stage = Stage::new();
    stage.store("c", Some(remote("42501")));
    let told = stage.commit(vec![stage.branch("a", P), stage.branch("c", Part::Last)]).await.unwrap_err();
    assert_eq!(told.sqlstate, "42501");
    assert_eq!(stage.settled().await[1..], ["a rollback", "c rollback"]);
}

/// A branch that began with a name of a log which has been replaced since.
#[derive(Debug)]
struct Elder(Fake);

#[async_trait]
impl Branch for Elder {
    async fn scan(&self, table: &Arc<Table>, scan: &Scan, limits: ScanLimits) -> Result<BatchStream, StoreError> {
        self.0.scan(table, scan, limits).await
    }

    fn shared_snapshot(&self) -> Result<(), &'static str> {
        Ok(())
    }

    fn has_written(&self) -> bool {
        true
    }

    fn part(&self) -> Part {
        P
    }

    fn branch_id(&self, store: &StoreName, gid: Gid) -> BranchId {
        BranchId { log: LogId(gid.log.0 + 1), ..gid.of_store(store) }
    }

    async fn prepare(&self, id: &BranchId) -> Result<Vote, StoreError> {
        self.0.prepare(id).await
    }

    async fn commit(&self) -> Result<Option<Position>, StoreError> {
        self.0.commit().await
    }

    async fn rollback(&self) -> Result<(), StoreError> {
        self.0.rollback().await
    }
}

#[tokio::test]
async fn a_name_of_another_log_is_not_prepared() {
    let stage = Stage::new();
    let elder = |stage: &Stage| -> (StoreName, Arc<dyn Branch>) { (StoreName::new("a"), Arc::new(Elder(stage.branch("a", P)))) };
    let other: (StoreName, Arc<dyn Branch>) = (StoreName::new("b"), Arc::new(stage.branch("b", P)));
    let asked = stage.asked(Several::Atomic, &[]);
    let told = stage.coordinator.commit(vec![elder(&stage), other], asked.clone()).await.unwrap_err();
    assert_eq!((told.sqlstate.as_str(), told.hint.as_deref()), ("40001", Some("The transaction may be tried again.")));
    // Alone it asks no log.
    stage.coordinator.commit(vec![elder(&stage)], asked).await.unwrap();
    assert_eq!(stage.settled().await, ["a rollback", "b rollback", "a commit"]);
}

#[tokio::test]
async fn without_a_log_one_store_is_committed_and_several_are_not() {
    let (stage, coordinator) = (Stage::new(), Coordinator::without_log());
    let asked = stage.asked(Several::Atomic, &[]);
    let named = |name: &str| -> (StoreName, Arc<dyn Branch>) { (StoreName::new(name), Arc::new(stage.branch(name, P))) };
    let told = coordinator.commit(vec![named("a"), named("b")], asked.clone()).await.unwrap_err();
    assert_eq!(told.sqlstate, "0A000");
    let told = coordinator.commit(vec![named("a")], asked).await.unwrap();
    assert_eq!((told.guarantee, told.gid), (Guarantee::OneStore(StoreName::new("a")), None));
    assert_eq!(stage.calls.all(), ["a rollback", "b rollback", "a commit"]);
}

#[tokio::test]
async fn nobody_is_forgotten_who_takes_part_otherwise_than_was_checked() {
    let stage = Stage::new();
    stage.commit(vec![stage.branch("c", Part::Last), stage.branch("a", P).turns(Part::Last)]).await.unwrap();
    let calls = stage.settled().await;
    let asked: Vec<&str> =
        calls.iter().map(String::as_str).filter(|call| call.starts_with("a ") && !call.contains("install")).collect();
    assert_eq!(asked, ["a prepare", "a keep"]);
}

#[tokio::test]
async fn a_session_that_goes_away_does_not_stop_its_commit() {
    let (stage, gate) = (Stage::new(), Arc::new(Semaphore::new(0)));
    let commit = stage.commit(vec![stage.branch("a", P), stage.branch("b", P).waits("prepare", &gate)]);
    assert!(tokio::time::timeout(Duration::from_millis(20), commit).await.is_err());
    assert_eq!((stage.standing("a"), stage.standing("b")), (Standing::UnderWay, Standing::UnderWay));
    assert_eq!(stage.state().0, State::Preparing);
    gate.add_permits(1);
    let calls = stage.settled().await;
    assert_eq!(calls, ["a prepare", "b prepare", "log commit!", "a keep", "b keep", "log done"]);
    assert_eq!(stage.state().0, State::Committed);
}

#[tokio::test]
async fn a_task_that_dies_leaves_what_was_certain() {
    let mut stage = Stage::new();
    let told = stage.commit(vec![stage.branch("a", P), stage.branch("b", P).dies("prepare")]).await.unwrap_err();
    assert_eq!((told.sqlstate.as_str(), stage.standing("a")), ("08007", Standing::Unknown));
    assert_eq!((stage.state().0, stage.was_woken()), (State::RolledBack, true));
    let mut stage = Stage::new();
    stage.commit(vec![stage.branch("a", P), stage.branch("c", Part::Last).dies("commit")]).await.unwrap_err();
    assert!(matches!(fate(stage.standing("a")), Fate::AskLast { .. }));
    assert_eq!((stage.state().0, stage.was_woken()), (State::Unknown, true));
    // The log may know of it from the moment at which the stores are asked.
    let mut stage = Stage::new();
    stage.commit(vec![stage.branch("a", P).dies("prepare"), stage.branch("c", Part::Last)]).await.unwrap_err();
    assert!(matches!(fate(stage.standing("a")), Fate::AskLast { .. }));
    assert_eq!((stage.state().0, stage.was_woken()), (State::Unknown, true));
    let stage = Stage::new();
    stage.commit(vec![stage.branch("a", P).dies("keep"), stage.branch("b", P)]).await.unwrap_err();
    assert_eq!(fate(stage.standing("b")), Fate::Commit);
}

#[tokio::test]
async fn a_stop_waits_for_commits_and_cuts_off_what_takes_longer() {
    let (stage, gate) = (Stage::new(), Arc::new(Semaphore::new(0)));
    let commit = stage.commit(vec![stage.branch("a", P).waits("keep", &gate), stage.branch("b", P)]);
    let (told, ()) = join(commit, async {
        tokio::time::sleep(Duration::from_millis(10)).await;
        stage.coordinator.stop(Duration::from_millis(20)).await;
    })
    .await;
    assert_eq!((told.unwrap_err().sqlstate.as_str(), fate(stage.standing("a"))), ("08007", Fate::Commit));
    let told = stage.commit(vec![stage.branch("a", P), stage.branch("b", P)]).await.unwrap_err();
    assert_eq!(told.sqlstate, "57P01");
    assert_eq!(stage.calls.all()[5..], ["a rollback", "b rollback"]);
}
