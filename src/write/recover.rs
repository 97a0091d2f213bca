//! Rounds that end what was left in the stores: at every start, whenever a commit leaves something, and from time to time.
//!
//! ```text
//! what is open (before) → every store lists its prepared branches → each name is looked up
//!   under way here → left alone · decided → ended so · its mark decides → the store that has it is asked · ours and unknown → rolled back
//!   of another log → shown, and taken over where that log's instance is dead
//! → what was open before and is listed nowhere has ended: Done → its marks go
//! ```
//!
//! **Invariants:** names are listed first and looked up afterwards, so that one that is unknown is of nobody who could still decide; what
//! became open after the stores were asked is not taken for ended by their answers; a store that does not answer keeps what is its
//! own open; over the names of another log nothing is decided here, but by hand (`write::resolve`).

mod ending;
mod listing;
pub mod retention;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::future::join_all;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::coordinator::Coordinator;
use super::log::table::{TableLog, Taken};
use super::log::{Fate, Left, Record};
use super::open::Standing;
use crate::catalog::commits::{Commits, State};
use crate::stores::commit::{BranchId, Gid, LogId, MarkId};
use crate::stores::{Connector, StoreName};
use crate::telemetry::audit::Audit;
use crate::telemetry::log::Line;

/// How long it is between rounds while something is open.
const SOON: Duration = Duration::from_secs(5);
/// How long it is otherwise: what nothing is remembered of is found so.
const LATER: Duration = Duration::from_secs(60);
/// For how long rounds follow one another soon after a start, and after one was asked for: a branch that was lost on its way may be
/// prepared after the round, and be held for a while.
const WATCH: Duration = Duration::from_secs(60);
/// Marks that are removed in one round.
const MARKS_AT_ONCE: usize = 1_000;

/// Why a name of another log waits: nobody ends it by hand then.
pub const LIVING: &str = "the instance that holds the log in its name is running";

/// The stores of a moment.
pub type Connectors = BTreeMap<StoreName, Arc<dyn Connector>>;

/// The stores of now: a reload replaces them.
pub type Stores = Arc<dyn Fn() -> Arc<Connectors> + Send + Sync>;

/// Ends what was left.
pub struct Recovery {
    coordinator: Arc<Coordinator>,
    stores: Stores,
    /// The log, where other instances have logs beside it.
    table: Option<Arc<TableLog>>,
    audit: Arc<Audit>,
    /// The last time that each log was taken.
    takes: Mutex<BTreeMap<LogId, Take>>,
    /// Sagas of which it was said that they wait for help.
    told: Mutex<BTreeSet<Gid>>,
    /// Stores that have had marks since the start.
    marked: Mutex<BTreeSet<StoreName>>,
}

/// What a log says that was taken, of what was begun before.
#[derive(Debug)]
struct Take {
    /// The first number after it.
    first: u64,
    /// What is decided to commit, of all with lower numbers.
    committed: BTreeSet<Gid>,
}

impl fmt::Debug for Recovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recovery").field("takes", &self.takes).finish_non_exhaustive()
    }
}

/// How long it is to the next round, so long after the last one that was asked for.
fn pause(has_open: bool, asked: Duration) -> Duration {
    if has_open || asked < WATCH { SOON } else { LATER }
}

impl Recovery {
    /// One for the commits of a coordinator. `table` is its log, where that is one of several.
    pub fn new(coordinator: Arc<Coordinator>, stores: Stores, table: Option<Arc<TableLog>>, audit: Arc<Audit>) -> Arc<Self> {
        let (takes, told, marked) = (Mutex::default(), Mutex::default(), Mutex::default());
        Arc::new(Self { coordinator, stores, table, audit, takes, told, marked })
    }

    /// What is shown of commits.
    pub fn shown(&self) -> &Arc<Commits> {
        self.coordinator.shown()
    }

    /// Rounds until `stop`: when one is asked for, when a store has come back, and from time to time.
    pub async fn run(self: Arc<Self>, mut wake: mpsc::Receiver<()>, mut versions: watch::Receiver<u64>, stop: CancellationToken) {
        let mut asked = Instant::now();
        loop {
            let pause = pause(self.has_open(), asked.elapsed());
            // Cancel-safe: nothing is taken that a round would not look for itself.
            tokio::select! {
                () = stop.cancelled() => return,
                Some(()) = wake.recv() => asked = Instant::now(),
                changed = versions.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(pause) => {}
            }
            // A round that is dropped leaves every store and the log in a state that the next one starts from.
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.round() => {}
            }
        }
    }

    /// Whether something waits for being ended.
    pub fn has_open(&self) -> bool {
        self.coordinator.open().has_left() || self.shown().in_doubt().iter().any(|doubt| doubt.is_ours)
    }

    /// One round.
    pub async fn round(&self) {
        self.adopt(&BTreeSet::new());
        let before: BTreeSet<Gid> = self.open_now().iter().map(|left| left.gid).collect();
        let stores = (self.stores)();
        let seen = listing::list(&stores).await;
        let named: BTreeSet<LogId> = seen.all().map(|(_, branch)| branch.id.log).collect();
        let logs = self.look_after_logs(&seen).await;
        let mut round = ending::Round::new(self, stores, seen, logs);
        round.decide().await;
        round.end_branches().await;
        round.undo_sagas().await;
        round.finish(&before).await;
        self.shown().found(round.into_doubts());
        self.forget_marks().await;
        self.let_go_of_logs(&named).await;
    }

    /// Lets go of logs that were taken over, when nothing of them is here or in a store any more. A branch that comes to be prepared later
    /// names its log, which is taken over then as it was before.
    async fn let_go_of_logs(&self, named: &BTreeSet<LogId>) {
        let Some(table) = &self.table else { return };
        let needed = self.coordinator.open().logs();
        for log in table.taken_over() {
            if !named.contains(&log) && !needed.contains(&log) && table.let_go(log).await {
                tracing::info!(%log, "a log of commits that was taken over is let go of");
                self.takes().remove(&log);
            }
        }
    }

    /// Everything that is to be ended, but for what is under way. Of a log in a table only while it is in that log and the log is ours:
    /// whoever has it otherwise ends it.
    fn open_now(&self) -> Vec<Left> {
        let mut left = self.coordinator.open().left();
        if let Some(table) = &self.table {
            left.retain(|left| left.fate == Fate::Unwritten || table.is_open(left.gid));
        }
        left
    }

    /// Whether a transaction is ours to be ended, as far as its log says now.
    async fn is_still_ours(&self, gid: Gid) -> bool {
        let Some(table) = &self.table else { return true };
        table.still_holds(gid.log).await && table.is_open(gid)
    }

    /// What is known of a branch.
    fn standing(&self, id: &BranchId) -> Standing {
        self.coordinator.open().standing(id)
    }

    /// Takes what was open in logs that have been taken, and leaves those that are of others now.
    fn adopt(&self, given_up: &BTreeSet<LogId>) {
        let Some(table) = &self.table else { return };
        for log in given_up {
            table.give_up(*log);
        }
        for Taken { log, first, left } in table.taken() {
            let committed = left.iter().filter(|left| left.fate == Fate::Commit).map(|left| left.gid).collect();
            self.takes().insert(log, Take { first, committed });
            left.into_iter().for_each(|left| self.coordinator.adopt(left));
        }
        for left in self.coordinator.open().left() {
            if left.fate == Fate::Unwritten {
                self.read_again(left.gid);
            } else if table.holds(left.gid.log) && !table.is_open(left.gid) {
                self.ended_elsewhere(&left);
            }
        }
    }

    /// It is known what is in the log about a decision, if the log was taken after it was sent there.
    fn read_again(&self, gid: Gid) {
        let takes = self.takes();
        let Some(take) = takes.get(&gid.log).filter(|take| gid.number < take.first) else { return };
        let fate = if take.committed.contains(&gid) { Fate::Commit } else { Fate::Abort };
        drop(takes);
        self.coordinator.open().decided(gid, fate);
    }

    /// Our log has nothing more of it: whoever had the log meanwhile has ended it, or it was never decided.
    fn ended_elsewhere(&self, left: &Left) {
        self.coordinator.open().done(left.gid);
        self.told().remove(&left.gid);
        self.shown().change(left.gid, |shown| match left.fate {
            Fate::Commit | Fate::Abort => {
                shown.pending.clear();
                shown.state = if left.fate == Fate::Commit { State::Committed } else { State::RolledBack };
            }
            Fate::AskLast { .. } | Fate::Saga(_) | Fate::Unwritten => {
                shown.error = Some("another instance has had its log, and has ended it".to_owned());
            }
        });
    }

    /// Proves which logs are ours, and takes over those of dead instances that have branches in our stores.
    async fn look_after_logs(&self, seen: &listing::Seen) -> listing::Logs {
        let own = self.coordinator.journal().numbers().log();
        let Some(table) = &self.table else { return listing::Logs::of_one(own) };
        let open = self.coordinator.open().left().iter().map(|left| left.gid.log).collect();
        let (logs, given_up) = listing::logs(table, seen, open).await;
        self.adopt(&given_up);
        logs
    }

    /// More is known of how a transaction ends.
    fn decided(&self, gid: Gid, fate: &Fate) {
        self.coordinator.open().decided(gid, fate.clone());
    }

    /// A transaction has ended everywhere. Where the log cannot be told, the next round finds the same.
    async fn done(&self, gid: Gid, marks: Vec<(StoreName, MarkId)>) -> bool {
        if let Err(error) = self.coordinator.journal().append(Record::Done { gid }, false).await {
            tracing::warn!(%gid, error = %Line(&error.to_string()), "the end of a transaction is not in the log of commits");
            return false;
        }
        self.coordinator.open().done(gid);
        self.told().remove(&gid);
        for (store, mark) in marks {
            self.coordinator.open().forget_later(store, mark);
        }
        true
    }

    /// Removes marks of transactions whose end is on disk. Each is told to the log once more and waited for: what was told before may have
    /// been lost with its log, and a transaction without its marks would be undone by whoever finds it there.
    async fn forget_marks(&self) {
        let open = self.coordinator.open();
        let marks = open.take_marks(MARKS_AT_ONCE);
        self.marked().extend(marks.iter().map(|(store, _)| store.clone()));
        let gids: BTreeSet<Gid> = marks.iter().map(|(_, mark)| mark.gid).collect();
        let journal = self.coordinator.journal();
        let written = join_all(gids.into_iter().map(|gid| async move {
            let outcome = journal.append(Record::Done { gid }, true).await;
            if let Err(error) = &outcome {
                tracing::debug!(%gid, error = %Line(&error.to_string()), "marks are kept for now");
            }
            outcome.is_ok().then_some(gid)
        }))
        .await;
        let sure: BTreeSet<Gid> = written.into_iter().flatten().collect();
        let mut by_store: BTreeMap<StoreName, Vec<MarkId>> = BTreeMap::new();
        for (store, mark) in marks {
            if sure.contains(&mark.gid) {
                by_store.entry(store).or_default().push(mark);
            } else {
                open.forget_later(store, mark);
            }
        }
        let stores = (self.stores)();
        for (store, marks) in by_store {
            // Those of a store that is served no more stay where they are.
            let Some(connector) = stores.get(&store) else { continue };
            if let Err(error) = connector.forget(&marks).await {
                tracing::debug!(%store, error = %Line(&error.to_string()), "marks are removed later");
                marks.into_iter().for_each(|mark| open.forget_later(store.clone(), mark));
            }
        }
    }

    fn takes(&self) -> MutexGuard<'_, BTreeMap<LogId, Take>> {
        self.takes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn marked(&self) -> MutexGuard<'_, BTreeSet<StoreName>> {
        self.marked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn told(&self) -> MutexGuard<'_, BTreeSet<Gid>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
