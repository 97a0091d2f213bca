//! Kinds of values: what the server does alike with them.

use super::super::super::fragment::{Origin, Shape, Tables};
use super::super::super::schema::Column;
use super::super::types;
use crate::pgtype::{ENUM_KEY, PgType};

/// A kind of values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// `boolean`
    Truth,
    /// `smallint`, `integer`, `bigint`
    Whole,
    /// `numeric`
    Decimal,
    /// `real`
    Real,
    /// `double precision`
    Double,
    /// `text`, `varchar`
    Text,
    /// `bytea`
    Bytes,
    /// `date`
    Day,
    /// `timestamp`
    Moment,
    /// `timestamptz`
    MomentTz,
    /// `uuid`
    Uuid,
    /// Types that are only passed on.
    Other,
}

impl Kind {
    /// The kind of a type.
    pub(super) fn of(pg_type: PgType) -> Self {
        match pg_type.oid {
            16 => Self::Truth,
            20 | 21 | 23 => Self::Whole,
            1700 => Self::Decimal,
            700 => Self::Real,
            701 => Self::Double,
            25 | 1043 => Self::Text,
            17 => Self::Bytes,
            1082 => Self::Day,
            1114 => Self::Moment,
            1184 => Self::MomentTz,
            2950 => Self::Uuid,
            _ => Self::Other,
        }
    }

    /// Whether values may be days that no calendar has.
    pub(super) fn is_date(self) -> bool {
        matches!(self, Self::Day | Self::Moment | Self::MomentTz)
    }

    /// Whether it is a float.
    pub(super) fn is_float(self) -> bool {
        matches!(self, Self::Real | Self::Double)
    }
}

/// The stored column behind a value.
pub(super) fn stored<'t>(shape: &Shape, tables: &'t Tables) -> Option<&'t Column> {
    let Origin { table, column } = shape.origin.as_ref()?;
    tables.get(table)?.columns.get(*column)
}

/// Whether the value is a label of an enum, which has an order of its own.
pub(super) fn is_label(shape: &Shape, tables: &Tables) -> bool {
    stored(shape, tables).is_some_and(|column| column.field.metadata().contains_key(ENUM_KEY))
}

/// Whether the value is a stored `year`, whose comparisons the server bends to this century.
pub(super) fn is_year(shape: &Shape, tables: &Tables) -> bool {
    stored(shape, tables).is_some_and(|column| types::is_year(&column.native_type))
}
