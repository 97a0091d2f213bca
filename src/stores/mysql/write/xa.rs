//! Transactions that write: XA ones from the start, because only such a one can be prepared when several stores are written.
//!
//! A connection that breaks before the end takes its transaction with it. With one store there is nobody to wait for between PREPARE and
//! COMMIT, and yet what has changed something is not committed in one phase where the server has a binary log:
//!
//! ```text
//! XA END x; XA COMMIT x ONE PHASE             nothing was changed, or Server::keeps_one_phase
//! XA END x; XA PREPARE x; XA COMMIT x         one round trip, so that nothing of ours can end in between
//! ```
//!
//! In one phase MariaDB forces the preparation to disk, and leaves it to its binary log to know the commit after a crash; but there it
//! looks for its own names only. The transaction is prepared again then, though its client was told that it is kept, and whoever ends
//! what was left rolls it back (MDEV-31921 tells of the same step; measured with 10.11 and `kill -9` right behind the answer: ten of ten
//! with `sync_binlog = 1`, six of ten with 0). A COMMIT of what is prepared is forced to disk by itself before it is answered. Between
//! its commit in memory and that, others may read what a crash takes back, as of every transaction of InnoDB without a binary log.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use sqlx::mysql::MySqlRow;

use super::super::super::commit::{BranchId, LogId, Numbers};
use super::super::super::connector::{StoreName, WriteIsolation};
use super::super::super::error::StoreError;
use super::super::pool::{Lease, Refused};
use super::{followed_by, give_back};

/// Errors after which a transaction is surely not kept: it lost a deadlock, waited for too long, or was rolled back when it was to be
/// prepared.
const NOT_KEPT: [u16; 5] = [1205, 1213, 1402, 1613, 1614];

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

/// Keeps what the transaction wrote, and gives the connection back, with the answer to a question behind it. `has_changed` is whether it has
/// met or made a row.
///
/// # Errors
/// What the server answered; the connection is closed then. [`StoreError::OutcomeUnknown`] where that does not tell what has become of
/// what was prepared.
pub(super) async fn commit(mut lease: Lease, xid: &Xid, has_changed: bool, question: &str) -> Result<Vec<MySqlRow>, StoreError> {
    let is_prepared = has_changed && !lease.session.server.keeps_one_phase();
    let count = if is_prepared { 3 } else { 2 };
    match lease.ended(followed_by(keeping(xid, is_prepared), question), count).await {
        Ok(rows) => {
            give_back(lease);
            Ok(rows)
        }
        Err(refused) if is_prepared && refused.number.is_some() => {
            // The connection goes, and what it has prepared would stay.
            let is_undone = lease.rows_of(format!("XA ROLLBACK {xid}")).await.is_ok();
            Err(not_kept(refused, is_undone))
        }
        Err(refused) => Err(refused.error),
    }
}

fn keeping(xid: &Xid, is_prepared: bool) -> String {
    if is_prepared {
        format!("XA END {xid}; XA PREPARE {xid}; XA COMMIT {xid}")
    } else {
        format!("XA END {xid}; XA COMMIT {xid} ONE PHASE")
    }
}

/// The error of a commit, of which the server does not tell at which step it has refused it.
fn not_kept(refused: Refused, is_undone: bool) -> StoreError {
    let is_sure = is_undone || refused.number.is_some_and(|number| NOT_KEPT.contains(&number));
    match refused.error {
        StoreError::Remote { store, message, .. } if !is_sure => StoreError::OutcomeUnknown { store, reason: message },
        error => error,
    }
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
    fn what_is_prepared_first_is_committed_in_the_same_request() {
        let names = Names::new(&StoreName::new("shop"));
        let xid = names.next();
        assert_eq!(keeping(&xid, true), format!("XA END {xid}; XA PREPARE {xid}; XA COMMIT {xid}"));
        assert_eq!(keeping(&xid, false), format!("XA END {xid}; XA COMMIT {xid} ONE PHASE"));
    }

    #[test]
    fn an_error_of_a_commit_that_may_have_left_something_tells_no_outcome() {
        let refused = |number| Refused { number: Some(number), error: StoreError::remote("shop", "XAE03", "no".to_owned()) };
        let is_unknown = |number, is_undone| matches!(not_kept(refused(number), is_undone), StoreError::OutcomeUnknown { .. });
        assert!(!is_unknown(1401, true) && is_unknown(1401, false) && is_unknown(1290, false));
        assert!(NOT_KEPT.into_iter().all(|number| !is_unknown(number, false)));
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
