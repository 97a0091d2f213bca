//! Rows that are locked for a client who reads them, until his transaction ends; and how long locks of others are waited for.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How long a transaction waits for locks of others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LockWaits {
    /// As the client has asked for (`lock_timeout`); `None` leaves it to the stores.
    pub asked: Option<Duration>,
    /// The longest wait of one that holds something in another store too, where the client asks for none: no store sees a deadlock in
    /// which it is one of several.
    pub together: Option<Duration>,
}

impl LockWaits {
    /// The longest wait in a store.
    #[must_use]
    pub fn in_store(self, holds_elsewhere: bool) -> Option<Duration> {
        self.asked.or(self.together.filter(|_| holds_elsewhere))
    }
}

/// The longest wait for a lock that a branch was told last.
#[derive(Debug, Default)]
pub struct LockWait(AtomicU64);

impl LockWait {
    /// One that is told before the branch opens.
    #[must_use]
    pub fn of(limit: Option<Duration>) -> Self {
        let wait = Self::default();
        wait.set(limit);
        wait
    }

    /// Takes note of it.
    pub fn set(&self, limit: Option<Duration>) {
        // Less than a millisecond is no request to wait as long as it takes.
        let millis = limit.map_or(0, |limit| u64::try_from(limit.as_millis()).unwrap_or(u64::MAX).max(1));
        self.0.store(millis, Ordering::Release);
    }

    /// In milliseconds; 0 leaves it to the store.
    #[must_use]
    pub fn millis(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

/// How a row is locked; the order is that of what others are kept from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Strength {
    /// `FOR KEY SHARE`
    KeyShare,
    /// `FOR SHARE`
    Share,
    /// `FOR NO KEY UPDATE`
    NoKeyUpdate,
    /// `FOR UPDATE`
    Update,
}

impl Strength {
    /// Its words in SQL.
    pub fn words(self) -> &'static str {
        match self {
            Self::KeyShare => "FOR KEY SHARE",
            Self::Share => "FOR SHARE",
            Self::NoKeyUpdate => "FOR NO KEY UPDATE",
            Self::Update => "FOR UPDATE",
        }
    }

    /// What a statement is called that locks so.
    pub fn verb(self) -> &'static str {
        match self {
            Self::KeyShare => "SELECT FOR KEY SHARE",
            Self::Share => "SELECT FOR SHARE",
            Self::NoKeyUpdate => "SELECT FOR NO KEY UPDATE",
            Self::Update => "SELECT FOR UPDATE",
        }
    }
}

/// What becomes of rows that somebody else has locked; of several for one table the greatest counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Waiting {
    /// They are waited for.
    Wait,
    /// `SKIP LOCKED`: they are left out.
    Skip,
    /// `NOWAIT`: the statement fails (55P03).
    Fail,
}

impl Waiting {
    /// Its words in SQL, with a blank before them.
    pub fn words(self) -> &'static str {
        match self {
            Self::Wait => "",
            Self::Skip => " SKIP LOCKED",
            Self::Fail => " NOWAIT",
        }
    }
}

/// How the rows of a table are locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RowLock {
    /// From what others are kept.
    pub strength: Strength,
    /// What becomes of rows that others have locked.
    pub waiting: Waiting,
}

impl RowLock {
    /// What rows that are about to be changed need where their keys stay, so that rows of other tables may still come to refer to them.
    pub const FOR_CHANGE: Self = Self { strength: Strength::NoKeyUpdate, waiting: Waiting::Wait };

    /// One lock that is as good as both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { strength: self.strength.max(other.strength), waiting: self.waiting.max(other.waiting) }
    }
}

/// A column by which the rows come that are locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SortKey {
    /// Its ordinal in its table.
    pub column: usize,
    /// Whether the greatest value comes first.
    pub descending: bool,
    /// Whether NULL comes before all values.
    pub nulls_first: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_locks_the_stronger_and_the_less_patient_count() {
        let lock = |strength, waiting| RowLock { strength, waiting };
        let both = lock(Strength::Share, Waiting::Fail).and(lock(Strength::Update, Waiting::Skip));
        assert_eq!(both, lock(Strength::Update, Waiting::Fail));
        assert_eq!(RowLock::FOR_CHANGE.and(lock(Strength::KeyShare, Waiting::Wait)), RowLock::FOR_CHANGE);
        assert!(Strength::Share < Strength::NoKeyUpdate);
    }

    #[test]
    fn what_the_client_asks_for_counts_before_the_bound_of_several_stores() {
        let (short, long) = (Duration::from_millis(5), Duration::from_secs(9));
        let waits = LockWaits { asked: None, together: Some(short) };
        assert_eq!([waits.in_store(false), waits.in_store(true)], [None, Some(short)]);
        let asked = LockWaits { asked: Some(long), ..waits };
        assert_eq!([asked.in_store(false), asked.in_store(true)], [Some(long), Some(long)]);
        assert_eq!(LockWaits::default().in_store(true), None);
    }

    #[test]
    fn a_wait_that_is_told_is_never_taken_for_none() {
        let wait = LockWait::default();
        assert_eq!(wait.millis(), 0);
        for (limit, expected) in [(Duration::from_micros(1), 1), (Duration::from_millis(1_500), 1_500)] {
            wait.set(Some(limit));
            assert_eq!(wait.millis(), expected);
        }
        wait.set(None);
        assert_eq!((wait.millis(), LockWait::of(Some(Duration::from_secs(2))).millis()), (0, 2_000));
    }
}
