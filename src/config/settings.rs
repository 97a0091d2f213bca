//! `tributary.toml`: addresses, TLS, login, roles, limits and logs, with the table of its keys.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::cache::{self, CopyBounds};
use super::changes::{self, ChangeLog};
use super::name;
use crate::options::{Form, OptionSpec, Problem, Reader, Secret, Secrets};
use crate::session::role::{Role, Roles, Verifier};
use crate::stores::StoreName;
use crate::telemetry::AuditSettings;
use crate::telemetry::log::{Log, LogFormat};

/// What `tributary.toml` says.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where clients connect; at least one.
    pub listen: Vec<SocketAddr>,
    /// The database name that clients see.
    pub database: String,
    /// Where health is told; `None` when switched off.
    pub http: Option<SocketAddr>,
    /// What HTTP clients present for anything but health.
    pub http_token: Option<Secret>,
    /// The server's certificate; `None` when clients cannot use TLS.
    pub tls: Option<Tls>,
    /// Whether clients log in without a password. Only on a loopback address.
    pub trust: bool,
    /// Who may connect.
    pub roles: Roles,
    /// Bounds.
    pub limits: Limits,
    /// What is logged, and how.
    pub log: Log,
    /// Who did what, and where that is written.
    pub audit: AuditSettings,
    /// The store that keeps the log of commits over several stores; `None` for a file in the state directory.
    pub commit_log: Option<StoreName>,
    /// How long a transaction that holds something in one store waits for locks of another; `None` leaves it to the stores.
    pub lock_wait: Option<Duration>,
    /// How much of what changes in the stores is kept.
    pub changes: ChangeLog,
    /// Bounds of copies of tables.
    pub cache: CopyBounds,
}

/// The server's side of TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// The certificate chain in PEM.
    pub certificate: PathBuf,
    /// The private key in PEM.
    pub key: PathBuf,
    /// Authorities whose client certificates are asked for, in PEM.
    pub client_ca: Option<PathBuf>,
    /// Whether clients without TLS are refused.
    pub required: bool,
}

/// Bounds of the whole server, of a session and of a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Most client connections at a time.
    pub max_connections: usize,
    /// Time from connecting to being logged in.
    pub startup_timeout: Duration,
    /// How long a session may say nothing; `None` is for ever.
    pub idle_timeout: Option<Duration>,
    /// Connections at a time that are logging in.
    pub max_handshakes: usize,
    /// How long a session may say nothing inside a transaction; `None` is for ever.
    pub idle_in_transaction_timeout: Option<Duration>,
    /// How long running statements may go on after SIGTERM.
    pub drain_grace: Duration,
    /// Largest message before login, in bytes.
    pub startup_message_bytes: u64,
    /// Largest message of a session, in bytes.
    pub message_bytes: u64,
    /// Most memory of one query before it spills, in bytes.
    pub query_memory_bytes: u64,
    /// Most spill files of all queries together, in bytes.
    pub spill_bytes: u64,
    /// Most rows in one batch of a scan.
    pub batch_rows: usize,
    /// Most ranges in which one table is read side by side.
    pub scan_ranges: usize,
}

impl Settings {
    /// The keys whose values in `next` differ, and which are read at start only: all but the roles.
    pub fn needing_restart(&self, next: &Self) -> Vec<&'static str> {
        let tls = |settings: &Self| settings.tls.clone().map(|tls| (tls.certificate, tls.key, tls.client_ca, tls.required));
        let (now, then) = (tls(self).unwrap_or_default(), tls(next).unwrap_or_default());
        let (limits, others) = (&self.limits, &next.limits);
        let keys = [
            ("listen", self.listen != next.listen),
            ("database", self.database != next.database),
            ("http.listen", self.http != next.http),
            ("http.token", self.http_token != next.http_token),
            ("tls.certificate", now.0 != then.0),
            ("tls.key", now.1 != then.1),
            ("tls.client_ca", now.2 != then.2),
            ("tls.required", now.3 != then.3),
            ("auth.trust", self.trust != next.trust),
            ("limits.max_connections", limits.max_connections != others.max_connections),
            ("limits.max_handshakes", limits.max_handshakes != others.max_handshakes),
            ("limits.startup_timeout", limits.startup_timeout != others.startup_timeout),
            ("limits.idle_timeout", limits.idle_timeout != others.idle_timeout),
            ("limits.idle_in_transaction_timeout", limits.idle_in_transaction_timeout != others.idle_in_transaction_timeout),
            ("limits.drain_grace", limits.drain_grace != others.drain_grace),
            ("limits.startup_message", limits.startup_message_bytes != others.startup_message_bytes),
            ("limits.message", limits.message_bytes != others.message_bytes),
            ("limits.query_memory", limits.query_memory_bytes != others.query_memory_bytes),
            ("limits.spill", limits.spill_bytes != others.spill_bytes),
            ("limits.batch_rows", limits.batch_rows != others.batch_rows),
            ("limits.scan_ranges", limits.scan_ranges != others.scan_ranges),
            ("log.level", self.log.level != next.log.level),
            ("log.format", self.log.format != next.log.format),
            ("commit.log", self.commit_log != next.commit_log),
            ("commit.lock_wait", self.lock_wait != next.lock_wait),
            ("audit.file", self.audit.file != next.audit.file),
            ("audit.writes", self.audit.writes != next.audit.writes),
            ("audit.values", self.audit.values != next.audit.values),
            ("audit.rotate", self.audit.rotate != next.audit.rotate),
            ("audit.keep", self.audit.keep != next.audit.keep),
        ];
        let differing = keys.into_iter().filter_map(|(key, differs)| differs.then_some(key));
        differing.chain(self.changes.differing(&next.changes)).chain(self.cache.differing(&next.cache)).collect()
    }
}

const ADDRESS_RULE: &str = "is not an address such as 127.0.0.1:5455 or [::1]:5455";

/// Keys of `tributary.toml`.
pub const OPTIONS: &[OptionSpec] = &[
    OptionSpec {
        key: "listen",
        form: Form::Text,
        default: Some("127.0.0.1:5455"),
        meaning: "Address and port where Postgres clients connect; several are separated by commas.",
    },
    OptionSpec {
        key: "database",
        form: Form::Text,
        default: Some("tributary"),
        meaning: "The one database name that clients see.",
    },
    OptionSpec {
        key: "http.listen",
        form: Form::Text,
        default: Some("127.0.0.1:8455"),
        meaning: "Address and port where /health and /metrics are told over HTTP, or over HTTPS alone where [tls] is set; \"off\" switches it off. Beyond loopback it needs [tls] and http.token.",
    },
    OptionSpec { key: "http.token", form: Form::Secret, default: Some(""), meaning: "Bearer token for everything but health." },
    OptionSpec {
        key: "tls.certificate",
        form: Form::Path,
        default: Some(""),
        meaning: "Certificate chain of the server in PEM; TLS is off without it.",
    },
    OptionSpec { key: "tls.key", form: Form::Path, default: Some(""), meaning: "Private key of the certificate in PEM." },
    OptionSpec {
        key: "tls.client_ca",
        form: Form::Path,
        default: Some(""),
        meaning: "Authorities in PEM; every client must then present a certificate that one of them signed.",
    },
    OptionSpec { key: "tls.required", form: Form::Bool, default: Some("false"), meaning: "Refuse clients that do not use TLS." },
    OptionSpec {
        key: "auth.trust",
        form: Form::Bool,
        default: Some("false"),
        meaning: "Let roles in without a password. Only where listen is a loopback address.",
    },
    OptionSpec { key: "roles", form: Form::Table, default: Some(""), meaning: "One table for each role, as below." },
    OptionSpec {
        key: "limits.max_connections",
        form: Form::Integer(1, 100_000),
        default: Some("200"),
        meaning: "Most client connections at a time; further ones are refused with 53300.",
    },
    OptionSpec {
        key: "limits.max_handshakes",
        form: Form::Integer(1, 100_000),
        default: Some("128"),
        meaning: "Connections at a time that are logging in, at most half of them from one address; eight times as many wait, then 53300.",
    },
    OptionSpec {
        key: "limits.startup_timeout",
        form: Form::Duration,
        default: Some("10s"),
        meaning: "Time that a client has from connecting to being logged in.",
    },
    OptionSpec {
        key: "limits.idle_timeout",
        form: Form::Duration,
        default: Some("0s"),
        meaning: "A session that says nothing for so long is ended; 0s is never.",
    },
    OptionSpec {
        key: "limits.idle_in_transaction_timeout",
        form: Form::Duration,
        default: Some("0s"),
        meaning: "A session that says nothing for so long inside a transaction is ended; 0s is never.",
    },
    OptionSpec {
        key: "limits.drain_grace",
        form: Form::Duration,
        default: Some("30s"),
        meaning: "How long running statements may go on after SIGTERM.",
    },
    OptionSpec {
        key: "limits.startup_message",
        form: Form::Size,
        default: Some("64KiB"),
        meaning: "Largest message before login.",
    },
    OptionSpec { key: "limits.message", form: Form::Size, default: Some("64MiB"), meaning: "Largest message of a session." },
    OptionSpec {
        key: "limits.query_memory",
        form: Form::Size,
        default: Some("256MiB"),
        meaning: "Memory that all running queries together may use for sorting, grouping and joining; what does not fit is spilled to disk, or fails with 53200.",
    },
    OptionSpec {
        key: "limits.spill",
        form: Form::Size,
        default: Some("10GiB"),
        meaning: "Disk space for the spill files of all queries together.",
    },
    OptionSpec {
        key: "limits.batch_rows",
        form: Form::Integer(16, 65_536),
        default: Some("8192"),
        meaning: "Most rows that are handed on at a time.",
    },
    OptionSpec {
        key: "limits.scan_ranges",
        form: Form::Integer(1, 64),
        default: Some("4"),
        meaning: "Most connections over which one large table is read side by side, of those that are free and as far as there are processors; 1 reads each table over one.",
    },
    changes::SUBSCRIPTIONS,
    OptionSpec {
        key: "log.level",
        form: Form::Choice(&["error", "warn", "info", "debug", "trace"]),
        default: Some("info"),
        meaning: "The least important level that is logged.",
    },
    OptionSpec {
        key: "log.format",
        form: Form::Choice(&["text", "json"]),
        default: Some("text"),
        meaning: "The form of a log line.",
    },
    OptionSpec {
        key: "commit.log",
        form: Form::Text,
        default: Some("file"),
        meaning: "Where it is written how transactions over several stores were decided: \"file\" in .state, or the name of a store of the kind postgres, in which several servers keep logs side by side and take over those of servers that died.",
    },
    changes::LOG,
    changes::LOG_SIZE,
    changes::LOG_AGE,
    changes::MEMORY,
    changes::TRANSACTION,
    cache::MEMORY,
    cache::WAIT,
    cache::LOOK,
    cache::AUDIT,
    cache::AUDIT_ROWS,
    cache::RESULTS,
    OptionSpec {
        key: "commit.lock_wait",
        form: Form::Duration,
        default: Some("30s"),
        meaning: "How long a transaction that has written to one store, or locked rows there, waits for a lock of another at most, unless its client sets lock_timeout: no store sees a deadlock of which it is a part. 0s leaves it to the stores.",
    },
    OptionSpec {
        key: "audit.file",
        form: Form::Text,
        default: Some(".state/audit.jsonl"),
        meaning: "File of logins, changes and how transactions in doubt have ended, one JSON object a line; \"off\" switches it off. Relative to the catalog directory.",
    },
    OptionSpec {
        key: "audit.writes",
        form: Form::Bool,
        default: Some("false"),
        meaning: "Whether statements that write are told too, each literal as a question mark.",
    },
    OptionSpec {
        key: "audit.values",
        form: Form::Bool,
        default: Some("false"),
        meaning: "Whether their texts are told as the clients sent them.",
    },
    OptionSpec {
        key: "audit.rotate",
        form: Form::Size,
        default: Some("16MiB"),
        meaning: "A file of so many bytes is followed by another.",
    },
    OptionSpec {
        key: "audit.keep",
        form: Form::Integer(1, 1_000),
        default: Some("8"),
        meaning: "How many earlier files are kept.",
    },
];

/// Keys of `[roles.<name>]`.
pub const ROLE_OPTIONS: &[OptionSpec] = &[
    OptionSpec {
        key: "password",
        form: Form::Secret,
        default: Some(""),
        meaning: "A SCRAM-SHA-256 verifier made by `tributary password`; without it the role connects only where auth.trust is on.",
    },
    OptionSpec {
        key: "superuser",
        form: Form::Bool,
        default: Some("false"),
        meaning: "Whether the role may change what all sessions share.",
    },
    OptionSpec {
        key: "read_only",
        form: Form::Bool,
        default: Some("false"),
        meaning: "Whether the role may not write; what a store's own user may do is a bound in any case.",
    },
];

/// Reads `tributary.toml`.
pub(super) fn read(table: &toml::Table, secrets: &dyn Secrets) -> (Settings, Vec<Problem>) {
    let mut reader = Reader::new("tributary", table, OPTIONS, secrets);
    let listen = addresses(&mut reader, "listen");
    let (http, http_token) = http(&mut reader);
    let database = reader.text("database");
    if let Some(rule) = name::broken_rule(&database) {
        reader.problem("database", &format!("\"{database}\""), rule);
    }
    let tls = tls(&mut reader);
    let trust = reader.bool("auth.trust");
    if trust && listen.iter().any(|address| !address.ip().is_loopback()) {
        reader.problem("auth.trust", "true", "is refused while listen is not a loopback address".to_owned());
    }
    for twice in taken_twice(&listen, http) {
        reader.problem("listen", &twice.to_string(), "is given twice, also counting http.listen".to_owned());
    }
    if http.is_some_and(|address| !address.ip().is_loopback()) && (tls.is_none() || http_token.is_none()) {
        let rule = "is not a loopback address, which needs tls.certificate and http.token".to_owned();
        reader.problem("http.listen", &http.map(|address| address.to_string()).unwrap_or_default(), rule);
    }
    let limits = limits(&mut reader);
    let log = log(&mut reader);
    let role_tables = reader.table("roles");
    let (roles, role_problems) = roles(role_tables, secrets, trust);
    if roles.is_empty() && role_problems.is_empty() && (role_tables.is_some() || !reader.is_set("roles")) {
        reader.problem("roles", "", "names no role, so nobody could connect".to_owned());
    }
    let (audit, commit_log) = (audit(&mut reader, secrets), commit_log(&mut reader));
    let lock_wait = unless_zero(reader.duration("commit.lock_wait"));
    let (changes, cache) = (changes::log(&mut reader), cache::bounds(&mut reader));
    let settings = Settings {
        listen,
        database,
        http,
        http_token,
        tls,
        trust,
        roles,
        limits,
        log,
        audit,
        commit_log,
        lock_wait,
        changes,
        cache,
    };
    let mut problems = reader.finish();
    problems.extend(role_problems);
    (settings, problems)
}

fn address(reader: &mut Reader<'_>, key: &str) -> Option<SocketAddr> {
    let text = reader.optional_text(key)?;
    let parsed = text.parse().ok();
    if parsed.is_none() {
        reader.problem(key, &format!("\"{text}\""), ADDRESS_RULE.to_owned());
    }
    parsed
}

/// Addresses separated by commas.
fn addresses(reader: &mut Reader<'_>, key: &str) -> Vec<SocketAddr> {
    let text = reader.text(key);
    let mut found = Vec::new();
    for part in text.split(',').map(str::trim) {
        match part.parse() {
            Ok(address) => found.push(address),
            Err(_unreadable) => reader.problem(key, &format!("\"{part}\""), ADDRESS_RULE.to_owned()),
        }
    }
    found
}

/// Addresses that two listeners would bind; port 0 is another free port each time.
fn taken_twice(listen: &[SocketAddr], http: Option<SocketAddr>) -> BTreeSet<SocketAddr> {
    let mut known = BTreeSet::new();
    listen.iter().copied().chain(http).filter(|address| address.port() != 0 && !known.insert(*address)).collect()
}

fn http(reader: &mut Reader<'_>) -> (Option<SocketAddr>, Option<Secret>) {
    let token = reader.secret("http.token");
    let off = reader.optional_text("http.listen").is_some_and(|text| text == "off");
    if off { (None, token) } else { (address(reader, "http.listen"), token) }
}

fn tls(reader: &mut Reader<'_>) -> Option<Tls> {
    let certificate = existing_file(reader, "tls.certificate");
    let key = existing_file(reader, "tls.key");
    let client_ca = existing_file(reader, "tls.client_ca");
    let required = reader.bool("tls.required");
    match (certificate, key) {
        (Some(certificate), Some(key)) => Some(Tls { certificate, key, client_ca, required }),
        (None, None) => {
            let without = "needs tls.certificate and tls.key".to_owned();
            if required {
                reader.problem("tls.required", "true", without.clone());
            }
            if client_ca.is_some() {
                reader.problem("tls.client_ca", "", without);
            }
            None
        }
        (Some(_), None) => {
            reader.problem("tls.key", "", "is required with tls.certificate".to_owned());
            None
        }
        (None, Some(_)) => {
            reader.problem("tls.certificate", "", "is required with tls.key".to_owned());
            None
        }
    }
}

/// A path that the file sets. A path to nothing is reported and still counts as set, so that one mistake is told once.
fn existing_file(reader: &mut Reader<'_>, key: &str) -> Option<PathBuf> {
    let path = reader.path(key)?;
    if let Err(error) = std::fs::File::open(&path) {
        reader.problem(key, &path.display().to_string(), format!("cannot be read: {error}"));
    }
    Some(path)
}

fn limits(reader: &mut Reader<'_>) -> Limits {
    Limits {
        max_handshakes: reader.count("limits.max_handshakes"),
        idle_timeout: unless_zero(reader.duration("limits.idle_timeout")),
        idle_in_transaction_timeout: unless_zero(reader.duration("limits.idle_in_transaction_timeout")),
        max_connections: reader.count("limits.max_connections"),
        startup_timeout: positive_duration(reader, "limits.startup_timeout"),
        drain_grace: reader.duration("limits.drain_grace"),
        startup_message_bytes: size_within(reader, "limits.startup_message", 1 << 10, 1 << 20),
        message_bytes: size_within(reader, "limits.message", 1 << 10, 1 << 30),
        query_memory_bytes: size_within(reader, "limits.query_memory", 1 << 20, u64::MAX),
        spill_bytes: reader.size("limits.spill"),
        batch_rows: reader.count("limits.batch_rows"),
        scan_ranges: reader.count("limits.scan_ranges"),
    }
}

fn unless_zero(duration: Duration) -> Option<Duration> {
    (!duration.is_zero()).then_some(duration)
}

pub(super) fn positive_duration(reader: &mut Reader<'_>, key: &str) -> Duration {
    let problems_before = reader.problem_count();
    let duration = reader.duration(key);
    if duration.is_zero() && reader.problem_count() == problems_before {
        reader.problem(key, "0", "is not longer than nothing".to_owned());
    }
    duration
}

pub(super) fn size_within(reader: &mut Reader<'_>, key: &str, low: u64, high: u64) -> u64 {
    let problems_before = reader.problem_count();
    let bytes = reader.size(key);
    if !(low..=high).contains(&bytes) && reader.problem_count() == problems_before {
        let rule = if high == u64::MAX { format!("is less than {low} bytes") } else { format!("is not in {low}..={high} bytes") };
        reader.problem(key, &bytes.to_string(), rule);
    }
    bytes
}

fn log(reader: &mut Reader<'_>) -> Log {
    let level = reader.text("log.level").parse().unwrap_or(tracing::Level::INFO);
    let format = if reader.text("log.format") == "json" { LogFormat::Json } else { LogFormat::Text };
    Log { level, format }
}

/// The file is relative to the catalog directory as every path is, and a word switches it off.
fn audit(reader: &mut Reader<'_>, secrets: &dyn Secrets) -> AuditSettings {
    let file = reader.optional_text("audit.file").filter(|file| file != "off");
    AuditSettings {
        file: file.map(|file| secrets.resolve(&file)),
        writes: reader.bool("audit.writes"),
        values: reader.bool("audit.values"),
        rotate: size_within(reader, "audit.rotate", 4 << 10, u64::MAX),
        keep: reader.count("audit.keep"),
    }
}

/// Whether there is such a store, and whether it can keep a log, is seen when the stores have been read.
fn commit_log(reader: &mut Reader<'_>) -> Option<StoreName> {
    reader.optional_text("commit.log").filter(|log| log != "file").map(|log| StoreName::new(&log))
}

fn roles(table: Option<&toml::Table>, secrets: &dyn Secrets, trust: bool) -> (Roles, Vec<Problem>) {
    let mut roles = Roles::new();
    let mut problems = Vec::new();
    for (name, value) in table.into_iter().flatten() {
        let path = format!("tributary.roles.{name}");
        if let Some(rule) = role_name_rule(name) {
            problems.push(Problem { path: path.clone(), value: String::new(), rule });
        }
        let Some(table) = value.as_table() else {
            problems.push(Problem { path, value: String::new(), rule: "is not a table".to_owned() });
            continue;
        };
        let mut reader = Reader::new(&path, table, ROLE_OPTIONS, secrets);
        let verifier = verifier(&mut reader, trust);
        let superuser = reader.bool("superuser");
        let read_only = reader.bool("read_only");
        roles.insert(name.clone(), Role { name: name.clone(), verifier, superuser, read_only });
        problems.extend(reader.finish());
    }
    (roles, problems)
}

/// Role names may be anything a client can send; only what no client can send, or PostgreSQL keeps for itself, is refused.
fn role_name_rule(name: &str) -> Option<String> {
    if name.is_empty() || name.len() > 63 || name.contains('\0') {
        return Some("is not a name of 1 to 63 bytes".to_owned());
    }
    (name == "public" || name == "none" || name.starts_with("pg_")).then(|| "is a reserved role name".to_owned())
}

/// Without a verifier a role can log in only where nobody is asked for a password.
fn verifier(reader: &mut Reader<'_>, trust: bool) -> Option<Verifier> {
    let Some(secret) = reader.secret("password") else {
        if !trust && !reader.is_set("password") {
            let rule = "is required while auth.trust is off: run `tributary password` to make a verifier";
            reader.problem("password", "", rule.to_owned());
        }
        return None;
    };
    let verifier = Verifier::parse(secret.expose());
    if verifier.is_none() {
        let rule = "is not a SCRAM-SHA-256 verifier; plain text is refused: run `tributary password` to make one";
        reader.problem("password", "(hidden)", rule.to_owned());
    }
    verifier
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::secret::CatalogSecrets;

    const VERIFIER: &str =
        "SCRAM-SHA-256$4096:c2FsdHNhbHQ=$MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=:MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";

    fn read_text(text: &str) -> (Settings, Vec<String>) {
        let table = toml::from_str(text).unwrap();
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("here.pem"), "").unwrap();
        let (settings, problems) = read(&table, &CatalogSecrets::new(directory.path()));
        (settings, problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn defaults_are_those_of_the_reference() {
        let (settings, problems) = read_text(&format!("[roles.ada]\npassword = \"{VERIFIER}\""));
        assert_eq!(problems, Vec::<String>::new());
        assert_eq!(settings.listen, ["127.0.0.1:5455".parse().unwrap()]);
        assert_eq!(settings.http.unwrap().to_string(), "127.0.0.1:8455");
        assert_eq!(settings.database, "tributary");
        assert_eq!(settings.limits.message_bytes, 64 << 20);
        assert_eq!(settings.limits.idle_timeout, None);
        assert_eq!(settings.log, Log { level: tracing::Level::INFO, format: LogFormat::Text });
        let role = &settings.roles["ada"];
        assert!(role.verifier.is_some() && !role.superuser && !role.read_only);
        assert!(settings.audit.file.as_ref().unwrap().ends_with(".state/audit.jsonl"));
        assert_eq!((settings.audit.rotate, settings.audit.keep), (16 << 20, 8));
        assert!(!settings.audit.writes && !settings.audit.values && settings.commit_log.is_none());
        assert_eq!(settings.lock_wait, Some(Duration::from_secs(30)));
        let text = format!("commit.lock_wait = \"0s\"\n[roles.ada]\npassword = \"{VERIFIER}\"");
        assert_eq!(read_text(&text).0.lock_wait, None);
        let text = format!("audit.file = \"off\"\ncommit.log = \"crm\"\n[roles.ada]\npassword = \"{VERIFIER}\"");
        let (settings, _) = read_text(&text);
        assert_eq!((settings.audit.file, settings.commit_log), (None, Some(StoreName::new("crm"))));
    }

    #[test]
    fn each_broken_rule_is_told() {
        let rows = [
            ("listen = \"localhost\"", "tributary.listen: \"localhost\" is not an address such as 127.0.0.1:5455 or [::1]:5455"),
            (
                "database = \"My DB\"",
                "tributary.database: \"My DB\" is not a name of lowercase letters, digits and underscores that starts with a letter",
            ),
            (
                "listen = \"0.0.0.0:1\"\nauth.trust = true",
                "tributary.auth.trust: true is refused while listen is not a loopback address",
            ),
            (
                "http.listen = \"0.0.0.0:1\"",
                "tributary.http.listen: 0.0.0.0:1 is not a loopback address, which needs tls.certificate and http.token",
            ),
            (
                "http.listen = \"[::]:1\"\nhttp.token = \"t\"",
                "tributary.http.listen: [::]:1 is not a loopback address, which needs tls.certificate and http.token",
            ),
            (
                "http.listen = \"0.0.0.0:1\"\ntls = { certificate = \"here.pem\", key = \"here.pem\" }",
                "tributary.http.listen: 0.0.0.0:1 is not a loopback address, which needs tls.certificate and http.token",
            ),
            ("tls.certificate = \"here.pem\"", "tributary.tls.key: is required with tls.certificate"),
            ("tls.key = \"here.pem\"", "tributary.tls.certificate: is required with tls.key"),
            ("tls.required = true", "tributary.tls.required: true needs tls.certificate and tls.key"),
            ("limits.message = \"2GiB\"", "tributary.limits.message: 2147483648 is not in 1024..=1073741824 bytes"),
            ("limits.message = \"x\"", "tributary.limits.message: \"x\" is not a size such as 64KiB, 10MiB or 2GiB"),
            ("limits.startup_timeout = \"0s\"", "tributary.limits.startup_timeout: 0 is not longer than nothing"),
            ("limits.max_connections = 0", "tributary.limits.max_connections: 0 is not in 1..=100000"),
            ("log.level = \"loud\"", "tributary.log.level: \"loud\" is not one of error, warn, info, debug, trace"),
            ("limts.batch_rows = 1", "tributary.limts: is not a known key; perhaps limits"),
            ("[roles.pg_x]\nsuperuser = 3", "tributary.roles.pg_x: is a reserved role name"),
            (
                "[roles.bob]\npassword = \"hunter2\"",
                "tributary.roles.bob.password: (hidden) is not a SCRAM-SHA-256 verifier; plain text is refused: run `tributary password` to make one",
            ),
            (
                "[roles.bob]",
                "tributary.roles.bob.password: is required while auth.trust is off: run `tributary password` to make a verifier",
            ),
        ];
        for (text, expected) in rows {
            let (_, problems) = read_text(text);
            assert!(problems.iter().any(|problem| problem == expected), "{text}: {problems:?}");
            assert!(!problems.iter().any(|problem| problem.contains("hunter2")));
        }
    }

    #[test]
    fn one_mistake_is_told_once() {
        let rows = [
            ("[roles.bob]\npassword = \"hunter2\"", "tributary.roles.bob.password: (hidden) is not a SCRAM-SHA-256 verifier"),
            ("[roles.bob]\npassword = \"${NOT_SET_ANYWHERE}\"", "tributary.roles.bob.password: names the environment variable"),
            ("[roles.bob]\npassword = { file = \"nowhere\" }", "tributary.roles.bob.password: nowhere cannot be read"),
            ("[roles.bob]", "tributary.roles.bob.password: is required"),
            ("roles = 1", "tributary.roles: 1 is not a table"),
            ("listen = \"127.0.0.1:1, 127.0.0.1:1\"\nauth.trust = true\n[roles.a]", "tributary.listen: 127.0.0.1:1 is given twice"),
            (
                "listen = \"127.0.0.1:1\"\nhttp.listen = \"127.0.0.1:1\"\nauth.trust = true\n[roles.a]",
                "tributary.listen: 127.0.0.1:1 is given twice",
            ),
        ];
        for (text, expected) in rows {
            let (_, problems) = read_text(text);
            assert_eq!(problems.len(), 1, "{text}: {problems:?}");
            assert!(problems[0].starts_with(expected), "{text}: {problems:?}");
        }
        let (_, problems) =
            read_text("listen = \"127.0.0.1:0, 127.0.0.1:0\"\nhttp.listen = \"127.0.0.1:0\"\nauth.trust = true\n[roles.a]");
        assert_eq!(problems, Vec::<String>::new());
    }

    #[test]
    fn several_addresses_are_separated_by_commas() {
        let (settings, problems) = read_text("listen = \"127.0.0.1:1, [::1]:2\"\nauth.trust = true\n[roles.ada]");
        assert_eq!(problems, Vec::<String>::new());
        assert_eq!(settings.listen.len(), 2);
    }

    #[test]
    fn every_key_but_the_roles_needs_a_restart() {
        let tls = "tls.certificate = \"here.pem\"\ntls.key = \"here.pem\"";
        let role = format!("[roles.ada]\npassword = \"{VERIFIER}\"");
        let started = read_text(&format!("{tls}\n{role}")).0;
        for spec in OPTIONS.iter().filter(|spec| spec.key != "roles") {
            let key = spec.key;
            let value = match (key, spec.form) {
                ("listen" | "http.listen", _) => "\"127.0.0.1:1\"".to_owned(),
                ("database" | "commit.log" | "audit.file", _) => "\"other\"".to_owned(),
                ("log.level", _) => "\"warn\"".to_owned(),
                ("log.format", _) => "\"json\"".to_owned(),
                ("changes.log", _) => "\"volatile\"".to_owned(),
                (_, Form::Secret) => "\"t\"".to_owned(),
                (_, Form::Bool) => "true".to_owned(),
                (_, Form::Integer(..)) => "17".to_owned(),
                (_, Form::Duration) => "\"7s\"".to_owned(),
                (_, Form::Size) => "\"2MiB\"".to_owned(),
                // Read from another directory, so the paths differ.
                (_, Form::Path) => "\"here.pem\"".to_owned(),
                (_, form) => panic!("{key} of the form {form:?} has no sample"),
            };
            let same = if matches!(key, "tls.certificate" | "tls.key") { "" } else { tls };
            let next = read_text(&format!("{same}\n{key} = {value}\n{role}")).0;
            let told = started.needing_restart(&next);
            assert!(told.contains(&key), "{key}: {told:?}");
        }
        assert_eq!(started.needing_restart(&started.clone()), Vec::<&str>::new());
        let roles = Settings { roles: Roles::new(), ..started.clone() };
        assert_eq!(started.needing_restart(&roles), Vec::<&str>::new());
    }

    #[test]
    fn a_catalog_without_roles_is_refused() {
        let (_, problems) = read_text("");
        assert_eq!(problems, ["tributary.roles: names no role, so nobody could connect"]);
    }

    #[test]
    fn http_can_be_off_or_beyond_loopback_with_tls_and_token() {
        let role = format!("[roles.ada]\npassword = \"{VERIFIER}\"");
        let (settings, problems) = read_text(&format!("http.listen = \"off\"\n{role}"));
        assert!(settings.http.is_none() && problems.is_empty(), "{problems:?}");
        let tls = "tls = { certificate = \"here.pem\", key = \"here.pem\" }";
        let (settings, problems) = read_text(&format!("http = {{ listen = \"0.0.0.0:1\", token = \"t\" }}\n{tls}\n{role}"));
        assert!(settings.http.is_some() && problems.is_empty(), "{problems:?}");
    }
}
