//! MySQL and MariaDB errors in Postgres terms: error number → SQLSTATE or kind of failure.
//!
//! Servers send an SQLSTATE of their own, but most errors share `HY000` or `42000`, so the number decides first.

use std::error::Error as _;

use sqlx::mysql::MySqlDatabaseError;

use super::super::connector::StoreName;
use super::super::error::StoreError;
use crate::error::{Site, sqlstate};

/// What an error number means to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    /// The server does not let us in.
    Refused,
    /// The connection is gone.
    Lost,
    /// The table or one of its columns is not what was discovered.
    Changed,
    /// `KILL QUERY`.
    Stopped,
    /// An SQLSTATE of its own.
    State(&'static str),
}

/// Numbers of the MariaDB and MySQL server error references.
const MEANINGS: &[(&[u16], Meaning)] = &[
    (&[1040, 1045, 1129, 1130, 1203, 1226, 1251, 1698, 1820, 1862, 1873, 2059, 3118, 4151], Meaning::Refused),
    (&[1053, 1077, 1079, 1080, 1152, 1158, 1159, 1160, 1161, 1184, 1927, 2006, 2013, 2055, 4031], Meaning::Lost),
    (&[1054, 1146, 1356, 1412, 1449, 1615], Meaning::Changed),
    (&[1317], Meaning::Stopped),
    (&[1969, 3024], Meaning::State(sqlstate::QUERY_CANCELED)),
    (&[1049], Meaning::State(sqlstate::INVALID_CATALOG_NAME)),
    (&[1044, 1142, 1143, 1227, 1370], Meaning::State(sqlstate::INSUFFICIENT_PRIVILEGE)),
    (&[1290, 1792, 1836], Meaning::State(sqlstate::READ_ONLY_SQL_TRANSACTION)),
    (&[1020, 1402], Meaning::State(sqlstate::SERIALIZATION_FAILURE)),
    (&[1205, 3572], Meaning::State(sqlstate::LOCK_NOT_AVAILABLE)),
    (&[1213, 1614], Meaning::State("40P01")),
    (&[1613], Meaning::State(sqlstate::QUERY_CANCELED)),
    (&[1153], Meaning::State(sqlstate::PROGRAM_LIMIT_EXCEEDED)),
    (&[1288, 1393, 1394, 1395, 1442, 1471], Meaning::State(sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE)),
    (&[1022, 1062, 1169, 1586], Meaning::State(sqlstate::UNIQUE_VIOLATION)),
    (&[1048, 1364], Meaning::State("23502")),
    (&[1216, 1217, 1451, 1452, 1557, 1761, 1762], Meaning::State("23503")),
    (&[1526, 1748, 3819], Meaning::State("23514")),
    (&[1264, 1916], Meaning::State(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE)),
    (&[1406], Meaning::State("22001")),
    (&[1292, 1411], Meaning::State(sqlstate::INVALID_DATETIME_FORMAT)),
    (&[1265, 1366, 1367], Meaning::State(sqlstate::INVALID_TEXT_REPRESENTATION)),
    (&[1365], Meaning::State(sqlstate::DIVISION_BY_ZERO)),
    (&[1241, 1242], Meaning::State(sqlstate::CARDINALITY_VIOLATION)),
    (&[1267, 1270, 1271], Meaning::State("42P21")),
    (&[1064, 1149], Meaning::State(sqlstate::SYNTAX_ERROR)),
    (&[1050, 1061], Meaning::State(sqlstate::DUPLICATE_TABLE)),
    (&[1051], Meaning::State(sqlstate::UNDEFINED_TABLE)),
    (&[1060], Meaning::State(sqlstate::DUPLICATE_COLUMN)),
    (&[1091], Meaning::State(sqlstate::UNDEFINED_OBJECT)),
    (&[1068, 1075], Meaning::State(sqlstate::INVALID_TABLE_DEFINITION)),
    (&[1170], Meaning::State(sqlstate::FEATURE_NOT_SUPPORTED)),
    (&[1069, 1070, 1071, 1117, 1118], Meaning::State(sqlstate::PROGRAM_LIMIT_EXCEEDED)),
    (&[1005, 1215, 1822, 6125], Meaning::State(sqlstate::INVALID_FOREIGN_KEY)),
    (&[1829, 1832, 1833, 3730], Meaning::State(sqlstate::DEPENDENT_OBJECTS_STILL_EXIST)),
    (&[1305], Meaning::State(sqlstate::UNDEFINED_FUNCTION)),
    (&[1021, 1114], Meaning::State("53100")),
    (&[1037, 1038, 1041, 1206], Meaning::State(sqlstate::OUT_OF_MEMORY)),
];

/// Errors with which the server rolls the whole transaction back, or may do so by its settings (`innodb_rollback_on_timeout`).
const ENDS: &[u16] = &[1020, 1205, 1206, 1213, 1402, 1613, 1614];

/// How the server begins its complaint about text that a column's character set does not have.
const NO_SUCH_CHARACTER: &str = "Incorrect string value";

/// How it begins its complaint about text that is no value of a type beside dates and moments, by the same number as for those.
const NO_SUCH_VALUE: &[&str] = &["Incorrect inet4", "Incorrect inet6", "Incorrect uuid"];

/// `ER_DATA_OUT_OF_RANGE`
const OUT_OF_RANGE: u16 = 1690;

fn meaning(number: u16, state: Option<&str>) -> Option<Meaning> {
    // MariaDB's failed CHECK; MySQL uses the number for something else, without this state.
    if number == 4025 && state == Some("23000") {
        return Some(Meaning::State("23514"));
    }
    MEANINGS.iter().find(|(numbers, _)| numbers.contains(&number)).map(|(_, meaning)| *meaning)
}

/// The code of an answer whose number alone says too little.
fn by_message(state: &'static str, message: &str) -> &'static str {
    match state {
        sqlstate::INVALID_TEXT_REPRESENTATION if message.starts_with(NO_SUCH_CHARACTER) => sqlstate::CHARACTER_NOT_IN_REPERTOIRE,
        sqlstate::INVALID_DATETIME_FORMAT if NO_SUCH_VALUE.iter().any(|start| message.starts_with(start)) => {
            sqlstate::INVALID_TEXT_REPRESENTATION
        }
        state => state,
    }
}

/// Whether the transaction of the statement may be gone.
pub(super) fn may_end_transaction(error: &sqlx::Error) -> bool {
    let sqlx::Error::Database(answer) = error else { return false };
    answer.try_downcast_ref::<MySqlDatabaseError>().is_some_and(|answer| ENDS.contains(&answer.number()))
}

/// The server's number of an error that it has answered.
pub(super) fn number(error: &sqlx::Error) -> Option<u16> {
    let sqlx::Error::Database(answer) = error else { return None };
    answer.try_downcast_ref::<MySqlDatabaseError>().map(MySqlDatabaseError::number)
}

/// Where an error happened, to name it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    /// The store.
    pub(super) store: &'a StoreName,
    /// The table being read, when there is one.
    pub(super) table: Option<&'a str>,
}

impl Place<'_> {
    /// Our error for what the driver reports.
    pub(super) fn translate(self, error: &sqlx::Error) -> StoreError {
        match error {
            sqlx::Error::Database(answer) => {
                let answer = answer.try_downcast_ref::<MySqlDatabaseError>();
                answer.map_or_else(|| self.lost("the server sent an error that cannot be read"), |answer| self.answered(answer))
            }
            sqlx::Error::Io(cause) => self.lost(&cause.to_string()),
            sqlx::Error::Tls(cause) => self.unreachable(&format!("TLS failed: {cause}")),
            sqlx::Error::Protocol(_) => self.lost("the server sent something that is not its protocol"),
            sqlx::Error::Configuration(cause) => self.unreachable(&cause.to_string()),
            other => {
                let cause = other.source().map(|cause| format!(": {cause}")).unwrap_or_default();
                self.lost(&format!("the driver gave up{cause}"))
            }
        }
    }

    /// The same for a connection that is being made, where a broken socket means that the store cannot be reached.
    pub(super) fn translate_connect(self, error: &sqlx::Error) -> StoreError {
        match self.translate(error) {
            StoreError::ConnectionLost { store, reason } => StoreError::Unreachable { store, reason },
            other => other,
        }
    }

    fn answered(self, answer: &MySqlDatabaseError) -> StoreError {
        let store = self.store.to_string();
        if answer.number() == OUT_OF_RANGE {
            let (state, message) = out_of_range(answer.message());
            return self.remote(state, message);
        }
        match meaning(answer.number(), answer.code()) {
            Some(Meaning::Refused) => self.unreachable(answer.message()),
            Some(Meaning::Lost) => self.lost(answer.message()),
            Some(Meaning::Stopped) => StoreError::Cancelled,
            Some(Meaning::Changed) => StoreError::SchemaChanged {
                store,
                table: self.table.unwrap_or_default().to_owned(),
                difference: format!("{}.", answer.message()),
            },
            Some(Meaning::State(state)) => self.remote(by_message(state, answer.message()), answer.message()),
            None => self.remote(fallback_state(answer.code()), answer.message()),
        }
    }

    fn remote(self, state: &str, message: &str) -> StoreError {
        StoreError::Remote {
            store: self.store.to_string(),
            sqlstate: state.to_owned(),
            message: message.to_owned(),
            detail: None,
            constraint: if state.starts_with("23") { constraint(message) } else { None },
            site: self.site(state, message).map(Box::new),
        }
    }

    /// The table of a refused row, and the column that the message names.
    fn site(self, state: &str, message: &str) -> Option<Site> {
        let is_refused = state.starts_with("22") || state.starts_with("23");
        let table = self.table.filter(|_| is_refused)?.to_owned();
        Some(Site { table: Some(table), column: column(message), ..Site::default() })
    }

    /// [`StoreError::ConnectionLost`] with a reason.
    pub(super) fn lost(self, reason: &str) -> StoreError {
        StoreError::ConnectionLost { store: self.store.to_string(), reason: sentence(reason) }
    }

    /// [`StoreError::Unreachable`] with a reason.
    pub(super) fn unreachable(self, reason: &str) -> StoreError {
        StoreError::Unreachable { store: self.store.to_string(), reason: sentence(reason) }
    }
}

/// A part of a plan computes `exp` only to fail for a day that no calendar has. The server's own message would show the
/// statement with its values.
fn out_of_range(message: &str) -> (&'static str, &'static str) {
    if message.contains("in 'exp(") {
        (sqlstate::DATETIME_FIELD_OVERFLOW, "a date is one that no calendar has, such as 0000-00-00 or 2024-00-10")
    } else {
        (sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, "a number is out of range for its type")
    }
}

fn fallback_state(state: Option<&str>) -> &str {
    match state {
        // Both are the server's "anything": they say nothing that Postgres' code of the same spelling means.
        Some("HY000" | "42000") | None => sqlstate::FDW_ERROR,
        Some(own) => own,
    }
}

fn sentence(reason: &str) -> String {
    let reason = reason.trim_end_matches('.');
    let mut letters = reason.chars();
    letters.next().map(|first| format!("{}{}.", first.to_uppercase(), letters.as_str())).unwrap_or_default()
}

/// The column a message names: `Column 'a' cannot be null`, `Field 'a' doesn't have …`, `… for column 'a' at row 1`,
/// ``… for column `d`.`t`.`a` at row 1``.
fn column(message: &str) -> Option<String> {
    if let Some((_, after)) = message.rsplit_once(" for column ") {
        let (name, _) = after.rsplit_once(" at row ")?;
        let quoted = name.strip_prefix('\'').and_then(|name| name.strip_suffix('\''));
        return quoted.or_else(|| name.strip_suffix('`')?.rsplit_once(".`").map(|(_, name)| name)).map(str::to_owned);
    }
    let after = message.strip_prefix("Column '").or_else(|| message.strip_prefix("Field '"))?;
    after.split_once("' ").map(|(name, _)| name.to_owned())
}

/// The constraint a message names: `… for key 'customers.email'`, ``CONSTRAINT `fk` FOREIGN KEY``, `CONSTRAINT "fk" FOREIGN KEY`,
/// ``CONSTRAINT `c` failed``.
fn constraint(message: &str) -> Option<String> {
    if let Some((_, after)) = message.rsplit_once("for key '") {
        let key = after.strip_suffix('\'').unwrap_or(after);
        return Some(key.to_owned());
    }
    // Names of foreign keys stand in the quotes of the session's mode, other names always in these.
    let starts = [("CONSTRAINT `", '`'), ("CONSTRAINT \"", '"'), ("Check constraint '", '\'')];
    let begun = |(start, quote): (&str, char)| message.split_once(start).map(|(_, after)| (after, quote));
    let (after, quote) = starts.into_iter().find_map(begun)?;
    let (name, rest) = quoted(after, quote)?;
    let is_foreign = rest.trim_start().starts_with("FOREIGN KEY");
    // A check of a column has its table before its name.
    let own = name.rsplit_once('.').filter(|_| !is_foreign).map(|(_, own)| own.to_owned());
    Some(own.unwrap_or(name))
}

/// What stands before the quote, in which the doubled quote stands for itself, and what follows.
fn quoted(text: &str, quote: char) -> Option<(String, &str)> {
    let (mut name, mut rest) = (String::new(), text);
    loop {
        let (before, after) = rest.split_once(quote)?;
        name.push_str(before);
        match after.strip_prefix(quote) {
            Some(doubled) => {
                name.push(quote);
                rest = doubled;
            }
            None => return Some((name, after)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_listed_once() {
        let all: Vec<u16> = MEANINGS.iter().flat_map(|(numbers, _)| numbers.iter().copied()).collect();
        let mut once = all.clone();
        once.sort_unstable();
        once.dedup();
        assert_eq!(all.len(), once.len());
    }

    #[test]
    fn numbers_decide_before_states() {
        let rows = [
            (1213, Some("40001"), Some(Meaning::State("40P01"))),
            (1146, Some("42S02"), Some(Meaning::Changed)),
            (4025, Some("23000"), Some(Meaning::State("23514"))),
            (4025, Some("HY000"), None),
            (1020, Some("HY000"), Some(Meaning::State("40001"))),
            (1205, Some("HY000"), Some(Meaning::State("55P03"))),
            (1614, Some("XA106"), Some(Meaning::State("40P01"))),
            (9999, Some("HY000"), None),
        ];
        for (number, state, expected) in rows {
            assert_eq!(meaning(number, state), expected, "{number}");
        }
        assert_eq!(fallback_state(Some("HY000")), "HV000");
        assert_eq!(fallback_state(Some("22003")), "22003");
    }

    #[test]
    fn messages_decide_where_numbers_say_too_little() {
        let rows = [
            ("22007", "Incorrect uuid value: 'x' for column `d`.`g`.`u` at row 1", "22P02"),
            ("22007", "Incorrect datetime value: 'x' for column `d`.`g`.`u` at row 1", "22007"),
            ("22P02", "Incorrect string value: '\\xE5' for column `d`.`w`.`k` at row 1", "22021"),
            ("22P02", "Incorrect integer value: 'x' for column `d`.`w`.`k` at row 1", "22P02"),
            ("23514", "Incorrect uuid value", "23514"),
        ];
        for (state, message, expected) in rows {
            assert_eq!(by_message(state, message), expected, "{message}");
        }
    }

    #[test]
    fn columns_are_found_in_messages() {
        let rows = [
            ("Column 'a' cannot be null", Some("a")),
            ("Field 'a' doesn't have a default value", Some("a")),
            ("Data too long for column 'a' at row 1", Some("a")),
            ("Incorrect string value: '\\xE5' for column `d`.`w`.`k` at row 1", Some("k")),
            ("Duplicate entry 'x' for key 'PRIMARY'", None),
        ];
        for (message, expected) in rows {
            assert_eq!(column(message).as_deref(), expected, "{message}");
        }
    }

    #[test]
    fn constraints_are_found_in_messages() {
        let rows = [
            ("Duplicate entry 'x' for key 'PRIMARY'", Some("PRIMARY")),
            ("Duplicate entry 'for key 'a'' for key 'email'", Some("email")),
            ("Cannot add … (`p`.`t`, CONSTRAINT `self` FOREIGN KEY (`id`) REFERENCES `t` (`id`))", Some("self")),
            (
                "Cannot add … (\"p\".\"t\", CONSTRAINT \"se\"\"l'f.x\" FOREIGN KEY (\"b\") REFERENCES \"t\" (\"id\"))",
                Some("se\"l'f.x"),
            ),
            ("CONSTRAINT `positive` failed for `p`.`t`", Some("positive")),
            ("CONSTRAINT `t.a` failed for `p`.`t`", Some("a")),
            ("Check constraint 'positive' is violated.", Some("positive")),
            ("Column 'a' cannot be null", None),
        ];
        for (message, expected) in rows {
            assert_eq!(constraint(message).as_deref(), expected, "{message}");
        }
    }
}
