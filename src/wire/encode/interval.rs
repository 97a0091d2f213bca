//! Interval and duration columns.

use arrow::array::{Array, AsArray};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, DurationMicrosecondType, DurationMillisecondType, DurationNanosecondType, DurationSecondType,
    IntervalDayTimeType, IntervalMonthDayNanoType, IntervalUnit, IntervalYearMonthType, TimeUnit,
};

use super::datetime::Unit;
use super::{Cell, Target, mismatch};
use crate::error::Diagnosis;
use crate::format::interval::{self, Interval};

/// The writer of an interval or duration column.
pub(super) fn cell<'a>(array: &'a dyn Array, target: Target<'a>) -> Result<Cell<'a>, Diagnosis> {
    match array.data_type() {
        DataType::Interval(IntervalUnit::MonthDayNano) => {
            let values = array.as_primitive::<IntervalMonthDayNanoType>();
            choose(array, target, move |row| {
                let value = values.value(row);
                // Rounds towards zero: the parts of an interval have no past to round to.
                Ok(Interval { months: value.months, days: value.days, micros: value.nanoseconds / 1_000 })
            })
        }
        DataType::Interval(IntervalUnit::YearMonth) => {
            let values = array.as_primitive::<IntervalYearMonthType>();
            choose(array, target, move |row| Ok(Interval { months: values.value(row), ..Interval::default() }))
        }
        DataType::Interval(IntervalUnit::DayTime) => {
            let values = array.as_primitive::<IntervalDayTimeType>();
            choose(array, target, move |row| {
                let value = values.value(row);
                Ok(Interval { months: 0, days: value.days, micros: i64::from(value.milliseconds) * 1_000 })
            })
        }
        DataType::Duration(TimeUnit::Second) => duration::<DurationSecondType>(array, target, Unit::Longer(1_000_000)),
        DataType::Duration(TimeUnit::Millisecond) => duration::<DurationMillisecondType>(array, target, Unit::Longer(1_000)),
        DataType::Duration(TimeUnit::Microsecond) => duration::<DurationMicrosecondType>(array, target, Unit::Longer(1)),
        DataType::Duration(TimeUnit::Nanosecond) => duration::<DurationNanosecondType>(array, target, Unit::Shorter(1_000)),
        _ => Err(mismatch(array, target)),
    }
}

fn duration<'a, T>(array: &'a dyn Array, target: Target<'a>, unit: Unit) -> Result<Cell<'a>, Diagnosis>
where
    T: ArrowPrimitiveType<Native = i64>,
{
    let values = array.as_primitive::<T>();
    choose(array, target, move |row| Ok(Interval { micros: unit.micros(values.value(row))?, ..Interval::default() }))
}

fn choose<'a>(
    array: &dyn Array,
    target: Target<'a>,
    read: impl Fn(usize) -> Result<Interval, Diagnosis> + 'a,
) -> Result<Cell<'a>, Diagnosis> {
    let style = target.display.interval_style;
    if target.is_text() {
        return Ok(Box::new(move |row, out| {
            interval::write(read(row)?, style, out);
            Ok(())
        }));
    }
    match target.pg_type.oid {
        1186 => Ok(Box::new(move |row, out| {
            interval::write_binary(read(row)?, out);
            Ok(())
        })),
        _ => Err(mismatch(array, target)),
    }
}
