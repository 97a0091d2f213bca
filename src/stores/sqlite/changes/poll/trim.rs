//! Rows of changes that are durable elsewhere are removed, some at a time, between two looks.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::super::super::scan::{Database, Failure};
use super::super::measure::hand_over;
use super::super::{NOTHING, patiently};
use super::Worker;

/// Rows that are removed in one transaction.
const EACH: i64 = 1_000;
/// How often fewer of them are removed.
const EVERY: Duration = Duration::from_millis(500);
/// How long the locks for it are waited for: no look is taken meanwhile.
const PATIENCE: Duration = Duration::from_millis(50);

impl Worker {
    /// Removes rows where enough of them are durable, or it has been long enough.
    pub(super) fn trim(&mut self, database: &Database<'_>) {
        let told = self.way.told.load(Ordering::Acquire).min(self.base);
        let count = told.saturating_sub(self.handed);
        if told == NOTHING || count <= 0 || (count < EACH && self.trimmed.elapsed() < EVERY) {
            return;
        }
        self.trimmed = Instant::now();
        let upto = told.min(self.handed.saturating_add(EACH));
        match self.remove(database, upto) {
            Ok(()) => self.handed = upto,
            // It is tried again; what is kept meanwhile is bounded.
            Err(failure) => {
                tracing::debug!(store = %self.pool.store(), code = failure.code, "rows of changes are removed later");
                if !database.is_autocommit() {
                    drop(database.run("ROLLBACK"));
                }
            }
        }
    }

    /// The same for as few rows as there are.
    pub(super) fn trim_now(&mut self, database: &Database<'_>) {
        self.trimmed = Instant::now().checked_sub(EVERY).unwrap_or(self.trimmed);
        self.trim(database);
    }

    fn remove(&self, database: &Database<'_>, upto: i64) -> Result<(), Failure> {
        let deadline = Instant::now() + PATIENCE;
        patiently(database, "BEGIN IMMEDIATE", deadline)?;
        hand_over(database, &self.object, upto)?;
        patiently(database, "COMMIT", deadline)
    }
}
