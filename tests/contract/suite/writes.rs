//! Edits: what they change, count and give back, what others see of them, how transactions end, alone and with those of other stores,
//! and what goes wrong.

mod commits;
mod edits;
mod holding;
mod transactions;

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::Schema;
use tokio_util::sync::CancellationToken;
use tributary::stores::edit::{self, Conflict, Delete, DeleteRows, Insert, UpdateRows};
use tributary::stores::predicate::{ColumnRef, Comparison};
use tributary::stores::value::Value;
use tributary::stores::{Branch, Connector, Edit, Edited, Predicate, Purpose, Pushdown, Relation, Scan, StoreError, Table, Tables};

use super::reading::{self, Row, whole};
use super::world::{Kind, Sample, World};

pub async fn check(world: &dyn World) {
    edits::check(world).await;
    transactions::check(world).await;
    holding::check(world).await;
    commits::check(world).await;
}

/// A table of a key, an integer `n` and a text `label`, and a connector to it.
pub(super) struct Target {
    connector: Arc<dyn Connector>,
    table: Arc<Table>,
}

impl Target {
    /// Makes the table with rows of the keys from 1 on, whose `n` is ten times the key.
    async fn make(world: &dyn World, name: &str) -> Self {
        let columns = vec![("n".to_owned(), Kind::Int), ("label".to_owned(), Kind::Text)];
        let row = |key: i64| vec![Some(Value::Int(key * 10)), Some(Value::Text(format!("row {key}")))];
        world.make(&Sample { table: name.to_owned(), columns, rows: (1..=5).map(row).collect() }).await;
        Self::of(world.open(""), world, name).await
    }

    pub(super) async fn of(connector: Arc<dyn Connector>, world: &dyn World, name: &str) -> Self {
        let table = reading::table(&connector, &world.namespace(), name).await;
        Self { connector, table }
    }

    fn place(&self, name: &str) -> usize {
        self.table.columns.iter().position(|column| column.name() == name).unwrap_or_else(|| panic!("no column {name}"))
    }

    /// Places of the key, of `n` and of `label`.
    fn places(&self) -> [usize; 3] {
        [0, self.place("n"), self.place("label")]
    }

    /// Rows in the form of edits.
    fn batch(&self, columns: &[usize], arrays: Vec<ArrayRef>) -> RecordBatch {
        let fields: Vec<_> = columns.iter().map(|ordinal| edit::field(&self.table.columns[*ordinal])).collect();
        RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap()
    }

    /// New rows of keys, with `n` and without a label.
    pub(super) fn insert(&self, keys: &[i64], conflict: Option<Conflict>, returning: Vec<usize>) -> Edit {
        let [key, n, _] = self.places();
        let numbers: Vec<i64> = keys.iter().map(|key| key * 10).collect();
        let rows = self.batch(&[key, n], vec![int(keys), int(&numbers)]);
        let (store, table) = (self.connector.name().clone(), self.table.clone());
        Edit::Insert(Insert { store, table, columns: vec![key, n], rows, conflict, paths: Vec::new(), returning })
    }

    /// New values of `n` for keys.
    fn update(&self, keys: &[i64], numbers: &[i64], returning: Vec<usize>) -> Edit {
        let [key, n, _] = self.places();
        let rows = self.batch(&[key, n], vec![int(keys), int(numbers)]);
        let (store, table) = (self.connector.name().clone(), self.table.clone());
        Edit::UpdateRows(UpdateRows { store, table, key: vec![key], set: vec![n], rows, paths: Vec::new(), returning })
    }

    /// The rows of keys go.
    fn delete(&self, keys: &[i64], returning: Vec<usize>) -> Edit {
        let rows = self.batch(&[0], vec![int(keys)]);
        let (store, table) = (self.connector.name().clone(), self.table.clone());
        Edit::DeleteRows(DeleteRows { store, table, key: vec![0], rows, returning })
    }

    /// The rows of one key as a relation, or all rows.
    fn relation(&self, key: Option<i64>) -> Relation {
        let mut scan = whole(&self.connector, &self.table, Vec::new());
        scan.columns = vec![0];
        scan.filter = key.map(|key| self.is_key(key)).into_iter().collect();
        Relation::Table(scan)
    }

    /// The condition that the key is this one, which every store evaluates; where columns have no types, its scans also keep keys that
    /// do not fit the column, of which there are none here.
    fn is_key(&self, key: i64) -> Predicate {
        let condition = Predicate::Compare { column: ColumnRef::of(0), op: Comparison::Equal, value: Value::Int(key) };
        match (self.connector.pushdown(&self.table, &condition), self.connector.kind()) {
            (Pushdown::Exact(kept), _) | (Pushdown::Superset(kept), "mongodb") => kept,
            (other, _) => panic!("{other:?}"),
        }
    }

    fn delete_whole(&self, key: Option<i64>) -> Edit {
        let (store, table) = (self.connector.name().clone(), self.table.clone());
        Edit::Delete(Delete { store, table, relation: self.relation(key), tables: self.tables(), returning: Vec::new() })
    }

    fn tables(&self) -> Tables {
        [(self.table.id.clone(), self.table.clone())].into_iter().collect()
    }

    /// Runs an edit that the store commits by itself.
    async fn once(&self, edit: &Edit) -> Result<Edited, StoreError> {
        self.connector.accepts_edit(edit).unwrap_or_else(|refusal| panic!("{edit:?}: {refusal:?}"));
        let branch = self.connector.open(Purpose::Once).await?;
        let done = run(&*branch, edit).await?;
        branch.commit().await.unwrap();
        Ok(done)
    }

    /// The rows by key, and what is in them: `n` and `label`.
    async fn rows(&self) -> Vec<(i64, Option<i64>, Option<String>)> {
        let batches = reading::read_all(&self.connector, &self.table).await.unwrap();
        self.told(&reading::rows(&self.table, &batches))
    }

    /// The same as a branch sees them.
    async fn seen_by(&self, branch: &dyn Branch) -> Vec<i64> {
        let scan = whole(&self.connector, &self.table, Vec::new());
        let batches = reading::collect(branch, &self.table, &scan).await.unwrap();
        self.told(&reading::rows(&self.table, &batches)).into_iter().map(|(key, ..)| key).collect()
    }

    /// The keys that others see.
    async fn keys(&self) -> Vec<i64> {
        self.rows().await.into_iter().map(|(key, ..)| key).collect()
    }

    fn told(&self, rows: &[Row]) -> Vec<(i64, Option<i64>, Option<String>)> {
        let [key, n, label] = self.places();
        let number = |row: &Row, place: usize| match &row[place] {
            None => None,
            Some(Some(Value::Int(number))) => Some(*number),
            other => panic!("{other:?} is no number"),
        };
        let text = |row: &Row| match &row[label] {
            None => None,
            Some(Some(Value::Text(text))) => Some(text.clone()),
            other => panic!("{other:?} is no text"),
        };
        let mut told: Vec<_> = rows.iter().map(|row| (number(row, key).unwrap(), number(row, n), text(row))).collect();
        told.sort();
        told
    }

    /// A scan of one row.
    fn one(&self, key: i64) -> Scan {
        whole(&self.connector, &self.table, vec![self.is_key(key)])
    }
}

/// Runs an edit that nobody stops.
pub(super) async fn run(branch: &dyn Branch, edit: &Edit) -> Result<Edited, StoreError> {
    branch.edit(edit, &CancellationToken::new()).await
}

fn int(values: &[i64]) -> ArrayRef {
    Arc::new(Int64Array::from(values.to_vec()))
}

fn text(values: &[Option<&str>]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}
