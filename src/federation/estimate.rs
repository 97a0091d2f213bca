//! How many rows a scan will bring, by what discovery learnt of the table and by the conditions that the store evaluates. Pure.
//!
//! Everything here is a guess that chooses between plans of equal answers; nothing may rely on it. Estimates over whole plans are in
//! [`super::joins`].

use std::collections::BTreeMap;

use arrow::datatypes::DataType;
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, Statistics};

use crate::stores::Scan;
use crate::stores::predicate::{ColumnRef, Comparison, Predicate, Rows};
use crate::stores::schema::{Column, Key, Table};

/// Rows of a table of which nothing is known: a view, or one that was never counted.
pub const ROWS_UNKNOWN: f64 = 1000.0;
/// Different values of a column of which nothing is known, as PostgreSQL guesses.
const DISTINCT_UNKNOWN: f64 = 200.0;
/// The part of a column that is NULL, where it may be and nobody counted.
const NULLS_UNKNOWN: f64 = 0.01;
/// What a comparison keeps when the column's ends are not known.
const ONE_SIDED: f64 = 1.0 / 3.0;
/// What two comparisons from both sides keep.
const TWO_SIDED: f64 = 0.05;
/// What a condition keeps of which nothing can be said.
pub const CONDITION_UNKNOWN: f64 = 1.0 / 3.0;

/// Rows of the whole table.
pub fn rows(table: &Table) -> f64 {
    table.row_estimate.map_or(ROWS_UNKNOWN, |rows| (rows as f64).max(1.0))
}

/// How many different values a column has in the whole table; `None` when that is not known.
pub fn distinct(table: &Table, ordinal: usize) -> Option<f64> {
    let rows = rows(table);
    if is_unique(table, &[ordinal]) {
        return Some(rows);
    }
    let column = table.columns.get(ordinal)?;
    if *column.field.data_type() == DataType::Boolean {
        return Some(2.0);
    }
    column.statistics.distinct.map(|distinct| (distinct as f64).clamp(1.0, rows))
}

/// Whether no two rows agree in all of these columns, as far as their keys say.
pub fn is_unique(table: &Table, ordinals: &[usize]) -> bool {
    let within = |key: &Key| !key.columns.is_empty() && key.columns.iter().all(|column| ordinals.contains(column));
    table.primary_key.iter().chain(&table.unique_keys).any(within)
}

/// The part of the rows for which all of `conditions` are true.
pub fn kept(table: &Table, conditions: &[Predicate]) -> f64 {
    let mut parts = Vec::new();
    conditions.iter().for_each(|condition| flatten(condition, &mut parts));
    let mut bounds: BTreeMap<usize, Bounds> = BTreeMap::new();
    let mut kept = 1.0;
    for part in &parts {
        match part {
            Predicate::Compare { column, op, value } if column.path.is_empty() && is_order(*op) => {
                bounds.entry(column.column).or_default().add(*op, value.place());
            }
            part => kept *= kept_by_one(table, part),
        }
    }
    for (ordinal, bounds) in bounds {
        kept *= bounds.kept(table.columns.get(ordinal));
    }
    let equal: Vec<usize> = parts.iter().filter_map(|part| equal_to_one(part)).collect();
    if is_unique(table, &equal) { kept.min(1.0 / rows(table)) } else { kept }
}

/// The rows of a scan.
pub fn scan_rows(table: &Table, scan: &Scan) -> f64 {
    let rows = (rows(table) * kept(table, &scan.filter)).max(1.0);
    scan.limit.map_or(rows, |limit| rows.min(limit as f64))
}

/// What the engine's own rules may assume of a scan.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "estimates; the casts saturate")]
pub fn scan_statistics(table: &Table, scan: &Scan) -> Statistics {
    let rows = scan_rows(table, scan);
    let known = table.row_estimate.is_some() || scan.limit.is_some() || rows <= 1.0;
    let count = |number: f64| if known { Precision::Inexact(number.ceil() as usize) } else { Precision::Absent };
    let mut bytes = 0.0;
    let columns = scan.columns.iter().map(|ordinal| {
        let Some(column) = table.columns.get(*ordinal) else { return ColumnStatistics::new_unknown() };
        let width = width(column);
        bytes += rows * width;
        let distinct = distinct(table, *ordinal).map(|distinct| distinct.min(rows));
        ColumnStatistics {
            null_count: count(rows * null_fraction(column)),
            distinct_count: distinct.map_or(Precision::Absent, count),
            byte_size: count(rows * width),
            ..ColumnStatistics::new_unknown()
        }
    });
    let column_statistics = columns.collect();
    Statistics { num_rows: count(rows), total_byte_size: count(bytes), column_statistics }
}

/// Bytes that a value of the column takes in memory, about.
pub fn width(column: &Column) -> f64 {
    let data_type = column.field.data_type();
    let fixed = data_type.primitive_width().map(|width| width as f64);
    let measured = column.statistics.width.map(|width| f64::from(width) + 4.0);
    fixed.or(measured).unwrap_or(match data_type {
        DataType::Boolean => 1.0,
        DataType::Utf8 | DataType::Binary => 24.0,
        _ => 100.0,
    })
}

fn null_fraction(column: &Column) -> f64 {
    if !column.field.is_nullable() {
        return 0.0;
    }
    column.statistics.null_fraction.unwrap_or(NULLS_UNKNOWN)
}

fn flatten<'a>(condition: &'a Predicate, parts: &mut Vec<&'a Predicate>) {
    match condition {
        Predicate::And(inner) => inner.iter().for_each(|part| flatten(part, parts)),
        part => parts.push(part),
    }
}

fn is_order(op: Comparison) -> bool {
    matches!(op, Comparison::Less | Comparison::LessOrEqual | Comparison::Greater | Comparison::GreaterOrEqual)
}

fn equal_to_one(part: &Predicate) -> Option<usize> {
    match part {
        Predicate::Compare { column, op: Comparison::Equal, .. } if column.path.is_empty() => Some(column.column),
        Predicate::In { column, values, negated: false } if column.path.is_empty() && values.len() == 1 => Some(column.column),
        _ => None,
    }
}

fn kept_by_one(table: &Table, condition: &Predicate) -> f64 {
    match condition {
        Predicate::Compare { column, op: Comparison::Equal, .. } => equality(table, column, 1),
        Predicate::Compare { column, op: Comparison::NotEqual, .. } => not(table, column, equality(table, column, 1)),
        Predicate::Compare { .. } => ONE_SIDED,
        Predicate::In { column, values, negated: false } => equality(table, column, values.len()),
        Predicate::In { column, values, negated: true } => not(table, column, equality(table, column, values.len())),
        Predicate::Rows(rows) => of_rows(table, rows),
        Predicate::IsNull { column, negated } => {
            let nulls = nulls(table, column);
            if *negated { 1.0 - nulls } else { nulls.max(1.0 / rows(table)) }
        }
        Predicate::Like { column, pattern, negated, .. } => {
            let kept = like(table, column, pattern);
            if *negated { not(table, column, kept) } else { kept }
        }
        Predicate::And(_) => kept(table, std::slice::from_ref(condition)),
        Predicate::Or(parts) => 1.0 - parts.iter().map(|part| 1.0 - kept(table, std::slice::from_ref(part))).product::<f64>(),
    }
}

/// Columns that are no key together are taken for independent, as those of a conjunction are.
fn of_rows(table: &Table, found: &Rows) -> f64 {
    let ordinals: Vec<usize> = found.columns.iter().filter(|column| column.path.is_empty()).map(|column| column.column).collect();
    let of_one: f64 = found.columns.iter().map(|column| equality(table, column, 1)).product();
    let of_one = if is_unique(table, &ordinals) { of_one.min(1.0 / rows(table)) } else { of_one };
    (found.rows.len() as f64 * of_one).min(1.0)
}

fn nulls(table: &Table, column: &ColumnRef) -> f64 {
    if !column.path.is_empty() {
        return NULLS_UNKNOWN;
    }
    table.columns.get(column.column).map_or(NULLS_UNKNOWN, null_fraction)
}

/// Of the values that are not NULL, those that are equal to one of so many.
fn equality(table: &Table, column: &ColumnRef, values: usize) -> f64 {
    let distinct = if column.path.is_empty() { distinct(table, column.column) } else { None };
    let distinct = distinct.unwrap_or_else(|| DISTINCT_UNKNOWN.min(rows(table)));
    (values as f64 / distinct.max(1.0)).min(1.0) * (1.0 - nulls(table, column))
}

/// The opposite of a condition keeps no NULL either.
fn not(table: &Table, column: &ColumnRef, kept: f64) -> f64 {
    (1.0 - nulls(table, column) - kept).clamp(0.0, 1.0)
}

fn like(table: &Table, column: &ColumnRef, pattern: &str) -> f64 {
    match pattern.find(['%', '_']) {
        None => equality(table, column, 1),
        Some(0) => 0.05,
        Some(_) => 0.02,
    }
}

/// The comparisons of one column by order, taken together.
#[derive(Debug, Default)]
struct Bounds {
    low: Option<f64>,
    high: Option<f64>,
    from_below: bool,
    from_above: bool,
}

impl Bounds {
    fn add(&mut self, op: Comparison, place: Option<f64>) {
        let narrower = |one: Option<f64>, pick: fn(f64, f64) -> f64| match (one, place) {
            (Some(one), Some(other)) => Some(pick(one, other)),
            (one, other) => one.or(other),
        };
        if matches!(op, Comparison::Greater | Comparison::GreaterOrEqual) {
            (self.low, self.from_below) = (narrower(self.low, f64::max), true);
        } else {
            (self.high, self.from_above) = (narrower(self.high, f64::min), true);
        }
    }

    fn kept(&self, column: Option<&Column>) -> f64 {
        let Some((least, greatest)) =
            column.and_then(|column| column.statistics.range).filter(|(least, greatest)| least < greatest)
        else {
            return if self.from_below && self.from_above { TWO_SIDED } else { ONE_SIDED };
        };
        let (low, high) = (self.low.unwrap_or(least).max(least), self.high.unwrap_or(greatest).min(greatest));
        // Statistics are of yesterday: beyond their ends there may be rows by now.
        ((high - low) / (greatest - least)).clamp(0.0001, 1.0) * (1.0 - column.map_or(0.0, null_fraction))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::Field;

    use super::*;
    use crate::stores::StoreName;
    use crate::stores::schema::{Collation, ColumnStatistics, Generated, TableId, TableKind};
    use crate::stores::value::Value;

    fn column(name: &str, data_type: DataType, statistics: ColumnStatistics) -> Column {
        Column {
            field: Field::new(name, data_type, name != "id"),
            native_type: String::new(),
            default: None,
            generated: Generated::No,
            comment: None,
            collation: Collation::Bytes,
            statistics,
        }
    }

    fn table() -> Table {
        let ranged = ColumnStatistics {
            distinct: Some(100),
            null_fraction: Some(0.5),
            range: Some((0.0, 100.0)),
            ..ColumnStatistics::default()
        };
        let columns = vec![
            column("id", DataType::Int64, ColumnStatistics::default()),
            column("n", DataType::Int64, ranged),
            column("t", DataType::Utf8, ColumnStatistics { width: Some(40), ..ColumnStatistics::default() }),
            column("b", DataType::Boolean, ColumnStatistics::default()),
        ];
        let key = |columns: &[usize]| Key { name: String::new(), columns: columns.to_vec(), proven: true };
        Table {
            id: TableId { namespace: "main".to_owned(), name: "t".to_owned() },
            kind: TableKind::Table,
            primary_key: Some(key(&[0])),
            unique_keys: vec![key(&[1, 2])],
            foreign_keys: Vec::new(),
            checks: Vec::new(),
            indexes: Vec::new(),
            comment: None,
            row_estimate: Some(1000),
            division: None,
            schema: Table::arrow_schema(&columns),
            columns,
        }
    }

    fn compare(column: usize, op: Comparison, value: i64) -> Predicate {
        Predicate::Compare { column: ColumnRef::of(column), op, value: Value::Int(value) }
    }

    fn check(conditions: &[Predicate], expected: f64) {
        let kept = kept(&table(), conditions);
        assert!((kept - expected).abs() < 1e-9, "{conditions:?}: {kept} is not {expected}");
    }

    #[test]
    fn conditions_keep_a_part_of_the_rows() {
        use Comparison::{Equal, Greater, Less, LessOrEqual, NotEqual};
        check(&[], 1.0);
        check(&[compare(0, Equal, 5)], 0.001);
        check(&[compare(1, Equal, 5)], 0.005);
        check(&[compare(1, NotEqual, 5)], 0.495);
        check(&[compare(3, Equal, 1)], 0.99 / 2.0);
        check(&[compare(1, Less, 25)], 0.125);
        check(&[compare(1, Greater, 25), compare(1, LessOrEqual, 75)], 0.25);
        check(&[Predicate::And(vec![compare(1, Greater, 25), compare(1, LessOrEqual, 75)])], 0.25);
        check(&[compare(1, Greater, 500)], 0.00005);
        check(&[compare(0, Greater, 5)], ONE_SIDED);
        check(&[compare(0, Greater, 5), compare(0, Less, 9)], TWO_SIDED);
        let text = |text: &str| Value::Text(text.to_owned());
        let second = Predicate::Compare { column: ColumnRef::of(2), op: Equal, value: text("x") };
        check(&[compare(1, Equal, 5), second.clone()], 0.005 * 0.99 / 200.0);
        check(&[Predicate::Or(vec![compare(0, Equal, 5), compare(0, Equal, 6)])], 1.0 - 0.999 * 0.999);
        let list =
            |values: usize, negated| Predicate::In { column: ColumnRef::of(0), values: vec![Value::Int(1); values], negated };
        check(&[list(20, false)], 0.02);
        check(&[list(20, true)], 0.98);
        check(&[list(5000, false)], 1.0);
        let null = |column, negated| Predicate::IsNull { column: ColumnRef::of(column), negated };
        check(&[null(1, false)], 0.5);
        check(&[null(1, true)], 0.5);
        check(&[null(0, false)], 0.001);
        let like = |pattern: &str| {
            let (pattern, column) = (pattern.to_owned(), ColumnRef::of(2));
            Predicate::Like { column, pattern, negated: false, case_insensitive: false }
        };
        check(&[like("%a%")], 0.05);
        check(&[like("a%")], 0.02);
        check(&[like("a")], 0.99 / 200.0);
    }

    #[test]
    fn scans_have_rows_and_bytes() {
        let table = table();
        let scan = |filter: Vec<Predicate>, limit| Scan {
            store: StoreName::new("s"),
            table: table.id.clone(),
            columns: vec![0, 2],
            filter,
            limit,
        };
        let all = scan_statistics(&table, &scan(Vec::new(), None));
        assert_eq!((all.num_rows, all.total_byte_size), (Precision::Inexact(1000), Precision::Inexact(52_000)));
        assert_eq!(all.column_statistics[0].distinct_count, Precision::Inexact(1000));
        assert_eq!(all.column_statistics[1].distinct_count, Precision::Absent);
        assert_eq!(scan_statistics(&table, &scan(Vec::new(), Some(7))).num_rows, Precision::Inexact(7));
        let one = scan_statistics(&table, &scan(vec![compare(0, Comparison::Equal, 3)], None));
        assert_eq!((one.num_rows, one.column_statistics[0].distinct_count), (Precision::Inexact(1), Precision::Inexact(1)));
        let unknown = Table { row_estimate: None, ..table.clone() };
        assert_eq!(scan_statistics(&unknown, &scan(Vec::new(), None)).num_rows, Precision::Absent);
        assert_eq!(Arc::clone(&table.schema).fields().len(), 4);
    }

    #[test]
    fn keys_are_found_by_their_columns() {
        let table = table();
        let rows: [(&[usize], bool); 5] = [(&[0], true), (&[1], false), (&[2, 1], true), (&[3, 0], true), (&[], false)];
        for (ordinals, expected) in rows {
            assert_eq!(is_unique(&table, ordinals), expected, "{ordinals:?}");
        }
    }
}
