//! What the server is set to, or does not let us do, that weakens what a commit of several stores promises.

use std::sync::atomic::Ordering;

use sqlx::Row;

use super::super::commit::Caution;
use super::super::error::StoreError;
use super::pool::Lease;
use super::{Shared, write};

const SETTINGS: &str = "SELECT @@GLOBAL.innodb_flush_log_at_trx_commit, @@GLOBAL.sync_binlog, @@GLOBAL.log_bin";

/// Learns whether the server lets us see what is prepared. MySQL 8 asks for a privilege.
///
/// # Errors
/// The connection is lost.
pub(super) async fn see_prepared(shared: &Shared, lease: &mut Lease) -> Result<bool, StoreError> {
    let can_recover = match write::recover(shared, lease).await {
        Ok(_) => true,
        // The server says no more than that something is wrong.
        Err(StoreError::Remote { .. }) => false,
        Err(error) => return Err(error),
    };
    shared.can_recover.store(can_recover, Ordering::Release);
    Ok(can_recover)
}

/// What is to be told of the server.
///
/// # Errors
/// The store cannot be reached, or what it answered.
pub(super) async fn cautions(shared: &Shared) -> Result<Vec<Caution>, StoreError> {
    let mut lease = shared.pool.lease().await?;
    let can_recover = see_prepared(shared, &mut lease).await?;
    let rows = lease.rows(SETTINGS).await?;
    lease.release();
    let Some(row) = rows.first() else { return Ok(Vec::new()) };
    let number = |place: usize| row.try_get_unchecked::<i64, _>(place).map_err(|problem| shared.place().translate(&problem));
    Ok(judge(can_recover, [number(0)?, number(1)?, number(2)?]))
}

fn judge(can_recover: bool, [flushed, synced, logs]: [i64; 3]) -> Vec<Caution> {
    let mut cautions = Vec::new();
    if !can_recover {
        cautions.push(Caution {
            key: "XA_RECOVER_ADMIN",
            told: "the store's user may not see prepared transactions, so only one such store can take part in a commit of several"
                .to_owned(),
            mend: "GRANT XA_RECOVER_ADMIN ON *.* to the user.".to_owned(),
        });
    }
    for (key, is_weak) in [("innodb_flush_log_at_trx_commit", flushed != 1), ("sync_binlog", logs != 0 && synced != 1)] {
        if is_weak {
            cautions.push(Caution {
                key,
                told: "what the server has said to be prepared or committed may be lost when its machine fails".to_owned(),
                mend: format!("SET GLOBAL {key} = 1, and in the server's configuration."),
            });
        }
    }
    cautions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_lose_commits_are_told() {
        let keys =
            |can_recover, settings| judge(can_recover, settings).iter().map(|caution| caution.key).collect::<Vec<&'static str>>();
        assert!(keys(true, [1, 1, 1]).is_empty());
        assert!(keys(true, [1, 0, 0]).is_empty(), "there is no log to be synced");
        assert_eq!(keys(true, [2, 0, 1]), ["innodb_flush_log_at_trx_commit", "sync_binlog"]);
        assert_eq!(keys(false, [1, 1, 0]), ["XA_RECOVER_ADMIN"]);
    }
}
