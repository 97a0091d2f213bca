//! Rows of the table of changes as rows of the tables that they are of: read by the readers of scans, so that a cell becomes the same
//! value in an event and in a scan.
//!
//! A row that cannot be read stops its table from there and leaves all others as they are. Builders that have taken half of a row are
//! of no more use, so that the rows are then read once more without it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};

use arrow::array::{ArrayRef, RecordBatch, new_null_array};
use arrow::buffer::BooleanBuffer;

use super::super::super::capture::Followed;
use super::super::super::change::{Barrier, Entry, GROUP_BYTES_MAX, GROUP_ROWS_MAX, Known, Operation, Rows, Shape, batch_of};
use super::super::super::document::json_text::Repeated;
use super::super::super::relational::documents::{DocumentCells, Selected};
use super::super::super::schema::TableId;
use super::super::super::value::Value;
use super::super::layout::json_item;
use super::super::scan::{Database, Failure, Statement};
use super::super::schema::NAMESPACE;
use super::super::types::read::{Cell, Read, reader};
use super::triggers::{RESHAPED, STOPPED, own_name, selected};
use crate::pgtype::{PgField, PgType};

/// What stands before the cells of a row: its number, that of its triggers, and what happened.
const AHEAD: usize = 3;

/// Where the rows of a set of triggers go.
#[derive(Debug)]
pub(super) struct Form {
    shape: Arc<Shape>,
    /// Each column of the file with its place in the rows.
    items: Vec<(usize, Selected)>,
    /// Names of the columns, by ordinal.
    names: Vec<String>,
}

impl Form {
    /// Rows that have the columns of these names, as a table that may have others by now.
    pub(super) fn new(followed: &Followed, columns: &[String]) -> Self {
        let table = &followed.table;
        let placed = selected(table).into_iter().filter_map(|item| {
            let name = own_name(&item, table);
            let place = columns.iter().position(|column| column == name)?;
            Some((place, item))
        });
        let names = table.columns.iter().map(|column| column.name().to_owned()).collect();
        Self { shape: Arc::clone(&followed.shape), items: placed.collect(), names }
    }

    /// Places that hold JSON.
    fn json(&self) -> impl Iterator<Item = usize> {
        let is_json = |item: &Selected| match item {
            Selected::Plain { output, .. } => self.shape.schema.field(*output).pg_type() == PgType::JSON,
            Selected::Document(_) => true,
        };
        self.items.iter().filter(move |(_, item)| is_json(item)).map(|(place, _)| *place)
    }
}

/// From which row on, and why, the rows of some triggers are not given.
pub(super) type Stops = BTreeMap<i64, (i64, String)>;

/// All that can be read.
#[derive(Debug, Default)]
pub(super) struct Forms {
    pub(super) known: HashMap<i64, Form>,
    pub(super) stops: Stops,
}

/// What lies between two rows.
#[derive(Debug)]
pub(super) struct Window {
    pub(super) rows: Vec<Rows>,
    pub(super) entries: Vec<Entry>,
    /// The last row that was looked at, or the end.
    pub(super) upto: i64,
    /// Whether that is the end.
    pub(super) is_whole: bool,
}

/// A row that stops its table: the number of its triggers, its own, and why.
struct Poison {
    number: i64,
    seq: i64,
    reason: String,
}

enum Trouble {
    Store(Failure),
    Poison(Poison),
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self::Store(failure)
    }
}

/// Reads what lies behind `from` up to `end`, as far as a group has room. Tables that it stops are added to the stops.
///
/// # Errors
/// What SQLite says.
pub(super) fn window(database: &Database<'_>, forms: &mut Forms, from: i64, end: i64) -> Result<Window, Failure> {
    loop {
        match pass(database, forms, from, end) {
            Ok(window) => return Ok(window),
            Err(Trouble::Store(failure)) => return Err(failure),
            // Each pass stops one more table, or stops one earlier.
            Err(Trouble::Poison(Poison { number, seq, reason })) => {
                forms.stops.insert(number, (seq, reason));
            }
        }
    }
}

fn pass(database: &Database<'_>, forms: &Forms, from: i64, end: i64) -> Result<Window, Trouble> {
    let mut statement = database.prepare(&text(forms))?;
    statement.bind(&[Value::Int(from), Value::Int(end)])?;
    let mut building = Building { forms, tables: Vec::new(), places: HashMap::new(), entries: Vec::new(), bytes: 0 };
    let mut upto = from;
    while building.entries.len() < GROUP_ROWS_MAX && building.bytes < GROUP_BYTES_MAX {
        if !statement.step()? {
            return building.finish(end, true);
        }
        let Cell::Int(seq) = statement.cell(0)? else { continue };
        building.add(seq, &mut statement)?;
        upto = seq;
    }
    building.finish(upto, upto >= end)
}

/// The statement that reads the rows of all forms.
fn text(forms: &Forms) -> String {
    let mut json: BTreeMap<usize, Vec<i64>> = BTreeMap::new();
    for (number, form) in &forms.known {
        form.json().for_each(|place| json.entry(place).or_default().push(*number));
    }
    let places = forms.known.values().flat_map(|form| form.items.iter().map(|(place, _)| *place + 1)).max();
    let mut sql = String::from("SELECT c.seq, c.tbl, c.op");
    // The first place is always there, and says what rows are about that tell of a table as a whole.
    for place in 0..places.unwrap_or_default().max(1) {
        for side in ['o', 'n'] {
            sql.push_str(", ");
            let cell = format!("c.{side}{place}");
            match json.get(&place) {
                Some(numbers) => {
                    let numbers: Vec<String> = numbers.iter().map(i64::to_string).collect();
                    let json = json_item(&cell);
                    sql.push_str(&format!("CASE WHEN c.tbl IN ({}) THEN {json} ELSE {cell} END", numbers.join(", ")));
                }
                None => sql.push_str(&cell),
            }
        }
    }
    sql.push_str(" FROM main.tributary_changes AS c WHERE c.seq > ?1 AND c.seq <= ?2 ORDER BY c.seq");
    sql
}

struct Building<'f> {
    forms: &'f Forms,
    tables: Vec<TableRows<'f>>,
    /// The place of each set of triggers among them.
    places: HashMap<i64, usize>,
    entries: Vec<Entry>,
    bytes: usize,
}

impl<'f> Building<'f> {
    /// Adds the current row.
    fn add(&mut self, seq: i64, statement: &mut Statement<'_>) -> Result<(), Trouble> {
        let number = super::triggers::int(statement, 1)?.unwrap_or_default();
        let operation = super::triggers::text(statement, 2)?.unwrap_or_default();
        if [RESHAPED, STOPPED].contains(&operation.as_str()) {
            let reason = super::triggers::text(statement, AHEAD)?.unwrap_or_default();
            let name = super::triggers::text(statement, AHEAD + 1)?.unwrap_or_default();
            let table = TableId { namespace: NAMESPACE.to_owned(), name };
            let barrier =
                if operation == RESHAPED { Barrier::Reshaped { table, reason } } else { Barrier::Stopped { table, reason } };
            self.entries.push(Entry::Barrier(barrier));
            return Ok(());
        }
        // A table that is not followed any more, and was not when we began.
        let Some(form) = self.forms.known.get(&number) else { return Ok(()) };
        match self.forms.stops.get(&number) {
            Some((stop, reason)) if seq == *stop => {
                let (table, reason) = (form.shape.id.clone(), reason.clone());
                self.entries.push(Entry::Barrier(Barrier::Stopped { table, reason }));
                return Ok(());
            }
            Some((stop, _)) if seq > *stop => return Ok(()),
            _ => {}
        }
        // REPLACE inserts where a row was, and SQLite does not say so.
        let operation = match operation.as_str() {
            "i" => Operation::Upsert,
            "u" => Operation::Update,
            "d" => Operation::Delete,
            _ => return Ok(()),
        };
        let poison = |reason: String| Trouble::Poison(Poison { number, seq, reason });
        let place = match self.places.get(&number) {
            Some(place) => *place,
            None => {
                let rows =
                    TableRows::new(form, (number, seq)).ok_or_else(|| poison("a column has a type without a reader".to_owned()))?;
                self.tables.push(rows);
                self.places.insert(number, self.tables.len() - 1);
                self.tables.len() - 1
            }
        };
        let Some(rows) = self.tables.get_mut(place) else { return Ok(()) };
        self.bytes += rows.add(operation, statement)?.map_err(poison)?;
        let [rows, row] = [place, rows.operations.len() - 1].map(|count| u32::try_from(count).unwrap_or(u32::MAX));
        self.entries.push(Entry::Row { rows, row });
        Ok(())
    }

    fn finish(self, upto: i64, is_whole: bool) -> Result<Window, Trouble> {
        let mut rows = Vec::with_capacity(self.tables.len());
        for table in self.tables {
            let (number, seq) = table.first;
            rows.push(table.finish().map_err(|reason| Trouble::Poison(Poison { number, seq, reason }))?);
        }
        Ok(Window { rows, entries: self.entries, upto, is_whole })
    }
}

/// The rows of one set of triggers.
struct TableRows<'f> {
    form: &'f Form,
    /// The number of the triggers, and of the first row.
    first: (i64, i64),
    operations: Vec<Operation>,
    new: Side,
    old: Side,
}

impl<'f> TableRows<'f> {
    fn new(form: &'f Form, first: (i64, i64)) -> Option<Self> {
        Some(Self { form, first, operations: Vec::new(), new: Side::new(form, 1)?, old: Side::new(form, 0)? })
    }

    /// Adds the current row, and returns about how many bytes it takes or why it cannot be read.
    fn add(&mut self, operation: Operation, statement: &mut Statement<'_>) -> Result<Result<usize, String>, Failure> {
        let (has_old, has_new) = match operation {
            Operation::Update => (true, true),
            Operation::Delete => (true, false),
            Operation::Insert | Operation::Upsert | Operation::Read => (false, true),
        };
        let mut bytes = 0;
        for (side, is_there) in [(&mut self.old, has_old), (&mut self.new, has_new)] {
            match side.add(is_there.then_some(&mut *statement), self.form)? {
                Ok(added) => bytes += added,
                Err(reason) => return Ok(Err(reason)),
            }
        }
        self.operations.push(operation);
        Ok(Ok(bytes + 1))
    }

    fn finish(self) -> Result<Rows, String> {
        let (new, new_known, _) = self.new.finish(&self.form.shape)?;
        let (old, old_known, has_old) = self.old.finish(&self.form.shape)?;
        Ok(Rows {
            shape: Arc::clone(&self.form.shape),
            operations: self.operations,
            new,
            old: has_old.then_some(old),
            new_known,
            old_known,
            payloads: OnceLock::new(),
        })
    }
}

/// The rows before changes, or those after them.
struct Side {
    /// 0 before, 1 after: their cells stand side by side.
    offset: usize,
    plain: Vec<Plain>,
    documents: Vec<(usize, DocumentCells)>,
    /// For each row whether there is one.
    known: Vec<bool>,
}

struct Plain {
    place: usize,
    output: usize,
    is_key: bool,
    reader: Box<dyn Read>,
}

impl Side {
    fn new(form: &Form, offset: usize) -> Option<Self> {
        let (mut plain, mut documents) = (Vec::new(), Vec::new());
        for (place, item) in &form.items {
            match item {
                Selected::Plain { output, .. } => {
                    let reader = reader(form.shape.schema.field(*output))?;
                    plain.push(Plain { place: *place, output: *output, is_key: form.shape.key.contains(output), reader });
                }
                Selected::Document(part) => documents.push((*place, DocumentCells::new(part, Repeated::First))),
            }
        }
        Some(Self { offset, plain, documents, known: Vec::new() })
    }

    /// Adds the row of the statement, or none.
    fn add(&mut self, statement: Option<&mut Statement<'_>>, form: &Form) -> Result<Result<usize, String>, Failure> {
        self.known.push(statement.is_some());
        let Some(statement) = statement else {
            for column in &mut self.plain {
                // Every column takes NULL here.
                drop(column.reader.append(Cell::Null));
            }
            self.documents.iter_mut().for_each(|(_, cells)| cells.append_null());
            return Ok(Ok(0));
        };
        let mut bytes = 0;
        for column in &mut self.plain {
            let cell = statement.cell(AHEAD + 2 * column.place + self.offset)?;
            let name = || form.names.get(column.output).map_or("", String::as_str);
            let read = match (unreadable(cell), cell) {
                (Some(rule), _) => Err(rule),
                (None, Cell::Null) if column.is_key => Err("is NULL, which tells no row from another".to_owned()),
                (None, cell) => column.reader.append(cell).map_err(|fault| fault.rule),
            };
            match read {
                Ok(size) => bytes += size,
                Err(rule) => return Ok(Err(format!("a value of column \"{}\" {rule}", name()))),
            }
        }
        for (place, cells) in &mut self.documents {
            let before = cells.bytes();
            let appended = match statement.cell(AHEAD + 2 * *place + self.offset)? {
                Cell::Null => {
                    cells.append_null();
                    Ok(())
                }
                Cell::Text(text) => cells.append(text),
                Cell::Int(_) | Cell::Real(_) | Cell::Blob(_) => cells.append_unfit("is not JSON text".to_owned()),
            };
            if let Err(misfit) = appended {
                return Ok(Err(format!("a value of \"{}\" {}", misfit.path, misfit.rule)));
            }
            bytes += cells.bytes().saturating_sub(before);
        }
        Ok(Ok(bytes))
    }

    /// The rows, which of their cells are known, and whether there is any.
    fn finish(mut self, shape: &Shape) -> Result<(RecordBatch, Known, bool), String> {
        let (count, width) = (self.known.len(), shape.schema.fields().len());
        let mut arrays: Vec<Option<ArrayRef>> = vec![None; width];
        let mut found: Vec<(usize, ArrayRef)> = Vec::with_capacity(width);
        for column in &mut self.plain {
            found.push((column.output, column.reader.finish().map_err(|fault| fault.rule)?));
        }
        for (_, cells) in &mut self.documents {
            found.extend(cells.finish().map_err(|error| error.to_string())?);
        }
        for (output, array) in found {
            if let Some(place) = arrays.get_mut(output) {
                *place = Some(array);
            }
        }
        let is_whole = self.known.iter().all(|is_known| *is_known);
        let mask = BooleanBuffer::from(self.known.as_slice());
        let known = arrays.iter().map(|array| match array {
            Some(_) if is_whole => None,
            Some(_) => Some(mask.clone()),
            None => Some(BooleanBuffer::new_unset(count)),
        });
        let known = Known(known.collect());
        let columns = arrays.into_iter().zip(shape.schema.fields());
        let columns = columns.map(|(array, field)| array.unwrap_or_else(|| new_null_array(field.data_type(), count))).collect();
        let batch = batch_of(&shape.schema, columns, count);
        Ok((batch.map_err(|error| error.to_string())?, known, mask.count_set_bits() > 0))
    }
}

/// What no column can hold, where the readers would find it for a whole batch together.
fn unreadable(cell: Cell<'_>) -> Option<String> {
    let Cell::Text(bytes) = cell else { return None };
    if let Err(error) = std::str::from_utf8(bytes) {
        return Some(format!("is not valid UTF-8 at byte {}", error.valid_up_to()));
    }
    bytes.contains(&0).then(|| "holds a NUL byte, which text cannot".to_owned())
}
