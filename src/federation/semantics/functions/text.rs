//! String and binary string functions (manual, "String Functions and Operators").

use std::borrow::Cow;

use base64::Engine as _;
use sha2::Digest as _;

use crate::catalog::keyword::quote_identifier;
use crate::error::{Diagnosis, sqlstate};
use crate::pgtype::PgType;

use super::letters;
use super::quote::quote_literal;

use super::super::cast::{cast_text, text_of};
use super::super::datum::Datum;
use super::super::overload::{ANY, Overload, row};
use super::super::typed::Call;

const TEXT: PgType = PgType::TEXT;
const INT4: PgType = PgType::INT4;
const INT8: PgType = PgType::INT8;
const BYTEA: PgType = PgType::BYTEA;

type Outcome<'a> = Result<Datum<'a>, Diagnosis>;

/// The family's rows.
pub(super) const ROWS: &[Overload] = &[
    row("length", &[TEXT], INT4, |_, a| Ok(Datum::Int(count(a[0].as_text())))),
    row("length", &[BYTEA], INT4, |_, a| Ok(Datum::Int(size(a[0].as_bytes())))),
    row("char_length", &[TEXT], INT4, |_, a| Ok(Datum::Int(count(a[0].as_text())))),
    row("character_length", &[TEXT], INT4, |_, a| Ok(Datum::Int(count(a[0].as_text())))),
    row("octet_length", &[TEXT], INT4, |_, a| Ok(Datum::Int(size(a[0].as_bytes())))),
    // The only length that counts the blanks of `character(n)`: the others take text, and the cast to text drops them.
    row("octet_length", &[PgType::BPCHAR], INT4, |_, a| Ok(Datum::Int(size(a[0].as_bytes())))),
    row("octet_length", &[BYTEA], INT4, |_, a| Ok(Datum::Int(size(a[0].as_bytes())))),
    row("bit_length", &[TEXT], INT4, |_, a| Ok(Datum::Int(size(a[0].as_bytes()) * 8))),
    row("bit_length", &[BYTEA], INT4, |_, a| Ok(Datum::Int(size(a[0].as_bytes()) * 8))),
    row("upper", &[TEXT], TEXT, |_, a| Ok(Datum::text(letters::upper(a[0].as_text())))),
    row("lower", &[TEXT], TEXT, |_, a| Ok(Datum::text(letters::lower(a[0].as_text())))),
    row("initcap", &[TEXT], TEXT, |_, a| Ok(Datum::text(letters::capitals(a[0].as_text())))),
    row("reverse", &[TEXT], TEXT, |_, a| Ok(Datum::text(a[0].as_text().chars().rev().collect::<String>()))),
    row("ascii", &[TEXT], INT4, |_, a| {
        Ok(Datum::Int(a[0].as_text().chars().next().map_or(0, |letter| i64::from(u32::from(letter)))))
    }),
    row("chr", &[INT4], TEXT, character),
    row("substring", &[TEXT, INT4], TEXT, |_, a| Ok(Datum::text(cut(a[0].as_text(), a[1].as_int(), None)?))),
    row("substring", &[TEXT, INT4, INT4], TEXT, |_, a| Ok(Datum::text(cut(a[0].as_text(), a[1].as_int(), Some(a[2].as_int()))?))),
    row("substring", &[TEXT, TEXT], TEXT, super::regexp::substring),
    row("substring", &[BYTEA, INT4], BYTEA, |_, a| Ok(Datum::Bytes(cut_bytes(a[0].as_bytes(), a[1].as_int(), None)?.into()))),
    row("substring", &[BYTEA, INT4, INT4], BYTEA, |_, a| {
        Ok(Datum::Bytes(cut_bytes(a[0].as_bytes(), a[1].as_int(), Some(a[2].as_int()))?.into()))
    }),
    row("substr", &[TEXT, INT4], TEXT, |_, a| Ok(Datum::text(cut(a[0].as_text(), a[1].as_int(), None)?))),
    row("substr", &[TEXT, INT4, INT4], TEXT, |_, a| Ok(Datum::text(cut(a[0].as_text(), a[1].as_int(), Some(a[2].as_int()))?))),
    row("substr", &[BYTEA, INT4], BYTEA, |_, a| Ok(Datum::Bytes(cut_bytes(a[0].as_bytes(), a[1].as_int(), None)?.into()))),
    row("strpos", &[TEXT, TEXT], INT4, position),
    row("position", &[TEXT, TEXT], INT4, position),
    row("strpos", &[BYTEA, BYTEA], INT4, position_bytes),
    row("left", &[TEXT, INT4], TEXT, |_, a| Ok(Datum::text(left(a[0].as_text(), a[1].as_int())))),
    row("right", &[TEXT, INT4], TEXT, |_, a| Ok(Datum::text(right(a[0].as_text(), a[1].as_int())))),
    row("lpad", &[TEXT, INT4], TEXT, |_, a| pad(a[0].as_text(), a[1].as_int(), " ", true)),
    row("lpad", &[TEXT, INT4, TEXT], TEXT, |_, a| pad(a[0].as_text(), a[1].as_int(), a[2].as_text(), true)),
    row("rpad", &[TEXT, INT4], TEXT, |_, a| pad(a[0].as_text(), a[1].as_int(), " ", false)),
    row("rpad", &[TEXT, INT4, TEXT], TEXT, |_, a| pad(a[0].as_text(), a[1].as_int(), a[2].as_text(), false)),
    row("btrim", &[TEXT], TEXT, |_, a| Ok(Datum::text(a[0].as_text().trim_matches(' ')))),
    row("btrim", &[TEXT, TEXT], TEXT, |_, a| {
        Ok(Datum::text(a[0].as_text().trim_matches(|letter| a[1].as_text().contains(letter))))
    }),
    row("trim", &[TEXT], TEXT, |_, a| Ok(Datum::text(a[0].as_text().trim_matches(' ')))),
    row("trim", &[TEXT, TEXT], TEXT, |_, a| Ok(Datum::text(a[0].as_text().trim_matches(|letter| a[1].as_text().contains(letter))))),
    row("ltrim", &[TEXT], TEXT, |_, a| Ok(Datum::text(a[0].as_text().trim_start_matches(' ')))),
    row("ltrim", &[TEXT, TEXT], TEXT, |_, a| {
        Ok(Datum::text(a[0].as_text().trim_start_matches(|letter| a[1].as_text().contains(letter))))
    }),
    row("rtrim", &[TEXT], TEXT, |_, a| Ok(Datum::text(a[0].as_text().trim_end_matches(' ')))),
    row("rtrim", &[TEXT, TEXT], TEXT, |_, a| {
        Ok(Datum::text(a[0].as_text().trim_end_matches(|letter| a[1].as_text().contains(letter))))
    }),
    row("repeat", &[TEXT, INT4], TEXT, repeat),
    row("replace", &[TEXT, TEXT, TEXT], TEXT, replace),
    row("translate", &[TEXT, TEXT, TEXT], TEXT, translate),
    row("split_part", &[TEXT, TEXT, INT4], TEXT, split_part),
    row("overlay", &[TEXT, TEXT, INT4], TEXT, overlay),
    row("overlay", &[TEXT, TEXT, INT4, INT4], TEXT, overlay),
    row("starts_with", &[TEXT, TEXT], PgType::BOOL, |_, a| Ok(Datum::Bool(a[0].as_text().starts_with(a[1].as_text())))),
    row("concat", &[ANY], TEXT, concat).lenient().variadic(),
    row("concat_ws", &[TEXT, ANY], TEXT, concat_with_separator).lenient().variadic(),
    row("format", &[TEXT, ANY], TEXT, format_text).lenient().variadic(),
    row("quote_ident", &[TEXT], TEXT, |_, a| Ok(Datum::text(quote_identifier(a[0].as_text())))),
    row("quote_literal", &[TEXT], TEXT, |_, a| Ok(Datum::text(quote_literal(a[0].as_text())))),
    row("quote_literal", &[ANY], TEXT, quote_any),
    row("quote_nullable", &[ANY], TEXT, |call, a| if a[0].is_null() { Ok(Datum::text("NULL")) } else { quote_any(call, a) })
        .lenient(),
    row("md5", &[TEXT], TEXT, |_, a| Ok(Datum::text(super::md5::hex(a[0].as_bytes())))),
    row("md5", &[BYTEA], TEXT, |_, a| Ok(Datum::text(super::md5::hex(a[0].as_bytes())))),
    row("sha224", &[BYTEA], BYTEA, |_, a| Ok(Datum::Bytes(sha2::Sha224::digest(a[0].as_bytes()).to_vec().into()))),
    row("sha256", &[BYTEA], BYTEA, |_, a| Ok(Datum::Bytes(sha2::Sha256::digest(a[0].as_bytes()).to_vec().into()))),
    row("sha384", &[BYTEA], BYTEA, |_, a| Ok(Datum::Bytes(sha2::Sha384::digest(a[0].as_bytes()).to_vec().into()))),
    row("sha512", &[BYTEA], BYTEA, |_, a| Ok(Datum::Bytes(sha2::Sha512::digest(a[0].as_bytes()).to_vec().into()))),
    row("encode", &[BYTEA, TEXT], TEXT, encode),
    row("decode", &[TEXT, TEXT], BYTEA, decode),
    row("to_hex", &[INT4], TEXT, |_, a| Ok(Datum::text(format!("{:x}", a[0].as_int() as i32)))),
    row("to_hex", &[INT8], TEXT, |_, a| Ok(Datum::text(format!("{:x}", a[0].as_int())))),
    row("convert_from", &[BYTEA, TEXT], TEXT, |_, a| decode_utf8(a[0].as_bytes())),
    row("convert_to", &[TEXT, TEXT], BYTEA, |_, a| Ok(Datum::Bytes(a[0].as_bytes().to_vec().into()))),
    row("pg_typeof", &[ANY], PgType::REGTYPE, |call, _| {
        Ok(Datum::Int(i64::from(call.arguments.first().map_or(PgType::UNKNOWN, |typed| typed.pg_type).oid)))
    })
    .lenient(),
];

fn count(text: &str) -> i64 {
    i64::try_from(text.chars().count()).unwrap_or(i64::MAX)
}

fn size(bytes: &[u8]) -> i64 {
    i64::try_from(bytes.len()).unwrap_or(i64::MAX)
}

fn invalid(message: impl Into<String>) -> Diagnosis {
    Diagnosis::new(sqlstate::INVALID_PARAMETER_VALUE, message)
}

fn character<'a>(_: &Call<'_>, a: &[Datum<'a>]) -> Outcome<'a> {
    let too_large = |what: &str| Diagnosis::new(sqlstate::PROGRAM_LIMIT_EXCEEDED, what);
    match a[0].as_int() {
        0 => Err(too_large("null character not permitted")),
        code if code < 0 => Err(too_large("character number must be positive")),
        code => u32::try_from(code)
            .ok()
            .and_then(char::from_u32)
            .map(|letter| Datum::text(letter.to_string()))
            .ok_or_else(|| too_large(&format!("requested character too large for encoding: {code}"))),
    }
}

/// Start and end of a cut, counted from 1 and clipped to the text; `None` for a negative length.
fn window(start: i64, length: Option<i64>) -> Result<(usize, usize), Diagnosis> {
    let end = match length {
        None => i64::MAX,
        Some(length) if length < 0 => return Err(Diagnosis::new("22011", "negative substring length not allowed")),
        Some(length) => start.saturating_add(length),
    };
    let from = start.max(1) - 1;
    let to = (end - 1).max(from);
    Ok((usize::try_from(from).unwrap_or(usize::MAX), usize::try_from(to - from).unwrap_or(usize::MAX)))
}

fn cut(text: &str, start: i64, length: Option<i64>) -> Result<String, Diagnosis> {
    let (from, take) = window(start, length)?;
    Ok(text.chars().skip(from).take(take).collect())
}

fn cut_bytes(bytes: &[u8], start: i64, length: Option<i64>) -> Result<Vec<u8>, Diagnosis> {
    let (from, take) = window(start, length)?;
    Ok(bytes.iter().skip(from).take(take).copied().collect())
}

fn position<'a>(_: &Call<'_>, a: &[Datum<'a>]) -> Outcome<'a> {
    let text = a[0].as_text();
    let found = text.find(a[1].as_text()).and_then(|place| text.get(..place));
    Ok(Datum::Int(found.map_or(0, |before| count(before) + 1)))
}

fn position_bytes<'a>(_: &Call<'_>, a: &[Datum<'a>]) -> Outcome<'a> {
    let (bytes, wanted) = (a[0].as_bytes(), a[1].as_bytes());
    if wanted.is_empty() {
        return Ok(Datum::Int(1));
    }
    let found = bytes.windows(wanted.len()).position(|part| part == wanted);
    Ok(Datum::Int(found.map_or(0, |place| i64::try_from(place).unwrap_or(i64::MAX) + 1)))
}

fn left(text: &str, wanted: i64) -> String {
    let keep = if wanted < 0 { count(text) + wanted } else { wanted };
    text.chars().take(usize::try_from(keep).unwrap_or(0)).collect()
}

fn right(text: &str, wanted: i64) -> String {
    let skip = if wanted < 0 { wanted.saturating_neg() } else { count(text) - wanted };
    text.chars().skip(usize::try_from(skip).unwrap_or(0)).collect()
}

fn too_long() -> Diagnosis {
    Diagnosis::new(sqlstate::PROGRAM_LIMIT_EXCEEDED, "requested length too large")
}

/// One gigabyte less one byte, the most a value may have.
const VALUE_BYTES_MAX: i64 = 0x3fff_ffff;

fn pad<'a>(text: &str, length: i64, fill: &str, before: bool) -> Outcome<'a> {
    if length > VALUE_BYTES_MAX / 4 {
        return Err(too_long());
    }
    let wanted = usize::try_from(length).unwrap_or(0);
    let present = text.chars().count();
    if present >= wanted {
        return Ok(Datum::text(text.chars().take(wanted).collect::<String>()));
    }
    if fill.is_empty() {
        return Ok(Datum::text(text));
    }
    let filling: String = fill.chars().cycle().take(wanted - present).collect();
    Ok(Datum::text(if before { filling + text } else { text.to_owned() + &filling }))
}

fn repeat<'a>(_: &Call<'_>, a: &[Datum<'a>]) -> Outcome<'a> {
    let times = a[1].as_int().max(0);
    if size(a[0].as_bytes()).saturating_mul(times) > VALUE_BYTES_MAX {
        return Err(too_long());
    }
    Ok(Datum::text(a[0].as_text().repeat(usize::try_from(times).unwrap_or(0))))
}

fn replace<'a>(_: &Call<'_>, a: &[Datum<'a>]) -> Outcome<'a> {
    // An empty search text matches nothing.
    if a[1].as_text().is_empty() {
        return Ok(a[0].clone());
    }
    Ok(Datum::text(a[0].as_text().replace(a[1].as_text(), a[2].as_text())))
}

fn translate<'a>(_: &Call<'_>, a: &[Datum<'a>]) -> Outcome<'a> {
    let from: Vec<char> = a[1].as_text().chars().collect();
    let to: Vec<char> = a[2].as_text().chars().collect();
    let mapped = a[0].as_text().chars().filter_map(|letter| match from.iter().position(|known| *known == letter) {
        Some(place) => to.get(place).copied(),
        None => Some(letter),
    });
    Ok(Datum::text(mapped.collect::<String>()))
}

fn split_part<'a>(_: &Call<'_>, a: &[Datum<'a>]) -> Outcome<'a> {
    let (text, separator, wanted) = (a[0].as_text(), a[1].as_text(), a[2].as_int());
    if wanted == 0 {
        return Err(invalid("field position must not be zero"));
    }
    let parts: Vec<&str> = if separator.is_empty() { vec![text] } else { text.split(separator).collect() };
    let index = if wanted > 0 {
        usize::try_from(wanted - 1).ok()
    } else {
        usize::try_from(wanted.unsigned_abs()).ok().and_then(|back| parts.len().checked_sub(back))
    };
    Ok(Datum::text(index.and_then(|index| parts.get(index)).copied().unwrap_or_default()))
}

fn overlay<'a>(_: &Call<'_>, a: &[Datum<'a>]) -> Outcome<'a> {
    let (text, with, start) = (a[0].as_text(), a[1].as_text(), a[2].as_int());
    let length = a.get(3).map_or_else(|| count(with), Datum::as_int);
    if start <= 0 {
        return Err(Diagnosis::new("22011", "negative substring length not allowed"));
    }
    let head = cut(text, 1, Some(start - 1))?;
    let tail = cut(text, start.saturating_add(length), None)?;
    Ok(Datum::text(head + with + &tail))
}

/// The text by which `concat` and `format` show a value: the output function's, so a boolean is `t`.
fn shown(call: &Call<'_>, index: usize, value: &Datum<'_>) -> Result<String, Diagnosis> {
    match value {
        Datum::Bool(value) => Ok(if *value { "t" } else { "f" }.to_owned()),
        other => {
            let text = PgType::TEXT.into();
            text_of(call.arguments.get(index).unwrap_or(&text), other, &call.session.display)
        }
    }
}

fn concat<'a>(call: &Call<'_>, a: &[Datum<'a>]) -> Outcome<'a> {
    let mut out = String::new();
    for (index, value) in a.iter().enumerate().filter(|(_, value)| !value.is_null()) {
        out.push_str(&shown(call, index, value)?);
    }
    Ok(Datum::text(out))
}

fn concat_with_separator<'a>(call: &Call<'_>, a: &[Datum<'a>]) -> Outcome<'a> {
    if a[0].is_null() {
        return Ok(Datum::Null);
    }
    let mut parts = Vec::new();
    for (index, value) in a.iter().enumerate().skip(1).filter(|(_, value)| !value.is_null()) {
        parts.push(shown(call, index, value)?);
    }
    Ok(Datum::text(parts.join(a[0].as_text())))
}

/// `left || right` over texts.
pub(in super::super) fn concat_texts<'a>(_: &Call<'_>, a: &[Datum<'a>]) -> Outcome<'a> {
    Ok(Datum::text([a[0].as_text(), a[1].as_text()].concat()))
}

/// `left || right` over byte strings.
pub(in super::super) fn concat_bytes<'a>(_: &Call<'_>, a: &[Datum<'a>]) -> Outcome<'a> {
    Ok(Datum::Bytes(Cow::Owned([a[0].as_bytes(), a[1].as_bytes()].concat())))
}

/// `format` with `%s`, `%I`, `%L`, `%%`, positions and widths.
fn format_text<'a>(call: &Call<'_>, a: &[Datum<'a>]) -> Outcome<'a> {
    if a[0].is_null() {
        return Ok(Datum::Null);
    }
    let mut out = String::new();
    let mut letters = a[0].as_text().chars().peekable();
    let mut next = 1_usize;
    while let Some(letter) = letters.next() {
        if letter != '%' {
            out.push(letter);
            continue;
        }
        if letters.next_if_eq(&'%').is_some() {
            out.push('%');
            continue;
        }
        let mut digits = String::new();
        let mut minus = false;
        let kind = loop {
            match letters.next() {
                Some('$') => {
                    next = digits
                        .parse()
                        .ok()
                        .filter(|place| *place > 0)
                        .ok_or_else(|| invalid("format specifies argument 0, but arguments are numbered from 1"))?;
                    digits.clear();
                }
                Some('-') => minus = true,
                Some(digit) if digit.is_ascii_digit() => digits.push(digit),
                Some(kind) => break kind,
                None => return Err(invalid("unterminated format() type specifier").with_hint("For a single \"%\" use \"%%\".")),
            }
        };
        let value = a.get(next).ok_or_else(|| invalid("too few arguments for format()"))?;
        let text = match (kind, value.is_null()) {
            ('s', true) => String::new(),
            ('s', false) => shown(call, next, value)?,
            ('I', true) => return Err(Diagnosis::new("22004", "null values cannot be formatted as an SQL identifier")),
            ('I', false) => quote_identifier(&shown(call, next, value)?),
            ('L', true) => "NULL".to_owned(),
            ('L', false) => quote_literal(&shown(call, next, value)?),
            (other, _) => {
                let message = format!("unrecognized format() type specifier \"{other}\"");
                return Err(invalid(message).with_hint("For a single \"%\" use \"%%\"."));
            }
        };
        next += 1;
        let width: usize = digits.parse().unwrap_or(0);
        let missing = width.saturating_sub(text.chars().count());
        let blanks = " ".repeat(missing);
        out.push_str(&if minus { text + &blanks } else { blanks + &text });
    }
    Ok(Datum::text(out))
}

fn quote_any<'a>(call: &Call<'_>, a: &[Datum<'a>]) -> Outcome<'a> {
    let text = PgType::TEXT.into();
    let shown = cast_text(call.arguments.first().unwrap_or(&text), &a[0], &call.session.display)?;
    Ok(Datum::text(quote_literal(&shown)))
}

fn encode<'a>(_: &Call<'_>, a: &[Datum<'a>]) -> Outcome<'a> {
    let bytes = a[0].as_bytes();
    Ok(Datum::text(match a[1].as_text().to_ascii_lowercase().as_str() {
        "hex" => bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>(),
        "base64" => {
            let text = base64::engine::general_purpose::STANDARD.encode(bytes);
            // Lines end after 76 letters (RFC 2045).
            let letters: Vec<char> = text.chars().collect();
            letters.chunks(76).map(|line| line.iter().collect::<String>()).collect::<Vec<_>>().join("\n")
        }
        "escape" => {
            let mut out = Vec::new();
            for byte in bytes {
                match byte {
                    b'\\' => out.extend(b"\\\\"),
                    0 | 128.. => out.extend(format!("\\{byte:03o}").bytes()),
                    byte => out.push(*byte),
                }
            }
            String::from_utf8(out).unwrap_or_default()
        }
        other => return Err(invalid(format!("unrecognized encoding: \"{other}\""))),
    }))
}

fn decode<'a>(_: &Call<'_>, a: &[Datum<'a>]) -> Outcome<'a> {
    let text = a[0].as_text();
    let bytes = match a[1].as_text().to_ascii_lowercase().as_str() {
        "hex" => decode_hex(text)?,
        "base64" => {
            let packed: String = text.chars().filter(|letter| !letter.is_ascii_whitespace()).collect();
            base64::engine::general_purpose::STANDARD.decode(packed).ok().ok_or_else(|| invalid("invalid base64 end sequence"))?
        }
        "escape" => crate::format::bytea::read(text)?,
        other => return Err(invalid(format!("unrecognized encoding: \"{other}\""))),
    };
    Ok(Datum::Bytes(bytes.into()))
}

fn decode_hex(text: &str) -> Result<Vec<u8>, Diagnosis> {
    let digits: Vec<char> = text.chars().filter(|letter| !letter.is_ascii_whitespace()).collect();
    if digits.len() % 2 == 1 {
        return Err(invalid("invalid hexadecimal data: odd number of digits"));
    }
    let value = |digit: char| digit.to_digit(16).ok_or_else(|| invalid(format!("invalid hexadecimal digit: \"{digit}\"")));
    digits.chunks(2).map(|pair| Ok(u8::try_from(value(pair[0])? * 16 + value(pair[1])?).unwrap_or(0))).collect()
}

fn decode_utf8<'a>(bytes: &[u8]) -> Outcome<'a> {
    String::from_utf8(bytes.to_vec())
        .ok()
        .map(Datum::text)
        .ok_or_else(|| Diagnosis::new(sqlstate::CHARACTER_NOT_IN_REPERTOIRE, "invalid byte sequence for encoding \"UTF8\""))
}
