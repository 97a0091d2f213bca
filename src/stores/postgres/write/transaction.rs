//! A transaction that writes, or is serializable: one connection on which scans, edits and savepoints take turns.
//!
//! ```text
//! BEGIN … → (DECLARE, FETCH | edit | SAVEPOINT, ROLLBACK TO, RELEASE)* → SELECT; COMMIT, or ROLLBACK, or SELECT; PREPARE TRANSACTION
//! ```
//!
//! **Invariants:** whoever uses the connection holds the lock on it for one statement; what a dropped scan left is read before the next
//! statement. After a failure nothing is sent but the way back. An edit or a way back counts as failed until the server has answered that
//! it is done, and the connection is nobody's while it commits. `COMMIT` never ends a transaction that has failed, which the server would
//! roll back without an error: a `SELECT` before it fails then.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};

use futures::TryStreamExt;
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Row};
use tokio::sync::{Mutex, MutexGuard};
use tokio_util::sync::CancellationToken;

use super::super::super::commit::BranchId;
use super::super::super::connector::WriteIsolation;
use super::super::super::edit::{Edit, Edited};
use super::super::super::error::StoreError;
use super::super::super::truncate::Truncate;
use super::super::branch::Inner;
use super::super::error;
use super::super::job::Job;
use super::super::pool::{Lease, State};
use super::copy_in::{Copying, Inserted};
use super::once::unknown;
use super::run::{Failure, cancel, drain, run};
use super::statement::Statement;
use crate::error::sqlstate;

/// So many scans that were dropped or have ended are left open in the server.
const LEFT_MAX: usize = 16;
/// The longest wait for a lock that the server can be told, in milliseconds.
const LOCK_WAIT_MAX: u64 = 2_147_483_647;
/// What the server was told before it may have forgotten it again.
const NOT_KNOWN: u64 = u64::MAX;
/// What a statement waits for.
const ANSWER: &str = "the answer to a statement of a transaction that writes";

/// An open transaction. Dropping it rolls it back.
pub(in super::super) struct Transaction {
    pub(super) inner: Arc<Inner>,
    pub(super) line: Mutex<Line>,
    /// The process that serves the connection.
    process_id: i32,
    pub(super) has_written: AtomicBool,
    /// Whether a definition was sent, undone or not.
    pub(super) has_defined: AtomicBool,
    left: std::sync::Mutex<Left>,
    cursors: AtomicU64,
    /// How long the server has been told to wait for locks, in milliseconds; 0 where it does as its settings say.
    lock_wait: AtomicU64,
}

/// The connection and what is known of its transaction.
pub(super) struct Line {
    /// Gone when the transaction has ended or is prepared.
    pub(super) lease: Option<Lease>,
    has_failed: bool,
    /// Savepoints, and whether something had been written before them.
    savepoints: Vec<(u32, bool)>,
    /// Tables that hold still.
    pub(super) inserted: Inserted,
    /// What is left of one that is prepared: the connection, which is in no transaction any more, and the name.
    pub(super) prepared: Option<(Lease, BranchId)>,
}

impl Line {
    /// That of a connection in a transaction.
    pub(super) fn of(lease: Option<Lease>) -> Self {
        Self { lease, has_failed: false, savepoints: Vec::new(), inserted: Inserted::default(), prepared: None }
    }
}

/// Cursors that nobody reads any more.
#[derive(Default)]
struct Left {
    /// Those that somebody may still read.
    live: BTreeSet<u64>,
    numbers: Vec<u64>,
    /// How often the transaction has gone back: cursors of before may have gone with what was undone.
    turns: u64,
}

/// The modes of a transaction that writes.
pub(in super::super) fn modes_of(isolation: WriteIsolation) -> &'static str {
    match isolation {
        WriteIsolation::ReadCommitted => "READ COMMITTED READ WRITE",
        WriteIsolation::RepeatableRead => "REPEATABLE READ READ WRITE",
        WriteIsolation::Serializable => "SERIALIZABLE READ WRITE",
    }
}

/// What tells the server how long to wait for locks until the end of the transaction.
pub(super) fn waiting(millis: u64) -> String {
    match millis {
        0 => "SET LOCAL lock_timeout TO DEFAULT".to_owned(),
        // More than that is no number of the server's.
        _ => format!("SET LOCAL lock_timeout = {}", millis.min(LOCK_WAIT_MAX)),
    }
}

/// Begins a transaction.
///
/// # Errors
/// The store cannot be reached, or what it answered.
pub(in super::super) async fn begin(inner: &Arc<Inner>, modes: &str) -> Result<Arc<Transaction>, StoreError> {
    let begin = format!("BEGIN ISOLATION LEVEL {modes}");
    let (mut lease, _) = Box::pin(inner.pools.leaders.acquire_with(&begin)).await?;
    lease.settle(State::Transaction);
    Ok(Transaction::of(inner, lease))
}

impl Transaction {
    /// The transaction that a connection is in.
    pub(in super::super) fn of(inner: &Arc<Inner>, lease: Lease) -> Arc<Self> {
        Arc::new(Self {
            inner: inner.clone(),
            process_id: lease.process_id(),
            line: Mutex::new(Line::of(Some(lease))),
            has_written: AtomicBool::new(false),
            has_defined: AtomicBool::new(false),
            left: std::sync::Mutex::new(Left::default()),
            cursors: AtomicU64::new(0),
            lock_wait: AtomicU64::new(0),
        })
    }

    /// Whether an edit may have changed something that is not undone.
    pub(in super::super) fn has_written(&self) -> bool {
        self.has_written.load(Ordering::Acquire)
    }

    /// Runs an edit.
    ///
    /// # Errors
    /// What the server answered.
    pub(in super::super) async fn edit(&self, edit: &Edit, stop: &CancellationToken) -> Result<Edited, StoreError> {
        let mut line = self.ready().await?;
        let statement = match self.copying(&mut line, edit).await? {
            Some(copy) => copy,
            None => Statement::of(edit)?,
        };
        let edited = self.send(&mut line, &statement, stop).await?;
        line.inserted.note(edit);
        Ok(edited)
    }

    /// Empties tables.
    ///
    /// # Errors
    /// What the server answered.
    pub(in super::super) async fn truncate(&self, truncate: &Truncate, stop: &CancellationToken) -> Result<(), StoreError> {
        match Statement::truncating(truncate) {
            Some(statement) => {
                let mut line = self.ready().await?;
                self.send(&mut line, &statement, stop).await.map(drop)
            }
            None => Ok(()),
        }
    }

    pub(super) async fn send(
        &self,
        line: &mut Line,
        statement: &Statement,
        stop: &CancellationToken,
    ) -> Result<Edited, StoreError> {
        self.has_written.store(true, Ordering::Release);
        line.has_failed = true;
        let lease = line.lease.as_mut().ok_or_else(|| self.ended())?;
        let outcome = if statement.is_load() {
            let copying = Copying(lease);
            Box::pin(run(&self.inner, &mut *copying.0, statement, stop, State::Transaction)).await
        } else {
            Box::pin(run(&self.inner, lease, statement, stop, State::Transaction)).await
        };
        line.has_failed = outcome.is_err();
        outcome.map_err(|failure| match failure {
            Failure::Unsent(error) | Failure::Refused(error) | Failure::Lost(error) => error,
        })
    }

    /// Statements from now on wait for locks for so long, in milliseconds; 0 leaves it to the settings of the server.
    ///
    /// # Errors
    /// What the server answered.
    pub(in super::super) async fn wait_for_locks(&self, millis: u64) -> Result<(), StoreError> {
        if self.lock_wait.load(Ordering::Acquire) == millis {
            return Ok(());
        }
        let mut line = self.ready().await?;
        self.say(&mut line, &waiting(millis)).await?;
        self.lock_wait.store(millis, Ordering::Release);
        Ok(())
    }

    /// What tells the server how long to wait while it commits, where it was told something else.
    pub(super) fn not_told(&self, millis: u64) -> Option<String> {
        (self.lock_wait.load(Ordering::Acquire) != millis).then(|| waiting(millis))
    }

    /// Marks a state to come back to.
    ///
    /// # Errors
    /// What the server answered.
    pub(in super::super) async fn savepoint(&self, id: u32) -> Result<(), StoreError> {
        let mut line = self.ready().await?;
        self.say(&mut line, &format!("SAVEPOINT s{id}")).await?;
        line.savepoints.push((id, self.has_written()));
        Ok(())
    }

    /// Goes back to a savepoint, also after a failure.
    ///
    /// # Errors
    /// What the server answered.
    pub(in super::super) async fn roll_back_to(&self, id: u32) -> Result<(), StoreError> {
        let mut line = self.seize().await?;
        {
            let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
            left.numbers.clear();
            left.turns += 1;
        }
        line.inserted.forget();
        self.say(&mut line, &format!("ROLLBACK TO SAVEPOINT s{id}")).await?;
        line.has_failed = false;
        // What was told since the savepoint is undone too.
        self.lock_wait.store(NOT_KNOWN, Ordering::Release);
        if let Some(place) = line.savepoints.iter().rposition(|(known, _)| *known == id) {
            line.savepoints.truncate(place + 1);
            let had_written = line.savepoints.last().is_none_or(|(_, had_written)| *had_written);
            self.has_written.store(had_written, Ordering::Release);
        }
        // Tables may be as they were before.
        self.forget_statements(&mut line).await
    }

    /// Forgets a savepoint and those after it.
    ///
    /// # Errors
    /// What the server answered.
    pub(in super::super) async fn release(&self, id: u32) -> Result<(), StoreError> {
        let mut line = self.ready().await?;
        self.say(&mut line, &format!("RELEASE SAVEPOINT s{id}")).await?;
        if let Some(place) = line.savepoints.iter().rposition(|(known, _)| *known == id) {
            line.savepoints.truncate(place);
        }
        Ok(())
    }

    /// Keeps what was written.
    ///
    /// # Errors
    /// What the server answered, with which the transaction is rolled back; [`StoreError::OutcomeUnknown`] when its answer was lost.
    pub(in super::super) async fn commit(&self) -> Result<(), StoreError> {
        let mut line = self.ready().await?;
        // Whoever does not wait for the answer has ended it all the same, and no later word can be about it.
        let mut ending = Line::of(line.lease.take());
        let outcome = self.say(&mut ending, "SELECT; COMMIT").await;
        // Dropping the lease closes a connection that is lost, and rolls back what the server refused to commit.
        let lease = ending.lease.take();
        let is_unknown = matches!(outcome, Err(StoreError::ConnectionLost { .. } | StoreError::Deadline { .. }));
        if is_unknown && self.has_written() {
            return outcome.map_err(|error| unknown(&self.inner, &error));
        }
        self.has_written.store(false, Ordering::Release);
        if let (Ok(()), Some(mut lease)) = (&outcome, lease) {
            lease.settle(State::Ready);
        }
        outcome
    }

    /// Drops what was written.
    ///
    /// # Errors
    /// What the server answered; the connection is closed then, with which the server rolls back.
    pub(in super::super) async fn roll_back(&self) -> Result<(), StoreError> {
        let mut line = match self.seize().await {
            Ok(line) => line,
            Err(error) => {
                // With the connection the server rolls back.
                if self.line.lock().await.lease.take().is_some() {
                    self.has_written.store(false, Ordering::Release);
                }
                return Err(error);
            }
        };
        let outcome = self.say(&mut line, "ROLLBACK").await;
        self.has_written.store(false, Ordering::Release);
        if let Some(mut lease) = line.lease.take() {
            // A session that does not answer is ended with the lease.
            match outcome {
                Ok(()) => lease.settle(State::Ready),
                Err(_) if lease.is_running() => {}
                Err(_) => lease.settle(State::Broken),
            }
        }
        outcome
    }

    /// The connection, on which the next statement can be run.
    pub(super) async fn ready(&self) -> Result<MutexGuard<'_, Line>, StoreError> {
        let mut line = self.line.lock().await;
        let Some(lease) = &mut line.lease else { return Err(self.ended()) };
        if lease.is_running() {
            match drain(&self.inner, lease).await {
                Ok(false) => {}
                Ok(true) => line.has_failed = true,
                Err(error) => {
                    line.has_failed = true;
                    return Err(error);
                }
            }
        }
        if line.has_failed {
            let message = "current transaction is aborted, commands ignored until end of transaction block";
            return Err(self.said(sqlstate::IN_FAILED_SQL_TRANSACTION, message));
        }
        let left = {
            let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
            if left.numbers.len() < LEFT_MAX { Vec::new() } else { std::mem::take(&mut left.numbers) }
        };
        if !left.is_empty() {
            let closed: Vec<String> = left.into_iter().map(|number| format!("CLOSE c{number}")).collect();
            self.say(&mut line, &closed.join("; ")).await?;
        }
        Ok(line)
    }

    /// The connection, for going back: what runs on it is asked to end. Until the server has gone back nothing else is sent.
    async fn seize(&self) -> Result<MutexGuard<'_, Line>, StoreError> {
        let (mut line, was_asked) = match self.line.try_lock() {
            Ok(line) => (line, false),
            Err(_) => {
                cancel(&self.inner, self.process_id).await;
                (self.line.lock().await, true)
            }
        };
        line.has_failed = true;
        let Some(lease) = &mut line.lease else { return Err(self.ended()) };
        if lease.is_running() && !was_asked {
            cancel(&self.inner, self.process_id).await;
        }
        if was_asked || lease.is_running() {
            // Whether it has failed makes no difference to the way back.
            drain(&self.inner, lease).await?;
        }
        Ok(line)
    }

    /// Runs a statement of our own.
    pub(super) async fn say(&self, line: &mut Line, sql: &str) -> Result<(), StoreError> {
        self.rows(line, sql, None, &mut |_| Ok(())).await
    }

    /// Runs statements of our own, and gives their rows away as they come. After an error of `take` what is left of the answer is read
    /// before the next statement. They are those of `job`, if of any.
    pub(super) async fn rows(
        &self,
        line: &mut Line,
        sql: &str,
        job: Option<&Job>,
        take: &mut (dyn FnMut(&PgRow) -> Result<(), StoreError> + Send),
    ) -> Result<(), StoreError> {
        let limit = self.inner.settings.deadline;
        let lease = line.lease.as_mut().ok_or_else(|| self.ended())?;
        let connection = lease.connection()?;
        let work = async {
            let mut rows = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).fetch(connection);
            while let Some(row) = rows.try_next().await.map_err(Interrupted::Server)? {
                take(&row).map_err(Interrupted::Taker)?;
            }
            Ok::<_, Interrupted>(())
        };
        let problem = match tokio::time::timeout(limit, Box::pin(work)).await {
            Ok(Ok(())) => {
                lease.settle(State::Transaction);
                return Ok(());
            }
            Ok(Err(Interrupted::Taker(error))) => return Err(error),
            Ok(Err(Interrupted::Server(problem))) => problem,
            // The statement still runs: its session ends with the lease.
            Err(_) => {
                line.has_failed = true;
                return Err(error::deadline(&self.inner.name, limit, ANSWER));
            }
        };
        let failure = match job {
            Some(job) => job.server_error(&problem),
            None => error::running(&self.inner.name, &problem),
        };
        let is_lost = matches!(failure, StoreError::ConnectionLost { .. });
        lease.settle(if is_lost { State::Broken } else { State::Transaction });
        line.has_failed = true;
        Err(failure)
    }

    /// A number for a cursor, and how often the transaction has gone back so far.
    pub(super) fn open_cursor(&self) -> (u64, u64) {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let number = self.cursors.fetch_add(1, Ordering::Relaxed);
        left.live.insert(number);
        (number, left.turns)
    }

    /// Nobody reads this cursor any more. One of before the transaction went back may be gone, and stays where it is not until something
    /// is defined.
    pub(super) fn leave_cursor(&self, (number, turns): (u64, u64), is_declared: bool) {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        left.live.remove(&number);
        if is_declared && left.turns == turns {
            left.numbers.push(number);
        }
    }

    /// Closes every cursor that nobody reads any more: the server changes no table that one is open on.
    ///
    /// # Errors
    /// What the server answered.
    pub(super) async fn close_left(&self, line: &mut Line) -> Result<(), StoreError> {
        let mut open: Vec<String> = Vec::new();
        let mut take = |row: &PgRow| -> Result<(), StoreError> {
            open.push(row.try_get(0).map_err(|problem| error::running(&self.inner.name, &problem))?);
            Ok(())
        };
        self.rows(line, "SELECT name FROM pg_catalog.pg_cursors", None, &mut take).await?;
        let closed: Vec<String> = {
            let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
            left.numbers.clear();
            let number = |name: &str| name.strip_prefix('c').and_then(|digits| digits.parse::<u64>().ok());
            let is_left = |name: &&String| number(name.as_str()).is_some_and(|number| !left.live.contains(&number));
            open.iter().filter(is_left).map(|name| format!("CLOSE {name}")).collect()
        };
        if closed.is_empty() { Ok(()) } else { self.say(line, &closed.join("; ")).await }
    }

    /// The rows of statements of our own, those of each apart, and the version of the server.
    ///
    /// # Errors
    /// What the server answered, with which the transaction has failed.
    pub(in super::super) async fn answers(&self, sql: &str) -> Result<(Vec<Vec<PgRow>>, String), StoreError> {
        let mut line = self.ready().await?;
        let lease = line.lease.as_mut().ok_or_else(|| self.ended())?;
        let (answers, version) = (Box::pin(lease.batch(sql)).await, lease.server_version());
        line.has_failed |= answers.is_err();
        answers.map(|answers| (answers, version))
    }

    pub(super) fn ended(&self) -> StoreError {
        self.said(sqlstate::NO_ACTIVE_SQL_TRANSACTION, "the transaction on the store has ended")
    }

    fn said(&self, sqlstate: &str, message: &str) -> StoreError {
        StoreError::remote(self.inner.name.as_str(), sqlstate, message.to_owned())
    }
}

/// Why rows stopped coming.
enum Interrupted {
    Server(sqlx::Error),
    Taker(StoreError),
}
