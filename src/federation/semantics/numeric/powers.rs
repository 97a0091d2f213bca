//! Powers, exponentials and logarithms of `numeric`, with as many digits as `numeric.c` of PostgreSQL 15 shows.
//!
//! How many those are follows from an estimate of the result, which is made as coarsely here as it is there.

use std::cmp::Ordering;
use std::f64::consts::{LN_10, LOG10_E};

use bigdecimal::num_bigint::BigInt;
use bigdecimal::{BigDecimal, FromPrimitive, RoundingMode, Signed, ToPrimitive, Zero};

use crate::error::Diagnosis;

use super::Numeric::{self, Finite, Infinity, NegativeInfinity, NotANumber};
use super::{
    DISPLAY_SCALE_MAX, SIGNIFICANT_DIGITS_MIN, WHOLE_DIGITS_MAX, bounded, digits_of, division_by_zero, integer_root,
    leading_exponent, overflow, quotient,
};

/// Exponents of e from here on are refused, or below zero give 0 (three times `NUMERIC_MAX_RESULT_SCALE`).
const EXPONENT_END: f64 = 6000.0;
/// The same for an exponent that is only estimated.
const ESTIMATE_MAX: f64 = 6020.0;

fn whole(value: i32) -> Numeric {
    Numeric::from_parts(value, 0)
}

fn equals(value: &Numeric, other: i32) -> bool {
    value.compare(&whole(other)).is_eq()
}

fn float(value: &BigDecimal) -> f64 {
    Finite(value.clone()).to_float()
}

fn is_odd(value: &BigDecimal) -> bool {
    value.is_integer() && value.with_scale(0).into_bigint_and_scale().0.bit(0)
}

/// `power(numeric, numeric)`.
///
/// # Errors
/// 2201F for undefined powers, 22003 for results out of range.
pub(crate) fn power(base: &Numeric, exponent: &Numeric) -> Result<Numeric, Diagnosis> {
    let undefined = |message: &str| Diagnosis::new("2201F", message);
    if *base == NotANumber || *exponent == NotANumber {
        return Ok(if equals(base, 1) || equals(exponent, 0) { whole(1) } else { NotANumber });
    }
    // An infinite exponent is a whole one.
    let is_whole = if let Finite(exponent) = exponent { exponent.is_integer() } else { true };
    match (base.sign_kind(), exponent.sign_kind()) {
        (Ordering::Equal, Ordering::Less) => Err(undefined("zero raised to a negative power is undefined")),
        (Ordering::Less, _) if !is_whole => {
            Err(undefined("a negative number raised to a non-integer power yields a complex result"))
        }
        _ => match (base, exponent) {
            (Finite(base), Finite(exponent)) => finite_power(base, exponent),
            _ => Ok(infinite_power(base, exponent)),
        },
    }
}

/// A power of which base or exponent is infinite.
fn infinite_power(base: &Numeric, exponent: &Numeric) -> Numeric {
    if equals(base, 1) || equals(exponent, 0) {
        return whole(1);
    }
    match (base, exponent) {
        (_, Infinity | NegativeInfinity) => match base.absolute().compare(&whole(1)) {
            Ordering::Equal => whole(1),
            size if size.is_gt() == (*exponent == Infinity) => Infinity,
            _ => whole(0),
        },
        _ if exponent.sign_kind().is_lt() => whole(0),
        (NegativeInfinity, Finite(exponent)) if is_odd(exponent) => NegativeInfinity,
        _ => Infinity,
    }
}

fn finite_power(base: &BigDecimal, exponent: &BigDecimal) -> Result<Numeric, Diagnosis> {
    let narrow = exponent.to_i64().filter(|_| exponent.is_integer()).and_then(|exponent| i32::try_from(exponent).ok());
    if let Some(exponent) = narrow {
        return whole_power(base, exponent);
    }
    if base.is_zero() {
        return Ok(Numeric::from_parts(0, SIGNIFICANT_DIGITS_MIN));
    }
    let is_negative = base.is_negative() && is_odd(exponent);
    let size = base.abs();
    let weight = log_weight(&size);
    let log = |scale: i64| {
        let scale = scale.max(0);
        (natural_log(&size, scale) * exponent).with_scale_round(scale, RoundingMode::HalfUp)
    };
    let estimate = float(&log(8 - weight));
    if estimate.abs() > ESTIMATE_MAX {
        return if estimate > 0.0 { Err(overflow()) } else { Ok(Numeric::from_parts(0, DISPLAY_SCALE_MAX)) };
    }
    let digits = (estimate * LOG10_E) as i64;
    let scale = (SIGNIFICANT_DIGITS_MIN - digits)
        .max(base.fractional_digit_count())
        .max(exponent.fractional_digit_count())
        .clamp(0, DISPLAY_SCALE_MAX);
    let significant = (scale + digits).max(0);
    let result = exponential(&log(significant - weight + 8), scale)?;
    Ok(Finite(if is_negative { -result } else { result }))
}

/// Whole powers show sixteen digits after the point, however large they are.
fn whole_power(base: &BigDecimal, exponent: i32) -> Result<Numeric, Diagnosis> {
    let scale = base.fractional_digit_count().clamp(SIGNIFICANT_DIGITS_MIN, DISPLAY_SCALE_MAX);
    let shown = |value: &BigDecimal| value.with_scale_round(scale, RoundingMode::HalfUp);
    match exponent {
        0 => return Ok(Finite(shown(&BigDecimal::from(1)))),
        1 => return Ok(Finite(shown(base))),
        -1 => return bounded(quotient(&BigDecimal::from(1), base, scale, RoundingMode::HalfUp)),
        2 => return bounded(shown(&base.square())),
        _ if base.is_zero() => return Ok(Finite(shown(base))),
        _ => {}
    }
    let (digits, place) = leading_digits(base);
    let estimate = f64::from(exponent) * (digits.log10() + place as f64);
    if estimate > WHOLE_DIGITS_MAX as f64 + 2.0 {
        return Err(overflow());
    }
    if estimate + 1.0 < -(scale as f64) {
        return Ok(Numeric::from_parts(0, scale));
    }
    // Each product may cost the last digit; these are more than there are products.
    let kept = u64::try_from(scale + estimate as i64).unwrap_or(0) + 60;
    let power = cut_power(base, exponent.unsigned_abs(), kept);
    bounded(if exponent < 0 { quotient(&BigDecimal::from(1), &power, scale, RoundingMode::HalfUp) } else { shown(&power) })
}

/// A power to so many significant digits.
fn cut_power(base: &BigDecimal, exponent: u32, digits: u64) -> BigDecimal {
    let cut = |value: BigDecimal| if value.digits() > digits { value.with_prec(digits) } else { value };
    let mut result = BigDecimal::from(1);
    let mut factor = cut(base.clone());
    let mut left = exponent;
    loop {
        if left & 1 == 1 {
            result = cut(result * &factor);
        }
        left >>= 1;
        if left == 0 {
            return result;
        }
        factor = cut(factor.square());
    }
}

/// `exp(numeric)`.
///
/// # Errors
/// 22003 when the result is out of range.
pub(crate) fn exp(value: &Numeric) -> Result<Numeric, Diagnosis> {
    let Finite(exponent) = value else {
        return Ok(if *value == NegativeInfinity { whole(0) } else { value.clone() });
    };
    let digits = (value.to_float() * LOG10_E).clamp(-2000.0, 2000.0) as i64;
    let scale = (SIGNIFICANT_DIGITS_MIN - digits).max(value.scale()).clamp(0, DISPLAY_SCALE_MAX);
    exponential(exponent, scale).map(Finite)
}

fn exponential(value: &BigDecimal, scale: i64) -> Result<BigDecimal, Diagnosis> {
    let estimate = float(value);
    if estimate.abs() >= EXPONENT_END {
        return if estimate > 0.0 { Err(overflow()) } else { Ok(BigDecimal::zero().with_scale(scale)) };
    }
    // Halving the argument until it is small keeps the series short; squaring undoes it.
    let whole_digits = (estimate.abs() * LOG10_E) as i64;
    let mut reduced = value.clone();
    let mut halvings = 0_u32;
    while reduced.abs() > BigDecimal::new(BigInt::from(1), 2) {
        reduced = quotient(&reduced, &BigDecimal::from(2), scale + whole_digits + 60, RoundingMode::Down);
        halvings += 1;
    }
    let working = scale + whole_digits + 40 + i64::from(halvings);
    let mut term = BigDecimal::from(1);
    let mut sum = BigDecimal::from(1);
    let mut index = 1_i64;
    while !term.is_zero() {
        term = quotient(&(&term * &reduced), &BigDecimal::from(index), working, RoundingMode::Down);
        sum += &term;
        index += 1;
    }
    for _ in 0..halvings {
        sum = sum.square().with_scale_round(working, RoundingMode::Down);
    }
    Ok(sum.with_scale_round(scale, RoundingMode::HalfUp))
}

/// `ln(numeric)`.
///
/// # Errors
/// 2201E for zero and negative arguments.
pub(crate) fn ln(value: &Numeric) -> Result<Numeric, Diagnosis> {
    let Finite(argument) = positive(value)? else { return Ok(value.clone()) };
    let scale = (SIGNIFICANT_DIGITS_MIN - log_weight(argument)).max(value.scale()).clamp(0, DISPLAY_SCALE_MAX);
    Ok(Finite(natural_log(argument, scale)))
}

/// `log(base, value)`.
///
/// # Errors
/// 2201E for zero and negative arguments, 22012 for base 1.
pub(crate) fn log(base: &Numeric, value: &Numeric) -> Result<Numeric, Diagnosis> {
    if *base == NotANumber || *value == NotANumber {
        return Ok(NotANumber);
    }
    let (base_value, argument) = match (positive(base)?, positive(value)?) {
        (Finite(base), Finite(argument)) => (base, argument),
        (Infinity, Infinity) => return Ok(NotANumber),
        (Infinity, _) => return Ok(whole(0)),
        _ => return Ok(Infinity),
    };
    let (base_weight, weight) = (log_weight(base_value), log_weight(argument));
    let digits = weight - base_weight;
    let scale = (SIGNIFICANT_DIGITS_MIN - digits).max(base.scale()).max(value.scale()).clamp(0, DISPLAY_SCALE_MAX);
    let divisor = natural_log(base_value, (scale + digits - base_weight + 8).max(0));
    if divisor.is_zero() {
        return Err(division_by_zero());
    }
    let dividend = natural_log(argument, (scale + digits - weight + 8).max(0));
    Ok(Finite(quotient(&dividend, &divisor, scale, RoundingMode::HalfUp)))
}

fn positive(value: &Numeric) -> Result<&Numeric, Diagnosis> {
    match value.sign_kind() {
        Ordering::Less => Err(Diagnosis::new("2201E", "cannot take logarithm of a negative number")),
        Ordering::Equal if *value != NotANumber => Err(Diagnosis::new("2201E", "cannot take logarithm of zero")),
        _ => Ok(value),
    }
}

/// The first two digits to base 10000 of a number that is not zero, and the power of ten of the last of them.
fn leading_digits(value: &BigDecimal) -> (f64, i64) {
    let exponent = leading_exponent(value);
    let wanted = usize::try_from(exponent.rem_euclid(4) + 5).unwrap_or(5);
    let digits: String = digits_of(value).chars().chain(std::iter::repeat('0')).take(wanted).collect();
    (digits.parse().unwrap_or(1.0), exponent.div_euclid(4) * 4 - 4)
}

/// The estimated power of ten of the first digit of a logarithm (`estimate_ln_dweight`).
fn log_weight(value: &BigDecimal) -> i64 {
    let (least, most) = (BigDecimal::new(BigInt::from(9), 1), BigDecimal::new(BigInt::from(11), 1));
    if *value >= least && *value <= most {
        // Near 1 it is the distance from there.
        let distance = value - BigDecimal::from(1);
        return if distance.is_zero() { 0 } else { leading_exponent(&distance) };
    }
    let (digits, place) = leading_digits(value);
    (digits.ln() + place as f64 * LN_10).abs().log10() as i64
}

fn natural_log(value: &BigDecimal, scale: i64) -> BigDecimal {
    // ln(v) = 2^k * 2 * artanh((r-1)/(r+1)) with r = v^(1/2^k) near 1. The roots of a small number need its digits.
    let working = scale + 40 + (-leading_exponent(value)).max(0);
    let mut root = value.with_scale(working.max(value.fractional_digit_count()));
    let mut doublings = 1_u32;
    let near = BigDecimal::new(BigInt::from(5), 2);
    while (&root - BigDecimal::from(1)).abs() > near {
        root = integer_root(&root, working);
        doublings += 1;
    }
    let ratio = quotient(&(&root - BigDecimal::from(1)), &(&root + BigDecimal::from(1)), working, RoundingMode::Down);
    let square = ratio.square();
    let mut term = ratio.clone();
    let mut sum = ratio;
    let mut index = 3_i64;
    while !term.is_zero() {
        term = (&term * &square).with_scale_round(working, RoundingMode::Down);
        sum += quotient(&term, &BigDecimal::from(index), working, RoundingMode::Down);
        index += 2;
    }
    let factor = BigDecimal::from_u64(1_u64 << doublings.min(63)).unwrap_or_default();
    (sum * factor).with_scale_round(scale, RoundingMode::HalfUp)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Numeric {
        Numeric::from_canonical(text).unwrap()
    }

    /// The text of a result, or the code and words of an error.
    fn told(result: Result<Numeric, Diagnosis>) -> String {
        result.map_or_else(|error| format!("{}: {}", error.sqlstate, error.message), |value| value.to_canonical())
    }

    #[test]
    fn powers_of_infinities_and_nan_are_those_of_posix() {
        let zero = "2201F: zero raised to a negative power is undefined";
        let complex = "2201F: a negative number raised to a non-integer power yields a complex result";
        let rows = [
            ("-Infinity", "0.5", complex),
            ("-2", "0.5", complex),
            ("0", "-Infinity", zero),
            ("0", "-1", zero),
            ("-Infinity", "3", "-Infinity"),
            ("-Infinity", "3.00", "-Infinity"),
            ("-Infinity", "2", "Infinity"),
            ("-Infinity", "-3", "0"),
            ("-Infinity", "Infinity", "Infinity"),
            ("Infinity", "-0.5", "0"),
            ("Infinity", "0", "1"),
            ("NaN", "0", "1"),
            ("1.0", "NaN", "1"),
            ("NaN", "NaN", "NaN"),
            ("0.5", "Infinity", "0"),
            ("-0.5", "-Infinity", "Infinity"),
            ("-1", "-Infinity", "1"),
            ("0", "Infinity", "0"),
        ];
        for (base, exponent, expected) in rows {
            assert_eq!(told(power(&number(base), &number(exponent))), expected, "{base} ^ {exponent}");
        }
    }

    #[test]
    fn powers_have_the_digits_of_postgres() {
        let overflow = "22003: value overflows numeric format";
        let million = format!("1{}.{}", "0".repeat(1000), "0".repeat(16));
        let rows = [
            ("0.0", "0.5", "0.0000000000000000"),
            ("0.00", "0", "1.0000000000000000"),
            ("2.5", "-1", "0.4000000000000000"),
            ("1.00000000000000000001", "2", "1.00000000000000000002"),
            ("10", "1000", million.as_str()),
            ("3", "100", "515377520732011331036461129765621272702107522001.0000000000000000"),
            ("0.1", "2000", "0.0000000000000000"),
            ("100", "1.5", "1000.0000000000000"),
            ("0.95", "12.7", "0.5213024753917254"),
            ("-1.0", "3000000001", "-1.0000000000000000"),
            ("-2.0", "3000000001", overflow),
            ("2", "500000", overflow),
            ("99999.9999", "131072.5", overflow),
        ];
        for (base, exponent, expected) in rows {
            assert_eq!(told(power(&number(base), &number(exponent))), expected, "{base} ^ {exponent}");
        }
        let small = told(power(&number("10"), &number("-3000.5")));
        assert_eq!(small, format!("0.{}", "0".repeat(1000)));
    }

    #[test]
    fn exponentials_end_where_those_of_postgres_do() {
        let nothing = |digits: usize| format!("0.{}", "0".repeat(digits));
        assert_eq!(told(exp(&number("6000"))), "22003: value overflows numeric format");
        assert_eq!(told(exp(&number("-6000"))), nothing(1000));
        assert_eq!(told(exp(&number("-Infinity"))), "0");
        assert_eq!(told(exp(&number("0.000001"))), "1.0000010000005000");
        assert!(told(exp(&number("5999.9"))).starts_with("529007673010622325129463983467304305177722"));
    }

    #[test]
    fn logarithms_have_the_digits_of_postgres() {
        assert_eq!(told(ln(&number("1.05"))), "0.048790164169432003");
        assert_eq!(told(ln(&number(&format!("1{}", "0".repeat(400))))), "921.03403719761827");
        assert_eq!(told(log(&number("1.05"), &number("2"))), "14.20669908289047");
        assert_eq!(told(log(&number("0.99999"), &number("1.0000001"))), "-0.009999949499919200");
        assert_eq!(told(log(&number("1"), &number("2"))), "22012: division by zero");
        assert_eq!(told(log(&number("Infinity"), &number("2"))), "0");
        assert_eq!(told(log(&number("2"), &number("Infinity"))), "Infinity");
        assert_eq!(told(log(&number("NaN"), &number("-2"))), "NaN");
        let refused = "2201E: cannot take logarithm of a negative number";
        assert_eq!(told(log(&number("2"), &number("-Infinity"))), refused);
    }
}
