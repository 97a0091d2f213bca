//! The session that streams: made in the server's replication mode, looked at, and only then started.

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use pgwire_replication::{Lsn, PgWireError, ReplicationClient, ReplicationConfig};
use tokio::time::timeout;

use super::super::super::capture::Ended;
use super::super::super::error::StoreError;
use super::super::super::relational::Dialect;
use super::super::branch::Inner;
use super::super::error;
use super::position::{Checkpoint, location};
use super::slot::{self, Slot};
use super::tunnel::Tunnel;

/// What text values depend on, and how soon the server looks whether we are there: half of it after our last word.
const OPTIONS: &str = "-c search_path= -c datestyle=ISO,MDY -c timezone=UTC -c intervalstyle=postgres -c extra_float_digits=1 \
     -c bytea_output=hex -c lc_monetary=C -c xmloption=content -c wal_sender_timeout=60s";
/// How long the server may be silent. Longer than it waits before it asks whether we are there, which it does only when we have
/// said nothing either: so we say nothing unasked but how far we are.
pub(super) const SILENCE: Duration = Duration::from_secs(65);
/// How often we say that at most. The server waits for it when it is shut down, and commits do where it takes us for a standby.
const STATUS: Duration = Duration::from_secs(1);
/// Messages that wait for us, beside one that the library holds; the server waits when there are more. Each is one row, and none is refused
/// for its length: what is read ahead is bounded by this number and by nothing else, as the library counts messages and not bytes. So it is
/// as small as it can be without the reader of small rows coming to an empty queue while the library's task is being woken. Where the log
/// has no room and nothing is taken, rows of 50 MB may take up to 1.7 GB.
const MESSAGES_MAX: usize = 32;

/// Why nothing follows what was read. Without a publication changes are not told, and whether the server says so is a matter of its version.
pub(super) const UNPUBLISHED: &str = "its publication was removed meanwhile";

/// A stream of messages.
pub(super) struct Session {
    /// The library's end of it.
    pub client: Client,
    /// The system identifier of the server's cluster.
    pub cluster: u64,
    /// The timeline of its log.
    pub timeline: u32,
    _tunnel: Option<Tunnel>,
}

/// The library's end of a session. By itself it would leave its task, and the connection, to wait for a silent server for ever.
pub(super) struct Client(ReplicationClient);

impl Deref for Client {
    type Target = ReplicationClient;

    fn deref(&self) -> &ReplicationClient {
        &self.0
    }
}

impl DerefMut for Client {
    fn deref_mut(&mut self) -> &mut ReplicationClient {
        &mut self.0
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Begins to stream behind `from`, if server and slot are those that were left there, and the publication, of which is said whether it was
/// only made now.
///
/// # Errors
/// Why not.
pub(super) async fn start(
    inner: &Inner,
    name: &str,
    publication: (&str, bool),
    from: u64,
    checkpoint: Option<&Checkpoint>,
) -> Result<Session, Ended> {
    let limit = inner.settings.connect_timeout;
    let work = Box::pin(begin(inner, name, publication, from, checkpoint));
    match timeout(limit, work).await {
        Ok(begun) => begun,
        Err(_elapsed) => Err(Ended::Again(error::deadline(&inner.name, limit, "a connection for replication"))),
    }
}

async fn begin(
    inner: &Inner,
    name: &str,
    (publication, is_made): (&str, bool),
    from: u64,
    checkpoint: Option<&Checkpoint>,
) -> Result<Session, Ended> {
    let address = &inner.settings.address;
    let store = || inner.name.to_string();
    let tunnel = if Tunnel::is_needed(address) {
        let made = Tunnel::open(address).await;
        made.map_err(|reason| Ended::Again(StoreError::Unreachable { store: store(), reason }))?
    } else {
        None
    };
    let failed = |error: PgWireError| ended(inner, error);
    let config = config(inner, name, publication, from, tunnel.as_ref());
    let mut client = Client(ReplicationClient::connect_gated(config).await.map_err(failed)?);
    let system = client.identify_system().await.map_err(failed)?;
    let unreadable =
        || Ended::Again(StoreError::ConnectionLost { store: store(), reason: "The server has no identity.".to_owned() });
    let cluster = system.system_id.parse().map_err(|_not_a_number| unreadable())?;
    if let Some(checkpoint) = checkpoint {
        same_server(checkpoint, cluster, system.xlogpos)?;
        if checkpoint.timeline != system.timeline {
            same_history(inner, &mut client, checkpoint, system.timeline).await?;
        }
    }
    let rows = client.simple_query(&slot::question(name)).await.map_err(failed)?;
    let slot = rows.first().map(|row| {
        let texts = row.iter().map(|cell| cell.as_ref().map(|bytes| String::from_utf8_lossy(bytes).into_owned()));
        Slot::read(&texts.collect::<Vec<_>>()).ok_or_else(unreadable)
    });
    slot::judge(slot.transpose()?.as_ref(), name, &address.database, from)?;
    if is_made && checkpoint.is_some() {
        return Err(Ended::Lost(UNPUBLISHED.to_owned()));
    }
    client.start().await.map_err(failed)?;
    client.wait_started().await.map_err(failed)?;
    Ok(Session { client, cluster, timeline: system.timeline, _tunnel: tunnel })
}

fn config(inner: &Inner, name: &str, publication: &str, from: u64, tunnel: Option<&Tunnel>) -> ReplicationConfig {
    let address = &inner.settings.address;
    let host = tunnel.map_or_else(|| address.host.clone(), Tunnel::directory);
    // The server reads it as a list of names, as in a statement.
    let publication = Dialect::Postgres.quote(publication);
    ReplicationConfig::new(&host, &address.user, address.password.expose(), &address.database, name, publication)
        .with_port(address.port)
        .with_options(OPTIONS)
        .with_start_lsn(Lsn::from_u64(from))
        // What a feed goes on from need not be on disk here. None is what the server takes for nothing said.
        .with_ack_lsn(Lsn::from_u64(0))
        .with_status_interval(STATUS)
        .with_wakeup_interval(SILENCE)
        .with_buffer_size(MESSAGES_MAX)
        .with_max_message_size(usize::MAX)
        .with_application_name(name)
}

/// Whether the server is the one that was followed, and has what was read of it. A copy of it with an older state has the same
/// identity.
fn same_server(checkpoint: &Checkpoint, cluster: u64, flushed: Lsn) -> Result<(), Ended> {
    if checkpoint.cluster != cluster {
        return Err(Ended::Lost("the server is another one".to_owned()));
    }
    if flushed.as_u64() < checkpoint.place {
        return Err(Ended::Lost("the server has lost what was read of it".to_owned()));
    }
    Ok(())
}

/// Whether the server's log has what was read of it, though it goes on as another timeline: behind a failover or a restore what was read
/// last may never have happened, while something else has.
async fn same_history(inner: &Inner, client: &mut ReplicationClient, checkpoint: &Checkpoint, now: u32) -> Result<(), Ended> {
    let history = match client.timeline_history(now).await {
        Ok(history) => history,
        Err(PgWireError::Server(_)) => return Err(Ended::Lost("the server does not know the history of its log".to_owned())),
        Err(other) => return Err(ended(inner, other)),
    };
    if !was_left_behind(&String::from_utf8_lossy(&history.content), checkpoint.timeline, checkpoint.place) {
        return Err(Ended::Lost("the server's log goes on from before what was read of it".to_owned()));
    }
    tracing::warn!(store = %inner.name, before = checkpoint.timeline, now, "the server's log goes on as another timeline");
    Ok(())
}

/// Whether a timeline was left at or behind a place. Each line of a history: a timeline, where it was left, and why.
fn was_left_behind(history: &str, timeline: u32, place: u64) -> bool {
    let mut left = history.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        Some((words.next()?.parse::<u32>().ok()?, location(words.next()?)?))
    });
    left.any(|(each, at)| each == timeline && place <= at)
}

/// What becomes of a feed whose session failed.
pub(super) fn ended(inner: &Inner, failure: PgWireError) -> Ended {
    let store = inner.name.to_string();
    match failure {
        PgWireError::Server(said) => of_server(&store, &said),
        PgWireError::Auth(reason) => Ended::Refused {
            reason: format!("the server does not let us in for replication: {reason}"),
            mend: "Give the role a password that is kept as scram-sha-256, and a line of pg_hba.conf that asks for it.".to_owned(),
        },
        PgWireError::MessageTooLarge { payload_bytes, .. } => {
            Ended::Lost(format!("a change of {payload_bytes} bytes is larger than a message can be"))
        }
        PgWireError::Io(error) => Ended::Again(StoreError::ConnectionLost { store, reason: error.to_string() }),
        other => Ended::Again(StoreError::ConnectionLost { store, reason: other.to_string() }),
    }
}

/// By the SQLSTATE, which the library has put behind the message.
fn of_server(store: &str, said: &str) -> Ended {
    let behind = said.rsplit_once(" (SQLSTATE ").and_then(|(message, rest)| Some((message, rest.strip_suffix(')')?)));
    let (message, sqlstate) = behind.unwrap_or((said, ""));
    match sqlstate {
        // A slot that is gone, or can give nothing any more.
        "42704" if message.contains("slot") => Ended::Lost("its replication slot is gone".to_owned()),
        // The server cannot make the message, however often it is asked.
        "54000" => Ended::Lost(format!("a change is larger than the server can send: {message}")),
        "XX000" if message.contains("invalid memory alloc request size") => {
            Ended::Lost("a change is larger than the server can send".to_owned())
        }
        // The server has removed what a slot needs that came with a copy of its files.
        "58P01" if message.contains("WAL segment") => Ended::Lost(format!("the server has lost a part of its log: {message}")),
        "55000" => Ended::Lost(format!("the server cannot go on from its replication slot: {message}")),
        // It is looked for as of each change: that it is there now does not help.
        "42704" => Ended::Lost(format!("its publication has not been there all the time: {message}")),
        "42501" | "28000" | "28P01" => Ended::Refused {
            reason: format!("the server said: {message}"),
            mend: "ALTER ROLE … REPLICATION, and a line of pg_hba.conf that lets the role into its database.".to_owned(),
        },
        "" => Ended::Again(StoreError::ConnectionLost { store: store.to_owned(), reason: message.to_owned() }),
        // In use by a session that has not been noticed to be gone, too many sessions, shutting down, …
        other => Ended::Again(StoreError::remote(store, other, message.to_owned())),
    }
}

/// Whether the library has found a message to be none. It reads the beginnings and ends of transactions itself.
pub(super) fn is_unreadable(failure: &PgWireError) -> bool {
    matches!(failure, PgWireError::Protocol(what) if what.starts_with("pgoutput"))
}

/// A connection that gives what it cannot give, or nothing.
pub(super) fn lost(inner: &Inner, reason: &str) -> Ended {
    Ended::Again(StoreError::ConnectionLost { store: inner.name.to_string(), reason: reason.to_owned() })
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn nothing_is_left_of_a_session_with_a_server_that_says_nothing() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let config = ReplicationConfig::new("127.0.0.1", "u", "p", "d", "s", "publication".to_owned()).with_port(port);
        let client = Client(ReplicationClient::connect_gated(config).await.unwrap());
        let (mut server, _) = listener.accept().await.unwrap();
        assert!(server.read_u32().await.unwrap() > 8, "it says who it is");
        drop(client);
        let mut rest = Vec::new();
        let ended = timeout(Duration::from_secs(10), server.read_to_end(&mut rest)).await;
        assert!(ended.is_ok(), "the connection is still there");
    }

    #[test]
    fn another_timeline_goes_on_from_what_was_read_or_is_another_history() {
        let history = "1\t0/3000148\tno recovery target specified\n\n2\t0/5000060\tbefore 2026-11-22 12:00:00+00\n";
        assert!(was_left_behind(history, 1, 0x0300_0148) && was_left_behind(history, 1, 8));
        assert!(!was_left_behind(history, 1, 0x0300_0150), "that was never written in it");
        assert!(was_left_behind(history, 2, 0x0500_0060) && !was_left_behind(history, 2, 0x0500_0061));
        // One that it does not come from.
        assert!(!was_left_behind(history, 3, 8) && !was_left_behind("", 1, 8));
    }

    #[test]
    fn messages_that_are_none_are_no_broken_connection() {
        assert!(is_unreadable(&PgWireError::Protocol("pgoutput: truncated i32".to_owned())));
        assert!(!is_unreadable(&PgWireError::Protocol("empty CopyData payload".to_owned())));
        assert!(!is_unreadable(&PgWireError::Server("pgoutput".to_owned())));
    }

    #[test]
    fn what_the_server_says_decides_how_it_goes_on() {
        let rows = [
            ("replication slot \"t\" is active for PID 7 (SQLSTATE 55006)", "again"),
            ("terminating connection due to administrator command (SQLSTATE 57P01)", "again"),
            ("too many (SQLSTATE 53300)", "again"),
            ("something", "again"),
            ("replication slot \"t\" does not exist (SQLSTATE 42704)", "lost"),
            ("publication \"t\" does not exist (SQLSTATE 42704)", "lost"),
            ("requested WAL segment 000000010000000000000001 has already been removed (SQLSTATE 58P01)", "lost"),
            ("out of memory (SQLSTATE 54000)", "lost"),
            ("invalid memory alloc request size 1258291203 (SQLSTATE XX000)", "lost"),
            ("something else (SQLSTATE XX000)", "again"),
            ("could not access file \"pgoutput\": No such file or directory (SQLSTATE 58P01)", "again"),
            ("can no longer get changes from replication slot \"t\" (SQLSTATE 55000)", "lost"),
            ("must be superuser or replication role to start walsender (SQLSTATE 42501)", "refused"),
            ("no pg_hba.conf entry (SQLSTATE 28000)", "refused"),
        ];
        for (said, expected) in rows {
            let word = match of_server("shop", said) {
                Ended::Again(error) => {
                    assert!(!error.to_string().contains("SQLSTATE"), "{error}");
                    "again"
                }
                Ended::Lost(_) => "lost",
                Ended::Refused { .. } => "refused",
            };
            assert_eq!(word, expected, "{said}");
        }
    }
}
