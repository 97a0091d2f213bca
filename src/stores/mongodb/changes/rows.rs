//! Events of a group as rows: the documents in them go through the builder of scans, so that a field becomes the same value in an event
//! and in a scan.
//!
//! Events are kept as they came until the group is closed. An event that cannot be read stops its collection from there; since the
//! builder has then taken half of it, the group is built once more without it.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, OnceLock};

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::buffer::BooleanBuffer;
use mongodb::bson::Timestamp;

use super::super::columns::ID;
use super::super::fragment::carried;
use super::super::raw::BsonFields;
use super::event::{Event, Kind};
use super::update::{Partial, Said, said};
use crate::stores::capture::Followed;
use crate::stores::change::{Barrier, Entry, Known, Operation, Rows, Shape, batch_of};
use crate::stores::document::build::Conversion;
use crate::stores::document::schema::{DOCUMENT_COLUMN, type_of_field};
use crate::stores::document::{DocumentBuilder, DocumentField, Fields, OnMismatch};
use crate::stores::schema::TableId;

/// A collection that is followed.
#[derive(Debug, Clone)]
pub(super) struct Watched {
    pub(super) shape: Arc<Shape>,
    on_mismatch: OnMismatch,
    /// Whether events have whole documents.
    has_images: bool,
}

impl Watched {
    pub(super) fn new(followed: &Followed, on_mismatch: OnMismatch) -> Self {
        let shape = Arc::clone(&followed.shape);
        let has_images = shape.always_known.iter().all(|is_known| *is_known);
        Self { shape, on_mismatch, has_images }
    }

    fn names(&self) -> Vec<&str> {
        self.shape.schema.fields().iter().map(|field| field.name().as_str()).collect()
    }
}

/// One thing that happened.
#[derive(Debug)]
pub(super) enum Happened {
    Event(Box<Event>),
    Barrier(Barrier),
}

/// A transaction that is being collected: everything of one time.
#[derive(Debug)]
pub(super) struct Collected {
    pub(super) id: String,
    pub(super) time: Timestamp,
    pub(super) committed_us: Option<i64>,
    /// How many entries were given in pieces before.
    pub(super) first: u32,
    pub(super) happened: Vec<Happened>,
}

/// What a group is made of.
#[derive(Debug, Default)]
pub(super) struct Built {
    pub(super) rows: Vec<Rows>,
    /// The entries of each transaction.
    pub(super) entries: Vec<Vec<Entry>>,
    /// Collections that are not followed any more, with those that were not before.
    pub(super) stopped: HashSet<TableId>,
}

/// An event that cannot be read: its number among all, and why.
struct Poison {
    number: usize,
    reason: String,
}

/// Makes rows of what happened; nothing of collections in `stopped` is told.
///
/// # Errors
/// A batch that could not be made though all its rows could be read.
pub(super) fn build(
    collected: &[Collected],
    watched: &HashMap<TableId, Watched>,
    stopped: &HashSet<TableId>,
) -> Result<Built, String> {
    let mut poison: HashMap<usize, String> = HashMap::new();
    loop {
        let building = Building { watched, poison: &poison, tables: Vec::new(), places: HashMap::new(), stopped: stopped.clone() };
        match building.run(collected) {
            Ok(built) => return Ok(built),
            Err(Poison { number, reason }) => {
                if poison.insert(number, reason.clone()).is_some() {
                    return Err(reason);
                }
            }
        }
    }
}

struct Building<'b> {
    watched: &'b HashMap<TableId, Watched>,
    poison: &'b HashMap<usize, String>,
    tables: Vec<TableRows<'b>>,
    places: HashMap<TableId, usize>,
    stopped: HashSet<TableId>,
}

impl Building<'_> {
    fn run(mut self, collected: &[Collected]) -> Result<Built, Poison> {
        let mut number = 0;
        let mut all = Vec::with_capacity(collected.len());
        for transaction in collected {
            let mut entries = Vec::with_capacity(transaction.happened.len());
            for happened in &transaction.happened {
                match happened {
                    Happened::Barrier(barrier) => entries.push(Entry::Barrier(barrier.clone())),
                    Happened::Event(event) => self.event(event, number, &mut entries)?,
                }
                number += 1;
            }
            all.push(entries);
        }
        let rows: Result<Vec<Rows>, Poison> = self.tables.into_iter().map(TableRows::finish).collect();
        Ok(Built { rows: rows?, entries: all, stopped: self.stopped })
    }

    fn event(&mut self, event: &Event, number: usize, entries: &mut Vec<Entry>) -> Result<(), Poison> {
        match &event.kind {
            Kind::Drop => self.stop(&event.table, "the collection was dropped".to_owned(), entries),
            Kind::Rename(to) => {
                self.stop(&event.table, "the collection was renamed".to_owned(), entries);
                if self.watched.contains_key(to) && !self.stopped.contains(to) {
                    let reason = "another collection has its name now".to_owned();
                    entries.push(Entry::Barrier(Barrier::Reshaped { table: to.clone(), reason }));
                }
            }
            Kind::DropDatabase => {
                let tables: Vec<TableId> =
                    self.watched.keys().filter(|table| table.namespace == event.table.namespace).cloned().collect();
                tables.iter().for_each(|table| self.stop(table, "the database was dropped".to_owned(), entries));
            }
            Kind::Insert | Kind::Replace | Kind::Update | Kind::Delete => return self.row(event, number, entries),
            Kind::Invalidate | Kind::Defined | Kind::Other => {}
        }
        Ok(())
    }

    fn stop(&mut self, table: &TableId, reason: String, entries: &mut Vec<Entry>) {
        if self.watched.contains_key(table) && self.stopped.insert(table.clone()) {
            entries.push(Entry::Barrier(Barrier::Stopped { table: table.clone(), reason }));
        }
    }

    fn row(&mut self, event: &Event, number: usize, entries: &mut Vec<Entry>) -> Result<(), Poison> {
        let Some(watched) = self.watched.get(&event.table).filter(|_| !self.stopped.contains(&event.table)) else { return Ok(()) };
        if let Some(reason) = self.poison.get(&number) {
            self.stop(&event.table, reason.clone(), entries);
            return Ok(());
        }
        let place = match self.places.get(&event.table) {
            Some(place) => *place,
            None => {
                self.tables.push(TableRows::new(watched, number));
                self.places.insert(event.table.clone(), self.tables.len() - 1);
                self.tables.len() - 1
            }
        };
        let Some(rows) = self.tables.get_mut(place) else { return Ok(()) };
        let is_whole = rows.add(event, number).map_err(|reason| Poison { number, reason })?;
        let [at, row] = [place, rows.operations.len() - 1].map(|count| u32::try_from(count).unwrap_or(u32::MAX));
        entries.push(Entry::Row { rows: at, row });
        if watched.has_images && !is_whole {
            // Whoever was promised whole rows begins anew.
            let reason = "an event of it came without the document".to_owned();
            entries.push(Entry::Barrier(Barrier::Reshaped { table: event.table.clone(), reason }));
        }
        Ok(())
    }
}

/// What is known of a row.
enum Knows {
    Nothing,
    Everything,
    /// For each column.
    Some(Vec<bool>),
}

/// The rows of one collection.
struct TableRows<'b> {
    watched: &'b Watched,
    /// The number of the first event.
    first: usize,
    operations: Vec<Operation>,
    /// The number of the event of each row.
    numbers: Vec<usize>,
    new: Side,
    old: Side,
}

impl<'b> TableRows<'b> {
    fn new(watched: &'b Watched, first: usize) -> Self {
        let side = || Side::new(&watched.shape, watched.on_mismatch);
        Self { watched, first, operations: Vec::new(), numbers: Vec::new(), new: side(), old: side() }
    }

    /// Adds an event, and tells whether the row after it is whole, if there is one.
    fn add(&mut self, event: &Event, number: usize) -> Result<bool, String> {
        let key = event.document("documentKey").ok_or_else(|| "an event has no key".to_owned())?;
        let (before, after) = (event.document("fullDocumentBeforeChange"), event.document("fullDocument"));
        let operation = match event.kind {
            Kind::Delete => Operation::Delete,
            // What was inserted is not there to be told.
            Kind::Insert if after.is_some() => Operation::Insert,
            _ => Operation::Update,
        };
        match (operation, before) {
            (_, Some(before)) => self.old.add(&BsonFields(before), Knows::Everything)?,
            (Operation::Delete, None) => {
                let known = self.columns(&[]);
                self.old.add(&Partial { key, updated: None, taken: Vec::new() }, known)?;
            }
            _ => self.old.add_nothing(),
        }
        let is_whole = match (operation, after) {
            (Operation::Delete, _) => {
                self.new.add_nothing();
                true
            }
            (_, Some(after)) => {
                self.new.add(&BsonFields(after), Knows::Everything)?;
                true
            }
            (_, None) => {
                self.add_partial(event, key)?;
                false
            }
        };
        self.operations.push(operation);
        self.numbers.push(number);
        Ok(is_whole)
    }

    /// The key, and the fields of an update that are known.
    fn add_partial(&mut self, event: &Event, key: &mongodb::bson::raw::RawDocument) -> Result<(), String> {
        let update = event.document("updateDescription").filter(|_| !event.is_bare);
        let names = self.watched.names();
        let said = match update {
            Some(update) => said(update, &names).map_err(|mismatch| mismatch.rule.clone())?,
            None => vec![Said::Unknown; names.len()],
        };
        let known = self.columns(&said);
        let taken = names.iter().zip(&said).filter(|(_, said)| **said == Said::Value).map(|(name, _)| *name).collect();
        let updated = update.and_then(|update| super::event::get(update, "updatedFields")).and_then(|fields| fields.as_document());
        self.new.add(&Partial { key, updated, taken }, known)
    }

    /// Columns that are known: those of which an update said so, and `_id`.
    fn columns(&self, said: &[Said]) -> Knows {
        let is_said = |at: usize| said.get(at).is_some_and(|said| *said != Said::Unknown);
        Knows::Some(self.watched.names().iter().enumerate().map(|(at, name)| *name == ID || is_said(at)).collect())
    }

    fn finish(self) -> Result<Rows, Poison> {
        let Self { watched, first, operations, numbers, new, old } = self;
        let side = |side: Side| {
            side.finish(&watched.shape).map_err(|(row, reason)| {
                let number = row.and_then(|row| numbers.get(row)).copied().unwrap_or(first);
                Poison { number, reason }
            })
        };
        let (new, new_known, _) = side(new)?;
        let (old, old_known, has_old) = side(old)?;
        Ok(Rows {
            shape: Arc::clone(&watched.shape),
            operations,
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
    builder: DocumentBuilder,
    /// Which of the builder's arrays each column is.
    order: Vec<usize>,
    /// For each row, which columns are known.
    known: Vec<Knows>,
}

impl Side {
    fn new(shape: &Shape, on_mismatch: OnMismatch) -> Self {
        let columns = shape.schema.fields();
        let mut fields: Vec<DocumentField> = Vec::with_capacity(columns.len());
        let mut order = Vec::with_capacity(columns.len());
        let with_document = columns.iter().any(|field| field.name() == DOCUMENT_COLUMN);
        let last = columns.len() - usize::from(with_document);
        for field in columns {
            match type_of_field(field) {
                _ if field.name() == DOCUMENT_COLUMN => order.push(last),
                Some(kind) => {
                    order.push(fields.len());
                    fields.push(DocumentField { name: field.name().clone(), kind });
                }
                // Discovery makes no other fields.
                None => order.push(usize::MAX),
            }
        }
        let conversion = Conversion { on_mismatch, texts: false };
        Self { builder: DocumentBuilder::new(&fields, with_document, conversion), order, known: Vec::new() }
    }

    fn add(&mut self, document: &dyn Fields, knows: Knows) -> Result<(), String> {
        self.builder.append(document).map_err(|mismatch| match mismatch.path.as_str() {
            "" => mismatch.rule.clone(),
            path => format!("a value of \"{path}\" {}", mismatch.rule),
        })?;
        self.known.push(knows);
        Ok(())
    }

    fn add_nothing(&mut self) {
        self.builder.append_null();
        self.known.push(Knows::Nothing);
    }

    /// The rows, which of their cells are known, and whether any is; or the row that is no row, where that can be told.
    fn finish(mut self, shape: &Shape) -> Result<(RecordBatch, Known, bool), (Option<usize>, String)> {
        let count = self.known.len();
        let built = self.builder.finish().map_err(|error| (None, error.to_string()))?;
        let mut arrays: Vec<ArrayRef> = Vec::with_capacity(self.order.len());
        for (place, field) in self.order.iter().zip(shape.schema.fields()) {
            let array = built.get(*place).ok_or_else(|| (None, format!("\"{}\" has no reader", field.name())))?;
            arrays.push(carried(array, field.data_type()).map_err(|error| (None, error.to_string()))?);
        }
        let masks: Vec<Vec<bool>> = (0..arrays.len()).map(|column| self.known_of(column)).collect();
        for key in &shape.key {
            let Some((array, mask)) = arrays.get(*key).zip(masks.get(*key)) else { continue };
            if let Some(row) = (0..count).find(|row| array.is_null(*row) && mask.get(*row).is_some_and(|is_known| *is_known)) {
                return Err((Some(row), "its key has another type than the collection's".to_owned()));
            }
        }
        let has_any = self.known.iter().any(|knows| !matches!(knows, Knows::Nothing));
        let masks = masks.into_iter().map(|mask| (!mask.iter().all(|is_known| *is_known)).then(|| BooleanBuffer::from(mask)));
        let known = Known(masks.collect());
        // What is held twice keeps its memory.
        drop(built);
        let batch = batch_of(&shape.schema, arrays, count);
        Ok((batch.map_err(|error| (None, error.to_string()))?, known, has_any))
    }

    /// For each row whether the column is known.
    fn known_of(&self, column: usize) -> Vec<bool> {
        let is_known = |knows: &Knows| match knows {
            Knows::Nothing => false,
            Knows::Everything => true,
            Knows::Some(columns) => columns.get(column).copied().unwrap_or(false),
        };
        self.known.iter().map(is_known).collect()
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray;
    use arrow::datatypes::Int64Type;
    use mongodb::bson::raw::RawDocumentBuf;
    use mongodb::bson::{Document, doc};

    use super::*;
    use crate::stores::document::DocumentType;
    use crate::stores::schema::{Collation, Column, ColumnStatistics, Generated, Table};

    fn id() -> TableId {
        TableId { namespace: "shop".to_owned(), name: "orders".to_owned() }
    }

    fn watched(has_images: bool) -> HashMap<TableId, Watched> {
        let column = |name: &str, kind: DocumentType| Column {
            field: kind.field(name),
            native_type: String::new(),
            default: None,
            generated: Generated::No,
            comment: None,
            collation: Collation::Bytes,
            statistics: ColumnStatistics::default(),
        };
        let columns = vec![column("_id", DocumentType::Int), column("a", DocumentType::Int), column("b", DocumentType::Text)];
        let table = Arc::new(Table::plain("shop", "orders", columns));
        let shape = Shape::of(&table, vec![0], vec![true, has_images, has_images]);
        HashMap::from([(id(), Watched::new(&Followed { table, shape }, OnMismatch::Error))])
    }

    fn event(kind: &str, key: i32, more: Document) -> Happened {
        let time = Timestamp { time: 1, increment: 1 };
        let mut document = doc! { "operationType": kind, "clusterTime": time, "ns": { "db": "shop", "coll": "orders" } };
        document.insert("documentKey", doc! { "_id": key });
        document.extend(more);
        let raw = RawDocumentBuf::from_bytes(document.to_vec().unwrap()).unwrap();
        Happened::Event(Box::new(Event::read(raw, false).unwrap()))
    }

    fn collected(happened: Vec<Happened>) -> Vec<Collected> {
        let time = Timestamp { time: 1, increment: 1 };
        vec![Collected { id: "1.1".to_owned(), time, committed_us: None, first: 0, happened }]
    }

    #[test]
    fn what_an_event_does_not_say_is_unknown() {
        let happened = vec![
            event("insert", 1, doc! { "fullDocument": { "_id": 1, "a": 5 } }),
            event("update", 1, doc! { "updateDescription": { "updatedFields": { "a": 6 }, "removedFields": [] } }),
            event("update", 1, doc! { "updateDescription": { "updatedFields": { "b.c": 6 }, "removedFields": ["a"] } }),
            event("delete", 1, doc! {}),
        ];
        let built = build(&collected(happened), &watched(false), &HashSet::new()).unwrap();
        let rows = built.rows.first().unwrap();
        assert_eq!(built.entries[0].len(), 4);
        let a = rows.new.column(1).as_primitive::<Int64Type>();
        assert_eq!((a.value(0), a.value(1), a.is_null(2)), (5, 6, true));
        let known: Vec<_> = (0..4).map(|row| [0, 1, 2].map(|column| rows.new_known.has(column, row))).collect();
        assert_eq!(known, [[true; 3], [true, true, false], [true, true, false], [false; 3]]);
        assert_eq!((rows.key(0), rows.key(2), rows.key(3)), (Some((false, 0)), Some((false, 2)), Some((true, 3))));
        use Operation::{Delete, Insert, Update};
        assert_eq!(rows.operations, [Insert, Update, Update, Delete]);
    }

    #[test]
    fn an_event_that_cannot_be_read_stops_its_collection_there() {
        let happened = || {
            vec![
                event("insert", 1, doc! { "fullDocument": { "_id": 1, "a": 5 } }),
                event("insert", 2, doc! { "fullDocument": { "_id": 2, "a": "x" } }),
                event("insert", 3, doc! { "fullDocument": { "_id": 3, "a": 7 } }),
            ]
        };
        let built = build(&collected(happened()), &watched(false), &HashSet::new()).unwrap();
        let [Entry::Row { .. }, Entry::Barrier(Barrier::Stopped { reason, .. })] = &built.entries[0][..] else {
            panic!("{:?}", built.entries)
        };
        assert!(reason.contains("\"a\""), "{reason}");
        assert_eq!((built.rows[0].new.num_rows(), built.stopped.contains(&id())), (1, true));
        // Nothing more is told of it.
        let built = build(&collected(happened()), &watched(false), &built.stopped).unwrap();
        assert!(built.rows.is_empty() && built.entries[0].is_empty());
    }

    #[test]
    fn a_text_that_is_no_utf_8_stops_its_collection_and_tells_no_value() {
        let Happened::Event(event) = event("insert", 1, doc! { "fullDocument": { "_id": 1, "b": "broken" } }) else {
            panic!("no event")
        };
        let mut bytes = event.raw().as_bytes().to_vec();
        let place = bytes.windows(6).position(|part| part == b"broken").unwrap();
        bytes[place] = 0xff;
        let broken = Event::read(RawDocumentBuf::from_bytes(bytes).unwrap(), false).unwrap();
        let built = build(&collected(vec![Happened::Event(Box::new(broken))]), &watched(false), &HashSet::new()).unwrap();
        let [Entry::Barrier(Barrier::Stopped { reason, .. })] = &built.entries[0][..] else { panic!("{:?}", built.entries) };
        assert!(!reason.contains("roken"), "{reason}");
    }

    #[test]
    fn whoever_was_promised_documents_begins_anew_without_one() {
        let update = doc! { "updateDescription": { "updatedFields": { "a": 6 }, "removedFields": [] } };
        let built = build(&collected(vec![event("update", 1, update)]), &watched(true), &HashSet::new()).unwrap();
        assert!(matches!(&built.entries[0][..], [Entry::Row { .. }, Entry::Barrier(Barrier::Reshaped { .. })]));
        let dropped = build(&collected(vec![event("drop", 1, doc! {})]), &watched(true), &HashSet::new()).unwrap();
        assert!(matches!(&dropped.entries[0][..], [Entry::Barrier(Barrier::Stopped { .. })]));
    }
}
