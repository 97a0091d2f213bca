//! Branches of other files in the transaction of one.
//!
//! The first branch leads: it ends the transaction, and its savepoints are those of all. The others send what they are asked to the
//! thread of the first one, under the name that their file has on its connection, and keep in mind whether they have written.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::super::super::connector::{self, StoreName};
use super::super::super::error::StoreError;
use super::super::attached::Naming;
use super::neighbours::Joining;
use super::{Branch, Command, Mode};

/// What the branches of one transaction know of one another.
#[derive(Debug)]
pub(super) struct Together {
    /// The store whose branch ends the transaction.
    pub(super) leader: StoreName,
    /// Of each branch besides the leader's, whether an edit was sent that is neither ended nor undone.
    written: Mutex<Vec<Arc<AtomicBool>>>,
}

impl Together {
    pub(super) fn led_by(leader: StoreName) -> Self {
        Self { leader, written: Mutex::default() }
    }

    /// The place in which one more branch says whether it has written.
    fn follow(&self) -> Arc<AtomicBool> {
        let written = Arc::<AtomicBool>::default();
        self.lock().push(Arc::clone(&written));
        written
    }

    /// The transaction ends. Whether a branch besides the leader's had written.
    pub(super) fn end(&self) -> bool {
        self.lock().drain(..).fold(false, |had, written| written.swap(false, Ordering::AcqRel) | had)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<AtomicBool>>> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Branch {
    /// A branch of another file in this transaction. `None` where it would not write there, or has nothing to lock the file by.
    pub(super) async fn share(&self, other: &super::super::Connector) -> Result<Option<Arc<dyn connector::Branch>>, StoreError> {
        if !matches!(self.mode, Mode::Write | Mode::ReadThenWrite) || other.pool.is_read_only() {
            return Ok(None);
        }
        let Some(table) = other.lockable() else { return Ok(None) };
        if other.pool.closing().is_cancelled() {
            return Err(other.pool.closed());
        }
        let (identity, path) = (other.pool.identity().await?, other.pool.path()?);
        let file = Box::new(Joining { pool: Arc::clone(&other.pool), identity, path, table });
        let (done, answer) = oneshot::channel();
        self.send(Command::Attach { file, done }).await?;
        let schema = answer.await.unwrap_or_else(|_gone| Err(self.unanswered(false)))?;
        Ok(Some(Arc::new(Self {
            pool: Arc::clone(&other.pool),
            thread: Arc::clone(&self.thread),
            mode: self.mode,
            written: self.together.follow(),
            savepoints: Mutex::default(),
            together: Arc::clone(&self.together),
            naming: Some(Naming::new(schema)),
            _writer: Some(other.pool.writer()),
        })))
    }
}
