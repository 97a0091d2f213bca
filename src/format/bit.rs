//! `bit` and `bit varying`: text of zeros and ones, and the binary form (bit count, then bytes, most significant first).

use bytes::BufMut;

use super::{bytea, fault};
use crate::error::{Diagnosis, sqlstate};

/// Reads `0101`, `b0101` or `x5` into zeros and ones.
///
/// # Errors
/// 22P02.
pub fn read(text: &str) -> Result<String, Diagnosis> {
    let refuse = |digit: char, kind: &str| {
        Diagnosis::new(sqlstate::INVALID_TEXT_REPRESENTATION, format!("\"{digit}\" is not a valid {kind} digit"))
    };
    if let Some(hex) = text.strip_prefix(['x', 'X']) {
        let mut bits = String::with_capacity(hex.len() * 4);
        for digit in hex.chars() {
            let value = u8::try_from(digit).ok().and_then(bytea::hex_value).ok_or_else(|| refuse(digit, "hexadecimal"))?;
            bits.push_str(&format!("{value:04b}"));
        }
        return Ok(bits);
    }
    let bits = text.strip_prefix(['b', 'B']).unwrap_or(text);
    match bits.chars().find(|bit| !matches!(bit, '0' | '1')) {
        Some(digit) => Err(refuse(digit, "binary")),
        None => Ok(bits.to_owned()),
    }
}

/// Writes the binary form of zeros and ones.
///
/// # Errors
/// As [`read`], and 54000 beyond 2^31 bits.
pub fn write_binary(text: &str, out: &mut impl BufMut) -> Result<(), Diagnosis> {
    let bits = read(text)?;
    let too_long = |_cause| Diagnosis::new(sqlstate::PROGRAM_LIMIT_EXCEEDED, "bit string length exceeds the maximum allowed");
    out.put_i32(i32::try_from(bits.len()).map_err(too_long)?);
    for eight in bits.as_bytes().chunks(8) {
        out.put_u8(eight.iter().zip((0..8).rev()).fold(0, |byte, (&bit, place)| byte | (u8::from(bit == b'1') << place)));
    }
    Ok(())
}

/// Reads the binary form into zeros and ones.
///
/// # Errors
/// 22P03.
pub fn read_binary(bytes: &[u8]) -> Result<String, Diagnosis> {
    let (length, packed) = bytes.split_first_chunk::<4>().ok_or_else(|| fault::binary("bit varying"))?;
    let length = usize::try_from(i32::from_be_bytes(*length)).map_err(|_cause| fault::binary("bit varying"))?;
    if packed.len() != length.div_ceil(8) {
        return Err(fault::binary("bit varying"));
    }
    let bits = packed.iter().flat_map(|byte| (0..8).rev().map(move |place| if (byte >> place) & 1 == 1 { '1' } else { '0' }));
    Ok(bits.take(length).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_go_both_ways() {
        for (input, expected) in [("", ""), ("101", "101"), ("b1100110011", "1100110011"), ("x1F", "00011111")] {
            assert_eq!(read(input).unwrap(), expected);
            let mut out = Vec::new();
            write_binary(input, &mut out).unwrap();
            assert_eq!(read_binary(&out).unwrap(), expected);
        }
        let mut out = Vec::new();
        write_binary("101", &mut out).unwrap();
        assert_eq!(out, [0, 0, 0, 3, 0b1010_0000]);
        assert_eq!(read("102").unwrap_err().message, "\"2\" is not a valid binary digit");
        assert_eq!(read("x1g").unwrap_err().message, "\"g\" is not a valid hexadecimal digit");
        for bytes in [&[0, 0, 0][..], &[0, 0, 0, 9, 1], &[255, 255, 255, 255]] {
            assert_eq!(read_binary(bytes).unwrap_err().sqlstate, "22P03");
        }
    }
}
