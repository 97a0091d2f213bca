//! What a number template asks for: places before and after the point, where signs stand, and which patterns exclude others.

use crate::error::{Diagnosis, sqlstate};

use super::{Node, split};

/// A pattern of a number template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Mark {
    /// `9`: a digit, or nothing.
    Digit,
    /// `0`: a digit, also where the number has none.
    Zero,
    /// `.` or `D`.
    Point,
    Comma,
    /// `G`
    Group,
    /// `L`
    Currency,
    /// `MI`
    Minus,
    /// `PL`
    Plus,
    /// `SG`
    Sign,
    /// `PR`
    Brackets,
    /// `S`
    Anchored,
    /// `RN` (true) or `rn` (false).
    Roman(bool),
    /// `TH` (true) or `th` (false).
    Ordinal(bool),
    /// `V`: digits after it multiply.
    Shift,
    /// `EEEE`
    Scientific,
    /// `FM`
    Fill,
    /// `B`, `C`, `SP`: read and without effect here.
    Silent,
}

const ROWS: &[(&str, Mark)] = &[
    (",", Mark::Comma),
    (".", Mark::Point),
    ("0", Mark::Zero),
    ("9", Mark::Digit),
    ("B", Mark::Silent),
    ("C", Mark::Silent),
    ("D", Mark::Point),
    ("EEEE", Mark::Scientific),
    ("FM", Mark::Fill),
    ("G", Mark::Group),
    ("L", Mark::Currency),
    ("MI", Mark::Minus),
    ("PL", Mark::Plus),
    ("PR", Mark::Brackets),
    ("RN", Mark::Roman(true)),
    ("SG", Mark::Sign),
    ("SP", Mark::Silent),
    ("S", Mark::Anchored),
    ("TH", Mark::Ordinal(true)),
    ("V", Mark::Shift),
];

/// Where an anchored sign stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Anchor {
    None,
    Before,
    After,
}

/// The template and what it asks for.
#[derive(Debug, Clone)]
pub(in super::super) struct Picture {
    pub(super) nodes: Vec<Node<Mark>>,
    /// Digits before the point.
    pub(in super::super) before: usize,
    /// Digits after the point.
    pub(in super::super) after: usize,
    /// Digits after `V`.
    pub(in super::super) shift: usize,
    /// The place of the first `0`, from 1; 0 without one before the point.
    pub(super) zero_start: usize,
    /// The place of the last `0`.
    pub(super) zero_end: usize,
    /// Digits before an anchored sign.
    pub(super) before_anchor: usize,
    pub(super) anchor: Anchor,
    pub(super) has_zero: bool,
    pub(super) has_blank: bool,
    pub(super) has_point: bool,
    pub(super) has_anchor: bool,
    pub(super) has_minus: bool,
    pub(super) has_plus: bool,
    pub(super) has_brackets: bool,
    pub(in super::super) has_shift: bool,
    pub(super) fill: bool,
    pub(in super::super) roman: bool,
    pub(in super::super) scientific: bool,
}

fn fault(message: &str) -> Diagnosis {
    Diagnosis::new(sqlstate::SYNTAX_ERROR, message)
}

impl Picture {
    /// Reads a template.
    ///
    /// # Errors
    /// 42601 for patterns that exclude each other.
    pub(in super::super) fn read(template: &str) -> Result<Self, Diagnosis> {
        let mut picture = Self {
            nodes: Vec::new(),
            before: 0,
            after: 0,
            shift: 0,
            zero_start: 0,
            zero_end: 0,
            before_anchor: 0,
            anchor: Anchor::None,
            has_zero: false,
            has_blank: false,
            has_point: false,
            has_anchor: false,
            has_minus: false,
            has_plus: false,
            has_brackets: false,
            has_shift: false,
            fill: false,
            roman: false,
            scientific: false,
        };
        picture.nodes = split(
            template,
            |_| false,
            |text| {
                let found = ROWS.iter().find_map(|(name, mark)| {
                    if text.starts_with(name) {
                        return Some((name.len(), *mark));
                    }
                    let small = name.bytes().any(|byte| byte.is_ascii_uppercase()) && text.starts_with(&name.to_ascii_lowercase());
                    let small_mark = match mark {
                        Mark::Roman(_) => Mark::Roman(false),
                        Mark::Ordinal(_) => Mark::Ordinal(false),
                        other => *other,
                    };
                    small.then_some((name.len(), small_mark))
                });
                let Some((length, mark)) = found else { return Ok((0, None)) };
                picture.add(mark, text)?;
                Ok((length, Some(mark)))
            },
        )?;
        Ok(picture)
    }

    fn add(&mut self, mark: Mark, text: &str) -> Result<(), Diagnosis> {
        if self.scientific && mark != Mark::Scientific {
            return Err(fault("\"EEEE\" must be the last pattern used"));
        }
        match mark {
            Mark::Digit | Mark::Zero => self.add_digit(mark)?,
            Mark::Silent if text.starts_with(['B', 'b']) => {
                self.has_blank |= self.before == 0 && self.after == 0 && !self.has_zero;
            }
            Mark::Point => {
                if self.has_point {
                    return Err(fault("multiple decimal points"));
                }
                if self.has_shift {
                    return Err(fault("cannot use \"V\" and decimal point together"));
                }
                self.has_point = true;
            }
            Mark::Fill => self.fill = true,
            Mark::Anchored | Mark::Minus | Mark::Plus | Mark::Sign | Mark::Brackets => self.add_sign(mark)?,
            Mark::Roman(_) => self.roman = true,
            Mark::Shift => {
                if self.has_point {
                    return Err(fault("cannot use \"V\" and decimal point together"));
                }
                self.has_shift = true;
            }
            Mark::Scientific => {
                if self.scientific {
                    return Err(fault("cannot use \"EEEE\" twice"));
                }
                let others = self.has_blank || self.fill || self.has_anchor || self.has_brackets || self.has_minus;
                if others || self.has_plus || self.roman || self.has_shift {
                    let detail = "\"EEEE\" may only be used together with digit and decimal point patterns.";
                    return Err(fault("\"EEEE\" is incompatible with other formats").with_detail(detail));
                }
                self.scientific = true;
            }
            Mark::Comma | Mark::Group | Mark::Currency | Mark::Ordinal(_) | Mark::Silent => {}
        }
        Ok(())
    }

    fn add_digit(&mut self, mark: Mark) -> Result<(), Diagnosis> {
        if self.has_brackets {
            let digit = if mark == Mark::Zero { '0' } else { '9' };
            return Err(fault(&format!("\"{digit}\" must be ahead of \"PR\"")));
        }
        if mark == Mark::Digit {
            match (self.has_shift, self.has_point) {
                (true, _) => self.shift += 1,
                (_, true) => self.after += 1,
                _ => self.before += 1,
            }
            return Ok(());
        }
        if !self.has_zero && !self.has_point {
            self.has_zero = true;
            self.zero_start = self.before + 1;
        }
        if self.has_point {
            self.after += 1;
        } else {
            self.before += 1;
        }
        self.zero_end = self.before + self.after;
        Ok(())
    }

    fn add_sign(&mut self, mark: Mark) -> Result<(), Diagnosis> {
        match mark {
            Mark::Anchored => {
                if self.has_anchor {
                    return Err(fault("cannot use \"S\" twice"));
                }
                if self.has_plus || self.has_minus || self.has_brackets {
                    return Err(fault("cannot use \"S\" and \"PL\"/\"MI\"/\"SG\"/\"PR\" together"));
                }
                if self.has_point {
                    self.anchor = Anchor::After;
                } else {
                    self.anchor = Anchor::Before;
                    self.before_anchor = self.before;
                }
                self.has_anchor = true;
            }
            Mark::Brackets => {
                if self.has_anchor || self.has_plus || self.has_minus {
                    return Err(fault("cannot use \"PR\" and \"S\"/\"PL\"/\"MI\"/\"SG\" together"));
                }
                self.has_brackets = true;
            }
            _ if self.has_anchor => {
                let name = match mark {
                    Mark::Minus => "MI",
                    Mark::Plus => "PL",
                    _ => "SG",
                };
                return Err(fault(&format!("cannot use \"S\" and \"{name}\" together")));
            }
            _ => {
                self.has_minus |= mark != Mark::Plus;
                self.has_plus |= mark != Mark::Minus;
            }
        }
        Ok(())
    }
}
