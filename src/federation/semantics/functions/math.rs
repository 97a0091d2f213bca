//! Mathematical functions (manual, "Mathematical Functions and Operators").

use datafusion::logical_expr::Volatility;

use crate::error::{Diagnosis, sqlstate};
use crate::pgtype::PgType;

use super::super::datum::{Datum, out_of_range};
use super::super::numeric::{self, Numeric};
use super::super::overload::{Overload, row};
use super::super::typed::Call;
use super::powers;

const INT2: PgType = PgType::INT2;
const INT4: PgType = PgType::INT4;
const INT8: PgType = PgType::INT8;
const NUM: PgType = PgType::NUMERIC;
const F8: PgType = PgType::FLOAT8;
const F4: PgType = PgType::FLOAT4;
const BIT: PgType = PgType::BIT;
/// Radians of a degree.
const DEGREE: f64 = std::f64::consts::PI / 180.0;

type Outcome<'a> = Result<Datum<'a>, Diagnosis>;

/// The family's rows.
pub(super) const ROWS: &[Overload] = &[
    row("round", &[F8], F8, |_, a| Ok(Datum::Float(a[0].as_float().round_ties_even()))),
    row("round", &[NUM], NUM, |_, a| Ok(Datum::Numeric(a[0].as_numeric().round(0)))),
    row("round", &[NUM, INT4], NUM, |_, a| Ok(Datum::Numeric(a[0].as_numeric().round(a[1].as_int())))),
    row("trunc", &[F8], F8, |_, a| Ok(Datum::Float(a[0].as_float().trunc()))),
    row("trunc", &[NUM], NUM, |_, a| Ok(Datum::Numeric(a[0].as_numeric().truncate(0)))),
    row("trunc", &[NUM, INT4], NUM, |_, a| Ok(Datum::Numeric(a[0].as_numeric().truncate(a[1].as_int())))),
    row("ceil", &[F8], F8, |_, a| Ok(Datum::Float(a[0].as_float().ceil()))),
    row("ceil", &[NUM], NUM, |_, a| Ok(Datum::Numeric(a[0].as_numeric().ceiling()))),
    row("ceiling", &[F8], F8, |_, a| Ok(Datum::Float(a[0].as_float().ceil()))),
    row("ceiling", &[NUM], NUM, |_, a| Ok(Datum::Numeric(a[0].as_numeric().ceiling()))),
    row("floor", &[F8], F8, |_, a| Ok(Datum::Float(a[0].as_float().floor()))),
    row("floor", &[NUM], NUM, |_, a| Ok(Datum::Numeric(a[0].as_numeric().floor()))),
    row("abs", &[INT2], INT2, absolute_int),
    row("abs", &[INT4], INT4, absolute_int),
    row("abs", &[INT8], INT8, absolute_int),
    row("abs", &[NUM], NUM, |_, a| Ok(Datum::Numeric(a[0].as_numeric().absolute()))),
    row("abs", &[F4], F4, |_, a| Ok(Datum::Float(a[0].as_float().abs()))),
    row("abs", &[F8], F8, |_, a| Ok(Datum::Float(a[0].as_float().abs()))),
    row("operator &", &[INT2, INT2], INT2, |_, a| Ok(Datum::Int(a[0].as_int() & a[1].as_int()))),
    row("operator &", &[INT4, INT4], INT4, |_, a| Ok(Datum::Int(a[0].as_int() & a[1].as_int()))),
    row("operator &", &[INT8, INT8], INT8, |_, a| Ok(Datum::Int(a[0].as_int() & a[1].as_int()))),
    row("operator &", &[BIT, BIT], BIT, |_, a| bitwise(a, "AND", |low, high| low & high)),
    row("operator |", &[INT2, INT2], INT2, |_, a| Ok(Datum::Int(a[0].as_int() | a[1].as_int()))),
    row("operator |", &[INT4, INT4], INT4, |_, a| Ok(Datum::Int(a[0].as_int() | a[1].as_int()))),
    row("operator |", &[INT8, INT8], INT8, |_, a| Ok(Datum::Int(a[0].as_int() | a[1].as_int()))),
    row("operator |", &[BIT, BIT], BIT, |_, a| bitwise(a, "OR", |low, high| low | high)),
    row("operator #", &[INT2, INT2], INT2, |_, a| Ok(Datum::Int(a[0].as_int() ^ a[1].as_int()))),
    row("operator #", &[INT4, INT4], INT4, |_, a| Ok(Datum::Int(a[0].as_int() ^ a[1].as_int()))),
    row("operator #", &[INT8, INT8], INT8, |_, a| Ok(Datum::Int(a[0].as_int() ^ a[1].as_int()))),
    row("operator #", &[BIT, BIT], BIT, |_, a| bitwise(a, "XOR", |low, high| low != high)),
    // A shift takes its count by the width of the register, and what leaves the type's own width is lost.
    row("operator <<", &[INT2, INT4], INT2, |_, a| Ok(Datum::Int(i64::from(shift_left(&a[0], &a[1]) as i16)))),
    row("operator <<", &[INT4, INT4], INT4, |_, a| Ok(Datum::Int(i64::from(shift_left(&a[0], &a[1]))))),
    row("operator <<", &[INT8, INT4], INT8, |_, a| Ok(Datum::Int(a[0].as_int().wrapping_shl(a[1].as_int() as u32)))),
    row("operator >>", &[INT2, INT4], INT2, |_, a| Ok(Datum::Int(i64::from(shift_right(&a[0], &a[1]))))),
    row("operator >>", &[INT4, INT4], INT4, |_, a| Ok(Datum::Int(i64::from(shift_right(&a[0], &a[1]))))),
    row("operator >>", &[INT8, INT4], INT8, |_, a| Ok(Datum::Int(a[0].as_int().wrapping_shr(a[1].as_int() as u32)))),
    row("pg_bitnot", &[INT2], INT2, |_, a| Ok(Datum::Int(!a[0].as_int()))),
    row("pg_bitnot", &[INT4], INT4, |_, a| Ok(Datum::Int(!a[0].as_int()))),
    row("pg_bitnot", &[INT8], INT8, |_, a| Ok(Datum::Int(!a[0].as_int()))),
    row("pg_bitnot", &[BIT], BIT, |_, a| Ok(Datum::text(flipped(a[0].as_text())))),
    row("pg_bitnot", &[PgType::VARBIT], PgType::VARBIT, |_, a| Ok(Datum::text(flipped(a[0].as_text())))),
    row("sign", &[F8], F8, |_, a| Ok(Datum::Float(signum(a[0].as_float())))),
    row("sign", &[NUM], NUM, |_, a| Ok(Datum::Numeric(a[0].as_numeric().signum()))),
    row("signum", &[F8], F8, |_, a| Ok(Datum::Float(signum(a[0].as_float())))),
    row("mod", &[INT2, INT2], INT2, modulo),
    row("mod", &[INT4, INT4], INT4, modulo),
    row("mod", &[INT8, INT8], INT8, modulo),
    row("mod", &[NUM, NUM], NUM, |_, a| Ok(Datum::Numeric(a[0].as_numeric().remainder(&a[1].as_numeric())?))),
    row("div", &[NUM, NUM], NUM, |_, a| Ok(Datum::Numeric(a[0].as_numeric().whole_quotient(&a[1].as_numeric())?))),
    row("sqrt", &[F8], F8, square_root),
    row("sqrt", &[NUM], NUM, |_, a| Ok(Datum::Numeric(a[0].as_numeric().square_root()?))),
    row("cbrt", &[F8], F8, |_, a| Ok(Datum::Float(a[0].as_float().cbrt()))),
    row("power", &[F8, F8], F8, powers::power),
    row("power", &[NUM, NUM], NUM, power_numeric),
    row("pow", &[F8, F8], F8, powers::power),
    row("pow", &[NUM, NUM], NUM, power_numeric),
    row("exp", &[F8], F8, |_, a| powers::exponential(a[0].as_float())),
    row("exp", &[NUM], NUM, |_, a| Ok(Datum::Numeric(numeric::exp(&a[0].as_numeric())?))),
    row("ln", &[F8], F8, |_, a| logarithm(a[0].as_float(), f64::ln)),
    row("ln", &[NUM], NUM, |_, a| Ok(Datum::Numeric(numeric::ln(&a[0].as_numeric())?))),
    row("log", &[F8], F8, |_, a| logarithm(a[0].as_float(), f64::log10)),
    row("log", &[NUM], NUM, log_ten),
    row("log", &[NUM, NUM], NUM, |_, a| Ok(Datum::Numeric(numeric::log(&a[0].as_numeric(), &a[1].as_numeric())?))),
    row("log10", &[F8], F8, |_, a| logarithm(a[0].as_float(), f64::log10)),
    row("log10", &[NUM], NUM, log_ten),
    row("gcd", &[INT4, INT4], INT4, common_divisor),
    row("gcd", &[INT8, INT8], INT8, common_divisor),
    row("lcm", &[INT4, INT4], INT4, common_multiple),
    row("lcm", &[INT8, INT8], INT8, common_multiple),
    row("factorial", &[INT8], NUM, factorial),
    row("scale", &[NUM], INT4, |_, a| Ok(Datum::Int(a[0].as_numeric().scale()))),
    row("trim_scale", &[NUM], NUM, trim_scale),
    row("min_scale", &[NUM], INT4, |_, a| Ok(Datum::Int(minimal(&a[0].as_numeric()).scale()))),
    row("pi", &[], F8, |_, _| Ok(Datum::Float(std::f64::consts::PI))),
    row("degrees", &[F8], F8, |_, a| scaled(a[0].as_float(), |x| x / DEGREE)),
    row("radians", &[F8], F8, |_, a| scaled(a[0].as_float(), |x| x * DEGREE)),
    row("sin", &[F8], F8, |_, a| trigonometric(a[0].as_float(), f64::sin)),
    row("cos", &[F8], F8, |_, a| trigonometric(a[0].as_float(), f64::cos)),
    row("tan", &[F8], F8, |_, a| trigonometric(a[0].as_float(), f64::tan)),
    row("cot", &[F8], F8, |_, a| trigonometric(a[0].as_float(), |x| 1.0 / x.tan())),
    row("asin", &[F8], F8, |_, a| arc(a[0].as_float(), f64::asin)),
    row("acos", &[F8], F8, |_, a| arc(a[0].as_float(), f64::acos)),
    row("atan", &[F8], F8, |_, a| Ok(Datum::Float(a[0].as_float().atan()))),
    row("atan2", &[F8, F8], F8, |_, a| Ok(Datum::Float(a[0].as_float().atan2(a[1].as_float())))),
    row("sinh", &[F8], F8, |_, a| Ok(Datum::Float(a[0].as_float().sinh()))),
    row("cosh", &[F8], F8, |_, a| Ok(Datum::Float(a[0].as_float().cosh()))),
    row("tanh", &[F8], F8, |_, a| Ok(Datum::Float(a[0].as_float().tanh()))),
    row("asinh", &[F8], F8, |_, a| Ok(Datum::Float(powers::inverse_sine(a[0].as_float())))),
    row("acosh", &[F8], F8, |_, a| powers::inverse_cosine(a[0].as_float())),
    row("atanh", &[F8], F8, |_, a| powers::inverse_tangent(a[0].as_float())),
    row("random", &[], F8, |_, _| Ok(Datum::Float(rand::random::<f64>()))).volatility(Volatility::Volatile),
    row("width_bucket", &[F8, F8, F8, INT4], INT4, width_bucket),
    row("width_bucket", &[NUM, NUM, NUM, INT4], INT4, width_bucket),
];

fn shift_left(value: &Datum<'_>, by: &Datum<'_>) -> i32 {
    (value.as_int() as i32).wrapping_shl(by.as_int() as u32)
}

fn shift_right(value: &Datum<'_>, by: &Datum<'_>) -> i32 {
    (value.as_int() as i32).wrapping_shr(by.as_int() as u32)
}

/// Two bit strings of one length, bit by bit.
fn bitwise<'a>(a: &[Datum<'a>], what: &str, combine: fn(bool, bool) -> bool) -> Outcome<'a> {
    let (left, right) = (a[0].as_text(), a[1].as_text());
    if left.len() != right.len() {
        return Err(Diagnosis::new("22026", format!("cannot {what} bit strings of different sizes")));
    }
    let bits = left.bytes().zip(right.bytes()).map(|(left, right)| combine(left == b'1', right == b'1'));
    Ok(Datum::text(bits.map(|bit| if bit { '1' } else { '0' }).collect::<String>()))
}

fn flipped(bits: &str) -> String {
    bits.chars().map(|bit| if bit == '0' { '1' } else { '0' }).collect()
}

fn absolute_int<'a>(call: &Call<'_>, a: &[Datum<'a>]) -> Outcome<'a> {
    a[0].as_int().checked_abs().map(Datum::Int).ok_or_else(|| out_of_range(call.returns.pg_type))
}

/// The sign of a float: 0 for zeros of either sign and for NaN, which is neither above nor below.
fn signum(value: f64) -> f64 {
    if value > 0.0 {
        1.0
    } else if value < 0.0 {
        -1.0
    } else {
        0.0
    }
}

fn modulo<'a>(_: &Call<'_>, a: &[Datum<'a>]) -> Outcome<'a> {
    match a[1].as_int() {
        0 => Err(numeric::division_by_zero()),
        divisor => Ok(Datum::Int(a[0].as_int().wrapping_rem(divisor))),
    }
}

fn square_root<'a>(_: &Call<'_>, a: &[Datum<'a>]) -> Outcome<'a> {
    match a[0].as_float() {
        value if value < 0.0 => Err(Diagnosis::new("2201F", "cannot take square root of a negative number")),
        value => Ok(Datum::Float(value.sqrt())),
    }
}

fn power_numeric<'a>(_: &Call<'_>, a: &[Datum<'a>]) -> Outcome<'a> {
    Ok(Datum::Numeric(numeric::power(&a[0].as_numeric(), &a[1].as_numeric())?))
}

/// A float that a factor must not lead out of the range.
fn scaled<'a>(value: f64, function: fn(f64) -> f64) -> Outcome<'a> {
    if value.is_finite() { powers::in_range(function(value), value != 0.0) } else { Ok(Datum::Float(function(value))) }
}

fn logarithm<'a>(value: f64, function: fn(f64) -> f64) -> Outcome<'a> {
    if value == 0.0 {
        return Err(Diagnosis::new("2201E", "cannot take logarithm of zero"));
    }
    if value < 0.0 {
        return Err(Diagnosis::new("2201E", "cannot take logarithm of a negative number"));
    }
    Ok(Datum::Float(function(value)))
}

fn log_ten<'a>(_: &Call<'_>, a: &[Datum<'a>]) -> Outcome<'a> {
    Ok(Datum::Numeric(numeric::log(&Numeric::from_parts(10, 0), &a[0].as_numeric())?))
}

fn divisor(mut left: i64, mut right: i64) -> u64 {
    while right != 0 {
        (left, right) = (right, left.wrapping_rem(right));
    }
    left.unsigned_abs()
}

fn common_divisor<'a>(call: &Call<'_>, a: &[Datum<'a>]) -> Outcome<'a> {
    let value = i64::try_from(divisor(a[0].as_int(), a[1].as_int())).ok();
    value.map(Datum::Int).ok_or_else(|| out_of_range(call.returns.pg_type))
}

fn common_multiple<'a>(call: &Call<'_>, a: &[Datum<'a>]) -> Outcome<'a> {
    let (left, right) = (a[0].as_int(), a[1].as_int());
    if left == 0 || right == 0 {
        return Ok(Datum::Int(0));
    }
    let shared = i64::try_from(divisor(left, right)).unwrap_or(1);
    let product = (left / shared).checked_mul(right).and_then(i64::checked_abs);
    product.map(Datum::Int).ok_or_else(|| out_of_range(call.returns.pg_type))
}

fn factorial<'a>(_: &Call<'_>, a: &[Datum<'a>]) -> Outcome<'a> {
    let wanted = a[0].as_int();
    if wanted < 0 {
        return Err(Diagnosis::new(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, "factorial of a negative number is undefined"));
    }
    // 32177! is the largest that fits 131072 digits.
    if wanted > 32_177 {
        return Err(numeric::overflow());
    }
    let mut product = bigdecimal::num_bigint::BigInt::from(1);
    for factor in 2..=wanted {
        product *= factor;
    }
    Ok(Datum::Numeric(Numeric::from_parts(product, 0)))
}

fn minimal(value: &Numeric) -> Numeric {
    match value {
        Numeric::Finite(finite) => {
            let normal = finite.normalized();
            Numeric::Finite(if normal.fractional_digit_count() < 0 { normal.with_scale(0) } else { normal })
        }
        other => other.clone(),
    }
}

fn trim_scale<'a>(_: &Call<'_>, a: &[Datum<'a>]) -> Outcome<'a> {
    Ok(Datum::Numeric(minimal(&a[0].as_numeric())))
}

fn trigonometric<'a>(value: f64, function: fn(f64) -> f64) -> Outcome<'a> {
    if value.is_infinite() {
        return Err(powers::beyond());
    }
    Ok(Datum::Float(function(value)))
}

fn arc<'a>(value: f64, function: fn(f64) -> f64) -> Outcome<'a> {
    if value.abs() > 1.0 {
        return Err(powers::beyond());
    }
    Ok(Datum::Float(function(value)))
}

fn width_bucket<'a>(_: &Call<'_>, a: &[Datum<'a>]) -> Outcome<'a> {
    let bad = |message: &str| Diagnosis::new("2201G", message);
    let (value, low, high, count) = (a[0].as_float(), a[1].as_float(), a[2].as_float(), a[3].as_int());
    if count <= 0 {
        return Err(bad("count must be greater than zero"));
    }
    if value.is_nan() || low.is_nan() || high.is_nan() {
        return Err(bad("operand, lower bound, and upper bound cannot be NaN"));
    }
    if !low.is_finite() || !high.is_finite() {
        return Err(bad("lower and upper bounds must be finite"));
    }
    if low == high {
        return Err(bad("lower bound cannot equal upper bound"));
    }
    let (from, to, at) = if low < high { (low, high, value) } else { (-low, -high, -value) };
    let bucket = if at < from {
        0
    } else if at >= to {
        count + 1
    } else {
        ((at - from) / (to - from) * count as f64).floor() as i64 + 1
    };
    Ok(Datum::Int(bucket))
}
