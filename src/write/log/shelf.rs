//! Logs of a store in memory, for tests: who has which, and what is in them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;

use super::record;
use crate::stores::StoreError;
use crate::stores::commit::{Gid, Held, Ledger, LogId};

/// Epoch, start and records of a log.
pub type Rows = (i64, u32, Vec<Vec<u8>>);

/// Logs in memory, as a store would have them. Every handle is the connection of one instance.
#[derive(Debug, Default)]
pub struct Store {
    /// What is in the tables.
    pub rows: Mutex<BTreeMap<LogId, Rows>>,
    /// By whom each is held.
    pub locks: Mutex<BTreeMap<LogId, u32>>,
}

/// A connection to it.
#[derive(Debug)]
pub struct Handle {
    store: Arc<Store>,
    instance: u32,
    /// How the next append fails, and whether it has written then.
    pub fails: Mutex<Option<(StoreError, bool)>>,
    /// Nothing is taken from it.
    pub is_away: AtomicBool,
}

impl Handle {
    /// The connection of an instance.
    pub fn new(store: &Arc<Store>, instance: u32) -> Arc<Self> {
        Arc::new(Self { store: Arc::clone(store), instance, fails: Mutex::default(), is_away: AtomicBool::new(false) })
    }

    /// The connection is gone.
    pub fn cut(&self) {
        self.store.locks.lock().unwrap().retain(|_, holder| *holder != self.instance);
    }

    /// Somebody else has had the log.
    pub fn raise(&self, log: LogId) {
        self.store.rows.lock().unwrap().get_mut(&log).unwrap().0 += 1;
    }

    fn said(code: &str) -> StoreError {
        StoreError::remote("s", code, "no".to_owned())
    }
}

#[async_trait]
impl Ledger for Handle {
    async fn take(&self, wanted: Option<LogId>) -> Result<Held, StoreError> {
        if self.is_away.load(Ordering::Relaxed) {
            return Err(StoreError::Unreachable { store: "s".to_owned(), reason: String::new() });
        }
        let (mut rows, mut locks) = (self.store.rows.lock().unwrap(), self.store.locks.lock().unwrap());
        let log = match wanted {
            Some(log) if !rows.contains_key(&log) => return Err(Self::said("42704")),
            Some(log) if locks.contains_key(&log) => return Err(Self::said("55006")),
            Some(log) => log,
            None => {
                let free = rows.iter().find(|(log, (_, _, records))| !locks.contains_key(*log) && !records.is_empty());
                free.map_or(LogId(rows.len() as u64 + 1), |(log, _)| *log)
            }
        };
        locks.insert(log, self.instance);
        let row = rows.entry(log).or_insert((0, 0, Vec::new()));
        (row.0, row.1) = (row.0 + 1, row.1 + 1);
        Ok(Held { log, epoch: row.0, start: row.1, records: row.2.clone() })
    }

    async fn append(&self, log: LogId, epoch: i64, records: &[Vec<u8>]) -> Result<bool, StoreError> {
        let fails = self.fails.lock().unwrap().take();
        let mut rows = self.store.rows.lock().unwrap();
        let row = rows.get_mut(&log).unwrap();
        if row.0 == epoch && fails.as_ref().is_none_or(|(_, writes)| *writes) {
            row.2.extend(records.iter().cloned());
        }
        fails.map_or(Ok(row.0 == epoch), |(error, _)| Err(error))
    }

    async fn remove(&self, log: LogId, epoch: i64, gids: &[Gid]) -> Result<bool, StoreError> {
        let mut rows = self.store.rows.lock().unwrap();
        let row = rows.get_mut(&log).unwrap();
        if row.0 == epoch {
            row.2.retain(|record| !gids.contains(&record::take_all(record).unwrap()[0].gid()));
        }
        Ok(row.0 == epoch)
    }

    async fn holds(&self, log: LogId, epoch: i64) -> Result<bool, StoreError> {
        let is_ours = self.store.locks.lock().unwrap().get(&log) == Some(&self.instance);
        let gone = || StoreError::ConnectionLost { store: "s".to_owned(), reason: String::new() };
        if is_ours { Ok(self.store.rows.lock().unwrap()[&log].0 == epoch) } else { Err(gone()) }
    }

    async fn release(&self, log: LogId) {
        self.store.locks.lock().unwrap().retain(|held, holder| *held != log || *holder != self.instance);
    }

    async fn left(&self) -> Result<Vec<LogId>, StoreError> {
        let rows = self.store.rows.lock().unwrap();
        Ok(rows.iter().filter(|(_, (_, _, records))| !records.is_empty()).map(|(log, _)| *log).collect())
    }
}
