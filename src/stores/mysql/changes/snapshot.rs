//! Places in the server's history: the position of a consistent snapshot in the binary log, by which two connections prove
//! that they see one state (`federation.md` §4.2).
//!
//! **What a session is told of its own snapshot is not believed.** MariaDB answers `SHOW STATUS LIKE 'binlog_snapshot_%'` from
//! memory that all sessions share and fill as they ask, so whoever asks at the same time may be given another one's position,
//! or the file of one with the offset of another (measured: up to one answer in twenty). Unmixed, it is always a place that
//! commits had reached by then, be it whose it may. So a snapshot is taken between two bounds: the place told before it began,
//! which is not later than its own, and the end of the log after it began (`SHOW MASTER STATUS`, read under the lock of the
//! log), which is not earlier. Where both are equal they are its position, whatever other clients ask meanwhile; where a write
//! or a wrong answer came between, nothing is known and it is taken again. A mixed answer equals the end only when the log
//! happens to grow to that very byte of a new file within the moment.
//!
//! **Proved** is thereby that equal positions are one state, as far as every change is logged. Where the server tells that it
//! is not so (a replica that does not log what it applies, a filtered log, engines without transactions),
//! [`SnapshotPosition::proves`] and `branch.rs` say so. **Not proved:** a session that switches its own logging off
//! (`sql_log_bin = 0`) cannot be seen by others; and a user who may not see the end of the log is left with what the first
//! paragraph says, so no state is claimed for him.
//!
//! Files and offsets are of this server alone; what others are told of its history are GTIDs (`position.rs`), which the server finds
//! for a file and an offset ([`SnapshotPosition::gtids`]).

use std::time::Duration;

use sqlx::Row;
use sqlx::mysql::MySqlRow;

use super::super::super::error::StoreError;
use super::super::pool::Lease;
use super::position::Gtids;

/// Asks for the place up to which commits have come, or for that of the session's snapshot when it has one.
const COMMITTED: &str = "SHOW STATUS LIKE 'binlog_snapshot_%'";

/// Asks for the end of the binary log.
const END_OF_LOG: &str = "SHOW MASTER STATUS";

/// Asks whether a replica changes the data without logging it.
const REPLICA: &str = "SHOW STATUS LIKE 'slaves_running'; SHOW VARIABLES LIKE 'log_slave_updates'";

/// How often snapshots are taken again while writers keep them apart, or while one's position is not known.
const ROUNDS_MAX: usize = 8;
/// How often one is taken whose position must be known, and how long others are given in between to finish what they write.
const KNOWN_ROUNDS_MAX: usize = 64;
const BETWEEN_ROUNDS: Duration = Duration::from_millis(20);

/// Where a consistent snapshot stands in MariaDB's binary log. Log files are numbered, so their names order them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(in super::super) struct SnapshotPosition {
    file: String,
    offset: u64,
    /// Whether a replica changes the data without logging it.
    unlogged: bool,
}

impl SnapshotPosition {
    /// Whether an equal position means one state; otherwise the reason.
    pub(in super::super) fn proves(&self) -> Result<(), &'static str> {
        if self.unlogged { Err("the server is a replica that does not log what it applies (log_slave_updates)") } else { Ok(()) }
    }

    /// Everything that is in the snapshot, by another connection; `None` where the server finds nothing there.
    ///
    /// # Errors
    /// What the server answered.
    pub(super) async fn gtids(&self, other: &mut Lease) -> Result<Option<Gtids>, StoreError> {
        gtids_at(other, &self.file, self.offset).await
    }
}

/// Everything up to a place in a file; `None` where no event ends there.
///
/// # Errors
/// What the server answered.
pub(super) async fn gtids_at(lease: &mut Lease, file: &str, offset: u64) -> Result<Option<Gtids>, StoreError> {
    // Names of logs are the administrator's; one that could end a text is none.
    if file.contains(['\'', '\\']) {
        return Ok(None);
    }
    let rows = lease.rows_of(format!("SELECT BINLOG_GTID_POS('{file}', {offset})")).await?;
    let text = rows.first().and_then(|row| row.try_get_unchecked::<Option<String>, _>(0).ok()).flatten();
    Ok(text.as_deref().and_then(Gtids::of_mariadb))
}

/// Where a snapshot that reads stands.
#[derive(Debug)]
pub(super) enum Known {
    /// Here, which proves its state.
    At(SnapshotPosition),
    /// All the time something is in the log that is not to be seen yet: others write, or a commit waits for a disk or a replica.
    Late,
    /// The server does not tell, or nothing that proves a state.
    Untold,
}

/// Whether a snapshot transaction may write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Access {
    /// `READ ONLY`
    Read,
    /// `READ WRITE`
    Write,
}

/// What is known of where a new snapshot stands.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Standing {
    /// Exactly here.
    At(SnapshotPosition),
    /// Something was written while it was taken, or the server's answer was meant for another session.
    Between,
    /// The server does not tell positions (MySQL, or no binary log).
    Untold,
}

/// What the server answered while a snapshot was taken.
#[derive(Debug, Default)]
struct Answers {
    committed_file: Option<String>,
    committed_offset: Option<u64>,
    end_of_log: Option<(String, u64)>,
    has_replicas: bool,
    logs_replicated: bool,
}

impl Answers {
    fn of(rows: &[MySqlRow]) -> Self {
        let mut answers = Self::default();
        for row in rows {
            let (Ok(name), Ok(value)) = (row.try_get_unchecked::<String, _>(0), row.try_get_unchecked::<String, _>(1)) else {
                continue;
            };
            // Names and values come in pairs; the end of the log comes with its filters.
            if row.len() > 2 {
                answers.end_of_log = value.parse().ok().map(|offset| (name, offset));
                continue;
            }
            match name.to_ascii_lowercase().as_str() {
                "binlog_snapshot_file" => answers.committed_file = Some(value).filter(|file| !file.is_empty()),
                "binlog_snapshot_position" => answers.committed_offset = value.parse().ok(),
                "slaves_running" => answers.has_replicas = value != "0",
                "log_slave_updates" => answers.logs_replicated = value == "ON",
                _ => {}
            }
        }
        answers
    }

    fn standing(self, bounds: Bounds) -> Standing {
        let Some(committed) = self.committed_file.zip(self.committed_offset) else { return Standing::Untold };
        if bounds == Bounds::Both && self.end_of_log.as_ref() != Some(&committed) {
            return Standing::Between;
        }
        let (file, offset) = committed;
        Standing::At(SnapshotPosition { file, offset, unlogged: self.has_replicas && !self.logs_replicated })
    }
}

/// By what the position of a snapshot is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bounds {
    /// By what is equal before and after it.
    Both,
    /// By what the session is told of it, which proves nothing; the caller knows it from [`Server::logs_all`].
    ///
    /// [`Server::logs_all`]: super::super::pool::Server::logs_all
    Told,
}

/// Starts a transaction on the state of this moment. One round trip. A transaction that is still open is ended by it; the
/// isolation level is the session's, because it cannot be changed while one is open.
async fn begin_once(lease: &mut Lease, access: Access) -> Result<Standing, StoreError> {
    let begin = match access {
        Access::Read => "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
        Access::Write => "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ WRITE",
    };
    let bounds = if lease.session.server.shows_end_of_log() { Bounds::Both } else { Bounds::Told };
    let sql = match bounds {
        // With the snapshot of an earlier round its place would be told instead of the newest.
        Bounds::Both => format!("ROLLBACK; {COMMITTED}; {begin}; {END_OF_LOG}; {REPLICA}"),
        Bounds::Told => format!("{begin}; {COMMITTED}; {REPLICA}"),
    };
    Ok(Answers::of(&lease.rows_of(sql).await?).standing(bounds))
}

/// Starts a snapshot transaction; its position is `None` on servers that do not tell it (MySQL, or no binary log), and where
/// writers leave no moment to learn it.
///
/// # Errors
/// What the server answered.
pub(in super::super) async fn begin_snapshot(lease: &mut Lease, access: Access) -> Result<Option<SnapshotPosition>, StoreError> {
    for _ in 0..ROUNDS_MAX {
        match begin_once(lease, access).await? {
            Standing::At(position) => return Ok(Some(position)),
            Standing::Untold => return Ok(None),
            Standing::Between => {}
        }
    }
    Ok(None)
}

/// Starts a snapshot transaction that reads, at a position that is known and proves its state, where there is one to be had.
///
/// # Errors
/// What the server answered.
pub(super) async fn begin_known_snapshot(lease: &mut Lease) -> Result<Known, StoreError> {
    // What a session is told of its own snapshot alone is not believed.
    if !lease.session.server.shows_end_of_log() {
        return Ok(Known::Untold);
    }
    for _ in 0..KNOWN_ROUNDS_MAX {
        match begin_once(lease, Access::Read).await? {
            Standing::At(position) if position.proves().is_ok() => return Ok(Known::At(position)),
            Standing::At(_) | Standing::Untold => return Ok(Known::Untold),
            Standing::Between => tokio::time::sleep(BETWEEN_ROUNDS).await,
        }
    }
    Ok(Known::Late)
}

/// Brings all connections to one state. `Err` in the result is the reason why that could not be proved; the connections are
/// in transactions of different states then.
///
/// # Errors
/// What the server answered.
pub(in super::super) async fn begin_one_snapshot(
    leases: &mut [Lease],
) -> Result<Result<SnapshotPosition, &'static str>, StoreError> {
    let mut positions: Vec<Option<SnapshotPosition>> = vec![None; leases.len()];
    for _ in 0..ROUNDS_MAX {
        let newest = positions.iter().flatten().max().cloned();
        // Those at the newest position stay; the others look again, all at the same time.
        let behind = leases.iter_mut().zip(positions.iter_mut()).filter(|(_, position)| position.is_none() || **position != newest);
        let again = behind.map(|(lease, position)| async move {
            let standing = begin_once(lease, Access::Read).await?;
            let is_told = standing != Standing::Untold;
            *position = if let Standing::At(found) = standing { Some(found) } else { None };
            Ok::<_, StoreError>(is_told)
        });
        if !futures::future::try_join_all(again).await?.into_iter().all(|is_told| is_told) {
            return Ok(Err("the server does not tell where its snapshots stand (MySQL, or no binary log)"));
        }
        if let Some((Some(first), others)) = positions.split_first()
            && others.iter().all(|position| position.as_ref() == Some(first))
        {
            return Ok(Ok(first.clone()));
        }
    }
    Ok(Err("writers kept the snapshots of several connections apart"))
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

    #[test]
    fn a_position_is_known_only_where_both_bounds_agree() {
        let answers = |committed: Option<(&str, u64)>, end: Option<(&str, u64)>| Answers {
            committed_file: committed.map(|(file, _)| file.to_owned()),
            committed_offset: committed.map(|(_, offset)| offset),
            end_of_log: end.map(|(file, offset)| (file.to_owned(), offset)),
            ..Answers::default()
        };
        let at = |file: &str, offset| Standing::At(SnapshotPosition { file: file.to_owned(), offset, unlogged: false });
        let check = |committed, end, expected| assert_eq!(answers(committed, end).standing(Bounds::Both), expected);
        check(Some(("binlog.000001", 900)), Some(("binlog.000001", 900)), at("binlog.000001", 900));
        check(Some(("binlog.000001", 900)), Some(("binlog.000001", 901)), Standing::Between);
        check(Some(("binlog.000001", 900)), Some(("binlog.000002", 900)), Standing::Between);
        check(Some(("binlog.000001", 900)), None, Standing::Between);
        check(None, Some(("binlog.000001", 900)), Standing::Untold);
        let told = answers(Some(("binlog.000001", 900)), None).standing(Bounds::Told);
        assert_eq!(told, at("binlog.000001", 900));
    }
}
