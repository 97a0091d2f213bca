//! One authenticated connection: a state machine that takes one message at a time and answers in order.
//!
//! The phases are explicit ([`Phase`]); `simple.rs` and `extended.rs` hold what the messages of the two query protocols do,
//! `rows.rs` how results go out. Messages that the server sends on its own (notifications) go out in [`Connection::wait`], between two
//! messages of the client, and before `ReadyForQuery`, never inside of a transaction.

use std::collections::VecDeque;
use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use pgwire::messages::response::{NotificationResponse, ReadyForQuery, TransactionStatus as WireStatus};
use pgwire::messages::startup::ParameterStatus;
use tokio::io::{ReadHalf, WriteHalf};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::Limits;
use super::cancel::{Registration, Running};
use super::counts::Counts;
use super::error::{Severity, error_response, notice_response, panicked, shutting_down};
use super::message::{Message, Refused};
use super::reader::{Arrival, Reader, queue};
use super::startup::{Channel, Socket};
use super::writer::Writer;
use crate::error::{Diagnosis, sqlstate};
use crate::session::{Session, TransactionStatus};
use crate::task::{OwnedTask, span};
use crate::telemetry::log::Line;
use crate::telemetry::metrics::Present;

/// What the tasks of connections are called in log lines.
pub(super) const TASK: &str = "connection";
/// How long a client is given to take the reason why its connection ends.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(1);
/// Bytes of notifications that are put into the buffer before it is written: a client that does not read holds up no more.
const NOTIFICATIONS_BYTES: usize = 64 << 10;
/// Longer values of reportable settings are not reported: `ParameterStatus` may have 30,000 bytes.
const PARAMETER_STATUS_MAX: usize = 29_000;

/// So many `Close` between a statement and the `Sync` behind it do not hide that it is the last one: drivers send one or two.
const CLOSES_MAX: usize = 4;

/// What a connection holds while it lives: its place among the sessions and in the cancel registry.
pub(super) type Permits = (OwnedSemaphorePermit, Registration);

/// Where the conversation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// `ReadyForQuery` was sent and nothing since.
    Ready,
    /// Inside a series of extended messages that a `Sync` will end.
    Extended,
    /// An extended message failed: everything up to `Sync` is skipped.
    Skipping,
}

/// Why a connection ends.
#[derive(Debug)]
pub(super) enum End {
    /// The client said goodbye or is gone.
    Left,
    /// The socket failed.
    Broken(io::Error),
    /// The client is told, FATAL.
    Fatal(Diagnosis),
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::Broken(error)
    }
}

/// What went wrong in a message: the statement, or the connection.
#[derive(Debug)]
pub(super) enum Failure {
    /// The client is told and the connection goes on.
    Statement(Diagnosis),
    /// The connection is over.
    Connection(End),
}

impl From<Diagnosis> for Failure {
    fn from(diagnosis: Diagnosis) -> Self {
        Self::Statement(diagnosis)
    }
}

impl From<End> for Failure {
    fn from(end: End) -> Self {
        Self::Connection(end)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Connection(End::Broken(error))
    }
}

/// One client.
pub(super) struct Connection {
    pub(super) session: Session,
    pub(super) writer: Writer<WriteHalf<Box<dyn Socket>>>,
    pub(super) phase: Phase,
    /// Ends the statement that runs now.
    pub(super) statement: CancellationToken,
    pub(super) counts: Arc<Counts>,
    _open: Present,
    running: Arc<Running>,
    inbox: mpsc::Receiver<Arrival>,
    /// Messages that were looked at before their turn, at most one more than [`CLOSES_MAX`].
    ahead: VecDeque<Arrival>,
    /// Whether `Sync` is known to come behind the message whose turn it is.
    sync_follows: bool,
    limits: Limits,
    pub(super) shutdown: CancellationToken,
    reader: OwnedTask<()>,
    permits: Option<Permits>,
}

impl Connection {
    /// Takes over an authenticated channel; what is buffered in it is sent with the first `ReadyForQuery`.
    pub(super) fn new(
        session: Session,
        channel: Channel,
        (running, counts): (Arc<Running>, Arc<Counts>),
        limits: Limits,
        shutdown: CancellationToken,
    ) -> Self {
        let mut greeting = channel;
        let pending = greeting.open().split();
        let (source, sink): (ReadHalf<_>, WriteHalf<_>) = tokio::io::split(greeting.into_socket());
        let mut writer = Writer::new(sink).counted(Arc::clone(&counts.bytes));
        writer.open().extend_from_slice(&pending);
        writer.seal();
        let (outbox, inbox) = queue();
        let reader = OwnedTask::spawn(Reader::new(source, limits.message_max, outbox, Arc::clone(&running)).run());
        Self {
            session,
            writer,
            phase: Phase::Ready,
            statement: CancellationToken::new(),
            _open: counts.sessions.enter(),
            counts,
            running,
            inbox,
            ahead: VecDeque::new(),
            sync_follows: false,
            limits,
            shutdown,
            reader,
            permits: None,
        }
    }

    /// Keeps `permits` for as long as the connection lives.
    pub(super) fn hold(&mut self, permits: Permits) {
        self.permits = Some(permits);
    }

    /// Talks until one side ends it. A panic ends this session alone.
    pub(super) async fn run(mut self) {
        let end = match guarded(self.converse()).await {
            Ok(end) => end,
            Err(panicked) => {
                self.writer.discard_unsealed();
                End::Fatal(panicked)
            }
        };
        self.running.clear();
        self.farewell(end).instrument(span(TASK)).await;
        drop(self.reader);
    }

    async fn converse(&mut self) -> End {
        let greeting = self.greet().await;
        let Err(end) = greeting else {
            loop {
                if let Err(end) = self.turn().await {
                    return end;
                }
            }
        };
        end
    }

    async fn greet(&mut self) -> Result<(), End> {
        for (name, value) in self.session.reported() {
            self.report(name, value)?;
        }
        self.ready().await
    }

    /// One message and its answer.
    async fn turn(&mut self) -> Result<(), End> {
        let message = self.wait().await?;
        if self.phase == Phase::Skipping && !matches!(message, Message::Sync | Message::Terminate) {
            return Ok(());
        }
        match message {
            Message::Query(text) => self.simple_query(&text).await,
            Message::Parse(parse) => self.extended(async |this| this.parse(parse).await).await,
            Message::Bind(bind) => self.extended(async |this| this.bind(bind).await).await,
            Message::Describe(target) => self.extended(async |this| this.describe(&target)).await,
            Message::Execute(execute) => self.extended(async |this| this.execute(execute).await).await,
            Message::Close(target) => self.extended(async |this| this.close(&target)).await,
            Message::Flush => {
                self.phase = Phase::Extended;
                Ok(self.writer.flush().await?)
            }
            Message::Sync => self.sync().await,
            Message::FunctionCall => {
                let message = "the function call protocol is not supported";
                self.refuse_query(Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, message)).await
            }
            Message::CopyData(_) | Message::CopyDone | Message::CopyFail(_) => Ok(()),
            Message::Terminate => Err(End::Left),
            Message::Refused(refused) => self.refused(refused).await,
        }
    }

    /// The next message, or what ends the connection meanwhile. This is where an idle connection sits.
    async fn wait(&mut self) -> Result<Message, End> {
        if self.running.is_abandoned() || (self.phase == Phase::Ready && self.shutdown.is_cancelled()) {
            return Err(self.gone());
        }
        let idle = self.idle_deadline();
        let arrival = loop {
            let hears = self.phase == Phase::Ready && self.hears();
            let (next, inbox, session) = (self.ahead.pop_front(), &mut self.inbox, &mut self.session);
            let arriving = async {
                match next {
                    Some(arrival) => Some(arrival),
                    None => inbox.recv().await,
                }
            };
            let notified = async {
                if hears {
                    // Boxed for those alone who listen.
                    Box::pin(session.notified()).await;
                } else {
                    std::future::pending::<()>().await;
                }
            };
            // Cancel-safe: a message that was not taken stays in the queue, one that was there already is taken at once, and so are
            // notifications.
            tokio::select! {
                biased;
                arrival = arriving => break arrival,
                () = self.shutdown.cancelled() => return Err(End::Fatal(shutting_down())),
                () = passed(idle.as_ref()) => return Err(idle.map_or(End::Left, |(_, diagnosis)| End::Fatal(diagnosis))),
                () = notified => {}
            }
            self.put_notifications()?;
            // Cancel-safe: `Writer::flush` goes on where it stopped. What a client does not read does not make it less idle.
            tokio::select! {
                biased;
                flushed = self.writer.flush() => flushed?,
                () = self.shutdown.cancelled() => return Err(End::Fatal(shutting_down())),
                () = passed(idle.as_ref()) => return Err(idle.map_or(End::Left, |(_, diagnosis)| End::Fatal(diagnosis))),
            }
        };
        self.sync_follows = arrival.as_ref().is_some_and(|arrival| arrival.sync_follows);
        match arrival.map(Arrival::take) {
            Some(Ok(message)) => Ok(message),
            Some(Err(diagnosis)) => Err(End::Fatal(diagnosis)),
            None => Err(self.gone()),
        }
    }

    /// Whether the session listens to something and may be told of it now.
    fn hears(&self) -> bool {
        self.session.listens() && self.session.status() == TransactionStatus::Idle
    }

    /// Puts what the session is told into the buffer, as far as there is something now.
    fn put_notifications(&mut self) -> io::Result<()> {
        for told in self.session.take_notifications(NOTIFICATIONS_BYTES) {
            self.writer.put(&NotificationResponse::new(told.process_id, told.channel, told.payload))?;
        }
        Ok(())
    }

    /// The next message of a client that has been asked for more. A statement runs, whose guard decides how long is waited.
    pub(super) async fn receive(&mut self) -> Result<Message, End> {
        if self.running.is_abandoned() {
            return Err(self.gone());
        }
        let arrival = match self.ahead.pop_front() {
            Some(arrival) => Some(arrival),
            None => self.inbox.recv().await,
        };
        match arrival.map(Arrival::take) {
            Some(Ok(message)) => Ok(message),
            Some(Err(diagnosis)) => Err(End::Fatal(diagnosis)),
            None => Err(self.gone()),
        }
    }

    /// Whether the series ends here, as far as it has arrived: `Sync` comes next, or behind a few `Close`, which cannot fail and do nothing
    /// to a transaction. What has been looked at comes next all the same.
    pub(super) fn series_ends(&mut self) -> bool {
        if self.sync_follows {
            return true;
        }
        for place in 0..=CLOSES_MAX {
            if self.ahead.len() <= place {
                let Ok(arrival) = self.inbox.try_recv() else { return false };
                self.ahead.push_back(arrival);
            }
            match self.ahead.get(place) {
                Some(Arrival { outcome: Ok(Message::Sync), .. }) => return true,
                Some(Arrival { outcome: Ok(Message::Close(_)), .. }) => {}
                _ => return false,
            }
        }
        false
    }

    /// A cut at shutdown looks like a client that left; only the second is not told.
    pub(super) fn gone(&self) -> End {
        if self.shutdown.is_cancelled() { End::Fatal(shutting_down()) } else { End::Left }
    }

    /// When idling ends and with which words. It only counts after `ReadyForQuery`.
    fn idle_deadline(&self) -> Option<(Instant, Diagnosis)> {
        if self.phase != Phase::Ready {
            return None;
        }
        let (timeout, code, message) = match self.session.status() {
            TransactionStatus::Idle => {
                (self.limits.idle_timeout, sqlstate::IDLE_SESSION_TIMEOUT, "terminating connection due to idle-session timeout")
            }
            TransactionStatus::InBlock | TransactionStatus::Failed => (
                self.limits.idle_in_transaction_timeout,
                sqlstate::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
                "terminating connection due to idle-in-transaction timeout",
            ),
        };
        Some((Instant::now().checked_add(timeout?)?, Diagnosis::new(code, message)))
    }

    /// A statement starts: from here on a cancel request reaches it.
    pub(super) fn start_statement(&mut self) {
        self.statement = self.session.begin();
        self.running.set(self.statement.clone());
    }

    /// Text that is not UTF-8.
    async fn refused(&mut self, Refused { message, extended }: Refused) -> Result<(), End> {
        let diagnosis = Diagnosis::new(sqlstate::CHARACTER_NOT_IN_REPERTOIRE, message);
        if extended { self.fail_extended(Failure::Statement(diagnosis)).await } else { self.refuse_query(diagnosis).await }
    }

    /// A message that would have been a whole query fails before it reaches the session.
    async fn refuse_query(&mut self, diagnosis: Diagnosis) -> Result<(), End> {
        self.fail(Failure::Statement(diagnosis)).await?;
        self.finish().await
    }

    /// Tells client and session that the statement failed.
    pub(super) async fn fail(&mut self, failure: Failure) -> Result<(), End> {
        let diagnosis = match failure {
            Failure::Connection(end) => {
                self.counts.cancelled.add(1);
                return Err(end);
            }
            // What was cancelled because the server goes down must not look like the user's own cancel.
            Failure::Statement(told) if self.running.is_abandoned() && !is_told_at_the_end(&told) => {
                self.counts.cancelled.add(1);
                return Err(self.gone());
            }
            Failure::Statement(diagnosis) => self.session.placed(diagnosis),
        };
        self.counts.fail(&diagnosis);
        self.running.clear();
        self.send_notices()?;
        self.writer.put(&error_response(&diagnosis, Severity::Error))?;
        self.session.fail().await;
        Ok(())
    }

    /// Ends the implicit transaction and says so: after a simple query, and at `Sync`.
    pub(super) async fn finish(&mut self) -> Result<(), End> {
        if !self.session.sync_idle()
            && let Err(diagnosis) = Box::pin(self.session.sync()).await
        {
            self.fail(Failure::Statement(diagnosis)).await?;
        }
        self.ready().await
    }

    async fn ready(&mut self) -> Result<(), End> {
        self.running.clear();
        self.send_notices()?;
        for (name, value) in self.session.take_changed() {
            self.report(name, value)?;
        }
        let status = match self.session.status() {
            TransactionStatus::Idle => WireStatus::Idle,
            TransactionStatus::InBlock => WireStatus::Transaction,
            TransactionStatus::Failed => WireStatus::Error,
        };
        // As PostgreSQL: what the statement itself has notified of arrives before it is over.
        if self.hears() {
            self.put_notifications()?;
        }
        self.writer.put(&ReadyForQuery::new(status))?;
        self.phase = Phase::Ready;
        Ok(self.writer.flush().await?)
    }

    fn report(&mut self, name: String, value: String) -> io::Result<()> {
        if name.len() + value.len() > PARAMETER_STATUS_MAX {
            tracing::warn!(setting = name, bytes = value.len(), "a setting is too long to be reported to its client");
            return Ok(());
        }
        self.writer.put(&ParameterStatus::new(name, value))
    }

    /// Notices go out before the message that ends their statement.
    pub(super) fn send_notices(&mut self) -> io::Result<()> {
        self.session.take_notices().iter().try_for_each(|notice| self.writer.put(&notice_response(notice)))
    }

    /// The last words, if the client should hear any.
    async fn farewell(&mut self, end: End) {
        let told = match end {
            End::Left => Ok(()),
            End::Broken(error) => {
                tracing::debug!(%error, "a connection broke");
                return;
            }
            End::Fatal(diagnosis) => {
                if let Some(limit) = diagnosis.limit {
                    self.counts.refuse(limit);
                }
                tracing::info!(sqlstate = diagnosis.sqlstate, error = %Line(&diagnosis.message), "a session was ended");
                self.writer.put(&error_response(&diagnosis, Severity::Fatal))
            }
        };
        // Also ends TLS in its own words, without which the end could be an attacker's.
        if told.is_ok() && !matches!(tokio::time::timeout(FAREWELL_TIMEOUT, self.writer.close()).await, Ok(Ok(()))) {
            tracing::debug!("a client did not wait for the end of its connection");
        }
    }
}

/// Returns when a deadline has passed.
async fn passed(deadline: Option<&(Instant, Diagnosis)>) {
    match deadline {
        Some((deadline, _)) => tokio::time::sleep_until(*deadline).await,
        None => std::future::pending().await,
    }
}

/// Whether a client is told of a failure even when the server goes down: what it has asked to commit may be there, and a connection that
/// only ends would say that it is not.
fn is_told_at_the_end(told: &Diagnosis) -> bool {
    told.sqlstate == sqlstate::TRANSACTION_RESOLUTION_UNKNOWN
}

/// Runs `work`; a panic in it becomes a diagnosis. The caller must not use what `work` was changing, but to say goodbye.
pub(super) async fn guarded<T>(work: impl Future<Output = T>) -> Result<T, Diagnosis> {
    AssertUnwindSafe(work).catch_unwind().await.map_err(|_panic| {
        tracing::error!("a session panicked");
        panicked()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_outcome_is_told_also_when_the_server_goes_down() {
        assert!(is_told_at_the_end(&Diagnosis::new("08007", "nobody knows")));
        assert!(!is_told_at_the_end(&Diagnosis::new("57014", "cancelled")));
    }

    #[tokio::test]
    async fn a_panic_is_a_diagnosis() {
        let diagnosis = guarded(async { panic!("on purpose") }).await.map(|(): ()| ()).unwrap_err();
        assert_eq!(diagnosis.sqlstate, "XX000");
        assert_eq!(guarded(std::future::ready(7)).await.unwrap(), 7);
    }
}
