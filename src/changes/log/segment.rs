//! Files of the log of changes: their names and headers, what a start finds in them, and which of them are kept.
//!
//! ```text
//! <first transaction, 16 hex>.log: header (64 bytes) · Standing · frame · frame · …
//! ```
//!
//! A file gets its name when its header and what is known at its beginning are whole, and each start begins a new one. What a file holds
//! from the first transaction of its successor on does not count: it was torn, or was written again after a failure.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::body::{self, Standing};
use super::frame::{self, Frame, HEAD, Head, Input, Kind};
use super::{LogError, failed};
use crate::stores::StoreName;
use crate::stores::commit::store_hash;

const MAGIC: &[u8; 8] = b"TRIBCHG1";
/// The version of the layout.
const FORMAT: u32 = 1;
/// Bytes of the header of a file.
pub(super) const HEADER: usize = 64;
/// How every name ends.
const ENDING: &str = ".log";
/// How the name of a file ends that is not whole yet.
const UNFINISHED: &str = ".new";
/// Most files of a log, whatever they hold.
const FILES_MAX: usize = 2_048;

/// What bytes are written to.
pub(super) trait Disk: Debug + Send {
    /// Writes all of them at a place.
    fn write(&mut self, bytes: &[u8], at: u64) -> io::Result<()>;
    /// Drops what is behind a place.
    fn cut(&mut self, at: u64) -> io::Result<()>;
    /// What was written is on disk when this returns.
    fn sync(&mut self) -> io::Result<()>;
}

impl Disk for File {
    fn write(&mut self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.write_all_at(bytes, at)
    }

    fn cut(&mut self, at: u64) -> io::Result<()> {
        self.set_len(at)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}

/// What a file says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    /// Which log.
    pub(super) generation: u32,
    /// The hash of its store's name.
    store: u64,
    /// The first transaction that is in it, or would be.
    pub(super) first: u64,
    /// What nobody else knows.
    pub(super) salt: u64,
    /// When it was begun: milliseconds since 1970-01-01 UTC by our clock.
    pub(super) began_ms: u64,
}

impl Header {
    fn to_bytes(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER);
        bytes.extend(MAGIC);
        bytes.extend(FORMAT.to_le_bytes());
        bytes.extend(self.generation.to_le_bytes());
        bytes.extend(self.store.to_le_bytes());
        bytes.extend(self.first.to_le_bytes());
        bytes.extend(self.salt.to_le_bytes());
        bytes.extend(self.began_ms.to_le_bytes());
        bytes.resize(HEADER - 4, 0);
        bytes.extend(frame::plain_checksum(&bytes).to_le_bytes());
        bytes
    }

    /// Reads the header of a file of a store's log; `None` where it is damaged or none.
    fn read(path: &Path, file: &File, store: &StoreName) -> Result<Option<Self>, LogError> {
        let mut bytes = [0; HEADER];
        match file.read_exact_at(&mut bytes, 0) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            read => read.map_err(failed("read", path))?,
        }
        let Some((content, sum)) = bytes.split_last_chunk::<4>() else { return Ok(None) };
        let mut input = Input::new(content);
        let is_ours = input.take(MAGIC.len()) == Some(MAGIC.as_slice());
        let Some(format) = input.u32().filter(|_| is_ours) else { return Ok(None) };
        if format > FORMAT {
            return Err(LogError::Format { path: path.to_owned() });
        }
        if frame::plain_checksum(content) != u32::from_le_bytes(*sum) {
            return Ok(None);
        }
        let fields = |input: &mut Input<'_>| {
            let (generation, store) = (input.u32()?, input.u64()?);
            Some(Self { generation, store, first: input.u64()?, salt: input.u64()?, began_ms: input.u64()? })
        };
        Ok(fields(&mut input).filter(|header| header.store == store_hash(store)))
    }
}

/// A file of the log.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) path: PathBuf,
    pub(super) header: Header,
    /// How long it is.
    pub(super) bytes: AtomicU64,
    /// When the last of it was received.
    pub(super) last_ms: AtomicU64,
    /// When it was begun, by a clock that nobody sets; an earlier process had another one.
    begun: Option<Instant>,
}

impl Segment {
    fn was_begun(&self, ago: Duration) -> bool {
        let by_header = || u128::from(now_ms().saturating_sub(self.header.began_ms)) >= ago.as_millis();
        self.begun.map_or_else(by_header, |begun| begun.elapsed() >= ago)
    }
}

/// What makes a file that is written.
pub(super) type Make = Arc<dyn Fn(&Path) -> io::Result<Box<dyn Disk>> + Send + Sync>;

/// The files of one store's log.
#[derive(Clone)]
pub(super) struct Files {
    pub(super) store: StoreName,
    directory: PathBuf,
    pub(super) generation: u32,
    is_durable: bool,
    make: Make,
    /// In order; the last is the one that is written.
    list: Arc<Mutex<VecDeque<Arc<Segment>>>>,
}

impl Debug for Files {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Files").field("directory", &self.directory).field("generation", &self.generation).finish_non_exhaustive()
    }
}

/// How much of a log is kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Keep {
    pub(super) bytes: u64,
    pub(super) age: Duration,
    /// From which transaction on somebody needs it, who is given twice the bytes.
    pub(super) held: Option<u64>,
}

/// A new file on disk, private.
pub(super) fn make_file() -> Make {
    Arc::new(|path: &Path| {
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
        Ok(Box::new(file) as Box<dyn Disk>)
    })
}

/// Milliseconds since 1970-01-01 UTC by our clock.
pub(crate) fn now_ms() -> u64 {
    u64::try_from(chrono::Utc::now().timestamp_millis()).unwrap_or(0)
}

impl Files {
    /// Opens the log of a store in a directory of its own, which this process holds alone. A volatile one is emptied.
    ///
    /// # Errors
    /// [`LogError`]; a damaged file is none: it is dropped with all before it, and told.
    pub(super) fn open(directory: &Path, store: &StoreName, is_durable: bool, make: Make) -> Result<(Self, Standing), LogError> {
        make_directory(directory)?;
        let found = if is_durable { find(directory, store)? } else { empty(directory)? };
        let generation = found.back().map_or_else(rand::random, |segment| segment.header.generation);
        let standing = match found.back() {
            Some(last) => {
                let standing = scan(last, store)?;
                // What an earlier process wrote and did not live to sync counts from here on: the next file begins behind it.
                sync(&last.path)?;
                standing
            }
            None => Standing::default(),
        };
        let list = Arc::new(Mutex::new(found));
        let (store, directory) = (store.clone(), directory.to_owned());
        Ok((Self { store, directory, generation, is_durable, make, list }, standing))
    }

    fn list(&self) -> MutexGuard<'_, VecDeque<Arc<Segment>>> {
        // What a panic left behind is still a list of whole files.
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a file whose first transaction is the one behind `standing`, on disk where the log is.
    pub(super) fn begin(&self, standing: &Standing) -> io::Result<(Box<dyn Disk>, Arc<Segment>)> {
        let first = standing.seq + 1;
        let header =
            Header { generation: self.generation, store: store_hash(&self.store), first, salt: rand::random(), began_ms: now_ms() };
        let mut bytes = header.to_bytes();
        let frame = Frame::begin(&mut bytes);
        standing.write(&mut bytes);
        if !frame.end(&mut bytes, header.salt, Kind::Standing, (standing.seq, 0, header.began_ms)) {
            return Err(io::Error::other("too many tables are followed"));
        }
        let path = self.directory.join(format!("{first:016x}{ENDING}"));
        let unfinished = self.directory.join(format!("{first:016x}{UNFINISHED}"));
        let mut disk = (self.make)(&unfinished)?;
        disk.write(&bytes, 0)?;
        if self.is_durable {
            disk.sync()?;
        }
        fs::rename(&unfinished, &path)?;
        if self.is_durable {
            File::open(&self.directory)?.sync_all()?;
        }
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let (bytes, last_ms) = (AtomicU64::new(length), AtomicU64::new(header.began_ms));
        let segment = Arc::new(Segment { path, header, bytes, last_ms, begun: Some(Instant::now()) });
        let mut list = self.list();
        // One with the same name has been replaced.
        list.retain(|known| known.header.first < first);
        list.push_back(Arc::clone(&segment));
        Ok((disk, segment))
    }

    /// The file that has a transaction, and the first transaction that is not in it.
    pub(super) fn of(&self, seq: u64) -> Option<(Arc<Segment>, u64)> {
        let list = self.list();
        let behind = list.partition_point(|segment| segment.header.first <= seq);
        let segment = list.get(behind.checked_sub(1)?)?;
        Some((Arc::clone(segment), list.get(behind).map_or(u64::MAX, |next| next.header.first)))
    }

    /// The first transaction that is kept, or would be.
    pub(super) fn first(&self) -> Option<u64> {
        self.list().front().map(|segment| segment.header.first)
    }

    /// The first transaction of the newest file that was begun so long ago; that of the oldest where none was.
    pub(super) fn begun_before(&self, ago: Duration) -> Option<u64> {
        let list = self.list();
        let found = list.iter().rev().find(|segment| segment.was_begun(ago)).or_else(|| list.front());
        found.map(|segment| segment.header.first)
    }

    /// Whether everything is kept that was received so long ago or later: nothing has been removed, or a file was begun before.
    pub(super) fn reach(&self, ago: Duration) -> bool {
        let list = self.list();
        list.front().is_none_or(|first| first.header.first <= 1) || list.iter().any(|segment| segment.was_begun(ago))
    }

    /// How many bytes all of them have.
    pub(super) fn bytes(&self) -> u64 {
        self.list().iter().map(|segment| segment.bytes.load(Ordering::Relaxed)).sum()
    }

    /// Removes the oldest files that need not be kept. The one that is written stays, and what is not durable is in it.
    pub(super) fn retain(&self, keep: Keep) {
        let (mut total, now) = (self.bytes(), now_ms());
        let oldest = now.saturating_sub(u64::try_from(keep.age.as_millis()).unwrap_or(u64::MAX));
        loop {
            let removed = {
                let mut list = self.list();
                let (Some(first), Some(second)) = (list.front(), list.get(1)) else { return };
                let is_held = keep.held.is_some_and(|held| held < second.header.first);
                let bytes = if is_held { keep.bytes.saturating_mul(2) } else { keep.bytes };
                let is_old = !is_held && first.last_ms.load(Ordering::Relaxed) < oldest;
                if total <= bytes && !is_old && list.len() <= FILES_MAX {
                    return;
                }
                list.pop_front()
            };
            let Some(removed) = removed else { return };
            total = total.saturating_sub(removed.bytes.load(Ordering::Relaxed));
            remove(&removed.path);
        }
    }

    /// Drops a file that does not hold what was written, and all before it; not the one that is written.
    pub(super) fn drop_damaged(&self, damaged: &Arc<Segment>, reason: &str) {
        tracing::error!(store = %self.store, path = %damaged.path.display(), reason, "a file of the log of changes is damaged");
        let mut list = self.list();
        let Some(place) = list.iter().position(|segment| Arc::ptr_eq(segment, damaged)) else { return };
        if place + 1 == list.len() {
            return;
        }
        let dropped: Vec<Arc<Segment>> = list.drain(..=place).collect();
        drop(list);
        dropped.iter().for_each(|segment| remove(&segment.path));
    }
}

/// A file that cannot be removed is found and removed by the next start.
fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path) {
        tracing::warn!(path = %path.display(), %error, "a file of the log of changes was not removed");
    }
}

/// Makes a private directory where there is none.
pub(super) fn make_directory(directory: &Path) -> Result<(), LogError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
    made.map_err(failed("make", directory))?;
    // Where its name stands: what is synced in it is not found again without that.
    match directory.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        Some(parent) => sync(parent),
        None => Ok(()),
    }
}

/// What was written to a file or directory is on disk when this returns.
fn sync(path: &Path) -> Result<(), LogError> {
    File::open(path).and_then(|opened| opened.sync_all()).map_err(failed("sync", path))
}

fn entries(directory: &Path) -> Result<Vec<PathBuf>, LogError> {
    let entries = fs::read_dir(directory).map_err(failed("read", directory))?;
    entries.map(|entry| Ok(entry.map_err(failed("read", directory))?.path())).collect()
}

/// Removes every file of a log.
fn empty(directory: &Path) -> Result<VecDeque<Arc<Segment>>, LogError> {
    for path in entries(directory)? {
        if name_of(&path).is_some_and(|name| name.ends_with(ENDING) || name.ends_with(UNFINISHED)) {
            fs::remove_file(&path).map_err(failed("remove", &path))?;
        }
    }
    Ok(VecDeque::new())
}

fn name_of(path: &Path) -> Option<&str> {
    path.file_name()?.to_str()
}

/// The files of a directory that belong together, in order.
fn find(directory: &Path, store: &StoreName) -> Result<VecDeque<Arc<Segment>>, LogError> {
    let mut found: Vec<(u64, PathBuf)> = Vec::new();
    for path in entries(directory)? {
        let name = name_of(&path).unwrap_or_default();
        if name.ends_with(UNFINISHED) {
            fs::remove_file(&path).map_err(failed("remove", &path))?;
        } else if let Some(first) = name.strip_suffix(ENDING).and_then(|first| u64::from_str_radix(first, 16).ok()) {
            found.push((first, path));
        }
    }
    found.sort_unstable();
    let mut list: VecDeque<Arc<Segment>> = VecDeque::new();
    let mut dropped = Vec::new();
    // From the newest on: with a damaged one goes all before it.
    for (first, path) in found.into_iter().rev() {
        let file = File::open(&path).map_err(failed("read", &path))?;
        let header = Header::read(&path, &file, store)?.filter(|header| header.first == first);
        let belongs = |header: &Header| list.front().is_none_or(|next: &Arc<Segment>| next.header.generation == header.generation);
        match header.filter(belongs).filter(|_| dropped.is_empty()) {
            Some(header) => {
                let metadata = file.metadata().map_err(failed("read", &path))?;
                let written = metadata.modified().ok().and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
                let last_ms = written.and_then(|since| u64::try_from(since.as_millis()).ok()).unwrap_or(header.began_ms);
                let (bytes, last_ms) = (AtomicU64::new(metadata.len()), AtomicU64::new(last_ms));
                list.push_front(Arc::new(Segment { path, header, bytes, last_ms, begun: None }));
            }
            None => dropped.push(path),
        }
    }
    if !dropped.is_empty() {
        tracing::error!(%store, files = dropped.len(), "the log of changes is damaged: what is told of before that is lost");
    }
    for path in dropped {
        fs::remove_file(&path).map_err(failed("remove", &path))?;
    }
    Ok(list)
}

/// Reads the next frame of a file at a place: its head and body. `None` where no whole one stands.
pub(super) fn read_frame(file: &File, at: u64, salt: u64) -> io::Result<Option<(Head, Vec<u8>)>> {
    let Some(head) = read_head(file, at)? else { return Ok(None) };
    // A length that was torn may be any; what is not there is not made room for.
    let behind = at + u64::try_from(HEAD + head.length).unwrap_or(u64::MAX);
    if file.metadata()?.len() < behind {
        return Ok(None);
    }
    let mut body = vec![0; head.length];
    file.read_exact_at(&mut body, at + HEAD as u64)?;
    Ok(head.fits(salt, &body).then_some((head, body)))
}

/// The head of the next frame of a file at a place, not looked at any further.
pub(super) fn read_head(file: &File, at: u64) -> io::Result<Option<Head>> {
    let mut bytes = [0; HEAD];
    match file.read_exact_at(&mut bytes, at) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        read => read.map(|()| Head::read(&bytes)),
    }
}

/// What the last file knows at its end, which may be torn: a piece that its transaction does not end is not counted.
fn scan(segment: &Segment, store: &StoreName) -> Result<Standing, LogError> {
    let failed_here = failed("read", &segment.path);
    scan_file(segment, store).map_err(failed_here)
}

fn scan_file(segment: &Segment, store: &StoreName) -> io::Result<Standing> {
    let file = File::open(&segment.path)?;
    let (mut at, mut last_group) = (HEADER as u64, None);
    let mut standing = Standing { seq: segment.header.first.saturating_sub(1), ..Standing::default() };
    while let Some((head, body)) = read_frame(&file, at, segment.header.salt)? {
        let is_next = head.first == standing.seq + 1;
        match head.kind {
            Kind::Standing => {
                let Ok(read) = Standing::read(&body, store) else { break };
                (standing, last_group) = (read, None);
            }
            Kind::Mark => {
                let Ok((position, resume)) = body::read_mark(&body, store) else { break };
                (standing.position, standing.resume, last_group) = (Some(position), Some(resume), None);
            }
            Kind::Group | Kind::LastPiece if is_next => {
                standing.seq = head.last();
                last_group = Some(body);
            }
            Kind::Piece if is_next => {}
            Kind::Shape => {}
            Kind::Group | Kind::LastPiece | Kind::Piece => break,
        }
        at += u64::try_from(HEAD + head.length).unwrap_or(u64::MAX);
    }
    if let Some(body) = last_group {
        take_ending(&mut standing, &body, store);
    }
    Ok(standing)
}

/// What the last group says of where it ends.
fn take_ending(standing: &mut Standing, body: &[u8], store: &StoreName) {
    let Ok(opening) = body::read_opening(&mut Input::new(body), store) else { return };
    // Behind a gap nothing is known of the store.
    let is_known = !opening.resume.0.is_empty();
    standing.position = opening.transactions.last().filter(|_| is_known).map(|last| last.position.clone());
    standing.resume = Some(opening.resume).filter(|_| is_known);
    (standing.has_begun, standing.is_filled) = (true, standing.is_filled && is_known);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> StoreName {
        StoreName::new("shop")
    }

    fn open(directory: &Path) -> (Files, Standing) {
        Files::open(directory, &store(), true, make_file()).unwrap()
    }

    fn standing(seq: u64) -> Standing {
        Standing { seq, has_begun: true, ..Standing::default() }
    }

    #[test]
    fn a_file_knows_what_was_known_at_its_beginning() {
        let directory = tempfile::tempdir().unwrap();
        let (files, found) = open(directory.path());
        assert_eq!((found, files.first(), files.of(1).is_some()), (Standing::default(), None, false));
        files.begin(&standing(0)).unwrap();
        files.begin(&standing(4)).unwrap();
        let (_, last) = files.begin(&standing(9)).unwrap();
        let (again, found) = open(directory.path());
        assert_eq!((found, again.generation, again.first()), (standing(9), files.generation, Some(1)));
        let of = |seq| again.of(seq).map(|(segment, end)| (segment.header.first, end));
        assert_eq!([of(1), of(4), of(5), of(70)], [Some((1, 5)), Some((1, 5)), Some((5, 10)), Some((10, u64::MAX))]);
        assert_eq!(of(0), None);
        // A name that is used again replaces its file.
        let (_, newer) = again.begin(&standing(9)).unwrap();
        assert_ne!(newer.header.salt, last.header.salt);
        assert_eq!(again.list().len(), 3);
        assert_eq!(again.begun_before(Duration::ZERO), Some(10));
        assert_eq!(again.begun_before(Duration::from_secs(3_600)), Some(1));
    }

    #[test]
    fn another_store_and_a_volatile_log_begin_anew() {
        let directory = tempfile::tempdir().unwrap();
        let (files, _) = open(directory.path());
        files.begin(&standing(3)).unwrap();
        let (other, found) = Files::open(directory.path(), &StoreName::new("crm"), true, make_file()).unwrap();
        assert_eq!((found, other.first()), (Standing::default(), None));
        let (files, _) = open(directory.path());
        files.begin(&standing(3)).unwrap();
        let (emptied, found) = Files::open(directory.path(), &store(), false, make_file()).unwrap();
        assert_eq!((found, emptied.first()), (Standing::default(), None));
        assert_ne!(emptied.generation, files.generation);
    }

    #[test]
    fn a_damaged_header_takes_all_before_it_along() {
        let directory = tempfile::tempdir().unwrap();
        let (files, _) = open(directory.path());
        for seq in [0, 4, 9] {
            files.begin(&standing(seq)).unwrap();
        }
        let (middle, _) = files.of(5).unwrap();
        let mut bytes = fs::read(&middle.path).unwrap();
        bytes[20] ^= 1;
        fs::write(&middle.path, &bytes).unwrap();
        let (again, found) = open(directory.path());
        assert_eq!((again.first(), found.seq, again.list().len()), (Some(10), 9, 1));
        // A later version.
        let (last, _) = again.of(10).unwrap();
        let mut bytes = fs::read(&last.path).unwrap();
        bytes[8] = 9;
        fs::write(&last.path, &bytes).unwrap();
        assert!(matches!(Files::open(directory.path(), &store(), true, make_file()), Err(LogError::Format { .. })));
    }

    #[test]
    fn the_oldest_files_go_first_and_the_last_stays() {
        let directory = tempfile::tempdir().unwrap();
        let (files, _) = open(directory.path());
        for seq in [0, 4, 9, 14] {
            files.begin(&standing(seq)).unwrap();
        }
        let each = files.bytes() / 4;
        let keep = |bytes, age, held| files.retain(Keep { bytes, age: Duration::from_secs(age), held });
        keep(u64::MAX, 3600, None);
        assert_eq!(files.first(), Some(1));
        keep(3 * each, 3600, None);
        assert_eq!(files.first(), Some(5));
        // Held: twice as much.
        keep(2 * each, 3600, Some(5));
        assert_eq!(files.first(), Some(5));
        keep(each, 3600, Some(5));
        assert_eq!(files.first(), Some(10));
        keep(each, 3600, Some(15));
        assert_eq!(files.first(), Some(15));
        std::thread::sleep(Duration::from_millis(5));
        keep(0, 0, None);
        assert_eq!(files.first(), Some(15));
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_damaged_file_is_dropped_unless_it_is_written() {
        let directory = tempfile::tempdir().unwrap();
        let (files, _) = open(directory.path());
        for seq in [0, 4, 9] {
            files.begin(&standing(seq)).unwrap();
        }
        let (middle, _) = files.of(5).unwrap();
        files.drop_damaged(&middle, "x");
        assert_eq!(files.first(), Some(10));
        let (last, _) = files.of(10).unwrap();
        files.drop_damaged(&last, "x");
        assert_eq!(files.first(), Some(10));
    }
}
