//! How far everything is that a server has committed and shows, in the terms of a feed: what whoever waits for a feed waits for.
//!
//! ```text
//! log      where the last record ends (insert location), in front of the header of a page that has no record yet
//! outbox   the row with the last number that was taken
//! ```
//!
//! **Invariants:** whatever anybody can see is at or before it, also what is not on disk yet; a feed comes to it though nothing more is
//! written. It is never the version of a read: a transaction is in the log, and has numbered its rows, before others see it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::super::super::capture::How;
use super::super::super::error::StoreError;
use super::super::super::position::Position;
use super::super::branch::Inner;
use super::super::{error, own};
use super::position::{location, position};
use super::triggers::{self, NUMBERS, OVERFLOW};
use super::{ask, texts};
use crate::error::sqlstate;
use crate::task::OwnedTask;

/// The cluster, unless it is a standby's, of which nothing says how far it is: it shows what a commit did before it says that it has
/// replayed it.
const CLUSTER: &str = "(SELECT c.system_identifier::text FROM pg_catalog.pg_control_system() c \
     WHERE NOT pg_catalog.pg_is_in_recovery())";
/// The timeline of its log, with which the names of that one's files begin.
const TIMELINE: &str = "(SELECT CASE WHEN NOT pg_catalog.pg_is_in_recovery() \
     THEN pg_catalog.left(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()), 8) END)";

/// How far the log goes, and where pages of it begin. Not how far it is on disk: a transaction whose client did not wait for that
/// (`synchronous_commit = off`) is seen by others before it is.
const LOG: &str = "i.at::text, pg_catalog.current_setting('wal_block_size'), \
     pg_catalog.pg_size_bytes(pg_catalog.current_setting('wal_segment_size'))::text";
const ENDS: &str = "(SELECT CASE WHEN NOT pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_current_wal_insert_lsn() END AS at, \
     CASE WHEN NOT pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_current_wal_flush_lsn() END AS flushed) i";

/// Has the server write its log to the disk within some 200 ms (`wal_writer_delay`): the number of a transaction that does nothing. A feed
/// is given what is on disk, and what a transaction writes that stays open is otherwise there when the next one commits, or after 15 s.
const PUSH: &str = "(CASE WHEN i.at > i.flushed THEN pg_catalog.txid_current() END)::text";
/// Whether there is something that is not on disk.
const IS_DUE: &str = "(CASE WHEN i.at > i.flushed THEN '' END)::text";
/// How often that is done at most: it takes a number of a transaction and some bytes of the log.
const PUSH_EACH: Duration = Duration::from_millis(200);

/// What a page of the log begins with, and the first one of a file.
const HEADER: u64 = 24;
const HEADER_OF_FILE: u64 = 40;

/// When a server was last made to write its log to the disk for who waits.
#[derive(Debug, Default)]
pub(in super::super) struct Pushes(Mutex<Pushed>);

#[derive(Debug, Default)]
struct Pushed {
    at: Option<Instant>,
    /// Somebody asked for it behind that, and it is done once more when it may be.
    is_due: bool,
    /// Who does it then.
    task: Option<OwnedTask<()>>,
}

impl Pushes {
    /// How long until the next time; zero: now.
    fn pause(&self) -> Duration {
        self.lock().at.map_or(Duration::ZERO, |at| PUSH_EACH.saturating_sub(at.elapsed()))
    }

    fn note(&self) {
        self.lock().at = Some(Instant::now());
    }

    /// Has it done once more when it may be: what the last one has had written may end in front of a place that was told since, and who
    /// waits for a feed to come there does not ask again.
    fn later(&self, inner: &Arc<Inner>) {
        let mut pushed = self.lock();
        pushed.is_due = true;
        if pushed.task.is_none() {
            let inner = Arc::clone(inner);
            pushed.task = Some(OwnedTask::spawn(async move { push_later(&inner).await }));
        }
    }

    /// Whether it is to be done once more; `false`: who does it has ended.
    fn goes_on(&self) -> bool {
        let mut pushed = self.lock();
        let is_due = std::mem::take(&mut pushed.is_due);
        if !is_due {
            // It is this task that runs, and has nothing more to do.
            pushed.task = None;
        }
        is_due
    }

    fn lock(&self) -> MutexGuard<'_, Pushed> {
        // What a panic left behind are whole values.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Has the server write its log as often as that is asked for, and no more often than it may be.
async fn push_later(inner: &Arc<Inner>) {
    loop {
        tokio::time::sleep(inner.pushes.pause()).await;
        // What is asked for from here on is done with the next one.
        if !inner.pushes.goes_on() {
            return;
        }
        inner.pushes.note();
        // Where it fails the server is away, and nobody comes to a place of it.
        drop(first(inner, &format!("SELECT {PUSH} FROM {ENDS}")).await);
    }
}

/// How far everything is that is committed and visible.
///
/// # Errors
/// What the server answered; Unsupported of a standby; 55000 where triggers have kept no room for changes, so that no feed comes to what
/// was committed without another beginning.
pub(in super::super) async fn upper_bound(inner: &Arc<Inner>, how: How) -> Result<Position, StoreError> {
    let (history, place) = match how {
        How::Log => Box::pin(of_log(inner)).await?,
        How::Outbox => Box::pin(of_outbox(inner)).await?,
    };
    Ok(position(&inner.name, how, history, place))
}

/// A cluster, and the timeline of its log.
type History = (u64, u32);

async fn of_log(inner: &Arc<Inner>) -> Result<(History, u64), StoreError> {
    let pause = inner.pushes.pause();
    let push = if pause.is_zero() { PUSH } else { IS_DUE };
    let told = first(inner, &format!("SELECT {CLUSTER}, {TIMELINE}, {LOG}, {push} FROM {ENDS}")).await?;
    if told.get(5).is_some_and(Option::is_some) {
        if pause.is_zero() { inner.pushes.note() } else { inner.pushes.later(inner) }
    }
    let history = history(inner, &told)?;
    let text = |place: usize| told.get(place).and_then(Option::as_deref);
    let number = |place: usize| text(place).and_then(|text| text.parse::<u64>().ok());
    let end = text(2).and_then(location).zip(number(3)).zip(number(4));
    let place = end.and_then(|((at, page), file)| end_of_record(at, page, file));
    Ok((history, place.ok_or_else(|| unreadable(inner))?))
}

/// Where the last record ends. The server says where the next one will begin, which is behind the header of a page where the last one
/// has filled the page before; a feed is told of its end, and of no more as long as nothing is written. No record that goes on
/// on a page ends with its header.
fn end_of_record(at: u64, page: u64, file: u64) -> Option<u64> {
    let (in_page, in_file) = (at.checked_rem(page)?, at.checked_rem(file)?);
    let header = if in_file == in_page { HEADER_OF_FILE } else { HEADER };
    if in_page == header { at.checked_sub(header) } else { Some(at) }
}

/// Both numbers are read as they are now and not as of a snapshot: whoever is seen by others has taken numbers for all of its rows, or has
/// left the mark that there was no room for one.
async fn of_outbox(inner: &Inner) -> Result<(History, u64), StoreError> {
    let (numbers, overflow) = (own::quoted(NUMBERS), own::quoted(OVERFLOW));
    let sql = format!("SELECT {CLUSTER}, {TIMELINE}, o.last_value::text, s.last_value::text FROM {numbers} s, {overflow} o");
    let told = first(inner, &sql).await?;
    let history = history(inner, &told)?;
    if let Some(reason) = triggers::loss(triggers::number(inner, told.get(2).and_then(Option::as_ref))?) {
        let message = format!("nothing says how far changes of store \"{}\" are: {reason}", inner.name);
        return Err(StoreError::remote(inner.name.as_str(), sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE, message));
    }
    let last = triggers::number(inner, told.get(3).and_then(Option::as_ref))?;
    // The transaction whose last row has that number, and no cut behind it: that is where a feed stands that has given it.
    let place = u64::try_from(last).ok().and_then(|last| last.checked_mul(4));
    Ok((history, place.ok_or_else(|| unreadable(inner))?))
}

async fn first(inner: &Inner, sql: &str) -> Result<Vec<Option<String>>, StoreError> {
    let (_lease, rows) = ask(inner, sql).await?;
    Ok(rows.first().map(|row| texts(inner, row)).transpose()?.unwrap_or_default())
}

fn history(inner: &Inner, told: &[Option<String>]) -> Result<History, StoreError> {
    let Some(Some(cluster)) = told.first() else {
        return Err(StoreError::Unsupported { store: inner.name.to_string(), feature: "positions of a standby" });
    };
    let timeline = told.get(1).and_then(Option::as_deref).and_then(|text| u32::from_str_radix(text, 16).ok());
    cluster.parse().ok().zip(timeline).ok_or_else(|| unreadable(inner))
}

fn unreadable(inner: &Inner) -> StoreError {
    error::running(&inner.name, &sqlx::Error::RowNotFound)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: u64 = 8_192;
    const FILE: u64 = 16 << 20;

    #[test]
    fn a_page_without_a_record_is_not_waited_for() {
        let rows = [
            (5 * PAGE + 24, 5 * PAGE),
            (3 * FILE + 40, 3 * FILE),
            // Records that end there: they go on on the page.
            (5 * PAGE + 32, 5 * PAGE + 32),
            (5 * PAGE + 40, 5 * PAGE + 40),
            (3 * FILE + 48, 3 * FILE + 48),
            (5 * PAGE - 8, 5 * PAGE - 8),
            (5 * PAGE + 4_096, 5 * PAGE + 4_096),
        ];
        for (at, expected) in rows {
            assert_eq!(end_of_record(at, PAGE, FILE), Some(expected), "{at:x}");
        }
        assert_eq!((end_of_record(9, 0, FILE), end_of_record(9, PAGE, 0)), (None, None));
    }

    #[test]
    fn a_server_is_pushed_now_and_then() {
        let pushes = Pushes::default();
        assert!(pushes.pause().is_zero());
        pushes.note();
        assert!(!pushes.pause().is_zero() && pushes.pause() <= PUSH_EACH);
        pushes.lock().at = Instant::now().checked_sub(PUSH_EACH);
        assert!(pushes.pause().is_zero());
    }
}
