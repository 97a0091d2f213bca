//! Result rows on their way out: described, encoded into the write buffer a piece at a time, held back by a slow reader.

use arrow::array::RecordBatch;
use bytes::BytesMut;
use pgwire::messages::data::{FieldDescription, RowDescription};
use tokio_util::sync::CancellationToken;

use super::connection::{Connection, Failure};
use super::copy::CopyEncoder;
use super::encode::RowEncoder;
use super::error::{canceled, without_nul};
use super::extended::format_at;
use super::writer::FLUSH_THRESHOLD;
use crate::error::{Diagnosis, sqlstate};
use crate::format::Format;
use crate::session::output::{Guard, OutputColumn, Rows};
use crate::session::statement::copy::CopyFormat;

/// Rows of the first piece; later pieces follow the width of the rows seen.
const FIRST_PIECE: usize = 64;
/// Rows of one piece at most.
const PIECE_MAX: usize = 4096;

/// Why sending stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    /// The rows are over.
    All,
    /// The bound of `Execute` was reached. As in PostgreSQL this does not tell whether more rows follow.
    Bound,
}

/// In what rows go out.
#[derive(Debug, Clone, Copy)]
pub(super) enum Outgoing<'a> {
    /// `DataRow` messages; no formats mean text, one is for all columns.
    Rows(&'a [Format]),
    /// `CopyData` messages.
    Copy(&'a CopyFormat),
}

/// The encoder of one result.
enum Encoder {
    Rows(RowEncoder),
    Copy(CopyEncoder),
}

impl Encoder {
    fn new(rows: &Rows, batch: &RecordBatch, outgoing: Outgoing<'_>) -> Result<Self, Diagnosis> {
        let (columns, schema, display) = (rows.columns(), batch.schema(), rows.display());
        match outgoing {
            Outgoing::Rows(formats) => {
                let formats: Vec<Format> = (0..columns.len()).map(|index| format_at(formats, index)).collect();
                RowEncoder::new(columns, &schema, &formats, display).map(Self::Rows)
            }
            Outgoing::Copy(format) => CopyEncoder::new(columns, &schema, format, display).map(Self::Copy),
        }
    }

    fn encode(&mut self, batch: &RecordBatch, out: &mut BytesMut) -> Result<(), Diagnosis> {
        match self {
            Self::Rows(encoder) => encoder.encode(batch, out),
            Self::Copy(encoder) => encoder.encode(batch, out),
        }
    }
}

/// The `RowDescription` of a result.
pub(super) fn row_description(columns: &[OutputColumn], formats: &[Format]) -> Result<RowDescription, Diagnosis> {
    if i16::try_from(columns.len()).is_err() {
        return Err(Diagnosis::new(sqlstate::PROGRAM_LIMIT_EXCEEDED, format!("a result can have at most {} columns", i16::MAX)));
    }
    let fields = columns.iter().enumerate().map(|(index, column)| {
        let format_code = match format_at(formats, index) {
            Format::Text => 0,
            Format::Binary => 1,
        };
        FieldDescription::new(
            without_nul(&column.name),
            column.table_oid.cast_signed(),
            column.column_number,
            column.pg_type.oid,
            column.pg_type.typlen(),
            column.pg_type.typmod,
            format_code,
        )
    });
    Ok(RowDescription::new(fields.collect()))
}

impl Connection {
    /// Sends at most `max` rows (0 means all). Ends early when the statement is cancelled.
    pub(super) async fn send_rows(&mut self, rows: &mut Rows, outgoing: Outgoing<'_>, max: usize) -> Result<Sent, Failure> {
        let mut encoder = None;
        let mut piece = FIRST_PIECE;
        let mut left = max;
        loop {
            // What never ends by itself is not waited for when the server stops.
            let shutdown = rows.is_live().then(|| self.shutdown.clone());
            if rows.is_live() && self.writer.waiting() > 0 {
                // Nobody knows when there is more, and the client has not even seen what the rows look like. Cancel-safe, as below.
                let flushed = tokio::select! {
                    biased;
                    () = stopped(shutdown.as_ref()) => None,
                    flushed = self.flush_or_stop(rows.guard()) => Some(flushed),
                };
                match flushed {
                    Some(flushed) => flushed?,
                    None => return Err(self.gone().into()),
                }
            }
            let statement = self.statement.clone();
            // All are cancel-safe: the rows are dropped when the statement is cancelled. A portal that goes on runs under
            // the token of this `Execute`, not only of the one that began it.
            let next = tokio::select! {
                biased;
                () = statement.cancelled() => return Err(canceled().into()),
                () = stopped(shutdown.as_ref()) => return Err(self.gone().into()),
                next = rows.next(left) => next,
            };
            let Some(batch) = next.transpose()? else { return Ok(Sent::All) };
            let encoder = match &mut encoder {
                Some(encoder) => encoder,
                none => none.insert(Encoder::new(rows, &batch, outgoing)?),
            };
            self.send_batch(&batch, encoder, (&mut piece, rows.guard())).await?;
            if max > 0 {
                left = left.saturating_sub(batch.num_rows());
                if left == 0 {
                    return Ok(Sent::Bound);
                }
            }
        }
    }

    /// Encodes a batch in pieces of about [`FLUSH_THRESHOLD`] bytes, so that wide rows do not pile up in the buffer.
    async fn send_batch(
        &mut self,
        batch: &RecordBatch,
        encoder: &mut Encoder,
        (piece, guard): (&mut usize, &Guard),
    ) -> Result<(), Failure> {
        let mut start = 0;
        while start < batch.num_rows() {
            let count = (*piece).min(batch.num_rows() - start);
            let before = self.writer.waiting();
            let encoded = encoder.encode(&batch.slice(start, count), self.writer.open());
            // A value that cannot be sent leaves the whole rows before it, and nothing of its own.
            self.writer.seal();
            encoded?;
            self.counts.rows.add(count as u64);
            let width = ((self.writer.waiting() - before) / count).max(1);
            *piece = (FLUSH_THRESHOLD / width).clamp(1, PIECE_MAX);
            start += count;
            if self.writer.waiting() >= FLUSH_THRESHOLD {
                self.flush_or_stop(guard).await?;
            }
        }
        Ok(())
    }

    /// Waits for a slow reader, but not longer than its statement may run: it holds connections of stores.
    pub(super) async fn flush_or_stop(&mut self, guard: &Guard) -> Result<(), Failure> {
        let statement = self.statement.clone();
        // Cancel-safe: `Writer::flush` goes on where it stopped.
        tokio::select! {
            biased;
            () = statement.cancelled() => Err(canceled().into()),
            flushed = guard.run(self.writer.flush()) => Ok(flushed??),
        }
    }
}

/// Returns when the server stops, where that is of concern.
async fn stopped(shutdown: Option<&CancellationToken>) {
    match shutdown {
        Some(shutdown) => shutdown.cancelled().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pgtype::PgType;

    #[test]
    fn columns_are_described_as_postgres_does() {
        let columns = [
            OutputColumn { name: "id".to_owned(), pg_type: PgType::INT4, table_oid: u32::MAX, column_number: 3 },
            OutputColumn { name: "n\0m".to_owned(), pg_type: PgType::numeric(10, 2), table_oid: 0, column_number: 0 },
        ];
        let described = row_description(&columns, &[Format::Binary]).unwrap().fields;
        let [id, name] = described.as_slice() else { panic!("{described:?}") };
        assert_eq!((id.table_id, id.column_id, id.type_id, id.type_size, id.format_code), (-1, 3, 23, 4, 1));
        assert_eq!((name.name.as_str(), name.type_size, name.type_modifier), ("nm", -1, (10 << 16 | 2) + 4));
        let many = vec![columns[0].clone(); 40_000];
        assert_eq!(row_description(&many, &[]).unwrap_err().sqlstate, "54000");
    }
}
