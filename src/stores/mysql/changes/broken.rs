//! An event that comes with a wrong checksum: damaged on its way, or in the file of the server, where it stays so.
//!
//! The same one is asked for a few times, by feeds that begin one behind the other: the count is the store's. Then the feed waits for
//! somebody, and does not begin again while the server has the file, unless somebody has it tried again.

use std::sync::{Mutex, MutexGuard, PoisonError};

use sqlx::Row;

use super::super::super::capture::Ended;
use super::super::super::error::StoreError;
use super::super::error::Place;
use super::super::pool::Lease;

/// How often the same event may come broken.
const TIMES_MAX: u32 = 3;

/// The last event that came broken.
#[derive(Debug, Default)]
pub(in super::super) struct Broken(Mutex<Option<Met>>);

#[derive(Debug)]
struct Met {
    file: String,
    /// Where it ends there, by its own word.
    end: u32,
    times: u32,
}

impl Broken {
    /// What follows from an event that came broken.
    pub(super) fn met(&self, place: Place<'_>, file: &str, end: u32) -> Ended {
        let mut met = self.lock();
        let before = met.as_ref().filter(|met| met.file == file && met.end == end).map_or(0, |met| met.times);
        let times = before.saturating_add(1);
        *met = Some(Met { file: file.to_owned(), end, times });
        if times < TIMES_MAX {
            Ended::Again(place.lost("the checksum of an event of the binlog is wrong"))
        } else {
            refused(file, end)
        }
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
        self.forget();
        Ok(None)
    }

    fn standing(&self) -> Option<(String, u32)> {
        self.lock().as_ref().filter(|met| met.times >= TIMES_MAX).map(|met| (met.file.clone(), met.end))
    }

    /// The feed begins where the event is not, or somebody has it asked for again.
    pub(super) fn forget(&self) {
        *self.lock() = None;
    }

    fn lock(&self) -> MutexGuard<'_, Option<Met>> {
        // What a panic left behind is a whole value.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn refused(file: &str, end: u32) -> Ended {
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
}
