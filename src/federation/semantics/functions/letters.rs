//! Upper and lower case as the character type `C.UTF-8` has it: letter for letter, like `towupper` and `towlower` of the C
//! library, which are the simple case mappings of Unicode. A letter whose capital is two letters (`ß`) stays as it is.

use std::sync::LazyLock;

use regex::Regex;

/// `upper`.
pub(super) fn upper(text: &str) -> String {
    if text.is_ascii() { text.to_ascii_uppercase() } else { text.chars().map(capital).collect() }
}

/// `lower`.
pub(super) fn lower(text: &str) -> String {
    if text.is_ascii() { text.to_ascii_lowercase() } else { text.chars().map(small).collect() }
}

/// `initcap`: words begin after anything that is not a letter or digit.
pub(super) fn capitals(text: &str) -> String {
    let mut inside = false;
    text.chars()
        .map(|letter| {
            let shown = if inside { small(letter) } else { capital(letter) };
            inside = is_word(letter);
            shown
        })
        .collect()
}

/// The capital of one letter.
pub(super) fn capital(letter: char) -> char {
    match letter {
        // Greek letters with iota below: the standard library writes the iota out, their simple capital keeps it.
        '\u{1f80}'..='\u{1f87}' | '\u{1f90}'..='\u{1f97}' | '\u{1fa0}'..='\u{1fa7}' => shifted(letter, 8),
        '\u{1fb3}' | '\u{1fc3}' | '\u{1ff3}' => shifted(letter, 9),
        _ => only(letter.to_uppercase()).unwrap_or(letter),
    }
}

/// The small form of one letter.
pub(super) fn small(letter: char) -> char {
    match letter {
        // The capital I with a dot.
        '\u{130}' => 'i',
        _ => only(letter.to_lowercase()).unwrap_or(letter),
    }
}

fn shifted(letter: char, by: u32) -> char {
    char::from_u32(u32::from(letter) + by).unwrap_or(letter)
}

fn only(mut letters: impl Iterator<Item = char>) -> Option<char> {
    letters.next().filter(|_| letters.next().is_none())
}

/// `iswalnum`: alphabetic letters and decimal digits of every script, but no fractions or circled numbers.
fn is_word(letter: char) -> bool {
    static DIGIT: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"^\p{Nd}$").ok());
    if letter.is_ascii() || letter.is_alphabetic() || !letter.is_numeric() {
        return letter.is_ascii_alphanumeric() || letter.is_alphabetic();
    }
    let mut buffer = [0; 4];
    DIGIT.as_ref().is_some_and(|digit| digit.is_match(letter.encode_utf8(&mut buffer)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_change_one_by_one() {
        let rows = [
            ("Ärger straße ǆ ﬁ", "ÄRGER STRAßE Ǆ ﬁ", "ärger straße ǆ ﬁ"),
            ("İstanbul ı", "İSTANBUL I", "istanbul ı"),
            ("ΣΊΣΥΦΟΣ ᾳ ᾼ", "ΣΊΣΥΦΟΣ ᾼ ᾼ", "σίσυφοσ ᾳ ᾳ"),
            ("ǅ ŉ 日本", "Ǆ ŉ 日本", "ǆ ŉ 日本"),
        ];
        for (text, expected_upper, expected_lower) in rows {
            assert_eq!(upper(text), expected_upper, "{text}");
            assert_eq!(lower(text), expected_lower, "{text}");
        }
    }

    #[test]
    fn words_begin_after_what_is_no_letter_and_no_digit() {
        let rows = [("élan d'été-ÀB_c", "Élan D'Été-Àb_C"), ("x٣ab ½ab ②cd", "X٣ab ½Ab ②Cd"), ("ßa ǆa", "ßa Ǆa")];
        for (text, expected) in rows {
            assert_eq!(capitals(text), expected, "{text}");
        }
    }
}
