//! The data of `COPY … FROM` on their way in: bytes as they come, cut anywhere, become rows of raw values.
//!
//! ```text
//! text, csv   lines (where a line ends, `\.`) → fields (delimiters, quotes, backslashes, what stands for NULL)
//! binary      binary (header, counted fields, trailer)
//! ```
//!
//! The rules and the words of errors are those of PostgreSQL 15 (`copyfromparse.c`); what a value means is not known here.
//!
//! **Invariants:** the rows that come of some bytes do not depend on how these are cut; no more than one row beyond [`ROWS_MOST`] rows,
//! [`BYTES_MAX`] bytes or, from [`ROWS_MAX`] rows on, [`VALUES_MAX`] values is read ahead of whoever takes the rows; only a row that an error follows may lack values.

mod binary;
mod fields;
mod lines;
#[cfg(test)]
mod tests;

use crate::error::{Diagnosis, sqlstate};
use binary::Binary;
use lines::Lines;

/// So many rows are full, unless more are asked for.
pub const ROWS_MAX: usize = 2_048;
/// More cannot be asked for: a store that takes them at once has then little to gain, and reading, which goes on beside its work, begins
/// and ends with a time in which the other does nothing.
pub const ROWS_MOST: usize = 8_192;
/// More than [`ROWS_MAX`] rows are full with so many values: each takes room beside its bytes.
pub const VALUES_MAX: usize = 1 << 17;
/// Rows of so many bytes are full.
pub const BYTES_MAX: usize = 1 << 20;
/// Most bytes of a value or a line that an error shows.
const SHOWN_MAX: usize = 100;

/// How the rows are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Layout {
    /// A line per row, with backslashes.
    Text(Marks),
    /// Comma-separated values.
    Csv {
        /// What both text formats have.
        marks: Marks,
        /// What stands around a field.
        quote: u8,
        /// What stands before a quote inside quotes.
        escape: u8,
    },
    /// PostgreSQL's binary file format.
    Binary,
}

/// What the text formats share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marks {
    /// What stands between fields.
    pub delimiter: u8,
    /// What stands for NULL.
    pub null: String,
    /// What the first line is.
    pub header: Header,
}

/// What the first line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Header {
    /// A row.
    Absent,
    /// Not looked at.
    Skipped,
    /// The names of the columns.
    Matched,
}

/// A column that is read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Its name.
    pub name: String,
    /// Whether what stands for NULL is a value here.
    pub force_not_null: bool,
    /// Whether what stands for NULL is NULL in quotes too.
    pub force_null: bool,
}

/// Rows of values that nobody has looked at.
#[derive(Debug, Default)]
pub struct RawRows {
    width: usize,
    bytes: Vec<u8>,
    /// The end of each value in `bytes`, row by row, and whether it is NULL.
    ends: Vec<(usize, bool)>,
    lines: Vec<u64>,
    /// So many rows are full.
    most: usize,
}

/// A value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Raw<'r> {
    /// The row ends before it, and an error has told so.
    Missing,
    /// NULL
    Null,
    /// Its bytes.
    Value(&'r [u8]),
}

impl RawRows {
    /// No rows, of so many columns.
    pub fn new(width: usize) -> Self {
        Self { width, most: ROWS_MAX, ..Self::default() }
    }

    /// From now on so many rows are full: one at least, and [`ROWS_MOST`] at most.
    pub fn ask_for(&mut self, rows: usize) {
        self.most = rows.clamp(1, ROWS_MOST);
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Whether they should be taken before more are read.
    pub fn is_full(&self) -> bool {
        let (rows, values) = (self.lines.len(), self.ends.len());
        rows >= self.most || self.bytes.len() >= BYTES_MAX || (rows >= ROWS_MAX && values >= VALUES_MAX)
    }

    /// About how many bytes they take.
    pub fn held(&self) -> usize {
        self.bytes.capacity() + self.ends.capacity() * size_of::<(usize, bool)>() + self.lines.capacity() * size_of::<u64>()
    }

    /// The line at which each row ends; the number of the row in a binary file.
    pub fn lines(&self) -> &[u64] {
        &self.lines
    }

    /// A value of a row.
    pub fn value(&self, row: usize, column: usize) -> Raw<'_> {
        let place = row * self.width + column;
        let Some((end, is_null)) = self.ends.get(place).copied() else { return Raw::Missing };
        if is_null {
            return Raw::Null;
        }
        let start = place.checked_sub(1).and_then(|before| self.ends.get(before)).map_or(0, |(end, _)| *end);
        Raw::Value(self.bytes.get(start..end).unwrap_or_default())
    }

    /// Takes all rows away. Room that one large row has taken is given back.
    pub fn clear(&mut self) {
        self.lines.clear();
        self.ends.clear();
        self.bytes.clear();
        self.bytes.shrink_to(BYTES_MAX.saturating_mul(2));
    }

    fn begin(&mut self, line: u64) {
        self.lines.push(line);
    }

    fn extend(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    fn push(&mut self, byte: u8) {
        self.bytes.push(byte);
    }

    fn start(&self) -> usize {
        self.ends.last().map_or(0, |(end, _)| *end)
    }

    /// The bytes of the value that has been begun.
    fn open(&self) -> &[u8] {
        self.bytes.get(self.start()..).unwrap_or_default()
    }

    /// Ends the value that has been begun; the bytes of a NULL are dropped.
    fn close(&mut self, is_null: bool) {
        if is_null {
            self.drop_open();
        }
        self.ends.push((self.bytes.len(), is_null));
    }

    fn drop_open(&mut self) {
        self.bytes.truncate(self.start());
    }

    /// Takes the last row back.
    fn take_back(&mut self) {
        self.lines.pop();
        self.ends.truncate(self.lines.len() * self.width);
        self.drop_open();
    }
}

/// Reads rows.
#[derive(Debug)]
pub struct Reader(Kind);

#[derive(Debug)]
enum Kind {
    Lines(Box<Lines>),
    Binary(Box<Binary>),
}

impl Reader {
    /// A reader of rows of `columns`; errors name the `relation`.
    pub fn new(relation: &str, columns: Vec<Wanted>, layout: Layout) -> Self {
        Self(match layout {
            Layout::Text(marks) => Kind::Lines(Box::new(Lines::new(relation, columns, marks, None))),
            Layout::Csv { marks, quote, escape } => {
                Kind::Lines(Box::new(Lines::new(relation, columns, marks, Some((quote, escape)))))
            }
            Layout::Binary => Kind::Binary(Box::new(Binary::new(relation, columns.len()))),
        })
    }

    /// Reads until the rows are full or the input is used up, and takes what it has read off the front of the input.
    ///
    /// # Errors
    /// 22P04 for what is no such data, 22021 for text that is not UTF-8; the rows before it are there, and of its own the values before it.
    pub fn read(&mut self, input: &mut &[u8], rows: &mut RawRows) -> Result<(), Diagnosis> {
        match &mut self.0 {
            Kind::Lines(lines) => lines.read(input, rows),
            Kind::Binary(binary) => binary.read(input, rows),
        }
    }

    /// Everything has been given: reads what is left, of which there is no more than one row.
    ///
    /// # Errors
    /// As [`Reader::read`].
    pub fn end(&mut self, rows: &mut RawRows) -> Result<(), Diagnosis> {
        match &mut self.0 {
            Kind::Lines(lines) => lines.end(rows),
            Kind::Binary(binary) => binary.end(rows),
        }
    }

    /// Where it is in the data; `None` before the rows of a binary file.
    pub fn place(&self) -> Option<String> {
        match &self.0 {
            Kind::Lines(lines) => Some(lines.place()),
            Kind::Binary(binary) => binary.place(),
        }
    }

    /// How many bytes it keeps of a row that is not whole.
    pub fn held(&self) -> usize {
        match &self.0 {
            Kind::Lines(lines) => lines.held(),
            Kind::Binary(binary) => binary.held(),
        }
    }
}

/// 22P04
fn malformed(message: impl Into<String>) -> Diagnosis {
    Diagnosis::new(sqlstate::BAD_COPY_FILE_FORMAT, message)
}

/// Where an error lies that is about a row.
pub fn in_line(relation: &str, line: u64) -> String {
    format!("COPY {relation}, line {line}")
}

/// Where an error lies that is about one of several rows.
pub fn in_lines(relation: &str, first: u64, last: u64) -> String {
    if first == last { in_line(relation, first) } else { format!("COPY {relation}, lines {first} to {last}") }
}

/// Where an error lies that is about a line, with the line.
fn in_text(relation: &str, line: u64, text: &[u8]) -> String {
    format!("{}: \"{}\"", in_line(relation, line), shown(text))
}

/// Where an error lies that is about a value. Binary ones cannot be shown.
pub fn in_column((relation, line): (&str, u64), column: &str, value: Raw<'_>, is_binary: bool) -> String {
    let place = format!("{}, column {column}", in_line(relation, line));
    match value {
        _ if is_binary => place,
        Raw::Missing | Raw::Null => format!("{place}: null input"),
        Raw::Value(bytes) => format!("{place}: \"{}\"", shown(bytes)),
    }
}

/// The first bytes, as whole characters.
fn shown(bytes: &[u8]) -> String {
    let Some(first) = bytes.get(..SHOWN_MAX).filter(|_| bytes.len() > SHOWN_MAX) else {
        return String::from_utf8_lossy(bytes).into_owned();
    };
    let whole = match std::str::from_utf8(first) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(first.get(..error.valid_up_to()).unwrap_or_default()).unwrap_or_default(),
    };
    format!("{whole}...")
}

/// Whether PostgreSQL would store the bytes as text.
///
/// # Errors
/// 22021
fn check_text(bytes: &[u8]) -> Result<(), Diagnosis> {
    let valid = std::str::from_utf8(bytes).map_or_else(|error| error.valid_up_to(), str::len);
    let zero = bytes.iter().position(|byte| *byte == 0);
    match zero.into_iter().chain((valid < bytes.len()).then_some(valid)).min() {
        None => Ok(()),
        Some(at) => Err(Diagnosis::new(sqlstate::CHARACTER_NOT_IN_REPERTOIRE, super::fault::invalid_utf8(bytes, at))),
    }
}
