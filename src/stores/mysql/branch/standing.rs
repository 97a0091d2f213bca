//! Branches that stand at a place which somebody else has found.

use std::sync::{Arc, Mutex};

use tokio::sync::Mutex as AsyncMutex;
use tokio_util::sync::CancellationToken;

use super::super::super::lock::LockWait;
use super::super::Shared;
use super::super::changes::SnapshotPosition;
use super::super::pool::Lease;
use super::{Branch, Transaction, View};

impl Branch {
    /// A transaction that only reads, on a connection that has begun one; at `position`, where that is known.
    pub(in super::super) fn standing(shared: &Arc<Shared>, lease: Lease, position: Option<SnapshotPosition>) -> Self {
        let transaction = Transaction {
            primary: Arc::new(AsyncMutex::new(Some(lease))),
            beside: Mutex::new(Vec::new()),
            position,
            repeatable: true,
            proved: Ok(()),
            writing: None,
        };
        Self {
            shared: Arc::clone(shared),
            view: View::Transaction(transaction),
            stop: CancellationToken::new(),
            lock_wait: LockWait::default(),
        }
    }
}
