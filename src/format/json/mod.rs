//! `json` and `jsonb` as text: `json` is checked and kept as it is, `jsonb` is brought to the one form PostgreSQL
//! prints: keys by length then bytes, the last of equal keys, numbers as `numeric` prints them, `{"a": 1, "b": [2]}`.
//!
//! Also the values below: as a tree ([`read`]), or one level with the text of its parts ([`outline`]), which is how `json`
//! keeps blanks and every digit. Canonical parts of a canonical text are canonical, so the same serves `jsonb`.
//!
//! Not here: JSON text of Arrow structs and lists, which `wire/encode/json` writes, and what operators do.

mod reader;

use bytes::BufMut;

use super::numeric;
use crate::error::Diagnosis;
pub use reader::{Node, Outline};

/// Checks that the text is one JSON value.
///
/// # Errors
/// 22P02 `invalid input syntax for type json`, 54001 for nesting beyond the reader's bound.
pub fn check(text: &str) -> Result<(), Diagnosis> {
    reader::read(text, reader::Keep::Shape).map(|_node| ())
}

/// The text `jsonb` prints for the value.
///
/// # Errors
/// As [`check`], and 22P05 for `\u0000`, 22003 for a number beyond `numeric`.
pub fn canonical(text: &str) -> Result<String, Diagnosis> {
    write(&read(text)?)
}

/// The value as a tree.
///
/// # Errors
/// As [`check`], and 22P05 for `\u0000`.
pub fn read(text: &str) -> Result<Node, Diagnosis> {
    reader::read(text, reader::Keep::Values)
}

/// One level of the value.
///
/// # Errors
/// As [`read`].
pub fn outline(text: &str) -> Result<Outline<'_>, Diagnosis> {
    reader::outline(text)
}

/// The text `jsonb` prints for a tree: of repeated names the last counts.
///
/// # Errors
/// 22003 for a number beyond `numeric`.
pub fn write(node: &Node) -> Result<String, Diagnosis> {
    let mut out = Vec::new();
    write_node(node, &mut out)?;
    Ok(String::from_utf8(out).unwrap_or_default())
}

/// The tree as `json` text without blanks: numbers as they were read, repeated names too.
pub fn write_compact(node: &Node) -> String {
    let mut out = Vec::new();
    write_plain(node, &mut out);
    String::from_utf8(out).unwrap_or_default()
}

fn write_plain(node: &Node, out: &mut Vec<u8>) {
    match node {
        Node::Null => out.put_slice(b"null"),
        Node::Bool(value) => out.put_slice(if *value { b"true" } else { b"false" }),
        Node::Number(text) => out.put_slice(text.as_bytes()),
        Node::Text(text) => write_string(text, out),
        Node::Array(items) => {
            out.put_u8(b'[');
            for (place, item) in items.iter().enumerate() {
                out.put_slice(if place > 0 { b"," } else { b"" });
                write_plain(item, out);
            }
            out.put_u8(b']');
        }
        Node::Object(entries) => {
            out.put_u8(b'{');
            for (place, (key, value)) in entries.iter().enumerate() {
                out.put_slice(if place > 0 { b"," } else { b"" });
                write_string(key, out);
                out.put_u8(b':');
                write_plain(value, out);
            }
            out.put_u8(b'}');
        }
    }
}

fn write_node(node: &Node, out: &mut Vec<u8>) -> Result<(), Diagnosis> {
    match node {
        Node::Null => out.put_slice(b"null"),
        Node::Bool(value) => out.put_slice(if *value { b"true" } else { b"false" }),
        Node::Number(text) => out.put_slice(numeric::read(text)?.to_string().as_bytes()),
        Node::Text(text) => write_string(text, out),
        Node::Array(items) => {
            out.put_u8(b'[');
            for (place, item) in items.iter().enumerate() {
                if place > 0 {
                    out.put_slice(b", ");
                }
                write_node(item, out)?;
            }
            out.put_u8(b']');
        }
        Node::Object(entries) => {
            out.put_u8(b'{');
            for (place, (key, value)) in members(entries).into_iter().enumerate() {
                if place > 0 {
                    out.put_slice(b", ");
                }
                write_string(key, out);
                out.put_slice(b": ");
                write_node(value, out)?;
            }
            out.put_u8(b'}');
        }
    }
    Ok(())
}

/// The members of an object in `jsonb` order, of equal keys only the last.
pub fn members(entries: &[(String, Node)]) -> Vec<(&str, &Node)> {
    let mut sorted: Vec<(&str, &Node)> = entries.iter().rev().map(|(key, value)| (key.as_str(), value)).collect();
    // The sort is stable and the entries are reversed, so the last of equal keys comes first and is the one kept.
    sorted.sort_by(|(left, _), (right, _)| key_order(left, right));
    sorted.dedup_by(|(later, _), (earlier, _)| later == earlier);
    sorted
}

/// How `jsonb` orders keys: by length in bytes, then by bytes.
pub fn key_order(left: &str, right: &str) -> std::cmp::Ordering {
    left.len().cmp(&right.len()).then_with(|| left.as_bytes().cmp(right.as_bytes()))
}

/// Writes a JSON string with its quotes, escaping as PostgreSQL's `escape_json`.
pub fn write_string(text: &str, out: &mut impl BufMut) {
    out.put_u8(b'"');
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|&byte| byte < 0x20 || byte == b'"' || byte == b'\\') {
        let (plain, tail) = rest.split_at_checked(at).unwrap_or((rest, &[]));
        out.put_slice(plain);
        let Some((&special, tail)) = tail.split_first() else { break };
        match special {
            b'"' => out.put_slice(b"\\\""),
            b'\\' => out.put_slice(b"\\\\"),
            0x08 => out.put_slice(b"\\b"),
            0x0c => out.put_slice(b"\\f"),
            b'\n' => out.put_slice(b"\\n"),
            b'\r' => out.put_slice(b"\\r"),
            b'\t' => out.put_slice(b"\\t"),
            other => {
                out.put_slice(b"\\u00");
                super::bytea::write_hex(&[other], out);
            }
        }
        rest = tail;
    }
    out.put_slice(rest);
    out.put_u8(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jsonb_has_one_form() {
        for (input, expected) in [
            (r#"{"b":1,"a":2}"#, r#"{"a": 2, "b": 1}"#),
            (r#"{"bb":1,"a":2,"aa":3}"#, r#"{"a": 2, "aa": 3, "bb": 1}"#),
            (r#"{"a":1,"a":2}"#, r#"{"a": 2}"#),
            (" [1 , 2.50,1e3, -0, 1E-2] ", "[1, 2.50, 1000, 0, 0.01]"),
            (r#""a\u0041\n\u00e9\ud83d\ude00""#, "\"aA\\né😀\""),
            ("{}", "{}"),
            ("[]", "[]"),
            ("null", "null"),
            ("[true,false]", "[true, false]"),
            (r#""\u0001\/""#, "\"\\u0001/\""),
            ("123456789012345678901234567890.1", "123456789012345678901234567890.1"),
        ] {
            assert_eq!(canonical(input).unwrap(), expected, "{input}");
            assert_eq!(canonical(expected).unwrap(), expected);
        }
    }

    #[test]
    fn parts_keep_their_text() {
        let text = " {\"a\" : 1.50 , \"b\":[1 ,  2.0e0] ,\"a\": \"\\u0041\"} ";
        let Ok(Outline::Object(members)) = outline(text) else { panic!() };
        let expected = [("a", "1.50"), ("b", "[1 ,  2.0e0]"), ("a", "\"\\u0041\"")];
        assert_eq!(members, expected.map(|(name, part)| (name.to_owned(), part)));
        let Ok(Outline::Array(items)) = outline("[ {\"x\": []},null , 12345678901234567890.10 ]") else { panic!() };
        assert_eq!(items, ["{\"x\": []}", "null", "12345678901234567890.10"]);
        assert!(matches!(outline(" \"\\n\" "), Ok(Outline::Scalar(Node::Text(text))) if text == "\n"));
        for wrong in ["[1", "{\"a\":tru}", "[1] 2", "[[1,]]"] {
            assert_eq!(outline(wrong).unwrap_err().sqlstate, "22P02", "{wrong}");
        }
        assert_eq!(write_compact(&read(text).unwrap()), "{\"a\":1.50,\"b\":[1,2.0e0],\"a\":\"A\"}");
    }

    #[test]
    fn malformed_json_is_refused() {
        for input in [
            "",
            " ",
            "{",
            "[1,]",
            "{\"a\"}",
            "{a:1}",
            "01",
            "1.",
            ".5",
            "+1",
            "tru",
            "nulll",
            "\"a",
            "\"\\x\"",
            "\"\n\"",
            "1 2",
            "[1 2]",
            "{\"a\":1,}",
            "\"\\ud800\"",
            "\"\\u12\"",
        ] {
            let error = check(input).unwrap_err();
            assert_eq!(error.sqlstate, "22P02", "{input}");
            assert_eq!(error.message, "invalid input syntax for type json");
        }
        assert_eq!(canonical(r#""\u0000""#).unwrap_err().sqlstate, "22P05");
        assert!(check(r#""\u0000""#).is_ok());
        assert_eq!(check(&"[".repeat(100_000)).unwrap_err().sqlstate, "54001");
        assert_eq!(canonical(&format!("{}1{}", "[".repeat(400), "]".repeat(400))).unwrap().len(), 801);
    }
}
