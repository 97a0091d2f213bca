//! Transactions that write: XA ones from the start, because only such a one can be prepared when several stores are written.
//!
//! With one store it is committed in one phase, which is as good as `COMMIT`. A connection that breaks before takes its transaction
//! with it.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use super::super::super::connector::{StoreName, WriteIsolation};
use super::super::super::error::StoreError;
use super::super::pool::Lease;

/// Names for the transactions of one store.
#[derive(Debug)]
pub(in super::super) struct Xids {
    /// Drawn when the store is opened, so that names of two processes do not meet on one server.
    prefix: u64,
    /// Two stores of one server are branches of their own.
    branch: u64,
    last: AtomicU64,
}

/// The name of a transaction, as it stands in statements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Xid(String);

impl fmt::Display for Xid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Xids {
    /// Names that no other store gives.
    pub(in super::super) fn new(store: &StoreName) -> Self {
        // FNV-1a: the same in every process.
        let branch = store
            .as_str()
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        Self { prefix: rand::random::<u64>(), branch, last: AtomicU64::new(0) }
    }

    /// A name that has not been given.
    pub(in super::super) fn next(&self) -> Xid {
        let number = self.last.fetch_add(1, Ordering::Relaxed);
        Xid(format!("'trib-{:016x}-{number}','{:016x}'", self.prefix, self.branch))
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
        let [shop, crm] = ["shop", "crm"].map(|name| Xids::new(&StoreName::new(name)));
        let names = [shop.next(), shop.next(), crm.next(), crm.next()].map(|xid| xid.to_string());
        for (place, name) in names.iter().enumerate() {
            assert!(!names[..place].contains(name), "{name}");
            // Each part holds 64 bytes.
            assert!(name.split(',').all(|part| part.len() <= 66 && part.starts_with('\'') && part.ends_with('\'')), "{name}");
        }
        let branch = |name: &str| name.split_once(',').unwrap().1.to_owned();
        assert_eq!(branch(&names[0]), branch(&Xids::new(&StoreName::new("shop")).next().to_string()));
        assert_ne!(branch(&names[0]), branch(&names[2]));
    }
}
