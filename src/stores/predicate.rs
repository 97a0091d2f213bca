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

    /// The rows that such alternatives are: each an equality with a constant for each of the same columns. `None` for other ones.
    pub fn of_alternatives(parts: &[Predicate]) -> Option<Self> {
        let first = equalities(parts.first()?)?;
        let columns: Vec<ColumnRef> = first.iter().map(|(column, _)| (*column).clone()).collect();
        let is_repeated = columns.iter().enumerate().any(|(place, column)| columns.iter().take(place).any(|other| other == column));
        if columns.len() < 2 || is_repeated || parts.len() < 2 {
            return None;
        }
        let row = |part: &Predicate| {
            let given = equalities(part).filter(|given| given.len() == columns.len())?;
            let value = |column: &ColumnRef| given.iter().find(|(other, _)| *other == column).map(|(_, value)| (*value).clone());
            columns.iter().map(value).collect::<Option<Vec<Value>>>()
        };
        let rows = parts.iter().map(row).collect::<Option<Vec<_>>>()?;
        Some(Self { columns, rows })
    }
}

/// The columns and constants of a conjunction of equalities.
fn equalities(part: &Predicate) -> Option<Vec<(&ColumnRef, &Value)>> {
    let Predicate::And(parts) = part else { return None };
    parts.iter().map(equality).collect()
}

fn equality(part: &Predicate) -> Option<(&ColumnRef, &Value)> {
    match part {
        Predicate::Compare { column, op: Comparison::Equal, value } => Some((column, value)),
        _ => None,
    }
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
        let rows = Rows::of_alternatives(&[pair(1, 2), turned, pair(1, 4)]).unwrap();
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
            assert_eq!(Rows::of_alternatives(parts), None, "{parts:?}");
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
