//! The feed of one store as everybody else sees it, and what is asked of it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use crate::changes::feeds::FeedEntry;
use crate::changes::hub::Hub;
use crate::changes::log::{Pace, Queue};
use crate::changes::status::Status;
use crate::changes::{ChangeSettings, Hook};
use crate::stores::capture::InstanceId;
use crate::stores::change::Shape;
use crate::stores::schema::{Table, TableId};
use crate::stores::{Connector, StoreName};

/// How fast things go; shorter in tests.
#[derive(Debug, Clone, Copy)]
pub(in crate::changes) struct Pacing {
    pub(in crate::changes) log: Pace,
    /// The first wait before a feed is begun again, and the longest.
    pub(in crate::changes) backoff: (Duration, Duration),
    /// How often it is asked what the store keeps.
    pub(in crate::changes) watch: Duration,
    /// How often it is looked whether tables can still be followed.
    pub(in crate::changes) survey: Duration,
    /// At most so often progress without changes is written down.
    pub(in crate::changes) mark: Duration,
    /// When a feed that was refused is tried again.
    pub(in crate::changes) refused: Duration,
    /// A feed that runs for so long has given again what was told before, and not written.
    pub(in crate::changes) settle: Duration,
    /// A feed that has given nothing for so long, though there is more and more, is begun again.
    pub(in crate::changes) stuck: Duration,
    /// Most time for a request to a store.
    pub(in crate::changes) patience: Duration,
    /// Most time for the beginning of a feed, which may wait for transactions of others.
    pub(in crate::changes) beginning: Duration,
}

impl Default for Pacing {
    fn default() -> Self {
        Self {
            log: Pace::default(),
            backoff: (Duration::from_millis(200), Duration::from_secs(30)),
            watch: Duration::from_secs(5),
            survey: Duration::from_secs(60),
            mark: Duration::from_secs(10),
            refused: Duration::from_secs(60),
            settle: Duration::from_secs(10),
            stuck: Duration::from_secs(30),
            patience: Duration::from_secs(30),
            beginning: Duration::from_secs(120),
        }
    }
}

/// What all feeds have in common.
#[derive(Clone)]
pub(in crate::changes) struct With {
    /// Where the logs are.
    pub(in crate::changes) directory: PathBuf,
    pub(in crate::changes) settings: ChangeSettings,
    pub(in crate::changes) instance: InstanceId,
    pub(in crate::changes) hook: Hook,
    pub(in crate::changes) pacing: Pacing,
    /// Has a store discovered again.
    pub(in crate::changes) refresh: mpsc::Sender<StoreName>,
}

/// What is asked of a feed.
#[derive(Debug, Clone, Default)]
pub(in crate::changes) struct Wanted {
    /// The store as it is now; `None` where it is not there any more.
    pub(in crate::changes) entry: Option<FeedEntry>,
    /// The connector of a store that is not there any more, until it was asked to keep nothing for us.
    pub(in crate::changes) leaving: Option<Arc<dyn Connector>>,
    /// Raised with every reload, and when somebody has it begun again.
    pub(in crate::changes) turn: u64,
}

/// Tables as they were discovered last; `None` before that.
pub(in crate::changes) type Described = Option<Arc<[Arc<Table>]>>;

/// The feed of one store, as everybody else sees it.
#[derive(Debug)]
pub(in crate::changes) struct Following {
    pub(in crate::changes) store: StoreName,
    pub(in crate::changes) status: Status,
    pub(in crate::changes) wanted: watch::Sender<Wanted>,
    pub(in crate::changes) described: watch::Sender<Described>,
    pub(in crate::changes) hub: OnceLock<Arc<Hub>>,
    /// How much waits for the log, and how far it is.
    pub(in crate::changes) queue: Mutex<Option<Arc<Queue>>>,
    /// The [`Wanted::turn`] over whose connector a feed has begun; `u64::MAX` before that.
    pub(in crate::changes) begun: AtomicU64,
    /// How often it was said that tables are others, though they may look as before, and up to which of that its feed has looked.
    pub(in crate::changes) doubted: AtomicU64,
    pub(in crate::changes) looked: AtomicU64,
    /// Whether a fault has ended its task, behind which only another process begins.
    pub(in crate::changes) has_died: AtomicBool,
    /// The columns of the tables that are followed now.
    shapes: Mutex<BTreeMap<TableId, Arc<Shape>>>,
}

impl Following {
    pub(in crate::changes) fn new(store: &StoreName) -> Arc<Self> {
        Arc::new(Self {
            store: store.clone(),
            status: Status::new(store),
            wanted: watch::channel(Wanted::default()).0,
            described: watch::channel(None).0,
            hub: OnceLock::new(),
            queue: Mutex::new(None),
            begun: AtomicU64::new(u64::MAX),
            doubted: AtomicU64::new(0),
            looked: AtomicU64::new(0),
            has_died: AtomicBool::new(false),
            shapes: Mutex::new(BTreeMap::new()),
        })
    }

    /// Something else is asked of it from now on.
    pub(in crate::changes) fn want(&self, entry: Option<FeedEntry>) {
        self.wanted.send_modify(|wanted| {
            wanted.turn += 1;
            let before = std::mem::replace(&mut wanted.entry, entry);
            if wanted.entry.is_some() {
                wanted.leaving = None;
            } else if let Some(before) = before {
                wanted.leaving = Some(before.connector);
            }
        });
    }

    /// A store that is not there any more has been asked to keep nothing, or is not asked again.
    pub(super) fn has_left(&self) {
        self.wanted.send_if_modified(|wanted| {
            wanted.leaving = None;
            false
        });
    }

    /// Whether there is something to be done about the store.
    pub(in crate::changes) fn is_wanted(&self) -> bool {
        let wanted = self.wanted.borrow();
        wanted.entry.is_some() || wanted.leaving.is_some()
    }

    pub(super) fn shapes(&self) -> MutexGuard<'_, BTreeMap<TableId, Arc<Shape>>> {
        // What a panic left behind is still a list of whole shapes.
        self.shapes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The columns of a table that is followed.
    pub(in crate::changes) fn shape(&self, table: &TableId) -> Option<Arc<Shape>> {
        self.shapes().get(table).cloned()
    }

    pub(in crate::changes) fn entry(&self) -> Option<FeedEntry> {
        self.wanted.borrow().entry.clone()
    }

    pub(in crate::changes) fn queue(&self) -> Option<Arc<Queue>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_queue(&self, queue: Option<Arc<Queue>>) {
        *self.queue.lock().unwrap_or_else(PoisonError::into_inner) = queue;
    }
}
