//! Savepoints of a transaction that writes, and what had been written and changed before each.

use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};

use super::turn::Flags;

/// What is done with a savepoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Mark {
    /// It is set.
    Set,
    /// It is forgotten, and those after it.
    Release,
    /// What was done since is undone.
    ComeBack,
}

impl Mark {
    /// The server's word for it.
    pub(in super::super) fn words(self) -> &'static str {
        match self {
            Self::Set => "SAVEPOINT",
            Self::Release => "RELEASE SAVEPOINT",
            Self::ComeBack => "ROLLBACK TO SAVEPOINT",
        }
    }
}

/// Live savepoints, the oldest first.
#[derive(Debug, Default)]
pub(in super::super) struct Marks(Mutex<Vec<Live>>);

/// A savepoint, and how the transaction stood before it.
#[derive(Debug)]
struct Live {
    id: u32,
    had_written: bool,
    had_changed: bool,
}

impl Marks {
    /// Takes note of what the server has done. A transaction that has come back to a time before its first write has not written.
    pub(in super::super) fn note(&self, mark: Mark, id: u32, flags: &Flags) {
        let mut marks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let place = marks.iter().rposition(|live| live.id == id);
        match (mark, place) {
            (Mark::Set, _) => marks.push(Live {
                id,
                had_written: flags.has_written.load(Ordering::Acquire),
                had_changed: flags.has_changed.load(Ordering::Acquire),
            }),
            (Mark::Release, Some(place)) => marks.truncate(place),
            (Mark::ComeBack, Some(place)) => {
                marks.truncate(place + 1);
                flags.has_written.store(marks.last().is_none_or(|live| live.had_written), Ordering::Release);
                flags.has_changed.store(marks.last().is_none_or(|live| live.had_changed), Ordering::Release);
            }
            (Mark::Release | Mark::ComeBack, None) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_undone_was_not_written() {
        let (marks, flags) = (Marks::default(), Flags::default());
        let write = || flags.has_written.store(true, Ordering::Release);
        let come_back = |id| {
            marks.note(Mark::ComeBack, id, &flags);
            flags.has_written.load(Ordering::Acquire)
        };
        marks.note(Mark::Set, 1, &flags);
        write();
        marks.note(Mark::Set, 2, &flags);
        marks.note(Mark::Set, 3, &flags);
        assert!(come_back(2), "what came before the savepoint stays");
        assert!(!come_back(1));
        write();
        // Those after it are gone, and an unknown one tells nothing.
        assert!(come_back(2));
        assert!(!come_back(1), "the savepoint itself stays");
        write();
        marks.note(Mark::Release, 1, &flags);
        assert!(come_back(1));
    }

    #[test]
    fn what_was_undone_was_not_changed() {
        let (marks, flags) = (Marks::default(), Flags::default());
        for (changes_before, expected) in [(false, false), (true, true)] {
            flags.has_changed.store(changes_before, Ordering::Release);
            marks.note(Mark::Set, 1, &flags);
            flags.has_changed.store(true, Ordering::Release);
            marks.note(Mark::ComeBack, 1, &flags);
            assert_eq!(flags.has_changed.load(Ordering::Acquire), expected);
        }
    }
}
