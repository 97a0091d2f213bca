//! What an error must be able to say to a client, and the SQLSTATE constants it says it with.
//!
//! Each room has its own error enum and implements [`Diagnose`] for it; only `wire/error.rs` turns a diagnosis into an
//! `ErrorResponse`. Errors that travel through DataFusion are wrapped as `External` and found again by [`find_diagnosis`].

use std::error::Error;

use datafusion::error::DataFusionError;

/// What a client is told about an error (PostgreSQL manual, "Error and Notice Message Fields").
///
/// `Display` of the error itself is the primary message: lowercase, no full stop, never its causes, never a secret.
pub trait Diagnose: Error + Send + Sync {
    /// The five-character SQLSTATE.
    fn sqlstate(&self) -> &str;

    /// More facts, as full sentences.
    fn detail(&self) -> Option<String> {
        None
    }

    /// What the reader can do about it, as full sentences.
    fn hint(&self) -> Option<String> {
        None
    }

    /// Where in the statement text the error lies, as a character index that starts at 1.
    fn position(&self) -> Option<usize> {
        None
    }

    /// The constraint a store named when it refused a row.
    fn constraint(&self) -> Option<String> {
        None
    }

    /// Where in a store the row or value was to go that it refused.
    fn site(&self) -> Option<Site> {
        None
    }

    /// Where in what the client has sent the error lies, as PostgreSQL says it.
    fn context(&self) -> Option<String> {
        None
    }

    /// The bound of ours that refused the work, where one did; metrics count refusals by it.
    fn limit(&self) -> Option<Limit> {
        None
    }

    /// Whether the same statement may succeed when it is sent again.
    fn retry(&self) -> Retry {
        Retry::Never
    }
}

/// Whether trying again can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// The same input gives the same error.
    Never,
    /// A passing fault: the statement may be sent again.
    Later,
}

/// The bounds that refuse work, as metrics name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// `limits.max_connections`
    Sessions,
    /// `limits.max_handshakes`, and the share of it that one address may take.
    Logins,
    /// `limits.message`
    Message,
    /// Prepared statements of a session, by number or bytes.
    Statements,
    /// Portals of a session, by number or bytes.
    Portals,
    /// Savepoints and changes of settings of a transaction.
    Transaction,
    /// How deep and how long a statement may be.
    Complexity,
    /// `limits.query_memory`
    QueryMemory,
    /// `limits.spill`
    Spill,
}

impl Limit {
    /// Every limit with its name.
    pub const ALL: [(Self, &str); 9] = [
        (Self::Sessions, "sessions"),
        (Self::Logins, "logins"),
        (Self::Message, "message"),
        (Self::Statements, "statements"),
        (Self::Portals, "portals"),
        (Self::Transaction, "transaction"),
        (Self::Complexity, "complexity"),
        (Self::QueryMemory, "query_memory"),
        (Self::Spill, "spill"),
    ];
}

/// A clause as a sentence. A key of a file, such as `changes.tables`, is spelled as it is there, also at its beginning.
pub fn sentence(clause: &str) -> String {
    let word = clause.split(' ').next().unwrap_or_default();
    if word.contains(['.', '_']) {
        return format!("{clause}.");
    }
    let mut letters = clause.chars();
    let first: String = letters.next().map(|first| first.to_uppercase().collect()).unwrap_or_default();
    format!("{first}{}.", letters.as_str())
}

/// The table, column and row that an error is about, as far as they are known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Site {
    /// The store that `schema` is a name of; `None` for a name that clients know.
    pub store: Option<String>,
    /// The schema or database of the table.
    pub schema: Option<String>,
    /// The table.
    pub table: Option<String>,
    /// The column.
    pub column: Option<String>,
    /// Which of the rows that the store was given, from 0.
    pub row: Option<u64>,
}

/// A diagnosis that owns its text: the form in which errors cross DataFusion's and Arrow's own error types.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Diagnosis {
    /// The five-character SQLSTATE.
    pub sqlstate: String,
    /// The primary message.
    pub message: String,
    /// More facts.
    pub detail: Option<String>,
    /// Advice.
    pub hint: Option<String>,
    /// A character index into the statement that starts at 1.
    pub position: Option<usize>,
    /// The constraint a store named.
    pub constraint: Option<String>,
    /// The table and column that it is about.
    pub site: Option<Box<Site>>,
    /// Where in what the client has sent the error lies.
    pub context: Option<String>,
    /// The bound of ours that refused the work.
    pub limit: Option<Limit>,
}

impl Diagnosis {
    /// A diagnosis with a code and a message and nothing else.
    pub fn new(sqlstate: &str, message: impl Into<String>) -> Self {
        Self {
            sqlstate: sqlstate.to_owned(),
            message: message.into(),
            detail: None,
            hint: None,
            position: None,
            constraint: None,
            site: None,
            context: None,
            limit: None,
        }
    }

    /// The same diagnosis with more facts.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// The same diagnosis with advice.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same diagnosis with a place in the statement (first character is 1).
    #[must_use]
    pub fn with_position(mut self, position: Option<usize>) -> Self {
        self.position = position;
        self
    }

    /// The same diagnosis with the table and column that it is about.
    #[must_use]
    pub fn with_site(mut self, site: Site) -> Self {
        self.site = Some(Box::new(site));
        self
    }

    /// The same diagnosis with where it lies in what the client has sent, unless that is known more exactly.
    #[must_use]
    pub fn with_context(mut self, context: String) -> Self {
        self.context.get_or_insert(context);
        self
    }

    /// The same diagnosis as the answer of a bound.
    #[must_use]
    pub fn at(mut self, limit: Limit) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Copies what any room's error says of itself.
    pub fn of(error: &dyn Diagnose) -> Self {
        Self {
            sqlstate: error.sqlstate().to_owned(),
            message: error.to_string(),
            detail: error.detail(),
            hint: error.hint(),
            position: error.position(),
            constraint: error.constraint(),
            site: error.site().map(Box::new),
            context: error.context(),
            limit: error.limit(),
        }
    }
}

impl Diagnose for Diagnosis {
    fn sqlstate(&self) -> &str {
        &self.sqlstate
    }

    fn detail(&self) -> Option<String> {
        self.detail.clone()
    }

    fn hint(&self) -> Option<String> {
        self.hint.clone()
    }

    fn position(&self) -> Option<usize> {
        self.position
    }

    fn constraint(&self) -> Option<String> {
        self.constraint.clone()
    }

    fn site(&self) -> Option<Site> {
        self.site.as_deref().cloned()
    }

    fn context(&self) -> Option<String> {
        self.context.clone()
    }

    fn limit(&self) -> Option<Limit> {
        self.limit
    }
}

impl From<Diagnosis> for DataFusionError {
    fn from(diagnosis: Diagnosis) -> Self {
        DataFusionError::External(Box::new(diagnosis))
    }
}

/// Walks an error's causes to the first [`Diagnosis`]: `DataFusionError::find_root` stops at DataFusion's own error and
/// never reaches our payload (`style.md` §4, Errors).
pub fn find_diagnosis<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Diagnosis> {
    let mut current = Some(error);
    while let Some(cause) = current {
        if let Some(diagnosis) = cause.downcast_ref::<Diagnosis>() {
            return Some(diagnosis);
        }
        current = match cause.downcast_ref::<DataFusionError>() {
            Some(inner) => inner_cause(inner),
            None => cause.source(),
        };
    }
    None
}

fn inner_cause(error: &DataFusionError) -> Option<&(dyn Error + 'static)> {
    match error {
        DataFusionError::External(inner) => Some(inner.as_ref()),
        DataFusionError::Shared(inner) => Some(inner.as_ref()),
        DataFusionError::Collection(all) => all.first().map(|first| first as &(dyn Error + 'static)),
        other => other.source(),
    }
}

/// SQLSTATE codes by their PostgreSQL condition names (manual, appendix A).
pub mod sqlstate {
    /// 01000
    pub const WARNING: &str = "01000";
    /// 08000
    pub const CONNECTION_EXCEPTION: &str = "08000";
    /// 08001: a store cannot be reached.
    pub const UNABLE_TO_CONNECT: &str = "08001";
    /// 08006: a connection to a store broke.
    pub const CONNECTION_FAILURE: &str = "08006";
    /// 08007: nobody knows whether the store has committed.
    pub const TRANSACTION_RESOLUTION_UNKNOWN: &str = "08007";
    /// 08P01
    pub const PROTOCOL_VIOLATION: &str = "08P01";
    /// 0A000
    pub const FEATURE_NOT_SUPPORTED: &str = "0A000";
    /// 21000
    pub const CARDINALITY_VIOLATION: &str = "21000";
    /// 22000
    pub const DATA_EXCEPTION: &str = "22000";
    /// 22001
    pub const STRING_DATA_RIGHT_TRUNCATION: &str = "22001";
    /// 22003
    pub const NUMERIC_VALUE_OUT_OF_RANGE: &str = "22003";
    /// 22007
    pub const INVALID_DATETIME_FORMAT: &str = "22007";
    /// 22008
    pub const DATETIME_FIELD_OVERFLOW: &str = "22008";
    /// 22012
    pub const DIVISION_BY_ZERO: &str = "22012";
    /// 22021
    pub const CHARACTER_NOT_IN_REPERTOIRE: &str = "22021";
    /// 22023
    pub const INVALID_PARAMETER_VALUE: &str = "22023";
    /// 22025
    pub const INVALID_ESCAPE_SEQUENCE: &str = "22025";
    /// 22P02
    pub const INVALID_TEXT_REPRESENTATION: &str = "22P02";
    /// 22P03
    pub const INVALID_BINARY_REPRESENTATION: &str = "22P03";
    /// 22P04
    pub const BAD_COPY_FILE_FORMAT: &str = "22P04";
    /// 23000
    pub const INTEGRITY_CONSTRAINT_VIOLATION: &str = "23000";
    /// 23502
    pub const NOT_NULL_VIOLATION: &str = "23502";
    /// 23503
    pub const FOREIGN_KEY_VIOLATION: &str = "23503";
    /// 23505
    pub const UNIQUE_VIOLATION: &str = "23505";
    /// 23514
    pub const CHECK_VIOLATION: &str = "23514";
    /// 24000
    pub const INVALID_CURSOR_STATE: &str = "24000";
    /// 25001
    pub const ACTIVE_SQL_TRANSACTION: &str = "25001";
    /// 25006
    pub const READ_ONLY_SQL_TRANSACTION: &str = "25006";
    /// 25P01
    pub const NO_ACTIVE_SQL_TRANSACTION: &str = "25P01";
    /// 25P03
    pub const IDLE_IN_TRANSACTION_SESSION_TIMEOUT: &str = "25P03";
    /// 25P02
    pub const IN_FAILED_SQL_TRANSACTION: &str = "25P02";
    /// 26000
    pub const INVALID_SQL_STATEMENT_NAME: &str = "26000";
    /// 28000
    pub const INVALID_AUTHORIZATION: &str = "28000";
    /// 2BP01
    pub const DEPENDENT_OBJECTS_STILL_EXIST: &str = "2BP01";
    /// 28P01
    pub const INVALID_PASSWORD: &str = "28P01";
    /// 34000
    pub const INVALID_CURSOR_NAME: &str = "34000";
    /// 3D000
    pub const INVALID_CATALOG_NAME: &str = "3D000";
    /// 3F000
    pub const INVALID_SCHEMA_NAME: &str = "3F000";
    /// 40001
    pub const SERIALIZATION_FAILURE: &str = "40001";
    /// 40P01
    pub const DEADLOCK_DETECTED: &str = "40P01";
    /// 42501
    pub const INSUFFICIENT_PRIVILEGE: &str = "42501";
    /// 428C9
    pub const GENERATED_ALWAYS: &str = "428C9";
    /// 42601
    pub const SYNTAX_ERROR: &str = "42601";
    /// 42602
    pub const INVALID_NAME: &str = "42602";
    /// A name was longer than names are, and a shorter one stands for it.
    pub const NAME_TOO_LONG: &str = "42622";
    /// 42701
    pub const DUPLICATE_COLUMN: &str = "42701";
    /// 42702
    pub const AMBIGUOUS_COLUMN: &str = "42702";
    /// 42703
    pub const UNDEFINED_COLUMN: &str = "42703";
    /// 42704
    pub const UNDEFINED_OBJECT: &str = "42704";
    /// 42710
    pub const DUPLICATE_OBJECT: &str = "42710";
    /// 42803
    pub const GROUPING_ERROR: &str = "42803";
    /// 42804
    pub const DATATYPE_MISMATCH: &str = "42804";
    /// 42809
    pub const WRONG_OBJECT_TYPE: &str = "42809";
    /// 42830
    pub const INVALID_FOREIGN_KEY: &str = "42830";
    /// 42846
    pub const CANNOT_COERCE: &str = "42846";
    /// 42883
    pub const UNDEFINED_FUNCTION: &str = "42883";
    /// 42P01
    pub const UNDEFINED_TABLE: &str = "42P01";
    /// 42P02
    pub const UNDEFINED_PARAMETER: &str = "42P02";
    /// 42P03
    pub const DUPLICATE_CURSOR: &str = "42P03";
    /// 42P05
    pub const DUPLICATE_PREPARED_STATEMENT: &str = "42P05";
    /// 42P07
    pub const DUPLICATE_TABLE: &str = "42P07";
    /// 42P10
    pub const INVALID_COLUMN_REFERENCE: &str = "42P10";
    /// 42P16
    pub const INVALID_TABLE_DEFINITION: &str = "42P16";
    /// 42P17
    pub const INVALID_OBJECT_DEFINITION: &str = "42P17";
    /// 42P18
    pub const INDETERMINATE_DATATYPE: &str = "42P18";
    /// 42P20
    pub const WINDOWING_ERROR: &str = "42P20";
    /// 44000
    pub const WITH_CHECK_OPTION_VIOLATION: &str = "44000";
    /// 53100
    pub const DISK_FULL: &str = "53100";
    /// 53200
    pub const OUT_OF_MEMORY: &str = "53200";
    /// 53300
    pub const TOO_MANY_CONNECTIONS: &str = "53300";
    /// 53400
    pub const CONFIGURATION_LIMIT_EXCEEDED: &str = "53400";
    /// 54000
    pub const PROGRAM_LIMIT_EXCEEDED: &str = "54000";
    /// 54001
    pub const STATEMENT_TOO_COMPLEX: &str = "54001";
    /// 54011
    pub const TOO_MANY_COLUMNS: &str = "54011";
    /// 55000
    pub const OBJECT_NOT_IN_PREREQUISITE_STATE: &str = "55000";
    /// 55006
    pub const OBJECT_IN_USE: &str = "55006";
    /// 55P02
    pub const CANT_CHANGE_RUNTIME_PARAM: &str = "55P02";
    /// 55P03
    pub const LOCK_NOT_AVAILABLE: &str = "55P03";
    /// 57014
    pub const QUERY_CANCELED: &str = "57014";
    /// 57P01
    pub const ADMIN_SHUTDOWN: &str = "57P01";
    /// 57P03
    pub const CANNOT_CONNECT_NOW: &str = "57P03";
    /// 57P05
    pub const IDLE_SESSION_TIMEOUT: &str = "57P05";
    /// 58000
    pub const SYSTEM_ERROR: &str = "58000";
    /// 58030
    pub const IO_ERROR: &str = "58030";
    /// F0000
    pub const CONFIG_FILE_ERROR: &str = "F0000";
    /// 72000
    pub const SNAPSHOT_TOO_OLD: &str = "72000";
    /// HV000: a store answered something that does not fit its own schema.
    pub const FDW_ERROR: &str = "HV000";
    /// XX000
    pub const INTERNAL_ERROR: &str = "XX000";
    /// XX001
    pub const DATA_CORRUPTED: &str = "XX001";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clauses_become_sentences_and_keys_stay_as_they_are() {
        assert_eq!(sentence("it has no key"), "It has no key.");
        assert_eq!(sentence("\u{e4}hnlich"), "\u{c4}hnlich.");
        assert_eq!(sentence("changes.tables leaves it out"), "changes.tables leaves it out.");
        assert_eq!(sentence("gtid_strict_mode is off"), "gtid_strict_mode is off.");
    }

    #[test]
    fn a_diagnosis_is_found_below_datafusion_and_arrow_errors() {
        let inner = Diagnosis::new(sqlstate::UNDEFINED_TABLE, "relation \"x\" does not exist");
        let arrow = arrow::error::ArrowError::ExternalError(Box::new(inner));
        let wrapped =
            DataFusionError::Context("while planning".to_owned(), Box::new(DataFusionError::ArrowError(Box::new(arrow), None)));
        assert_eq!(find_diagnosis(&wrapped).map(|found| found.sqlstate.as_str()), Some("42P01"));
        assert!(find_diagnosis(&DataFusionError::Internal("x".to_owned())).is_none());
    }
}
