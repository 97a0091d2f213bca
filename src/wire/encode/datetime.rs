//! Date, time and timestamp columns of every Arrow unit.

use arrow::array::{Array, ArrowPrimitiveType, AsArray};
use arrow::datatypes::{
    DataType, Date32Type, Date64Type, Time32MillisecondType, Time32SecondType, Time64MicrosecondType, Time64NanosecondType,
    TimeUnit, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
};
use bytes::BufMut;

use super::{Cell, Target, mismatch};
use crate::error::Diagnosis;
use crate::format::calendar::DAY_MICROS;
use crate::format::{date, fault, time, timestamp};
use crate::pgtype::{DATE_INFINITY, DATE_NEGATIVE_INFINITY, TIMESTAMP_INFINITY, TIMESTAMP_NEGATIVE_INFINITY};

/// The writer of a date, time or timestamp column.
pub(super) fn cell<'a>(array: &'a dyn Array, target: Target<'a>) -> Result<Cell<'a>, Diagnosis> {
    match array.data_type() {
        DataType::Date32 => {
            let values = array.as_primitive::<Date32Type>();
            days(array, target, move |row| Ok(values.value(row)))
        }
        DataType::Date64 => {
            let values = array.as_primitive::<Date64Type>();
            days(array, target, move |row| days_of_micros(scaled(values.value(row), 1_000)?))
        }
        DataType::Time32(TimeUnit::Second) => clock::<Time32SecondType>(array, target, Unit::Longer(1_000_000)),
        DataType::Time32(_) => clock::<Time32MillisecondType>(array, target, Unit::Longer(1_000)),
        DataType::Time64(TimeUnit::Nanosecond) => clock::<Time64NanosecondType>(array, target, Unit::Shorter(1_000)),
        DataType::Time64(_) => clock::<Time64MicrosecondType>(array, target, Unit::Longer(1)),
        DataType::Timestamp(TimeUnit::Second, _) => instant::<TimestampSecondType>(array, target, Unit::Longer(1_000_000)),
        DataType::Timestamp(TimeUnit::Millisecond, _) => instant::<TimestampMillisecondType>(array, target, Unit::Longer(1_000)),
        DataType::Timestamp(TimeUnit::Microsecond, _) => instant::<TimestampMicrosecondType>(array, target, Unit::Longer(1)),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => instant::<TimestampNanosecondType>(array, target, Unit::Shorter(1_000)),
        _ => Err(mismatch(array, target)),
    }
}

/// How a unit becomes microseconds.
#[derive(Clone, Copy)]
pub(super) enum Unit {
    /// Multiply.
    Longer(i64),
    /// Divide, towards the past.
    Shorter(i64),
}

impl Unit {
    pub(super) fn micros(self, value: i64) -> Result<i64, Diagnosis> {
        match self {
            Self::Longer(1) => Ok(value),
            Self::Longer(factor) => scaled(value, factor),
            Self::Shorter(divisor) => Ok(value.div_euclid(divisor)),
        }
    }
}

fn scaled(value: i64, factor: i64) -> Result<i64, Diagnosis> {
    value.checked_mul(factor).ok_or_else(|| fault::datetime_range("timestamp", None))
}

fn days_of_micros(micros: i64) -> Result<i32, Diagnosis> {
    match micros {
        TIMESTAMP_INFINITY => Ok(DATE_INFINITY),
        TIMESTAMP_NEGATIVE_INFINITY => Ok(DATE_NEGATIVE_INFINITY),
        _ => i32::try_from(micros.div_euclid(DAY_MICROS)).map_err(|_cause| fault::datetime_range("date", None)),
    }
}

/// The instant if Postgres has a text and a wire form for it; infinities pass.
fn checked_instant(micros: i64) -> Result<i64, Diagnosis> {
    if matches!(micros, TIMESTAMP_INFINITY | TIMESTAMP_NEGATIVE_INFINITY) {
        return Ok(micros);
    }
    timestamp::check(micros).ok_or_else(|| fault::datetime_range("timestamp", None))
}

fn days<'a>(
    array: &dyn Array,
    target: Target<'a>,
    read: impl Fn(usize) -> Result<i32, Diagnosis> + 'a,
) -> Result<Cell<'a>, Diagnosis> {
    let midnight = |days: i32| match days {
        DATE_INFINITY => TIMESTAMP_INFINITY,
        DATE_NEGATIVE_INFINITY => TIMESTAMP_NEGATIVE_INFINITY,
        _ => i64::from(days) * DAY_MICROS,
    };
    match target.pg_type.oid {
        1114 | 1184 => instant_cell(array, target, move |row| read(row).map(midnight)),
        _ => date_cell(array, target, read),
    }
}

fn date_cell<'a>(
    array: &dyn Array,
    target: Target<'a>,
    read: impl Fn(usize) -> Result<i32, Diagnosis> + 'a,
) -> Result<Cell<'a>, Diagnosis> {
    let display = target.display;
    match target.pg_type.oid {
        _ if target.is_text() => Ok(Box::new(move |row, out| {
            let days = date::check(read(row)?).ok_or_else(|| fault::datetime_range("date", None))?;
            date::write(days, display, out);
            Ok(())
        })),
        1082 => Ok(Box::new(move |row, out| {
            out.put_i32(date::to_wire(read(row)?)?);
            Ok(())
        })),
        _ => Err(mismatch(array, target)),
    }
}

fn clock<'a, T>(array: &'a dyn Array, target: Target<'a>, unit: Unit) -> Result<Cell<'a>, Diagnosis>
where
    T: ArrowPrimitiveType,
    i64: From<T::Native>,
{
    let values = array.as_primitive::<T>();
    let read = move |row: usize| unit.micros(i64::from(values.value(row))).and_then(time::check);
    if target.is_text() {
        return Ok(Box::new(move |row, out| {
            time::write(read(row)?, out);
            Ok(())
        }));
    }
    match target.pg_type.oid {
        1083 => Ok(Box::new(move |row, out| {
            out.put_i64(read(row)?);
            Ok(())
        })),
        _ => Err(mismatch(array, target)),
    }
}

fn instant<'a, T>(array: &'a dyn Array, target: Target<'a>, unit: Unit) -> Result<Cell<'a>, Diagnosis>
where
    T: ArrowPrimitiveType<Native = i64>,
{
    let values = array.as_primitive::<T>();
    let read = move |row: usize| unit.micros(values.value(row));
    match target.pg_type.oid {
        1082 => date_cell(array, target, move |row| days_of_micros(read(row)?)),
        _ => instant_cell(array, target, read),
    }
}

fn instant_cell<'a>(
    array: &dyn Array,
    target: Target<'a>,
    read: impl Fn(usize) -> Result<i64, Diagnosis> + 'a,
) -> Result<Cell<'a>, Diagnosis> {
    let display = target.display;
    let is_zoned =
        target.pg_type.oid == 1184 || (target.pg_type.oid != 1114 && matches!(array.data_type(), DataType::Timestamp(_, Some(_))));
    if target.is_text() && is_zoned {
        return Ok(Box::new(move |row, out| {
            timestamp::write_tz(checked_instant(read(row)?)?, display, out);
            Ok(())
        }));
    }
    if target.is_text() {
        return Ok(Box::new(move |row, out| {
            timestamp::write(checked_instant(read(row)?)?, display, out);
            Ok(())
        }));
    }
    match target.pg_type.oid {
        1114 | 1184 => Ok(Box::new(move |row, out| {
            out.put_i64(timestamp::to_wire(read(row)?)?);
            Ok(())
        })),
        _ => Err(mismatch(array, target)),
    }
}
