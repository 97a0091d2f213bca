//! Date and time functions (manual, "Date/Time Functions and Operators"), but for formatting (`format_time`).

use arrow::datatypes::IntervalMonthDayNano;
use datafusion::logical_expr::Volatility;

use crate::error::{Diagnosis, sqlstate};
use crate::format::{TimeZone, calendar, fault, zone};
use crate::pgtype::{DATE_INFINITY, DATE_NEGATIVE_INFINITY, PgType};

use super::super::clock;
use super::super::datum::{DAY_US, Datum};
use super::super::numeric::Numeric;
use super::super::overload::{Overload, row};
use super::super::typed::Call;

const TEXT: PgType = PgType::TEXT;
const F8: PgType = PgType::FLOAT8;
const NUM: PgType = PgType::NUMERIC;
const INT4: PgType = PgType::INT4;
const DATE: PgType = PgType::DATE;
const TIME: PgType = PgType::TIME;
const TS: PgType = PgType::TIMESTAMP;
const TZ: PgType = PgType::TIMESTAMPTZ;
const IV: PgType = PgType::INTERVAL;

type Outcome<'a> = Result<Datum<'a>, Diagnosis>;

/// The family's rows.
pub(super) const ROWS: &[Overload] = &[
    row("extract", &[TEXT, TS], NUM, |call, a| part_of_timestamp(call, a, false)),
    row("extract", &[TEXT, TZ], NUM, |call, a| part_of_timestamp(call, a, true)),
    row("extract", &[TEXT, DATE], NUM, part_of_date),
    row("extract", &[TEXT, TIME], NUM, |_, a| part_of_time(a)),
    row("extract", &[TEXT, IV], NUM, |_, a| part_of_interval(a)),
    row("date_part", &[TEXT, TS], F8, |call, a| float(part_of_timestamp(call, a, false)?)),
    row("date_part", &[TEXT, TZ], F8, |call, a| float(part_of_timestamp(call, a, true)?)),
    row("date_part", &[TEXT, DATE], F8, |call, a| float(part_of_date(call, a)?)),
    row("date_part", &[TEXT, TIME], F8, |_, a| float(part_of_time(a)?)),
    row("date_part", &[TEXT, IV], F8, |_, a| float(part_of_interval(a)?)),
    row("date_trunc", &[TEXT, TS], TS, |_, a| {
        Ok(Datum::Timestamp(truncate(a[0].as_text(), a[1].as_int(), "timestamp without time zone")?))
    }),
    row("date_trunc", &[TEXT, TZ], TZ, |call, a| truncate_zoned(a, call.session.display.time_zone)),
    row("date_trunc", &[TEXT, TZ, TEXT], TZ, |_, a| truncate_zoned(a, named(a[2].as_text())?)),
    row("date_trunc", &[TEXT, IV], IV, truncate_interval),
    row("age", &[TS, TS], IV, |_, a| Ok(Datum::Interval(age(a[0].as_int(), a[1].as_int())?))),
    row("age", &[TZ, TZ], IV, |call, a| {
        let zone = call.session.display.time_zone;
        Ok(Datum::Interval(age(clock::to_local(a[0].as_int(), zone), clock::to_local(a[1].as_int(), zone))?))
    }),
    row("age", &[TS], IV, |call, a| Ok(Datum::Interval(age(today(call)?, a[0].as_int())?))).volatility(Volatility::Stable),
    row("age", &[TZ], IV, |call, a| {
        Ok(Datum::Interval(age(today(call)?, clock::to_local(a[0].as_int(), call.session.display.time_zone))?))
    })
    .volatility(Volatility::Stable),
    row("now", &[], TZ, |call, _| Ok(Datum::Timestamp(now(call)?))).volatility(Volatility::Stable),
    row("transaction_timestamp", &[], TZ, |call, _| Ok(Datum::Timestamp(now(call)?))).volatility(Volatility::Stable),
    row("current_timestamp", &[], TZ, |call, _| Ok(Datum::Timestamp(now(call)?))).volatility(Volatility::Stable),
    row("statement_timestamp", &[], TZ, |call, _| {
        Ok(Datum::Timestamp(call.session.statement_start_us.map_or_else(|| now(call), Ok)?))
    })
    .volatility(Volatility::Stable),
    row("clock_timestamp", &[], TZ, |_, _| Ok(Datum::Timestamp(chrono::Utc::now().timestamp_micros())))
        .volatility(Volatility::Volatile),
    row("localtimestamp", &[], TS, |call, _| Ok(Datum::Timestamp(local_now(call)?))).volatility(Volatility::Stable),
    row("localtime", &[], TIME, |call, _| Ok(Datum::Time(local_now(call)?.rem_euclid(DAY_US)))).volatility(Volatility::Stable),
    row("current_date", &[], DATE, |call, _| date(local_now(call)?.div_euclid(DAY_US))).volatility(Volatility::Stable),
    row("make_date", &[INT4, INT4, INT4], DATE, make_date),
    row("make_time", &[INT4, INT4, F8], TIME, |_, a| Ok(Datum::Time(time_of(&a[0], &a[1], &a[2])?))),
    row("make_timestamp", &[INT4, INT4, INT4, INT4, INT4, F8], TS, |call, a| Ok(Datum::Timestamp(make_timestamp(call, a)?))),
    row("make_timestamptz", &[INT4, INT4, INT4, INT4, INT4, F8], TZ, |call, a| {
        Ok(Datum::Timestamp(clock::to_instant(make_timestamp(call, a)?, call.session.display.time_zone)))
    }),
    row("make_interval", &[INT4], IV, make_interval).variadic(),
    row("make_interval", &[INT4, INT4, INT4, INT4, INT4, INT4, F8], IV, make_interval),
    row("justify_days", &[IV], IV, |_, a| Ok(Datum::Interval(justify(a[0].as_interval(), true, false)?))),
    row("justify_hours", &[IV], IV, |_, a| Ok(Datum::Interval(justify(a[0].as_interval(), false, true)?))),
    row("justify_interval", &[IV], IV, |_, a| Ok(Datum::Interval(justify(a[0].as_interval(), true, true)?))),
    row("isfinite", &[DATE], PgType::BOOL, |_, a| {
        Ok(Datum::Bool(!matches!(a[0], Datum::Date(DATE_INFINITY | DATE_NEGATIVE_INFINITY))))
    }),
    row("isfinite", &[TS], PgType::BOOL, |_, a| Ok(Datum::Bool(!clock::is_infinite(a[0].as_int())))),
    row("isfinite", &[TZ], PgType::BOOL, |_, a| Ok(Datum::Bool(!clock::is_infinite(a[0].as_int())))),
    row("to_timestamp", &[F8], TZ, to_timestamp),
    row("timezone", &[TEXT, TZ], TS, |_, a| Ok(Datum::Timestamp(clock::to_local(a[1].as_int(), named(a[0].as_text())?)))),
    row("timezone", &[TEXT, TS], TZ, |_, a| Ok(Datum::Timestamp(clock::to_instant(a[1].as_int(), named(a[0].as_text())?)))),
    row("date_bin", &[IV, TS, TS], TS, date_bin),
    row("date_bin", &[IV, TZ, TZ], TZ, date_bin),
];

/// The start of the transaction. What is planned for executions to come has none: a call that asks for it stays a call there.
fn now(call: &Call<'_>) -> Result<i64, Diagnosis> {
    match call.session.transaction_start_us {
        Some(start) => Ok(start),
        None if call.session.is_timeless => {
            Err(Diagnosis::new(sqlstate::INTERNAL_ERROR, "the time of a statement is known only when it runs"))
        }
        None => Ok(chrono::Utc::now().timestamp_micros()),
    }
}

fn local_now(call: &Call<'_>) -> Result<i64, Diagnosis> {
    Ok(clock::to_local(now(call)?, call.session.display.time_zone))
}

fn today(call: &Call<'_>) -> Result<i64, Diagnosis> {
    Ok(local_now(call)?.div_euclid(DAY_US) * DAY_US)
}

fn date<'a>(days: i64) -> Outcome<'a> {
    i32::try_from(days)
        .ok()
        .filter(|days| clock::is_date(*days))
        .map(Datum::Date)
        .ok_or_else(|| fault::datetime_range("date", None))
}

fn named(name: &str) -> Result<TimeZone, Diagnosis> {
    let unknown = || Diagnosis::new(sqlstate::INVALID_PARAMETER_VALUE, format!("time zone \"{name}\" not recognized"));
    zone::find(name).ok_or_else(unknown)
}

fn float<'a>(value: Datum<'a>) -> Outcome<'a> {
    Ok(match value {
        Datum::Numeric(value) => Datum::Float(value.to_float()),
        other => other,
    })
}

fn whole<'a>(value: i64) -> Outcome<'a> {
    Ok(Datum::Numeric(Numeric::from_parts(value, 0)))
}

fn scaled<'a>(value: i64, scale: i64) -> Outcome<'a> {
    Ok(Datum::Numeric(Numeric::from_parts(value, scale)))
}

fn unsupported(unit: &str, type_name: &str) -> Diagnosis {
    Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, format!("unit \"{unit}\" not supported for type {type_name}"))
}

fn unrecognized(unit: &str, type_name: &str) -> Diagnosis {
    Diagnosis::new(sqlstate::INVALID_PARAMETER_VALUE, format!("unit \"{unit}\" not recognized for type {type_name}"))
}

/// The canonical name of a unit, its plural and abbreviations.
fn unit(text: &str) -> String {
    let lower = text.to_ascii_lowercase();
    let canonical = match lower.as_str() {
        "years" | "yr" | "yrs" | "y" => "year",
        "months" | "mon" | "mons" => "month",
        "days" | "d" => "day",
        "hours" | "hr" | "hrs" | "h" => "hour",
        "minutes" | "min" | "mins" | "m" => "minute",
        "seconds" | "sec" | "secs" | "s" => "second",
        "milliseconds" | "millisecond" | "ms" | "msec" | "msecs" => "millisecond",
        "microseconds" | "microsecond" | "us" | "usec" | "usecs" => "microsecond",
        "weeks" | "w" => "week",
        "quarters" | "qtr" => "quarter",
        "decades" | "dec" | "decs" => "decade",
        "centuries" | "cent" | "c" => "century",
        "millennia" | "mil" | "mils" => "millennium",
        other => other,
    };
    canonical.to_owned()
}

/// A part of the clock within a day; `None` when the unit is not one.
fn clock_part(unit: &str, time: i64) -> Option<Outcome<'static>> {
    let in_minute = time % 60_000_000;
    Some(match unit {
        "hour" => whole(time / 3_600_000_000),
        "minute" => whole(time / 60_000_000 % 60),
        "second" => scaled(in_minute, 6),
        "millisecond" => scaled(in_minute, 3),
        "microsecond" => whole(in_minute),
        _ => return None,
    })
}

/// A part of a calendar date; `None` when the unit is not one.
fn date_unit(unit: &str, days: i64) -> Option<i64> {
    let (year, month, day) = clock::civil(days);
    let shown = if year > 0 { year } else { year - 1 };
    let weekday = (days + 4).rem_euclid(7);
    let centuries = |years: i64| if year > 0 { (year + years - 1) / years } else { -((years - shown - 1) / years) };
    Some(match unit {
        "year" => shown,
        "month" => month,
        "day" => day,
        "quarter" => (month - 1) / 3 + 1,
        "decade" => year.div_euclid(10),
        "century" => centuries(100),
        "millennium" => centuries(1000),
        "dow" => weekday,
        "isodow" => {
            if weekday == 0 {
                7
            } else {
                weekday
            }
        }
        "doy" => days - clock::days_of(year, 1, 1) + 1,
        "week" => iso_week(days).1,
        "isoyear" => {
            let year = iso_week(days).0;
            if year > 0 { year } else { year - 1 }
        }
        _ => return None,
    })
}

/// Year and number of the ISO week: the week with the year's first Thursday is the first.
pub(super) fn iso_week(days: i64) -> (i64, i64) {
    let monday = days - (days + 3).rem_euclid(7);
    let (year, _, _) = clock::civil(monday + 3);
    (year, (monday + 3 - clock::days_of(year, 1, 1)) / 7 + 1)
}

/// Infinite moments have infinite years and eras and no other parts.
fn part_of_infinite<'a>(unit: &str, at: i64) -> Outcome<'a> {
    Ok(match unit {
        "year" | "decade" | "century" | "millennium" | "julian" | "isoyear" | "epoch" => {
            Datum::Numeric(if at > 0 { Numeric::Infinity } else { Numeric::NegativeInfinity })
        }
        _ => Datum::Null,
    })
}

fn part_of_timestamp<'a>(call: &Call<'_>, a: &[Datum<'a>], zoned: bool) -> Outcome<'a> {
    let type_name = if zoned { "timestamp with time zone" } else { "timestamp without time zone" };
    let (unit, at) = (unit(a[0].as_text()), a[1].as_int());
    if clock::is_infinite(at) {
        return part_of_infinite(&unit, at);
    }
    if unit == "epoch" {
        return scaled(at, 6);
    }
    let zone = if zoned { call.session.display.time_zone } else { TimeZone::Fixed(0) };
    let local = clock::to_local(at, zone);
    let offset = clock::offset_at(at, zone);
    match unit.as_str() {
        "timezone" if zoned => return whole(offset),
        "timezone_hour" if zoned => return whole(offset / 3600),
        "timezone_minute" if zoned => return whole(offset / 60 % 60),
        "timezone" | "timezone_hour" | "timezone_minute" => return Err(unsupported(&unit, type_name)),
        _ => {}
    }
    if let Some(value) = clock_part(&unit, local.rem_euclid(DAY_US)) {
        return value;
    }
    date_unit(&unit, local.div_euclid(DAY_US)).map_or_else(|| Err(unrecognized(&unit, type_name)), whole)
}

fn part_of_date<'a>(_: &Call<'_>, a: &[Datum<'a>]) -> Outcome<'a> {
    let (unit, days) = (unit(a[0].as_text()), a[1].as_int());
    match a[1] {
        Datum::Date(DATE_INFINITY) => return part_of_infinite(&unit, 1),
        Datum::Date(DATE_NEGATIVE_INFINITY) => return part_of_infinite(&unit, -1),
        _ => {}
    }
    match unit.as_str() {
        "epoch" => whole(days * 86_400),
        "julian" => whole(days + 2_440_588),
        "hour" | "minute" | "second" | "millisecond" | "microsecond" | "timezone" | "timezone_hour" | "timezone_minute" => {
            Err(unsupported(&unit, "date"))
        }
        _ => date_unit(&unit, days).map_or_else(|| Err(unrecognized(&unit, "date")), whole),
    }
}

fn part_of_time<'a>(a: &[Datum<'a>]) -> Outcome<'a> {
    let (unit, time) = (unit(a[0].as_text()), a[1].as_int());
    if unit == "epoch" {
        return scaled(time, 6);
    }
    match clock_part(&unit, time) {
        Some(value) => value,
        None if date_unit(&unit, 0).is_some() => Err(unsupported(&unit, "time without time zone")),
        None => Err(unrecognized(&unit, "time without time zone")),
    }
}

fn part_of_interval<'a>(a: &[Datum<'a>]) -> Outcome<'a> {
    let (unit, value) = (unit(a[0].as_text()), a[1].as_interval());
    let micros = value.nanoseconds / 1000;
    let (years, months) = (i64::from(value.months) / 12, i64::from(value.months) % 12);
    match unit.as_str() {
        "year" => whole(years),
        "month" => whole(months),
        "day" => whole(i64::from(value.days)),
        "hour" => whole(micros / 3_600_000_000),
        "quarter" => whole(months / 3 + 1),
        "decade" => whole(years / 10),
        "century" => whole(years / 100),
        "millennium" => whole(years / 1000),
        "epoch" => {
            // A year counts 365.25 days, a month thirty.
            let seconds = i128::from(years) * 31_557_600 + i128::from(months) * 2_592_000 + i128::from(value.days) * 86_400;
            Ok(Datum::Numeric(Numeric::from_parts(seconds * 1_000_000 + i128::from(micros), 6)))
        }
        other => match clock_part(other, micros) {
            Some(part) => part,
            None if date_unit(other, 0).is_some() => Err(unsupported(other, "interval")),
            None => Err(unrecognized(other, "interval")),
        },
    }
}

fn truncate(text: &str, at: i64, type_name: &str) -> Result<i64, Diagnosis> {
    let unit = unit(text);
    // An infinity has no day to compute with; its unit is checked all the same.
    let finite = if clock::is_infinite(at) { 0 } else { at };
    let (days, time) = (finite.div_euclid(DAY_US), finite.rem_euclid(DAY_US));
    let (year, month, _) = clock::civil(days);
    let first = |year: i64, month: i64| clock::days_of(year, month, 1) * DAY_US;
    let cut = |to: i64| days * DAY_US + time - time % to;
    let start = match unit.as_str() {
        "microsecond" => at,
        "millisecond" => cut(1000),
        "second" => cut(1_000_000),
        "minute" => cut(60_000_000),
        "hour" => cut(3_600_000_000),
        "day" => days * DAY_US,
        "week" => (days - (days + 3).rem_euclid(7)) * DAY_US,
        "month" => first(year, month),
        "quarter" => first(year, (month - 1) / 3 * 3 + 1),
        "year" => first(year, 1),
        "decade" => first(year.div_euclid(10) * 10, 1),
        "century" => first((year - 1).div_euclid(100) * 100 + 1, 1),
        "millennium" => first((year - 1).div_euclid(1000) * 1000 + 1, 1),
        other if date_unit(other, 0).is_some() => return Err(unsupported(other, type_name)),
        other => return Err(unrecognized(other, type_name)),
    };
    Ok(if clock::is_infinite(at) { at } else { start })
}

fn truncate_zoned<'a>(a: &[Datum<'a>], zone: TimeZone) -> Outcome<'a> {
    let at = a[1].as_int();
    let local = truncate(a[0].as_text(), clock::to_local(at, zone), "timestamp with time zone")?;
    if clock::is_infinite(at) {
        return Ok(Datum::Timestamp(at));
    }
    // Units below a day keep the offset of the instant, so the hour that exists twice keeps its place.
    let below_day = matches!(unit(a[0].as_text()).as_str(), "microsecond" | "millisecond" | "second" | "minute" | "hour");
    let instant = if below_day { local - clock::offset_at(at, zone) * 1_000_000 } else { clock::to_instant(local, zone) };
    Ok(Datum::Timestamp(instant))
}

fn truncate_interval<'a>(_: &Call<'_>, a: &[Datum<'a>]) -> Outcome<'a> {
    let (unit, value) = (unit(a[0].as_text()), a[1].as_interval());
    let cut = |nanoseconds: i64| IntervalMonthDayNano::new(value.months, value.days, value.nanoseconds / nanoseconds * nanoseconds);
    let months = |unit: i32| IntervalMonthDayNano::new(value.months / unit * unit, 0, 0);
    Ok(Datum::Interval(match unit.as_str() {
        "microsecond" => value,
        "millisecond" => cut(1_000_000),
        "second" => cut(1_000_000_000),
        "minute" => cut(60_000_000_000),
        "hour" => cut(3_600_000_000_000),
        "day" => IntervalMonthDayNano::new(value.months, value.days, 0),
        "month" => months(1),
        "quarter" => months(3),
        "year" => months(12),
        "decade" => months(120),
        "century" => months(1200),
        "millennium" => months(12_000),
        other if date_unit(other, 0).is_some() => return Err(unsupported(other, "interval")),
        other => return Err(unrecognized(other, "interval")),
    }))
}

/// The difference in years, months, days and time; days are borrowed from the month of the earlier moment.
fn age(end: i64, start: i64) -> Result<IntervalMonthDayNano, Diagnosis> {
    if clock::is_infinite(end) || clock::is_infinite(start) {
        return Err(fault::datetime_range("interval", None));
    }
    let negative = end < start;
    let (late, early) = if negative { (start, end) } else { (end, start) };
    let (late_days, early_days) = (late.div_euclid(DAY_US), early.div_euclid(DAY_US));
    let (mut time, (late_year, late_month, late_day), (early_year, early_month, early_day)) =
        (late.rem_euclid(DAY_US) - early.rem_euclid(DAY_US), clock::civil(late_days), clock::civil(early_days));
    let mut days = late_day - early_day;
    let mut months = (late_year - early_year) * 12 + late_month - early_month;
    if time < 0 {
        time += DAY_US;
        days -= 1;
    }
    if days < 0 {
        // A swapped pair borrows from the month of the other end, as `timestamp_age` does.
        let (year, month) = if negative { (late_year, late_month) } else { (early_year, early_month) };
        days += calendar::month_length(year, month);
        months -= 1;
    }
    let sign = if negative { -1 } else { 1 };
    let narrow = |value: i64| i32::try_from(value * sign).ok().ok_or_else(|| fault::datetime_range("interval", None));
    Ok(IntervalMonthDayNano::new(narrow(months)?, narrow(days)?, time * sign * 1000))
}

fn make_date<'a>(_: &Call<'_>, a: &[Datum<'a>]) -> Outcome<'a> {
    let (year, month, day) = (a[0].as_int(), a[1].as_int(), a[2].as_int());
    // A negative year is before Christ; there is no year zero.
    let astronomical = if year < 0 { year + 1 } else { year };
    if year == 0 || !(1..=12).contains(&month) || day < 1 || day > calendar::month_length(astronomical, month) {
        let message = format!("date field value out of range: {year}-{month:02}-{day:02}");
        return Err(Diagnosis::new(sqlstate::DATETIME_FIELD_OVERFLOW, message));
    }
    date(clock::days_of(astronomical, month, day))
}

fn time_of(hour: &Datum<'_>, minute: &Datum<'_>, second: &Datum<'_>) -> Result<i64, Diagnosis> {
    let (hour, minute, second) = (hour.as_int(), minute.as_int(), second.as_float());
    let micros = (second * 1e6).round_ties_even();
    let total = hour * 3_600_000_000 + minute * 60_000_000 + if micros.is_finite() { micros as i64 } else { -1 };
    if !(0..=24).contains(&hour) || !(0..60).contains(&minute) || !(0.0..=60.0).contains(&second) || !(0..=DAY_US).contains(&total)
    {
        let message = format!("time field value out of range: {hour}:{minute:02}:{second:02}");
        return Err(Diagnosis::new(sqlstate::DATETIME_FIELD_OVERFLOW, message));
    }
    Ok(total)
}

fn make_timestamp(call: &Call<'_>, a: &[Datum<'_>]) -> Result<i64, Diagnosis> {
    let days = make_date(call, &a[..3])?.as_int();
    clock::within(days.saturating_mul(DAY_US).saturating_add(time_of(&a[3], &a[4], &a[5])?))
}

/// Years, months, weeks, days, hours, minutes, seconds, by position.
fn make_interval<'a>(_: &Call<'_>, a: &[Datum<'a>]) -> Outcome<'a> {
    let part = |index: usize| a.get(index).map_or(0, Datum::as_int);
    let seconds = a.get(6).map_or(0.0, Datum::as_float);
    let range = || fault::datetime_range("interval", None);
    let months = i32::try_from(part(0) * 12 + part(1)).ok().ok_or_else(range)?;
    let days = i32::try_from(part(2) * 7 + part(3)).ok().ok_or_else(range)?;
    let micros = part(4) * 3_600_000_000 + part(5) * 60_000_000 + (seconds * 1e6).round_ties_even() as i64;
    Ok(Datum::Interval(IntervalMonthDayNano::new(months, days, micros.checked_mul(1000).ok_or_else(range)?)))
}

/// Carries hours into days and days into months, then gives all parts one sign.
fn justify(value: IntervalMonthDayNano, days_too: bool, hours_too: bool) -> Result<IntervalMonthDayNano, Diagnosis> {
    const DAY_NS: i64 = 86_400_000_000_000;
    let range = || fault::datetime_range("interval", None);
    let (mut months, mut days, mut time) = (i64::from(value.months), i64::from(value.days), value.nanoseconds);
    if hours_too {
        days += time / DAY_NS;
        time %= DAY_NS;
    }
    if days_too {
        months += days / 30;
        days %= 30;
        if months > 0 && (days < 0 || hours_too && days == 0 && time < 0) {
            days += 30;
            months -= 1;
        } else if months < 0 && (days > 0 || hours_too && days == 0 && time > 0) {
            days -= 30;
            months += 1;
        }
    }
    if hours_too {
        if days > 0 && time < 0 {
            time += DAY_NS;
            days -= 1;
        } else if days < 0 && time > 0 {
            time -= DAY_NS;
            days += 1;
        }
    }
    let narrow = |value: i64| i32::try_from(value).ok().ok_or_else(range);
    Ok(IntervalMonthDayNano::new(narrow(months)?, narrow(days)?, time))
}

fn to_timestamp<'a>(_: &Call<'_>, a: &[Datum<'a>]) -> Outcome<'a> {
    let seconds = a[0].as_float();
    if seconds.is_nan() {
        return Err(Diagnosis::new(sqlstate::DATETIME_FIELD_OVERFLOW, "timestamp cannot be NaN"));
    }
    if seconds.is_infinite() {
        return Ok(Datum::Timestamp(if seconds > 0.0 { i64::MAX } else { i64::MIN }));
    }
    let micros = (seconds * 1e6).round_ties_even();
    if micros.abs() >= 9.2e18 {
        return Err(Diagnosis::new(sqlstate::DATETIME_FIELD_OVERFLOW, format!("timestamp out of range: \"{seconds}\"")));
    }
    Ok(Datum::Timestamp(clock::within(micros as i64)?))
}

fn date_bin<'a>(_: &Call<'_>, a: &[Datum<'a>]) -> Outcome<'a> {
    let stride = a[0].as_interval();
    if stride.months != 0 {
        let message = "timestamps cannot be binned into intervals containing months or years";
        return Err(Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, message));
    }
    let width = i64::from(stride.days) * DAY_US + stride.nanoseconds / 1000;
    if width <= 0 {
        return Err(Diagnosis::new(sqlstate::DATETIME_FIELD_OVERFLOW, "stride must be greater than zero"));
    }
    let (at, origin) = (a[1].as_int(), a[2].as_int());
    if clock::is_infinite(at) {
        return Ok(Datum::Timestamp(at));
    }
    let passed = at.checked_sub(origin).ok_or_else(|| fault::datetime_range("interval", None))?;
    Ok(Datum::Timestamp(at - passed.rem_euclid(width)))
}
