//! `numeric` exactly: base-10000 digits into Arrow decimals where the column has precision and scale, else canonical text.

use arrow::array::ArrowNativeTypeOp;
use arrow::datatypes::{ArrowNativeType, DataType, Decimal128Type, Decimal256Type, DecimalType};

use super::decoder::{Broken, Decoder, Primitive, Written};
use super::text::show;
use crate::error::sqlstate;
use crate::pgtype::PgType;

const POSITIVE: u16 = 0x0000;
const NEGATIVE: u16 = 0x4000;
const NAN: u16 = 0xC000;
const INFINITY: u16 = 0xD000;
const NEGATIVE_INFINITY: u16 = 0xF000;

pub(super) fn numeric(pg_type: PgType, rows: usize) -> Box<dyn Decoder> {
    carried(&pg_type.carrier(), rows)
}

/// Numbers in a decimal carrier, or else as canonical text.
pub(super) fn carried(carrier: &DataType, rows: usize) -> Box<dyn Decoder> {
    match *carrier {
        DataType::Decimal128(precision, scale) => {
            Primitive::<Decimal128Type, _>::boxed(carrier.clone(), rows, move |bytes| read_decimal128(bytes, precision, scale))
        }
        DataType::Decimal256(precision, scale) => Primitive::<Decimal256Type, _>::boxed(carrier.clone(), rows, move |bytes| {
            read_decimal::<Decimal256Type>(bytes, precision, scale)
        }),
        _ => Written::boxed(rows, write_numeric),
    }
}

/// Whether numbers of this carrier include the value, which is then what [`carried`] would make of it.
pub(super) fn check(carrier: &DataType, bytes: &[u8]) -> Result<(), Broken> {
    match *carrier {
        DataType::Decimal128(precision, scale) => read_decimal128(bytes, precision, scale).map(|_value| ()),
        DataType::Decimal256(precision, scale) => read_decimal::<Decimal256Type>(bytes, precision, scale).map(|_value| ()),
        _ => {
            let parts = parts(bytes)?;
            let is_number = parts.special().is_some() || parts.digits().all(|digit| digit <= 9_999);
            if is_number { Ok(()) } else { Err(Broken::malformed()) }
        }
    }
}

/// The binary form (`numeric_send`): number of digits, weight of the first, sign, digits shown after the point, digits.
struct Parts<'a> {
    weight: i32,
    sign: u16,
    scale: u16,
    digits: &'a [u8],
}

fn parts(bytes: &[u8]) -> Result<Parts<'_>, Broken> {
    let [n0, n1, w0, w1, s0, s1, d0, d1, digits @ ..] = bytes else { return Err(Broken::malformed()) };
    let count = usize::from(u16::from_be_bytes([*n0, *n1]));
    if digits.len() != count * 2 {
        return Err(Broken::malformed());
    }
    Ok(Parts {
        weight: i32::from(i16::from_be_bytes([*w0, *w1])),
        sign: u16::from_be_bytes([*s0, *s1]),
        scale: u16::from_be_bytes([*d0, *d1]),
        digits,
    })
}

impl Parts<'_> {
    fn digits(&self) -> impl DoubleEndedIterator<Item = u16> + ExactSizeIterator {
        self.digits.chunks_exact(2).map(|pair| pair.iter().fold(0, |digit, byte| digit << 8 | u16::from(*byte)))
    }

    fn special(&self) -> Option<&'static str> {
        match self.sign {
            NAN => Some("NaN"),
            INFINITY => Some("Infinity"),
            NEGATIVE_INFINITY => Some("-Infinity"),
            _ => None,
        }
    }
}

/// Powers of ten that fit 64 bits.
const POWERS: [i64; 19] = {
    let mut powers = [1; 19];
    let mut place = 1;
    while place < powers.len() {
        powers[place] = powers[place - 1] * 10;
        place += 1;
    }
    powers
};

fn read_decimal128(bytes: &[u8], precision: u8, scale: i8) -> Result<i128, Broken> {
    match read_short(bytes, precision, scale) {
        Some(value) => Ok(value.into()),
        None => read_decimal::<Decimal128Type>(bytes, precision, scale),
    }
}

/// The value times 10^scale where 64 bits hold it on the whole way, as nearly always: 128-bit arithmetic with its checks costs
/// several times as much. `None` says nothing of the value but that [`read_decimal`] must look at it.
#[inline]
fn read_short(bytes: &[u8], precision: u8, scale: i8) -> Option<i64> {
    let ([n0, n1, w0, w1, s0, s1, _, _], digits) = bytes.split_first_chunk::<8>()?;
    let count = i32::from(u16::from_be_bytes([*n0, *n1]));
    // Four groups at most, and as many as there are bytes for.
    if count > 4 || digits.len() != usize::try_from(count).ok()? * 2 {
        return None;
    }
    let mut value = 0_i64;
    for pair in digits.chunks_exact(2) {
        let group = pair.iter().fold(0_u16, |group, byte| group << 8 | u16::from(*byte));
        value = value * 10_000 + i64::from(Some(group).filter(|group| *group <= 9_999)?);
    }
    // The exponent of the last group: only that one can reach past the scale. Divisors that are known here are no divisions.
    let exponent = (i32::from(i16::from_be_bytes([*w0, *w1])) - count + 1) * 4 + i32::from(scale);
    let value = match exponent {
        0 => value,
        1.. => value.checked_mul(*POWERS.get(usize::try_from(exponent).ok()?)?)?,
        -1 if value % 10 == 0 => value / 10,
        -2 if value % 100 == 0 => value / 100,
        -3 if value % 1_000 == 0 => value / 1_000,
        _ => return None,
    };
    if POWERS.get(usize::from(precision)).is_some_and(|end| value >= *end) {
        return None;
    }
    match u16::from_be_bytes([*s0, *s1]) {
        POSITIVE => Some(value),
        NEGATIVE => Some(-value),
        _ => None,
    }
}

/// The value times 10^scale. Trailing zero groups are not sent, so only the last group can reach past the scale.
fn read_decimal<T: DecimalType>(bytes: &[u8], precision: u8, scale: i8) -> Result<T::Native, Broken>
where
    T::Native: ArrowNativeTypeOp,
{
    let parts = parts(bytes)?;
    let out_of_range = || Broken::new(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, format!("exceeds numeric({precision},{scale})"));
    if let Some(special) = parts.special() {
        let rule = format!("is {special}, which a column of type numeric({precision},{scale}) cannot carry exactly");
        return Err(Broken::new(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, rule));
    }
    let mut value = T::Native::ZERO;
    for (place, digit) in (0i32..).zip(parts.digits()) {
        if digit > 9_999 {
            return Err(Broken::malformed());
        }
        let exponent = (parts.weight - place) * 4 + i32::from(scale);
        let (factor, digit) = match exponent {
            0.. => (10_000, digit),
            -3..=-1 => {
                let past = 10u16.pow(exponent.unsigned_abs());
                if digit % past != 0 {
                    return Err(out_of_range());
                }
                (10_000 / past, digit / past)
            }
            _ => return Err(out_of_range()),
        };
        let shifted = value.mul_checked(T::Native::usize_as(factor.into())).map_err(|_cause| out_of_range())?;
        value = shifted.add_checked(T::Native::usize_as(digit.into())).map_err(|_cause| out_of_range())?;
    }
    let count = i32::try_from(parts.digits().len()).map_err(|_cause| Broken::malformed())?;
    let zeros = (parts.weight - count + 1) * 4 + i32::from(scale);
    if zeros > 0 && !value.is_zero() {
        let factor = T::Native::usize_as(10).pow_checked(zeros.unsigned_abs()).map_err(|_cause| out_of_range())?;
        value = value.mul_checked(factor).map_err(|_cause| out_of_range())?;
    }
    if !T::is_valid_decimal_precision(value, precision) {
        return Err(out_of_range());
    }
    if parts.sign == NEGATIVE { value.neg_checked().map_err(|_cause| out_of_range()) } else { Ok(value) }
}

/// The text of `numeric_out`: all digits, with exactly as many after the point as the value shows.
fn write_numeric(bytes: &[u8], text: &mut String) -> Result<(), Broken> {
    let parts = parts(bytes)?;
    if let Some(special) = parts.special() {
        text.push_str(special);
        return Ok(());
    }
    if parts.sign == NEGATIVE {
        text.push('-');
    }
    let digits: Vec<u16> = parts.digits().collect();
    if digits.iter().any(|digit| *digit > 9_999) {
        return Err(Broken::malformed());
    }
    let digit_at = |weight: i32| {
        let place = usize::try_from(parts.weight - weight).ok();
        place.and_then(|place| digits.get(place)).copied().unwrap_or(0)
    };
    if parts.weight < 0 {
        text.push('0');
    } else {
        show(text, format_args!("{}", digit_at(parts.weight)));
        (0..parts.weight).rev().for_each(|weight| show(text, format_args!("{:04}", digit_at(weight))));
    }
    if parts.scale > 0 {
        text.push('.');
        let end = text.len() + usize::from(parts.scale);
        let mut weight = -1;
        while text.len() < end {
            show(text, format_args!("{:04}", digit_at(weight)));
            weight -= 1;
        }
        text.truncate(end);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::i256;

    fn sent(weight: i16, sign: u16, scale: u16, digits: &[u16]) -> Vec<u8> {
        let mut bytes = u16::try_from(digits.len()).unwrap().to_be_bytes().to_vec();
        bytes.extend(weight.to_be_bytes());
        bytes.extend(sign.to_be_bytes());
        bytes.extend(scale.to_be_bytes());
        digits.iter().for_each(|digit| bytes.extend(digit.to_be_bytes()));
        bytes
    }

    #[test]
    fn decimals_are_exact_or_refused() {
        let nines_of_38 = [vec![99], vec![9_999; 9]].concat();
        let rows = [
            (sent(0, 0, 0, &[]), 10, 2, Ok(0)),
            (sent(0, 0, 2, &[123, 4_500]), 10, 2, Ok(12_345)),
            (sent(0, NEGATIVE, 2, &[123, 4_500]), 10, 2, Ok(-12_345)),
            (sent(-1, 0, 4, &[1]), 10, 4, Ok(1)),
            (sent(-2, 0, 8, &[1]), 10, 8, Ok(1)),
            (sent(1, 0, 0, &[1]), 10, 2, Ok(1_000_000)),
            (sent(9, 0, 0, &nines_of_38), 38, 0, Ok(10i128.pow(38) - 1)),
            (sent(8, 0, 2, &[vec![9_999; 9], vec![9_900]].concat()), 38, 2, Ok(10i128.pow(38) - 1)),
            (sent(9, 0, 1, &[vec![9], vec![9_999; 9], vec![9_000]].concat()), 38, 1, Ok(10i128.pow(38) - 1)),
            (sent(0, 0, 3, &[1, 5]), 10, 2, Err("22003")),
            (sent(0, 0, 3, &[1, 10]), 10, 2, Err("22003")),
            (sent(2, 0, 0, &[1_000]), 10, 2, Err("22003")),
            (sent(30, 0, 0, &[1]), 38, 0, Err("22003")),
            (sent(0, NAN, 0, &[]), 10, 2, Err("22003")),
            (sent(0, INFINITY, 0, &[]), 10, 2, Err("22003")),
            (sent(0, 0, 0, &[10_000]), 10, 2, Err("HV000")),
            (vec![0, 9, 0, 0, 0, 0, 0, 0], 10, 2, Err("HV000")),
        ];
        for (bytes, precision, scale, expected) in rows {
            let read = read_decimal128(&bytes, precision, scale).map_err(|broken| broken.sqlstate);
            assert_eq!(read, expected, "{bytes:?}");
            let read = read_decimal::<Decimal128Type>(&bytes, precision, scale).map_err(|broken| broken.sqlstate);
            assert_eq!(read, expected, "{bytes:?}, the long way");
        }
        let wide = sent(18, NEGATIVE, 0, &[9_999; 19]);
        let expected = i256::from_i128(10).pow_checked(76).unwrap() - i256::ONE;
        assert_eq!(read_decimal::<Decimal256Type>(&wide, 76, 0), Ok(expected.wrapping_neg()));
    }

    #[test]
    fn the_short_way_is_taken_only_where_both_agree() {
        let groups = [vec![], vec![1], vec![9_999], vec![12, 3_400], vec![1, 1], vec![7, 0, 8_000], vec![9_999; 4], vec![9_999; 5]];
        for digits in groups.into_iter().chain([vec![1, 10_000], vec![9_999, 9_999, 9_999, 10_001]]) {
            for (weight, sign) in (-5..9).flat_map(|weight| [0, NEGATIVE, NAN, INFINITY, 7].map(|sign| (weight, sign))) {
                for (precision, scale) in [(1, 0), (10, 2), (12, 4), (18, 5), (38, 0), (38, 20)] {
                    let bytes = sent(weight, sign, 2, &digits);
                    let expected = read_decimal::<Decimal128Type>(&bytes, precision, scale);
                    assert_eq!(read_decimal128(&bytes, precision, scale), expected, "{bytes:?} as numeric({precision},{scale})");
                }
            }
        }
        let sent = |precision| read_short(&sent(0, NEGATIVE, 2, &[123, 4_500]), precision, 2);
        assert_eq!((sent(5), sent(38), sent(4)), (Some(-12_345), Some(-12_345), None));
    }

    #[test]
    fn text_is_numeric_out() {
        let rows = [
            (sent(0, 0, 0, &[]), "0"),
            (sent(0, 0, 3, &[]), "0.000"),
            (sent(0, 0, 1, &[1, 1_000]), "1.1"),
            (sent(0, NEGATIVE, 5, &[1, 1_000]), "-1.10000"),
            (sent(-1, 0, 2, &[500]), "0.05"),
            (sent(-3, 0, 12, &[7]), "0.000000000007"),
            (sent(2, 0, 0, &[12, 3]), "1200030000"),
            (sent(0, NAN, 0, &[]), "NaN"),
            (sent(0, INFINITY, 0, &[]), "Infinity"),
            (sent(0, NEGATIVE_INFINITY, 0, &[]), "-Infinity"),
        ];
        for (bytes, expected) in rows {
            let mut text = String::new();
            write_numeric(&bytes, &mut text).unwrap();
            assert_eq!(text, expected);
        }
    }
}
