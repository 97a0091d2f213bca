//! `numeric` as text: readers for every form PostgreSQL takes, writers for values and for Arrow's unscaled integers.

use std::fmt;

use arrow::datatypes::i256;
use bytes::BufMut;

use super::{Finite, Numeric, overflow};
use crate::error::Diagnosis;
use crate::format::fault;

/// Reads `-12.50`, `1.5e3`, `.5`, `5.`, `NaN`, `Infinity` and `inf` in any case.
///
/// # Errors
/// 22P02, or 22003 beyond the limits of the type.
pub fn read(text: &str) -> Result<Numeric, Diagnosis> {
    let trimmed = fault::trim(text);
    let (is_negative, unsigned) = match trimmed.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, trimmed.strip_prefix('+').unwrap_or(trimmed)),
    };
    if trimmed.eq_ignore_ascii_case("nan") {
        return Ok(Numeric::NaN);
    }
    if unsigned.eq_ignore_ascii_case("infinity") || unsigned.eq_ignore_ascii_case("inf") {
        return Ok(if is_negative { Numeric::NegativeInfinity } else { Numeric::Infinity });
    }
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, read_exponent(exponent).ok_or_else(|| fault::invalid("numeric", text))?),
        None => (unsigned, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let is_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !is_digits(whole) || !is_digits(fraction) {
        return Err(fault::invalid("numeric", text));
    }
    let digits: Vec<u8> = whole.bytes().chain(fraction.bytes()).map(|byte| byte - b'0').collect();
    let fraction_len = i64::try_from(fraction.len()).map_err(|_cause| overflow())?;
    let scale = fraction_len.checked_sub(exponent).ok_or_else(overflow)?;
    Finite::new(is_negative, digits, scale).map(Numeric::Finite)
}

fn read_exponent(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // PostgreSQL calls exponents from half of INT_MAX on bad syntax.
    text.parse::<i64>().ok().filter(|exponent| exponent.abs() < i64::from(i32::MAX / 2))
}

impl fmt::Display for Numeric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let finite = match self {
            Self::NaN => return f.write_str("NaN"),
            Self::Infinity => return f.write_str("Infinity"),
            Self::NegativeInfinity => return f.write_str("-Infinity"),
            Self::Finite(finite) => finite,
        };
        let digits: String = finite.digits.iter().map(|&digit| char::from(b'0' + digit)).collect();
        let mut out = Vec::with_capacity(digits.len() + finite.scale + 3);
        if finite.is_negative {
            out.push(b'-');
        }
        write_point(&digits, finite.scale, &mut out);
        f.write_str(std::str::from_utf8(&out).unwrap_or_default())
    }
}

/// Writes `unscaled × 10^-scale`.
pub fn write_i128(unscaled: i128, scale: i8, out: &mut impl BufMut) {
    if unscaled < 0 {
        out.put_u8(b'-');
    }
    let mut buffer = itoa::Buffer::new();
    let magnitude = unscaled.unsigned_abs();
    // 64-bit division is many times cheaper than 128-bit and nearly all values are small.
    let digits = match u64::try_from(magnitude) {
        Ok(small) => buffer.format(small),
        Err(_) => buffer.format(magnitude),
    };
    write_scaled(digits, scale, out);
}

/// Writes `unscaled × 10^-scale`.
pub fn write_i256(unscaled: i256, scale: i8, out: &mut impl BufMut) {
    if let Some(small) = unscaled.to_i128() {
        return write_i128(small, scale, out);
    }
    let printed = unscaled.to_string();
    let digits = printed.strip_prefix('-').unwrap_or(&printed);
    if digits.len() < printed.len() {
        out.put_u8(b'-');
    }
    write_scaled(digits, scale, out);
}

fn write_scaled(digits: &str, scale: i8, out: &mut impl BufMut) {
    match usize::try_from(scale) {
        Ok(scale) => write_point(if digits == "0" { "" } else { digits }, scale, out),
        Err(_) if digits == "0" => out.put_u8(b'0'),
        Err(_) => {
            out.put_slice(digits.as_bytes());
            out.put_bytes(b'0', usize::from(scale.unsigned_abs()));
        }
    }
}

/// Writes digits (none for zero) with `scale` of them after the point.
fn write_point(digits: &str, scale: usize, out: &mut impl BufMut) {
    match digits.len().checked_sub(scale).and_then(|point| digits.split_at_checked(point)) {
        Some((whole, fraction)) => {
            out.put_slice(if whole.is_empty() { b"0" } else { whole.as_bytes() });
            if !fraction.is_empty() {
                out.put_u8(b'.');
                out.put_slice(fraction.as_bytes());
            }
        }
        None => {
            out.put_slice(b"0.");
            out.put_bytes(b'0', scale - digits.len());
            out.put_slice(digits.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_read_and_written_canonically() {
        let rows = [
            ("0", "0"),
            ("-0.00", "0.00"),
            ("007.10", "7.10"),
            ("+1.5e3", "1500"),
            ("1.50e1", "15.0"),
            ("1e-3", "0.001"),
            (" .5 ", "0.5"),
            ("5.", "5"),
            ("-1.23E+2", "-123"),
            ("0e10", "0"),
            ("nan", "NaN"),
            ("-INF", "-Infinity"),
            ("+infinity", "Infinity"),
            (
                "123456789012345678901234567890123456789012345678901234567890.1",
                "123456789012345678901234567890123456789012345678901234567890.1",
            ),
        ];
        for (input, expected) in rows {
            assert_eq!(read(input).unwrap().to_string(), expected, "{input}");
        }
        for input in ["", ".", "1.2.3", "e5", "1e", "--1", "1 2", "abc", "0x10", "1e99999999999"] {
            assert_eq!(read(input).unwrap_err().sqlstate, "22P02", "{input}");
        }
        for input in ["1e131073", "1e-16384"] {
            assert_eq!(read(input).unwrap_err().sqlstate, "22003", "{input}");
        }
    }

    #[test]
    fn declared_types_round_half_away_from_zero() {
        let rows = [
            ("2.345", 5, 2, "2.35"),
            ("-2.345", 5, 2, "-2.35"),
            ("2.344", 5, 2, "2.34"),
            ("9.995", 4, 2, "10.00"),
            ("1250", 5, -2, "1300"),
            ("49", 5, -2, "0"),
            ("50", 5, -2, "100"),
            ("0.00123", 3, 5, "0.00123"),
            ("0.5", 1, 0, "1"),
            ("-0.4", 1, 0, "0"),
            ("0.0004", 3, 2, "0.00"),
            ("3", 5, 2, "3.00"),
        ];
        for (input, precision, scale, expected) in rows {
            assert_eq!(read(input).unwrap().fit(precision, scale).unwrap().to_string(), expected, "{input}");
        }
        let error = read("999.995").unwrap().fit(5, 2).unwrap_err();
        assert_eq!(error.message, "numeric field overflow");
        assert_eq!(
            error.detail.as_deref(),
            Some("A field with precision 5, scale 2 must round to an absolute value less than 10^3.")
        );
        assert!(read("inf").unwrap().fit(5, 2).is_err());
        assert!(read("0.01").unwrap().fit(3, 5).is_err());
    }

    #[test]
    fn unscaled_integers_match_their_text() {
        let rows: [(i128, i8, &str); 8] = [
            (12345, 2, "123.45"),
            (-5, 3, "-0.005"),
            (0, 2, "0.00"),
            (0, 0, "0"),
            (7, -3, "7000"),
            (0, -3, "0"),
            (i128::MAX, 38, "1.70141183460469231731687303715884105727"),
            (i128::MIN, 0, "-170141183460469231731687303715884105728"),
        ];
        for (unscaled, scale, expected) in rows {
            let mut out = Vec::new();
            write_i128(unscaled, scale, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
            assert_eq!(Numeric::from_i128(unscaled, scale).unwrap().to_string(), expected);
            if let Ok(scale) = u8::try_from(scale) {
                assert_eq!(read(expected).unwrap().unscaled_i128(scale), Some(unscaled));
            }
        }
        let wide = "-1234567890123456789012345678901234567890123456789012345678901234567890.123456";
        let unscaled = read(wide).unwrap().unscaled_i256(6).unwrap();
        let mut out = Vec::new();
        write_i256(unscaled, 6, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), wide);
    }
}
