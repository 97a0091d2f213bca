//! Rows that need no stream: those that a store has sent in the form in which they go out, of which only the frames are written here, and the one
//! row of a copy that a key has found.

use bytes::{BufMut, BytesMut};

use super::connection::{Connection, Failure};
use super::encode::{encode_one, too_large};
use super::extended::format_at;
use super::writer::FLUSH_THRESHOLD;
use crate::error::Diagnosis;
use crate::session::output::{Point, Relaying};

impl Connection {
    /// Sends all rows and completes the statement.
    pub(super) async fn relay(&mut self, relaying: &Relaying) -> Result<(), Failure> {
        let relayed = relaying.rows().await?;
        for row in relayed.rows() {
            put_row(row, self.writer.open())?;
            self.writer.seal();
            self.counts.rows.add(1);
            if self.writer.waiting() >= FLUSH_THRESHOLD {
                self.flush_or_stop(relaying.guard()).await?;
            }
        }
        self.complete(format!("SELECT {}", relayed.row_count()))
    }
}

impl Connection {
    /// Sends the row of a portal, where there is one, and completes the statement.
    pub(super) async fn point(&mut self, portal: &str, point: &Point) -> Result<(), Failure> {
        let sent = self.put_point(portal, point)?;
        // Who asks for row after row and reads none is waited for here: nothing else flushes before `Sync`.
        if self.writer.waiting() >= FLUSH_THRESHOLD {
            let guard = self.session.guard().clone();
            self.flush_or_stop(&guard).await?;
        }
        self.complete(format!("SELECT {sent}"))
    }

    /// Puts the row into the buffer; gives how many there are.
    fn put_point(&mut self, portal: &str, point: &Point) -> Result<u64, Failure> {
        let Some((columns, place)) = point.row() else { return Ok(0) };
        let (formats, display) = self.session.shown_as(portal)?;
        let targets = point.columns().iter().enumerate().map(|(index, column)| (column.pg_type, format_at(formats, index)));
        let encoded = encode_one(targets.zip(columns), (place, point.columns().len()), display, self.writer.open());
        if let Err(refused) = encoded {
            self.writer.discard_unsealed();
            return Err(refused.into());
        }
        self.writer.seal();
        self.counts.rows.add(1);
        Ok(1)
    }
}

/// Appends a `DataRow` with this body.
fn put_row(body: &[u8], out: &mut BytesMut) -> Result<(), Diagnosis> {
    let length = i32::try_from(body.len().saturating_add(4)).map_err(|_cause| too_large())?;
    out.reserve(5 + body.len());
    out.put_u8(b'D');
    out.put_i32(length);
    out.put_slice(body);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_framed_as_a_message() {
        let mut out = BytesMut::from(&b"before"[..]);
        put_row(b"\0\x01\0\0\0\x01x", &mut out).unwrap();
        assert_eq!(&out[..], b"beforeD\0\0\0\x0b\0\x01\0\0\0\x01x");
    }
}
