//! `real` and `double precision` as text: the shortest digits that read back to the same value, laid out as PostgreSQL
//! does since version 12, or `%g` with a fixed number of digits when `extra_float_digits` is 0 or less.

use bytes::BufMut;

use super::fault;
use crate::error::{Diagnosis, sqlstate};

/// `DBL_DIG` and `FLT_DIG`: digits shown at `extra_float_digits = 0`.
const DOUBLE_DIGITS: i32 = 15;
const REAL_DIGITS: i32 = 6;
/// 2^53 and 2^24: from here on all numbers are whole.
const EXACT_DOUBLES: f64 = 9_007_199_254_740_992.0;
const EXACT_REALS: f32 = 16_777_216.0;

/// Writes a `double precision`.
pub fn write_f64(value: f64, extra_float_digits: i8, out: &mut impl BufMut) {
    if write_special(value, out) {
        return;
    }
    if extra_float_digits > 0 {
        // Fixed point inside [1e-4, 1e15), as the thresholds of PostgreSQL's own shortest printer.
        let is_fixed = value == 0.0 || (1e-4..1e15).contains(&value.abs());
        let mut buffer = zmij::Buffer::new();
        let printed = buffer.format_finite(value);
        let rounded = |digits| Some(format!("{value:.digits$e}")).filter(|text| text.parse() == Ok(value));
        let longer = if value.abs() >= EXACT_DOUBLES { inside(printed, f64_parts(value), rounded) } else { None };
        write_shortest(longer.as_deref().unwrap_or(printed), is_fixed, out);
    } else {
        write_rounded(value, DOUBLE_DIGITS + i32::from(extra_float_digits), out);
    }
}

/// Writes a `real`.
pub fn write_f32(value: f32, extra_float_digits: i8, out: &mut impl BufMut) {
    if write_special(f64::from(value), out) {
        return;
    }
    if extra_float_digits > 0 {
        let is_fixed = value == 0.0 || (1e-4..1e6).contains(&value.abs());
        let mut buffer = zmij::Buffer::new();
        let printed = buffer.format_finite(value);
        let rounded = |digits| Some(format!("{value:.digits$e}")).filter(|text| text.parse() == Ok(value));
        let longer = if value.abs() >= EXACT_REALS { inside(printed, f32_parts(value), rounded) } else { None };
        write_shortest(longer.as_deref().unwrap_or(printed), is_fixed, out);
    } else {
        write_rounded(f64::from(value), REAL_DIGITS + i32::from(extra_float_digits), out);
    }
}

/// Mantissa and binary exponent of a normal number.
#[derive(Clone, Copy)]
struct Parts {
    mantissa: u64,
    exponent: i32,
    /// The mantissa of a power of two, below which numbers lie twice as close.
    power_of_two: u64,
}

fn f64_parts(value: f64) -> Parts {
    let bits = value.to_bits();
    let exponent = i32::try_from((bits >> 52) & 0x7ff).unwrap_or(0);
    Parts { mantissa: (bits & ((1 << 52) - 1)) | (1 << 52), exponent: exponent - 1_075, power_of_two: 1 << 52 }
}

fn f32_parts(value: f32) -> Parts {
    let bits = value.to_bits();
    let exponent = i32::try_from((bits >> 23) & 0xff).unwrap_or(0);
    Parts { mantissa: u64::from((bits & ((1 << 23) - 1)) | (1 << 23)), exponent: exponent - 150, power_of_two: 1 << 23 }
}

/// PostgreSQL takes only decimals strictly inside the interval that rounds to the value, `zmij` also its ends. When
/// `printed` is such an end, the next longer decimal that is none; else `None`. `rounded` gives the value with so many
/// digits after the first, if that reads back as the value. Ends can be that short only from
/// [`EXACT_DOUBLES`] on, since below it they have more digits than any shortest text.
fn inside(printed: &str, parts: Parts, rounded: impl Fn(usize) -> Option<String>) -> Option<String> {
    if !is_end(printed, parts) {
        return None;
    }
    (1..17).filter_map(rounded).find(|longer| !is_end(longer, parts))
}

/// Whether the decimal is exactly half way to a neighbour of the value.
fn is_end(decimal: &str, parts: Parts) -> bool {
    let Some((mut odd, mut twos)) = odd_and_twos(decimal) else { return false };
    while odd % 2 == 0 && odd > 0 {
        odd /= 2;
        twos += 1;
    }
    let mantissa = u128::from(parts.mantissa);
    let is_half = twos == parts.exponent - 1 && (odd == 2 * mantissa + 1 || odd == 2 * mantissa - 1);
    let is_quarter = parts.mantissa == parts.power_of_two && twos == parts.exponent - 2 && odd == 4 * mantissa - 1;
    is_half || is_quarter
}

/// The decimal as `a × 2^b` for a whole number; `None` when it is none or `a` is too large to be an end.
fn odd_and_twos(decimal: &str) -> Option<(u128, i32)> {
    let (mantissa, exponent) = decimal.split_once('e').unwrap_or((decimal, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let fraction = fraction.trim_end_matches('0');
    let digits: u128 = format!("{}{fraction}", whole.trim_start_matches('-')).parse().ok()?;
    let tens = exponent.parse::<i32>().ok()? - i32::try_from(fraction.len()).ok()?;
    let fives = 5u128.checked_pow(u32::try_from(tens).ok()?)?;
    Some((digits.checked_mul(fives)?, tens))
}

fn write_special(value: f64, out: &mut impl BufMut) -> bool {
    if value.is_nan() {
        out.put_slice(b"NaN");
    } else if value.is_infinite() {
        out.put_slice(if value > 0.0 { b"Infinity" } else { b"-Infinity" });
    } else {
        return false;
    }
    true
}

/// Lays out what `zmij` printed (`1.5e+20`, `150.0`, `1e-6`) in PostgreSQL's way.
fn write_shortest(printed: &str, is_fixed: bool, out: &mut impl BufMut) {
    // An exponent is printed below 1e-5 and from 1e16 on only, so that nearly all values are done here.
    if is_fixed && !printed.as_bytes().contains(&b'e') {
        out.put_slice(printed.strip_suffix(".0").unwrap_or(printed).as_bytes());
        return;
    }
    let (mantissa, exponent) = match printed.split_once('e') {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().unwrap_or(0)),
        None => (printed, 0),
    };
    let unsigned = mantissa.strip_prefix('-').unwrap_or(mantissa);
    if unsigned.len() < mantissa.len() {
        out.put_u8(b'-');
    }
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let mut digits = String::with_capacity(24);
    digits.push_str(whole);
    digits.push_str(fraction);
    let leading = digits.len() - digits.trim_start_matches('0').len();
    let point = i32::try_from(whole.len()).unwrap_or(0) + exponent - i32::try_from(leading).unwrap_or(0);
    let significant = digits.trim_matches('0');
    if is_fixed { write_fixed(significant, point, out) } else { write_scientific(significant, point - 1, out) }
}

/// `digits × 10^(point - len)` without an exponent.
fn write_fixed(digits: &str, point: i32, out: &mut impl BufMut) {
    match usize::try_from(point) {
        Ok(point @ 1..) => {
            let (whole, fraction) = digits.split_at_checked(point).unwrap_or((digits, ""));
            out.put_slice(whole.as_bytes());
            out.put_bytes(b'0', point - whole.len());
            if !fraction.is_empty() {
                out.put_u8(b'.');
                out.put_slice(fraction.as_bytes());
            }
        }
        _ => {
            out.put_slice(b"0.");
            out.put_bytes(b'0', usize::try_from(-point).unwrap_or(0));
            out.put_slice(digits.as_bytes());
        }
    }
}

/// `d.ddde+XX`, the exponent with at least two digits.
fn write_scientific(digits: &str, exponent: i32, out: &mut impl BufMut) {
    let (first, rest) = digits.split_at_checked(1).unwrap_or((digits, ""));
    out.put_slice(first.as_bytes());
    if !rest.is_empty() {
        out.put_u8(b'.');
        out.put_slice(rest.as_bytes());
    }
    out.put_slice(if exponent < 0 { b"e-" } else { b"e+" });
    if exponent.abs() < 10 {
        out.put_u8(b'0');
    }
    out.put_slice(itoa::Buffer::new().format(exponent.unsigned_abs()).as_bytes());
}

/// C's `%.{digits}g`.
fn write_rounded(value: f64, digits: i32, out: &mut impl BufMut) {
    let digits = digits.max(1);
    if value.is_sign_negative() {
        out.put_u8(b'-');
    }
    if value == 0.0 {
        out.put_u8(b'0');
        return;
    }
    let printed = format!("{:.*e}", usize::try_from(digits - 1).unwrap_or(0), value.abs());
    let (mantissa, exponent) = printed.split_once('e').unwrap_or((&printed, "0"));
    let exponent = exponent.parse::<i32>().unwrap_or(0);
    let all: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let significant = all.trim_end_matches('0');
    if exponent < -4 || exponent >= digits {
        write_scientific(significant, exponent, out);
    } else {
        write_fixed(significant, exponent + 1, out);
    }
}

/// Reads a `double precision`.
///
/// # Errors
/// 22P02, or 22003 for a number beyond the range, zero included when the text is not zero.
pub fn read_f64(text: &str) -> Result<f64, Diagnosis> {
    let number = syntax("double precision", text)?;
    let value: f64 = number.parse().map_err(|_cause| fault::invalid("double precision", text))?;
    check_range(number, value.is_infinite(), value == 0.0).map_err(|()| beyond("double precision", text)).map(|()| value)
}

/// Reads a `real`.
///
/// # Errors
/// As [`read_f64`].
pub fn read_f32(text: &str) -> Result<f32, Diagnosis> {
    let number = syntax("real", text)?;
    let value: f32 = number.parse().map_err(|_cause| fault::invalid("real", text))?;
    check_range(number, value.is_infinite(), value == 0.0).map_err(|()| beyond("real", text)).map(|()| value)
}

fn beyond(type_name: &str, text: &str) -> Diagnosis {
    Diagnosis::new(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, format!("\"{}\" is out of range for type {type_name}", fault::trim(text)))
}

/// Rust's reader is more liberal in words and PostgreSQL's in nothing but blanks and hexadecimal, which we refuse.
fn syntax<'a>(type_name: &str, text: &'a str) -> Result<&'a str, Diagnosis> {
    let number = fault::trim(text);
    let unsigned = number.strip_prefix(['+', '-']).unwrap_or(number);
    let is_word = ["nan", "infinity", "inf"].iter().any(|word| unsigned.eq_ignore_ascii_case(word));
    let is_number = unsigned.starts_with(|first: char| first.is_ascii_digit() || first == '.');
    if is_word || is_number { Ok(number) } else { Err(fault::invalid(type_name, text)) }
}

fn check_range(number: &str, is_infinite: bool, is_zero: bool) -> Result<(), ()> {
    let mantissa = number.split(['e', 'E']).next().unwrap_or(number);
    let has_digits = number.contains(|digit: char| digit.is_ascii_digit());
    let is_underflow = is_zero && mantissa.contains(|digit: char| matches!(digit, '1'..='9'));
    if (is_infinite && has_digits) || is_underflow { Err(()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: f64, digits: i8) -> String {
        let mut out = Vec::new();
        write_f64(value, digits, &mut out);
        String::from_utf8(out).unwrap()
    }

    fn text32(value: f32) -> String {
        let mut out = Vec::new();
        write_f32(value, 1, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn doubles_print_as_in_postgres() {
        let rows = [
            (1e20, "1e+20"),
            (f64::INFINITY, "Infinity"),
            (f64::NEG_INFINITY, "-Infinity"),
            (f64::NAN, "NaN"),
            (-0.0, "-0"),
            (0.0, "0"),
            (100_000_000_000_000.0, "100000000000000"),
            (1e15, "1e+15"),
            (123_456_789_012_345.6, "123456789012345.6"),
            (1_234_567_890_123_456.0, "1.234567890123456e+15"),
            (0.0001, "0.0001"),
            (0.00012345, "0.00012345"),
            (0.00001, "1e-05"),
            (-0.000_012_3, "-1.23e-05"),
            (0.1 + 0.2, "0.30000000000000004"),
            (f64::MAX, "1.7976931348623157e+308"),
            (5e-324, "5e-324"),
            (1.5, "1.5"),
            (1e22, "1e+22"),
            (68_656_491_175_904_336.0, "6.8656491175904336e+16"),
        ];
        for (value, expected) in rows {
            assert_eq!(text(value, 1), expected);
        }
        // The shortest text that reads back, 9.02287e+07, is exactly half way to the next number.
        for (value, expected) in [
            (90_228_704.0, "9.0228704e+07"),
            (16_777_216.0, "1.6777216e+07"),
            (999_999.94, "999999.94"),
            (1e6, "1e+06"),
            (0.1, "0.1"),
        ] {
            assert_eq!(text32(value), expected);
        }
    }

    #[test]
    fn shortest_digits_read_back_and_are_no_longer_than_they_must() {
        let significant = |text: &str| {
            let mantissa = text.split('e').next().unwrap_or_default();
            mantissa.chars().filter(char::is_ascii_digit).collect::<String>().trim_matches('0').len()
        };
        let mut bits = 1_u64;
        for _ in 0..20_000 {
            bits = bits.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let whole = (bits >> (bits % 60)) as f64;
            for value in [f64::from_bits(bits), whole, -whole / 1_000.0, f64::from_bits(bits >> 12)] {
                let shown = text(value, 1);
                assert!(read_f64(&shown).is_ok_and(|read| read.to_bits() == value.to_bits() || value.is_nan()), "{shown}");
                // From 2^53 on PostgreSQL may need a digit more than the shortest.
                if value.abs() < EXACT_DOUBLES {
                    assert_eq!(significant(&shown), significant(&format!("{value:e}")), "{shown}");
                }
            }
            let single = f32::from_bits((bits >> 32) as u32);
            let shown = text32(single);
            assert!(read_f32(&shown).is_ok_and(|read| read.to_bits() == single.to_bits() || single.is_nan()), "{shown}");
        }
    }

    #[test]
    fn fewer_digits_print_as_percent_g() {
        let rows =
            [(0.1 + 0.2, 0, "0.3"), (1e15, 0, "1e+15"), (123_456.789, -12, "1.23e+05"), (1.0 / 3.0, -14, "0.3"), (100.0, 0, "100")];
        for (value, digits, expected) in rows {
            assert_eq!(text(value, digits), expected);
        }
    }

    #[test]
    fn readers_refuse_what_postgres_refuses() {
        assert_eq!(read_f64(" -1.5e3 ").unwrap(), -1500.0);
        assert_eq!(read_f64("-infinity").unwrap(), f64::NEG_INFINITY);
        assert!(read_f64("nan").unwrap().is_nan());
        assert_eq!(read_f64("0e400").unwrap(), 0.0);
        for (error, code) in [
            (read_f64("1e400").unwrap_err(), "22003"),
            (read_f64("1e-400").unwrap_err(), "22003"),
            (read_f32("1e40").unwrap_err(), "22003"),
            (read_f64("").unwrap_err(), "22P02"),
            (read_f64("1 2").unwrap_err(), "22P02"),
            (read_f64("infinit").unwrap_err(), "22P02"),
            (read_f64("e5").unwrap_err(), "22P02"),
        ] {
            assert_eq!(error.sqlstate, code, "{error}");
        }
    }
}
