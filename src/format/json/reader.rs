//! A strict JSON reader (RFC 8259) that keeps numbers as text, so that no digit is lost.

use crate::error::{Diagnosis, sqlstate};

/// Deepest nesting that is read. The reader recurses, and a hostile text must not exhaust the stack.
const DEPTH_MAX: usize = 500;

/// One value with everything below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number as it is written.
    Number(String),
    /// A string without its escapes.
    Text(String),
    /// An array.
    Array(Vec<Node>),
    /// An object: its members as they are written, repeated names too.
    Object(Vec<(String, Node)>),
}

/// One level of a value: the parts of a container are the text between their first and last letters.
#[derive(Debug)]
pub enum Outline<'t> {
    /// No container.
    Scalar(Node),
    /// The elements of an array.
    Array(Vec<&'t str>),
    /// The members of an object, repeated names too.
    Object(Vec<(String, &'t str)>),
}

/// Whether strings are decoded, which `json` does not need and where it is more liberal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    Shape,
    Values,
}

/// Reads one value with nothing but blanks around it.
pub(super) fn read(text: &str, keep: Keep) -> Result<Node, Diagnosis> {
    let mut reader = Reader { rest: text, keep };
    let node = reader.value(0)?;
    reader.skip_blanks();
    if reader.rest.is_empty() { Ok(node) } else { Err(reader.refuse()) }
}

/// Reads one level of a value with nothing but blanks around it. What is below is checked as well.
pub(super) fn outline(text: &str) -> Result<Outline<'_>, Diagnosis> {
    let mut reader = Reader { rest: text, keep: Keep::Values };
    reader.skip_blanks();
    let outline = match reader.rest.chars().next() {
        Some('{') => Outline::Object(reader.members(|reader| reader.part())?),
        Some('[') => Outline::Array(reader.elements(|reader| reader.part())?),
        _ => Outline::Scalar(reader.value(0)?),
    };
    reader.skip_blanks();
    if reader.rest.is_empty() { Ok(outline) } else { Err(reader.refuse()) }
}

struct Reader<'t> {
    rest: &'t str,
    keep: Keep,
}

impl<'t> Reader<'t> {
    fn refuse(&self) -> Diagnosis {
        let error = Diagnosis::new(sqlstate::INVALID_TEXT_REPRESENTATION, "invalid input syntax for type json");
        let word: String = self.rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').take(40).collect();
        match (word.is_empty(), self.rest.chars().next()) {
            (false, _) => error.with_detail(format!("Token \"{word}\" is invalid.")),
            (true, Some(mark)) => error.with_detail(format!("Token \"{mark}\" is invalid.")),
            (true, None) => error.with_detail("The input string ended unexpectedly."),
        }
    }

    fn skip_blanks(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
    }

    /// Takes `mark` after blanks, if it comes next.
    fn takes(&mut self, mark: char) -> bool {
        self.skip_blanks();
        let Some(tail) = self.rest.strip_prefix(mark) else { return false };
        self.rest = tail;
        true
    }

    fn value(&mut self, depth: usize) -> Result<Node, Diagnosis> {
        if depth > DEPTH_MAX {
            let error = Diagnosis::new(sqlstate::STATEMENT_TOO_COMPLEX, "stack depth limit exceeded");
            return Err(error.with_detail(format!("JSON may nest {DEPTH_MAX} levels deep.")));
        }
        self.skip_blanks();
        match self.rest.chars().next() {
            Some('{') => self.object(depth),
            Some('[') => self.array(depth),
            Some('"') => self.string().map(Node::Text),
            Some('-' | '0'..='9') => self.number(),
            _ => self.word(),
        }
    }

    fn word(&mut self) -> Result<Node, Diagnosis> {
        let length = self.rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(self.rest.len());
        let (word, tail) = self.rest.split_at_checked(length).unwrap_or((self.rest, ""));
        let node = match word {
            "null" => Node::Null,
            "true" => Node::Bool(true),
            "false" => Node::Bool(false),
            _ => return Err(self.refuse()),
        };
        self.rest = tail;
        Ok(node)
    }

    fn number(&mut self) -> Result<Node, Diagnosis> {
        let length =
            self.rest.find(|c: char| !(c.is_alphanumeric() || matches!(c, '+' | '-' | '.' | '_'))).unwrap_or(self.rest.len());
        let (word, tail) = self.rest.split_at_checked(length).unwrap_or((self.rest, ""));
        if !is_number(word) {
            return Err(self.refuse());
        }
        let text = if self.keep == Keep::Values { word.to_owned() } else { String::new() };
        self.rest = tail;
        Ok(Node::Number(text))
    }

    fn array(&mut self, depth: usize) -> Result<Node, Diagnosis> {
        self.elements(|reader| reader.value(depth + 1)).map(Node::Array)
    }

    fn object(&mut self, depth: usize) -> Result<Node, Diagnosis> {
        self.members(|reader| reader.value(depth + 1)).map(Node::Object)
    }

    /// The text of the next value, which stands one level deep.
    fn part(&mut self) -> Result<&'t str, Diagnosis> {
        self.skip_blanks();
        let before = self.rest;
        self.value(1)?;
        Ok(before.get(..before.len() - self.rest.len()).unwrap_or_default())
    }

    fn elements<T>(&mut self, mut read: impl FnMut(&mut Self) -> Result<T, Diagnosis>) -> Result<Vec<T>, Diagnosis> {
        self.takes('[');
        let mut items = Vec::new();
        if self.takes(']') {
            return Ok(items);
        }
        loop {
            items.push(read(self)?);
            if self.takes(']') {
                return Ok(items);
            }
            if !self.takes(',') {
                return Err(self.refuse());
            }
        }
    }

    fn members<T>(&mut self, mut read: impl FnMut(&mut Self) -> Result<T, Diagnosis>) -> Result<Vec<(String, T)>, Diagnosis> {
        self.takes('{');
        let mut entries = Vec::new();
        if self.takes('}') {
            return Ok(entries);
        }
        loop {
            self.skip_blanks();
            let key = self.string()?;
            if !self.takes(':') {
                return Err(self.refuse());
            }
            entries.push((key, read(self)?));
            if self.takes('}') {
                return Ok(entries);
            }
            if !self.takes(',') {
                return Err(self.refuse());
            }
        }
    }

    fn string(&mut self) -> Result<String, Diagnosis> {
        let Some(mut rest) = self.rest.strip_prefix('"') else { return Err(self.refuse()) };
        let mut decoded = String::new();
        loop {
            let Some(at) = rest.find(|c: char| c == '"' || c == '\\' || c < ' ') else { return Err(self.refuse()) };
            let (plain, tail) = rest.split_at_checked(at).unwrap_or((rest, ""));
            decoded.push_str(plain);
            if let Some(after) = tail.strip_prefix('"') {
                self.rest = after;
                return Ok(decoded);
            }
            let Some(escape) = tail.strip_prefix('\\') else { return Err(self.refuse()) };
            rest = self.escape(escape, &mut decoded)?;
        }
    }

    /// Decodes what follows a backslash and gives the rest.
    fn escape<'b>(&self, escape: &'b str, decoded: &mut String) -> Result<&'b str, Diagnosis> {
        let mut chars = escape.chars();
        decoded.push(match chars.next() {
            Some(same @ ('"' | '\\' | '/')) => same,
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('u') => return self.unicode(chars.as_str(), decoded),
            _ => return Err(self.refuse()),
        });
        Ok(chars.as_str())
    }

    fn unicode<'b>(&self, digits: &'b str, decoded: &mut String) -> Result<&'b str, Diagnosis> {
        let (first, mut rest) = code_unit(digits).ok_or_else(|| self.refuse())?;
        let code = match first {
            0 if self.keep == Keep::Values => {
                let error = Diagnosis::new("22P05", "unsupported Unicode escape sequence");
                return Err(error.with_detail("\\u0000 cannot be converted to text."));
            }
            0xD800..=0xDBFF => {
                let (second, tail) = rest.strip_prefix("\\u").and_then(code_unit).ok_or_else(|| self.refuse())?;
                if !(0xDC00..=0xDFFF).contains(&second) {
                    return Err(self.refuse());
                }
                rest = tail;
                0x1_0000 + ((first - 0xD800) << 10) + (second - 0xDC00)
            }
            other => other,
        };
        decoded.push(char::from_u32(code).ok_or_else(|| self.refuse())?);
        Ok(rest)
    }
}

/// Four hexadecimal digits and the rest.
fn code_unit(text: &str) -> Option<(u32, &str)> {
    let (digits, rest) = text.split_at_checked(4)?;
    if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    Some((u32::from_str_radix(digits, 16).ok()?, rest))
}

/// `-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?`
fn is_number(text: &str) -> bool {
    let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    let is_whole = is_digits(whole) && (whole == "0" || !whole.starts_with('0'));
    let is_exponent = exponent.is_none_or(|exponent| is_digits(exponent.strip_prefix(['+', '-']).unwrap_or(exponent)));
    is_whole && fraction.is_none_or(is_digits) && is_exponent
}
