//! `numeric` on the wire: `ndigits`, `weight`, `sign`, `dscale` as 16-bit words, then base-10000 digits
//! (`numeric_send` and `numeric_recv` of PostgreSQL).

use bytes::BufMut;

use super::{Finite, Numeric, SCALE_MAX, overflow};
use crate::error::{Diagnosis, sqlstate};
use crate::format::fault;

const POSITIVE: u16 = 0x0000;
const NEGATIVE: u16 = 0x4000;
const NAN: u16 = 0xC000;
const INFINITY: u16 = 0xD000;
const NEGATIVE_INFINITY: u16 = 0xF000;

/// Writes any value.
///
/// # Errors
/// 22003 beyond the limits of the type.
pub fn write_binary(value: &Numeric, out: &mut impl BufMut) -> Result<(), Diagnosis> {
    match value {
        Numeric::NaN => put_header(0, 0, NAN, 0, out),
        // PostgreSQL itself announces infinities with the largest display scale.
        Numeric::Infinity => put_header(0, 0, INFINITY, 0x20, out),
        Numeric::NegativeInfinity => put_header(0, 0, NEGATIVE_INFINITY, 0x20, out),
        Numeric::Finite(finite) => return write_finite(finite, out),
    }
    Ok(())
}

fn put_header(count: u16, weight: i16, sign: u16, scale: u16, out: &mut impl BufMut) {
    out.put_u16(count);
    out.put_i16(weight);
    out.put_u16(sign);
    out.put_u16(scale);
}

fn write_finite(value: &Finite, out: &mut impl BufMut) -> Result<(), Diagnosis> {
    // Groups of four stand on both sides of the point, so pad until the fraction and then the whole fill theirs.
    let fraction_pad = (4 - value.scale % 4) % 4;
    let padded_len = value.digits.len() + fraction_pad;
    let lead_pad = (4 - padded_len % 4) % 4;
    let digits: Vec<u8> =
        std::iter::repeat_n(0, lead_pad).chain(value.digits.iter().copied()).chain(std::iter::repeat_n(0, fraction_pad)).collect();
    let groups: Vec<u16> = digits.chunks(4).map(|four| four.iter().fold(0u16, |sum, &digit| sum * 10 + u16::from(digit))).collect();
    let fraction_groups = (value.scale + fraction_pad) / 4;
    let sign = if value.is_negative { NEGATIVE } else { POSITIVE };
    put_groups(&groups, fraction_groups, sign, u16::try_from(value.scale).map_err(|_cause| overflow())?, out)
}

/// Writes groups of which the last `fraction_groups` lie after the point, without zero groups at either end.
fn put_groups(groups: &[u16], fraction_groups: usize, sign: u16, scale: u16, out: &mut impl BufMut) -> Result<(), Diagnosis> {
    let Some(first) = groups.iter().position(|&group| group != 0) else {
        put_header(0, 0, POSITIVE, scale, out);
        return Ok(());
    };
    let last = groups.iter().rposition(|&group| group != 0).unwrap_or(first);
    let kept = groups.get(first..=last).unwrap_or_default();
    let count = u16::try_from(kept.len()).map_err(|_cause| overflow())?;
    let before_point = i32::try_from(groups.len() - first).map_err(|_cause| overflow())?;
    let weight = before_point - i32::try_from(fraction_groups).map_err(|_cause| overflow())? - 1;
    let weight = i16::try_from(weight).map_err(|_cause| overflow())?;
    let mut message = [0u8; 32];
    let words = [count, u16::from_be_bytes(weight.to_be_bytes()), sign, scale].into_iter().chain(kept.iter().copied());
    if let Some(short) = message.get_mut(..8 + 2 * kept.len()) {
        // Nearly all values are short, and one copy is cheaper than one for each word.
        short.as_chunks_mut::<2>().0.iter_mut().zip(words).for_each(|(slot, word)| *slot = word.to_be_bytes());
        out.put_slice(short);
    } else {
        words.for_each(|word| out.put_u16(word));
    }
    Ok(())
}

/// Writes `unscaled × 10^-scale` without building a [`Numeric`].
///
/// # Errors
/// None for the scales Arrow allows.
pub fn write_binary_i128(unscaled: i128, scale: i8, out: &mut impl BufMut) -> Result<(), Diagnosis> {
    let Ok(digits_after) = u16::try_from(scale) else {
        return write_binary(&Numeric::from_i128(unscaled, scale)?, out);
    };
    // 39 digits and a partial group on each side of the point take at most 11 groups; a scale of 127 takes 32 more.
    let mut groups = [0u16; 48];
    let mut used = 0;
    let mut rest = unscaled.unsigned_abs();
    let mut slots = groups.iter_mut().rev();
    let partial = u32::from(digits_after % 4);
    if partial > 0 {
        let (above, below) = divide(rest, 10u64.pow(partial));
        if let Some(slot) = slots.next() {
            *slot = narrow(below.into()) * 10u16.pow(4 - partial);
        }
        rest = above;
        used += 1;
    }
    while u64::try_from(rest).is_err() {
        let Some(slot) = slots.next() else { break };
        *slot = narrow(rest % 10_000);
        rest /= 10_000;
        used += 1;
    }
    let mut small = u64::try_from(rest).map_err(|_cause| overflow())?;
    while small > 0 {
        let Some(slot) = slots.next() else { break };
        *slot = narrow(u128::from(small % 10_000));
        small /= 10_000;
        used += 1;
    }
    let fraction_groups = usize::from(digits_after.div_ceil(4));
    let sign = if unscaled < 0 { NEGATIVE } else { POSITIVE };
    // A value far below one has fewer groups than the fraction; the missing ones are the leading zeros of the array.
    let kept = used.max(fraction_groups);
    put_groups(groups.get(groups.len() - kept..).unwrap_or_default(), fraction_groups, sign, digits_after, out)
}

/// Bytes of the longest value that [`write_short`] writes: the four words in front, five groups before the point, two behind it.
pub const SHORT_MAX: usize = 22;

/// The bytes of `unscaled × 10^-scale` and how many of them count, for up to 64 bits and 8 digits after the point, as nearly all
/// values are; with the same bytes as [`write_binary_i128`], put down in one copy.
pub fn write_short(unscaled: i128, scale: i8) -> Option<([u8; SHORT_MAX], usize)> {
    let mut rest = u64::try_from(unscaled.unsigned_abs()).ok()?;
    let (scale, fraction_groups) = match scale {
        0 => (0, 0),
        1..=4 => (scale.unsigned_abs(), 1),
        5..=8 => (scale.unsigned_abs(), 2),
        _ => return None,
    };
    let mut groups = [0_u16; 7];
    let (whole_groups, behind) = groups.split_at_mut(5);
    if fraction_groups > 0 {
        let unit = 10_u64.pow(scale.into());
        let fraction = rest % unit * 10_u64.pow(4 * fraction_groups - u32::from(scale));
        rest /= unit;
        let (upper, lower) = if fraction_groups == 2 { (fraction / 10_000, fraction % 10_000) } else { (fraction, 0) };
        behind.copy_from_slice(&[narrow(upper.into()), narrow(lower.into())]);
    }
    for group in whole_groups.iter_mut().rev() {
        if rest == 0 {
            break;
        }
        *group = narrow(u128::from(rest % 10_000));
        rest /= 10_000;
    }
    let mut message = [[0_u8; 2]; SHORT_MAX / 2];
    let Some(first) = groups.iter().position(|&group| group != 0) else {
        if let Some(slot) = message.get_mut(3) {
            *slot = u16::from(scale).to_be_bytes();
        }
        return Some((*message.as_flattened().first_chunk()?, 8));
    };
    let last = groups.iter().rposition(|&group| group != 0)?;
    let kept = groups.get(first..=last)?;
    // The point stands behind the fifth group; the first has the weight of its distance to it.
    let weight = 4 - i16::try_from(first).ok()?;
    let sign = if unscaled < 0 { NEGATIVE } else { POSITIVE };
    let front = [u16::try_from(kept.len()).ok()?, u16::from_be_bytes(weight.to_be_bytes()), sign, scale.into()];
    message.iter_mut().zip(front.iter().chain(kept)).for_each(|(slot, word)| *slot = word.to_be_bytes());
    Some((*message.as_flattened().first_chunk()?, 8 + 2 * kept.len()))
}

/// Quotient and remainder. 64-bit division is many times cheaper than 128-bit and nearly all values are small.
fn divide(value: u128, divisor: u64) -> (u128, u64) {
    match u64::try_from(value) {
        Ok(small) => (u128::from(small / divisor), small % divisor),
        // The remainder is below the divisor, so it fits.
        Err(_) => (value / u128::from(divisor), u64::try_from(value % u128::from(divisor)).unwrap_or_default()),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "callers pass remainders of a division by at most 10000")]
fn narrow(group: u128) -> u16 {
    group as u16
}

/// Reads a value; digits beyond the announced scale are cut off as `numeric_recv` does.
///
/// # Errors
/// 22P03.
pub fn read_binary(bytes: &[u8]) -> Result<Numeric, Diagnosis> {
    let (words, rest) = bytes.as_chunks::<2>();
    let words: Vec<u16> = words.iter().copied().map(u16::from_be_bytes).collect();
    let [count, weight, sign, scale, groups @ ..] = words.as_slice() else { return Err(fault::binary("numeric")) };
    if !rest.is_empty() || usize::from(*count) != groups.len() {
        return Err(fault::binary("numeric"));
    }
    let part = |name: &str| {
        Diagnosis::new(sqlstate::INVALID_BINARY_REPRESENTATION, format!("invalid {name} in external \"numeric\" value"))
    };
    let is_negative = match *sign {
        NAN => return Ok(Numeric::NaN),
        INFINITY => return Ok(Numeric::Infinity),
        NEGATIVE_INFINITY => return Ok(Numeric::NegativeInfinity),
        POSITIVE => false,
        NEGATIVE => true,
        _ => return Err(part("sign")),
    };
    if i64::from(*scale) > SCALE_MAX {
        return Err(part("scale"));
    }
    if groups.iter().any(|&group| group > 9_999) {
        return Err(part("digit"));
    }
    let weight = i64::from(i16::from_be_bytes(weight.to_be_bytes()));
    finite_from_groups(is_negative, groups, weight, i64::from(*scale)).map(Numeric::Finite)
}

fn finite_from_groups(is_negative: bool, groups: &[u16], weight: i64, scale: i64) -> Result<Finite, Diagnosis> {
    let mut digits = Vec::with_capacity(groups.len() * 4);
    for &group in groups {
        for unit in [1000, 100, 10, 1] {
            digits.push(u8::try_from(group / unit % 10).map_err(|_cause| overflow())?);
        }
    }
    let group_count = i64::try_from(groups.len()).map_err(|_cause| overflow())?;
    // Digits after the point that the groups spell; negative when zeros are missing before the point.
    let spelled = (group_count - weight - 1) * 4;
    if spelled > scale {
        let excess = usize::try_from(spelled - scale).map_err(|_cause| overflow())?;
        digits.truncate(digits.len().saturating_sub(excess));
    } else if !digits.iter().all(|&digit| digit == 0) {
        let missing = usize::try_from(scale - spelled).map_err(|_cause| overflow())?;
        digits.resize(digits.len() + missing, 0);
    }
    Finite::new(is_negative, digits, scale)
}

#[cfg(test)]
mod tests {
    use super::super::read;
    use super::*;

    fn encoded(text: &str) -> Vec<u8> {
        let mut out = Vec::new();
        write_binary(&read(text).unwrap(), &mut out).unwrap();
        out
    }

    #[test]
    fn known_encodings() {
        let rows: [(&str, &[u16]); 9] = [
            ("0", &[0, 0, 0, 0]),
            ("0.00", &[0, 0, 0, 2]),
            ("1", &[1, 0, 0, 0, 1]),
            ("-12345.678", &[3, 1, 0x4000, 3, 1, 2345, 6780]),
            ("10000", &[1, 1, 0, 0, 1]),
            ("0.0001", &[1, 0xffff, 0, 4, 1]),
            ("0.00001", &[1, 0xfffe, 0, 5, 1000]),
            ("100.50", &[2, 0, 0, 2, 100, 5000]),
            ("NaN", &[0, 0, 0xC000, 0]),
        ];
        for (text, words) in rows {
            let expected: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
            assert_eq!(encoded(text), expected, "{text}");
            assert_eq!(read_binary(&expected).unwrap().to_string(), text);
        }
    }

    #[test]
    fn unscaled_integers_encode_as_their_text() {
        let mut unscaled: i128 = 1;
        for step in 0..2_000i128 {
            for scale in [0i8, 1, 2, 3, 4, 5, 8, 9, 18, 37, 38, -2] {
                for value in [unscaled, -unscaled] {
                    let numeric = Numeric::from_i128(value, scale).unwrap();
                    let mut direct = Vec::new();
                    write_binary_i128(value, scale, &mut direct).unwrap();
                    assert_eq!(direct, encoded(&numeric.to_string()), "{value} {scale}");
                    let short = write_short(value, scale);
                    assert_eq!(short.is_some(), (0..=8).contains(&scale) && u64::try_from(value.unsigned_abs()).is_ok());
                    assert!(short.is_none_or(|(bytes, length)| bytes[..length] == direct), "{value} {scale}");
                    assert_eq!(read_binary(&direct).unwrap(), numeric);
                }
            }
            unscaled = unscaled.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(step) >> (step % 11);
            unscaled = if unscaled == 0 { step + 3 } else { unscaled };
        }
    }

    #[test]
    fn malformed_values_are_refused() {
        for words in [&[][..], &[0, 0], &[1, 0, 0, 0], &[1, 0, 0, 0, 10_000], &[0, 0, 0x1234, 0], &[0, 0, 0, 0x4000]] {
            let bytes: Vec<u8> = words.iter().flat_map(|word: &u16| word.to_be_bytes()).collect();
            assert_eq!(read_binary(&bytes).unwrap_err().sqlstate, "22P03");
        }
        assert_eq!(read_binary(&[0, 0, 0, 0, 0, 0, 0, 0, 1]).unwrap_err().sqlstate, "22P03");
        // Two groups after the point, scale 2: the rest is cut, not rounded.
        let bytes: Vec<u8> = [2u16, 0, 0, 2, 1, 9_999].iter().flat_map(|word| word.to_be_bytes()).collect();
        assert_eq!(read_binary(&bytes).unwrap().to_string(), "1.99");
    }
}
