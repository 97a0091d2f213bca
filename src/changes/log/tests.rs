//! The log of changes as a whole: what is written is read again, whatever happens in between.

use std::fs::{self, OpenOptions};
use std::sync::atomic::{AtomicBool, AtomicI64};

use futures::FutureExt;

use super::segment::{Disk, make_file};
use super::*;
use crate::changes::fakes::{group_of, pieces_of, position_of, resume_of};
use crate::task::OwnedTask;

const PACE: Pace =
    Pace { sync: Duration::from_millis(1), retry: Duration::from_millis(5), segment: 16 << 20, retain: Duration::from_millis(5) };

struct Stage {
    log: Arc<Log>,
    queue: Queue,
    task: OwnedTask<()>,
    standing: Standing,
    applied: Arc<watch::Sender<Applied>>,
    store: StoreName,
}

fn hook() -> Hook {
    Arc::new(|_moment| async {}.boxed())
}

impl Stage {
    fn open(directory: &Path, settings: &ChangeSettings, pace: Pace, make: Make) -> Self {
        let (store, applied) = (StoreName::new("shop"), Arc::new(watch::channel(Applied::default()).0));
        let opened = open_with(directory, &store, settings, (pace, hook(), make), Arc::clone(&applied)).unwrap();
        let Opened { log, queue, writer, standing } = opened;
        Self { log, queue, task: OwnedTask::spawn(writer.run()), standing, applied, store }
    }

    fn plain(directory: &Path) -> Self {
        Self::open(directory, &settings(), PACE, make_file())
    }

    async fn put(&self, item: Item) {
        let room = self.queue.reserve(1).await.unwrap();
        assert!(self.queue.put(item, room));
    }

    async fn put_group(&self, first: u64, group: Group, part: Part) {
        self.put(Item::Group { group: Arc::new(group), first, part, acknowledges: part != Part::Piece }).await;
    }

    /// One transaction with one row.
    async fn put_one(&self, seq: u64) {
        self.put_group(seq, group_of(&self.store, &[(seq, &[("a", 1)])]), Part::Whole).await;
    }

    async fn until(&self, mut holds: impl FnMut(&Progress) -> bool) -> Progress {
        self.log.progress().wait_for(&mut holds).await.unwrap().clone()
    }

    async fn durable(&self, seq: u64) {
        self.applied.subscribe().wait_for(|applied| applied.durable >= seq).await.unwrap();
    }

    /// The ids of transactions from one to another, read one after the other.
    async fn ids(&self, first: u64, last: u64) -> Vec<String> {
        let (mut reader, mut ids) = (None, Vec::new());
        for seq in first..=last {
            let (used, found) = self.log.read(reader.take(), seq, 0).await.unwrap();
            let place = usize::try_from(seq - found.first).unwrap();
            ids.push(found.group.transactions[place].id.clone());
            reader = Some(used);
        }
        ids
    }

    async fn close(self) {
        drop(self.queue);
        self.task.join().await.unwrap();
    }
}

fn settings() -> ChangeSettings {
    ChangeSettings { is_durable: true, ..ChangeSettings::default() }
}

fn expected(first: u64, last: u64) -> Vec<String> {
    (first..=last).map(|seq| format!("t{seq}")).collect()
}

#[tokio::test]
async fn what_is_written_is_read_again_also_by_the_next_start() {
    let directory = tempfile::tempdir().unwrap();
    let pace = Pace { segment: 4_000, ..PACE };
    let stage = Stage::open(directory.path(), &settings(), pace, make_file());
    assert_eq!(stage.standing, Standing::default());
    for seq in (1..=30).step_by(3) {
        let rows: &[(&str, i64)] = &[("a", 1), ("b", 2)];
        stage.put_group(seq, group_of(&stage.store, &[(seq, rows), (seq + 1, rows), (seq + 2, &[])]), Part::Whole).await;
    }
    stage.put(Item::Mark { position: position_of(&stage.store, 40), resume: resume_of(40) }).await;
    stage.durable(30).await;
    let progress = stage.until(|progress| progress.acknowledged.is_some()).await;
    assert_eq!(progress.written, 30);
    assert_eq!(stage.ids(1, 30).await, expected(1, 30));
    assert!(fs::read_dir(directory.path()).unwrap().count() > 2, "there is one file only");
    let generation = stage.log.generation();
    stage.close().await;
    let again = Stage::open(directory.path(), &settings(), pace, make_file());
    let standing = &again.standing;
    assert_eq!((standing.seq, standing.has_begun, again.log.generation()), (30, true, generation));
    assert_eq!(standing.position, Some(position_of(&again.store, 40)));
    assert_eq!(standing.resume, Some(resume_of(40)));
    again.put_one(31).await;
    again.until(|progress| progress.written == 31).await;
    assert_eq!(again.ids(1, 31).await, expected(1, 31));
    again.close().await;
}

#[tokio::test]
async fn a_volatile_log_begins_anew() {
    let directory = tempfile::tempdir().unwrap();
    let volatile = ChangeSettings::default();
    let stage = Stage::open(directory.path(), &volatile, PACE, make_file());
    stage.put_one(1).await;
    let progress = stage.until(|progress| progress.acknowledged.is_some()).await;
    assert_eq!(progress.acknowledged.unwrap().1, resume_of(1));
    let generation = stage.log.generation();
    // Nothing is durable in it.
    assert_eq!(stage.applied.borrow().durable, 0);
    stage.close().await;
    let again = Stage::open(directory.path(), &volatile, PACE, make_file());
    assert_eq!(again.standing, Standing::default());
    assert_ne!(again.log.generation(), generation);
    again.close().await;
}

/// A log of 20 frames, its only file with transactions, and how long it was behind each of them.
async fn twenty(directory: &Path) -> (PathBuf, Vec<u64>) {
    let stage = Stage::plain(directory);
    let mut lengths = Vec::new();
    for seq in 1..=20 {
        stage.put_group(seq, group_of(&stage.store, &[(seq, &[])]), Part::Whole).await;
        stage.until(|progress| progress.written == seq).await;
        lengths.push(stage.log.bytes());
    }
    stage.close().await;
    (directory.join(format!("{:016x}.log", 1)), lengths)
}

fn opened(directory: &Path) -> Standing {
    Files::open(directory, &StoreName::new("shop"), true, make_file()).unwrap().1
}

#[tokio::test]
async fn a_torn_end_is_cut_wherever_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let (path, lengths) = twenty(directory.path()).await;
    let whole = fs::metadata(&path).unwrap().len();
    assert_eq!(Some(&whole), lengths.last());
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    // The header and what is known at the beginning got their name when they were whole.
    let least = fs::read(&path).unwrap().len() as u64 - (lengths[19] - lengths[0]) - (lengths[1] - lengths[0]);
    for length in (least..=whole).rev() {
        file.set_len(length).unwrap();
        let expected = lengths.iter().filter(|end| **end <= length).count() as u64;
        let standing = opened(directory.path());
        assert_eq!(standing.seq, expected, "of {length} bytes");
        assert_eq!(standing.resume, (expected > 0).then(|| resume_of(expected)), "of {length} bytes");
    }
}

#[tokio::test]
async fn a_flipped_bit_ends_what_is_there_before_it() {
    let directory = tempfile::tempdir().unwrap();
    let (path, lengths) = twenty(directory.path()).await;
    let bytes = fs::read(&path).unwrap();
    let first_end = usize::try_from(lengths[0]).unwrap();
    for place in first_end..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[place] ^= 1 << (place % 8);
        fs::write(&path, &flipped).unwrap();
        let expected = lengths.iter().filter(|end| usize::try_from(**end).unwrap() <= place).count() as u64;
        assert_eq!(opened(directory.path()).seq, expected, "byte {place}");
    }
}

#[tokio::test]
async fn the_next_start_writes_over_what_was_torn() {
    let directory = tempfile::tempdir().unwrap();
    let (path, lengths) = twenty(directory.path()).await;
    OpenOptions::new().write(true).open(&path).unwrap().set_len(lengths[9] + 5).unwrap();
    let stage = Stage::plain(directory.path());
    assert_eq!(stage.standing.seq, 10);
    for seq in 11..=15 {
        stage.put_one(seq).await;
    }
    stage.until(|progress| progress.written == 15).await;
    assert_eq!(stage.ids(1, 15).await, expected(1, 15));
    stage.close().await;
    assert_eq!(opened(directory.path()).seq, 15);
}

/// A disk that is full, or fails, when the test says so.
#[derive(Debug)]
struct Limited {
    inner: Box<dyn Disk>,
    left: Arc<AtomicI64>,
    fails: Arc<AtomicBool>,
}

impl Disk for Limited {
    fn write(&mut self, bytes: &[u8], at: u64) -> io::Result<()> {
        let length = i64::try_from(bytes.len()).unwrap();
        if self.left.fetch_sub(length, Ordering::Relaxed) < length {
            // As a disk does, it takes what it can.
            self.inner.write(&bytes[..bytes.len() / 2], at)?;
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.inner.write(bytes, at)
    }

    fn cut(&mut self, at: u64) -> io::Result<()> {
        self.inner.cut(at)
    }

    fn sync(&mut self) -> io::Result<()> {
        if self.fails.load(Ordering::Relaxed) { Err(io::Error::other("the cable is loose")) } else { self.inner.sync() }
    }
}

fn limited(left: &Arc<AtomicI64>, fails: &Arc<AtomicBool>) -> Make {
    let (left, fails, make) = (Arc::clone(left), Arc::clone(fails), make_file());
    Arc::new(move |path: &Path| {
        let limited = Limited { inner: make(path)?, left: Arc::clone(&left), fails: Arc::clone(&fails) };
        Ok(Box::new(limited) as Box<dyn Disk>)
    })
}

#[tokio::test]
async fn a_full_disk_is_waited_for_and_nothing_is_lost() {
    let directory = tempfile::tempdir().unwrap();
    let (left, fails) = (Arc::new(AtomicI64::new(3_000)), Arc::new(AtomicBool::new(false)));
    let stage = Stage::open(directory.path(), &settings(), PACE, limited(&left, &fails));
    for seq in 1..=20 {
        stage.put_one(seq).await;
    }
    let progress = stage.until(|progress| progress.failing.is_some()).await;
    assert!(progress.written < 20);
    assert!(stage.queue.bytes() > 0);
    left.store(1 << 30, Ordering::Relaxed);
    stage.durable(20).await;
    let progress = stage.until(|progress| progress.failing.is_none()).await;
    assert_eq!((progress.written, progress.aborted), (20, 0));
    assert_eq!(stage.ids(1, 20).await, expected(1, 20));
    stage.close().await;
    assert_eq!(opened(directory.path()).seq, 20);
}

#[tokio::test]
async fn what_was_not_synced_is_written_again_elsewhere() {
    let directory = tempfile::tempdir().unwrap();
    let (left, fails) = (Arc::new(AtomicI64::new(1 << 30)), Arc::new(AtomicBool::new(false)));
    let stage = Stage::open(directory.path(), &settings(), PACE, limited(&left, &fails));
    stage.put_one(1).await;
    stage.durable(1).await;
    fails.store(true, Ordering::Relaxed);
    for seq in 2..=5 {
        stage.put_one(seq).await;
    }
    let progress = stage.until(|progress| progress.failing.is_some()).await;
    assert_eq!(stage.applied.borrow().durable, 1);
    assert_eq!(progress.written, 1, "it is read from where it is not yet");
    fails.store(false, Ordering::Relaxed);
    stage.durable(5).await;
    assert_eq!(stage.ids(1, 5).await, expected(1, 5));
    assert_eq!(stage.log.first(), 1);
    stage.close().await;
    assert_eq!(opened(directory.path()).seq, 5);
}

#[test]
fn what_is_on_disk_is_not_written_again_behind_it() {
    let (store, semaphore) = (StoreName::new("shop"), Arc::new(Semaphore::new(10)));
    let room = || Room(Arc::clone(&semaphore).try_acquire_owned().unwrap());
    let queued = |item: Item| Queued { item, bytes: 1, _room: room() };
    let mark = |number| queued(Item::Mark { position: position_of(&store, number), resume: resume_of(number) });
    let group = |seq, part| {
        let group = Arc::new(group_of(&store, &[(seq, &[("a", 1)])]));
        queued(Item::Group { group, first: seq, part, acknowledges: false })
    };
    let groups = [group(4, Part::Whole), group(5, Part::Piece), group(5, Part::LastPiece)];
    let [whole, piece, last] = groups;
    let written = std::collections::VecDeque::from([mark(3), whole, mark(4), piece, last, mark(6)]);
    let counts = [0, 3, 4, 5, 9].map(|durable| writer::durable_items(&written, durable));
    assert_eq!(counts, [0, 0, 2, 5, 5]);
}

#[tokio::test]
async fn a_transaction_in_pieces_is_there_when_it_has_ended() {
    let directory = tempfile::tempdir().unwrap();
    let stage = Stage::plain(directory.path());
    stage.put_one(1).await;
    let rows: &[(&str, i64)] = &[("a", 1), ("b", 2), ("c", 3)];
    let mut pieces = pieces_of(&stage.store, 2, rows);
    let last = pieces.pop().unwrap();
    for piece in pieces {
        stage.put_group(2, piece, Part::Piece).await;
    }
    stage.put(Item::Mark { position: position_of(&stage.store, 5), resume: resume_of(5) }).await;
    stage.until(|progress| progress.acknowledged.as_ref().is_some_and(|(_, resume)| *resume == resume_of(5))).await;
    assert_eq!(stage.log.progress().borrow().written, 1);
    // As a crash would find it.
    let copy = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(directory.path()).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
    }
    assert_eq!(opened(copy.path()).seq, 1);
    stage.put_group(2, last, Part::LastPiece).await;
    stage.put_one(3).await;
    stage.until(|progress| progress.written == 3).await;
    let (mut reader, mut firsts) = (None, Vec::new());
    for ordinal in 0..3 {
        let (used, found) = stage.log.read(reader.take(), 2, ordinal).await.unwrap();
        firsts.push((found.group.transactions[0].first, found.group.transactions[0].ends));
        reader = Some(used);
    }
    assert_eq!(firsts, [(0, false), (1, false), (2, true)]);
    // Without a reader that was there before.
    let (_, found) = stage.log.read(None, 2, 1).await.unwrap();
    assert_eq!(found.group.transactions[0].first, 1);
    assert_eq!(stage.ids(3, 3).await, ["t3"]);
    stage.close().await;
    assert_eq!(opened(directory.path()).seq, 3);
}

#[tokio::test]
async fn a_transaction_that_does_not_end_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let stage = Stage::plain(directory.path());
    stage.put_one(1).await;
    let rows: &[(&str, i64)] = &[("a", 1), ("b", 2), ("c", 3)];
    for _ in 0..2 {
        for piece in pieces_of(&stage.store, 2, rows).into_iter().take(2) {
            stage.put_group(2, piece, Part::Piece).await;
        }
        stage.put(Item::Abort).await;
    }
    stage.put_group(2, group_of(&stage.store, &[(7, &[("d", 5)])]), Part::Whole).await;
    stage.durable(2).await;
    assert_eq!(stage.ids(1, 2).await, ["t1", "t7"]);
    stage.close().await;
    assert_eq!(opened(directory.path()).seq, 2);
}

#[tokio::test]
async fn a_transaction_that_a_failure_cuts_comes_again_from_its_beginning() {
    let directory = tempfile::tempdir().unwrap();
    let (left, fails) = (Arc::new(AtomicI64::new(1 << 30)), Arc::new(AtomicBool::new(false)));
    let stage = Stage::open(directory.path(), &settings(), PACE, limited(&left, &fails));
    let rows: &[(&str, i64)] = &[("a", 1), ("b", 2), ("c", 3)];
    let mut pieces = pieces_of(&stage.store, 1, rows).into_iter();
    stage.put_group(1, pieces.next().unwrap(), Part::Piece).await;
    fails.store(true, Ordering::Relaxed);
    stage.put(Item::Mark { position: position_of(&stage.store, 0), resume: resume_of(0) }).await;
    stage.until(|progress| progress.aborted == 1).await;
    fails.store(false, Ordering::Relaxed);
    // Whoever sends it has not seen that yet.
    stage.put_group(1, pieces.next().unwrap(), Part::Piece).await;
    stage.put_group(1, pieces.next().unwrap(), Part::LastPiece).await;
    stage.put(Item::Abort).await;
    stage.put_group(1, group_of(&stage.store, &[(9, &[("d", 5)])]), Part::Whole).await;
    stage.durable(1).await;
    assert_eq!(stage.ids(1, 1).await, ["t9"]);
    stage.close().await;
    assert_eq!(opened(directory.path()).seq, 1);
}

#[tokio::test]
async fn a_reader_reads_on_in_a_file_that_was_removed_and_no_further() {
    let directory = tempfile::tempdir().unwrap();
    let pace = Pace { segment: 3_000, ..PACE };
    let stage = Stage::open(directory.path(), &settings(), pace, make_file());
    for seq in 1..=20 {
        stage.put_one(seq).await;
        stage.until(|progress| progress.written == seq).await;
    }
    let (reader, _) = stage.log.read(None, 1, 0).await.unwrap();
    stage.log.files.retain(segment::Keep { bytes: 0, age: Duration::from_secs(60), held: None });
    assert!(stage.log.first() > 2);
    let (reader, found) = stage.log.read(Some(reader), 2, 0).await.unwrap();
    assert_eq!(found.first, 2);
    let first = stage.log.first();
    for reader in [Some(reader), None] {
        let gone = stage.log.read(reader, first - 1, 0).await;
        assert!(matches!(gone, Err(Missing::Gone)), "{gone:?}");
    }
    assert_eq!(stage.ids(first, 20).await, expected(first, 20));
    stage.close().await;
}

#[tokio::test]
async fn a_damaged_file_is_dropped_when_it_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let pace = Pace { segment: 3_000, ..PACE };
    let stage = Stage::open(directory.path(), &settings(), pace, make_file());
    for seq in 1..=20 {
        stage.put_one(seq).await;
        stage.until(|progress| progress.written == seq).await;
    }
    let (segment, end) = stage.log.files.of(1).unwrap();
    let mut bytes = fs::read(&segment.path).unwrap();
    let place = bytes.len() - 10;
    bytes[place] ^= 1;
    fs::write(&segment.path, &bytes).unwrap();
    let read = stage.log.read(None, end - 1, 0).await;
    assert!(matches!(read, Err(Missing::Failed(_))), "{read:?}");
    assert_eq!(stage.log.first(), end);
    assert_eq!(stage.ids(end, 20).await, expected(end, 20));
    stage.close().await;
}

#[tokio::test]
async fn what_was_held_goes_though_nothing_is_written_any_more() {
    let directory = tempfile::tempdir().unwrap();
    let (pace, most) = (Pace { segment: 3_000, ..PACE }, 12_000);
    let settings = ChangeSettings { log_bytes: most, ..settings() };
    let stage = Stage::open(directory.path(), &settings, pace, make_file());
    stage.log.hold(Some(1));
    let mut seq = 0;
    while stage.log.bytes() <= most + most / 4 {
        seq += 1;
        stage.put_one(seq).await;
        stage.until(|progress| progress.written == seq).await;
    }
    assert_eq!(stage.log.first(), 1);
    stage.log.hold(None);
    while stage.log.bytes() > most {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(stage.log.first() > 1);
    stage.close().await;
}

#[tokio::test]
async fn the_queue_has_an_end() {
    let directory = tempfile::tempdir().unwrap();
    let (left, fails) = (Arc::new(AtomicI64::new(1_000)), Arc::new(AtomicBool::new(false)));
    let pace = Pace { retry: Duration::from_secs(60), ..PACE };
    let stage = Stage::open(directory.path(), &settings(), pace, limited(&left, &fails));
    stage.put_one(1).await;
    stage.put_one(2).await;
    stage.until(|progress| progress.failing.is_some()).await;
    let (half, more) = (stage.queue.try_reserve(QUEUE_BYTES_MAX / 2), stage.queue.try_reserve(QUEUE_BYTES_MAX / 2));
    assert!(half.is_some() && more.is_none());
    assert!(stage.queue.bytes() >= QUEUE_BYTES_MAX / 2);
    drop(half);
    // One that is larger than all of it waits until nothing else does.
    assert!(stage.queue.try_reserve(usize::MAX).is_none());
}
