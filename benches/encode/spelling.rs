//! Whether two encoders have written the same values.

use tributary::format::Format;

use super::Case;
use super::measure::{must, say};

/// Compares the messages of both sides value by value.
///
/// A value may be spelled differently: more or fewer zeros at the end of a fraction, another form of a float. That is printed
/// once. Any other difference ends the bench, which would then compare different work.
pub fn compare(case: &Case, ours: &[u8], theirs: &[u8]) {
    if ours == theirs {
        return;
    }
    let (ours, theirs) = (values(ours), values(theirs));
    must(if ours.len() == theirs.len() { Ok(()) } else { Err(format!("{}: another number of values", case.name)) });
    let mut respelled = 0;
    let mut example = None;
    for (place, (ours, theirs)) in ours.iter().zip(&theirs).enumerate().filter(|(_, (ours, theirs))| ours != theirs) {
        let shown = || format!("{} instead of {}", show(case.format, *theirs), show(case.format, *ours));
        let same = is_same(case, place, (*ours, *theirs));
        must(if same { Ok(()) } else { Err(format!("{}, value {place}: arrow-pg wrote {}", case.name, shown())) });
        respelled += 1;
        example.get_or_insert_with(shown);
    }
    let example = example.unwrap_or_default();
    say(format_args!("  {}: arrow-pg spells {respelled} of {} values otherwise: {example}", case.name, ours.len()));
}

/// The fields of all rows, one after the other; `None` is NULL.
fn values(mut messages: &[u8]) -> Vec<Option<&[u8]>> {
    let mut values = Vec::new();
    while let Some((head, after)) = messages.split_first_chunk::<7>() {
        must(if head.first() == Some(&b'D') { Ok(()) } else { Err("a message is not a DataRow") });
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
        let (mut fields, rest) = must(after.split_at_checked(length - 6).ok_or("a DataRow is cut short"));
        messages = rest;
        while let Some((length, after)) = fields.split_first_chunk::<4>() {
            match usize::try_from(i32::from_be_bytes(*length)) {
                Ok(length) => {
                    let (value, after) = must(after.split_at_checked(length).ok_or("a value is cut short"));
                    values.push(Some(value));
                    fields = after;
                }
                Err(_negative) => {
                    values.push(None);
                    fields = after;
                }
            }
        }
    }
    values
}

fn is_same(case: &Case, place: usize, both: (Option<&[u8]>, Option<&[u8]>)) -> bool {
    let (Some(ours), Some(theirs)) = both else { return false };
    if case.format == Format::Binary {
        // The other types have one binary form for each value.
        return case.output.get(place % case.output.len()).is_some_and(|column| column.pg_type.oid == 1700)
            && is_same_numeric(ours, theirs);
    }
    let (Ok(ours), Ok(theirs)) = (std::str::from_utf8(ours), std::str::from_utf8(theirs)) else { return false };
    if without_zeros(ours) == without_zeros(theirs) {
        return true;
    }
    // Whole numbers must agree in every digit, which the comparison as floats would not see.
    let is_float = |text: &str| text.contains(['.', 'e', 'E']);
    (is_float(ours) || is_float(theirs)) && ours.parse::<f64>().is_ok_and(|number| theirs.parse() == Ok(number)) && !is_long(ours)
}

/// Whether a number has more digits than a float tells apart.
fn is_long(text: &str) -> bool {
    !text.contains(['e', 'E']) && text.bytes().filter(u8::is_ascii_digit).count() > 17
}

/// The text without zeros at the end of a fraction.
fn without_zeros(text: &str) -> &str {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text }
}

/// Two binary numerics whose digits agree up to zero groups at the end (`numeric_send`); how many digits are shown may differ.
fn is_same_numeric(ours: &[u8], theirs: &[u8]) -> bool {
    fn parts(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
        let (head, mut digits) = bytes.split_first_chunk::<8>()?;
        while let Some(shorter) = digits.strip_suffix(&[0, 0]) {
            digits = shorter;
        }
        // The weight of zero says nothing.
        let weight = if digits.is_empty() { [].as_slice() } else { head.get(2..4)? };
        Some((weight, head.get(4..6)?, digits))
    }
    parts(ours).is_some_and(|ours| parts(theirs) == Some(ours))
}

fn show(format: Format, value: Option<&[u8]>) -> String {
    match value {
        None => "NULL".to_owned(),
        Some(value) if format == Format::Text => format!("\"{}\"", String::from_utf8_lossy(value)),
        Some(value) => format!("{value:02x?}"),
    }
}
