//! Whole numbers and decimals with their length in front; as text a register of digits at a time. A value is a few writes
//! of a fixed width, of which what is not used is given back; copies of an unknown number of bytes cost more than the digits.

use bytes::{BufMut, BytesMut};

use super::patch_length;
use crate::error::Diagnosis;
use crate::format::numeric;

/// 10^8, the first number with more digits than a register holds as text.
const EIGHT_DIGITS: u64 = 100_000_000;
/// `0` in every byte.
const ZEROS: u64 = 0x3030_3030_3030_3030;
/// Digits after the point that fit a register together with the point.
const SCALE_MAX: i8 = 7;

/// Writes the length and the digits of a whole number.
pub(super) fn put_integer(value: i64, out: &mut BytesMut) {
    put_whole(value < 0, value.unsigned_abs(), 0, out);
}

/// Writes the length and the text of `unscaled × 10^-scale`.
pub(super) fn put_decimal(unscaled: i128, scale: i8, out: &mut BytesMut) -> Result<(), Diagnosis> {
    let (Ok(magnitude), 0..=SCALE_MAX) = (u64::try_from(unscaled.unsigned_abs()), scale) else {
        return put_wide(unscaled, scale, out);
    };
    if scale == 0 {
        put_whole(unscaled < 0, magnitude, 0, out);
        return Ok(());
    }
    let unit = 10_u64.pow(u32::from(scale.unsigned_abs()));
    put_whole(unscaled < 0, magnitude / unit, 1 + scale.unsigned_abs(), out);
    let unused = 8 * u32::from(8 - scale.unsigned_abs());
    let fraction = ((eight_digits(magnitude % unit) | ZEROS) >> unused) << 8;
    put_front(fraction | u64::from(b'.'), 1 + scale.unsigned_abs(), out);
    Ok(())
}

/// Writes the length and the binary form of `unscaled × 10^-scale`.
pub(super) fn put_numeric(unscaled: i128, scale: i8, out: &mut BytesMut) -> Result<(), Diagnosis> {
    let start = out.len();
    if let Some((bytes, length)) = numeric::write_short(unscaled, scale) {
        out.reserve(4 + numeric::SHORT_MAX);
        // At most SHORT_MAX.
        out.put_i32(i32::try_from(length).unwrap_or_default());
        out.put_slice(&bytes);
        out.truncate(start + 4 + length);
        return Ok(());
    }
    out.put_i32(0);
    numeric::write_binary_i128(unscaled, scale, out)?;
    patch_length(out, start, 4)
}

fn put_wide(unscaled: i128, scale: i8, out: &mut BytesMut) -> Result<(), Diagnosis> {
    let start = out.len();
    out.put_i32(0);
    numeric::write_i128(unscaled, scale, out);
    patch_length(out, start, 4)
}

/// Writes a length that counts `following` more bytes, a sign where needed, and the digits.
fn put_whole(is_negative: bool, magnitude: u64, following: u8, out: &mut BytesMut) {
    if magnitude < EIGHT_DIGITS {
        return put_first(is_negative, magnitude, following, out);
    }
    let (upper, last) = (magnitude / EIGHT_DIGITS, magnitude % EIGHT_DIGITS);
    if upper < EIGHT_DIGITS {
        put_first(is_negative, upper, following + 8, out);
    } else {
        put_first(is_negative, upper / EIGHT_DIGITS, following + 16, out);
        put_eight(upper % EIGHT_DIGITS, out);
    }
    put_eight(last, out);
}

/// The length, the sign and the first one to eight digits of a number.
fn put_first(is_negative: bool, number: u64, following: u8, out: &mut BytesMut) {
    let digits = eight_digits(number);
    // Zero itself keeps one digit.
    let leading = (digits.trailing_zeros() / 8).min(7);
    let (sign, mark) = if is_negative { (1, u128::from(b'-')) } else { (0, 0) };
    let used = 8 - leading + sign;
    let text = (u128::from((digits | ZEROS) >> (8 * leading)) << (8 * sign)) | mark;
    let length = used + u32::from(following);
    let start = out.len();
    out.put_slice(&(u128::from(length.swap_bytes()) | (text << 32)).to_le_bytes());
    out.truncate(start + 4 + usize::try_from(used).unwrap_or(0));
}

/// Eight digits, leading zeros included.
fn put_eight(number: u64, out: &mut BytesMut) {
    out.put_slice(&(eight_digits(number) | ZEROS).to_le_bytes());
}

/// The first bytes of a register.
fn put_front(text: u64, used: u8, out: &mut BytesMut) {
    let start = out.len();
    out.put_slice(&text.to_le_bytes());
    out.truncate(start + usize::from(used));
}

/// The digits of a number below 10^8, one in each byte, the first in the lowest. Each step splits all lanes in two: by 10^4
/// into halves, by 100 into quarters, by 10 into bytes; the products stand for divisions and are exact for numbers so small.
fn eight_digits(number: u64) -> u64 {
    let (high, low) = (number / 10_000, number % 10_000);
    let fours = high | (low << 32);
    let hundreds = ((fours * 10_486) >> 20) & 0x7f_0000_007f;
    let twos = hundreds | ((fours - hundreds * 100) << 16);
    let tens = ((twos * 103) >> 10) & 0x000f_000f_000f_000f;
    tens | ((twos - tens * 10) << 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn integer(value: i64) -> Vec<u8> {
        let mut out = BytesMut::from(&b"before"[..]);
        put_integer(value, &mut out);
        out.to_vec()
    }

    fn sized(text: &str) -> Vec<u8> {
        let length = i32::try_from(text.len()).unwrap().to_be_bytes();
        [b"before", &length[..], text.as_bytes()].concat()
    }

    #[test]
    fn whole_numbers_of_every_length_have_their_digits() {
        let mut numbers = vec![0, i64::MAX, i64::MIN];
        for digits in 0..19 {
            let power = 10_i64.pow(digits);
            numbers.extend([power - 1, power, power + 1, power.saturating_mul(9), 1_234_567_890_123_456_789 / power]);
        }
        for number in numbers.iter().flat_map(|number| [*number, number.wrapping_neg()]) {
            assert_eq!(integer(number), sized(&number.to_string()), "{number}");
        }
    }

    #[test]
    fn every_group_of_four_digits_is_split_right() {
        for number in 0..10_000_u64 {
            for (number, text) in [(number, format!("0000{number:04}")), (number * 10_000, format!("{number:04}0000"))] {
                assert_eq!((eight_digits(number) | ZEROS).to_le_bytes(), text.as_bytes());
            }
        }
    }

    #[test]
    fn decimals_are_those_of_the_plain_writer() {
        let mut numbers = vec![0, 5, 10, 99, i128::from(u64::MAX), i128::from(u64::MAX) + 1, 10_i128.pow(38) - 1];
        numbers.extend((0..38).flat_map(|digits| [10_i128.pow(digits), 10_i128.pow(digits) - 1, 12 * 10_i128.pow(digits) / 10]));
        for scale in [-3, 0, 1, 2, 6, 7, 8, 20, 38] {
            for unscaled in numbers.iter().flat_map(|number| [*number, -number]) {
                let mut plain = Vec::new();
                numeric::write_i128(unscaled, scale, &mut plain);
                let mut out = BytesMut::from(&b"before"[..]);
                put_decimal(unscaled, scale, &mut out).unwrap();
                assert_eq!(out.to_vec(), sized(std::str::from_utf8(&plain).unwrap()), "{unscaled} at {scale}");
            }
        }
    }
}
