//! What the documents of a pipeline hold, and how they become the columns that were asked for.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use mongodb::bson::Bson;

use super::cell::{Cell, Kind};
use super::relation::Rows;
use crate::pgtype::PgType;
use crate::stores::document::schema::type_of_field;
use crate::stores::document::{DocumentField, DocumentType, OnMismatch};

/// The fields `c0` … of a pipeline's documents.
#[derive(Debug, Clone)]
pub(in super::super) struct Output {
    /// The fields as the reader takes them.
    pub(in super::super) fields: Vec<DocumentField>,
    /// What becomes of stored values that do not fit.
    pub(in super::super) on_mismatch: OnMismatch,
    /// The collection and column that each field is, for errors; computed ones are none.
    pub(in super::super) origins: Vec<Option<(String, String)>>,
}

impl Output {
    /// Of the last rows; `types` are the Postgres types of the columns.
    ///
    /// # Errors
    /// The column that cannot be sent, and why.
    pub(super) fn of(rows: &Rows, types: &[PgType]) -> Result<Self, (usize, &'static str)> {
        let mut fields = Vec::with_capacity(rows.cells.len());
        let mut origins = Vec::with_capacity(rows.cells.len());
        let mut on_mismatch = None;
        for (place, cell) in rows.cells.iter().enumerate() {
            let pg_type = *types.get(place).ok_or((place, "the column is not known"))?;
            let (kind, origin) = match cell {
                Cell::Raw(raw) => {
                    if *on_mismatch.get_or_insert(raw.on_mismatch) != raw.on_mismatch {
                        return Err((place, "the collections treat values that do not fit in different ways"));
                    }
                    let kind = type_of_field(&raw.field).ok_or((place, "the column has no type of documents"))?;
                    (kind, Some((raw.table.clone(), raw.column.clone())))
                }
                Cell::Value(value) => {
                    let kind = if value.bson == Bson::Null { Kind::of(pg_type) } else { Some(value.kind) };
                    (kind.and_then(|kind| sent(kind, pg_type)).ok_or((place, "the type is not read from MongoDB"))?, None)
                }
            };
            fields.push(DocumentField { name: format!("c{place}"), kind });
            origins.push(origin);
        }
        Ok(Self { fields, on_mismatch: on_mismatch.unwrap_or_default(), origins })
    }
}

/// How a computed value is read; `None` when its type has no such carrier.
fn sent(kind: Kind, pg_type: PgType) -> Option<DocumentType> {
    Some(match (kind, pg_type.oid) {
        (Kind::Bool, 16) => DocumentType::Bool,
        (Kind::Int, 20 | 21 | 23) => DocumentType::Int,
        (Kind::Float, 701) => DocumentType::Double,
        (Kind::Decimal { scale }, 1700) => match pg_type.carrier() {
            DataType::Utf8 => DocumentType::Decimal { scale },
            DataType::Decimal128(_, to) if i16::from(to) >= i16::from(scale) => DocumentType::Decimal { scale },
            _ => return None,
        },
        (Kind::Text, 25 | 1043) => DocumentType::Text,
        (Kind::Moment, 1184) | (Kind::Day, 1082) => DocumentType::Date,
        (Kind::Uuid, 2950) => DocumentType::Uuid,
        _ => return None,
    })
}

/// A built array in the carrier that was asked for: narrower integers, days, decimals of another precision or as text.
pub(in super::super) fn carried(array: &ArrayRef, target: &DataType) -> Result<ArrayRef, ArrowError> {
    if array.data_type() == target {
        return Ok(Arc::clone(array));
    }
    if let (DataType::Decimal128(_, has), DataType::Decimal128(_, shows)) = (array.data_type(), target)
        && has > shows
    {
        // The cast would round.
        return Err(ArrowError::CastError(format!("a number with {has} digits after the point does not fit {shows}")));
    }
    cast_with_options(array, target, &CastOptions { safe: false, ..CastOptions::default() })
}
