//! The framing of `COPY … (FORMAT BINARY)`: header, rows, trailer (PostgreSQL manual, COPY, "Binary Format").
//!
//! PostgreSQL sends one row per message, the first together with the header, but the format does not promise it: rows may be
//! split over and joined in messages at any byte.

use bytes::{Bytes, BytesMut};

/// What every binary COPY starts with.
const SIGNATURE: &[u8; 11] = b"PGCOPY\n\xff\r\n\0";

/// Finds rows in the bytes of a COPY.
pub(super) struct Frames {
    columns: usize,
    header_read: bool,
    chunk: Bytes,
    at: usize,
}

/// What comes next in the stream.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step<'a> {
    /// One row: for each column a length word (-1 for NULL) and the value.
    Row(&'a [u8]),
    /// The row is not complete: [`Frames::push`] more.
    More,
    /// The trailer.
    End,
}

/// The bytes are not a binary COPY of the expected columns.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the answer to a COPY is malformed: {0}")]
pub(super) struct Malformed(pub &'static str);

impl Frames {
    /// A parser of rows of `columns` columns.
    pub(super) fn new(columns: usize) -> Self {
        Self { columns, header_read: false, chunk: Bytes::new(), at: 0 }
    }

    /// Adds the next message. To be called after [`Step::More`]; what is left of the last message is kept.
    pub(super) fn push(&mut self, chunk: Bytes) {
        let rest = self.chunk.get(self.at..).unwrap_or_default();
        if rest.is_empty() {
            self.chunk = chunk;
        } else {
            let mut joined = BytesMut::with_capacity(rest.len() + chunk.len());
            joined.extend_from_slice(rest);
            joined.extend_from_slice(&chunk);
            self.chunk = joined.freeze();
        }
        self.at = 0;
    }

    /// The next row.
    ///
    /// # Errors
    /// When the bytes are not a binary COPY of the expected columns.
    pub(super) fn step(&mut self) -> Result<Step<'_>, Malformed> {
        if !self.header_read {
            match header_len(self.chunk.get(self.at..).unwrap_or_default())? {
                Some(len) => self.at += len,
                None => return Ok(Step::More),
            }
            self.header_read = true;
        }
        let rest = self.chunk.get(self.at..).unwrap_or_default();
        let Some((count, values)) = rest.split_first_chunk::<2>() else { return Ok(Step::More) };
        match i16::from_be_bytes(*count) {
            -1 => return Ok(Step::End),
            count if usize::try_from(count) == Ok(self.columns) => {}
            _ => return Err(Malformed("a row has an unexpected number of columns")),
        }
        let Some(len) = row_len(values, self.columns)? else { return Ok(Step::More) };
        self.at += 2 + len;
        Ok(Step::Row(values.get(..len).unwrap_or_default()))
    }
}

fn header_len(bytes: &[u8]) -> Result<Option<usize>, Malformed> {
    let Some((signature, rest)) = bytes.split_first_chunk::<11>() else { return Ok(None) };
    if signature != SIGNATURE {
        return Err(Malformed("the signature is missing"));
    }
    let Some((flags, rest)) = rest.split_first_chunk::<4>() else { return Ok(None) };
    // Bits 16 to 31 are critical: a reader that does not know them must stop.
    if u32::from_be_bytes(*flags) >> 16 != 0 {
        return Err(Malformed("it has unknown critical flags"));
    }
    let Some((extension, rest)) = rest.split_first_chunk::<4>() else { return Ok(None) };
    let extension = usize::try_from(u32::from_be_bytes(*extension)).unwrap_or(usize::MAX);
    Ok((rest.len() >= extension).then_some(19 + extension))
}

/// Bytes of a row, by its length words alone; `None` when it is not complete.
fn row_len(values: &[u8], columns: usize) -> Result<Option<usize>, Malformed> {
    let mut end = 0_usize;
    for _ in 0..columns {
        let Some(word) = values.get(end..).and_then(<[u8]>::first_chunk::<4>) else { return Ok(None) };
        let len = match i32::from_be_bytes(*word) {
            -1 => 0,
            len => usize::try_from(len).map_err(|_cause| NEGATIVE)?,
        };
        end = end.saturating_add(4).saturating_add(len);
    }
    Ok((end <= values.len()).then_some(end))
}

const NEGATIVE: Malformed = Malformed("a value has a negative length");

/// A value, which is `None` for NULL, and the bytes after it; nothing when it is not complete.
type Split<'a> = Option<(Option<&'a [u8]>, &'a [u8])>;

/// Splits the first value off a row.
///
/// # Errors
/// A negative length other than that of NULL.
pub(super) fn split_value(row: &[u8]) -> Result<Split<'_>, Malformed> {
    let Some((len, rest)) = row.split_first_chunk::<4>() else { return Ok(None) };
    match i32::from_be_bytes(*len) {
        -1 => Ok(Some((None, rest))),
        len => {
            let len = usize::try_from(len).map_err(|_cause| NEGATIVE)?;
            Ok(rest.split_at_checked(len).map(|(value, after)| (Some(value), after)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Vec<u8> {
        [SIGNATURE.as_slice(), &[0; 8]].concat()
    }

    fn row(values: &[Option<&[u8]>]) -> Vec<u8> {
        let mut bytes = u16::try_from(values.len()).unwrap().to_be_bytes().to_vec();
        for value in values {
            match value {
                Some(value) => {
                    bytes.extend(u32::try_from(value.len()).unwrap().to_be_bytes());
                    bytes.extend(*value);
                }
                None => bytes.extend((-1i32).to_be_bytes()),
            }
        }
        bytes
    }

    fn rows_in(frames: &mut Frames) -> (Vec<Vec<u8>>, bool) {
        let mut rows = Vec::new();
        loop {
            match frames.step().unwrap() {
                Step::Row(row) => rows.push(row.to_vec()),
                Step::More => return (rows, false),
                Step::End => return (rows, true),
            }
        }
    }

    #[test]
    fn rows_are_found_wherever_messages_are_cut() {
        let rows = [row(&[Some(b"abc"), None]), row(&[Some(b""), Some(&[7; 300])]), row(&[None, None])];
        let stream = [header(), rows.concat(), vec![0xff, 0xff]].concat();
        let expected: Vec<Vec<u8>> = rows.iter().map(|row| row[2..].to_vec()).collect();
        for size in [1, 2, 3, 7, 19, 64, stream.len()] {
            let mut frames = Frames::new(2);
            let mut found = Vec::new();
            let mut ended = false;
            for chunk in stream.chunks(size) {
                frames.push(Bytes::copy_from_slice(chunk));
                let (rows, end) = rows_in(&mut frames);
                found.extend(rows);
                ended |= end;
            }
            assert_eq!((&found, ended), (&expected, true), "messages of {size} bytes");
        }
    }

    #[test]
    fn rows_without_columns_count() {
        let mut frames = Frames::new(0);
        frames.push(Bytes::from([header(), row(&[]), row(&[]), vec![0xff, 0xff]].concat()));
        assert_eq!(rows_in(&mut frames), (vec![Vec::new(), Vec::new()], true));
    }

    #[test]
    fn a_header_extension_is_skipped_and_critical_flags_stop() {
        let extended = [SIGNATURE.as_slice(), &[0, 0, 0, 1], &[0, 0, 0, 2], &[9, 9], &[0xff, 0xff]].concat();
        let mut frames = Frames::new(1);
        frames.push(Bytes::from(extended));
        assert_eq!(frames.step(), Ok(Step::End));
        let rows = [
            ([SIGNATURE.as_slice(), &[0, 1, 0, 0], &[0; 4]].concat(), "it has unknown critical flags"),
            (vec![b'x'; 19], "the signature is missing"),
            ([header(), row(&[None, None])].concat(), "a row has an unexpected number of columns"),
            ([header(), vec![0, 1, 0xff, 0xff, 0xff, 0xfe]].concat(), "a value has a negative length"),
        ];
        for (bytes, rule) in rows {
            let mut frames = Frames::new(1);
            frames.push(Bytes::from(bytes));
            assert_eq!(frames.step(), Err(Malformed(rule)));
        }
    }
}
