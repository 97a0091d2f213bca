//! Driver errors in the words of the contract.
//!
//! The driver's own `Display` prints the topology, the server's whole reply and, for a malformed address, parts of the
//! connection string. None of that leaves this file: network failures are told in our own words, and of a server's answer
//! only its code and message are kept.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mongodb::bson::Document;
use mongodb::error::{Error, ErrorKind, TRANSIENT_TRANSACTION_ERROR, WriteFailure};

use crate::error::{Site, sqlstate};
use crate::stores::StoreError;

/// What the server has ended by itself, because it took longer than it was told (`maxTimeMS`).
pub(super) const COMMAND: &str = "a command";

/// Whose errors these are, and which deadline the failed call had.
#[derive(Debug, Clone)]
pub(super) struct Context {
    /// The store's name.
    pub(super) store: String,
    /// The longest one command may take.
    pub(super) query_timeout: Duration,
    /// The longest wait for a usable server.
    pub(super) selection_timeout: Duration,
    /// How often a connection was lost, or no server found.
    pub(super) losses: Arc<AtomicU64>,
}

/// What a server said: its error code and message.
struct Answer<'a> {
    code: i32,
    message: &'a str,
}

impl Context {
    /// Translates an error of the driver, and counts it where the server may be gone.
    pub(super) fn translate(&self, error: &Error) -> StoreError {
        let translated = self.translated(error);
        if matches!(translated, StoreError::ConnectionLost { .. } | StoreError::Unreachable { .. }) {
            self.losses.fetch_add(1, Ordering::AcqRel);
        }
        translated
    }

    /// How many errors said so far that the server may be gone.
    pub(super) fn losses(&self) -> u64 {
        self.losses.load(Ordering::Acquire)
    }

    fn translated(&self, error: &Error) -> StoreError {
        if let Some(answer) = answer_of(error) {
            return match self.remote(&answer) {
                StoreError::Remote { store, sqlstate, message, detail, .. }
                    if sqlstate == sqlstate::FDW_ERROR && error.contains_label(TRANSIENT_TRANSACTION_ERROR) =>
                {
                    // The server advises to run the transaction again, whatever the code.
                    let sqlstate = sqlstate::SERIALIZATION_FAILURE.to_owned();
                    StoreError::Remote { store, sqlstate, message, detail, constraint: None, site: None }
                }
                told => told,
            };
        }
        match error.kind.as_ref() {
            ErrorKind::Authentication { .. } => self.unreachable("the server refused the user name or password"),
            ErrorKind::ServerSelection { message, .. } => self.unreachable(&self.selection_reason(message)),
            ErrorKind::Io(cause) if cause.kind() == std::io::ErrorKind::TimedOut => self.lost("the server did not answer in time"),
            ErrorKind::Io(cause) => self.lost(&format!("the connection failed: {}", cause.kind())),
            ErrorKind::ConnectionPoolCleared { .. } => self.lost("another operation found the server gone"),
            ErrorKind::DnsResolve { .. } => self.unreachable("the name of the deployment cannot be resolved"),
            ErrorKind::InvalidTlsConfig { .. } => self.unreachable("the TLS files cannot be used"),
            ErrorKind::InvalidArgument { .. } => self.unreachable("the connection options are not valid together"),
            ErrorKind::Shutdown => self.unreachable("the store is closed"),
            ErrorKind::SessionsNotSupported | ErrorKind::IncompatibleServer { .. } => {
                StoreError::Unsupported { store: self.store.clone(), feature: "sessions on this server version" }
            }
            ErrorKind::Transaction { .. } => {
                StoreError::Unsupported { store: self.store.clone(), feature: "transactions on this deployment" }
            }
            _ => self.malformed(),
        }
    }

    /// What a reply to a command that writes says of documents that it refused; the first of them counts, since no more are tried.
    pub(super) fn refused(&self, reply: &Document) -> Option<StoreError> {
        let refusals = reply.get_array("writeErrors").ok()?;
        let first = refusals.first()?.as_document()?;
        let code = first.get_i32("code").unwrap_or_default();
        Some(self.remote(&Answer { code, message: first.get_str("errmsg").unwrap_or_default() }))
    }

    /// The error of a command that commits by itself, or of a commit, whose answer was lost or is that not enough members have it.
    /// What never reached a server is no such error.
    pub(super) fn unknown(&self, error: StoreError) -> StoreError {
        let reason = match error {
            StoreError::ConnectionLost { reason, .. } => reason,
            StoreError::Deadline { .. } => "The server did not answer in time.".to_owned(),
            other => return other,
        };
        self.doubt(reason)
    }

    /// The error of a commit that is not sent again. `is_doubtful` says that one was sent before it, whose outcome nobody told.
    pub(super) fn of_commit(&self, error: &Error, is_doubtful: bool) -> StoreError {
        // The server has it, which is all that such an error says for sure.
        let is_held = matches!(error.kind.as_ref(), ErrorKind::Write(WriteFailure::WriteConcernError(_)));
        match self.unknown(self.translate(error)) {
            StoreError::Remote { message: reason, .. } if is_held => self.doubt(reason),
            StoreError::Unreachable { reason, .. } if is_doubtful => self.doubt(reason),
            told => told,
        }
    }

    fn doubt(&self, reason: String) -> StoreError {
        StoreError::OutcomeUnknown { store: self.store.clone(), reason }
    }

    /// The error of a wait that passed its deadline on our side.
    pub(super) fn deadline(&self, waiting_for: &'static str) -> StoreError {
        StoreError::Deadline { store: self.store.clone(), limit_ms: millis(self.query_timeout), waiting_for }
    }

    /// The error of a reply that is not what the protocol promises.
    pub(super) fn malformed(&self) -> StoreError {
        self.lost("the server's answer could not be understood")
    }

    /// The store cannot be used for `reason`.
    pub(super) fn unreachable(&self, reason: &str) -> StoreError {
        StoreError::Unreachable { store: self.store.clone(), reason: sentence(reason) }
    }

    fn lost(&self, reason: &str) -> StoreError {
        StoreError::ConnectionLost { store: self.store.clone(), reason: sentence(reason) }
    }

    /// The driver's message lists every server with its last error; only the kind of trouble is taken from it.
    fn selection_reason(&self, message: &str) -> String {
        let trouble = [
            ("Authentication failed", "the server refused the user name or password"),
            ("SCRAM failure", "the server refused the user name or password"),
            ("Connection refused", "the connection was refused"),
            ("certificate", "the TLS certificate was not accepted"),
            ("failed to lookup address", "the host name cannot be resolved"),
            ("set name", "the replica set has another name"),
        ];
        let found = trouble.iter().find(|(sign, _)| message.contains(sign)).map(|(_, words)| format!(": {words}"));
        format!("no usable server was found within {} ms{}", millis(self.selection_timeout), found.unwrap_or_default())
    }

    /// Server error codes: `src/mongo/base/error_codes.yml` of the server, listed in its manual under "Error Codes".
    fn remote(&self, answer: &Answer<'_>) -> StoreError {
        // `ConversionFailure`: how pipelines of ours say that a value is an error.
        if let (241, Some(raised)) = (answer.code, super::fragment::raise::raised(&self.store, answer.message)) {
            return raised;
        }
        match answer.code {
            18 => self.unreachable("the server refused the user name or password"),
            13 if answer.message.contains("requires authentication") => {
                self.unreachable("the server asks for a user name and password")
            }
            50 | 262 => self.deadline(COMMAND),
            6 | 7 | 89 | 91 | 189 | 9001 | 10058 | 10107 | 11600 | 11602 | 13435 | 13436 => {
                self.lost("the server is shutting down or changing its role")
            }
            43 => self.lost("the server no longer knows the cursor"),
            26 => StoreError::SchemaChanged {
                store: self.store.clone(),
                table: String::new(),
                difference: "The collection does not exist.".to_owned(),
            },
            code => StoreError::Remote {
                store: self.store.clone(),
                sqlstate: sqlstate_of(code).to_owned(),
                message: if answer.message.is_empty() { format!("error code {code}") } else { answer.message.to_owned() },
                detail: Some(format!("The server's error code is {code}.")),
                constraint: (code == 11000 || code == 11001).then(|| index_named_in(answer.message)).flatten(),
                site: (code == 11000 || code == 11001).then(|| collection_named_in(answer.message)).flatten().map(Box::new),
            },
        }
    }
}

/// Whether the server refused to read a snapshot from this collection (`SnapshotUnavailable`: capped collections; `InvalidOptions`
/// and `NotAReplicaSet` from standalone servers). Such a scan is run again without one.
pub(super) fn is_snapshot_refusal(error: &Error) -> bool {
    answer_of(error).is_some_and(|answer| matches!(answer.code, 246 | 72 | 123))
}

fn answer_of(error: &Error) -> Option<Answer<'_>> {
    match error.kind.as_ref() {
        ErrorKind::Command(answer) => Some(Answer { code: answer.code, message: &answer.message }),
        ErrorKind::Write(WriteFailure::WriteError(answer)) => Some(Answer { code: answer.code, message: &answer.message }),
        ErrorKind::Write(WriteFailure::WriteConcernError(answer)) => Some(Answer { code: answer.code, message: &answer.message }),
        ErrorKind::Authentication { .. } => None,
        _ => None,
    }
}

fn sqlstate_of(code: i32) -> &'static str {
    match code {
        13 => sqlstate::INSUFFICIENT_PRIVILEGE,
        112 | 225 | 244 | 246 | 251 | 267 => sqlstate::SERIALIZATION_FAILURE,
        // Postgres has a class of its own for this, 72000 snapshot_too_old.
        239 => "72000",
        237 | 11601 => sqlstate::QUERY_CANCELED,
        11000 | 11001 => sqlstate::UNIQUE_VIOLATION,
        121 => "23514",
        27 => sqlstate::UNDEFINED_OBJECT,
        48 | 68 | 85 | 86 => sqlstate::DUPLICATE_TABLE,
        146 | 292 | 16819 | 16820 => sqlstate::OUT_OF_MEMORY,
        257 | 10334 | 17280 | 17419 | 17420 => sqlstate::PROGRAM_LIMIT_EXCEEDED,
        // `PathNotViable`: a field was to be set inside of what is no document, `null` among others.
        28 => sqlstate::INVALID_TEXT_REPRESENTATION,
        20 | 115 | 166 | 263 => sqlstate::FEATURE_NOT_SUPPORTED,
        _ => sqlstate::FDW_ERROR,
    }
}

/// The index in `E11000 duplicate key error collection: shop.orders index: sku_1 collation: { … } dup key: { … }`; most have no collation.
fn index_named_in(message: &str) -> Option<String> {
    let (_, rest) = message.split_once(" index: ")?;
    let (name, _) = rest.split_once(" dup key")?;
    Some(name.split_once(" collation: {").map_or(name, |(name, _)| name).to_owned())
}

/// The collection in the same.
fn collection_named_in(message: &str) -> Option<Site> {
    let (_, rest) = message.split_once(" collection: ")?;
    let (name, _) = rest.split_once(" index: ")?;
    let (database, collection) = name.split_once('.')?;
    Some(Site { schema: Some(database.to_owned()), table: Some(collection.to_owned()), ..Site::default() })
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn sentence(clause: &str) -> String {
    let mut letters = clause.chars();
    let first = letters.next().map(|letter| letter.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", letters.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Diagnose;

    fn context() -> Context {
        Context {
            store: "crm".to_owned(),
            query_timeout: Duration::from_secs(60),
            selection_timeout: Duration::from_millis(500),
            losses: Arc::default(),
        }
    }

    #[test]
    fn codes_become_sqlstates() {
        let rows = [
            (18, "Authentication failed.", "08001"),
            (13, "command find requires authentication", "08001"),
            (13, "not authorized on shop to execute command", "42501"),
            (50, "operation exceeded time limit", "08006"),
            (11600, "interrupted at shutdown", "08006"),
            (112, "Write conflict", "40001"),
            (251, "Transaction 1 has been aborted", "40001"),
            (239, "Read timestamp is older", "72000"),
            (237, "cursor killed", "57014"),
            (2, "bad value", "HV000"),
        ];
        for (code, message, expected) in rows {
            assert_eq!(context().remote(&Answer { code, message }).sqlstate(), expected, "{code} {message}");
        }
    }

    #[test]
    fn a_duplicate_key_names_its_index() {
        let message = "E11000 duplicate key error collection: shop.orders index: sku_1 dup key: { sku: \"a\" }";
        let error = context().remote(&Answer { code: 11000, message });
        assert_eq!(error.sqlstate(), "23505");
        assert_eq!(error.constraint().as_deref(), Some("sku_1"));
        assert_eq!(error.site().unwrap().table.as_deref(), Some("orders"));
        let folded = "E11000 duplicate key error collection: shop.a.b index: by_name collation: { locale: \"en\" } dup key: { name: \"0x57\" }";
        let error = context().remote(&Answer { code: 11000, message: folded });
        assert_eq!(error.constraint().as_deref(), Some("by_name"));
        assert_eq!(error.site().unwrap().table.as_deref(), Some("a.b"));
        assert!(context().remote(&Answer { code: 11000, message: "E11000" }).site().is_none());
    }

    #[test]
    fn the_first_refused_document_counts() {
        use mongodb::bson::doc;

        let message = "E11000 duplicate key error collection: shop.orders index: sku_1 dup key: { sku: \"a\" }";
        let reply = doc! { "n": 1, "writeErrors": [{ "index": 1, "code": 11000, "errmsg": message }], "ok": 1.0 };
        let error = context().refused(&reply).unwrap();
        assert_eq!((error.sqlstate(), error.constraint().as_deref()), ("23505", Some("sku_1")));
        assert!(context().refused(&doc! { "n": 1, "ok": 1.0 }).is_none());
        for (error, expected) in [
            (context().lost("gone"), "08007"),
            (context().deadline("a write"), "08007"),
            (context().unreachable("nobody"), "08001"),
            (StoreError::Cancelled, "57014"),
        ] {
            assert_eq!(context().unknown(error).sqlstate(), expected);
        }
    }

    #[test]
    fn a_commit_has_failed_only_where_that_is_sure() {
        let held = || {
            let told = serde_json::json!({ "code": 100, "codeName": "UnsatisfiableWriteConcern", "errmsg": "Not enough members" });
            ErrorKind::Write(WriteFailure::WriteConcernError(serde_json::from_value(told).unwrap()))
        };
        let lost = Error::from(std::io::Error::from(std::io::ErrorKind::ConnectionReset));
        let rows = [
            (Error::from(held()), false, "08007"),
            (lost, false, "08007"),
            (Error::from(ErrorKind::Shutdown), false, "08001"),
            (Error::from(ErrorKind::Shutdown), true, "08007"),
        ];
        for (error, is_doubtful, expected) in rows {
            assert_eq!(context().of_commit(&error, is_doubtful).sqlstate(), expected, "{error}");
        }
    }

    #[test]
    fn connection_text_stays_inside() {
        let driver = mongodb::options::ConnectionString::parse("mongodb://root:hunter2@h:notaport/x").unwrap_err();
        let told = context().translate(&driver);
        let everything = format!("{told} {told:?} {:?} {:?}", told.detail(), told.hint());
        assert!(!everything.contains("hunter2") && !everything.contains("notaport"), "{everything}");
        let reason = context().selection_reason("Servers: [{ Address: secret-host:1, Error: Connection refused }]");
        assert_eq!(reason, "no usable server was found within 500 ms: the connection was refused");
    }
}
