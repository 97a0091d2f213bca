//! What an owner is asked to change: rows to be added, changed or removed, or a condition and new values that it evaluates itself.
//! Events of what has been changed are in [`super::change`].
//!
//! Two forms. The **whole** form ([`Update`], [`Delete`]) names the rows by a relation that the store evaluates over the table
//! itself; every other edit carries **rows** that the engine has computed, converted to the types of their columns.
//!
//! A value may be that of a field inside of a document: then a [`Path`] stands beside the ordinal of its column, and the rest of the
//! document stays as it is.
//!
//! **Invariants:** no edit names an SQL text; a column that is not in an [`Insert`] is absent, which is not NULL; the rows of one edit
//! are written or not written together; no two values of an edit are for one column, or for fields of which one lies inside of the other.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field};

use super::connector::StoreName;
use super::fragment::{Relation, Tables};
use super::schema::{Column, Table};
use super::value::Value;

/// The names that lead from a column down to a field inside of it; none for the column as a whole.
pub type Path = Vec<String>;

/// The path at a place. Behind the last one all are those of whole columns.
pub fn path_at(paths: &[Path], place: usize) -> &[String] {
    paths.get(place).map(Vec::as_slice).unwrap_or_default()
}

/// The column with an ordinal, or the field that a path leads to inside of it, as a column of its own without a default: its name is the
/// path with dots. `None` where there is none.
pub fn part<'t>(table: &'t Table, ordinal: usize, path: &[String]) -> Option<Cow<'t, Column>> {
    let column = table.columns.get(ordinal)?;
    if path.is_empty() {
        return Some(Cow::Borrowed(column));
    }
    let mut field = &column.field;
    let mut name = column.name().to_owned();
    for step in path {
        let DataType::Struct(fields) = field.data_type() else { return None };
        field = fields.iter().find(|inner| inner.name() == step)?;
        name = format!("{name}.{step}");
    }
    let field = field.clone().with_name(name).with_nullable(true);
    Some(Cow::Owned(Column { field, default: None, ..column.clone() }))
}

/// One change of one table. Rows have, column by column, the form that [`field`] gives.
#[derive(Debug, Clone)]
pub enum Edit {
    /// New rows.
    Insert(Insert),
    /// New values for the rows of a relation.
    Update(Update),
    /// The rows of a relation go.
    Delete(Delete),
    /// New values for rows that are named by a key.
    UpdateRows(UpdateRows),
    /// Rows that are named by a key go.
    DeleteRows(DeleteRows),
}

/// New rows. A column that is not among `columns` gets its default.
#[derive(Debug, Clone)]
pub struct Insert {
    /// The store that owns the table.
    pub store: StoreName,
    /// The table.
    pub table: Arc<Table>,
    /// Ordinals of the columns that have values, in the order of the rows; none for `DEFAULT VALUES`. One of which fields have values is
    /// there as often as it has such fields.
    pub columns: Vec<usize>,
    /// The field inside of each of them ([`path_at`]); of such columns only these fields come to be.
    pub paths: Vec<Path>,
    /// The rows, of which there is at least one.
    pub rows: RecordBatch,
    /// What becomes of rows that meet an existing one.
    pub conflict: Option<Conflict>,
    /// Ordinals of the columns of new or updated rows that are given back.
    pub returning: Vec<usize>,
}

/// `ON CONFLICT`. A row that two rows of one edit would update is 21000.
#[derive(Debug, Clone, PartialEq)]
pub struct Conflict {
    /// Which keys are looked at.
    pub target: ConflictTarget,
    /// What is done with the existing row.
    pub action: ConflictAction,
}

/// The keys whose violation is a conflict; that of another one is 23505.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConflictTarget {
    /// All of them; only with [`ConflictAction::Nothing`].
    Any,
    /// The key over exactly these columns, by ordinal and in any order; 42P10 when there is none.
    Columns(Vec<usize>),
}

/// What is done with a row that exists.
#[derive(Debug, Clone, PartialEq)]
pub enum ConflictAction {
    /// The new row is left out, and neither counted nor given back.
    Nothing,
    /// Columns of the existing row, by ordinal, get new values.
    Update(Vec<(usize, Proposed)>),
}

/// A new value of an existing row.
#[derive(Debug, Clone, PartialEq)]
pub enum Proposed {
    /// That of the row to be inserted: `excluded.column`, by the ordinal in the table.
    Excluded(usize),
    /// A constant of the column's type; `None` is NULL.
    Constant(Option<Value>),
}

/// New values for the rows of a relation, which the store evaluates: `UPDATE … SET … WHERE …`.
#[derive(Debug, Clone)]
pub struct Update {
    /// The store that owns the table.
    pub store: StoreName,
    /// The table.
    pub table: Arc<Table>,
    /// The new values, one column for each of `set`, over the rows of the table that are meant. It reads no other table.
    pub relation: Relation,
    /// The tables that the relation reads.
    pub tables: Tables,
    /// Ordinals of the columns that are set. Values are computed from the row as it was before.
    pub set: Vec<usize>,
    /// The field inside of each of them ([`path_at`]).
    pub paths: Vec<Path>,
    /// Ordinals of the columns of changed rows that are given back, as they are afterwards.
    pub returning: Vec<usize>,
}

/// The rows of a relation go, which the store evaluates: `DELETE … WHERE …`.
#[derive(Debug, Clone)]
pub struct Delete {
    /// The store that owns the table.
    pub store: StoreName,
    /// The table.
    pub table: Arc<Table>,
    /// The rows that are meant. Its columns do not count; it reads no other table.
    pub relation: Relation,
    /// The tables that the relation reads.
    pub tables: Tables,
    /// Ordinals of the columns of removed rows that are given back.
    pub returning: Vec<usize>,
}

/// New values for rows that are named by a key, which occurs once in an edit. A key without a row is passed over.
#[derive(Debug, Clone)]
pub struct UpdateRows {
    /// The store that owns the table.
    pub store: StoreName,
    /// The table.
    pub table: Arc<Table>,
    /// Ordinals of the key's columns.
    pub key: Vec<usize>,
    /// Ordinals of the columns that are set; a column of the key may be among them.
    pub set: Vec<usize>,
    /// The field inside of each of them ([`path_at`]).
    pub paths: Vec<Path>,
    /// The rows: first the key as it is now, then the new values.
    pub rows: RecordBatch,
    /// Ordinals of the columns of changed rows that are given back, as they are afterwards and in the order of `rows`.
    pub returning: Vec<usize>,
}

/// Rows that are named by a key go. A key without a row is passed over.
#[derive(Debug, Clone)]
pub struct DeleteRows {
    /// The store that owns the table.
    pub store: StoreName,
    /// The table.
    pub table: Arc<Table>,
    /// Ordinals of the key's columns.
    pub key: Vec<usize>,
    /// The keys.
    pub rows: RecordBatch,
    /// Ordinals of the columns of removed rows that are given back.
    pub returning: Vec<usize>,
}

/// What an edit has done.
#[derive(Debug, Clone, Default)]
pub struct Edited {
    /// How many rows were added, changed or removed, as PostgreSQL counts them: rows that an update leaves as they were count.
    pub rows: u64,
    /// The rows that were asked for, in the schema of [`Table::project`]; `None` when none were.
    pub returned: Option<RecordBatch>,
}

impl Edit {
    /// The store that owns the table.
    pub fn store(&self) -> &StoreName {
        match self {
            Self::Insert(Insert { store, .. })
            | Self::Update(Update { store, .. })
            | Self::Delete(Delete { store, .. })
            | Self::UpdateRows(UpdateRows { store, .. })
            | Self::DeleteRows(DeleteRows { store, .. }) => store,
        }
    }

    /// The table that is changed.
    pub fn table(&self) -> &Arc<Table> {
        match self {
            Self::Insert(Insert { table, .. })
            | Self::Update(Update { table, .. })
            | Self::Delete(Delete { table, .. })
            | Self::UpdateRows(UpdateRows { table, .. })
            | Self::DeleteRows(DeleteRows { table, .. }) => table,
        }
    }

    /// `INSERT`, `UPDATE` or `DELETE`.
    pub fn verb(&self) -> &'static str {
        match self {
            Self::Insert(_) => "INSERT",
            Self::Update(_) | Self::UpdateRows(_) => "UPDATE",
            Self::Delete(_) | Self::DeleteRows(_) => "DELETE",
        }
    }

    /// Whether values are those of fields inside of columns.
    pub fn names_fields(&self) -> bool {
        match self {
            Self::Insert(Insert { paths, .. })
            | Self::Update(Update { paths, .. })
            | Self::UpdateRows(UpdateRows { paths, .. }) => paths.iter().any(|path| !path.is_empty()),
            Self::Delete(_) | Self::DeleteRows(_) => false,
        }
    }

    /// Ordinals of the columns that are given back.
    pub fn returning(&self) -> &[usize] {
        match self {
            Self::Insert(Insert { returning, .. })
            | Self::Update(Update { returning, .. })
            | Self::Delete(Delete { returning, .. })
            | Self::UpdateRows(UpdateRows { returning, .. })
            | Self::DeleteRows(DeleteRows { returning, .. }) => returning,
        }
    }

    /// The rows that it carries; `None` for a whole form.
    pub fn rows(&self) -> Option<&RecordBatch> {
        match self {
            Self::Insert(Insert { rows, .. })
            | Self::UpdateRows(UpdateRows { rows, .. })
            | Self::DeleteRows(DeleteRows { rows, .. }) => Some(rows),
            Self::Update(_) | Self::Delete(_) => None,
        }
    }

    /// The same edit of other rows. A whole form carries none, and stays as it is.
    #[must_use]
    pub fn with_rows(&self, batch: RecordBatch) -> Self {
        let mut edit = self.clone();
        match &mut edit {
            Self::Insert(Insert { rows, .. })
            | Self::UpdateRows(UpdateRows { rows, .. })
            | Self::DeleteRows(DeleteRows { rows, .. }) => *rows = batch,
            Self::Update(_) | Self::Delete(_) => {}
        }
        edit
    }
}

/// The form in which an edit carries values of a column: the carrier of its type, which for nested documents is their JSON text.
/// It may be NULL, because only the store knows what becomes of a NULL that its column forbids.
pub fn field(column: &Column) -> Field {
    let carrier = column.pg_type().carrier();
    let is_carried = *column.field.data_type() == carrier;
    let field = column.field.clone().with_nullable(true);
    if is_carried { field } else { field.with_data_type(carrier) }
}

/// The edit in pieces of at most `rows` rows, in the same order. A whole form, and an edit without rows, is one piece.
///
/// Pieces are statements of their own: who cuts an [`Insert`] that updates existing rows must have seen that no two of its rows meet
/// in one key, which a store notices inside one piece only.
pub fn slice(edit: &Edit, rows: usize) -> Vec<Edit> {
    let each = rows.max(1);
    match edit.rows() {
        Some(batch) if batch.num_rows() > each => {
            let count = batch.num_rows();
            let piece = |start: usize| edit.with_rows(batch.slice(start, each.min(count - start)));
            (0..count).step_by(each).map(piece).collect()
        }
        _ => vec![edit.clone()],
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, AsArray, Int64Array, RecordBatchOptions};
    use arrow::datatypes::{DataType, Fields, Int64Type, Schema};

    use super::super::connector::Scan;
    use super::super::schema::{Collation, ColumnStatistics, Generated};
    use super::*;
    use crate::pgtype::{PgField, PgType};

    fn column(field: Field) -> Column {
        Column {
            field,
            native_type: String::new(),
            default: None,
            generated: Generated::No,
            comment: None,
            collation: Collation::Bytes,
            statistics: ColumnStatistics::default(),
        }
    }

    fn table() -> Arc<Table> {
        let columns = vec![column(Field::new("id", DataType::Int64, false).with_pg_type(PgType::INT8))];
        Arc::new(Table::plain("public", "t", columns))
    }

    fn keys(count: i64) -> RecordBatch {
        let schema = Arc::new(Schema::new(vec![field(&table().columns[0])]));
        RecordBatch::try_new(schema, vec![Arc::new(Int64Array::from_iter_values(0..count))]).unwrap()
    }

    fn insert(columns: Vec<usize>, rows: RecordBatch) -> Edit {
        let (store, conflict) = (StoreName::new("shop"), None);
        Edit::Insert(Insert { store, table: table(), columns, paths: Vec::new(), rows, conflict, returning: vec![0] })
    }

    #[test]
    fn pieces_hold_every_row_once_and_in_order() {
        for (count, each, expected) in
            [(7, 3, vec![3, 3, 1]), (6, 3, vec![3, 3]), (3, 3, vec![3]), (2, 0, vec![1, 1]), (0, 3, vec![0])]
        {
            let pieces = slice(&insert(vec![0], keys(count)), each);
            let batches: Vec<&RecordBatch> = pieces.iter().map(|piece| piece.rows().unwrap()).collect();
            assert_eq!(batches.iter().map(|batch| batch.num_rows()).collect::<Vec<_>>(), expected, "{count} by {each}");
            let ids = batches.iter().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec());
            assert_eq!(ids.collect::<Vec<_>>(), (0..count).collect::<Vec<_>>());
            assert!(pieces.iter().all(|piece| piece.returning() == [0] && piece.store().as_str() == "shop"));
        }
    }

    #[test]
    fn rows_without_columns_are_cut_too_and_whole_forms_are_not() {
        let options = RecordBatchOptions::new().with_row_count(Some(5));
        let rows = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &options).unwrap();
        let counts: Vec<usize> = slice(&insert(Vec::new(), rows), 2).iter().map(|piece| piece.rows().unwrap().num_rows()).collect();
        assert_eq!(counts, [2, 2, 1]);
        let scan =
            Scan { store: StoreName::new("shop"), table: table().id.clone(), columns: Vec::new(), filter: Vec::new(), limit: None };
        let relation = Relation::Table(scan);
        let delete =
            Delete { store: StoreName::new("shop"), table: table(), relation, tables: Tables::new(), returning: Vec::new() };
        let pieces = slice(&Edit::Delete(delete), 1);
        assert_eq!((pieces.len(), pieces[0].verb(), pieces[0].rows().is_none()), (1, "DELETE", true));
    }

    #[test]
    fn a_field_is_a_column_of_its_own() {
        let text = Field::new("zip", DataType::Utf8, false).with_pg_type(PgType::TEXT);
        let inner = Field::new("address", DataType::Struct(Fields::from(vec![text])), true).with_pg_type(PgType::JSON);
        let outer = Field::new("person", DataType::Struct(Fields::from(vec![inner])), true).with_pg_type(PgType::JSON);
        let person = Column { default: Some("{}".to_owned()), ..column(outer) };
        let table = Table::plain("public", "t", vec![person.clone()]);
        let found = |path: &[&str]| {
            let path: Path = path.iter().map(|name| (*name).to_owned()).collect();
            part(&table, 0, &path).map(Cow::into_owned)
        };
        assert_eq!(found(&[]), Some(person));
        let zip = found(&["address", "zip"]).unwrap();
        assert_eq!((zip.name(), zip.pg_type(), zip.default.clone()), ("person.address.zip", PgType::TEXT, None));
        assert_eq!(field(&zip).data_type(), &DataType::Utf8);
        assert_eq!(found(&["address"]).unwrap().pg_type(), PgType::JSON);
        assert_eq!((found(&["city"]), found(&["address", "zip", "x"])), (None, None));
        assert_eq!(part(&table, 1, &[]), None);
        assert_eq!((path_at(&[vec!["a".to_owned()]], 0).len(), path_at(&[], 3).len()), (1, 0));
    }

    #[test]
    fn values_travel_in_the_carrier_of_their_type() {
        let nested = DataType::Struct(Fields::from(vec![Field::new("a", DataType::Int64, true)]));
        let rows = [
            (Field::new("a", DataType::Int32, false).with_pg_type(PgType::INT4), DataType::Int32),
            (Field::new("a", nested, true).with_pg_type(PgType::JSON), DataType::Utf8),
            (Field::new("a", DataType::Utf8, false).with_pg_type(PgType::UUID), DataType::Utf8),
        ];
        for (stored, expected) in rows {
            let given = field(&column(stored.clone()));
            assert_eq!((given.data_type(), given.is_nullable(), given.name().as_str()), (&expected, true, "a"));
            assert_eq!(given.pg_type(), stored.pg_type());
        }
        let empty = RecordBatch::new_empty(Arc::new(Schema::new(vec![field(&table().columns[0])])));
        assert_eq!(empty.column(0).len(), 0);
    }
}
