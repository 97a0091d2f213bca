//! The log as rows of a store, for several instances: each holds a log of its own there, and takes over those of instances that died.
//!
//! ```text
//! append → a bounded queue → what is queued → one transaction of the ledger, if the log is still ours → an answer to each
//! every ten seconds, and after a failure: is each log still ours? without one, the same or another is taken
//! a log that was taken over and has nothing in it any more is let go of
//! ```
//!
//! Of a log that somebody else may have had for a moment nothing is decided that was begun before: whoever had it found no decision and
//! has rolled back. What is not known to be written is found out when the log is taken again, here or by another instance.
//!
//! **Invariants:** every decision is conditional on the epoch under which its transaction was begun; a record that was answered with
//! success is in the store for good; names are given from one log at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{Notify, mpsc, oneshot, watch};

use super::file::STARTS_MAX;
use super::group::{Message, OPEN_MAX, check_length, check_open, closed, too_many};
use super::record::{self, Unfinished};
use super::{Journal, JournalError, Left, Record};
use crate::error::{Diagnose as _, Diagnosis, sqlstate};
use crate::stores::StoreError;
use crate::stores::commit::{Gid, Held, Ledger, LogId, Numbers};
use crate::task::OwnedTask;
use crate::telemetry::log::Line;

/// Records that may wait; more make their senders wait.
const QUEUE: usize = 1024;
/// A group is written when it has so many bytes.
const GROUP_BYTES: usize = 1 << 20;
/// Transactions that have ended are removed when there are so many.
const ENDED_MAX: usize = 64;
/// Records that are not forced and wait for one that is. They say nothing that could not be found out again.
const WAITING_MAX: usize = 256;
/// How often it is asked whether the logs are still ours.
const LOOK: Duration = Duration::from_secs(10);
/// Logs that are tried to be taken in a row, when those before them cannot be read.
const TRIES: usize = 3;
/// Logs that were ours, and are tried to be taken again.
const LOST_MAX: usize = 1_000;

/// A log that was taken while the server runs: what is open in it is ours to be ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// Which.
    pub log: LogId,
    /// Its first number: what has a lower one was begun before, and nothing more is decided of it than what is in the log.
    pub first: u64,
    /// What has begun in it and has not ended.
    pub left: Vec<Left>,
}

/// A log that we hold.
#[derive(Debug)]
struct Ours {
    epoch: i64,
    /// Transactions with lower numbers were begun under an earlier epoch.
    first: u64,
    numbers: Arc<Numbers>,
    unfinished: Unfinished,
    /// Records that ride along with the next, unless their transactions have ended before.
    waiting: Vec<(Gid, Vec<u8>)>,
    /// Transactions that have ended and are still in the table.
    ended: Vec<Gid>,
}

#[derive(Debug, Default)]
struct State {
    held: BTreeMap<LogId, Ours>,
    /// From which names are given.
    current: Option<LogId>,
    /// From which they were given last, here or by an earlier process.
    wanted: Option<LogId>,
    /// Those that were ours.
    lost: BTreeSet<LogId>,
    /// What nobody has asked for yet.
    taken: Vec<Taken>,
}

#[derive(Debug)]
struct Shared {
    ledger: Arc<dyn Ledger>,
    store: String,
    state: Mutex<State>,
    numbers: watch::Sender<Arc<Numbers>>,
    /// A failure: it is to be looked at once.
    look: Notify,
}

/// A log in a table that several instances share.
#[derive(Debug)]
pub struct TableLog {
    shared: Arc<Shared>,
    left: Vec<Left>,
    queue: mpsc::Sender<Message>,
    _writer: OwnedTask<()>,
    _keeper: OwnedTask<()>,
}

type Answer = oneshot::Sender<Result<(), JournalError>>;

impl TableLog {
    /// Takes a log of the ledger: the one that this process had before, where it may. While the store is away there is none, and no
    /// commit over several stores is begun.
    pub async fn open(store: &str, ledger: Arc<dyn Ledger>, wanted: Option<LogId>) -> Arc<Self> {
        // Names from a log that nobody holds: what is prepared under them is rolled back, and nothing is decided.
        let nobody = Arc::new(Numbers::new(LogId(rand::random()), 0));
        let shared = Arc::new(Shared {
            ledger,
            store: store.to_owned(),
            state: Mutex::default(),
            numbers: watch::Sender::new(nobody),
            look: Notify::new(),
        });
        if let Some(wanted) = wanted {
            let mut state = shared.state();
            state.lost.insert(wanted);
            state.wanted = Some(wanted);
        }
        shared.renew().await;
        let left = std::mem::take(&mut shared.state().taken).into_iter().flat_map(|taken| taken.left).collect();
        let (queue, messages) = mpsc::channel(QUEUE);
        let writer = OwnedTask::spawn(write(Arc::clone(&shared), messages));
        let keeper = OwnedTask::spawn(keep(Arc::clone(&shared)));
        Arc::new(Self { shared, left, queue, _writer: writer, _keeper: keeper })
    }

    /// Where names come from, and whenever that changes.
    pub fn renumbered(&self) -> watch::Receiver<Arc<Numbers>> {
        self.shared.numbers.subscribe()
    }

    /// Whether this process decides over the names of a log.
    pub fn holds(&self, log: LogId) -> bool {
        self.shared.state().held.contains_key(&log)
    }

    /// Whether a transaction is open in a log that is ours.
    pub fn is_open(&self, gid: Gid) -> bool {
        self.shared.state().held.get(&gid.log).is_some_and(|ours| ours.unfinished.has(gid))
    }

    /// Proves that a log is still ours: whatever was prepared under it until now was prepared under us.
    pub async fn still_holds(&self, log: LogId) -> bool {
        let Some(epoch) = self.epoch_of(log, |_| true) else { return false };
        match self.shared.ledger.holds(log, epoch).await {
            Ok(true) => self.shared.state().held.get(&log).is_some_and(|ours| ours.epoch == epoch),
            Err(StoreError::Remote { .. }) => false,
            Ok(false) | Err(_) => {
                self.shared.lose(log, epoch);
                false
            }
        }
    }

    /// The logs of the store in which something is open, of whatever instance.
    ///
    /// # Errors
    /// What the store answered.
    pub async fn with_records(&self) -> Result<Vec<LogId>, StoreError> {
        self.shared.ledger.left().await
    }

    /// The logs that were taken since the last time, other than that of the start.
    pub fn taken(&self) -> Vec<Taken> {
        std::mem::take(&mut self.shared.state().taken)
    }

    /// Takes over a log, if its instance is dead. Whether it is ours afterwards.
    ///
    /// # Errors
    /// 55006 where its instance lives, 42704 where the store has no such log; what the store answered.
    pub async fn take_over(&self, log: LogId) -> Result<(), StoreError> {
        if self.holds(log) {
            return Ok(());
        }
        let held = self.shared.ledger.take(Some(log)).await?;
        self.shared.accept(held)?;
        if self.shared.state().current.is_none() {
            self.shared.look.notify_one();
        }
        Ok(())
    }

    /// The logs that are held and give no names: they were taken over.
    pub fn taken_over(&self) -> Vec<LogId> {
        let state = self.shared.state();
        state.held.keys().copied().filter(|log| state.current != Some(*log)).collect()
    }

    /// Lets go of a log that was taken over, if nothing is in it any more: whoever needs it takes it again. Whether it was.
    pub async fn let_go(&self, log: LogId) -> bool {
        let Some(epoch) = self.epoch_of(log, |ours| ours.unfinished.is_empty()) else { return false };
        self.shared.remove(log, epoch, Vec::new()).await;
        if !self.shared.leave(log) {
            return false;
        }
        self.shared.ledger.release(log).await;
        true
    }

    fn epoch_of(&self, log: LogId, is_meant: impl Fn(&Ours) -> bool) -> Option<i64> {
        self.shared.state().held.get(&log).filter(|ours| is_meant(ours)).map(|ours| ours.epoch)
    }

    /// The logs that were ours and are not.
    pub fn lost(&self) -> Vec<LogId> {
        self.shared.state().lost.iter().copied().collect()
    }

    /// A log that was ours is of others, or is gone.
    pub fn give_up(&self, log: LogId) {
        self.shared.state().lost.remove(&log);
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn not_held(&self) -> Diagnosis {
        let told = format!("this instance holds no log of commits in store \"{}\"", self.store);
        Diagnosis::new(sqlstate::IO_ERROR, told).with_hint("One is taken when the store answers. Commits of single stores go on.")
    }

    fn lost(&self) -> JournalError {
        let told =
            format!("the log of commits in store \"{}\" was taken by another instance, or its connection was lost", self.store);
        JournalError::Refused(
            Diagnosis::new(sqlstate::SERIALIZATION_FAILURE, told).with_hint("The transaction may be tried again."),
        )
    }

    /// Gives names from a log that is held: from this one, or from any.
    fn use_held(&self, wanted: Option<LogId>) -> bool {
        let mut state = self.state();
        let log = wanted.or_else(|| state.held.keys().next().copied());
        let found = log.and_then(|log| Some((log, Arc::clone(&state.held.get(&log)?.numbers))));
        let Some((log, numbers)) = found else { return false };
        (state.current, state.wanted) = (Some(log), Some(log));
        drop(state);
        self.numbers.send_replace(numbers);
        tracing::info!(store = %self.store, %log, "names are given from this log of commits");
        true
    }

    /// Gives names from the log that is wanted, or from another: from one that was taken over before one is taken.
    async fn renew(&self) {
        let mut wanted = self.state().wanted;
        if self.use_held(wanted) {
            return;
        }
        for _ in 0..TRIES {
            let held = match self.ledger.take(wanted).await {
                Ok(held) => held,
                Err(error) if wanted.is_some() && is_other(&error) => {
                    if self.use_held(None) {
                        return;
                    }
                    wanted = None;
                    continue;
                }
                Err(error) => {
                    tracing::warn!(store = %self.store, error = %Line(&error.to_string()), "no log of commits could be taken");
                    return;
                }
            };
            let (log, start) = (held.log, held.start);
            wanted = None;
            match self.accept(held) {
                Ok(()) => {
                    tracing::info!(store = %self.store, %log, start, "a log of commits was taken");
                    // One that is lost again meanwhile is taken again at the next look.
                    self.use_held(Some(log));
                    return;
                }
                Err(error) => tracing::error!(store = %self.store, %log, error = %Line(&error.to_string()), "a log is passed over"),
            }
        }
    }

    /// Keeps a log that was taken.
    fn accept(&self, held: Held) -> Result<(), StoreError> {
        let Held { log, epoch, start, records } = held;
        if start > STARTS_MAX {
            let told = format!("the log of commits {log} was begun {start} times, and has no numbers left");
            return Err(StoreError::remote(&self.store, sqlstate::DATA_CORRUPTED, told));
        }
        let read = records.iter().map(|bytes| record::take_all(bytes)).collect::<Result<Vec<_>, _>>();
        let read = read.map_err(|fault| {
            let told = format!("the log of commits {log} cannot be read: {fault}");
            StoreError::remote(&self.store, sqlstate::DATA_CORRUPTED, told)
        })?;
        let unfinished = Unfinished::of(&read.concat());
        let numbers = Arc::new(Numbers::new(log, start));
        let (first, left) = (numbers.next().number, unfinished.left());
        let mut state = self.state();
        state.lost.remove(&log);
        state.held.insert(log, Ours { epoch, first, numbers, unfinished, waiting: Vec::new(), ended: Vec::new() });
        state.taken.push(Taken { log, first, left });
        Ok(())
    }

    /// Forgets a log in which nothing is, unless names are given from it or nobody has looked into it yet.
    fn leave(&self, log: LogId) -> bool {
        let mut state = self.state();
        let is_used = state.current.is_none_or(|own| own == log) || state.taken.iter().any(|taken| taken.log == log);
        let is_empty = |ours: &Ours| ours.unfinished.is_empty() && ours.ended.is_empty() && ours.waiting.is_empty();
        !is_used && state.held.get(&log).is_some_and(is_empty) && state.held.remove(&log).is_some()
    }

    /// A log is not ours any more under this epoch, as far as is known.
    fn lose(&self, log: LogId, epoch: i64) {
        let mut state = self.state();
        if state.held.get(&log).is_none_or(|ours| ours.epoch != epoch) {
            return;
        }
        state.held.remove(&log);
        if state.current == Some(log) {
            state.current = None;
        }
        if state.lost.len() < LOST_MAX {
            state.lost.insert(log);
        }
        drop(state);
        tracing::warn!(store = %self.store, %log, "a log of commits is not held any more");
        self.look.notify_one();
    }

    /// Proves that the logs are ours, and takes one where there is none.
    async fn look_after(&self) {
        let held: Vec<(LogId, i64)> = self.state().held.iter().map(|(log, ours)| (*log, ours.epoch)).collect();
        for (log, epoch) in held {
            match self.ledger.holds(log, epoch).await {
                // An answer of the server says that the connection is there, and so is the lock.
                Ok(true) | Err(StoreError::Remote { .. }) => {}
                Ok(false) | Err(_) => self.lose(log, epoch),
            }
        }
        let is_ours = self.state().current.is_some();
        if !is_ours {
            self.renew().await;
        }
    }
}

/// Whether another log is to be tried: this one is of somebody else, or is not there.
fn is_other(error: &StoreError) -> bool {
    matches!(error, StoreError::Remote { .. }) && [sqlstate::OBJECT_IN_USE, sqlstate::UNDEFINED_OBJECT].contains(&error.sqlstate())
}

async fn keep(shared: Arc<Shared>) {
    loop {
        // Cancel-safe: whoever notifies meanwhile is heard at the next turn.
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = shared.look.notified() => {}
        }
        shared.look_after().await;
    }
}

/// What is to be written to one log.
#[derive(Default)]
struct Batch {
    /// Under which epoch it was gathered: under a later one it says nothing.
    epoch: Option<i64>,
    records: Vec<Vec<u8>>,
    /// Those that are waited for, with their answers.
    asked: Vec<(Record, Answer)>,
    /// Who waits for what has ended to be removed.
    removals: Vec<Answer>,
}

async fn write(shared: Arc<Shared>, mut messages: mpsc::Receiver<Message>) {
    while let Some(first) = messages.recv().await {
        let (mut next, mut size, mut close) = (Some(first), 0, None);
        let mut batches: BTreeMap<LogId, Batch> = BTreeMap::new();
        while let Some(message) = next {
            match message {
                Message::Append { record, bytes, answer } => {
                    size += bytes.len();
                    let batch = batches.entry(record.gid().log).or_default();
                    sort(&shared, batch, record, (bytes, answer));
                }
                Message::Close(done) => {
                    close = Some(done);
                    break;
                }
            }
            next = if size < GROUP_BYTES { messages.try_recv().ok() } else { None };
        }
        for (log, batch) in batches {
            shared.write(log, batch).await;
        }
        if let Some(done) = close {
            let logs: Vec<(LogId, i64)> = shared.state().held.iter().map(|(log, ours)| (*log, ours.epoch)).collect();
            for (log, epoch) in logs {
                shared.remove(log, epoch, Vec::new()).await;
            }
            // Nothing gets into the queue any more, and who is in it is told that it was not written.
            messages.close();
            while let Some(late) = messages.recv().await {
                late.refuse();
            }
            // Whoever asked may have given up.
            done.send(()).ok();
            return;
        }
    }
}

/// Puts a record where it belongs.
fn sort(shared: &Shared, batch: &mut Batch, record: Record, (bytes, answer): (Vec<u8>, Option<Answer>)) {
    let refuse = |answer: Option<Answer>, told: JournalError| {
        if let Some(answer) = answer {
            // Whoever asked may have given up.
            answer.send(Err(told)).ok();
        }
    };
    let gid = record.gid();
    let mut state = shared.state();
    let Some(ours) = state.held.get_mut(&gid.log) else { return refuse(answer, shared.lost()) };
    if *batch.epoch.get_or_insert(ours.epoch) != ours.epoch {
        return refuse(answer, shared.lost());
    }
    if matches!(record, Record::Done { .. }) {
        ours.unfinished.apply(&record);
        // Nobody would remove what is written behind it.
        ours.waiting.retain(|(waits, _)| *waits != gid);
        ours.ended.push(gid);
        batch.removals.extend(answer);
        return;
    }
    let Some(answer) = answer else {
        ours.unfinished.apply(&record);
        if ours.waiting.len() < WAITING_MAX {
            ours.waiting.push((gid, bytes));
        }
        return;
    };
    // Begun under an earlier epoch: somebody may have rolled it back since.
    if gid.number < ours.first && !ours.unfinished.has(gid) {
        return refuse(Some(answer), shared.lost());
    }
    match check_open(&ours.unfinished, &record) {
        Ok(()) => {
            batch.records.push(bytes);
            batch.asked.push((record, answer));
        }
        Err(told) => refuse(Some(answer), JournalError::Refused(told)),
    }
}

impl Shared {
    async fn write(&self, log: LogId, batch: Batch) {
        let Batch { epoch, records, asked, removals } = batch;
        // Nothing was sorted in.
        let Some(epoch) = epoch else { return };
        if !asked.is_empty() {
            let outcome = self.append(log, epoch, records).await;
            if outcome.is_ok()
                && let Some(ours) = self.state().held.get_mut(&log).filter(|ours| ours.epoch == epoch)
            {
                asked.iter().for_each(|(record, _)| ours.unfinished.apply(record));
            }
            for (_, answer) in asked {
                answer.send(outcome.clone()).ok();
            }
        }
        let is_due = self.state().held.get(&log).is_some_and(|ours| ours.ended.len() >= ENDED_MAX);
        if is_due || !removals.is_empty() {
            self.remove(log, epoch, removals).await;
        }
    }

    /// Appends records behind those that wait.
    async fn append(&self, log: LogId, epoch: i64, records: Vec<Vec<u8>>) -> Result<(), JournalError> {
        let group = {
            let mut state = self.state();
            // Under another epoch somebody may have rolled back since what these decide.
            let ours = state.held.get_mut(&log).filter(|ours| ours.epoch == epoch);
            let Some(ours) = ours else { return Err(self.lost()) };
            let mut group: Vec<Vec<u8>> = std::mem::take(&mut ours.waiting).into_iter().map(|(_, bytes)| bytes).collect();
            group.extend(records);
            group
        };
        match self.ledger.append(log, epoch, &group).await {
            Ok(true) => Ok(()),
            Ok(false) => {
                self.lose(log, epoch);
                Err(self.lost())
            }
            Err(error @ StoreError::OutcomeUnknown { .. }) => {
                tracing::error!(store = %self.store, %log, error = %Line(&error.to_string()), "a decision may be in the log or not");
                self.lose(log, epoch);
                Err(JournalError::Unknown(Diagnosis::of(&error)))
            }
            Err(error) => {
                self.look.notify_one();
                Err(JournalError::Refused(Diagnosis::of(&error)))
            }
        }
    }

    /// Removes what has ended, and answers. What was told of an end under another epoch is not removed with success: the log has been
    /// read again since, and what has ended is open in it.
    async fn remove(&self, log: LogId, epoch: i64, asked: Vec<Answer>) {
        let taken = {
            let mut state = self.state();
            let ours = state.held.get_mut(&log).filter(|ours| ours.epoch == epoch);
            ours.map(|ours| std::mem::take(&mut ours.ended))
        };
        let outcome = match taken {
            None => Err(self.lost()),
            Some(ended) if ended.is_empty() => Ok(()),
            Some(ended) => match self.ledger.remove(log, epoch, &ended).await {
                Ok(true) => Ok(()),
                Ok(false) => {
                    self.lose(log, epoch);
                    Err(self.lost())
                }
                Err(error) => {
                    // Tried again with the next; what is left in the table is looked at once more by whoever takes it.
                    if let Some(ours) = self.state().held.get_mut(&log).filter(|ours| ours.epoch == epoch) {
                        ours.ended.extend(ended.into_iter().take(OPEN_MAX));
                    }
                    self.look.notify_one();
                    Err(JournalError::Refused(Diagnosis::of(&error)))
                }
            },
        };
        for answer in asked {
            answer.send(outcome.clone()).ok();
        }
    }
}

#[async_trait]
impl Journal for TableLog {
    fn numbers(&self) -> Arc<Numbers> {
        Arc::clone(&self.shared.numbers.borrow())
    }

    fn is_usable(&self) -> Result<(), Diagnosis> {
        let state = self.shared.state();
        let ours = state.current.and_then(|log| state.held.get(&log)).ok_or_else(|| self.shared.not_held())?;
        let open = ours.unfinished.len();
        if open >= OPEN_MAX { Err(too_many(open)) } else { Ok(()) }
    }

    async fn append(&self, record: Record, force: bool) -> Result<(), JournalError> {
        let bytes = record::to_bytes(&record);
        check_length(&bytes)?;
        if !force {
            let message = Message::Append { record, bytes, answer: None };
            return self.queue.send(message).await.map_err(|_closed| closed());
        }
        let (answer, answered) = oneshot::channel();
        let message = Message::Append { record, bytes, answer: Some(answer) };
        self.queue.send(message).await.map_err(|_closed| closed())?;
        // A task that dies may have sent it.
        answered.await.unwrap_or_else(|_died| Err(JournalError::Unknown(self.shared.not_held())))
    }

    fn left(&self) -> Vec<Left> {
        self.left.clone()
    }

    fn decides(&self, log: LogId) -> bool {
        self.holds(log)
    }

    fn is_read(&self) -> bool {
        self.shared.state().taken.is_empty()
    }

    async fn close(&self) {
        let (done, closed) = oneshot::channel();
        if self.queue.send(Message::Close(done)).await.is_ok() {
            // It has ended in any case when nobody answers.
            closed.await.ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::super::Fate;
    use super::super::shelf::{Handle, Store};
    use super::*;

    fn commit(gid: Gid) -> Record {
        Record::Commit { gid, branches: Vec::new() }
    }

    fn code(outcome: Result<(), JournalError>) -> String {
        match outcome {
            Ok(()) => "ok".to_owned(),
            Err(JournalError::Refused(told)) => format!("refused {}", told.sqlstate),
            Err(JournalError::Unknown(told)) => format!("unknown {}", told.sqlstate),
        }
    }

    #[tokio::test]
    async fn decisions_are_there_for_whoever_takes_the_log_next() {
        let store = Arc::new(Store::default());
        let first = Handle::new(&store, 1);
        let log = TableLog::open("s", Arc::<Handle>::clone(&first), None).await;
        assert!(log.is_usable().is_ok());
        let (a, b) = (log.numbers().next(), log.numbers().next());
        assert_eq!(code(log.append(commit(a), true).await), "ok");
        assert_eq!(code(log.append(commit(b), true).await), "ok");
        assert_eq!(code(log.append(Record::Done { gid: a }, true).await), "ok");
        assert_eq!(store.rows.lock().unwrap()[&a.log].2.len(), 1);
        // Somebody else has a log of its own as long as we live, and ours when we are gone.
        let second = Handle::new(&store, 2);
        let other = TableLog::open("s", second, None).await;
        assert_ne!(other.numbers().log(), a.log);
        assert_eq!(other.take_over(a.log).await.unwrap_err().sqlstate(), "55006");
        assert!(!other.holds(a.log));
        first.cut();
        other.take_over(a.log).await.unwrap();
        let taken = other.taken();
        assert_eq!((taken.len(), taken[0].log, taken[0].left.len()), (1, a.log, 1));
        assert_eq!((taken[0].left[0].gid, taken[0].left[0].fate.clone()), (b, Fate::Commit));
        assert!(other.holds(a.log) && other.taken().is_empty());
        // What we decide now is not decided.
        let c = log.numbers().next();
        assert_eq!(c.log, a.log);
        assert_eq!(code(log.append(commit(c), true).await), "refused 40001");
        assert!(!log.holds(a.log));
        assert_eq!(code(other.append(Record::Done { gid: b }, true).await), "ok");
        assert!(store.rows.lock().unwrap()[&a.log].2.is_empty());
    }

    #[tokio::test]
    async fn an_append_without_an_answer_is_found_out_when_the_log_is_taken_again() {
        for writes in [true, false] {
            let store = Arc::new(Store::default());
            let handle = Handle::new(&store, 1);
            let log = TableLog::open("s", Arc::<Handle>::clone(&handle), None).await;
            let mut renumbered = log.renumbered();
            let (a, before) = (log.numbers().next(), log.numbers().next());
            let lost = StoreError::OutcomeUnknown { store: "s".to_owned(), reason: String::new() };
            *handle.fails.lock().unwrap() = Some((lost, writes));
            handle.cut();
            assert_eq!(code(log.append(commit(a), true).await), "unknown 08007");
            // The keeper takes it again.
            renumbered.changed().await.unwrap();
            let taken = log.taken();
            assert_eq!((taken.len(), taken[0].log, taken[0].left.len()), (1, a.log, usize::from(writes)));
            // Somebody may have had it meanwhile.
            assert_eq!(code(log.append(commit(before), true).await), "refused 40001");
            let after = log.numbers().next();
            assert_ne!(after.number, before.number);
            assert_eq!(code(log.append(commit(after), true).await), "ok");
        }
    }

    #[tokio::test]
    async fn a_log_whose_epoch_was_raised_is_not_ours_though_its_lock_is() {
        let store = Arc::new(Store::default());
        let handle = Handle::new(&store, 1);
        let log = TableLog::open("s", Arc::<Handle>::clone(&handle), None).await;
        let a = log.numbers().next();
        assert_eq!(code(log.append(commit(a), true).await), "ok");
        assert!(log.still_holds(a.log).await && log.is_open(a) && log.decides(a.log));
        assert_eq!(log.with_records().await.unwrap(), [a.log]);
        handle.raise(a.log);
        assert!(!log.still_holds(a.log).await);
        assert!(!log.holds(a.log) && !log.is_open(a));
    }

    #[tokio::test]
    async fn what_was_told_under_an_earlier_epoch_is_not_taken_for_written() {
        let store = Arc::new(Store::default());
        let handle = Handle::new(&store, 1);
        let log = TableLog::open("s", Arc::<Handle>::clone(&handle), None).await;
        let a = log.numbers().next();
        assert_eq!(code(log.append(commit(a), true).await), "ok");
        handle.cut();
        log.shared.lose(a.log, 7);
        assert!(log.holds(a.log), "that was another one");
        log.shared.lose(a.log, 1);
        log.take_over(a.log).await.unwrap();
        assert!(!log.is_read());
        let taken = log.taken();
        assert_eq!((taken[0].left.len(), taken[0].first > a.number), (1, true));
        assert!(log.is_read());
        // Nothing has ended under this epoch, and success would be told of nothing.
        let (answer, answered) = oneshot::channel();
        log.shared.remove(a.log, 1, vec![answer]).await;
        assert_eq!(code(answered.await.unwrap()), "refused 40001");
        assert_eq!(code(log.shared.append(a.log, 1, vec![record::to_bytes(&commit(a))]).await), "refused 40001");
        assert_eq!(store.rows.lock().unwrap()[&a.log].2.len(), 1);
        assert_eq!(code(log.append(Record::Done { gid: a }, true).await), "ok");
        assert!(store.rows.lock().unwrap()[&a.log].2.is_empty() && !log.is_open(a));
    }

    #[tokio::test]
    async fn nothing_is_written_behind_an_end() {
        let store = Arc::new(Store::default());
        let log = TableLog::open("s", Handle::new(&store, 1), None).await;
        let (a, b) = (log.numbers().next(), log.numbers().next());
        assert_eq!(code(log.append(commit(a), true).await), "ok");
        log.append(Record::Stepped { gid: a, step: 0 }, false).await.unwrap();
        assert_eq!(code(log.append(Record::Done { gid: a }, true).await), "ok");
        assert_eq!(code(log.append(commit(b), true).await), "ok");
        assert_eq!(store.rows.lock().unwrap()[&a.log].2, [record::to_bytes(&commit(b))]);
    }

    #[tokio::test]
    async fn a_log_that_was_taken_over_is_used_before_another_is_taken() {
        let store = Arc::new(Store::default());
        let first = Handle::new(&store, 1);
        let dead = TableLog::open("s", Arc::<Handle>::clone(&first), None).await;
        let a = dead.numbers().next();
        assert_eq!(code(dead.append(commit(a), true).await), "ok");
        let second = Handle::new(&store, 2);
        let log = TableLog::open("s", Arc::<Handle>::clone(&second), None).await;
        let b = log.numbers().next();
        drop(dead);
        first.cut();
        log.take_over(a.log).await.unwrap();
        let mut renumbered = log.renumbered();
        second.raise(b.log);
        assert_eq!(code(log.append(commit(b), true).await), "refused 40001");
        renumbered.changed().await.unwrap();
        assert_eq!(log.numbers().log(), a.log);
        assert_eq!(store.rows.lock().unwrap().len(), 2, "none was begun");
        let again = log.numbers().next();
        assert!(again.number > a.number);
        assert_eq!(code(log.append(commit(again), true).await), "ok");
    }

    #[tokio::test]
    async fn a_log_that_was_taken_over_is_let_go_of_when_nothing_is_in_it() {
        let store = Arc::new(Store::default());
        let first = Handle::new(&store, 1);
        let dead = TableLog::open("s", Arc::<Handle>::clone(&first), None).await;
        let a = dead.numbers().next();
        assert_eq!(code(dead.append(commit(a), true).await), "ok");
        drop(dead);
        let log = TableLog::open("s", Handle::new(&store, 2), None).await;
        let own = log.numbers().log();
        first.cut();
        log.take_over(a.log).await.unwrap();
        assert_eq!((log.taken_over(), log.let_go(a.log).await), (vec![a.log], false));
        log.append(Record::Done { gid: a }, false).await.unwrap();
        while log.is_open(a) {
            tokio::task::yield_now().await;
        }
        assert!(!log.let_go(a.log).await, "nobody has looked into it");
        assert_eq!(log.taken().len(), 1);
        assert!(log.let_go(a.log).await && !log.let_go(a.log).await && !log.let_go(own).await);
        assert!(log.holds(own) && !log.holds(a.log) && log.taken_over().is_empty() && log.lost().is_empty());
        // What has ended is not in it, and anybody may have it.
        assert!(store.rows.lock().unwrap()[&a.log].2.is_empty());
        let other = TableLog::open("s", Handle::new(&store, 3), Some(a.log)).await;
        assert_eq!(other.numbers().log(), a.log);
        assert_eq!(log.take_over(a.log).await.unwrap_err().sqlstate(), "55006");
    }

    #[tokio::test]
    async fn a_log_without_numbers_is_passed_over() {
        let store = Arc::new(Store::default());
        let full = LogId(5);
        let record = record::to_bytes(&commit(Gid { log: full, number: 1 }));
        store.rows.lock().unwrap().insert(full, (1, STARTS_MAX, vec![record]));
        let log = TableLog::open("s", Handle::new(&store, 1), None).await;
        assert!(log.is_usable().is_ok() && !log.holds(full));
        assert_ne!(log.numbers().log(), full);
    }

    #[tokio::test]
    async fn a_store_that_is_away_at_the_start_is_asked_for_the_log_of_before() {
        let store = Arc::new(Store::default());
        let handle = Handle::new(&store, 1);
        let before = TableLog::open("s", Arc::<Handle>::clone(&handle), None).await.numbers().log();
        handle.cut();
        handle.is_away.store(true, Ordering::Relaxed);
        let log = TableLog::open("s", Arc::<Handle>::clone(&handle), Some(before)).await;
        let mut renumbered = log.renumbered();
        assert!(log.is_usable().is_err() && !log.holds(log.numbers().log()));
        handle.is_away.store(false, Ordering::Relaxed);
        log.shared.look.notify_one();
        renumbered.changed().await.unwrap();
        assert_eq!((log.numbers().log(), log.is_usable().is_ok()), (before, true));
    }

    #[tokio::test]
    async fn a_store_that_refuses_keeps_its_log() {
        let store = Arc::new(Store::default());
        let handle = Handle::new(&store, 1);
        let log = TableLog::open("s", Arc::<Handle>::clone(&handle), None).await;
        let a = log.numbers().next();
        *handle.fails.lock().unwrap() = Some((StoreError::remote("s", "53100", "no".to_owned()), false));
        assert_eq!(code(log.append(commit(a), true).await), "refused 53100");
        assert_eq!(code(log.append(commit(a), true).await), "ok");
        // What is wanted and not there, or of somebody else, is another.
        let other = TableLog::open("s", Handle::new(&store, 2), Some(a.log)).await;
        assert_ne!(other.numbers().log(), a.log);
        assert_eq!(other.lost(), [a.log]);
        log.close().await;
        assert_eq!(code(log.append(commit(a), true).await), "refused 57P01");
    }
}
