//! Character sets of the server: the binlog keeps text as the column keeps it, scans get it as UTF-8.
//!
//! Which set a collation belongs to, and what the bytes of those with one byte per character mean, the server is asked itself, so that
//! a character is the same one here as in a scan.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

use sqlx::Row;

use super::super::super::error::StoreError;
use super::super::decode::Fault;
use super::super::error::Place;
use super::super::pool::Lease;
use crate::error::sqlstate;

/// MariaDB since 10.10 names its newest collations here alone.
const APPLICABLE: &str = "SELECT ID, CHARACTER_SET_NAME FROM information_schema.COLLATION_CHARACTER_SET_APPLICABILITY";
const COLLATIONS: &str = "SELECT ID, CHARACTER_SET_NAME FROM information_schema.COLLATIONS WHERE ID IS NOT NULL";
const SINGLE: &str = "SELECT CHARACTER_SET_NAME FROM information_schema.CHARACTER_SETS WHERE MAXLEN = 1";

/// How the bytes of a text become characters.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Charset {
    /// No text: bytes as they are.
    Binary,
    /// UTF-8, of three or four bytes at most.
    Utf8,
    /// Two bytes a unit, the highest first (`utf16`, `ucs2`).
    Utf16,
    /// Two bytes a unit, the lowest first.
    Utf16Little,
    /// Four bytes a character, the highest first.
    Utf32,
    /// One byte a character, which of 256.
    Single(Arc<[char]>),
}

impl fmt::Debug for Charset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Binary => "binary",
            Self::Utf8 => "utf8",
            Self::Utf16 => "utf16",
            Self::Utf16Little => "utf16le",
            Self::Utf32 => "utf32",
            Self::Single(_) => "of single bytes",
        })
    }
}

fn fault() -> Fault {
    Fault {
        sqlstate: sqlstate::CHARACTER_NOT_IN_REPERTOIRE,
        rule: "holds a character that its character set does not have".to_owned(),
    }
}

impl Charset {
    /// One that needs no table; `None` when it has one byte per character, or is not read.
    fn plain(name: &str) -> Option<Self> {
        Some(match name {
            "binary" => Self::Binary,
            "utf8" | "utf8mb3" | "utf8mb4" => Self::Utf8,
            "utf16" | "ucs2" => Self::Utf16,
            "utf16le" => Self::Utf16Little,
            "utf32" => Self::Utf32,
            _ => return None,
        })
    }

    /// The text as UTF-8: the bytes themselves where they are that already, else what is put into `scratch`.
    ///
    /// # Errors
    /// Bytes that are no text of the set.
    pub(super) fn utf8<'r>(&self, raw: &'r [u8], scratch: &'r mut Vec<u8>) -> Result<&'r [u8], Fault> {
        let mut put = |character: char| scratch.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        match self {
            // Whether it is valid is looked at where it becomes a value.
            Self::Binary | Self::Utf8 => return Ok(raw),
            Self::Single(characters) => {
                for byte in raw {
                    put(*characters.get(usize::from(*byte)).ok_or_else(fault)?);
                }
            }
            Self::Utf16 | Self::Utf16Little => {
                let is_little = *self == Self::Utf16Little;
                let (pairs, rest) = raw.as_chunks::<2>();
                if !rest.is_empty() {
                    return Err(fault());
                }
                let units = pairs.iter().map(|pair| if is_little { u16::from_le_bytes(*pair) } else { u16::from_be_bytes(*pair) });
                for character in char::decode_utf16(units) {
                    put(character.map_err(|_half| fault())?);
                }
            }
            Self::Utf32 => {
                let (fours, rest) = raw.as_chunks::<4>();
                if !rest.is_empty() {
                    return Err(fault());
                }
                for four in fours {
                    put(char::from_u32(u32::from_be_bytes(*four)).ok_or_else(fault)?);
                }
            }
        }
        Ok(scratch.as_slice())
    }
}

/// The sets that are read, by the numbers of their collations, which stand in the binlog, and by their names.
#[derive(Debug, Clone, Default)]
pub(super) struct Charsets {
    by_collation: HashMap<u64, Charset>,
    names: BTreeSet<String>,
}

impl Charsets {
    /// The set of a collation; `None` when it is not read.
    pub(super) fn of_collation(&self, number: u64) -> Option<&Charset> {
        self.by_collation.get(&number)
    }

    /// Whether texts of this set are read.
    pub(super) fn reads(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// Asks the server.
    ///
    /// # Errors
    /// What it answered.
    pub(super) async fn ask(lease: &mut Lease, place: Place<'_>) -> Result<Self, StoreError> {
        let broken = |problem: sqlx::Error| place.translate(&problem);
        let collations = match lease.rows(APPLICABLE).await {
            // Older servers have no numbers there.
            Err(StoreError::Remote { .. } | StoreError::SchemaChanged { .. }) => lease.rows(COLLATIONS).await?,
            rows => rows?,
        };
        let single = lease.rows(SINGLE).await?;
        let single = single.iter().map(|row| row.try_get_unchecked::<String, _>(0)).collect::<Result<BTreeSet<_>, _>>();
        let single = single.map_err(broken)?;
        let mut known: HashMap<String, Option<Charset>> = HashMap::new();
        let mut charsets = Self::default();
        for row in &collations {
            let (number, name) = (row.try_get_unchecked::<i64, _>(0), row.try_get_unchecked::<String, _>(1));
            let (number, name) = (number.map_err(broken)?, name.map_err(broken)?);
            let charset = match known.get(&name) {
                Some(charset) => charset.clone(),
                None => {
                    let charset = match Charset::plain(&name) {
                        None if single.contains(&name) => Some(table_of(&name, lease, place).await?),
                        plain => plain,
                    };
                    known.insert(name.clone(), charset.clone());
                    charset
                }
            };
            if let (Some(charset), Ok(number)) = (charset, u64::try_from(number)) {
                charsets.by_collation.insert(number, charset);
                charsets.names.insert(name);
            }
        }
        Ok(charsets)
    }
}

/// What each of the 256 bytes means, by the server's own conversion. A byte without a meaning becomes a question mark, as in a scan.
async fn table_of(name: &str, lease: &mut Lease, place: Place<'_>) -> Result<Charset, StoreError> {
    let all: String = (0..=255_u8).map(|byte| format!("{byte:02X}")).collect();
    // Names of sets are words of the server's own; anything else is not written into a statement.
    let is_word = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let unread = || place.lost("the server does not tell what a character set means");
    if !is_word {
        return Err(unread());
    }
    let rows = lease.rows_of(format!("SELECT HEX(CONVERT(CONVERT(X'{all}' USING {name}) USING utf32))")).await?;
    let text = rows.first().and_then(|row| row.try_get_unchecked::<String, _>(0).ok()).ok_or_else(unread)?;
    characters(&text).map(Charset::Single).ok_or_else(unread)
}

/// 256 characters of eight hex digits each.
fn characters(hex: &str) -> Option<Arc<[char]>> {
    let (each, rest) = hex.as_bytes().as_chunks::<8>();
    let read = |digits: &[u8; 8]| char::from_u32(u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
    let all = each.iter().map(read).collect::<Option<Arc<[char]>>>()?;
    (rest.is_empty() && all.len() == 256).then_some(all)
}

#[cfg(test)]
impl Charsets {
    /// Those that tests need, by the numbers that servers give them.
    pub(super) fn samples() -> Self {
        let latin: Arc<[char]> = (0..=255_u8).map(|byte| if byte == 0x80 { '€' } else { char::from(byte) }).collect();
        let each =
            [(8, Charset::Single(latin)), (63, Charset::Binary), (45, Charset::Utf8), (46, Charset::Utf8), (33, Charset::Utf8)];
        let by_collation = each.into_iter().chain([(54, Charset::Utf16)]).collect();
        Self { by_collation, names: ["latin1", "binary", "utf8mb4", "utf16"].map(str::to_owned).into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(charset: &Charset, raw: &[u8]) -> Option<String> {
        let mut scratch = Vec::new();
        charset.utf8(raw, &mut scratch).ok().map(|text| String::from_utf8(text.to_vec()).unwrap())
    }

    #[test]
    fn texts_become_utf8() {
        let charsets = Charsets::samples();
        let rows = [
            (8, b"\xe9\x80".as_slice(), Some("é€")),
            (45, "é€".as_bytes(), Some("é€")),
            (54, &[0, 0x61, 0, 0xe9, 0xd8, 0x3d, 0xde, 0x00], Some("aé😀")),
            (54, &[0xd8, 0x3d], None),
            (54, &[0], None),
        ];
        for (collation, raw, expected) in rows {
            assert_eq!(read(charsets.of_collation(collation).unwrap(), raw).as_deref(), expected, "{collation} {raw:?}");
        }
        assert_eq!(read(&Charset::Utf16Little, &[0x61, 0]).as_deref(), Some("a"));
        assert_eq!(read(&Charset::Utf32, &[0, 1, 0xf6, 0]).as_deref(), Some("😀"));
        assert_eq!((read(&Charset::Utf32, &[0, 0x11, 0, 0]), read(&Charset::Utf32, &[0])), (None, None));
        assert!(charsets.of_collation(28).is_none() && charsets.reads("latin1") && !charsets.reads("gbk"));
    }

    #[test]
    fn tables_have_256_characters() {
        let hex: String = (0..256).map(|number| format!("{number:08X}")).collect();
        assert_eq!(characters(&hex).unwrap()[0xe9], 'é');
        assert!(
            characters(&hex[8..]).is_none()
                && characters("").is_none()
                && characters(&hex.replace("00000041", "0011FFFF")).is_none()
        );
    }
}
