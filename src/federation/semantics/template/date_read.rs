//! Reading a text by a date and time template: what fields it gives, as `to_date` and `to_timestamp` read them.
//!
//! Blanks and marks of the text match any blank or mark of the template, or none, unless the template begins with `FX`.

use crate::error::{Diagnosis, sqlstate};

use super::Node;
use super::cursor::{Cursor, bad, leading_integer};
use super::date_keys::{Convention, DAYS, Field, MONTHS, Pattern, ROMAN, short};

/// What a text gave, zero where it gave nothing.
#[derive(Debug, Default, Clone)]
pub(super) struct Fields {
    pub(super) iso: bool,
    gregorian: bool,
    pub(super) hour: i64,
    pub(super) afternoon: i64,
    pub(super) minute: i64,
    pub(super) second: i64,
    pub(super) second_of_day: i64,
    /// 1 for Sunday.
    pub(super) weekday: i64,
    pub(super) day: i64,
    pub(super) day_of_year: i64,
    pub(super) month: i64,
    pub(super) millisecond: i64,
    pub(super) microsecond: i64,
    pub(super) year: i64,
    pub(super) before_christ: i64,
    pub(super) week: i64,
    pub(super) week_of_month: i64,
    pub(super) century: i64,
    pub(super) julian: i64,
    /// Digits of the year pattern.
    pub(super) year_digits: usize,
    pub(super) twelve_hours: bool,
    /// 0 when the text gave no zone.
    pub(super) zone_sign: i64,
    pub(super) zone_hour: i64,
    pub(super) zone_minute: i64,
    /// Digits of an `FF` pattern, to which the result is rounded.
    pub(super) fraction_digits: usize,
}

/// Reads a text.
///
/// # Errors
/// 22007 for a text that does not fit the template or contradicts itself, 22008 for numbers out of range, 0A000 for patterns
/// that are only written.
pub(super) fn read(nodes: &[Node<Pattern>], text: &str) -> Result<Fields, Diagnosis> {
    let mut reader = Reader { cursor: Cursor::new(text), fields: Fields::default() };
    for (index, node) in nodes.iter().enumerate() {
        if reader.cursor.rest.is_empty() {
            break;
        }
        let fixes = matches!(node, Node::Pattern(pattern) if pattern.field == Field::Fixed);
        if !reader.cursor.strict && !fixes && (matches!(node, Node::Pattern(_)) || index == 0) {
            reader.cursor.skip_blanks();
        }
        match node {
            Node::Separator(_) | Node::Blank(_) => reader.cursor.separator(),
            Node::Letter(_) => reader.cursor.letter(),
            Node::Pattern(pattern) => {
                reader.pattern(pattern, ends_number(pattern, nodes.get(index + 1)))?;
                if !reader.cursor.strict {
                    reader.cursor.skipped = 0;
                    reader.cursor.skip_blanks();
                }
            }
        }
    }
    Ok(reader.fields)
}

/// Whether what follows a number cannot be a digit, so that the number may have any length.
fn ends_number(pattern: &Pattern, next: Option<&Node<Pattern>>) -> bool {
    pattern.ordinal.is_some()
        || match next {
            None => true,
            Some(Node::Pattern(next)) => !next.is_digit,
            Some(other) => other.literal().is_none_or(|letter| !letter.is_ascii_digit()),
        }
}

struct Reader<'t> {
    cursor: Cursor<'t>,
    fields: Fields,
}

impl Reader<'_> {
    fn pattern(&mut self, pattern: &Pattern, free: bool) -> Result<(), Diagnosis> {
        self.convention(pattern.convention)?;
        let free = free || pattern.fill;
        match pattern.field {
            Field::Fixed => self.cursor.strict = true,
            Field::Meridiem { .. } | Field::Era { .. } => self.half(pattern)?,
            Field::MonthName | Field::MonthShort | Field::RomanMonth | Field::DayName | Field::DayShort => self.name(pattern)?,
            Field::ZoneName | Field::Offset => {
                let message = format!("formatting field \"{}\" is only supported in to_char", pattern.name);
                return Err(Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, message));
            }
            Field::ZoneHour | Field::ZoneMinute => self.zone(pattern, free)?,
            Field::YearWithComma => {
                self.year_with_comma(pattern)?;
                self.skip_ordinal(pattern);
            }
            Field::Fraction(_) | Field::Millisecond | Field::Microsecond => {
                self.fraction(pattern, free)?;
                self.skip_ordinal(pattern);
            }
            Field::Year(digits) | Field::IsoYear(digits) => {
                self.year(pattern, digits, free)?;
                self.skip_ordinal(pattern);
            }
            _ => {
                self.number(pattern, free)?;
                self.skip_ordinal(pattern);
            }
        }
        Ok(())
    }

    fn convention(&mut self, convention: Convention) -> Result<(), Diagnosis> {
        match convention {
            Convention::Any => return Ok(()),
            Convention::Gregorian => self.fields.gregorian = true,
            Convention::IsoWeek => self.fields.iso = true,
        }
        if self.fields.gregorian && self.fields.iso {
            let hint = "Do not mix Gregorian and ISO week date conventions in a formatting template.";
            return Err(bad("invalid combination of date conventions").with_hint(hint));
        }
        Ok(())
    }

    fn skip_ordinal(&mut self, pattern: &Pattern) {
        if pattern.ordinal.is_some() {
            self.cursor.advance();
            self.cursor.advance();
        }
    }

    fn number(&mut self, pattern: &Pattern, free: bool) -> Result<(), Diagnosis> {
        let width = match pattern.field {
            Field::Hour12 | Field::Hour24 => 2,
            Field::IsoDayOfYear => 3,
            Field::IsoDayOfWeek => 1,
            _ => pattern.name.len(),
        };
        let (value, _) = self.cursor.integer(pattern, width, free)?;
        let fields = &mut self.fields;
        let place = match pattern.field {
            Field::Hour12 | Field::Hour24 => &mut fields.hour,
            Field::Minute => &mut fields.minute,
            Field::Second => &mut fields.second,
            Field::SecondOfDay => &mut fields.second_of_day,
            Field::Month => &mut fields.month,
            Field::DayOfYear | Field::IsoDayOfYear => &mut fields.day_of_year,
            Field::DayOfMonth => &mut fields.day,
            Field::DayOfWeek | Field::IsoDayOfWeek => &mut fields.weekday,
            Field::WeekOfYear | Field::IsoWeek => &mut fields.week,
            Field::Century => &mut fields.century,
            Field::WeekOfMonth => &mut fields.week_of_month,
            Field::Julian => &mut fields.julian,
            // A quarter tells no day.
            _ => return Ok(()),
        };
        set(place, value, pattern)?;
        match pattern.field {
            Field::Hour12 => fields.twelve_hours = true,
            // ISO weeks end with Sunday, other weeks begin with it.
            Field::IsoDayOfWeek => fields.weekday = if fields.weekday >= 7 { 1 } else { fields.weekday + 1 },
            _ => {}
        }
        Ok(())
    }

    /// A fraction of a second: `25` is as much as `250`.
    fn fraction(&mut self, pattern: &Pattern, free: bool) -> Result<(), Diagnosis> {
        let (digits, width) = match pattern.field {
            Field::Fraction(digits) => (6, digits),
            Field::Millisecond => (3, 3),
            _ => (6, 6),
        };
        if let Field::Fraction(digits) = pattern.field {
            self.fields.fraction_digits = digits;
        }
        let (value, used) = self.cursor.integer(pattern, width, free)?;
        let place = if digits == 3 { &mut self.fields.millisecond } else { &mut self.fields.microsecond };
        set(place, value, pattern)?;
        let missing = u32::try_from(digits - used.clamp(1, digits)).unwrap_or(0);
        *place = place.saturating_mul(10_i64.pow(missing));
        Ok(())
    }

    fn year(&mut self, pattern: &Pattern, digits: usize, free: bool) -> Result<(), Diagnosis> {
        let (value, used) = self.cursor.integer(pattern, digits, free)?;
        set(&mut self.fields.year, value, pattern)?;
        if digits < 4 && used < 4 {
            self.fields.year = near_2020(self.fields.year);
        }
        self.fields.year_digits = digits;
        Ok(())
    }

    /// `2,024`: at most three digits after the comma.
    fn year_with_comma(&mut self, pattern: &Pattern) -> Result<(), Diagnosis> {
        let fault = || bad("invalid input string for \"Y,YYY\"");
        let (thousands, used) = leading_integer(self.cursor.rest);
        let thousands = thousands.filter(|_| used > 0).ok_or_else(fault)?;
        let after = self.cursor.rest.get(used..).and_then(|rest| rest.strip_prefix(',')).ok_or_else(fault)?;
        let window: String = after.trim_start_matches(super::is_blank).chars().take(3).collect();
        let (rest, digits) = leading_integer(&window);
        let rest = rest.filter(|_| digits > 0).ok_or_else(fault)?;
        let blanks = after.len() - after.trim_start_matches(super::is_blank).len();
        set(&mut self.fields.year, thousands.saturating_mul(1000).saturating_add(rest), pattern)?;
        self.fields.year_digits = 4;
        for _ in 0..used + 1 + blanks + digits {
            self.cursor.advance();
        }
        Ok(())
    }

    /// The sign may have been read as a mark before the hours.
    fn zone(&mut self, pattern: &Pattern, free: bool) -> Result<(), Diagnosis> {
        if pattern.field == Field::ZoneMinute {
            if self.fields.zone_sign == 0 {
                self.fields.zone_sign = 1;
            }
            let (minute, _) = self.cursor.integer(pattern, 2, free)?;
            return set(&mut self.fields.zone_minute, minute, pattern);
        }
        let negative = match self.cursor.rest.chars().next() {
            Some(sign @ ('+' | '-' | ' ')) => {
                self.cursor.advance();
                sign == '-'
            }
            _ => self.cursor.skipped > 0 && self.cursor.before == Some('-'),
        };
        self.fields.zone_sign = if negative { -1 } else { 1 };
        let (hour, _) = self.cursor.integer(pattern, 2, free)?;
        set(&mut self.fields.zone_hour, hour, pattern)
    }

    /// AM or PM, AD or BC.
    fn half(&mut self, pattern: &Pattern) -> Result<(), Diagnosis> {
        let (era, dotted) = match pattern.field {
            Field::Era { dotted } => (true, dotted),
            Field::Meridiem { dotted } => (false, dotted),
            _ => return Ok(()),
        };
        let words = match (era, dotted) {
            (true, true) => ["a.d.", "b.c."],
            (true, false) => ["ad", "bc"],
            (false, true) => ["a.m.", "p.m."],
            (false, false) => ["am", "pm"],
        };
        let value = self.cursor.choice(pattern, words.into_iter())?;
        if era {
            return set(&mut self.fields.before_christ, value, pattern);
        }
        self.fields.twelve_hours = true;
        set(&mut self.fields.afternoon, value, pattern)
    }

    fn name(&mut self, pattern: &Pattern) -> Result<(), Diagnosis> {
        match pattern.field {
            Field::MonthName => {
                let month = self.cursor.choice(pattern, MONTHS.into_iter())?;
                set(&mut self.fields.month, month + 1, pattern)
            }
            Field::MonthShort => {
                let month = self.cursor.choice(pattern, MONTHS.into_iter().map(short))?;
                set(&mut self.fields.month, month + 1, pattern)
            }
            Field::RomanMonth => {
                let month = self.cursor.choice(pattern, ROMAN.into_iter())?;
                set(&mut self.fields.month, 12 - month, pattern)
            }
            _ => {
                let whole = pattern.field == Field::DayName;
                let day = self.cursor.choice(pattern, DAYS.into_iter().map(|day| if whole { day } else { short(day) }))?;
                set(&mut self.fields.weekday, day, pattern)?;
                self.fields.weekday += 1;
                Ok(())
            }
        }
    }
}

/// A field may be given twice, but not with two values.
fn set(place: &mut i64, value: i64, pattern: &Pattern) -> Result<(), Diagnosis> {
    if *place != 0 && *place != value {
        let message = format!("conflicting values for \"{}\" field in formatting string", pattern.name);
        return Err(bad(message).with_detail("This value contradicts a previous setting for the same field type."));
    }
    *place = value;
    Ok(())
}

/// A year of less than four digits is the one nearest to 2020.
fn near_2020(year: i64) -> i64 {
    match year {
        ..70 => year + 2000,
        70..100 => year + 1900,
        100..520 => year + 2000,
        520..1000 => year + 1000,
        _ => year,
    }
}
