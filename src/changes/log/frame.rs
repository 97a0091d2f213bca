//! Frames of the log of changes and their checksums.
//!
//! ```text
//! frame: length of the body u32 · kind u8 · first transaction u64 · count u32 · received, ms u64 · CRC-32C u32 · body
//! ```
//!
//! All numbers are little-endian. The checksum covers a number that only the segment knows, so that no value of a client is ever taken
//! for a frame, nor what an earlier file left on the disk.

use crc::{CRC_32_ISCSI, Crc, Table};

/// Bytes before the body.
pub(super) const HEAD: usize = 29;
/// Those of them that the checksum covers.
const COVERED: usize = HEAD - 4;
/// The longest body: a transaction that is larger than that comes in pieces, and a single row is no larger in any store.
pub(super) const BODY_BYTES_MAX: usize = 2_000 << 20;

static CRC: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_ISCSI);

/// What a frame holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// What is known at this place: at the head of each segment, and when other tables are followed.
    Standing,
    /// Columns of a table, by a number that counts within the segment.
    Shape,
    /// Whole transactions.
    Group,
    /// A piece of one transaction, which goes on in the next frame with transactions.
    Piece,
    /// The last piece of one.
    LastPiece,
    /// How far the store was read without anything of ours.
    Mark,
}

impl Kind {
    const ALL: [Self; 6] = [Self::Standing, Self::Shape, Self::Group, Self::Piece, Self::LastPiece, Self::Mark];

    fn byte(self) -> u8 {
        match self {
            Self::Standing => 1,
            Self::Shape => 2,
            Self::Group => 3,
            Self::Piece => 4,
            Self::LastPiece => 5,
            Self::Mark => 6,
        }
    }
}

/// What stands before a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    /// Bytes of the body.
    pub(super) length: usize,
    pub(super) kind: Kind,
    /// The first transaction in it; of frames without any, the last one before it.
    pub(super) first: u64,
    /// How many transactions are in it.
    pub(super) count: u32,
    sum: u32,
    covered: [u8; COVERED],
}

impl Head {
    /// Reads the head of a frame; `None` where it cannot be one.
    pub(super) fn read(bytes: &[u8; HEAD]) -> Option<Self> {
        let (covered, sum) = bytes.split_first_chunk::<COVERED>()?;
        let mut input = Input::new(covered);
        let length = usize::try_from(input.u32()?).ok()?;
        let kind = input.u8()?;
        let kind = Kind::ALL.into_iter().find(|known| known.byte() == kind)?;
        // When it was received is for whoever looks into a file.
        let (first, count, _received_ms) = (input.u64()?, input.u32()?, input.u64()?);
        let sum = u32::from_le_bytes(*sum.first_chunk::<4>()?);
        (length <= BODY_BYTES_MAX).then_some(Self { length, kind, first, count, sum, covered: *covered })
    }

    /// Whether the body is the one that was written.
    pub(super) fn fits(&self, salt: u64, body: &[u8]) -> bool {
        body.len() == self.length && self.sum == checksum(salt, &self.covered, body)
    }

    /// The last transaction in it.
    pub(super) fn last(&self) -> u64 {
        (self.first + u64::from(self.count)).saturating_sub(1)
    }
}

fn checksum(salt: u64, head: &[u8], body: &[u8]) -> u32 {
    let mut digest = CRC.digest();
    digest.update(&salt.to_le_bytes());
    digest.update(head);
    digest.update(body);
    digest.finalize()
}

/// The checksum of bytes that no salt belongs to.
pub(super) fn plain_checksum(bytes: &[u8]) -> u32 {
    CRC.checksum(bytes)
}

/// A frame whose body is being written. It is whole when [`Frame::end`] returns.
#[derive(Debug)]
pub(super) struct Frame {
    start: usize,
}

impl Frame {
    /// Leaves room for a head. The body is appended next.
    pub(super) fn begin(out: &mut Vec<u8>) -> Self {
        let start = out.len();
        out.resize(start + HEAD, 0);
        Self { start }
    }

    /// Where the body begins.
    pub(super) fn body(&self) -> usize {
        self.start + HEAD
    }

    /// Writes the head. `false` when the body is too long, and nothing of the frame is left then.
    pub(super) fn end(self, out: &mut Vec<u8>, salt: u64, kind: Kind, (first, count, received_ms): (u64, u32, u64)) -> bool {
        let length = out.len().saturating_sub(self.body());
        let Some(short) = u32::try_from(length).ok().filter(|_| length <= BODY_BYTES_MAX) else {
            out.truncate(self.start);
            return false;
        };
        let mut head = Vec::with_capacity(HEAD);
        head.extend(short.to_le_bytes());
        head.push(kind.byte());
        head.extend(first.to_le_bytes());
        head.extend(count.to_le_bytes());
        head.extend(received_ms.to_le_bytes());
        let sum = checksum(salt, &head, out.get(self.body()..).unwrap_or_default());
        head.extend(sum.to_le_bytes());
        if let Some(room) = out.get_mut(self.start..self.start + HEAD) {
            room.copy_from_slice(&head);
        }
        true
    }
}

/// Bytes that are read from their beginning; everything is `None` once there are not enough of them.
#[derive(Debug)]
pub(super) struct Input<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Input<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// How many bytes have been read.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(count)?;
        let taken = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    fn chunk<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.first_chunk::<N>().copied()
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.chunk::<1>().map(|[byte]| byte)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.chunk().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.chunk().map(u64::from_le_bytes)
    }

    pub(super) fn i64(&mut self) -> Option<i64> {
        self.chunk().map(i64::from_le_bytes)
    }

    /// A length, of something of which each needs at least a byte.
    pub(super) fn length(&mut self) -> Option<usize> {
        let length = usize::try_from(self.u32()?).ok()?;
        (length <= self.bytes.len().saturating_sub(self.at)).then_some(length)
    }

    /// Bytes with their length before them.
    pub(super) fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = self.length()?;
        self.take(length)
    }

    pub(super) fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    /// Whether nothing is left.
    pub(super) fn is_at_end(&self) -> bool {
        self.at == self.bytes.len()
    }
}

/// Appends bytes with their length before them; what is too long for that is cut, which no bound of ours lets happen.
pub(super) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    put_u32(out, length);
    out.extend_from_slice(bytes.get(..usize::try_from(length).unwrap_or(usize::MAX)).unwrap_or(bytes));
}

/// Appends a number.
pub(super) fn put_u32(out: &mut Vec<u8>, number: u32) {
    out.extend_from_slice(&number.to_le_bytes());
}

/// Appends a count, of what the bounds of groups keep far below the largest.
pub(super) fn put_count(out: &mut Vec<u8>, count: usize) {
    put_u32(out, u32::try_from(count).unwrap_or(u32::MAX));
}

/// Appends a number.
pub(super) fn put_u64(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(&number.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(salt: u64, body: &[u8]) -> Vec<u8> {
        let mut out = b"before".to_vec();
        let frame = Frame::begin(&mut out);
        out.extend_from_slice(body);
        assert!(frame.end(&mut out, salt, Kind::Piece, (7, 3, 9)));
        out.split_off(6)
    }

    #[test]
    fn a_frame_is_read_as_it_was_written() {
        let bytes = framed(1, b"body");
        let head = Head::read(bytes.first_chunk().unwrap()).unwrap();
        assert_eq!((head.length, head.kind, head.first, head.count), (4, Kind::Piece, 7, 3));
        assert_eq!(head.last(), 9);
        assert!(head.fits(1, b"body"));
        assert!(!head.fits(2, b"body") && !head.fits(1, b"bodx") && !head.fits(1, b"bod"));
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let bytes = framed(5, b"some body");
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let head = Head::read(flipped.first_chunk().unwrap());
            assert!(!head.is_some_and(|head| head.fits(5, &flipped[HEAD..])), "bit {bit}");
        }
    }

    #[test]
    fn lengths_are_those_that_are_there() {
        let mut bytes = Vec::new();
        put_bytes(&mut bytes, b"ab");
        put_u64(&mut bytes, 3);
        let mut input = Input::new(&bytes);
        assert_eq!((input.text(), input.u64(), input.is_at_end(), input.u8()), (Some("ab"), Some(3), true, None));
        let mut input = Input::new(&[200, 0, 0, 0, 1]);
        assert_eq!(input.bytes(), None);
    }
}
