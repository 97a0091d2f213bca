//! The only place that builds `ErrorResponse` and `NoticeResponse`, and the room's own error for what stops it at start.
//!
//! Fields: PostgreSQL manual, "Error and Notice Message Fields".

use std::path::PathBuf;

use pgwire::messages::response::{ErrorResponse, NoticeResponse};

use crate::address::BindError;
use crate::error::{Diagnose, Diagnosis, sqlstate};

/// What keeps the server from starting to listen.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The address is taken, not ours, or not allowed.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// A TLS file cannot be read or used. Serving without TLS instead would be a silent downgrade.
    #[error("TLS file \"{}\" cannot be used: {reason}", path.display())]
    TlsFile {
        /// The configured path.
        path: PathBuf,
        /// Why, without the file's content.
        reason: String,
    },
    /// Certificate and key do not make a TLS server.
    #[error("TLS cannot be set up: {reason}")]
    Tls {
        /// What the TLS library said.
        reason: String,
    },
}

impl Diagnose for WireError {
    fn sqlstate(&self) -> &str {
        match self {
            Self::Bind(error) => error.sqlstate(),
            Self::TlsFile { .. } | Self::Tls { .. } => sqlstate::INVALID_PARAMETER_VALUE,
        }
    }

    fn detail(&self) -> Option<String> {
        match self {
            Self::Bind(error) => error.detail(),
            Self::TlsFile { .. } | Self::Tls { .. } => None,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Bind(error) => error.hint(),
            Self::TlsFile { .. } | Self::Tls { .. } => None,
        }
    }
}

/// How bad an error is for its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Severity {
    /// The statement is over.
    Error,
    /// The connection is over.
    Fatal,
}

impl Severity {
    fn word(self) -> &'static str {
        match self {
            Self::Error => "ERROR",
            Self::Fatal => "FATAL",
        }
    }
}

/// What the client is told of an error.
pub(super) fn error_response(diagnosis: &Diagnosis, severity: Severity) -> ErrorResponse {
    ErrorResponse::new(fields(diagnosis, severity.word()))
}

/// What the client is told in passing. Success codes are notices; every other class is a warning.
pub(super) fn notice_response(diagnosis: &Diagnosis) -> NoticeResponse {
    // Names that are too long are no reason to worry, as in PostgreSQL.
    let is_told = diagnosis.sqlstate.starts_with("00") || diagnosis.sqlstate == sqlstate::NAME_TOO_LONG;
    let word = if is_told { "NOTICE" } else { "WARNING" };
    NoticeResponse::new(fields(diagnosis, word))
}

fn fields(diagnosis: &Diagnosis, severity: &str) -> Vec<(u8, String)> {
    let mut fields = vec![
        (b'S', severity.to_owned()),
        (b'V', severity.to_owned()),
        (b'C', code(&diagnosis.sqlstate)),
        (b'M', without_nul(&diagnosis.message)),
    ];
    let position = diagnosis.position.map(|position| position.to_string());
    let site = diagnosis.site.as_deref().cloned().unwrap_or_default();
    let optional = [
        (b'D', &diagnosis.detail),
        (b'H', &diagnosis.hint),
        (b'P', &position),
        (b'W', &diagnosis.context),
        (b's', &site.schema),
        (b't', &site.table),
        (b'c', &site.column),
        (b'n', &diagnosis.constraint),
    ];
    fields.extend(optional.into_iter().filter_map(|(field, text)| Some((field, without_nul(text.as_ref()?)))));
    fields
}

/// A store may have given something that is not a SQLSTATE; clients parse this field.
fn code(sqlstate: &str) -> String {
    let well_formed = sqlstate.len() == 5 && sqlstate.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase());
    if well_formed { sqlstate.to_owned() } else { sqlstate::INTERNAL_ERROR.to_owned() }
}

/// A NUL would end the field early, and the client would read what follows it as further fields.
pub(super) fn without_nul(text: &str) -> String {
    text.replace('\0', "")
}

/// The client broke the protocol.
pub(super) fn protocol_violation(message: impl Into<String>) -> Diagnosis {
    Diagnosis::new(sqlstate::PROTOCOL_VIOLATION, message)
}

/// A panic reached the edge of a session.
pub(super) fn panicked() -> Diagnosis {
    Diagnosis::new(sqlstate::INTERNAL_ERROR, "internal error: the session ended").with_detail("The server's log has the place.")
}

/// The server is going down.
pub(super) fn shutting_down() -> Diagnosis {
    Diagnosis::new(sqlstate::ADMIN_SHUTDOWN, "terminating connection due to administrator command")
}

/// The running statement was asked to stop.
pub(super) fn canceled() -> Diagnosis {
    Diagnosis::new(sqlstate::QUERY_CANCELED, "canceling statement due to user request")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Site;

    #[test]
    fn every_field_of_a_diagnosis_is_sent_and_none_can_end_early() {
        let mut diagnosis = Diagnosis::new(sqlstate::UNIQUE_VIOLATION, "dup\0licate")
            .with_detail("Key (id)=(1) exists.")
            .with_hint("Use another.")
            .with_position(Some(8))
            .with_site(Site {
                store: None,
                schema: Some("sh\0op".to_owned()),
                table: Some("orders".to_owned()),
                column: Some("id".to_owned()),
                row: Some(2),
            });
        diagnosis.constraint = Some("orders_pkey".to_owned());
        let diagnosis =
            diagnosis.with_context("COPY orders, line 3".to_owned()).with_context("COPY orders, lines 1 to 9".to_owned());
        let sent = error_response(&diagnosis, Severity::Error).fields;
        let texts: Vec<(char, &str)> = sent.iter().map(|(field, text)| (char::from(*field), text.as_str())).collect();
        assert_eq!(
            texts,
            [
                ('S', "ERROR"),
                ('V', "ERROR"),
                ('C', "23505"),
                ('M', "duplicate"),
                ('D', "Key (id)=(1) exists."),
                ('H', "Use another."),
                ('P', "8"),
                ('W', "COPY orders, line 3"),
                ('s', "shop"),
                ('t', "orders"),
                ('c', "id"),
                ('n', "orders_pkey"),
            ]
        );
    }

    #[test]
    fn codes_that_are_no_sqlstate_become_internal_errors() {
        for (given, expected) in [("42P01", "42P01"), ("1146", "XX000"), ("hello", "XX000"), ("", "XX000")] {
            assert_eq!(code(given), expected, "{given}");
        }
    }

    #[test]
    fn notices_are_warnings_outside_class_00() {
        for (given, expected) in [("00000", "NOTICE"), ("01000", "WARNING"), ("25001", "WARNING"), ("25P01", "WARNING")] {
            let sent = notice_response(&Diagnosis::new(given, "x")).fields;
            assert_eq!(sent.first().map(|(_, word)| word.as_str()), Some(expected), "{given}");
        }
    }
}
