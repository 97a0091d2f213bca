//! The feeds of all stores: started together, replaced at a reload, stopped before the stores are closed.
//!
//! There is an entry for every store. One that asks for no feed and can have one is looked at once: what of ours makes it keep its log
//! (a replication slot) is dropped at once, the rest is told with the statement that removes it. The same is done with one that is taken
//! out of the configuration while it is followed, over the connector that it had.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::FutureExt;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::channel::Board;
use super::hub::{Cursor, Hub};
use super::log::{self, LogError};
use super::metrics::{self, Tally};
use super::status::{Shown, State, TableState};
use super::supervise::{Driver, FAULT, Following, Pacing, With, let_go};
use super::{ChangeSettings, Hook};
use crate::error::{Diagnose, sqlstate};
use crate::stores::capture::{Capture, Fill, Follow, InstanceId};
use crate::stores::change::Shape;
use crate::stores::schema::{Table, TableId};
use crate::stores::{Connector, StoreError, StoreName};
use crate::task::{Backoff, OwnedTask, TaskSet};
use crate::telemetry::Family;
use crate::telemetry::metrics::Present;

/// How far back a cursor beside a fill stands at least.
const LOOK_BACK: Duration = Duration::from_secs(60);
/// How long feeds may take to end before they are stopped where they are.
const GRACE: Duration = Duration::from_secs(5);

/// What to do about a feed that a fault has ended for good.
const DIED: &str = "Start the server again, and report what its log tells of the fault.";

/// The SQL schema and name of a table, where it is shown.
pub type Labels = Arc<dyn Fn(&TableId) -> Option<(String, String)> + Send + Sync>;

/// A store as feeds know it.
#[derive(Clone)]
pub struct FeedEntry {
    /// Its connector.
    pub connector: Arc<dyn Connector>,
    /// What of it is followed; `None` where its file asks for no feed.
    pub follow: Option<Follow>,
    /// Whether the table of events for delivery is followed too, whatever `follow` says.
    pub outbox: bool,
    /// What its tables are called.
    pub labels: Labels,
}

impl fmt::Debug for FeedEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { connector, follow, outbox, .. } = self;
        f.debug_struct("FeedEntry")
            .field("store", connector.name())
            .field("follow", follow)
            .field("outbox", outbox)
            .finish_non_exhaustive()
    }
}

/// A table has no events. Diagnosis: 55000, or 57P03 where it only has none yet, the reason as detail, and what mends it as hint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the changes of the table are not followed")]
pub struct NotFollowed {
    /// Why, as a clause.
    pub reason: String,
    /// What to do about it.
    pub mend: Option<String>,
    /// Whether the feed begins, or is tried again, by itself: nothing is missing, and whoever comes back later can go on.
    pub is_passing: bool,
}

impl Diagnose for NotFollowed {
    fn sqlstate(&self) -> &str {
        if self.is_passing { sqlstate::CANNOT_CONNECT_NOW } else { sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE }
    }

    fn detail(&self) -> Option<String> {
        Some(format!("The reason is: {}.", self.reason))
    }

    fn hint(&self) -> Option<String> {
        self.mend.clone()
    }
}

/// All feeds.
pub struct Feeds {
    directory: PathBuf,
    settings: ChangeSettings,
    instance: InstanceId,
    hook: Hook,
    pacing: Pacing,
    board: Board,
    tally: Tally,
    followings: Mutex<BTreeMap<StoreName, Arc<Following>>>,
    /// Raised when there are stores that nobody follows yet.
    grown: watch::Sender<u64>,
    stop: CancellationToken,
    is_running: watch::Sender<bool>,
}

impl fmt::Debug for Feeds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stores: Vec<StoreName> = self.followings().keys().cloned().collect();
        f.debug_struct("Feeds").field("directory", &self.directory).field("stores", &stores).finish_non_exhaustive()
    }
}

impl Feeds {
    /// All feeds over the logs in a directory, which is made where it is not there. Nothing is followed yet. It waits for the disk.
    ///
    /// # Errors
    /// The directory cannot be made.
    pub fn open(directory: &Path, settings: ChangeSettings, instance: InstanceId, hook: Hook) -> Result<Arc<Self>, LogError> {
        log::make_directory(directory)?;
        Ok(Self::new(directory, settings, instance, hook, Pacing::default()))
    }

    /// Feeds that follow nothing and write nothing.
    pub fn none() -> Arc<Self> {
        let hook: Hook = Arc::new(|_moment| async {}.boxed());
        Self::new(Path::new(""), ChangeSettings::default(), InstanceId(0), hook, Pacing::default())
    }

    pub(super) fn new(directory: &Path, settings: ChangeSettings, instance: InstanceId, hook: Hook, pacing: Pacing) -> Arc<Self> {
        Arc::new(Self {
            directory: directory.to_owned(),
            settings,
            instance,
            hook,
            pacing,
            board: Board::default(),
            tally: Tally::default(),
            followings: Mutex::new(BTreeMap::new()),
            grown: watch::channel(0).0,
            stop: CancellationToken::new(),
            is_running: watch::channel(false).0,
        })
    }

    fn followings(&self) -> MutexGuard<'_, BTreeMap<StoreName, Arc<Following>>> {
        // What a panic left behind is still a list of whole entries.
        self.followings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn following(&self, store: &StoreName) -> Option<Arc<Following>> {
        self.followings().get(store).cloned()
    }

    /// The same; made where the store is new.
    fn following_or_new(&self, store: &StoreName) -> Arc<Following> {
        Arc::clone(self.followings().entry(store.clone()).or_insert_with(|| Following::new(store)))
    }

    /// Follows the stores until `stop`, or until [`Feeds::stop`]. `refresh` has a store discovered again.
    pub fn run(
        self: &Arc<Self>,
        stores: Vec<FeedEntry>,
        refresh: mpsc::Sender<StoreName>,
        stop: CancellationToken,
    ) -> impl Future<Output = ()> + Send + 'static + use<> {
        self.replace(stores);
        self.is_running.send_replace(true);
        let feeds = Arc::clone(self);
        async move { feeds.follow_all(refresh, stop).await }
    }

    async fn follow_all(self: Arc<Self>, refresh: mpsc::Sender<StoreName>, stop: CancellationToken) {
        // Also when this is dropped half-way.
        let _running = Running(&self.is_running);
        let (mut tasks, mut grown) = (TaskSet::new(), self.grown.subscribe());
        let mut followed: Vec<StoreName> = Vec::new();
        loop {
            grown.borrow_and_update();
            let all: Vec<Arc<Following>> = self.followings().values().cloned().collect();
            for following in all.iter().filter(|following| following.is_wanted()) {
                if !followed.contains(&following.store) {
                    followed.push(following.store.clone());
                    let driver = Driver::new(following, self.with(&refresh), tasks.token());
                    tasks.spawn("feed", drive(driver, Arc::clone(following), self.with(&refresh), tasks.token()));
                }
            }
            // Cancel-safe, all of them.
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.stop.cancelled() => break,
                changed = grown.changed() => if changed.is_err() { break },
            }
        }
        let aborted = tasks.stop(GRACE).await;
        if aborted > 0 {
            tracing::warn!(aborted, "feeds were stopped where they were: what was not on disk is read again by the next start");
        }
    }

    fn with(&self, refresh: &mpsc::Sender<StoreName>) -> With {
        With {
            directory: self.directory.clone(),
            settings: self.settings.clone(),
            instance: self.instance,
            hook: Arc::clone(&self.hook),
            pacing: self.pacing,
            refresh: refresh.clone(),
        }
    }

    /// Follows these stores from now on, over these connectors: each feed is closed and begun again where it was. Their logs and whoever
    /// reads them stay. A store that is not among them any more is asked to keep nothing for us, over the connector that it had.
    pub fn replace(&self, stores: Vec<FeedEntry>) {
        let mut entries: BTreeMap<StoreName, FeedEntry> =
            stores.into_iter().map(|entry| (entry.connector.name().clone(), entry)).collect();
        let gone: Vec<Arc<Following>> = {
            let followings = self.followings();
            followings.values().filter(|following| !entries.contains_key(&following.store)).cloned().collect()
        };
        for following in gone {
            following.want(None);
        }
        while let Some((store, entry)) = entries.pop_first() {
            self.following_or_new(&store).want(Some(entry));
        }
        self.grown.send_modify(|count| *count += 1);
    }

    /// The tables of a store as they were discovered just now.
    pub fn described(&self, store: &StoreName, tables: &[Arc<Table>]) {
        self.following_or_new(store).described.send_replace(Some(tables.into()));
    }

    /// Tables of a store may be others from now on, though they look as before: its feed follows what is there behind
    /// [`Feeds::look_again`].
    pub fn doubt(&self, store: &StoreName) {
        if let Some(following) = self.following(store) {
            following.doubted.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Has the feed of a store look at its tables.
    pub fn look_again(&self, store: &StoreName) {
        if let Some(following) = self.following(store) {
            following.described.send_modify(|_as_they_are| ());
        }
    }

    /// Whether the feed of a store follows what was there at the last [`Feeds::doubt`].
    pub fn has_looked(&self, store: &StoreName) -> bool {
        let is_done =
            |following: &Arc<Following>| following.looked.load(Ordering::Acquire) >= following.doubted.load(Ordering::Acquire);
        self.following(store).as_ref().is_none_or(is_done)
    }

    /// The events of a store that is or was followed.
    pub fn hub(&self, store: &StoreName) -> Option<Arc<Hub>> {
        self.following(store)?.hub.get().cloned()
    }

    /// The events of all of them, in name order.
    pub fn hubs(&self) -> Vec<(StoreName, Arc<Hub>)> {
        let followings = self.followings();
        followings.iter().filter_map(|(store, following)| Some((store.clone(), following.hub.get()?.clone()))).collect()
    }

    /// Whether any store is followed, or was.
    pub fn are_any(&self) -> bool {
        !self.followings().is_empty()
    }

    /// How every feed stands, in name order.
    pub fn shown(&self) -> Vec<Shown> {
        let all: Vec<Arc<Following>> = self.followings().values().cloned().collect();
        let present = all.iter().filter_map(|following| Some((following, following.entry()?)));
        let shown = present.map(|(following, entry)| Shown {
            retained_max_bytes: entry.follow.as_ref().map(|follow| follow.max_retained),
            log_bytes: following.hub.get().map(|hub| hub.log().bytes()),
            ring_bytes: following.hub.get().map(|hub| hub.ring_bytes()),
            queue_bytes: following.queue().map(|queue| u64::try_from(queue.bytes()).unwrap_or(u64::MAX)),
            sync_lag: following.hub.get().map(|hub| Duration::from_millis(metrics::sync_lag_ms(hub))),
            outbox_waiting: self.tally.waiting(&following.store),
            ..following.status.shown(Some(&entry.labels))
        });
        shown.collect()
    }

    /// The bounds.
    pub fn settings(&self) -> &ChangeSettings {
        &self.settings
    }

    /// Whose the objects in stores are.
    pub fn instance(&self) -> InstanceId {
        self.instance
    }

    /// Numbers of feeds, of their logs and of who follows.
    pub fn families(&self) -> Vec<Family> {
        let all: Vec<Arc<Following>> = self.followings().values().cloned().collect();
        metrics::families(&all, &self.shown(), &self.tally)
    }

    /// Where sessions tell one another.
    pub fn board(&self) -> &Board {
        &self.board
    }

    /// What is counted by those who follow.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// The columns of a table's events.
    ///
    /// # Errors
    /// It has none.
    pub fn subscribed_from(&self, store: &StoreName, table: &TableId) -> Result<Arc<Shape>, NotFollowed> {
        let off = || NotFollowed {
            reason: format!("the file of store \"{store}\" asks for no feed of changes"),
            mend: Some(format!("Set changes.mode in stores/{store}.toml, and look at tributary check.")),
            is_passing: false,
        };
        let following = self.following(store).ok_or_else(off)?;
        if let Some(shape) = following.shape(table) {
            return Ok(shape);
        }
        let entry = following.entry().ok_or_else(off)?;
        let follow = entry.follow.as_ref().ok_or_else(off)?;
        if let Some(told) = following.status.table(table).filter(|told| told.state == TableState::StoreOnly) {
            let reason = told.reason.unwrap_or_else(|| "it is read in its store only".to_owned());
            return Err(NotFollowed { reason, mend: told.mend, is_passing: false });
        }
        if !follow.wants(table) {
            return Err(NotFollowed {
                reason: format!("changes.tables in the file of store \"{store}\" leaves it out"),
                mend: Some(format!("Name it there: changes.tables and changes.except in stores/{store}.toml.")),
                is_passing: false,
            });
        }
        let (reason, mend) = following.status.reason();
        let reason = reason.unwrap_or_else(|| format!("the feed of store \"{store}\" has not begun to follow it"));
        // Only a feed that was refused waits for somebody.
        let is_passing = following.status.state() != State::Refused;
        let mend = mend.or_else(|| is_passing.then(|| "Try again in a moment.".to_owned()));
        Err(NotFollowed { reason, mend, is_passing })
    }

    /// Opens one state of a table and, before it, a place among the events from which none is missing in it: some behind that place are
    /// in it already, which [`Capture::contains`] tells.
    ///
    /// # Errors
    /// What the store answered, or that it is not followed.
    pub async fn fill(&self, store: &StoreName, table: &Arc<Table>) -> Result<(Fill, Cursor, Arc<dyn Capture>), StoreError> {
        let none = || StoreError::Unsupported { store: store.to_string(), feature: "feeds of changes" };
        let following = self.following(store).ok_or_else(none)?;
        let capture = following.entry().and_then(|entry| entry.connector.capture()).ok_or_else(none)?;
        let hub = following.hub.get().cloned().ok_or_else(none)?;
        let began = Instant::now();
        let fill = capture.fill(table).await?;
        let look_back = fill.look_back.max(LOOK_BACK).saturating_add(began.elapsed());
        if fill.look_back > LOOK_BACK && !hub.reaches(look_back) {
            // What was told before all of that may have come to be seen just now.
            let message = format!(
                "the log of changes of store \"{store}\" does not reach back {} s, in which transactions waited for other servers",
                look_back.as_secs()
            );
            fill.branch.rollback().await.ok();
            return Err(StoreError::remote(store.as_str(), sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE, message));
        }
        Ok((fill, hub.since(look_back), capture))
    }

    /// What is followed of a store; `None` where it has no feed.
    pub fn follow(&self, store: &StoreName) -> Option<Follow> {
        self.following(store)?.entry()?.follow
    }

    /// Begins the feed of a store again, whatever kept it from that.
    ///
    /// # Errors
    /// It has none, or a fault has ended it for good.
    pub fn restart(&self, store: &StoreName) -> Result<(), NotFollowed> {
        let following = self.following(store).filter(|following| following.entry().is_some_and(|entry| entry.follow.is_some()));
        let off = || NotFollowed {
            reason: format!("the file of store \"{store}\" asks for no feed of changes"),
            mend: Some(format!("Set changes.mode in stores/{store}.toml.")),
            is_passing: false,
        };
        let following = following.ok_or_else(off)?;
        if following.has_died.load(Ordering::Acquire) {
            return Err(NotFollowed { reason: FAULT.to_owned(), mend: Some(DIED.to_owned()), is_passing: false });
        }
        following.wanted.send_modify(|wanted| wanted.turn += 1);
        Ok(())
    }

    /// One more of "listen" or "subscribe"; `None`: there are as many subscriptions as there may be.
    pub fn subscriptions(&self, kind: &'static str) -> Option<Present> {
        self.tally.enter(kind, self.settings.subscriptions)
    }

    /// Whether the feed of a store has begun over this connector, so that it has told what became of the history before.
    pub fn runs_over(&self, store: &StoreName, connector: &Arc<dyn Connector>) -> bool {
        self.following(store).is_some_and(|following| {
            let wanted = following.wanted.borrow();
            let is_same = |entry: &FeedEntry| Arc::ptr_eq(&entry.connector, connector);
            following.begun.load(Ordering::Acquire) == wanted.turn && wanted.entry.as_ref().is_some_and(is_same)
        })
    }

    /// How a feed stands.
    pub fn state(&self, store: &StoreName) -> State {
        self.following(store).map_or(State::Off, |following| following.status.state())
    }

    /// Ends all feeds, and waits until what they gave is in their logs.
    pub async fn stop(&self) {
        self.stop.cancel();
        let mut is_running = self.is_running.subscribe();
        // It is told also when it was dropped.
        is_running.wait_for(|is_running| !is_running).await.ok();
    }
}

/// Follows a store. A fault in a feed is outlived by its driver. Where one of the driver itself ends it, that is told: nobody would notice
/// that nothing comes any more. Nobody looks at what the store keeps then either, so that it is to let go of its log.
async fn drive(driver: Driver, following: Arc<Following>, with: With, stop: CancellationToken) {
    let task = OwnedTask::spawn(Box::pin(driver.run()).in_current_span());
    if task.join().await.is_some() {
        return;
    }
    following.has_died.store(true, Ordering::Release);
    following.status.set(State::Refused, Some(FAULT), Some(DIED));
    let (mut backoff, mut tells) = (Backoff::new(with.pacing.backoff.0, with.pacing.backoff.1), true);
    while !stop.is_cancelled() && !let_go(&following, &with, tells).await {
        tells = false;
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(backoff.next_wait()) => {}
        }
    }
}

/// Says that nothing runs any more when it is dropped.
struct Running<'a>(&'a watch::Sender<bool>);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.send_replace(false);
    }
}
