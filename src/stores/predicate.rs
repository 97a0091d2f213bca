//! Row conditions in a store-neutral form, with Postgres semantics: three-valued logic, byte-order (`C`) text comparison,
//! case-sensitive `LIKE`, NaN equal to NaN and above all other floats.
//!
//! `federation/pushdown.rs` makes them from engine expressions; each connector judges them ([`Pushdown`]) and writes them in
//! its own language. What a connector cannot prove equal it returns as a superset, which the engine checks again.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::value::Value;

/// A column of the scanned table, or a field inside a document column.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ColumnRef {
    /// Ordinal into `Table::columns`.
    pub column: usize,
    /// Struct fields below the column, outermost first; empty for the column itself.
    pub path: Vec<String>,
}

impl ColumnRef {
    /// The column itself.
    pub fn of(column: usize) -> Self {
        Self { column, path: Vec::new() }
    }
}

/// A comparison operator. A comparison with a NULL column is NULL, so the row is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Comparison {
    /// `=`
    Equal,
    /// `<>`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

impl Comparison {
    /// The operator that says the same with its sides exchanged.
    #[must_use]
    pub fn flipped(self) -> Self {
        match self {
            Self::Less => Self::Greater,
            Self::LessOrEqual => Self::GreaterOrEqual,
            Self::Greater => Self::Less,
            Self::GreaterOrEqual => Self::LessOrEqual,
            Self::Equal | Self::NotEqual => self,
        }
    }

    /// The operator in SQL.
    pub fn sql(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "<>",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        }
    }
}

/// A condition on one row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Predicate {
    /// `column op value`; the value has been converted to the column's type.
    Compare {
        /// The left side.
        column: ColumnRef,
        /// The operator.
        op: Comparison,
        /// The right side.
        value: Value,
    },
    /// `column IN (values)` or `NOT IN`; no value is NULL.
    In {
        /// The left side.
        column: ColumnRef,
        /// The list, not empty.
        values: Vec<Value>,
        /// `NOT IN`.
        negated: bool,
    },
    /// `(columns) IN (rows)`.
    Rows(Rows),
    /// `column IS NULL`, or `IS NOT NULL` when negated.
    IsNull {
        /// The tested column.
        column: ColumnRef,
        /// `IS NOT NULL`.
        negated: bool,
    },
    /// `column LIKE pattern` with backslash as the escape character.
    Like {
        /// The left side.
        column: ColumnRef,
        /// The pattern with `%`, `_` and `\`.
        pattern: String,
        /// `NOT LIKE`.
        negated: bool,
        /// `ILIKE`.
        case_insensitive: bool,
    },
    /// All hold.
    And(Vec<Predicate>),
    /// At least one holds.
    Or(Vec<Predicate>),
}

impl Predicate {
    /// The same condition over other columns; `None` when one of its columns has no other.
    pub fn over(mut self, other: &dyn Fn(usize) -> Option<usize>) -> Option<Self> {
        match &mut self {
            Self::Compare { column, .. } | Self::In { column, .. } | Self::IsNull { column, .. } | Self::Like { column, .. } => {
                column.column = other(column.column)?;
            }
            Self::Rows(rows) => {
                for column in &mut rows.columns {
                    column.column = other(column.column)?;
                }
            }
            Self::And(parts) | Self::Or(parts) => {
                let moved = std::mem::take(parts).into_iter().map(|part| part.over(other));
                *parts = moved.collect::<Option<Vec<_>>>()?;
            }
        }
        Some(self)
    }
}

/// Rows of values, one of which several columns together are to be. A NULL in one of the columns is equal to nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rows {
    /// The left side, two columns or more.
    pub columns: Vec<ColumnRef>,
    /// The list, not empty. Each row has a value for each column, and none of them is NULL.
    pub rows: Vec<Vec<Value>>,
}

impl Rows {
    /// The values of all rows together.
    pub fn values(&self) -> usize {
        self.columns.len().saturating_mul(self.rows.len())
    }

    /// One list for each column, without repetitions: together they keep the same rows, and more.
    pub fn lists(&self) -> Vec<Predicate> {
        let list = |(place, column): (usize, &ColumnRef)| {
            // Values have floats among them, which have no hash.
            let mut seen = HashSet::with_capacity(self.rows.len());
            let given = self.rows.iter().filter_map(|row| row.get(place));
            let values = given.filter(|value| seen.insert(format!("{value:?}"))).cloned().collect();
            Predicate::In { column: column.clone(), values, negated: false }
        };
        self.columns.iter().enumerate().map(list).collect()
    }

    /// The same condition as alternatives: `(a = 1 AND b = 2) OR (…)`.
    pub fn alternatives(&self) -> Predicate {
        let row = |row: &Vec<Value>| {
            let equal = |(column, value): (&ColumnRef, &Value)| Predicate::Compare {
                column: column.clone(),
                op: Comparison::Equal,
                value: value.clone(),
            };
            Predicate::And(self.columns.iter().zip(row).map(equal).collect())
        };
        Predicate::Or(self.rows.iter().map(row).collect())
    }

    /// The rows that such alternatives are: each an equality with a constant for each of the same columns, or several of these that are
    /// told together (`a = 1 AND b IN (2, 3)`). `None` for other ones, and for more than `most` rows.
    pub fn of_alternatives(parts: &[Predicate], most: usize) -> Option<Self> {
        let given = any_of(parts, most)?;
        let columns: Vec<ColumnRef> = given.first()?.iter().map(|(column, _)| (*column).clone()).collect();
        let is_repeated = columns.iter().enumerate().any(|(place, column)| columns.iter().take(place).any(|other| other == column));
        if columns.len() < 2 || is_repeated || parts.len() < 2 {
            return None;
        }
        let row = |given: &Equalities<'_>| {
            let value = |column: &ColumnRef| given.iter().find(|(other, _)| *other == column).map(|(_, value)| (*value).clone());
            let row = columns.iter().map(value).collect::<Option<Vec<Value>>>();
            row.filter(|_| given.len() == columns.len())
        };
        let rows = given.iter().map(row).collect::<Option<Vec<_>>>()?;
        Some(Self { columns, rows })
    }
}

/// Columns, and the constant that each is to be.
type Equalities<'p> = Vec<(&'p ColumnRef, &'p Value)>;

/// The alternatives that a condition made of equalities has when it is written out; `None` for other conditions, and for more than `most`.
fn written_out(condition: &Predicate, most: usize) -> Option<Vec<Equalities<'_>>> {
    match condition {
        Predicate::Compare { column, op: Comparison::Equal, value } => Some(vec![vec![(column, value)]]),
        Predicate::In { column, values, negated: false } if values.len() <= most => {
            Some(values.iter().map(|value| vec![(column, value)]).collect())
        }
        Predicate::Rows(rows) if rows.rows.len() <= most => {
            Some(rows.rows.iter().map(|row| rows.columns.iter().zip(row).collect()).collect())
        }
        Predicate::And(parts) => all_of(parts, most),
        Predicate::Or(parts) => any_of(parts, most),
        _ => None,
    }
}

/// Each alternative of one part with each of the others.
fn all_of(parts: &[Predicate], most: usize) -> Option<Vec<Equalities<'_>>> {
    let mut all: Vec<Equalities<'_>> = vec![Vec::new()];
    for part in parts {
        let each = written_out(part, most)?;
        if all.len().saturating_mul(each.len()) > most {
            return None;
        }
        let mut joined: Vec<Equalities<'_>> = Vec::with_capacity(all.len() * each.len());
        for one in &all {
            joined.extend(each.iter().map(|other| [one.as_slice(), other.as_slice()].concat()));
        }
        all = joined;
    }
    Some(all)
}

fn any_of(parts: &[Predicate], most: usize) -> Option<Vec<Equalities<'_>>> {
    let mut all = Vec::new();
    for part in parts {
        all.extend(written_out(part, most)?);
        if all.len() > most {
            return None;
        }
    }
    Some(all)
}

/// How far a store can evaluate a predicate.
#[derive(Debug, Clone, PartialEq)]
pub enum Pushdown {
    /// The store keeps exactly the rows for which the predicate is true.
    Exact(Predicate),
    /// The store keeps at least those rows by this predicate; the engine checks again.
    Superset(Predicate),
    /// The store cannot help; the reason is for `EXPLAIN`.
    Refused(&'static str),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn equal(column: usize, value: i64) -> Predicate {
        Predicate::Compare { column: ColumnRef::of(column), op: Comparison::Equal, value: Value::Int(value) }
    }

    fn pair(a: i64, b: i64) -> Predicate {
        Predicate::And(vec![equal(0, a), equal(1, b)])
    }

    #[test]
    fn alternatives_of_equalities_are_rows_and_back() {
        let turned = Predicate::And(vec![equal(1, 4), equal(0, 3)]);
        let rows = Rows::of_alternatives(&[pair(1, 2), turned, pair(1, 4)], 3).unwrap();
        assert_eq!(rows.columns, [ColumnRef::of(0), ColumnRef::of(1)]);
        assert_eq!(rows.rows, [[1, 2], [3, 4], [1, 4]].map(|row| row.map(Value::Int).to_vec()));
        assert_eq!(rows.alternatives(), Predicate::Or(vec![pair(1, 2), pair(3, 4), pair(1, 4)]));
        assert_eq!(rows.values(), 6);
        let list = |column, values: &[i64]| Predicate::In {
            column: ColumnRef::of(column),
            values: values.iter().copied().map(Value::Int).collect(),
            negated: false,
        };
        assert_eq!(rows.lists(), [list(0, &[1, 3]), list(1, &[2, 4])]);
    }

    #[test]
    fn other_alternatives_are_no_rows() {
        let less = Predicate::Compare { column: ColumnRef::of(1), op: Comparison::Less, value: Value::Int(2) };
        let rows: [&[Predicate]; 7] = [
            &[],
            &[pair(1, 2)],
            &[pair(1, 2), equal(0, 3)],
            &[equal(0, 1), equal(0, 2)],
            &[pair(1, 2), Predicate::And(vec![equal(0, 1), less])],
            &[pair(1, 2), Predicate::And(vec![equal(0, 1), equal(2, 2)])],
            &[Predicate::And(vec![equal(0, 1), equal(0, 2)]), Predicate::And(vec![equal(0, 1), equal(0, 3)])],
        ];
        for parts in rows {
            assert_eq!(Rows::of_alternatives(parts, 100), None, "{parts:?}");
        }
        assert_eq!(Rows::of_alternatives(&[pair(1, 2), pair(1, 3), pair(1, 4)], 2), None);
    }

    fn list(column: usize, values: &[i64]) -> Predicate {
        let values = values.iter().copied().map(Value::Int).collect();
        Predicate::In { column: ColumnRef::of(column), values, negated: false }
    }

    /// As the engine has them when it has taken out what some rows have in common.
    #[test]
    fn alternatives_that_share_values_are_rows() {
        let both = Predicate::Or(vec![equal(1, 4), equal(1, 5)]);
        let parts = [
            Predicate::And(vec![equal(0, 1), list(1, &[2, 3])]),
            Predicate::And(vec![both, equal(0, 7)]),
            pair(8, 9),
            Predicate::And(vec![list(0, &[5, 6]), list(1, &[1, 2])]),
        ];
        let rows = Rows::of_alternatives(&parts, 9).unwrap();
        assert_eq!(rows.columns, [ColumnRef::of(0), ColumnRef::of(1)]);
        let expected = [[1, 2], [1, 3], [7, 4], [7, 5], [8, 9], [5, 1], [5, 2], [6, 1], [6, 2]];
        assert_eq!(rows.rows, expected.map(|row| row.map(Value::Int).to_vec()));
        assert_eq!(Rows::of_alternatives(&parts, 8), None);
        // Of three columns two may be rows already.
        let pairs = Rows::of_alternatives(&[pair(1, 2), pair(3, 4)], 2).unwrap();
        let threes = [
            Predicate::And(vec![equal(2, 6), Predicate::Rows(pairs)]),
            Predicate::And(vec![equal(0, 9), equal(1, 8), equal(2, 7)]),
        ];
        let rows = Rows::of_alternatives(&threes, 3).unwrap();
        assert_eq!(rows.columns, [ColumnRef::of(2), ColumnRef::of(0), ColumnRef::of(1)]);
        assert_eq!(rows.rows, [[6, 1, 2], [6, 3, 4], [7, 9, 8]].map(|row| row.map(Value::Int).to_vec()));
    }

    #[test]
    fn alternatives_that_share_other_conditions_are_no_rows() {
        let none_of = Predicate::In { column: ColumnRef::of(1), values: vec![Value::Int(2)], negated: true };
        let is_null = Predicate::IsNull { column: ColumnRef::of(1), negated: false };
        let rows: [&[Predicate]; 5] = [
            &[Predicate::And(vec![equal(0, 1), none_of]), pair(1, 2)],
            &[Predicate::And(vec![equal(0, 1), is_null]), pair(1, 2)],
            &[Predicate::And(vec![list(0, &[1, 2]), list(0, &[2, 3])]), pair(1, 2)],
            &[Predicate::And(vec![equal(0, 1), list(1, &[2, 3])]), equal(0, 4)],
            &[list(0, &[1, 2]), equal(0, 3)],
        ];
        for parts in rows {
            assert_eq!(Rows::of_alternatives(parts, 100), None, "{parts:?}");
        }
    }

    #[test]
    fn rows_move_to_other_columns_as_a_whole() {
        let rows = Predicate::Rows(Rows { columns: vec![ColumnRef::of(0), ColumnRef::of(1)], rows: vec![vec![Value::Int(1); 2]] });
        let Some(Predicate::Rows(moved)) = rows.clone().over(&|column| Some(column + 5)) else { panic!() };
        assert_eq!(moved.columns, [ColumnRef::of(5), ColumnRef::of(6)]);
        assert_eq!(rows.over(&|column| (column == 0).then_some(3)), None);
    }
}
