//! Connections: bounded pools, session set-up, and what becomes of a connection after use.
//!
//! ```text
//! Pool::acquire → Lease (Ready) → statements, or COPY (Running), or BEGIN (Transaction) → Drop
//!   Ready        back to the pool at once
//!   Transaction  the caretaker rolls back, then back to the pool
//!   Running      the caretaker ends the session in the server, then closes the connection
//!   Broken       closed
//! ```
//!
//! **Invariants:** a connection goes back only when nothing is left to read on it: sqlx 0.9 does not drain a COPY stream that
//! is dropped early, and the next user would read the previous user's rows. The caretaker ends a session by process id while
//! the connection is still open, so that id cannot have become another session's. It ends the session and not the statement:
//! a request to cancel that arrives before the statement has begun does nothing, and one that waits for a lock would wait on.
//! Deliberately absent: sqlx's own pool, which would hand out a connection in the middle of a COPY.

mod caretaker;

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::TryStreamExt;
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, ConnectOptions, Either, Row};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use self::caretaker::care;
use super::super::connector::{PoolUse, StoreName};
use super::super::error::StoreError;
use super::error;
use super::settings::Settings;
use crate::task::TaskSet;
use crate::telemetry::metrics::Count;

/// Connections waiting for the caretaker, and connections that it settles at the same time; past both a connection is closed
/// without a request to the server.
const RETURNS_MAX: usize = 64;
/// Connections that serve discovery, pings and the ends of sessions.
const CONTROL_CONNECTIONS: usize = 3;
/// What is told of a setting before the first connection.
const UNKNOWN: i64 = -1;

/// The three pools of a store and their caretaker.
pub(super) struct Pools {
    /// Discovery, pings, the ends of sessions: never waits behind scans.
    pub control: Pool,
    /// Transactions that hold a snapshot or write, and single edits. A pool of their own, so that they cannot starve the scans that need them.
    pub leaders: Pool,
    /// Scans.
    pub scans: Pool,
    caretaker: Mutex<Caretaker>,
    /// `max_prepared_transactions`, as the newest connection has told it.
    prepared_max: Arc<AtomicI64>,
}

enum Caretaker {
    Waiting(mpsc::Receiver<Lease>),
    Running(TaskSet),
    Ended,
}

impl Pools {
    /// Pools without a connection; nothing is started before the first use.
    pub(super) fn new(store: &StoreName, settings: &Settings) -> Self {
        let (returns, receiver) = mpsc::channel(RETURNS_MAX);
        let prepared_max = Arc::new(AtomicI64::new(UNKNOWN));
        let pool = |size, extra, leads| Pool::new(store, settings, (size, extra, leads), (returns.clone(), prepared_max.clone()));
        Self {
            control: pool(CONTROL_CONNECTIONS, 0, false),
            leaders: pool(settings.pool_size, 0, true),
            scans: pool(settings.pool_size, settings.pool_size / 2, false),
            caretaker: Mutex::new(Caretaker::Waiting(receiver)),
            prepared_max,
        }
    }

    /// Whether the server prepares transactions, as far as is known: one that has not been asked yet is taken for one that does.
    pub(super) fn can_prepare(&self) -> bool {
        self.prepared_max.load(Ordering::Relaxed) != 0
    }

    /// Starts the caretaker unless it runs. Must be called inside the runtime.
    pub(super) fn start(&self) {
        let mut caretaker = lock(&self.caretaker);
        if !matches!(*caretaker, Caretaker::Waiting(_)) {
            return;
        }
        let Caretaker::Waiting(receiver) = std::mem::replace(&mut *caretaker, Caretaker::Ended) else { return };
        let mut tasks = TaskSet::new();
        let pools = [self.control.clone(), self.leaders.clone(), self.scans.clone()];
        tasks.spawn("postgres connections", care(receiver, pools));
        *caretaker = Caretaker::Running(tasks);
    }

    /// How the connections are used.
    pub(super) fn usage(&self) -> PoolUse {
        self.control.usage().and(self.leaders.usage()).and(self.scans.usage())
    }

    /// Closes every connection that is not in use, and refuses new ones.
    pub(super) async fn close(&self) {
        for pool in [&self.control, &self.leaders, &self.scans] {
            pool.0.permits.close();
            pool.0.extra.close();
            lock(&pool.0.idle).clear();
        }
        let caretaker = std::mem::replace(&mut *lock(&self.caretaker), Caretaker::Ended);
        if let Caretaker::Running(mut tasks) = caretaker {
            tasks.stop(Duration::ZERO).await;
        }
    }
}

/// A bounded set of connections.
#[derive(Clone)]
pub(super) struct Pool(Arc<Shared>);

struct Shared {
    store: StoreName,
    settings: Settings,
    permits: Arc<Semaphore>,
    size: usize,
    /// Slots beside those, for what does without where there is none: nobody waits for them, and whoever holds them for long takes
    /// nothing from those who do wait.
    extra: Arc<Semaphore>,
    extra_size: usize,
    /// Whether these are the connections of transactions and writes.
    leads: bool,
    waits: Count,
    idle: Mutex<Vec<Idle>>,
    returns: mpsc::Sender<Lease>,
    prepared_max: Arc<AtomicI64>,
}

struct Idle {
    open: Open,
    since: Instant,
}

struct Open {
    connection: PgConnection,
    process_id: i32,
    server_version: String,
    /// Whether it is closed when nobody uses it.
    is_retired: bool,
}

impl Pool {
    fn new(
        store: &StoreName,
        settings: &Settings,
        (size, extra_size, leads): (usize, usize, bool),
        (returns, prepared_max): (mpsc::Sender<Lease>, Arc<AtomicI64>),
    ) -> Self {
        Self(Arc::new(Shared {
            store: store.clone(),
            settings: settings.clone(),
            permits: Arc::new(Semaphore::new(size)),
            size,
            extra: Arc::new(Semaphore::new(extra_size)),
            extra_size,
            leads,
            waits: Count::default(),
            idle: Mutex::new(Vec::with_capacity(size + extra_size)),
            returns,
            prepared_max,
        }))
    }

    fn usage(&self) -> PoolUse {
        let shared = &self.0;
        let free = shared.permits.available_permits() + shared.extra.available_permits();
        let most = shared.size + shared.extra_size;
        PoolUse { in_use: most.saturating_sub(free) as u64, most: most as u64, waits: shared.waits.get() }
    }

    /// A connection with its session set up: a pooled one, else a new one.
    ///
    /// # Errors
    /// [`StoreError::Deadline`] when none gets free in time, [`StoreError::Crowded`] when it is one for a transaction or a write;
    /// [`StoreError::Unreachable`].
    pub(super) async fn acquire(&self) -> Result<Lease, StoreError> {
        let permit = self.permit().await?;
        self.fill(Some(permit)).await
    }

    /// Slots for several connections of one statement, waited for as one: statements that each hold some of what they need
    /// would wait for each other.
    ///
    /// # Errors
    /// [`StoreError::Deadline`] when they do not get free in time.
    pub(super) async fn reserve(&self, count: usize) -> Result<Vec<OwnedSemaphorePermit>, StoreError> {
        let count = count.min(self.0.settings.pool_size);
        let mut all = self.permits(u32::try_from(count).unwrap_or(u32::MAX)).await?;
        Ok(std::iter::from_fn(|| all.split(1)).take(count).collect())
    }

    /// A slot, if one is free now.
    pub(super) fn take_free(&self) -> Option<OwnedSemaphorePermit> {
        self.0.permits.clone().try_acquire_owned().ok()
    }

    /// Slots that are free now, at most `most` of them, of those that nobody waits for.
    pub(super) fn take_extra(&self, most: usize) -> Vec<OwnedSemaphorePermit> {
        let extra = &self.0.extra;
        let count = most.min(extra.available_permits());
        let Ok(mut all) = extra.clone().try_acquire_many_owned(u32::try_from(count).unwrap_or(0)) else {
            return Vec::new();
        };
        std::iter::from_fn(|| all.split(1)).take(count).collect()
    }

    async fn fill(&self, permit: Option<OwnedSemaphorePermit>) -> Result<Lease, StoreError> {
        let idle_limit = self.0.settings.pool_idle;
        let pooled = {
            let (mut idle, now) = (lock(&self.0.idle), Instant::now());
            idle.retain(|idle| now.saturating_duration_since(idle.since) < idle_limit);
            idle.pop()
        };
        let (open, reused, rested) = match pooled {
            Some(idle) => (idle.open, true, idle.since.elapsed()),
            None => (Box::pin(self.connect()).await?, false, Duration::ZERO),
        };
        Ok(Lease { pool: self.clone(), open: Some(open), permit, state: State::Ready, reused, rested })
    }

    /// A connection on which `sql` has been run. When a pooled connection turns out to be dead, the pool is emptied and a new
    /// one is made: `sql` must be harmless to repeat.
    ///
    /// # Errors
    /// As [`Pool::acquire`], or what the store answered.
    pub(super) async fn acquire_with(&self, sql: &str) -> Result<(Lease, Vec<Vec<PgRow>>), StoreError> {
        let permit = self.permit().await?;
        self.fill_with(permit, sql).await
    }

    /// As [`Pool::acquire_with`], in a slot that [`Pool::reserve`] gave.
    ///
    /// # Errors
    /// As [`Pool::acquire_with`].
    pub(super) async fn fill_with(&self, permit: OwnedSemaphorePermit, sql: &str) -> Result<(Lease, Vec<Vec<PgRow>>), StoreError> {
        let mut lease = self.fill(Some(permit)).await?;
        match lease.batch(sql).await {
            Err(error @ StoreError::ConnectionLost { .. }) if lease.reused => {
                let Some(permit) = lease.permit.take() else { return Err(error) };
                drop(lease);
                self.forget_idle();
                let mut lease = self.fill(Some(permit)).await?;
                let rows = lease.batch(sql).await?;
                Ok((lease, rows))
            }
            Err(error) => Err(error),
            Ok(rows) => Ok((lease, rows)),
        }
    }

    /// As [`Pool::fill_with`], for what may be left undone: nothing is tried again.
    ///
    /// # Errors
    /// The slot, when there was a connection for it.
    pub(super) async fn fill_or_leave(
        &self,
        permit: OwnedSemaphorePermit,
        sql: &str,
    ) -> Result<(Lease, Vec<Vec<PgRow>>), Option<OwnedSemaphorePermit>> {
        let left = |error: &StoreError| tracing::debug!(store = %self.0.store, %error, "a scan is not divided");
        let mut lease = match self.fill(Some(permit)).await {
            Ok(lease) => lease,
            Err(error) => {
                left(&error);
                return Err(None);
            }
        };
        match lease.batch(sql).await {
            Ok(rows) => Ok((lease, rows)),
            Err(error) => {
                left(&error);
                Err(lease.permit.take())
            }
        }
    }

    /// Another connection in the place of `old`, in the transaction that `begin` begins, which must be harmless to repeat. It takes over the
    /// slot: for as long as it takes to end the transaction of `old`, which is the caller's to let go of, there is one connection more
    /// than there are slots. After a failure `old` is as it was.
    ///
    /// # Errors
    /// No other connection can be made, or what the server answered; that of `old` is lost.
    pub(super) async fn exchange(&self, old: &mut Lease, begin: &str) -> Result<Lease, StoreError> {
        let mut fresh = self.fill(None).await?;
        let begun = match fresh.batch(begin).await {
            Err(StoreError::ConnectionLost { .. }) if fresh.reused => {
                self.forget_idle();
                fresh = self.fill(None).await?;
                fresh.batch(begin).await
            }
            outcome => outcome,
        };
        match begun {
            Ok(_) => {}
            Err(error @ StoreError::Remote { .. }) => {
                // A snapshot goes with the session that has exported it.
                old.query("SELECT").await?;
                return Err(error);
            }
            Err(error) => return Err(error),
        }
        fresh.state = State::Transaction;
        fresh.permit = old.permit.take();
        Ok(fresh)
    }

    /// Closes the pooled connections: one was found dead, so the server has likely been restarted.
    pub(super) fn forget_idle(&self) {
        lock(&self.0.idle).clear();
    }

    fn close_idle(&self) {
        let limit = self.0.settings.pool_idle;
        lock(&self.0.idle).retain(|idle| idle.since.elapsed() < limit);
    }

    async fn permit(&self) -> Result<OwnedSemaphorePermit, StoreError> {
        self.permits(1).await
    }

    async fn permits(&self, count: u32) -> Result<OwnedSemaphorePermit, StoreError> {
        // Waiting costs a timer, which is not needed while there are free slots and nobody waits before us.
        if let Ok(permits) = self.0.permits.clone().try_acquire_many_owned(count) {
            return Ok(permits);
        }
        self.0.waits.add(1);
        let wait = self.0.settings.pool_wait;
        match tokio::time::timeout(wait, self.0.permits.clone().acquire_many_owned(count)).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) => {
                Err(StoreError::Unreachable { store: self.0.store.to_string(), reason: "The store has been closed.".to_owned() })
            }
            Err(_elapsed) if self.0.leads => {
                let limit_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
                Err(StoreError::Crowded { store: self.0.store.to_string(), limit_ms })
            }
            Err(_elapsed) => Err(error::deadline(&self.0.store, wait, StoreError::FREE_CONNECTION)),
        }
    }

    async fn connect(&self) -> Result<Open, StoreError> {
        let shared = &self.0;
        let limit = shared.settings.connect_timeout;
        let work = async {
            let mut connection =
                shared.settings.connect.connect().await.map_err(|error| error::connecting(&shared.store, &error))?;
            let setup = AssertSqlSafe(session_setup(&shared.settings));
            let row =
                sqlx::raw_sql(setup).fetch_one(&mut connection).await.map_err(|error| error::connecting(&shared.store, &error))?;
            let broken = |error: sqlx::Error| error::connecting(&shared.store, &error);
            let conforming: String = row.try_get(2).map_err(broken)?;
            if conforming != "on" {
                let reason = "The server does not keep standard_conforming_strings = on.".to_owned();
                return Err(StoreError::Unreachable { store: shared.store.to_string(), reason });
            }
            let process_id = row.try_get(0).map_err(broken)?;
            let server_version = row.try_get(1).map_err(broken)?;
            let prepared_max: Option<String> = row.try_get(4).map_err(broken)?;
            // A server that does not know the setting prepares nothing.
            let prepared_max = prepared_max.and_then(|text| text.parse::<i64>().ok()).unwrap_or(0);
            shared.prepared_max.store(prepared_max, Ordering::Relaxed);
            Ok(Open { connection, process_id, server_version, is_retired: false })
        };
        match tokio::time::timeout(limit, work).await {
            Ok(outcome) => outcome,
            Err(_) => Err(error::deadline(&shared.store, limit, "a connection")),
        }
    }
}

/// Settings that change what a statement means or how a value is shown. With an empty `search_path` only `pg_catalog` is
/// searched, so no object of a user can stand in for a built-in one. (A view over a function that names its tables without
/// their schema fails with 42P01 then; such a function should have a `SET search_path` of its own, as `SECURITY DEFINER`
/// functions must.)
///
/// Time limits of the role or the database are switched off: a client may pause in the middle of a result, or hold a
/// transaction block open, and what bounds it is the statement's own limit and the store file's `deadline`. The limits of
/// newer servers are set where they exist.
///
/// Cursors, which only transactions that write use, are mostly read to their ends (`cursor_tuple_fraction`).
///
/// Nothing is compiled before it runs (`jit`): the check of column types in each statement would be, in each new session, and the
/// first row of a large table came after 60 ms instead of 4 (measured with 15).
fn session_setup(settings: &Settings) -> String {
    let keepalive = settings.keepalive.as_secs();
    let keepalive = if keepalive == 0 { String::new() } else { format!("SET tcp_keepalives_idle = {keepalive}; ") };
    format!(
        "SET standard_conforming_strings = on; SET search_path = ''; SET timezone = 'UTC'; SET datestyle = 'ISO, MDY'; \
         SET intervalstyle = 'postgres'; SET bytea_output = 'hex'; SET client_min_messages = 'warning'; SET statement_timeout = 0; \
         SET idle_in_transaction_session_timeout = 0; SET jit = off; SET cursor_tuple_fraction = 1; {keepalive}\
         SELECT pg_catalog.pg_backend_pid(), pg_catalog.current_setting('server_version'), \
         pg_catalog.current_setting('standard_conforming_strings'), \
         (SELECT pg_catalog.count(pg_catalog.set_config(name, '0', false)) FROM pg_catalog.pg_settings \
         WHERE name IN ('idle_session_timeout', 'transaction_timeout')), \
         pg_catalog.current_setting('max_prepared_transactions', true)"
    )
}

/// What a connection is in the middle of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Nothing.
    Ready,
    /// A transaction block, between statements.
    Transaction,
    /// A statement whose answer has not been read to its end.
    Running,
    /// Unknown.
    Broken,
}

/// A connection taken from a pool.
pub(super) struct Lease {
    pool: Pool,
    open: Option<Open>,
    permit: Option<OwnedSemaphorePermit>,
    state: State,
    reused: bool,
    rested: Duration,
}

impl Lease {
    /// Whether the connection was pooled, so that the server may have closed it meanwhile.
    pub(super) fn is_reused(&self) -> bool {
        self.reused
    }

    /// The server's version text.
    pub(super) fn server_version(&self) -> String {
        self.open.as_ref().map(|open| open.server_version.clone()).unwrap_or_default()
    }

    /// How long the connection had been in the pool.
    pub(super) fn rested(&self) -> Duration {
        self.rested
    }

    /// Whether something is left to read on it.
    pub(super) fn is_running(&self) -> bool {
        self.state == State::Running
    }

    /// The process that serves the connection.
    pub(super) fn process_id(&self) -> i32 {
        self.open.as_ref().map_or(0, |open| open.process_id)
    }

    /// The connection, for a statement that the caller drives itself; until [`Lease::settle`] it counts as running.
    ///
    /// # Errors
    /// [`StoreError::ConnectionLost`] when the lease has already been given back.
    pub(super) fn connection(&mut self) -> Result<&mut PgConnection, StoreError> {
        self.state = if self.open.is_some() { State::Running } else { State::Broken };
        match &mut self.open {
            Some(open) => Ok(&mut open.connection),
            None => {
                let store = self.pool.0.store.to_string();
                Err(StoreError::ConnectionLost { store, reason: "It has been given back.".to_owned() })
            }
        }
    }

    /// Gives the connection up in the middle of what it does: its session is ended, and nothing more goes over it.
    pub(super) fn abandon(&mut self) {
        self.state = State::Running;
        drop(self.open.take().map(|open| self.moved(open)));
        self.state = State::Broken;
    }

    fn moved(&mut self, open: Open) -> Self {
        let (pool, permit) = (self.pool.clone(), self.permit.take());
        Self { pool, open: Some(open), permit, state: self.state, reused: self.reused, rested: self.rested }
    }

    /// Nobody gets the connection afterwards: it may keep statements over tables that were there in its transaction alone.
    pub(super) fn retire(&mut self) {
        self.open.iter_mut().for_each(|open| open.is_retired = true);
    }

    /// Says what state the connection is in now that its answers have been read to the end.
    pub(super) fn settle(&mut self, state: State) {
        self.state = state;
    }

    /// Runs statements of our own and gathers the rows of all of them. The state stays as it was, unless it fails: then the
    /// connection is closed.
    ///
    /// # Errors
    /// What the store answered, or [`StoreError::Deadline`].
    pub(super) async fn query(&mut self, sql: &str) -> Result<Vec<PgRow>, StoreError> {
        Ok(self.batch(sql).await?.into_iter().flatten().collect())
    }

    /// As [`Lease::query`], with the rows of each statement apart.
    ///
    /// # Errors
    /// As [`Lease::query`].
    pub(super) async fn batch(&mut self, sql: &str) -> Result<Vec<Vec<PgRow>>, StoreError> {
        let (store, limit) = (self.pool.0.store.clone(), self.pool.0.settings.deadline);
        let before = self.state;
        let connection = self.connection()?;
        let work = async {
            let mut answers = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).fetch_many(connection);
            let mut all = vec![Vec::new()];
            while let Some(answer) = answers.try_next().await? {
                match (answer, all.last_mut()) {
                    (Either::Right(row), Some(rows)) => rows.push(row),
                    _ => all.push(Vec::new()),
                }
            }
            Ok::<_, sqlx::Error>(all)
        };
        match tokio::time::timeout(limit, work).await {
            Ok(Ok(rows)) => {
                self.state = before;
                Ok(rows)
            }
            Ok(Err(error)) => {
                self.state = State::Broken;
                Err(error::running(&store, &error))
            }
            Err(_) => Err(error::deadline(&store, limit, "the answer to a statement")),
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(open) = self.open.take() else { return };
        match self.state {
            State::Broken => {}
            State::Ready => {
                let pool = &self.pool.0;
                let mut idle = lock(&pool.idle);
                // One whose slot another has taken over is kept only where a free slot has no connection yet.
                let has_room = !open.is_retired && (self.permit.is_some() || idle.len() < pool.permits.available_permits());
                if has_room && !pool.permits.is_closed() {
                    idle.push(Idle { open, since: Instant::now() });
                }
            }
            State::Transaction | State::Running => {
                let lease = self.moved(open);
                // A full or ended caretaker gives the lease back: it is closed here, and the server stops at its next write.
                if let Err(refused) = self.pool.0.returns.try_send(lease) {
                    let mut lease = refused.into_inner();
                    lease.state = State::Broken;
                }
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
