//! Changes of a SQLite store. SQLite has no log that another process could read, so triggers of ours keep what is written, and one thread
//! looks at it again and again.
//!
//! ```text
//! survey → triggers (tables and triggers of ours, their numbers) → poll (one thread, one connection) ⟲ stir (has it changed?), PRAGMA data_version
//!          a change: rows (what lies behind the last row, as Arrow) → Group → Feed::next
//!          the schema moved: triggers are made again, and the tables discovered again
//! Feed::acknowledge → rows that are durable elsewhere are removed, in small steps
//! ```
//!
//! **Invariants:** what one look at the file shows is one transaction of ours, so that none of the file's is ever torn; a position is the
//! last row of such a look, in the history of the table of changes, and that row is still the same one when a look goes on behind it; no read transaction outlives a look; a look ends where a state of
//! the file was read for somebody who follows (cuts), so that a state has all of a transaction of ours or nothing.

mod cuts;
mod fill;
mod head;
mod measure;
mod poll;
mod rows;
mod stir;
mod survey;
mod triggers;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot};

use super::super::capture::{
    self, Ended, Feed as FeedContract, Fill, Follow, Followed, How, InstanceId, OwnObject, Step, Survey, Watch,
};
use super::super::change::{Resume, Transaction};
use super::super::connector::StoreName;
use super::super::error::StoreError;
use super::super::position::{Coverage, Position};
use super::super::schema::Table;
use super::pool::Pool;
use super::scan::{Database, Failure};
use super::{Connector, lost, own};
use crate::error::sqlstate;
use crate::task::OwnedTask;
pub(super) use cuts::Cuts;
use measure::Stand;
use poll::{Command, Worker};

/// How long the thread may take to end.
const CLOSE_GRACE: Duration = Duration::from_secs(2);
/// Before anything was read.
const NOTHING: i64 = -1;

/// How the changes of the store are followed.
pub(super) fn capture(connector: &Connector) -> Option<Arc<dyn capture::Capture>> {
    let (pool, cuts) = (Arc::clone(&connector.pool), Arc::clone(&connector.cuts));
    Some(Arc::new(Capture { pool, applied: Arc::new(AtomicI64::new(NOTHING)), cuts }))
}

/// Whether `applied` has reached `wanted` ([`super::super::connector::Connector::covers`]).
pub(super) fn covers(applied: &Position, wanted: &Position) -> Coverage {
    match (Place::read(&applied.token), Place::read(&wanted.token)) {
        _ if applied.store != wanted.store => Coverage::Incomparable,
        (Some(applied), Some(wanted)) if applied.history != wanted.history => Coverage::Incomparable,
        (Some(applied), Some(wanted)) if applied.seq >= wanted.seq => Coverage::Covered,
        (Some(_), Some(_)) => Coverage::Behind,
        _ => Coverage::Incomparable,
    }
}

/// How far everything is that is committed: the last row of changes ([`super::super::connector::Connector::position`]).
///
/// # Errors
/// What SQLite says; 55000 where nobody follows the file, or changes were not kept, so that no feed comes to them.
pub(super) async fn upper_bound(pool: &Arc<Pool>, who: InstanceId, follow: &Follow) -> Result<Position, StoreError> {
    let store = pool.store();
    if follow.how == How::Log {
        return Err(StoreError::Unsupported { store: store.to_string(), feature: "positions in a log" });
    }
    let object = who.object(store);
    let found = own::reading(pool, move |database| head::head(database, &object)).await?;
    let unknown = |reason: &str| {
        let message = format!("nothing says how far changes of store \"{store}\" are: {reason}");
        StoreError::remote(store.as_str(), sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE, message)
    };
    let head = found.ok_or_else(|| unknown("nobody follows the file"))?;
    if let Err(head::Trouble::Ended(Ended::Lost(reason))) = head::follows(&head, head.last) {
        return Err(unknown(&reason));
    }
    let history = Place::history_of(&head.uuid).ok_or_else(|| unknown("the table of changes has no name that can be read"))?;
    Ok(Place { history, seq: head.last }.position(store))
}

/// A row of changes. As bytes: both numbers, the most significant byte first; positions, ways to go on and versions of fills are one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    /// Which table of changes: the half of what was drawn when it was made.
    history: u64,
    seq: i64,
}

impl Place {
    fn read(token: &[u8]) -> Option<Self> {
        let (history, seq) = token.split_first_chunk::<8>()?;
        Some(Self { history: u64::from_be_bytes(*history), seq: i64::from_be_bytes(seq.try_into().ok()?) })
    }

    /// Of the text that is drawn for a table of changes.
    fn history_of(uuid: &str) -> Option<u64> {
        u64::from_str_radix(uuid.get(..16)?, 16).ok()
    }

    fn token(self) -> Vec<u8> {
        [self.history.to_be_bytes(), self.seq.to_be_bytes()].concat()
    }

    fn position(self, store: &StoreName) -> Position {
        Position { store: store.clone(), token: self.token() }
    }
}

/// How the changes of one file are followed.
#[derive(Debug)]
struct Capture {
    pool: Arc<Pool>,
    /// The last row that the feed has given.
    applied: Arc<AtomicI64>,
    /// Where looks end.
    cuts: Arc<Cuts>,
}

#[async_trait]
impl capture::Capture for Capture {
    async fn survey(&self, who: InstanceId, follow: &Follow, tables: &[Arc<Table>]) -> Result<Survey, StoreError> {
        survey::survey(&self.pool, who, follow, tables).await
    }

    async fn start(
        &self,
        who: InstanceId,
        follow: &Follow,
        tables: &[Followed],
        from: Option<&Resume>,
    ) -> Result<Box<dyn FeedContract>, Ended> {
        if let Some((reason, mend)) = survey::closed(&self.pool, follow) {
            return Err(Ended::Refused { reason, mend });
        }
        let from = match from.map(Stand::read) {
            Some(None) => return Err(Ended::Lost(unread(from))),
            Some(Some(stand)) => Some(stand),
            None => None,
        };
        let (identity, connection) = self.pool.connect().await?;
        let (steps, given) = mpsc::channel(1);
        let (commands, inbox) = mpsc::channel(4);
        let (opened, answer) = oneshot::channel();
        let told = Arc::new(AtomicI64::new(NOTHING));
        let (applied, cuts) = (Arc::clone(&self.applied), Arc::clone(&self.cuts));
        let way = poll::Way { steps, inbox, told: Arc::clone(&told), applied, cuts };
        let object = who.object(self.pool.store());
        let worker = Worker::new(Arc::clone(&self.pool), identity, object, follow, tables, way);
        let task = OwnedTask::spawn_blocking(move || worker.run(connection, from, opened));
        let history = answer.await.unwrap_or_else(|_gone| Err(Ended::Again(lost(&self.pool))))?;
        Ok(Box::new(Feed { pool: Arc::clone(&self.pool), history, given, commands, told, task }))
    }

    async fn fill(&self, _table: &Arc<Table>) -> Result<Fill, StoreError> {
        fill::open(&self.pool, &self.cuts).await
    }

    fn gives_alike(&self) -> bool {
        // Rows do not say which commit they came with: a transaction is what is found at a time.
        false
    }

    async fn state(&self, tables: &[Arc<Table>]) -> Result<Option<Fill>, StoreError> {
        // One read transaction has all tables.
        let Some(table) = tables.first() else { return Ok(None) };
        capture::Capture::fill(self, table).await.map(Some)
    }

    fn contains(&self, version: &[u8], transaction: &Transaction) -> bool {
        let places = Place::read(version).zip(Place::read(&transaction.position.token));
        places.is_some_and(|(version, position)| version.history == position.history && position.seq <= version.seq)
    }

    async fn watch(&self, who: InstanceId, _follow: &Follow) -> Result<Watch, StoreError> {
        let object = who.object(self.pool.store());
        let applied = Some(self.applied.load(Ordering::Acquire)).filter(|applied| *applied != NOTHING);
        let work = move |database: &Database<'_>| survey::retained(database, &object, applied);
        let Some(retained) = own::reading(&self.pool, work).await? else { return Ok(Watch::default()) };
        Ok(Watch {
            retained_bytes: Some(retained.told()),
            lag_bytes: applied.map(|_| retained.behind),
            left_bytes: Some(retained.most.saturating_sub(retained.kept)),
            left: None,
            detail: String::new(),
        })
    }

    async fn objects(&self, who: InstanceId) -> Result<Vec<OwnObject>, StoreError> {
        let store = self.pool.store().clone();
        own::reading(&self.pool, move |database| survey::objects(database, who, &store)).await
    }

    async fn remove(&self, who: InstanceId, slot_only: bool) -> Result<Vec<OwnObject>, StoreError> {
        let store = self.pool.store().clone();
        own::alone(&self.pool, move |database| survey::remove(database, who, &store, slot_only)).await
    }
}

/// The changes of one file on their way.
#[derive(Debug)]
struct Feed {
    pool: Arc<Pool>,
    /// Of which table of changes.
    history: u64,
    given: mpsc::Receiver<Result<Step, Ended>>,
    commands: mpsc::Sender<Command>,
    /// The last row that is durable with whoever reads.
    told: Arc<AtomicI64>,
    task: OwnedTask<()>,
}

#[async_trait]
impl FeedContract for Feed {
    async fn next(&mut self) -> Result<Step, Ended> {
        self.given.recv().await.unwrap_or_else(|| Err(Ended::Again(lost(&self.pool))))
    }

    async fn acknowledge(&mut self, position: &Position, _resume: &Resume) -> Result<(), StoreError> {
        // What is durable of another file, or of a table that was there before this one, has numbers of its own.
        if let Some(place) = Place::read(&position.token).filter(|place| place.history == self.history) {
            self.told.fetch_max(place.seq, Ordering::AcqRel);
        }
        Ok(())
    }

    async fn reshape(&mut self, tables: &[Followed]) -> Result<(), Ended> {
        let (done, answer) = oneshot::channel();
        let command = Command::Reshape { tables: tables.to_vec(), done };
        let gone = || Ended::Again(lost(&self.pool));
        self.commands.send(command).await.map_err(|_gone| gone())?;
        answer.await.unwrap_or_else(|_gone| Err(gone()))
    }

    async fn close(self: Box<Self>) {
        let Self { pool, mut given, commands, task, .. } = *self;
        let (done, ended) = oneshot::channel();
        let closing = async {
            if commands.send(Command::Close { done }).await.is_ok() {
                drop(ended.await);
            }
            given.close();
            drop(commands);
            task.join().await
        };
        if tokio::time::timeout(CLOSE_GRACE, closing).await.is_err() {
            tracing::debug!(store = %pool.store(), "the thread of a feed did not end in time");
        }
    }
}

/// Why a way to go on is none.
fn unread(from: Option<&Resume>) -> String {
    let is_older = from.is_some_and(|resume| Place::read(&resume.0).is_some());
    let reason = if is_older {
        "where to go on was written by an older version, which did not keep what tells the file from an older copy of it"
    } else {
        "where to go on is not a place in the file's changes"
    };
    reason.to_owned()
}

/// Drops the triggers of a table in the open transaction, because a column of it is to be dropped.
pub(super) fn release(database: &Database<'_>, table: &str) -> Result<(), Failure> {
    triggers::release(database, table)
}

/// Whether somebody else holds the lock.
fn is_busy(failure: &Failure) -> bool {
    [libsqlite3_sys::SQLITE_BUSY, libsqlite3_sys::SQLITE_LOCKED].contains(&(failure.code & 0xff))
}

/// Runs a statement that takes a lock, again and again while somebody else holds it.
fn patiently(database: &Database<'_>, sql: &str, deadline: Instant) -> Result<(), Failure> {
    loop {
        match database.run(sql) {
            // The connection waits a little by itself each time.
            Err(failure) if is_busy(&failure) && Instant::now() < deadline => {}
            done => return done,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(history: u64, seq: i64) -> Place {
        Place { history, seq }
    }

    #[test]
    fn positions_are_of_one_table_of_changes() {
        let store = StoreName::new("shop");
        let at = |history, seq| place(history, seq).position(&store);
        let broken = Position { store: store.clone(), token: vec![1; 15] };
        let rows = [
            (at(1, 5), at(1, 5), Coverage::Covered),
            (at(1, 256), at(1, 255), Coverage::Covered),
            (at(1, 5), at(1, 6), Coverage::Behind),
            (at(1, 5), at(2, 5), Coverage::Incomparable),
            (at(1, 5), broken.clone(), Coverage::Incomparable),
            (broken, at(1, 5), Coverage::Incomparable),
            (place(1, 5).position(&StoreName::new("other")), at(1, 5), Coverage::Incomparable),
        ];
        for (applied, wanted, expected) in rows {
            assert_eq!(covers(&applied, &wanted), expected, "{applied:?} {wanted:?}");
        }
    }

    #[test]
    fn a_way_to_go_on_of_an_older_version_is_called_so() {
        let older = Resume(place(7, 300).token());
        assert_eq!(Stand::read(&older), None);
        assert!(unread(Some(&older)).contains("older version"));
        for bytes in [&[][..], &[0; 15], &[0; 23]] {
            assert!(unread(Some(&Resume(bytes.to_vec()))).contains("not a place"), "{bytes:?}");
        }
    }

    #[test]
    fn places_are_read_back() {
        let history = Place::history_of("00000000000000ffdeadbeefdeadbeef").unwrap();
        assert_eq!((history, Place::history_of("00ff"), Place::history_of("zzzzzzzzzzzzzzzz")), (255, None, None));
        assert_eq!(Place::read(&place(history, i64::MAX).token()), Some(place(history, i64::MAX)));
        for token in [&[][..], &[0; 8], &[0; 17]] {
            assert_eq!(Place::read(token), None, "{token:?}");
        }
    }
}
