//! Arrays as text: `{1,NULL,"a b"}` (manual §8.15). Elements are text here; their types are the caller's.

use bytes::BufMut;

use super::fault;
use crate::error::{Diagnosis, sqlstate};

/// Whether an element's text needs quotes to be read back as itself.
pub fn needs_quotes(element: &[u8]) -> bool {
    let is_special = |byte: &u8| matches!(byte, b'{' | b'}' | b',' | b'"' | b'\\' | b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c);
    element.is_empty() || element.eq_ignore_ascii_case(b"null") || element.iter().any(is_special)
}

/// Writes an element's text in quotes, with backslashes before quotes and backslashes.
pub fn write_quoted(element: &[u8], out: &mut impl BufMut) {
    out.put_u8(b'"');
    for &byte in element {
        if matches!(byte, b'"' | b'\\') {
            out.put_u8(b'\\');
        }
        out.put_u8(byte);
    }
    out.put_u8(b'"');
}

/// Most dimensions that an array may have (`MAXDIM`).
const DIMENSIONS_MAX: usize = 6;

/// Reads the elements of a one-dimensional array that starts at 1, NULL as `None`.
///
/// # Errors
/// 22P02 `malformed array literal`, 2202E and 54000 for wrong bounds; 0A000 for more dimensions or another lower bound, which a list cannot
/// carry.
pub fn read(text: &str) -> Result<Vec<Option<String>>, Diagnosis> {
    let malformed = |detail: &str| {
        Diagnosis::new(sqlstate::INVALID_TEXT_REPRESENTATION, format!("malformed array literal: \"{text}\"")).with_detail(detail)
    };
    let (bounds, body) = read_bounds(text.trim_start_matches(fault::is_space), &malformed)?;
    let missing = if bounds.is_empty() {
        "Array value must start with \"{\" or dimension information."
    } else {
        "Array contents must start with \"{\"."
    };
    let others = || malformed("Specified array dimensions do not match array contents.");
    let body = body.strip_prefix('{').ok_or_else(|| malformed(missing))?;
    let (elements, rest) = read_elements(body).map_err(|fault| match fault {
        Fault::Nested if bounds.len() == 1 => others(),
        Fault::Nested => fault::unsupported("multidimensional arrays are not supported here"),
        Fault::Malformed(detail) => malformed(detail),
    })?;
    if !fault::trim(rest).is_empty() {
        return Err(malformed("Junk after closing right brace."));
    }
    match bounds.as_slice() {
        [] => Ok(elements),
        [bounds] if bounds.length() != Some(elements.len()) => Err(others()),
        [Bounds { lower: 1, .. }] => Ok(elements),
        [_] => Err(fault::unsupported("arrays with a lower bound other than 1 are not supported here")),
        _ => Err(others()),
    }
}

/// The bounds of a dimension.
struct Bounds {
    lower: i64,
    upper: i64,
}

impl Bounds {
    fn length(&self) -> Option<usize> {
        usize::try_from(self.upper.checked_sub(self.lower)?.checked_add(1)?).ok()
    }
}

/// Reads `[lower:upper]…=`, which may stand before the elements, and gives the rest.
fn read_bounds<'a>(text: &'a str, malformed: &dyn Fn(&str) -> Diagnosis) -> Result<(Vec<Bounds>, &'a str), Diagnosis> {
    let (mut bounds, mut rest) = (Vec::new(), text);
    while let Some(inner) = rest.strip_prefix('[') {
        if bounds.len() == DIMENSIONS_MAX {
            let count = DIMENSIONS_MAX + 1;
            let message = format!("number of array dimensions ({count}) exceeds the maximum allowed ({DIMENSIONS_MAX})");
            return Err(Diagnosis::new(sqlstate::PROGRAM_LIMIT_EXCEEDED, message));
        }
        let introduced = || malformed("\"[\" must introduce explicitly-specified array dimensions.");
        let (first, tail) = read_bound(inner).ok_or_else(introduced)?;
        let (lower, upper, tail) = match tail.strip_prefix(':') {
            Some(tail) => {
                let (upper, tail) = read_bound(tail).ok_or_else(|| malformed("Missing array dimension value."))?;
                (first, upper, tail)
            }
            None => (1, first, tail),
        };
        let tail = tail.strip_prefix(']').ok_or_else(|| malformed("Missing \"]\" after array dimensions."))?;
        if upper < lower {
            return Err(Diagnosis::new("2202E", "upper bound cannot be less than lower bound"));
        }
        bounds.push(Bounds { lower, upper });
        rest = tail.trim_start_matches(fault::is_space);
    }
    if bounds.is_empty() {
        return Ok((bounds, rest));
    }
    let rest = rest.strip_prefix('=').ok_or_else(|| malformed("Missing \"=\" after array dimensions."))?;
    Ok((bounds, rest.trim_start_matches(fault::is_space)))
}

/// Reads a bound and gives the rest. One that is out of range matches no elements.
fn read_bound(text: &str) -> Option<(i64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && !matches!(c, '-' | '+')).unwrap_or(text.len());
    let (written, rest) = text.split_at_checked(end).filter(|_| end > 0)?;
    Some((written.parse().unwrap_or(i64::MAX), rest))
}

enum Fault {
    Nested,
    Malformed(&'static str),
}

type Elements<'a> = (Vec<Option<String>>, &'a str);

/// Reads elements up to the closing brace and gives the rest.
fn read_elements(body: &str) -> Result<Elements<'_>, Fault> {
    let mut elements = Vec::new();
    let mut rest = body.trim_start_matches(fault::is_space);
    if let Some(after) = rest.strip_prefix('}') {
        return Ok((elements, after));
    }
    loop {
        let (element, tail) = read_element(rest.trim_start_matches(fault::is_space))?;
        elements.push(element);
        let tail = tail.trim_start_matches(fault::is_space);
        if let Some(after) = tail.strip_prefix('}') {
            return Ok((elements, after));
        }
        rest = tail.strip_prefix(',').ok_or(Fault::Malformed("Unexpected end of input."))?;
    }
}

fn read_element(text: &str) -> Result<(Option<String>, &str), Fault> {
    let (is_quoted, body) = match text.strip_prefix('"') {
        Some(body) => (true, body),
        None => (false, text),
    };
    let mut element = String::new();
    // Blanks at the end of an unquoted element are dropped, escaped ones are not.
    let mut kept = 0;
    let mut has_escape = false;
    let mut chars = body.char_indices();
    while let Some((at, c)) = chars.next() {
        let ends = if is_quoted { c == '"' } else { matches!(c, ',' | '}') };
        if ends {
            let tail = body.get(if is_quoted { at + 1 } else { at }..).unwrap_or_default();
            if is_quoted {
                return Ok((Some(element), tail));
            }
            element.truncate(kept);
            return match element.as_str() {
                "" => Err(Fault::Malformed("Unexpected \",\" or \"}\" character.")),
                word if word.eq_ignore_ascii_case("null") && !has_escape => Ok((None, tail)),
                _ => Ok((Some(element), tail)),
            };
        }
        match c {
            '\\' => {
                let (_, escaped) = chars.next().ok_or(Fault::Malformed("Unexpected end of input."))?;
                has_escape = true;
                element.push(escaped);
                kept = element.len();
            }
            '{' if !is_quoted && element.is_empty() => return Err(Fault::Nested),
            '{' | '"' if !is_quoted => return Err(Fault::Malformed("Unexpected \"{\" or quote character.")),
            _ => {
                element.push(c);
                if is_quoted || !fault::is_space(c) {
                    kept = element.len();
                }
            }
        }
    }
    Err(Fault::Malformed("Unexpected end of input."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        let mut out = Vec::new();
        for (place, element) in read(text).unwrap().into_iter().enumerate() {
            if place > 0 {
                out.push(b',');
            }
            match element {
                None => out.extend_from_slice(b"NULL"),
                Some(text) if needs_quotes(text.as_bytes()) => write_quoted(text.as_bytes(), &mut out),
                Some(text) => out.extend_from_slice(text.as_bytes()),
            }
        }
        format!("{{{}}}", String::from_utf8(out).unwrap())
    }

    #[test]
    fn literals_come_out_canonical() {
        for (input, expected) in [
            ("{}", "{}"),
            (" { } ", "{}"),
            ("{1,2,3}", "{1,2,3}"),
            ("{ a b , c }", "{\"a b\",c}"),
            ("{NULL,null,\"NULL\",nul\\l}", "{NULL,NULL,\"NULL\",\"null\"}"),
            (r#"{"a\"b","c\\d","","{}"}"#, r#"{"a\"b","c\\d","","{}"}"#),
            (r#"{a\,b}"#, r#"{"a,b"}"#),
            ("[1:2]={x,y}", "{x,y}"),
            (" [+1:2] = {x,y} ", "{x,y}"),
            ("[2]={x,y}", "{x,y}"),
        ] {
            assert_eq!(shown(input), expected, "{input}");
        }
    }

    #[test]
    fn what_a_list_cannot_carry_is_refused() {
        for (input, code) in [
            ("{{1},{2}}", "0A000"),
            ("[2:3]={1,2}", "0A000"),
            ("[0:0]={1}", "0A000"),
            ("[1:1][1:1]={{1}}", "0A000"),
            ("[1:3]={1,2}", "22P02"),
            ("[2:3]={1}", "22P02"),
            ("[1:99999999999999999999]={1}", "22P02"),
            ("[1:1]={{1}}", "22P02"),
            ("[1:1][1:1]={1}", "22P02"),
            ("[1:1]={}", "22P02"),
            ("[1:1]{1}", "22P02"),
            ("[1:1]=", "22P02"),
            ("[1:]={1}", "22P02"),
            ("[1 :1]={1}", "22P02"),
            ("[a:b]={1}", "22P02"),
            ("[2:1]={}", "2202E"),
            ("[1][1][1][1][1][1][1]={1}", "54000"),
            ("", "22P02"),
            ("1,2", "22P02"),
            ("{1,}", "22P02"),
            ("{1", "22P02"),
            ("{\"a}", "22P02"),
            ("{1}x", "22P02"),
            ("{,1}", "22P02"),
        ] {
            assert_eq!(read(input).unwrap_err().sqlstate, code, "{input}");
        }
    }
}
