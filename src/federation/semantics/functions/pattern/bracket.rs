//! Bracket expressions and the sets that have a name.

use regex_syntax::hir::{Class, ClassUnicode, ClassUnicodeRange, Hir, HirKind, Look};

use crate::error::Diagnosis;

use super::node::Node;
use super::parse::{Escaped, Parser, invalid};

/// A member of a bracket expression.
enum Member {
    Letter(char),
    Set(ClassUnicode),
}

impl Parser {
    /// What follows `[`.
    pub(super) fn bracket(&mut self) -> Result<Node, Diagnosis> {
        if self.eat("[:<:]]") {
            return Ok(Node::Look(Look::WordStartUnicode));
        }
        if self.eat("[:>:]]") {
            return Ok(Node::Look(Look::WordEndUnicode));
        }
        let is_negated = self.eat("^");
        let mut set = ClassUnicode::empty();
        let mut is_first = true;
        loop {
            if !is_first && self.eat("]") {
                break;
            }
            // A minus that is neither first nor last makes a range, and here there is nothing before it.
            if !is_first && self.peek(0) == Some('-') && self.peek(1) != Some(']') {
                return Err(invalid("invalid character range"));
            }
            is_first = false;
            match self.member()? {
                Member::Set(members) => set.union(&members),
                Member::Letter(first) if self.peek(0) == Some('-') && self.peek(1) != Some(']') => {
                    self.advance();
                    match self.member()? {
                        Member::Letter(last) if first <= last => {
                            self.walk(first, last)?;
                            self.add(&mut set, first, last);
                        }
                        _ => return Err(invalid("invalid character range")),
                    }
                }
                Member::Letter(letter) => self.add(&mut set, letter, letter),
            }
        }
        if is_negated {
            set.negate();
            if self.options.stops_at_newline {
                without_newline(&mut set);
            }
        }
        Ok(Node::Letter(set))
    }

    fn member(&mut self) -> Result<Member, Diagnosis> {
        let open = || invalid("brackets [] not balanced");
        let letter = self.advance().ok_or_else(open)?;
        match (letter, self.peek(0)) {
            ('\\', _) => match self.escape()? {
                Escaped::Letter(letter) => Ok(Member::Letter(letter)),
                Escaped::Set(set) => Ok(Member::Set(set)),
                Escaped::Look(_) | Escaped::Back => Err(invalid("invalid escape \\ sequence")),
            },
            ('[', Some(kind @ ('.' | '=' | ':'))) => {
                self.advance();
                let mut name = String::new();
                while !(self.peek(0) == Some(kind) && self.peek(1) == Some(']')) {
                    name.push(self.advance().ok_or_else(open)?);
                }
                self.advance();
                self.advance();
                self.called(kind, &name)
            }
            (letter, _) => Ok(Member::Letter(letter)),
        }
    }

    /// `[:name:]`, `[.name.]` and `[=name=]`.
    fn called(&mut self, kind: char, name: &str) -> Result<Member, Diagnosis> {
        if kind == ':' {
            let name = if self.options.folds && matches!(name, "upper" | "lower") { "alpha" } else { name };
            let text = class(name).ok_or_else(|| invalid("invalid character class"))?;
            return self.counted(set(text)).map(Member::Set);
        }
        let mut letters = name.chars();
        match (letters.next(), letters.next()) {
            (Some(letter), None) => Ok(Member::Letter(letter)),
            (None, _) => Err(invalid("invalid collating element")),
            _ => {
                self.refused.get_or_insert("the name of a collating element");
                Ok(Member::Letter('\0'))
            }
        }
    }
}

/// `\d` and its like.
pub(super) fn named(letter: char) -> ClassUnicode {
    set(match letter {
        'd' => r"\d",
        'D' => r"\D",
        's' => r"\s",
        'S' => r"\S",
        'w' => r"\w",
        _ => r"\W",
    })
}

/// Takes the newline out of a set.
pub(super) fn without_newline(set: &mut ClassUnicode) {
    set.difference(&ClassUnicode::new([ClassUnicodeRange::new('\n', '\n')]));
}

/// The sets of the character type `C.UTF-8`: digits of other scripts count as letters.
fn class(name: &str) -> Option<&'static str> {
    Some(match name {
        "alpha" => r"[\p{Alphabetic}\p{Nd}--0-9]",
        "alnum" => r"[\p{Alphabetic}\p{Nd}]",
        "upper" => r"\p{Uppercase}",
        "lower" => r"\p{Lowercase}",
        "space" => r"\s",
        "word" => r"\w",
        "digit" => "[0-9]",
        "xdigit" => "[0-9A-Fa-f]",
        "blank" => r"[ \t]",
        "ascii" => r"[\x00-\x7f]",
        "cntrl" => r"[[:cntrl:]]",
        "graph" => r"[[:graph:]]",
        "print" => r"[[:print:]]",
        "punct" => r"[[:punct:]]",
        _ => return None,
    })
}

fn set(text: &str) -> ClassUnicode {
    match regex_syntax::parse(text).map(Hir::into_kind) {
        Ok(HirKind::Class(Class::Unicode(set))) => set,
        _ => ClassUnicode::empty(),
    }
}
