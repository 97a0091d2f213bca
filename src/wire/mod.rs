//! The Postgres protocol, version 3: bytes in, messages out. Knows nothing of what SQL means; the sole user of `pgwire`.
//!
//! ```text
//! listener ─ accept, places (doorstep), drain
//!   └─ tls ─ startup ─ auth        until AuthenticationOk; any error is FATAL and ends the connection
//!        └─ connection             the state machine: one message at a time, in order
//!             ├─ reader            own task: bytes → message → bounded queue; cancels the statement when the client is gone
//!             ├─ simple, extended  the two query protocols, over session::Session
//!             ├─ rows              result batches → encode → the one write buffer, with back-pressure
//!             ├─ copy, copy_in     rows of COPY, out and in; the client waits while the store has enough to do
//!             ├─ relay             rows that a store has sent in the client's form → the same buffer
//!             └─ writer            flushed on Sync, Flush, ReadyForQuery or when 64 KiB are waiting
//! ```
//!
//! **Invariants:** no statement runs before `AuthenticationOk`; before it, no more than
//! [`Limits::startup_message_max`] bytes are held for a peer; nothing read before a TLS handshake is used after it; only
//! `error` builds `ErrorResponse`; memory per connection is bounded by the write threshold, one batch, and two inbound messages.
#![deny(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::indexing_slicing)]

pub mod counts;
pub mod encode;
pub mod error;
pub mod listener;

mod auth;
mod cancel;
mod connection;
mod copy;
mod copy_in;
mod doorstep;
mod extended;
mod message;
mod reader;
mod relay;
mod rows;
mod simple;
mod startup;
mod tls;
mod writer;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio_util::sync::CancellationToken;

use crate::options::Secret;
use crate::session::Shared;
use crate::session::role::Roles;
use crate::telemetry::audit::Audit;
pub use error::WireError;
pub use listener::Listener;

/// Everything the room needs to know; `config/` builds it.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where to listen; port 0 takes a free port, see [`Listener::local_addresses`].
    pub listen: Vec<SocketAddr>,
    /// Certificate and key; `None` answers `SSLRequest` with `N`.
    pub tls: Option<TlsSettings>,
    /// Whether loopback peers need no password.
    pub trust: bool,
    /// Who may connect; replaced as a whole when the configuration is read again.
    pub roles: Arc<ArcSwap<Roles>>,
    /// Seeds the made-up verifiers of unknown roles. When it stays the same over restarts, so do the salts that a peer
    /// sees for a role that does not exist, and a restart tells nothing.
    pub mock_seed: Secret,
    /// Is told who came in and who did not.
    pub audit: Arc<Audit>,
    /// Bounds and deadlines.
    pub limits: Limits,
}

/// Server-side TLS, all files in PEM form.
#[derive(Debug, Clone)]
pub struct TlsSettings {
    /// The server's certificate, then its chain.
    pub certificate: PathBuf,
    /// The private key of the first certificate.
    pub key: PathBuf,
    /// When set, every client must present a certificate signed by one of these authorities.
    pub client_ca: Option<PathBuf>,
    /// Whether sessions without TLS are refused.
    pub required: bool,
}

/// Bounds and deadlines of the room.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Authenticated sessions at a time; one more is refused with 53300.
    pub max_connections: usize,
    /// Handshakes at a time, at most half of them from one host and three quarters from one site; some more wait.
    pub max_handshakes: usize,
    /// From accepting a connection to `ReadyForQuery`, its wait for a turn included.
    pub startup_timeout: Duration,
    /// Bytes of one message before authentication.
    pub startup_message_max: usize,
    /// Bytes of one message after authentication.
    pub message_max: usize,
    /// How long a session may idle outside a transaction; `None` means for ever.
    pub idle_timeout: Option<Duration>,
    /// How long a session may idle inside a transaction; `None` means for ever.
    pub idle_in_transaction_timeout: Option<Duration>,
    /// How long running statements may go on after shutdown was asked for.
    pub drain_grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 100,
            max_handshakes: 128,
            startup_timeout: Duration::from_secs(60),
            startup_message_max: 64 << 10,
            message_max: 256 << 20,
            idle_timeout: None,
            idle_in_transaction_timeout: None,
            drain_grace: Duration::from_secs(10),
        }
    }
}

impl TlsSettings {
    /// Whether the files can be used.
    ///
    /// # Errors
    /// [`WireError::TlsFile`], [`WireError::Tls`]
    pub fn try_out(&self) -> Result<(), WireError> {
        tls::Tls::load(self).map(drop)
    }
}

/// Binds and serves until `shutdown` is cancelled and all sessions have ended. Use [`Listener`] to learn the address first.
///
/// # Errors
/// An address that cannot be bound, or TLS files that cannot be used.
pub async fn serve(settings: Settings, shared: Arc<Shared>, shutdown: CancellationToken) -> Result<(), WireError> {
    Listener::bind(settings)?.run(shared, shutdown).await;
    Ok(())
}
