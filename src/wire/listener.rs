//! Accepts connections, leads them through TLS, startup and authentication to a session, and drains them at the end.

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use pgwire::messages::startup::{Authentication, BackendKeyData};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::Settings;
use super::auth::{Candidate, authenticate};
use super::cancel::{Registry, Running};
use super::connection::{Connection, TASK, guarded};
use super::counts::Counts;
use super::doorstep::{Doorstep, Visit};
use super::error::{Severity, WireError, error_response, protocol_violation};
use super::startup::{Channel, Refusal, Request, Startup, read_request};
use super::tls::Tls;
use super::writer::Writer;
use crate::address;
use crate::error::{Diagnosis, Limit, sqlstate};
use crate::session::{Session, Shared, Start};
use crate::task::{Backoff, TaskSet, span};
use crate::telemetry::audit::Event;
use crate::telemetry::log::Line;

/// Connections that the kernel keeps for us while all handshakes are taken.
const BACKLOG: u32 = 1024;
/// First byte of a TLS handshake record (RFC 8446 §5.1); no Postgres packet begins with it.
const TLS_HANDSHAKE: u8 = 0x16;
/// How long cancelled statements may take to say goodbye before their connections are cut.
const FAREWELL: Duration = Duration::from_secs(2);

/// Bound addresses, not serving yet.
#[derive(Debug)]
pub struct Listener {
    sockets: Vec<TcpListener>,
    door: Arc<Door>,
}

/// What every connection needs on its way in.
#[derive(Debug)]
struct Door {
    settings: Settings,
    tls: Option<Tls>,
    registry: Arc<Registry>,
    sessions: Arc<Semaphore>,
    counts: Arc<Counts>,
    shutdown: CancellationToken,
}

impl Listener {
    /// Loads the TLS files and binds every address. Must be called inside the runtime.
    ///
    /// # Errors
    /// [`WireError`]; nothing listens then.
    pub fn bind(settings: Settings) -> Result<Self, WireError> {
        let tls = settings.tls.as_ref().map(Tls::load).transpose()?;
        let bound = settings.listen.iter().map(|&address| address::listen(address, BACKLOG, "listen"));
        let sockets = bound.collect::<Result<_, _>>()?;
        let sessions = Arc::new(Semaphore::new(settings.limits.max_connections.min(Semaphore::MAX_PERMITS)));
        let (registry, counts, shutdown) = (Arc::default(), Arc::default(), CancellationToken::new());
        let door = Door { settings, tls, registry, sessions, counts, shutdown };
        Ok(Self { sockets, door: Arc::new(door) })
    }

    /// Where it listens, with the ports that were given for port 0, in the order of the settings.
    pub fn local_addresses(&self) -> Vec<SocketAddr> {
        self.sockets.iter().filter_map(|socket| socket.local_addr().ok()).collect()
    }

    /// What is counted here.
    pub fn counts(&self) -> Arc<Counts> {
        Arc::clone(&self.door.counts)
    }

    /// Serves until `shutdown`. Then idle sessions are told 57P01 at once, running statements get the grace of the settings,
    /// and what is left after it is cancelled.
    pub async fn run(self, shared: Arc<Shared>, shutdown: CancellationToken) {
        let Self { sockets, door } = self;
        let mut connections = TaskSet::new();
        tokio::select! {
            biased;
            () = shutdown.cancelled() => {}
            () = accept_all(&sockets, &door, &shared, &mut connections) => {}
        }
        drop(sockets);
        door.shutdown.cancel();
        let grace = door.settings.limits.drain_grace;
        let force = async {
            tokio::time::sleep(grace).await;
            door.registry.abandon_all();
            std::future::pending::<()>().await;
        };
        tokio::select! {
            aborted = connections.stop(grace.saturating_add(FAREWELL)) => {
                if aborted > 0 {
                    tracing::warn!(aborted, "connections were cut at shutdown");
                }
            }
            () = force => {}
        }
    }
}

async fn accept_all(sockets: &[TcpListener], door: &Arc<Door>, shared: &Arc<Shared>, connections: &mut TaskSet) {
    let doorstep = Doorstep::new(door.settings.limits.max_handshakes);
    let mut backoff = Backoff::new(Duration::from_millis(10), Duration::from_secs(1));
    loop {
        let Some(threshold) = doorstep.threshold().await else { return };
        match accept(sockets).await {
            Ok((tcp, peer)) => {
                backoff.reset();
                let Some(visit) = doorstep.enter(peer.ip(), threshold) else {
                    door.counts.refuse(Limit::Logins);
                    tracing::info!(%peer, "a connection was closed: too many of its address are not logged in");
                    continue;
                };
                let (door, shared) = (Arc::clone(door), Arc::clone(shared));
                connections.spawn_bare(async move {
                    let connection = greet_in_time(&door, &shared, (tcp, peer), visit).instrument(span(TASK)).await;
                    if let Some(connection) = connection {
                        Box::pin(connection.run()).await;
                    }
                });
            }
            Err(error) => {
                // Mostly out of file descriptors: trying again at once would only burn CPU.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(backoff.next_wait()).await;
            }
        }
    }
}

/// The next connection on any of the sockets. Cancel-safe: nothing is taken before it is ready.
async fn accept(sockets: &[TcpListener]) -> io::Result<(TcpStream, SocketAddr)> {
    poll_fn(|context| {
        for socket in sockets {
            if let Poll::Ready(accepted) = socket.poll_accept(context) {
                return Poll::Ready(accepted);
            }
        }
        Poll::Pending
    })
    .await
}

/// The deadline counts from accepting the connection, however far it gets.
async fn greet_in_time(
    door: &Arc<Door>,
    shared: &Arc<Shared>,
    (tcp, peer): (TcpStream, SocketAddr),
    visit: Visit,
) -> Option<Connection> {
    let greeting = Box::pin(tokio::time::timeout(door.settings.limits.startup_timeout, door.greet(shared, (tcp, peer), visit)));
    tokio::select! {
        biased;
        () = door.shutdown.cancelled() => None,
        greeted = greeting => greeted.unwrap_or_else(|_elapsed| {
            tracing::info!(%peer, "a connection took too long to authenticate");
            None
        }),
    }
}

impl Door {
    /// Everything up to the first `ReadyForQuery`; `None` when there is no session at the end of it. Cancel requests do not
    /// wait for a turn: they must reach a statement also while everybody wants to log in.
    async fn greet(&self, shared: &Arc<Shared>, (tcp, peer): (TcpStream, SocketAddr), mut visit: Visit) -> Option<Connection> {
        let address = peer.ip();
        match self.negotiate(tcp).await {
            Ok((channel, Request::Start(startup), secured)) => {
                if !visit.come_in() {
                    self.counts.refuse(Limit::Logins);
                    let crowd = Diagnosis::new(sqlstate::TOO_MANY_CONNECTIONS, "sorry, too many clients are logging in");
                    return refuse(channel, Refusal::Told(crowd), address).await;
                }
                let _turn = visit.turn().await?;
                self.admit(shared, channel, startup, (address, secured)).await
            }
            Ok((mut channel, Request::Cancel { process_id, key }, _)) => {
                let found = self.registry.cancel(process_id, &key);
                // Under TLS libpq takes an end without goodbye for a failed cancel.
                let closed = channel.close().await.is_ok();
                tracing::debug!(%peer, process_id, found, closed, "cancel request");
                None
            }
            Ok((channel, Request::Tls | Request::Gss, _)) => {
                refuse(channel, Refusal::Told(protocol_violation("encryption was asked for twice")), address).await
            }
            Err((channel, refusal)) => match channel {
                Some(channel) => refuse(channel, refusal, address).await,
                None => {
                    tracing::debug!(%peer, ?refusal, "a connection ended before its startup packet");
                    None
                }
            },
        }
    }

    /// Settles encryption, then gives the first packet that is not about it, and whether TLS is on.
    async fn negotiate(&self, tcp: TcpStream) -> Result<(Channel, Request, bool), (Option<Channel>, Refusal)> {
        let max = self.settings.limits.startup_message_max;
        let mut first = [0];
        let peeked = tcp.set_nodelay(true).and(Ok(())).map_err(|error| (None, error.into()));
        peeked?;
        let count = tcp.peek(&mut first).await.map_err(|error| (None, error.into()))?;
        let direct = count == 1 && first == [TLS_HANDSHAKE];
        let mut channel: Channel = Writer::new(Box::new(tcp));
        let mut secured = false;
        if direct {
            channel = self.secure(channel, true).await?;
            secured = true;
        }
        let (mut tls_asked, mut gss_asked) = (secured, secured);
        loop {
            let request = match read_request(channel.socket(), max).await {
                Ok(request) => request,
                Err(refusal) => return Err((Some(channel), refusal)),
            };
            match request {
                Request::Tls if !tls_asked && self.tls.is_some() => {
                    channel = answer(channel, b"S").await?;
                    channel = self.secure(channel, false).await?;
                    (secured, tls_asked, gss_asked) = (true, true, true);
                }
                Request::Tls if !tls_asked => {
                    channel = answer(channel, b"N").await?;
                    tls_asked = true;
                }
                Request::Gss if !gss_asked => {
                    channel = answer(channel, b"N").await?;
                    gss_asked = true;
                }
                other => return Ok((channel, other, secured)),
            }
        }
    }

    async fn secure(&self, channel: Channel, direct: bool) -> Result<Channel, (Option<Channel>, Refusal)> {
        let Some(tls) = &self.tls else {
            return Err((None, io::Error::new(io::ErrorKind::InvalidData, "TLS is not configured").into()));
        };
        let socket = tls.accept(channel.into_socket(), direct).await.map_err(|error| (None, error.into()))?;
        Ok(Writer::new(socket))
    }

    /// Authenticates, opens the session and greets the client. Any failure is FATAL.
    async fn admit(
        &self,
        shared: &Arc<Shared>,
        mut channel: Channel,
        startup: Startup,
        (address, secured): (IpAddr, bool),
    ) -> Option<Connection> {
        let role = startup.user.clone();
        let told = |what| Event::new(what).by(&role).address(address).with("tls", secured);
        match self.open(shared, &mut channel, startup, (address, secured)).await {
            Ok(Admitted { session, running, permits }) => {
                self.settings.audit.tell(told("login").process(permits.1.process_id).done()).await;
                let (limits, shutdown) = (self.settings.limits.clone(), self.shutdown.clone());
                let mut connection = Connection::new(session, channel, (running, Arc::clone(&self.counts)), limits, shutdown);
                connection.hold(permits);
                Some(connection)
            }
            Err(refusal) => {
                if let Refusal::Told(diagnosis) = &refusal {
                    self.settings.audit.tell(told("login_failed").failed(&diagnosis.sqlstate)).await;
                }
                refuse(channel, refusal, address).await
            }
        }
    }

    async fn open(
        &self,
        shared: &Arc<Shared>,
        channel: &mut Channel,
        startup: Startup,
        (address, secured): (IpAddr, bool),
    ) -> Result<Admitted, Refusal> {
        if self.tls.as_ref().is_some_and(|tls| tls.required) && !secured {
            return Err(Diagnosis::new(sqlstate::INVALID_AUTHORIZATION, "this server takes connections over TLS only")
                .with_hint("Connect with sslmode=require or stricter.")
                .into());
        }
        if let Some(negotiation) = startup.negotiation() {
            channel.put(&negotiation)?;
        }
        let binding = self.tls.as_ref().filter(|_| secured).and_then(|tls| tls.binding.as_ref());
        let loopback = address.to_canonical().is_loopback();
        authenticate(channel, &self.settings, Candidate { user: &startup.user, loopback, binding }).await?;
        let permit = Arc::clone(&self.sessions).try_acquire_owned().map_err(|_full| {
            self.counts.refuse(Limit::Sessions);
            Refusal::Told(Diagnosis::new(sqlstate::TOO_MANY_CONNECTIONS, "sorry, too many clients already"))
        })?;
        let running = Arc::new(Running::default());
        let registration = self.registry.register(startup.takes_long_key(), Arc::clone(&running));
        let start = Start {
            role: startup.user,
            database: startup.database,
            settings: startup.settings,
            process_id: registration.process_id,
        };
        let session = guarded(Box::pin(Session::open(shared, start))).await.and_then(|opened| opened)?;
        channel.put(&Authentication::Ok)?;
        channel.put(&BackendKeyData::new(registration.process_id, registration.key.clone()))?;
        Ok(Admitted { session, running, permits: (permit, registration) })
    }
}

/// A session and what it holds while it lives.
struct Admitted {
    session: Session,
    running: Arc<Running>,
    permits: super::connection::Permits,
}

async fn answer(mut channel: Channel, byte: &[u8]) -> Result<Channel, (Option<Channel>, Refusal)> {
    channel.open().extend_from_slice(byte);
    channel.seal();
    match channel.flush().await {
        Ok(()) => Ok(channel),
        Err(error) => Err((None, error.into())),
    }
}

/// Tells the peer why, when there is something to tell, and ends the connection.
async fn refuse(mut channel: Channel, refusal: Refusal, peer: IpAddr) -> Option<Connection> {
    match refusal {
        Refusal::Silent(error) => tracing::debug!(%peer, %error, "a connection ended before its session began"),
        Refusal::Told(diagnosis) => {
            tracing::info!(%peer, sqlstate = diagnosis.sqlstate, error = %Line(&diagnosis.message), "a connection was refused");
            channel.discard_unsealed();
            let told = channel.put(&error_response(&diagnosis, Severity::Fatal));
            if told.is_ok()
                && let Err(error) = channel.close().await
            {
                tracing::debug!(%peer, %error, "a refused peer did not wait for the reason");
            }
        }
    }
    None
}
