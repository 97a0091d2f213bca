//! Connections of one statement at the position of its snapshot, while no scan reads from them.
//!
//! A plan may run a scan again, as a recursive query does. The server may have moved on by then, and a new connection would show
//! another state: so a scan that has ended gives its connection back here, and the last one who needs them ends the snapshots.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::pool::Lease;
use super::{Shared, write};

/// The connections. Shared by the branch and its scans.
pub(super) struct Ready {
    shared: Arc<Shared>,
    leases: Mutex<Vec<Lease>>,
}

impl Ready {
    pub(super) fn new(shared: &Arc<Shared>, leases: Vec<Lease>) -> Arc<Self> {
        Arc::new(Self { shared: Arc::clone(shared), leases: Mutex::new(leases) })
    }

    /// A connection, if there is one left.
    pub(super) fn take(&self) -> Option<Lease> {
        self.lock().pop()
    }

    /// Gives back a connection that has nothing left to read and whose snapshot still stands.
    pub(super) fn put_back(&self, lease: Lease) {
        self.lock().push(lease);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Lease>> {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Ready {
    fn drop(&mut self) {
        let leases = std::mem::take(&mut *self.lock());
        if leases.is_empty() {
            return;
        }
        let shared = Arc::clone(&self.shared);
        // A round trip each, which the client does not wait for.
        self.shared.spawn(
            "mysql snapshots",
            Box::pin(async move {
                for lease in leases {
                    if let Err(error) = write::roll_back(lease).await {
                        tracing::debug!(store = %shared.name, error = %error, "a snapshot could not be ended; its connection is closed");
                    }
                }
            }),
        );
    }
}

impl fmt::Debug for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ready").field("store", &self.shared.name).finish_non_exhaustive()
    }
}
