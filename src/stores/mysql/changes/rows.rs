//! Rows of one table on their way into batches: which columns of an event belong to which columns of the table, and the batches under
//! construction.
//!
//! The same readers make the values that make them for scans. A row whose value cannot be given ends its batch and is not in it; the
//! table stands still behind it.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use arrow::array::{ArrayRef, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::error::ArrowError;

use super::super::super::capture::Followed;
use super::super::super::change::{Known, Operation, Rows, Shape, batch_of};
use super::super::super::relational::documents::{DocumentCells, Misfit, Selected, in_order};
use super::super::super::schema::{Table, TableId};
use super::super::decode::Fault;
use super::super::documents::REPEATED;
use super::super::reader::Reader;
use super::super::scan::{selected, source_of};
use super::super::types::{self, Policy};
use super::bytes::{Bytes, Malformed, bit};
use super::charsets::Charsets;
use super::columns::{Extent, TableMap};
use super::events::{Change, RowsEvent};
use super::values::{Form, form};
use crate::error::{Diagnosis, sqlstate};

/// What is read of a table, in the order of its columns.
#[derive(Debug)]
pub(super) struct Layout {
    /// The table.
    pub(super) table: Arc<Table>,
    /// Its columns in events.
    pub(super) shape: Arc<Shape>,
    selected: Vec<Selected>,
    policy: Policy,
}

impl Layout {
    /// Of a table that is followed.
    ///
    /// # Errors
    /// A column cannot be read, as a clause.
    pub(super) fn of(followed: &Followed, policy: Policy) -> Result<Self, String> {
        let (table, shape) = (Arc::clone(&followed.table), Arc::clone(&followed.shape));
        let all: Vec<usize> = (0..table.columns.len()).collect();
        let selected = selected(&table, &all).map_err(|_no_column| "its columns are not known".to_owned())?;
        Ok(Self { table, shape, selected, policy })
    }

    /// How rows of an event become rows of the table.
    ///
    /// # Errors
    /// The table is another one than was discovered, as a clause.
    pub(super) fn plan(&self, map: &TableMap<'_>, charsets: &Charsets) -> Result<Plan, String> {
        let mut items = Vec::with_capacity(self.selected.len());
        for item in &self.selected {
            let (name, native_type) = source_of(&self.table, item).ok_or("its columns are not known")?;
            let found = map.columns.iter().position(|column| column.name == Some(name.as_bytes()));
            let (place, column) = found.and_then(|place| Some((place, map.columns.get(place)?))).ok_or_else(|| {
                match map.columns.iter().any(|column| column.name.is_none()) {
                    true => "the binlog does not name its columns (binlog_row_metadata)".to_owned(),
                    false => format!("has no column \"{name}\" now"),
                }
            })?;
            let form = form(native_type, types::labels(native_type), column, charsets);
            items.push((place, form.map_err(|reason| format!("its column \"{name}\" {reason}"))?));
        }
        Ok(Plan { table: self.table.id.clone(), extents: map.columns.iter().map(|column| column.extent).collect(), items })
    }
}

/// How rows of an event become rows of a table.
#[derive(Debug)]
pub(super) struct Plan {
    /// The table.
    pub(super) table: TableId,
    extents: Vec<Extent>,
    /// For each thing that is read of it, which column of the event it is.
    items: Vec<(usize, Form)>,
}

/// Where the values of one image of a row stand in the images of an event; `None` is NULL.
#[derive(Debug, Default)]
pub(super) struct Image(Vec<Option<Range<usize>>>);

impl Plan {
    /// Whether the images of an event have all columns that are read.
    pub(super) fn is_whole(&self, event: &RowsEvent<'_>, change: Change) -> bool {
        let has = |columns: &[u8]| self.items.iter().all(|(place, _)| bit(columns, *place));
        event.width == self.extents.len() && has(event.first) && (change != Change::Update || has(event.second))
    }

    /// Finds the values of the next image, whose columns are `present`.
    ///
    /// # Errors
    /// The bytes end too soon.
    pub(super) fn image(&self, images: &[u8], at: &mut usize, present: &[u8], image: &mut Image) -> Result<(), Malformed> {
        image.0.clear();
        let mut bytes = Bytes::new(images.get(*at..).unwrap_or_default(), "the rows of an event");
        let count = (0..self.extents.len()).filter(|place| bit(present, *place)).count();
        let nulls = bytes.take(count.div_ceil(8))?;
        let mut number = 0;
        for (place, extent) in self.extents.iter().enumerate() {
            if !bit(present, place) {
                image.0.push(None);
                continue;
            }
            let is_null = bit(nulls, number);
            number += 1;
            if is_null {
                image.0.push(None);
                continue;
            }
            let value = match extent {
                Extent::Fixed(length) => bytes.take(*length)?,
                Extent::Prefixed(width) => bytes.prefixed(*width)?,
            };
            let end = images.len() - bytes.rest().len();
            image.0.push(Some(end - value.len()..end));
        }
        *at = images.len() - bytes.rest().len();
        Ok(())
    }
}

/// The growing arrays of one thing that is read.
enum Cells {
    Plain {
        output: usize,
        reader: Box<dyn Reader>,
    },
    /// A document, and another one that tries whether a text fits: a builder that has refused one is of no more use.
    Document {
        cells: Box<DocumentCells>,
        trial: Box<DocumentCells>,
    },
}

impl Cells {
    fn new(layout: &Layout, item: &Selected) -> Option<Self> {
        Some(match item {
            Selected::Plain { output, ordinal } => {
                let column = layout.table.columns.get(*ordinal)?;
                Self::Plain { output: *output, reader: types::reader(&column.native_type, layout.policy)? }
            }
            Selected::Document(part) => {
                let cells = || Box::new(DocumentCells::new(part, REPEATED));
                Self::Document { cells: cells(), trial: cells() }
            }
        })
    }

    /// Appends one value in any case: a value that does not fit leaves NULL, so that all arrays stay equally long.
    fn push(&mut self, raw: Option<&[u8]>) -> Result<(), Fault> {
        match (self, raw) {
            // A reader that refuses a value has not taken it.
            (Self::Plain { reader, .. }, raw) => reader.push(raw).or_else(|fault| reader.push(None).and(Err(fault))),
            (Self::Document { cells, .. }, None) => {
                cells.append_null();
                Ok(())
            }
            (Self::Document { cells, trial }, Some(text)) => {
                let fault = |misfit: Misfit| {
                    let rule = format!("{} {}", misfit.path, misfit.rule);
                    Fault { sqlstate: misfit.sqlstate, rule }
                };
                let tried = trial.append(text).map_err(fault);
                if tried.is_err() {
                    cells.append_null();
                    return tried;
                }
                // It keeps nothing of what it has tried.
                let _emptied = trial.finish();
                cells.append(text).map_err(fault)
            }
        }
    }

    fn finish(&mut self) -> Result<Vec<(usize, ArrayRef)>, ArrowError> {
        match self {
            Self::Plain { output, reader } => Ok(vec![(*output, reader.finish())]),
            Self::Document { cells, .. } => cells.finish(),
        }
    }
}

/// One side of the rows.
struct Side {
    cells: Vec<Cells>,
    present: Vec<bool>,
}

impl Side {
    /// With so many rows that have not this side.
    fn new(layout: &Layout, absent: usize) -> Option<Self> {
        let cells = layout.selected.iter().map(|item| Cells::new(layout, item)).collect::<Option<Vec<_>>>()?;
        let mut side = Self { cells, present: Vec::new() };
        for _ in 0..absent {
            side.absent();
        }
        Some(side)
    }

    fn absent(&mut self) {
        for cells in &mut self.cells {
            // NULL always fits.
            let _fits = cells.push(None);
        }
        self.present.push(false);
    }

    /// Adds a row in any case, and gives the first fault with the place of its column.
    fn push(&mut self, plan: &Plan, images: &[u8], image: &Image, scratch: &mut Vec<u8>) -> Result<(), (usize, Fault)> {
        let mut outcome = Ok(());
        for ((place, form), cells) in plan.items.iter().zip(&mut self.cells) {
            scratch.clear();
            let raw = image.0.get(*place).cloned().flatten().and_then(|range| images.get(range));
            let pushed = match raw {
                Some(raw) => match form.convert(raw, scratch) {
                    Ok(value) => cells.push(Some(value)),
                    Err(fault) => cells.push(None).and(Err(fault)),
                },
                None => cells.push(None),
            };
            if let (Err(fault), true) = (pushed, outcome.is_ok()) {
                outcome = Err((*place, fault));
            }
        }
        self.present.push(true);
        outcome
    }

    fn finish(&mut self, shape: &Shape, rows: usize) -> Result<(RecordBatch, Known), ArrowError> {
        let mut arrays = Vec::with_capacity(shape.schema.fields().len());
        for cells in &mut self.cells {
            arrays.extend(cells.finish()?);
        }
        let batch = batch_of(&shape.schema, in_order(arrays), self.present.len())?.slice(0, rows);
        let present = self.present.get(..rows).unwrap_or_default();
        let columns = shape.schema.fields().len();
        let known = match present.iter().all(|is_present| *is_present) {
            true => Known::all(columns),
            false => Known(vec![Some(BooleanBuffer::from(present)); columns]),
        };
        Ok((batch, known))
    }
}

/// Rows of one table in one group.
pub(super) struct Batch {
    layout: Arc<Layout>,
    operations: Vec<Operation>,
    new: Side,
    old: Option<Side>,
    scratch: Vec<u8>,
}

/// The images of one row in the bytes of its event.
pub(super) struct Images<'i> {
    /// The bytes.
    pub(super) bytes: &'i [u8],
    /// The row as it was.
    pub(super) old: Option<&'i Image>,
    /// The row as it is.
    pub(super) new: Option<&'i Image>,
}

impl Batch {
    /// Without rows; `None` when a column has no reader.
    pub(super) fn new(layout: &Arc<Layout>) -> Option<Self> {
        Some(Self {
            layout: Arc::clone(layout),
            operations: Vec::new(),
            new: Side::new(layout, 0)?,
            old: None,
            scratch: Vec::new(),
        })
    }

    /// Adds a row and gives its number.
    ///
    /// # Errors
    /// A value cannot be given, as a clause. The row is the last one of the arrays then, not among the rows, and nothing may be added any
    /// more.
    pub(super) fn push(&mut self, plan: &Plan, change: Change, images: &Images<'_>) -> Result<u32, String> {
        let rows = self.operations.len();
        let number = u32::try_from(rows).map_err(|_too_many| "has too many rows at once".to_owned())?;
        let mut outcome = Ok(());
        match images.new {
            Some(image) => outcome = self.new.push(plan, images.bytes, image, &mut self.scratch),
            None => self.new.absent(),
        }
        if images.old.is_some() && self.old.is_none() {
            self.old = Side::new(&self.layout, rows);
        }
        if let Some(old) = &mut self.old {
            match images.old {
                Some(image) => outcome = outcome.and(old.push(plan, images.bytes, image, &mut self.scratch)),
                None => old.absent(),
            }
        }
        if let Err((place, fault)) = outcome {
            return Err(self.named(plan, place, &fault));
        }
        self.operations.push(match change {
            Change::Insert => Operation::Insert,
            Change::Update => Operation::Update,
            Change::Delete => Operation::Delete,
        });
        Ok(number)
    }

    /// The fault of a column of the event.
    fn named(&self, plan: &Plan, place: usize, fault: &Fault) -> String {
        let item = plan.items.iter().position(|(of, _)| *of == place).and_then(|item| self.layout.selected.get(item));
        let name = item.and_then(|item| source_of(&self.layout.table, item)).map_or("", |(name, _)| name);
        format!("a value of its column \"{name}\" {} ({})", fault.rule, fault.sqlstate)
    }

    /// What the rows are of.
    pub(super) fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    /// The rows.
    ///
    /// # Errors
    /// XX000: the readers have made something else than the shape says.
    pub(super) fn finish(mut self) -> Result<Rows, Diagnosis> {
        let broken = |error: ArrowError| Diagnosis::new(sqlstate::INTERNAL_ERROR, format!("rows of the binlog: {error}"));
        let (shape, rows) = (Arc::clone(&self.layout.shape), self.operations.len());
        let (new, new_known) = self.new.finish(&shape, rows).map_err(broken)?;
        let (old, old_known) = match &mut self.old {
            Some(old) => old.finish(&shape, rows).map(|(batch, known)| (Some(batch), known)).map_err(broken)?,
            None => (None, Known::none(shape.schema.fields().len(), rows)),
        };
        Ok(Rows { shape, operations: self.operations, new, old, new_known, old_known, payloads: OnceLock::new() })
    }
}

#[cfg(test)]
pub(super) mod samples {
    use arrow::datatypes::Field;

    use super::super::super::super::schema::{Collation, Column, ColumnStatistics, Generated, Key};
    use super::super::super::options::ZeroDate;
    use super::*;

    /// Dates that no calendar has are errors.
    pub(in super::super) const POLICY: Policy = Policy { zero_date: ZeroDate::Error, tinyint1_is_bool: false };

    fn column(name: &str, native_type: &str) -> Column {
        let field: Field = types::field(name, native_type, true, POLICY).unwrap();
        Column {
            field,
            native_type: native_type.to_owned(),
            default: None,
            generated: Generated::No,
            comment: None,
            collation: Collation::Bytes,
            statistics: ColumnStatistics::default(),
        }
    }

    /// A table of these columns, whose first one is its key.
    pub(in super::super) fn followed(namespace: &str, name: &str, columns: &[(&str, &str)]) -> Followed {
        let columns: Vec<Column> = columns.iter().map(|(name, native_type)| column(name, native_type)).collect();
        let known = vec![true; columns.len()];
        let mut table = Table::plain(namespace, name, columns);
        table.primary_key = Some(Key { name: "PRIMARY".to_owned(), columns: vec![0], proven: true });
        let shape = Shape::of(&table, vec![0], known);
        Followed { table: Arc::new(table), shape }
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, AsArray};
    use arrow::datatypes::{Int32Type, TimestampMicrosecondType};
    use arrow::util::display::array_value_to_string;

    use super::super::events::samples::{event, hex};
    use super::samples::{POLICY, followed};
    use super::*;

    // The bytes here were written by a MariaDB 10.11.

    /// `v (id int primary key, a int, b blob, vg int as (a * 2) virtual, sg int as (a * 3) stored, vb int as (length(b)) virtual)`
    const MAP: &str = "1d0000000000 0100 01 64 00 01 76 00 06 0303fc030303 01 02 3e 01 01 00 02 01 3f \
        04 10 026964 0161 0162 027667 027367 027662 08 01 00";
    const COLUMNS: [(&str, &str); 6] =
        [("id", "int(11)"), ("a", "int(11)"), ("b", "blob"), ("vg", "int(11)"), ("sg", "int(11)"), ("vb", "int(11)")];

    fn read(kind: u8, body: &str) -> Rows {
        let layout = Arc::new(Layout::of(&followed("d", "v", &COLUMNS), POLICY).unwrap());
        let map = hex(MAP);
        let plan = layout.plan(&TableMap::read(&map, true).unwrap(), &Charsets::samples()).unwrap();
        let mut batch = Batch::new(&layout).unwrap();
        let kind = event(kind, Vec::new()).rows_kind().unwrap();
        let body = hex(body);
        let rows = RowsEvent::read(kind, &body).unwrap();
        assert!(plan.is_whole(&rows, kind.change));
        let (mut at, mut first, mut second) = (0, Image::default(), Image::default());
        while at < rows.images.len() {
            plan.image(&rows.images, &mut at, rows.first, &mut first).unwrap();
            let images = match kind.change {
                Change::Insert => Images { bytes: &rows.images, old: None, new: Some(&first) },
                Change::Delete => Images { bytes: &rows.images, old: Some(&first), new: None },
                Change::Update => {
                    plan.image(&rows.images, &mut at, rows.second, &mut second).unwrap();
                    Images { bytes: &rows.images, old: Some(&first), new: Some(&second) }
                }
            };
            batch.push(&plan, kind.change, &images).unwrap();
        }
        batch.finish().unwrap()
    }

    fn shown(batch: &RecordBatch, row: usize) -> Vec<String> {
        batch.columns().iter().map(|column| array_value_to_string(column, row).unwrap()).collect()
    }

    #[test]
    fn inserts_updates_and_deletes_become_rows() {
        let inserted = read(23, "1d0000000000 0100 06 3f c0 01000000 05000000 0200 7878 0a000000 0f000000 02000000");
        assert_eq!(
            (shown(&inserted.new, 0), inserted.old.is_none()),
            (["1", "5", "7878", "10", "15", "2"].map(str::to_owned).to_vec(), true)
        );
        let updated = read(
            24,
            "1d0000000000 0100 06 3f 3f c0 01000000 06000000 0300 797979 0c000000 12000000 03000000 \
             c0 02000000 06000000 0300 797979 0c000000 12000000 03000000",
        );
        assert!(updated.moves(0) && updated.operations == [Operation::Update]);
        assert_eq!(updated.new.column(0).as_primitive::<Int32Type>().value(0), 2);
        let deleted = read(25, "1d0000000000 0100 06 3f c0 02000000 06000000 0300 797979 0c000000 12000000 03000000");
        assert_eq!((deleted.key(0), deleted.new_known.has(0, 0), deleted.new.column(0).is_null(0)), (Some((true, 0)), false, true));
        assert_eq!(shown(deleted.old.as_ref().unwrap(), 0)[0], "2");
    }

    #[test]
    fn a_table_of_another_form_is_not_read() {
        let map = hex(MAP);
        let map = TableMap::read(&map, true).unwrap();
        let check = |columns: &[(&str, &str)]| {
            let layout = Layout::of(&followed("d", "v", columns), POLICY).unwrap();
            layout.plan(&map, &Charsets::samples()).map(drop)
        };
        // Columns that were added meanwhile are not read.
        assert_eq!(check(&COLUMNS[..3]), Ok(()));
        assert!(check(&[("id", "int(11)"), ("gone", "int(11)")]).unwrap_err().contains("gone"));
        assert!(check(&[("id", "bigint(20)")]).unwrap_err().contains("id"));
        assert!(check(&[("b", "text")]).unwrap_err().contains("b"), "bytes are no text");
    }

    #[test]
    fn a_value_that_cannot_be_given_ends_its_batch_before_its_row() {
        let layout = Arc::new(Layout::of(&followed("d", "z", &[("id", "int(11)"), ("at", "datetime")]), POLICY).unwrap());
        let map = hex("1d0000000000 0100 01 64 00 01 7a 00 02 0312 01 00 02 01 01 00 04 06 026964 026174");
        let plan = layout.plan(&TableMap::read(&map, true).unwrap(), &Charsets::samples()).unwrap();
        let mut batch = Batch::new(&layout).unwrap();
        let bytes = hex("fc 01000000 9963ff7efb fc 02000000 8000000000");
        let (mut at, mut image) = (0, Image::default());
        plan.image(&bytes, &mut at, &[3], &mut image).unwrap();
        assert_eq!(batch.push(&plan, Change::Insert, &Images { bytes: &bytes, old: None, new: Some(&image) }), Ok(0));
        plan.image(&bytes, &mut at, &[3], &mut image).unwrap();
        let refused = batch.push(&plan, Change::Insert, &Images { bytes: &bytes, old: None, new: Some(&image) }).unwrap_err();
        assert!(refused.contains("\"at\"") && refused.contains("22008"), "{refused}");
        assert_eq!(at, bytes.len());
        assert!(plan.image(&bytes, &mut at, &[3], &mut image).is_err());
        let rows = batch.finish().unwrap();
        assert_eq!((rows.operations.len(), rows.new.num_rows(), rows.new_known.0[0].is_none()), (1, 1, true));
        assert_eq!(rows.new.column(1).as_primitive::<TimestampMicrosecondType>().value(0), 946_684_799_000_000);
    }
}
