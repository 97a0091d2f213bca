//! Row conditions in a store-neutral form, with Postgres semantics: three-valued logic, byte-order (`C`) text comparison,
//! case-sensitive `LIKE`, NaN equal to NaN and above all other floats.
//!
//! `federation/pushdown.rs` makes them from engine expressions; each connector judges them ([`Pushdown`]) and writes them in
//! its own language. What a connector cannot prove equal it returns as a superset, which the engine checks again.

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
            Self::And(parts) | Self::Or(parts) => {
                let moved = std::mem::take(parts).into_iter().map(|part| part.over(other));
                *parts = moved.collect::<Option<Vec<_>>>()?;
            }
        }
        Some(self)
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
