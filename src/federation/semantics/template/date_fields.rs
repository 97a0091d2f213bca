//! From the fields that a text gave to a moment: which of them decide, and what is out of range.

use crate::error::{Diagnosis, sqlstate};
use crate::format::calendar;

use super::super::clock;
use super::super::datum::DAY_US;
use super::Node;
use super::date_keys::Pattern;
use super::date_read::{Fields, read};
use super::date_write::iso_start;

/// The greatest hour of a zone's displacement.
const ZONE_HOUR_MAX: i64 = 15;

/// A day and a time of day, in the zone that the text gave, if it gave one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in super::super) struct Read {
    /// Days since 1970-01-01.
    pub(in super::super) days: i64,
    /// Microseconds since midnight.
    pub(in super::super) time: i64,
    /// Seconds east of UTC.
    pub(in super::super) offset: Option<i64>,
    /// Digits of the fraction that the template asks for.
    pub(in super::super) fraction_digits: Option<i32>,
}

/// Reads a text by a template.
///
/// # Errors
/// 22007, 22008, 22009 and 0A000 in PostgreSQL's words.
pub(in super::super) fn to_moment(nodes: &[Node<Pattern>], text: &str) -> Result<Read, Diagnosis> {
    let fields = read(nodes, text)?;
    let overflow = || Diagnosis::new(sqlstate::DATETIME_FIELD_OVERFLOW, format!("date/time field value out of range: \"{text}\""));
    let time = time_of_day(&fields)?;
    let days = Date::of(&fields)?.days().ok_or_else(overflow)?;
    let time = time.ok_or_else(overflow)?;
    let fraction_digits = i32::try_from(fields.fraction_digits).ok().filter(|digits| *digits > 0);
    Ok(Read { days, time, offset: offset(&fields, text)?, fraction_digits })
}

/// Microseconds since midnight; `None` when a part is out of range.
fn time_of_day(fields: &Fields) -> Result<Option<i64>, Diagnosis> {
    let whole = fields.second_of_day;
    let chosen = |given: i64, default: i64| if given == 0 { default } else { given };
    let mut hour = chosen(fields.hour, whole / 3600);
    let minute = chosen(fields.minute, whole / 60 % 60);
    let second = chosen(fields.second, whole % 60);
    if fields.twelve_hours {
        if !(1..=12).contains(&hour) {
            let message = format!("hour \"{hour}\" is invalid for the 12-hour clock");
            let error = Diagnosis::new(sqlstate::INVALID_DATETIME_FORMAT, message);
            return Err(error.with_hint("Use the 24-hour clock, or give an hour between 1 and 12."));
        }
        hour = hour % 12 + if fields.afternoon != 0 { 12 } else { 0 };
    }
    let micros = fields.millisecond.saturating_mul(1000).saturating_add(fields.microsecond);
    let fits =
        (0..24).contains(&hour) && (0..60).contains(&minute) && (0..60).contains(&second) && (0..1_000_000).contains(&micros);
    Ok(fits.then(|| ((hour * 60 + minute) * 60 + second) * 1_000_000 + micros))
}

fn offset(fields: &Fields, text: &str) -> Result<Option<i64>, Diagnosis> {
    if fields.zone_sign == 0 {
        return Ok(None);
    }
    if !(0..=ZONE_HOUR_MAX).contains(&fields.zone_hour) || !(0..60).contains(&fields.zone_minute) {
        return Err(Diagnosis::new("22009", format!("time zone displacement out of range: \"{text}\"")));
    }
    Ok(Some(fields.zone_sign * (fields.zone_hour * 3600 + fields.zone_minute * 60)))
}

/// A date on its way, and which of its parts were given: only those are checked.
struct Date {
    year: i64,
    month: i64,
    day: i64,
    has_year: bool,
    has_month: bool,
    has_day: bool,
}

impl Date {
    fn of(fields: &Fields) -> Result<Self, Diagnosis> {
        let mut date = Self { year: 0, month: 1, day: 1, has_year: false, has_month: false, has_day: false };
        if let Some(year) = year(fields) {
            date.year = year;
            date.has_year = true;
        }
        if fields.julian != 0 {
            date.set_days(fields.julian - 2_440_588);
        }
        let mut day_of_year = fields.day_of_year;
        if fields.week != 0 && fields.iso {
            // Without a day the week's Monday is meant.
            let day = match fields.weekday {
                0 => 0,
                1 => 6,
                weekday => weekday - 2,
            };
            date.set_days(iso_start(date.year) + (fields.week - 1) * 7 + day);
        } else if fields.week != 0 {
            day_of_year = (fields.week - 1) * 7 + 1;
        }
        let day = if fields.week_of_month != 0 { (fields.week_of_month - 1) * 7 + 1 } else { fields.day };
        if day != 0 {
            date.day = day;
            date.has_day = true;
        }
        if fields.month != 0 {
            date.month = fields.month;
            date.has_month = true;
        }
        if day_of_year != 0 && (date.month <= 1 || date.day <= 1) {
            date.set_day_of_year(day_of_year, fields)?;
        }
        Ok(date)
    }

    fn set_days(&mut self, days: i64) {
        (self.year, self.month, self.day) = clock::civil(days);
        (self.has_year, self.has_month, self.has_day) = (true, true, true);
    }

    /// Fills in the month and the day that were not given.
    fn set_day_of_year(&mut self, day_of_year: i64, fields: &Fields) -> Result<(), Diagnosis> {
        if self.year == 0 && fields.before_christ == 0 {
            let message = "cannot calculate day of year without year information";
            return Err(Diagnosis::new(sqlstate::INVALID_DATETIME_FORMAT, message));
        }
        if fields.iso {
            self.set_days(iso_start(self.year) + day_of_year - 1);
            return Ok(());
        }
        let before = |month: i64| (1..month).map(|month| calendar::month_length(self.year, month)).sum::<i64>();
        let month = (1..=12).find(|month| day_of_year <= before(month + 1)).unwrap_or(13);
        let day = day_of_year - before(month);
        if self.month <= 1 {
            self.month = month;
        }
        if self.day <= 1 {
            self.day = day;
        }
        (self.has_month, self.has_day) = (true, true);
        Ok(())
    }

    /// Days since 1970; `None` when a given part is out of range.
    fn days(&self) -> Option<i64> {
        let month_fits = !self.has_month || (1..=12).contains(&self.month);
        let day_fits = !self.has_day || (1..=31).contains(&self.day);
        let whole = self.has_year && self.has_month && self.has_day;
        let date_fits = !whole || self.day <= calendar::month_length(self.year, self.month.clamp(1, 12));
        (month_fits && day_fits && date_fits).then(|| clock::days_of(self.year, self.month, self.day))
    }
}

/// The astronomical year that year and century give.
fn year(fields: &Fields) -> Option<i64> {
    let century = if fields.before_christ != 0 { -fields.century } else { fields.century };
    if fields.year == 0 {
        // Alone a century stands for its first year.
        return match century {
            0 => None,
            century if century > 0 => Some((century - 1) * 100 + 1),
            century => Some(century * 100 + 1),
        };
    }
    if fields.century != 0 && fields.year_digits <= 2 {
        let year = fields.year % 100;
        return Some(match (year, century >= 0) {
            (0, true) => century * 100,
            (0, false) => century * 100 + 1,
            (year, true) => (century - 1) * 100 + year,
            (year, false) => (century + 1) * 100 - year + 1,
        });
    }
    let year = if fields.before_christ != 0 { -fields.year } else { fields.year };
    Some(if year < 0 { year + 1 } else { year })
}

impl Read {
    /// The moment as microseconds since 1970 by its own clock.
    ///
    /// # Errors
    /// 22008
    pub(in super::super) fn local(&self) -> Result<i64, Diagnosis> {
        let range = || Diagnosis::new(sqlstate::DATETIME_FIELD_OVERFLOW, "timestamp out of range");
        clock::within(self.days.checked_mul(DAY_US).and_then(|at| at.checked_add(self.time)).ok_or_else(range)?)
    }
}

#[cfg(test)]
mod tests {
    use super::super::date_keys::nodes;
    use super::*;

    fn check(text: &str, template: &str, expected: Result<&str, &str>) {
        let shown = to_moment(&nodes(template), text).map(|read| {
            let (year, month, day) = clock::civil(read.days);
            let (second, micros) = (read.time / 1_000_000, read.time % 1_000_000);
            let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
            let zone = read.offset.map_or_else(String::new, |offset| format!(" {offset}"));
            format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{micros:06}{zone}")
        });
        let expected = expected.map(str::to_owned).map_err(str::to_owned);
        assert_eq!(shown.map_err(|error| error.sqlstate.to_string()), expected, "{text} by {template}");
    }

    #[test]
    fn texts_are_read_by_their_templates() {
        let rows: [(&str, &str, Result<&str, &str>); 22] = [
            ("2024-02-29 13:14:15.5", "YYYY-MM-DD HH24:MI:SS.MS", Ok("2024-02-29 13:14:15.500000")),
            ("05 Dec 2000", "DD Mon YYYY", Ok("2000-12-05 00:00:00.000000")),
            ("20240229131415", "YYYYMMDDHH24MISS", Ok("2024-02-29 13:14:15.000000")),
            ("2024/02/29", "YYYY-MM-DD", Ok("2024-02-29 00:00:00.000000")),
            ("2024-366", "YYYY-DDD", Ok("2024-12-31 00:00:00.000000")),
            ("2020-W53-5", "IYYY-\"W\"IW-ID", Ok("2021-01-01 00:00:00.000000")),
            ("97/6/13", "YY/FMMM/DD", Ok("1997-06-13 00:00:00.000000")),
            ("44-03-15 BC", "YYYY-MM-DD BC", Ok("-43-03-15 00:00:00.000000")),
            ("J2451187", "\"J\"J", Ok("1999-01-08 00:00:00.000000")),
            ("12:00 AM 2024", "HH12:MI AM YYYY", Ok("2024-01-01 00:00:00.000000")),
            ("2024 03:04 -05:30", "YYYY HH24:MI TZH:TZM", Ok("2024-01-01 03:04:00.000000 -19800")),
            ("21 24", "CC YY", Ok("2024-01-01 00:00:00.000000")),
            ("xii 2024", "RM YYYY", Ok("2024-12-01 00:00:00.000000")),
            ("2,024 5", "Y,YYY W", Ok("2024-01-29 00:00:00.000000")),
            ("", "YYYY", Ok("0-01-01 00:00:00.000000")),
            ("2024-13-01", "YYYY-MM-DD", Err("22008")),
            ("2023-02-29", "YYYY-MM-DD", Err("22008")),
            ("13 AM", "HH12 AM", Err("22007")),
            ("2024 01 1", "YYYY IW DD", Err("22007")),
            ("abc", "YYYY", Err("22007")),
            ("2024 2025", "YYYY YYYY", Err("22007")),
            ("10:00 CET", "HH24:MI TZ", Err("0A000")),
        ];
        for (text, template, expected) in rows {
            check(text, template, expected);
        }
    }
}
