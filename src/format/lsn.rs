//! `pg_lsn`: two hexadecimal halves of 64 bits, `16/B374D848`.

use std::fmt::Write as _;

use super::fault;
use crate::error::Diagnosis;

/// The canonical text.
pub fn text(value: u64) -> String {
    let mut out = String::with_capacity(17);
    // Writing to a String cannot fail.
    let _infallible = write!(out, "{:X}/{:X}", value >> 32, value & 0xffff_ffff);
    out
}

/// Reads two groups of one to eight hexadecimal digits.
///
/// # Errors
/// 22P02.
pub fn read(text: &str) -> Result<u64, Diagnosis> {
    let half = |digits: &str| {
        let is_valid = (1..=8).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_valid.then(|| u64::from_str_radix(digits, 16).ok()).flatten()
    };
    let parse = || {
        let (high, low) = text.split_once('/')?;
        Some((half(high)? << 32) | half(low)?)
    };
    parse().ok_or_else(|| fault::invalid("pg_lsn", text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_go_both_ways() {
        assert_eq!(text(read("16/b374d848").unwrap()), "16/B374D848");
        assert_eq!(text(read("0/0").unwrap()), "0/0");
        for input in ["", "1", "1/", "/1", "123456789/0", "g/0", "+1/0"] {
            assert_eq!(read(input).unwrap_err().sqlstate, "22P02", "{input}");
        }
    }
}
