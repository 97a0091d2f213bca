//! Commits over several stores, as they are shown: those under way, those that have just ended, and what the stores hold in doubt.
//! The coordinator and the recovery write it, `system::commits` makes rows of it; reading it asks no store.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};

use crate::stores::StoreName;
use crate::stores::commit::Gid;

/// How many transactions that have ended are shown.
pub const ENDED_MAX: usize = 1_000;
/// How many branches in doubt are shown.
pub const IN_DOUBT_MAX: usize = 10_000;

/// How far a transaction is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// The stores are asked whether they will commit.
    Preparing,
    /// The decision is being written.
    Deciding,
    /// It is decided, and the stores are told.
    Committing,
    /// What was prepared is rolled back.
    RollingBack,
    /// Steps that were committed are undone.
    Compensating,
    /// Nobody here knows how it has been decided.
    Unknown,
    /// It has ended and is there.
    Committed,
    /// It has ended and is not.
    RolledBack,
}

impl State {
    /// As rows show it.
    pub fn words(self) -> &'static str {
        match self {
            Self::Preparing => "preparing",
            Self::Deciding => "deciding",
            Self::Committing => "committing",
            Self::RollingBack => "rolling back",
            Self::Compensating => "compensating",
            Self::Unknown => "unknown",
            Self::Committed => "committed",
            Self::RolledBack => "rolled back",
        }
    }

    /// Whether nothing follows.
    pub fn has_ended(self) -> bool {
        matches!(self, Self::Committed | Self::RolledBack)
    }
}

/// One transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    /// Its name.
    pub gid: Gid,
    /// How far it is.
    pub state: State,
    /// What `tributary.last_commit` says when it succeeds.
    pub guarantee: String,
    /// The stores that it has written to, in that order.
    pub stores: Vec<StoreName>,
    /// Those that have not ended it yet.
    pub pending: Vec<StoreName>,
    /// Whose it is.
    pub role: String,
    /// When its commit began.
    pub began: DateTime<Utc>,
    /// When it was decided.
    pub decided: Option<DateTime<Utc>>,
    /// What the client was told, or what keeps it from ending.
    pub error: Option<String>,
}

/// What a branch in doubt waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waits {
    /// For the holder of the log in its name, or for the next start of this one.
    ForLog,
    /// For its store to answer.
    ForStore,
    /// For the store that decides.
    ForLast,
    /// For somebody who mends what cannot be undone.
    ForHelp,
}

impl Waits {
    /// As rows show it.
    pub fn words(self) -> &'static str {
        match self {
            Self::ForLog => "waiting for its log",
            Self::ForStore => "waiting for its store",
            Self::ForLast => "waiting for its last resource",
            Self::ForHelp => "compensation failed",
        }
    }
}

/// A branch that a store holds and nobody has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doubt {
    /// The transaction, where it is known; a branch that began with a name of its own and is of another log has none.
    pub gid: Option<Gid>,
    /// What the store calls it, or a step of a saga.
    pub branch: String,
    /// The store.
    pub store: StoreName,
    /// The log in its name.
    pub log: String,
    /// Whether this process decides over it.
    pub is_ours: bool,
    /// What it waits for.
    pub waits: Waits,
    /// Whose transaction it is, where that is known.
    pub role: Option<String>,
    /// When it was prepared, where the store tells.
    pub prepared: Option<DateTime<Utc>>,
    /// When the store was last seen to hold it.
    pub seen: DateTime<Utc>,
    /// Why it has not ended.
    pub reason: Option<String>,
}

/// How a commit has ended, as metrics name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// It is there.
    Committed,
    /// It is not.
    RolledBack,
    /// Nobody knew when the client was told.
    Unknown,
}

impl Outcome {
    /// Its name.
    pub fn word(self) -> &'static str {
        match self {
            Self::Committed => "committed",
            Self::RolledBack => "rolled back",
            Self::Unknown => "unknown",
        }
    }
}

/// What is shown. Bounded: what is under way by the number of sessions and what a log may have left open, what has ended and what is in
/// doubt by [`ENDED_MAX`] and [`IN_DOUBT_MAX`].
#[derive(Debug, Default)]
pub struct Commits {
    shown: Mutex<Shown>,
    /// How many commits of each kind of guarantee have ended how, since the start.
    counts: Mutex<BTreeMap<(&'static str, Outcome), u64>>,
}

#[derive(Debug, Default)]
struct Shown {
    under_way: BTreeMap<Gid, Transaction>,
    ended: VecDeque<Transaction>,
    in_doubt: Vec<Doubt>,
}

impl Commits {
    /// A commit begins, or one that was left by an earlier process is known again.
    pub fn begin(&self, transaction: Transaction) {
        self.shown().under_way.insert(transaction.gid, transaction);
    }

    /// Something of a transaction has changed; one that has ended moves among those that have.
    pub fn change(&self, gid: Gid, change: impl FnOnce(&mut Transaction)) {
        let mut shown = self.shown();
        let Some(transaction) = shown.under_way.get_mut(&gid) else { return };
        change(transaction);
        if !transaction.state.has_ended() {
            return;
        }
        if let Some(ended) = shown.under_way.remove(&gid) {
            if shown.ended.len() >= ENDED_MAX {
                shown.ended.pop_front();
            }
            shown.ended.push_back(ended);
        }
    }

    /// The transactions, those that have ended first, the oldest first.
    pub fn transactions(&self) -> Vec<Transaction> {
        let shown = self.shown();
        shown.ended.iter().chain(shown.under_way.values()).cloned().collect()
    }

    /// One transaction.
    pub fn get(&self, gid: Gid) -> Option<Transaction> {
        let shown = self.shown();
        shown.under_way.get(&gid).or_else(|| shown.ended.iter().rev().find(|ended| ended.gid == gid)).cloned()
    }

    /// What the last round has found in the stores.
    pub fn found(&self, mut in_doubt: Vec<Doubt>) {
        in_doubt.truncate(IN_DOUBT_MAX);
        self.shown().in_doubt = in_doubt;
    }

    /// Somebody has taken a transaction as it is: nothing of it is in doubt any more.
    pub fn settle(&self, gid: Gid) {
        self.shown().in_doubt.retain(|doubt| doubt.gid != Some(gid));
    }

    /// What is in doubt, as the last round found it.
    pub fn in_doubt(&self) -> Vec<Doubt> {
        self.shown().in_doubt.clone()
    }

    /// A commit that promises this has ended.
    pub fn count(&self, guarantee: &'static str, outcome: Outcome) {
        *locked(&self.counts).entry((guarantee, outcome)).or_default() += 1;
    }

    /// How many commits have ended: what they promise, how, and how often.
    pub fn counts(&self) -> Vec<(&'static str, &'static str, u64)> {
        locked(&self.counts).iter().map(|((guarantee, outcome), count)| (*guarantee, outcome.word(), *count)).collect()
    }

    fn shown(&self) -> MutexGuard<'_, Shown> {
        locked(&self.shown)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stores::commit::LogId;

    fn transaction(number: u64) -> Transaction {
        Transaction {
            gid: Gid { log: LogId(1), number },
            state: State::Preparing,
            guarantee: String::new(),
            stores: Vec::new(),
            pending: Vec::new(),
            role: "ada".to_owned(),
            began: Utc::now(),
            decided: None,
            error: None,
        }
    }

    #[test]
    fn what_has_ended_is_shown_up_to_a_bound_and_what_has_not_always() {
        let commits = Commits::default();
        let count = u64::try_from(ENDED_MAX).unwrap() + 5;
        for number in 0..=count {
            commits.begin(transaction(number));
        }
        for number in 1..=count {
            commits.change(Gid { log: LogId(1), number }, |shown| shown.state = State::Committed);
        }
        let shown = commits.transactions();
        assert_eq!(shown.len(), ENDED_MAX + 1);
        assert_eq!((shown[0].gid.number, shown[ENDED_MAX].gid.number), (6, 0));
        assert_eq!(commits.get(Gid { log: LogId(1), number: 0 }).unwrap().state, State::Preparing);
        assert!(commits.get(Gid { log: LogId(1), number: 1 }).is_none());
        // What has ended does not begin again.
        commits.change(Gid { log: LogId(1), number: count }, |shown| shown.state = State::Unknown);
        assert_eq!(commits.get(Gid { log: LogId(1), number: count }).unwrap().state, State::Committed);
    }
}
