//! The bounded pool of connections to one database file, and SQLite's failures in our words.
//!
//! A file can be replaced by another under its name (`mv`), and SQLite would go on with the one it has opened. So each connection is
//! taken from the pool of the file that has the name at that moment, told by device and inode. While connections of the file before are
//! still in use there may be twice as many.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::ConnectOptions;
use sqlx::pool::PoolConnection;
use sqlx::sqlite::{Sqlite, SqliteConnectOptions, SqliteConnection, SqlitePool, SqlitePoolOptions};
use tokio_util::sync::CancellationToken;

use super::super::connector::{PoolUse, StoreName};
use super::super::error::StoreError;
use super::scan::Failure;
use crate::error::sqlstate;
use crate::telemetry::metrics::Count;

/// How long readers may take to let go of their connections when the store is closed.
const CLOSE_GRACE: Duration = Duration::from_secs(2);
/// How long a connection outside of the pool waits for a lock.
const ALONE_TIMEOUT: Duration = Duration::from_millis(50);

/// How to reach the database file.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    /// The database file; it must exist.
    pub(super) path: PathBuf,
    /// Whether connections refuse writes.
    pub(super) read_only: bool,
    /// Most connections at a time.
    pub(super) size: u32,
    /// How long a statement waits for a connection.
    pub(super) wait: Duration,
    /// How long SQLite waits for another writer's lock.
    pub(super) busy_timeout: Duration,
    /// How long a branch keeps its state while nothing is read from it.
    pub(super) snapshot_idle: Duration,
}

/// Device and inode: what tells a file from another of the same name.
pub(super) type Identity = (u64, u64);

/// The connections of one store.
#[derive(Debug)]
pub(super) struct Pool {
    store: StoreName,
    settings: Settings,
    /// Made on first use, because making it needs a running runtime.
    connections: Mutex<Option<(Identity, SqlitePool)>>,
    /// Tells branches to end, because the store is being closed.
    closing: CancellationToken,
    waits: Count,
    /// Held by every branch that may write.
    writers: Arc<()>,
}

impl Pool {
    pub(super) fn new(store: StoreName, settings: Settings) -> Self {
        let (connections, closing) = (Mutex::new(None), CancellationToken::new());
        Self { store, settings, connections, closing, waits: Count::default(), writers: Arc::default() }
    }

    /// The store's name.
    pub(super) fn store(&self) -> &StoreName {
        &self.store
    }

    /// Takes a connection. `PoolConnection` returns itself when dropped.
    ///
    /// # Errors
    /// [`StoreError::Unreachable`] when the file is not there or cannot be opened, [`StoreError::Deadline`] when all connections
    /// are busy.
    pub(super) async fn acquire(&self) -> Result<PoolConnection<Sqlite>, StoreError> {
        self.acquire_of_file().await.map(|(_, connection)| connection)
    }

    /// The same, and of which file it is.
    ///
    /// # Errors
    /// As [`Pool::acquire`].
    pub(super) async fn acquire_of_file(&self) -> Result<(Identity, PoolConnection<Sqlite>), StoreError> {
        let identity = self.identity().await?;
        let pool = self.of_file(identity)?;
        if pool.size() >= self.settings.size && pool.num_idle() == 0 {
            self.waits.add(1);
        }
        let connection = pool.acquire().await.map_err(|error| self.open_error(error))?;
        Ok((identity, connection))
    }

    /// The file that has the name now.
    ///
    /// # Errors
    /// [`StoreError::Unreachable`] when it is not there.
    pub(super) async fn identity(&self) -> Result<Identity, StoreError> {
        let found = tokio::fs::metadata(&self.settings.path).await.map_err(|error| self.missing(&error))?;
        Ok((found.dev(), found.ino()))
    }

    /// The name of the file as another connection attaches it: from the root, so that nothing takes it for a URI.
    ///
    /// # Errors
    /// A name that is no text.
    pub(super) fn path(&self) -> Result<String, StoreError> {
        let absolute = std::path::absolute(&self.settings.path).map_err(|error| self.missing(&error))?;
        let feature = "to be attached by a path that is no text";
        absolute.into_os_string().into_string().map_err(|_path| StoreError::Unsupported { store: self.store.to_string(), feature })
    }

    /// The file itself, where its name is a link; `None` where it is not there.
    pub(super) fn file(&self) -> Option<PathBuf> {
        std::fs::canonicalize(&self.settings.path).ok()
    }

    /// What a branch that may write holds as long as it is there.
    pub(super) fn writer(&self) -> Arc<()> {
        Arc::clone(&self.writers)
    }

    /// Whether a branch is open that may write.
    pub(super) fn has_writers(&self) -> bool {
        Arc::strong_count(&self.writers) > 1
    }

    /// How the connections are used.
    pub(super) fn usage(&self) -> PoolUse {
        let connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        let in_use = connections.as_ref().map_or(0, |(_, pool)| (pool.size() as usize).saturating_sub(pool.num_idle()));
        PoolUse { in_use: in_use as u64, most: u64::from(self.settings.size), waits: self.waits.get() }
    }

    /// Ends all branches and closes all connections; later calls to [`Pool::acquire`] fail.
    pub(super) async fn close(&self) {
        self.closing.cancel();
        let last = self.connections.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some((_, last)) = last else { return };
        if tokio::time::timeout(CLOSE_GRACE, last.close()).await.is_err() {
            tracing::debug!(store = %self.store, "a reader still holds its connection to a closed store");
        }
    }

    /// Whether the store's file says that nothing is written.
    pub(super) fn is_read_only(&self) -> bool {
        self.settings.read_only
    }

    /// Set when the store is being closed.
    pub(super) fn closing(&self) -> &CancellationToken {
        &self.closing
    }

    /// How long SQLite waits for locks of a file, in milliseconds.
    pub(super) fn busy_timeout(&self) -> u64 {
        u64::try_from(self.settings.busy_timeout.as_millis()).unwrap_or(u64::MAX)
    }

    /// How long a branch keeps its state while nothing is read from it.
    pub(super) fn snapshot_idle(&self) -> Duration {
        self.settings.snapshot_idle
    }

    /// The error of everything that is asked of a closed store.
    pub(super) fn closed(&self) -> StoreError {
        StoreError::Unreachable { store: self.store.to_string(), reason: "The store has been closed.".to_owned() }
    }

    /// The error of a branch that was given up because nothing was read from it.
    pub(super) fn too_old(&self) -> StoreError {
        StoreError::Remote {
            store: self.store.to_string(),
            sqlstate: sqlstate::SNAPSHOT_TOO_OLD.to_owned(),
            message: "snapshot too old".to_owned(),
            detail: Some(format!("Nothing was read from it for {:?} (snapshot_idle).", self.settings.snapshot_idle)),
            constraint: None,
            site: None,
        }
    }

    /// The connections to the file that has the name now. Those to another end when they come back.
    fn of_file(&self, identity: Identity) -> Result<SqlitePool, StoreError> {
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        if self.closing.is_cancelled() {
            return Err(self.closed());
        }
        match connections.as_ref() {
            Some((known, pool)) if *known == identity => return Ok(pool.clone()),
            Some(_) => tracing::info!(store = %self.store, "the database file has been replaced; the new one is read from now on"),
            None => {}
        }
        let pool = self.make();
        *connections = Some((identity, pool.clone()));
        Ok(pool)
    }

    fn missing(&self, error: &io::Error) -> StoreError {
        let reason = match error.kind() {
            io::ErrorKind::NotFound => "The database file does not exist.",
            _ => "The database file cannot be opened.",
        };
        StoreError::Unreachable { store: self.store.to_string(), reason: reason.to_owned() }
    }

    /// A connection of its own, which waits only a little for a lock.
    ///
    /// # Errors
    /// As [`Pool::acquire`].
    pub(super) async fn connect(&self) -> Result<(Identity, SqliteConnection), StoreError> {
        if self.closing.is_cancelled() {
            return Err(self.closed());
        }
        let identity = self.identity().await?;
        let options = self.options().busy_timeout(ALONE_TIMEOUT);
        let connecting = tokio::time::timeout(self.settings.wait.max(CLOSE_GRACE), options.connect());
        let connected = connecting.await.unwrap_or(Err(sqlx::Error::PoolTimedOut));
        Ok((identity, connected.map_err(|error| self.open_error(error))?))
    }

    fn options(&self) -> SqliteConnectOptions {
        let settings = &self.settings;
        // The journal mode is the database owner's choice and is left as it is. Views and triggers of a file that somebody
        // else wrote must not reach functions with side effects.
        SqliteConnectOptions::new()
            .filename(&settings.path)
            .create_if_missing(false)
            .read_only(settings.read_only)
            .busy_timeout(settings.busy_timeout)
            .pragma("trusted_schema", "OFF")
            .disable_statement_logging()
    }

    fn make(&self) -> SqlitePool {
        let (settings, options) = (&self.settings, self.options());
        SqlitePoolOptions::new()
            .max_connections(settings.size)
            .acquire_timeout(settings.wait)
            .idle_timeout(Duration::from_secs(300))
            .test_before_acquire(false)
            .connect_lazy_with(options)
    }

    fn open_error(&self, error: sqlx::Error) -> StoreError {
        let store = self.store.to_string();
        match error {
            sqlx::Error::PoolTimedOut => StoreError::Deadline {
                store,
                limit_ms: u64::try_from(self.settings.wait.as_millis()).unwrap_or(u64::MAX),
                waiting_for: StoreError::FREE_CONNECTION,
            },
            sqlx::Error::PoolClosed => self.closed(),
            sqlx::Error::Database(error) => StoreError::Unreachable { store, reason: error.message().to_owned() },
            // The driver's other messages may hold the path of the file, which is no business of a client.
            _ => StoreError::Unreachable { store, reason: "The database file cannot be opened.".to_owned() },
        }
    }

    /// A failure of SQLite as a store error; `table` is the table being read, if any.
    pub(super) fn store_error(&self, failure: Failure, table: Option<&str>) -> StoreError {
        let store = self.store.to_string();
        if let Some(told) = failure.message.strip_prefix(super::fragment::CHECK_MARK) {
            return unfit(store, told);
        }
        let missing = ["no such column", "no such table"].iter().any(|start| failure.message.starts_with(start));
        if let (true, Some(table)) = (missing, table) {
            return StoreError::SchemaChanged { store, table: table.to_owned(), difference: by_own_name(failure.message) };
        }
        match failure.code & 0xff {
            libsqlite3_sys::SQLITE_BUSY | libsqlite3_sys::SQLITE_LOCKED => {
                StoreError::Deadline { store, limit_ms: self.busy_timeout(), waiting_for: StoreError::FREE_LOCK }
            }
            libsqlite3_sys::SQLITE_INTERRUPT => StoreError::Cancelled,
            libsqlite3_sys::SQLITE_CANTOPEN => StoreError::Unreachable { store, reason: failure.message },
            primary => StoreError::Remote {
                store,
                sqlstate: sqlstate_of(primary).to_owned(),
                message: failure.message,
                detail: Some(format!("SQLite result code {}.", failure.code)),
                constraint: None,
                site: None,
            },
        }
    }
}

/// The message in which the file goes by the name that it has when nothing is attached.
fn by_own_name(message: String) -> String {
    let start = "no such table: ";
    let named = message.strip_prefix(start).and_then(|rest| rest.split_once('.'));
    match named {
        Some((schema, table)) if schema.strip_prefix('s').is_some_and(|number| number.parse::<u32>().is_ok()) => {
            format!("{start}main.{table}")
        }
        _ => message,
    }
}

/// A cell that a fragment computes with and that is of another kind than its column: `text in t.a'`.
fn unfit(store: String, told: &str) -> StoreError {
    let told = told.trim_end_matches('\'');
    let (kind, place) = told.split_once(" in ").unwrap_or((told, "?"));
    let (table, column) = place.split_once('.').unwrap_or((place, "?"));
    StoreError::Value {
        store,
        table: table.to_owned(),
        column: column.to_owned(),
        sqlstate: sqlstate::INVALID_TEXT_REPRESENTATION,
        rule: format!("is of kind {kind}, which is not that of its type"),
    }
}

/// The SQLSTATE nearest to a primary result code.
fn sqlstate_of(primary: i32) -> &'static str {
    match primary {
        libsqlite3_sys::SQLITE_CORRUPT | libsqlite3_sys::SQLITE_NOTADB => "XX001",
        libsqlite3_sys::SQLITE_IOERR => "58030",
        libsqlite3_sys::SQLITE_FULL => "53100",
        libsqlite3_sys::SQLITE_NOMEM => sqlstate::OUT_OF_MEMORY,
        libsqlite3_sys::SQLITE_TOOBIG => sqlstate::PROGRAM_LIMIT_EXCEEDED,
        libsqlite3_sys::SQLITE_READONLY => sqlstate::READ_ONLY_SQL_TRANSACTION,
        libsqlite3_sys::SQLITE_AUTH | libsqlite3_sys::SQLITE_PERM => sqlstate::INSUFFICIENT_PRIVILEGE,
        libsqlite3_sys::SQLITE_CONSTRAINT => "23000",
        _ => sqlstate::FDW_ERROR,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Diagnose;

    fn pool(path: PathBuf) -> Pool {
        let settings = Settings {
            path,
            read_only: true,
            size: 1,
            wait: Duration::from_secs(1),
            busy_timeout: Duration::from_millis(250),
            snapshot_idle: Duration::from_secs(1),
        };
        Pool::new(StoreName::new("shop"), settings)
    }

    #[test]
    fn a_file_is_found_behind_a_link() {
        let directory = tempfile::tempdir().unwrap();
        let (file, link) = (directory.path().join("shop.db"), directory.path().join("link.db"));
        assert_eq!(pool(file.clone()).file(), None);
        std::fs::write(&file, "").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        // The directory itself may be reached by a link.
        assert_eq!(pool(link).file(), Some(file.canonicalize().unwrap()));
    }

    #[test]
    fn failures_get_the_nearest_sqlstate() {
        let pool = pool(PathBuf::from("/nowhere"));
        let rows = [
            (5, "database is locked", "08006"),
            (261, "database is locked", "08006"),
            (9, "interrupted", "57014"),
            (11, "database disk image is malformed", "XX001"),
            (1, "no such column: t.gone", "HV000"),
            (266, "disk I/O error", "58030"),
        ];
        for (code, message, expected) in rows {
            let error = pool.store_error(Failure { code, message: message.to_owned() }, Some("t"));
            assert_eq!(error.sqlstate(), expected, "{message}");
        }
        let attached = Failure { code: 1, message: "no such table: s2.t".to_owned() };
        let StoreError::SchemaChanged { difference, .. } = pool.store_error(attached, Some("t")) else { panic!("another error") };
        assert_eq!(difference, "no such table: main.t");
        assert_eq!(by_own_name("no such table: main.s2.t".to_owned()), "no such table: main.s2.t");
        let gone = Failure { code: 1, message: "no such column: t.gone".to_owned() };
        assert!(matches!(pool.store_error(gone.clone(), Some("t")), StoreError::SchemaChanged { .. }));
        assert!(matches!(pool.store_error(gone, None), StoreError::Remote { .. }));
    }
}
