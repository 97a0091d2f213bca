//! The end of a branch's transaction. Statements that write are not built yet; a transaction opened for them already ends
//! here, because reads inside it belong to it.

use mongodb::ClientSession;
use mongodb::options::{ReadConcern, TransactionOptions, WriteConcern};

use super::changes::position;
use super::pool::Pool;
use crate::stores::position::Position;
use crate::stores::{StoreError, StoreName};

/// Opens a transaction: reads see one snapshot and the transaction's own writes; a commit is durable on a majority.
pub(super) async fn begin(pool: &Pool) -> Result<ClientSession, StoreError> {
    let client = pool.client().await?;
    let mut session = pool.within("a session", async { client.start_session().await }).await?;
    let mut options = TransactionOptions::default();
    options.read_concern = Some(ReadConcern::snapshot());
    options.write_concern = Some(WriteConcern::majority());
    options.max_commit_time = Some(pool.query_timeout());
    pool.within("a transaction", async { session.start_transaction().with_options(options).await }).await?;
    Ok(session)
}

/// Commits. The driver repeats a commit whose outcome is unknown once, which the server makes harmless.
pub(super) async fn commit(pool: &Pool, store: &StoreName, session: &mut ClientSession) -> Result<Option<Position>, StoreError> {
    pool.within("a commit", async { session.commit_transaction().await }).await?;
    Ok(session.operation_time().map(|time| position(store, time)))
}

/// Drops the transaction's writes.
pub(super) async fn rollback(pool: &Pool, session: &mut ClientSession) -> Result<(), StoreError> {
    pool.within("a rollback", async { session.abort_transaction().await }).await
}
