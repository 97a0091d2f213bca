//! Fills year, month, day, clock and zone from tokens, as PostgreSQL's `DecodeDateTime` and `DecodeNumber` do.

use super::token::{self, Token};
use super::{Kind, Parsed, Special};
use crate::error::Diagnosis;
use crate::format::calendar::{self, Civil, DAY_MICROS};
use crate::format::{DateOrder, TimeZone, fault, zone};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meridiem {
    Am,
    Pm,
}

/// What has been read so far.
pub(super) struct Fields<'t> {
    kind: Kind,
    text: &'t str,
    order: DateOrder,
    year: Option<i64>,
    month: Option<i64>,
    day: Option<i64>,
    is_text_month: bool,
    is_two_digit_year: bool,
    is_before_christ: bool,
    meridiem: Option<Meridiem>,
    /// Hours, minutes, and microseconds of the minute.
    clock: Option<(i64, i64, i64)>,
    zone: Option<TimeZone>,
    special: Option<Special>,
    is_julian_next: bool,
}

impl<'t> Fields<'t> {
    pub(super) fn new(kind: Kind, text: &'t str, order: DateOrder) -> Self {
        Self {
            kind,
            text,
            order,
            year: None,
            month: None,
            day: None,
            is_text_month: false,
            is_two_digit_year: false,
            is_before_christ: false,
            meridiem: None,
            clock: None,
            zone: None,
            special: None,
            is_julian_next: false,
        }
    }

    fn invalid(&self) -> Diagnosis {
        fault::invalid_datetime(self.kind.name(), self.text)
    }

    fn overflow(&self) -> Diagnosis {
        fault::datetime_field(self.text)
    }

    pub(super) fn read(mut self, tokens: &[Token<'_>]) -> Result<Parsed, Diagnosis> {
        if tokens.is_empty() {
            return Err(self.invalid());
        }
        for token in tokens {
            match *token {
                Token::Clock(text) => self.read_clock(text)?,
                Token::Date(text) => self.read_date(text)?,
                Token::Number(text) => self.read_number(text)?,
                Token::Word(word) => self.read_word(word)?,
                Token::Offset(text) => self.read_offset(text)?,
                Token::Signed(word) => self.read_signed(word)?,
            }
        }
        self.finish(tokens.len())
    }

    fn read_signed(&mut self, word: &str) -> Result<(), Diagnosis> {
        if word != "-infinity" {
            return Err(self.invalid());
        }
        self.special = Some(Special::NegativeInfinity);
        Ok(())
    }

    fn read_word(&mut self, word: &str) -> Result<(), Diagnosis> {
        match word {
            "infinity" if self.special.is_none() => self.special = Some(Special::Infinity),
            "epoch" if self.special.is_none() => self.special = Some(Special::Epoch),
            "now" | "today" | "tomorrow" | "yesterday" => {
                return Err(fault::unsupported(format!("date/time value \"{word}\" is not supported in input")));
            }
            "allballs" if self.clock.is_none() => {
                self.clock = Some((0, 0, 0));
                self.zone = Some(TimeZone::Fixed(0));
            }
            "am" | "pm" if self.meridiem.is_none() => {
                self.meridiem = Some(if word == "am" { Meridiem::Am } else { Meridiem::Pm });
            }
            "bc" => self.is_before_christ = true,
            "ad" => {}
            // The mark between date and clock, and two words the input may hold for readability.
            "t" | "at" | "on" => {}
            "j" | "jd" | "julian" => self.is_julian_next = true,
            _ if token::is_weekday(word) => {}
            _ => return self.read_name(word),
        }
        Ok(())
    }

    fn read_name(&mut self, word: &str) -> Result<(), Diagnosis> {
        if let Some(month) = token::month(word) {
            // A number read as month before was the day, since the month is spelled out.
            if let Some(number) = self.month.filter(|_| !self.is_text_month && self.day.is_none()) {
                self.day = Some(number);
            } else if self.month.is_some() {
                return Err(self.invalid());
            }
            self.month = Some(month);
            self.is_text_month = true;
            return Ok(());
        }
        match zone::find(word) {
            Some(zone) if self.zone.is_none() => {
                self.zone = Some(zone);
                Ok(())
            }
            Some(_) => Err(self.invalid()),
            None if word.contains('/') => {
                Err(Diagnosis::new(crate::error::sqlstate::INVALID_PARAMETER_VALUE, format!("time zone \"{word}\" not recognized")))
            }
            None => Err(self.invalid()),
        }
    }

    fn read_offset(&mut self, text: &str) -> Result<(), Diagnosis> {
        let (sign, digits) = text.split_at_checked(1).ok_or_else(|| self.invalid())?;
        let mut parts = digits.split(':').map(str::parse::<i64>);
        let mut next = || parts.next().transpose().ok().flatten();
        let first = next().ok_or_else(|| self.invalid())?;
        let (hour, minute) = match next() {
            Some(minute) => (first, minute),
            None if digits.len() > 2 => (first / 100, first % 100),
            None => (first, 0),
        };
        let second = next().unwrap_or(0);
        if hour > 15 || minute > 59 || second > 59 {
            let message = format!("time zone displacement out of range: \"{}\"", self.text);
            return Err(Diagnosis::new("22009", message));
        }
        let size = i32::try_from(hour * 3_600 + minute * 60 + second).map_err(|_cause| self.invalid())?;
        if self.zone.is_some() && self.zone != Some(TimeZone::Fixed(0)) {
            return Err(self.invalid());
        }
        self.zone = Some(TimeZone::Fixed(if sign == "-" { -size } else { size }));
        Ok(())
    }

    fn read_clock(&mut self, text: &str) -> Result<(), Diagnosis> {
        if self.clock.is_some() {
            return Err(self.invalid());
        }
        let mut parts = text.split(':');
        let whole = |part: Option<&str>| part.and_then(|part| part.parse::<i64>().ok()).ok_or_else(|| self.invalid());
        let hour = whole(parts.next())?;
        let second_part = parts.next().ok_or_else(|| self.invalid())?;
        self.clock = Some(match parts.next() {
            Some(seconds) if parts.next().is_none() => (hour, whole(Some(second_part))?, self.seconds(seconds)?),
            Some(_) => return Err(self.invalid()),
            // Two parts with a fraction are minutes and seconds.
            None if second_part.contains('.') => (0, hour, self.seconds(second_part)?),
            None => (hour, whole(Some(second_part))?, 0),
        });
        Ok(())
    }

    /// Microseconds of `SS.ffffff`.
    fn seconds(&self, text: &str) -> Result<i64, Diagnosis> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let whole: i64 = whole.parse().map_err(|_cause| self.invalid())?;
        if whole > 60 {
            return Err(self.overflow());
        }
        Ok(whole * 1_000_000 + fraction_micros(fraction).ok_or_else(|| self.invalid())?)
    }

    fn read_number(&mut self, text: &str) -> Result<(), Diagnosis> {
        let whole_len = text.split('.').next().map_or(0, str::len);
        if std::mem::take(&mut self.is_julian_next) {
            return self.read_julian(text);
        }
        let has_date = self.year.is_some() && self.month.is_some() && self.day.is_some();
        let has_any_date = self.year.is_some() || self.month.is_some() || self.day.is_some();
        let wants_clock = matches!(self.kind, Kind::Time | Kind::TimeTz) && !has_any_date;
        if wants_clock || (has_date && self.clock.is_none()) {
            return self.read_run_of_clock(text, whole_len);
        }
        if text.contains('.') {
            return self.read_date(text);
        }
        if whole_len >= 6 && !has_any_date {
            return self.read_run_of_date(text);
        }
        self.read_part(text)
    }

    /// `hhmmss`, `hhmmss.fff` or `hhmm`.
    fn read_run_of_clock(&mut self, text: &str, whole_len: usize) -> Result<(), Diagnosis> {
        if self.clock.is_some() || (whole_len != 6 && (whole_len != 4 || text.contains('.'))) {
            return Err(self.invalid());
        }
        let part = |from: usize, to: usize| text.get(from..to).and_then(|part| part.parse::<i64>().ok());
        let (Some(hour), Some(minute)) = (part(0, 2), part(2, 4)) else { return Err(self.invalid()) };
        let seconds = match text.get(4..) {
            Some("") | None => 0,
            Some(seconds) => self.seconds(seconds)?,
        };
        self.clock = Some((hour, minute, seconds));
        Ok(())
    }

    /// `yyyymmdd` or `yymmdd`.
    fn read_run_of_date(&mut self, text: &str) -> Result<(), Diagnosis> {
        let length = text.len();
        let part = |from: usize, to: usize| text.get(from..to).and_then(|part| part.parse::<i64>().ok());
        let (Some(year), Some(month), Some(day)) = (part(0, length - 4), part(length - 4, length - 2), part(length - 2, length))
        else {
            return Err(self.invalid());
        };
        (self.year, self.month, self.day) = (Some(year), Some(month), Some(day));
        self.is_two_digit_year = length == 6;
        Ok(())
    }

    fn read_julian(&mut self, text: &str) -> Result<(), Diagnosis> {
        let day: i64 = text.parse().map_err(|_cause| self.invalid())?;
        if day > i64::from(i32::MAX) {
            return Err(self.overflow());
        }
        let civil = calendar::civil(day + i64::from(calendar::FIRST_DAY));
        (self.year, self.month, self.day) = (Some(civil.year), Some(civil.month), Some(civil.day));
        // The year may be astronomical here, so it must not be read as one of its era.
        self.is_two_digit_year = false;
        self.is_julian_next = true;
        Ok(())
    }

    fn read_date(&mut self, text: &str) -> Result<(), Diagnosis> {
        let mut parts: Vec<&str> = text.split(['-', '/', '.']).filter(|part| !part.is_empty()).collect();
        if parts.len() > 3 || (self.year.is_some() && self.month.is_some() && self.day.is_some()) {
            return Err(self.invalid());
        }
        // A spelled month is unambiguous, so it counts before the numbers around it.
        if let Some(at) = parts.iter().position(|part| part.starts_with(|c: char| c.is_ascii_lowercase())) {
            let name = parts.remove(at);
            self.month = Some(token::month(name).ok_or_else(|| self.invalid())?);
            self.is_text_month = true;
        }
        for part in parts {
            self.read_part(part)?;
        }
        Ok(())
    }

    /// One number of a date, placed by what is already known, its length, and `DateStyle` (`DecodeNumber`).
    fn read_part(&mut self, text: &str) -> Result<(), Diagnosis> {
        if !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(self.invalid());
        }
        let number: i64 = text.parse().map_err(|_cause| self.overflow())?;
        let is_long = text.len() >= 3;
        match (self.year.is_some(), self.month.is_some(), self.day.is_some()) {
            (false, false, false) if is_long || self.order == DateOrder::Ymd => self.set_year(number, text),
            (false, false, false) if self.order == DateOrder::Dmy => self.day = Some(number),
            (false, false, false) | (true, false, false) | (false, false, true) => self.month = Some(number),
            (false, true, false) if self.is_text_month && (is_long || self.order == DateOrder::Ymd) => {
                self.set_year(number, text);
            }
            (true, true, false) if self.is_text_month && is_long && self.is_two_digit_year => {
                // The first number was the day after all: 08-Jan-1999 under YMD.
                self.day = self.year;
                self.set_year(number, text);
            }
            (false, true, false) | (true, true, false) => self.day = Some(number),
            (false, true, true) => self.set_year(number, text),
            (true, false, true) => self.month = Some(number),
            (true, true, true) => return Err(self.invalid()),
        }
        Ok(())
    }

    fn set_year(&mut self, number: i64, text: &str) {
        self.year = Some(number);
        self.is_two_digit_year = text.len() <= 2;
    }

    fn finish(self, token_count: usize) -> Result<Parsed, Diagnosis> {
        let has_date_part = self.year.is_some() || self.month.is_some() || self.day.is_some();
        if let Some(special) = self.special {
            let is_alone = token_count == 1 && !matches!(self.kind, Kind::Time | Kind::TimeTz);
            return if is_alone { Ok(Parsed { special: Some(special), ..Parsed::default() }) } else { Err(self.invalid()) };
        }
        let time = self.clock.map(|clock| self.clock_micros(clock)).transpose()?;
        let date = if has_date_part { Some(self.civil()?) } else { None };
        Ok(Parsed { special: None, date, time, zone: self.zone })
    }

    fn clock_micros(&self, (hour, minute, micros): (i64, i64, i64)) -> Result<i64, Diagnosis> {
        let hour = match self.meridiem {
            Some(_) if hour > 12 => return Err(self.overflow()),
            Some(Meridiem::Am) if hour == 12 => 0,
            Some(Meridiem::Pm) if hour != 12 => hour + 12,
            _ => hour,
        };
        if hour > 24 || minute > 59 {
            return Err(self.overflow());
        }
        let total = hour * 3_600_000_000 + minute * 60_000_000 + micros;
        if total > DAY_MICROS { Err(self.overflow()) } else { Ok(total) }
    }

    fn civil(&self) -> Result<Civil, Diagnosis> {
        let (Some(year), Some(month), Some(day)) = (self.year, self.month, self.day) else { return Err(self.invalid()) };
        let year = if self.is_julian_next {
            year
        } else if self.is_before_christ {
            if year <= 0 {
                return Err(self.overflow());
            }
            1 - year
        } else if self.is_two_digit_year {
            year + if year < 70 { 2000 } else { 1900 }
        } else {
            year
        };
        if year == 0 && !self.is_before_christ && !self.is_julian_next {
            return Err(self.overflow());
        }
        // The calendar's arithmetic is exact far beyond this bound, which lies beyond every type's range.
        let is_valid =
            year.abs() <= 10_000_000 && (1..=12).contains(&month) && (1..=calendar::month_length(year, month)).contains(&day);
        if is_valid {
            return Ok(Civil { year, month, day });
        }
        let error = self.overflow();
        let is_swapped = !(1..=12).contains(&month) || !(1..=31).contains(&day);
        Err(if is_swapped { error.with_hint("Perhaps you need a different \"datestyle\" setting.") } else { error })
    }
}

/// Microseconds of the digits after a decimal point, rounded as `rint` does.
#[expect(clippy::cast_possible_truncation, reason = "the product lies between 0 and 1000000")]
fn fraction_micros(digits: &str) -> Option<i64> {
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    if digits.len() <= 6 {
        return format!("{digits:0<6}").parse().ok();
    }
    let fraction: f64 = format!("0.{digits}").parse().ok()?;
    Some((fraction * 1_000_000.0).round_ties_even() as i64)
}
