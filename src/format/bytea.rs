//! `bytea` as text: `hex` and `escape` forms (manual §8.4), both read.

use bytes::BufMut;

use super::{ByteaOutput, fault};
use crate::error::Diagnosis;

const HEX: [u8; 16] = *b"0123456789abcdef";

/// Writes in the form the session asked for.
pub fn write(value: &[u8], form: ByteaOutput, out: &mut impl BufMut) {
    match form {
        ByteaOutput::Hex => {
            out.put_slice(b"\\x");
            write_hex(value, out);
        }
        ByteaOutput::Escape => {
            for &byte in value {
                match byte {
                    b'\\' => out.put_slice(b"\\\\"),
                    0x20..=0x7e => out.put_u8(byte),
                    _ => out.put_slice(&[b'\\', b'0' + (byte >> 6), b'0' + ((byte >> 3) & 7), b'0' + (byte & 7)]),
                }
            }
        }
    }
}

/// Two lower-case hexadecimal digits for each byte.
pub fn write_hex(value: &[u8], out: &mut impl BufMut) {
    for chunk in value.chunks(32) {
        let mut pairs = [0u8; 64];
        for (pair, &byte) in pairs.chunks_exact_mut(2).zip(chunk) {
            pair.copy_from_slice(&[hex_digit(byte >> 4), hex_digit(byte & 15)]);
        }
        out.put_slice(pairs.get(..chunk.len() * 2).unwrap_or_default());
    }
}

fn hex_digit(nibble: u8) -> u8 {
    HEX.get(usize::from(nibble)).copied().unwrap_or(b'0')
}

/// The value of a hexadecimal digit.
pub fn hex_value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// Reads either form.
///
/// # Errors
/// 22023 for bad hexadecimal, as PostgreSQL; 22P02 for a bad escape.
pub fn read(text: &str) -> Result<Vec<u8>, Diagnosis> {
    match text.strip_prefix("\\x") {
        Some(hex) => read_hex(hex),
        None => read_escape(text),
    }
}

fn read_hex(hex: &str) -> Result<Vec<u8>, Diagnosis> {
    let refuse = |message: String| Diagnosis::new(crate::error::sqlstate::INVALID_PARAMETER_VALUE, message);
    let mut bytes = Vec::with_capacity(hex.len() / 2);
    let mut rest = hex.chars();
    // Blanks may stand between pairs, not inside one.
    while let Some(first) = rest.next() {
        if matches!(first, ' ' | '\n' | '\t' | '\r') {
            continue;
        }
        let value = |digit: char| {
            u8::try_from(digit).ok().and_then(hex_value).ok_or_else(|| refuse(format!("invalid hexadecimal digit: \"{digit}\"")))
        };
        let high = value(first)?;
        let second = rest.next().ok_or_else(|| refuse("invalid hexadecimal data: odd number of digits".to_owned()))?;
        bytes.push((high << 4) | value(second)?);
    }
    Ok(bytes)
}

fn read_escape(text: &str) -> Result<Vec<u8>, Diagnosis> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    loop {
        rest = match rest {
            [] => return Ok(bytes),
            [b'\\', b'\\', tail @ ..] => {
                bytes.push(b'\\');
                tail
            }
            [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', tail @ ..] => {
                bytes.push(((a - b'0') << 6) | ((b - b'0') << 3) | (c - b'0'));
                tail
            }
            [b'\\', ..] => return Err(fault::invalid_bytea()),
            [byte, tail @ ..] => {
                bytes.push(*byte);
                tail
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_go_both_ways() {
        let all: Vec<u8> = (0..=255).collect();
        for form in [ByteaOutput::Hex, ByteaOutput::Escape] {
            let mut out = Vec::new();
            write(&all, form, &mut out);
            assert_eq!(read(std::str::from_utf8(&out).unwrap()).unwrap(), all);
        }
        let mut out = Vec::new();
        write(b"a\\\x00\xff", ByteaOutput::Escape, &mut out);
        assert_eq!(out, b"a\\\\\\000\\377");
        assert_eq!(read("\\x DE ad").unwrap(), [0xde, 0xad]);
        assert_eq!(read("abc").unwrap(), b"abc");
    }

    #[test]
    fn bad_bytea_is_refused() {
        assert_eq!(read("\\x1").unwrap_err().message, "invalid hexadecimal data: odd number of digits");
        assert_eq!(read("\\x1g").unwrap_err().message, "invalid hexadecimal digit: \"g\"");
        assert_eq!(read("\\8").unwrap_err().message, "invalid input syntax for type bytea");
        assert_eq!(read("a\\40").unwrap_err().sqlstate, "22P02");
    }
}
