//! The unit of a change feed: whole transactions of one store, with their rows as Arrow batches, a batch for each table.
//!
//! A cell that a store did not send is unknown, which is not NULL; masks beside the batches tell the two apart. Knows no store: how
//! events come to be is in each kind's `changes`, what becomes of them in the room `changes`.

pub mod builder;

use std::sync::{Arc, OnceLock};

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow::error::ArrowError;

use super::commit::is_own_name;
use super::connector::StoreName;
use super::position::Position;
use super::relational::embedded;
use super::schema::{Column, Table, TableId};

/// Most bytes of [`Transaction::id`].
pub const ID_BYTES_MAX: usize = 200;
/// Most bytes of [`Resume`].
pub const RESUME_BYTES_MAX: usize = 64 << 10;
/// A decoder closes a group that has so many rows, also in the middle of a transaction.
pub const GROUP_ROWS_MAX: usize = 8_192;
/// A decoder closes a group that has about so many bytes, also in the middle of a transaction.
pub const GROUP_BYTES_MAX: usize = 4 << 20;

/// Types whose text is a name that only the catalogs of a database of PostgreSQL can turn back into a number, and two that are written as
/// no other array is.
const UNTOLD: [u32; 7] = [22, 24, 30, 2205, 2206, 4089, 4096];

/// Whether the text of a column's values can be read back from a log. A field of a document in a column is no column of its store.
pub fn can_be_told(column: &Column) -> bool {
    let pg_type = column.pg_type();
    let is_plain = embedded::source(&column.field).is_none();
    is_plain && ![Some(pg_type), pg_type.element()].iter().flatten().any(|each| UNTOLD.contains(&each.oid))
}

/// The columns of a table in events. It comes back from the log without the store, so it holds no [`Table`].
#[derive(Debug, PartialEq)]
pub struct Shape {
    /// The table in the store's own names.
    pub id: TableId,
    /// Its columns as in [`Table::schema`], with the marks of their Postgres types; any of them may be NULL, since any may be unknown.
    pub schema: SchemaRef,
    /// Ordinals of the key that events carry.
    pub key: Vec<usize>,
    /// For each column, whether the new row of every event has it.
    pub always_known: Vec<bool>,
    /// How rows of the table may change without an event, as a clause, where they may.
    pub unseen: Option<String>,
    /// Of the names, types and key: two shapes with the same one read alike, also in another process.
    pub digest: u64,
}

impl Shape {
    /// The shape of a table as it was discovered.
    pub fn of(table: &Table, key: Vec<usize>, always_known: Vec<bool>) -> Arc<Self> {
        Self::of_unseen(table, key, always_known, None)
    }

    /// The same, with how its rows may change without an event.
    pub fn of_unseen(table: &Table, key: Vec<usize>, always_known: Vec<bool>, unseen: Option<&str>) -> Arc<Self> {
        let fields: Vec<Field> = table.columns.iter().map(|column| column.field.clone().with_nullable(true)).collect();
        let mut digest = Digest::default();
        for part in [&table.id.namespace, &table.id.name] {
            digest.add(part.as_bytes());
        }
        for column in &table.columns {
            digest.add(column.name().as_bytes());
            digest.add(column.native_type.as_bytes());
            // What a store calls "decimal" or "array" may be read as several types.
            let read_as = (column.pg_type(), column.field.data_type());
            digest.add(format!("{read_as:?}").as_bytes());
        }
        for ordinal in &key {
            digest.add(&(*ordinal as u64).to_be_bytes());
        }
        // A table that comes to change so is another one for whoever keeps its rows.
        if let Some(unseen) = unseen {
            digest.add(unseen.as_bytes());
        }
        let (id, schema, unseen) = (table.id.clone(), Arc::new(Schema::new(fields)), unseen.map(str::to_owned));
        Arc::new(Self { id, schema, key, always_known, unseen, digest: digest.0 })
    }
}

/// FNV-1a of parts, each with its length, so that no two lists of parts run into one another. Not std's: that one may differ between
/// processes.
struct Digest(u64);

impl Default for Digest {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Digest {
    fn add(&mut self, part: &[u8]) {
        for byte in (part.len() as u64).to_be_bytes().iter().chain(part) {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

/// What happened to a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// A row appeared.
    Insert,
    /// A row changed.
    Update,
    /// A row went.
    Delete,
    /// Insert or update, the store does not say which (REPLACE of SQLite).
    Upsert,
    /// Read by a fill.
    Read,
}

impl Operation {
    /// The word that clients see.
    pub fn word(self) -> &'static str {
        match self {
            Self::Insert => "insert",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Upsert => "upsert",
            Self::Read => "read",
        }
    }
}

/// Changes of one table, one row each in `old` and `new`. A side that an event has not is all unknown, and NULL in the batch.
#[derive(Debug)]
pub struct Rows {
    /// What the columns are.
    pub shape: Arc<Shape>,
    /// What happened to each row.
    pub operations: Vec<Operation>,
    /// The rows after their changes.
    pub new: RecordBatch,
    /// The rows before them; `None` where nothing is known of any.
    pub old: Option<RecordBatch>,
    /// Which cells of `new` the store sent.
    pub new_known: Known,
    /// Which cells of `old` the store sent.
    pub old_known: Known,
    /// The rows as clients that listen are told of them, made once for all of them.
    pub payloads: OnceLock<Arc<[String]>>,
}

impl Rows {
    /// On which side the whole key of a row is to be found, and the row in it: `true` is the old one. The new one where it has it.
    pub fn key(&self, row: usize) -> Option<(bool, usize)> {
        let key = &self.shape.key;
        if key.is_empty() || row >= self.operations.len() {
            return None;
        }
        if self.new_known.has_all(key, row) {
            return Some((false, row));
        }
        (self.old.is_some() && self.old_known.has_all(key, row)).then_some((true, row))
    }

    /// Whether the change gives the row another key: both keys are known, and they differ.
    pub fn moves(&self, row: usize) -> bool {
        let Some(old) = &self.old else { return false };
        let key = &self.shape.key;
        if row >= self.operations.len() || !self.old_known.has_all(key, row) || !self.new_known.has_all(key, row) {
            return false;
        }
        key.iter().any(|column| {
            let (old, new) = (old.columns().get(*column), self.new.columns().get(*column));
            // By bits: a key of another sign of zero is taken for another key, which tells of it twice and not wrongly.
            old.zip(new).is_some_and(|(old, new)| old.slice(row, 1).as_ref() != new.slice(row, 1).as_ref())
        })
    }

    /// Whether a row is gone from a table of ours, which is nobody's event: what was handed over is taken out of its outbox.
    pub fn is_own_removal(&self, row: usize) -> bool {
        self.operations.get(row) == Some(&Operation::Delete) && is_own_name(&self.shape.id.name)
    }

    /// How much memory they take, with the payloads that have been made.
    pub fn bytes(&self) -> usize {
        let payloads = self.payloads.get().map_or(0, |texts| texts.iter().map(|text| text.len() + size_of::<String>()).sum());
        let batches = self.new.get_array_memory_size() + self.old.as_ref().map_or(0, RecordBatch::get_array_memory_size);
        batches + self.new_known.bytes() + self.old_known.bytes() + self.operations.len() + payloads
    }

    /// How large their values are, without what they are kept in.
    pub fn value_bytes(&self) -> usize {
        let columns = self.old.iter().chain([&self.new]).flat_map(RecordBatch::columns);
        columns.map(Array::get_buffer_memory_size).sum()
    }
}

/// A batch of events, of which no column keeps more memory than its values need: builders begin with room for a thousand of them, and
/// most transactions have a row or two.
///
/// # Errors
/// The columns are not those of the schema.
pub(super) fn batch_of(schema: &SchemaRef, mut columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch, ArrowError> {
    for column in &mut columns {
        column.shrink_to_fit();
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
}

/// Which cells the store sent: a mask for each column, `None` where it sent the column of every row. Unknown is not NULL.
#[derive(Debug, Clone, Default)]
pub struct Known(pub Vec<Option<BooleanBuffer>>);

impl Known {
    /// Every cell of so many columns.
    pub fn all(columns: usize) -> Self {
        Self(vec![None; columns])
    }

    /// No cell of so many columns and rows.
    pub fn none(columns: usize, rows: usize) -> Self {
        Self(vec![Some(BooleanBuffer::new_unset(rows)); columns])
    }

    /// Whether the store sent the cell.
    pub fn has(&self, column: usize, row: usize) -> bool {
        match self.0.get(column) {
            Some(Some(mask)) => row < mask.len() && mask.value(row),
            Some(None) => true,
            None => false,
        }
    }

    /// Whether it sent all these columns of the row.
    pub fn has_all(&self, columns: &[usize], row: usize) -> bool {
        columns.iter().all(|column| self.has(*column, row))
    }

    fn bytes(&self) -> usize {
        self.0.iter().flatten().map(|mask| mask.inner().capacity()).sum()
    }
}

/// Something that is no row, and that whoever keeps rows must know of, in its place among them.
#[derive(Debug, Clone, PartialEq)]
pub enum Barrier {
    /// All rows of the table went.
    Truncated {
        /// Which.
        table: TableId,
    },
    /// Its columns or key are others now, or it was loaded again: what was known of it does not follow.
    Reshaped {
        /// Which.
        table: TableId,
        /// Why, as a clause.
        reason: String,
    },
    /// It is read in its store only, from here.
    Stopped {
        /// Which.
        table: TableId,
        /// Why, as a clause.
        reason: String,
    },
    /// Something of the store's history is missing before this.
    Gap {
        /// What, as a clause.
        reason: String,
    },
}

impl Barrier {
    /// The table that it is about; `None` where it is about all of the store.
    pub fn table(&self) -> Option<&TableId> {
        match self {
            Self::Truncated { table } | Self::Reshaped { table, .. } | Self::Stopped { table, .. } => Some(table),
            Self::Gap { .. } => None,
        }
    }
}

/// One thing that a transaction did.
#[derive(Debug, Clone)]
pub enum Entry {
    /// A changed row.
    Row {
        /// Which of [`Group::rows`].
        rows: u32,
        /// Which row of it.
        row: u32,
    },
    /// Something else.
    Barrier(Barrier),
}

/// How the ids of transactions begin that are of a feed itself and of none of the store: they say of tables what the store does not, have
/// no rows that somebody has written, and are said in front of all that they are true of.
pub const OWN_ID: &str = "tributary:";

/// One transaction of the store, or a piece of one, in commit order among its neighbours.
#[derive(Debug, Clone)]
pub struct Transaction {
    /// The store's own id of it, at most [`ID_BYTES_MAX`] bytes.
    pub id: String,
    /// Where it ends in the store's history.
    pub position: Position,
    /// Who wrote it, when the store tells (replication origin, server id).
    pub origin: Option<String>,
    /// Microseconds since 1970-01-01 UTC by the store's clock, when it tells.
    pub committed_us: Option<i64>,
    /// Ordinal of its first entry here; more than 0 in later pieces.
    pub first: u32,
    /// What it did, in order.
    pub entries: Vec<Entry>,
    /// Whether it ends here. `false`: a piece, and the transaction goes on in the next group, which has nothing else in front; a whole
    /// transaction there says that it was taken back, and nothing of it is told.
    pub ends: bool,
}

/// One or more whole transactions of one store, or a piece of one that is too large for one group.
#[derive(Debug)]
pub struct Group {
    /// The store.
    pub store: StoreName,
    /// The identity of that store (system identifier, replica set id, …), so that a restored copy is noticed.
    pub identity: Arc<str>,
    /// In commit order.
    pub transactions: Vec<Transaction>,
    /// The rows that their entries name.
    pub rows: Vec<Rows>,
    /// Where to go on behind its last whole transaction.
    pub resume: Resume,
    /// When it was read: milliseconds since 1970-01-01 UTC by our clock.
    pub received_ms: u64,
}

impl Group {
    /// How much memory it takes, about.
    pub fn bytes(&self) -> usize {
        let entries: usize = self.transactions.iter().map(|each| each.entries.len() * size_of::<Entry>() + each.id.len()).sum();
        let transactions = self.transactions.len() * size_of::<Transaction>();
        self.rows.iter().map(Rows::bytes).sum::<usize>() + entries + transactions + self.resume.0.len()
    }
}

/// What a connector needs to go on: its own encoding, at most [`RESUME_BYTES_MAX`] bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Resume(pub Vec<u8>);

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, StringArray, StringBuilder};
    use arrow::datatypes::DataType;

    use super::*;
    use crate::pgtype::{PgField, PgType};
    use crate::stores::schema::{Collation, Column, ColumnStatistics, Generated};

    fn column(name: &str, pg_type: PgType, native_type: &str) -> Column {
        Column {
            field: Field::new(name, pg_type.carrier(), false).with_pg_type(pg_type),
            native_type: native_type.to_owned(),
            default: None,
            generated: Generated::No,
            comment: None,
            collation: Collation::Bytes,
            statistics: ColumnStatistics::default(),
        }
    }

    fn table(native_type: &str) -> Table {
        Table::plain("public", "t", vec![column("id", PgType::INT8, native_type), column("note", PgType::TEXT, "text")])
    }

    fn shape() -> Arc<Shape> {
        Shape::of(&table("bigint"), vec![0], vec![true, false])
    }

    fn batch(ids: &[Option<i64>], notes: &[Option<&str>]) -> RecordBatch {
        let ids: ArrayRef = Arc::new(Int64Array::from(ids.to_vec()));
        let notes: ArrayRef = Arc::new(StringArray::from(notes.to_vec()));
        RecordBatch::try_new(shape().schema.clone(), vec![ids, notes]).unwrap()
    }

    #[test]
    fn shapes_differ_by_names_types_and_key() {
        let shape = shape();
        assert!(shape.schema.fields().iter().all(|field| field.is_nullable()));
        assert_eq!(shape.schema.field(0).data_type(), &DataType::Int64);
        assert_eq!(shape.schema.field(0).pg_type(), PgType::INT8);
        assert_eq!(shape.digest, Shape::of(&table("bigint"), vec![0], vec![true, true]).digest);
        assert_ne!(shape.digest, Shape::of(&table("integer"), vec![0], vec![true, false]).digest);
        assert_ne!(shape.digest, Shape::of(&table("bigint"), vec![0, 1], vec![true, false]).digest);
        let mut read_otherwise = table("bigint");
        read_otherwise.columns[1].field = Field::new("note", PgType::VARCHAR.carrier(), false).with_pg_type(PgType::VARCHAR);
        assert_ne!(shape.digest, Shape::of(&read_otherwise, vec![0], vec![true, false]).digest);
        let mut other = table("bigint");
        other.id.name = "u".to_owned();
        assert_ne!(shape.digest, Shape::of(&other, vec![0], vec![true, false]).digest);
    }

    #[test]
    fn unknown_cells_are_told_from_null() {
        let known = Known(vec![None, Some(BooleanBuffer::from(vec![true, false]))]);
        assert!(known.has(0, 1) && known.has(1, 0) && !known.has(1, 1));
        // Beyond the columns and rows nothing is known.
        assert!(!known.has(2, 0) && !known.has(1, 2));
        assert!(known.has_all(&[0, 1], 0) && !known.has_all(&[0, 1], 1) && known.has_all(&[], 5));
        assert!(Known::all(2).has_all(&[0, 1], 7) && !Known::none(2, 3).has(0, 0));
    }

    #[test]
    fn keys_are_found_on_the_side_that_has_them() {
        // An insert, a delete, an update that keeps its key, one that moves, and one whose old key was not sent.
        let new = batch(&[Some(1), None, Some(3), Some(5), Some(6)], &[Some("a"), None, None, None, None]);
        let old = batch(&[None, Some(2), Some(3), Some(4), None], &[None; 5]);
        let rows = Rows {
            shape: shape(),
            operations: vec![Operation::Insert, Operation::Delete, Operation::Update, Operation::Update, Operation::Update],
            new,
            old: Some(old),
            new_known: Known(vec![Some(BooleanBuffer::from(vec![true, false, true, true, true])), None]),
            old_known: Known(vec![Some(BooleanBuffer::from(vec![false, true, true, true, false])), None]),
            payloads: OnceLock::new(),
        };
        let keys: Vec<_> = (0..6).map(|row| rows.key(row)).collect();
        assert_eq!(keys, [Some((false, 0)), Some((true, 1)), Some((false, 2)), Some((false, 3)), Some((false, 4)), None]);
        let moves: Vec<_> = (0..6).map(|row| rows.moves(row)).collect();
        assert_eq!(moves, [false, false, false, true, false, false]);
        let before = rows.bytes();
        rows.payloads.set(Arc::from(vec!["x".repeat(100)])).unwrap();
        assert!(rows.bytes() >= before + 100);
    }

    #[test]
    fn batches_keep_no_more_than_their_values() {
        let mut notes = StringBuilder::with_capacity(1_024, 64 << 10);
        notes.append_value("x");
        let notes: ArrayRef = Arc::new(notes.finish());
        let ids: ArrayRef = Arc::new(Int64Array::from(vec![7; 1_024]).slice(0, 1));
        assert!(notes.get_buffer_memory_size() > 64 << 10 && ids.get_buffer_memory_size() >= 8 << 10);
        let mut rows = Rows {
            shape: shape(),
            operations: vec![Operation::Insert],
            new: batch_of(&shape().schema, vec![ids, notes], 1).unwrap(),
            old: None,
            new_known: Known::all(2),
            old_known: Known::none(2, 1),
            payloads: OnceLock::new(),
        };
        assert!(rows.value_bytes() < 64 && rows.bytes() < 1 << 10, "{} {}", rows.value_bytes(), rows.bytes());
        rows.new = batch(&[Some(7)], &[Some("x")]);
        let before = rows.value_bytes();
        rows.old = Some(batch(&[Some(7)], &[Some("y")]));
        assert_eq!(rows.value_bytes(), 2 * before);
        assert!(batch_of(&shape().schema, Vec::new(), 1).is_err());
    }

    #[test]
    fn a_table_without_a_key_has_none_in_events() {
        let rows = Rows {
            shape: Shape::of(&table("bigint"), Vec::new(), vec![true, true]),
            operations: vec![Operation::Insert],
            new: batch(&[Some(1)], &[None]),
            old: None,
            new_known: Known::all(2),
            old_known: Known::none(2, 1),
            payloads: OnceLock::new(),
        };
        assert_eq!((rows.key(0), rows.moves(0)), (None, false));
    }

    #[test]
    fn what_is_taken_out_of_a_table_of_ours_is_nobodys_event() {
        let is_own = |name: &str| {
            let mut table = table("bigint");
            table.id.name = name.to_owned();
            let rows = Rows {
                shape: Shape::of(&table, vec![0], vec![true, true]),
                operations: vec![Operation::Insert, Operation::Delete],
                new: batch(&[Some(1), None], &[None, None]),
                old: Some(batch(&[None, Some(1)], &[None, None])),
                new_known: Known::all(2),
                old_known: Known::all(2),
                payloads: OnceLock::new(),
            };
            [0, 1, 2].map(|row| rows.is_own_removal(row))
        };
        assert_eq!(is_own("tributary_outbox"), [false, true, false]);
        assert_eq!(is_own("orders"), [false; 3]);
    }
}
