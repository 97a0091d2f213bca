//! Reads the log of changes again, a frame at a time.
//!
//! A reader keeps its file open, so that it reads on in one that has been removed since; whether the next one is there is seen between
//! files.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::sync::Arc;

use arrow::buffer::Buffer;
use tokio::sync::Semaphore;

use super::body;
use super::frame::{HEAD, Head, Kind};
use super::segment::{Files, HEADER, Segment, read_frame, read_head};
use crate::stores::StoreName;
use crate::stores::change::{Group, Shape};
use crate::task::OwnedTask;

/// How often a file is looked for that is replaced or removed at the same time.
const TRIES: usize = 5;

/// What was read.
#[derive(Debug)]
pub(crate) struct Found {
    /// The group.
    pub(crate) group: Arc<Group>,
    /// The number of its first transaction.
    pub(crate) first: u64,
}

/// Why nothing was read.
#[derive(Debug)]
pub(crate) enum Missing {
    /// It is not kept any more.
    Gone,
    /// The file does not hold it, or cannot be read: why, as a clause.
    Failed(String),
}

/// A place in a file from which it is read on.
#[derive(Debug)]
pub(crate) struct SegmentReader {
    segment: Arc<Segment>,
    file: File,
    /// Where the next frame begins.
    at: u64,
    /// The first transaction that is not behind that place.
    from: u64,
    shapes: HashMap<u32, Arc<Shape>>,
    store: StoreName,
}

#[derive(Debug)]
enum Fault {
    Io(io::Error),
    Damaged(String),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Reads the group with a transaction, or the piece of it with an entry.
pub(super) async fn read(
    files: &Files,
    reads: &Arc<Semaphore>,
    reader: Option<SegmentReader>,
    (seq, ordinal): (u64, u32),
) -> Result<(SegmentReader, Found), Missing> {
    let died = || Missing::Failed("it could not be read".to_owned());
    let permit = Arc::clone(reads).acquire_owned().await.map_err(|_closed| died())?;
    let files = files.clone();
    let work = move || {
        let read = read_now(&files, reader, seq, ordinal);
        drop(permit);
        read
    };
    OwnedTask::spawn_blocking(work).join().await.unwrap_or_else(|| Err(died()))
}

fn read_now(files: &Files, reader: Option<SegmentReader>, seq: u64, ordinal: u32) -> Result<(SegmentReader, Found), Missing> {
    let mut reader = reader;
    for _ in 0..TRIES {
        let Some((segment, _)) = files.of(seq) else {
            // Removed, and perhaps still open here.
            let mut reader = reader.filter(|reader| reader.from <= seq).ok_or(Missing::Gone)?;
            let found = reader.next(seq, ordinal).map_err(|_not_in_it| Missing::Gone)?;
            return Ok((reader, found));
        };
        let goes_on = |reader: &SegmentReader| Arc::ptr_eq(&reader.segment, &segment) && reader.from <= seq;
        let opened = match reader.take().filter(goes_on) {
            Some(reader) => Some(reader),
            None => SegmentReader::open(&segment, files).map_err(|error| Missing::Failed(error.to_string()))?,
        };
        // Removed or replaced in between.
        let Some(mut opened) = opened else { continue };
        return match opened.next(seq, ordinal) {
            Ok(found) => Ok((opened, found)),
            Err(Fault::Io(error)) => Err(Missing::Failed(error.to_string())),
            Err(Fault::Damaged(reason)) => {
                files.drop_damaged(&segment, &reason);
                Err(Missing::Failed("the log of changes is damaged there".to_owned()))
            }
        };
    }
    Err(Missing::Gone)
}

impl SegmentReader {
    /// Opens a file at its beginning; `None` where it is not there any more, or is another one.
    fn open(segment: &Arc<Segment>, files: &Files) -> io::Result<Option<Self>> {
        let file = match File::open(&segment.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        let at = HEADER as u64;
        // The first frame is whole as long as the file is the one that it was.
        if read_frame(&file, at, segment.header.salt)?.is_none() {
            return Ok(None);
        }
        let store = files.store.clone();
        let from = segment.header.first;
        Ok(Some(Self { segment: Arc::clone(segment), file, at, from, shapes: HashMap::new(), store }))
    }

    /// The group with a transaction, or the piece of it with an entry: the last piece also where the entry is behind it. Pieces that were
    /// given before are not found again.
    fn next(&mut self, seq: u64, ordinal: u32) -> Result<Found, Fault> {
        let missing = || Fault::Damaged(format!("transaction {seq} is not where it was written"));
        loop {
            let head = read_head(&self.file, self.at)?.ok_or_else(missing)?;
            let has_it = match head.kind {
                Kind::Shape => true,
                Kind::Group | Kind::Piece | Kind::LastPiece => (head.first..=head.last()).contains(&seq),
                Kind::Standing | Kind::Mark => false,
            };
            let is_behind = matches!(head.kind, Kind::Group | Kind::Piece | Kind::LastPiece) && head.first > seq;
            if is_behind {
                return Err(missing());
            }
            let frame = if has_it { Some(self.frame()?) } else { None };
            self.at += u64::try_from(HEAD + head.length).unwrap_or(u64::MAX);
            let Some((head, body)) = frame else { continue };
            match head.kind {
                Kind::Group | Kind::LastPiece => self.from = head.last().saturating_add(1),
                Kind::Piece => self.from = head.first,
                Kind::Shape | Kind::Standing | Kind::Mark => {}
            }
            if head.kind == Kind::Shape {
                let (number, shape) = body::read_shape(&body).map_err(|broken| Fault::Damaged(broken.to_string()))?;
                self.shapes.insert(number, Arc::new(shape));
                continue;
            }
            let group = body::read_group(&Buffer::from(body), &self.shapes, &self.store);
            let group = group.map_err(|broken| Fault::Damaged(broken.to_string()))?;
            if head.kind == Kind::Group || holds(&group, ordinal) {
                return Ok(Found { group: Arc::new(group), first: head.first });
            }
        }
    }

    fn frame(&self) -> Result<(Head, Vec<u8>), Fault> {
        let frame = read_frame(&self.file, self.at, self.segment.header.salt)?;
        frame.ok_or_else(|| Fault::Damaged(format!("there is no whole frame at byte {}", self.at)))
    }
}

/// Whether a piece has the entry, or ends its transaction.
fn holds(group: &Group, ordinal: u32) -> bool {
    group.transactions.first().is_some_and(|piece| {
        let end = u64::from(piece.first) + u64::try_from(piece.entries.len()).unwrap_or(u64::MAX);
        piece.ends || u64::from(ordinal) < end
    })
}
