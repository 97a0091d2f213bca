//! What the binlog says of a table before its rows: the form of each column, its name, and how its values are to be read
//! (`TABLE_MAP_EVENT` with `binlog_row_metadata = FULL`).

use super::bytes::{Bytes, Malformed, bit};

/// Types of columns in the binlog, by the numbers of the protocol.
pub(super) mod code {
    /// `tinyint`
    pub(in super::super) const TINY: u8 = 1;
    /// `smallint`
    pub(in super::super) const SHORT: u8 = 2;
    /// `int`
    pub(in super::super) const LONG: u8 = 3;
    /// `float`
    pub(in super::super) const FLOAT: u8 = 4;
    /// `double`
    pub(in super::super) const DOUBLE: u8 = 5;
    /// `timestamp` of old tables
    pub(in super::super) const OLD_TIMESTAMP: u8 = 7;
    /// `bigint`
    pub(in super::super) const LONG_LONG: u8 = 8;
    /// `mediumint`
    pub(in super::super) const MIDDLE: u8 = 9;
    /// `date`
    pub(in super::super) const DATE: u8 = 10;
    /// `time` of old tables
    pub(in super::super) const OLD_TIME: u8 = 11;
    /// `datetime` of old tables
    pub(in super::super) const OLD_DATETIME: u8 = 12;
    /// `year`
    pub(in super::super) const YEAR: u8 = 13;
    /// `date`
    pub(in super::super) const NEW_DATE: u8 = 14;
    /// `varchar` and `varbinary`
    pub(in super::super) const VARCHAR: u8 = 15;
    /// `bit`
    pub(in super::super) const BIT: u8 = 16;
    /// `timestamp`
    pub(in super::super) const TIMESTAMP: u8 = 17;
    /// `datetime`
    pub(in super::super) const DATETIME: u8 = 18;
    /// `time`
    pub(in super::super) const TIME: u8 = 19;
    /// Compressed `blob` and `text` of MariaDB
    pub(in super::super) const BLOB_COMPRESSED: u8 = 140;
    /// Compressed `varchar` and `varbinary` of MariaDB
    pub(in super::super) const VARCHAR_COMPRESSED: u8 = 141;
    /// `vector`
    pub(in super::super) const VECTOR: u8 = 242;
    /// `json` of MySQL
    pub(in super::super) const JSON: u8 = 245;
    /// `decimal`
    pub(in super::super) const DECIMAL: u8 = 246;
    /// `enum`
    pub(in super::super) const ENUM: u8 = 247;
    /// `set`
    pub(in super::super) const SET: u8 = 248;
    /// `blob` and `text` of all sizes
    pub(in super::super) const BLOB: u8 = 252;
    /// The numbers of the four sizes, of which logs have the last alone.
    pub(in super::super) const BLOBS: std::ops::RangeInclusive<u8> = 249..=252;
    /// `varchar` of old tables
    pub(in super::super) const VAR_STRING: u8 = 253;
    /// `char`, `binary`, and types of MariaDB's with a fixed number of bytes
    pub(in super::super) const STRING: u8 = 254;
    /// `geometry`
    pub(in super::super) const GEOMETRY: u8 = 255;
}

/// How many bytes a value has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// So many.
    Fixed(usize),
    /// As many as a number in front says, which has so many bytes.
    Prefixed(usize),
}

/// A column as the event describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EventColumn<'a> {
    /// Its type ([`code`]).
    pub(super) code: u8,
    /// What more there is to its type: lengths, digits.
    pub(super) detail: [u8; 2],
    /// How many bytes its values have.
    pub(super) extent: Extent,
    /// Its name, where it is told.
    pub(super) name: Option<&'a [u8]>,
    /// Whether its numbers have no sign, where it is told.
    pub(super) is_unsigned: Option<bool>,
    /// The collation of its text, where it is told.
    pub(super) collation: Option<u64>,
    /// The labels of an `enum` or `set`, in the character set of the column.
    pub(super) labels: Vec<&'a [u8]>,
}

/// What the binlog says of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TableMap<'a> {
    /// The number by which its rows name it in the group.
    pub(super) number: u64,
    /// Its database.
    pub(super) namespace: &'a str,
    /// Its name.
    pub(super) name: &'a str,
    /// Its columns; empty when only the names were asked for.
    pub(super) columns: Vec<EventColumn<'a>>,
}

const WHAT: &str = "an event that describes a table";

impl<'a> TableMap<'a> {
    /// Reads the number and the names alone.
    ///
    /// # Errors
    /// It has not the form of such an event.
    pub(super) fn named(body: &'a [u8]) -> Result<Self, Malformed> {
        Self::begun(body).map(|(map, _)| map)
    }

    fn begun(body: &'a [u8]) -> Result<(Self, Bytes<'a>), Malformed> {
        let mut bytes = Bytes::new(body, WHAT);
        let number = bytes.number(6)?;
        let _flags = bytes.u16()?;
        let text = |raw: &'a [u8]| std::str::from_utf8(raw).map_err(|_no_name| Malformed(WHAT));
        let namespace = text(bytes.prefixed(1)?)?;
        let _end = bytes.u8()?;
        let name = text(bytes.prefixed(1)?)?;
        let _end = bytes.u8()?;
        Ok((Self { number, namespace, name, columns: Vec::new() }, bytes))
    }

    /// Reads all of it. The two servers count other types among texts.
    ///
    /// # Errors
    /// It has not the form of such an event, or there is a type that is not known.
    pub(super) fn read(body: &'a [u8], is_mariadb: bool) -> Result<Self, Malformed> {
        let (mut map, mut bytes) = Self::begun(body)?;
        let count = bytes.count()?;
        let codes = bytes.take(count)?;
        let mut details = Bytes::new(bytes.counted()?, WHAT);
        map.columns = codes.iter().map(|code| column(*code, &mut details)).collect::<Result<_, _>>()?;
        let _nullable = bytes.take(count.div_ceil(8))?;
        while !bytes.is_empty() {
            let kind = bytes.u8()?;
            map.add(kind, Bytes::new(bytes.counted()?, WHAT), is_mariadb)?;
        }
        Ok(map)
    }

    fn add(&mut self, kind: u8, mut value: Bytes<'a>, is_mariadb: bool) -> Result<(), Malformed> {
        match kind {
            // One bit for each number, the highest of a byte first.
            1 => {
                let bits = value.rest();
                let numbers = self.columns.iter_mut().filter(|column| is_number(column.code));
                for (place, column) in numbers.enumerate() {
                    column.is_unsigned = Some(bit(bits, place / 8 * 8 + 7 - place % 8));
                }
                Ok(())
            }
            2 => self.default_collation(&mut value, &|column: &EventColumn<'_>| is_text(column.code, is_mariadb)),
            3 => self.collations(&mut value, &|column: &EventColumn<'_>| is_text(column.code, is_mariadb)),
            4 => {
                for column in &mut self.columns {
                    column.name = Some(value.counted()?);
                }
                Ok(())
            }
            5 => self.labels(&mut value, code::SET),
            6 => self.labels(&mut value, code::ENUM),
            10 => self.default_collation(&mut value, &has_labels),
            11 => self.collations(&mut value, &has_labels),
            // Kinds of geometry, keys, visibility.
            _ => Ok(()),
        }
    }

    fn default_collation(&mut self, value: &mut Bytes<'a>, is_meant: &dyn Fn(&EventColumn<'_>) -> bool) -> Result<(), Malformed> {
        let default = value.encoded()?;
        let mut meant: Vec<&mut EventColumn<'a>> = self.columns.iter_mut().filter(|column| is_meant(column)).collect();
        for column in &mut meant {
            column.collation = Some(default);
        }
        while !value.is_empty() {
            let (place, collation) = (value.count()?, value.encoded()?);
            meant.get_mut(place).ok_or(Malformed(WHAT))?.collation = Some(collation);
        }
        Ok(())
    }

    fn collations(&mut self, value: &mut Bytes<'a>, is_meant: &dyn Fn(&EventColumn<'_>) -> bool) -> Result<(), Malformed> {
        for column in self.columns.iter_mut().filter(|column| is_meant(column)) {
            column.collation = Some(value.encoded()?);
        }
        // One more or less, and they belong to other columns than it seems.
        if value.is_empty() { Ok(()) } else { Err(value.malformed()) }
    }

    fn labels(&mut self, value: &mut Bytes<'a>, code: u8) -> Result<(), Malformed> {
        for column in self.columns.iter_mut().filter(|column| column.code == code) {
            let count = value.count()?;
            column.labels = (0..count).map(|_| value.counted()).collect::<Result<_, _>>()?;
        }
        Ok(())
    }
}

fn is_number(code: u8) -> bool {
    matches!(
        code,
        code::TINY
            | code::SHORT
            | code::MIDDLE
            | code::LONG
            | code::LONG_LONG
            | code::FLOAT
            | code::DOUBLE
            | code::YEAR
            | code::DECIMAL
            | 0
    )
}

fn is_text(code: u8, is_mariadb: bool) -> bool {
    match code {
        code::VARCHAR | code::VAR_STRING | code::STRING => true,
        code::GEOMETRY | code::BLOB_COMPRESSED | code::VARCHAR_COMPRESSED => is_mariadb,
        other => code::BLOBS.contains(&other),
    }
}

fn has_labels(column: &EventColumn<'_>) -> bool {
    matches!(column.code, code::ENUM | code::SET)
}

/// One column without its metadata.
fn column<'a>(code: u8, details: &mut Bytes<'_>) -> Result<EventColumn<'a>, Malformed> {
    let (code, detail) = detailed(code, details)?;
    let extent = extent(code, detail).ok_or(Malformed("a column of a type that is not known"))?;
    Ok(EventColumn { code, detail, extent, name: None, is_unsigned: None, collation: None, labels: Vec::new() })
}

/// The type behind a type, and its details.
fn detailed(code: u8, details: &mut Bytes<'_>) -> Result<(u8, [u8; 2]), Malformed> {
    let mut two = || Ok::<_, Malformed>([details.u8()?, details.u8()?]);
    Ok(match code {
        code::STRING => {
            let [kind, length] = two()?;
            // Lengths above 255 take two bits of the type, which has them set otherwise.
            match kind & 0x30 {
                0x30 => (kind, [length, 0]),
                bits => (kind | 0x30, [length, (bits ^ 0x30) >> 4]),
            }
        }
        code::VARCHAR | code::VAR_STRING | code::VARCHAR_COMPRESSED | code::DECIMAL | code::BIT => (code, two()?),
        code::ENUM | code::SET => {
            let [_kind, length] = two()?;
            (code, [length, 0])
        }
        code::FLOAT | code::DOUBLE | code::TIMESTAMP | code::DATETIME | code::TIME => (code, [details.u8()?, 0]),
        code::JSON | code::GEOMETRY | code::VECTOR | code::BLOB_COMPRESSED => (code, [details.u8()?, 0]),
        other if code::BLOBS.contains(&other) => (code::BLOB, [details.u8()?, 0]),
        other => (other, [0, 0]),
    })
}

fn extent(code: u8, detail: [u8; 2]) -> Option<Extent> {
    let [low, high] = detail.map(usize::from);
    let length = low | (high << 8);
    let fraction = low.min(6).div_ceil(2);
    Some(match code {
        6 => Extent::Fixed(0),
        code::TINY | code::YEAR => Extent::Fixed(1),
        code::SHORT => Extent::Fixed(2),
        code::MIDDLE | code::DATE | code::NEW_DATE | code::OLD_TIME => Extent::Fixed(3),
        code::LONG | code::FLOAT | code::OLD_TIMESTAMP => Extent::Fixed(4),
        code::LONG_LONG | code::DOUBLE | code::OLD_DATETIME => Extent::Fixed(8),
        code::TIMESTAMP => Extent::Fixed(4 + fraction),
        code::DATETIME => Extent::Fixed(5 + fraction),
        code::TIME => Extent::Fixed(3 + fraction),
        code::DECIMAL => Extent::Fixed(decimal_bytes(low, high)?),
        code::BIT => Extent::Fixed(high + usize::from(low > 0)),
        code::ENUM | code::SET => Extent::Fixed(low),
        code::VARCHAR | code::VAR_STRING | code::VARCHAR_COMPRESSED | code::STRING => {
            Extent::Prefixed(if length > 255 { 2 } else { 1 })
        }
        code::BLOB | code::JSON | code::GEOMETRY | code::VECTOR | code::BLOB_COMPRESSED if (1..=4).contains(&low) => {
            Extent::Prefixed(low)
        }
        _ => return None,
    })
}

/// How many bytes some digits have that are not nine.
pub(super) const DIGIT_BYTES: [usize; 9] = [0, 1, 1, 2, 2, 3, 3, 4, 4];

fn decimal_bytes(precision: usize, scale: usize) -> Option<usize> {
    let whole = precision.checked_sub(scale).filter(|_| precision <= 65)?;
    let of = |digits: usize| digits / 9 * 4 + DIGIT_BYTES.get(digits % 9).copied().unwrap_or_default();
    Some(of(whole) + of(scale))
}

#[cfg(test)]
mod tests {
    use super::super::events::samples::hex;
    use super::*;

    /// A table of all types, as a MariaDB 10.11 has described it.
    const ALL: &str = "120000000000 0100 01 64 00 01 74 00 22 030102090308f604050d10fe0f0ffe0ffcfcfefefefefe0a1212111313fcfe03030f \
        26 140604080201fe052c011400fe100a000202f701f801fe10fe04fe10030006020004fe0c3c00 feffffff03 \
        01 02 4c40 03 0d 0808083f3f083f3f3f3f2e3621 \
        04 65 026964027469027369026d690275690262690264650166026462017903623130016302766302766c0562696e313602766202747802626c01650173\
        01750269340269360264610264740364743002747302746d03746d30026a730263750167026773026562 \
        0a 01 08 05 07 030178017901 7a 06 09 0301610362277801fc 08 01 00";

    #[test]
    fn a_table_of_all_types_is_read() {
        let body = hex(ALL);
        let map = TableMap::read(&body, true).unwrap();
        assert_eq!((map.number, map.namespace, map.name, map.columns.len()), (18, "d", "t", 34));
        let of = |name: &str| map.columns.iter().find(|column| column.name == Some(name.as_bytes())).unwrap();
        assert_eq!((of("id").is_unsigned, of("ti").is_unsigned, of("bi").is_unsigned), (Some(false), Some(true), Some(true)));
        assert_eq!((of("y").is_unsigned, of("gs").is_unsigned, of("da").is_unsigned), (Some(true), Some(false), None));
        assert_eq!((of("vl").collation, of("bin16").collation, of("cu").collation), (Some(8), Some(63), Some(54)));
        assert_eq!((of("js").collation, of("eb").collation, of("e").collation), (Some(46), Some(33), Some(8)));
        assert_eq!(of("s").labels, [b"x", b"y", b"z"]);
        assert_eq!(of("e").labels, [b"a".as_slice(), b"b'x", b"\xfc"]);
        assert_eq!((of("de").code, of("de").detail, of("de").extent), (code::DECIMAL, [20, 6], Extent::Fixed(10)));
        assert_eq!(
            (of("vc").extent, of("vl").extent, of("u").extent),
            (Extent::Prefixed(2), Extent::Prefixed(1), Extent::Prefixed(1))
        );
        assert_eq!((of("e").code, of("e").extent, of("b10").extent), (code::ENUM, Extent::Fixed(1), Extent::Fixed(2)));
        assert_eq!((of("dt").extent, of("ts").extent, of("tm0").extent), (Extent::Fixed(7), Extent::Fixed(7), Extent::Fixed(3)));
    }

    #[test]
    fn texts_are_counted_as_the_server_counts_them() {
        // With a point, and with compressed columns, between texts.
        let body = hex("200000000000 0100 01 64 00 03 67656f 00 08 030fff0f8d8cfcfc 0a 05000414006500020203 fe \
             01 01 00 03 07 083f2d093f3608 07 01 01 04 13 0269640161016701620263630262630164016d 08 01 00");
        let map = TableMap::read(&body, true).unwrap();
        let collations: Vec<Option<u64>> = map.columns.iter().map(|column| column.collation).collect();
        assert_eq!(collations, [None, Some(8), Some(63), Some(45), Some(9), Some(63), Some(54), Some(8)]);
        assert!(TableMap::read(&body, false).is_err(), "there are more than MySQL would write");
    }

    #[test]
    fn nothing_makes_it_fail() {
        let body = hex(ALL);
        for end in 0..body.len() {
            let _read = (TableMap::read(&body[..end], true), TableMap::named(&body[..end]));
        }
        for place in 0..body.len() {
            for flipped in [0x01, 0x80, 0xff] {
                let mut changed = body.clone();
                changed[place] ^= flipped;
                let _read = TableMap::read(&changed, true);
            }
        }
        assert_eq!(TableMap::named(&body).unwrap().name, "t");
        assert_eq!(extent(200, [0, 0]), None);
        // A char of 300 bytes.
        assert_eq!(detailed(code::STRING, &mut Bytes::new(&[0xee, 44], "x")), Ok((code::STRING, [44, 1])));
    }
}
