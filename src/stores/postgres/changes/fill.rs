//! A read with an exact place among the changes: one snapshot, and which transactions it sees.
//!
//! A position of the log would not do: a transaction is in the log, and with us, before others see it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::Row;

use super::super::super::capture::Fill;
use super::super::super::change::Transaction;
use super::super::super::error::StoreError;
use super::super::branch::{self, Inner};
use super::super::error;
use super::position::cluster;
use super::{ask, texts};
use crate::stores::relational::Dialect;
use crate::stores::schema::Table;

/// How long a snapshot is held: as long as that the server keeps every row that it sees.
const HELD: Duration = Duration::from_secs(3_600);
/// How much earlier than it is seen a change may be told.
const LOOK_BACK: Duration = Duration::from_secs(60);
/// The same where a commit waits for other servers before it is seen.
const LOOK_BACK_SYNCHRONOUS: Duration = Duration::from_secs(600);

/// What the snapshot is of, and whether commits wait for other servers.
const SYSTEM: &str = "SELECT (SELECT s.system_identifier::text FROM pg_catalog.pg_control_system() s), \
     pg_catalog.current_setting('synchronous_standby_names')";

/// The snapshot, and since how many seconds the oldest transaction runs that waits for other servers, as far as that is told: it is told to us
/// when it is in the log, and seen when these have it, however long that takes.
const SNAPSHOT: &str = "SELECT pg_catalog.txid_current_snapshot()::text, (SELECT pg_catalog.max(pg_catalog.date_part('epoch', \
     pg_catalog.clock_timestamp() - a.xact_start))::pg_catalog.int8 FROM pg_catalog.pg_stat_activity a WHERE a.wait_event = 'SyncRep')";

/// Opens a snapshot of these tables.
///
/// They are locked before it is taken, against TRUNCATE and whatever else drops rows without regard to snapshots: a scan that waited for one
/// of these would find the table empty, which it never was for anybody. Nobody waits for the lock.
///
/// # Errors
/// What the server answered: 55P03 while a table is rewritten, truncated or altered.
pub(super) async fn open(inner: &Arc<Inner>, tables: &[Arc<Table>]) -> Result<Fill, StoreError> {
    let (lease, rows) = ask(inner, SYSTEM).await?;
    drop(lease);
    let row = rows.first().ok_or_else(|| error::running(&inner.name, &sqlx::Error::RowNotFound))?;
    let told = texts(inner, row)?;
    let text = |place: usize| told.get(place).cloned().flatten().unwrap_or_default();
    let is_synchronous = !text(1).is_empty();
    let names = tables.iter().map(|table| Dialect::Postgres.table(&table.id));
    let locks: String = names.map(|name| format!("LOCK TABLE {name} IN ACCESS SHARE MODE NOWAIT; ")).collect();
    let view = Box::pin(branch::open_locked(inner, &locks)).await?;
    let told = Box::pin(view.ask_leader(SNAPSHOT)).await?;
    let snapshot: Option<String> = told.first().and_then(|row| row.try_get(0).ok());
    let oldest: Option<i64> = told.first().and_then(|row| row.try_get(1).ok());
    let oldest = Duration::from_secs(oldest.and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or(0));
    let snapshot = snapshot.ok_or_else(|| error::running(&inner.name, &sqlx::Error::RowNotFound))?;
    Ok(Fill {
        branch: Arc::new(view),
        version: format!("{} {snapshot}", text(0)).into_bytes(),
        look_back: if is_synchronous { LOOK_BACK_SYNCHRONOUS.max(oldest + LOOK_BACK) } else { LOOK_BACK },
        ends: Instant::now() + HELD,
    })
}

/// Whether a snapshot sees a transaction.
pub(super) fn contains(version: &[u8], transaction: &Transaction) -> bool {
    let seen = || {
        let (system, snapshot) = std::str::from_utf8(version).ok()?.split_once(' ')?;
        // What is no number tells of tables, and of no rows.
        let number: u64 = transaction.id.parse().ok()?;
        Some(system.parse::<u64>().ok()? == cluster(&transaction.position)? && sees(snapshot, number)?)
    };
    seen().unwrap_or(false)
}

/// `from:to:between,…`: it sees what is below the first, and of what is below the second all but those between.
fn sees(snapshot: &str, number: u64) -> Option<bool> {
    let (oldest, rest) = snapshot.split_once(':')?;
    let (next, running) = rest.split_once(':')?;
    let (oldest, next): (u64, u64) = (oldest.parse().ok()?, next.parse().ok()?);
    let is_running = || running.split(',').any(|each| each.parse::<u64>().ok() == Some(number));
    Some(number < oldest || number < next && !is_running())
}

#[cfg(test)]
mod tests {
    use super::super::super::super::capture::How;
    use super::super::super::super::connector::StoreName;
    use super::super::position::position;
    use super::*;

    fn transaction(id: &str, cluster: u64) -> Transaction {
        Transaction {
            id: id.to_owned(),
            position: position(&StoreName::new("shop"), How::Log, (cluster, 1), 1),
            origin: None,
            committed_us: None,
            first: 0,
            entries: Vec::new(),
            ends: true,
        }
    }

    #[test]
    fn a_snapshot_sees_what_had_ended() {
        let rows = [
            ("7 10:20:10,15", "9", true),
            ("7 10:20:10,15", "10", false),
            ("7 10:20:10,15", "11", true),
            ("7 10:20:10,15", "15", false),
            ("7 10:20:10,15", "19", true),
            ("7 10:20:10,15", "20", false),
            ("7 10:10:", "9", true),
            ("7 10:10:", "10", false),
            ("7 10:10:", "tributary:table-1f", false),
            ("8 10:20:", "9", false),
            ("7 10:20", "9", false),
            ("7", "9", false),
            ("", "9", false),
        ];
        for (version, id, expected) in rows {
            assert_eq!(contains(version.as_bytes(), &transaction(id, 7)), expected, "{version} {id}");
        }
        assert!(!contains(&[0xff], &transaction("9", 7)));
    }
}
