//! A table is loaded beside the feed of its store: one state of it is read, and then what happened behind that.
//!
//! ```text
//! Connector::position → the feed has come there: what is read is not far ahead of it, and need not be thrown away before it has passed it
//! Feeds::fill → rows → TableVersion ─ the fill's cursor: what the state has not, up to what is published ─→ follow: joins the set
//! Connector::position, asked when the state is shown no more: the set has everything that is in the state when it has passed this
//! ```

use std::sync::Arc;
use std::time::Instant;

use futures::TryStreamExt;

use super::apply::{Origin, Standing, Standings, Tables};
use super::memory::{Room, too_large};
use super::store::StoreCopies;
use super::version::{self, TableVersion};
use super::{CacheEntry, Caches, Rule};
use crate::changes::{Cursor, Hub, Piece, State};
use crate::stores::change::Shape;
use crate::stores::connector::ScanLimits;
use crate::stores::position::{Coverage, Position};
use crate::stores::{Scan, StoreError, Table};
use crate::task::OwnedTask;

/// How often what came while the table was caught up is caught up with, before who follows the store does the rest.
const ROUNDS: usize = 3;
/// Fewer rows than these are applied among other tasks, and not on a thread of their own.
const FEW_ROWS: usize = 128;

/// What is loaded.
pub(super) struct Filling {
    pub(super) caches: Arc<Caches>,
    pub(super) copies: Arc<StoreCopies>,
    pub(super) entry: Arc<CacheEntry>,
    pub(super) life: u64,
    pub(super) table: Arc<Table>,
    /// Its number, by which its memory is counted.
    pub(super) number: u64,
}

/// A table that is loaded, and where it stands.
#[derive(Debug)]
pub(super) struct Filled {
    pub(super) standing: Standing,
    pub(super) cursor: Cursor,
}

/// Why a table was not loaded: each with a clause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unfilled {
    /// It would be too large.
    TooLarge(String),
    /// It has no events, or cannot be copied.
    StoreOnly(String),
    /// It has no events yet.
    NotYet(String),
    /// It is tried again.
    Again(String),
}

impl From<StoreError> for Unfilled {
    fn from(error: StoreError) -> Self {
        Self::Again(error.to_string())
    }
}

/// The columns of a table's events, where they are those of the table as it was discovered.
pub(super) fn shape(caches: &Caches, copies: &StoreCopies, table: &Table) -> Result<Arc<Shape>, Unfilled> {
    let shape = caches.feeds.subscribed_from(&copies.name, &table.id).map_err(|not| match not.is_passing {
        true => Unfilled::NotYet(not.reason),
        false => Unfilled::StoreOnly(not.reason),
    })?;
    if caches.feeds.state(&copies.name) != State::Streaming {
        return Err(Unfilled::NotYet(format!("the feed of store \"{}\" is not streaming", copies.name)));
    }
    if !caches.feeds.has_looked(&copies.name) {
        return Err(Unfilled::NotYet(format!("the feed of store \"{}\" has not looked at its tables yet", copies.name)));
    }
    let has_key = shape.key.iter().all(|column| *column < table.columns.len());
    if !has_key
        || Shape::of_unseen(table, shape.key.clone(), shape.always_known.clone(), shape.unseen.as_deref()).digest != shape.digest
    {
        return Err(Unfilled::NotYet("its events have other columns than it was discovered with".to_owned()));
    }
    match version::refusal(table, &shape) {
        Some(reason) => Err(Unfilled::StoreOnly(reason)),
        None => Ok(shape),
    }
}

impl Filling {
    pub(super) async fn run(self) -> Result<Filled, Unfilled> {
        let hub = self.hub()?;
        self.caught_up(&hub).await?;
        // A place among those that load, for as long as it takes.
        let place = Arc::clone(&self.caches.fills).acquire_owned().await;
        let _place = place.map_err(|_closed| Unfilled::Again("tables are not loaded any more".to_owned()))?;
        let (feeds, store) = (&self.caches.feeds, &self.copies.name);
        let hub = self.hub()?;
        // In this order: what is said of the table behind this is not known to what is read then.
        let published = hub.last();
        let shape = shape(&self.caches, &self.copies, &self.table)?;
        let (fill, cursor, capture) = feeds.fill(store, &self.table).await?;
        let version = {
            let deadline = tokio::time::Instant::from_std(fill.ends);
            let read = tokio::time::timeout_at(deadline, self.read(&shape, fill.branch.as_ref())).await;
            let read = read.unwrap_or_else(|_late| Err(too_old()))?;
            // Rows that are there may be taken after their time, of a state that is gone.
            if Instant::now() >= fill.ends {
                return Err(too_old());
            }
            read
        };
        let (state, life, read) = (Arc::clone(&version), self.life, Instant::now());
        // In this order: a store may have to wait until its state is shown no more, to say where it is. Everything that the state has is at
        // or before what it says then.
        drop(fill.branch);
        let bound = self.position().await?;
        let is_asked = self.caches.keeps(Rule::Contained);
        let origin = Origin { capture, version: fill.version, state, published, bound, life, read, is_asked };
        // Everything before the cursor is in the state.
        let seq = cursor.passed();
        let mut filled = Filled { standing: Standing { version, seq, origin: Some(Arc::new(origin)) }, cursor };
        for _ in 0..ROUNDS {
            let last = hub.last();
            if filled.standing.seq >= last {
                break;
            }
            filled = self.catch_up(filled, last).await?;
        }
        Ok(filled)
    }

    /// The events of the store, from its feed over the connector that is filled from.
    fn hub(&self) -> Result<Arc<Hub>, Unfilled> {
        let (feeds, store) = (&self.caches.feeds, &self.copies.name);
        let hub = feeds.hub(store).filter(|_| feeds.runs_over(store, &self.entry.connector));
        hub.ok_or_else(|| Unfilled::NotYet(format!("the feed of store \"{store}\" has not begun")))
    }

    /// Waits until the feed has come to where the store is now.
    async fn caught_up(&self, hub: &Hub) -> Result<(), Unfilled> {
        let (wanted, connector) = (self.position().await?, self.entry.connector.as_ref());
        let covers = |position: &Position| connector.covers(position, &wanted) == Coverage::Covered;
        let mut applied = hub.positions();
        let coming = applied.wait_for(|applied| applied.position.as_ref().is_some_and(covers));
        let has_come = tokio::time::timeout(self.caches.pace.join, coming).await.is_ok_and(|come| come.is_ok());
        if has_come { Ok(()) } else { Err(Unfilled::NotYet("its feed is far behind what its store has".to_owned())) }
    }

    /// Where the store is.
    async fn position(&self) -> Result<Position, Unfilled> {
        let (feeds, store) = (&self.caches.feeds, &self.copies.name);
        let none = || Unfilled::NotYet(format!("the feed of store \"{store}\" has not begun"));
        let follow = feeds.follow(store).ok_or_else(none)?;
        let asked = self.entry.connector.position(feeds.instance(), &follow);
        let late = |_late| Unfilled::Again("the store has not said in time where it is".to_owned());
        Ok(tokio::time::timeout(self.caches.pace.patience, asked).await.map_err(late)??)
    }

    async fn read(&self, shape: &Arc<Shape>, branch: &dyn crate::stores::Branch) -> Result<Arc<TableVersion>, Unfilled> {
        let table = &self.table;
        let scan = Scan {
            store: self.copies.name.clone(),
            table: table.id.clone(),
            columns: (0..table.columns.len()).collect(),
            filter: Vec::new(),
            limit: None,
        };
        let empty = TableVersion::empty(table, shape).map_err(|error| Unfilled::StoreOnly(error.to_string()))?;
        let mut version = Arc::new(empty);
        let mut rows = branch.scan(table, &scan, ScanLimits::default()).await?;
        while let Some(batch) = rows.try_next().await? {
            let before = Arc::clone(&version);
            let taken = OwnedTask::spawn_blocking(move || before.filled(&batch));
            let taken = taken.join().await.ok_or_else(|| Unfilled::Again("its rows could not be taken".to_owned()))?;
            version = Arc::new(taken.map_err(|broken| Unfilled::Again(broken.reason))?);
            self.check_size(&version)?;
        }
        Ok(version)
    }

    fn check_size(&self, version: &TableVersion) -> Result<(), Unfilled> {
        let memory = &self.caches.memory;
        match memory.fits((&self.copies.name, &self.table.id), self.number, version.bytes()) {
            Room::Is => Ok(()),
            Room::IsNot => Err(Unfilled::TooLarge(too_large(memory.most()))),
            Room::IsHeld => Err(Unfilled::Again("what reads hold of older states of tables leaves no room for it".to_owned())),
            Room::GivenUp => Err(Unfilled::Again("it was given up".to_owned())),
        }
    }

    async fn catch_up(&self, filled: Filled, last: u64) -> Result<Filled, Unfilled> {
        let filled = catch_up(&self.table, filled, last, self.caches.settings.group_rows).await?;
        self.check_size(&filled.standing.version)?;
        Ok(filled)
    }
}

fn too_old() -> Unfilled {
    Unfilled::Again("the store did not show one state of it for as long as reading it took".to_owned())
}

/// Does to a table that is loaded what happened up to a transaction that is published.
pub(super) async fn catch_up(table: &Table, filled: Filled, last: u64, group_rows: usize) -> Result<Filled, Unfilled> {
    let Filled { standing, mut cursor } = filled;
    let mut tables = Tables::of(Standings::from([(table.id.clone(), standing)]));
    let again = |reason: String| Unfilled::Again(reason);
    loop {
        let Some(first) = cursor.next_until(last).await.map_err(|over| again(over.reason))? else { break };
        let mut batch = Gathered::of(first);
        while batch.rows < group_rows
            && let Some(piece) = cursor.next_until(last).await.map_err(|over| again(over.reason))?
        {
            batch.add(piece);
        }
        tables = take(tables, batch).await.ok_or_else(|| again("its changes could not be applied".to_owned()))?;
        if let Some((_, leaving)) = tables.left.first() {
            return Err(again(leaving.reason().to_owned()));
        }
    }
    let standing = tables.standing.remove(&table.id).filter(|_| !tables.is_open());
    let mut standing = standing.ok_or_else(|| again("a transaction has no end".to_owned()))?;
    standing.seq = standing.seq.max(last).max(cursor.passed());
    Ok(Filled { standing, cursor })
}

/// Transactions that are applied together.
#[derive(Debug)]
pub(super) struct Gathered {
    pub(super) pieces: Vec<Piece>,
    pub(super) rows: usize,
}

impl Gathered {
    pub(super) fn of(first: Piece) -> Self {
        let mut gathered = Self { pieces: Vec::new(), rows: 0 };
        gathered.add(first);
        gathered
    }

    pub(super) fn add(&mut self, piece: Piece) {
        self.rows += piece.transaction().map_or(0, |transaction| transaction.entries.len());
        self.pieces.push(piece);
    }
}

/// Does to tables what transactions did; many on a thread that nobody waits for. `None`: there was a fault, which ends nothing else.
pub(super) async fn take(mut tables: Tables, gathered: Gathered) -> Option<Tables> {
    let are_few = gathered.rows < FEW_ROWS;
    let work = move || {
        tables.take(&gathered.pieces);
        tables
    };
    let taking = if are_few { OwnedTask::spawn(async move { work() }) } else { OwnedTask::spawn_blocking(work) };
    taking.join().await
}
