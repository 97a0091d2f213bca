//! The log as files in the directory of the state: one that is written, and its successor while it is made.
//!
//! ```text
//! commits-<n>.log: header (64 bytes) · frame · frame · … · zeros, which were written ahead
//! frame: length of the body, first sequence, count, CRC-32C · the records of one group
//! ```
//!
//! Every frame is on disk before the next is written, so that only the last one can be torn: what follows something that is no frame is
//! zeros or the remains of one write. A frame behind that means that the disk has lost something, and nothing is decided then.
//!
//! **Invariants:** a file gets its name when it is whole; a header never changes; each start, and each file that has grown too long,
//! begins a new file with what is open. The checksum covers a number that only the file knows, so that no text of a client is ever taken
//! for a frame. Nothing here is written twice after an error of which nobody knows what it left.

use std::fmt::Debug;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crc::{CRC_32_ISCSI, Crc};

use super::Record;
use super::record::{self, Fault, Unfinished};
use crate::error::{Diagnose, sqlstate};
use crate::stores::commit::LogId;

const MAGIC: &[u8; 8] = b"TRIBLOG1";
/// The version of the layout.
const FORMAT: u32 = 1;
/// Bytes of the header of a file.
const HEADER: usize = 64;
/// Bytes before the body of a frame.
const FRAME: usize = 18;
/// The longest body of a frame.
pub(super) const BODY_BYTES_MAX: usize = 4 << 20;
/// By how much a file grows at a time.
const STEP: u64 = 1 << 20;
/// How much is to be free behind a frame, so that a full disk shows before a transaction needs its decision.
const AHEAD: u64 = 256 << 10;
/// A file of so many bytes is followed by another, unless what is open is more than half of it.
const ROTATE: u64 = 4 << 20;
/// The count of starts must fit into the numbers of transactions.
pub(super) const STARTS_MAX: u32 = (1 << 24) - 1;

static CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);

/// What keeps a log from being opened.
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
    #[error("{} has format {found}, and this version of tributary reads format {FORMAT}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// The format it says it has.
        found: u32,
    },
    /// A file does not hold what was written.
    #[error("the log of commits {} is damaged at byte {offset}: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where.
        offset: usize,
        /// What is wrong there.
        reason: String,
    },
}

impl Diagnose for LogError {
    fn sqlstate(&self) -> &str {
        match self {
            Self::Io { .. } => sqlstate::IO_ERROR,
            Self::Format { .. } => sqlstate::SYSTEM_ERROR,
            Self::Damaged { .. } => sqlstate::DATA_CORRUPTED,
        }
    }

    fn detail(&self) -> Option<String> {
        match self {
            Self::Io { reason, .. } => Some(format!("The reason is: {reason}.")),
            Self::Format { .. } | Self::Damaged { .. } => None,
        }
    }

    fn hint(&self) -> Option<String> {
        matches!(self, Self::Damaged { .. }).then(|| {
            "It says which prepared transactions are to be committed. Bring it back from a copy; or end those that the stores list by hand \
             and move the file away."
                .to_owned()
        })
    }
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> LogError {
    let path = path.to_owned();
    move |reason| LogError::Io { action, path, reason }
}

/// Why a group was not written.
#[derive(Debug)]
pub(super) enum Failure {
    /// Nothing of it was; the next one may be.
    Refused(io::Error),
    /// Nothing of it was, and the file is not to be written again.
    Broken(io::Error),
    /// Perhaps it was; the file is not to be written again.
    Unknown(io::Error),
}

/// What bytes are written to.
pub(super) trait Disk: Debug + Send {
    /// Writes all of them at a place.
    fn write(&mut self, bytes: &[u8], at: u64) -> io::Result<()>;
    /// What was written is on disk when this returns.
    fn sync(&mut self) -> io::Result<()>;
}

impl Disk for File {
    fn write(&mut self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.write_all_at(bytes, at)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}

/// What a file says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) log: LogId,
    /// Which start of the log it is.
    pub(super) start: u32,
    /// That of the file's name.
    number: u32,
    /// What nobody else knows.
    salt: u64,
}

impl Header {
    fn to_bytes(self) -> [u8; HEADER] {
        let mut content = Vec::with_capacity(HEADER);
        content.extend(MAGIC);
        content.extend(FORMAT.to_le_bytes());
        content.extend(self.log.0.to_le_bytes());
        content.extend(self.start.to_le_bytes());
        content.extend(self.number.to_le_bytes());
        content.extend(self.salt.to_le_bytes());
        content.resize(HEADER - 4, 0);
        content.extend(CRC.checksum(&content).to_le_bytes());
        let mut bytes = [0; HEADER];
        bytes.copy_from_slice(&content);
        bytes
    }

    fn read(path: &Path, bytes: &[u8]) -> Result<Self, LogError> {
        let damaged = |reason: &str| LogError::Damaged { path: path.to_owned(), offset: 0, reason: reason.to_owned() };
        let header = bytes.get(..HEADER).ok_or_else(|| damaged("it ends within its header"))?;
        let mut fields = header;
        if field::<8>(&mut fields) != Some(*MAGIC) {
            return Err(damaged("it does not begin as a log does"));
        }
        let found = field(&mut fields).map_or(0, u32::from_le_bytes);
        if found != FORMAT {
            return Err(LogError::Format { path: path.to_owned(), found });
        }
        let told = header.last_chunk::<4>().map(|bytes| u32::from_le_bytes(*bytes));
        if told != header.get(..HEADER - 4).map(|content| CRC.checksum(content)) {
            return Err(damaged("its header does not fit its checksum"));
        }
        Ok(Self {
            log: LogId(field(&mut fields).map_or(0, u64::from_le_bytes)),
            start: field(&mut fields).map_or(0, u32::from_le_bytes),
            number: field(&mut fields).map_or(0, u32::from_le_bytes),
            salt: field(&mut fields).map_or(0, u64::from_le_bytes),
        })
    }

    /// That of the file after this one.
    fn successor(self) -> Self {
        Self { number: self.number.wrapping_add(1), salt: rand::random(), ..self }
    }
}

/// The next bytes of a row of fields.
fn field<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (field, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*field)
}

fn checksum(salt: u64, head: &[u8], body: &[u8]) -> u32 {
    let mut digest = CRC.digest();
    digest.update(&salt.to_le_bytes());
    digest.update(head);
    digest.update(body);
    digest.finalize()
}

/// The records of one group as they stand in a file.
fn frame(salt: u64, sequence: u64, records: &[Vec<u8>]) -> Vec<u8> {
    let body = records.concat();
    let mut bytes = Vec::with_capacity(FRAME + body.len());
    bytes.extend(u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes());
    bytes.extend(sequence.to_le_bytes());
    bytes.extend(u16::try_from(records.len()).unwrap_or(u16::MAX).to_le_bytes());
    let sum = checksum(salt, &bytes, &body);
    bytes.extend(sum.to_le_bytes());
    bytes.extend(body);
    bytes
}

/// A frame that is whole, and does not begin before a sequence: its first sequence, its count, its body.
fn whole(salt: u64, bytes: &[u8], least: u64) -> Option<(u64, u16, &[u8])> {
    let (head, rest) = bytes.split_at_checked(FRAME - 4)?;
    let mut fields = head;
    let length = usize::try_from(u32::from_le_bytes(field(&mut fields)?)).ok()?;
    let sequence = u64::from_le_bytes(field(&mut fields)?);
    let count = u16::from_le_bytes(field(&mut fields)?);
    // Looked at before the checksum, which would take its time at each place of a file.
    let is_likely = (1..=BODY_BYTES_MAX).contains(&length) && count > 0 && (least..1 << 32).contains(&sequence);
    if !is_likely {
        return None;
    }
    let (sum, rest) = rest.split_first_chunk::<4>()?;
    let body = rest.get(..length)?;
    (u32::from_le_bytes(*sum) == checksum(salt, head, body)).then_some((sequence, count, body))
}

/// What a file holds.
#[derive(Debug)]
struct Content {
    header: Header,
    records: Vec<Record>,
}

/// Reads a file up to its end, which may be a torn frame.
fn read(path: &Path) -> Result<Content, LogError> {
    parse(path, &fs::read(path).map_err(failed("read", path))?)
}

fn parse(path: &Path, bytes: &[u8]) -> Result<Content, LogError> {
    let header = Header::read(path, bytes)?;
    let damaged = |offset: usize, reason: String| LogError::Damaged { path: path.to_owned(), offset, reason };
    let (mut at, mut sequence, mut records) = (HEADER, 1_u64, Vec::new());
    while let Some((first, count, body)) = whole(header.salt, bytes.get(at..).unwrap_or_default(), 0) {
        if first != sequence {
            return Err(damaged(at, format!("records from {first} on stand where {sequence} is next")));
        }
        let read = record::take_all(body).map_err(|fault| damaged(at, fault.to_string()))?;
        if read.len() != usize::from(count) {
            return Err(damaged(at, Fault::Content.to_string()));
        }
        records.extend(read);
        sequence += u64::from(count);
        at += FRAME + body.len();
    }
    // The end. A frame was only written when the one before it was on disk.
    let is_later = |place: &usize| {
        let rest = bytes.get(*place..).unwrap_or_default();
        // Most places are zeros, and no frame begins with four.
        !rest.starts_with(&[0; 4]) && whole(header.salt, rest, sequence).is_some()
    };
    if let Some(place) = (at + 1..bytes.len()).find(is_later) {
        return Err(damaged(at, format!("there is no whole group of records, and there is one at byte {place}")));
    }
    Ok(Content { header, records })
}

/// A log that was opened.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) file: LogFile,
    pub(super) unfinished: Unfinished,
}

/// The file that is written.
#[derive(Debug)]
pub(super) struct LogFile {
    directory: PathBuf,
    header: Header,
    disk: Box<dyn Disk>,
    /// Where the next frame begins.
    end: u64,
    /// Up to where space is taken.
    taken: u64,
    /// Whether there was no space for more than the last group.
    is_short: bool,
    /// That of the next record.
    sequence: u64,
    /// At how many bytes a new file is begun.
    full: u64,
}

/// Opens the log of a directory that this process holds alone; makes one where there is none. What was open is at the beginning of a
/// new file afterwards, on disk.
///
/// # Errors
/// [`LogError`]; nothing has changed then but for files that have no name yet.
pub(super) fn open(directory: &Path) -> Result<Opened, LogError> {
    let (numbers, unfinished_files) = files(directory)?;
    for path in unfinished_files {
        fs::remove_file(&path).map_err(failed("remove", &path))?;
    }
    let (header, unfinished) = match numbers.last() {
        None => (Header { log: LogId(rand::random()), start: 1, number: 1, salt: rand::random() }, Unfinished::default()),
        Some(&number) => {
            let path = path_of(directory, number);
            let Content { header, records } = read(&path)?;
            let damaged = |reason: String| LogError::Damaged { path: path.clone(), offset: 0, reason };
            if header.number != number {
                return Err(damaged(format!("it says that it is file {}", header.number)));
            }
            if header.start >= STARTS_MAX {
                return Err(damaged(format!("it was opened {} times, and has no numbers left", header.start)));
            }
            (Header { start: header.start + 1, ..header.successor() }, Unfinished::of(&records))
        }
    };
    let file = LogFile::create(directory, header, &unfinished).map_err(failed("write", &path_of(directory, header.number)))?;
    for number in numbers {
        let path = path_of(directory, number);
        fs::remove_file(&path).map_err(failed("remove", &path))?;
    }
    Ok(Opened { file, unfinished })
}

/// How many transactions have not ended in the log of a directory. Nothing is changed there.
///
/// # Errors
/// [`LogError`]
pub(super) fn count_open(directory: &Path) -> Result<usize, LogError> {
    let (numbers, _) = files(directory)?;
    let Some(&number) = numbers.last() else { return Ok(0) };
    Ok(Unfinished::of(&read(&path_of(directory, number))?.records).len())
}

fn path_of(directory: &Path, number: u32) -> PathBuf {
    directory.join(format!("commits-{number}.log"))
}

/// The numbers of the files in ascending order, and files that were never finished.
fn files(directory: &Path) -> Result<(Vec<u32>, Vec<PathBuf>), LogError> {
    let (mut numbers, mut unfinished) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(directory).map_err(failed("read", directory))? {
        let path = entry.map_err(failed("read", directory))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let Some(rest) = name.strip_prefix("commits-") else { continue };
        if rest.ends_with(".new") {
            unfinished.push(path);
        } else if let Some(number) = rest.strip_suffix(".log").and_then(|number| number.parse().ok()) {
            numbers.push(number);
        }
    }
    numbers.sort_unstable();
    Ok((numbers, unfinished))
}

impl LogFile {
    /// A new file with what is open. It has its name, and the name is on disk, when this returns.
    fn create(directory: &Path, header: Header, unfinished: &Unfinished) -> io::Result<Self> {
        let file = Self::prepare(directory, header, unfinished)?;
        fs::rename(file.unnamed(), file.path())?;
        File::open(directory)?.sync_all()?;
        Ok(file)
    }

    /// The same without its name. Nothing knows of it yet.
    fn prepare(directory: &Path, header: Header, unfinished: &Unfinished) -> io::Result<Self> {
        let path = path_of(directory, header.number).with_extension("new");
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
        let (mut disk, end): (Box<dyn Disk>, u64) = (Box::new(file), HEADER as u64);
        disk.write(&header.to_bytes(), 0)?;
        let directory = directory.to_owned();
        let mut file = Self { directory, header, disk, end, taken: end, is_short: false, sequence: 1, full: ROTATE };
        let (mut group, mut bytes) = (Vec::new(), 0);
        for record in unfinished.records() {
            let record = record::to_bytes(&record);
            if bytes + record.len() > BODY_BYTES_MAX || group.len() == usize::from(u16::MAX) {
                file.write_unsynced(&std::mem::take(&mut group))?;
                bytes = 0;
            }
            bytes += record.len();
            group.push(record);
        }
        if !group.is_empty() {
            file.write_unsynced(&group)?;
        }
        file.taken = file.end;
        file.full = ROTATE.max(file.end.saturating_mul(2));
        file.disk.sync()?;
        Ok(file)
    }

    fn write_unsynced(&mut self, group: &[Vec<u8>]) -> io::Result<()> {
        let bytes = frame(self.header.salt, self.sequence, group);
        self.disk.write(&bytes, self.end)?;
        self.end += bytes.len() as u64;
        self.sequence += group.len() as u64;
        Ok(())
    }

    fn path(&self) -> PathBuf {
        path_of(&self.directory, self.header.number)
    }

    fn unnamed(&self) -> PathBuf {
        self.path().with_extension("new")
    }

    /// Writes to another disk from now on.
    #[cfg(test)]
    pub(super) fn replace_disk(&mut self, replace: impl FnOnce(&Path) -> Box<dyn Disk>) {
        self.disk = replace(&self.path());
    }

    /// What it says of itself.
    pub(super) fn header(&self) -> Header {
        self.header
    }

    /// How many bytes it has, those written ahead among them.
    pub(super) fn bytes(&self) -> u64 {
        self.taken
    }

    /// Whether the disk has no space for what may come.
    pub(super) fn is_short(&self) -> bool {
        self.is_short
    }

    /// Writes a group. It is on disk when this returns.
    ///
    /// # Errors
    /// [`Failure`]
    pub(super) fn append(&mut self, group: &[Vec<u8>]) -> Result<(), Failure> {
        let bytes = frame(self.header.salt, self.sequence, group);
        let length = bytes.len() as u64;
        match self.take_space(length) {
            // What was taken before is enough once more.
            Err(Failure::Refused(_)) if self.end + length <= self.taken => self.is_short = true,
            taken => {
                self.is_short = taken.is_err();
                taken?;
            }
        }
        self.disk.write(&bytes, self.end).map_err(Failure::Unknown)?;
        self.disk.sync().map_err(Failure::Unknown)?;
        self.end += length;
        self.sequence += group.len() as u64;
        Ok(())
    }

    /// Takes space for so many bytes and some more.
    fn take_space(&mut self, bytes: u64) -> Result<(), Failure> {
        let wanted = self.end + bytes + AHEAD;
        if wanted <= self.taken {
            return Ok(());
        }
        let next = wanted.next_multiple_of(STEP);
        let zeros = [0_u8; 64 << 10];
        let mut at = self.taken;
        while at < next {
            let count = usize::try_from(next - at).unwrap_or(zeros.len()).min(zeros.len());
            let piece = zeros.get(..count).unwrap_or_default();
            // What is written of the zeros is behind everything, and does no harm.
            self.disk.write(piece, at).map_err(Failure::Refused)?;
            at += count as u64;
        }
        self.disk.sync().map_err(Failure::Broken)?;
        self.taken = next;
        Ok(())
    }

    /// Begins a new file when this one is long.
    ///
    /// # Errors
    /// [`Failure::Refused`]: this one goes on. [`Failure::Unknown`]: nobody knows which of the two is there after a crash.
    pub(super) fn turn_over(&mut self, unfinished: &Unfinished) -> Result<(), Failure> {
        if self.end < self.full {
            return Ok(());
        }
        // Tried again when it has grown by another step.
        self.full = self.end + STEP;
        let next = Self::prepare(&self.directory, self.header.successor(), unfinished).map_err(Failure::Refused)?;
        // Also after an error it may have its name, and the next start reads the one with the higher number.
        fs::rename(next.unnamed(), next.path()).map_err(Failure::Unknown)?;
        File::open(&self.directory).and_then(|directory| directory.sync_all()).map_err(Failure::Unknown)?;
        let before = std::mem::replace(self, next).path();
        if let Err(error) = fs::remove_file(&before) {
            tracing::warn!(%error, "an earlier log of commits could not be removed");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::samples::{gid, records};
    use super::*;

    /// Fails as it is told to, and passes on what it is not.
    #[derive(Debug)]
    struct Faulty {
        file: File,
        /// Bytes for which there is space.
        space: u64,
        syncs: bool,
    }

    impl Disk for Faulty {
        fn write(&mut self, bytes: &[u8], at: u64) -> io::Result<()> {
            if at + bytes.len() as u64 > self.space {
                return Err(io::Error::from(io::ErrorKind::StorageFull));
            }
            self.file.write_all_at(bytes, at)
        }

        fn sync(&mut self) -> io::Result<()> {
            if self.syncs { self.file.sync_data() } else { Err(io::Error::other("no")) }
        }
    }

    fn group(number: u64) -> Vec<Vec<u8>> {
        let commit = Record::Commit { gid: gid(number), branches: Vec::new() };
        vec![record::to_bytes(&commit), record::to_bytes(&Record::Abort { gid: gid(number + 1000) })]
    }

    fn open_gids(directory: &Path) -> Vec<u64> {
        open(directory).unwrap().unfinished.left().iter().map(|left| left.gid.number).collect()
    }

    fn names(directory: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// A file of so many groups as its bytes, and where each of them ends.
    fn written(count: u64) -> (Vec<u8>, Vec<usize>) {
        let directory = tempfile::tempdir().unwrap();
        let mut file = open(directory.path()).unwrap().file;
        let mut ends = Vec::new();
        for number in 0..count {
            file.append(&group(number)).unwrap();
            ends.push(usize::try_from(file.end).unwrap());
        }
        (fs::read(file.path()).unwrap(), ends)
    }

    fn parsed(bytes: &[u8]) -> Result<usize, LogError> {
        parse(Path::new("commits-1.log"), bytes).map(|content| content.records.len())
    }

    #[test]
    fn a_file_that_is_cut_anywhere_gives_what_was_whole() {
        let (bytes, ends) = written(20);
        assert_eq!(bytes.len() as u64 % STEP, 0);
        let last = *ends.last().unwrap();
        for end in HEADER..=last {
            let whole = ends.iter().filter(|place| **place <= end).count();
            assert_eq!(parsed(&bytes[..end]).unwrap(), whole * 2, "cut at {end}");
            if end % 7 == 0 || end == last {
                // The space was taken ahead, and the write did not come so far.
                let mut torn = bytes[..end].to_vec();
                torn.resize(last + 100, 0);
                // A frame that ends in zeros is whole again.
                let whole = ends.iter().filter(|place| torn.starts_with(&bytes[..**place])).count();
                assert_eq!(parsed(&torn).unwrap(), whole * 2, "cut at {end}, zeros behind");
            }
        }
        for end in 0..HEADER {
            assert!(parsed(&bytes[..end]).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn a_byte_that_changes_is_the_end_or_a_damage() {
        let (mut bytes, ends) = written(20);
        let last = *ends.last().unwrap();
        bytes.truncate(last + 64);
        let begins = ends[18];
        for place in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[place] ^= 0x40;
            match parsed(&changed) {
                Ok(count) if place >= last => assert_eq!(count, 40, "{place}"),
                Ok(count) => assert!(place >= begins && count == 38, "{place}: {count}"),
                Err(LogError::Damaged { offset, .. }) => assert!(place < begins && offset <= place, "{place}: {offset}"),
                Err(LogError::Format { .. }) => assert!((8..12).contains(&place), "{place}"),
                Err(other) => panic!("{place}: {other}"),
            }
        }
    }

    #[test]
    fn what_is_open_is_there_at_the_next_start_with_other_numbers() {
        let directory = tempfile::tempdir().unwrap();
        let Opened { mut file, unfinished } = open(directory.path()).unwrap();
        let first = file.header();
        assert!(unfinished.is_empty() && first.start == 1);
        for number in 0..5 {
            file.append(&group(number)).unwrap();
        }
        file.append(&[record::to_bytes(&Record::Done { gid: gid(3) })]).unwrap();
        assert_eq!(names(directory.path()), ["commits-1.log"]);
        drop(file);
        assert_eq!(count_open(directory.path()).unwrap(), 4);
        assert_eq!(names(directory.path()), ["commits-1.log"], "nothing was changed");
        assert_eq!(open_gids(directory.path()), [0, 1, 2, 4]);
        assert_eq!(names(directory.path()), ["commits-2.log"]);
        let Opened { mut file, unfinished } = open(directory.path()).unwrap();
        assert_eq!((file.header().log, file.header().start, unfinished.len()), (first.log, 3, 4));
        assert_ne!(file.header().salt, first.salt);
        file.append(&group(9)).unwrap();
        assert_eq!(open_gids(directory.path()), [0, 1, 2, 4, 9]);
        let mode =
            std::os::unix::fs::PermissionsExt::mode(&fs::metadata(directory.path().join("commits-4.log")).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_start_or_a_new_file_that_is_ended_anywhere_loses_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let mut file = open(directory.path()).unwrap().file;
        file.append(&group(1)).unwrap();
        // The new file is being written.
        fs::write(at("commits-2.new"), b"TRIB").unwrap();
        assert_eq!(open_gids(directory.path()), [1]);
        assert_eq!(names(directory.path()), ["commits-2.log"]);
        // The new file has its name, and the old one is still there, with less in it.
        fs::copy(at("commits-2.log"), at("old")).unwrap();
        let mut file = open(directory.path()).unwrap().file;
        file.append(&group(5)).unwrap();
        fs::rename(at("old"), at("commits-2.log")).unwrap();
        assert_eq!(names(directory.path()), ["commits-2.log", "commits-3.log"]);
        assert_eq!(open_gids(directory.path()), [1, 5]);
        assert_eq!(names(directory.path()), ["commits-4.log"]);
        // The highest that has a name was whole when it got it: what is wrong with it is not passed over for an older one.
        fs::copy(at("commits-4.log"), at("commits-3.log")).unwrap();
        fs::write(at("commits-4.log"), b"TRIBLOG1").unwrap();
        assert!(matches!(open(directory.path()), Err(LogError::Damaged { .. })));
        // A file under another name is not what it says.
        fs::rename(at("commits-3.log"), at("commits-9.log")).unwrap();
        let refused = open(directory.path()).unwrap_err();
        assert!(refused.to_string().ends_with("it says that it is file 4") && refused.sqlstate() == "XX001", "{refused}");
    }

    #[test]
    fn a_long_file_is_followed_by_one_with_what_is_open() {
        let directory = tempfile::tempdir().unwrap();
        let Opened { mut file, mut unfinished } = open(directory.path()).unwrap();
        file.turn_over(&unfinished).unwrap();
        assert_eq!(names(directory.path()), ["commits-1.log"], "not long yet");
        let steps = vec![super::super::LoggedStep {
            store: crate::stores::StoreName::new("a"),
            undo: vec!["x".repeat(900 << 10)],
            hint: crate::stores::commit::Hint::default(),
        }];
        for number in 0..12 {
            let saga = Record::Saga { gid: gid(number), role: "ada".to_owned(), steps: steps.clone() };
            file.append(&[record::to_bytes(&saga)]).unwrap();
            unfinished.apply(&saga);
            file.turn_over(&unfinished).unwrap();
        }
        assert!(file.header().number > 1 && file.header().number < 6, "{:?}", file.header());
        assert_eq!(names(directory.path()).len(), 1);
        let number = file.header().number;
        file.append(&group(100)).unwrap();
        drop(file);
        assert_eq!(open_gids(directory.path()), (0..12).chain([100]).collect::<Vec<_>>());
        assert_eq!(names(directory.path()), [format!("commits-{}.log", number + 1)]);
    }

    #[test]
    fn a_new_file_that_may_have_its_name_ends_the_log() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(count_open(directory.path()).unwrap(), 0);
        let Opened { mut file, unfinished } = open(directory.path()).unwrap();
        file.append(&group(1)).unwrap();
        file.full = file.end;
        // Nothing can be put in its place.
        let next = directory.path().join("commits-2.log");
        fs::create_dir(&next).unwrap();
        fs::write(next.join("x"), b"x").unwrap();
        assert!(matches!(file.turn_over(&unfinished), Err(Failure::Unknown(_))));
        fs::remove_dir_all(&next).unwrap();
        assert_eq!(open_gids(directory.path()), [1]);
    }

    #[test]
    fn a_full_disk_shows_before_and_a_failed_sync_ends_the_log() {
        let directory = tempfile::tempdir().unwrap();
        let mut file = open(directory.path()).unwrap().file;
        let faulty = |file: &LogFile, space, syncs| {
            let raw = OpenOptions::new().write(true).open(file.path()).unwrap();
            Box::new(Faulty { file: raw, space, syncs })
        };
        file.disk = faulty(&file, HEADER as u64, true);
        assert!(matches!(file.append(&group(1)), Err(Failure::Refused(_))) && file.is_short());
        assert_eq!(open_gids(directory.path()), Vec::<u64>::new());
        let mut file = open(directory.path()).unwrap().file;
        file.append(&group(1)).unwrap();
        assert!(!file.is_short());
        // What was taken ahead is still written to, and it is told.
        file.disk = faulty(&file, file.taken, true);
        let mut count = 0;
        while !file.is_short() {
            file.append(&[vec![3; 64 << 10]]).unwrap();
            count += 1;
        }
        assert!((10..16).contains(&count), "{count}");
        file.append(&group(2)).unwrap();
        file.disk = faulty(&file, u64::MAX, false);
        assert!(matches!(file.append(&group(3)), Err(Failure::Broken(_))), "space could not be made sure of");
        file.disk = faulty(&file, u64::MAX, true);
        file.append(&group(3)).unwrap();
        file.disk = faulty(&file, u64::MAX, false);
        assert!(matches!(file.append(&group(4)), Err(Failure::Unknown(_))));
    }

    #[test]
    fn every_kind_of_record_is_read_again() {
        let directory = tempfile::tempdir().unwrap();
        let mut file = open(directory.path()).unwrap().file;
        let group: Vec<Vec<u8>> = records().iter().map(record::to_bytes).collect();
        file.append(&group).unwrap();
        assert_eq!(read(&file.path()).unwrap().records, records());
        assert_eq!(open_gids(directory.path()), [1, 3]);
    }
}
