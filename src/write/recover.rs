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
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::coordinator::Coordinator;
use super::log::table::{TableLog, Taken};
use super::log::{Fate, Left, Record};
use super::open::Standing;
use crate::catalog::commits::Commits;
use crate::stores::commit::{BranchId, Gid, LogId, MarkId};
use crate::stores::{Connector, StoreName};
use crate::telemetry::audit::Audit;
use crate::telemetry::log::Line;

/// How long it is between rounds while something is open.
const SOON: Duration = Duration::from_secs(5);
/// How long it is otherwise: what nothing is remembered of is found so.
const LATER: Duration = Duration::from_secs(60);
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
    /// What was open in logs that were taken over.
    adopted: Mutex<BTreeMap<Gid, Left>>,
    /// Sagas of which it was said that they wait for help.
    told: Mutex<BTreeSet<Gid>>,
    /// Stores that have had marks since the start.
    marked: Mutex<BTreeSet<StoreName>>,
}

impl fmt::Debug for Recovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recovery").field("adopted", &self.adopted).finish_non_exhaustive()
    }
}

impl Recovery {
    /// One for the commits of a coordinator. `table` is its log, where that is one of several.
    pub fn new(coordinator: Arc<Coordinator>, stores: Stores, table: Option<Arc<TableLog>>, audit: Arc<Audit>) -> Arc<Self> {
        let (adopted, told, marked) = (Mutex::default(), Mutex::default(), Mutex::default());
        Arc::new(Self { coordinator, stores, table, audit, adopted, told, marked })
    }

    /// What is shown of commits.
    pub fn shown(&self) -> &Arc<Commits> {
        self.coordinator.shown()
    }

    /// Rounds until `stop`: when one is asked for, when a store has come back, and from time to time.
    pub async fn run(self: Arc<Self>, mut wake: mpsc::Receiver<()>, mut versions: watch::Receiver<u64>, stop: CancellationToken) {
        loop {
            let pause = if self.has_open() { SOON } else { LATER };
            // Cancel-safe: nothing is taken that a round would not look for itself.
            tokio::select! {
                () = stop.cancelled() => return,
                Some(()) = wake.recv() => {}
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
        self.coordinator.open().has_left()
            || !self.adopted().is_empty()
            || self.shown().in_doubt().iter().any(|doubt| doubt.is_ours)
    }

    /// One round.
    pub async fn round(&self) {
        self.adopt(&BTreeSet::new());
        let before: BTreeSet<Gid> = self.open_now().iter().map(|left| left.gid).collect();
        let stores = (self.stores)();
        let seen = listing::list(&stores).await;
        let logs = self.look_after_logs(&seen).await;
        let mut round = ending::Round::new(self, stores, seen, logs);
        round.decide().await;
        round.end_branches().await;
        round.undo_sagas().await;
        round.finish(&before).await;
        self.shown().found(round.into_doubts());
        self.forget_marks().await;
    }

    /// Everything that is to be ended, but for what is under way.
    fn open_now(&self) -> Vec<Left> {
        let open = self.coordinator.open();
        let mut left = open.left();
        let known: BTreeSet<Gid> = left.iter().map(|left| left.gid).collect();
        let adopted = self.adopted().clone();
        left.extend(adopted.into_values().filter(|left| !known.contains(&left.gid) && !open.is_under_way(left.gid)));
        left
    }

    /// What is known of a branch.
    fn standing(&self, id: &BranchId) -> Standing {
        match self.coordinator.open().standing(id) {
            Standing::Unknown => {
                let adopted = self.adopted();
                let found = adopted.values().find(|left| left.branches.iter().any(|branch| branch.id == *id)).cloned();
                drop(adopted);
                found.map_or(Standing::Unknown, |left| {
                    if self.coordinator.open().is_under_way(left.gid) { Standing::UnderWay } else { Standing::Left(left) }
                })
            }
            known => known,
        }
    }

    /// Takes what was open in logs that have been taken, and those that are of others now.
    fn adopt(&self, given_up: &BTreeSet<LogId>) {
        let Some(table) = &self.table else { return };
        for log in given_up {
            table.give_up(*log);
        }
        for Taken { log, left, .. } in table.taken() {
            let open = self.coordinator.open();
            // Now it is known what is in the log.
            for unwritten in open.left().into_iter().filter(|open| open.fate == Fate::Unwritten && open.gid.log == log) {
                let found = left.iter().find(|left| left.gid == unwritten.gid).map(|left| left.fate.clone());
                open.decided(unwritten.gid, found.unwrap_or(Fate::Abort));
            }
            let known: BTreeSet<Gid> = open.left().into_iter().map(|left| left.gid).collect();
            let mut adopted = self.adopted();
            adopted.extend(left.into_iter().filter(|left| !known.contains(&left.gid)).map(|left| (left.gid, left)));
        }
    }

    /// Proves which logs are ours, and takes over those of dead instances that have branches in our stores.
    async fn look_after_logs(&self, seen: &listing::Seen) -> listing::Logs {
        let own = self.coordinator.journal().numbers().log();
        let Some(table) = &self.table else { return listing::Logs::of_one(own) };
        let (logs, given_up) = listing::logs(table, seen).await;
        self.adopt(&given_up);
        logs
    }

    /// More is known of how a transaction ends.
    fn decided(&self, gid: Gid, fate: &Fate) {
        self.coordinator.open().decided(gid, fate.clone());
        if let Some(left) = self.adopted().get_mut(&gid) {
            left.fate = fate.clone();
        }
    }

    /// A transaction has ended everywhere. Where the log cannot be told, the next round finds the same.
    async fn done(&self, gid: Gid, marks: Vec<(StoreName, MarkId)>) -> bool {
        if let Err(error) = self.coordinator.journal().append(Record::Done { gid }, false).await {
            tracing::warn!(%gid, error = %Line(&error.to_string()), "the end of a transaction is not in the log of commits");
            return false;
        }
        self.coordinator.open().done(gid);
        self.adopted().remove(&gid);
        self.told().remove(&gid);
        for (store, mark) in marks {
            self.coordinator.open().forget_later(store, mark);
        }
        true
    }

    /// Removes marks of transactions whose end is on disk.
    async fn forget_marks(&self) {
        let open = self.coordinator.open();
        let marks = open.take_marks(MARKS_AT_ONCE);
        self.marked().extend(marks.iter().map(|(store, _)| store.clone()));
        let ends: BTreeMap<LogId, Gid> = marks.iter().map(|(_, mark)| (mark.gid.log, mark.gid)).collect();
        let mut sure = BTreeSet::new();
        for (log, gid) in ends {
            // What was given to the log before is on disk with it.
            match self.coordinator.journal().append(Record::Done { gid }, true).await {
                Ok(()) => drop(sure.insert(log)),
                Err(error) => tracing::debug!(%log, error = %Line(&error.to_string()), "marks are kept for now"),
            }
        }
        let mut by_store: BTreeMap<StoreName, Vec<MarkId>> = BTreeMap::new();
        for (store, mark) in marks {
            if sure.contains(&mark.gid.log) {
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

    fn adopted(&self) -> MutexGuard<'_, BTreeMap<Gid, Left>> {
        self.adopted.lock().unwrap_or_else(PoisonError::into_inner)
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
