//! What a feed gives on its way into the log and to whoever follows.
//!
//! A transaction that was given before is left out, as are tables that are not followed any more. One that comes in pieces goes into the
//! log piece by piece, and is published with the last; one that is too large stops its tables.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::{Course, Driver, Halt};
use crate::changes::cut::{self, Cut};
use crate::changes::hub::Piece;
use crate::changes::log::{Item, Part, Progress};
use crate::changes::status::Told;
use crate::changes::{Moment, State};
use crate::stores::capture::{Ended, Feed};
use crate::stores::change::{Barrier, Entry, Group, Resume, Transaction};
use crate::stores::position::{Coverage, Position};
use crate::stores::schema::TableId;

/// After so many transactions that were not given before, no more of those are expected.
const FRESH: u32 = 1_000;

/// A transaction whose last piece has not come.
#[derive(Debug)]
pub(super) struct Open {
    bytes: u64,
    /// How often pieces had been lost when it began.
    aborted: u64,
    /// The tables in it.
    tables: BTreeSet<TableId>,
    /// Whether it is too large, and nothing of it is kept.
    is_dropped: bool,
}

/// What tells transactions that were given before from others, for one feed.
#[derive(Debug)]
pub(super) struct Replay {
    /// Up to where the log was when the feed began.
    base: Option<Position>,
    fresh: u32,
    /// The transaction that goes on was given before, or its beginning is missing.
    skips: bool,
}

impl Replay {
    pub(super) fn from(base: Option<Position>) -> Self {
        Self { base, fresh: 0, skips: false }
    }

    /// Whether a transaction was given before.
    fn was_given(&mut self, course: &Course, transaction: &Transaction) -> Result<bool, Halt> {
        let Some(base) = &self.base else { return Ok(false) };
        match course.connector.covers(base, &transaction.position) {
            Coverage::Covered => Ok(true),
            Coverage::Behind => {
                self.fresh += 1;
                if self.fresh > FRESH {
                    self.base = None;
                }
                Ok(false)
            }
            Coverage::Incomparable => Err(Ended::Lost("the store has another history".to_owned()).into()),
        }
    }
}

/// Whether it says nothing but what holds whenever it is said.
fn is_repeatable(transaction: &Transaction) -> bool {
    let is_one = |entry: &Entry| match entry {
        Entry::Row { .. } | Entry::Barrier(Barrier::Truncated { .. }) => false,
        Entry::Barrier(Barrier::Reshaped { .. } | Barrier::Stopped { .. } | Barrier::Gap { .. }) => true,
    };
    !transaction.entries.is_empty() && transaction.entries.iter().all(is_one)
}

impl Driver {
    /// Takes what a feed gave.
    pub(super) async fn take(&mut self, course: &Course, replay: &mut Replay, mut group: Group) -> Result<(), Halt> {
        let ended = group.transactions.iter().rev().find(|transaction| transaction.ends);
        let ended = ended.map(|transaction| transaction.position.clone());
        let resume = group.resume.clone();
        self.leave_out(course, replay, &mut group)?;
        self.take_cuts(group).await?;
        // Where what is left ends before the group does, the rest was read without anything of ours.
        let is_known = self.kept.as_ref().is_some_and(|kept| kept.known.resume.as_ref() == Some(&resume));
        match ended.filter(|_| !is_known) {
            Some(position) => self.idle(position, resume).await,
            None => Ok(()),
        }
    }

    /// Leaves out what was given before, and tables that are not followed any more.
    fn leave_out(&mut self, course: &Course, replay: &mut Replay, group: &mut Group) -> Result<(), Halt> {
        let mut kept = Vec::with_capacity(group.transactions.len());
        for transaction in std::mem::take(&mut group.transactions) {
            let is_left_out = if transaction.first > 0 {
                replay.skips || self.open.is_none()
            } else {
                replay.was_given(course, &transaction)? && !is_repeatable(&transaction)
            };
            replay.skips = is_left_out && !transaction.ends;
            if !is_left_out {
                kept.push(transaction);
            }
        }
        group.transactions = kept;
        cut::without(group, |rows| self.stops.has(&rows.shape.id));
        Ok(())
    }

    async fn take_cuts(&mut self, group: Group) -> Result<(), Halt> {
        if group.transactions.is_empty() {
            return Ok(());
        }
        let before = self.kept.as_ref().and_then(|kept| kept.known.resume.clone()).unwrap_or_default();
        for Cut { group, part, has_resume } in cut::split(group, &before) {
            match part {
                Part::Whole => {
                    // Of one that was taken back after its first pieces there is no last one.
                    self.drop_pieces();
                    self.publish(group, has_resume).await?;
                }
                Part::Piece => self.take_piece(group).await?,
                Part::LastPiece => self.take_last_piece(group, has_resume).await?,
            }
        }
        Ok(())
    }

    /// Hands whole transactions to the log and to whoever follows.
    pub(super) async fn publish(&mut self, group: Group, acknowledges: bool) -> Result<(), Halt> {
        (self.with.hook)(Moment::Append).await;
        let (bytes, group) = (group.bytes(), Arc::new(group));
        let Some(kept) = &self.kept else { return Err(Halt::Log("it has ended".to_owned())) };
        let (hub, first) = (Arc::clone(&kept.hub), kept.known.seq + 1);
        self.put(Item::Group { group: Arc::clone(&group), first, part: Part::Whole, acknowledges }, bytes).await?;
        // From here on the log has it, whatever happens before it is told.
        let position = self.know(&group, first);
        if self.waits_for_log {
            let count = u64::try_from(group.transactions.len()).unwrap_or(0);
            self.until_readable((first + count).saturating_sub(1)).await?;
        }
        (self.with.hook)(Moment::Publish).await;
        hub.publish(first, &group, position);
        self.status().count_rows(&group);
        self.count(&group, first).await
    }

    /// What the log has, and a fault came before it was told, is told when it can be read.
    pub(super) async fn tell_what_is_known(&mut self) -> Result<(), Halt> {
        let Some(kept) = &self.kept else { return Ok(()) };
        let (hub, seq, position) = (Arc::clone(&kept.hub), kept.known.seq, kept.known.position.clone());
        if hub.last() < seq {
            self.until_readable(seq).await?;
            hub.publish_written(seq, position);
        }
        Ok(())
    }

    /// Waits until a transaction can be read in the log: a kill behind that leaves it there as it is told. Nothing but the end of the server
    /// ends that, as what is queued will be written.
    async fn until_readable(&mut self, seq: u64) -> Result<(), Halt> {
        let Some(kept) = &self.kept else { return Ok(()) };
        let mut progress = kept.progress.clone();
        loop {
            // Cancel-safe, all of them.
            tokio::select! {
                () = self.signals.stop.cancelled() => return Err(Halt::Stop),
                done = progress.wait_for(|progress| progress.written >= seq) => {
                    let ended = |_ended| Halt::Log("it has ended".to_owned());
                    return done.map(drop).map_err(ended);
                }
                () = tokio::time::sleep(Duration::from_secs(1)) => self.look_at_log(),
            }
        }
    }

    /// What is known behind a group that was handed to the log.
    fn know(&mut self, group: &Group, first: u64) -> Option<Position> {
        let kept = self.kept.as_mut()?;
        let is_known = !group.resume.0.is_empty();
        kept.known.seq = (first + u64::try_from(group.transactions.len()).unwrap_or(0)).saturating_sub(1);
        kept.known.position = group.transactions.last().filter(|_| is_known).map(|last| last.position.clone());
        kept.known.resume = Some(group.resume.clone()).filter(|_| is_known);
        kept.known.position.clone()
    }

    async fn count(&mut self, group: &Arc<Group>, first: u64) -> Result<(), Halt> {
        let Some(kept) = &self.kept else { return Ok(()) };
        let (generation, transaction) = (kept.hub.generation(), group.transactions.len().saturating_sub(1));
        let seq = first + u64::try_from(transaction).unwrap_or(0);
        let piece = Piece { group: Arc::clone(group), transaction, seq, generation };
        let entries = group.transactions.last().map_or(0, |last| last.entries.len());
        if let Some(place) = piece.place(entries.saturating_sub(1)) {
            self.status().count(group, place);
        }
        let all = group.transactions.iter().flat_map(|transaction| &transaction.entries);
        let stopped: Vec<(&TableId, &str)> = all
            .filter_map(|entry| match entry {
                Entry::Barrier(Barrier::Stopped { table, reason }) => Some((table, reason.as_str())),
                Entry::Row { .. } | Entry::Barrier(_) => None,
            })
            .collect();
        if stopped.is_empty() {
            return Ok(());
        }
        let mut followed = kept.known.followed.clone();
        for (table, reason) in stopped {
            self.has_stopped(table, reason);
            followed.remove(table);
        }
        self.keep_followed(followed).await
    }

    /// A table is read in its store only, from here.
    fn has_stopped(&mut self, table: &TableId, reason: &str) {
        let Some(shape) = self.following.shape(table) else { return };
        self.stops.stop(table, shape.digest, reason);
        self.following.shapes().remove(table);
        let mend = format!("CALL tributary.restart_feed('{}')", self.following.store);
        self.status().set_table(table, Told::store_only(reason, Some(&mend)));
    }

    /// The store was read up to a position without anything of ours.
    pub(super) async fn idle(&mut self, position: Position, resume: Resume) -> Result<(), Halt> {
        let mark = self.with.pacing.mark;
        let Some(kept) = &mut self.kept else { return Ok(()) };
        if self.open.is_some() {
            return Ok(());
        }
        kept.hub.reach(&position);
        let (is_first, is_same) = (kept.known.resume.is_none(), kept.known.resume.as_ref() == Some(&resume));
        (kept.known.position, kept.known.resume) = (Some(position.clone()), Some(resume.clone()));
        let is_due = self.marked.is_none_or(|marked| marked.elapsed() >= mark);
        self.has_unmarked |= !is_same;
        if !self.has_unmarked || !(is_first || is_due) {
            return Ok(());
        }
        (self.marked, self.has_unmarked) = (Some(tokio::time::Instant::now()), false);
        let bytes = position.token.len() + resume.0.len();
        self.put(Item::Mark { position, resume }, bytes).await
    }

    async fn take_piece(&mut self, group: Group) -> Result<(), Halt> {
        let begins = group.transactions.first().is_some_and(|transaction| transaction.first == 0);
        if begins {
            self.drop_pieces();
            let aborted = self.kept.as_ref().map_or(0, |kept| kept.progress.borrow().aborted);
            self.open = Some(Open { bytes: 0, aborted, tables: BTreeSet::new(), is_dropped: false });
        }
        if self.grow(&group) {
            self.put_piece(group, Part::Piece, false).await?;
        } else if self.open.as_mut().is_some_and(|open| !std::mem::replace(&mut open.is_dropped, true)) {
            self.put(Item::Abort, 1).await?;
        }
        Ok(())
    }

    /// Adds a piece to the transaction that is open. `false`: it is too large.
    fn grow(&mut self, group: &Group) -> bool {
        let most = self.with.settings.transaction_bytes;
        let Some(open) = &mut self.open else { return false };
        open.bytes = open.bytes.saturating_add(u64::try_from(group.bytes()).unwrap_or(u64::MAX));
        open.tables.extend(group.rows.iter().map(|rows| rows.shape.id.clone()));
        !open.is_dropped && open.bytes <= most
    }

    async fn put_piece(&mut self, group: Group, part: Part, acknowledges: bool) -> Result<(), Halt> {
        self.status().count_rows(&group);
        let bytes = group.bytes();
        let first = self.kept.as_ref().map_or(0, |kept| kept.known.seq + 1);
        self.put(Item::Group { group: Arc::new(group), first, part, acknowledges }, bytes).await?;
        self.check_pieces()
    }

    /// Whether the log has lost pieces of the transaction that is open, which must come again then.
    pub(super) fn check_pieces(&self) -> Result<(), Halt> {
        let aborted = self.kept.as_ref().map_or(0, |kept| kept.progress.borrow().aborted);
        let has_lost = self.open.as_ref().is_some_and(|open| !open.is_dropped && open.aborted != aborted);
        if has_lost { Err(Halt::Log("it lost a part of a transaction".to_owned())) } else { Ok(()) }
    }

    async fn take_last_piece(&mut self, group: Group, has_resume: bool) -> Result<(), Halt> {
        let fits = self.grow(&group);
        if !fits {
            return self.stop_all_in(group, has_resume).await;
        }
        (self.with.hook)(Moment::Append).await;
        let Some(kept) = &self.kept else { return Ok(()) };
        let (hub, seq, mut progress) = (Arc::clone(&kept.hub), kept.known.seq + 1, kept.progress.clone());
        let aborted = self.open.as_ref().map_or(0, |open| open.aborted);
        let counted = Arc::new(without_rows(&group));
        self.put_piece(group, Part::LastPiece, has_resume).await?;
        self.until_written(seq, aborted, &mut progress).await?;
        self.open = None;
        let position = self.know(&counted, seq);
        (self.with.hook)(Moment::Publish).await;
        hub.publish_written(seq, position);
        self.count(&counted, seq).await
    }

    /// Waits until all of a transaction that came in pieces can be read: nobody is told of it before. Nothing but the end of the server
    /// ends that: what is queued will be written, and whoever went on before it is known whether would give it again.
    async fn until_written(&mut self, seq: u64, aborted: u64, progress: &mut watch::Receiver<Progress>) -> Result<(), Halt> {
        loop {
            // Cancel-safe, all of them.
            tokio::select! {
                () = self.signals.stop.cancelled() => return Err(Halt::Stop),
                done = progress.wait_for(|progress| progress.written >= seq || progress.aborted != aborted) => {
                    let is_written = done.is_ok_and(|progress| progress.written >= seq);
                    let lost = || Halt::Log("it lost a part of a transaction".to_owned());
                    return if is_written { Ok(()) } else { Err(lost()) };
                }
                () = tokio::time::sleep(Duration::from_secs(1)) => self.look_at_log(),
            }
        }
    }

    /// In the place of a transaction that is too large stands that its tables are read in their store only.
    async fn stop_all_in(&mut self, mut group: Group, has_resume: bool) -> Result<(), Halt> {
        let Some(open) = self.open.take() else { return Ok(()) };
        if !open.is_dropped {
            self.put(Item::Abort, 1).await?;
        }
        let most = self.with.settings.transaction_bytes;
        let reason = format!("a transaction was larger than changes.max_transaction allows ({most} bytes)");
        let stopped = |table: TableId| Entry::Barrier(Barrier::Stopped { table, reason: reason.clone() });
        let entries: Vec<Entry> = open.tables.into_iter().map(stopped).collect();
        group.rows.clear();
        for transaction in &mut group.transactions {
            (transaction.first, transaction.entries) = (0, entries.clone());
        }
        self.publish(group, has_resume).await
    }

    /// A transaction will not go on: what the log has of it is dropped before anything else is put there.
    pub(super) fn drop_pieces(&mut self) {
        self.must_abort |= self.open.take().is_some_and(|open| !open.is_dropped);
    }

    /// Tells the store what is durable. It is told again with the next one where it does not take that.
    pub(super) async fn acknowledge(&mut self, feed: &mut dyn Feed) {
        let Some(kept) = &mut self.kept else { return };
        let found = kept.progress.borrow_and_update().acknowledged.clone();
        let Some((position, resume)) = found.filter(|(_, resume)| self.acknowledged.as_ref() != Some(resume)) else { return };
        (self.with.hook)(Moment::Acknowledge).await;
        let told = tokio::time::timeout(self.with.pacing.patience, feed.acknowledge(&position, &resume)).await;
        match told {
            Ok(Ok(())) => self.acknowledged = Some(resume),
            Ok(Err(error)) => {
                let (store, error) = (&self.following.store, super::error_text(&error));
                tracing::debug!(%store, %error, "the store was not told what is durable");
            }
            Err(_late) => tracing::debug!(store = %self.following.store, "the store was not told in time what is durable"),
        }
    }

    /// Shows whether the log is written.
    pub(super) fn look_at_log(&self) {
        let Some(kept) = &self.kept else { return };
        let failing = kept.progress.borrow().failing.clone();
        match failing {
            Some(reason) => self.status().set(State::Waiting, Some(&format!("log: {reason}")), None),
            None if self.status().state() == State::Waiting => self.status().set(State::Streaming, None, None),
            None => {}
        }
    }
}

/// What is counted of a piece that has been given away.
fn without_rows(group: &Group) -> Group {
    Group {
        store: group.store.clone(),
        identity: Arc::clone(&group.identity),
        transactions: group.transactions.clone(),
        rows: Vec::new(),
        resume: group.resume.clone(),
        received_ms: group.received_ms,
    }
}
