//! Prepare, decide, end: how all stores of a transaction commit or none.
//!
//! ```text
//! all but one:   prepare ┐                                       ┌ commit_prepared ─ Done
//! the one:       mark    ├ all said yes → its commit, or, without it, the record Commit, is the decision
//! the log:       Begin   ┘  one did not → everything is rolled back
//! ```
//!
//! **Invariants:** nothing is committed before every other store has promised to commit and the log knows where the decision will be
//! found; after an answer that leaves the decision open nothing is ended here; what was decided is never taken back.

use std::sync::atomic::{AtomicBool, Ordering};

use chrono::Utc;
use futures::future::{join, join_all, join4};

use super::commit::{self, Committed, Guarantee, Participant, Sorted, Writers};
use super::coordinator::{Asked, Coordinator, Ending, Told, refuse, with_more};
use super::failpoint::Point;
use super::log::{Fate, JournalError, Named, Record};
use super::open::UnderWay;
use crate::catalog::commits::{State, Transaction};
use crate::error::{Diagnosis, sqlstate};
use crate::stores::commit::{BranchId, Gid, MarkId, MarkOf, Part, Vote};
use crate::stores::position::Position;
use crate::stores::{StoreError, StoreName};
use crate::telemetry::audit::Event;
use crate::telemetry::log::Line;

const ROLLED_BACK: &str = "Everything was rolled back.";

/// Commits participants that can be committed together.
pub(super) async fn commit(with: &Coordinator, gid: Gid, sorted: Sorted, asked: &Asked) -> Told {
    if let Err(refused) = ready(with, gid, &sorted, asked).await {
        return refuse(sorted, refused).await;
    }
    Commit::begin(with, gid, sorted, asked).run().await
}

/// Whether the log and the table of marks are there, and every name is one over which that log decides.
async fn ready(with: &Coordinator, gid: Gid, sorted: &Sorted, asked: &Asked) -> Result<(), Diagnosis> {
    with.can_commit_several()?;
    for one in &sorted.participants {
        match one.branch.part() {
            // Whoever took the log over that named it would roll it back, whatever is decided here.
            Part::Prepared if one.branch.branch_id(&one.store, gid).log != gid.log => return Err(replaced()),
            Part::Last => with.install(&one.store, asked).await?,
            Part::Prepared | Part::Alone(_) => {}
        }
    }
    Ok(())
}

fn replaced() -> Diagnosis {
    Diagnosis::new(sqlstate::SERIALIZATION_FAILURE, "the log of commits was replaced while the transaction ran")
        .with_hint("The transaction may be tried again.")
}

/// A transaction on its way, in what is open and in what is shown.
pub(super) struct Life<'a> {
    with: &'a Coordinator,
    gid: Gid,
    under_way: Option<UnderWay>,
}

impl<'a> Life<'a> {
    /// It begins; no store has been asked yet.
    pub fn begin(with: &'a Coordinator, gid: Gid, branches: Vec<Named>, shown: (&Asked, &Guarantee, Vec<StoreName>)) -> Self {
        let under_way = Some(with.open.enter(gid, branches));
        let (asked, guarantee, stores) = shown;
        with.shown.begin(Transaction {
            gid,
            state: State::Preparing,
            guarantee: guarantee.to_string(),
            pending: stores.clone(),
            stores,
            role: asked.role.clone(),
            began: Utc::now(),
            decided: None,
            error: None,
        });
        Self { with, gid, under_way }
    }

    /// What becomes of it if nothing more is heard of this task.
    pub fn believe(&mut self, fate: Fate) {
        if let Some(under_way) = &mut self.under_way {
            under_way.believe(fate);
        }
    }

    /// A store has its mark, or may have.
    fn marked(&mut self, store: &StoreName) {
        if let Some(under_way) = &mut self.under_way {
            under_way.marked(store);
        }
    }

    /// It is shown so from now on.
    pub fn show(&self, change: impl FnOnce(&mut Transaction)) {
        self.with.shown.change(self.gid, change);
    }

    /// The recovery goes on with it, by the fate that was believed last.
    pub fn leave(mut self, change: impl FnOnce(&mut Transaction)) {
        drop(self.under_way.take());
        self.show(change);
        self.with.wake();
    }

    /// Nothing is left of it here.
    pub fn ended(mut self, change: impl FnOnce(&mut Transaction)) {
        if let Some(under_way) = self.under_way.take() {
            under_way.ended();
        }
        self.show(change);
    }
}

impl Drop for Life<'_> {
    fn drop(&mut self) {
        let Some(under_way) = self.under_way.take() else { return };
        // The task has died.
        let state = if under_way.is_rolled_back() { State::RolledBack } else { State::Unknown };
        drop(under_way);
        self.show(|shown| {
            shown.state = state;
            shown.error = Some("its commit was cut off".to_owned());
        });
        self.with.wake();
    }
}

/// A participant that is prepared.
struct Prepared {
    one: Participant,
    id: BranchId,
}

/// What was answered before the decision.
struct Votes {
    /// What each that is prepared said, in their order.
    each: Vec<Result<Vote, StoreError>>,
    /// Whether the log knows where the decision will be found.
    begun: Result<(), JournalError>,
    /// Whether the mark is written.
    marked: Result<(), StoreError>,
}

/// Who has not said that it has committed.
#[derive(Default)]
struct Unconfirmed {
    /// Those that follow.
    late: Vec<StoreName>,
    /// Those that do not have what they had promised.
    missing: Vec<StoreName>,
    /// The branches that are missing.
    gone: Vec<(StoreName, BranchId)>,
    /// What was said: of one that is missing rather than of one that is late.
    reason: Option<String>,
}

enum Decided {
    Commit,
    /// The decision was not made, and the one that could have made it has ended or never was.
    Refused(Diagnosis),
    Unknown,
}

/// A commit of several stores.
struct Commit<'a> {
    with: &'a Coordinator,
    gid: Gid,
    guarantee: Guarantee,
    prepared: Vec<Prepared>,
    last: Option<Participant>,
    /// Branches that have changed nothing.
    rest: Writers,
    /// What stores have told with their commits.
    positions: Vec<Position>,
    life: Life<'a>,
}

impl<'a> Commit<'a> {
    fn begin(with: &'a Coordinator, gid: Gid, sorted: Sorted, asked: &Asked) -> Self {
        let Sorted { participants, rest } = sorted;
        let stores: Vec<StoreName> = participants.iter().flat_map(|one| one.names.clone()).collect();
        let (mut prepared, mut last) = (Vec::new(), None);
        for one in participants {
            // One that has become a second of these since it was checked is asked to prepare, and will not.
            if one.branch.part() == Part::Last && last.is_none() {
                last = Some(one);
            } else {
                let id = one.branch.branch_id(&one.store, gid);
                prepared.push(Prepared { one, id });
            }
        }
        let names: Vec<StoreName> = prepared.iter().flat_map(|branch| branch.one.names.clone()).collect();
        let guarantee = match &last {
            Some(last) => Guarantee::LastResource { prepared: names, last: last.names.clone() },
            None => Guarantee::TwoPhase(names),
        };
        let life = Life::begin(with, gid, prepared.iter().map(named).collect(), (asked, &guarantee, stores));
        Self { with, gid, guarantee, prepared, last, rest, positions: Vec::new(), life }
    }

    async fn run(mut self) -> Told {
        self.with.points.reached(Point::BeforePrepare).await;
        if let Some(last) = &self.last {
            // From here on the log may know of it, and nobody else ends what is in the log.
            self.life.marked(&last.store);
            self.life.believe(Fate::AskLast { store: last.store.clone(), hint: last.branch.hint() });
        }
        let votes = self.prepare().await;
        self.with.points.reached(Point::AfterPrepare).await;
        if let Some(failed) = failure(&votes) {
            return self.back(votes, failed).await;
        }
        self.life.show(|shown| shown.state = State::Deciding);
        let decided = if self.last.is_some() { self.decide_by_last().await } else { self.decide_by_record(&votes).await };
        match decided {
            Decided::Commit => self.finish(votes).await,
            Decided::Refused(failed) => self.back(votes, failed).await,
            Decided::Unknown => self.leave_unknown().await,
        }
    }

    /// Asks all that are prepared, side by side; meanwhile the log learns where the decision will be found, and the mark is written
    /// there.
    async fn prepare(&self) -> Votes {
        let (points, is_first) = (&self.with.points, AtomicBool::new(true));
        let is_first = &is_first;
        let asked = self.prepared.iter().map(|branch| async move {
            let vote = branch.one.branch.prepare(&branch.id).await;
            if is_first.swap(false, Ordering::Relaxed) {
                points.reached(Point::AfterFirstPrepare).await;
            }
            vote
        });
        let (each, begun, marked, ()) =
            join4(join_all(asked), self.begin_record(), self.mark(), points.reached(Point::WhilePreparing)).await;
        Votes { each, begun, marked }
    }

    async fn begin_record(&self) -> Result<(), JournalError> {
        let Some(last) = &self.last else { return Ok(()) };
        let branches = self.prepared.iter().map(named).collect();
        let record = Record::Begin { gid: self.gid, last: last.store.clone(), hint: last.branch.hint(), branches };
        self.with.journal.append(record, true).await?;
        self.with.points.reached(Point::AfterBeginRecord).await;
        Ok(())
    }

    async fn mark(&self) -> Result<(), StoreError> {
        let Some(last) = &self.last else { return Ok(()) };
        if let Err(error) = last.branch.mark(self.mark_id()).await {
            self.with.install_again(&last.store);
            return Err(error);
        }
        self.with.points.reached(Point::AfterMark).await;
        Ok(())
    }

    fn mark_id(&self) -> MarkId {
        MarkId { gid: self.gid, of: MarkOf::All }
    }

    /// All stores but nobody's commit: the record is the decision. Where nobody has anything to keep there is nothing to decide.
    async fn decide_by_record(&mut self, votes: &Votes) -> Decided {
        let branches: Vec<Named> = self.promised(votes).map(named).collect();
        if branches.is_empty() {
            return Decided::Commit;
        }
        self.with.points.reached(Point::BeforeDecision).await;
        self.life.believe(Fate::Unwritten);
        match self.with.journal.append(Record::Commit { gid: self.gid, branches }, true).await {
            Ok(()) => {
                self.life.believe(Fate::Commit);
                self.with.points.reached(Point::AfterDecision).await;
                Decided::Commit
            }
            Err(JournalError::Refused(told)) => {
                self.life.believe(Fate::Abort);
                Decided::Refused(with_more(told, ROLLED_BACK))
            }
            Err(JournalError::Unknown(told)) => {
                tracing::error!(gid = %self.gid, error = %Line(&told.message), "it is not known whether a decision is in the log");
                Decided::Unknown
            }
        }
    }

    /// The commit of the one that is not prepared is the decision.
    async fn decide_by_last(&mut self) -> Decided {
        let Some(last) = &self.last else { return Decided::Unknown };
        self.with.points.reached(Point::BeforeLastCommit).await;
        match last.branch.commit().await {
            Ok(position) => {
                self.positions.extend(position);
                self.life.believe(Fate::Commit);
                self.with.points.reached(Point::AfterLastCommit).await;
                Decided::Commit
            }
            Err(error) if is_refusal(&error) => {
                self.life.believe(Fate::Abort);
                // It has ended with that.
                self.last = None;
                Decided::Refused(with_more(Diagnosis::of(&error), ROLLED_BACK))
            }
            Err(error) => {
                tracing::warn!(gid = %self.gid, store = %last.store, error = %Line(&error.to_string()), "a decision has no answer");
                Decided::Unknown
            }
        }
    }

    /// Those that have promised to commit.
    fn promised<'b>(&'b self, votes: &'b Votes) -> impl Iterator<Item = &'b Prepared> {
        let voted = self.prepared.iter().zip(&votes.each);
        voted.filter(|(_, vote)| matches!(vote, Ok(Vote::Yes))).map(|(branch, _)| branch)
    }

    /// It is decided: those that have promised are told. Who does not answer follows later.
    async fn finish(mut self, votes: Votes) -> Told {
        self.life.show(|shown| {
            shown.state = State::Committing;
            shown.decided = Some(Utc::now());
        });
        let (rest, mut positions) = (std::mem::take(&mut self.rest), std::mem::take(&mut self.positions));
        let (points, is_first) = (&self.with.points, AtomicBool::new(true));
        let is_first = &is_first;
        let promised: Vec<&Prepared> = self.promised(&votes).collect();
        let told = promised.iter().map(|branch| async move {
            let ended = branch.one.branch.commit_prepared().await;
            if ended.is_ok() && is_first.swap(false, Ordering::Relaxed) {
                points.reached(Point::AfterFirstCommit).await;
            }
            ended
        });
        let (ended, ()) = join(join_all(told), commit::roll_back(rest)).await;
        positions.extend(ended.iter().flatten().flatten().cloned());
        let Unconfirmed { late, missing, gone, reason } = self.unconfirmed(&promised, ended);
        self.tell_gone(gone).await;
        let is_recorded = self.last.is_some() || !promised.is_empty();
        let marks = self.last.iter().map(|last| (last.store.clone(), self.mark_id())).collect();
        let pending: Vec<StoreName> = late.iter().chain(&missing).cloned().collect();
        let ending = (is_recorded && pending.is_empty()).then_some(Ending { gid: self.gid, marks });
        if pending.is_empty() {
            self.life.ended(|shown| {
                shown.state = State::Committed;
                shown.pending.clear();
            });
        } else {
            // Whether what is missing is there is looked at once more.
            self.life.leave(|shown| (shown.pending, shown.error) = (pending, reason));
        }
        let committed = Committed { guarantee: self.guarantee, gid: Some(self.gid), late, missing, positions };
        Told { answer: Ok(committed), ending }
    }

    /// What those said that did not commit when they were told to.
    fn unconfirmed(&self, promised: &[&Prepared], ended: Vec<Result<Option<Position>, StoreError>>) -> Unconfirmed {
        let mut left = Unconfirmed::default();
        for (branch, ended) in promised.iter().zip(ended) {
            let Err(error) = ended else { continue };
            let (gid, store, told) = (self.gid, &branch.one.store, error.to_string());
            let names = branch.one.names.iter().cloned();
            if is_missing(&error) {
                let error = Line(&told);
                tracing::error!(%gid, %store, branch = %branch.id, %error, "a store does not have what it had promised to commit");
                left.missing.extend(names);
                left.gone.push((store.clone(), branch.id));
                left.reason = Some(format!("store \"{store}\" does not have what it had promised to commit: {told}"));
            } else {
                tracing::warn!(%gid, %store, error = %Line(&told), "a store follows a commit later");
                left.late.extend(names);
                left.reason.get_or_insert(told);
            }
        }
        left
    }

    /// A promise was broken: that is told whether a client still waits or not.
    async fn tell_gone(&self, gone: Vec<(StoreName, BranchId)>) {
        let role = self.with.shown.get(self.gid).map(|shown| shown.role).unwrap_or_default();
        for (store, branch) in gone {
            let event = Event::new("heuristic").by(&role).with("gid", self.gid.to_string());
            self.with.audit.tell(event.with("store", store.as_str()).with("branch", branch.to_string())).await;
        }
    }

    /// No decision was made: everything is rolled back. A branch that did not answer is found by a round of the recovery, which rolls
    /// back what nobody knows.
    async fn back(mut self, votes: Votes, failed: Diagnosis) -> Told {
        self.life.show(|shown| {
            shown.state = State::RollingBack;
            shown.error = Some(failed.message.clone());
        });
        let is_begun = matches!(self.guarantee, Guarantee::LastResource { .. }) && votes.begun.is_ok();
        let mut others = std::mem::take(&mut self.rest);
        others.extend(self.last.take().into_iter().flat_map(Participant::into_writers));
        let promised: Vec<&Prepared> = self.promised(&votes).collect();
        let ends = promised.iter().map(|branch| branch.one.branch.roll_back_prepared());
        let (ended, ()) = join(join_all(ends), commit::roll_back(others)).await;
        let mut pending: Vec<StoreName> = Vec::new();
        for (branch, ended) in promised.iter().zip(ended) {
            if let Err(error) = ended {
                let store = &branch.one.store;
                tracing::warn!(gid = %self.gid, %store, error = %Line(&error.to_string()), "a store follows a rollback later");
                pending.push(store.clone());
            }
        }
        let lost = self.prepared.iter().zip(&votes.each).filter(|(_, vote)| vote.as_ref().is_err_and(is_lost));
        pending.extend(lost.map(|(branch, _)| branch.one.store.clone()));
        if !pending.is_empty() {
            self.with.wake();
        }
        self.life.ended(|shown| (shown.state, shown.pending) = (State::RolledBack, pending));
        // What the log knows of would be open in it for ever: that nothing was committed needs no record but this.
        let ending = is_begun.then_some(Ending { gid: self.gid, marks: Vec::new() });
        Told { answer: Err(failed), ending }
    }

    /// Nobody knows whether the decision was made. Nothing that is prepared is ended here: the log or the store that decides tells.
    async fn leave_unknown(mut self) -> Told {
        let told = commit::unknown(self.gid);
        let message = told.message.clone();
        self.life.leave(|shown| (shown.state, shown.error) = (State::Unknown, Some(message)));
        commit::roll_back(std::mem::take(&mut self.rest)).await;
        Told { answer: Err(told), ending: None }
    }
}

fn named(branch: &Prepared) -> Named {
    Named { store: branch.one.store.clone(), id: branch.id }
}

/// What keeps the decision from being made. A store that refused tells more than one that was lost.
fn failure(votes: &Votes) -> Option<Diagnosis> {
    let errors = || votes.each.iter().filter_map(|vote| vote.as_ref().err()).chain(votes.marked.as_ref().err());
    let refused = errors().find(|error| !is_lost(error));
    if let Some(error) = refused.or_else(|| errors().next()) {
        return Some(undecided(error));
    }
    let told = match votes.begun.as_ref().err()? {
        JournalError::Refused(told) | JournalError::Unknown(told) => told.clone(),
    };
    Some(with_more(told, ROLLED_BACK))
}

/// What is told of an error before any decision.
pub(super) fn undecided(error: &StoreError) -> Diagnosis {
    match error {
        // It is about a branch that commits nothing by itself.
        StoreError::OutcomeUnknown { store, reason } => {
            undecided(&StoreError::ConnectionLost { store: store.clone(), reason: reason.clone() })
        }
        error if is_lost(error) => with_more(Diagnosis::of(error), "Nothing was committed: no decision was made."),
        error if has_too_few(error) => {
            with_more(Diagnosis::of(error), ROLLED_BACK).with_hint("Raise max_prepared_transactions in the store.")
        }
        error => with_more(Diagnosis::of(error), ROLLED_BACK),
    }
}

/// Whether PostgreSQL has no place for another prepared transaction. The code stands for more, and the message may be in any language:
/// the name of the setting is in none.
fn has_too_few(error: &StoreError) -> bool {
    let StoreError::Remote { sqlstate, detail: Some(detail), .. } = error else { return false };
    sqlstate == sqlstate::OUT_OF_MEMORY && detail.contains("max_prepared_transactions")
}

/// Whether what was asked may still happen in the store.
fn is_lost(error: &StoreError) -> bool {
    match error {
        StoreError::ConnectionLost { .. } | StoreError::Deadline { .. } | StoreError::OutcomeUnknown { .. } => true,
        StoreError::Unreachable { .. }
        | StoreError::Crowded { .. }
        | StoreError::Remote { .. }
        | StoreError::Value { .. }
        | StoreError::SchemaChanged { .. }
        | StoreError::Cancelled
        | StoreError::Unsupported { .. }
        | StoreError::ReadOnly { .. } => false,
    }
}

/// Whether a store says that it has no such branch: somebody else has ended it, or the store has lost it.
fn is_missing(error: &StoreError) -> bool {
    matches!(error, StoreError::Remote { sqlstate, .. } if sqlstate == sqlstate::UNDEFINED_OBJECT)
}

/// Whether an error of a commit says that nothing was committed. What may be said of a server that stops, or of a connection, says
/// nothing of that.
pub(super) fn is_refusal(error: &StoreError) -> bool {
    match error {
        StoreError::Remote { sqlstate, .. } => {
            let class = sqlstate.get(..2).unwrap_or_default();
            !["08", "57", "58", "F0", "HV", "XX"].contains(&class) && sqlstate != "40003"
        }
        StoreError::Crowded { .. }
        | StoreError::Value { .. }
        | StoreError::SchemaChanged { .. }
        | StoreError::Unsupported { .. }
        | StoreError::ReadOnly { .. } => true,
        StoreError::Unreachable { .. }
        | StoreError::ConnectionLost { .. }
        | StoreError::Deadline { .. }
        | StoreError::OutcomeUnknown { .. }
        | StoreError::Cancelled => false,
    }
}

#[cfg(test)]
mod tests;
