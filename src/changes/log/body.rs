//! Bodies of frames: transactions and their rows as bytes, and back.
//!
//! Rows are Arrow batches in their own form for files, without their schema, which stands in a frame of its own before them. Nothing
//! here trusts a length; what does not fit is [`Broken`], though the checksum of its frame has been looked at before.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, OnceLock};

use arrow::array::RecordBatch;
use arrow::buffer::{BooleanBuffer, Buffer};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::ipc::convert::try_schema_from_flatbuffer_bytes;
use arrow::ipc::reader::read_record_batch;
use arrow::ipc::writer::{DictionaryTracker, IpcDataGenerator, IpcWriteContext, IpcWriteOptions};
use arrow::ipc::{MetadataVersion, root_as_message};

use super::frame::{Input, put_bytes, put_count, put_u32, put_u64};
use crate::stores::StoreName;
use crate::stores::change::{Barrier, Entry, Group, Known, Operation, Resume, Rows, Shape, Transaction};
use crate::stores::position::Position;
use crate::stores::schema::TableId;

/// To which multiple batches are padded. Most groups are small, and a wider one would be most of them.
const ALIGNMENT: usize = 8;
/// In the place of a number of rows: the entry is a barrier.
const BARRIER: u32 = u32::MAX;

/// Bytes that are no body of ours.
#[derive(Debug)]
pub(super) struct Broken(String);

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<ArrowError> for Broken {
    fn from(error: ArrowError) -> Self {
        Self(error.to_string())
    }
}

fn short() -> Broken {
    Broken("it ends too early".to_owned())
}

/// What the log knows at its end.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Standing {
    /// The last transaction.
    pub(crate) seq: u64,
    /// Up to where the store was read.
    pub(crate) position: Option<Position>,
    /// How to go on from there.
    pub(crate) resume: Option<Resume>,
    /// What is followed, by its columns' digest.
    pub(crate) followed: BTreeMap<TableId, u64>,
    /// Whether a feed has ever begun here.
    pub(crate) has_begun: bool,
    /// Whether events for delivery that were there before the feed have been told of.
    pub(crate) is_filled: bool,
}

impl Standing {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        put_u64(out, self.seq);
        put_option(out, self.position.as_ref().map(|position| position.token.as_slice()));
        put_option(out, self.resume.as_ref().map(|resume| resume.0.as_slice()));
        out.push(self.has_begun.into());
        out.push(self.is_filled.into());
        put_count(out, self.followed.len());
        for (table, digest) in &self.followed {
            put_table(out, table);
            put_u64(out, *digest);
        }
    }

    pub(super) fn read(body: &[u8], store: &StoreName) -> Result<Self, Broken> {
        let mut input = Input::new(body);
        let read = |input: &mut Input<'_>| {
            let seq = input.u64()?;
            let position = option(input)?.map(|token| Position { store: store.clone(), token: token.to_vec() });
            let resume = option(input)?.map(|bytes| Resume(bytes.to_vec()));
            let (has_begun, is_filled) = (input.u8()? == 1, input.u8()? == 1);
            let count = input.length()?;
            let followed = (0..count).map(|_| Some((table(input)?, input.u64()?))).collect::<Option<BTreeMap<_, _>>>()?;
            Some(Self { seq, position, resume, followed, has_begun, is_filled })
        };
        read(&mut input).ok_or_else(short)
    }
}

/// A mark: a position, and how to go on from there.
pub(super) fn write_mark(position: &Position, resume: &Resume, out: &mut Vec<u8>) {
    put_bytes(out, &position.token);
    put_bytes(out, &resume.0);
}

pub(super) fn read_mark(body: &[u8], store: &StoreName) -> Result<(Position, Resume), Broken> {
    let mut input = Input::new(body);
    let (token, resume) = input.bytes().zip(input.bytes()).ok_or_else(short)?;
    Ok((Position { store: store.clone(), token: token.to_vec() }, Resume(resume.to_vec())))
}

fn put_option(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    out.push(bytes.is_some().into());
    if let Some(bytes) = bytes {
        put_bytes(out, bytes);
    }
}

fn option<'a>(input: &mut Input<'a>) -> Option<Option<&'a [u8]>> {
    match input.u8()? {
        0 => Some(None),
        _ => Some(Some(input.bytes()?)),
    }
}

fn put_table(out: &mut Vec<u8>, table: &TableId) {
    put_bytes(out, table.namespace.as_bytes());
    put_bytes(out, table.name.as_bytes());
}

fn table(input: &mut Input<'_>) -> Option<TableId> {
    Some(TableId { namespace: input.text()?.to_owned(), name: input.text()?.to_owned() })
}

/// Writes the columns of a table.
pub(super) fn write_shape(number: u32, shape: &Shape, out: &mut Vec<u8>) {
    put_u32(out, number);
    put_table(out, &shape.id);
    put_u64(out, shape.digest);
    put_count(out, shape.key.len());
    shape.key.iter().for_each(|ordinal| put_count(out, *ordinal));
    put_count(out, shape.always_known.len());
    out.extend(shape.always_known.iter().map(|known| u8::from(*known)));
    let mut tracker = DictionaryTracker::new(false);
    let options = IpcWriteOptions::default();
    let schema = IpcDataGenerator::default().schema_to_bytes_with_dictionary_tracker(&shape.schema, &mut tracker, &options);
    put_bytes(out, &schema.ipc_message);
}

/// Reads what [`write_shape`] wrote: its number, and the columns.
pub(super) fn read_shape(body: &[u8]) -> Result<(u32, Shape), Broken> {
    let mut input = Input::new(body);
    let read = |input: &mut Input<'_>| {
        let (number, id, digest) = (input.u32()?, table(input)?, input.u64()?);
        let count = input.length()?;
        let key = (0..count).map(|_| usize::try_from(input.u32()?).ok()).collect::<Option<Vec<_>>>()?;
        let count = input.length()?;
        let always_known: Vec<bool> = input.take(count)?.iter().map(|byte| *byte == 1).collect();
        Some((number, id, digest, key, always_known))
    };
    let (number, id, digest, key, always_known) = read(&mut input).ok_or_else(short)?;
    let message = input.bytes().ok_or_else(short)?;
    let schema = try_schema_from_flatbuffer_bytes(message)?;
    let columns = schema.fields().len();
    if always_known.len() != columns || key.iter().any(|ordinal| *ordinal >= columns) {
        return Err(Broken("its columns do not fit together".to_owned()));
    }
    Ok((number, Shape { id, schema: Arc::new(schema), key, always_known, unseen: None, digest }))
}

/// Turns groups into bytes, and gives the shapes of a segment their numbers.
#[derive(Debug)]
pub(super) struct Encoder {
    shapes: HashMap<TableId, Vec<(Arc<Shape>, u32)>>,
    next: u32,
    context: IpcWriteContext,
    options: IpcWriteOptions,
}

impl Encoder {
    /// For a segment that has no shapes yet.
    pub(super) fn new() -> Self {
        // The alignment is one of those that there are.
        let options = IpcWriteOptions::try_new(ALIGNMENT, false, MetadataVersion::V5).unwrap_or_default();
        Self { shapes: HashMap::new(), next: 0, context: IpcWriteContext::default(), options }
    }

    /// The number that the next shape will have.
    pub(super) fn next(&self) -> u32 {
        self.next
    }

    /// Forgets the shapes from a number on, which are not in the file any more.
    pub(super) fn forget_from(&mut self, number: u32) {
        self.next = number;
        self.shapes.retain(|_, shapes| {
            shapes.retain(|(_, known)| *known < number);
            !shapes.is_empty()
        });
    }

    fn number(&self, shape: &Arc<Shape>) -> Option<u32> {
        let known = self.shapes.get(&shape.id)?;
        let is_same = |known: &Arc<Shape>| Arc::ptr_eq(known, shape) || known == shape;
        known.iter().rev().find(|(known, _)| is_same(known)).map(|(_, number)| *number)
    }

    /// The shapes of a group that have no number yet; they have one afterwards.
    pub(super) fn new_shapes(&mut self, group: &Group) -> Vec<(u32, Arc<Shape>)> {
        let mut new = Vec::new();
        for rows in &group.rows {
            if self.number(&rows.shape).is_none() {
                let (shape, number) = (Arc::clone(&rows.shape), self.next);
                self.next += 1;
                self.shapes.entry(shape.id.clone()).or_default().push((Arc::clone(&shape), number));
                new.push((number, shape));
            }
        }
        new
    }

    /// Appends a group whose shapes have numbers. Batches are padded as the body begins at `out`'s length now.
    pub(super) fn group(&mut self, group: &Group, out: &mut Vec<u8>) -> Result<(), Broken> {
        let start = out.len();
        put_bytes(out, group.identity.as_bytes());
        put_bytes(out, &group.resume.0);
        put_u64(out, group.received_ms);
        put_count(out, group.transactions.len());
        group.transactions.iter().for_each(|transaction| put_transaction(out, transaction));
        put_count(out, group.rows.len());
        for rows in &group.rows {
            let number = self.number(&rows.shape).ok_or_else(|| Broken("a table has no columns".to_owned()))?;
            put_u32(out, number);
            put_count(out, rows.operations.len());
            out.extend(rows.operations.iter().map(|operation| operation_byte(*operation)));
            put_known(out, &rows.new_known, rows.operations.len());
            self.batch(&rows.new, out, start)?;
            out.push(rows.old.is_some().into());
            if let Some(old) = &rows.old {
                put_known(out, &rows.old_known, rows.operations.len());
                self.batch(old, out, start)?;
            }
        }
        Ok(())
    }

    fn batch(&mut self, batch: &RecordBatch, out: &mut Vec<u8>, start: usize) -> Result<(), Broken> {
        // None of our carriers is a dictionary.
        let mut tracker = DictionaryTracker::new(false);
        let (_, encoded) = IpcDataGenerator::default().encode(batch, &mut tracker, &self.options, &mut self.context)?;
        put_bytes(out, &encoded.ipc_message);
        put_count(out, encoded.arrow_data.len());
        out.resize(out.len() + padding(out.len() - start), 0);
        out.extend_from_slice(&encoded.arrow_data);
        Ok(())
    }
}

/// How many bytes are missing to the next multiple.
fn padding(length: usize) -> usize {
    length.next_multiple_of(ALIGNMENT) - length
}

fn put_transaction(out: &mut Vec<u8>, transaction: &Transaction) {
    put_bytes(out, transaction.id.as_bytes());
    put_bytes(out, &transaction.position.token);
    put_option(out, transaction.origin.as_ref().map(String::as_bytes));
    out.push(transaction.committed_us.is_some().into());
    out.extend_from_slice(&transaction.committed_us.unwrap_or_default().to_le_bytes());
    put_u32(out, transaction.first);
    out.push(transaction.ends.into());
    put_count(out, transaction.entries.len());
    for entry in &transaction.entries {
        match entry {
            Entry::Row { rows, row } => {
                put_u32(out, *rows);
                put_u32(out, *row);
            }
            Entry::Barrier(barrier) => {
                put_u32(out, BARRIER);
                put_barrier(out, barrier);
            }
        }
    }
}

fn read_transaction(input: &mut Input<'_>, store: &StoreName) -> Option<Transaction> {
    let id = input.text()?.to_owned();
    let position = Position { store: store.clone(), token: input.bytes()?.to_vec() };
    let origin = match option(input)? {
        Some(bytes) => Some(std::str::from_utf8(bytes).ok()?.to_owned()),
        None => None,
    };
    let is_timed = input.u8()? == 1;
    let committed_us = Some(input.i64()?).filter(|_| is_timed);
    let (first, ends, count) = (input.u32()?, input.u8()? == 1, input.length()?);
    let mut entries = Vec::with_capacity(count);
    for _ in 0..count {
        entries.push(match input.u32()? {
            BARRIER => Entry::Barrier(read_barrier(input)?),
            rows => Entry::Row { rows, row: input.u32()? },
        });
    }
    Some(Transaction { id, position, origin, committed_us, first, entries, ends })
}

fn put_barrier(out: &mut Vec<u8>, barrier: &Barrier) {
    let (kind, table, reason) = match barrier {
        Barrier::Truncated { table } => (1, Some(table), ""),
        Barrier::Reshaped { table, reason } => (2, Some(table), reason.as_str()),
        Barrier::Stopped { table, reason } => (3, Some(table), reason.as_str()),
        Barrier::Gap { reason } => (4, None, reason.as_str()),
    };
    out.push(kind);
    if let Some(table) = table {
        put_table(out, table);
    }
    put_bytes(out, reason.as_bytes());
}

fn read_barrier(input: &mut Input<'_>) -> Option<Barrier> {
    let kind = input.u8()?;
    let table = if kind == 4 { None } else { Some(table(input)?) };
    let reason = input.text()?.to_owned();
    match (kind, table) {
        (1, Some(table)) => Some(Barrier::Truncated { table }),
        (2, Some(table)) => Some(Barrier::Reshaped { table, reason }),
        (3, Some(table)) => Some(Barrier::Stopped { table, reason }),
        (4, None) => Some(Barrier::Gap { reason }),
        _ => None,
    }
}

fn operation_byte(operation: Operation) -> u8 {
    match operation {
        Operation::Insert => 1,
        Operation::Update => 2,
        Operation::Delete => 3,
        Operation::Upsert => 4,
        Operation::Read => 5,
    }
}

fn operation(byte: u8) -> Option<Operation> {
    let all = [Operation::Insert, Operation::Update, Operation::Delete, Operation::Upsert, Operation::Read];
    all.into_iter().find(|known| operation_byte(*known) == byte)
}

fn put_known(out: &mut Vec<u8>, known: &Known, rows: usize) {
    put_count(out, known.0.len());
    for mask in &known.0 {
        out.push(mask.is_some().into());
        if let Some(mask) = mask {
            let mut bits = vec![0_u8; rows.div_ceil(8)];
            for (row, _) in mask.iter().take(rows).enumerate().filter(|(_, known)| *known) {
                if let Some(byte) = bits.get_mut(row / 8) {
                    *byte |= 1 << (row % 8);
                }
            }
            out.extend_from_slice(&bits);
        }
    }
}

fn read_known(input: &mut Input<'_>, rows: usize) -> Option<Known> {
    let count = input.length()?;
    let mut masks = Vec::with_capacity(count);
    for _ in 0..count {
        masks.push(match input.u8()? {
            0 => None,
            _ => Some(BooleanBuffer::new(Buffer::from(input.take(rows.div_ceil(8))?.to_vec()), 0, rows)),
        });
    }
    Some(Known(masks))
}

/// What stands before the transactions of a group.
#[derive(Debug)]
pub(super) struct Opening<'a> {
    identity: &'a str,
    pub(super) resume: Resume,
    received_ms: u64,
    pub(super) transactions: Vec<Transaction>,
}

/// Reads a group up to its rows.
pub(super) fn read_opening<'a>(input: &mut Input<'a>, store: &StoreName) -> Result<Opening<'a>, Broken> {
    let read = |input: &mut Input<'a>| {
        let (identity, resume, received_ms) = (input.text()?, Resume(input.bytes()?.to_vec()), input.u64()?);
        let count = input.length()?;
        let transactions = (0..count).map(|_| read_transaction(input, store)).collect::<Option<Vec<_>>>()?;
        Some(Opening { identity, resume, received_ms, transactions })
    };
    read(input).ok_or_else(short)
}

/// Reads a group. Its batches share the memory of `body`.
pub(super) fn read_group(body: &Buffer, shapes: &HashMap<u32, Arc<Shape>>, store: &StoreName) -> Result<Group, Broken> {
    let mut input = Input::new(body.as_slice());
    let Opening { identity, resume, received_ms, transactions } = read_opening(&mut input, store)?;
    let count = input.length().ok_or_else(short)?;
    let mut rows = Vec::with_capacity(count);
    for _ in 0..count {
        rows.push(read_rows(&mut input, body, shapes)?);
    }
    let names_rows = |entry: &Entry| match entry {
        Entry::Row { rows: of, row } => {
            let of = usize::try_from(*of).ok().and_then(|of| rows.get(of));
            of.is_some_and(|of| usize::try_from(*row).is_ok_and(|row| row < of.operations.len()))
        }
        Entry::Barrier(_) => true,
    };
    if !input.is_at_end() || !transactions.iter().flat_map(|transaction| &transaction.entries).all(names_rows) {
        return Err(Broken("its parts do not fit together".to_owned()));
    }
    Ok(Group { store: store.clone(), identity: identity.into(), transactions, rows, resume, received_ms })
}

fn read_rows(input: &mut Input<'_>, body: &Buffer, shapes: &HashMap<u32, Arc<Shape>>) -> Result<Rows, Broken> {
    let number = input.u32().ok_or_else(short)?;
    let shape = shapes.get(&number).ok_or_else(|| Broken(format!("there are no columns {number}")))?;
    let columns = shape.schema.fields().len();
    let count = input.length().ok_or_else(short)?;
    let operations: Option<Vec<Operation>> = input.take(count).ok_or_else(short)?.iter().map(|byte| operation(*byte)).collect();
    let operations = operations.ok_or_else(|| Broken("it has an unknown operation".to_owned()))?;
    let side = |input: &mut Input<'_>| {
        let known = read_known(input, count).ok_or_else(short)?;
        let batch = read_batch(input, body, &shape.schema)?;
        if known.0.len() != columns || batch.num_rows() != count {
            return Err(Broken("its rows do not fit together".to_owned()));
        }
        Ok((batch, known))
    };
    let (new, new_known) = side(input)?;
    let has_old = input.u8().ok_or_else(short)? == 1;
    let (old, old_known) = if has_old {
        let (old, known) = side(input)?;
        (Some(old), known)
    } else {
        (None, Known::none(columns, count))
    };
    let shape = Arc::clone(shape);
    Ok(Rows { shape, operations, new, old, new_known, old_known, payloads: OnceLock::new() })
}

fn read_batch(input: &mut Input<'_>, body: &Buffer, schema: &SchemaRef) -> Result<RecordBatch, Broken> {
    let message = input.bytes().ok_or_else(short)?;
    let length = usize::try_from(input.u32().ok_or_else(short)?).map_err(|_narrow| short())?;
    input.take(padding(input.at())).ok_or_else(short)?;
    let start = input.at();
    input.take(length).ok_or_else(short)?;
    let message = root_as_message(message).map_err(|error| Broken(error.to_string()))?;
    let batch = message.header_as_record_batch().ok_or_else(|| Broken("a batch is none".to_owned()))?;
    let data = body.slice_with_length(start, length);
    Ok(read_record_batch(&data, batch, Arc::clone(schema), &HashMap::new(), None, &message.version())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::changes::fakes::{group_of, shape_of};

    fn store() -> StoreName {
        StoreName::new("shop")
    }

    fn encoded(group: &Group) -> (Vec<u8>, HashMap<u32, Arc<Shape>>) {
        let mut encoder = Encoder::new();
        let mut shapes = HashMap::new();
        for (number, shape) in encoder.new_shapes(group) {
            let mut out = Vec::new();
            write_shape(number, &shape, &mut out);
            let (again, read) = read_shape(&out).unwrap();
            assert_eq!((again, &read), (number, shape.as_ref()));
            shapes.insert(number, Arc::new(read));
        }
        assert!(encoder.new_shapes(group).is_empty());
        let mut out = Vec::new();
        encoder.group(group, &mut out).unwrap();
        (out, shapes)
    }

    #[test]
    fn groups_are_read_as_they_were_written() {
        let group = group_of(&store(), &[(3, &[("a", 1), ("b", 2)]), (4, &[("c", 3)])]);
        let (bytes, shapes) = encoded(&group);
        let read = read_group(&Buffer::from(bytes), &shapes, &store()).unwrap();
        assert_eq!((&read.store, &read.identity, &read.resume), (&group.store, &group.identity, &group.resume));
        assert_eq!(read.received_ms, group.received_ms);
        assert_eq!(format!("{:?}", read.transactions), format!("{:?}", group.transactions));
        assert_eq!(read.rows.len(), group.rows.len());
        for (read, rows) in read.rows.iter().zip(&group.rows) {
            assert_eq!((&read.shape, &read.operations), (&rows.shape, &rows.operations));
            assert_eq!((&read.new, &read.old), (&rows.new, &rows.old));
            for row in 0..rows.operations.len() {
                for column in 0..2 {
                    assert_eq!(read.new_known.has(column, row), rows.new_known.has(column, row));
                    assert_eq!(read.old_known.has(column, row), rows.old_known.has(column, row));
                }
            }
        }
    }

    #[test]
    fn barriers_and_origins_are_kept() {
        let mut group = group_of(&store(), &[(3, &[])]);
        let table = TableId { namespace: "public".to_owned(), name: "orders".to_owned() };
        let reason = "it has another column".to_owned();
        group.transactions[0].origin = Some("west".to_owned());
        group.transactions[0].committed_us = None;
        group.transactions[0].entries = [
            Barrier::Truncated { table: table.clone() },
            Barrier::Reshaped { table: table.clone(), reason: reason.clone() },
            Barrier::Stopped { table, reason: reason.clone() },
            Barrier::Gap { reason },
        ]
        .into_iter()
        .map(Entry::Barrier)
        .collect();
        let (bytes, shapes) = encoded(&group);
        let read = read_group(&Buffer::from(bytes), &shapes, &store()).unwrap();
        assert_eq!(format!("{:?}", read.transactions), format!("{:?}", group.transactions));
    }

    #[test]
    fn what_is_cut_is_broken_and_no_panic() {
        let (bytes, shapes) = encoded(&group_of(&store(), &[(3, &[("a", 1)])]));
        for length in 0..bytes.len() {
            let cut = Buffer::from(bytes[..length].to_vec());
            assert!(read_group(&cut, &shapes, &store()).is_err(), "{length}");
        }
        assert!(read_group(&Buffer::from(bytes), &HashMap::new(), &store()).is_err());
        let mut shape = Vec::new();
        write_shape(7, &shape_of("orders"), &mut shape);
        for length in 0..shape.len() {
            assert!(read_shape(&shape[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn shapes_that_were_cut_off_have_no_number() {
        let mut encoder = Encoder::new();
        let (one, other) = (group_of(&store(), &[(1, &[("a", 1)])]), group_of(&store(), &[(1, &[("a", 1)])]));
        assert_eq!(encoder.new_shapes(&one).len(), 1);
        // The same columns in another place of memory.
        assert_eq!((encoder.new_shapes(&other).len(), encoder.next()), (0, 1));
        encoder.forget_from(0);
        assert_eq!((encoder.new_shapes(&other).len(), encoder.next()), (1, 1));
    }

    #[test]
    fn standings_and_marks_are_kept() {
        let position = Position { store: store(), token: vec![1, 2] };
        let table = TableId { namespace: "public".to_owned(), name: "orders".to_owned() };
        let full = Standing {
            seq: 9,
            position: Some(position.clone()),
            resume: Some(Resume(vec![3])),
            followed: BTreeMap::from([(table, 7)]),
            has_begun: true,
            is_filled: true,
        };
        for standing in [full, Standing::default()] {
            let mut out = Vec::new();
            standing.write(&mut out);
            assert_eq!(Standing::read(&out, &store()).unwrap(), standing);
            assert!(Standing::read(&out[..out.len() - 1], &store()).is_err());
        }
        let mut out = Vec::new();
        write_mark(&position, &Resume(vec![4]), &mut out);
        assert_eq!(read_mark(&out, &store()).unwrap(), (position, Resume(vec![4])));
        assert!(read_mark(&out[..4], &store()).is_err());
    }
}
