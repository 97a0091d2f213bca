//! The options of a PostgreSQL store file, and what they become.

use std::time::Duration;

use sqlx::ConnectOptions;
use sqlx::postgres::{PgConnectOptions, PgSslMode};

use super::super::collation::Policy;
use crate::options::{Form, OptionSpec, Reader, Secret, parse_duration};

/// Lookups by key that a connection keeps prepared. A scan is a COPY, which cannot be.
const STATEMENTS_KEPT: usize = 32;

/// Every key of a PostgreSQL store file besides the shared ones.
pub(super) const OPTIONS: &[OptionSpec] = &[
    OptionSpec {
        key: "host",
        form: Form::Text,
        default: Some("127.0.0.1"),
        meaning: "Name or address of the server, which must not be a pooler that changes servers between transactions; a directory that starts with / holds its Unix socket.",
    },
    OptionSpec { key: "port", form: Form::Integer(1, 65_535), default: Some("5432"), meaning: "Port of the server." },
    OptionSpec { key: "user", form: Form::Text, default: None, meaning: "Role to log in as." },
    OptionSpec { key: "password", form: Form::Secret, default: Some(""), meaning: "Password of the role." },
    OptionSpec { key: "database", form: Form::Text, default: None, meaning: "Database to connect to." },
    OptionSpec {
        key: "tls",
        form: Form::Choice(&["disable", "prefer", "require", "verify-full"]),
        default: Some("prefer"),
        meaning: "Encryption of the connection; only verify-full proves the server's identity. Not used on a Unix socket.",
    },
    OptionSpec {
        key: "tls_ca",
        form: Form::Path,
        default: Some(""),
        meaning: "PEM file of the authorities that may sign the server's certificate; require then checks the signature too.",
    },
    OptionSpec { key: "read_only", form: Form::Bool, default: Some("false"), meaning: "Whether writes to the store are refused." },
    OptionSpec {
        key: "connect_timeout",
        form: Form::Duration,
        default: Some("10s"),
        meaning: "Longest time to connect and log in.",
    },
    OptionSpec {
        key: "deadline",
        form: Form::Duration,
        default: Some("5m"),
        meaning: "Longest time the store may be silent while a statement waits for it.",
    },
    OptionSpec {
        key: "pool.size",
        form: Form::Integer(1, 1_000),
        default: Some("10"),
        meaning: "Most connections that scan at a time; as many more may hold snapshots, half as many more read ranges of large tables, and three serve discovery and cancelling.",
    },
    OptionSpec { key: "pool.wait", form: Form::Duration, default: Some("10s"), meaning: "Longest wait for a free connection." },
    OptionSpec {
        key: "pool.idle",
        form: Form::Duration,
        default: Some("5m"),
        meaning: "An unused connection is closed after this time.",
    },
    OptionSpec {
        key: "keepalive",
        form: Form::Duration,
        default: Some("60s"),
        meaning: "The server probes a silent TCP connection after this time; 0s leaves it to the server's own setting.",
    },
    super::super::collation::OPTION,
    super::super::relational::documents::OPTION,
];

/// Where and as whom to connect, for connections that the driver does not make.
#[derive(Debug, Clone)]
pub(super) struct Address {
    /// Name or address of the server, or the directory of its socket.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The role.
    pub user: String,
    /// Its password.
    pub password: Secret,
    /// The database.
    pub database: String,
    /// How the connection is encrypted.
    pub tls: PgSslMode,
    /// The authorities that may have signed the server's certificate, as PEM; the public ones where the file names none.
    pub authorities: Option<Vec<u8>>,
}

/// A parsed store file.
#[derive(Clone)]
pub(super) struct Settings {
    /// Where and as whom to connect. Its `Debug` would show the password, so this struct has none derived.
    pub connect: PgConnectOptions,
    /// The same in parts.
    pub address: Address,
    /// Whether writes are refused.
    pub read_only: bool,
    /// Longest time to connect and log in.
    pub connect_timeout: Duration,
    /// Longest silence of the store while a statement waits.
    pub deadline: Duration,
    /// Most connections that scan at a time.
    pub pool_size: usize,
    /// Longest wait for a free connection.
    pub pool_wait: Duration,
    /// Longest life of an unused connection.
    pub pool_idle: Duration,
    /// Silence after which the server probes the connection; zero leaves it to the server.
    pub keepalive: Duration,
    /// Whose rules compare text.
    pub collation: Policy,
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings").field("pool_size", &self.pool_size).field("deadline", &self.deadline).finish_non_exhaustive()
    }
}

/// Reads the options; what is wrong is gathered in `reader`.
pub(super) fn read(reader: &mut Reader<'_>) -> Settings {
    let host = reader.text("host");
    let port = u16::try_from(reader.integer("port")).unwrap_or(5_432);
    let password = reader.secret("password").unwrap_or_else(|| Secret::new(""));
    let (user, database) = (reader.text("user"), reader.text("database"));
    // Every value that sqlx would otherwise take from PG… variables of the environment is set, the password too.
    let connect = PgConnectOptions::new_without_pgpass()
        .host(&host)
        .port(port)
        .username(&user)
        .password(password.expose())
        .database(&database)
        .application_name("tributary")
        .extra_float_digits(3)
        .statement_cache_capacity(STATEMENTS_KEPT)
        // Statements hold values, and values do not belong in logs.
        .disable_statement_logging();
    let (connect, authorities) = with_tls(connect, &host, reader);
    let tls = connect.get_ssl_mode();
    Settings {
        connect,
        address: Address { host, port, user, password, database, tls, authorities },
        read_only: reader.bool("read_only"),
        connect_timeout: positive(reader, "connect_timeout"),
        deadline: positive(reader, "deadline"),
        pool_size: reader.count("pool.size"),
        pool_wait: positive(reader, "pool.wait"),
        pool_idle: reader.duration("pool.idle"),
        keepalive: reader.duration("keepalive"),
        collation: Policy::of_word(&reader.text("collation")),
    }
}

/// A duration above zero: a deadline of zero would mean none at all, and every call has one.
fn positive(reader: &mut Reader<'_>, key: &'static str) -> Duration {
    let Some(text) = reader.optional_text(key) else { return Duration::ZERO };
    match parse_duration(&text) {
        Some(duration) if !duration.is_zero() => duration,
        _ => {
            reader.problem(key, &format!("\"{text}\""), "is not a duration above zero such as 500ms, 30s, 5m or 1h".to_owned());
            Duration::ZERO
        }
    }
}

/// With the encryption that the file asks for, and the authorities that it names.
fn with_tls(connect: PgConnectOptions, host: &str, reader: &mut Reader<'_>) -> (PgConnectOptions, Option<Vec<u8>>) {
    let authorities = reader.path("tls_ca");
    let mode = reader.optional_text("tls").unwrap_or_default();
    let connect = match (&authorities, mode.as_str()) {
        _ if host.starts_with('/') => return (connect.ssl_mode(PgSslMode::Disable), None),
        (_, "verify-full") => connect.ssl_mode(PgSslMode::VerifyFull),
        (Some(_), "require") => connect.ssl_mode(PgSslMode::VerifyCa),
        (None, "require") => connect.ssl_mode(PgSslMode::Require),
        (None, "disable") => connect.ssl_mode(PgSslMode::Disable),
        (None, _) => connect.ssl_mode(PgSslMode::Prefer),
        (Some(_), _) => {
            reader.problem("tls_ca", "", "has no effect unless tls is require or verify-full".to_owned());
            connect
        }
    };
    let Some(path) = authorities else { return (connect, None) };
    match std::fs::read(&path) {
        Ok(pem) => (connect.ssl_root_cert_from_pem(pem.clone()), Some(pem)),
        Err(error) => {
            reader.problem("tls_ca", &path.display().to_string(), format!("cannot be read: {error}"));
            (connect, None)
        }
    }
}
