//! Appends to the log of changes, synced behind what is published.
//!
//! What is written waits in memory until it is on disk. When the disk refuses, the file is given up and what waits is written into
//! another one, tried again until it goes; until then the queue fills up, and whoever fills it waits.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::body::{self, Encoder, Standing};
use super::frame::{Frame, Kind};
use super::segment::{Disk, Files, Keep, Segment, now_ms};
use super::{Item, Pace, Part, Progress, Queued};
use crate::changes::hub::Applied;
use crate::changes::{ChangeSettings, Hook, Moment};
use crate::stores::StoreName;
use crate::stores::change::{Barrier, Entry, Group, Resume, Transaction};
use crate::stores::position::Position;
use crate::task::OwnedTask;

/// Most items that are written together.
const BATCH: usize = 256;
/// So many bytes are synced without waiting for the time.
const SYNC_BYTES: usize = 4 << 20;
/// So many bytes are handed to the file at a time.
const WRITE_BYTES: usize = 4 << 20;

/// What a writer keeps to.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    pub(super) settings: ChangeSettings,
    pub(super) pace: Pace,
    pub(super) held: Arc<AtomicU64>,
}

/// The file that is written.
#[derive(Debug)]
struct Written {
    disk: Box<dyn Disk>,
    segment: Arc<Segment>,
    /// Where the next frame begins.
    end: u64,
    encoder: Encoder,
    /// Where the pieces of a transaction begin that has not ended, and the number of the next shape there.
    open: Option<(u64, u32)>,
}

/// Appends to files. It waits for the disk.
#[derive(Debug)]
struct Appender {
    files: Files,
    kept: Kept,
    file: Option<Written>,
    /// What is known behind what was written.
    standing: Standing,
    /// What the store may be told of behind it.
    acknowledged: Option<(Position, Resume)>,
    /// Both, of what is on disk.
    durable: (Standing, Option<(Position, Resume)>),
}

impl Appender {
    fn begin(&mut self) -> io::Result<()> {
        let (disk, segment) = self.files.begin(&self.standing)?;
        let end = segment.bytes.load(Ordering::Relaxed);
        self.file = Some(Written { disk, segment, end, encoder: Encoder::new(), open: None });
        self.is_durable();
        Ok(())
    }

    /// All that was written is on disk.
    fn is_durable(&mut self) {
        self.durable = (self.standing.clone(), self.acknowledged.clone());
    }

    /// Gives up the file: what was written and is not on disk counts as not written. Whether a transaction had not ended, and the last
    /// one that is on disk.
    fn give_up(&mut self) -> (bool, u64) {
        let had_open = self.file.take().is_some_and(|file| file.open.is_some());
        (self.standing, self.acknowledged) = self.durable.clone();
        (had_open, self.standing.seq)
    }

    fn write(&mut self, items: &[Item]) -> io::Result<()> {
        if self.file.is_none() {
            self.begin()?;
        }
        let mut bytes = Vec::new();
        for item in items {
            if self.is_full(bytes.len()) {
                self.flush(&mut bytes)?;
                self.roll()?;
            }
            if matches!(item, Item::Abort) {
                self.flush(&mut bytes)?;
                self.abort()?;
            } else {
                self.append(item, &mut bytes);
            }
            if bytes.len() >= WRITE_BYTES {
                self.flush(&mut bytes)?;
            }
        }
        self.flush(&mut bytes)
    }

    /// Whether the file is full. A transaction is never in two files.
    fn is_full(&self, more: usize) -> bool {
        let most = self.kept.pace.segment.min(self.kept.settings.log_bytes / 4);
        let more = u64::try_from(more).unwrap_or(u64::MAX);
        self.file.as_ref().is_some_and(|file| file.open.is_none() && file.end.saturating_add(more) >= most)
    }

    /// Ends the file and begins another one.
    fn roll(&mut self) -> io::Result<()> {
        if self.kept.settings.is_durable
            && let Some(file) = &mut self.file
        {
            file.disk.sync()?;
        }
        self.begin()?;
        self.retain();
        Ok(())
    }

    fn retain(&self) {
        let held = Some(self.kept.held.load(Ordering::Relaxed)).filter(|seq| *seq != u64::MAX);
        let settings = &self.kept.settings;
        self.files.retain(Keep { bytes: settings.log_bytes, age: settings.log_age, held });
    }

    fn flush(&mut self, bytes: &mut Vec<u8>) -> io::Result<()> {
        let Some(file) = self.file.as_mut().filter(|_| !bytes.is_empty()) else { return Ok(()) };
        file.disk.write(bytes, file.end)?;
        file.end += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        file.segment.bytes.store(file.end, Ordering::Relaxed);
        file.segment.last_ms.store(now_ms(), Ordering::Relaxed);
        bytes.clear();
        Ok(())
    }

    /// Drops the pieces of the transaction that has not ended.
    fn abort(&mut self) -> io::Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        if let Some((start, shapes)) = file.open.take() {
            file.disk.cut(start)?;
            file.encoder.forget_from(shapes);
            file.end = start;
            file.segment.bytes.store(start, Ordering::Relaxed);
        }
        Ok(())
    }

    fn append(&mut self, item: &Item, out: &mut Vec<u8>) {
        let Some(file) = &mut self.file else { return };
        let (salt, seq, now) = (file.segment.header.salt, self.standing.seq, now_ms());
        match item {
            Item::Group { group, first, part, acknowledges } => {
                if !file.group(group, *first, *part, out) {
                    return;
                }
                if *part != Part::Piece {
                    self.has_ended(group, *first, *acknowledges);
                }
            }
            Item::Mark { position, resume } => {
                let frame = Frame::begin(out);
                body::write_mark(position, resume, out);
                frame.end(out, salt, Kind::Mark, (seq, 0, now));
                (self.standing.position, self.standing.resume) = (Some(position.clone()), Some(resume.clone()));
                self.acknowledged = Some((position.clone(), resume.clone()));
            }
            Item::Followed(followed, is_filled) => {
                (self.standing.followed, self.standing.has_begun) = (followed.clone(), true);
                self.standing.is_filled = *is_filled;
                let frame = Frame::begin(out);
                self.standing.write(out);
                frame.end(out, salt, Kind::Standing, (seq, 0, now));
            }
            Item::Abort => {}
        }
    }

    fn has_ended(&mut self, group: &Group, first: u64, acknowledges: bool) {
        self.standing.seq = last_of(group, first);
        self.standing.has_begun = true;
        // Behind a gap nothing is known of the store.
        let is_known = !group.resume.0.is_empty();
        self.standing.position = group.transactions.last().filter(|_| is_known).map(|last| last.position.clone());
        self.standing.resume = Some(group.resume.clone()).filter(|_| is_known);
        self.standing.is_filled &= is_known;
        if acknowledges {
            self.acknowledged = self.standing.position.clone().zip(self.standing.resume.clone());
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        if self.kept.settings.is_durable
            && let Some(file) = &mut self.file
        {
            file.disk.sync()?;
        }
        self.is_durable();
        Ok(())
    }
}

impl Written {
    /// Appends a group. `false`: it is a piece of a transaction whose first piece was lost, and is left out.
    fn group(&mut self, group: &Group, first: u64, part: Part, out: &mut Vec<u8>) -> bool {
        if part != Part::Whole && !begins(group) && self.open.is_none() {
            return false;
        }
        let place = (self.end + u64::try_from(out.len()).unwrap_or(u64::MAX), self.encoder.next());
        let (kind, count) = match part {
            Part::Whole => (Kind::Group, u32::try_from(group.transactions.len()).unwrap_or(u32::MAX)),
            Part::Piece => (Kind::Piece, 1),
            Part::LastPiece => (Kind::LastPiece, 1),
        };
        if let Err(reason) = self.frames(group, kind, (first, count), out) {
            tracing::error!(store = %group.store, %reason, "changes cannot be written to their log, which has a gap there");
            // Barriers alone have always a place.
            self.frames(&unwritable(group, &reason), kind, (first, count), out).ok();
        }
        match part {
            Part::Piece => _ = self.open.get_or_insert(place),
            Part::Whole | Part::LastPiece => self.open = None,
        }
        true
    }

    fn frames(&mut self, group: &Group, kind: Kind, (first, count): (u64, u32), out: &mut Vec<u8>) -> Result<(), String> {
        let (salt, before, shapes) = (self.segment.header.salt, out.len(), self.encoder.next());
        for (number, shape) in self.encoder.new_shapes(group) {
            let frame = Frame::begin(out);
            body::write_shape(number, &shape, out);
            frame.end(out, salt, Kind::Shape, (first, 0, group.received_ms));
        }
        let frame = Frame::begin(out);
        let encoded = self.encoder.group(group, out).map_err(|broken| broken.to_string());
        let written = encoded.and_then(|()| {
            let is_whole = frame.end(out, salt, kind, (first, count, group.received_ms));
            is_whole.then_some(()).ok_or_else(|| "it is too large".to_owned())
        });
        if written.is_err() {
            out.truncate(before);
            self.encoder.forget_from(shapes);
        }
        written
    }
}

/// The last transaction of a group.
fn last_of(group: &Group, first: u64) -> u64 {
    (first + u64::try_from(group.transactions.len()).unwrap_or(u64::MAX)).saturating_sub(1)
}

/// How many of what was written, in order, are on disk: all up to the last transaction that is. What was noted before that must not
/// be written again behind it.
pub(super) fn durable_items(written: &VecDeque<Queued>, durable: u64) -> usize {
    let is_durable =
        |queued: &Queued| matches!(&queued.item, Item::Group { group, first, .. } if last_of(group, *first) <= durable);
    written.iter().rposition(is_durable).map_or(0, |last| last + 1)
}

/// Whether a group has the beginning of its first transaction.
fn begins(group: &Group) -> bool {
    group.transactions.first().is_some_and(|transaction| transaction.first == 0)
}

/// What stands in the place of a group that has no form in the log.
fn unwritable(group: &Group, reason: &str) -> Group {
    let gap = |transaction: &Transaction| {
        let reason = format!("changes of a transaction could not be kept: {reason}");
        Transaction { entries: vec![Entry::Barrier(Barrier::Gap { reason })], ..transaction.clone() }
    };
    Group {
        store: group.store.clone(),
        identity: Arc::clone(&group.identity),
        transactions: group.transactions.iter().map(gap).collect(),
        rows: Vec::new(),
        resume: group.resume.clone(),
        received_ms: group.received_ms,
    }
}

/// The task that writes.
#[derive(Debug)]
pub(crate) struct Writer {
    store: StoreName,
    /// Not here while it is at work.
    appender: Option<Box<Appender>>,
    queue: mpsc::Receiver<Queued>,
    /// Written, and not on disk.
    pending: VecDeque<Queued>,
    told: watch::Sender<Progress>,
    calls: Calls,
    pace: Pace,
    is_durable: bool,
    sync_at: Instant,
    retained_at: Instant,
}

/// Whom it tells.
struct Calls {
    hook: Hook,
    applied: Arc<watch::Sender<Applied>>,
}

impl std::fmt::Debug for Calls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Calls").finish_non_exhaustive()
    }
}

impl Writer {
    /// Begins a file. It waits for the disk.
    pub(super) fn open(
        files: Files,
        standing: Standing,
        kept: Kept,
        (queue, told): (mpsc::Receiver<Queued>, watch::Sender<Progress>),
        (hook, applied): (Hook, Arc<watch::Sender<Applied>>),
    ) -> io::Result<Self> {
        let (store, pace, is_durable) = (files.store.clone(), kept.pace, kept.settings.is_durable);
        let durable = (standing.clone(), None);
        let mut appender = Appender { files, kept, file: None, standing, acknowledged: None, durable };
        appender.begin()?;
        appender.retain();
        if is_durable {
            applied.send_modify(|applied| applied.durable = appender.durable.0.seq);
        }
        let now = Instant::now();
        Ok(Self {
            store,
            appender: Some(Box::new(appender)),
            queue,
            pending: VecDeque::new(),
            told,
            calls: Calls { hook, applied },
            pace,
            is_durable,
            sync_at: now,
            retained_at: now,
        })
    }

    /// Writes until the queue is dropped and all of it is on disk.
    pub(crate) async fn run(mut self) {
        loop {
            let mut batch = Vec::new();
            // Cancel-safe: what was not received is still in the queue.
            let is_open = tokio::select! {
                biased;
                () = tokio::time::sleep_until(self.sync_at), if !self.pending.is_empty() => true,
                count = self.queue.recv_many(&mut batch, BATCH) => count > 0,
                // What was held when the last was written may have been let go of since.
                () = tokio::time::sleep_until(self.retained_at + self.pace.retain), if self.pending.is_empty() => {
                    self.retained_at = Instant::now();
                    if self.at_work(|appender| appender.retain()).await.is_none() {
                        return;
                    }
                    continue;
                }
            };
            let was_idle = self.pending.is_empty();
            if !self.write(batch).await {
                return;
            }
            if was_idle && !self.pending.is_empty() {
                self.sync_at = self.sync_at.max(Instant::now());
                self.told.send_modify(|progress| progress.unsynced_ms = Some(now_ms()));
            }
            let is_due = !is_open || Instant::now() >= self.sync_at || self.pending_bytes() >= SYNC_BYTES;
            if is_due && !self.pending.is_empty() && !self.sync().await {
                return;
            }
            if !is_open {
                return;
            }
        }
    }

    fn pending_bytes(&self) -> usize {
        self.pending.iter().map(|queued| queued.bytes).sum()
    }

    /// Lets the appender work on a thread that may wait. `None`: it died, and so does the writer.
    async fn at_work<T: Send + 'static>(&mut self, work: impl FnOnce(&mut Appender) -> T + Send + 'static) -> Option<T> {
        let mut appender = self.appender.take()?;
        let done = OwnedTask::spawn_blocking(move || {
            let outcome = work(appender.as_mut());
            (appender, outcome)
        });
        let Some((appender, outcome)) = done.join().await else {
            tracing::error!(store = %self.store, "the log of changes has ended by a fault");
            self.told.send_modify(|progress| progress.failing = Some("it has ended by a fault".to_owned()));
            return None;
        };
        self.appender = Some(appender);
        Some(outcome)
    }

    /// Writes a batch. `false`: the writer ends.
    async fn write(&mut self, batch: Vec<Queued>) -> bool {
        if batch.is_empty() {
            return true;
        }
        let work = move |appender: &mut Appender| {
            let items: Vec<Item> = batch.iter().map(|queued| queued.item.clone()).collect();
            let written = appender.write(&items);
            (batch, written)
        };
        let Some((batch, written)) = self.at_work(work).await else { return false };
        match written {
            Ok(()) => {
                self.pending.extend(batch);
                self.tell_written();
                true
            }
            Err(error) => {
                self.pending.extend(batch);
                self.recover(&error).await
            }
        }
    }

    fn tell_written(&mut self) {
        let Some(appender) = &self.appender else { return };
        let (seq, acknowledged) = (appender.standing.seq, appender.acknowledged.clone());
        let is_durable = self.is_durable;
        self.told.send_modify(|progress| {
            progress.written = seq;
            if !is_durable {
                progress.acknowledged = acknowledged;
            }
        });
    }

    /// Puts on disk what was written. `false`: the writer ends.
    async fn sync(&mut self) -> bool {
        (self.calls.hook)(Moment::Sync).await;
        let retains = self.retained_at.elapsed() >= self.pace.retain;
        let work = move |appender: &mut Appender| {
            appender.sync()?;
            if retains {
                appender.retain();
            }
            Ok::<_, io::Error>((appender.standing.seq, appender.acknowledged.clone()))
        };
        let Some(synced) = self.at_work(work).await else { return false };
        self.sync_at = Instant::now() + self.pace.sync;
        if retains {
            self.retained_at = Instant::now();
        }
        match synced {
            Ok((seq, acknowledged)) => {
                self.pending.clear();
                if self.is_durable {
                    self.calls.applied.send_modify(|applied| applied.durable = seq);
                }
                self.told.send_modify(|progress| (progress.acknowledged, progress.unsynced_ms) = (acknowledged, None));
                true
            }
            Err(error) => self.recover(&error).await,
        }
    }

    /// Gives up the file and writes what waits into another one, until that goes. `false`: the writer ends.
    async fn recover(&mut self, error: &io::Error) -> bool {
        tracing::error!(store = %self.store, %error, "the log of changes cannot be written; it is tried again");
        let Some((had_open, durable)) = self.at_work(Appender::give_up).await else { return false };
        // A file that was full is on disk, and what is in it has not been forgotten yet.
        let on_disk = durable_items(&self.pending, durable);
        self.pending.drain(..on_disk);
        let was_cut = self.drop_pieces();
        let reason = error.to_string();
        self.told.send_modify(|progress| {
            // What is written again is read from where it will be.
            progress.written = progress.written.min(durable);
            progress.failing = Some(reason);
            progress.aborted += u64::from(had_open || was_cut);
        });
        loop {
            tokio::time::sleep(self.pace.retry).await;
            let items: Vec<Item> = self.pending.iter().map(|queued| queued.item.clone()).collect();
            let work = move |appender: &mut Appender| {
                let written = appender.write(&items);
                if written.is_err() {
                    appender.give_up();
                }
                written
            };
            match self.at_work(work).await {
                None => return false,
                Some(Ok(())) => {
                    tracing::info!(store = %self.store, "the log of changes is written again");
                    self.told.send_modify(|progress| progress.failing = None);
                    self.tell_written();
                    return true;
                }
                Some(Err(error)) => {
                    if self.queue.is_closed() {
                        return false;
                    }
                    let reason = error.to_string();
                    self.told.send_modify(|progress| progress.failing = Some(reason));
                }
            }
        }
    }

    /// Drops what waits of a transaction that is not whole there, and which nobody was told of. One of which somebody was told has a
    /// gap in its place.
    fn drop_pieces(&mut self) -> bool {
        let (mut kept, mut open, mut was_cut) = (VecDeque::new(), None::<Vec<Queued>>, false);
        let published = self.told.borrow().written;
        for mut queued in std::mem::take(&mut self.pending) {
            let (first, part, begins) = match &queued.item {
                Item::Group { group, first, part, .. } => (*first, *part, begins(group)),
                Item::Abort => {
                    open = None;
                    continue;
                }
                Item::Mark { .. } | Item::Followed(..) => (0, Part::Whole, true),
            };
            match (part, open.take()) {
                (Part::Whole, before) => {
                    open = before;
                    kept.push_back(queued);
                }
                (Part::Piece, _) if begins => open = Some(vec![queued]),
                (Part::Piece, Some(mut pieces)) => {
                    pieces.push(queued);
                    open = Some(pieces);
                }
                (Part::LastPiece, Some(pieces)) => {
                    kept.extend(pieces);
                    kept.push_back(queued);
                }
                (Part::LastPiece, None) if first <= published => {
                    gap_instead(&mut queued.item);
                    kept.push_back(queued);
                }
                (Part::Piece | Part::LastPiece, None) => was_cut = true,
            }
        }
        self.pending = kept;
        was_cut || open.is_some()
    }
}

/// Puts a gap into the place of a transaction whose last piece this is.
fn gap_instead(item: &mut Item) {
    let Item::Group { group, part, .. } = item else { return };
    let mut whole = unwritable(group, "the disk failed");
    for transaction in &mut whole.transactions {
        transaction.first = 0;
    }
    (*group, *part) = (Arc::new(whole), Part::Whole);
}
