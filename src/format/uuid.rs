//! `uuid`: 16 bytes in binary, lower-case dashed text out, and the liberal text forms of the manual (§8.12) in.

use bytes::BufMut;

use super::{bytea, fault};
use crate::error::Diagnosis;

/// Writes `a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11`.
pub fn write(value: &[u8; 16], out: &mut impl BufMut) {
    let mut rest = value.as_slice();
    for (place, length) in [4, 2, 2, 2, 6].into_iter().enumerate() {
        if place > 0 {
            out.put_u8(b'-');
        }
        let (part, tail) = rest.split_at_checked(length).unwrap_or((rest, &[]));
        bytea::write_hex(part, out);
        rest = tail;
    }
}

/// Reads 32 hexadecimal digits, with a dash allowed after each group of four and braces around the whole.
///
/// # Errors
/// 22P02.
pub fn read(text: &str) -> Result<[u8; 16], Diagnosis> {
    parse(text).ok_or_else(|| fault::invalid("uuid", text))
}

fn parse(text: &str) -> Option<[u8; 16]> {
    let inner = match text.strip_prefix('{') {
        Some(rest) => rest.strip_suffix('}')?,
        None => text,
    };
    let mut rest = inner.as_bytes();
    let mut value = [0u8; 16];
    for (place, slot) in value.iter_mut().enumerate() {
        // A dash may follow every second byte, but not open the text.
        if place > 0 && place % 2 == 0 {
            rest = rest.strip_prefix(b"-").unwrap_or(rest);
        }
        let (pair, tail) = rest.split_first_chunk::<2>()?;
        let [high, low] = *pair;
        *slot = (bytea::hex_value(high)? << 4) | bytea::hex_value(low)?;
        rest = tail;
    }
    rest.is_empty().then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_the_manual_are_read() {
        let canonical = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11";
        for text in [
            canonical,
            "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11",
            "{a0eebc99-9c0b4ef8-bb6d6bb9-bd380a11}",
            "a0eebc999c0b4ef8bb6d6bb9bd380a11",
            "a0ee-bc99-9c0b-4ef8-bb6d-6bb9-bd38-0a11",
        ] {
            let mut out = Vec::new();
            write(&read(text).unwrap(), &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), canonical);
        }
        for text in [
            "",
            "a0eebc99",
            "-a0eebc999c0b4ef8bb6d6bb9bd380a11",
            "a0eebc999c0b4ef8bb6d6bb9bd380a1g",
            "{a0eebc999c0b4ef8bb6d6bb9bd380a11",
            "a0eebc999c0b4ef8bb6d6bb9bd380a11 ",
        ] {
            assert_eq!(read(text).unwrap_err().sqlstate, "22P02", "{text}");
        }
    }
}
