//! The patterns of date and time templates, their modifiers, and the names they write and read.

use crate::error::Diagnosis;

use super::{Node, is_separator, split};

/// Which letters of a name are capital.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Case {
    Upper,
    Title,
    Lower,
}

impl Case {
    /// A name in this case; names are given with a capital first letter.
    pub(super) fn of(self, name: &str) -> String {
        match self {
            Self::Upper => name.to_ascii_uppercase(),
            Self::Title => name.to_owned(),
            Self::Lower => name.to_ascii_lowercase(),
        }
    }
}

/// What a pattern stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Field {
    Meridiem {
        dotted: bool,
    },
    Era {
        dotted: bool,
    },
    Century,
    DayName,
    DayShort,
    DayOfYear,
    IsoDayOfYear,
    DayOfMonth,
    DayOfWeek,
    IsoDayOfWeek,
    /// Digits of the second's fraction.
    Fraction(usize),
    /// `FX`, which makes reading strict.
    Fixed,
    Hour24,
    Hour12,
    IsoWeek,
    /// Last digits of the ISO year.
    IsoYear(usize),
    Julian,
    Minute,
    Month,
    MonthName,
    MonthShort,
    Millisecond,
    Offset,
    Quarter,
    RomanMonth,
    SecondOfDay,
    Second,
    ZoneHour,
    ZoneMinute,
    ZoneName,
    Microsecond,
    WeekOfYear,
    WeekOfMonth,
    YearWithComma,
    /// Last digits of the year.
    Year(usize),
}

/// The calendar a pattern belongs to; the two do not mix when reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Convention {
    Any,
    Gregorian,
    IsoWeek,
}

/// A pattern as it stands in a template.
#[derive(Debug, Clone, PartialEq)]
pub(in super::super) struct Pattern {
    pub(super) field: Field,
    pub(super) case: Case,
    /// As it was written.
    pub(super) name: String,
    /// Whether digits are expected.
    pub(super) is_digit: bool,
    pub(super) convention: Convention,
    /// `FM`: no padding.
    pub(super) fill: bool,
    /// `TM`: names of the locale.
    pub(super) translated: bool,
    /// `TH` (true) or `th` (false).
    pub(super) ordinal: Option<bool>,
}

type Row = (&'static str, Field, bool, Convention);

/// Patterns in capitals, longer ones before their beginnings. All but those with a small second letter exist in small letters
/// too.
const ROWS: &[Row] = &[
    ("A.D.", Field::Era { dotted: true }, false, Convention::Any),
    ("A.M.", Field::Meridiem { dotted: true }, false, Convention::Any),
    ("AD", Field::Era { dotted: false }, false, Convention::Any),
    ("AM", Field::Meridiem { dotted: false }, false, Convention::Any),
    ("B.C.", Field::Era { dotted: true }, false, Convention::Any),
    ("BC", Field::Era { dotted: false }, false, Convention::Any),
    ("CC", Field::Century, true, Convention::Any),
    ("DAY", Field::DayName, false, Convention::Any),
    ("DDD", Field::DayOfYear, true, Convention::Gregorian),
    ("DD", Field::DayOfMonth, true, Convention::Gregorian),
    ("DY", Field::DayShort, false, Convention::Any),
    ("Day", Field::DayName, false, Convention::Any),
    ("Dy", Field::DayShort, false, Convention::Any),
    ("D", Field::DayOfWeek, true, Convention::Gregorian),
    ("FF1", Field::Fraction(1), true, Convention::Any),
    ("FF2", Field::Fraction(2), true, Convention::Any),
    ("FF3", Field::Fraction(3), true, Convention::Any),
    ("FF4", Field::Fraction(4), true, Convention::Any),
    ("FF5", Field::Fraction(5), true, Convention::Any),
    ("FF6", Field::Fraction(6), true, Convention::Any),
    ("FX", Field::Fixed, false, Convention::Any),
    ("HH24", Field::Hour24, true, Convention::Any),
    ("HH12", Field::Hour12, true, Convention::Any),
    ("HH", Field::Hour12, true, Convention::Any),
    ("IDDD", Field::IsoDayOfYear, true, Convention::IsoWeek),
    ("ID", Field::IsoDayOfWeek, true, Convention::IsoWeek),
    ("IW", Field::IsoWeek, true, Convention::IsoWeek),
    ("IYYY", Field::IsoYear(4), true, Convention::IsoWeek),
    ("IYY", Field::IsoYear(3), true, Convention::IsoWeek),
    ("IY", Field::IsoYear(2), true, Convention::IsoWeek),
    ("I", Field::IsoYear(1), true, Convention::IsoWeek),
    ("J", Field::Julian, true, Convention::Any),
    ("MI", Field::Minute, true, Convention::Any),
    ("MM", Field::Month, true, Convention::Gregorian),
    ("MONTH", Field::MonthName, false, Convention::Gregorian),
    ("MON", Field::MonthShort, false, Convention::Gregorian),
    ("MS", Field::Millisecond, true, Convention::Any),
    ("Month", Field::MonthName, false, Convention::Gregorian),
    ("Mon", Field::MonthShort, false, Convention::Gregorian),
    ("OF", Field::Offset, false, Convention::Any),
    ("P.M.", Field::Meridiem { dotted: true }, false, Convention::Any),
    ("PM", Field::Meridiem { dotted: false }, false, Convention::Any),
    ("Q", Field::Quarter, true, Convention::Any),
    ("RM", Field::RomanMonth, false, Convention::Gregorian),
    ("SSSSS", Field::SecondOfDay, true, Convention::Any),
    ("SSSS", Field::SecondOfDay, true, Convention::Any),
    ("SS", Field::Second, true, Convention::Any),
    ("TZH", Field::ZoneHour, false, Convention::Any),
    ("TZM", Field::ZoneMinute, true, Convention::Any),
    ("TZ", Field::ZoneName, false, Convention::Any),
    ("US", Field::Microsecond, true, Convention::Any),
    ("WW", Field::WeekOfYear, true, Convention::Gregorian),
    ("W", Field::WeekOfMonth, true, Convention::Gregorian),
    ("Y,YYY", Field::YearWithComma, true, Convention::Gregorian),
    ("YYYY", Field::Year(4), true, Convention::Gregorian),
    ("YYY", Field::Year(3), true, Convention::Gregorian),
    ("YY", Field::Year(2), true, Convention::Gregorian),
    ("Y", Field::Year(1), true, Convention::Gregorian),
];

/// The pattern at the start of a text.
fn keyword(text: &str) -> Option<(&'static Row, Case, &str)> {
    ROWS.iter().find_map(|row| {
        let written = text.get(..row.0.len())?;
        if written == row.0 {
            let case = if row.0.contains(|letter: char| letter.is_ascii_lowercase()) { Case::Title } else { Case::Upper };
            return Some((row, case, written));
        }
        // The rows in mixed case have no second form.
        let small = !row.0.contains(|letter: char| letter.is_ascii_lowercase()) && written == row.0.to_ascii_lowercase();
        small.then_some((row, Case::Lower, written))
    })
}

/// The nodes of a date and time template.
pub(in super::super) fn nodes(template: &str) -> Vec<Node<Pattern>> {
    let split = split(template, is_separator, |text| Ok::<_, Diagnosis>(pattern(text)));
    // Only number templates have patterns that exclude each other.
    split.unwrap_or_default()
}

/// The pattern at the start of a text with its modifiers, and how many bytes were read. A prefix without a pattern is read too.
fn pattern(text: &str) -> (usize, Option<Pattern>) {
    let fill = text.starts_with("FM") || text.starts_with("fm");
    let translated = text.starts_with("TM") || text.starts_with("tm");
    let prefix = if fill || translated { 2 } else { 0 };
    let rest = text.get(prefix..).unwrap_or_default();
    let Some((row, case, name)) = keyword(rest) else { return (prefix, None) };
    let after = rest.get(name.len()..).unwrap_or_default();
    let ordinal = match after.get(..2) {
        Some("TH") => Some(true),
        Some("th") => Some(false),
        _ => None,
    };
    // `SP` (spelled out) is read and has no effect.
    let postfix = if ordinal.is_some() || after.starts_with("SP") { 2 } else { 0 };
    let (_, field, is_digit, convention) = *row;
    let pattern = Pattern { field, case, name: name.to_owned(), is_digit, convention, fill, translated, ordinal };
    (prefix + name.len() + postfix, Some(pattern))
}

/// Months in English.
pub(super) const MONTHS: [&str; 12] =
    ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"];

/// Days of the week in English, from Sunday.
pub(super) const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// Months in Roman numerals, the last first, so that a numeral is tried before its beginning.
pub(super) const ROMAN: [&str; 12] = ["XII", "XI", "X", "IX", "VIII", "VII", "VI", "V", "IV", "III", "II", "I"];

/// The first three letters of a name.
pub(super) fn short(name: &str) -> &str {
    name.get(..3).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_split_into_the_longest_patterns() {
        let shown = |template: &str| {
            let parts = nodes(template).into_iter().map(|node| match node {
                Node::Pattern(pattern) => {
                    let fill = if pattern.fill { "FM" } else { "" };
                    let ordinal = pattern.ordinal.map_or("", |upper| if upper { "TH" } else { "th" });
                    format!("<{fill}{}{ordinal}>", pattern.name)
                }
                Node::Separator(letter) => format!("{letter}"),
                Node::Blank(_) => "_".to_owned(),
                Node::Letter(letter) => format!("'{letter}"),
            });
            parts.collect::<String>()
        };
        let rows = [
            ("YYYY-MM-DD", "<YYYY>-<MM>-<DD>"),
            ("FMMonthth Day", "<FMMonthth>_<Day>"),
            ("HH24:MI:SS.US", "<HH24>:<MI>:<SS>.<US>"),
            ("yyyyDDDTHx", "<yyyy><DDDTH>'x"),
            ("\"day\" \\\"Y", "'d'a'y_\"<Y>"),
            ("FMx Hh é", "'x_'H'h_'é"),
            ("\"a\\\"b", "'a'\"'b"),
        ];
        for (template, expected) in rows {
            assert_eq!(shown(template), expected, "{template}");
        }
    }
}
