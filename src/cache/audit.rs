//! The auditor: from time to time some rows of a copy are read in their store too, to see whether they are the same.
//!
//! ```text
//! keys that chance chooses, and rows from some place on ── Feeds::fill → rows of one state of the store
//! Connector::position, asked when it is shown no more ── a set that has passed it → the copy has everything that the state has
//! what differs, but for what later transactions have touched (the fill's cursor) → a divergence: counted, told, the copy is loaded again
//! ```
//!
//! **Invariants:** the state that is read and the set that it is compared with differ by transactions that are known one by one: what none
//! of them has touched must be the same in both. Of what cannot be told nothing is said; no value is kept, told or logged.

mod sample;
mod tell;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::error::ArrowError;
use futures::TryStreamExt;
use tokio_util::sync::CancellationToken;

use super::store::StoreCopies;
use super::version::{Differences, Differing, TableVersion};
use super::{CacheEntry, Caches};
use crate::changes::{Cursor, State};
use crate::stores::capture::{Capture, Fill};
use crate::stores::change::Entry;
use crate::stores::connector::ScanLimits;
use crate::stores::position::{Coverage, Position};
use crate::stores::schema::TableId;
use crate::stores::{Branch, StoreError};
use crate::task::Backoff;
use crate::telemetry::log::Line;
use sample::{BYTES, Sample};
pub use tell::ShownAudit;
pub(super) use tell::{Audited, Audits};

/// How long a table is left alone that was found to differ, which is loaded anew then, and how long at most where that happens again and
/// again.
const REST: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(3600));
/// So many times the rows and bytes that are looked for are read at most: the store may give more, and larger ones.
const EXCESS: usize = 4;

/// Why a check came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Skipped {
    /// The copy is gone, or another one has taken its place.
    Gone,
    /// The store did not answer, or not in time.
    Away,
    /// The copy did not get as far as what was read.
    Behind,
    /// Something was done to all of the table meanwhile, or it cannot be told to which rows.
    Changed,
    /// The log does not have the transactions any more that it would take.
    NotKept,
    /// The rows cannot be compared.
    Unlike,
}

impl Skipped {
    /// A word of a fixed list, for metrics.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Gone => "no-copy",
            Self::Away => "store",
            Self::Behind => "behind",
            Self::Changed => "changed",
            Self::NotKept => "not-kept",
            Self::Unlike => "not-comparable",
        }
    }
}

/// What a check has come to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Checked {
    /// Rows that were compared, with those of one side only.
    pub(super) rows: usize,
    /// Rows among them of which nothing can be said, since transactions have changed them meanwhile.
    pub(super) open: usize,
    /// Rows that are not in the copy.
    pub(super) missing: usize,
    /// Rows that only the copy has.
    pub(super) extra: usize,
    /// Rows with other values.
    pub(super) other: usize,
}

impl Checked {
    /// How many rows differ.
    pub(super) fn diverged(&self) -> usize {
        self.missing + self.extra + self.other
    }
}

/// Looks at one table after the other, until `stop`.
pub(super) async fn audit(caches: Arc<Caches>, copies: Arc<StoreCopies>, stop: CancellationToken) {
    let pace = caches.settings.audit;
    if pace.is_zero() || caches.settings.audit_rows == 0 {
        return;
    }
    let mut auditor = Auditor { caches, copies, last: None, resting: BTreeMap::new() };
    loop {
        // Cancel-safe, both of them.
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pace) => {}
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = Box::pin(auditor.round()) => {}
        }
    }
}

struct Auditor {
    caches: Arc<Caches>,
    copies: Arc<StoreCopies>,
    /// The table that was looked at last.
    last: Option<TableId>,
    /// Tables that were found to differ, until when they are left alone, and for how long the next time.
    resting: BTreeMap<TableId, (Instant, Backoff)>,
}

impl Auditor {
    async fn round(&mut self) {
        if self.caches.feeds.state(&self.copies.name) != State::Streaming {
            return;
        }
        let Some(table) = self.next_table() else { return };
        let check = Check { caches: &self.caches, copies: &self.copies, table: &table };
        match Box::pin(check.run()).await {
            Ok(checked) => self.note(&table, checked),
            Err(skipped) => self.copies.audits.skipped(skipped),
        }
        self.last = Some(table);
    }

    /// The table behind the last one in name order, and behind all of them the first.
    fn next_table(&mut self) -> Option<TableId> {
        let set = self.copies.set()?;
        self.resting.retain(|table, _| set.tables.contains_key(table) || self.copies.stands.is_known(table));
        let now = Instant::now();
        let is_due = |table: &&TableId| self.resting.get(*table).is_none_or(|(until, _)| *until <= now);
        let behind = set.tables.keys().filter(|table| self.last.as_ref().is_none_or(|last| *table > last)).find(is_due);
        behind.or_else(|| set.tables.keys().find(is_due)).cloned()
    }

    fn note(&mut self, table: &TableId, checked: Checked) {
        let is_wanted = |table: &TableId| self.copies.stands.is_known(table);
        self.copies.audits.note(table, checked, &is_wanted);
        if checked.diverged() == 0 {
            // What nothing could be said of says nothing of the next one.
            if checked.rows > checked.open {
                self.resting.remove(table);
            }
            return;
        }
        let mut rest = self.resting.remove(table).map_or_else(|| Backoff::new(REST.0, REST.1), |(_, rest)| rest);
        self.resting.insert(table.clone(), (Instant::now() + rest.next_wait(), rest));
        self.copies.ask_reload(table);
        let (store, name) = (&self.copies.name, format!("{}.{}", table.namespace, table.name));
        let Checked { missing, extra, other, .. } = checked;
        tracing::error!(
            %store, table = %Line(&name), missing, extra, other,
            "the copy of the table has not the rows that its store has: it is loaded again"
        );
    }
}

/// One look at one table.
struct Check<'a> {
    caches: &'a Caches,
    copies: &'a StoreCopies,
    table: &'a TableId,
}

impl Check<'_> {
    async fn run(&self) -> Result<Checked, Skipped> {
        let (entry, life) = self.asked().ok_or(Skipped::Gone)?;
        let set = self.copies.set().ok_or(Skipped::Gone)?;
        let before = set.tables.get(self.table).map(|shelf| Arc::clone(&shelf.version)).ok_or(Skipped::Gone)?;
        drop(set);
        let (feeds, store) = (&self.caches.feeds, &self.copies.name);
        // Places of another server say nothing of this one.
        if !feeds.runs_over(store, &entry.connector) {
            return Err(Skipped::Gone);
        }
        let (Some(follow), Some(hub)) = (feeds.follow(store), feeds.hub(store)) else { return Err(Skipped::Gone) };
        let sample = Sample::of(&before, entry.connector.as_ref(), self.caches.settings.audit_rows)?;
        let (fill, mut cursor, capture) = feeds.fill(store, before.table()).await.map_err(away)?;
        let Fill { branch, version, ends, .. } = fill;
        let reading = self.read(&before, &sample, branch.as_ref());
        let found =
            tokio::time::timeout_at(tokio::time::Instant::from_std(ends), reading).await.map_err(|_late| Skipped::Away)??;
        // Rows that are there may be taken after their time, of a state that is gone.
        if Instant::now() >= ends {
            return Err(Skipped::Away);
        }
        // Its connection serves others then.
        tokio::time::timeout(self.caches.pace.patience, branch.rollback()).await.ok();
        drop(branch);
        // In this order: a store may have to wait until its state is shown no more, to say where it is. Everything that the state has is at
        // or before what it says then.
        let asked = entry.connector.position(feeds.instance(), &follow);
        let bound = tokio::time::timeout(self.caches.pace.patience, asked).await.map_err(|_late| Skipped::Away)?.map_err(away)?;
        let after = self.passed(&entry, life, &bound).await?;
        if after.shape().digest != before.shape().digest || after.table().schema != before.table().schema {
            return Err(Skipped::Gone);
        }
        // Everything that is in the set was published before this.
        let last = hub.last();
        let (rows, mut differences) = compared(&after, &found, &sample)?;
        let all = differences.len();
        let judging = self.leave_out(&mut cursor, last, (capture.as_ref(), version.as_slice()), (after.as_ref(), &mut differences));
        tokio::time::timeout(self.caches.pace.join, judging).await.map_err(|_late| Skipped::NotKept)??;
        Ok(Checked {
            rows,
            open: all - differences.len(),
            missing: differences.count(Differing::Missing),
            extra: differences.count(Differing::Extra),
            other: differences.count(Differing::Other),
        })
    }

    fn asked(&self) -> Option<(Arc<CacheEntry>, u64)> {
        let asked = self.copies.asked();
        let now = asked.borrow();
        Some((now.entry.clone()?, now.life))
    }

    /// The rows of the sample in one state of the store.
    async fn read(&self, copy: &TableVersion, sample: &Sample, branch: &dyn Branch) -> Result<Arc<TableVersion>, Skipped> {
        let mut found = TableVersion::empty(copy.table(), copy.shape()).map_err(|_refused| Skipped::Unlike)?;
        let most = self.caches.settings.audit_rows.saturating_mul(EXCESS);
        for scan in sample.scans(&self.copies.name, copy.table()) {
            let mut read = 0_usize;
            let mut rows = branch.scan(copy.table(), &scan, ScanLimits::default()).await.map_err(away)?;
            while let Some(batch) = rows.try_next().await.map_err(away)? {
                read += batch.num_rows();
                found = found.filled(&batch).map_err(|_broken| Skipped::Unlike)?;
                let is_enough = read > most || found.bytes() > BYTES * EXCESS;
                // Rows that were asked for by their keys must all be there, to say that there are no others.
                if is_enough && scan.limit.is_none() {
                    return Err(Skipped::Unlike);
                }
                if is_enough {
                    break;
                }
            }
        }
        Ok(Arc::new(found))
    }

    /// The table in a set that has everything up to a position.
    async fn passed(&self, entry: &CacheEntry, life: u64, bound: &Position) -> Result<Arc<TableVersion>, Skipped> {
        let mut moved = self.copies.moved();
        let passing = async {
            loop {
                moved.borrow_and_update();
                let set = self.copies.set()?;
                if set.covers(entry.connector.as_ref(), bound) == Coverage::Covered {
                    return set.tables.get(self.table).map(|shelf| Arc::clone(&shelf.version));
                }
                drop(set);
                moved.changed().await.ok()?;
            }
        };
        let found = tokio::time::timeout(self.caches.pace.patience, passing).await.map_err(|_late| Skipped::Behind)?;
        let is_same = self.asked().is_some_and(|(_, now)| now == life);
        found.filter(|_| is_same).ok_or(Skipped::Gone)
    }

    /// Takes out of the differences what was touched by a transaction that the state which was read has not: the set may have it.
    async fn leave_out(
        &self,
        cursor: &mut Cursor,
        last: u64,
        (capture, version): (&dyn Capture, &[u8]),
        (copy, differences): (&TableVersion, &mut Differences),
    ) -> Result<(), Skipped> {
        while !differences.is_empty()
            && let Some(piece) = cursor.next_until(last).await.map_err(|_over| Skipped::NotKept)?
        {
            let Some(transaction) = piece.transaction() else { continue };
            // Of one in pieces it is known with the last of them only.
            let is_whole = transaction.first == 0 && transaction.ends;
            if is_whole && capture.contains(version, transaction) {
                continue;
            }
            for entry in &transaction.entries {
                match entry {
                    Entry::Barrier(barrier) if barrier.table().is_none_or(|table| table == self.table) => {
                        return Err(Skipped::Changed);
                    }
                    Entry::Barrier(_) => {}
                    Entry::Row { rows, row } => {
                        let rows = usize::try_from(*rows).ok().and_then(|rows| piece.group.rows.get(rows));
                        let Some(rows) = rows.filter(|rows| rows.shape.id == *self.table) else { continue };
                        if !copy.leave_out(differences, rows, *row).map_err(|_unfit| Skipped::Changed)? {
                            return Err(Skipped::Changed);
                        }
                    }
                }
            }
        }
        Ok(())
    }
}

/// How many rows were compared, and those that differ.
fn compared(copy: &TableVersion, found: &Arc<TableVersion>, sample: &Sample) -> Result<(usize, Differences), Skipped> {
    let unlike = |_error: ArrowError| Skipped::Unlike;
    let (mut rows, mut differences) = (found.rows(), Differences::default());
    for keys in found.read(&copy.shape().key, usize::MAX) {
        differences.with(copy.differing(found, &keys.map_err(unlike)?).map_err(unlike)?);
    }
    if let Some(keys) = sample.keys() {
        let absent = copy.differing(found, keys).map_err(unlike)?;
        // The other ones are among those that were found.
        rows += absent.count(Differing::Extra);
        differences.with(absent);
    }
    Ok((rows, differences))
}

fn away(error: StoreError) -> Skipped {
    tracing::debug!(error = %Line(&error.to_string()), "a copy could not be compared with its store");
    Skipped::Away
}
