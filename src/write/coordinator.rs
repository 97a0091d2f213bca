//! Who commits what a transaction has written: one store as ever, several through `protocol` or `saga`, in a task that outlives its
//! session.
//!
//! **Invariants:** once a store has been asked to prepare, nobody's going away leaves the others in the middle; a commit that has
//! started is waited for when the server stops, and what the grace cuts off is told as unknown.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use chrono::Utc;
use tokio::sync::{mpsc, oneshot};

use super::commit::{self, Committed, Participant, Sorted, Writers};
use super::failpoint::{Point, Points};
use super::log::{Fate, Journal, Left, NoJournal, Record};
use super::open::Open;
use super::saga::Compensator;
use super::{protocol, saga};
use crate::catalog::commits::{Commits, Outcome, State, Transaction};
use crate::error::{Diagnosis, sqlstate};
use crate::stores::commit::{Gid, MarkId, OwnTable, Part, check_all};
use crate::stores::{Connector, StoreError, StoreName};
use crate::task::TaskSet;
use crate::telemetry::audit::Audit;
use crate::telemetry::log::Line;

/// What a session asks of a commit.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Who has written.
    pub role: String,
    /// What is done where not all stores can be committed together.
    pub several: Several,
    /// What undoes the writes, in the order in which they were made; only for [`Several::Saga`].
    pub steps: Vec<Step>,
    /// The name of the transaction, where it was given one before: events carry it.
    pub gid: Option<Gid>,
    /// The stores whose branches are committed, at least: a mark needs its table there.
    pub stores: Arc<BTreeMap<StoreName, Arc<dyn Connector>>>,
}

/// `tributary.cross_store_commit`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Several {
    /// All stores or none; what cannot be that is refused.
    Atomic,
    /// One after the other where it cannot, with what undoes them.
    Saga,
}

/// What undoes writes to a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The store.
    pub store: StoreName,
    /// Statements, in the order in which they are to run. Where a store has several steps, the latest is undone first.
    pub undo: Vec<String>,
}

/// How a commit has ended, and what follows the answer.
pub(super) struct Told {
    /// What the client is told.
    pub answer: Result<Committed, Diagnosis>,
    /// What is left to be written down.
    pub ending: Option<Ending>,
}

/// A transaction that has ended in every store, of which the log is to be told.
pub(super) struct Ending {
    /// Which.
    pub gid: Gid,
    /// Its marks, which may go afterwards.
    pub marks: Vec<(StoreName, MarkId)>,
}

/// Commits transactions.
pub struct Coordinator {
    pub(super) journal: Arc<dyn Journal>,
    pub(super) shown: Arc<Commits>,
    pub(super) points: Points,
    pub(super) open: Arc<Open>,
    /// Who hears of promises that were broken, whether a client still waits or not.
    pub(super) audit: Arc<Audit>,
    wake: mpsc::Sender<()>,
    compensator: OnceLock<Arc<dyn Compensator>>,
    /// Those under way; none when it has stopped.
    tasks: Mutex<Option<TaskSet>>,
    /// Connectors whose store has the table of marks.
    installed: Mutex<BTreeMap<StoreName, Weak<dyn Connector>>>,
}

impl fmt::Debug for Coordinator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Coordinator").field("journal", &self.journal).field("open", &self.open).finish_non_exhaustive()
    }
}

impl Coordinator {
    /// One that writes its decisions to a log. `wake` asks for a round of the recovery; while one has been asked for already, nothing is
    /// put behind it.
    pub fn new(
        journal: Arc<dyn Journal>,
        shown: Arc<Commits>,
        points: Points,
        wake: mpsc::Sender<()>,
        audit: Arc<Audit>,
    ) -> Arc<Self> {
        let left = journal.left();
        left.iter().for_each(|left| shown.begin(shown_again(left)));
        Arc::new(Self {
            journal,
            shown,
            points,
            open: Open::new(left),
            audit,
            wake,
            compensator: OnceLock::new(),
            tasks: Mutex::new(Some(TaskSet::new())),
            installed: Mutex::default(),
        })
    }

    /// One that commits single stores alone.
    pub fn without_log() -> Arc<Self> {
        let (wake, _nobody) = mpsc::channel(1);
        Self::new(Arc::new(NoJournal::new()), Arc::default(), Points::default(), wake, Audit::off())
    }

    /// Who undoes steps of sagas. The first that is told stays.
    pub fn compensate_with(&self, compensator: Arc<dyn Compensator>) {
        // There is nobody to tell of a second one.
        self.compensator.set(compensator).ok();
    }

    /// Who undoes steps of sagas.
    pub fn compensator(&self) -> Option<&Arc<dyn Compensator>> {
        self.compensator.get()
    }

    /// Where tests stop what is done for it elsewhere.
    pub fn points(&self) -> &Points {
        &self.points
    }

    /// What is shown of commits.
    pub fn shown(&self) -> &Arc<Commits> {
        &self.shown
    }

    /// What is under way here, and what is left to be ended.
    pub fn open(&self) -> &Arc<Open> {
        &self.open
    }

    /// Where decisions are written.
    pub fn journal(&self) -> &Arc<dyn Journal> {
        &self.journal
    }

    /// Whether a transaction may write to several stores.
    ///
    /// # Errors
    /// There is no log, or it cannot be written to.
    pub fn can_commit_several(&self) -> Result<(), Diagnosis> {
        self.journal.is_usable()
    }

    /// A name for a transaction that is under way.
    pub fn name(&self) -> Gid {
        self.journal.numbers().next()
    }

    /// Commits in all stores or in none. `writers` are in the order in which they were first written to.
    ///
    /// # Errors
    /// What a store answered, after which everything was rolled back; 0A000 where not all can be committed together; 40001 where the name
    /// that it was given is of a log that is not ours any more; 08007 where it is not known whether the decision was made.
    pub async fn commit(self: &Arc<Self>, writers: Writers, asked: Asked) -> Result<Committed, Diagnosis> {
        let sorted = match Sorted::of(writers) {
            Ok(sorted) => sorted,
            Err(writers) => {
                commit::roll_back(writers).await;
                return Err(commit::leaderless());
            }
        };
        if sorted.participants.len() <= 1 {
            let ended = commit::one(sorted).await;
            self.count(ended.as_ref().map_or("single store", |(guarantee, _)| guarantee.word()), &ended);
            return ended.map(|(guarantee, position)| Committed::of(guarantee, None, position.into_iter().collect()));
        }
        if locked(&self.tasks).is_none() {
            sorted.roll_back().await;
            return Err(stopping());
        }
        let numbers = self.journal.numbers();
        let gid = match asked.gid {
            None => numbers.next(),
            Some(gid) if numbers.gave(gid) => gid,
            // What has an old name counts as begun before the log was taken (`recover::Take`).
            Some(_) => {
                sorted.roll_back().await;
                return Err(renamed());
            }
        };
        let (answer, answered) = oneshot::channel();
        let running = Arc::clone(self);
        let work = async move {
            let Told { answer: told, ending } = running.several(gid, sorted, &asked).await;
            // A client that has gone is not told.
            answer.send(told).ok();
            if let Some(ending) = ending {
                running.end(ending).await;
            }
        };
        if !self.start(work) {
            // What was not started was dropped, and with it every branch.
            return Err(stopping());
        }
        answered.await.unwrap_or_else(|_died| Err(commit::unknown(gid)))
    }

    fn start(&self, work: impl Future<Output = ()> + Send + 'static) -> bool {
        let mut tasks = locked(&self.tasks);
        let Some(tasks) = tasks.as_mut() else { return false };
        tasks.spawn("commit", Box::pin(work));
        true
    }

    /// Commits several participants.
    async fn several(self: &Arc<Self>, gid: Gid, sorted: Sorted, asked: &Asked) -> Told {
        let (kind, way) = way(&sorted, asked.several);
        let told = match way {
            Way::Together => Box::pin(protocol::commit(self, gid, sorted, asked)).await,
            Way::InSteps => Box::pin(saga::commit(self, gid, sorted, asked)).await,
            Way::Not(refused) => refuse(sorted, refused).await,
        };
        self.count(kind, &told.answer);
        told
    }

    fn count<T>(&self, guarantee: &'static str, told: &Result<T, Diagnosis>) {
        let outcome = match told {
            Ok(_) => Outcome::Committed,
            Err(told) if told.sqlstate == sqlstate::TRANSACTION_RESOLUTION_UNKNOWN => Outcome::Unknown,
            Err(_) => Outcome::RolledBack,
        };
        self.shown.count(guarantee, outcome);
    }

    /// Tells the log that a transaction has ended. Its record is not forced: without it, a start asks the stores once more.
    async fn end(&self, ending: Ending) {
        self.points.reached(Point::BeforeDone).await;
        if let Err(error) = self.journal.append(Record::Done { gid: ending.gid }, false).await {
            tracing::warn!(gid = %ending.gid, error = %Line(&error.to_string()), "the end of a transaction is not in the log of commits");
            return;
        }
        self.points.reached(Point::AfterDone).await;
        for (store, mark) in ending.marks {
            self.open.forget_later(store, mark);
        }
    }

    /// Goes on with what another process has left, in a log that was taken over.
    pub(super) fn adopt(&self, left: Left) {
        if self.shown.get(left.gid).is_none() {
            self.shown.begin(shown_again(&left));
        }
        self.open.adopt(left);
    }

    /// Asks for a round of the recovery.
    pub(super) fn wake(&self) {
        // A full channel has one coming.
        self.wake.try_send(()).ok();
    }

    /// Makes the table of marks in a store, once.
    pub(super) async fn install(&self, store: &StoreName, asked: &Asked) -> Result<(), Diagnosis> {
        let Some(connector) = asked.stores.get(store) else {
            let reason = "It was replaced when the catalog directory was read again.".to_owned();
            return Err(Diagnosis::of(&StoreError::ConnectionLost { store: store.to_string(), reason }));
        };
        let known = locked(&self.installed).get(store).and_then(Weak::upgrade);
        if known.is_some_and(|known| Arc::ptr_eq(&known, connector)) {
            return Ok(());
        }
        connector.install(OwnTable::Marks).await.map_err(|error| Diagnosis::of(&error))?;
        locked(&self.installed).insert(store.clone(), Arc::downgrade(connector));
        Ok(())
    }

    /// A mark could not be written: its table may be gone.
    pub(super) fn install_again(&self, store: &StoreName) {
        locked(&self.installed).remove(store);
    }

    /// Takes no new commits, and waits for those under way. What the grace cuts off is left to the next start.
    pub async fn stop(&self, grace: Duration) {
        let tasks = locked(&self.tasks).take();
        if let Some(mut tasks) = tasks {
            let cut = tasks.stop(grace).await;
            if cut > 0 {
                tracing::warn!(commits = cut, "commits were cut off; the next start ends them");
            }
        }
    }
}

/// How participants are committed.
enum Way {
    Together,
    InSteps,
    Not(Diagnosis),
}

/// How participants are committed, and the kind of guarantee, as metrics name it.
fn way(sorted: &Sorted, several: Several) -> (&'static str, Way) {
    let parts: Vec<(&StoreName, Part)> = sorted.participants.iter().map(Participant::part).collect();
    let has_last = parts.iter().any(|(_, part)| *part == Part::Last);
    let is_alone = parts.iter().any(|(_, part)| matches!(part, Part::Alone(_)));
    match check_all(&parts) {
        Ok(()) => (if has_last { "last resource" } else { "two-phase" }, Way::Together),
        Err(_) if several == Several::Saga && !is_alone => ("saga", Way::InSteps),
        Err(refused) => ("two-phase", Way::Not(refused)),
    }
}

/// What an earlier process has left, as it is shown until it has ended.
fn shown_again(left: &Left) -> Transaction {
    let branches = || left.branches.iter().map(|branch| branch.store.clone()).chain(left.mark.clone()).collect();
    let (state, stores): (State, Vec<StoreName>) = match &left.fate {
        Fate::Commit => (State::Committing, branches()),
        Fate::Abort => (State::RollingBack, branches()),
        Fate::AskLast { .. } | Fate::Unwritten => (State::Unknown, branches()),
        Fate::Saga(saga) => (State::Unknown, saga.steps.iter().map(|step| step.store.clone()).collect()),
    };
    let mut shown = Transaction {
        gid: left.gid,
        state,
        guarantee: String::new(),
        pending: stores.clone(),
        stores,
        role: String::new(),
        began: Utc::now(),
        decided: None,
        error: None,
    };
    if let Fate::Saga(saga) = &left.fate {
        shown.role.clone_from(&saga.role);
        // It goes back already.
        if saga.stuck.is_some() || !saga.undone.is_empty() {
            (shown.state, shown.pending) = (State::Compensating, saga.to_undo());
        }
        shown.error = saga.stuck.as_ref().map(|(_, reason)| reason.clone());
    }
    shown
}

/// Rolls back before any store was asked to prepare.
pub(super) async fn refuse(sorted: Sorted, refused: Diagnosis) -> Told {
    sorted.roll_back().await;
    Told { answer: Err(with_more(refused, "Everything was rolled back.")), ending: None }
}

/// The same diagnosis with a sentence behind its detail.
pub(super) fn with_more(told: Diagnosis, sentence: &str) -> Diagnosis {
    let detail = told.detail.as_ref().map_or_else(|| sentence.to_owned(), |detail| format!("{detail} {sentence}"));
    told.with_detail(detail)
}

fn renamed() -> Diagnosis {
    let message = "the log of commits was replaced by another while the transaction was under way";
    Diagnosis::new(sqlstate::SERIALIZATION_FAILURE, message)
        .with_detail("Everything was rolled back.")
        .with_hint("The transaction may be tried again.")
}

fn stopping() -> Diagnosis {
    Diagnosis::new(sqlstate::ADMIN_SHUTDOWN, "the server is stopping").with_detail("Everything was rolled back.")
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
