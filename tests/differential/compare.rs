//! Whether two answers are the same, and what differs if not.

use std::fmt::Write as _;

use super::ask::Answer;

/// Most differing rows that are shown of each answer.
const SHOWN_ROWS: usize = 4;

type Row = Vec<Option<Vec<u8>>>;

/// What differs; `None` when nothing does. Rows are compared in order when `ordered`, as multisets otherwise.
pub fn difference(ours: &Answer, expected: &Answer, ordered: bool) -> Option<String> {
    match (ours, expected) {
        (Answer::Error { state: ours_state, .. }, Answer::Error { state, .. }) if ours_state == state => None,
        (Answer::Rows { columns: left, rows: ours_rows }, Answer::Rows { columns: right, rows }) => {
            if left != right {
                return Some(format!("columns differ\n      Tributary  {ours}\n      PostgreSQL {expected}"));
            }
            rows_difference(ours_rows, rows, ordered)
        }
        _ => Some(format!("\n      Tributary  {ours}\n      PostgreSQL {expected}")),
    }
}

fn rows_difference(ours: &[Row], expected: &[Row], ordered: bool) -> Option<String> {
    if ordered && ours == expected {
        return None;
    }
    let (mut left, mut right) = (ours.to_vec(), expected.to_vec());
    left.sort();
    right.sort();
    if left == right {
        return ordered.then(|| {
            let at = ours.iter().zip(expected).position(|(a, b)| a != b).unwrap_or_default();
            format!(
                "the same rows in another order, from row {at}:\n      Tributary  {}\n      PostgreSQL {}",
                shown(&ours[at]),
                shown(&expected[at])
            )
        });
    }
    let mut text = format!("{} row(s), expected {}", ours.len(), expected.len());
    for (who, rows, others) in [("Tributary ", &left, &right), ("PostgreSQL", &right, &left)] {
        for row in lacking(rows, others).into_iter().take(SHOWN_ROWS) {
            write!(text, "\n      only {who} {}", shown(row)).unwrap();
        }
    }
    Some(text)
}

/// Rows of the one sorted list that the other sorted list lacks, counted as often as they occur.
fn lacking<'a>(rows: &'a [Row], others: &[Row]) -> Vec<&'a Row> {
    let mut others = others.iter().peekable();
    let mut found = Vec::new();
    for row in rows {
        while others.next_if(|other| *other < row).is_some() {}
        if others.next_if_eq(&row).is_none() {
            found.push(row);
        }
    }
    found
}

fn shown(row: &Row) -> String {
    let values: Vec<String> = row
        .iter()
        .map(|value| match value {
            None => "NULL".to_owned(),
            Some(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) if !text.contains(|c: char| c.is_control() && c != '\n') => text.to_owned(),
                _ => bytes.iter().fold("x".to_owned(), |text, byte| text + &format!("{byte:02x}")),
            },
        })
        .collect();
    values.join(" | ")
}

/// Whether the statement's own result is ordered: ORDER BY outside of all parentheses and quotes.
pub fn is_ordered(sql: &str) -> bool {
    let (mut depth, mut quoted, mut outer) = (0_i32, false, String::new());
    for character in sql.chars() {
        match character {
            '\'' => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted => depth -= 1,
            other if depth == 0 && !quoted => outer.push(other),
            _ => {}
        }
    }
    outer.contains("ORDER BY")
}

#[test]
fn differences_are_found() {
    let rows = |rows: &[&[u8]]| Answer::Rows {
        columns: vec![("a".to_owned(), 25)],
        rows: rows.iter().map(|value| vec![Some(value.to_vec())]).collect(),
    };
    let error = |state: &str| Answer::Error { state: state.to_owned(), message: String::new() };
    let cases = [
        (rows(&[b"1", b"2"]), rows(&[b"2", b"1"]), false, true),
        (rows(&[b"1", b"2"]), rows(&[b"2", b"1"]), true, false),
        (rows(&[b"1", b"1"]), rows(&[b"1"]), false, false),
        (rows(&[b"1"]), Answer::Rows { columns: vec![("a".to_owned(), 23)], rows: vec![vec![Some(b"1".to_vec())]] }, false, false),
        (error("22012"), error("22012"), false, true),
        (error("22012"), error("22003"), false, false),
        (error("22012"), rows(&[]), false, false),
    ];
    for (ours, expected, ordered, same) in cases {
        assert_eq!(difference(&ours, &expected, ordered).is_none(), same, "{ours} {expected}");
    }
    assert_eq!(lacking(&[vec![None], vec![None]], &[vec![None]]).len(), 1);
    for (sql, expected) in [("SELECT 1 ORDER BY 1", true), ("SELECT (SELECT 1 ORDER BY 1)", false), ("SELECT 'ORDER BY'", false)] {
        assert_eq!(is_ordered(sql), expected, "{sql}");
    }
}
