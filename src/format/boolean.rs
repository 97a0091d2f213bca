//! `boolean` as text: `t` and `f` out, every spelling of the manual (§8.6) in.

use bytes::BufMut;

use super::fault;
use crate::error::Diagnosis;

/// Writes `t` or `f`.
pub fn write(value: bool, out: &mut impl BufMut) {
    out.put_u8(if value { b't' } else { b'f' });
}

/// Reads any unambiguous prefix of true, false, yes, no, on, off, and 1 or 0, in any case.
///
/// # Errors
/// 22P02.
pub fn read(text: &str) -> Result<bool, Diagnosis> {
    let word = fault::trim(text).to_ascii_lowercase();
    let is_prefix = |full: &str, least: usize| word.len() >= least && full.starts_with(&word);
    if word == "1" || is_prefix("true", 1) || is_prefix("yes", 1) || word == "on" {
        Ok(true)
    } else if word == "0" || is_prefix("false", 1) || is_prefix("no", 1) || is_prefix("off", 2) {
        Ok(false)
    } else {
        Err(fault::invalid("boolean", text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_and_no_other_is_read() {
        for text in ["t", "TRUE", "tru", " y ", "yes", "on", "1", "\tTrue\n"] {
            assert_eq!(read(text).ok(), Some(true), "{text}");
        }
        for text in ["f", "False", "fal", "n", "NO", "off", "of", "0"] {
            assert_eq!(read(text).ok(), Some(false), "{text}");
        }
        for text in ["", "o", "2", "truee", "10", "yess", "t f"] {
            let error = read(text).unwrap_err();
            assert_eq!(error.sqlstate, "22P02", "{text}");
            assert_eq!(error.message, format!("invalid input syntax for type boolean: \"{text}\""));
        }
    }
}
