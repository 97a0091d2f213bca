//! Keys of joins: what a store is asked for when a join knows many keys.
//!
//! A list of keys is sent as `IN`. A long one is sent too where the store takes it in one statement, and the rows so found are less than half of
//! its rows: that each row is looked up in the list is cheaper than that it travels. Of any other list the store is told the least and the
//! greatest key, and of keys without such an order nothing: the join drops what has no partner. The number of keys is not guessed, it is
//! what the join has read. Keys over several columns are rows of values, `(a, b) IN (…)`; where those are too many, each column has a
//! list of its own.
//!
//! Deliberately absent: lists in several statements. Two statements of one scan may see two states of a store, and a row that changes its
//! key between them would come twice or not at all.

use super::super::estimate;
use super::dynamic::{Told, ends};
use crate::stores::connector::KEYS_EACH;
use crate::stores::predicate::{Predicate, Rows};
use crate::stores::schema::Table;

/// A list of keys is worth sending while it asks for less than this part of the rows.
const WORTHWHILE: f64 = 0.5;

/// The conditions that a store is asked under; `None` when no row can pass. Columns are the table's own.
///
/// `told` is over the output columns of a leaf, `other` says which columns of the table they are, `keys_max` is what the store takes in one
/// statement ([`crate::stores::connector::Capabilities::keys_max`]).
pub fn conditions(told: Told, table: &Table, keys_max: usize, other: &dyn Fn(usize) -> Option<usize>) -> Option<Vec<Predicate>> {
    let conditions = match told {
        Told::Nothing => return Some(Vec::new()),
        Told::Never => return None,
        Told::Rows(Predicate::And(conditions)) => conditions,
        Told::Rows(condition) => vec![condition],
    };
    let mut asked = Vec::new();
    let mut left = keys_max;
    let mut pending: Vec<Predicate> = conditions.into_iter().rev().filter_map(|condition| condition.over(other)).collect();
    while let Some(condition) = pending.pop() {
        if is_sent_whole(&condition, table, left) {
            left -= keys(&condition).min(left);
            asked.push(condition);
        } else if let Predicate::Rows(rows) = &condition {
            pending.extend(rows.lists());
        } else {
            asked.extend(ends(&condition));
        }
    }
    Some(asked)
}

/// What may be asked instead of a condition that a store does not take, which keeps more rows: of rows of values a list for each column,
/// of a list its ends.
pub fn weaker(condition: &Predicate) -> Vec<Predicate> {
    match condition {
        Predicate::Rows(rows) => rows.lists(),
        list => ends(list).into_iter().collect(),
    }
}

/// The keys of a list that is long enough to be counted.
fn keys(condition: &Predicate) -> usize {
    match condition {
        Predicate::In { values, .. } if values.len() > KEYS_EACH => values.len(),
        Predicate::Rows(rows) if rows.values() > KEYS_EACH => rows.values(),
        _ => 0,
    }
}

fn is_sent_whole(condition: &Predicate, table: &Table, keys_max: usize) -> bool {
    if let Predicate::Rows(rows) = condition {
        return are_sent_whole(rows, table, keys_max);
    }
    let Predicate::In { column, values, negated: false } = condition else { return true };
    let part = part(table, column.column, values.len());
    if values.len() <= KEYS_EACH {
        // A short list costs nothing to try.
        return part.is_none_or(|part| part < WORTHWHILE) || values.len() < 100;
    }
    column.path.is_empty() && values.len() <= keys_max && part.is_some_and(|part| part < WORTHWHILE)
}

fn are_sent_whole(rows: &Rows, table: &Table, keys_max: usize) -> bool {
    let part = part_of_rows(table, rows);
    if rows.values() <= KEYS_EACH {
        return part.is_none_or(|part| part < WORTHWHILE) || rows.rows.len() < 100;
    }
    rows.values() <= keys_max && part.is_some_and(|part| part < WORTHWHILE)
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

/// The part of the rows that so many rows of values ask for, at most.
fn part_of_rows(table: &Table, asked: &Rows) -> Option<f64> {
    let rows = table.row_estimate.map(|_| estimate::rows(table))?;
    let different: f64 =
        asked.columns.iter().map(|column| estimate::distinct(table, column.column).unwrap_or(rows).max(1.0)).product();
    Some(asked.rows.len() as f64 / different.min(rows).max(1.0))
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
            division: None,
            schema: Table::arrow_schema(&columns),
            columns,
        }
    }

    fn list(column: usize, keys: usize) -> Predicate {
        let values = (0..keys).map(|key| Value::Int(i64::try_from(key).unwrap()));
        Predicate::In { column: ColumnRef::of(column), values: values.collect(), negated: false }
    }

    /// How many keys the statement carries, and how many other conditions; `None` for no statement.
    fn check(keys_max: usize, told: Told, rows: Option<u64>, expected: Option<(usize, usize)>) {
        let found = conditions(told, &table(rows), keys_max, &Some).map(|conditions| {
            let keys = conditions.iter().map(|condition| match condition {
                Predicate::In { values, .. } => values.len(),
                Predicate::Rows(rows) => rows.values(),
                _ => 0,
            });
            let is_list = |condition: &&Predicate| matches!(condition, Predicate::In { .. } | Predicate::Rows(_));
            (keys.sum(), conditions.iter().filter(|condition| !is_list(condition)).count())
        });
        assert_eq!(found, expected);
    }

    #[test]
    fn lists_are_sent_where_one_statement_takes_them_and_they_ask_for_few_rows() {
        let check = |told, rows, expected| check(100_000, told, rows, Some(expected));
        check(Told::Nothing, Some(10), (0, 0));
        check(Told::Rows(list(0, 5)), Some(1_000_000), (5, 0));
        check(Told::Rows(list(0, 90)), Some(100), (90, 0));
        check(Told::Rows(list(1, 60_000)), Some(1_000_000), (60_000, 0));
        // Most of the rows, an unknown number of rows, too many keys: the ends.
        check(Told::Rows(list(0, 900)), Some(1000), (0, 1));
        check(Told::Rows(list(1, 60_000)), Some(100_000), (0, 1));
        check(Told::Rows(list(1, 60_000)), None, (0, 1));
        check(Told::Rows(list(0, 150_000)), Some(1_000_000), (0, 1));
        let both = Predicate::And(vec![list(1, 60_000), list(2, 50_000)]);
        check(Told::Rows(both), Some(1_000_000), (60_000, 1));
        let bound = Predicate::Compare { column: ColumnRef::of(1), op: Comparison::Less, value: Value::Int(3) };
        check(Told::Rows(Predicate::And(vec![bound, list(0, 11_000)])), Some(1_000_000), (11_000, 1));
    }

    #[test]
    fn rows_of_values_are_sent_as_such_or_as_a_list_for_each_column() {
        let rows = |count: i64| {
            let rows = (0..count).map(|row| vec![Value::Int(row), Value::Int(row % 50)]).collect();
            Told::Rows(Predicate::Rows(Rows { columns: vec![ColumnRef::of(1), ColumnRef::of(2)], rows }))
        };
        let check = |keys_max, count, table, expected| check(keys_max, rows(count), table, Some(expected));
        check(KEYS_EACH, 5, Some(1_000_000), (10, 0));
        check(KEYS_EACH, 90, Some(100), (180, 0));
        check(KEYS_EACH, 5_000, Some(1_000_000), (10_000, 0));
        check(100_000, 20_000, Some(1_000_000), (40_000, 0));
        // Too many for one statement: the first column's list is too long as well, or not.
        check(KEYS_EACH, 6_000, Some(1_000_000), (6_050, 0));
        check(KEYS_EACH, 20_000, Some(1_000_000), (50, 1));
        // Most of the rows: so are the lists, but the one that costs nothing to try.
        check(KEYS_EACH, 900, Some(1_000), (50, 1));
        let columns = conditions(rows(2), &table(Some(1000)), KEYS_EACH, &|column| (column == 1).then_some(0));
        assert_eq!(columns, Some(Vec::new()));
    }

    #[test]
    fn no_statement_is_sent_where_no_row_can_pass() {
        check(KEYS_EACH, Told::Never, Some(10), None);
    }

    #[test]
    fn columns_are_those_of_the_table() {
        let other = |output: usize| (output == 0).then_some(2);
        assert_eq!(conditions(Told::Rows(list(0, 1)), &table(Some(1000)), KEYS_EACH, &other), Some(vec![list(2, 1)]));
        assert_eq!(conditions(Told::Rows(list(1, 1)), &table(Some(1000)), KEYS_EACH, &other), Some(Vec::new()));
    }
}
