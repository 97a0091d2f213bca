//! `smallint`, `integer`, `bigint` and `oid` as text.

use bytes::BufMut;

use super::fault;
use crate::error::Diagnosis;

/// Writes decimal digits with a minus sign where needed.
pub fn write(value: i64, out: &mut impl BufMut) {
    out.put_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Writes decimal digits.
pub fn write_unsigned(value: u64, out: &mut impl BufMut) {
    out.put_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Reads a `smallint`.
///
/// # Errors
/// 22P02, or 22003 when the number does not fit.
pub fn read_i16(text: &str) -> Result<i16, Diagnosis> {
    i16::try_from(read("smallint", text)?).map_err(|_cause| fault::out_of_range("smallint", text))
}

/// Reads an `integer`.
///
/// # Errors
/// 22P02, or 22003 when the number does not fit.
pub fn read_i32(text: &str) -> Result<i32, Diagnosis> {
    i32::try_from(read("integer", text)?).map_err(|_cause| fault::out_of_range("integer", text))
}

/// Reads a `bigint`.
///
/// # Errors
/// 22P02, or 22003 when the number does not fit.
pub fn read_i64(text: &str) -> Result<i64, Diagnosis> {
    read("bigint", text)
}

/// Reads an `oid`. Like PostgreSQL, a negative number counts down from 2^32.
///
/// # Errors
/// 22P02, or 22003 when the number does not fit 32 bits.
pub fn read_oid(text: &str) -> Result<u32, Diagnosis> {
    let number = read("oid", text)?;
    let wrapped = if number < 0 && number >= i64::from(i32::MIN) { number + (1 << 32) } else { number };
    u32::try_from(wrapped).map_err(|_cause| fault::out_of_range("oid", text))
}

fn read(type_name: &str, text: &str) -> Result<i64, Diagnosis> {
    let trimmed = fault::trim(text);
    let digits = trimmed.strip_prefix(['+', '-']).unwrap_or(trimmed);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(fault::invalid(type_name, text));
    }
    // The text is a sign and digits only, so the one failure left is overflow.
    trimmed.parse().map_err(|_cause| fault::out_of_range(type_name, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_postgres_reads_them() {
        assert_eq!(read_i16(" -32768 ").unwrap(), i16::MIN);
        assert_eq!(read_i32("+7").unwrap(), 7);
        assert_eq!(read_i32("007").unwrap(), 7);
        assert_eq!(read_i64("-9223372036854775808").unwrap(), i64::MIN);
        assert_eq!(read_oid("4294967295").unwrap(), u32::MAX);
        assert_eq!(read_oid("-1").unwrap(), u32::MAX);
    }

    #[test]
    fn refusals_carry_the_words_of_postgres() {
        let rows = [
            (read_i32("abc").unwrap_err(), "22P02", "invalid input syntax for type integer: \"abc\""),
            (read_i32("").unwrap_err(), "22P02", "invalid input syntax for type integer: \"\""),
            (read_i32("1.0").unwrap_err(), "22P02", "invalid input syntax for type integer: \"1.0\""),
            (read_i32("- 1").unwrap_err(), "22P02", "invalid input syntax for type integer: \"- 1\""),
            (read_i16("32768").unwrap_err(), "22003", "value \"32768\" is out of range for type smallint"),
            (
                read_i64("9223372036854775808").unwrap_err(),
                "22003",
                "value \"9223372036854775808\" is out of range for type bigint",
            ),
        ];
        for (error, code, message) in rows {
            assert_eq!((error.sqlstate.as_str(), error.message.as_str()), (code, message));
        }
    }
}
