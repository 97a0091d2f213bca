//! Private real servers for tests, benches and `demo --servers`: PostgreSQL, MariaDB, MongoDB and NATS, and Tributary itself.
//!
//! ```text
//! program  find the binary, or say how to install it
//! port     a free port that no connection is given
//! guarded  own directory, free port, a shell that ends the server when we let go or die
//! postgres / mariadb / mongo / nats    first data directory → start → ready when it answers with our password
//! own      the program itself on a catalog directory
//! wire     a forwarder in front of a server that counts round trips and delays them
//! ```
//!
//! **Invariants:** a server listens on loopback only and asks for a password made for this run; it ends when its handle is
//! dropped and also when our process dies without running destructors; nothing waits for a fixed time, readiness is an
//! answered request. Not here: choosing servers by environment variables (`tests/support`).

mod guarded;
mod port;
mod program;

pub mod mariadb;
pub mod mongo;
pub mod nats;
pub mod own;
pub mod postgres;
pub mod wire;

use std::path::PathBuf;

pub use mariadb::MariaDb;
pub use mongo::Mongo;
pub use nats::Nats;
pub use own::{CatalogFiles, Tributary};
pub use port::free_port;
pub use postgres::Postgres;
pub use wire::{Traffic, Wire};

use sqlx::mysql::{MySqlConnectOptions, MySqlSslMode};
use sqlx::postgres::{PgConnectOptions, PgSslMode};

use crate::options::Secret;

/// Where a server is and how to log in.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// A user that may create databases.
    pub user: String,
    /// Its password.
    pub password: Secret,
    /// The database to connect to first; empty for servers without databases.
    pub database: String,
}

impl Endpoint {
    /// The host.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The TCP port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// A user with all rights.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The user's password.
    pub fn password(&self) -> &str {
        self.password.expose()
    }

    /// The database to connect to first.
    pub fn database(&self) -> &str {
        &self.database
    }

    /// How a client of the Postgres protocol logs in, with TLS where the server has it.
    pub fn postgres_options(&self) -> PgConnectOptions {
        PgConnectOptions::new_without_pgpass()
            .host(&self.host)
            .port(self.port)
            .username(&self.user)
            .password(self.password.expose())
            .database(&self.database)
            .ssl_mode(PgSslMode::Prefer)
    }

    /// How a client of the MySQL protocol logs in, with TLS where the server has it.
    pub fn mysql_options(&self) -> MySqlConnectOptions {
        MySqlConnectOptions::new()
            .host(&self.host)
            .port(self.port)
            .username(&self.user)
            .password(self.password.expose())
            .database(&self.database)
            .ssl_mode(MySqlSslMode::Preferred)
    }
}

/// How a private server is set up.
#[derive(Debug, Clone, Default)]
pub struct Setup {
    /// Whether data survives a power cut.
    pub durability: Durability,
    /// A certificate and key in PEM; `None` leaves TLS off.
    pub tls: Option<Certificate>,
    /// Further command-line arguments of the server.
    pub arguments: Vec<String>,
    /// Memory for cached data, in MiB; `None` is little, so that many servers fit on one machine.
    pub cache_mib: Option<u32>,
}

/// Whether a private server waits for the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// As the server does by default.
    #[default]
    Kept,
    /// No fsync: faster, and the data is worthless after a crash of the machine. For tests.
    Forgone,
}

/// A certificate chain with its key.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// The chain in PEM, the server's own certificate first.
    pub chain_pem: String,
    /// The private key in PEM.
    pub key_pem: Secret,
}

/// Why a private server is not there.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The server's program is not installed.
    #[error("the program {program} was not found: {install}")]
    Missing {
        /// The program's file name.
        program: &'static str,
        /// How to get it.
        install: &'static str,
    },
    /// PostgreSQL refuses to run as root and no other account was found.
    #[error("PostgreSQL does not run as root, and neither account postgres nor nobody exists")]
    NoAccount,
    /// A file or process operation failed.
    #[error("cannot {action} for {server}")]
    Io {
        /// Which server.
        server: &'static str,
        /// What was tried.
        action: String,
        /// The operating system's reason.
        #[source]
        reason: std::io::Error,
    },
    /// The program that makes the data directory failed.
    #[error("{program} failed: {output}")]
    Prepare {
        /// The program's file name.
        program: &'static str,
        /// The end of its output.
        output: String,
    },
    /// The server ended by itself.
    #[error("{server} ended at start; its log ends with:\n{log}")]
    Ended {
        /// Which server.
        server: &'static str,
        /// The end of its log.
        log: String,
    },
    /// The server did not answer in time.
    #[error("{server} was not ready within {limit_s} s: {reason}; its log ends with:\n{log}")]
    NotReady {
        /// Which server.
        server: &'static str,
        /// The deadline in seconds.
        limit_s: u64,
        /// The last failed attempt.
        reason: String,
        /// The end of its log.
        log: String,
    },
    /// A running server refused a request.
    #[error("{server} refused: {reason}")]
    Refused {
        /// Which server.
        server: &'static str,
        /// What it said.
        reason: String,
    },
}

/// A name that no other test uses, valid unquoted in every store.
fn unique_name() -> String {
    format!("t{:016x}", rand::random::<u64>())
}

/// A password of 128 random bits, in characters that need no quoting anywhere.
fn random_password() -> Secret {
    Secret::new(format!("{:032x}", rand::random::<u128>()))
}

/// Writes the certificate and key into `directory` and returns their paths.
fn write_certificate(guard: &guarded::Place, certificate: &Certificate) -> Result<(PathBuf, PathBuf), SandboxError> {
    let chain = guard.write("server.crt", &certificate.chain_pem)?;
    let key = guard.write("server.key", certificate.key_pem.expose())?;
    Ok((chain, key))
}
