//! How much the server keeps for a feed, and how far the feed is behind.

use std::time::Duration;

use super::super::super::capture::{Follow, How, InstanceId, Watch};
use super::super::super::commit::FEED;
use super::super::super::error::StoreError;
use super::super::branch::Inner;
use super::super::own;
use super::{ask, slot, texts, triggers};

/// Looks at the slot, or at the table of changes.
///
/// # Errors
/// What the server answered.
pub(super) async fn look(inner: &Inner, who: InstanceId, follow: &Follow) -> Result<Watch, StoreError> {
    let name = who.object(&inner.name);
    // Before there are triggers, a slot may be left of a feed by the log, which keeps more and more.
    let has_triggers = follow.how == How::Outbox && Box::pin(triggers::owner(inner)).await?.is_some();
    let sql = if has_triggers { of_table() } else { of_slot(&name) };
    let (lease, rows) = ask(inner, &sql).await?;
    drop(lease);
    let told = rows.first().map(|row| texts(inner, row)).transpose()?.unwrap_or_default();
    let number = |place: usize| told.get(place).cloned().flatten().and_then(|text| text.parse::<u64>().ok());
    let waits = match follow.how {
        // It is read as soon as it is written: an old transaction only keeps the log.
        How::Log => None,
        How::Outbox if number(1).is_some_and(|rows| rows > 0) => Box::pin(slot::oldest_transaction(inner)).await?,
        How::Outbox => None,
    };
    let detail = waits.map(|oldest| format!("Changes wait for older transactions to end: {oldest}.")).unwrap_or_default();
    Ok(Watch { retained_bytes: number(0), lag_bytes: number(1), left_bytes: number(2), left: None::<Duration>, detail })
}

fn of_slot(name: &str) -> String {
    format!(
        "SELECT pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), s.restart_lsn)::int8::text, \
         greatest(pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), s.confirmed_flush_lsn), 0)::int8::text, \
         pg_catalog.to_jsonb(s) ->> 'safe_wal_size' FROM pg_catalog.pg_replication_slots s WHERE s.slot_name = '{name}'"
    )
}

/// Rows are counted by their numbers, and each as what the bound of the store file counts it. Not by the size of their table, which stays
/// what it was once when they have been removed.
fn of_table() -> String {
    format!(
        "SELECT (1024 * (s.last_value - f.handed))::text, (1024 * (s.last_value - f.handed))::text, \
         (1024 * greatest(f.handed + f.room - s.last_value, 0))::text FROM {} s, {} f",
        own::quoted(triggers::NUMBERS),
        own::quoted(FEED)
    )
}
