//! Rows that an edit names by their keys, as a condition.

use arrow::array::RecordBatch;

use crate::stores::cell::{Cells, value};
use crate::stores::predicate::{ColumnRef, Rows};
use crate::stores::value::Value;
use crate::stores::{Connector, Predicate, Pushdown, Table};

/// The condition under which a store gives the rows that have one of some keys: the first columns of `rows` are those of `key`, ordinals
/// of the table's columns. `None` where the store does not take it.
pub fn named(connector: &dyn Connector, table: &Table, key: &[usize], rows: &RecordBatch) -> Option<Predicate> {
    let mut columns = Vec::with_capacity(key.len());
    for (place, ordinal) in key.iter().enumerate() {
        let pg_type = table.columns.get(*ordinal)?.pg_type();
        columns.push((Cells::of(rows.columns().get(place)?.as_ref(), pg_type)?, pg_type));
    }
    let row =
        |row: usize| -> Option<Vec<Value>> { columns.iter().map(|(cells, pg_type)| value(&cells.get(row), *pg_type)).collect() };
    let mut given = (0..rows.num_rows()).map(row).collect::<Option<Vec<Vec<Value>>>>()?;
    let taken = |asked: &Predicate| match connector.pushdown(table, asked) {
        Pushdown::Exact(filter) | Pushdown::Superset(filter) => Some(filter),
        Pushdown::Refused(_) => None,
    };
    match key {
        [] => None,
        [column] => {
            let values = given.iter_mut().filter_map(Vec::pop).collect();
            taken(&Predicate::In { column: ColumnRef::of(*column), values, negated: false })
        }
        columns => {
            let columns = columns.iter().copied().map(ColumnRef::of).collect();
            let rows = Rows { columns, rows: given };
            let alternatives = rows.alternatives();
            taken(&Predicate::Rows(rows)).or_else(|| taken(&alternatives))
        }
    }
}
