//! The reader of intervals: numbers with units, clocks, year-month pairs, ISO 8601 durations.

use super::{Interval, fields};
use crate::error::Diagnosis;
use crate::format::{IntervalStyle, fault};
use crate::pgtype::PgType;

/// Microseconds, days and months while they add up; fractions of a month become days of 30, of a day hours.
#[derive(Default)]
struct Sum {
    months: i128,
    days: i128,
    micros: i128,
    /// Units seen, so that none is given twice.
    seen: Vec<Unit>,
    /// Whether unsigned numbers count as negative.
    is_all_negative: bool,
    /// Whether a clock of two parts is minutes and seconds.
    starts_with_minutes: bool,
    /// Whether a part is too large for its place, such as minute 60.
    is_out_of_range: bool,
}

/// A unit that a number may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Millennium,
    Century,
    Decade,
    Year,
    Month,
    Week,
    Day,
    Hour,
    Minute,
    Second,
    Millisecond,
    Microsecond,
}

impl Unit {
    fn of(word: &str) -> Option<Self> {
        Some(match word {
            "millennium" | "millennia" | "mil" | "mils" | "millenniums" => Self::Millennium,
            "century" | "centuries" | "cent" | "c" => Self::Century,
            "decade" | "decades" | "dec" | "decs" => Self::Decade,
            "year" | "years" | "yr" | "yrs" | "y" => Self::Year,
            "month" | "months" | "mon" | "mons" => Self::Month,
            "week" | "weeks" | "w" => Self::Week,
            "day" | "days" | "d" => Self::Day,
            "hour" | "hours" | "hr" | "hrs" | "h" => Self::Hour,
            "minute" | "minutes" | "min" | "mins" | "m" => Self::Minute,
            "second" | "seconds" | "sec" | "secs" | "s" => Self::Second,
            "millisecond" | "milliseconds" | "ms" | "msec" | "msecs" | "msecond" | "mseconds" => Self::Millisecond,
            "microsecond" | "microseconds" | "us" | "usec" | "usecs" | "usecond" | "useconds" => Self::Microsecond,
            _ => return None,
        })
    }

    /// Size in months, days and microseconds; one of them is not zero.
    fn size(self) -> (i128, i128, i128) {
        match self {
            Self::Millennium => (12_000, 0, 0),
            Self::Century => (1_200, 0, 0),
            Self::Decade => (120, 0, 0),
            Self::Year => (12, 0, 0),
            Self::Month => (1, 0, 0),
            Self::Week => (0, 7, 0),
            Self::Day => (0, 1, 0),
            Self::Hour => (0, 0, 3_600_000_000),
            Self::Minute => (0, 0, 60_000_000),
            Self::Second => (0, 0, 1_000_000),
            Self::Millisecond => (0, 0, 1_000),
            Self::Microsecond => (0, 0, 1),
        }
    }
}

/// A decimal number: sign, whole part, and a fraction in billionths.
#[derive(Clone, Copy)]
struct Number {
    is_negative: bool,
    whole: i128,
    billionths: i128,
}

const BILLION: i128 = 1_000_000_000;

impl Number {
    fn parse(text: &str) -> Option<Self> {
        let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
        let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
        let is_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if (whole.is_empty() && fraction.is_empty()) || !is_digits(whole) || !is_digits(fraction) || whole.len() > 20 {
            return None;
        }
        let billionths = format!("{:0<9.9}", fraction).parse().ok()?;
        let whole = if whole.is_empty() { 0 } else { whole.parse().ok()? };
        Some(Self { is_negative: text.starts_with('-'), whole, billionths })
    }

    fn signed(self, value: i128) -> i128 {
        if self.is_negative { -value } else { value }
    }
}

impl Sum {
    fn add(&mut self, number: Number, unit: Unit) -> Option<()> {
        if self.seen.contains(&unit) {
            return None;
        }
        self.seen.push(unit);
        let number = Number { is_negative: number.is_negative || self.is_all_negative, ..number };
        let (months, days, micros) = unit.size();
        self.months += number.signed(number.whole * months);
        self.days += number.signed(number.whole * days);
        self.micros += number.signed(number.whole * micros);
        self.add_fraction(number, (months, days, micros));
        Some(())
    }

    /// Spreads a fraction of a unit: years round to months, months fall to days and hours, days to hours.
    fn add_fraction(&mut self, number: Number, (months, days, micros): (i128, i128, i128)) {
        if number.billionths == 0 {
            return;
        }
        if months > 1 {
            self.months += number.signed(round_div(number.billionths * months, BILLION));
            return;
        }
        let day_billionths = number.billionths * (months * 30 + days);
        self.days += number.signed(day_billionths / BILLION);
        let rest = day_billionths % BILLION * i128::from(crate::format::calendar::DAY_MICROS) + number.billionths * micros;
        self.micros += number.signed(round_div(rest, BILLION));
    }

    fn finish(self, text: &str, is_ago: bool) -> Result<Interval, Diagnosis> {
        let sign = if is_ago { -1 } else { 1 };
        let range = || fault::interval_field(text);
        if self.is_out_of_range {
            return Err(range());
        }
        Ok(Interval {
            months: i32::try_from(self.months * sign).map_err(|_cause| range())?,
            days: i32::try_from(self.days * sign).map_err(|_cause| range())?,
            micros: i64::try_from(self.micros * sign).map_err(|_cause| range())?,
        })
    }
}

/// Division of non-negative numbers rounded half to even, as `rint`.
fn round_div(value: i128, divisor: i128) -> i128 {
    let (quotient, rest) = (value / divisor, value % divisor);
    let is_up = rest * 2 > divisor || (rest * 2 == divisor && quotient % 2 == 1);
    quotient + i128::from(is_up)
}

/// Reads an interval. `style` matters for one form only: under `sql_standard` a leading minus covers every part.
///
/// # Errors
/// 22007, or 22008 when a part does not fit.
pub fn read(text: &str, style: IntervalStyle) -> Result<Interval, Diagnosis> {
    read_as(text, style, PgType::INTERVAL)
}

/// [`read`] under the fields of a constrained `interval`, which decide what numbers without a unit mean. What the type does
/// not keep is still there: see [`super::adjust`].
///
/// # Errors
/// As [`read`].
pub fn read_as(text: &str, style: IntervalStyle, pg_type: PgType) -> Result<Interval, Diagnosis> {
    let invalid = || fault::invalid_datetime("interval", text);
    let trimmed = fault::trim(text);
    if let Some(rest) = trimmed.strip_prefix('P') {
        return read_iso(rest).ok_or_else(invalid)?.finish(text, false);
    }
    let lowered = trimmed.to_ascii_lowercase();
    let mut words = split(&lowered).ok_or_else(invalid)?;
    let is_ago = words.last() == Some(&"ago");
    if is_ago {
        words.pop();
    }
    let is_all_negative = style == IntervalStyle::SqlStandard && is_all_negative(&words);
    let sum = Sum { is_all_negative, starts_with_minutes: fields::starts_with_minutes(pg_type), ..Sum::default() };
    read_words(&words, sum, fields::unit_of_bare_number(pg_type)).ok_or_else(invalid)?.finish(text, is_ago)
}

/// Under `sql_standard` one leading minus and no other sign negates every part.
fn is_all_negative(words: &[&str]) -> bool {
    let leads = words.first().is_some_and(|word| word.starts_with('-'));
    leads && words.iter().skip(1).all(|word| !word.starts_with(['+', '-']))
}

/// Cuts at blanks and between a number and the unit glued to it; `@` is dropped.
fn split(text: &str) -> Option<Vec<&str>> {
    let mut words = Vec::new();
    for piece in text.split(fault::is_space).filter(|piece| !piece.is_empty() && *piece != "@") {
        let mut rest = piece;
        while !rest.is_empty() {
            let is_letter = |c: char| c.is_ascii_lowercase();
            let starts_with_letter = rest.starts_with(is_letter);
            let length = rest.find(|c| is_letter(c) != starts_with_letter).unwrap_or(rest.len());
            let (word, tail) = rest.split_at_checked(length)?;
            words.push(word);
            rest = tail;
        }
    }
    // More parts than there are units cannot be an interval.
    (1..=30).contains(&words.len()).then_some(words)
}

fn read_words(words: &[&str], mut sum: Sum, last_unit: Unit) -> Option<Sum> {
    let mut rest = words;
    while let Some((&word, tail)) = rest.split_first() {
        rest = tail;
        if word.contains(':') {
            read_clock(word, &mut sum)?;
            continue;
        }
        if let Some((years, months)) = word.get(1..).and_then(|tail| tail.split_once('-')) {
            let head = word.get(..1)?;
            read_years_and_months(&format!("{head}{years}"), months, &mut sum)?;
            continue;
        }
        let number = Number::parse(word)?;
        match tail.first().copied() {
            Some(next) if Unit::of(next).is_some() => {
                rest = tail.get(1..)?;
                sum.add(number, Unit::of(next)?)?;
            }
            // A bare number is days before a clock or hours, and at the end what the type says, else seconds.
            Some(next) if next.contains(':') || begins_with_hours(tail, last_unit) => sum.add(number, Unit::Day)?,
            None => sum.add(number, last_unit)?,
            Some(_) => return None,
        }
    }
    Some(sum)
}

fn begins_with_hours(words: &[&str], last_unit: Unit) -> bool {
    match words {
        [_] => last_unit == Unit::Hour,
        [_, unit, ..] => Unit::of(unit) == Some(Unit::Hour),
        [] => false,
    }
}

/// `[+-]H:MM[:SS.ffffff]`; two parts with a fraction are minutes and seconds.
fn read_clock(word: &str, sum: &mut Sum) -> Option<()> {
    if [Unit::Hour, Unit::Minute, Unit::Second].iter().any(|unit| sum.seen.contains(unit)) {
        return None;
    }
    let unsigned = word.strip_prefix(['+', '-']).unwrap_or(word);
    let parts: Vec<&str> = unsigned.split(':').collect();
    let (hours, minutes, seconds) = match parts.as_slice() {
        // A clock may begin with its colon.
        ["", seconds] => ("0", "0", *seconds),
        [minutes, seconds] if seconds.contains('.') || sum.starts_with_minutes => ("0", *minutes, *seconds),
        [hours, minutes] => (*hours, *minutes, "0"),
        [hours, minutes, seconds] => (*hours, *minutes, *seconds),
        _ => return None,
    };
    let is_negative = word.starts_with('-');
    for (text, unit) in [(hours, Unit::Hour), (minutes, Unit::Minute), (seconds, Unit::Second)] {
        if text.starts_with(['+', '-']) || (unit != Unit::Second && text.contains('.')) {
            return None;
        }
        let number = Number { is_negative, ..Number::parse(text)? };
        sum.is_out_of_range |= unit != Unit::Hour && number.whole > if unit == Unit::Second { 60 } else { 59 };
        sum.add(number, unit)?;
    }
    Some(())
}

/// `[+-]Y-M`.
fn read_years_and_months(years: &str, months: &str, sum: &mut Sum) -> Option<()> {
    let years = Number::parse(years)?;
    let months = Number { is_negative: years.is_negative, ..Number::parse(months)? };
    if months.billionths != 0 || years.billionths != 0 {
        return None;
    }
    sum.is_out_of_range |= months.whole > 11;
    // One field of months, so that years beside it are not years given twice.
    sum.add(Number { whole: years.whole * 12 + months.whole, ..years }, Unit::Month)
}

/// What follows `P`: designators (`1Y2M3DT4H5M6S`) or the alternative form (`0001-02-03T04:05:06`).
fn read_iso(text: &str) -> Option<Sum> {
    let (date, clock) = text.split_once('T').unwrap_or((text, ""));
    if text.is_empty() {
        return None;
    }
    let mut sum = Sum::default();
    if let [years, months, days] = date.split('-').collect::<Vec<_>>().as_slice()
        && !years.is_empty()
        && !date.contains(|c: char| c.is_ascii_alphabetic())
    {
        for (text, unit) in [(years, Unit::Year), (months, Unit::Month), (days, Unit::Day)] {
            sum.add(Number::parse(text)?, unit)?;
        }
    } else {
        read_designators(date, &mut sum, |letter| match letter {
            'Y' => Some(Unit::Year),
            'M' => Some(Unit::Month),
            'W' => Some(Unit::Week),
            'D' => Some(Unit::Day),
            _ => None,
        })?;
    }
    if clock.contains(':') {
        read_clock(clock, &mut sum)?;
        return Some(sum);
    }
    read_designators(clock, &mut sum, |letter| match letter {
        'H' => Some(Unit::Hour),
        'M' => Some(Unit::Minute),
        'S' => Some(Unit::Second),
        _ => None,
    })?;
    Some(sum)
}

fn read_designators(text: &str, sum: &mut Sum, unit_of: impl Fn(char) -> Option<Unit>) -> Option<()> {
    let mut rest = text;
    while !rest.is_empty() {
        let at = rest.find(|c: char| c.is_ascii_alphabetic())?;
        let (number, tail) = rest.split_at_checked(at)?;
        let letter = tail.chars().next()?;
        sum.add(Number::parse(number)?, unit_of(letter)?)?;
        rest = tail.get(1..)?;
    }
    Some(())
}
