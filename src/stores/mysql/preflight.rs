//! What the server is set to, or does not let us do, that weakens what a commit of several stores promises.

use std::sync::atomic::Ordering;

use sqlx::Row;

use super::super::commit::Caution;
use super::super::error::StoreError;
use super::pool::Lease;
use super::{Shared, write};

const SETTINGS: &str = "SELECT @@GLOBAL.innodb_flush_log_at_trx_commit, @@GLOBAL.sync_binlog, @@GLOBAL.log_bin";

/// Why nobody may rely on what the server has prepared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unreliable {
    /// It is rolled back when its connection ends.
    Dropped,
    /// We are not shown it.
    Hidden,
}

/// Learns whether what is prepared outlives its connection, and whether the server lets us see it. MySQL 8 asks for a privilege.
///
/// # Errors
/// The connection is lost.
pub(super) async fn see_prepared(shared: &Shared, lease: &mut Lease) -> Result<Option<Unreliable>, StoreError> {
    let found = if lease.session.server.keeps_prepared() {
        match write::recover(shared, lease).await {
            Ok(_) => None,
            // The server says no more than that something is wrong.
            Err(StoreError::Remote { .. }) => Some(Unreliable::Hidden),
            Err(error) => return Err(error),
        }
    } else {
        Some(Unreliable::Dropped)
    };
    shared.can_recover.store(found.is_none(), Ordering::Release);
    Ok(found)
}

/// What is to be told of the server.
///
/// # Errors
/// The store cannot be reached, or what it answered.
pub(super) async fn cautions(shared: &Shared) -> Result<Vec<Caution>, StoreError> {
    let mut lease = shared.pool.lease().await?;
    let unreliable = see_prepared(shared, &mut lease).await?;
    let rows = lease.rows(SETTINGS).await?;
    lease.release();
    let Some(row) = rows.first() else { return Ok(Vec::new()) };
    let number = |place: usize| row.try_get_unchecked::<i64, _>(place).map_err(|problem| shared.place().translate(&problem));
    Ok(judge(unreliable, [number(0)?, number(1)?, number(2)?]))
}

fn judge(unreliable: Option<Unreliable>, [flushed, synced, logs]: [i64; 3]) -> Vec<Caution> {
    let caution = |(key, told, mend): (&'static str, &str, &str)| Caution { key, told: told.to_owned(), mend: mend.to_owned() };
    let texts = unreliable.map(|unreliable| match unreliable {
        Unreliable::Dropped => (
            "version",
            "the server rolls back what is prepared when its connection ends, so only one such store can take part in a commit of several",
            "Use MariaDB 10.5.2, MySQL 5.7.7, or a newer server.",
        ),
        Unreliable::Hidden => (
            "XA_RECOVER_ADMIN",
            "the store's user may not see prepared transactions, so only one such store can take part in a commit of several",
            "GRANT XA_RECOVER_ADMIN ON *.* to the user.",
        ),
    });
    let mut cautions: Vec<Caution> = texts.map(caution).into_iter().collect();
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
            |unreliable, settings| judge(unreliable, settings).iter().map(|caution| caution.key).collect::<Vec<&'static str>>();
        assert!(keys(None, [1, 1, 1]).is_empty());
        assert!(keys(None, [1, 0, 0]).is_empty(), "there is no log to be synced");
        assert_eq!(keys(None, [2, 0, 1]), ["innodb_flush_log_at_trx_commit", "sync_binlog"]);
        assert_eq!(keys(Some(Unreliable::Hidden), [1, 1, 0]), ["XA_RECOVER_ADMIN"]);
        assert_eq!(keys(Some(Unreliable::Dropped), [1, 0, 1]), ["version", "sync_binlog"]);
    }
}
