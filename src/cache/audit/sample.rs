//! Which rows are looked at: some whose keys chance chooses among those of the copy, and some from such a key on, of which the store says
//! which there are.
//!
//! The first find what only the copy has, the second what it lacks, and both what has other values.

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, TimeUnit};

use super::Skipped;
use crate::cache::version::TableVersion;
use crate::stores::cell::{self, Cells};
use crate::stores::connector::KEYS_EACH;
use crate::stores::predicate::{ColumnRef, Comparison, Rows};
use crate::stores::schema::Column;
use crate::stores::value::Value;
use crate::stores::{Connector, Predicate, Pushdown, Scan, StoreName, Table};

/// About so many bytes of rows are looked at most: of large rows fewer are.
pub(super) const BYTES: usize = 8 << 20;

/// What is read of the store.
pub(super) struct Sample {
    /// Rows of the copy by their keys, and the condition under which the store gives all rows that have them.
    keys: Option<(RecordBatch, Predicate)>,
    /// From where on other rows are read.
    from: Option<Predicate>,
    /// How many of those.
    rows: usize,
}

impl Sample {
    /// About so many rows by their keys, and as many others at most.
    ///
    /// # Errors
    /// [`Skipped::Unlike`] for a copy whose keys cannot be given out.
    pub(super) fn of(copy: &TableVersion, connector: &dyn Connector, rows: usize) -> Result<Self, Skipped> {
        let (table, key) = (copy.table(), copy.shape().key.as_slice());
        let each = copy.bytes() / copy.rows().max(1);
        let rows = rows.min(KEYS_EACH / key.len().max(1)).min((BYTES / each.max(1)).max(1));
        let numbers: Vec<u64> = (0..rows).map(|_| rand::random()).collect();
        let keys = copy.drawn(&numbers).map_err(|_unfit| Skipped::Unlike)?;
        let values = values_of(table, key, &keys);
        let from = values.as_ref().and_then(|values| from_first(key, values));
        // Of others than exactly these there is no telling how many come before enough of them have come.
        let from = from.and_then(|condition| match connector.pushdown(table, &condition) {
            Pushdown::Exact(condition) => Some(condition),
            Pushdown::Superset(_) | Pushdown::Refused(_) => None,
        });
        let one_of = values.and_then(|values| one_of(key, values));
        let one_of = one_of.and_then(|condition| match connector.pushdown(table, &condition) {
            Pushdown::Exact(condition) | Pushdown::Superset(condition) => Some(condition),
            Pushdown::Refused(_) => None,
        });
        // What is always read in the same place says nothing of the others.
        if one_of.is_none() && keys.num_rows() > 0 {
            return Err(Skipped::Unlike);
        }
        Ok(Self { keys: one_of.map(|condition| (keys, condition)), from, rows })
    }

    /// The keys of which all rows are read.
    pub(super) fn keys(&self) -> Option<&RecordBatch> {
        self.keys.as_ref().map(|(keys, _)| keys)
    }

    /// What is read. Only a scan by keys has no limit.
    pub(super) fn scans(&self, store: &StoreName, table: &Table) -> Vec<Scan> {
        let scan = |filter: Vec<Predicate>, limit| Scan {
            store: store.clone(),
            table: table.id.clone(),
            columns: (0..table.columns.len()).collect(),
            filter,
            limit,
        };
        let by_keys = self.keys.as_ref().map(|(_, condition)| scan(vec![condition.clone()], None));
        let others = scan(self.from.iter().cloned().collect(), Some(u64::try_from(self.rows).unwrap_or(u64::MAX)));
        by_keys.into_iter().chain([others]).collect()
    }
}

/// The values of some keys, row by row; `None` where there are none, or equal ones may be of other bytes.
fn values_of(table: &Table, key: &[usize], keys: &RecordBatch) -> Option<Vec<Vec<Value>>> {
    let columns = key.iter().map(|ordinal| table.columns.get(*ordinal)).collect::<Option<Vec<&Column>>>()?;
    if keys.num_rows() == 0 || !columns.iter().all(|column| is_plain(column)) {
        return None;
    }
    let cells = columns.iter().zip(keys.columns()).map(|(column, array)| Cells::of(array.as_ref(), column.pg_type()));
    let cells = cells.collect::<Option<Vec<Cells<'_>>>>()?;
    let row = |row: usize| {
        let values = columns.iter().zip(&cells).map(|(column, cells)| cell::value(&cells.get(row), column.pg_type()));
        values.collect::<Option<Vec<Value>>>()
    };
    (0..keys.num_rows()).map(row).collect()
}

/// Whether equal values of a column are equal bytes.
fn is_plain(column: &Column) -> bool {
    matches!(
        (column.pg_type().oid, column.field.data_type()),
        (20, DataType::Int64)
            | (21, DataType::Int16)
            | (23, DataType::Int32)
            | (16, DataType::Boolean)
            | (17, DataType::Binary)
            | (25 | 1043 | 2950, DataType::Utf8)
            | (1700, DataType::Decimal128(..))
            | (1082, DataType::Date32)
            | (1114 | 1184, DataType::Timestamp(TimeUnit::Microsecond, _))
    )
}

/// From the first of some keys on, by its last column, among those that are like it in the others.
fn from_first(key: &[usize], values: &[Vec<Value>]) -> Option<Predicate> {
    let last = key.len().checked_sub(1)?;
    let compare = |(place, (column, value)): (usize, (&usize, &Value))| Predicate::Compare {
        column: ColumnRef::of(*column),
        op: if place == last { Comparison::GreaterOrEqual } else { Comparison::Equal },
        value: value.clone(),
    };
    let mut compared: Vec<Predicate> = key.iter().zip(values.first()?).enumerate().map(compare).collect();
    if compared.len() == 1 { compared.pop() } else { Some(Predicate::And(compared)) }
}

/// One of these keys.
fn one_of(key: &[usize], values: Vec<Vec<Value>>) -> Option<Predicate> {
    match key {
        [] => None,
        [column] => {
            let values = values.into_iter().flatten().collect();
            Some(Predicate::In { column: ColumnRef::of(*column), values, negated: false })
        }
        several => {
            let columns = several.iter().map(|column| ColumnRef::of(*column)).collect();
            Some(Predicate::Rows(Rows { columns, rows: values }))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::changes::fakes::{FakeStore, batch_of, shape_of, table_of};

    #[test]
    fn rows_are_asked_for_by_their_keys_and_others_up_to_a_number() {
        let empty = TableVersion::empty(&table_of("orders"), &shape_of("orders")).unwrap();
        let (store, table) = (FakeStore::new("shop"), table_of("orders"));
        let sample = Sample::of(&empty, &*store, 8).unwrap();
        let scans = sample.scans(store.name(), &table);
        // Of a copy without rows nothing is chosen.
        assert!(sample.keys().is_none() && scans.len() == 1 && scans[0].limit == Some(8) && scans[0].filter.is_empty());
        let names: Vec<String> = (0..40).map(|name| format!("n{name}")).collect();
        let rows: Vec<(&str, i64)> = names.iter().map(|name| (name.as_str(), 1)).collect();
        let copy = Arc::new(empty.filled(&batch_of(&rows)).unwrap());
        let sample = Sample::of(&copy, &*store, 8).unwrap();
        let keys = sample.keys().unwrap();
        assert!((1..=8).contains(&keys.num_rows()), "{}", keys.num_rows());
        assert_eq!(copy.look_up(keys, &[0]).unwrap().num_rows(), keys.num_rows());
        let scans = sample.scans(store.name(), &table);
        let [Predicate::In { values, negated: false, .. }] = scans[0].filter.as_slice() else { panic!("{:?}", scans[0].filter) };
        assert_eq!((values.len(), scans[0].limit, scans[1].limit), (keys.num_rows(), None, Some(8)));
    }

    #[test]
    fn keys_of_several_columns_are_asked_for_together() {
        let rows = vec![vec![Value::Int(1), Value::Text("a".to_owned())]];
        let Some(Predicate::Rows(asked)) = one_of(&[0, 2], rows.clone()) else { panic!("no rows") };
        assert_eq!((asked.columns, asked.rows), (vec![ColumnRef::of(0), ColumnRef::of(2)], rows.clone()));
        let from = |column, op, value| Predicate::Compare { column: ColumnRef::of(column), op, value };
        let last = from(2, Comparison::GreaterOrEqual, Value::Text("a".to_owned()));
        let both = Predicate::And(vec![from(0, Comparison::Equal, Value::Int(1)), last]);
        assert_eq!(from_first(&[0, 2], &rows), Some(both));
        let alone = from(5, Comparison::GreaterOrEqual, Value::Int(1));
        assert_eq!(from_first(&[5], &[vec![Value::Int(1)]]), Some(alone));
        assert!(one_of(&[], rows).is_none());
    }
}
