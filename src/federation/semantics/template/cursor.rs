//! A text that is read from its start: blanks, marks, numbers and words, with the strictness of `FX` or without it.

use crate::error::{Diagnosis, sqlstate};

use super::date_keys::Pattern;
use super::{is_blank, is_separator};

/// The rest of a text.
pub(super) struct Cursor<'t> {
    pub(super) rest: &'t str,
    /// The letter before the rest.
    pub(super) before: Option<char>,
    /// Blanks and marks read beyond those of the template.
    pub(super) skipped: i64,
    /// Whether the template begins with `FX`.
    pub(super) strict: bool,
}

impl<'t> Cursor<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { rest: text, before: None, skipped: 0, strict: false }
    }

    pub(super) fn advance(&mut self) {
        let mut letters = self.rest.chars();
        self.before = letters.next().or(self.before);
        self.rest = letters.as_str();
    }

    pub(super) fn skip_blanks(&mut self) {
        while self.rest.starts_with(is_blank) {
            self.advance();
            self.skipped += 1;
        }
    }

    pub(super) fn separator(&mut self) {
        if self.strict {
            self.advance();
            return;
        }
        self.skipped -= 1;
        if self.rest.starts_with(|letter| is_blank(letter) || is_separator(letter)) {
            self.advance();
            self.skipped += 1;
        }
    }

    /// A letter of the template stands for any letter of the text, or for a blank that was skipped before.
    pub(super) fn letter(&mut self) {
        if !self.strict && self.skipped > 0 {
            self.skipped -= 1;
        } else {
            self.advance();
        }
    }

    /// A number and how many bytes it took, with blanks. `free` numbers end where digits end, others have a fixed width.
    pub(super) fn integer(&mut self, pattern: &Pattern, width: usize, free: bool) -> Result<(i64, usize), Diagnosis> {
        let start = self.rest;
        while self.rest.starts_with(is_blank) {
            self.advance();
        }
        let shown: String = self.rest.chars().take(width).collect();
        let (value, used) = if free {
            leading_integer(self.rest)
        } else {
            let present = self.rest.len();
            if present < width {
                let message = format!("source string too short for \"{}\" formatting field", pattern.name);
                let detail = format!("Field requires {width} characters, but only {present} remain.");
                return Err(bad(message).with_detail(detail).with_hint(FIXED_WIDTH_HINT));
            }
            let window = self.rest.get(..width).unwrap_or(&shown);
            let (value, used) = leading_integer(window);
            if used > 0 && used < width {
                let detail = format!("Field requires {width} characters, but only {used} could be parsed.");
                return Err(invalid(&shown, pattern).with_detail(detail).with_hint(FIXED_WIDTH_HINT));
            }
            (value, used)
        };
        if used == 0 {
            return Err(invalid(&shown, pattern).with_detail("Value must be an integer."));
        }
        for _ in 0..used {
            self.advance();
        }
        let value = value.filter(|value| i32::try_from(*value).is_ok()).ok_or_else(|| {
            let message = format!("value for \"{}\" in source string is out of range", pattern.name);
            let detail = format!("Value must be in the range {} to {}.", i32::MIN, i32::MAX);
            Diagnosis::new(sqlstate::DATETIME_FIELD_OVERFLOW, message).with_detail(detail)
        })?;
        Ok((value, start.len() - self.rest.len()))
    }

    /// The place of the first word, in any case, with which the rest begins.
    pub(super) fn choice<'w>(&mut self, pattern: &Pattern, words: impl Iterator<Item = &'w str>) -> Result<i64, Diagnosis> {
        for (place, word) in (0_i64..).zip(words) {
            if self.rest.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word)) {
                for _ in 0..word.len() {
                    self.advance();
                }
                return Ok(place);
            }
        }
        let shown: String = self.rest.chars().take_while(|letter| !is_blank(*letter)).collect();
        Err(invalid(&shown, pattern).with_detail("The given value did not match any of the allowed values for this field."))
    }
}

const FIXED_WIDTH_HINT: &str = "If your source string is not fixed-width, try using the \"FM\" modifier.";

/// 22007
pub(super) fn bad(message: impl Into<String>) -> Diagnosis {
    Diagnosis::new(sqlstate::INVALID_DATETIME_FORMAT, message)
}

fn invalid(shown: &str, pattern: &Pattern) -> Diagnosis {
    bad(format!("invalid value \"{shown}\" for \"{}\"", pattern.name))
}

/// The number at the start of a text, after blanks and with a sign, and how many bytes it takes; no number takes none. The
/// value is missing when it is beyond 64 bits.
pub(super) fn leading_integer(text: &str) -> (Option<i64>, usize) {
    let blanks = text.len() - text.trim_start_matches(is_blank).len();
    let unsigned = text.trim_start_matches(is_blank);
    let sign = usize::from(unsigned.starts_with(['+', '-']));
    let digits = unsigned.bytes().skip(sign).take_while(u8::is_ascii_digit).count();
    if digits == 0 {
        return (None, 0);
    }
    let end = sign + digits;
    (unsigned.get(..end).and_then(|number| number.parse().ok()), blanks + end)
}
