//! From the binary form that the server sends to the form that a client has asked for, for types where no session setting plays a
//! part and little or nothing has to change.
//!
//! **Invariants:** a value comes out as the decoder of its column and the encoder of the wire would give it, and one that the decoder
//! refuses is refused with the same words.

use arrow::datatypes::DataType;

use super::super::super::relay::Relayed;
use super::super::super::schema::Column;
use super::decoder::{Broken, fixed};
use super::{json_text, numeric, scalar, text};
use crate::error::sqlstate;
use crate::format::Format;
use crate::pgtype::PgField;

/// How the values of one column are passed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Way {
    /// Any bytes.
    Bytes,
    /// Bytes that are text.
    Text,
    /// So many bytes.
    Fixed(usize),
    /// The digits of an integer of so many bytes.
    Digits(usize),
    /// A truth value.
    Truth(Format),
    /// The text of a `uuid`.
    Uuid,
    /// A date within the bounds of its carrier.
    Date,
    /// A timestamp within the bounds of its carrier.
    Timestamp,
    /// A number that its carrier can hold.
    Numeric(DataType),
    /// `jsonb`.
    Jsonb(Format),
}

impl Way {
    /// The way of a column that is read in its binary form; `None` where values have to be decoded.
    pub(crate) fn of(column: &Column, format: Format) -> Option<Self> {
        let oid = column.field.pg_type().oid;
        Some(match (oid, format) {
            (16, _) => Self::Truth(format),
            (19 | 25 | 114 | 1042 | 1043, _) => Self::Text,
            (3802, _) => Self::Jsonb(format),
            (21, Format::Text) => Self::Digits(2),
            (23, Format::Text) => Self::Digits(4),
            (20, Format::Text) => Self::Digits(8),
            (2950, Format::Text) => Self::Uuid,
            (_, Format::Text) => return None,
            (17, Format::Binary) => Self::Bytes,
            (21, Format::Binary) => Self::Fixed(2),
            (23 | 700, Format::Binary) => Self::Fixed(4),
            (20 | 701, Format::Binary) => Self::Fixed(8),
            (2950, Format::Binary) => Self::Fixed(16),
            (1082, Format::Binary) => Self::Date,
            (1114 | 1184, Format::Binary) => Self::Timestamp,
            (1700, Format::Binary) => Self::Numeric(column.field.data_type().clone()),
            (_, Format::Binary) => return None,
        })
    }

    /// Appends a value.
    ///
    /// # Errors
    /// The rule that it breaks.
    pub(crate) fn put(&self, bytes: &[u8], out: &mut Relayed) -> Result<(), Broken> {
        let put = match self {
            Self::Bytes => out.value(bytes),
            Self::Text => out.value(text::checked(bytes)?),
            Self::Fixed(length) if bytes.len() == *length => out.value(bytes),
            Self::Fixed(_) => return Err(Broken::malformed()),
            Self::Digits(length) => out.value(itoa::Buffer::new().format(whole(bytes, *length)?).as_bytes()),
            Self::Truth(format) => out.value(truth(bytes, *format)?),
            Self::Uuid => {
                let mut shown = String::with_capacity(36);
                text::write_uuid(bytes, &mut shown)?;
                out.value(shown.as_bytes())
            }
            Self::Date => scalar::read_date(bytes).map(|_days| out.value(bytes))?,
            Self::Timestamp => scalar::read_timestamp(bytes).map(|_micros| out.value(bytes))?,
            Self::Numeric(carrier) => numeric::check(carrier, bytes).map(|()| out.value(bytes))?,
            Self::Jsonb(format) => {
                let shown = text::checked(json_text(bytes, true)?)?;
                out.value(if *format == Format::Text { shown } else { bytes })
            }
        };
        put.ok_or_else(|| Broken::new(sqlstate::PROGRAM_LIMIT_EXCEEDED, "is longer than the protocol can tell"))
    }
}

fn whole(bytes: &[u8], length: usize) -> Result<i64, Broken> {
    match length {
        2 => fixed(bytes).map(|bytes| i16::from_be_bytes(bytes).into()),
        4 => fixed(bytes).map(|bytes| i32::from_be_bytes(bytes).into()),
        _ => fixed(bytes).map(i64::from_be_bytes),
    }
}

fn truth(bytes: &[u8], format: Format) -> Result<&'static [u8], Broken> {
    let [byte] = fixed(bytes)?;
    let shown: &'static [u8] = match (format, byte != 0) {
        (Format::Text, true) => b"t",
        (Format::Text, false) => b"f",
        (Format::Binary, true) => &[1],
        (Format::Binary, false) => &[0],
    };
    Ok(shown)
}

#[cfg(test)]
mod tests {
    use super::super::{NativeType, decoder, map};
    use super::*;
    use crate::stores::schema::{Collation, ColumnStatistics, Generated};

    fn column(oid: u32, typmod: i32) -> Column {
        let native = NativeType { oid, typmod, kind: 'b', element: None, labels: Vec::new() };
        Column {
            field: map("c", &native, true).unwrap(),
            native_type: String::new(),
            default: None,
            generated: Generated::No,
            comment: None,
            collation: Collation::Bytes,
            statistics: ColumnStatistics::default(),
        }
    }

    /// The value behind its length, or the SQLSTATE of its refusal.
    fn passed(column: &Column, format: Format, bytes: &[u8]) -> Option<Result<Vec<u8>, &'static str>> {
        let way = Way::of(column, format)?;
        let mut out = Relayed::default();
        let put = way.put(bytes, &mut out).map_err(|broken| broken.sqlstate);
        out.end_row();
        let row = out.rows().next().unwrap().to_vec();
        Some(put.map(|()| row.get(4..).unwrap_or_default().to_vec()))
    }

    #[test]
    fn values_pass_as_they_are_or_as_their_text() {
        let uuid: Vec<u8> = (0..16).map(|n| n * 17).collect();
        let price = [0, 2, 0, 0, 0x40, 0, 0, 2, 0, 1, 0x13, 0x88];
        let rows: Vec<(u32, Format, Vec<u8>, Vec<u8>)> = vec![
            (23, Format::Text, (-7_i32).to_be_bytes().to_vec(), b"-7".to_vec()),
            (20, Format::Text, i64::MIN.to_be_bytes().to_vec(), b"-9223372036854775808".to_vec()),
            (21, Format::Text, vec![0, 0], b"0".to_vec()),
            (23, Format::Binary, vec![0, 0, 0, 9], vec![0, 0, 0, 9]),
            (16, Format::Text, vec![1], b"t".to_vec()),
            (16, Format::Text, vec![0], b"f".to_vec()),
            (16, Format::Binary, vec![7], vec![1]),
            (25, Format::Text, b"it's ".to_vec(), b"it's ".to_vec()),
            (1043, Format::Binary, Vec::new(), Vec::new()),
            (17, Format::Binary, vec![0, 255], vec![0, 255]),
            (2950, Format::Text, uuid.clone(), b"00112233-4455-6677-8899-aabbccddeeff".to_vec()),
            (2950, Format::Binary, uuid.clone(), uuid),
            (701, Format::Binary, f64::NAN.to_be_bytes().to_vec(), f64::NAN.to_be_bytes().to_vec()),
            (1082, Format::Binary, i32::MAX.to_be_bytes().to_vec(), i32::MAX.to_be_bytes().to_vec()),
            (1184, Format::Binary, i64::MIN.to_be_bytes().to_vec(), i64::MIN.to_be_bytes().to_vec()),
            (1700, Format::Binary, price.to_vec(), price.to_vec()),
            (3802, Format::Text, b"\x01{\"a\": 1}".to_vec(), b"{\"a\": 1}".to_vec()),
            (3802, Format::Binary, b"\x01[]".to_vec(), b"\x01[]".to_vec()),
        ];
        for (oid, format, bytes, expected) in rows {
            assert_eq!(passed(&column(oid, -1), format, &bytes), Some(Ok(expected)), "{oid} {format:?}");
        }
    }

    #[test]
    fn what_settings_shape_has_no_way() {
        let shaped = [(17, "bytea"), (700, "float4"), (701, "float8"), (1082, "date"), (1114, "timestamp"), (1184, "timestamptz")];
        for (oid, name) in shaped.into_iter().chain([(1186, "interval"), (1700, "numeric"), (1083, "time")]) {
            assert_eq!(passed(&column(oid, -1), Format::Text, &[0; 16]), None, "{name}");
        }
        for (oid, name) in [(1186, "interval"), (18, "\"char\""), (869, "inet"), (1560, "bit"), (26, "oid")] {
            assert_eq!(passed(&column(oid, -1), Format::Binary, &[0; 16]), None, "{name}");
        }
    }

    /// Whatever the decoder of a column refuses, its way refuses with the same SQLSTATE, and nothing else.
    #[test]
    fn ways_refuse_what_decoders_refuse() {
        let numeric_10_2 = ((10 << 16) | 2) + 4;
        let numeric_60_2 = ((60 << 16) | 2) + 4;
        let oids = [16, 17, 19, 20, 21, 23, 25, 114, 700, 701, 1042, 1043, 1082, 1114, 1184, 1700, 2950, 3802];
        let columns = oids.map(|oid| column(oid, -1)).into_iter().chain([column(1700, numeric_10_2), column(1700, numeric_60_2)]);
        let mut samples: Vec<Vec<u8>> =
            (0..24).flat_map(|length| [0, 1, 0x7f, 0x80, 0xff].map(|fill| vec![fill; length])).collect();
        let number = |weight: i16, sign: u16, digits: &[u16]| {
            let head = [u16::try_from(digits.len()).unwrap(), u16::from_be_bytes(weight.to_be_bytes()), sign, 2];
            head.iter().chain(digits).flat_map(|word| word.to_be_bytes()).collect::<Vec<u8>>()
        };
        samples.extend([number(0, 0, &[1, 5000]), number(0, 0, &[1, 50]), number(20, 0, &[1]), number(0, 0xC000, &[])]);
        samples.extend([number(0, 0xD000, &[]), number(0, 0x4000, &[9_999, 10_000]), b"\x01{}".to_vec(), b"\x01\xff".to_vec()]);
        for column in columns {
            for bytes in &samples {
                let mut decoder = decoder(&column.field, 1);
                let decoded = decoder.value(bytes).and_then(|()| decoder.finish()).map(drop).map_err(|broken| broken.sqlstate);
                for format in [Format::Text, Format::Binary] {
                    let Some(passed) = passed(&column, format, bytes) else { continue };
                    assert_eq!(passed.map(drop), decoded, "{:?} {format:?} {bytes:?}", column.field.pg_type());
                }
            }
        }
    }
}
