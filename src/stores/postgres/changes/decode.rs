//! Messages of the output plugin `pgoutput`, version 1 of its protocol, as they lie in the stream. Borrows from it and knows nothing
//! but bytes; what they mean is in `groups.rs`.
//!
//! Every length is checked, and bytes behind the end of a message are refused: what is not understood is never taken for something
//! that is.

use super::tuples::Tuple;

/// Microseconds from 1970-01-01 to 2000-01-01, where PostgreSQL's moments begin.
const EPOCH_MICROS: i64 = 946_684_800_000_000;

/// Bytes that are no message: what is wrong with them, as a clause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed(pub(super) &'static str);

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Message<'a> {
    /// A transaction begins.
    Begin {
        /// Where its commit is in the log.
        commit: u64,
        /// When that was.
        committed_us: Option<i64>,
        /// The low half of its number.
        xid: u32,
    },
    /// It ends.
    Commit {
        /// Behind its commit.
        end: u64,
    },
    /// It was written elsewhere.
    Origin(&'a str),
    /// What the columns of a table are from here.
    Relation(Relation<'a>),
    /// A type that is not built in.
    Type,
    /// A row appeared.
    Insert {
        /// In which table.
        relation: u32,
        /// The row.
        new: Tuple<'a>,
    },
    /// A row changed.
    Update {
        /// In which table.
        relation: u32,
        /// What is told of it before.
        old: Option<Old<'a>>,
        /// The row.
        new: Tuple<'a>,
    },
    /// A row went.
    Delete {
        /// From which table.
        relation: u32,
        /// What is told of it.
        old: Old<'a>,
    },
    /// All rows of tables went.
    Truncate(Vec<u32>),
    /// Bytes that somebody has put into the log.
    Logical,
}

/// A row before its change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Old<'a> {
    /// Its key alone; all other columns are NULL here.
    Key(Tuple<'a>),
    /// All of it.
    Row(Tuple<'a>),
}

/// A table as the rows behind it are to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Relation<'a> {
    /// Its number, which those rows give.
    pub(super) id: u32,
    /// Its schema.
    pub(super) namespace: &'a str,
    /// Its name.
    pub(super) name: &'a str,
    /// Its columns, without those that are computed.
    pub(super) columns: Vec<RelationColumn<'a>>,
}

/// One column of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RelationColumn<'a> {
    /// Whether it is of the key that old rows have.
    pub(super) is_key: bool,
    /// Its name.
    pub(super) name: &'a str,
    /// Its type.
    pub(super) type_oid: u32,
    /// And that one's modifier.
    pub(super) typmod: i32,
}

/// Reads one message.
///
/// # Errors
/// It is none.
pub(super) fn read(content: &[u8]) -> Result<Message<'_>, Malformed> {
    let mut bytes = Bytes::new(content);
    let message = match bytes.u8()? {
        b'B' => Message::Begin { commit: bytes.u64()?, committed_us: moment(bytes.i64()?), xid: bytes.u32()? },
        b'C' => {
            // Flags, and where the commit is.
            bytes.take(9)?;
            let end = bytes.u64()?;
            bytes.take(8)?;
            Message::Commit { end }
        }
        b'O' => {
            bytes.take(8)?;
            Message::Origin(bytes.text()?)
        }
        b'R' => Message::Relation(relation(&mut bytes)?),
        b'Y' => {
            bytes.take(4)?;
            bytes.text()?;
            bytes.text()?;
            Message::Type
        }
        b'I' => {
            let relation = bytes.u32()?;
            bytes.expect(b'N')?;
            Message::Insert { relation, new: Tuple::read(&mut bytes)? }
        }
        b'U' => update(&mut bytes)?,
        b'D' => {
            let (relation, mark) = (bytes.u32()?, bytes.u8()?);
            let old = old(mark, &mut bytes)?.ok_or(Malformed("deletes a row without saying which"))?;
            Message::Delete { relation, old }
        }
        b'T' => {
            let count = bytes.u32()?;
            // CASCADE and RESTART IDENTITY.
            bytes.take(1)?;
            Message::Truncate((0..count).map(|_| bytes.u32()).collect::<Result<_, _>>()?)
        }
        b'M' => {
            bytes.take(9)?;
            bytes.text()?;
            let length = usize::try_from(bytes.u32()?).map_err(|_too_long| Malformed("is too long"))?;
            bytes.take(length)?;
            Message::Logical
        }
        _ => return Err(Malformed("is of an unknown kind")),
    };
    if bytes.rest().is_empty() { Ok(message) } else { Err(Malformed("has bytes behind its end")) }
}

/// When a transaction was committed, which one that was replayed from elsewhere may not say.
pub(super) fn moment(micros: i64) -> Option<i64> {
    (micros != 0).then(|| micros.checked_add(EPOCH_MICROS)).flatten()
}

fn update<'a>(bytes: &mut Bytes<'a>) -> Result<Message<'a>, Malformed> {
    let (relation, mark) = (bytes.u32()?, bytes.u8()?);
    let old = old(mark, bytes)?;
    if old.is_some() {
        bytes.expect(b'N')?;
    } else if mark != b'N' {
        return Err(Malformed("changes a row in an unknown way"));
    }
    Ok(Message::Update { relation, old, new: Tuple::read(bytes)? })
}

fn old<'a>(mark: u8, bytes: &mut Bytes<'a>) -> Result<Option<Old<'a>>, Malformed> {
    match mark {
        b'K' => Ok(Some(Old::Key(Tuple::read(bytes)?))),
        b'O' => Ok(Some(Old::Row(Tuple::read(bytes)?))),
        _ => Ok(None),
    }
}

fn relation<'a>(bytes: &mut Bytes<'a>) -> Result<Relation<'a>, Malformed> {
    let (id, namespace, name) = (bytes.u32()?, bytes.text()?, bytes.text()?);
    // By what rows are told apart: the flags of the columns say it.
    bytes.take(1)?;
    let count = bytes.u16()?;
    let columns = (0..count).map(|_| {
        let (flags, name) = (bytes.u8()?, bytes.text()?);
        Ok(RelationColumn { is_key: flags & 1 == 1, name, type_oid: bytes.u32()?, typmod: bytes.i32()? })
    });
    Ok(Relation { id, namespace, name, columns: columns.collect::<Result<_, _>>()? })
}

/// Bytes that are read from the front.
#[derive(Debug)]
pub(super) struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    /// From their first on.
    pub(super) fn new(content: &'a [u8]) -> Self {
        Self(content)
    }

    /// Those that have not been read.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.0
    }

    /// The next so many.
    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Malformed("ends too early"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or(Malformed("ends too early"))?;
        self.0 = rest;
        Ok(*taken)
    }

    /// A byte.
    pub(super) fn u8(&mut self) -> Result<u8, Malformed> {
        self.array().map(|[byte]| byte)
    }

    /// Two bytes.
    pub(super) fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_be_bytes)
    }

    /// Four bytes with a sign.
    pub(super) fn i32(&mut self) -> Result<i32, Malformed> {
        self.array().map(i32::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_be_bytes)
    }

    fn i64(&mut self) -> Result<i64, Malformed> {
        self.array().map(i64::from_be_bytes)
    }

    /// A text up to a zero byte.
    fn text(&mut self) -> Result<&'a str, Malformed> {
        let length = self.0.iter().position(|byte| *byte == 0).ok_or(Malformed("has a text without an end"))?;
        let text = std::str::from_utf8(self.take(length)?).map_err(|_cause| Malformed("has a name that is not UTF-8"))?;
        self.take(1)?;
        Ok(text)
    }

    fn expect(&mut self, mark: u8) -> Result<(), Malformed> {
        if self.u8()? == mark { Ok(()) } else { Err(Malformed("has no new row where one belongs")) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tuples::Datum;
    use super::*;

    /// What a server of version 15 has sent for inserts, updates with and without a new key, deletes of both kinds, a large value
    /// that stayed, TRUNCATE of two tables, a message, and a transaction from elsewhere.
    const RECORDED: &[&str] = &[
        "420000000001589450000303dd61d6a4fb000002e9",
        "590000400f7075626c6963006d6f6f6400",
        "5200004013730061006400030169640000000017ffffffff006e6f74650000000019ffffffff006d000000400fffffffff",
        "49000040134e0003740000000131740000000465696e7374000000026f6b",
        "49000040134e00037400000001326e6e",
        "430000000000015894500000000001589480000303dd61d6a4fb",
        "4200000000015895a0000303dd61d6a7d2000002ea",
        "55000040134e000374000000013174000000017874000000026f6b",
        "55000040134b00037400000001326e6e4e00037400000001336e6e",
        "44000040134b00037400000001336e6e",
        "430000000000015895a000000000015895d0000303dd61d6a7d2",
        "420000000001589750000303dd61d6a8d5000002eb",
        "520000401a73006600660002016b0000000017ffffffff01760000000019ffffffff",
        "490000401a4e0002740000000131740000000161",
        "550000401a4f00027400000001317400000001614e0002740000000131740000000162",
        "440000401a4f0002740000000131740000000162",
        "430000000000015897500000000001589780000303dd61d6a8d5",
        "42000000000158aa20000303dd61d6aae9000002ec",
        "52000040217075626c6963004f64640064000301610000000017ffffffff01620000000017ffffffff006269670000000019ffffffff",
        "49000040214e0003740000000131740000000132740000000474747474",
        "4300000000000158aa20000000000158aa50000303dd61d6aae9",
        "42000000000158ab38000303dd61d6ab43000002ed",
        "55000040214b00037400000001317400000001326e4e000374000000013174000000013575",
        "4300000000000158ab38000000000158ab68000303dd61d6ab43",
        "42000000000158de38000303dd61d6ad93000002ee",
        "590000400f7075626c6963006d6f6f6400",
        "5200004013730061006400030169640000000017ffffffff006e6f74650000000019ffffffff006d000000400fffffffff",
        "520000401a73006600660002016b0000000017ffffffff01760000000019ffffffff",
        "540000000200000040130000401a",
        "4300000000000158de38000000000158e0f0000303dd61d6ad93",
        "42000000000158e130000303dd61d6afb4000002ef",
        "4d01000000000158e13068656c6c6f0000000005776f726c64",
        "4300000000000158e130000000000158e160000303dd61d6afb4",
        "42000000000158e2400002b0e9f2c0a000000002f0",
        "4f0000000000000001656c7365776865726500",
        "520000401a73006600660002016b0000000017ffffffff01760000000019ffffffff",
        "490000401a4e00027400000001397400000000",
        "4300000000000158e240000000000158e2880002b0e9f2c0a000",
    ];
    fn all() -> Vec<Vec<u8>> {
        RECORDED.iter().map(|hex| unhex(hex)).collect()
    }

    fn unhex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().map(|digit| (digit as char).to_digit(16).unwrap() as u8).collect();
        digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
    }

    #[test]
    fn a_recorded_stream_is_understood() {
        let all = all();
        let messages: Vec<Message<'_>> = all.iter().map(|content| read(content).unwrap()).collect();
        let kinds: String = all.iter().map(|content| content[0] as char).collect();
        assert_eq!(kinds, "BYRIICBUUDCBRIUDCBRICBUCBYRRTCBMCBORIC");
        assert_eq!(messages[0], Message::Begin { commit: 0x0158_9450, committed_us: Some(1_795_359_094_244_603), xid: 745 });
        let Message::Relation(relation) = &messages[2] else { panic!("{:?}", messages[2]) };
        assert_eq!((relation.namespace, relation.name, relation.columns.len()), ("s", "a", 3));
        let id = RelationColumn { is_key: true, name: "id", type_oid: 23, typmod: -1 };
        assert_eq!((relation.columns[0], relation.columns[2].name, relation.columns[2].is_key), (id, "m", false));
        // A new key comes with the old one, whose other columns are not told.
        let Message::Update { old: Some(Old::Key(old)), new, .. } = &messages[8] else { panic!("{:?}", messages[8]) };
        assert_eq!(old.datums().collect::<Vec<_>>(), [Datum::Text(b"2"), Datum::Null, Datum::Null]);
        assert_eq!(new.datums().next(), Some(Datum::Text(b"3")));
        let Message::Update { old: Some(Old::Row(old)), .. } = &messages[14] else { panic!("{:?}", messages[14]) };
        assert_eq!(old.datums().collect::<Vec<_>>(), [Datum::Text(b"1"), Datum::Text(b"a")]);
        // A computed column is not sent, and a large value not again.
        let Message::Update { new, .. } = &messages[22] else { panic!("{:?}", messages[22]) };
        assert_eq!(new.datums().collect::<Vec<_>>(), [Datum::Text(b"1"), Datum::Text(b"5"), Datum::Unchanged]);
        assert_eq!(messages[28], Message::Truncate(vec![0x4013, 0x401a]));
        assert_eq!(messages[34], Message::Origin("elsewhere"));
        assert_eq!(messages[37], Message::Commit { end: 0x0158_e288 });
    }

    #[test]
    fn cuts_and_additions_are_refused() {
        for content in all() {
            for length in 0..content.len() {
                assert!(read(&content[..length]).is_err(), "{length} of {content:?}");
            }
            assert!(read(&[content.as_slice(), b"\0"].concat()).is_err());
        }
    }

    #[test]
    fn flipped_bits_never_panic() {
        for content in all() {
            for place in 0..content.len() * 8 {
                let mut flipped = content.clone();
                flipped[place / 8] ^= 1 << (place % 8);
                if let Ok(Message::Insert { new, .. } | Message::Update { new, .. }) = read(&flipped) {
                    assert_eq!(new.datums().count(), new.len());
                }
            }
        }
    }

    #[test]
    fn counts_are_not_believed() {
        // Four thousand million tables, and none of them.
        assert!(read(b"T\xff\xff\xff\xff\0").is_err());
        assert!(read(b"I\0\0\0\x01N\xff\xff").is_err());
        assert!(read(b"M\0\0\0\0\0\0\0\0\0x\0\xff\xff\xff\xff").is_err());
    }
}
