//! One column of rows that are being gathered: plain vectors for the commonest types, scalars of the engine for the rest.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Int16Array, Int32Array, Int64Array, StringArray, TimestampMicrosecondArray, new_empty_array,
};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, TimeUnit};
use datafusion::scalar::ScalarValue;

use super::internal;
use crate::error::{Diagnosis, sqlstate};
use crate::format::{DisplaySettings, scalar};
use crate::pgtype::{PgType, UTC};

/// The values of a column; which of them count is kept beside.
#[derive(Debug)]
pub(super) enum Lane {
    Bool(Vec<bool>),
    Int16(Vec<i16>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    /// `timestamp` and `timestamptz`: the second has a zone.
    Moment(Vec<i64>, bool),
    /// Texts end to end, and where each ends.
    Text(Vec<u8>, Vec<i32>),
    /// NULL of the carrier, and values in it.
    Other(ScalarValue, Vec<ScalarValue>),
}

impl Lane {
    /// The lane of a type in its carrier. Text is taken as it is only where nothing else is ever made of it
    /// ([`scalar::read`]).
    pub(super) fn of(pg_type: PgType, carrier: &DataType) -> Self {
        let is_plain = [PgType::TEXT.oid, PgType::VARCHAR.oid, PgType::BPCHAR.oid, PgType::NAME.oid].contains(&pg_type.oid);
        match carrier {
            DataType::Boolean => Self::Bool(Vec::new()),
            DataType::Int16 => Self::Int16(Vec::new()),
            DataType::Int32 => Self::Int32(Vec::new()),
            DataType::Int64 => Self::Int64(Vec::new()),
            DataType::Timestamp(TimeUnit::Microsecond, None) => Self::Moment(Vec::new(), false),
            DataType::Timestamp(TimeUnit::Microsecond, Some(zone)) if **zone == *UTC => Self::Moment(Vec::new(), true),
            DataType::Utf8 if is_plain => Self::Text(Vec::new(), Vec::new()),
            other => Self::Other(ScalarValue::try_from(other).unwrap_or(ScalarValue::Null), Vec::new()),
        }
    }

    /// How many values there are.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Bool(values) => values.len(),
            Self::Int16(values) => values.len(),
            Self::Int32(values) => values.len(),
            Self::Int64(values) | Self::Moment(values, _) => values.len(),
            Self::Text(_, ends) => ends.len(),
            Self::Other(_, values) => values.len(),
        }
    }

    /// Adds values that do not count.
    pub(super) fn push_blank(&mut self, count: usize) {
        let len = self.len() + count;
        match self {
            Self::Bool(values) => values.resize(len, false),
            Self::Int16(values) => values.resize(len, 0),
            Self::Int32(values) => values.resize(len, 0),
            Self::Int64(values) | Self::Moment(values, _) => values.resize(len, 0),
            Self::Text(_, ends) => ends.resize(len, ends.last().copied().unwrap_or(0)),
            Self::Other(null, values) => values.resize(len, null.clone()),
        }
    }

    /// Drops all values behind the first so many.
    pub(super) fn truncate(&mut self, len: usize) {
        match self {
            Self::Bool(values) => values.truncate(len),
            Self::Int16(values) => values.truncate(len),
            Self::Int32(values) => values.truncate(len),
            Self::Int64(values) | Self::Moment(values, _) => values.truncate(len),
            Self::Text(bytes, ends) => {
                ends.truncate(len);
                bytes.truncate(ends.last().and_then(|end| usize::try_from(*end).ok()).unwrap_or(0));
            }
            Self::Other(_, values) => values.truncate(len),
        }
    }

    /// Adds a value from its text.
    ///
    /// # Errors
    /// As [`scalar::read`].
    pub(super) fn push_text(&mut self, pg_type: PgType, text: &str, display: &DisplaySettings) -> Result<(), Diagnosis> {
        if let Self::Moment(values, has_zone) = self
            && let Some(micros) = moment(text, *has_zone)
        {
            values.push(micros);
            return Ok(());
        }
        match self {
            Self::Int64(values) if pg_type.oid == PgType::INT8.oid && is_short_integer(text) => {
                values.push(text.parse().map_err(internal)?);
            }
            Self::Int32(values) if is_short_integer(text) && text.len() < 10 => values.push(text.parse().map_err(internal)?),
            Self::Text(bytes, ends) => append(text, bytes, ends)?,
            Self::Other(_, values) => values.push(scalar::read(pg_type, text, display)?),
            Self::Bool(_) | Self::Int16(_) | Self::Int32(_) | Self::Int64(_) | Self::Moment(..) => {
                let value = scalar::read(pg_type, text, display)?;
                self.push_value(value)?;
            }
        }
        Ok(())
    }

    /// Adds a value in the carrier; `false` where it is NULL.
    ///
    /// # Errors
    /// XX000 when it is in another carrier.
    pub(super) fn push_value(&mut self, value: ScalarValue) -> Result<bool, Diagnosis> {
        if value.is_null() {
            self.push_blank(1);
            return Ok(false);
        }
        match (self, value) {
            (Self::Bool(values), ScalarValue::Boolean(Some(value))) => values.push(value),
            (Self::Int16(values), ScalarValue::Int16(Some(value))) => values.push(value),
            (Self::Int32(values), ScalarValue::Int32(Some(value))) => values.push(value),
            (Self::Int64(values), ScalarValue::Int64(Some(value))) => values.push(value),
            (Self::Moment(values, _), ScalarValue::TimestampMicrosecond(Some(value), _)) => values.push(value),
            (Self::Text(bytes, ends), ScalarValue::Utf8(Some(text))) => append(&text, bytes, ends)?,
            (Self::Other(null, values), value) if null.data_type() == value.data_type() => values.push(value),
            (_, value) => return Err(internal(format!("{} is not the carrier of its column", value.data_type()))),
        }
        Ok(true)
    }

    /// The array of all values.
    ///
    /// # Errors
    /// XX000 when they make none of the carrier.
    pub(super) fn finish(self, nulls: Option<NullBuffer>, carrier: &DataType) -> Result<ArrayRef, Diagnosis> {
        Ok(match self {
            Self::Bool(values) => Arc::new(BooleanArray::new(BooleanBuffer::from(values), nulls)),
            Self::Int16(values) => Arc::new(Int16Array::try_new(values.into(), nulls).map_err(internal)?),
            Self::Int32(values) => Arc::new(Int32Array::try_new(values.into(), nulls).map_err(internal)?),
            Self::Int64(values) => Arc::new(Int64Array::try_new(values.into(), nulls).map_err(internal)?),
            Self::Moment(values, has_zone) => {
                let array = TimestampMicrosecondArray::try_new(values.into(), nulls).map_err(internal)?;
                Arc::new(array.with_timezone_opt(has_zone.then_some(UTC)))
            }
            Self::Text(bytes, ends) => {
                let mut offsets = Vec::with_capacity(ends.len() + 1);
                offsets.push(0);
                offsets.extend(ends);
                let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
                Arc::new(StringArray::try_new(offsets, Buffer::from_vec(bytes), nulls).map_err(internal)?)
            }
            Self::Other(_, values) if values.is_empty() => new_empty_array(carrier),
            Self::Other(_, values) => ScalarValue::iter_to_array(values).map_err(internal)?,
        })
    }
}

fn append(text: &str, bytes: &mut Vec<u8>, ends: &mut Vec<i32>) -> Result<(), Diagnosis> {
    let end = i32::try_from(bytes.len() + text.len())
        .map_err(|_too_long| Diagnosis::new(sqlstate::PROGRAM_LIMIT_EXCEEDED, "too many bytes of text in one group"))?;
    bytes.extend_from_slice(text.as_bytes());
    ends.push(end);
    Ok(())
}

/// Whether it is an integer as stores write them, and too short to be out of range.
fn is_short_integer(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    (1..=18).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// A moment as PostgreSQL writes it in ISO style and UTC, from the year 1 to 9999; all else is left to the whole reader.
fn moment(text: &str, has_zone: bool) -> Option<i64> {
    let text = if has_zone { text.strip_suffix("+00")? } else { text };
    let (date, clock) = text.as_bytes().split_at_checked(10)?;
    let (year, month, day) = match date {
        [year @ .., b'-', m1, m2, b'-', d1, d2] => (digits(year)?, digits(&[*m1, *m2])?, digits(&[*d1, *d2])?),
        _ => return None,
    };
    let (hour, minute, rest) = match clock {
        [b' ', h1, h2, b':', m1, m2, b':', rest @ ..] => (digits(&[*h1, *h2])?, digits(&[*m1, *m2])?, rest),
        _ => return None,
    };
    let (second, micros) = match rest {
        [s1, s2] => (digits(&[*s1, *s2])?, 0),
        [s1, s2, b'.', fraction @ ..] if (1..=6).contains(&fraction.len()) => {
            let missing = u32::try_from(6 - fraction.len()).ok()?;
            (digits(&[*s1, *s2])?, digits(fraction)? * 10_i64.pow(missing))
        }
        _ => return None,
    };
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let days = days_of(year, month, day)?;
    Some((days * 86_400 + hour * 3_600 + minute * 60 + second) * 1_000_000 + micros)
}

fn digits(bytes: &[u8]) -> Option<i64> {
    bytes.iter().try_fold(0, |number: i64, byte| byte.is_ascii_digit().then(|| number * 10 + i64::from(byte - b'0')))
}

/// Days since 1970-01-01 of a day of the Gregorian calendar; `None` of one that it has not.
fn days_of(year: i64, month: i64, day: i64) -> Option<i64> {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        _ => return None,
    };
    if !(1..=9_999).contains(&year) || !(1..=length).contains(&day) {
        return None;
    }
    // Years begin in March here, so that the day which some have and others not is the last one.
    let (shifted, months) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let of_year = (153 * months + 2) / 5 + day - 1;
    Some(shifted * 365 + shifted / 4 - shifted / 100 + shifted / 400 + of_year - 719_468)
}

#[cfg(test)]
mod tests {
    use arrow::array::Array;

    use super::*;

    fn read(pg_type: PgType, texts: &[&str]) -> Result<ArrayRef, Diagnosis> {
        let mut lane = Lane::of(pg_type, &pg_type.carrier());
        texts.iter().try_for_each(|text| lane.push_text(pg_type, text, &DisplaySettings::default()))?;
        lane.finish(None, &pg_type.carrier())
    }

    /// The lane and the whole reader agree, in values and in errors.
    fn check(pg_type: PgType, text: &str) {
        let whole = scalar::read(pg_type, text, &DisplaySettings::default());
        match (read(pg_type, &[text]), whole) {
            (Ok(array), Ok(value)) => assert_eq!(&ScalarValue::try_from_array(&array, 0).unwrap(), &value, "{text}"),
            (Err(lane), Err(whole)) => assert_eq!(lane.sqlstate, whole.sqlstate, "{text}"),
            (lane, whole) => panic!("{text}: {lane:?} against {whole:?}"),
        }
    }

    #[test]
    fn short_ways_read_as_the_whole_reader_does() {
        for text in ["0", "-1", "9223372036854775807", "9223372036854775808", "-9223372036854775808", "", "-", "1x", "2147483648"] {
            check(PgType::INT8, text);
            check(PgType::INT4, text);
            check(PgType::INT2, text);
        }
        let moments = [
            "2024-02-29 23:59:59.999999",
            "2023-02-29 00:00:00",
            "1970-01-01 00:00:00",
            "1969-12-31 23:59:59.5",
            "0001-01-01 00:00:00",
            "0044-03-15 00:00:00 BC",
            "9999-12-31 24:00:00",
            "12345-01-01 00:00:00",
            "infinity",
            "-infinity",
            "2024-13-01 00:00:00",
            "2000-03-01 00:00:60",
            "1900-03-01 12:34:56.1234567",
        ];
        for text in moments {
            check(PgType::TIMESTAMP, text);
            check(PgType::TIMESTAMPTZ, &format!("{text}+00"));
        }
        check(PgType::TIMESTAMPTZ, "2024-02-29 12:00:00+02");
        for (pg_type, text) in [
            (PgType::TEXT, "a\u{e9}"),
            (PgType::TEXT, ""),
            (PgType::BOOL, "t"),
            (PgType::BOOL, "maybe"),
            (PgType::JSONB, "{\"b\": 1,  \"a\": 2}"),
            (PgType::numeric(10, 2), "12.345"),
            (PgType::NUMERIC, "NaN"),
        ] {
            check(pg_type, text);
        }
    }

    #[test]
    fn days_are_counted_as_the_whole_reader_counts_them() {
        let mut seed = 3_u64;
        for _ in 0..5_000 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let part = |shift: u32, end: u64| (seed >> shift) % end;
            let text = format!("{:04}-{:02}-{:02} 00:00:00", part(20, 10_001), part(34, 14), part(40, 33));
            check(PgType::TIMESTAMP, &text);
        }
    }

    #[test]
    fn what_is_taken_back_leaves_nothing() {
        let mut lane = Lane::of(PgType::TEXT, &PgType::TEXT.carrier());
        for text in ["one", "", "three"] {
            lane.push_text(PgType::TEXT, text, &DisplaySettings::default()).unwrap();
        }
        lane.truncate(1);
        lane.push_blank(1);
        lane.push_text(PgType::TEXT, "x", &DisplaySettings::default()).unwrap();
        let array = lane.finish(Some(NullBuffer::from(vec![true, false, true])), &DataType::Utf8).unwrap();
        let expected: ArrayRef = Arc::new(StringArray::from(vec![Some("one"), None, Some("x")]));
        assert_eq!(&array, &expected);
        assert_eq!(array.len(), 3);
    }

    #[test]
    fn a_value_in_another_carrier_is_refused() {
        let mut lane = Lane::of(PgType::INT8, &DataType::Int64);
        assert!(lane.push_value(ScalarValue::Int64(Some(1))).unwrap());
        assert!(!lane.push_value(ScalarValue::Int32(None)).unwrap());
        assert_eq!(lane.push_value(ScalarValue::Utf8(Some("x".to_owned()))).unwrap_err().sqlstate, "XX000");
        assert_eq!(lane.len(), 2);
    }
}
