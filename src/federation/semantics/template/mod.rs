//! Templates of `to_char`, `to_number`, `to_date` and `to_timestamp` (manual, "Data Type Formatting Functions").
//!
//! ```text
//! template text → split (nodes) ─┬─ date_keys → date_write (to_char) · date_read (fields) → date_fields (a moment)
//!                                └─ number_picture (what a template asks for) → number_write · number_read
//! ```
//!
//! Names are those of the locale `C`, which is the only one: `TM` writes English names without padding, `L` is a blank, `D`
//! and `G` are point and comma. Letters that are no pattern stand for themselves.
//!
//! **Invariant:** nothing here knows of columns; `functions/template.rs` maps values and registers the functions.

mod cursor;
pub(super) mod date_fields;
pub(super) mod date_keys;
pub(super) mod date_read;
pub(super) mod date_write;
pub(super) mod number_picture;
pub(super) mod number_read;
pub(super) mod number_write;

use crate::error::{Diagnosis, sqlstate};

/// One piece of a template.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node<P> {
    /// A pattern with its modifiers.
    Pattern(P),
    /// A punctuation mark of a date template, which any mark or blank matches.
    Separator(char),
    /// A blank.
    Blank(char),
    /// Any other letter.
    Letter(char),
}

impl<P> Node<P> {
    /// The letter that stands for itself.
    pub(super) fn literal(&self) -> Option<char> {
        match self {
            Self::Pattern(_) => None,
            Self::Separator(letter) | Self::Blank(letter) | Self::Letter(letter) => Some(*letter),
        }
    }
}

/// Whether a letter separates fields: printable ASCII but letters and digits.
fn is_separator(letter: char) -> bool {
    letter.is_ascii_punctuation()
}

/// `isspace` of the C locale.
fn is_blank(letter: char) -> bool {
    matches!(letter, ' ' | '\t'..='\r')
}

/// Splits a template. `pattern` reads a pattern at the start of a text and tells its length in bytes; `None` there leaves a
/// prefix that was read (its length) without effect, as PostgreSQL drops it. `separates` tells the punctuation of dates.
///
/// # Errors
/// Those of `pattern`.
fn split<P>(
    template: &str,
    separates: fn(char) -> bool,
    mut pattern: impl FnMut(&str) -> Result<(usize, Option<P>), Diagnosis>,
) -> Result<Vec<Node<P>>, Diagnosis> {
    let mut nodes = Vec::new();
    let mut rest = template;
    while !rest.is_empty() {
        let (length, found) = pattern(rest)?;
        rest = rest.get(length..).unwrap_or_default();
        if let Some(found) = found {
            nodes.push(Node::Pattern(found));
            continue;
        }
        if let Some(quoted) = rest.strip_prefix('"') {
            rest = quote(quoted, &mut nodes);
            continue;
        }
        // Outside quotes a backslash is special before a quote only.
        rest = rest.strip_prefix('\\').filter(|after| after.starts_with('"')).unwrap_or(rest);
        let mut letters = rest.chars();
        let Some(letter) = letters.next() else { break };
        rest = letters.as_str();
        nodes.push(match letter {
            letter if separates(letter) => Node::Separator(letter),
            letter if is_blank(letter) => Node::Blank(letter),
            letter => Node::Letter(letter),
        });
    }
    Ok(nodes)
}

/// Reads to the end of a quotation, where a backslash makes any letter plain, and gives what follows.
fn quote<'t, P>(text: &'t str, nodes: &mut Vec<Node<P>>) -> &'t str {
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '"' => return letters.as_str(),
            '\\' => nodes.push(Node::Letter(letters.next().unwrap_or('\\'))),
            letter => nodes.push(Node::Letter(letter)),
        }
    }
    ""
}

/// The English ending of an ordinal: 1st, 2nd, 3rd, 11th.
///
/// # Errors
/// 22P02 when the text ends with no digit.
fn ordinal(number: &str, upper: bool) -> Result<&'static str, Diagnosis> {
    let mut backwards = number.chars().rev();
    let last = backwards
        .next()
        .filter(char::is_ascii_digit)
        .ok_or_else(|| Diagnosis::new(sqlstate::INVALID_TEXT_REPRESENTATION, format!("\"{number}\" is not a number")))?;
    let teen = backwards.next() == Some('1');
    Ok(match (last, teen, upper) {
        ('1', false, true) => "ST",
        ('1', false, false) => "st",
        ('2', false, true) => "ND",
        ('2', false, false) => "nd",
        ('3', false, true) => "RD",
        ('3', false, false) => "rd",
        (_, _, true) => "TH",
        (_, _, false) => "th",
    })
}
