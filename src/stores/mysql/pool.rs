//! Connections to one server: opened with a deadline, prepared to speak our dialect, lent out within a bound.
//!
//! A [`Lease`] that is dropped closes its connection; only [`Lease::release`] gives it back, so a connection whose state is
//! unknown is never used again. Which statement runs on a lease is decided in `scan.rs`, `write.rs` and `schema.rs`.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::TryStreamExt;
use sqlx::mysql::{MySqlConnection, MySqlRow};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Either, Row};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::super::connector::{PoolUse, StoreName};
use super::super::error::StoreError;
use super::error::{self, Place};
use super::options::Settings;
use crate::telemetry::metrics::Count;

/// Makes every connection speak alike, whatever the server's defaults: quotes and escapes as the statements are written,
/// strict writes, UTC, `IS NULL` without the auto-increment surprise, one isolation level, sort keys of
/// a length that fragments rely on, and no time limits but ours. A
/// client may pause in the middle of a result, which the server's own limit on a blocked write (a minute by default) would
/// take for a lost connection; a week bounds it. A zero is a number and no request for the next one, and columns that are set in one
/// statement are set at once, as everywhere else; keys and conditions are checked; and the end of a transaction neither begins the next
/// one nor closes the connection (`completion_type`). Notes are kept beside errors, because they tell where an error comes from. MariaDB's cache of subqueries is off: it takes values that the collation of
/// an outer column calls equal for one, and gives 'B' the answer of 'b' where the subquery compares by bytes. The comments are read as code by MariaDB alone and by MySQL alone.
const PREPARE: &str = "SET SESSION sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES,PIPES_AS_CONCAT,STRICT_ALL_TABLES,\
ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION,NO_AUTO_VALUE_ON_ZERO' /*M!100305 ',SIMULTANEOUS_ASSIGNMENT' */, \
SESSION time_zone = '+00:00', SESSION sql_auto_is_null = 0, \
SESSION autocommit = 1, SESSION completion_type = 'NO_CHAIN', SESSION foreign_key_checks = 1, SESSION unique_checks = 1, \
SESSION sql_safe_updates = 0, SESSION sql_notes = 1, SESSION max_error_count = 64, SESSION max_sort_length = 1024, SESSION net_write_timeout = 604800 /*M!, SESSION max_statement_time = 0, \
SESSION optimizer_switch = 'subquery_cache=off' *//*M!100201 , SESSION check_constraint_checks = 1 */\
/*!50708 , SESSION max_execution_time = 0 */; SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ; \
SELECT CONNECTION_ID(), VERSION(), @@log_bin, @@max_allowed_packet";

/// Makes a locking statement of a repeatable transaction fail when its row has changed since, instead of changing what it cannot see.
const PREPARE_SNAPSHOTS: &str = "SET SESSION innodb_snapshot_isolation = ON";

/// The most conditions that are kept of a statement: `max_error_count` of [`PREPARE`].
pub(super) const CONDITIONS_MAX: usize = 64;

/// Tells which databases the binary log is limited to or leaves out; the privilege for it is not everybody's.
const LOG_FILTERS: &str = "SHOW MASTER STATUS";

/// Why nothing is known of the filters of the binary log.
const MAY_NOT_SEE: &str = "the store's user may not see whether the binary log is filtered (BINLOG MONITOR)";

/// An idle connection younger than this is used without asking whether it still lives.
const TRUSTED_IDLE: Duration = Duration::from_millis(500);

/// What a server says of itself when a connection opens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Server {
    /// `VERSION()`.
    pub(super) version: String,
    /// Whether it is MariaDB rather than MySQL.
    pub(super) is_mariadb: bool,
    /// Whether it writes a binary log.
    pub(super) has_binary_log: bool,
    /// Whether the binary log holds the changes of all databases; otherwise, why that is not so or not known.
    pub(super) logs_all: Result<(), &'static str>,
}

impl Server {
    /// The three numbers of the version. MariaDB may say that it is a MySQL of old before it says what it is.
    pub(super) fn numbers(&self) -> [u32; 3] {
        let own = self.version.strip_prefix("5.5.5-").filter(|_| self.is_mariadb).unwrap_or(&self.version);
        let mut numbers = own.split(|c: char| !c.is_ascii_digit()).map(|digits| digits.parse::<u32>().unwrap_or(0));
        [numbers.next(), numbers.next(), numbers.next()].map(Option::unwrap_or_default)
    }

    /// Whether locks of a repeatable transaction can be held to its snapshot. MySQL has no such setting.
    fn can_hold_to_snapshots(&self) -> bool {
        self.is_mariadb
            && match self.numbers() {
                [10, 6, patch] => patch >= 18,
                [10, 11, patch] => patch >= 8,
                [11, 0, patch] => patch >= 6,
                [11, 1, patch] => patch >= 5,
                [11, 2, patch] => patch >= 4,
                [11, 4, patch] => patch >= 2,
                numbers => numbers >= [11, 5, 0],
            }
    }

    /// Whether what is prepared outlives its connection. Older servers roll it back then, though they have said that it will commit.
    pub(super) fn keeps_prepared(&self) -> bool {
        self.numbers() >= if self.is_mariadb { [10, 5, 2] } else { [5, 7, 7] }
    }

    /// Whether what `XA COMMIT … ONE PHASE` has kept outlives a crash. With a binary log, MariaDB finds it prepared again afterwards, and so
    /// may MySQL before it looked for such names in its log.
    pub(super) fn keeps_one_phase(&self) -> bool {
        !self.has_binary_log || (!self.is_mariadb && self.numbers() >= [8, 0, 30])
    }

    /// Whether rows that are inserted can be given back.
    pub(super) fn gives_inserted(&self) -> bool {
        self.is_mariadb && self.numbers() >= [10, 5, 0]
    }

    /// Whether the conditions of a statement tell that it failed inside of a trigger. Older ones may as well, and are not known to.
    pub(super) fn traces_errors(&self) -> bool {
        self.is_mariadb && self.numbers() >= [10, 5, 0]
    }

    /// Whether `SHOW MASTER STATUS` tells the end of the binary log: MySQL's newest releases do not know it, and the privilege
    /// is not everybody's.
    pub(super) fn shows_end_of_log(&self) -> bool {
        self.is_mariadb && self.has_binary_log && self.logs_all != Err(MAY_NOT_SEE)
    }
}

/// One prepared connection.
pub(super) struct Session {
    /// The driver's connection.
    pub(super) connection: MySqlConnection,
    /// The server's number of it, for `KILL QUERY`.
    pub(super) id: u64,
    /// The most bytes of one message, beyond which the server closes the connection.
    pub(super) message_max: usize,
    /// The server it goes to.
    pub(super) server: Arc<Server>,
    /// How many seconds it waits for locks; 0 where it does as the server's settings say.
    lock_wait: u64,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("id", &self.id).finish_non_exhaustive()
    }
}

struct Idle {
    session: Session,
    since: Instant,
}

/// Connections to one server within a bound.
pub(super) struct Pool {
    store: StoreName,
    settings: Arc<Settings>,
    slots: Arc<Semaphore>,
    size: usize,
    /// Whether it serves transactions and writes, which a session holds across its statements.
    leads: bool,
    waits: Count,
    idle: Mutex<Vec<Idle>>,
    closed: AtomicBool,
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("store", &self.store).field("free", &self.slots.available_permits()).finish_non_exhaustive()
    }
}

/// One connection in use. Dropping it closes the connection.
#[derive(Debug)]
pub(super) struct Lease {
    /// The connection.
    pub(super) session: Session,
    /// Whether it has been idle, so that the server may have ended it meanwhile.
    pub(super) reused: bool,
    /// Whether the server may have rolled its whole transaction back, as it does after a deadlock: what is sent next would commit by
    /// itself.
    pub(super) is_doubtful: bool,
    pool: Arc<Pool>,
    _permit: OwnedSemaphorePermit,
}

/// An error, and the server's number of it where it has answered.
#[derive(Debug)]
pub(super) struct Refused {
    /// The number.
    pub(super) number: Option<u16>,
    /// What it means to us.
    pub(super) error: StoreError,
}

impl Pool {
    /// A pool of at most `size` connections; none is opened yet.
    pub(super) fn new(store: &StoreName, settings: &Arc<Settings>, size: usize) -> Arc<Self> {
        Self::of(store, settings, size, false)
    }

    /// A pool for transactions and writes, which says of itself that it is used up.
    pub(super) fn leading(store: &StoreName, settings: &Arc<Settings>, size: usize) -> Arc<Self> {
        Self::of(store, settings, size, true)
    }

    fn of(store: &StoreName, settings: &Arc<Settings>, size: usize, leads: bool) -> Arc<Self> {
        Arc::new(Self {
            store: store.clone(),
            settings: Arc::clone(settings),
            slots: Arc::new(Semaphore::new(size)),
            size,
            leads,
            waits: Count::default(),
            idle: Mutex::new(Vec::new()),
            closed: AtomicBool::new(false),
        })
    }

    /// How its connections are used.
    pub(super) fn usage(&self) -> PoolUse {
        let in_use = self.size.saturating_sub(self.slots.available_permits());
        PoolUse { in_use: in_use as u64, most: self.size as u64, waits: self.waits.get() }
    }

    fn place(&self) -> Place<'_> {
        Place { store: &self.store, table: None }
    }

    /// One connection.
    ///
    /// # Errors
    /// [`StoreError::Deadline`] or [`StoreError::Crowded`] after `pool.wait`, or why no connection could be made.
    pub(super) async fn lease(self: &Arc<Self>) -> Result<Lease, StoreError> {
        let permit = self.reserve(1).await?;
        self.fill(permit).await
    }

    /// Several connections. Their slots are waited for as one, so that two statements never hold half of what each needs.
    ///
    /// # Errors
    /// As [`Pool::lease`].
    pub(super) async fn lease_many(self: &Arc<Self>, count: usize) -> Result<Vec<Lease>, StoreError> {
        let mut permits = self.reserve(count).await?;
        let singles = std::iter::from_fn(|| permits.split(1)).take(count).collect::<Vec<_>>();
        futures::future::try_join_all(singles.into_iter().map(|permit| self.fill(permit))).await
    }

    async fn reserve(&self, count: usize) -> Result<OwnedSemaphorePermit, StoreError> {
        let wait = self.settings.pool_wait;
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        if let Ok(permits) = Arc::clone(&self.slots).try_acquire_many_owned(count) {
            return Ok(permits);
        }
        self.waits.add(1);
        match tokio::time::timeout(wait, Arc::clone(&self.slots).acquire_many_owned(count)).await {
            Ok(Ok(permits)) => Ok(permits),
            Ok(Err(_closed)) => Err(self.place().unreachable("the store was closed")),
            Err(_elapsed) if self.leads => Err(StoreError::Crowded { store: self.store.to_string(), limit_ms: milliseconds(wait) }),
            Err(_elapsed) => Err(self.late(wait, StoreError::FREE_CONNECTION)),
        }
    }

    async fn fill(self: &Arc<Self>, permit: OwnedSemaphorePermit) -> Result<Lease, StoreError> {
        let (session, reused) = match self.living_idle().await {
            Some(session) => (session, true),
            None => (self.open().await?, false),
        };
        Ok(Lease { session, reused, is_doubtful: false, pool: Arc::clone(self), _permit: permit })
    }

    /// The most recently used idle connection that still answers.
    async fn living_idle(&self) -> Option<Session> {
        loop {
            let Idle { mut session, since } = self.lock_idle().pop()?;
            let age = since.elapsed();
            if age > self.settings.pool_idle {
                continue;
            }
            if age < TRUSTED_IDLE {
                return Some(session);
            }
            let answer = tokio::time::timeout(self.settings.connect_timeout, session.connection.ping()).await;
            if matches!(answer, Ok(Ok(()))) {
                return Some(session);
            }
        }
    }

    async fn open(&self) -> Result<Session, StoreError> {
        if self.closed.load(Ordering::Acquire) {
            return Err(self.place().unreachable("the store was closed"));
        }
        let limit = self.settings.connect_timeout;
        match tokio::time::timeout(limit, connect(&self.settings)).await {
            Ok(Ok(session)) => Ok(session),
            Ok(Err(error)) => Err(self.place().translate_connect(&error)),
            Err(_elapsed) => Err(self.place().unreachable(&format!("the server did not answer within {} ms", limit.as_millis()))),
        }
    }

    /// Closes every idle connection: after one was found broken the others probably are.
    pub(super) fn forget_idle(&self) {
        self.lock_idle().clear();
    }

    /// Closes idle connections that are too old; called when a connection comes back, so no task is needed.
    fn keep(&self, session: Session) {
        if self.closed.load(Ordering::Acquire) {
            return;
        }
        let mut idle = self.lock_idle();
        idle.retain(|old| old.since.elapsed() <= self.settings.pool_idle);
        idle.push(Idle { session, since: Instant::now() });
    }

    /// Refuses new leases and closes idle connections.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.slots.close();
        self.forget_idle();
    }

    fn lock_idle(&self) -> std::sync::MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn late(&self, limit: Duration, waiting_for: &'static str) -> StoreError {
        StoreError::Deadline { store: self.store.to_string(), limit_ms: milliseconds(limit), waiting_for }
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Lease {
    /// Gives a connection back that is in no transaction and has no rows left to read.
    pub(super) fn release(self) {
        self.pool.keep(self.session);
    }

    /// Runs statements without rows, as one round trip.
    ///
    /// # Errors
    /// What the server answered, or [`StoreError::Deadline`].
    pub(super) async fn run(&mut self, sql: &'static str) -> Result<(), StoreError> {
        self.rows(sql).await.map(drop)
    }

    /// Statements from now on wait for locks for so many milliseconds, which the server counts in seconds; for 0 as long as its settings
    /// say, and never for longer.
    ///
    /// # Errors
    /// As [`Lease::run`].
    pub(super) async fn wait_for_locks(&mut self, millis: u64) -> Result<(), StoreError> {
        let seconds = millis.div_ceil(1000);
        if self.session.lock_wait == seconds {
            return Ok(());
        }
        self.rows_of(waiting(seconds)).await?;
        self.session.lock_wait = seconds;
        Ok(())
    }

    /// Asks whether the connection still answers.
    ///
    /// # Errors
    /// As [`Lease::run`]; the answer to an earlier query that was stopped arrives here too.
    pub(super) async fn ping(&mut self) -> Result<(), StoreError> {
        let limit = self.pool.settings.connect_timeout;
        match tokio::time::timeout(limit, self.session.connection.ping()).await {
            Ok(answer) => answer.map_err(|error| self.pool.place().translate(&error)),
            Err(_elapsed) => Err(self.pool.late(limit, "the server to answer")),
        }
    }

    /// Runs statements and gathers their few rows, as one round trip.
    ///
    /// # Errors
    /// As [`Lease::run`].
    pub(super) async fn rows(&mut self, sql: &'static str) -> Result<Vec<MySqlRow>, StoreError> {
        self.rows_of(sql.to_owned()).await
    }

    /// As [`Lease::rows`], with a text that is put together: names of the store in it are quoted and no values are in it.
    ///
    /// # Errors
    /// As [`Lease::run`].
    pub(super) async fn rows_of(&mut self, sql: String) -> Result<Vec<MySqlRow>, StoreError> {
        self.asked(sql).await.map_err(|refused| refused.error)
    }

    /// As [`Lease::rows_of`], for statements whose errors tell more by their numbers.
    ///
    /// # Errors
    /// As [`Lease::run`].
    pub(super) async fn asked(&mut self, sql: String) -> Result<Vec<MySqlRow>, Refused> {
        let limit = self.pool.settings.query_timeout;
        let answer = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_all(&mut self.session.connection);
        match tokio::time::timeout(limit, answer).await {
            Ok(answer) => {
                let refused = |problem| Refused { number: error::number(&problem), error: self.pool.place().translate(&problem) };
                answer.map_err(refused)
            }
            Err(_elapsed) => Err(Refused { number: None, error: self.pool.late(limit, "the answer to a statement") }),
        }
    }

    /// As [`Lease::asked`], for `count` statements that end a transaction, with a question behind them, whose rows are given. Once those were
    /// answered they have succeeded, whatever becomes of the question: without an answer there are no rows, and the connection is doubtful.
    ///
    /// # Errors
    /// As [`Lease::run`], for the statements in front of the question.
    pub(super) async fn ended(&mut self, sql: String, count: usize) -> Result<Vec<MySqlRow>, Refused> {
        let limit = self.pool.settings.query_timeout;
        let (mut answered, mut rows) = (0, Vec::new());
        let asking = async {
            let mut answers = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_many(&mut self.session.connection);
            while let Some(answer) = answers.try_next().await? {
                match answer {
                    Either::Left(_done) => answered += 1,
                    Either::Right(row) => rows.push(row),
                }
            }
            Ok::<(), sqlx::Error>(())
        };
        let outcome = tokio::time::timeout(limit, asking).await;
        let refused = match outcome {
            Ok(Ok(())) => return Ok(rows),
            Ok(Err(problem)) => Refused { number: error::number(&problem), error: self.pool.place().translate(&problem) },
            Err(_elapsed) => Refused { number: None, error: self.pool.late(limit, "the answer to a statement") },
        };
        if answered < count {
            return Err(refused);
        }
        tracing::debug!(store = %self.pool.store, "the server did not tell its position behind the end of a transaction");
        self.is_doubtful = true;
        Ok(Vec::new())
    }

    /// Stops the query that runs on connection `id`. The connection itself lives on.
    ///
    /// # Errors
    /// As [`Lease::run`]; a connection that has ended by itself is not an error.
    pub(super) async fn kill_query(&mut self, id: u64) -> Result<(), StoreError> {
        /// `ER_NO_SUCH_THREAD`
        const GONE: &str = "Unknown thread id";
        let limit = self.pool.settings.connect_timeout;
        let kill = sqlx::raw_sql(AssertSqlSafe(format!("KILL QUERY {id}"))).execute(&mut self.session.connection);
        match tokio::time::timeout(limit, kill).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(sqlx::Error::Database(answer))) if answer.message().starts_with(GONE) => Ok(()),
            Ok(Err(error)) => Err(self.pool.place().translate(&error)),
            Err(_elapsed) => Err(self.pool.late(limit, "a query to stop")),
        }
    }
}

/// What tells a connection how long to wait for locks of rows and of tables.
fn waiting(seconds: u64) -> String {
    let limits = ["innodb_lock_wait_timeout", "lock_wait_timeout"].map(|name| match seconds {
        0 => format!("SESSION {name} = DEFAULT"),
        // Both may be whole numbers of different kinds, whose least one would be none.
        _ => format!("SESSION {name} = CAST(LEAST(@@GLOBAL.{name}, {seconds}) AS UNSIGNED)"),
    });
    format!("SET {}", limits.join(", "))
}

async fn connect(settings: &Settings) -> Result<Session, sqlx::Error> {
    let mut connection = settings.driver_options().connect().await?;
    let rows = sqlx::raw_sql(PREPARE).fetch_all(&mut connection).await?;
    let row = rows.first().ok_or(sqlx::Error::RowNotFound)?;
    let version: String = row.try_get_unchecked(1)?;
    let is_mariadb = version.to_ascii_lowercase().contains("mariadb");
    let has_binary_log = row.try_get_unchecked::<i64, _>(2)? != 0;
    let id = row.try_get_unchecked(0)?;
    let message_max = usize::try_from(row.try_get_unchecked::<i64, _>(3)?).unwrap_or(usize::MAX);
    // Only MariaDB tells snapshot positions, so only there it matters.
    let logs_all = if is_mariadb && has_binary_log { log_filters(&mut connection).await? } else { Ok(()) };
    let server = Server { version, is_mariadb, has_binary_log, logs_all };
    if server.can_hold_to_snapshots() {
        sqlx::raw_sql(PREPARE_SNAPSHOTS).execute(&mut connection).await?;
    }
    Ok(Session { id, message_max, connection, server: Arc::new(server), lock_wait: 0 })
}

/// Filters of the binary log change only with a restart, which ends the connection too.
async fn log_filters(connection: &mut MySqlConnection) -> Result<Result<(), &'static str>, sqlx::Error> {
    match sqlx::raw_sql(LOG_FILTERS).fetch_all(connection).await {
        Ok(rows) => {
            let texts = rows.first().map(|row| (row.try_get_unchecked::<String, _>(2), row.try_get_unchecked::<String, _>(3)));
            Ok(match texts {
                Some((Ok(only), Ok(without))) if only.is_empty() && without.is_empty() => Ok(()),
                Some((Ok(_), Ok(_))) => Err("the server's binary log leaves out some databases"),
                _ => Err("the server does not tell whether its binary log leaves out databases"),
            })
        }
        Err(sqlx::Error::Database(_)) => Ok(Err(MAY_NOT_SEE)),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_can_do_is_known_by_its_version() {
        let server = |version: &str| {
            let is_mariadb = version.contains("MariaDB");
            Server { version: version.to_owned(), is_mariadb, has_binary_log: false, logs_all: Ok(()) }
        };
        let rows = [
            ("10.5.1-MariaDB", [10, 5, 1], false),
            ("10.5.2-MariaDB-log", [10, 5, 2], true),
            ("10.11.19-MariaDB-0+deb12u1", [10, 11, 19], true),
            ("5.5.5-10.4.34-MariaDB", [10, 4, 34], false),
            ("5.5.5-10.11.8-MariaDB-log", [10, 11, 8], true),
            ("5.5.68-MariaDB", [5, 5, 68], false),
            ("5.7.6-m16", [5, 7, 6], false),
            ("5.7.7-rc", [5, 7, 7], true),
            ("8.0.36", [8, 0, 36], true),
            ("", [0, 0, 0], false),
        ];
        for (version, numbers, keeps) in rows {
            assert_eq!((server(version).numbers(), server(version).keeps_prepared()), (numbers, keeps), "{version}");
        }
        for (version, keeps) in [("5.5.5-10.11.8-MariaDB", false), ("11.8.2-MariaDB", false), ("8.0.29", false), ("8.0.30", true)] {
            let logging = Server { has_binary_log: true, ..server(version) };
            assert_eq!((server(version).keeps_one_phase(), logging.keeps_one_phase()), (true, keeps), "{version}");
        }
        assert!(server("5.5.5-10.11.8-MariaDB").can_hold_to_snapshots() && server("5.5.5-10.5.0-MariaDB").gives_inserted());
    }
}
