//! The connection that the binlog is read from, and the task that reads it.
//!
//! ```text
//! options of the store file → Conn (the driver's, one for the feed) → SET … → COM_REGISTER_SLAVE, COM_BINLOG_DUMP(_GTID)
//!   → task: an event, its checksum → channel with a bound in bytes → the feed
//! ```
//!
//! **Invariants:** a silence of many heartbeats ends it, and so does a checksum that is wrong; a driver that panics ends its
//! task and nothing else; what is read ahead is bounded by its bytes.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use flate2::Crc;
use futures::StreamExt;
use mysql_async::binlog::BinlogChecksumAlg;
use mysql_async::binlog::events::Event as DriverEvent;
use mysql_async::prelude::Queryable;
use mysql_async::{
    BinlogStream, BinlogStreamRequest, Conn, DriverError, Error, GnoInterval, IoError, Opts, ServerError, Sid, SslOpts,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::super::super::capture::Ended;
use super::super::super::error::StoreError;
use super::super::Shared;
use super::super::error::Place;
use super::events::{Event, kind};
use super::position::Gtids;
use crate::task::OwnedTask;

/// How often the server tells that there is nothing more, in seconds: until then nobody knows whether all was read behind a change.
const HEARTBEAT_SECONDS: u64 = 1;
/// The longest silence.
const SILENCE: Duration = Duration::from_secs(15 * HEARTBEAT_SECONDS);
/// The most bytes that are read ahead; one event may be larger.
const AHEAD_BYTES: u32 = 8 << 20;
/// The most events that are read ahead.
const AHEAD_EVENTS: usize = 4_096;
/// The longest event that a server writes.
const EVENT_BYTES_MAX: usize = 1 << 30;
/// How long a connection may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(1);

/// Set on events that are in no file.
const ARTIFICIAL: u16 = 0x20;

/// What the reading task tells.
pub(super) enum Message {
    /// An event, and the room that it takes.
    Event(Event, OwnedSemaphorePermit),
    /// An event whose checksum is wrong ends there, by its own word. Nothing more comes.
    Broken(u32),
    /// What comes next has not the form of an event, for this reason (a clause). Nothing more comes.
    Unread(&'static str),
    /// Nothing more comes.
    Ended(Ended),
}

/// A binlog that is being read.
pub(super) struct Link {
    /// What comes of it.
    pub(super) inbox: mpsc::Receiver<Message>,
    /// The server's number of the connection.
    pub(super) thread: u32,
    stop: CancellationToken,
    task: OwnedTask<()>,
}

impl Link {
    /// Ends the task and waits for it.
    pub(super) async fn close(self) {
        let Self { inbox, stop, task, .. } = self;
        stop.cancel();
        drop(inbox);
        // What does not end by itself is aborted when it is dropped.
        let _ended = tokio::time::timeout(2 * GOODBYE, task.join()).await;
    }
}

/// Begins to read behind a place.
///
/// # Errors
/// The server cannot be reached, or does not let us.
pub(super) async fn open(shared: &Arc<Shared>, server_id: u32, from: &Gtids) -> Result<Link, Ended> {
    let limit = shared.settings.connect_timeout;
    let place = shared.place();
    let late = || Ended::Again(place.unreachable(&format!("the server did not answer within {} ms", limit.as_millis())));
    let begun = Box::pin(begin(shared, server_id, from));
    let (stream, thread) = tokio::time::timeout(limit * 2, begun).await.map_err(|_elapsed| late())??;
    let (outbox, inbox) = mpsc::channel(AHEAD_EVENTS);
    let stop = CancellationToken::new();
    let room = Arc::new(Semaphore::new(AHEAD_BYTES as usize));
    let reader = Reader { stream, outbox, room, stop: stop.clone(), shared: Arc::clone(shared) };
    Ok(Link { inbox, thread, stop, task: OwnedTask::spawn(reader.run()) })
}

async fn begin(shared: &Arc<Shared>, server_id: u32, from: &Gtids) -> Result<(BinlogStream, u32), Ended> {
    let place = shared.place();
    let refused = |error: Error| ended(place, &error);
    let mut conn = connect(shared).await.map_err(|error| unreachable(place, &error))?;
    let thread = conn.id();
    let mut request = BinlogStreamRequest::new(server_id);
    let settings = match from {
        Gtids::Maria(_) => of_mariadb(&from.to_mariadb().unwrap_or_default()),
        Gtids::MySql(sets) => {
            let sid = |(source, ranges): (&[u8; 16], &Vec<(u64, u64)>)| {
                let ranges = ranges.iter().map(|(start, end)| GnoInterval::new(*start, *end)).collect();
                Sid::new(*source).with_intervals(ranges)
            };
            request = request.with_gtid().with_gtid_set(sets.iter().map(sid).collect::<Vec<Sid<'static>>>());
            of_mysql(server_id)
        }
    };
    for setting in settings {
        conn.query_drop(setting).await.map_err(refused)?;
    }
    let stream = conn.get_binlog_stream(request).await.map_err(refused)?;
    Ok((stream, thread))
}

/// A stream of rows may rest for long while we write; the server's own limit would take that for a lost connection.
const PATIENCE: &str = "SET SESSION net_write_timeout = 604800";

/// Makes MariaDB send groups with their ids from a place on, and say so when it has not that place.
fn of_mariadb(from: &str) -> Vec<String> {
    vec![
        PATIENCE.to_owned(),
        "SET @mariadb_slave_capability = 4".to_owned(),
        format!("SET @slave_connect_state = '{from}'"),
        "SET @slave_gtid_strict_mode = 1".to_owned(),
        "SET @slave_gtid_ignore_duplicates = 0".to_owned(),
        format!("SET @master_heartbeat_period = {}", HEARTBEAT_SECONDS * 1_000_000_000),
    ]
}

/// Newer servers have other words for the same, and read the old ones too. A reader is known by an id of its own.
fn of_mysql(server_id: u32) -> Vec<String> {
    let nanoseconds = HEARTBEAT_SECONDS * 1_000_000_000;
    vec![
        PATIENCE.to_owned(),
        format!("SET @master_heartbeat_period = {nanoseconds}, @source_heartbeat_period = {nanoseconds}"),
        format!("SET @slave_uuid = '00000000-0000-4000-8000-0000{server_id:08x}', @replica_uuid = @slave_uuid"),
    ]
}

/// A connection as the store file says. Where TLS is only preferred, a server that has none is spoken to without.
async fn connect(shared: &Arc<Shared>) -> Result<Conn, Error> {
    let options = shared.settings.binlog_options().max_allowed_packet(Some(EVENT_BYTES_MAX));
    let outcome = Conn::new(Opts::from(options.clone())).await;
    match outcome {
        Err(Error::Driver(DriverError::NoClientSslFlagFromServer)) if shared.settings.prefers_tls() => {
            Conn::new(Opts::from(options.ssl_opts(None::<SslOpts>))).await
        }
        outcome => outcome,
    }
}

/// `ER_MASTER_FATAL_ERROR_READING_BINLOG`
const FATAL: u16 = 1236;
/// `ER_SPECIFIC_ACCESS_DENIED_ERROR`, `ER_ACCESS_DENIED_ERROR`
const DENIED: [u16; 2] = [1227, 1045];

/// The same while there is no connection yet, which others try to make as well.
fn unreachable(place: Place<'_>, error: &Error) -> Ended {
    match error {
        Error::Server(answer) => Ended::Again(place.unreachable(&answer.message)),
        Error::Io(IoError::Io(cause)) => Ended::Again(place.unreachable(&cause.to_string())),
        other => ended(place, other),
    }
}

/// Why a feed ends, for what the driver reports.
fn ended(place: Place<'_>, error: &Error) -> Ended {
    match error {
        Error::Server(answer) => answered(place, answer),
        Error::Io(IoError::Tls(cause)) => Ended::Again(place.unreachable(&format!("TLS failed: {cause}"))),
        Error::Io(IoError::Io(cause)) => Ended::Again(place.lost(&cause.to_string())),
        Error::Driver(DriverError::ConnectionClosed) => Ended::Again(place.lost("the server closed the connection")),
        // The texts of others may hold what the server sent.
        _ => Ended::Again(place.lost("the driver of the binlog gave up")),
    }
}

fn answered(place: Place<'_>, answer: &ServerError) -> Ended {
    let message = answer.message.as_str();
    let refused = |reason: &str, mend: &str| Ended::Refused { reason: reason.to_owned(), mend: mend.to_owned() };
    match answer.code {
        FATAL if message.contains("same server_uuid") || message.contains("same server_id") => {
            refused("another replica reads its binlog by the same number", "Set changes.server_id in the file of the store.")
        }
        FATAL if message.contains("max_allowed_packet") => {
            refused("an event is longer than the server may send", "SET GLOBAL max_allowed_packet = 1073741824")
        }
        FATAL => Ended::Lost(format!("the server has not what we need of its binlog: {message}")),
        code if DENIED.contains(&code) => refused(message, "GRANT REPLICATION SLAVE ON *.* TO the user of the store's file"),
        _ => Ended::Again(StoreError::remote(place.store.as_str(), &answer.state, answer.message.clone())),
    }
}

/// Whether the driver has found something to be no event, for which no connection is to blame: it reads descriptions of files and tables
/// itself, and what it says of them comes as if reading had failed.
fn is_unreadable(error: &Error) -> bool {
    match error {
        Error::Driver(DriverError::UnexpectedPacket { .. }) => true,
        Error::Io(IoError::Io(cause)) => match cause.kind() {
            // A record of TLS that was spoilt on its way is called so too.
            ErrorKind::InvalidData => !cause.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()),
            // So is a connection that ends, in other words.
            ErrorKind::UnexpectedEof => cause.to_string().starts_with("can't parse"),
            // It is longer than any may be; or a connection has ended in the middle of one.
            ErrorKind::Other => cause.to_string().starts_with("Packet is larger"),
            _ => false,
        },
        _ => false,
    }
}

/// The task that reads.
struct Reader {
    stream: BinlogStream,
    outbox: mpsc::Sender<Message>,
    room: Arc<Semaphore>,
    stop: CancellationToken,
    shared: Arc<Shared>,
}

impl Reader {
    async fn run(mut self) {
        if let Some(last) = self.read().await {
            // Whoever has gone needs no reason.
            let _told = self.outbox.send(last).await;
        }
        let Self { stream, .. } = self;
        let _closed = tokio::time::timeout(GOODBYE, stream.close()).await;
    }

    /// Reads until something ends it; `None`: nobody listens any more.
    async fn read(&mut self) -> Option<Message> {
        loop {
            // Cancel-safe: half a packet stays in the connection.
            let next = tokio::select! {
                biased;
                () = self.stop.cancelled() => return None,
                next = tokio::time::timeout(SILENCE, self.stream.next()) => next,
            };
            let event = match self.taken(next) {
                Ok(event) => event,
                Err(last) => return Some(last),
            };
            let bytes = u32::try_from(event.body.len()).unwrap_or(u32::MAX).clamp(1, AHEAD_BYTES);
            let room = tokio::select! {
                biased;
                () = self.stop.cancelled() => return None,
                room = Arc::clone(&self.room).acquire_many_owned(bytes) => room.ok()?,
            };
            if self.outbox.send(Message::Event(event, room)).await.is_err() {
                return None;
            }
        }
    }

    /// What came, or what is told last.
    fn taken(&self, next: Result<Option<Result<DriverEvent, Error>>, tokio::time::error::Elapsed>) -> Result<Event, Message> {
        let place = self.shared.place();
        match next {
            Ok(Some(Ok(event))) => taken(&event).ok_or_else(|| Message::Broken(event.header().log_pos())),
            Ok(Some(Err(error))) if is_unreadable(&error) => Err(Message::Unread("the driver does not read it")),
            Ok(Some(Err(error))) => Err(Message::Ended(ended(place, &error))),
            Ok(None) => Err(Message::Ended(Ended::Again(place.lost("the server ended the stream of its binlog")))),
            Err(_elapsed) => Err(Message::Ended(Ended::Again(StoreError::Deadline {
                store: self.shared.name.to_string(),
                limit_ms: u64::try_from(SILENCE.as_millis()).unwrap_or(u64::MAX),
                waiting_for: "a heartbeat of the binlog",
            }))),
        }
    }
}

/// The event without what the driver knows of it; `None` when its checksum is wrong.
fn taken(event: &DriverEvent) -> Option<Event> {
    let (header, footer) = (event.header(), event.footer());
    let (number, flags) = (header.event_type_raw(), header.flags_raw());
    // The server makes some up, in front of the event that tells how they are summed.
    let is_summed =
        flags & ARTIFICIAL == 0 && ![kind::ROTATE, kind::FORMAT, kind::HEARTBEAT, kind::HEARTBEAT_LONG].contains(&number);
    let algorithm = footer.get_checksum_alg().ok().flatten();
    if is_summed
        && footer.get_checksum_enabled()
        && algorithm == Some(BinlogChecksumAlg::BINLOG_CHECKSUM_ALG_CRC32)
        && event.checksum().map(u32::from_le_bytes) != Some(event.calc_checksum(BinlogChecksumAlg::BINLOG_CHECKSUM_ALG_CRC32))
    {
        return None;
    }
    Some(Event {
        kind: number,
        seconds: header.timestamp(),
        server: header.server_id(),
        flags,
        end: header.log_pos(),
        body: if number == kind::ROTATE { of_file(event) } else { event.data().to_vec() },
    })
}

/// The body of an event that names a file, without a checksum behind the name. The first one comes before the event that tells how others
/// are summed, so that the driver leaves its checksum where it is; and where the driver takes one off, there need not have been any.
fn of_file(event: &DriverEvent) -> Vec<u8> {
    let header = event.header();
    let mut whole = event.data().to_vec();
    whole.extend(event.checksum().into_iter().flatten());
    let Some((body, sum)) = whole.split_last_chunk::<4>() else { return whole };
    let mut crc = Crc::new();
    crc.update(&header.timestamp().to_le_bytes());
    crc.update(&[header.event_type_raw()]);
    for number in [header.server_id(), header.event_size(), header.log_pos()] {
        crc.update(&number.to_le_bytes());
    }
    crc.update(&header.flags_raw().to_le_bytes());
    crc.update(body);
    if crc.sum() == u32::from_le_bytes(*sum) { body.to_vec() } else { whole }
}

#[cfg(test)]
pub(super) mod samples {
    use super::*;

    /// An event that has come.
    pub(in super::super) fn message(event: Event) -> Message {
        Message::Event(event, Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap())
    }

    /// A connection of which these come, until its task has failed.
    pub(in super::super) fn link(messages: Vec<Message>) -> Link {
        let (outbox, inbox) = mpsc::channel(messages.len().max(1));
        for message in messages {
            assert!(outbox.try_send(message).is_ok());
        }
        Link { inbox, thread: 0, stop: CancellationToken::new(), task: OwnedTask::spawn(async {}) }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Error as Cause;

    use mysql_async::binlog::BinlogVersion;
    use mysql_async::binlog::events::{BinlogEventFooter, FormatDescriptionEvent};

    use super::super::super::super::connector::StoreName;
    use super::super::events::rotated;
    use super::*;

    /// The file that an event names, of which the driver knows so much.
    fn file(known: &FormatDescriptionEvent<'static>, sent: &[u8]) -> (String, u64) {
        let event = DriverEvent::read(known, sent).unwrap();
        rotated(&taken(&event).unwrap().body).unwrap()
    }

    #[test]
    fn names_of_files_come_without_checksums_and_whole() {
        // What a server of MariaDB begins with, and the same of one that writes no checksums.
        let mut summed = vec![0, 0, 0, 0, 4, 1, 0, 0, 0, 44, 0, 0, 0, 0, 0, 0, 0, 0x20, 0, 4, 0, 0, 0, 0, 0, 0, 0];
        summed.extend_from_slice(b"binlog.000001");
        let mut bare = summed.clone();
        bare[9] = 40;
        summed.extend_from_slice(&[0xe9, 0xd2, 0xca, 0x6e]);
        let unknown = FormatDescriptionEvent::new(BinlogVersion::Version4);
        let footer = BinlogEventFooter::new(BinlogChecksumAlg::BINLOG_CHECKSUM_ALG_CRC32);
        let known = unknown.clone().with_footer(footer);
        for (told, sent) in [(&unknown, &summed), (&known, &summed), (&unknown, &bare), (&known, &bare)] {
            assert_eq!(file(told, sent), ("binlog.000001".to_owned(), 4));
        }
    }

    #[test]
    fn only_what_is_no_event_is_called_unreadable() {
        let io = |kind: ErrorKind, text: &'static str| Error::from(Cause::new(kind, text));
        let unreadable = [
            io(ErrorKind::UnexpectedEof, "can't parse: buf doesn't have enough data"),
            io(ErrorKind::InvalidData, "unknown column type"),
            io(ErrorKind::Other, "Packet is larger than max_allowed_packet"),
            Error::Driver(DriverError::UnexpectedPacket { payload: vec![7] }),
        ];
        for error in unreadable {
            assert!(is_unreadable(&error), "{error}");
        }
        let transient = [
            io(ErrorKind::UnexpectedEof, "connection closed"),
            io(ErrorKind::Other, "bytes remaining on stream"),
            io(ErrorKind::Other, "Packets out of sync"),
            io(ErrorKind::ConnectionReset, "connection reset by peer"),
            Error::from(Cause::new(ErrorKind::InvalidData, rustls::Error::DecryptError)),
            Error::Driver(DriverError::ConnectionClosed),
            Error::Server(ServerError { code: 1053, message: "shutdown".to_owned(), state: "08S01".to_owned() }),
        ];
        for error in transient {
            assert!(!is_unreadable(&error), "{error}");
        }
    }

    #[test]
    fn answers_of_the_server_are_told_apart() {
        let name = StoreName::new("s");
        let place = Place { store: &name, table: None };
        let of = |code: u16, message: &str| {
            answered(place, &ServerError { code, message: message.to_owned(), state: "HY000".to_owned() })
        };
        let purged = "Could not find GTID state requested by slave in any binlog files. Probably the slave state is too old";
        assert!(matches!(of(1236, purged), Ended::Lost(reason) if reason.contains("too old")));
        let same = "A slave with the same server_uuid/server_id as this slave has connected to the master";
        assert!(matches!(of(1236, same), Ended::Refused { mend, .. } if mend.contains("changes.server_id")));
        assert!(matches!(of(1227, "Access denied; you need REPLICATION SLAVE"), Ended::Refused { .. }));
        assert!(matches!(of(1053, "Server shutdown in progress"), Ended::Again(_)));
        let closed = Error::Driver(DriverError::ConnectionClosed);
        assert!(matches!(ended(place, &closed), Ended::Again(StoreError::ConnectionLost { .. })));
    }
}
