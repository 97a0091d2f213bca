//! Values of the binlog in the form in which a scan gets them from the server, so that the readers of scans (`reader.rs`) make the same
//! of both: whole numbers of the same width, digits for decimals, dates taken apart, text as UTF-8, labels for their numbers.
//!
//! Layouts: MySQL manual, "Row Format" of the binary log; MariaDB keeps to it. Bytes of fixed columns come without the zeros at their
//! end, which are put back.

use std::sync::Arc;

use super::super::decode::Fault;
use super::bytes::{big, little};
use super::charsets::{Charset, Charsets};
use super::columns::{DIGIT_BYTES, EventColumn, code};
use crate::error::sqlstate;

/// How the bytes of one column become those of a scan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Form {
    /// They are the same.
    Same,
    /// Three bytes become four.
    Middle {
        /// Whether the highest bit is no sign.
        is_unsigned: bool,
    },
    /// Years since 1900, of which the first is none.
    Year,
    /// The same of a column with two digits, as which scans get them.
    ShortYear,
    /// Digits in groups.
    Decimal {
        /// How many digits.
        precision: usize,
        /// How many of them behind the point.
        scale: usize,
    },
    /// Days in three bytes.
    Date,
    /// Digits of a span in three bytes.
    OldTime,
    /// A span with so many digits of a second.
    Time(u8),
    /// Digits of a moment in eight bytes.
    OldDatetime,
    /// A moment with so many digits of a second.
    Datetime(u8),
    /// Seconds since 1970, with so many digits of one; `true`: the lowest byte first.
    Timestamp(u8, bool),
    /// Text.
    Text(Charset),
    /// Bytes, of which there are so many.
    Padded(usize),
    /// 16 bytes, as text.
    Uuid,
    /// The address of a host, of so many bytes.
    Inet(usize),
    /// The number of a label.
    Label(Arc<[String]>),
    /// A bit for each label.
    Labels(Arc<[String]>),
}

/// Why a column of MySQL's type `json` is not followed: its numbers would have to be written as the server writes them, digit by digit.
pub(super) const JSON_OF_MYSQL: &str = "is kept in the binlog of MySQL in a form that is not read";

/// A column as it was declared.
struct Declared<'a> {
    word: &'a str,
    arguments: Vec<&'a str>,
    is_unsigned: bool,
}

impl<'a> Declared<'a> {
    fn parse(text: &'a str) -> Self {
        let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(text.len());
        let (word, rest) = text.split_at(end);
        let (inside, attributes) = rest.strip_prefix('(').and_then(|rest| rest.rsplit_once(')')).unwrap_or(("", rest));
        let is_unsigned = attributes.split_whitespace().any(|attribute| attribute == "unsigned");
        Self { word, arguments: inside.split(',').map(str::trim).collect(), is_unsigned }
    }

    fn number(&self, place: usize) -> usize {
        self.arguments.get(place).and_then(|argument| argument.parse().ok()).unwrap_or(0)
    }
}

/// How values of a column are read that was declared as `native_type`, with these labels.
///
/// # Errors
/// It is another column than was declared, as a clause; or one that is not read.
pub(super) fn form(
    native_type: &str,
    labels: Option<Vec<String>>,
    column: &EventColumn<'_>,
    charsets: &Charsets,
) -> Result<Form, String> {
    let declared = Declared::parse(native_type);
    let changed = || format!("was {native_type} and is of another type now");
    if column.is_unsigned.is_some_and(|is_unsigned| is_unsigned != declared.is_unsigned && declared.word != "year") {
        return Err(changed());
    }
    let [low, high] = column.detail;
    let has = |known: &[u8]| known.contains(&column.code);
    let digits = usize::from(low);
    let form = match declared.word {
        "tinyint" if has(&[code::TINY]) => Form::Same,
        "smallint" if has(&[code::SHORT]) => Form::Same,
        "mediumint" if has(&[code::MIDDLE]) => Form::Middle { is_unsigned: declared.is_unsigned },
        "int" if has(&[code::LONG]) => Form::Same,
        "bigint" if has(&[code::LONG_LONG]) => Form::Same,
        "float" if has(&[code::FLOAT]) => Form::Same,
        "double" if has(&[code::DOUBLE]) => Form::Same,
        "year" if has(&[code::YEAR]) => match declared.number(0) {
            2 => Form::ShortYear,
            _ => Form::Year,
        },
        "decimal" if has(&[code::DECIMAL]) && (digits, usize::from(high)) == (declared.number(0), declared.number(1)) => {
            Form::Decimal { precision: digits, scale: usize::from(high) }
        }
        "bit" if has(&[code::BIT]) && usize::from(high) * 8 + digits == declared.number(0).max(1) => Form::Same,
        "date" if has(&[code::DATE, code::NEW_DATE]) => Form::Date,
        "datetime" | "timestamp" | "time" => moment(&declared, column).ok_or_else(changed)?,
        "enum" | "set" => labelled(&declared, labels, column, charsets).ok_or_else(changed)?,
        _ => return text(&declared, column, charsets, &changed),
    };
    Ok(form)
}

/// Moments and spans. Those of old tables have digits of a second in a form of MariaDB's whose length is not told.
fn moment(declared: &Declared<'_>, column: &EventColumn<'_>) -> Option<Form> {
    let [digits, _] = column.detail;
    let is_whole = declared.number(0) == 0;
    let fits = usize::from(digits) == declared.number(0);
    Some(match (declared.word, column.code) {
        ("datetime", code::DATETIME) if fits => Form::Datetime(digits),
        ("datetime", code::OLD_DATETIME) if is_whole => Form::OldDatetime,
        ("timestamp", code::TIMESTAMP) if fits => Form::Timestamp(digits, false),
        ("timestamp", code::OLD_TIMESTAMP) if is_whole => Form::Timestamp(0, true),
        ("time", code::TIME) if fits => Form::Time(digits),
        ("time", code::OLD_TIME) if is_whole => Form::OldTime,
        _ => return None,
    })
}

/// Labels are taken from the declaration, and must be those of the event.
fn labelled(declared: &Declared<'_>, labels: Option<Vec<String>>, column: &EventColumn<'_>, charsets: &Charsets) -> Option<Form> {
    let is_set = declared.word == "set";
    let labels = labels.filter(|_| column.code == if is_set { code::SET } else { code::ENUM })?;
    if !column.labels.is_empty() {
        let charset = charsets.of_collation(column.collation?)?;
        let read = |raw: &&[u8]| charset.utf8(raw, &mut Vec::new()).ok().map(<[u8]>::to_vec);
        let told = column.labels.iter().map(read).collect::<Option<Vec<Vec<u8>>>>()?;
        if !told.iter().map(Vec::as_slice).eq(labels.iter().map(String::as_bytes)) {
            return None;
        }
    }
    let labels: Arc<[String]> = labels.into();
    Some(if is_set { Form::Labels(labels) } else { Form::Label(labels) })
}

/// Texts, bytes, and what is kept as such.
fn text(
    declared: &Declared<'_>,
    column: &EventColumn<'_>,
    charsets: &Charsets,
    changed: &dyn Fn() -> String,
) -> Result<Form, String> {
    let [low, high] = column.detail;
    let length = usize::from(low) | (usize::from(high) << 8);
    let (is_fixed, is_blob) = (column.code == code::STRING, column.code == code::BLOB);
    let is_varied = matches!(column.code, code::VARCHAR | code::VAR_STRING);
    if matches!(column.code, code::BLOB_COMPRESSED | code::VARCHAR_COMPRESSED) {
        return Err("is compressed in its table, which the binlog keeps as it is".to_owned());
    }
    let is_text = match declared.word {
        "char" => is_fixed,
        "varchar" => is_varied,
        "tinytext" | "text" | "mediumtext" | "longtext" => is_blob,
        "json" if column.code == code::JSON => return Err(JSON_OF_MYSQL.to_owned()),
        "json" => is_blob,
        "binary" if is_fixed && length == declared.number(0) => return Ok(Form::Padded(length)),
        "varbinary" if is_varied => return Ok(Form::Same),
        "tinyblob" | "blob" | "mediumblob" | "longblob" if is_blob => return Ok(Form::Same),
        "uuid" if is_fixed && length == 16 => return Ok(Form::Uuid),
        "inet6" if is_fixed && length == 16 => return Ok(Form::Inet(16)),
        "inet4" if is_fixed && length == 4 => return Ok(Form::Inet(4)),
        _ => false,
    };
    if !is_text {
        return Err(changed());
    }
    let collation = column.collation.ok_or("is a text whose character set is not told (binlog_row_metadata)")?;
    let charset = charsets.of_collation(collation).filter(|charset| **charset != Charset::Binary);
    charset
        .map(|charset| Form::Text(charset.clone()))
        .ok_or_else(|| "has a character set that is not read from the binlog".to_owned())
}

fn malformed() -> Fault {
    Fault { sqlstate: sqlstate::FDW_ERROR, rule: "does not have the form of its type in the binlog".to_owned() }
}

impl Form {
    /// The bytes of a scan for those of the binlog: themselves, or what is put into `scratch`, which is empty.
    ///
    /// # Errors
    /// They have not the form of their type.
    pub(super) fn convert<'r>(&self, raw: &'r [u8], scratch: &'r mut Vec<u8>) -> Result<&'r [u8], Fault> {
        match self {
            Self::Same => return Ok(raw),
            Self::Text(charset) => return charset.utf8(raw, scratch),
            Self::Middle { is_unsigned } => {
                let is_negative = !is_unsigned && raw.last().is_some_and(|byte| byte & 0x80 != 0);
                scratch.extend_from_slice(raw);
                scratch.push(if is_negative { 0xff } else { 0 });
            }
            Self::Year => {
                let year = raw.first().copied().map_or(0, u16::from);
                scratch.extend_from_slice(&(if year == 0 { 0 } else { 1900 + year }).to_le_bytes());
            }
            Self::ShortYear => {
                let year = raw.first().copied().map_or(0, u16::from);
                scratch.extend_from_slice(&(year % 100).to_le_bytes());
            }
            Self::Decimal { precision, scale } => decimal(raw, *precision, *scale, scratch).ok_or_else(malformed)?,
            Self::Date => {
                let packed = little(raw);
                put_date(scratch, packed >> 9, (packed >> 5) & 15, packed & 31);
            }
            Self::OldTime | Self::Time(_) => put_span(scratch, self.span(raw).ok_or_else(malformed)?),
            Self::OldDatetime | Self::Datetime(_) | Self::Timestamp(..) => self.moment(raw, scratch).ok_or_else(malformed)?,
            Self::Padded(length) => pad(raw, *length, scratch),
            Self::Uuid => {
                pad(raw, 16, scratch);
                *scratch = uuid(scratch).into_bytes();
            }
            Self::Inet(length) => {
                pad(raw, *length, scratch);
                *scratch = inet(scratch).ok_or_else(malformed)?.into_bytes();
            }
            Self::Label(labels) => {
                // Zero is what the server keeps for a label that there is not, and shows as nothing.
                let number = usize::try_from(little(raw)).map_err(|_too_many| malformed())?;
                if let Some(place) = number.checked_sub(1) {
                    scratch.extend_from_slice(labels.get(place).ok_or_else(malformed)?.as_bytes());
                }
            }
            Self::Labels(labels) => {
                let bits = little(raw);
                let chosen = labels.iter().take(64).enumerate().filter(|(place, _)| (bits >> place) & 1 == 1);
                let chosen: Vec<&str> = chosen.map(|(_, label)| label.as_str()).collect();
                scratch.extend_from_slice(chosen.join(",").as_bytes());
            }
        }
        Ok(scratch.as_slice())
    }

    /// Microseconds of a span.
    fn span(&self, raw: &[u8]) -> Option<i64> {
        let hms = |packed: i64| ((packed >> 12) * 60 + ((packed >> 6) & 63)) * 60 + (packed & 63);
        let Self::Time(digits) = self else {
            // Three bytes with a sign: hours, minutes and seconds as digits.
            let number = i64::try_from(little(raw)).ok()?;
            let number = if number & 0x80_0000 != 0 { number - 0x100_0000 } else { number };
            let digits = number.abs();
            let seconds = (digits / 10_000 * 60 + digits / 100 % 100) * 60 + digits % 100;
            return Some(number.signum() * seconds * 1_000_000);
        };
        // A whole number with a sign over all bytes: 24 bits of hours, minutes and seconds, and the digits behind them.
        let width = raw.len().checked_sub(3).filter(|width| *width <= 3)?;
        let packed = i64::try_from(big(raw)).ok()? - (0x80_0000 << (8 * width));
        let (sign, packed) = (packed.signum(), packed.abs());
        let fraction = packed & ((1 << (8 * width)) - 1);
        Some(sign * (hms(packed >> (8 * width)) * 1_000_000 + micros(fraction, *digits)))
    }

    /// Puts a moment.
    fn moment(&self, raw: &[u8], scratch: &mut Vec<u8>) -> Option<()> {
        match self {
            Self::OldDatetime => {
                let digits = little(raw);
                let (days, clock) = (digits / 1_000_000, digits % 1_000_000);
                put_date(scratch, days / 10_000, days / 100 % 100, days % 100);
                put_clock(scratch, [clock / 10_000, clock / 100 % 100, clock % 100], 0);
            }
            Self::Datetime(digits) => {
                let (whole, fraction) = raw.split_at_checked(5)?;
                let packed = big(whole).checked_sub(0x80_0000_0000)?;
                let (days, clock) = (packed >> 17, packed & 0x1_ffff);
                let months = days >> 5;
                put_date(scratch, months / 13, months % 13, days & 31);
                let micros = u32::try_from(micros(i64::try_from(big(fraction)).ok()?, *digits)).ok()?;
                put_clock(scratch, [clock >> 12, (clock >> 6) & 63, clock & 63], micros);
            }
            Self::Timestamp(digits, is_little) => {
                let (whole, fraction) = raw.split_at_checked(4)?;
                let seconds = if *is_little { little(whole) } else { big(whole) };
                let micros = u32::try_from(micros(i64::try_from(big(fraction)).ok()?, *digits)).ok()?;
                if seconds == 0 && micros == 0 {
                    // The server's zero, which is no moment.
                    put_date(scratch, 0, 0, 0);
                } else {
                    let (year, month, day) = civil(seconds / 86_400)?;
                    put_date(scratch, year, month, day);
                    let clock = seconds % 86_400;
                    put_clock(scratch, [clock / 3_600, clock / 60 % 60, clock % 60], micros);
                }
            }
            _ => return None,
        }
        Some(())
    }
}

/// Microseconds of the digits behind a second, which are kept in hundredths, ten-thousandths, or millionths.
fn micros(fraction: i64, digits: u8) -> i64 {
    match digits {
        0 => 0,
        1 | 2 => fraction * 10_000,
        3 | 4 => fraction * 100,
        _ => fraction,
    }
}

/// The parts fit their bytes where the value has the form of its type; others are no day and no time, and are told so by the reader.
fn byte(number: u64) -> u8 {
    u8::try_from(number).unwrap_or(u8::MAX)
}

fn put_date(scratch: &mut Vec<u8>, year: u64, month: u64, day: u64) {
    let [low, high] = u16::try_from(year).unwrap_or(u16::MAX).to_le_bytes();
    scratch.extend_from_slice(&[4, low, high, byte(month), byte(day)]);
}

/// Adds the time of day to a date.
fn put_clock(scratch: &mut Vec<u8>, clock: [u64; 3], micros: u32) {
    if let Some(length) = scratch.first_mut() {
        *length = 11;
    }
    scratch.extend_from_slice(&clock.map(byte));
    scratch.extend_from_slice(&micros.to_le_bytes());
}

fn put_span(scratch: &mut Vec<u8>, micros: i64) {
    let (seconds, fraction) = (micros.unsigned_abs() / 1_000_000, micros.unsigned_abs() % 1_000_000);
    scratch.extend_from_slice(&[12, u8::from(micros < 0)]);
    scratch.extend_from_slice(&u32::try_from(seconds / 86_400).unwrap_or(u32::MAX).to_le_bytes());
    scratch.extend_from_slice(&[seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60].map(byte));
    scratch.extend_from_slice(&u32::try_from(fraction).unwrap_or(0).to_le_bytes());
}

/// The day of the calendar that is so many days behind 1970-01-01. Counts in eras of 400 years that begin on 1 March.
fn civil(days: u64) -> Option<(u64, u64, u64)> {
    let days = days.checked_add(719_468)?;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let years = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * years + years / 4 - years / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    Some((years + era * 400 + u64::from(month <= 2), month, day))
}

fn pad(raw: &[u8], length: usize, scratch: &mut Vec<u8>) {
    scratch.extend_from_slice(raw);
    scratch.resize(length.max(raw.len()), 0);
}

fn uuid(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(36);
    for (place, byte) in bytes.iter().enumerate() {
        if matches!(place, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

fn inet(bytes: &[u8]) -> Option<String> {
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        return Some(std::net::Ipv4Addr::from(four).to_string());
    }
    <[u8; 16]>::try_from(bytes).ok().map(|sixteen| std::net::Ipv6Addr::from(sixteen).to_string())
}

/// Digits for groups of nine digits in four bytes, of which the one in front and the one at the end may have fewer.
fn decimal(raw: &[u8], precision: usize, scale: usize, scratch: &mut Vec<u8>) -> Option<()> {
    let first = *raw.first()?;
    // Negative numbers have all their bits turned, and the highest bit of all is turned in any case.
    let is_negative = first & 0x80 == 0;
    let mask = if is_negative { 0xff } else { 0 };
    let mut bytes: Vec<u8> = raw.iter().map(|byte| byte ^ mask).collect();
    *bytes.first_mut()? ^= 0x80;
    let mut rest = bytes.as_slice();
    let mut group = |digits: usize, scratch: &mut Vec<u8>| {
        let width = if digits == 9 { 4 } else { *DIGIT_BYTES.get(digits)? };
        let (taken, after) = rest.split_at_checked(width)?;
        rest = after;
        if digits > 0 {
            scratch.extend_from_slice(format!("{:0digits$}", big(taken)).as_bytes());
        }
        Some(())
    };
    if is_negative {
        scratch.push(b'-');
    }
    let start = scratch.len();
    let whole = precision.checked_sub(scale)?;
    group(whole % 9, scratch)?;
    for _ in 0..whole / 9 {
        group(9, scratch)?;
    }
    // The server writes no zeros in front, but one where nothing else is.
    let zeros = scratch.iter().skip(start).take_while(|digit| **digit == b'0').count();
    scratch.drain(start..start + zeros);
    if scratch.len() == start {
        scratch.push(b'0');
    }
    if scale > 0 {
        scratch.push(b'.');
        for _ in 0..scale / 9 {
            group(9, scratch)?;
        }
        group(scale % 9, scratch)?;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::super::super::decode;
    use super::super::columns::Extent;
    use super::super::events::samples::hex;
    use super::*;

    fn converted(form: &Form, raw: &str) -> Result<Vec<u8>, Fault> {
        form.convert(&hex(raw), &mut Vec::new()).map(<[u8]>::to_vec)
    }

    fn shown(form: &Form, raw: &str) -> String {
        String::from_utf8(converted(form, raw).unwrap()).unwrap()
    }

    // The bytes here were written by a MariaDB 10.11.

    #[test]
    fn decimals_are_their_digits() {
        let of = |precision, scale| Form::Decimal { precision, scale };
        let rows = [
            (of(20, 6), "7fffffffed2978fffffe", "-1234567.000001"),
            (of(5, 0), "7fcfc6", "-12345"),
            (of(9, 9), "875bcd15", "0.123456789"),
            (of(9, 9), "7ffffffe", "-0.000000001"),
            (of(5, 0), "800000", "0"),
            (
                of(65, 30),
                "7fffff84e4c5f3ebeb655bcaf204c72dfffffffffffffffffffffffffffe",
                "-123456789012345678901234567890.000000000000000000000000000001",
            ),
            (of(65, 30), "800000000000000000000000000000010000000000000000000000000000", "1.000000000000000000000000000000"),
        ];
        for (form, raw, expected) in rows {
            assert_eq!(shown(&form, raw), expected);
        }
        assert!(converted(&of(20, 6), "7fff").is_err() && converted(&of(20, 6), "").is_err());
    }

    #[test]
    fn moments_and_spans_are_what_scans_read() {
        let moment = |form: &Form, raw: &str| decode::moment(&converted(form, raw).unwrap()).unwrap().ok();
        // 2024-02-29 12:34:56.789, 1999-12-31 23:59:59, 2024-01-02 03:04:05.000006
        assert_eq!(moment(&Form::Datetime(3), "99b2bac8b81ed2"), Some(1_709_210_096_789_000));
        assert_eq!(moment(&Form::Datetime(0), "9963ff7efb"), Some(946_684_799_000_000));
        assert_eq!(moment(&Form::Timestamp(6, false), "65937d25000006"), Some(1_704_164_645_000_006));
        assert_eq!(moment(&Form::Timestamp(0, true), "257d9365"), Some(1_704_164_645_000_000));
        assert_eq!(moment(&Form::Timestamp(1, false), "0000000000"), None);
        assert_eq!(moment(&Form::Datetime(0), "8000000000"), None);
        assert_eq!(moment(&Form::Datetime(1), "fef3ff7efb5a"), Some(253_402_300_799_900_000));
        assert_eq!(moment(&Form::OldDatetime, "77873c922e120000"), Some(946_684_799_000_000));
        let date = |raw: &str| decode::date(&converted(&Form::Date, raw).unwrap()).unwrap().ok();
        assert_eq!((date("5dd00f"), date("000000")), (Some(19_782), None));
        let span = |form: &Form, raw: &str| decode::span(&converted(form, raw).unwrap()).unwrap().nanoseconds;
        let rows = [
            (Form::Time(2), "4b91059d", -3_020_398_990_000_000),
            (Form::Time(0), "801083", 3_723_000_000_000),
            (Form::Time(6), "7ffffef85ee0", -1_500_000_000),
            (Form::Time(3), "7ffffffff6", -1_000_000),
            (Form::Time(3), "b46efb2706", 3_020_399_999_000_000),
            (Form::Time(6), "800000000000", 0),
        ];
        for (form, raw, expected) in rows {
            assert_eq!(span(&form, raw), expected, "{form:?} {raw}");
        }
        // 01:02:03 as the number 10203, and its negative.
        assert_eq!((span(&Form::OldTime, "db2700"), span(&Form::OldTime, "25d8ff")), (3_723_000_000_000, -3_723_000_000_000));
        for form in [Form::Datetime(0), Form::Timestamp(0, false), Form::Time(0)] {
            assert!(converted(&form, "00").is_err());
        }
    }

    #[test]
    fn days_are_those_of_the_calendar() {
        for (days, expected) in [(0, (1970, 1, 1)), (59, (1970, 3, 1)), (11_016, (2000, 2, 29)), (47_482, (2100, 1, 1))] {
            assert_eq!(civil(days), Some(expected));
        }
    }

    #[test]
    fn other_values() {
        assert_eq!(converted(&Form::Middle { is_unsigned: false }, "90eefe").unwrap(), (-70_000_i32).to_le_bytes());
        assert_eq!(converted(&Form::Middle { is_unsigned: true }, "90eefe").unwrap(), 16_707_216_u32.to_le_bytes());
        assert_eq!((converted(&Form::Year, "7c").unwrap(), converted(&Form::Year, "00").unwrap()), (vec![0xe8, 7], vec![0, 0]));
        // 2024, 1970, none, and 2000, as a scan shows them.
        for (raw, expected) in [("7c", 24_u16), ("46", 70), ("00", 0), ("64", 0)] {
            assert_eq!(converted(&Form::ShortYear, raw).unwrap(), expected.to_le_bytes());
        }
        assert_eq!(converted(&Form::Padded(6), "010203").unwrap(), [1, 2, 3, 0, 0, 0]);
        assert_eq!(shown(&Form::Uuid, "123e4567e89b12d3a45642665544"), "123e4567-e89b-12d3-a456-426655440000");
        assert_eq!(
            (shown(&Form::Inet(4), "01020304"), shown(&Form::Inet(16), "20010db8")),
            ("1.2.3.4".to_owned(), "2001:db8::".to_owned())
        );
        let labels: Arc<[String]> = ["a", "b'x", "ü"].map(str::to_owned).into();
        let label = Form::Label(Arc::clone(&labels));
        assert_eq!(
            (shown(&label, "02"), shown(&label, "00"), converted(&label, "04").is_err()),
            ("b'x".to_owned(), String::new(), true)
        );
        assert_eq!(
            (shown(&Form::Labels(Arc::clone(&labels)), "05"), shown(&Form::Labels(labels), "00")),
            ("a,ü".to_owned(), String::new())
        );
        assert!(converted(&Form::Inet(4), "0102030405").is_err());
    }

    #[test]
    fn columns_must_be_what_was_declared() {
        let charsets = Charsets::samples();
        let column = |code: u8, detail: [u8; 2]| EventColumn {
            code,
            detail,
            extent: Extent::Fixed(0),
            name: None,
            is_unsigned: None,
            collation: Some(8),
            labels: Vec::new(),
        };
        let check = |native_type: &str, column: &EventColumn<'_>| form(native_type, None, column, &charsets).ok();
        assert_eq!(check("int(11)", &column(code::LONG, [0, 0])), Some(Form::Same));
        assert_eq!(check("int(11)", &column(code::LONG_LONG, [0, 0])), None);
        let unsigned = EventColumn { is_unsigned: Some(true), ..column(code::LONG, [0, 0]) };
        assert_eq!((check("int(11)", &unsigned), check("int(10) unsigned", &unsigned)), (None, Some(Form::Same)));
        let year = EventColumn { is_unsigned: Some(true), ..column(code::YEAR, [0, 0]) };
        assert_eq!((check("year(4)", &year), check("year(2)", &year)), (Some(Form::Year), Some(Form::ShortYear)));
        assert_eq!(check("decimal(10,2)", &column(code::DECIMAL, [10, 3])), None);
        assert_eq!(check("datetime(3)", &column(code::DATETIME, [3, 0])), Some(Form::Datetime(3)));
        assert_eq!(check("datetime(3)", &column(code::DATETIME, [0, 0])), None);
        assert_eq!(check("timestamp /* mariadb-5.3 */", &column(code::OLD_TIMESTAMP, [0, 0])), Some(Form::Timestamp(0, true)));
        assert_eq!(check("datetime(3)", &column(code::OLD_DATETIME, [0, 0])), None);
        assert_eq!(check("bit(10)", &column(code::BIT, [2, 1])), Some(Form::Same));
        assert_eq!(check("bit(11)", &column(code::BIT, [2, 1])), None);
        assert!(matches!(check("varchar(5)", &column(code::VARCHAR, [5, 0])), Some(Form::Text(Charset::Single(_)))));
        assert_eq!(check("binary(16)", &column(code::STRING, [16, 0])), Some(Form::Padded(16)));
        let json = EventColumn { collation: Some(46), ..column(code::BLOB, [4, 0]) };
        assert_eq!((check("json", &json), check("json", &column(code::JSON, [4, 0]))), (Some(Form::Text(Charset::Utf8)), None));
        let of_gbk = EventColumn { collation: Some(28), ..column(code::VARCHAR, [5, 0]) };
        assert!(form("varchar(5)", None, &of_gbk, &charsets).unwrap_err().contains("character set"));
        let packed = column(code::VARCHAR_COMPRESSED, [5, 0]);
        assert!(form("varchar(5) /*M!100301 COMPRESSED*/", None, &packed, &charsets).unwrap_err().contains("compressed"));
    }

    #[test]
    fn labels_must_be_those_of_the_event() {
        let column = EventColumn {
            code: code::ENUM,
            detail: [1, 0],
            extent: Extent::Fixed(1),
            name: None,
            is_unsigned: None,
            collation: Some(8),
            labels: vec![b"a", b"\xfc"],
        };
        let check = |labels: &[&str]| {
            let labels = labels.iter().map(|label| (*label).to_owned()).collect();
            form("enum('a','ü')", Some(labels), &column, &Charsets::samples()).is_ok()
        };
        assert!(check(&["a", "ü"]) && !check(&["a"]) && !check(&["a", "ü", "b"]) && !check(&["ü", "a"]));
    }
}
