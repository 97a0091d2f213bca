//! A subscription while it runs: the rows that its table has, where they were asked for, and then every change as it comes. That to a
//! materialized view is in `view`.
//!
//! **Invariants:** a change that the snapshot has is not told behind it; a change that is told is told with those of its transaction in
//! their order; what ends a subscription is told behind the rows before it. Nothing waits here for a client: it asks, and is too slow when
//! what it asks for is not kept any more.

mod view;

use std::sync::Arc;
use std::time::Instant;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use futures::StreamExt;
use futures::stream::select_all;

use super::Shared;
use super::output::OutputColumn;
use super::rights::{Grounds, may_anything, may_follow};
use crate::catalog::{QualifiedName, RelationBody, SearchPath};
use crate::changes::{Cursor, Piece};
use crate::error::{Diagnosis, sentence, sqlstate};
use crate::federation::subscribe::{Change, Delta};
use crate::stores::capture::{Capture, Fill};
use crate::stores::change::{Barrier, Entry, Group, Shape, Transaction};
use crate::stores::connector::{BatchStream, ScanLimits};
use crate::stores::{Branch, Scan};
use crate::telemetry::metrics::Present;
pub use view::{Beginning, FollowingView, shape_of};

/// Rows after which a batch is sent, though there are more.
const ROWS_AT_ONCE: usize = 1_024;
/// Entries that are looked at for one batch.
const ENTRIES_AT_ONCE: usize = 65_536;
/// About so many bytes of groups are put into one batch: a client that does not read it has it kept for as long.
const BYTES_AT_ONCE: usize = 1 << 20;

/// What is subscribed to, and by whom.
#[derive(Debug)]
pub struct Target {
    /// What follows from the changes of the table.
    pub delta: Delta,
    /// The columns of events that it follows from.
    pub shape: Arc<Shape>,
    /// The place among all subscriptions.
    pub _present: Present,
    /// The role.
    pub role: String,
}

/// A subscription.
pub struct Following {
    shared: Arc<Shared>,
    target: Target,
    cursor: Cursor,
    grounds: Grounds,
    snapshot: Option<Snapshot>,
    /// What was read of the store before the events, once that is over.
    version: Option<Version>,
    /// Told behind the rows that came before it.
    ended: Option<Diagnosis>,
}

/// Rows of the table on their way.
struct Snapshot {
    rows: BatchStream,
    ends: Instant,
    /// Holds the state of the store.
    _branch: Arc<dyn Branch>,
}

/// Which changes a snapshot has.
struct Version {
    capture: Arc<dyn Capture>,
    token: Vec<u8>,
    /// The last transaction that was published when it was asked for.
    published: u64,
}

impl Version {
    fn has(&self, transaction: &Transaction) -> bool {
        self.capture.contains(&self.token, transaction)
    }
}

/// Changed rows of one group and table that are told of together.
struct Run<'a> {
    group: &'a Arc<Group>,
    rows: usize,
    changes: Vec<Change<'a>>,
}

impl Following {
    /// One that tells of what comes behind a cursor.
    pub fn new(shared: Arc<Shared>, target: Target, (cursor, grounds): (Cursor, Grounds)) -> Self {
        Self { shared, target, cursor, grounds, snapshot: None, version: None, ended: None }
    }

    /// The same behind the rows of one state of the table. `published` is the last transaction that was there before the state was asked
    /// for.
    ///
    /// # Errors
    /// What the store answered.
    pub async fn filled(
        mut self,
        (fill, capture): (Fill, Arc<dyn Capture>),
        published: u64,
        ranges: usize,
    ) -> Result<Self, Diagnosis> {
        let delta = &self.target.delta;
        let Some(store) = delta.store.clone() else {
            return Err(Diagnosis::new(sqlstate::INTERNAL_ERROR, "a view is no table of a store"));
        };
        let columns = (0..delta.table.columns.len()).collect();
        let scan = Scan { store, table: delta.table.id.clone(), columns, filter: Vec::new(), limit: None };
        let Fill { branch, version, ends, .. } = fill;
        let streams = branch.scan_ranges(&delta.table, &scan, ScanLimits::default(), ranges).await;
        let rows = select_all(streams.map_err(|error| Diagnosis::of(&error))?).boxed();
        self.snapshot = Some(Snapshot { rows, ends, _branch: branch });
        self.version = Some(Version { capture, token: version, published });
        Ok(self)
    }

    /// The columns of its rows.
    pub fn columns(&self) -> &[OutputColumn] {
        &self.target.delta.columns
    }

    /// The schema of its batches.
    pub fn schema(&self) -> &SchemaRef {
        self.target.delta.schema()
    }

    /// The next rows, waited for.
    ///
    /// # Errors
    /// What has ended it: 42501 for a right that is lost, 55000 where the table does not go on, 72000 for a snapshot that is too old, and
    /// what an expression or the store failed with.
    pub async fn next(&mut self) -> Result<RecordBatch, Diagnosis> {
        loop {
            if let Some(ended) = self.ended.take() {
                return Err(ended);
            }
            self.check_rights()?;
            if self.snapshot.is_some() {
                if let Some(rows) = self.next_of_snapshot().await? {
                    return Ok(rows);
                }
                continue;
            }
            // Both are cancel-safe. Rights that may be lost are looked at first.
            let came = tokio::select! {
                biased;
                () = self.grounds.moved(&self.shared) => continue,
                came = self.cursor.next() => came,
            };
            let piece = came.map_err(|told| {
                self.shared.feeds.tally().started_over("subscribe");
                Diagnosis::of(&told)
            })?;
            if let Some(rows) = self.gather(piece)? {
                return Ok(rows);
            }
            // What is of no concern must not keep others from their turn.
            tokio::task::yield_now().await;
        }
    }

    /// Whether the role may still be told of the table, and the name still means it.
    fn check_rights(&mut self) -> Result<(), Diagnosis> {
        if !self.grounds.have_moved(&self.shared) {
            return Ok(());
        }
        let Target { delta, role, .. } = &self.target;
        let roles = self.shared.roles.load_full();
        may_anything(&roles, role, &delta.relation.name)?;
        let (schema, relation) = (Some(delta.relation.schema.clone()), delta.relation.name.clone());
        let name = QualifiedName { database: None, schema, relation };
        let denied = || {
            let message = format!("permission denied for table {}", delta.relation.name);
            Diagnosis::new(sqlstate::INSUFFICIENT_PRIVILEGE, message)
        };
        let found = match self.shared.catalog.snapshot().resolve(&name, &SearchPath::Default) {
            Ok(found) => found,
            Err(error) if error.sqlstate == sqlstate::UNDEFINED_TABLE => {
                return Err(denied().with_detail("The table is not shown any more."));
            }
            // A store that cannot be looked at now says nothing about rights on its tables.
            Err(_) => return Ok(()),
        };
        let columns: Vec<usize> = (0..delta.table.columns.len()).collect();
        may_follow(&roles, role, &found, &columns)?;
        match &found.body {
            RelationBody::Stored { store, table } if Some(store) == delta.store.as_ref() && table.id == delta.table.id => Ok(()),
            _ => Err(start_over("its name means another table now")),
        }
    }

    /// Further rows of the snapshot, and the row behind them; `None` where none of them passes.
    async fn next_of_snapshot(&mut self) -> Result<Option<RecordBatch>, Diagnosis> {
        let Some(snapshot) = &mut self.snapshot else { return Ok(None) };
        let deadline = tokio::time::Instant::from_std(snapshot.ends);
        let read = tokio::time::timeout_at(deadline, snapshot.rows.next()).await;
        // Rows that are there may be taken after their time, of a state that is gone.
        let is_late = Instant::now() >= snapshot.ends;
        match read {
            Err(_late) => Err(too_old()),
            Ok(Some(_)) if is_late => Err(too_old()),
            Ok(Some(rows)) => {
                let rows = self.target.delta.snapshot(rows.map_err(|error| Diagnosis::of(&error))?)?;
                Ok((rows.num_rows() > 0).then_some(rows))
            }
            Ok(None) => {
                self.snapshot = None;
                self.target.delta.mark("snapshot_end", None, None).map(Some)
            }
        }
    }

    /// What is told of a piece and of those that are there behind it.
    fn gather(&mut self, first: Piece) -> Result<Option<RecordBatch>, Diagnosis> {
        let (mut bytes, mut entries) = (first.group.bytes(), 0);
        let mut pieces = vec![first];
        while entries < ENTRIES_AT_ONCE
            && bytes < BYTES_AT_ONCE
            && pieces.len() < ROWS_AT_ONCE
            && let Ok(Some(next)) = self.cursor.try_next()
        {
            entries += next.transaction().map_or(0, |transaction| transaction.entries.len());
            // Transactions of one group share its rows.
            if pieces.last().is_none_or(|last| !Arc::ptr_eq(&last.group, &next.group)) {
                bytes = bytes.saturating_add(next.group.bytes());
            }
            pieces.push(next);
        }
        let mut told = Telling { following: &*self, batches: Vec::new(), run: None };
        // What an expression fails with is told behind the rows before it too.
        let ended = told.tell_all(&pieces).unwrap_or_else(Some);
        let batches = told.batches;
        self.ended = ended;
        let rows = match batches.as_slice() {
            [] => None,
            [one] => Some(one.clone()),
            all => Some(
                concat_batches(self.schema(), all)
                    .map_err(|error| Diagnosis::new(sqlstate::INTERNAL_ERROR, format!("rows of a subscription: {error}")))?,
            ),
        };
        Ok(rows)
    }
}

fn too_old() -> Diagnosis {
    Diagnosis::new(sqlstate::SNAPSHOT_TOO_OLD, "snapshot too old")
        .with_detail("The store does not show the state of the snapshot for longer, and the client has not taken all of its rows.")
}

/// What a subscriber is told for whom nothing follows any more.
fn start_over(reason: &str) -> Diagnosis {
    Diagnosis::new(sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE, "the subscription does not go on")
        .with_detail(sentence(reason))
        .with_hint("Subscribe again WITH SNAPSHOT, or read the table first.")
}

/// Batches of what is told of some pieces.
struct Telling<'a> {
    following: &'a Following,
    batches: Vec<RecordBatch>,
    run: Option<Run<'a>>,
}

impl<'a> Telling<'a> {
    /// Tells of all of them, or up to what ends the subscription.
    fn tell_all(&mut self, pieces: &'a [Piece]) -> Result<Option<Diagnosis>, Diagnosis> {
        for piece in pieces {
            let Some(transaction) = piece.transaction() else { continue };
            let version = self.following.version.as_ref();
            // Of what was there before the snapshot was asked for, only rows that it has not may still come.
            let is_before = version.is_some_and(|version| piece.seq <= version.published);
            let is_in_snapshot = version.is_some_and(|version| version.has(transaction));
            for (at, entry) in transaction.entries.iter().enumerate() {
                let ended = match entry {
                    Entry::Row { .. } | Entry::Barrier(Barrier::Truncated { .. }) if is_in_snapshot => continue,
                    Entry::Row { rows, row } => self.tell_row(piece, (at, *rows, *row), is_before)?,
                    Entry::Barrier(barrier) => self.tell_barrier(piece, (at, barrier), is_before)?,
                };
                if ended.is_some() {
                    self.end_run()?;
                    return Ok(ended);
                }
            }
        }
        self.end_run()?;
        Ok(None)
    }

    fn tell_row(
        &mut self,
        piece: &'a Piece,
        (at, number, row): (usize, u32, u32),
        is_before: bool,
    ) -> Result<Option<Diagnosis>, Diagnosis> {
        let (Ok(number), Ok(row)) = (usize::try_from(number), usize::try_from(row)) else { return Ok(None) };
        let Some(rows) = piece.group.rows.get(number) else { return Ok(None) };
        let Target { delta, shape, .. } = &self.following.target;
        if rows.shape.id != delta.table.id {
            return Ok(None);
        }
        if rows.shape.digest != shape.digest {
            // Rows of before a change of columns are in a snapshot of behind it.
            return Ok((!is_before).then(|| start_over("the columns of the table were others")));
        }
        if rows.is_own_removal(row) {
            return Ok(None);
        }
        let (Some(transaction), Some(place)) = (piece.transaction(), piece.place(at)) else { return Ok(None) };
        let change = Change { row, position: place.to_string(), transaction: &transaction.id };
        match &mut self.run {
            Some(run) if Arc::ptr_eq(run.group, &piece.group) && run.rows == number => run.changes.push(change),
            _ => {
                self.end_run()?;
                self.run = Some(Run { group: &piece.group, rows: number, changes: vec![change] });
            }
        }
        Ok(None)
    }

    fn tell_barrier(
        &mut self,
        piece: &Piece,
        (at, barrier): (usize, &Barrier),
        is_before: bool,
    ) -> Result<Option<Diagnosis>, Diagnosis> {
        let delta = &self.following.target.delta;
        if barrier.table().is_some_and(|table| *table != delta.table.id) {
            return Ok(None);
        }
        match barrier {
            Barrier::Truncated { .. } => {
                self.end_run()?;
                let (position, transaction) = (piece.place(at).map(|place| place.to_string()), piece.transaction());
                let transaction = transaction.map(|transaction| transaction.id.as_str());
                self.batches.push(delta.mark("truncate", position.as_deref(), transaction)?);
                Ok(None)
            }
            Barrier::Reshaped { reason, .. } | Barrier::Stopped { reason, .. } | Barrier::Gap { reason } => {
                Ok((!is_before).then(|| start_over(reason)))
            }
        }
    }

    fn end_run(&mut self) -> Result<(), Diagnosis> {
        let Some(run) = self.run.take() else { return Ok(()) };
        if let Some(rows) = run.group.rows.get(run.rows) {
            self.batches.extend(self.following.target.delta.changes(rows, &run.changes)?);
        }
        Ok(())
    }
}
