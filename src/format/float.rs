//! `real` and `double precision` as text: the shortest digits that read back to the same value, laid out as PostgreSQL
//! does since version 12, or `%g` with a fixed number of digits when `extra_float_digits` is 0 or less.

use bytes::BufMut;

use super::fault;
use crate::error::{Diagnosis, sqlstate};

/// `DBL_DIG` and `FLT_DIG`: digits shown at `extra_float_digits = 0`.
const DOUBLE_DIGITS: i32 = 15;
const REAL_DIGITS: i32 = 6;

/// Writes a `double precision`.
pub fn write_f64(value: f64, extra_float_digits: i8, out: &mut impl BufMut) {
    if write_special(value, out) {
        return;
    }
    if extra_float_digits > 0 {
        // Fixed point inside [1e-4, 1e15), as the thresholds of PostgreSQL's own shortest printer.
        let is_fixed = value == 0.0 || (1e-4..1e15).contains(&value.abs());
        write_shortest(ryu::Buffer::new().format_finite(value), is_fixed, out);
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
        write_shortest(ryu::Buffer::new().format_finite(value), is_fixed, out);
    } else {
        write_rounded(f64::from(value), REAL_DIGITS + i32::from(extra_float_digits), out);
    }
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

/// Lays out what `ryu` printed (`1.5e20`, `150.0`, `1e-5`) in PostgreSQL's way.
fn write_shortest(printed: &str, is_fixed: bool, out: &mut impl BufMut) {
    let (mantissa, exponent) = match printed.split_once('e') {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().unwrap_or(0)),
        None => (printed, 0),
    };
    if is_fixed && exponent == 0 {
        out.put_slice(mantissa.strip_suffix(".0").unwrap_or(mantissa).as_bytes());
        return;
    }
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
        ];
        for (value, expected) in rows {
            assert_eq!(text(value, 1), expected);
        }
        for (value, expected) in [(16_777_216.0, "1.6777216e+07"), (999_999.94, "999999.94"), (1e6, "1e+06"), (0.1, "0.1")] {
            assert_eq!(text32(value), expected);
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
