//! The log of changes of one store: segments of frames in the state directory, written by one task and read by cursors.
//!
//! ```text
//! supervise → Queue (bounded by bytes) → writer (one task) → segment: frames of bodies
//! hub::Cursor → Log::read → reader (a frame at a time, on a blocking thread)
//! ```
//!
//! **Invariants:** a frame is read only when all of it was written; what was written and not synced is kept in memory and written again
//! into another file after a failure, and a file that failed is never synced again; a transaction that came in pieces is there when its
//! last piece is.

mod body;
mod frame;
mod reader;
mod segment;
#[cfg(test)]
mod tests;
mod writer;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};

use super::hub::Applied;
use super::{ChangeSettings, Hook};
use crate::error::{Diagnose, sqlstate};
use crate::stores::StoreName;
use crate::stores::change::{Group, Resume};
use crate::stores::position::Position;
use crate::stores::schema::TableId;
use reader::SegmentReader;
use segment::{Files, Make};

pub(crate) use body::Standing;
pub(crate) use reader::{Found, Missing};
pub(crate) use segment::now_ms;
pub(crate) use writer::Writer;

/// Most bytes of groups that wait to be written, or to be on disk.
pub(crate) const QUEUE_BYTES_MAX: usize = 64 << 20;
/// What one permit of the queue stands for.
const PERMIT_BYTES: usize = 1 << 10;
/// Most frames of one log that are read at a time.
const READS_MAX: usize = 8;

/// The log of changes cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The operating system refused.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried: `write`.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The reason.
        #[source]
        reason: io::Error,
    },
    /// A file was written by a later version of the program.
    #[error("{} has a format of a later version of tributary", path.display())]
    Format {
        /// The file.
        path: PathBuf,
    },
}

impl Diagnose for LogError {
    fn sqlstate(&self) -> &str {
        match self {
            Self::Io { .. } => sqlstate::IO_ERROR,
            Self::Format { .. } => sqlstate::SYSTEM_ERROR,
        }
    }

    fn detail(&self) -> Option<String> {
        match self {
            Self::Io { reason, .. } => Some(format!("The reason is: {reason}.")),
            Self::Format { .. } => None,
        }
    }

    fn hint(&self) -> Option<String> {
        matches!(self, Self::Format { .. })
            .then(|| "Move the directory of the log away, and it begins anew behind a gap.".to_owned())
    }
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> LogError + use<> {
    let path = path.to_owned();
    move |reason| LogError::Io { action, path, reason }
}

/// Makes the directory of all logs, private.
pub(super) fn make_directory(directory: &Path) -> Result<(), LogError> {
    segment::make_directory(directory)
}

/// How much of a transaction a group has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// Whole ones.
    Whole,
    /// A piece of one that goes on.
    Piece,
    /// The last piece of one.
    LastPiece,
}

/// What is written.
#[derive(Debug, Clone)]
pub(crate) enum Item {
    /// Transactions.
    Group {
        /// Them.
        group: Arc<Group>,
        /// The number of the first.
        first: u64,
        /// Whether they are whole.
        part: Part,
        /// Whether the group's resume is that of its last transaction, so that the store can be told of both.
        acknowledges: bool,
    },
    /// How far the store was read without anything of ours.
    Mark {
        /// Where that is.
        position: Position,
        /// How to go on from there.
        resume: Resume,
    },
    /// What is followed from here on, and whether events for delivery that were there before have been told of.
    Followed(BTreeMap<TableId, u64>, bool),
    /// The pieces of a transaction that will not be ended are dropped.
    Abort,
}

/// How far the log has come.
#[derive(Debug, Clone, Default)]
pub(crate) struct Progress {
    /// The last transaction that can be read.
    pub(crate) written: u64,
    /// What the store can be told of: it is durable, or never will be more.
    pub(crate) acknowledged: Option<(Position, Resume)>,
    /// Why nothing can be written.
    pub(crate) failing: Option<String>,
    /// How often the pieces of a transaction were lost, which must come again from its beginning.
    pub(crate) aborted: u64,
    /// Since when something is written and not on disk: milliseconds since 1970-01-01 UTC.
    pub(crate) unsynced_ms: Option<u64>,
}

/// How fast things go; shorter in tests.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// At most so often the log is synced.
    pub(crate) sync: Duration,
    /// So long it is waited before a log that failed is tried again.
    pub(crate) retry: Duration,
    /// So many bytes are in a segment, when the log may have many times as much.
    pub(crate) segment: u64,
    /// How often it is looked for files that need not be kept.
    pub(crate) retain: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        let (sync, retry, retain) = (Duration::from_millis(20), Duration::from_secs(5), Duration::from_secs(10));
        Self { sync, retry, segment: 16 << 20, retain }
    }
}

/// Room in the queue.
#[derive(Debug)]
pub(crate) struct Room(OwnedSemaphorePermit);

#[derive(Debug)]
struct Queued {
    item: Item,
    bytes: usize,
    /// Given back when it is durable.
    _room: Room,
}

/// The way to the writer. The writer ends when it is dropped, once all is on disk.
#[derive(Debug)]
pub(crate) struct Queue {
    sender: mpsc::Sender<Queued>,
    room: Arc<Semaphore>,
    progress: watch::Receiver<Progress>,
}

fn permits(bytes: usize) -> u32 {
    u32::try_from(bytes.clamp(1, QUEUE_BYTES_MAX).div_ceil(PERMIT_BYTES)).unwrap_or(u32::MAX)
}

impl Queue {
    /// Waits for room for so many bytes. `None`: the writer has ended. Cancel-safe.
    pub(crate) async fn reserve(&self, bytes: usize) -> Option<Room> {
        Arc::clone(&self.room).acquire_many_owned(permits(bytes)).await.ok().map(Room)
    }

    /// Room for so many bytes, where there is some now.
    pub(crate) fn try_reserve(&self, bytes: usize) -> Option<Room> {
        Arc::clone(&self.room).try_acquire_many_owned(permits(bytes)).ok().map(Room)
    }

    /// Gives something to the writer. `false`: it has ended.
    pub(crate) fn put(&self, item: Item, room: Room) -> bool {
        let bytes = room.0.num_permits() * PERMIT_BYTES;
        // There is always a place: each item has a permit, and there are as many places as permits.
        self.sender.try_send(Queued { item, bytes, _room: room }).is_ok()
    }

    /// How far the log has come.
    pub(crate) fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.clone()
    }

    /// How much waits, about.
    pub(crate) fn bytes(&self) -> usize {
        QUEUE_BYTES_MAX.saturating_sub(self.room.available_permits() * PERMIT_BYTES)
    }
}

/// The log as it is read.
#[derive(Debug)]
pub(crate) struct Log {
    files: Files,
    progress: watch::Receiver<Progress>,
    reads: Arc<Semaphore>,
    /// From which transaction on somebody needs it; `u64::MAX`: nobody does.
    held: Arc<AtomicU64>,
}

/// A log with what is known at its end, and what writes it.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) log: Arc<Log>,
    pub(crate) queue: Queue,
    pub(crate) writer: Writer,
    pub(crate) standing: Standing,
}

/// Opens the log of a store. It waits for the disk.
///
/// # Errors
/// [`LogError`]
pub(crate) fn open(
    directory: &Path,
    store: &StoreName,
    settings: &ChangeSettings,
    (pace, hook): (Pace, Hook),
    applied: Arc<watch::Sender<Applied>>,
) -> Result<Opened, LogError> {
    open_with(directory, store, settings, (pace, hook, segment::make_file()), applied)
}

fn open_with(
    directory: &Path,
    store: &StoreName,
    settings: &ChangeSettings,
    (pace, hook, make): (Pace, Hook, Make),
    applied: Arc<watch::Sender<Applied>>,
) -> Result<Opened, LogError> {
    let (files, standing) = Files::open(directory, store, settings.is_durable, make)?;
    let held = Arc::new(AtomicU64::new(u64::MAX));
    let progress = Progress { written: standing.seq, ..Progress::default() };
    let (told, progress) = watch::channel(progress);
    let room = Arc::new(Semaphore::new(QUEUE_BYTES_MAX / PERMIT_BYTES));
    let (sender, queue) = mpsc::channel(QUEUE_BYTES_MAX / PERMIT_BYTES);
    let kept = writer::Kept { settings: settings.clone(), pace, held: Arc::clone(&held) };
    let writer = Writer::open(files.clone(), standing.clone(), kept, (queue, told), (hook, applied));
    let writer = writer.map_err(failed("write", directory))?;
    let log = Arc::new(Log { files, progress: progress.clone(), reads: Arc::new(Semaphore::new(READS_MAX)), held });
    Ok(Opened { log, queue: Queue { sender, room, progress }, writer, standing })
}

impl Log {
    /// Which log it is.
    pub(crate) fn generation(&self) -> u32 {
        self.files.generation
    }

    /// The first transaction that is kept, or would be.
    pub(crate) fn first(&self) -> u64 {
        self.files.first().unwrap_or(1)
    }

    /// A transaction from which on everything is kept that was received so long ago or later, or else the first one.
    pub(crate) fn since(&self, look_back: Duration) -> u64 {
        self.files.begun_before(look_back).unwrap_or(1)
    }

    /// Whether everything is kept that was received so long ago or later.
    pub(crate) fn reaches(&self, look_back: Duration) -> bool {
        self.files.reach(look_back)
    }

    /// How many bytes it has.
    pub(crate) fn bytes(&self) -> u64 {
        self.files.bytes()
    }

    /// Keeps what is from a transaction on, up to twice the bytes of the log; `None`: nothing in particular.
    pub(crate) fn hold(&self, seq: Option<u64>) {
        self.held.store(seq.unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// How far the log has come.
    pub(crate) fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.clone()
    }

    /// Reads the group with a transaction that can be read, or the piece of it with an entry. `reader` is one that was used before it.
    /// Cancel-safe, but for the reader, which is lost then.
    ///
    /// # Errors
    /// [`Missing`]
    pub(crate) async fn read(
        &self,
        reader: Option<SegmentReader>,
        seq: u64,
        ordinal: u32,
    ) -> Result<(SegmentReader, Found), Missing> {
        reader::read(&self.files, &self.reads, reader, (seq, ordinal)).await
    }
}

#[cfg(test)]
impl Log {
    /// Removes all files but the one that is written.
    pub(crate) fn retain_nothing(&self) {
        self.files.retain(segment::Keep { bytes: 0, age: Duration::from_secs(3_600), held: None });
    }
}

/// A place in a file of the log from which it is read on.
pub(crate) type Reader = SegmentReader;
