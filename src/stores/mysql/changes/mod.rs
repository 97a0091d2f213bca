//! Changes of a server, from its binlog; and places in it, by which two connections prove that they see one state.
//!
//! ```text
//! session (a connection of its own, a task that reads) → events (bytes → what they hold; columns, statements, inflate)
//!   → groups (whole transactions; held: prepared ones; tracked: how each table stands)
//!   → values (bytes of the binlog → bytes of a scan; charsets) → rows (the readers of scans → batches) → outgoing → Feed
//! history (whether a silent server writes that log still) · histories (which one it is in) · fill (a state with its place)
//! · survey (what keeps tables from being followed) · position (GTIDs) · newest (a place behind all that is visible)
//! · snapshot (file and offset)
//! ```
//!
//! **Invariants:** a place is GTIDs, never a file; values are made by the readers that make them for scans, so that both are the same; what
//! is not understood stops its table, or the feed, and is never passed over. Nothing of ours is left in the server. A row comes with all
//! its columns: the server is asked to log whole rows, and a session that logs less stops the tables that it writes. Deliberately absent:
//! `json` of MySQL, character sets of several bytes beside those of Unicode, compressed columns, GTIDs with tags.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use sqlx::Row;
use tokio::sync::mpsc::error::TryRecvError;

use super::super::capture::{Capture, Ended, Feed, Fill, Follow, Followed, InstanceId, OwnObject, Step, Survey, Watch};
use super::super::change::{Resume, Transaction};
use super::super::error::StoreError;
use super::super::position::{Coverage, Position};
use super::super::schema::Table;
use super::pool::Lease;
use super::{Shared, Store};

mod broken;
mod bytes;
mod charsets;
mod columns;
mod events;
mod fill;
mod groups;
mod held;
mod histories;
mod history;
mod inflate;
mod newest;
mod outgoing;
mod position;
mod rows;
mod session;
mod snapshot;
mod statements;
mod survey;
mod tracked;
mod values;

use bytes::Malformed;
use charsets::Charsets;
use events::{Event, kind};
use groups::{Begun, Machine};
use history::History;
use outgoing::About;
use position::{Checkpoint, Gtids, Mark, Stopped, place_of};
use session::{Link, Message};
use tracked::Tables;

pub(super) use broken::Broken;
pub(super) use histories::Histories;
pub(super) use newest::{answered, newest, question};
pub(super) use position::covers;
pub(super) use snapshot::{Access, SnapshotPosition, begin_one_snapshot, begin_snapshot};

/// How many events are taken at once before others get their turn.
const EVENTS_AT_ONCE: usize = 256;
/// How long a connection of ours may take to be ended.
const KILL: Duration = Duration::from_secs(2);
/// How often a beginning is looked for at which no transaction is prepared, and how long it is waited in between.
const BEGINNINGS_MAX: usize = 20;
const BETWEEN_BEGINNINGS: Duration = Duration::from_millis(50);

/// How the changes of the store are followed.
pub(super) fn capture(store: &Store) -> Option<Arc<dyn Capture>> {
    Some(Arc::new(binlog(store)))
}

/// Made for every try of a feed: what is to outlive one is the store's.
fn binlog(store: &Store) -> Binlog {
    Binlog { shared: Arc::clone(&store.0), seen: Arc::default() }
}

/// The binlog of a server.
struct Binlog {
    shared: Arc<Shared>,
    seen: Arc<Mutex<Seen>>,
}

impl std::fmt::Debug for Binlog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Binlog").field("store", &self.shared.name).finish_non_exhaustive()
    }
}

/// How far a feed has come in the files of the server.
#[derive(Debug, Clone, Default)]
struct Seen {
    file: String,
    end: u64,
    /// When the last transaction was committed, in seconds since 1970 by the server's clock.
    seconds: u64,
    /// Whether nothing more had come.
    is_idle: bool,
}

/// What a server says of itself before it is read.
struct Server {
    identity: Arc<str>,
    /// Everything that it has logged.
    logged: Gtids,
    /// The same for each server that wrote it (MariaDB).
    state: String,
    /// What it has dropped (MySQL).
    purged: Option<Gtids>,
}

/// What a server is called by its number, or by its name.
fn identity_of(is_mariadb: bool, id: &str) -> String {
    format!("{}-{id}", if is_mariadb { "mariadb" } else { "mysql" })
}

impl Server {
    async fn ask(lease: &mut Lease, shared: &Shared) -> Result<Self, StoreError> {
        let is_mariadb = lease.session.server.is_mariadb;
        let rows = lease.rows(match is_mariadb {
            true => "SELECT @@GLOBAL.server_id, @@GLOBAL.gtid_binlog_pos, @@GLOBAL.gtid_binlog_state",
            false => "SELECT @@GLOBAL.server_uuid, @@GLOBAL.gtid_executed, @@GLOBAL.gtid_purged",
        });
        let rows = rows.await?;
        let text = |place: usize| rows.first().and_then(|row| row.try_get_unchecked::<String, _>(place).ok());
        let untold = || shared.place().lost("the server does not tell its GTIDs");
        let [id, logged, third] = [text(0), text(1), text(2)].map(|text| text.ok_or_else(untold));
        let (id, logged, third) = (id?, logged?, third?);
        let gtids = if is_mariadb { Gtids::of_mariadb(&logged) } else { Gtids::of_mysql(&logged) };
        Ok(Self {
            identity: identity_of(is_mariadb, &id).into(),
            logged: gtids.ok_or_else(untold)?,
            purged: if is_mariadb { None } else { Gtids::of_mysql(&third) },
            state: third,
        })
    }

    /// Where a feed goes on that was kept, and in which history.
    fn resumed(&self, resume: &Resume) -> Result<(Begun, u64), Ended> {
        let lost = |reason: &str| Ended::Lost(reason.to_owned());
        let kept = Checkpoint::decode(resume).map_err(|_malformed| lost("what was kept of its place cannot be read"))?;
        if kept.identity != *self.identity {
            return Err(lost("it is another server than before"));
        }
        let is_known = match &kept.applied {
            Gtids::Maria(_) => kept.applied.is_within(&self.state),
            Gtids::MySql(_) => self.logged.covers(&kept.applied) == Coverage::Covered,
        };
        if !is_known {
            return Err(lost("the server has another history than what was read of it"));
        }
        if self.purged.as_ref().is_some_and(|purged| kept.from.covers(purged) != Coverage::Covered) {
            return Err(lost("the server has dropped a part of its binlog that was not read"));
        }
        let history = kept.history;
        let begun = Begun { applied: kept.applied, from: kept.from, ended: kept.ended, stopped: kept.stopped, mark: kept.mark };
        Ok((begun, history))
    }

    /// The end of what is logged.
    fn now(&self) -> Begun {
        let (applied, from) = (self.logged.clone(), self.logged.clone());
        Begun { applied, from, ended: Vec::new(), stopped: Stopped::Some(Vec::new()), mark: None }
    }
}

impl Binlog {
    /// The server, and its last place at which no transaction was prepared that has not ended, if such a moment is to be had. One that was
    /// would be committed later, and its rows stand in front of the place: then that is told as a gap.
    async fn beginning(&self, lease: &mut Lease) -> Result<Server, StoreError> {
        for _ in 1..BEGINNINGS_MAX {
            let server = Server::ask(lease, &self.shared).await?;
            match lease.rows("XA RECOVER").await {
                Ok(rows) if !rows.is_empty() => tokio::time::sleep(BETWEEN_BEGINNINGS).await,
                // Whoever may not see them begins as if there were none.
                Ok(_) | Err(StoreError::Remote { .. }) => return Ok(server),
                Err(error) => return Err(error),
            }
        }
        Server::ask(lease, &self.shared).await
    }

    /// Whether the files of a server hold the place that was reached, as far as that is to be learnt: one that was replaced, or that began
    /// anew, may count to the same ids (MariaDB; servers of MySQL have names in theirs).
    async fn has_history(&self, begun: &Begun) -> Result<bool, StoreError> {
        let Some(mark) = begun.mark.as_ref().filter(|_| matches!(begun.applied, Gtids::Maria(_))) else { return Ok(true) };
        let mut lease = self.shared.control.lease().await?;
        let found = match snapshot::gtids_at(&mut lease, &mark.file, mark.offset).await {
            Ok(found) => found,
            Err(error @ StoreError::ConnectionLost { .. }) => return Err(error),
            // It took too long, in a long file.
            Err(_late) => return Ok(true),
        };
        let names = match lease.rows("SHOW BINARY LOGS").await {
            // The privilege for it is not everybody's; the newest one is told to all.
            Err(StoreError::Remote { .. }) => {
                lease.rows("SHOW STATUS LIKE 'binlog_snapshot_file'").await.map(|rows| (rows, 1_usize))
            }
            rows => rows.map(|rows| (rows, 0_usize)),
        };
        let (rows, column) = names?;
        lease.release();
        let names = rows.iter().filter_map(|row| row.try_get_unchecked::<String, _>(column).ok());
        Ok(holds(&begun.applied, mark, found.as_ref(), &names.collect::<Vec<_>>()))
    }

    /// The number by which we are a replica: one of our own, in the upper half, where administrators choose none.
    fn server_id(&self, who: InstanceId, follow: &Follow) -> u32 {
        let own = || {
            let name = who.object(&self.shared.name);
            name.bytes().fold(0x811c_9dc5, |hash: u32, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)) | 0x8000_0000
        };
        follow.server_id.unwrap_or_else(own)
    }

    /// The number of the history that the server is in which has answered so.
    fn number(&self, before: &histories::Before, server: &Server) -> Result<u64, Ended> {
        let number = self.shared.histories.note(before, &server.identity, &server.logged);
        number.ok_or_else(|| Ended::Again(self.shared.place().lost("the server's log has just begun anew")))
    }

    fn seen(&self) -> Seen {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl Capture for Binlog {
    async fn survey(&self, _who: InstanceId, follow: &Follow, tables: &[Arc<Table>]) -> Result<Survey, StoreError> {
        survey::survey(&self.shared, follow, tables).await
    }

    async fn start(
        &self,
        who: InstanceId,
        follow: &Follow,
        tables: &[Followed],
        from: Option<&Resume>,
    ) -> Result<Box<dyn Feed>, Ended> {
        let mut lease = self.shared.pool.lease().await?;
        let is_mariadb = lease.session.server.is_mariadb;
        if from.is_none() {
            self.shared.broken.forget();
        } else if let Some(refused) = self.shared.broken.stands(&mut lease).await? {
            lease.release();
            return Err(refused);
        }
        let charsets = Charsets::ask(&mut lease, self.shared.place()).await?;
        let before = self.shared.histories.before();
        let (server, begun, history) = match from {
            Some(resume) => {
                let server = Server::ask(&mut lease, &self.shared).await?;
                let (begun, history) = server.resumed(resume)?;
                self.number(&before, &server)?;
                let goes_on = self.shared.histories.goes_on(&server.identity, history, &server.logged);
                if !goes_on || !self.has_history(&begun).await? {
                    return Err(Ended::Lost("the server has another history than what was read of it".to_owned()));
                }
                (server, begun, history)
            }
            None => {
                let server = self.beginning(&mut lease).await?;
                let begun = server.now();
                let history = self.number(&before, &server)?;
                (server, begun, history)
            }
        };
        lease.release();
        let link = session::open(&self.shared, self.server_id(who, follow), &begun.from).await?;
        let mut known = Tables::new(self.shared.policy(), charsets, is_mariadb);
        // None was known before, so that none is another one now.
        let _reshaped = known.replace(tables);
        let about = About { store: self.shared.name.clone(), identity: server.identity, history };
        let machine = Machine::new(about, known, begun);
        let (shared, told) = (Arc::clone(&self.shared), Arc::clone(&self.seen));
        let history = History::new(Arc::clone(&shared));
        let reader = Arc::clone(&shared.readers);
        let (ended, seen) = (None, Seen::default());
        let is_careful = shared.broken.is_ahead("", 0);
        Ok(Box::new(BinlogFeed { shared, link, machine, history, ended, seen, told, taken: 0, is_careful, _reader: reader }))
    }

    fn look_again(&self) {
        self.shared.broken.forget();
    }

    async fn fill(&self, table: &Arc<Table>) -> Result<Fill, StoreError> {
        fill::fill(&self.shared, table).await
    }

    async fn state(&self, _tables: &[Arc<Table>]) -> Result<Option<Fill>, StoreError> {
        fill::state(&self.shared).await
    }

    fn contains(&self, version: &[u8], transaction: &Transaction) -> bool {
        contains(version, transaction)
    }

    async fn watch(&self, _who: InstanceId, _follow: &Follow) -> Result<Watch, StoreError> {
        let seen = self.seen();
        let mut lease = self.shared.pool.lease().await?;
        let expiry = lease.rows(EXPIRY).await?;
        let logs = match lease.rows("SHOW BINARY LOGS").await {
            // The privilege for it is not everybody's.
            Err(StoreError::Remote { .. }) => Vec::new(),
            rows => rows?,
        };
        lease.release();
        let sizes = logs.iter().filter_map(|row| {
            let (name, size) = (row.try_get_unchecked::<String, _>(0).ok()?, row.try_get_unchecked::<i64, _>(1).ok()?);
            Some((name, u64::try_from(size).ok()?))
        });
        let number = |row: &sqlx::mysql::MySqlRow| {
            let (name, value) = (row.try_get_unchecked::<String, _>(0).ok()?, row.try_get_unchecked::<String, _>(1).ok()?);
            Some((name.to_ascii_lowercase(), value.parse::<f64>().ok()?))
        };
        let expiry: Vec<(String, f64)> = expiry.iter().filter_map(number).collect();
        Ok(watched(&seen, &sizes.collect::<Vec<_>>(), expires_after(&expiry)))
    }

    async fn objects(&self, _who: InstanceId) -> Result<Vec<OwnObject>, StoreError> {
        Ok(Vec::new())
    }

    async fn remove(&self, _who: InstanceId, _slot_only: bool) -> Result<Vec<OwnObject>, StoreError> {
        Ok(Vec::new())
    }
}

/// Asks for a connection of ours that reads the binlog.
fn is_reader(thread: u32) -> String {
    format!(
        "SELECT 1 FROM information_schema.PROCESSLIST WHERE ID = {thread} AND COMMAND LIKE 'Binlog Dump%' \
         AND USER = SUBSTRING_INDEX(USER(), '@', 1)"
    )
}

const EXPIRY: &str = "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('binlog_expire_logs_seconds', 'expire_logs_days')";

/// How long the server keeps its logs; `None`: for ever. The one is in seconds, the older one in days.
fn expires_after(settings: &[(String, f64)]) -> Option<Duration> {
    let of = |wanted: &str| settings.iter().find(|(name, _)| name == wanted).map(|(_, value)| *value).filter(|value| *value > 0.0);
    let seconds = of("binlog_expire_logs_seconds").or_else(|| of("expire_logs_days").map(|days| days * 86_400.0))?;
    Duration::try_from_secs_f64(seconds).ok()
}

/// Whether a server with these files, the newest last, may have ended `applied` at a place, at which it has found these ids.
fn holds(applied: &Gtids, mark: &Mark, found: Option<&Gtids>, files: &[String]) -> bool {
    match found {
        Some(found) => applied.is_at(found),
        // Nothing ends there. Of a file that was dropped nothing is known.
        None => !files.contains(&mark.file) && files.last().is_none_or(|newest| mark.file < *newest),
    }
}

/// Whether the state of a fill has a transaction in it.
fn contains(version: &[u8], transaction: &Transaction) -> bool {
    match (Gtids::decode(version), place_of(&transaction.position)) {
        (Ok(known), Ok(asked)) => known.covers(&asked) == Coverage::Covered,
        _ => false,
    }
}

/// How far a feed is behind the end of the log, and how long until it is dropped that it has not read.
fn watched(seen: &Seen, logs: &[(String, u64)], expiry: Option<Duration>) -> Watch {
    // Logs are numbered, so their names order them.
    let behind = logs.iter().filter(|(name, _)| *name >= seen.file).map(|(name, size)| match *name == seen.file {
        true => size.saturating_sub(seen.end),
        false => *size,
    });
    let lag_bytes = (!logs.is_empty() && !seen.file.is_empty()).then(|| behind.sum());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let age =
        if seen.is_idle || seen.seconds == 0 { Duration::ZERO } else { now.saturating_sub(Duration::from_secs(seen.seconds)) };
    Watch { lag_bytes, left: expiry.map(|expiry| expiry.saturating_sub(age)), ..Watch::default() }
}

/// A feed of the binlog.
struct BinlogFeed {
    shared: Arc<Shared>,
    link: Link,
    machine: Machine,
    history: History,
    /// Why nothing more comes.
    ended: Option<Ended>,
    seen: Seen,
    /// What others are told of `seen`.
    told: Arc<Mutex<Seen>>,
    taken: usize,
    /// Whether something may come that could not be read: what has ended is given before it.
    is_careful: bool,
    /// Says that positions are compared with its own.
    _reader: Arc<()>,
}

impl BinlogFeed {
    fn take(&mut self, message: Message) -> Result<(), Ended> {
        match message {
            Message::Event(event, room) => {
                self.look(&event);
                let is_heartbeat = [kind::HEARTBEAT, kind::HEARTBEAT_LONG].contains(&event.kind);
                let outcome = self.machine.event(event).map_err(|ended| match self.machine.malformed() {
                    Some(Malformed(what)) => self.unread(what),
                    None => ended,
                });
                self.is_careful = self.is_careful && self.shared.broken.is_ahead(&self.seen.file, self.seen.end);
                drop(room);
                if is_heartbeat && !self.history.goes_on(self.machine.applied()) {
                    let reason = "the server does not seem to write the log that is read";
                    self.ended = Some(Ended::Again(self.shared.place().lost(reason)));
                }
                outcome
            }
            Message::Broken(end) => {
                self.ended = Some(self.shared.broken.met(self.shared.place(), &self.seen.file, end));
                Ok(())
            }
            Message::Unread(what) => {
                self.ended = Some(self.unread(what));
                Ok(())
            }
            Message::Ended(ended) => {
                self.ended = Some(ended);
                Ok(())
            }
        }
    }

    /// What was taken last, or comes behind it, cannot be read.
    fn unread(&self, what: &str) -> Ended {
        self.shared.broken.unread(self.shared.place(), (&self.seen.file, self.seen.end), what)
    }

    fn look(&mut self, event: &Event) {
        self.seen.is_idle = false;
        if event.kind == kind::ROTATE {
            if let Ok((file, begin)) = events::rotated(&event.body) {
                (self.seen.file, self.seen.end) = (file, begin);
            }
        } else if event.end > 0 {
            self.seen.end = event.end.into();
        }
        if event.seconds > 0 && event.kind != kind::HEARTBEAT {
            self.seen.seconds = event.seconds.into();
        }
    }

    fn tell(&mut self) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        *told = self.seen.clone();
    }

    /// What there is to give when nothing more comes at the moment.
    fn pause(&mut self) -> Result<Option<Step>, Ended> {
        self.seen.is_idle = true;
        self.tell();
        self.machine.pause()
    }

    /// Why nothing more comes, once everything was given.
    fn over(&mut self) -> Ended {
        // The task tells why it ends, unless it has panicked.
        self.ended.take().unwrap_or_else(|| self.unread("its reader has failed"))
    }
}

#[async_trait]
impl Feed for BinlogFeed {
    async fn next(&mut self) -> Result<Step, Ended> {
        loop {
            if let Some(step) = self.machine.ready() {
                self.tell();
                return Ok(step);
            }
            if self.ended.is_some() {
                return match self.pause()? {
                    Some(step) => Ok(step),
                    None => Err(self.over()),
                };
            }
            if self.is_careful
                && let Some(step) = self.pause()?
            {
                return Ok(step);
            }
            match self.link.inbox.try_recv() {
                Ok(message) => self.take(message)?,
                Err(TryRecvError::Disconnected) => return Err(self.over()),
                Err(TryRecvError::Empty) => {
                    if let Some(step) = self.pause()? {
                        return Ok(step);
                    }
                    // Cancel-safe: what was received is taken without another wait.
                    match self.link.inbox.recv().await {
                        Some(message) => self.take(message)?,
                        None => return Err(self.over()),
                    }
                }
            }
            self.taken = self.taken.wrapping_add(1);
            if self.taken.is_multiple_of(EVENTS_AT_ONCE) {
                tokio::task::yield_now().await;
            }
        }
    }

    async fn acknowledge(&mut self, _position: &Position, _resume: &Resume) -> Result<(), StoreError> {
        // The server keeps nothing for us.
        Ok(())
    }

    async fn reshape(&mut self, tables: &[Followed]) -> Result<(), Ended> {
        self.machine.looked_at(tables.to_vec());
        Ok(())
    }

    async fn close(self: Box<Self>) {
        let Self { shared, link, .. } = *self;
        let thread = link.thread;
        link.close().await;
        // The server would notice with its next event, and another feed would find its number taken until then.
        let killed = tokio::time::timeout(KILL, async {
            let mut lease = shared.control.lease().await?;
            // A server that was started again has given the number to somebody else.
            if !lease.rows_of(is_reader(thread)).await?.is_empty() {
                lease.rows_of(format!("KILL CONNECTION {thread}")).await?;
            }
            lease.release();
            Ok::<(), StoreError>(())
        });
        if let Ok(Err(error)) = killed.await {
            tracing::debug!(store = %shared.name, error = %error, "a reader of the binlog had ended by itself");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::super::super::connector::StoreName;
    use super::events::samples::{event, hex};
    use super::rows::samples::{POLICY, followed};
    use super::*;
    use crate::options::Secrets;

    struct NoSecrets;

    impl Secrets for NoSecrets {
        fn variable(&self, _name: &str) -> Option<String> {
            None
        }

        fn file(&self, _path: &str) -> Result<String, String> {
            Err("no files here".to_owned())
        }

        fn resolve(&self, path: &str) -> PathBuf {
            PathBuf::from(path)
        }
    }

    fn store_of_tests() -> Store {
        let file: toml::Table = toml::from_str("host = '127.0.0.1'\nport = 1\nuser = 'u'\ndatabase = 'd'").unwrap();
        super::super::store(&StoreName::new("s"), "stores.s", &file, &NoSecrets).unwrap()
    }

    #[test]
    fn an_event_is_counted_over_all_tries_of_a_feed_until_somebody_looks() {
        let store = store_of_tests();
        // Each try makes its own.
        let tried = || {
            let binlog = binlog(&store);
            matches!(binlog.shared.broken.met(binlog.shared.place(), "binlog.000002", 500), Ended::Refused { .. })
        };
        assert_eq!([tried(), tried(), tried(), tried()], [false, false, true, true]);
        capture(&store).unwrap().look_again();
        assert_eq!([tried(), tried(), tried()], [false, false, true]);
    }

    /// What a feed gives to which these come: how many groups, and why it ends.
    async fn tried(store: &Store, messages: Vec<Message>) -> (usize, Ended) {
        let mut tables = Tables::new(POLICY, Charsets::samples(), true);
        assert!(tables.replace(&[followed("d", "z", &[("id", "int(11)"), ("at", "datetime")])]).is_empty());
        let applied = Gtids::of_mariadb("0-1-9").unwrap();
        let (from, stopped) = (applied.clone(), Stopped::Some(Vec::new()));
        let begun = Begun { applied, from, ended: Vec::new(), stopped, mark: None };
        let about = About { store: StoreName::new("s"), identity: "mariadb-1".into(), history: 7 };
        let shared = Arc::clone(&store.0);
        let mut feed = BinlogFeed {
            link: session::samples::link(messages),
            machine: Machine::new(about, tables, begun),
            history: History::new(Arc::clone(&shared)),
            ended: None,
            seen: Seen::default(),
            told: Arc::default(),
            taken: 0,
            is_careful: shared.broken.is_ahead("", 0),
            _reader: Arc::clone(&shared.readers),
            shared,
        };
        let mut groups = 0;
        loop {
            match feed.next().await {
                Ok(Step::Group(_)) => groups += 1,
                Ok(_) => {}
                Err(ended) => return (groups, ended),
            }
        }
    }

    /// A whole transaction, and then something.
    fn a_transaction_and(last: Option<Message>) -> Vec<Message> {
        let at = |end: u32, kind: u8, body: &str| session::samples::message(Event { end, ..event(kind, hex(body)) });
        let mut messages = vec![
            session::samples::message(event(kind::ROTATE, [4_u64.to_le_bytes().as_slice(), b"binlog.000002".as_slice()].concat())),
            at(100, kind::MARIA_GTID, "0a00000000000000 00000000 0c 000000000000"),
            at(200, kind::TABLE_MAP, "1d0000000000 0100 01 64 00 01 7a 00 02 0312 01 00 02 01 01 00 04 06 026964 026174"),
            at(300, 23, "1d0000000000 0100 02 03 fc 01000000 9963ff7efb"),
            at(400, kind::XID, "0000000000000000"),
        ];
        messages.extend(last);
        messages
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_tried_three_times_and_is_then_a_gap_behind_all_that_ended_before_it() {
        let malformed = || Some(session::samples::message(Event { end: 500, ..event(kind::QUERY, vec![1, 2]) }));
        let others: [fn() -> Option<Message>; 2] = [|| Some(Message::Unread("the driver does not read it")), || None];
        let store = store_of_tests();
        let again = |ended: &Ended| matches!(ended, Ended::Again(StoreError::ConnectionLost { .. }));
        let lost = |ended: &Ended, place: &str| matches!(ended, Ended::Lost(reason) if reason.contains(place));
        let (_given, first) = tried(&store, a_transaction_and(malformed())).await;
        let (given, second) = tried(&store, a_transaction_and(malformed())).await;
        assert!(again(&first) && again(&second) && given == 1, "{first:?} {second:?}");
        let (_given, third) = tried(&store, a_transaction_and(malformed())).await;
        assert!(lost(&third, "500 of binlog.000002"), "{third:?}");
        // What the driver does not read, or fails at, is known by what comes before it.
        for other in others {
            let mut ends = Vec::new();
            for _ in 0..3 {
                ends.push(tried(&store, a_transaction_and(other())).await);
            }
            let [(_, first), (given, second), (_, third)] = ends.as_slice() else { panic!("three tries") };
            assert!(again(first) && again(second) && *given == 1, "{ends:?}");
            assert!(lost(third, "400 of binlog.000002"), "{third:?}");
        }
        // Connections that end are not counted, nor what the server says.
        for _ in 0..5 {
            let ended = Ended::Again(store.0.place().lost("the server closed the connection"));
            let (given, ended) = tried(&store, a_transaction_and(Some(Message::Ended(ended)))).await;
            assert!(given == 1 && again(&ended), "{ended:?}");
        }
        assert!(!store.0.broken.is_ahead("", 0));
    }

    fn seen(file: &str, end: u64) -> Seen {
        Seen { file: file.to_owned(), end, ..Seen::default() }
    }

    #[test]
    fn lag_counts_what_is_behind_its_place() {
        let logs = [("binlog.000001".to_owned(), 100), ("binlog.000002".to_owned(), 50), ("binlog.000003".to_owned(), 30)];
        assert_eq!(watched(&seen("binlog.000002", 20), &logs, None).lag_bytes, Some(60));
        assert_eq!(watched(&seen("binlog.000003", 30), &logs, None).lag_bytes, Some(0));
        assert_eq!(watched(&seen("", 0), &logs, None).lag_bytes, None);
        assert_eq!(watched(&seen("binlog.000003", 30), &[], None).lag_bytes, None);
        let late = Seen { seconds: 1, ..seen("binlog.000003", 30) };
        let day = Duration::from_secs(86_400);
        assert_eq!(watched(&late, &logs, Some(day)).left, Some(Duration::ZERO));
        assert_eq!(watched(&Seen { is_idle: true, ..late }, &logs, Some(day)).left, Some(day));
    }

    #[test]
    fn logs_expire_by_seconds_or_by_days() {
        let settings = |seconds: f64, days: f64| {
            vec![("binlog_expire_logs_seconds".to_owned(), seconds), ("expire_logs_days".to_owned(), days)]
        };
        assert_eq!(expires_after(&settings(0.0, 0.0)), None);
        assert_eq!(expires_after(&settings(60.0, 10.0)), Some(Duration::from_secs(60)));
        assert_eq!(expires_after(&settings(0.0, 0.5)), Some(Duration::from_secs(43_200)));
        assert_eq!(expires_after(&[]), None);
    }

    #[test]
    fn a_feed_goes_on_only_where_it_was() {
        let of = |text: &str| Gtids::of_mariadb(text).unwrap();
        let server = Server { identity: "mariadb-1".into(), logged: of("0-1-40"), state: "0-1-40".to_owned(), purged: None };
        let kept = |identity: &str, applied: &str| {
            let (applied, from) = (of(applied), of(applied));
            let stopped = Stopped::Some(Vec::new());
            let identity = identity.to_owned();
            Checkpoint { identity, history: 9, applied, from, ended: vec![7], stopped, mark: None }.encode().unwrap()
        };
        let (begun, history) = server.resumed(&kept("mariadb-1", "0-1-38")).unwrap();
        assert_eq!((begun.applied, begun.ended, history), (of("0-1-38"), vec![7], 9));
        for other in [kept("mariadb-2", "0-1-38"), kept("mariadb-1", "0-1-41"), kept("mariadb-1", "1-1-1"), Resume(vec![9])] {
            assert!(matches!(server.resumed(&other), Err(Ended::Lost(_))));
        }
        assert_eq!(server.now().from, of("0-1-40"));
    }

    #[test]
    fn the_same_numbers_of_another_history_are_noticed() {
        let of = |text: &str| Gtids::of_mariadb(text).unwrap();
        let mark = Mark { file: "binlog.000002".to_owned(), offset: 900 };
        let check = |found: Option<&str>, files: &[&str]| {
            let files: Vec<String> = files.iter().map(|file| (*file).to_owned()).collect();
            holds(&of("0-1-40"), &mark, found.map(of).as_ref(), &files)
        };
        let all = ["binlog.000001", "binlog.000002", "binlog.000003"];
        assert!(check(Some("0-1-40"), &all) && !check(Some("0-1-12"), &all) && !check(None, &all));
        assert!(check(None, &["binlog.000003"]), "it was dropped");
        assert!(!check(None, &["binlog.000001"]), "it was never there");
        assert!(check(None, &[]));
    }
}
