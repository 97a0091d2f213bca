//! Compressed parts of MariaDB's events (`log_bin_compress`): one byte with the algorithm and the width of the length, the length
//! of what was compressed, highest byte first, and a zlib stream.

use std::io::Read;

use flate2::read::ZlibDecoder;

use super::bytes::{Bytes, Malformed, big};

/// The most bytes that an event may unfold to: the server has no longer ones.
const BYTES_MAX: u64 = 1 << 30;

const BROKEN: Malformed = Malformed("a compressed event");

/// What was compressed.
///
/// # Errors
/// Another algorithm than zlib, or a length that is not kept to.
pub(super) fn inflate(packed: &[u8]) -> Result<Vec<u8>, Malformed> {
    let mut bytes = Bytes::new(packed, "a compressed event");
    let first = bytes.u8()?;
    let width = usize::from(first & 0x07);
    // The highest bit marks the form; the three below name the algorithm, of which zlib is the only one.
    if first & 0xf0 != 0x80 || !(1..=4).contains(&width) {
        return Err(BROKEN);
    }
    let length = big(bytes.take(width)?);
    if length > BYTES_MAX {
        return Err(BROKEN);
    }
    let mut unfolded = Vec::new();
    // One byte more, so that too much of it is noticed.
    let read = ZlibDecoder::new(bytes.rest()).take(length + 1).read_to_end(&mut unfolded).map_err(|_no_zlib| BROKEN)?;
    if read as u64 == length { Ok(unfolded) } else { Err(BROKEN) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `truncate t`, as a server has written it.
    const TRUNCATE: [u8; 20] =
        [0x81, 0x0a, 0x78, 0x9c, 0x2b, 0x29, 0x2a, 0xcd, 0x4b, 0x4e, 0x2c, 0x49, 0x55, 0x28, 0x01, 0x00, 0x17, 0x28, 0x03, 0xfb];

    #[test]
    fn what_a_server_has_compressed_is_read() {
        assert_eq!(inflate(&TRUNCATE).unwrap(), b"truncate t");
    }

    #[test]
    fn cuts_flips_and_lies_are_refused() {
        for end in 0..TRUNCATE.len() {
            // Without its last bytes the stream still unfolds to all that was promised; its checksum is not reached.
            if let Ok(text) = inflate(&TRUNCATE[..end]) {
                assert_eq!(text, b"truncate t");
            }
        }
        let with = |place: usize, byte: u8| {
            let mut changed = TRUNCATE;
            changed[place] = byte;
            inflate(&changed)
        };
        assert!(with(0, 0x01).is_err() && with(0, 0x91).is_err() && with(0, 0x80).is_err() && with(0, 0x85).is_err());
        assert!(with(1, 9).is_err() && with(1, 11).is_err());
        assert!(inflate(&[0x84, 0xff, 0xff, 0xff, 0xff, 0x78]).is_err(), "more than any event has");
    }
}
