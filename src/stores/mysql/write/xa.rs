//! Transactions that write: XA ones from the start, because only such a one can be prepared when several stores are written.
//!
//! With one store it is committed in one phase, which is as good as `COMMIT`. A connection that breaks before takes its transaction
//! with it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;

use super::super::super::commit::{BranchId, LogId, Numbers};
use super::super::super::connector::{StoreName, WriteIsolation};
use super::super::super::error::StoreError;
use super::super::pool::Lease;

/// Names for the transactions of one store.
#[derive(Debug)]
pub(in super::super) struct Names {
    store: StoreName,
    /// Until a log was named, those of one that nobody has, so that names of two processes do not meet on one server.
    numbers: ArcSwap<Numbers>,
    is_told: AtomicBool,
}

/// The name of a transaction. It shows as it stands in statements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Xid(pub(in super::super) BranchId);

impl fmt::Display for Xid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Nothing in it would have to be quoted.
        write!(f, "'{}','{}'", self.0.gtrid(), self.0.bqual())
    }
}

impl Names {
    /// Names that no other store gives.
    pub(in super::super) fn new(store: &StoreName) -> Self {
        let numbers = ArcSwap::from_pointee(Numbers::new(LogId(rand::random()), 0));
        Self { store: store.clone(), numbers, is_told: AtomicBool::new(false) }
    }

    /// Names of this log from now on.
    pub(in super::super) fn take_from(&self, numbers: &Arc<Numbers>) {
        self.numbers.store(Arc::clone(numbers));
        self.is_told.store(true, Ordering::Release);
    }

    /// The log whose holder decides over them, once there is one.
    pub(in super::super) fn log(&self) -> Option<LogId> {
        self.is_told.load(Ordering::Acquire).then(|| self.numbers.load().log())
    }

    /// A name that has not been given.
    pub(in super::super) fn next(&self) -> Xid {
        Xid(self.numbers.load().next().of_store(&self.store))
    }
}

/// Begins a transaction.
///
/// # Errors
/// What the server answered.
pub(super) async fn begin(lease: &mut Lease, isolation: WriteIsolation, xid: &Xid) -> Result<(), StoreError> {
    let level = match isolation {
        WriteIsolation::ReadCommitted => "READ COMMITTED",
        WriteIsolation::RepeatableRead => "REPEATABLE READ",
        WriteIsolation::Serializable => "SERIALIZABLE",
    };
    lease.rows_of(format!("SET TRANSACTION ISOLATION LEVEL {level}; XA START {xid}")).await.map(drop)
}

/// Keeps what the transaction wrote, and gives the connection back.
///
/// # Errors
/// What the server answered; the connection is closed then.
pub(super) async fn commit(mut lease: Lease, xid: &Xid) -> Result<(), StoreError> {
    lease.rows_of(format!("XA END {xid}; XA COMMIT {xid} ONE PHASE")).await?;
    lease.release();
    Ok(())
}

/// Drops what the transaction wrote, and gives the connection back.
///
/// # Errors
/// As [`commit`].
pub(super) async fn roll_back(mut lease: Lease, xid: &Xid) -> Result<(), StoreError> {
    match lease.rows_of(format!("XA END {xid}; XA ROLLBACK {xid}")).await {
        // After a deadlock the server refuses the first statement and awaits the second.
        Err(StoreError::Remote { .. }) => lease.rows_of(format!("XA ROLLBACK {xid}")).await?,
        outcome => outcome?,
    };
    lease.release();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_differ_and_fit() {
        let [shop, crm] = ["shop", "crm"].map(|name| Names::new(&StoreName::new(name)));
        let names = [shop.next(), shop.next(), crm.next(), crm.next()].map(|xid| xid.to_string());
        for (place, name) in names.iter().enumerate() {
            assert!(!names[..place].contains(name), "{name}");
            // Each part holds 64 bytes.
            assert!(name.split(',').all(|part| part.len() <= 66 && part.starts_with('\'') && part.ends_with('\'')), "{name}");
        }
        let branch = |name: &str| name.split_once(',').unwrap().1.to_owned();
        assert_eq!(branch(&names[0]), branch(&Names::new(&StoreName::new("shop")).next().to_string()));
        assert_ne!(branch(&names[0]), branch(&names[2]));
    }

    #[test]
    fn names_are_those_of_the_log_that_was_told_last() {
        let names = Names::new(&StoreName::new("shop"));
        assert_eq!(names.log(), None);
        for log in [LogId(7), LogId(9)] {
            names.take_from(&Arc::new(Numbers::new(log, 3)));
            let [first, second] = [names.next(), names.next()];
            assert_eq!((names.log(), first.0.log, second.0.log), (Some(log), log, log));
            assert_ne!(first, second);
            assert_eq!(BranchId::from_xa(first.0.gtrid().as_bytes(), first.0.bqual().as_bytes()), Some(first.0));
        }
    }
}
