//! Names of encodings, as PostgreSQL knows them.

/// All of them, as [`canonical`] writes them, but for those that are a word with a number.
const NAMES: &[&str] = &[
    "abc",
    "alt",
    "big5",
    "euccn",
    "eucjis2004",
    "eucjp",
    "euckr",
    "euctw",
    "gb18030",
    "gbk",
    "johab",
    "koi8",
    "koi8r",
    "koi8u",
    "mskanji",
    "muleinternal",
    "shiftjis",
    "shiftjis2004",
    "sjis",
    "sqlascii",
    "tcvn",
    "tcvn5712",
    "uhc",
    "unicode",
    "utf8",
    "vscii",
    "win",
];

/// Numbers of ISO 8859 that have a name.
const PARTS: &[u32] = &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 13, 14, 15, 16];

/// Numbers of code pages that have a name.
const PAGES: &[u32] = &[866, 874, 932, 936, 949, 950, 1250, 1251, 1252, 1253, 1254, 1255, 1256, 1257, 1258];

/// A name without what PostgreSQL does not look at.
pub(super) fn canonical(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_lowercase()).collect()
}

/// Whether PostgreSQL knows an encoding of this name.
pub(super) fn is_known(name: &str) -> bool {
    let name = canonical(name);
    let numbered =
        |word: &str| name.strip_prefix(word).filter(|digits| !digits.starts_with('0')).and_then(|digits| digits.parse().ok());
    NAMES.contains(&name.as_str())
        || numbered("iso8859").is_some_and(|part: u32| PARTS.contains(&part))
        || numbered("latin").is_some_and(|part: u32| (1..=10).contains(&part))
        || ["windows", "win"].into_iter().any(|word| numbered(word).is_some_and(|page: u32| PAGES.contains(&page)))
}

#[cfg(test)]
mod tests {
    use super::is_known;

    #[test]
    fn names_are_known_however_they_are_written() {
        for name in ["UTF8", "utf-8", "Unicode", "latin1", "ISO_8859-5", "iso885916", "Windows-1252", "win866", "SQL_ASCII", "win"]
        {
            assert!(is_known(name), "{name}");
        }
        for name in ["", "utf16", "latin11", "latin0", "latin01", "iso885911", "cp1252", "ascii", "win1259", "windows"] {
            assert!(!is_known(name), "{name}");
        }
    }
}
