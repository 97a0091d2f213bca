//! Values as Postgres text, both ways: exact writers and strict readers for each type, and the settings that shape them.
//!
//! A leaf room: the encoder of `wire`, parameters, the data of COPY, casts of `federation` and the connectors all use it, so a value
//! has one text form everywhere.
//!
//! Writers append to any `BufMut`; readers take text as a client or store sends it and answer with the SQLSTATE and words
//! of PostgreSQL. Binary forms of types that travel as text (`numeric`, `inet`, `bit`, `timetz`, …) live here too.
//! `decode` says which reader serves which type of a parameter, `copy` how COPY puts values into rows. Not here: which writer serves
//! which Arrow column (`wire/encode`).
#![deny(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::indexing_slicing)]

pub mod array;
pub mod bit;
pub mod boolean;
pub mod bytea;
pub mod calendar;
pub mod copy;
pub mod date;
pub mod datetime_input;
pub mod decode;
pub mod fault;
pub mod float;
pub mod geometry;
pub mod integer;
pub mod interval;
pub mod json;
pub mod lsn;
pub mod money;
pub mod network;
pub mod numeric;
pub mod range;
pub mod regtype;
pub mod scalar;
pub mod time;
pub mod timestamp;
pub mod uuid;
pub mod zone;

use chrono_tz::Tz;

/// Text or binary, as `Bind` asks for each column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Format code 0.
    Text,
    /// Format code 1.
    Binary,
}

/// `DateStyle`, `IntervalStyle`, `TimeZone`, `bytea_output` and `extra_float_digits` of a session.
#[derive(Debug, Clone, PartialEq)]
pub struct DisplaySettings {
    /// Zone in which `timestamptz` is shown.
    pub time_zone: TimeZone,
    /// How dates are written.
    pub date_style: DateStyle,
    /// Order of day and month in `Sql`, `Postgres` and `German` styles.
    pub date_order: DateOrder,
    /// How intervals are written.
    pub interval_style: IntervalStyle,
    /// How `bytea` is written.
    pub bytea_output: ByteaOutput,
    /// -15 to 3; 1 and above mean shortest exact text.
    pub extra_float_digits: i8,
}

impl Default for DisplaySettings {
    fn default() -> Self {
        Self {
            time_zone: TimeZone::Named(Tz::UTC),
            date_style: DateStyle::Iso,
            date_order: DateOrder::Mdy,
            interval_style: IntervalStyle::Postgres,
            bytea_output: ByteaOutput::Hex,
            extra_float_digits: 1,
        }
    }
}

/// A zone by name, or a fixed offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeZone {
    /// A zone of the IANA database.
    Named(Tz),
    /// Seconds east of UTC.
    Fixed(i32),
}

/// `DateStyle`, first part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DateStyle {
    /// `1997-12-17 07:37:16-08`
    Iso,
    /// `12/17/1997 07:37:16.00 PST`
    Sql,
    /// `Wed Dec 17 07:37:16 1997 PST`
    Postgres,
    /// `17.12.1997 07:37:16.00 PST`
    German,
}

/// `DateStyle`, second part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DateOrder {
    /// Month, day, year.
    Mdy,
    /// Day, month, year.
    Dmy,
    /// Year, month, day.
    Ymd,
}

/// `IntervalStyle`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IntervalStyle {
    /// `1 day 02:03:04`
    Postgres,
    /// `@ 1 day 2 hours 3 mins 4 secs`
    PostgresVerbose,
    /// `1 2:03:04`
    SqlStandard,
    /// `P1DT2H3M4S`
    Iso8601,
}

/// `bytea_output`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByteaOutput {
    /// `\x0102`
    Hex,
    /// `\001\002`
    Escape,
}
