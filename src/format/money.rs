//! `money` under the C locale, which PostgreSQL prints as `$1,234.56`: cents in 64 bits.

use bytes::BufMut;

use super::fault;
use super::numeric;
use crate::error::Diagnosis;

/// Writes `-$1,234.56`.
pub fn write(cents: i64, out: &mut impl BufMut) {
    if cents < 0 {
        out.put_u8(b'-');
    }
    out.put_u8(b'$');
    let size = cents.unsigned_abs();
    let whole = (size / 100).to_string();
    for (place, digit) in whole.bytes().enumerate() {
        if place > 0 && (whole.len() - place).is_multiple_of(3) {
            out.put_u8(b',');
        }
        out.put_u8(digit);
    }
    out.put_slice(format!(".{:02}", size % 100).as_bytes());
}

/// Reads `1234.56`, `$1,234.56`, `-$1` and `($1)`, rounded half away from zero to cents.
///
/// # Errors
/// 22P02, 22003.
pub fn read(text: &str) -> Result<i64, Diagnosis> {
    let trimmed = fault::trim(text);
    let (is_enclosed, inner) = match trimmed.strip_prefix('(').and_then(|inner| inner.strip_suffix(')')) {
        Some(inner) => (true, inner),
        None => (false, trimmed),
    };
    let plain: String = inner.chars().filter(|c| !matches!(c, '$' | ',' | ' ')).collect();
    let is_plain = plain.chars().all(|c| c.is_ascii_digit() || matches!(c, '+' | '-' | '.'));
    if !is_plain {
        return Err(fault::invalid("money", text));
    }
    let range = || fault::out_of_range("money", text);
    let value = numeric::read(&plain).map_err(|_cause| fault::invalid("money", text))?;
    let cents = value.fit(19, 2).map_err(|_cause| range())?.unscaled_i128(2).ok_or_else(range)?;
    i64::try_from(if is_enclosed { -cents } else { cents }).map_err(|_cause| range())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts() {
        for (input, expected) in [
            ("1234.565", "$1,234.57"),
            ("-$1,234,567.8", "-$1,234,567.80"),
            ("($0.01)", "-$0.01"),
            ("12", "$12.00"),
            ("-92233720368547758.08", "-$92,233,720,368,547,758.08"),
        ] {
            let mut out = Vec::new();
            write(read(input).unwrap(), &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
        assert_eq!(read("abc").unwrap_err().sqlstate, "22P02");
        assert_eq!(read("92233720368547758.08").unwrap_err().sqlstate, "22003");
    }
}
