//! Commands that change one document and commit by themselves.

use mongodb::Database;
use mongodb::bson::{Document, doc};
use tokio_util::sync::CancellationToken;

use super::super::error::COMMAND;
use super::super::pool::Pool;
use super::transaction;
use crate::error::{Diagnose, sqlstate};
use crate::stores::StoreError;

/// Sends a command that commits by itself: it has a session of its own, by which it can be stopped. What it waits for may be a
/// document that a transaction has changed, for so many milliseconds where that is not 0.
///
/// # Errors
/// What the server answered; 55P03 where it has waited for too long, and [`StoreError::OutcomeUnknown`] where its answer was lost.
pub(in super::super) async fn command_alone(
    pool: &Pool,
    database: &Database,
    mut command: Document,
    (stop, lock_wait): (&CancellationToken, u64),
) -> Result<Document, StoreError> {
    command.insert("writeConcern", doc! { "w": "majority" });
    if lock_wait != 0 {
        let most = u64::try_from(pool.query_timeout().as_millis()).unwrap_or(u64::MAX).min(lock_wait);
        command.insert("maxTimeMS", i64::try_from(most).unwrap_or(i64::MAX));
    }
    let client = pool.client().await?;
    let mut session = pool.within("a session", async { client.start_session().await }).await?;
    let id = session.id().clone();
    let work = pool.within("a write", async { database.run_command(command).session(&mut session).await });
    let reply = transaction::stoppable(pool, &id, work, stop).await.map_err(|error| match error {
        // It is the server that has ended it, before it was done.
        StoreError::Deadline { store, waiting_for: COMMAND, .. } if lock_wait != 0 => not_had(&store),
        error => pool.context.unknown(error),
    });
    let refused = match reply {
        Err(error) => error,
        Ok(reply) => match pool.context.refused(&reply) {
            Some(StoreError::Deadline { store, waiting_for: COMMAND, .. }) if lock_wait != 0 => not_had(&store),
            Some(refused) => refused,
            None if reply.contains_key("writeConcernError") => {
                let reason = "The write was not acknowledged by a majority of the replica set.".to_owned();
                return Err(StoreError::OutcomeUnknown { store: pool.context.store.clone(), reason });
            }
            None => return Ok(reply),
        },
    };
    // The server has undone what it did not finish.
    let is_stopped = stop.is_cancelled() && refused.sqlstate() == sqlstate::QUERY_CANCELED;
    Err(if is_stopped { StoreError::Cancelled } else { refused })
}

fn not_had(store: &str) -> StoreError {
    StoreError::remote(store, sqlstate::LOCK_NOT_AVAILABLE, "canceling statement due to lock timeout".to_owned())
}
