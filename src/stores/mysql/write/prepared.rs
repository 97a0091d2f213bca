//! XA transactions that are prepared: how they become so, and how they end, on their own connection or on any.
//!
//! ```text
//! XA END x; XA PREPARE x → XA COMMIT x | XA ROLLBACK x        on the same connection
//!                          XA RECOVER → XA COMMIT x | …       on any, once the first one has ended
//! ```
//!
//! **Invariants:** a connection that is in a prepared transaction, or may be, is closed and never pooled: the server keeps the
//! transaction. As long as it lives nobody else can end what it has prepared, and the server says then that it knows no such name
//! although it lists it; so a client that is gone without the server's notice is ended by its silence (`wait_timeout`). Nothing that ends
//! a transaction is sent twice: an answer that is lost is looked for by whoever lists what is left.

use sqlx::Row;
use sqlx::mysql::MySqlRow;

use super::super::super::commit::{BranchId, InDoubt, Resolved, Verdict};
use super::super::super::connector::StoreName;
use super::super::super::error::StoreError;
use super::super::Shared;
use super::super::pool::{Lease, Refused};
use super::xa::Xid;
use super::{followed_by, give_back};
use crate::error::sqlstate;

/// `XAER_NOTA`
const UNKNOWN_NAME: u16 = 1397;
/// `XA_RBROLLBACK`
const ROLLED_BACK: u16 = 1402;
/// The format of names that are given without one.
const FORMAT: i64 = 1;
/// Seconds of silence after which the server ends a connection with a prepared transaction.
const SILENCE_MAX: u32 = 30;

/// Leaves what the transaction wrote to the server, on a connection that takes nothing but its end from then on.
///
/// # Errors
/// What the server answered; the connection is of no more use then.
pub(in super::super) async fn prepare(lease: &mut Lease, xid: &Xid) -> Result<(), StoreError> {
    // The setting is refused once the transaction is prepared.
    let sql = format!("SET SESSION wait_timeout = {SILENCE_MAX}; XA END {xid}; XA PREPARE {xid}");
    lease.rows_of(sql).await.map(drop)
}

/// Ends what was prepared, and gives the connection back, with the answer to a question behind it as of
/// [`commit_written`](super::commit_written).
///
/// # Errors
/// What the server answered; the connection is closed then.
pub(in super::super) async fn settle(
    mut lease: Lease,
    xid: &Xid,
    verdict: Verdict,
    question: &str,
) -> Result<Vec<MySqlRow>, StoreError> {
    let sql = format!("{}; SET SESSION wait_timeout = DEFAULT", ending(xid, verdict));
    let rows = lease.ended(followed_by(sql, question), 2).await.map_err(|refused| not_ended(refused, verdict))?;
    give_back(lease);
    Ok(rows)
}

/// The error of an end on the connection that has prepared. There the server knows the name for sure, or does not have what it had
/// promised to commit.
fn not_ended(refused: Refused, verdict: Verdict) -> StoreError {
    match (refused.error, refused.number, verdict) {
        (StoreError::Remote { store, message, .. }, Some(UNKNOWN_NAME | ROLLED_BACK), Verdict::Commit) => {
            StoreError::remote(&store, sqlstate::UNDEFINED_OBJECT, message)
        }
        (error, ..) => error,
    }
}

fn ending(xid: &Xid, verdict: Verdict) -> String {
    match verdict {
        Verdict::Commit => format!("XA COMMIT {xid}"),
        Verdict::Abort => format!("XA ROLLBACK {xid}"),
    }
}

/// Ends a prepared transaction from a connection of its own.
///
/// # Errors
/// What the server answered; the transaction is as it was, or nobody knows.
pub(in super::super) async fn resolve(shared: &Shared, id: &BranchId, verdict: Verdict) -> Result<Resolved, StoreError> {
    let mut lease = shared.control.lease().await?;
    check_writable(shared, &mut lease).await?;
    let resolved = match lease.asked(ending(&Xid(*id), verdict)).await {
        Ok(_) => Resolved::Done,
        Err(refused) if refused.number == Some(UNKNOWN_NAME) => {
            let listed = recover(shared, &mut lease).await?;
            if listed.contains(id) { Resolved::Busy } else { Resolved::Gone }
        }
        // It has ended so, and the server no longer lists it.
        Err(refused) if refused.number == Some(ROLLED_BACK) => match verdict {
            Verdict::Abort => Resolved::Done,
            Verdict::Commit => {
                tracing::error!(store = %shared.name, branch = %id, "the server has rolled a transaction back that was to be committed");
                Resolved::Gone
            }
        },
        Err(refused) => return Err(refused.error),
    };
    lease.release();
    Ok(resolved)
}

/// What is prepared on the server under names of ours, also where the connection that has prepared it still lives.
///
/// # Errors
/// What the server answered; [`StoreError::Unreachable`] where it takes no writes: it may follow another server, whose list is another.
pub(in super::super) async fn in_doubt(shared: &Shared) -> Result<Vec<InDoubt>, StoreError> {
    let mut lease = shared.control.lease().await?;
    check_writable(shared, &mut lease).await?;
    let listed = recover(shared, &mut lease).await?;
    lease.release();
    Ok(listed.into_iter().map(|id| InDoubt { id, prepared: None }).collect())
}

/// Whether transactions end on this server. What it lists may be what a server that it follows has told it.
async fn check_writable(shared: &Shared, lease: &mut Lease) -> Result<(), StoreError> {
    let rows = lease.rows("SELECT CAST(@@read_only AS CHAR)").await?;
    let told: Result<Option<String>, sqlx::Error> = rows.first().map(|row| row.try_get_unchecked(0)).transpose();
    let told = told.map_err(|problem| shared.place().translate(&problem))?;
    if told.as_deref().is_some_and(takes_writes) { Ok(()) } else { Err(follower(&shared.name)) }
}

/// Later servers say it in words.
fn takes_writes(read_only: &str) -> bool {
    ["0", "OFF"].contains(&read_only)
}

fn follower(store: &StoreName) -> StoreError {
    let reason = "It takes no writes, so what it lists as prepared may not be its own.".to_owned();
    StoreError::Unreachable { store: store.to_string(), reason }
}

/// The names of ours that the server lists.
///
/// # Errors
/// What the server answered.
pub(in super::super) async fn recover(shared: &Shared, lease: &mut Lease) -> Result<Vec<BranchId>, StoreError> {
    // In its plain form: the other gives hex where a byte is no letter.
    let rows = lease.rows("XA RECOVER").await?;
    let listed: Result<Vec<Option<BranchId>>, sqlx::Error> = rows.iter().map(of_row).collect();
    Ok(listed.map_err(|problem| shared.place().translate(&problem))?.into_iter().flatten().collect())
}

/// Both parts of a name come as one, with their lengths.
fn of_row(row: &MySqlRow) -> Result<Option<BranchId>, sqlx::Error> {
    // Unchecked, because servers announce these columns differently.
    let (format, first, second): (i64, i64, i64) =
        (row.try_get_unchecked(0)?, row.try_get_unchecked(1)?, row.try_get_unchecked(2)?);
    let bytes: Vec<u8> = row.try_get_unchecked(3)?;
    Ok(if format == FORMAT { cut(&bytes, first, second) } else { None })
}

fn cut(bytes: &[u8], first: i64, second: i64) -> Option<BranchId> {
    let (gtrid, rest) = bytes.split_at_checked(usize::try_from(first).ok()?)?;
    BranchId::from_xa(gtrid, rest.get(..usize::try_from(second).ok()?)?)
}

#[cfg(test)]
mod tests {
    use super::super::super::super::commit::LogId;
    use super::*;
    use crate::error::Diagnose;

    #[test]
    fn what_the_server_does_not_have_is_told_apart() {
        let error = |state: &str| StoreError::remote("shop", state, "refused".to_owned());
        let lost = StoreError::ConnectionLost { store: "shop".to_owned(), reason: "Reset.".to_owned() };
        let rows = [
            (Some(1397), error("XAE04"), Verdict::Commit, "42704"),
            (Some(1402), error("40001"), Verdict::Commit, "42704"),
            (Some(1402), error("40001"), Verdict::Abort, "40001"),
            (Some(1399), error("XAE07"), Verdict::Commit, "XAE07"),
            (None, lost, Verdict::Commit, "08006"),
        ];
        for (number, error, verdict, expected) in rows {
            assert_eq!(not_ended(Refused { number, error }, verdict).sqlstate(), expected);
        }
    }

    #[test]
    fn names_are_cut_by_their_lengths() {
        let id = BranchId { log: LogId(1), number: 2, branch: 3 };
        let bytes = [id.gtrid(), id.bqual()].concat();
        assert_eq!(cut(bytes.as_bytes(), 43, 16), Some(id));
        for (first, second) in [(42, 17), (43, 15), (43, 17), (100, 16), (-1, 16), (43, -1)] {
            assert_eq!(cut(bytes.as_bytes(), first, second), None, "{first} {second}");
        }
        assert_eq!(cut(b"somebody else's", 8, 7), None);
    }

    #[test]
    fn a_server_that_takes_no_writes_is_not_believed() {
        assert!(["0", "OFF"].into_iter().all(takes_writes));
        assert!(!["1", "ON", "NO_LOCK", "NO_LOCK_NO_ADMIN", ""].into_iter().any(takes_writes));
        assert!(matches!(follower(&StoreName::new("crm")), StoreError::Unreachable { store, .. } if store == "crm"));
    }

    #[test]
    fn a_transaction_ends_under_both_parts_of_its_name() {
        let xid = Xid(BranchId { log: LogId(1), number: 2, branch: 3 });
        let name = "'tributary:0000000000000001:0000000000000002','0000000000000003'";
        assert_eq!(ending(&xid, Verdict::Commit), format!("XA COMMIT {name}"));
        assert_eq!(ending(&xid, Verdict::Abort), format!("XA ROLLBACK {name}"));
    }
}
