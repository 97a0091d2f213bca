//! Reads a regular expression as PostgreSQL does (manual, "POSIX Regular Expressions"; regc_lex.c and regcomp.c).
//!
//! What PostgreSQL knows and is not computed here (back references, look-around, the older forms) is read to its end, so that
//! a mistake after it is told as one.

use std::cmp::Reverse;

use regex_syntax::hir::{ClassUnicode, ClassUnicodeRange, Look};

use crate::error::{Diagnosis, sqlstate};

use super::super::letters;
use super::bracket::{named, without_newline};
use super::node::Node;

/// How deep parentheses may stand inside each other.
const DEPTH_MAX: usize = 100;

/// Most bytes of a pattern.
const PATTERN_MAX: usize = 16_384;

/// Most letters in the ranges of a pattern without case.
const WALKED_MAX: usize = 4_000_000;

/// Most ranges of letters in the sets with a name that a pattern holds: two bytes of it may name hundreds.
const RANGES_MAX: usize = 500_000;

/// The most that `{m,n}` takes (`DUPMAX`).
const COUNT_MAX: u32 = 255;

/// How a pattern is read.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Options {
    /// Letters match in either case.
    pub(super) folds: bool,
    /// `.` and bracket negations stop at a newline.
    pub(super) stops_at_newline: bool,
    /// `^` and `$` match at lines.
    pub(super) has_lines: bool,
    /// White space and comments are skipped.
    pub(super) is_expanded: bool,
    /// The pattern is a plain text.
    pub(super) is_literal: bool,
    /// The pattern is of an older form, in which letters after a backslash are themselves.
    pub(super) is_older: bool,
}

impl Options {
    /// Takes a letter of an option list; `false` for one that is none.
    pub(super) fn take(&mut self, letter: char) -> bool {
        match letter {
            'i' => self.folds = true,
            'c' => self.folds = false,
            'n' | 'm' => (self.stops_at_newline, self.has_lines) = (true, true),
            'p' => (self.stops_at_newline, self.has_lines) = (true, false),
            's' => (self.stops_at_newline, self.has_lines) = (false, false),
            'w' => (self.stops_at_newline, self.has_lines) = (false, true),
            'x' => self.is_expanded = true,
            't' => self.is_expanded = false,
            'q' => self.is_literal = true,
            'b' | 'e' => self.is_older = true,
            _ => return false,
        }
        true
    }
}

/// 2201B as PostgreSQL words it.
pub(super) fn invalid(what: &str) -> Diagnosis {
    Diagnosis::new("2201B", format!("invalid regular expression: {what}"))
}

/// 0A000 for what PostgreSQL can do.
pub(super) fn unsupported(what: &str) -> Diagnosis {
    Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, format!("{what} in a regular expression is not supported yet"))
}

/// The tree of a pattern and how many groups it captures.
///
/// # Errors
/// 2201B for an invalid pattern, 0A000 for one that is not supported.
pub(super) fn parse(pattern: &str, mut options: Options) -> Result<(Node, u32), Diagnosis> {
    let mut rest = pattern;
    if !options.is_literal
        && let Some(after) = rest.strip_prefix("***")
    {
        options.is_literal = after.starts_with('=');
        // A director names the form of what follows.
        rest = after.strip_prefix(['=', ':']).ok_or_else(|| invalid("quantifier operand invalid"))?;
    }
    if !options.is_literal
        && let Some(after) = rest.strip_prefix("(?")
        && after.starts_with(|letter: char| letter.is_ascii_alphabetic())
    {
        let (letters, after) = after.split_once(')').ok_or_else(|| invalid("invalid embedded option"))?;
        if !letters.chars().all(|letter| options.take(letter)) {
            return Err(invalid("invalid embedded option"));
        }
        rest = after;
    }
    if rest.len() > PATTERN_MAX {
        return Err(unsupported("so much"));
    }
    let mut parser = Parser {
        letters: rest.chars().collect(),
        at: 0,
        options,
        groups: 0,
        closed: Vec::new(),
        refused: None,
        walked: 0,
        ranges: 0,
    };
    if options.is_literal {
        return Ok((Node::Concat(rest.chars().map(|letter| parser.letter(letter)).collect()), 0));
    }
    if options.is_older {
        return Err(unsupported("the option for basic or extended syntax"));
    }
    let node = parser.alternation(0)?;
    match parser.refused {
        Some(what) => Err(unsupported(what)),
        None => Ok((node, parser.groups)),
    }
}

/// What a backslash and what follows it mean.
pub(super) enum Escaped {
    Letter(char),
    Set(ClassUnicode),
    Look(Look),
    Back,
}

/// The state of reading.
pub(super) struct Parser {
    letters: Vec<char>,
    at: usize,
    pub(super) options: Options,
    groups: u32,
    /// Groups whose parenthesis is closed, which a back reference may name.
    closed: Vec<u32>,
    /// The first thing that is valid and not supported.
    pub(super) refused: Option<&'static str>,
    walked: usize,
    ranges: usize,
}

impl Parser {
    pub(super) fn peek(&self, ahead: usize) -> Option<char> {
        self.letters.get(self.at.saturating_add(ahead)).copied()
    }

    pub(super) fn advance(&mut self) -> Option<char> {
        let letter = self.peek(0)?;
        self.at += 1;
        Some(letter)
    }

    pub(super) fn eat(&mut self, text: &str) -> bool {
        let found = text.chars().enumerate().all(|(ahead, letter)| self.peek(ahead) == Some(letter));
        if found {
            self.at += text.chars().count();
        }
        found
    }

    fn refuse(&mut self, what: &'static str) {
        self.refused.get_or_insert(what);
    }

    /// Counts a range whose letters will be looked at one by one.
    ///
    /// # Errors
    /// 0A000 beyond [`WALKED_MAX`].
    pub(super) fn walk(&mut self, first: char, last: char) -> Result<(), Diagnosis> {
        if self.options.folds {
            self.walked = self.walked.saturating_add(usize::try_from(u32::from(last) - u32::from(first)).unwrap_or(usize::MAX));
        }
        if self.walked > WALKED_MAX { Err(unsupported("so much")) } else { Ok(()) }
    }

    /// Counts the ranges of a set with a name.
    ///
    /// # Errors
    /// 0A000 beyond [`RANGES_MAX`].
    pub(super) fn counted(&mut self, set: ClassUnicode) -> Result<ClassUnicode, Diagnosis> {
        self.ranges = self.ranges.saturating_add(set.ranges().len());
        if self.ranges > RANGES_MAX { Err(unsupported("so much")) } else { Ok(set) }
    }

    fn letter(&self, letter: char) -> Node {
        let mut set = ClassUnicode::empty();
        self.add(&mut set, letter, letter);
        Node::Letter(set)
    }

    /// Adds a range, in either case where case does not matter: letter by letter, not by Unicode's folding (`ſ` is no `s`).
    pub(super) fn add(&self, set: &mut ClassUnicode, first: char, last: char) {
        set.push(ClassUnicodeRange::new(first, last));
        if self.options.folds {
            let others = (first..=last).flat_map(|letter| {
                let cases = [letters::small(letter), letters::capital(letter)];
                cases.into_iter().filter(move |other| *other != letter)
            });
            set.union(&ClassUnicode::new(others.map(|other| ClassUnicodeRange::new(other, other))));
        }
    }

    fn alternation(&mut self, depth: usize) -> Result<Node, Diagnosis> {
        if depth > DEPTH_MAX {
            return Err(unsupported("so many parentheses inside each other"));
        }
        let first = self.branch(depth)?;
        let mut branches = vec![first];
        while self.eat("|") {
            branches.push(self.branch(depth)?);
        }
        // Their order shows in nothing but the length of what matches.
        if branches.iter().all(Node::is_plain) {
            branches.sort_by_key(|branch| Reverse(branch.width().0));
        }
        Ok(if branches.len() == 1 { branches.swap_remove(0) } else { Node::Alternation(branches) })
    }

    fn branch(&mut self, depth: usize) -> Result<Node, Diagnosis> {
        let mut parts = Vec::new();
        loop {
            self.skip();
            match self.peek(0) {
                None | Some('|') => break,
                Some(')') if depth > 0 => break,
                Some(_) => parts.push(self.quantified(depth)?),
            }
        }
        Ok(if parts.len() == 1 { parts.swap_remove(0) } else { Node::Concat(parts) })
    }

    /// Passes over comments, and over white space where it does not count.
    fn skip(&mut self) {
        loop {
            if self.eat("(?#") {
                while self.advance().is_some_and(|letter| letter != ')') {}
            } else if self.options.is_expanded && self.peek(0) == Some('#') {
                while self.advance().is_some_and(|letter| letter != '\n') {}
            } else if self.options.is_expanded && self.peek(0).is_some_and(char::is_whitespace) {
                self.at += 1;
            } else {
                return;
            }
        }
    }

    fn quantified(&mut self, depth: usize) -> Result<Node, Diagnosis> {
        let atom = self.atom(depth)?;
        // A quantifier after a place is an error, which the next atom tells.
        if matches!(atom, Node::Look(_)) {
            return Ok(atom);
        }
        self.skip();
        let (min, max, is_count) = match self.peek(0) {
            Some('*') => (0, None, false),
            Some('+') => (1, None, false),
            Some('?') => (0, Some(1), false),
            Some('{') if self.peek(1).is_some_and(|digit| digit.is_ascii_digit()) => self.bound()?,
            _ => return Ok(atom),
        };
        self.at += 1;
        let longest = Some(!self.eat("?")).filter(|_| !is_count);
        Ok(Node::Repeat { body: Box::new(atom), min, max, longest })
    }

    /// `{m}`, `{m,}` or `{m,n}` up to its closing brace, and whether it is the first of these.
    fn bound(&mut self) -> Result<(u32, Option<u32>, bool), Diagnosis> {
        self.at += 1;
        let min = self.count()?;
        let (max, is_count) = if self.eat(",") {
            let open = !self.peek(0).is_some_and(|digit| digit.is_ascii_digit());
            (if open { None } else { Some(self.count()?) }, false)
        } else {
            (Some(min), true)
        };
        match self.peek(0) {
            Some('}') if max.is_none_or(|max| min <= max) => Ok((min, max, is_count)),
            None => Err(invalid("braces {} not balanced")),
            Some(_) => Err(invalid("invalid repetition count(s)")),
        }
    }

    fn count(&mut self) -> Result<u32, Diagnosis> {
        let mut value = 0_u32;
        while let Some(digit) = self.peek(0).and_then(|digit| digit.to_digit(10)) {
            self.at += 1;
            value = value * 10 + digit;
            if value > COUNT_MAX {
                return Err(invalid("invalid repetition count(s)"));
            }
        }
        Ok(value)
    }

    fn atom(&mut self, depth: usize) -> Result<Node, Diagnosis> {
        let Some(letter) = self.advance() else { return Ok(Node::Concat(Vec::new())) };
        Ok(match letter {
            '(' => return self.parenthesis(depth),
            ')' => return Err(invalid("parentheses () not balanced")),
            '*' | '+' | '?' => return Err(invalid("quantifier operand invalid")),
            '{' if self.peek(0).is_some_and(|digit| digit.is_ascii_digit()) => return Err(invalid("quantifier operand invalid")),
            '[' => return self.bracket(),
            '.' => {
                let mut any = ClassUnicode::new([ClassUnicodeRange::new('\0', char::MAX)]);
                if self.options.stops_at_newline {
                    without_newline(&mut any);
                }
                Node::Letter(any)
            }
            '^' => Node::Look(if self.options.has_lines { Look::StartLF } else { Look::Start }),
            '$' => Node::Look(if self.options.has_lines { Look::EndLF } else { Look::End }),
            '\\' => match self.escape()? {
                Escaped::Letter(letter) => self.letter(letter),
                Escaped::Set(set) => Node::Letter(set),
                Escaped::Look(look) => Node::Look(look),
                Escaped::Back => {
                    self.refuse("a back reference");
                    Node::Concat(Vec::new())
                }
            },
            letter => self.letter(letter),
        })
    }

    fn parenthesis(&mut self, depth: usize) -> Result<Node, Diagnosis> {
        if self.eat("?") {
            if !self.eat(":") {
                if !["=", "!", "<=", "<!"].iter().any(|sign| self.eat(sign)) {
                    return Err(invalid("quantifier operand invalid"));
                }
                self.refuse("look-around");
                self.inside(depth)?;
                return Ok(Node::Look(Look::Start));
            }
            return self.inside(depth);
        }
        self.groups += 1;
        let index = self.groups;
        let inner = self.inside(depth)?;
        self.closed.push(index);
        Ok(Node::Group(index, Box::new(inner)))
    }

    fn inside(&mut self, depth: usize) -> Result<Node, Diagnosis> {
        let inner = self.alternation(depth + 1)?;
        if self.eat(")") { Ok(inner) } else { Err(invalid("parentheses () not balanced")) }
    }

    /// What follows a backslash.
    pub(super) fn escape(&mut self) -> Result<Escaped, Diagnosis> {
        let bad = || invalid("invalid escape \\ sequence");
        let letter = self.advance().ok_or_else(bad)?;
        Ok(match letter {
            'a' => Escaped::Letter('\u{7}'),
            'b' => Escaped::Letter('\u{8}'),
            'B' => Escaped::Letter('\\'),
            'e' => Escaped::Letter('\u{1b}'),
            'f' => Escaped::Letter('\u{c}'),
            'n' => Escaped::Letter('\n'),
            'r' => Escaped::Letter('\r'),
            't' => Escaped::Letter('\t'),
            'v' => Escaped::Letter('\u{b}'),
            'c' => {
                let control = self.advance().ok_or_else(bad)?;
                Escaped::Letter(char::from_u32(u32::from(control) & 0x1f).ok_or_else(bad)?)
            }
            'd' | 'D' | 's' | 'S' | 'w' | 'W' => Escaped::Set(self.counted(named(letter))?),
            'A' => Escaped::Look(Look::Start),
            'Z' => Escaped::Look(Look::End),
            'm' => Escaped::Look(Look::WordStartUnicode),
            'M' => Escaped::Look(Look::WordEndUnicode),
            'y' => Escaped::Look(Look::WordUnicode),
            'Y' => Escaped::Look(Look::WordUnicodeNegate),
            'u' => self.code(4, 4, 16)?,
            'U' => self.code(8, 8, 16)?,
            'x' => self.code(1, 255, 16)?,
            '0' => self.octal()?,
            '1'..='9' => self.reference(letter)?,
            letter if letter.is_ascii_alphanumeric() => return Err(bad()),
            letter => Escaped::Letter(letter),
        })
    }

    /// `\0`, `\0x` and `\0xy`.
    fn octal(&mut self) -> Result<Escaped, Diagnosis> {
        self.at = self.at.saturating_sub(1);
        self.code(1, 3, 8)
    }

    /// A back reference, or an octal number where there are several digits and not so many groups.
    fn reference(&mut self, first: char) -> Result<Escaped, Diagnosis> {
        let start = self.at;
        let mut value = first.to_digit(10).unwrap_or(0);
        while let Some(digit) = self.peek(0).and_then(|digit| digit.to_digit(10)) {
            self.at += 1;
            value = value.saturating_mul(10).saturating_add(digit);
        }
        if self.at == start || value <= self.groups {
            return if self.closed.contains(&value) { Ok(Escaped::Back) } else { Err(invalid("invalid backreference number")) };
        }
        self.at = start.saturating_sub(1);
        self.code(1, 3, 8)
    }

    /// A character by its number.
    fn code(&mut self, least: usize, most: usize, base: u32) -> Result<Escaped, Diagnosis> {
        let (mut value, mut digits) = (0_u32, 0);
        while digits < most
            && let Some(digit) = self.peek(0).and_then(|digit| digit.to_digit(base))
        {
            self.at += 1;
            digits += 1;
            value = value.saturating_mul(base).saturating_add(digit);
        }
        match char::from_u32(value) {
            Some(letter) if digits >= least => Ok(Escaped::Letter(letter)),
            _ => Err(invalid("invalid escape \\ sequence")),
        }
    }
}
