//! Numbers of fixed width, truth values, bytes, dates and times.

use arrow::array::{ArrayRef, BinaryBuilder, BooleanBuilder};
use arrow::datatypes::{
    Date32Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType,
    Time64MicrosecondType, TimestampMicrosecondType,
};

use super::decoder::{Broken, Decoder, Primitive, fixed};
use crate::error::sqlstate;
use crate::pgtype::{DATE_INFINITY, DATE_NEGATIVE_INFINITY, PgType, TIMESTAMP_INFINITY, TIMESTAMP_NEGATIVE_INFINITY};
use crate::stores::builders::Refill;

/// Days from 1970-01-01 to 2000-01-01, where PostgreSQL counts from.
const EPOCH_DAYS: i32 = 10_957;
/// The same in microseconds.
const EPOCH_MICROS: i64 = 946_684_800_000_000;
/// 24:00:00, the largest `time`.
const DAY_MICROS: i64 = 86_400_000_000;

pub(super) fn int2(pg_type: PgType, rows: usize) -> Box<dyn Decoder> {
    Primitive::<Int16Type, _>::boxed(pg_type.carrier(), rows, |bytes| fixed(bytes).map(i16::from_be_bytes))
}

pub(super) fn int4(pg_type: PgType, rows: usize) -> Box<dyn Decoder> {
    Primitive::<Int32Type, _>::boxed(pg_type.carrier(), rows, |bytes| fixed(bytes).map(i32::from_be_bytes))
}

pub(super) fn int8(pg_type: PgType, rows: usize) -> Box<dyn Decoder> {
    Primitive::<Int64Type, _>::boxed(pg_type.carrier(), rows, |bytes| fixed(bytes).map(i64::from_be_bytes))
}

/// `oid` and the `reg…` types: 32 bits without sign.
pub(super) fn oid(pg_type: PgType, rows: usize) -> Box<dyn Decoder> {
    Primitive::<Int64Type, _>::boxed(pg_type.carrier(), rows, |bytes| fixed(bytes).map(|bytes| u32::from_be_bytes(bytes).into()))
}

pub(super) fn float4(pg_type: PgType, rows: usize) -> Box<dyn Decoder> {
    Primitive::<Float32Type, _>::boxed(pg_type.carrier(), rows, |bytes| fixed(bytes).map(f32::from_be_bytes))
}

pub(super) fn float8(pg_type: PgType, rows: usize) -> Box<dyn Decoder> {
    Primitive::<Float64Type, _>::boxed(pg_type.carrier(), rows, |bytes| fixed(bytes).map(f64::from_be_bytes))
}

pub(super) fn date(pg_type: PgType, rows: usize) -> Box<dyn Decoder> {
    Primitive::<Date32Type, _>::boxed(pg_type.carrier(), rows, read_date)
}

pub(super) fn time(pg_type: PgType, rows: usize) -> Box<dyn Decoder> {
    Primitive::<Time64MicrosecondType, _>::boxed(pg_type.carrier(), rows, read_time)
}

/// `timestamp` and `timestamptz` have the same binary form.
pub(super) fn timestamp(pg_type: PgType, rows: usize) -> Box<dyn Decoder> {
    Primitive::<TimestampMicrosecondType, _>::boxed(pg_type.carrier(), rows, read_timestamp)
}

pub(super) fn interval(pg_type: PgType, rows: usize) -> Box<dyn Decoder> {
    Primitive::<IntervalMonthDayNanoType, _>::boxed(pg_type.carrier(), rows, read_interval)
}

pub(super) fn read_date(bytes: &[u8]) -> Result<i32, Broken> {
    match i32::from_be_bytes(fixed(bytes)?) {
        infinite @ (DATE_INFINITY | DATE_NEGATIVE_INFINITY) => Ok(infinite),
        days => days
            .checked_add(EPOCH_DAYS)
            .filter(|days| *days != DATE_INFINITY)
            .ok_or_else(|| Broken::new(sqlstate::DATETIME_FIELD_OVERFLOW, "is a date out of range")),
    }
}

fn read_time(bytes: &[u8]) -> Result<i64, Broken> {
    match i64::from_be_bytes(fixed(bytes)?) {
        micros @ 0..=DAY_MICROS => Ok(micros),
        _ => Err(Broken::malformed()),
    }
}

/// The last 30 years that PostgreSQL allows (294247 to 294276) do not fit into microseconds since 1970.
pub(super) fn read_timestamp(bytes: &[u8]) -> Result<i64, Broken> {
    match i64::from_be_bytes(fixed(bytes)?) {
        infinite @ (TIMESTAMP_INFINITY | TIMESTAMP_NEGATIVE_INFINITY) => Ok(infinite),
        micros => micros
            .checked_add(EPOCH_MICROS)
            .filter(|micros| *micros != TIMESTAMP_INFINITY)
            .ok_or_else(|| Broken::new(sqlstate::DATETIME_FIELD_OVERFLOW, "is a timestamp past 294247-01-10 04:00:54.775806")),
    }
}

/// Microseconds, days, months in this order (`interval_send`).
fn read_interval(bytes: &[u8]) -> Result<IntervalMonthDayNano, Broken> {
    let bytes: [u8; 16] = fixed(bytes)?;
    let [m0, m1, m2, m3, m4, m5, m6, m7, d0, d1, d2, d3, n0, n1, n2, n3] = bytes;
    let micros = i64::from_be_bytes([m0, m1, m2, m3, m4, m5, m6, m7]);
    let days = i32::from_be_bytes([d0, d1, d2, d3]);
    let months = i32::from_be_bytes([n0, n1, n2, n3]);
    let nanos = micros
        .checked_mul(1_000)
        .ok_or_else(|| Broken::new(sqlstate::DATETIME_FIELD_OVERFLOW, "is an interval whose time part exceeds 2562047 hours"))?;
    Ok(IntervalMonthDayNano::new(months, days, nanos))
}

/// A column of truth values.
struct Bool(BooleanBuilder);

pub(super) fn bool(_: PgType, rows: usize) -> Box<dyn Decoder> {
    Box::new(Bool(BooleanBuilder::with_capacity(rows)))
}

impl Decoder for Bool {
    fn value(&mut self, bytes: &[u8]) -> Result<(), Box<Broken>> {
        let [byte] = fixed(bytes)?;
        self.0.append_value(byte != 0);
        Ok(())
    }

    fn null(&mut self) {
        self.0.append_null();
    }

    fn finish(&mut self) -> Result<ArrayRef, Box<Broken>> {
        Ok(self.0.take())
    }
}

/// A column of byte strings.
struct Bytea(BinaryBuilder);

pub(super) fn bytea(_: PgType, rows: usize) -> Box<dyn Decoder> {
    Box::new(Bytea(BinaryBuilder::with_capacity(rows, rows * 16)))
}

impl Decoder for Bytea {
    fn value(&mut self, bytes: &[u8]) -> Result<(), Box<Broken>> {
        self.0.append_value(bytes);
        Ok(())
    }

    fn null(&mut self) {
        self.0.append_null();
    }

    fn finish(&mut self) -> Result<ArrayRef, Box<Broken>> {
        Ok(self.0.take())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_count_from_1970_and_keep_infinities() {
        let rows = [
            (0, Ok(10_957)),
            (-10_957, Ok(0)),
            (i32::MAX, Ok(i32::MAX)),
            (i32::MIN, Ok(i32::MIN)),
            (-2_451_545, Ok(-2_440_588)),
            (2_145_031_948, Ok(2_145_042_905)),
            (i32::MAX - 1, Err("22008")),
            (i32::MAX - EPOCH_DAYS, Err("22008")),
        ];
        for (sent, expected) in rows {
            assert_eq!(read_date(&sent.to_be_bytes()).map_err(|broken| broken.sqlstate), expected, "{sent}");
        }
        assert_eq!(read_date(&[0, 0]).map_err(|broken| broken.sqlstate), Err("HV000"));
    }

    #[test]
    fn timestamps_are_refused_where_1970_overflows() {
        let rows = [
            (0, Ok(EPOCH_MICROS)),
            (-EPOCH_MICROS - 1, Ok(-1)),
            (i64::MAX, Ok(i64::MAX)),
            (i64::MIN, Ok(i64::MIN)),
            (i64::MAX - EPOCH_MICROS - 1, Ok(i64::MAX - 1)),
            (i64::MAX - EPOCH_MICROS, Err("22008")),
            (9_223_371_331_199_999_999, Err("22008")),
            (-211_813_488_000_000_000, Ok(-210_866_803_200_000_000)),
        ];
        for (sent, expected) in rows {
            assert_eq!(read_timestamp(&sent.to_be_bytes()).map_err(|broken| broken.sqlstate), expected, "{sent}");
        }
    }

    #[test]
    fn intervals_keep_their_three_parts() {
        let sent = |micros: i64, days: i32, months: i32| {
            let mut bytes = micros.to_be_bytes().to_vec();
            bytes.extend(days.to_be_bytes());
            bytes.extend(months.to_be_bytes());
            read_interval(&bytes).map_err(|broken| broken.sqlstate)
        };
        assert_eq!(sent(-1, 2, -3), Ok(IntervalMonthDayNano::new(-3, 2, -1_000)));
        assert_eq!(sent(i64::MAX / 1_000, 0, i32::MAX), Ok(IntervalMonthDayNano::new(i32::MAX, 0, 9_223_372_036_854_775_000)));
        assert_eq!(sent(i64::MAX / 1_000 + 1, 0, 0), Err("22008"));
    }

    #[test]
    fn times_include_midnight_at_the_end() {
        assert_eq!(read_time(&DAY_MICROS.to_be_bytes()), Ok(DAY_MICROS));
        assert!(read_time(&(DAY_MICROS + 1).to_be_bytes()).is_err());
        assert!(read_time(&(-1i64).to_be_bytes()).is_err());
    }
}
