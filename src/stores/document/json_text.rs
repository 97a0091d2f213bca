//! Reads JSON text (RFC 8259) into document values without changing a number.
//!
//! `serde_json` is not used here, because it takes the last of repeated names, reads doubles to within one digit of the last,
//! and makes every long number the nearest double without a word.
//!
//! | Number | Becomes |
//! |---|---|
//! | whole, within 64 bits | an integer |
//! | whole and longer, or with more than 17 digits that are not zeros at the end | a decimal of up to 38 digits |
//! | with point or exponent, or beyond 64 bits, and at most 17 digits | the nearest double, from 2^53 on only if that has the same digits |
//! | beyond both | a value of no column type, which is a mismatch |
//!
//! A column declared `double precision` takes the nearest double of each of them, as `float8in` would ([`super::scalar`]).

use std::collections::HashMap;

use super::scalar::BEYOND;
use super::value::{Decimal, DocumentValue, Elements, Fields, Mismatch, VisitElement, VisitField};

/// Arrays and objects deeper than this are refused.
const DEPTH_MAX: usize = 128;
/// Digits that tell any two doubles apart; a number of more says more than a double can hold.
const DOUBLE_DIGITS: usize = 17;
/// Digits that every double keeps.
const SAFE_DIGITS: usize = 15;
/// 2^53: from here on not every whole number is a double.
const DOUBLE_WHOLE: f64 = 9_007_199_254_740_992.0;
/// The largest power of ten of a decimal, either way; the digits of more would be written out.
const EXPONENT_MAX: i64 = 6_144;
/// Up to this many fields are searched one by one.
const FEW_FIELDS: usize = 16;

/// A JSON value.
#[derive(Debug, Clone, PartialEq)]
pub enum Json {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A whole number within 64 bits.
    Int(i64),
    /// A number that a double stands for.
    Double(f64),
    /// A number that only a decimal holds.
    Decimal(Decimal),
    /// A number that neither holds, and every number of [`parse_written`]: as it is written.
    Beyond(String),
    /// Text.
    Text(String),
    /// An array.
    List(Vec<Json>),
    /// An object, in the order of its text. Under [`Repeated::First`] repeated names are kept; the first counts.
    Object(Vec<(String, Json)>),
}

/// Which value counts where an object repeats a name. Stores differ, and a condition that the store evaluates must see what
/// the scan reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeated {
    /// The first, as in SQLite and MariaDB.
    First,
    /// The last, as in PostgreSQL.
    Last,
}

/// Where a text stops being JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not valid JSON (line {line}, column {column})")]
pub struct NotJson {
    /// The line, from 1.
    pub line: usize,
    /// The byte in the line, from 1.
    pub column: usize,
}

/// Reads JSON text.
///
/// # Errors
/// Where it is not JSON, not UTF-8, or nested deeper than 128 levels.
pub fn parse(text: &[u8], repeated: Repeated) -> Result<Json, NotJson> {
    read(text, repeated, number)
}

/// Reads JSON text whose numbers stay as they are written ([`Json::Beyond`]): what they become is for their field to say.
///
/// # Errors
/// As [`parse`].
pub fn parse_written(text: &[u8], repeated: Repeated) -> Result<Json, NotJson> {
    read(text, repeated, |text, _whole, _fraction, _exponent| Json::Beyond(text.to_owned()))
}

/// Chooses what holds a number: its text, the digits before its point, those behind it, and its exponent.
type Choose = fn(&str, &str, Option<&str>, Option<&str>) -> Json;

fn read(text: &[u8], repeated: Repeated, choose: Choose) -> Result<Json, NotJson> {
    let valid = std::str::from_utf8(text).map_err(|error| place(text, error.valid_up_to()))?;
    let mut parser = Parser { text: valid, at: 0, repeated, choose };
    let value = parser.value(0).and_then(|value| {
        parser.skip_blanks();
        (parser.at == text.len()).then_some(value)
    });
    value.ok_or_else(|| place(text, parser.at))
}

fn place(text: &[u8], at: usize) -> NotJson {
    let before = text.get(..at).unwrap_or(text);
    let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
    NotJson { line: before.iter().filter(|byte| **byte == b'\n').count() + 1, column: at - line_start + 1 }
}

impl Json {
    /// The fields of an object; `None` for any other value.
    pub fn as_fields(&self) -> Option<&dyn Fields> {
        match self {
            Self::Object(fields) => Some(fields),
            _ => None,
        }
    }

    /// As a document value.
    pub fn document_value(&self) -> DocumentValue<'_> {
        match self {
            Self::Null => DocumentValue::Null,
            Self::Bool(truth) => DocumentValue::Bool(*truth),
            Self::Int(number) => DocumentValue::Int(*number),
            Self::Double(number) => DocumentValue::Double(*number),
            Self::Decimal(number) => DocumentValue::Decimal(*number),
            Self::Beyond(text) => DocumentValue::Other(BEYOND, text),
            Self::Text(text) => DocumentValue::Text(text),
            Self::List(elements) => DocumentValue::List(elements),
            Self::Object(fields) => DocumentValue::Document(fields),
        }
    }
}

impl Fields for Vec<(String, Json)> {
    fn visit(&self, visit: &mut VisitField<'_>) -> Result<(), Box<Mismatch>> {
        self.iter().try_for_each(|(name, value)| visit(name, value.document_value()))
    }
}

impl Elements for Vec<Json> {
    fn visit(&self, visit: &mut VisitElement<'_>) -> Result<(), Box<Mismatch>> {
        self.iter().try_for_each(|value| visit(value.document_value()))
    }
}

/// Reads forward; each function answers `None` where the text at `at` is not what it reads.
struct Parser<'t> {
    text: &'t str,
    at: usize,
    repeated: Repeated,
    choose: Choose,
}

impl<'t> Parser<'t> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    fn word(&mut self, word: &str, value: Json) -> Option<Json> {
        self.text.get(self.at..)?.starts_with(word).then(|| self.at += word.len())?;
        Some(value)
    }

    fn value(&mut self, depth: usize) -> Option<Json> {
        self.skip_blanks();
        match self.peek()? {
            b'{' => self.object(depth),
            b'[' => self.list(depth),
            b'"' => self.string().map(Json::Text),
            b't' => self.word("true", Json::Bool(true)),
            b'f' => self.word("false", Json::Bool(false)),
            b'n' => self.word("null", Json::Null),
            _ => self.number(),
        }
    }

    fn list(&mut self, depth: usize) -> Option<Json> {
        self.take(b'[').filter(|()| depth < DEPTH_MAX)?;
        let mut elements = Vec::new();
        self.skip_blanks();
        if self.take(b']').is_some() {
            return Some(Json::List(elements));
        }
        loop {
            elements.push(self.value(depth + 1)?);
            self.skip_blanks();
            if self.take(b',').is_none() {
                self.take(b']')?;
                return Some(Json::List(elements));
            }
        }
    }

    fn object(&mut self, depth: usize) -> Option<Json> {
        self.take(b'{').filter(|()| depth < DEPTH_MAX)?;
        let mut fields = Vec::new();
        self.skip_blanks();
        if self.take(b'}').is_some() {
            return Some(Json::Object(fields));
        }
        loop {
            self.skip_blanks();
            let name = self.string()?;
            self.skip_blanks();
            self.take(b':')?;
            fields.push((name, self.value(depth + 1)?));
            self.skip_blanks();
            if self.take(b',').is_none() {
                self.take(b'}')?;
                let fields = if self.repeated == Repeated::Last { last_of_each(fields) } else { fields };
                return Some(Json::Object(fields));
            }
        }
    }

    fn string(&mut self) -> Option<String> {
        self.take(b'"')?;
        let mut text = String::new();
        loop {
            let rest = self.text.get(self.at..)?;
            let plain = rest.bytes().position(|byte| byte == b'"' || byte == b'\\' || byte < b' ')?;
            text.push_str(rest.get(..plain)?);
            self.at += plain;
            if self.take(b'"').is_some() {
                return Some(text);
            }
            self.take(b'\\')?;
            text.push(self.escape()?);
        }
    }

    fn escape(&mut self) -> Option<char> {
        let letter = self.peek()?;
        let character = match letter {
            b'"' | b'\\' | b'/' => char::from(letter),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                self.at += 1;
                return self.code_point();
            }
            _ => return None,
        };
        self.at += 1;
        Some(character)
    }

    /// One `XXXX`, or two around `\u` that form a surrogate pair. A surrogate alone is no character.
    fn code_point(&mut self) -> Option<char> {
        let first = self.hex()?;
        if !(0xd800..0xdc00).contains(&first) {
            return char::from_u32(first);
        }
        self.take(b'\\')?;
        self.take(b'u')?;
        let second = self.hex().filter(|second| (0xdc00..0xe000).contains(second))?;
        char::from_u32(0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00))
    }

    fn hex(&mut self) -> Option<u32> {
        let digits = self.text.get(self.at..self.at + 4).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
        self.at += 4;
        u32::from_str_radix(digits, 16).ok()
    }

    fn number(&mut self) -> Option<Json> {
        let start = self.at;
        let _sign = self.take(b'-');
        let whole = self.digits()?;
        if whole.len() > 1 && whole.starts_with('0') {
            return None;
        }
        let fraction = match self.take(b'.') {
            Some(()) => Some(self.digits()?),
            None => None,
        };
        let exponent = match self.peek() {
            Some(b'e' | b'E') => {
                self.at += 1;
                let from = self.at;
                let _sign = self.take(b'+').or_else(|| self.take(b'-'));
                self.digits()?;
                Some(self.text.get(from..self.at)?)
            }
            _ => None,
        };
        Some((self.choose)(self.text.get(start..self.at)?, whole, fraction, exponent))
    }

    fn digits(&mut self) -> Option<&'t str> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        self.text.get(start..self.at).filter(|digits| !digits.is_empty())
    }
}

/// Chooses what holds a number; see the table above.
fn number(text: &str, whole: &str, fraction: Option<&str>, exponent: Option<&str>) -> Json {
    let is_whole = fraction.is_none() && exponent.is_none();
    if is_whole && let Ok(number) = text.parse() {
        return Json::Int(number);
    }
    let digits = format!("{whole}{}", fraction.unwrap_or_default());
    let significant = digits.trim_matches('0').len();
    // Stores may write a large double out as a whole number (`jsonb` does), so those beyond 64 bits may be doubles too.
    let may_be_double = !is_whole || text.trim_start_matches('-').parse::<u64>().is_err();
    if may_be_double && significant <= DOUBLE_DIGITS {
        let double = text.parse().unwrap_or(f64::INFINITY);
        if stands_for(double, digits.trim_matches('0')) {
            return Json::Double(double);
        }
    }
    decimal(text, &digits, fraction.map_or(0, str::len), exponent).map_or_else(|| Json::Beyond(text.to_owned()), Json::Decimal)
}

/// Whether a double may stand for a text of at most 17 digits. Below 2^53 it may: doubles there are closer than a whole
/// number, and what is too small for one is zero to every reader of doubles. Above, it must give the digits again.
fn stands_for(double: f64, digits: &str) -> bool {
    if !double.is_finite() {
        return false;
    }
    if digits.len() <= SAFE_DIGITS || double.abs() < DOUBLE_WHOLE {
        return true;
    }
    let forms = [format!("{:e}", double.abs()), format!("{:.*e}", digits.len() - 1, double.abs())];
    let is_written = |form: &String| {
        form.split('e').next().is_some_and(|written| written.bytes().filter(|byte| *byte != b'.').eq(digits.bytes()))
    };
    forms.iter().any(is_written)
}

fn decimal(text: &str, digits: &str, scale: usize, exponent: Option<&str>) -> Option<Decimal> {
    let exponent: i64 = exponent.map_or(Some(0), |exponent| exponent.parse().ok())?;
    if exponent.abs() > EXPONENT_MAX {
        return None;
    }
    let kept = digits.trim_end_matches('0');
    let trimmed = i64::try_from(digits.len() - kept.len()).ok()?;
    let exponent = exponent.checked_sub(i64::try_from(scale).ok()?)?.checked_add(trimmed)?;
    let number: i128 = kept.trim_start_matches('0').parse().ok().filter(|number: &i128| *number < 10_i128.pow(38))?;
    // A whole number stays written out, so that it keeps scale 0.
    let (number, exponent) = match u32::try_from(exponent) {
        Ok(zeros @ 0..=37) => match number.checked_mul(10_i128.pow(zeros)).filter(|number| *number < 10_i128.pow(38)) {
            Some(number) => (number, 0),
            None => (number, exponent),
        },
        _ => (number, exponent),
    };
    let unscaled = if text.starts_with('-') { -number } else { number };
    Some(Decimal::Finite { unscaled, exponent: i32::try_from(exponent).ok()? })
}

fn last_of_each(fields: Vec<(String, Json)>) -> Vec<(String, Json)> {
    if fields.len() <= FEW_FIELDS {
        let mut kept: Vec<(String, Json)> = Vec::with_capacity(fields.len());
        for (name, value) in fields {
            match kept.iter_mut().find(|(known, _)| *known == name) {
                Some((_, known)) => *known = value,
                None => kept.push((name, value)),
            }
        }
        return kept;
    }
    let mut places: HashMap<String, usize> = HashMap::with_capacity(fields.len());
    let mut kept: Vec<(String, Json)> = Vec::with_capacity(fields.len());
    for (name, value) in fields {
        match places.get(&name).and_then(|place| kept.get_mut(*place)) {
            Some((_, known)) => *known = value,
            None => {
                places.insert(name.clone(), kept.len());
                kept.push((name, value));
            }
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Json {
        parse(text.as_bytes(), Repeated::First).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn finite(unscaled: i128, exponent: i32) -> Json {
        Json::Decimal(Decimal::Finite { unscaled, exponent })
    }

    #[test]
    fn numbers_stay_as_they_are_written_where_that_is_asked() {
        let found = parse_written(b"[1.50, 1e2, {\"a\": -0}]", Repeated::Last).unwrap();
        let number = |text: &str| Json::Beyond(text.to_owned());
        let inner = Json::Object(vec![("a".to_owned(), number("-0"))]);
        assert_eq!(found, Json::List(vec![number("1.50"), number("1e2"), inner]));
        assert!(parse_written(b"01", Repeated::Last).is_err());
    }

    #[test]
    fn numbers_keep_their_value_or_say_that_nothing_holds_them() {
        let rows = [
            ("0", Json::Int(0)),
            ("-9223372036854775808", Json::Int(i64::MIN)),
            ("9223372036854775808", finite(9_223_372_036_854_775_808, 0)),
            ("-18446744073709551616", finite(-18_446_744_073_709_551_616, 0)),
            ("10000000000000000000", finite(10_000_000_000_000_000_000, 0)),
            ("100000000000000000000000000000000000000", Json::Double(1e38)),
            ("0.1", Json::Double(0.1)),
            ("-0.0", Json::Double(-0.0)),
            ("1.0e2", Json::Double(100.0)),
            ("2.2250738585072014e-308", Json::Double(f64::MIN_POSITIVE)),
            // A reader that is off in the last digit gives …21.
            ("51.24817837550540", Json::Double(51.248_178_375_505_4)),
            ("0.30000000000000004", Json::Double(0.1 + 0.2)),
            ("9007199254740992.0", Json::Double(9_007_199_254_740_992.0)),
            ("9007199254740993.0", finite(9_007_199_254_740_993, 0)),
            ("0.10000000000000001", Json::Double(0.1)),
            ("1e6145", Json::Beyond("1e6145".to_owned())),
            ("123456789012345678.5", finite(1_234_567_890_123_456_785, -1)),
            ("1e999", finite(1, 999)),
            ("-1e-999", Json::Double(-0.0)),
            ("1e99999999999999999999", Json::Beyond("1e99999999999999999999".to_owned())),
        ];
        for (text, expected) in rows {
            // The debug form tells -0.0 from 0.0.
            assert_eq!(format!("{:?}", read(text)), format!("{expected:?}"), "{text}");
        }
        let long = "1".repeat(60);
        assert_eq!(read(&long), Json::Beyond(long));
    }

    #[test]
    fn doubles_read_back_as_they_were_written() {
        let mut bits = 0x9e37_79b9_7f4a_7c15_u64;
        for _ in 0..20_000 {
            bits ^= bits << 13;
            bits ^= bits >> 7;
            bits ^= bits << 17;
            let number = f64::from_bits(bits);
            if number.is_finite() {
                assert_eq!(read(&format!("{number:e}")), Json::Double(number), "{number:e}");
            }
        }
    }

    #[test]
    fn repeated_names_count_as_the_store_counts_them() {
        let text = r#"{"a": 1, "b": {"c": 1, "c": 2}, "a": "two"}"#;
        let mut seen = Vec::new();
        let first = read(text);
        first
            .as_fields()
            .unwrap()
            .visit(&mut |name, _| {
                seen.push(name.to_owned());
                Ok(())
            })
            .unwrap();
        assert_eq!(seen, ["a", "b", "a"]);
        let last = parse(text.as_bytes(), Repeated::Last).unwrap();
        let inner = Json::Object(vec![("c".to_owned(), Json::Int(2))]);
        assert_eq!(last, Json::Object(vec![("a".to_owned(), Json::Text("two".to_owned())), ("b".to_owned(), inner)]));
        let many = (0..40).map(|n| format!("\"f{}\": {n}", n % 20)).collect::<Vec<_>>().join(",");
        let Json::Object(fields) = parse(format!("{{{many}}}").as_bytes(), Repeated::Last).unwrap() else { panic!() };
        assert_eq!((fields.len(), &fields[3]), (20, &("f3".to_owned(), Json::Int(23))));
    }

    #[test]
    fn texts_and_blanks() {
        let text = " [\"a\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00fC\\ud83d\\ude00ü\" , true,false,null, [], {} , {\"\":[1]}]\r\n";
        let Json::List(found) = read(text) else { panic!() };
        assert_eq!(found[0], Json::Text("a\"\\/\u{8}\u{c}\n\r\tü😀ü".to_owned()));
        assert_eq!(found[1..4], [Json::Bool(true), Json::Bool(false), Json::Null]);
        assert_eq!(found[6], Json::Object(vec![(String::new(), Json::List(vec![Json::Int(1)]))]));
    }

    #[test]
    fn what_is_not_json_is_told_with_its_place() {
        let wrong = [
            "",
            " ",
            "{",
            "[1,]",
            "{\"a\":1,}",
            "{a:1}",
            "[1 2]",
            "{} x",
            "01",
            "-",
            "1.",
            ".5",
            "1e",
            "+1",
            "tru",
            "\"a",
            "\"\\x\"",
            "\"\\u12\"",
            "\"\\ud800\"",
            "\"\\ud800\\u0041\"",
            "\"\\udc00\"",
            "\"a\nb\"",
            "NaN",
            "'a'",
            "\u{a0}1",
            "{\"a\"}",
            "[",
        ];
        for text in wrong {
            assert!(parse(text.as_bytes(), Repeated::First).is_err(), "{text}");
        }
        assert_eq!(parse(b"{\n \"a\": ?}", Repeated::First), Err(NotJson { line: 2, column: 7 }));
        assert_eq!(parse(b"\"\xff\"", Repeated::First), Err(NotJson { line: 1, column: 2 }));
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(parse(nested(128).as_bytes(), Repeated::First).is_ok());
        assert!(parse(nested(129).as_bytes(), Repeated::First).is_err());
        assert!(parse("[".repeat(1_000_000).as_bytes(), Repeated::First).is_err());
    }
}
