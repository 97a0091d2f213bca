//! Steps, what undoes them, and every answer that they may get.

use super::super::commit::unknown_gid;
use super::super::coordinator::Several;
use super::super::fakes::{Fake, Stage, first, lost, remote, unknown};
use super::*;
use crate::stores::commit::Part;

const L: Part = Part::Last;
const STEPS: &[(&str, &str)] = &[("a", "undo a1"), ("b", "undo b1"), ("a", "undo a2")];

async fn commit(stage: &Stage, branches: Vec<Fake>) -> Result<Committed, Diagnosis> {
    stage.commit_so(branches, stage.asked(Several::Saga, STEPS)).await
}

/// The calls but those that make tables.
async fn calls(stage: &Stage) -> Vec<String> {
    let mut calls = stage.settled().await;
    calls.retain(|call| !call.contains("install"));
    calls
}

#[tokio::test]
async fn steps_are_committed_in_their_order_after_all_marks_are_written() {
    let stage = Stage::new();
    let told = commit(&stage, vec![stage.branch("a", L), stage.branch("b", L), stage.branch("c", L)]).await.unwrap();
    assert_eq!(told.guarantee.to_string(), "saga: a, b, c");
    assert_eq!(told.positions.iter().map(|position| position.store.as_str()).collect::<Vec<_>>(), ["a", "b", "c"]);
    let expected = [
        "log saga!",
        "a mark step",
        "b mark step",
        "c mark step",
        "a commit",
        "log stepped",
        "b commit",
        "log stepped",
        "c commit",
        "log stepped",
        "log done",
    ];
    assert_eq!(calls(&stage).await, expected);
    let records = stage.records();
    let Record::Saga { role, steps, .. } = &records[0] else { panic!("{records:?}") };
    let undo: Vec<String> = steps.iter().map(|step| step.undo.join("; ")).collect();
    assert_eq!(role, "ada");
    assert_eq!(undo, ["undo a2; undo a1", "undo b1", ""]);
    assert_eq!(stage.coordinator.open().take_marks(9).len(), 3);
    assert_eq!(stage.state(), (State::Committed, Vec::new()));
}

#[tokio::test]
async fn what_can_be_committed_as_one_is() {
    let stage = Stage::new();
    let told = commit(&stage, vec![stage.branch("a", Part::Prepared), stage.branch("b", L)]).await.unwrap();
    assert_eq!(told.guarantee.word(), "last resource");
}

#[tokio::test]
async fn a_step_that_is_refused_has_those_before_undone_the_latest_first() {
    let stage = Stage::new();
    let last = stage.branch("c", L).fails("commit", remote("23503"));
    let told = commit(&stage, vec![stage.branch("a", L), stage.branch("b", L), last]).await.unwrap_err();
    assert_eq!(told.sqlstate, "23503");
    assert!(told.detail.unwrap().ends_with("Steps before were compensated."));
    let expected = ["c commit", "ada undoes b: undo b1", "log undone", "ada undoes a: undo a2; undo a1", "log undone", "log done"];
    assert_eq!(calls(&stage).await[8..], expected);
    assert_eq!(stage.state(), (State::RolledBack, Vec::new()));
    let marks = stage.coordinator.open().take_marks(9);
    assert_eq!(marks.len(), 4);
    assert!(marks.contains(&(StoreName::new("a"), MarkId { gid: first(), of: MarkOf::Undo(0) })));
}

#[tokio::test]
async fn the_first_step_that_is_refused_leaves_nothing_to_undo() {
    let stage = Stage::new();
    let first = stage.branch("a", L).fails("commit", remote("40001"));
    let told = commit(&stage, vec![first, stage.branch("b", L), stage.branch("c", L)]).await.unwrap_err();
    assert!(told.detail.unwrap().ends_with("Everything was rolled back."));
    assert_eq!(calls(&stage).await[4..], ["a commit", "b rollback", "c rollback", "log done"]);
    let stage = Stage::new();
    let marked = stage.branch("b", L).fails("mark step", remote("42501"));
    let told = commit(&stage, vec![stage.branch("a", L), marked, stage.branch("c", L)]).await.unwrap_err();
    assert_eq!(told.sqlstate, "42501");
    assert_eq!(calls(&stage).await[4..], ["a rollback", "b rollback", "c rollback", "log done"]);
    let stage = Stage::new();
    stage.log_fails(JournalError::Refused(Diagnosis::new(sqlstate::DISK_FULL, "full")));
    let told = commit(&stage, vec![stage.branch("a", L), stage.branch("b", L)]).await.unwrap_err();
    assert_eq!(told.sqlstate, "53100");
    assert_eq!(calls(&stage).await, ["log saga!", "a rollback", "b rollback"]);
}

#[tokio::test]
async fn a_step_that_has_no_answer_is_left_and_nothing_goes_on() {
    for error in [lost(), unknown(), remote("57P01")] {
        let mut stage = Stage::new();
        let second = stage.branch("b", L).fails("commit", error);
        let told = commit(&stage, vec![stage.branch("a", L), second, stage.branch("c", L)]).await.unwrap_err();
        assert_eq!(unknown_gid(&told), Some(first()));
        assert_eq!(calls(&stage).await[4..], ["a commit", "log stepped", "b commit", "c rollback"]);
        let left = stage.coordinator.open().left();
        let Fate::Saga(saga) = &left[0].fate else { panic!("{left:?}") };
        assert_eq!((saga.stepped.iter().copied().collect::<Vec<_>>(), saga.steps.len()), (vec![0], 3));
        let pending = vec!["a".to_owned(), "b".to_owned()];
        assert_eq!((stage.state(), stage.was_woken()), ((State::Unknown, pending), true), "but not where it was rolled back");
    }
}

#[tokio::test]
async fn what_undoes_a_step_is_tried_again_and_told_when_it_fails() {
    let stage = Stage::new();
    stage.undoing.fail(2);
    let refused = || stage.branch("b", L).fails("commit", remote("23503"));
    let told = commit(&stage, vec![stage.branch("a", L), refused()]).await.unwrap_err();
    assert!(told.detail.unwrap().ends_with("Steps before were compensated."));
    assert_eq!(calls(&stage).await.iter().filter(|call| call.contains("undoes")).count(), 3);
    let mut stage = Stage::new();
    stage.undoing.fail(3);
    let refused = stage.branch("b", L).fails("commit", remote("23503"));
    let told = commit(&stage, vec![stage.branch("a", L), refused]).await.unwrap_err();
    assert_eq!(told.sqlstate, "23503");
    assert!(told.detail.unwrap().ends_with("A step before could not be undone: it does not fit any more."));
    assert_eq!(calls(&stage).await.last().map(String::as_str), Some("log stuck!"));
    assert_eq!((stage.state(), stage.was_woken()), ((State::Compensating, vec!["a".to_owned()]), true), "where a step is left");
    let left = stage.coordinator.open().left();
    let Fate::Saga(mut saga) = left[0].fate.clone() else { panic!("{left:?}") };
    assert_eq!(saga.stuck, Some((0, "it does not fit any more".to_owned())));
    // Somebody has mended it.
    go_back(&**stage.coordinator.journal(), &*stage.undoing, first(), &mut saga).await.unwrap();
    assert_eq!((saga.stuck, saga.undone.len()), (None, 1));
}

#[tokio::test]
async fn a_store_that_is_away_makes_no_saga_stuck() {
    for code in ["08006", "55P03"] {
        let mut stage = Stage::new();
        stage.undoing.fail_with(3, code);
        let refused = stage.branch("b", L).fails("commit", remote("23503"));
        let told = commit(&stage, vec![stage.branch("a", L), refused]).await.unwrap_err();
        assert_eq!(told.sqlstate, "23503");
        assert!(told.detail.unwrap().contains("A step before is undone later: "), "{code}");
        assert_eq!(calls(&stage).await.last().map(String::as_str), Some("ada undoes a: undo a2; undo a1"), "{code}");
        assert_eq!((stage.state().0, stage.was_woken()), (State::Compensating, true));
        let left = stage.coordinator.open().left();
        let Fate::Saga(mut saga) = left[0].fate.clone() else { panic!("{left:?}") };
        assert_eq!((saga.stuck.clone(), saga.undone.len()), (None, 0), "{code}");
        // The next round.
        go_back(&**stage.coordinator.journal(), &*stage.undoing, first(), &mut saga).await.unwrap();
        assert_eq!((saga.stuck, saga.undone.len()), (None, 1));
    }
    for code in ["08001", "40001", "40P01", "53300", "57P01"] {
        assert!(passes(code), "{code}");
    }
    for code in ["23505", "42501", "55000", "22023", "XX000", ""] {
        assert!(!passes(code), "{code}");
    }
}

#[tokio::test]
async fn nothing_is_committed_without_a_way_back() {
    let stage = Stage::new();
    let told = commit(&stage, vec![stage.branch("c", L), stage.branch("a", L)]).await.unwrap_err();
    assert_eq!((told.sqlstate.as_str(), told.message.as_str()), ("0A000", "no compensation is known for store \"c\""));
    let alone = stage.branch("b", Part::Alone("it is alone"));
    assert_eq!(commit(&stage, vec![stage.branch("a", L), alone]).await.unwrap_err().sqlstate, "0A000");
    assert_eq!(calls(&stage).await, ["c rollback", "a rollback", "a rollback", "b rollback"]);
}
