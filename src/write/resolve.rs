//! What somebody ends by hand: `CALL tributary.resolve(name, word)`, where the log in a name is nobody's any more, a store that decides
//! does not come back, or a step of a saga cannot be undone.
//!
//! **Invariants:** what is under way here is left alone; what is decided ends as it was decided.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::future::join_all;

use super::coordinator::{Coordinator, with_more};
use super::log::{Fate, Left, Record, SagaLeft};
use super::open::Standing;
use crate::catalog::commits::State;
use crate::error::{Diagnosis, sqlstate};
use crate::stores::commit::{BranchId, Gid, InDoubt, MarkId, MarkOf, Resolved, Verdict};
use crate::stores::{Connector, StoreName};
use crate::telemetry::log::Line;

/// Which branches are meant.
type Meant<'a> = &'a (dyn Fn(&BranchId) -> bool + Send + Sync);

/// How something is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// `commit`: the branches are committed.
    Commit,
    /// `abort`: they are rolled back.
    Abort,
    /// `retry`: a saga is undone once more.
    Retry,
    /// `forget`: a saga stays as it is.
    Forget,
}

impl Word {
    /// The word that a text is.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "commit" => Some(Self::Commit),
            "abort" => Some(Self::Abort),
            "retry" => Some(Self::Retry),
            "forget" => Some(Self::Forget),
            _ => None,
        }
    }
}

/// Ends what `name` names: a branch as `tributary.in_doubt` shows it, or all branches of a transaction, or a saga. Gives the stores in
/// which something was ended.
///
/// # Errors
/// 22023 for what is no name or word, and for a step of what is no saga left here, 42704 where no store has it, 55006 while it is under
/// way or held, 55000 where it is decided otherwise, and for a saga that is to be committed or rolled back; what a store answered.
pub async fn by_hand(
    with: &Coordinator,
    stores: &BTreeMap<StoreName, Arc<dyn Connector>>,
    name: &str,
    word: &str,
) -> Result<Vec<StoreName>, Diagnosis> {
    let Some(word) = Word::parse(word) else {
        let told = wrong(format!("\"{word}\" is not a way to end a transaction"));
        return Err(told.with_hint("It is commit, rollback, retry or forget."));
    };
    let gid = transaction(with, name)?;
    let verdict = match word {
        Word::Commit => Verdict::Commit,
        Word::Abort => Verdict::Abort,
        Word::Retry | Word::Forget => {
            let gid = gid.ok_or_else(|| wrong(format!("\"{name}\" is not the name of a transaction")))?;
            return end_saga(with, gid, word).await;
        }
    };
    let is_meant: Box<dyn Fn(&BranchId) -> bool + Send + Sync> = match (gid, BranchId::parse(name)) {
        (Some(gid), _) => {
            let known = branches_of(with, gid);
            Box::new(move |id: &BranchId| (id.log, id.number) == (gid.log, gid.number) || known.contains(id))
        }
        (None, Some(branch)) => Box::new(move |id: &BranchId| *id == branch),
        (None, None) => return Err(wrong(format!("\"{name}\" is not the name of a transaction or of a branch"))),
    };
    if gid.is_some_and(|gid| with.open().is_under_way(gid)) {
        return Err(in_use(name));
    }
    let ended = end_branches(with, stores, name, (&*is_meant, verdict)).await;
    match gid.and_then(|gid| left_of(with, gid)).map(|left| left.fate) {
        Some(Fate::Saga(saga)) => {
            ended.map_err(|told| if told.sqlstate == sqlstate::UNDEFINED_OBJECT { in_steps(name, &saga) } else { told })
        }
        _ => ended,
    }
}

/// The transaction that a name is of, if any: its own, or that of one of its steps where it is a saga with that step, which stands for all
/// of it. Another transaction has no steps.
fn transaction(with: &Coordinator, name: &str) -> Result<Option<Gid>, Diagnosis> {
    let Some(MarkId { gid, of }) = MarkId::parse(name) else { return Ok(None) };
    let step = match of {
        MarkOf::All => return Ok(Some(gid)),
        MarkOf::Step(step) | MarkOf::Undo(step) => usize::from(step),
    };
    // What it is, is not known yet.
    if with.open().is_under_way(gid) {
        return Err(in_use(name));
    }
    let has_step = |left: Left| matches!(&left.fate, Fate::Saga(saga) if step < saga.steps.len());
    Ok(left_of(with, gid).is_some_and(has_step).then_some(gid))
}

/// What is left here of a transaction.
fn left_of(with: &Coordinator, gid: Gid) -> Option<Left> {
    with.open().left().into_iter().find(|left| left.gid == gid)
}

/// What is said of a saga that is to be committed or rolled back: it prepares nothing, so that no store has anything to be ended.
fn in_steps(name: &str, saga: &SagaLeft) -> Diagnosis {
    let message = format!("\"{name}\" is committed in steps: nothing of it is prepared that could be committed or rolled back");
    let told = Diagnosis::new(sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE, message);
    let store = |step: u16| saga.steps.get(usize::from(step)).map(|logged| logged.store.to_string()).unwrap_or_default();
    match &saga.stuck {
        Some((step, reason)) => told
            .with_detail(format!("Its step in store \"{}\" is committed, and could not be undone: {reason}.", store(*step)))
            .with_hint("Say retry when that has been mended, or forget when the rows have been set right by hand."),
        None => told
            .with_detail("The recovery undoes what is committed of it, unless its last step is committed too.")
            .with_hint("tributary.in_doubt tells which store it waits for."),
    }
}

/// The names of the branches of a transaction that is left here: some have numbers of their own.
fn branches_of(with: &Coordinator, gid: Gid) -> Vec<BranchId> {
    let left = with.open().left().into_iter().filter(|left| left.gid == gid);
    left.flat_map(|left| left.branches.into_iter().map(|branch| branch.id)).collect()
}

/// What the stores hold, and what was ended of it.
#[derive(Default)]
struct Found {
    /// Stores that have told what they hold.
    answered: BTreeSet<StoreName>,
    listed: BTreeSet<BranchId>,
    ended: BTreeSet<BranchId>,
}

async fn end_branches(
    with: &Coordinator,
    stores: &BTreeMap<StoreName, Arc<dyn Connector>>,
    name: &str,
    (is_meant, verdict): (Meant<'_>, Verdict),
) -> Result<Vec<StoreName>, Diagnosis> {
    let lists = stores.iter().map(|(store, connector)| async move { (store, connector, connector.in_doubt().await) });
    let (mut found, mut ended_in, mut unheard, mut failed) = (Found::default(), Vec::new(), None, None);
    for (store, connector, list) in join_all(lists).await {
        let listed = match list {
            Ok(listed) => listed,
            Err(error) => {
                unheard.get_or_insert(error);
                continue;
            }
        };
        found.answered.insert(store.clone());
        found.listed.extend(listed.iter().map(|listed| listed.id));
        for InDoubt { id, .. } in listed.into_iter().filter(|listed| is_meant(&listed.id)) {
            match end_branch(with, name, (connector, &id), verdict).await {
                Ok(resolved) => {
                    found.ended.insert(id);
                    // Two stores of one server list the same branches.
                    if resolved == Resolved::Done {
                        tracing::warn!(%store, branch = %id, ?verdict, "a branch was ended by hand");
                        ended_in.push(store.clone());
                    }
                }
                // The others are ended all the same.
                Err(told) => {
                    failed.get_or_insert(told);
                }
            }
        }
    }
    end_transactions(with, stores, &found, verdict).await;
    with.wake();
    if let Some(told) = failed {
        return Err(with_stores(told, &ended_in));
    }
    if ended_in.is_empty() { Err(unheard.map_or_else(|| nowhere(name), |error| Diagnosis::of(&error))) } else { Ok(ended_in) }
}

/// What has failed, and where something was ended before.
fn with_stores(told: Diagnosis, ended_in: &[StoreName]) -> Diagnosis {
    if ended_in.is_empty() {
        return told;
    }
    let stores: Vec<String> = ended_in.iter().map(|store| format!("\"{store}\"")).collect();
    with_more(told, &format!("It was ended in {}.", stores.join(", ")))
}

/// Ends a branch that a store has listed.
async fn end_branch(
    with: &Coordinator,
    name: &str,
    (connector, id): (&Arc<dyn Connector>, &BranchId),
    verdict: Verdict,
) -> Result<Resolved, Diagnosis> {
    // After the list: a name is entered before its store prepares.
    check(with, name, id, verdict)?;
    match connector.resolve(id, verdict).await {
        Ok(Resolved::Busy) => Err(in_use(name)),
        Ok(resolved) => Ok(resolved),
        Err(error) => Err(Diagnosis::of(&error)),
    }
}

/// Tells the log of those that have ended everywhere with this, and would wait for their decision for ever. What is decided is looked
/// after by the next round.
async fn end_transactions(with: &Coordinator, stores: &BTreeMap<StoreName, Arc<dyn Connector>>, found: &Found, verdict: Verdict) {
    for left in with.open().left() {
        let is_undecided = matches!(left.fate, Fate::AskLast { .. } | Fate::Unwritten);
        let is_touched = left.branches.iter().any(|branch| found.ended.contains(&branch.id));
        if !is_undecided || !is_touched || !has_ended(stores, &left, found, verdict).await {
            continue;
        }
        let gid = left.gid;
        if let Err(error) = with.journal().append(Record::Done { gid }, true).await {
            tracing::warn!(%gid, error = %Line(&error.to_string()), "the end of a transaction is not in the log of commits");
            continue;
        }
        with.open().done(gid);
        with.shown().change(gid, |shown| {
            shown.pending.clear();
            shown.state = if verdict == Verdict::Commit { State::Committed } else { State::RolledBack };
            shown.error = Some("it was ended by hand".to_owned());
        });
    }
}

/// Whether no store has a branch of it any more. One that lists none says so once more.
async fn has_ended(stores: &BTreeMap<StoreName, Arc<dyn Connector>>, left: &Left, found: &Found, verdict: Verdict) -> bool {
    for branch in left.branches.iter().filter(|branch| !found.ended.contains(&branch.id)) {
        let is_asked = found.answered.contains(&branch.store) && !found.listed.contains(&branch.id);
        let Some(connector) = stores.get(&branch.store).filter(|_| is_asked) else { return false };
        if !matches!(connector.resolve(&branch.id, verdict).await, Ok(Resolved::Done | Resolved::Gone)) {
            return false;
        }
    }
    true
}

/// Whether a branch may be ended so.
fn check(with: &Coordinator, name: &str, id: &BranchId, verdict: Verdict) -> Result<(), Diagnosis> {
    let decided = match with.open().standing(id) {
        Standing::UnderWay => return Err(in_use(name)),
        // Its log was taken a moment ago, and nobody has looked yet what is in it.
        Standing::Unknown if !with.journal().is_read() => return Err(in_use(name)),
        // Of what is committed our log would know.
        Standing::Unknown if with.journal().decides(id.log) => Verdict::Abort,
        Standing::Unknown => return Ok(()),
        Standing::Left(left) => match left.fate {
            Fate::Commit => Verdict::Commit,
            Fate::Abort => Verdict::Abort,
            Fate::AskLast { .. } | Fate::Unwritten | Fate::Saga(_) => return Ok(()),
        },
    };
    if decided == verdict {
        return Ok(());
    }
    let way = if decided == Verdict::Commit { "committed" } else { "rolled back" };
    let message = format!("\"{name}\" is decided: it is {way}");
    Err(Diagnosis::new(sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE, message))
}

/// A saga that is stuck is undone by the next round of the recovery, or stays as it is.
async fn end_saga(with: &Coordinator, gid: Gid, word: Word) -> Result<Vec<StoreName>, Diagnosis> {
    let left = left_of(with, gid).ok_or_else(|| nowhere(&gid.to_string()))?;
    let stuck = if let Fate::Saga(saga) = &left.fate { saga.stuck.as_ref().map(|(step, _)| *step) } else { None };
    let (Fate::Saga(saga), Some(step)) = (left.fate, stuck) else {
        let message = format!("\"{gid}\" is not a saga that waits for somebody");
        return Err(Diagnosis::new(sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE, message));
    };
    let stores = saga.steps.get(usize::from(step)).map(|step| step.store.clone()).into_iter().collect();
    if word == Word::Retry {
        with.open().decided(gid, Fate::Saga(SagaLeft { stuck: None, ..saga }));
        with.wake();
        return Ok(stores);
    }
    if let Err(error) = with.journal().append(Record::Done { gid }, true).await {
        tracing::warn!(%gid, error = %Line(&error.to_string()), "the end of a saga is not in the log of commits");
        return Err(Diagnosis::new(sqlstate::IO_ERROR, "the log of commits does not take the end of the transaction"));
    }
    with.open().done(gid);
    with.shown().settle(gid);
    with.shown().change(gid, |shown| {
        shown.state = State::RolledBack;
        shown.error = Some("a step was committed and is left so".to_owned());
        shown.pending.clear();
    });
    Ok(stores)
}

fn wrong(message: String) -> Diagnosis {
    Diagnosis::new(sqlstate::INVALID_PARAMETER_VALUE, message)
}

fn nowhere(name: &str) -> Diagnosis {
    Diagnosis::new(sqlstate::UNDEFINED_OBJECT, format!("no store has \"{name}\" in doubt"))
}

fn in_use(name: &str) -> Diagnosis {
    Diagnosis::new(sqlstate::OBJECT_IN_USE, format!("\"{name}\" is held by a commit that is under way"))
        .with_hint("Try again when it has ended.")
}

#[cfg(test)]
mod tests {
    use chrono::Utc;

    use super::super::fakes::{Stage, first, lost, remote, unknown};
    use super::*;
    use crate::catalog::commits::{Doubt, Waits};
    use crate::stores::commit::{LogId, Part};
    use crate::write::coordinator::Several;

    fn other() -> BranchId {
        Gid { log: LogId(0xbb), number: 9 }.of_store(&StoreName::new("a"))
    }

    async fn resolve(stage: &Stage, name: &str, word: &str) -> Result<Vec<String>, String> {
        let ended = by_hand(&stage.coordinator, stage.stores(), name, word).await;
        ended.map(|stores| stores.iter().map(ToString::to_string).collect()).map_err(|error| error.sqlstate)
    }

    #[tokio::test]
    async fn a_branch_of_a_log_of_nobody_is_ended_as_somebody_says() {
        let stage = Stage::new();
        let name = other().to_string();
        assert_eq!(resolve(&stage, &name, "commit").await, Err("42704".to_owned()));
        stage.doubts(other());
        assert_eq!(resolve(&stage, &name, "keep").await, Err("22023".to_owned()));
        assert_eq!(resolve(&stage, "tributary", "commit").await, Err("22023".to_owned()));
        assert_eq!(resolve(&stage, &name, "retry").await, Err("22023".to_owned()));
        assert!(stage.calls.all().is_empty());
        assert_eq!(resolve(&stage, &name, "commit").await, Ok(vec!["a".to_owned()]));
        let gid = Gid { log: LogId(0xbb), number: 9 }.to_string();
        assert_eq!(resolve(&stage, &gid, "abort").await, Ok(vec!["a".to_owned()]));
        assert_eq!(stage.calls.all(), [format!("a resolve {name} Commit"), format!("a resolve {name} Abort")]);
    }

    #[tokio::test]
    async fn what_is_decided_ends_so() {
        let stage = Stage::new();
        stage
            .commit(vec![stage.branch("a", Part::Prepared).fails("keep", lost()), stage.branch("b", Part::Prepared)])
            .await
            .unwrap();
        let branch = first().of_store(&StoreName::new("a"));
        stage.doubts(branch);
        for name in [branch.to_string(), first().to_string()] {
            assert_eq!(resolve(&stage, &name, "abort").await, Err("55000".to_owned()));
            assert_eq!(resolve(&stage, &name, "commit").await, Ok(vec!["a".to_owned()]));
            assert_eq!(
                resolve(&stage, &name, "retry").await.unwrap_err().get(..2),
                Some(if name.len() > 43 { "22" } else { "55" })
            );
        }
    }

    #[tokio::test]
    async fn a_step_names_nothing_but_a_saga_that_has_it() {
        let stage = Stage::new();
        stage
            .commit(vec![stage.branch("a", Part::Prepared).fails("keep", lost()), stage.branch("b", Part::Prepared)])
            .await
            .unwrap();
        stage.doubts(first().of_store(&StoreName::new("a")));
        // One that is left here, and one of another log.
        stage.doubts(other());
        for gid in [first(), Gid { log: LogId(0xbb), number: 9 }] {
            for name in [format!("{gid}/7"), format!("{gid}/0"), format!("{gid}/0u")] {
                for word in ["commit", "abort", "retry", "forget"] {
                    assert_eq!(resolve(&stage, &name, word).await, Err("22023".to_owned()), "{name} {word}");
                }
            }
        }
        assert!(!stage.calls.all().iter().any(|call| call.contains(" resolve ")), "{:?}", stage.calls.all());
        assert_eq!(resolve(&stage, &first().to_string(), "commit").await, Ok(vec!["a".to_owned()]));
    }

    #[tokio::test]
    async fn what_our_log_does_not_know_is_rolled_back() {
        let stage = Stage::new();
        let branch = first().of_store(&StoreName::new("a"));
        stage.doubts(branch);
        for name in [branch.to_string(), first().to_string()] {
            assert_eq!(resolve(&stage, &name, "commit").await, Err("55000".to_owned()));
        }
        assert!(stage.calls.all().is_empty());
        assert_eq!(resolve(&stage, &branch.to_string(), "abort").await, Ok(vec!["a".to_owned()]));
    }

    #[tokio::test]
    async fn what_was_taken_over_ends_as_its_log_says() {
        let stage = Stage::new();
        let (branch, gid) = (other(), Gid { log: LogId(0xbb), number: 9 });
        let named = crate::write::log::Named { store: StoreName::new("a"), id: branch };
        stage.coordinator.adopt(Left { gid, fate: Fate::Commit, branches: vec![named], mark: None });
        stage.doubts(branch);
        assert_eq!(resolve(&stage, &branch.to_string(), "abort").await, Err("55000".to_owned()));
        assert_eq!(stage.coordinator.shown().get(gid).unwrap().state, State::Committing);
        assert_eq!(resolve(&stage, &branch.to_string(), "commit").await, Ok(vec!["a".to_owned()]));
        assert!(stage.coordinator.open().has_left(), "the next round tells the log");
    }

    #[tokio::test]
    async fn what_has_ended_everywhere_by_hand_waits_for_nothing_more() {
        let stage = Stage::new();
        let last = stage.branch("c", Part::Last).fails("commit", unknown());
        stage.commit(vec![stage.branch("a", Part::Prepared), last]).await.unwrap_err();
        let branch = first().of_store(&StoreName::new("a"));
        stage.doubts(branch);
        assert!(stage.coordinator.open().has_left());
        assert_eq!(resolve(&stage, &first().to_string(), "abort").await, Ok(vec!["a".to_owned()]));
        assert!(!stage.coordinator.open().has_left());
        assert_eq!(stage.state().0, State::RolledBack);
        assert_eq!(stage.settled().await.last().map(String::as_str), Some("log done!"));
    }

    #[tokio::test]
    async fn a_branch_that_is_refused_does_not_keep_others_from_being_ended() {
        let mut stage = Stage::new();
        stage.resolves_with("a", lost());
        stage.doubts(other());
        stage.doubts_in("b", other());
        let name = other().to_string();
        let told = by_hand(&stage.coordinator, stage.stores(), &name, "abort").await.unwrap_err();
        assert_eq!(told.sqlstate, "08006");
        assert!(told.detail.unwrap().ends_with("It was ended in \"b\"."));
        assert_eq!(stage.calls.all(), [format!("a resolve {name} Abort"), format!("b resolve {name} Abort")]);
    }

    #[tokio::test]
    async fn what_is_under_way_is_left_alone() {
        let stage = Stage::new();
        let branch = first().of_store(&StoreName::new("a"));
        let named = crate::write::log::Named { store: StoreName::new("a"), id: branch };
        let under_way = stage.coordinator.open().enter(first(), vec![named]);
        stage.doubts(branch);
        for name in [branch.to_string(), first().to_string(), format!("{}/0", first())] {
            assert_eq!(resolve(&stage, &name, "abort").await, Err("55006".to_owned()));
        }
        drop(under_way);
        assert_eq!(resolve(&stage, &branch.to_string(), "abort").await, Ok(vec!["a".to_owned()]));
    }

    #[tokio::test]
    async fn a_saga_that_is_stuck_is_tried_again_or_left_as_it_is() {
        let mut stage = Stage::new();
        stage.undoing.fail(3);
        let second = stage.branch("b", Part::Last).fails("commit", remote("23503"));
        let asked = stage.asked(Several::Saga, &[("a", "undo")]);
        stage.commit_so(vec![stage.branch("a", Part::Last), second], asked).await.unwrap_err();
        assert!(stage.was_woken());
        let name = first().to_string();
        for (name, word) in [(name.clone(), "abort"), (name.clone(), "commit"), (format!("{name}/0"), "abort")] {
            let told = by_hand(&stage.coordinator, stage.stores(), &name, word).await.unwrap_err();
            assert_eq!(told.sqlstate, "55000");
            assert!(told.detail.unwrap().contains("store \"a\"") && told.hint.unwrap().contains("retry"), "{name} {word}");
        }
        assert!(stage.was_woken(), "the stores were asked all the same");
        for word in ["commit", "abort", "retry", "forget"] {
            assert_eq!(resolve(&stage, &format!("{name}/7"), word).await, Err("22023".to_owned()), "it has no such step: {word}");
        }
        assert_eq!(resolve(&stage, &format!("{name}/0"), "retry").await, Ok(vec!["a".to_owned()]));
        assert!(stage.was_woken());
        let told = by_hand(&stage.coordinator, stage.stores(), &name, "abort").await.unwrap_err();
        assert!(told.sqlstate == "55000" && told.hint.unwrap().contains("tributary.in_doubt"), "a round is on its way");
        assert!(matches!(&stage.coordinator.open().left()[0].fate, Fate::Saga(SagaLeft { stuck: None, .. })));
        assert_eq!(resolve(&stage, &name, "forget").await, Err("55000".to_owned()), "a round is on its way");
        let Fate::Saga(saga) = stage.coordinator.open().left().remove(0).fate else { panic!("not a saga") };
        stage.coordinator.open().decided(first(), Fate::Saga(SagaLeft { stuck: Some((0, "again".to_owned())), ..saga }));
        let doubt = |number| Doubt {
            gid: Some(Gid { number, ..first() }),
            branch: String::new(),
            store: StoreName::new("a"),
            log: String::new(),
            is_ours: true,
            waits: Waits::ForHelp,
            role: None,
            prepared: None,
            seen: Utc::now(),
            reason: None,
        };
        let other = first().number + 1;
        stage.coordinator.shown().found(vec![doubt(first().number), doubt(other)]);
        assert_eq!(resolve(&stage, &name, "forget").await, Ok(vec!["a".to_owned()]));
        assert_eq!((stage.coordinator.open().has_left(), stage.state().0), (false, State::RolledBack));
        // Nothing waits for a round.
        let left: Vec<u64> = stage.coordinator.shown().in_doubt().iter().filter_map(|doubt| Some(doubt.gid?.number)).collect();
        assert_eq!(left, [other]);
        assert!(stage.coordinator.shown().get(first()).unwrap().pending.is_empty());
        assert_eq!(resolve(&stage, &name, "forget").await, Err("42704".to_owned()));
    }
}
