//! `to_char`, `to_number`, `to_date` and `to_timestamp` (manual, "Data Type Formatting Functions"): values of each type for the
//! templates of `template`.

use std::rc::Rc;

use datafusion::logical_expr::Volatility;

use crate::error::{Diagnosis, sqlstate};
use crate::format::{TimeZone, zone};
use crate::pgtype::PgType;

use super::super::cast::round_fraction;
use super::super::clock;
use super::super::datum::{DAY_US, Datum, out_of_range};
use super::super::numeric::{self, Numeric};
use super::super::overload::{Overload, row};
use super::super::template::Node;
use super::super::template::date_fields::to_moment;
use super::super::template::date_keys::{self, Pattern};
use super::super::template::date_write::{self, Moment};
use super::super::template::number_picture::Picture;
use super::super::template::number_read;
use super::super::template::number_write::{Digits, fitted, lay_out, no_scientific_form, roman};
use super::super::typed::Call;

const TEXT: PgType = PgType::TEXT;

type Outcome<'a> = Result<Datum<'a>, Diagnosis>;

/// The family's rows.
pub(super) const ROWS: &[Overload] = &[
    row("to_char", &[PgType::TIMESTAMPTZ, TEXT], TEXT, |call, a| timestamp_to_char(call, a, Some(call.session.display.time_zone)))
        .volatility(Volatility::Stable),
    row("to_char", &[PgType::TIMESTAMP, TEXT], TEXT, |call, a| timestamp_to_char(call, a, None)),
    row("to_char", &[PgType::INTERVAL, TEXT], TEXT, interval_to_char),
    row("to_char", &[PgType::NUMERIC, TEXT], TEXT, |call, a| {
        numeric_to_char(call, &a[0].as_numeric(), a[1].as_text()).map(Datum::text)
    }),
    row("to_char", &[PgType::INT4, TEXT], TEXT, |call, a| int_to_char(call, a, PgType::INT4).map(Datum::text)),
    row("to_char", &[PgType::INT8, TEXT], TEXT, |call, a| int_to_char(call, a, PgType::INT8).map(Datum::text)),
    row("to_char", &[PgType::FLOAT8, TEXT], TEXT, |call, a| float_to_char(call, a, 15).map(Datum::text)),
    row("to_char", &[PgType::FLOAT4, TEXT], TEXT, |call, a| float_to_char(call, a, 6).map(Datum::text)),
    row("to_number", &[TEXT, TEXT], PgType::NUMERIC, to_number),
    row("to_date", &[TEXT, TEXT], PgType::DATE, to_date),
    row("to_timestamp", &[TEXT, TEXT], PgType::TIMESTAMPTZ, to_timestamp).volatility(Volatility::Stable),
];

/// The template as the row before had it, or split anew.
fn nodes(call: &Call<'_>, template: &str) -> Result<Rc<Vec<Node<Pattern>>>, Diagnosis> {
    call.kept.of((template, ""), || Ok(date_keys::nodes(template)))
}

/// As [`nodes`], of numbers.
fn picture(call: &Call<'_>, template: &str) -> Result<Rc<Picture>, Diagnosis> {
    call.kept.of((template, ""), || Picture::read(template))
}

/// An infinite moment has no text, nor has an empty template.
fn timestamp_to_char<'a>(call: &Call<'_>, a: &[Datum<'a>], time_zone: Option<TimeZone>) -> Outcome<'a> {
    let (at, template) = (a[0].as_int(), a[1].as_text());
    if clock::is_infinite(at) || template.is_empty() {
        return Ok(Datum::Null);
    }
    let (offset, name) = match time_zone {
        None => (0, None),
        Some(time_zone) => (clock::offset_at(at, time_zone), Some(zone_name(at, time_zone))),
    };
    let local = at.saturating_add(offset * 1_000_000);
    let (year, month, day) = clock::civil(local.div_euclid(DAY_US));
    let moment = Moment { year, month, day, offset, zone: name, ..time_parts(local.rem_euclid(DAY_US)) };
    date_write::write(&nodes(call, template)?, &moment).map(Datum::text)
}

fn zone_name(at: i64, time_zone: TimeZone) -> String {
    if let Some(name) = zone::abbreviation_at(time_zone, at) {
        return name.into_owned();
    }
    let offset = clock::offset_at(at, time_zone);
    let sign = if offset < 0 { '-' } else { '+' };
    let (hours, minutes) = (offset.abs() / 3600, offset.abs() / 60 % 60);
    if minutes == 0 { format!("{sign}{hours:02}") } else { format!("{sign}{hours:02}:{minutes:02}") }
}

/// Hours, minutes, seconds and their fraction, all with the sign of the whole.
fn time_parts(micros: i64) -> Moment {
    Moment {
        hour: micros / 3_600_000_000,
        minute: micros / 60_000_000 % 60,
        second: micros / 1_000_000 % 60,
        micros: micros % 1_000_000,
        ..Moment::default()
    }
}

fn interval_to_char<'a>(call: &Call<'_>, a: &[Datum<'a>]) -> Outcome<'a> {
    let (value, template) = (a[0].as_interval(), a[1].as_text());
    if template.is_empty() {
        return Ok(Datum::Null);
    }
    let moment = Moment {
        year: i64::from(value.months / 12),
        month: i64::from(value.months % 12),
        day: i64::from(value.days),
        is_interval: true,
        ..time_parts(value.nanoseconds / 1000)
    };
    date_write::write(&nodes(call, template)?, &moment).map(Datum::text)
}

fn numeric_to_char(call: &Call<'_>, value: &Numeric, template: &str) -> Result<String, Diagnosis> {
    let mut picture = picture(call, template)?.as_ref().clone();
    if picture.scientific {
        return Ok(scientific_numeric(value, picture.before, picture.after));
    }
    if picture.roman {
        let whole = match value {
            Numeric::Finite(_) => value.to_integer().filter(|whole| i32::try_from(*whole).is_ok()),
            Numeric::NotANumber => return Err(no_integer("NaN")),
            _ => return Err(no_integer("infinity")),
        };
        return lay_out_roman(picture, whole.ok_or_else(|| out_of_range(PgType::INT4))?);
    }
    let shift = i64::try_from(picture.shift).unwrap_or(i64::MAX);
    let shifted = if picture.shift == 0 { value.clone() } else { value.multiply(&power_of_ten(shift)?)? };
    picture.before += picture.shift;
    let after = i64::try_from(picture.after).unwrap_or(i64::MAX);
    lay_out_text(picture, &shifted.round(after).to_canonical())
}

fn no_integer(what: &str) -> Diagnosis {
    Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, format!("cannot convert {what} to integer"))
}

fn power_of_ten(exponent: i64) -> Result<Numeric, Diagnosis> {
    numeric::power(&Numeric::from_parts(10, 0), &Numeric::from_parts(exponent, 0))
}

fn lay_out_roman(picture: Picture, whole: i64) -> Result<String, Diagnosis> {
    lay_out(picture, &Digits { negative: false, text: roman(whole) }, 0)
}

/// Lays out a number given as text with its sign.
fn lay_out_text(picture: Picture, text: &str) -> Result<String, Diagnosis> {
    let (negative, text) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let (digits, blanks) = fitted(negative, text.to_owned(), picture.before, picture.after);
    lay_out(picture, &digits, blanks)
}

/// `d.ddde+dd` with a blank in the place of a positive sign. Rounding may make the digit before the point a ten, as
/// `numeric_out_sci` does.
fn scientific_numeric(value: &Numeric, before: usize, after: usize) -> String {
    let Numeric::Finite(_) = value else { return no_scientific_form(before, after) };
    let text = value.to_canonical();
    let (sign, unsigned) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => (" ", text.as_str()),
    };
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let digits: String = [whole, fraction].concat();
    let significant = digits.trim_start_matches('0');
    let leading = digits.len() - significant.len();
    let exponent =
        if significant.is_empty() { 0 } else { i64::try_from(whole.len()).unwrap_or(0) - i64::try_from(leading).unwrap_or(0) - 1 };
    let (first, rest) = significant.split_at_checked(1).unwrap_or(("0", ""));
    let mantissa = Numeric::from_canonical(&format!("{first}.{rest}0")).unwrap_or(Numeric::NotANumber);
    let mantissa = mantissa.round(i64::try_from(after).unwrap_or(0)).to_canonical();
    format!("{sign}{mantissa}e{}", signed_exponent(exponent))
}

fn signed_exponent(exponent: i64) -> String {
    format!("{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
}

fn int_to_char(call: &Call<'_>, a: &[Datum<'_>], pg_type: PgType) -> Result<String, Diagnosis> {
    let (value, template) = (a[0].as_int(), a[1].as_text());
    let mut picture = picture(call, template)?.as_ref().clone();
    let is_small = pg_type.oid == PgType::INT4.oid;
    if picture.roman {
        let fits = i32::try_from(value).is_ok();
        return if fits { lay_out_roman(picture, value) } else { Err(out_of_range(PgType::INT4)) };
    }
    if picture.scientific {
        return Ok(if is_small {
            scientific_float(value as f64, picture.after)
        } else {
            scientific_numeric(&Numeric::from_parts(value, 0), picture.before, picture.after)
        });
    }
    let factor = u32::try_from(picture.shift).ok().and_then(|shift| 10_i64.checked_pow(shift));
    let shifted = factor.and_then(|factor| value.checked_mul(factor));
    let shifted = shifted.filter(|value| !is_small || i32::try_from(*value).is_ok()).ok_or_else(|| out_of_range(pg_type))?;
    picture.before += picture.shift;
    let zeros = if picture.after > 0 { format!(".{}", "0".repeat(picture.after)) } else { String::new() };
    lay_out_text(picture, &format!("{shifted}{zeros}"))
}

/// `digits` is how many a float of the type is sure to have.
fn float_to_char(call: &Call<'_>, a: &[Datum<'_>], digits: usize) -> Result<String, Diagnosis> {
    let (value, template) = (a[0].as_float(), a[1].as_text());
    let mut picture = picture(call, template)?.as_ref().clone();
    if picture.roman {
        return lay_out_roman(picture, value.round_ties_even() as i64);
    }
    if picture.scientific {
        return Ok(if value.is_finite() {
            scientific_float(value, picture.after)
        } else {
            no_scientific_form(picture.before, picture.after)
        });
    }
    let factor = 10_f64.powi(i32::try_from(picture.shift).unwrap_or(i32::MAX));
    let shifted = match (picture.shift, digits) {
        (0, _) => value,
        (_, 6) => f64::from(value as f32 * factor as f32),
        _ => value * factor,
    };
    picture.before += picture.shift;
    let whole = fixed(shifted.abs(), 0).len();
    picture.after = picture.after.min(digits.saturating_sub(whole));
    let text = fixed(shifted, picture.after);
    lay_out_text(picture, &text)
}

/// `%.*f`
fn fixed(value: f64, after: usize) -> String {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "Infinity".to_owned() } else { "-Infinity".to_owned() }
    } else {
        let shown = after.min(DOUBLE_DIGITS_MAX);
        format!("{value:.shown$}{}", "0".repeat(after - shown))
    }
}

/// No double has more digits after its point; zeros follow. The formatter panics when asked for more than 65,535 digits.
const DOUBLE_DIGITS_MAX: usize = 1_100;

/// `%+.*e` with a blank in the place of a positive sign.
fn scientific_float(value: f64, after: usize) -> String {
    let shown = after.min(DOUBLE_DIGITS_MAX);
    let text = format!("{value:.shown$e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let sign = if mantissa.starts_with('-') { "" } else { " " };
    format!("{sign}{mantissa}{}e{}", "0".repeat(after - shown), signed_exponent(exponent.parse().unwrap_or(0)))
}

fn to_number<'a>(call: &Call<'_>, a: &[Datum<'a>]) -> Outcome<'a> {
    let (text, template) = (a[0].as_text(), a[1].as_text());
    if template.is_empty() {
        return Ok(Datum::Null);
    }
    let picture = picture(call, template)?;
    let read = number_read::read(&picture, text)?;
    let canonical = crate::format::numeric::read(&read.text)?.to_string();
    let value = Numeric::from_canonical(&canonical).ok_or_else(numeric::overflow)?;
    let precision = u16::try_from(picture.before + picture.shift + read.after).unwrap_or(u16::MAX);
    let value = value.constrain(precision, i16::try_from(read.after).unwrap_or(i16::MAX))?;
    if !picture.has_shift {
        return Ok(Datum::Numeric(value));
    }
    let shift = i64::try_from(picture.shift).unwrap_or(i64::MAX);
    Ok(Datum::Numeric(value.multiply(&power_of_ten(-shift)?)?))
}

fn to_date<'a>(call: &Call<'_>, a: &[Datum<'a>]) -> Outcome<'a> {
    let read = to_moment(&nodes(call, a[1].as_text())?, a[0].as_text())?;
    let days = i32::try_from(read.days).ok().filter(|days| clock::is_date(*days));
    days.map(Datum::Date)
        .ok_or_else(|| Diagnosis::new(sqlstate::DATETIME_FIELD_OVERFLOW, format!("date out of range: \"{}\"", a[0].as_text())))
}

fn to_timestamp<'a>(call: &Call<'_>, a: &[Datum<'a>]) -> Outcome<'a> {
    let read = to_moment(&nodes(call, a[1].as_text())?, a[0].as_text())?;
    let local = read.local()?;
    let at = match read.offset {
        Some(offset) => clock::within(local - offset * 1_000_000)?,
        None => clock::to_instant(local, call.session.display.time_zone),
    };
    Ok(Datum::Timestamp(read.fraction_digits.map_or(at, |digits| round_fraction(at, digits))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_templates_are_filled_with_zeros() {
        for (value, after) in [(1.5, 3), (-1.25, 1_101), (f64::MIN_POSITIVE, 70_000)] {
            let text = scientific_float(value, after);
            let (mantissa, exponent) = text.trim_start_matches([' ', '-']).split_once('e').unwrap();
            assert_eq!(mantissa.len(), 2 + after, "{value} {after}");
            let short = mantissa.trim_end_matches('0');
            assert_eq!(format!("{short}e{exponent}").parse::<f64>().unwrap(), value.abs());
            assert!(fixed(value, after).len() >= 2 + after);
        }
    }
}
