//! `to_number`: the digits and the sign that a text has in the places of a template.

use crate::error::{Diagnosis, sqlstate};

use super::Node;
use super::number_picture::{Anchor, Mark, Picture};

/// What a text gave.
#[derive(Debug, PartialEq)]
pub(in super::super) struct Number {
    /// Sign or blank, digits, point, digits: the input of `numeric`.
    pub(in super::super) text: String,
    /// Digits that were read after the point.
    pub(in super::super) after: usize,
}

/// Reads a text by a template.
///
/// # Errors
/// 0A000 for templates that are only written.
pub(in super::super) fn read(picture: &Picture, text: &str) -> Result<Number, Diagnosis> {
    let refuse =
        |pattern: &str| Err(Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, format!("\"{pattern}\" not supported for input")));
    if picture.scientific {
        return refuse("EEEE");
    }
    if picture.roman {
        return refuse("RN");
    }
    let mut reader = Reader { picture, text, at: 0, sign: b' ', digits: Vec::new(), before: 0, after: 0, point: false };
    for node in &picture.nodes {
        if reader.at >= text.len() {
            break;
        }
        match node {
            Node::Pattern(mark) => reader.mark(*mark),
            // A letter of the template stands for any letter of the text.
            _ => reader.skip_letter(),
        }
    }
    Ok(reader.finish())
}

struct Reader<'t> {
    picture: &'t Picture,
    text: &'t str,
    /// The byte that is read next.
    at: usize,
    sign: u8,
    digits: Vec<u8>,
    before: usize,
    after: usize,
    point: bool,
}

impl Reader<'_> {
    fn byte(&self, at: usize) -> Option<u8> {
        self.text.as_bytes().get(at).copied()
    }

    fn skip_letter(&mut self) {
        let letter = self.text.get(self.at..).and_then(|rest| rest.chars().next());
        self.at += letter.map_or(1, char::len_utf8);
    }

    /// Skips letters that cannot be part of a number.
    fn skip_others(&mut self, most: usize) {
        for _ in 0..most {
            match self.byte(self.at) {
                Some(b'0'..=b'9' | b'.' | b',' | b'+' | b'-') | None => return,
                Some(_) => self.skip_letter(),
            }
        }
    }

    fn mark(&mut self, mark: Mark) {
        match mark {
            Mark::Digit | Mark::Zero | Mark::Point => {
                self.number_place(mark);
                self.at += 1;
            }
            // With `FM` a mark of thousands is not looked for.
            Mark::Comma | Mark::Group if !self.picture.fill && self.byte(self.at) == Some(b',') => self.at += 1,
            Mark::Currency => self.skip_others(1),
            Mark::Ordinal(_) if !self.picture.has_point => self.skip_others(2),
            Mark::Minus => self.sign_place(b"-"),
            Mark::Plus => self.sign_place(b"+"),
            Mark::Sign => self.sign_place(b"-+"),
            _ => {}
        }
    }

    fn sign_place(&mut self, signs: &[u8]) {
        match self.byte(self.at).filter(|byte| signs.contains(byte)) {
            Some(sign) => {
                self.sign = sign;
                self.at += 1;
            }
            None => self.skip_others(1),
        }
    }

    fn number_place(&mut self, mark: Mark) {
        if self.byte(self.at) == Some(b' ') {
            self.at += 1;
        }
        if self.sign == b' ' && mark != Mark::Point && self.before + self.after == 0 {
            self.sign_before();
        }
        let Some(byte) = self.byte(self.at) else { return };
        let mut is_read = false;
        if byte.is_ascii_digit() {
            if self.point && self.after == self.picture.after {
                return;
            }
            self.digits.push(byte);
            if self.point {
                self.after += 1;
            } else {
                self.before += 1;
            }
            is_read = true;
        } else if self.picture.has_point && !self.point && byte == b'.' {
            self.digits.push(byte);
            self.point = true;
            is_read = true;
        }
        if self.sign == b' ' && self.before + self.after > 0 {
            self.sign_after(is_read);
        }
    }

    fn sign_before(&mut self) {
        let anchored = self.picture.has_anchor && self.picture.anchor == Anchor::Before;
        match self.byte(self.at) {
            Some(b'-') => self.sign = b'-',
            Some(b'<') if self.picture.has_brackets && !anchored => self.sign = b'-',
            Some(b'+') => self.sign = b'+',
            _ => return,
        }
        self.at += 1;
    }

    /// An anchored sign stands right behind the last digit; other signs are found where a digit was looked for in vain.
    fn sign_after(&mut self, is_read: bool) {
        let anchored = self.picture.has_anchor && is_read;
        let loose = !is_read && !self.picture.has_anchor && (self.picture.has_plus || self.picture.has_minus);
        let place = if anchored { self.at + 1 } else { self.at };
        if let Some(sign @ (b'-' | b'+')) = self.byte(place).filter(|_| anchored || loose) {
            self.at = place;
            self.sign = sign;
        }
    }

    fn finish(self) -> Number {
        let mut text = vec![self.sign];
        text.extend(self.digits);
        if text.last() == Some(&b'.') {
            text.pop();
        }
        Number { text: String::from_utf8_lossy(&text).into_owned(), after: self.after }
    }
}
