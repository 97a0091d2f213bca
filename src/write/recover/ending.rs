//! One round: how each open transaction ends, and its branches with it.
//!
//! **Invariant:** that a store lists a branch no more is no proof that it has committed it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::Utc;
use futures::future::join_all;

use super::listing::{Logs, Seen};
use super::{Connectors, Recovery};
use crate::catalog::commits::{Doubt, State, Waits};
use crate::stores::commit::{BranchId, Gid, Hint, InDoubt, MarkId, MarkOf, Resolved, Verdict};
use crate::stores::{Connector, StoreError, StoreName};
use crate::telemetry::audit::Event;
use crate::telemetry::log::Line;
use crate::write::log::{Fate, Left, Named, Record, SagaLeft};
use crate::write::open::Standing;
use crate::write::saga;

/// Branches of a store with how they end, and the transactions that they are of.
type Endings = Vec<(InDoubt, Verdict, Option<Gid>)>;

/// What is to be done with a listed branch.
#[derive(Debug)]
enum Due {
    /// It is ended so.
    End(Verdict, Option<Gid>),
    /// It waits.
    Wait(Waits, Option<String>, Option<Gid>),
}

/// What came of ending a branch.
#[derive(Debug)]
enum Ended {
    Yes(Resolved),
    /// The store did not do it.
    No(String),
}

/// A round under way.
pub(super) struct Round<'a> {
    recovery: &'a Recovery,
    stores: Arc<Connectors>,
    seen: Seen,
    logs: Logs,
    /// Branches that have ended in this round.
    ended: BTreeSet<BranchId>,
    /// Stores that did not answer when they were asked once more.
    silent: BTreeSet<StoreName>,
    /// Why a transaction is not decided yet.
    undecided: BTreeMap<Gid, String>,
    doubts: Vec<Doubt>,
}

impl<'a> Round<'a> {
    pub(super) fn new(recovery: &'a Recovery, stores: Arc<Connectors>, seen: Seen, logs: Logs) -> Self {
        let (ended, silent, undecided, doubts) = (BTreeSet::new(), BTreeSet::new(), BTreeMap::new(), Vec::new());
        let mut round = Self { recovery, stores, seen, logs, ended, silent, undecided, doubts };
        round.keep_what_was_seen();
        round
    }

    /// What stores held that do not answer now.
    fn keep_what_was_seen(&mut self) {
        let before = self.recovery.shown().in_doubt();
        let is_kept = |doubt: &Doubt| {
            doubt.waits != Waits::ForHelp && self.seen.lists.get(&doubt.store).is_some_and(Result::is_err) && is_branch(doubt)
        };
        self.doubts.extend(before.into_iter().filter(is_kept));
    }

    /// What is to be ended, of logs that are ours: of the others somebody else may have forgotten the marks.
    fn ours_now(&self) -> Vec<Left> {
        let mut left = self.recovery.open_now();
        left.retain(|left| self.logs.are_ours(left.gid.log));
        left
    }

    /// Asks the stores whose marks decide, side by side; of one that does not answer nothing more is asked.
    pub(super) async fn decide(&mut self) {
        let mut by_store: BTreeMap<StoreName, Vec<(Left, Hint)>> = BTreeMap::new();
        for left in self.ours_now() {
            if let Fate::AskLast { store, hint } = &left.fate {
                let (store, hint) = (store.clone(), hint.clone());
                by_store.entry(store).or_default().push((left, hint));
            }
        }
        let stores = Arc::clone(&self.stores);
        let asked = by_store.into_iter().map(|(store, questions)| {
            let connector = stores.get(&store).cloned();
            ask(connector, questions)
        });
        for (left, answer) in join_all(asked).await.into_iter().flatten() {
            let gid = left.gid;
            self.recovery.marked().extend(left.mark.clone());
            match answer {
                Ok(Verdict::Commit) => self.settle(Record::Commit { gid, branches: left.branches }, Fate::Commit).await,
                Ok(Verdict::Abort) => self.settle(Record::Abort { gid }, Fate::Abort).await,
                Err(reason) => drop(self.undecided.insert(gid, reason)),
            }
        }
    }

    /// The decision is known. It need not be on disk: its store would give the same answer again.
    async fn settle(&self, record: Record, fate: Fate) {
        let gid = record.gid();
        if let Err(error) = self.recovery.coordinator.journal().append(record, false).await {
            tracing::debug!(%gid, error = %Line(&error.to_string()), "a decision that was found is not in the log of commits");
        }
        tracing::info!(%gid, commits = fate == Fate::Commit, "the store that decides was asked");
        self.recovery.decided(gid, &fate);
        let state = if fate == Fate::Commit { State::Committing } else { State::RollingBack };
        self.recovery.shown().change(gid, |shown| (shown.state, shown.decided) = (state, Some(Utc::now())));
    }

    /// Ends what is listed and decided; the rest is shown.
    pub(super) async fn end_branches(&mut self) {
        let mut due: BTreeMap<StoreName, Endings> = BTreeMap::new();
        let listed: Vec<(StoreName, InDoubt)> = self.seen.all().map(|(store, branch)| (store.clone(), *branch)).collect();
        for (store, branch) in listed {
            match self.due(&branch.id) {
                None => {}
                Some(Due::End(verdict, gid)) => due.entry(store).or_default().push((branch, verdict, gid)),
                Some(Due::Wait(waits, reason, gid)) => self.doubt(&store, &branch, (waits, gid), reason),
            }
        }
        let stores = Arc::clone(&self.stores);
        let ends = due.into_iter().map(|(store, branches)| {
            let connector = stores.get(&store).cloned();
            end(connector, store, branches)
        });
        let outcomes: Vec<Outcome> = join_all(ends).await.into_iter().flatten().collect();
        // Several stores of one server list the same branch: one of them ends it.
        let done = outcomes.iter().filter(|outcome| matches!(outcome.ended, Ended::Yes(Resolved::Done)));
        let done: BTreeSet<BranchId> = done.map(|outcome| outcome.branch.id).collect();
        for outcome in outcomes {
            self.take(outcome, &done).await;
        }
    }

    async fn take(&mut self, outcome: Outcome, done: &BTreeSet<BranchId>) {
        let Outcome { store, branch, verdict, gid, ended } = outcome;
        let id = branch.id;
        match ended {
            _ if done.contains(&id) => {
                if self.ended.insert(id) {
                    let commits = verdict == Verdict::Commit;
                    tracing::info!(%store, branch = %id, commits, "a branch that was left was ended");
                    self.tell_ended(&store, &id, verdict).await;
                }
            }
            Ended::Yes(Resolved::Gone) => {
                self.ended.insert(id);
                if verdict == Verdict::Commit {
                    self.tell_gone(&store, &id).await;
                }
            }
            Ended::Yes(_) => {
                let reason = "its connection still holds it".to_owned();
                self.doubt(&store, &branch, (Waits::ForStore, gid), Some(reason));
            }
            Ended::No(reason) => self.doubt(&store, &branch, (Waits::ForStore, gid), Some(reason)),
        }
    }

    /// What was in doubt is not any more. Who ends it by hand is told of in the same words (`session::verbs::resolve`).
    async fn tell_ended(&self, store: &StoreName, id: &BranchId, verdict: Verdict) {
        let word = if verdict == Verdict::Commit { "commit" } else { "abort" };
        let event = Event::new("resolve").with("by", "recovery").with("name", id.to_string()).with("word", word);
        self.recovery.audit.tell(event.with("stores", store.as_str()).done()).await;
    }

    /// A store had listed a branch that is to be committed, and does not know it. Where its own connection has committed it meanwhile,
    /// nothing is wrong; nobody here can tell.
    async fn tell_gone(&self, store: &StoreName, id: &BranchId) {
        tracing::warn!(%store, branch = %id, "a branch that is to be committed was listed, and was ended before it was told to");
        let event = Event::new("heuristic").with("store", store.as_str()).with("branch", id.to_string());
        self.recovery.audit.tell(event).await;
    }

    /// What is to be done with a branch that was listed; `None` of one under way.
    fn due(&self, id: &BranchId) -> Option<Due> {
        let left = match self.recovery.standing(id) {
            Standing::UnderWay => return None,
            Standing::Unknown if self.logs.are_ours(id.log) => return Some(Due::End(Verdict::Abort, None)),
            Standing::Unknown => return Some(Due::Wait(Waits::ForLog, Some(self.logs.reason(id.log).to_owned()), None)),
            Standing::Left(left) => left,
        };
        let gid = Some(left.gid);
        Some(match left.fate {
            Fate::Commit => Due::End(Verdict::Commit, gid),
            // A saga prepares nothing: a name of it is of a branch that began with one and was dropped.
            Fate::Abort | Fate::Saga(_) => Due::End(Verdict::Abort, gid),
            Fate::AskLast { .. } => Due::Wait(Waits::ForLast, self.undecided.get(&left.gid).cloned(), gid),
            Fate::Unwritten => {
                let reason = "it is not known whether its decision is in the log: the next start reads it".to_owned();
                Due::Wait(Waits::ForLog, Some(reason), gid)
            }
        })
    }

    fn doubt(&mut self, store: &StoreName, branch: &InDoubt, (waits, gid): (Waits, Option<Gid>), reason: Option<String>) {
        let id = branch.id;
        let is_ours = gid.is_some() || self.logs.are_ours(id.log);
        self.doubts.push(Doubt {
            gid,
            branch: id.to_string(),
            store: store.clone(),
            log: id.log.to_string(),
            is_ours,
            waits,
            role: gid.and_then(|gid| self.recovery.shown().get(gid)).map(|shown| shown.role).filter(|role| !role.is_empty()),
            prepared: branch.prepared,
            seen: self.seen.at,
            reason,
        });
    }

    /// Goes back with sagas whose last step is not committed.
    pub(super) async fn undo_sagas(&mut self) {
        for left in self.ours_now() {
            let gid = left.gid;
            let Fate::Saga(mut saga) = left.fate else { continue };
            if let Some((step, reason)) = saga.stuck.clone() {
                self.tell_stuck(gid, &saga, (step, reason)).await;
                continue;
            }
            // Whoever takes the log meanwhile may end it, and forget its marks.
            if !self.recovery.is_still_ours(gid).await {
                continue;
            }
            if let Err((step, reason)) = self.ask_steps(gid, &mut saga).await {
                self.saga_doubt(gid, &saga, (step, Waits::ForStore), reason);
                continue;
            }
            self.recovery.decided(gid, &Fate::Saga(saga.clone()));
            if is_committed(&saga) {
                self.end_saga(gid, &saga, State::Committed).await;
                continue;
            }
            let Some(compensator) = self.recovery.coordinator.compensator() else { continue };
            self.show_back(gid, &saga, None);
            let journal = self.recovery.coordinator.journal();
            let back = saga::go_back(&**journal, &**compensator, gid, &mut saga).await;
            self.recovery.decided(gid, &Fate::Saga(saga.clone()));
            match (back, saga.stuck.clone()) {
                (Ok(()), _) => self.end_saga(gid, &saga, State::RolledBack).await,
                (Err(_), Some(stuck)) => self.tell_stuck(gid, &saga, stuck).await,
                (Err(told), None) => {
                    self.show_back(gid, &saga, Some(told.message.clone()));
                    self.saga_doubt(gid, &saga, (saga.next_to_undo().unwrap_or(0), Waits::ForStore), told.message);
                }
            }
        }
    }

    /// Finds out which steps are committed. They were committed in their order: behind one that is not there is none.
    async fn ask_steps(&self, gid: Gid, saga: &mut SagaLeft) -> Result<(), (u16, String)> {
        for (logged, step) in saga.steps.iter().zip(0_u16..) {
            if saga.stepped.contains(&step) {
                continue;
            }
            let away = || (step, format!("store \"{}\" is not served any more", logged.store));
            let connector = self.stores.get(&logged.store).ok_or_else(away)?;
            let mark = MarkId { gid, of: MarkOf::Step(step) };
            match connector.decide(mark, &logged.hint).await {
                Ok(Verdict::Commit) => drop(saga.stepped.insert(step)),
                Ok(Verdict::Abort) => break,
                Err(error) => return Err((step, error.to_string())),
            }
        }
        Ok(())
    }

    async fn end_saga(&self, gid: Gid, saga: &SagaLeft, state: State) {
        let mark = |step: u16, of: MarkOf| Some((saga.steps.get(usize::from(step))?.store.clone(), MarkId { gid, of }));
        let steps = saga.stepped.iter().filter_map(|&step| mark(step, MarkOf::Step(step)));
        let undone = saga.undone.iter().filter_map(|&step| mark(step, MarkOf::Undo(step)));
        let marks: Vec<(StoreName, MarkId)> = steps.chain(undone).collect();
        if self.recovery.done(gid, marks).await {
            self.recovery.shown().change(gid, |shown| {
                shown.pending.clear();
                shown.state = state;
            });
        }
    }

    /// A step waits for somebody. It is said once.
    async fn tell_stuck(&mut self, gid: Gid, saga: &SagaLeft, (step, reason): (u16, String)) {
        self.saga_doubt(gid, saga, (step, Waits::ForHelp), reason.clone());
        self.show_back(gid, saga, Some(reason));
        let is_new = self.recovery.told().insert(gid);
        if is_new {
            let store = saga.steps.get(usize::from(step)).map(|logged| logged.store.to_string()).unwrap_or_default();
            tracing::error!(%gid, step, store, "a step of a transaction is committed and cannot be undone: see tributary.in_doubt");
            let event = Event::new("stuck").by(&saga.role).with("gid", gid.to_string()).with("store", store).with("step", step);
            self.recovery.audit.tell(event).await;
        }
    }

    /// A saga is undone: it waits for the stores in which something of it is still there.
    fn show_back(&self, gid: Gid, saga: &SagaLeft, error: Option<String>) {
        self.recovery.shown().change(gid, |shown| {
            (shown.state, shown.pending) = (State::Compensating, saga.to_undo());
            if error.is_some() {
                shown.error = error;
            }
        });
    }

    fn saga_doubt(&mut self, gid: Gid, saga: &SagaLeft, (step, waits): (u16, Waits), reason: String) {
        let Some(logged) = saga.steps.get(usize::from(step)) else { return };
        self.doubts.push(Doubt {
            gid: Some(gid),
            branch: MarkId { gid, of: MarkOf::Step(step) }.to_string(),
            store: logged.store.clone(),
            log: gid.log.to_string(),
            is_ours: true,
            waits,
            role: Some(saga.role.clone()),
            prepared: None,
            seen: self.seen.at,
            reason: Some(reason),
        });
    }

    /// What was open before the stores were asked, is decided, and is listed nowhere any more has ended. Of what is committed each store
    /// is asked once more: nobody would roll back what a list has left out, but a commit would be lost with it.
    pub(super) async fn finish(&mut self, before: &BTreeSet<Gid>) {
        let listed: BTreeSet<BranchId> = self.seen.all().map(|(_, branch)| branch.id).collect();
        for left in self.recovery.open_now() {
            let gid = left.gid;
            let state = match left.fate {
                Fate::Commit => State::Committed,
                Fate::Abort => State::RolledBack,
                Fate::AskLast { .. } | Fate::Saga(_) | Fate::Unwritten => continue,
            };
            if !before.contains(&gid) {
                continue;
            }
            let (pending, gone): (Vec<&Named>, Vec<&Named>) =
                left.branches.iter().partition(|branch| self.is_pending(branch, &listed));
            for branch in pending.iter().filter(|branch| !self.stores.contains_key(&branch.store)) {
                tracing::debug!(%gid, store = %branch.store, "a branch waits for a store that is not served");
            }
            let mut stores: Vec<StoreName> = pending.into_iter().map(|branch| branch.store.clone()).collect();
            if stores.is_empty() && left.fate == Fate::Commit {
                stores = self.confirm(gid, &gone).await;
            }
            if !stores.is_empty() {
                self.recovery.shown().change(gid, |shown| shown.pending = stores);
                continue;
            }
            // A mark that says abort stays for a day, and is removed with others of its age.
            let mark = left.mark.filter(|_| state == State::Committed).map(|store| (store, MarkId { gid, of: MarkOf::All }));
            if self.recovery.done(gid, mark.into_iter().collect()).await {
                self.recovery.shown().change(gid, |shown| {
                    shown.pending.clear();
                    shown.state = state;
                });
            }
        }
    }

    /// Has the stores end once more what they list no more. Gives those that do not say that it has ended.
    async fn confirm(&mut self, gid: Gid, branches: &[&Named]) -> Vec<StoreName> {
        let asked: Vec<&Named> = branches.iter().copied().filter(|branch| !self.ended.contains(&branch.id)).collect();
        let (stores, silent) = (&self.stores, &self.silent);
        let answers = join_all(asked.iter().map(|branch| async move {
            let connector = stores.get(&branch.store).filter(|_| !silent.contains(&branch.store))?;
            Some(connector.resolve(&branch.id, Verdict::Commit).await)
        }))
        .await;
        let mut pending = Vec::new();
        for (branch, answer) in asked.into_iter().zip(answers) {
            match answer {
                Some(Ok(Resolved::Done | Resolved::Gone)) => drop(self.ended.insert(branch.id)),
                None | Some(Ok(Resolved::Busy)) => pending.push(branch.store.clone()),
                Some(Err(error)) => {
                    tracing::debug!(%gid, store = %branch.store, error = %Line(&error.to_string()), "a store does not confirm an end");
                    if is_away(&error) {
                        self.silent.insert(branch.store.clone());
                    }
                    pending.push(branch.store.clone());
                }
            }
        }
        pending
    }

    /// Whether a branch may still be there.
    fn is_pending(&self, branch: &Named, listed: &BTreeSet<BranchId>) -> bool {
        if self.ended.contains(&branch.id) {
            return false;
        }
        let has_answered = self.seen.lists.get(&branch.store).is_some_and(Result::is_ok);
        !has_answered || listed.contains(&branch.id)
    }

    /// What is to be shown of it.
    pub(super) fn into_doubts(self) -> Vec<Doubt> {
        self.doubts
    }
}

/// Whether it is of a branch that was listed, rather than of a step.
fn is_branch(doubt: &Doubt) -> bool {
    BranchId::parse(&doubt.branch).is_some()
}

/// A saga whose last step is committed is.
fn is_committed(saga: &SagaLeft) -> bool {
    saga.steps.len().checked_sub(1).and_then(|last| u16::try_from(last).ok()).is_some_and(|last| saga.stepped.contains(&last))
}

/// A store that decides, and what it is asked.
async fn ask(connector: Option<Arc<dyn Connector>>, questions: Vec<(Left, Hint)>) -> Vec<(Left, Result<Verdict, String>)> {
    let Some(connector) = connector else {
        let reason = || "the store that decides is not served any more".to_owned();
        return questions.into_iter().map(|(left, _)| (left, Err(reason()))).collect();
    };
    let (mut answers, mut away): (Vec<_>, Option<String>) = (Vec::new(), None);
    for (left, hint) in questions {
        let answer = match &away {
            Some(reason) => Err(String::clone(reason)),
            None => {
                let mark = MarkId { gid: left.gid, of: MarkOf::All };
                let answer = connector.decide(mark, &hint).await;
                away = answer.as_ref().err().filter(|error| is_away(error)).map(ToString::to_string);
                answer.map_err(|error| error.to_string())
            }
        };
        answers.push((left, answer));
    }
    answers
}

/// Whether the next question would wait as long for nothing.
fn is_away(error: &StoreError) -> bool {
    matches!(error, StoreError::Unreachable { .. } | StoreError::ConnectionLost { .. } | StoreError::Deadline { .. })
}

/// What came of a branch.
struct Outcome {
    store: StoreName,
    branch: InDoubt,
    verdict: Verdict,
    gid: Option<Gid>,
    ended: Ended,
}

/// Ends branches of one store.
async fn end(connector: Option<Arc<dyn Connector>>, store: StoreName, branches: Endings) -> Vec<Outcome> {
    let (mut outcomes, mut away): (Vec<Outcome>, Option<String>) = (Vec::new(), None);
    for (branch, verdict, gid) in branches {
        let ended = match (&connector, &away) {
            (Some(connector), None) => match connector.resolve(&branch.id, verdict).await {
                Ok(resolved) => Ended::Yes(resolved),
                Err(error) => {
                    away = Some(error.to_string()).filter(|_| is_away(&error));
                    Ended::No(error.to_string())
                }
            },
            (_, Some(reason)) => Ended::No(String::clone(reason)),
            (None, None) => Ended::No("the store is not served any more".to_owned()),
        };
        outcomes.push(Outcome { store: store.clone(), branch, verdict, gid, ended });
    }
    outcomes
}
