//! The fields of a line.

use super::{Marks, Raw, RawRows, Wanted, check_text, in_text, malformed};
use crate::error::Diagnosis;

/// Reads the fields of lines.
#[derive(Debug)]
pub(super) struct Fields {
    relation: String,
    columns: Vec<Wanted>,
    marks: Marks,
    quotes: Option<(u8, u8)>,
}

/// The fields of one line on their way into rows.
struct Sink<'s> {
    rows: &'s mut RawRows,
    columns: &'s [Wanted],
    null: &'s [u8],
    /// How many there have been.
    count: usize,
    is_csv: bool,
}

impl Sink<'_> {
    /// Ends a field. Those that no column is for are counted only.
    fn close(&mut self, is_null: bool) {
        match self.columns.get(self.count) {
            None => self.rows.drop_open(),
            Some(column) if self.is_csv => {
                let is_marked = column.force_null && self.rows.open() == self.null;
                self.rows.close(if is_null { !column.force_not_null } else { is_marked });
            }
            Some(_) => self.rows.close(is_null),
        }
        self.count += 1;
    }
}

impl Fields {
    pub(super) fn new(relation: &str, columns: Vec<Wanted>, marks: Marks, quotes: Option<(u8, u8)>) -> Self {
        Self { relation: relation.to_owned(), columns, marks, quotes }
    }

    /// Appends the row that a line is.
    pub(super) fn row(&self, line: &[u8], number: u64, rows: &mut RawRows) -> Result<(), Diagnosis> {
        rows.begin(number);
        let count = match self.split(line, &self.columns, rows) {
            Ok(count) => count,
            Err(error) => {
                rows.take_back();
                return Err(error.with_context(in_text(&self.relation, number, line)));
            }
        };
        let wanted = self.columns.len();
        let told = |message: String| Err(malformed(message).with_context(in_text(&self.relation, number, line)));
        if count > wanted {
            rows.take_back();
            return told("extra data after last expected column".to_owned());
        }
        match self.columns.get(count) {
            // The values before it are looked at first.
            Some(column) => told(format!("missing data for column \"{}\"", column.name)),
            None => Ok(()),
        }
    }

    /// Whether a line has the names of the columns.
    pub(super) fn check_header(&self, line: &[u8], number: u64) -> Result<(), Diagnosis> {
        // What stands for NULL is no name.
        let plain: Vec<Wanted> = self.columns.iter().map(|_| Wanted::default()).collect();
        let mut names = RawRows::new(plain.len());
        names.begin(number);
        let told = |error: Diagnosis| error.with_context(in_text(&self.relation, number, line));
        let (count, wanted) = (self.split(line, &plain, &mut names).map_err(told)?, plain.len());
        if count != wanted {
            let message = format!("wrong number of fields in header line: got {count}, expected {wanted}");
            return Err(told(malformed(message)));
        }
        for (place, column) in self.columns.iter().enumerate() {
            let found = match names.value(0, place) {
                Raw::Value(name) if name == column.name.as_bytes() => continue,
                Raw::Value(name) => format!("got \"{}\"", String::from_utf8_lossy(name)),
                Raw::Null | Raw::Missing => format!("got null value (\"{}\")", self.marks.null),
            };
            let message = format!("column name mismatch in header line field {}: {found}, expected \"{}\"", place + 1, column.name);
            return Err(told(malformed(message)));
        }
        Ok(())
    }

    /// Cuts a line into fields, and tells how many there are.
    fn split(&self, line: &[u8], columns: &[Wanted], rows: &mut RawRows) -> Result<usize, Diagnosis> {
        if columns.is_empty() {
            return if line.is_empty() { Ok(0) } else { Err(malformed("extra data after last expected column")) };
        }
        let null = self.marks.null.as_bytes();
        let mut sink = Sink { rows, columns, null, count: 0, is_csv: self.quotes.is_some() };
        let mut rest = line;
        loop {
            let goes_on = match self.quotes {
                None => self.text_field(&mut rest, &mut sink)?,
                Some(quotes) => self.csv_field(&mut rest, quotes, &mut sink)?,
            };
            if !goes_on {
                return Ok(sink.count);
            }
        }
    }

    /// One field with backslashes; whether another one follows.
    fn text_field(&self, rest: &mut &[u8], sink: &mut Sink<'_>) -> Result<bool, Diagnosis> {
        let (delimiter, whole) = (self.marks.delimiter, *rest);
        let mut is_doubtful = false;
        let (raw, goes_on) = loop {
            let plain = rest.iter().position(|byte| *byte == delimiter || *byte == b'\\').unwrap_or(rest.len());
            let (run, after) = rest.split_at(plain);
            sink.rows.extend(run);
            let end = whole.len() - after.len();
            let Some((&byte, after)) = after.split_first() else {
                *rest = &[];
                break (end, false);
            };
            *rest = after;
            if byte == delimiter {
                break (end, true);
            }
            let Some(byte) = next(rest) else { break (end, false) };
            let value = escaped(byte, rest);
            is_doubtful |= value == 0 || value >= 0x80;
            sink.rows.push(value);
        };
        let is_null = whole.get(..raw) == Some(sink.null);
        if is_doubtful && !is_null {
            check_text(sink.rows.open())?;
        }
        sink.close(is_null);
        Ok(goes_on)
    }

    /// One field that quotes may stand around; whether another one follows.
    fn csv_field(&self, rest: &mut &[u8], (quote, escape): (u8, u8), sink: &mut Sink<'_>) -> Result<bool, Diagnosis> {
        let (delimiter, mut was_quoted, whole) = (self.marks.delimiter, false, *rest);
        loop {
            let plain = rest.iter().position(|byte| *byte == delimiter || *byte == quote).unwrap_or(rest.len());
            let (run, after) = rest.split_at(plain);
            sink.rows.extend(run);
            let end = whole.len() - after.len();
            *rest = after;
            let found = next(rest);
            if found != Some(quote) {
                let is_null = !was_quoted && whole.get(..end) == Some(sink.null);
                sink.close(is_null);
                return Ok(found.is_some());
            }
            was_quoted = true;
            loop {
                let byte = next(rest).ok_or_else(|| malformed("unterminated CSV quoted field"))?;
                if byte == escape
                    && let Some((&following, after)) = rest.split_first()
                    && (following == escape || following == quote)
                {
                    sink.rows.push(following);
                    *rest = after;
                } else if byte == quote {
                    break;
                } else {
                    sink.rows.push(byte);
                }
            }
        }
    }
}

fn next(rest: &mut &[u8]) -> Option<u8> {
    let (&byte, after) = rest.split_first()?;
    *rest = after;
    Some(byte)
}

/// What a byte behind a backslash means, with those that follow it.
fn escaped(byte: u8, rest: &mut &[u8]) -> u8 {
    match byte {
        b'0'..=b'7' => {
            let mut value = byte - b'0';
            for _ in 0..2 {
                let Some((&digit, after)) = rest.split_first() else { break };
                if !(b'0'..=b'7').contains(&digit) {
                    break;
                }
                value = value.wrapping_mul(8).wrapping_add(digit - b'0');
                *rest = after;
            }
            value
        }
        b'x' => {
            let mut value = None;
            for _ in 0..2 {
                let Some((digit, after)) = rest.split_first() else { break };
                let Some(number) = hexadecimal(*digit) else { break };
                value = Some(value.unwrap_or(0_u8).wrapping_mul(16).wrapping_add(number));
                *rest = after;
            }
            value.unwrap_or(b'x')
        }
        b'b' => 0x08,
        b'f' => 0x0c,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'v' => 0x0b,
        other => other,
    }
}

fn hexadecimal(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}
