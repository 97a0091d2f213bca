//! `to_char` of numbers: digits and signs laid into the places of a template.

use crate::error::Diagnosis;

use super::number_picture::{Anchor, Mark, Picture};
use super::{Node, ordinal};

/// A number as digits, ready to be laid out.
#[derive(Debug, Clone)]
pub(in super::super) struct Digits {
    pub(in super::super) negative: bool,
    /// Digits, with a point where there are digits after it; `NaN`, `Infinity`, a Roman numeral or marks of overflow.
    pub(in super::super) text: String,
}

/// The text of a number of the template's own precision: padded, or `#` where it has too many digits.
pub(in super::super) fn fitted(negative: bool, text: String, before: usize, after: usize) -> (Digits, usize) {
    let whole = text.find('.').unwrap_or(text.len());
    if whole > before {
        let text = format!("{}.{}", "#".repeat(before), "#".repeat(after));
        return (Digits { negative, text }, 0);
    }
    (Digits { negative, text }, before - whole)
}

/// The marks shown for a value that has no scientific form, and for those in general with their sign's blank.
pub(in super::super) fn no_scientific_form(before: usize, after: usize) -> String {
    let length = before + after + 6;
    (0..length)
        .map(|place| match place {
            0 => ' ',
            place if place == before + 1 => '.',
            _ => '#',
        })
        .collect()
}

/// A whole number as a Roman numeral, or marks beyond 3999.
pub(in super::super) fn roman(number: i64) -> String {
    const STEPS: [(i64, &str); 13] = [
        (1000, "M"),
        (900, "CM"),
        (500, "D"),
        (400, "CD"),
        (100, "C"),
        (90, "XC"),
        (50, "L"),
        (40, "XL"),
        (10, "X"),
        (9, "IX"),
        (5, "V"),
        (4, "IV"),
        (1, "I"),
    ];
    if !(1..=3999).contains(&number) {
        return "#".repeat(15);
    }
    let (mut rest, mut out) = (number, String::new());
    for (value, letters) in STEPS {
        while rest >= value {
            out.push_str(letters);
            rest -= value;
        }
    }
    out
}

/// Lays digits into a template. `blanks` are the places before the number that it does not fill; the picture's own count of
/// places includes what `V` added.
///
/// # Errors
/// 22P02 for an ordinal ending after something that is no number.
pub(in super::super) fn lay_out(mut picture: Picture, digits: &Digits, blanks: usize) -> Result<String, Diagnosis> {
    let nodes = std::mem::take(&mut picture.nodes);
    if picture.roman {
        // A numeral has no places and no sign.
        (picture.anchor, picture.before, picture.after, picture.before_anchor) = (Anchor::None, 0, 0, 0);
        (picture.has_zero, picture.has_point, picture.has_anchor, picture.has_minus) = (false, false, false, false);
        (picture.has_plus, picture.has_brackets, picture.has_blank) = (false, false, false);
    }
    let mut layout = Layout::new(picture, digits, blanks);
    for node in &nodes {
        match node {
            Node::Pattern(mark) => layout.mark(*mark)?,
            other => layout.out.extend(other.literal()),
        }
    }
    // PostgreSQL ends the text where it had no digit for a place: floats have fewer than a template may ask for.
    let end = layout.out.find('\0').unwrap_or(layout.out.len());
    layout.out.truncate(end);
    Ok(layout.out)
}

struct Layout<'d> {
    picture: Picture,
    digits: &'d [u8],
    negative: bool,
    blanks: usize,
    out: String,
    /// The next digit.
    next: usize,
    /// Places passed.
    place: usize,
    /// Whether the last place showed a digit, so that a comma after it is shown.
    inside: bool,
    sign_written: bool,
    /// Places in all, as the place of a closing sign is counted.
    places: usize,
    /// The last digit that is shown without padding.
    last: Option<usize>,
}

impl<'d> Layout<'d> {
    fn new(mut picture: Picture, digits: &'d Digits, blanks: usize) -> Self {
        let negative = digits.negative && !picture.roman;
        let blanks = if picture.roman { 0 } else { blanks };
        picture.zero_start = picture.zero_start.saturating_sub(1);
        let sign_written = if picture.has_plus || picture.has_minus {
            picture.has_minus
        } else {
            if !negative && picture.fill {
                picture.has_brackets = false;
            }
            if picture.anchor == Anchor::Before && picture.before == picture.before_anchor {
                picture.anchor = Anchor::After;
            }
            !negative && picture.fill && !picture.has_anchor
        };
        let mut layout = Self {
            digits: digits.text.as_bytes(),
            negative,
            blanks,
            out: String::new(),
            next: 0,
            place: 0,
            inside: false,
            sign_written,
            // One less than there are, so an empty template has less than none.
            places: picture.before + picture.after,
            last: None,
            picture,
        };
        layout.last = layout.last_relevant();
        if !layout.sign_written && layout.blanks == 0 {
            layout.places += 1;
        }
        layout
    }

    /// With `FM`, zeros at the end are cut off, but not below the last `0` of the template.
    fn last_relevant(&self) -> Option<usize> {
        if !self.picture.fill || !self.picture.has_point {
            return None;
        }
        let point = self.digits.iter().position(|byte| *byte == b'.')?;
        let digit = (point + 1..self.digits.len()).rev().find(|place| self.digits.get(*place).is_some_and(|byte| *byte != b'0'));
        let mut last = digit.unwrap_or(point);
        if self.picture.zero_end > self.blanks {
            let zero = (self.digits.len() - 1).min(self.picture.zero_end - self.blanks);
            last = last.max(zero);
        }
        Some(last)
    }

    fn digit(&self, place: usize) -> u8 {
        self.digits.get(place).copied().unwrap_or(0)
    }

    fn mark(&mut self, mark: Mark) -> Result<(), Diagnosis> {
        match mark {
            Mark::Digit | Mark::Zero | Mark::Point => self.number_place(mark),
            Mark::Comma | Mark::Group => {
                if self.inside {
                    self.out.push(',');
                } else if !self.picture.fill {
                    self.out.push(' ');
                }
            }
            // The locale C has no currency symbol.
            Mark::Currency => self.out.push(' '),
            Mark::Roman(upper) => {
                let text = String::from_utf8_lossy(self.digits.get(self.next..).unwrap_or_default()).into_owned();
                let text = if upper { text } else { text.to_ascii_lowercase() };
                let width = if self.picture.fill { 0 } else { 15 };
                self.out.push_str(&format!("{text:>width$}"));
            }
            Mark::Ordinal(upper) => {
                let silent = self.picture.roman || self.digit(0) == b'#' || self.negative || self.picture.has_point;
                if !silent {
                    self.out.push_str(ordinal(&String::from_utf8_lossy(self.digits), upper)?);
                }
            }
            Mark::Minus => self.sign_place(self.negative, '-'),
            Mark::Plus => self.sign_place(!self.negative && !self.picture.roman, '+'),
            Mark::Sign if self.picture.roman => self.out.push('\0'),
            Mark::Sign => self.out.push(if self.negative { '-' } else { '+' }),
            Mark::Anchored | Mark::Brackets | Mark::Shift | Mark::Scientific | Mark::Fill | Mark::Silent => {}
        }
        Ok(())
    }

    fn sign_place(&mut self, shown: bool, sign: char) {
        if shown {
            self.out.push(sign);
        } else if !self.picture.fill {
            self.out.push(' ');
        }
    }

    /// A zero before the point that the template has no place for: `0.5` by `9.9`.
    fn drops_leading_zero(&self) -> bool {
        !self.picture.has_zero && self.next == 0 && self.digit(0) == b'0' && self.picture.after != 0
    }

    fn ends_with_point(&self) -> bool {
        self.last.is_some_and(|last| self.digit(last) == b'.')
    }

    fn number_place(&mut self, mark: Mark) {
        if self.picture.roman {
            return;
        }
        self.inside = false;
        self.opening_sign();
        let zeros_begun = self.picture.has_zero && self.picture.zero_start <= self.place;
        if self.place < self.blanks {
            if zeros_begun {
                self.out.push('0');
                self.inside = true;
            } else if !self.picture.fill {
                self.out.push(' ');
            }
        } else {
            self.next_digit(mark);
        }
        self.closing_sign();
        self.place += 1;
    }

    fn opening_sign(&mut self) {
        let begins = self.place >= self.blanks || self.picture.has_zero && self.picture.zero_start == self.place;
        if self.sign_written || !begins || self.drops_leading_zero() && !self.ends_with_point() {
            return;
        }
        if self.picture.has_anchor {
            if self.picture.anchor == Anchor::Before {
                self.out.push(if self.negative { '-' } else { '+' });
                self.sign_written = true;
            }
            return;
        }
        match (self.picture.has_brackets, self.negative) {
            (true, true) => self.out.push('<'),
            (true, false) => self.out.push(' '),
            (false, true) => self.out.push('-'),
            (false, false) if !self.picture.fill => self.out.push(' '),
            (false, false) => {}
        }
        self.sign_written = true;
    }

    fn next_digit(&mut self, mark: Mark) {
        let digit = self.digit(self.next);
        if digit == b'.' {
            if !self.ends_with_point() || self.picture.fill {
                self.out.push('.');
            }
        } else if self.last.is_some_and(|last| self.next > last) && mark != Mark::Zero {
            // Cut off.
        } else if self.drops_leading_zero() {
            if !self.picture.fill {
                self.out.push(' ');
            } else if self.ends_with_point() {
                self.out.push('0');
            }
        } else {
            // Past the digits this is the mark at which `lay_out` ends the text.
            self.out.push(char::from(digit));
            self.inside = true;
        }
        if digit != 0 {
            self.next += 1;
        }
    }

    fn closing_sign(&mut self) {
        let mut end = self.places + usize::from(self.blanks > 0) + usize::from(self.picture.has_point);
        if self.last == Some(self.next) {
            end = self.place + 1;
        }
        // Both counts here are one greater than the places they name.
        if self.place + 2 != end {
            return;
        }
        if self.sign_written && self.picture.has_brackets {
            self.out.push(if self.negative { '>' } else { ' ' });
        } else if self.picture.has_anchor && self.picture.anchor == Anchor::After {
            self.out.push(if self.negative { '-' } else { '+' });
        }
    }
}
