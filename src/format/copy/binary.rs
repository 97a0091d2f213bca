//! The binary format: a header, rows of counted fields, a trailer.

use super::{RawRows, in_line, malformed};
use crate::error::Diagnosis;

const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";
/// Signature, flags and the length of what follows them.
const HEADER: usize = 19;
/// The flag of files that have object ids, which are of the past.
const WITH_OIDS: u32 = 1 << 16;
/// How much of the input is looked at together.
const PIECE: usize = 64 << 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Header,
    /// So many bytes of an extended header are left.
    Extension(usize),
    Rows,
    Over,
}

/// Whether the front of the input is a whole row.
enum Row {
    Partial,
    Whole,
    /// It will not become one.
    Broken,
}

/// Reads a binary file.
#[derive(Debug)]
pub(super) struct Binary {
    relation: String,
    width: usize,
    buffer: Vec<u8>,
    /// How much of `buffer` has been read.
    at: usize,
    state: State,
    number: u64,
}

impl Binary {
    pub(super) fn new(relation: &str, width: usize) -> Self {
        Self { relation: relation.to_owned(), width, buffer: Vec::new(), at: 0, state: State::Header, number: 0 }
    }

    /// The row that is read.
    pub(super) fn place(&self) -> Option<String> {
        match self.state {
            State::Header | State::Extension(_) => None,
            State::Rows => Some(in_line(&self.relation, self.number + 1)),
            State::Over => Some(in_line(&self.relation, self.number)),
        }
    }

    pub(super) fn held(&self) -> usize {
        self.buffer.capacity()
    }

    pub(super) fn read(&mut self, input: &mut &[u8], rows: &mut RawRows) -> Result<(), Diagnosis> {
        while !rows.is_full() {
            if self.step(rows)? {
                continue;
            }
            let (piece, rest) = input.split_at(input.len().min(PIECE));
            if piece.is_empty() {
                return Ok(());
            }
            self.buffer.drain(..self.at);
            self.at = 0;
            self.buffer.extend_from_slice(piece);
            *input = rest;
        }
        Ok(())
    }

    pub(super) fn end(&mut self, rows: &mut RawRows) -> Result<(), Diagnosis> {
        while self.step(rows)? {}
        match self.state {
            State::Over => Ok(()),
            State::Header if self.rest().len() < SIGNATURE.len() => Err(unknown_signature()),
            State::Header if self.rest().len() < SIGNATURE.len() + 4 => Err(malformed("invalid COPY file header (missing flags)")),
            State::Header => Err(malformed("invalid COPY file header (missing length)")),
            State::Extension(_) => Err(malformed("invalid COPY file header (wrong length)")),
            // The trailer may be missing.
            State::Rows if self.rest().len() < 2 => Ok(()),
            State::Rows => self.row(rows),
        }
    }

    fn rest(&self) -> &[u8] {
        self.buffer.get(self.at..).unwrap_or_default()
    }

    /// Reads a part of the file; false when more bytes are needed for one.
    fn step(&mut self, rows: &mut RawRows) -> Result<bool, Diagnosis> {
        match self.state {
            State::Header => self.header(),
            State::Extension(left) => {
                let skipped = left.min(self.rest().len());
                self.at += skipped;
                self.state = if skipped == left { State::Rows } else { State::Extension(left - skipped) };
                Ok(skipped == left)
            }
            State::Rows => self.next_row(rows),
            State::Over if self.rest().is_empty() => Ok(false),
            State::Over => Err(self.told("received copy data after EOF marker")),
        }
    }

    fn header(&mut self) -> Result<bool, Diagnosis> {
        let rest = self.rest();
        let seen = rest.len().min(SIGNATURE.len());
        if rest.get(..seen) != SIGNATURE.get(..seen) {
            return Err(unknown_signature());
        }
        let mut words = rest.get(SIGNATURE.len()..).unwrap_or_default();
        let (Some(flags), Some(length)) = (word(&mut words), word(&mut words)) else { return Ok(false) };
        let flags = flags.cast_unsigned();
        if flags & WITH_OIDS != 0 {
            return Err(malformed("invalid COPY file header (WITH OIDS)"));
        }
        if flags >> 16 != 0 {
            return Err(malformed("unrecognized critical flags in COPY file header"));
        }
        let length = usize::try_from(length).map_err(|_negative| malformed("invalid COPY file header (missing length)"))?;
        self.at += HEADER;
        self.state = State::Extension(length);
        Ok(true)
    }

    fn next_row(&mut self, rows: &mut RawRows) -> Result<bool, Diagnosis> {
        let Some((count, fields)) = self.rest().split_first_chunk::<2>() else { return Ok(false) };
        let count = i16::from_be_bytes(*count);
        if count == -1 {
            self.number += 1;
            self.at += 2;
            self.state = State::Over;
            return Ok(true);
        }
        if usize::try_from(count) != Ok(self.width) {
            self.number += 1;
            return Err(self.told(&format!("row field count is {count}, expected {}", self.width)));
        }
        match whole(fields, self.width) {
            Row::Partial => Ok(false),
            Row::Whole | Row::Broken => self.row(rows).map(|()| true),
        }
    }

    /// Takes the row at the front.
    fn row(&mut self, rows: &mut RawRows) -> Result<(), Diagnosis> {
        self.number += 1;
        rows.begin(self.number);
        let mut rest = self.buffer.get(self.at + 2..).unwrap_or_default();
        for _ in 0..self.width {
            let Some(size) = word(&mut rest) else { return Err(self.told("unexpected EOF in COPY data")) };
            if size == -1 {
                rows.close(true);
                continue;
            }
            let Ok(size) = usize::try_from(size) else { return Err(self.told("invalid field size")) };
            let Some((value, after)) = rest.split_at_checked(size) else { return Err(self.told("unexpected EOF in COPY data")) };
            rows.extend(value);
            rows.close(false);
            rest = after;
        }
        self.at = self.buffer.len() - rest.len();
        Ok(())
    }

    fn told(&self, message: &str) -> Diagnosis {
        malformed(message).with_context(in_line(&self.relation, self.number))
    }
}

/// Looks at the sizes of fields only: a large row comes in many pieces.
fn whole(mut rest: &[u8], width: usize) -> Row {
    for _ in 0..width {
        let Some(size) = word(&mut rest) else { return Row::Partial };
        if size == -1 {
            continue;
        }
        let Ok(size) = usize::try_from(size) else { return Row::Broken };
        let Some((_, after)) = rest.split_at_checked(size) else { return Row::Partial };
        rest = after;
    }
    Row::Whole
}

fn word(rest: &mut &[u8]) -> Option<i32> {
    let (word, after) = rest.split_first_chunk::<4>()?;
    *rest = after;
    Some(i32::from_be_bytes(*word))
}

fn unknown_signature() -> Diagnosis {
    malformed("COPY file signature not recognized")
}
