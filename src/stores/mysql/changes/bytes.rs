//! Bytes that are read from front to back, and what is said of those that end too soon.

/// Bytes of the binlog that have not the form that they should have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed(pub(super) &'static str);

/// What is left of some bytes. Numbers are little-endian unless a name says otherwise.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bytes<'a> {
    rest: &'a [u8],
    /// What they are, for errors.
    what: &'static str,
}

impl<'a> Bytes<'a> {
    /// All of `rest`, which is called `what` when it is too short.
    pub(super) fn new(rest: &'a [u8], what: &'static str) -> Self {
        Self { rest, what }
    }

    /// Whether nothing is left.
    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// What is left.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The error of these bytes.
    pub(super) fn malformed(&self) -> Malformed {
        Malformed(self.what)
    }

    /// The next `count` bytes.
    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(Malformed(self.what))?;
        self.rest = rest;
        Ok(taken)
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let taken = self.take(N)?;
        taken.try_into().map_err(|_other_length| Malformed(self.what))
    }

    /// One byte.
    pub(super) fn u8(&mut self) -> Result<u8, Malformed> {
        self.fixed::<1>().map(|[byte]| byte)
    }

    /// Two bytes.
    pub(super) fn u16(&mut self) -> Result<u16, Malformed> {
        self.fixed().map(u16::from_le_bytes)
    }

    /// Four bytes.
    pub(super) fn u32(&mut self) -> Result<u32, Malformed> {
        self.fixed().map(u32::from_le_bytes)
    }

    /// Eight bytes.
    pub(super) fn u64(&mut self) -> Result<u64, Malformed> {
        self.fixed().map(u64::from_le_bytes)
    }

    /// A number of at most eight bytes.
    pub(super) fn number(&mut self, bytes: usize) -> Result<u64, Malformed> {
        Ok(little(self.take(bytes)?))
    }

    /// A length, as a number of one to four bytes, and so many bytes behind it.
    pub(super) fn prefixed(&mut self, bytes: usize) -> Result<&'a [u8], Malformed> {
        let length = self.number(bytes)?;
        self.take(usize::try_from(length).map_err(|_too_long| Malformed(self.what))?)
    }

    /// A length-encoded number of the protocol.
    pub(super) fn encoded(&mut self) -> Result<u64, Malformed> {
        match self.u8()? {
            small @ 0..=250 => Ok(small.into()),
            252 => self.number(2),
            253 => self.number(3),
            254 => self.number(8),
            _ => Err(Malformed(self.what)),
        }
    }

    /// A length-encoded number that counts something.
    pub(super) fn count(&mut self) -> Result<usize, Malformed> {
        usize::try_from(self.encoded()?).map_err(|_too_many| Malformed(self.what))
    }

    /// As many bytes as a length-encoded number in front says.
    pub(super) fn counted(&mut self) -> Result<&'a [u8], Malformed> {
        let count = self.count()?;
        self.take(count)
    }
}

/// A number of at most eight bytes, the lowest first.
pub(super) fn little(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, byte| (number << 8) | u64::from(*byte))
}

/// A number of at most eight bytes, the highest first.
pub(super) fn big(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, byte| (number << 8) | u64::from(*byte))
}

/// Whether a bit of a map of bits is set, the lowest bit of the first byte being the first; one behind the end is not.
pub(super) fn bit(bits: &[u8], place: usize) -> bool {
    bits.get(place / 8).is_some_and(|byte| (byte >> (place % 8)) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_too_soon_is_told_by_name() {
        let mut bytes = Bytes::new(&[1, 2, 0, 252, 3, 0, 9, 9, 9, 7], "a sample");
        assert_eq!((bytes.u8(), bytes.u16()), (Ok(1), Ok(2)));
        assert_eq!(bytes.counted(), Ok([9, 9, 9].as_slice()));
        assert_eq!(bytes.u32(), Err(Malformed("a sample")));
        assert_eq!((bytes.rest(), bytes.is_empty()), ([7].as_slice(), false));
        assert_eq!(Bytes::new(&[255], "x").encoded(), Err(Malformed("x")));
        assert_eq!(Bytes::new(&[2, 65, 66, 67], "x").prefixed(1), Ok(b"AB".as_slice()));
        assert_eq!((little(&[1, 2]), big(&[1, 2])), (513, 258));
        assert!(bit(&[0b10, 1], 1) && bit(&[0, 1], 8) && !bit(&[0, 1], 9) && !bit(&[], 0));
    }
}
