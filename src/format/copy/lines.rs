//! Lines of the text formats: where each ends, and where the data do (`\.`).

use super::fields::Fields;
use super::{Header, Marks, RawRows, Wanted, check_text, in_line, malformed};
use crate::error::Diagnosis;

/// How lines end. The first line decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Eol {
    Newline,
    Return,
    Both,
}

/// What has been seen of something that the next byte decides about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pending {
    Nothing,
    /// A carriage return that may belong to a newline.
    Return,
    /// A backslash.
    Backslash,
    /// `\.`
    Marker,
    /// `\.` and a carriage return.
    MarkerReturn,
}

/// What has been found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    /// No more input.
    Nothing,
    /// A whole line.
    Line,
    /// The end of the data, behind what is in the line.
    End,
}

/// Reads lines.
#[derive(Debug)]
pub(super) struct Lines {
    relation: String,
    fields: Fields,
    header: Header,
    quoting: Option<Quoting>,
    /// The line that is read, as far as it has come.
    line: Vec<u8>,
    /// Its number.
    number: u64,
    pending: Pending,
    eol: Option<Eol>,
    is_over: bool,
}

/// Where a line of CSV stands.
#[derive(Debug)]
struct Quoting {
    quote: u8,
    /// `None` when it is the quote: the quote is a toggle then.
    escape: Option<u8>,
    is_inside: bool,
    was_escape: bool,
}

impl Quoting {
    fn pass(&mut self, byte: u8) {
        let is_escape = self.escape == Some(byte);
        if self.is_inside && is_escape {
            self.was_escape = !self.was_escape;
        }
        if byte == self.quote && !self.was_escape {
            self.is_inside = !self.is_inside;
        }
        if !is_escape {
            self.was_escape = false;
        }
    }
}

impl Lines {
    pub(super) fn new(relation: &str, columns: Vec<Wanted>, marks: Marks, quotes: Option<(u8, u8)>) -> Self {
        let quoting = quotes.map(|(quote, escape)| {
            let escape = (escape != quote).then_some(escape);
            Quoting { quote, escape, is_inside: false, was_escape: false }
        });
        Self {
            relation: relation.to_owned(),
            header: marks.header,
            fields: Fields::new(relation, columns, marks, quotes),
            quoting,
            line: Vec::new(),
            number: 1,
            pending: Pending::Nothing,
            eol: None,
            is_over: false,
        }
    }

    /// The line that is read.
    pub(super) fn place(&self) -> String {
        in_line(&self.relation, self.number)
    }

    pub(super) fn held(&self) -> usize {
        self.line.capacity()
    }

    pub(super) fn read(&mut self, input: &mut &[u8], rows: &mut RawRows) -> Result<(), Diagnosis> {
        while !input.is_empty() && !rows.is_full() {
            if self.is_over {
                // What follows `\.` is not looked at.
                *input = &[];
                return Ok(());
            }
            match self.take(input)? {
                Found::Nothing => {}
                Found::Line => self.row(rows)?,
                Found::End => self.finish(rows)?,
            }
        }
        Ok(())
    }

    pub(super) fn end(&mut self, rows: &mut RawRows) -> Result<(), Diagnosis> {
        if self.is_over {
            return Ok(());
        }
        match std::mem::replace(&mut self.pending, Pending::Nothing) {
            Pending::Nothing => {}
            Pending::Return if self.eol == Some(Eol::Both) => return Err(self.stray_return()),
            Pending::Return => {
                self.is_over = true;
                return self.row(rows);
            }
            Pending::Backslash => self.line.push(b'\\'),
            Pending::Marker | Pending::MarkerReturn if self.quoting.is_none() => return Err(self.corrupt()),
            Pending::Marker => {
                self.not_the_end()?;
            }
            Pending::MarkerReturn => return Err(self.stray_return()),
        }
        self.finish(rows)
    }

    fn finish(&mut self, rows: &mut RawRows) -> Result<(), Diagnosis> {
        self.is_over = true;
        // Names that are looked for are not there where no line is.
        let is_over = self.line.is_empty() && self.header != Header::Matched;
        if is_over { Ok(()) } else { self.row(rows) }
    }

    /// Reads to the end of a line or of the input.
    fn take(&mut self, input: &mut &[u8]) -> Result<Found, Diagnosis> {
        while let Some((&byte, rest)) = input.split_first() {
            let found = match self.pending {
                Pending::Nothing => {
                    let plain = self.plain(input);
                    if plain > 0 {
                        let (run, after) = input.split_at(plain);
                        self.line.extend_from_slice(run);
                        if let Some(quoting) = &mut self.quoting {
                            quoting.was_escape = false;
                        }
                        *input = after;
                        continue;
                    }
                    *input = rest;
                    self.special(byte)?
                }
                Pending::Return => {
                    self.pending = Pending::Nothing;
                    if byte == b'\n' {
                        *input = rest;
                        self.eol = Some(Eol::Both);
                    } else if self.eol == Some(Eol::Both) {
                        return Err(self.stray_return());
                    } else {
                        self.eol = Some(Eol::Return);
                    }
                    Found::Line
                }
                Pending::Backslash => {
                    self.behind_backslash(byte, rest, input);
                    Found::Nothing
                }
                Pending::Marker => self.behind_marker(byte, rest, input)?,
                Pending::MarkerReturn => self.behind_marker_return(byte, rest, input)?,
            };
            if found != Found::Nothing {
                return Ok(found);
            }
        }
        Ok(Found::Nothing)
    }

    /// How many bytes at the front mean nothing but themselves.
    fn plain(&self, input: &[u8]) -> usize {
        let stop = match &self.quoting {
            None => input.iter().position(|byte| matches!(byte, b'\n' | b'\r' | b'\\')),
            Some(_) if self.line.is_empty() && input.first() == Some(&b'\\') => Some(0),
            Some(Quoting { quote, escape, .. }) => {
                input.iter().position(|byte| byte == quote || Some(*byte) == *escape || matches!(byte, b'\n' | b'\r'))
            }
        };
        stop.unwrap_or(input.len())
    }

    /// One byte that may mean something.
    fn special(&mut self, byte: u8) -> Result<Found, Diagnosis> {
        let mut is_inside = false;
        if let Some(quoting) = &mut self.quoting {
            quoting.pass(byte);
            is_inside = quoting.is_inside;
        }
        // As PostgreSQL counts the lines of a quoted field.
        if is_inside && byte == if self.eol == Some(Eol::Newline) { b'\n' } else { b'\r' } {
            self.number += 1;
        }
        match byte {
            b'\r' if !is_inside => match self.eol {
                Some(Eol::Newline) => return Err(self.stray_return()),
                Some(Eol::Return) => return Ok(Found::Line),
                Some(Eol::Both) | None => self.pending = Pending::Return,
            },
            b'\n' if !is_inside => {
                if matches!(self.eol, Some(Eol::Return | Eol::Both)) {
                    return Err(self.stray_newline());
                }
                self.eol = Some(Eol::Newline);
                return Ok(Found::Line);
            }
            b'\\' if self.quoting.is_none() || self.line.is_empty() => self.pending = Pending::Backslash,
            _ => self.line.push(byte),
        }
        Ok(Found::Nothing)
    }

    fn behind_backslash<'i>(&mut self, byte: u8, rest: &'i [u8], input: &mut &'i [u8]) {
        if byte == b'.' {
            *input = rest;
            self.pending = Pending::Marker;
            return;
        }
        self.pending = Pending::Nothing;
        self.line.push(b'\\');
        // Whatever it is, it means itself for now.
        if self.quoting.is_none() {
            self.line.push(byte);
            *input = rest;
        }
    }

    fn behind_marker<'i>(&mut self, byte: u8, rest: &'i [u8], input: &mut &'i [u8]) -> Result<Found, Diagnosis> {
        let is_csv = self.quoting.is_some();
        let fits = match (self.eol, byte) {
            (Some(Eol::Both), b'\r') => {
                *input = rest;
                self.pending = Pending::MarkerReturn;
                return Ok(Found::Nothing);
            }
            (Some(Eol::Both), b'\n') if !is_csv => false,
            (Some(Eol::Both), _) | (_, 0..=9 | 11..=12 | 14..=u8::MAX) => {
                return if is_csv { self.not_the_end() } else { Err(self.corrupt()) };
            }
            (eol, byte) => match eol {
                Some(Eol::Newline) => byte == b'\n',
                Some(Eol::Return) => byte == b'\r',
                Some(Eol::Both) | None => true,
            },
        };
        self.end_found(fits, rest, input)
    }

    fn behind_marker_return<'i>(&mut self, byte: u8, rest: &'i [u8], input: &mut &'i [u8]) -> Result<Found, Diagnosis> {
        if !matches!(byte, b'\n' | b'\r') {
            if self.quoting.is_none() {
                return Err(self.corrupt());
            }
            self.not_the_end()?;
            return self.special(b'\r');
        }
        self.end_found(byte == b'\n', rest, input)
    }

    fn end_found<'i>(&mut self, fits: bool, rest: &'i [u8], input: &mut &'i [u8]) -> Result<Found, Diagnosis> {
        if !fits {
            return Err(self.told("end-of-copy marker does not match previous newline style", None));
        }
        self.pending = Pending::Nothing;
        *input = rest;
        Ok(Found::End)
    }

    /// In CSV `\.` is a value unless it stands alone on its line.
    fn not_the_end(&mut self) -> Result<Found, Diagnosis> {
        self.pending = Pending::Nothing;
        self.line.push(b'\\');
        self.special(b'.')
    }

    /// A whole line: a row, unless it is the header.
    fn row(&mut self, rows: &mut RawRows) -> Result<(), Diagnosis> {
        let (line, number) = (std::mem::take(&mut self.line), self.number);
        let header = std::mem::replace(&mut self.header, Header::Absent);
        check_text(&line).map_err(|error| error.with_context(in_line(&self.relation, number)))?;
        match header {
            Header::Absent => self.fields.row(&line, number, rows)?,
            Header::Skipped => {}
            Header::Matched => self.fields.check_header(&line, number)?,
        }
        self.number += 1;
        if let Some(quoting) = &mut self.quoting {
            (quoting.is_inside, quoting.was_escape) = (false, false);
        }
        self.line = line;
        self.line.clear();
        self.line.shrink_to(super::BYTES_MAX);
        Ok(())
    }

    fn told(&self, message: &str, hint: Option<&str>) -> Diagnosis {
        let error = malformed(message).with_context(in_line(&self.relation, self.number));
        match hint {
            Some(hint) => error.with_hint(hint),
            None => error,
        }
    }

    fn corrupt(&self) -> Diagnosis {
        self.told("end-of-copy marker corrupt", None)
    }

    fn stray_return(&self) -> Diagnosis {
        if self.quoting.is_some() {
            return self.told("unquoted carriage return found in data", Some("Use quoted CSV field to represent carriage return."));
        }
        self.told("literal carriage return found in data", Some("Use \"\\r\" to represent carriage return."))
    }

    fn stray_newline(&self) -> Diagnosis {
        if self.quoting.is_some() {
            return self.told("unquoted newline found in data", Some("Use quoted CSV field to represent newline."));
        }
        self.told("literal newline found in data", Some("Use \"\\n\" to represent newline."))
    }
}
