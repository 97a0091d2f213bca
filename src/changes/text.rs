//! A place among the events of one store as clients see it and give it back: a text that sorts as the places do.
//!
//! It says which log it is of, and carries a check of the store's own position, so that a place of another log, or of a history that
//! came out otherwise after a crash, is noticed.

use std::fmt;
use std::str::FromStr;

use crate::error::{Diagnose, sqlstate};
use crate::stores::position::Position;

/// How many hex digits each part has.
const DIGITS: [usize; 4] = [8, 16, 8, 8];

/// `gggggggg-ssssssssssssssss-oooooooo-cccccccc`, all lowercase hex. Compares by generation, transaction and ordinal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Which log.
    pub generation: u32,
    /// Which transaction of it, from 1.
    pub seq: u64,
    /// Which of its entries.
    pub ordinal: u32,
    /// FNV-1a-32 of the token of the transaction's own position.
    pub check: u32,
}

impl Place {
    /// The check of a transaction that ends at `position`.
    pub fn check(position: &Position) -> u32 {
        position.token.iter().fold(0x811c_9dc5, |hash: u32, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { generation, seq, ordinal, check } = self;
        write!(f, "{generation:08x}-{seq:016x}-{ordinal:08x}-{check:08x}")
    }
}

/// A text is no place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid position: \"{0}\"")]
pub struct Malformed(pub String);

impl Diagnose for Malformed {
    fn sqlstate(&self) -> &str {
        sqlstate::INVALID_TEXT_REPRESENTATION
    }

    fn hint(&self) -> Option<String> {
        Some("Give a position as notifications, SUBSCRIBE and tributary.changes tell it.".to_owned())
    }
}

impl FromStr for Place {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        read(text).ok_or_else(|| Malformed(text.chars().take(100).collect()))
    }
}

fn read(text: &str) -> Option<Place> {
    let mut parts = text.split('-').zip(DIGITS).map(|(part, digits)| hex(part, digits));
    let (generation, seq, ordinal, check) = (parts.next()??, parts.next()??, parts.next()??, parts.next()??);
    // Anything behind it makes it longer.
    let is_whole = text.len() == DIGITS.iter().sum::<usize>() + DIGITS.len() - 1;
    let small = |number: u64| u32::try_from(number).ok();
    is_whole.then_some(())?;
    Some(Place { generation: small(generation)?, seq, ordinal: small(ordinal)?, check: small(check)? })
}

/// Exactly so many lowercase hex digits.
fn hex(text: &str, digits: usize) -> Option<u64> {
    let is_hex = text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    is_hex.then(|| u64::from_str_radix(text, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stores::StoreName;

    #[test]
    fn texts_sort_as_their_places() {
        let place = |generation, seq, ordinal| Place { generation, seq, ordinal, check: 7 };
        let sorted = [place(1, 2, 3), place(1, 2, 0x10), place(1, 0x10, 0), place(1, u64::MAX, 0), place(0x10, 0, 0)];
        for pair in sorted.windows(2) {
            assert!(pair[0] < pair[1] && pair[0].to_string() < pair[1].to_string(), "{pair:?}");
        }
        for place in sorted {
            assert_eq!(place.to_string().parse(), Ok(place));
        }
        assert_eq!(sorted[0].to_string(), "00000001-0000000000000002-00000003-00000007");
    }

    #[test]
    fn what_is_no_place_is_refused() {
        let rows = [
            "",
            "x",
            "00000001-0000000000000002-00000003",
            "00000001-0000000000000002-00000003-0000000",
            "00000001-0000000000000002-00000003-00000007-",
            "00000001-0000000000000002-00000003-00000007-00000000",
            "0000000A-0000000000000002-00000003-00000007",
            "+0000001-0000000000000002-00000003-00000007",
            " 00000001-0000000000000002-00000003-00000007",
        ];
        for text in rows {
            assert_eq!(text.parse::<Place>(), Err(Malformed(text.to_owned())), "{text}");
        }
        let told = "é".repeat(200).parse::<Place>().unwrap_err();
        assert_eq!((told.sqlstate(), told.0.chars().count()), ("22P02", 100));
    }

    #[test]
    fn checks_are_of_the_token() {
        let check = |token: &[u8]| Place::check(&Position { store: StoreName::new("s"), token: token.to_vec() });
        // The published values of FNV-1a with 32 bits.
        assert_eq!((check(b""), check(b"a"), check(b"foobar")), (0x811c_9dc5, 0xe40c_292c, 0xbf9c_f968));
    }
}
