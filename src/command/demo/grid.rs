//! A query's result as psql shows it: aligned columns, a line below the head, the number of rows.

use std::io::{self, Write};

use arrow::array::RecordBatch;
use bytes::{Buf, BytesMut};

use crate::error::{Diagnosis, sqlstate};
use crate::federation::output::OutputColumn;
use crate::format::DisplaySettings;
use crate::wire::encode::RowEncoder;

/// A result as text; NULL is `None`.
#[derive(Debug)]
pub(super) struct Grid {
    columns: Vec<(String, bool)>,
    rows: Vec<Vec<Option<String>>>,
}

impl Grid {
    /// The rows of `batches` in the text that a client is sent.
    ///
    /// # Errors
    /// What encoding them failed with.
    pub(super) fn new(columns: &[OutputColumn], batches: &[RecordBatch]) -> Result<Self, Diagnosis> {
        let mut rows = Vec::new();
        for batch in batches {
            let mut sent = BytesMut::new();
            RowEncoder::new(columns, &batch.schema(), &[], &DisplaySettings::default())?.encode(batch, &mut sent)?;
            while sent.has_remaining() {
                let row = read_row(&mut sent);
                rows.push(row.ok_or_else(|| Diagnosis::new(sqlstate::INTERNAL_ERROR, "a row was not encoded as a message"))?);
            }
        }
        let columns = columns.iter().map(|column| (column.name.clone(), is_number(column.pg_type.oid)));
        Ok(Self { columns: columns.collect(), rows })
    }

    /// Writes the table as psql does with its default settings, without spaces at line ends.
    pub(super) fn write(&self, output: &mut dyn Write) -> io::Result<()> {
        let widths: Vec<usize> = (0..self.columns.len()).map(|place| self.width(place)).collect();
        let titles = self.columns.iter().zip(&widths).map(|((title, _), width)| format!(" {title:^width$} "));
        writeln!(output, "{}", titles.collect::<Vec<_>>().join("|").trim_end())?;
        let line: Vec<String> = widths.iter().map(|width| "-".repeat(width + 2)).collect();
        writeln!(output, "{}", line.join("+"))?;
        for row in &self.rows {
            let cells = row.iter().zip(&widths).zip(&self.columns).map(|((cell, width), (_, right))| {
                let cell = cell.as_deref().unwrap_or_default();
                if *right { format!(" {cell:>width$} ") } else { format!(" {cell:width$} ") }
            });
            writeln!(output, "{}", cells.collect::<Vec<_>>().join("|").trim_end())?;
        }
        writeln!(output, "({} row{})", self.rows.len(), if self.rows.len() == 1 { "" } else { "s" })
    }

    fn width(&self, place: usize) -> usize {
        let cells = self.rows.iter().filter_map(|row| row.get(place)?.as_ref());
        let title = self.columns.get(place).map(|(title, _)| title);
        cells.chain(title).map(|text| text.chars().count()).max().unwrap_or(0)
    }
}

/// One `DataRow`: `D`, length, number of fields, then each field's length (-1 is NULL) and bytes.
fn read_row(sent: &mut BytesMut) -> Option<Vec<Option<String>>> {
    sent.try_get_u8().ok().filter(|kind| *kind == b'D')?;
    sent.try_get_i32().ok()?;
    let fields = sent.try_get_i16().ok()?;
    let mut row = Vec::new();
    for _ in 0..fields {
        row.push(match usize::try_from(sent.try_get_i32().ok()?) {
            Ok(length) if length <= sent.remaining() => Some(String::from_utf8(sent.split_to(length).to_vec()).ok()?),
            Ok(_) => return None,
            Err(_negative) => None,
        });
    }
    Some(row)
}

/// Types that psql aligns to the right: integers, floats, numeric, oid and its kin, money.
fn is_number(oid: u32) -> bool {
    matches!(oid, 20 | 21 | 23 | 26 | 28 | 29 | 700 | 701 | 790 | 1700 | 5069)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_look_as_in_psql() {
        let text = |cell: &str| Some(cell.to_owned());
        let grid = Grid {
            columns: vec![("river".into(), false), ("n".into(), true), ("mouth".into(), false)],
            rows: vec![vec![text("Rhône"), text("-7"), text("Sea")], vec![text("Po"), text("10"), None]],
        };
        let mut shown = Vec::new();
        grid.write(&mut shown).unwrap();
        let expected = " river | n  | mouth\n-------+----+-------\n Rhône | -7 | Sea\n Po    | 10 |\n(2 rows)\n";
        assert_eq!(String::from_utf8(shown).unwrap(), expected);
    }

    #[test]
    fn rows_are_read_back_from_their_messages() {
        let mut sent = BytesMut::from(&b"D\0\0\0\x0f\0\x02\0\0\0\x01a\xff\xff\xff\xff"[..]);
        assert_eq!(read_row(&mut sent), Some(vec![Some("a".to_owned()), None]));
        assert!(sent.is_empty());
        for broken in [&b"X\0\0\0\x04"[..], b"D\0\0\0\x0b\0\x01\0\0\0\x09a", b"D\0\0"] {
            assert_eq!(read_row(&mut BytesMut::from(broken)), None);
        }
    }
}
