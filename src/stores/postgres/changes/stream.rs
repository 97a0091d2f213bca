//! A feed by logical replication.
//!
//! ```text
//! session → messages → groups ─ closed when nothing more is there, or enough → Step
//! ```
//!
//! **Invariants:** what the server is told to forget is what the log of changes has on disk; [`Feed::next`] changes nothing before its
//! last wait is over, so that it can be dropped at any.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt;
use pgwire_replication::{Lsn, ReplicationEvent};
use sqlx::Row;
use tokio::time::{Instant, timeout, timeout_at};

use super::super::super::capture::{Ended, Feed, Follow, Followed, How, InstanceId, Step};
use super::super::super::change::Resume;
use super::super::super::error::StoreError;
use super::super::super::position::Position;
use super::super::super::schema::TableId;
use super::super::branch::Inner;
use super::super::error;
use super::decode::{self, Message};
use super::facts::{self, Prints};
use super::groups::{Groups, Origin};
use super::poison::{self, Fate};
use super::position::{Checkpoint, location};
use super::publication::{self, Brought};
use super::session::{self, SILENCE, Session};
use super::{ask, slot};
use crate::error::Diagnosis;
use crate::task::OwnedTask;

/// A group that was closed so shortly before means that there is more: the next one waits for company.
const BUSY: Duration = Duration::from_millis(2);
/// How long it waits.
const LINGER: Duration = Duration::from_millis(1);
/// How often it is looked whether the transactions have ended that a table was added among.
const LOOK: Duration = Duration::from_secs(1);
/// How often it is looked whether tables still are what they were: the stream does not tell everything, and what it tells comes with the
/// next row.
const LOOK_AT_TABLES: Duration = Duration::from_secs(60);
/// And at most, where the stream tells tables again and again.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// How long such a look may take: a server that does not answer is known by its stream.
const LOOK_MAX: Duration = Duration::from_secs(5);
/// When tables that were locked are tried again.
pub(super) const TRY_AGAIN: Duration = Duration::from_secs(30);
/// How long the library may take to end.
const END: Duration = Duration::from_secs(5);

/// Where the log ends, and the numbers of transactions: the next one that will be given, and one that is given now, whose end has the
/// server write its log up to there. Numbers are of the whole cluster.
const NUMBERS: &str = "SELECT pg_catalog.txid_snapshot_xmax(pg_catalog.txid_current_snapshot()), pg_catalog.txid_current(), \
     pg_catalog.pg_current_wal_insert_lsn()::text";
/// All transactions below have ended.
const OLDEST: &str = "SELECT pg_catalog.txid_snapshot_xmin(pg_catalog.txid_current_snapshot())";

/// A stream and what has been read of it.
pub(super) struct Stream {
    inner: Arc<Inner>,
    name: String,
    /// The publication, where it is not ours to change.
    publication: Option<String>,
    session: Session,
    groups: Groups,
    ready: VecDeque<Step>,
    /// Why it ends behind that.
    ended: Option<Ended>,
    /// When the last message came.
    heard: Instant,
    /// When the last group was closed.
    closed: Option<Instant>,
    /// The transactions below this one must have ended, and when that is looked at next.
    fence: Option<(i64, Instant)>,
    /// Tables that were locked, and when they are tried again.
    locked: Option<(Vec<TableId>, Instant)>,
    /// When it is looked next whether the tables still are what they were.
    look: Instant,
    /// When that was begun last, and what it finds. Whoever waits for us does so for short times only, so it is a task.
    looked: Option<Instant>,
    looking: Option<OwnedTask<Option<Prints>>>,
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
) -> Result<Stream, Ended> {
    let name = who.object(&inner.name);
    let checkpoint = match from.map(Checkpoint::read) {
        None => None,
        Some(Some(checkpoint)) if checkpoint.how == How::Log => Some(checkpoint),
        Some(_) => return Err(Ended::Lost("it was followed by other means before".to_owned())),
    };
    let Brought { is_made, added, locked } = match follow.publication {
        None => Box::pin(publication::bring(inner, &name, tables)).await?,
        Some(_) => Brought::default(),
    };
    let place = match &checkpoint {
        Some(checkpoint) => checkpoint.place,
        None => Box::pin(slot::renew(inner, &name)).await?,
    };
    // Before the stream begins: what changes from here on, the stream tells.
    let facts = Box::pin(facts::all_in(inner, follow.publication.as_deref())).await?;
    let (near, number, behind) = Box::pin(numbers(inner)).await?;
    let published = follow.publication.as_deref().unwrap_or(&name);
    let session = Box::pin(session::start(inner, &name, (published, is_made), place, checkpoint.as_ref())).await?;
    let origin = Origin { store: inner.name.clone(), how: How::Log, cluster: session.cluster, timeline: session.timeline };
    let known = checkpoint.as_ref().map(|checkpoint| checkpoint.tables.clone());
    let mut groups = Groups::new(origin, place, known, (near, behind), (tables, &locked), &facts);
    let mut fence = None;
    // A new slot has waited for every transaction itself.
    if checkpoint.is_some() && !added.is_empty() {
        groups.unsettle(added);
        fence = Some((number, Instant::now()));
    }
    let ready = groups.idle(place).map_err(|broken| internal(inner, &broken))?.into();
    let publication = follow.publication.clone();
    let (inner, heard) = (inner.clone(), Instant::now());
    let (locked, look) = (later(locked), heard + LOOK_AT_TABLES);
    Ok(Stream {
        inner,
        name,
        publication,
        session,
        groups,
        ready,
        ended: None,
        heard,
        closed: None,
        fence,
        locked,
        look,
        looked: None,
        looking: None,
    })
}

/// When tables that are locked are tried again.
pub(super) fn later(tables: Vec<TableId>) -> Option<(Vec<TableId>, Instant)> {
    (!tables.is_empty()).then(|| (tables, Instant::now() + TRY_AGAIN))
}

/// See [`NUMBERS`].
async fn numbers(inner: &Inner) -> Result<(u64, i64, u64), StoreError> {
    let (_lease, rows) = ask(inner, NUMBERS).await?;
    let row = rows.first().ok_or(sqlx::Error::RowNotFound);
    let read = row.and_then(|row| {
        let end = location(row.try_get(2)?).ok_or(sqlx::Error::RowNotFound)?;
        Ok((row.try_get::<i64, _>(0)?, row.try_get::<i64, _>(1)?, end))
    });
    let (next, now, end) = read.map_err(|problem| error::running(&inner.name, &problem))?;
    Ok((u64::try_from(next).unwrap_or_default(), now, end))
}

/// What a look has found, when it has ended. Cancel-safe.
async fn found(looking: &mut Option<OwnedTask<Option<Prints>>>) -> Option<Prints> {
    match looking {
        Some(task) => task.joined().await.flatten(),
        None => std::future::pending().await,
    }
}

fn internal(inner: &Inner, broken: &Diagnosis) -> Ended {
    Ended::Again(StoreError::remote(inner.name.as_str(), &broken.sqlstate, broken.message.clone()))
}

impl Stream {
    /// The next message, or what there is when there is none at once. `None`: look again.
    async fn receive(&mut self) -> Result<Option<ReplicationEvent>, Ended> {
        let client = &mut self.session.client;
        if self.groups.can_close() {
            // Both are cancel-safe: a message is taken out of the queue when the wait is over, or not at all.
            let at_once = match client.recv().now_or_never() {
                None if self.closed.is_some_and(|closed| closed.elapsed() < BUSY) => timeout(LINGER, client.recv()).await.ok(),
                at_once => at_once,
            };
            return match at_once {
                Some(event) => self.received(event),
                None => {
                    self.close_group()?;
                    Ok(None)
                }
            };
        }
        let silent = self.heard + SILENCE;
        let until = self.fence.map_or(silent, |(_, at)| at.min(silent));
        let until = self.locked.as_ref().map_or(until, |(_, at)| until.min(*at));
        let until = if self.looking.is_none() { until.min(self.look) } else { until };
        let event = tokio::select! {
            event = timeout_at(until, client.recv()) => event,
            prints = found(&mut self.looking) => {
                self.compare(prints);
                return Ok(None);
            }
        };
        match event {
            Ok(event) => self.received(event),
            Err(_elapsed) if Instant::now() >= silent => {
                Err(session::lost(&self.inner, "The server has been silent for too long."))
            }
            Err(_elapsed) => Ok(None),
        }
    }

    fn received(
        &mut self,
        event: Result<Option<ReplicationEvent>, pgwire_replication::PgWireError>,
    ) -> Result<Option<ReplicationEvent>, Ended> {
        match event {
            Ok(Some(event)) => {
                self.heard = Instant::now();
                Ok(Some(event))
            }
            Ok(None) => Err(session::lost(&self.inner, "The server has ended the stream.")),
            Err(failure) if session::is_unreadable(&failure) => {
                let fate = poison::unread(&self.groups, &self.inner.strikes, "ends too early");
                self.end(&fate)?;
                Ok(None)
            }
            Err(failure) => Err(session::ended(&self.inner, failure)),
        }
    }

    fn take(&mut self, event: ReplicationEvent) -> Result<(), Ended> {
        let taken = match event {
            ReplicationEvent::Begin { final_lsn, xid, commit_time_micros } => {
                let (commit, committed_us) = (final_lsn.as_u64(), decode::moment(commit_time_micros));
                if self.groups.can_close() && self.inner.strikes.is_in(commit) {
                    // What has ended before is not to be lost with it.
                    self.close_group()?;
                }
                poison::take_bound(&mut self.groups, &self.inner.strikes, &Message::Begin { commit, committed_us, xid })
            }
            ReplicationEvent::Commit { end_lsn, .. } => {
                poison::take_bound(&mut self.groups, &self.inner.strikes, &Message::Commit { end: end_lsn.as_u64() })
            }
            ReplicationEvent::XLogData { data, .. } => poison::take(&mut self.groups, &self.inner.strikes, &data),
            ReplicationEvent::KeepAlive { wal_end, .. } => {
                let steps = self.groups.idle(wal_end.as_u64()).map_err(|broken| internal(&self.inner, &broken))?;
                self.note_closed(&steps);
                self.ready.extend(steps);
                Ok(())
            }
            ReplicationEvent::Message { .. } | ReplicationEvent::StoppedAt { .. } => Ok(()),
        };
        match taken {
            Ok(()) if self.groups.must_close() => self.close_group(),
            Ok(()) => Ok(()),
            Err(fate) => self.end(&fate),
        }
    }

    /// A message cannot be read: nothing comes behind what has ended before it.
    fn end(&mut self, fate: &Fate) -> Result<(), Ended> {
        let steps = self.groups.ended().map_err(|broken| internal(&self.inner, &broken))?;
        self.ready.extend(steps);
        self.ended = Some(match fate {
            Fate::Again(what) => session::lost(&self.inner, &format!("A message of the server {what}.")),
            Fate::Lost(what) => Ended::Lost(format!("a message of the server {what}")),
        });
        Ok(())
    }

    fn close_group(&mut self) -> Result<(), Ended> {
        let group = self.groups.close().map_err(|broken| internal(&self.inner, &broken))?;
        let steps: Vec<Step> = group.map(Step::Group).into_iter().collect();
        self.note_closed(&steps);
        self.ready.extend(steps);
        Ok(())
    }

    fn note_closed(&mut self, steps: &[Step]) {
        if steps.iter().any(|step| matches!(step, Step::Group(_))) {
            self.closed = Some(Instant::now());
        }
    }

    /// Begins to look whether the tables still are what they were, where that is due, or takes what has been found.
    fn look_at_tables(&mut self) {
        if self.looking.is_some() {
            if let Some(prints) = found(&mut self.looking).now_or_never() {
                self.compare(prints);
            }
            return;
        }
        let now = Instant::now();
        if self.groups.take_described() {
            let soon = self.looked.map_or(now, |looked| looked + LOOK_AGAIN).max(now + LOOK);
            self.look = self.look.min(soon);
        }
        if self.look > now {
            return;
        }
        (self.looked, self.look) = (Some(now), now + LOOK_AT_TABLES);
        let (inner, oids, publication) = (self.inner.clone(), self.groups.oids(), self.publication.clone());
        self.looking = Some(OwnedTask::spawn(async move {
            let prints = Box::pin(facts::prints_in(&inner, &oids, publication.as_deref()));
            match timeout(LOOK_MAX, prints).await {
                Ok(Ok(prints)) => return Some(prints),
                Ok(Err(error)) => tracing::debug!(store = %inner.name, %error, "tables are looked at later"),
                Err(_elapsed) => tracing::debug!(store = %inner.name, "the server is slow: tables are looked at later"),
            }
            None
        }));
    }

    /// A look has ended; `None`: with nothing.
    fn compare(&mut self, prints: Option<Prints>) {
        self.looking = None;
        if let Some(prints) = prints {
            self.groups.compare(&prints);
        }
    }

    /// Looks whether the transactions have ended among which tables were added.
    async fn look_at_fence(&mut self) -> Result<(), Ended> {
        let Some((number, _)) = self.fence else { return Ok(()) };
        let Ok(answered) = timeout(LOOK_MAX, Box::pin(ask(&self.inner, OLDEST))).await else {
            self.fence = Some((number, Instant::now() + LOOK));
            return Ok(());
        };
        let (_lease, rows) = answered?;
        let oldest = rows.first().map(|row| row.try_get::<i64, _>(0)).transpose();
        let oldest = oldest.map_err(|problem| error::running(&self.inner.name, &problem))?;
        if oldest.is_some_and(|oldest| oldest >= number) {
            self.fence = None;
            self.groups.settle();
        } else {
            self.fence = Some((number, Instant::now() + LOOK));
        }
        Ok(())
    }
}

#[async_trait]
impl Feed for Stream {
    async fn next(&mut self) -> Result<Step, Ended> {
        loop {
            if let Some(step) = self.ready.pop_front() {
                return Ok(step);
            }
            if let Some(ended) = self.ended.take() {
                return Err(ended);
            }
            self.look_at_tables();
            let doubts = self.groups.take_doubts();
            if !doubts.is_empty() {
                return Ok(Step::Doubt(doubts));
            }
            if let Some((tables, _)) = self.locked.take_if(|(_, at)| *at <= Instant::now()) {
                return Ok(Step::Doubt(tables));
            }
            if self.fence.is_some_and(|(_, at)| at <= Instant::now()) {
                Box::pin(self.look_at_fence()).await?;
            }
            if let Some(event) = self.receive().await? {
                self.take(event)?;
            }
        }
    }

    async fn acknowledge(&mut self, _position: &Position, resume: &Resume) -> Result<(), StoreError> {
        // A position may lie inside of a transaction that comes in pieces.
        if let Some(checkpoint) = Checkpoint::read(resume).filter(|checkpoint| checkpoint.cluster == self.session.cluster) {
            self.session.client.update_applied_lsn(Lsn::from_u64(checkpoint.place));
        }
        Ok(())
    }

    async fn reshape(&mut self, tables: &[Followed]) -> Result<(), Ended> {
        let mut locked = Vec::new();
        if self.publication.is_none() {
            let brought = Box::pin(publication::bring(&self.inner, &self.name, tables)).await?;
            if brought.is_made {
                return Err(Ended::Lost(session::UNPUBLISHED.to_owned()));
            }
            self.groups.unsettle(brought.added);
            locked = brought.locked;
        }
        let facts = Box::pin(facts::all_in(&self.inner, self.publication.as_deref())).await?;
        // A number that is given behind the change of the list.
        let (_, number, behind) = Box::pin(numbers(&self.inner)).await?;
        // It looked at the tables of before.
        (self.looking, self.look) = (None, Instant::now() + LOOK_AT_TABLES);
        if self.groups.reshape(tables, &facts, behind) {
            self.fence = Some((number, Instant::now()));
        }
        self.groups.hold(&locked);
        self.locked = later(locked);
        Ok(())
    }

    async fn close(mut self: Box<Self>) {
        let ended = timeout(END, self.session.client.shutdown()).await;
        if !matches!(ended, Ok(Ok(()))) {
            tracing::debug!(store = %self.inner.name, "a replication session did not end in time");
        }
        let Self { inner, name, session, .. } = *self;
        // The server notices that a connection is gone, not that nobody reads from it.
        drop(session);
        if let Err(error) = Box::pin(slot::released(&inner, &name)).await {
            tracing::debug!(store = %inner.name, %error, "it is not known whether the replication slot is free");
        }
    }
}
