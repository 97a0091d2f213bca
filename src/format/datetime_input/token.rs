//! Cuts lower-cased text into tokens by the rules of PostgreSQL's `ParseDateTime`.

use super::super::timestamp::MONTH_NAMES;

/// A piece of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// Digits with colons: `04:05:06.7`.
    Clock(&'a str),
    /// Parts with `-`, `/` or `.` between: `2024-01-02`, `2-jan-2024`.
    Date(&'a str),
    /// Digits, perhaps with one point: `20240102`, `040506.7`.
    Number(&'a str),
    /// Letters: `jan`, `pm`, `bc`, `europe/berlin`.
    Word(&'a str),
    /// A sign and digits: `+05:30`.
    Offset(&'a str),
    /// A sign and letters: `-infinity`.
    Signed(&'a str),
}

/// The tokens, or `None` for a character that belongs to none. At most 25, PostgreSQL's own limit.
pub(super) fn split(text: &str) -> Option<Vec<Token<'_>>> {
    let mut tokens = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([' ', '\t', '\n', '\r', '\u{b}', '\u{c}', ',', ';']);
        let Some(first) = rest.chars().next() else { return Some(tokens) };
        if tokens.len() == 25 {
            return None;
        }
        let (length, make): Cut<'_> = match first {
            '0'..='9' => digits_first(rest),
            '.' => (1 + run(rest.get(1..)?, |c| c.is_ascii_digit()), Token::Number),
            'a'..='z' => letters_first(rest),
            '+' | '-' => sign_first(rest)?,
            _ => return None,
        };
        let (token, tail) = rest.split_at_checked(length)?;
        tokens.push(make(token));
        rest = tail;
    }
}

/// How many bytes belong to a token, and which token they are.
type Cut<'a> = (usize, fn(&'a str) -> Token<'a>);

fn run(text: &str, belongs: impl Fn(char) -> bool) -> usize {
    text.find(|c| !belongs(c)).unwrap_or(text.len())
}

fn digits_first(rest: &str) -> Cut<'_> {
    let digits = run(rest, |c| c.is_ascii_digit());
    let tail = rest.get(digits..).unwrap_or_default();
    let Some(mark) = tail.chars().next() else { return (digits, Token::Number) };
    match mark {
        ':' => (run(rest, |c| c.is_ascii_digit() || c == ':' || c == '.'), Token::Clock),
        '-' | '/' | '.' => after_mark(rest, digits, mark),
        _ => (digits, Token::Number),
    }
}

/// A number followed by a mark: a date when a third part or a month name follows, else a number with a fraction.
fn after_mark(rest: &str, digits: usize, mark: char) -> Cut<'_> {
    let second = rest.get(digits + 1..).unwrap_or_default();
    if !second.starts_with(|c: char| c.is_ascii_digit()) {
        let length = digits + 1 + run(second, |c| c.is_ascii_alphanumeric() || c == mark);
        return (length, if second.starts_with(|c: char| c.is_ascii_lowercase()) { Token::Date } else { Token::Number });
    }
    let second_len = run(second, |c| c.is_ascii_digit());
    let third = second.get(second_len..).unwrap_or_default();
    if third.starts_with(mark) {
        return (digits + 1 + second_len + run(third, |c| c.is_ascii_digit() || c == mark), Token::Date);
    }
    (digits + 1 + second_len, if mark == '.' { Token::Number } else { Token::Date })
}

fn letters_first(rest: &str) -> Cut<'_> {
    let letters = run(rest, |c| c.is_ascii_lowercase());
    let (word, tail) = rest.split_at_checked(letters).unwrap_or((rest, ""));
    match tail.chars().next() {
        // A full date that opens with its month: jan-08-1999.
        Some(mark @ ('-' | '/' | '.')) if month(word).is_some() => {
            (letters + run(tail, |c| c.is_ascii_alphanumeric() || c == mark), Token::Date)
        }
        Some('/' | '_') => (letters + run(tail, |c| c.is_ascii_alphanumeric() || matches!(c, '/' | '_' | '-' | '+')), Token::Word),
        _ => (letters, Token::Word),
    }
}

fn sign_first(rest: &str) -> Option<Cut<'_>> {
    let tail = rest.get(1..)?;
    if tail.starts_with(|c: char| c.is_ascii_digit()) {
        return Some((1 + run(tail, |c| c.is_ascii_digit() || c == ':' || c == '.'), Token::Offset));
    }
    let letters = run(tail, |c| c.is_ascii_lowercase());
    (letters > 0).then_some((1 + letters, Token::Signed))
}

/// 1 to 12 for a month's name or its first three letters (`sept` too).
pub(super) fn month(word: &str) -> Option<i64> {
    const FULL: [&str; 12] =
        ["january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november", "december"];
    let place = FULL.iter().position(|name| *name == word).or_else(|| {
        if word == "sept" {
            return Some(8);
        }
        MONTH_NAMES.iter().position(|name| name.eq_ignore_ascii_case(word))
    })?;
    i64::try_from(place + 1).ok()
}

/// Whether the word names a day of the week, which PostgreSQL reads and ignores.
pub(super) fn is_weekday(word: &str) -> bool {
    const DAYS: [&str; 7] = ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"];
    const SHORT: [&str; 12] = ["sun", "mon", "tue", "tues", "wed", "weds", "thu", "thur", "thurs", "fri", "sat", "wednes"];
    DAYS.contains(&word) || SHORT.contains(&word)
}
