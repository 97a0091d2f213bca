//! A feed by triggers, for a server whose log is not to be had: their table is looked at again and again.
//!
//! ```text
//! cut: the number of the last row that has been given out, and behind it the number of a transaction
//! all transactions below that one have ended → every row up to the cut is there → read in one snapshot → rows → Step
//! ```
//!
//! **Invariants:** a row is read when all that have smaller numbers can be read too, so that transactions come in one order, whoever reads
//! them again; rows are removed when the log of changes has them on disk. A transaction that stays open holds all others back; one that
//! only reads does not.

mod rows;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::Row;
use sqlx::postgres::PgRow;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::super::super::capture::{Ended, Feed, Follow, Followed, How, InstanceId, Step};
use super::super::super::change::Resume;
use super::super::super::commit::{CHANGES, FEED};
use super::super::super::error::StoreError;
use super::super::super::position::Position;
use super::super::super::schema::TableId;
use super::super::branch::Inner;
use super::super::pool::{Lease, State};
use super::super::{error, own};
use super::groups::Origin;
use super::position::Checkpoint;
use super::stream::later;
use super::triggers::{self, NUMBERS, OVERFLOW};
use super::{ask, ask_each, facts, slot, texts};
use crate::error::{Diagnosis, sqlstate};
use crate::task::OwnedTask;
use rows::{Collector, Written};

/// How long a start may wait for transactions that began before it.
const SETTLE: Duration = Duration::from_secs(30);
/// How often that is looked at.
const LOOK: Duration = Duration::from_millis(100);
/// Rows that are fetched at a time.
const FETCHED: usize = 1_000;
/// Rows that are removed at a time.
const REMOVED: usize = 1_000;
/// How long it waits after one removal of rows before the next.
const TIDY: Duration = Duration::from_secs(1);
/// How long the last removal may take.
const END: Duration = Duration::from_secs(2);

/// A feed by triggers.
pub(super) struct Outbox {
    inner: Arc<Inner>,
    name: String,
    poll: Duration,
    /// When it is looked at next.
    due: Instant,
    collector: Collector,
    ready: VecDeque<Step>,
    /// The rows that are to be read next: up to which one, and below which transaction all must have ended.
    cut: Option<(u64, i64)>,
    reading: Option<Reading>,
    /// Up to which row all is on disk with us, and up to which one they have been removed.
    acknowledged: u64,
    handed: u64,
    tidied: Instant,
    tidying: Option<Tidying>,
    /// Tables that were locked, and when they are tried again.
    locked: Option<(Vec<TableId>, Instant)>,
}

/// A removal that is under way, by a task for the same reason.
struct Tidying {
    done: mpsc::Receiver<Result<(), StoreError>>,
    /// Up to which row.
    upto: u64,
    _task: OwnedTask<()>,
}

/// A snapshot that is being read: by a task, since whoever waits for a step may stop waiting at any time.
struct Reading {
    pieces: mpsc::Receiver<Result<Piece, StoreError>>,
    _task: OwnedTask<()>,
}

/// What comes of it.
enum Piece {
    /// Transactions have not ended that may have rows up to the cut.
    Unsettled,
    /// What the tables are like in it.
    Begun(HashMap<u32, String>),
    /// Rows, in order.
    Rows(Vec<Written>),
    /// There are no more.
    End,
}

/// Makes what is missing and begins.
///
/// # Errors
/// See [`Ended`].
pub(super) async fn start(
    inner: &Arc<Inner>,
    who: InstanceId,
    follow: &Follow,
    tables: &[Followed],
    from: Option<&Resume>,
) -> Result<Outbox, Ended> {
    let name = who.object(&inner.name);
    let checkpoint = match from.map(Checkpoint::read) {
        None => None,
        Some(Some(checkpoint)) if checkpoint.how == How::Outbox => Some(checkpoint),
        Some(_) => return Err(Ended::Lost("it was followed by other means before".to_owned())),
    };
    // What happened since they were removed is in no table, though one that is made anew may number its rows further than before.
    if checkpoint.is_some() && Box::pin(triggers::owner(inner)).await?.is_none() {
        return Err(Ended::Lost("its triggers were removed meanwhile".to_owned()));
    }
    let locked = Box::pin(triggers::install(inner, &name, triggers::room(follow.max_retained), tables)).await?;
    let (cluster, timeline, last) = Box::pin(identity(inner)).await?;
    let given = match &checkpoint {
        Some(checkpoint) if checkpoint.cluster != cluster => return Err(Ended::Lost("the server is another one".to_owned())),
        // It may be a copy with an older state, in which rows have got the numbers of those that were read.
        Some(checkpoint) if checkpoint.timeline != timeline => {
            return Err(Ended::Lost("the server's log goes on as another timeline".to_owned()));
        }
        Some(checkpoint) if last < checkpoint.place / 4 => {
            return Err(Ended::Lost("the server has lost what was read of it".to_owned()));
        }
        Some(checkpoint) => checkpoint.place,
        None => 4 * Box::pin(begin_from_now(inner, &name)).await? + 1,
    };
    let facts = Box::pin(facts::all(inner)).await?;
    let floor = Box::pin(next_number(inner)).await?;
    let origin = Origin { store: inner.name.clone(), how: How::Outbox, cluster, timeline };
    let known = checkpoint.map(|checkpoint| checkpoint.tables);
    let collector = Collector::new(origin, given, known, floor, (tables, &locked), &facts);
    let ready = VecDeque::from([collector.idle()]);
    Ok(Outbox {
        inner: inner.clone(),
        name,
        poll: follow.poll,
        due: Instant::now(),
        // What lies there from before is of no use to anybody.
        acknowledged: collector.behind(),
        collector,
        ready,
        cut: None,
        reading: None,
        handed: 0,
        tidied: Instant::now(),
        tidying: None,
        locked: later(locked),
    })
}

/// The cluster, the timeline of its log, with which the names of that one's files begin, and the number of the last row.
async fn identity(inner: &Inner) -> Result<(u64, u32, u64), StoreError> {
    let sql = format!(
        "SELECT (SELECT c.system_identifier::text FROM pg_catalog.pg_control_system() c), s.last_value::text, \
         pg_catalog.left(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 8) FROM {} s",
        own::quoted(NUMBERS)
    );
    let (_lease, rows) = ask(inner, &sql).await?;
    let told = rows.first().map(|row| texts(inner, row)).transpose()?.unwrap_or_default();
    let number = |place: usize| told.get(place).and_then(Option::as_ref).and_then(|text| text.parse().ok());
    let timeline = told.get(2).and_then(Option::as_ref).and_then(|text| u32::from_str_radix(text, 16).ok());
    let all = number(0).zip(timeline).zip(number(1)).map(|((cluster, timeline), last)| (cluster, timeline, last));
    all.ok_or_else(|| error::running(&inner.name, &sqlx::Error::RowNotFound))
}

/// A number that no row has, larger than those of all rows that are there.
async fn next_number(inner: &Inner) -> Result<u64, StoreError> {
    let (_lease, rows) = ask(inner, &format!("SELECT pg_catalog.nextval('{}')::text", own::quoted(NUMBERS))).await?;
    first_number(inner, &rows)
}

fn first_number(inner: &Inner, rows: &[PgRow]) -> Result<u64, StoreError> {
    let told = rows.first().map(|row| texts(inner, row)).transpose()?.unwrap_or_default();
    let number = told.first().and_then(Option::as_ref).and_then(|text| text.parse().ok());
    number.ok_or_else(|| error::running(&inner.name, &sqlx::Error::RowNotFound))
}

/// Makes room, takes the mark away that there was none, and waits until every transaction has ended that may have rows from before.
async fn begin_from_now(inner: &Inner, name: &str) -> Result<u64, StoreError> {
    let (numbers, feed, overflow) = (own::quoted(NUMBERS), own::quoted(FEED), own::quoted(OVERFLOW));
    // In messages of their own: whoever sees that there is room again does not set the mark.
    let make_room = format!("UPDATE {feed} SET handed = (SELECT s.last_value FROM {numbers} s) WHERE id = '{name}'");
    let (mut lease, _) = ask(inner, &make_room).await?;
    // Before the mark goes: whoever asks how far everything is and finds no mark gets a number that no feed of before has come to.
    let rows = lease.query(&format!("SELECT pg_catalog.nextval('{numbers}')::text")).await?;
    let number = first_number(inner, &rows)?;
    lease.query(&format!("SELECT pg_catalog.setval('{overflow}', 1, false)")).await?;
    let rows = lease.query("SELECT pg_catalog.txid_current()::text").await?;
    let transaction = first_number(inner, &rows)?;
    let until = Instant::now() + SETTLE;
    loop {
        let rows = lease.query("SELECT pg_catalog.txid_snapshot_xmin(pg_catalog.txid_current_snapshot())::text").await?;
        if first_number(inner, &rows)? >= transaction {
            return Ok(number);
        }
        if Instant::now() >= until {
            let oldest = Box::pin(slot::oldest_transaction(inner)).await?.unwrap_or_else(|| "none of them is left".to_owned());
            let message = format!("a feed waits for transactions that began before it; the oldest: {oldest}");
            return Err(StoreError::remote(inner.name.as_str(), sqlstate::LOCK_NOT_AVAILABLE, message));
        }
        sleep(LOOK).await;
    }
}

impl Outbox {
    /// Looks whether there is something new, and begins to read it.
    async fn look(&mut self) -> Result<(), Ended> {
        self.look_at_removal()?;
        if self.cut.is_none() {
            self.cut = Box::pin(self.find_cut()).await?;
        }
        self.due = Instant::now() + self.poll;
        let Some((last, transaction)) = self.cut else { return Ok(()) };
        let (sender, pieces) = mpsc::channel(2);
        let (inner, behind, oids) = (self.inner.clone(), self.collector.behind(), self.collector.oids());
        let task = OwnedTask::spawn(async move {
            if let Err(error) = Box::pin(read(&inner, (behind, last), transaction, &oids, &sender)).await {
                // Nobody waits for it any more.
                drop(sender.send(Err(error)).await);
            }
        });
        self.reading = Some(Reading { pieces, _task: task });
        Ok(())
    }

    /// The number of the last row is read before a transaction gets a number: whoever has numbered a row up to that one has got its own
    /// before.
    async fn find_cut(&self) -> Result<Option<(u64, i64)>, Ended> {
        let sql = format!(
            "SELECT o.last_value::text, s.last_value::text, \
             (CASE WHEN s.is_called AND s.last_value > {} THEN pg_catalog.txid_current() END)::text FROM {} s, {} o",
            self.collector.behind(),
            own::quoted(NUMBERS),
            own::quoted(OVERFLOW)
        );
        let (_lease, rows) = ask(&self.inner, &sql).await?;
        let told = rows.first().map(|row| texts(&self.inner, row)).transpose()?.unwrap_or_default();
        let number = |place: usize| triggers::number(&self.inner, told.get(place).and_then(Option::as_ref));
        if let Some(reason) = triggers::loss(number(0)?) {
            return Err(Ended::Lost(reason.to_owned()));
        }
        if told.get(2).is_none_or(Option::is_none) {
            return Ok(None);
        }
        Ok(Some((u64::try_from(number(1)?).unwrap_or_default(), number(2)?)))
    }

    fn take(&mut self, piece: Piece) -> Result<(), Diagnosis> {
        match piece {
            Piece::Unsettled => self.reading = None,
            Piece::Begun(fingerprints) => self.collector.begin(&fingerprints),
            Piece::Rows(rows) => {
                for row in &rows {
                    let step = self.collector.push(row)?;
                    self.ready.extend(step);
                }
            }
            Piece::End => {
                self.reading = None;
                if let Some((last, _)) = self.cut.take() {
                    let step = self.collector.end(last)?;
                    self.ready.push_back(step);
                }
            }
        }
        Ok(())
    }

    /// Looks whether a removal has ended, and begins one where there is something to remove.
    fn look_at_removal(&mut self) -> Result<(), StoreError> {
        if let Some(tidying) = &mut self.tidying {
            match tidying.done.try_recv() {
                Err(mpsc::error::TryRecvError::Empty) => return Ok(()),
                Ok(ended) => self.handed = ended.map(|()| tidying.upto)?,
                Err(mpsc::error::TryRecvError::Disconnected) => {}
            }
            (self.tidying, self.tidied) = (None, Instant::now());
        }
        if self.acknowledged > self.handed && self.tidied.elapsed() >= TIDY {
            let (sender, done) = mpsc::channel(1);
            let (inner, name, upto) = (self.inner.clone(), self.name.clone(), self.acknowledged);
            let task = OwnedTask::spawn(async move {
                let ended = Box::pin(tidy(&inner, &name, upto)).await;
                // Nobody may wait for it any more.
                drop(sender.send(ended).await);
            });
            self.tidying = Some(Tidying { done, upto, _task: task });
        }
        Ok(())
    }
}

/// Tells the triggers how far we are, and removes what was read.
async fn tidy(inner: &Inner, name: &str, upto: u64) -> Result<(), StoreError> {
    let (feed, changes) = (own::quoted(FEED), own::quoted(CHANGES));
    let (mut lease, _) = ask(inner, &format!("UPDATE {feed} SET handed = {upto} WHERE id = '{name}' AND handed < {upto}")).await?;
    // A transaction that goes on behind has not been given.
    let removal = format!(
        "WITH gone AS (DELETE FROM {changes} WHERE seq IN (SELECT c.seq FROM {changes} c WHERE c.seq <= {upto} \
         AND NOT EXISTS (SELECT FROM {changes} l WHERE l.xid = c.xid AND l.seq > {upto}) ORDER BY c.seq LIMIT {REMOVED}) RETURNING 1) \
         SELECT pg_catalog.count(*)::text FROM gone"
    );
    while first_number(inner, &lease.query(&removal).await?)? >= REMOVED as u64 {}
    Ok(())
}

/// Reads the rows between two numbers in one snapshot, if they are all there.
async fn read(
    inner: &Inner,
    (behind, last): (u64, u64),
    transaction: i64,
    oids: &[u32],
    pieces: &mpsc::Sender<Result<Piece, StoreError>>,
) -> Result<(), StoreError> {
    let (changes, fingerprints) = (own::quoted(CHANGES), facts::fingerprints(oids));
    let sql = format!(
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; \
         SELECT pg_catalog.txid_snapshot_xmin(pg_catalog.txid_current_snapshot()); {fingerprints}; \
         DECLARE tributary_rows NO SCROLL CURSOR FOR SELECT c.xid, d.last, c.tbl::int8, c.op, c.old, c.new \
         FROM (SELECT xid, pg_catalog.max(seq) AS last FROM {changes} GROUP BY xid) AS d JOIN {changes} c ON c.xid = d.xid \
         WHERE d.last > {behind} AND d.last <= {last} ORDER BY d.last, c.seq"
    );
    let unreadable = |problem: sqlx::Error| error::running(&inner.name, &problem);
    let (mut lease, answers) = ask_each(inner, &sql).await?;
    lease.settle(State::Transaction);
    let oldest = answers.get(1).and_then(|rows| rows.first()).ok_or(sqlx::Error::RowNotFound);
    let oldest: i64 = oldest.and_then(|row| row.try_get(0)).map_err(unreadable)?;
    let is_settled = oldest >= transaction;
    let begun = answers.get(2).map(Vec::as_slice).unwrap_or_default().iter().map(fingerprint);
    let begun = begun.collect::<Result<_, _>>().map_err(unreadable)?;
    if !is_settled {
        end(lease, "ROLLBACK").await?;
        drop(pieces.send(Ok(Piece::Unsettled)).await);
        return Ok(());
    }
    if pieces.send(Ok(Piece::Begun(begun))).await.is_err() {
        return Ok(());
    }
    loop {
        let rows = lease.query(&format!("FETCH {FETCHED} FROM tributary_rows")).await?;
        let written = rows.iter().map(written).collect::<Result<Vec<_>, _>>().map_err(unreadable)?;
        // Whoever stops listening gets the connection back through its caretaker.
        if pieces.send(Ok(Piece::Rows(written))).await.is_err() {
            return Ok(());
        }
        if rows.len() < FETCHED {
            break;
        }
    }
    end(lease, "COMMIT").await?;
    drop(pieces.send(Ok(Piece::End)).await);
    Ok(())
}

/// Gives a connection back before whoever waits is told, who may end this task then.
async fn end(mut lease: Lease, word: &str) -> Result<(), StoreError> {
    lease.query(word).await?;
    lease.settle(State::Ready);
    Ok(())
}

fn fingerprint(row: &PgRow) -> Result<(u32, String), sqlx::Error> {
    let oid = u32::try_from(row.try_get::<i64, _>(0)?).map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
    Ok((oid, row.try_get(1)?))
}

fn written(row: &PgRow) -> Result<Written, sqlx::Error> {
    Ok(Written {
        transaction: row.try_get(0)?,
        last: u64::try_from(row.try_get::<i64, _>(1)?).unwrap_or_default(),
        table: u32::try_from(row.try_get::<i64, _>(2)?).unwrap_or_default(),
        operation: row.try_get(3)?,
        old: row.try_get(4)?,
        new: row.try_get(5)?,
    })
}

#[async_trait]
impl Feed for Outbox {
    async fn next(&mut self) -> Result<Step, Ended> {
        loop {
            if let Some(step) = self.ready.pop_front() {
                return Ok(step);
            }
            let doubts = self.collector.take_doubts();
            if !doubts.is_empty() {
                return Ok(Step::Doubt(doubts));
            }
            if let Some((tables, _)) = self.locked.take_if(|(_, at)| *at <= Instant::now()) {
                return Ok(Step::Doubt(tables));
            }
            let Some(reading) = &mut self.reading else {
                sleep_until(self.due).await;
                self.look().await?;
                continue;
            };
            let lost =
                || StoreError::ConnectionLost { store: self.inner.name.to_string(), reason: "A read of changes ended.".to_owned() };
            let piece = reading.pieces.recv().await.unwrap_or_else(|| Err(lost()))?;
            self.take(piece).map_err(|broken| StoreError::remote(self.inner.name.as_str(), &broken.sqlstate, broken.message))?;
        }
    }

    async fn acknowledge(&mut self, _position: &Position, resume: &Resume) -> Result<(), StoreError> {
        if let Some(checkpoint) = Checkpoint::read(resume) {
            self.acknowledged = self.acknowledged.max(checkpoint.place / 4);
        }
        Ok(())
    }

    async fn reshape(&mut self, tables: &[Followed]) -> Result<(), Ended> {
        let locked = Box::pin(triggers::place(&self.inner, &self.name, tables)).await?;
        let facts = Box::pin(facts::all(&self.inner)).await?;
        // Rows up to this one may have been written before the tables were as they are now.
        let floor = Box::pin(next_number(&self.inner)).await?;
        self.collector.reshape(tables, &facts, floor);
        self.collector.hold(&locked);
        self.locked = later(locked);
        Ok(())
    }

    async fn close(mut self: Box<Self>) {
        (self.reading, self.tidying) = (None, None);
        let removal = tidy(&self.inner, &self.name, self.acknowledged);
        if self.acknowledged > self.handed && !matches!(timeout(END, Box::pin(removal)).await, Ok(Ok(()))) {
            tracing::debug!(store = %self.inner.name, "changes that were read are still in their table");
        }
    }
}
