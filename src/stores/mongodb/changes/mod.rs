//! Changes of a deployment, by its change streams. Nothing of ours is left in it.
//!
//! ```text
//! survey → open → stream (one task: events → everything of one time together) → rows (documents as Arrow, once a group is closed) → Group
//!          event (what the server sends) · update (which fields of an update are known)
//! fill: a snapshot, whose time is its place among the events
//! ```
//!
//! A position is a cluster time: the BSON timestamp as eight bytes, seconds before the counter within the second, most significant
//! first. Times are totally ordered within one replica set, and everything of one time is one transaction of ours. A stream without events
//! still names the last write that the server has looked at, so that every time of a write is reached, whatever it wrote.
//!
//! **Invariants:** a document is never looked up afterwards, because it would be one of a later state; what an event does not say is
//! unknown; the way to go on is the token of the last event that was given.

mod event;
mod open;
mod rows;
mod stream;
mod survey;
mod token;
mod update;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use mongodb::bson::{Timestamp, doc};
use tokio::sync::{Notify, mpsc, oneshot};

use super::branch::Branch;
use super::{MongoDb, Shared};
use crate::error::sqlstate;
use crate::stores::StoreError;
use crate::stores::capture::{
    self, Ended, Feed as FeedContract, Fill, Follow, Followed, How, InstanceId, OwnObject, Step, Survey, Watch,
};
use crate::stores::change::{Resume, Transaction};
use crate::stores::connector::{Purpose, StoreName};
use crate::stores::position::{Coverage, Position};
use crate::stores::schema::Table;
use crate::task::OwnedTask;
use stream::{Command, Way};

/// How long the task of a feed may take to end.
const CLOSE_GRACE: Duration = Duration::from_secs(2);
/// How long before a snapshot events may have been given that are not in it: it is taken of what a majority has, as they are.
const LOOK_BACK: Duration = Duration::from_secs(10);
/// How much sooner than the server a snapshot is given up.
const SNAPSHOT_GRACE: u64 = 60;

/// How the changes of the deployment are followed.
pub(super) fn capture(store: &MongoDb) -> Option<Arc<dyn capture::Capture>> {
    Some(Arc::new(Capture { shared: Arc::clone(&store.shared), applied: Arc::default() }))
}

/// Whether `applied` has reached `wanted` ([`crate::stores::Connector::covers`]).
pub(super) fn covers(applied: &Position, wanted: &Position) -> Coverage {
    let moment = |position: &Position| <[u8; 8]>::try_from(position.token.as_slice()).ok();
    match (moment(applied), moment(wanted)) {
        _ if applied.store != wanted.store => Coverage::Incomparable,
        (Some(applied), Some(wanted)) if applied >= wanted => Coverage::Covered,
        (Some(_), Some(_)) => Coverage::Behind,
        _ => Coverage::Incomparable,
    }
}

/// When somebody has asked for something.
#[derive(Debug, Default)]
pub(super) struct Asked {
    last: Mutex<Option<Instant>>,
    /// Wakes the one who waits for it.
    noted: Notify,
}

impl Asked {
    /// Somebody asks.
    fn note(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        self.noted.notify_one();
    }

    /// Whether somebody has asked in this time.
    fn within(&self, time: Duration) -> bool {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|asked| asked.elapsed() < time)
    }

    /// Waits until somebody asks; not at all where somebody has and nobody waited. Cancel-safe.
    async fn came(&self) {
        self.noted.notified().await;
    }
}

/// A position at or behind all that can be read now ([`crate::stores::Connector::position`]): the time of the server's last write, which
/// is behind all that a majority has. A cluster of shards has no such write.
///
/// # Errors
/// What the server answered, or that there are no such positions.
pub(super) async fn newest(shared: &Shared, follow: &Follow) -> Result<Position, StoreError> {
    let pool = &shared.pool;
    shared.positions_asked.note();
    let unsupported = |feature: &'static str| StoreError::Unsupported { store: shared.name.to_string(), feature };
    if follow.how == How::Outbox {
        return Err(unsupported("positions of an outbox"));
    }
    if pool.known_deployment().await?.sharded {
        return Err(unsupported("positions of a sharded cluster"));
    }
    let admin = pool.database("admin").await?;
    let answer = pool.within("a position", async { admin.run_command(doc! { "ping": 1 }).await }).await?;
    let time = answer.get_timestamp("operationTime").map_err(|_untold| unsupported("positions of a standalone server"))?;
    Ok(position(&shared.name, time))
}

/// The position of everything up to an operation time.
pub(super) fn position(store: &StoreName, time: Timestamp) -> Position {
    Position { store: store.clone(), token: token(time) }
}

fn token(time: Timestamp) -> Vec<u8> {
    number(time).to_be_bytes().to_vec()
}

/// A time as a number of the same order.
fn number(time: Timestamp) -> u64 {
    (u64::from(time.time) << 32) | u64::from(time.increment)
}

/// The time before a time.
fn before(time: Timestamp) -> Timestamp {
    of_number(number(time).saturating_sub(1))
}

fn of_number(number: u64) -> Timestamp {
    let half = |bits: u64| u32::try_from(bits & u64::from(u32::MAX)).unwrap_or(u32::MAX);
    Timestamp { time: half(number >> 32), increment: half(number) }
}

/// How the changes of one deployment are followed.
struct Capture {
    shared: Arc<Shared>,
    /// The time of the last transaction that was given, as a number; 0 before the first.
    applied: Arc<AtomicU64>,
}

impl std::fmt::Debug for Capture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Capture").field("store", &self.shared.name).finish_non_exhaustive()
    }
}

#[async_trait]
impl capture::Capture for Capture {
    async fn survey(&self, _who: InstanceId, follow: &Follow, tables: &[Arc<Table>]) -> Result<Survey, StoreError> {
        Box::pin(survey::survey(&self.shared.pool, follow, tables)).await
    }

    async fn start(
        &self,
        _who: InstanceId,
        follow: &Follow,
        tables: &[Followed],
        from: Option<&Resume>,
    ) -> Result<Box<dyn FeedContract>, Ended> {
        let pool = &self.shared.pool;
        let deployment = pool.deployment().await?;
        if let Some((reason, mend)) = survey::closed(deployment, follow, self.shared.name.as_str()) {
            return Err(Ended::Refused { reason, mend });
        }
        let place = Box::pin(survey::place(pool)).await?;
        let (steps, given) = mpsc::channel(1);
        let (commands, inbox) = mpsc::channel(4);
        let way = Way { steps, inbox, applied: Arc::clone(&self.applied) };
        let begun = stream::Worker::begin(Arc::clone(&self.shared), deployment, place, (tables, from), way);
        let (worker, stream) = Box::pin(begun).await?;
        let task = OwnedTask::spawn(worker.run(stream));
        Ok(Box::new(Feed { shared: Arc::clone(&self.shared), given, commands, task }))
    }

    async fn fill(&self, table: &Arc<Table>) -> Result<Fill, StoreError> {
        let pool = &self.shared.pool;
        let begun = Instant::now();
        let shown = Box::pin(survey::snapshots_kept(pool)).await?.saturating_sub(SNAPSHOT_GRACE).max(1);
        let purpose = Purpose::Transaction { read_only: true, repeatable: true };
        let branch = Box::pin(Branch::open(Arc::clone(&self.shared), purpose)).await?;
        let Some(time) = Box::pin(branch.fixed(table)).await? else {
            let message = format!("collection \"{}\" cannot be read at a snapshot", table.id.name);
            return Err(StoreError::remote(&pool.context.store, sqlstate::FEATURE_NOT_SUPPORTED, message));
        };
        let ends = begun + Duration::from_secs(shown);
        Ok(Fill { branch: Arc::new(branch), version: token(time), look_back: LOOK_BACK, ends })
    }

    async fn state(&self, tables: &[Arc<Table>]) -> Result<Option<Fill>, StoreError> {
        // All sessions of the branch read at the time of the first; a collection that cannot be read so fails.
        let Some(table) = tables.first() else { return Ok(None) };
        capture::Capture::fill(self, table).await.map(Some)
    }

    fn contains(&self, version: &[u8], transaction: &Transaction) -> bool {
        let moment = |token: &[u8]| <[u8; 8]>::try_from(token).ok();
        moment(version).zip(moment(&transaction.position.token)).is_some_and(|(version, position)| position <= version)
    }

    async fn watch(&self, _who: InstanceId, _follow: &Follow) -> Result<Watch, StoreError> {
        let applied = of_number(self.applied.load(Ordering::Acquire));
        let oldest = Box::pin(survey::oldest(&self.shared.pool)).await?.filter(|_| applied.time > 0);
        let left = oldest.map(|oldest| Duration::from_secs(u64::from(applied.time.saturating_sub(oldest.time))));
        Ok(Watch { left, ..Watch::default() })
    }

    async fn objects(&self, _who: InstanceId) -> Result<Vec<OwnObject>, StoreError> {
        Ok(Vec::new())
    }

    async fn remove(&self, _who: InstanceId, _slot_only: bool) -> Result<Vec<OwnObject>, StoreError> {
        Ok(Vec::new())
    }
}

/// The changes of one deployment on their way.
struct Feed {
    shared: Arc<Shared>,
    given: mpsc::Receiver<Result<Step, Ended>>,
    commands: mpsc::Sender<Command>,
    task: OwnedTask<()>,
}

impl Feed {
    fn gone(&self) -> Ended {
        Ended::Again(self.shared.pool.context.unreachable("the task of the feed has ended"))
    }
}

#[async_trait]
impl FeedContract for Feed {
    async fn next(&mut self) -> Result<Step, Ended> {
        match self.given.recv().await {
            Some(step) => step,
            None => Err(self.gone()),
        }
    }

    /// The server keeps nothing for us.
    async fn acknowledge(&mut self, _position: &Position, _resume: &Resume) -> Result<(), StoreError> {
        Ok(())
    }

    async fn reshape(&mut self, tables: &[Followed]) -> Result<(), Ended> {
        let (done, answer) = oneshot::channel();
        let sent = self.commands.send(Command::Reshape { tables: tables.to_vec(), done }).await;
        sent.map_err(|_gone| self.gone())?;
        answer.await.map_err(|_gone| self.gone())
    }

    async fn close(self: Box<Self>) {
        let Self { shared, given, commands, task } = *self;
        drop((given, commands));
        if tokio::time::timeout(CLOSE_GRACE, task.join()).await.is_err() {
            tracing::debug!(store = %shared.name, "the task of a feed did not end in time");
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn who_waits_hears_also_of_somebody_who_asked_before_and_of_each_once() {
        let asked = Asked::default();
        assert!(asked.came().now_or_never().is_none() && !asked.within(Duration::MAX));
        asked.note();
        assert!(asked.came().now_or_never().is_some() && asked.within(Duration::MAX));
        let mut waiting = Box::pin(asked.came());
        assert!(waiting.as_mut().now_or_never().is_none(), "nobody has asked since");
        asked.note();
        assert!(waiting.now_or_never().is_some() && !asked.within(Duration::ZERO));
    }

    #[test]
    fn positions_follow_cluster_time() {
        let store = StoreName::new("crm");
        let at = |time, increment| position(&store, Timestamp { time, increment });
        let broken = Position { store: store.clone(), token: vec![1] };
        let other = position(&StoreName::new("other"), Timestamp { time: 9, increment: 9 });
        let rows = [
            (at(5, 1), at(5, 1), Coverage::Covered),
            (at(5, 2), at(5, 1), Coverage::Covered),
            (at(5, 1), at(5, 2), Coverage::Behind),
            (at(256, 0), at(255, 9), Coverage::Covered),
            (at(5, 1), broken, Coverage::Incomparable),
            (other, at(5, 1), Coverage::Incomparable),
        ];
        for (applied, wanted, expected) in rows {
            assert_eq!(covers(&applied, &wanted), expected, "{applied:?} {wanted:?}");
        }
    }

    #[test]
    fn times_have_a_time_before_them() {
        let time = |time, increment| Timestamp { time, increment };
        for (of, expected) in [
            (time(5, 2), time(5, 1)),
            (time(5, 0), time(4, u32::MAX)),
            (time(0, 0), time(0, 0)),
            (time(u32::MAX, 1), time(u32::MAX, 0)),
        ] {
            assert_eq!((before(of), of_number(number(of))), (expected, of), "{of:?}");
        }
    }
}
