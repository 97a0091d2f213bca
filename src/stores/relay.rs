//! Rows on their way from a store to a client in the form in which the client gets them: no batch is made of them on the way.

use std::any::Any;
use std::sync::Arc;

/// What a connector keeps of a lookup from one execution to the next. Only the connector that made it knows what is in it; it holds
/// no connection and no pool.
pub type Kept = Arc<dyn Any + Send + Sync>;

/// Whole rows, each as the body of a `DataRow` message of the Postgres protocol: the number of the values, then each value behind
/// its length.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Relayed {
    bytes: Vec<u8>,
    /// Where each row ends.
    ends: Vec<usize>,
}

impl Relayed {
    /// Begins a row of so many values.
    pub fn begin_row(&mut self, values: u16) {
        self.bytes.extend_from_slice(&values.to_be_bytes());
    }

    /// Appends a value to the row that was begun; `None`, and nothing is appended, when the protocol cannot tell its length.
    #[must_use]
    pub fn value(&mut self, bytes: &[u8]) -> Option<()> {
        let length = i32::try_from(bytes.len()).ok()?;
        self.bytes.extend_from_slice(&length.to_be_bytes());
        self.bytes.extend_from_slice(bytes);
        Some(())
    }

    /// Appends NULL to the row that was begun.
    pub fn null(&mut self) {
        self.bytes.extend_from_slice(&(-1_i32).to_be_bytes());
    }

    /// Ends the row that was begun.
    pub fn end_row(&mut self) {
        self.ends.push(self.bytes.len());
    }

    /// Forgets all rows.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    /// How many rows there are.
    pub fn row_count(&self) -> usize {
        self.ends.len()
    }

    /// How many bytes they take.
    pub fn byte_count(&self) -> usize {
        self.bytes.len()
    }

    /// The rows, in order.
    pub fn rows(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).filter_map(move |(start, end)| self.bytes.get(start..*end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_stay_apart_and_null_is_not_empty() {
        let mut rows = Relayed::default();
        rows.begin_row(2);
        rows.value(b"ab").unwrap();
        rows.null();
        rows.end_row();
        rows.begin_row(1);
        rows.value(b"").unwrap();
        rows.end_row();
        let expected: [&[u8]; 2] = [b"\0\x02\0\0\0\x02ab\xff\xff\xff\xff", b"\0\x01\0\0\0\0"];
        assert_eq!(rows.rows().collect::<Vec<_>>(), expected);
        assert_eq!((rows.row_count(), rows.byte_count()), (2, 18));
        rows.clear();
        assert_eq!(rows, Relayed::default());
        assert_eq!(rows.rows().count(), 0);
    }
}
