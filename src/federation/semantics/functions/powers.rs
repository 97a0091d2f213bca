//! Powers, exponentials and hyperbolic functions of floats, with the errors of PostgreSQL where a result leaves the range.

use crate::error::{Diagnosis, sqlstate};

use super::super::datum::Datum;
use super::super::typed::Call;

type Outcome<'a> = Result<Datum<'a>, Diagnosis>;

fn range(message: &str) -> Diagnosis {
    Diagnosis::new(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, message)
}

/// 22003 for an argument that the function does not take.
pub(super) fn beyond() -> Diagnosis {
    range("input is out of range")
}

/// A result of finite arguments that must not be infinite, and must not vanish where it is `nonzero`.
pub(super) fn in_range<'a>(result: f64, nonzero: bool) -> Outcome<'a> {
    if result.is_infinite() {
        return Err(range("value out of range: overflow"));
    }
    if result == 0.0 && nonzero {
        return Err(range("value out of range: underflow"));
    }
    Ok(Datum::Float(result))
}

/// `power(double precision, double precision)`. NaN to the power of 0 and 1 to that of NaN are 1.
pub(super) fn power<'a>(_: &Call<'_>, a: &[Datum<'a>]) -> Outcome<'a> {
    let (base, exponent) = (a[0].as_float(), a[1].as_float());
    let refused = |message: &str| Err(Diagnosis::new("2201F", message));
    if base.is_nan() || exponent.is_nan() {
        return Ok(Datum::Float(if base == 1.0 || exponent == 0.0 { 1.0 } else { f64::NAN }));
    }
    if base == 0.0 && exponent < 0.0 {
        return refused("zero raised to a negative power is undefined");
    }
    // An infinite exponent is a whole one.
    if base < 0.0 && exponent.floor() != exponent {
        return refused("a negative number raised to a non-integer power yields a complex result");
    }
    if base.is_infinite() || exponent.is_infinite() {
        return Ok(Datum::Float(base.powf(exponent)));
    }
    in_range(base.powf(exponent), base != 0.0)
}

/// `exp(double precision)`.
pub(super) fn exponential<'a>(exponent: f64) -> Outcome<'a> {
    if exponent.is_finite() { in_range(exponent.exp(), true) } else { Ok(Datum::Float(exponent.exp())) }
}

/// The side of 1 on which the logarithm of a large number is taken as a whole: above, its square adds nothing.
const LARGE: f64 = 268_435_456.0;

/// `asinh(double precision)` by logarithms, with the digits of the C library that PostgreSQL asks on Linux: those of the standard
/// library differ in the last one.
pub(super) fn inverse_sine(value: f64) -> f64 {
    let size = value.abs();
    let square = size * size;
    let result = if !value.is_finite() || size < 1.0 / LARGE {
        return value;
    } else if size > LARGE {
        size.ln() + std::f64::consts::LN_2
    } else if size > 2.0 {
        (2.0 * size + 1.0 / ((square + 1.0).sqrt() + size)).ln()
    } else {
        (size + square / (1.0 + (1.0 + square).sqrt())).ln_1p()
    };
    result.copysign(value)
}

/// `acosh(double precision)`, as [`inverse_sine`].
pub(super) fn inverse_cosine<'a>(value: f64) -> Outcome<'a> {
    if value < 1.0 {
        return Err(beyond());
    }
    Ok(Datum::Float(if !value.is_finite() {
        value
    } else if value > LARGE {
        value.ln() + std::f64::consts::LN_2
    } else if value > 2.0 {
        (2.0 * value - 1.0 / (value + (value * value - 1.0).sqrt())).ln()
    } else {
        let above = value - 1.0;
        (above + (2.0 * above + above * above).sqrt()).ln_1p()
    }))
}

/// `atanh(double precision)`, as [`inverse_sine`]; infinite at both ends.
pub(super) fn inverse_tangent<'a>(value: f64) -> Outcome<'a> {
    let size = value.abs();
    if size > 1.0 {
        return Err(beyond());
    }
    let result = if value.is_nan() || size < 1.0 / LARGE {
        return Ok(Datum::Float(value));
    } else if size >= 1.0 {
        f64::INFINITY
    } else if size < 0.5 {
        let double = size + size;
        0.5 * (double + double * size / (1.0 - size)).ln_1p()
    } else {
        0.5 * ((size + size) / (1.0 - size)).ln_1p()
    };
    Ok(Datum::Float(result.copysign(value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bits of a float, or the error's words.
    fn told(outcome: Outcome<'_>) -> Result<u64, String> {
        outcome.map(|value| value.as_float().to_bits()).map_err(|error| error.message)
    }

    #[test]
    fn results_stay_in_range_or_are_refused() {
        let (overflow, underflow) = ("value out of range: overflow", "value out of range: underflow");
        let rows = [
            (in_range(f64::INFINITY, false), Err(overflow)),
            (in_range(0.0, true), Err(underflow)),
            (in_range(-0.0, false), Ok(-0.0)),
            (exponential(710.0), Err(overflow)),
            (exponential(-746.0), Err(underflow)),
            (exponential(-745.0), Ok(5e-324)),
            (exponential(f64::NEG_INFINITY), Ok(0.0)),
            (exponential(0.0), Ok(1.0)),
        ];
        for (outcome, expected) in rows {
            assert_eq!(told(outcome), expected.map(f64::to_bits).map_err(str::to_owned));
        }
    }

    #[test]
    fn inverse_hyperbolic_functions_know_their_ends() {
        let infinity = f64::INFINITY;
        let rows = [
            (inverse_cosine(0.5), Err("input is out of range")),
            (inverse_cosine(1.0), Ok(0.0)),
            (inverse_cosine(infinity), Ok(infinity)),
            (inverse_cosine(-infinity), Err("input is out of range")),
            (inverse_cosine(1e300), Ok(691.468_675_078_773_6)),
            (inverse_tangent(2.0), Err("input is out of range")),
            (inverse_tangent(1.0), Ok(infinity)),
            (inverse_tangent(-1.0), Ok(-infinity)),
            (inverse_tangent(-0.0), Ok(-0.0)),
            (inverse_tangent(0.5), Ok(0.549_306_144_334_054_8)),
        ];
        for (outcome, expected) in rows {
            assert_eq!(told(outcome), expected.map(f64::to_bits).map_err(str::to_owned));
        }
        assert!(inverse_cosine(f64::NAN).unwrap().as_float().is_nan());
        assert_eq!(
            [-infinity, -0.0, 1e-300].map(|value| inverse_sine(value).to_bits()),
            [-infinity, -0.0, 1e-300].map(f64::to_bits)
        );
        assert_eq!(inverse_sine(1.0), 0.881_373_587_019_543);
    }
}
