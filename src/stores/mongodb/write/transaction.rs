//! A transaction of the server: one session, whose commands and reads take turns.
//!
//! A read is carried to its answer by a task of the transaction: the server gives a transaction up of which a read is left, and who asked
//! may need no rows any more (a join whose other side is empty) while the statement goes on.
//!
//! The server ends a transaction after a minute (`transactionLifetimeLimitSeconds`), and by each failure of a command in it. It has no
//! savepoints: one can come back to a state only as long as nothing was written since.

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex as Lock, PoisonError};
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use mongodb::bson::raw::RawDocumentBuf;
use mongodb::bson::{Document, Timestamp, doc};
use mongodb::error::UNKNOWN_TRANSACTION_COMMIT_RESULT;
use mongodb::options::{ReadConcern, SessionOptions, TransactionOptions, WriteConcern};
use mongodb::{ClientSession, Collection};
use tokio::sync::{Mutex, OwnedMutexGuard, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::super::fragment::Pipeline;
use super::super::pool::Pool;
use super::super::scan::{self, Query, Watched};
use super::mark::insertion;
use super::{Link, run};
use crate::error::sqlstate;
use crate::stores::StoreError;
use crate::stores::commit::{Hint, MarkId};
use crate::stores::connector::{BatchStream, Scan, ScanLimits};
use crate::stores::document::OnMismatch;
use crate::stores::edit::{Edit, Edited};
use crate::stores::schema::{Table, TableId};
use crate::task::TaskSet;

/// Between two tries to learn the outcome of a commit.
const COMMIT_PAUSE: Duration = Duration::from_millis(100);

/// Between two tries to stop a command.
const STOP_PAUSE: Duration = Duration::from_millis(200);

/// A transaction that has begun.
pub(in super::super) struct Transaction {
    pool: Arc<Pool>,
    state: Arc<Mutex<State>>,
    /// Reads under way: as many as take turns.
    reads: Lock<TaskSet>,
    /// Cancelled when it is rolled back: no read is waited for then.
    ending: CancellationToken,
    written: AtomicBool,
    /// Names its session, by which it is ended when nobody is left who could.
    hint: Hint,
}

struct State {
    session: ClientSession,
    /// Whether it has ended, or something has failed in it, so that the server has given it up.
    failed: bool,
    /// How many edits there were.
    edits: u64,
    /// Savepoints, with how many edits there were when they were set.
    marks: Vec<(u32, u64)>,
}

impl Transaction {
    /// Begins one. It sees the newest state, of which the server learns by the first command, or that of `since`, a time at which the
    /// collection was read before: what others have changed since then is not written over.
    ///
    /// # Errors
    /// A deployment without transactions, or one that cannot be reached; a state that is not kept any more.
    pub(in super::super) async fn begin(pool: &Arc<Pool>, since: Option<(Timestamp, &TableId)>) -> Result<Self, StoreError> {
        let client = pool.client().await?;
        let mut options = SessionOptions::default();
        // It would ask for a time of its own.
        options.causal_consistency = Some(false);
        let mut session = pool.within("a session", async { client.start_session().with_options(options).await }).await?;
        let mut options = TransactionOptions::default();
        options.read_concern = since.is_none().then(ReadConcern::snapshot);
        options.write_concern = Some(WriteConcern::majority());
        pool.within("a transaction", async { session.start_transaction().with_options(options).await }).await?;
        if let Some((time, table)) = since {
            begin_at(pool, &mut session, time, table).await?;
        }
        let hint = Hint(session.id().to_vec().unwrap_or_default());
        let state = Arc::new(Mutex::new(State { session, failed: false, edits: 0, marks: Vec::new() }));
        let (reads, ending) = (Lock::default(), CancellationToken::new());
        Ok(Self { pool: Arc::clone(pool), state, reads, ending, written: AtomicBool::new(false), hint })
    }

    /// What ends it sooner after a crash.
    pub(in super::super) fn hint(&self) -> &Hint {
        &self.hint
    }

    /// Whether an edit of it may have changed something.
    pub(in super::super) fn has_written(&self) -> bool {
        self.written.load(Ordering::Acquire)
    }

    /// Its session, when it is nobody else's turn.
    async fn working(&self) -> Result<OwnedMutexGuard<State>, StoreError> {
        let state = Arc::clone(&self.state).lock_owned().await;
        if state.failed { Err(self.aborted()) } else { Ok(state) }
    }

    fn aborted(&self) -> StoreError {
        let message = "current transaction is aborted, commands ignored until end of transaction block";
        StoreError::remote(&self.pool.context.store, sqlstate::IN_FAILED_SQL_TRANSACTION, message.to_owned())
    }

    /// A scan of what the transaction sees.
    pub(in super::super) async fn scan(
        &self,
        table: &Arc<Table>,
        scan: &Scan,
        limits: ScanLimits,
        on_mismatch: OnMismatch,
    ) -> Result<BatchStream, StoreError> {
        let gathered = self.gather(table, Query::of(table, scan, on_mismatch), limits, Watched::of(&table.id)).await?;
        Ok(scan::stream_gathered(&self.pool, gathered, table, scan, limits, on_mismatch))
    }

    /// A part of a plan over what the transaction sees.
    pub(in super::super) async fn pipeline(
        &self,
        table: &Table,
        pipeline: Pipeline,
        schema: &SchemaRef,
        limits: ScanLimits,
    ) -> Result<BatchStream, StoreError> {
        let watched = Watched::of_pipeline(&pipeline);
        let gathered = self.gather(table, Query::of_pipeline(&pipeline), limits, watched).await?;
        Ok(scan::stream_gathered_pipeline(&self.pool, gathered, pipeline, schema, limits))
    }

    async fn gather(
        &self,
        table: &Table,
        query: Query,
        limits: ScanLimits,
        watched: Watched,
    ) -> Result<scan::Gathered, StoreError> {
        let collection: Collection<RawDocumentBuf> = self.pool.database(&table.id.namespace).await?.collection(&table.id.name);
        let mut state = self.working().await?;
        // The server gives the transaction up when a read of it fails; so until the answer is there.
        state.failed = true;
        let (pool, ending) = (Arc::clone(&self.pool), self.ending.clone());
        let (sender, answer) = oneshot::channel();
        let read = async move {
            let gathering = scan::gather(&pool, &collection, query, limits, &watched, &mut state.session);
            let result = tokio::select! {
                biased;
                () = ending.cancelled() => return,
                result = Box::pin(gathering) => result,
            };
            state.failed = result.is_err();
            // Whose turn is next does not wait for who asked, who may have gone.
            drop(state);
            sender.send(result).ok();
        };
        self.reads.lock().unwrap_or_else(PoisonError::into_inner).spawn("a read of a transaction", read);
        answer.await.unwrap_or_else(|_ended| Err(self.aborted()))
    }

    /// Runs an edit.
    pub(in super::super) async fn edit(&self, edit: &Edit, stop: &CancellationToken) -> Result<Edited, StoreError> {
        let mut state = self.working().await?;
        state.edits += 1;
        // Until it is known that it has not failed: who goes away in between leaves a transaction of which nothing is known.
        state.failed = true;
        self.written.store(true, Ordering::Release);
        let mut link = Link { pool: &self.pool, session: Some(&mut state.session), stop, lock_wait: 0 };
        let result = Box::pin(run(&mut link, edit)).await;
        state.failed = result.is_err();
        result
    }

    /// Writes the mark of a commit.
    pub(in super::super) async fn mark(&self, mark: MarkId) -> Result<(), StoreError> {
        let database = self.pool.database(self.pool.default_database()).await?;
        let mut state = self.working().await?;
        state.edits += 1;
        // As of an edit.
        state.failed = true;
        self.written.store(true, Ordering::Release);
        let command = insertion(&self.pool, mark);
        let session = &mut state.session;
        let reply = self.pool.within("a mark", async { database.run_command(command).session(session).await }).await?;
        match self.pool.context.refused(&reply) {
            Some(refused) => Err(refused),
            None => {
                state.failed = false;
                Ok(())
            }
        }
    }

    /// Marks a state.
    pub(in super::super) async fn savepoint(&self, id: u32) -> Result<(), StoreError> {
        let mut state = self.working().await?;
        let edits = state.edits;
        state.marks.push((id, edits));
        Ok(())
    }

    /// Comes back to a state since which nothing was written.
    pub(in super::super) async fn roll_back_to(&self, id: u32) -> Result<(), StoreError> {
        let mut state = self.state.lock().await;
        let place = state.marks.iter().position(|(mark, _)| *mark == id);
        // One that was set before the transaction began is not known here.
        let edits = place.and_then(|place| state.marks.get(place)).map_or(0, |(_, edits)| *edits);
        if edits != state.edits || state.failed {
            let feature = "ROLLBACK TO SAVEPOINT after writes";
            return Err(StoreError::Unsupported { store: self.pool.context.store.clone(), feature });
        }
        state.marks.truncate(place.map_or(0, |place| place + 1));
        Ok(())
    }

    /// Forgets a state, and those that were marked after it.
    pub(in super::super) async fn release(&self, id: u32) -> Result<(), StoreError> {
        let mut state = self.working().await?;
        if let Some(place) = state.marks.iter().position(|(mark, _)| *mark == id) {
            state.marks.truncate(place);
        }
        Ok(())
    }

    /// Ends it and keeps its writes, and gives a time behind all that it has read and written. A commit may be sent again until its outcome is
    /// known: it is the same one.
    pub(in super::super) async fn commit(&self) -> Result<Option<Timestamp>, StoreError> {
        let mut state = match self.working().await {
            Ok(state) => state,
            Err(error) => {
                self.rollback().await?;
                return Err(error);
            }
        };
        // Whatever the answer is, nothing more is done in it: the driver would take a further command for one outside of transactions.
        state.failed = true;
        let give_up = Instant::now() + self.pool.patience();
        let mut is_doubtful = false;
        loop {
            let left = give_up.saturating_duration_since(Instant::now());
            let context = &self.pool.context;
            let error = match tokio::time::timeout(left, async { state.session.commit_transaction().await }).await {
                Ok(Ok(())) => break,
                Ok(Err(error)) => error,
                Err(_elapsed) => return Err(context.unknown(context.deadline("a commit"))),
            };
            if !error.contains_label(UNKNOWN_TRANSACTION_COMMIT_RESULT) {
                return Err(context.of_commit(&error, is_doubtful));
            }
            is_doubtful = true;
            if Instant::now() + COMMIT_PAUSE >= give_up {
                let reason = "The servers did not tell in time whether it was committed.".to_owned();
                return Err(StoreError::OutcomeUnknown { store: context.store.clone(), reason });
            }
            tokio::time::sleep(COMMIT_PAUSE).await;
        }
        self.written.store(false, Ordering::Release);
        Ok(state.session.operation_time())
    }

    /// Ends it and drops its writes.
    pub(in super::super) async fn rollback(&self) -> Result<(), StoreError> {
        self.ending.cancel();
        let mut state = self.state.lock().await;
        state.failed = true;
        self.written.store(false, Ordering::Release);
        match self.pool.within("a rollback", async { state.session.abort_transaction().await }).await {
            // It has ended before.
            Err(StoreError::Unsupported { .. }) => Ok(()),
            ended => ended,
        }
    }
}

/// Sends the first command of a transaction, which reads one key: the time that it names is that of the whole transaction. The driver
/// has no option for it.
async fn begin_at(pool: &Pool, session: &mut ClientSession, time: Timestamp, table: &TableId) -> Result<(), StoreError> {
    let database = pool.database(&table.namespace).await?;
    let command = doc! {
        "find": &table.name,
        "filter": {},
        "projection": { "_id": 1 },
        "limit": 1,
        "singleBatch": true,
        "maxTimeMS": i64::try_from(pool.query_timeout().as_millis()).unwrap_or(i64::MAX),
        "readConcern": { "level": "snapshot", "atClusterTime": time },
    };
    pool.within("a snapshot", async { database.run_cursor_command(command).session(session).await.map(drop) }).await
}

/// Waits for a command of a session, and tells the server to end what the session does when `stop` says so. The answer is that of the
/// command in any case.
pub(super) async fn stoppable(
    pool: &Pool,
    session: &Document,
    work: impl Future<Output = Result<Document, StoreError>>,
    stop: &CancellationToken,
) -> Result<Document, StoreError> {
    let mut work = Box::pin(work);
    tokio::select! {
        biased;
        done = &mut work => return done,
        () = stop.cancelled() => {}
    }
    loop {
        let mut kill = Box::pin(pool.kill_session(session));
        tokio::select! {
            biased;
            done = &mut work => {
                // One that comes late would end what the session is used for next.
                kill.await;
                return done;
            }
            () = &mut kill => {}
        }
        // It may have been there before the command was.
        tokio::select! {
            biased;
            done = &mut work => return done,
            () = tokio::time::sleep(STOP_PAUSE) => {}
        }
    }
}
