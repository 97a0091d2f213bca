//! Where looks at the table of changes end because a state of the file was read there: what such a state has is given apart from what it
//! has not.
//!
//! A state shows whole transactions, so that a look which ends with the last row of one tears none. A look that has gone further already
//! cannot be parted any more; then another state is read.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Place;

/// The most states that looks end at.
const CUTS_MAX: usize = 1_000;

/// Where looks end, for one file.
#[derive(Debug, Default)]
pub(in super::super) struct Cuts(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// Of which table of changes; 0 before there is a feed.
    history: u64,
    /// Up to which row looks have gone.
    taken: i64,
    /// The last rows of states.
    rows: BTreeSet<i64>,
}

impl Cuts {
    /// A feed begins behind a place. States of another history, or of before one that is missing, say nothing of it.
    pub(super) fn begin(&self, place: Place, is_fresh: bool) {
        let mut inner = self.lock();
        if is_fresh || inner.history != place.history {
            inner.rows.clear();
        }
        (inner.history, inner.taken) = (place.history, place.seq);
    }

    /// Has looks end where a state does. False where one has gone further.
    pub(super) fn add(&self, place: Place) -> bool {
        let mut inner = self.lock();
        if inner.history != place.history || place.seq < inner.taken || inner.rows.len() >= CUTS_MAX {
            return false;
        }
        // Also the end of the last look, which may not have come to it.
        inner.rows.insert(place.seq);
        true
    }

    /// Up to which row to look, of those behind `read` up to `last`.
    pub(super) fn end(&self, read: i64, last: i64) -> i64 {
        let mut inner = self.lock();
        inner.rows = inner.rows.split_off(&read.saturating_add(1));
        let end = inner.rows.first().copied().map_or(last, |row| row.min(last));
        inner.taken = inner.taken.max(end);
        end
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // What a panic left behind are whole values.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(seq: i64) -> Place {
        Place { history: 7, seq }
    }

    #[test]
    fn looks_end_where_states_do() {
        let cuts = Cuts::default();
        assert!(!cuts.add(place(3)), "there is no feed");
        cuts.begin(place(2), true);
        assert!(cuts.add(place(5)) && cuts.add(place(5)) && cuts.add(place(8)) && cuts.add(place(2)));
        assert_eq!((cuts.end(2, 4), cuts.end(4, 10), cuts.end(5, 10), cuts.end(8, 10)), (4, 5, 8, 10));
        assert!(!cuts.add(place(9)), "a look has gone further");
        assert!(cuts.add(place(10)));
        assert_eq!(cuts.end(8, 12), 10, "the look before has failed");
        assert!(!cuts.add(Place { history: 8, seq: 20 }), "another file");
    }

    #[test]
    fn a_history_that_begins_anew_forgets_states() {
        let cuts = Cuts::default();
        cuts.begin(place(2), true);
        assert!(cuts.add(place(5)));
        cuts.begin(place(2), false);
        assert_eq!(cuts.end(2, 9), 5);
        cuts.begin(place(2), false);
        assert!(cuts.add(place(6)));
        cuts.begin(place(2), true);
        assert_eq!(cuts.end(2, 9), 9);
    }
}
