//! The keys of a MySQL or MariaDB store file, read into [`Settings`]. Nothing here touches the network.

use std::path::PathBuf;
use std::time::Duration;

use mysql_async::{OptsBuilder, SslOpts};
use sqlx::ConnectOptions;
use sqlx::mysql::{MySqlConnectOptions, MySqlSslMode};

use super::super::collation;
use super::super::relational::documents::{self, TableOptions, read_options};
use crate::options::{Form, OptionSpec, Problem, Reader, Secret, Secrets};

const fn option(key: &'static str, form: Form, default: Option<&'static str>, meaning: &'static str) -> OptionSpec {
    OptionSpec { key, form, default, meaning }
}

/// Every key besides the shared ones.
pub(super) const OPTIONS: &[OptionSpec] = &[
    option("host", Form::Text, Some("127.0.0.1"), "The server's host name or address."),
    option("port", Form::Integer(1, 65_535), Some("3306"), "The server's TCP port."),
    option("socket", Form::Path, Some(""), "The path of the server's Unix socket, used instead of host and port when set."),
    option("user", Form::Text, None, "The user to connect as."),
    option("password", Form::Secret, Some(""), "The user's password."),
    option("database", Form::Text, None, "The database that becomes the schema named after the store."),
    option(
        "tls",
        Form::Choice(&["disable", "prefer", "require", "verify-ca", "verify-identity"]),
        Some("prefer"),
        "Whether the connection is encrypted, and what is checked of the server's certificate.",
    ),
    option(
        "tls_ca",
        Form::Path,
        Some(""),
        "A PEM file of the authorities that the verify-* modes trust, instead of the public ones.",
    ),
    option("connect_timeout", Form::Duration, Some("5s"), "The longest wait for a new connection, TLS and login included."),
    option(
        "query_timeout",
        Form::Duration,
        Some("5m"),
        "The longest wait for the server's next batch of rows, or for its answer to a statement without rows.",
    ),
    option(
        "pool.size",
        Form::Integer(1, 1000),
        Some("8"),
        "The most connections that run queries at the same time; as many more may be in transactions or write, and two stop queries.",
    ),
    option("pool.wait", Form::Duration, Some("10s"), "The longest wait for a free connection."),
    option(
        "pool.idle",
        Form::Duration,
        Some("5m"),
        "How long an unused connection is kept open. It is not kept alive by TCP, which the driver offers no way to: less than a firewall on the way allows is wise.",
    ),
    option("read_only", Form::Bool, Some("false"), "Whether writes to the store are refused."),
    option(
        "zero_date",
        Form::Choice(&["null", "error"]),
        Some("error"),
        "What a date without year, month or day (0000-00-00, 2024-00-10) becomes: NULL, or an error that names the column.",
    ),
    option(
        "tinyint1",
        Form::Choice(&["int", "bool"]),
        Some("int"),
        "What tinyint(1), MariaDB's BOOLEAN, becomes: smallint, which keeps every value, or boolean, which keeps zero or not.",
    ),
    collation::OPTION,
    documents::OPTION,
];

/// What a date that no calendar has becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ZeroDate {
    /// SQL NULL.
    Null,
    /// An error that names the column.
    Error,
}

/// What the store file says.
#[derive(Debug)]
pub(super) struct Settings {
    host: String,
    port: u16,
    socket: Option<PathBuf>,
    user: String,
    password: Option<Secret>,
    /// The default namespace.
    pub(super) database: String,
    tls: MySqlSslMode,
    tls_ca: Option<PathBuf>,
    /// The longest wait for a new connection.
    pub(super) connect_timeout: Duration,
    /// The longest wait for the next batch, or for a statement without rows.
    pub(super) query_timeout: Duration,
    /// Most connections that run queries, and most that are in transactions or write.
    pub(super) pool_size: usize,
    /// The longest wait for a free connection.
    pub(super) pool_wait: Duration,
    /// How long an unused connection is kept.
    pub(super) pool_idle: Duration,
    /// Whether writes are refused.
    pub(super) read_only: bool,
    /// The policy for dates that no calendar has.
    pub(super) zero_date: ZeroDate,
    /// Whether `tinyint(1)` is a boolean.
    pub(super) tinyint1_is_bool: bool,
    /// Whose rules compare text.
    pub(super) collation: collation::Policy,
    /// Tables with a JSON column that is a document.
    pub(super) documents: TableOptions,
}

impl Settings {
    /// Reads the store file's table.
    ///
    /// # Errors
    /// Every problem found.
    pub(super) fn parse(path: &str, table: &toml::Table, secrets: &dyn Secrets) -> Result<Self, Vec<Problem>> {
        let mut reader = Reader::new(path, table, OPTIONS, secrets);
        let mut settings = Self {
            host: reader.text("host"),
            port: u16::try_from(reader.integer("port")).unwrap_or(0),
            socket: reader.path("socket"),
            user: reader.text("user"),
            password: reader.secret("password"),
            database: reader.text("database"),
            tls: ssl_mode(&reader.text("tls")),
            tls_ca: reader.path("tls_ca"),
            connect_timeout: reader.duration("connect_timeout"),
            query_timeout: reader.duration("query_timeout"),
            pool_size: reader.count("pool.size"),
            pool_wait: reader.duration("pool.wait"),
            pool_idle: reader.duration("pool.idle"),
            read_only: reader.bool("read_only"),
            zero_date: if reader.text("zero_date") == "null" { ZeroDate::Null } else { ZeroDate::Error },
            tinyint1_is_bool: reader.text("tinyint1") == "bool",
            collation: collation::Policy::of_word(&reader.text("collation")),
            documents: TableOptions::new(),
        };
        if reader.is_set("tls_ca")
            && matches!(settings.tls, MySqlSslMode::Disabled | MySqlSslMode::Preferred | MySqlSslMode::Required)
        {
            reader.problem("tls_ca", "", "is only used with tls = \"verify-ca\" or \"verify-identity\"".to_owned());
        }
        if let Some(ca) = settings.tls_ca.as_ref().filter(|ca| !ca.is_file()) {
            reader.problem("tls_ca", &ca.display().to_string(), "is not a file".to_owned());
        }
        for (key, duration) in [("connect_timeout", settings.connect_timeout), ("query_timeout", settings.query_timeout)] {
            if duration.is_zero() && reader.is_set(key) {
                reader.problem(key, "0", "must be longer than zero, because every call has a deadline".to_owned());
            }
        }
        let tables = reader.table("tables");
        let mut problems = reader.finish();
        settings.documents = read_options(path, tables, secrets, &mut problems);
        if problems.is_empty() { Ok(settings) } else { Err(problems) }
    }

    /// The driver's options. The database is not selected on the connection: every statement names it, so a missing
    /// default database does not lock out the others.
    pub(super) fn driver_options(&self) -> MySqlConnectOptions {
        let mut options = MySqlConnectOptions::new()
            .host(&self.host)
            .port(self.port)
            .username(&self.user)
            .ssl_mode(self.tls)
            .charset("utf8mb4")
            .statement_cache_capacity(32)
            // The driver would log SQL text with its own words; our logs carry neither statements nor values.
            .disable_statement_logging();
        if let Some(socket) = &self.socket {
            options = options.socket(socket);
        }
        if let Some(password) = &self.password {
            options = options.password(password.expose());
        }
        if let Some(ca) = &self.tls_ca {
            options = options.ssl_ca(ca);
        }
        options
    }

    /// The options of the driver that reads the binlog: the same server, the same user.
    pub(super) fn binlog_options(&self) -> OptsBuilder {
        let options = OptsBuilder::default()
            .ip_or_hostname(self.host.clone())
            .tcp_port(self.port)
            .user(Some(self.user.clone()))
            .pass(self.password.as_ref().map(|password| password.expose().to_owned()))
            // It would go over to a socket by itself where the server names one.
            .prefer_socket(false);
        match &self.socket {
            Some(socket) => options.socket(Some(socket.display().to_string())),
            None => options.ssl_opts(self.binlog_tls()),
        }
    }

    fn binlog_tls(&self) -> Option<SslOpts> {
        let options = SslOpts::default();
        match self.tls {
            MySqlSslMode::Disabled => None,
            MySqlSslMode::Preferred | MySqlSslMode::Required => Some(options.with_danger_accept_invalid_certs(true)),
            MySqlSslMode::VerifyCa | MySqlSslMode::VerifyIdentity => {
                let authorities = self.tls_ca.iter().map(|ca| ca.clone().into()).collect();
                let options = options.with_root_certs(authorities).with_disable_built_in_roots(self.tls_ca.is_some());
                Some(options.with_danger_skip_domain_validation(matches!(self.tls, MySqlSslMode::VerifyCa)))
            }
        }
    }

    /// Whether a server without TLS is spoken to without.
    pub(super) fn prefers_tls(&self) -> bool {
        matches!(self.tls, MySqlSslMode::Preferred)
    }
}

fn ssl_mode(word: &str) -> MySqlSslMode {
    match word {
        "disable" => MySqlSslMode::Disabled,
        "prefer" => MySqlSslMode::Preferred,
        "verify-ca" => MySqlSslMode::VerifyCa,
        "verify-identity" => MySqlSslMode::VerifyIdentity,
        // Also what a word outside the list gives: the reader has reported it, and nothing weaker is tried.
        _ => MySqlSslMode::Required,
    }
}
