//! The text form of a row (`record_out`): `(1,"a ""b""",)`.

use std::borrow::Cow;

/// The columns of a row in order; `None` is NULL. `None` for a text that is no row.
pub(super) fn read(text: &str) -> Option<Vec<Option<Cow<'_, str>>>> {
    let mut rest = text.strip_prefix('(')?;
    let mut columns = Vec::new();
    // A row without columns is written as one with an empty one, and tables without columns have no key.
    loop {
        let (column, behind) = if let Some(quoted) = rest.strip_prefix('"') { quoted_column(quoted)? } else { bare(rest)? };
        columns.push(column);
        rest = match behind.strip_prefix(',') {
            Some(next) => next,
            None => return (behind == ")").then_some(columns),
        };
    }
}

type Column<'a> = (Option<Cow<'a, str>>, &'a str);

/// Up to the next comma or parenthesis; what is empty is NULL.
fn bare(text: &str) -> Option<Column<'_>> {
    let (column, behind) = text.split_at(text.find([',', ')'])?);
    Some(((!column.is_empty()).then_some(Cow::Borrowed(column)), behind))
}

/// Up to the quote that stands alone: quotes and backslashes of the value are doubled.
fn quoted_column(text: &str) -> Option<Column<'_>> {
    let end = text.find(['"', '\\'])?;
    let (plain, behind) = text.split_at(end);
    if let Some(behind) = behind.strip_prefix('"')
        && !behind.starts_with('"')
    {
        return Some((Some(Cow::Borrowed(plain)), behind));
    }
    let (mut value, mut rest) = (plain.to_owned(), behind);
    loop {
        let mut letters = rest.chars();
        match (letters.next()?, letters.clone().next()) {
            (mark @ ('"' | '\\'), Some(same)) if mark == same => {
                value.push(mark);
                letters.next();
            }
            ('"', _) => return Some((Some(Cow::Owned(value)), letters.as_str())),
            // A single one is never written.
            ('\\', _) => return None,
            (letter, _) => value.push(letter),
        }
        rest = letters.as_str();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_as_the_server_writes_them() {
        let rows: [(&str, Option<&[Option<&str>]>); 14] = [
            ("(1,a,)", Some(&[Some("1"), Some("a"), None])),
            ("(\"\")", Some(&[Some("")])),
            ("(,)", Some(&[None, None])),
            ("(\"a \"\"b\"\"\",\"c:\\\\d\")", Some(&[Some("a \"b\""), Some("c:\\d")])),
            ("(\"a,b\",\"(x)\",\"\u{e9} \")", Some(&[Some("a,b"), Some("(x)"), Some("\u{e9} ")])),
            ("(\"\"\"\")", Some(&[Some("\"")])),
            ("(\"{\"\"a\"\": 1}\",{x})", Some(&[Some("{\"a\": 1}"), Some("{x}")])),
            ("(\"line\nbreak\")", Some(&[Some("line\nbreak")])),
            ("", None),
            ("(1", None),
            ("(\"1)", None),
            ("(1)x", None),
            ("(\"a\"b)", None),
            ("(\"a\\b\")", None),
        ];
        for (text, expected) in rows {
            let read = read(text);
            let read = read.as_ref().map(|columns| columns.iter().map(Option::as_deref).collect::<Vec<_>>());
            assert_eq!(read.as_deref(), expected, "{text}");
        }
    }
}
