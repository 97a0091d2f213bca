//! One data set: a table of a store as a text file, with the same values for its copy in PostgreSQL.
//!
//! ```text
//! # comment
//! name : type in the store [=> type in the copy]
//! fill 260                                          rows in all, more than are written down
//! ---
//! 1|Ada|\N                                          COPY's text format with `|` between values
//! 2|{"a":1}~{1}|x                                   `~` between the value in the store and the one in the copy
//! ```
//!
//! Rows beyond those written down take each column's value from a row drawn at random (by a fixed seed), so that every odd
//! value meets every other. Not here: how rows get into servers (`stage`).

use super::random::Random;

/// A table.
pub struct Set {
    /// Its SQL schema in Tributary and in the copy.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// Its columns in order.
    pub columns: Vec<Column>,
    /// Its rows.
    pub rows: Vec<Vec<Value>>,
}

/// A column.
#[derive(Clone)]
pub struct Column {
    pub name: String,
    /// The type in the store, in the store's words.
    pub stored: String,
    /// The type in the copy.
    pub copied: String,
}

/// A value in COPY's text format, still escaped.
#[derive(Clone, PartialEq, Eq)]
pub struct Value {
    pub stored: String,
    pub copied: String,
}

impl Set {
    /// Reads `schema.name` and a file's content.
    pub fn parse(title: &str, text: &str) -> Self {
        let (schema, name) = title.split_once('.').unwrap();
        let (head, body) = text.split_once("---\n").unwrap();
        let (mut columns, mut count) = (Vec::new(), 0);
        for line in head.lines().filter(|line| !line.starts_with('#')) {
            match line.strip_prefix("fill ") {
                Some(number) => count = number.parse().unwrap(),
                None => columns.push(column(line)),
            }
        }
        let mut rows: Vec<Vec<Value>> = body.lines().map(row).collect();
        for (index, row) in rows.iter().enumerate() {
            assert_eq!(row.len(), columns.len(), "{title}: row {} has another number of values", index + 1);
        }
        fill(&columns, &mut rows, count);
        Self { schema: schema.to_owned(), name: name.to_owned(), columns, rows }
    }
}

fn column(line: &str) -> Column {
    let (name, types) = line.split_once(':').unwrap();
    let (stored, copied) = types.split_once("=>").unwrap_or((types, types));
    Column { name: name.trim().to_owned(), stored: stored.trim().to_owned(), copied: copied.trim().to_owned() }
}

fn row(line: &str) -> Vec<Value> {
    line.split('|')
        .map(|value| {
            let (stored, copied) = value.split_once('~').unwrap_or((value, value));
            Value { stored: stored.to_owned(), copied: copied.to_owned() }
        })
        .collect()
}

/// Adds rows up to `count`. The first column and `int64` columns count on, all others are drawn.
fn fill(columns: &[Column], rows: &mut Vec<Vec<Value>>, count: usize) {
    let written = rows.len();
    let mut random = Random::new(u64::try_from(count).unwrap());
    for number in written + 1..=count {
        let drawn = columns.iter().enumerate().map(|(index, column)| {
            let counted = match column.stored.as_str() {
                "objectid" => Some(format!("{number:024x}")),
                "int64" => Some(number.to_string()),
                _ if index == 0 => Some(number.to_string()),
                _ => None,
            };
            match counted {
                Some(text) => Value { stored: text.clone(), copied: text },
                None => rows[random.below(written)][index].clone(),
            }
        });
        let drawn: Vec<Value> = drawn.collect();
        rows.push(drawn);
    }
}

/// The value behind COPY's escapes; `None` is NULL.
pub fn unescaped(text: &str) -> Option<String> {
    if text == "\\N" {
        return None;
    }
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        plain.push(match character {
            '\\' => match characters.next().unwrap() {
                'n' => '\n',
                't' => '\t',
                other => other,
            },
            other => other,
        });
    }
    Some(plain)
}

/// Bytes written as `\x00ff` (already without COPY's escapes).
pub fn bytes(text: &str) -> Vec<u8> {
    let digits = text.strip_prefix("\\x").unwrap();
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn sets_are_read_and_filled() {
    let set = Set::parse("s.t", "# x\nid : int => bigint\nv : text\nfill 4\n---\n1|a~b\n2|\\N\n");
    assert_eq!((set.schema.as_str(), set.columns[0].copied.as_str(), set.columns[1].copied.as_str()), ("s", "bigint", "text"));
    assert_eq!((set.rows.len(), set.rows[3][0].stored.as_str()), (4, "4"));
    assert!(set.rows[2..].iter().all(|row| set.rows[..2].iter().any(|written| written[1] == row[1])));
    assert_eq!(unescaped("a\\\\b\\nc"), Some("a\\b\nc".to_owned()));
    assert_eq!(bytes("\\x00ff"), [0, 255]);
}
