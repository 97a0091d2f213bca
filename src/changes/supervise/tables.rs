//! Which tables are followed, and what the log is told when that changes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};

use arrow::array::RecordBatch;
use futures::{StreamExt, TryStreamExt};

use super::{Course, Driver, Halt, error_text};
use crate::changes::log::{Item, now_ms};
use crate::changes::status::{State, TableState, Told};
use crate::stores::capture::{Ended, Feed, Followed, Judged, Survey};
use crate::stores::change::{Barrier, Entry, Group, Known, OWN_ID, Operation, Resume, Rows, Transaction};
use crate::stores::commit::{OF_OURS, OwnTable, is_own_name};
use crate::stores::connector::{Scan, ScanLimits};
use crate::stores::position::Position;
use crate::stores::schema::{Table, TableId};
use crate::stores::{BatchStream, StoreError};
use crate::telemetry::log::Line;

/// What is to be done about a table that stands still until it was looked at.
const LOOKED_AT: &str = "It is looked at again by itself.";

/// What is told of a table that is followed.
fn told_of(table: &TableId) -> Told {
    Told { reason: is_own_name(&table.name).then(|| OF_OURS.to_owned()), ..Told::streaming() }
}

/// What stopped tables, until they are others.
#[derive(Debug, Default)]
pub(super) struct Stops {
    /// The columns that they had, and why, as a clause.
    tables: BTreeMap<TableId, (u64, String)>,
    /// Of which it is not sure that they are as they were discovered.
    doubtful: BTreeSet<TableId>,
    /// Those of them that have been discovered again.
    seen: BTreeSet<TableId>,
}

impl Stops {
    /// A table is read in its store only, from here.
    pub(super) fn stop(&mut self, table: &TableId, digest: u64, reason: &str) {
        self.tables.insert(table.clone(), (digest, reason.to_owned()));
    }

    pub(super) fn has(&self, table: &TableId) -> bool {
        self.tables.contains_key(table)
    }

    pub(super) fn doubt(&mut self, tables: Vec<TableId>) {
        self.doubtful.extend(tables);
    }

    /// Whether a table is to be discovered again.
    pub(super) fn has_doubts(&self) -> bool {
        !self.doubtful.is_empty()
    }

    /// The store has been discovered again.
    pub(super) fn described(&mut self) {
        self.seen.append(&mut self.doubtful);
    }

    /// Somebody has looked: every table may be followed again.
    pub(super) fn forgive(&mut self) {
        *self = Self::default();
    }
}

impl Driver {
    /// The tables that the store is to be asked about, waited for until it has been discovered.
    pub(super) async fn tables(&mut self, course: &Course) -> Result<Vec<Arc<Table>>, Halt> {
        loop {
            if let Some(tables) = self.wanted_tables(course) {
                self.stops.described();
                return Ok(tables);
            }
            self.status().set(State::Starting, Some("the tables of the store have not been discovered yet"), None);
            tokio::select! {
                halt = self.signals.raised() => return Err(halt),
                changed = self.described.changed() => if changed.is_err() { return Err(Halt::Stop) },
            }
        }
    }

    /// The same; `None` where it has not been.
    pub(super) fn wanted_tables(&mut self, course: &Course) -> Option<Vec<Arc<Table>>> {
        let described = self.described.borrow_and_update().clone()?;
        let is_wanted = |table: &&Arc<Table>| course.follow.wants(&table.id) && !is_own_name(&table.id.name);
        let mut tables: Vec<Arc<Table>> = described.iter().filter(is_wanted).cloned().collect();
        tables.extend(course.has_outbox.then(|| course.connector.own_table(OwnTable::Outbox)).flatten());
        Some(tables)
    }

    /// What is followed of what a survey found. All are shown as they stand; one that a feed which runs does not have yet is shown as
    /// loading, until [`Driver::show_begun`].
    pub(super) fn judge(&mut self, tables: &[Judged], is_running: bool) -> Vec<Followed> {
        let seen = std::mem::take(&mut self.stops.seen);
        let (mut followed, mut told) = (Vec::new(), BTreeMap::new());
        for judged in tables {
            let found = match judged {
                Judged::StoreOnly { table, reason, mend } => {
                    told.insert(table.clone(), Told::store_only(reason, mend.as_deref()));
                    continue;
                }
                Judged::Followed(found) => found,
            };
            let (table, digest) = (&found.table.id, found.shape.digest);
            let stopped = self.stops.tables.get(table).filter(|(before, _)| *before == digest && !seen.contains(table));
            if let Some((_, reason)) = stopped {
                let mend = if self.stops.doubtful.contains(table) { LOOKED_AT.to_owned() } else { self.mend() };
                told.insert(table.clone(), Told::store_only(reason, Some(&mend)));
                continue;
            }
            self.stops.tables.remove(table);
            let begins = is_running && self.status().table(table).is_none_or(|now| now.state != TableState::Streaming);
            let state = if begins { TableState::Loading } else { TableState::Streaming };
            told.insert(table.clone(), Told { state, ..told_of(table) });
            followed.push(found.clone());
        }
        // What is not there any more stops nothing.
        self.stops.tables.retain(|table, _| told.contains_key(table));
        self.status().set_tables(told);
        followed
    }

    /// Has tables looked at again. Those that were stopped come back by that, unless something else stands against it.
    pub(super) fn doubt(&mut self, tables: Vec<TableId>) {
        for table in tables.iter().filter(|table| self.stops.has(table)) {
            let reason = self.status().table(table).and_then(|told| told.reason).unwrap_or_default();
            self.status().set_table(table, Told::store_only(&reason, Some(LOOKED_AT)));
        }
        self.stops.doubt(tables);
        self.ask_for_discovery();
    }

    fn mend(&self) -> String {
        format!("CALL tributary.restart_feed('{}')", self.following.store)
    }

    /// A survey while the feed runs: it is told where tables are others now. Those that were in doubt are told of in any case, since it
    /// waits for that. `doubted`: up to which doubt the survey came behind.
    pub(super) async fn resurvey(
        &mut self,
        course: &Course,
        feed: &mut dyn Feed,
        survey: Survey,
        doubted: u64,
    ) -> Result<(), Halt> {
        self.status().set_found(survey.cautions, survey.objects);
        if let Some((reason, mend)) = survey.refused {
            return Err(Ended::Refused { reason, mend }.into());
        }
        let waits = !self.stops.seen.is_empty() || self.following.looked.load(Ordering::Acquire) < doubted;
        let followed = self.judge(&survey.tables, true);
        if !waits && self.told == digests(&followed) {
            // What is known of every row may be more or less than it was.
            self.show_shapes(&followed);
            self.show_begun(&followed);
            return self.fill_outbox(course, &followed).await;
        }
        let (store, patience) = (self.following.store.clone(), self.with.pacing.patience);
        self.signals.within(patience, &store, feed.reshape(&followed)).await??;
        self.following.looked.fetch_max(doubted, Ordering::AcqRel);
        self.told = digests(&followed);
        self.set_followed(&followed, true).await?;
        self.show_begun(&followed);
        self.look_at_objects(course).await?;
        self.fill_outbox(course, &followed).await
    }

    /// Shows tables whose events have begun as such.
    fn show_begun(&self, followed: &[Followed]) {
        let loading = |id: &TableId| self.status().table(id).is_some_and(|now| now.state == TableState::Loading);
        for id in followed.iter().map(|followed| &followed.table.id).filter(|id| loading(id)) {
            self.status().set_table(id, told_of(id));
        }
    }

    /// Shows what of ours is in the store now: a survey came before what a feed makes there. A store that does not say it is followed
    /// nevertheless, and the next survey finds it.
    pub(super) async fn look_at_objects(&mut self, course: &Course) -> Result<(), Halt> {
        let (who, store, patience) = (self.with.instance, self.following.store.clone(), self.with.pacing.patience);
        match self.signals.within(patience, &store, course.capture.objects(who)).await {
            Ok(Ok(objects)) => self.status().set_objects(objects),
            Ok(Err(error)) => tracing::debug!(%store, error = %Line(&error_text(&error)), "it is not known what of ours is there"),
            Err(Halt::Ended(_)) => tracing::debug!(%store, "it is not known in time what of ours is there"),
            Err(halt) => return Err(halt),
        }
        Ok(())
    }

    /// From here on these tables are followed. What differs is told; of a log that has told nothing yet, nothing does.
    pub(super) async fn set_followed(&mut self, followed: &[Followed], has_begun: bool) -> Result<(), Halt> {
        let now = digests(followed);
        self.show_shapes(followed);
        let Some(kept) = &self.kept else { return Ok(()) };
        if kept.known.followed == now && has_begun {
            return Ok(());
        }
        let before = kept.known.followed.clone();
        let mut barriers = Vec::new();
        for (table, digest) in &now {
            let reason = match before.get(table) {
                Some(known) if known == digest => continue,
                Some(_) => "it has other columns or another key now",
                None => "its changes are told from here on",
            };
            barriers.push(Barrier::Reshaped { table: table.clone(), reason: reason.to_owned() });
        }
        // Events for delivery that were written while nobody followed them are told of as those of before the first feed.
        let is_filled = kept.known.is_filled && now.keys().all(|table| before.contains_key(table) || !is_own_name(&table.name));
        for table in before.keys().filter(|table| !now.contains_key(*table)) {
            let reason = self.status().table(table).and_then(|told| told.reason);
            let reason = reason.unwrap_or_else(|| "it is not followed any more".to_owned());
            barriers.push(Barrier::Stopped { table: table.clone(), reason });
        }
        if has_begun {
            self.barriers(barriers).await?;
        }
        if let Some(kept) = &mut self.kept {
            kept.known.is_filled = is_filled;
        }
        self.keep_followed(now).await
    }

    /// Shows the columns of the tables that are followed.
    fn show_shapes(&self, followed: &[Followed]) {
        let shapes = followed.iter().map(|followed| (followed.table.id.clone(), Arc::clone(&followed.shape)));
        *self.following.shapes() = shapes.collect();
    }

    /// Writes down what is followed now.
    pub(super) async fn keep_followed(&mut self, now: BTreeMap<TableId, u64>) -> Result<(), Halt> {
        let Some(kept) = &mut self.kept else { return Ok(()) };
        kept.known.followed.clone_from(&now);
        kept.known.has_begun = true;
        let is_filled = kept.known.is_filled;
        let bytes = now.keys().map(|table| table.namespace.len() + table.name.len() + 32).sum();
        self.put(Item::Followed(now, is_filled), bytes).await
    }

    /// Publishes a transaction of ours that says what the store does not.
    pub(super) async fn barriers(&mut self, barriers: Vec<Barrier>) -> Result<(), Halt> {
        let Some(kept) = self.kept.as_ref().filter(|_| !barriers.is_empty()) else { return Ok(()) };
        let id = format!("{OWN_ID}{:x}", kept.known.seq + 1);
        let entries = barriers.into_iter().map(Entry::Barrier).collect();
        let group = self.own_group(id, entries, Vec::new());
        self.publish(group, false).await
    }

    /// A transaction of ours where the feed is now.
    pub(super) fn own_group(&self, id: String, entries: Vec<Entry>, rows: Vec<Rows>) -> Group {
        let store = self.following.store.clone();
        let known = self.kept.as_ref().map(|kept| &kept.known);
        let position = known.and_then(|known| known.position.clone());
        let position = position.unwrap_or_else(|| Position { store: store.clone(), token: Vec::new() });
        let resume: Resume = known.and_then(|known| known.resume.clone()).unwrap_or_default();
        let transaction = Transaction { id, position, origin: None, committed_us: None, first: 0, entries, ends: true };
        Group { store, identity: Arc::from(""), transactions: vec![transaction], rows, resume, received_ms: now_ms() }
    }

    /// Tells of the events for delivery that were there before the feed, once behind every gap. What cannot be read now is tried again
    /// with the next survey.
    pub(super) async fn fill_outbox(&mut self, course: &Course, followed: &[Followed]) -> Result<(), Halt> {
        let is_due = course.has_outbox && self.kept.as_ref().is_some_and(|kept| !kept.known.is_filled);
        let outbox = course.connector.own_table(OwnTable::Outbox).filter(|_| is_due);
        let Some(found) = outbox.and_then(|outbox| followed.iter().find(|found| found.table.id == outbox.id)) else {
            return Ok(());
        };
        let (store, limit) = (self.following.store.clone(), self.with.pacing.beginning);
        let mut rows = match self.signals.within(limit, &store, open_rows(course, found)).await? {
            Ok(rows) => rows,
            Err(error) => return self.not_filled(&error),
        };
        loop {
            let batch = match self.signals.within(limit, &store, rows.try_next()).await? {
                Ok(Some(batch)) => batch,
                Ok(None) => break,
                Err(error) => return self.not_filled(&error),
            };
            let (columns, count) = (batch.num_columns(), batch.num_rows());
            let new = match RecordBatch::try_new(Arc::clone(&found.shape.schema), batch.columns().to_vec()) {
                Ok(new) => new,
                Err(error) => {
                    let (store, table) = (store.to_string(), found.table.id.name.clone());
                    return self.not_filled(&StoreError::SchemaChanged { store, table, difference: error.to_string() });
                }
            };
            let rows = Rows {
                shape: Arc::clone(&found.shape),
                operations: vec![Operation::Read; count],
                new,
                old: None,
                new_known: Known::all(columns),
                old_known: Known::none(columns, count),
                payloads: OnceLock::new(),
            };
            let entries = (0..u32::try_from(count).unwrap_or(u32::MAX)).map(|row| Entry::Row { rows: 0, row }).collect();
            let number = self.kept.as_ref().map_or(0, |kept| kept.known.seq + 1);
            let group = self.own_group(format!("{OWN_ID}{number:x}"), entries, vec![rows]);
            if count > 0 {
                self.publish(group, false).await?;
            }
        }
        if let Some(kept) = &mut self.kept {
            kept.known.is_filled = true;
        }
        self.keep_followed(digests(followed)).await
    }

    /// It is tried again with the next survey.
    fn not_filled(&self, error: &StoreError) -> Result<(), Halt> {
        let (store, error) = (&self.following.store, error_text(error));
        tracing::warn!(%store, error = %Line(&error), "events that were there before the feed were not read yet");
        Ok(())
    }
}

/// What is followed, by the digests of the columns.
pub(super) fn digests(followed: &[Followed]) -> BTreeMap<TableId, u64> {
    followed.iter().map(|followed| (followed.table.id.clone(), followed.shape.digest)).collect()
}

/// All rows of a table in one state of the store.
async fn open_rows(course: &Course, found: &Followed) -> Result<BatchStream, StoreError> {
    let fill = course.capture.fill(&found.table).await?;
    let scan = Scan {
        store: course.connector.name().clone(),
        table: found.table.id.clone(),
        columns: (0..found.table.columns.len()).collect(),
        filter: Vec::new(),
        limit: None,
    };
    let rows = fill.branch.scan(&found.table, &scan, ScanLimits::default()).await?;
    // The state is shown for as long as somebody holds the branch.
    let branch = fill.branch;
    Ok(rows.inspect_ok(move |_rows| _ = &branch).boxed())
}
