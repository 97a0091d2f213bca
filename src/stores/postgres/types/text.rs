//! Text as stored, and types whose carrier is their canonical text.

use std::fmt::Write;
use std::sync::Arc;

use arrow::array::ArrayRef;

use super::decoder::{Broken, Decoder, Written, fixed};
use crate::error::sqlstate;
use crate::pgtype::PgType;
use crate::stores::builders::TextsBuilder;

/// A column of text as the store sends it.
struct Plain {
    builder: TextsBuilder,
    /// Bytes before the text: the version byte of `jsonb`.
    prefix: Option<u8>,
}

/// Text as it is: also the text form of types without a binary row, and enum labels.
pub(super) fn plain(rows: usize) -> Box<dyn Decoder> {
    Box::new(Plain { builder: TextsBuilder::with_capacity(rows, rows * 16), prefix: None })
}

pub(super) fn text(_: PgType, rows: usize) -> Box<dyn Decoder> {
    plain(rows)
}

/// `jsonb_send`: version byte 1, then the text.
pub(super) fn jsonb(_: PgType, rows: usize) -> Box<dyn Decoder> {
    Box::new(Plain { builder: TextsBuilder::with_capacity(rows, rows * 16), prefix: Some(1) })
}

/// Bytes that are text. A database in encoding SQL_ASCII may hold any bytes.
pub(super) fn checked(bytes: &[u8]) -> Result<&[u8], Broken> {
    std::str::from_utf8(bytes).map(str::as_bytes).map_err(|_at| not_text())
}

fn not_text() -> Broken {
    Broken::new(sqlstate::CHARACTER_NOT_IN_REPERTOIRE, "is not valid UTF-8")
}

impl Decoder for Plain {
    fn value(&mut self, bytes: &[u8]) -> Result<(), Box<Broken>> {
        let content = match (self.prefix, bytes) {
            (None, bytes) => bytes,
            (Some(prefix), [first, rest @ ..]) if *first == prefix => rest,
            (Some(_), _) => return Err(Broken::malformed().into()),
        };
        self.builder.append_value(content);
        Ok(())
    }

    fn null(&mut self) {
        self.builder.append_null();
    }

    fn finish(&mut self) -> Result<ArrayRef, Box<Broken>> {
        // A database in encoding SQL_ASCII may hold any bytes.
        let array = self.builder.take();
        let array = array.map_err(|_at| not_text())?;
        Ok(Arc::new(array))
    }
}

/// `"char"`: one byte, shown as PostgreSQL 16 shows it (`charout`): empty for zero, octal above ASCII.
pub(super) fn single_char(_: PgType, rows: usize) -> Box<dyn Decoder> {
    Written::boxed(rows, |bytes, text| {
        let [byte] = fixed(bytes)?;
        match byte {
            0 => {}
            1..=0x7f => text.push(char::from(byte)),
            0x80.. => show(text, format_args!("\\{byte:03o}")),
        }
        Ok(())
    })
}

pub(super) fn xid(_: PgType, rows: usize) -> Box<dyn Decoder> {
    Written::boxed(rows, |bytes, text| {
        text.push_str(itoa::Buffer::new().format(u32::from_be_bytes(fixed(bytes)?)));
        Ok(())
    })
}

/// `pg_lsn_out`: both halves in upper-case hexadecimal without leading zeros.
pub(super) fn lsn(_: PgType, rows: usize) -> Box<dyn Decoder> {
    Written::boxed(rows, |bytes, text| {
        let position = u64::from_be_bytes(fixed(bytes)?);
        show(text, format_args!("{:X}/{:X}", position >> 32, position & 0xffff_ffff));
        Ok(())
    })
}

pub(super) fn uuid(_: PgType, rows: usize) -> Box<dyn Decoder> {
    Written::boxed(rows, write_uuid)
}

pub(super) fn write_uuid(bytes: &[u8], text: &mut String) -> Result<(), Broken> {
    let bytes: [u8; 16] = fixed(bytes)?;
    for (place, byte) in bytes.into_iter().enumerate() {
        if matches!(place, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        for nibble in [byte >> 4, byte & 0xf] {
            text.push(char::from(if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 }));
        }
    }
    Ok(())
}

/// `bit` and `varbit` (`varbit_send`): the number of bits, then the bits from the highest down.
pub(super) fn bits(_: PgType, rows: usize) -> Box<dyn Decoder> {
    Written::boxed(rows, write_bits)
}

fn write_bits(bytes: &[u8], text: &mut String) -> Result<(), Broken> {
    let (count, content) = bytes.split_first_chunk::<4>().ok_or_else(Broken::malformed)?;
    let count = usize::try_from(i32::from_be_bytes(*count)).map_err(|_cause| Broken::malformed())?;
    if content.len() != count.div_ceil(8) {
        return Err(Broken::malformed());
    }
    let all = content.iter().flat_map(|byte| (0..8).rev().map(move |place| byte >> place & 1));
    text.extend(all.take(count).map(|bit| if bit == 1 { '1' } else { '0' }));
    Ok(())
}

/// `timetz_send`: microseconds since midnight, then seconds west of UTC. Shown as ISO: `04:05:06.789-08:30`.
pub(super) fn timetz(_: PgType, rows: usize) -> Box<dyn Decoder> {
    Written::boxed(rows, write_timetz)
}

fn write_timetz(bytes: &[u8], text: &mut String) -> Result<(), Broken> {
    let bytes: [u8; 12] = fixed(bytes)?;
    let [t0, t1, t2, t3, t4, t5, t6, t7, z0, z1, z2, z3] = bytes;
    let micros = i64::from_be_bytes([t0, t1, t2, t3, t4, t5, t6, t7]);
    let west = i64::from(i32::from_be_bytes([z0, z1, z2, z3]));
    if !(0..=86_400_000_000).contains(&micros) {
        return Err(Broken::malformed());
    }
    let seconds = micros / 1_000_000;
    show(text, format_args!("{:02}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60));
    let fraction = micros % 1_000_000;
    if fraction > 0 {
        show(text, format_args!(".{fraction:06}"));
        text.truncate(text.trim_end_matches('0').len());
    }
    let east = west.abs();
    show(text, format_args!("{}{:02}", if west > 0 { '-' } else { '+' }, east / 3_600));
    if east % 3_600 != 0 {
        show(text, format_args!(":{:02}", east / 60 % 60));
    }
    if east % 60 != 0 {
        show(text, format_args!(":{:02}", east % 60));
    }
    Ok(())
}

/// `fmt::Write` into a `String` cannot fail.
pub(super) fn show(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    let _ = text.write_fmt(arguments);
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, AsArray};

    use super::*;

    fn decoded(make: fn(PgType, usize) -> Box<dyn Decoder>, bytes: &[u8]) -> Result<String, &'static str> {
        let mut decoder = make(PgType::TEXT, 1);
        decoder.value(bytes).map_err(|broken| broken.sqlstate)?;
        let array = decoder.finish().map_err(|broken| broken.sqlstate)?;
        assert_eq!(array.len(), 1);
        Ok(array.as_string::<i32>().value(0).to_owned())
    }

    #[test]
    fn text_is_what_was_stored() {
        let rows: [(&[u8], Result<&str, &str>); 4] =
            [(b"", Ok("")), (b"a  ", Ok("a  ")), ("žluť".as_bytes(), Ok("žluť")), (b"\xff", Err("22021"))];
        for (bytes, expected) in rows {
            assert_eq!(decoded(text, bytes), expected.map(str::to_owned));
        }
        assert_eq!(decoded(jsonb, b"\x01{}"), Ok("{}".to_owned()));
        assert_eq!(decoded(jsonb, b"\x02{}"), Err("HV000"));
        assert_eq!(decoded(jsonb, b""), Err("HV000"));
    }

    #[test]
    fn text_carried_types_are_canonical() {
        let timetz_bytes = |micros: i64, west: i32| [micros.to_be_bytes().as_slice(), &west.to_be_bytes()].concat();
        type Make = fn(PgType, usize) -> Box<dyn Decoder>;
        let rows: Vec<(Make, Vec<u8>, &str)> = vec![
            (single_char, vec![0], ""),
            (single_char, vec![b'x'], "x"),
            (single_char, vec![0xe9], "\\351"),
            (xid, u32::MAX.to_be_bytes().to_vec(), "4294967295"),
            (lsn, 0x0000_0016_B374_D848_u64.to_be_bytes().to_vec(), "16/B374D848"),
            (uuid, (0..16).map(|n| n * 17).collect(), "00112233-4455-6677-8899-aabbccddeeff"),
            (bits, vec![0, 0, 0, 0], ""),
            (bits, vec![0, 0, 0, 9, 0b1010_0001, 0x80], "101000011"),
            (timetz, timetz_bytes(14_706_789_000, 30_600), "04:05:06.789-08:30"),
            (timetz, timetz_bytes(86_400_000_000, 0), "24:00:00+00"),
            (timetz, timetz_bytes(1, -57_599), "00:00:00.000001+15:59:59"),
        ];
        for (make, bytes, expected) in rows {
            assert_eq!(decoded(make, &bytes), Ok(expected.to_owned()));
        }
        assert_eq!(decoded(bits, &[0, 0, 0, 9, 1]), Err("HV000"));
    }
}
