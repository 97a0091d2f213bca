//! The values of a row in a logical replication message, in text form. Borrows from the message.

use super::decode::{Bytes, Malformed};

/// One column of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Datum<'a> {
    /// NULL; of a key that stands alone, also every column that is not in it.
    Null,
    /// A large value that the change has left as it was, and that was not sent.
    Unchanged,
    /// The text of a value, not yet known to be UTF-8.
    Text(&'a [u8]),
}

/// A row whose lengths have been checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tuple<'a> {
    columns: usize,
    bytes: &'a [u8],
}

impl<'a> Tuple<'a> {
    /// Reads to the end of the row and no further.
    pub(super) fn read(bytes: &mut Bytes<'a>) -> Result<Self, Malformed> {
        let columns = usize::from(bytes.u16()?);
        let start = bytes.rest();
        for _ in 0..columns {
            datum(bytes)?;
        }
        let length = start.len().saturating_sub(bytes.rest().len());
        Ok(Self { columns, bytes: start.get(..length).ok_or(Malformed("ends inside a row"))? })
    }

    /// How many columns there are.
    pub(super) fn len(&self) -> usize {
        self.columns
    }

    /// The columns in order.
    pub(super) fn datums(&self) -> impl Iterator<Item = Datum<'a>> + use<'a> {
        let mut bytes = Bytes::new(self.bytes);
        // They have been read once before.
        (0..self.columns).map_while(move |_| datum(&mut bytes).ok())
    }
}

fn datum<'a>(bytes: &mut Bytes<'a>) -> Result<Datum<'a>, Malformed> {
    match bytes.u8()? {
        b'n' => Ok(Datum::Null),
        b'u' => Ok(Datum::Unchanged),
        b't' => {
            let length = usize::try_from(bytes.i32()?).map_err(|_negative| Malformed("has a value of negative length"))?;
            Ok(Datum::Text(bytes.take(length)?))
        }
        // Binary values come only where they are asked for.
        _ => Err(Malformed("has a value of unknown form")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_ends_where_it_ends() {
        let content = b"\0\x04nut\0\0\0\x02abt\0\0\0\0rest";
        let mut bytes = Bytes::new(content);
        let tuple = Tuple::read(&mut bytes).unwrap();
        let expected = [Datum::Null, Datum::Unchanged, Datum::Text(b"ab"), Datum::Text(b"")];
        assert_eq!((tuple.len(), tuple.datums().collect::<Vec<_>>().as_slice()), (4, expected.as_slice()));
        assert_eq!(bytes.rest(), b"rest");
    }

    #[test]
    fn lengths_that_reach_too_far_are_refused() {
        for content in
            [&b""[..], b"\0", b"\0\x01", b"\0\x01t\0\0\0", b"\0\x01t\0\0\0\x02a", b"\0\x01t\xff\xff\xff\xff", b"\0\x01b\0\0\0\x01a"]
        {
            assert!(Tuple::read(&mut Bytes::new(content)).is_err(), "{content:?}");
        }
    }
}
