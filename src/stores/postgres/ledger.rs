//! Logs of commits in tables of a PostgreSQL store, for several instances that share it.
//!
//! ```text
//! tributary_logs       one row for each log: who has taken it last (epoch), and how often it was begun
//! tributary_decisions  its records, in the order in which they were appended
//! take    a lock of the session's on the log; epoch + 1, and the records, in one transaction
//! append  the records, where the epoch is still that one
//! ```
//!
//! **Invariants:** one connection, which belongs to nobody else and is no other store's to close, holds the locks and sends every record:
//! when it is lost, so are they, and whoever takes a log afterwards raises its epoch before it reads what is there. What was appended is
//! on disk. A record that was sent is not sent again. Of a record is read which transaction it is of, and nothing else.

use std::collections::BTreeSet;
use std::fmt;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use sqlx::Row;
use sqlx::postgres::PgRow;
use tokio::sync::Mutex;

use super::super::commit::{DECISIONS, Gid, Held, LOGS, Ledger, LogId};
use super::super::connector::StoreName;
use super::super::error::StoreError;
use super::error;
use super::own::{self, DURABLE, quoted};
use super::pool::{Lease, Pools, State};
use super::settings::Settings;
use crate::error::sqlstate;

/// `object_in_use`
const IN_USE: &str = "55006";
/// Logs that are looked at when any is wanted.
const LOOKED_AT: usize = 100;
/// Transactions whose records are removed by one statement.
const REMOVED_AT_ONCE: usize = 500;
/// What stands before the transaction in a record: its kind, and how long it is.
const HEAD: usize = 5;
/// A connection that has been silent for longer is tried before a record is sent over it, which cannot be sent again.
const REST_MAX: Duration = Duration::from_secs(1);
/// How a transaction of ours begins: whoever waits for a row sees what it was changed to.
const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE";

/// The logs of one store.
pub(super) struct Rows {
    store: StoreName,
    /// Its own, so that a log outlives the connector that it was asked of.
    pools: Pools,
    line: Mutex<Line>,
}

/// The connection that holds the locks, and of which logs they are.
#[derive(Default)]
struct Line {
    lease: Option<Lease>,
    held: BTreeSet<LogId>,
    used: Option<Instant>,
}

/// What came of trying to take a log.
enum Tried {
    Taken(Held),
    /// Somebody else has it, or we have.
    InUse,
    Missing,
}

impl fmt::Debug for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rows").field("store", &self.store).finish_non_exhaustive()
    }
}

impl Rows {
    /// Without a connection; the first log that is taken makes one.
    pub(super) fn new(store: &StoreName, settings: &Settings) -> Self {
        Self { store: store.clone(), pools: Pools::new(store, settings), line: Mutex::default() }
    }

    fn said(&self, sqlstate: &str, message: String) -> StoreError {
        StoreError::remote(self.store.as_str(), sqlstate, message)
    }

    fn broken(&self, problem: &sqlx::Error) -> StoreError {
        error::running(&self.store, problem)
    }

    /// A living connection, and the tables.
    async fn connect(&self, line: &mut Line) -> Result<(), StoreError> {
        if line.lease.is_some() && line.ask(&self.store, "SELECT 1").await.is_ok() {
            return Ok(());
        }
        line.lose();
        self.pools.start();
        let (mut lease, _) = Box::pin(self.pools.control.acquire_with("SELECT 1")).await?;
        // It goes to nobody else: its locks end with it.
        lease.settle(State::Broken);
        line.lease = Some(lease);
        let look = format!(
            "SELECT pg_catalog.to_regclass('{}') IS NOT NULL AND pg_catalog.to_regclass('{}') IS NOT NULL",
            quoted(LOGS),
            quoted(DECISIONS)
        );
        if !self.truth(&line.ask(&self.store, &look).await?)? {
            line.ask(&self.store, &own::made(&creations())).await?;
        }
        Ok(())
    }

    fn truth(&self, answers: &[Vec<PgRow>]) -> Result<bool, StoreError> {
        let row = answers.iter().flatten().next();
        row.map_or(Ok(false), |row| row.try_get(0)).map_err(|problem| self.broken(&problem))
    }

    async fn try_take(&self, line: &mut Line, log: LogId) -> Result<Tried, StoreError> {
        let lock = format!("SELECT pg_catalog.pg_try_advisory_lock({})", log.0.cast_signed());
        // Our own would be given once more.
        if line.held.contains(&log) || !self.truth(&line.ask(&self.store, &lock).await?)? {
            return Ok(Tried::InUse);
        }
        let held = match line.ask(&self.store, &taking(log)).await {
            Ok(answers) => self.held(log, &answers),
            Err(error) => Err(error),
        };
        match held {
            Ok(Some(held)) => {
                line.held.insert(log);
                Ok(Tried::Taken(held))
            }
            not_taken => {
                line.unlock(&self.store, log).await;
                not_taken.map(|_| Tried::Missing)
            }
        }
    }

    /// What [`taking`] was answered.
    fn held(&self, log: LogId, answers: &[Vec<PgRow>]) -> Result<Option<Held>, StoreError> {
        // Behind BEGIN and the setting.
        let [_, _, raised, records, ..] = answers else { return Ok(None) };
        let Some(raised) = raised.first() else { return Ok(None) };
        let read = || -> Result<(i64, i32, Vec<Vec<u8>>), sqlx::Error> {
            let records: Result<Vec<Vec<u8>>, sqlx::Error> = records.iter().map(|row| row.try_get(0)).collect();
            Ok((raised.try_get(0)?, raised.try_get(1)?, records?))
        };
        let (epoch, start, records) = read().map_err(|problem| self.broken(&problem))?;
        // Numbers of an earlier start would be given again.
        let other = || self.said(sqlstate::DATA_CORRUPTED, format!("the log of commits {log} was begun {start} times"));
        let start = u32::try_from(start).ok().ok_or_else(other)?;
        Ok(Some(Held { log, epoch, start, records }))
    }

    /// Logs with records, the one that was taken longest ago first.
    async fn with_records(&self, line: &mut Line) -> Result<Vec<LogId>, StoreError> {
        let sql = format!(
            "SELECT l.log FROM {} l WHERE EXISTS (SELECT FROM {} d WHERE d.log = l.log) ORDER BY l.taken LIMIT {LOOKED_AT}",
            quoted(LOGS),
            quoted(DECISIONS)
        );
        let answers = line.ask(&self.store, &sql).await?;
        let names: Result<Vec<String>, sqlx::Error> = answers.iter().flatten().map(|row| row.try_get(0)).collect();
        let names = names.map_err(|problem| self.broken(&problem))?;
        Ok(names.iter().filter_map(|name| LogId::parse(name)).collect())
    }

    /// A log that was never before.
    async fn begin(&self, line: &mut Line) -> Result<Held, StoreError> {
        let log = LogId(rand::random());
        let lock = format!("SELECT pg_catalog.pg_try_advisory_lock({})", log.0.cast_signed());
        if !self.truth(&line.ask(&self.store, &lock).await?)? {
            return Err(self.in_use(log));
        }
        let row = format!(
            "{BEGIN}; {DURABLE}; INSERT INTO {} (log, epoch, start, taken) VALUES ('{log}', 1, 1, pg_catalog.clock_timestamp()); COMMIT",
            quoted(LOGS)
        );
        if let Err(error) = line.ask(&self.store, &row).await {
            line.unlock(&self.store, log).await;
            return Err(error);
        }
        line.held.insert(log);
        Ok(Held { log, epoch: 1, start: 1, records: Vec::new() })
    }

    fn in_use(&self, log: LogId) -> StoreError {
        self.said(IN_USE, format!("the log of commits {log} is in use by an instance that runs"))
    }

    /// Whether the lock was ours when the connection was last heard of.
    fn check(&self, line: &Line, log: LogId) -> Result<(), StoreError> {
        if line.held.contains(&log) {
            return Ok(());
        }
        let reason = format!("The connection that held the log of commits {log} is gone.");
        Err(StoreError::ConnectionLost { store: self.store.to_string(), reason })
    }

    /// Which transactions the records are of.
    fn named(&self, log: LogId, records: &[Vec<u8>]) -> Result<Vec<Gid>, StoreError> {
        let gids: Option<Vec<Gid>> = records.iter().map(|record| gid_of(record).filter(|gid| gid.log == log)).collect();
        let other = || self.said(sqlstate::INTERNAL_ERROR, format!("a record is not one of the log of commits {log}"));
        gids.ok_or_else(other)
    }
}

impl Line {
    /// Runs statements of our own. After an error the connection is in no transaction, or gone with its locks.
    async fn ask(&mut self, store: &StoreName, sql: &str) -> Result<Vec<Vec<PgRow>>, StoreError> {
        let gone = || StoreError::ConnectionLost { store: store.to_string(), reason: "It has been given back.".to_owned() };
        let lease = self.lease.as_mut().ok_or_else(gone)?;
        match Box::pin(lease.batch(sql)).await {
            Ok(answers) => {
                self.used = Some(Instant::now());
                Ok(answers)
            }
            Err(error) => {
                let is_answered = matches!(error, StoreError::Remote { .. });
                if !is_answered || Box::pin(lease.query("ROLLBACK")).await.is_err() {
                    self.lose();
                }
                Err(error)
            }
        }
    }

    /// Makes sure that the connection answers before something is sent that must not be sent twice.
    async fn reach(&mut self, store: &StoreName) -> Result<(), StoreError> {
        if self.used.is_some_and(|used| used.elapsed() <= REST_MAX) {
            return Ok(());
        }
        self.ask(store, "SELECT 1").await.map(drop)
    }

    async fn unlock(&mut self, store: &StoreName, log: LogId) {
        let unlock = format!("SELECT pg_catalog.pg_advisory_unlock({})", log.0.cast_signed());
        if let Err(error) = self.ask(store, &unlock).await {
            tracing::debug!(%store, %error, "a log of commits could not be let go of; its connection is closed");
            self.lose();
        }
    }

    fn lose(&mut self) {
        *self = Self::default();
    }
}

#[async_trait]
impl Ledger for Rows {
    async fn take(&self, wanted: Option<LogId>) -> Result<Held, StoreError> {
        let mut line = self.line.lock().await;
        self.connect(&mut line).await?;
        if let Some(log) = wanted {
            return match self.try_take(&mut line, log).await? {
                Tried::Taken(held) => Ok(held),
                Tried::InUse => Err(self.in_use(log)),
                Tried::Missing => {
                    Err(self.said(sqlstate::UNDEFINED_OBJECT, format!("there is no log of commits {log} in the store")))
                }
            };
        }
        for log in self.with_records(&mut line).await? {
            if let Tried::Taken(held) = self.try_take(&mut line, log).await? {
                return Ok(held);
            }
        }
        self.begin(&mut line).await
    }

    async fn append(&self, log: LogId, epoch: i64, records: &[Vec<u8>]) -> Result<bool, StoreError> {
        let sql = appending(log, epoch, &self.named(log, records)?, records);
        let mut line = self.line.lock().await;
        self.check(&line, log)?;
        if records.is_empty() {
            return Ok(true);
        }
        line.reach(&self.store).await?;
        let store = || self.store.to_string();
        match line.ask(&self.store, &sql).await {
            // Behind BEGIN and the setting.
            Ok(answers) => Ok(answers.get(2).is_some_and(|rows| rows.len() == records.len())),
            Err(StoreError::ConnectionLost { reason, .. }) => Err(StoreError::OutcomeUnknown { store: store(), reason }),
            Err(StoreError::Deadline { limit_ms, .. }) => {
                let reason = format!("There was no answer within {limit_ms} ms.");
                Err(StoreError::OutcomeUnknown { store: store(), reason })
            }
            Err(error) => Err(error),
        }
    }

    async fn remove(&self, log: LogId, epoch: i64, gids: &[Gid]) -> Result<bool, StoreError> {
        let mut line = self.line.lock().await;
        self.check(&line, log)?;
        for some in gids.chunks(REMOVED_AT_ONCE) {
            let answers = line.ask(&self.store, &removing(log, epoch, some)).await?;
            // Behind BEGIN and the setting.
            if answers.get(2).is_none_or(Vec::is_empty) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn holds(&self, log: LogId, epoch: i64) -> Result<bool, StoreError> {
        let mut line = self.line.lock().await;
        self.check(&line, log)?;
        let stands = format!("SELECT 1 FROM {} WHERE log = '{log}' AND epoch = {epoch}", quoted(LOGS));
        let answers = line.ask(&self.store, &stands).await?;
        Ok(answers.iter().flatten().next().is_some())
    }

    async fn release(&self, log: LogId) {
        let mut line = self.line.lock().await;
        if line.held.remove(&log) {
            line.unlock(&self.store, log).await;
        }
    }

    async fn left(&self) -> Result<Vec<LogId>, StoreError> {
        let mut line = self.line.lock().await;
        self.connect(&mut line).await?;
        self.with_records(&mut line).await
    }
}

/// A record's transaction: the two numbers of its name behind the head, as `write/log` puts them.
fn gid_of(record: &[u8]) -> Option<Gid> {
    let (log, rest) = record.get(HEAD..)?.split_first_chunk::<8>()?;
    let number = rest.first_chunk::<8>()?;
    Some(Gid { log: LogId(u64::from_le_bytes(*log)), number: u64::from_le_bytes(*number) })
}

fn creations() -> [String; 2] {
    let (logs, decisions) = (quoted(LOGS), quoted(DECISIONS));
    let name = "COLLATE pg_catalog.\"C\"";
    [
        format!(
            "CREATE TABLE IF NOT EXISTS {logs} (log character varying(16) {name} PRIMARY KEY, epoch bigint NOT NULL, \
             start integer NOT NULL, taken timestamp with time zone NOT NULL)"
        ),
        format!(
            "CREATE TABLE IF NOT EXISTS {decisions} (log character varying(16) {name} NOT NULL, sequence bigserial, \
             gid character varying(64) {name} NOT NULL, record bytea NOT NULL, PRIMARY KEY (log, sequence), UNIQUE (gid, sequence))"
        ),
    ]
}

fn taking(log: LogId) -> String {
    format!(
        "{BEGIN}; {DURABLE}; \
         UPDATE {} SET epoch = epoch + 1, start = start + 1, taken = pg_catalog.clock_timestamp() WHERE log = '{log}' \
         RETURNING epoch, start; SELECT record FROM {} WHERE log = '{log}' ORDER BY sequence; COMMIT",
        quoted(LOGS),
        quoted(DECISIONS)
    )
}

/// Whoever takes the log meanwhile waits for this row, or is waited for and has raised the epoch.
fn appending(log: LogId, epoch: i64, gids: &[Gid], records: &[Vec<u8>]) -> String {
    let bytes: usize = records.iter().map(|record| 2 * record.len() + 100).sum();
    let mut sql = String::with_capacity(bytes + 500);
    sql.push_str(BEGIN);
    sql.push_str("; ");
    sql.push_str(DURABLE);
    sql.push_str(&format!(
        "; WITH held AS (SELECT 1 FROM {} WHERE log = '{log}' AND epoch = {epoch} FOR SHARE) \
         INSERT INTO {} (log, gid, record) SELECT '{log}', v.gid, v.record FROM held CROSS JOIN (VALUES ",
        quoted(LOGS),
        quoted(DECISIONS)
    ));
    for (place, (gid, record)) in gids.iter().zip(records).enumerate() {
        sql.push_str(&format!("{}({place}, '{gid}', '\\x", if place == 0 { "" } else { ", " }));
        for byte in record {
            for digit in [byte >> 4, byte & 15] {
                sql.extend(char::from_digit(u32::from(digit), 16));
            }
        }
        sql.push_str("'::pg_catalog.bytea)");
    }
    sql.push_str(") AS v (place, gid, record) ORDER BY v.place RETURNING 1; COMMIT");
    sql
}

/// What was removed stays so: marks go that nobody is asked for any more.
fn removing(log: LogId, epoch: i64, gids: &[Gid]) -> String {
    let names: Vec<String> = gids.iter().map(|gid| format!("'{gid}'")).collect();
    let (logs, decisions) = (quoted(LOGS), quoted(DECISIONS));
    format!(
        "{BEGIN}; {DURABLE}; SELECT 1 FROM {logs} WHERE log = '{log}' AND epoch = {epoch} FOR SHARE; \
         DELETE FROM {decisions} WHERE log = '{log}' AND gid IN ({}) \
         AND EXISTS (SELECT FROM {logs} l WHERE l.log = '{log}' AND l.epoch = {epoch}); COMMIT",
        names.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_transaction_of_a_record_is_behind_its_head() {
        let gid = Gid { log: LogId(0xff), number: 0x0102 };
        let mut record = vec![2, 20, 0, 0, 0];
        record.extend(gid.log.0.to_le_bytes());
        record.extend(gid.number.to_le_bytes());
        assert_eq!(gid_of(&record), Some(gid));
        record.extend([0, 0, 0, 0]);
        assert_eq!(gid_of(&record), Some(gid));
        assert_eq!(gid_of(record.get(..20).unwrap()), None);
        let sql = appending(LogId(0xff), 3, &[gid, gid], &[vec![0x00, 0xab], Vec::new()]);
        let values = "(VALUES (0, 'tributary:00000000000000ff:0000000000000102', '\\x00ab'::pg_catalog.bytea), \
             (1, 'tributary:00000000000000ff:0000000000000102', '\\x'::pg_catalog.bytea)) AS v";
        assert!(sql.contains(values) && sql.contains("epoch = 3 FOR SHARE"), "{sql}");
    }

    #[test]
    fn what_is_removed_is_so_for_good() {
        let sql = removing(LogId(0xff), 3, &[Gid { log: LogId(0xff), number: 1 }]);
        assert!(sql.starts_with(&format!("{BEGIN}; {DURABLE}; SELECT 1 FROM ")), "{sql}");
    }
}
