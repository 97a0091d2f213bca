//! A log in memory, for tests: it remembers what was appended and fails when it is told to.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use super::{Journal, JournalError, Left, Record};
use crate::error::{Diagnosis, sqlstate};
use crate::stores::commit::{LogId, Numbers};

/// The log.
#[derive(Debug)]
pub struct MemoryJournal {
    numbers: Arc<Numbers>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    records: Vec<(Record, bool)>,
    /// What the next forced record is answered with.
    fails: Option<JournalError>,
    poisoned: bool,
    left: Vec<Left>,
}

impl MemoryJournal {
    /// An empty log.
    pub fn new() -> Self {
        Self { numbers: Arc::new(Numbers::new(LogId(0xa1), 1)), state: Mutex::default() }
    }

    /// A log that was opened with something in it.
    pub fn with_left(left: Vec<Left>) -> Self {
        let journal = Self::new();
        journal.state().left = left;
        journal
    }

    /// The next forced record is answered so. An unknown one poisons the log.
    pub fn fail_next(&self, error: JournalError) {
        self.state().fails = Some(error);
    }

    /// What was appended, and whether it was forced.
    pub fn records(&self) -> Vec<(Record, bool)> {
        self.state().records.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for MemoryJournal {
    fn default() -> Self {
        Self::new()
    }
}

fn poison() -> Diagnosis {
    Diagnosis::new(sqlstate::IO_ERROR, "the log of commits cannot be written to")
}

#[async_trait]
impl Journal for MemoryJournal {
    fn numbers(&self) -> Arc<Numbers> {
        Arc::clone(&self.numbers)
    }

    fn is_usable(&self) -> Result<(), Diagnosis> {
        if self.state().poisoned { Err(poison()) } else { Ok(()) }
    }

    async fn append(&self, record: Record, force: bool) -> Result<(), JournalError> {
        let mut state = self.state();
        if state.poisoned {
            return Err(JournalError::Refused(poison()));
        }
        if force && let Some(error) = state.fails.take() {
            state.poisoned = matches!(error, JournalError::Unknown(_));
            return Err(error);
        }
        state.records.push((record, force));
        Ok(())
    }

    fn left(&self) -> Vec<Left> {
        self.state().left.clone()
    }

    async fn close(&self) {}
}
