//! Events that cannot be taken: damaged on their way, or in the file of the server, where they stay so.
//!
//! ```text
//! a wrong checksum ─────────────────── three times ──→ Refused: the feed waits for somebody while the server has the file
//! cannot be read ─ rows or columns ──────────────────→ their table stops (tracked), and nothing is counted here
//!                └ nobody knows of what, three times → Lost: a gap
//! ```
//!
//! The same one is asked for a few times, by feeds that begin one behind the other: the count is the store's. Connections that end, and
//! what the server answers, are not counted: only that the same place of the same file was reached, and what is there was no event.
//!
//! **Invariant:** all that has ended in front of what cannot be read is given by the second try, so that a gap begins there.

use std::sync::{Mutex, MutexGuard, PoisonError};

use sqlx::Row;

use super::super::super::capture::Ended;
use super::super::super::error::StoreError;
use super::super::error::Place;
use super::super::pool::Lease;

/// How often the same event may come broken.
const TIMES_MAX: u32 = 3;

/// The last events that came broken.
#[derive(Debug, Default)]
pub(in super::super) struct Broken {
    /// With a wrong checksum.
    sums: Last,
    /// In a form that is not read.
    forms: Last,
}

/// The last one of its sort: there is one at a time, as nothing is read behind it.
#[derive(Debug, Default)]
struct Last(Mutex<Option<Met>>);

#[derive(Debug)]
struct Met {
    file: String,
    /// Where it ends there, by its own word, or the last one before it that could be read.
    end: u64,
    times: u32,
}

impl Last {
    /// It was there, again or for the first time. How often so far.
    fn count(&self, file: &str, end: u64) -> u32 {
        let mut met = self.lock();
        let before = met.as_ref().filter(|met| met.file == file && met.end == end).map_or(0, |met| met.times);
        let times = before.saturating_add(1);
        *met = Some(Met { file: file.to_owned(), end, times });
        times
    }

    fn forget(&self) {
        *self.lock() = None;
    }

    fn lock(&self) -> MutexGuard<'_, Option<Met>> {
        // What a panic left behind is a whole value.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Broken {
    /// What follows from an event that came with a wrong checksum, and ends there.
    pub(super) fn met(&self, place: Place<'_>, file: &str, end: u32) -> Ended {
        if self.sums.count(file, end.into()) < TIMES_MAX {
            Ended::Again(place.lost("the checksum of an event of the binlog is wrong"))
        } else {
            refused(file, end.into())
        }
    }

    /// What follows from an event that cannot be read, for `what`, and ends there, or begins there at the earliest.
    pub(super) fn unread(&self, place: Place<'_>, (file, end): (&str, u64), what: &str) -> Ended {
        let reason = format!("the binlog holds something that cannot be read: {what}");
        if self.forms.count(file, end) < TIMES_MAX {
            return Ended::Again(place.lost(&reason));
        }
        // Behind the gap is another place.
        self.forms.forget();
        Ended::Lost(format!("{reason} (at {end} of {file}, {TIMES_MAX} times)"))
    }

    /// Whether something that could not be read lies there or further on, so that what has ended is given before it is met again.
    pub(super) fn is_ahead(&self, file: &str, end: u64) -> bool {
        // Files are numbered, so their names order them.
        self.forms.lock().as_ref().is_some_and(|met| (met.file.as_str(), met.end) >= (file, end))
    }

    /// Whether nothing can be read as long as the server has a file, and why.
    ///
    /// # Errors
    /// What the server answered.
    pub(super) async fn stands(&self, lease: &mut Lease) -> Result<Option<Ended>, StoreError> {
        let Some((file, end)) = self.standing() else { return Ok(None) };
        let is_there = match lease.rows("SHOW BINARY LOGS").await {
            Ok(rows) => rows.iter().any(|row| row.try_get_unchecked::<String, _>(0).is_ok_and(|name| name == file)),
            // The privilege for it is not everybody's.
            Err(StoreError::Remote { .. }) => true,
            Err(error) => return Err(error),
        };
        if is_there {
            return Ok(Some(refused(&file, end)));
        }
        self.sums.forget();
        Ok(None)
    }

    fn standing(&self) -> Option<(String, u64)> {
        self.sums.lock().as_ref().filter(|met| met.times >= TIMES_MAX).map(|met| (met.file.clone(), met.end))
    }

    /// The feed begins where the event is not, or somebody has it asked for again.
    pub(super) fn forget(&self) {
        self.sums.forget();
        self.forms.forget();
    }
}

fn refused(file: &str, end: u64) -> Ended {
    Ended::Refused {
        reason: format!(
            "the event of {file} that ends at {end} came with a wrong checksum {TIMES_MAX} times, so that it is broken in the server's file"
        ),
        mend: format!(
            "FLUSH BINARY LOGS, then PURGE BINARY LOGS TO a file behind {file}: the feed goes on behind a gap. Where the file is sound \
             after all, CALL tributary.restart_feed, or have the directory read again."
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::super::connector::StoreName;
    use super::*;

    #[test]
    fn the_same_event_is_asked_for_three_times() {
        let name = StoreName::new("s");
        let place = Place { store: &name, table: None };
        let broken = Broken::default();
        let met = |file: &str, end: u32| matches!(broken.met(place, file, end), Ended::Refused { mend, .. } if mend.contains(file));
        assert!(!met("binlog.000002", 500) && !met("binlog.000002", 500));
        // Another one, which was damaged on its way.
        assert!(!met("binlog.000003", 500));
        assert!(!met("binlog.000002", 500) && !met("binlog.000002", 500) && met("binlog.000002", 500));
        assert!(met("binlog.000002", 500), "it stays so");
        broken.forget();
        assert!(!met("binlog.000002", 500));
    }

    #[test]
    fn what_cannot_be_read_is_a_gap_the_third_time() {
        let name = StoreName::new("s");
        let place = Place { store: &name, table: None };
        let broken = Broken::default();
        let unread = |file: &str, end: u64| match broken.unread(place, (file, end), "rows") {
            Ended::Again(_) => None,
            Ended::Lost(reason) => Some(reason),
            Ended::Refused { reason, .. } => panic!("{reason}"),
        };
        let (file, other) = ("binlog.000002", "binlog.000003");
        assert!(!broken.is_ahead("", 0), "nothing was met yet");
        assert_eq!([unread(file, 500), unread(file, 500)], [None, None]);
        assert!(broken.is_ahead("", 0) && broken.is_ahead("binlog.000001", 900) && broken.is_ahead(file, 500));
        assert!(!broken.is_ahead(file, 501) && !broken.is_ahead(other, 4));
        // Another one, which was spoilt on its way.
        assert_eq!([unread(file, 600), unread(file, 500), unread(file, 500)], [None, None, None]);
        // A wrong checksum has a count of its own.
        assert!(matches!(broken.met(place, file, 500), Ended::Again(_)));
        let reason = unread(file, 500).unwrap();
        assert!(reason.contains("rows (at 500 of binlog.000002, 3 times)"), "{reason}");
        assert!(unread(file, 500).is_none() && broken.is_ahead(file, 500), "behind a gap it is another one");
        broken.forget();
        assert!(!broken.is_ahead(file, 500));
    }
}
