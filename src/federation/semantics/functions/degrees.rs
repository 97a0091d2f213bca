//! Trigonometric functions over degrees (manual, "Trigonometric Functions"), exact where PostgreSQL's are: at multiples of 30 and 45.
//!
//! Angles are brought into the first quadrant. There sine and cosine are measured by their own values at 30 and 60 degrees, and the
//! others by theirs at 45, so that what the library rounds there cancels.

use std::hint::black_box;
use std::sync::LazyLock;

use crate::error::Diagnosis;
use crate::pgtype::PgType;

use super::super::datum::Datum;
use super::super::overload::{Overload, row};
use super::powers::beyond;

const F8: PgType = PgType::FLOAT8;
/// Radians of a degree.
const DEGREE: f64 = std::f64::consts::PI / 180.0;

type Outcome<'a> = Result<Datum<'a>, Diagnosis>;

/// The family's rows.
pub(super) const ROWS: &[Overload] = &[
    row("sind", &[F8], F8, |_, a| of_angle(a[0].as_float(), sine)),
    row("cosd", &[F8], F8, |_, a| of_angle(a[0].as_float(), cosine)),
    row("tand", &[F8], F8, |_, a| of_angle(a[0].as_float(), tangent)),
    row("cotd", &[F8], F8, |_, a| of_angle(a[0].as_float(), cotangent)),
    row("asind", &[F8], F8, |_, a| of_ratio(a[0].as_float(), arc_sine)),
    row("acosd", &[F8], F8, |_, a| of_ratio(a[0].as_float(), arc_cosine)),
    row("atand", &[F8], F8, |_, a| Ok(Datum::Float(in_degrees(a[0].as_float().atan())))),
    row("atan2d", &[F8, F8], F8, |_, a| Ok(Datum::Float(in_degrees(a[0].as_float().atan2(a[1].as_float()))))),
];

/// What the functions are measured by. It is asked of the library that computes the functions, at the time when it runs: a compiler
/// may round to other digits.
struct Measures {
    sine_of_30: f64,
    one_less_cosine_of_60: f64,
    arc_sine_of_half: f64,
    arc_cosine_of_half: f64,
    arc_tangent_of_one: f64,
}

static MEASURES: LazyLock<Measures> = LazyLock::new(|| Measures {
    sine_of_30: black_box(30.0 * DEGREE).sin(),
    one_less_cosine_of_60: 1.0 - black_box(60.0 * DEGREE).cos(),
    arc_sine_of_half: black_box(0.5_f64).asin(),
    arc_cosine_of_half: black_box(0.5_f64).acos(),
    arc_tangent_of_one: black_box(1.0_f64).atan(),
});

fn of_angle<'a>(angle: f64, function: fn(f64) -> f64) -> Outcome<'a> {
    if angle.is_nan() {
        return Ok(Datum::Float(f64::NAN));
    }
    if angle.is_infinite() { Err(beyond()) } else { Ok(Datum::Float(function(angle))) }
}

fn of_ratio<'a>(ratio: f64, function: fn(f64) -> f64) -> Outcome<'a> {
    if ratio.is_nan() {
        return Ok(Datum::Float(f64::NAN));
    }
    if ratio.abs() > 1.0 { Err(beyond()) } else { Ok(Datum::Float(function(ratio))) }
}

/// An angle in the first quadrant, and the signs that sine and cosine of the given one have.
fn first_quadrant(angle: f64) -> (f64, f64, f64) {
    let (mut angle, mut sine, mut cosine) = (angle % 360.0, 1.0, 1.0);
    if angle < 0.0 {
        (angle, sine) = (-angle, -sine);
    }
    if angle > 180.0 {
        (angle, sine) = (360.0 - angle, -sine);
    }
    if angle > 90.0 {
        (angle, cosine) = (180.0 - angle, -cosine);
    }
    (angle, sine, cosine)
}

/// From 0 to 30 degrees.
fn small_sine(angle: f64) -> f64 {
    (angle * DEGREE).sin() / MEASURES.sine_of_30 / 2.0
}

/// From 0 to 60 degrees.
fn small_cosine(angle: f64) -> f64 {
    1.0 - (1.0 - (angle * DEGREE).cos()) / MEASURES.one_less_cosine_of_60 / 2.0
}

/// From 0 to 90 degrees.
fn quadrant_sine(angle: f64) -> f64 {
    if angle <= 30.0 { small_sine(angle) } else { small_cosine(90.0 - angle) }
}

/// From 0 to 90 degrees.
fn quadrant_cosine(angle: f64) -> f64 {
    if angle <= 60.0 { small_cosine(angle) } else { small_sine(90.0 - angle) }
}

fn sine(angle: f64) -> f64 {
    let (angle, sign, _) = first_quadrant(angle);
    sign * quadrant_sine(angle)
}

fn cosine(angle: f64) -> f64 {
    let (angle, _, sign) = first_quadrant(angle);
    sign * quadrant_cosine(angle)
}

fn tangent(angle: f64) -> f64 {
    let ratio = |angle: f64| quadrant_sine(angle) / quadrant_cosine(angle);
    let (angle, sine, cosine) = first_quadrant(angle);
    without_sign_of_zero(sine * cosine * (ratio(angle) / ratio(45.0)))
}

fn cotangent(angle: f64) -> f64 {
    let ratio = |angle: f64| quadrant_cosine(angle) / quadrant_sine(angle);
    let (angle, sine, cosine) = first_quadrant(angle);
    without_sign_of_zero(sine * cosine * (ratio(angle) / ratio(45.0)))
}

fn without_sign_of_zero(value: f64) -> f64 {
    if value == 0.0 { 0.0 } else { value }
}

/// From 0 to 1.
fn upper_arc_sine(ratio: f64) -> f64 {
    if ratio <= 0.5 {
        ratio.asin() / MEASURES.arc_sine_of_half * 30.0
    } else {
        90.0 - ratio.acos() / MEASURES.arc_cosine_of_half * 60.0
    }
}

fn arc_sine(ratio: f64) -> f64 {
    if ratio >= 0.0 { upper_arc_sine(ratio) } else { -upper_arc_sine(-ratio) }
}

fn arc_cosine(ratio: f64) -> f64 {
    if ratio < 0.0 {
        return 90.0 + upper_arc_sine(-ratio);
    }
    if ratio <= 0.5 {
        90.0 - ratio.asin() / MEASURES.arc_sine_of_half * 30.0
    } else {
        ratio.acos() / MEASURES.arc_cosine_of_half * 60.0
    }
}

/// An angle in radians that an arc tangent gave.
fn in_degrees(angle: f64) -> f64 {
    angle / MEASURES.arc_tangent_of_one * 45.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(function: fn(f64) -> f64, rows: &[(f64, f64)]) {
        for (given, expected) in rows {
            assert_eq!(function(*given).to_bits(), expected.to_bits(), "{given}: {} is not {expected}", function(*given));
        }
    }

    #[test]
    fn corners_of_the_circle_are_exact() {
        let infinity = f64::INFINITY;
        check(
            sine,
            &[(0.0, 0.0), (-0.0, -0.0), (30.0, 0.5), (90.0, 1.0), (150.0, 0.5), (180.0, 0.0), (-30.0, -0.5), (-450.0, -1.0)],
        );
        check(sine, &[(-360.0, -0.0), (360.0, 0.0), (390.0, 0.5), (210.0, -0.5), (270.0, -1.0)]);
        check(cosine, &[(0.0, 1.0), (60.0, 0.5), (90.0, 0.0), (120.0, -0.5), (180.0, -1.0), (-60.0, 0.5), (300.0, 0.5)]);
        check(tangent, &[(0.0, 0.0), (45.0, 1.0), (90.0, infinity), (135.0, -1.0), (180.0, 0.0), (-180.0, 0.0), (225.0, 1.0)]);
        check(cotangent, &[(0.0, infinity), (45.0, 1.0), (-90.0, 0.0), (90.0, 0.0), (135.0, -1.0), (180.0, -infinity)]);
        check(arc_sine, &[(0.0, 0.0), (0.5, 30.0), (1.0, 90.0), (-0.5, -30.0), (-1.0, -90.0)]);
        check(arc_cosine, &[(1.0, 0.0), (0.5, 60.0), (0.0, 90.0), (-0.5, 120.0), (-1.0, 180.0)]);
        check(in_degrees, &[(1.0_f64.atan(), 45.0), ((-1.0_f64).atan2(-1.0), -135.0), (1.0_f64.atan2(0.0), 90.0)]);
    }

    #[test]
    fn what_has_no_angle_is_refused() {
        for outcome in [of_angle(f64::INFINITY, sine), of_ratio(1.1, arc_sine), of_ratio(-1.1, arc_cosine)] {
            assert_eq!(outcome.unwrap_err().message, "input is out of range");
        }
        for outcome in [of_angle(f64::NAN, cosine), of_ratio(f64::NAN, arc_cosine)] {
            assert!(outcome.unwrap().as_float().is_nan());
        }
    }
}
