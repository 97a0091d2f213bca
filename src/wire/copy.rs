//! `COPY … TO STDOUT`: rows as `CopyData` messages in one of the three formats of COPY (manual, "COPY", "File Formats").
//!
//! The fields come from the encoder of result rows; this file only puts them into lines.

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use bytes::{Buf, BufMut, BytesMut};
use pgwire::messages::copy::{CopyData, CopyDone, CopyOutResponse};

use super::connection::{Connection, Failure};
use super::encode::RowEncoder;
use super::rows::{Outgoing, Sent};
use crate::error::{Diagnosis, sqlstate};
use crate::format::{DisplaySettings, Format};
use crate::session::output::{OutputColumn, Rows};
use crate::session::statement::copy::{CopyFormat, CopyText, ForceQuote};

/// Signature, flags and the length of a header extension that is empty.
const BINARY_HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// What ends a binary file.
const BINARY_TRAILER: &[u8] = &[0xff, 0xff];

/// Turns batches into the `CopyData` messages of one COPY.
pub(super) struct CopyEncoder {
    rows: RowEncoder,
    lines: Lines,
    /// `DataRow` messages on their way to become lines.
    scratch: BytesMut,
    /// What stands before the first row in its message: PostgreSQL sends the header of a binary file so, and clients that read it message by
    /// message rely on that.
    ahead: &'static [u8],
}

/// How fields become a line.
struct Lines {
    format: CopyFormat,
    /// Which columns are quoted always.
    forced: Vec<bool>,
}

impl Lines {
    fn new(columns: &[OutputColumn], format: &CopyFormat) -> Self {
        let is_forced = |column: &OutputColumn| match format {
            CopyFormat::Csv { force: ForceQuote::All, .. } => true,
            CopyFormat::Csv { force: ForceQuote::Columns(names), .. } => names.contains(&column.name),
            CopyFormat::Text(_) | CopyFormat::Binary => false,
        };
        Self { format: format.clone(), forced: columns.iter().map(is_forced).collect() }
    }

    /// The line of the names, when one is asked for.
    fn header(&self, columns: &[OutputColumn]) -> Option<BytesMut> {
        let text = match &self.format {
            CopyFormat::Text(text) | CopyFormat::Csv { text, .. } => text,
            CopyFormat::Binary => return None,
        };
        if !text.header {
            return None;
        }
        let mut line = BytesMut::new();
        for (place, column) in columns.iter().enumerate() {
            if place > 0 {
                line.put_u8(text.delimiter);
            }
            self.field(column.name.as_bytes(), (false, columns.len() == 1), &mut line);
        }
        line.put_u8(b'\n');
        Some(line)
    }

    /// Appends one row, of which `body` is the body of its `DataRow`.
    fn row(&self, mut body: &[u8], out: &mut BytesMut) -> Result<(), Diagnosis> {
        let (CopyFormat::Text(text) | CopyFormat::Csv { text, .. }) = &self.format else {
            out.put_slice(body);
            return Ok(());
        };
        let count = body.try_get_i16().map_err(|_short| broken())?;
        for place in 0..usize::try_from(count).unwrap_or(0) {
            if place > 0 {
                out.put_u8(text.delimiter);
            }
            let length = body.try_get_i32().map_err(|_short| broken())?;
            let Ok(length) = usize::try_from(length) else {
                out.put_slice(text.null.as_bytes());
                continue;
            };
            let (field, rest) = body.split_at_checked(length).ok_or_else(broken)?;
            let is_forced = self.forced.get(place).copied().unwrap_or(false);
            self.field(field, (is_forced, count == 1), out);
            body = rest;
        }
        out.put_u8(b'\n');
        Ok(())
    }

    fn field(&self, field: &[u8], (is_forced, is_alone): (bool, bool), out: &mut BytesMut) {
        match &self.format {
            CopyFormat::Csv { text, quote, escape, .. } => {
                if is_forced || needs_quotes(field, text, *quote, is_alone) {
                    out.put_u8(*quote);
                    for byte in field {
                        if byte == quote || byte == escape {
                            out.put_u8(*escape);
                        }
                        out.put_u8(*byte);
                    }
                    out.put_u8(*quote);
                } else {
                    out.put_slice(field);
                }
            }
            CopyFormat::Text(text) => with_backslashes(field, text.delimiter, out),
            CopyFormat::Binary => out.put_slice(field),
        }
    }
}

fn needs_quotes(field: &[u8], text: &CopyText, quote: u8, is_alone: bool) -> bool {
    let is_special = |byte: &u8| *byte == text.delimiter || *byte == quote || matches!(byte, b'\n' | b'\r');
    // `\.` alone on a line would end the data.
    field == text.null.as_bytes() || is_alone && field == b"\\." || field.iter().any(is_special)
}

fn with_backslashes(field: &[u8], delimiter: u8, out: &mut BytesMut) {
    for byte in field {
        let letter = match byte {
            b'\\' => b'\\',
            0x08 => b'b',
            0x0c => b'f',
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            0x0b => b'v',
            byte if *byte == delimiter => *byte,
            byte => {
                out.put_u8(*byte);
                continue;
            }
        };
        out.put_slice(&[b'\\', letter]);
    }
}

fn broken() -> Diagnosis {
    Diagnosis::new(sqlstate::INTERNAL_ERROR, "a row to be copied is not whole")
}

impl CopyEncoder {
    /// An encoder for results whose batches have `schema`.
    pub(super) fn new(
        columns: &[OutputColumn],
        schema: &Schema,
        format: &CopyFormat,
        display: &DisplaySettings,
    ) -> Result<Self, Diagnosis> {
        let values = if *format == CopyFormat::Binary { Format::Binary } else { Format::Text };
        let rows = RowEncoder::new(columns, schema, &[values], display)?;
        let ahead = if *format == CopyFormat::Binary { BINARY_HEADER } else { &[] };
        Ok(Self { rows, lines: Lines::new(columns, format), scratch: BytesMut::new(), ahead })
    }

    /// Appends one `CopyData` for each row of `batch`; on an error those before it stay.
    pub(super) fn encode(&mut self, batch: &RecordBatch, out: &mut BytesMut) -> Result<(), Diagnosis> {
        self.scratch.clear();
        let encoded = self.rows.encode(batch, &mut self.scratch);
        let mut messages: &[u8] = &self.scratch;
        while let Some((header, rest)) = messages.split_at_checked(5) {
            let mut length = header.get(1..).unwrap_or_default();
            let length = length.try_get_u32().map_err(|_short| broken())?;
            let length = usize::try_from(length).unwrap_or(0).checked_sub(4).ok_or_else(broken)?;
            let (body, rest) = rest.split_at_checked(length).ok_or_else(broken)?;
            let start = out.len();
            out.put_slice(b"d\0\0\0\0");
            out.put_slice(std::mem::take(&mut self.ahead));
            self.lines.row(body, out)?;
            let whole = u32::try_from(out.len() - start - 1).map_err(|_large| broken())?;
            if let Some(slot) = out.get_mut(start + 1..start + 5) {
                slot.copy_from_slice(&whole.to_be_bytes());
            }
            messages = rest;
        }
        encoded
    }
}

impl Connection {
    /// Sends a whole COPY: its start, its data with back-pressure, its end, and the tag.
    pub(super) async fn copy_out(&mut self, mut rows: Rows, format: &CopyFormat) -> Result<(), Failure> {
        let columns = i16::try_from(rows.columns().len()).map_err(|_many| {
            Diagnosis::new(sqlstate::PROGRAM_LIMIT_EXCEEDED, format!("a result can have at most {} columns", i16::MAX))
        })?;
        let code = i16::from(*format == CopyFormat::Binary);
        let formats = vec![code; rows.columns().len()];
        self.writer.put(&CopyOutResponse::new(i8::from(*format == CopyFormat::Binary), columns, formats))?;
        if let Some(header) = Lines::new(rows.columns(), format).header(rows.columns()) {
            self.writer.put(&CopyData::new(header.freeze()))?;
        }
        // Without a bound on rows there is no suspension.
        let (Sent::All | Sent::Bound) = self.send_rows(&mut rows, Outgoing::Copy(format), 0).await?;
        if *format == CopyFormat::Binary {
            let header = if rows.is_empty_so_far() { BINARY_HEADER } else { &[] };
            self.writer.put(&CopyData::new([header, BINARY_TRAILER].concat().into()))?;
        }
        self.writer.put(&CopyDone::new())?;
        let tag = rows.tag();
        drop(rows);
        self.complete(tag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pgtype::PgType;

    fn column(name: &str) -> OutputColumn {
        OutputColumn { name: name.to_owned(), pg_type: PgType::TEXT, table_oid: 0, column_number: 0 }
    }

    fn body(fields: &[Option<&str>]) -> BytesMut {
        let mut body = BytesMut::new();
        body.put_i16(i16::try_from(fields.len()).unwrap());
        for field in fields {
            match field {
                Some(field) => {
                    body.put_i32(i32::try_from(field.len()).unwrap());
                    body.put_slice(field.as_bytes());
                }
                None => body.put_i32(-1),
            }
        }
        body
    }

    fn check(format: &CopyFormat, fields: &[Option<&str>], expected: &str) {
        let columns: Vec<OutputColumn> = (0..fields.len()).map(|place| column(&format!("c{place}"))).collect();
        let mut out = BytesMut::new();
        Lines::new(&columns, format).row(&body(fields), &mut out).unwrap();
        assert_eq!(std::str::from_utf8(&out).unwrap(), expected, "{fields:?}");
    }

    #[test]
    fn lines_of_text_have_backslashes() {
        let text = |delimiter| CopyFormat::Text(CopyText { delimiter, null: "\\N".to_owned(), header: false });
        check(&text(b'\t'), &[Some("a"), None, Some("")], "a\t\\N\t\n");
        check(&text(b'\t'), &[Some("a\tb\nc\\d\re\x08\x0b\x0c|")], "a\\tb\\nc\\\\d\\re\\b\\v\\f|\n");
        check(&text(b'|'), &[Some("a|b"), Some("ü")], "a\\|b|ü\n");
    }

    #[test]
    fn values_of_csv_are_quoted_where_they_must_be() {
        let csv = |null: &str, escape, force| CopyFormat::Csv {
            text: CopyText { delimiter: b',', null: null.to_owned(), header: true },
            quote: b'"',
            escape,
            force,
        };
        let plain = csv("", b'"', ForceQuote::Columns(Vec::new()));
        check(&plain, &[Some("a"), None, Some("")], "a,,\"\"\n");
        check(&plain, &[Some("a,b"), Some("c\"d"), Some("e\nf"), Some(" g\\")], "\"a,b\",\"c\"\"d\",\"e\nf\", g\\\n");
        check(&plain, &[Some("\\.")], "\"\\.\"\n");
        check(&plain, &[Some("\\."), Some("x")], "\\.,x\n");
        check(&csv("nil", b'\\', ForceQuote::All), &[Some("a\"\\"), None, Some("nil")], "\"a\\\"\\\\\",nil,\"nil\"\n");
        check(&csv("", b'"', ForceQuote::Columns(vec!["c1".to_owned()])), &[Some("a"), Some("b"), None], "a,\"b\",\n");
        let header = Lines::new(&[], &plain).header(&[column("a"), column("b,c")]).unwrap();
        assert_eq!(&header[..], b"a,\"b,c\"\n");
    }

    #[test]
    fn binary_rows_are_their_own_bodies() {
        let mut out = BytesMut::new();
        Lines::new(&[], &CopyFormat::Binary).row(&body(&[Some("a"), None]), &mut out).unwrap();
        assert_eq!(out, body(&[Some("a"), None]));
    }
}
