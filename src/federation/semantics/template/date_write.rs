//! `to_char` of timestamps and intervals.

use std::fmt::Write as _;

use crate::error::{Diagnosis, sqlstate};
use crate::format::calendar;

use super::super::clock;
use super::date_keys::{Case, DAYS, Field, MONTHS, Pattern, ROMAN, short};
use super::{Node, ordinal};

/// The fields of a timestamp or an interval.
#[derive(Debug, Clone, Default)]
pub(in super::super) struct Moment {
    /// Astronomical year of a timestamp.
    pub(in super::super) year: i64,
    pub(in super::super) month: i64,
    pub(in super::super) day: i64,
    pub(in super::super) hour: i64,
    pub(in super::super) minute: i64,
    pub(in super::super) second: i64,
    pub(in super::super) micros: i64,
    /// Seconds east of UTC.
    pub(in super::super) offset: i64,
    /// The zone's abbreviation at that moment.
    pub(in super::super) zone: Option<String>,
    pub(in super::super) is_interval: bool,
}

impl Moment {
    fn days(&self) -> i64 {
        if !self.is_interval {
            return clock::days_of(self.year, self.month, self.day);
        }
        // An interval may have any count of months; PostgreSQL counts its days by this rule all the same.
        let (year, month) = if self.month > 2 { (self.year + 4800, self.month + 1) } else { (self.year + 4799, self.month + 13) };
        let century = year / 100;
        year * 365 + year / 4 - century + century / 4 + 7834 * month / 256 + self.day - 32_167 - 2_440_588
    }

    /// The day of the year, or of an interval its days at thirty a month.
    fn day_of_year(&self) -> i64 {
        if self.is_interval {
            return (self.year * 12 + self.month) * 30 + self.day;
        }
        self.days() - clock::days_of(self.year, 1, 1) + 1
    }

    /// A year as templates show it: before Christ counted from 1.
    fn shown(&self, year: i64) -> i64 {
        if self.is_interval || year > 0 { year } else { 1 - year }
    }

    /// Year and number of the ISO week.
    fn iso_week(&self) -> (i64, i64) {
        let (today, mut year) = (self.days(), self.year);
        if today < iso_start(year) {
            year -= 1;
        }
        let week = (today - iso_start(year)) / 7 + 1;
        let next = iso_start(year + 1);
        if week >= 52 && today >= next { (year + 1, (today - next) / 7 + 1) } else { (year, week) }
    }

    fn century(&self) -> i64 {
        match self.year {
            year if self.is_interval => year / 100,
            year if year > 0 => (year - 1) / 100 + 1,
            year => year / 100 - 1,
        }
    }
}

/// The first Monday of an ISO year, in days since 1970.
pub(super) fn iso_start(year: i64) -> i64 {
    let fourth = clock::days_of(year, 1, 4);
    fourth - (fourth + 3).rem_euclid(7)
}

/// Writes a moment by a template.
///
/// # Errors
/// 22007 for patterns that an interval does not have.
pub(in super::super) fn write(nodes: &[Node<Pattern>], moment: &Moment) -> Result<String, Diagnosis> {
    let mut out = String::new();
    for node in nodes {
        match node {
            Node::Pattern(pattern) => write_pattern(pattern, moment, &mut out)?,
            other => out.extend(other.literal()),
        }
    }
    Ok(out)
}

fn write_pattern(pattern: &Pattern, moment: &Moment, out: &mut String) -> Result<(), Diagnosis> {
    if moment.is_interval && needs_calendar(pattern.field) {
        let message = "invalid format specification for an interval value";
        let error = Diagnosis::new(sqlstate::INVALID_DATETIME_FORMAT, message);
        return Err(error.with_hint("Intervals are not tied to specific calendar dates."));
    }
    if let Some(text) = number(pattern, moment) {
        out.push_str(&text);
        if let Some(upper) = pattern.ordinal {
            out.push_str(ordinal(&text, upper)?);
        }
        return Ok(());
    }
    out.push_str(&word(pattern, moment));
    Ok(())
}

fn needs_calendar(field: Field) -> bool {
    matches!(
        field,
        Field::Era { .. }
            | Field::DayName
            | Field::DayShort
            | Field::DayOfWeek
            | Field::IsoDayOfWeek
            | Field::MonthName
            | Field::MonthShort
            | Field::Offset
            | Field::ZoneHour
            | Field::ZoneMinute
            | Field::ZoneName
    )
}

/// A number with zeros before it, of which a sign does not take the place of one.
fn padded(value: i64, width: usize, fill: bool) -> String {
    let width = match (fill, value < 0) {
        (true, _) => 0,
        (false, true) => width + 1,
        (false, false) => width,
    };
    format!("{value:0width$}")
}

/// As [`padded`], with the width decided by another value's sign.
fn padded_by(value: i64, width: usize, by: i64, fill: bool) -> String {
    let width = if fill { 0 } else { width + usize::from(by < 0) };
    format!("{value:0width$}")
}

/// Patterns that give a number, to which an ordinal ending may be added.
fn number(pattern: &Pattern, moment: &Moment) -> Option<String> {
    let fill = pattern.fill;
    Some(match pattern.field {
        Field::Hour12 => {
            let hour = if moment.hour % 12 == 0 { 12 } else { moment.hour % 12 };
            padded_by(hour, 2, moment.hour, fill)
        }
        Field::Hour24 => padded(moment.hour, 2, fill),
        Field::Minute => padded(moment.minute, 2, fill),
        Field::Second => padded(moment.second, 2, fill),
        Field::Fraction(digits) => fraction(moment.micros, digits),
        Field::Millisecond => fraction(moment.micros, 3),
        Field::Microsecond => fraction(moment.micros, 6),
        Field::SecondOfDay => (moment.hour * 3600 + moment.minute * 60 + moment.second).to_string(),
        Field::Month => padded(moment.month, 2, fill),
        Field::DayOfYear => padded_by(moment.day_of_year(), 3, 0, fill),
        Field::IsoDayOfYear => padded_by(moment.days() - iso_start(moment.iso_week().0) + 1, 3, 0, fill),
        Field::DayOfMonth => padded_by(moment.day, 2, 0, fill),
        Field::DayOfWeek => (calendar::weekday(moment.days()) + 1).to_string(),
        Field::IsoDayOfWeek => match calendar::weekday(moment.days()) {
            0 => "7".to_owned(),
            day => day.to_string(),
        },
        Field::WeekOfYear => padded_by((moment.day_of_year() - 1) / 7 + 1, 2, 0, fill),
        Field::IsoWeek => padded_by(moment.iso_week().1, 2, 0, fill),
        Field::Quarter if moment.month == 0 => return None,
        Field::Quarter => ((moment.month - 1) / 3 + 1).to_string(),
        Field::Century => padded(moment.century(), 2, fill),
        Field::YearWithComma => {
            let year = moment.shown(moment.year);
            format!("{},{:03}", year / 1000, year % 1000)
        }
        Field::Year(digits) => last_digits(moment, moment.year, digits, fill),
        Field::IsoYear(digits) => last_digits(moment, moment.iso_week().0, digits, fill),
        Field::WeekOfMonth => ((moment.day - 1) / 7 + 1).to_string(),
        Field::Julian => (moment.days() + 2_440_588).to_string(),
        _ => return None,
    })
}

fn last_digits(moment: &Moment, year: i64, digits: usize, fill: bool) -> String {
    let year = moment.shown(year);
    match digits {
        1 => (year % 10).to_string(),
        2 => padded_by(year % 100, 2, moment.shown(moment.year), fill),
        3 => padded_by(year % 1000, 3, moment.shown(moment.year), fill),
        _ => padded_by(year, 4, moment.shown(moment.year), fill),
    }
}

fn fraction(micros: i64, digits: usize) -> String {
    let shift = u32::try_from(6_usize.saturating_sub(digits)).unwrap_or(0);
    format!("{:0digits$}", micros / 10_i64.pow(shift))
}

/// Patterns that give words.
fn word(pattern: &Pattern, moment: &Moment) -> String {
    let case = pattern.case;
    let name = |name: &str, width: usize| {
        // Names of the locale are as long as they are.
        let width = if pattern.fill || pattern.translated { 0 } else { width };
        format!("{:width$}", case.of(name))
    };
    let place = |value: i64| usize::try_from(value).unwrap_or(0);
    let month = || MONTHS.get(place(moment.month - 1)).copied().filter(|_| moment.month > 0);
    let day = || DAYS.get(place(calendar::weekday(moment.days()))).copied().unwrap_or_default();
    match pattern.field {
        Field::Meridiem { dotted } => {
            let late = moment.hour % 24 >= 12;
            abbreviation(if late { "PM" } else { "AM" }, dotted, case)
        }
        Field::Era { dotted } => abbreviation(if moment.year <= 0 { "BC" } else { "AD" }, dotted, case),
        Field::MonthName => month().map_or_else(String::new, |month| name(month, 9)),
        Field::MonthShort => month().map_or_else(String::new, |month| case.of(short(month))),
        Field::DayName => name(day(), 9),
        Field::DayShort => case.of(short(day())),
        Field::RomanMonth => roman_month(moment).map_or_else(String::new, |month| {
            let width = if pattern.fill { 0 } else { 4 };
            format!("{:width$}", case.of(month))
        }),
        Field::ZoneName => {
            let zone = moment.zone.clone().unwrap_or_default();
            if case == Case::Lower { zone.to_ascii_lowercase() } else { zone }
        }
        Field::ZoneHour => format!("{}{:02}", sign(moment), moment.offset.abs() / 3600),
        Field::ZoneMinute => format!("{:02}", moment.offset.abs() / 60 % 60),
        Field::Offset => offset(pattern, moment),
        _ => String::new(),
    }
}

fn abbreviation(letters: &str, dotted: bool, case: Case) -> String {
    let text = if dotted { letters.chars().flat_map(|letter| [letter, '.']).collect() } else { letters.to_owned() };
    if case == Case::Lower { text.to_ascii_lowercase() } else { text }
}

fn sign(moment: &Moment) -> char {
    if moment.offset < 0 { '-' } else { '+' }
}

fn offset(pattern: &Pattern, moment: &Moment) -> String {
    let width = if pattern.fill { 0 } else { 2 };
    let mut text = format!("{}{:0width$}", sign(moment), moment.offset.abs() / 3600);
    let minutes = moment.offset.abs() / 60 % 60;
    if moment.offset % 3600 != 0 {
        // Writing to a string does not fail.
        write!(text, ":{minutes:02}").ok();
    }
    text
}

/// Twelve months are no months and a year, but December all the same.
fn roman_month(moment: &Moment) -> Option<&'static str> {
    let place = match (moment.month, moment.year) {
        (0, 0) => return None,
        (0, year) if year >= 0 => 0,
        (0, _) => 11,
        (month, _) if month < 0 => -(month + 1),
        (month, _) => 12 - month,
    };
    ROMAN.get(usize::try_from(place).unwrap_or(0)).copied()
}
