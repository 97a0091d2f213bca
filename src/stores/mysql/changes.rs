//! Places in the server's history: the position of a consistent snapshot in the binary log, by which two connections prove
//! that they see one state (`federation.md` §4.2).
//!
//! Equal positions prove it only as far as every change is logged. Where the server tells that it is not so (a replica that
//! does not log what it applies, a filtered log, engines without transactions), [`SnapshotPosition::proves`] and
//! `branch.rs` say so. A session that switches its own logging off (`sql_log_bin = 0`) cannot be seen by others.
//!
//! Reading the binary log itself belongs to the change feeds, which no connector has yet; so no [`Position`] is ever given
//! out, and any two positions are incomparable.

use sqlx::Row;

use super::super::error::StoreError;
use super::super::position::{Coverage, Position};
use super::pool::Lease;

/// Starts a read-only transaction on the state of this moment and asks where that state stands in the binary log. One round
/// trip. A transaction that is still open is ended by it; the isolation level is the session's, because it cannot be changed
/// while one is open.
const BEGIN: &str = "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY; SHOW STATUS LIKE 'binlog_snapshot_%'; \
SHOW STATUS LIKE 'slaves_running'; SHOW VARIABLES LIKE 'log_slave_updates'";

/// The same for a transaction that may write.
const BEGIN_WRITING: &str = "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ WRITE; SHOW STATUS LIKE 'binlog_snapshot_%'; \
SHOW STATUS LIKE 'slaves_running'; SHOW VARIABLES LIKE 'log_slave_updates'";

/// How often snapshots are taken again while writers keep them apart.
const ROUNDS_MAX: usize = 8;

/// Where a consistent snapshot stands in MariaDB's binary log. Log files are numbered, so their names order them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SnapshotPosition {
    file: String,
    offset: u64,
    /// Whether a replica changes the data without logging it.
    unlogged: bool,
}

impl SnapshotPosition {
    /// Whether an equal position means one state; otherwise the reason.
    pub(super) fn proves(&self) -> Result<(), &'static str> {
        if self.unlogged { Err("the server is a replica that does not log what it applies (log_slave_updates)") } else { Ok(()) }
    }
}

/// Whether a snapshot transaction may write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// `READ ONLY`
    Read,
    /// `READ WRITE`
    Write,
}

/// Starts a snapshot transaction; its position is `None` on servers that do not tell it (MySQL, or no binary log).
///
/// # Errors
/// What the server answered.
pub(super) async fn begin_snapshot(lease: &mut Lease, access: Access) -> Result<Option<SnapshotPosition>, StoreError> {
    let rows = lease.rows(if access == Access::Read { BEGIN } else { BEGIN_WRITING }).await?;
    let (mut found, mut replicas, mut logs_replicated) = ((None, None), false, false);
    for row in &rows {
        let (Ok(name), Ok(value)) = (row.try_get_unchecked::<String, _>(0), row.try_get_unchecked::<String, _>(1)) else {
            continue;
        };
        match name.to_ascii_lowercase().as_str() {
            "binlog_snapshot_file" => found.0 = Some(value).filter(|file| !file.is_empty()),
            "binlog_snapshot_position" => found.1 = value.parse().ok(),
            "slaves_running" => replicas = value != "0",
            "log_slave_updates" => logs_replicated = value == "ON",
            _ => {}
        }
    }
    let unlogged = replicas && !logs_replicated;
    Ok(found.0.zip(found.1).map(|(file, offset)| SnapshotPosition { file, offset, unlogged }))
}

/// Brings all connections to one state. `Err` in the result is the reason why that could not be proved; the connections are
/// in transactions of different states then.
///
/// # Errors
/// What the server answered.
pub(super) async fn begin_one_snapshot(leases: &mut [Lease]) -> Result<Result<SnapshotPosition, &'static str>, StoreError> {
    let mut positions: Vec<Option<SnapshotPosition>> = vec![None; leases.len()];
    for _ in 0..ROUNDS_MAX {
        let newest = positions.iter().flatten().max().cloned();
        // Those at the newest position stay; the others look again, all at the same time.
        let behind = leases.iter_mut().zip(positions.iter_mut()).filter(|(_, position)| position.is_none() || **position != newest);
        let again = behind.map(|(lease, position)| async move {
            *position = begin_snapshot(lease, Access::Read).await?;
            Ok::<_, StoreError>(position.is_some())
        });
        if !futures::future::try_join_all(again).await?.into_iter().all(|known| known) {
            return Ok(Err("the server does not tell where its snapshots stand (MySQL, or no binary log)"));
        }
        let mut known = positions.iter().flatten();
        if let Some(first) = known.next()
            && known.all(|position| position == first)
        {
            return Ok(Ok(first.clone()));
        }
    }
    Ok(Err("writers kept the snapshots of several connections apart"))
}

/// No position of this store is given out yet, so none can be compared.
pub(super) fn covers(_applied: &Position, _wanted: &Position) -> Coverage {
    Coverage::Incomparable
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_ordered_by_file_and_place_and_prove_only_what_is_logged() {
        let at = |file: &str, offset, unlogged| SnapshotPosition { file: file.to_owned(), offset, unlogged };
        assert!(at("binlog.000001", 900, false) < at("binlog.000002", 4, false));
        assert!(at("binlog.000002", 4, false) < at("binlog.000002", 5, false));
        assert_eq!(at("binlog.000002", 4, false).proves(), Ok(()));
        assert!(at("binlog.000002", 4, true).proves().is_err());
    }
}
