//! Every setting: type, default, whether clients are told of changes, whether results depend on it.

use crate::cache::{Consistency, OnStale};
use crate::federation::generic::PlanMode;
use crate::federation::placement::Level;
use crate::write::keys::KEY_BYTES_MAX;

/// What a setting's value must look like.
#[derive(Debug, Clone, Copy)]
pub enum Form {
    /// Any text.
    Text,
    /// Any text of at most so many bytes.
    Short(usize),
    /// A name for logs and views: printable ASCII, at most 63 bytes; PostgreSQL 15 replaces every other byte by `?`.
    Name,
    /// `on`, `off`, `true`, `false`, `1`, `0`, …
    Bool,
    /// A whole number within bounds.
    Integer(i64, i64),
    /// Milliseconds, or a duration with a unit.
    Milliseconds,
    /// The same, where no text is 0.
    MillisecondsOrNone,
    /// A size with a unit; a bare number is in kilobytes.
    Kilobytes,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// `DateStyle`
    DateStyle,
    /// `TimeZone`
    TimeZone,
    /// A list of identifiers.
    Identifiers,
    /// Only this encoding.
    Utf8,
    /// Cannot be changed.
    ReadOnly,
}

/// One setting.
#[derive(Debug, Clone, Copy)]
pub struct Spec {
    /// Its name as `SHOW ALL` prints it.
    pub name: &'static str,
    /// What values look like.
    pub form: Form,
    /// The value at the start of a session.
    pub default: &'static str,
    /// Whether clients are told of changes by `ParameterStatus`.
    pub reported: bool,
    /// Whether results of queries depend on it; plans are shared between sessions that have the same values of these.
    pub affects_results: bool,
    /// Whether nothing is made anew when it changes: no plan depends on it.
    pub quiet: bool,
    /// One sentence for `SHOW ALL`.
    pub meaning: &'static str,
}

const fn spec(name: &'static str, form: Form, default: &'static str, meaning: &'static str) -> Spec {
    Spec { name, form, default, reported: false, affects_results: false, quiet: false, meaning }
}

const fn reported(spec: Spec) -> Spec {
    Spec { reported: true, ..spec }
}

const fn affecting(spec: Spec) -> Spec {
    Spec { affects_results: true, ..spec }
}

const fn quiet(spec: Spec) -> Spec {
    Spec { quiet: true, ..spec }
}

/// The setting that names a transaction which may be sent twice.
pub const IDEMPOTENCY_KEY: &str = "tributary.idempotency_key";
/// The setting that tells what the latest commit has promised.
pub const LAST_COMMIT: &str = "tributary.last_commit";
/// The setting that says what is done with stores that cannot be committed together.
pub const CROSS_STORE_COMMIT: &str = "tributary.cross_store_commit";
/// The setting that says what a read of a copy must contain.
pub const CONSISTENCY: &str = "tributary.consistency";
/// The setting that says how old what a copy shows may be.
pub const MAX_STALENESS: &str = "tributary.max_staleness";
/// The setting that says what becomes of a read for which no copy is fresh enough.
pub const ON_STALE: &str = "tributary.on_stale";
/// The setting that carries what a session has written and seen to another one. Its value is not kept among the settings.
pub const TOKEN: &str = "tributary.token";
/// What is listed as the value of [`TOKEN`]: no token, so that nobody takes an old one for one of now.
pub const TOKEN_LISTED: &str = "(SHOW tributary.token)";

const ISOLATION: &[&str] = &["read uncommitted", "read committed", "repeatable read", "serializable"];

/// Every setting, in name order of `SHOW ALL`.
pub const SPECS: &[Spec] = &[
    reported(spec("application_name", Form::Name, "", "Name of the client application, for logs and activity views.")),
    affecting(spec("bytea_output", Form::Choice(&["hex", "escape"]), "hex", "Text form of bytea values.")),
    reported(spec("client_encoding", Form::Utf8, "UTF8", "Encoding of the client; only UTF8.")),
    spec(
        "client_min_messages",
        Form::Choice(&["debug5", "debug4", "debug3", "debug2", "debug1", "log", "notice", "warning", "error"]),
        "notice",
        "Accepted for compatibility: notices and warnings are always sent.",
    ),
    affecting(reported(spec(
        "DateStyle",
        Form::DateStyle,
        "ISO, MDY",
        "Text form of dates, and the order in which ambiguous ones are read.",
    ))),
    spec("default_table_access_method", Form::ReadOnly, "heap", "What pg_class.relam says of tables."),
    spec(
        "default_transaction_deferrable",
        Form::Bool,
        "off",
        "Accepted for compatibility: no transaction waits until it may begin.",
    ),
    spec("default_transaction_isolation", Form::Choice(ISOLATION), "read committed", "Isolation of new transactions."),
    reported(spec("default_transaction_read_only", Form::Bool, "off", "Whether new transactions are read-only.")),
    affecting(spec(
        "extra_float_digits",
        Form::Integer(-15, 3),
        "1",
        "Digits of floats beyond the default; 1 and above are shortest exact text.",
    )),
    spec(
        "idle_in_transaction_session_timeout",
        Form::Milliseconds,
        "0",
        "Accepted for compatibility: limits.idle_in_transaction_timeout ends such sessions.",
    ),
    reported(spec("in_hot_standby", Form::ReadOnly, "off", "Whether the server is a standby; never.")),
    reported(spec("integer_datetimes", Form::ReadOnly, "on", "Datetimes are 64-bit integers.")),
    affecting(reported(spec(
        "IntervalStyle",
        Form::Choice(&["postgres", "postgres_verbose", "sql_standard", "iso_8601"]),
        "postgres",
        "Text form of intervals.",
    ))),
    reported(spec("is_superuser", Form::ReadOnly, "off", "Whether the session's role is a superuser.")),
    spec("jit", Form::Bool, "off", "Accepted for compatibility; there is no JIT."),
    spec("lc_collate", Form::ReadOnly, "C", "Text compares by bytes."),
    spec("lc_ctype", Form::ReadOnly, "C.UTF-8", "What a letter is, and its other case."),
    spec("lc_messages", Form::Text, "C", "Language of messages; only English."),
    spec("lc_monetary", Form::Text, "C", "Form of money values; accepted for compatibility."),
    spec("lc_numeric", Form::Text, "C", "Form of numbers; accepted for compatibility."),
    spec("lc_time", Form::Text, "C", "Form of dates; accepted for compatibility."),
    spec(
        "lock_timeout",
        Form::Milliseconds,
        "0",
        "Ends statements that write or lock rows and wait longer for a lock of their store; 0 leaves it to the stores and to commit.lock_wait.",
    ),
    spec("max_identifier_length", Form::ReadOnly, "63", "Longest identifier."),
    spec("max_index_keys", Form::ReadOnly, "32", "Most columns of an index."),
    spec(
        "plan_cache_mode",
        Form::Choice(PlanMode::WORDS),
        "auto",
        "Whether statements are optimised for the values of their parameters, once for all values, or whichever has proved right.",
    ),
    spec("role", Form::Text, "none", "The role that SET ROLE has taken; only the session's own."),
    spec("row_security", Form::Bool, "on", "Accepted for compatibility."),
    affecting(spec(
        "search_path",
        Form::Identifiers,
        "public, \"$stores\"",
        "Schemas that unqualified names are looked up in; \"$stores\" stands for those of all stores.",
    )),
    reported(spec("server_encoding", Form::ReadOnly, "UTF8", "Encoding of the server.")),
    reported(spec("server_version", Form::ReadOnly, crate::SERVER_VERSION, "The PostgreSQL version whose behaviour is followed.")),
    spec("server_version_num", Form::ReadOnly, crate::SERVER_VERSION_NUM, "The same as a number."),
    reported(spec("session_authorization", Form::ReadOnly, "", "The session's role.")),
    reported(spec("standard_conforming_strings", Form::Choice(&["on"]), "on", "Backslashes in '…' are plain characters; only on.")),
    spec("statement_timeout", Form::Milliseconds, "0", "Ends statements that run longer; 0 never."),
    spec("synchronous_commit", Form::Text, "on", "Accepted for compatibility."),
    affecting(reported(spec("TimeZone", Form::TimeZone, "UTC", "Zone in which timestamps with time zone are shown and read."))),
    spec("transaction_deferrable", Form::Bool, "off", "Whether the current transaction may wait until it begins; it never does."),
    spec("transaction_isolation", Form::Choice(ISOLATION), "read committed", "Isolation of the current transaction."),
    spec("transaction_read_only", Form::Bool, "off", "Whether the current transaction is read-only."),
    spec(
        CONSISTENCY,
        Form::Choice(&Consistency::WORDS),
        "session",
        "What reads of cached tables must contain: what their store has committed by now (strong), what the session has written and \
         seen (session), the same, at most max_staleness old (bounded), or any state (eventual); store reads no copy.",
    ),
    quiet(spec(
        CROSS_STORE_COMMIT,
        Form::Choice(&["atomic", "saga"]),
        "atomic",
        "What a commit does with stores that cannot be committed together: refuse, or commit them one after the other and undo what was.",
    )),
    spec(
        "tributary.fast_path",
        Form::Bool,
        "on",
        "Whether statements that one scan of one table answers go to their store without being planned.",
    ),
    quiet(spec(
        IDEMPOTENCY_KEY,
        Form::Short(KEY_BYTES_MAX),
        "",
        "Names the current transaction, or the next one: sent again under the same name it is answered as before and changes nothing.",
    )),
    quiet(spec(LAST_COMMIT, Form::ReadOnly, "none", "What the latest commit of the session has promised, and for which stores.")),
    quiet(spec(MAX_STALENESS, Form::MillisecondsOrNone, "0", "How old what a copy of a table shows may be; 0 sets no bound.")),
    quiet(spec(
        ON_STALE,
        Form::Choice(&OnStale::WORDS),
        "store",
        "What a read does for which no copy is fresh enough: read the store, wait until statement_timeout, or fail with 55000.",
    )),
    spec("tributary.plan_cache", Form::Bool, "on", "Whether statements use the plans that sessions share, and add theirs."),
    affecting(spec(
        "tributary.pushdown",
        Form::Choice(Level::WORDS),
        "full",
        "What stores are asked for: full lets them run parts of plans, scans filters and limits of single tables, none columns only.",
    )),
    quiet(spec(
        TOKEN,
        Form::ReadOnly,
        TOKEN_LISTED,
        "SHOW gives what later reads of the session must contain; SET adds such a token of another session, and '' forgets all of it.",
    )),
    spec("work_mem", Form::Kilobytes, "4MB", "Accepted for compatibility: limits.query_memory bounds all queries together."),
    spec("xmloption", Form::Choice(&["content", "document"]), "content", "Accepted for compatibility."),
];

/// Finds a setting by any spelling of its name.
pub fn find(name: &str) -> Option<&'static Spec> {
    SPECS.iter().find(|spec| spec.name.eq_ignore_ascii_case(name))
}
