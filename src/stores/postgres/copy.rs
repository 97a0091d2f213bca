//! The framing of `COPY … (FORMAT BINARY)`: header, rows, trailer (PostgreSQL manual, COPY, "Binary Format").
//!
//! PostgreSQL sends one row per message, the first together with the header, but the format does not promise it: rows may be
//! split over and joined in messages at any byte.

use bytes::{Bytes, BytesMut};

/// What every binary COPY starts with.
const SIGNATURE: &[u8; 11] = b"PGCOPY\n\xff\r\n\0";

/// Finds rows in the bytes of a COPY, each value where it lies.
#[derive(Default)]
pub(super) struct Frames {
    header_read: bool,
    chunk: Bytes,
    /// Where the next value, row or header begins.
    at: usize,
    /// How many values of the row under way have been given; `None` between rows.
    given: Option<usize>,
    /// Bytes of the row under way that have been given.
    row_bytes: usize,
}

/// What [`Frames::row`] came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The end of a row of this many bytes.
    Row(usize),
    /// The end of what is there: [`Frames::push`] more.
    More,
    /// The trailer.
    End,
}

/// The bytes are not a binary COPY of the expected columns.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the answer to a COPY is malformed: {0}")]
pub(super) struct Malformed(pub &'static str);

impl Frames {
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

    /// Gives the values of the next row, each to its own column; `None` is NULL. A row that is not complete is given as far as
    /// it is there, and the next call goes on behind that, so that nothing is walked over twice.
    ///
    /// # Errors
    /// When the bytes are not a binary COPY of as many columns, or what `give` says. Nothing more is to be read then.
    #[inline]
    pub(super) fn row<C, E: From<Malformed>>(
        &mut self,
        columns: &mut [C],
        mut give: impl FnMut(&mut C, Option<&[u8]>) -> Result<(), E>,
    ) -> Result<Step, E> {
        if self.given.is_none()
            && let Some(step) = self.begin(columns.len())?
        {
            return Ok(step);
        }
        let start = self.chunk.get(self.at..).unwrap_or_default();
        let mut rest = start;
        let mut given = self.given.unwrap_or(0);
        for column in columns.iter_mut().skip(given) {
            let Some((value, after)) = split_value(rest)? else { break };
            give(column, value)?;
            rest = after;
            given += 1;
        }
        let used = start.len() - rest.len();
        self.at += used;
        self.row_bytes += used;
        if given < columns.len() {
            self.given = Some(given);
            return Ok(Step::More);
        }
        self.given = None;
        Ok(Step::Row(self.row_bytes))
    }

    /// Reads what stands before the values of a row. `None` when they are next.
    #[inline]
    fn begin(&mut self, columns: usize) -> Result<Option<Step>, Malformed> {
        if !self.header_read {
            match header_len(self.chunk.get(self.at..).unwrap_or_default())? {
                Some(len) => self.at += len,
                None => return Ok(Some(Step::More)),
            }
            self.header_read = true;
        }
        let rest = self.chunk.get(self.at..).unwrap_or_default();
        let Some((count, _)) = rest.split_first_chunk::<2>() else { return Ok(Some(Step::More)) };
        match i16::from_be_bytes(*count) {
            -1 => return Ok(Some(Step::End)),
            count if usize::try_from(count) == Ok(columns) => {}
            _ => return Err(Malformed("a row has an unexpected number of columns")),
        }
        self.at += 2;
        self.row_bytes = 0;
        self.given = Some(0);
        Ok(None)
    }
}

#[cold]
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

const NEGATIVE: Malformed = Malformed("a value has a negative length");

/// A value, which is `None` for NULL, and the bytes after it; nothing when it is not complete.
type Split<'a> = Option<(Option<&'a [u8]>, &'a [u8])>;

/// Splits the first value off a row.
///
/// # Errors
/// A negative length other than that of NULL.
#[inline(always)]
fn split_value(row: &[u8]) -> Result<Split<'_>, Malformed> {
    let Some((len, rest)) = row.split_first_chunk::<4>() else { return Ok(None) };
    let len = i32::from_be_bytes(*len);
    match usize::try_from(len) {
        Ok(len) => Ok(rest.split_at_checked(len).map(|(value, after)| (Some(value), after))),
        Err(_) if len == -1 => Ok(Some((None, rest))),
        Err(_) => Err(NEGATIVE),
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

    type Given = Vec<Vec<Option<Vec<u8>>>>;

    /// Gives what is there to columns that keep their values.
    fn give(frames: &mut Frames, columns: &mut Given) -> Result<Step, Malformed> {
        frames.row(columns, |column, value| {
            column.push(value.map(<[u8]>::to_vec));
            Ok(())
        })
    }

    /// What the columns hold once the chunks have been read, the bytes of each row, and whether the trailer came.
    fn read<'a>(columns: usize, chunks: impl Iterator<Item = &'a [u8]>) -> Result<(Given, Vec<usize>, bool), Malformed> {
        let (mut frames, mut given, mut rows) = (Frames::default(), vec![Vec::new(); columns], Vec::new());
        for chunk in chunks {
            frames.push(Bytes::copy_from_slice(chunk));
            loop {
                match give(&mut frames, &mut given)? {
                    Step::Row(bytes) => rows.push(bytes),
                    Step::More => break,
                    Step::End => return Ok((given, rows, true)),
                }
            }
        }
        Ok((given, rows, false))
    }

    #[test]
    fn rows_are_found_wherever_messages_are_cut() {
        let rows = [row(&[Some(b"abc"), None]), row(&[Some(b""), Some(&[7; 300])]), row(&[None, None])];
        let stream = [header(), rows.concat(), vec![0xff, 0xff]].concat();
        let first = vec![Some(b"abc".to_vec()), Some(Vec::new()), None];
        let second = vec![None, Some(vec![7; 300]), None];
        let expected = (vec![first, second], vec![11, 308, 8], true);
        for size in [1, 2, 3, 7, 19, 64, stream.len()] {
            assert_eq!(read(2, stream.chunks(size)), Ok(expected.clone()), "messages of {size} bytes");
        }
        for place in 0..stream.len() {
            let (before, after) = stream.split_at(place);
            assert_eq!(read(2, [before, after].into_iter()), Ok(expected.clone()), "cut at {place}");
            let (given, rows, ended) = read(2, [before].into_iter()).unwrap();
            assert!(!ended && rows.len() <= given[1].len() && given[1].len() <= given[0].len(), "cut off at {place}");
        }
    }

    #[test]
    fn rows_without_columns_count() {
        let stream = [header(), row(&[]), row(&[]), vec![0xff, 0xff]].concat();
        assert_eq!(read(0, [stream.as_slice()].into_iter()), Ok((Vec::new(), vec![0, 0], true)));
    }

    #[test]
    fn garbage_ends_in_an_error_or_in_wanting_more() {
        let whole = [header(), row(&[Some(b"abc"), None]), row(&[Some(&[1; 9]), Some(b"")]), vec![0xff, 0xff]].concat();
        for place in 0..whole.len() {
            for byte in 0..=u8::MAX {
                let mut changed = whole.clone();
                changed[place] = byte;
                // Neither where it is cut nor what it holds may make it give values that are not there.
                let at_once = read(2, [changed.as_slice()].into_iter());
                assert_eq!(at_once, read(2, changed.chunks(5)), "{byte} at {place}");
                if let Ok((given, _, _)) = at_once {
                    let bytes: usize = given.iter().flatten().flatten().map(Vec::len).sum();
                    assert!(bytes <= whole.len(), "{byte} at {place}");
                }
            }
        }
    }

    #[test]
    fn a_header_extension_is_skipped_and_critical_flags_stop() {
        let extended = [SIGNATURE.as_slice(), &[0, 0, 0, 1], &[0, 0, 0, 2], &[9, 9], &[0xff, 0xff]].concat();
        assert_eq!(read(1, [extended.as_slice()].into_iter()), Ok((vec![Vec::new()], Vec::new(), true)));
        let rows = [
            ([SIGNATURE.as_slice(), &[0, 1, 0, 0], &[0; 4]].concat(), "it has unknown critical flags"),
            (vec![b'x'; 19], "the signature is missing"),
            ([header(), row(&[None, None])].concat(), "a row has an unexpected number of columns"),
            ([header(), vec![0, 1, 0xff, 0xff, 0xff, 0xfe]].concat(), "a value has a negative length"),
        ];
        for (bytes, rule) in rows {
            assert_eq!(read(1, [bytes.as_slice()].into_iter()), Err(Malformed(rule)));
        }
    }
}
