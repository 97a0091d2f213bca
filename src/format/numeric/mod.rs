//! `numeric`: exact decimal numbers of up to 131072 digits before the point and 16383 after it.
//!
//! [`Numeric`] is the form between text, binary and the fixed-width integers of Arrow decimals. `text` and `binary` hold
//! the two outer forms; the common Arrow carriers have direct writers there that never build a [`Numeric`].

mod binary;
mod text;

pub use binary::{SHORT_MAX, read_binary, write_binary, write_binary_i128, write_short};
pub use text::{read, write_i128, write_i256};

use std::cmp::Ordering;

use arrow::datatypes::i256;

use crate::error::{Diagnosis, sqlstate};

/// Most digits before the decimal point.
const WHOLE_DIGITS_MAX: i64 = 131_072;
/// Most digits after the decimal point.
const SCALE_MAX: i64 = 16_383;

/// A value of type `numeric`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Numeric {
    /// `NaN`
    NaN,
    /// `Infinity`
    Infinity,
    /// `-Infinity`
    NegativeInfinity,
    /// Everything else.
    Finite(Finite),
}

/// `±digits × 10^-scale`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finite {
    /// Never true for zero.
    is_negative: bool,
    /// Values 0 to 9, most significant first, without leading zeros; empty for zero.
    digits: Vec<u8>,
    /// Digits after the point, also shown when zero; at most [`SCALE_MAX`].
    scale: usize,
}

/// 22003 `value overflows numeric format`.
pub(crate) fn overflow() -> Diagnosis {
    Diagnosis::new(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, "value overflows numeric format")
}

/// 22003 for a value that needs more digits than its declared type has.
pub(crate) fn field_overflow(precision: u16, scale: i16, is_infinite: bool) -> Diagnosis {
    let whole = i32::from(precision) - i32::from(scale);
    let detail = if is_infinite {
        format!("A field with precision {precision}, scale {scale} cannot hold an infinite value.")
    } else {
        let bound = if whole == 0 { "1".to_owned() } else { format!("10^{whole}") };
        format!("A field with precision {precision}, scale {scale} must round to an absolute value less than {bound}.")
    };
    Diagnosis::new(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, "numeric field overflow").with_detail(detail)
}

impl Finite {
    /// Normalises digits (leading zeros, sign of zero) and checks the limits of the type. A negative `scale` counts
    /// zeros that follow the digits.
    fn new(is_negative: bool, mut digits: Vec<u8>, scale: i64) -> Result<Self, Diagnosis> {
        let leading = digits.iter().take_while(|&&digit| digit == 0).count();
        digits.drain(..leading);
        let length = i64::try_from(digits.len()).map_err(|_cause| overflow())?;
        if scale > SCALE_MAX || (length > 0 && length.saturating_sub(scale) > WHOLE_DIGITS_MAX) {
            return Err(overflow());
        }
        if scale < 0 && length > 0 {
            digits.resize(digits.len() + usize::try_from(-scale).map_err(|_cause| overflow())?, 0);
        }
        let is_negative = is_negative && !digits.is_empty();
        Ok(Self { is_negative, digits, scale: usize::try_from(scale.max(0)).map_err(|_cause| overflow())? })
    }

    /// Rounds half away from zero to `scale` digits after the point; a negative scale rounds before it.
    fn round(mut self, scale: i64) -> Result<Self, Diagnosis> {
        let current = i64::try_from(self.scale).map_err(|_cause| overflow())?;
        if scale >= current {
            let more = usize::try_from(scale - current).map_err(|_cause| overflow())?;
            if !self.digits.is_empty() {
                self.digits.resize(self.digits.len() + more, 0);
            }
            return Self::new(self.is_negative, self.digits, scale);
        }
        let dropped = usize::try_from(current - scale).map_err(|_cause| overflow())?;
        if dropped > self.digits.len() {
            return Self::new(false, Vec::new(), scale.max(0));
        }
        let tail = self.digits.split_off(self.digits.len() - dropped);
        if tail.first().is_some_and(|&digit| digit >= 5) {
            increment(&mut self.digits);
        }
        Self::new(self.is_negative, self.digits, scale)
    }

    /// Digits before the point; negative when zeros follow the point.
    fn whole_digits(&self) -> i64 {
        i64::try_from(self.digits.len()).unwrap_or(i64::MAX) - i64::try_from(self.scale).unwrap_or(i64::MAX)
    }

    fn compare(&self, other: &Self) -> Ordering {
        let sign = |value: &Self| match (value.digits.is_empty(), value.is_negative) {
            (true, _) => 0,
            (false, true) => -1,
            (false, false) => 1,
        };
        let signs = sign(self).cmp(&sign(other));
        if signs.is_ne() || self.digits.is_empty() {
            return signs;
        }
        let sizes = self.whole_digits().cmp(&other.whole_digits()).then_with(|| self.significant().cmp(other.significant()));
        if self.is_negative { sizes.reverse() } else { sizes }
    }

    /// The digits without zeros at the end.
    fn significant(&self) -> &[u8] {
        let zeros = self.digits.iter().rev().take_while(|&&digit| digit == 0).count();
        self.digits.get(..self.digits.len() - zeros).unwrap_or_default()
    }
}

/// Adds one to the number the digits spell.
fn increment(digits: &mut Vec<u8>) {
    for digit in digits.iter_mut().rev() {
        if *digit < 9 {
            *digit += 1;
            return;
        }
        *digit = 0;
    }
    digits.insert(0, 1);
}

impl Numeric {
    /// Zero.
    pub fn zero() -> Self {
        Self::Finite(Finite { is_negative: false, digits: Vec::new(), scale: 0 })
    }

    /// `unscaled × 10^-scale`.
    ///
    /// # Errors
    /// None for the scales Arrow allows.
    pub fn from_i128(unscaled: i128, scale: i8) -> Result<Self, Diagnosis> {
        let text = unscaled.unsigned_abs().to_string();
        let digits = text.bytes().map(|byte| byte - b'0').collect();
        Finite::new(unscaled < 0, digits, i64::from(scale)).map(Self::Finite)
    }

    /// The value as a declared type stores it: rounded half away from zero to `scale`.
    ///
    /// # Errors
    /// 22003 when it needs more than `precision` digits, or is infinite. NaN fits any type.
    pub fn fit(self, precision: u16, scale: i16) -> Result<Self, Diagnosis> {
        match self {
            Self::NaN => Ok(Self::NaN),
            Self::Infinity | Self::NegativeInfinity => Err(field_overflow(precision, scale, true)),
            Self::Finite(finite) => {
                let rounded = finite.round(i64::from(scale))?;
                if !rounded.digits.is_empty() && rounded.whole_digits() > i64::from(precision) - i64::from(scale) {
                    return Err(field_overflow(precision, scale, false));
                }
                Ok(Self::Finite(rounded))
            }
        }
    }

    /// PostgreSQL's order, in which NaN equals itself and is above everything else.
    pub fn compare(&self, other: &Self) -> Ordering {
        let rank = |value: &Self| match value {
            Self::NegativeInfinity => 0,
            Self::Finite(_) => 1,
            Self::Infinity => 2,
            Self::NaN => 3,
        };
        match (self, other) {
            (Self::Finite(left), Self::Finite(right)) => left.compare(right),
            _ => rank(self).cmp(&rank(other)),
        }
    }

    /// The unscaled integer at exactly `scale` digits after the point; `None` for NaN, infinities, values with more
    /// digits after the point, and values beyond 128 bits.
    pub fn unscaled_i128(&self, scale: u8) -> Option<i128> {
        let (is_negative, digits, zeros) = self.unscaled_digits(scale)?;
        let mut value: i128 = 0;
        for digit in digits.iter().copied().chain(std::iter::repeat_n(0, zeros)) {
            value = value.checked_mul(10)?.checked_sub(i128::from(digit))?;
        }
        if is_negative { Some(value) } else { value.checked_neg() }
    }

    /// As [`Numeric::unscaled_i128`] with 256 bits.
    pub fn unscaled_i256(&self, scale: u8) -> Option<i256> {
        let (is_negative, digits, zeros) = self.unscaled_digits(scale)?;
        let ten = i256::from_i128(10);
        let mut value = i256::ZERO;
        for digit in digits.iter().copied().chain(std::iter::repeat_n(0, zeros)) {
            value = value.checked_mul(ten)?.checked_sub(i256::from_i128(i128::from(digit)))?;
        }
        if is_negative { Some(value) } else { value.checked_neg() }
    }

    fn unscaled_digits(&self, scale: u8) -> Option<(bool, &[u8], usize)> {
        let Self::Finite(finite) = self else { return None };
        let zeros = usize::from(scale).checked_sub(finite.scale)?;
        let zeros = if finite.digits.is_empty() { 0 } else { zeros };
        Some((finite.is_negative, &finite.digits, zeros))
    }
}
