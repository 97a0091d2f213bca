//! The task of a feed: reads the stream, keeps everything of one time together, and closes a group when the server has nothing more to
//! give or the group is full.
//!
//! A transaction has no event that ends it. What belongs to one has one time; it is over when something of another time comes, or
//! nothing. A single write has its time for itself and need not wait for that, on servers that give every write a time of its own. The
//! driver says of a stream that was just opened, also by itself behind a broken connection, that there is nothing, though nothing was
//! looked for: only where the server has waited as long as it was asked to, or when it is said twice, is a transaction over by that. So
//! none begins in a stream whose server waits long because nothing has happened: what begins it is read again in another one.
//!
//! An event that is too large to be sent fails the whole batch. The stream is then read event by event, and the one that fails again
//! is asked for once more without documents.
//!
//! **Invariants:** a call of the driver is never dropped before it has ended, but with the stream; whoever waits for room in the
//! channel still hears commands.

mod patience;

use std::collections::{HashMap, HashSet};
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mongodb::bson::Timestamp;
use mongodb::bson::raw::RawDocumentBuf;
use mongodb::change_stream::event::ResumeToken;
use tokio::sync::{mpsc, oneshot};

use super::super::Shared;
use super::super::own;
use super::super::pool::Deployment;
use super::event::{Event, Kind};
use super::open::{Failed, Pace, Start, Stream, failed, open};
use super::rows::{Built, Collected, Happened, Watched, build};
use super::survey::Place;
use super::token::{Kept, kept, looked_at, time_of, token_of};
use super::{number, of_number, position};
use crate::stores::capture::{Ended, Followed, Step};
use crate::stores::change::{Barrier, GROUP_BYTES_MAX, GROUP_ROWS_MAX, Group, RESUME_BYTES_MAX, Resume, Transaction};
use crate::stores::schema::TableId;
use patience::{AWAIT, is_of_server, is_read_again, is_single};

/// A server that has answered before and does not answer for so long is gone. Until then it may have a long history to look through,
/// of which it says nothing.
const SILENCE: Duration = Duration::from_secs(15);
/// How long before a stream that has ended is opened again.
const PAUSE: Duration = Duration::from_millis(100);
/// How often it is told that nothing happens.
const BEAT: Duration = Duration::from_secs(10);
/// The first server that says the parts of a path, and keeps documents as they were.
pub(super) const WIRE_MIN: i32 = 17;

/// What a feed asks of its task.
#[derive(Debug)]
pub(super) enum Command {
    Reshape { tables: Vec<Followed>, done: oneshot::Sender<()> },
}

/// How the task and its feed reach one another.
#[derive(Debug)]
pub(super) struct Way {
    pub(super) steps: mpsc::Sender<Result<Step, Ended>>,
    pub(super) inbox: mpsc::Receiver<Command>,
    /// The time that was given last.
    pub(super) applied: Arc<AtomicU64>,
}

/// Why the task stops.
enum Stop {
    /// Nobody reads the feed any more.
    Over,
    Ended(Ended),
}

impl From<Ended> for Stop {
    fn from(ended: Ended) -> Self {
        Self::Ended(ended)
    }
}

/// The transaction to which more may come.
#[derive(Debug, Clone, Copy)]
struct Open {
    time: Timestamp,
}

pub(super) struct Worker {
    shared: Arc<Shared>,
    deployment: Deployment,
    identity: Arc<str>,
    way: Way,
    watched: HashMap<TableId, Watched>,
    /// Collections of which nothing is told until they are followed anew.
    stopped: HashSet<TableId>,
    /// Tables that are to be followed from the next group on.
    asked: Option<Vec<Followed>>,
    /// What is told before the next change.
    pending: Vec<Barrier>,
    doubts: Vec<TableId>,
    collected: Vec<Collected>,
    open: Option<Open>,
    /// Bytes and things in `collected`.
    held: (usize, usize),
    pace: Pace,
    /// How long the server waits for something to happen.
    patience: Duration,
    /// When something happened last.
    stirred: Instant,
    /// Where the stream goes on when it is opened again.
    start: Start,
    /// What has this time or one before it was given before the stream was opened.
    given: Timestamp,
    /// Whether nothing was asked of the stream since it was opened.
    is_fresh: bool,
    /// Whether the server has answered since then.
    has_answered: bool,
    /// Whether it was said that there is nothing, and not believed.
    is_unsure: bool,
    /// Behind the last event.
    token: Option<ResumeToken>,
    /// Behind the last whole transaction.
    whole: Option<ResumeToken>,
    /// The time of the last whole transaction, or up to which nothing happened.
    last: Timestamp,
    /// The last way to go on that could be kept.
    behind: Resume,
    /// The time with which the stream was opened: nothing that has it need have been looked at.
    opened_at: Option<Timestamp>,
    told: Instant,
    /// The position that was told last, as a number.
    reached: u64,
}

impl Worker {
    /// Opens the stream, behind what was given before or from now.
    ///
    /// # Errors
    /// See [`Ended`].
    pub(super) async fn begin(
        shared: Arc<Shared>,
        deployment: Deployment,
        place: Place,
        (tables, from): (&[Followed], Option<&Resume>),
        way: Way,
    ) -> Result<(Self, Stream), Ended> {
        let kept = match from {
            Some(resume) => Some(kept(resume, &place)?),
            None => None,
        };
        // Counted from a write that is there, and not from the one that comes next: of that one, where it is none of ours, the server would not
        // tell that it has passed it.
        let now = place.kept.filter(|_| !deployment.sharded);
        let mut worker = Self {
            shared,
            deployment,
            identity: Arc::from(place.identity.as_str()),
            way,
            watched: HashMap::new(),
            stopped: HashSet::new(),
            asked: None,
            pending: Vec::new(),
            doubts: Vec::new(),
            collected: Vec::new(),
            open: None,
            held: (0, 0),
            pace: Pace::Usual,
            patience: AWAIT,
            stirred: Instant::now(),
            start: Start::Now,
            given: of_number(0),
            is_fresh: true,
            has_answered: false,
            is_unsure: false,
            token: kept.as_ref().map(|kept| kept.token.clone()),
            whole: kept.as_ref().map(|kept| kept.token.clone()),
            last: kept.as_ref().map_or_else(|| now.unwrap_or(of_number(0)), Kept::at),
            behind: from.cloned().unwrap_or_default(),
            opened_at: None,
            told: Instant::now(),
            reached: 0,
        };
        worker.watch(tables);
        worker.way.applied.store(number(worker.last), Ordering::Release);
        worker.begin_again();
        let stream = worker.opened().await?;
        if worker.token.is_none() {
            // From now, also where nothing happens before the next start.
            worker.token = stream.resume_token();
            worker.whole.clone_from(&worker.token);
            // Also where the first event is too large, behind which another stream from now would begin.
            if let (Start::Now, Some(token)) = (&worker.start, &worker.token) {
                worker.start = Start::Behind(token.clone());
            }
        }
        Ok((worker, stream))
    }

    fn watch(&mut self, tables: &[Followed]) {
        let watched = tables.iter().map(|followed| {
            let on_mismatch = self.shared.options_of(&followed.table.id).on_mismatch;
            (followed.table.id.clone(), Watched::new(followed, on_mismatch))
        });
        self.watched = watched.collect();
    }

    /// The next stream may be of other collections, and then does not show the event that the token is of. Nothing may be open.
    fn begin_again(&mut self) {
        self.given = self.last;
        self.start = match self.token.clone() {
            _ if number(self.last) > 0 => Start::At(self.last),
            Some(token) => Start::Behind(token),
            None => Start::Now,
        };
    }

    /// Opens the stream where it goes on. What is too large to be sent is asked for in another way.
    async fn opened(&mut self) -> Result<Stream, Ended> {
        self.patience = self.patience_now();
        loop {
            let opened = open(&self.shared.pool, self.watched.keys(), &self.start, (self.pace, self.patience)).await;
            (self.is_fresh, self.has_answered) = (true, false);
            match opened {
                Ok(stream) => {
                    self.opened_at = stream.resume_token().as_ref().and_then(time_of);
                    return Ok(stream);
                }
                Err(Failed::Ended(ended)) => return Err(ended),
                Err(Failed::TooLarge) => self.slow_down()?,
            }
        }
    }

    fn slow_down(&mut self) -> Result<(), Ended> {
        self.stirred = Instant::now();
        let slower = self.pace.slower();
        self.pace = slower.ok_or_else(|| Ended::Lost("an event is too large to be sent even without its documents".to_owned()))?;
        tracing::debug!(store = %self.shared.name, pace = ?self.pace, "an event is too large to be sent with others");
        Ok(())
    }

    /// Reads the stream until nobody reads the feed, or it ends.
    pub(super) async fn run(mut self, mut stream: Stream) {
        loop {
            match Box::pin(self.turn(&mut stream)).await {
                Ok(None) => {}
                Ok(Some(opened)) => stream = opened,
                Err(Stop::Over) => return,
                Err(Stop::Ended(ended)) => {
                    drop(self.hand(Err(ended)).await);
                    return;
                }
            }
        }
    }

    /// Takes one event, or learns that there is none. Gives another stream where that has to be opened.
    async fn turn(&mut self, stream: &mut Stream) -> Result<Option<Stream>, Stop> {
        if self.way.steps.is_closed() {
            return Err(Stop::Over);
        }
        self.hear();
        if self.reshaped().await? {
            return self.opened().await.map(Some).map_err(Stop::Ended);
        }
        let asked = Instant::now();
        let next = {
            let mut next = Box::pin(stream.next_if_any());
            match poll_fn(|context| Poll::Ready(next.as_mut().poll(context))).await {
                Poll::Ready(next) => next,
                // The server has to be asked: whoever waits for what there is need not wait for that.
                Poll::Pending => {
                    if self.open.is_none() {
                        self.flush().await?;
                    }
                    match self.answer(next.as_mut()).await? {
                        Some(next) => next,
                        // The call ends with its stream, and what it would have given is read again; of other tables, where those are asked for.
                        None => {
                            self.reshaped().await?;
                            return self.opened().await.map(Some).map_err(Stop::Ended);
                        }
                    }
                }
            }
        };
        let was_fresh = std::mem::take(&mut self.is_fresh);
        self.has_answered |= matches!(next, Ok(Some(_))) || (next.is_ok() && !was_fresh);
        let is_doubtful =
            matches!(next, Ok(None)) && self.open.is_some() && stream.is_alive() && !is_of_server(asked.elapsed(), self.patience);
        if is_doubtful && !std::mem::replace(&mut self.is_unsure, true) {
            return Ok(None);
        }
        self.is_unsure = false;
        match next {
            Err(error) => match failed(&self.shared.pool, &error) {
                Failed::Ended(ended) => Err(Stop::Ended(ended)),
                Failed::TooLarge => {
                    self.slow_down()?;
                    self.opened().await.map(Some).map_err(Stop::Ended)
                }
            },
            Ok(Some(raw)) => self.event(raw).await,
            Ok(None) => self.nothing(stream).await,
        }
    }

    /// Follows what was asked for. True when the stream has to be opened again.
    async fn reshaped(&mut self) -> Result<bool, Stop> {
        // A transaction goes on in the stream that it began in.
        if self.open.is_some() {
            return Ok(false);
        }
        let Some(tables) = self.asked.take() else { return Ok(false) };
        self.flush().await?;
        let is_other = self.reshape(&tables);
        if is_other {
            self.begin_again();
        }
        Ok(is_other)
    }

    async fn event(&mut self, raw: RawDocumentBuf) -> Result<Option<Stream>, Stop> {
        let unreadable = || Stop::Ended(Ended::Lost("an event of the server could not be understood".to_owned()));
        let token = token_of(&raw).ok_or_else(unreadable)?;
        let event = Event::read(raw, self.pace == Pace::Bare).ok_or_else(unreadable)?;
        let is_new = number(event.time) > number(self.given);
        self.stirred = Instant::now();
        let is_single = is_single(&event, self.deployment);
        if is_read_again((is_new, is_single), self.patience) {
            // Behind what came before it, which is given first: that nothing more is there, which ends it, would be said too late here.
            self.flush().await?;
            self.stirred = Instant::now();
            let opened = self.opened().await.map_err(Stop::Ended)?;
            // However long that took: it is read from that stream.
            self.stirred = Instant::now();
            return Ok(Some(opened));
        }
        self.start = Start::Behind(token.clone());
        if !is_new {
            return self.passed(&event.kind).await;
        }
        let goes_on = self.open.is_some_and(|open| open.time == event.time);
        if !goes_on {
            self.close();
            if event.transaction.is_some() {
                // What came before need not wait for the end of it.
                self.flush().await?;
            }
        }
        self.token = Some(token);
        let (kind, table) = (event.kind.clone(), event.table.clone());
        self.collect(event, goes_on);
        if is_single {
            self.close();
        }
        if let Kind::Defined | Kind::Drop | Kind::Rename(_) | Kind::DropDatabase = kind {
            self.doubt(table, &kind);
        }
        if self.held.0 >= GROUP_BYTES_MAX || self.held.1 >= GROUP_ROWS_MAX {
            self.flush().await?;
        }
        if kind == Kind::Invalidate {
            self.close();
            self.flush().await?;
        }
        self.passed(&kind).await
    }

    /// Goes on behind an event, with another stream where this one has no more.
    async fn passed(&mut self, kind: &Kind) -> Result<Option<Stream>, Stop> {
        if self.pace == Pace::Bare || *kind == Kind::Invalidate {
            self.pace = Pace::Usual;
            return self.opened().await.map(Some).map_err(Stop::Ended);
        }
        Ok(None)
    }

    /// Puts an event to those of its time.
    fn collect(&mut self, event: Event, goes_on: bool) {
        if !goes_on {
            let time = event.time;
            let id = event.transaction.clone().unwrap_or_else(|| format!("{}.{}", time.time, time.increment));
            let happened = std::mem::take(&mut self.pending).into_iter().map(Happened::Barrier).collect();
            self.collected.push(Collected { id, time, committed_us: event.committed_us, first: 0, happened });
            self.open = Some(Open { time });
        }
        self.held = (self.held.0 + event.bytes(), self.held.1 + 1);
        if let Some(transaction) = self.collected.last_mut() {
            transaction.happened.push(Happened::Event(Box::new(event)));
        }
    }

    /// The open transaction is over.
    fn close(&mut self) {
        if let Some(open) = self.open.take() {
            self.last = open.time;
            self.whole.clone_from(&self.token);
        }
    }

    /// Notes that tables may be others now.
    fn doubt(&mut self, table: TableId, kind: &Kind) {
        if !self.shared.pool.serves(&table.namespace) || own::is_hidden(&self.shared.pool, &table) {
            return;
        }
        match kind {
            Kind::DropDatabase => self.doubts.extend(self.watched.keys().filter(|id| id.namespace == table.namespace).cloned()),
            _ => self.doubts.push(table),
        }
    }

    /// Nothing more is there now.
    async fn nothing(&mut self, stream: &mut Stream) -> Result<Option<Stream>, Stop> {
        let is_alive = stream.is_alive();
        // The server may have looked further than the last event.
        let seen = stream.resume_token().filter(|_| is_alive);
        let is_asked_otherwise = seen.is_some() && self.patience != self.patience_now();
        self.close();
        self.flush().await?;
        if let Some(token) = seen {
            let time = time_of(&token).map(|time| looked_at(time, self.opened_at, self.deployment.sharded));
            let time = time.filter(|time| number(*time) > number(self.last));
            self.start = Start::Behind(token.clone());
            (self.token, self.whole) = (Some(token.clone()), Some(token));
            if let Some(time) = time {
                self.tell_pending(time);
                self.last = time;
                self.flush().await?;
            }
            self.beat().await?;
        }
        if !is_alive {
            tokio::time::sleep(PAUSE).await;
        }
        if !is_alive || self.pace != Pace::Usual || is_asked_otherwise {
            self.pace = Pace::Usual;
            return self.opened().await.map(Some).map_err(Stop::Ended);
        }
        Ok(None)
    }

    /// Tells what waits for the next change, where there is none.
    fn tell_pending(&mut self, time: Timestamp) {
        if self.pending.is_empty() {
            return;
        }
        let happened = std::mem::take(&mut self.pending).into_iter().map(Happened::Barrier).collect();
        let id = format!("{}.{}", time.time, time.increment);
        self.collected.push(Collected { id, time, committed_us: None, first: 0, happened });
    }

    /// Tells now and then, and where more is behind us than was told, that nothing happened.
    async fn beat(&mut self) -> Result<(), Stop> {
        let has_moved = number(self.last) > self.reached;
        if number(self.last) == 0 || (!has_moved && self.told.elapsed() < BEAT) {
            return Ok(());
        }
        (self.told, self.reached) = (Instant::now(), number(self.last));
        self.way.applied.store(number(self.last), Ordering::Release);
        let resume = self.resume();
        self.hand(Ok(Step::Idle { position: position(&self.shared.name, self.last), resume })).await
    }

    /// Gives what was collected. Of a transaction to which more may come it is a piece.
    async fn flush(&mut self) -> Result<(), Stop> {
        if !self.collected.is_empty() {
            let collected = std::mem::take(&mut self.collected);
            self.held = (0, 0);
            let step = self.group(collected);
            if let Some(step) = step.map_err(|reason| Stop::Ended(Ended::Lost(reason)))? {
                self.told = Instant::now();
                self.hand(Ok(step)).await?;
            }
        }
        if !self.doubts.is_empty() && self.open.is_none() {
            let doubts = std::mem::take(&mut self.doubts);
            self.hand(Ok(Step::Doubt(doubts))).await?;
        }
        Ok(())
    }

    /// The group of what was collected; `None` where none of it is of a table that is followed.
    fn group(&mut self, collected: Vec<Collected>) -> Result<Option<Step>, String> {
        let Built { rows, entries, stopped } = build(&collected, &self.watched, &self.stopped)?;
        self.stopped = stopped;
        let count = collected.len();
        let mut transactions = Vec::with_capacity(count);
        for (at, (each, entries)) in collected.into_iter().zip(entries).enumerate() {
            let ends = at + 1 < count || self.open.is_none();
            let given = each.first.saturating_add(u32::try_from(entries.len()).unwrap_or(u32::MAX));
            if !ends {
                self.collected.push(Collected { id: each.id.clone(), first: given, happened: Vec::new(), ..each });
            }
            if entries.is_empty() && (each.first == 0 || !ends) {
                continue;
            }
            if ends {
                self.reached = number(each.time);
            }
            transactions.push(Transaction {
                id: each.id,
                position: position(&self.shared.name, each.time),
                origin: None,
                committed_us: each.committed_us,
                first: each.first,
                entries,
                ends,
            });
        }
        if self.open.is_none() {
            self.way.applied.store(number(self.last), Ordering::Release);
        }
        if transactions.is_empty() {
            return Ok(None);
        }
        let resume = self.resume();
        let (store, identity) = (self.shared.name.clone(), Arc::clone(&self.identity));
        Ok(Some(Step::Group(Group { store, identity, transactions, rows, resume, received_ms: now_ms() })))
    }

    /// Where to go on behind the last whole transaction: one of which only pieces were given is read again from its beginning. A token
    /// that is too large to be kept leaves the one before it, from where everything comes again.
    fn resume(&mut self) -> Resume {
        let (time, increment) = (i64::from(self.last.time), i64::from(self.last.increment));
        let kept = self.whole.clone().map(|token| Kept { token, time, increment, identity: self.identity.to_string() });
        let bytes = kept.and_then(|kept| mongodb::bson::serialize_to_vec(&kept).ok());
        if let Some(bytes) = bytes.filter(|bytes| bytes.len() <= RESUME_BYTES_MAX) {
            self.behind = Resume(bytes);
        }
        self.behind.clone()
    }

    /// Brings what is followed to these tables. True when the stream has to be opened again.
    fn reshape(&mut self, tables: &[Followed]) -> bool {
        let before: HashMap<TableId, u64> = self.watched.iter().map(|(id, watched)| (id.clone(), watched.shape.digest)).collect();
        self.watch(tables);
        for (id, watched) in &self.watched {
            let reason = match before.get(id) {
                _ if self.stopped.contains(id) => "it is followed again from here",
                None => "it is followed from here",
                Some(digest) if *digest != watched.shape.digest => "its columns are others now",
                Some(_) => continue,
            };
            self.pending.push(Barrier::Reshaped { table: id.clone(), reason: reason.to_owned() });
        }
        for id in before.keys().filter(|id| !self.watched.contains_key(*id) && !self.stopped.contains(*id)) {
            let reason = "it is not followed any more".to_owned();
            self.pending.push(Barrier::Stopped { table: id.clone(), reason });
        }
        self.stopped.clear();
        before.len() != self.watched.len() || before.keys().any(|id| !self.watched.contains_key(id))
    }

    /// Takes note of what was asked meanwhile.
    fn hear(&mut self) {
        while let Ok(command) = self.way.inbox.try_recv() {
            self.note(command);
        }
    }

    fn note(&mut self, command: Command) {
        let Command::Reshape { tables, done } = command;
        self.asked = Some(tables);
        let _ = done.send(());
    }

    /// Gives a step as soon as there is room for it.
    async fn hand(&mut self, step: Result<Step, Ended>) -> Result<(), Stop> {
        loop {
            // Both are cancel-safe: a command is not taken, and a place not kept, unless the branch runs.
            let command = tokio::select! {
                room = self.way.steps.reserve() => {
                    room.map_err(|_gone| Stop::Over)?.send(step);
                    return Ok(());
                }
                command = self.way.inbox.recv() => command,
            };
            match command {
                Some(command) => self.note(command),
                None => return Err(Stop::Over),
            }
        }
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
