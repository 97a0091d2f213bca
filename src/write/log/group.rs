//! One thread that writes for all, a group at a time: while one group is made sure of on disk, the next gathers.
//!
//! ```text
//! append → a bounded queue → the thread: what is queued → one frame, one sync → an answer to each
//! ```
//!
//! A record that is not forced is answered when it is queued, and is written with the next that is, or with many of its kind. It says
//! nothing that could not be found out again.
//!
//! **Invariants:** a record that was answered with success is on disk, and so is what was appended before it; after a failure that leaves
//! open what is on disk nothing is written any more; what is open is bounded, and so is every group.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot};

use super::file::{self, Failure, LogError, LogFile, Opened};
use super::record::{self, RECORD_BYTES_MAX, Unfinished};
use super::{Journal, JournalError, Left, Record};
use crate::error::{Diagnosis, sqlstate};
use crate::stores::commit::Numbers;
use crate::task::OwnedTask;
use crate::telemetry::metrics::Count;

/// Records that may wait for the thread; more make their senders wait.
const QUEUE: usize = 1024;
/// A group is written when it has so many bytes. With what waits and one more record it fits into a frame.
const GROUP_BYTES: usize = 1 << 20;
/// Records that are not forced are written by themselves when there are so many, or so many bytes of them.
const WAITING_MAX: usize = 256;
/// As [`WAITING_MAX`].
const WAITING_BYTES_MAX: usize = 512 << 10;
/// Most transactions that have not ended.
pub(super) const OPEN_MAX: usize = 100_000;
/// Most bytes that they are in the log.
const OPEN_BYTES_MAX: usize = 256 << 20;
/// For how long new transactions are refused after the disk was found full; then one tries again.
const FULL_FOR: Duration = Duration::from_secs(1);

/// A record that cannot be taken because of its length.
pub(super) fn check_length(bytes: &[u8]) -> Result<(), JournalError> {
    if bytes.len() <= RECORD_BYTES_MAX {
        return Ok(());
    }
    let told =
        format!("the log of commits takes {} bytes of one transaction at most, and this one has {}", RECORD_BYTES_MAX, bytes.len());
    Err(JournalError::Refused(Diagnosis::new(sqlstate::PROGRAM_LIMIT_EXCEEDED, told)))
}

/// What a log answers that has too much in it.
pub(super) fn too_many(open: usize) -> Diagnosis {
    let told = format!("{open} commits over several stores have not ended, and no more are begun");
    Diagnosis::new(sqlstate::PROGRAM_LIMIT_EXCEEDED, told)
        .with_hint("Their stores are away, or wait for somebody's help: see tributary.in_doubt.")
}

/// Whether a transaction is too much beside those that are open.
pub(super) fn check_open(unfinished: &Unfinished, record: &Record) -> Result<(), Diagnosis> {
    let begins = matches!(record, Record::Begin { .. } | Record::Commit { .. } | Record::Saga { .. });
    let is_full = unfinished.len() >= OPEN_MAX || unfinished.bytes() >= OPEN_BYTES_MAX;
    if begins && is_full && !unfinished.has(record.gid()) { Err(too_many(unfinished.len())) } else { Ok(()) }
}

/// What is asked of whoever writes a log.
#[derive(Debug)]
pub(super) enum Message {
    Append {
        record: Record,
        bytes: Vec<u8>,
        /// Whoever waits for it to be kept for good.
        answer: Option<oneshot::Sender<Result<(), JournalError>>>,
    },
    /// Everything before it is written; nothing after it is.
    Close(oneshot::Sender<()>),
}

impl Message {
    /// Tells whoever waits that it was not written.
    pub(super) fn refuse(self) {
        if let Self::Append { answer: Some(answer), .. } = self {
            answer.send(Err(closed())).ok();
        }
    }
}

/// What others may know of the thread.
#[derive(Debug, Default)]
struct Shared {
    /// Nothing is written any more.
    is_broken: AtomicBool,
    /// When the disk was last found full.
    full: Mutex<Option<Instant>>,
    open: AtomicUsize,
    bytes: AtomicU64,
    syncs: Count,
}

impl Shared {
    fn broken() -> Diagnosis {
        Diagnosis::new(sqlstate::IO_ERROR, "the log of commits cannot be written to any more")
            .with_detail("A write to it has failed, and it is not known what is on disk. Commits of single stores go on.")
            .with_hint("See the server's log for the reason. The next start reads what is there.")
    }

    fn full(reason: &str) -> Diagnosis {
        Diagnosis::new(sqlstate::DISK_FULL, "there is no space for the log of commits")
            .with_detail(format!("The reason is: {reason}."))
    }

    fn found_full(&self, is_full: bool) {
        *self.full.lock().unwrap_or_else(PoisonError::into_inner) = is_full.then(Instant::now);
    }

    fn is_full(&self) -> bool {
        self.full.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|found| found.elapsed() < FULL_FOR)
    }
}

/// A log in files of a directory, which this process holds alone.
#[derive(Debug)]
pub struct FileLog {
    numbers: Arc<Numbers>,
    left: Vec<Left>,
    queue: mpsc::Sender<Message>,
    shared: Arc<Shared>,
    /// Ends when the queue does.
    _writer: OwnedTask<()>,
}

impl FileLog {
    /// Opens the log of the directory, or makes one. Waits for the disk: call it from a blocking task, inside the runtime.
    ///
    /// # Errors
    /// [`LogError`]
    pub fn open(directory: &Path) -> Result<Self, LogError> {
        Ok(Self::over(file::open(directory)?))
    }

    /// How many transactions have not ended in the log of a directory that nobody has opened.
    ///
    /// # Errors
    /// [`LogError`]
    pub fn count_open(directory: &Path) -> Result<usize, LogError> {
        file::count_open(directory)
    }

    fn over(Opened { file, unfinished }: Opened) -> Self {
        let header = file.header();
        let (queue, messages) = mpsc::channel(QUEUE);
        let shared = Arc::new(Shared::default());
        shared.bytes.store(file.bytes(), Ordering::Relaxed);
        shared.open.store(unfinished.len(), Ordering::Relaxed);
        let left = unfinished.left();
        let writer = Writer { file, unfinished, waiting: Vec::new(), shared: Arc::clone(&shared) };
        Self {
            numbers: Arc::new(Numbers::new(header.log, header.start)),
            left,
            queue,
            shared,
            _writer: OwnedTask::spawn_blocking(move || writer.run(messages)),
        }
    }

    /// How many bytes it has on disk.
    pub fn bytes(&self) -> u64 {
        self.shared.bytes.load(Ordering::Relaxed)
    }

    /// How often it has waited for the disk.
    pub fn syncs(&self) -> u64 {
        self.shared.syncs.get()
    }
}

pub(super) fn closed() -> JournalError {
    JournalError::Refused(Diagnosis::new(sqlstate::ADMIN_SHUTDOWN, "the server is stopping"))
}

#[async_trait]
impl Journal for FileLog {
    fn numbers(&self) -> Arc<Numbers> {
        Arc::clone(&self.numbers)
    }

    fn is_usable(&self) -> Result<(), Diagnosis> {
        if self.shared.is_broken.load(Ordering::Acquire) {
            return Err(Shared::broken());
        }
        if self.shared.is_full() {
            return Err(Shared::full("the disk was full a moment ago"));
        }
        let open = self.shared.open.load(Ordering::Relaxed);
        if open >= OPEN_MAX { Err(too_many(open)) } else { Ok(()) }
    }

    async fn append(&self, record: Record, force: bool) -> Result<(), JournalError> {
        let bytes = record::to_bytes(&record);
        check_length(&bytes)?;
        if self.shared.is_broken.load(Ordering::Acquire) {
            return Err(JournalError::Refused(Shared::broken()));
        }
        if !force {
            let message = Message::Append { record, bytes, answer: None };
            return self.queue.send(message).await.map_err(|_closed| closed());
        }
        let (answer, answered) = oneshot::channel();
        let message = Message::Append { record, bytes, answer: Some(answer) };
        self.queue.send(message).await.map_err(|_closed| closed())?;
        // A thread that dies may have written it.
        answered.await.unwrap_or_else(|_died| Err(JournalError::Unknown(Shared::broken())))
    }

    fn left(&self) -> Vec<Left> {
        self.left.clone()
    }

    async fn close(&self) {
        let (done, closed) = oneshot::channel();
        if self.queue.send(Message::Close(done)).await.is_ok() {
            // It has ended in any case when nobody answers.
            closed.await.ok();
        }
    }
}

/// A record that somebody waits for.
struct Asked {
    record: Record,
    answer: oneshot::Sender<Result<(), JournalError>>,
}

/// The thread.
#[derive(Debug)]
struct Writer {
    file: LogFile,
    unfinished: Unfinished,
    /// Records that ride along with the next.
    waiting: Vec<Vec<u8>>,
    shared: Arc<Shared>,
}

impl Writer {
    fn run(mut self, mut messages: mpsc::Receiver<Message>) {
        while let Some(first) = messages.blocking_recv() {
            let (mut next, mut asked, mut bytes) = (Some(first), Vec::new(), Vec::new());
            let mut size = 0;
            let mut close = None;
            while let Some(message) = next {
                match message {
                    Message::Append { record, bytes: more, answer } => {
                        size += more.len();
                        self.take(record, more, answer, (&mut asked, &mut bytes));
                    }
                    Message::Close(done) => {
                        close = Some(done);
                        break;
                    }
                }
                next = if size < GROUP_BYTES && asked.len() < QUEUE { messages.try_recv().ok() } else { None };
            }
            self.write(asked, bytes, close.is_some());
            if let Some(done) = close {
                // Nothing gets into the queue any more, and who is in it is told that it was not written.
                messages.close();
                while let Some(late) = messages.blocking_recv() {
                    late.refuse();
                }
                // Whoever asked may have given up.
                done.send(()).ok();
                return;
            }
        }
        self.write(Vec::new(), Vec::new(), true);
    }

    /// Puts a record to those that wait, or to those of the group.
    fn take(
        &mut self,
        record: Record,
        bytes: Vec<u8>,
        answer: Option<oneshot::Sender<Result<(), JournalError>>>,
        (asked, group): (&mut Vec<Asked>, &mut Vec<Vec<u8>>),
    ) {
        let Some(answer) = answer else {
            self.unfinished.apply(&record);
            self.waiting.push(bytes);
            return;
        };
        match check_open(&self.unfinished, &record) {
            Ok(()) => {
                group.push(bytes);
                asked.push(Asked { record, answer });
            }
            // Whoever asked may have given up, here and below.
            Err(told) => drop(answer.send(Err(JournalError::Refused(told)))),
        }
    }

    /// Writes the group with what waits, and answers. Without a group what waits is written when it is much, or at the end.
    fn write(&mut self, asked: Vec<Asked>, group: Vec<Vec<u8>>, is_end: bool) {
        let size: usize = self.waiting.iter().map(Vec::len).sum();
        let is_much = self.waiting.len() >= WAITING_MAX || size >= WAITING_BYTES_MAX;
        if group.is_empty() && !is_much && (!is_end || self.waiting.is_empty()) {
            self.tell();
            return;
        }
        if self.shared.is_broken.load(Ordering::Acquire) {
            self.waiting.clear();
            return answer(asked, &Err(JournalError::Refused(Shared::broken())));
        }
        let mut frame = std::mem::take(&mut self.waiting);
        let waited = frame.len();
        frame.extend(group);
        let outcome = self.append(&frame);
        match &outcome {
            Ok(()) => asked.iter().for_each(|asked| self.unfinished.apply(&asked.record)),
            // What waits says nothing that must be written: there is a bound to how much of it waits on.
            Err(_) => {
                frame.truncate(waited.min(WAITING_MAX - 1));
                let mut bytes = 0;
                frame.retain(|record| {
                    bytes += record.len();
                    bytes < WAITING_BYTES_MAX
                });
                self.waiting = frame;
            }
        }
        self.tell();
        answer(asked, &outcome);
        if outcome.is_ok() {
            self.turn_over();
        }
    }

    fn append(&mut self, frame: &[Vec<u8>]) -> Result<(), JournalError> {
        let failure = match self.file.append(frame) {
            Ok(()) => {
                self.shared.syncs.add(1);
                self.shared.found_full(self.file.is_short());
                return Ok(());
            }
            Err(failure) => failure,
        };
        match failure {
            Failure::Refused(error) => {
                tracing::error!(%error, "the log of commits has no space");
                self.shared.found_full(true);
                Err(JournalError::Refused(Shared::full(&error.to_string())))
            }
            Failure::Broken(error) => {
                self.end(&error);
                Err(JournalError::Refused(Shared::broken()))
            }
            Failure::Unknown(error) => {
                self.end(&error);
                Err(JournalError::Unknown(Shared::broken()))
            }
        }
    }

    /// Begins a new file where this one is long.
    fn turn_over(&mut self) {
        match self.file.turn_over(&self.unfinished) {
            Ok(()) => {}
            Err(Failure::Refused(error)) => tracing::warn!(%error, "the log of commits goes on in a file that is long"),
            Err(Failure::Broken(error) | Failure::Unknown(error)) => self.end(&error),
        }
        self.tell();
    }

    /// Nothing is written any more.
    fn end(&self, error: &std::io::Error) {
        self.shared.is_broken.store(true, Ordering::Release);
        tracing::error!(%error, "a write to the log of commits has failed: no commit over several stores is begun until a restart");
    }

    fn tell(&self) {
        self.shared.open.store(self.unfinished.len(), Ordering::Relaxed);
        self.shared.bytes.store(self.file.bytes(), Ordering::Relaxed);
    }
}

fn answer(asked: Vec<Asked>, outcome: &Result<(), JournalError>) {
    for Asked { answer, .. } in asked {
        answer.send(outcome.clone()).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::samples::gid;
    use super::super::{Fate, Named};
    use super::*;
    use crate::stores::StoreName;
    use crate::task::TaskSet;

    fn commit(number: u64) -> Record {
        let store = StoreName::new("shop");
        let id = gid(number).of_store(&store);
        Record::Commit { gid: gid(number), branches: vec![Named { store, id }] }
    }

    #[tokio::test]
    async fn what_was_forced_is_there_at_the_next_start_and_the_rest_rides_along() {
        let directory = tempfile::tempdir().unwrap();
        let log = FileLog::open(directory.path()).unwrap();
        let first = log.numbers().next();
        assert!(log.left().is_empty() && log.is_usable().is_ok());
        log.append(commit(1), true).await.unwrap();
        log.append(commit(2), true).await.unwrap();
        log.append(Record::Done { gid: gid(1) }, false).await.unwrap();
        assert_eq!(log.syncs(), 2, "the last one waits");
        log.append(commit(3), true).await.unwrap();
        assert_eq!(log.syncs(), 3);
        // The process is killed: this one was never written.
        log.append(Record::Done { gid: gid(2) }, false).await.unwrap();
        let again = FileLog::open(directory.path()).unwrap();
        let left: Vec<(u64, Fate)> = again.left().into_iter().map(|left| (left.gid.number, left.fate)).collect();
        assert_eq!(left, [(2, Fate::Commit), (3, Fate::Commit)]);
        assert_eq!(again.numbers().log(), first.log);
        assert_ne!(again.numbers().next().number, first.number);
        again.append(Record::Done { gid: gid(2) }, false).await.unwrap();
        again.close().await;
        let refused = again.append(commit(4), true).await.unwrap_err();
        assert!(matches!(refused, JournalError::Refused(told) if told.sqlstate == "57P01"));
        assert!(again.bytes() > 64);
        let again = FileLog::open(directory.path()).unwrap();
        assert_eq!(again.left().iter().map(|left| left.gid.number).collect::<Vec<_>>(), [3]);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn many_share_one_wait_for_the_disk() {
        let directory = tempfile::tempdir().unwrap();
        let log = Arc::new(FileLog::open(directory.path()).unwrap());
        let mut tasks = TaskSet::new();
        for task in 0..64_u64 {
            let log = Arc::clone(&log);
            tasks.spawn_bare(async move {
                for number in 0..50 {
                    let number = task * 1000 + number;
                    log.append(commit(number), true).await.unwrap();
                    if number % 2 == 0 {
                        log.append(Record::Done { gid: gid(number) }, false).await.unwrap();
                    }
                }
            });
        }
        assert_eq!(tasks.stop(Duration::from_secs(60)).await, 0);
        assert!(log.syncs() < 64 * 50, "{} waits for {} commits", log.syncs(), 64 * 50);
        log.close().await;
        let again = FileLog::open(directory.path()).unwrap();
        assert_eq!(again.left().len(), 64 * 25);
    }

    /// A file that can be told to fail.
    #[derive(Debug)]
    struct Failing {
        file: std::fs::File,
        fails: Arc<AtomicBool>,
        writes: Arc<AtomicUsize>,
    }

    impl file::Disk for Failing {
        fn write(&mut self, bytes: &[u8], at: u64) -> std::io::Result<()> {
            self.writes.fetch_add(1, Ordering::Relaxed);
            std::os::unix::fs::FileExt::write_all_at(&self.file, bytes, at)
        }

        fn sync(&mut self) -> std::io::Result<()> {
            if self.fails.load(Ordering::Relaxed) { Err(std::io::Error::other("no")) } else { self.file.sync_data() }
        }
    }

    #[tokio::test]
    async fn a_sync_that_fails_ends_the_log_and_the_next_start_reads_what_is_there() {
        let directory = tempfile::tempdir().unwrap();
        let (fails, writes) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let mut opened = file::open(directory.path()).unwrap();
        opened.file.replace_disk(|path| {
            let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
            Box::new(Failing { file, fails: Arc::clone(&fails), writes: Arc::clone(&writes) })
        });
        let log = FileLog::over(opened);
        log.append(commit(1), true).await.unwrap();
        fails.store(true, Ordering::Relaxed);
        let told = log.append(commit(2), true).await.unwrap_err();
        assert!(matches!(&told, JournalError::Unknown(told) if told.sqlstate == "58030"), "{told:?}");
        assert_eq!(log.is_usable().unwrap_err().sqlstate, "58030");
        // The disk would do it now; what is on it is not known all the same, and nothing is tried again.
        fails.store(false, Ordering::Relaxed);
        let before = writes.load(Ordering::Relaxed);
        for force in [true, false] {
            let told = log.append(commit(3), force).await.unwrap_err();
            assert!(matches!(&told, JournalError::Refused(told) if told.sqlstate == "58030"), "{told:?}");
        }
        log.close().await;
        assert_eq!(writes.load(Ordering::Relaxed), before);
        let again = FileLog::open(directory.path()).unwrap();
        assert_eq!(again.left().iter().map(|left| left.gid.number).collect::<Vec<_>>(), [1, 2]);
        assert!(again.is_usable().is_ok());
    }

    #[tokio::test]
    async fn what_is_too_long_is_refused_and_the_log_goes_on() {
        let directory = tempfile::tempdir().unwrap();
        let log = FileLog::open(directory.path()).unwrap();
        let long = Record::Stuck { gid: gid(1), step: 0, reason: "x".repeat(RECORD_BYTES_MAX) };
        let refused = log.append(long, true).await.unwrap_err();
        assert!(matches!(refused, JournalError::Refused(told) if told.sqlstate == "54000"));
        let fits = Record::Stuck { gid: gid(1), step: 0, reason: "x".repeat(RECORD_BYTES_MAX - 100) };
        for _ in 0..9 {
            log.append(fits.clone(), false).await.unwrap();
        }
        log.append(commit(1), true).await.unwrap();
        drop(log);
        assert_eq!(FileLog::open(directory.path()).unwrap().left().len(), 1);
    }

    #[test]
    fn too_many_that_have_not_ended_are_refused() {
        let mut unfinished = Unfinished::default();
        for number in 0..u64::try_from(OPEN_MAX).unwrap() {
            unfinished.apply(&Record::Commit { gid: gid(number), branches: Vec::new() });
        }
        let begin = |number| Record::Commit { gid: gid(number), branches: Vec::new() };
        assert_eq!(check_open(&unfinished, &begin(1 << 40)).unwrap_err().sqlstate, "54000");
        assert!(check_open(&unfinished, &begin(3)).is_ok(), "it is open already");
        assert!(check_open(&unfinished, &Record::Done { gid: gid(1 << 40) }).is_ok());
        unfinished.apply(&Record::Done { gid: gid(3) });
        assert!(check_open(&unfinished, &begin(1 << 40)).is_ok());
    }
}
