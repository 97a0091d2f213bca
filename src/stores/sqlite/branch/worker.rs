//! The thread's side of a branch: it alone touches the connection.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use arrow::array::RecordBatch;
use futures::stream::{FuturesUnordered, StreamExt};
use sqlx::pool::PoolConnection;
use sqlx::sqlite::Sqlite;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::super::super::connector::{GATHER_BYTES_MAX, ScanLimits};
use super::super::super::edit::Edited;
use super::super::super::error::StoreError;
use super::super::super::lock::LockWait;
use super::super::layout::{Filler, Layout};
use super::super::own::first;
use super::super::pool::Pool;
use super::super::scan::{Database, Failure, Statement};
use super::super::write::failure::{in_failed, rolled_back, told, too_much};
use super::super::write::{is_long, run};
use super::neighbours::{Group, closed};
use super::{Answer, Command, Mark, Mode, Order, Piece, Request};

/// SQLite instructions between two looks at whether the reader is still there: well under a millisecond.
const PROGRESS_STEPS: i32 = 10_000;
/// Rows of the first batch; later ones double up to the limit, so that the first row is out early.
const FIRST_ROWS: usize = 256;

/// The thread's side of a branch.
pub(super) struct Worker {
    pub(super) pool: Arc<Pool>,
    pub(super) runtime: Handle,
    pub(super) inbox: mpsc::Receiver<Command>,
    /// Set before the branch ends without having been told to.
    pub(super) given_up: Arc<OnceLock<StoreError>>,
    pub(super) mode: Mode,
    /// Whether an edit has failed since the savepoint that one may come back to.
    pub(super) failed: bool,
    /// The files of its transaction.
    pub(super) group: Group,
    pub(super) waits: Waits,
}

/// How long the connection waits for the locks of files.
pub(super) struct Waits {
    /// As the branch was told.
    asked: Arc<LockWait>,
    /// As SQLite was told, in milliseconds; 0 where it waits as the file of the store says.
    told: u64,
}

impl Waits {
    /// Those of a branch.
    pub(super) fn of(asked: &Arc<LockWait>) -> Self {
        Self { asked: Arc::clone(asked), told: 0 }
    }

    /// Tells SQLite what has changed.
    fn tell(&mut self, database: &Database<'_>, pool: &Pool) -> Result<(), Failure> {
        self.set(database, pool, self.asked.millis())
    }

    fn set(&mut self, database: &Database<'_>, pool: &Pool, asked: u64) -> Result<(), Failure> {
        if asked == self.told {
            return Ok(());
        }
        let most = pool.busy_timeout();
        let limit = if asked == 0 { most } else { most.min(asked) };
        first(database, &format!("PRAGMA busy_timeout = {limit}"), &[])?;
        self.told = asked;
        Ok(())
    }
}

/// A scan under way.
pub(super) struct Running<'database> {
    /// The store that is read.
    pool: Arc<Pool>,
    /// `None` when it has been read to its end.
    statement: Option<Statement<'database>>,
    filler: Filler,
    /// Rows still to be sent under the scan's own pace.
    next_rows: usize,
    /// What was read before it was asked for.
    ahead: VecDeque<Result<RecordBatch, StoreError>>,
    /// Tells whether anybody still reads.
    reader: mpsc::Sender<Answer>,
}

/// What is being stepped, for the progress handler.
#[derive(Default)]
pub(super) enum Watched {
    /// What is short, or must come to its end.
    #[default]
    Nothing,
    /// Rows for a reader.
    Scan(mpsc::Sender<Answer>, Arc<Pool>),
    /// An edit or a definition that may be told to stop.
    Edit(CancellationToken, Arc<Pool>),
}

impl Watched {
    fn is_over(&self, closing: &CancellationToken) -> bool {
        match self {
            Self::Nothing => false,
            Self::Scan(reader, pool) => reader.is_closed() || closing.is_cancelled() || pool.closing().is_cancelled(),
            Self::Edit(stop, pool) => stop.is_cancelled() || closing.is_cancelled() || pool.closing().is_cancelled(),
        }
    }
}

pub(super) type Current = Arc<Mutex<Watched>>;

pub(super) fn watch(current: &Current, watched: Watched) {
    *current.lock().unwrap_or_else(PoisonError::into_inner) = watched;
}

/// Room for one batch of a scan; `None` when its reader is gone.
type Demand = (u64, Option<mpsc::OwnedPermit<Answer>>);

/// How a branch ends, and who wants to know.
type Ending = (bool, oneshot::Sender<Result<(), StoreError>>);

enum Event {
    Command(Option<Command>),
    Demand(Demand),
    GivenUp(StoreError),
}

impl Worker {
    /// Serves the branch on its connection; `opened` is told once it has begun.
    pub(super) fn run(mut self, mut connection: PoolConnection<Sqlite>, opened: oneshot::Sender<Result<(), StoreError>>) {
        let clean = match self.runtime.clone().block_on(connection.lock_handle()) {
            Ok(mut lock) => {
                let current = Current::default();
                let (watched, closing) = (current.clone(), self.pool.closing().clone());
                lock.set_progress_handler(PROGRESS_STEPS, move || {
                    let current = watched.lock().unwrap_or_else(PoisonError::into_inner);
                    !current.is_over(&closing)
                });
                let clean = self.serve(&Database::new(&mut lock), &current, opened);
                lock.remove_progress_handler();
                clean
            }
            // The connection's own thread is gone; `opened` is dropped and the caller told.
            Err(_) => false,
        };
        // Whoever is lent the connection next would find the other files there.
        if !clean || self.group.has_attached() {
            connection.close_on_drop();
        }
        drop(connection);
    }

    /// Serves commands until the branch ends. False when the connection's state is unknown.
    fn serve(&mut self, database: &Database<'_>, current: &Current, opened: oneshot::Sender<Result<(), StoreError>>) -> bool {
        let patient = self.waits.tell(database, &self.pool);
        let begun = patient.and_then(|()| self.mode.beginning().iter().try_for_each(|statement| database.run(statement)));
        let failed = begun.is_err();
        let answer = begun.map_err(|failure| match self.mode {
            Mode::Read | Mode::ReadThenWrite => self.pool.store_error(failure, None),
            Mode::Write | Mode::Once => told(&self.pool, None, failure),
        });
        let is_wanted = opened.send(answer).is_ok();
        let ending = if failed || !is_wanted { None } else { self.serve_commands(database, current) };
        let (commit, done) = ending.map_or((false, None), |(commit, done)| (commit, Some(done)));
        let result = self.end(database, commit);
        // A commit that failed leaves its transaction open.
        let has_ended = database.is_autocommit() || database.run("ROLLBACK").is_ok() && database.is_autocommit();
        // Whoever is lent the connection next waits as the file of the store says.
        let clean = has_ended && self.waits.set(database, &self.pool, 0).is_ok();
        if let Some(done) = done {
            // A caller that no longer waits is no fault.
            drop(done.send(result));
        }
        clean
    }

    fn end(&self, database: &Database<'_>, commit: bool) -> Result<(), StoreError> {
        let store = self.pool.store().as_str();
        if database.is_autocommit() {
            // Nothing was begun, or SQLite has given the transaction up by itself.
            return if commit && self.mode != Mode::Once { Err(rolled_back(store)) } else { Ok(()) };
        }
        let is_kept = commit && !self.failed;
        if is_kept {
            self.fits_together(database)?;
        }
        let ended = database.run(if is_kept { "COMMIT" } else { "ROLLBACK" });
        ended.map_err(|failure| {
            // The journal may be gone although SQLite could not see that it is: others then find what was written.
            let is_doubtful = is_kept && failure.code & 0xff == libsqlite3_sys::SQLITE_IOERR;
            let error = told(&self.pool, None, failure);
            if !is_doubtful {
                return error;
            }
            StoreError::OutcomeUnknown { store: store.to_owned(), reason: format!("The commit failed: {error}.") }
        })?;
        if commit && !is_kept { Err(in_failed(store)) } else { Ok(()) }
    }

    /// Runs commands until the branch is told to end, and how; `None` when all its handles are gone, or it is given up.
    fn serve_commands(&mut self, database: &Database<'_>, current: &Current) -> Option<Ending> {
        let mut running: HashMap<u64, Running<'_>> = HashMap::new();
        let mut demands = FuturesUnordered::new();
        let mut last_id = 0_u64;
        loop {
            let event = self.runtime.block_on(async {
                // All are cancel-safe: a command is not taken, and a demand not removed, unless it is returned.
                tokio::select! {
                    command = self.inbox.recv() => Event::Command(command),
                    Some(demand) = demands.next(), if !demands.is_empty() => Event::Demand(demand),
                    // A commit of several stores is waited for: others may be preparing.
                    reason = closed(&self.pool, &self.group), if !self.group.sealed => Event::GivenUp(reason),
                    () = tokio::time::sleep(self.pool.snapshot_idle()), if !self.group.sealed => {
                        Event::GivenUp(self.pool.too_old())
                    }
                }
            });
            if matches!(event, Event::Command(Some(_)))
                && let Err(failure) = self.waits.tell(database, &self.pool)
            {
                let reason = told(&self.pool, None, failure);
                self.given_up.get_or_init(|| reason);
                return None;
            }
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
                Event::Command(Some(Command::Edit(order))) => {
                    let edited = self.edit(database, current, &mut running, &order);
                    drop(order.done.send(edited));
                }
                Event::Command(Some(Command::Define(asked))) => {
                    let defined = self.define(database, current, &mut running, &asked);
                    drop(asked.done.send(defined));
                }
                Event::Command(Some(Command::Describe(asked))) => self.describe(database, *asked),
                Event::Command(Some(Command::Attach { file, done })) => drop(done.send(self.attach(database, &file))),
                Event::Command(Some(Command::Seal { mark, done })) => {
                    drop(done.send(self.seal(database, &mut running, &mark)));
                }
                Event::Command(Some(Command::Mark { mark, id, done })) => {
                    drop(done.send(self.mark(database, &mut running, mark, id)));
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
        let Request { pool, layout, lock, limits, batches, started } = request;
        match self.prepare(database, &pool, layout, lock.as_deref(), limits) {
            Ok((statement, filler)) => {
                let (ahead, reader) = (VecDeque::new(), batches.clone());
                let running = Running { pool, statement: Some(statement), filler, next_rows: FIRST_ROWS, ahead, reader };
                started.send(Ok(())).is_ok().then_some((running, batches))
            }
            Err(error) => {
                drop(started.send(Err(error)));
                None
            }
        }
    }

    fn prepare<'d>(
        &self,
        database: &'d Database<'d>,
        pool: &Pool,
        layout: Layout,
        lock: Option<&str>,
        limits: ScanLimits,
    ) -> Result<(Statement<'d>, Filler), StoreError> {
        self.check(database)?;
        if let Some(lock) = lock {
            database.run(lock).map_err(|failure| told(pool, None, failure))?;
        }
        let prepared = database.prepare(layout.sql()).and_then(|mut statement| {
            statement.bind(layout.values())?;
            Ok(statement)
        });
        let statement = prepared.map_err(|failure| pool.store_error(failure, Some(layout.table())))?;
        let filler = layout.filler(statement.columns(), limits)?;
        Ok((statement, filler))
    }

    /// Whether anything but the way back is taken. SQLite may have given the transaction up by itself, where a page could not be read, say:
    /// a savepoint would then begin another one, which its release would keep.
    pub(super) fn check(&self, database: &Database<'_>) -> Result<(), StoreError> {
        let store = self.pool.store().as_str();
        if self.failed {
            return Err(in_failed(store));
        }
        if self.mode != Mode::Once && database.is_autocommit() { Err(rolled_back(store)) } else { Ok(()) }
    }

    /// Runs an edit so that all of it stays or nothing.
    fn edit(
        &mut self,
        database: &Database<'_>,
        current: &Current,
        running: &mut HashMap<u64, Running<'_>>,
        Order { pool, edit, stop, done: _ }: &Order,
    ) -> Result<Edited, StoreError> {
        self.check(database)?;
        let [begin, end, undo] = match self.mode {
            Mode::Once => ["BEGIN IMMEDIATE", "COMMIT", "ROLLBACK"],
            Mode::Read | Mode::ReadThenWrite | Mode::Write => ["SAVEPOINT edit", "RELEASE edit", "ROLLBACK TO edit"],
        };
        let result = self.gather(running).and_then(|()| {
            database.run(begin).map_err(|failure| told(pool, None, failure))?;
            if is_long(edit) {
                watch(current, Watched::Edit(stop.clone(), Arc::clone(pool)));
            }
            let edited = run(database, pool, edit, stop);
            watch(current, Watched::Nothing);
            let edited = edited.map_err(|error| self.why(error, pool))?;
            database.run(end).map_err(|failure| told(pool, Some(edit.table()), failure))?;
            Ok(edited)
        });
        if result.is_err() {
            self.failed = true;
            // Nothing to undo when SQLite has given up the transaction, or the edit has not begun.
            if !database.is_autocommit() && database.run(undo).is_ok() && self.mode != Mode::Once {
                drop(database.run(end));
            }
        }
        result
    }

    /// What stopped a statement, where that was the end of a store.
    pub(super) fn why(&self, error: StoreError, pool: &Pool) -> StoreError {
        match error {
            StoreError::Cancelled => self.closed(pool).unwrap_or(StoreError::Cancelled),
            other => other,
        }
    }

    fn mark(
        &mut self,
        database: &Database<'_>,
        running: &mut HashMap<u64, Running<'_>>,
        mark: Mark,
        id: u32,
    ) -> Result<(), StoreError> {
        if mark != Mark::Back {
            self.check(database)?;
        }
        // A branch that could not be told goes on from no state.
        self.failed = true;
        if database.is_autocommit() {
            // A savepoint outside of a transaction would begin one.
            return Err(rolled_back(self.pool.store().as_str()));
        }
        let sql = match mark {
            Mark::Set => format!("SAVEPOINT s{id}"),
            Mark::Back => format!("ROLLBACK TO s{id}"),
            Mark::Forget => format!("RELEASE s{id}"),
        };
        if mark == Mark::Back {
            self.gather_or_end(running);
        }
        database.run(&sql).map_err(|failure| told(&self.pool, None, failure))?;
        self.failed = false;
        Ok(())
    }

    /// Reads open scans to their end, or ends those for which there is no room: nothing may be in the way back.
    fn gather_or_end(&self, running: &mut HashMap<u64, Running<'_>>) {
        let Err(error) = self.gather(running) else { return };
        for scan in running.values_mut() {
            if scan.statement.take().is_some() {
                scan.ahead.push_back(Err(error.clone()));
            }
        }
    }

    /// Reads open scans to their end, so that they give what was there when they were started.
    pub(super) fn gather(&self, running: &mut HashMap<u64, Running<'_>>) -> Result<(), StoreError> {
        let size = |answer: &Result<RecordBatch, StoreError>| answer.as_ref().map_or(0, RecordBatch::get_array_memory_size);
        let mut bytes: usize = running.values().flat_map(|scan| &scan.ahead).map(size).sum();
        for scan in running.values_mut() {
            while let Some(statement) = scan.statement.as_mut().filter(|_| !scan.reader.is_closed()) {
                if bytes > GATHER_BYTES_MAX {
                    return Err(too_much(self.pool.store().as_str()));
                }
                let batch = scan.filler.fill(statement, usize::MAX, &scan.pool).transpose();
                if !matches!(batch, Some(Ok(_))) {
                    scan.statement = None;
                }
                bytes += batch.as_ref().map_or(0, size);
                scan.ahead.extend(batch);
            }
            // What nobody reads must not be open either.
            scan.statement = None;
        }
        Ok(())
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
        let batch = match (scan.ahead.pop_front(), &mut scan.statement) {
            (Some(answer), _) => answer.map(Some),
            (None, Some(statement)) => {
                watch(current, Watched::Scan(batches.clone(), Arc::clone(&scan.pool)));
                let batch = scan.filler.fill(statement, scan.next_rows, &scan.pool);
                watch(current, Watched::Nothing);
                batch
            }
            (None, None) => Ok(None),
        };
        scan.next_rows = scan.next_rows.saturating_mul(2);
        let (answer, more) = match batch {
            Ok(Some(batch)) => (Ok(Piece::Batch(batch)), true),
            Ok(None) => (Ok(Piece::End), false),
            Err(error) => (Err(self.why(error, &scan.pool)), false),
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

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::Duration;

    use super::super::super::super::connector::StoreName;
    use super::super::super::pool::Settings;
    use super::*;
    use crate::error::Diagnose;

    fn pool(path: PathBuf) -> Arc<Pool> {
        let second = Duration::from_secs(1);
        let settings = Settings { path, read_only: false, size: 1, wait: second, busy_timeout: second, snapshot_idle: second };
        Arc::new(Pool::new(StoreName::new("shop"), settings))
    }

    #[tokio::test]
    async fn sqlite_waits_as_long_as_the_branch_was_told_and_never_longer_than_the_store_says() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let pool = pool(file.path().to_owned());
        let mut connection = pool.acquire().await.unwrap();
        let mut lock = connection.lock_handle().await.unwrap();
        let database = Database::new(&mut lock);
        let asked = Arc::<LockWait>::default();
        let mut waits = Waits::of(&asked);
        for (limit, expected) in [(None, "1000"), (Some(50), "50"), (Some(9_000), "1000"), (Some(7), "7"), (None, "1000")] {
            asked.set(limit.map(Duration::from_millis));
            waits.tell(&database, &pool).unwrap();
            assert_eq!(first(&database, "PRAGMA busy_timeout", &[]).unwrap().as_deref(), Some(expected), "{limit:?}");
        }
    }

    #[tokio::test]
    async fn a_transaction_that_is_gone_is_not_begun_anew() {
        // An empty file is an empty database.
        let file = tempfile::NamedTempFile::new().unwrap();
        let pool = pool(file.path().to_owned());
        let mut connection = pool.acquire().await.unwrap();
        let mut lock = connection.lock_handle().await.unwrap();
        let database = Database::new(&mut lock);
        let (_commands, inbox) = mpsc::channel(1);
        let (runtime, given_up) = (Handle::current(), Arc::default());
        let (mode, group, waits) = (Mode::Write, Group::of((0, 0)), Waits::of(&Arc::default()));
        let mut worker = Worker { pool: pool.clone(), runtime, inbox, given_up, mode, failed: false, group, waits };
        let mut running = HashMap::new();
        database.run("BEGIN IMMEDIATE").unwrap();
        worker.mark(&database, &mut running, Mark::Set, 1).unwrap();
        // As SQLite does after a failure of the disk.
        database.run("ROLLBACK").unwrap();
        assert_eq!(worker.check(&database).unwrap_err().sqlstate(), "40001");
        assert_eq!(worker.mark(&database, &mut running, Mark::Set, 2).unwrap_err().sqlstate(), "40001");
        assert_eq!(worker.mark(&database, &mut running, Mark::Back, 1).unwrap_err().sqlstate(), "40001");
        assert!(database.is_autocommit());
        assert_eq!(worker.check(&database).unwrap_err().sqlstate(), "25P02");
        assert_eq!(worker.end(&database, true).unwrap_err().sqlstate(), "40001");
    }
}
