//! One transaction on one connection, owned by one blocking thread for the life of a branch.
//!
//! ```text
//! Branch ── Command ──→ thread: BEGIN, first read fixes the snapshot; BEGIN IMMEDIATE for what writes
//!                       for each scan whose channel has room: step rows → one batch → channel of 1 → BatchStream
//!                       Edit → read open scans to their end, then the edit in a savepoint of its own
//!                       Define → the same of its statements; Describe → what the file holds then
//!                       Attach → another file takes part: what it is asked comes as the same commands, under its name here
//!                       all handles gone, or End → finalise statements, COMMIT or ROLLBACK, connection back to its pool
//! ```
//!
//! Every scan of a branch runs on the same connection and so sees the same state, also while others write. Scans take turns
//! by batch: a scan is stepped only when its channel has room, so the slowest reader holds back only its own scan.
//!
//! SQLite takes no page over from its write-ahead log that is newer than the oldest reader's state. So a branch from which
//! nothing is read for `snapshot_idle` is given up, and its next read fails with 72000; closing the store ends branches too.
//!
//! **Invariants:** the thread alone touches the connection; a channel that closes without [`Piece::End`] is an error, never
//! the end of the rows; a receiver that goes away stops its statement, within a step by the progress handler, which SQLite
//! applies to the running statement alone (`sqlite3_interrupt` would stop the other scans of the branch as well).

mod beside;
mod definition;
mod neighbours;
mod worker;

use std::any::Any;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use futures::stream::StreamExt;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::super::commit::{MarkId, Part};
use super::super::connector::{self, BatchStream, Purpose, Scan, ScanLimits, Serial, StoreName};
use super::super::define::Define;
use super::super::edit::{Edit, Edited};
use super::super::error::StoreError;
use super::super::fragment::{Fragment, Tables};
use super::super::lock::{LockWait, RowLock, SortKey};
use super::super::position::Position;
use super::super::relational::Dialect;
use super::super::schema::Table;
use super::Connector;
use super::attached::Naming;
use super::layout::Layout;
use super::pool::Pool;
use super::write::reads_nulls;
use beside::Together;
use definition::{Defining, Describing};
use neighbours::{Group, Joining};
use worker::{Waits, Worker};

/// Commands that may wait; senders wait when there are more.
const COMMANDS: usize = 8;

type Answer = Result<Piece, StoreError>;

/// What a scan sends.
enum Piece {
    Batch(RecordBatch),
    End,
}

/// What a branch may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Scans alone.
    Read,
    /// Scans, and edits from the first one on, if nobody has written meanwhile.
    ReadThenWrite,
    /// Both; nobody else writes meanwhile.
    Write,
    /// One edit, in a transaction of its own.
    Once,
}

impl Mode {
    fn of(purpose: Purpose) -> Self {
        match purpose {
            // Nobody has written between the state that was read and the first edit, so that the transaction is serial too.
            Purpose::Transaction { read_only: false, repeatable: true } | Purpose::Serializable(Serial::Write) => {
                Self::ReadThenWrite
            }
            Purpose::Statement { .. } | Purpose::Transaction { .. } | Purpose::Serializable(_) => Self::Read,
            Purpose::Once => Self::Once,
            Purpose::Write(_) => Self::Write,
        }
    }

    /// The statements that begin it. A read takes the snapshot now: BEGIN alone would leave it to the first scan.
    fn beginning(self) -> &'static [&'static str] {
        match self {
            Self::Read | Self::ReadThenWrite => &["BEGIN", "SELECT 1 FROM main.sqlite_schema LIMIT 1"],
            Self::Write => &["BEGIN IMMEDIATE"],
            Self::Once => &[],
        }
    }
}

struct Request {
    /// The store that is read.
    pool: Arc<Pool>,
    layout: Layout,
    /// A statement that changes nothing and takes the lock of what writes, which the rows then stay under.
    lock: Option<String>,
    limits: ScanLimits,
    batches: mpsc::Sender<Answer>,
    /// Answered once the statement is prepared and bound.
    started: oneshot::Sender<Result<(), StoreError>>,
}

struct Order {
    /// The store that is written to.
    pool: Arc<Pool>,
    edit: Edit,
    stop: CancellationToken,
    done: oneshot::Sender<Result<Edited, StoreError>>,
}

/// What is done with a savepoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    Set,
    Back,
    Forget,
}

enum Command {
    Scan(Box<Request>),
    Edit(Box<Order>),
    /// Define tables or indexes.
    Define(Box<Defining>),
    /// Tell what the file holds, for the transaction.
    Describe(Box<Describing>),
    Mark {
        mark: Mark,
        id: u32,
        done: oneshot::Sender<Result<(), StoreError>>,
    },
    /// Take another file into the transaction; its name there is the answer.
    Attach {
        file: Box<Joining>,
        done: oneshot::Sender<Result<String, StoreError>>,
    },
    /// Write the mark of a commit.
    Seal {
        mark: String,
        done: oneshot::Sender<Result<(), StoreError>>,
    },
    End {
        commit: bool,
        done: oneshot::Sender<Result<(), StoreError>>,
    },
}

/// A consistent view of one database file.
#[derive(Debug)]
pub(super) struct Branch {
    pool: Arc<Pool>,
    thread: Arc<Thread>,
    mode: Mode,
    /// Whether an edit was sent that is neither ended nor undone.
    written: Arc<AtomicBool>,
    /// Savepoints, and whether an edit had been sent before them.
    savepoints: Mutex<Vec<(u32, bool)>>,
    /// The branches of its transaction.
    together: Arc<Together>,
    /// How its tables are called there; `None` of the branch that leads.
    naming: Option<Naming>,
    /// Says that it may write.
    _writer: Option<Arc<()>>,
}

/// The thread's command channel; the thread ends when the last clone of it is gone. Streams hold one too.
#[derive(Debug)]
struct Thread {
    commands: mpsc::Sender<Command>,
    /// Why the branch ended before it was told to.
    given_up: Arc<OnceLock<StoreError>>,
    /// How long it waits for the locks of files.
    lock_wait: Arc<LockWait>,
    _task: crate::task::OwnedTask<()>,
}

impl Thread {
    /// The error of a branch that is no longer there.
    fn gone(&self, pool: &Pool) -> StoreError {
        self.given_up.get().cloned().unwrap_or_else(|| lost(pool))
    }
}

impl Branch {
    /// Takes a connection, begins a transaction and fixes its snapshot. It waits for locks for so long at most, and never for longer than
    /// the file of the store says.
    ///
    /// # Errors
    /// As [`Pool::acquire`], and what SQLite says.
    pub(super) async fn open(pool: Arc<Pool>, purpose: Purpose, limit: Option<Duration>) -> Result<Self, StoreError> {
        let mode = Mode::of(purpose);
        if pool.is_read_only() && matches!(mode, Mode::Once | Mode::Write) {
            return Err(StoreError::ReadOnly { store: pool.store().to_string() });
        }
        let (identity, connection) = pool.acquire_of_file().await?;
        let writer = matches!(mode, Mode::ReadThenWrite | Mode::Write).then(|| pool.writer());
        let (commands, inbox) = mpsc::channel(COMMANDS);
        let (opened, answer) = oneshot::channel();
        let runtime = Handle::current();
        let given_up = Arc::<OnceLock<StoreError>>::default();
        let (group, told) = (Group::of(identity), Arc::clone(&given_up));
        let lock_wait = Arc::new(LockWait::of(limit));
        let waits = Waits::of(&lock_wait);
        let worker = Worker { pool: pool.clone(), runtime, inbox, given_up: told, mode, failed: false, group, waits };
        let task = crate::task::OwnedTask::spawn_blocking(move || worker.run(connection, opened));
        let thread = Arc::new(Thread { commands, given_up, lock_wait, _task: task });
        answer.await.unwrap_or_else(|_| Err(lost(&pool)))?;
        let together = Arc::new(Together::led_by(pool.store().clone()));
        let (written, savepoints) = (Arc::default(), Mutex::default());
        Ok(Self { pool, thread, mode, written, savepoints, together, naming: None, _writer: writer })
    }

    async fn end(&self, commit: bool) -> Result<(), StoreError> {
        if self.naming.is_some() {
            // The branch that leads ends all of them.
            return Ok(());
        }
        let (done, answer) = oneshot::channel();
        self.send(Command::End { commit, done }).await?;
        let was_written = self.written.swap(false, Ordering::AcqRel) | self.together.end();
        answer.await.unwrap_or_else(|_gone| Err(self.unanswered(commit && was_written)))
    }

    async fn send(&self, command: Command) -> Result<(), StoreError> {
        self.thread.commands.send(command).await.map_err(|_gone| self.thread.gone(&self.pool))
    }

    /// The error of a command whose answer never came. What ends a branch before it is told to, keeps nothing of it.
    fn unanswered(&self, commits: bool) -> StoreError {
        match self.thread.given_up.get() {
            None if commits => {
                let reason = "The thread of the connection has ended.".to_owned();
                StoreError::OutcomeUnknown { store: self.pool.store().to_string(), reason }
            }
            _ => self.thread.gone(&self.pool),
        }
    }

    /// Whether edits are taken.
    fn allow(&self) -> Result<(), StoreError> {
        let store = || self.pool.store().to_string();
        match self.mode {
            Mode::Read => Err(StoreError::Unsupported { store: store(), feature: "writes" }),
            _ if self.pool.is_read_only() => Err(StoreError::ReadOnly { store: store() }),
            Mode::ReadThenWrite | Mode::Write | Mode::Once => Ok(()),
        }
    }

    /// The statement that takes the lock of what writes, where the transaction has not got it from the start.
    fn taking(&self, table: &Table) -> Option<String> {
        // Another file is locked when it joins.
        let is_late = self.mode == Mode::ReadThenWrite && self.naming.is_none();
        is_late.then(|| format!("DELETE FROM {} WHERE 0", Dialect::Sqlite.table(&table.id)))
    }

    async fn at_savepoint(&self, mark: Mark, id: u32) -> Result<(), StoreError> {
        if self.mode == Mode::Once || self.allow().is_err() {
            return Ok(());
        }
        if self.naming.is_none() {
            let (done, answer) = oneshot::channel();
            self.send(Command::Mark { mark, id, done }).await?;
            answer.await.unwrap_or_else(|_gone| Err(self.unanswered(false)))?;
        }
        self.note(mark, id);
        Ok(())
    }

    /// Keeps in mind what was written before a savepoint.
    fn note(&self, mark: Mark, id: u32) {
        let mut savepoints = self.savepoints.lock().unwrap_or_else(PoisonError::into_inner);
        let place = savepoints.iter().rposition(|(known, _)| *known == id);
        match (mark, place) {
            (Mark::Set, _) => savepoints.push((id, self.written.load(Ordering::Acquire))),
            (Mark::Back, Some(place)) => {
                savepoints.truncate(place + 1);
                let was_written = savepoints.last().is_none_or(|(_, was_written)| *was_written);
                self.written.store(was_written, Ordering::Release);
            }
            (Mark::Forget, Some(place)) => savepoints.truncate(place),
            (Mark::Back | Mark::Forget, None) => {}
        }
    }
}

fn lost(pool: &Pool) -> StoreError {
    StoreError::ConnectionLost { store: pool.store().to_string(), reason: "The branch has ended.".to_owned() }
}

#[async_trait]
impl connector::Branch for Branch {
    async fn scan(&self, table: &Arc<Table>, scan: &Scan, limits: ScanLimits) -> Result<BatchStream, StoreError> {
        self.start(self.layout(table, scan)?, None, limits).await
    }

    async fn scan_for_update(&self, table: &Arc<Table>, scan: &Scan, limits: ScanLimits) -> Result<BatchStream, StoreError> {
        self.allow()?;
        if reads_nulls(table, scan) {
            let feature = "conditions of writes on fields of documents that are read as NULL where they do not fit";
            return Err(StoreError::Unsupported { store: self.pool.store().to_string(), feature });
        }
        self.start(self.layout(table, scan)?, self.taking(table), limits).await
    }

    /// Any lock is that of the file.
    async fn scan_locked(
        &self,
        table: &Arc<Table>,
        scan: &Scan,
        _lock: RowLock,
        _order: &[SortKey],
        limits: ScanLimits,
    ) -> Result<BatchStream, StoreError> {
        self.allow()?;
        self.start(self.layout(table, scan)?, self.taking(table), limits).await
    }

    async fn run(
        &self,
        fragment: &Fragment,
        tables: &Tables,
        schema: &SchemaRef,
        limits: ScanLimits,
    ) -> Result<BatchStream, StoreError> {
        let layout = match &self.naming {
            Some(naming) => Layout::of_fragment(&naming.fragment(fragment), &naming.tables(tables), schema)?,
            None => Layout::of_fragment(fragment, tables, schema)?,
        };
        self.start(layout, None, limits).await
    }

    async fn edit(&self, edit: &Edit, stop: &CancellationToken) -> Result<Edited, StoreError> {
        self.allow()?;
        let is_once = self.mode == Mode::Once;
        self.written.fetch_or(!is_once, Ordering::AcqRel);
        let (done, answer) = oneshot::channel();
        let edit = self.naming.as_ref().map_or_else(|| edit.clone(), |naming| naming.edit(edit));
        let (pool, stop) = (Arc::clone(&self.pool), stop.clone());
        self.send(Command::Edit(Box::new(Order { pool, edit, stop, done }))).await?;
        answer.await.unwrap_or_else(|_gone| Err(self.unanswered(is_once)))
    }

    async fn define(&self, define: &Define, stop: &CancellationToken) -> Result<(), StoreError> {
        self.define_inside(define, stop).await
    }

    /// The files of a transaction are locked on one connection.
    fn wait_for_locks(&self, limit: Option<Duration>) {
        self.thread.lock_wait.set(limit);
    }

    async fn savepoint(&self, id: u32) -> Result<(), StoreError> {
        self.at_savepoint(Mark::Set, id).await
    }

    async fn roll_back_to(&self, id: u32) -> Result<(), StoreError> {
        self.at_savepoint(Mark::Back, id).await
    }

    async fn release(&self, id: u32) -> Result<(), StoreError> {
        self.at_savepoint(Mark::Forget, id).await
    }

    fn has_written(&self) -> bool {
        self.written.load(Ordering::Acquire)
    }

    fn shared_snapshot(&self) -> Result<(), &'static str> {
        Ok(())
    }

    fn part(&self) -> Part {
        match self.mode {
            Mode::Read => Part::Alone("the branch only reads"),
            Mode::Once => Part::Alone("the store commits the edit by itself"),
            Mode::ReadThenWrite | Mode::Write => Part::Last,
        }
    }

    /// A mark in the file of the branch that leads is one of all files.
    async fn mark(&self, mark: MarkId) -> Result<(), StoreError> {
        self.allow()?;
        if self.mode == Mode::Once || self.naming.is_some() {
            return Err(StoreError::Unsupported { store: self.pool.store().to_string(), feature: "marks in this branch" });
        }
        self.written.store(true, Ordering::Release);
        let (done, answer) = oneshot::channel();
        self.send(Command::Seal { mark: mark.to_string(), done }).await?;
        answer.await.unwrap_or_else(|_gone| Err(self.unanswered(false)))
    }

    async fn beside(&self, other: &Arc<dyn connector::Connector>) -> Result<Option<Arc<dyn connector::Branch>>, StoreError> {
        let other = &**other;
        match (other as &dyn Any).downcast_ref::<Connector>() {
            Some(other) => self.share(other).await,
            None => Ok(None),
        }
    }

    fn leader(&self) -> Option<&StoreName> {
        self.naming.as_ref().map(|_| &self.together.leader)
    }

    async fn commit(&self) -> Result<Option<Position>, StoreError> {
        self.end(true).await.map(|()| None)
    }

    async fn rollback(&self) -> Result<(), StoreError> {
        self.end(false).await
    }
}

impl Branch {
    /// The statement of a scan.
    fn layout(&self, table: &Arc<Table>, scan: &Scan) -> Result<Layout, StoreError> {
        match &self.naming {
            Some(naming) => Layout::new(self.pool.store(), &naming.table(table), &naming.scan(scan)),
            None => Layout::new(self.pool.store(), table, scan),
        }
    }

    /// Hands a statement to the branch's thread and waits until it is prepared.
    async fn start(&self, layout: Layout, lock: Option<String>, limits: ScanLimits) -> Result<BatchStream, StoreError> {
        let (batches, receiver) = mpsc::channel(1);
        let (started, answer) = oneshot::channel();
        let pool = Arc::clone(&self.pool);
        self.send(Command::Scan(Box::new(Request { pool, layout, lock, limits, batches, started }))).await?;
        answer.await.unwrap_or_else(|_| Err(self.thread.gone(&self.pool)))?;
        let state = Some((receiver, self.thread.clone(), self.pool.clone()));
        let stream = futures::stream::unfold(state, |state| async move {
            let (mut receiver, thread, pool) = state?;
            match receiver.recv().await {
                Some(Ok(Piece::Batch(batch))) => Some((Ok(batch), Some((receiver, thread, pool)))),
                Some(Ok(Piece::End)) => None,
                Some(Err(error)) => Some((Err(error), None)),
                None => Some((Err(thread.gone(&pool)), None)),
            }
        });
        Ok(stream.boxed())
    }
}
