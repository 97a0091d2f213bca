//! One scalar value in a store-neutral form: literals in predicates, keys in change events.

use serde::{Deserialize, Serialize};

/// A non-null scalar.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Value {
    /// `boolean`
    Bool(bool),
    /// Any integer width.
    Int(i64),
    /// `double precision`, also for `real` columns; NaN and infinities included.
    Float(f64),
    /// `numeric` as `unscaled × 10^-scale`.
    Decimal {
        /// The digits with sign.
        unscaled: i128,
        /// Digits after the point; 0 to 38.
        scale: u8,
    },
    /// `numeric` beyond 38 digits, canonical text.
    Numeric(String),
    /// Any text type.
    Text(String),
    /// `bytea`
    Bytes(Vec<u8>),
    /// Days since 1970-01-01; see `pgtype` for infinities.
    Date(i32),
    /// Microseconds since midnight, 0 to 86 400 000 000.
    Time(i64),
    /// Microseconds since 1970-01-01 00:00:00; see `pgtype` for infinities.
    Timestamp(i64),
    /// Microseconds since 1970-01-01 00:00:00 UTC; see `pgtype` for infinities.
    TimestampTz(i64),
}

impl Value {
    /// Where the value is among those of its type, for estimates: numbers as they are, days, microseconds. `None` for what has no
    /// distances, and for what no float tells apart from infinity.
    pub fn place(&self) -> Option<f64> {
        let place = match self {
            Self::Int(number) | Self::Time(number) | Self::Timestamp(number) | Self::TimestampTz(number) => *number as f64,
            Self::Float(number) => *number,
            Self::Decimal { unscaled, scale } => *unscaled as f64 / 10_f64.powi(i32::from(*scale)),
            Self::Numeric(text) => text.parse().ok()?,
            Self::Date(days) => f64::from(*days),
            Self::Bool(_) | Self::Text(_) | Self::Bytes(_) => return None,
        };
        place.is_finite().then_some(place)
    }
}
