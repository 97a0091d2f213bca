//! From the cells of events to batches: rows are pushed one at a time and finished together, with masks of what was not sent.
//!
//! The commonest types have columns of their own ([`lane`]), because a feed is drained as fast as they are filled; the values of all
//! others are gathered as the engine's scalars.

mod lane;

use std::sync::{Arc, OnceLock};

use arrow::array::{ArrayRef, RecordBatch};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use datafusion::scalar::ScalarValue;

use super::{Known, Operation, Rows, Shape, batch_of};
use crate::error::{Diagnosis, sqlstate};
use crate::format::DisplaySettings;
use crate::pgtype::{PgField, PgType};
use lane::Lane;

/// A cell as an event carries it.
#[derive(Debug)]
pub enum Cell<'a> {
    /// The store did not send it.
    Unknown,
    /// NULL.
    Null,
    /// The text form of the column's type, which [`crate::format::scalar::read`] reads under the default settings.
    Text(&'a str),
    /// The value in the carrier of the column.
    Value(ScalarValue),
}

/// The rows of one table in one group.
#[derive(Debug)]
pub struct RowsBuilder {
    shape: Arc<Shape>,
    display: DisplaySettings,
    operations: Vec<Operation>,
    new: Side,
    /// Made with the first row that has one: most events have none.
    old: Option<Side>,
}

impl RowsBuilder {
    /// No rows yet.
    pub fn new(shape: &Arc<Shape>) -> Self {
        Self {
            shape: Arc::clone(shape),
            display: DisplaySettings::default(),
            operations: Vec::new(),
            new: Side::new(shape, 0),
            old: None,
        }
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.operations.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }

    /// Adds a row and gives its number. Cells come in the order of the shape's columns; columns that an iterator does not reach are
    /// unknown. After an error the rows are as they were.
    ///
    /// # Errors
    /// A cell that cannot be read as its column's type (22P02, 22003, …).
    pub fn push(
        &mut self,
        operation: Operation,
        new: &mut dyn Iterator<Item = Cell<'_>>,
        old: Option<&mut dyn Iterator<Item = Cell<'_>>>,
    ) -> Result<u32, Diagnosis> {
        let rows = self.operations.len();
        let row = u32::try_from(rows)
            .map_err(|_too_many| Diagnosis::new(sqlstate::PROGRAM_LIMIT_EXCEEDED, "too many rows in one group"))?;
        let had_old = self.old.is_some();
        if let Err(broken) = self.add(new, old, rows) {
            self.new.truncate(rows);
            self.old = self.old.take().filter(|_| had_old);
            self.old.iter_mut().for_each(|side| side.truncate(rows));
            return Err(broken);
        }
        self.operations.push(operation);
        Ok(row)
    }

    fn add(
        &mut self,
        new: &mut dyn Iterator<Item = Cell<'_>>,
        old: Option<&mut dyn Iterator<Item = Cell<'_>>>,
        rows: usize,
    ) -> Result<(), Diagnosis> {
        self.new.push(new, &self.display)?;
        let Some(cells) = old else {
            self.old.iter_mut().for_each(|side| side.push_unknown(1));
            return Ok(());
        };
        let shape = &self.shape;
        self.old.get_or_insert_with(|| Side::new(shape, rows)).push(cells, &self.display)
    }

    /// The rows, and a builder without any is left behind.
    ///
    /// # Errors
    /// XX000 when a [`Cell::Value`] was not in its column's carrier.
    pub fn finish(&mut self) -> Result<Rows, Diagnosis> {
        let done = std::mem::replace(self, Self::new(&self.shape));
        let count = done.operations.len();
        let (new, new_known) = done.new.finish(&done.shape, count)?;
        let (old, old_known) = match done.old {
            Some(side) => {
                let (old, known) = side.finish(&done.shape, count)?;
                (Some(old), known)
            }
            None => (None, Known::none(done.shape.schema.fields().len(), count)),
        };
        let Self { shape, operations, .. } = done;
        Ok(Rows { shape, operations, new, old, new_known, old_known, payloads: OnceLock::new() })
    }
}

/// The cells of one side.
#[derive(Debug)]
struct Side(Vec<Column>);

impl Side {
    /// With so many rows of which nothing is known.
    fn new(shape: &Shape, rows: usize) -> Self {
        let columns = shape.schema.fields().iter().map(|field| {
            let pg_type = field.pg_type();
            Column { pg_type, lane: Lane::of(pg_type, field.data_type()), valid: Bits::default(), known: Bits::default() }
        });
        let mut side = Self(columns.collect());
        side.push_unknown(rows);
        side
    }

    fn push(&mut self, cells: &mut dyn Iterator<Item = Cell<'_>>, display: &DisplaySettings) -> Result<(), Diagnosis> {
        self.0.iter_mut().try_for_each(|column| column.push(cells.next().unwrap_or(Cell::Unknown), display))
    }

    fn push_unknown(&mut self, rows: usize) {
        for column in self.0.iter_mut().filter(|_| rows > 0) {
            column.lane.push_blank(rows);
            column.valid.push(false, rows);
            column.known.push(false, rows);
        }
    }

    fn truncate(&mut self, rows: usize) {
        for column in &mut self.0 {
            column.lane.truncate(rows);
            column.valid.truncate(rows);
            column.known.truncate(rows);
        }
    }

    fn finish(self, shape: &Shape, count: usize) -> Result<(RecordBatch, Known), Diagnosis> {
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.0.len());
        let mut masks = Vec::with_capacity(self.0.len());
        for (column, field) in self.0.into_iter().zip(shape.schema.fields()) {
            columns.push(column.lane.finish(column.valid.0.map(NullBuffer::from), field.data_type())?);
            masks.push(column.known.0.map(BooleanBuffer::from));
        }
        let batch = batch_of(&shape.schema, columns, count).map_err(internal)?;
        Ok((batch, Known(masks)))
    }
}

/// The cells of one column on one side.
#[derive(Debug)]
struct Column {
    pg_type: PgType,
    lane: Lane,
    /// Which cells have a value.
    valid: Bits,
    /// Which cells the store sent.
    known: Bits,
}

impl Column {
    fn push(&mut self, cell: Cell<'_>, display: &DisplaySettings) -> Result<(), Diagnosis> {
        let is_known = !matches!(cell, Cell::Unknown);
        let is_valid = match cell {
            Cell::Unknown | Cell::Null => {
                self.lane.push_blank(1);
                false
            }
            Cell::Text(text) => {
                self.lane.push_text(self.pg_type, text, display)?;
                true
            }
            Cell::Value(value) => self.lane.push_value(value)?,
        };
        self.valid.push_in(is_valid, self.lane.len());
        self.known.push_in(is_known, self.lane.len());
        Ok(())
    }
}

/// Bits that are mostly all set: nothing is kept of them until one is not.
#[derive(Debug, Default)]
struct Bits(Option<Vec<bool>>, usize);

impl Bits {
    fn push(&mut self, bit: bool, count: usize) {
        if self.0.is_none() && !bit {
            self.0 = Some(vec![true; self.1]);
        }
        self.1 += count;
        if let Some(bits) = &mut self.0 {
            bits.resize(self.1, bit);
        }
    }

    /// Adds one bit, so that there are `len`.
    fn push_in(&mut self, bit: bool, len: usize) {
        self.push(bit, len.saturating_sub(self.1));
    }

    fn truncate(&mut self, len: usize) {
        self.1 = self.1.min(len);
        if let Some(bits) = &mut self.0 {
            bits.truncate(len);
        }
        // The bit that was not set may be gone.
        self.0 = self.0.take().filter(|bits| bits.contains(&false));
    }
}

/// A batch that cannot be made of what was pushed, which no store can bring about.
fn internal(error: impl std::fmt::Display) -> Diagnosis {
    Diagnosis::new(sqlstate::INTERNAL_ERROR, format!("a row of events: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stores::schema::{Collation, Column, ColumnStatistics, Generated, Table};
    use arrow::datatypes::Field;

    fn shape() -> Arc<Shape> {
        let column = |name: &str, pg_type: PgType| Column {
            field: Field::new(name, pg_type.carrier(), true).with_pg_type(pg_type),
            native_type: String::new(),
            default: None,
            generated: Generated::No,
            comment: None,
            collation: Collation::Bytes,
            statistics: ColumnStatistics::default(),
        };
        let columns = vec![column("id", PgType::INT8), column("note", PgType::TEXT)];
        Shape::of(&Table::plain("public", "t", columns), vec![0], vec![true, false])
    }

    #[test]
    fn rows_keep_what_was_not_sent_apart_from_null() {
        let mut builder = RowsBuilder::new(&shape());
        let given = builder.push(Operation::Insert, &mut [Cell::Text("7"), Cell::Null].into_iter(), None);
        assert_eq!(given.unwrap(), 0);
        let new = &mut [Cell::Value(ScalarValue::Int64(Some(8)))].into_iter();
        let given = builder.push(Operation::Update, new, Some(&mut [Cell::Text("7")].into_iter()));
        assert_eq!(given.unwrap(), 1);
        let broken = builder.push(Operation::Insert, &mut [Cell::Text("x")].into_iter(), None).unwrap_err();
        assert_eq!((broken.sqlstate.as_str(), builder.len()), ("22P02", 2));
        let rows = builder.finish().unwrap();
        assert!(builder.is_empty());
        assert_eq!((rows.new.num_rows(), rows.operations.as_slice()), (2, [Operation::Insert, Operation::Update].as_slice()));
        assert!(rows.new_known.has(1, 0) && !rows.new_known.has(1, 1) && rows.new_known.0[0].is_none());
        assert_eq!((rows.key(1), rows.moves(1), rows.moves(0)), (Some((false, 1)), true, false));
        assert_eq!(builder.finish().unwrap().new.num_rows(), 0);
    }

    #[test]
    fn a_row_that_fails_leaves_no_trace() {
        let mut builder = RowsBuilder::new(&shape());
        let push = |builder: &mut RowsBuilder, new: [Cell<'_>; 2], old: Option<Cell<'_>>| {
            let mut old = old.into_iter();
            let has_old = old.len() > 0;
            builder.push(Operation::Update, &mut new.into_iter(), if has_old { Some(&mut old) } else { None })
        };
        push(&mut builder, [Cell::Text("1"), Cell::Text("a")], None).unwrap();
        // The first cells of the row have been taken before the last one fails, and the first old side of all with it.
        push(&mut builder, [Cell::Unknown, Cell::Text("b")], Some(Cell::Text("x"))).unwrap_err();
        assert!(builder.old.is_none());
        push(&mut builder, [Cell::Text("2"), Cell::Null], Some(Cell::Text("3"))).unwrap();
        push(&mut builder, [Cell::Text("x"), Cell::Text("c")], Some(Cell::Text("4"))).unwrap_err();
        push(&mut builder, [Cell::Text("5"), Cell::Text("")], None).unwrap();
        let rows = builder.finish().unwrap();
        let column = |batch: &RecordBatch, column: usize| {
            let values = (0..3).map(|row| ScalarValue::try_from_array(batch.column(column), row).unwrap().to_string());
            values.collect::<Vec<_>>()
        };
        assert_eq!((column(&rows.new, 0), column(&rows.new, 1)), (strings(["1", "2", "5"]), strings(["a", "NULL", ""])));
        assert_eq!(column(rows.old.as_ref().unwrap(), 0), strings(["NULL", "3", "NULL"]));
        assert!(rows.new_known.0.iter().all(Option::is_none));
        assert_eq!(
            [0, 1, 2].map(|row| (rows.old_known.has(0, row), rows.old_known.has(1, row))),
            [(false, false), (true, false), (false, false)]
        );
    }

    fn strings(texts: [&str; 3]) -> Vec<String> {
        texts.map(str::to_owned).to_vec()
    }

    #[test]
    fn a_table_without_columns_has_rows() {
        let table = Table::plain("public", "t", Vec::new());
        let mut builder = RowsBuilder::new(&Shape::of(&table, Vec::new(), Vec::new()));
        builder.push(Operation::Insert, &mut std::iter::empty(), None).unwrap();
        assert_eq!(builder.finish().unwrap().new.num_rows(), 1);
    }
}
