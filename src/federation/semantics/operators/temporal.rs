//! Arithmetic over dates, times and intervals (manual, "Date/Time Functions and Operators").

use arrow::datatypes::IntervalMonthDayNano;

use crate::error::{Diagnosis, sqlstate};
use crate::pgtype::{DATE_INFINITY, DATE_NEGATIVE_INFINITY, PgType};

use super::super::clock;
use super::super::datum::{DAY_US, Datum, date_to_timestamp};
use super::super::typed::{Call, Kernel, RowKernel};
use super::{Decision, How, Operator, arithmetic};

const DATE: u32 = 1082;
const TIME: u32 = 1083;
const TS: u32 = 1114;
const TSTZ: u32 = 1184;
const INTERVAL: u32 = 1186;
const TIMETZ: u32 = 1266;

/// Decides an operator when an operand is not a number.
pub(super) fn decide(operator: Operator, left: PgType, right: PgType) -> Option<Decision> {
    use Operator::{Add, Divide, Multiply, Subtract};
    let integer = |oid: u32| matches!(oid, 21 | 23);
    let number = |oid: u32| matches!(oid, 20 | 21 | 23 | 700 | 701 | 1700);
    let (returns, kernel): (PgType, RowKernel) = match (operator, left.oid, right.oid) {
        (Add, DATE, days) if integer(days) => (PgType::DATE, |_, a| move_date(&a[0], a[1].as_int())),
        (Add, days, DATE) if integer(days) => (PgType::DATE, |_, a| move_date(&a[1], a[0].as_int())),
        (Subtract, DATE, days) if integer(days) => (PgType::DATE, |_, a| move_date(&a[0], -a[1].as_int())),
        (Subtract, DATE, DATE) => (PgType::INT4, subtract_dates),
        (Add, DATE, TIME) => (PgType::TIMESTAMP, |_, a| date_at(&a[0], &a[1])),
        (Add, TIME, DATE) => (PgType::TIMESTAMP, |_, a| date_at(&a[1], &a[0])),
        (Add, DATE | TS, INTERVAL) => (PgType::TIMESTAMP, |_, a| shift(&a[0], a[1].as_interval())),
        (Add, INTERVAL, DATE | TS) => (PgType::TIMESTAMP, |_, a| shift(&a[1], a[0].as_interval())),
        (Subtract, DATE | TS, INTERVAL) => (PgType::TIMESTAMP, |_, a| shift(&a[0], opposite(a[1].as_interval()))),
        (Add, TSTZ, INTERVAL) => (PgType::TIMESTAMPTZ, |call, a| shift_zoned(call, &a[0], a[1].as_interval())),
        (Add, INTERVAL, TSTZ) => (PgType::TIMESTAMPTZ, |call, a| shift_zoned(call, &a[1], a[0].as_interval())),
        (Subtract, TSTZ, INTERVAL) => (PgType::TIMESTAMPTZ, |call, a| shift_zoned(call, &a[0], opposite(a[1].as_interval()))),
        (Subtract, TS, TS | DATE) | (Subtract, DATE, TS) => (PgType::INTERVAL, |_, a| subtract_timestamps(&a[0], &a[1])),
        (Subtract, TSTZ, TSTZ | TS | DATE) | (Subtract, TS | DATE, TSTZ) => {
            let operands = [Some(PgType::TIMESTAMPTZ), Some(PgType::TIMESTAMPTZ)];
            let how = How::Kernel(arithmetic::name(operator), Kernel::Strict(|_, a| subtract_timestamps(&a[0], &a[1])));
            return Some(Decision { operands, returns: PgType::INTERVAL.into(), how });
        }
        (Add, TIME, INTERVAL) => (PgType::TIME, |_, a| shift_time(&a[0], a[1].as_interval())),
        (Add, INTERVAL, TIME) => (PgType::TIME, |_, a| shift_time(&a[1], a[0].as_interval())),
        (Subtract, TIME, INTERVAL) => (PgType::TIME, |_, a| shift_time(&a[0], opposite(a[1].as_interval()))),
        (Subtract, TIME, TIME) => {
            (PgType::INTERVAL, |_, a| Ok(Datum::Interval(microseconds(a[0].as_int().wrapping_sub(a[1].as_int()))?)))
        }
        (Add, INTERVAL, INTERVAL) => (PgType::INTERVAL, |_, a| add_intervals(a[0].as_interval(), a[1].as_interval())),
        (Subtract, INTERVAL, INTERVAL) => {
            (PgType::INTERVAL, |_, a| add_intervals(a[0].as_interval(), opposite(a[1].as_interval())))
        }
        (Multiply, INTERVAL, by) if number(by) => (PgType::INTERVAL, |_, a| scale(a[0].as_interval(), a[1].as_float())),
        (Multiply, by, INTERVAL) if number(by) => (PgType::INTERVAL, |_, a| scale(a[1].as_interval(), a[0].as_float())),
        (Divide, INTERVAL, by) if number(by) => (PgType::INTERVAL, divide),
        _ => return None,
    };
    // An operand that was an untyped literal takes the type it was assumed to have.
    let operands = [settle(left), settle(right)];
    Some(Decision { operands, returns: returns.into(), how: How::Kernel(arithmetic::name(operator), Kernel::Strict(kernel)) })
}

fn settle(pg_type: PgType) -> Option<PgType> {
    (pg_type.oid != TIMETZ).then_some(PgType::with_typmod(pg_type.oid, -1))
}

type Outcome<'a> = Result<Datum<'a>, Diagnosis>;

fn refuse(what: &str) -> Diagnosis {
    Diagnosis::new(sqlstate::DATETIME_FIELD_OVERFLOW, format!("{what} out of range"))
}

fn opposite(value: IntervalMonthDayNano) -> IntervalMonthDayNano {
    IntervalMonthDayNano::new(value.months.wrapping_neg(), value.days.wrapping_neg(), value.nanoseconds.wrapping_neg())
}

/// An interval of microseconds only.
pub(in super::super) fn microseconds(value: i64) -> Result<IntervalMonthDayNano, Diagnosis> {
    let nanoseconds = value.checked_mul(1000).ok_or_else(|| refuse("interval"))?;
    Ok(IntervalMonthDayNano::new(0, 0, nanoseconds))
}

fn move_date<'a>(date: &Datum<'a>, by: i64) -> Outcome<'a> {
    let Datum::Date(days) = date else { return Ok(Datum::Null) };
    if matches!(*days, DATE_INFINITY | DATE_NEGATIVE_INFINITY) {
        return Ok(date.clone());
    }
    let moved = i32::try_from(i64::from(*days) + by).ok().filter(|days| clock::is_date(*days));
    moved.map(Datum::Date).ok_or_else(|| refuse("date"))
}

fn subtract_dates<'a>(_: &Call<'_>, a: &[Datum<'a>]) -> Outcome<'a> {
    match (&a[0], &a[1]) {
        (Datum::Date(left), Datum::Date(right)) => {
            if [left, right].iter().any(|days| matches!(**days, DATE_INFINITY | DATE_NEGATIVE_INFINITY)) {
                return Err(Diagnosis::new(sqlstate::DATETIME_FIELD_OVERFLOW, "cannot subtract infinite dates"));
            }
            Ok(Datum::Int(i64::from(*left) - i64::from(*right)))
        }
        _ => Ok(Datum::Null),
    }
}

fn date_at<'a>(date: &Datum<'a>, time: &Datum<'a>) -> Outcome<'a> {
    let Datum::Date(days) = date else { return Ok(Datum::Null) };
    let midnight = date_to_timestamp(*days);
    if clock::is_infinite(midnight) {
        return Ok(Datum::Timestamp(midnight));
    }
    Ok(Datum::Timestamp(midnight.checked_add(time.as_int()).ok_or_else(|| refuse("timestamp"))?))
}

fn instant(value: &Datum<'_>) -> i64 {
    match value {
        Datum::Date(days) => date_to_timestamp(*days),
        other => other.as_int(),
    }
}

fn shift<'a>(at: &Datum<'a>, by: IntervalMonthDayNano) -> Outcome<'a> {
    Ok(Datum::Timestamp(clock::add(instant(at), by)?))
}

fn shift_zoned<'a>(call: &Call<'_>, at: &Datum<'a>, by: IntervalMonthDayNano) -> Outcome<'a> {
    Ok(Datum::Timestamp(clock::add_in_zone(instant(at), by, call.session.display.time_zone)?))
}

fn subtract_timestamps<'a>(left: &Datum<'a>, right: &Datum<'a>) -> Outcome<'a> {
    let (left, right) = (instant(left), instant(right));
    if clock::is_infinite(left) || clock::is_infinite(right) {
        return Err(Diagnosis::new(sqlstate::DATETIME_FIELD_OVERFLOW, "cannot subtract infinite timestamps"));
    }
    let difference = left.checked_sub(right).ok_or_else(|| refuse("interval"))?;
    let days = i32::try_from(difference / DAY_US).ok().ok_or_else(|| refuse("interval"))?;
    Ok(Datum::Interval(IntervalMonthDayNano::new(0, days, (difference % DAY_US) * 1000)))
}

fn shift_time<'a>(time: &Datum<'a>, by: IntervalMonthDayNano) -> Outcome<'a> {
    let moved = time.as_int().wrapping_add(by.nanoseconds / 1000);
    Ok(Datum::Time(moved.rem_euclid(DAY_US)))
}

fn add_intervals<'a>(left: IntervalMonthDayNano, right: IntervalMonthDayNano) -> Outcome<'a> {
    let sum = || {
        Some(IntervalMonthDayNano::new(
            left.months.checked_add(right.months)?,
            left.days.checked_add(right.days)?,
            left.nanoseconds.checked_add(right.nanoseconds)?,
        ))
    };
    sum().map(Datum::Interval).ok_or_else(|| refuse("interval"))
}

fn divide<'a>(_: &Call<'_>, a: &[Datum<'a>]) -> Outcome<'a> {
    match a[1].as_float() {
        0.0 => Err(super::super::numeric::division_by_zero()),
        by => divide_interval(a[0].as_interval(), by),
    }
}

/// An interval divided by a number that is not zero.
///
/// # Errors
/// 22008 beyond the range of intervals.
pub(in super::super) fn divide_interval(value: IntervalMonthDayNano, by: f64) -> Result<Datum<'static>, Diagnosis> {
    scale_by(value, |part| part / by)
}

fn scale<'a>(value: IntervalMonthDayNano, factor: f64) -> Outcome<'a> {
    scale_by(value, |part| part * factor)
}

/// Fractions of months flow into days (30 a month), fractions of days into time, as `interval_mul` does.
fn scale_by(value: IntervalMonthDayNano, apply: impl Fn(f64) -> f64) -> Outcome<'static> {
    let range = || refuse("interval");
    let whole = |part: f64| -> Result<i32, Diagnosis> {
        if part.is_nan() || part > f64::from(i32::MAX) || part < f64::from(i32::MIN) { Err(range()) } else { Ok(part as i32) }
    };
    let six = |part: f64| (part * 1e6).round_ties_even() / 1e6;
    let months = apply(f64::from(value.months));
    let days = apply(f64::from(value.days));
    let (whole_months, whole_days) = (whole(months)?, whole(days)?);
    let month_rest = six((months - f64::from(whole_months)) * 30.0);
    let mut seconds = six((days - f64::from(whole_days) + month_rest - month_rest.trunc()) * 86_400.0);
    let mut carried = whole(month_rest)?;
    if seconds.abs() >= 86_400.0 {
        let extra = whole(seconds / 86_400.0)?;
        carried += extra;
        seconds -= f64::from(extra) * 86_400.0;
    }
    let total_days = whole_days.checked_add(carried).ok_or_else(range)?;
    let time = (apply((value.nanoseconds / 1000) as f64) + seconds * 1e6).round_ties_even();
    if !time.is_finite() || time.abs() > 9.2e15 {
        return Err(range());
    }
    Ok(Datum::Interval(IntervalMonthDayNano::new(whole_months, total_days, time as i64 * 1000)))
}
