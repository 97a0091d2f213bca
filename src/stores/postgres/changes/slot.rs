//! The replication slot of a feed: what keeps the server's log until we have read it, and must not keep it for ever.
//!
//! **Invariants:** a slot that is not where we left it is never streamed from: the server would begin where it stands and say nothing. A
//! slot is made after the publication, or every start from it fails.

use std::time::Duration;

use sqlx::Row;
use sqlx::postgres::PgRow;
use tokio::time::Instant;

use super::super::super::capture::Ended;
use super::super::super::error::StoreError;
use super::super::branch::Inner;
use super::super::error;
use super::super::pool::Lease;
use super::position::location;
use super::{ask, texts};
use crate::error::sqlstate;

/// How long the server may wait for transactions that began before a slot.
const CREATION: Duration = Duration::from_secs(30);
/// How long a slot may stay in use after whoever used it was ended.
const RELEASE: Duration = Duration::from_secs(10);
/// How often that is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// A slot as the server shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Slot {
    plugin: String,
    database: String,
    /// The process that reads from it.
    active: Option<i32>,
    /// From where it gives transactions.
    confirmed: u64,
    /// Whether the server has removed log that it needed.
    is_lost: bool,
}

/// The question for a slot of ours, whose name needs no quotes inside.
pub(super) fn question(name: &str) -> String {
    format!(
        "SELECT s.plugin::text, coalesce(s.database::text, ''), s.active_pid::text, coalesce(s.confirmed_flush_lsn::text, '0/0'), \
         CASE WHEN pg_catalog.to_jsonb(s) ->> 'wal_status' = 'lost' OR pg_catalog.to_jsonb(s) ->> 'invalidation_reason' <> '' \
         THEN 'lost' ELSE '' END FROM pg_catalog.pg_replication_slots s WHERE s.slot_name = '{name}'"
    )
}

impl Slot {
    /// The answer to [`question`].
    pub(super) fn read(columns: &[Option<String>]) -> Option<Self> {
        let [plugin, database, active, confirmed, lost] = columns else { return None };
        Some(Self {
            plugin: plugin.clone().unwrap_or_default(),
            database: database.clone()?,
            active: active.as_deref().and_then(|text| text.parse().ok()),
            confirmed: location(confirmed.as_deref()?)?,
            is_lost: lost.as_deref() == Some("lost"),
        })
    }
}

/// Whether a feed may go on from `from` with the slot as it is.
///
/// # Errors
/// Why not.
pub(super) fn judge(slot: Option<&Slot>, name: &str, database: &str, from: u64) -> Result<(), Ended> {
    let Some(slot) = slot else { return Err(Ended::Lost("its replication slot is gone".to_owned())) };
    if slot.plugin != "pgoutput" || slot.database != database {
        return Err(Ended::Refused {
            reason: format!("the replication slot {name} is of database \"{}\" and plugin \"{}\"", slot.database, slot.plugin),
            mend: removal(name),
        });
    }
    if slot.is_lost {
        return Err(Ended::Lost("the server has removed log that its replication slot needed".to_owned()));
    }
    if slot.confirmed > from {
        return Err(Ended::Lost("its replication slot is ahead of what was read".to_owned()));
    }
    Ok(())
}

/// The statement that removes a slot of ours.
pub(super) fn removal(name: &str) -> String {
    format!("SELECT pg_catalog.pg_drop_replication_slot('{name}')")
}

/// Makes the slot anew and gives the place from which it streams. One that somebody reads from stays.
///
/// # Errors
/// What the server answered; 55P03 with who is waited for.
pub(super) async fn renew(inner: &Inner, name: &str) -> Result<u64, StoreError> {
    let lease = Box::pin(remove(inner, name, false)).await?;
    Box::pin(create(inner, name, lease)).await
}

async fn create(inner: &Inner, name: &str, mut lease: Lease) -> Result<u64, StoreError> {
    // In a message of its own: a limit counts for the statements behind it.
    lease.query(&format!("SET statement_timeout = {}", CREATION.as_millis())).await?;
    let sql = format!("SELECT lsn::text FROM pg_catalog.pg_create_logical_replication_slot('{name}', 'pgoutput')");
    let rows = match lease.query(&sql).await {
        Ok(rows) => rows,
        Err(StoreError::Remote { sqlstate, .. }) if sqlstate == sqlstate::QUERY_CANCELED => {
            return Err(Box::pin(waiting(inner)).await);
        }
        Err(other) => return Err(other),
    };
    lease.query("SET statement_timeout = 0").await?;
    let lsn = rows.first().map(|row| row.try_get::<String, _>(0)).transpose();
    let lsn = lsn.map_err(|problem| error::running(&inner.name, &problem))?;
    lsn.as_deref().and_then(location).ok_or_else(|| error::running(&inner.name, &sqlx::Error::RowNotFound))
}

/// Says who is waited for: the server cannot begin until every transaction has ended that was running, or prepared, before.
async fn waiting(inner: &Inner) -> StoreError {
    let oldest = Box::pin(oldest_transaction(inner)).await.ok().flatten();
    let oldest = oldest.unwrap_or_else(|| "none of them is left".to_owned());
    let message = format!("a replication slot waits for transactions that began before it; the oldest: {oldest}");
    StoreError::remote(inner.name.as_str(), sqlstate::LOCK_NOT_AVAILABLE, message)
}

/// The oldest transaction that writes or is prepared, and has for some seconds.
///
/// # Errors
/// What the server answered.
pub(super) async fn oldest_transaction(inner: &Inner) -> Result<Option<String>, StoreError> {
    const OLDEST: &str = "SELECT who FROM (\
         SELECT pg_catalog.concat('process ', pid, ' since ', xact_start) AS who, xact_start AS since \
         FROM pg_catalog.pg_stat_activity WHERE backend_xid IS NOT NULL AND pid <> pg_catalog.pg_backend_pid() \
         UNION ALL SELECT pg_catalog.concat('the prepared transaction ', gid, ' since ', prepared), prepared \
         FROM pg_catalog.pg_prepared_xacts) AS held \
         WHERE since < pg_catalog.clock_timestamp() - '5 seconds'::pg_catalog.interval ORDER BY since LIMIT 1";
    let (_lease, rows) = ask(inner, OLDEST).await?;
    rows.first().map(|row| row.try_get(0).map_err(|problem| error::running(&inner.name, &problem))).transpose()
}

/// Removes the slot where there is one; `by_force`: whoever reads from it is ended first. Gives the connection back.
///
/// # Errors
/// What the server answered; 55006 while somebody reads from it.
pub(super) async fn remove(inner: &Inner, name: &str, by_force: bool) -> Result<Lease, StoreError> {
    let until = Instant::now() + RELEASE;
    let (mut lease, mut rows) = ask(inner, &question(name)).await?;
    loop {
        let Some(slot) = slot_of(inner, &rows)? else { return Ok(lease) };
        match slot.active {
            None => {
                lease.query(&removal(name)).await?;
                return Ok(lease);
            }
            Some(process) if by_force => {
                lease.query(&format!("SELECT pg_catalog.pg_terminate_backend({process})")).await?;
            }
            Some(_) => {}
        }
        if Instant::now() >= until {
            let message = format!("replication slot \"{name}\" is in use");
            return Err(StoreError::remote(inner.name.as_str(), sqlstate::OBJECT_IN_USE, message));
        }
        tokio::time::sleep(LOOK).await;
        rows = lease.query(&question(name)).await?;
    }
}

/// Waits until nobody reads from the slot any more, as long as that may take.
///
/// # Errors
/// What the server answered.
pub(super) async fn released(inner: &Inner, name: &str) -> Result<(), StoreError> {
    let until = Instant::now() + RELEASE;
    let (mut lease, mut rows) = ask(inner, &question(name)).await?;
    while slot_of(inner, &rows)?.is_some_and(|slot| slot.active.is_some()) && Instant::now() < until {
        tokio::time::sleep(LOOK).await;
        rows = lease.query(&question(name)).await?;
    }
    Ok(())
}

fn slot_of(inner: &Inner, rows: &[PgRow]) -> Result<Option<Slot>, StoreError> {
    let Some(row) = rows.first() else { return Ok(None) };
    let unreadable = || error::running(&inner.name, &sqlx::Error::RowNotFound);
    Slot::read(&texts(inner, row)?).ok_or_else(unreadable).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(change: impl FnOnce(&mut Slot)) -> Slot {
        let columns = ["pgoutput", "shop", "", "0/10", ""].map(|text| (!text.is_empty()).then(|| text.to_owned()));
        let mut slot = Slot::read(&columns).unwrap();
        assert_eq!((slot.active, slot.confirmed, slot.is_lost), (None, 16, false));
        change(&mut slot);
        slot
    }

    fn check(slot: Option<Slot>, from: u64, expected: &str) {
        let judged = judge(slot.as_ref(), "tributary_x", "shop", from);
        let told = match judged {
            Ok(()) => "goes on".to_owned(),
            Err(Ended::Lost(reason)) => format!("lost: {reason}"),
            Err(Ended::Refused { reason, mend }) => format!("refused: {reason}; {mend}"),
            Err(Ended::Again(error)) => format!("again: {error}"),
        };
        assert!(told.contains(expected), "{told}");
    }

    #[test]
    fn a_slot_that_is_not_where_it_was_left_is_not_used() {
        check(Some(slot(|_| {})), 16, "goes on");
        check(Some(slot(|_| {})), 1_000, "goes on");
        // Somebody who reads from it is found out by the server.
        check(Some(slot(|slot| slot.active = Some(7))), 16, "goes on");
        check(Some(slot(|_| {})), 8, "lost: its replication slot is ahead");
        check(Some(slot(|slot| slot.is_lost = true)), 16, "lost: the server has removed log");
        check(None, 16, "lost: its replication slot is gone");
        check(Some(slot(|slot| slot.plugin = "wal2json".to_owned())), 16, "pg_drop_replication_slot('tributary_x')");
        check(Some(slot(|slot| slot.database = "other".to_owned())), 8, "refused: ");
    }
}
