//! `numeric` of any width: value, arithmetic with PostgreSQL's scale rules, canonical text. No Arrow here.
//!
//! Scale rules follow `src/backend/utils/adt/numeric.c` of PostgreSQL 15 as observable behaviour: addition keeps the larger
//! scale, multiplication adds scales, division and roots give at least sixteen significant digits.

mod powers;

use std::cmp::Ordering;

use bigdecimal::num_bigint::{BigInt, Sign};
use bigdecimal::{BigDecimal, RoundingMode, Signed, ToPrimitive, Zero};

use crate::error::{Diagnosis, sqlstate};

pub(crate) use powers::{exp, ln, log, power};

/// Significant digits a quotient or root has at least (`NUMERIC_MIN_SIG_DIGITS`).
const SIGNIFICANT_DIGITS_MIN: i64 = 16;
/// Largest display scale (`NUMERIC_MAX_DISPLAY_SCALE`).
const DISPLAY_SCALE_MAX: i64 = 1000;
/// Digits before the point a value may have (manual, section "Numeric Types").
const WHOLE_DIGITS_MAX: i64 = 131_072;

/// A numeric value. Finite values keep their display scale, which is never negative.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Numeric {
    /// Digits with a scale.
    Finite(BigDecimal),
    /// `Infinity`
    Infinity,
    /// `-Infinity`
    NegativeInfinity,
    /// `NaN`, equal to itself and above everything.
    NotANumber,
}

use Numeric::{Finite, Infinity, NegativeInfinity, NotANumber};

/// 22003 for a result beyond the type's range.
pub(crate) fn overflow() -> Diagnosis {
    Diagnosis::new(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, "value overflows numeric format")
}

/// 22012
pub(crate) fn division_by_zero() -> Diagnosis {
    Diagnosis::new(sqlstate::DIVISION_BY_ZERO, "division by zero")
}

impl Numeric {
    /// A finite value `unscaled × 10^-scale`.
    pub(crate) fn from_parts(unscaled: impl Into<BigInt>, scale: i64) -> Self {
        let value = BigDecimal::new(unscaled.into(), scale);
        Finite(if scale < 0 { value.with_scale(0) } else { value })
    }

    /// Reads the canonical text of the carrier. `None` when it is not one.
    pub(crate) fn from_canonical(text: &str) -> Option<Self> {
        match text {
            "NaN" => return Some(NotANumber),
            "Infinity" => return Some(Infinity),
            "-Infinity" => return Some(NegativeInfinity),
            _ => {}
        }
        let value: BigDecimal = text.parse().ok()?;
        Some(Finite(if value.fractional_digit_count() < 0 { value.with_scale(0) } else { value }))
    }

    /// The value of a float to that many significant digits: `float8_numeric` gives fifteen, `float4_numeric` six.
    pub(crate) fn from_float(value: f64, digits: usize) -> Self {
        if value.is_nan() {
            return NotANumber;
        }
        if value.is_infinite() {
            return if value > 0.0 { Infinity } else { NegativeInfinity };
        }
        let text = format!("{value:.*e}", digits.saturating_sub(1));
        let parsed: BigDecimal = text.parse().unwrap_or_default();
        let parsed = parsed.normalized();
        Finite(if parsed.fractional_digit_count() < 0 { parsed.with_scale(0) } else { parsed })
    }

    /// The nearest float.
    pub(crate) fn to_float(&self) -> f64 {
        match self {
            Finite(value) => value.to_plain_string().parse().unwrap_or(f64::NAN),
            Infinity => f64::INFINITY,
            NegativeInfinity => f64::NEG_INFINITY,
            NotANumber => f64::NAN,
        }
    }

    /// The text PostgreSQL prints, which is also the carrier.
    pub(crate) fn to_canonical(&self) -> String {
        match self {
            Finite(value) => value.to_plain_string(),
            Infinity => "Infinity".to_owned(),
            NegativeInfinity => "-Infinity".to_owned(),
            NotANumber => "NaN".to_owned(),
        }
    }

    /// Digits after the point that are shown.
    pub(crate) fn scale(&self) -> i64 {
        match self {
            Finite(value) => value.fractional_digit_count(),
            _ => 0,
        }
    }

    fn sign_kind(&self) -> Ordering {
        match self {
            Finite(value) => value.sign().cmp(&Sign::NoSign),
            Infinity => Ordering::Greater,
            NegativeInfinity => Ordering::Less,
            NotANumber => Ordering::Equal,
        }
    }

    /// PostgreSQL's total order: `-Infinity` < finite < `Infinity` < `NaN`.
    pub(crate) fn compare(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Finite(left), Finite(right)) => left.cmp(right),
            _ => self.rank().cmp(&other.rank()),
        }
    }

    fn rank(&self) -> u8 {
        match self {
            NegativeInfinity => 0,
            Finite(_) => 1,
            Infinity => 2,
            NotANumber => 3,
        }
    }

    pub(crate) fn negate(&self) -> Self {
        match self {
            Finite(value) => Finite(-value),
            Infinity => NegativeInfinity,
            NegativeInfinity => Infinity,
            NotANumber => NotANumber,
        }
    }

    pub(crate) fn absolute(&self) -> Self {
        match self {
            Finite(value) => Finite(value.abs()),
            Infinity | NegativeInfinity => Infinity,
            NotANumber => NotANumber,
        }
    }

    pub(crate) fn add(&self, other: &Self) -> Result<Self, Diagnosis> {
        match (self, other) {
            (Finite(left), Finite(right)) => {
                let (sum, scale) = (left + right, self.scale().max(other.scale()));
                // To zero the library gives at most fifteen digits more.
                bounded(if sum.fractional_digit_count() == scale { sum } else { sum.with_scale(scale) })
            }
            (NotANumber, _) | (_, NotANumber) | (Infinity, NegativeInfinity) | (NegativeInfinity, Infinity) => Ok(NotANumber),
            (Finite(_), special) | (special, _) => Ok(special.clone()),
        }
    }

    pub(crate) fn subtract(&self, other: &Self) -> Result<Self, Diagnosis> {
        self.add(&other.negate())
    }

    pub(crate) fn multiply(&self, other: &Self) -> Result<Self, Diagnosis> {
        match (self, other) {
            (Finite(left), Finite(right)) => {
                let product = left * right;
                // A product keeps the sum of both scales, up to the largest display scale.
                let scale = (self.scale() + other.scale()).min(DISPLAY_SCALE_MAX);
                bounded(product.with_scale_round(scale, RoundingMode::HalfUp))
            }
            (NotANumber, _) | (_, NotANumber) => Ok(NotANumber),
            _ => Ok(match (self.sign_kind(), other.sign_kind()) {
                (Ordering::Equal, _) | (_, Ordering::Equal) => NotANumber,
                (left, right) if left == right => Infinity,
                _ => NegativeInfinity,
            }),
        }
    }

    pub(crate) fn divide(&self, other: &Self) -> Result<Self, Diagnosis> {
        match (self, other) {
            (NotANumber, _) | (_, NotANumber) => Ok(NotANumber),
            (_, Finite(right)) if right.is_zero() => Err(division_by_zero()),
            (Finite(left), Finite(right)) => bounded(quotient(left, right, division_scale(left, right), RoundingMode::HalfUp)),
            (Finite(_), _) => Ok(Finite(BigDecimal::zero())),
            (_, Finite(_)) if self.sign_kind() == other.sign_kind() => Ok(Infinity),
            (_, Finite(_)) => Ok(NegativeInfinity),
            _ => Ok(NotANumber),
        }
    }

    /// The remainder with the sign of the dividend (`%`, `mod`).
    pub(crate) fn remainder(&self, other: &Self) -> Result<Self, Diagnosis> {
        match (self, other) {
            (NotANumber, _) | (_, NotANumber) => Ok(NotANumber),
            (_, Finite(right)) if right.is_zero() => Err(division_by_zero()),
            (Finite(left), Finite(right)) => {
                let whole = quotient(left, right, 0, RoundingMode::Down);
                let scale = self.scale().max(other.scale());
                Ok(Finite((left - whole * right).with_scale(scale)))
            }
            (Finite(_), _) => Ok(self.clone()),
            _ => Ok(NotANumber),
        }
    }

    /// The whole quotient, towards zero (`div`).
    pub(crate) fn whole_quotient(&self, other: &Self) -> Result<Self, Diagnosis> {
        match (self, other) {
            (_, Finite(right)) if right.is_zero() && !matches!(self, NotANumber) => Err(division_by_zero()),
            (Finite(left), Finite(right)) => Ok(Finite(quotient(left, right, 0, RoundingMode::Down))),
            _ => self.divide(other),
        }
    }

    /// Rounds half away from zero; a negative scale rounds left of the point.
    pub(crate) fn round(&self, scale: i64) -> Self {
        self.rescale(scale, RoundingMode::HalfUp)
    }

    /// Cuts digits off.
    pub(crate) fn truncate(&self, scale: i64) -> Self {
        self.rescale(scale, RoundingMode::Down)
    }

    pub(crate) fn ceiling(&self) -> Self {
        self.rescale(0, RoundingMode::Ceiling)
    }

    pub(crate) fn floor(&self) -> Self {
        self.rescale(0, RoundingMode::Floor)
    }

    fn rescale(&self, scale: i64, mode: RoundingMode) -> Self {
        match self {
            Finite(value) => {
                let rounded = value.with_scale_round(scale.clamp(-WHOLE_DIGITS_MAX, DISPLAY_SCALE_MAX), mode);
                Finite(if scale < 0 { rounded.with_scale(0) } else { rounded })
            }
            other => other.clone(),
        }
    }

    pub(crate) fn signum(&self) -> Self {
        match self {
            NotANumber => NotANumber,
            _ => Self::from_parts(self.sign_kind() as i8, 0),
        }
    }

    /// The square root.
    pub(crate) fn square_root(&self) -> Result<Self, Diagnosis> {
        let negative = || Diagnosis::new("2201F", "cannot take square root of a negative number");
        match self {
            Finite(value) if value.is_negative() => Err(negative()),
            NegativeInfinity => Err(negative()),
            Finite(value) => {
                let weight = weight_and_first(value).0;
                let whole = (weight + 1) * 4 / 2 - 1;
                let scale = (SIGNIFICANT_DIGITS_MIN - whole).max(self.scale()).clamp(0, DISPLAY_SCALE_MAX);
                Ok(Finite(integer_root(value, scale)))
            }
            other => Ok(other.clone()),
        }
    }

    /// Whole part as an integer of the given width; `None` when out of range or not finite.
    pub(crate) fn to_integer(&self) -> Option<i64> {
        match self.round(0) {
            Finite(value) => value.to_i64(),
            _ => None,
        }
    }

    /// Applies `numeric(precision, scale)`.
    ///
    /// # Errors
    /// 22003 when the rounded value needs more digits.
    pub(crate) fn constrain(&self, precision: u16, scale: i16) -> Result<Self, Diagnosis> {
        let room = i64::from(precision) - i64::from(scale);
        let refuse = |limit: String| {
            Diagnosis::new(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, "numeric field overflow")
                .with_detail(format!("A field with precision {precision}, scale {scale} {limit}."))
        };
        match self {
            NotANumber => Ok(NotANumber),
            Finite(value) => {
                let rounded = value.with_scale_round(i64::from(scale), RoundingMode::HalfUp);
                if !rounded.is_zero() && leading_exponent(&rounded) >= room {
                    let limit = if room == 0 { "1".to_owned() } else { format!("10^{room}") };
                    return Err(refuse(format!("must round to an absolute value less than {limit}")));
                }
                Ok(Finite(if scale < 0 { rounded.with_scale(0) } else { rounded }))
            }
            _ => Err(refuse("cannot hold an infinite value".to_owned())),
        }
    }

    /// `unscaled` at the given scale when the value fits without loss of range; rounds half away from zero.
    pub(crate) fn to_unscaled(&self, scale: i64) -> Option<i128> {
        self.to_wide_unscaled(scale)?.to_i128()
    }

    /// The same of any width.
    pub(crate) fn to_wide_unscaled(&self, scale: i64) -> Option<BigInt> {
        match self {
            Finite(value) => Some(value.with_scale_round(scale, RoundingMode::HalfUp).into_bigint_and_scale().0),
            _ => None,
        }
    }
}

fn bounded(value: BigDecimal) -> Result<Numeric, Diagnosis> {
    if !value.is_zero() && leading_exponent(&value) >= WHOLE_DIGITS_MAX { Err(overflow()) } else { Ok(Finite(value)) }
}

fn digits_of(value: &BigDecimal) -> String {
    value.as_bigint_and_scale().0.magnitude().to_string()
}

/// Power of ten of the first digit.
fn leading_exponent(value: &BigDecimal) -> i64 {
    let digits = i64::try_from(value.digits()).unwrap_or(i64::MAX);
    digits - value.fractional_digit_count() - 1
}

/// Weight and value of the first base-10000 digit, in which PostgreSQL counts.
fn weight_and_first(value: &BigDecimal) -> (i64, i64) {
    if value.is_zero() {
        return (0, 0);
    }
    let exponent = leading_exponent(value);
    let wanted = usize::try_from(exponent.rem_euclid(4) + 1).unwrap_or(1);
    let digits = digits_of(value);
    let mut first: String = digits.chars().take(wanted).collect();
    while first.len() < wanted {
        first.push('0');
    }
    (exponent.div_euclid(4), first.parse().unwrap_or(0))
}

/// The display scale of a quotient (`select_div_scale`).
fn division_scale(left: &BigDecimal, right: &BigDecimal) -> i64 {
    let (left_weight, left_first) = weight_and_first(left);
    let (right_weight, right_first) = weight_and_first(right);
    let mut weight = left_weight - right_weight;
    if left_first <= right_first {
        weight -= 1;
    }
    (SIGNIFICANT_DIGITS_MIN - weight * 4)
        .max(left.fractional_digit_count())
        .max(right.fractional_digit_count())
        .clamp(0, DISPLAY_SCALE_MAX)
}

/// `left / right` with exactly `scale` digits.
fn quotient(left: &BigDecimal, right: &BigDecimal, scale: i64, mode: RoundingMode) -> BigDecimal {
    let (left_digits, left_scale) = left.as_bigint_and_scale();
    let (right_digits, right_scale) = right.as_bigint_and_scale();
    // One digit more than asked and a sticky digit make the final rounding exact.
    let shift = scale + 1 + right_scale - left_scale;
    let (numerator, denominator) = if shift >= 0 {
        (left_digits.as_ref() * power_of_ten(shift), right_digits.into_owned())
    } else {
        (left_digits.into_owned(), right_digits.as_ref() * power_of_ten(-shift))
    };
    let whole = &numerator / &denominator;
    let exact = (&whole * &denominator) == numerator;
    let negative = (numerator.sign() == Sign::Minus) != (denominator.sign() == Sign::Minus);
    let sticky = match (exact, negative) {
        (true, _) => BigInt::from(0),
        (false, true) => BigInt::from(-1),
        (false, false) => BigInt::from(1),
    };
    BigDecimal::new(whole * 10 + sticky, scale + 2).with_scale_round(scale, mode)
}

fn power_of_ten(exponent: i64) -> BigInt {
    BigInt::from(10).pow(u32::try_from(exponent).unwrap_or(0))
}

fn integer_root(value: &BigDecimal, scale: i64) -> BigDecimal {
    let widened = value.with_scale_round(2 * (scale + 1), RoundingMode::Down).into_bigint_and_scale().0;
    BigDecimal::new(widened.sqrt(), scale + 1).with_scale_round(scale, RoundingMode::HalfUp)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Numeric {
        Numeric::from_canonical(text).unwrap()
    }

    #[test]
    fn quotients_have_the_digits_of_postgres() {
        let rows = [
            ("1", "3", "0.33333333333333333333"),
            ("10", "3", "3.3333333333333333"),
            ("1", "2", "0.50000000000000000000"),
            ("10", "2", "5.0000000000000000"),
            ("12345678901234567890", "7", "1763668414462081127"),
            ("0.001", "3", "0.00033333333333333333"),
            ("-7", "2", "-3.5000000000000000"),
            ("1.23456789012345678901234", "1", "1.23456789012345678901234"),
            ("99999", "10000", "9.9999000000000000"),
            ("0", "5", "0.00000000000000000000"),
        ];
        for (left, right, expected) in rows {
            assert_eq!(number(left).divide(&number(right)).unwrap().to_canonical(), expected, "{left} / {right}");
        }
        assert_eq!(number("1").divide(&number("0")).unwrap_err().sqlstate, "22012");
    }

    #[test]
    fn sums_products_and_remainders_keep_scales() {
        assert_eq!(number("1.50").add(&number("1.5")).unwrap().to_canonical(), "3.00");
        let (zero, zeros) = (number("0"), number(&format!("0.{}", "0".repeat(18))));
        for sum in [zero.add(&zeros), zeros.add(&zero), zero.subtract(&zeros), zeros.subtract(&zero)] {
            assert_eq!(sum.unwrap().to_canonical(), zeros.to_canonical());
        }
        assert_eq!(number("3").add(&zeros).unwrap().to_canonical(), format!("3.{}", "0".repeat(18)));
        assert_eq!(zeros.subtract(&number("-3")).unwrap().to_canonical(), format!("3.{}", "0".repeat(18)));
        assert_eq!(number("1.50").multiply(&number("1.5")).unwrap().to_canonical(), "2.250");
        assert_eq!(number("0.00").multiply(&number("1.5")).unwrap().to_canonical(), "0.000");
        assert_eq!(number("-7.5").remainder(&number("2")).unwrap().to_canonical(), "-1.5");
        assert_eq!(number("7").whole_quotient(&number("-2")).unwrap().to_canonical(), "-3");
        assert_eq!(number("Infinity").add(&number("-Infinity")).unwrap(), NotANumber);
    }

    #[test]
    fn rounding_is_half_away_from_zero() {
        let rows =
            [("2.5", 0, "3"), ("-2.5", 0, "-3"), ("1234.567", -2, "1200"), ("1.005", 2, "1.01"), ("7", 2, "7.00"), ("0.5", 0, "1")];
        for (value, scale, expected) in rows {
            assert_eq!(number(value).round(scale).to_canonical(), expected, "round({value}, {scale})");
        }
        assert_eq!(number("-1.99").truncate(1).to_canonical(), "-1.9");
        assert_eq!(number("-1.5").ceiling().to_canonical(), "-1");
        assert_eq!(number("-1.5").floor().to_canonical(), "-2");
    }

    #[test]
    fn roots_powers_and_logarithms_match_postgres() {
        assert_eq!(number("2").square_root().unwrap().to_canonical(), "1.414213562373095");
        assert_eq!(number("144").square_root().unwrap().to_canonical(), "12.000000000000000");
        assert_eq!(power(&number("2"), &number("10")).unwrap().to_canonical(), "1024.0000000000000000");
        assert_eq!(power(&number("2"), &number("-2")).unwrap().to_canonical(), "0.2500000000000000");
        assert_eq!(power(&number("2"), &number("0.5")).unwrap().to_canonical(), "1.4142135623730950");
        assert_eq!(exp(&number("1")).unwrap().to_canonical(), "2.7182818284590452");
        assert_eq!(ln(&number("10")).unwrap().to_canonical(), "2.3025850929940457");
        assert_eq!(log(&number("2"), &number("8")).unwrap().to_canonical(), "3.0000000000000000");
    }

    #[test]
    fn constraints_round_or_refuse() {
        assert_eq!(number("1.005").constrain(5, 2).unwrap().to_canonical(), "1.01");
        let refused = number("1000").constrain(5, 2).unwrap_err();
        assert_eq!(refused.detail.unwrap(), "A field with precision 5, scale 2 must round to an absolute value less than 10^3.");
    }
}
