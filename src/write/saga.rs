//! Steps that are committed one after the other, and undone where a later one is refused: for stores that cannot be committed together,
//! and only where a session asks for it, because others see the steps one by one.
//!
//! ```text
//! the record Saga → every store writes the mark of its step → commit, commit, … → Done
//!                                  one is refused: the steps before are undone, the latest first, each once by a mark of its own
//! ```
//!
//! **Invariants:** every step but the last can be undone before the first is committed; the last step decides: once it is committed the
//! saga is, and nothing is undone any more; it never goes on after a step whose outcome is not known.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::Utc;
use futures::future::join_all;

use super::commit::{self, Committed, Guarantee, Participant, Sorted, Writers};
use super::coordinator::{Asked, Coordinator, Ending, Step, Told, refuse, with_more};
use super::failpoint::Point;
use super::log::{Fate, Journal, JournalError, LoggedStep, Record, SagaLeft};
use super::protocol::{Life, is_refusal, undecided};
use crate::catalog::commits::State;
use crate::error::{Diagnosis, sqlstate};
use crate::stores::StoreName;
use crate::stores::commit::{Gid, MarkId, MarkOf};
use crate::stores::position::Position;
use crate::task::Backoff;
use crate::telemetry::log::Line;

/// How often a compensation is tried.
const TRIES: usize = 3;
/// The wait before the second try; it doubles.
const PAUSE: Duration = Duration::from_millis(100);
/// The longest wait.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Who undoes steps: a session without a client. Coordinators hold it, so it must not hold them in turn, but weakly.
#[async_trait]
pub trait Compensator: Send + Sync {
    /// Runs the statements in one transaction as that role, with the mark in that store. Where the mark is there already, they have run
    /// before, and nothing is done.
    ///
    /// # Errors
    /// What a statement or the store failed with; nothing was kept, or nobody knows, and it is to be called again.
    async fn run(&self, role: &str, sql: &[String], store: &StoreName, mark: MarkId) -> Result<(), Diagnosis>;
}

/// Undoes the steps of a saga that are known to be committed, the latest first, and writes down what was undone. It may be called again
/// after an error.
///
/// # Errors
/// What keeps a step from being undone. Where somebody has to help, the log and `saga` say which step is stuck; a store that is away, or
/// busy, is asked again by whoever calls next.
pub async fn go_back(journal: &dyn Journal, compensator: &dyn Compensator, gid: Gid, saga: &mut SagaLeft) -> Result<(), Diagnosis> {
    let order: Vec<u16> = saga.stepped.iter().rev().filter(|step| !saga.undone.contains(step)).copied().collect();
    for step in order {
        let Some(logged) = saga.steps.get(usize::from(step)) else { continue };
        match undo(compensator, &saga.role, logged, MarkId { gid, of: MarkOf::Undo(step) }).await {
            Ok(()) => {
                saga.undone.insert(step);
                note(journal, Record::Undone { gid, step }, false).await;
            }
            Err(told) if passes(&told.sqlstate) => {
                tracing::warn!(%gid, step, store = %logged.store, error = %Line(&told.message), "a step of a saga is undone later");
                return Err(told);
            }
            Err(told) => {
                let reason = told.message.clone();
                tracing::error!(%gid, step, store = %logged.store, error = %Line(&reason), "a step of a saga cannot be undone");
                saga.stuck = Some((step, reason.clone()));
                note(journal, Record::Stuck { gid, step, reason }, true).await;
                return Err(told);
            }
        }
    }
    saga.stuck = None;
    Ok(())
}

/// Whether an error is one that goes by: of a connection, of a server that stops or has too much to do, of a conflict, of a lock.
fn passes(code: &str) -> bool {
    let class = code.get(..2).unwrap_or_default();
    ["08", "40", "53", "57"].contains(&class) || code == sqlstate::LOCK_NOT_AVAILABLE
}

async fn undo(compensator: &dyn Compensator, role: &str, step: &LoggedStep, mark: MarkId) -> Result<(), Diagnosis> {
    let mut pauses = Backoff::new(PAUSE, PAUSE_MAX);
    let mut told = compensator.run(role, &step.undo, &step.store, mark).await;
    for _ in 1..TRIES {
        if told.is_ok() {
            break;
        }
        tokio::time::sleep(pauses.next_wait()).await;
        told = compensator.run(role, &step.undo, &step.store, mark).await;
    }
    told
}

/// Appends what a start could find out again from the marks.
async fn note(journal: &dyn Journal, record: Record, force: bool) {
    let gid = record.gid();
    if let Err(error) = journal.append(record, force).await {
        tracing::warn!(%gid, error = %Line(&error.to_string()), "how far a saga has come is not in the log of commits");
    }
}

/// Commits participants one after the other.
pub(super) async fn commit(with: &Coordinator, gid: Gid, sorted: Sorted, asked: &Asked) -> Told {
    let ready = ready(with, &sorted, asked).await;
    match ready {
        Ok((steps, compensator)) => Saga::begin(with, gid, sorted, (asked, steps)).run(&*compensator).await,
        Err(refused) => refuse(sorted, refused).await,
    }
}

/// What is needed before anything is committed: the log, a way back, and tables of marks.
async fn ready(with: &Coordinator, sorted: &Sorted, asked: &Asked) -> Result<(Vec<LoggedStep>, Arc<dyn Compensator>), Diagnosis> {
    with.can_commit_several()?;
    let Some(compensator) = with.compensator() else {
        return Err(Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, "nothing is here that could undo a step of a transaction"));
    };
    let steps = logged(&sorted.participants, &asked.steps)?;
    for one in &sorted.participants {
        with.install(&one.store, asked).await?;
    }
    Ok((steps, Arc::clone(compensator)))
}

/// The steps with what undoes them.
///
/// # Errors
/// 0A000 for a step before the last that nothing undoes.
fn logged(participants: &[Participant], steps: &[Step]) -> Result<Vec<LoggedStep>, Diagnosis> {
    let logged: Vec<LoggedStep> = participants
        .iter()
        .map(|one| {
            let own = steps.iter().rev().filter(|step| one.names.contains(&step.store));
            let undo = own.flat_map(|step| step.undo.clone()).collect();
            LoggedStep { store: one.store.clone(), undo, hint: one.branch.hint() }
        })
        .collect();
    let before = logged.split_last().map(|(_, before)| before).unwrap_or_default();
    if let Some(step) = before.iter().find(|step| step.undo.is_empty()) {
        let message = format!("no compensation is known for store \"{}\"", step.store);
        let hint = "CALL tributary.compensate('…') after a write says which statement undoes it.";
        return Err(Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, message).with_hint(hint));
    }
    Ok(logged)
}

/// How the steps have ended.
enum Walked {
    All,
    /// A step was refused, and is not there.
    Refused(Diagnosis),
    Unknown,
}

/// A commit in steps.
struct Saga<'a> {
    with: &'a Coordinator,
    gid: Gid,
    guarantee: Guarantee,
    participants: Vec<Participant>,
    /// Branches that have changed nothing.
    rest: Writers,
    /// What stores have told with their commits.
    positions: Vec<Position>,
    left: SagaLeft,
    /// Whether the log knows of it.
    is_logged: bool,
    life: Life<'a>,
}

impl<'a> Saga<'a> {
    fn begin(with: &'a Coordinator, gid: Gid, sorted: Sorted, (asked, steps): (&Asked, Vec<LoggedStep>)) -> Self {
        let Sorted { participants, rest } = sorted;
        let stores: Vec<StoreName> = participants.iter().flat_map(|one| one.names.clone()).collect();
        let guarantee = Guarantee::Saga(stores.clone());
        let life = Life::begin(with, gid, Vec::new(), (asked, &guarantee, stores));
        let left = SagaLeft { role: asked.role.clone(), steps, ..SagaLeft::default() };
        Self { with, gid, guarantee, participants, rest, positions: Vec::new(), left, is_logged: false, life }
    }

    async fn run(mut self, compensator: &dyn Compensator) -> Told {
        self.with.points.reached(Point::BeforePrepare).await;
        if let Err(refused) = self.mark().await {
            return self.give_up(refused).await;
        }
        self.with.points.reached(Point::SagaMarked).await;
        self.life.show(|shown| shown.state = State::Committing);
        match self.walk().await {
            Walked::All => self.finish().await,
            Walked::Refused(told) => self.go_back(compensator, told).await,
            Walked::Unknown => self.leave_unknown().await,
        }
    }

    /// Writes down what undoes the steps, and has every store write its mark. Nothing is committed before all have.
    async fn mark(&mut self) -> Result<(), Diagnosis> {
        let (role, steps) = (self.left.role.clone(), self.left.steps.clone());
        let record = Record::Saga { gid: self.gid, role, steps };
        if let Err(JournalError::Refused(told) | JournalError::Unknown(told)) = self.with.journal.append(record, true).await {
            return Err(with_more(told, "Everything was rolled back."));
        }
        self.is_logged = true;
        self.life.believe(Fate::Saga(self.left.clone()));
        let gid = self.gid;
        let marks = self.participants.iter().zip(0_u16..).map(|(one, step)| async move {
            let mark = MarkId { gid, of: MarkOf::Step(step) };
            (one.branch.mark(mark).await, &one.store)
        });
        let failed = join_all(marks).await.into_iter().find_map(|(marked, store)| Some((marked.err()?, store)));
        let Some((error, store)) = failed else { return Ok(()) };
        self.with.install_again(store);
        Err(undecided(&error))
    }

    async fn walk(&mut self) -> Walked {
        for (one, step) in self.participants.iter().zip(0_u16..) {
            match one.branch.commit().await {
                Ok(position) => {
                    self.positions.extend(position);
                    self.left.stepped.insert(step);
                    self.life.believe(Fate::Saga(self.left.clone()));
                    self.life.show(|shown| shown.pending.retain(|store| !one.names.contains(store)));
                    note(&*self.with.journal, Record::Stepped { gid: self.gid, step }, false).await;
                    self.with.points.reached(Point::SagaStep).await;
                }
                Err(error) if is_refusal(&error) => return Walked::Refused(Diagnosis::of(&error)),
                Err(error) => {
                    let told = error.to_string();
                    tracing::warn!(gid = %self.gid, store = %one.store, error = %Line(&told), "a step of a saga has no answer");
                    return Walked::Unknown;
                }
            }
        }
        Walked::All
    }

    /// The branches of the steps from this one on, and those that have changed nothing.
    fn take_from(&mut self, step: usize) -> Writers {
        let rest = std::mem::take(&mut self.rest);
        let later = self.participants.split_off(step.min(self.participants.len()));
        later.into_iter().flat_map(Participant::into_writers).chain(rest).collect()
    }

    /// The marks of steps, and of what undid them.
    fn marks(&self) -> Vec<(StoreName, MarkId)> {
        let stores = |of: fn(u16) -> MarkOf, steps: Vec<u16>| {
            let store = |step: u16| self.left.steps.get(usize::from(step)).map(|logged| logged.store.clone());
            let gid = self.gid;
            steps.into_iter().filter_map(move |step| Some((store(step)?, MarkId { gid, of: of(step) }))).collect::<Vec<_>>()
        };
        let mut marks = stores(MarkOf::Step, self.left.stepped.iter().copied().collect());
        marks.extend(stores(MarkOf::Undo, self.left.undone.iter().copied().collect()));
        marks
    }

    /// Nothing was committed.
    async fn give_up(mut self, refused: Diagnosis) -> Told {
        commit::roll_back(self.take_from(0)).await;
        let ending = self.is_logged.then_some(Ending { gid: self.gid, marks: Vec::new() });
        let message = refused.message.clone();
        self.life.ended(|shown| {
            (shown.state, shown.error) = (State::RolledBack, Some(message));
            shown.pending.clear();
        });
        Told { answer: Err(refused), ending }
    }

    /// Every step is committed.
    async fn finish(mut self) -> Told {
        commit::roll_back(std::mem::take(&mut self.rest)).await;
        let ending = Ending { gid: self.gid, marks: self.marks() };
        self.life.ended(|shown| (shown.state, shown.decided) = (State::Committed, Some(Utc::now())));
        let committed = Committed::of(self.guarantee, Some(self.gid), self.positions);
        Told { answer: Ok(committed), ending: Some(ending) }
    }

    /// A step was refused: those before it are undone.
    async fn go_back(mut self, compensator: &dyn Compensator, refused: Diagnosis) -> Told {
        let done = self.left.stepped.len();
        // The one that was refused has ended with that.
        let later = self.take_from(done + 1);
        commit::roll_back(later).await;
        let (message, pending) = (refused.message.clone(), self.left.to_undo());
        self.life.show(|shown| (shown.state, shown.error, shown.pending) = (State::Compensating, Some(message), pending));
        let back = go_back(&*self.with.journal, compensator, self.gid, &mut self.left).await;
        self.life.believe(Fate::Saga(self.left.clone()));
        match back {
            Ok(()) => {
                let sentence = if done == 0 { "Everything was rolled back." } else { "Steps before were compensated." };
                let ending = Ending { gid: self.gid, marks: self.marks() };
                self.life.ended(|shown| {
                    shown.state = State::RolledBack;
                    shown.pending.clear();
                });
                Told { answer: Err(with_more(refused, sentence)), ending: Some(ending) }
            }
            Err(failed) => {
                let (message, pending) = (failed.message.clone(), self.left.to_undo());
                self.life.leave(|shown| (shown.error, shown.pending) = (Some(message), pending));
                let how = if self.left.stuck.is_some() { "could not be undone" } else { "is undone later" };
                let sentence = format!("A step before {how}: {}.", failed.message);
                let hint = format!("Its name is {}: tributary.in_doubt tells what is left.", self.gid);
                Told { answer: Err(with_more(refused, &sentence).with_hint(hint)), ending: None }
            }
        }
    }

    /// Nobody knows whether a step is committed. Those after it are dropped; the recovery asks for its mark, and goes back.
    async fn leave_unknown(mut self) -> Told {
        let begun = self.left.stepped.len() + 1;
        let later = self.take_from(begun);
        commit::roll_back(later).await;
        let told = commit::unknown(self.gid);
        let message = told.message.clone();
        let pending = self.left.steps.iter().take(begun).map(|logged| logged.store.clone()).collect();
        self.life.leave(|shown| (shown.state, shown.error, shown.pending) = (State::Unknown, Some(message), pending));
        Told { answer: Err(told), ending: None }
    }
}

#[cfg(test)]
mod tests;
