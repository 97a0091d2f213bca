//! One store's feed: begun, watched, begun again.
//!
//! ```text
//! off ⇄ starting → streaming → (interrupted, or a fault of ours) waiting → starting …
//!           │          └──────→ (history is missing) lost → starting, behind a gap; more than three times an hour → refused
//!           └→ refused → (somebody does something, or time passes) → starting
//! ```
//!
//! **Invariants:** a feed is closed, and waited for, before the next one of its store begins; a gap is told when the feed behind it has
//! begun, so that whoever reads the store because of it misses nothing; every wait for the store has a deadline.

mod following;
mod letting_go;
mod stream;
mod tables;
mod take;
#[cfg(test)]
mod tests;
mod watcher;

use std::collections::{BTreeMap, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::FutureExt;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::feeds::FeedEntry;
use super::hub::{Applied, Hub};
use super::log::{self, Item, Opened, Progress, Queue, Room, Standing};
use super::status::{State, Status};
use crate::stores::capture::{Capture, Ended, Feed, Follow, Followed};
use crate::stores::change::{Barrier, Resume};
use crate::stores::schema::TableId;
use crate::stores::{Connector, StoreError, StoreName};
use crate::task::{Backoff, OwnedTask};
use following::{Described, Wanted};
use tables::Stops;
use take::Open;

pub(super) use following::{Following, Pacing, With};
pub(super) use letting_go::let_go;

/// How often history may be missing within an hour before somebody must look.
const LOSSES_MAX: usize = 3;
const HOUR: Duration = Duration::from_secs(3600);
/// How often a feed may end by a fault of ours without having given anything before what is there is passed over.
const FAULTS_MAX: u32 = 3;
/// What is told of that, as a clause.
pub(super) const FAULT: &str = "the feed has ended by a fault";

/// Why a feed does not go on.
#[derive(Debug)]
enum Halt {
    /// The server stops.
    Stop,
    /// Something else is asked of it.
    Changed,
    /// The feed ended.
    Ended(Ended),
    /// The log takes nothing more.
    Log(String),
    /// There was a fault of ours, which was told where it happened.
    Fault,
}

impl From<Ended> for Halt {
    fn from(ended: Ended) -> Self {
        Self::Ended(ended)
    }
}

/// What ends a wait.
#[derive(Debug)]
struct Signals {
    stop: CancellationToken,
    wanted: watch::Receiver<Wanted>,
    turn: u64,
    /// What the store keeps for us is too much: why, as a clause.
    alarm: watch::Receiver<Option<String>>,
}

impl Signals {
    /// Returns when something else is to be done. Cancel-safe: what was raised is raised again.
    async fn raised(&mut self) -> Halt {
        loop {
            if self.wanted.borrow().turn != self.turn {
                return Halt::Changed;
            }
            if let Some(reason) = self.alarm.borrow().clone() {
                return Halt::Ended(Ended::Lost(reason));
            }
            tokio::select! {
                () = self.stop.cancelled() => return Halt::Stop,
                changed = self.wanted.changed() => if changed.is_err() { return Halt::Stop },
                changed = self.alarm.changed() => if changed.is_err() { self.stop.cancelled().await },
            }
        }
    }

    /// What `work` gives, unless something else is to be done before that or `limit` passes.
    async fn within<T>(&mut self, limit: Duration, store: &StoreName, work: impl Future<Output = T>) -> Result<T, Halt> {
        let late = || StoreError::Deadline {
            store: store.to_string(),
            limit_ms: u64::try_from(limit.as_millis()).unwrap_or(u64::MAX),
            waiting_for: "an answer about changes",
        };
        tokio::select! {
            halt = self.raised() => Err(halt),
            done = tokio::time::timeout(limit, work) => done.map_err(|_elapsed| Halt::Ended(Ended::Again(late()))),
        }
    }

    /// Waits, unless something else is to be done.
    async fn pause(&mut self, time: Duration) -> Option<Halt> {
        tokio::select! {
            halt = self.raised() => Some(halt),
            () = tokio::time::sleep(time) => None,
        }
    }
}

/// The log of the store, open.
struct Kept {
    hub: Arc<Hub>,
    queue: Arc<Queue>,
    progress: watch::Receiver<Progress>,
    /// What was published and handed to the log, whether or not it is written.
    known: Standing,
    writer: OwnedTask<()>,
}

/// The task of one store.
pub(super) struct Driver {
    following: Arc<Following>,
    with: With,
    signals: Signals,
    alarm: Arc<watch::Sender<Option<String>>>,
    described: watch::Receiver<Described>,
    kept: Option<Kept>,
    stops: Stops,
    open: Option<Open>,
    /// The log has pieces that will not be ended.
    must_abort: bool,
    /// What the feed was told to follow last.
    told: BTreeMap<TableId, u64>,
    /// What the store was told last.
    acknowledged: Option<Resume>,
    /// Whether nobody is told of what is not in the log: it would not come again alike.
    waits_for_log: bool,
    /// When progress without changes was written down, and whether there is some that was not.
    marked: Option<Instant>,
    has_unmarked: bool,
    /// Why the next feed begins behind a gap.
    gap: Option<String>,
    losses: VecDeque<Instant>,
    /// How often the feed has ended by a fault since when, and how far it was then.
    faults: Option<(u32, Instant, Option<u64>)>,
    backoff: Backoff,
    /// When it is asked next what the store keeps. Feeds that break sooner than that do not put it off.
    watch_due: Instant,
}

/// A feed that is about to begin.
struct Course {
    connector: Arc<dyn Connector>,
    capture: Arc<dyn Capture>,
    follow: Follow,
    has_outbox: bool,
}

impl Driver {
    pub(super) fn new(following: &Arc<Following>, with: With, stop: CancellationToken) -> Self {
        let (alarm, raised) = watch::channel(None);
        let wanted = following.wanted.subscribe();
        let turn = wanted.borrow().turn;
        Self {
            following: Arc::clone(following),
            backoff: Backoff::new(with.pacing.backoff.0, with.pacing.backoff.1),
            watch_due: Instant::now() + with.pacing.watch,
            with,
            signals: Signals { stop, wanted, turn, alarm: raised },
            alarm: Arc::new(alarm),
            described: following.described.subscribe(),
            kept: None,
            stops: Stops::default(),
            open: None,
            must_abort: false,
            told: BTreeMap::new(),
            acknowledged: None,
            waits_for_log: false,
            marked: None,
            has_unmarked: false,
            gap: None,
            losses: VecDeque::new(),
            faults: None,
        }
    }

    fn status(&self) -> &Status {
        &self.following.status
    }

    /// Follows the store as it is asked for, until the server stops.
    pub(super) async fn run(mut self) {
        loop {
            let mut wanted = self.signals.wanted.borrow_and_update().clone();
            if wanted.turn != self.signals.turn {
                self.signals.turn = wanted.turn;
                // Somebody has looked.
                self.losses.clear();
                self.faults = None;
                self.stops.forgive();
                self.backoff.reset();
                if let Some(capture) = wanted.entry.as_ref().and_then(|entry| entry.connector.capture()) {
                    capture.look_again();
                }
            }
            // Whoever closes it waits until nobody has it.
            let leaving = wanted.leaving.take();
            let halt = match wanted.entry.as_ref().and_then(|entry| Some((entry, entry.follow.as_ref()?))) {
                None => {
                    let resting = AssertUnwindSafe(self.rest(wanted.entry.as_ref(), leaving)).catch_unwind();
                    Box::pin(resting).await.unwrap_or(Halt::Fault)
                }
                Some((entry, follow)) => self.follow(entry, follow).await,
            };
            self.drop_pieces();
            match halt {
                Halt::Stop => break,
                Halt::Changed => continue,
                halt => {
                    if let Some(Halt::Stop) = self.recover(halt).await {
                        break;
                    }
                }
            }
        }
        self.close().await;
    }

    /// Lets the log end: all that waits is on disk when this returns.
    async fn close(&mut self) {
        self.following.set_queue(None);
        if let Some(Kept { queue, writer, hub, progress, .. }) = self.kept.take() {
            drop((queue, hub, progress));
            writer.join().await;
        }
    }

    /// What is done, and how long it is waited, before the next try.
    async fn recover(&mut self, halt: Halt) -> Option<Halt> {
        match halt {
            Halt::Stop | Halt::Changed => Some(halt),
            Halt::Ended(Ended::Again(error)) => {
                self.status().set(State::Waiting, Some(&error_text(&error)), None);
                self.wait_a_while().await
            }
            Halt::Log(reason) => {
                self.status().set(State::Waiting, Some(&format!("log: {reason}")), None);
                self.wait_a_while().await
            }
            Halt::Ended(Ended::Refused { reason, mend }) => {
                self.status().set(State::Refused, Some(&reason), Some(&mend));
                self.signals.pause(self.with.pacing.refused).await
            }
            Halt::Ended(Ended::Lost(reason)) => self.lose(reason).await,
            Halt::Fault => {
                self.status().set(State::Waiting, Some(FAULT), None);
                self.wait_a_while().await
            }
        }
    }

    /// The feed has ended by a fault of ours. It is begun again where it was; what brings the fault each time is passed over, behind a gap.
    async fn has_faulted(&mut self) -> Halt {
        self.status().count_reconnect();
        if let Err(halt) = self.tell_what_is_known().await {
            return halt;
        }
        let (now, place) = (Instant::now(), self.known_seq());
        let before = self.faults.take().filter(|(_, since, seq)| *seq == place && now.duration_since(*since) < HOUR);
        let (count, since) = before.map_or((1, now), |(count, since, _)| (count + 1, since));
        if count >= FAULTS_MAX {
            return Ended::Lost(format!("{FAULT} {count} times at one place")).into();
        }
        self.faults = Some((count, since, place));
        Halt::Fault
    }

    /// Waits longer each time, and never as long as another one.
    async fn wait_a_while(&mut self) -> Option<Halt> {
        let wait = self.backoff.next_wait();
        let share = rand::random::<u32>() % 50 + 75;
        self.signals.pause(wait * share / 100).await
    }

    /// History is missing: the next feed begins from now, unless that has happened too often.
    async fn lose(&mut self, reason: String) -> Option<Halt> {
        self.status().count_loss();
        if self.alarm.send_replace(None).is_some() {
            // Where it is not done, the watcher of the next feed raises the same again.
            let_go(&self.following, &self.with, true).await;
        }
        if let Some(kept) = &mut self.kept {
            (kept.known.resume, kept.known.position) = (None, None);
        }
        let now = Instant::now();
        self.losses.retain(|loss| now.duration_since(*loss) < HOUR);
        self.losses.push_back(now);
        if self.losses.len() > LOSSES_MAX {
            let told = format!("history was missing {} times within an hour, the last time because {reason}", self.losses.len());
            let mend = format!("CALL tributary.restart_feed('{}')", self.following.store);
            self.gap = Some(reason);
            self.status().set(State::Refused, Some(&told), Some(&mend));
            return Some(self.keep_nothing().await);
        }
        self.status().set(State::Lost, Some(&reason), None);
        self.gap = Some(reason);
        self.wait_a_while().await
    }

    /// Follows the store until something else is to be done.
    async fn follow(&mut self, entry: &FeedEntry, follow: &Follow) -> Halt {
        let connector = Arc::clone(&entry.connector);
        let Some(capture) = connector.capture() else {
            let (reason, mend) =
                (format!("stores of the kind {} cannot be followed", connector.kind()), "changes.mode = \"off\"".to_owned());
            return Ended::Refused { reason, mend }.into();
        };
        let course = Course { connector, capture, follow: follow.clone(), has_outbox: entry.outbox };
        let watcher = watcher::Watcher {
            following: Arc::clone(&self.following),
            capture: Arc::clone(&course.capture),
            who: self.with.instance,
            follow: course.follow.clone(),
            pacing: self.with.pacing,
            first: self.watch_due,
            alarm: Arc::clone(&self.alarm),
        };
        // It ends with this feed, also where that waits or is begun again.
        let watching = OwnedTask::spawn(watcher.run());
        // What a fault leaves behind are whole values, of which what was told may be behind what the log has. The feed is dropped, which is
        // to the store as if the connection had broken.
        let ended = AssertUnwindSafe(self.follow_on(&course)).catch_unwind().await.ok();
        let halt = match ended {
            Some(halt) => halt,
            None => self.has_faulted().await,
        };
        // What the store keeps grows also while it is waited for the next try, and while there is no place for a log.
        let halt = match halt {
            Halt::Log(_) | Halt::Fault | Halt::Ended(Ended::Again(_) | Ended::Refused { .. }) => {
                self.recover(halt).await.unwrap_or(Halt::Changed)
            }
            halt => halt,
        };
        drop(watching);
        let now = Instant::now();
        if now >= self.watch_due {
            self.watch_due = now + self.with.pacing.watch;
        }
        halt
    }

    async fn follow_on(&mut self, course: &Course) -> Halt {
        if self.kept.is_none()
            && let Err(halt) = self.open_log().await
        {
            return halt;
        }
        let feed = match Box::pin(self.begin(course)).await {
            Ok(feed) => feed,
            Err(halt) => return halt,
        };
        let halt = Box::pin(self.stream(course, feed)).await;
        if matches!(halt, Halt::Ended(_) | Halt::Log(_)) {
            self.status().count_reconnect();
        }
        halt
    }

    async fn open_log(&mut self) -> Result<(), Halt> {
        let (store, with) = (self.following.store.clone(), self.with.clone());
        let applied = Arc::new(watch::channel(Applied::default()).0);
        let told = Arc::clone(&applied);
        let opened = OwnedTask::spawn_blocking(move || {
            let directory = with.directory.join(store.as_str());
            log::open(&directory, &store, &with.settings, (with.pacing.log, with.hook), told)
        });
        let opened = opened.join().await.ok_or_else(|| Halt::Log("it could not be opened".to_owned()))?;
        let Opened { log, queue, writer, standing } = opened.map_err(|error| {
            let source = std::error::Error::source(&error).map(|source| format!(": {source}")).unwrap_or_default();
            Halt::Log(format!("{error}{source}"))
        })?;
        let hub = Hub::new(&self.following.store, log, applied, self.with.settings.memory_bytes);
        // Of a second log of the same process nobody has heard: there is only one.
        let hub = Arc::clone(self.following.hub.get_or_init(|| hub));
        if let Some(position) = &standing.position {
            hub.reach(position);
        }
        let (progress, queue) = (queue.progress(), Arc::new(queue));
        self.following.set_queue(Some(Arc::clone(&queue)));
        self.kept = Some(Kept { hub, queue, progress, known: standing, writer: OwnedTask::spawn(writer.run()) });
        Ok(())
    }

    /// Looks at the store and begins a feed.
    async fn begin(&mut self, course: &Course) -> Result<Box<dyn Feed>, Halt> {
        // What it waits for stays to be seen until it goes on.
        if self.status().state() == State::Off {
            self.status().set(State::Starting, None, None);
        }
        let tables = self.tables(course).await?;
        if self.status().state() == State::Starting {
            self.status().set(State::Starting, None, None);
        }
        let (who, patience, store) = (self.with.instance, self.with.pacing.patience, self.following.store.clone());
        let survey = self.signals.within(patience, &store, course.capture.survey(who, &course.follow, &tables)).await?;
        let survey = survey.map_err(|error| Halt::Ended(Ended::Again(error)))?;
        if let Some((reason, mend)) = survey.refused {
            self.status().set_found(survey.cautions, survey.objects);
            return Err(Ended::Refused { reason, mend }.into());
        }
        self.status().set_found(survey.cautions, survey.objects);
        let followed = self.judge(&survey.tables, false);
        let from = self.kept.as_ref().and_then(|kept| kept.known.resume.clone());
        self.waits_for_log = !course.capture.gives_alike();
        let start = course.capture.start(who, &course.follow, &followed, from.as_ref());
        let feed = self.signals.within(self.with.pacing.beginning, &store, start).await??;
        self.told = tables::digests(&followed);
        if let Err(halt) = self.begun(course, &followed, from.is_none()).await {
            end(&store, patience, feed).await;
            return Err(halt);
        }
        Ok(feed)
    }

    /// A feed has begun: what is not known any more is told, and then what it follows.
    async fn begun(&mut self, course: &Course, followed: &[Followed], is_fresh: bool) -> Result<(), Halt> {
        let gap = self.gap.take();
        let has_begun = self.kept.as_ref().is_some_and(|kept| kept.known.has_begun);
        if is_fresh && has_begun {
            let reason = gap.unwrap_or_else(|| "it is not known where the feed was".to_owned());
            let told = self.barriers(vec![Barrier::Gap { reason: reason.clone() }]).await;
            if let Err(halt) = told {
                self.gap = Some(reason);
                return Err(halt);
            }
            if let Some(kept) = &mut self.kept {
                kept.known.is_filled = false;
            }
        }
        self.set_followed(followed, has_begun).await?;
        self.look_at_objects(course).await?;
        // What it has found of the history before is told.
        self.following.begun.store(self.signals.turn, Ordering::Release);
        self.status().set(State::Streaming, None, None);
        self.fill_outbox(course, followed).await
    }

    /// Room for something in the log, waited for until something else is to be done.
    async fn room(&mut self, bytes: usize) -> Result<Room, Halt> {
        let ended = || Halt::Log("it has ended".to_owned());
        let Some(kept) = &mut self.kept else { return Err(ended()) };
        if let Some(room) = kept.queue.try_reserve(bytes) {
            return Ok(room);
        }
        loop {
            let failing = kept.progress.borrow().failing.clone();
            if let Some(reason) = failing {
                self.following.status.set(State::Waiting, Some(&format!("log: {reason}")), None);
            }
            // Cancel-safe, all of them.
            tokio::select! {
                room = kept.queue.reserve(bytes) => {
                    self.following.status.set(State::Streaming, None, None);
                    return room.ok_or_else(ended);
                }
                halt = self.signals.raised() => return Err(halt),
                () = tokio::time::sleep(Duration::from_secs(1)) => {}
            }
        }
    }

    /// Gives something to the log.
    async fn put(&mut self, item: Item, bytes: usize) -> Result<(), Halt> {
        if self.must_abort {
            let room = self.room(1).await?;
            self.hand(Item::Abort, room)?;
            self.must_abort = false;
        }
        let room = self.room(bytes).await?;
        self.hand(item, room)
    }

    fn hand(&self, item: Item, room: Room) -> Result<(), Halt> {
        let is_put = self.kept.as_ref().is_some_and(|kept| kept.queue.put(item, room));
        if is_put { Ok(()) } else { Err(Halt::Log("it has ended".to_owned())) }
    }
}

/// Ends a feed, within a deadline.
async fn end(store: &StoreName, patience: Duration, feed: Box<dyn Feed>) {
    if tokio::time::timeout(patience, feed.close()).await.is_err() {
        tracing::debug!(%store, "a feed was not closed in time");
    }
}

/// An error of a store with what it says of itself.
fn error_text(error: &StoreError) -> String {
    if let StoreError::Remote { message, detail, .. } = error {
        let detail = detail.as_ref().map(|detail| format!(" ({detail})")).unwrap_or_default();
        return format!("the store has answered: {message}{detail}");
    }
    let detail = crate::error::Diagnose::detail(error).map(|detail| format!(": {detail}")).unwrap_or_default();
    format!("{error}{detail}")
}
