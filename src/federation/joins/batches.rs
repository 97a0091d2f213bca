//! Keys in batches: what a store is asked for when a join knows more keys than one statement should carry.
//!
//! A list of keys is sent as `IN`. A long one is sent too where the store takes it in one statement, and the rows so found are less than half of
//! its rows: that each row is looked up in the list is cheaper than that it travels. What does not fit into one statement is sent in several,
//! one after the other, when the store finds rows by it in an index and they are few. Else one statement reads what lies between the least
//! and the greatest key, and of keys without such an order everything: the join drops what has no partner. The number of keys is not guessed,
//! it is what the join has read.

use super::super::estimate;
use super::dynamic::{Told, ends};
use crate::stores::connector::KEYS_EACH;
use crate::stores::predicate::Predicate;
use crate::stores::schema::Table;

/// A list of keys is worth sending while it asks for less than this part of the rows.
const WORTHWHILE: f64 = 0.5;
/// A list in several statements, while it asks for less than this part: each costs a round trip and walks the index anew.
const WORTHWHILE_IN_PARTS: f64 = 0.25;

/// The conditions of each statement that a store is asked; none when no row can pass. Columns are the table's own.
///
/// `told` is over the output columns of a leaf, `other` says which columns of the table they are, `keys_max` is what the store takes in one
/// statement ([`crate::stores::connector::Capabilities::keys_max`]).
pub fn statements(told: Told, table: &Table, keys_max: usize, other: &dyn Fn(usize) -> Option<usize>) -> Vec<Vec<Predicate>> {
    let conditions = match told {
        Told::Nothing => return vec![Vec::new()],
        Told::Never => return Vec::new(),
        Told::Rows(Predicate::And(conditions)) => conditions,
        Told::Rows(condition) => vec![condition],
    };
    let mut common = Vec::new();
    let mut long: Option<Predicate> = None;
    let mut left = keys_max;
    for condition in conditions.into_iter().filter_map(|condition| condition.over(other)) {
        match judge(&condition, table, left) {
            Sent::Whole => {
                left -= keys(&condition).min(left);
                common.push(condition);
            }
            // Of several long lists one divides the rows, and the others only bound them.
            Sent::InParts if long.is_none() => long = Some(condition),
            Sent::InParts | Sent::Ends => common.extend(ends(&condition)),
        }
    }
    let Some(Predicate::In { column, values, .. }) = long else { return vec![common] };
    let parts = values.chunks(left.max(KEYS_EACH)).map(|keys| {
        let list = Predicate::In { column: column.clone(), values: keys.to_vec(), negated: false };
        common.iter().cloned().chain([list]).collect()
    });
    parts.collect()
}

/// The keys of a list that is long enough to be counted.
fn keys(condition: &Predicate) -> usize {
    match condition {
        Predicate::In { values, .. } if values.len() > KEYS_EACH => values.len(),
        _ => 0,
    }
}

enum Sent {
    Whole,
    InParts,
    Ends,
}

fn judge(condition: &Predicate, table: &Table, keys_max: usize) -> Sent {
    let Predicate::In { column, values, negated: false } = condition else { return Sent::Whole };
    let part = part(table, column.column, values.len());
    if values.len() <= KEYS_EACH {
        // A short list costs nothing to try.
        return if part.is_none_or(|part| part < WORTHWHILE) || values.len() < 100 { Sent::Whole } else { Sent::Ends };
    }
    let (Some(part), true) = (part, column.path.is_empty()) else { return Sent::Ends };
    if values.len() <= keys_max && part < WORTHWHILE {
        return Sent::Whole;
    }
    if part < WORTHWHILE_IN_PARTS && estimate::is_indexed(table, column.column) { Sent::InParts } else { Sent::Ends }
}

/// Whether a list that takes a large part of a statement is worth it.
pub fn is_worthwhile(table: &Table, column: usize, keys: usize) -> bool {
    part(table, column, keys).is_some_and(|part| part < WORTHWHILE)
}

/// The part of the rows that so many keys of a column ask for, at most; `None` where nobody counted the rows.
fn part(table: &Table, column: usize, keys: usize) -> Option<f64> {
    let rows = table.row_estimate.map(|_| estimate::rows(table))?;
    Some(keys as f64 / estimate::distinct(table, column).unwrap_or(rows).max(1.0))
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field};

    use super::*;
    use crate::stores::predicate::{ColumnRef, Comparison};
    use crate::stores::schema::{Collation, Column, ColumnStatistics, Generated, Key, TableId, TableKind};
    use crate::stores::value::Value;

    fn table(rows: Option<u64>) -> Table {
        let column = |name: &str, data_type| Column {
            field: Field::new(name, data_type, false),
            native_type: String::new(),
            default: None,
            generated: Generated::No,
            comment: None,
            collation: Collation::Bytes,
            statistics: ColumnStatistics::default(),
        };
        let columns = vec![column("id", DataType::Int64), column("n", DataType::Int64), column("t", DataType::Utf8)];
        Table {
            id: TableId { namespace: "main".to_owned(), name: "t".to_owned() },
            kind: TableKind::Table,
            primary_key: Some(Key { name: String::new(), columns: vec![0], proven: true }),
            unique_keys: Vec::new(),
            foreign_keys: Vec::new(),
            checks: Vec::new(),
            indexes: Vec::new(),
            comment: None,
            row_estimate: rows,
            schema: Table::arrow_schema(&columns),
            columns,
        }
    }

    fn list(column: usize, keys: usize) -> Predicate {
        let values = (0..keys).map(|key| Value::Int(i64::try_from(key).unwrap()));
        Predicate::In { column: ColumnRef::of(column), values: values.collect(), negated: false }
    }

    /// How many keys each statement carries, and how many other conditions.
    fn check(told: Told, rows: Option<u64>, expected: &[(usize, usize)]) {
        check_in(KEYS_EACH, told, rows, expected);
    }

    fn check_in(keys_max: usize, told: Told, rows: Option<u64>, expected: &[(usize, usize)]) {
        let found: Vec<(usize, usize)> = statements(told, &table(rows), keys_max, &Some)
            .iter()
            .map(|conditions| {
                let keys = conditions.iter().map(|condition| match condition {
                    Predicate::In { values, .. } => values.len(),
                    _ => 0,
                });
                (keys.sum(), conditions.iter().filter(|condition| !matches!(condition, Predicate::In { .. })).count())
            })
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn long_lists_are_sent_in_parts_where_the_store_finds_rows_by_them() {
        check(Told::Nothing, Some(10), &[(0, 0)]);
        check(Told::Never, Some(10), &[]);
        check(Told::Rows(list(0, 5)), Some(1_000_000), &[(5, 0)]);
        check(Told::Rows(list(0, 25_000)), Some(1_000_000), &[(10_000, 0), (10_000, 0), (5_000, 0)]);
        // Most of the rows, no index, an unknown size: the ends.
        check(Told::Rows(list(0, 25_000)), Some(30_000), &[(0, 1)]);
        check(Told::Rows(list(1, 25_000)), Some(1_000_000), &[(0, 1)]);
        check(Told::Rows(list(0, 25_000)), None, &[(0, 1)]);
        check(Told::Rows(list(0, 900)), Some(1000), &[(0, 1)]);
        check(Told::Rows(list(0, 90)), Some(100), &[(90, 0)]);
        let both = Predicate::And(vec![list(0, 20_000), list(1, 3)]);
        check(Told::Rows(both), Some(1_000_000), &[(10_003, 0), (10_003, 0)]);
        let bound = Predicate::Compare { column: ColumnRef::of(1), op: Comparison::Less, value: Value::Int(3) };
        check(Told::Rows(Predicate::And(vec![bound, list(0, 11_000)])), Some(1_000_000), &[(10_000, 1), (1_000, 1)]);
    }

    #[test]
    fn long_lists_are_sent_whole_where_one_statement_takes_them() {
        let check = |told, rows, expected: &[(usize, usize)]| check_in(100_000, told, rows, expected);
        check(Told::Rows(list(0, 60_000)), Some(1_000_000), &[(60_000, 0)]);
        check(Told::Rows(list(1, 60_000)), Some(1_000_000), &[(60_000, 0)]);
        check(Told::Rows(list(1, 60_000)), Some(100_000), &[(0, 1)]);
        check(Told::Rows(list(1, 60_000)), None, &[(0, 1)]);
        // More than one statement takes: in parts of an index, else the ends.
        check(Told::Rows(list(0, 150_000)), Some(1_000_000), &[(100_000, 0), (50_000, 0)]);
        check(Told::Rows(list(1, 150_000)), Some(1_000_000), &[(0, 1)]);
        let both = Predicate::And(vec![list(1, 60_000), list(2, 50_000)]);
        check(Told::Rows(both), Some(1_000_000), &[(60_000, 1)]);
    }

    #[test]
    fn columns_are_those_of_the_table() {
        let found = statements(Told::Rows(list(0, 1)), &table(Some(1000)), KEYS_EACH, &|output| (output == 0).then_some(2));
        assert_eq!(found, [[list(2, 1)]]);
        assert_eq!(statements(Told::Rows(list(1, 1)), &table(Some(1000)), KEYS_EACH, &|output| (output == 0).then_some(2)), [[]]);
    }
}
