//! Rows that are locked for a client who reads them, until his transaction ends.

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
}
