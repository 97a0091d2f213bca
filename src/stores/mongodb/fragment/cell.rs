//! What a pipeline knows of a column between two stages: a field of the documents as they are stored, or a computed value.

use arrow::datatypes::Field;
use mongodb::bson::{Bson, doc};

use super::super::types::Shape;
use crate::pgtype::PgType;
use crate::stores::document::OnMismatch;

/// What computed values are in BSON. They are never missing, and NULL is null.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// bool
    Bool,
    /// int or long
    Int,
    /// double
    Float,
    /// decimal, finite, with at most so many digits after the point, which all of them show to clients.
    Decimal {
        /// Digits after the point.
        scale: u8,
    },
    /// string without a zero byte
    Text,
    /// date within the years of `timestamptz`
    Moment,
    /// date at midnight
    Day,
    /// binData of 16 bytes, subtype 4
    Uuid,
}

impl Kind {
    /// The kind of values of a type. The scale of `numeric` without a modifier is not known from its type: it is that of integers.
    pub(super) fn of(pg_type: PgType) -> Option<Self> {
        Some(match pg_type.oid {
            16 => Self::Bool,
            20 | 21 | 23 => Self::Int,
            701 => Self::Float,
            1700 => Self::Decimal { scale: pg_type.numeric_shape().map_or(Some(0), |(_, scale)| u8::try_from(scale).ok())? },
            25 | 1043 => Self::Text,
            1184 => Self::Moment,
            1082 => Self::Day,
            2950 => Self::Uuid,
            _ => return None,
        })
    }
}

/// A computed value, or an expression for one.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Value {
    /// The expression.
    pub(super) bson: Bson,
    /// What it gives.
    pub(super) kind: Kind,
    /// Whether it may give null.
    pub(super) nullable: bool,
}

impl Value {
    /// Whether it is the constant NULL, which is of every kind.
    pub(super) fn is_null(&self) -> bool {
        self.bson == Bson::Null
    }

    /// Whether the expression costs nothing to be written twice.
    pub(super) fn is_plain(&self) -> bool {
        match &self.bson {
            Bson::Null | Bson::String(_) => true,
            Bson::Document(document) => document.contains_key("$literal"),
            _ => false,
        }
    }
}

/// A stored field whose values have not been looked at.
#[derive(Debug, Clone)]
pub(super) struct Raw {
    /// Where it lies: `$a`, `$c0.b`, `$$l1`.
    pub(super) path: String,
    /// The documents around it that have not been looked at either, outermost first.
    pub(super) ancestors: Vec<Raw>,
    /// The column's or nested field's Arrow field.
    pub(super) field: Field,
    /// The collection, for errors.
    pub(super) table: String,
    /// The column and the path inside of it, for errors.
    pub(super) column: String,
    /// What becomes of values that do not fit.
    pub(super) on_mismatch: OnMismatch,
}

impl Raw {
    /// How a filter would treat it.
    pub(super) fn shape(&self) -> Shape {
        Shape::of(&self.field)
    }

    /// Its type in the words of the reader's errors.
    pub(super) fn describe(&self) -> &'static str {
        match self.shape() {
            Shape::Text | Shape::Mixed | Shape::Document => "text",
            Shape::ObjectId => "objectId",
            Shape::Uuid => "uuid",
            Shape::Bytes => "bytea",
            Shape::Int => "bigint",
            Shape::Float => "double precision",
            Shape::Numeric | Shape::Decimal => "numeric",
            Shape::Bool => "boolean",
            Shape::Date => "timestamp with time zone",
            Shape::List => "an array",
            Shape::Struct => "a nested document",
        }
    }

    /// The same field found at another place.
    pub(super) fn at(&self, path: String) -> Self {
        Self { path, ancestors: Vec::new(), ..self.clone() }
    }
}

/// A column between two stages.
#[derive(Debug, Clone)]
pub(super) enum Cell {
    /// As stored.
    Raw(Box<Raw>),
    /// Computed.
    Value(Value),
}

/// `{$eq: [value, null]}`
pub(super) fn is_null(value: &Bson) -> Bson {
    Bson::Document(doc! { "$eq": [value, Bson::Null] })
}

/// `{$ne: [value, null]}`
pub(super) fn is_not_null(value: &Bson) -> Bson {
    Bson::Document(doc! { "$ne": [value, Bson::Null] })
}

/// `{$cond: [condition, value, otherwise]}`
pub(super) fn either(condition: Bson, value: Bson, otherwise: Bson) -> Bson {
    Bson::Document(doc! { "$cond": [condition, value, otherwise] })
}

/// All hold: conditions that give true or false.
pub(super) fn all_of(mut parts: Vec<Bson>) -> Bson {
    match parts.len() {
        0 => Bson::Boolean(true),
        1 => parts.remove(0),
        _ => Bson::Document(doc! { "$and": parts }),
    }
}

/// One holds: conditions that give true or false.
pub(super) fn one_of(mut parts: Vec<Bson>) -> Bson {
    match parts.len() {
        0 => Bson::Boolean(false),
        1 => parts.remove(0),
        _ => Bson::Document(doc! { "$or": parts }),
    }
}

/// A constant: nothing in it is an operator, a path or an inclusion.
pub(super) fn literal(value: impl Into<Bson>) -> Bson {
    Bson::Document(doc! { "$literal": value.into() })
}
