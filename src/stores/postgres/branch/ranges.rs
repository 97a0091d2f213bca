//! Reading one table over several connections: ranges of its pages, all at one snapshot.
//!
//! ```text
//! first:   BEGIN …; LOCK TABLE ONLY t …; SELECT <its pages>, pg_export_snapshot()
//! others:  BEGIN …; SET TRANSACTION SNAPSHOT 'id'; LOCK TABLE ONLY t …              side by side, as far as slots are free
//! each:    COPY (SELECT … AND ctid >= '(a,0)' AND ctid < '(b,0)') TO STDOUT
//! ```
//!
//! **Invariants:** no range is read before all connections hold the lock, because TRUNCATE, VACUUM FULL and their like move or drop
//! rows without regard to snapshots. Nobody waits for the lock: who wants to rewrite the table may wait between our first
//! connection and the next, and the server sees no circle that runs through us. No slot is waited for, and all but the first are of a
//! number of their own, so that however many ranges are under way, as many scans run at a time as without them. Whatever cannot be had
//! leaves the scan to be read as one stream, which says what is wrong if anything is.

use std::sync::{Arc, PoisonError};

use futures::future::{join_all, try_join_all};
use sqlx::Row;
use sqlx::postgres::PgRow;
use tokio::sync::OwnedSemaphorePermit;

use super::super::job::Job;
use super::super::pages::Pages;
use super::super::pool::{Lease, State};
use super::super::{error, scan};
use super::{View, ViewKind, follower};
use crate::stores::connector::{BatchStream, Scan, ScanLimits};
use crate::stores::error::StoreError;
use crate::stores::relational::{Dialect, literal};
use crate::stores::schema::Table;

/// How the first connection begins where the view has no snapshot yet.
const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

impl View {
    /// The scan as ranges; `None` where it is to be read as one stream.
    pub(super) async fn start_ranges(
        &self,
        table: &Arc<Table>,
        scan: &Scan,
        limits: ScanLimits,
        most: usize,
    ) -> Result<Option<Vec<BatchStream>>, StoreError> {
        let Some(words) = Words::of(table).filter(|_| table.division.is_some() && scan.limit.is_none() && most > 1) else {
            return Ok(None);
        };
        let scans = &self.inner.pools.scans;
        let mut extra = scans.take_extra(most - 1);
        if extra.is_empty() {
            return Ok(None);
        }
        let (slot, begin) = match &self.kind {
            ViewKind::EachScan(_) => (None, None),
            ViewKind::Once | ViewKind::Writing(_) => return Ok(None),
            ViewKind::Snapshot { leader, worker_begin, reserved, .. } => {
                let has_leader = leader.lock().await.is_some();
                if self.writing.get().is_some() {
                    return Ok(None);
                }
                if !has_leader {
                    return Err(self.ended());
                }
                let slot = reserved.lock().unwrap_or_else(PoisonError::into_inner).pop();
                (slot, Some(worker_begin.as_str()))
            }
        };
        let Some(first) = slot.or_else(|| scans.take_free()) else { return Ok(None) };
        let Some((first, pages, begin)) = self.lead_ranges(first, begin, &words).await? else { return Ok(None) };
        // A range has a page at least.
        extra.truncate(usize::try_from(pages).unwrap_or(usize::MAX).saturating_sub(1));
        let mut leases = vec![first];
        leases.extend(self.follow_ranges(extra, &format!("{begin}; {}", words.lock)).await);
        let deadline = self.inner.settings.deadline;
        let jobs = Pages::divided(pages, leases.len()).into_iter().map(|pages| -> Result<Job, StoreError> {
            let mut job = Job::scan_pages(table, scan, limits, pages)?;
            (job.deadline, job.after) = (deadline, State::Transaction);
            Ok(job)
        });
        let jobs = jobs.collect::<Result<Vec<Job>, StoreError>>()?;
        let starts = leases.into_iter().zip(jobs).map(|(lease, job)| Box::pin(scan::start(lease, job)));
        try_join_all(starts).await.map(Some)
    }

    /// The first connection with the table locked, how many pages the table has, and how the others begin.
    async fn lead_ranges(
        &self,
        slot: OwnedSemaphorePermit,
        begin: Option<&str>,
        words: &Words,
    ) -> Result<Option<(Lease, u64, String)>, StoreError> {
        let (own, export) = (begin.unwrap_or(BEGIN), if begin.is_none() { "pg_catalog.pg_export_snapshot()" } else { "''" });
        let sql = format!("{own}; {}; SELECT {}, {export}", words.lock, words.pages);
        let (mut lease, rows) = match Box::pin(self.inner.pools.scans.fill_or_leave(slot, &sql)).await {
            Ok(filled) => filled,
            Err(slot) => {
                self.give_back(slot);
                return Ok(None);
            }
        };
        lease.settle(State::Transaction);
        let Some((pages, snapshot)) = told(&rows) else {
            return Err(error::running(&self.inner.name, &sqlx::Error::RowNotFound));
        };
        let begin = match begin {
            Some(begin) => begin.to_owned(),
            None => follower(&self.inner, &snapshot)?,
        };
        Ok(Some((lease, pages, begin)))
    }

    /// Those connections that can be had beside the first.
    async fn follow_ranges(&self, slots: Vec<OwnedSemaphorePermit>, begin: &str) -> Vec<Lease> {
        let scans = &self.inner.pools.scans;
        let followers = slots.into_iter().map(|slot| async move {
            let (mut lease, _) = Box::pin(scans.fill_or_leave(slot, begin)).await.ok()?;
            lease.settle(State::Transaction);
            Some(lease)
        });
        join_all(followers).await.into_iter().flatten().collect()
    }

    /// Keeps a slot of the statement for its next scan.
    fn give_back(&self, slot: Option<OwnedSemaphorePermit>) {
        if let ViewKind::Snapshot { reserved, .. } = &self.kind {
            reserved.lock().unwrap_or_else(PoisonError::into_inner).extend(slot);
        }
    }
}

/// What is said of one table.
struct Words {
    lock: String,
    pages: String,
}

impl Words {
    /// `None` for a name that cannot be written.
    fn of(table: &Table) -> Option<Self> {
        let name = Dialect::Postgres.table(&table.id);
        let mut text = String::new();
        literal::write_text(&name, &mut text).ok()?;
        let pages = format!(
            "pg_catalog.pg_relation_size({text}::pg_catalog.regclass) / pg_catalog.current_setting('block_size')::pg_catalog.int8"
        );
        Some(Self { lock: format!("LOCK TABLE ONLY {name} IN ACCESS SHARE MODE NOWAIT"), pages })
    }
}

/// Pages and snapshot, in the one row that the first connection has been sent.
fn told(rows: &[Vec<PgRow>]) -> Option<(u64, String)> {
    let row = rows.iter().flatten().next()?;
    let pages: i64 = row.try_get(0).ok()?;
    Some((u64::try_from(pages).ok()?, row.try_get(1).ok()?))
}
