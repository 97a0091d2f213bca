//! Transactions on one connection: how they begin and end. Statements that change rows belong to the issue that brings
//! writes; they will run on the pinned connection that [`begin`] prepares.

use super::super::error::StoreError;
use super::changes::{self, Access, SnapshotPosition};
use super::pool::Lease;

const BEGIN_READING: &str = "SET TRANSACTION ISOLATION LEVEL READ COMMITTED; START TRANSACTION READ ONLY";
const BEGIN_WRITING: &str = "SET TRANSACTION ISOLATION LEVEL READ COMMITTED; START TRANSACTION READ WRITE";

/// Begins a transaction. `repeatable` takes its snapshot at once; otherwise each statement sees what is committed when it
/// starts, as in Postgres.
///
/// # Errors
/// What the server answered.
pub(super) async fn begin(lease: &mut Lease, access: Access, repeatable: bool) -> Result<Option<SnapshotPosition>, StoreError> {
    match (repeatable, access) {
        (true, access) => changes::begin_snapshot(lease, access).await,
        (false, Access::Read) => lease.run(BEGIN_READING).await.map(|()| None),
        (false, Access::Write) => lease.run(BEGIN_WRITING).await.map(|()| None),
    }
}

/// Keeps what the transaction wrote, and gives the connection back.
///
/// # Errors
/// What the server answered; the connection is closed then.
pub(super) async fn commit(mut lease: Lease) -> Result<(), StoreError> {
    lease.run("COMMIT").await?;
    lease.release();
    Ok(())
}

/// Drops what the transaction wrote, and gives the connection back.
///
/// # Errors
/// As [`commit`].
pub(super) async fn roll_back(mut lease: Lease) -> Result<(), StoreError> {
    lease.run("ROLLBACK").await?;
    lease.release();
    Ok(())
}
