//! `LIKE` patterns rewritten for stores whose escape character or pattern language differs.
//!
//! The input is a Postgres pattern: `%`, `_`, and backslash before a character that stands for itself.

/// One element of a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// `%`
    Any,
    /// `_`
    One,
    /// A character that stands for itself.
    Exactly(char),
}

/// The parts of a pattern, or `None` when it ends with the escape character, which Postgres refuses with 22025.
pub fn parts(pattern: &str) -> Option<Vec<Part>> {
    let mut parts = Vec::with_capacity(pattern.len());
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        parts.push(match character {
            '%' => Part::Any,
            '_' => Part::One,
            '\\' => Part::Exactly(characters.next()?),
            other => Part::Exactly(other),
        });
    }
    Some(parts)
}

/// The pattern with `escape` in place of the backslash, so that a backslash stands for itself. `None` as [`parts`].
pub fn with_escape(pattern: &str, escape: char) -> Option<String> {
    let mut result = String::with_capacity(pattern.len() + 4);
    for part in parts(pattern)? {
        match part {
            Part::Any => result.push('%'),
            Part::One => result.push('_'),
            Part::Exactly(character) => {
                if character == '%' || character == '_' || character == escape {
                    result.push(escape);
                }
                result.push(character);
            }
        }
    }
    Some(result)
}

/// The pattern in SQLite's `GLOB` language, whose wildcards are `*`, `?` and `[…]` and which minds case. `None` as [`parts`].
pub fn as_glob(pattern: &str) -> Option<String> {
    let mut result = String::with_capacity(pattern.len() + 4);
    for part in parts(pattern)? {
        match part {
            Part::Any => result.push('*'),
            Part::One => result.push('?'),
            Part::Exactly(character @ ('*' | '?' | '[')) => {
                result.push('[');
                result.push(character);
                result.push(']');
            }
            Part::Exactly(character) => result.push(character),
        }
    }
    Some(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_keep_their_meaning() {
        let rows = [
            ("abc", Some("abc"), Some("abc")),
            ("a%b_", Some("a%b_"), Some("a*b?")),
            ("100\\%", Some("100!%"), Some("100%")),
            ("a\\\\b", Some("a\\b"), Some("a\\b")),
            ("wow!", Some("wow!!"), Some("wow!")),
            ("[x]*?", Some("[x]*?"), Some("[[]x][*][?]")),
            ("\\a", Some("a"), Some("a")),
            ("ends\\", None, None),
            ("", Some(""), Some("")),
        ];
        for (pattern, escaped, glob) in rows {
            assert_eq!(with_escape(pattern, '!').as_deref(), escaped);
            assert_eq!(as_glob(pattern).as_deref(), glob);
        }
    }
}
