//! One read transaction on one connection, owned by one blocking thread for the life of a branch.
//!
//! ```text
//! Branch ── Command ──→ thread: BEGIN, first read fixes the snapshot
//!                       for each scan whose channel has room: step rows → one batch → channel of 1 → BatchStream
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

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use futures::stream::{FuturesUnordered, StreamExt};
use sqlx::pool::PoolConnection;
use sqlx::sqlite::Sqlite;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use super::super::connector::{self, BatchStream, Purpose, Scan, ScanLimits};
use super::super::error::StoreError;
use super::super::fragment::{Fragment, Tables};
use super::super::position::Position;
use super::super::schema::Table;
use super::layout::{Filler, Layout};
use super::pool::Pool;
use super::scan::{Database, Statement};

/// Commands that may wait; senders wait when there are more.
const COMMANDS: usize = 8;
/// SQLite instructions between two looks at whether the reader is still there: well under a millisecond.
const PROGRESS_STEPS: i32 = 10_000;
/// Rows of the first batch; later ones double up to the limit, so that the first row is out early.
const FIRST_ROWS: usize = 256;

type Answer = Result<Piece, StoreError>;

/// What a scan sends.
enum Piece {
    Batch(RecordBatch),
    End,
}

struct Request {
    layout: Layout,
    limits: ScanLimits,
    batches: mpsc::Sender<Answer>,
    /// Answered once the statement is prepared and bound.
    started: oneshot::Sender<Result<(), StoreError>>,
}

enum Command {
    Scan(Box<Request>),
    End { commit: bool, done: oneshot::Sender<Result<(), StoreError>> },
}

/// A consistent view of one database file.
#[derive(Debug)]
pub(super) struct Branch {
    pool: Arc<Pool>,
    thread: Arc<Thread>,
}

/// The thread's command channel; the thread ends when the last clone of it is gone. Streams hold one too.
#[derive(Debug)]
struct Thread {
    commands: mpsc::Sender<Command>,
    /// Why the branch ended before it was told to.
    given_up: Arc<OnceLock<StoreError>>,
    _task: crate::task::OwnedTask<()>,
}

impl Thread {
    /// The error of a branch that is no longer there.
    fn gone(&self, pool: &Pool) -> StoreError {
        self.given_up.get().cloned().unwrap_or_else(|| lost(pool))
    }
}

impl Branch {
    /// Takes a connection, begins a transaction and fixes its snapshot.
    ///
    /// # Errors
    /// As [`Pool::acquire`], and what SQLite says.
    pub(super) async fn open(pool: Arc<Pool>, purpose: Purpose) -> Result<Self, StoreError> {
        if matches!(purpose, Purpose::Once | Purpose::Write(_)) {
            return Err(StoreError::Unsupported { store: pool.store().to_string(), feature: "writes" });
        }
        let connection = pool.acquire().await?;
        let (commands, inbox) = mpsc::channel(COMMANDS);
        let (opened, answer) = oneshot::channel();
        let runtime = Handle::current();
        let given_up = Arc::<OnceLock<StoreError>>::default();
        let worker = Worker { pool: pool.clone(), runtime, inbox, given_up: given_up.clone() };
        let task = crate::task::OwnedTask::spawn_blocking(move || worker.run(connection, opened));
        let thread = Arc::new(Thread { commands, given_up, _task: task });
        answer.await.unwrap_or_else(|_| Err(lost(&pool)))?;
        Ok(Self { pool, thread })
    }

    async fn end(&self, commit: bool) -> Result<(), StoreError> {
        let (done, answer) = oneshot::channel();
        let sent = self.thread.commands.send(Command::End { commit, done }).await;
        sent.map_err(|_gone| self.thread.gone(&self.pool))?;
        answer.await.unwrap_or_else(|_| Err(self.thread.gone(&self.pool)))
    }
}

fn lost(pool: &Pool) -> StoreError {
    StoreError::ConnectionLost { store: pool.store().to_string(), reason: "The branch has ended.".to_owned() }
}

#[async_trait]
impl connector::Branch for Branch {
    async fn scan(&self, table: &Arc<Table>, scan: &Scan, limits: ScanLimits) -> Result<BatchStream, StoreError> {
        self.start(Layout::new(self.pool.store(), table, scan)?, limits).await
    }

    async fn run(
        &self,
        fragment: &Fragment,
        tables: &Tables,
        schema: &SchemaRef,
        limits: ScanLimits,
    ) -> Result<BatchStream, StoreError> {
        self.start(Layout::of_fragment(fragment, tables, schema)?, limits).await
    }

    fn shared_snapshot(&self) -> Result<(), &'static str> {
        Ok(())
    }

    async fn commit(&self) -> Result<Option<Position>, StoreError> {
        self.end(true).await.map(|()| None)
    }

    async fn rollback(&self) -> Result<(), StoreError> {
        self.end(false).await
    }
}

impl Branch {
    /// Hands a statement to the branch's thread and waits until it is prepared.
    async fn start(&self, layout: Layout, limits: ScanLimits) -> Result<BatchStream, StoreError> {
        let (batches, receiver) = mpsc::channel(1);
        let (started, answer) = oneshot::channel();
        let request = Box::new(Request { layout, limits, batches, started });
        self.thread.commands.send(Command::Scan(request)).await.map_err(|_gone| self.thread.gone(&self.pool))?;
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

/// The thread's side of a branch.
struct Worker {
    pool: Arc<Pool>,
    runtime: Handle,
    inbox: mpsc::Receiver<Command>,
    given_up: Arc<OnceLock<StoreError>>,
}

/// A scan under way.
struct Running<'database> {
    statement: Statement<'database>,
    filler: Filler,
    /// Rows still to be sent under the scan's own pace.
    next_rows: usize,
}

/// Whose rows are being stepped, for the progress handler.
type Current = Arc<Mutex<Option<mpsc::Sender<Answer>>>>;

/// Room for one batch of a scan; `None` when its reader is gone.
type Demand = (u64, Option<mpsc::OwnedPermit<Answer>>);

enum Event {
    Command(Option<Command>),
    Demand(Demand),
    GivenUp(StoreError),
}

impl Worker {
    fn run(mut self, mut connection: PoolConnection<Sqlite>, opened: oneshot::Sender<Result<(), StoreError>>) {
        let clean = match self.runtime.clone().block_on(connection.lock_handle()) {
            Ok(mut lock) => {
                let current = Current::default();
                let (watched, closing) = (current.clone(), self.pool.closing().clone());
                lock.set_progress_handler(PROGRESS_STEPS, move || {
                    let current = watched.lock().unwrap_or_else(PoisonError::into_inner);
                    !current.as_ref().is_some_and(|reader| reader.is_closed() || closing.is_cancelled())
                });
                let clean = self.serve(&Database::new(&mut lock), &current, opened);
                lock.remove_progress_handler();
                clean
            }
            // The connection's own thread is gone; `opened` is dropped and the caller told.
            Err(_) => false,
        };
        if !clean {
            connection.close_on_drop();
        }
        drop(connection);
    }

    /// Serves commands until the branch ends. False when the connection's state is unknown.
    fn serve(&mut self, database: &Database<'_>, current: &Current, opened: oneshot::Sender<Result<(), StoreError>>) -> bool {
        // The read takes the snapshot now: BEGIN alone would leave it to the first scan.
        let begun = database.run("BEGIN").and_then(|()| database.run("SELECT 1 FROM main.sqlite_schema LIMIT 1"));
        let failed = begun.is_err();
        let told = opened.send(begun.map_err(|failure| self.pool.store_error(failure, None))).is_ok();
        let ending = if failed || !told { None } else { self.serve_scans(database, current) };
        let (commit, done) = ending.map_or((false, None), |(commit, done)| (commit, Some(done)));
        let mut result = database.run(if commit { "COMMIT" } else { "ROLLBACK" });
        let mut clean = database.is_autocommit();
        if !clean {
            // A commit that failed leaves its transaction open.
            clean = database.run("ROLLBACK").is_ok() && database.is_autocommit();
        } else if failed {
            result = Ok(());
        }
        if let Some(done) = done {
            // A caller that no longer waits is no fault.
            drop(done.send(result.map_err(|failure| self.pool.store_error(failure, None))));
        }
        clean
    }

    /// Runs scans until the branch is told to end, and how; `None` when all its handles are gone, or it is given up.
    fn serve_scans(
        &mut self,
        database: &Database<'_>,
        current: &Current,
    ) -> Option<(bool, oneshot::Sender<Result<(), StoreError>>)> {
        let mut running: HashMap<u64, Running<'_>> = HashMap::new();
        let mut demands = FuturesUnordered::new();
        let mut last_id = 0_u64;
        loop {
            let event = self.runtime.block_on(async {
                // All are cancel-safe: a command is not taken, and a demand not removed, unless it is returned.
                tokio::select! {
                    command = self.inbox.recv() => Event::Command(command),
                    Some(demand) = demands.next(), if !demands.is_empty() => Event::Demand(demand),
                    () = self.pool.closing().cancelled() => Event::GivenUp(self.pool.closed()),
                    () = tokio::time::sleep(self.pool.snapshot_idle()) => Event::GivenUp(self.pool.too_old()),
                }
            });
            match event {
                Event::Command(None) => return None,
                Event::GivenUp(reason) => {
                    // Set before the channels close, so that whoever finds them closed finds the reason too.
                    self.given_up.get_or_init(|| reason);
                    return None;
                }
                Event::Command(Some(Command::End { commit, done })) => return Some((commit, done)),
                Event::Command(Some(Command::Scan(request))) => {
                    last_id += 1;
                    if let Some((scan, batches)) = self.start(database, *request) {
                        running.insert(last_id, scan);
                        demands.push(demand(last_id, batches));
                    }
                }
                Event::Demand((id, None)) => drop(running.remove(&id)),
                Event::Demand((id, Some(permit))) => {
                    if let Some(batches) = self.advance(&mut running, id, permit, current) {
                        demands.push(demand(id, batches));
                    }
                }
            }
        }
    }

    fn start<'d>(&self, database: &'d Database<'d>, request: Request) -> Option<(Running<'d>, mpsc::Sender<Answer>)> {
        let Request { layout, limits, batches, started } = request;
        let prepared = database.prepare(layout.sql()).and_then(|mut statement| {
            statement.bind(layout.values())?;
            Ok(statement)
        });
        let prepared = prepared.map_err(|failure| self.pool.store_error(failure, Some(layout.table())));
        let ready = prepared.and_then(|statement| {
            let filler = layout.filler(statement.columns(), limits)?;
            Ok(Running { statement, filler, next_rows: FIRST_ROWS })
        });
        match ready {
            Ok(running) => started.send(Ok(())).is_ok().then_some((running, batches)),
            Err(error) => {
                drop(started.send(Err(error)));
                None
            }
        }
    }

    /// Makes one batch of a scan. Returns its channel when more is to come.
    fn advance(
        &self,
        running: &mut HashMap<u64, Running<'_>>,
        id: u64,
        permit: mpsc::OwnedPermit<Answer>,
        current: &Current,
    ) -> Option<mpsc::Sender<Answer>> {
        let scan = running.get_mut(&id)?;
        let batches = permit.release();
        *current.lock().unwrap_or_else(PoisonError::into_inner) = Some(batches.clone());
        let batch = scan.filler.fill(&mut scan.statement, scan.next_rows, &self.pool);
        *current.lock().unwrap_or_else(PoisonError::into_inner) = None;
        scan.next_rows = scan.next_rows.saturating_mul(2);
        let (answer, more) = match batch {
            Ok(Some(batch)) => (Ok(Piece::Batch(batch)), true),
            Ok(None) => (Ok(Piece::End), false),
            Err(StoreError::Cancelled) if self.pool.closing().is_cancelled() => (Err(self.pool.closed()), false),
            Err(error) => (Err(error), false),
        };
        // Only this thread sends on the channel, so the room it had is still there unless the reader is gone.
        let sent = batches.try_send(answer).is_ok();
        if more && sent {
            return Some(batches);
        }
        running.remove(&id);
        None
    }
}

async fn demand(id: u64, batches: mpsc::Sender<Answer>) -> Demand {
    (id, batches.reserve_owned().await.ok())
}
