//! The errors of value readers, in PostgreSQL's words.
//!
//! Only the wording and codes live here; which text is refused is each reader's own rule.

use crate::error::{Diagnosis, sqlstate};

/// 22P02 `invalid input syntax for type integer: "abc"`.
pub fn invalid(type_name: &str, text: &str) -> Diagnosis {
    Diagnosis::new(sqlstate::INVALID_TEXT_REPRESENTATION, format!("invalid input syntax for type {type_name}: \"{text}\""))
}

/// 22003 `value "99999" is out of range for type smallint`.
pub fn out_of_range(type_name: &str, text: &str) -> Diagnosis {
    Diagnosis::new(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, format!("value \"{text}\" is out of range for type {type_name}"))
}

/// 22007 `invalid input syntax for type date: "abc"`.
pub fn invalid_datetime(type_name: &str, text: &str) -> Diagnosis {
    Diagnosis::new(sqlstate::INVALID_DATETIME_FORMAT, format!("invalid input syntax for type {type_name}: \"{text}\""))
}

/// 22008 `date/time field value out of range: "2024-02-30"`.
pub fn datetime_field(text: &str) -> Diagnosis {
    Diagnosis::new(sqlstate::DATETIME_FIELD_OVERFLOW, format!("date/time field value out of range: \"{text}\""))
}

/// 22008 `timestamp out of range`; `text` is the input when there was one.
pub fn datetime_range(what: &str, text: Option<&str>) -> Diagnosis {
    let message = match text {
        Some(text) => format!("{what} out of range: \"{text}\""),
        None => format!("{what} out of range"),
    };
    Diagnosis::new(sqlstate::DATETIME_FIELD_OVERFLOW, message)
}

/// 22015 `interval field value out of range: "3000000000 months"`.
pub fn interval_field(text: &str) -> Diagnosis {
    Diagnosis::new("22015", format!("interval field value out of range: \"{text}\""))
}

/// 22P03 for a binary value whose length or content cannot be of its type.
pub fn binary(type_name: &str) -> Diagnosis {
    Diagnosis::new(sqlstate::INVALID_BINARY_REPRESENTATION, format!("incorrect binary data format for type {type_name}"))
}

/// PostgreSQL's words, with the bytes from the first bad one on, as many as its lead byte promises.
pub fn invalid_utf8(bytes: &[u8], from: usize) -> String {
    let bad = bytes.get(from..).unwrap_or_default();
    let promised = match bad.first() {
        Some(0xf0..=0xf7) => 4,
        Some(0xe0..=0xef) => 3,
        Some(0xc0..=0xdf) => 2,
        _ => 1,
    };
    let shown: Vec<String> = bad.iter().take(promised).map(|byte| format!("0x{byte:02x}")).collect();
    format!("invalid byte sequence for encoding \"UTF8\": {}", shown.join(" "))
}

/// 0A000 with the given words.
pub fn unsupported(what: impl Into<String>) -> Diagnosis {
    Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, what)
}

/// Whether `isspace` of the C locale holds, which is what PostgreSQL's scalar readers skip around a value.
pub fn is_space(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\n' | '\u{b}' | '\u{c}' | '\r')
}

/// The text without the blanks that PostgreSQL's scalar readers skip.
pub fn trim(text: &str) -> &str {
    text.trim_matches(is_space)
}

/// 22P02 `invalid input syntax for type bytea`, which PostgreSQL gives without the text.
pub fn invalid_bytea() -> Diagnosis {
    Diagnosis::new(sqlstate::INVALID_TEXT_REPRESENTATION, "invalid input syntax for type bytea")
}
