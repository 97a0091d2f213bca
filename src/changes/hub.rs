//! What the feed of one store has given last, in memory, and cursors over it and over the log behind it.
//!
//! ```text
//! supervise → Hub::publish → ring (bounded by bytes) ─┬─ Cursor::next: a transaction, by its number
//!             log (written behind it) ────────────────┘
//! ```
//!
//! **Invariants:** a cursor pulls, and nothing is kept for it: what it asks for is in the ring, in the log, not there yet, or gone; what a
//! cursor gives is whole transactions in order, and of one that came in pieces every piece. A place that was given out is compared with
//! what stands there now before anything behind it is given.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Field};
use tokio::sync::watch;

use super::cut;
use super::log::{Found, Log, Missing, Reader};
use super::payload;
use super::text::Place;
use crate::error::{Diagnose, sentence, sqlstate};
use crate::stores::StoreName;
use crate::stores::change::Group;
use crate::stores::position::Position;
use crate::task::OwnedTask;

/// Groups larger than this part of the ring are read from the log.
const SHARE: usize = 4;
/// Of a place that no transaction has.
const AHEAD: &str = "it is ahead of everything that the log has";
/// What the payload of a row has besides its columns.
const PAYLOAD_BYTES: usize = 256;
/// What it has for each of them besides its name and as many bytes as its value has: marks around the two, and digits where the value
/// is kept as a number.
const COLUMN_BYTES: usize = 32;

/// How far a store's events have come.
#[derive(Debug, Clone, Default)]
pub struct Applied {
    /// The position of the store up to which everything was published.
    pub position: Option<Position>,
    /// The last transaction that was published.
    pub seq: u64,
    /// The last transaction that is durable in the log. A volatile log has none.
    pub durable: u64,
}

/// A transaction, or a piece of one, where a cursor stands.
#[derive(Debug, Clone)]
pub struct Piece {
    /// The group that it came with.
    pub group: Arc<Group>,
    /// Which of the group's transactions.
    pub transaction: usize,
    /// Its number in the log.
    pub seq: u64,
    /// Which log.
    pub generation: u32,
}

/// What a cursor asks for is not to be had any more. Diagnosis: 55000, "the position is not retained", the reason as detail, hint
/// "Subscribe again WITH SNAPSHOT, or read the table first."
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the position is not retained")]
pub struct StartOver {
    /// Why, as a clause.
    pub reason: String,
}

impl StartOver {
    fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into() }
    }
}

impl Diagnose for StartOver {
    fn sqlstate(&self) -> &str {
        sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE
    }

    fn detail(&self) -> Option<String> {
        (!self.reason.is_empty()).then(|| sentence(&self.reason))
    }

    fn hint(&self) -> Option<String> {
        Some("Subscribe again WITH SNAPSHOT, or read the table first.".to_owned())
    }
}

/// The events of one store.
#[derive(Debug)]
pub struct Hub {
    store: StoreName,
    log: Arc<Log>,
    ring: Mutex<Ring>,
    /// The last transaction that was published.
    last: watch::Sender<u64>,
    /// Whether the store has told again what was told but not written before a crash, which takes its place again.
    settled: watch::Sender<bool>,
    applied: Arc<watch::Sender<Applied>>,
}

/// Groups that were published last, in order; those that are too large are missing in between.
#[derive(Debug)]
struct Ring {
    kept: VecDeque<Kept>,
    bytes: usize,
    most: usize,
}

#[derive(Debug)]
struct Kept {
    first: u64,
    group: Arc<Group>,
    bytes: usize,
    at: Instant,
}

/// What a group may come to weigh, with the payloads that are made of it when somebody listens.
fn weight(group: &Group) -> usize {
    let payloads = group.rows.iter().map(|rows| {
        let columns = rows.shape.schema.fields().iter().zip(rows.new.columns());
        let names: usize = columns.map(|(field, array)| names_bytes(field, array.as_ref())).sum();
        let count = rows.operations.len();
        count.saturating_mul(PAYLOAD_BYTES).saturating_add(names).min(count.saturating_mul(payload::BYTES_MAX))
    });
    group.bytes().saturating_mul(2).saturating_add(payloads.sum())
}

/// What the names of a column come to in all of its payloads: documents have names of their own, and those in lists as many as there
/// are of them.
fn names_bytes(field: &Field, array: &dyn Array) -> usize {
    let own = array.len().saturating_mul(field.name().len() + COLUMN_BYTES);
    let inner: usize = match field.data_type() {
        DataType::Struct(fields) => array.as_struct_opt().map_or(0, |document| {
            fields.iter().zip(document.columns()).map(|(field, array)| names_bytes(field, array.as_ref())).sum()
        }),
        DataType::List(item) => array.as_list_opt::<i32>().map_or(0, |list| names_bytes(item, list.values().as_ref())),
        _ => 0,
    };
    own.saturating_add(inner)
}

impl Ring {
    fn push(&mut self, first: u64, group: &Arc<Group>) {
        let bytes = weight(group);
        if bytes > self.most / SHARE {
            return;
        }
        self.bytes += bytes;
        self.kept.push_back(Kept { first, group: Arc::clone(group), bytes, at: Instant::now() });
        while self.bytes > self.most {
            let Some(oldest) = self.kept.pop_front() else { return };
            self.bytes -= oldest.bytes;
        }
    }

    fn find(&self, seq: u64) -> Option<(Arc<Group>, u64)> {
        let behind = self.kept.partition_point(|kept| kept.first <= seq);
        let kept = self.kept.get(behind.checked_sub(1)?)?;
        let place = usize::try_from(seq - kept.first).ok()?;
        (place < kept.group.transactions.len()).then(|| (Arc::clone(&kept.group), kept.first))
    }
}

impl Hub {
    pub(super) fn new(store: &StoreName, log: Arc<Log>, applied: Arc<watch::Sender<Applied>>, memory_bytes: u64) -> Arc<Self> {
        let last = log.progress().borrow().written;
        let most = usize::try_from(memory_bytes).unwrap_or(usize::MAX);
        let ring = Mutex::new(Ring { kept: VecDeque::new(), bytes: 0, most });
        applied.send_modify(|applied| applied.seq = last);
        let (last, settled) = (watch::channel(last).0, watch::channel(false).0);
        Arc::new(Self { store: store.clone(), log, ring, last, settled, applied })
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        // What a panic left behind is still a list of whole groups.
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The store.
    pub fn store(&self) -> &StoreName {
        &self.store
    }

    /// Which log it is.
    pub fn generation(&self) -> u32 {
        self.log.generation()
    }

    /// Whole transactions are there from now on. The first one's number is the one behind the last.
    pub(super) fn publish(&self, first: u64, group: &Arc<Group>, position: Option<Position>) {
        let count = u64::try_from(group.transactions.len()).unwrap_or(0);
        self.ring().push(first, group);
        self.publish_written((first + count).saturating_sub(1), position);
    }

    /// The same of transactions that are in the log alone.
    pub(super) fn publish_written(&self, last: u64, position: Option<Position>) {
        self.last.send_replace(last);
        self.applied.send_modify(|applied| (applied.seq, applied.position) = (last, position));
    }

    /// The store was read up to a position without anything of ours.
    pub(super) fn reach(&self, position: &Position) {
        self.applied.send_modify(|applied| applied.position = Some(position.clone()));
    }

    /// The store has told again what was not written: a place that is not there by now does not come.
    pub(super) fn settle(&self) {
        self.settled.send_if_modified(|settled| !std::mem::replace(settled, true));
    }

    /// The last transaction that was published.
    pub fn last(&self) -> u64 {
        *self.last.borrow()
    }

    fn cursor(self: &Arc<Self>, seq: u64) -> Cursor {
        Cursor { hub: Arc::clone(self), seq, ordinal: 0, behind: None, group: None, reader: None, reading: None }
    }

    /// Behind everything that was published until now.
    pub fn at_end(self: &Arc<Self>) -> Cursor {
        self.cursor(self.last() + 1)
    }

    /// Before everything that is retained.
    pub fn at_start(self: &Arc<Self>) -> Cursor {
        self.cursor(self.log.first())
    }

    /// Behind an entry. The first that the cursor gives is the rest of its transaction, where there is one: the entries before it are
    /// left out, and its [`Transaction::first`](crate::stores::change::Transaction::first) says how many.
    ///
    /// # Errors
    /// The place is of another log, older than what is retained, or ahead of all that there is.
    pub fn at(self: &Arc<Self>, place: &Place) -> Result<Cursor, StartOver> {
        if place.generation != self.generation() {
            return Err(StartOver::new("it is of another log: this one began later"));
        }
        let first = self.log.first();
        if place.seq.checked_add(1) == Some(first) && place.ordinal == u32::MAX {
            return Ok(self.cursor(first));
        }
        if place.seq < first {
            return Err(StartOver::new("it is older than everything that is retained"));
        }
        // In this order: whoever has a place was told of it behind its transaction.
        let is_settled = *self.settled.borrow();
        if is_settled && place.seq > self.last() {
            return Err(StartOver::new(AHEAD));
        }
        let behind = Some(Behind { seq: place.seq, ordinal: place.ordinal, check: place.check });
        Ok(Cursor { behind, ..self.cursor(place.seq) })
    }

    /// Before everything that was received so long ago or later, or before all that is retained.
    pub fn since(self: &Arc<Self>, look_back: Duration) -> Cursor {
        let in_ring = {
            let ring = self.ring();
            let behind = ring.kept.partition_point(|kept| kept.at.elapsed() > look_back);
            let older = behind.checked_sub(1).and_then(|place| ring.kept.get(place));
            // What is missing in between was published later.
            older.map(|older| older.first + u64::try_from(older.group.transactions.len()).unwrap_or(0))
        };
        self.cursor(in_ring.unwrap_or_else(|| self.log.since(look_back)))
    }

    /// Whether everything is retained that was received so long ago or later.
    pub fn reaches(&self, look_back: Duration) -> bool {
        self.log.reaches(look_back)
    }

    /// The place before everything that is retained, from which [`Hub::at`] gives all of it; `None` where nothing is.
    pub fn first(&self) -> Option<Place> {
        let first = self.log.first();
        let place = Place { generation: self.generation(), seq: first.saturating_sub(1), ordinal: u32::MAX, check: 0 };
        (first <= self.last()).then_some(place)
    }

    /// How far events have come.
    pub fn positions(&self) -> watch::Receiver<Applied> {
        self.applied.subscribe()
    }

    /// Keeps the log from a transaction on, up to twice its bytes, for somebody who hands events over; `None`: nobody does.
    pub fn hold(&self, seq: Option<u64>) {
        self.log.hold(seq);
    }

    pub(super) fn ring_bytes(&self) -> u64 {
        u64::try_from(self.ring().bytes).unwrap_or(u64::MAX)
    }

    pub(super) fn log(&self) -> &Arc<Log> {
        &self.log
    }
}

/// The entry behind which a cursor begins.
#[derive(Debug, Clone, Copy)]
struct Behind {
    seq: u64,
    ordinal: u32,
    check: u32,
}

/// A place among the events of one store that moves on.
#[derive(Debug)]
pub struct Cursor {
    hub: Arc<Hub>,
    /// The next transaction.
    seq: u64,
    /// How many of its entries were given.
    ordinal: u32,
    behind: Option<Behind>,
    /// What was found last, with the number of its first transaction.
    group: Option<(Arc<Group>, u64)>,
    reader: Option<Reader>,
    /// What is read for it now, whoever waits.
    reading: Option<OwnedTask<Result<(Reader, Found), Missing>>>,
}

/// Where the next transaction is.
enum Whereabouts {
    /// Found.
    Here,
    /// In the log.
    InLog,
    /// Published, and not in the log yet.
    NotWritten,
    /// Not published yet.
    NotYet,
}

impl Cursor {
    /// The store.
    pub fn store(&self) -> &StoreName {
        &self.hub.store
    }

    /// The last transaction of which all was given, or that stands before the place where it began.
    pub fn passed(&self) -> u64 {
        self.seq.saturating_sub(1)
    }

    /// The next transaction, or piece of one, waited for. Cancel-safe: what is not given is given the next time.
    ///
    /// # Errors
    /// It is not to be had any more, and neither is anything from this cursor.
    pub async fn next(&mut self) -> Result<Piece, StartOver> {
        let ended = || StartOver::new("the feed has ended");
        self.next_until(u64::MAX).await?.ok_or_else(ended)
    }

    /// The same up to a transaction that is published; `None` behind it, and nothing is waited for there. Cancel-safe.
    ///
    /// # Errors
    /// As [`Cursor::next`].
    pub async fn next_until(&mut self, last: u64) -> Result<Option<Piece>, StartOver> {
        loop {
            if self.seq > last {
                return Ok(None);
            }
            if let Some(piece) = self.step()? {
                if piece.seq > last {
                    // All before it was given before. It is found again.
                    (self.seq, self.ordinal, self.group) = (piece.seq, 0, None);
                    return Ok(None);
                }
                return Ok(Some(piece));
            }
            if self.seq > last {
                // The last one was given before.
                return Ok(None);
            }
            match self.look() {
                Whereabouts::Here => {}
                Whereabouts::InLog => self.read().await?,
                Whereabouts::NotWritten => {
                    let (mut progress, seq) = (self.hub.log.progress(), self.seq);
                    let written = progress.wait_for(|progress| progress.written >= seq).await;
                    written.map_err(|_ended| StartOver::new("the log of changes has ended"))?;
                }
                Whereabouts::NotYet => self.published().await?,
            }
        }
    }

    /// Waits until the next transaction is published. One that was told before this process began is waited for only for as long as it
    /// may come again. Cancel-safe.
    async fn published(&self) -> Result<(), StartOver> {
        let (mut last, mut settled, seq) = (self.hub.last.subscribe(), self.hub.settled.subscribe(), self.seq);
        let is_awaited = self.behind.is_some();
        let comes = async { last.wait_for(|last| *last >= seq).await.map(drop) };
        let settles = async {
            match is_awaited {
                true => settled.wait_for(|settled| *settled).await.map(drop),
                false => std::future::pending().await,
            }
        };
        let waited = tokio::select! {
            biased;
            came = comes => came,
            told = settles => match told {
                Ok(()) if self.hub.last() < seq => return Err(StartOver::new(AHEAD)),
                told => told,
            },
        };
        waited.map_err(|_ended| StartOver::new("the feed has ended"))
    }

    /// The next transaction, when it is in memory: `None` says that there is none now, or that it is in the log, from which
    /// [`Cursor::next`] reads it.
    ///
    /// # Errors
    /// As [`Cursor::next`].
    pub fn try_next(&mut self) -> Result<Option<Piece>, StartOver> {
        loop {
            if let Some(piece) = self.step()? {
                return Ok(Some(piece));
            }
            if !matches!(self.look(), Whereabouts::Here) {
                return Ok(None);
            }
        }
    }

    fn look(&mut self) -> Whereabouts {
        if self.seq > self.hub.last() {
            return Whereabouts::NotYet;
        }
        if self.ordinal == 0
            && let Some(found) = self.hub.ring().find(self.seq)
        {
            self.group = Some(found);
            return Whereabouts::Here;
        }
        if self.hub.log.progress().borrow().written < self.seq {
            return Whereabouts::NotWritten;
        }
        Whereabouts::InLog
    }

    async fn read(&mut self) -> Result<(), StartOver> {
        // With the piece that has the entry itself, of which the check is.
        let given = self.behind.filter(|behind| behind.seq == self.seq).map_or(0, |behind| behind.ordinal);
        let (seq, ordinal) = (self.seq, self.ordinal.max(given));
        let Self { hub, reader, reading, .. } = self;
        // It goes on when this is dropped: who is woken by something else again and again comes to its end too.
        let reading = reading.get_or_insert_with(|| {
            let (log, reader) = (Arc::clone(&hub.log), reader.take());
            OwnedTask::spawn(async move { log.read(reader, seq, ordinal).await })
        });
        let read = reading.joined().await;
        self.reading = None;
        let read = read.unwrap_or_else(|| Err(Missing::Failed("the log of changes could not be read".to_owned())));
        match read {
            Ok((reader, found)) => {
                self.reader = Some(reader);
                self.group = Some((found.group, found.first));
                Ok(())
            }
            Err(Missing::Gone) => Err(StartOver::new("it is older than everything that is retained")),
            Err(Missing::Failed(reason)) => Err(StartOver::new(reason)),
        }
    }

    /// The next transaction of the group that was found last; `None` where that has none to give.
    fn step(&mut self) -> Result<Option<Piece>, StartOver> {
        loop {
            let Some((group, first)) = &self.group else { return Ok(None) };
            let place = self.seq.checked_sub(*first).and_then(|place| usize::try_from(place).ok());
            let Some((place, transaction)) = place.and_then(|place| Some((place, group.transactions.get(place)?))) else {
                self.group = None;
                return Ok(None);
            };
            let (group, seq, ends, position) = (Arc::clone(group), self.seq, transaction.ends, &transaction.position);
            let behind = self.behind.filter(|behind| behind.seq == seq);
            let entries = u32::try_from(transaction.entries.len()).unwrap_or(u32::MAX);
            let (start, end) = (transaction.first, transaction.first.saturating_add(entries));
            // Pieces of one transaction may have positions of their own: where it ends is known with the last.
            let is_of_check = |behind: &Behind| behind.ordinal >= start && (behind.ordinal < end || ends);
            if behind.filter(is_of_check).is_some_and(|behind| behind.check != Place::check(position)) {
                return Err(StartOver::new("what happened there came out otherwise after a crash"));
            }
            let given = behind.map_or(0, |behind| u64::from(behind.ordinal) + 1).max(u64::from(self.ordinal));
            self.advance(ends, end);
            if given >= u64::from(end) {
                // All of it was given before.
                continue;
            }
            let generation = self.hub.generation();
            return Ok(Some(if given > u64::from(start) {
                Piece { group: Arc::new(cut::from(&group, place, given)), transaction: 0, seq, generation }
            } else {
                Piece { group, transaction: place, seq, generation }
            }));
        }
    }

    /// Goes on behind a transaction, or a piece of one that goes on.
    fn advance(&mut self, ends: bool, end: u32) {
        if ends {
            (self.seq, self.ordinal) = (self.seq + 1, 0);
            self.behind = self.behind.filter(|behind| behind.seq >= self.seq);
        } else {
            self.ordinal = end;
            self.group = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use tempfile::TempDir;

    use super::*;
    use crate::changes::ChangeSettings;
    use crate::changes::fakes::{group_of, pieces_of, position_of};
    use crate::changes::log::{self, Item, Opened, Pace, Part, Queue};
    use crate::pgtype::{PgField, PgType};
    use crate::stores::change::builder::{Cell, RowsBuilder};
    use crate::stores::change::{Entry, Operation, Shape};
    use crate::stores::schema::{Collation, Column, ColumnStatistics, Generated, Table};
    use crate::task::OwnedTask;

    struct Stage {
        hub: Arc<Hub>,
        queue: Queue,
        next: u64,
        store: StoreName,
        _task: OwnedTask<()>,
        _directory: TempDir,
    }

    impl Stage {
        fn new(memory_bytes: u64) -> Self {
            let (directory, store) = (tempfile::tempdir().unwrap(), StoreName::new("shop"));
            let settings = ChangeSettings { memory_bytes, ..ChangeSettings::default() };
            let applied = Arc::new(watch::channel(Applied::default()).0);
            let pace = Pace { sync: Duration::from_millis(1), retry: Duration::from_millis(1), segment: 3_000, ..Pace::default() };
            let hook: crate::changes::Hook = Arc::new(|_moment| async {}.boxed());
            let opened = log::open(directory.path(), &store, &settings, (pace, hook), Arc::clone(&applied)).unwrap();
            let Opened { log, queue, writer, .. } = opened;
            let hub = Hub::new(&store, log, applied, memory_bytes);
            Self { hub, queue, next: 1, store, _task: OwnedTask::spawn(writer.run()), _directory: directory }
        }

        fn put(&self, group: &Arc<Group>, part: Part) {
            let item = Item::Group { group: Arc::clone(group), first: self.next, part, acknowledges: part != Part::Piece };
            assert!(self.queue.put(item, self.queue.try_reserve(1).unwrap()));
        }

        /// Transactions of two rows each, as one group.
        fn publish(&mut self, count: u64) {
            let rows: &[(&str, i64)] = &[("a", 1), ("b", 2)];
            let transactions: Vec<_> = (self.next..self.next + count).map(|position| (position, rows)).collect();
            let group = Arc::new(group_of(&self.store, &transactions));
            self.put(&group, Part::Whole);
            self.hub.publish(self.next, &group, Some(position_of(&self.store, self.next + count - 1)));
            self.next += count;
        }

        /// One transaction in pieces of a row each.
        async fn publish_pieces(&mut self, rows: &[(&str, i64)]) {
            for piece in pieces_of(&self.store, self.next, rows) {
                let part = if piece.transactions[0].ends { Part::LastPiece } else { Part::Piece };
                self.put(&Arc::new(piece), part);
            }
            self.written(self.next).await;
            self.hub.publish_written(self.next, None);
            self.next += 1;
        }

        async fn written(&self, seq: u64) {
            self.queue.progress().wait_for(|progress| progress.written >= seq).await.unwrap();
        }

        fn place(&self, seq: u64, ordinal: u32) -> Place {
            let check = Place::check(&position_of(&self.store, seq));
            Place { generation: self.hub.generation(), seq, ordinal, check }
        }
    }

    fn told(piece: &Piece) -> (u64, String, u32, usize) {
        let transaction = &piece.group.transactions[piece.transaction];
        (piece.seq, transaction.id.clone(), transaction.first, transaction.entries.len())
    }

    #[tokio::test]
    async fn every_cursor_gives_every_transaction_once() {
        // With a ring that holds all, and one that holds nothing.
        for memory in [32 << 20, 1] {
            let mut stage = Stage::new(memory);
            let (mut first, mut late) = (stage.hub.at_end(), stage.hub.at_end());
            stage.publish(3);
            stage.publish(1);
            for seq in 1..=2 {
                assert_eq!(told(&first.next().await.unwrap()), (seq, format!("t{seq}"), 0, 2));
            }
            let mut at_end = stage.hub.at_end();
            stage.publish(2);
            for seq in 3..=6 {
                assert_eq!(told(&first.next().await.unwrap()).0, seq);
            }
            for seq in 1..=6 {
                assert_eq!(told(&late.next().await.unwrap()).1, format!("t{seq}"));
            }
            assert_eq!(told(&at_end.next().await.unwrap()).0, 5);
            let mut from_start = stage.hub.at_start();
            assert_eq!(told(&from_start.next().await.unwrap()).0, 1);
            // In the ring alone.
            let tried = stage.hub.at_start().try_next().unwrap();
            assert_eq!(tried.is_some(), memory > 1);
            assert!(first.try_next().unwrap().is_none());
            assert_eq!(stage.hub.ring_bytes() > 0, memory > 1);
        }
    }

    #[tokio::test]
    async fn what_is_read_of_the_log_is_read_also_for_who_does_not_wait_long() {
        let mut stage = Stage::new(1);
        stage.publish(1);
        stage.written(1).await;
        let mut cursor = stage.hub.at_start();
        let asking = async {
            loop {
                if let Some(piece) = cursor.next().now_or_never() {
                    return piece.unwrap();
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let piece = tokio::time::timeout(Duration::from_secs(20), asking).await.unwrap();
        assert_eq!(told(&piece).0, 1);
    }

    #[tokio::test]
    async fn a_cursor_waits_for_what_comes() {
        let mut stage = Stage::new(32 << 20);
        let mut cursor = stage.hub.at_end();
        assert!(cursor.next().now_or_never().is_none());
        assert!(cursor.try_next().unwrap().is_none());
        assert_eq!(cursor.passed(), 0);
        stage.publish(1);
        assert_eq!(told(&cursor.next().await.unwrap()).0, 1);
        assert_eq!(cursor.passed(), 1);
        let applied = stage.hub.positions().borrow().clone();
        assert_eq!((applied.seq, applied.position), (1, Some(position_of(&stage.store, 1))));
        stage.hub.reach(&position_of(&stage.store, 9));
        assert_eq!(stage.hub.positions().borrow().position, Some(position_of(&stage.store, 9)));
    }

    #[tokio::test]
    async fn a_place_is_gone_on_from_behind_its_entry() {
        for memory in [32 << 20, 1] {
            let mut stage = Stage::new(memory);
            stage.publish(3);
            stage.written(3).await;
            let mut rest = stage.hub.at(&stage.place(2, 0)).unwrap();
            assert_eq!(told(&rest.next().await.unwrap()), (2, "t2".to_owned(), 1, 1));
            assert_eq!(told(&rest.next().await.unwrap()), (3, "t3".to_owned(), 0, 2));
            let mut next = stage.hub.at(&stage.place(2, 1)).unwrap();
            assert_eq!(told(&next.next().await.unwrap()), (3, "t3".to_owned(), 0, 2));
            // Up to what is published nothing is waited for.
            let mut end = stage.hub.at(&stage.place(2, 1)).unwrap();
            assert_eq!(end.next_until(3).await.unwrap().map(|piece| piece.seq), Some(3));
            assert!(end.next_until(3).await.unwrap().is_none());
            let mut end = stage.hub.at(&stage.place(3, 1)).unwrap();
            assert!(end.next_until(3).await.unwrap().is_none());
            let mut end = stage.hub.at(&stage.place(1, 1)).unwrap();
            assert!(end.next_until(1).await.unwrap().is_none());
            assert_eq!(end.next_until(2).await.unwrap().map(|piece| piece.seq), Some(2), "it was passed over");
            // One that is not there yet is waited for, and looked at then.
            let mut later = stage.hub.at(&stage.place(5, 7)).unwrap();
            let other = Place { check: 1, ..stage.place(5, 7) };
            let mut differs = stage.hub.at(&other).unwrap();
            assert!(later.next().now_or_never().is_none());
            stage.publish(3);
            assert_eq!(told(&later.next().await.unwrap()).0, 6);
            let told_over = differs.next().await.unwrap_err();
            assert_eq!(told_over.detail().unwrap(), "What happened there came out otherwise after a crash.");
            assert_eq!((told_over.sqlstate(), differs.next().await.is_err()), ("55000", true));
        }
    }

    #[tokio::test]
    async fn a_place_ahead_of_the_log_is_refused_once_nothing_comes_again() {
        let mut stage = Stage::new(32 << 20);
        stage.publish(2);
        let mut comes_again = stage.hub.at(&stage.place(3, 0)).unwrap();
        let mut never_comes = stage.hub.at(&stage.place(9, 0)).unwrap();
        assert!(comes_again.next().now_or_never().is_none() && never_comes.next().now_or_never().is_none());
        stage.publish(2);
        stage.hub.settle();
        assert_eq!(told(&comes_again.next().await.unwrap()), (3, "t3".to_owned(), 1, 1));
        assert_eq!(never_comes.next().await.unwrap_err().reason, AHEAD);
        assert_eq!(stage.hub.at(&stage.place(5, 0)).unwrap_err().reason, AHEAD);
        // Behind the last one that there is, whatever comes is waited for.
        let mut last = stage.hub.at(&stage.place(4, 1)).unwrap();
        assert!(last.next().now_or_never().is_none());
        stage.publish(1);
        assert_eq!(told(&last.next().await.unwrap()).0, 5);
    }

    #[tokio::test]
    async fn places_of_another_log_and_of_before_are_told_so() {
        let mut stage = Stage::new(1);
        assert_eq!(stage.hub.first(), None);
        for _ in 0..20 {
            stage.publish(1);
        }
        stage.written(20).await;
        let first = stage.hub.first().unwrap();
        assert_eq!((first.seq, first.ordinal), (0, u32::MAX));
        assert_eq!(told(&stage.hub.at(&first).unwrap().next().await.unwrap()).0, 1);
        let other = Place { generation: stage.hub.generation().wrapping_add(1), ..stage.place(3, 0) };
        assert!(stage.hub.at(&other).is_err());
        let mut behind = stage.hub.at(&stage.place(1, 1)).unwrap();
        stage.hub.log().retain_nothing();
        assert!(stage.hub.at(&stage.place(1, 1)).is_err() && stage.hub.at(&first).is_err());
        assert_eq!(behind.next().await.unwrap_err().reason, "it is older than everything that is retained");
        let first = stage.hub.first().unwrap();
        assert_eq!(told(&stage.hub.at(&first).unwrap().next().await.unwrap()).0, first.seq + 1);
    }

    #[tokio::test]
    async fn a_transaction_in_pieces_comes_whole() {
        let mut stage = Stage::new(32 << 20);
        let mut cursor = stage.hub.at_end();
        stage.publish(1);
        stage.publish_pieces(&[("a", 1), ("b", 2), ("c", 3)]).await;
        stage.publish(1);
        let mut all = Vec::new();
        for _ in 0..5 {
            all.push(told(&cursor.next().await.unwrap()));
        }
        let piece = |first| (2, "t2".to_owned(), first, 1);
        assert_eq!(all, [(1, "t1".to_owned(), 0, 2), piece(0), piece(1), piece(2), (3, "t3".to_owned(), 0, 2)]);
        let mut rest = stage.hub.at(&stage.place(2, 1)).unwrap();
        assert_eq!(told(&rest.next().await.unwrap()), piece(2));
        assert_eq!(told(&rest.next().await.unwrap()).0, 3);
        let mut differs = stage.hub.at(&Place { check: 1, ..stage.place(2, 0) }).unwrap();
        assert!(differs.next().await.is_err());
    }

    #[tokio::test]
    async fn pieces_have_positions_of_their_own() {
        let mut stage = Stage::new(32 << 20);
        let mut pieces = pieces_of(&stage.store, 1, &[("a", 1), ("b", 2), ("c", 3)]);
        // Where it ends is known with the last piece.
        for piece in &mut pieces[..2] {
            piece.transactions[0].position = position_of(&stage.store, 90);
        }
        for piece in pieces {
            let part = if piece.transactions[0].ends { Part::LastPiece } else { Part::Piece };
            stage.put(&Arc::new(piece), part);
        }
        stage.written(1).await;
        stage.hub.publish_written(1, None);
        stage.next = 2;
        stage.publish(1);
        let mut all = stage.hub.at_start();
        for given in 0..3 {
            let place = all.next().await.unwrap().place(0).unwrap();
            let mut rest = stage.hub.at(&place).unwrap();
            for first in given + 1..3 {
                assert_eq!(told(&rest.next().await.unwrap()), (1, "t1".to_owned(), first, 1));
            }
            assert_eq!(told(&rest.next().await.unwrap()).0, 2);
            let mut differs = stage.hub.at(&Place { check: 1, ..place }).unwrap();
            assert!(differs.next().await.is_err(), "behind {given}");
        }
    }

    #[tokio::test]
    async fn a_look_back_has_all_that_is_younger() {
        let mut stage = Stage::new(32 << 20);
        stage.publish(2);
        tokio::time::sleep(Duration::from_millis(30)).await;
        stage.publish(2);
        let mut cursor = stage.hub.since(Duration::from_millis(25));
        assert_eq!(told(&cursor.next().await.unwrap()).0, 3);
        let mut cursor = stage.hub.since(Duration::from_secs(60));
        assert_eq!(told(&cursor.next().await.unwrap()).0, 1);
    }

    #[test]
    fn names_of_columns_weigh_too() {
        let column = |number: usize| Column {
            field: Field::new(format!("{}{number}", "x".repeat(60)), PgType::INT4.carrier(), true).with_pg_type(PgType::INT4),
            native_type: String::new(),
            default: None,
            generated: Generated::No,
            comment: None,
            collation: Collation::Bytes,
            statistics: ColumnStatistics::default(),
        };
        let table = Table::plain("public", "t", (0..50).map(column).collect());
        let mut builder = RowsBuilder::new(&Shape::of(&table, vec![0], vec![true; 50]));
        for _ in 0..100 {
            builder.push(Operation::Insert, &mut (0..50).map(|_| Cell::Text("1")), None).unwrap();
        }
        let mut group = group_of(&StoreName::new("s"), &[(9, &[])]);
        group.rows = vec![builder.finish().unwrap()];
        group.transactions[0].entries = (0..100).map(|row| Entry::Row { rows: 0, row }).collect();
        let before = weight(&group);
        let piece = Piece { group: Arc::new(group), transaction: 0, seq: 1, generation: 1 };
        payload::of_entry(&piece, 0, ("public", "t")).unwrap();
        assert!(before >= piece.group.bytes(), "{before} bytes were counted of {}", piece.group.bytes());
    }

    #[test]
    fn the_ring_has_an_end_and_keeps_no_giants() {
        let store = StoreName::new("s");
        let group = |position: u64| Arc::new(group_of(&store, &[(position, &[("a", 1)])]));
        let each = weight(&group(1));
        let mut ring = Ring { kept: VecDeque::new(), bytes: 0, most: each * 5 };
        for seq in 1..=20 {
            ring.push(seq, &group(seq));
            assert!(ring.bytes <= ring.most);
        }
        assert!(ring.find(20).is_some() && ring.find(1).is_none() && ring.find(21).is_none());
        let rows: Vec<(&str, i64)> = vec![("a", 1); 1_000];
        ring.push(21, &Arc::new(group_of(&store, &[(21, &rows)])));
        assert!(ring.find(21).is_none() && ring.find(20).is_some());
    }
}
