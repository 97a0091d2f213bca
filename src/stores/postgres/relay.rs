//! Lookups whose rows go on to a client: each value is taken from the bytes that the server sent, and no batch is made.
//!
//! ```text
//! keep    Scan with sample values → Lookup (its statement) + a Way for each column, where every column has one
//! run     values → Lookup::look_up → rows, value by value → Relayed
//! ```
//!
//! **Invariants:** what is kept holds for all values of the types of the samples, because its text and the types of its parameters
//! do not depend on them; it holds no pool and no connection.

use std::mem::discriminant;
use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::PgRow;

use super::super::connector::Scan;
use super::super::error::StoreError;
use super::super::predicate::Predicate;
use super::super::relay::Relayed;
use super::super::schema::Table;
use super::super::value::Value;
use super::branch::Inner;
use super::lookup::{Failure, Gather, Lookup};
use super::types::Way;
use crate::format::Format;

/// A lookup but for its values.
pub(super) struct Kept {
    lookup: Lookup,
    /// For each column that is put out.
    ways: Vec<Way>,
    /// As many as there are ways.
    width: u16,
}

/// Prepares a scan; `None` when it is no lookup, when its text depends on its values, or when a column has to be decoded.
pub(super) fn keep(table: &Arc<Table>, scan: &Scan, formats: &[Format], deadline: Duration) -> Option<Kept> {
    let samples = scan.filter.iter().map(sample).collect::<Option<Vec<&Value>>>()?;
    let way = |(ordinal, format): (&usize, &Format)| Way::of(table.columns.get(*ordinal)?, *format);
    let ways = scan.columns.iter().zip(formats).map(way).collect::<Option<Vec<Way>>>()?;
    let width = u16::try_from(ways.len()).ok()?;
    // Also what knows that the columns are read in their binary form.
    let lookup = Lookup::of(table, scan, deadline)?;
    let is_whole = ways.len() == scan.columns.len() && lookup.values().iter().eq(samples);
    is_whole.then_some(Kept { lookup, ways, width })
}

/// The value of a condition that is written as the same text whatever value of its type it is.
fn sample(condition: &Predicate) -> Option<&Value> {
    match condition {
        Predicate::Compare { value: value @ (Value::Bool(_) | Value::Int(_) | Value::Text(_)), .. } => Some(value),
        _ => None,
    }
}

/// The rows for these values.
///
/// # Errors
/// What the server answered, a value that cannot be given, a missed deadline.
pub(super) async fn run(inner: &Inner, kept: &Kept, values: &[Value]) -> Result<Relayed, StoreError> {
    let samples = kept.lookup.values();
    let is_alike = samples.len() == values.len() && samples.iter().zip(values).all(|(a, b)| discriminant(a) == discriminant(b));
    if !is_alike {
        let feature = "values of other types than those that a statement was prepared for";
        return Err(StoreError::Unsupported { store: inner.name.to_string(), feature });
    }
    let mut rows = Rows { kept, relayed: Relayed::default() };
    kept.lookup.look_up(&inner.pools.scans, values, &mut rows).await?;
    Ok(rows.relayed)
}

/// Rows on their way through.
struct Rows<'a> {
    kept: &'a Kept,
    relayed: Relayed,
}

impl Gather for Rows<'_> {
    fn restart(&mut self) {
        self.relayed.clear();
    }

    fn take(&mut self, lookup: &Lookup, row: &PgRow) -> Result<(), Failure> {
        self.relayed.begin_row(self.kept.width);
        for ((place, way), column) in self.kept.ways.iter().enumerate().zip(lookup.columns()) {
            match lookup.value(row, place)? {
                Some(bytes) => way.put(bytes, &mut self.relayed).map_err(|broken| lookup.broken(column, broken))?,
                None => self.relayed.null(),
            }
        }
        self.relayed.end_row();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::connector::StoreName;
    use super::super::super::predicate::{ColumnRef, Comparison};
    use super::super::super::schema::{Collation, Column, ColumnStatistics, Generated, Key, TableId, TableKind};
    use super::super::types::{NativeType, map};
    use super::*;

    /// `id` integer, the key; `name` text; `day` date; `marks` integer array.
    fn table() -> Arc<Table> {
        let native = |oid, element| NativeType { oid, typmod: -1, kind: 'b', element, labels: Vec::new() };
        let list = native(1007, Some(Box::new(native(23, None))));
        let column = |name: &str, native: &NativeType| Column {
            field: map(name, native, true).unwrap(),
            native_type: String::new(),
            default: None,
            generated: Generated::No,
            comment: None,
            collation: Collation::Bytes,
            statistics: ColumnStatistics::default(),
        };
        let columns = vec![
            column("id", &native(23, None)),
            column("name", &native(25, None)),
            column("day", &native(1082, None)),
            column("marks", &list),
        ];
        Arc::new(Table {
            id: TableId { namespace: "public".to_owned(), name: "t".to_owned() },
            kind: TableKind::Table,
            primary_key: Some(Key { name: String::new(), columns: vec![0], proven: true }),
            unique_keys: Vec::new(),
            foreign_keys: Vec::new(),
            checks: Vec::new(),
            indexes: Vec::new(),
            comment: None,
            row_estimate: None,
            division: None,
            schema: Table::arrow_schema(&columns),
            columns,
        })
    }

    fn check(columns: &[usize], filter: Vec<Predicate>, formats: &[Format], expected: bool) {
        let table = table();
        let scan = Scan { store: StoreName::new("s"), table: table.id.clone(), columns: columns.to_vec(), filter, limit: None };
        let kept = keep(&table, &scan, formats, Duration::from_secs(1));
        assert_eq!(kept.map(|kept| usize::from(kept.width)), expected.then_some(columns.len()), "{scan:?} {formats:?}");
    }

    #[test]
    fn a_lookup_is_kept_where_its_values_change_nothing_but_the_rows() {
        use Format::{Binary, Text};
        let compare = |column, op, value| Predicate::Compare { column: ColumnRef::of(column), op, value };
        let key = || compare(0, Comparison::Equal, Value::Int(1));
        check(&[0], vec![key()], &[Text], true);
        check(&[1, 0], vec![key()], &[Binary, Text], true);
        check(&[2], vec![key()], &[Binary], true);
        check(&[1], vec![compare(1, Comparison::NotEqual, Value::Text("a".to_owned())), key()], &[Text], true);
        // A date as text depends on a setting, an array has to be decoded.
        check(&[2], vec![key()], &[Text], false);
        check(&[3], vec![key()], &[Binary], false);
        // No key, one whose number of values is part of the text, and a format too few.
        check(&[0], vec![compare(0, Comparison::Less, Value::Int(1))], &[Text], false);
        let list = Predicate::In { column: ColumnRef::of(0), values: vec![Value::Int(1), Value::Int(2)], negated: false };
        check(&[0], vec![list], &[Text], false);
        check(&[0, 1], vec![key()], &[Text], false);
    }
}
