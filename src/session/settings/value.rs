//! What the values of settings mean, and how they are stored and shown.

use std::time::Duration;

use chrono_tz::Tz;

use crate::error::{Diagnosis, sqlstate};
use crate::format::{DateOrder, DateStyle, TimeZone};
use crate::options::{parse_duration, parse_size};

use super::registry::{Form, Spec};

/// What [`parse_duration`] takes, as PostgreSQL says it.
const DURATION_UNITS: &str = "Valid units for this parameter are \"ms\", \"s\", \"min\", \"h\", and \"d\". \
     The number before them has no sign and no fraction.";

fn invalid(spec: &Spec, value: &str) -> Diagnosis {
    Diagnosis::new(sqlstate::INVALID_PARAMETER_VALUE, format!("invalid value for parameter \"{}\": \"{value}\"", spec.name))
}

fn not_boolean(spec: &Spec) -> Diagnosis {
    Diagnosis::new(sqlstate::INVALID_PARAMETER_VALUE, format!("parameter \"{}\" requires a Boolean value", spec.name))
}

/// The value as it is stored and shown.
pub fn canonical(spec: &Spec, value: &str) -> Result<String, Diagnosis> {
    let bad = || invalid(spec, value);
    let lower = value.to_lowercase();
    Ok(match spec.form {
        Form::Text => value.to_owned(),
        Form::Short(bytes) if value.len() > bytes => {
            return Err(bad().with_detail(format!("It may have at most {bytes} bytes.")));
        }
        Form::Short(_) => value.to_owned(),
        Form::Identifiers => match split_identifiers(value) {
            Some(_) => value.to_owned(),
            None => return Err(bad().with_detail("List syntax is invalid.")),
        },
        Form::Name => {
            let cut = value.get(..value.floor_char_boundary(63)).unwrap_or(value);
            cut.bytes().map(|byte| if (b' '..=b'~').contains(&byte) { char::from(byte) } else { '?' }).collect()
        }
        Form::Bool => bool_word(&lower).ok_or_else(|| not_boolean(spec))?.to_owned(),
        Form::Integer(low, high) => {
            let number: i64 = value.trim().parse().map_err(|_unparsed: std::num::ParseIntError| bad())?;
            if !(low..=high).contains(&number) {
                let message = format!("{number} is outside the valid range for parameter \"{}\" ({low} .. {high})", spec.name);
                return Err(Diagnosis::new(sqlstate::INVALID_PARAMETER_VALUE, message));
            }
            number.to_string()
        }
        Form::MillisecondsOrNone if value.trim().is_empty() => shown_duration(Duration::ZERO),
        Form::Milliseconds | Form::MillisecondsOrNone => {
            shown_duration(parse_duration(value).ok_or_else(|| bad().with_hint(DURATION_UNITS))?)
        }
        Form::Kilobytes => {
            parse_size(value).ok_or_else(bad)?;
            value.to_owned()
        }
        Form::Choice(words) => match words.iter().find(|word| **word == lower) {
            Some(word) => (*word).to_owned(),
            None => return Err(bad().with_hint(format!("Available values: {}.", words.join(", ")))),
        },
        Form::DateStyle => shown_date_style(date_style(value).ok_or_else(bad)?),
        Form::TimeZone => shown_time_zone(time_zone(value).ok_or_else(bad)?, value),
        // PostgreSQL looks at letters and digits only; asyncpg sends the name in quotes.
        Form::Utf8 if matches!(lower.replace(|c: char| !c.is_ascii_alphanumeric(), "").as_str(), "utf8" | "unicode") => {
            "UTF8".to_owned()
        }
        Form::Utf8 => {
            let message = format!("conversion between {value} and UTF8 is not supported");
            return Err(Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, message));
        }
        Form::ReadOnly => {
            return Err(Diagnosis::new(
                sqlstate::CANT_CHANGE_RUNTIME_PARAM,
                format!("parameter \"{}\" cannot be changed", spec.name),
            ));
        }
    })
}

fn bool_word(lower: &str) -> Option<&'static str> {
    match lower {
        "on" | "true" | "yes" | "1" | "t" | "y" => Some("on"),
        "off" | "false" | "no" | "0" | "f" | "n" => Some("off"),
        _ => None,
    }
}

/// As PostgreSQL shows a time setting: in the largest unit that divides it.
fn shown_duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s"), (1, "ms")];
    let fits = units.iter().find(|(size, _)| millis > 0 && millis.is_multiple_of(*size));
    fits.map_or_else(|| "0".to_owned(), |(size, unit)| format!("{}{unit}", millis / size))
}

/// Style and order of fields of a `DateStyle`; what it leaves out is `ISO` and `MDY`.
pub fn date_style(value: &str) -> Option<(DateStyle, DateOrder)> {
    let (mut style, mut order) = (DateStyle::Iso, DateOrder::Mdy);
    for word in value.split(',').map(|word| word.trim().to_lowercase()) {
        match word.as_str() {
            "iso" => style = DateStyle::Iso,
            "sql" => style = DateStyle::Sql,
            "postgres" => style = DateStyle::Postgres,
            "german" => (style, order) = (DateStyle::German, DateOrder::Dmy),
            "mdy" | "us" | "noneuro" | "noneuropean" => order = DateOrder::Mdy,
            "dmy" | "euro" | "european" => order = DateOrder::Dmy,
            "ymd" => order = DateOrder::Ymd,
            "default" => {}
            _ => return None,
        }
    }
    Some((style, order))
}

fn shown_date_style((style, order): (DateStyle, DateOrder)) -> String {
    let style = match style {
        DateStyle::Iso => "ISO",
        DateStyle::Sql => "SQL",
        DateStyle::Postgres => "Postgres",
        DateStyle::German => "German",
    };
    let order = match order {
        DateOrder::Mdy => "MDY",
        DateOrder::Dmy => "DMY",
        DateOrder::Ymd => "YMD",
    };
    format!("{style}, {order}")
}

/// A zone name, `UTC`-like words, hours east of UTC (`-3.5`), or a zone as POSIX writes it (`<+05:30>-05:30`), as `SET TIME ZONE` reads
/// them.
pub fn time_zone(value: &str) -> Option<TimeZone> {
    let value = value.trim();
    if matches!(value.to_lowercase().as_str(), "local" | "default") {
        return Some(TimeZone::Named(Tz::UTC));
    }
    if let Some((_, zone)) =
        chrono_tz::TZ_VARIANTS.iter().map(|zone| (zone.name(), zone)).find(|(name, _)| name.eq_ignore_ascii_case(value))
    {
        return Some(TimeZone::Named(*zone));
    }
    if let Ok(hours) = value.parse::<f64>() {
        #[expect(clippy::cast_possible_truncation, reason = "bounded by the check on its left")]
        return (hours.abs() <= 168.0).then_some(TimeZone::Fixed((hours * 3600.0) as i32));
    }
    posix_zone(value)
}

/// A zone as POSIX writes it (manual, "POSIX Time Zone Specifications"), without rules for summer time: an abbreviation, which may be
/// left out, and how far the zone is *west* of UTC, so `+05:30`, `<+05>-05`, `EST5`.
fn posix_zone(value: &str) -> Option<TimeZone> {
    let west = match value.strip_prefix('<') {
        Some(rest) => rest.split_once('>')?.1,
        None => {
            let west = value.trim_start_matches(|letter: char| letter.is_ascii_alphabetic());
            let letters = value.len() - west.len();
            (letters == 0 || letters > 2).then_some(west)?
        }
    };
    let (sign, rest) = west.strip_prefix('-').map_or_else(|| (-1, west.strip_prefix('+').unwrap_or(west)), |rest| (1, rest));
    let mut parts = rest.split(':').map(|part| part.parse::<u16>().ok().filter(|_| part.len() <= 2).map(i32::from));
    let hours = parts.next()??;
    let (minutes, seconds) = (parts.next().unwrap_or(Some(0))?, parts.next().unwrap_or(Some(0))?);
    let is_zone = hours < 24 && minutes < 60 && seconds == 0 && parts.next().is_none();
    is_zone.then_some(TimeZone::Fixed(sign * (hours * 3600 + minutes * 60)))
}

fn shown_time_zone(zone: TimeZone, written: &str) -> String {
    match zone {
        TimeZone::Named(zone) => zone.name().to_owned(),
        TimeZone::Fixed(_) if written.trim().parse::<f64>().is_err() => written.trim().to_owned(),
        TimeZone::Fixed(seconds) => {
            let sign = if seconds < 0 { '-' } else { '+' };
            let (hours, minutes) = (seconds.abs() / 3600, seconds.abs() / 60 % 60);
            // PostgreSQL shows fixed zones in POSIX form, whose sign is the other way round.
            let posix = if seconds < 0 { '+' } else { '-' };
            format!("<{sign}{hours:02}{}>{posix}{hours:02}{}", minute_text(minutes), minute_text(minutes))
        }
    }
}

fn minute_text(minutes: i32) -> String {
    if minutes == 0 { String::new() } else { format!(":{minutes:02}") }
}

/// Splits `a, "B ""c"` into folded identifiers, as PostgreSQL's `SplitIdentifierString` does; `None` when it is no list.
pub fn split_identifiers(text: &str) -> Option<Vec<String>> {
    let mut names = Vec::new();
    let mut rest = text.trim_ascii();
    if rest.is_empty() {
        return Some(names);
    }
    loop {
        let (name, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_identifier(quoted)?,
            None => {
                let end = rest.find(|c: char| c == ',' || c.is_ascii_whitespace()).unwrap_or(rest.len());
                let (name, after) = rest.split_at(end);
                (Some(name.to_lowercase()).filter(|name| !name.is_empty())?, after)
            }
        };
        names.push(name);
        rest = after.trim_ascii_start();
        if rest.is_empty() {
            return Some(names);
        }
        rest = rest.strip_prefix(',')?.trim_ascii_start();
    }
}

/// The identifier behind an opening quote, in which `""` is a quote, and what follows it.
fn quoted_identifier(text: &str) -> Option<(String, &str)> {
    let mut name = String::new();
    let mut rest = text;
    loop {
        let (part, after) = rest.split_once('"')?;
        name.push_str(part);
        match after.strip_prefix('"') {
            Some(more) => {
                name.push('"');
                rest = more;
            }
            None => return Some((name, after)),
        }
    }
}
