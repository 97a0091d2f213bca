//! The reader of every date and time form (manual, appendix B.1): text is cut into tokens, tokens fill fields.
//!
//! Words that mean the current time (`now`, `today`, …) are refused: a value read twice must not change.

mod fields;
mod token;

use super::calendar::Civil;
use super::{DisplaySettings, TimeZone};
use crate::error::Diagnosis;

/// The type that is being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `date`
    Date,
    /// `time`
    Time,
    /// `timetz`
    TimeTz,
    /// `timestamp`
    Timestamp,
    /// `timestamptz`
    TimestampTz,
}

impl Kind {
    /// The name error messages use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Date => "date",
            Self::Time => "time",
            Self::TimeTz => "time with time zone",
            Self::Timestamp => "timestamp",
            Self::TimestampTz => "timestamp with time zone",
        }
    }
}

/// A word that stands for a whole value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Special {
    /// `infinity`
    Infinity,
    /// `-infinity`
    NegativeInfinity,
    /// `epoch`
    Epoch,
}

/// What a text said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Parsed {
    /// Instead of any field.
    pub special: Option<Special>,
    /// A valid day of the calendar.
    pub date: Option<Civil>,
    /// Microseconds since midnight, up to and including the whole day.
    pub time: Option<i64>,
    /// The zone that was named.
    pub zone: Option<TimeZone>,
}

/// Reads any of the five types; which parts must be there is the caller's rule.
///
/// # Errors
/// 22007, 22008, 22009, 22023 in PostgreSQL's words; 0A000 for words that mean the current time.
pub fn parse(kind: Kind, text: &str, display: &DisplaySettings) -> Result<Parsed, Diagnosis> {
    let lowered = text.to_ascii_lowercase();
    let tokens = token::split(&lowered).ok_or_else(|| super::fault::invalid_datetime(kind.name(), text))?;
    fields::Fields::new(kind, text, display.date_order).read(&tokens)
}
